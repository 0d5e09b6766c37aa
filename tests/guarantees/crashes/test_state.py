"""Journal, manifest and probed interpreters: what outlives a run, and what happens when it is damaged or denied."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from children import public_directory
from command import HEAVY, leave_little_memory
from confinement import NOBODY, PATIENCE, SLOW, Machine, command_for, wait_for
from conftest import absent
from debian_chroot import OwnState
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from pyctrigger.state.journal import Journal
from pyctrigger.state.locations import make_own
from pyctrigger.state.records.manifest import Manifest, Uncompilable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Argument, Command
    from interpreters import Interpreter as Found


@pytest.fixture
def scope(site: Path, oldest: Found) -> list[Argument]:
    """Two packages to compile."""
    write_tree(site, {"one/__init__.py": "x = 1\n", "two/__init__.py": "x = 2\n"})
    return ["--python", oldest.path, "--site-dir", site]


class State:
    """The state directory of the only installation in it."""

    def __init__(self, base: Path) -> None:
        self._base = base

    @property
    def directory(self) -> Path:
        (directory,) = [path for path in self._base.iterdir() if path.is_dir() and path.name != "interpreters"]
        return directory

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    @property
    def manifest(self) -> Path:
        return self.directory / "manifest.sqlite"

    def entries(self) -> list[Path]:
        """The entries, oldest first."""
        return sorted(self._base.glob("*/journal/*.json"))

    def entry(self) -> dict[str, Any]:
        """What the only entry says."""
        (path,) = self.entries()
        entry = json.loads(path.read_bytes())
        assert isinstance(entry, dict)
        return entry


@pytest.fixture
def state(pyctrigger: Command) -> State:
    """What the command keeps."""
    return State(pyctrigger.state)


def paths_of(entry: dict[str, Any]) -> list[str]:
    """The paths of an entry; they are kept in hexadecimal, since they may hold any byte."""
    return [os.fsdecode(bytes.fromhex(path)) for path in entry["paths"]]


def compiled(site: Path) -> set[str]:
    """The packages that have bytecode."""
    return {os.fsdecode(os.path.relpath(pyc, os.fsencode(site))).partition("/")[0] for pyc in pycs_below(site)}


@pytest.fixture
def held(machine: Machine, scope: list[Argument], site: Path) -> Iterator[Any]:
    """The lock of the scope's flavour, held by this process, as an open file."""
    first = write_tree(site.parent / "first", {"module.py": ""})
    assert machine.command.text("run", *scope[:2], "--site-dir", first, "--stateless").code == 0
    assert machine.files() == []
    assert machine.command.text("run", *scope[:2], "--site-dir", first, "--optimize", "1").code == 0
    (name,) = machine.files()
    with (machine.locks / name).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


# -------------------------------------------------------------------------------------------------------- the journal


def test_entry_is_there_before_the_lock(
    machine: Machine, held: Any, scope: list[Argument], site: Path, state: State
) -> None:
    """A hook that may not wait leaves its work behind; the next run of any kind does it, and removes the entry."""
    hook = machine.command.start(
        "run", "--hook", "--lock-timeout", "3", "--event", "upgrade", *scope, site / "one", stdin=subprocess.DEVNULL
    )
    try:
        assert wait_for(lambda: bool(state.entries()))
        assert hook.poll() is None
        out, err = hook.communicate(timeout=PATIENCE)
    finally:
        hook.kill()
        hook.communicate()

    assert (hook.returncode, out) == (0, b"")
    first, second = err.decode().splitlines()
    assert first == "pyctrigger: waiting for the lock, held by an unknown process"
    assert second == (
        "pyctrigger: the lock was not free within 3 s, held by an unknown process; "
        "the work stays in the journal, and the next run does it"
    )
    entry = state.entry()
    assert (entry["event"], paths_of(entry), entry["attempts"]) == ("upgrade", [f"{site}/one"], 0)
    assert entry["options"]["site_dirs"] == [str(site)]
    assert [path.stat().st_mode & 0o7777 for path in (state.entries()[0], state.journal)] == [0o600, 0o700]
    assert pycs_below(site) == []
    status = machine.command.json("status", *scope).run["status"]
    assert (status["pending"], status["parked"]) == (1, 0)
    assert status["oldest_pending_seconds"] >= 0

    fcntl.flock(held, fcntl.LOCK_UN)
    outcome = machine.command.json("run", *scope, "")
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert (compiled(site), state.entries()) == ({"one"}, [])


