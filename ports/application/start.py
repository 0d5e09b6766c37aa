"""What the program does before its own command line, and the calls that are for packages alone."""

from __future__ import annotations

import gc
import os
import sys

import own_code

#: Parts of the standard library that some systems package apart, and that no run can do without.
_NEEDED = ("_sqlite3", "fcntl", "json", "select", "shutil", "sqlite3", "subprocess")


def lacking() -> str:
    """Returns what this interpreter lacks to be the host; "" for one that fits."""
    finder = sys.meta_path[-1]
    absent = [name for name in _NEEDED if name not in sys.builtin_module_names and not finder.find_spec(name, None)]
    return f"lacks {', '.join(absent)}" if absent else ""


def main(directory: str, launcher: str, launched: bool) -> int:
    """Run pyctrigger from its directory; its exit code. `launched` says that the `launcher` has started it."""
    own_code.use(directory)
    if sys.argv[1:] == ["--own-bytecode"]:
        _keep_own_bytecode(directory)
        return 0
    if sys.argv[1:] == ["--serves"]:
        return 0 if _serves() else 1
    gc.disable()  # imports make no garbage; main() enables it
    from pyctrigger import interruption

    interruption.watch(ignored=launched and "--hook" in sys.argv)
    from pyctrigger.cli import main as pyctrigger

    code = pyctrigger(program=(launcher,))
    if "--hook" in sys.argv and own_code.is_missing(directory) and os.access(directory, os.W_OK):
        _keep_own_bytecode(directory)  # this host has never run from here: Python was upgraded since
    return code


def _serves() -> bool:
    """Whether hooks compile whatever is installed, as pyctrigger-takeover asks."""
    from pyctrigger.errors import PyctriggerError
    from pyctrigger.run.scope import config

    try:
        return config.load(hook=True).compiles_all
    except PyctriggerError:
        return False


def _keep_own_bytecode(directory: str) -> None:
    """Compile this directory for its host: as pycs, and as one file.

    The pycs have checked hashes: systems that set all times to 0, or unpack an upgrade with the times of before, can't
    make such bytecode stale, and no wrong one is ever taken.
    """
    from pyctrigger.errors import PyctriggerError
    from pyctrigger.pyc.header import InvalidationMode
    from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Work
    from pyctrigger.run.trigger import perform

    own = Request(
        Work.RUN,
        Scope(pythons=(sys.executable,), site_dirs=(os.path.abspath(directory),)),
        Bytecode(optimize=(0,), invalidation_mode=InvalidationMode.CHECKED_HASH, replaces_owned=True),
        running=Running(stateless=True, jobs=1),
    )
    try:
        perform(own)
        own_code.keep(directory)
    except (PyctriggerError, OSError):
        pass  # without bytecode a start takes longer, and that is all
