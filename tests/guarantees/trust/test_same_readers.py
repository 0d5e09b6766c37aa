"""A pyc is readable by those who can read its source, and by nobody else: real accounts try, file by file."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from children import public_directory
from confinement import are_readable
from conftest import absent
from interpreters import tag_of
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

pytestmark = pytest.mark.usefixtures("as_root")

OWNER, MEMBER, NAMED, STRANGER, STAFF, OTHERS = 52_001, 52_002, 52_003, 52_004, 52_100, 52_200
#: Account, group, and further groups of everybody who tries.
ACCOUNTS = {
    "owner": (OWNER, OWNER, []),
    "owner in the group": (OWNER, OWNER, [STAFF]),
    "member": (MEMBER, MEMBER, [STAFF]),
    "member of the other": (MEMBER, MEMBER, [OTHERS]),
    "member of both": (MEMBER, MEMBER, [STAFF, OTHERS]),
    "named": (NAMED, NAMED, []),
    "named member": (NAMED, NAMED, [STAFF]),
    "stranger": (STRANGER, STRANGER, []),
}


class Place(NamedTuple):
    """What a file or directory grants."""

    mode: int
    uid: int = 0
    gid: int = 0
    acl: str = ""
    """As setfacl(1) takes it."""


SOURCES = {
    "public": Place(0o644),
    "private": Place(0o600),
    "roots for a group": Place(0o640, 0, STAFF),
    "an owner's": Place(0o600, OWNER, OWNER),
    "an owner's for a group": Place(0o640, OWNER, STAFF),
    "an owner's for all": Place(0o644, OWNER, OWNER),
    "all but a group": Place(0o604, 0, STAFF),
    "nobody's": Place(0o200, 0, STAFF),
    "listed account": Place(0o600, 0, 0, f"u:{NAMED}:r"),
    "all but an account": Place(0o644, 0, 0, f"u:{NAMED}:-"),
    "listed group": Place(0o640, OWNER, STAFF, f"g:{OTHERS}:r,g::-"),
    "all but a listed group": Place(0o644, 0, 0, f"g:{OTHERS}:-"),
    "a group but an account": Place(0o640, 0, STAFF, f"u:{NAMED}:-"),
}
DIRECTORIES = {
    "public": Place(0o755),
    "shared": Place(0o2775, 0, STAFF),
    "an owner's": Place(0o755, OWNER, OWNER),
    "private": Place(0o700),
    "for a group": Place(0o750, 0, STAFF),
    "to all but a group": Place(0o705, 0, STAFF),
    "with a default list": Place(0o755, 0, 0, f"d:u:{NAMED}:rwx,d:u:{STRANGER}:rwx"),
    "with a closing default list": Place(0o755, 0, 0, "d:g::-,d:o::-"),
    "listed": Place(0o750, 0, STAFF, f"u:{NAMED}:rx"),
    "closed by a list": Place(0o755, 0, 0, f"u:{NAMED}:-,g:{OTHERS}:-"),
}
LAYOUTS = ("pycache", "prefix", "link")


def tool(name: str) -> str:
    """The path of one that is needed."""
    return find_tool(name) or absent(name)


def set_list(rules: str, *paths: Path) -> None:
    """Give files or directories an access list."""
    subprocess.run([tool("setfacl"), "-m", rules, *paths], check=True)


def readers(paths: list[Path]) -> list[set[str]]:
    """The accounts that can read each of these files."""
    may = {name: are_readable(paths, *account) for name, account in ACCOUNTS.items()}
    return [{name for name in ACCOUNTS if may[name][number]} for number in range(len(paths))]


@pytest.fixture
def public() -> Iterator[Path]:
    with public_directory() as directory:
        yield directory


class Trees:
    """A package for each case, in one layout."""

    def __init__(self, public: Path, layout: str, interpreter: Interpreter) -> None:
        self.site, self.prefix = public / "site", public / "prefix"
        self.layout, self.tag = layout, tag_of(interpreter)
        self.site.mkdir()
        self.prefix.mkdir()
        self.scope = ["--python", interpreter.path, "--site-dir", str(self.site)]
        if layout == "prefix":
            self.scope += ["--pycache-prefix", str(self.prefix)]

    def add(self, cases: Sequence[tuple[Place, Place]]) -> list[str]:
        """Make a package for each case, whose only source is like the first place, or a link to such a one, in a
        directory like the second; returns their names.
        """
        lists: dict[str, list[Path]] = {}
        names = [f"p{number}" for number in range(len(cases))]
        for name, (source, directory) in zip(names, cases):
            lies, path = self.site / name, self.site / name / "m.py"
            lies.mkdir(mode=0o755)
            if self.layout == "link":
                lies = lies / "behind"
                lies.mkdir()
                path.symlink_to("behind/real.py")
                path = lies / "real.py"
                directory = directory._replace(acl=directory.acl.replace("d:", ""))  # noqa: PLW2901
            path.write_text(f"x = {name!r}\n")
            for given, place in ((lies, directory), (path, source)):
                os.chown(given, place.uid, place.gid)
                given.chmod(place.mode)
                if place.acl:
                    lists.setdefault(place.acl, []).append(given)
        for rules, paths in lists.items():
            set_list(rules, *paths)
        return names

    def source(self, name: str) -> Path:
        """Its source."""
        return self.site / name / "m.py"

    def pyc(self, name: str, level: str = "") -> Path:
        """The path of its pyc."""
        lies = self.site / name / "__pycache__"
        if self.layout == "prefix":
            lies = self.prefix / str(self.site).strip("/") / name
        return lies / f"m.{self.tag}{level}.pyc"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nobody_else_reads_what_is_written(public: Path, pyctrigger: Command, newest: Interpreter, layout: str) -> None:
    """Whatever source and directory grant, and wherever the pyc is: never more accounts than the source's."""
    trees = Trees(public, layout, newest)
    cases = list(itertools.product(SOURCES, DIRECTORIES))
    names = trees.add([(SOURCES[source], DIRECTORIES[directory]) for source, directory in cases])

    pyctrigger.json("run", *trees.scope)

    written = [name for name in names if trees.pyc(name).exists()]
    may = readers([trees.source(name) for name in written])
    do = readers([trees.pyc(name) for name in written])
    by_case = [(cases[int(name[1:])], trees.pyc(name), source, who) for name, source, who in zip(written, may, do)]
    assert [] == [(case, who - source) for case, _, source, who in by_case if who - source]
    assert [] == [
        (case, source - who)
        for case, pyc, source, who in by_case
        if source - who and can_be_said(source, pyc.stat().st_uid) and not is_closed(layout, case[1])
    ]
    # Which of its neighbours' sources an account may have compiled is another question.
    assert {"an owner's"} == {cases[int(name[1:])][1] for name in names if name not in written}
    assert [] == [each for each in pyctrigger.json("verify", *trees.scope).findings if each["kind"] != "missing"]
    assert 0 == pyctrigger.json("run", *trees.scope).counts["compiled"]


