"""The manifest: what it makes a run and a verification notice, and that nothing depends on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest

from manifests import all_records, recorded
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

MODULES = {f"package/module{number}.py": f"def value():\n    return {number}\n" for number in range(10)}
#: Ten years ago: clamped times, as package archives have them.
LONG_AGO = time.time_ns() // 10**9 - 10 * 365 * 86400


def header_size(interpreter: Interpreter) -> int:
    """12 bytes on 3.6, 16 on all others (PEP 552)."""
    return 12 if interpreter.version < (3, 7) else 16


def clamp(site: Path) -> None:
    """Give every source the same old time, as a build with SOURCE_DATE_EPOCH does."""
    for source in sources_below(site):
        os.utime(source, (LONG_AGO, LONG_AGO))


@pytest.fixture
def compiled(pyctrigger: Command, site: Path, scope: list[str]) -> Path:
    """A tree with clamped times, compiled."""
    write_tree(site, MODULES)
    clamp(site)
    assert pyctrigger.json("run", *scope).counts["compiled"] == len(MODULES)
    return site


def pyc_of(site: Path, interpreter: Interpreter, number: int) -> Path:
    """The pyc of one module."""
    tag = f"cpython-{interpreter.version[0]}{interpreter.version[1]}"
    return site / f"package/__pycache__/module{number}.{tag}.pyc"


# -- same times, other content ---------------------------------------------------------------------------------------


@pytest.mark.few_targets
@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "a new file"])
def test_same_mtime_and_size_with_other_content(
    pyctrigger: Command, site: Path, interpreter: Interpreter, in_place: bool
) -> None:
    """Two versions whose archives clamp their times: every header fits, and the next run over the directory notices."""
    scope = ["--python", interpreter.path, "--site-dir", str(site)]
    write_tree(site, {"package/m.py": "VALUE = 1\n", "package/n.py": "VALUE = 1\n"})
    clamp(site)
    pyctrigger.json("run", *scope)
    source = site / "package/m.py"
    if not in_place:
        source.unlink()
    source.write_text("VALUE = 2\n")
    clamp(site)
    assert not_fresh(interpreter, sources_below(site)) == [], "the target itself can't tell"

    found = pyctrigger.json("verify", *scope)
    run = pyctrigger.json("run", *scope, site / "package")

    assert [("stale", str(source))] == [(each["kind"], each["source"]) for each in found.findings]
    assert (0, 1, 1) == (run.code, run.counts["compiled"], run.counts["fresh"])
    program = "import sys; sys.path.insert(0, sys.argv[1]); import package.m; print(package.m.VALUE)"
    said = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-c", program, str(site)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert "2\n" == said.stdout
    assert pyctrigger.json("verify", *scope).code == 0


def test_other_times_with_the_same_content_are_not_compiled_twice(
    pyctrigger: Command, compiled: Path, scope: list[str]
) -> None:
    """Every file of the package is rewritten unchanged: nothing is compiled, nor examined by the next run."""
    for source in sources_below(compiled):
        path = Path(os.fsdecode(source))
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    clamp(compiled)
    before = {path: os.lstat(path).st_ino for path in pycs_below(compiled)}

    for _ in range(2):
        run = pyctrigger.json("run", *scope)
        assert (0, 0, len(MODULES)) == (run.code, run.counts["compiled"], run.counts["fresh"])

    assert before == {path: os.lstat(path).st_ino for path in pycs_below(compiled)}


# -- damaged bodies --------------------------------------------------------------------------------------------------


def truncate(keep: Callable[[int], int]) -> Callable[[Path, int], None]:
    """Cut a pyc off."""

    def damage(pyc: Path, header: int) -> None:
        size = pyc.stat().st_size
        os.truncate(pyc, header + keep(size - header))

    return damage


def flip(place: Callable[[int], int]) -> Callable[[Path, int], None]:
    """Change one bit of the body."""

    def damage(pyc: Path, header: int) -> None:
        content = bytearray(pyc.read_bytes())
        content[header + place(len(content) - header)] ^= 4
        pyc.write_bytes(content)

    return damage


def fill(byte: bytes) -> Callable[[Path, int], None]:
    """Put something else in the place of the body."""

    def damage(pyc: Path, header: int) -> None:
        content = pyc.read_bytes()
        pyc.write_bytes(content[:header] + byte * (len(content) - header))

    return damage


def rewrite(change: Callable[[bytes, int], bytes]) -> Callable[[Path, int], None]:
    """Write other bytes in the place of all."""

    def damage(pyc: Path, header: int) -> None:
        pyc.write_bytes(change(pyc.read_bytes(), header))

    return damage


def take_from(module: str) -> Callable[[Path, int], None]:
    """Put another module's body behind the header."""

    def damage(pyc: Path, header: int) -> None:
        other = pyc.with_name(pyc.name.replace("module0", module)).read_bytes()
        pyc.write_bytes(pyc.read_bytes()[:header] + other[header:])

    return damage


