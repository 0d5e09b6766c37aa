"""Bytecode that a package owns stays as it is: real dpkg, rpm and pacman put it there."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from other_system import FilesBelow
from owner_packages import MANAGERS, with_apk, with_rpm
from packages import snapshot, write_tree
from pyctrigger.errors import ManagerError
from pyctrigger.packages.ownership import Ownership
from pyctrigger.packages.rpm import Rpm
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.scope.root_files import RootFiles
from pyctrigger.run.trigger import perform

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter
    from owner_packages import Install


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("install", MANAGERS, ids=lambda install: install.__name__[5:])
def test_a_packages_pyc_is_neither_rewritten_nor_removed(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, install: Install
) -> None:
    """Stale or an orphan, it stays; what we wrote next to it is removed with its source, and by a purge."""
    tag = f"cpython-{newest.version[0]}{newest.version[1]}"
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    stale, orphan = (f"{library}/owner/__pycache__/{name}.{tag}.pyc" for name in ("module", "gone"))
    write_tree(payload, {f"{library}/owner/module.py": "x = 1\n", stale: "not fresh at all", orphan: "no source"})
    install(payload, root, scratch)
    write_tree(root, {f"{library}/ours/__init__.py": "", f"{library}/owner/extra.py": ""})
    arguments = ["--python", newest.path, "--root", str(root), "--stateless"]

    run = pyctrigger.json("run", *arguments)

    assert (run.code, run.counts["compiled"], run.counts["removed"], run.counts["skipped"]) == (0, 2, 0, 1)
    assert [finding["pyc"] for finding in run.findings] == [f"/{stale}"]
    assert (root / stale).read_text() == "not fresh at all"
    assert (root / orphan).exists()
    (root / library / "ours/__init__.py").unlink()
    assert pyctrigger.json("run", *arguments).counts["removed"] == 1
    assert pyctrigger.json("purge", "-y", *arguments).counts["removed"] == 1
    assert (root / stale).exists()
    assert (root / orphan).exists()


@pytest.mark.usefixtures("as_root")
def test_an_administrator_may_say_that_stale_ones_are_replaced(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """`owned_stale = "replace"` rewrites what is stale; an orphan of a package's stays all the same."""
    tag = f"cpython-{newest.version[0]}{newest.version[1]}"
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    payload, root = tmp_path / "payload", tmp_path / "root"
    root.mkdir()
    stale, orphan = (f"{library}/owner/__pycache__/{name}.{tag}.pyc" for name in ("module", "gone"))
    write_tree(payload, {f"{library}/owner/module.py": "x = 1\n", stale: "not fresh at all", orphan: "no source"})
    with_apk(payload, root, tmp_path)
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text('[defaults]\nowned_stale = "replace"\n')

    run = pyctrigger.json("run", "--python", newest.path, "--root", root, "--stateless", "--config", configuration)

    assert (run.code, run.counts["compiled"], run.counts["removed"]) == (0, 1, 0)
    assert (root / orphan).exists()


