"""Which files are examined: those that are named, and below a directory what is named like an archive."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.inspect.audit.collection import Collection, is_archive_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, True)
            for name in ("a.whl", "a.egg", "A.ZIP", "a.conda", "a.deb", "a.udeb", "a.rpm", "a.pkg", "a.apk")
        ),
        *((name, True) for name in ("a.tar", "a.tgz", "a.tar.zst", "a.pkg.tar.xz", "a\nb.whl")),
        *((name, False) for name in (".whl", "a.py", "a.gz", "a.whl.asc", "whl", "a.tar.lz", "a.whl\n")),
    ],
)
def test_name_of_an_archive(name: str, expected: bool) -> None:
    """Of a kind that is known; whether it is one, its bytes say."""
    assert expected is is_archive_name(name)


def test_order(tmp_path: Path) -> None:
    """That of the arguments, each once; a directory's own files first, then what lies below it, each by name."""
    names = ("b.whl", "a.zip", "note.txt", "sub/c.whl", "sub/deep/d.whl", "alpha/e.whl")
    top = write_tree(tmp_path / "top", dict.fromkeys(names, "x"))
    (top / "link.whl").symlink_to(top / "b.whl")
    (top / "ring").symlink_to(top)
    alone = write_tree(tmp_path / "other", {"any.name": "y"}) / "any.name"
    named = tmp_path / "named"
    named.symlink_to(alone)

    with contextlib.closing(Collection([str(named), str(top), f"{top}/b.whl", str(alone)])) as collection:
        below = [f"{top}/{name}" for name in ("a.zip", "b.whl", "alpha/e.whl", "sub/c.whl", "sub/deep/d.whl")]
        assert [str(named), *below, str(alone)] == list(collection.candidates)
        for path, opened in collection.candidates.items():
            assert callable(opened)
            descriptor = opened()
            assert (b"x" if path.startswith(str(top)) else b"y") == os.read(descriptor, 2)
            os.close(descriptor)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: None, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_file(tmp_path: Path, make: object) -> None:
    """A FIFO never keeps anybody waiting; what is gone, or a device, is an error of its own."""
    path = str(tmp_path / "a.whl")
    assert callable(make)
    make(path)
    with contextlib.closing(Collection([path, "a\0b"])) as collection:
        assert [path, "a\0b"] == list(collection.candidates)
        for opened in collection.candidates.values():
            assert callable(opened)
            with pytest.raises(OSError, match=r"regular file|No such file|null"):
                opened()
