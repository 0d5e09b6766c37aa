"""Who watches a run: the command line prints, the library is silent."""

from __future__ import annotations


class Observer:
    """Told what happens, as it happens. This one listens to nothing."""

    def notice(self, text: str) -> None:
        """Something that a person should read now: a wait, state that can't be kept."""

    def found(self, interpreters: list[str]) -> None:
        """Nobody named an interpreter; these were found, each by flavour and path."""

    def started(self, flavour: str) -> None:
        """Work on a flavour begins."""

    def wrote(self, directory: str) -> None:
        """Bytecode was written into a directory; told once for each run of files in it."""

    def removed(self, path: str) -> None:
        """A file or a directory was removed."""

    def skipped(self, path: str, reason: str) -> None:
        """A source was left out."""

    def progress(self, done: int, known: int) -> None:
        """So many sources are done, of so many known to need work."""

    def finished(self) -> None:
        """Work on the flavour has ended, well or not."""
