"""pacman: a directory for each package in `/var/lib/pacman/local`, its paths, without the leading slash, in `files`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .hook import HookFile, quoted, render
from .manager import INTERPRETERS_OWN, Manager, lines_in, pycs_in_list, read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .hook import Subject

_EVENTS = {"Install": "install", "Upgrade": "upgrade", "Remove": "remove"}
#: What alpm's fnmatch(3) would take for a pattern.
_PATTERN = "*?["


class Pacman(Manager):
    """Arch's."""

    name = "pacman"
    database = "/var/lib/pacman/local"

    def owned_pycs(self) -> Iterator[bytes]:
        directory = self.inside(self.database)
        for name in os.listdir(directory):
            path = os.path.join(directory, name, "files")
            if os.path.isfile(path):
                yield from pycs_in_list(read(path), prefix=b"/")

    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        found = {}
        wanted = {path.lstrip(b"/"): path for path in paths}
        directory = self.inside(self.database)
        for name in os.listdir(directory):
            files = os.path.join(directory, name, "files")
            if os.path.isfile(files):
                for line in lines_in(read(files), wanted):
                    found[wanted[line]] = name.rsplit("-", 2)[0]  # NAME-VERSION-RELEASE
        return found

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/lib/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        sites = subject.site_directories or cls.site_directories(subject.library)
        libraries = subject.libraries or [f"/usr/lib/{subject.library}"]
        directories = [*sites, *(f"{library}/{INTERPRETERS_OWN}" for library in libraries)]
        for directory in directories:
            quoted(directory, forbidden=_PATTERN)
        words = {
            "PROGRAM": " ".join(map(_word, subject.program)),
            "PYTHON": _word(subject.python),
            "VERSION": subject.version,
            "TARGETS": "\n".join(f"Target = {directory.lstrip('/')}/*" for directory in directories),
        }
        return [
            HookFile(
                f"/etc/pacman.d/hooks/pyctrigger-{subject.name}-{event}.hook",
                render("pacman/pyctrigger.hook", {**words, "OPERATION": operation, "EVENT": event}),
            )
            for operation, event in _EVENTS.items()
        ]


def _word(text: str) -> str:
    return quoted(text) if " " in text else text
