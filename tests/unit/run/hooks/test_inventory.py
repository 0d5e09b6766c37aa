"""The hooks of a system: which there are, for whom, and where two do the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import ManagerError
from pyctrigger.interpreter import flavour
from pyctrigger.packages.apk import Apk
from pyctrigger.packages.dpkg import Dpkg
from pyctrigger.run.hooks import inventory
from pyctrigger.run.hooks.inventory import SystemHook, is_ours, rivals, system_hooks
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from pathlib import Path

CALL = "/usr/bin/pyctrigger run --hook --python {}\n"
APT, ALPM, OWN_ALPM, APK = (
    "etc/apt/apt.conf.d",
    "usr/share/libalpm/hooks",
    "etc/pacman.d/hooks",
    "etc/apk/commit_hooks.d",
)


def listed(
    top: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], databases: dict[str, bytes] | None = None
) -> tuple[list[SystemHook], list[str]]:
    """The hooks of a root with these files, and what is said."""
    for path, text in files.items():
        place = top / path.rstrip("*")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o645 if path.endswith("*") else 0o644)
    monkeypatch.setattr(inventory, "files_of", lambda root: FilesInMemory((root == str(top) and databases) or {}))
    said: list[str] = []
    return system_hooks(str(top), said.append), said


#: A file, a star after a program's; and what it is for, or None where it is no hook.
FILES: list[tuple[str, str, tuple[str, ...] | None]] = [
    (f"{APT}/90x", CALL.format("3.11"), ("py311",)),
    (f"{APT}/90x", CALL.format("'3.11'") + CALL.format('"pypy3.9"') + CALL.format("3.11"), ("py311", "pypy39")),
    (f"{APT}/90x", CALL.format("/opt/python"), ("/opt/python",)),
    (f"{APT}/90x", CALL.format("'/opt/a b'"), ("/opt/a b",)),
    (f"{APT}/90x", CALL.format("\t python3.12"), ("py312",)),
    (f"{APT}/90x", CALL.format("tauthon"), ("tauthon",)),
    (f"{APT}/90x", CALL.format("python3"), ("python3",)),
    (f"{APT}/90x", "pyctrigger run --hook\n", ()),
    (f"{APT}/90x", "pyctrigger run\n", None),
    (f"{APT}/90x", "other --hook --python 3.11\n", None),
    (f"{APT}/90x.conf", CALL.format("3.11"), ("py311",)),
    (f"{APT}/90x.bak", CALL.format("3.11"), None),
    (f"{APT}/90pyctrigger-py312", CALL.format("3.11"), ("py312",)),
    (f"{APT}/90pyctrigger-py312-0a1b2c3d", CALL.format("/opt/python"), ("/opt/python",)),
    (f"{APT}/90pyctrigger-pypy39", "pyctrigger --hook", ("pypy39",)),
    (f"{APT}/90pyctrigger-py313t", "pyctrigger --hook", ("py313t",)),
    (f"{APT}/90pyctrigger-py313x", CALL.format("3.11"), ("py311",)),
    (f"{ALPM}/x.hook", CALL.format("3.11"), ("py311",)),
    (f"{ALPM}/x.conf", CALL.format("3.11"), None),
    ("usr/local/share/pkg/triggers/x.ucl", 'local python = "3.11" -- pyctrigger --hook', ("py311",)),
    (f"{APK}/x*", CALL.format("3.11"), ("py311",)),
    (f"{APK}/x", CALL.format("3.11"), None),
    ("usr/local/libexec/pyctrigger-hook-py311*", CALL.format("3.11"), ("py311",)),
    ("usr/local/libexec/other*", CALL.format("3.11"), None),
]


@pytest.mark.parametrize(("path", "text", "pythons"), FILES)
def test_which_files_are_hooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str, pythons: tuple[str, ...] | None
) -> None:
    """Those that a manager reads and that call pyctrigger; for whom, by what they call, or else by their name."""
    found, said = listed(tmp_path, monkeypatch, {path: text})
    assert ([] if pythons is None else [(f"/{path.rstrip('*')}", pythons)], []) == (
        [(hook.path, hook.pythons) for hook in found],
        said,
    )


def test_a_hook_of_the_first_of_a_version_is_for_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its name says, though it calls a path; of another executable it is for that one alone."""
    (tmp_path / "bin").mkdir()
    for name in ("python3.11", "other"):
        (tmp_path / "bin" / name).touch(mode=0o755)
    monkeypatch.setattr(flavour, "STANDARD_DIRECTORIES", (f"{tmp_path}/bin",))
    calls = CALL.format(f"{tmp_path}/bin/python3.11") + CALL.format("3.12")
    files = {
        f"{APT}/90pyctrigger-py311": calls,
        f"{APT}/91pyctrigger-py311": calls + CALL.format(f"{tmp_path}/bin/other"),
    }
    found, _ = listed(tmp_path, monkeypatch, files)
    assert [("py311",), (f"{tmp_path}/bin/other",)] == [hook.pythons for hook in found]


