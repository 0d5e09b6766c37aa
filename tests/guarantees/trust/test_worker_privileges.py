"""What a worker may do: nothing, with an account of its own, without a network, and with no way to more rights.

The interpreter is a script that says whose process it is before it becomes the real one, through a FIFO: a worker may
write into no file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from children import public_directory
from command import Command
from confinement import SLOW, private_mounts, wait_for
from conftest import absent
from packages import not_fresh, pycs_below, sources_below, write_tree
from processes import children_of
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

ALICE, BOB = 64501, 64502
MEND = "let everybody read and execute it and its standard library, or name another interpreter with --python PATH"
#: What root leases to its workers.
LEASED = range(2_000_200_001, 2_147_352_576)
WESTERN = "# -*- coding: cp1252 -*-\nword = 'caf\u00e9'\n"

pytestmark = pytest.mark.usefixtures("as_root")


class Process(NamedTuple):
    """What a process was when it became the interpreter."""

    uid: int
    gid: int
    groups: str
    no_new_privileges: str
    network: str


class Stage:
    """An interpreter at `/mnt/door/python`, which other accounts reach unless the door is shut, and a witness."""

    def __init__(self, top: Path, command: Command, interpreter: Interpreter) -> None:
        self.top = top
        self.command = command
        self.real = interpreter
        self.inside = "/mnt/door/python/" + os.path.relpath(interpreter.path, interpreter.prefix)
        self.python = top / "python"
        fifo = top / "witness"
        os.mkfifo(fifo)
        fifo.chmod(0o666)
        self._witness = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.python.write_text(
            "#!/bin/sh\n"
            "given_up=$(sed -n 's/^NoNewPrivs:[^0-9]*//p' /proc/self/status)\n"
            f'echo "$# $(id -u) $(id -g) $(id -G | tr " " ,) $given_up $(readlink /proc/self/ns/net)" >{fifo}\n'
            "export LD_LIBRARY_PATH=/mnt/door/python/lib\n"  # libpython is looked for where it was built, else
            f'exec {self.inside} "$@"\n'
        )
        self.python.chmod(0o755)

    def close(self) -> None:
        os.close(self._witness)

    def site(self, name: str, owner: int, files: dict[str, str]) -> Path:
        """A site directory, all of it of one owner."""
        site = write_tree(self.top / name, files)
        for directory, _, names in os.walk(site):
            for path in (directory, *(os.path.join(directory, each) for each in names)):
                os.chown(path, owner, owner)
        return site

    def scope(self, *sites: Path) -> list[str]:
        """The options for the interpreter on these site directories."""
        return ["--python", str(self.python), *(part for site in sites for part in ("--site-dir", str(site)))]

    def workers(self) -> list[Process]:
        """The workers that were started since the last question; a probe has fewer arguments."""
        try:
            lines = os.read(self._witness, 1 << 16).decode().splitlines()
        except BlockingIOError:
            return []
        found = [line.split() for line in lines]
        return [Process(int(uid), int(gid), *more) for count, uid, gid, *more in found if int(count) > 8]

    def knows(self, interpreter: Interpreter, *sites: Path) -> bool:
        """Whether the real interpreter takes every pyc of these site directories."""
        return [] == not_fresh(interpreter, [source for site in sites for source in sources_below(site)])


@contextmanager
def staged(interpreter: Interpreter, more: str = "", *, door: str = "chmod 0755 /mnt/door") -> Iterator[Stage]:
    """A stage where `door` decides who may reach the interpreter, and `more` is done to it."""
    script = f"""
        mount -t tmpfs none /mnt; chmod 0755 /mnt; mkdir -p /mnt/door/python
        mount --bind {interpreter.prefix} /mnt/door/python
        {more}
        {door}
    """
    with public_directory() as top:
        mounts = private_mounts(script)
        with mounts as inside:
            command = Command(top / "state")
            command.program = [*inside, *command.program]
            stage = Stage(top, command, interpreter)
            try:
                yield stage
            finally:
                stage.close()


def own_network() -> str:
    """Ours."""
    return os.readlink("/proc/self/ns/net")


@pytest.fixture
def network_can_be_left() -> bool:
    """Whether this system lets root make network namespaces: many containers don't."""
    unshare = find_tool("unshare")
    if unshare is None:
        absent("no unshare (Debian package util-linux)")
    return subprocess.run([unshare, "--net", "true"], capture_output=True, check=False).returncode == 0


# -- what compiles ---------------------------------------------------------------------------------------------------


