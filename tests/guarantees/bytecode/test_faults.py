"""Every fault of the table is found for what it is, fixed or named, and gone after a repair; nothing ever hangs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from faults import FAULTS, SOURCES, Place, faults_of, flipped, unprotect
from interpreters import ends
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command, Outcome
    from faults import Fault
    from interpreters import Interpreter

#: Imports every module below a site directory, and says what each of them says.
_IMPORT_ALL = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
print(json.dumps({name: importlib.import_module(name).VALUE for name in json.loads(sys.argv[2])}))
"""

#: Bytes, fewer than a worker may use by our own limit, and enough for what is done here.
FEW = 3 << 29


def imported(interpreter: Interpreter, site: Path, modules: list[str]) -> dict[str, str]:
    """What the target's own import gives for each module, with the bytecode that is there."""
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-c", _IMPORT_ALL, str(site), json.dumps(modules)],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    said = json.loads(child.stdout)
    assert isinstance(said, dict)
    return said


@dataclass
class Ward:
    """A site directory with a package for each fault."""

    site: Path
    places: dict[Fault, Place]
    whole: dict[Path, bytes]
    """The bytes that every pyc had."""
    scope: list[str]

    def damage(self) -> None:
        """Do every fault."""
        for fault, place in self.places.items():
            fault.damage(place)

    def found(self, outcome: Outcome) -> dict[str, set[str]]:
        """The kinds of finding, by the name of the fault in whose package they were found."""
        kinds: dict[str, set[str]] = {}
        for finding in outcome.findings:
            path = finding["pyc"]
            (name,) = [fault.name for fault, place in self.places.items() if path.startswith(f"{place.package}/")]
            kinds.setdefault(name, set()).add(finding["kind"])
        return kinds

    def named(self, outcome: Outcome) -> set[str]:
        """The faults whose packages have a failure."""
        paths = [failure["path"] for failure in outcome.failures]
        return {
            fault.name
            for fault, place in self.places.items()
            if any(f"{path}/".startswith(f"{place.package}/") for path in paths)
        }

    def mended(self) -> set[str]:
        """The faults of which nothing is left: the bytes of the first compilation, in a regular file."""
        return {
            fault.name
            for fault, place in self.places.items()
            if not place.pycache.is_symlink()
            and stat.S_ISREG(mode_of(place.pyc()))
            and self.whole[place.pyc()] == place.pyc().read_bytes()
        }


def mode_of(path: Path) -> int:
    """The type and permissions of an entry itself; 0 if there is none."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


@pytest.fixture
def ward(pyctrigger: Command, site: Path, tmp_path: Path, interpreter: Interpreter) -> Iterator[Ward]:
    """Compiled, and not yet damaged."""
    tag = Place(site, interpreter, site).tag
    outside = write_tree(tmp_path / "outside", {f"gone.{tag}.pyc": "precious", f"victim.{tag}.pyc": "precious"})
    faults = faults_of(interpreter)
    places = {fault: Place(site / f"package{number:02}", interpreter, outside) for number, fault in enumerate(faults)}
    for place in places.values():
        write_tree(place.package, SOURCES)
    scope = ["--python", interpreter.path, "--site-dir", str(site)]
    assert 2 * len(places) == pyctrigger.json("run", *scope).counts["compiled"]
    whole = {place.pyc(name): place.pyc(name).read_bytes() for place in places.values() for name in ("victim", "other")}
    yield Ward(site, places, whole, scope)
    for fault, place in places.items():
        if fault.protected:
            unprotect(place.pycache)


@pytest.mark.few_targets
def test_thirty_of_thirty_are_found_and_mended(pyctrigger: Command, ward: Ward, interpreter: Interpreter) -> None:
    """`verify` names each correctly; a run over what was touched fixes it or says why not; a repair leaves none."""
    assert len({fault.name for fault in FAULTS}) == 30
    faults = list(ward.places)
    outside = next(iter(ward.places.values())).outside
    ward.damage()
    precious, before = snapshot(outside), snapshot(ward.site)

    verified = pyctrigger.json("verify", *ward.scope)

    found = ward.found(verified)
    assert 1 == verified.code
    assert [] == [(fault.name, found.get(fault.name)) for fault in faults if not wrongly_or_rightly(fault, found)]
    assert snapshot(ward.site) == before

    run = pyctrigger.json("run", *ward.scope, *[place.package for place in ward.places.values()])

    left = {fault.name for fault in faults if fault.name not in ward.mended()}
    assert left == {fault.name for fault in faults if fault.obstacle} | still_protected(ward)
    assert left == ward.named(run)
    assert 1 == run.code
    assert left == ward.found(pyctrigger.json("verify", *ward.scope)).keys()

    repaired = pyctrigger.json("repair", *ward.scope)

    assert still_protected(ward) == ward.named(repaired)
    assert bool(still_protected(ward)) == repaired.code
    assert {fault.name for fault in faults} - still_protected(ward) == ward.mended()
    for fault, place in ward.places.items():
        if fault.protected:
            unprotect(place.pycache)
    assert 0 == pyctrigger.json("repair", *ward.scope).code
    assert_all_is_well(pyctrigger, ward, interpreter)
    assert snapshot(outside) == precious


def wrongly_or_rightly(fault: Fault, found: dict[str, set[str]]) -> bool:
    """Whether a fault was found, and as what it is."""
    kinds = found.get(fault.name, set())
    return bool(kinds) and kinds <= fault.kinds


def still_protected(ward: Ward) -> set[str]:
    """The faults that this account can't write to; root needs a file system with the immutable flag for that."""
    protected = set()
    for fault, place in ward.places.items():
        if fault.protected:
            try:
                (place.pycache / "probe").touch()
            except OSError:
                protected.add(fault.name)
            else:
                (place.pycache / "probe").unlink()
    return protected


