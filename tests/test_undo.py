"""Undo: hooks that go leave the system as it was, a purge takes one flavour's bytecode; whole trees are compared."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent
from owner_packages import with_apk, with_dpkg, with_pacman, with_pkg
from packages import write_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Command
    from interpreters import Interpreter
    from owner_packages import Install

MANAGERS = ("dpkg", "pacman", "apk", "pkg", "sh")
#: Where each manager looks for hooks, and a name that somebody else's could have there.
PLACES = {
    "dpkg": ("etc/apt/apt.conf.d", "20other", "90pyctrigger-py311"),
    "pacman": ("etc/pacman.d/hooks", "other.hook", "pyctrigger-py311-install.hook"),
    "apk": ("etc/apk/commit_hooks.d", "other", "pyctrigger-py311"),
    "pkg": ("usr/local/share/pkg/triggers", "other.ucl", "python-pycache-py311.ucl"),
    "sh": ("usr/local/libexec", "other", "pyctrigger-hook-py311"),
}

#: Dies, as under kill -9, or stops, before the n-th deed that changes a file system.
_MORTAL = """
import os, signal, sys
left = int(sys.argv.pop(1))
ending = globals().get("ending", signal.SIGKILL)
def mortal(deed, counts=lambda *arguments: True):
    def do(*arguments, **options):
        global left
        if counts(*arguments):
            left -= 1
            if left == -1:
                os.kill(os.getpid(), ending)
        return deed(*arguments, **options)
    return do
for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "symlink", "link", "fchmod", "fchown", "utime", "fsync"):
    setattr(os, name, mortal(getattr(os, name)))
