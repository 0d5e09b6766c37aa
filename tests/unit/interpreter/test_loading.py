"""What an interpreter would load, and who could change that: found by names and bytes, without running anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pyctrigger.errors import InterpreterError, RefusedError
from pyctrigger.interpreter import loading as module
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.loading import examine_loading
from unit.interpreter.elf_files import NEEDED, RPATH, RUNPATH, Kind, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ALICE = 64601
pytestmark = pytest.mark.usefixtures("as_root")


class Elf(NamedTuple):
    """A program, or without a loader a library, and the entries of what it needs; `{top}` is the test's directory."""

    loader: str | None
    entries: tuple[tuple[int, str], ...] = ()

    def made_in(self, top: Path) -> bytes:
        """Its bytes."""
        loader = None if self.loader is None else self.loader.format(top=top).encode() + b"\0"
        return program(Kind(64, "<"), loader, [(tag, text.format(top=top).encode()) for tag, text in self.entries])


def put(top: Path, files: Mapping[str, Elf | str]) -> None:
    """Files below a directory, links (`-> GOAL`), and directories, which end with a slash."""
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif isinstance(content, Elf):
            path.write_bytes(content.made_in(top))
        elif content.startswith("-> "):
            path.symlink_to(content[3:].format(top=top))
        else:
            path.write_text(content.format(top=top, relative=str(top)[1:]))


SOME = Elf("/ld", ((NEEDED, "x"),))
TWICE = Elf("/ld", ((NEEDED, "{top}/b"), (NEEDED, "{top}/c")))
BUILT = Elf("/ld", ((NEEDED, "{top}/built"),))
EXECUTABLE = "app/bin/python3.11"
#: A prefix with an interpreter, its shared library, and its standard library.
INSTALLED: dict[str, Elf | str] = {
    EXECUTABLE: Elf("{top}/ld.so", ((NEEDED, "libp.so"), (RUNPATH, "$ORIGIN/../so"))),
    "app/so/libp.so": Elf(None, ((NEEDED, "libno.so"), (NEEDED, "libz.so"), (RPATH, "{top}/none:{top}/z"))),
    "z/libz.so": Elf(None, ((NEEDED, "libzz.so"), (NEEDED, "{top}/libn.so"))),
    "z/libzz.so": Elf(None),
    "libn.so": Elf(None),
    "ld.so": Elf(None),
    "app/lib/python3.11/os.py": "",
    "app/lib/python3.11/encodings/__pycache__/utf_8.pyc": "",
    "app/lib/python3.11/json/tests/m.py": "",
    "app/lib/python3.11/test/m.py": "",
    "app/lib/python3.11/site-packages/m.py": "",
    "app/lib/python3.11/lib-dynload/e.so": Elf(None, ((NEEDED, "libe.so"), (RUNPATH, "$ORIGIN/../../../so"))),
    "app/so/libe.so": Elf(None),
    "app/lib/python3.11/around": "-> .",
    "app/lib/python3.11/nowhere": "-> absent",
    "app/lib/python3.10/os.py": "",
    "app/lib/other.py": "",
}


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """A place where all of that is, and only root may write."""
    before = os.umask(0o022)
    put(tmp_path / "top", INSTALLED)
    yield tmp_path / "top"
    os.umask(before)


def library(place: str) -> dict[str, Elf | str]:
    """A standard library at a place."""
    return {f"{place}/os.py": "", f"{place}/encodings/__init__.py": ""}


