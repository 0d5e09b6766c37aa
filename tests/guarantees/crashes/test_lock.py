"""The one lock of an installation: two real processes, the one that waits and the one it waits for."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from command import Command
from confinement import NOBODY, PATIENCE, SLOW, Machine, command_for
from conftest import absent
from packages import pycs_below, snapshot, write_tree
from pyctrigger.errors import RefusedError
from pyctrigger.interpreter.interpreter import Interpreter
from pyctrigger.interpreter.probe import probe
from pyctrigger.state.locations import make_own
from pyctrigger.state.lock import current_holder
from refusals import can_refuse, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Argument
    from interpreters import Interpreter as Found

INSTALLATION = re.compile(r"(cpython-3\d+t?|pypy3\d+)-[0-9a-f]{8}\Z")


@pytest.fixture
def scope(site: Path, oldest: Found) -> list[Argument]:
    """One module to compile, for the flavour whose lock is held."""
    write_tree(site, {"module.py": "x = 1\n"})
    return ["--python", oldest.path, "--site-dir", site]


@pytest.fixture
def holder(machine: Machine, tmp_path: Path, oldest: Found) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has the lock, and for some time."""
    slow = write_tree(tmp_path / "slow", {"slow.py": SLOW})
    config = tmp_path / "patient.toml"
    config.write_text("[defaults]\nfile_timeout = 0\n")
    state = tmp_path / "holders-state"  # or the next run would do what it left
    child = machine.command.start(
        "run", "--config", config, "--state-dir", state, "--python", oldest.path, "--site-dir", slow
    )
    try:
        machine.note()
        yield child
    finally:
        child.kill()
        child.communicate()


# ------------------------------------------------------------------------------------------------------- two at once


def test_second_waits_and_says_for_whom(
    machine: Machine, holder: subprocess.Popen[bytes], site: Path, scope: list[Argument]
) -> None:
    """And does its work when the first is gone, however that ended."""
    second = machine.command.start("run", *scope)
    try:
        assert second.stderr
        said = second.stderr.readline().decode()
        assert re.match(
            rf"waiting for the lock, held by process {holder.pid} \(__main__\.py run --config \S+\) "
            r"since \d\d:\d\d:\d\d$",
            said,
        ), said
        assert (second.poll(), pycs_below(site)) == (None, [])
        holder.kill()
        out, err = second.communicate(timeout=PATIENCE)
    finally:
        second.kill()
        second.communicate()
    assert (second.returncode, err) == (0, b"")
    assert b": 1 compiled, " in out
    assert len(pycs_below(site)) == 1


@pytest.mark.usefixtures("as_root")
def test_what_a_package_comes_to_own_meanwhile_stays(
    machine: Machine, holder: subprocess.Popen[bytes], site: Path, scope: list[Argument]
) -> None:
    """Two orphans when the sweep looked; while it waits for the lock, dpkg installs the package that brings one."""
    tag = probe(str(scope[1])).interpreter.cache_tag
    owned, orphan = (f"__pycache__/{name}.{tag}.pyc" for name in ("owned", "orphan"))
    write_tree(site, {owned: "a package's", orphan: "nobody's"})
    lists = machine.top / "var/lib/dpkg/info"
    write_tree(lists, {"other.list": "/.\n/usr\n"})
    sweep = machine.command.start("sweep", *scope)
    try:
        assert sweep.stderr
        assert sweep.stderr.readline().startswith(b"waiting for the lock, ")
        write_tree(lists, {"package.list": f"/.\n{site}/{owned}\n"})
        holder.kill()
        _, err = sweep.communicate(timeout=PATIENCE)
    finally:
        sweep.kill()
        sweep.communicate()
    assert (sweep.returncode, err) == (0, b"")
    assert [f"{site}/{owned}".encode()] == pycs_below(site)