os.open = mortal(os.open, lambda path, flags, *more: flags & os.O_CREAT)
from pyctrigger.cli import main
sys.exit(main())
"""

Entry = tuple[Any, ...]

#: Deeds. No command does as many.
_NEVER = 1_000_000


def tree(top: Path) -> dict[str, Entry]:
    """Everything below `top`: kind, mode, owner, link's goal, content, and the times of what is no directory."""
    found: dict[str, Entry] = {}
    for directory, directories, names in os.walk(top):
        for name in [*directories, *names]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            facts: Entry = (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            if stat.S_ISLNK(status.st_mode):
                facts += (os.readlink(path), status.st_mtime_ns)
            elif stat.S_ISREG(status.st_mode):
                facts += (Path(path).read_bytes(), status.st_mtime_ns)
            found[os.path.relpath(path, top)] = facts
    return found


def ended(pid: int) -> int:
    """How a process of ours ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


#: Whatever stands in a hook's place: here it is to come back.
_FORCE = {"install": ("--force",)}


class System:
    """A staged root, and who remembers outside of it what was there before."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self.root.mkdir(parents=True)
        self.memory = top / "memory" / "state"

    def hooks(self, action: str, *options: str, code: int = 0, program: tuple[str, ...] = ()) -> str:
        """What the command says."""
        child = subprocess.run(
            [
                *(program or (sys.executable, "-m", "pyctrigger")),
                *("hooks", action, *_FORCE.get(action, ()), "--root", str(self.root)),
                *("--state-dir", str(self.memory), *options),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert code == child.returncode, child.stderr
        return child.stdout

    def die(self, deeds: int, action: str, *options: str) -> bool:
        """Whether the command was killed after so many deeds; otherwise there were no more."""
        status = ended(self.start(deeds, action, *options))
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def live(self, action: str, *options: str) -> None:
        """The command, as often as it takes to try every moment: started as quickly as can be."""
        assert 0 == ended(self.start(_NEVER, action, *options))

    def start(
        self,
        deeds: int,
        action: str,
        *options: str,
        ending: int = signal.SIGKILL,
        pause: Callable[[float], object] = sleep,
    ) -> int:
        """The process of the command: `ending` comes to it before that deed, and `pause` is how it waits."""
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 1)
                os.dup2(silence, 2)
                time.__dict__["sleep"] = pause
                sys.argv = ["-c", str(deeds), "hooks", action, *_FORCE.get(action, ())]
                sys.argv += ["--root", str(self.root), "--state-dir", str(self.memory), *options]
                exec(_MORTAL, {"ending": ending})
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                os._exit(code)
        return pid

    def furnish(self, manager: str) -> None:
        """Directories and hooks of others: files, a program, a link, a hidden one, and a name close to ours."""
        directory, other, own = PLACES[manager]
        write_tree(self.root / directory, {other: "theirs\n", f".{own}.tmp": "theirs\n", f"{own}.bak": "theirs\n"})
        program = self.root / directory / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o750)
        (self.root / directory / "link").symlink_to("program")
        (self.root / directory / ".pyctrigger-mine").mkdir()
        (self.root / directory / ".pyctrigger-1.tmp").mkdir()
        if os.geteuid() == 0:
            os.chown(program, 1234, 4321)


@pytest.fixture
def system(tmp_path: Path) -> System:
    """An empty one."""
    return System(tmp_path)


@pytest.mark.parametrize("furnished", [False, True], ids=["bare", "furnished"])
@pytest.mark.parametrize("manager", MANAGERS)
def test_uninstall_leaves_the_system_as_it_was(system: System, manager: str, furnished: bool) -> None:
    """With and without the directories and files of others; twice, and where nothing was installed at all."""
    scope = ("--manager", manager, "--python", "3.11", "--python", "pypy3.10")
    if furnished:
        system.furnish(manager)
    before = tree(system.root)

    assert "was not there" in system.hooks("uninstall", *scope)
    assert before == tree(system.root)
    system.hooks("install", *scope)
    standing = tree(system.root)
    assert before != standing
    assert all(standing[name] == facts for name, facts in before.items())
    system.hooks("install", *scope)
    assert standing == tree(system.root)
    would = system.hooks("uninstall", "--dry-run", *scope)
    assert (True, standing) == ("would be removed" in would, tree(system.root))

    for word in ("removed", "was not there"):
        said = system.hooks("uninstall", *scope)
        assert {word} == {line.partition(":")[0] for line in said.splitlines()}
        assert before == tree(system.root)
    assert not system.memory.exists()


@pytest.mark.parametrize("manager", MANAGERS)
def test_flavours_go_one_by_one(system: System, manager: str) -> None:
    """What the first needed and the second still needs stays until that goes."""
    before = tree(system.root)
    system.hooks("install", "--manager", manager, "--python", "3.12")
    one = tree(system.root)
    system.hooks("install", "--manager", manager, "--python", "3.13t")

    system.hooks("uninstall", "--manager", manager, "--python", "3.13t")
    assert one == tree(system.root)
    system.hooks("uninstall", "--manager", manager, "--python", "3.12")
    assert before == tree(system.root)


@pytest.mark.parametrize("manager", MANAGERS)
def test_what_was_changed_since_stays(system: System, manager: str) -> None:
    """It is named, and exit 1; what wasn't changed goes all the same; changed back, so does this."""
    directory, _, own = PLACES[manager]
    scope = ("--manager", manager, "--python", "3.11")
    before = tree(system.root)
    system.hooks("install", *scope)
    changed = system.root / directory / own
    original = changed.read_bytes()
    changed.write_bytes(original + b"# by hand\n")

    for _ in range(2):
        said = system.hooks("uninstall", *scope, code=1)
        line = f"kept: /{directory}/{own}: it is not what was installed; remove it by hand"
        assert [line] == [each for each in said.splitlines() if not each.startswith(("removed: ", "was not there: "))]
        assert [own] == os.listdir(system.root / directory)
        assert original + b"# by hand\n" == changed.read_bytes()

    changed.write_bytes(original)
    assert f"removed: /{directory}/{own}\n" in system.hooks("uninstall", *scope)
    assert before == tree(system.root)


def test_a_changed_mode_is_a_change(system: System) -> None:
    """An administrator who took away a program's right to be run did so on purpose."""
    scope = ("--manager", "apk", "--python", "3.11")
    system.hooks("install", *scope)
    (system.root / "etc/apk/commit_hooks.d/pyctrigger-py311").chmod(0o600)
    standing = tree(system.root)

    assert system.hooks("uninstall", *scope, code=1).startswith("kept: ")
    assert standing == tree(system.root)


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_stood_there_before_comes_back(system: System, manager: str, kind: str) -> None:
    """A file of our name with its mode, owner and time, or a link with its goal, as if nothing had been."""
    directory, other, own = PLACES[manager]
    system.furnish(manager)
    place = system.root / directory / own
    if kind == "file":
        place.write_bytes(b"somebody's\xff\n")
        place.chmod(0o640)
        os.utime(place, ns=(1, 1_234_567_890_123_456_789))
        if os.geteuid() == 0:
            os.chown(place, 77, 88)
    else:
        place.symlink_to(other if kind == "link" else "nowhere")
    scope = ("--manager", manager, "--python", "3.11")
    before = tree(system.root)

    system.hooks("install", *scope)
    assert place.is_file()
    assert not place.is_symlink()
    system.hooks("install", *scope, "--site-dir", "/srv/site")  # for some it reads otherwise

    line = f"removed, and restored what was there before: /{directory}/{own}\n"
    assert line in system.hooks("uninstall", *scope)
    assert before == tree(system.root)
    assert not system.memory.exists()


def test_a_hook_of_other_options_is_known_again(system: System) -> None:
    """What was put there is what counts, not what would be put there now; an older hook of ours is nobody's file."""
    scope = ("--manager", "pacman", "--python", "3.11")
    before = tree(system.root)
    system.hooks("install", *scope, "--site-dir", "/srv/one")
    system.hooks("uninstall", *scope)
    assert before == tree(system.root)

    system.hooks("install", *scope, "--site-dir", "/srv/one")
    shutil.rmtree(system.memory)
    system.hooks("install", *scope)
    system.hooks("uninstall", *scope)
    assert [] == [name for name, facts in tree(system.root).items() if facts[0] == stat.S_IFREG]


def test_without_memory_only_what_is_ours_to_the_letter_goes(system: System) -> None:
    """No directory is believed to be ours, and no file that says something else."""
    scope = ("--manager", "pacman", "--python", "3.11")
    system.hooks("install", *scope)
    shutil.rmtree(system.memory)
    changed = system.root / "etc/pacman.d/hooks/pyctrigger-py311-remove.hook"
    changed.write_text("something else\n")

    said = system.hooks("uninstall", *scope)
    assert 2 == said.count("removed: ")
    assert f"left alone: /{changed.relative_to(system.root)}: it is somebody else's\n" in said
    assert "something else\n" == changed.read_text()
    changed.unlink()
    system.hooks("uninstall", *scope)
    assert {"etc", "etc/pacman.d", "etc/pacman.d/hooks"} == set(tree(system.root))


def test_directories_of_others_stay(system: System) -> None:
    """One that was there and empty, one with a file in it since, and one that was made again by somebody else."""
    (system.root / "etc").mkdir()
    (system.root / "etc").chmod(0o700)
    scope = ("--manager", "pacman", "--python", "3.11")
    system.hooks("install", *scope)
    theirs = system.root / "etc/pacman.d/theirs"
    theirs.write_text("")

    system.hooks("uninstall", *scope)
    assert {"etc", "etc/pacman.d", "etc/pacman.d/theirs"} == set(tree(system.root))
    theirs.unlink()
    system.hooks("uninstall", *scope)
    assert {"etc": 0o700} == {name: facts[1] for name, facts in tree(system.root).items()}

    system.hooks("install", *scope)
    hooks = system.root / "etc/pacman.d/hooks"
    hooks.rename(system.root / "moved")
    hooks.mkdir()
    system.hooks("uninstall", *scope)
    assert hooks.is_dir()


@pytest.mark.parametrize("furnished", [False, True], ids=["bare", "replacing"])
def test_killed_at_any_moment_of_an_install(tmp_path: Path, furnished: bool) -> None:
    """Whatever it came to, an uninstall afterwards leaves the system as it was, and remembers nothing."""
    scope = ("--manager", "pacman", "--python", "3.11")
    deeds = 0
    while True:
        top = tmp_path / str(deeds)
        top.mkdir()
        system = System(top)
        if furnished:
            system.furnish("pacman")
            write_tree(system.root / "etc/pacman.d/hooks", {"pyctrigger-py311-install.hook": "theirs\n"})
        before = tree(system.root)
        killed = system.die(deeds, "install", *scope)
        if killed:
            # Nothing that a manager reads is ever half there.
            for path in system.root.rglob("*.hook"):
                assert path.read_text() == "theirs\n" or path.read_text().endswith("NeedsTargets\n")
        system.live("uninstall", *scope)
        assert before == tree(system.root), f"killed after {deeds} deeds"
        assert not [path for path in system.memory.rglob("*") if path.is_file()]
        if not killed:
            break
        deeds += 1
    assert deeds > 15


class Pause:
    """How a process waits that tells its parent, by a byte, that it came to that."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def __call__(self, seconds: float) -> None:
        """In the place of `time.sleep`."""
        with contextlib.suppress(BrokenPipeError):  # it is known already
            os.write(self._writer, b"-")
        sleep(seconds)

    def await_it(self) -> None:
        """Until the process waits, or has ended."""
        os.close(self._writer)
        os.read(self._reader, 1)
        os.close(self._reader)


@pytest.mark.parametrize(
    ("action", "version", "furnished"),
    [("uninstall", "3.12", False), ("uninstall", "3.11", True)],
)
def test_another_call_at_any_moment_of_an_install(tmp_path: Path, action: str, version: str, furnished: bool) -> None:
    """Stopped anywhere, it is waited for: nothing of what it has remembered is lost, and nothing fails."""
    scope = ("--manager", "apk", "--python")
    deeds = 0
    while True:
        system = System(tmp_path / str(deeds))
        if furnished:
            write_tree(system.root / "etc/apk/commit_hooks.d", {"pyctrigger-py311": "theirs\n"})
        before = tree(system.root)
        first = system.start(deeds, "install", *scope, "3.11", "--site-dir", "/srv/site", ending=signal.SIGSTOP)
        stopped = os.WIFSTOPPED(os.waitpid(first, os.WUNTRACED)[1])
        pause = Pause()
        second = system.start(_NEVER, action, *scope, version, pause=pause)
        pause.await_it()
        if stopped:
            os.kill(first, signal.SIGCONT)
            assert 0 == ended(first)
        assert 0 == ended(second)
        for each in ("3.11", "3.12"):
            system.live("uninstall", *scope, each)
        assert before == tree(system.root), f"stopped after {deeds} deeds"
        assert not system.memory.parent.exists(), f"stopped after {deeds} deeds"
        if not stopped:
            break
        deeds += 1
    assert deeds > 10


@pytest.mark.parametrize("furnished", [False, True], ids=["bare", "restoring"])
def test_killed_at_any_moment_of_an_uninstall(tmp_path: Path, furnished: bool) -> None:
    """The next one finishes the work."""
    scope = ("--manager", "apk", "--python", "3.11")
    deeds = 0
    while True:
        top = tmp_path / str(deeds)
        top.mkdir()
        system = System(top)
        if furnished:
            system.furnish("apk")
            write_tree(system.root / "etc/apk/commit_hooks.d", {"pyctrigger-py311": "theirs\n"})
        before = tree(system.root)
        system.live("install", *scope)
        killed = system.die(deeds, "uninstall", *scope)
        system.live("uninstall", *scope)
        assert before == tree(system.root), f"killed after {deeds} deeds"
        assert not [path for path in system.memory.rglob("*") if path.is_file()]
        if not killed:
            break
        deeds += 1
    assert deeds > 4


def test_a_directory_in_the_place_of_a_hook_is_left_alone(system: System) -> None:
    """Neither replaced nor removed: path, reason and mend."""
    place = system.root / "etc/apk/commit_hooks.d/pyctrigger-py311"
    place.mkdir(parents=True)
    before = tree(system.root)
    scope = ("--manager", "apk", "--python", "3.11")

    system.hooks("install", *scope, code=2)
    assert before == tree(system.root)
    assert system.hooks("uninstall", *scope).startswith("left alone: /etc/apk/commit_hooks.d/pyctrigger-py311: ")
    assert before == tree(system.root)


def test_what_cannot_be_remembered_is_not_replaced(system: System) -> None:
    """Without state a stranger's file stays where it is; without a stranger the hook is installed all the same."""
    scope = ("--manager", "apk", "--python", "3.11", "--stateless")
    place = write_tree(system.root / "etc/apk/commit_hooks.d", {"pyctrigger-py311": "theirs\n"}) / "pyctrigger-py311"

    system.hooks("install", *scope, code=2)
    assert "theirs\n" == place.read_text()
    place.unlink()
    system.hooks("install", *scope)
    system.hooks("uninstall", *scope)
    assert ["etc", "etc/apk", "etc/apk/commit_hooks.d"] == sorted(tree(system.root))
    assert not system.memory.exists()


#: Without `--root`: in copies of the directories that hooks come into, which only this process and its children see.
_WITHOUT_ROOT = """
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_undo import tree
from os.path import join
def look():
    return {top: tree(Path(top)) for top in ("/etc", "/usr/local/share/pkg", "/usr/local/libexec", "/var/lib")}
def hooks(action):
    for manager in ("dpkg", "pacman", "apk", "pkg", "sh"):
        command = [sys.executable, "-m", "pyctrigger", "hooks", action, "--manager", manager, "--python", "3.11"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
before = look()
hooks("install")
standing = look()
hooks("uninstall")
after = look()
new = sorted(join(top, name) for top in before for name in set(standing[top]) - set(before[top]))
print(json.dumps([new, before == after, standing == before]))
"""


def test_without_a_root_the_system_itself_is_as_before(as_root: None, tmp_path: Path) -> None:
    """All managers' hooks come and go in this system's own directories, and the state with them."""
    overlays = ""
    for top in ("/etc", "/usr/local", "/var/lib"):
        upper, work = (tmp_path / "layers" / kind / top[1:] for kind in ("upper", "work"))
        overlays += f"mkdir -p {upper} {work} && "
        overlays += f"mount -t overlay overlay -o lowerdir={top},upperdir={upper},workdir={work} {top} && "
    script = (
        f"mkdir -p {tmp_path}/layers && mount -t tmpfs none {tmp_path}/layers && {overlays} rm -rf /var/lib/pyctrigger"
    )
    unshare = shutil.which("unshare")
    if unshare is None:
        absent("no unshare (Debian package util-linux)")
    if subprocess.run([unshare, "-m", "sh", "-c", script], capture_output=True, check=False).returncode:
        absent("no overlay file system to be had")
    program = [sys.executable, "-c", _WITHOUT_ROOT, os.path.dirname(__file__)]

    child = subprocess.run(
        [unshare, "-m", "sh", "-c", f'{script} && exec "$@"', "sh", *program], stdout=subprocess.PIPE, check=True
    )

    new, same, nothing_done = json.loads(child.stdout)
    assert (True, False) == (same, nothing_done)
    for directory, _, own in PLACES.values():
        assert f"/{directory}/{own}" in new
    assert any(path.startswith("/var/lib/pyctrigger/hooks/") for path in new)


# ------------------------------------------------------------------------------------------------------------- purge


@pytest.fixture
def library(newest: Interpreter) -> str:
    """The directory of the packages, as seen from a root."""
    return f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"


def strangers(site: Path, tag: str) -> None:
    """What a purge must not take: others' bytecode, and names that look like ours."""
    pycache = "ours/__pycache__"
    names = ["a.cpython-306.pyc", f"a.{tag}-pytest-8.0.pyc", f"a.{tag}.nbi", f"a.{tag}.pyc.orig"]
    write_tree(site, {f"{pycache}/{name}": "theirs" for name in names})
    write_tree(site, {"legacy.pyc": "theirs", "data/readme": "x", "theirs/__pycache__/notes": "x"})
    (site / "empty").mkdir()
    (site / "ours/none").mkdir()
    (site / "link").symlink_to("ours")
    os.chmod(site / "data", 0o711)


PURGED: dict[str, Install] = {"dpkg": with_dpkg, "pacman": with_pacman, "pkg": with_pkg, "apk": with_apk}


@pytest.mark.parametrize("manager", PURGED)
def test_a_purge_leaves_the_tree_as_before_any_run(
    as_root: None, pyctrigger: Command, newest: Interpreter, library: str, tmp_path: Path, manager: str
) -> None:
    """Of what `run` wrote nothing stays, and of what was there nothing goes, be it a package's or anybody's."""
    tag = f"cpython-{newest.version[0]}{newest.version[1]}"
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    owned = [
        f"{library}/owner/__pycache__/{name}.{tag}{level}.pyc" for name in ("m", "gone") for level in ("", ".opt-1")
    ]
    write_tree(payload, {f"{library}/owner/m.py": "x = 1\n", **dict.fromkeys(owned, "a package's")})
    root.mkdir()
    PURGED[manager](payload, root, scratch)
    write_tree(root / library, {"ours/a.py": "", "ours/sub/b.py": "", "single.py": "", "owner/extra.py": ""})
    strangers(root / library, tag)
    arguments = ["--python", newest.path, "--root", str(root), "--stateless"]
    before = tree(root)

    assert 5 == pyctrigger.json("run", *arguments, "--optimize", "0,1,2").counts["compiled"]
    compiled = tree(root)
    assert 4 * 3 + 1 == len([name for name in compiled if name.endswith(".pyc")]) - len(
        [name for name in before if name.endswith(".pyc")]
    )
    dry = pyctrigger.json("purge", "--dry-run", *arguments)
    assert (0, compiled) == (dry.code, tree(root))

    for _ in range(2):
        assert 0 == pyctrigger.json("purge", "-y", *arguments).code
        assert before == tree(root)


def test_a_purge_of_a_site_directory_that_was_killed_is_finished_by_the_next(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """At no moment is anything else gone, and in the end all is as before."""
    tag = f"cpython-{newest.version[0]}{newest.version[1]}"
    deeds, step = 0, 3
    while True:
        site = write_tree(tmp_path / str(deeds) / "site", {"ours/a.py": "", "ours/sub/b.py": "", "single.py": ""})
        strangers(site, tag)
        before = tree(site)
        arguments = ["--python", newest.path, "--site-dir", str(site), "--stateless"]
        pyctrigger.text("run", *arguments, "--optimize", "0,2")
        line = [sys.executable, "-c", _MORTAL, str(deeds), "purge", "-y", *arguments]
        child = subprocess.run(line, capture_output=True, check=False)
        assert all(tree(site)[name] == facts for name, facts in before.items())
        pyctrigger.text("purge", "-y", *arguments)
        assert before == tree(site), f"killed after {deeds} deeds"
        if child.returncode == 0:
            break
        deeds += step
    assert deeds > step


def test_a_purge_of_everything_leaves_what_is_nobodys_flavour(
    pyctrigger: Command, interpreters: list[Interpreter], site: Path
) -> None:
    """`--python` twice takes two flavours; strangers' files and the sources are as they were."""
    write_tree(site, {"ours/a.py": "", "ours/sub/b.py": ""})
    strangers(site, "cpython-399")
    before = tree(site)
    pythons = [word for each in interpreters[-2:] for word in ("--python", each.path)]
    assert 0 == pyctrigger.text("run", *pythons, "--site-dir", site).code
    assert before != tree(site)

    assert 0 == pyctrigger.text("purge", *pythons, "--site-dir", site).code

    assert before == tree(site)
