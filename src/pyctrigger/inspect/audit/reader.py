"""What the process that reads archives does: one archive after the other, without rights, and nothing written.

It starts with the rights of the command, takes in what it needs, and then gives them up: as root for an account that is
its own. What it reads comes as open descriptors.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any

from ...interpreter.remote.powerless import become, bound, die_with_host
from ...pyc import source_hash  # noqa: F401 - read while it may be
from .examination import examine
from .judgement import TargetFacts
from .limits import ArchiveLimits
from .streams import zstd_module

#: The reader itself: nothing that it does needs another.
_MOST_PROCESSES = 1
_READY = b"pyctrigger-reader-1\n"
#: All that is imported late by what is used here: whoever has no rights may not be able to read it any more.
_PRELOADED = ("bz2", "gzip", "lzma", "tarfile", "zipfile", "zlib", "encodings.cp437", "_imp", "resource")


def serve(channel_number: int, life: int, uid: int, limited: list[Any], compared: list[Any] | None) -> None:
    """Answer until the other side has gone, with the account `uid`; -1: with that of the command."""
    import importlib

    die_with_host(life)
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):  # what needs it will say so
            importlib.import_module(name)
    zstd_module()
    channel = socket.socket(fileno=channel_number)
    limits = ArchiveLimits(*limited)
    target = _judge(compared)
    bound(_MOST_PROCESSES if uid >= 0 else 0, limits.memory)
    if uid >= 0:
        become(uid, uid)
    channel.sendall(_READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        answer = json.dumps(_examined(descriptors[0], limits, target)).encode("ascii")
        channel.sendall(len(answer).to_bytes(4, "little") + answer)


def _examined(descriptor: int, limits: ArchiveLimits, target: TargetFacts | None) -> dict[str, Any]:
    try:
        return examine(descriptor, limits, target)
    except Exception as error:  # noqa: BLE001 - one archive must not end the work on all others
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
        message = f"a defect of pyctrigger's own: {type(error).__name__}{where}"
        return {"format": None, "failure": {"kind": "defect", "message": message}}


def _judge(fields: list[Any] | None) -> TargetFacts | None:
    if fields is None:
        return None
    magic_number, cache_tag, implementation, (major, minor), library = fields
    return TargetFacts(bytes.fromhex(magic_number), cache_tag, implementation, (major, minor), library)
