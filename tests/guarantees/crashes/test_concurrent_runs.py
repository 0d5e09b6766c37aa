"""Many runs at once, with importers that take no lock and a package manager that doesn't wait."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from command import Command
from conftest import absent
from packages import not_fresh, pycs_below, sources_below, write_tree
from processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Outcome
    from interpreters import Interpreter

STABLE = [f"stable{number}" for number in range(4)]
MOVING = [f"moving{number}" for number in range(4)]

#: Imports every package over and over, writing bytecode as CPython does, until its standard input ends.
_IMPORTER = """
import importlib, json, os, select, sys
sys.path.insert(0, sys.argv[1])
stable, moving = json.loads(sys.argv[2])
faults, imports = [], 0
while not select.select([0], [], [], 0)[0]:
    for package in stable + moving:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        importlib.invalidate_caches()
        for module in ("", ".a", ".b", ".sub.c"):
            try:
                if importlib.import_module(package + module).NAME != package + module:
                    faults.append(package + module + " is another module")
                imports += 1
            except (ImportError, OSError, AttributeError) as error:  # what a package in pieces may raise
                if package in stable:
                    faults.append(repr(error))
            except Exception as error:  # a torn or mixed-up pyc
                faults.append(package + module + ": " + repr(error))
print(json.dumps([imports, faults]))
"""


#: A host that dawdles before one of its system calls: another process gets the time to come before it.
_DAWDLING = """
import os, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
call = getattr(os, name)
def slow(*arguments, **options):
    time.sleep(seconds)
    return call(*arguments, **options)
setattr(os, name, slow)
del sys.argv[1:3]
from pyctrigger.cli import main
sys.exit(main())
"""


def dawdling(call: str, seconds: float) -> list[str]:
    """The command, on a host that dawdles."""
    return [sys.executable, "-c", _DAWDLING, call, str(seconds)]


def on(interpreter: Interpreter, site: Path) -> list[str]:
    """The options that put this interpreter on this site directory."""
    return ["--python", interpreter.path, "--site-dir", str(site)]


def package_files(name: str) -> dict[str, str]:
    """The sources of one package, each of which knows its name."""
    filler = "".join(f"text_{line} = 'line {line} of {name}'\n" for line in range(60))
    return {
        f"{name}/__init__.py": f"NAME = '{name}'\n",
        f"{name}/a.py": f"NAME = '{name}.a'\n{filler}",
        f"{name}/b.py": f"NAME = '{name}.b'\n{filler}",
        f"{name}/sub/__init__.py": "",
        f"{name}/sub/c.py": f"NAME = '{name}.sub.c'\n{filler}",
    }


def build(site: Path) -> None:
    """Every package."""
    for name in (*STABLE, *MOVING):
        write_tree(site, package_files(name))


@contextlib.contextmanager
def package_manager(site: Path) -> Iterator[None]:
    """Removes and reinstalls the moving packages until the end of the `with`, and leaves all of them installed."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for name in MOVING:
                remove(site / name)
                stop.wait(0.03)
                install(site, name)
                stop.wait(0.03)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def remove(directory: Path) -> None:
    """Remove sources, and then what directories will go, as package managers do: bytecode isn't theirs."""
    for path, _, names in os.walk(directory, topdown=False):
        for name in names:
            if name.endswith(".py"):
                os.unlink(os.path.join(path, name))
        with contextlib.suppress(OSError):  # "directory not empty so not removed"
            os.rmdir(path)


def install(site: Path, name: str) -> None:
    """Install a package's files, whatever a sweep removes at this moment."""
    for path, text in package_files(name).items():
        while True:
            try:
                write_tree(site, {path: text})
                break
            except FileNotFoundError:
                continue


@contextlib.contextmanager
def importers(interpreter: Interpreter, site: Path, count: int) -> Iterator[None]:
    """Processes that import everything until the end of the `with`; a stable package must never fail one of them."""
    names = json.dumps([STABLE, MOVING])
    command = [interpreter.path, "-I", "-S", "-c", _IMPORTER, str(site), names]
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(count)
        ]
        try:
            yield
        finally:
            said = [child.communicate(timeout=60)[0] for child in children]
    for line in said:
        imports, faults = json.loads(line)
        assert [] == faults
        assert imports > 50


def all_at_once(pyctrigger: Command, calls: list[list[str]], times: int) -> list[Outcome]:
    """Every call in its own thread, each several times in a row."""
    with ThreadPoolExecutor(len(calls)) as executor:
        futures = [executor.submit(lambda call=call: [pyctrigger.json(*call) for _ in range(times)]) for call in calls]  # type: ignore[misc]
        return [outcome for future in futures for outcome in future.result()]


def assert_done(outcomes: list[Outcome]) -> None:
    """No run failed, and none had a file that failed."""
    assert [] == [outcome.document["errors"] for outcome in outcomes if outcome.document["errors"]]
    assert [] == [failure for outcome in outcomes for run in outcome.document["runs"] for failure in run["failures"]]
    assert {0} == {outcome.code for outcome in outcomes}


def unfinished(site: Path) -> list[bytes]:
    """Everything in a `__pycache__` that is no pyc."""
    return [path for path in pycs_below(site) if not path.endswith(b".pyc")]


