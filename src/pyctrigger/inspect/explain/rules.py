"""The rule that decided about a pyc, in words, and what a run would do about it."""

from __future__ import annotations

import fnmatch
import struct
from typing import NamedTuple

from ...outcome.states import STATES
from ...pyc.header import HeaderFormat, InvalidationMode, Verdict
from ...run.plan.wanted import Wanted
from .examiner import Directory, Examiner, Level, SourceLook

_OUTSIDE = "it is outside the scope"


class HeaderFields(NamedTuple):
    """The fields of a pyc's header, as far as its first bytes have them."""

    magic_number: bytes
    mode: str | None
    mtime: int | None = None
    size: int | None = None
    source_hash: bytes | None = None

    def as_dict(self) -> dict[str, object]:
        """The header for JSON."""
        return {
            "magic_number": self.magic_number.hex(),
            "invalidation_mode": self.mode,
            "mtime": self.mtime,
            "size": self.size,
            "source_hash": None if self.source_hash is None else self.source_hash.hex(),
        }


def read_header(head: bytes, form: HeaderFormat) -> HeaderFields | None:
    """The fields in the first bytes of a pyc; None where there are too few. Any other bytes are read as they stand."""
    if len(head) < form.size:
        return None
    if not form.has_modes:
        return HeaderFields(head[:4], "timestamp", *struct.unpack_from("<II", head, 4))
    (flags,) = struct.unpack_from("<I", head, 4)
    mode = next((each.value for each in InvalidationMode if each.flags == flags), None)
    if mode in (None, InvalidationMode.TIMESTAMP.value):
        return HeaderFields(head[:4], mode, *struct.unpack_from("<II", head, 8))
    return HeaderFields(head[:4], mode, source_hash=head[8:16])


class Decision(NamedTuple):
    """What holds for one pyc."""

    state: str
    """fresh, missing, stale, corrupt, …; orphan; unwanted, excluded, uncompilable."""
    reason: str | None
    """Of a stale one: mtime, size, digest, mode; of an unproven one: hash, no record, body; of one that a run leaves
    either of these, or another state."""
    rule: str
    """Why it is in this state."""
    action: str
    """What a run would do: compile, refresh, load or compare it (in a child), remove it, or nothing; then, unless that
    is since it is as it should be, it says why: outside, unwanted, excluded, uncompilable, skipped, owned, refused.
    """
    because: str
    """Why it would do that, where the state alone doesn't say it."""


def decide(examiner: Examiner, seen: Directory, look: SourceLook, level: Level) -> Decision:
    """The decision about one level of a source."""
    if look.status is None:
        return _without_source(examiner, seen, look, level)
    rule = _rule(examiner.wanted, look, level)
    action, because = _action(examiner, seen, look, level)
    return Decision(*_state(examiner, seen, level, action), rule, action, because)


def _state(examiner: Examiner, seen: Directory, level: Level, action: str) -> tuple[str, str | None]:
    """The name of a state, and the reason: `verify` has the same for what a run leaves as it is."""
    state = STATES[level.verdict]
    is_there = level.verdict is not Verdict.MISSING
    if action in _LEFT and not (action == "unwanted" and (not is_there or examiner.is_owned(seen, level))):
        return action, (state.reason or state.name) if is_there and level.verdict is not Verdict.FRESH else None
    return state.name, state.reason


def _without_source(examiner: Examiner, seen: Directory, look: SourceLook, level: Level) -> Decision:
    if look.refused is not None:
        rule = f"its source may not be read: {look.refused}"
        return Decision("refused", None, rule, "refused", "a run reports it as a failure, once")
    rule = "there is no source with its name"
    if not seen.in_scope:
        return Decision("orphan", None, rule, "outside", _OUTSIDE)
    if any(removal.name == level.name for removal in seen.plan.removals):
        if obstacle := examiner.obstacle(seen.layout, seen.relative, None):
            return Decision("orphan", None, rule, "refused", obstacle)
        return Decision("orphan", None, rule, "remove", "an orphan that no package owns is removed")
    return Decision("orphan", None, rule, "owned", "a package owns it, or that can't be determined")


