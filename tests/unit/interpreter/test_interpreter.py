"""What a target is, and what its answer rests on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.errors import InterpreterError
from pyctrigger.interpreter.flavour import Flavour
from pyctrigger.interpreter.interpreter import (
    Account,
    Interpreter,
    Witness,
    ancestors,
    environment_of,
    facts_of,
    is_unchanged,
)
from unit.interpreter.made_up import interpreter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "implementation", "version", "free_threaded", "name"),
    [
        ("3.11", "cpython", (3, 11, 7), False, None),
        ("3.11", "cpython", (3, 12, 7), False, "py312"),
        ("3.11", "pypy", (3, 11, 7), False, "pypy311"),
        ("3.13", "cpython", (3, 13, 0), True, "py313t"),
        ("3.13t", "cpython", (3, 13, 0), True, None),
        ("3.13t", "cpython", (3, 13, 0), False, "py313"),
        ("/p", "pypy", (3, 6, 0), False, None),
    ],
)
def test_an_interpreter_has_to_be_what_was_asked_for(
    text: str, implementation: str, version: tuple[int, int, int], free_threaded: bool, name: str | None
) -> None:
    """Implementation, version and threads; a path may be any. `name` is what it is instead."""
    kind = {"implementation": implementation, "version": version, "free_threaded": free_threaded}
    found = interpreter("3.11", "/p", **kind)
    asked = Flavour.parse(text)
    if name is None:
        found.require(asked)
        return
    with pytest.raises(InterpreterError) as caught:
        found.require(asked)
    assert (
        f"/p should be {asked.name}, but is {name}",
        f"use --python {name}, or correct {asked.name}'s executable in the configuration",
    ) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(
    ("executable", "expected"),
    [
        ("", True),
        ("/absent", True),
        ("/file/python", True),
        ("/file", False),
        ("/dangling", False),
        ("/" + "x" * 256, False),
    ],
)
@pytest.mark.parametrize("has_root", [True, False])
def test_a_target_is_gone_if_its_name_is(tmp_path: Path, executable: str, expected: bool, has_root: bool) -> None:
    """One that can't be looked up may be there; inside a root its name is the root's."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    if has_root:
        found = interpreter("3.11", executable, root=str(tmp_path))
    else:
        found = interpreter("3.11", executable and f"{tmp_path}{executable}")
    assert expected is found.is_gone


MADE_UP = interpreter("3.11", "/p")
THEIRS = MADE_UP._replace(account=Account(1001, 1002), environment="/v")
ROOT = (64769, 2)
#: A target, the root and the environment that it works in, and the id that state of ours is kept under.
IDS: list[tuple[Interpreter, tuple[int, int] | None, str | None, str]] = [
    (MADE_UP, None, None, "cpython-311-6d479d29"),
    (MADE_UP._replace(executable="/q", abi_flags="d"), None, None, "cpython-311-81945e7f"),
    (MADE_UP._replace(prefix="/\udcff"), None, None, "cpython-311-caf092a6"),
    (MADE_UP._replace(implementation="pypy", cache_tag="pypy311"), None, None, "pypy311-bbc7b261"),
    (interpreter("3.13t", "/p"), None, None, "cpython-313t-ef755905"),
    (MADE_UP, ROOT, None, "cpython-311-0f8fa167"),
    (MADE_UP, None, "/absent", "cpython-311-329d3f79"),
    (MADE_UP, ROOT, "/absent", "cpython-311-837bf7b5"),
    (THEIRS, None, None, "cpython-311-account1001-3cbb64b5"),
    (THEIRS._replace(environment=None), None, "/absent", "cpython-311-account1001-7819d9ad"),
]


@pytest.mark.parametrize(("target", "root", "environment", "expected"), IDS)
def test_an_installation_keeps_its_id(
    target: Interpreter, root: tuple[int, int] | None, environment: str | None, expected: str
) -> None:
    """From one release to the next: its journal and records are found by it."""
    assert expected == target.installation_in(root, environment)
    assert root or environment or expected == target.installation


@pytest.mark.usefixtures("as_root")
def test_who_could_replace_an_environment_is_part_of_its_id(tmp_path: Path) -> None:
    """With the account that its interpreter runs as, and neither root nor in a root that is seen from outside."""
    place = tmp_path / "above/environment"
    place.mkdir(parents=True)
    os.chown(tmp_path / "above", 1003, 0)
    os.chown(place, 1000, 0)
    ids = [THEIRS.installation_in(None, str(place)), THEIRS.installation_in(ROOT, str(place))]
    owners = ["-account1000-account1001-account1003", "-account1001"]
    assert [f"cpython-311{each}" for each in owners] == [each.rpartition("-")[0] for each in ids]