def test_a_file_of_the_administrator_masks_one_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in it; one of another name doesn't."""
    call = CALL.format("3.11")
    files = {f"{OWN_ALPM}/a.hook": "", f"{OWN_ALPM}/b.hook": call, f"{OWN_ALPM}/d.hook": call}
    files |= {f"{ALPM}/{name}.hook": call for name in "abc"}
    found, _ = listed(tmp_path, monkeypatch, files)
    assert [
        (f"/{OWN_ALPM}/b.hook", None),
        (f"/{OWN_ALPM}/d.hook", None),
        (f"/{ALPM}/a.hook", f"/{OWN_ALPM}/a.hook"),
        (f"/{ALPM}/b.hook", f"/{OWN_ALPM}/b.hook"),
        (f"/{ALPM}/c.hook", None),
    ] == [(hook.path, hook.masked_by) for hook in found]


def test_a_program_that_is_none_masks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager doesn't start it either."""
    found, _ = listed(tmp_path, monkeypatch, {f"{APK}/a": CALL.format("3.11"), f"{APK}/b*": CALL.format("3.12")})
    assert [("/etc/apk/commit_hooks.d/b", ("py312",), "apk", None)] == [
        (hook.path, hook.pythons, hook.manager, hook.package) for hook in found
    ]


def test_a_directory_of_a_stranger_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many names, and so many bytes; both are said."""
    text = CALL.format("3.11")
    files = {f"{APT}/{number}": text for number in range(5)} | {f"{APT}/.no": text}
    monkeypatch.setattr(inventory, "_MOST_NAMES", 6)
    found, said = listed(tmp_path, monkeypatch, files)
    assert (5, []) == (len(found), said)
    monkeypatch.setattr(inventory, "_MOST_NAMES", 5)
    found, said = listed(tmp_path, monkeypatch, files)
    assert (True, [f"/{APT}: more than 5 files; the others are ignored"]) == (len(found) <= 5, said)
    monkeypatch.setattr(inventory, "_MOST_NAMES", 10)
    monkeypatch.setattr(inventory, "_MOST_BYTES", len(text) + 1)
    found, said = listed(tmp_path, monkeypatch, files)
    assert ([f"/{APT}/0", f"/{APT}/1"], [f"/{APT}: more than 0 MiB: 2 and what follows is ignored"]) == (
        [hook.path for hook in found],
        said,
    )
    monkeypatch.setattr(inventory, "_MOST_BYTES", 2 << 20)
    monkeypatch.setattr(inventory, "_MOST_NAMES", 1)
    assert [f"/{APT}: more than 1 files; the others are ignored"] == listed(tmp_path, monkeypatch, files)[1]
    (tmp_path / APT / "0").write_bytes(b"x" * (1 << 20))
    (tmp_path / APT / "1").write_bytes(b"x" * (1 << 20))
    monkeypatch.setattr(inventory, "_MOST_NAMES", 10)
    said = []
    system_hooks(str(tmp_path), said.append)
    assert [f"/{APT}: more than 2 MiB: 2 and what follows is ignored"] == said


# -- packages' -------------------------------------------------------------------------------------------------------

DPKG = {"/var/lib/dpkg/status": b"", "/var/lib/dpkg/info/pyctrigger.list": f"/{APT}/90x\n".encode()}


def test_a_packages_hooks_are_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files, by the package's list, and its trigger."""
    files = {f"{APT}/90x": CALL.format("3.11"), f"{APT}/91x": CALL.format("3.11")}
    memory = {**DPKG, "/var/lib/dpkg/info/pyctrigger.triggers": b""}
    found, said = listed(tmp_path, monkeypatch, files, memory)
    assert [
        SystemHook("dpkg", f"/{APT}/90x", "pyctrigger", ("py311",)),
        SystemHook("dpkg", f"/{APT}/91x", None, ("py311",)),
        SystemHook("dpkg", "/var/lib/dpkg/info/pyctrigger.triggers", "pyctrigger", ()),
    ] == found
    assert [] == said


