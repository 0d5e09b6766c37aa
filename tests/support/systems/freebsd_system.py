"""A root that looks like FreeBSD's to pkg's triggers: real interpreters in /usr/local/bin, a real database of pkg's.

The rest of the operating system is bound into it, in a mount namespace of each command's own that goes with it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from conftest import absent
from packages import not_fresh_at, sources_below
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from interpreters import Interpreter

TRIGGERS = "usr/local/share/pkg/triggers"
LAUNCHER = "/usr/local/bin/pyctrigger"

#: What the root has of its own, instead of the machine's.
OWN = ("etc", "var", "run", "usr/local")
_UNWANTED = (*OWN, "usr", "lost+found", "boot", "sys")
_STAND_IN = "var/lib/pkg-stand-in"
_SECONDS = 300
#: The mtime of every file in every archive.
_BUILT = 1_600_000_000

#: Run as `sh -c … sh ROOT COMMAND …` in the new namespace. The directory that holds the root goes first: no mount of
#: another one is to appear inside it.
_ENTER = """
set -e
root=$1; shift
for directory in %(directories)s; do mount --rbind "/$directory" "$root/$directory"; done
%(more)s
cd "$root%(cwd)s"
exec chroot "$root" /bin/sh -c 'cd "$0"; exec "$@"' '%(cwd)s' "$@"
"""

#: What pkg says in its own tables, as far as we read them (pkg 2.x).
_SCHEMA = """
create table packages (id integer primary key, name text not null);
create table mtree (id integer primary key, content text not null unique);
create table files (
    path text primary key, sha256 text, package_id integer references packages(id) on delete cascade,
    uname text, gname text, perm integer, fflags integer, mtime integer
);
"""


class Said(NamedTuple):
    """What a transaction printed."""

    out: str
    err: str


class Install(NamedTuple):
    """A step of a transaction: a package comes, or is upgraded, or is installed once more."""

    name: str
    files: Mapping[str, str] | Mapping[bytes, str]
    scripts: Mapping[str, str] | None = None
    """Its pkg-install and pkg-deinstall, as `install` and `deinstall`."""


class Delete(NamedTuple):
    """A step of a transaction: a package goes, also before its next version comes (a split upgrade)."""

    name: str


class FreeBSD:
    """The root, and pkg's part in it. One that isn't there yet is made."""

    def __init__(self, top: Path, interpreters: Sequence[Interpreter]) -> None:
        lua, unshare = find_tool("lua5.4"), find_tool("unshare")
        if lua is None or unshare is None:
            absent("no lua5.4 or no unshare on this machine")
        self.top = top
        self._lua, self._unshare, self._python = lua, unshare, interpreters[0].path
        is_new = not top.exists()
        if is_new:
            self._make(interpreters)
        bound = [str(path).lstrip("/") for path in _parts_of_the_machine() if not path.is_symlink() and path.is_dir()]
        self._directories = sorted(bound, key=lambda name: not top.is_relative_to(f"/{name}"))
        self._scripts: dict[str, Mapping[str, str]] = {}
        self._database = sqlite3.connect(top / "var/db/pkg/local.sqlite", isolation_level=None)
        if is_new:
            self.set_journal("wal")  # as pkg has it since 2.6
            self._database.executescript(_SCHEMA)

    def _make(self, interpreters: Sequence[Interpreter]) -> None:
        top = self.top
        for name in ("etc", "run", "var/run", "var/lib", "var/tmp", "var/db/pkg", TRIGGERS, "usr/local/bin"):
            (top / name).mkdir(parents=True)
        for name in ("passwd", "group", "ld.so.cache", "nsswitch.conf"):
            if (path := Path("/etc") / name).exists():
                (top / "etc" / name).write_bytes(path.read_bytes())
        for half in ("pkg_stand_in.py", "pkg_stand_in.lua"):  # the checkout may lie where nothing is bound
            (top / _STAND_IN).mkdir(exist_ok=True)
            (top / _STAND_IN / half).write_bytes(Path(__file__).with_name(half).read_bytes())
        for path in _parts_of_the_machine():
            place = top / str(path).lstrip("/")
            if path.is_symlink():
                place.symlink_to(os.readlink(path))
            elif path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
        self._configure(interpreters)

    def set_journal(self, mode: str) -> str:
        """How the database is kept from here on."""
        (mode,) = self._database.execute(f"pragma journal_mode = {mode}").fetchone()
        return str(mode)

    def checkpoint(self) -> None:
        """Bring the database's log into its file."""
        self._database.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _configure(self, interpreters: Sequence[Interpreter]) -> None:
        """Put interpreters where ports have them, with the directories of ports as their own."""
        lines = ["[defaults]", "optimize = [0, 1, 2]"]
        for interpreter in interpreters:
            self.put_interpreter(interpreter)
            site = self.site(interpreter)
            site.mkdir(parents=True, exist_ok=True)
            lines += [f'[flavours."{version_of(interpreter)}"]', f'site_dirs = ["/{site.relative_to(self.top)}"]']
        (self.top / "etc/pyctrigger.toml").write_text("\n".join([*lines, ""]))

    # -- interpreters and triggers -------------------------------------------------------------------------------

    def put_interpreter(self, interpreter: Interpreter, name: str | None = None) -> Path:
        """Its executable in /usr/local/bin, as `pkg install` would leave it there."""
        link = self.top / "usr/local/bin" / (name or library_of(interpreter))
        link.symlink_to(interpreter.path)
        return link

    def site(self, interpreter: Interpreter) -> Path:
        """Where ports put sources for it, as seen from here."""
        return self.top / "usr/local/lib" / library_of(interpreter) / "site-packages"

    def put_trigger(self, flavour: str, text: str) -> None:
        """Install a trigger, as its port would."""
        (self.top / TRIGGERS / f"python-pycache-{flavour}.ucl").write_text(text)

    def triggers(self) -> dict[str, str]:
        """Every installed one: what pkg reads before a transaction."""
        return {path.name: path.read_text() for path in (self.top / TRIGGERS).glob("*.ucl")}

    # -- transactions --------------------------------------------------------------------------------------------

    def transaction(self, *steps: Install | Delete, run_scripts: bool = True, **options: Any) -> Said:
        """All steps in order, and then the triggers. Without scripts it's as with `pkg delete -D`, or RUN_SCRIPTS=no.

        Of what only the old version of an upgraded package had, pkg reports nothing. A script that exits 3 ends pkg.
        """
        before = self.triggers()
        touched: list[bytes] = []
        left: list[str] = []
        said: list[Said] = []
        environment: dict[str, str] = {}
        for step in steps:
            is_upgrade = isinstance(step, Install) and bool(self.files_of(step.name))
            if is_upgrade:
                environment["PKG_UPGRADE"] = "true"  # which pkg takes back for no package that follows
            if isinstance(step, Delete):
                left += (os.path.basename(path).decode() for path in self.files_of(step.name) if _is_trigger(path))
            for script, argument, act in self._acts_of(step, is_upgrade=is_upgrade):
                touched += act() if act else ()
                if script is None or not run_scripts:
                    continue
                child = self.run_script(script, step.name, argument, **environment)
                code = child.returncode
                said.append(
                    Said(child.stdout, child.stderr + f"pkg: {argument} script failed\n" * (code not in (0, 3)))
                )
                if code == 3:
                    return _together(said)
        said.append(self.finish(before, touched, left=left, **options))
        return _together(said)

    def _acts_of(
        self, step: Install | Delete, *, is_upgrade: bool
    ) -> Iterator[tuple[str | None, str, Callable[[], Iterable[bytes]] | None]]:
        """The scripts that a step runs, with their argument, each behind what is done before it."""
        old = self._scripts.get(step.name, {}).get("deinstall")
        if isinstance(step, Delete):
            yield old, "DEINSTALL", None
            yield old, "POST-DEINSTALL", lambda: self._remove(step.name)
            self._scripts.pop(step.name, None)
            return
        scripts = step.scripts or {}
        yield scripts.get("install"), "PRE-INSTALL", None
        if is_upgrade:
            yield old, "DEINSTALL", None
        yield scripts.get("install"), "POST-INSTALL", lambda: self.fail_after(step.name, step.files)
        self._scripts[step.name] = scripts

    def run_script(self, script: str, name: str, argument: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A package's script, as pkg runs it: it's no file, but text for a shell, in this system also with `pkg -r`."""
        words = {"PKG_NAME": name, "PKG_PREFIX": "/usr/local", "PKG_ROOTDIR": "/", **environment}
        given = [f"{key}={value}" for key, value in words.items()]
        command = self.inside("/usr/bin/env", *given, "/bin/sh", "-c", f"set -- {name}-1 {argument}\n{script}")
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )

    def install(
        self,
        name: str,
        files: Mapping[str, str] | Mapping[bytes, str],
        scripts: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Said:
        """Install a package, or upgrade it."""
        return self.transaction(Install(name, files, scripts), **options)

    def fail_after(self, name: str, files: Mapping[str, str] | Mapping[bytes, str]) -> Iterable[bytes]:
        """Install a package, or upgrade it, in a transaction that then fails at another one: no trigger runs for it.

        What it touched. As pkg does it: a new file takes the name of the old one, with the archive's mtime.
        """
        old = set(self.files_of(name))
        new = {os.fsencode(path): text for path, text in files.items()}
        for path, text in new.items():
            target = os.path.join(os.fsencode(self.top), path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            temporary = os.path.join(os.path.dirname(target), b".pkgtemp")
            with open(temporary, "wb") as file:
                file.write(text.encode())
            os.utime(temporary, (time.time(), _BUILT))
            os.rename(temporary, target)
        self._delete(old - new.keys())
        self._register(name, new)
        return new.keys()

    def rename(self, old: str, *new: str, **options: Any) -> Said:
        """Give a package another name, or split it. To pkg one package is gone and others have come, so it runs the
        cleanups of triggers whose files are there again.
        """
        texts = {os.fsdecode(path): (self.top / os.fsdecode(path)).read_text() for path in self.files_of(old)}
        parts = [dict(list(texts.items())[number :: len(new)]) for number in range(len(new))]
        steps = [Install(name, files) for name, files in zip(new, parts)]
        return self.transaction(Delete(old), *steps, **options)

    def remove(self, *names: str, **options: Any) -> Said:
        """Delete packages in one transaction, those that need others first; a trigger is removed with its package."""
        return self.transaction(*(Delete(name) for name in names), **options)

    def _remove(self, name: str) -> Iterable[bytes]:
        gone = self.files_of(name)
        self._delete(gone)
        self._register(name, ())
        return gone

    def files_of(self, name: str) -> list[bytes]:
        """What a package owns, relative to the root."""
        rows = self._database.execute(
            "select cast(path as blob) from files join packages on id = package_id where name = ?", (name,)
        )
        return [bytes(path)[1:] for (path,) in rows]

    def _register(self, name: str, paths: Iterable[bytes]) -> None:
        with closing(self._database.cursor()) as cursor:
            cursor.execute("pragma foreign_keys = on")
            cursor.execute("begin")
            cursor.execute("delete from packages where name = ?", (name,))
            if paths:
                key = cursor.execute("insert into packages (name) values (?)", (name,)).lastrowid
                for path in paths:
                    cursor.execute(
                        "insert into files (path, sha256, package_id, uname) values (cast(? as text), ?, ?, 'root')",
                        (b"/" + path, "1$" + 64 * "0", key),
                    )
            cursor.execute("commit")

    def _delete(self, paths: Iterable[bytes]) -> None:
        """Files, and the directories that this empties."""
        for path in paths:
            target = os.path.join(os.fsencode(self.top), path)
            os.unlink(target)
            try:
                while not target.endswith(b"/usr/local"):
                    target = os.path.dirname(target)
                    os.rmdir(target)
            except OSError:
                pass  # not empty

    def finish(
        self, before: dict[str, str], touched: Iterable[bytes], *, left: Iterable[str] = (), **options: Any
    ) -> Said:
        """The end of a transaction that touched these files, and had these triggers at its beginning."""
        directories = {os.path.dirname(b"/" + path).decode("latin-1") for path in touched}
        job: dict[str, object] = {
            "command": "transaction",
            "before": before,
            "touched": sorted(directories),
            "left": list(left),
        }
        return self._pkg(job, **options)

    def run_deferred(self) -> Said:
        """`pkg -c ROOT triggers`."""
        return self._pkg({"command": "triggers"})

    def _pkg(
        self,
        job: dict[str, object],
        *,
        outside: bool = False,
        more: str = "",
        descriptors: int | None = None,
        lacking: str = "",
        triggers: str | None = None,
        backwards: bool = False,
        cwd: str = "/",
    ) -> Said:
        """Start the stand-in, inside the root or, like `pkg -r`, outside of it.

        `triggers` is another PKG_TRIGGERS_DIR. Triggers run in the order of their names, or `backwards`.
        """
        root = str(self.top) if outside else ""
        command = [self._python, "-I", "-S", "-B", f"{root}/{_STAND_IN}/pkg_stand_in.py", self._lua, root]
        job |= {"defer": outside, "descriptors": descriptors, "lacking": lacking, "backwards": backwards}
        if triggers:
            job["triggers"] = triggers
        if not outside:
            command = self.inside(*command, more=more, cwd=cwd)
        child = subprocess.run(
            command, input=json.dumps(job), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        assert child.returncode == 0, child.stderr
        return Said(child.stdout, child.stderr)

    def inside(self, *command: str, more: str = "", cwd: str = "/") -> list[str]:
        """The command line that runs a command in the root."""
        directories = " ".join(self._directories)
        script = _ENTER % {"directories": directories, "more": more, "cwd": cwd}
        namespace = [self._unshare, "--mount", "--propagation", "private"]
        return [*namespace, "/bin/sh", "-c", script, "sh", str(self.top), *command]

    # -- judging -------------------------------------------------------------------------------------------------

    def unserved(self, interpreter: Interpreter) -> list[tuple[bytes, str]]:
        """The sources of a flavour without bytecode that the interpreter accepts, at any level."""
        sources = sources_below(self.site(interpreter))
        return [(source, reason) for _, source, reason in not_fresh_at(interpreter, sources, (0, 1, 2))]


def _is_trigger(path: bytes) -> bool:
    return os.path.dirname(path) == os.fsencode(TRIGGERS)


def _together(said: Sequence[Said]) -> Said:
    return Said("".join(each.out for each in said), "".join(each.err for each in said))


def _parts_of_the_machine() -> list[Path]:
    """What the root has of the machine, as links or bound."""
    found = sorted(Path("/").iterdir()) + sorted(Path("/usr").iterdir())
    return [path for path in found if str(path).lstrip("/") not in _UNWANTED]


def library_of(interpreter: Interpreter) -> str:
    """`python3.11`, `python3.13t`, `pypy3.11`."""
    stem = "python" if interpreter.implementation == "cpython" else interpreter.implementation
    return f"{stem}{version_of(interpreter).replace('pypy', '')}"


def version_of(interpreter: Interpreter) -> str:
    """As `--python` takes it."""
    stem = "" if interpreter.implementation == "cpython" else interpreter.implementation
    return f"{stem}3.{interpreter.version[1]}{'t' if interpreter.free_threaded else ''}"
