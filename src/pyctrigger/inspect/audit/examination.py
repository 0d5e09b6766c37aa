"""What the process that reads archives does: examine one after the other, without rights, and write nothing.

It starts with the rights of the command, takes in what it needs, and then gives them up: as root for an account that is
its own. What it reads comes as open descriptors, and each answer is a value, whatever the archive is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import stat
import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, BinaryIO, cast

from ...interpreter.remote.powerless import become, bound, die_with_host
from ...interpreter.servant import READY
from ...pyc.source_hash import source_hash
from ...zstd import zstd_module
from .budget import MOST_MAGIC_NUMBERS, MOST_TAGS, ArchiveError, ArchiveLimits, Budget
from .contents import FILE, ArchiveFinding, Contents, normal
from .formats import open_archive
from .judgement import KINDS, Doubt, TargetFacts, Verdicts, judge
from .streams import RangedFile

#: Bytes that are asked for at once of what lies elsewhere.
_RANGE = 1 << 16
#: Characters in the names of all findings that are listed.
_MOST_TEXT = 1 << 20
#: The reader itself: nothing that it does needs another.
_MOST_PROCESSES = 1
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
    target = None if compared is None else TargetFacts(*compared)
    bound(_MOST_PROCESSES if uid >= 0 else 0, limits.memory)
    if uid >= 0:
        become(uid, uid)
    channel.sendall(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        answer = json.dumps(examine(descriptors[0], limits, target)).encode("ascii")
        channel.sendall(len(answer).to_bytes(4, "little") + answer)


def examine(descriptor: int, limits: ArchiveLimits, target: TargetFacts | None) -> dict[str, Any]:
    """Examine the archive behind a descriptor, and close that. Everything in the answer can be told in JSON."""
    answer: dict[str, Any] = {"format": None, "failure": None}
    try:
        with _opened(descriptor) as file:
            _examine(file, limits, target, answer)
    except ArchiveError as error:
        answer["failure"] = _failure(error)
    except Exception as error:  # noqa: BLE001 - one archive must not end the work on all others
        answer["failure"] = _failure(_translated(error) or _defect(error))
    return answer


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[BinaryIO]:
    """A file, or what lies elsewhere and is asked for through a socket. Trouble of the latter is no damage."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        with open(descriptor, "rb") as file:
            yield file
        return
    elsewhere = RangedFile(descriptor)
    with io.BufferedReader(elsewhere, _RANGE) as file:
        try:
            yield cast("BinaryIO", file)
        except Exception as error:
            if elsewhere.trouble:
                raise ArchiveError("io", elsewhere.trouble) from error
            raise


def _examine(file: BinaryIO, limits: ArchiveLimits, target: TargetFacts | None, answer: dict[str, Any]) -> None:
    size = file.seek(0, os.SEEK_END)
    contents = Contents()
    archive = open_archive(file, size, Budget(limits, size))
    try:
        for member in archive.members():
            contents.take(member)
    finally:
        # What was seen until then is said as well: a damaged archive that holds bytecode is both.
        contents.finish()
        verdicts = judge(contents, target)
        answer["format"] = archive.format
        _report(answer, contents, verdicts, limits)
    if verdicts.doubts:
        doubts = [(contents.linked.get(doubt.source, doubt.source), doubt) for doubt in verdicts.doubts]
        verdicts.findings += _settled(file, size, limits, doubts)
        _report(answer, contents, verdicts, limits)


