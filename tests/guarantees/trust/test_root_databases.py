"""Package databases inside a root: untrusted data, read by a child that can do nothing else."""

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
from test_roots import FILES as STATE_FILES
from test_roots import Root

import pyctrigger
from confinement import private_mounts
from interpreters import tag_of
from packages import write_tree
from pyctrigger.errors import ManagerError
from pyctrigger.interpreter.confinement import confined
from pyctrigger.interpreter.patience import Patience
from pyctrigger.packages.every import MANAGERS
from pyctrigger.packages.ownership import owners_of
from pyctrigger.run.scope import root_files
from pyctrigger.run.scope.root_files import ReaderError, RootFiles, read_copies
from pyctrigger.state.own_files import hold_directory
from strangers import KINDS, MOST_MEMORY, Outside, is_in_time, plant, run_measured, swapping
from watched import OPENED, events_in

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
    "rpm journal": "var/lib/rpm/rpmdb.sqlite-journal",
    "rpm in usr": "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "rpm log in usr": "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "rpm journal in usr": "usr/lib/sysimage/rpm/rpmdb.sqlite-journal",
    "pacman local": "var/lib/pacman/local",
    "pacman files": "var/lib/pacman/local/owner-1-1/files",
    "pkg": "var/db/pkg/local.sqlite",
    "pkg log": "var/db/pkg/local.sqlite-wal",
    "pkg journal": "var/db/pkg/local.sqlite-journal",
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
    """The same object in every place that isn't inside another one."""
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
    assert "nothing is removed or replaced, since a package may own it" in cost.err
    assert "Traceback" not in cost.err


class NotingFiles(RootFiles):
    """Those of a root, and which of them were opened so that they could be read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.noted: set[str] = set()

    def open(self, path: str, flags: int = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) -> int:
        if not flags & getattr(os, "O_PATH", 0):
            self.noted.add(path.lstrip("/"))
        return super().open(path, flags)


def looked_into(root: Path) -> set[str]:
    """All that the managers of a root open, whatever they are asked."""
    files = NotingFiles(str(root))
    for kind in MANAGERS.values():
        manager = kind(files)
        for question in (
            lambda manager=manager: manager.is_present,
            lambda manager=manager: [path for path, _ in manager.find_owned(None)],
            lambda manager=manager: dict(manager.find_owned([b"/usr/a.py"])),
            lambda manager=manager: manager.package_trigger(),
        ):
            with contextlib.suppress(ManagerError, OSError):
                question()
    owners_of(["/usr/a.py"], files, lambda message: None)
    return files.noted


def test_the_table_has_every_place_that_is_looked_into(tmp_path: Path) -> None:
    """In an empty root, and in one where everything is there that a manager could read: a new one belongs into it."""
    for place in PLACES.values():
        if place.endswith(".sqlite"):
            make_database(tmp_path / "full" / place)
        elif "." in place or place.endswith(("files", "installed", "diversions")):
            write_tree(tmp_path / "full", {place: ""})
    write_tree(tmp_path, {"empty/usr/a.py": "", "full/usr/local/sbin/pkg": ""})
    opened = looked_into(tmp_path / "empty") | looked_into(tmp_path / "full")

    assert [] == sorted(opened - set(PLACES.values()) - {""})
    assert len(opened) > 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify(7)")
def test_nothing_else_in_a_root_is_opened(root: Root, newest: Interpreter) -> None:
    """With a file in every place where a system has state, configuration or hooks: they are never read."""
    decoys = [*PLACES.values(), *(os.path.normpath(f"var/lib/pyctrigger/{name}") for name in STATE_FILES)]
    decoys += ["etc/pyctrigger.toml", "usr/local/etc/pyctrigger.toml", "run/pyctrigger/x.lock", "etc/passwd"]
    for place in decoys:
        if not any(each.startswith(f"{place}/") for each in decoys):
            write_tree(root.path, {place: ""})
    above = sorted({(root.path / place).parent for place in decoys})

    with events_in(above, OPENED) as opened:
        for verb in ("run", "status", "verify", "sweep"):
            root.pyctrigger.json(verb, *root.arguments)
        seen = {os.path.relpath(path, root.path) for path in opened()}

    assert [] == sorted(seen - set(PLACES.values()))
    assert "lib/apk/db/installed" in seen


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
        ("pkg journal", "fifo"),
        ("rpm log", "random bytes"),
    ],
)
def test_each_by_itself(root: Root, tmp_path: Path, place: str, kind: str) -> None:
    """One alone ends in time as well, and says which it is."""
    outside = Outside(tmp_path / "outside")
    if place.endswith((" log", " journal")):
        make_database(root.path / PLACES[place.partition(" ")[0]])
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
        assert {b"/usr/b.py": "owner"} == dict(MANAGERS["pkg"](files).find_owned(wanted))
        assert before == sorted(os.listdir(path.parent))


def ask(root: Path, manager: str) -> list[bytes]:
    """What a root's manager owns."""
    files = RootFiles(str(root))
    return [path for path, _ in MANAGERS[manager](files).find_owned(None)]


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
    assert {b"/usr/a.py": "one", b"/usr/d.py.real": "two:amd64"} == dict(MANAGERS["dpkg"](files).find_owned(wanted))
    assert {b"/usr/b.py": "owner"} == dict(MANAGERS["pacman"](files).find_owned(wanted))
    assert {b"/usr/c.py": "owner"} == dict(MANAGERS["apk"](files).find_owned(wanted))


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
    """As root, it would trust its author."""
    write_tree(root.path, {"var/lib/rpm/Packages": "an older format"})
    outcome = root.run()
    assert (0, 3, 0) == (outcome.code, outcome.counts["compiled"], outcome.counts["removed"])
    assert f"{root.path}/var/lib/rpm/Packages: rpm isn't run on the database of a root" in outcome.err


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
        module = "pyctrigger.run.scope.database_reader"
        give_up = f"from {module} import give_up_rights; give_up_rights(65534, {str(place)!r}, 5)"
        assert "failed" == confined(lambda _: attempt(act, give_up, tmp_path)).splitlines()[0]


