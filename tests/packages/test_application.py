"""The private application directory: laid out by `ports/build`, started by its launcher, deaf to everything else."""

from __future__ import annotations

import ast
import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from builder import distfiles
from builder.platforms import PLATFORMS, Platform
from builder.stage import fill_in, manuals, settle, stage, words_of
from builder.trouble import BuildError
from children import public_directory
from command import heed_signals
from confinement import NOBODY, usable_by
from conftest import absent
from environment import CHECKOUT
from interpreters import Interpreter, tag_of
from packages import not_fresh, snapshot, sources_below, write_tree
from pyctrigger.run.scope import config
from pyctrigger.run.scope.config import Settings, parse
from refusals import can_refuse, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Checkout = Path(CHECKOUT)


class Installed:
    """pyctrigger laid out below a prefix of its own, with just these interpreters in the prefix's `bin`."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.directory = prefix / "lib/pyctrigger"
        self.state = prefix / "state"

    def put(self, name: str, interpreter: Interpreter | str) -> None:
        """Let `bin/NAME` be this interpreter, or this script."""
        path = self.prefix / "bin" / name
        path.unlink(missing_ok=True)
        if isinstance(interpreter, Interpreter):
            # No link: an interpreter looks for its library beside where it was started.
            interpreter_script = f'#!/bin/sh\nexec "{interpreter.path}" "$@"\n'
        else:
            interpreter_script = interpreter
        path.write_text(interpreter_script)
        path.chmod(0o755)

    def run(self, *arguments: str | bytes, **options: object) -> subprocess.CompletedProcess[str]:
        """Start it as a hook does."""
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [self.prefix / "bin/pyctrigger", *arguments], capture_output=True, text=True, check=False, **options
        )

    def own_bytecode(self) -> list[Path]:
        """Its own pycs."""
        return sorted(self.directory.rglob("*.pyc"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout, made once; its prefix is a placeholder of the same name for all."""
    try:
        distfiles.fetch(Checkout)
    except BuildError as error:
        absent(str(error))
    prefix: Path = tmp_path_factory.mktemp("original")
    stage(Checkout, platform_at(prefix), Path("/"))
    return prefix


def platform_at(prefix: Path) -> Platform:
    """Debian's, below another prefix."""
    return PLATFORMS["deb"]._replace(
        prefix=str(prefix),
        configuration=f"{prefix}/etc/pyctrigger.toml",
        documents=f"{prefix}/share/doc/pyctrigger",
        manual=f"{prefix}/share/man",
    )


@pytest.fixture
def installed(original: Path) -> Iterator[Installed]:
    """A clean one: no interpreters, no bytecode."""
    found = Installed(original)
    yield found
    for path in (original / "bin").iterdir():
        if path.name != "pyctrigger":
            path.unlink()
    for pycache in [*original.rglob("__pycache__")]:
        shutil.rmtree(pycache)
    shutil.rmtree(found.state, ignore_errors=True)


def hosts(interpreters: Sequence[Interpreter]) -> list[Interpreter]:
    """Those that can run pyctrigger."""
    return [each for each in interpreters if each.version >= (3, 9)]


def fitting(interpreters: Sequence[Interpreter]) -> Interpreter:
    """One of them."""
    return [each for each in hosts(interpreters) if each.implementation == "cpython"][-1]


@pytest.mark.parametrize("name", PLATFORMS)
def test_its_configuration_sets_nothing_but_levels(name: str) -> None:
    """And not even those where they are the usual ones: then no hook reads TOML."""
    platform = PLATFORMS[name]
    text = fill_in(Checkout / "ports/application/pyctrigger.toml", words_of(platform))
    assert Settings(optimize=platform.levels) == parse(text.encode(), "/c")
    assert config._sets_nothing(text.encode()) is (platform.levels == (0,))


