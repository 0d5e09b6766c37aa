"""The systems in which the documents' commands are run: what a reader of each page has before the first one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

import corpus
from archives import build, compile_tree, package_tree
from builder.distfiles import fetch
from confinement import NOBODY, private_mounts
from conftest import absent
from dask_cluster import node_environment, node_python
from debian_chroot import Chroot, copy_of, sid_chroot
from dnf_inside import add_dnf
from environment import CHECKOUT
from fresh_debian import PATH, WORKSHOP, bootstrapped, certificates, network
from image_builder import builder, hide_cache
from installations import make_prefix
from manager_packages import Payload, built_pyctrigger, checkout_of, need_tools, new_system, site_of
from packages import write_tree
from pacman_root import PacmanRoot
from rpm_root import RpmRoot
from scratch_root import lay_out, library_of, relocatable
from system_tools import find_tool
from workshop import workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from documents import Block, Step
    from interpreters import Interpreter
    from manager_packages import ManagedRoot

#: Seconds for one command. The longest of them makes a Debian.
PATIENCE = 600
USER = "reader"
#: The package in a conda's cache of packages.
CONDA = "demo-1-0.conda"
USER_ID = 1000
#: Brings up the loopback of a new network, where not every system has ip(8): SIOCSIFFLAGS, IFF_UP.
_LOOPBACK = (
    f"{sys.executable} -c 'import fcntl, socket, struct; "
    'fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0x41))\''
)
#: In the place of a shell that would talk to a reader: `chroot DIRECTORY` starts $SHELL.
_NO_TALK = "/bin/true"
#: Divides what a command printed from what we ask the shell afterwards.
_END = "\036"
_LEFT_OUT = (".git", ".venv", ".venv-docs", ".*_cache", ".hypothesis", "__pycache__", "out", "distfiles")


class Said(NamedTuple):
    """What became of a command."""

    code: int
    output: str


@dataclass
class Place:
    """A system, or a part of one, in which a page's commands follow one another."""

    enter: Callable[[bool], list[str]]
    """The start of a command line that goes on there, as root or not."""
    top: Callable[[], Path]
    """Its root, as seen from here."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: dict[bool, str] = field(default_factory=lambda: {True: "/root", False: f"/home/{USER}"})
    before: Callable[[Step], bool] = lambda _step: False
    """Does what a command does in another way, if it can."""
    _code: int = 0

    def run(self, step: Step) -> Said:
        """One command, as typed after all before it: the directory and `$?` are as they left them."""
        if self.before(step):
            return Said(0, "")
        ending = f'\nprintf \'{_END}%s{_END}%s\' "$?" "$PWD"'
        script = f"cd '{self.directory[step.as_root]}'; (exit {self._code})\n{step.command}{ending}"
        home = "/root" if step.as_root else f"/home/{USER}"
        variables = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": home, "DEBIAN_FRONTEND": "noninteractive"}
        words = [f"{name}={value}" for name, value in {**variables, **self.environment}.items()]
        child = subprocess.run(
            [*self.enter(step.as_root), "/usr/bin/env", "-i", *words, "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        output, *after = child.stdout.decode("utf-8", "replace").split(_END)
        if len(after) == 2:
            self._code, self.directory[step.as_root] = int(after[0]), after[1]
        else:  # it ended the shell
            self._code = child.returncode
        return Said(self._code, output)

    def starting_in(self, directory: str) -> Place:
        """The same system, where somebody else begins in another directory."""
        return replace(self, directory={True: directory, False: directory}, _code=0)

    def write(self, block: Block) -> None:
        """What a page has its reader write."""
        file = self.top() / block.path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")


class Places:
    """The places of one page, each made when its first command comes; all are gone with it."""

    def __init__(self, scratch: Path, debians: Debians, stack: ExitStack) -> None:
        self._scratch = scratch
        self._debians = debians
        self._stack = stack
        self._made: dict[str, Place] = {}

    def __getitem__(self, name: str) -> Place:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Place:
        if name in ("debian", "hooked"):
            original = self._debians.hooked if name == "hooked" else self._debians.bare
            return inside(self._stack.enter_context(copy_of(original)).top, {})
        if name == "appliance":
            return self._appliance()
        if name == "machine":
            return self._machine()
        if name == "fresh":
            return inside(self["machine"].top() / "srv/tutorial", network())
        if name == "conda":
            return self._with_conda()
        if name == "cluster":
            return self._with_dask()
        if name == "fleet":
            return self._with_redis()
        if name == "builder":
            return self._builder()
        if name == "shells":
            return self._with_shells()
        if name == "workshop":
            return self._workshop()
        if name == "fedora":
            return self._managed(RpmRoot)
        assert name == "arch"
        return self._managed(PacmanRoot)

    def _machine(self) -> Place:
        """This machine, in a checkout, with a directory of its own where the tutorial works."""
        checkout = self._scratch / "checkout"
        if not checkout.exists():
            shutil.copytree(CHECKOUT, checkout, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        mounts = self._stack.enter_context(private_mounts(f"mount -t tmpfs none {WORKSHOP}"))
        seen = Path(mounts[1].partition("=")[2]).parent.parent / "root"
        # Its Python has a pip, and pyctrigger.
        path = f"{os.path.dirname(sys.executable)}:{PATH}"
        place = _machine_place(mounts, seen, {**network(), "PATH": path, "SHELL": _NO_TALK})
        place.directory = {True: str(checkout), False: str(checkout)}
        return place

    def _appliance(self) -> Place:
        """The hooked Debian, with private mounts."""
        top = self._stack.enter_context(copy_of(self._debians.hooked)).top
        mounts = self._stack.enter_context(private_mounts(f"mount --bind {top} {top}"))
        place = inside(top, {})
        enter = place.enter
        place.enter = lambda as_root: [*mounts, *enter(as_root)]
        return place

    def _with_conda(self) -> Place:
        """This machine, with an environment laid out as conda's are, and a package as conda-build makes them.

        Both are made here, of a Python of this machine's: no conda is, and no channel can be reached.
        """
        place = self["machine"]
        (interpreter,) = _documented_pythons(1)
        make_prefix(interpreter, self._scratch / "science")
        environment = place.top() / "srv/conda/envs/science"
        environment.parent.mkdir(parents=True)
        site = self._scratch / "science/lib" / library_of(interpreter) / "site-packages"
        shutil.rmtree(site)
        write_tree(site, {"solver/__init__.py": "from . import linear\n", "solver/linear.py": "def solve(): ...\n"})
        shutil.move(self._scratch / "science", environment)
        packages = self._scratch / "packages"
        compile_tree(interpreter, package_tree(packages))
        _age(packages)
        build(CONDA, packages, place.top() / "srv/conda/pkgs")
        return place

    def _with_dask(self) -> Place:
        """A machine without a way out, where a mirror is served; an account without rights has Dask's programs."""
        mounts = self._stack.enter_context(
            private_mounts(f"mount -t tmpfs none {WORKSHOP}; mount -t proc none /proc; {_LOOPBACK}", alone=True)
        )
        seen = Path(mounts[1].partition("=")[2]).parent.parent / "root"
        home, programs, pool = (seen / f"srv/{name}" for name in ("reader", "bin", "mirror/pool"))
        for directory in (home, programs, pool):
            directory.mkdir(parents=True)
        os.chown(home, NOBODY, NOBODY)
        for name in ("dask", "pyctrigger"):
            variables = " ".join(f"'{key}={value}'" for key, value in node_environment(Path("/srv/reader")).items())
            ours = f'[ "$(id -u)" = 0 ] && exec {sys.executable} -m {name} "$@"'
            (programs / name).write_text(f'#!/bin/sh\n{ours}\nexec env {variables} {node_python()} -m {name} "$@"\n')
            (programs / name).chmod(0o755)
        (interpreter,) = _documented_pythons(1)
        make_prefix(interpreter, self._scratch / "python")
        shutil.move(self._scratch / "python", seen / "srv/python3.13")
        for name, change in (("demo-new", lambda _: None), ("demo-old", _age)):
            compile_tree(interpreter, package_tree(self._scratch / name))
            change(self._scratch / name)
            (built,) = (build("demo_xz.deb", self._scratch / name, self._scratch / f"{name}-built"),)
            shutil.copy(built, pool / f"{name}.deb")
        index = "".join(f"Package: {name}\nFilename: pool/{name}.deb\n\n" for name in ("demo-new", "demo-old"))
        (pool.parent / "Packages").write_text(index)
        serve = f"{sys.executable} -m http.server --bind 127.0.0.1 --directory /srv/mirror 8080 >/dev/null 2>&1 &"
        subprocess.run([*mounts, "sh", "-c", serve], stdin=subprocess.DEVNULL, check=True)
        setpriv = find_tool("setpriv")
        if setpriv is None:
            absent("no setpriv (Debian package util-linux)")
        account = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        place = Place(lambda as_root: [*mounts, *([] if as_root else account)], lambda: seen)
        place.environment = {"PATH": f"/srv/bin:{PATH}", "HOME": "/srv/reader"}
        return place.starting_in("/srv/reader")

    def _with_redis(self) -> Place:
        """A machine without a way out, for builder, server and machine of a fleet: the same sources twice."""
        if find_tool("redis-server") is None:
            absent("no redis-server on this machine (Debian package redis-server)")
        mounts = self._stack.enter_context(
            private_mounts(
                f"mount -t tmpfs -o mode=755 none {WORKSHOP}; mount -t proc none /proc; {_LOOPBACK}", alone=True
            )
        )
        seen = Path(mounts[1].partition("=")[2]).parent.parent / "root"
        (seen / "srv").chmod(0o755)
        for name in ("builder", "machine"):
            app = write_tree(seen / f"srv/{name}/app", {"demo.py": "def f():\n    return 1\n", "other.py": "x = 1\n"})
            for path in (app, app.parent):
                path.chmod(0o755)
        for name in ("bin", "redis"):
            (seen / f"srv/{name}").mkdir()
        program = seen / "srv/bin/pyctrigger"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyctrigger "$@"\n')
        program.chmod(0o755)
        (interpreter,) = _documented_pythons(1)
        make_prefix(interpreter, self._scratch / "python")
        shutil.move(self._scratch / "python", seen / "srv/python3.13")
        place = Place(lambda _as_root: mounts, lambda: seen)
        place.environment = {"PATH": f"/srv/bin:{PATH}", "HOME": "/srv"}
        return place.starting_in("/srv")

    def _with_shells(self) -> Place:
        """This machine, with three shells, and a home as Debian makes it."""
        for shell in ("bash", "zsh", "fish"):
            if find_tool(shell) is None:
                absent(f"no {shell} on this machine (Debian package {shell})")
        place = self["machine"]
        home = "/srv/home"
        made = place.top() / home.lstrip("/")
        made.mkdir()
        # Debian's ends here for a shell that isn't interactive: what is appended to it has no effect there.
        (made / ".bashrc").write_text("case $- in *i*) ;; *) return ;; esac\n", encoding="utf-8")
        return replace(place, environment={**place.environment, "HOME": home}).starting_in(home)

    def _builder(self) -> Place:
        """This machine, with buildah, and the Debian package of pyctrigger."""
        place = self["machine"]
        subprocess.run([*place.enter(True), "sh", "-c", hide_cache()], check=True)
        environment = {**place.environment, **builder(self._scratch / "containers")}
        (package,) = (self._debians.bare.outside("/root")).glob("pyctrigger_*.deb")
        (place.top() / "srv/image").mkdir()
        shutil.copy2(package, place.top() / "srv/image")
        return replace(place, environment=environment)

    def _workshop(self) -> Place:
        """A Debian sid with what packages are built with, and a checkout."""
        top = self._stack.enter_context(workshop()).top
        checkout = "/usr/src/pyctrigger"
        inner = top / checkout.lstrip("/")
        shutil.copytree(CHECKOUT, inner, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        shutil.copytree(next(iter(fetch(CHECKOUT).values())).parent, inner / "ports/distfiles")
        return inside(top, {}).starting_in(checkout)

    def _managed(self, kind: type[ManagedRoot]) -> Place:
        """A root with two Pythons, the manager itself, and the package file that the page before had built."""
        need_tools(kind)
        _documented_pythons(2)
        system = new_system(kind, self._scratch)
        for path in _package_files(kind, system, self._scratch):
            shutil.copy2(path, system.root.outside("/root"))
        _add_manager(kind, system, self._scratch)
        if kind is PacmanRoot:
            self._add_own_python(system)
        for aliases in Path("/usr/lib/rpm").glob("rpmpopt*") if kind is RpmRoot else ():
            shutil.copy2(aliases, system.root.put(str(aliases), ""))  # many of rpm's options are in it
        return inside(system.root.top, {})

    def _add_own_python(self, system: ManagedRoot) -> None:
        """A Python in /opt/python, as somebody builds one."""
        lay_out(system.pythons[1], self._scratch / "own")
        (system.root.outside("/opt")).mkdir()
        own = system.root.outside("/opt/python")
        shutil.move(self._scratch / "own/usr", own)
        (own / "lib" / library_of(system.pythons[1]) / "site-packages").mkdir()


class Debians:
    """Debian sid with the package file of pyctrigger in root's home, and the same with the package installed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._bare: Chroot | None = None
        self._hooked: Chroot | None = None

    @property
    def bare(self) -> Chroot:
        """Made at the first question."""
        if self._bare is None:
            sid = self._stack.enter_context(sid_chroot(application=False))
            scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pyctrigger-")))
            package = built_pyctrigger("deb", checkout_of(scratch / "checkout"), scratch)
            for each in package.parent.glob("pyctrigger*.deb"):
                shutil.copy2(each, sid.outside("/root"))
            # As an installed system knows its own name; sudo looks it up.
            sid.outside("/etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n")
            assert sid.run("useradd", "--create-home", "--uid", str(USER_ID), USER).code == 0
            self._bare = sid
        return self._bare

    @property
    def hooked(self) -> Chroot:
        """Made at the first question."""
        if self._hooked is None:
            sid = self._stack.enter_context(copy_of(self.bare))
            outcome = sid.run("sh", "-c", "dpkg --install /root/pyctrigger_*.deb")
            assert outcome.code == 0, outcome.out + outcome.err
            self._hooked = sid
        return self._hooked


@contextmanager
def debians() -> Iterator[Debians]:
    """Shared by all pages; each gets copies."""
    with ExitStack() as stack:
        yield Debians(stack)


@contextmanager
def places(debians: Debians) -> Iterator[Places]:
    """Those of one page."""
    with ExitStack() as stack:
        room = corpus.memory(programs=True)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyctrigger-page-", dir=room)))
        scratch.chmod(0o755)
        yield Places(scratch, debians, stack)


# ------------------------------------------------------------------------------------------------------------- entering


def inside(top: Path, environment: Mapping[str, str]) -> Place:
    """A place whose root is a directory."""
    chroot = find_tool("chroot")
    if chroot is None or os.geteuid() != 0:
        absent("needs root, and chroot")

    def enter(as_root: bool) -> list[str]:
        account = [] if as_root else [f"--userspec={USER_ID}:{USER_ID}"]
        return [chroot, *account, str(top)]

    for path in certificates(environment):
        target = top / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return Place(enter, lambda: top, environment)


def _machine_place(mounts: list[str], seen: Path, environment: Mapping[str, str]) -> Place:
    def before(step: Step) -> bool:
        # A minute and a network the first time; afterwards what the very same command made.
        return step.command.startswith("debootstrap ") and bootstrapped(step.command, seen)

    return Place(lambda _as_root: mounts, lambda: seen, environment, before=before)


def _documented_pythons(count: int) -> list[Interpreter]:
    """The interpreters of this machine that go into roots: the newest has to be the one that the pages name."""
    found = relocatable(count)
    if not found or found[0].version[:2] != (3, 13):
        absent("the documents name Python 3.13, which isn't this machine's newest that can be copied")
    return found


# ----------------------------------------------------------------------------------------------------- rpm and pacman


_PAYLOADS = (
    (1, {"greeter/__init__.py": 'WORDS = "hello"\n', "greeter/old.py": "VALUE = 1\n"}),
    (2, {"greeter/__init__.py": 'WORDS = "howdy"\n'}),
)


def _package_files(kind: type[ManagedRoot], system: ManagedRoot, scratch: Path) -> list[Path]:
    """pyctrigger's package, two versions of one for the newer Python, to try it with, and one with bytecode in it."""
    found = [built_pyctrigger(kind.format, checkout_of(scratch / "built"), scratch)]
    for version, files in _PAYLOADS:
        payload = Payload("python3-greeter", version, scratch / f"greeter-{version}")
        found.append(kind.build(payload.add(site_of(system.pythons[0]), files).settle(), scratch))
    python = system.pythons[0]
    bundled = Payload("python3-bundled", 1, scratch / "bundled").add(site_of(python), {"bundled.py": "VALUE = 1\n"})
    if kind is PacmanRoot:  # the next version
        bundled = Payload("python3-greeter", 3, scratch / "bundled").add(site_of(python), _PAYLOADS[-1][1])
    bundled.ship_bytecode(python, site_of(python))
    if kind is RpmRoot:  # as Fedora's builds make them, some time ago
        _age(bundled.top)
    return [*found, kind.build(bundled.settle(), scratch)]


def _age(top: Path) -> None:
    """The bytecode there is as 3.13's alpha 6 wrote it, one magic number before the first beta."""
    for pyc in top.rglob("*.cpython-313.pyc"):
        pyc.write_bytes((3570).to_bytes(2, "little") + pyc.read_bytes()[2:])


#: Debian's rpm wants to be told that it is meant, and neither finds a package that provides Python.
_MANAGERS = {
    "rpm": 'case $1 in -[UFie]*) exec {real} --nodeps --force-debian "$@";; esac',
    "pacman": 'case $1 in -[UR]*) exec {real} --noconfirm --noprogressbar -dd "$@";; esac',
}
_PACMAN_CONF = """\
[options]
SigLevel = Never
LocalFileSigLevel = Never
Architecture = auto
"""


def _add_manager(kind: type[ManagedRoot], system: ManagedRoot, scratch: Path) -> None:
    """The manager itself inside, for whoever types its name there."""
    root, name = system.root, kind.tools[0]
    system.add_itself()
    if kind is PacmanRoot:
        root.put("/etc/pacman.conf", _PACMAN_CONF)
    program = find_tool(name)
    assert program is not None
    root.add_program(os.path.realpath(program), f"/usr/libexec/{name}")
    script = f'#!/bin/sh\n{_MANAGERS[name]}\nexec {{real}} "$@"\n'.replace("{real}", f"/usr/libexec/{name}")
    if kind is RpmRoot:
        add_dnf(system, scratch)
    root.outside(f"/usr/bin/{name}").unlink(missing_ok=True)
    root.put(f"/usr/bin/{name}", script).chmod(0o755)
    for tool in ("ls", "cp", "mv", "truncate"):
        path = find_tool(tool)
        assert path is not None
        root.add_program(os.path.realpath(path), f"/usr/bin/{tool}")