def _action(examiner: Examiner, seen: Directory, look: SourceLook, level: Level) -> tuple[str, str]:
    wanted, name = examiner.wanted, look.path.rpartition("/")[2]
    if not seen.in_scope:
        return "outside", _OUTSIDE
    if not level.wanted:
        return "unwanted", f"runs don't write level {level.level} (only {', '.join(map(str, wanted.levels))})"
    skipped = dict(seen.plan.skipped).get(name)
    if skipped == "excluded":
        path = seen.layout.describe_source(seen.relative, name)
        return "excluded", f"its source is excluded by {_pattern(wanted, path)!r}"
    if skipped == "uncompilable" and look.uncompilable is not None:
        fact = look.uncompilable
        return "uncompilable", f"its source is known not to compile: {fact.kind}, {fact.message}"
    if skipped is not None:
        return "skipped", skipped
    if (level.name, name) in seen.plan.owned:
        return "owned", 'a package owns it, and owned_stale is "keep"'
    due = {each.level: each for stale in seen.plan.stale if stale.name == name for each in stale.levels}
    if level.level not in due:
        if level.verdict is Verdict.MISSING:
            return "unwanted", "create_missing is false: nothing is added"
        return (
            "nothing",
            "it is as it should be" if level.verdict is Verdict.FRESH else "its package shipped it like this",
        )
    if hindrance := examiner.hindrance(seen.layout, seen.plan, name):
        return "refused", hindrance
    return _ACTIONS.get(level.verdict, ("compile", "it doesn't fit its source"))


#: What isn't judged by how it fits its source.
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


def _pattern(wanted: Wanted, path: str) -> str:
    return next((pattern for pattern in wanted.exclude if fnmatch.fnmatchcase(path, pattern)), "")


def _rule(wanted: Wanted, look: SourceLook, level: Level) -> str:
    verdict, status = level.verdict, look.status
    assert status is not None
    header = read_header(level.head, wanted.header)
    mtime, size = wanted.mtime(status) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    if verdict is Verdict.MISSING:
        return "there is no such pyc"
    if verdict is Verdict.OBSTRUCTED:
        return "something that isn't a regular file has its name"
    if verdict is Verdict.UNREADABLE:
        return "its mode keeps out accounts that may read the source"
    if verdict is Verdict.EXPOSED:
        return "its owner, mode or list lets in accounts that may not read the source, or lets others write it"
    if header is None or verdict is Verdict.CORRUPT:
        whole = len(level.head) > wanted.header.size
        return "importlib doesn't know its flags" if whole else "it is truncated: there is no code after its header"
    if verdict is Verdict.FOREIGN_MAGIC:
        return f"its magic number is {header.magic_number.hex()}, the interpreter's {wanted.header.magic_number.hex()}"
    if verdict is Verdict.OTHER_MODE:
        return f"its invalidation mode is {header.mode}, {wanted.mode.value} is wanted"
    if verdict is Verdict.OTHER_MTIME:
        return f"its header says mtime {header.mtime}, the source has {mtime}"
    if verdict is Verdict.OTHER_SIZE:
        return f"its header says size {header.size}, the source has {size}"
    if verdict is Verdict.REFRESHABLE:
        return f"its header says mtime {header.mtime}, the source has {mtime}, and the content that was recorded"
    fits = f"magic number, {'mtime and size' if header.mode == 'timestamp' else 'mode'} in its header fit the source"
    return f"{fits}{_MORE.get(verdict, '')}"


_MORE = {
    Verdict.FRESH: ", and no record contradicts it",
    Verdict.OTHER_CONTENT: ", but its source's content isn't the recorded one",
    Verdict.UNKNOWN: "; whether its code does isn't recorded",
    Verdict.UNPROVEN: "; only the target can compute whether its hash does",
    Verdict.SUSPECT: ", but its body isn't the one that was recorded",
}
