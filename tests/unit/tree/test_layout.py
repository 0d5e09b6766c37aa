"""Where the pycs of a directory lie, and whether they can be written there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout, Place
from pyctrigger.tree.permission.readers import Grants
from pyctrigger.tree.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A site directory, and a tree for a prefix."""
    write_tree(tmp_path, {"site/m.py": "", "site/a/n.py": "", "site/a/b/o.py": ""})
    (tmp_path / f"prefix/{tmp_path}/site/a").mkdir(parents=True)
    for directory in (tmp_path / "site", tmp_path / "site/a", tmp_path / "site/a/b"):
        directory.chmod(0o755)
    return tmp_path / "site"


@pytest.fixture
def plain(top: Path) -> Iterator[Layout]:
    """With a `__pycache__` in each directory."""
    with Layout(Tree.open(str(top))) as layout:
        yield layout


@pytest.fixture
def prefixed(top: Path) -> Iterator[Layout]:
    """With a tree of their own."""
    with Layout(Tree.open(str(top)), Tree.open(str(top.parent / "prefix"))) as layout:
        yield layout


#: A directory, and where its pycs are, without and with a prefix.
PLACES = [
    ("", "__pycache__", "{base}"),
    ("a", "a/__pycache__", "{base}/a"),
    ("a/b", "a/b/__pycache__", "{base}/a/b"),
]


@pytest.mark.parametrize(("relative", "pycache", "elsewhere"), PLACES)
def test_place_of_the_pycs_of_a_directory(
    top: Path, plain: Layout, prefixed: Layout, relative: str, pycache: str, elsewhere: str
) -> None:
    """PEP 3147, and `sys.pycache_prefix`."""
    base = str(top).strip("/")
    assert (pycache, elsewhere.format(base=base)) == (plain.pycache(relative), prefixed.pycache(relative))
    assert (False, True) == (plain.has_prefix, prefixed.has_prefix)
    own = f"{top}/{relative}".rstrip("/")
    assert (own, f"{own}/m.py") == (prefixed.describe_source(relative), prefixed.describe_source(relative, "m.py"))
    assert f"{own}/__pycache__/m.pyc" == plain.describe_pyc(relative, "m.pyc")
    place, other = Place(plain, relative), Place(prefixed, relative)
    assert (f"{own}/m.py", f"{own}/__pycache__/m.pyc") == (place.source("m.py"), place.pyc("m.pyc"))
    assert f"{top.parent}/prefix/{own.strip('/')}/m.pyc" == other.pyc("m.pyc")
    assert (relative, pycache) == (place.relative, place.pycache)


def test_trees_are_closed_together(top: Path) -> None:
    """At the end of the block."""
    before = len(os.listdir("/proc/self/fd"))
    with Layout(Tree.open(str(top)), Tree.open(str(top.parent / "prefix"))) as layout:
        layout.sources.directory("a")
        layout.pycs.directory(str(top).strip("/"))
    assert before == len(os.listdir("/proc/self/fd"))


# -- ways -------------------------------------------------------------------------------------------------------------


def test_a_link_into_a_closed_directory_has_a_way(top: Path, plain: Layout) -> None:
    """Those who may not enter the source's directory may not read its pyc either; next to it that is implied."""
    (top / "link.py").symlink_to("a/b/o.py")
    assert () == plain.ways("a/b", "a/b")
    assert () == plain.ways("", "a/b")
    (top / "a/b").chmod(0o750)
    status = (top / "a/b").stat()
    closed = Grants(status.st_uid, status.st_gid, True, True, False)
    assert (closed,) == plain.ways("", "a/b")
    assert (closed,) == plain.ways("a", "a/b")
    assert () == plain.ways("a/b", "")
    (top / "a").chmod(0o700)
    assert (closed, closed._replace(to_group=False)) == plain.ways("", "a/b")


def test_with_a_prefix_all_that_leads_there_alone_counts(top: Path, prefixed: Layout) -> None:
    """The site directory, and what is below it; what leads to the prefix, too, keeps nobody from one alone."""
    assert () == prefixed.ways("a", "a")
    (top / "a").chmod(0o700)
    (top / "a/b").chmod(0o711)
    status = (top / "a").stat()
    closed = Grants(status.st_uid, status.st_gid, True, False, False)
    assert (closed,) == prefixed.ways("a/b", "a/b")
    assert (closed,) == prefixed.ways("a", "a/b")
    assert () == prefixed.ways("", "")


