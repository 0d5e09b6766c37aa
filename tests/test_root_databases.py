"""Package databases inside a root: a stranger's data, whatever it is, looked at by a child that can do nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from confinement import private_mounts
from interpreters import tag_of
from packages import write_tree
from pyctrigger.managers.every import MANAGERS
from pyctrigger.managers.files import ManagerError
from pyctrigger.run import reader
from pyctrigger.run.reader import ReaderError, ask_reader
from pyctrigger.run.root_files import RootFiles
from pyctrigger.state.files import hold_directory
from strangers import KINDS, MOST_MEMORY, Outside, is_in_time, plant, run_measured, swapping
from test_roots import Root

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: Every place that a manager looks at, of those that a root may have.
PLACES = {
    "dpkg info": "var/lib/dpkg/info",
    "dpkg list": "var/lib/dpkg/info/owner.list",
    "dpkg diversions": "var/lib/dpkg/diversions",
    "rpm": "var/lib/rpm/rpmdb.sqlite",
    "rpm log": "var/lib/rpm/rpmdb.sqlite-wal",
    "rpm in usr": "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "pacman local": "var/lib/pacman/local",
    "pacman files": "var/lib/pacman/local/owner-1-1/files",
    "pkg": "var/db/pkg/local.sqlite",
    "pkg log": "var/db/pkg/local.sqlite-wal",
    "pkg configuration": "usr/local/etc/pkg.conf",
    "apk": "lib/apk/db/installed",
}


@pytest.fixture
def root(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> Root:
    """A root with a pyc whose source is gone, so that its packages are asked."""
    root = Root(pyctrigger, newest, tmp_path)
    write_tree(root.site, {f"__pycache__/gone.{tag_of(newest)}.pyc": "an orphan"})
    return root


def plant_all(kind: str, root: Root, outside: Outside) -> None:
    """The same thing in every place, as far as one lies in none of the others."""
    for place in PLACES.values():
        if not any(place.startswith(f"{other}/") for other in PLACES.values()):
            plant(kind, root.path / place, outside)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_place_of_a_database_harms_or_holds_anybody(root: Root, tmp_path: Path, kind: str) -> None:
    """All at once: the host's files stay, the run ends in time, nothing is removed, the sources are compiled."""
    outside = Outside(tmp_path / "outside")
    plant_all(kind, root, outside)

    cost = run_measured(root.pyctrigger, "run", *root.arguments)

    assert (0, 3) == (cost.code, cost.compiled), cost.err
    assert outside.is_as_it_was
    assert is_in_time(cost, root.control)
    assert cost.memory < MOST_MEMORY
    assert [0] == [run["counts"]["removed"] for run in cost.document["runs"]]
    assert "nothing is removed or replaced, a package may own it" in cost.err
    assert "Traceback" not in cost.err


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("dpkg list", "fifo"),
        ("dpkg list", "link to a device"),
        ("dpkg diversions", "fifo"),
        ("rpm", "endless view"),
        ("pkg", "endless view"),
        ("pkg", "huge numbers"),
        ("rpm", "huge numbers"),
        ("pacman files", "fifo"),
        ("apk", "link to a device"),
        ("pkg log", "fifo"),
        ("rpm log", "random bytes"),
    ],
)
def test_each_by_itself(root: Root, tmp_path: Path, place: str, kind: str) -> None:
    """One alone ends in time as well, and says which it is."""
    outside = Outside(tmp_path / "outside")
    if place.endswith(" log"):
        make_database(root.path / PLACES[place[: -len(" log")]])
    plant(kind, root.path / PLACES[place], outside)
    if place == "dpkg diversions":
        (root.path / PLACES["dpkg info"]).mkdir()

    cost = run_measured(root.pyctrigger, "run", *root.arguments)

    assert (0, 3) == (cost.code, cost.compiled), cost.err
    assert is_in_time(cost, root.control)
    assert cost.memory < MOST_MEMORY
    is_ignored = kind == "random bytes"  # a log without a valid beginning is none, as SQLite has it
    assert is_ignored or f"{root.path}/" in cost.err


def make_database(path: Path) -> None:
    """One that is sound, and owns nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("create table files (path text, package_id)")
        database.execute("create table Packages (hnum integer primary key, blob blob)")


# -- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_is_read_with_its_log(tmp_path: Path, mode: str) -> None:
    """In the middle of a transaction, too: what is in the log counts, and nothing appears beside it."""
    path = tmp_path / "var/db/pkg/local.sqlite"
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"pragma journal_mode = {mode}")
        database.execute("pragma wal_autocheckpoint = 0")
        database.execute("create table files (path text, package_id)")
        database.execute("create table packages (id integer primary key, name text)")
        database.execute("insert into packages values (7, 'owner')")
        database.execute("insert into files values ('/usr/a.pyc', 7), ('/usr/b.py', 7)")
        before = sorted(os.listdir(path.parent))

        assert [b"/usr/a.pyc"] == ask(tmp_path, "pkg")
        files = RootFiles(str(tmp_path))
        wanted = [b"/usr/b.py", b"/usr/c.py"]
        assert {b"/usr/b.py": "owner"} == files.owners(MANAGERS["pkg"](files), wanted)
        assert before == sorted(os.listdir(path.parent))


def ask(root: Path, manager: str) -> list[bytes]:
    """What a root's manager owns."""
    files = RootFiles(str(root))
    return list(files.owned_pycs(MANAGERS[manager](files)))


