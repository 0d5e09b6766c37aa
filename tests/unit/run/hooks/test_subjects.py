"""Which Python a hook is for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import PyctriggerError, UsageError
from pyctrigger.packages.hook import Subject
from pyctrigger.run.hooks.subjects import is_first_of_version, other_names, subject_of, subjects
from unit.interpreter.made_up import interpreter
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ("/usr/bin/pyctrigger",)
PY311 = Subject("py311", "3.11", "python3.11", "cpython-311", PROGRAM)
OWN = ("/usr/lib/python3.11/site-packages", "/usr/lib64/python3.11/site-packages")
LIBRARY = ("/usr/lib/python3.11", "/usr/lib64/python3.11")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Two of 3.11, a link to the first of them, one whose name says nothing of it, and a broken one."""
    made = Machine(tmp_path, monkeypatch)
    made.put("local/python3.11", "3.11")
    made.put("bin/python3.11", "3.11", prefix="/other")
    made.put("bin/pypy3", "pypy3.9")
    (tmp_path / "bin/python3").symlink_to("../local/python3.11")
    made._answers[str(tmp_path / "bin/python3")] = interpreter("3.11", "")
    made.put_broken("bin/pypy3.10")
    return made


def path_of(machine: Machine, name: str) -> str:
    """The path of an executable."""
    return f"{machine.top}/{name}"


def test_a_version_starts_nothing(machine: Machine) -> None:
    """So a hook looks the same wherever it is made, whether there is such a Python or not."""
    for python in ("3.11", "py311", "cpython-3.11"):
        assert PY311 == subject_of(python, PROGRAM, ())
    expected = Subject("pypy399", "pypy3.99", "pypy3.99", "pypy399", PROGRAM, ("/s",))
    assert expected == subject_of("pypy3.99", PROGRAM, ("/s",))
    assert Subject("py313t", "3.13t", "python3.13t", "cpython-313", PROGRAM) == subject_of("3.13t", PROGRAM, ())


def test_a_name_means_the_version_that_it_has_now(machine: Machine) -> None:
    """If it leads to the first one of that version."""
    assert PY311 == subject_of("python3", PROGRAM, ())
    assert PY311._replace(site_directories=("/s",)) == subject_of("python3", PROGRAM, ("/s",))


def test_a_path_means_that_executable(machine: Machine) -> None:
    """With its own directories; another one than the first of its version has a hook of its own name."""
    first, other = path_of(machine, "local/python3.11"), path_of(machine, "bin/python3.11")
    mine = PY311._replace(site_directories=OWN, libraries=LIBRARY, path=first)
    assert mine == subject_of(first, PROGRAM, ())
    found = subject_of(other, PROGRAM, ("/s",))
    digest = interpreter("3.11", other, prefix="/other").installation[-8:]
    assert mine._replace(path=other, digest=digest, site_directories=("/s",)) == found


def test_an_environments_own_has_the_environments_digest(machine: Machine) -> None:
    """Two environments of one Python have two hooks."""
    digests = []
    for name in ("one", "two"):
        (machine.top / name).mkdir()
        (machine.top / name / "pyvenv.cfg").touch()
        digests.append(subject_of(machine.put(f"{name}/bin/python", "3.11"), PROGRAM, ()).digest)
    environments = [path_of(machine, name) for name in ("one", "two")]
    probed = [interpreter("3.11", "", environment=each) for each in environments]
    assert [each.installation_in(None, each.environment)[-8:] for each in probed] == digests
    assert 2 == len(set(digests))


def test_all_that_are_named(machine: Machine) -> None:
    """Each hook once; what can't be asked is an error."""
    found = [each.python for each in subjects(("3.11", "py311", "pypy3.9", "python3"), PROGRAM, ())]
    assert ["3.11", "pypy3.9"] == found
    with pytest.raises(PyctriggerError, match="it is broken"):
        list(subjects(("3.11", path_of(machine, "bin/pypy3.10")), PROGRAM, ()))
    with pytest.raises(UsageError):
        list(subjects(("3.11", "x"), PROGRAM, ()))
    assert [PY311] == list(subjects(("3.11",), PROGRAM, ()))
    assert [("/s",)] == [each.site_directories for each in subjects(("3.11",), PROGRAM, ("/s",))]


def test_all_that_are_found(machine: Machine) -> None:
    """By their names; those that can't be asked are left out."""
    machine.put_broken("bin/pypy3")
    (machine.top / "local/pypy3").symlink_to("../bin/pypy3")
    assert ["3.11", "pypy3.10"] == [each.python for each in subjects((), PROGRAM, ())]
    machine.put("bin/python3.12", "3.12")
    assert {"3.11", "3.12", "pypy3.10"} == {each.python for each in subjects((), PROGRAM, ())}


def test_the_other_name_of_a_subject(machine: Machine) -> None:
    """The version's first path, and for a path the version."""
    assert [path_of(machine, "local/python3.11")] == other_names(PY311)
    assert ["3.11"] == other_names(PY311._replace(path="/opt/python"))
    assert [] == other_names(PY311._replace(version="3.99"))


def test_which_executable_is_the_first_of_its_version(machine: Machine) -> None:
    """By whatever name; an environment's own never is, though it leads there."""
    kind = interpreter("3.11", "").kind
    venv = machine.top / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(path_of(machine, "local/python3.11"))
    found = [
        is_first_of_version(path_of(machine, name), kind)
        for name in ("local/python3.11", "bin/python3", "venv/bin/python", "bin/python3.11", "gone")
    ]
    assert [True, True, True, False, False] == found
    (venv / "pyvenv.cfg").touch()
    assert is_first_of_version(path_of(machine, "venv/bin/python"), kind) is False
    os.unlink(machine.top / "local/python3.11")
    os.unlink(machine.top / "bin/python3.11")
    assert is_first_of_version(path_of(machine, "gone"), kind) is False
