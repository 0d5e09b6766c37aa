"""Work that is recorded now and done later, or dropped."""

from __future__ import annotations

import os
import resource
import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

from command import HEAVY, leave_little_memory
from conftest import absent
from packages import not_fresh, pycs_below, sources_below, write_tree
from pyctrigger import run_trigger
from pyctrigger.run.scope.request import Bytecode, Request, Scope, Work
from pyctrigger.state.journal import Journal
from system_tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter
    from pyctrigger.state.journal import Entry


def test_deferred_paths_are_done_by_the_next_run(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """`--defer` writes nothing but the journal; a later run with an empty list does the work."""
    write_tree(site, {"package/__init__.py": ""})
    arguments = ["--python", newest.path, "--site-dir", str(site)]

    deferred = pyctrigger.json("run", "--hook", "--defer", *arguments, site / "package")

    assert (deferred.code, deferred.counts["compiled"], pycs_below(site)) == (0, 0, [])
    assert pyctrigger.json("status", *arguments).run["status"]["pending"] == 1
    done = pyctrigger.json("run", "--hook", *arguments, "--paths-from", os.devnull)
    assert (done.code, done.counts["compiled"]) == (0, 1)
    assert not_fresh(newest, sources_below(site)) == []
    assert pyctrigger.json("status", *arguments).run["status"]["pending"] == 0


def test_a_hook_without_a_readable_configuration_notes_its_work(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """Every fault is reported, the transaction continues, and the next hook that can read it does the work."""
    write_tree(site, {"package/__init__.py": ""})
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text("[defaults]\noptimise = [0]\njobs = -1\n")
    arguments = ["--python", newest.path, "--site-dir", str(site)]

    hook = pyctrigger.text("run", "--hook", "--config", configuration, *arguments, site / "package")

    assert (0, "", 2) == (hook.code, hook.out, hook.err.count(f"pyctrigger: {configuration}: defaults."))
    assert pycs_below(site) == []
    assert pyctrigger.text("run", "--config", configuration, *arguments, site / "package").code == 2
    assert pycs_below(site) == []
    assert pyctrigger.json("run", "--hook", *arguments, "--paths-from", os.devnull).counts["compiled"] == 1


def test_pending_work_of_an_interpreter_that_is_gone_is_dropped_with_a_notice(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """Nothing can do it any more, and nothing would find it."""
    write_tree(site, {"package/__init__.py": ""})
    executable = tmp_path / "bin" / "python-that-goes"
    executable.parent.mkdir()
    executable.symlink_to(newest.path)
    pyctrigger.json("run", "--defer", "--python", executable, "--site-dir", site)
    executable.unlink()

    outcome = pyctrigger.text("run", "--python", newest.path, "--site-dir", site, "--paths-from", os.devnull)

    assert outcome.code == 0
    assert f"its interpreter {executable} is gone" in outcome.err


def test_the_library_takes_bytes_and_says_what_the_command_says(
    newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """`run_trigger` is the command without its printing; a path may hold any byte."""
    write_tree(site, {"package/__init__.py": ""})
    odd = os.path.join(os.fsencode(site), b"caf\xe9.py")
    with open(odd, "wb") as file:
        file.write(b"x = 1\n")

    report = run_trigger(newest.path, [odd, site / "package"], site_dirs=[site], state_dir=tmp_path / "state")

    assert (report.exit_code, report.runs[0].tally.counts.compiled) == (0, 2)
    assert report.as_dict()["runs"][0]["counts"]["compiled"] == 2
    shutil.rmtree(tmp_path / "state")


def test_work_that_fails_again_and_again_stays_one_entry(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Each run reports every file once, and the journal doesn't grow."""
    write_tree(site, {"good.py": "", "package/__init__.py": ""})
    arguments = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"package/heavy.py": HEAVY})
    for paths in (["package"], ["package"], ["package", "good.py"], [], ["package"]):
        touched = [str(site / path) for path in paths]
        outcome = pyctrigger.json("run", *arguments, *touched, preexec_fn=leave_little_memory)
        assert len({failure["path"] for failure in outcome.failures}) == len(outcome.failures)
        assert any(failure["kind"] == "memory" for failure in outcome.failures)
        assert sum(outcome.counts[name] for name in ("compiled", "fresh", "failed")) == 3
        status = pyctrigger.json("status", *arguments).run["status"]
        assert status["pending"] + status["parked"] == 1


def journal_of(pyctrigger: Command) -> Journal:
    """The journal of the only installation."""
    (directory,) = pyctrigger.state.glob("cpython-*")
    return Journal(str(directory))


def test_pending_work_is_joined(pyctrigger: Command, site: Path, oldest: Interpreter, tmp_path: Path) -> None:
    """Two hundred entries of two kinds, as they arrive while a run works: two looks, and one worker for each."""
    strace = find_tool("strace")
    if strace is None:
        absent("no strace on this machine (Debian package strace)")
    write_tree(site, {f"p{number}/m.py": f"x = {number}\n" for number in range(200)})
    arguments = ["--python", oldest.path, "--site-dir", str(site), "--jobs", "1"]
    pyctrigger.text("run", *arguments, "")
    for number in range(200):
        request = Request(Work.RUN, Scope(site_dirs=(str(site),)), Bytecode(optimize=(1 + number % 2,)))
        journal_of(pyctrigger).write("upgrade", (f"{site}/p{number}",), request.replayable())

    trace = tmp_path / "trace"
    pyctrigger.program = [strace, "-f", "-o", str(trace), "-e", "trace=execve", *pyctrigger.program]
    run = pyctrigger.json("run", *arguments, "")

    assert (0, 200) == (run.code, run.counts["compiled"])
    starts = [line for line in trace.read_text().splitlines() if f'execve("{oldest.path}"' in line]
    assert 2 == len(starts)
    assert [] == list(journal_of(pyctrigger).entries())
    assert 200 == len(pycs_below(site))


def test_joined_work_that_fails_is_the_only_one_that_stays(
    pyctrigger: Command, site: Path, oldest: Interpreter
) -> None:
    """One source gets too little memory from our caller: its entry alone fails, and is parked in the end."""
    write_tree(site, {**{f"p{number}/m.py": "" for number in range(6)}, "p3/heavy.py": HEAVY})
    arguments = ["--python", oldest.path, "--site-dir", str(site)]
    pyctrigger.text("run", *arguments, "")
    request = Request(Work.RUN, Scope(site_dirs=(str(site),)), Bytecode(optimize=(1,)))
    for number in range(6):
        journal_of(pyctrigger).write("upgrade", (f"{site}/p{number}/m.py",), request.replayable())

    for attempt in (1, 2, 3):
        pyctrigger.text("run", *arguments, "", preexec_fn=leave_little_memory)
        assert [((f"{site}/p3/m.py",), attempt)] == [
            (entry.paths, entry.attempts) for entry in journal_of(pyctrigger).entries()
        ]
    assert 6 == len(pycs_below(site))


def test_pending_work_whose_interpreter_breaks_is_parked(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """It can be asked, and no worker of it can be started, in three runs: the entry waits for a person."""
    write_tree(site, {"package/__init__.py": ""})
    arguments = ["--python", newest.path, "--site-dir", str(site)]
    pyctrigger.text("run", *arguments, "")
    request = Request(Work.RUN, Scope(site_dirs=(str(site),)), Bytecode(optimize=(1,)))
    journal_of(pyctrigger).write("upgrade", (f"{site}/package",), request.replayable())

    for attempt in (1, 2, 3):
        broken = pyctrigger.text("run", *arguments, "", preexec_fn=partial(leave_few_descriptors, 18))
        assert 69 == broken.code
        assert [(attempt, attempt == 3)] == [(each.attempts, each.parked) for each in journal_of(pyctrigger).entries()]
    assert 0 == pyctrigger.text("run", *arguments, "").code
    assert [] == pycs_below(site)
    assert 0 == pyctrigger.text("repair", *arguments).code
    assert [] == list(journal_of(pyctrigger).entries())


@pytest.mark.parametrize("named", ["version", "path"])
def test_work_for_an_interpreter_that_cant_be_started_is_kept(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, named: str
) -> None:
    """The first hook of all, while no process can be made: the next run of that flavour does what it named."""
    write_tree(site, {"package/__init__.py": "", "other/__init__.py": ""})
    config = tmp_path / "pyctrigger.toml"
    dotted = ".".join(map(str, newest.version[:2]))
    config.write_text(f'[flavours."{dotted}"]\nexecutable = "{newest.path}"\n')
    scope = ["--python", newest.path if named == "path" else dotted, "--site-dir", str(site), "--config", str(config)]

    for _ in range(2):
        hook = pyctrigger.text("run", "--hook", *scope, site / "package", preexec_fn=leave_few_descriptors)
        assert (0, "") == (hook.code, hook.out)
        by = f" with --python {newest.path}" if named == "path" else ""
        assert f"the work stays in the journal, and the next run{by} does it" in hook.err

    assert 1 == pyctrigger.json("status", *scope).run["status"]["pending"]
    assert 1 == pyctrigger.json("run", *scope, "").counts["compiled"]
    assert [f"{site}/package/__init__.py".encode()] == [
        path for path in sources_below(site) if path not in [each for each, _ in not_fresh(newest, sources_below(site))]
    ]
    assert 0 == pyctrigger.json("status", *scope).run["status"]["pending"]


def test_a_monitor_is_told_what_waits_for_interpreters_that_never_started(
    pyctrigger: Command, site: Path, newest: Interpreter, oldest: Interpreter, tmp_path: Path
) -> None:
    """For each of several, all paths are one entry, as old as the first, which is dropped with its interpreter."""
    write_tree(site, {f"p{number}/m.py": "" for number in range(3)})
    leaving = tmp_path / "python-that-goes"
    leaving.symlink_to(oldest.path)
    scope = ["--python", newest.path, "--python", str(leaving), "--site-dir", str(site)]

    for number in range(2):
        hook = pyctrigger.text("run", "--hook", *scope, site / f"p{number}", preexec_fn=leave_few_descriptors)
        kept = "the work stays in the journal, and the next run with --python {} does it"
        assert (0, [1, 1]) == (hook.code, [hook.err.count(kept.format(path)) for path in (newest.path, leaving)])

    def waiting() -> list[tuple[str, int, float | None]]:
        flavours = pyctrigger.json("status", "--check").document["check"]["flavours"]
        return sorted((each["flavour"], each["pending"], each["oldest_pending"]) for each in flavours)

    (first, *_) = (entry.since for entry in kept_for(pyctrigger, newest.path))
    told = waiting()
    assert sorted((path, 1) for path in (newest.path, str(leaving))) == [each[:2] for each in told]
    assert first in [each[2] for each in told]
    check = pyctrigger.text("status", "--check", "--warning", "0")
    assert (1, True, True) == (check.code, "pending=2;" in check.out, "work has been pending" in check.out)
    pyctrigger.text("run", "--hook", *scope, site / "p2", preexec_fn=leave_few_descriptors)
    assert told == waiting()

    leaving.unlink()
    done = pyctrigger.json("run", "--python", newest.path, "--site-dir", site, "")
    assert (0, 3) == (done.code, done.counts["compiled"])
    assert f"pending work for {leaving} was dropped: its interpreter is gone\n" == done.err
    assert [(newest.flavour, 0, None)] == waiting()


def kept_for(pyctrigger: Command, path: str) -> list[Entry]:
    """What waits for an interpreter that was named so."""
    return list(Journal(str(pyctrigger.state / f"unidentified-{path.replace('/', '%2F')}")).entries())


def leave_few_descriptors(most: int = 10) -> None:
    """A `preexec_fn`: too few to start a child. With 18 any path of these tests can be followed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("[defaults]\njobs = -1\nlog = 1\n", 0o644, "; write "),
        ("[hooks\n", 0o644, "not valid TOML"),
        ("", 0o666, "others may write"),
    ],
    ids=["two problems", "no TOML", "not trusted"],
)
def test_a_hook_without_its_configuration_says_where_its_work_is(
    as_root: None,
    pyctrigger: Command,
    scope: list[str],
    site: Path,
    tmp_path: Path,
    text: str,
    mode: int,
    problem: str,
) -> None:
    """In its last line and in JSON; and a run that has it does the work."""
    write_tree(site, {"module.py": ""})
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text(text)
    configuration.chmod(mode)
    hook = pyctrigger.json("run", "--hook", *scope, "--config", configuration)
    kept = "the work stays in the journal, and the next run does it"
    last = hook.err.splitlines()[-1]
    *_, error = hook.document["errors"]  # one for each problem; the last has the hint, as the last line has
    assert (True, kept) == (problem in last, error["hint"].split("; ")[-1])
    assert (1, True) == (hook.err.count(kept), last.endswith(f"; {kept}"))
    assert ("error" if mode == 0o644 else "refused", "deferred") == (hook.document["outcome"], hook.run["outcome"])
    assert 1 == pyctrigger.json("run", *scope, "--paths-from", "/dev/null").counts["compiled"]


@pytest.mark.parametrize(
    ("options", "back"),
    [
        ("--stateless --config {broken} --python {python}", " --python {python} --stateless --config {broken}"),
        ("--root {root} --state-dir {root}/state", " --root {root} --state-dir {root}/state"),
        ("--python {gone} --optimize 0,2 --site-dir {site}", " --python {gone} --site-dir {site} --optimize 0,2"),
        ("--root {gone} --python {python}", " --python {python} --root {gone}"),
        ("--no-such-option", ""),
    ],
)
def test_a_hook_whose_work_is_lost_names_the_way_back(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, options: str, back: str
) -> None:
    """It ends with an error before the journal is written: a repair with the same options is what makes up for it."""
    (broken := tmp_path / "broken.toml").write_text("jobs = 1\n")
    (root := tmp_path / "root").mkdir()
    places = {"broken": broken, "python": newest.path, "gone": tmp_path / "gone", "site": site, "root": root}

    hook = pyctrigger.text("run", "--hook", *options.format(**places).split(), site / "module.py")

    own = "" if "state" in options or not back else f" --state-dir {pyctrigger.state}"
    expected = f"; the work of this transaction was not done; once that is fixed: pyctrigger repair{back}{own}\n"
    assert (0, "") == (hook.code, hook.out)
    assert hook.err.startswith("pyctrigger: ")
    assert hook.err.endswith(expected.format(**places))


def test_a_notice_of_a_hook_says_whose_it_is(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """It is one of many lines of a package manager's; what a person has typed needs no such word."""
    write_tree(site, {"module.py": ""})
    told = f"outside the scope of {newest.flavour}: /nowhere/m.py"

    line = ("--python", newest.path, "--site-dir", site, "/nowhere/m.py")

    assert pyctrigger.text("run", "--hook", *line).err.startswith(f"pyctrigger: {told}")