def test_each_worker_has_an_account_of_its_own(interpreter: Interpreter, network_can_be_left: bool) -> None:
    """Whoever owns a tree: an unused id, its group, no other group, no network and no way back."""
    with staged(interpreter) as stage:
        files = {"module.py": "", "western.py": WESTERN.encode().decode("latin-1"), "package/module.py": ""}
        trees = {owner: stage.site(f"site{owner}", owner, files) for owner in (ALICE, 0, BOB)}

        outcome = stage.command.json("run", *stage.scope(*trees.values()), "--jobs", "2")

        assert (0, 9, []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
        workers = stage.workers()
        assert len(workers) >= len(trees)
        assert len(workers) == len({each.uid for each in workers})
        assert [] == [each for each in workers if each.uid not in LEASED or each.gid != each.uid]
        assert {str(each.uid) for each in workers} == {each.groups for each in workers}
        assert {"1"} == {each.no_new_privileges for each in workers}
        if network_can_be_left:
            assert own_network() not in {each.network for each in workers}
        assert stage.knows(interpreter, *trees.values())
        owners = {path: os.lstat(path).st_uid for path in pycs_below(stage.top)}
        assert owners == {path: owner for owner, site in trees.items() for path in pycs_below(site)}


@pytest.mark.parametrize("owner", [ALICE, 0])
@pytest.mark.parametrize("mode", ["0755", "0700"], ids=["everybody's", "root's alone"])
def test_a_running_worker(newest: Interpreter, network_can_be_left: bool, mode: str, owner: int) -> None:
    """Read from the kernel while it compiles: identities, capabilities, limits, network; nothing of root's is left."""
    with staged(newest, door=f"chmod {mode} /mnt/door") as stage:
        site = stage.site("site", owner, {"slow.py": SLOW})
        with stage.command.start("run", *stage.scope(site), "--jobs", "1") as child:
            try:
                assert wait_for(lambda: bool(ready_workers(child.pid, stage.inside)))
                (worker,) = ready_workers(child.pid, stage.inside)
                status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
                limits = Path(f"/proc/{worker}/limits").read_text().splitlines()
                network = os.readlink(f"/proc/{worker}/ns/net")
                working = os.readlink(f"/proc/{worker}/cwd")
            finally:
                child.kill()

    ids = {*status["Uid"].split(), *status["Gid"].split()}
    assert 1 == len(ids)
    assert all(int(each) in LEASED for each in ids)
    assert ids >= set(status["Groups"].split())
    assert {0} == {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert "1" == status["NoNewPrivs"]
    assert "/" == working
    bounds = {line[:25].strip(): line[25:].split()[:2] for line in limits[1:]}
    assert {("0", "0")} == {tuple(bounds[f"Max {what}"]) for what in ("core file size", "file size")}
    assert ["0", "0"] == bounds["Max open files"]
    assert ["2", "2"] == bounds["Max processes"]
    assert [str(2 << 30)] * 2 == bounds["Max address space"]
    assert (network != own_network()) is network_can_be_left


def ready_workers(host: int, executable: str) -> list[int]:
    """The children, behind whatever entered the mounts, that have become the interpreter and set their own limits."""
    found = []
    for child in children_of(host):
        found += ready_workers(child, executable)
        try:
            is_worker = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0] == os.fsencode(executable)
            slow = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11]) > 20
        except OSError:
            continue
        if is_worker and slow:  # 0.2 s of CPU time: the start is long over, and the compilation isn't
            found.append(child)
    return found


