"""Root judges an interpreter before anything of it runs: whoever could change what it loads has the only say as whom.

Each attack leaves a mark with its effective uid from the first module that a Python imports, `encodings`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import zipfile
from binascii import crc32
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from children import public_directory
from command import Command
from confinement import NOBODY, cpython_for
from conftest import absent
from interpreters import find_interpreters
from packages import pycs_below, write_tree
from pyctrigger.errors import InterpreterError, RefusedError
from pyctrigger.interpreter.child import PROGRAMS, open_file
from pyctrigger.interpreter.elf import read_needs
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.loading import examine_loading
from pyctrigger.interpreter.probe import parse_answer
from pyctrigger.state.probed import ProbedInterpreters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

ALICE, BOB = 64601, 64602

pytestmark = pytest.mark.usefixtures("as_root")


class Stage:
    """A directory that everybody may enter, one of Alice's in there, and where marks are left."""

    def __init__(self, top: Path, python: Interpreter) -> None:
        self.top = top
        self.python = python
        self.version = f"{python.version[0]}.{python.version[1]}"
        self.library = f"python{self.version}"
        self.zip = f"python{self.version.replace('.', '')}.zip"
        self.theirs = self.directory("theirs", ALICE)
        self.marks = self.directory("marks")
        self.marks.chmod(0o1777)
        self.site = write_tree(self.directory("site"), {"module.py": "x = 1\n"})
        self.command = Command(top / "state")

    def directory(self, name: str, owner: int = 0) -> Path:
        """A directory below the top."""
        path = self.top / name
        path.mkdir(parents=True)
        os.chown(path, owner, owner)
        return path

    @property
    def ran_as(self) -> list[int]:
        """The accounts that a payload ran as."""
        return sorted(int(name) for name in os.listdir(self.marks))

    @property
    def payload(self) -> str:
        """A module `encodings` that leaves a mark, and is good for nothing else."""
        return (
            f"import posix\nposix.open({str(self.marks)!r} + '/%d' % posix.geteuid(), 577, 438)\nraise SystemExit(7)\n"
        )

    def copy(self, where: Path, name: str = "") -> Path:
        """A copy of the interpreter."""
        executable = where / "bin" / (name or f"python{self.version}")
        executable.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.python.path, executable)
        executable.chmod(0o755)
        return executable

    def trap(self, prefix: Path, owner: int = ALICE) -> Path:
        """A standard library below `prefix/lib` whose first module leaves a mark."""
        library = prefix / "lib" / self.library
        write_tree(library, {"os.py": "", "encodings/__init__.py": self.payload})
        (library / "lib-dynload").mkdir()
        give(prefix / "lib", owner)
        return library

    def zipped_trap(self, path: Path, owner: int = ALICE) -> Path:
        """The same as a zip."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("encodings/__init__.py", self.payload)
            archive.writestr("os.py", "")
        os.chown(path, owner, owner)
        return path

    def real_library(self, prefix: Path) -> Path:
        """A copy of the interpreter's own standard library."""
        (real,) = {Path(self.python.prefix) / each / self.library for each in ("lib", "lib64")} & {
            Path(os.path.dirname(os.path.realpath(path)))
            for path in Path(self.python.prefix).glob(f"lib*/{self.library}/os.py")
        }
        left_out = shutil.ignore_patterns(
            "site-packages", "dist-packages", "test", "idlelib", "__pycache__", "config-*"
        )
        shutil.copytree(real, prefix / "lib" / self.library, ignore=left_out, symlinks=True)
        return prefix / "lib" / self.library

    def run(self, executable: Path, *arguments: Any) -> Any:
        """A run of root's with this interpreter, over a site directory of root's."""
        return self.command.text("run", "--python", executable, "--site-dir", self.site, *arguments)


