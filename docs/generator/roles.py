"""What mdoc(7) calls a piece of code: an option, a path, a variable; and text in which roff sees nothing of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

#: What stands for a value: PATH, ARCHIVE|DIR.
METAVAR = re.compile(r"[A-Z][A-Z0-9_]*(?:\|[A-Z]+)*")
_OPTION = re.compile(r"-(-?[a-z][^ ]*)(?: (.*))?")
_REFERENCE = re.compile(r"([A-Za-z][\w.+-]*)\(([1-9])\)")
_ENVIRONMENT = re.compile(r"\$([A-Z_]+)")
_QUOTED = re.compile(r'"([^"]+)"')
#: By its form alone, in this order.
_FORMS = (
    (re.compile(r"(?:/|~/|@[A-Z]+@|\$[A-Z_]+/)[^ ]+|@[A-Z]+@|[^ ]*\.(?:toml|pyc|py|conda|tar\.bz2)"), "Pa"),
    (re.compile(rf"{METAVAR.pattern}(?: \.\.\.)?"), "Ar"),
)
_VARIABLE = re.compile(r"[a-z]+\.[a-z_]+|[a-z]+(?:_[a-z]+)+")
_TABLE = re.compile(r"\[[^\]]+\]")
_WORD = re.compile(r"[\w.+@{}\[\]-]*\w[\w.+@{}\[\]-]*")
#: What typographers have a finer form of, and a keyboard has not.
_KEYS = {"'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
#: Words that a macro would take for another macro, or for punctuation.
_MACRO = re.compile(r"[A-Z][a-z]{1,2}|[%D][A-Z]|[.:;()\[\]?!|]")


class Words(NamedTuple):
    """What code in a sentence may be, where its form doesn't show."""

    commands: Container[str]
    """Verbs, and words that stand after options."""
    keys: Container[str]
    """Of the configuration."""


def macro(code: str, words: Words) -> str:
    """The macro for a piece of code, with its arguments."""
    option = _OPTION.fullmatch(code)
    if option:
        value = f" {'Ar' if METAVAR.fullmatch(option[2]) else 'Cm'} {argument(option[2])}" if option[2] else ""
        return f"Fl {option[1]}{value}"
    reference, variable, quoted = (each.fullmatch(code) for each in (_REFERENCE, _ENVIRONMENT, _QUOTED))
    if reference:
        return f"Xr {reference[1]} {reference[2]}"
    if variable:
        return f"Ev {variable[1]}"
    if quoted:
        return f"Qq {argument(quoted[1])}"
    name = _name(code, words)
    return f"Ar {code}" if name == "Ar" else f"{name} {argument(code)}"


def _name(code: str, words: Words) -> str:
    for form, name in _FORMS:
        if form.fullmatch(code):
            return name
    if code in words.commands:
        return "Cm"
    if code in words.keys or _VARIABLE.fullmatch(code):
        return "Va"
    if _TABLE.fullmatch(code):
        return "Sy"
    # A single word is told from others by its face alone.
    return "Li" if _WORD.fullmatch(code) else "Ql"


def plain(text: str) -> str:
    """Text in which nothing means anything to roff, and which is ASCII."""
    escaped = text.replace("\\", r"\e")
    return "".join(each if ord(each) < 128 else rf"\[u{ord(each):04X}]" for each in escaped)


def literal(text: str) -> str:
    """Text to type: it stays as it is on a keyboard."""
    return "".join(_KEYS.get(each, each) for each in plain(text))


def argument(text: str) -> str:
    """An argument of a macro that is nothing but itself: no macro's name, no punctuation, no two arguments."""
    escaped = literal(text).replace('"', r"\(dq")
    if _MACRO.fullmatch(text):
        escaped = rf"\&{escaped}"
    return f'"{escaped}"' if " " in escaped else escaped
