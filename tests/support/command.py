"""Runs pyctrigger as a user does: a separate process, its exit code, its two streams."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import warm_program
from warm_program import Call, Ended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Argument = Union[str, bytes, "os.PathLike[str]"]

_PROGRAM = [sys.executable, "-m", "pyctrigger"]

#: Verbs that have no option for it.
KEEP_NO_STATE = ("audit", "completion", "hooks", "measure", "store")
#: Seconds. A run that takes longer hangs.
PATIENCE = 300
#: What needs more memory than `leave_little_memory` leaves, and far less than our own limit.
HEAVY = "x = 1\n" * 250_000


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> dict[str, Any]:
        """The only flavour's part of the JSON object."""
        (run,) = self.document["runs"]
        assert isinstance(run, dict)
        return run

    @property
    def counts(self) -> dict[str, int]:
        """The only flavour's numbers."""
        counts = self.run["counts"]
        assert isinstance(counts, dict)
        return counts

    @property
    def failures(self) -> list[dict[str, str]]:
        """The only flavour's failures."""
        failures = self.run["failures"]
        assert isinstance(failures, list)
        return failures

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The only flavour's findings."""
        findings = self.run["findings"]
        assert isinstance(findings, list)
        return findings


#: A host whose clock is two hours ahead: nothing sets a ctime, so no file can be made old, only the clock.
_LATER = (
    "import sys, time; now = time.time; time.time = lambda: now() + 7200; "
    "from pyctrigger.cli import main; sys.exit(main())"
)


def leave_little_memory() -> None:
    """A `preexec_fn`: as `ulimit -v` in the caller. What fails for that reason may succeed another time."""
    resource.setrlimit(resource.RLIMIT_AS, (280 << 20, 280 << 20))


def heed_signals() -> None:
    """A `preexec_fn`: the child ends by these also where we were started with them ignored, by `nohup` or with `&`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Command:
    """`pyctrigger`, with a state directory of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.program = list(_PROGRAM)
        self.warm = tuple(_PROGRAM)
        """The program that is forked where it is the one to be started."""

    def command_line(self, verb: str, arguments: Sequence[Argument]) -> list[bytes]:
        """The whole command line, with `--state-dir` unless the arguments decide about state."""
        line = [os.fsencode(part) for part in [*self.program, verb, *arguments]]
        if verb not in KEEP_NO_STATE and not {b"--state-dir", b"--stateless"} & set(line):
            line[len(self.program) + 1 : len(self.program) + 1] = [b"--state-dir", os.fsencode(self.state)]
        return line

    def text(
        self,
        verb: str,
        *arguments: Argument,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        **options: Any,
    ) -> Outcome:
        """Run it with text output. More `options` go to `subprocess.run` (user, group, preexec_fn, …)."""
        line = self.command_line(verb, arguments)
        environment = {**os.environ, **(env or {})}
        child: Ended | subprocess.CompletedProcess[bytes] | None
        child = self.fork(line, Call([], stdin, environment, os.fsdecode(cwd or os.getcwd()), options))
        if child is None:
            child = subprocess.run(
                line,
                input=stdin,
                capture_output=True,
                env=environment,
                cwd=cwd,
                timeout=PATIENCE,
                check=False,
                **options,
            )
        return Outcome(child.returncode, child.stdout.decode(), child.stderr.decode())

    def fork(self, line: list[bytes], call: Call, patience: float = PATIENCE) -> Ended | None:
        """Run a whole command line in a process that is forked from a warm one; None where it has to be started."""
        if tuple(self.program) != self.warm:
            return None
        return warm_program.run(self.warm, call._replace(arguments=line[len(self.warm) :]), patience)

    def json(self, verb: str, *arguments: Argument, **options: Any) -> Outcome:
        """Run it for a program; the object on standard output is read, and its exit code compared."""
        outcome = self.text(verb, "--json", *arguments, **options)
        assert outcome.out, outcome.err
        document = json.loads(outcome.out)
        hook = b"--hook" in self.command_line(verb, arguments)
        assert document["exit_code"] == outcome.code or hook
        return Outcome(outcome.code, outcome.out, outcome.err, document)

    def start(self, verb: str, *arguments: Argument, **options: Any) -> subprocess.Popen[bytes]:
        """Start it, and leave the waiting to the caller."""
        return subprocess.Popen(
            self.command_line(verb, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )


def hours_later(command: Command) -> Command:
    """The same command two hours from now, with the same state."""
    later = Command(command.state)
    later.program = [sys.executable, "-c", _LATER]
    return later
