"""pacman: a directory for each package in `/var/lib/pacman/local`, whose `files` lists paths without leading slash."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .databases import Source
from .hook import HookFile, Subject, quoted, render
from .manager import Manager, lines_in

#: A file in each package's directory.
_FILES = "/files"
_EVENTS = {"Install": "install", "Upgrade": "upgrade", "Remove": "remove"}
#: Special characters of alpm's fnmatch(3).
_PATTERN = "*?["


class Pacman(Manager):
    """Arch's package manager."""

    name = "pacman"
    sites = ("/usr/lib/{library}/site-packages",)
    database = "/var/lib/pacman/local"

    @property
    def sources(self) -> list[Source]:
        return [Source("files", self.database, _FILES)]

    def read_owned(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        wanted = None if paths is None else {path.lstrip(b"/") for path in paths}
        for name, text in self._files.read_below(self.database, _FILES):
            for line in lines_in(text, wanted):
                yield b"/" + line, name.rsplit("-", 2)[0]  # NAME-VERSION-RELEASE

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        directories = cls.watched(subject, [f"/usr/lib/{subject.library}"])
        for directory in directories:
            quoted(directory, forbidden=_PATTERN)
        words = {
            "PROGRAM": " ".join(map(_quote_if_needed, subject.program)),
            "PYTHON": _quote_if_needed(subject.python),
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


def _quote_if_needed(text: str) -> str:
    return quoted(text) if " " in text else text
