"""Names for the states of bytecode, used everywhere: the state, its reason in a word, and a sentence.

`verify`, `status`, `which`, `explain`, `--dry-run` and `-vv` all use these names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..pyc.header import Verdict
from .outcome import Finding


class State(NamedTuple):
    """The names for a verdict."""

    name: str
    """One of the contract's findings; fresh; or unproven, where looking alone can't decide."""
    reason: str | None
    """Why it is stale or unproven, in a word."""
    sentence: str
    """The same for people."""


#: Code names the path that it was compiled for: in a copied environment all of it is other code, and harmless.
OTHER_CODE = "its code isn't what its source compiles to here: copied from another path, or changed"

STATES = {
    Verdict.FRESH: State("fresh", None, "it fits its source"),
    Verdict.MISSING: State("missing", None, "no bytecode"),
    Verdict.OTHER_MTIME: State("stale", "mtime", "its source has another mtime"),
    Verdict.REFRESHABLE: State("stale", "mtime", "its source has another mtime, and the same content"),
    Verdict.OTHER_SIZE: State("stale", "size", "its source has another size"),
    Verdict.OTHER_HASH: State("stale", "digest", "its source has other content"),
    Verdict.OTHER_CONTENT: State("stale", "digest", "its source has other content, with the same mtime and size"),
    Verdict.OTHER_MODE: State("stale", "mode", "another invalidation mode is configured"),
    Verdict.FOREIGN_MAGIC: State("foreign-magic", None, "its magic number is another Python's"),
    Verdict.CORRUPT: State("corrupt", None, "it can't be loaded"),
    Verdict.MISMATCHED: State("mismatched", None, OTHER_CODE),
    Verdict.OBSTRUCTED: State("obstructed", None, "something that isn't a regular file has its name"),
    Verdict.UNREADABLE: State("unreadable", None, "accounts that may read its source can't read it"),
    Verdict.EXPOSED: State("stale", "rights", "accounts have more rights to it than to its source"),
    Verdict.UNPROVEN: State("unproven", "hash", "only its Python can compare the hash"),
    Verdict.UNKNOWN: State("unproven", "no record", "its header fits, and no record says that its code does"),
    Verdict.SUSPECT: State("unproven", "body", "its header fits, and its body isn't the recorded one"),
}

#: Findings by name alone, and those about a whole directory.
_BY_KIND = {
    "orphan": "its source is gone",
    "residue": "a writer that was killed left it behind",
    "uncompilable": "its source doesn't compile",
    "unreadable": "accounts that may read the sources can't enter it",
}


def why(finding: Finding) -> str | None:
    """Returns the sentence for a finding."""
    return finding.reason or _BY_KIND.get(finding.kind)


def why_removed(kind: str) -> str:
    """Returns why a pyc or a directory was removed: `orphan: its source is gone`."""
    sentence = _BY_KIND.get(kind)
    return _REMOVED[kind] if sentence is None else f"{kind}: {sentence}"


#: Other kinds of removals.
_REMOVED = {
    "pyc": "all bytecode of this flavour is removed",
    "unwanted": "unwanted: its level isn't configured",
    "emptied": "nothing is left in it",
}


def cause(verdicts: Iterable[Verdict]) -> str:
    """Returns why a source was compiled: `stale: its source has another size`."""
    states = [_PROVEN.get(verdict) or STATES[verdict] for verdict in verdicts]
    return "; ".join(dict.fromkeys(f"{state.name}: {state.sentence}" for state in states))


#: What unproven bytecode was, after compiling the source gave different code. It was not loaded, to tell which.
_PROVEN = {
    Verdict.SUSPECT: State("corrupt or mismatched", None, OTHER_CODE),
    Verdict.UNPROVEN: STATES[Verdict.OTHER_HASH],
}


def word_for(verdict: Verdict) -> str:
    """Returns what is wrong in one word: the reason of stale bytecode, or else its state."""
    state = STATES[verdict]
    return state.reason if state.name == "stale" and state.reason else state.name
