"""Parsing of an interpreter's answer: type, length and alphabet of all values are checked before any is used.

The answer isn't trusted, since names in it become names of files and directories that root opens, and parts of
messages.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import InterpreterError, RefusedError
from .interpreter import Interpreter

_MARK = b"\npyctrigger-probe:"
_OLDEST = (3, 6, 0)
_MAX_SCHEMES = 64
_MAX_PATHS = 64
_MAX_PATH_LENGTH = 4096
#: A cache tag is part of a file name, where a dot would end it (PEP 3147, PEP 488).
_TAG = re.compile(r"[A-Za-z0-9_+-]{1,64}\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z", re.ASCII)
_RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{1,64}\Z", re.ASCII)
_FLAGS = re.compile(r"[a-z]{0,8}\Z", re.ASCII)
_MAGIC = re.compile(r"[0-9a-f]{4}0d0a\Z", re.ASCII)
_KEYS = frozenset({"purelib", "platlib", "stdlib", "platstdlib"})
#: Stands for an environment's prefix in the answer.
_PLACEHOLDER = "/@/"


class Answer(NamedTuple):
    """The answer of an interpreter."""

    interpreter: Interpreter
    witnesses: tuple[str, ...]
    """Files that it has loaded, according to itself."""


def is_complete(said: bytes | bytearray) -> bool:
    """Whether the answer's line has arrived completely."""
    return b"\n" in said.partition(_MARK)[2]


def parse_answer(executable: str, said: bytes) -> Answer:
    """Returns the parsed answer of `executable`. Raises InterpreterError for an answer that no Python gives."""
    try:
        answer = json.loads(said.partition(_MARK)[2].partition(b"\n")[0])
    except (ValueError, RecursionError) as error:
        raise InterpreterError(f"{executable} gave an unreadable answer") from error
    if not isinstance(answer, dict):
        raise InterpreterError(f"{executable} gave an unreadable answer")
    _require_usable(executable, answer)
    try:
        return Answer(_build_interpreter(executable, answer), _parse_paths(answer["witnesses"]))
    except KeyError as error:
        raise InterpreterError(f"{executable} gave an incomplete answer: it lacks {error}") from error
    except ValueError as error:
        raise InterpreterError(f"{executable} gave an answer that no Python gives: {error}") from error


def require_modest(interpreter: Interpreter) -> None:
    """Raise RefusedError if another account's interpreter claims directories that the account doesn't own."""
    account = interpreter.account
    homes = [interpreter.prefix, *([interpreter.environment] if interpreter.environment else [])]
    for path in (path for paths in interpreter.schemes.values() for path in paths.values()):
        if account is not None and not _lies_below(path, homes) and _owner_of(path) not in (None, account.uid):
            raise RefusedError(
                f"{interpreter.executable} belongs to account {account.uid}, but claims {path}",
                hint="name an interpreter that root owns",
            )


def _lies_below(path: str, homes: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{home.rstrip('/')}/") for home in homes)


def _owner_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _require_usable(executable: str, answer: dict[str, Any]) -> None:
    """Raise InterpreterError for a Python that can't be a target."""
    version: Any = answer.get("version")
    if _is_version(version) and tuple(version) < _OLDEST:
        raise InterpreterError(f"{executable} is Python {'.'.join(map(str, version))}; 3.6 is the oldest target")
    if "cache_tag" in answer and not answer["cache_tag"]:
        # gh-144278: such a build doesn't write bytecode, and cache_from_source raises.
        raise InterpreterError(
            f"{executable} has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode"
        )


def _build_interpreter(executable: str, answer: dict[str, Any]) -> Interpreter:
    """Returns the interpreter that an answer describes. Raises KeyError and ValueError."""
    return Interpreter(
        executable=executable,
        implementation=_parse_text(answer, "implementation", _NAME),
        version=_parse_version(answer["version"]),
        release=_parse_text(answer, "release", _RELEASE),
        cache_tag=_parse_text(answer, "cache_tag", _TAG),
        magic_number=bytes.fromhex(_parse_text(answer, "magic_number", _MAGIC)),
        abi_flags=_parse_text(answer, "abi_flags", _FLAGS),
        free_threaded=_parse_bool(answer["free_threaded"]),
        prefix=_parse_path(answer["prefix"]),
        schemes=_parse_schemes(answer["schemes"]),
        default_scheme=_parse_text(answer, "default_scheme", _NAME),
        inside=_parse_inside(answer["inside"]),
    )


def _parse_text(answer: dict[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = answer[key]
    if not isinstance(value, str) or not form.match(value):
        raise ValueError(f"{key} is {_excerpt(value)}")
    return value


def _parse_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"free_threaded is {_excerpt(value)}")
    return value


def _is_version(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each < 1000 for each in value)


def _parse_version(value: Any) -> tuple[int, int, int]:
    if not _is_version(value) or value[0] != 3:
        raise ValueError(f"version is {_excerpt(value)}")
    return value[0], value[1], value[2]


def _parse_path(value: Any) -> str:
    """Returns an absolute path without "..". Raises ValueError for any other value."""
    if not isinstance(value, str) or not value.startswith("/") or len(value) > _MAX_PATH_LENGTH or "\0" in value:
        raise ValueError(f"not an absolute path: {_excerpt(value)}")
    if ".." in value.split("/"):
        raise ValueError(f"not a normalized path: {_excerpt(value)}")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError(f"not a file name: {_excerpt(value)}") from None
    return value


def _parse_paths(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_PATHS:
        raise ValueError(f"not a list of paths: {_excerpt(value)}")
    return tuple(map(_parse_path, value))


def _parse_inside(value: Any) -> tuple[str, ...]:
    paths = _parse_paths(value)
    for path in paths:
        if not path.startswith(_PLACEHOLDER):
            raise ValueError(f"not a path in an environment: {_excerpt(path)}")
    return paths


def _parse_schemes(value: Any) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict) or len(value) > _MAX_SCHEMES:
        raise ValueError(f"not a table of schemes: {_excerpt(value)}")
    schemes = {}
    for name, paths in value.items():
        if not _NAME.match(name) or not isinstance(paths, dict) or not _KEYS.issuperset(paths):
            raise ValueError(f"not a scheme: {_excerpt(name)}")
        schemes[name] = {key: _parse_path(path) for key, path in paths.items()}
    return schemes


def _excerpt(value: Any) -> str:
    return ascii(value)[:100]
