"""The parts of pages that the command line itself says: options and exit codes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyctrigger import errors

from .document import Entries, Entry, Section, Span, Spans, code, text
from .library import exit_codes
from .prose import spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .library import Library
    from .prose import Prose
    from .verbs import Group, Option, Verb

_FLAG = re.compile(r"(?<![\w`-])--[a-z][a-z-]*(?![\w`])")


def option_section(verb: Verb, group: Group, library: Library) -> Section:
    """A group of options."""
    return Section(group.title, (option_entries(verb, group.options, library),))


def option_entries(verb: Verb, options: Iterable[Option], library: Library) -> Entries:
    """Options, with defaults."""
    entries = tuple(_option_entry(option, library.more(verb, option)) for option in options)
    return Entries("option" if any(each.names for each in options) else "argument", ("default", "repeatable"), entries)


def _option_entry(option: Option, more: Spans) -> Entry:
    body = spans(_sentence(option.help))
    if option.choices:
        *others, last = option.choices
        body += (Span(" One of "), *code(*others), Span(" or "), *code(last), Span(".")) if others else ()
    if more:
        body += (Span(" "), *more)
    default: Spans = code(option.default) if option.default else ()
    if option.is_configured:
        name = option.names[-1][2:].replace("-", "_")
        default = (*code(name), Span(" of the configuration"))
    return Entry(code(*option.terms), body, (default, text("yes") if option.is_repeatable and option.names else ()))


def _sentence(help_text: str) -> str:
    """A line of the help as a sentence, options in it marked as code."""
    marked = _FLAG.sub(lambda flag: f"`{flag.group()}`", help_text)
    return f"{marked[0].upper()}{marked[1:]}" + ("" if marked.endswith(".") else ".")


def exit_entries(prose: Prose) -> Entries:
    """What a verb ends with."""
    entries = (Entry(code(str(number)), said or text(errors.EXIT_CODES[number])) for number, said in _sorted(prose))
    return Entries("code", (), tuple(entries))


def _sorted(prose: Prose) -> list[tuple[int, Spans]]:
    return sorted(exit_codes(prose).items())


def every_exit_code(verbs: Mapping[str, Prose] | None = None) -> Entries:
    """All codes; with `verbs`, also which exceptions of the library and which commands have them."""
    entries = []
    for number, meaning in errors.EXIT_CODES.items():
        if verbs is None:
            entries.append(Entry(code(str(number)), text(meaning)))
            continue
        commands = [name for name, prose in verbs.items() if number in exit_codes(prose)]
        named: Spans = text("all") if len(commands) == len(verbs) else code(*commands)
        entries.append(Entry(code(str(number)), text(meaning), (named, code(*_exceptions(number)))))
    return Entries("code", () if verbs is None else ("commands", "exceptions"), tuple(entries))


def _exceptions(number: int) -> list[str]:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "exit_code")]
    return [each.__name__ for each in classes if each.exit_code == number and each is not errors.PyctriggerError]
