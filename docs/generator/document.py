"""A page as a value, from which Markdown and mdoc are written."""

from __future__ import annotations

from typing import NamedTuple, Union


class Span(NamedTuple):
    """A piece of a sentence."""

    text: str
    is_code: bool = False
    target: str = ""
    """Of a link."""


Spans = tuple[Span, ...]


class Paragraph(NamedTuple):
    """Sentences."""

    spans: Spans


class Listing(NamedTuple):
    """Lines to type, or that a program prints."""

    lines: tuple[str, ...]
    language: str = ""


class Item(NamedTuple):
    """One of a list."""

    term: Spans
    """What is explained; nothing in a list that explains nothing."""
    body: Spans


class Items(NamedTuple):
    """A list."""

    items: tuple[Item, ...]


class Entry(NamedTuple):
    """One row of a reference."""

    term: Spans
    body: Spans
    facts: tuple[Spans, ...] = ()
    """In the order of the table's; an empty one says nothing, and `yes` what the fact's name says."""


class Entries(NamedTuple):
    """A reference: a table where there is room, a list of terms elsewhere."""

    term: str
    facts: tuple[str, ...]
    entries: tuple[Entry, ...]


Block = Union[Paragraph, Listing, Items, Entries]


class Section(NamedTuple):
    """A title and what stands below it."""

    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()


class Page(NamedTuple):
    """One page."""

    name: str
    """Of the manual page, such as pyctrigger-run; of what has none, a title."""
    about: str
    """One line."""
    forms: tuple[str, ...] = ()
    """The synopsis: what can stand on a command line."""
    sections: tuple[Section, ...] = ()
    manual: int = 8
    """The manual's section."""


def text(words: str) -> Spans:
    """A sentence without code."""
    return (Span(words),)


def code(*words: str) -> Spans:
    """Code, several pieces separated by commas."""
    spans: list[Span] = []
    for word in words:
        spans += [Span(", ")] if spans else []
        spans.append(Span(word, is_code=True))
    return tuple(spans)
