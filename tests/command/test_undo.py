"""Undo: `hooks uninstall` removes what is ours to the letter, a purge one flavour's bytecode; trees are compared."""

from __future__ import annotations

import contextlib
import hashlib
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


def files(top: Path) -> dict[str, Entry]:
    """All that is no directory."""
    return {name: facts for name, facts in tree(top).items() if facts[0] != stat.S_IFDIR}


class System:
    """A staged root, and calls of `pyctrigger hooks` for it."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self.root.mkdir(parents=True)
        self.state = top / "state"

    def hooks(self, action: str, *options: str, code: int = 0, program: tuple[str, ...] = ()) -> str:
        """What the command says."""
        return self.call(action, *options, code=code, program=program).stdout

    def call(
        self, action: str, *options: str, code: int = 0, program: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """The command, as it ended."""
        child = subprocess.run(
            [
                *(program or (sys.executable, "-m", "pyctrigger")),
                *("hooks", action, "--root", str(self.root), "--state-dir", str(self.state), *options),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert code == child.returncode, child.stderr
        return child

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
                sys.argv = ["-c", str(deeds), "hooks", action]
                sys.argv += ["--root", str(self.root), "--state-dir", str(self.state), *options]
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
def test_uninstall_removes_what_is_ours_and_nothing_else(system: System, manager: str, furnished: bool) -> None:
    """With and without the files of others; twice, and where nothing was installed at all."""
    scope = ("--manager", manager, "--python", "3.11", "--python", "pypy3.10")
    if furnished:
        system.furnish(manager)
    before = tree(system.root)

    assert "was not there" in system.hooks("uninstall", *scope)
    assert before == tree(system.root)
    system.hooks("install", *scope)
    installed = tree(system.root)
    assert files(system.root).keys() > {name for name, facts in before.items() if facts[0] != stat.S_IFDIR}
    assert all(installed[name] == facts for name, facts in before.items())
    system.hooks("install", *scope)
    assert installed == tree(system.root)
    would = system.hooks("uninstall", "--dry-run", *scope)
    assert (True, installed) == ("would be removed" in would, tree(system.root))

    for word in ("removed", "was not there"):
        said = system.hooks("uninstall", *scope)
        assert {word} == {line.partition(":")[0] for line in said.splitlines()}
        after = tree(system.root)
        directories = {name: facts for name, facts in installed.items() if facts[0] == stat.S_IFDIR}
        assert {**before, **directories} == after
    assert not system.state.exists()


@pytest.mark.parametrize("manager", MANAGERS)
def test_flavours_go_one_by_one(system: System, manager: str) -> None:
    """What the second one installed is removed with it; what the first one has stays until it is removed."""
    system.hooks("install", "--manager", manager, "--python", "3.12")
    one = tree(system.root)
    system.hooks("install", "--manager", manager, "--python", "3.13t")

    system.hooks("uninstall", "--manager", manager, "--python", "3.13t")
    assert one == tree(system.root)
    system.hooks("uninstall", "--manager", manager, "--python", "3.12")
    assert {} == files(system.root)


@pytest.mark.parametrize("manager", MANAGERS)
def test_what_was_changed_since_stays(system: System, manager: str) -> None:
    """It is named, with exit 1; unchanged files are removed anyway, and so is this one once it is changed back."""
    directory, _, own = PLACES[manager]
    scope = ("--manager", manager, "--python", "3.11")
    system.hooks("install", *scope)
    changed = system.root / directory / own
    original = changed.read_bytes()
    changed.write_bytes(original + b"# by hand\n")

    for _ in range(2):
        said = system.hooks("uninstall", *scope, code=1)
        kept = [each for each in said.splitlines() if not each.startswith(("removed: ", "was not there: "))]
        assert [f"kept: {system.root}/{directory}/{own}: {_OTHER}"] == kept
        assert [own] == os.listdir(system.root / directory)
        assert original + b"# by hand\n" == changed.read_bytes()

    changed.write_bytes(original)
    assert f"removed: {system.root}/{directory}/{own}\n" in system.hooks("uninstall", *scope)
    assert {} == files(system.root)


#: What is said of a hook that isn't what these options install.
_OTHER = "it isn't what these options install; remove it by hand, or use the options that it was installed with"


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
def test_what_is_not_ours_is_replaced_by_force_only(system: System, manager: str, kind: str) -> None:
    """Else it is named, exit 1, and nothing changes; a link is replaced itself, not what it leads to."""
    directory, other, own = PLACES[manager]
    system.furnish(manager)
    place = system.root / directory / own
    if kind == "file":
        place.write_bytes(b"somebody's\xff\n")
    else:
        place.symlink_to(other if kind == "link" else "nowhere")
    scope = ("--manager", manager, "--python", "3.11")
    before = tree(system.root)

    refused = f"refused: {place}: a file that isn't ours is in its place; --force installs it anyway\n"
    assert refused in system.hooks("install", *scope, code=1)
    assert f"left alone: {place}: it isn't ours\n" in system.hooks("uninstall", *scope)
    assert before == tree(system.root)

    system.hooks("install", "--force", *scope)
    installed = tree(system.root)
    del before[f"{directory}/{own}"]
    assert stat.S_IFREG == installed[f"{directory}/{own}"][0]
    assert all(installed[name] == facts for name, facts in before.items())
    system.hooks("uninstall", *scope)
    assert before == tree(system.root)
    assert not system.state.exists()


def test_a_hook_of_other_options_is_ours_but_not_to_the_letter(system: System) -> None:
    """It is replaced without force, and removed by a call with its own options only."""
    scope = ("--manager", "pacman", "--python", "3.11")
    system.hooks("install", *scope, "--site-dir", "/srv/one")
    one = files(system.root)

    said = system.hooks("uninstall", *scope, code=1)
    assert ([_OTHER] * 3, one) == ([line.split(": ", 2)[2] for line in said.splitlines()], files(system.root))
    system.hooks("install", *scope)
    assert one.keys() == files(system.root).keys()
    assert not [name for name, facts in files(system.root).items() if facts == one[name]]
    system.hooks("install", *scope, "--site-dir", "/srv/one")
    system.hooks("uninstall", *scope, "--site-dir", "/srv/one")
    assert {} == files(system.root)


def contents(top: Path) -> dict[str, Entry]:
    """All that is no directory, without owner and time, which differ between a system and another, or a copy."""
    return {name: facts[:2] + facts[4:-1] for name, facts in files(top).items()}


def test_killed_at_any_moment_of_an_install(tmp_path: Path) -> None:
    """Each file is as before or whole; the next install leaves what a first one leaves, and an uninstall nothing."""
    scope = ("--manager", "pacman", "--python", "3.11")
    place = "etc/pacman.d/hooks/pyctrigger-py311-install.hook"

    def prepared(name: str) -> System:
        system = System(tmp_path / name)
        system.furnish("pacman")
        write_tree(system.root, {place: "theirs\n"})
        return system

    whole = prepared("whole")
    before = contents(whole.root)
    whole.live("install", "--force", *scope)
    installed = contents(whole.root)
    assert 3 == len([name for name, facts in installed.items() if facts != before.get(name)])
    deeds = 0
    while (system := prepared(f"{deeds}-again")).die(deeds, "install", "--force", *scope):
        seen = {name: facts for name, facts in contents(system.root).items() if not name.endswith(".tmp")}
        assert all(facts in (before.get(name), installed.get(name)) for name, facts in seen.items())
        assert {name for name in before if not name.endswith(".tmp")} <= seen.keys()
        undone = System(tmp_path / f"{deeds}-undone")
        shutil.copytree(system.root, undone.root, symlinks=True, dirs_exist_ok=True)
        system.live("install", "--force", *scope)
        assert installed == contents(system.root), f"killed after {deeds} deeds"
        for each in (system, undone):
            each.live("uninstall", *scope)
            left = contents(each.root)
            left.pop(place, None)  # somebody else's, if the kill came before it was replaced
            assert {name: facts for name, facts in before.items() if name != place} == left, f"after {deeds} deeds"
        deeds += 1
    assert deeds > 12


def test_killed_at_any_moment_of_an_uninstall(tmp_path: Path) -> None:
    """Each file is whole or gone, and the next one finishes the work."""
    scope = ("--manager", "pacman", "--python", "3.11")
    deeds = 0
    while True:
        system = System(tmp_path / str(deeds))
        system.furnish("pacman")
        before = contents(system.root)
        system.live("install", *scope)
        installed = contents(system.root)
        killed = system.die(deeds, "uninstall", *scope)
        assert before.items() <= contents(system.root).items() <= installed.items()
        system.live("uninstall", *scope)
        assert before == contents(system.root), f"killed after {deeds} deeds"
        if not killed:
            break
        deeds += 1
    assert deeds > 4


class Pause:
    """Makes a process wait, after it reported by a byte that it got that far."""

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
    ("actions", "version", "expected"),
    [
        (("install", "uninstall"), "3.11", {0, 3}),
        (("uninstall", "install"), "3.11", {0, 3}),
        (("install", "install"), "3.12", {6}),
    ],
)
def test_another_call_at_any_moment(tmp_path: Path, actions: tuple[str, str], version: str, expected: set[int]) -> None:
    """Stopped anywhere, a call is waited for: a hook's three files are all there afterwards, or none of them."""
    scope = ("--manager", "pacman", "--python")
    deeds = 0
    while True:
        system = System(tmp_path / str(deeds))
        if actions[0] == "uninstall":
            system.live("install", *scope, "3.11")
        first = system.start(deeds, actions[0], *scope, "3.11", ending=signal.SIGSTOP)
        stopped = os.WIFSTOPPED(os.waitpid(first, os.WUNTRACED)[1])
        pause = Pause()
        second = system.start(_NEVER, actions[1], *scope, version, pause=pause)
        pause.await_it()
        if stopped:
            os.kill(first, signal.SIGCONT)
            assert 0 == ended(first)
        assert 0 == ended(second)
        assert len(files(system.root)) in expected, f"stopped after {deeds} deeds"
        if not stopped:
            break
        deeds += 1
    assert deeds > 4