def test_the_texts_of_the_others_are_read_as_well(tmp_path: Path) -> None:
    """Those of this system's managers and a root's are read by the same code."""
    write_tree(
        tmp_path,
        {
            "var/lib/dpkg/info/one.list": "/usr/a.pyc\n/usr/a.py\n",
            "var/lib/dpkg/diversions": "/usr/d.py\n/usr/d.py.real\nanother\n",
            "var/lib/dpkg/info/two:amd64.list": "/usr/d.py\n",
            "var/lib/pacman/local/owner-1.0-2/files": "%FILES%\nusr/b.pyc\nusr/b.py\n",
            "var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
            "lib/apk/db/installed": "P:owner\nF:usr\nR:c.pyc\nR:c.py\n",
        },
    )
    expected = {"dpkg": [b"/usr/a.pyc"], "pacman": [b"/usr/b.pyc"], "apk": [b"/usr/c.pyc"]}
    assert expected == {name: ask(tmp_path, name) for name in expected}

    files = RootFiles(str(tmp_path))
    wanted = [b"/usr/a.py", b"/usr/b.py", b"/usr/c.py", b"/usr/d.py", b"/usr/d.py.real"]
    assert {b"/usr/a.py": "one", b"/usr/d.py.real": "two:amd64"} == files.owners(MANAGERS["dpkg"](files), wanted)
    assert {b"/usr/b.py": "owner"} == files.owners(MANAGERS["pacman"](files), wanted)
    assert {b"/usr/c.py": "owner"} == files.owners(MANAGERS["apk"](files), wanted)


def test_a_directory_that_is_a_link_means_one_inside(tmp_path: Path) -> None:
    """As for those who live there: `/lib` is a link to `usr/lib`, absolute or not; out of the root none leads."""
    write_tree(
        tmp_path, {"root/usr/lib/apk/db/installed": "F:usr\nR:a.pyc\n", "lib/apk/db/installed": "F:usr\nR:b.pyc\n"}
    )
    for goal in ("usr/lib", "/usr/lib", "../../../../usr/lib"):
        (tmp_path / "root/lib").symlink_to(goal)
        assert [b"/usr/a.pyc"] == ask(tmp_path / "root", "apk")
        (tmp_path / "root/lib").unlink()
    (tmp_path / "root/lib").symlink_to(tmp_path / "lib")
    assert not MANAGERS["apk"](RootFiles(str(tmp_path / "root"))).is_present


@pytest.mark.parametrize(
    "schema",
    [
        "create table other (path); create view files as select path from other",
        "create table files (n, path text generated always as ('/usr/' || hex(zeroblob(1000)) || '.pyc'))",
        "create virtual table files using fts4(path)",
        "create table other (path)",
    ],
    ids=["view", "function", "virtual", "absent"],
)
def test_a_schema_that_would_run_is_refused(tmp_path: Path, schema: str) -> None:
    """Nothing but a plain table of the name is read, and none of its functions is called."""
    path = tmp_path / "var/db/pkg/local.sqlite"
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(schema)
        with contextlib.suppress(sqlite3.Error):
            database.execute("insert into files (n) values (1)")
    with pytest.raises(ManagerError, match="can't be read: "):
        ask(tmp_path, "pkg")


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else can mount")
@pytest.mark.parametrize("options", [["-t", "tmpfs", "none"], ["--bind", "/usr"]])
def test_a_database_on_a_mount_below_the_root_isnt_read(root: Root, options: list[str]) -> None:
    """It may be a program's that never answers, or the host's own; what it owns isn't known."""
    place = root.path / "var/lib/dpkg"
    place.mkdir(parents=True)
    with private_mounts(f"mount {' '.join(options)} {place}; mkdir -p {place}/info") as inside:
        root.pyctrigger.program = [*inside, *root.pyctrigger.program]
        outcome = root.run()

    assert (0, 3, 0) == (outcome.code, outcome.counts["compiled"], outcome.counts["removed"])
    assert f"{place}/info can't be read: Invalid cross-device link" in outcome.err


def test_rpm_is_not_run_over_a_database_of_a_roots(root: Root) -> None:
    """As root, it would trust whoever wrote it."""
    write_tree(root.path, {"var/lib/rpm/Packages": "an older format"})
    outcome = root.run()
    assert (0, 3, 0) == (outcome.code, outcome.counts["compiled"], outcome.counts["removed"])
    assert f"{root.path}/var/lib/rpm/Packages: rpm isn't run over a root's database" in outcome.err


# -- the child -------------------------------------------------------------------------------------------------------