def give(path: Path, owner: int) -> None:
    """All of it to one account."""
    for directory, _, names in os.walk(path):
        for each in (directory, *(os.path.join(directory, name) for name in names)):
            os.lchown(each, owner, owner)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage with an interpreter that other accounts may execute."""
    path = cpython_for(NOBODY)
    python = next((each for each in find_interpreters() if each.path == path), None)
    if python is None:
        absent("no CPython that other accounts than root's may execute")
    with public_directory() as top:
        yield Stage(top, python)


# -- what a start would load -----------------------------------------------------------------------------------------


def home_in_his_directory(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    (stage.directory("venv") / "pyvenv.cfg").write_text(f"home = {stage.theirs}/bin\n")
    return stage.copy(stage.top / "venv", "python")


def relative_home(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    away = "../" * 3 + str(stage.theirs).lstrip("/")
    (stage.directory("venv") / "pyvenv.cfg").write_text(f"version = {stage.version}\nHOME={away}/./bin/../bin\n")
    return stage.copy(stage.top / "venv", "python3")


def home_beside_the_executable(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    (stage.directory("venv/bin") / "pyvenv.cfg").write_text(f"home = {stage.theirs}/bin\n")
    return stage.copy(stage.top / "venv", "python")


def link_to_his_home(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    (stage.top / "base").symlink_to(stage.theirs)
    (stage.directory("venv") / "pyvenv.cfg").write_text(f"home = {stage.top}/base/bin\n")
    return stage.copy(stage.top / "venv", "python")


def prefix_whose_lib_is_his(stage: Stage) -> Path:
    stage.trap(stage.directory("conda"))
    return stage.copy(stage.top / "conda")


def prefix_whose_lib_is_a_link(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    (stage.directory("conda") / "lib").symlink_to(stage.theirs / "lib")
    return stage.copy(stage.top / "conda")


def prefix_above_the_prefix(stage: Stage) -> Path:
    stage.trap(stage.directory("outer"))
    return stage.copy(stage.top / "outer/deep/down")


def library_that_an_executable_without_a_version_finds(stage: Stage) -> Path:
    stage.trap(stage.directory("conda"))
    return stage.copy(stage.top / "conda", "snake")


def module_of_his_in_a_library_of_roots(stage: Stage) -> Path:
    prefix = stage.directory("conda")
    library = stage.trap(prefix, owner=0)
    os.chown(library / "encodings/__init__.py", ALICE, ALICE)
    return stage.copy(prefix)


def bytecode_of_his_in_a_library_of_roots(stage: Stage) -> Path:
    prefix = stage.directory("conda")
    library = stage.trap(prefix, owner=0)
    (library / "encodings/__pycache__").mkdir()
    os.chown(library / "encodings/__pycache__", ALICE, ALICE)
    return stage.copy(prefix)


def link_in_a_library_of_roots(stage: Stage) -> Path:
    prefix = stage.directory("conda")
    library = stage.trap(prefix, owner=0)
    stage.trap(stage.theirs)
    shutil.rmtree(library / "encodings")
    (library / "encodings").symlink_to(stage.theirs / "lib" / stage.library / "encodings")
    return stage.copy(prefix)


def zip_above_the_executable(stage: Stage) -> Path:
    prefix = stage.directory("conda")
    stage.zipped_trap(prefix / "lib" / stage.zip)
    return stage.copy(prefix)


def zip_in_a_directory_for_all(stage: Stage) -> Path:
    shared = stage.directory("shared")
    stage.zipped_trap(shared / "lib" / stage.zip)
    os.chown(shared / "lib", ALICE, ALICE)
    shared.chmod(0o1777)
    return stage.copy(stage.directory("shared/app"))


def path_file(stage: Stage) -> Path:
    stage.trap(stage.theirs)
    executable = stage.copy(stage.directory("embedded"))
    Path(f"{executable}._pth").write_text(f"{stage.theirs}/lib/{stage.library}\n")
    return executable


HIS_LIBRARY: list[tuple[Callable[[Stage], Path], int]] = [
    (home_in_his_directory, 6),
    (relative_home, 11),
    (home_beside_the_executable, 6),
    (link_to_his_home, 6),
    (prefix_whose_lib_is_his, 6),
    (prefix_whose_lib_is_a_link, 6),
    (prefix_above_the_prefix, 6),
    (library_that_an_executable_without_a_version_finds, 6),
    (module_of_his_in_a_library_of_roots, 6),
    (bytecode_of_his_in_a_library_of_roots, 6),
    (link_in_a_library_of_roots, 6),
    (zip_above_the_executable, 11),
    (zip_in_a_directory_for_all, 11),
    (path_file, 11),
]


@pytest.mark.parametrize(("attack", "since"), HIS_LIBRARY, ids=[attack.__name__ for attack, _ in HIS_LIBRARY])
def test_what_somebody_else_could_change_never_runs_as_root(
    stage: Stage, attack: Callable[[Stage], Path], since: int
) -> None:
    """An executable of root's that loads a library of Alice's is started as Alice, and that is all she gets."""
    if stage.python.version[:2] < (3, since):
        absent(f"a Python 3.{since} that other accounts than root's may execute")

    outcome = stage.run(attack(stage))

    assert ([ALICE], 69) == (stage.ran_as, outcome.code), outcome.err
    assert pycs_below(stage.site) == []


def test_an_executable_of_roots_in_his_directory(stage: Stage) -> None:
    """By a chain of links, the last of which leads back to root's own interpreter: it runs as him."""
    (stage.theirs / "python").symlink_to(stage.python.path)
    (stage.top / "second").symlink_to("theirs/python")
    (stage.top / "first").symlink_to(stage.top / "second")

    outcome = stage.run(stage.top / "first")

    assert 77 == outcome.code
    assert f"{stage.top}/first belongs to account {ALICE}, but {stage.site} to account 0; " in outcome.err


