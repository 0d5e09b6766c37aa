"""Places that aren't plainly an account's: file systems of users, mapped owners, what others have deep below."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_identity import ALICE, BOB, Stage, give, stage

from confinement import private_mounts
from conftest import absent
from packages import pycs_below, write_tree
from system_tools import find_tool

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
_KEPT_OUT = "it is on a FUSE mount that only its owner can enter; mount it with allow_root, or run it as that account"


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
    """Named with a hint; the rest is done, in a place of root's or the account's."""
    site = write_tree(stage.top / "home", {"own.py": "x = 1\n", "site/pkg/m.py": ""})
    give(site, owner)
    with closed_mount(stage.top / at):
        outcome = stage.command.json("run", *stage.scope(site))
        verified = stage.command.json("verify", *stage.scope(site))
    failures = [(str(stage.top / at.removesuffix("/__pycache__")), "refused", _KEPT_OUT)]
    assert failures == [(each["path"], each["kind"], each["message"]) for each in outcome.failures]
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert failures == [(each["path"], each["kind"], each["message"]) for each in verified.failures]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "allow_other"), None),
        (("--force-user={BOB}", "--force-group={BOB}"), None),
        (
            ("--force-user=root",),
            "it belongs to account 0, and account {BOB}, in whose directory it lies, may not write",
        ),
        (("--chmod-deny", "--chown-deny"), None),
    ],
)
def test_a_file_system_that_lets_root_in_has_its_own_word(
    stage: Stage, options: tuple[str, ...], said: str | None
) -> None:
    """What the account may do is done, and the rest is refused, whatever root could do there."""
    bindfs = find_tool("bindfs") or absent("no bindfs (Debian package bindfs)")
    behind, site = write_tree(stage.top / "behind", {"pkg/m.py": "x = 1\n"}), stage.top / "home/site"
    site.mkdir(parents=True)
    give(stage.top / "home", BOB)
    give(behind, BOB)
    named = " ".join([bindfs, *(each.format(BOB=BOB) for each in options), str(behind), str(site)])
    with private_mounts(f"test -c /dev/fuse; {named}") as inside:
        stage.command.program = [*inside, *stage.command.program]
        outcome = stage.command.json("run", *stage.scope(site))
        found = [(each["kind"], each["message"][: len(said or "")]) for each in outcome.failures]
    assert ([] if said is None else [("refused", said.format(BOB=BOB))]) == [(kind, text) for kind, text in found]
    assert ([BOB] if said is None else []) == [os.stat(pyc).st_uid for pyc in pycs_below(behind)]


def test_deep_below_each_first_stranger_has_a_say(stage: Stage) -> None:
    """Bob's, far below root's, is done as he; a second account's, or root's, below that is refused, named once."""
    site = write_tree(
        stage.top / "site",
        {
            "pkg/a/m.py": "",
            "pkg/a/b/bobs/m.py": "",
            "pkg/a/b/bobs/c/d/m.py": "",
            "pkg/a/b/bobs/c/alices/m.py": "",
            "pkg/a/b/bobs/c/alices/bobs/m.py": "",
            "pkg/a/b/bobs/c/roots/e/m.py": "",
            "pkg/a/alices/m.py": "",
        },
    )
    bobs = give(site / "pkg/a/b/bobs", BOB)
    give(bobs / "c/alices", ALICE)
    give(bobs / "c/alices/bobs", BOB)
    give(bobs / "c/roots", 0)
    give(site / "pkg/a/alices", ALICE)

    outcome = stage.command.json("run", *stage.scope(site))

    refused = [f"{bobs}/c/alices", f"{bobs}/c/roots"]
    assert [(path, "refused") for path in refused] == sorted((each["path"], each["kind"]) for each in outcome.failures)
    owners = {
        os.fsdecode(pyc)[len(str(site)) + 1 :].partition("/__pyc")[0]: os.stat(pyc).st_uid for pyc in pycs_below(site)
    }
    assert {
        "pkg/a": 0,
        "pkg/a/b/bobs": BOB,
        "pkg/a/b/bobs/c/d": BOB,
        "pkg/a/b/bobs/c/alices/bobs": BOB,
        "pkg/a/alices": ALICE,
    } == owners


def test_what_is_made_has_the_group_of_its_directory(stage: Stage) -> None:
    """A pycache prefix and hooks, too: an account without an entry acts with an unused group, a new one each time."""
    site, home = write_tree(stage.top / "site", {"m.py": "x = 1\n"}), stage.top / "home"
    (home / "root").mkdir(parents=True)
    give(home, BOB)
    prefix = ["--pycache-prefix", str(home / "new/prefix")]
    assert 0 == stage.command.text("run", "--hook", *stage.scope(site), *prefix).code
    where = [
        "--manager",
        "pacman",
        "--python",
        "3.11",
        "--root",
        str(home / "root"),
        "--state-dir",
        str(stage.top / "s"),
    ]
    assert 0 == stage.command.text("hooks", "install", "--manager", "pacman", "--python", "3.11", *where).code
    found = [path for path in home.rglob("*") if path not in (home, home / "root")]
    assert {(BOB, BOB)} == {(status.st_uid, status.st_gid) for status in map(os.lstat, found)}
    assert {".pyc", ".hook"} <= {path.suffix for path in found}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("u:{BOB}:rwx", "account {BOB} may write {path}, which is root's: it decides"),
        ("g:{BOB}:rwx", "group {BOB} may write {path}, which is root's: its members decide"),
        ("u:{BOB}:rx", None),
        ("m::rx,u:{BOB}:rwx", None),
    ],
)
def test_whom_an_access_list_lets_write_is_told(stage: Stage, entry: str, said: str | None) -> None:
    """Like a group that may write: the rights of such an entry are in the group's mode bits."""
    setfacl = find_tool("setfacl") or absent("no setfacl (Debian package acl)")
    site = write_tree(stage.top / "site", {"pkg/m.py": "x = 1\n"})
    subprocess.run([setfacl, "-m", entry.format(BOB=BOB), site / "pkg"], check=True)

    outcome = stage.command.json("run", *stage.scope(site))

    told = [notice for notice in outcome.run["notices"] if "may write" in notice]
    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    wanted = [] if said is None else [said.format(BOB=BOB, path=site / "pkg")]
    assert wanted == [notice.partition(" what root imports")[0] for notice in told]


