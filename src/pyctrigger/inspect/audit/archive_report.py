"""What one archive holds: the answer of a reader, which is checked, since the archive may have taken the reader over.

What follows from the magic numbers is worked out here; of the rest each value has its type, its range and its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ...interpreter.servant import NoAnswerError
from ...outcome.outcome import path_fields
from ...outcome.report import printable
from ...pyc.magic import number_of, release_of
from .budget import (
    HAVE_BACKEND,
    HAVE_CREDENTIALS,
    HAVE_ZSTD,
    MAKE_READABLE,
    MOST_MAGIC_NUMBERS,
    MOST_TAGS,
    RAISE_SIZE,
    UNPACK_BY_HAND,
    ArchiveLimits,
)
from .judgement import KINDS, REASONS

FORMATS = frozenset({"wheel", "egg", "sdist", "zip", "conda", "deb", "rpm", "tar", "pkg", "arch", "apk"})
FAILURES = frozenset({"damaged", "limit", "unsupported", "memory", "io", "defect"})
HINTS = frozenset({HAVE_BACKEND, HAVE_CREDENTIALS, HAVE_ZSTD, MAKE_READABLE, RAISE_SIZE, UNPACK_BY_HAND})
#: What to do about a failure that has no hint of its own, by its kind.
GENERAL_HINTS = {
    "io": "check that the file or URL exists, and that this account may read it",
    "damaged": "fetch or build the archive again",
    "unsupported": "name archives of a format that audit reads, or unpack this one and pack it as a tar",
    "limit": "unpack it by hand if you trust it",
    "memory": "unpack it by hand if you trust it",
    "timeout": "raise --timeout if you trust it",
    "crash": "run it again; if that changes nothing, report it as a bug, with the archive",
    "defect": "report it as a bug, with the archive",
}
COUNTS = ("members", "sources", "pycs", "foreign", *KINDS)
_LONGEST_MESSAGE = 1000
_MAGIC = re.compile(r"[0-9a-f]{4}0d0a\Z", re.ASCII)
#: Of a name in a directory (NAME_MAX).
_LONGEST_TAG = 255


def parse_answer(said: bytes, limits: ArchiveLimits, failures: frozenset[str] = FAILURES) -> dict[str, Any]:
    """Returns the answer in a frame, once it is checked; its failure is of one of these kinds. Raises NoAnswerError."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{type(error).__name__}") from error
    _require(isinstance(answer, dict) and set(answer) <= {"format", "failure", "magic_numbers", "counts", "findings"})
    checked = {"format": answer.get("format"), "failure": _failure(answer.get("failure"), failures)}
    _require(checked["format"] is None or (isinstance(checked["format"], str) and checked["format"] in FORMATS))
    if "counts" not in answer:
        _require(checked["failure"] is not None)
        return checked
    counts = _counts(answer["counts"], limits)
    findings = [_finding(each, limits) for each in _sized(answer.get("findings"), list, limits.findings)]
    _require(len(findings) <= sum(counts[kind] for kind in KINDS))
    bytecode = _bytecode(answer.get("magic_numbers"), counts["pycs"])
    magic_numbers = answer["magic_numbers"]
    return {**checked, "counts": counts, "findings": findings, "magic_numbers": magic_numbers, "bytecode": bytecode}


def _require(holds: bool) -> None:
    if not holds:
        raise NoAnswerError("it is none")


def _sized(value: Any, kind: type[Any], most: int) -> Any:
    _require(isinstance(value, kind) and len(value) <= most)
    return value


def _number(value: Any, most: int) -> int:
    _require(type(value) is int and 0 <= value <= most)
    return int(value)


def _text(value: Any, longest: int) -> str:
    try:
        _sized(value, str, longest).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair: no bytes have it for their text
        _require(False)
    return str(value)


def _failure(value: Any, kinds: frozenset[str]) -> dict[str, str] | None:
    if value is None:
        return None
    failure = {str(key): _text(text, _LONGEST_MESSAGE) for key, text in _sized(value, dict, 3).items()}
    _require({"kind", "message"} <= set(failure) <= {"kind", "message", "mend"} and failure["kind"] in kinds)
    _require(failure.get("mend", RAISE_SIZE) in HINTS)
    return failure


def _counts(value: Any, limits: ArchiveLimits) -> dict[str, int]:
    counts = _sized(value, dict, len(COUNTS))
    _require(set(counts) == set(COUNTS))
    # One source may have one finding for each level and tag that there is.
    return {key: _number(counts[key], limits.entries * 2) for key in COUNTS}


