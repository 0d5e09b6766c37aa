"""The pycs of an archive, by their headers: against its own sources, and against an interpreter."""

from __future__ import annotations

import struct

import pytest

from pyctrigger.inspect.audit.contents import FILE, HARD_LINK, LINK, Contents, Member
from pyctrigger.inspect.audit.judgement import TargetFacts, judge
from pyctrigger.pyc.magic import number_of, release_of

AT = 1_700_000_000
PY311, PY310, PY36 = (number.to_bytes(2, "little") + b"\r\n" for number in (3495, 3439, 3379))
TARGET = TargetFacts(PY311.hex(), "cpython-311", "cpython", (3, 11), "python3.11")
PYC = "a/__pycache__/m.cpython-311.pyc"


def header(magic: bytes = PY311, flags: int = 0, mtime: int = AT, size: int = 5) -> bytes:
    """The header of a pyc, and the first byte behind it."""
    return magic + struct.pack("<III", flags, mtime, size) + b"\xe3"


class Content:
    """The content of a member."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        """The next bytes."""
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def contents_of(*members: Member) -> Contents:
    """An archive of these."""
    contents = Contents()
    for member in members:
        contents.take(member)
    contents.finish()
    return contents


def file(name: str, data: bytes) -> Member:
    """A file in an archive."""
    return Member(name, FILE, len(data), AT, open=lambda: Content(data))


def source(name: str = "a/m.py", **fields: object) -> Member:
    """A source of five bytes."""
    return Member(name, FILE, 5, AT)._replace(**fields)  # type: ignore[arg-type]


#: The path and the head of a pyc, what lies beside it, and what is found.
CASES: dict[str, tuple[str, bytes, list[Member], list[tuple[str, str]]]] = {
    "fresh": (PYC, header(), [source()], []),
    "another time": (PYC, header(mtime=AT + 1), [source()], [("mismatched", "mtime")]),
    "another size": (PYC, header(size=6), [source()], [("mismatched", "size")]),
    "both: the time is compared first": (PYC, header(mtime=0, size=6), [source()], [("mismatched", "mtime")]),
    "a time after 2106": (PYC, header(mtime=AT), [source(mtime=AT + (1 << 32))], []),
    "the header of 3.6": (
        *("a/__pycache__/m.cpython-36.pyc", PY36 + struct.pack("<II", AT, 5) + b"\xe3"),
        *([source()], []),
    ),
    "its size": (
        *("a/__pycache__/m.cpython-36.pyc", PY36 + struct.pack("<II", AT, 6) + b"\xe3"),
        *([source()], [("mismatched", "size")]),
    ),
    "no magic number": (PYC, b"#!/b" + header()[4:], [source()], [("corrupt", "magic")]),
    "empty": (PYC, b"", [source()], [("corrupt", "magic")]),
    "three bytes": (PYC, header()[:3], [source()], [("corrupt", "magic")]),
    "a magic number alone": (PYC, header()[:4], [source()], [("corrupt", "header")]),
    "almost a header": (PYC, header()[:15], [source()], [("corrupt", "header")]),
    "a header alone": (PYC, header()[:16], [source()], [("corrupt", "body")]),
    "flag 2": (PYC, header(flags=2), [source()], [("corrupt", "header")]),
    "flag 64": (PYC, header(flags=64), [source()], [("corrupt", "header")]),
    "no source": (PYC, header(), [], [("orphan", "source")]),
    "a source that is a link": (PYC, header(mtime=0), [source(kind=LINK, target="x.py")], []),
    "a source that is a hard link": (
        *(PYC, header(size=9), [source("a/other.py", size=9), source(kind=HARD_LINK, size=0, target="a/other.py")]),
        [],
    ),
    "beside its source": ("a/m.pyc", header(), [source()], []),
    "without one": ("a/m.pyc", header(), [], [("orphan", "sourceless")]),
    "pytest's": ("a/__pycache__/m.cpython-311-pytest-8.4.pyc", header(), [], []),
    "another release's": (PYC, header(PY310), [source()], [("stale", "magic")]),
    "another flavour's": ("a/__pycache__/m.cpython-310.pyc", header(PY310), [source()], []),
    "in the target's library": (
        *("lib/python3.11/m.pyc", header(PY310)),
        *([source("lib/python3.11/m.py")], [("stale", "magic")]),
    ),
    "in another one's": ("lib/python3.10/m.pyc", header(PY310), [source("lib/python3.10/m.py")], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pyc(case: str) -> None:
    """One beside what is in the archive."""
    path, head, members, expected = CASES[case]
    verdicts = judge(contents_of(*members, file(path, head)), TARGET)
    assert expected == [(finding.kind, finding.reason) for finding in verdicts.findings]
    assert {path} >= {finding.pyc for finding in verdicts.findings}


#: Seconds between a zip's time and its source's.
@pytest.mark.parametrize(
    ("apart", "is_same"),
    [
        *((0, True), (1, True), (-1, True), (2, False), (3600, True), (-3599, True), (20700, True), (3598, False)),
        *((14 * 3600, True), (-14 * 3600 - 1, True), (15 * 3600, False), (450, False)),
    ],
)
def test_time_without_a_zone(apart: int, is_same: bool) -> None:
    """Whole quarters of an hour, up to 14 hours, rounded to two seconds either way."""
    contents = contents_of(source(has_exact_time=False, mtime=AT), file(PYC, header(mtime=AT + apart)))
    assert ([] if is_same else ["mtime"]) == [finding.reason for finding in judge(contents, None).findings]


def test_hash_is_left_to_a_second_look() -> None:
    """Only the source's content can tell."""
    head = PY311 + struct.pack("<I", 3) + b"12345678\xe3"
    (doubt,) = judge(contents_of(source(), file(PYC, head)), None).doubts
    assert (PYC, "a/m.py", PY311, b"12345678") == doubt


def test_magic_numbers_are_counted() -> None:
    """By cache tag; what isn't the target's is foreign to it."""
    files = [file(name, header()) for name in (PYC, "a/m.pyc", "a/__pycache__/m.cpython-311.opt-1.pyc")]
    verdicts = judge(contents_of(source(), *files, file("b/__pycache__/x.pypy39.pyc", header(PY310))), TARGET)
    assert {PY311: {"cpython-311": 2, "": 1}, PY310: {"pypy39": 1}} == verdicts.magic_numbers
    assert 1 == verdicts.foreign
    assert "CPython 3.10" == release_of(number_of(PY310)).text
