"""Directories that needed no work are recognised by stat alone next time; any change in one is still noticed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable

import pytest

from interpreters import tag_of
from manifests import record_otherwise
from packages import not_fresh, pycs_below, snapshot, sources_below, wait_for_the_next_tick, write_tree
from pyctrigger.state.records.record import PACKED, digest_of, identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

PACKAGE = {
    "package/__init__.py": "",
    "package/a.py": "VALUE = 1\n",
    "package/b.py": "VALUE = 2\n",
    "package/inner/c.py": "VALUE = 3\n",
    "package/data/deep/text.txt": "no source\n",
}
SOURCES = 4


@pytest.fixture
def settled(pyctrigger: Command, site: Path, scope: list[str]) -> Path:
    """A tree in which the package was looked at once since it was compiled, and what was seen has been saved."""
    write_tree(site, PACKAGE)
    assert pyctrigger.json("run", *scope).counts["compiled"] == SOURCES
    settle(pyctrigger, site, scope)
    return site


def settle(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Look at everything once, in a run that has something else to save: for a few directories none saves."""
    write_tree(site, {"other/m.py": "", "other/n.py": ""})
    os.utime(site / "other/m.py", (1, 1))
    if (site / "other/n.py").exists() and rows(pyctrigger):
        (site / "other/n.py").write_text("CHANGED = 1\n")
    wait_for_the_next_tick(site)
    pyctrigger.json("run", *scope)
    assert {key for key in rows(pyctrigger) if b"package" in key}


def manifest(pyctrigger: Command) -> sqlite3.Connection:
    """The manifest of the only installation."""
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    return sqlite3.connect(path, isolation_level=None)


def rows(pyctrigger: Command) -> dict[bytes, tuple[Any, ...]]:
    """The manifest's records of unchanged directories."""
    database = manifest(pyctrigger)
    try:
        return {row[0]: row[1:] for row in database.execute("select * from settled")}
    finally:
        database.close()


def key(directory: Path) -> bytes:
    """The key of a directory's row."""
    return os.fsencode(directory).replace(b"/", b"\0") + b"\0"


# -- nothing changed -------------------------------------------------------------------------------------------------