@pytest.mark.parametrize(
    "later",
    [
        ["run", ""],
        ["run", "--hook", ""],
        ["run", "{site}/two"],
        ["run", "--hook", "--event", "remove", "{site}/two"],
        ["repair", "{site}/two"],
    ],
    ids=" ".join,
)
def test_killed_hook_loses_nothing(
    machine: Machine, held: Any, scope: list[Argument], site: Path, state: State, later: list[str]
) -> None:
    """With -9 while it waits; the next run does its work, whatever it was called for."""
    hook = machine.command.start("run", "--hook", *scope, site / "one", stdin=subprocess.DEVNULL)
    assert wait_for(lambda: bool(state.entries()))
    hook.kill()
    hook.communicate()
    assert hook.returncode == -signal.SIGKILL
    fcntl.flock(held, fcntl.LOCK_UN)

    verb, *arguments = (each.format(site=site) for each in later)
    outcome = machine.command.text(verb, *scope, *arguments)

    assert outcome.code == 0, outcome.err
    assert "one" in compiled(site)
    assert state.entries() == []
    assert not_fresh_of(scope, site / "one") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [(["one"], ["one", "two"]), (["one", "two"], ["one"]), (["one"], ["two"])],
    ids=["wider", "narrower", "another"],
)
def test_a_killed_hook_beside_pending_work_loses_nothing(
    machine: Machine, held: Any, scope: list[Argument], site: Path, state: State, first: list[str], second: list[str]
) -> None:
    """Both hooks' work is done by the next run, whichever of them names more."""
    for names in (first, second):
        hook = machine.command.start(
            "run", "--hook", *scope, *(site / name for name in names), stdin=subprocess.DEVNULL
        )
        assert hook.stderr
        assert hook.stderr.readline().startswith(b"pyctrigger: waiting for the lock, held by ")
        hook.kill()
        hook.communicate()
    fcntl.flock(held, fcntl.LOCK_UN)

    assert 0 == machine.command.text("run", *scope, "").code
    assert ({"one", "two"}, []) == (compiled(site), state.entries())


def not_fresh_of(scope: list[Argument], top: Path) -> list[tuple[bytes, str]]:
    """What the target itself would compile again."""
    from interpreters import Interpreter

    return not_fresh(Interpreter("cpython", (), False, str(scope[1]), ""), sources_below(top))


def test_run_killed_at_its_work_is_finished_by_the_next(
    machine: Machine, oldest: Found, site: Path, state: State
) -> None:
    """No hook is needed for that; and the options of the first count, not those of the second."""
    write_tree(site, {"package/fast.py": "#" * 2 * len(SLOW), "package/slow.py": SLOW})  # the larger one goes first
    arguments: list[Argument] = ["--python", oldest.path, "--site-dir", site]
    child = machine.command.start("run", *arguments, "--optimize", "1", "--jobs", "1")
    try:
        assert wait_for(lambda: bool(pycs_below(site)))
    finally:
        child.kill()
        child.communicate()
    assert len(state.entries()) == 1
    (site / "package/slow.py").write_text("y = 1\n")

    outcome = machine.command.json("run", *arguments, "")

    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert sorted(path.rpartition(b".opt-")[2] for path in pycs_below(site)) == [b"1.pyc", b"1.pyc"]
    assert state.entries() == []


def test_holder_does_what_came_meanwhile(
    machine: Machine, oldest: Found, scope: list[Argument], site: Path, tmp_path: Path, state: State
) -> None:
    """It looks at the journal again before it releases the lock."""
    slow = write_tree(tmp_path / "slow", {"slow.py": SLOW})
    config = tmp_path / "quick.toml"
    config.write_text("[defaults]\nfile_timeout = 2\n")
    holder = machine.command.start("run", "--json", "--config", config, *scope[:2], "--site-dir", slow)
    try:
        machine.note()
        hook = machine.command.text("run", "--hook", "--lock-timeout", "0", *scope, site / "two")
        assert (hook.code, len(state.entries())) == (0, 2)
        out, _ = holder.communicate(timeout=PATIENCE)
    finally:
        holder.kill()
        holder.communicate()
    (run,) = json.loads(out)["runs"]
    assert run["counts"]["compiled"] == 1
    assert [failure["kind"] for failure in run["failures"]] == ["timeout"]
    assert compiled(site) == {"two"}
    assert state.entries() == []  # the slow source waits for another limit, not for another run


def test_third_failed_attempt_parks_an_entry(machine: Machine, oldest: Found, site: Path, state: State) -> None:
    """It is kept and shown, and not tried again by itself."""
    write_tree(site, {"large.py": HEAVY})
    arguments: list[Argument] = ["--python", oldest.path, "--site-dir", site]

    attempts = []
    for paths in ([], [""], [""]):
        outcome = machine.command.json("run", *arguments, *paths, preexec_fn=leave_little_memory)
        attempts.append((outcome.code, [each["kind"] for each in outcome.failures], state.entry()["attempts"]))
    assert attempts == [(1, ["memory"], 1), (1, ["memory"], 2), (1, ["memory"], 3)]
    parked = "an entry of the journal has failed 3 times and is parked; fix the cause, then: pyctrigger repair"
    assert outcome.err.splitlines() == [parked]

    assert machine.command.json("run", *arguments, "").failures == []
    status = machine.command.json("status", *arguments)
    assert (status.run["status"]["pending"], status.run["status"]["parked"]) == (0, 1)
    assert re.search(r"^pending +0\nparked +1$", machine.command.text("status", *arguments).out, re.MULTILINE)
    assert state.entry()["attempts"] == 3

    (site / "large.py").write_text("x = 1\n")
    assert machine.command.text("repair", *arguments).code == 0
    assert state.entries() == []


def test_source_that_can_not_compile_completes_its_entry(
    machine: Machine, scope: list[Argument], site: Path, state: State
) -> None:
    """That is a fact about the source, and trying again would find the same."""
    (site / "one/__init__.py").write_text("x = (\n")
    assert machine.command.json("run", "--hook", *scope).failures[0]["kind"] == "syntax"
    assert state.entries() == []


DAMAGE: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{}",
    b"\xff\xfe\x00",
    b'{"format": 2}',
    b"[" * 100_000,
    b'{"format": 1, "since": 0, "event": "x", "paths": ["zz"], "options": {}, "attempts": 0}',
    b'{"format": 1, "since": 0, "event": "x", "paths": [1], "options": {}, "attempts": 0}',
    b'{"format": 1, "since": "now", "event": "x", "paths": null, "options": {}, "attempts": 0}',
    b'{"format": 1, "since": 0, "event": "x", "paths": null, "options": 7, "attempts": 0}',
    b'{"format": 1, "since": 0, "event": "x", "paths": null, "options": {}, "attempts": 1e999}',
    b'{"format": 1, "since": 0, "event": "x", "paths": null, "options": {}, "attempts": null}',
]


def test_damaged_entry_is_dropped_with_a_word(
    machine: Machine, scope: list[Argument], site: Path, state: State
) -> None:
    """It stops neither a run, nor status, nor other entries. What is no file, or another release's, stays."""
    machine.command.text("run", *scope, site / "one")
    for number, damage in enumerate(DAMAGE):
        (state.journal / f"{number:020d}-1-00000000.json").write_bytes(damage)
    (state.journal / "99999999999999999999-1-00000000.json").mkdir()
    status = machine.command.json("status", *scope)
    assert (status.code, status.run["status"]["pending"]) == (0, len(DAMAGE) - 1)
    (state.journal / "00000000000000000000-1-00000000.json.17.tmp").write_bytes(b"{")
    Journal(str(state.directory)).write("install", (f"{site}/two",), entry_options(site))  # and sweeps the last one

    outcome = machine.command.json("run", *scope, "")

    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert compiled(site) == {"one", "two"}
    dropped = [line for line in outcome.err.splitlines() if line.startswith("an entry of the journal was dropped")]
    lost = "it can't be read; to find what is missing: pyctrigger repair"
    assert [f"an entry of the journal was dropped, and its work with it: {lost}"] == dropped
    newer = DAMAGE.index(b'{"format": 2}')
    left = [f"{newer:020d}-1-00000000.json", "99999999999999999999-1-00000000.json"]
    assert sorted(os.listdir(state.journal)) == left
    status = machine.command.json("status", *scope)
    assert (status.code, status.run["status"]["pending"]) == (0, 0)