def test_the_caller_keeps_its_network_and_its_rights(newest: Interpreter, tmp_path: Path, site: Path) -> None:
    """A program that uses the library keeps its rights, whatever its workers have given up."""
    write_tree(site, {"module.py": ""})
    program = f"""
import os, pyctrigger
def known():
    status = open("/proc/self/status").read()
    return os.readlink("/proc/self/ns/net"), status[status.index("NoNewPrivs"):].split()[1]
before = known()
report = pyctrigger.run_trigger({newest.path!r}, None, site_dirs=[{str(site)!r}], state_dir={str(tmp_path / "s")!r})
assert report.as_dict()["runs"][0]["counts"]["compiled"] == 1
assert before == known(), (before, known())
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)

    assert (0, b"") == (child.returncode, child.stderr)


# -- an interpreter that nobody else can run -------------------------------------------------------------------------


def assert_no_file_is_blamed(stage: Stage, message: str) -> None:
    """Exit 69 with the account and a hint; no file failed, nothing was written, nothing is remembered."""
    site = stage.site("site", ALICE, {"module.py": "", "western.py": "", "package/module.py": ""})
    (site / "western.py").write_bytes(WESTERN.encode("cp1252"))

    outcome = stage.command.json("run", *stage.scope(site), "--jobs", "1")
    assert 69 == outcome.code
    assert ([], [], 0) == (outcome.failures, outcome.findings, outcome.counts["failed"])
    again = stage.command.text("run", *stage.scope(site), "--jobs", "1")
    assert (69, []) == (again.code, pycs_below(site))
    assert message in again.err
    assert again.err.endswith(f"; {MEND}\n")
    assert [] == [each for each in stage.workers() if each.uid not in LEASED]


def test_an_interpreter_that_only_root_can_reach(interpreter: Interpreter) -> None:
    """As in root's home: it starts as root, and has no rights any more when the first source comes, whoever owns it."""
    everyday = "# coding: cp1252\nword = 'caf\u00e9'\n".encode("cp1252")
    rare = "# coding: koi8-r\nword = '\u0434\u0430'\n".encode("koi8-r")
    named = b"word = '\\N{EM DASH}'\n"
    with staged(interpreter, door="chmod 0700 /mnt/door") as stage:
        names = ("a.py", "b.py", "c.py", "d.py", "package/module.py")
        sites = [stage.site(f"site{owner}", owner, dict.fromkeys(names, "")) for owner in (ALICE, 0)]
        for site in sites:
            for name, source in zip(names, (everyday, rare, rare, named)):
                (site / name).write_bytes(source)

        outcome = stage.command.json("run", *stage.scope(*sites), "--jobs", "1")

        assert (0, 10, []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
        assert stage.knows(stage.real, *sites)
        workers = stage.workers()
        assert (True, {0}) == (len(workers) >= len(sites), {each.uid for each in workers})


def encodings_of(interpreter: Interpreter) -> str:
    """Where its codecs lie, below its prefix."""
    question = "import encodings, os; print(os.path.dirname(encodings.__file__))"
    child = subprocess.run([interpreter.path, "-I", "-S", "-c", question], capture_output=True, check=True)
    return os.path.relpath(os.path.realpath(child.stdout.decode().strip()), interpreter.prefix)


@pytest.mark.few_targets
@pytest.mark.parametrize("what", ["a codec", "the codecs"])
def test_a_standard_library_that_can_t_be_read(interpreter: Interpreter, what: str) -> None:
    """Whether the interpreter can't start, or only finds out at a source that its encoding is "unknown"."""
    codecs = f"/mnt/door/python/{encodings_of(interpreter)}"
    close = {
        "a codec": f"""
            mkdir -m 0755 /mnt/codecs; cp -R {codecs}/. /mnt/codecs
            rm -rf /mnt/codecs/__pycache__; chmod 0600 /mnt/codecs/cp1252.py; mount --bind /mnt/codecs {codecs}
        """,
        "the codecs": f"mkdir -m 0755 /mnt/codecs; cp -R {codecs}/. /mnt/codecs; chmod 0700 /mnt/codecs; "
        f"mount --bind /mnt/codecs {codecs}",
    }[what]
    with staged(interpreter, close) as stage:
        message = {
            "a codec": f"{stage.python}: an unprivileged account can't read all of its standard library; ",
            "the codecs": f"{stage.python} can't run a worker: ",
        }[what]
        assert_no_file_is_blamed(stage, message)


# -- what loads doubtful bytecode ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["0755", "0700"], ids=["everybody's", "root's alone"])
def test_doubtful_bytecode_is_loaded_without_rights(newest: Interpreter, network_can_be_left: bool, mode: str) -> None:
    """By one worker with an account of its own, for each owner of what is loaded."""
    with staged(newest, door=f"chmod {mode} /mnt/door") as stage:
        sites = [stage.site(f"site{owner}", owner, {"module.py": "x = 1\n"}) for owner in (ALICE, BOB)]
        for site in sites:
            subprocess.run([newest.path, "-I", "-S", "-m", "py_compile", str(site / "module.py")], check=True)
        stage.workers()

        outcome: Any = stage.command.json("verify", *stage.scope(*sites), "--compare-code")

        assert (0, [], []) == (outcome.code, outcome.failures, outcome.findings)
        workers = stage.workers()
        assert 2 == len(workers)
        if mode == "0755":
            assert 2 == len({each.uid for each in workers if each.uid in LEASED})
        assert {"1"} == {each.no_new_privileges for each in workers}
        if network_can_be_left:
            assert own_network() not in {each.network for each in workers}


def test_a_damaged_body_never_has_more_rights(newest: Interpreter) -> None:
    """Whatever happened to the worker that loaded it, it isn't loaded again with more rights."""
    with staged(newest) as stage:
        site = stage.site("site", ALICE, {"module.py": "x = 1\n"})
        subprocess.run([newest.path, "-I", "-S", "-m", "py_compile", str(site / "module.py")], check=True)
        (pyc,) = pycs_below(site)
        with open(pyc, "r+b") as file:
            file.seek(16)
            file.write(b"\xdb" * 4)
            file.truncate()

        outcome = stage.command.json("verify", *stage.scope(site))

        assert (1, ["corrupt"]) == (outcome.code, [finding["kind"] for finding in outcome.findings])
        assert [] == [each for each in stage.workers() if each.uid not in LEASED]


CHANGING_IDS = """
import os
from pyctrigger.interpreter.confinement import confined
from pyctrigger.interpreter.interpreter import Account
for _ in range(300):
    confined(lambda account: None, Account(2000200007, 2000200007))
    os.setgroups([])
    os.seteuid(64501)
    os.seteuid(0)
"""


def test_a_start_leaves_no_thread_that_cant_change_ids() -> None:
    """The C library ends a process one of whose threads can't do what the others do; Python's join is too early."""
    child = subprocess.run([sys.executable, "-c", CHANGING_IDS], capture_output=True, text=True, check=False)
    assert (0, "") == (child.returncode, child.stderr)
