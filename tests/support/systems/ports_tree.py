"""FreeBSD's ports, made by a BSD make(1) with a stand-in for the framework (bsd.port.mk)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import absent
from system_tools import find_tool

_FRAMEWORK = Path(__file__).parent  # where bsd.port.mk is


class Port:
    """One port's directory, and the variables that an administrator gives to make."""

    def __init__(self, directory: Path, **variables: str) -> None:
        bmake = find_tool("bmake")
        if bmake is None or find_tool("bsdtar") is None:
            absent("no bmake or no bsdtar on this machine")
        self.directory = directory
        # Variables that make(1) reads, such as MAKEFLAGS, are no business of the tests'.
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        given = {"PYTHON_CMD": sys.executable, **variables}
        self._command = [bmake, "-r", "-m", str(_FRAMEWORK), *(f"{name}={value}" for name, value in given.items())]

    def value(self, variable: str) -> list[str]:
        """The words of a variable, expanded."""
        return self._make("-V", f"${{{variable}}}").split()

    def stage(self) -> Path:
        """Make `stage`; the stage's directory."""
        self._make("stage")
        return self.directory / "work/stage"

    def message(self) -> str:
        """What `pkg-message` became."""
        return (self.directory / "work/pkg-message").read_text()

    def _make(self, *arguments: str) -> str:
        made = subprocess.run(
            [*self._command, *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout
