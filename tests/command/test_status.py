"""`status`: the table, what a monitor asks, and what another interpreter would need."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent
from interpreters import tag_of
from manifests import all_records, record_otherwise
from packages import pycs_below, snapshot, sources_below, write_tree
from pyctrigger.state.locations import lock_directory, lock_file
from pyctrigger.state.lock import InstallationLock

if TYPE_CHECKING:
    from command import Argument, Command, Outcome
    from interpreters import Interpreter

_CLAMPED = 1_600_000_000


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[Argument]:
    """A package, compiled."""
    write_tree(site, {f"package/module{number}.py": f"x = {number}\n" for number in range(9)})
    return ["--python", newest.path, "--site-dir", site]


def table(out: str) -> dict[str, list[str]]:
    """The rows of the table, by their labels."""
    blocks = out.split("\n\n")
    return {line[:14].strip(): line[14:].split("  ") for block in blocks[1:-1] for line in block.splitlines()[1:]}


# ---------------------------------------------------------------------------------------------------------- the table


def test_every_reason_is_counted_apart(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """One of each state and reason, or two, in numbers and in rows, under the names that `verify` has for them."""
    write_tree(site, {"package/shown.py": "x = 10\n"})
    pyctrigger.json("run", *scope)
    package, pycache = site / "package", site / "package/__pycache__"
    (pycache / f"shown.{tag_of(newest)}.pyc").chmod(0o666)
    pyc = [pycache / f"module{number}.{tag_of(newest)}.pyc" for number in range(9)]
    content = pyc[0].read_bytes()
    pyc[0].write_bytes(b"\x99\x99\r\n" + content[4:])
    os.utime(package / "module1.py", (1, 1))
    before = (package / "module2.py").stat()
    (package / "module2.py").write_text("x = 22\n")
    os.utime(package / "module2.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    before = (package / "module3.py").stat()
    (package / "module3.py").write_text("x = 9\n")
    os.utime(package / "module3.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    content = pyc[4].read_bytes()
    pyc[4].write_bytes(content[:4] + b"\3\0\0\0" + content[8:])
    pyc[5].unlink()
    pyc[6].write_bytes(pyc[6].read_bytes()[:20])
    pyc[7].write_bytes(b"")
    (package / "module8.py").unlink()
    residue = pycache / f"module1.{tag_of(newest)}.pyc.140234"
    residue.touch()
    os.utime(residue, (_CLAMPED, _CLAMPED))
    (package / "bad.py").write_text("x = (\n")

    status = pyctrigger.json("status", *scope, "--exclude", "*/module5.py")

    found = status.run["status"]
    assert (status.code, status.findings, status.failures) == (0, [], [])
    assert found["stale"] == {"magic": 1, "mtime": 1, "size": 1, "digest": 1, "mode": 1, "rights": 1}
    expected = {
        "sources": 10, "fresh": 0, "missing": 1, "corrupt": 2, "mismatched": 0, "obstructed": 0, "damaged": 2,
        "foreign_magic": 1, "orphans": 1, "excluded": 1, "refused": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    rows = table(pyctrigger.text("status", *scope).out)
    shown = {"mtime": 1, "size": 1, "digest": 1, "mode": 1, "rights": 1, "corrupt": 2, "foreign-magic": 1, "orphans": 1}
    assert {name: int(rows[name][-1]) for name in shown} == shown
    assert (rows["stale"][-1].strip(), rows["missing"][-1].strip()) == ("5", "2")


def test_residue_is_counted_once_it_is_old(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """Of CPython's writers after an hour, since importers take no lock; ours at once, but never another flavour's."""
    outcome = pyctrigger.json("run", *scope)
    pycache = site / "package/__pycache__"
    ours = f".pyctrigger-{outcome.run['installation']}-0123456789abcdef.tmp"
    for name in (f"module1.{tag_of(newest)}.pyc.7", ours, ".pyctrigger-cpython-39-00000000-0123456789abcdef.tmp"):
        (pycache / name).touch()

    assert pyctrigger.json("status", *scope).run["status"]["residue"] == 1


def test_bytes_are_those_of_the_disk(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Of three levels with the same code there is one file, which counts once."""
    pyctrigger.json("run", *scope, "--optimize", "0,1,2")
    for pyc in (site / "package/__pycache__").glob("*.opt-1.pyc"):
        pyc.unlink()
        os.link(str(pyc).replace(".opt-1", ""), pyc)
    files = {os.stat(pyc).st_ino: os.stat(pyc).st_size for pyc in pycs_below(site)}
    assert len(files) < len(pycs_below(site)) == 27

    found = pyctrigger.json("status", *scope, "--optimize", "0,1,2").run["status"]

    assert found["pyc_bytes"] == sum(files.values())
    assert found["source_bytes"] == sum(os.stat(source).st_size for source in sources_below(site))


def test_rows_of_zeros_are_left_out(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """All but those that say something with a 0; with -v all are there."""
    write_tree(site, {"module.py": "x = 1\n"})
    labels = ["sources", "fresh", "missing", "source bytes", "bytecode bytes", "together", "pending", "lock"]

    told = table(pyctrigger.text("status", *scope).out)
    whole = table(pyctrigger.text("status", "-v", *scope).out)

    assert labels == list(told)
    assert [told[label][-1] for label in labels] == [whole[label][-1] for label in labels]
    assert {"0"} == {cell.strip() for label in ("orphans", "digest") for cell in whole[label] if cell.strip()}


def test_all_flavours_are_columns_of_one_table(
    pyctrigger: Command, interpreters: list[Interpreter], site: Path
) -> None:
    """No line of it is longer than a terminal's, however many there are."""
    if len(interpreters) < 3:
        absent("needs three flavours")
    write_tree(site, {"module.py": "x = 1\n" * 20000})
    pythons = [argument for each in interpreters for argument in ("--python", each.path)]
    pyctrigger.json("run", "--site-dir", site, *pythons[:2])

    out = pyctrigger.text("status", "--site-dir", site, *pythons).out

    blocks = out.split("\n\n")
    interpreters_block, tables = blocks[0].splitlines(), blocks[1:-1]
    assert [line.split()[0] for line in interpreters_block] == ["flavour", *(each.flavour for each in interpreters)]
    assert [line.split()[-1] for line in interpreters_block[1:]] == [each.path for each in interpreters]
    changed = interpreters_block[0].index("changed")
    assert [line[changed:].split()[0] for line in interpreters_block[1:]] == ["no", *"-" * (len(interpreters) - 1)]
    assert [name for block in tables for name in block.splitlines()[0].split()] == [
        each.flavour for each in interpreters
    ]
    assert max(len(line) for block in tables for line in block.splitlines()) <= 80
    fresh = [
        cell for block in tables for line in block.splitlines() if line[:5] == "fresh" for cell in line.split()[1:]
    ]
    assert fresh == ["1", *"0" * (len(interpreters) - 1)]


def test_one_interpreter_that_is_missing_hides_no_other(
    pyctrigger: Command, scope: list[Argument], newest: Interpreter
) -> None:
    """It is named, and the command says so in its exit code."""
    outcome = pyctrigger.text("status", *scope, "--python", "3.99")

    assert outcome.code == 69
    assert outcome.out.splitlines()[1].split()[0] == newest.flavour
    assert outcome.err.startswith("pyctrigger: no Python 3.99 was found")


def test_changed_magic_number(pyctrigger: Command, scope: list[Argument], newest: Interpreter) -> None:
    """In the list of interpreters, and what follows from it."""
    pyctrigger.json("run", *scope)
    (known,) = pyctrigger.state.glob("*/magic_number")
    known.write_text("27180d0a")

    out = pyctrigger.text("status", *scope).out

    assert re.match(rf"{newest.flavour} +{newest.release}\S* +\d+ \(\w+\) +from 27180d0a +/", out.splitlines()[1])
    assert "the magic number was 27180d0a: the next run compiles everything again" in out


def test_who_holds_the_lock_since_when(pyctrigger: Command, scope: list[Argument]) -> None:
    """The process, its command, and the time of the system's zone."""
    installation = pyctrigger.json("run", *scope).run["installation"]
    lock = InstallationLock(lock_directory() or "", installation)
    last_use = os.stat(lock_file(lock_directory() or "", installation)).st_atime_ns
    assert not lock.acquire(30, lambda _: None, last_use)
    try:
        out = pyctrigger.text("status", *scope).out
        found = pyctrigger.json("status", *scope).run["status"]["lock"]
    finally:
        lock.release()

    assert (found["pid"], abs(found["since"] - time.time()) < 300) == (os.getpid(), True)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
    assert f"the lock is held by process {os.getpid()} ({found['command']}) since {since}" in out
    assert table(out)["lock"][-1].strip() == "held"
    assert pyctrigger.json("status", *scope).run["status"]["lock"] is None


def test_pending_work(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """How much, and how old; for programs entry by entry."""
    pyctrigger.json("run", "--hook", "--defer", *scope, "--event", "install", site / "package", site / "gone")

    found = pyctrigger.json("status", *scope).run["status"]

    assert (found["pending"], found["parked"], found["oldest_pending_seconds"] < 300) == (1, 0, True)
    (entry,) = found["journal"]
    assert (entry["event"], entry["path_count"], entry["attempts"], entry["parked"]) == ("install", 2, 0, False)
    assert re.search(
        r": the oldest work in the journal is \d+ s old$", pyctrigger.text("status", *scope).out, re.MULTILINE
    )


def test_exit_code_is_0_whatever_is_found(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Also a source that must not be read; and quiet is quiet."""
    (site / "link.py").symlink_to("/etc/hostname")

    outcome = pyctrigger.json("status", *scope)

    assert (outcome.code, outcome.run["status"]["refused"], outcome.run["status"]["missing"]) == (0, 1, 9)
    assert pyctrigger.text("status", "-q", *scope).out == ""


# ---------------------------------------------------------------------------------------------------- for a monitor

_LINE = re.compile(
    r"PYCTRIGGER (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+) \| "
    r"pending=(\d+);;;0 pending_age=(\d+)s;3600;86400;0 parked=(\d+);1;;0 failed=(\d+);;;0 magic_changed=(\d+);1;;0\n"
)


def checked(outcome: Outcome) -> tuple[int, str, str]:
    """The exit code, the state and the text of a check."""
    match = _LINE.fullmatch(outcome.out)
    assert match, outcome.out + outcome.err
    return outcome.code, match[1], match[2]


def age_entries(state: Path, seconds: float) -> None:
    """Make all pending work older."""
    for path in state.glob("*/journal/*.json"):
        text = path.read_text()
        path.write_text(re.sub(r'"since": [0-9.]+', f'"since": {time.time() - seconds}', text))


def test_all_is_well(pyctrigger: Command, scope: list[Argument]) -> None:
    """One line, with the numbers that a monitor draws."""
    pyctrigger.json("run", *scope)

    assert checked(pyctrigger.text("status", "--check")) == (0, "OK", "1 flavour, nothing is pending")
    document = pyctrigger.json("status", "--check").document["check"]
    assert (document["state"], document["problems"]) == ("OK", [])


@pytest.mark.parametrize(
    ("age", "options", "expected"),
    [
        (0, [], (0, "OK")),
        (3000, [], (0, "OK")),
        (4000, [], (1, "WARNING")),
        (90_000, [], (2, "CRITICAL")),
        (4000, ["--warning", "2h"], (0, "OK")),
        (4000, ["--warning", "60", "--critical", "1h"], (2, "CRITICAL")),
    ],
)
def test_age_of_pending_work(
    pyctrigger: Command, scope: list[Argument], age: float, options: list[str], expected: tuple[int, str]
) -> None:
    """An hour is a warning, a day is critical, or what the options say."""
    pyctrigger.json("run", "--hook", "--defer", *scope)
    age_entries(pyctrigger.state, age)

    outcome = pyctrigger.text("status", "--check", *options)

    assert (outcome.code, outcome.out.split()[1]) == expected
    assert outcome.out.count("\n") == 1
    assert f"{age // 1000}" in re.findall(r"pending_age=(\d+)\d{3}s", outcome.out) or age == 0


def test_a_clock_that_went_back_makes_nothing_younger_than_new(
    pyctrigger: Command, scope: list[Argument], site: Path
) -> None:
    """Work that was announced, and a run that failed, tomorrow: no answer to anybody has an age below zero."""
    (site / "bad.py").write_text("x = (\n")
    pyctrigger.json("run", *scope)
    tomorrow = time.time() + 86400
    with contextlib.closing(sqlite3.connect(pyctrigger.state / "history.sqlite")) as past, past:
        moments = f"'$.began', {tomorrow + 60}, '$.ended', {tomorrow}"
        past.execute(f"update runs set record = json_set(record, {moments})")
    assert ", 0 s ago;" in pyctrigger.text("status", "--check").out
    pyctrigger.json("run", "--hook", "--defer", *scope)
    age_entries(pyctrigger.state, -86400)

    assert 0 == pyctrigger.json("status", *scope).run["status"]["oldest_pending_seconds"]
    assert "the oldest work in the journal is 0 s old" in pyctrigger.text("status", *scope).out
    assert "pending_age=0s" in pyctrigger.text("status", "--check").out
    assert "took 0.00 s" in pyctrigger.text("history", "1").out


def test_failed_last_run(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Reported until a later one succeeds, or for as long as requested."""
    (site / "bad.py").write_text("x = (\n")
    pyctrigger.json("run", *scope)

    code, state, text = checked(pyctrigger.text("status", "--check"))

    assert (code, state) == (1, "WARNING")
    shown_by = f"pyctrigger history 1 --state-dir {pyctrigger.state}"
    assert re.fullmatch(rf"{newest.flavour}: the last run failed, \d+ s ago; {shown_by} shows it", text)
    assert pyctrigger.text("status", "--check", "--failure-age", "0s").code == 0
    (site / "bad.py").write_text("x = ()\n")
    pyctrigger.json("run", *scope)
    assert checked(pyctrigger.text("status", "--check"))[:2] == (0, "OK")


def test_magic_number_that_changed(pyctrigger: Command, scope: list[Argument], newest: Interpreter) -> None:
    """A warning: what is there is compiled again by the next run only."""
    pyctrigger.json("run", *scope)
    (known,) = pyctrigger.state.glob("*/magic_number")
    known.write_text("27180d0a")

    code, state, text = checked(pyctrigger.text("status", "--check"))

    assert (code, state) == (1, "WARNING")
    assert text == f"{newest.flavour}: its magic number has changed, and not everything was compiled since"


def test_parked_work_and_several_troubles(pyctrigger: Command, scope: list[Argument]) -> None:
    """All on one line, the worst first."""
    pyctrigger.json("run", "--hook", "--defer", *scope)
    (entry,) = pyctrigger.state.glob("*/journal/*.json")
    entry.with_name(f"0{entry.name}").write_text(entry.read_text().replace('"attempts": 0', '"attempts": 3'))
    age_entries(pyctrigger.state, 100_000)

    code, state, text = checked(pyctrigger.text("status", "--check"))

    assert (code, state) == (2, "CRITICAL")
    first, second = text.split("; ")
    assert re.fullmatch(r"py\w+: work has been pending for 1000\d\d s", first)
    assert second.endswith(": an entry of the journal failed three times and is parked")


def test_nothing_is_known(pyctrigger: Command, scope: list[Argument], newest: Interpreter) -> None:
    """Where nothing ever ran, or the state is another account's, it is unknown, and the monitor gets the reason."""
    assert checked(pyctrigger.text("status", "--check"))[:2] == (3, "UNKNOWN")
    assert not pyctrigger.state.exists()
    pyctrigger.json("run", *scope)
    code, _, text = checked(pyctrigger.text("status", "--check", "--python", "3.99"))
    assert (code, text.startswith("no Python 3.99 was found")) == (3, True)
    assert pyctrigger.text("status", "--check", "--format", "prometheus", "--python", "3.99").code == 69


def test_a_question_that_cannot_be_read_is_unknown(pyctrigger: Command) -> None:
    """To a plugin's caller 2 is critical, which a mistyped option isn't; node_exporter reads no exit code."""
    assert 3 == pyctrigger.text("status", "--check", "--no-such").code
    assert 2 == pyctrigger.text("status", "--check", "--format", "prometheus", "--no-such").code


def test_nothing_is_served(pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path) -> None:
    """A state without any run proves nothing: a monitor mustn't report it as OK."""
    hint = "start with pyctrigger run"
    pyctrigger.state.mkdir()
    assert (3, "UNKNOWN", f"no run has been recorded here; {hint}") == checked(pyctrigger.text("status", "--check"))
    document = pyctrigger.json("status", "--check").document
    assert (3, "UNKNOWN") == (document["exit_code"], document["check"]["state"])
    assert 0 == pyctrigger.text("status", "--check", "--format", "prometheus").code
    pyctrigger.json("run", "--hook", "--defer", "--python", "3.99", "--site-dir", site)
    code, state, text = checked(pyctrigger.text("status", "--check"))
    assert (3, "UNKNOWN", True) == (code, state, hint in text)
    pyctrigger.json("run", *scope)
    assert 0 == pyctrigger.text("status", "--check").code


def test_a_slip_of_a_persons_is_no_run_that_failed(pyctrigger: Command, scope: list[Argument]) -> None:
    """Anybody paged for it would find nothing wrong."""
    pyctrigger.json("run", *scope)
    assert 2 == pyctrigger.json("run", *scope, "--prefix-below", pyctrigger.state).code

    assert (0, "OK") == checked(pyctrigger.text("status", "--check"))[:2]
    assert 2 == len(pyctrigger.json("history").document["history"])


def test_hooks_that_find_no_interpreter_are_told(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """They aren't about a flavour, and so aren't any flavour's last run."""
    pyctrigger.json("run", *scope)
    pyctrigger.json("run", "--hook", "--defer", "--python", "3.99", "--site-dir", site)

    code, state, text = checked(pyctrigger.text("status", "--check"))

    assert (code, state) == (1, "WARNING")
    assert text.startswith("the last run failed: no Python 3.99 was found")


#: Ends a command with 99 the moment that it does what a check must not do.
_WATCHED = """
import os, sys
def watch(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.mkdir", "os.rename", "os.remove"):
        os._exit(99)
    if event == "os.scandir" and isinstance(arguments[0], int):
        os._exit(98)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if not str(arguments[0]).endswith(".lock"):
            os._exit(97)
sys.addaudithook(watch)
from pyctrigger.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy's audit events are others")
def test_a_check_scans_nothing_starts_nothing_and_writes_nothing(
    pyctrigger: Command, scope: list[Argument], tmp_path: Path
) -> None:
    """What an interpreter is, it knows from the last run; and the watch itself is seen to work."""
    pyctrigger.json("run", *scope)
    before = snapshot(tmp_path)
    pyctrigger.program = [sys.executable, "-B", "-c", _WATCHED]

    assert checked(pyctrigger.text("status", "--check"))[:2] == (0, "OK")
    assert pyctrigger.text("status", "--check", "--format", "prometheus").code == 0
    assert snapshot(tmp_path) == before
    assert pyctrigger.text("status", *scope).code == 98


def test_interpreter_upgraded_in_place_is_asked_again(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], tmp_path: Path
) -> None:
    """What was known of it holds only while its files look as they did; if it is broken now, that is critical."""
    executable = tmp_path / "bin/python"
    executable.parent.mkdir()
    executable.symlink_to(interpreters[0].path)
    pyctrigger.json("run", "--python", executable, "--site-dir", site)
    executable.unlink()
    executable.write_text("#!/bin/sh\nexit 1\n")
    executable.chmod(0o755)

    code, state, text = checked(pyctrigger.text("status", "--check"))

    assert (code, state) == (2, "CRITICAL")
    assert f"{executable} is not a working Python" in text
    executable.unlink()
    assert checked(pyctrigger.text("status", "--check"))[:2] == (3, "UNKNOWN")


_SAMPLE = re.compile(r'pyctrigger_(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (-?\d+(?:\.\d+)?)')


def metrics(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What a collector reads: every line is one of three kinds, and each metric has its HELP and TYPE before it."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    helped: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.append(line.split()[2])
            continue
        if line.startswith("# TYPE "):
            assert line == f"# TYPE {helped[-1]} gauge"
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        assert helped[-1] == f"pyctrigger_{match[1]}"
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2]))
        found.setdefault(match[1], []).append((labels, float(match[3])))
    assert len(helped) == len(set(helped)) == len(found)
    return found


def test_prometheus(pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path) -> None:
    """Exit 0 also where something is wrong; a quotation mark, a backslash and a newline in a path break no label."""
    write_tree(site, {"bad.py": "x = (\n"})
    executable = tmp_path / 'a"b\\c\nd' / "python"
    executable.parent.mkdir()
    executable.symlink_to(newest.path)
    began = time.time()
    pyctrigger.json("run", "--python", executable, "--site-dir", site)
    run = pyctrigger.json("run", "--hook", "--defer", "--python", executable, "--site-dir", site)

    outcome = pyctrigger.text("status", "--check", "--format", "prometheus")

    assert (outcome.code, outcome.err, outcome.out.endswith("\n")) == (0, "", True)
    found = metrics(outcome.out)
    labels = {"flavour": newest.flavour, "installation": run.run["installation"]}
    expected = {"interpreter_usable": 1, "pending_entries": 1, "parked_entries": 0, "magic_changed": 0}
    assert {name: found[name] for name in expected} == {name: [(labels, value)] for name, value in expected.items()}
    for name in ("oldest_pending_timestamp_seconds", "last_run_timestamp_seconds", "last_failure_timestamp_seconds"):
        ((where, when),) = found[name]
        assert (where, began - 1 < when < time.time() + 1) == (labels, True)
    ((info, one),) = found["interpreter_info"]
    assert (info["executable"], one) == (
        str(executable).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"),
        1,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "prometheus"], "--format needs --check"),
        (["--check", "--format", "prometheus", "--warning", "2 weeks"], "use a time such as 90s, 15m, 2h or 1d"),
        (["--check", "--format", "prometheus", "--json"], "--format prometheus and --json contradict each other"),
        (["--check", "--format", "prometheus", "/usr"], "status --check examines no files"),
        (["--check", "--format", "prometheus", "--warning", "2d"], "--warning is larger than --critical"),
        (["--against", "three"], "--against three: not a version, name or path of a Python"),
    ],
)
def test_questions_that_make_no_sense(pyctrigger: Command, arguments: list[str], said: str) -> None:
    """Exit 2, with what is wrong and a hint."""
    outcome = pyctrigger.text("status", *arguments)

    assert (outcome.code, outcome.out) == (2, outcome.out if "--json" in arguments else "")
    assert said in outcome.err


# ----------------------------------------------------------------------------------------------- another interpreter


def another(interpreters: list[Interpreter], newest: Interpreter) -> Interpreter:
    """An interpreter of another flavour."""
    other = next((each for each in interpreters if tag_of(each) != tag_of(newest)), None)
    if other is None:
        absent("needs two flavours")
    return other


def against(outcome: Outcome) -> dict[str, Any]:
    """The answer for programs."""
    assert outcome.code == 0, outcome.err
    found = outcome.document["against"]
    assert isinstance(found, dict)
    return found


def test_everything_is_missing_for_another_flavour(
    pyctrigger: Command, scope: list[Argument], site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """These sources, that interpreter: and what it has there already counts."""
    other = another(interpreters, newest)
    pyctrigger.json("run", *scope)
    pyctrigger.json("run", "--python", other.path, "--site-dir", site, site / "package/module1.py", "--stateless")
    for pyc in (site / "package/__pycache__").glob(f"module[1-8].{tag_of(other)}.pyc"):
        pyc.unlink()
    before = snapshot(site)

    found = against(pyctrigger.json("status", *scope, "--against", other.path))

    assert (found["flavour"], found["interpreter"]["executable"]) == (other.flavour, other.path)
    assert [each["flavour"] for each in found["from"]] == [newest.flavour]
    (directory,) = found["site_directories"]
    assert (directory["site_directory"], directory["reasons"]) == (str(site), {"missing": 8})
    assert (found["sources"], found["needed"]) == (9, 8)
    assert snapshot(site) == before
    text = pyctrigger.text("status", *scope, "--against", other.path).out
    assert f"against {other.flavour} {other.release}" in text
    assert "\n8 of 9 sources need bytecode" in text


def test_another_magic_number_under_the_same_tag(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """As between a release candidate and the next: all of it is stale, by its magic number."""
    pyctrigger.json("run", *scope)
    for pyc in pycs_below(site):
        path = Path(os.fsdecode(pyc))
        path.write_bytes(b"\x99\x99\r\n" + path.read_bytes()[4:])
    os.utime(site / "package/module1.py", (1, 1))

    found = against(pyctrigger.json("status", *scope, "--against", newest.path))

    assert found["site_directories"][0]["reasons"] == {"magic": 9}


def test_each_site_directory_by_itself(
    pyctrigger: Command, site: Path, tmp_path: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """And a path restricts it, as everywhere."""
    write_tree(site, {"one/a.py": "", "two/b.py": ""})
    second = write_tree(tmp_path / "second", {"c.py": ""})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site, "--site-dir", second]

    whole = against(pyctrigger.json("status", *scope, "--against", interpreters[0].path))
    part = against(pyctrigger.json("status", *scope, "--against", interpreters[0].path, site / "one"))

    assert [(each["site_directory"], each["needed"]) for each in whole["site_directories"]] == [
        (str(site), 2),
        (str(second), 1),
    ]
    assert part["needed"] == 1


def test_time_it_will_take(
    pyctrigger: Command, scope: list[Argument], site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """From the recorded times, at every level that is wanted; what has none is taken to need what its size says."""
    other = another(interpreters, newest)
    pyctrigger.json("run", *scope)
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    taken = [record.microseconds for record in all_records(path)]
    record_otherwise(path, lambda record: record._replace(microseconds=2_000_000))
    assert (len(taken), min(taken) > 0) == (9, True)

    whole = against(pyctrigger.json("status", *scope, "--against", other.path, "--jobs", "2"))
    levels = against(pyctrigger.json("status", *scope, "--against", other.path, "--jobs", "2", "--optimize", "0,1,2"))
    (site / "new.py").write_bytes((site / "package/module1.py").read_bytes() * 9)
    partly = against(pyctrigger.json("status", *scope, "--against", other.path, "--jobs", "2"))

    assert (whole["timed"], whole["workers"]) == (9, 2)
    assert (whole["compile_seconds"], whole["estimated_seconds"]) == (18.0, 9.0)
    assert levels["compile_seconds"] == 54.0
    assert (partly["needed"], partly["timed"], partly["compile_seconds"]) == (10, 9, 36.0)
    text = pyctrigger.text("status", *scope, "--against", other.path, "--jobs", "2").out
    assert text.endswith(
        "10 of 10 sources need bytecode: about 18.00 s with 2 workers"
        " (for 9 of them a time is recorded, the others are estimated by size)\n"
    )


def test_levels_with_equal_code_are_compiled_once(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """And so count once; a docstring makes another code of the third."""
    other = another(interpreters, newest)
    write_tree(site, {"plain.py": "x = 1\n", "documented.py": '"""Text."""\n'})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site, "--optimize", "0,1,2"]
    pyctrigger.json("run", *scope)
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    record_otherwise(path, lambda record: record._replace(microseconds=2_000_000))

    found = against(pyctrigger.json("status", *scope, "--against", other.path))

    assert (found["needed"], found["compile_seconds"]) == (2, 6.0)


def test_no_time_is_known(pyctrigger: Command, scope: list[Argument], interpreters: list[Interpreter]) -> None:
    """Where nothing was compiled yet, none is invented."""
    found = against(pyctrigger.json("status", *scope, "--against", interpreters[0].path))

    assert (found["timed"], found["compile_seconds"], found["estimated_seconds"]) == (0, None, None)
    out = pyctrigger.text("status", *scope, "--against", interpreters[0].path).out
    assert out.endswith("9 of 9 sources need bytecode; no compile times are recorded yet\n")


def test_an_interpreter_that_isnt_there(pyctrigger: Command, scope: list[Argument]) -> None:
    """Exit 69, as for every other command."""
    assert pyctrigger.text("status", *scope, "--against", "3.99").code == 69
