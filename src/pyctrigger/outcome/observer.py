"""What a run reports while it works: the command line prints it, the library is silent."""

from __future__ import annotations

from collections.abc import Sequence

from ..pyc.header import Verdict


class Observer:
    """Called as things happen. This one ignores everything."""

    #: Whether progress is shown. If so, all work is found before it begins, so that the total is known and never grows.
    is_watched = False
    #: Whether anybody reads what is said of single files that are as they should be now.
    names_files = True

    def notice(self, text: str) -> None:
        """Something to read now: a wait, or state that can't be kept."""

    def remark(self, text: str) -> None:
        """Something good to know, which isn't a problem. Not shown if only errors are wanted."""

    def detail(self, text: str) -> None:
        """Something for those who asked for more."""

    def found(self, interpreters: list[str]) -> None:
        """These interpreters were found, each a flavour and a path, since none was given."""

    def started(self, flavour: str) -> None:
        """Work on a flavour begins."""

    def looked(self, sources: int) -> None:
        """This many sources have been examined."""

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        """A source was compiled, because of these verdicts on its bytecode, one for each level."""

    def stored(self, path: str, verdicts: Sequence[Verdict]) -> None:
        """The same for a source whose code came from a store."""

    def refreshed(self, path: str) -> None:
        """The bytecode of a source got new headers and kept its code."""

    def opened(self, path: str) -> None:
        """A `__pycache__` can now be entered by everybody who may read its sources."""

    def removed(self, path: str, reason: str) -> None:
        """A file or a directory was removed."""

    def skipped(self, path: str, reason: str) -> None:
        """A source was left out."""

    def progress(self, done: int, known: int | None) -> None:
        """This many of the known number of sources that need work are done. None: they weren't counted."""

    def finished(self) -> None:
        """Work on the flavour has ended, successfully or not."""


class NoticeKeeper(Observer):
    """Keeps the notices, for the report of a library's caller."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)