def can_be_said(who: set[str], owner: int) -> bool:
    """Whether there is a mode by which just these accounts read a file of this owner's."""
    for gid, to_group, to_others in itertools.product((0, STAFF, OTHERS), (False, True), (False, True)):
        said = {
            name
            for name, (uid, own, more) in ACCOUNTS.items()
            if (uid == owner or (to_group if gid in (own, *more) else to_others))
        }
        if said == who:
            return True
    return False


def is_closed(layout: str, directory: str) -> bool:
    """Whether the `__pycache__` keeps somebody out: all that it has comes with mkdir, and a list or group may not."""
    return layout == "pycache" and directory in ("with a closing default list", "listed", "for a group")


class Change(NamedTuple):
    """What happens to a package after its pycs were written, and what `verify` then says of each of them."""

    do: Callable[[Trees, str], object]
    kind: str
    layouts: tuple[str, ...] = LAYOUTS


def on_source(act: Callable[[Path], object]) -> Callable[[Trees, str], object]:
    return lambda trees, name: act(trees.source(name).resolve())


def on_pyc(act: Callable[[Path], object]) -> Callable[[Trees, str], object]:
    return lambda trees, name: act(trees.pyc(name))


def give_away(trees: Trees, name: str) -> None:
    trees.source(name).resolve().chmod(0o600)
    os.chown(trees.pyc(name), STRANGER, 0)


