"""`purge`: all bytecode of one flavour; its interpreter may be gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sweep import summary

if TYPE_CHECKING:
    import argparse

HELP = "remove all bytecode of one flavour"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whose bytecode, when there is no interpreter left to ask."""
    parser.add_argument("--cache-tag", metavar="TAG", help="the cache tag of an interpreter that is gone: cpython-311")
    parser.add_argument("--all", action="store_true", dest="every", help="every flavour found, and those that went")


__all__ = ["HELP", "add_options", "summary"]
