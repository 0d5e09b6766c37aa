"""`completion`: what makes a shell complete this command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...outcome.report import Report

if TYPE_CHECKING:
    import argparse

    from ...outcome.report import FlavourReport

HELP = "print the completion script for a shell"

_SHELLS = ("bash", "zsh", "fish")


class CompletionReport(Report):
    """The script of one shell."""

    def __init__(self, shell: str, script: str) -> None:
        super().__init__("completion")
        self.shell = shell
        self.script = script

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "shell": self.shell, "script": self.script}


def add_options(parser: argparse.ArgumentParser) -> None:
    """For which shell."""
    parser.add_argument("shell", choices=_SHELLS, help="whose script to print")


def perform(options: argparse.Namespace, program: tuple[str, ...]) -> CompletionReport:
    """Read the script, which `nox -s completion` made from the parser."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(package, "completions", f"pyctrigger.{options.shell}"), encoding="utf-8") as file:
        return CompletionReport(options.shell, file.read())


def summary(run: FlavourReport) -> list[str]:
    """Nothing: it is about no flavour."""
    return []


def lines(report: CompletionReport) -> list[str]:
    """The script."""
    return [report.script.rstrip("\n")]


__all__ = ["HELP", "add_options", "lines", "perform", "summary"]
