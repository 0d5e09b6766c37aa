"""Writing pages as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .document import Block, Entries, Items, Listing, Page, Paragraph, Section, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTE = "<!-- Made by docs/build. Change docs/prose, the parser or the schema instead. -->"


def write_markdown(page: Page, links: Mapping[str, str]) -> str:
    """A page. `links` are the files of other pages, by the names of their manual pages: `pyctrigger-run(8)`."""
    lines = [
        _NOTE,
        "",
        f"# {page.name.replace('-', ' ', 1)}",
        "",
        f"{page.about[0].upper()}{page.about[1:].rstrip('.')}.",
        "",
    ]
    if page.forms:
        lines += ["```", *page.forms, "```", ""]
    for section in page.sections:
        lines += _section(section, 2, links)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"


def _section(section: Section, level: int, links: Mapping[str, str]) -> Iterator[str]:
    if section.title:
        yield from (f"{'#' * level} {section.title}", "")
    for block in section.blocks:
        yield from _block(block, links)
        yield ""
    for each in section.sections:
        yield from _section(each, level + 1, links)


def _block(block: Block, links: Mapping[str, str]) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield _inline(block.spans, links)
    elif isinstance(block, Listing):
        yield from (f"```{block.language}", *block.lines, "```")
    elif isinstance(block, Items):
        for item in block.items:
            term = _inline(item.term, links)
            yield f"- {term}{': ' if item.term and item.body else ''}{_inline(item.body, links)}"
    elif isinstance(block, Entries):
        yield from _table(block, links)


def _table(block: Entries, links: Mapping[str, str]) -> Iterator[str]:
    headers = (block.term, "meaning", *block.facts)
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    for entry in block.entries:
        cells = (_inline(spans, links).replace("|", "\\|") for spans in (entry.term, entry.body, *entry.facts))
        yield f"| {' | '.join(cells)} |"


def _inline(spans: Spans, links: Mapping[str, str]) -> str:
    return "".join(_span(span, links) for span in spans)


def _span(span: Span, links: Mapping[str, str]) -> str:
    if span.target:
        return f"[{span.text}]({span.target})"
    if span.is_code:
        shown = f"`{span.text}`"
        return f"[{shown}]({links[span.text]})" if span.text in links else shown
    return span.text
