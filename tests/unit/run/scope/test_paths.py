"""What a transaction's paths mean in a scope: which parts of which site directories are looked at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.run.scope.paths import (
    Touched,
    Unit,
    absolute,
    covers,
    home_of,
    merge_units,
    subtract_units,
    touched,
    units_for,
    widen,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyctrigger.run.scope.paths import Units

SITE, OTHER, INNER = "/usr/lib/python3/site", "/usr/local/lib/site", "/usr/lib/python3/site/vendor/site"
WHOLE, MODULES = Unit("", deep=True), Unit("", deep=False)


def deep(*names: str) -> list[Unit]:
    """The modules directly in a site directory, and these packages."""
    return [MODULES, *(Unit(name, deep=True) for name in names)]


def follow(path: str) -> str:
    """Where /lib leads to /usr/lib, /alias to a site directory, and /usr/lib/python3/site/out to /srv."""
    for link, goal in (("/lib/", "/usr/lib/"), ("/alias/", f"{SITE}/"), (f"{SITE}/out/", "/srv/")):
        path = goal + path[len(link) :] if f"{path}/".startswith(link) else path
    return os.path.normpath(path)


#: Paths, the manager that named them, the units, and what lies outside.
TOUCHED: list[tuple[Sequence[str] | None, str | None, Units, tuple[str, ...]]] = [
    (None, None, {SITE: [WHOLE], OTHER: [WHOLE], INNER: [WHOLE]}, ()),
    ([], None, {}, ()),
    ([""], None, {}, ()),
    (["", f"{SITE}/a"], None, {SITE: deep("a")}, ()),
    ([f"{SITE}/a/b/c.py", f"{SITE}/a"], None, {SITE: deep("a")}, ()),
    ([f"{SITE}/b.py", f"{SITE}/a"], None, {SITE: deep("a", "b.py")}, ()),
    ([SITE], None, {SITE: [WHOLE]}, ()),
    ([f"{SITE}/"], "dpkg", {SITE: [WHOLE]}, ()),
    ([SITE, f"{SITE}/a"], None, {SITE: [WHOLE]}, ()),
    ([SITE, f"{SITE}/a"], "pkg", {SITE: deep("a")}, ()),
    ([SITE], "pkg", {SITE: deep()}, ()),
    ([f"{SITE}/__pycache__/a.pyc"], None, {SITE: deep()}, ()),
    ([f"{SITE}/a", f"{OTHER}/a"], None, {SITE: deep("a"), OTHER: deep("a")}, ()),
    ([f"{INNER}/a"], None, {INNER: deep("a")}, ()),
    ([f"{SITE}/vendor/sites"], None, {SITE: deep("vendor")}, ()),
    ([f"{SITE}//a/../b"], None, {SITE: deep("b")}, ()),
    ([f"/{SITE}/a"], None, {SITE: deep("a")}, ()),
    ([f"{SITE}s/a", "/etc", "/"], None, {}, (f"{SITE}s/a", "/etc", "/")),
    ([f"{SITE}/a\0"], None, {}, (f"{SITE}/a\0",)),
    (["/etc\0", f"{SITE}/a"], None, {SITE: deep("a")}, ("/etc\0",)),
    (["/lib/python3/site/a"], None, {SITE: deep("a")}, ()),
    (["/lib/python3/site/"], None, {SITE: [WHOLE]}, ()),
    (["/alias/a/"], None, {SITE: deep("a")}, ()),
    (["/alias/out/"], None, {SITE: deep("out")}, ()),
    (["/alias/a "], None, {SITE: deep("a ")}, ()),
    (["/alias/X", f"{SITE}/Xa/b"], None, {SITE: deep("X", "Xa")}, ()),
    (["/alias"], None, {}, ("/alias",)),
    (["/alias/."], None, {SITE: [WHOLE]}, ()),
    (["/alias/a/.."], None, {SITE: [WHOLE]}, ()),
    ([f"{SITE}/out/a"], None, {SITE: deep("out")}, ()),
]


@pytest.mark.parametrize(("paths", "manager", "units", "outside"), TOUCHED)
def test_what_paths_touch(
    paths: Sequence[str] | None, manager: str | None, units: Units, outside: tuple[str, ...]
) -> None:
    """The whole top-level package of each, in the innermost site directory, by whatever name."""
    assert Touched(units, outside) == touched(paths, (SITE, OTHER, INNER), manager=manager, real=follow)


def test_a_site_directory_has_the_name_that_it_was_given() -> None:
    """Whatever it is called in paths; the root itself may be one."""
    assert Touched({"/lib/python3/site/": deep("a")}, ()) == touched(
        [f"{SITE}/a"], ["/lib/python3/site/", SITE], real=follow
    )
    assert Touched({"/alias": deep("a")}, ()) == touched([f"{SITE}/a"], ["/alias"], real=follow)
    assert ("/alias", "a") == home_of(f"{SITE}/a", ["/alias"], follow)
    assert Touched({"/": deep("a")}, ()) == touched(["/a/b"], ["/"], real=follow)
    assert Touched({"/": [WHOLE]}, ()) == touched(["/"], ["/"], real=follow)


def test_links_of_this_machine_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody says otherwise; the last component isn't, since it is what was touched."""
    (tmp_path / "site").mkdir()
    (tmp_path / "link").symlink_to("site")
    site = os.path.realpath(tmp_path / "site")
    (tmp_path / "site/package").symlink_to("/srv")
    assert Touched({site: deep("package")}, ()) == touched([f"{tmp_path}/link/package"], [site])
    assert (site, "package") == home_of(f"{tmp_path}/link/package", [site])
    monkeypatch.chdir(site)
    assert Touched({}, ("/",)) == touched(["/"], [site])
    assert (f"{tmp_path}/link", "a") == home_of(f"{site}/a", [f"{tmp_path}/link"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{SITE}/a/b", (SITE, "a/b")),
        (SITE, (SITE, "")),
        (f"{INNER}/a", (INNER, "a")),
        ("/lib/python3/site/a", (SITE, "a")),
        ("/etc/a", None),
        ("a", None),
    ],
)
def test_where_a_path_is_at_home(path: str, expected: tuple[str, str] | None) -> None:
    """In the innermost directory."""
    assert expected == home_of(path, [SITE, INNER], follow)


