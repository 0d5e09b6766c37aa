"""Packages for rpm and pacman made in a test, the root that they go into, and what has to be true of it afterwards."""

from __future__ import annotations

import abc
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Callable, ClassVar

from conftest import absent
from environment import CHECKOUT
from interpreters import tag_of
from layered import another
from packages import not_fresh_at, sources_below, write_tree
from scratch_root import ScratchRoot, binaries_of, lay_out, library_of, new_root, relocatable
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interpreters import Interpreter

#: The time of every file in version 0 of a package; each version's is a second later, as in archives that clamp.
CLAMPED = 1_600_000_000
_SECONDS = 300
_PYC = re.compile(r"(?P<stem>.+?)\.(?P<tag>[a-z]+-?[0-9]+)(?:\.opt-(?P<level>[12]))?\.pyc\Z")

#: Compiles the sources named on standard input as a package's build does; the header's time is the argument's, if any.
_COMPILE = r"""
import importlib.util, os, py_compile, sys
for line in sys.stdin.buffer.read().split(b"\0"):
    path = os.fsdecode(line)
    pyc = py_compile.compile(path, doraise=True)
    if len(sys.argv) > 1:
        with open(pyc, "r+b") as file:
            file.seek(8)
            file.write(int(sys.argv[1]).to_bytes(4, "little"))
"""


def site_of(interpreter: Interpreter, lib: str = "lib") -> str:
    """Where packages put sources for it, as seen inside."""
    return f"/usr/{lib}/{library_of(interpreter)}/site-packages"


@dataclass
class Payload:
    """A package to build: its name, its version, and the files that it has, below a directory of its own."""

    name: str
    version: int
    top: Path
    claims: set[str] = field(default_factory=set)
    """The paths that it owns, with all that is below them."""
    provides: tuple[str, ...] = ()
    """What it is besides, for rpm."""

    def add(self, site: str, files: dict[str, str]) -> Payload:
        """Put files into a site directory; those directly in it are the package's."""
        write_tree(self.top / site.lstrip("/"), files)
        self.claims |= {f"{site}/{name.split('/')[0]}" for name in files}
        return self

    def ship_bytecode(self, interpreter: Interpreter, site: str, *, header_time: int | None = None) -> Payload:
        """Add the bytecode of what it has in a site directory, stale if the header's time is another one."""
        top = self.top / site.lstrip("/")
        sources = sources_below(top)
        self.settle()
        arguments = [] if header_time is None else [str(header_time)]
        subprocess.run(
            [interpreter.path, "-I", "-c", _COMPILE, *arguments],
            input=b"\0".join(sources),
            timeout=_SECONDS,
            check=True,
        )
        pycs = (top / "__pycache__").glob("*.pyc")
        self.claims |= {f"{site}/__pycache__/{pyc.name}" for pyc in pycs}
        return self

    def settle(self) -> Payload:
        """Give every file its version's one time."""
        time = CLAMPED + self.version
        for directory, _, names in os.walk(self.top):
            for name in names:
                os.utime(os.path.join(directory, name), (time, time), follow_symlinks=False)
            os.utime(directory, (time, time))
        return self