@pytest.mark.parametrize("timeout", ["0", "0.4"])
@pytest.mark.parametrize("verb", ["run", "repair", "sweep", "purge -y"])
def test_lock_that_is_not_free_in_time(
    machine: Machine, holder: subprocess.Popen[bytes], site: Path, scope: list[Argument], verb: str, timeout: str
) -> None:
    """Is exit 75 with the holder's name, and nothing was changed."""
    tag = probe(str(scope[1])).interpreter.cache_tag
    write_tree(site, {f"__pycache__/gone.{tag}.pyc": "orphan"})
    before = snapshot(site)

    outcome = machine.command.json(*verb.split(), *scope, "--lock-timeout", timeout)

    assert outcome.code == 75
    (error,) = outcome.document["errors"]
    assert error["code"] == 75
    assert error["message"].startswith(
        f"the lock was not free within {timeout} s, held by process {holder.pid} (__main__.py run "
    )
    assert snapshot(site) == before
    assert holder.poll() is None


def test_timeout_of_the_configuration(
    machine: Machine, holder: subprocess.Popen[bytes], tmp_path: Path, scope: list[Argument]
) -> None:
    """Applies without an option, and the message says what to do."""
    config = tmp_path / "hasty.toml"
    config.write_text("[defaults]\nlock_timeout = 0\n")
    outcome = machine.command.text("run", *scope, "--config", config, "--stateless")
    assert outcome.code == 0
    outcome = machine.command.text("run", *scope, "--config", config, "--optimize", "1")
    assert (outcome.code, outcome.out) == (75, "")
    assert outcome.err.startswith(f"pyctrigger: the lock was not free within 0 s, held by process {holder.pid} (")


def test_looking_needs_no_lock(machine: Machine, holder: subprocess.Popen[bytes], scope: list[Argument]) -> None:
    """`verify`, `status` and a dry run are answered at once, and status names the holder."""
    assert machine.command.json("verify", *scope).code == 1
    assert machine.command.json("run", "--dry-run", *scope, "--lock-timeout", "0").code == 0
    status = machine.command.json("status", *scope)
    assert status.code == 0
    lock = status.run["status"]["lock"]
    assert lock["pid"] == holder.pid
    assert lock["command"].startswith("__main__.py run ")
    text = machine.command.text("status", *scope).out
    assert f"held by process {holder.pid} (__main__.py run " in text


def test_run_with_nothing_to_do_takes_no_lock(
    machine: Machine, oldest: Found, site: Path, scope: list[Argument]
) -> None:
    """An idle trigger doesn't wait and leaves no file."""
    assert machine.command.text("run", *scope, "").code == 0
    assert machine.files() == []
    assert machine.command.text("run", *scope).code == 0
    (name,) = machine.files()
    with (machine.locks / name).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        idle = machine.command.json("run", *scope, "--lock-timeout", "0")
        assert (idle.code, idle.counts["fresh"]) == (0, 1)
        (site / "module.py").write_text("x = 22\n")
        busy = machine.command.json("run", *scope, "--lock-timeout", "0")
    assert busy.code == 75
    assert busy.document["errors"][0]["message"] == ("the lock was not free within 0 s, held by an unknown process")


def test_two_flavours_have_two_locks(
    machine: Machine, holder: subprocess.Popen[bytes], interpreters: list[Found], site: Path, scope: list[Argument]
) -> None:
    """3.13 doesn't wait for 3.6."""
    other = [each for each in interpreters if each.path != scope[1]]
    if not other:
        absent("a second flavour on this machine")
    assert holder.poll() is None
    outcome = machine.command.json("run", "--python", other[-1].path, "--site-dir", site, "--lock-timeout", "0")
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)


