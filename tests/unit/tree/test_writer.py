"""Writing a pyc: whole or not at all, with the owner and mode that its directory and its source allow."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, HERS, STAFF, UNMAPPED, let_act, working_as
from conftest import absent
from packages import write_tree
from pyctrigger.buffers import write_pieces
from pyctrigger.pyc.names import writer_of
from pyctrigger.tree import writer as module
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.permission.access_lists import (
    GROUP,
    GROUP_OBJ,
    MASK,
    OTHER,
    USER,
    USER_OBJ,
    access_list,
    parse_list,
    takes_lists,
)
from pyctrigger.tree.permission.readers import Readers
from pyctrigger.tree.writer import Writer, WriteRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory of pycs."""
    top = write_tree(tmp_path / "site", {"p/__pycache__/old.pyc": "old", "p/m.py": ""})
    for directory in (top, top / "p", top / "p/__pycache__"):
        directory.chmod(0o755)
    return top


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    """The site directory, opened; every place counts as ours."""
    with Tree.open(str(top)) as tree:
        tree.is_judged = False
        yield tree


@pytest.fixture
def writer(tree: Tree) -> Writer:
    """One that clears nothing away."""
    return Writer(tree, "w")


def readers(mode: int = 0o644, uid: int = 0, gid: int = 0, *entries: tuple[int, int, int]) -> Readers:
    """Those of a source of this mode and owner, and with these entries of a list."""
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))
    return Readers(status, packed(entries) if entries else None)


