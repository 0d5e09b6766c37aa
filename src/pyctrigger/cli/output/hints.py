"""Hints: what to do about files that failed, by the kind of failure."""

from __future__ import annotations

from collections.abc import Iterable

from .terminal import Words

_LEAVE_OUT = "exclude the source: --exclude GLOB, or exclude in the configuration"
_AT_FAULT = f"tell the maintainers of the source, or {_LEAVE_OUT}"
_HINTS = {
    **dict.fromkeys(("syntax", "encoding", "recursion", "unmarshallable"), _AT_FAULT),
    "crash": f"run it again; if that changes nothing, {_AT_FAULT}",
    "timeout": f"raise file_timeout in the configuration, or {_LEAVE_OUT}",
    "memory": f"raise memory_limit in the configuration, or {_LEAVE_OUT}",
    **dict.fromkeys(("io", "refused"), "fix the cause, then: pyctrigger {verb}"),
}


def hints(kinds: Iterable[str], verb: str) -> list[Words]:
    """Returns a line for each hint, such as `hint: syntax, encoding: tell the maintainers …`, after `verb` failed."""
    alike: dict[str, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        if kind in _HINTS:
            alike.setdefault(_HINTS[kind], []).append(kind)
    return [(("hint:", "strong"), f" {', '.join(names)}: {hint.format(verb=verb)}") for hint, names in alike.items()]
