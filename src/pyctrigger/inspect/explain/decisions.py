"""What a run would do about a pyc, or in a directory, and why: the rule that decided, in words."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import RefusedError
from ...outcome.outcome import path_fields
from ...outcome.states import STATES, word_for
from ...pyc.header import Verdict
from ...run.apply.forecast import Forecast
from ...run.plan.origins import describe_origin, stored_record
from ...run.plan.steps import Step
from ...run.scope.sites import require_account_owns
from ...tree.layout import Layout
from .bytecode import Directory, Header, read_header
from .examiner import Examined, Examiner, Level

_OUTSIDE = "it is outside the scope"
#: What is said instead of a state: it isn't judged by how it fits its source.
_LEFT = frozenset({"unwanted", "excluded", "uncompilable"})
_ACTIONS = {
    Verdict.MISSING: ("compile", "every source in the scope should have bytecode"),
    Verdict.REFRESHABLE: ("refresh", "the same code gets a new header"),
    Verdict.UNKNOWN: ("compare", "it is compiled, and replaced unless it is the same"),
    Verdict.UNPROVEN: ("compare", "the target compares the hash of the source, and compiles where it is another"),
    Verdict.UNREADABLE: ("compile", "everybody who may read its source should be able to read it"),
    Verdict.EXPOSED: ("compile", "nobody who may not read its source should be able to read it"),
    Verdict.SUSPECT: ("compare", "it is compiled, and replaced unless it is the same"),
}
_COMPILE = ("compile", "it doesn't fit its source")
#: The rules that need no header.
_RULES = {
    Verdict.MISSING: "there is no such pyc",
    Verdict.OBSTRUCTED: "something that isn't a regular file has its name",
    Verdict.UNREADABLE: "its mode keeps out accounts that may read the source",
    Verdict.EXPOSED: "its owner, mode or list lets in accounts that may not read the source, or lets others write it",
}
#: What a header that fits leaves open.
_OPEN = {
    Verdict.FRESH: ", and no record contradicts it",
    Verdict.OTHER_CONTENT: ", but its source's content isn't the recorded one",
    Verdict.UNKNOWN: "; whether its code does isn't recorded",
    Verdict.UNPROVEN: "; only the target can compute whether its hash does",
    Verdict.SUSPECT: ", but its body isn't the one that was recorded",
}


class Decision(NamedTuple):
    """What holds for one pyc."""

    level: int
    pyc: str
    state: str
    """fresh, missing, stale, corrupt, …; orphan; unwanted, excluded, uncompilable."""
    reason: str | None
    """Of a stale one: mtime, size, digest, mode; of an unproven one: hash, no record, body; of one that a run leaves
    either of these, or another state."""
    rule: str
    """Why it is in this state."""
    action: str
    """What a run would do: compile, refresh, compare (in a child) or remove it, or nothing; then, unless that is since
    it is as it should be, it says why: outside, unwanted, excluded, uncompilable, skipped, owned, refused.
    """
    because: str
    """Why it would do that, where the state alone doesn't say it."""
    header: Header | None
    store: str | None = None
    """The store that its code came from."""
    signer: str | None = None
    """Who signed it there."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the level's part of the JSON object."""
        return {**self._asdict(), **path_fields("pyc", self.pyc), "header": self.header and self.header.as_dict()}


def decide(examiner: Examiner, path: str) -> tuple[Examined, list[Decision]]:
    """Returns a source, and the decision about each of its levels. Raises OSError if its directory can't be opened."""
    source, seen = examiner.source(path), examiner.directory(os.path.dirname(path))
    return source, [_Deciding(examiner, seen, source, level).decide() for level in source.levels]


