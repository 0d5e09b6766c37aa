"""A hook: the small file, made from a template, with which a package manager calls pyctrigger for one flavour.

A template holds no logic, and words such as `@VERSION@`. Each manager says what its own words mean; what would need
a quoting that the file's language doesn't have is refused.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DefectError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Bytes of a template.
_LARGEST = 1 << 20
_WORD = re.compile(r"@[A-Z_]+@")
#: What may stand between two quotation marks in all of these languages, and mean itself.
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\"\\\ud800-\udfff]+\Z")


class Subject(NamedTuple):
    """What a hook is for, and what it calls."""

    flavour: str
    """The short name: py311, py313t, pypy311."""
    version: str
    """As `--python` takes it: 3.11, 3.13t, pypy3.11."""
    library: str
    """The name of its library's directory: python3.11, python3.13t, pypy3.11."""
    cache_tag: str
    """Of its pycs: cpython-311, pypy311 (PEP 3147)."""
    program: tuple[str, ...]
    """How pyctrigger is started, by absolute paths."""
    site_directories: tuple[str, ...] = ()
    """Instead of the manager's own."""
    path: str = ""
    """Of the interpreter, where not any of the version will do."""
    libraries: tuple[str, ...] = ()
    """Its standard library's directories, where they aren't those of the manager's Pythons."""
    digest: str = ""
    """What tells its hook from that of the first interpreter of its version."""

    @property
    def name(self) -> str:
        """What a hook's file is called after: no two interpreters have one in common."""
        return f"{self.flavour}-{self.digest}" if self.digest else self.flavour

    @property
    def served(self) -> str:
        """For which Python it is: the flavour, or the path of another interpreter than the first of its version."""
        return self.path if self.digest else self.flavour

    @property
    def python(self) -> str:
        """As `--python` is to be told."""
        return self.path or self.version


class HookFile(NamedTuple):
    """A rendered hook, and where the manager looks for it."""

    path: str
    """Absolute, as seen inside the root."""
    text: str
    mode: int = 0o644


class HookPlaces(NamedTuple):
    """Where a manager looks for hooks, and which of the files there it takes for one."""

    directories: tuple[str, ...]
    """Best first: what stands there under a name takes the place of what a later one has."""
    pattern: re.Pattern[str]
    is_program: bool = False
    """Whether a file counts only if it can be executed."""


def render(template: str, words: Mapping[str, str]) -> str:
    """The template `hooks/<template>` with each word replaced by what it means. Raises DefectError, UsageError."""
    text = _read(template)
    unknown = sorted({word for word in _WORD.findall(text) if word.strip("@") not in words})
    if unknown:
        raise DefectError(
            f"the template hooks/{template} has words that nothing stands for: {', '.join(unknown)}",
            mend="install pyctrigger again",
        )
    return _WORD.sub(lambda word: words[word.group().strip("@")], text)


def _read(template: str) -> str:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # An installed pyctrigger has the templates beside its modules, a checkout at its top.
    for directory in (os.path.join(package, "hooks"), os.path.join(package, "..", "..", "hooks")):
        path = os.path.join(directory, *template.split("/"))
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read(_LARGEST)
    raise DefectError(f"the template hooks/{template} is missing", mend="install pyctrigger again")


def shell(words: Sequence[str]) -> str:
    """A command for sh(1)."""
    return " ".join(shlex.quote(word) for word in words)


def quoted(text: str, *, forbidden: str = "") -> str:
    """A text between quotation marks, for Lua, UCL, apt.conf(5) and alpm. Raises UsageError for what has none there.

    `forbidden` are more characters that would mean something else to the reader of the file.
    """
    if not _PLAIN.match(text) or any(character in text for character in forbidden):
        raise UsageError(f"{text!r} can't stand in this manager's hooks", mend="use a path without special characters")
    return f'"{text}"'
