"""The files of a root, a stranger's: what is there, and what is read of it."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from children import in_child, require_own_mounts
from pyctrigger.errors import ManagerError
from pyctrigger.packages.databases import Files
from pyctrigger.run.scope.files_inside import FILE, FilesInside, files_inside

if TYPE_CHECKING:
    from pathlib import Path

MOST = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root, and a file of the host's beside it."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (tmp_path / "beside").write_text("the host's")
    (root / "beside").write_text("the root's")
    (root / "a/file").write_text("text")
    (root / "full").write_bytes(b"x" * MOST)
    (root / "large").write_bytes(b"x" * (MOST + 1))
    os.mkfifo(root / "fifo")
    links = {
        "out": "../../beside",
        "absolute": "/beside",
        "link": "a",
        "dangling": "no",
        "above": "/..",
        "circle": "circle",
    }
    for name, goal in links.items():
        (root / name).symlink_to(goal)
    return root


#: A path, whether something is there, whether it is a file, where it leads as a link, and what is read.
PATHS: list[tuple[str, bool, bool, str | None, bytes | int]] = [
    ("/a/file", True, True, None, b"text"),
    ("/link/file", True, True, None, b"text"),
    ("/above/a/file", True, True, None, b"text"),
    ("/a/../a/file", True, True, None, b"text"),
    ("/a", True, False, None, errno.EINVAL),
    ("/fifo", True, False, None, errno.EINVAL),
    ("/full", True, True, None, b"x" * MOST),
    ("/large", True, True, None, errno.EFBIG),
    ("/no", False, False, None, errno.ENOENT),
    ("/no/file", False, False, None, errno.ENOENT),
    ("/a/file/x", False, False, None, errno.ENOTDIR),
    ("/circle/x", True, False, None, errno.ELOOP),
]


@pytest.mark.parametrize(("path", "is_there", "is_file", "goal", "read"), PATHS)
def test_what_there_is_in_a_root(
    root: Path, path: str, is_there: bool, is_file: bool, goal: str | None, read: bytes | int
) -> None:
    """Links on the way lead to what is in it; nothing is waited for, and nothing large read."""
    files = files_inside(str(root))
    try:
        found: bytes | int | None = files.read(path)
    except OSError as error:
        found = error.errno
    assert (is_there, is_file, goal, read) == (files.has(path), files.has_file(path), files.link(path), found)


@pytest.mark.parametrize("name", ["out", "absolute", "dangling"])
def test_a_link_at_the_end_is_not_followed(root: Path, name: str) -> None:
    """It is there, and where it leads may be asked."""
    files = FilesInside(str(root))
    assert (True, False, os.readlink(root / name)) == (
        files.has(f"/{name}"),
        files.has_file(f"/{name}"),
        files.link(f"/{name}"),
    )
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        files.read(f"/{name}")


def test_how_a_root_is_asked(root: Path) -> None:
    """This system's own is no stranger's; what needs a child isn't read here."""
    files = files_inside(str(root))
    assert [FilesInside, Files] == [type(files), type(files_inside("/"))]
    assert files.is_foreign
    assert [f"{root}/a", "/r/a", "/a"] == [FilesInside(each).describe("/a") for each in (str(root), "/r/", "/")]
    for ask in (lambda: files.read_below("/d", ".x"), lambda: files.open_database("/d", ("t",))):
        with pytest.raises(ManagerError) as caught:
            ask()
        assert f"{root}/d is read by a child only" == caught.value.message


def test_a_file_is_closed(root: Path) -> None:
    """Whatever became of it."""
    files = FilesInside(str(root))
    before = len(os.listdir("/proc/self/fd"))
    for path, *_ in PATHS:
        files.has(path)
        files.link(path)
        for flags in (FILE, os.O_RDONLY | os.O_DIRECTORY):
            try:
                with files.opened(path, flags | os.O_NONBLOCK):
                    pass
            except OSError:
                pass
    with files.opened("/a") as directory:
        assert ["b", "file"] == sorted(os.listdir(directory))
        assert os.get_inheritable(directory) is False
    assert len(os.listdir("/proc/self/fd")) <= before


def test_mounts_are_not_entered(root: Path) -> None:
    """Something is there; no more is known."""
    require_own_mounts()

    def look() -> list[object]:
        subprocess.run(["mount", "--bind", root.parent, root / "a/b"], check=True)
        files = FilesInside(str(root))
        return [files.has("/a/b"), files.has("/a/b/beside"), files.has_file("/a/b/beside"), files.link("/a/b/root/out")]

    assert [True, True, False, None] == in_child(look, own_mounts=True)


@pytest.mark.parametrize(
    ("path", "most", "expected"),
    [
        ("/a", 9, 2),
        ("/link", 9, 2),
        ("/above", 3, 3),
        ("/a", 0, 0),
        ("/out", 9, errno.ENOTDIR),
        ("/full", 9, errno.ENOTDIR),
        ("/no", 9, errno.ENOENT),
    ],
)
def test_names_in_a_directory(root: Path, path: str, most: int, expected: int) -> None:
    """At most so many, and never of one beside the root."""
    files = FilesInside(str(root))
    try:
        found = len(files.names(path, most))
    except OSError as error:
        found = error.errno or 0
    assert expected == found