def test_a_closed_site_directory_counts_with_a_prefix(top: Path) -> None:
    """It is worked out once."""
    top.chmod(0o700)
    top.parent.chmod(0o700)
    with Layout(Tree.open(str(top)), Tree.open(str(top.parent / "prefix"))) as layout:
        status = top.stat()
        closed = Grants(status.st_uid, status.st_gid, True, False, False)
        assert (closed,) == layout.ways("", "")
        assert (closed,) == layout.ways("a", "a")
        top.chmod(0o755)
        assert (closed,) == layout.ways("a", "a")


def test_readers_are_worked_out_once_for_alike_sources(top: Path, plain: Layout) -> None:
    """Few sources differ from the one before."""
    first, second = (read_source(plain.sources, *place).rights for place in (("", "m.py"), ("a", "n.py")))
    readers = plain.readers("", first)
    assert readers is plain.readers("a", second)
    (top / "a/n.py").chmod(0o600)
    other = plain.readers("a", read_source(plain.sources, "a", "n.py").rights)
    assert (True, False) == (readers.grants(0, 0, by_list=False).to_others, other.grants(0, 0, by_list=False).to_others)


# -- whether they can be written --------------------------------------------------------------------------------------


def test_the_uppermost_directory_that_is_read_only(plain: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same mount; the nearest one that is there is asked."""
    closed = {"a", "a/b", "a/b/__pycache__", "a/__pycache__"}
    monkeypatch.setattr(Layout, "_is_mounted_read_only", lambda layout, relative: relative in closed)
    assert ("a", "a") == (plain.read_only_top("a/b"), plain.read_only_top("a"))
    assert (True, False) == (plain.is_read_only("a/b"), plain.is_read_only(""))
    closed.update(("", "__pycache__"))
    assert "" == plain.read_only_top("a/b")


def test_where_only_a_write_says_so_the_device_tells(plain: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a snapshot of btrfs."""
    devices = {"a/b": 2, "a/b/__pycache__": 2}
    monkeypatch.setattr(Layout, "_is_mounted_read_only", lambda layout, relative: False)
    monkeypatch.setattr(Layout, "_device", lambda layout, relative: devices.get(relative, 1))
    assert ("a/b", "") == (plain.read_only_top("a/b"), plain.read_only_top("a"))


def test_the_uppermost_directory_that_may_not_be_written(plain: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this account."""
    closed = {"a", "a/b", "a/b/__pycache__"}
    monkeypatch.setattr(Layout, "_may_change", lambda layout, relative: relative not in closed)
    assert ("a", False, True) == (plain.forbidden_top("a/b"), plain.may_write("a/b"), plain.may_write("a"))


@pytest.mark.parametrize("relative", ["", "a/b", "a/absent/deep"])
def test_this_file_system_can_be_written(plain: Layout, relative: str) -> None:
    """Root is never asked; of what isn't there the next directory above is."""
    assert (False, True) == (plain.is_read_only(relative), plain.may_write(relative))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("path", "owner"), [("a/__pycache__", 7), ("a/absent/deep", 7), ("__pycache__", 0)])
def test_owner_is_that_of_the_next_directory_that_is_there(top: Path, path: str, owner: int) -> None:
    """Relative to the pycs."""
    os.chown(top, 0, 0)
    (top / "a/__pycache__").mkdir()
    with Layout(Tree.open(str(top))) as layout:
        layout.pycs.is_judged = False
        os.chown(top / "a", 7, 7)
        os.chown(top / "a/__pycache__", 7, 7)
        assert owner == layout.owner_of(path)


#: Modes of a directory, its `__pycache__` and its source, and whether a reader of that is kept out.
VISITORS = [
    (0o755, 0o755, 0o644, False),
    (0o755, 0o700, 0o644, True),
    (0o755, 0o700, 0o600, False),
    (0o755, 0o700, 0o604, True),
    (0o755, 0o700, 0o640, True),
    (0o700, 0o700, 0o644, False),
]


@pytest.mark.parametrize(("above", "pycache", "source", "expected"), VISITORS)
def test_whether_a_pycache_keeps_readers_out(
    top: Path, plain: Layout, prefixed: Layout, above: int, pycache: int, source: int, expected: bool
) -> None:
    """Where a source is for more than its owner; the tree of a prefix has modes of its own."""
    (top / "a/__pycache__").mkdir()
    for path, mode in [("a", above), ("a/__pycache__", pycache), ("a/n.py", source)]:
        (top / path).chmod(mode)
    assert expected is plain.keeps_visitors_out("a", ["gone.py", "n.py"])
    assert plain.keeps_visitors_out("a", []) is False
    assert plain.keeps_visitors_out("a", ["gone.py"]) is False
    assert prefixed.keeps_visitors_out("a", ["n.py"]) is False
