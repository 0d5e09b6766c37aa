"""Which hooks a system has, whose they are, which fire, and that a second one isn't installed beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent
from packages import write_tree
from pyctrigger.interpreter.flavour import Flavour

if TYPE_CHECKING:
    from command import Command, Outcome
    from interpreters import Interpreter

OWN = 'call("pyctrigger run --hook --python 3.12");\n'
ALPM = "usr/share/libalpm/hooks/pyctrigger-py312-install.hook"
BY_HAND = "etc/pacman.d/hooks/pyctrigger-py312-install.hook"
#: By manager: what makes it present, what a package's hook or trigger is, and which files `hooks install` makes.
PACKAGED: dict[str, dict[str, str]] = {
    "dpkg": {
        "var/lib/dpkg/info/pyctrigger.triggers": "interest-noawait pyctrigger\n",
        "var/lib/dpkg/info/pyctrigger.list": "/usr/bin/pyctrigger\n",
    },
    "pacman": {
        ALPM: OWN,
        "var/lib/pacman/local/pyctrigger-1-1/files": f"%FILES%\n{ALPM}\n",
    },
    "apk": {
        "etc/apk/commit_hooks.d/vendor": OWN,
        "lib/apk/db/installed": "P:vendor-hooks\nF:etc/apk/commit_hooks.d\nR:vendor\n",
    },
}


class System:
    """A staged root, and `pyctrigger hooks` for it."""

    def __init__(self, command: Command, root: Path) -> None:
        self.command = command
        self.root = root

    def put(self, files: dict[str, str]) -> None:
        """Files, executable where only programs count."""
        write_tree(self.root, files)
        for name in files:
            (self.root / name).chmod(0o755)

    def text(self, action: str, manager: str, *more: str) -> Outcome:
        """For Python 3.12."""
        scope = ("--root", str(self.root), "--manager", manager, "--python", "3.12")
        return self.command.text("hooks", action, "--stateless", *scope, *more)

    def listed(self, manager: str) -> list[tuple[Any, ...]]:
        """Path, package, Pythons and masking file of each hook on the system."""
        scope = ("--stateless", "--root", str(self.root), "--manager", manager)
        said = json.loads(self.command.text("hooks", "list", *scope, "--json").out)
        fields = ("path", "package", "pythons", "masked_by")
        return [tuple(hook[field] for field in fields) for hook in said["standing"] if hook["manager"] == manager]


@pytest.fixture
def system(pyctrigger: Command, tmp_path: Path) -> System:
    """An empty one."""
    (tmp_path / "root").mkdir()
    return System(pyctrigger, tmp_path / "root")


@pytest.mark.parametrize(
    ("manager", "files", "expected"),
    [
        ("dpkg", {}, []),
        ("dpkg", PACKAGED["dpkg"], [("/var/lib/dpkg/info/pyctrigger.triggers", "pyctrigger", [], None)]),
        ("dpkg", {"var/lib/dpkg/info/pyctrigger.list": "/usr/bin/pyctrigger\n"}, []),  # removed, not purged
        ("dpkg", {"etc/apt/apt.conf.d/99mine": OWN}, [("/etc/apt/apt.conf.d/99mine", None, ["py312"], None)]),
        ("dpkg", {"etc/apt/apt.conf.d/99mine.bak": OWN, "etc/apt/apt.conf.d/d/50other": OWN}, []),
        ("pacman", PACKAGED["pacman"], [(f"/{ALPM}", "pyctrigger", ["py312"], None)]),
        (
            "pacman",
            {**PACKAGED["pacman"], BY_HAND: OWN},
            [(f"/{BY_HAND}", None, ["py312"], None), (f"/{ALPM}", "pyctrigger", ["py312"], f"/{BY_HAND}")],
        ),
        (
            "pacman",
            {**PACKAGED["pacman"], BY_HAND: ""},  # an empty one turns it off (alpm-hooks(5))
            [(f"/{ALPM}", "pyctrigger", ["py312"], f"/{BY_HAND}")],
        ),
        ("apk", PACKAGED["apk"], [("/etc/apk/commit_hooks.d/vendor", "vendor-hooks", ["py312"], None)]),
        (
            "apk",
            {"etc/apk/commit_hooks.d/all": "pyctrigger run --hook\n"},
            [("/etc/apk/commit_hooks.d/all", None, [], None)],
        ),
        (
            "pkg",
            {"usr/local/share/pkg/triggers/python-pycache-py313t.ucl": OWN},
            [("/usr/local/share/pkg/triggers/python-pycache-py313t.ucl", None, ["py313t"], None)],
        ),
    ],
)
def test_each_hook_is_known_by_whose_it_is(
    system: System, manager: str, files: dict[str, str], expected: list[tuple[Any, ...]]
) -> None:
    """A package's or made by hand, for which Pythons, and whether another file takes its place."""
    system.put(files)

    assert expected == system.listed(manager)