def packed(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """The bytes of a list."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def names(path: Path) -> list[str]:
    """What is in a directory."""
    return sorted(os.listdir(path))


PYCS = "p/__pycache__"


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new.pyc", "old.pyc"])
def test_a_pyc_is_written_whole(top: Path, writer: Writer, name: str) -> None:
    """Under its own name, and under no other; its status is returned."""
    status = writer.replace(PYCS, name, [b"head", memoryview(b"body"), b""], readers())
    found = (top / PYCS / name).stat()
    assert b"headbody" == (top / PYCS / name).read_bytes()
    assert status is not None
    assert (found.st_ino, found.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert sorted({"old.pyc", name}) == names(top / PYCS)


def test_a_link_is_replaced_and_not_followed(top: Path, writer: Writer) -> None:
    """What it led to stays as it was."""
    (top / PYCS / "link.pyc").symlink_to("old.pyc")
    writer.replace(PYCS, "link.pyc", [b"new"], readers())
    assert (b"new", b"old") == ((top / PYCS / "link.pyc").read_bytes(), (top / PYCS / "old.pyc").read_bytes())
    assert not (top / PYCS / "link.pyc").is_symlink()


#: What os.writev and os.write take of twelve bytes at each call; whether the file comes to be whole.
PIECES = [
    ([12], True),
    ([1, 11], True),
    ([4, 4, 4], True),
    ([4, 1, 7], True),
    ([0, 12], True),
    ([4, 0], False),
    ([0, 0], False),
]


@pytest.mark.parametrize(("taken", "is_whole"), PIECES)
def test_every_byte_is_accounted_for(
    top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, taken: list[int], is_whole: bool
) -> None:
    """A nearly full disk takes a part, and says so by a number only."""
    left, real = list(taken), os.write

    def write(descriptor: int, data: Any) -> int:
        size = left.pop(0)
        return real(descriptor, bytes(data)[:size]) if size else 0

    monkeypatch.setattr(module, "write_pieces", lambda descriptor, pieces: write(descriptor, b"".join(pieces)))
    monkeypatch.setattr(os, "write", write)
    if is_whole:
        writer.replace(PYCS, "new.pyc", [b"head", b"and body"], readers())
        assert b"headand body" == (top / PYCS / "new.pyc").read_bytes()
    else:
        with pytest.raises(OSError, match=r"^\[Errno 5\] the file system accepts no more bytes$"):
            writer.replace(PYCS, "new.pyc", [b"head", b"and body"], readers())
        assert ["old.pyc"] == names(top / PYCS)
    assert [] == left


@pytest.mark.parametrize("call", ["fchmod", "rename", "close"])
def test_what_fails_leaves_nothing(top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Neither a new name nor a temporary one; the old file stays."""
    real = getattr(os, call)

    def fail(*arguments: Any, **options: Any) -> None:
        if call == "close":  # a network file system says there that the disk is full
            real(*arguments)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(module, "has_default_list", lambda directory: True)  # so that its mode is set
    writer = Writer(tree, "w")
    tree.directory(PYCS)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"):
        writer.replace(PYCS, "old.pyc", [b"new"], readers())
    monkeypatch.undo()
    assert (["old.pyc"], b"old") == (names(top / PYCS), (top / PYCS / "old.pyc").read_bytes())


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"theirs"), lambda path: path.symlink_to("ours")])
def test_somebody_elses_file_in_its_place_is_told(
    top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    """Nothing is recorded of it then; nor of a link, though it leads to our own."""
    real = os.rename

    def rename(source: str, target: str, **options: Any) -> None:
        real(source, target, **options)
        real(top / PYCS / target, top / PYCS / "ours")
        make(top / PYCS / target)

    monkeypatch.setattr(os, "rename", rename)
    assert writer.replace(PYCS, "new.pyc", [b"ours"], readers()) is None


def test_a_temporary_file_that_was_swept_is_the_error_itself(
    top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That there is nothing left to remove isn't another one."""
    real = os.rename

    def rename(source: str, target: str, **options: Any) -> None:
        (top / PYCS / source).unlink()
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(FileNotFoundError):
        writer.replace(PYCS, "new.pyc", [b"ours"], readers())
    assert ["old.pyc"] == names(top / PYCS)


def test_temporary_names_tell_their_writer(top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the directory of the pyc itself."""
    seen: list[str] = []
    real = os.rename

    def rename(source: str, target: str, **options: Any) -> None:
        seen.extend(names(top / PYCS))
        real(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)
    writer.replace(PYCS, "new.pyc", [b"x"], readers())
    assert ["w"] == [writer_of(name) for name in seen if name != "old.pyc"]


# -- modes and owners -------------------------------------------------------------------------------------------------

NO_ID = 0xFFFFFFFF
Entries = list[tuple[int, int, int]]


def listed(*entries: tuple[int, int, int], group: int = 0) -> Entries:
    """A list that lets in its owner, perhaps the group, whom these entries name, and nobody else."""
    users, groups = ([entry for entry in entries if entry[0] == tag] for tag in (USER, GROUP))
    return [
        (USER_OBJ, 6, NO_ID), *users, (GROUP_OBJ, group, NO_ID), *groups, (MASK, 4, NO_ID), (OTHER, 0, NO_ID)
    ]  # fmt: skip


ANNS = (ANN, ANN)
ANN_TOO = listed((USER, 4, ANN), group=4)
#: Who writes, the source (mode, owner, group, entries of a list), the directory (mode, owner, group), mode and group of
#: the pyc before its first byte, and at last its mode, owner and group, and its list.
RIGHTS: list[tuple[str, tuple[Any, ...], tuple[int, ...], tuple[int, int], tuple[int, int, int], Entries | None]] = [
    ("root", (0o644,), (0o755,), (0o644, 0), (0o644, 0, 0), None),
    ("root", (0o755,), (0o755,), (0o644, 0), (0o644, 0, 0), None),
    ("root", (0o600,), (0o755,), (0o600, 0), (0o600, 0, 0), None),
    ("root", (0o640,), (0o755,), (0o640, 0), (0o640, 0, 0), None),
    ("root", (0o640, 0, STAFF), (0o755,), (0o600, 0), (0o640, 0, STAFF), None),
    ("root", (0o604, 0, STAFF), (0o755,), (0o600, 0), (0o604, 0, STAFF), None),
    ("root", (0o664, 0, STAFF), (0o755,), (0o644, 0), (0o644, 0, STAFF), None),
    ("root", (0o644, ANN, STAFF), (0o755, 0, HERS), (0o644, 0), (0o644, 0, HERS), None),
    ("root", (0o644, *ANNS), (0o755, *ANNS), (0o644, 0), (0o644, *ANNS), None),
    ("root", (0o600, *ANNS), (0o755, *ANNS), (0o600, 0), (0o600, *ANNS), None),
    ("root", (0o044, *ANNS), (0o755, *ANNS), (0o244, 0), (0o244, *ANNS), None),  # she may not read it by herself
    ("root", (0o600, *ANNS), (0o755,), (0o600, 0), (0o640, 0, ANN), listed((USER, 4, ANN))),
    ("root", (0o640, 0, 0, *ANN_TOO), (0o755,), (0o600, 0), (0o640, 0, 0), ANN_TOO),
    ("root", (0o640, 0, 0, *ANN_TOO), (0o755, *ANNS), (0o640, 0), (0o640, ANN, 0), None),
    ("root", (0o640, 0, UNMAPPED), (0o755,), (0o600, 0), (0o640, 0, 0), listed((GROUP, 4, UNMAPPED))),
    # What is made here has the directory's group at first.
    ("root", (0o644,), (0o2755, 0, STAFF), (0o644, STAFF), (0o644, 0, 0), None),
    ("root", (0o640,), (0o2755, 0, STAFF), (0o600, STAFF), (0o640, 0, 0), None),
    ("root", (0o640, 0, STAFF), (0o2755, 0, STAFF), (0o640, STAFF), (0o640, 0, STAFF), None),
    # Ann can give it to her groups only.
    ("ann", (0o644, *ANNS), (0o755, *ANNS), (0o644, ANN), (0o644, *ANNS), None),
    ("ann", (0o640, 0, ANN), (0o755, *ANNS), (0o640, ANN), (0o640, *ANNS), None),
    ("ann", (0o640, ANN, HERS), (0o755, *ANNS), (0o600, ANN), (0o640, ANN, HERS), None),
    ("ann", (0o664, ANN, STAFF), (0o755, *ANNS), (0o644, ANN), (0o644, *ANNS), None),
    ("ann", (0o640, ANN, STAFF), (0o755, *ANNS), (0o600, ANN), (0o640, *ANNS), listed((GROUP, 4, STAFF))),
    # Root's process that acts as Ann gives it to any group, from the start: a name here can change its meaning.
    ("acting", (0o640, *ANNS), (0o755, ANN, STAFF), (0o640, ANN), (0o640, *ANNS), None),
    ("acting", (0o640, ANN, STAFF), (0o755, ANN, STAFF), (0o640, STAFF), (0o640, ANN, STAFF), None),
    ("acting", (0o604, ANN, STAFF), (0o755, ANN, STAFF), (0o604, STAFF), (0o604, ANN, STAFF), None),
    ("acting", (0o664, ANN, UNMAPPED), (0o755, ANN, UNMAPPED), (0o644, ANN), (0o644, *ANNS), None),
]


@pytest.fixture
def at_first(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Mode and group of each file before its first byte."""
    seen: list[tuple[int, int]] = []
    real = write_pieces

    def write(descriptor: int, pieces: Any) -> int:
        status = os.fstat(descriptor)
        seen.append((stat.S_IMODE(status.st_mode), status.st_gid))
        return real(descriptor, pieces)

    monkeypatch.setattr(module, "write_pieces", write)
    return seen


@pytest.fixture
def accounts(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may act as others, in a namespace that doesn't map all groups."""
    let_act(monkeypatch)
    monkeypatch.setattr("pyctrigger.namespaces.is_restricted", lambda: True)


def give(path: Path, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Give a directory an owner and a mode."""
    os.chown(path, uid, gid)
    path.chmod(mode)


def rights(path: Path) -> tuple[int, int, int]:
    """Mode, owner and group."""
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def list_of(path: Path) -> Entries | None:
    """The entries of its list, if it has one."""
    descriptor = os.open(path, os.O_RDONLY)
    acl = access_list(descriptor, os.fstat(descriptor))
    os.close(descriptor)
    return None if acl is None else [(entry.tag, entry.rights, entry.account) for entry in parse_list(acl)]


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize(("doer", "source", "directory", "first", "expected", "entries"), RIGHTS)
def test_a_pyc_is_for_those_who_may_read_its_source(
    top: Path,
    tree: Tree,
    at_first: list[tuple[int, int]],
    umask: int,
    doer: str,
    source: tuple[Any, ...],
    directory: tuple[int, ...],
    first: tuple[int, int],
    expected: tuple[int, int, int],
    entries: Entries | None,
) -> None:
    """And at no time for anybody else, whatever umask the caller has; and that stays."""
    if entries and not takes_lists(tree.directory(PYCS)):
        absent("no access lists on this file system")
    give(top / PYCS, *directory)
    before = os.umask(umask)
    try:
        with working_as(doer):
            Writer(tree, "w").replace(PYCS, "new.pyc", [b"x"], readers(*source))
        assert umask == os.umask(umask)
    finally:
        os.umask(before)
    assert ([first], expected, entries) == (at_first, rights(top / PYCS / "new.pyc"), list_of(top / PYCS / "new.pyc"))


def with_default_list(top: Path) -> None:
    """Give what is made there a list."""
    os.setxattr(top / PYCS, "system.posix_acl_default", packed(ANN_TOO))


#: A source, who writes its pyc, and the directory; and what changes before the next pyc is written.
CHANGES: dict[str, tuple[Any, ...]] = {
    "the source": ((0o644,), "root", (0o755,), {"source": (0o600,)}),
    "the owner of the directory": ((0o644,), "root", (0o755,), {"directory": (0o755, ANN, 0)}),
    "its group": ((0o664, ANN, STAFF), "root", (0o755,), {"directory": (0o755, 0, HERS)}),
    "its mode": ((0o640,), "root", (0o755, 0, STAFF), {"directory": (0o2755, 0, STAFF)}),
    "its list": ((0o644,), "root", (0o755,), {"change": with_default_list}),
    "who writes": ((0o640, ANN, STAFF), "root", (0o755, ANN, STAFF), {"doer": "acting"}),
}


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(("source", "doer", "directory", "changes"), CHANGES.values(), ids=CHANGES)
def test_rights_are_judged_for_each_pyc(
    top: Path,
    tree: Tree,
    at_first: list[tuple[int, int]],
    source: tuple[Any, ...],
    doer: str,
    directory: tuple[int, ...],
    changes: dict[str, Any],
) -> None:
    """They are not those of the last one, where anything that decides them has changed."""
    if not takes_lists(tree.directory(PYCS)):
        absent("no access lists on this file system")
    writer, of_source = Writer(tree, "w"), readers(*source)
    give(top / PYCS, *directory)
    with working_as(doer):
        writer.replace(PYCS, "first.pyc", [b"x"], of_source)
    give(top / PYCS, *changes.get("directory", directory))
    changes.get("change", lambda top: None)(top)
    if "source" in changes:
        of_source = readers(*changes["source"])
    with working_as(changes.get("doer", doer)):
        for each in (writer, Writer(tree, "w")):
            each.replace(PYCS, f"{id(each)}.pyc", [b"x"], of_source)
    first, second, third = [(*seen, *rights(path)) for seen, path in zip(at_first, sorted_by_age(top / PYCS))]
    assert second == third != first


def sorted_by_age(directory: Path) -> list[Path]:
    """The pycs in a directory, the oldest first, but not the one that was there."""
    return sorted((each for each in directory.iterdir() if each.name != "old.pyc"), key=lambda each: each.stat().st_ino)


#: A source that needs a list, what setting or dropping one says, and the mode of its pyc then.
WITHOUT_LISTS = [
    ((0o640, 0, 0, *ANN_TOO), errno.EOPNOTSUPP, 0o640),
    ((0o640, 0, 0, *ANN_TOO), errno.ENODATA, 0o640),
    ((0o640, 0, 0, *ANN_TOO), errno.EIO, 0o600),  # it may have one that it was made with
    ((0o604, 0, UNMAPPED), errno.EOPNOTSUPP, 0o600),  # by a mode, the group would be among the others
    ((0o640, 0, UNMAPPED), errno.EOPNOTSUPP, 0o600),
]


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(("source", "number", "mode"), WITHOUT_LISTS)
def test_where_no_list_can_be_set_fewer_may_read(
    top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, source: tuple[Any, ...], number: int, mode: int
) -> None:
    """As many as a mode can name."""

    def refuse(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "give_list", refuse)
    monkeypatch.setattr(module, "drop_list", refuse)
    writer.replace(PYCS, "new.pyc", [b"x"], readers(*source))
    assert (mode, 0, 0) == rights(top / PYCS / "new.pyc")


@pytest.mark.usefixtures("as_root")
def test_what_a_directory_gives_to_new_files_is_taken_back(
    top: Path, writer: Writer, at_first: list[tuple[int, int]]
) -> None:
    """Its default list would let in more than the source does."""
    if not takes_lists(writer._tree.directory(PYCS)):
        absent("no access lists on this file system")
    os.setxattr(top / PYCS, "system.posix_acl_default", packed(ANN_TOO))
    writer.replace(PYCS, "new.pyc", [b"x"], readers(0o644))
    assert ([(0o600, 0)], (0o644, 0, 0)) == (at_first, rights(top / PYCS / "new.pyc"))
    assert list_of(top / PYCS / "new.pyc") is None


@pytest.mark.usefixtures("as_root")
def test_the_owner_of_a_directory_who_may_not_read_the_source(top: Path, writer: Writer) -> None:
    """Gets no pyc of it, since it would be his."""
    os.chown(top / PYCS, ANN, ANN)
    with pytest.raises(WriteRefused, match=r"^the directory's owner may not read this source$"):
        writer.replace(PYCS, "new.pyc", [b"x"], readers(0o600))
    assert ["old.pyc"] == names(top / PYCS)


@pytest.mark.parametrize(
    ("number", "is_fine"),
    [(errno.EPERM, True), (errno.ENOSYS, True), (errno.EINVAL, True), (errno.EIO, False), (errno.ENOSPC, False)],
)
def test_a_file_system_without_modes_is_fine(
    top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int, is_fine: bool
) -> None:
    """Unless it shows more than the source does; a disk that fails is an error."""

    def refuse(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(module, "has_default_list", lambda directory: True)  # so that its mode is set
    writer = Writer(tree, "w")
    if is_fine:
        writer.replace(PYCS, "new.pyc", [b"x"], readers(0o600))
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            writer.replace(PYCS, "new.pyc", [b"x"], readers(0o600))


@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o644, True), (0o640, True), (0o620, True), (0o602, True), (0o611, False), (0o600, False)]
)
def test_a_file_system_that_shows_more_is_refused(
    top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, mode: int, is_refused: bool
) -> None:
    """As FAT, where everything is everybody's."""
    writer, real, change = Writer(tree, "w"), os.open, os.fchmod

    def opened(*arguments: Any, **options: Any) -> int:
        descriptor = real(*arguments, **options)
        change(descriptor, mode)
        return descriptor

    tree.directory(PYCS)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)
    if is_refused:
        message = "^its file system lets more accounts read or write the pyc than its source$"
        with pytest.raises(WriteRefused, match=message):
            writer.replace(PYCS, "new.pyc", [b"x"], readers(0o600))
    else:
        writer.replace(PYCS, "new.pyc", [b"x"], readers(0o600))
    assert (["old.pyc"] if is_refused else ["new.pyc", "old.pyc"]) == names(top / PYCS)


# -- twins ------------------------------------------------------------------------------------------------------------


def test_a_twin_is_another_name_of_the_same_file(top: Path, writer: Writer) -> None:
    """In one rename."""
    status = writer.replace(PYCS, "one.pyc", [b"x"], readers())
    assert status is not None
    for twin in ("two.pyc", "old.pyc"):
        assert writer.link(PYCS, "one.pyc", twin, status) is True
        assert status.st_ino == (top / PYCS / twin).stat().st_ino
    assert ["old.pyc", "one.pyc", "two.pyc"] == names(top / PYCS)


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"theirs"), lambda path: path.symlink_to("ours.pyc")])
def test_a_twin_of_another_file_is_not_linked(top: Path, writer: Writer, make: Any) -> None:
    """It was put there since: its bytes are unknown, or may be at the next look."""
    status = writer.replace(PYCS, "one.pyc", [b"x"], readers())
    assert status is not None
    (top / PYCS / "one.pyc").rename(top / PYCS / "ours.pyc")
    make(top / PYCS / "one.pyc")
    assert writer.link(PYCS, "one.pyc", "old.pyc", status) is False
    assert (["old.pyc", "one.pyc", "ours.pyc"], b"old") == (names(top / PYCS), (top / PYCS / "old.pyc").read_bytes())


def test_a_file_system_without_links_is_told(top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is written twice; a file that is gone is an error."""
    status = (top / PYCS / "old.pyc").stat()
    with pytest.raises(FileNotFoundError):
        writer.link(PYCS, "absent.pyc", "two.pyc", status)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    assert writer.link(PYCS, "old.pyc", "two.pyc", status) is False


# -- obstacles --------------------------------------------------------------------------------------------------------

REPAIR_REMOVES = "a directory has the name of its pyc; pyctrigger repair removes it"
NOT_EMPTY = "a directory that isn't empty has the name of its pyc; move it away"


@pytest.mark.parametrize(
    ("clears", "is_empty", "refusal"),
    [
        ({}, True, REPAIR_REMOVES),
        ({"clear_obstacles": False}, False, REPAIR_REMOVES),
        ({"clear_obstacles": True}, True, None),
        ({"clear_obstacles": True}, False, NOT_EMPTY),
    ],
)
@pytest.mark.parametrize("how", ["replace", "make_way", "link"])
def test_a_directory_in_the_place_of_a_pyc(
    top: Path, tree: Tree, clears: dict[str, bool], is_empty: bool, refusal: str | None, how: str
) -> None:
    """Only a repair removes it, and only if it is empty."""
    (top / PYCS / "d.pyc").mkdir()
    if not is_empty:
        (top / PYCS / "d.pyc/x").touch()
    writer = Writer(tree, "w", **clears)

    def act() -> None:
        if how == "replace":
            writer.replace(PYCS, "d.pyc", [b"x"], readers())
        elif how == "link":
            assert writer.link(PYCS, "old.pyc", "d.pyc", (top / PYCS / "old.pyc").stat()) is True
        else:
            writer.make_way(PYCS, "d.pyc")

    if refusal is None:
        act()
        expected = ["old.pyc"] if how == "make_way" else ["d.pyc", "old.pyc"]
        assert expected == names(top / PYCS)
    else:
        with pytest.raises(WriteRefused, match=f"^{refusal}$"):
            act()
        assert ["d.pyc", "old.pyc"] == names(top / PYCS)


def test_a_file_is_no_obstacle(top: Path, writer: Writer) -> None:
    """It is replaced by the rename."""
    writer.make_way(PYCS, "old.pyc")
    assert ["old.pyc"] == names(top / PYCS)
    with pytest.raises(FileNotFoundError):
        writer.make_way(PYCS, "absent.pyc")


# -- directories ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relative", ["", "p", "q"])
def test_a_pycache_is_there_afterwards(top: Path, writer: Writer, relative: str) -> None:
    """Made if it was missing."""
    (top / "q").mkdir(exist_ok=True)
    path = f"{relative}/__pycache__".lstrip("/")
    assert (path, path) == (writer.ensure_pycache(relative), writer.ensure_pycache(relative))
    assert (top / path).is_dir()


@pytest.mark.parametrize("is_directory", [True, False])
def test_a_pycache_that_another_run_made_meanwhile(
    top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, is_directory: bool
) -> None:
    """It will do; a link won't."""
    (top / "q").mkdir()

    def make(*arguments: Any) -> None:
        if is_directory:
            (top / "q/__pycache__").mkdir()
        else:
            (top / "q/__pycache__").symlink_to("..")
        raise FileExistsError

    monkeypatch.setattr(module, "make_directory", make)
    if is_directory:
        assert "q/__pycache__" == writer.ensure_pycache("q")
    else:
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            writer.ensure_pycache("q")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("."), lambda path: path.touch()])
@pytest.mark.parametrize("clears", [False, True])
def test_what_has_the_name_of_a_pycache(top: Path, tree: Tree, make: Any, clears: bool) -> None:
    """A link or a file is refused; a repair replaces it."""
    (top / "q").mkdir()
    make(top / "q/__pycache__")
    writer = Writer(tree, "w", clear_obstacles=clears)
    if clears:
        assert "q/__pycache__" == writer.ensure_pycache("q")
        assert not (top / "q/__pycache__").is_symlink()
    else:
        with pytest.raises(WriteRefused, match=r"^__pycache__ is a link or a file; pyctrigger repair replaces it$"):
            writer.ensure_pycache("q")