def assert_all_is_well(pyctrigger: Command, ward: Ward, interpreter: Interpreter) -> None:
    """Nothing to find, every pyc as the first compilation made it, and the target imports all of them unchanged."""
    assert [] == pyctrigger.json("verify", "--compare-code", *ward.scope).findings
    assert {os.fsencode(path) for path in ward.whole} == set(pycs_below(ward.site))
    assert ward.whole == {path: path.read_bytes() for path in ward.whole}
    assert [] == not_fresh(interpreter, sources_below(ward.site))
    values = {f"{place.package.name}.{name}": name for place in ward.places.values() for name in ("victim", "other")}
    assert values == imported(interpreter, ward.site, list(values))


@pytest.mark.few_targets
def test_a_repair_needs_no_state_for_that(pyctrigger: Command, ward: Ward, interpreter: Interpreter) -> None:
    """It trusts nothing, so a lost or foreign state makes no difference; nor to what `--compare-code` finds."""
    ward.damage()
    shutil.rmtree(pyctrigger.state)

    verified = pyctrigger.json("verify", "--compare-code", "--stateless", *ward.scope)
    found = ward.found(verified)

    assert [] == [(fault.name, found.get(fault.name)) for fault in ward.places if not wrongly_or_rightly(fault, found)]
    for fault, place in ward.places.items():
        if fault.protected:
            unprotect(place.pycache)
    assert 0 == pyctrigger.json("repair", "--stateless", *ward.scope).code
    assert_all_is_well(pyctrigger, ward, interpreter)


#: Which of these pairs of bodies unmarshal to code that is the same in all that it does and says, caches included.
_SAME = r"""
import io, json, marshal, sys, types
def facts(value):
    if not isinstance(value, types.CodeType):
        return repr(value)
    names = ("co_name", "co_filename", "co_firstlineno", "co_flags", "co_names", "co_lnotab", "co_linetable",
             "co_exceptiontable", "co_varnames", "co_stacksize", "co_qualname", "co_code", "_co_code_adaptive")
    return [[repr(getattr(value, name, None)) for name in names], [facts(each) for each in value.co_consts]]
same = []
for number, pair in enumerate(json.loads(sys.argv[1])):
    try:
        stream = io.BytesIO(bytes.fromhex(pair[0]))
        one, rest = marshal.load(stream), stream.read()
    except Exception:
        continue
    if not rest and facts(one) == facts(marshal.loads(bytes.fromhex(pair[1]))):
        same.append(number)
print(json.dumps(same))
"""


#: In each of them another bit is flipped; with records and without state these are others, too.
MODULES = 60


