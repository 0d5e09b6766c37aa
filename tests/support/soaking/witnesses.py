"""Processes of the targets: judges that stay for the whole soak, and importers that come and go."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .hook import environment

if TYPE_CHECKING:
    from interpreters import Interpreter

    from .site import Site

_INSIDE = Path(__file__).resolve().parent
_QUIET = ["-s", "-S", "-W", "ignore"]
#: Seconds.
_PATIENCE = 120


class Judgement(NamedTuple):
    """What a target says of a site directory."""

    findings: list[tuple[str, bytes]]
    good: int
    """Sources whose pyc is as it should be."""


class Judge:
    """A process of a target that answers questions until it is closed."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        command = [interpreter.path, "-I", *_QUIET[1:], "-B", str(_INSIDE / "judge_inside.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LC_ALL": "C.UTF-8"}
        )

    def ask(self, site: Site) -> None:
        """Have it begin."""
        assert self.process.stdin
        self.process.stdin.write(bytes(site.path(b"").rstrip(b"/").hex(), "ascii") + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Judgement:
        """What it found."""
        assert self.process.stdout
        said = json.loads(self.process.stdout.readline())
        return Judgement([(kind, bytes.fromhex(path)) for kind, path in said["findings"]], said["good"])

    def close(self) -> None:
        """Let it go."""
        self.process.communicate(timeout=_PATIENCE)


class Importer:
    """A process that imports until it is ended."""

    def __init__(self, interpreter: Interpreter, site: Site, seed: str) -> None:
        command = [interpreter.path, *_QUIET, str(_INSIDE / "importer_inside.py"), str(site.top), seed]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=environment()
        )
        self._what = f"importer {interpreter.flavour}"

    def end(self, *, kill: bool) -> tuple[int, list[str]]:
        """How many imports there were, and what was torn."""
        if kill:
            self._process.kill()
        out, err = self._process.communicate(timeout=_PATIENCE)
        if kill:
            return 0, []
        if self._process.returncode != 0:
            return 0, [f"{self._what} ended with {self._process.returncode}: {err.decode(errors='replace')[-2000:]}"]
        imports, torn = json.loads(out.splitlines()[-1])
        return imports, [f"{self._what} met {each}" for each in torn]
