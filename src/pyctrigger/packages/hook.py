"""Hooks: small files, rendered from templates, by which a package manager calls pyctrigger for one flavour.

A template has no logic, only placeholders such as `@VERSION@`, whose values each manager supplies. A value that can't
be quoted in the file's language is refused.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import DefectError, UsageError

#: Bytes. The largest template.
_LARGEST = 1 << 20
_WORD = re.compile(r"@[A-Z_]+@")
#: Text that means itself between quotation marks in all of these languages.
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\"\\\ud800-\udfff]+\Z")


class Subject(NamedTuple):
    """The interpreter that a hook is for, and the command that it calls."""

    flavour: str
    """The short name: py311, py313t, pypy311."""
    version: str
    """The version as `--python` takes it: 3.11, 3.13t, pypy3.11."""
    library: str
    """Name of its library directory: python3.11, python3.13t, pypy3.11."""
    cache_tag: str
    """The cache tag of its pycs: cpython-311, pypy311 (PEP 3147)."""
    program: tuple[str, ...]
    """The command that starts pyctrigger, with absolute paths."""
    site_directories: tuple[str, ...] = ()
    """Site directories to use instead of the manager's own."""
    path: str = ""
    """Path of the interpreter, if it has to be this one and not any of the version."""
    libraries: tuple[str, ...] = ()
    """Directories of its standard library, if they aren't those of the manager's Pythons."""
    digest: str = ""
    """Part of its hook's name, if it isn't the first interpreter of its version."""

    @property
    def name(self) -> str:
        """The name in the hook's file name, different for each interpreter."""
        return f"{self.flavour}-{self.digest}" if self.digest else self.flavour

    @property
    def served(self) -> str:
        """The flavour, or the path of an interpreter that isn't the first of its version."""
        return self.path if self.digest else self.flavour

    @property
    def python(self) -> str:
        """The value for `--python`."""
        return self.path or self.version

    @property
    def shell_words(self) -> dict[str, str]:
        """Command and `--python`, quoted for sh(1), by the names that templates have for them."""
        return {"PROGRAM": shlex.join(self.program), "PYTHON": shlex.quote(self.python)}


class HookFile(NamedTuple):
    """A rendered hook, and the path where the manager looks for it."""

    path: str
    """Absolute, as seen inside the root."""
    text: str
    mode: int = 0o644


class HookPlaces(NamedTuple):
    """Where a manager looks for hooks, and which files there it reads."""

    directories: tuple[str, ...]
    """A file in an earlier directory replaces one of the same name in a later one."""
    pattern: re.Pattern[str]
    is_program: bool = False
    """Whether only executable files count."""


def render(template: str, words: Mapping[str, str]) -> str:
    """Returns the template `hooks/<template>` with its placeholders filled in. Raises DefectError and UsageError."""
    text = _read(template)
    unknown = sorted({word for word in _WORD.findall(text) if word.strip("@") not in words})
    if unknown:
        raise DefectError(
            f"the template hooks/{template} has unknown placeholders: {', '.join(unknown)}",
            hint="install pyctrigger again",
        )
    return _WORD.sub(lambda word: words[word.group().strip("@")], text)


def _read(template: str) -> str:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # An installed pyctrigger has the templates next to its modules, a checkout at its top.
    for directory in (os.path.join(package, "hooks"), os.path.join(package, "..", "..", "hooks")):
        path = os.path.join(directory, template)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read(_LARGEST)
    raise DefectError(f"the template hooks/{template} is missing", hint="install pyctrigger again")


def quoted(text: str, *, forbidden: str = "") -> str:
    """Returns a text in quotation marks, for Lua, UCL, apt.conf(5) and alpm. Raises UsageError if it can't be quoted.

    `forbidden` are more characters that would have a special meaning in the file.
    """
    if not _PLAIN.match(text) or any(character in text for character in forbidden):
        raise UsageError(f"{text!r} can't be used in its hooks", hint="use a path without special characters")
    return f'"{text}"'
