"""An account without an entry and without HOME, as in containers: it has no directory."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from confinement import command_for
from conftest import absent
from packages import pycs_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

#: Nobody's on any system.
STRANGER = 1_912_345_678
NO_STATE = "no state is kept: this account has no home directory; --state-dir names another\n"


def call(program: list[str], *arguments: str | Path) -> tuple[int, str]:
    """Run pyctrigger under that account with an empty environment; how it ended, and what it said on standard error."""
    child = subprocess.run(
        [*program, *arguments],
        env={"PATH": os.defpath},
        cwd="/",
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
        capture_output=True,
        check=False,
        timeout=120,
    )
    return child.returncode, child.stderr.decode()


def test_every_verb_works(as_root: None) -> None:
    """It works without state, and commands that change something say so once."""
    with pytest.raises(KeyError):
        pwd.getpwuid(STRANGER)
    with public_directory() as public:
        command = command_for(STRANGER, public / "unused")
        if command is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        site = write_tree(public / "site", {"module.py": "x = 1\n"})
        for path in (site, site / "module.py"):
            os.chown(path, STRANGER, STRANGER)
        program = [os.fsdecode(part) for part in command.program]
        scope = ["--python", program[0], "--site-dir", str(site)]

        (said,) = {call(program, "run", *scope), call(program, "repair", *scope, "--optimize", "1")}
        assert (0, NO_STATE) == said
        assert 2 == len(pycs_below(site))
        calls: tuple[tuple[str | Path, ...], ...] = (
            ("run", *scope), ("run", "--stateless", *scope), ("verify", *scope),
            ("sweep", *scope), ("status", *scope), ("explain", *scope, site / "module.py"),
            ("which", os.fsdecode(pycs_below(site)[0])), ("history",), ("audit", site), ("run", "--dry-run", *scope),
        )  # fmt: skip
        assert (0, f"pyctrigger: {NO_STATE}") == call(program, "run", "--hook", *scope)  # it would note its work first
        assert dict.fromkeys(calls, (0, "")) == {each: call(program, *each) for each in calls}
        (site / "module.py").write_text("x = 22\n")
        state = public / "state"
        state.mkdir(mode=0o700)
        os.chown(state, STRANGER, STRANGER)
        assert (0, "") == call(program, "run", "--state-dir", state, *scope)
