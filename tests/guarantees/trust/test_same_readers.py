"""A pyc is readable by those who can read its source, and by nobody else: real accounts try, file by file."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from confinement import public_directory
from conftest import absent
from interpreters import tag_of
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
#: Says which of the files that standard input names can be read.
_TRY = """
import json, sys
def may(path):
    try:
        open(path, "rb").close()
    except PermissionError:
        return False
    return True
print(json.dumps([may(path) for path in json.load(sys.stdin)]))
"""


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


def give(path: Path, place: Place) -> None:
    """Give a file or directory what it should grant."""
    os.chown(path, place.uid, place.gid)
    path.chmod(place.mode)
    if place.acl:
        subprocess.run([tool("setfacl"), "-m", place.acl, path], check=True)


def readers(paths: list[str]) -> list[set[str]]:
    """The accounts that can read each of these files."""
    found: list[set[str]] = [set() for _ in paths]
    for name, (uid, gid, groups) in ACCOUNTS.items():
        said = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-c", _TRY],
            input=json.dumps(paths),
            capture_output=True,
            check=True,
            text=True,
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=groups,
        )
        for each, may in zip(found, json.loads(said.stdout)):
            if may:
                each.add(name)
    return found


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

    def add(self, name: str, source: Place, directory: Place) -> None:
        """Make a package whose only source is like `source`, or a link to such a one, in such a directory."""
        lies = self.site / name
        lies.mkdir(mode=0o755)
        if self.layout == "link":
            inner = lies / "behind"
            inner.mkdir()
            (lies / "m.py").symlink_to("behind/real.py")
            give(inner, directory._replace(acl=directory.acl.replace("d:", "")) if "d:" in directory.acl else directory)
            lies = inner
        else:
            give(lies, directory)
        path = lies / ("real.py" if self.layout == "link" else "m.py")
        path.write_text(f"x = {name!r}\n")
        if "d:" in directory.acl:
            subprocess.run([tool("setfacl"), "-b", path], check=True)
        give(path, source)

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
    for number, (source, directory) in enumerate(cases):
        trees.add(f"p{number}", SOURCES[source], DIRECTORIES[directory])
    names = [f"p{number}" for number in range(len(cases))]

    pyctrigger.json("run", *trees.scope)

    written = [name for name in names if trees.pyc(name).exists()]
    may = readers([str(trees.source(name)) for name in written])
    do = readers([str(trees.pyc(name)) for name in written])
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
    return lambda path: subprocess.run([tool("setfacl"), "-m", entry, path], check=True)


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
    names = {f"p{number}": change for number, change in enumerate(changes.values())}
    for name in names:
        trees.add(name, Place(0o644), Place(0o755))
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
    paths = [str(trees.pyc(name, level)) for name in names for level in levels]
    for path, source, who in zip(
        paths, readers([str(trees.source(name)) for name in names for _ in levels]), readers(paths)
    ):
        assert source == who, path
