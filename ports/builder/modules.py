"""The modules that pyctrigger needs, of the system that the package is built on, in the place of the pinned releases.

A distribution wants one copy of each library's source. So its package takes the system's, if that is new enough,
and copies it while it is built: at run time the private directory has to hold all. A hook runs while a transaction
replaces whatever else there is, the system's filelock included; its modules are in no directory that pyctrigger has on
its path; and what pyctrigger starts with has bytecode of its own, which no sweep touches.
"""

from __future__ import annotations

import re
import shutil
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .platforms import OLDEST_HOST
from .trouble import BuildError

if TYPE_CHECKING:
    from email.message import Message

#: What a later Python has in its library: the first minor version.
_IN_THE_LIBRARY = {"tomli": 11}
#: A line of `dependencies` in pyproject.toml.
_NEEDED = re.compile(r'^    "(?P<project>[a-z]+)>=(?P<version>[\d.]+)[";]', re.MULTILINE)


class Modules(NamedTuple):
    """What is taken from the system."""

    packages: dict[str, Path]
    """The directory of each project."""
    oldest_host: int
    """The minor version of the oldest CPython that runs all of it."""

    @property
    def replaced(self) -> set[str]:
        """The projects of which no pinned release is needed."""
        return {*self.packages, *(name for name, minor in _IN_THE_LIBRARY.items() if minor <= self.oldest_host)}

    def copy(self, application: Path) -> None:
        """Put them into the application directory."""
        for project, package in self.packages.items():
            shutil.copytree(package, application / project, ignore=shutil.ignore_patterns("__pycache__"))


#: Only the pinned releases.
BUNDLED = Modules({}, OLDEST_HOST)


def of_system(checkout: Path, directory: Path, newest_host: int) -> Modules:
    """What a directory of packages has that is new enough, and runs by itself in 3.`newest_host`. Raises BuildError."""
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    needed = {match["project"]: match["version"] for match in _NEEDED.finditer(text)}
    if not needed:
        raise BuildError(f"{checkout}/pyproject.toml no longer says which versions are needed")
    packages, oldest = {}, OLDEST_HOST
    for project, version in sorted(needed.items()):
        metadata = _metadata_of(project, directory)
        if metadata is None or _numbers(metadata["Version"]) < _numbers(version):
            continue
        asked = re.search(r">=\s*3\.(\d+)", metadata.get("Requires-Python", ""))
        minor = int(asked[1]) if asked else OLDEST_HOST
        if minor <= newest_host and _is_alone(metadata) and _is_pure(directory / project):
            packages[project] = directory / project
            oldest = max(oldest, minor)
    return Modules(packages, oldest)


def _metadata_of(project: str, directory: Path) -> Message | None:
    found = sorted(directory.glob(f"{project}-*.dist-info/METADATA"))
    return HeaderParser().parsestr(found[-1].read_text(encoding="utf-8")) if found else None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _is_alone(metadata: Message) -> bool:
    """Whether it needs nothing else, extras aside."""
    return all("extra ==" in each for each in metadata.get_all("Requires-Dist", []))


def _is_pure(package: Path) -> bool:
    """Whether it is a package of sources, the same for every architecture and every Python."""
    names = [path.name for path in package.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return (package / "__init__.py").is_file() and all(name.endswith(".py") or name == "py.typed" for name in names)