@pytest.mark.parametrize(("path", "expected"), [("/a/bc/d", ["/a/bc/d", "/a/bc", "/a", "/"]), ("/", ["/"])])
def test_ancestors_end_at_the_top(path: str, expected: list[str]) -> None:
    """With the directory itself."""
    assert expected == list(ancestors(path))


Deed = Callable[["Path"], Any]


def replace(path: Path) -> None:
    """Another file of the same bytes, mode and times under this name."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.chmod(status.st_mode & 0o7777)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


FILE_DEEDS: dict[str, tuple[Deed, bool]] = {
    "nothing": (lambda path: path.read_bytes(), True),
    "a neighbour": (lambda path: path.with_name("neighbour").touch(), True),
    "a byte more": (lambda path: path.write_bytes(b"ab"), False),
    "another mode": (lambda path: path.chmod(0o600), False),
    "another mtime": (lambda path: os.utime(path, (1, 1)), False),
    "another file": (replace, False),
    "gone": (lambda path: path.unlink(), False),
}


@pytest.mark.parametrize("name", FILE_DEEDS)
def test_all_of_a_file_counts(tmp_path: Path, name: str) -> None:
    """Identity, mode, owner, size and times."""
    path = tmp_path / "file"
    path.write_bytes(b"a")
    path.chmod(0o644)
    witness = Witness(str(path), facts_of(path.lstat()))
    deed, expected = FILE_DEEDS[name]
    deed(path)
    assert expected is is_unchanged(witness)


DIRECTORY_DEEDS: dict[str, tuple[Deed, bool]] = {
    "an entry": (lambda path: (path / "entry").touch(), True),
    "another mtime": (lambda path: os.utime(path, (1, 1)), True),
    "another mode": (lambda path: path.chmod(0o777), False),
    "another directory": (lambda path: path.rename(path.with_name("old")).with_name("directory").mkdir(), False),
    "gone": (lambda path: path.rmdir(), False),
}


@pytest.mark.parametrize("name", DIRECTORY_DEEDS)
def test_of_a_directory_owner_and_mode_count(tmp_path: Path, name: str) -> None:
    """Its entries may come and go."""
    path = tmp_path / "directory"
    path.mkdir(mode=0o755)
    witness = Witness(str(path), facts_of(path.lstat()))
    deed, expected = DIRECTORY_DEEDS[name]
    deed(path)
    assert expected is is_unchanged(witness)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("uid", "gid"), [(12345, 0), (0, 12345)])
def test_owner_and_group_of_a_directory_count(tmp_path: Path, uid: int, gid: int) -> None:
    """Either could give it away."""
    witness = Witness(str(tmp_path), facts_of(tmp_path.lstat()))
    os.chown(tmp_path, uid, gid)
    assert is_unchanged(witness) is False


def test_a_link_is_judged_itself(tmp_path: Path) -> None:
    """What it leads to is another step."""
    link = tmp_path / "link"
    link.symlink_to("file")
    witness = Witness(str(link), facts_of(link.lstat()))
    (tmp_path / "file").touch()
    assert is_unchanged(witness) is True
    link.unlink()
    link.symlink_to("elsewhere")
    assert is_unchanged(witness) is False


def test_what_was_absent_has_to_stay_so(tmp_path: Path) -> None:
    """Somebody could put something there."""
    witness = Witness(str(tmp_path / "absent"), None)
    assert is_unchanged(witness) is True
    (tmp_path / "absent").touch()
    assert is_unchanged(witness) is False


@pytest.mark.parametrize(
    ("marker", "expected"), [("pyvenv.cfg", True), ("conda-meta", False), ("bin/pyvenv.cfg", False)]
)
def test_an_environment_is_told_by_its_configuration(tmp_path: Path, marker: str, expected: bool) -> None:
    """Two directories above the executable (PEP 405)."""
    (tmp_path / "bin").mkdir()
    (tmp_path / marker).touch()
    found = environment_of(str(tmp_path / "bin/python"))
    assert (str(tmp_path) if expected else None) == found
