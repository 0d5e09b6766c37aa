"""Interpreters of a machine that is made up: files in its standard directories, and what each says of itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pyctrigger.errors import InterpreterError, PyctriggerError
from pyctrigger.interpreter import flavour, probe
from pyctrigger.interpreter.interpreter import Probed, Witness, environment_of, facts_of
from pyctrigger.state.probed import ProbedInterpreters
from unit.interpreter.made_up import interpreter

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pyctrigger.interpreter.interpreter import Interpreter


class Machine:
    """Has no interpreter at first. Its standard directories are `local` and `bin` in `top`."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self._answers: dict[str, Interpreter | PyctriggerError] = {}
        monkeypatch.setattr(flavour, "STANDARD_DIRECTORIES", (f"{top}/local", f"{top}/bin"))
        monkeypatch.setattr(sys, "executable", "")
        monkeypatch.setattr(probe, "probe", self._probe)
        self.probed = ProbedInterpreters(str(top / "state"))

    def put(self, path: str, named: str, **fields: Any) -> str:
        """Install an interpreter of this flavour. Returns its path."""
        place = self._make(path)
        self._answers[place] = interpreter(named, place, environment=environment_of(place))._replace(**fields)
        return place

    def put_broken(self, path: str, reason: str = "it is broken") -> str:
        """Install an executable that can't be asked."""
        place = self._make(path)
        self._answers[place] = InterpreterError(reason)
        return place

    def _make(self, path: str) -> str:
        place = self.top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(mode=0o755)
        return str(place)

    def remember(self, path: str, named: str, **fields: Any) -> str:
        """Have one known that is gone."""
        place = self.put(path, named, **fields)
        self.probed.ask(place)
        os.unlink(place)
        return place

    def _probe(self, executable: str, *, root: str | None = None, **_: object) -> Probed:
        place = (root or "") + executable
        answer = self._answers.get(place)
        if answer is None or not os.path.exists(place):
            raise InterpreterError(f"{executable} isn't there")
        if isinstance(answer, PyctriggerError):
            raise answer
        witness = Witness(place, facts_of(os.lstat(place)))
        return Probed(answer._replace(executable=executable, root=root), (witness,))

    def short(self, text: object) -> str:
        """A text in which this machine's top is T."""
        return str(text).replace(str(self.top), "T")