def test_two_accounts(stage: Stage) -> None:
    """Alice's executable with a library of Bob's must not be run by anybody."""
    stage.trap(stage.directory("base"), owner=BOB)
    (stage.theirs / "pyvenv.cfg").write_text(f"home = {stage.top}/base/bin\n")
    give(stage.theirs, ALICE)

    outcome = stage.run(stage.copy(stage.theirs, "python"))

    assert (77, []) == (outcome.code, stage.ran_as)
    assert f"is not trusted by root: accounts [{ALICE}, {BOB}] can change it; " in outcome.err


@pytest.mark.parametrize("kind", [0o4755, 0o2755, 0o6755])
def test_an_executable_that_gives_rights(stage: Stage, kind: int) -> None:
    """A set-user-ID copy of root's in Alice's directory would run her library as root for any caller."""
    stage.trap(stage.theirs)
    executable = stage.copy(stage.theirs)
    executable.chmod(kind)

    outcome = stage.run(executable)

    assert (77, []) == (outcome.code, stage.ran_as)
    assert f"is not trusted by root: it is set-user-ID or set-group-ID; chmod ug-s {executable}\n" in (outcome.err)


def test_a_place_where_everybody_may_put_a_library(stage: Stage) -> None:
    """A zip that isn't there yet would come before the library: it is looked for each time."""
    if stage.python.version[:2] < (3, 11):
        absent("a Python 3.11 that other accounts than root's may execute")
    stage.directory("shared").chmod(0o1777)
    prefix = stage.directory("shared/app")
    executable = stage.copy(prefix)
    stage.real_library(prefix)
    assert 0 == stage.run(executable, "").code

    stage.zipped_trap(stage.top / "shared/lib" / stage.zip)
    give(stage.top / "shared/lib", ALICE)
    outcome = stage.run(executable)

    assert (69, [ALICE]) == (outcome.code, stage.ran_as)


def test_a_build_directory(stage: Stage) -> None:
    """What a Python loads in there follows from how it was built."""
    place = stage.directory("built")
    (place / "bin").mkdir()
    (place / "bin/pybuilddir.txt").write_text("build/lib")
    outcome = stage.run(stage.copy(place))
    assert 77 == outcome.code
    assert f"{place}/bin is a Python's build directory; install that Python (make install)\n" in outcome.err


@pytest.mark.parametrize("kind", ["fifo", "sparse", "endless", "directory", "socket"])
def test_a_configuration_that_is_none(stage: Stage, kind: str) -> None:
    """Named at once, and not read: neither by us nor by a Python that would wait for it, or take all memory."""
    executable = stage.copy(stage.directory("venv"))
    stage.real_library(stage.top / "venv")
    configuration = stage.top / "venv/pyvenv.cfg"
    if kind == "fifo":
        os.mkfifo(configuration)
    elif kind == "endless":
        configuration.symlink_to("/dev/zero")
    elif kind == "directory":
        configuration.mkdir()
    elif kind == "socket":
        os.mknod(configuration, 0o140644)
    else:
        configuration.touch()
        os.truncate(configuration, 100 << 30)
    started = time.monotonic()

    outcome = stage.run(executable)

    assert time.monotonic() - started < 10
    why = "is too large for a pyvenv.cfg" if kind == "sparse" else "is not a regular file"
    assert (69, f"pyctrigger: {configuration} {why}; create the environment again\n") == (outcome.code, outcome.err)


