"""Package databases of a root: what is copied of them, and which answers of their reader are believed."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, with_rights_of
from children import in_child, require_own_mounts
from pyctrigger.errors import ManagerError
from pyctrigger.interpreter.patience import Patience
from pyctrigger.packages.databases import Files, Source
from pyctrigger.run.scope import root_files as module
from pyctrigger.run.scope.database_reader import TEXT, TEXTS
from pyctrigger.run.scope.root_files import ReaderError, RootFiles, files_of, read_copies
from pyctrigger.state.locations import lock_directory
from unit.interpreter.made_up import open_way_to

if TYPE_CHECKING:
    from collections.abc import Collection


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with texts and a database of a minute ago."""
    root = tmp_path / "root"
    for path, text in {
        "db/one": "first",
        "db/info/a.list": "/a",
        "db/info/b.list": "/b",
        "db/info/b.md5sums": "no list",
        "db/local/p-1/files": "%FILES%",
        "db/local/q-1/desc": "no files",
        "db/local/loose": "no directory",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "db/fifo").mkdir()
    os.mkfifo(root / "db/fifo/x.list")
    return root


class Copied:
    """What the reader would find: texts by name, and other files with their modes."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}
        self.files: dict[str, tuple[int, bytes]] = {}
        self.directories: set[int] = set()
        self.answer: list[tuple[bytes, bytes]] = [(b"/a.pyc", b"")]
        self.asked: list[Collection[bytes] | None] = []
        self.private = ""

    def __call__(
        self, manager: str, paths: Collection[bytes] | None, private: str, patience: Patience
    ) -> list[tuple[bytes, bytes]]:
        assert (manager, True) == ("dpkg", patience.left > 0)
        self.private = private
        self.asked.append(paths)
        place = Path(private, "root")
        rest = (place / TEXTS).read_bytes()
        while rest:
            name, text = TEXT.unpack_from(rest)
            body = rest[TEXT.size :]
            self.texts[os.fsdecode(body[:name])], rest = body[name : name + text], body[name + text :]
        for path in [place, *place.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_dir():
                self.directories.add(mode)
            else:
                self.files[str(path.relative_to(place))] = mode, path.read_bytes()
        return self.answer


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Copied:
    """In the place of the reader."""
    copied = Copied()
    monkeypatch.setattr(module, "read_copies", copied)
    return copied


#: What a manager reads, and the texts that are copied.
TEXTS_OF: list[tuple[Source, dict[str, bytes]]] = [
    (Source("file", "/db/one"), {"/db/one": b"first"}),
    (Source("file", "/db/absent"), {}),
    (Source("files", "/db/info", ".list"), {"a": b"/a", "b": b"/b"}),
    (Source("files", "/db/local", "/files"), {"p-1": b"%FILES%"}),
]


@pytest.mark.parametrize(("source", "expected"), TEXTS_OF)
def test_texts_are_copied_into_one_file(root: Path, copied: Copied, source: Source, expected: dict[str, bytes]) -> None:
    """By the path, or the name without its ending; nothing is left afterwards."""
    before = len(os.listdir("/proc/self/fd"))
    assert copied.answer == RootFiles(str(root)).ask_reader("dpkg", [source, source], None)
    assert (expected, {TEXTS}, {0o711}) == (copied.texts, set(copied.files), copied.directories)
    assert 0o666 == copied.files[TEXTS][0]
    assert not os.path.lexists(copied.private)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("link", ["db/info/c.list", "db/local/r-1", "db/local/s-1/files"])
def test_links_in_a_root_are_not_followed(root: Path, copied: Copied, link: str) -> None:
    """They may lead anywhere."""
    elsewhere = root.parent / "elsewhere"
    (elsewhere / "p").mkdir(parents=True)
    (elsewhere / "p/files").write_text("nobody's")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(elsewhere / ("p" if link.endswith("-1") else "p/files"))
    directory, ending = ("/db/info", ".list") if "info" in link else ("/db/local", "/files")
    with contextlib.suppress(ManagerError):  # some kernels take a link for what is no directory
        RootFiles(str(root)).ask_reader("dpkg", [Source("files", directory, ending)], None)
    assert b"nobody's" not in copied.texts.values()


def test_about_no_path_nobody_is_asked(root: Path) -> None:
    """Nor is anything copied."""
    assert [] == RootFiles(str(root)).ask_reader("dpkg", [Source("file", "/db/one")], [])


#: A patience that is at its end.
OVER: Any = SimpleNamespace(left=0.0)
#: What is read, which bound is how low, and what is said.
BOUNDS: list[tuple[Source, str, Any, str]] = [
    (Source("file", "/db/one"), "_MOST_OF_TEXT", 4, "/db/one can't be read: File too large"),
    (Source("file", "/db/one"), "_MOST_OF_TEXTS", 4, "/db/one can't be read: File too large"),
    (Source("files", "/db/info", ".list"), "_MOST_OF_TEXTS", 3, "/db/info can't be read: File too large"),
    (Source("files", "/db/info", ".list"), "_MOST_NAMES", 2, "/db/info can't be read: it has more than 2 names"),
    (Source("file", "/db/one"), "Patience", lambda _: OVER, "/db/one can't be read: it takes too long"),
    (Source("files", "/db/info", ".list"), "Patience", lambda _: OVER, "/db/info can't be read: it takes too long"),
    (Source("files", "/db/absent", ".list"), "_PIECE", 9, "/db/absent can't be read: No such file or directory"),
    (Source("files", "/db/fifo", ".list"), "_PIECE", 9, "/db/fifo can't be read: not a regular file"),
    (Source("database", "/db/one"), "_MOST_OF_DATABASE", 4, "/db/one can't be read: File too large"),
    (Source("database", "/db/absent"), "_PIECE", 9, "/db/absent can't be read: No such file or directory"),
]


@pytest.mark.parametrize(("source", "bound", "value", "reason"), BOUNDS)
def test_what_cant_be_copied_is_an_error(
    root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch, source: Source, bound: str, value: Any, reason: str
) -> None:
    """With the host's path; nothing stays open or is left."""
    monkeypatch.setattr(module, bound, value)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ManagerError) as caught:
        RootFiles(str(root)).ask_reader("dpkg", [source], None)
    assert f"{root}{reason}" == caught.value.message
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("bound", "value"), [("_MOST_OF_TEXT", 5), ("_MOST_OF_TEXTS", 5), ("_PIECE", 2), ("_MOST_OF_DATABASE", 5)]
)
def test_what_reaches_a_bound_is_copied(
    root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """Whole."""
    monkeypatch.setattr(module, bound, value)
    time.sleep(0.03)
    files = RootFiles(str(root))
    files.ask_reader("dpkg", [Source("file", "/db/one")], None)
    assert {"/db/one": b"first"} == copied.texts
    files.ask_reader("dpkg", [Source("database", "/db/one")], None)
    assert (0o666, b"first") == copied.files["db/one"]
    assert {0o711} == copied.directories


def test_what_grows_meanwhile_is_copied_as_it_was(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is bounded."""

    class Growing:
        @property
        def left(self) -> float:
            with open(root / "db/one", "a") as file:
                file.write("more")
            return 5.0

    monkeypatch.setattr(module, "_PIECE", 3)
    monkeypatch.setattr(module, "Patience", lambda _: Growing())
    RootFiles(str(root)).ask_reader("dpkg", [Source("file", "/db/one")], None)
    assert {"/db/one": b"first"} == copied.texts


def test_a_database_is_copied_with_its_log(root: Path, copied: Copied) -> None:
    """One without the other answers wrongly; the shared memory isn't needed."""
    with sqlite3.connect(root / "db/base.sqlite") as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (x)")
        database.commit()
        time.sleep(0.03)
        RootFiles(str(root)).ask_reader("dpkg", [Source("database", "/db/base.sqlite")], None)
    names = {"db/base.sqlite", "db/base.sqlite-wal"}
    assert {TEXTS, *names} == set(copied.files)
    assert {name: (root / name).read_bytes() for name in names} == {name: copied.files[name][1] for name in names}
    database.close()


@pytest.mark.parametrize(("begins", "is_copied"), [("d9d505f920a163d7", False), ("0000000000000000", True)])
def test_a_database_with_a_transaction_that_isnt_done(root: Path, copied: Copied, begins: str, is_copied: bool) -> None:
    """Isn't one yet."""
    (root / "db/one-journal").write_bytes(bytes.fromhex(begins) + bytes(9))
    time.sleep(0.03)
    files, sources = RootFiles(str(root)), [Source("database", "/db/one")]
    if is_copied:
        files.ask_reader("dpkg", sources, None)
        assert {TEXTS, "db/one"} == set(copied.files)
    else:
        with pytest.raises(ManagerError, match="/db/one can't be read: a transaction isn't done"):
            files.ask_reader("dpkg", sources, None)


def test_a_database_that_is_replaced_meanwhile(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is copied once more; nothing of the longer one is left."""
    real, tries = module._create, list[str]()
    time.sleep(0.03)

    def create(path: str) -> Any:
        if path.endswith("one"):
            tries.append(path)
            if len(tries) == 1:
                (root / "db/new").write_text("abc")
                (root / "db/new").rename(root / "db/one")
        return real(path)

    monkeypatch.setattr(module, "_create", create)
    RootFiles(str(root)).ask_reader("dpkg", [Source("database", "/db/one")], None)
    assert ((0o666, b"abc"), 2) == (copied.files["db/one"], len(tries))


#: What is mounted, and what is read.
ENTERED: list[tuple[str, Source]] = [
    ("db/info/a.list", Source("files", "/db/info", ".list")),
    ("db/local/p-1", Source("files", "/db/local", "/files")),
    ("db/local/p-1/files", Source("files", "/db/local", "/files")),
]


@pytest.mark.parametrize(("place", "source"), ENTERED)
def test_mounts_are_not_entered(root: Path, copied: Copied, place: str, source: Source) -> None:
    """They are meant for who is inside the root; one may never answer."""
    require_own_mounts()
    other = root.parent / "other"
    (other / "files").parent.mkdir()
    (other / "files").write_text("theirs")

    def ask() -> Any:
        over = other if (root / place).is_dir() else other / "files"
        subprocess.run(["mount", "--bind", over, root / place], check=True)
        with pytest.raises(ManagerError) as caught:
            RootFiles(str(root)).ask_reader("dpkg", [source], None)
        return caught.value.message

    assert f"{root}{source.path} can't be read: {os.strerror(errno.EXDEV)}" == in_child(ask, own_mounts=True)


def test_a_database_that_never_rests(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is tried three times."""
    real, tries = module._create, list[str]()

    def create(path: str) -> Any:
        if path.endswith("one"):
            tries.append(path)
            os.utime(root / "db/one")
        return real(path)

    monkeypatch.setattr(module, "_create", create)
    with pytest.raises(ManagerError, match="/db/one can't be read: it changes while it is read"):
        RootFiles(str(root)).ask_reader("dpkg", [Source("database", "/db/one")], None)
    assert 3 == len(tries)


def test_a_database_that_is_too_young(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """May change unseen: it is waited for, until a change would show."""
    waits: list[float] = []
    monkeypatch.setattr(module, "_TICK", 3_600_000_000_000)
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(ManagerError, match="/db/one can't be read: it changes while it is read"):
        RootFiles(str(root)).ask_reader("dpkg", [Source("database", "/db/one")], None)
    assert [7200.0] * 3 == waits


def test_a_database_that_comes_to_rest(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is copied as it is then; nothing of an earlier attempt is left."""
    real, log = module._create, root / "db/one-wal"

    def create(path: str) -> Any:
        if log.exists() and path.endswith("wal"):
            log.unlink()
            (root / "db/one").write_text("one")
        return real(path)

    log.write_text("log")
    monkeypatch.setattr(module, "_create", create)
    RootFiles(str(root)).ask_reader("dpkg", [Source("database", "/db/one")], None)
    assert {TEXTS: (0o666, b""), "db/one": (0o666, b"one")} == copied.files


@pytest.mark.parametrize(("root", "is_foreign"), [(None, False), ("/", False), ("/r", True)])
def test_whose_databases_are_read_by_a_child(root: str | None, is_foreign: bool) -> None:
    """Not this system's own."""
    found = files_of(root)
    assert (RootFiles if is_foreign else Files) is type(found)
    assert f"{'/r' if is_foreign else ''}/db" == found.describe("/db")
    assert ("/r/x" if is_foreign else "/x") == found.describe("/x")


# -- answers ----------------------------------------------------------------------------------------------------------

INVALID, UNENDED = "its reader gave an invalid answer", "its reader ended before it had answered"
#: The paths asked for, the answer, and what is believed: pairs, or the reason why nothing is.
ANSWERS: dict[str, tuple[list[bytes] | None, bytes, list[tuple[bytes, bytes]] | str]] = {
    "nothing": (None, b"done", []),
    "pycs": (None, b"/a.pyc\0\0/b.pyc\0\0done", [(b"/a.pyc", b""), (b"/b.pyc", b"")]),
    "a relative path": (None, b"a.pyc\0\0done", INVALID),
    "no pyc": (None, b"/a.py\0\0done", INVALID),
    "an owner that wasn't asked for": (None, b"/a.pyc\0p\0done", INVALID),
    "an owner": ([b"/a.py", b"/b.py"], b"/a.py\0p\0done", [(b"/a.py", b"p")]),
    "of another path": ([b"/a.py"], b"/b.py\0p\0done", INVALID),
    "the longest name": ([b"/a"], b"/a\0" + b"p" * 512 + b"\0done", [(b"/a", b"p" * 512)]),
    "a name too long": ([b"/a"], b"/a\0" + b"p" * 513 + b"\0done", INVALID),
    "the longest path": (None, b"/" + b"a" * 4091 + b".pyc\0\0done", [(b"/" + b"a" * 4091 + b".pyc", b"")]),
    "a path too long": (None, b"/" + b"a" * 4092 + b".pyc\0\0done", INVALID),
    "half a pair": (None, b"/a.pyc\0done", INVALID),
    "no end": (None, b"/a.pyc\0\0", UNENDED),
    "no answer": (None, b"", UNENDED),
    "trouble": (None, b"trouble: it is\nbroken", "it is broken"),
}


def reader_that_says(answer: bytes, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let another program answer. Returns what it was started with, and asked."""
    (place / "answer").write_bytes(answer)
    started: list[Any] = []

    def start(name: str, arguments: tuple[Any, ...], *, stdin: Any, **options: Any) -> Any:
        started.extend((name, arguments, stdin.read()))
        assert {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL} == options
        return subprocess.Popen(["cat", place / "answer"], stdin=subprocess.DEVNULL, **options)

    monkeypatch.setattr(module, "start_own", start)
    lent = SimpleNamespace(account=SimpleNamespace(uid=77), end=lambda: started.append("ended"))
    monkeypatch.setattr(module, "lease", lambda directory: lent if directory == lock_directory() else None)
    return started


@pytest.mark.parametrize("case", ANSWERS)
def test_which_answers_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Those that an honest reader gives."""
    paths, answer, expected = ANSWERS[case]
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")  # as a variable of the environment could have it
    started = reader_that_says(answer, tmp_path, monkeypatch)
    before = len(os.listdir("/proc/self/fd"))
    if isinstance(expected, str):
        with pytest.raises(ReaderError) as caught:
            read_copies("pkg", paths, str(tmp_path), Patience(5))
        assert expected == str(caught.value)
    else:
        assert expected == read_copies("pkg", paths, str(tmp_path), Patience(5))
    name, (manager, seconds, account, place), question, ended = started
    assert ("pyctrigger.run.scope.database_reader", "pkg", 77, "ended") == (name, manager, account, ended)
    assert (f"{tmp_path}/root", b"\0".join(paths or ())) == (place, question)
    assert 4 < seconds <= 5
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("bound", "most", "paths"), [("_MOST_PATHS", 1, 1), ("_MOST_PATHS", 3, 3), ("_MOST_BYTES", 12, 1)]
)
def test_an_answer_has_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, most: int, paths: int
) -> None:
    """Of its bytes, and of the paths in it."""
    monkeypatch.setattr(module, bound, most)
    monkeypatch.setattr(module, "_PIECE", 5)
    reader_that_says(b"/a.pyc\0\0" * paths + b"done", tmp_path, monkeypatch)
    assert [(b"/a.pyc", b"")] * paths == read_copies("pkg", None, str(tmp_path), Patience(5))
    monkeypatch.setattr(module, bound, most - 1)
    with pytest.raises(ReaderError, match=r"^its answer is too long$"):
        read_copies("pkg", None, str(tmp_path), Patience(5))


def test_the_paths_of_an_answer_are_counted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is wrong with it."""
    monkeypatch.setattr(module, "_MOST_PATHS", 1)
    reader_that_says(b"/a.pyc\0\0b\0done", tmp_path, monkeypatch)
    with pytest.raises(ReaderError, match=r"^its answer is too long$"):
        read_copies("pkg", None, str(tmp_path), Patience(5))


class Waits:
    """A patience that lasts longer than it first seems, and knows whom it follows."""

    def __init__(self) -> None:
        self._left = [5.0, 0.001]
        self.followed: list[int] = []

    @property
    def left(self) -> float:
        return self._left.pop(0) if self._left else 5.0

    def follow(self, process: int) -> None:
        self.followed.append(process)


def test_a_reader_that_is_kept_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is waited for longer. Without an account to lend it has the host's."""
    children: list[Any] = []
    patience: Any = Waits()

    def start(name: str, arguments: tuple[Any, ...], **options: Any) -> Any:
        assert ("pkg", 0) == (arguments[0], arguments[2])
        children.append(subprocess.Popen(["/bin/sh", "-c", "sleep 0.1; printf done"], **options))
        return children[0]

    monkeypatch.setattr(module, "start_own", start)
    monkeypatch.setattr(module, "lease", lambda directory: None)
    assert [] == read_copies("pkg", None, str(tmp_path), patience)
    assert [children[0].pid] == patience.followed


def test_a_reader_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed."""

    def start(_: str, arguments: tuple[Any, ...], **options: Any) -> Any:
        assert 0 == arguments[2]  # no account was to be had
        return subprocess.Popen(["sleep", "60"], **options)

    monkeypatch.setattr(module, "start_own", start)
    monkeypatch.setattr(module, "lease", lambda directory: None)
    began = time.monotonic()
    with pytest.raises(ReaderError, match=r"^it takes too long$"):
        read_copies("pkg", None, str(tmp_path), Patience(0.1))
    assert time.monotonic() - began < 30


class Kept:
    """The patience with a process that is kept waiting: there is always some left."""

    def __init__(self) -> None:
        self.followed: list[int] = []

    @property
    def left(self) -> float:
        """A moment."""
        return 0.01

    def follow(self, process: int) -> None:
        """It is this one."""
        self.followed.append(process)


def test_a_reader_that_is_kept_waiting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own patience says how long."""
    children: list[subprocess.Popen[bytes]] = []

    def start(*_: Any, **options: Any) -> Any:
        children.append(subprocess.Popen(["/bin/sh", "-c", "sleep 0.1; printf done"], **options))
        return children[0]

    monkeypatch.setattr(module, "start_own", start)
    monkeypatch.setattr(module, "lease", lambda directory: None)
    patience: Any = Kept()
    assert [] == read_copies("pkg", None, str(tmp_path), patience)
    assert [child.pid for child in children] == patience.followed


def test_all_questions_about_a_root_share_their_time(
    root: Path, tmp_path: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one has what is left, also after a failure; without any nobody is asked."""
    given: list[float] = []

    def begin(seconds: float) -> Any:
        given.append(seconds)
        return SimpleNamespace(left=seconds - 1)

    monkeypatch.setattr(module, "Patience", begin)
    files = RootFiles(str(root))
    assert copied.answer == files.ask_reader("dpkg", [Source("file", "/db/one")], [b"/a"])
    with pytest.raises(ManagerError):
        files.ask_reader("dpkg", [Source("files", "/db/absent")], None)
    files.ask_reader("dpkg", [Source("file", "/db/one")], None)
    assert ([5.0, 4.0, 3.0], [[b"/a"], None]) == (given, copied.asked)
    reader_that_says(b"done", tmp_path, monkeypatch)
    with pytest.raises(ReaderError, match=r"^it takes too long$"):
        read_copies("pkg", None, str(tmp_path), OVER)


def test_what_killed_hosts_left_is_removed(root: Path, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of other names."""
    above = root.parent / "above"
    for name in ("pyctrigger-databases-x/root", "pyctrigger-other/root"):
        (above / name).mkdir(parents=True)
    (above / "pyctrigger-databases-file").touch()
    real = module._sweep
    monkeypatch.setattr(module, "_sweep", lambda _: real(str(above)))
    RootFiles(str(root)).ask_reader("dpkg", [Source("file", "/db/one")], None)
    assert ["pyctrigger-databases-file", "pyctrigger-other"] == sorted(os.listdir(above))


@pytest.mark.usefixtures("as_root")
def test_what_cant_be_removed_is_left(tmp_path: Path) -> None:
    """And no longer held, for who can."""
    names = [f"pyctrigger-databases-{name}" for name in "abc"]
    for name in names:
        (tmp_path / name / "root/db").mkdir(parents=True)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, ANN, ANN)
    (tmp_path / names[1] / "root").chmod(0)
    open_way_to(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with with_rights_of(ANN):
        module._sweep(str(tmp_path))
    assert ([names[1]], before) == (os.listdir(tmp_path), len(os.listdir("/proc/self/fd")))