@pytest.mark.parametrize(
    ("path", "manager", "expected"),
    [
        ("usr/a", "pacman", "/usr/a"),
        ("/usr/a", "pacman", "/usr/a"),
        ("usr/a", "dpkg", "/home/usr/a"),
        ("usr/a", None, "/home/usr/a"),
        ("/usr/a", None, "/usr/a"),
    ],
)
def test_where_a_relative_path_begins(path: str, manager: str | None, expected: str) -> None:
    """pacman's at the root, all others where the caller is."""
    assert expected == absolute(path, manager=manager, cwd="/home")


#: Units, others, those without the others, and those with them.
SUMS: list[tuple[Units, Units, Units, Units]] = [
    ({}, {}, {}, {}),
    ({SITE: deep("a")}, {}, {SITE: deep("a")}, {SITE: deep("a")}),
    ({}, {SITE: deep("a")}, {}, {SITE: deep("a")}),
    ({SITE: deep("a")}, {SITE: deep("a")}, {}, {SITE: deep("a")}),
    ({SITE: deep("b")}, {SITE: deep("a")}, {SITE: [Unit("b", deep=True)]}, {SITE: deep("a", "b")}),
    ({SITE: deep("a")}, {OTHER: deep("a")}, {SITE: deep("a")}, {SITE: deep("a"), OTHER: deep("a")}),
    ({SITE: deep("a")}, {SITE: [WHOLE]}, {}, {SITE: [WHOLE]}),
    ({SITE: [WHOLE]}, {SITE: deep("a")}, {SITE: [WHOLE]}, {SITE: [WHOLE]}),
    ({SITE: deep()}, {SITE: [WHOLE]}, {}, {SITE: [WHOLE]}),
    ({SITE: [Unit("a", deep=False)]}, {SITE: deep("a")}, {}, {SITE: deep("a")}),
    ({SITE: deep("a")}, {SITE: [Unit("a", deep=False)]}, {SITE: deep("a")}, {SITE: deep("a")}),
]


