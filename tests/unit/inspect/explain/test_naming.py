"""What the path of a pyc says by itself."""

from __future__ import annotations

import pytest

from pyctrigger.inspect.explain.naming import PycPath, clean_paths, directory_of, is_source, pycache_of, read_name

PYCACHE = "/site/a/__pycache__"

#: A path; its kind, source, cache tag and level, or None for one that no pyc can have.
NAMES: list[tuple[str, tuple[str, str | None, str | None, int] | None]] = [
    (f"{PYCACHE}/m.cpython-311.pyc", ("pyc", "/site/a/m.py", "cpython-311", 0)),
    (f"{PYCACHE}/m.cpython-313.opt-2.pyc", ("pyc", "/site/a/m.py", "cpython-313", 2)),
    (f"{PYCACHE}/m.n.pypy311.pyc", ("pyc", "/site/a/m.n.py", "pypy311", 0)),
    (f"{PYCACHE}/m.own-tag.opt-1.pyc", ("pyc", "/site/a/m.py", "own-tag", 1)),
    (f"{PYCACHE}/m.cpython-311.opt-0.pyc", ("foreign", None, None, 0)),
    (f"{PYCACHE}/m.cpython-311-pytest-8.pyc", ("foreign", None, None, 0)),
    (f"{PYCACHE}/m.pyc", ("foreign", None, None, 0)),
    (f"{PYCACHE}/m.cpython-311.pyc.140", ("residue", "/site/a/m.py", "cpython-311", 0)),
    (f"{PYCACHE}/.pyctrigger-cpython-311-00000000-0123456789abcdef.tmp", ("residue", None, None, 0)),
    (f"{PYCACHE}/data.txt", None),
    ("/site/a/m.pyc", ("legacy", "/site/a/m.py", None, 0)),
    ("/site/a/.pyc", None),
    ("/site/a/m.py", None),
    ("/prefix/site/a/m.cpython-311.pyc", ("pyc", "/site/a/m.py", "cpython-311", 0)),
    ("/prefix/m.cpython-311.pyc", ("pyc", "/m.py", "cpython-311", 0)),
    ("/prefixed/m.pyc", ("legacy", "/prefixed/m.py", None, 0)),
]


@pytest.mark.parametrize(("path", "expected"), NAMES)
def test_name(path: str, expected: tuple[str, str | None, str | None, int] | None) -> None:
    """Of a flavour, of an interpreter that is here, of a writer, or of somebody else."""
    found = read_name(path, ["own-tag"], "/prefix/")
    assert (None if expected is None else PycPath(path, *expected)) == found


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        (f"{PYCACHE}/m.cpython-311.pyc", "/site/a"),
        (f"{PYCACHE}/.pyctrigger-cpython-311-00000000-0123456789abcdef.tmp", "/site/a"),
        (f"{PYCACHE}/m.pyc", "/site/a"),
        ("/site/a/m.pyc", "/site/a"),
    ],
)
def test_directory_of_its_source(path: str, directory: str) -> None:
    """Also of residue, which names no source."""
    pyc = read_name(path, [])
    assert pyc is not None
    assert directory == pyc.directory


def test_paths_as_people_write_them() -> None:
    """Each once, and without detours."""
    assert ["/a", "/a/c", "/b"] == clean_paths(["/a/", "/a/b/../c", "//b", "", "/a", "/./a"])
    assert [True, False, False] == [is_source(path) for path in ("/a/m.py", "/a/.py", "/a/m.pyc")]


def test_directories_of_pycs() -> None:
    """Beside the sources, or in a tree apart."""
    assert [PYCACHE, "/prefix/site/a"] == [pycache_of("/site/a", prefix) for prefix in (None, "/prefix")]
    assert ["/site/a", "/site/a"] == [directory_of(path) for path in (PYCACHE, "/site/a")]
