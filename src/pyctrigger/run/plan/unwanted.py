"""The verdict on pycs of levels that nobody asks for: without it, one that is stale would be seen by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pyc.names import PycNames
from ...tree.source import SourceRefused, source_status
from .steps import Stale, Unwanted
from .verdicts import Judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...tree.layout import Layout
    from .knowledge import Knowledge
    from .wanted import Wanted


def judge_unwanted(
    layout: Layout,
    wanted: Wanted,
    knowledge: Knowledge,
    relative: str,
    pycs: Iterable[tuple[str, str]],
    names: dict[str, bool],
) -> Iterator[Unwanted]:
    """Judge pycs of one directory, each given with its source; `names` is everything that lies there."""
    names_of = PycNames(wanted.cache_tag)
    directory = layout.describe_pyc(relative)
    records = knowledge.records.records(directory) if knowledge.records is not None else {}
    by_level: dict[int, list[tuple[str, str]]] = {}
    for pyc, source in pycs:
        by_level.setdefault(names_of.level_of(pyc), []).append((pyc, source))
    for level, found in sorted(by_level.items()):
        judge = Judge(layout, wanted._replace(levels=(level,)), knowledge.records)
        judge.enter(relative, names, [source for _, source in found])
        for pyc, source in found:
            try:
                status = source_status(layout.sources, relative, source)
            except (OSError, SourceRefused):
                continue  # gone meanwhile, or never to be read, which is told of the source
            stale = Stale(source, status, tuple(judge.states(source, status)))
            yield Unwanted(pyc, stale, records.get(pyc) is not None, knowledge.is_owned(directory, pyc))