def test_sixteen_runs_importers_and_a_package_manager_get_along(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """No import of an installed package ever fails, no run does, and one more run leaves everything fresh."""
    build(site)
    base = on(newest, site)
    calls = [
        ["run", *base],
        ["run", *base, "--hook", f"{site}/moving0", f"{site}/moving1"],
        ["run", *base, "--manager", "pkg", f"{site}/moving2", f"{site}/moving3/sub"],
        ["repair", *base],
        ["sweep", *base],
        ["run", *base, "--event", "remove", "--jobs", "1", f"{site}/stable0", f"{site}/moving0/gone"],
        ["verify", *base],
        ["status", *base],
    ] * 2

    with importers(newest, site, 2), package_manager(site):
        outcomes = all_at_once(pyctrigger, calls, 2)
    assert len(calls) == 16
    # Who only looks while others write finds what they haven't done yet.
    outcomes = [outcome for outcome in outcomes if outcome.document["command"] not in ("verify", "status")]

    assert_done(outcomes)
    last = pyctrigger.json("run", *base)
    assert 0 == last.code
    assert [] == not_fresh(newest, sources_below(site))
    assert [] == unfinished(site)
    assert len(sources_below(site)) == len(pycs_below(site))
    assert 0 == pyctrigger.json("verify", *base).code


def test_runs_without_state_take_no_lock_and_do_each_other_no_harm(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """Each has its own temporary names, which no other one removes; the last rename wins, and all are right."""
    build(site)
    calls = [["run", *on(newest, site), "--stateless"], ["repair", *on(newest, site), "--stateless"]] * 3

    with importers(newest, site, 1):
        for levels in ("0", "0,1,2"):
            assert_done(all_at_once(pyctrigger, [[*call, "--optimize", levels] for call in calls], 1))

    assert [] == unfinished(site)
    for level in range(3):
        assert [] == not_fresh(newest, sources_below(site), level)


def second_flavour(interpreters: list[Interpreter], newest: Interpreter) -> Interpreter:
    """Another interpreter than the newest CPython."""
    other = next((each for each in interpreters if each != newest), None)
    if other is None:
        absent("a second flavour")
    return other


def test_a_pycache_that_another_flavour_takes_away_is_made_again(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """Two locks, one directory: a purge empties and removes it between the look and the write of the other run."""
    other = second_flavour(interpreters, newest)
    write_tree(site, {f"package{number:03}/m.py": f"x = {number}\n" for number in range(150)})
    sources = sources_below(site)
    slow = Command(pyctrigger.state)
    slow.program = dawdling("rename", 0.004)
    for _ in range(2):
        pyctrigger.json("purge", *on(other, site))
        pyctrigger.json("run", *on(newest, site))
        with slow.start("run", *on(other, site), "--json", "--jobs", "1") as child:
            wait_until(lambda: len(pycs_below(site)) > len(sources))
            child.send_signal(signal.SIGSTOP)
            purged = pyctrigger.json("purge", *on(newest, site))
            child.send_signal(signal.SIGCONT)
            out, err = child.communicate(timeout=120)

        assert (0, b"", 0) == (child.returncode, err, purged.code), out
        assert purged.counts["removed_directories"] > 0
        assert [] == not_fresh(other, sources)
        assert [] == unfinished(site)


def test_two_flavours_make_the_same_pycache_at_the_same_moment(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """Both find it missing, and one of them is faster."""
    pair = (newest, second_flavour(interpreters, newest))
    write_tree(site, {f"package{number:03}/m.py": f"x = {number}\n" for number in range(20)})
    pyctrigger.program = dawdling("mkdir", 0.03)

    assert_done(all_at_once(pyctrigger, [["run", *on(each, site), "--jobs", "1"] for each in pair], 1))

    for each in pair:
        assert [] == not_fresh(each, sources_below(site))


def test_two_flavours_that_sweep_at_the_same_moment_leave_no_directory(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """Both have seen the other's pycs when they planned; the one that removes the last removes the directory."""
    pair = (newest, second_flavour(interpreters, newest))
    write_tree(site, {"m.py": "x = 1\n", "package/m.py": "x = 2\n", "package/inner/m.py": "x = 3\n"})
    for each in pair:
        pyctrigger.json("run", *on(each, site))
    for source in sources_below(site):
        os.unlink(source)
    pyctrigger.program = dawdling("unlink", 1.0)

    assert_done(all_at_once(pyctrigger, [["run", *on(each, site)] for each in pair], 1))

    assert [] == list(site.iterdir())


def test_two_flavours_sweep_and_compile_while_packages_come_and_go(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """Neither takes a pyc of the other's, neither leaves anything, both are fresh in the end."""
    other = second_flavour(interpreters, newest)
    build(site)
    calls = [[verb, *on(each, site)] for each in (newest, other) for verb in ("run", "sweep")]
    for each in (newest, other):
        pyctrigger.json("run", *on(each, site))
    stable = {path for path in pycs_below(site) if b"/stable" in path}

    with package_manager(site):
        for _ in range(3):
            assert_done(all_at_once(pyctrigger, calls, 1))
            assert stable <= set(pycs_below(site))

    shutil.rmtree(site / "moving0")
    for each in (newest, other):
        assert 0 == pyctrigger.json("run", *on(each, site)).code
        assert [] == not_fresh(each, sources_below(site))
    assert [] == unfinished(site)
    assert 2 * len(sources_below(site)) == len(pycs_below(site))