DAMAGES: dict[str, Callable[[Path, int], None]] = {
    "no body": truncate(lambda size: 0),
    "one byte": truncate(lambda size: 1),
    "half": truncate(lambda size: size // 2),
    "all but the last byte": truncate(lambda size: size - 1),
    "zeroed": fill(b"\0"),
    "garbage": fill(b"\xa5"),
    "first bit": flip(lambda size: 0),
    "a bit in the middle": flip(lambda size: size // 2),
    "a bit near the end": flip(lambda size: size - 2),
    "a marshalled number": rewrite(lambda content, header: content[:header] + b"i\x07\0\0\0"),
    "trailing bytes": rewrite(lambda content, header: content + b"more"),
    "another module's code": take_from("module1"),
}


@pytest.mark.parametrize("times", ["new times", "same times"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_body_is_found_without_force_and_mended_by_a_run(
    pyctrigger: Command, compiled: Path, newest: Interpreter, scope: list[str], damage: str, times: str
) -> None:
    """Whatever follows a good header; also if its times were reset."""
    pyc = pyc_of(compiled, newest, 0)
    whole, status = pyc.read_bytes(), pyc.stat()
    DAMAGES[damage](pyc, header_size(newest))
    if times == "same times":
        os.utime(pyc, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert whole != pyc.read_bytes()

    found = pyctrigger.json("verify", *scope)
    run = pyctrigger.json("run", *scope, compiled / "package")

    assert (1, [str(pyc)]) == (found.code, [each["pyc"] for each in found.findings])
    assert found.findings[0]["kind"] in ("corrupt", "mismatched")
    assert (0, 1) == (run.code, run.counts["compiled"])
    assert whole == pyc.read_bytes()
    assert pyctrigger.json("verify", *scope).findings == []


@pytest.mark.parametrize("damage", ["no body", "half", "zeroed", "another module's code", "a marshalled number"])
def test_without_any_record_a_body_that_cannot_be_the_modules_is_found(
    pyctrigger: Command, compiled: Path, newest: Interpreter, scope: list[str], damage: str
) -> None:
    """Another tool wrote it, and torn pycs break `import`: it is loaded, in a child, and fixed."""
    shutil.rmtree(pyctrigger.state)
    pyc = pyc_of(compiled, newest, 0)
    DAMAGES[damage](pyc, header_size(newest))

    found = pyctrigger.json("verify", *scope)
    run = pyctrigger.json("run", *scope)

    assert [str(pyc)] == [each["pyc"] for each in found.findings]
    assert (0, 1, len(MODULES) - 1) == (run.code, run.counts["compiled"], run.counts["fresh"])
    assert pyctrigger.json("verify", *scope).findings == []
    assert not_fresh(newest, sources_below(compiled)) == []


@pytest.mark.few_targets
def test_compare_code_needs_no_manifest(
    pyctrigger: Command, site: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    """Code of another source, compiled to fit: only who compiles again finds it; line numbers count, too."""
    scope = ["--python", interpreter.path, "--site-dir", str(site)]
    good = {"package/m.py": "VALUE = 1\nX = 0.0\n", "package/n.py": "VALUE = 1\n\n", "package/o.py": "O = 1\n"}
    other = {"package/m.py": "VALUE = 1\nX = -.0\n", "package/n.py": "\nVALUE = 1\n", "package/o.py": "O = 1\n"}
    for files in (other, good):
        write_tree(site, files)
        clamp(site)
        pyctrigger.json("run", "--stateless", *scope)
    before = snapshot(site)

    plain = pyctrigger.json("verify", "--stateless", *scope)
    thorough = pyctrigger.json("verify", "--compare-code", "--stateless", *scope)

    assert plain.findings == []
    assert [("mismatched", f"{site}/package/{name}.py") for name in "mn"] == [
        (each["kind"], each["source"]) for each in thorough.findings
    ]
    assert snapshot(site) == before
    assert pyctrigger.json("repair", "--stateless", *scope).counts["compiled"] == 2
    assert pyctrigger.json("verify", "--compare-code", "--stateless", *scope).findings == []


# -- a hint, never an authority --------------------------------------------------------------------------------------


def test_a_tree_rolled_back_without_its_state(
    pyctrigger: Command, compiled: Path, scope: list[str], tmp_path: Path
) -> None:
    """A snapshot brings back the files of before, while the manifest knows those of after."""
    before = tmp_path / "before"
    shutil.copytree(compiled, before, symlinks=True)
    (compiled / "package/module0.py").write_text("def value():\n    return 'later'\n")
    pyctrigger.json("run", *scope)
    shutil.rmtree(compiled / "package")
    shutil.copytree(before / "package", compiled / "package", symlinks=True)

    run = pyctrigger.json("run", *scope)

    assert (0, []) == (run.code, run.failures)
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []
    assert pyctrigger.json("verify", *scope).findings == []


def test_a_state_rolled_back_without_its_tree(
    pyctrigger: Command, compiled: Path, scope: list[str], tmp_path: Path
) -> None:
    """The manifest of before, with the files of after: compared, not believed."""
    shutil.copytree(pyctrigger.state, tmp_path / "before")
    (compiled / "package/module0.py").write_text("def value():\n    return 'later'\n")
    pyctrigger.json("run", *scope)
    shutil.rmtree(pyctrigger.state)
    shutil.copytree(tmp_path / "before", pyctrigger.state)

    run = pyctrigger.json("run", *scope)

    assert (0, 0) == (run.code, run.counts["compiled"])
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "half", "another schema", "other tables"])
def test_a_manifest_that_is_no_good_is_made_anew(
    pyctrigger: Command, compiled: Path, scope: list[str], damage: str
) -> None:
    """Everything is looked at once more, nothing is written again, and then it is known."""
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    if damage == "gone":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "garbage":
        path.write_bytes(os.urandom(5000))
    elif damage == "half":
        os.truncate(path, path.stat().st_size // 2)
    else:
        database = sqlite3.connect(path)
        database.execute(
            "pragma user_version = 1" if damage == "another schema" else "alter table blocks rename to others"
        )
        database.commit()
        database.close()

    run = pyctrigger.json("run", *scope)

    assert (0, 0, len(MODULES)) == (run.code, run.counts["compiled"], run.counts["fresh"])
    pyc = next(iter(pycs_below(compiled)))
    os.truncate(pyc, os.stat(pyc).st_size - 1)
    assert pyctrigger.json("run", *scope).counts["compiled"] == 1


def test_what_lies_outside_of_the_site_directories_is_ignored_and_told(
    pyctrigger: Command, compiled: Path, scope: list[str], tmp_path: Path
) -> None:
    """pyctrigger didn't write it; the next full run names it once, but not a site directory of an earlier run."""
    other = write_tree(tmp_path / "other", {"m.py": "x = 1\n", "bad.py": "x = (\n"})
    pyctrigger.json("run", *scope[:2], "--site-dir", other, other / "m.py")
    victim = write_tree(tmp_path / "victim", {"m.py": "x = 1\n", "__pycache__/m.pyc": ""})
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    database = sqlite3.connect(path)
    row = database.execute("select * from blocks limit 1").fetchone()
    values = ", ".join("?" * len(row))
    database.execute(f"insert into blocks values ({values})", (bytes(victim), *row[1:]))
    database.execute("insert into uncompilable values (?, x'', x'', x'', 'syntax', '', 0)", (b"/etc/odd/x.py",))
    database.commit()
    database.close()
    before = snapshot(victim)

    run, again = pyctrigger.json("run", *scope), pyctrigger.json("run", *scope)

    assert (0, 0) == (run.code, run.counts["compiled"])
    assert f"the manifest names directories outside the scope: /etc/odd, {victim}\n" == run.err
    assert "" == again.err
    assert snapshot(victim) == before
    assert {str(other / "__pycache__"), str(compiled / "package/__pycache__")} == set(recorded(path))


def test_a_host_without_sqlite3_believes_headers(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """FreeBSD packages the module apart: everything works, and nothing is recorded."""
    write_tree(site, MODULES)
    without = "import sys; sys.modules['sqlite3'] = sys.modules['_sqlite3'] = None; from pyctrigger.cli import main; "
    pyctrigger.program = [sys.executable, "-c", without + "sys.exit(main())"]

    first, second = pyctrigger.json("run", *scope), pyctrigger.json("run", *scope)

    said = "this Python has no module sqlite3: every run examines everything, and no history is kept\n"
    assert (0, len(MODULES), said) == (first.code, first.counts["compiled"], first.err)
    assert (0, 0, len(MODULES), "") == (second.code, second.counts["compiled"], second.counts["fresh"], second.err)
    assert list(pyctrigger.state.glob("*/manifest.sqlite")) == []
    os.truncate(pyc_of(site, newest, 0), 30)
    assert [str(pyc_of(site, newest, 0))] == [each["pyc"] for each in pyctrigger.json("verify", *scope).findings]
    assert pyctrigger.json("repair", *scope).counts["compiled"] == 1
    assert not_fresh(newest, sources_below(site)) == []


def test_records_of_what_went_go_with_it(pyctrigger: Command, compiled: Path, scope: list[str]) -> None:
    """A sweep and a purge leave no record behind."""
    (compiled / "package/module0.py").unlink()
    pyctrigger.json("run", *scope)
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    assert len(MODULES) - 1 == len(all_records(path))
    pyctrigger.json("purge", *scope)
    assert recorded(path) == {}


# -- the magic number ------------------------------------------------------------------------------------------------


def test_an_interpreter_upgraded_in_place(pyctrigger: Command, compiled: Path, scope: list[str], site: Path) -> None:
    """Another magic number than last time: the next run, whatever its paths, examines everything, and says so once."""
    (known,) = pyctrigger.state.glob("*/magic_number")
    magic = known.read_text()
    known.write_text("27180d0a")
    for pyc in pycs_below(site):
        with open(pyc, "r+b") as file:
            file.write(bytes.fromhex("27180d0a"))

    status = pyctrigger.json("status", *scope).run["status"]
    shown = pyctrigger.text("status", *scope).out
    run = pyctrigger.json("run", *scope, "--paths-from", "/dev/null")

    assert "27180d0a" == status["previous_magic_number"]
    assert f"({magic})  from 27180d0a  " in shown
    assert "the magic number was 27180d0a: the next run compiles everything again" in shown
    assert (0, len(MODULES)) == (run.code, run.counts["compiled"])
    assert f"has changed from 27180d0a to {magic}: everything is compiled again" in run.err
    again = pyctrigger.json("run", *scope, "--paths-from", "/dev/null")
    assert (0, 0, "") == (again.code, again.counts["compiled"], again.err)
    assert magic == known.read_text()


# -- power loss ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "repair"])
def test_what_was_not_yet_on_the_disk_when_the_power_failed_is_mended(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], verb: str
) -> None:
    """Killed between the writes and the word that they are durable; then every body of this run is lost, names kept."""
    write_tree(site, {f"package/module{number}.py": "x = 1\n" * 2000 for number in range(300)})
    child = pyctrigger.start(verb, "--jobs", "1", *scope)
    while len(pycs_below(site)) < 20:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    lost = [pyc for pyc in pycs_below(site) if pyc.endswith(b".pyc")]
    for number, pyc in enumerate(lost):
        os.truncate(pyc, header_size(newest) + (0, 10, 100)[number % 3])
    assert pyctrigger.json("verify", *scope).findings

    run = pyctrigger.json("run", *scope, "--paths-from", "/dev/null")

    assert (0, []) == (run.code, run.failures)
    assert not_fresh(newest, sources_below(site)) == []
    assert pyctrigger.json("verify", "--compare-code", *scope).findings == []


def test_a_hook_waits_for_nobody_elses_lock_on_the_manifest(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """Half a second, one line, the right result, and the file stays as it was."""
    write_tree(site, {f"p{number}/m.py": f"x = {number}\n" for number in range(3)})
    pyctrigger.json("run", *scope)
    (path,) = pyctrigger.state.glob("*/manifest.sqlite")
    before = path.read_bytes()
    write_tree(site, {"p1/m.py": "x = 'other'\n"})

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("begin exclusive")
        begun = time.monotonic()
        hook = pyctrigger.text("run", "-q", "--hook", *scope, site)
        took = time.monotonic() - begun

    said = f"pyctrigger: {path} is locked by another program; this run continues without its records\n"
    assert (0, said) == (hook.code, hook.err)
    assert took < 5
    assert [] == not_fresh(newest, sources_below(site))
    assert before == path.read_bytes()
    assert 0 == pyctrigger.text("run", *scope).code
    assert 0 == pyctrigger.text("verify", *scope, "--compare-code").code