def entry_options(site: Path) -> dict[str, Any]:
    """What a run with the scope of these tests notes."""
    return {
        "manager": None,
        "site_dirs": [str(site)],
        "prefixes": [],
        "stdlib": False,
        "pycache_prefix": None,
        "optimize": None,
        "invalidation_mode": None,
        "source_date_epoch": None,
        "exclude": [],
    }


def test_entry_can_not_lead_out_of_its_scope(
    machine: Machine, scope: list[Argument], site: Path, tmp_path: Path, state: State
) -> None:
    """What is outside is named and left; the rest is done."""
    outside = write_tree(tmp_path / "outside", {"module.py": ""})
    machine.command.text("run", *scope, "")
    paths = (f"{outside}/module.py", f"{site}/../outside", f"{site}/a\0b", f"{site}/one")
    Journal(str(state.directory)).write("install", paths, entry_options(site))

    outcome = machine.command.text("run", *scope, "")

    assert outcome.code == 0
    assert f"an entry of the journal names paths outside the scope: {outside}/module.py, " in outcome.err
    assert (compiled(site), pycs_below(outside), state.entries()) == ({"one"}, [], [])


def test_entry_of_a_directory_that_is_gone_is_dropped(
    machine: Machine, scope: list[Argument], site: Path, state: State
) -> None:
    """With a notice; so is one that lacks what a run needs."""
    machine.command.text("run", *scope, "")
    journal = Journal(str(state.directory))
    journal.write("install", None, {**entry_options(site), "site_dirs": [str(site / "gone")]})
    journal.write("install", None, {})

    outcome = machine.command.text("run", *scope, "")

    assert outcome.code == 0
    assert (
        f"an entry of the journal was dropped, and its work with it: --site-dir {site}/gone: no such directory"
        in outcome.err
    )
    assert "an entry of the journal was dropped, and its work with it: it can't be read" in outcome.err
    assert state.entries() == []


def test_hooks_can_be_switched_off(
    machine: Machine, scope: list[Argument], site: Path, tmp_path: Path, state: State
) -> None:
    """Their paths are kept; a person's run does the work, or the next hook once they are enabled."""
    config = tmp_path / "off.toml"
    config.write_text("[hooks]\nenabled = false\n")
    before = snapshot(site)
    for name in ("one", "two"):
        outcome = machine.command.text("run", "--hook", "--config", config, *scope, site / name)
        assert (outcome.code, outcome.out) == (0, "")
        word = "pyctrigger: hooks are disabled in the configuration ([hooks] enabled); the work stays in the journal"
        assert outcome.err.splitlines()[0] == word
    assert len(state.entries()) == 2
    assert snapshot(site) == before
    assert machine.files() == []

    outcome = machine.command.json("run", "--hook", *scope, "")

    assert (outcome.counts["compiled"], state.entries()) == (2, [])
    assert compiled(site) == {"one", "two"}


def test_nothing_touched_is_not_journalled(
    machine: Machine, scope: list[Argument], tmp_path: Path, state: State
) -> None:
    """Nor what is outside."""
    config = tmp_path / "off.toml"
    config.write_text("[hooks]\nenabled = false\n")
    for paths in ([""], ["/etc/passwd"]):
        assert machine.command.text("run", "--hook", "--config", config, *scope, *paths).code == 0
        assert state.entries() == []


def test_read_only_tree_is_one_line_and_no_entry(
    as_root: None, machine: Machine, scope: list[Argument], state: State, tmp_path: Path
) -> None:
    """Nothing can be done there later either."""
    config = tmp_path / "off.toml"
    config.write_text("[hooks]\nenabled = false\n")
    write_tree(machine.top / "mnt", {f"module{number}.py": "" for number in range(5)})
    before = snapshot(machine.top / "mnt")
    inside = machine.command.program[:3]
    subprocess.run([*inside, "mount", "-o", "remount,ro", "/mnt"], check=True)
    word = "/mnt is on a read-only file system; nothing was changed there"

    hook = machine.command.text("run", "--hook", *scope[:2], "--site-dir", "/mnt")
    assert (hook.code, hook.out, hook.err.splitlines()[:1]) == (0, "", [f"pyctrigger: {word}"])
    assert state.entries() == []
    machine.command.text("run", "--hook", "--config", config, *scope[:2], "--site-dir", "/mnt")
    assert state.entries() == []
    outcome = machine.command.text("run", *scope[:2], "--site-dir", "/mnt")
    assert (outcome.code, outcome.err) == (0, word + "\n")
    assert snapshot(machine.top / "mnt") == before