def with_run_path(executable: Path, python: Interpreter, place: str, instead: str) -> str:
    """A copy of an interpreter that looks for libraries somewhere else; the name of its libpython."""
    content = Path(python.path).read_bytes()
    changed = content.replace(os.fsencode(place) + b"\0", os.fsencode(instead).ljust(len(place), b"\0") + b"\0")
    executable.write_bytes(changed)
    executable.chmod(0o755)
    needs = read_needs(str(executable))
    assert needs is not None
    (name,) = [name for name in needs.libraries if name.startswith("libpython")]
    return name


def test_libraries_by_a_run_path(stage: Stage) -> None:
    """A shared library in Alice's directory, of an executable of root's, is judged before it is loaded."""
    shared = [
        (each, place)
        for each in find_interpreters()
        for needs in [read_needs(each.path)]
        if needs and any(name.startswith("libpython") for name in needs.libraries)
        for place in (*needs.runpath, *needs.rpath)
        if os.path.isdir(place)
    ]
    if not shared:
        absent("a CPython with a shared libpython")
    python, place = shared[-1]
    executable, theirs = stage.top / os.path.basename(python.path), Path("/var") / os.urandom(3).hex()
    name = with_run_path(executable, python, place, str(theirs))
    try:
        theirs.mkdir()
        shutil.copyfile(f"{place}/{name}", theirs / name)
        give(theirs, ALICE)
        assert Account(ALICE, ALICE) == examine_loading(str(executable)).account
        give(theirs, 0)
        assert examine_loading(str(executable)).account is None
    finally:
        shutil.rmtree(theirs)


# -- answers that are kept -------------------------------------------------------------------------------------------


def test_a_kept_answer_is_checked_as_a_fresh_one(stage: Stage) -> None:
    """What Alice has got since, or others may write by now, is no longer root's to run."""
    prefix = stage.directory("own")
    executable, library = stage.copy(prefix), stage.real_library(prefix)
    (library / "__pycache__").mkdir(exist_ok=True)
    probed = ProbedInterpreters(str(stage.top / "state"))
    first = probed.ask(str(executable))
    (kept,) = (stage.top / "state/interpreters").iterdir()
    answer = kept.stat()
    assert (None, first) == (first.account, probed.ask(str(executable)))
    assert answer == kept.stat()
    for what in (".", "os.py", "encodings", "importlib", "importlib/__init__.py", "__pycache__", "json"):
        path = library / what
        os.chown(path, ALICE, ALICE)
        assert Account(ALICE, ALICE) == probed.ask(str(executable)).account, what
        os.chown(path, 0, 0)
        assert first == probed.ask(str(executable)), what
        mode = path.stat().st_mode
        path.chmod(mode | 0o022)
        with pytest.raises(RefusedError, match=f"others may write {os.path.normpath(path)}; "):
            probed.ask(str(executable))
        path.chmod(mode)
        assert first == probed.ask(str(executable)), what


def test_a_kept_answer_of_an_environment(stage: Stage) -> None:
    """A `pyvenv.cfg` that is added, removed or changed invalidates it."""
    prefix = stage.directory("own")
    executable = stage.copy(prefix)
    stage.real_library(prefix)
    assert 0 == stage.run(executable, "").code
    stage.trap(stage.theirs)

    (prefix / "pyvenv.cfg").write_text(f"home = {stage.theirs}/bin\n")
    outcome = stage.run(executable)

    assert (69, [ALICE]) == (outcome.code, stage.ran_as)


# -- whose state it is -----------------------------------------------------------------------------------------------


def claims(python: Interpreter, **said: Any) -> str:
    """A script that answers as the interpreter does, but for what it says itself."""
    question = b""
    for name in PROGRAMS["probe"]:
        with open(open_file(name), "rb") as file:
            question += file.read()
    answer = subprocess.run([python.path, "-I", "-S", "-"], input=question, capture_output=True, check=True).stdout
    honest = json.loads(answer.partition(b"pyctrigger-probe:")[2])
    return f"#!/bin/sh\nprintf '\\npyctrigger-probe:%s\\n' '{json.dumps({**honest, **said})}'\n"


