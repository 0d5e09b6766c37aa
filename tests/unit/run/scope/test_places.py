"""Places that a request names: where they are, what lies in them, and what is said of those that aren't there."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from children import in_child, public_directory, require_own_mounts
from pyctrigger.errors import RefusedError, UsageError
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.places import (
    as_seen_inside,
    is_inside,
    lies_in,
    lies_on_mount,
    locate,
    no_directory,
    real_name,
    real_prefix,
    require_named,
    require_root,
)
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.tree import mounts

if TYPE_CHECKING:
    from collections.abc import Callable
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
        ("/file", "not a directory", "name a directory that exists"),
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


# -- what a person names ---------------------------------------------------------------------------------------------

NO, NO_ROOT = "name a directory that exists", "name the directory of a staged root"
#: A scope, whether a hook names it, and what is said.
NAMED: list[tuple[dict[str, Any], bool, tuple[str, str] | None]] = [
    ({}, False, None),
    ({"prefixes": ("T/a", "T/link")}, False, None),
    ({"prefixes": ("T/a", "T/no")}, False, ("--prefix T/no: no such directory", NO)),
    ({"prefixes": ("T/no",), "site_dirs": ("T/nor",)}, False, ("--prefix T/no: no such directory", NO)),
    ({"site_dirs": ("T/file",)}, False, ("--site-dir T/file: not a directory", NO)),
    ({"prefixes_below": ("T/no",)}, False, ("--prefix-below T/no: no such directory", NO)),
    ({"pycache_prefix": "T/no"}, False, ("--pycache-prefix T/no: no such directory", NO)),
    ({"pycache_prefix": "T/a", "site_dirs": ("T/a",), "prefixes_below": ("T/a",)}, False, None),
    ({"prefixes": ("T/no",), "pycache_prefix": "T/no"}, True, None),
    ({"root": "T", "prefixes": ("/a",), "site_dirs": ("/absolute",)}, False, None),
    ({"root": "T", "prefixes": ("/no",)}, False, ("--prefix /no: no such directory in T", NO)),
    ({"root": "T/no"}, False, ("--root T/no: no such directory", NO_ROOT)),
    ({"root": "T/file"}, True, ("--root T/file: not a directory", NO_ROOT)),
]


@pytest.mark.parametrize(("scope", "is_hook", "said"), NAMED)
def test_what_a_person_names_has_to_be_there(
    top: Path, scope: dict[str, Any], is_hook: bool, said: tuple[str, str] | None
) -> None:
    """What a hook names may be gone, but for its root."""

    def placed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(placed, value))
        return value.replace("T", str(top), 1) if value.startswith("T") else value

    request = Request(
        Work.RUN, Scope(**{name: placed(value) for name, value in scope.items()}), running=Running(hook=is_hook)
    )
    if said is None:
        require_named(request)
        return
    with pytest.raises(UsageError) as caught:
        require_named(request)
    assert said == (caught.value.message.replace(str(top), "T"), caught.value.hint)


@pytest.mark.usefixtures("as_root")
def test_where_root_may_not_look_it_is_refused(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a mount of FUSE, whose file system lets in its owner alone: in a root by the whole path."""
    asked: list[str] = []

    def lies_on_fuse(path: str) -> bool:
        asked.append(path)
        return True

    monkeypatch.setattr(mounts, "lies_on_fuse", lies_on_fuse)
    for root, path in ((None, f"{top}/no"), (str(top), "/no")):
        with pytest.raises(RefusedError) as caught:
            require_named(Request(Work.RUN, Scope(root=root, prefixes=(path,))))
        assert (f"--prefix {path}: {mounts.KEPT_OUT}", mounts.HINT_FOR_FUSE) == (
            caught.value.message,
            caught.value.hint,
        )
    assert [f"{top}/no"] * 2 == asked

    def name_as_another() -> None:
        with pytest.raises(UsageError):
            require_named(Request(Work.RUN, Scope(prefixes=("/no",))))

    in_child(name_as_another, account=12345)


def test_the_root_that_is_named(top: Path) -> None:
    """Device and inode of where it leads."""
    status = (top / "a").stat()
    assert (status.st_dev, status.st_ino) == require_root(f"{top}/link") == require_root(f"{top}/a")


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        (None, "T/a", None),
        ("T", "T/a", "/a"),
        ("T/", "T/a/b", "/a/b"),
        ("T", "T/gone", "/gone"),
        ("T", "T/absent", None),
        ("T", "Ta", None),
        ("T", "T", None),
        ("/", "/", "/"),
    ],
)
def test_what_a_path_outside_is_inside(top: Path, root: str | None, path: str, expected: str | None) -> None:
    """If it is there; a link that leads nowhere is."""
    (top.parent / "roota").mkdir()
    named = None if root is None else root.replace("T", str(top))
    assert expected == as_seen_inside(path.replace("T", str(top)), named)


