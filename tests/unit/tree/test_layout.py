"""Where the pycs of a directory lie, and whether they can be written there."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from acting import ANN, let_act, with_rights_of
from conftest import absent
from packages import write_tree
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout, Place
from pyctrigger.tree.permission.access_lists import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, takes_lists
from pyctrigger.tree.permission.readers import Grants
from pyctrigger.tree.source import SourceRefused, read_source

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
    assert f"{own}/__pycache__" == plain.describe_pyc(relative)
    place, other = Place(plain, relative), Place(prefixed, relative)
    assert (plain, prefixed) == (place.layout, other.layout)
    assert (f"{own}/m.py", f"{own}/__pycache__/m.pyc") == (place.source("m.py"), place.pyc("m.pyc"))
    assert f"{top.parent}/prefix/{own.strip('/')}/m.pyc" == other.pyc("m.pyc")
    assert (relative, pycache) == (place.relative, place.pycache)


def test_trees_are_closed_together(top: Path) -> None:
    """At the end of the block."""
    before = len(os.listdir("/proc/self/fd"))
    with Layout(Tree.open(str(top)), Tree.open(str(top.parent / "prefix"))) as layout:
        layout.sources.directory("a")
        layout.pycs.directory(str(top).strip("/"))
    assert len(os.listdir("/proc/self/fd")) <= before


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
    assert (closed,) == plain.ways("a", "a/b")


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
        (top / "a").chmod(0o700)
        assert (closed,) == layout.ways("a", "a")


def test_readers_are_worked_out_once_for_alike_sources(top: Path, plain: Layout) -> None:
    """Few sources differ from the one before."""
    first, second = (read_source(plain.sources, *place).rights for place in (("", "m.py"), ("a", "n.py")))
    readers = plain.readers("", first)
    assert readers is plain.readers("a", second)
    (top / "a/n.py").chmod(0o600)
    other = plain.readers("a", read_source(plain.sources, "a", "n.py").rights)
    assert (True, False) == (readers.grants(0, 0, by_list=False).to_others, other.grants(0, 0, by_list=False).to_others)


def let_ann_in(path: Path) -> None:
    """Give a file or directory an access list that lets Ann do everything."""
    entries = [(USER_OBJ, 7, -1), (USER, 7, ANN), (GROUP_OBJ, 5, -1), (MASK, 7, -1), (OTHER, 0, -1)]
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not takes_lists(descriptor):
            absent("no access lists on this file system")
    finally:
        os.close(descriptor)
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)


def test_readers_of_a_link_have_to_enter_its_directory(top: Path, plain: Layout) -> None:
    """Those of a source beside its pycs are there already."""
    (top / "link.py").symlink_to("a/b/o.py")
    (top / "a/b").chmod(0o750)
    for place, expected in ((("a/b", "o.py"), True), (("", "link.py"), False)):
        readers = plain.readers(place[0], read_source(plain.sources, *place).rights)
        assert expected is readers.grants(0, 0, by_list=False).to_others


def test_access_lists_count(top: Path, plain: Layout) -> None:
    """Of a source, and of a directory on the way to it."""
    for name in ("a/n.py", "a/b"):
        let_ann_in(top / name)
    readers = plain.readers("a", read_source(plain.sources, "a", "n.py").rights)
    assert {ANN: True} == readers.grants(0, 0, by_list=True).users
    (way,) = plain.ways("", "a/b")
    assert {ANN: True} == way.users


@pytest.mark.usefixtures("as_root")
def test_a_source_is_read_as_the_owner_of_its_pycs(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is another account with a prefix of its own."""
    let_act(monkeypatch)
    prefix = top.parent / "prefix"
    for directory in (prefix, *prefix.rglob("*")):
        os.chown(directory, ANN, ANN)
    for name, mode in (("a/n.py", 0o600), ("a/b/o.py", 0o644)):
        (top / name).write_text(name)
        (top / name).chmod(mode)
    with Layout(Tree.open(str(top))) as plain, Layout(Tree.open(str(top)), Tree.open(str(prefix))) as prefixed:
        assert [b"a/n.py", b"a/b/o.py"] == [plain.read_source(*p).data for p in (("a", "n.py"), ("a/b", "o.py"))]
        assert b"a/b/o.py" == prefixed.read_source("a/b", "o.py").data
        with pytest.raises(SourceRefused, match=f"^account {ANN}, which will own its pycs, may not read it$"):
            prefixed.read_source("a", "n.py")