@pytest.mark.parametrize(("units", "others", "without", "together"), SUMS)
def test_sums_of_units(units: Units, others: Units, without: Units, together: Units) -> None:
    """What is among the others already goes; a whole site directory contains everything in it."""
    before = {site: list(each) for site, each in units.items()}
    assert (without, together) == (subtract_units(units, others), merge_units(units, others))
    assert before == units


@pytest.mark.parametrize(
    ("units", "path", "expected"),
    [
        ({SITE: deep("a")}, SITE, True),
        ({SITE: deep("a")}, f"{SITE}/a", True),
        ({SITE: deep("a")}, f"{SITE}/a/b/c.py", True),
        ({SITE: deep("a")}, f"{SITE}/b", True),
        ({SITE: deep("a")}, f"{SITE}/b/c.py", False),
        ({SITE: deep("a")}, f"{SITE}s/a", False),
        ({SITE: deep("a")}, f"{OTHER}/a", False),
        ({SITE: [Unit("a", deep=True)]}, f"{SITE}/b", False),
        ({SITE: [WHOLE]}, f"{SITE}/b/c/d", True),
        ({SITE: []}, f"{SITE}/b", False),
        ({OTHER: [WHOLE], SITE: [WHOLE]}, f"{SITE}/b", True),
        ({"/srv/X": [WHOLE]}, "/srv/Y/a", False),
        ({"/": [WHOLE]}, "/b/c", True),
        ({"/": deep("a")}, "/b/c", False),
        ({}, SITE, False),
    ],
)
def test_which_paths_units_cover(units: Units, path: str, expected: bool) -> None:
    """A package with everything in it; of the site directory itself what is directly in it."""
    assert expected is covers(units, path)


LIBRARY = "/usr/lib/python3.11"
#: Paths outside, those that still are, and whether everything is to be looked at.
WIDENED: list[tuple[list[str], list[str], bool]] = [
    ([], [], False),
    (["/etc"], ["/etc"], False),
    (["/usr/lib/gone/a"], [], False),
    (["/usr/lib/gone", "/etc"], ["/etc"], False),
    ([f"/{LIBRARY}/os.py"], [], True),
    ([LIBRARY], [], True),
    ([f"{LIBRARY}/dist-packages"], [f"{LIBRARY}/dist-packages"], False),
    ([f"{LIBRARY}/x/site-packages/a"], [f"{LIBRARY}/x/site-packages/a"], False),
    (["/usr/lib/gone/a", "/etc", f"{LIBRARY}/../python3.11/os.py"], ["/etc"], True),
]


@pytest.mark.parametrize(("paths", "outside", "is_everything"), WIDENED)
def test_what_a_hooks_paths_mean_outside_the_scope(paths: list[str], outside: list[str], is_everything: bool) -> None:
    """Directories of packages that are gone mean nothing, and the standard library means everything."""
    found = widen(Touched({SITE: deep("a")}, tuple(paths)), [SITE, OTHER], ["/usr/lib/gone"], [LIBRARY])
    units = {SITE: [WHOLE], OTHER: [WHOLE]} if is_everything else {SITE: deep("a")}
    assert Touched(units, tuple(outside)) == found


@pytest.mark.parametrize(
    ("names", "whole", "expected"),
    [
        ([], False, [MODULES]),
        (["b", "", "a", "__pycache__"], False, deep("a", "b")),
        (["a"], True, [WHOLE]),
    ],
)
def test_the_units_of_names(names: list[str], whole: bool, expected: list[Unit]) -> None:
    """Sorted, and without what has bytecode; not the whole, if nobody says so."""
    assert deep("a") == units_for(["a"])
    assert expected == units_for(names, whole=whole)
