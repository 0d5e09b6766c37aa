"""Places that aren't plainly an account's: file systems of users, mapped owners, what others have deep below."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from packages import write_tree
from test_identity import BOB, Stage, give, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["stage"]

pytestmark = pytest.mark.usefixtures("as_root")

#: Mounts a file system of an account's that nobody serves, until its input ends: others aren't let in anyway.
_FUSE = """
import ctypes, os, sys
device, libc = os.open("/dev/fuse", os.O_RDWR), ctypes.CDLL(None)
options = f"fd={device},rootmode=40000,user_id={sys.argv[2]},group_id={sys.argv[2]}"
print(libc.mount(b"none", os.fsencode(sys.argv[1]), b"fuse", ctypes.c_ulong(0), options.encode()), flush=True)
sys.stdin.read()
libc.umount2(os.fsencode(sys.argv[1]), 2)
"""
_KEPT_OUT = (
    "it lies on a FUSE mount that lets in nobody but its owner; mount it with allow_root, or run it as that account"
)


@contextmanager
def closed_mount(at: Path) -> Iterator[None]:
    """One of Bob's, without allow_root."""
    if not os.path.exists("/dev/fuse"):
        absent("/dev/fuse")
    at.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", _FUSE, str(at), str(BOB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as mount:
        assert mount.stdout
        if mount.stdout.readline() != b"0\n":
            absent("the right to mount FUSE")
        try:
            yield
        finally:
            mount.communicate(b"")


@pytest.mark.parametrize("verb", ["run", "verify", "repair", "sweep"])
def test_a_fuse_mount_that_keeps_root_out_says_so(stage: Stage, verb: str) -> None:
    """Its kernel side compares the real ids, too, which stay root's: refused, and not called missing."""
    with closed_mount(stage.top / "home/site"):
        outcome = stage.command.text(verb, *stage.scope(stage.top / "home/site"))
    assert (77, True) == (outcome.code, _KEPT_OUT.partition(";")[0] in outcome.err)


@pytest.mark.parametrize("at", ["home/site", "home/site/pkg", "home/site/pkg/__pycache__"])
@pytest.mark.parametrize("owner", [0, BOB])
def test_one_further_down_is_a_failure(stage: Stage, owner: int, at: str) -> None:
    """Named with what mends it, where the rest is done, in a place of root's or the account's."""
    site = write_tree(stage.top / "home", {"own.py": "x = 1\n", "site/pkg/m.py": ""})
    give(site, owner)
    with closed_mount(stage.top / at):
        outcome = stage.command.json("run", *stage.scope(site))
        verified = stage.command.json("verify", *stage.scope(site))
    failures = [(str(stage.top / at.removesuffix("/__pycache__")), "refused", _KEPT_OUT)]
    assert failures == [(each["path"], each["kind"], each["message"]) for each in outcome.failures]
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert failures == [(each["path"], each["kind"], each["message"]) for each in verified.failures]