class ManagedRoot(abc.ABC):
    """A scratch root with two Pythons, whose packages one package manager keeps."""

    format: ClassVar[str]
    """As `ports/build` takes it."""
    levels: ClassVar[tuple[int, ...]]
    """The optimization levels of the system's policy."""
    tools: ClassVar[tuple[str, ...]]

    def __init__(self, root: ScratchRoot, pythons: list[Interpreter], packages: dict[str, Path]) -> None:
        self.root = root
        self.pythons = pythons
        #: The packages of the interpreters, by their names.
        self.packages = packages
        self.armed = True

    # -- what each manager does in its own way --

    @classmethod
    @abc.abstractmethod
    def build(cls, payload: Payload, outdir: Path) -> Path:
        """Build a package with the manager's own tools."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make the empty database, and whatever the manager needs inside."""

    @abc.abstractmethod
    def command(self, verb: str, packages: Sequence[str]) -> list[str]:
        """The command line of one transaction: install, upgrade, reinstall, erase, or replace unowned files."""

    @abc.abstractmethod
    def owned(self) -> set[str]:
        """Every path that a package owns, asked from the manager itself."""

    @abc.abstractmethod
    def complaints(self) -> str:
        """What the manager finds wrong with the installed packages."""

    def disarm(self) -> None:
        """From now on no hook and no scriptlet runs."""
        self.armed = False

    def add_itself(self) -> None:
        """Put the manager inside as well, as every real system has it, for hooks that need it; few do."""
        return

    # -- transactions --

    def transact(self, verb: str, *packages: Path | str) -> str:
        """One transaction, which has to succeed; everything that it prints."""
        child = subprocess.run(
            self.command(verb, [str(package) for package in packages]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
        said = child.stdout.decode("utf-8", "replace")
        assert child.returncode == 0, said
        return said

    def unlock(self) -> None:  # noqa: B027 - most have nothing to unlock
        """What an administrator does after the manager was killed; nothing, unless its kind says otherwise."""

    @contextmanager
    def copy(self, *, whole: bool = False) -> Iterator[ManagedRoot]:
        """The same system once more, for as long as it is needed. Unless `whole`, this one may not change meanwhile."""
        with another(self.root.top, self.root.top.parent, whole=whole) as top:
            yield type(self)(ScratchRoot(top), self.pythons, self.packages)

    def step(self, act: Callable[[ManagedRoot], object]) -> None:
        """One step, on a copy whose hooks don't run, which has to leave trouble; then for real, which must not."""
        with self.copy() as bare:
            bare.disarm()
            act(bare)
            assert bare.troubles() != [], "without hooks nothing is wrong either: this step proves nothing"
        act(self)
        self.require_order()

    def require_order(self, *, without_hooks: bool = False) -> None:
        """Nothing is wrong, and the manager finds nothing wrong."""
        troubles, complaints = self.troubles(without_hooks=without_hooks), self.complaints()
        assert not troubles, "\n".join(troubles)
        assert not complaints, complaints

    # -- what the disk says --

    def has_python(self, interpreter: Interpreter) -> bool:
        """Whether it is installed at the moment."""
        return self.root.outside(f"/usr/bin/{library_of(interpreter)}").exists()

    def troubles(self, *, without_hooks: bool = False) -> list[str]:
        """Everything that is wrong with the bytecode; with `without_hooks`, no bytecode but packages' own is right."""
        owned = self.owned()
        found = []
        for interpreter in self.pythons:
            wanted = () if without_hooks or not self.has_python(interpreter) else self.levels
            for lib in ("lib", "lib64"):
                site = self.root.outside(site_of(interpreter, lib))
                found += self._stray(site, tag_of(interpreter), wanted, owned)
                found += self._unfresh(site, interpreter, wanted, owned)
        return sorted(found)

    def _inside(self, path: str) -> str:
        return path[len(str(self.root.top)) :]

    def _stray(self, site: Path, tag: str, levels: tuple[int, ...], owned: set[str]) -> list[str]:
        """Bytecode that shouldn't be there, and directories with nothing but such, or nothing at all, in them."""
        found = []
        for directory, directories, names in os.walk(site):
            inside = self._inside(directory)
            if os.path.basename(directory) == "__pycache__":
                for name in names:
                    if f"{inside}/{name}" not in owned and not _belongs(name, Path(directory).parent, tag, levels):
                        found.append(f"stray {inside}/{name}")
            elif directory != str(site) and not names and directories in ([], ["__pycache__"]):
                found.append(f"leftover {inside}")
            if os.path.basename(directory) == "__pycache__" and not names:
                found.append(f"leftover {inside}")
        return found

    def _unfresh(self, site: Path, interpreter: Interpreter, levels: tuple[int, ...], owned: set[str]) -> list[str]:
        """Sources whose bytecode, unless a package owns it, the interpreter wouldn't take as it stands.

        Judged by the interpreter's importlib, and by the code itself.
        """
        found = []
        judged: dict[int, list[bytes]] = {}
        for level in levels:
            suffix = f".opt-{level}" if level else ""
            sources = judged[level] = []
            for source in sources_below(site):
                directory, name = os.path.split(self._inside(os.fsdecode(source)))
                if f"{directory}/__pycache__/{name[:-3]}.{tag_of(interpreter)}{suffix}.pyc" not in owned:
                    sources.append(source)
        asked = {source for sources in judged.values() for source in sources}
        for level, source, reason in not_fresh_at(interpreter, sorted(asked), levels) if asked else ():
            if source in judged[level]:
                found.append(f"{reason} at {level}: {self._inside(os.fsdecode(source))}")
        return found + [f"other code: {self._inside(pyc)}" for pyc in other_code(interpreter, judged)]

    def leftovers(self) -> list[str]:
        """Every path of pyctrigger's own in the root."""
        return sorted(self._inside(str(path)) for path in self.root.top.rglob("*pyctrigger*"))


#: Compares the code in the pyc of each source with what the source gives now. File names aside: the root is seen from
#: outside.
_SAME_CODE = r"""
import importlib.util, json, marshal, os, sys
def facts(code):
    constants = tuple(facts(each) if hasattr(each, "co_code") else repr(each) for each in code.co_consts)
    return code.co_code, code.co_names, constants
other = []
for level, paths in json.loads(sys.stdin.read()).items():
    for path in paths:
        pyc = importlib.util.cache_from_source(path, optimization=level if int(level) else "")
        try:
            with open(pyc, "rb") as file:
                found = marshal.loads(file.read()[16:])
        except FileNotFoundError:
            continue
        with open(path, "rb") as file:
            wanted = compile(file.read(), path, "exec", dont_inherit=True, optimize=int(level))
        if facts(found) != facts(wanted):
            other.append(pyc)
print(json.dumps(other))
"""


def other_code(interpreter: Interpreter, sources: dict[int, list[bytes]]) -> list[str]:
    """The pycs that have another code than these sources, by the optimization levels that are asked about."""
    if not any(sources.values()):
        return []
    question = {str(level): [os.fsdecode(source) for source in each] for level, each in sources.items()}
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-W", "ignore", "-c", _SAME_CODE],
        input=json.dumps(question).encode(),
        stdout=subprocess.PIPE,
        timeout=_SECONDS,
        check=True,
    )
    found: list[str] = json.loads(child.stdout)
    return found


def _belongs(name: str, directory: Path, tag: str, levels: tuple[int, ...]) -> bool:
    match = _PYC.match(name)
    if not match or match["tag"] != tag or int(match["level"] or 0) not in levels:
        return False
    return (directory / f"{match['stem']}.py").is_file()


def checkout_of(directory: Path) -> Path:
    """A copy of what packages are built from, which others may be changing meanwhile."""
    directory.mkdir()
    for part in ("src", "hooks", "ports", "docs"):
        # Not what other processes of this session are just writing there: bytecode, and distfiles under other names.
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(CHECKOUT / part, directory / part, symlinks=True, ignore=ignore)
    for name in ("LICENSE", "README.md", "CHANGELOG.md"):
        shutil.copy2(CHECKOUT / name, directory)
    return directory


def make_older(checkout: Path) -> Path:
    """The same as another version: one source more, and another configuration."""
    file = checkout / "src/pyctrigger/version.py"
    file.write_text(re.sub(r"(?m)^VERSION = .*$", 'VERSION = "0.0.1"', file.read_text()))
    pkgbuild = checkout / "ports/arch/PKGBUILD"
    pkgbuild.write_text(re.sub(r"(?m)^pkgver=.*$", "pkgver=0.0.1", pkgbuild.read_text()))
    write_tree(checkout / "src/pyctrigger", {"only_here.py": "x = 1\n"})
    configuration = checkout / "ports/application/pyctrigger.toml"
    configuration.write_text(configuration.read_text() + "# Of the version before.\n")
    return checkout


def built_pyctrigger(name: str, checkout: Path, outdir: Path, **surroundings: str) -> Path:
    """The package, as `ports/build` makes it in these `surroundings`, variables of the environment."""
    return ports_build(name, outdir, checkout=checkout, SOURCE_DATE_EPOCH=str(CLAMPED), **surroundings)[0]


def ports_build(*arguments: str | Path, checkout: Path = CHECKOUT, **surroundings: str) -> list[Path]:
    """What `ports/build` says that it has built."""
    command = [sys.executable, str(checkout / "ports/build"), *map(str, arguments)]
    environment = {**os.environ, **surroundings}
    child = subprocess.run(command, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    assert child.returncode == 0, child.stderr.decode()
    return [Path(line) for line in child.stdout.decode().splitlines()]


def need_tools(kind: type[ManagedRoot]) -> None:
    """Skip where this machine doesn't have the manager, or what builds packages for it."""
    for tool in kind.tools:
        if find_tool(tool) is None:
            absent(f"no {tool} on this machine")


def new_system(kind: type[ManagedRoot], scratch: Path) -> ManagedRoot:
    """A root in which two Pythons are installed, by the manager, and nothing else yet."""
    pythons = relocatable(2)
    if len(pythons) < 2:
        absent("needs two CPythons from 3.9 on, with sqlite3")
    root = new_root(scratch / "root")
    system = kind(root, pythons, {})
    system.prepare()
    for interpreter in pythons:
        root.add_libraries(binaries_of(interpreter))
        library = library_of(interpreter)
        payload = Payload(library, 1, scratch / "payloads" / library)
        lay_out(interpreter, payload.top)
        (payload.top / site_of(interpreter).lstrip("/")).mkdir()
        payload.claims = {f"/usr/bin/{library}", f"/usr/lib/{library}"}
        system.packages[library] = kind.build(payload, scratch)
    system.transact("install", *system.packages.values())
    return system
