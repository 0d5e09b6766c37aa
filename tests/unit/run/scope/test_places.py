"""Places that a request names: where they are, what lies in them, and what is said of those that aren't there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.run.scope.places import is_inside, lies_in, locate, no_directory, real_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A root with directories, a file, and links, of which one leads out; and a directory beside it."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    (root / "file").write_text("")
    for name, goal in {"link": "a", "absolute": "/a/b", "out": "../beside", "circle": "circle", "gone": "no"}.items():
        (root / name).symlink_to(goal)
    return root


#: A path, what it is in the root, and what it is for this system, as paths from above the root; None: no directory.
PLACES: list[tuple[str, str | None, str | None]] = [
    ("/a", "root/a", "root/a"),
    ("/a/b/..", "root/a", "root/a"),
    ("/link/b", "root/a/b", "root/a/b"),
    ("/absolute", "root/a/b", None),
    ("/out", None, "beside"),
    ("/../a", "root/a", None),
    ("/file", None, None),
    ("/circle", None, None),
    ("/gone", None, None),
    ("/absent", None, None),
    ("/a\0b", None, None),
]


@pytest.mark.parametrize(("path", "inside", "outside"), PLACES)
def test_where_a_directory_is(top: Path, path: str, inside: str | None, outside: str | None) -> None:
    """In a root links stay inside; what is no directory is nowhere."""
    found = [locate(str(top), path), locate(None, f"{top}{path}")]
    expected = [None if each is None else (top.parent / each).stat() for each in (inside, outside)]
    assert [each and (each.st_dev, each.st_ino) for each in expected] == found


#: A root, a path, another one, and whether the first lies in the other or is it.
WITHIN: list[tuple[bool, str, str, bool]] = [
    (False, "/a/b", "/a", True),
    (False, "/a", "/a", True),
    (False, "/a", "/a/b", False),
    (False, "/link/b", "/a", True),
    (False, "/a/b", "/link", True),
    (False, "/out", "", False),
    (False, "/absent", "/a", False),
    (False, "/a", "/absent", False),
    (False, "/file", "", False),
    (True, "/absolute", "/a", True),
    (True, "/a", "/", True),
    (True, "/out", "/", False),
    (True, "/a\0", "/", False),
]


@pytest.mark.parametrize(("is_root", "path", "above", "expected"), WITHIN)
def test_what_lies_in_a_directory(top: Path, is_root: bool, path: str, above: str, expected: bool) -> None:
    """Whatever links lead there."""
    root, prefix = (str(top), "") if is_root else (None, str(top))
    assert expected is lies_in(root, prefix + path, prefix + above)


@pytest.mark.parametrize(("path", "expected"), [("/a/new/er", True), ("/out/new", False), ("/link/new", True)])
def test_what_is_not_there_yet_lies_where_its_parent_does(top: Path, path: str, expected: bool) -> None:
    """So state that is to be made is seen to lie in a root."""
    assert expected is is_inside(f"{top}{path}", str(top))


@pytest.mark.parametrize(
    ("path", "reason", "hint"),
    [
        ("/absent", "no such directory", "name a directory that exists"),
        ("/file", "is no directory", "name a directory that exists"),
        ("/a\0b", "no such directory", "name a directory that exists"),
    ],
)
def test_what_is_said_of_one_that_is_not_there(top: Path, path: str, reason: str, hint: str) -> None:
    """What it is instead, if it is something."""
    error = no_directory("--prefix", f"{top}{path}")
    assert (f"--prefix {top}{path}: {reason}", hint) == (error.message, error.hint)


def test_what_is_said_of_one_that_is_not_in_a_root(top: Path) -> None:
    """A name as seen outside is told as seen inside."""
    for path, hint in (("/absent", "name a directory that exists"), (f"{top}/a", "as seen inside, it is /a")):
        error = no_directory("--prefix", path, str(top))
        assert (f"--prefix {path}: no such directory in {top}", hint) == (error.message, error.hint)


def test_a_name_without_links(top: Path) -> None:
    """In a root as seen inside."""
    assert os.path.realpath(top / "a/b") == real_name(None, f"{top}/link/b")
    assert "/a/b" == real_name(str(top), "/link/b")
    assert "/a/b" == real_name(str(top), "/absolute")
