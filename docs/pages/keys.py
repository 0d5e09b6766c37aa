"""Parts of pages from the settings and the places: the configuration's keys, and where things live."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from builder.platforms import PLATFORMS
from pyctrigger.run.scope import settings as schema
from pyctrigger.run.scope.config import Settings
from pyctrigger.state.locations import BSD, LINUX

from .prose import ProseError, code, definition

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from .prose import Prose

#: Values, in the words for what a key takes.
_VALUES = re.compile(r'\[[^]]*\]|"[^"]*"|\b(?:true|false)\b')


def configuration_tables(options: Container[str]) -> dict[str, str]:
    """Returns the keys of each table; `options` are those of the command line."""
    settings = Settings()
    defaults = {name: getattr(settings, name) for name in schema.DEFAULTS}
    store = {name: getattr(settings, key.name) for name, key in schema.STORE.items()}
    hooks = {name: getattr(settings, key.name) for name, key in schema.HOOKS.items()}
    return {
        "[defaults]": _items(schema.DEFAULTS, defaults, options),
        "[store]": _items(schema.STORE, store, ()),
        "[hooks]": _items(schema.HOOKS, hooks, ()),
        '[flavours."3.11"]': _items(schema.FLAVOUR, {}, ()),
    }


def _items(table: Mapping[str, schema.Setting], defaults: Mapping[str, Any], options: Container[str]) -> str:
    items = []
    for name, key in table.items():
        if not key.meaning.endswith("."):
            raise ProseError(f"{name} has no meaning in whole sentences; write them in run/scope/settings.py")
        option = f"--{name.replace('_', '-')}"
        facts = (
            f"Takes {_VALUES.sub(lambda match: code(match[0]), key.kind.write)}.",
            f"Default: `{_as_toml(defaults[name], key.kind)}`." if name in defaults else "",
            f"Option: `{option}`." if option in options else "",
            "Per flavour, too." if table is schema.DEFAULTS and name in schema.FLAVOUR else "",
        )
        items.append(definition(code(name), key.meaning, *facts))
    return "\n".join(items)


def _as_toml(value: Any, kind: schema.ValueKind) -> str:
    if kind is schema.SIZES:
        return f'"{value >> 30}GiB"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, Enum):
        value = value.value
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def policies() -> str:
    """Returns what the packages' own configuration says instead of the defaults."""
    each = [f"{platform.system} `optimize = {list(platform.levels)}`" for platform in PLATFORMS.values()]
    return f"The packages bring the levels that their system's own packages have: {'; '.join(each)}."


def place_text(prose: Prose) -> str:
    """Returns what lives where, of each system and account. Raises ProseError."""
    told, elsewhere = prose.terms(), prose.terms("Everybody but root")
    applications = {platform.name: platform.application for platform in PLATFORMS.values()}
    places = {
        "configuration": (LINUX.configuration, BSD.configuration),
        "state": (LINUX.state, BSD.state),
        "lock": (LINUX.lock, BSD.lock),
        "cache": (LINUX.cache, BSD.cache),
        "program": (applications["deb"], applications["freebsd"]),
    }
    if set(told) != set(places):
        raise ProseError(f"{prose.path} tells of {', '.join(sorted(told))}; tell of {', '.join(places)}")
    items = [
        definition(
            code(name),
            told[name],
            f"Root's: `{linux}`; on FreeBSD `{bsd}`.",
            f"Everybody else's: {elsewhere[name]}." if name in elsewhere else "",
        )
        for name, (linux, bsd) in places.items()
    ]
    others = [f"## {title}\n\n{text}" for title, text in prose.sections.items() if title != "Everybody but root"]
    return "\n\n".join(["\n".join(items), prose.without_terms(), *others])
