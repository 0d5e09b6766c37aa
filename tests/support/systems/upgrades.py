"""Systems in which a package manager replaces one release of pyctrigger by another, and what has to hold after each."""

from __future__ import annotations

import abc
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command import Outcome
from debian_packages import DIST_PACKAGES, Package, build
from manager_packages import ManagedRoot, Payload, new_system, site_of
from manager_transactions import FIRST, OTHER, SECOND
from packages import not_fresh, snapshot, sources_below
from pacman_root import PacmanRoot
from rpm_root import RpmRoot
from system_tools import find_tool

if TYPE_CHECKING:
    from debian_system import Debian

PROGRAM = "/usr/bin/pyctrigger"
STATE = "/var/lib/pyctrigger"
#: What 0.1.0 keeps of a run, and which no later release writes.
FORMER_HISTORY = "history.jsonl"
_SECONDS = 300
#: Of 0.1.0's manifests.
_EDITION = 4
#: No system asks for it: only an entry of the journal does.
_LEVEL = "2"
_TROUBLE = re.compile(r"Traceback|Error\b|^pyctrigger: |: remove failed|defect", re.MULTILINE)


class Kept(abc.ABC):
    """A system with two Pythons, whose packages one manager keeps."""

    manager: str
    versions: tuple[str, ...]
    """As `--python` takes them."""
    sites: tuple[str, ...]
    """Where packages put sources, as seen inside."""

    @abc.abstractmethod
    def replace(self, package: Path) -> str:
        """Install a package, or the later or earlier release of one; all that was printed."""

    @abc.abstractmethod
    def payload(self, name: str, version: int, files: dict[str, str]) -> Path:
        """A package with these files for each Python."""

    @abc.abstractmethod
    def run(self, *command: str) -> Outcome:
        """What root types inside."""

    @abc.abstractmethod
    def outside(self, path: str) -> Path:
        """A path inside, as seen from here."""

    @abc.abstractmethod
    def faults(self) -> list[str]:
        """All that is wrong with the bytecode, judged by the Pythons."""

    @abc.abstractmethod
    def slow_start(self) -> list[str]:
        """The program's own sources without bytecode that its Python takes."""

    def ask(self, *arguments: str) -> dict[str, Any]:
        """What a verb says with --json."""
        outcome = self.run(PROGRAM, *arguments, "--json")
        assert outcome.out.startswith("{"), outcome.out + outcome.err
        document: dict[str, Any] = json.loads(outcome.out)
        return document

    def pycs(self) -> dict[bytes, tuple[Any, ...]]:
        """Every pyc of packages, with all that a change would show in."""
        facts = {path: fact for site in self.sites for path, fact in snapshot(self.outside(site)).items()}
        return {path: fact for path, fact in facts.items() if path.endswith(b".pyc")}

    def asked_for(self) -> set[bytes]:
        """The bytecode of the level that nothing but the journal asks for."""
        return {path for path in self.pycs() if path.endswith(f".opt-{_LEVEL}.pyc".encode())}

    def pending(self) -> int:
        """Entries of the journal."""
        return sum(run["status"]["pending"] for run in self.ask("status")["runs"])


