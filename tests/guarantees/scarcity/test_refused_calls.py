"""System calls that the kernel refuses, as in containers and sandboxes: one protection less, and all of the work."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from packages import not_fresh, sources_below, write_tree
from refusals import can_refuse, refusing

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: What a run would like to have, and what it says when it has not.
WITHOUT = {
    "sched_getaffinity": "",
    "setitimer": "this system refuses setitimer: a source that needs too much is stopped later\n",
    "prlimit64": "this system refuses setrlimit: a source that needs too much is stopped later\n",
    "fstatfs": "",
    "setsid": "",
    "syncfs": "",
    "fsync": "",
    "fchmod": "",
    "getrusage": "",
    "writev": "",
    "ioctl": "",
    "flock": "no lock is available ({reason}): continuing as with --stateless\n",
}
#: What it did without all along, alone; here beside all others.
UNMISSED = (
    "statfs",
    "prctl",
    "unshare",
    "setns",
    "setgroups",
    "setresuid",
    "fchown",
    "fgetxattr",
    "fsetxattr",
    "linkat",
    "getrandom",
    "memfd_create",
    "pidfd_open",
    "kill",
)
#: Two equal sets are what 3.12 and later compile in a fork.
SOURCE = "def one(a):\n    assert a\n    return a in {1, 2}\n\ndef other(a):\n    return a in {1, 2}\n"


@pytest.fixture(autouse=True)
def _filters() -> None:
    if not can_refuse():
        absent("a Linux with seccomp whose numbers of system calls are known")


@pytest.mark.parametrize("call", WITHOUT)
def test_without_one_call_everything_is_compiled(
    pyctrigger: Command, site: Path, newest: Interpreter, call: str
) -> None:
    """Whatever error the kernel returns; what isn't available is one line, and the next run finds nothing wrong."""
    options = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1"]
    write_tree(site, {f"package/module{number}.py": SOURCE for number in range(3)})

    first = pyctrigger.json("run", *options, preexec_fn=refusing(call, number=errno.EPERM))
    write_tree(site, {"package/later.py": SOURCE})
    second = pyctrigger.json("run", *options, preexec_fn=refusing(call, number=errno.ENOSYS))

    said = [WITHOUT[call].format(reason=reason) for reason in ("Operation not permitted", "Function not implemented")]
    assert [(0, 3, 0), (0, 1, 3)] == [
        (each.code, each.counts["compiled"], each.counts["fresh"]) for each in (first, second)
    ]
    assert said == [first.err, second.err]
    assert [] == not_fresh(newest, sources_below(site))
    assert [] == list(pyctrigger.state.glob("*/journal/*.json"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_without_all_of_them_every_target_is_served(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], number: int
) -> None:
    """A hook's run, too: nothing is called a fact about a source, and nothing is left to do."""
    forking = [each for each in interpreters if each.version >= (3, 12) or each.implementation == "pypy"]
    targets = forking or interpreters[-1:]
    # CPython itself closes and keeps descriptors by ioctl(2) where other ways fail.
    calls = [call for call in (*WITHOUT, *UNMISSED) if call != "ioctl"]
    pythons = [option for each in targets for option in ("--python", each.path)]
    write_tree(site, {f"package/module{number}.py": SOURCE for number in range(3)})

    outcome = pyctrigger.json("run", "--hook", *pythons, "--site-dir", site, preexec_fn=refusing(*calls, number=number))

    assert [3 for _ in targets] == [run["counts"]["compiled"] for run in outcome.document["runs"]], outcome.out
    verified = pyctrigger.json("verify", *pythons, "--site-dir", site)
    assert (0, [[] for _ in targets]) == (verified.code, [run["findings"] for run in verified.document["runs"]])
    assert [] == list(pyctrigger.state.glob("*/journal/*.json"))


def test_a_source_that_cannot_be_compiled_is_still_named(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """What the compiler says of a source is remembered, also where access(2) would call its library unreadable."""
    options = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"good.py": SOURCE, "bad.py": "x = = 1\n"})

    refuse = refusing("access", "faccessat", "faccessat2", "getrusage")
    first, second = (pyctrigger.json("run", *options, preexec_fn=refuse) for _ in range(2))

    assert [("syntax", "line 1, SyntaxError")] == [(each["kind"], each["message"]) for each in first.failures]
    assert (1, 0) == (first.code, second.code)
    assert (1, 1) == (second.counts["fresh"], second.counts["skipped"])


@pytest.mark.parametrize("call", ["poll", "wait4"])
def test_a_hook_that_can_start_nobody_keeps_its_work(
    pyctrigger: Command, site: Path, newest: Interpreter, call: str
) -> None:
    """Without these a child can't be watched: that is a temporary failure of the interpreter, not a defect."""
    options = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"package/module.py": SOURCE})

    hook = pyctrigger.text("run", "--hook", *options, site / "package", preexec_fn=refusing(call, number=errno.EPERM))

    assert (0, True) == (hook.code, f"the next run with --python {newest.path} does it" in hook.err), hook.err
    later = pyctrigger.json("run", *options, "")
    assert (0, 1) == (later.code, later.counts["compiled"])