TWO_LIBRARIES = {**library("b/lib/python3.11"), **library("c/lib/python3.11")}
LIBRARY, LINK = "app/lib/python3.11", {"v/bin/python": "-> ../../app/bin/python3.11"}
PYPY: dict[str, Elf | str] = {"y/bin/pypy3.6": SOME, **library("y/lib-python/3"), **library("y/lib_pypy")}
#: Other files, the executable, what belongs to Alice, and whether she could change what a start loads.
HERS: dict[str, tuple[dict[str, Elf | str], str, str, bool]] = {
    "the executable": ({}, EXECUTABLE, EXECUTABLE, True),
    "its directory": ({}, EXECUTABLE, "app/bin", True),
    "something beside it": ({"app/bin/other": ""}, EXECUTABLE, "app/bin/other", False),
    "the loader": ({}, EXECUTABLE, "ld.so", True),
    "its library": ({}, EXECUTABLE, "app/so/libp.so", True),
    "a library of its library": ({}, EXECUTABLE, "z/libz.so", True),
    "a library two steps away": ({}, EXECUTABLE, "z/libzz.so", True),
    "a library by its path": ({}, EXECUTABLE, "libn.so", True),
    "another library there": ({"z/libx.so": Elf(None)}, EXECUTABLE, "z/libx.so", False),
    "the directory of libraries": ({}, EXECUTABLE, "app/lib", True),
    "something in it": ({}, EXECUTABLE, "app/lib/other.py", False),
    "another version": ({}, EXECUTABLE, "app/lib/python3.10", False),
    "the standard library": ({}, EXECUTABLE, LIBRARY, True),
    "os.py": ({}, EXECUTABLE, f"{LIBRARY}/os.py", True),
    "bytecode": ({}, EXECUTABLE, f"{LIBRARY}/encodings/__pycache__/utf_8.pyc", True),
    "what no start imports": ({}, EXECUTABLE, f"{LIBRARY}/test/m.py", False),
    "packages": ({}, EXECUTABLE, f"{LIBRARY}/site-packages", False),
    "such a name, deeper": ({}, EXECUTABLE, f"{LIBRARY}/json/tests/m.py", True),
    "an extension module": ({}, EXECUTABLE, f"{LIBRARY}/lib-dynload/e.so", True),
    "what it needs": ({}, EXECUTABLE, "app/so/libe.so", True),
    "a library by its path, without others": ({"p": BUILT, "built": ""}, "p", "built", True),
    "a library in the executable's own place": ({"app/so/libno.so": Elf(None)}, EXECUTABLE, "app/so/libno.so", False),
    "a library that needs itself": (
        {"z/libzz.so": Elf(None, ((NEEDED, "{top}/z/libz.so"),))},
        *(EXECUTABLE, "app/lib/other.py", False),
    ),
    "lib64": (library("app/lib64/python3.11"), EXECUTABLE, "app/lib64/python3.11/os.py", True),
    "a zip": ({"app/lib/python311.zip": "PK"}, EXECUTABLE, "app/lib/python311.zip", True),
    "another version's zip": ({"app/lib/python310.zip": "PK"}, EXECUTABLE, "app/lib/python310.zip", False),
    "a zip above": ({"lib/python311.zip": "PK"}, EXECUTABLE, "lib/python311.zip", True),
    "a zip above, before 3.11": (
        {"lib/python310.zip": "PK", "app/bin/python3.10": SOME},
        *("app/bin/python3.10", "lib/python310.zip", False),
    ),
    "a zip above, for a name without a version": (
        {"lib/python310.zip": "PK", "app/bin/p": SOME},
        *("app/bin/p", "lib/python310.zip", True),
    ),
    "free threads": (library("app/lib/python3.11t"), EXECUTABLE, "app/lib/python3.11t/os.py", True),
    "a script's interpreter": ({"s": "#!{top}/sh -x\necho\n", "sh": ""}, "s", "sh", True),
    "a script's interpreter, after spaces": ({"s": "#! \t{top}/sh\n", "sh": ""}, "s", "sh", True),
    "a script's interpreter, from the top": ({"s": "#!{relative}/sh\n", "sh": ""}, "s", "sh", True),
    "a script's interpreter, before a NUL": ({"s": "#!{top}/sh\0x\n", "sh": ""}, "s", "sh", True),
    "a script without an interpreter": ({"s": "#!\n", "sh": ""}, "s", "sh", False),
    "a path in the place of one": ({"s": "xx{top}/sh\n", "sh": ""}, "s", "sh", False),
    "what is no interpreter": ({"s": "{top}/sh\n", "sh": ""}, "s", "sh", False),
    "what else a script has": ({"s": "#!/bin/sh\n{top}/sh\n", "sh": ""}, "s", "sh", False),
    "the environment's home": (
        {"v/pyvenv.cfg": "Home = {top}/./app/bin/../bin \n", **LINK},
        *("v/bin/python", "app/bin", True),
    ),
    "another home's library": (
        {"v/pyvenv.cfg": "x\n HOME\t={top}/b/bin\nhome=\n", "b/bin/": "", **LINK, **library("b/lib/python3.11")},
        *("v/bin/python", "b/lib/python3.11/os.py", True),
    ),
    "another home": ({"v/bin/pyvenv.cfg": "home={top}/b/bin\n", "b/bin/": "", **LINK}, "v/bin/python", "b/bin", True),
    "a library of no home": (
        {"v/pyvenv.cfg": "home = {top}/b/bin\n", **LINK, **library("b/lib/python3.11")},
        *("v/bin/python", f"{LIBRARY}/os.py", False),
    ),
    "a home with a sign of equality": (
        {"v/pyvenv.cfg": "home = {top}/b=b/bin\n", "b=b/bin/": "", **LINK},
        *("v/bin/python", "b=b/bin", True),
    ),
    "the first of two homes": (
        {"v/pyvenv.cfg": "home = {top}/b/bin\nhome = {top}/c/bin\n", **LINK, **TWO_LIBRARIES},
        *("v/bin/python", "b/lib/python3.11/os.py", True),
    ),
    "the value of another key": (
        {"v/pyvenv.cfg": "homes = {top}/b/bin\nx = home\n", "b/bin/": "", **LINK},
        *("v/bin/python", "b/bin", False),
    ),
    "the configuration": ({"app/pyvenv.cfg": ""}, EXECUTABLE, "app/pyvenv.cfg", True),
    "the configuration beside it": ({"app/bin/pyvenv.cfg": ""}, EXECUTABLE, "app/bin/pyvenv.cfg", True),
    "a file of paths": ({f"{EXECUTABLE}._pth": "\n {top}/w \n"}, EXECUTABLE, f"{EXECUTABLE}._pth", True),
    "a path in it": ({f"{EXECUTABLE}._pth": "\n {top}/w \n", **library("w")}, EXECUTABLE, "w/os.py", True),
    "a relative one": ({f"{EXECUTABLE}._pth": "x\n../w\n", **library("app/w")}, EXECUTABLE, "app/w/os.py", True),
    "a file of paths that is a link": (
        {f"{EXECUTABLE}._pth": "-> paths", "app/bin/paths": "{top}/w\n", **library("w")},
        *(EXECUTABLE, "w/os.py", True),
    ),
    "a path after what is none": ({f"{EXECUTABLE}._pth": "\0\n{top}/w\n", **library("w")}, EXECUTABLE, "w/os.py", True),
    "what is beside an empty line": (
        {f"{EXECUTABLE}._pth": "\n{top}/w\n", "app/bin/other": "", **library("w")},
        *(EXECUTABLE, "app/bin/other", False),
    ),
    "a file of paths at the link": (
        {"l": f"-> {EXECUTABLE}", "l._pth": "{top}/w\n", **library("w")},
        *("l", "w/encodings/__init__.py", True),
    ),
    "PyPy's": ({"y/bin/pypy3.9": SOME, **library("y/lib/pypy3.9")}, "y/bin/pypy3.9", "y/lib/pypy3.9/os.py", True),
    "old PyPy's own": (PYPY, "y/bin/pypy3.6", "y/lib_pypy/os.py", True),
    "old PyPy's other": (PYPY, "y/bin/pypy3.6", "y/lib-python/3/os.py", True),
    "old PyPy's, for CPython": (library("app/lib_pypy"), EXECUTABLE, "app/lib_pypy/os.py", False),
    "an unknown version's": ({"u/bin/p": SOME, **library("u/lib/python3.7")}, "u/bin/p", "u/lib/python3.7/os.py", True),
    "an unknown zip": ({"u/bin/p": SOME, "u/lib/python313t.zip": "PK"}, "u/bin/p", "u/lib/python313t.zip", True),
    "a library of bytecode": (
        {"u/bin/p": SOME, "u/lib/python3.7/os.pyc": "", "u/lib/python3.7/m.py": ""},
        *("u/bin/p", "u/lib/python3.7/m.py", True),
    ),
    "a library of extension modules": (
        {"u/bin/p": SOME, "u/lib/python3.7/lib-dynload/": "", "u/lib/python3.7/m.py": ""},
        *("u/bin/p", "u/lib/python3.7/m.py", True),
    ),
    "what is no library": ({"u/bin/p": SOME, "u/lib/python3.7/m.py": ""}, "u/bin/p", "u/lib/python3.7/m.py", False),
    "what no version has": (
        {"u/bin/p": SOME, **library("u/lib/python3.7"), "u/lib/python3.7x/os.py": ""},
        *("u/bin/p", "u/lib/python3.7x/os.py", False),
    ),
    "the prefix that it was built with": (
        {"u/bin/python3.99": BUILT, **library("built/lib/python3.99")},
        *("u/bin/python3.99", "built/lib/python3.99/os.py", True),
    ),
    **{
        f"one of two such prefixes, {each}": (
            {"u/bin/python3.99": TWICE, **library("b/lib/python3.99"), **library("c/lib/python3.99")},
            *("u/bin/python3.99", f"{each}/lib/python3.99/os.py", True),
        )
        for each in ("b", "c")
    },
    "another version's, there": (
        {"u/bin/python3.99": BUILT, **library("built/lib/python3.98")},
        *("u/bin/python3.99", "built/lib/python3.98/os.py", False),
    ),
    "that prefix, where another library is": (
        {"u/bin/python3.11": BUILT, **library("built/lib/python3.11"), **library("u/lib/python3.11")},
        *("u/bin/python3.11", "built/lib/python3.11/os.py", False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HERS)
def test_who_could_change_what_a_start_loads(top: Path, name: str) -> None:
    """Alice, if something of hers is among it; root alone otherwise."""
    files, executable, hers, counts = HERS[name]
    put(top, files)
    os.lchown(top / hers, ALICE, ALICE)
    assert (Account(ALICE, ALICE) if counts else None) == examine_loading(str(top / executable)).account


#: Other files, the executable, and what is kept for later checks: what is there, and what isn't.
KEPT: list[tuple[dict[str, Elf | str], str, list[str], list[str]]] = [
    (
        {},
        EXECUTABLE,
        [
            *("app", "app/bin", "app/bin/python3.11", "app/lib", "app/lib/python3.11", "app/lib/python3.11/encodings"),
            *("app/lib/python3.11/encodings/__pycache__", "app/lib/python3.11/json", "app/lib/python3.11/lib-dynload"),
            *("app/lib/python3.11/os.py", "app/so", "app/so/libp.so", "libn.so", "z", "z/libz.so", "z/libzz.so"),
        ],
        ["app/bin/pyvenv.cfg", "app/pyvenv.cfg"],
    ),
    ({"s": "#!{top}/sh", "sh": "", "pyvenv.cfg": ""}, "s", ["pyvenv.cfg", "s", "sh"], []),
    (
        {
            "lib/python311.zip": "PK",
            "u/bin/python3.11": SOME,
            **library("u/lib/python3.11"),
        },
        "u/bin/python3.11",
        [
            *("u", "u/bin", "u/bin/python3.11", "u/lib", "u/lib/python3.11", "u/lib/python3.11/encodings"),
            "u/lib/python3.11/os.py",
        ],
        ["u/bin/pyvenv.cfg", "u/pyvenv.cfg"],
    ),
]


@pytest.mark.parametrize(("files", "executable", "present", "absent"), KEPT)
def test_what_is_kept_for_later_checks(
    top: Path, files: dict[str, Elf | str], executable: str, present: list[str], absent: list[str]
) -> None:
    """The few files and directories that every start reads, and where a configuration would be."""
    put(top, files)
    kept = examine_loading(str(top / executable)).kept
    below = {path[len(str(top)) + 1 :]: status for path, status in kept.items() if path.startswith(f"{top}/")}
    assert present == sorted(path for path, status in below.items() if status)
    assert absent == sorted(path for path, status in below.items() if status is None)


def test_what_anybody_could_make_is_kept(top: Path) -> None:
    """Where a library would be looked for, in a directory that all may write."""
    shared = top / "shared"
    put(top, {"shared/app/bin/python3.11": SOME, **library("shared/app/lib/python3.11")})
    shared.chmod(0o1777)
    kept = examine_loading(str(shared / "app/bin/python3.11")).kept
    assert {f"{shared}/lib", f"{shared}/lib64"} == {
        path for path, status in kept.items() if status is None and path.startswith(f"{shared}/lib")
    }


NOT_TRUSTED = "interpreter {top}/app/bin/python3.11 is not trusted by root: "
BUILD = NOT_TRUSTED + "{top}/app/bin is a Python's build directory"
RIGHTS = NOT_TRUSTED + "it is set-user-ID or set-group-ID"
INSTALL, AGAIN = "install that Python (make install)", "create the environment again"
OTHER = "name another interpreter with --python PATH"
PREFIX = "for an environment use --prefix {top}/v"
#: Other files, the executable, its mode, the error, and its hint.
REFUSED: list[tuple[dict[str, Elf | str], str, int, str, str]] = [
    ({}, EXECUTABLE, 0o4755, RIGHTS, "chmod ug-s {top}/" + EXECUTABLE),
    ({}, EXECUTABLE, 0o2755, RIGHTS, "chmod ug-s {top}/" + EXECUTABLE),
    ({"app/bin/pybuilddir.txt": ""}, EXECUTABLE, 0o755, BUILD, INSTALL),
    ({"app/bin/Modules/Setup.local": ""}, EXECUTABLE, 0o755, BUILD, INSTALL),
    ({}, "absent", 0, "interpreter {top}/absent: No such file or directory", "name one that exists"),
    ({}, "app/bin", 0o755, "{top}/app/bin can't be started: it is a directory", OTHER),
    ({"v/bin/python": ""}, "v", 0o755, "{top}/v can't be started: it is a directory", PREFIX),
    ({"v/bin/": ""}, "v", 0o755, "{top}/v can't be started: it is a directory", OTHER),
    ({"v/bin/python": "-> nowhere"}, "v", 0o755, "{top}/v can't be started: it is a directory", PREFIX),
    ({"p": "\x7fELF"}, "p", 0o755, "{top}/p can't be started: Exec format error", OTHER),
    ({"app/pyvenv.cfg/": ""}, EXECUTABLE, 0o755, "{top}/app/pyvenv.cfg is not a regular file", AGAIN),
    ({"app/pyvenv.cfg": "x" * 65537}, EXECUTABLE, 0o755, "{top}/app/pyvenv.cfg is too large for a pyvenv.cfg", AGAIN),
]


@pytest.mark.parametrize(("files", "executable", "mode", "message", "hint"), REFUSED)
def test_what_is_not_started(
    top: Path, files: dict[str, Elf | str], executable: str, mode: int, message: str, hint: str
) -> None:
    """With the reason, and what to do."""
    put(top, files)
    if mode:
        (top / executable).chmod(mode)
    with pytest.raises((InterpreterError, RefusedError)) as caught:
        examine_loading(str(top / executable))
    assert message.format(top=top) == caught.value.message
    assert hint.format(top=top) == caught.value.hint


@pytest.mark.parametrize("text", [b"x" * 65536, b"home =\n", b"home = /a\0b\n", b"\xff = x\n", b""])
def test_configurations_that_say_nothing(top: Path, text: bytes) -> None:
    """As large as one may be, without a home, or with bytes that are no text."""
    (top / "app/pyvenv.cfg").write_bytes(text)
    os.lchown(top / "app/lib/python3.11/os.py", ALICE, ALICE)
    assert Account(ALICE, ALICE) == examine_loading(str(top / EXECUTABLE)).account


def test_a_relative_home_starts_at_the_top(top: Path) -> None:
    """Where the interpreter is started."""
    put(top, {"v/pyvenv.cfg": f"home = {str(top)[1:]}/b/bin", "v/bin/python3.11": SOME, "b/bin/": ""})
    os.chown(top / "b/bin", ALICE, ALICE)
    assert Account(ALICE, ALICE) == examine_loading(f"{top}/v/bin/python3.11").account


@pytest.mark.parametrize(("limit", "expected"), [(13, True), (12, False)])
def test_a_library_has_an_end(top: Path, monkeypatch: pytest.MonkeyPatch, limit: int, expected: bool) -> None:
    """As many files as no Python has are not looked at."""
    monkeypatch.setattr(module, "_MAX_ENTRIES", limit)
    if expected:
        examine_loading(str(top / EXECUTABLE))
        return
    with pytest.raises(InterpreterError, match=f"{top}/{EXECUTABLE} has a library of more than {limit} files"):
        examine_loading(str(top / EXECUTABLE))


def test_others_run_what_they_name(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their own rights: only the executable and the configuration are looked at."""
    monkeypatch.setattr("os.geteuid", lambda: ALICE)
    os.chown(top / "app/lib", ALICE, ALICE)
    (top / EXECUTABLE).chmod(0o4755)
    holders = examine_loading(str(top / EXECUTABLE))
    assert (None, False) == (holders.account, f"{top}/app/lib" in holders.steps)


def test_a_text_without_an_interpreter_is_the_shells(top: Path) -> None:
    """As execvp(3) has it."""
    put(top, {"s": "echo\n"})
    assert os.path.realpath("/bin/sh") in examine_loading(f"{top}/s").steps
