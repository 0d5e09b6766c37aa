"""The search for interpreters that every other test relies on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from interpreters import (
    Interpreter,
    UnusableInterpreter,
    expected_flavours,
    find_interpreters,
    missing_flavours,
    one_per_flavour,
)

if TYPE_CHECKING:
    from pathlib import Path


def interpreter(
    version: tuple[int, ...], *, implementation: str = "cpython", free_threaded: bool = False
) -> Interpreter:
    """One that need not exist."""
    return Interpreter(implementation, version, free_threaded, path="/nowhere/bin/python3", prefix="/nowhere")


def test_running_interpreter_is_found() -> None:
    """Whatever else the machine has, it has this one."""
    found = find_interpreters()
    running = [known for known in found if os.path.samefile(known.prefix, sys.base_prefix)]
    # Debian keeps several versions below one prefix.
    assert (sys.implementation.name, sys.version_info[:3]) in [
        (known.implementation, known.version) for known in running
    ]


def test_each_installation_is_found_once() -> None:
    """`python3`, `python3.11` and `python3.6m` are names, not installations."""
    found = find_interpreters()
    assert len({(known.prefix, known.flavour) for known in found}) == len(found)
    assert all(os.path.realpath(known.path) == known.path for known in found)


def test_variable_replaces_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is found then."""
    monkeypatch.setenv("PYCTRIGGER_TEST_PYTHONS", os.pathsep + sys.executable)
    assert [known.path for known in find_interpreters()] == [os.path.realpath(sys.executable)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo hello", "doesn't answer like a Python 3 interpreter"),
        (
            """echo '{"implementation": "cpython", "version": [3, 5, 2], "free_threaded": false, "prefix": "/"}'""",
            "is 3.5.2",
        ),
        (
            """echo '{"implementation": "jython", "version": [3, 9, 0], "free_threaded": false, "prefix": "/"}'""",
            "is jython",
        ),
    ],
)
def test_variable_that_names_no_interpreter_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """Silence would skip the tests that somebody asked for."""
    program = tmp_path / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PYCTRIGGER_TEST_PYTHONS", str(program))
    with pytest.raises(UnusableInterpreter, match=reason):
        find_interpreters()


def test_flavours_are_named_as_the_contract_names_them() -> None:
    """Implementation, version, and whether it is free-threaded."""
    known = [interpreter((3, 6, 15)), interpreter((3, 13, 0), free_threaded=True)]
    known.append(interpreter((3, 11, 15), implementation="pypy"))
    assert [one.flavour for one in known] == ["py36", "py313t", "pypy311"]


def test_newest_of_a_flavour_is_kept() -> None:
    """Two installations of 3.11 are one flavour."""
    kept = one_per_flavour([interpreter((3, 11, 7)), interpreter((3, 11, 2)), interpreter((3, 9, 1))])
    assert [one.release for one in kept] == ["3.9.1", "3.11.7"]


def test_any_pypy_is_pypy3() -> None:
    """Which PyPy a system packages is its own business."""
    found = [interpreter((3, 9, 16), implementation="pypy"), interpreter((3, 11, 7))]
    assert missing_flavours(found, ["py311", "pypy3"]) == []
    assert missing_flavours(found[1:], ["py311", "py312", "pypy3"]) == ["py312", "pypy3"]


def test_machine_without_version_manager_owes_what_it_has() -> None:
    """And a PyPy, which every distribution packages."""
    assert expected_flavours([interpreter((3, 11, 7)), interpreter((3, 9, 1))]) == ["py39", "py311", "pypy3"]
