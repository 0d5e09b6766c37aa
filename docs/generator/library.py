"""All of `docs/prose`, held against what the program has: nothing is missing, and nothing is about what isn't there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyctrigger.errors import EXIT_CODES

from .document import Items
from .prose import Prose, read_prose
from .trouble import ProseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .document import Spans
    from .verbs import Option, Verb

#: What isn't about one verb.
_PAGES = ("pyctrigger", "pyctrigger.toml", "options", "json", "files", "exit-codes")
#: Any command may be called wrongly, find too little memory, have a defect, lose its output, and be interrupted.
_ALWAYS = {0, 2, 3, 70, 74, 130}


class Library(NamedTuple):
    """The prose, by the names of its files."""

    verbs: Mapping[str, Prose]
    pages: Mapping[str, Prose]
    options: Mapping[str, Spans]
    """What is to be said of an option of several verbs beyond its help."""

    def more(self, verb: Verb, option: Option) -> Spans:
        """What is to be said of an option beyond its help: the verb's own words, or those for all verbs."""
        own = self.verbs[verb.name].terms("Options")
        names = option.names or (option.value,)
        for words in (own, self.options):
            for name in names:
                if name in words:
                    return words[name]
        return ()


def open_library(directory: Path, verbs: Mapping[str, Verb]) -> Library:
    """Read everything. Raises ProseError."""
    there = {path.stem for path in directory.glob("*.md")}
    for name in [*verbs, *_PAGES]:
        if name not in there:
            what = f"the verb {name} has no prose" if name in verbs else "its page has no prose"
            raise ProseError(
                f"{directory / name}.md is missing: {what}; write what it is for, ## Exit status and ## Examples, "
                "then run docs/build"
            )
    for name in sorted(there.difference(verbs, _PAGES)):
        raise ProseError(f"{directory / name}.md is about no verb; remove it, or name it like one")
    prose = {name: read_prose(directory / f"{name}.md") for name in sorted(there)}
    library = Library(
        {name: prose[name] for name in verbs}, {name: prose[name] for name in _PAGES}, _terms(prose["options"])
    )
    for verb in verbs.values():
        _check_verb(verb, library)
    known = {name for verb in verbs.values() for name in verb.options}
    for name in library.options:
        if name not in known:
            raise ProseError(f"{prose['options'].path}: no verb has {name}")
    return library


def exit_codes(prose: Prose) -> dict[int, Spans]:
    """The codes that a verb ends with, and what they mean there; nothing: as everywhere. Raises ProseError."""
    terms = prose.terms("Exit status")
    for term in terms:
        if not term.isdigit() or int(term) not in EXIT_CODES:
            raise ProseError(f"{prose.path}: {term} is no exit code of errors.EXIT_CODES")
    codes = {int(term): spans for term, spans in terms.items()}
    missing = sorted(_ALWAYS - set(codes))
    if missing:
        raise ProseError(f"{prose.path}: ## Exit status says nothing of {', '.join(map(str, missing))}")
    return codes


def _check_verb(verb: Verb, library: Library) -> None:
    prose = library.verbs[verb.name]
    if not prose.blocks:
        raise ProseError(f"{prose.path} says nothing before its first heading: say what {verb.name} does")
    for name in prose.terms("Options"):
        if name not in verb.options:
            raise ProseError(f"{prose.path}: {verb.name} has no {name}")
    if prose.section("Examples") is None:
        raise ProseError(f"{prose.path} has no ## Examples")
    exit_codes(prose)


def _terms(prose: Prose) -> dict[str, Spans]:
    items = [item for block in prose.blocks if isinstance(block, Items) for item in block.items]
    return {item.term[0].text: item.body for item in items if item.term}
