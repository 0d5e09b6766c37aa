"""The hook as a separate process, killed if the transaction says so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from processes import children_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from command import Command
    from interpreters import Interpreter

    from .site import Site
    from .steps import Hook

#: Seconds. A hook that takes longer hangs.
PATIENCE = 240.0


class End(NamedTuple):
    """How a process ended."""

    what: str
    """In words."""
    code: int
    err: str
    killed: bool
    seconds: float


def hook_arguments(hook: Hook, interpreter: Interpreter, site: Site) -> tuple[list[str], bytes]:
    """The arguments of one call, and its standard input."""
    arguments = ["--hook", "--python", interpreter.path, "--site-dir", str(site.top), "--event", hook.event]
    arguments += ["--manager", hook.manager] if hook.manager else []
    arguments += ["--jobs", str(hook.jobs)] if hook.jobs else []
    arguments += ["--defer"] if hook.deferred else []
    if hook.told is None:
        return arguments, b""
    return [*arguments, "--paths-from", "-", "--null"], b"\0".join(site.path(path) for path in hook.told)


def run_and_kill(
    command: Command, verb: str, arguments: Sequence[str], stdin: bytes = b"", *, kill: str = "", after: float = 0.0
) -> End:
    """Start a verb, kill it or a part of it after so many seconds, and wait for its end."""
    began = time.monotonic()
    child = subprocess.Popen(
        command.command_line(verb, arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=environment(),
    )
    killer = _Killer(child.pid, kill)
    timer = threading.Timer(after if kill else PATIENCE, killer.kill)
    timer.start()
    try:
        err = child.communicate(stdin)[1].decode(errors="replace")
    finally:
        timer.cancel()
        timer.join()
    return End(verb, child.returncode, err, killer.killed, time.monotonic() - began)


def environment() -> Mapping[str, str]:
    """The caller's, in which programs write bytecode."""
    forbidding = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in forbidding}


class _Killer:
    """Kills a process, what it started, or both."""

    def __init__(self, pid: int, what: str) -> None:
        self._pid = pid
        self._what = what
        self.killed = False

    def kill(self) -> None:
        workers = descendants(self._pid)
        victims = {"host": [self._pid], "worker": workers[-1:], "all": [*workers, self._pid]}.get(self._what)
        for victim in victims if victims is not None else [*workers, self._pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.killed = True


def descendants(pid: int) -> list[int]:
    """What a process has started, and what that has; nothing without a Linux /proc."""
    found = children_of(pid)
    for child in list(found):
        found += descendants(child)
    return found