def test_it_is_all_there(installed: Installed) -> None:
    """Program, manual, licences, completions and configuration, each in its place; no bytecode, nothing else."""
    prefix = installed.prefix
    places = {str(path.relative_to(prefix)).split("/pyctrigger/")[0] for path in prefix.rglob("*") if path.is_file()}
    completions = {path[len(str(prefix)) + 1 :] for path in platform_at(prefix).completions.values()}
    assert len(completions) == 3
    places -= completions
    pages = {path[len(str(prefix)) + 1 :] for path in manuals(Checkout, platform_at(prefix))}
    assert {"share/man/man8/pyctrigger.8.gz", "share/man/man8/pyctrigger-run.8.gz"} < pages
    assert "share/man/man5/pyctrigger.toml.5.gz" in pages
    assert pages <= places
    places -= pages
    assert {"bin/pyctrigger", "etc/pyctrigger.toml", "lib", "share/doc"} == places
    names = {path.name for path in installed.directory.iterdir()}
    own = {"__main__.py", "start.py", "own_bytecode.py", "without-python"}
    assert own | {"pyctrigger", "filelock", "platformdirs", "tomli"} == names
    licences = {path.name for path in (prefix / "share/doc/pyctrigger").iterdir()}
    assert {"LICENSE", "LICENSE.filelock", "LICENSE.platformdirs", "LICENSE.tomli"} == licences
    assert installed.own_bytecode() == []


def test_every_host_runs_it(installed: Installed, interpreters: list[Interpreter], site: Path) -> None:
    """From 3.9 to the newest, PyPy too, with nothing but its own directory and the standard library."""
    write_tree(site, {"package/m.py": "x = 1\n"})
    target = fitting(interpreters)
    for host in hosts(interpreters):
        installed.put("python3", host)
        for pyc in site.rglob("*.pyc"):
            pyc.unlink()

        child = installed.run(
            "run", "--python", target.path, "--site-dir", str(site), "--state-dir", str(installed.state)
        )

        assert (0, "") == (child.returncode, child.stderr), host.flavour
        assert not_fresh(target, sources_below(site)) == []


#: Waits for a lock that is given back after a while, with the filelock beside it.
WAITING = (
    "import sys; sys.path.insert(0, sys.argv[1]); import fcntl, os, threading\n"
    "from pyctrigger.state.lock import InstallationLock\n"
    "path = sys.argv[2] + '/x.lock'; lock = InstallationLock(sys.argv[2], 'x')\n"
    "holder = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)\n"
    "fcntl.flock(holder, fcntl.LOCK_EX); threading.Timer(0.2, os.close, [holder]).start()\n"
    "lock.acquire(60, print); import filelock; print(lock.held, filelock.__file__)\n"
)


