"""Reading `docs/prose`: a small part of Markdown, so that the files read well by themselves.

Paragraphs, lists without lists in them, fenced listings, two levels of headings; in sentences, code and links.
An item that begins with code and a colon explains that code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .document import Block, Item, Items, Listing, Paragraph, Section, Span, Spans
from .trouble import ProseError

if TYPE_CHECKING:
    from pathlib import Path

_SPAN = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"(##|###) (\S.*)")
_TERM = re.compile(r"(`[^`]+`(?:, `[^`]+`)*)(?:: (.*))?", re.DOTALL)


class Prose(NamedTuple):
    """One file."""

    path: Path
    blocks: tuple[Block, ...]
    """What stands before the first heading."""
    sections: tuple[Section, ...]

    def section(self, title: str) -> Section | None:
        """The section of this title."""
        return next((each for each in self.sections if each.title == title), None)

    def others(self, *titles: str) -> tuple[Section, ...]:
        """All sections but these."""
        return tuple(each for each in self.sections if each.title not in titles)

    def terms(self, title: str) -> dict[str, Spans]:
        """The list below a title, by its terms. Raises ProseError for anything that explains no single term."""
        section = self.section(title)
        found: dict[str, Spans] = {}
        for block in section.blocks if section else ():
            for item in block.items if isinstance(block, Items) else ():
                if len(item.term) != 1:
                    raise ProseError(f"{self.path}: below ## {title} each item begins with one `term`")
                if item.term[0].text in found:
                    raise ProseError(f"{self.path}: ## {title} explains {item.term[0].text} twice")
                found[item.term[0].text] = item.body
        return found


def read_prose(path: Path) -> Prose:
    """Read a file. Raises ProseError for what is no prose of ours, OSError for no file."""
    blocks: list[Block] = []
    #: Title, blocks, and the same of each subsection.
    found: list[tuple[str, list[Block], list[tuple[str, list[Block]]]]] = []
    target = blocks
    for part in _parts(path):
        heading = _HEADING.fullmatch(part[0])
        if heading is None:
            target.append(_block(part, path))
            continue
        target = []
        if heading[1] == "##":
            found.append((heading[2], target, []))
        elif found:
            found[-1][2].append((heading[2], target))
        else:
            raise ProseError(f"{path}: ### {heading[2]} stands below no ##")
    sections = (
        Section(title, tuple(own), tuple(Section(name, tuple(below)) for name, below in subsections))
        for title, own, subsections in found
    )
    return Prose(path, tuple(blocks), tuple(sections))


def spans(words: str) -> Spans:
    """The pieces of a sentence."""
    found: list[Span] = []
    end = 0
    for match in _SPAN.finditer(words):
        if match.start() > end:
            found.append(Span(words[end : match.start()]))
        found.append(Span(match[1], is_code=True) if match[1] else Span(match[2], target=match[3]))
        end = match.end()
    return (*found, Span(words[end:])) if end < len(words) else tuple(found)


def _parts(path: Path) -> list[list[str]]:
    """The lines of each block; a listing is one block, whatever stands in it."""
    parts: list[list[str]] = [[]]
    fenced = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if not fenced and parts[-1]:
                parts.append([])
            parts[-1].append(line)
            fenced = not fenced
            if not fenced:
                parts.append([])
        elif fenced or line.strip():
            parts[-1].append(line)
        elif parts[-1]:
            parts.append([])
    if fenced:
        raise ProseError(f"{path}: a listing has no end; write ``` below it")
    return [part for part in parts if part]


def _block(lines: list[str], path: Path) -> Block:
    if lines[0].startswith("```"):
        return Listing(tuple(lines[1:-1]), lines[0][3:].strip())
    if lines[0].startswith("- "):
        return Items(tuple(_item(" ".join(each)) for each in _items(lines, path)))
    if lines[0].startswith(("#", "|", ">", "* ", "1.")):
        raise ProseError(f"{path}: {lines[0]!r} is Markdown that these pages have no form for")
    return Paragraph(spans(" ".join(line.strip() for line in lines)))


def _items(lines: list[str], path: Path) -> list[list[str]]:
    items: list[list[str]] = []
    for line in lines:
        if line.startswith("- "):
            items.append([line[2:].strip()])
        elif line.startswith("  "):
            items[-1].append(line.strip())
        else:
            raise ProseError(f"{path}: {line!r} belongs to no item; indent it by two")
    return items


def _item(words: str) -> Item:
    match = _TERM.fullmatch(words)
    return Item(spans(match[1]), spans(match[2] or "")) if match else Item((), spans(words))