#: Who makes it, a directory (mode, owner, group), and mode, owner and group of what is made in it.
MADE = [
    ("root", (0o755, 0, 0), (0o755, 0, 0)),
    ("root", (0o700, 0, 0), (0o700, 0, 0)),
    ("root", (0o775, 0, 0), (0o775, 0, 0)),
    ("root", (0o777, 0, 0), (0o775, 0, 0)),  # never for everybody
    ("root", (0o1777, 0, 0), (0o755, 0, 0)),  # where not even who may write may remove another's
    ("root", (0o1775, 0, STAFF), (0o755, 0, STAFF)),
    ("root", (0o775, 0, STAFF), (0o775, 0, STAFF)),
    ("root", (0o2775, 0, STAFF), (0o2775, 0, STAFF)),
    ("root", (0o2755, 0, 0), (0o2755, 0, 0)),
    ("root", (0o775, 0, UNMAPPED), (0o755, 0, 0)),
    # Ann's group gets no more than everybody does, where it isn't the directory's.
    ("ann", (0o775, *ANNS), (0o775, *ANNS)),
    ("ann", (0o775, ANN, STAFF), (0o755, *ANNS)),
    ("ann", (0o755, ANN, STAFF), (0o755, *ANNS)),
    ("ann", (0o771, ANN, STAFF), (0o701, *ANNS)),
    ("ann", (0o770, ANN, STAFF), (0o700, *ANNS)),
    ("ann", (0o745, ANN, STAFF), (0o705, *ANNS)),
    ("ann", (0o2775, ANN, STAFF), (0o2775, ANN, STAFF)),
    ("acting", (0o775, ANN, STAFF), (0o775, ANN, STAFF)),
    ("acting", (0o775, ANN, UNMAPPED), (0o755, *ANNS)),
]


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize(("doer", "above", "expected"), MADE)
def test_a_pycache_is_as_its_directory(
    top: Path, tree: Tree, umask: int, doer: str, above: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    """Whatever umask the caller has."""
    (top / "q").mkdir()
    give(top / "q", *above)
    before = os.umask(umask)
    try:
        with working_as(doer):
            Writer(tree, "w").ensure_pycache("q")
        assert umask == os.umask(umask)
    finally:
        os.umask(before)
    assert expected == rights(top / "q/__pycache__")


#: A directory and its `__pycache__` (mode, owner), the mode of that afterwards, and whether it lets all in then.
OPENED = [
    ((0o755, 0), (0o700, 0), 0o755, True),
    ((0o755, 0), (0o711, 0), 0o755, True),
    ((0o755, ANN), (0o700, 0), 0o700, False),  # he could have root open what isn't his
    ((0o775, 0), (0o700, 0), 0o700, False),  # others may rename there
    ((0o757, 0), (0o700, 0), 0o700, False),
    ((0o755, ANN), (0o700, ANN), 0o755, True),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("above", "pycache", "mode", "is_open"), OPENED)
def test_a_pycache_is_opened_if_it_is_the_same_owners(
    top: Path, writer: Writer, above: tuple[int, int], pycache: tuple[int, int], mode: int, is_open: bool
) -> None:
    """And no other account may rename there."""
    for package in ("Xp", " p", ""):
        (top / package / "__pycache__").mkdir(parents=True)
        for path, (bits, uid) in [(top / package, above), (top / package / "__pycache__", pycache)]:
            give(path, bits, uid, uid)
        assert is_open is writer.open_pycache(package)
        assert mode == stat.S_IMODE((top / package / "__pycache__").stat().st_mode)
