"""Who watches a run: the command line prints, the library is silent."""

from __future__ import annotations

from collections.abc import Sequence

from ..pyc.header import Verdict


class Observer:
    """Told what happens, as it happens. This one listens to nothing."""

    #: Whether progress is shown: then all work is found before it begins, so that its amount is known and never grows.
    is_watched = False

    def notice(self, text: str) -> None:
        """Something that a person should read now: a wait, state that can't be kept."""

    def remark(self, text: str) -> None:
        """What is as it should be, and good to know: not for who asked for errors only."""

    def found(self, interpreters: list[str]) -> None:
        """Nobody named an interpreter; these were found, each by flavour and path."""

    def started(self, flavour: str) -> None:
        """Work on a flavour begins."""

    def looked(self, sources: int) -> None:
        """So many sources have been looked at."""

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        """A source was compiled, for what was wrong with its bytecode, level by level."""

    def refreshed(self, path: str) -> None:
        """The bytecode of a source got new headers, and kept its code."""

    def opened(self, path: str) -> None:
        """A `__pycache__` can be entered by all who may read its sources."""

    def removed(self, path: str, reason: str) -> None:
        """A file or a directory was removed."""

    def skipped(self, path: str, reason: str) -> None:
        """A source was left out."""

    def progress(self, done: int, known: int | None) -> None:
        """So many sources are done, of so many that need work; None: nobody has counted them."""

    def finished(self) -> None:
        """Work on the flavour has ended, well or not."""
