"""`completion`: print the script that completes the command line in a shell."""

from __future__ import annotations

import os
from typing import Any

from ...bounded import read_regular
from ...outcome.observer import Observer
from ...outcome.report import Report
from ...run.scope.settings import Setting, one_of
from . import Call, Verb

#: The maximum size of a script, in bytes.
_LARGEST = 1 << 20
_SHELL = Setting("shell", one_of("bash", "zsh", "fish"), "whose script to print", flags=("shell",))


class CompletionReport(Report):
    """The script that completes the command line in one shell."""

    def __init__(self, shell: str, script: str) -> None:
        super().__init__("completion")
        self.shell = shell
        self.script = script

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "shell": self.shell, "script": self.script}


def _read_script(call: Call, observer: Observer) -> CompletionReport:
    """Read the script, which `nox -s completion` made from the parser."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    shell = call.options.shell
    script = read_regular(os.path.join(package, "completions", f"pyctrigger.{shell}"), _LARGEST)
    return CompletionReport(shell, script.decode("utf-8"))


def _script_lines(report: CompletionReport) -> list[str]:
    return [report.script.rstrip("\n")]


VERB = Verb("print the completion script for a shell", _read_script, _script_lines, options=(_SHELL,), paths="")
