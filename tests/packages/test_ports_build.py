"""`ports/build` as a command: what it refuses."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from environment import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAINTAINER = "Some One <someone@example.org>"


@pytest.mark.parametrize(
    "arguments",
    [
        ("freebsd", "--maintainer", "nobody"),
        ("freebsd", "--prefix", "/opt"),
        ("deb", "--maintainer", "someone@example.org"),
        ("deb", "--stage", "--localbase", "/opt"),
        ("freebsd", "--stage", "--prefix", "opt"),
        ("freebsd", "--stage", "--localbase", "/opt/../etc"),
        ("freebsd", "--stage", "--prefix", "/a b"),
        ("rpm", "--source"),
        ("all", "--source"),
        ("arch", "--debhelper"),
        ("deb", "--source", "--stage"),
        ("deb", "--debhelper", "--source"),
        ("deb", "--debhelper", "--maintainer", MAINTAINER),
        ("deb", "--source", "--maintainer", "nobody"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: Sequence[str]) -> None:
    """With a reason, and before anything is written."""
    out = tmp_path / "out"
    command = [sys.executable, str(CHECKOUT / "ports/build"), arguments[0], str(out), *arguments[1:]]

    made = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (made.returncode in (1, 2), made.stdout) == (True, "")
    assert made.stderr.splitlines()[-1].startswith("ports/build: ")
    assert not out.exists() or [*out.iterdir()] == []