# -- whether they can be written --------------------------------------------------------------------------------------


def test_where_a_pycache_would_be_made(top: Path, plain: Layout) -> None:
    """The nearest directory that is there; where a listing has shown that there is no `__pycache__`, it isn't tried."""
    (top / "a/__pycache__").mkdir(exist_ok=True)

    def nearest(*, is_bare: bool) -> os.stat_result:
        return os.fstat(plain.nearest("a", is_bare=is_bare).descriptor)

    assert os.path.samestat((top / "a/__pycache__").stat(), nearest(is_bare=False))
    assert os.path.samestat((top / "a").stat(), nearest(is_bare=True))


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


def test_the_table_of_mounts_is_asked_for_each_directory(
    top: Path, plain: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that doesn't tell is taken for one that can be written."""
    real, closed = os.fstatvfs, (top / "a").stat().st_ino

    def ask(descriptor: int) -> object:
        if os.fstat(descriptor).st_ino == (top / "a/b").stat().st_ino:
            raise PermissionError
        found = real(descriptor)
        flags = found.f_flag | os.ST_RDONLY if os.fstat(descriptor).st_ino == closed else found.f_flag & ~os.ST_RDONLY
        return os.statvfs_result((*found[:8], flags, found.f_namemax))

    monkeypatch.setattr(os, "fstatvfs", ask)
    assert (False, True, True, False) == tuple(map(plain.is_read_only, ("", "a", "a/absent", "a/b")))
    assert "a" == plain.read_only_top("a/absent")


@pytest.mark.usefixtures("as_root")
def test_the_uppermost_directory_of_a_device() -> None:
    """Of this system's own mounts."""
    with Layout(Tree.open("/")) as layout:
        assert ("proc", "") == (layout.read_only_top("proc/1"), layout.read_only_top("usr"))


#: Mode and owner of a directory, and whether Ann may write pycs there.
RIGHTS = [(0o755, 0, False), (0o755, ANN, True), (0o757, 0, True), (0o756, 0, False), (0o755, 7, False)]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("mode", "owner", "expected"), RIGHTS)
def test_who_may_write(
    top: Path, plain: Layout, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, expected: bool
) -> None:
    """By the effective ids; what can't be asked is tried."""
    plain.pycs.is_judged = False
    (top / "a").chmod(mode)
    os.chown(top / "a", owner, owner)
    with with_rights_of(ANN):
        assert expected is plain.may_write("a")
        monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as a sandbox that refuses the call
        assert plain.may_write("a") is True

        def lack(*_: object, **__: object) -> bool:
            raise NotImplementedError

        monkeypatch.setattr(os, "access", lack)
        assert plain.may_write("a") is True
    monkeypatch.setattr(os, "access", lambda *_, **__: pytest.fail("root is asked"))
    assert plain.may_write("a") is True


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
    (0o755, 0o700, 0o601, False),
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
    (top.parent / prefixed.pycs.path / prefixed.pycache("a")).chmod(0o700)
    assert prefixed.keeps_visitors_out("a", ["n.py"]) is False


@pytest.mark.parametrize("listed", ["a", "a/__pycache__"])
def test_where_a_list_says_who_enters_modes_do_not(top: Path, plain: Layout, listed: str) -> None:
    """It is asked by name."""
    (top / "a/__pycache__").mkdir(mode=0o700)
    assert plain.keeps_visitors_out("a", ["n.py"]) is True
    let_ann_in(top / listed)
    (top / "a").chmod(0o775)
    assert plain.keeps_visitors_out("a", ["n.py"]) is False


def test_a_dangling_link_is_for_everybody(top: Path, plain: Layout) -> None:
    """Links have no modes, and none is followed."""
    (top / "a/__pycache__").mkdir(mode=0o700)
    (top / "a/link.py").symlink_to("nowhere")
    assert plain.keeps_visitors_out("a", ["link.py"]) is True