@pytest.mark.parametrize("paths", [[], ["/mnt/module1.py"], [""]])
@pytest.mark.parametrize("state_is_there", [True, False])
def test_hook_in_a_read_only_system_is_one_line(
    as_root: None, machine: Machine, scope: list[Argument], paths: list[str], state_is_there: bool
) -> None:
    """As inside an ostree-like transaction, with /usr and /var read-only: exit 0, and no word about state."""
    write_tree(machine.top / "mnt", {f"module{number}.py": "" for number in range(5)})
    if state_is_there:
        (machine.top / "var/lib/pyctrigger").mkdir(mode=0o700)
    inside = machine.command.program[:3]
    for mount in ("/mnt", "/var/lib"):
        subprocess.run([*inside, "mount", "-o", "remount,ro", mount], check=True)

    hook = OwnState(*machine.command.program).text("run", "--hook", *scope[:2], "--site-dir", "/mnt", *paths)

    expected = "" if paths == [""] else "pyctrigger: /mnt is on a read-only file system; nothing was changed there\n"
    assert (0, "", expected) == (hook.code, hook.out, hook.err)
    assert pycs_below(machine.top / "mnt") == []


_names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@settings(max_examples=30, deadline=None)  # each one waits for the disk
@given(st.none() | st.lists(_names, max_size=4).map(tuple), st.sampled_from(["install", "unknown"]))
def test_entry_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, paths: tuple[str, ...] | None, event: str
) -> None:
    """Whatever bytes its paths hold; no list is another thing than an empty one."""
    journal = Journal(str(tmp_path_factory.mktemp("journal")))
    written = [journal.write(event, paths, {"exclude": ["*"]}), journal.write(event, (), {})]
    assert list(journal.entries()) == written
    journal.done(written[0])
    failed = journal.failed(written[1])
    assert list(journal.entries()) == [failed]
    assert (failed.attempts, failed.parked, journal.failed(journal.failed(failed)).parked) == (1, False, True)


# ------------------------------------------------------------------------------------------------------- the manifest


@pytest.fixture
def broken(site: Path, oldest: Found) -> list[Argument]:
    """One good source and two that can't be compiled."""
    write_tree(site, {"good.py": "", "bad.py": "x = (\n", os.fsdecode(b"b\xff.py"): "y = )\n"})
    return ["--python", oldest.path, "--site-dir", site]


def test_uncompilable_source_is_told_once(pyctrigger: Command, broken: list[Argument], site: Path) -> None:
    """From then on it is known, counted as skipped, and alone no reason for exit 1; a new text is a new source."""
    first = pyctrigger.json("run", *broken)
    assert (first.code, first.counts["failed"], first.counts["skipped"]) == (1, 2, 0)
    for verb in ("run", "verify", "run"):
        again = pyctrigger.json(verb, *broken)
        assert (again.code, again.failures, again.counts["skipped"]) == (0, [], 2)
        assert sorted(finding["kind"] for finding in again.findings) == ["uncompilable"] * 2
    os.utime(site / "bad.py", (1, 1))
    assert pyctrigger.json("run", *broken).code == 0
    (site / "bad.py").write_text("x = 1\n")
    mended = pyctrigger.json("run", *broken)
    assert (mended.code, mended.counts["compiled"], mended.counts["skipped"]) == (0, 1, 1)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(9000))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def of_another_schema(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("drop table uncompilable")
        database.execute("create table uncompilable (name text)")
        database.execute("pragma user_version = 99")
    database.close()


def of_other_types(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("update uncompilable set identity = x'ff', digest = 5, magic_number = 'x'")
    database.close()


def bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 0x40
    content[4096 + 5] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [garbage, cut_short, emptied, of_another_schema, of_other_types, bit_flipped, Path.unlink]
)
def test_damaged_manifest_is_begun_anew(
    pyctrigger: Command, broken: list[Argument], site: Path, state: State, damage: Any
) -> None:
    """It is a hint: without it everything works, and is learned again."""
    pyctrigger.json("run", *broken)
    damage(state.manifest)
    (site / "good.py").write_text("x = 1\n")

    outcome = pyctrigger.json("run", *broken)

    assert (outcome.counts["compiled"], outcome.document["errors"]) == (1, [])
    assert pyctrigger.json("run", *broken).counts["skipped"] == 2
    assert pyctrigger.json("run", *broken).code == 0


def test_manifest_that_can_not_be_written(
    as_root: None, machine: Machine, broken: list[Argument], site: Path, state: State
) -> None:
    """What it knew is still known; one line says that nothing new is kept."""
    machine.command.json("run", *broken)
    inside = machine.command.program[:3]
    base = str(machine.command.state)
    subprocess.run([*inside, "mount", "--bind", base, base], check=True)
    subprocess.run([*inside, "mount", "-o", "remount,bind,ro", base], check=True)
    (site / "worse.py").write_text("x = (\n")

    outcome = machine.command.json("run", *broken)

    assert (outcome.code, outcome.counts["skipped"]) == (1, 2)
    assert [failure["path"] for failure in outcome.failures] == [f"{site}/worse.py"]
    assert [line for line in outcome.err.splitlines() if "no state is kept" in line] == [
        f"no state is kept: {base}: Read-only file system; --state-dir names another directory"
    ]


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(_names, st.binary(max_size=4), max_size=4), st.data())
def test_manifest_remembers_what_it_learned(
    tmp_path_factory: pytest.TempPathFactory, facts: dict[str, bytes], data: st.DataObject
) -> None:
    """And no more than that."""
    directory = str(tmp_path_factory.mktemp("manifest"))
    learned = {path: Uncompilable(b"1:2:3:4:5", digest, b"abcd", "syntax", "") for path, digest in facts.items()}
    with contextlib.closing(Manifest(directory)) as manifest:
        for path, fact in learned.items():
            manifest.learn(path, fact)
        manifest.save()
        assert remembered_in(directory) == learned
        forgotten = data.draw(st.sets(st.sampled_from(sorted(learned)))) if learned else set()
        for path in forgotten:
            manifest.unlearn(path)
        manifest.save()
    assert remembered_in(directory) == {path: learned[path] for path in learned if path not in forgotten}
    assert remembered_in(None) == {}