@pytest.mark.parametrize("error", [ManagerError("no"), OSError(5, "no")])
def test_triggers_that_cannot_be_listed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """And the other hooks are listed."""

    def fail(manager: Dpkg) -> None:
        raise error

    monkeypatch.setattr(Dpkg, "package_trigger", fail)
    monkeypatch.setattr(Apk, "package_trigger", lambda manager: ("/apks", ()))
    databases = {**DPKG, "/lib/apk/db/installed": b""}
    found, said = listed(tmp_path, monkeypatch, {f"{APT}/90y": CALL.format("3.11")}, databases)
    assert ([f"/{APT}/90y", "/apks"], [f"dpkg can't list the triggers of the package pyctrigger: {error}"]) == (
        [hook.path for hook in found],
        said,
    )


def test_owners_that_cannot_be_asked_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hooks are listed as made by hand."""
    broken = {"/lib/apk/db/installed/x": b""}
    found, said = listed(tmp_path, monkeypatch, {f"{APT}/90y": CALL.format("3.11")}, broken)
    told = "apk can't be asked which files it owns: [Errno 2] it isn't there"
    assert ([(f"/{APT}/90y", None)], [told]) == ([(hook.path, hook.package) for hook in found], said)


def test_each_directory_has_its_own_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large one the next is read."""
    monkeypatch.setattr(inventory, "_MOST_BYTES", 1)
    files = {f"{OWN_ALPM}/a.hook", f"{OWN_ALPM}/b.hook", f"{ALPM}/c.hook"}
    found, _ = listed(tmp_path, monkeypatch, dict.fromkeys(files, CALL.format("3.11")))
    assert [f"/{OWN_ALPM}/a.hook", f"/{ALPM}/c.hook"] == [hook.path for hook in found]


def test_the_flavours_of_a_packages_trigger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their short names; a path stays one."""
    monkeypatch.setattr(Dpkg, "package_trigger", lambda manager: ("/db", ("3.11", "/opt/python", "x")))
    found, _ = listed(tmp_path, monkeypatch, {}, DPKG)
    assert [SystemHook("dpkg", "/db", "pyctrigger", ("py311", "/opt/python", "x"))] == found


# -- whom a hook serves ----------------------------------------------------------------------------------------------


def hook(manager: str = "dpkg", path: str = "/a", package: str | None = None, *pythons: str, **more: Any) -> SystemHook:
    """One for these Pythons."""
    return SystemHook(manager, path, package, pythons, **more)


#: A hook, a flavour or path, an executable of it, and whether the hook is for it.
SERVED: list[tuple[SystemHook, str, str | None, bool]] = [
    (hook("dpkg", "/a", None, "py311"), "py311", None, True),
    (hook("dpkg", "/a", None, "py311"), "py312", None, False),
    (hook("dpkg", "/a", None, "py311"), "/usr/bin/python3.11", None, False),
    (hook("dpkg", "/a", None, "/opt/python"), "py311", "/opt/python", True),
    (hook("dpkg", "/a", None, "/opt/python"), "py311", "/usr/bin/python3.11", False),
    (hook("dpkg", "/a", None, "/opt/python"), "/opt/python", None, True),
    (hook(), "py399", None, True),
    (hook(), "/no/python", None, False),
    (hook(), "T/python3.11", None, True),
]


@pytest.mark.parametrize(("hook", "python", "executable", "expected"), SERVED)
def test_whom_a_hook_is_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hook: SystemHook,
    python: str,
    executable: str | None,
    expected: bool,
) -> None:
    """One without Pythons is for all that are found; a masked one doesn't fire."""
    (tmp_path / "python3.11").touch(mode=0o755)
    monkeypatch.setattr(flavour, "STANDARD_DIRECTORIES", (str(tmp_path),))
    python, masked = python.replace("T", str(tmp_path)), hook._replace(masked_by="/b")
    assert [expected, expected, expected, False] == [
        hook.is_for(python, executable),
        hook.serves(python, executable),
        masked.is_for(python, executable),
        masked.serves(python, executable),
    ]


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ("/h/a-install.hook", "/x/b-install.hook", True),
        ("/h/a-install.hook", "/x/b-remove.hook", False),
        ("/h/a-install.hook", "/x/b", False),
        ("/h/a", "/x/b-remove.hook", True),
        ("/h/a", "/x/b", True),
        ("/h/a-install.hook.bak", "/x/b-remove.hook", True),
    ],
)
def test_whose_work_a_hook_does(own: str, other: str, expected: bool) -> None:
    """pacman has a hook for each kind of change."""
    assert expected is hook("pacman", own, None, "py311").does_work_of(other, "py311")
    assert hook("pacman", own, None, "py312").does_work_of(other, "py311") is False