def test_what_is_as_it_was_is_not_compared_again(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """Without its records a package would be compared anew, and recorded: it isn't, and all of it counts as fresh."""
    database = manifest(pyctrigger)
    database.execute("delete from blocks where directory like '%package%'")
    before = snapshot(settled)

    for _ in range(2):
        run = pyctrigger.json("run", *scope)
        counts = {name: count for name, count in run.counts.items() if count}
        assert (0, {"fresh": SOURCES + 2}) == (run.code, counts)

    assert [] == database.execute("select names from blocks where directory like '%package%'").fetchall()
    database.close()
    assert before == snapshot(settled)
    assert pyctrigger.json("verify", *scope).code == 0


def test_a_touched_package_counts_the_same(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """A hook that names one package counts that one, whether its directories were recognised or examined."""
    hook = pyctrigger.json("run", *scope, settled / "package")
    looked = pyctrigger.json("run", *scope, "--dry-run", "--stateless", settled / "package")

    assert (SOURCES, SOURCES) == (hook.counts["fresh"], looked.counts["fresh"])


def test_many_directories_are_worth_saving_for_their_own_sake(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """An idle run over a large tree saves what it has seen, though nothing else has changed."""
    write_tree(site, {f"package/part{number}/m.py": "" for number in range(120)})
    pyctrigger.json("run", *scope)
    wait_for_the_next_tick(site)

    assert pyctrigger.json("run", *scope).counts["fresh"] == 120

    parts = {key(site / f"package/part{number}") for number in range(120)}
    assert parts < rows(pyctrigger).keys()


def test_a_look_saves_nothing(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """A dry run and a verification leave no trace of what they saw."""
    write_tree(site, {f"package/part{number}/m.py": "" for number in range(120)})
    pyctrigger.json("run", *scope)
    wait_for_the_next_tick(site)
    before = rows(pyctrigger)

    pyctrigger.json("run", *scope, "--dry-run")
    pyctrigger.json("verify", *scope)

    assert before == rows(pyctrigger)


# -- something changed -----------------------------------------------------------------------------------------------


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes in the same file, of the same length and with the same mtime."""
    status = path.stat()
    assert len(data) == status.st_size
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, data: bytes) -> None:
    """Another file of the same length and mtime under this name."""
    status = path.stat()
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def damage(pyc: Path) -> None:
    """Flip the last bit."""
    data = pyc.read_bytes()
    rewrite(pyc, data[:-1] + bytes([data[-1] ^ 1]))


def move_away(directory: Path) -> None:
    """Another directory, without bytecode, in the place of this one."""
    shutil.copytree(directory, directory.with_name("copy"), ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(directory)
    directory.with_name("copy").rename(directory)


Change = Callable[["Path", str], Any]
CHANGES: dict[str, tuple[Change, dict[str, int]]] = {
    "a source in place": (lambda top, _: rewrite(top / "a.py", b"VALUE = 9\n"), {"compiled": 1}),
    "another file as source": (lambda top, _: replace(top / "a.py", b"VALUE = 9\n"), {"compiled": 1}),
    "a new source": (lambda top, _: (top / "new.py").write_text(""), {"compiled": 1}),
    "a new source below": (lambda top, _: (top / "inner/new.py").write_text(""), {"compiled": 1}),
    "the first source": (lambda top, _: (top / "data/deep/new.py").write_text(""), {"compiled": 1}),
    "a new package": (lambda top, _: write_tree(top, {"data/new/m.py": ""}), {"compiled": 1}),
    "a source gone": (lambda top, _: (top / "a.py").unlink(), {"removed": 1}),
    "all sources gone": (
        lambda top, _: (top / "inner/c.py").unlink(),
        {"removed": 1, "removed_directories": 2},
    ),
    "a damaged pyc": (lambda top, tag: damage(top / f"__pycache__/a.{tag}.pyc"), {"compiled": 1}),
    "a pyc gone": (lambda top, tag: (top / f"__pycache__/a.{tag}.pyc").unlink(), {"compiled": 1}),
    "an orphan": (lambda top, tag: (top / f"__pycache__/x.{tag}.pyc").write_bytes(b"x"), {"removed": 1}),
    "no bytecode": (lambda top, _: shutil.rmtree(top / "inner/__pycache__"), {"compiled": 1}),
    "another directory": (lambda top, _: move_away(top / "inner"), {"compiled": 1}),
    "a first __pycache__": (
        lambda top, tag: write_tree(top, {f"data/deep/__pycache__/x.{tag}.pyc": "x"}),
        {"removed": 1, "removed_directories": 1},
    ),
}


@pytest.mark.parametrize("is_touched", [False, True], ids=["everything", "a hook's paths"])
def test_every_change_is_noticed(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter, is_touched: bool
) -> None:
    """What was added, removed or replaced in known directories is fixed by the next run, and nothing else is done."""
    packages = {name: site / f"package{number}" for number, name in enumerate(CHANGES)}
    for package in packages.values():
        write_tree(package, {name.partition("/")[2]: text for name, text in PACKAGE.items()})
    assert pyctrigger.json("run", *scope).counts["compiled"] == SOURCES * len(packages)
    settle(pyctrigger, site, scope)
    settled = {key(package / name) for package in packages.values() for name in ("", "inner", "data/deep")}
    assert settled < rows(pyctrigger).keys()
    for name, (alter, _) in CHANGES.items():
        alter(packages[name], tag_of(newest))
    paths = [*packages.values()] if is_touched else []
    dry = pyctrigger.json("run", *scope, "--dry-run", *paths)

    run = pyctrigger.json("run", *scope, *paths)

    expected = {name: sum(counts.values()) for name, (_, counts) in CHANGES.items()}
    planned = [action["path"] for action in dry.run["actions"]]
    assert expected == {
        name: sum(path.startswith(f"{package}/") for path in planned) for name, package in packages.items()
    }
    assert sum(expected.values()) == len(planned)
    done = Counter({name: count for name, count in run.counts.items() if name != "fresh"})
    assert (0, sum((Counter(counts) for _, counts in CHANGES.values()), Counter())) == (run.code, +done)
    sources = [path for path in sources_below(site) if b"/other/" not in path]
    assert run.counts["fresh"] + run.counts["compiled"] == len(sources) + (0 if is_touched else 2)
    assert [] == not_fresh(newest, sources)
    for package in packages.values():
        assert len(sources_below(package)) == len(pycs_below(package))
    assert pyctrigger.json("verify", *scope).code == 0


def test_directories_that_were_settled_go_with_what_was_in_them(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """Namespace packages without files were recorded; when all below is orphaned, they are removed as well."""
    write_tree(site, {"top/middle/package/m.py": "", "living/m.py": ""})
    pyctrigger.json("run", *scope)
    settle(pyctrigger, site, scope)
    assert {key(site / "top"), key(site / "top/middle")} < rows(pyctrigger).keys()
    (site / "top/middle/package/m.py").unlink()

    dry = pyctrigger.json("run", *scope, "--dry-run")
    run = pyctrigger.json("run", *scope)

    assert (1, 4) == (run.counts["removed"], run.counts["removed_directories"])
    assert 5 == len(dry.run["actions"])
    assert ["living", "other"] == sorted(os.listdir(site))


def test_a_link_in_the_place_of_a_settled_directory_leads_nowhere(
    pyctrigger: Command, settled: Path, scope: list[str], tmp_path: Path
) -> None:
    """A recorded directory is moved out of the tree and replaced by a link: nothing is written through it."""
    elsewhere = tmp_path / "elsewhere"
    (settled / "package/inner").rename(elsewhere)
    (elsewhere / "new.py").write_text("")
    (settled / "package/inner").symlink_to(elsewhere)
    before = snapshot(elsewhere)

    run = pyctrigger.json("run", *scope)

    assert (0, 0) == (run.counts["compiled"], run.counts["removed"])
    assert before == snapshot(elsewhere)


def test_what_was_settled_for_some_options_is_looked_at_for_others(
    pyctrigger: Command, settled: Path, scope: list[str]
) -> None:
    """Other levels, another mode or an exclusion ask for something else of the same directories."""
    assert pyctrigger.json("run", *scope, "--optimize", "0,1").counts["compiled"] == SOURCES + 2
    assert pyctrigger.json("run", *scope, "--exclude", "*/package/*").counts["skipped"] == SOURCES
    mode = pyctrigger.json("run", *scope, "--invalidation-mode", "checked-hash")
    assert mode.counts["compiled"] == SOURCES + 2
    assert pyctrigger.json("run", *scope).counts["compiled"] == SOURCES + 2


def test_a_nested_site_directory_is_counted_once(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """A directory that was recorded as part of another, and is a site directory itself now."""
    nested = [*scope, "--site-dir", str(settled / "package/inner")]

    assert pyctrigger.json("run", *nested).counts["fresh"] == SOURCES + 2


# -- what is never settled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c.{tag}.pyc.1234", ".pyctrigger-other-0123456789abcdef.tmp"])
def test_young_residue_is_looked_at_again(
    pyctrigger: Command, settled: Path, scope: list[str], newest: Interpreter, name: str
) -> None:
    """It has to go once it is old, though nothing in its directory changes until then."""
    residue = settled / "package/inner/__pycache__" / name.format(tag=tag_of(newest))
    residue.write_bytes(b"")
    wait_for_the_next_tick(settled)
    settle(pyctrigger, settled, scope)

    assert residue.exists()
    assert key(settled / "package") in rows(pyctrigger)
    assert key(settled / "package/inner") not in rows(pyctrigger)


def test_a_directory_with_links_is_looked_at_again(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """What a link leads to changes without a change of the link's directory."""
    (settled / "package/inner/link.py").symlink_to("../a.py")
    wait_for_the_next_tick(settled)
    pyctrigger.json("run", *scope)
    wait_for_the_next_tick(settled)
    settle(pyctrigger, settled, scope)
    assert key(settled / "package/inner") not in rows(pyctrigger)
    (settled / "package/a.py").write_text("VALUE = 123\n")

    assert pyctrigger.json("run", *scope).counts["compiled"] == 2


def test_what_is_gone_is_forgotten(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """The rows of directories that went go as well, with those of all below."""
    assert key(settled / "package/data/deep") in rows(pyctrigger)
    shutil.rmtree(settled / "package/data")
    wait_for_the_next_tick(settled)
    settle(pyctrigger, settled, scope)

    assert [] == [each for each in rows(pyctrigger) if b"\0data\0" in each]
    assert key(settled / "package") in rows(pyctrigger)


# -- a manifest that isn't to be believed ----------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["terms", "below", "sources", "seen"])
def test_a_damaged_row_is_worth_nothing(
    pyctrigger: Command, settled: Path, scope: list[str], tmp_path: Path, column: str
) -> None:
    """Whatever the manifest contains, a run succeeds, leaves the tree as it was, and touches nothing else."""
    outside = write_tree(tmp_path / "outside", {"beside.py": "", "unrelated/m.py": ""})
    undamaged = [(directory, *values) for directory, values in rows(pyctrigger).items()]
    before = snapshot(settled), snapshot(outside)
    for value in (b"", b"\xff" * 40, b"..", b"a\0b", "text", 7):
        database = manifest(pyctrigger)
        database.execute("delete from settled")
        database.executemany(f"insert into settled values ({', '.join('?' * len(undamaged[0]))})", undamaged)
        database.execute(f"update settled set {column} = ?", (value,))
        database.close()

        run = pyctrigger.json("run", *scope)

        assert (0, 0, 0) == (run.code, run.counts["compiled"], run.counts["removed"]), value
        assert before == (snapshot(settled), snapshot(outside)), value


def test_a_purge_takes_what_was_settled(pyctrigger: Command, settled: Path, scope: list[str]) -> None:
    """Unchanged directories are still examined by verbs that remove their bytecode."""
    outcome = pyctrigger.json("purge", "-y", *scope)

    assert (0, SOURCES + 2, []) == (outcome.code, outcome.counts["removed"], pycs_below(settled))


OPTIONS = [["--optimize", "0,1"], ["--invalidation-mode", "checked-hash"], ["--optimize", "2"]]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_each_option_is_looked_at_anew(
    pyctrigger: Command, settled: Path, scope: list[str], options: list[str]
) -> None:
    """In directories that were recorded a moment ago, and only there."""
    assert SOURCES + 2 == pyctrigger.json("run", *scope, *options).counts["compiled"]
    assert pyctrigger.json("verify", *scope, *options).code == 0


def vouch(pyctrigger: Command, before: os.stat_result, after: os.stat_result) -> None:
    """Have the state say of a file as it is now what it said of it as it was."""
    old, new = (
        PACKED.pack(each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
        for each in (before, after)
    )
    database = manifest(pyctrigger)
    for directory, seen in database.execute("select directory, seen from settled").fetchall():
        database.execute("update settled set seen = ? where directory = ?", (seen.replace(old, new), directory))
    database.close()
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    record_otherwise(path, lambda record: record.of_pyc(identity_of(after)) if record.pyc == old else record)
    for parts in pyctrigger.state.glob("*/parts"):
        parts.unlink()


def test_a_repair_trusts_no_state(pyctrigger: Command, settled: Path, scope: list[str], newest: Interpreter) -> None:
    """A damaged pyc that all records vouch for, its directory's too, and a source that they say doesn't compile."""
    pyc = settled / f"package/__pycache__/a.{tag_of(newest)}.pyc"
    whole, before = pyc.read_bytes(), pyc.stat()
    damage(pyc)
    vouch(pyctrigger, before, pyc.stat())
    source = settled / "other/m.py"
    interpreter = pyctrigger.json("status", *scope).run["interpreter"]
    fact = (identity_of(source.stat()), digest_of(source.read_bytes()), bytes.fromhex(interpreter["magic_number"]))
    database = manifest(pyctrigger)
    values = (os.fsencode(source), *fact, "syntax", "line 1, SyntaxError", 0)
    database.execute("insert into uncompilable values (?, ?, ?, ?, ?, ?, ?)", values)
    database.execute("delete from settled where directory like '%other%'")
    database.close()
    (settled / f"other/__pycache__/m.{tag_of(newest)}.pyc").unlink()
    assert {key for key in rows(pyctrigger) if b"package" in key}

    believed = pyctrigger.json("run", *scope)
    repaired = pyctrigger.json("repair", *scope)

    assert (0, 1) == (believed.counts["compiled"], believed.counts["skipped"])
    assert (0, 2, whole) == (repaired.code, repaired.counts["compiled"], pyc.read_bytes())
    assert [] == not_fresh(newest, sources_below(settled))
