"""Tests side by side: the locks of two processes never meet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import separation
from conftest import absent
from environment import CHECKOUT
from system_tools import find_tool

_HERE = os.path.dirname(separation.__file__)
#: Makes a file beside the locks, after saying what there was, and stays until it is told to end.
_KEEP = """
import os, sys
sys.path.insert(0, sys.argv[1])
import separation
separation.separate(sys.argv[2])
from pyctrigger.state.locations import lock_directory, make_own
directory = make_own(lock_directory())
print(sorted(os.listdir(directory)), oct(os.stat(directory).st_mode), flush=True)
open(directory + "/test-separation.lock", "x").close()
print("kept", flush=True)
sys.stdin.read()
"""


def test_two_processes_have_locks_of_their_own(tmp_path: Path) -> None:
    """What one of them keeps neither the other nor this process sees, and nothing of it stays."""
    if not separation.separable():
        absent("the right to mounts of one's own")
    children = []
    try:
        for name in ("one", "two"):
            runtime = tmp_path / name
            runtime.mkdir(mode=0o700)
            command = [sys.executable, "-c", _KEEP, _HERE, str(runtime)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            children.append(child)
            assert child.stdout
            assert [b"[] 0o40700\n", b"kept\n"] == [child.stdout.readline(), child.stdout.readline()]
        if os.geteuid() == 0:
            assert not Path("/run/pyctrigger/test-separation.lock").exists()
    finally:
        for child in children:
            child.communicate()


def test_who_may_not_have_mounts_is_told_so(as_root: None) -> None:
    """Root without the right to them (CAP_SYS_ADMIN), as in a container: an error, and no test."""
    setpriv = find_tool("setpriv") or absent("no setpriv (Debian package util-linux)")
    unable = [setpriv, "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable]

    child = subprocess.run(
        [*unable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", __file__],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    word = "ERROR: as root tests run side by side only where unshare(2) is allowed; leave -n out"
    assert (4, "", word) == (child.returncode, child.stdout.strip(), child.stderr.strip())
