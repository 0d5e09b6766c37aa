"""Writing a pyc: whole or not at all, with the owner and mode that its directory and its source allow."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from packages import write_tree
from pyctrigger.pyc.names import writer_of
from pyctrigger.tree import writer as module
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.permission.readers import Readers
from pyctrigger.tree.writer import Writer, WriteRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = 12345


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


def readers(mode: int = 0o644, uid: int = 0, gid: int = 0) -> Readers:
    """Those of a source of this mode and owner."""
    return Readers(os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0)), None)


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
PIECES = [([12], True), ([1, 11], True), ([4, 4, 4], True), ([0, 12], True), ([4, 0], False), ([0, 0], False)]


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
        with pytest.raises(OSError, match="the file system accepts no more bytes"):
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


def test_somebody_elses_file_in_its_place_is_told(top: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded of it then."""
    real = os.rename

    def rename(source: str, target: str, **options: Any) -> None:
        real(source, target, **options)
        (top / PYCS / "theirs").write_bytes(b"theirs")
        real(top / PYCS / "theirs", top / PYCS / target)

    monkeypatch.setattr(os, "rename", rename)
    assert writer.replace(PYCS, "new.pyc", [b"ours"], readers()) is None


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

#: The source (mode, owner, group), the directory (mode, owner, group), and the pyc: mode, owner, group.
RIGHTS: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, int, int]]] = [
    ((0o644,), (0o755,), (0o644, 0, 0)),
    ((0o755,), (0o755,), (0o644, 0, 0)),
    ((0o600,), (0o755,), (0o600, 0, 0)),
    ((0o640, 0, 50), (0o755,), (0o640, 0, 50)),
    ((0o604, 0, 50), (0o755,), (0o604, 0, 50)),
    ((0o664, 0, 50), (0o755,), (0o644, 0, 50)),
    ((0o644, OTHER, 50), (0o755, 0, 51), (0o644, 0, 51)),
    ((0o644, OTHER, OTHER), (0o755, OTHER, OTHER), (0o644, OTHER, OTHER)),
    ((0o600, OTHER, OTHER), (0o755, OTHER, OTHER), (0o600, OTHER, OTHER)),
    ((0o644,), (0o2755, 0, 50), (0o644, 0, 0)),
    ((0o640,), (0o2755, 0, 50), (0o640, 0, 0)),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize(("source", "directory", "expected"), RIGHTS)
def test_a_pyc_is_for_those_who_may_read_its_source(
    top: Path, tree: Tree, umask: int, source: tuple[int, ...], directory: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Whatever umask the caller has; and that stays."""
    mode, uid, gid = (*directory, *(0, 0)[len(directory) - 1 :])
    os.chown(top / PYCS, uid, gid)
    (top / PYCS).chmod(mode)
    before = os.umask(umask)
    try:
        Writer(tree, "w").replace(PYCS, "new.pyc", [b"x"], readers(*source))
        assert umask == os.umask(umask)
    finally:
        os.umask(before)
    status = (top / PYCS / "new.pyc").stat()
    assert expected == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


@pytest.mark.usefixtures("as_root")
def test_the_owner_of_a_directory_who_may_not_read_the_source(top: Path, writer: Writer) -> None:
    """Gets no pyc of it, since it would be his."""
    os.chown(top / PYCS, OTHER, OTHER)
    with pytest.raises(WriteRefused, match="the directory's owner may not read this source"):
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


def test_a_file_system_that_shows_more_is_refused(top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FAT, where everything is everybody's."""
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)
    monkeypatch.setattr(module, "has_default_list", lambda directory: True)
    real = os.open
    monkeypatch.setattr(os, "open", lambda name, flags, mode=0o644, **options: real(name, flags, 0o644, **options))
    with pytest.raises(WriteRefused, match="its file system lets more accounts read or write the pyc than its source"):
        Writer(tree, "w").replace(PYCS, "new.pyc", [b"x"], readers(0o600))
    assert ["old.pyc"] == names(top / PYCS)


# -- twins ------------------------------------------------------------------------------------------------------------


def test_a_twin_is_another_name_of_the_same_file(top: Path, writer: Writer) -> None:
    """In one rename."""
    status = writer.replace(PYCS, "one.pyc", [b"x"], readers())
    assert status is not None
    for twin in ("two.pyc", "old.pyc"):
        assert writer.link(PYCS, "one.pyc", twin, status) is True
        assert status.st_ino == (top / PYCS / twin).stat().st_ino
    assert ["old.pyc", "one.pyc", "two.pyc"] == names(top / PYCS)


def test_a_twin_of_another_file_is_not_linked(top: Path, writer: Writer) -> None:
    """It was put there since: its bytes are unknown."""
    status = writer.replace(PYCS, "one.pyc", [b"x"], readers())
    assert status is not None
    (top / PYCS / "theirs").write_bytes(b"theirs")
    (top / PYCS / "theirs").rename(top / PYCS / "one.pyc")
    assert writer.link(PYCS, "one.pyc", "old.pyc", status) is False
    assert (["old.pyc", "one.pyc"], b"old") == (names(top / PYCS), (top / PYCS / "old.pyc").read_bytes())


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

REPAIR_REMOVES = "a directory has the name of its pyc; a repair removes it"
NOT_EMPTY = "a directory that isn't empty has the name of its pyc"


@pytest.mark.parametrize(
    ("clears", "is_empty", "refusal"),
    [(False, True, REPAIR_REMOVES), (False, False, REPAIR_REMOVES), (True, True, None), (True, False, NOT_EMPTY)],
)
@pytest.mark.parametrize("how", ["replace", "make_way"])
def test_a_directory_in_the_place_of_a_pyc(
    top: Path, tree: Tree, clears: bool, is_empty: bool, refusal: str | None, how: str
) -> None:
    """Only a repair removes it, and only if it is empty."""
    (top / PYCS / "d.pyc").mkdir()
    if not is_empty:
        (top / PYCS / "d.pyc/x").touch()
    writer = Writer(tree, "w", clear_obstacles=clears)

    def act() -> None:
        if how == "replace":
            writer.replace(PYCS, "d.pyc", [b"x"], readers())
        else:
            writer.make_way(PYCS, "d.pyc")

    if refusal is None:
        act()
        expected = ["d.pyc", "old.pyc"] if how == "replace" else ["old.pyc"]
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
        with pytest.raises(WriteRefused, match=r"^__pycache__ is a link or a file; a repair replaces it$"):
            writer.ensure_pycache("q")


#: A directory (mode, group), and the mode and group of what is made in it as root.
MADE = [
    (0o755, 0, 0o755, 0),
    (0o700, 0, 0o700, 0),
    (0o775, 0, 0o775, 0),
    (0o777, 0, 0o775, 0),  # never for everybody
    (0o1777, 0, 0o755, 0),  # where not even who may write may remove another's
    (0o1775, 50, 0o755, 50),
    (0o775, 50, 0o775, 50),
    (0o2775, 50, 0o2775, 50),
    (0o2755, 0, 0o2755, 0),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize(("mode", "gid", "made", "group"), MADE)
def test_a_pycache_is_as_its_directory(
    top: Path, tree: Tree, umask: int, mode: int, gid: int, made: int, group: int
) -> None:
    """Whatever umask the caller has."""
    (top / "q").mkdir()
    os.chown(top / "q", 0, gid)
    (top / "q").chmod(mode)
    before = os.umask(umask)
    try:
        Writer(tree, "w").ensure_pycache("q")
        assert umask == os.umask(umask)
    finally:
        os.umask(before)
    status = (top / "q/__pycache__").stat()
    assert (made, 0, group) == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


#: A directory and its `__pycache__` (mode, owner), the mode of that afterwards, and whether it lets all in then.
OPENED = [
    ((0o755, 0), (0o700, 0), 0o755, True),
    ((0o755, 0), (0o711, 0), 0o755, True),
    ((0o755, OTHER), (0o700, 0), 0o700, False),  # he could have root open what isn't his
    ((0o775, 0), (0o700, 0), 0o700, False),  # others may rename there
    ((0o757, 0), (0o700, 0), 0o700, False),
    ((0o755, OTHER), (0o700, OTHER), 0o755, True),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("above", "pycache", "mode", "is_open"), OPENED)
def test_a_pycache_is_opened_if_it_is_the_same_owners(
    top: Path, writer: Writer, above: tuple[int, int], pycache: tuple[int, int], mode: int, is_open: bool
) -> None:
    """And no other account may rename there."""
    for path, (bits, uid) in [(top / "p", above), (top / PYCS, pycache)]:
        os.chown(path, uid, uid)
        path.chmod(bits)
    assert is_open is writer.open_pycache("p")
    assert mode == stat.S_IMODE((top / PYCS).stat().st_mode)