@pytest.mark.parametrize("places", ["etc/apt/apt.conf.d", "etc/pacman.d/hooks", "etc/apk/commit_hooks.d"])
@pytest.mark.parametrize("filled", ["names", "bytes", "names that are no hooks"])
def test_a_directory_of_hooks_is_looked_at_up_to_a_bound(
    system: System, tmp_path: Path, places: str, filled: str
) -> None:
    """The root's owner may fill it: that costs neither memory nor minutes, and what was left is reported."""
    directory = system.root / places
    directory.mkdir(parents=True)
    for number in range(100 if filled == "bytes" else 10_001):
        path = directory / f"{number:05}.hook" if filled != "names that are no hooks" else directory / f".{number}~"
        if places.startswith("etc/apt"):
            path = path.with_name(path.name.replace(".hook", ""))
        if filled == "bytes":
            path.touch(mode=0o755)
            os.truncate(path, 1 << 20)
        else:
            os.link(_one(tmp_path, number // 1000), path)  # a thousandth of the inodes; ext4 takes 65,000 links

    outcome = system.command.json("hooks", "list", "--stateless", "--root", system.root)

    reason = "more than 64 MiB: " if filled == "bytes" else "more than 10000 files; the others are ignored"
    (told,) = outcome.document["notices"]
    assert told.startswith(f"/{places}: {reason}"), told


def _one(directory: Path, number: int) -> Path:
    path = directory / f"one{number}"
    path.touch(mode=0o755)
    return path


@pytest.mark.parametrize("manager", PACKAGED)
def test_a_second_hook_is_refused_unless_forced(system: System, manager: str) -> None:
    """Exit 1, naming the other hook; nothing is written, not even files that don't conflict."""
    system.put(PACKAGED[manager])
    before = sorted(system.root.rglob("*"))

    said = system.text("install", manager)

    assert (1, "") == (said.code, said.err)
    assert " does the same for py312; --force installs it anyway\n" in said.out
    assert before == sorted(system.root.rglob("*"))
    assert 0 == system.text("install", manager, "--force").code
    again = system.text("list", manager)
    double = f"{manager} calls pyctrigger twice for py312: the hook of package "
    assert (manager != "pacman") == again.err.startswith(double), again.err


def test_what_was_made_by_hand_elsewhere_is_a_first_hook_too(system: System) -> None:
    """One for another Python doesn't count, and neither does one that has to be called by hand."""
    system.put({"etc/apt/apt.conf.d/99mine": OWN, "usr/local/libexec/pyctrigger-hook-py312": OWN})

    assert 1 == system.text("install", "dpkg").code
    assert (
        0
        == system.command.text(
            "hooks", "install", "--stateless", "--root", str(system.root), "--manager", "dpkg", "--python", "3.11"
        ).code
    )


@pytest.mark.parametrize(
    ("manager", "files", "expected"),
    [
        ("dpkg", PACKAGED["dpkg"], ["every"]),
        ("dpkg", {}, ["py312 absent"]),
        ("dpkg", {"etc/apt/apt.conf.d/99mine": OWN.replace("3.12", "3.11")}, ["py312 absent"]),
        ("pacman", PACKAGED["pacman"], ["py312 absent", "py312"]),  # for upgrades and removals
    ],
)
def test_what_is_absent_is_listed_where_nothing_does_its_work(
    system: System, manager: str, files: dict[str, str], expected: list[str]
) -> None:
    """A hook that isn't needed isn't missing."""
    system.put(files)

    rows = [line.split() for line in system.text("list", manager).out.splitlines()[1:]]

    assert expected == [f"{row[1]} absent" if row[2] == "absent" else row[1] for row in rows]


def test_lines_for_a_person(system: System) -> None:
    """Who made it and whether it fires, in a table; what was refused, and what for."""
    system.put({**PACKAGED["pacman"], BY_HAND: OWN})

    listed = system.text("list", "pacman")

    rows = [line.split(maxsplit=5) for line in listed.out.splitlines()]
    assert [
        ["pacman", "py312", "different", "hand", "yes", f"/{BY_HAND}"],
        ["pacman", "py312", "absent", "-", "no", "/etc/pacman.d/hooks/pyctrigger-py312-*e.hook"],
    ] == rows[1:3]
    assert f"package pyctrigger  no: /{BY_HAND} replaces it  /{ALPM}" in listed.out
    (system.root / BY_HAND).write_text("somebody's\n")
    refused = system.text("install", "pacman")
    why = "a file that isn't ours is in its place; --force installs it anyway"
    assert f"refused: {system.root}/{BY_HAND}: {why}" in refused.out


def test_a_table_of_many_hooks_stays_short(system: System) -> None:
    """A row for the files of one hook, and one for all Pythons that aren't here: a package has 48 files for 16."""
    named = [f"{os.path.dirname(BY_HAND)}/pyctrigger-py3{minor}" for minor in range(21, 26)]
    system.put({f"{name}-{kind}.hook": OWN for name in named for kind in ("install", "remove", "upgrade")})
    scope = ("--stateless", "--root", str(system.root), "--manager", "pacman")

    rows = [line.split() for line in system.command.text("hooks", "list", *scope).out.splitlines()]

    pattern = f"/{os.path.dirname(BY_HAND)}/pyctrigger-py32*.hook"
    row = ["pacman", "py321,", "py322,", "py323", "and", "2", "more", "installed", "hand", "yes", pattern]
    assert [row] == [each for each in rows if "installed" in each]


@pytest.mark.parametrize("manager", ["dpkg", "pacman", "apk", "pkg"])
@pytest.mark.parametrize("names", [("{version}", "{path}"), ("{path}", "{version}")], ids=["version", "path"])
def test_one_interpreter_has_one_hook_under_both_of_its_names(
    system: System, interpreters: list[Interpreter], manager: str, names: tuple[str, str]
) -> None:
    """Installed for a version, it is listed for its first executable, and removed with it; and vice versa."""
    dotted = ["{}.{}".format(*each.version) for each in interpreters if each.implementation == "cpython"]
    first = next(((each, found[0]) for each in dotted if (found := Flavour.parse(each).candidates())), None)
    if first is None:
        absent("a Python in a standard directory")
    made, named = (name.format(version=first[0], path=first[1]) for name in names)
    common = ("--stateless", "--root", str(system.root), "--manager", manager, "--python")
    assert 0 == system.command.text("hooks", "install", *common, made).code

    listed = json.loads(system.command.text("hooks", "list", *common, named, "--json").out)
    gone = system.command.text("hooks", "uninstall", *common, named)

    assert {"installed"} == {each["state"] for each in listed["hooks"]}
    assert (0, True) == (gone.code, gone.out.startswith("removed: ")), gone.out


@pytest.mark.parametrize("manager", ["dpkg", "pacman", "apk", "pkg"])
def test_another_interpreter_of_a_version_has_a_hook_of_its_own(
    system: System, outsider: Interpreter, manager: str
) -> None:
    """It coexists with the hook of its version, which doesn't do the same; it is listed by its own path alone."""
    flavour = f"py{''.join(map(str, outsider.version[:2]))}"
    common = ("--stateless", "--root", str(system.root), "--manager", manager)
    for python in (flavour, outsider.path):
        said = system.command.text("hooks", "install", *common, "--python", python)
        assert (0, "") == (said.code, said.err), said.out

    def listed(*scope: str) -> set[tuple[str, ...]]:
        said = json.loads(system.command.text("hooks", "list", *common, *scope, "--json").out)
        assert [] == said["notices"]
        return {tuple(hook["pythons"]) for hook in said["standing"]}

    assert {(flavour,)} == listed("--python", flavour)
    assert {(outsider.path,)} == listed("--python", outsider.path)
    assert {(flavour,), (outsider.path,)} == listed()


@pytest.mark.parametrize("manager", PACKAGED)
def test_a_packages_hook_does_not_serve_what_it_does_not_find(
    system: System, outsider: Interpreter, manager: str
) -> None:
    """A hook for every Python is for those in the standard directories; one of 3.12 is for the first 3.12."""
    system.put(
        {
            name: text.replace("3.12", ".".join(map(str, outsider.version[:2])))
            for name, text in PACKAGED[manager].items()
        }
    )

    said = system.command.text(
        "hooks", "install", "--stateless", "--root", str(system.root), "--manager", manager, "--python", outsider.path
    )

    assert (0, "") == (said.code, said.err), said.out
