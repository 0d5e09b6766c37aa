"""Refreshing: what only got other times gets a new header, and no new code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, pycs_below, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

MODULES = {f"package/module{number}.py": f"def value():\n    return {number}\n" for number in range(20)}
LATER = 1_500_000_000
#: Says of each file that it opens in an open directory what it is called.
OPENING = """
import sys
opened = []
sys.addaudithook(lambda event, about: event == "open" and opened.append(str(about[0])))
from pyctrigger.cli import main
code = main()
print(*(name for name in opened if "/" not in name), sep="\\n", file=sys.stderr)
sys.exit(code)
"""


def touch(site: Path, mtime: int = LATER) -> None:
    """Give every source another time."""
    for source in sources_below(site):
        os.utime(source, (mtime, mtime))


def bodies(site: Path, header: int = 16) -> dict[bytes, bytes]:
    """The body of each pyc."""
    return {path: Path(os.fsdecode(path)).read_bytes()[header:] for path in pycs_below(site)}


@pytest.mark.few_targets
@pytest.mark.parametrize("levels", ["0", "0,1,2"])
def test_other_times_and_nothing_else(pyctrigger: Command, site: Path, interpreter: Interpreter, levels: str) -> None:
    """Each source counts as refreshed, the target accepts every pyc, and an open one isn't changed."""
    scope = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", levels]
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    header = 12 if interpreter.version < (3, 7) else 16
    before, held = bodies(site, header), [os.open(path, os.O_RDONLY) for path in pycs_below(site)]
    read = [os.pread(descriptor, 1 << 20, 0) for descriptor in held]
    touch(site)

    run = pyctrigger.json("run", *scope)

    assert (0, 0, len(MODULES), 0) == (
        run.code,
        *(run.counts[name] for name in ("compiled", "refreshed", "fresh")),
    )
    for level in map(int, levels.split(",")):
        assert not_fresh(interpreter, sources_below(site), level) == []
    assert (before, read) == (bodies(site, header), [os.pread(descriptor, 1 << 20, 0) for descriptor in held])
    for descriptor in held:
        os.close(descriptor)
    again = pyctrigger.json("run", *scope)
    assert (0, 0, len(MODULES)) == (again.counts["compiled"], again.counts["refreshed"], again.counts["fresh"])
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []


def test_a_reinstalled_package_is_refreshed(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """New files with the contents of before: new inodes, new times."""
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    for source in map(os.fsdecode, sources_below(site)):
        content = Path(source).read_bytes()
        os.unlink(source)
        Path(source).write_bytes(content)
    touch(site)

    assert pyctrigger.json("run", *scope, site / "package").counts["refreshed"] == len(MODULES)
    assert not_fresh(newest, sources_below(site)) == []


def test_bytecode_that_another_compiler_wrote_is_refreshed_if_it_is_the_same(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """compileall has been there in between, and a package manager sets the times back."""
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    touch(site, LATER - 1)
    subprocess.run([newest.path, "-m", "compileall", "-q", str(site)], check=True)
    damaged = pycs_below(site)[0]
    Path(os.fsdecode(damaged)).write_bytes(Path(os.fsdecode(damaged)).read_bytes()[:-1] + b"?")
    for path in pycs_below(site):
        # As if all that had happened long ago: what is younger than a tick of the clock proves nothing.
        os.utime(path, (LATER, LATER))
    time.sleep(0.1)
    touch(site)

    run = pyctrigger.json("run", *scope)

    assert (1, len(MODULES) - 1) == (run.counts["compiled"], run.counts["refreshed"])
    assert not_fresh(newest, sources_below(site)) == []
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []


def test_what_has_another_content_is_compiled(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """Among others of which only the time has changed."""
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    (site / "package/module0.py").write_text("def value():\n    return 7\n")
    touch(site)

    run = pyctrigger.json("run", *scope)

    assert (1, len(MODULES) - 1) == (run.counts["compiled"], run.counts["refreshed"])
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []


@pytest.mark.parametrize("change", ["damaged", "hard link", "other file", "link", "gone"])
def test_a_pyc_that_is_not_the_recorded_one(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter, tmp_path: Path, change: str
) -> None:
    """A header is only written before a known body, into a new file; a second name of the old one keeps its bytes."""
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    pyc = next(Path(os.fsdecode(path)) for path in pycs_below(site) if b"module0" in path)
    whole = pyc.read_bytes()
    other = tmp_path / "other"
    if change == "damaged":
        with open(pyc, "r+b") as file:
            file.seek(30)
            file.write(b"\xff\xff")
    elif change == "hard link":
        os.link(pyc, other)
    elif change == "other file":
        shutil.copy2(pyc, other)
        os.replace(other, pyc)
    elif change == "link":
        shutil.copy2(pyc, other)
        pyc.unlink()
        pyc.symlink_to(other)
    else:
        pyc.unlink()
    touch(site)

    run = pyctrigger.json("run", *scope)

    compiled = int(change not in ("hard link", "other file"))
    assert (compiled, len(MODULES) - compiled) == (run.counts["compiled"], run.counts["refreshed"])
    assert not_fresh(newest, sources_below(site)) == []
    if other.exists():
        assert whole == other.read_bytes()


def test_without_state_there_is_nothing_to_refresh_by(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Compiled, as before."""
    write_tree(site, MODULES)
    pyctrigger.json("run", "--stateless", *scope)
    touch(site)

    run = pyctrigger.json("run", "--stateless", *scope)

    assert (len(MODULES), 0) == (run.counts["compiled"], run.counts["refreshed"])


def test_dry_run_and_verify_tell_it(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """To an importer the pyc is stale; what would be done has its reason."""
    write_tree(site, {"m.py": "x = 1\n"})
    pyctrigger.json("run", *scope)
    touch(site)

    assert ["stale"] == [finding["kind"] for finding in pyctrigger.json("verify", *scope).findings]
    (action,) = pyctrigger.json("run", "--dry-run", *scope).run["actions"]
    assert ("compile", "mtime") == (action["action"], action["reason"])


def test_the_summary_counts_it(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """One more number in the line, where there is something to count."""
    write_tree(site, {"m.py": "x = 1\n"})
    pyctrigger.json("run", *scope)
    touch(site)

    assert " 0 compiled, 1 refreshed, 0 removed, 0 failed in " in pyctrigger.text("run", *scope).out


@pytest.mark.parametrize("content", [b"", b"# edited\n"], ids=["other times", "other content"])
def test_headers_that_are_as_they_were_recorded_are_not_read(
    pyctrigger: Command, site: Path, newest: Interpreter, content: bytes
) -> None:
    """They are known: what is opened to decide is the source."""
    scope = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, MODULES)
    pyctrigger.json("run", *scope)
    for source in site.rglob("*.py"):
        with source.open("ab") as file:
            file.write(content)
    touch(site)

    pyctrigger.program = [sys.executable, "-c", OPENING]
    looked = pyctrigger.text("run", "--dry-run", *scope)

    opened = set(looked.err.split())
    assert ({"package", "__pycache__"} <= opened, []) == (True, [name for name in opened if name.endswith(".pyc")])


#: Somebody changes a file at the moment when the run opens it once more, to refresh: it was looked at before that.
_MEANWHILE = """
import os, sys
name, times, site = sys.argv[1], int(sys.argv[2]), sys.argv[3]
del sys.argv[1:4]
def meanwhile(event, about):
    global times
    if event != "open" or not str(about[0]).startswith(name) or not str(about[0]).endswith(("m.py", ".pyc")):
        return
    times -= 1
    if times == 0:
        if name == "m.py":
            with open(f"{site}/new", "w") as new:
                new.write("x = 2\\n")
            os.utime(f"{site}/new", (1_600_000_000, 1_600_000_000))
            os.rename(f"{site}/new", f"{site}/m.py")
        else:
            with open(f"{site}/__pycache__/{about[0]}", "r+b") as pyc:
                pyc.seek(-1, 2)
                last = pyc.read(1)
                pyc.seek(-1, 2)
                pyc.write(bytes([last[0] ^ 1]))
sys.addaudithook(meanwhile)
from pyctrigger.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(("name", "times"), [("m.py", 2), ("m.cpython", 1)], ids=["the source", "the pyc"])
def test_what_changes_before_it_is_refreshed_is_compiled(
    pyctrigger: Command, site: Path, newest: Interpreter, name: str, times: int
) -> None:
    """The code that was recorded gets no header of another source, and another code no header at all."""
    scope = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"m.py": "x = 1\n"})
    pyctrigger.json("run", *scope)
    touch(site)
    program = pyctrigger.program
    pyctrigger.program = [sys.executable, "-c", _MEANWHILE, name, str(times), str(site)]

    run = pyctrigger.json("run", *scope)

    assert (0, 1, 0) == (run.code, run.counts["compiled"], run.counts["refreshed"])
    pyctrigger.program = program
    assert [] == pyctrigger.json("verify", "--compare-code", "--stateless", *scope).findings
