"""The child that reads a stranger's package database: started, given a time, and not believed before it is checked."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Collection, Iterator
from typing import BinaryIO

from ....interpreter.child import start_own
from ....interpreter.worker_accounts import lease
from ....state.locations import lock_directory
from .confined import ANSWER, END, FOUND, QUESTION, TEXT, TROUBLE
from .patience import Patience

#: What an answer may have: bytes, paths, and the bytes of a path and of a package's name.
_MOST_BYTES = 48 << 20
_MOST_PATHS = 400_000
_LONGEST_PATH = 4096
_LONGEST_PACKAGE = 512
_PIECE = 1 << 16


class ReaderError(Exception):
    """The child gives no answer, or none that can be believed; the text says why."""


def ask_reader(
    manager: str, paths: Collection[bytes] | None, texts: BinaryIO, place: str, patience: Patience
) -> list[tuple[bytes, bytes]]:
    """The pycs that packages own, or the owners of `paths`, by what was copied. Raises ReaderError and OSError."""
    if paths is not None:
        question = b"\0".join(paths)
        texts.write(TEXT.pack(len(QUESTION), len(question)) + QUESTION + question)
    texts.flush()
    seconds = patience.left
    if not seconds:
        raise ReaderError("it takes too long")
    lent = lease(lock_directory())
    account = 0 if lent is None else lent.account.uid
    try:
        with start_own(
            "pyctrigger.run.scope.foreign.confined",
            (manager, seconds, account, place),
            stdin=texts,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            assert child.stdout is not None
            try:
                patience.follow(child.pid)
                answer = _read(child.stdout.fileno(), patience)
            finally:
                with contextlib.suppress(OSError):
                    child.kill()
    finally:
        if lent is not None:
            lent.end()
    return list(_checked(answer, paths))


def _read(stream: int, patience: Patience) -> bytes:
    """All that it says. Raises ReaderError where that is too much, or takes too long."""
    os.set_blocking(stream, False)
    answer = bytearray()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while True:
        left = patience.left
        if not left:
            raise ReaderError("it takes too long")
        if not poll.poll(left * 1000 + 1):
            continue
        try:
            piece = os.read(stream, _PIECE)
        except BlockingIOError:
            continue
        if not piece:
            return bytes(answer)
        answer += piece
        if len(answer) > _MOST_BYTES:
            raise ReaderError("it says too much")


def _checked(answer: bytes, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, bytes]]:
    """What was found. Raises ReaderError for what no honest reader says."""
    offset = count = 0
    while offset + ANSWER.size <= len(answer):
        kind, first, second = ANSWER.unpack_from(answer, offset)
        offset += ANSWER.size
        path, package = answer[offset : offset + first], answer[offset + first : offset + first + second]
        offset += first + second
        if offset > len(answer):
            break
        if kind == END:
            return
        if kind == TROUBLE:
            raise ReaderError(_printable(path))
        count += 1
        if kind != FOUND or count > _MOST_PATHS or not _is_sound(path, package, paths):
            raise ReaderError("its reader gives no sound answer")
        yield path, package
    raise ReaderError("its reader ended before it had answered")


def _is_sound(path: bytes, package: bytes, paths: Collection[bytes] | None) -> bool:
    if not path.startswith(b"/") or b"\0" in path or len(path) > _LONGEST_PATH:
        return False
    if paths is None:
        return path.endswith(b".pyc") and not package
    return path in paths and len(package) <= _LONGEST_PACKAGE and b"\0" not in package


def _printable(text: bytes) -> str:
    decoded = text[:300].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in decoded)
