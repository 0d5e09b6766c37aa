"""apk: one text file for all packages, `F:` lines with a directory and `R:` lines with a file in it (apk-db(5)).

Hooks of the administrator are programs in `commit_hooks.d`, which apk calls before and after each transaction.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from .databases import Source
from .hook import HookFile, Subject, render
from .manager import Manager, is_wanted

#: apk needs a pattern for each depth; no known package is deeper.
_MAX_DEPTH = 12


class Apk(Manager):
    """Alpine's package manager."""

    name = "apk"
    sites = ("/usr/lib/{library}/site-packages",)
    database = "/lib/apk/db/installed"

    @property
    def sources(self) -> list[Source]:
        return [Source("file", self.database)]

    def read_owned(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        package, directory = "", b""
        for line in self._files.read(self.database).split(b"\n"):
            if line.startswith(b"P:"):
                package = os.fsdecode(line[2:])
            elif line.startswith(b"F:"):
                directory = line[2:]
            elif line.startswith(b"R:"):
                path = os.path.join(b"/", directory, line[2:])
                if is_wanted(path, paths):
                    yield path, package

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        text = render("apk/commit-hook", subject.shell_words)
        return [HookFile(f"/etc/apk/commit_hooks.d/pyctrigger-{subject.name}", text, 0o755)]

    @classmethod
    def trigger(cls, subject: Subject) -> str:
        """Returns the trigger script of a package, for packagers. apk passes the touched directories to it."""
        sites = subject.site_directories or cls.site_directories(subject.library)
        patterns = ":".join(site + "/*" * depth for site in sites for depth in range(_MAX_DEPTH))
        return render("apk/pyctrigger.trigger", {**subject.shell_words, "PATTERNS": patterns})
