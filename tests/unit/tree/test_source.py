"""Reading a source whole: a regular file, of bounded size, through links that stay inside, and not while it changes."""

from __future__ import annotations

import errno
import os
import struct
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from acting import ANN, let_act, working_as
from conftest import absent
from packages import write_tree
from pyctrigger.tree import source as module
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.opened import Opened
from pyctrigger.tree.permission.access_lists import takes_lists
from pyctrigger.tree.source import (
    SourceRefused,
    digest_pyc,
    is_unchanged,
    largest_pyc,
    look_at_pyc,
    pyc_rights,
    read_pyc,
    read_source,
    require_readable,
    source_rights,
    source_status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB, NO_ID = 1 << 20, 0xFFFFFFFF


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A site directory with links of all kinds."""
    top = write_tree(tmp_path / "site", {"m.py": "x = 1\n", "package/n.py": "y = 2\n", "package/deep/o.py": "z = 3\n"})
    for name, goal in {
        "link.py": "package/n.py",
        "package/up.py": "../m.py",
        "package/absolute.py": str(top / "m.py"),
        "twice.py": "link.py",
        "directory.py": "package",
        "nowhere.py": "absent.py",
        "circle.py": "circle.py",
        "fifo_link.py": "fifo.py",
        "through.py": "package/../m.py",
    }.items():
        (top / name).symlink_to(goal)
    os.mkfifo(top / "fifo.py")
    (top / "folder.py").mkdir()
    return top


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    """The site directory, opened."""
    with Tree.open(str(top)) as tree:
        yield tree


#: A directory and a name in it, what is read there, and in which directory that lies.
SOURCES: list[tuple[str, str, bytes, str]] = [
    ("", "m.py", b"x = 1\n", ""),
    ("package", "n.py", b"y = 2\n", "package"),
    ("package/deep", "o.py", b"z = 3\n", "package/deep"),
    ("", "link.py", b"y = 2\n", "package"),
    ("package", "up.py", b"x = 1\n", ""),
    ("package", "absolute.py", b"x = 1\n", ""),
    ("", "twice.py", b"y = 2\n", "package"),
    ("", "through.py", b"x = 1\n", ""),
]


@pytest.mark.parametrize(("relative", "name", "data", "directory"), SOURCES)
def test_a_source_is_read_as_import_finds_it(
    top: Path, tree: Tree, relative: str, name: str, data: bytes, directory: str
) -> None:
    """With the status of the file itself, and of its directory."""
    before, start = len(os.listdir("/proc/self/fd")), time.time_ns()
    text = read_source(tree, relative, name)
    assert start <= text.when <= time.time_ns()
    require_readable(tree, relative, name)
    real = (top / relative / name).stat()

    assert (data, real.st_ino, directory) == (text.data, text.status.st_ino, text.rights.directory)
    assert real.st_ino == source_status(tree, relative, name).st_ino
    rights = source_rights(tree, relative, name)
    assert (real.st_ino, None, directory) == (rights.status.st_ino, rights.acl, rights.directory)
    assert text.rights.status == text.status
    # At most one for each directory that stays open.
    assert len(os.listdir("/proc/self/fd")) - before <= 2


#: What can't be read, and the number of the error.
UNREADABLE = {
    "absent.py": errno.ENOENT,
    "fifo.py": errno.EINVAL,
    "folder.py": errno.EINVAL,
    "directory.py": errno.EINVAL,
    "nowhere.py": errno.ENOENT,
    "circle.py": errno.ELOOP,
    "fifo_link.py": errno.EINVAL,
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_source_is_an_error(tree: Tree, name: str) -> None:
    """Nothing is waited for."""
    for read in (read_source, require_readable):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
            read(tree, "", name)
        assert UNREADABLE[name] == caught.value.errno


Deed = Callable[["Path", "Path"], Any]
#: Links that lead out of the site directory, or to somebody else's file.
OUT: dict[str, tuple[Deed, str | None]] = {
    "to an open file outside": (lambda top, outside: None, None),
    "to a file that not everybody may read": (lambda top, outside: outside.chmod(0o600), None),
    "through a directory that keeps out": (
        lambda top, outside: outside.parent.chmod(0o750),
        "a link that leads out of the site directory",
    ),
    "through a directory that others may write": (
        lambda top, outside: outside.parent.chmod(0o775),
        "a link that leads out of the site directory",
    ),
    "through another account's directory": (
        lambda top, outside: os.chown(outside.parent, 12345, 12345),
        "a link that leads out of the site directory",
    ),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", OUT)
def test_links_out_of_the_site_directory(top: Path, case: str) -> None:
    """Followed where only root, and we, may change where they lead, and everybody may go there."""
    outside = write_tree(top.parent, {"outside/n.py": "outside = 1\n"}) / "outside/n.py"
    for directory in (top, outside.parent):
        directory.chmod(0o755)
    (top / "package/out.py").symlink_to("../../outside/n.py")
    (top / "package").chmod(0o755)
    deed, refusal = OUT[case]
    deed(top, outside)
    with Tree.open("/site", str(top.parent)) as tree:
        if refusal is None:
            text = read_source(tree, "package", "out.py")
            assert (b"outside = 1\n", "package") == (text.data, text.rights.directory)
        else:
            with pytest.raises(SourceRefused, match=refusal):
                read_source(tree, "package", "out.py")


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("link", "goal", "is_read"),
    [(0, 0, True), (0, 12345, True), (12345, 12345, True), (12345, 0, False), (12345, 12346, False)],
)
def test_a_link_to_another_owners_file(top: Path, tree: Tree, link: int, goal: int, is_read: bool) -> None:
    """Otherwise it could make root reveal what only its owner may read."""
    os.lchown(top / "link.py", link, link)
    os.chown(top / "package/n.py", goal, goal)
    if is_read:
        assert b"y = 2\n" == read_source(tree, "", "link.py").data
    else:
        with pytest.raises(SourceRefused, match="a link to a file of another owner"):
            read_source(tree, "", "link.py")


@pytest.mark.parametrize(
    ("size", "most"),
    [
        (0, MIB),
        (1, MIB),
        (699, MIB),
        (700, 1_050_000),
        (50_000, 75_000_000),
        (1 << 18, 128 * MIB),
        (64 * MIB, 128 * MIB),
    ],
)
def test_largest_pyc_of_a_source(size: int, most: int) -> None:
    """A megabyte for any, much for each byte, and never more than twice the largest source."""
    assert most == largest_pyc(size)


@pytest.mark.parametrize(("largest", "is_read"), [(6, True), (5, False)])
def test_a_source_has_a_largest_size(tree: Tree, monkeypatch: pytest.MonkeyPatch, largest: int, is_read: bool) -> None:
    """One byte more is refused before it is read."""
    monkeypatch.setattr(module, "LARGEST_SOURCE", largest)
    if is_read:
        assert b"x = 1\n" == read_source(tree, "", "m.py").data
    else:
        for read in (read_source, require_readable):
            with pytest.raises(SourceRefused, match=r"^larger than 0 MiB$"):
                read(tree, "", "m.py")


def test_a_source_of_more_than_one_piece(top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may give less than was asked for."""
    data = os.urandom(10_000)
    (top / "large.py").write_bytes(data)
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real(descriptor, min(size, 999)))
    assert data == read_source(tree, "", "large.py").data


