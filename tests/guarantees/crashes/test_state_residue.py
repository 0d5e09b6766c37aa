"""What a killed run leaves in the directories of its lock and state: nothing, once another run has ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from packages import write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from confinement import Machine
    from interpreters import Interpreter


def names_below(*tops: Path) -> set[str]:
    """The name of every file."""
    return {name for top in tops for _, _, names in os.walk(top) for name in names}


@pytest.mark.parametrize("calls", ["rename,renameat,renameat2", "fsync"], ids=["unnamed", "unsynced"])
def test_killed_at_each_step_of_each_file(machine: Machine, site: Path, oldest: Interpreter, calls: str) -> None:
    """Between the making of each temporary file and its final name: the next run sweeps it, in every directory."""
    strace = find_tool("strace")
    if strace is None:
        absent("no strace on this machine (Debian package strace)")
    command = machine.command
    scope = ["--python", oldest.path, "--site-dir", str(site)]
    left = {}
    for moment in range(1, 30):
        shutil.rmtree(command.state, ignore_errors=True)
        write_tree(site, {"m.py": f"x = {moment}\n"})
        line = command.command_line("run", ["--hook", *scope, str(site)])
        at = line.index(b"-m") - 1
        options = ["-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={moment}"]
        line[at:at] = map(os.fsencode, [strace, *options])
        code = subprocess.run(line, check=False, capture_output=True).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        write_tree(site, {"m.py": f"x = {moment}, 2\n"})
        assert command.text("run", *scope).code == 0
        left[moment] = {name for name in names_below(machine.locks, command.state) if re.search("tmp|owner", name)}

    assert len(left) >= 4
    assert {moment: set() for moment in left} == left