class _Deciding:
    """Decides about one level of a source."""

    def __init__(self, examiner: Examiner, seen: Directory, source: Examined, level: Level) -> None:
        self._examiner = examiner
        self._seen = seen
        self._source = source
        self._level = level.level
        self._verdict = Verdict.FRESH if level.state is None else level.state.verdict
        self._pyc = level.pyc
        self._head = seen.read_head(self._pyc, examiner.wanted.header.size + 1)
        self._header = read_header(self._head, examiner.wanted.header)

    def decide(self) -> Decision:
        pyc = self._seen.layout.describe_pyc(self._seen.relative, self._pyc)
        reason = None
        if self._source.status is None:
            state, rule, action, because = self._decide_without_source()
        else:
            action, because = self._choose_action()
            state, reason = self._name_state(action)
            rule = self._describe_rule(self._source.status)
        decision = Decision(self._level, pyc, state, reason, rule, action, because, self._header)
        record = stored_record(self._examiner.manifest, self._seen.layout, self._seen.relative, self._pyc)
        if record is None:
            return decision
        rule = f"{rule}; {describe_origin(record)}"
        return decision._replace(rule=rule, store=record.store, signer=record.signer or None)

    def _decide_without_source(self) -> tuple[str, str, str, str]:
        seen = self._seen
        if self._source.refused is not None:
            rule = f"its source may not be read: {self._source.refused}"
            return "refused", rule, "refused", "a run reports it as a failure, once"
        rule = "there is no source with its name"
        if not seen.in_scope:
            return "orphan", rule, "outside", _OUTSIDE
        if any(removal.name == self._pyc for removal in seen.plan.removals):
            if obstacle := obstacle_in(self._examiner, seen.layout, Step.of(seen.relative)):
                return "orphan", rule, "refused", obstacle
            return "orphan", rule, "remove", "an orphan that no package owns is removed"
        return "orphan", rule, "owned", "a package owns it, or that can't be determined"

    def _name_state(self, action: str) -> tuple[str, str | None]:
        """Returns the name of the state, and the reason; `verify` has the same for what a run leaves as it is."""
        state, is_there = STATES[self._verdict], self._verdict is not Verdict.MISSING
        if action in _LEFT and not (action == "unwanted" and (not is_there or self._is_owned())):
            return action, (state.reason or state.name) if is_there and self._verdict is not Verdict.FRESH else None
        return state.name, state.reason

    def _is_owned(self) -> bool:
        directory = self._seen.layout.describe_pyc(self._seen.relative)
        return self._examiner.knowledge.ownership.owns(directory, self._pyc)

    def _choose_action(self) -> tuple[str, str]:
        examiner, seen, name = self._examiner, self._seen, self._source.name
        levels, plan = examiner.wanted.levels, seen.plan
        if not seen.in_scope:
            return "outside", _OUTSIDE
        if self._level not in levels:
            return "unwanted", f"runs don't write level {self._level} (only {', '.join(map(str, levels))})"
        skipped, path = dict(plan.skipped).get(name), seen.layout.describe_source(seen.relative, name)
        if skipped == "excluded":
            patterns = (each for each in examiner.wanted.exclude if fnmatch.fnmatchcase(path, each))
            return "excluded", f"its source is excluded by {next(patterns, '')!r}"
        if skipped == "uncompilable" and (fact := examiner.manifest.uncompilable.get(path)):
            return "uncompilable", f"its source is known not to compile: {fact.kind}, {fact.message}"
        if skipped is not None:
            return "skipped", skipped
        if (self._pyc, name) in plan.owned:
            return "owned", 'a package owns it, and owned_stale is "keep"'
        if not any(stale.pyc(state) == self._pyc for stale in plan.stale for state in stale.levels):
            if self._verdict is Verdict.MISSING:
                return "unwanted", "create_missing is false: nothing is added"
            is_fresh = self._verdict is Verdict.FRESH
            return "nothing", "it is as it should be" if is_fresh else "its package shipped it like this"
        if hindrance := _hindrance(examiner, seen.layout, plan, name):
            return "refused", hindrance
        return _ACTIONS.get(self._verdict, _COMPILE)

    def _describe_rule(self, status: os.stat_result) -> str:
        verdict, wanted, header = self._verdict, self._examiner.wanted, self._header
        mtime, size = wanted.mtime(status) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
        if verdict in _RULES:
            return _RULES[verdict]
        if header is None or verdict is Verdict.CORRUPT:
            whole = len(self._head) > wanted.header.size
            return "importlib doesn't know its flags" if whole else "it is truncated: there is no code after its header"
        if verdict is Verdict.FOREIGN_MAGIC:
            own = wanted.header.magic_number.hex()
            return f"its magic number is {header.magic_number.hex()}, the interpreter's {own}"
        if verdict is Verdict.OTHER_MODE:
            return f"its invalidation mode is {header.invalidation_mode}, {wanted.mode.value} is wanted"
        if verdict is Verdict.OTHER_SIZE:
            return f"its header says size {header.size}, the source has {size}"
        if verdict in (Verdict.OTHER_MTIME, Verdict.REFRESHABLE):
            same = ", and the content that was recorded" if verdict is Verdict.REFRESHABLE else ""
            return f"its header says mtime {header.mtime}, the source has {mtime}{same}"
        fields = "mtime and size" if header.invalidation_mode == "timestamp" else "mode"
        return f"magic number, {fields} in its header fit the source{_OPEN.get(verdict, '')}"


