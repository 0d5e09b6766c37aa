"""The answer of a process that read an archive isn't trusted: the archive may have taken it over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyctrigger.inspect.audit.archive_report import COUNTS, parse_answer
from pyctrigger.inspect.audit.budget import ArchiveLimits
from pyctrigger.interpreter.servant import NoAnswerError

HONEST: dict[str, Any] = {
    "format": "wheel",
    "failure": None,
    "magic_numbers": {"a70d0d0a": {"cpython-311": 2, "": 1}},
    "counts": {**dict.fromkeys(COUNTS, 0), "members": 9, "pycs": 3, "stale": 1, "climbing": 1},
    "findings": [["stale", "magic", "a/b.pyc", "a/b.py", None], ["climbing", "parent", None, None, "../x"]],
}
LONG = "a" * 5000
HOSTILE: dict[str, list[Any]] = {
    "format": ["exe", 5, [], {"a": 1}],
    "failure": ["no", {}, {"kind": "damaged"}, {"kind": "x", "message": ""}, {"kind": "io", "message": LONG}]
    + [{"kind": "io", "message": "", "mend": mend} for mend in ("", None, "\x1b[2J", "run this as root: …")]
    + [{"kind": "io", "message": "\ud800"}, {"kind": "crash", "message": ""}, {"kind": "timeout", "message": ""}],
    "magic_numbers": [
        *(None, [], {"a70d": {}}, {"A70D0D0A": {}}, {"a70d0d0a": 5}, {"a70d0d0a": {"x": -1}}, {"a70d0d0a": {"x": 4}}),
        *({"a70d0d0a": {"../x": 1}}, {"a70d0d0a": {LONG: 1}}, {"a70d0d0a": {"x": True}}, {"a70d0d0a": {"x": 1.0}}),
        *({"a70d0d0a": {tag: 1}} for tag in ("\ud800", "a/b")),
        {f"{number:04x}0d0a": {} for number in range(1001)},
    ],
    "counts": [None, {}, {**HONEST["counts"], "more": 1}, {**HONEST["counts"], "stale": "1"}]
    + [{**HONEST["counts"], "pycs": value} for value in (-1, True, 2.0, None, 10**30)],
    "findings": [
        *(
            None,
            {},
            [5],
            [[]],
            [["stale"] * 5],
            [["stale", "size", "a.pyc", None, None]],
            [["x", "y", "z", None, None]],
        ),
        *([["stale", "magic", path, None, None]] for path in ("/etc/passwd", "../x", "a/../../x", LONG, 5, None)),
        [["stale", "magic", "\ud800.pyc", None, None]],
        *(
            [["stale", "magic", "a.pyc", None, "x"]],
            [["climbing", "parent", "a.pyc", None, "../x"]],
            HONEST["findings"] * 2,
        ),
        [["stale", "magic", "a.pyc", None, None]] * 1001,
    ],
}


def said(**fields: Any) -> bytes:
    """The honest answer, but for these."""
    return json.dumps({**HONEST, **fields}).encode()


def test_an_honest_answer_is_taken() -> None:
    """What follows from the magic numbers is worked out here."""
    answer = parse_answer(said(), ArchiveLimits())
    (bytecode,) = answer["bytecode"]
    assert ("CPython 3.11", 3, ["cpython-311"], 1) == (
        *(bytecode["release"], bytecode["pycs"], bytecode["cache_tags"], bytecode["without_cache_tag"]),
    )
    assert (HONEST["counts"], HONEST["findings"]) == (answer["counts"], answer["findings"])
    failed = {"format": None, "failure": {"kind": "damaged", "message": "is empty"}}
    assert failed == parse_answer(json.dumps(failed).encode(), ArchiveLimits())


@pytest.mark.parametrize("field", HOSTILE)
def test_another_answer_is_none(field: str) -> None:
    """Types, ranges, lengths, names that lead elsewhere, sums that can't be."""
    for value in HOSTILE[field]:
        with pytest.raises(NoAnswerError):
            print(value, parse_answer(said(**{field: value}), ArchiveLimits()))


@pytest.mark.parametrize("frame", [b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"\xff", b"{}", b'{"more": 1}'])
def test_a_frame_that_holds_none(frame: bytes) -> None:
    """However deep, and whatever it consists of."""
    with pytest.raises(NoAnswerError):
        parse_answer(frame, ArchiveLimits())
