"""What a transaction touched, bounded by the scope and widened to what has to be looked at.

A package manager's list is never the whole truth. pkg reports only the immediate parents of files, and nothing of what
only the old version of a package had; dpkg names the site directory for everything; all of them name what is gone.
So a touched path stands for the whole top-level package that it lies in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from ...interpreter.scope import PACKAGE_DIRECTORIES
from ...typed import NamedTuple


class Unit(NamedTuple):
    """A part of a site directory to look at."""

    relative: str
    """Path below the site directory; "" is the directory itself."""
    deep: bool
    """Everything below it, or only the modules directly in it."""


#: What to look at, by site directory.
Units = dict[str, list[Unit]]


class Touched(NamedTuple):
    """What was touched, by site directory, and the paths that lie in none."""

    units: Units
    outside: tuple[str, ...]


def absolute(path: str, *, manager: str | None, cwd: str) -> str:
    """A path as the target sees it: pacman's are relative to the root, everybody else's to the caller's cwd."""
    return os.path.join("/" if manager == "pacman" else cwd, path)


def touched(
    paths: Sequence[str] | None,
    site_directories: Iterable[str],
    *,
    manager: str | None = None,
    real: Callable[[str], str] = os.path.realpath,
) -> Touched:
    """Sort absolute paths into units. None means everything; an empty list, and an empty path, mean nothing.

    `real` follows links: in a staged root those in there, as the links on this machine say nothing about the paths.
    """
    roots = _roots(site_directories, real)
    if paths is None:
        return Touched({site: [Unit("", deep=True)] for _, site in roots}, ())
    tops: dict[str, set[str]] = {}
    outside = []
    for path in paths:
        if not path:
            continue
        # From a list or a library call a path may have a NUL; no file has such a name.
        home = None if "\0" in path else _find_home(path, roots, real)
        if home is None:
            outside.append(path)
        else:
            tops.setdefault(home[0], set()).add(home[1].partition("/")[0])
    # pkg names a site directory because a module directly in it changed; for others it stands for everything.
    units = {site: units_for(names, whole="" in names and manager != "pkg") for site, names in tops.items()}
    return Touched(units, tuple(outside))


def subtract_units(units: Units, known: Units) -> Units:
    """Returns the units that aren't among the known ones."""
    found = {site: [unit for unit in each if not _is_among(unit, known.get(site, ()))] for site, each in units.items()}
    return {site: each for site, each in found.items() if each}


def _is_among(unit: Unit, known: Sequence[Unit]) -> bool:
    return any((each.deep and each.relative in ("", unit.relative)) or each == unit for each in known)


def merge_units(units: Units, more: Units) -> Units:
    """Returns the units of both, by site directory."""
    found = dict(units)
    for site, others in more.items():
        together = [*found.get(site, ()), *others]
        names = {unit.relative for unit in together if unit.relative}
        found[site] = units_for(names, whole=Unit("", deep=True) in together)
    return found


def covers(units: Units, path: str) -> bool:
    """Whether a path is part of these units."""
    for site, found in units.items():
        if path == site:
            return True
        top, _, rest = path[len(site.rstrip("/")) + 1 :].partition("/")
        if path.startswith(site.rstrip("/") + "/") and any(
            unit.relative == top or (not unit.relative and (unit.deep or not rest)) for unit in found
        ):
            return True
    return False


def home_of(
    path: str, site_directories: Iterable[str], real: Callable[[str], str] = os.path.realpath
) -> tuple[str, str] | None:
    """The site directory that an absolute path lies in, and where in it; None where it lies in none."""
    return _find_home(path, _roots(site_directories, real), real)


def widen(found: Touched, sites: Iterable[str], packages: Iterable[str], library: Iterable[str]) -> Touched:
    """What a hook's paths outside the scope mean for an interpreter with these directories.

    What lay in a directory of packages that is gone left nothing to do. A part of the standard library (not of the
    packages that some systems keep below it) means that the interpreter itself came, went or changed: everything is
    to be looked at.
    """
    homes = _roots(packages)
    libraries = _roots(library)
    outside, touches_interpreter = [], False
    for path in found.outside:
        if _home(_clean(path), homes):
            continue
        inside = _home(_clean(path), libraries)
        if inside is None or not PACKAGE_DIRECTORIES.isdisjoint(inside[1].split("/")):
            outside.append(path)
        else:
            touches_interpreter = True
    units = {site: [Unit("", deep=True)] for site in sites} if touches_interpreter else found.units
    return Touched(units, tuple(outside))


def units_for(names: Iterable[str], *, whole: bool = False) -> list[Unit]:
    """What top-level names of a site directory mean; or the whole of it."""
    if whole:
        return [Unit("", deep=True)]
    from ...pyc.names import PYCACHE  # a hook whose list is empty has no names

    # The modules directly in the site directory come along: it's one look, and pkg may not report them.
    return [Unit("", deep=False), *(Unit(name, deep=True) for name in sorted(names) if name and name != PYCACHE)]


def _roots(site_directories: Iterable[str], real: Callable[[str], str] = os.path.realpath) -> list[tuple[str, str]]:
    """Each name of each site directory, with the site directory; of nested ones the innermost comes first."""
    names: dict[str, str] = {}
    for site in site_directories:
        names.setdefault(_clean(site), site)
        names.setdefault(real(site), site)
    return sorted(names.items(), reverse=True)


def _home(path: str, roots: list[tuple[str, str]]) -> tuple[str, str] | None:
    """The site directory that a path lies in, and where in it."""
    for name, site in roots:
        if path == name:
            return site, ""
        if path.startswith(name) and (path[len(name)] == "/" or name == "/"):
            return site, path[len(name) :].lstrip("/")
    return None


def _find_home(path: str, roots: list[tuple[str, str]], real: Callable[[str], str]) -> tuple[str, str] | None:
    """The same of a path as it was named, or else of what it leads to."""
    return _home(_clean(path), roots) or _home(_resolved(path, real), roots)


def _clean(path: str) -> str:
    cleaned = os.path.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _resolved(path: str, real: Callable[[str], str]) -> str:
    """The path with the links above its last component followed: `/lib/…` for `/usr/lib/…`."""
    directory, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        return real(path)
    return os.path.join(real(directory), name)