def magic_numbers(state: Path) -> dict[str, bytes]:
    """What is remembered of each installation."""
    return {path.parent.name: path.read_bytes() for path in state.glob("*/magic_number")}


def test_another_magic_number_of_a_strangers(stage: Stage) -> None:
    """His script says that it is the system's installation, and has another number: the system's state stays."""
    assert 0 == stage.command.text("run", "--python", stage.python.path, "--site-dir", stage.site).code
    before = magic_numbers(stage.command.state)
    assert 1 == len(before)
    his = write_tree(stage.theirs / "site", {"README": ""})
    script = stage.theirs / "python"
    script.write_text(claims(stage.python, magic_number="01020d0a"))
    script.chmod(0o755)
    give(stage.theirs, ALICE)

    stage.command.text("run", "--python", script, "--site-dir", his)
    outcome = stage.command.text("run", "--python", stage.python.path, "--site-dir", stage.site, stage.site)

    assert before == {name: magic_numbers(stage.command.state)[name] for name in before}
    assert (0, "") == (outcome.code, outcome.err)
    assert "everything is compiled again" not in outcome.out


def forged(before: bytes, after: bytes, wanted: int) -> str:
    """Letters between two texts that give all of it this CRC-32: a linear system over GF(2), a letter a column."""
    count = 64
    plain = crc32(before + b"a" * count + after)
    pivots: dict[int, tuple[int, int]] = {}
    for place in range(count):
        letters = bytearray(b"a" * count)
        letters[place] = ord("b")
        column, chosen = crc32(before + letters + after) ^ plain, 1 << place
        while column and column.bit_length() in pivots:
            other, others = pivots[column.bit_length()]
            column, chosen = column ^ other, chosen ^ others
        if column:
            pivots[column.bit_length()] = (column, chosen)
    difference, chosen = wanted ^ plain, 0
    while difference:
        column, places = pivots[difference.bit_length()]
        difference, chosen = difference ^ column, chosen ^ places
    return "".join("b" if chosen >> place & 1 else "a" for place in range(count))


def test_no_name_of_a_strangers_leads_to_the_systems_state(stage: Stage) -> None:
    """The digest in an installation's id is no secret: he names directories until it fits."""
    first = stage.command.json("run", "--python", stage.python.path, "--site-dir", stage.site)
    installation = first.run["installation"]
    digest = int(installation.rpartition("-")[2], 16)
    said = json.loads(claims(stage.python).partition("probe:%s\\n' '")[2].rpartition("'")[0])
    rest = "\0".join(["", said["implementation"], said["cache_tag"], said["abi_flags"], str(said["free_threaded"])])
    assert digest == crc32(f"{said['prefix']}{rest}".encode()), "the id is made in another way: this proves nothing"
    above = f"{stage.theirs}/"
    # An environment of his that the system's interpreter serves, and an interpreter of his with that prefix.
    prefix = above + forged(above.encode(), rest.encode(), digest)
    packages = write_tree(Path(prefix) / "lib" / stage.library / "site-packages", {"m.py": ""})
    (Path(prefix) / "pyvenv.cfg").touch()
    script = stage.theirs / "python"
    script.write_text(claims(stage.python, prefix=prefix, schemes={}))
    script.chmod(0o755)
    give(stage.theirs, ALICE)
    assert digest == crc32(f"{prefix}{rest}".encode())

    served = stage.command.json("run", "--python", stage.python.path, "--prefix", prefix)
    his = stage.command.json("run", "--python", script, "--site-dir", packages, "")

    assert [0, 0] == [served.code, his.code], served.err + his.err
    assert 3 == len({installation, served.run["installation"], his.run["installation"]})


def test_what_is_gone_was_never_his_to_say(stage: Stage) -> None:
    """His interpreter claims a cache tag and is then removed: root's purge doesn't believe it."""
    pyc = stage.site / "__pycache__/module.cpython-398.pyc"
    write_tree(stage.site, {"__pycache__/module.cpython-398.pyc": "\x01\x02\r\n" + "\0" * 12 + "N"})
    script = stage.theirs / "python"
    script.write_text(claims(stage.python, prefix=str(stage.theirs), schemes={}, cache_tag="cpython-398"))
    script.chmod(0o755)
    give(stage.theirs, ALICE)
    assert 0 == stage.command.text("run", "--python", script, "--site-dir", stage.theirs, "").code
    script.unlink()

    outcome = stage.command.text("purge", "--cache-tag", "cpython-398", "--site-dir", stage.site, "--yes")

    assert (0, False) == (outcome.code, pyc.exists()), outcome.err