def test_what_is_said_of_a_hook() -> None:
    """In words, and in JSON."""
    by_hand, packages = (
        hook("pacman", "/h/a-install.hook", None, "py311"),
        hook("pkg", "/h/\udcff", "p", masked_by="/m"),
    )
    assert ["hand", "package p"] == [by_hand.origin, packages.origin]
    assert [("pacman", "a"), ("pkg", "package p")] == [by_hand.group, packages.group]
    assert {
        "manager": "pkg",
        "path": "/h/\ufffd",
        "path_hex": "2f682fff",
        "package": "p",
        "pythons": [],
        "masked_by": "/m",
    } == (packages.as_dict())
    assert ["py311"] == by_hand.as_dict()["pythons"]


# -- two for one -----------------------------------------------------------------------------------------------------

BY_HAND, PACKAGES, EVERY = (
    hook("dpkg", "/hand", None, "py311", "py312"),
    hook("dpkg", "/package", "p", "py311"),
    hook("dpkg", "/every", "q"),
)
#: Hooks, a flavour, and the pairs.
RIVALS: list[tuple[list[SystemHook], str | None, list[tuple[SystemHook, SystemHook]]]] = [
    ([], None, []),
    ([BY_HAND], None, []),
    ([BY_HAND, PACKAGES], None, [(PACKAGES, BY_HAND)]),
    ([PACKAGES, BY_HAND], "py311", [(PACKAGES, BY_HAND)]),
    ([PACKAGES, BY_HAND], "py312", []),
    ([BY_HAND, EVERY], "py312", [(EVERY, BY_HAND)]),
    ([BY_HAND, EVERY], "py399", []),
    ([EVERY, EVERY._replace(package="r")], None, [(EVERY, EVERY._replace(package="r"))]),
    ([BY_HAND, PACKAGES._replace(manager="pkg")], None, []),
    ([BY_HAND._replace(manager="sh"), PACKAGES._replace(manager="sh")], None, []),
    ([BY_HAND, PACKAGES._replace(masked_by="/x")], None, []),
    ([PACKAGES, PACKAGES._replace(path="/other")], None, []),
    ([PACKAGES, PACKAGES._replace(path="/other"), BY_HAND], None, [(PACKAGES, BY_HAND)]),
    (
        [BY_HAND, PACKAGES, EVERY],
        None,
        [(PACKAGES, EVERY), (PACKAGES, BY_HAND), (EVERY, BY_HAND)],
    ),
    ([hook("dpkg", "/x", None, "py39"), hook("dpkg", "/y", None, "py310")], None, []),
]


@pytest.mark.parametrize(("hooks", "python", "expected"), RIVALS)
def test_two_hooks_for_one_python(
    hooks: list[SystemHook], python: str | None, expected: list[tuple[SystemHook, SystemHook]]
) -> None:
    """Of one manager; the one that was made by hand comes second, and each group is told once."""
    assert expected == list(rivals(hooks, python=python))


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"pyctrigger run --hook", True), (b"pyctrigger", False), (b"--hook", False), (b"", False)],
)
def test_what_calls_us(content: bytes, expected: bool) -> None:
    """As a hook does."""
    assert expected is is_ours(content)


def test_the_systems_own_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their names."""
    files = {f"{APT}/{name}": CALL.format("3.11") for name in ("92", "90", "91")}
    found, _ = listed(tmp_path, monkeypatch, files)
    assert ["90", "91", "92"] == [os.path.basename(each.path) for each in found]