def listed(entry: str) -> Callable[[Path], object]:
    return lambda path: set_list(entry, path)


CHANGES = {
    "source made private": Change(on_source(lambda path: path.chmod(0o600)), "stale"),
    "source closed to its group": Change(on_source(lambda path: path.chmod(0o604)), "stale"),
    "source closed to an account": Change(on_source(listed(f"u:{NAMED}:-")), "stale"),
    "source closed, with a mask that hides it": Change(on_source(listed(f"g::-,o::-,u:{NAMED}:r")), "stale"),
    "source opened to an account": Change(on_source(listed(f"g::-,o::-,u:{NAMED}:r")), "stale"),
    "its directory made private": Change(
        lambda trees, name: trees.source(name).resolve().parent.chmod(0o700), "stale", ("prefix", "link")
    ),
    "a directory above made private": Change(
        lambda trees, name: trees.source(name).parent.chmod(0o700), "stale", ("prefix",)
    ),
    "pyc opened to writers": Change(on_pyc(lambda path: path.chmod(0o666)), "stale"),
    "pyc opened to its group's writers": Change(on_pyc(lambda path: path.chmod(0o664)), "stale"),
    "pyc opened by a list": Change(on_pyc(listed(f"u:{NAMED}:rw")), "stale"),
    "pyc made private": Change(on_pyc(lambda path: path.chmod(0o600)), "unreadable"),
    "pyc closed to an account": Change(on_pyc(listed(f"u:{NAMED}:-")), "unreadable"),
    "pyc given away": Change(give_away, "stale"),
}
VERBS = {"run": ["run"], "hook": ["run", "--hook"], "repair": ["repair"]}
WRITTEN = {
    "timestamp": (),
    "twins": ("--optimize", "0,1,2"),
    "checked-hash": ("--invalidation-mode", "checked-hash"),
    "unchecked-hash": ("--invalidation-mode", "unchecked-hash"),
}


@pytest.mark.parametrize(
    ("layout", "verb", "way"),
    [
        *itertools.product(["pycache"], VERBS, ["timestamp"]),
        *itertools.product(["prefix", "link"], ["run"], ["timestamp"]),
        *itertools.product(["pycache"], ["run"], ["twins", "checked-hash", "unchecked-hash"]),
    ],
)
def test_what_changes_afterwards_is_found_and_mended(
    public: Path, pyctrigger: Command, newest: Interpreter, layout: str, verb: str, way: str
) -> None:
    """`verify` reports each level, `status` counts it, and a run over the touched directories and a repair fix it."""
    trees = Trees(public, layout, newest)
    scope = [*trees.scope, *WRITTEN[way]]
    changes = {name: change for name, change in CHANGES.items() if layout in change.layouts}
    names = dict(zip(trees.add([(Place(0o644), Place(0o755))] * len(changes)), changes.values()))
    assert 0 == pyctrigger.json("run", *scope).code
    assert [] == pyctrigger.json("verify", *scope).findings
    for name, change in names.items():
        change.do(trees, name)
    levels = ("", ".opt-1", ".opt-2") if way == "twins" else ("",)
    expected = {str(trees.pyc(name, level)): change.kind for name, change in names.items() for level in levels}

    found = {finding["pyc"]: finding["kind"] for finding in pyctrigger.json("verify", *scope).findings}

    assert expected == {pyc: kind for pyc, kind in found.items() if pyc in expected}
    counted = pyctrigger.json("status", *scope).run["status"]
    assert list(expected.values()).count("unreadable") == counted["unreadable"]
    pyctrigger.json(*VERBS[verb], *scope, *(() if verb == "repair" else [str(trees.site / name) for name in names]))
    assert [] == pyctrigger.json("verify", *scope).findings
    paths = [trees.pyc(name, level) for name in names for level in levels]
    sources = [trees.source(name) for name in names for _ in levels]
    for path, may, do in zip(paths, readers(sources), readers(paths)):
        assert may == do, path
