"""Writing pages in mdoc(7), for mandoc and groff alike."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from .document import Block, Entries, Entry, Items, Listing, Page, Paragraph, Section, Span, Spans
from .roles import METAVAR, Words, argument, literal, macro, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NOTE = r""".\" Made by docs/build. Change docs/prose, the parser or the schema instead. Filled in by ports/build."""
_WIDTH = 79


def write_mdoc(page: Page, words: Words) -> str:
    """A page; `@DATE@` and other words in it are for who packs it."""
    return _Writer(words).page(page)


class _Writer:
    def __init__(self, words: Words) -> None:
        self._words = words

    def page(self, page: Page) -> str:
        lines = [_NOTE, ".Dd @DATE@", f".Dt {page.name.upper()} {page.manual}", ".Os", ".Sh NAME"]
        lines += [f".Nm {page.name}", f".Nd {plain(page.about.rstrip('.'))}"]
        if page.forms:
            lines.append(".Sh SYNOPSIS")
            for form in page.forms:
                lines += self._form(form)
        for section in page.sections:
            lines += self._section(section)
        return "\n".join(lines) + "\n"

    # -- blocks --------------------------------------------------------------------------------------------------

    def _section(self, section: Section) -> Iterator[str]:
        yield f".Sh {plain(section.title.upper())}"
        yield from self._blocks(section.blocks)
        for each in section.sections:
            yield f".Ss {plain(each.title)}"
            yield from self._blocks(each.blocks)

    def _blocks(self, blocks: Sequence[Block]) -> Iterator[str]:
        for number, block in enumerate(blocks):
            # A list and a listing make their own space.
            if number and isinstance(block, Paragraph):
                yield ".Pp"
            yield from self._block(block)

    def _block(self, block: Block) -> Iterator[str]:
        if isinstance(block, Paragraph):
            yield from self._sentences(block.spans)
        elif isinstance(block, Listing):
            yield from _listing(block)
        elif isinstance(block, Items):
            tagged = any(item.term for item in block.items)
            yield ".Bl -tag -width Ds" if tagged else ".Bl -bullet"
            for item in block.items:
                yield f".It {self._term(item.term)}".rstrip()
                yield from self._sentences(item.body)
            yield ".El"
        elif isinstance(block, Entries):
            yield ".Bl -tag -width Ds"
            for entry in block.entries:
                yield f".It {self._term(entry.term)}"
                yield from self._sentences((*entry.body, *_facts(block, entry)))
            yield ".El"

    def _form(self, form: str) -> Iterator[str]:
        """`pyctrigger run [options] [PATH ...]`, one part a line."""
        name, _, rest = form.partition(" ")
        yield f".Nm {name}"
        for part in re.findall(r"\[[^\]]*\]|[^\[\]]+", rest):
            words = part.strip("[] ").split()
            if words:
                macros = " ".join(self._form_word(word) for word in words)
                yield f".Op {macros}" if part.startswith("[") else f".{macros}"

    def _form_word(self, word: str) -> str:
        if word in ("|", "..."):
            return word
        if word.startswith("-"):
            return f"Fl {word[1:]}"
        if METAVAR.fullmatch(word) or word == "options":
            return f"Ar {word}"
        return f"Cm {' | '.join(word.split('|'))}"

    # -- sentences -----------------------------------------------------------------------------------------------

    def _term(self, spans: Spans) -> str:
        """Code, and commas between: the head of an item."""
        return " ".join(
            macro(span.text, self._words) if span.is_code else argument(span.text.strip()) for span in spans
        )

    def _sentences(self, spans: Spans) -> Iterator[str]:
        """Text and macros, a new line for each sentence and each macro."""
        text: list[str] = []
        for word in _split(spans):
            if any(each.is_code for each in word):
                yield from _wrapped(text)
                text = []
                yield f".{self._joined(word)}"
            else:
                text.append("".join(each.text for each in word))
                if text[-1].endswith((".", "?", "!", ".)")):
                    yield from _wrapped(text)
                    text = []
        yield from _wrapped(text)

    def _joined(self, word: Sequence[Span]) -> str:
        """A word with code in it as one line of macros, whatever is attached to the code."""
        parts: list[str] = []
        for number, each in enumerate(word):
            if each.is_code:
                if number == 1 and not word[0].is_code:
                    parts = ["Pf", argument(word[0].text)]
                elif number:
                    parts.append("Ns")
                parts.append(macro(each.text, self._words))
            elif number:
                closing = re.match(r"[.,:;)\]?!]*", each.text)
                assert closing is not None
                if number == len(word) - 1 and closing.end() == len(each.text):
                    parts += list(each.text)
                else:
                    parts += ["Ns", argument(each.text)]
        return " ".join(parts)


def _split(spans: Spans) -> Iterator[list[Span]]:
    """Words, each with all that no space separates from it."""
    word: list[Span] = []
    for span in spans:
        if span.is_code:
            word.append(span)
            continue
        for piece in re.split(r"(\s+)", span.text):
            if not piece.strip():
                if piece and word:
                    yield word
                    word = []
            else:
                word.append(Span(piece))
    if word:
        yield word


def _facts(block: Entries, entry: Entry) -> Spans:
    """What a table has columns for, as sentences: `Default: 5.`, `Repeatable.`"""
    found: list[Span] = []
    for name, spans in zip(block.facts, entry.facts):
        if spans and spans[0].text == "yes":
            found.append(Span(f" {name.capitalize()}."))
        elif spans:
            found += [Span(f" {name.capitalize()}: "), *spans, Span(".")]
    return tuple(found)


def _listing(block: Listing) -> Iterator[str]:
    # No .Dl: it is a macro, and takes quotation marks away.
    yield ".Bd -literal -offset indent -compact"
    # What begins with a point or an apostrophe would be a request.
    yield from (_guarded(literal(line).replace("-", r"\-")) for line in block.lines)
    yield ".Ed"


def _wrapped(words: Sequence[str]) -> Iterator[str]:
    text = plain(" ".join(words))
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    yield from (_guarded(line) for line in lines)


def _guarded(line: str) -> str:
    return rf"\&{line}" if line.startswith((".", "'")) else line