@pytest.mark.parametrize("remembers", [True, False], ids=["with records", "without state"])
def test_no_flipped_bit_is_believed(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], remembers: bool
) -> None:
    """One bit of the body in each of many equal modules, from the first to the last.

    Some end the process that loads them, and some do something else than they show: from 3.11 on the caches between the
    instructions are in no listing. What isn't found is the same code in other marks of marshal's, which is no finding;
    and a repair writes also that anew.
    """
    modules = {f"package/m{number:03}.py": SOURCES["victim.py"] for number in range(MODULES)}
    for interpreter in ends(interpreters):
        shutil.rmtree(site)
        write_tree(site, modules)
        header = Place(site / "package", interpreter, site).header
        scope = ["--python", interpreter.path, "--site-dir", str(site), *([] if remembers else ["--stateless"])]
        pyctrigger.json("run", *scope)
        whole = {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(site)}
        damaged = {}
        for number, (path, data) in enumerate(whole.items()):
            bit = header * 8 + (2 * number + remembers) * (len(data) - header) * 8 // (2 * len(whole))
            damaged[path] = flipped(data, bit // 8, bit % 8)
            Path(os.fsdecode(path)).write_bytes(damaged[path])

        verified = pyctrigger.json("verify", *scope, *([] if remembers else ["--compare-code"]))

        missed = sorted(whole.keys() - {os.fsencode(finding["pyc"]) for finding in verified.findings})
        assert {"corrupt", "mismatched"} == {finding["kind"] for finding in verified.findings}
        assert missed == same_code(
            interpreter, {path: (damaged[path][header:], whole[path][header:]) for path in missed}
        )
        mended = pyctrigger.json("repair", *scope)
        assert (0, MODULES, []) == (mended.code, mended.counts["compiled"], mended.failures)
        assert whole == {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(site)}
        assert 0 == pyctrigger.json("verify", *scope).code


@pytest.mark.few_targets
def test_what_ends_its_reader_is_no_lack_of_memory(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """A count of arguments below zero makes PyPy abort, as a lack of memory does; and the limit is a caller's."""
    place = Place(site, interpreter, site)
    write_tree(site, {"victim.py": SOURCES["victim.py"]})
    scope = ["--python", interpreter.path, "--site-dir", str(site)]
    pyctrigger.json("run", *scope)
    pyc = place.pyc("victim")
    pyc.write_bytes(flipped(pyc.read_bytes(), place.header + 4, 7))

    verified = pyctrigger.json("verify", *scope, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (FEW, FEW)))

    assert [("corrupt", str(pyc))] == [(finding["kind"], finding["pyc"]) for finding in verified.findings]


def same_code(interpreter: Interpreter, bodies: dict[bytes, tuple[bytes, bytes]]) -> list[bytes]:
    """Those whose two bodies are the same code, by the target's own unmarshalling."""
    pairs = [[one.hex(), other.hex()] for one, other in bodies.values()]
    command = [interpreter.path, "-I", "-S", "-W", "ignore", "-c", _SAME, json.dumps(pairs)]
    said = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True).stdout
    paths = list(bodies)
    return [paths[number] for number in json.loads(said)]


def make_odd(path: Path, kind: str) -> None:
    """Something that is neither a file nor a directory."""
    kinds = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "device": stat.S_IFCHR}
    try:
        os.mknod(path, kinds[kind] | 0o644, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        absent(f"rights to make a {kind}")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_a_source_that_is_no_file_hangs_nobody(pyctrigger: Command, site: Path, newest: Interpreter, kind: str) -> None:
    """Opening a FIFO waits for a writer, and reading a device may never end: neither is opened. The pyc stays:
    under the name of its source there is something.
    """
    write_tree(site, {"package/odd.py": "VALUE = 1\n", "package/good.py": "VALUE = 'good'\n"})
    scope = ["--python", newest.path, "--site-dir", str(site)]
    pyctrigger.json("run", *scope)
    odd = site / "package/odd.py"
    odd.unlink()
    make_odd(odd, kind)
    before = pycs_below(site)

    for verb in ("verify", "run", "repair", "sweep", "status"):
        outcome = pyctrigger.json(verb, *scope)

        assert (0, []) == (outcome.code, outcome.failures), verb
        assert pycs_below(site) == before, verb
    assert {"package.good": "good"} == imported(newest, site, ["package.good"])