#: Holds a lease on each file: who opens one waits for 45 s, unless he says that he doesn't (fcntl(2), F_SETLEASE).
_LEASES = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = [os.open(name, os.O_RDWR) for name in sys.argv[1:]]
for descriptor in held:
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
sys.stdin.read()
"""


def test_nobody_waits_for_a_lease(stage: Stage) -> None:
    """On his source and on his pyc: what can't be had at once is a failure, or replaced."""
    if not sys.platform.startswith("linux"):
        absent("leases")
    site = give(write_tree(stage.top / "site", {"a.py": "x = 1\n", "b.py": "y = 1\n"}), BOB)
    assert 0 == stage.command.json("run", *stage.scope(site)).code
    give(write_tree(site, {"a.py": "x = 22\n", "b.py": "y = 22\n"}), BOB)
    leased = [str(site / "a.py"), *(os.fsdecode(pyc) for pyc in pycs_below(site))]
    command = ["/usr/bin/python3", "-I", "-c", _LEASES, *leased]
    with subprocess.Popen(
        command, user=BOB, group=BOB, extra_groups=[], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert b"ready\n" == holder.stdout.readline()
        began = time.monotonic()
        outcome = stage.command.json("run", *stage.scope(site))
        elapsed = time.monotonic() - began
        holder.communicate(b"")
    assert [(f"{site}/a.py", "io")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert elapsed < 40