def remembered_in(directory: str | None) -> dict[str, Uncompilable]:
    """What a manifest that is opened anew knows."""
    with contextlib.closing(Manifest(directory)) as manifest:
        return dict(manifest.uncompilable)


# ------------------------------------------------------------------------------------------------ state that is denied


@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["run", "hook"])
def test_state_that_can_not_be_made_is_told_once(
    pyctrigger: Command, site: Path, interpreters: list[Found], hook: list[str]
) -> None:
    """For all flavours together; everything works without it."""
    write_tree(site, {"module.py": "", "bad.py": "x = (\n"})
    both = interpreters[:2]
    pythons = [part for each in both for part in ("--python", each.path)]
    outcome = pyctrigger.text("run", *hook, "--state-dir", "/dev/null/state", *pythons, "--site-dir", site)
    assert outcome.code == (0 if hook else 1)
    lines = outcome.err.splitlines()
    begins = f"{'pyctrigger: ' if hook else ''}no state is kept: /dev/null/state: "
    assert sum(line.startswith(begins) for line in lines) == 1
    assert sum("state is" in line for line in lines) == 1
    assert len(pycs_below(site)) == len(both)


def test_full_disk_under_the_state(as_root: None, machine: Machine, scope: list[Argument], site: Path) -> None:
    """The journal can't be written: the work is done all the same, and one line says so."""
    inside = machine.command.program[:3]
    fill = "mount -t tmpfs -o size=64k none /mnt; head -c 1000000 /dev/zero >/mnt/full 2>/dev/null || true"
    subprocess.run([*inside, "sh", "-c", fill], check=True)
    for hook, package in (([], "one"), (["--hook"], "two")):
        outcome = machine.command.text("run", *hook, *scope, "--state-dir", "/mnt/state", site / package)
        assert outcome.code == 0
        line = "no state is kept: /mnt/state: No space left on device; --state-dir names another directory"
        assert outcome.err.splitlines().count(f"pyctrigger: {line}" if hook else line) == 1
        assert package in compiled(site)


