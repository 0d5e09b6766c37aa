"""Carries transactions out, one after the other, and has what is left judged after each."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from interpreters import tag_of

from . import invariants
from .hook import End, hook_arguments, run_and_kill
from .steps import Changes, Damage, GoBack, KeepCopy, Lose, Round, Strangers, in_words
from .witnesses import Importer, Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

    from .site import Site, Snapshot
    from .steps import Hook, Step
    from .transaction import Drawing

#: Every so many transactions `verify` is asked, too.
_VERIFIED = 4


class BrokenInvariant(Exception):
    """Something isn't as it has to be."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Places:
    """Where a soak has its files."""

    def __init__(self, work: Path, locks: Path) -> None:
        self.work = work
        self.tree = work / "tree"
        """Perhaps a file system of its own."""
        self.outside = work / "outside"
        self.state = work / "state"
        self.copies = work / "copies"
        self.locks = locks


class Runner:
    """One soak. `say` gets a line for each step."""

    def __init__(
        self, command: Command, places: Places, site: Site, interpreters: list[Interpreter], say: Callable[[str], None]
    ) -> None:
        self._command = command
        self._places = places
        self._site = site
        self._interpreters = interpreters
        self._say = say
        self._judges = [Judge(each) for each in interpreters]
        self._tree_copy: Snapshot | None = None
        self._damaged: set[str] = set()
        #: Seconds that a hook takes, on this machine at this time.
        self._usual = 0.5
        self._faults: list[str] = []
        self._number = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self._outside = invariants.outside_of(places.outside)

    def close(self) -> None:
        """End the judges."""
        for judge in self._judges:
            judge.close()

    def transact(self, number: int, drawing: Drawing) -> None:
        """Draw a transaction and carry it out. Raises BrokenInvariant."""
        self._number = number
        kind, steps = drawing.draw(number, self._site)
        self._say(f"transaction {number}: {kind}")
        self.counts["transactions"] += 1
        for step in [*steps, drawing.quiet_round()]:
            self._say(f"  {in_words(step)}")
            self._carry_out(step)
        self._judge()

    # -- steps -------------------------------------------------------------------------------------------------------

    def _carry_out(self, step: Step) -> None:
        if isinstance(step, Changes):
            self._site.change(step.changes)
        elif isinstance(step, Strangers):
            for path, data in step.files:
                self._site.add_stranger(path, data)
        elif isinstance(step, Round):
            self._round(step)
        elif isinstance(step, KeepCopy):
            self._keep_copy(step.of)
        elif isinstance(step, Lose):
            self.counts["states lost"] += 1
            shutil.rmtree(self._places.state, ignore_errors=True)
        elif isinstance(step, GoBack):
            self._go_back(step)
        else:
            self._damage(step)

    def _keep_copy(self, of: str) -> None:
        self._places.copies.mkdir(exist_ok=True)
        if of == "tree":
            self._tree_copy = self._site.snapshot(self._places.copies / "tree")
            return
        shutil.rmtree(self._places.copies / "state", ignore_errors=True)
        if self._places.state.is_dir():
            shutil.copytree(self._places.state, self._places.copies / "state")

    def _go_back(self, step: GoBack) -> None:
        self.counts["rollbacks"] += 1
        if step.of == "tree":
            assert self._tree_copy
            self._site.go_back(self._tree_copy, synchronise=step.synchronised)
            return
        shutil.rmtree(self._places.state, ignore_errors=True)
        copy = self._places.copies / "state"
        if copy.is_dir():
            shutil.copytree(copy, self._places.state)

    def _damage(self, step: Damage) -> None:
        pattern = "*/manifest.sqlite" if step.what == "manifest" else "*/journal/*.json"
        for path in sorted(self._places.state.glob(pattern)):
            self.counts["damages"] += 1
            if step.what == "journal":
                self._damaged.add(path.name)
            where = int(path.stat().st_size * step.where)
            with open(path, "r+b") as file:
                if step.cut:
                    file.truncate(where)
                else:
                    file.seek(where)
                    file.write(b"damaged " * 100)

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _round(self, step: Round) -> None:
        importers = [
            (Importer(self._interpreters[flavour], self._site, f"{self._number}/{flavour}"), kill)
            for flavour, kill in step.importers
        ]
        self.counts["importers"] += len(importers)
        with self._little_room(step.free), ThreadPoolExecutor(len(step.hooks) + len(step.persons)) as executor:
            persons = [executor.submit(self._person, *each) for each in step.persons]
            if step.at_once:
                hooks = [executor.submit(self._hook, hook) for hook in step.hooks]
                self._site.change(step.changes)
                ends = [hook.result() for hook in hooks]
            else:
                ends = [self._hook(hook) for hook in step.hooks]
                self._site.change(step.changes)
            ends += [person.result() for person in persons]
        for end in ends:
            self._note(end)
        for importer, kill in importers:
            imports, torn = importer.end(kill=kill)
            self.counts["imports"] += imports
            # What importers of their own kind leave on a full disk is CPython's: see `_write_atomic` before 3.13.1.
            self._faults += torn if step.free is None else []
        if self._faults:
            raise BrokenInvariant(self._faults)

    @contextlib.contextmanager
    def _little_room(self, free: int | None) -> Iterator[None]:
        """Fill the file system of the tree, and empty it again."""
        if free is None:
            yield
            return
        self.counts["full disks"] += 1
        ballast = self._places.tree / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                left = os.statvfs(self._places.tree)
                os.posix_fallocate(file.fileno(), 0, max(1, left.f_bavail * left.f_frsize - free))
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def _hook(self, hook: Hook) -> End:
        interpreter = self._interpreters[hook.flavour]
        arguments, stdin = hook_arguments(hook, interpreter, self._site)
        end = run_and_kill(self._command, "run", arguments, stdin, kill=hook.kill, after=hook.when * self._usual)
        what = f"hook {interpreter.flavour}"
        return end._replace(what=f"{what}, {hook.kill} to be killed" if hook.kill else what)

    def _person(self, verb: str, flavour: int) -> End:
        scope = ["--python", self._interpreters[flavour].path, "--site-dir", str(self._site.top)]
        end = run_and_kill(self._command, verb, scope)
        return end._replace(what=f"{verb} {self._interpreters[flavour].flavour}")

    def _note(self, end: End) -> None:
        is_hook = end.what.startswith("hook")
        self.counts["hooks" if is_hook else "persons"] += 1
        self.counts["kills"] += end.killed
        self._say(f"    {end.what}: {end.code} after {end.seconds:.2f} s{' killed' if end.killed else ''}")
        for line in end.err.splitlines():
            self._say(f"      {line}")
        if is_hook and not end.killed:
            self._usual = 0.8 * self._usual + 0.2 * end.seconds
        if not (end.killed and "killed" in end.what) and end.code not in ((0,) if is_hook else (0, 1)):
            self._faults.append(f"{end.what} ended with {end.code}: {end.err[-2000:]}")
        if "Traceback" in end.err or "defect" in end.err:
            self._faults.append(f"{end.what} said {end.err[-2000:]}")

    # -- judging -----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Raises BrokenInvariant."""
        for judge in self._judges:
            judge.ask(self._site)
        faults = list(invariants.tree_faults(self._site))
        for judge in self._judges:
            findings, good = judge.answer()
            self.counts["judged pycs"] += good
            tag = tag_of(judge.interpreter)
            faults += [f"{tag}: {kind}: {os.fsdecode(path)!r}" for kind, path in findings]
        faults += invariants.state_faults(self._places.state, len(self._interpreters), self._damaged)
        faults += invariants.lock_faults(self._places.locks, len(self._interpreters))
        faults += invariants.process_faults([judge.process.pid for judge in self._judges])
        if self._outside != invariants.outside_of(self._places.outside):
            faults.append(f"something outside of the site directory has changed, below {self._places.outside}")
        if not faults and self._number % _VERIFIED == 0:
            faults += self._verify(self._interpreters[self._number // _VERIFIED % len(self._interpreters)])
        if faults:
            raise BrokenInvariant(faults)

    def _verify(self, interpreter: Interpreter) -> Iterator[str]:
        """pyctrigger's own judgement has to be the judges': there is nothing but what can't be compiled."""
        outcome = self._command.json("verify", "--python", interpreter.path, "--site-dir", self._site.top)
        self.counts["verifications"] += 1
        findings = [each for each in outcome.findings if each["kind"] != "uncompilable"]
        if findings or outcome.document["errors"] or outcome.code not in (0, 1):
            yield f"verify of {interpreter.flavour}: {outcome.code} {json.dumps(findings)} {outcome.err}"