@pytest.mark.usefixtures("as_root")
def test_a_database_that_cant_be_read_keeps_everything(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """A run that can't prove that no package owns a file leaves it, and says why."""
    tag = f"cpython-{newest.version[0]}{newest.version[1]}"
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    root = write_tree(
        tmp_path / "root", {f"{library}/gone/__pycache__/gone.{tag}.pyc": "", "var/db/pkg/local.sqlite": "x"}
    )

    run = pyctrigger.json("run", "--python", newest.path, "--root", root, "--stateless")

    assert run.counts["removed"] == 0
    assert "nothing is removed or replaced, since a package may own it" in run.err


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("install", MANAGERS, ids=lambda install: install.__name__[5:])
def test_packages_are_asked_once_a_run_and_never_without_need(
    interpreters: list[Interpreter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    """For all flavours and site directories of a run together; where nothing may go, no database is opened."""
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    chosen = [each for each in interpreters if each.implementation == "cpython"][-3:]
    library = "usr/lib/python{0[0]}.{0[1]}/site-packages"
    write_tree(payload, {f"{library.format(each.version)}/owner/module.py": "x = 1\n" for each in chosen})
    install(payload, root, scratch)
    asked: list[str] = []
    monkeypatch.setattr(RootFiles, "ask_reader", _counted(RootFiles.ask_reader, asked))
    request = Request(
        Work.RUN,
        Scope(pythons=tuple(each.path for each in chosen), root=str(root)),
        running=Running(stateless=True),
    )

    assert perform(request).exit_code == 0
    assert asked == []

    for each in chosen:
        (root / library.format(each.version) / "owner/module.py").unlink()
    assert [1] * len(chosen) == [run.tally.counts.removed for run in perform(request).runs]
    assert len(asked) == 1


def _counted(
    ask: Callable[..., list[tuple[bytes, bytes]]], asked: list[str]
) -> Callable[..., list[tuple[bytes, bytes]]]:
    """The same question, counted."""

    def counted(files: RootFiles, manager: str, *question: Any) -> list[tuple[bytes, bytes]]:
        asked.append(manager)
        return ask(files, manager, *question)

    return counted


@pytest.fixture
def rpm_root(tmp_path: Path, newest: Interpreter, as_root: None) -> Path:
    """A root with a package that owns a stale pyc, and with a database that isn't in use."""
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    library, tag = _library(newest), f"cpython-{newest.version[0]}{newest.version[1]}"
    write_tree(payload, {f"{library}/module.py": "x = 1\n", f"{library}/__pycache__/module.{tag}.pyc": "stale"})
    with_rpm(payload, root, scratch)
    database = root / "var/lib/rpm/rpmdb.sqlite"
    for path in database.parent.iterdir():
        if path.name.endswith(("-wal", "-shm")):  # what a writer leaves that was the last to close it
            path.unlink()
    return root


def _library(newest: Interpreter) -> str:
    return f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"


@pytest.mark.usefixtures("as_root")
def test_rpms_database_is_only_looked_at(pyctrigger: Command, newest: Interpreter, rpm_root: Path) -> None:
    """Nothing of it is written, and no file appears beside it."""
    before = snapshot(rpm_root / "var/lib/rpm")

    run = pyctrigger.json("run", "--python", newest.path, "--root", rpm_root, "--stateless")

    assert (run.code, run.counts["compiled"], len(run.findings)) == (0, 0, 1)
    assert snapshot(rpm_root / "var/lib/rpm") == before


@pytest.mark.usefixtures("as_root")
def test_rpms_database_is_read_in_the_middle_of_a_transaction(
    pyctrigger: Command, newest: Interpreter, rpm_root: Path
) -> None:
    """What is in the log counts already, and a writer at work is neither waited for nor disturbed."""
    database = sqlite3.connect(rpm_root / "var/lib/rpm/rpmdb.sqlite", isolation_level=None)
    ((header,),) = database.execute("select blob from Packages where instr(blob, x'2e707963')").fetchall()
    database.execute("pragma journal_mode = wal")
    database.execute("pragma wal_checkpoint(truncate)")
    database.execute("delete from Packages")
    database.execute("begin immediate")
    database.execute("insert into Packages (hnum, blob) values (77, ?)", (header,))

    unowned = pyctrigger.json("run", "--python", newest.path, "--root", rpm_root, "--stateless")
    database.execute("commit")
    database.execute("begin immediate")
    pyc = next((rpm_root / _library(newest) / "__pycache__").iterdir())
    pyc.write_text("stale")
    owned = pyctrigger.json("run", "--python", newest.path, "--root", rpm_root, "--stateless")

    database.execute("commit")
    database.close()
    assert (unowned.counts["compiled"], owned.counts["compiled"]) == (1, 0)
    assert pyc.read_text() == "stale"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "damage",
    [
        "substr(blob, 1, length(blob) - 1)",
        "x'ffffffffffffffff' || substr(blob, 9)",
        "substr(blob, 1, 4) || x'00000000' || substr(blob, 9)",
        "x'2e707963'",
        "blob || x'00'",
    ],
)
def test_rpms_damaged_headers_keep_everything(
    pyctrigger: Command, newest: Interpreter, rpm_root: Path, damage: str
) -> None:
    """A header that doesn't hold what it promises might own anything."""
    database = sqlite3.connect(rpm_root / "var/lib/rpm/rpmdb.sqlite")
    database.execute(f"update Packages set blob = {damage}")
    database.commit()
    database.close()

    run = pyctrigger.json("run", "--python", newest.path, "--root", rpm_root, "--stateless")

    assert "nothing is removed or replaced, since a package may own it" in run.err
    assert next((rpm_root / _library(newest) / "__pycache__").iterdir()).read_text() == "stale"


@pytest.mark.usefixtures("as_root")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_header_does_more_than_be_refused(rpm_root: Path, data: st.DataObject) -> None:
    """Whatever four bytes are, the answer is a list of paths, or that the database can't be read."""
    path = rpm_root / "var/lib/rpm/rpmdb.sqlite"
    database = sqlite3.connect(path)
    ((header,),) = database.execute("select blob from Packages where instr(blob, x'2e707963')").fetchall()
    place = data.draw(st.integers(0, len(header) - 4))
    damaged = header[:place] + data.draw(st.binary(min_size=4, max_size=4)) + header[place + 4 :]
    database.execute("update Packages set blob = ?", (damaged,))
    database.commit()
    try:
        found = [path for path, _ in Rpm(FilesBelow(rpm_root)).find_owned(None)]
    except ManagerError:
        found = []
    finally:
        database.execute("update Packages set blob = ?", (header,))
        database.commit()
        database.close()
    assert all(path.endswith(b".pyc") for path in found)


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("var/db/pkg/local.sqlite", "create table files (path text)"),
        ("var/lib/rpm/rpmdb.sqlite", "create table Packages (hnum integer primary key, blob blob)"),
    ],
    ids=["pkg", "rpm"],
)
def test_a_database_that_is_locked_is_not_waited_for(tmp_path: Path, path: str, table: str) -> None:
    """Half a second, then it may own anything, and that is said."""
    (tmp_path / path).parent.mkdir(parents=True)
    notices: list[str] = []
    with contextlib.closing(sqlite3.connect(tmp_path / path, isolation_level=None)) as database:
        database.execute(table)
        database.execute("begin exclusive")
        begun = time.monotonic()
        assert Ownership(FilesBelow(tmp_path), notices.append).owns("/usr/lib", "m.cpython-311.pyc")
        assert time.monotonic() - begun < 3
    (notice,) = notices
    assert f"{tmp_path / path} can't be read: database is locked" in notice


def test_a_database_that_is_no_database_is_closed(tmp_path: Path) -> None:
    """Also as long as somebody holds the error."""
    path = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    write_tree(tmp_path, {"var/lib/rpm/rpmdb.sqlite": "no database\n" * 100})

    with pytest.raises(ManagerError, match="file is not a database"):
        [path for path, _ in Rpm(FilesBelow(tmp_path)).find_owned(None)]

    opened = Path("/proc/self/fd")
    assert str(path) not in {os.readlink(each) for each in opened.iterdir() if each.is_symlink()}
