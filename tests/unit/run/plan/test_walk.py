"""The plan of whole trees: what is looked at, what is left out, and what becomes empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.run.scope.paths import Unit
from pyctrigger.run.scope.request import Work
from unit.run.plan.trees import EVERYTHING, TEXT, Link, cached, in_memory, make, plan, pyc, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ORPHAN = cached("gone")
FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
MODULES, PACKAGE_P = Unit("", deep=False), Unit("p", deep=True)
DEEP = "/".join(["d"] * 201)

#: A tree, what is asked for, and what a plan says.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "fresh": (FRESH, {}, []),
    "a module of the site directory": ({"m.py": TEXT}, {}, [".: write m.py: 0 missing"]),
    "packages in their order": (
        {"b/m.py": TEXT, "a/z.py": TEXT, "a/b/m.py": TEXT},
        {},
        ["a: write z.py: 0 missing", "a/b: write m.py: 0 missing", "b: write m.py: 0 missing"],
    ),
    "no source": ({"p/data.txt": b"", "p/m.pyi": b"", "p/.py": TEXT, "p/m.PY": TEXT}, {}, []),
    "a name that no import has": ({"p/a-b c.py": TEXT}, {}, ["p: write a-b c.py: 0 missing"]),
    "sources in a __pycache__": ({"p/__pycache__/m.py": TEXT, "p/m.py": TEXT}, {}, ["p: write m.py: 0 missing"]),
    "only the modules": ({"m.py": TEXT, "p/m.py": TEXT}, {"units": [MODULES]}, [".: write m.py: 0 missing"]),
    "only a package": ({"m.py": TEXT, "p/m.py": TEXT}, {"units": [PACKAGE_P]}, ["p: write m.py: 0 missing"]),
    "nothing asked for": ({"m.py": TEXT}, {"units": []}, []),
    "a package that is gone": ({"q/m.py": TEXT}, {"units": [PACKAGE_P]}, []),
    "a file where a package was": ({"p": b""}, {"units": [PACKAGE_P]}, []),
    "a package that is a link": (
        {"q/m.py": TEXT, "p": Link("q")},
        {},
        ["q: write m.py: 0 missing"],
    ),
    "a link in a circle": ({"p/m.py": TEXT, "p/q": Link("."), "r": Link("r")}, {}, ["p: write m.py: 0 missing"]),
    "too deep": (
        {f"{DEEP}/m.py": TEXT},
        {},
        [f"{DEEP[:-2]}: unexamined: more than 200 directories deep"],
    ),
    "a __pycache__ that is a file": (
        {"p/m.py": TEXT, "p/__pycache__": b""},
        {},
        ["p: obstacle: is a link or a file", "p: write m.py: 0 missing"],
    ),
    "a __pycache__ that is a link": (
        {"p/m.py": TEXT, "p/__pycache__": Link("../q"), f"q/{cached('m')}": pyc()},
        {},
        ["p: obstacle: is a link or a file", "p: write m.py: 0 missing"],
    ),
    "excluded": (
        {"p/m.py": TEXT, "p/q/m.py": TEXT},
        {"exclude": ("*/p/q/*",)},
        ["p: write m.py: 0 missing", "p/q: skip m.py: excluded"],
    ),
    "nothing is added": ({"p/m.py": TEXT}, {"create_missing": False}, []),
    "what is there is kept right": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc(size=1)},
        {"create_missing": False},
        ["p: write m.py: 0 size"],
    ),
    "a name without room for a pyc's": (
        {f"p/{'n' * 240}.py": TEXT},
        {},
        [f"p: skip {'n' * 240}.py: its name is too long for a pyc's"],
    ),
    "packages of the library": (
        {"m.py": TEXT, "site-packages/p.py": TEXT, "dist-packages/p.py": TEXT, "q/site-packages/r.py": TEXT},
        {"is_library": True},
        [".: write m.py: 0 missing", "q/site-packages: write r.py: 0 missing"],
    ),
    "a source that is a link": (
        {"p/m.py": TEXT, "p/n.py": Link("m.py"), "p/dangling.py": Link("nowhere.py")},
        {},
        ["p: write m.py: 0 missing", "p: write n.py: 0 missing"],
    ),
    "a source that leads to a device": ({"p/m.py": Link("/dev/null")}, {}, []),
    "a directory with a source's name": ({"p/m.py/n.py": TEXT}, {}, ["p/m.py: write n.py: 0 missing"]),
    "an orphan, and a source": (
        {**FRESH, f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [f"p: orphan {ORPHAN}"],
    ),
    "an orphan alone beside data": (
        {"p/data.txt": b"", f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__"],
    ),
    "orphans alone, one in the other": (
        {f"p/q/__pycache__/{ORPHAN}": pyc(), f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [
            f"p: orphan {ORPHAN}",
            f"p/q: orphan {ORPHAN}",
            *("p/q: empty __pycache__", "p/q: empty", "p: empty __pycache__", "p: empty"),
        ],
    ),
    "an orphan of the site directory": (
        {f"__pycache__/{ORPHAN}": pyc()},
        {},
        [f".: orphan {ORPHAN}", ".: empty __pycache__"],
    ),
    "a directory that was never ours": ({"p": None}, {}, []),
    "an empty __pycache__": ({"p/__pycache__": None}, {}, ["p: empty __pycache__", "p: empty"]),
    "an empty __pycache__ beside a source": ({"p/m.txt": b"", "p/__pycache__": None}, {}, []),
    "a package of bytecode that nobody named": (
        {f"p/__pycache__/{ORPHAN}": pyc(), f"q/__pycache__/{ORPHAN}": pyc(), "q/m.txt": b""},
        {"units": [MODULES]},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__", "p: empty"],
    ),
    "a sweep": (
        {"p/m.py": TEXT, f"p/__pycache__/{ORPHAN}": pyc()},
        {"work": Work.SWEEP},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__"],
    ),
    "a purge": (
        {**FRESH, "q/__pycache__": None, f"r/__pycache__/{cached('m').replace('311', '312')}": pyc()},
        {"work": Work.PURGE},
        [f"p: pyc {cached('m')}", "p: empty __pycache__", "q: empty __pycache__", "q: empty"],
    ),
    "who may read the sources may not enter": (
        {**FRESH},
        {"closed": "p/__pycache__"},
        ["p: open __pycache__"],
    ),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory."""
    with in_memory() as top:
        yield top