@pytest.mark.parametrize("where", ["a pipe", "closed", "full"])
def test_a_hook_that_ends_at_once_has_said_all(
    installed: Installed, interpreters: list[Interpreter], site: Path, where: str
) -> None:
    """It doesn't wait until Python has taken the process apart; its output is complete, and its code is 0."""
    write_tree(site, {f"m{number}.py": f"x = {number}\n" for number in range(40)})
    write_tree(site, {"bad.py": "x = = 1\n"})
    interpreter = interpreters[-1]
    installed.put("python3", interpreter)
    arguments = ["run", "--hook", "-v", "--python", interpreter.path, "--site-dir", str(site)]
    command = shlex.join([str(installed.prefix / "bin/pyctrigger"), *arguments, "--state-dir", str(installed.state)])
    redirection = {"a pipe": "", "closed": ">&-", "full": "> /dev/full"}[where]
    done = subprocess.run(["/bin/sh", "-c", f"{command} {redirection}"], capture_output=True, text=True, check=False)
    assert 0 == done.returncode
    assert f"{site}/bad.py: syntax: " in done.stderr
    assert 40 == (done.stdout + done.stderr).count("compiled ")
    assert 40 == len(list(site.rglob("*.pyc")))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_its_own_filelock_goes_without_fchmod(
    installed: Installed, interpreters: list[Interpreter], tmp_path: Path, number: int
) -> None:
    """The one that every package carries knows one way only in which fchmod(2) is refused."""
    if not can_refuse():
        absent("a Linux with seccomp whose numbers of system calls are known")
    host = fitting(interpreters)
    child = subprocess.run(
        [host.path, "-I", "-S", "-B", "-c", WAITING, str(installed.directory), str(tmp_path / "locks")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=refusing("fchmod", number=number),
    )

    assert (0, "") == (child.returncode, child.stderr)
    assert f"True {installed.directory}/filelock/__init__.py\n" == child.stdout


def test_nothing_is_imported_to_find_it(installed: Installed, interpreters: list[Interpreter]) -> None:
    """For a directory Python imports runpy, with five modules that no hook needs; it can be started as one, too."""
    host = fitting(interpreters)
    installed.put("python3", f'#!/bin/sh\nexec "{host.path}" -X importtime "$@"\n')
    launched = installed.run("--version")
    imported = {line.rpartition("|")[2].strip() for line in launched.stderr.splitlines()}
    assert ({"pyctrigger.cli"}, set()) == (imported & {"pyctrigger.cli"}, imported & {"runpy", "importlib.util"})
    command = [host.path, "-I", "-S", "-B", str(installed.directory), "--version"]
    assert launched.stdout == subprocess.check_output(command, text=True)


def test_nothing_of_the_systems_packages_is_imported(
    installed: Installed, interpreters: list[Interpreter], tmp_path: Path, site: Path
) -> None:
    """Broken filelocks wherever Python looks by default: the current directory, PYTHONPATH, the user's site."""
    host = fitting(interpreters)
    installed.put("python3", host)
    broken = {f"{name}/__init__.py": "raise RuntimeError('broken')\n" for name in ("filelock", "platformdirs", "tomli")}
    broken["sitecustomize.py"] = broken["json/__init__.py"] = "raise RuntimeError('broken')\n"
    write_tree(tmp_path / "broken", broken)
    write_tree(site, {"m.py": "x = 1\n"})
    environment = {"PYTHONPATH": str(tmp_path / "broken"), "PYTHONSTARTUP": str(tmp_path / "broken/sitecustomize.py")}
    environment["PYTHONHOME"] = str(tmp_path / "broken")
    arguments = ["run", "--python", host.path, "--site-dir", str(site), "--state-dir", str(installed.state)]

    child = installed.run(*arguments, cwd=tmp_path / "broken", env={**os.environ, **environment})

    assert (0, "") == (child.returncode, child.stderr)
    assert len(list(site.rglob("*.pyc"))) == 1


def test_dependencies_of_its_own_directory_are_the_ones_used(
    installed: Installed, interpreters: list[Interpreter]
) -> None:
    """A host that has other filelocks in its site packages doesn't see them."""
    host = fitting(interpreters)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import filelock, platformdirs, tomli, pyctrigger;"
        "print(*(module.__file__ for module in (filelock, platformdirs, tomli, pyctrigger)), sep='\\n')"
    )
    said = subprocess.run(
        [host.path, "-I", "-S", "-B", "-c", program, str(installed.directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(line.startswith(f"{installed.directory}/") for line in said.stdout.splitlines())


def test_an_old_python_hands_over(installed: Installed, interpreters: list[Interpreter]) -> None:
    """`python3` is too old, and so is the next in the list: the third one runs it."""
    old = [each for each in interpreters if each.version < (3, 9)]
    if not old:
        absent("no Python below 3.9 on this machine")
    installed.put("python3", old[0])
    installed.put("python3.15", old[-1])
    installed.put("python3.14", fitting(interpreters))

    child = installed.run("--version")

    assert (0, "") == (child.returncode, child.stderr)
    assert child.stdout.startswith("pyctrigger ")


def test_no_python_that_fits_is_said(installed: Installed, interpreters: list[Interpreter]) -> None:
    """Exit 69 with the reason and a hint; a hook prints the same and exits with 0, and nothing is removed."""
    old = [each for each in interpreters if each.version < (3, 9)]
    if not old:
        absent("no Python below 3.9 on this machine")
    installed.put("python3", old[-1])
    version = ".".join(map(str, old[-1].version[:2]))

    person, hook = installed.run("verify"), installed.run("run", "--hook", "--python", "3.11")

    assert (69, 0) == (person.returncode, hook.returncode)
    assert person.stderr == hook.stderr
    assert f"is Python {version}, and 3.9 is the oldest that runs pyctrigger" in person.stderr
    assert "install Python 3.9 or later" in person.stderr
    assert "" == person.stdout == hook.stdout


def test_no_python_at_all_is_said(installed: Installed) -> None:
    """A command that only reads reports it, with exit 69."""
    child = installed.run("verify")

    assert (69, "pyctrigger: there is no Python on this system to run it\n") == (child.returncode, child.stderr)


def test_own_bytecode_is_made_once_and_holds(
    installed: Installed, interpreters: list[Interpreter], as_root: None
) -> None:
    """Of the host, checked by hash, so that no change of times makes it stale; a hook makes what a new host lacks."""
    host = fitting(interpreters)
    installed.put("python3", host)

    assert (0, "", "") == attributes(installed.run("--own-bytecode"))

    sources = sources_below(installed.directory)
    assert not_fresh(host, sources) == []
    first = snapshot(installed.directory)
    for path in sources:
        os.utime(path, (0, 0))
    assert not_fresh(host, sources) == []
    assert (0, "", "") == attributes(installed.run("--own-bytecode"))
    pycs = {path: facts[3] for path, facts in first.items() if path.endswith(b".pyc")}
    assert pycs == {path: snapshot(installed.directory)[path][3] for path in pycs}

    others = [each for each in hosts(interpreters) if each.flavour != host.flavour]
    if not others:
        absent("a second Python that can be the host")
    other = others[-1]
    installed.put("python3", other)
    hook_of(installed, host)
    assert not_fresh(other, sources) == []
    assert not_fresh(host, sources) == []


def compiled(installed: Installed, interpreters: Sequence[Interpreter]) -> tuple[Interpreter, Path]:
    """Give it a host, and its own bytecode; the host, and the file of all code."""
    host = fitting(interpreters)
    installed.put("python3", host)
    assert (0, "", "") == attributes(installed.run("--own-bytecode"))
    return host, installed.directory / f"__pycache__/program.{tag_of(host)}.code"


def hook_of(installed: Installed, host: Interpreter) -> subprocess.CompletedProcess[str]:
    """A hook that nothing was touched for."""
    touched = ("--paths-from", "/dev/null", "--state-dir", str(installed.state))
    return installed.run("run", "--hook", "--python", host.path, *touched)


def from_pycs(installed: Installed, host: Interpreter) -> tuple[str, set[str]]:
    """What `--version` prints, and which modules of its directory it doesn't take from its own file."""
    command = [host.path, "-I", "-S", "-B", "-v", str(installed.directory / "__main__.py"), "--version"]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = re.findall(r"^import '?([\w.]+)'? # <(?!.*OwnCode)", child.stderr, re.MULTILINE)
    own = {path.stem for path in installed.directory.iterdir() if path.suffix in {"", ".py"}}
    return child.stdout, {name for name in imported if name.partition(".")[0] in own}


def test_modules_come_from_one_file(installed: Installed, interpreters: list[Interpreter], as_root: None) -> None:
    """All but those that read it; so they do of each implementation, and everybody may read it."""
    for host in {each.implementation: each for each in hosts(interpreters)}.values():
        installed.put("python3", host)
        assert "pyctrigger.cli.main" in from_pycs(installed, host)[1]
        assert (0, "", "") == attributes(installed.run("--own-bytecode"))
        (found,) = (installed.directory / "__pycache__").glob(f"program.{tag_of(host)}.code")
        assert 0o644 == found.stat().st_mode & 0o7777
        assert {"start"} == from_pycs(installed, host)[1]


#: What happens to a source, and whether it is imported as usual then.
CHANGES: dict[str, Callable[[Path], object]] = {
    "rewritten with its size and times": lambda path: rewrite(path, path.read_bytes().replace(b'"0', b'"9', 1)),
    "replaced by one with its size and times": lambda path: replace(path, path.read_bytes().replace(b'"0', b'"9', 1)),
    "touched": lambda path: os.utime(path, (7, 7)),
}


def rewrite(path: Path, data: bytes) -> None:
    """In place, with the times of before."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path, data: bytes) -> None:
    """By another file, with the times of before."""
    status, other = path.stat(), path.with_suffix(".other")
    other.write_bytes(data)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_has_changed_is_imported_as_usual(
    installed: Installed, interpreters: list[Interpreter], as_root: None, change: str
) -> None:
    """Whatever its size and its times say; the others aren't."""
    host, _ = compiled(installed, interpreters)
    source = installed.directory / "pyctrigger/version.py"
    before = source.read_bytes()
    try:
        CHANGES[change](source)
        said, others = from_pycs(installed, host)
        expected = re.findall(r'^VERSION = "([^"]+)"', source.read_text(), re.MULTILINE)
    finally:
        source.write_bytes(before)
    assert ([said.split()[-1]], {"start", "pyctrigger.version"}) == (expected, others)


def _index_of(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")


#: What is found in the place of the file.
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "a magic number": lambda data: data[:4],
    "half of the index": lambda data: data[: _index_of(data) // 2],
    "an index": lambda data: data[: _index_of(data)],
    "half of the code": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "zeros after the index": lambda data: data[: _index_of(data)] + bytes(len(data) - _index_of(data)),
    "other objects after the index": lambda data: data[: _index_of(data)] + b"N" * (len(data) - _index_of(data)),
    "zeros for an index": lambda data: data[:8] + bytes(_index_of(data) - 8) + data[_index_of(data) :],
    "another index": lambda data: data[:4] + b"\1\0\0\0N" + data[_index_of(data) :],
    "another Python's": lambda data: b"\0\0\r\n" + data[4:],
    "too large an index": lambda data: data[:4] + b"\xff" * 4 + data[8:],
}


@pytest.mark.parametrize("copied", [True, False])
def test_a_hook_renews_a_file_that_does_not_fit(
    installed: Installed, interpreters: list[Interpreter], as_root: None, *, copied: bool
) -> None:
    """Of a copy, or with other sources; what is as it was isn't compiled again, and what isn't whole is."""
    host, path = compiled(installed, interpreters)
    before, source = path.read_bytes(), installed.directory / "pyctrigger/errors.py"
    index = marshal_of(host, before[8 : _index_of(before)])
    _, at, size, *_ = index["pyctrigger.errors"]
    damaged = _index_of(before) + at
    path.write_bytes(before[:damaged] + b"N" * size + before[damaged + size :])
    if copied:
        for each in installed.directory.rglob("*.py"):
            replace(each, each.read_bytes())
    else:
        replace(source, source.read_bytes())

    assert (0, "", "") == attributes(hook_of(installed, host))

    after = path.read_bytes()
    assert before[_index_of(before) :] == after[_index_of(after) :]
    assert {"start"} == from_pycs(installed, host)[1]
    inode = path.stat().st_ino
    assert (0, "", "") == attributes(hook_of(installed, host))
    assert inode == path.stat().st_ino


def marshal_of(host: Interpreter, data: bytes) -> dict[str, Any]:
    """What a Python has marshalled."""
    program = "import marshal, sys; print(ascii(marshal.loads(sys.stdin.buffer.read())))"
    done = subprocess.run([host.path, "-c", program], input=data, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = ast.literal_eval(done.stdout.decode())
    return found


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_costs_time_and_no_more(
    installed: Installed, interpreters: list[Interpreter], as_root: None, damage: str
) -> None:
    """Modules are imported as usual."""
    host, path = compiled(installed, interpreters)
    whole = installed.run("--version").stdout
    path.write_bytes(DAMAGED[damage](path.read_bytes()))

    assert (0, whole, "") == attributes(installed.run("--version"))
    assert "pyctrigger.cli.main" in from_pycs(installed, host)[1]
    assert (0, "", "") == attributes(hook_of(installed, host))
    assert {"start"} == from_pycs(installed, host)[1]


NO_FILE: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to("elsewhere"),
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("kind", NO_FILE)
def test_what_is_no_file_is_left_alone(
    installed: Installed, interpreters: list[Interpreter], as_root: None, kind: str
) -> None:
    """Nobody waits for a FIFO, and no link is followed."""
    host, path = compiled(installed, interpreters)
    path.rename(installed.directory / "__pycache__/elsewhere")
    NO_FILE[kind](path)

    assert "pyctrigger.cli.main" in from_pycs(installed, host)[1]


def test_what_is_imported_late_is_of_the_same_file(
    installed: Installed, interpreters: list[Interpreter], site: Path, as_root: None
) -> None:
    """Also in lanes, which have closed all descriptors."""
    host, _ = compiled(installed, interpreters)
    write_tree(site, {f"p/m{number}.py": "x = 1\n" * 4000 for number in range(40)})

    child = installed.run(
        *("run", "--python", host.path, "--site-dir", str(site), "--jobs", "2", "--state-dir", str(installed.state))
    )

    assert (0, "") == (child.returncode, child.stderr)
    assert 40 == len(list(site.glob("p/__pycache__/*.pyc")))


def attributes(child: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Code and streams."""
    return child.returncode, child.stdout, child.stderr


def test_start_writes_nothing(installed: Installed, interpreters: list[Interpreter]) -> None:
    """Neither `--version` nor a person's command leaves bytecode in the directory."""
    installed.put("python3", fitting(interpreters))

    assert installed.run("--version").returncode == 0
    assert installed.run("hooks", "list", "--manager", "pkg").returncode == 0

    assert installed.own_bytecode() == []


def test_without_a_session_an_ordinary_user_has_a_lock_all_the_same(
    installed: Installed, tmp_path: Path, as_root: None
) -> None:
    """As under cron: no XDG_RUNTIME_DIR, and no /run/user of one's own."""
    usable = usable_by(NOBODY)
    if not usable:
        absent("no Python that an ordinary user can start")
    with public_directory() as public:
        shutil.copytree(installed.directory, public / "pyctrigger")
        home, site = public / "home", public / "site"
        for directory in (home, site):
            directory.mkdir()
            os.chown(directory, NOBODY, NOBODY)
        (site / "m.py").write_text("x = 1\n")
        command = [usable[0], "-I", "-S", "-B", str(public / "pyctrigger"), "run", "--python", usable[0]]

        child = subprocess.run(
            [*command, "--site-dir", str(site)],
            capture_output=True,
            text=True,
            env={"HOME": str(home)},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            check=False,
        )

        assert (0, "") == (child.returncode, child.stderr)
        assert len(list(site.rglob("*.pyc"))) == 1


def test_its_hooks_start_its_launcher(installed: Installed, interpreters: list[Interpreter]) -> None:
    """Rendered by the installed program, a hook names the program of the package, not the host of the day."""
    installed.put("python3", fitting(interpreters))

    child = installed.run("hooks", "render", "--manager", "apk", "--python", "3.11")

    assert f"\n{installed.prefix}/bin/pyctrigger run --hook --python 3.11 --manager apk || :\n" in child.stdout


def test_distfiles_are_believed_by_checksum_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the right name with other bytes ends the build; where all are right, no network is needed."""
    found = distfiles.fetch(Checkout)
    monkeypatch.setenv("DISTDIR", str(tmp_path))
    for distfile, path in found.items():
        shutil.copyfile(path, tmp_path / distfile.name)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert {tmp_path / distfile.name for distfile in found} == set(distfiles.fetch(Checkout).values())

    spoiled = tmp_path / next(iter(found)).name
    spoiled.write_bytes(spoiled.read_bytes() + b"\0")
    with pytest.raises(BuildError, match=r"has the checksum .* instead of .*; remove it, and try again"):
        distfiles.fetch(Checkout)


def test_a_distfile_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file and without a network: which file, and where to put it."""
    monkeypatch.setenv("DISTDIR", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    with pytest.raises(BuildError, match=f"is missing; put it into {tmp_path}, or name another directory with DISTDIR"):
        distfiles.fetch(Checkout)


def test_dependencies_are_pinned_pure_and_old_enough() -> None:
    """Every runtime dependency of the project, tomli always, as a wheel for any Python 3."""
    pinned = distfiles.pinned(Checkout / "ports/distinfo")

    assert {"filelock", "platformdirs", "tomli"} == {each.project for each in pinned}
    assert all(each.name.endswith("-py3-none-any.whl") for each in pinned)


def test_layout_is_the_same_every_time(tmp_path: Path) -> None:
    """Two layouts differ in nothing, whatever the umask was."""
    found = []
    for mask in (0o022, 0o077):
        root = tmp_path / str(mask)
        before = os.umask(mask)
        try:
            stage(Checkout, PLATFORMS["rpm"], root)
            settle(root, 1_700_000_000)
        finally:
            os.umask(before)
        facts = snapshot(root)
        top = os.fsencode(root)
        found.append({path[len(top) :]: (each[0], each[4], each[5]) for path, each in facts.items()})
    assert found[0] == found[1]
    assert {1_700_000_000 * 10**9} == {each[1] for each in found[0].values()}


def test_version_of_the_command_is_the_checkouts(installed: Installed, interpreters: list[Interpreter]) -> None:
    """What is laid out is what is in the checkout."""
    installed.put("python3", fitting(interpreters))
    own = subprocess.run([sys.executable, "-m", "pyctrigger", "--version"], capture_output=True, text=True, check=True)

    assert own.stdout == installed.run("--version").stdout


def dies_of(pid: int, number: int) -> bool:
    """Whether a process neither ignores a signal nor handles it (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigIgn:", "SigCgt:"))]
    return not any(mask >> (number - 1) & 1 for mask in masks)


def test_ctrl_c_never_makes_a_hook_fail(installed: Installed, interpreters: list[Interpreter], site: Path) -> None:
    """From the launcher's trap on: exit 0, and at most one line, though Python itself is started meanwhile."""
    target = fitting(interpreters)
    installed.put("python3", target)
    write_tree(site, {"m.py": "x = 1\n"})
    command_line: list[str | Path] = [
        installed.prefix / "bin/pyctrigger",
        "run",
        "-q",
        "--hook",
        "--state-dir",
        installed.state,
    ]
    command_line += ["--python", target.path, "--site-dir", site]
    for _ in range(2):  # the second has all the bytecode that there is
        began = time.monotonic()
        assert 0 == subprocess.run(command_line, check=False, preexec_fn=heed_signals).returncode
        duration = time.monotonic() - began

    found = set()
    for moment in range(30):
        with subprocess.Popen(command_line, stderr=subprocess.PIPE, preexec_fn=heed_signals) as child:  # noqa: PLW1509
            while child.poll() is None and dies_of(child.pid, signal.SIGINT):
                time.sleep(0.001)
            time.sleep(duration * moment / 30)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        found.add((child.returncode, said))

    assert found <= {(0, b""), (0, b"pyctrigger: interrupted; run it again to finish\n")}
    assert len(found) == 2