def attempt(act: str, before: str, cwd: Path) -> str:
    """Whether a process did something, after something else."""
    program = (
        f"import os, socket, encodings.idna\n{before}\ntry:\n    {act}\n"
        "except BaseException as error:\n    os.write(1, b'failed\\n')\nelse:\n    os.write(1, b'did\\n')\nos._exit(0)"
    )
    source = Path(pyctrigger.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(source)}
    child = subprocess.run([sys.executable, "-c", program], env=environment, cwd=cwd, capture_output=True, check=False)
    return child.stdout.decode() or child.stderr.decode()


ANSWERS = {
    "nothing": b"",
    "half a path": b"/x.p",
    "a path that is none": b"x.pyc\0\0done",
    "a path that is no pyc": b"/x\0\0done",
    "a package that wasn't asked for": b"/x.pyc\0owner\0done",
    "a path that is too long": b"/" + b"x" * 5000 + b".pyc\0\0done",
    "half a pair": b"/x.pyc\0done",
    "another end": b"/x.pyc\0\0doner",
    "no end": b"/x.pyc\0\0",
}


def have_a_reader_that(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next child that is to read a database do something else."""
    command = [sys.executable, "-I", "-S", "-c", program]
    monkeypatch.setattr(root_files, "start_own", lambda *_, **streams: subprocess.Popen(command, **streams))


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_no_reader_of_ours_gives_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """What comes from the child may be the root's owner's."""
    have_a_reader_that(f"import os; os.write(1, {ANSWERS[answer]!r})", monkeypatch)
    with pytest.raises(ReaderError, match="its reader"):
        read_copies("pkg", None, str(tmp_path), Patience(5))


@pytest.mark.parametrize(
    ("program", "seconds", "words"),
    [
        ("import time; time.sleep(60)", 1, "takes too long"),
        ("import os\nwhile True: os.write(1, b'f' * 65536)", 30, "too long"),
        ("import os\nos.write(1, bytes(1 << 20) + b'done')", 30, "too long"),
    ],
)
def test_a_reader_that_doesnt_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, seconds: int, words: str
) -> None:
    """By the clock, or for what it says."""
    have_a_reader_that(program, monkeypatch)
    began = time.monotonic()
    with pytest.raises(ReaderError, match=words):
        read_copies("pkg", None, str(tmp_path), Patience(seconds))
    assert time.monotonic() - began < seconds + 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sched_setaffinity(2), and what /proc says")
def test_a_reader_that_isnt_run_isnt_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shares a processor with one that has nearly all of it: what it needs is little, though it takes long."""
    work = "import os, time\nos.sched_setaffinity(0, {PROCESSOR})\nos.nice(10)\n"
    work += "while time.process_time() < 0.12: pass\nos.write(1, b'done')"
    processor = max(os.sched_getaffinity(0))
    have_a_reader_that(work.replace("PROCESSOR", str(processor)), monkeypatch)
    busy = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", busy, str(processor)]) as other:
        began = time.monotonic()
        try:
            assert [] == read_copies("pkg", None, str(tmp_path), Patience(0.6))
        finally:
            other.kill()
    assert time.monotonic() - began > 0.6


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
