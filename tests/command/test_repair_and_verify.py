"""`verify` in exact words and objects, and `repair` against any damage, on every interpreter and in every mode."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import absent
from corpus import room
from faults import change_attribute
from interpreters import tag_of
from packages import LEVEL_FLAGS, not_fresh, pycs_below, snapshot, sources_below, write_tree
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.trigger import perform
from pyctrigger.state.locations import lock_directory
from system_tools import find_tool

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

MODULES = {
    "package/__init__.py": "",
    "package/a.py": "def value():\n    return 'a'\n",
    "package/b.py": "def value():\n    return 'b'\n",
    "package/c.py": "def value():\n    return 'c'\n",
    "package/d.py": "def value():\n    assert True\n    return 'd'\n",
    "package/e.py": "def value():\n    return 'e'\n",
    "package/sub/f.py": "def value():\n    return 'f'\n",
}


def header_size(interpreter: Interpreter) -> int:
    """12 bytes on 3.6, 16 on all others (PEP 552)."""
    return 12 if interpreter.version < (3, 7) else 16


def on(interpreter: Interpreter, site: Path) -> list[str]:
    """The options that put this interpreter on this site directory."""
    return ["--python", interpreter.path, "--site-dir", str(site)]


def contents(site: Path) -> dict[bytes, bytes]:
    """The bytes of every pyc."""
    return {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(site)}


def values(interpreter: Interpreter, site: Path, *flags: str) -> str:
    """What the modules say when the target imports them; `-v` would say that it compiled none."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from importlib import import_module\n"
        "print(''.join(import_module('package.' + name).value() for name in ('a', 'b', 'c', 'd', 'e', 'sub.f')))\n"
    )
    command = [interpreter.path, *flags, "-I", "-S", "-B", "-c", program, str(site)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (child.returncode, child.stderr)
    return child.stdout.strip()


# -- what verify says ------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(pyctrigger: Command, site: Path, newest: Interpreter) -> dict[str, tuple[str, str | None]]:
    """A tree with every kind of finding; for each, its pyc and its source."""
    tag, package = tag_of(newest), site / "package"
    names = ("fine", "missing", "stale", "corrupt", "orphan", "foreign", "obstructed", "bad")
    write_tree(site, {f"package/{name}.py": f"x = '{name}'\n" for name in names})
    write_tree(site, {"package/bad.py": "x = = 1\n", "blocked/module.py": "x = 1\n"})
    installation = pyctrigger.json("run", *on(newest, site)).run["installation"]
    pycs = {name: package / f"__pycache__/{name}.{tag}.pyc" for name in names}
    pycs["missing"].unlink()
    os.utime(package / "stale.py", (1, 1))
    os.truncate(pycs["corrupt"], 7)
    (package / "orphan.py").unlink()
    with open(pycs["foreign"], "r+b") as file:
        file.write(b"\x01\x02\r\n")
    pycs["obstructed"].unlink()
    pycs["obstructed"].symlink_to("nowhere")
    residue = package / f"__pycache__/.pyctrigger-{installation}-0123456789abcdef.tmp"
    residue.write_bytes(b"half a pyc")
    blocked = site / "blocked/__pycache__"
    shutil.rmtree(blocked)
    blocked.write_text("in the way")
    found: dict[str, tuple[str, str | None]] = {
        kind: (str(pycs[name]), f"{package}/{name}.py")
        for kind, name in (
            ("missing", "missing"),
            ("stale", "stale"),
            ("corrupt", "corrupt"),
            ("orphan", "orphan"),
            ("foreign-magic", "foreign"),
            ("obstructed", "obstructed"),
        )
    }
    return {**found, "residue": (str(residue), None), "blocked": (str(blocked), None)}


#: Why, by the kind of finding.
REASONS = {
    "missing": "no bytecode for level 0",
    "stale": "its source has another mtime, and the same content",
    "corrupt": "it can't be loaded",
    "orphan": "its source is gone",
    "foreign-magic": "its magic number is another Python's",
    "obstructed": "something that isn't a regular file has its name",
    "residue": "a writer that was killed left it behind",
    "blocked": "it is a link or a file",
}


def test_every_kind_of_finding_is_one_line(
    pyctrigger: Command, site: Path, newest: Interpreter, damaged: dict[str, tuple[str, str | None]]
) -> None:
    """`kind: pyc (reason)`, a summary, and exit 1; a source that is known not to compile is only counted."""
    *lines, summary = pyctrigger.text("verify", *on(newest, site)).out.splitlines()

    wanted = {
        f"{'obstructed' if kind == 'blocked' else kind}: {pyc} ({REASONS[kind]})" for kind, (pyc, _) in damaged.items()
    }
    assert sorted(wanted) == sorted(lines)
    assert summary.startswith(f"{newest.flavour}: 8 findings, 1 fresh, 1 known not to compile in ")


def test_every_kind_of_finding_is_one_object(
    pyctrigger: Command, site: Path, newest: Interpreter, damaged: dict[str, tuple[str, str | None]]
) -> None:
    """Kind, pyc and source, as absolute paths, and why; with the uncompilable source among them."""
    outcome = pyctrigger.json("verify", *on(newest, site))

    wanted = [
        {"kind": "obstructed" if kind == "blocked" else kind, "pyc": pyc, "source": source, "reason": REASONS[kind]}
        for kind, (pyc, source) in damaged.items()
    ]
    bad = {"kind": "uncompilable", "pyc": None, "source": f"{site}/package/bad.py"}
    wanted.append({**bad, "reason": "its source doesn't compile"})
    known = [{**each, "known": each["kind"] == "uncompilable"} for each in wanted]
    assert sorted(map(repr, known)) == sorted(map(repr, outcome.findings))
    assert (1, []) == (outcome.code, outcome.failures)
    assert [] == outcome.run["actions"]


@pytest.mark.usefixtures("damaged")
def test_all_of_it_is_mended_by_one_repair_but_what_can_not_compile(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """Afterwards `verify` knows of nothing but the source that is no Python."""
    repaired = pyctrigger.json("repair", *on(newest, site))

    assert (0, 6, 2, 1) == (
        repaired.code,
        repaired.counts["compiled"],
        repaired.counts["removed"],
        repaired.counts["skipped"],
    )
    verified = pyctrigger.json("verify", *on(newest, site))
    assert (0, [("uncompilable", True)]) == (
        verified.code,
        [(each["kind"], each["known"]) for each in verified.findings],
    )
    good = [path for path in sources_below(site) if not path.endswith(b"bad.py")]
    assert [] == not_fresh(newest, good)


@pytest.mark.usefixtures("damaged")
def test_verify_writes_nothing_anywhere(pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter) -> None:
    """Not in the tree, not in the state, and where there is no state yet, none is begun."""
    before, state = snapshot(site), snapshot(pyctrigger.state)
    installation = pyctrigger.json("verify", *on(newest, site)).run["installation"]
    lock = Path(lock_directory() or "", f"{installation}.lock")
    touched = lock.stat().st_mtime_ns

    for options in ([], ["--json"], ["-vv"], ["--invalidation-mode", "checked-hash"], ["--optimize", "0,1,2"]):
        assert 1 == pyctrigger.text("verify", *on(newest, site), *options).code
    assert 1 == pyctrigger.text("verify", "--state-dir", tmp_path / "none", *on(newest, site)).code

    assert snapshot(site) == before
    assert snapshot(pyctrigger.state) == state
    assert not (tmp_path / "none").exists()
    assert touched == lock.stat().st_mtime_ns


def test_an_odd_name_is_one_line_and_its_bytes_are_in_the_object(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A newline, an escape sequence and bytes that are no UTF-8 break neither the line nor the object."""
    source = os.fsencode(site) + b"/odd\n\x1b[31m\xff.py"
    with open(source, "wb"):
        pass
    pyc = os.fsencode(site) + b"/__pycache__/odd\n\x1b[31m\xff." + tag_of(newest).encode() + b".pyc"

    line, _ = pyctrigger.text("verify", *on(newest, site)).out.splitlines()
    (finding,) = pyctrigger.json("verify", *on(newest, site)).findings

    assert rf"missing: {site}/__pycache__/odd\n\x1b[31m\xff.{tag_of(newest)}.pyc ({REASONS['missing']})" == line
    assert (pyc.hex(), source.hex()) == (finding["pyc_hex"], finding["source_hex"])
    assert finding["source"] == f"{site}/odd\n\x1b[31m\ufffd.py"


def test_what_can_not_be_examined_is_exit_3(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Directories deeper than any package's: named, and everything else is examined all the same."""
    write_tree(site, {"package/module.py": "", "missing/module.py": ""})
    here = os.open(site, os.O_RDONLY)
    for _ in range(260):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    pyctrigger.json("run", *on(newest, site), site / "package")

    outcome = pyctrigger.json("verify", *on(newest, site))

    assert 3 == outcome.code
    assert ["missing"] == [each["kind"] for each in outcome.findings]
    (unexamined,) = outcome.run["unexamined"]
    assert unexamined["path"] == f"{site}/" + "/".join(["deep"] * 200)


def test_a_path_bounds_what_is_looked_at(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Findings in one package are no findings of the other."""
    write_tree(site, {"good/m.py": "", "bad/m.py": ""})
    pyctrigger.json("run", *on(newest, site), site / "good")

    assert 0 == pyctrigger.json("verify", *on(newest, site), site / "good").code
    assert 1 == pyctrigger.json("verify", *on(newest, site), site / "bad").code
    assert 1 == pyctrigger.json("verify", *on(newest, site)).code


@pytest.mark.few_targets
@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
def test_a_hash_is_proven_against_the_source(
    pyctrigger: Command, site: Path, interpreter: Interpreter, mode: str
) -> None:
    """New times with the same bytes are no finding; other bytes with the same times and size are."""
    write_tree(site, {"package/same.py": "x = 1\n", "package/other.py": "x = 1\n"})
    arguments = [*on(interpreter, site), "--invalidation-mode", mode]
    outcome = pyctrigger.json("run", *arguments)
    if interpreter.version < (3, 7):
        said = f"{interpreter.flavour} doesn't support hash-based bytecode (new in 3.7); timestamps are written"
        assert (0, [said]) == (outcome.code, outcome.run["notices"])
        return
    os.utime(site / "package/same.py", (1, 1))
    status = (site / "package/other.py").stat()
    (site / "package/other.py").write_text("x = 2\n")
    os.utime(site / "package/other.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    before = contents(site)

    verified = pyctrigger.json("verify", *arguments)

    pyc = f"{site}/package/__pycache__/other.{tag_of(interpreter)}.pyc"
    assert [("stale", pyc)] == [(each["kind"], each["pyc"]) for each in verified.findings]
    assert (1, 1) == (verified.code, verified.counts["fresh"])
    assert contents(site) == before
    assert 1 == pyctrigger.json("repair", *arguments).counts["compiled"]
    assert 0 == pyctrigger.json("verify", *arguments).code


# -- what repair mends -----------------------------------------------------------------------------------------------


def damages(size: int, whole: bytes, other: bytes) -> list[bytes]:
    """A whole pyc in many broken states; `other` is another module's."""
    chance = random.Random(1)
    header, body = whole[:size], whole[size:]
    flips = []
    for _ in range(12):
        bit = chance.randrange(len(whole) * 8)
        flips.append(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
    return [
        b"",
        whole[:1],
        whole[: size - 1],
        header,
        header + body[:1],
        header + body[: len(body) // 2],
        whole[:-1],
        whole + b"\0",
        bytes(len(whole)),
        header + bytes(len(body)),
        header + chance.getrandbits(8 * len(body)).to_bytes(len(body), "little"),
        b"\x01\x02\r\n" + whole[4:],
        header[:4] + b"\xff\xff\xff\xff" + whole[8:],
        header[: size - 8] + b"\xff\xff\xff\xff" + whole[size - 4 :],
        header[: size - 4] + b"\xff\xff\xff\xff" + body,
        header + other[size:],
        other,
        header + b"N",
        header + b"i\x01\x00\x00\x00",
        header + b")\x01N",
        *flips,
    ]


@pytest.mark.few_targets
def test_no_damage_survives_a_repair(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """At every level, in every module, each damage at once: the bytes are again those of the first compilation."""
    write_tree(site, MODULES)
    arguments = [*on(interpreter, site), "--optimize", "0,1,2"]
    pyctrigger.json("run", *arguments)
    whole = contents(site)
    names = sorted(whole)
    size, other = header_size(interpreter), whole[names[-1]]
    broken = {name: damages(size, whole[name], other) for name in names}
    count = len(broken[names[0]])
    # 21 pycs and 32 damages: in the second round each pyc has another one.
    for start in (0, len(names)):
        for number, name in enumerate(names):
            Path(os.fsdecode(name)).write_bytes(broken[name][(start + number) % count])

        repaired = pyctrigger.json("repair", *arguments)

        assert (0, []) == (repaired.code, repaired.failures)
        assert whole == contents(site)
    assert 0 == pyctrigger.json("verify", *arguments).code
    assert [] == not_fresh(interpreter, sources_below(site), 2)
    for flags in LEVEL_FLAGS.values():
        assert "abcdef" == values(interpreter, site, *flags)


@pytest.mark.few_targets
@pytest.mark.parametrize("mode", ["timestamp", "checked-hash", "unchecked-hash"])
def test_a_repair_writes_what_is_wrong_and_nothing_else(
    pyctrigger: Command, site: Path, interpreter: Interpreter, mode: str
) -> None:
    """Of seven modules at three levels one body is damaged: that file is new, all others are the very same ones."""
    write_tree(site, MODULES)
    arguments = [*on(interpreter, site), "--optimize", "0,1,2", "--invalidation-mode", mode]
    pyctrigger.json("run", *arguments)
    tag = tag_of(interpreter)
    wrong = site / f"package/__pycache__/d.{tag}.opt-1.pyc"
    wrong.write_bytes(wrong.read_bytes()[:-1])
    before = {path: os.lstat(path).st_ino for path in pycs_below(site)}

    repaired = pyctrigger.json("repair", *arguments)

    assert (0, 1, 6) == (repaired.code, repaired.counts["compiled"], repaired.counts["fresh"])
    after = {path: os.lstat(path).st_ino for path in pycs_below(site)}
    names = {path for path in before if before[path] == before[os.fsencode(wrong)]}  # equal levels are one file
    assert names == {path for path in after if after[path] != before[path]}
    assert before.keys() == after.keys()
    again = pyctrigger.json("repair", *arguments)
    assert (0, 0, 7) == (again.code, again.counts["compiled"], again.counts["fresh"])


def test_a_run_sees_what_no_header_tells(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Another module's code behind a right header: `import` runs it; a run that has a record of it doesn't believe it.

    Without state headers are all there is; a repair looks at everything all the same.
    """
    write_tree(site, MODULES)
    pyctrigger.json("run", *on(newest, site))
    tag = tag_of(newest)
    one, other = (site / f"package/__pycache__/{name}.{tag}.pyc" for name in "ab")
    one.write_bytes(one.read_bytes()[:16] + other.read_bytes()[16:])
    assert "bbcdef" == values(newest, site)

    assert 7 == pyctrigger.json("run", "--stateless", *on(newest, site)).counts["fresh"]
    assert 1 == pyctrigger.json("run", *on(newest, site)).counts["compiled"]
    assert "abcdef" == values(newest, site)

    one.write_bytes(one.read_bytes()[:16] + other.read_bytes()[16:])
    assert 1 == pyctrigger.json("repair", "--stateless", *on(newest, site)).counts["compiled"]
    assert "abcdef" == values(newest, site)


def test_a_repair_of_one_path_leaves_the_others(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """The damage elsewhere stays for the next repair."""
    write_tree(site, {"one/m.py": "x = 1\n", "two/m.py": "x = 1\n"})
    pyctrigger.json("run", *on(newest, site))
    for pyc in pycs_below(site):
        with open(pyc, "r+b") as file:
            file.truncate(20)

    assert 1 == pyctrigger.json("repair", *on(newest, site), site / "one").counts["compiled"]
    assert [(os.fsencode(site / "two/m.py"), "EOFError")] == not_fresh(newest, sources_below(site))
    assert 1 == pyctrigger.json("repair", *on(newest, site)).counts["compiled"]


@pytest.mark.usefixtures("as_root")
def test_what_a_repair_may_not_mend_is_said_and_the_rest_mended(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A file that not even root may replace: one failure with its path, exit 1, and no residue."""
    write_tree(site, {"one/m.py": "x = 1\n", "two/m.py": "x = 1\n"})
    pyctrigger.json("run", *on(newest, site))
    for pyc in pycs_below(site):
        with open(pyc, "r+b") as file:
            file.truncate(20)
    stuck = site / f"one/__pycache__/m.{tag_of(newest)}.pyc"
    if find_tool("chattr") is None:
        absent("no chattr on this machine")
    if not change_attribute("+i", stuck):
        pytest.skip("a file system without the immutable flag")
    try:
        outcome = pyctrigger.json("repair", *on(newest, site))
    finally:
        assert change_attribute("-i", stuck)

    assert (1, 1, 1) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
    assert [(f"{site}/one/m.py", "io")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert 2 == len(pycs_below(site))
    assert 0 == pyctrigger.json("repair", *on(newest, site)).code


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_bytes_whatsoever_survive_a_repair(
    newest: Interpreter, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any bytes in the place of a pyc, and any change of a whole one, end as what the target itself writes."""
    state = tmp_path_factory.getbasetemp() / "repair-state"
    pyc = f"d.{tag_of(newest)}.pyc"
    with room() as site:
        write_tree(site, {"d.py": MODULES["package/d.py"]})
        request = Request(
            Work.RUN,
            Scope(pythons=(newest.path,), site_dirs=(str(site),)),
            running=Running(state_dir=str(state)),
        )
        assert 0 == perform(request).exit_code
        path = site / "__pycache__" / pyc
        whole = path.read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, len(whole)))
        path.write_bytes(whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:])

        report = perform(request._replace(work=Work.REPAIR))

        assert 0 == report.exit_code
        assert whole == path.read_bytes()
        assert [pyc] == os.listdir(site / "__pycache__")
