"""Reading `docs/prose`: Markdown, cut at its headings and at the terms of its lists. All the rest is MyST's to read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEADING = re.compile(r"^## (.+)\n", re.MULTILINE)
#: An item that explains code: its first line, and the lines indented below it.
_ITEM = re.compile(r"^- `(?P<term>[^`]+)`(?:: (?P<text>.*(?:\n  .*)*))?(?:\n|\Z)", re.MULTILINE)


class ProseError(Exception):
    """Prose and program don't fit together; the message names the file and what to change."""


class Prose(NamedTuple):
    """One file."""

    path: Path
    description: str
    """What comes before the first heading."""
    sections: Mapping[str, str]
    """By title, without `##`."""

    def terms(self, title: str = "") -> dict[str, str]:
        """Returns what a section's list (the description's without a title) says of each term, on one line each."""
        found: dict[str, str] = {}
        for item in _ITEM.finditer(self.sections.get(title, "") if title else self.description):
            if item["term"] in found:
                raise ProseError(f"{self.path}: ## {title} explains {item['term']} twice")
            found[item["term"]] = one_line(item["text"] or "")
        return found

    def without_terms(self, title: str = "") -> str:
        """Returns the rest of a section."""
        return _ITEM.sub("", self.sections.get(title, "") if title else self.description).strip()


def read_prose(path: Path) -> Prose:
    """Reads a file."""
    description, *rest = _HEADING.split(path.read_text(encoding="utf-8"))
    sections = dict(zip(rest[::2], (each.strip() for each in rest[1::2])))
    return Prose(path, description.strip(), sections)


def one_line(text: str) -> str:
    """Returns a paragraph without its line breaks."""
    return " ".join(text.split())


def definition(term: str, *sentences: str) -> str:
    """Returns an item that explains code; `reading` makes definition lists of such items."""
    body = " ".join(each for each in sentences if each)
    return f"- {term}: {body}" if body else f"- {term}"


def code(*words: str) -> str:
    """Returns words as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)