def _settled(file: BinaryIO, size: int, limits: ArchiveLimits, doubts: list[tuple[str, Doubt]]) -> list[ArchiveFinding]:
    """Read the archive again for hash-based pycs: they may come before their sources, and nothing is kept in memory.

    Each doubt comes with the member that has the content of its source.
    """
    wanted: dict[str, set[bytes]] = {}
    for member_path, doubt in doubts:
        wanted.setdefault(member_path, set()).add(doubt.magic_number)
    hashes: dict[tuple[str, bytes], bytes] = {}
    archive = open_archive(file, size, Budget(limits, size))
    for member in archive.members():
        path = normal(member.name)
        if member.kind != FILE or path not in wanted:
            continue
        source = member.read(limits.source + 1)
        if len(source) > limits.source:
            raise ArchiveError("limit", f"has a source of more than {limits.source} bytes whose hash is needed")
        for magic_number in wanted[path]:
            hashes[path, magic_number] = source_hash(magic_number, source)
    return [
        ArchiveFinding("mismatched", "hash", doubt.pyc, doubt.source)
        for member_path, doubt in doubts
        if hashes.get((member_path, doubt.magic_number), doubt.recorded) != doubt.recorded
    ]


def _report(answer: dict[str, Any], contents: Contents, verdicts: Verdicts, limits: ArchiveLimits) -> None:
    findings = sorted(verdicts.findings, key=lambda finding: (finding.pyc or "", finding.kind, finding.reason))
    findings += contents.climbing(answer["format"])
    counts = dict.fromkeys(KINDS, 0)
    for finding in findings:
        counts[finding.kind] += 1
    answer["magic_numbers"] = _bounded({number.hex(): tags for number, tags in verdicts.magic_numbers.items()}, answer)
    answer["counts"] = {
        "members": contents.members,
        "sources": len(contents.sources),
        "pycs": len(contents.pycs),
        "foreign": verdicts.foreign,
        **counts,
    }
    answer["findings"] = _few(findings[: limits.findings])


def _few(findings: list[ArchiveFinding]) -> list[list[str | None]]:
    """Returns as many findings as an answer has room for."""
    sizes = accumulate(sum(len(each) for each in finding if each is not None) for finding in findings)
    return [list(finding) for finding, size in zip(findings, sizes) if size <= _MOST_TEXT]


def _bounded(numbers: dict[str, dict[str, int]], answer: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Returns as many magic numbers and cache tags as an answer may have; more are reported as a failure."""
    if len(numbers) > MOST_MAGIC_NUMBERS or any(len(tags) > MOST_TAGS for tags in numbers.values()):
        answer["failure"] = _failure(ArchiveError("limit", "has bytecode of too many magic numbers or cache tags"))
    few = sorted(numbers.items())[:MOST_MAGIC_NUMBERS]
    return {number: dict(sorted(tags.items())[:MOST_TAGS]) for number, tags in few}


def _failure(error: ArchiveError) -> dict[str, str]:
    failure = {"kind": error.kind, "message": error.message}
    if error.hint:
        failure["mend"] = error.hint
    return failure


def _defect(error: Exception) -> ArchiveError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return ArchiveError("defect", f"a defect of pyctrigger's own: {type(error).__name__}{where}")


def _translated(error: Exception) -> ArchiveError | None:
    """Returns what an error of a format's library means, or None if bad input doesn't raise it: a defect of ours."""
    import lzma
    import tarfile
    import zipfile

    if isinstance(error, MemoryError):
        return ArchiveError("memory", "needs more memory than one archive may use")
    if isinstance(error, OSError) and error.errno is not None:
        return ArchiveError("io", error.strerror or str(error))
    if isinstance(error, EOFError):
        return ArchiveError("damaged", "ends too early")
    if isinstance(error, NotImplementedError):
        return ArchiveError("unsupported", f"has a member that this Python can't read: {_words(error)}")
    zstd = zstd_module()
    damaged: tuple[type[Exception], ...] = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError)
    # tarfile and zipfile let through what int(), struct and decode() raise on their fields.
    damaged += (ValueError, IndexError, KeyError, OverflowError, RuntimeError, struct.error)
    if zstd is not None:
        damaged += (zstd.ZstdError,)
    if isinstance(error, damaged):
        return ArchiveError("damaged", f"can't be read: {_words(error)}")
    return None


def _words(error: Exception) -> str:
    """Returns an error's text, short and on one line: it may quote the archive."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