class Item(NamedTuple):
    """One file in a directory that isn't simply fresh."""

    action: str
    """As of a decision, and: remove-directory, skip, refuse, keep (it is a package's), none (it can't be looked at)."""
    path: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the file's part of the JSON object."""
        return {**self._asdict(), **path_fields("path", self.path)}


def items_of(examiner: Examiner, layout: Layout, step: Step) -> Iterator[Item]:
    """Yields what a run would do about each file that a step of the plan is about."""
    relative = step.relative
    directory, pycs = layout.describe_source(relative), layout.describe_pyc(relative)
    if step.unexamined is not None:
        yield Item("none", directory, step.unexamined)
    if step.opens_pycache:
        yield Item("chmod", pycs, "unreadable")
    if step.emptied_pycache:
        yield Item("remove-directory", pycs, "emptied")
    if step.emptied:
        yield Item("remove-directory", directory, "emptied")
    for stale in step.stale:
        verdicts = {state.verdict for state in stale.levels}
        actions = {_ACTIONS.get(verdict, _COMPILE)[0] for verdict in verdicts}
        action, reason = actions.pop() if len(actions) == 1 else "compile", ", ".join(sorted(map(word_for, verdicts)))
        if hindrance := _hindrance(examiner, layout, step, stale.name):
            action, reason = "refuse", hindrance
        yield Item(action, layout.describe_source(relative, stale.name), reason)
    left = [("skip", name, reason) for name, reason in step.skipped]
    left += [("refuse", name, reason) for name, reason in step.refused]
    left += [("skip", name, f"a link to {goal}") for name, goal in step.links]
    for action, name, reason in left:
        yield Item(action, layout.describe_source(relative, name), reason)
    for pyc, _ in step.owned:
        yield Item("keep", layout.describe_pyc(relative, pyc), "a package owns it")
    obstacle = obstacle_in(examiner, layout, Step.of(relative)) if step.removals else None
    for removal in step.removals:
        action, reason = ("remove", removal.kind) if obstacle is None else ("refuse", obstacle)
        yield Item(action, layout.describe_pyc(relative, removal.name), reason)


def obstacle_in(examiner: Examiner, layout: Layout, step: Step) -> str | None:
    """Returns why a run would write nothing into the directory of a step, or None if it would."""
    try:
        require_account_owns(examiner.target, layout)
    except RefusedError as error:
        return str(error)
    forecast = Forecast(examiner.wanted)
    if forecast.permits(layout, step):
        return None
    told = forecast.settle()
    for failure in told.failures:
        return f"{failure.path}: {failure.message}{'; run it as root' if failure.needs_root else ''}"
    return told.notices[0]


def _hindrance(examiner: Examiner, layout: Layout, step: Step, name: str) -> str | None:
    """Returns why a run wouldn't do what a source needs, or None if it would."""
    if obstacle := obstacle_in(examiner, layout, step._replace(goes_on=False)):
        return obstacle
    forecast = Forecast(examiner.wanted)
    if not forecast.can_read(layout, step.relative, name):
        return next((f"its source can't be read: {failure.message}" for failure in forecast.settle().failures), None)
    stale = next((each for each in step.stale if each.name == name), None)
    if stale is None or forecast.can_replace(layout, step.relative, stale):
        return None
    return forecast.settle().failures[0].message