DEEDS = {
    "open a file": "open('/etc/passwd')",
    "list the directory above": "os.listdir('..')",
    "make a file": "open('new', 'w').close()",
    "change the copy": "os.write(os.open('/database', os.O_WRONLY), b'x' * 10)",
    "become root": "os.setuid(0)",
    "fork": "os.fork()",
    "connect": "socket.create_connection(('127.0.0.1', int(PORT)), 1)",
    "signal the host": "os.kill(os.getppid(), 0)",
    "grow": "bytearray(300 << 20)",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else has rights to give up")
@pytest.mark.parametrize("deed", DEEDS)
def test_a_reader_that_was_taken_over_can_do_nothing(tmp_path: Path, deed: str) -> None:
    """The deed succeeds where nothing was given up: that is the control."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o711)
    (place / "database").write_bytes(b"x" * 20)
    (place / "database").chmod(0o666)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        act = DEEDS[deed].replace("PORT", str(port))
        where = DEEDS[deed].count("'/database'")
        free = attempt(act.replace("'/database'", f"'{place}/database'") if where else act, "", tmp_path)
        assert "did" == free.splitlines()[0]
        give_up = f"from pyctrigger.managers import confined; confined.give_up_rights(65534, 65534, {str(place)!r}, 5)"
        assert "failed" == attempt(act, give_up, tmp_path).splitlines()[0]


def attempt(act: str, before: str, cwd: Path) -> str:
    """Whether a process did something, after something else."""
    program = (
        f"import os, socket, encodings.idna\n{before}\ntry:\n    {act}\n"
        "except BaseException as error:\n    os.write(1, b'failed\\n')\nelse:\n    os.write(1, b'did\\n')\nos._exit(0)"
    )
    source = Path(reader.__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(source)}
    child = subprocess.run([sys.executable, "-c", program], env=environment, cwd=cwd, capture_output=True, check=False)
    return child.stdout.decode() or child.stderr.decode()


ANSWERS = {
    "nothing": b"",
    "half a frame": b"f\0\0",
    "a path that is none": b"f\0\0\0\1\0\0\0\0xe" + bytes(8),
    "a path that is no pyc": b"f\0\0\0\2\0\0\0\0/xe" + bytes(8),
    "more than there is": b"f\xff\xff\xff\xff\0\0\0\0/x.pyc",
    "another kind": b"z\0\0\0\6\0\0\0\0/x.pyce" + bytes(8),
    "no end": b"f\0\0\0\6\0\0\0\0/x.pyc",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_no_reader_of_ours_gives_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """What comes from the child may be the stranger's."""
    monkeypatch.setattr(reader, "START", f"import os; os.write(1, {ANSWERS[answer]!r})")
    with open(tmp_path / "texts", "w+b") as texts, pytest.raises(ReaderError, match="its reader"):
        ask_reader("pkg", None, texts, str(tmp_path), time.monotonic() + 5)


@pytest.mark.parametrize(
    ("program", "seconds", "words"),
    [
        ("import time; time.sleep(60)", 1, "takes too long"),
        ("import os\nwhile True: os.write(1, b'f' * 65536)", 30, "too much"),
    ],
)
def test_a_reader_that_doesnt_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, seconds: int, words: str
) -> None:
    """By the clock, or for what it says."""
    monkeypatch.setattr(reader, "START", program)
    began = time.monotonic()
    with open(tmp_path / "texts", "w+b") as texts, pytest.raises(ReaderError, match=words):
        ask_reader("pkg", None, texts, str(tmp_path), began + seconds)
    assert time.monotonic() - began < seconds + 5


# -- while it changes ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2(2)")
def test_a_database_that_is_exchanged_again_and_again_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """Two databases change places as fast as the owner can: what is said is one's own, or nothing."""
    directory = tmp_path / "var/db/pkg"
    directory.mkdir(parents=True)
    for name, count in (("local.sqlite", 1), ("other", 2)):
        with contextlib.closing(sqlite3.connect(directory / name, isolation_level=None)) as database:
            database.execute("create table files (path text, package_id)")
            for number in range(count):
                database.execute("insert into files values (?, 1)", (f"/usr/{number}.pyc",))
    with swapping(os.geteuid(), [(directory / "local.sqlite", directory / "other")]):
        answers = set()
        for _ in range(10):
            with contextlib.suppress(ManagerError):
                answers.add(tuple(ask(tmp_path, "pkg")))
    assert answers <= {(b"/usr/0.pyc",), (b"/usr/0.pyc", b"/usr/1.pyc")}


def test_nothing_is_left_behind(root: Root) -> None:
    """No copy of a database: a run takes away its own, and that of one that was killed; not that of one at work."""
    make_database(root.path / PLACES["pkg"])
    where = Path("/var/tmp" if os.geteuid() == 0 else tempfile.gettempdir())
    killed, at_work = (where / f"pyctrigger-databases-{os.getpid()}-{name}" for name in ("killed", "at-work"))
    killed.mkdir()
    at_work.mkdir()
    held = hold_directory(str(at_work))
    assert held is not None
    try:
        root.run()
        assert [at_work] == [path for path in (killed, at_work) if path.exists()]
        mine = f"pyctrigger-databases-{os.getpid()}-*"
        assert [at_work] == list(where.glob(mine))
    finally:
        os.close(held)
        at_work.rmdir()
