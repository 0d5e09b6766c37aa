"""What a user calls an interpreter, and where it may be found."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import InterpreterError, UsageError
from pyctrigger.interpreter import flavour as module
from pyctrigger.interpreter.flavour import (
    STANDARD_DIRECTORIES,
    Flavour,
    directories,
    installed,
    not_found,
)

if TYPE_CHECKING:
    from pathlib import Path

#: What is written, and the four names of what is meant.
FORMS = [
    ("3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("py311", "py311", "3.11", "python3.11", "cpython-311"),
    ("py3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("py-3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("python3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("cpython3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("cpython-3.11", "py311", "3.11", "python3.11", "cpython-311"),
    ("3.13t", "py313t", "3.13t", "python3.13t", "cpython-313"),
    ("py313t", "py313t", "3.13t", "python3.13t", "cpython-313"),
    ("pypy3.11", "pypy311", "pypy3.11", "pypy3.11", "pypy311"),
    ("pypy311", "pypy311", "pypy3.11", "pypy3.11", "pypy311"),
    ("pypy-3.9", "pypy39", "pypy3.9", "pypy3.9", "pypy39"),
    ("3.6", "py36", "3.6", "python3.6", "cpython-36"),
    ("3.100", "py3100", "3.100", "python3.100", "cpython-3100"),
]


@pytest.mark.parametrize(("text", "name", "dotted", "library", "tag"), FORMS)
def test_every_form_of_a_flavour(text: str, name: str, dotted: str, library: str, tag: str) -> None:
    """Its short name, as the configuration spells it, its library and its cache tag."""
    flavour = Flavour.parse(text)
    assert (name, dotted, library, tag) == (flavour.name, flavour.dotted, flavour.library, flavour.cache_tag)
    assert flavour == Flavour.parse(dotted) == Flavour.parse(name) == Flavour.of_version(library)
    assert flavour._replace(free_threaded=False) == Flavour.of_cache_tag(tag)


NEARLY = {
    "3.11.2": "3.11",
    "311": "3.11",
    "cpython-313": "3.13",
    "Python3.12": "3.12",
    "PYPY311": "pypy3.11",
    "3.13T": "3.13t",
}
NONSENSE = ["4.0", "2x", "12", "three", "3.x", "cpython", "3.11 ", "\u0663.11", "3.11\n", "", "3.1234", "a/\0b"]


@pytest.mark.parametrize("text", [*NEARLY, *NONSENSE])
def test_nonsense_is_wrong_usage(text: str) -> None:
    """With the forms that would do, and with the one that was nearly written."""
    with pytest.raises(UsageError) as caught:
        Flavour.parse(text)
    likely = f" (did you mean {NEARLY[text]}?)" if text in NEARLY else ""
    assert (
        f"--python {text}: not a version, name or path of a Python{likely}",
        "use 3.11, 3.13t, pypy3.11, py311, python3, or the path of an executable",
    ) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize("text", ["2.7", "py27", "2", "2.7.18", "cpython-27", "3.5", "py35", "3.1", "3.5.9"])
def test_what_is_too_old_is_wrong_usage(text: str) -> None:
    """It is a Python's version, but none that has a target."""
    with pytest.raises(UsageError) as caught:
        Flavour.parse(text)
    assert (f"--python {text}: older than any target", "the oldest is Python 3.6") == (
        caught.value.message,
        caught.value.hint,
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [("/usr/bin/python3", "/usr/bin/python3"), ("/usr//bin/../bin/python3", "/usr/bin/python3"), ("./p", "{cwd}/p")],
)
def test_what_has_a_slash_is_a_path(text: str, path: str) -> None:
    """Absolute from then on."""
    expected = path.format(cwd=os.getcwd())
    flavour = Flavour.parse(text)
    assert (Flavour("", (0, 0), False, expected), expected) == (flavour, flavour.name)


# -- the standard directories -----------------------------------------------------------------------------------------