def test_state_of_root_is_denied_to_others(as_root: None, oldest: Found) -> None:
    """They work without it, and say so."""
    with public_directory() as public:
        command = command_for(NOBODY, public / "roots")
        if command is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        site = write_tree(public / "site", {"module.py": ""})
        for path in (site, site / "module.py"):
            os.chown(path, NOBODY, NOBODY)
        runtime = public / "run"
        runtime.mkdir(mode=0o700)
        os.chown(runtime, NOBODY, NOBODY)
        outcome = command.text(
            "run", "--python", command.program[0], "--site-dir", site,
            cwd="/", env={"HOME": str(site), "PYTHONPATH": "", "XDG_RUNTIME_DIR": str(runtime)},
            user=NOBODY, group=NOBODY, extra_groups=[],
        )  # fmt: skip
        line = f"no state is kept: {public}/roots: Permission denied; --state-dir names another directory\n"
        assert (outcome.code, outcome.err) == (0, line)
        assert len(pycs_below(site)) == 1


def test_state_of_another_account_is_refused(
    as_root: None, pyctrigger: Command, scope: list[Argument], site: Path
) -> None:
    """Who owns it decides what root believes and does next."""
    pyctrigger.state.mkdir()
    os.chown(pyctrigger.state, NOBODY, NOBODY)
    outcome = pyctrigger.json("run", *scope)
    assert outcome.code == 77
    assert outcome.document["errors"] == [
        {
            "code": 77,
            "message": f"{pyctrigger.state} belongs to account {NOBODY}",
            "hint": "remove it, or run as that account",
            "mend": "remove it, or run as that account",
        }
    ]
    assert pycs_below(site) == []


def test_state_is_closed_to_others(pyctrigger: Command, scope: list[Argument]) -> None:
    """Whatever the umask, and even if its mode was opened since."""
    for arguments in ([], ["--optimize", "1"]):
        assert pyctrigger.text("run", *scope, *arguments, preexec_fn=lambda: os.umask(0)).code == 0
        found = [pyctrigger.state, *pyctrigger.state.rglob("*")]
        assert [path for path in found if path.is_dir() and path.stat().st_mode & 0o077] == []
        pyctrigger.state.chmod(0o777)


@pytest.mark.parametrize(
    "command",
    [
        *(
            ["verify"],
            ["status"],
            ["doctor"],
            ["history"],
            ["explain", "SOURCE"],
            ["which", "SOURCE"],
            ["audit", "SITE"],
        ),
        *([verb, "--dry-run"] for verb in ("run", "repair", "sweep", "purge")),
        ["run", "--stateless"],
    ],
    ids=" ".join,
)
def test_looking_leaves_no_trace(pyctrigger: Command, scope: list[Argument], site: Path, command: list[str]) -> None:
    """No state that wasn't there, and no change in one that was; nor in the tree."""
    verb, *options = command
    stateless = "--stateless" in options
    named = {"SOURCE": next(site.rglob("*.py")), "SITE": site}
    line: list[Argument] = [named.get(option, option) for option in options]
    if verb not in ("doctor", "history", "which", "audit"):
        line += scope
    tree = snapshot(site)
    pyctrigger.text(verb, *line)
    assert not pyctrigger.state.exists()
    if not stateless:
        assert snapshot(site) == tree
    pyctrigger.text("run", *scope, "--optimize", "1")
    before, tree = snapshot(pyctrigger.state), snapshot(site)
    place: list[Argument] = [] if stateless or verb == "audit" else ["--state-dir", pyctrigger.state]
    pyctrigger.text(verb, *line, *place)
    assert (before, tree) == (snapshot(pyctrigger.state), snapshot(site))


def test_stateless_goes_without_what_is_known(pyctrigger: Command, broken: list[Argument]) -> None:
    """Each time is the first."""
    pyctrigger.json("run", *broken)
    assert pyctrigger.json("run", "--stateless", *broken).code == 1
    assert pyctrigger.json("run", "--stateless", *broken).counts["failed"] == 2


# --------------------------------------------------------------------------------------------- probed interpreters


@pytest.fixture
def own_python(tmp_path: Path, oldest: Found) -> Path:
    """An executable of this test's own: a script that starts the real one."""
    path = tmp_path / "bin" / "python3"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {oldest.path} "$@"\n')
    path.chmod(0o755)
    return path


class Probe:
    """The entry of a probed interpreter."""

    def __init__(self, pyctrigger: Command, python: Path, site: Path) -> None:
        self._pyctrigger = pyctrigger
        self._python = python
        self._site = site

    @property
    def path(self) -> Path:
        (path,) = (self._pyctrigger.state / "interpreters").iterdir()
        return path

    def release(self) -> str:
        """What a run takes the interpreter for."""
        outcome = self._pyctrigger.json("run", "--python", self._python, "--site-dir", self._site, "")
        assert outcome.code == 0
        return str(outcome.run["interpreter"]["version"])

    def change(self, **fields: Any) -> None:
        """Have the entry say something else."""
        entry = json.loads(self.path.read_bytes())
        entry["interpreter"].update(fields)
        self.path.write_text(json.dumps(entry))