# -- what an answer may say ------------------------------------------------------------------------------------------

HOSTILE: dict[str, list[Any]] = {
    "implementation": ["", "../x", "a" * 65, 5, None, ["cpython"], "cpython\n", "c\0"],
    "version": ["3", [3], [3, 11], [3, 11, 2, 0], [3, 11, True], [3, 11, -1], [3, 11, 10**30], [4, 0, 0], [3, 11.0, 2]],
    "release": ["", "3.11\n", "\x1b[31m", "3" * 65, 3.11],
    "cache_tag": ["../x", "a/b", "a.b", "a" * 65, "cpython-311\n", 5, ["x"], "caf\u00e9", "a\0"],
    "magic_number": ["00", "zz", "a70d0d0aa70d0d0a", "A70D0D0A", "a70d0a0a", None, 5, "a7 0d 0d 0a"],
    "abi_flags": ["../", "t" * 9, None, 5, "T"],
    "free_threaded": [0, 1, "no", None, []],
    "prefix": ["", "usr", "/usr/../etc", "/usr\0", "/" + "a" * 4096, 5, None, "/\ud800"],
    "schemes": [
        *(5, [], {"../x": {}}, {"x": 5}, {"x": {"purelib": "relative"}}, {"x": {"scripts": "/bin"}}, {"": {}}),
        *({f"s{number}": {} for number in range(65)}, {"x": {"purelib": "/usr/../etc"}}, {"x" * 65: {}}),
    ],
    "default_scheme": ["", "../x", 5, None, "x" * 65],
    "class_names": [None, 5, {}, "x", [5], ["a b"], ["a'b"], ["x" * 201], ["x"] * 65],
    "inside": [5, {}, ["/usr/lib"], ["/@/../../etc"], ["@/lib"], ["/@/lib"] * 65, [5], ["/@x/lib"]],
    "witnesses": [5, {}, ["relative"], ["/a/../b"], ["/x\0"], [5], ["/x"] * 65],
}


@pytest.mark.parametrize("field", HOSTILE)
def test_an_answer_that_no_python_gives(stage: Stage, field: str) -> None:
    """Each value has its type, its length and its alphabet, whatever its origin."""
    honest = json.loads(claims(stage.python).partition("probe:%s\\n' '")[2].rpartition("'")[0])

    def said(**fields: Any) -> bytes:
        return b"\npyctrigger-probe:" + json.dumps({**honest, **fields}).encode() + b"\n"

    assert parse_answer("/python", said())[0].cache_tag == honest["cache_tag"]
    for value in HOSTILE[field]:
        with pytest.raises(InterpreterError, match=r"^/python gave an invalid answer: "):
            print(value, parse_answer("/python", said(**{field: value})))


@pytest.mark.parametrize("said", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 100_000, b"", b"null", b"\xff", b"NaN"])
def test_an_answer_that_is_none(said: bytes) -> None:
    """However deep it is, and whatever it consists of."""
    with pytest.raises(InterpreterError, match=r"gave an unreadable answer"):
        parse_answer("/python", b"\npyctrigger-probe:" + said + b"\n")


def test_directories_that_are_not_his_to_name(stage: Stage) -> None:
    """Those of his own prefix are; the system's, which the whole scope would be then, aren't."""
    script = stage.theirs / "python"
    own, others = stage.theirs / "lib", stage.site
    for directory, code in ((own, 0), (others, 77)):
        schemes = {"posix_prefix": {"purelib": str(directory), "platlib": str(directory)}}
        script.write_text(claims(stage.python, prefix=str(stage.theirs), schemes=schemes))
        script.chmod(0o755)
        os.chown(script, ALICE, ALICE)
        outcome = stage.command.text("run", "--python", script, "--site-dir", stage.theirs, "")
        assert code == outcome.code, outcome.err
    assert f"{script} belongs to account {ALICE}, but claims {others}; " in outcome.err
