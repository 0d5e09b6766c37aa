"""The scope: the directories whose bytecode we maintain for a target, according to the system's package manager.

An isolated `sysconfig` isn't enough: on Debian its default scheme is `/usr/local`, the administrator's. The package
managers' schemes are `deb_system` and `rpm_prefix` (both are vendors' patches to `sysconfig`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from ..errors import NoEnvironmentError, UsageError
from ..typed import NamedTuple
from .interpreter import Interpreter

#: Returns device and inode of the directory that a path leads to, or None.
Locate = Callable[[str], "tuple[int, int] | None"]

_MANAGERS_SCHEMES = ("deb_system", "rpm_prefix")
#: Directories of packages inside the standard library's directory that don't belong to it.
PACKAGE_DIRECTORIES = frozenset({"site-packages", "dist-packages"})


class SiteDirectory(NamedTuple):
    """One directory of the scope."""

    path: str
    """Its path as the target sees it."""
    is_stdlib: bool = False


class OwnDirectories(NamedTuple):
    """The directories that a target's scheme names, whether they exist or not."""

    packages: tuple[str, ...]
    library: tuple[str, ...]
    """The standard library."""


class Bounds(NamedTuple):
    """The limits of the scope, and how paths are looked up there."""

    locate: Locate
    lies_in: Callable[[str, str], bool]
    """Whether a path leads to a directory, or somewhere below it."""
    prefixes: tuple[str, ...] = ()
    """The environments to stay in; none for the interpreter's own directories."""
    own: OwnDirectories | None = None
    """These, if not the scheme's."""


def site_directories(interpreter: Interpreter, bounds: Bounds, site_dirs: Sequence[str] = ()) -> list[SiteDirectory]:
    """Returns the existing directories of packages, each once; `site_dirs` replaces the known ones.

    Raises UsageError for a given directory that doesn't exist, or is outside of the prefixes.
    """
    if site_dirs:
        found = [path for path in site_dirs if _is_inside(path, bounds)]
    elif bounds.prefixes:
        found = [path for prefix in bounds.prefixes for path in _packages_in(interpreter, prefix, bounds)]
    else:
        found = list((bounds.own or own_directories(interpreter)).packages)
    return existing(map(SiteDirectory, found), bounds.locate)


def standard_library(interpreter: Interpreter, bounds: Bounds) -> list[SiteDirectory]:
    """Returns the existing directories of the standard library; for prefixes only their own, which few have."""
    own = (bounds.own or own_directories(interpreter)).library
    found = [] if bounds.prefixes else list(own)
    for prefix in bounds.prefixes:
        paths = [*own, *(os.path.join(prefix, each, interpreter.library) for each in ("lib", "lib64"))]
        inside = [path for path in paths if bounds.locate(path) and bounds.lies_in(path, prefix)]
        found += inside if any(is_library(path, bounds.locate) for path in inside) else []
    return existing((SiteDirectory(path, is_stdlib=True) for path in found), bounds.locate)


def is_library(path: str, locate: Locate) -> bool:
    """Whether this is a standard library: environments have a directory of the same name for their packages."""
    return locate(os.path.join(path, "encodings")) is not None


def _is_inside(site_dir: str, bounds: Bounds) -> bool:
    if bounds.locate(site_dir) is None:
        raise UsageError(f"--site-dir {site_dir}: no such directory", hint="name a directory that exists")
    if bounds.prefixes and not any(bounds.lies_in(site_dir, prefix) for prefix in bounds.prefixes):
        raise UsageError(
            f"--site-dir {site_dir}: outside of --prefix {', '.join(bounds.prefixes)}",
            hint="leave one of them out",
        )
    return True


def _packages_in(interpreter: Interpreter, prefix: str, bounds: Bounds) -> list[str]:
    """Returns the directories of packages in an environment. Raises UsageError without any, or if a link leads out."""
    known = _environment_paths(interpreter, prefix)
    found = list(filter(bounds.locate, known))
    if not found:
        raise NoEnvironmentError(
            f"{prefix} is not an environment of {interpreter.flavour}",
            hint=f"it would have {known[0] if known else prefix}",
        )
    for path in found:
        if not bounds.lies_in(path, prefix):
            raise UsageError(
                f"{path} is a link to a directory outside of {prefix}",
                hint="name that directory with --site-dir",
            )
    return found


def has_packages(interpreter: Interpreter, prefix: str, locate: Locate) -> bool:
    """Whether an environment has a directory of packages for an interpreter."""
    return any(locate(path) for path in _environment_paths(interpreter, prefix))


def own_directories(interpreter: Interpreter) -> OwnDirectories:
    """Returns the directories of an interpreter in the scheme of the system's package manager."""
    if interpreter.environment is not None:
        packages = _environment_paths(interpreter, interpreter.environment)
    else:
        packages = _with_twins(_scheme_paths(interpreter, ("purelib", "platlib")))
    library = _with_twins(_scheme_paths(interpreter, ("stdlib", "platstdlib")))
    return OwnDirectories(tuple(packages), tuple(library))


def _scheme_paths(interpreter: Interpreter, keys: Iterable[str]) -> list[str]:
    schemes = interpreter.schemes
    scheme = next((name for name in _MANAGERS_SCHEMES if name in schemes), interpreter.default_scheme)
    if scheme == "deb_system" and _has_other_manager():
        scheme = "posix_prefix"
    paths = schemes.get(scheme) or schemes.get("posix_prefix") or {}
    return [paths[key] for key in keys if key in paths]


def _has_other_manager() -> bool:
    """Whether the system's package manager isn't dpkg: then an interpreter with Debian's scheme is a stray one."""
    if os.path.exists("/var/lib/dpkg"):
        return False
    from ..packages.every import MANAGERS  # not needed on a system with dpkg

    return any(kind().is_present for kind in MANAGERS.values())


def _environment_paths(interpreter: Interpreter, prefix: str) -> list[str]:
    paths = [path.replace("/@", prefix.rstrip("/"), 1) for path in interpreter.inside]
    # Debian's pip and distutils put into dist-packages what elsewhere goes to site-packages.
    paths += [path.replace("/site-packages", "/dist-packages") for path in paths]
    return _with_twins(paths)


def _with_twins(paths: Iterable[str]) -> list[str]:
    """Returns each path, and its twin below `lib64` or `lib`: pure and binary packages may be in different ones."""
    found = []
    for path in paths:
        parts = path.split("/")
        for number, part in reversed(list(enumerate(parts))):  # the last one: an environment may be below a `lib`
            if part in ("lib", "lib64"):
                twin = "lib64" if part == "lib" else "lib"
                found += [path, "/".join([*parts[:number], twin, *parts[number + 1 :]])]
                break
        else:
            found.append(path)
    return found


def existing(candidates: Iterable[SiteDirectory], locate: Locate) -> list[SiteDirectory]:
    """Returns the candidates that exist, each once, under its first path."""
    known: dict[tuple[int, int], SiteDirectory] = {}
    for candidate in candidates:
        where = locate(candidate.path)
        if where is not None:
            known.setdefault(where, candidate)
    return list(known.values())