@pytest.fixture
def standard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two directories instead of the standard ones."""
    places = (tmp_path / "first", tmp_path / "second")
    for place in places:
        place.mkdir()
    monkeypatch.setattr(module, "directories", lambda: [f"{tmp_path}/{name}" for name in ("first", "absent", "second")])
    return places


def put(place: Path, *names: str, mode: int = 0o755) -> None:
    """Programs of these names."""
    for name in names:
        (place / name).touch()
        (place / name).chmod(mode)


@pytest.mark.parametrize(
    ("text", "name"),
    [("python3", "python3"), ("3", "python3"), ("py3", "python3"), ("pypy3", "pypy3"), ("python", "python")],
)
def test_a_name_is_what_the_first_directory_has(standard: tuple[Path, Path], text: str, name: str) -> None:
    """That can be executed; and it is remembered how it was called."""
    put(standard[0], name, mode=0o644)
    put(standard[1], name)
    found = Flavour.parse(text)
    assert Flavour("", (0, 0), False, str(standard[1] / name), name) == found
    put(standard[0], name)
    assert str(standard[0] / name) == Flavour.parse(text).path


@pytest.mark.parametrize("text", ["sh", "mypython3", "python\n"])
def test_only_what_is_called_like_a_python_is_looked_for(standard: tuple[Path, Path], text: str) -> None:
    """Whatever is there."""
    put(standard[0], "sh", "mypython3")
    with pytest.raises(UsageError):
        Flavour.parse(text)


def test_a_name_that_is_not_there(standard: tuple[Path, Path]) -> None:
    """It is said with what is."""
    put(standard[0], "python3.11", "pypy3.9", "python3.13t", "pypy3", "python3-config")
    with pytest.raises(InterpreterError) as caught:
        Flavour.parse("python3")
    top = standard[0]
    listed = f"pypy3 {top}/pypy3, pypy39 {top}/pypy3.9, py311 {top}/python3.11, py313t {top}/python3.13t"
    assert (
        "no python3 was found in the standard directories",
        f"found: {listed}; name another one with --python PATH",
    ) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(
    ("called", "wanted"),
    [
        ("3.11", "Python 3.11"),
        ("py311", "Python 3.11"),
        ("3.13t", "Python 3.13t"),
        ("pypy3.9", "PyPy 3.9"),
        ("pypy39", "PyPy 3.9"),
        ("python3", "python3"),
    ],
)
def test_a_version_that_is_not_there(standard: tuple[Path, Path], called: str, wanted: str) -> None:
    """By the name that people know."""
    error = not_found(called)
    assert (f"no {wanted} was found in the standard directories", "name another one with --python PATH") == (
        error.message,
        error.hint,
    )


def test_of_many_interpreters_eight_are_named(standard: tuple[Path, Path]) -> None:
    """And the others counted."""
    put(standard[0], *(f"python3.{minor}" for minor in range(10, 18)))
    assert (not_found("3.9").hint or "").endswith(f"{standard[0]}/python3.17; name another one with --python PATH")
    put(standard[0], "python3.18", "python3.19")
    mend = not_found("3.9").hint or ""
    assert (8, True) == (mend.count("python3."), "python3.17 and 2 more; name" in mend)


def test_each_installed_file_is_found_once(standard: tuple[Path, Path]) -> None:
    """By its first name; what can't be executed, or is named otherwise, is none."""
    put(standard[0], "python3.11", "python3.12")
    put(standard[0], "python3.10", mode=0o644)
    put(standard[0], "python3", "python", "python3.11-config", "pypy3.9-c", "python3.11d")
    (standard[1] / "python3.11").symlink_to(standard[0] / "python3.11")
    (standard[1] / "python3.13t").symlink_to(standard[0] / "python3")
    (standard[1] / "python3.14").symlink_to("nowhere")
    (standard[1] / "python3.15").mkdir()
    expected = [standard[0] / "python3.11", standard[0] / "python3.12", standard[1] / "python3.13t"]
    assert [str(path) for path in expected] == installed()


#: A flavour, a path of the configuration, and the names that are looked for.
CANDIDATES = [
    ("3.11", None, ["python3.11"]),
    ("3.13t", None, ["python3.13t"]),
    ("pypy3.9", None, ["pypy3.9", "pypy3"]),
]


@pytest.mark.parametrize(("text", "configured", "names"), CANDIDATES)
def test_candidates_are_all_that_could_be_meant(
    standard: tuple[Path, Path], text: str, configured: str | None, names: list[str]
) -> None:
    """In the order of the directories."""
    put(standard[0], "python3.11", "python3.13t", "pypy3.9", "pypy3", "python3", "python3.13", "cpython3")
    put(standard[1], "python3.11", "python3.13t", "pypy3.9", "pypy3", mode=0o600)
    os.chmod(standard[1] / names[0], 0o755)
    expected = [str(standard[0] / name) for name in names] + [str(standard[1] / names[0])]
    assert expected == Flavour.parse(text).candidates(configured)


def test_a_path_and_a_configured_one_are_the_only_candidate() -> None:
    """Whether they are there or not; a path that was named comes first."""
    assert ["/opt/p"] == Flavour.parse("3.11").candidates("/opt/p")
    assert ["/a/b"] == Flavour.parse("/a/b").candidates("/opt/p")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cpython-311", "py311"),
        ("cpython-36", "py36"),
        ("pypy39", "pypy39"),
        ("pypy311", "pypy311"),
        ("cpython-27", None),
        ("cpython-3", None),
        ("cpython-311-x", None),
        ("cpython-311t", None),
        ("pypy-311", None),
        ("cpython-311\n", None),
        ("graalpy231-311", None),
        ("", None),
    ],
)
def test_flavour_of_a_cache_tag(tag: str, expected: str | None) -> None:
    """Of CPython's and PyPy's, version 3."""
    found = Flavour.of_cache_tag(tag)
    assert expected == (found.name if found else None)


def test_the_hosts_own_directory_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its real path, unless it is a standard one; a host that doesn't know its executable adds none."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for executable, own in [(f"{tmp_path}/link/p", [f"{tmp_path}/real"]), ("/usr/bin/env", []), ("", [])]:
        monkeypatch.setattr(sys, "executable", executable)
        assert [*STANDARD_DIRECTORIES, *own] == directories()


def test_a_directory_is_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint says how to name an environment."""
    (tmp_path / "venv").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Flavour.parse("venv")
    assert "venv is a directory; for an environment use --prefix venv" == caught.value.hint