def test_what_all_names_of_an_environment_have_in_common(top: Path) -> None:
    """Its real path; in a root its device and inode, and of one that is gone its name."""
    assert os.path.realpath(top / "a") == real_prefix(None, f"{top}/link") == real_prefix(None, f"{top}/a")
    status = (top / "a").stat()
    inode = f"{status.st_dev}:{status.st_ino}"
    assert inode == real_prefix(str(top), "/link") == real_prefix(str(top), "/a/b/..")
    assert "/no/a" == real_prefix(str(top), "/no//b/../a")


def test_a_mount_in_a_root_is_told(top: Path) -> None:
    """It isn't entered; without a root it is a directory as any."""
    require_own_mounts()

    def look() -> list[Any]:
        subprocess.run(["mount", "--bind", top.parent / "beside", top / "a/b"], check=True)
        error = no_directory("--prefix", "/a/b", str(top))
        paths = ("/a/b", "/absolute", "/a", "/no", "/a\0")
        named = [error.message, error.hint]
        return [named, [lies_on_mount(str(top), path) for path in paths], locate(None, f"{top}/a/b") is not None]

    hint = "run pyctrigger inside the root (chroot)"
    message = f"--prefix /a/b: is on a mount in {top}, and mounts below a root aren't entered"
    assert [[message, hint], [True, True, False, False, False], True] == in_child(look, own_mounts=True)
    assert f"no such directory in {top}" in no_directory("--prefix", "/no", str(top)).message
    before = len(os.listdir("/proc/self/fd"))
    assert lies_on_mount(str(top), "/a") is False
    assert lies_in(str(top), "/a", "/")
    assert lies_in(None, f"{top}/a", str(top))
    assert len(os.listdir("/proc/self/fd")) <= before


# -- where we have no rights -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_root")
def test_who_may_not_look_finds_nothing() -> None:
    """An account other than root; what it may do about it is said."""
    with public_directory() as place:
        (place / "closed/in").mkdir(parents=True)
        (place / "closed").chmod(0)
        path = f"{place}/closed/in"

        def look() -> list[Any]:
            error = no_directory("--prefix", path)
            return [
                locate(None, path),
                locate(str(place), "/closed/in"),
                lies_in(None, path, str(place)),
                error.message,
                error.hint,
            ]

        found = in_child(look, account=12345)
        hint = "run it as an account that may look there"
        assert [True, "not a directory"] == [look()[2], look()[3].partition(": ")[2]]
        assert [None, None, False, f"--prefix {path}: Permission denied", hint] == found
        assert locate(None, path) is not None


def bare_root(work: Callable[[], Any]) -> Any:
    """What `work` returns for a root without capabilities: it has no more rights than others, as on NFS."""

    def work_bare() -> Any:
        # capset(2): only CAP_SETGID and CAP_SETUID stay, by which it can act as others.
        kept = 1 << 6 | 1 << 7
        assert 0 == ctypes.CDLL(None).capset(
            struct.pack("Ii", 0x20080522, 0), struct.pack("6I", kept, kept, 0, 0, 0, 0)
        )
        return work()

    return in_child(work_bare)


@pytest.mark.usefixtures("as_root")
def test_root_without_rights_asks_whose_place_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that acts as that account; where there can be none, nothing is found."""
    with public_directory() as place:
        os.chmod(place, 0o755)
        (place / "theirs/in").mkdir(parents=True)
        for name in ("theirs", "theirs/in"):
            os.chown(place / name, 12345, 12345)
        (place / "theirs").chmod(0o700)
        path, status = f"{place}/theirs/in", (place / "theirs/in").stat()
        identity = (status.st_dev, status.st_ino)

        def look() -> list[Any]:
            return [
                locate(None, path),
                locate(str(place), "/theirs/in"),
                locate(None, f"{path}/no"),
                lies_in(None, path, str(place)),
                lies_in(None, path, f"{place}/theirs"),
                lies_in(str(place), "/theirs/in", "/theirs"),
                lies_in(None, path, "/etc"),
                lies_in(str(place), "/theirs", "/theirs/in"),
            ]

        assert [identity, identity, None, True, True, True, False, False] == look() == bare_root(look)

        def fail() -> int:
            raise OSError(11, "no more processes")

        monkeypatch.setattr(forked, "fork", fail)
        assert [None, None, None, False, False, False, False, False] == bare_root(look)