# -- while it changes -------------------------------------------------------------------------------------------------


class Edits:
    """Edits a file after each of so many of the status calls that follow a read."""

    def __init__(self, path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.left, self.done = path, count, 0
        self._read = os.read
        monkeypatch.setattr(os, "read", self)

    def __call__(self, descriptor: int, size: int) -> bytes:
        data = self._read(descriptor, size)
        if self.left:
            self.left, self.done = self.left - 1, self.done + 1
            self.path.write_bytes(b"edited %d\n" % self.done)
        return data


@pytest.mark.parametrize("edits", [1, 4])
def test_a_source_that_changes_is_read_again(
    top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, edits: int
) -> None:
    """Until status and bytes belong together."""
    Edits(top / "m.py", edits, monkeypatch)
    text = read_source(tree, "", "m.py")
    assert (b"edited %d\n" % edits, (top / "m.py").stat().st_mtime_ns) == (text.data, text.status.st_mtime_ns)


def test_a_source_that_never_rests_is_left_to_the_next_run(
    top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five tries."""
    edits = Edits(top / "m.py", 1000, monkeypatch)
    with pytest.raises(SourceRefused, match=r"^it changes while it is read$"):
        read_source(tree, "", "m.py")
    assert 5 <= edits.done <= 10


@pytest.mark.parametrize(
    ("field", "is_same"),
    [
        ("st_ino", False),
        ("st_dev", False),
        ("st_size", False),
        ("st_mtime_ns", False),
        ("st_ctime_ns", False),
        ("st_mode", True),
        ("st_atime_ns", True),
        ("st_nlink", True),
    ],
)
def test_one_state_of_one_file(field: str, is_same: bool) -> None:
    """By identity, times and size."""

    class Status:
        def __init__(self, **changes: int) -> None:
            names = ("st_ino", "st_dev", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode", "st_atime_ns", "st_nlink")
            self.__dict__.update({**dict.fromkeys(names, 1), **changes})

    before: Any = Status()
    after: Any = Status(**{field: 2})
    assert is_same is is_unchanged(before, after)


# -- pycs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyc(top: Path) -> Path:
    """A pyc of five bytes of header, and a body."""
    return write_tree(top, {"__pycache__/m.pyc": "headbody"}) / "__pycache__/m.pyc"


def joined(pieces: Any) -> bytes:
    """In the place of a digest: the bytes themselves."""
    return b"".join(pieces)


def test_a_pyc_is_read_whole(tree: Tree, pyc: Path) -> None:
    """With its status; or as header and digest."""
    data, status = read_pyc(tree, "__pycache__", "m.pyc", 0)
    assert (b"headbody", pyc.stat().st_ino) == (data, status.st_ino)
    start = time.time_ns()
    found = digest_pyc(tree, "__pycache__", "m.pyc", 0, 4, joined)
    assert (b"head", b"body", status) == (found.header, found.digest, found.status)
    assert start <= found.when <= time.time_ns()


@pytest.mark.parametrize(
    ("header", "expected"),
    [(0, (b"", b"headbody")), (7, (b"headbod", b"y")), (8, (b"headbody", b"")), (99, (b"headbody", b""))],
)
def test_a_pyc_shorter_than_its_header(tree: Tree, pyc: Path, header: int, expected: tuple[bytes, bytes]) -> None:
    """Has what it has."""
    found = digest_pyc(tree, "__pycache__", "m.pyc", 0, header, joined)
    assert expected == (found.header, found.digest)


@pytest.mark.parametrize("size", [MIB, MIB + 1, 5 * MIB // 2])
def test_a_pyc_of_several_pieces(top: Path, tree: Tree, pyc: Path, size: int) -> None:
    """No more than a piece is held."""
    data = os.urandom(1000) * (size // 1000 + 1)
    pyc.write_bytes(data[:size])
    held: list[int] = []

    def digest(pieces: Any) -> bytes:
        whole = b""
        for piece in pieces:
            held.append(len(piece))
            whole += piece
        return whole

    assert data[16:size] == digest_pyc(tree, "__pycache__", "m.pyc", 100_000, 16, digest).digest
    assert max(held) <= MIB
    assert data[:size] == read_pyc(tree, "__pycache__", "m.pyc", 100_000)[0]


def test_a_pyc_that_is_too_large_isnt_read(tree: Tree, pyc: Path) -> None:
    """For its source."""
    with pyc.open("r+b") as file:
        file.truncate(MIB + 1)
    for read in (
        lambda: read_pyc(tree, "__pycache__", "m.pyc", 0),
        lambda: digest_pyc(tree, "__pycache__", "m.pyc", 0, 16, joined),
    ):
        with pytest.raises(SourceRefused, match=r"^larger than 1 MiB$"):
            read()
    assert MIB + 1 == len(read_pyc(tree, "__pycache__", "m.pyc", 1000)[0])


def test_a_pyc_that_grows_is_read_again(tree: Tree, pyc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is read; and what never rests is refused."""
    edits = Edits(pyc, 2, monkeypatch)
    assert b"edited 2\n" == digest_pyc(tree, "__pycache__", "m.pyc", 0, 0, joined).digest
    edits.left = 1000
    with pytest.raises(SourceRefused, match="it changes while it is read"):
        digest_pyc(tree, "__pycache__", "m.pyc", 0, 0, joined)


def test_of_a_pyc_that_grows_for_ever_no_more_is_read_than_it_had(tree: Tree, pyc: Path) -> None:
    """At each try."""
    held: list[int] = []

    def digest(pieces: Any) -> bytes:
        limit, held[:] = pyc.stat().st_size, [0]
        for piece in pieces:
            held[0] += len(piece)
            assert held[0] <= limit
            with pyc.open("ab") as file:
                file.write(bytes(MIB))
        return b""

    with pyc.open("r+b") as file:
        file.truncate(5 * MIB // 2)
    with pytest.raises(SourceRefused, match="it changes while it is read"):
        digest_pyc(tree, "__pycache__", "m.pyc", 1 << 16, 0, digest)


def test_a_file_that_has_more_than_it_says_is_left_to_the_next_run() -> None:
    """As those of /proc, which say that they have nothing."""
    with Tree.open(f"/proc/{os.getpid()}") as tree:
        size = len(read_bytes(f"/proc/{os.getpid()}/comm"))
        for read in (
            lambda: read_source(tree, "", "comm"),
            lambda: read_pyc(tree, "", "comm", 0),
            lambda: digest_pyc(tree, "", "comm", 0, size - 1, joined),
        ):
            with pytest.raises(SourceRefused, match=r"^it changes while it is read$"):
                read()


def read_bytes(path: str) -> bytes:
    """What a file has."""
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("x"), lambda path: path.mkdir(), os.mkfifo])
def test_what_is_no_pyc_isnt_read(tree: Tree, pyc: Path, make: Callable[[Path], Any]) -> None:
    """A link, a directory, a FIFO."""
    pyc.unlink()
    make(pyc)
    with pytest.raises(OSError):  # noqa: PT011 - each system has its own
        read_pyc(tree, "__pycache__", "m.pyc", 0)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("m.pyc", 4, (b"head", 8)),
        ("m.pyc", 99, (b"headbody", 8)),
        ("absent", 4, (b"", 0)),
        ("link", 4, (b"", 0)),
        ("d", 4, (b"", 0)),
        ("fifo", 4, (b"", 0)),
    ],
)
def test_first_bytes_of_a_pyc(pyc: Path, name: str, size: int, expected: tuple[bytes, int]) -> None:
    """None where it can't be read."""
    (pyc.parent / "link").symlink_to("m.pyc")
    (pyc.parent / "d").mkdir()
    os.mkfifo(pyc.parent / "fifo")
    directory = os.open(pyc.parent, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    assert expected == look_at_pyc(directory, name, size)
    assert len(os.listdir("/proc/self/fd")) <= before
    os.close(directory)


def test_rights_of_a_pyc(pyc: Path) -> None:
    """Its status and its list; a link isn't followed."""
    (pyc.parent / "link").symlink_to("m.pyc")
    directory = os.open(pyc.parent, os.O_RDONLY)
    assert (pyc.stat(), None) == pyc_rights(directory, "m.pyc")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        pyc_rights(directory, "link")
    os.close(directory)


@pytest.mark.usefixtures("as_root")
def test_status_of_a_pyc_that_we_may_not_read(top: Path, pyc: Path) -> None:
    """Without its list."""
    pyc.chmod(0o600)
    pyc.parent.chmod(0o755)
    directory = os.open(pyc.parent, os.O_RDONLY)
    with working_as("ann"):
        found = pyc_rights(directory, "m.pyc")
    assert (pyc.stat(), None) == found
    os.close(directory)


def test_a_list_is_among_the_rights(top: Path, tree: Tree, pyc: Path) -> None:
    """Of a source and of a pyc."""
    if not takes_lists(tree.directory("")):
        absent("no access lists on this file system")
    entries = [(1, 6, NO_ID), (2, 4, ANN), (4, 4, NO_ID), (16, 4, NO_ID), (32, 0, NO_ID)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    for path in (top / "m.py", pyc):
        os.setxattr(path, "system.posix_acl_access", acl)
    rights = read_source(tree, "", "m.py").rights, source_rights(tree, "", "m.py")
    assert [acl] * 3 == [*(each.acl for each in rights), pyc_rights(tree.directory("__pycache__"), "m.pyc")[1]]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("read", [read_source, require_readable])
def test_what_the_owner_of_a_place_may_not_read_is_refused(
    top: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., Any]
) -> None:
    """There we act as that account; elsewhere it is an error."""
    let_act(monkeypatch)
    for path in ("m.py", "package/n.py"):
        (top / path).chmod(0o600)
    os.chown(top / "package", ANN, ANN)
    with Tree.open(str(top)) as tree:
        read(tree, "", "m.py")
        with pytest.raises(SourceRefused, match=f"^account {ANN}, which owns its directory, may not read it$"):
            read(tree, "package", "n.py")
    with Tree(Opened(os.open(top, os.O_RDONLY), None), str(top)) as tree, working_as("ann"):
        tree.is_judged = False
        with pytest.raises(PermissionError):
            read(tree, "", "m.py")


def test_a_link_that_became_a_file_meanwhile(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is opened as one."""
    real, failures = Tree.open_file, [errno.ELOOP]

    def open_file(self: Tree, relative: str, name: str) -> int:
        if failures:
            raise OSError(failures.pop(), "a link")
        return real(self, relative, name)

    monkeypatch.setattr(Tree, "open_file", open_file)
    assert b"y = 2\n" == read_source(tree, "package", "n.py").data
