"""Reads the line that starts a hook, without argparse: importing it and making a parser takes a fifth of the start.

What is plain in such a line, as all of it is in each template of `hooks/`, is read here, by the table that the parser
is made of. Any other line is left to the parser, which decides what it means and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from ..run.scope.settings import BOOLEAN, HOW_OFTEN, Setting
from ..typed import Any
from .commands import find_verb
from .options import default_of, options_of, own_defaults


def read_hook_line(arguments: Sequence[str]) -> SimpleNamespace | None:
    """Returns the options that a hook's line means, as the parser would; None for a line that isn't plain."""
    name, *words = arguments or [""]
    if name != "run" or "--hook" not in words:
        return None
    verb = find_verb(name)
    settings = [setting for _, setting in options_of(name, verb)]
    try:
        given = _read_words(words, {flag: setting for setting in settings for flag in setting.names})
    except ValueError:
        return None
    defaults = {setting.name: default_of(setting) for setting in settings}
    return SimpleNamespace(**{"verb": name, **defaults, **own_defaults(verb, settings), **given})


def _read_words(words: list[str], known: dict[str, Setting]) -> dict[str, Any]:
    """Returns the values of options, and then of PATHs. Raises ValueError for what isn't plain."""
    given: dict[str, Any] = {}
    left = words[::-1]
    while left and left[-1].startswith("-") and left[-1] != "--":
        flag, has_value, value = left.pop().partition("=")
        setting = known.get(flag)
        if setting is None or setting.kind is HOW_OFTEN or (setting.name in given and not setting.kind.is_list):
            raise ValueError(flag)
        if setting.kind is BOOLEAN:
            if has_value:
                raise ValueError(flag)
            given[setting.name] = True
            continue
        if not has_value:
            value = left.pop() if left else ""
        if not value or (value.startswith("-") and value != "-"):
            raise ValueError(flag)
        if setting.kind.is_list:
            given.setdefault(setting.name, []).append(value)
        else:
            given[setting.name] = setting.kind.read(value)
    paths = left[::-1]
    if paths[:1] == ["--"]:
        del paths[0]
    if any(path.startswith("-") for path in paths):
        raise ValueError("a PATH that could be an option")
    return {**given, "paths": paths}