def _finding(value: Any, limits: ArchiveLimits) -> list[str | None]:
    fields: list[Any] = _sized(value, list, 5)
    _require(len(fields) == 5 and all(isinstance(each, str) for each in fields[:2]))
    kind, reason, *paths = fields
    _require(reason in REASONS.get(kind, ()))
    for path in paths:
        if path is not None:
            _text(path, limits.name)
    for inside in paths[:2]:
        _require(inside is None or not (inside.startswith("/") or ".." in inside.split("/")))
    _require((paths[2] is None) == (kind != "climbing") and (paths[0] is None) == (kind == "climbing"))
    return fields


def _bytecode(value: Any, most: int) -> list[dict[str, Any]]:
    numbers: dict[bytes, dict[str, int]] = {}
    for digits, tags in _sized(value, dict, MOST_MAGIC_NUMBERS).items():
        _require(_MAGIC.match(digits) is not None)
        held = numbers[bytes.fromhex(digits)] = {}
        for tag, count in _sized(tags, dict, MOST_TAGS).items():
            _require("/" not in _text(tag, _LONGEST_TAG))
            held[tag] = _number(count, most)
    _require(sum(sum(tags.values()) for tags in numbers.values()) <= most)
    return [_described(magic_number, numbers[magic_number]) for magic_number in sorted(numbers, key=number_of)]


def _described(magic_number: bytes, tags: dict[str, int]) -> dict[str, Any]:
    number = number_of(magic_number)
    release = release_of(number)
    return {
        "magic_number": magic_number.hex(),
        "number": number,
        "implementation": release.implementation or None,
        "version": ".".join(map(str, release.version)) if release.version[0] else None,
        "release": release.text,
        "is_final": release.is_final,
        "pycs": sum(tags.values()),
        "cache_tags": sorted(tag for tag in tags if tag),
        "without_cache_tag": tags.get("", 0),
    }


class ArchiveReport:
    """What one archive holds, or why it couldn't be examined."""

    def __init__(self, path: str, answer: dict[str, Any]) -> None:
        self.path = path
        self.format: str | None = answer["format"]
        self.failure: dict[str, str] | None = answer["failure"]
        self.counts: dict[str, int] = answer.get("counts") or dict.fromkeys(COUNTS, 0)
        #: One for each magic number, by its bytes.
        self.bytecode: list[dict[str, Any]] = answer.get("bytecode") or []
        #: Kind, reason, pyc, source, member; at most so many as the limits say.
        self.findings: list[list[str | None]] = answer.get("findings") or []

    @property
    def found(self) -> int:
        """The number of findings, listed or not."""
        return sum(self.counts[kind] for kind in KINDS)

    @property
    def needs_rebuild(self) -> bool:
        """Whether the interpreter that it was compared with can't use some of its own bytecode in here."""
        return self.counts["stale"] > 0

    def as_dict(self) -> dict[str, Any]:
        """The archive's part of the JSON object."""
        return {
            **path_fields("path", self.path),
            "format": self.format,
            "needs_rebuild": self.needs_rebuild,
            "counts": self.counts,
            "bytecode": self.bytecode,
            "findings": [_finding_fields(finding) for finding in self.findings],
            "findings_omitted": self.found - len(self.findings),
            "failure": self.failure and _failure_fields(self.failure),
        }


def hints_for(failures: Iterable[dict[str, str] | None]) -> dict[str, str]:
    """Returns what to do about failures, by kind; one with a hint of its own needs no other."""
    kinds = dict.fromkeys(failure["kind"] for failure in failures if failure is not None and "mend" not in failure)
    return {kind: GENERAL_HINTS[kind] for kind in kinds if kind in GENERAL_HINTS}


def _failure_fields(failure: dict[str, str]) -> dict[str, str]:
    fields = {key: printable(value) for key, value in failure.items()}
    if "mend" in fields:
        fields["hint"] = fields["mend"]  # under the name that errors have for it
    return fields


def _finding_fields(finding: list[str | None]) -> dict[str, Any]:
    kind, reason, pyc, source, member = finding
    fields: dict[str, Any] = {"kind": kind, "reason": reason}
    for name, path in (("pyc", pyc), ("source", source), ("member", member)):
        if path is not None:
            fields.update(path_fields(name, path))
        elif name != "member":
            fields[name] = None
    return fields
