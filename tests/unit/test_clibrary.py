"""System calls without a function in Python: opening beneath a root, flushing a file system, capabilities."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger import clibrary
from pyctrigger.clibrary import call, open_on_this_mount, read_capabilities, sync_file_system
from pyctrigger.tree.directory import open_in_root
from pyctrigger.tree.opened import read_link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with links of all kinds."""
    top = write_tree(tmp_path / "root", {"etc/passwd": "inside", "var/lib/db": "database", "etc/deep/x": ""})
    write_tree(tmp_path, {"etc/passwd": "outside", "secret": "outside"})
    for name, goal in {
        "link": "etc",
        "absolute": "/etc",
        "up": "../../../etc",
        "file": "etc/passwd",
        "circle": "circle",
        "out": "../secret",
        "var/back": "../etc",
        "dangling": "nowhere/at/all",
    }.items():
        (top / name).symlink_to(goal)
    return top


@pytest.fixture(params=["openat2", "open"])
def opened(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The root's descriptor, with the new system call and without."""
    if request.param == "open":
        monkeypatch.setattr(clibrary, "_has_openat2", False)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def open_file(root: Path, path: str) -> int:
    """A file in one of the root's directories, as package databases are opened."""
    above, name = os.path.split(path)
    directory = open_in_root(str(root), above)
    try:
        return open_on_this_mount(name, os.O_RDONLY, directory)
    finally:
        os.close(directory)


#: Paths of directories, and what is really opened.
DIRECTORIES = {
    "": "",
    "/": "",
    ".": "",
    "..": "",
    "/../..": "",
    "etc": "etc",
    "/etc": "etc",
    "etc/": "etc",
    "/etc/.//deep/": "etc/deep",
    "etc/../var": "var",
    "link": "etc",
    "link/deep": "etc/deep",
    "absolute": "etc",
    "absolute/deep": "etc/deep",
    "up": "etc",
    "up/deep": "etc/deep",
    "var/back/deep": "etc/deep",
    "link/..": "",
}


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("path", DIRECTORIES)
def test_directories_are_opened_inside(root: Path, path: str) -> None:
    """Links lead as they would after a chroot; `..` leads nowhere above."""
    before = len(os.listdir("/proc/self/fd"))
    descriptor = open_in_root(str(root), path)
    found = os.fstat(descriptor)
    os.close(descriptor)
    assert (root / DIRECTORIES[path]).stat().st_ino == found.st_ino
    assert len(os.listdir("/proc/self/fd")) <= before


#: Paths of files, and what is read there; or what is wrong with them.
FILES: dict[str, bytes | int] = {
    "etc/passwd": b"inside",
    "link/passwd": b"inside",
    "absolute/passwd": b"inside",
    "up/passwd": b"inside",
    "../etc/passwd": b"inside",
    "var/lib/../lib/db": b"database",
    "file": errno.ELOOP,  # a last link isn't followed
    "out": errno.ELOOP,
    "circle": errno.ELOOP,
    "circle/x": errno.ELOOP,
    "absent": errno.ENOENT,
    "dangling/x": errno.ENOENT,
    "etc/passwd/x": errno.ENOTDIR,
}


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("path", FILES)
def test_files_are_opened_inside(root: Path, path: str) -> None:
    """Never by a link of their own."""
    before, expected = len(os.listdir("/proc/self/fd")), FILES[path]
    if isinstance(expected, int):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
            open_file(root, path)
        assert expected == caught.value.errno
    else:
        descriptor = open_file(root, path)
        assert expected == os.read(descriptor, 100)
        os.close(descriptor)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("count", "is_found"), [(40, True), (41, False)])
def test_links_are_followed_as_far_as_the_kernel_does(root: Path, count: int, is_found: bool) -> None:
    """Forty."""
    (root / "l0").symlink_to("etc")
    for number in range(1, count):
        (root / f"l{number}").symlink_to(f"l{number - 1}")
    if is_found:
        os.close(open_in_root(str(root), f"l{count - 1}"))
    else:
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            open_in_root(str(root), f"l{count - 1}")


def test_no_mount_is_entered(opened: int) -> None:
    """Of this system's: another device shows it, too."""
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
        open_on_this_mount("proc", os.O_RDONLY | os.O_DIRECTORY, top)
    os.close(top)
    assert errno.EXDEV == caught.value.errno


@pytest.mark.parametrize(
    ("name", "expected"), [("link", "etc"), ("dangling", "nowhere/at/all"), ("etc", None), ("absent", None)]
)
def test_links_are_read(opened: int, name: str, expected: str | None) -> None:
    """What is none has no goal."""
    assert expected == read_link(name, opened)


# -- other calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "number"),
    [("no_such_function", (), errno.ENOSYS), ("close", (-1,), errno.EBADF), ("syncfs", (-1,), errno.EBADF)],
)
def test_a_call_that_fails_is_an_error(function: str, arguments: tuple[int, ...], number: int) -> None:
    """With the number of the C library, or as one that the system doesn't know."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
        call(function, *arguments)
    assert number == caught.value.errno


def test_a_call_returns_its_number() -> None:
    """A number goes in, and one comes out."""
    assert os.getpgid(1) == call("getpgid", 1)


#: What syncfs(2) answers, and whether everything is flushed instead; None: it is an error.
SYNCS: list[tuple[int, bool | None]] = [
    (0, False),
    (errno.ENOSYS, True),
    (errno.EPERM, True),
    (errno.EIO, None),
    (errno.ENOSPC, None),
]


@pytest.mark.parametrize(("number", "is_everything"), SYNCS)
def test_a_file_system_is_flushed(monkeypatch: pytest.MonkeyPatch, number: int, is_everything: bool | None) -> None:
    """All of them if the call is missing or refused; a failed write is reported."""
    flushed: list[str] = []

    def answer(function: str, descriptor: int) -> int:
        flushed.append(function)
        if number:
            raise OSError(number, os.strerror(number))
        return 0

    monkeypatch.setattr(clibrary, "call", answer)
    monkeypatch.setattr(os, "sync", lambda: flushed.append("sync"))
    if is_everything is None:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
            sync_file_system(0)
        assert (number, ["syncfs"]) == (caught.value.errno, flushed)
    else:
        sync_file_system(0)
        assert (["syncfs", "sync"] if is_everything else ["syncfs"]) == flushed


def test_capabilities_are_as_the_kernel_shows_them() -> None:
    """All of root's, or none."""
    with open("/proc/self/status", encoding="ascii") as status:
        shown = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    assert int(shown, 16) == read_capabilities()
