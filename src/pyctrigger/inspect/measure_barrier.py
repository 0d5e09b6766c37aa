"""A barrier around what is measured: it may write into a private directory, and nowhere else on the file system.

What runs is other people's code, and some of it writes beside its sources whatever Python is told (Numba's caches do).
Landlock keeps any account, root included, from creating, changing and removing files (landlock(7), Linux 5.13); it
doesn't keep root from changing modes and owners.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Sequence

_Result = TypeVar("_Result")

#: From <linux/landlock.h> and <linux/prctl.h>; the numbers of the calls are the same on every architecture but Alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
#: WRITE_FILE, REMOVE_DIR and REMOVE_FILE, and the seven MAKE_… rights.
_CHANGES = 1 << 1 | 1 << 4 | 1 << 5 | 0b1111111 << 6
_REFER = 1 << 13
"""Renaming from one directory to another; since the second version."""
_TRUNCATE = 1 << 14
"""Since the third."""
#: What a rule needs of a directory; PyPy's os doesn't name it.
_PATH = getattr(os, "O_PATH", os.O_RDONLY)
#: Terminals, /dev/null and shared memory: nothing of an installation's.
_ALWAYS_WRITABLE = "/dev"


@lru_cache(maxsize=1)
def has_barrier() -> bool:
    """Whether this system can keep a process from writing."""
    return sys.platform.startswith("linux") and _version(_library()) > 0


def behind_barrier(writable: Sequence[str], start: Callable[[], _Result], end: Callable[[_Result], None]) -> _Result:
    """What `start` returns or raises; the child that it starts can change nothing outside of `writable`.

    What a thread gives up its children inherit, and it ends with the start: the caller keeps all rights. Without a
    barrier it just starts. `end` is for a child that nobody waits for any more, since a signal came in between.
    """
    if not has_barrier():
        return start()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _restrict([*writable, _ALWAYS_WRITABLE])
            results.append(start())
        except BaseException as error:  # noqa: BLE001 - the caller's to see
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        thread.join()
    except BaseException:
        thread.join()
        for result in results:
            end(result)
        raise
    if errors:
        raise errors[0]
    return results[0]


def _library() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _version(library: ctypes.CDLL) -> int:
    return _call(library, _CREATE_RULESET, None, 0, _VERSION)


def _call(library: ctypes.CDLL, number: int, *arguments: object) -> int:
    import ctypes

    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = library.syscall(ctypes.c_long(number), *converted)
    return result


def _restrict(writable: Sequence[str]) -> None:
    """For this thread and its children. Raises OSError."""
    library = _library()
    version = _version(library)
    rights = _CHANGES | (_REFER if version > 1 else 0) | (_TRUNCATE if version > 2 else 0)
    attribute = struct.pack("=Q", rights)
    ruleset = _require(_call(library, _CREATE_RULESET, attribute, len(attribute), 0))
    try:
        for path in writable:
            directory = os.open(path, _PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", rights, directory)
                _require(_call(library, _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
            finally:
                os.close(directory)
        _require(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _require(_call(library, _RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _require(result: int) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, f"no barrier could be put up: {os.strerror(number)}")
    return result