@pytest.mark.parametrize("case", CASES)
def test_a_tree_has_this_plan(top: Path, case: str) -> None:
    """A line for each thing to be done or reported, in the order of a walk."""
    entries, options, expected = CASES[case]
    make(top, entries)
    top.chmod(0o755)
    options = dict(options)
    if closed := options.pop("closed", None):
        (top / closed).chmod(0o700)
    assert expected == said(plan(top, options.pop("units", EVERYTHING), **options))


#: A tree of sources, what lies below a pycache prefix for it, and what a plan says.
PREFIXED: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], dict[str, Any], list[str]]] = {
    "fresh": ({"p/m.py": TEXT}, {f"p/{cached('m')}": pyc()}, {}, []),
    "missing": ({"p/m.py": TEXT}, {}, {}, ["p: write m.py: 0 missing"]),
    "pycs beside the sources are not looked at": (
        {**FRESH, f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        {},
        ["p: write m.py: 0 missing"],
    ),
    "an orphan of a package that is gone": (
        {"m.py": TEXT},
        {cached("m"): pyc(), f"p/q/{ORPHAN}": pyc()},
        {"units": [MODULES]},
        [f"p/q: orphan {ORPHAN}", "p/q: empty __pycache__", "p: empty __pycache__"],
    ),
    "an orphan beside what is no pyc": (
        {"p/m.py": TEXT},
        {f"p/{cached('m')}": pyc(), f"p/{ORPHAN}": pyc(), "p/notes.txt": b""},
        {},
        [f"p: orphan {ORPHAN}"],
    ),
    "a purge keeps the sources' tree": ({"p/m.py": TEXT}, {f"p/{cached('m')}": pyc()}, {"work": Work.PURGE}, []),
}
PREFIXED["a purge keeps the sources' tree"][3].extend([f"p: pyc {cached('m')}", "p: empty __pycache__"])


@pytest.mark.parametrize("case", PREFIXED)
def test_a_pycache_prefix_has_this_plan(top: Path, case: str) -> None:
    """Only that tree's own directories become empty."""
    entries, cache, options, expected = PREFIXED[case]
    site, prefix = top / "site", top / "cache"
    make(site, entries)
    make(prefix / str(site).strip("/"), cache)
    site.mkdir(exist_ok=True)
    prefix.mkdir(exist_ok=True)
    options = dict(options)
    assert expected == said(plan(site, options.pop("units", EVERYTHING), prefix=prefix, **options))