def test_holder_that_died_does_not_block(
    machine: Machine, holder: subprocess.Popen[bytes], site: Path, scope: list[Argument]
) -> None:
    """Its note is still there, and doesn't count."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    note = machine.note()
    assert f'"pid": {holder.pid}' in note.read_text()
    assert machine.command.json("status", *scope).run["status"]["lock"] is None
    assert re.search(r"^lock +free$", machine.command.text("status", *scope).out, re.MULTILINE)

    outcome = machine.command.json("run", *scope, "--lock-timeout", "0")

    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert not note.exists()
    assert len(pycs_below(site)) == 1


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"pid": "x", "command": 1, "since": []}'])
def test_damaged_note_names_nobody(machine: Machine, scope: list[Argument], site: Path, note: bytes) -> None:
    """The lock holds all the same."""
    assert machine.command.text("run", *scope).code == 0
    (name,) = machine.files()
    (machine.locks / name).with_suffix(".owner").write_bytes(note)
    (site / "module.py").write_text("x = 22\n")
    with (machine.locks / name).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = machine.command.text("run", *scope, "--lock-timeout", "0")
        assert machine.command.json("status", *scope).run["status"]["lock"]["pid"] == 0
    assert outcome.code == 75
    assert "held by an unknown process" in outcome.err


# ------------------------------------------------------------------------------------------------------- where it is


def test_lock_is_its_owners_alone(machine: Machine, scope: list[Argument], site: Path) -> None:
    """Directory and file, whatever the umask; a directory that was left open is closed."""
    for content in ("", "x = 1"):
        (site / "module.py").write_text(content)
        assert machine.command.text("run", *scope, preexec_fn=lambda: os.umask(0)).code == 0
        (name,) = machine.files()
        assert INSTALLATION.match(name[: -len(".lock")])
        assert name.endswith(".lock")
        assert (machine.locks / name).stat().st_mode & 0o7777 == 0o600
        assert machine.locks.stat().st_mode & 0o7777 == 0o700
        machine.locks.chmod(0o777)


def test_directory_of_somebody_else_is_refused(as_root: None, machine: Machine, scope: list[Argument]) -> None:
    """Exit 77: who owns it could take the lock away."""
    machine.locks.mkdir()
    os.chown(machine.locks, NOBODY, NOBODY)
    outcome = machine.command.text("run", *scope)
    assert outcome.code == 77
    assert outcome.err == (
        f"pyctrigger: /run/pyctrigger belongs to account {NOBODY}; remove it, or run as that account\n"
    )
    hook = machine.command.text("run", "--hook", *scope)
    assert (hook.code, hook.out) == (0, "")
    assert f"/run/pyctrigger belongs to account {NOBODY}" in hook.err
    with pytest.raises(RefusedError):
        make_own(str(machine.locks))


def test_link_is_no_directory_of_locks(as_root: None, machine: Machine, scope: list[Argument], tmp_path: Path) -> None:
    """Wherever it leads."""
    machine.locks.symlink_to(tmp_path)
    outcome = machine.command.text("run", *scope)
    assert outcome.code == 2
    assert outcome.err.startswith("pyctrigger: can't make a lock in /run/pyctrigger: ")
    assert outcome.err.endswith("; use --stateless to run without one\n")


def test_full_directory_of_locks(as_root: None, machine: Machine, site: Path, scope: list[Argument]) -> None:
    """No lock, no work, and a word about it: another run could be at the same files."""
    full = "mount -t tmpfs -o nr_inodes=2 none /run; exec "
    subprocess.run([*machine.command.program[:3], "sh", "-c", full + "true"], check=True)
    outcome = machine.command.text("run", *scope)
    assert outcome.code == 2
    assert outcome.err == (
        "pyctrigger: can't make a lock in /run/pyctrigger: No space left on device; "
        "use --stateless to run without one\n"
    )
    assert pycs_below(site) == []
    assert machine.command.text("run", *scope, "--stateless").code == 0
    assert len(pycs_below(site)) == 1


class Unplaced(Command):
    """pyctrigger without a state directory named."""

    def command_line(self, verb: str, arguments: Any) -> list[bytes]:
        return [os.fsencode(part) for part in [*self.program, verb, *arguments]]


def test_nothing_moves_roots_places(as_root: None, machine: Machine, scope: list[Argument], tmp_path: Path) -> None:
    """`XDG_RUNTIME_DIR` moves even platformdirs' site directories, and a lock that a variable can move is none."""
    command = Unplaced(machine.command.state)
    command.program = machine.command.program
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = [
        "HOME",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "TMPDIR",
    ]
    env = {name: str(elsewhere) for name in names}

    assert command.text("run", *scope, env=env).code == 0

    assert os.listdir(elsewhere) == []
    (lock,) = machine.files()
    installation = lock[: -len(".lock")]
    state = machine.top / "var/lib/pyctrigger"
    assert sorted(os.listdir(state)) == [installation, "history.sqlite", "interpreters"]
    assert state.stat().st_mode & 0o7777 == 0o700
    assert sorted({*os.listdir(machine.top / "run")} - {"mount"}) == ["pyctrigger"]  # mount(8) has its own


