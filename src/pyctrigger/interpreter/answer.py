"""An interpreter's answer, checked as a stranger's: every value's type, length and alphabet, before any is used.

The names in it become names of files and directories that root opens, and what the messages of root say.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InterpreterError, RefusedError
from .interpreter import Interpreter

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK = b"\npyctrigger-probe:"
_OLDEST = (3, 6, 0)
_MOST_SCHEMES = 64
_MOST_PATHS = 64
_LONGEST_PATH = 4096
#: A cache tag is a part of a file's name, and a dot would end it there (PEP 3147, PEP 488).
_TAG = re.compile(r"[A-Za-z0-9_+-]{1,64}\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z", re.ASCII)
_RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{1,64}\Z", re.ASCII)
_FLAGS = re.compile(r"[a-z]{0,8}\Z", re.ASCII)
_MAGIC = re.compile(r"[0-9a-f]{4}0d0a\Z", re.ASCII)
_KEYS = frozenset({"purelib", "platlib", "stdlib", "platstdlib"})
#: Below which an answer says where packages lie in an environment.
_PLACEHOLDER = "/@/"


class Answer(NamedTuple):
    """What an interpreter said."""

    interpreter: Interpreter
    witnesses: tuple[str, ...]
    """The files that it says it has loaded."""


def is_complete(said: bytes | bytearray) -> bool:
    """Whether the line that is waited for is there, to its end."""
    return b"\n" in said.partition(_MARK)[2]


def parse_answer(executable: str, said: bytes) -> Answer:
    """The answer of `executable`. Raises InterpreterError for one that no Python gives."""
    try:
        answer = json.loads(said.partition(_MARK)[2].partition(b"\n")[0])
    except (ValueError, RecursionError) as error:
        raise InterpreterError(f"{executable} gave no readable answer") from error
    if not isinstance(answer, dict):
        raise InterpreterError(f"{executable} gave no readable answer")
    _require_usable(executable, answer)
    try:
        return Answer(_interpreter(executable, answer), _paths(answer["witnesses"]))
    except KeyError as error:
        raise InterpreterError(f"{executable} gave no complete answer: it lacks {error}") from error
    except ValueError as error:
        raise InterpreterError(f"{executable} gave an answer that no Python gives: {error}") from error


def require_modest(interpreter: Interpreter) -> None:
    """Raise RefusedError where another account's interpreter claims directories that aren't its own to name."""
    account = interpreter.account
    homes = [interpreter.prefix, *([interpreter.environment] if interpreter.environment else [])]
    for path in (path for paths in interpreter.schemes.values() for path in paths.values()):
        if account is not None and not _lies_below(path, homes) and _owner(path) not in (None, account.uid):
            raise RefusedError(
                f"{interpreter.executable} belongs to account {account.uid}, and says that {path} is its own",
                mend="name an interpreter that root owns",
            )


def _lies_below(path: str, homes: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{home.rstrip('/')}/") for home in homes)


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _require_usable(executable: str, answer: dict[str, Any]) -> None:
    """Raise InterpreterError for what may be a Python, and can be no target."""
    version: Any = answer.get("version")
    if _is_version(version) and tuple(version) < _OLDEST:
        raise InterpreterError(f"{executable} is Python {'.'.join(map(str, version))}; 3.6 is the oldest target")
    if "cache_tag" in answer and not answer["cache_tag"]:
        # gh-144278: such a build writes no bytecode at all, and cache_from_source raises.
        raise InterpreterError(
            f"{executable} has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode"
        )


def _interpreter(executable: str, answer: dict[str, Any]) -> Interpreter:
    """Raises KeyError and ValueError."""
    return Interpreter(
        executable=executable,
        implementation=_text(answer, "implementation", _NAME),
        version=_version(answer["version"]),
        release=_text(answer, "release", _RELEASE),
        cache_tag=_text(answer, "cache_tag", _TAG),
        magic_number=bytes.fromhex(_text(answer, "magic_number", _MAGIC)),
        abi_flags=_text(answer, "abi_flags", _FLAGS),
        free_threaded=_truth(answer["free_threaded"]),
        prefix=_path(answer["prefix"]),
        schemes=_schemes(answer["schemes"]),
        default_scheme=_text(answer, "default_scheme", _NAME),
        inside=_inside(answer["inside"]),
    )


def _text(answer: dict[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = answer[key]
    if not isinstance(value, str) or not form.match(value):
        raise ValueError(f"{key} is {_shown(value)}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"free_threaded is {_shown(value)}")
    return value


def _is_version(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each < 1000 for each in value)


def _version(value: Any) -> tuple[int, int, int]:
    if not _is_version(value) or value[0] != 3:
        raise ValueError(f"version is {_shown(value)}")
    return value[0], value[1], value[2]


def _path(value: Any) -> str:
    """An absolute path that says where it leads by itself."""
    if not isinstance(value, str) or not value.startswith("/") or len(value) > _LONGEST_PATH or "\0" in value:
        raise ValueError(f"no absolute path: {_shown(value)}")
    if ".." in value.split("/"):
        raise ValueError(f"no plain path: {_shown(value)}")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError(f"no file's name: {_shown(value)}") from None
    return value


def _paths(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_PATHS:
        raise ValueError(f"no list of paths: {_shown(value)}")
    return tuple(map(_path, value))


def _inside(value: Any) -> tuple[str, ...]:
    paths = _paths(value)
    for path in paths:
        if not path.startswith(_PLACEHOLDER):
            raise ValueError(f"no path in an environment: {_shown(path)}")
    return paths


def _schemes(value: Any) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict) or len(value) > _MOST_SCHEMES:
        raise ValueError(f"no schemes: {_shown(value)}")
    schemes = {}
    for name, paths in value.items():
        if not _NAME.match(name) or not isinstance(paths, dict) or not _KEYS.issuperset(paths):
            raise ValueError(f"no scheme: {_shown(name)}")
        schemes[name] = {key: _path(path) for key, path in paths.items()}
    return schemes


def _shown(value: Any) -> str:
    return ascii(value)[:100]
