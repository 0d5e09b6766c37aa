"""The scope: the directories whose bytecode is a target's own to keep, as the system's package manager sees it.

An isolated `sysconfig` alone doesn't say it: on Debian its default scheme is `/usr/local`, the administrator's. The
package managers' own schemes are `deb_system` and `rpm_prefix` (both vendors' patches to `sysconfig`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import NoEnvironmentError, UsageError
from ..tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .interpreter import Interpreter

    #: Device and inode of the directory that a path leads to; None where it leads to none.
    Locate = Callable[[str], "tuple[int, int] | None"]

_MANAGERS_SCHEMES = ("deb_system", "rpm_prefix")
#: Directories of packages that lie inside the standard library's, and don't belong to it.
PACKAGE_DIRECTORIES = frozenset({"site-packages", "dist-packages"})


class SiteDirectory(NamedTuple):
    """One directory of the scope."""

    path: str
    """As the target sees it."""
    is_stdlib: bool = False


class Bounds(NamedTuple):
    """What the scope doesn't reach out of, and how paths are looked up there."""

    locate: Locate
    lies_in: Callable[[str, str], bool]
    """Whether the directory that a path leads to is another one, or lies somewhere below it."""
    prefixes: tuple[str, ...] = ()
    """The environments that are meant; none: whatever the interpreter calls its own."""


def site_directories(interpreter: Interpreter, bounds: Bounds, site_dirs: Sequence[str] = ()) -> list[SiteDirectory]:
    """The directories of packages that exist, once each; `site_dirs` instead of those that are known.

    Raises UsageError for a directory that was named and is none, or that lies outside of the prefixes.
    """
    if site_dirs:
        found = [path for path in site_dirs if _is_inside(path, bounds)]
    elif bounds.prefixes:
        found = [path for prefix in bounds.prefixes for path in _packages(interpreter, prefix, bounds)]
    else:
        found = _own(interpreter)
    return existing(map(SiteDirectory, found), bounds.locate)


def standard_library(interpreter: Interpreter, bounds: Bounds) -> list[SiteDirectory]:
    """The directories of the standard library that exist; of prefixes only of their own, which most don't have."""
    own = _standard_library(interpreter)
    found = [] if bounds.prefixes else own
    for prefix in bounds.prefixes:
        paths = [*own, *(os.path.join(prefix, each, interpreter.library) for each in ("lib", "lib64"))]
        inside = [path for path in paths if bounds.locate(path) and bounds.lies_in(path, prefix)]
        found += inside if any(map(is_library(bounds.locate), inside)) else []
    return existing((SiteDirectory(path, is_stdlib=True) for path in found), bounds.locate)


def is_library(locate: Locate) -> Callable[[str], bool]:
    """Tells whether a directory holds a standard library: an environment has one of the same name for its packages."""
    return lambda path: locate(os.path.join(path, "encodings")) is not None


def _is_inside(site_dir: str, bounds: Bounds) -> bool:
    if bounds.locate(site_dir) is None:
        raise UsageError(f"--site-dir {site_dir}: no such directory", mend="name a directory that exists")
    if bounds.prefixes and not any(bounds.lies_in(site_dir, prefix) for prefix in bounds.prefixes):
        raise UsageError(
            f"--site-dir {site_dir}: lies outside of --prefix {', '.join(bounds.prefixes)}",
            mend="leave one of them out",
        )
    return True


def _packages(interpreter: Interpreter, prefix: str, bounds: Bounds) -> list[str]:
    """The directories of packages in an environment. Raises UsageError where there is none, or a link leads out."""
    found = [path for path in _environment(interpreter, prefix) if bounds.locate(path)]
    if not found:
        raise NoEnvironmentError(
            f"{prefix} is no environment of {interpreter.flavour}",
            mend=f"it would have {interpreter.inside[0].replace('/@', prefix) if interpreter.inside else prefix}",
        )
    for path in found:
        if not bounds.lies_in(path, prefix):
            raise UsageError(
                f"{path} is a link to a directory outside of {prefix}",
                mend="name that directory with --site-dir",
            )
    return found


def has_packages(interpreter: Interpreter, prefix: str, locate: Locate) -> bool:
    """Whether an environment has a directory for the packages of an interpreter."""
    return any(locate(path) for path in _environment(interpreter, prefix))


class OwnDirectories(NamedTuple):
    """Where a target's own files are meant to be, whether there are any or not."""

    packages: tuple[str, ...]
    library: tuple[str, ...]
    """The standard library."""


def own_directories(interpreter: Interpreter) -> OwnDirectories:
    """The directories of an interpreter under the scheme of the system's package manager."""
    return OwnDirectories(tuple(_own(interpreter)), tuple(_standard_library(interpreter)))


def _own(interpreter: Interpreter) -> list[str]:
    if interpreter.environment is not None:
        return _environment(interpreter, interpreter.environment)
    return _twins(_paths(interpreter, ("purelib", "platlib")))


def _paths(interpreter: Interpreter, keys: Iterable[str]) -> list[str]:
    schemes = interpreter.schemes
    scheme = next((name for name in _MANAGERS_SCHEMES if name in schemes), interpreter.default_scheme)
    if scheme == "deb_system" and _is_run_by_another():
        scheme = "posix_prefix"
    paths = schemes.get(scheme) or schemes.get("posix_prefix") or {}
    return [paths[key] for key in keys if key in paths]


def _is_run_by_another() -> bool:
    """Whether this system has a package manager, and it isn't dpkg: then Debian's scheme is a stray interpreter's."""
    if os.path.exists("/var/lib/dpkg"):
        return False
    from ..packages.every import MANAGERS  # a system with dpkg needs none of them to know its scope

    return any(kind().is_present for kind in MANAGERS.values())


def _standard_library(interpreter: Interpreter) -> list[str]:
    return _twins(_paths(interpreter, ("stdlib", "platstdlib")))


def _environment(interpreter: Interpreter, prefix: str) -> list[str]:
    paths = [path.replace("/@", prefix.rstrip("/") or "/", 1) for path in interpreter.inside]
    # Debian's pip and distutils put into dist-packages what elsewhere goes to site-packages.
    paths += [path.replace("/site-packages", "/dist-packages") for path in paths]
    return _twins(paths)


def _twins(paths: Iterable[str]) -> list[str]:
    """Each path, and the same below `lib64` or `lib`: pure and binary packages may lie apart."""
    found = []
    for path in paths:
        parts = path.split("/")
        for number, part in reversed(list(enumerate(parts))):  # the last: an environment may stand below a `lib`
            if part in ("lib", "lib64"):
                twin = "lib64" if part == "lib" else "lib"
                found += [path, "/".join([*parts[:number], twin, *parts[number + 1 :]])]
                break
        else:
            found.append(path)
    return found


def existing(candidates: Iterable[SiteDirectory], locate: Locate) -> list[SiteDirectory]:
    """Those that exist, each once, under its first name."""
    known: dict[tuple[int, int], SiteDirectory] = {}
    for candidate in candidates:
        where = locate(candidate.path)
        if where is not None:
            known.setdefault(where, candidate)
    return list(known.values())