def test_platformdirs_decides_for_others(as_root: None, interpreters: list[Found]) -> None:
    """Their own directories, in their own homes."""
    with public_directory() as public:
        home = public / "home"
        home.mkdir()
        site = write_tree(home / "site", {"module.py": ""})
        made = command_for(NOBODY, home / "unused")
        if made is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        for directory in (home, site, site / "module.py"):
            os.chown(directory, NOBODY, NOBODY)
        command = Unplaced(home / "unused")
        command.program = made.program
        env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": "", "PYTHONPATH": ""}

        options: dict[str, Any] = {"cwd": "/", "user": NOBODY, "group": NOBODY, "extra_groups": []}
        scope: list[Argument] = ["--python", made.program[0], "--site-dir", site]
        for level in ("0", "1"):  # the directories of the first run are those of the second
            outcome = command.text("run", *scope, "--optimize", level, env=env, **options)
            assert (outcome.code, outcome.err) == (0, "")
        env["XDG_RUNTIME_DIR"] = ""
        env["TMPDIR"] = str(home)
        outcome = command.text("run", *scope, "--optimize", "2", env=env, **options)
        assert (outcome.code, outcome.err) == (0, "")

        (lock,) = os.listdir(home / "run/pyctrigger")
        assert INSTALLATION.match(lock[: -len(".lock")])
        # "run" holds the lock of the last one where platformdirs, as up to 4.4, names a /run/user/UID that isn't there.
        state = sorted({*os.listdir(home / ".local/state/pyctrigger")} - {"run"})
        assert state == [lock[: -len(".lock")], "history.sqlite", "interpreters"]
        assert (home / "run/pyctrigger").stat().st_uid == NOBODY


def without_leases(names: list[str]) -> list[str]:
    """The files beside locks, less the leases of accounts: those come and go with the workers of a lock's holder."""
    return [name for name in names if not name.endswith(".account")]


def test_stateless_run_takes_no_lock_and_leaves_no_file(
    machine: Machine, holder: subprocess.Popen[bytes], site: Path, scope: list[Argument]
) -> None:
    """For package builds and image layers, where nothing else runs."""
    before = without_leases(machine.files())
    outcome = machine.command.json("run", *scope, "--stateless", "--lock-timeout", "0")
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert holder.poll() is None
    assert without_leases(machine.files()) == before
    assert not (machine.top / "var/lib/pyctrigger").exists() or os.geteuid() != 0
    assert len(pycs_below(site)) == 1


# --------------------------------------------------------------------------------------------------------- the id


def test_every_installation_has_an_id_of_its_own(interpreters: list[Found]) -> None:
    """Readable, and the same each time, whatever the executable's name."""
    ids = {}
    for found in interpreters:
        interpreter = probe(found.path).interpreter
        assert INSTALLATION.match(interpreter.installation), interpreter.installation
        assert interpreter.installation.startswith(interpreter.cache_tag)
        assert probe(found.path).interpreter.installation == interpreter.installation
        ids[interpreter.installation] = found.path
    assert len(ids) == len(interpreters)


