"""`repair`: a person's rerun that looks at everything, trusts nothing, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .run import summary

if TYPE_CHECKING:
    import argparse

HELP = "check every file, trust no record, and fix what is wrong"


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


__all__ = ["HELP", "add_options", "summary"]