def test_a_directory_in_the_place_of_a_hook_is_left_alone(system: System) -> None:
    """Neither replaced nor removed, be it forced: path and reason, and none of the hook's other files comes."""
    place = system.root / "etc/pacman.d/hooks/pyctrigger-py311-upgrade.hook"
    place.mkdir(parents=True)
    before = tree(system.root)
    scope = ("--manager", "pacman", "--python", "3.11")

    refused = f"{place}: something that isn't a file is in its place"
    assert refused in system.call("install", "--force", *scope, code=2).stderr
    assert before == tree(system.root)
    assert f"left alone: {place}: " in system.hooks("uninstall", *scope)
    assert before == tree(system.root)


#: What release 0.1.0 wrote when it put its hook in the place of a file that said "theirs".
_REMEMBERED: dict[str, Any] = {
    "format": 1,
    "put": {"kind": "file", "content": "", "mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0},
    "before": {"kind": "file", "content": b"theirs\n".hex(), "mode": 0o640, "uid": 0, "gid": 0, "mtime_ns": 1},
}


@pytest.mark.parametrize("kind", ["file", "link", "absent"])
def test_what_the_first_release_remembered_is_named_and_kept(system: System, kind: str) -> None:
    """Nothing is put back, and the record with its content stays where it is."""
    scope = ("--manager", "apk", "--python", "3.11")
    system.hooks("install", *scope)
    place = f"{system.root.resolve()}/etc/apk/commit_hooks.d/pyctrigger-py311"
    name = f"hooks/hook-{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    before = {**_REMEMBERED["before"], "kind": kind}
    record = {**_REMEMBERED, "path": place.encode().hex(), "before": before}
    write_tree(system.state, {name: json.dumps(record)})

    said = system.call("uninstall", *scope)

    line = f"{place}: the file that release 0.1.0 replaced by a hook is kept in {system.state}/{name}, "
    assert (kind != "absent", {}) == (line in said.stderr, files(system.root))
    assert record == json.loads((system.state / name).read_text())


#: Without `--root`: in copies of the directories that hooks come into, which only this process and its children see.
_WITHOUT_ROOT = """
import json, subprocess, sys
sys.path[:] = sys.argv[1].split(":")
from pathlib import Path
from test_undo import files
from os.path import join
def look():
    return {top: files(Path(top)) for top in ("/etc", "/usr/local/share/pkg", "/usr/local/libexec", "/var/lib")}
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
print(json.dumps([new, before == after]))
"""


def test_without_a_root_the_system_has_the_files_that_it_had(as_root: None, tmp_path: Path) -> None:
    """All managers' hooks come and go in this system's own directories, and nothing else comes."""
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
    program = [sys.executable, "-c", _WITHOUT_ROOT, ":".join(sys.path)]

    child = subprocess.run(
        [unshare, "-m", "sh", "-c", f'{script} && exec "$@"', "sh", *program], stdout=subprocess.PIPE, check=True
    )

    new, same = json.loads(child.stdout)
    places = {f"/{directory}/{own}" for directory, _, own in PLACES.values()}
    assert (True, 7, True) == (same, len(new), places <= set(new))


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
    """Everything that `run` wrote is removed, and nothing that was there before, whoever owns it."""
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
    """`--python` twice selects two flavours; other programs' files and the sources stay unchanged."""
    write_tree(site, {"ours/a.py": "", "ours/sub/b.py": ""})
    strangers(site, "cpython-399")
    before = tree(site)
    pythons = [word for each in interpreters[-2:] for word in ("--python", each.path)]
    assert 0 == pyctrigger.text("run", *pythons, "--site-dir", site).code
    assert before != tree(site)

    assert 0 == pyctrigger.text("purge", *pythons, "--site-dir", site).code

    assert before == tree(site)