@pytest.fixture
def probed(pyctrigger: Command, own_python: Path, site: Path) -> Probe:
    """The executable has been asked once."""
    probe = Probe(pyctrigger, own_python, site)
    probe.release()
    return probe


def test_interpreter_is_asked_once(probed: Probe) -> None:
    """A trigger doesn't pay for a start each time: what was noted is believed."""
    probed.change(release="3.98.7")
    assert probed.release() == "3.98.7"
    assert probed.release() == "3.98.7"


def test_changed_executable_is_asked_anew(probed: Probe, own_python: Path, oldest: Found) -> None:
    """Whatever about it changed; what it loads counts as well."""

    def touched() -> None:
        os.utime(own_python, (1, 1))

    def rewritten() -> None:
        own_python.write_text(own_python.read_text() + "\n")

    def replaced() -> None:
        text = own_python.read_text()
        own_python.unlink()
        own_python.write_text(text)
        own_python.chmod(0o755)

    for change in (touched, rewritten, replaced):
        probed.change(release="3.98.7")
        change()
        assert probed.release() == oldest.release
    entry = json.loads(probed.path.read_bytes())
    assert any(path.endswith("/os.py") for path, _ in entry["witnesses"])
    for number in range(len(entry["witnesses"])):
        entry["interpreter"]["release"] = "3.98.7"
        changed = json.loads(json.dumps(entry))
        facts = changed["witnesses"][number][1]  # none, where nothing was in that place
        changed["witnesses"][number][1] = [*facts[:3], facts[3] + 1, *facts[4:]] if facts else [0] * 6
        probed.path.write_text(json.dumps(changed))
        assert probed.release() == oldest.release


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"{}", b'{"format": 99}', b"\xff", b"[" * 100_000])
def test_damaged_probe_is_made_anew(probed: Probe, oldest: Found, damage: bytes) -> None:
    """Asking costs ten milliseconds."""
    probed.path.write_bytes(damage)
    assert probed.release() == oldest.release
    assert json.loads(probed.path.read_bytes())["interpreter"]["release"] == oldest.release


@pytest.mark.parametrize(
    "fields",
    [
        {"magic_number": "zz"},
        {"magic_number": None},
        {"version": "3"},
        {"inside": None},
        {"unknown": 1},
        {"account": 5},
    ],
    ids=str,
)
def test_probe_without_sense_is_made_anew(probed: Probe, oldest: Found, fields: dict[str, Any]) -> None:
    """Nothing of it is believed."""
    probed.change(release="3.98.7", **fields)
    assert probed.release() == oldest.release


def test_worker_has_the_last_word(
    probed: Probe, pyctrigger: Command, own_python: Path, site: Path, oldest: Found
) -> None:
    """A new standard library under the same executable: the probe is dropped, and everything planned again."""
    write_tree(site, {"module.py": "", "package/__init__.py": ""})
    real = json.loads(probed.path.read_bytes())["interpreter"]["magic_number"]
    probed.change(magic_number="01020d0a")

    outcome = pyctrigger.json("run", "--python", own_python, "--site-dir", site)

    assert (outcome.code, outcome.counts["compiled"]) == (0, 2)
    assert outcome.run["interpreter"]["magic_number"] == real
    assert (
        f"{own_python} has changed: magic number {real}, it was 01020d0a; everything is examined again" in outcome.err
    )
    assert not_fresh(oldest, sources_below(site)) == []
    assert pyctrigger.json("verify", "--python", own_python, "--site-dir", site).code == 0


# ------------------------------------------------------------------------------------------------------------ places


def test_own_directory_is_made_or_closed(tmp_path: Path) -> None:
    """Above it as usual, itself for its owner alone."""
    path = tmp_path / "a" / "b"
    assert make_own(str(path)) == str(path)
    assert path.stat().st_mode & 0o7777 == 0o700
    path.chmod(0o755)
    make_own(str(path))
    assert path.stat().st_mode & 0o7777 == 0o700


def test_own_directory_is_no_link_and_no_file(tmp_path: Path) -> None:
    """Somebody else could turn it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
            make_own(str(tmp_path / name))