def test_names_of_one_installation_share_its_lock(newest: Found, tmp_path: Path) -> None:
    """`python3`, `python3.13` and a virtual environment's link compile into the same directories."""
    link = tmp_path / "bin" / "python3"
    link.parent.mkdir()
    link.symlink_to(newest.path)
    subprocess.run([newest.path, "-I", "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True, timeout=120)
    ids = {probe(str(path)).interpreter.installation for path in (newest.path, link, tmp_path / "venv/bin/python")}
    assert len(ids) == 1


def test_id_depends_on_what_tells_installations_apart(newest: Found) -> None:
    """3.13 and 3.13t share prefix, cache tag and magic number; a staged root is another machine's."""
    one = probe(newest.path).interpreter
    others = [
        one._replace(prefix="/opt/python"),
        one._replace(abi_flags="t"),
        one._replace(abi_flags="d"),
        one._replace(free_threaded=not one.free_threaded),
        one._replace(implementation="pypy"),
        one._replace(cache_tag="cpython-399"),
    ]
    ids = [each.installation for each in (one, *others)] + [one.installation_in((1, 2)), one.installation_in((2, 1))]
    assert len(set(ids)) == len(ids)
    same = [one._replace(executable="/bin/other"), one._replace(release="3.99rc1"), one._replace(environment="/venv")]
    assert {each.installation for each in same} == {one.installation}


def test_id_of_a_release_stays() -> None:
    """An upgrade of pyctrigger's must find the journal that its predecessor left."""
    known = Interpreter(
        executable="/usr/bin/python3.11",
        implementation="cpython",
        version=(3, 11, 2),
        release="3.11.2",
        cache_tag="cpython-311",
        magic_number=bytes.fromhex("a70d0d0a"),
        abi_flags="",
        free_threaded=False,
        prefix="/usr",
        schemes={},
        default_scheme="posix_prefix",
        inside=(),
    )
    assert known.installation == "cpython-311-6d479d29"
    assert (
        known._replace(cache_tag="cpython-313", abi_flags="t", free_threaded=True).installation
        == "cpython-313t-ef755905"
    )


# ------------------------------------------------------------------------------------------------- filelock's versions


def test_every_filelock_makes_the_same_lock(
    tmp_path: Path, machine: Machine, scope: list[Argument], site: Path
) -> None:
    """A flock(2), and never a soft lock. `nox -s oldest` and `nox -s newest` run it with other releases."""
    assert machine.command.text("run", *scope).code == 0
    (name,) = machine.files()
    (site / "module.py").write_text("x = 22\n")
    with (machine.locks / name).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.command.text("run", *scope, "--lock-timeout", "0.2").code == 75
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert machine.command.json("run", *scope, "--lock-timeout", "0").counts["compiled"] == 1
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it on
    assert machine.files() == [name]
    question = (
        "import fcntl, os, sys, threading\nfrom pyctrigger.state.lock import InstallationLock\n"
        "lock = InstallationLock(sys.argv[1], 'x')\nholder = os.open(sys.argv[1] + '/x.lock', os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(holder, fcntl.LOCK_EX)\nthreading.Timer(0.2, os.close, [holder]).start()\n"
        "assert lock.acquire(30, print) is True\nassert lock.held\n"
        "print(getattr(lock._awaited, 'fallback_to_soft', False))\n"
    )
    refused = [refusing("fchmod", number=number) for number in (errno.EPERM, errno.ENOSYS) if can_refuse()]
    for refuse in (None, *refused):
        child = subprocess.run(
            [sys.executable, "-W", "error", "-c", question, str(tmp_path / "own")],
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=refuse,
        )
        assert (0, b"False\n") == (child.returncode, child.stdout), child.stderr.decode()


def test_holder_is_known_without_waiting(tmp_path: Path) -> None:
    """`status` asks; a lock that was never taken is free."""
    assert current_holder(str(tmp_path), "cpython-311-00000000") is None
    (tmp_path / "cpython-311-00000000.lock").touch()
    assert current_holder(str(tmp_path), "cpython-311-00000000") is None


def test_whoever_else_uses_filelock_locks_the_same_file(tmp_path: Path) -> None:
    """Both ways: a program of somebody's own, and one that waits for us in the same process."""
    program = (
        "import sys, filelock\nfrom pyctrigger.state.lock import InstallationLock\n"
        "ours, theirs = InstallationLock(sys.argv[1], 'x'), filelock.FileLock(sys.argv[1] + '/x.lock')\n"
        "assert ours.acquire(1, print) is False\n"
        "try:\n    theirs.acquire(timeout=0)\nexcept filelock.Timeout:\n    print('held')\n"
        "ours.release()\ntheirs.acquire(timeout=0)\nprint(theirs.is_locked)\n"
        "try:\n    ours.acquire(0.2, print)\nexcept Exception as error:\n    print(error)\n"
        "theirs.release()\nours.acquire(0, print)\nprint(ours.held)\n"
    )
    child = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program, str(tmp_path / "locks")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = child.stdout.splitlines()
    assert (["held", "True", "True"], "") == ([*said[:2], *said[-1:]], child.stderr)
    assert said[-2].startswith("the lock was not free within 0.2 s")
