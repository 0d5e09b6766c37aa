"""The parts of pages that schema and places say: the configuration's keys, and where things live."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from builder.platforms import PLATFORMS
from pyctrigger.run.scope import settings as schema
from pyctrigger.run.scope.config import Settings
from pyctrigger.state.locations import BSD, LINUX

from .document import Entries, Entry, Item, Items, Paragraph, Section, Span, Spans, code, text
from .prose import spans
from .trouble import ProseError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from .prose import Prose

#: What `docs/prose/files.md` tells of.
_PLACES = ("configuration", "state", "lock", "program")


def configuration_sections(prose: Prose, options: Container[str]) -> tuple[Section, ...]:
    """One section for each table; `options` are those of the command line."""
    settings = Settings()
    defaults = {name: _written(getattr(settings, name), schema.DEFAULTS[name].kind) for name in schema.DEFAULTS}
    hooks = {name: _written(getattr(settings, f"hooks_{name}"), schema.HOOKS[name].kind) for name in schema.HOOKS}
    tables = {
        "[defaults]": Entries(
            "key",
            ("takes", "default", "option", "per flavour"),
            tuple(
                Entry(
                    code(name),
                    _meaning(name, key),
                    (
                        spans(key.kind.takes),
                        code(defaults[name]),
                        code(flag) if (flag := f"--{name.replace('_', '-')}") in options else (),
                        text("yes") if name in schema.FLAVOUR else (),
                    ),
                )
                for name, key in schema.DEFAULTS.items()
            ),
        ),
        "[hooks]": _table(schema.HOOKS, hooks),
        '[flavours."3.11"]': _table(schema.FLAVOUR, {}),
    }
    sections = []
    for title, entries in tables.items():
        said = prose.section(title)
        if said is None:
            raise ProseError(f"{prose.path} has no ## {title}")
        sections.append(Section(title, (*said.blocks, entries)))
    return tuple(sections)


def policies() -> Paragraph:
    """What the packages' own configuration says instead of the defaults."""
    each = [(platform.system, f"[{', '.join(map(str, platform.levels))}]") for platform in PLATFORMS.values()]
    listed = "; ".join(f"{system} `optimize = {levels}`" for system, levels in each)
    return Paragraph(spans(f"The packages bring the levels that their system's own packages have: {listed}."))


def _table(keys: Mapping[str, schema.Key], defaults: Mapping[str, str]) -> Entries:
    facts = ("takes", "default") if defaults else ("takes",)
    entries = []
    for name, key in keys.items():
        told: tuple[Spans, ...] = (spans(key.kind.takes),)
        entries.append(Entry(code(name), _meaning(name, key), (*told, code(defaults[name])) if defaults else told))
    return Entries("key", facts, tuple(entries))


def _meaning(name: str, key: schema.Key) -> Spans:
    if not key.meaning.endswith("."):
        raise ProseError(f"{name} has no meaning in whole sentences; write them in run/scope/settings.py")
    return spans(key.meaning)


def _written(value: Any, kind: schema.Kind) -> str:
    """A value as TOML has it."""
    if kind.convert is schema.size:
        return f'"{value >> 30}GiB"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, Enum):
        value = value.value
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def place_items(prose: Prose) -> Items:
    """Where things live, for a manual page of one system."""
    said = _said(prose)
    places = {
        "configuration": code("@CONFIGURATION@"),
        "program": code("@PREFIX@/lib/pyctrigger"),
        "state": code(LINUX.state, BSD.state),
        "lock": code(LINUX.lock, BSD.lock),
    }
    suffixes = {"state": " On Linux, and on FreeBSD.", "lock": " On Linux, and on FreeBSD."}
    return Items(tuple(Item(term, (*said[name], Span(suffixes.get(name, "")))) for name, term in places.items()))


def place_table(prose: Prose) -> Entries:
    """Where things live, everywhere."""
    said, theirs = _said(prose), prose.terms("Everybody but root")
    prefixes = {platform.name: platform.application for platform in PLATFORMS.values()}
    rows = {
        "configuration": (LINUX.configuration, BSD.configuration),
        "state": (LINUX.state, BSD.state),
        "lock": (LINUX.lock, BSD.lock),
        "program": (prefixes["deb"], prefixes["freebsd"]),
    }
    entries = (
        Entry(text(name), said[name], (code(linux), code(bsd), theirs.get(name, text("the same"))))
        for name, (linux, bsd) in rows.items()
    )
    return Entries("what", ("root", "root on FreeBSD", "everybody else"), tuple(entries))


def _said(prose: Prose) -> dict[str, Spans]:
    found = {item.term[0].text: item.body for block in prose.blocks if isinstance(block, Items) for item in block.items}
    if set(found) != set(_PLACES):
        raise ProseError(f"{prose.path} tells of {', '.join(sorted(found))}; tell of {', '.join(_PLACES)}")
    return found
