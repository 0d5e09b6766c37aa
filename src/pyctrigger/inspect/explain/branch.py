"""A directory and all below it, as a run would go through it: how much is fresh, and what the rest needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...outcome.outcome import path_fields
from ...outcome.states import word_for
from ...pyc.header import Verdict
from ...pyc.names import PYCACHE
from ...run.plan.steps import Step
from ...run.scope.paths import Unit
from ...tree.layout import Layout
from .examiner import Examiner

#: Files that are named one by one; the numbers count all.
_MOST_ITEMS = 100
_DOUBTS = frozenset({Verdict.UNKNOWN, Verdict.UNPROVEN, Verdict.SUSPECT})


class Item(NamedTuple):
    """One file that isn't simply fresh."""

    action: str
    """As in `rules`, and: remove-directory, skip, refuse, keep (it is a package's), none (it can't be looked at)."""
    path: str
    reason: str


class Branch(NamedTuple):
    """What a run would find."""

    sources: int
    fresh: int
    actions: dict[str, int]
    """How often each action."""
    items: tuple[Item, ...]
    """The first of them."""
    obstacle: str | None
    """Why nothing would be written directly into it."""

    def as_dict(self) -> dict[str, Any]:
        """The directory's part of the JSON object."""
        items = [
            {"action": each.action, **path_fields("path", each.path), "reason": each.reason} for each in self.items
        ]
        return {
            "sources": self.sources,
            "fresh": self.fresh,
            "actions": self.actions,
            "items": items,
            "obstacle": self.obstacle,
        }


def look_below(examiner: Examiner, path: str, home: tuple[str, str], looked: Callable[[int], None]) -> Branch:
    """Look at a directory in the scope, or at that of a `__pycache__`. Raises OSError where it can't be opened.

    `looked` is told how many sources were looked at by then.
    """
    site, relative = home
    if relative.rpartition("/")[2] == PYCACHE:
        relative, path = relative.rpartition("/")[0], path.rpartition("/")[0]
    seen = examiner.directory(path)
    actions: Counter[str] = Counter()
    items: list[Item] = []
    planner = examiner.planner(site)
    planner.looked = looked
    for step in planner.plan([Unit(relative, deep=True)]):
        if _is_below(step.relative, relative):
            for item in _items(examiner, seen.layout, step):
                actions[item.action] += 1
                if len(items) < _MOST_ITEMS:
                    items.append(item)
    totals = planner.totals
    obstacle = examiner.obstacle(seen.layout, relative, seen.plan.obstacle)
    return Branch(totals.sources, totals.fresh, dict(actions), tuple(items), obstacle)


def _is_below(relative: str, top: str) -> bool:
    return not top or f"{relative}/".startswith(f"{top}/")


def _items(examiner: Examiner, layout: Layout, step: Step) -> Iterator[Item]:
    yield from _of_itself(layout, step)
    for stale in step.stale:
        verdicts = {state.verdict for state in stale.levels}
        action, reason = "compile", ", ".join(sorted(map(word_for, verdicts)))
        if hindrance := examiner.hindrance(layout, step, stale.name):
            action, reason = "refuse", hindrance
        elif verdicts <= {Verdict.REFRESHABLE}:
            action = "refresh"
        elif verdicts <= _DOUBTS:
            action = "compare"
        yield Item(action, layout.describe_source(step.relative, stale.name), reason)
    for name, reason in step.skipped:
        yield Item("skip", layout.describe_source(step.relative, name), reason)
    for name, reason in step.refused:
        yield Item("refuse", layout.describe_source(step.relative, name), reason)
    for name, goal in step.links:
        yield Item("skip", layout.describe_source(step.relative, name), f"a link to {goal}")
    for pyc, _ in step.owned:
        yield Item("keep", layout.describe_pyc(step.relative, pyc), "a package owns it")
    obstacle = examiner.obstacle(layout, step.relative, None) if step.removals else None
    for removal in step.removals:
        action, reason = ("remove", removal.kind) if obstacle is None else ("refuse", obstacle)
        yield Item(action, layout.describe_pyc(step.relative, removal.name), reason)


def _of_itself(layout: Layout, step: Step) -> Iterator[Item]:
    if step.unexamined is not None:
        yield Item("none", layout.describe_source(step.relative), step.unexamined)
    if step.opens_pycache:
        yield Item("chmod", layout.describe_pyc(step.relative), "unreadable")
    if step.emptied_pycache:
        yield Item("remove-directory", layout.describe_pyc(step.relative), "emptied")
    if step.emptied:
        yield Item("remove-directory", layout.describe_source(step.relative), "emptied")