class KeptRoot(Kept):
    """A scratch root under rpm or pacman."""

    def __init__(self, kind: type[ManagedRoot], scratch: Path) -> None:
        self.manager = {RpmRoot: "rpm", PacmanRoot: "pacman"}[kind]
        self._scratch = scratch
        self._system = new_system(kind, scratch)
        self.versions = tuple(".".join(map(str, each.version[:2])) for each in self._system.pythons)
        self.sites = tuple(site_of(each) for each in self._system.pythons)

    def replace(self, package: Path) -> str:
        return self._system.transact("replace" if self.manager == "rpm" else "upgrade", package)

    def payload(self, name: str, version: int, files: dict[str, str]) -> Path:
        payload = Payload(name, version, self._scratch / f"{name}-{version}")
        for site in self.sites:
            payload.add(site, files)
        return self._system.build(payload.settle(), self._scratch)

    def run(self, *command: str) -> Outcome:
        child = subprocess.run(
            [find_tool("chroot") or "chroot", str(self._system.root.top), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            check=False,
        )
        return Outcome(child.returncode, child.stdout.decode(), child.stderr.decode())

    def outside(self, path: str) -> Path:
        return self._system.root.outside(path)

    def faults(self) -> list[str]:
        return [*self._system.troubles(), *self._system.complaints().splitlines()]

    def slow_start(self) -> list[str]:
        own = sources_below(self.outside("/usr/lib/pyctrigger"))
        return [f"{path.decode()}: {reason}" for path, reason in not_fresh(self._system.pythons[0], own)]


class KeptDebian(Kept):
    """A Debian sid under dpkg, whose own compilers of bytecode do nothing."""

    manager = "dpkg"
    versions = ("3.14", "3.15")
    sites = (DIST_PACKAGES,)

    def __init__(self, debian: Debian, scratch: Path) -> None:
        self._debian = debian
        self._scratch = scratch
        debian.divert_compilers()

    def replace(self, package: Path) -> str:
        inside = shutil.copy(package, self._debian.sid.outside("/srv"))
        outcome = self._debian.dpkg("-i", f"/srv/{Path(inside).name}")
        return outcome.out + outcome.err

    def payload(self, name: str, version: int, files: dict[str, str]) -> Path:
        return build(Package(name, str(version), files), self._scratch, self._scratch)

    def run(self, *command: str) -> Outcome:
        return self._debian.sid.run(*command)

    def outside(self, path: str) -> Path:
        return self._debian.sid.outside(path)

    def faults(self) -> list[str]:
        return self._debian.judge.faults()

    def slow_start(self) -> list[str]:
        own = sources_below(self.outside("/usr/lib/pyctrigger"))
        target = self._debian.judge.targets()["py314"]
        inside = [self._debian.sid.inside(path) for path in own if not path.endswith(b"/without-python.py")]
        return [f"{path.decode()}: {reason}" for path, reason in not_fresh(target, inside)]


class Walk:
    """An upgrade, the way back, and the upgrade once more; what is wrong is collected."""

    def __init__(self, system: Kept, older: Path, newer: Path) -> None:
        self._system = system
        self._older, self._newer = older, newer
        self.held = 0
        self.wrong: list[str] = []

    def all(self) -> None:
        """Every step."""
        self.work_with_the_older()
        self.upgrade()
        self.go_back()
        self.upgrade_once_more()

    def work_with_the_older(self) -> None:
        """It compiles a package, has state of every kind, and leaves an entry in the journal."""
        system = self._system
        self._quiet("0.1.0 installed", system.replace(self._older))
        self._quiet("its hook", system.replace(system.payload("demo", 1, FIRST)))
        self._none("after its hook", system.faults())
        state = system.outside(STATE)
        self._true("it has a history of the old format", (state / FORMER_HISTORY).is_file())
        self._true("and no other", not (state / "history.sqlite").exists())
        manifests = sorted(state.glob("*/manifest.sqlite"))
        self._same(
            "it has manifests of the old format",
            [_EDITION] * len(system.versions),
            [_edition(each) for each in manifests],
        )
        self._defer()

    def upgrade(self) -> None:
        """All that was known is of use: nothing is compiled again, what was pending is done, the history is named."""
        system = self._system
        compiled = system.pycs()
        shutil.copytree(system.outside(STATE), system.outside("/srv/state"))
        self._quiet("upgraded", system.replace(self._newer))
        self._none("its own bytecode", system.slow_start())
        version = system.run(PROGRAM, "--version").out
        self._true(f"it is not {version.strip()}", version.strip().endswith(self._newer_version))
        self._none("what 0.1.0 compiled isn't as it was", _changed(compiled, system.pycs()))
        known = self._unproven("/srv/state")
        self._same("0.1.0's records are read", (0, True), (known, self._unproven("/srv/none") > 0))

        self._quiet("its hook", system.replace(system.payload("other", 1, OTHER)))
        self._same("pending work that isn't done", (0, True), (system.pending(), bool(system.asked_for())))
        self._forget_level()
        self._none("after its hook", system.faults())
        self._none("what 0.1.0 compiled isn't as it was any more", _changed(compiled, system.pycs()))
        self._runs_idly("after the upgrade")
        history = system.run(PROGRAM, "history")
        self._true("the old history isn't named", FORMER_HISTORY in history.out + history.err)
        self._quiet("history", history.out + history.err)

    def go_back(self) -> None:
        """0.1.0 meets what the later release left, and compiles right."""
        system = self._system
        self._quiet("its hook", system.replace(system.payload("demo", 2, SECOND)))
        self._defer()
        self._quiet("back to 0.1.0", system.replace(self._older))
        self._none("its own bytecode", system.slow_start())
        self._works("back")
        self._quiet("history", system.run(PROGRAM, "history").err)

    def upgrade_once_more(self) -> None:
        """State of both releases is there."""
        self._quiet("upgraded once more", self._system.replace(self._newer))
        self._works("once more", version=4)
        self._runs_idly("once more")

    # -- parts of steps -----------------------------------------------------------------------------------------------

    @property
    def _newer_version(self) -> str:
        (found,) = re.findall(r"pyctrigger[_-](\d[\d.]*\d)[_-]", self._newer.name)
        return str(found)

    def _defer(self) -> None:
        system = self._system
        for version, site in zip(system.versions, system.sites):
            deferring = [PROGRAM, "run", "--defer", "--python", version, "--optimize", _LEVEL, f"{site}/demo"]
            self._quiet("deferred", system.run(*deferring).err)
        self._same("deferred work is pending", (True, set()), (system.pending() > 0, system.asked_for()))

    def _works(self, when: str, version: int = 3) -> None:
        system = self._system
        outcome = system.run(PROGRAM, "run")
        self._quiet(f"a run {when}", outcome.out + outcome.err)
        self._same(f"a run {when}", 0, outcome.code)
        self._quiet(f"a hook {when}", system.replace(system.payload("demo", version, FIRST if version % 2 else SECOND)))
        self._forget_level()
        self._none(f"after a hook {when}", system.faults())
        verified = system.ask("verify", "--compare-code")
        findings = [finding for run in verified["runs"] for finding in run["findings"]]
        self._same(f"verify {when}", (0, []), (verified["exit_code"], findings))

    def _runs_idly(self, when: str) -> None:
        document = self._system.ask("run")
        compiled = [run["counts"]["compiled"] + run["counts"]["refreshed"] for run in document["runs"]]
        self._same(
            f"a run {when} compiles again", (0, [0] * len(self._system.versions)), (document["exit_code"], compiled)
        )

    def _unproven(self, state: str) -> int:
        """Bytecode that no record in this state vouches for."""
        top = self._system.outside("/")
        sources = [path.decode() for site in self._system.sites for path in sources_below(self._system.outside(site))]
        inside = [f"/{Path(path).relative_to(top)}" for path in sources]
        explained = self._system.ask("explain", "--state-dir", state, *inside)
        return json.dumps(explained).count('"unproven"')

    def _forget_level(self) -> None:
        """As `sweep --unwanted` does it, which 0.1.0 doesn't have."""
        for path in self._system.asked_for():
            Path(path.decode()).unlink()

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def _true(self, what: str, found: bool) -> None:
        self._same(what, True, found)

    def _none(self, what: str, found: list[str]) -> None:
        self._same(what, [], found)

    def _quiet(self, what: str, said: str) -> None:
        self._same(f"{what}: it says", [], [line for line in said.splitlines() if _TROUBLE.search(line)])

    def _same(self, what: str, expected: object, found: object) -> None:
        if expected == found:
            self.held += 1
        else:
            self.wrong.append(f"{what}: {found} instead of {expected}")


def _changed(before: dict[bytes, tuple[Any, ...]], after: dict[bytes, tuple[Any, ...]]) -> list[str]:
    return [path.decode() for path, facts in before.items() if after.get(path) != facts]


def _edition(manifest: Path) -> int:
    database = sqlite3.connect(f"file:{manifest}?mode=ro", uri=True)
    try:
        (edition,) = database.execute("pragma user_version").fetchone()
    finally:
        database.close()
    return int(edition)
