"""The frames between host and worker: a worker can be brought to answer anything."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames import READY, framed, packed_reply
from pyctrigger.workers import wire


def test_bytes_of_a_request() -> None:
    """Flags, levels, length of the path; each level with the hash that its pyc has; path and source as they are."""
    levels = [wire.LevelRequest(0), wire.LevelRequest(2, bytes.fromhex("0123456789abcdef"))]
    data = b"".join(wire.request(levels, b"/a\nb\xff.py", b"x\0\r\n"))
    assert data.hex(" ", 1).replace(" ", "") == (
        "26000000"  # 38 bytes follow
        "00"
        "02"
        "08000000"
        "00"
        "00"
        "0000000000000000"
        "02"
        "01"
        "0123456789abcdef"
        "2f610a62ff2e7079"
        "78000d0a"
    )


def test_meaning_of_a_reply() -> None:
    """Compiled and failed, staying and retiring, and to be asked anew."""
    compiled = bytes.fromhex(
        "00 0123456789abcdef 03 00 00000000 00000000 01 e8030000 03000000 616263 04 00000000 00000000"
    )
    levels = (
        wire.LevelAnswer(wire.SAME, b""),
        wire.LevelAnswer(wire.BODY, b"abc", 1000),
        wire.LevelAnswer(wire.TWIN, b""),
    )
    assert wire.parse_reply(compiled) == (wire.Compiled(bytes.fromhex("0123456789abcdef"), levels), False)
    failed = bytes.fromhex("81 02 07000000") + b"RecursionError"
    assert wire.parse_reply(failed) == (wire.Failed("recursion", 7, "RecursionError"), True)
    assert wire.parse_reply(b"\2") == (wire.Setup(forks=True), False)
    assert wire.parse_ready(READY + b"\xa7\x0d\x0d\x0acpython-311") == wire.Ready(b"\xa7\r\r\n", "cpython-311")


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_frames_cut_at_any_byte_come_out_whole(payloads: list[bytes], data: st.DataObject) -> None:
    """A pipe returns what it has, wherever that ends."""
    stream = b"".join(map(framed, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = wire.FrameReader()
    heard: list[memoryview] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)]):
        heard += reader.feed(stream[start:end])
    assert heard == payloads


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_stream_is_frames_or_a_wire_error(stream: bytes, cut: int) -> None:
    """And what comes out was in it."""
    reader = wire.FrameReader(largest=1000)
    try:
        frames = [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])]
    except wire.WireError:
        return
    assert stream.startswith(b"".join(map(framed, frames)))


def test_length_beyond_all_sense_is_an_error_at_once() -> None:
    """Nothing waits for a gigabyte that never comes."""
    with pytest.raises(wire.WireError):
        list(wire.FrameReader().feed(struct.pack("<I", wire.LARGEST_FRAME + 1)))


_levels = st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=30)), max_size=4)


@given(_levels, st.booleans())
def test_compiled_reply_parses_back(levels: list[tuple[int, bytes]], retiring: bool) -> None:
    """Every level with its state and its bytes."""
    answer, ends = wire.parse_reply(packed_reply(levels, 0x80 if retiring else 0))
    assert answer == wire.Compiled(b"\x01" * 8, tuple(wire.LevelAnswer(*level, 5) for level in levels))
    assert ends is retiring


@given(
    st.binary(max_size=80)
    | st.builds(packed_reply, _levels).flatmap(lambda data: st.sampled_from([data[:-1], data + b"x"]))
)
def test_any_bytes_are_an_answer_or_a_wire_error(payload: bytes) -> None:
    """A worker can be brought to answer anything."""
    try:
        answer, _ = wire.parse_reply(payload)
    except wire.WireError:
        return
    assert isinstance(answer, (wire.Compiled, wire.Failed, wire.Setup))
    if isinstance(answer, wire.Failed):
        assert answer.kind in ("syntax", "encoding", "recursion", "memory", "unmarshallable")
        assert answer.name.isidentifier()


def test_each_number_has_its_whole_range() -> None:
    """None of them has a sign."""
    head = b"".join(wire.request([wire.LevelRequest(255)], b"", b"", flags=255))
    assert "10000000 ff 01 00000000 ff 00 0000000000000000".replace(" ", "") == head.hex()
    levels = b"\0" + struct.pack("<II", 1 << 31, 0)
    answer, _ = wire.parse_reply(b"\0" + bytes(8) + b"\xff" + levels * 255)
    assert wire.Compiled(bytes(8), (wire.LevelAnswer(wire.SAME, b"", 1 << 31),) * 255) == answer


@given(_levels, st.integers(0, 60))
def test_reply_cut_short_is_an_error(levels: list[tuple[int, bytes]], cut: int) -> None:
    """Half an answer isn't a smaller one."""
    whole = packed_reply(levels)
    if cut < len(whole):
        with pytest.raises(wire.WireError):
            wire.parse_reply(whole[:cut])


@given(_levels, st.binary(min_size=1, max_size=9))
def test_reply_that_goes_on_is_an_error(levels: list[tuple[int, bytes]], more: bytes) -> None:
    """Nor is one with something behind it a whole one."""
    with pytest.raises(wire.WireError):
        wire.parse_reply(packed_reply(levels) + more)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x03",
        b"\x7f" * 20,
        b"\x01\x07\0\0\0\0SyntaxError",  # a kind that there isn't
        b"\x01\0\0\0\0\0",
        b"\x01\0\0\0\0\0Syntax Error",  # names only, since a message would quote the source
        b"\x01\0\0\0\0\0x = 'hunter2'",
        b"\x01\0\0\0\0\0" + b"E" * 101,
        b"\x01\0\0\0\0\0\xff",
        b"\x01\xff\0\0\0\0SyntaxError",
        packed_reply([(4, b"")]),
    ],
)
def test_reply_without_sense_is_an_error(payload: bytes) -> None:
    """Of no known kind, with no known state, or with more than the name of an exception."""
    with pytest.raises(wire.WireError):
        wire.parse_reply(payload)


@given(st.binary(max_size=60))
def test_any_bytes_are_ready_or_a_wire_error(payload: bytes) -> None:
    """The first output of a program shows whether it is a worker."""
    for said in (payload, READY + payload):
        try:
            ready = wire.parse_ready(said)
        except wire.WireError:
            continue
        assert said.startswith(READY + ready.magic_number)


def test_bytes_of_a_warm_up() -> None:
    """One level, no path, and the flag that says that no answer is wanted."""
    assert (
        "12000000 02 01 00000000 00 00 0000000000000000 78 0a".replace(" ", "") == b"".join(wire.warm_up(b"x\n")).hex()
    )


@pytest.mark.parametrize(("compare", "flag"), [(True, "08"), (False, "04")])
def test_bytes_of_a_question(compare: bool, flag: str) -> None:
    """Flags, levels without hashes, the path, each body with its length, and the source."""
    asked = b"".join(wire.question([0, 2], b"/m", b"s", [b"ab", memoryview(b"c")], compare=compare))
    levels = "00 00 0000000000000000" + "02 00 0000000000000000"
    expected = f"28000000 {flag} 02 02000000 {levels} 2f6d 02000000 6162 01000000 63 73"
    assert expected.replace(" ", "") == asked.hex()


@pytest.mark.parametrize(
    ("number", "kind"),
    [*enumerate(["syntax", "encoding", "recursion", "memory", "unmarshallable", "unreadable", "crash"])],
)
def test_kind_of_a_failure(number: int, kind: str) -> None:
    """By its number, with line and name."""
    payload = struct.pack("<BBI", 1, number, 1 << 31) + b"SomeError"
    assert (wire.Failed(kind, 1 << 31, "SomeError"), False) == wire.parse_reply(payload)


@pytest.mark.parametrize("length", [1, 100])
def test_name_of_an_exception_may_be_a_hundred_letters(length: int) -> None:
    """And no more: see the table of what is no answer."""
    answer, _ = wire.parse_reply(b"\x01\0\0\0\0\0" + b"E" * length)
    assert wire.Failed("syntax", 0, "E" * length) == answer


def test_reply_that_asks_for_a_codec() -> None:
    """By the name of its module; forty letters at most, and nothing but a name."""
    assert (wire.Setup(codec="cp1252"), False) == wire.parse_reply(b"\x03cp1252")
    assert (wire.Setup(codec="c" * 40), False) == wire.parse_reply(b"\x03" + b"c" * 40)
    for name in (b"c" * 41, b"", b"../x", b"a b", b"\xff"):
        with pytest.raises(wire.WireError, match=r"^not the name of a codec$"):
            wire.parse_reply(b"\x03" + name)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "a reply ends too early"),
        (b"\0", "a reply ends too early"),
        (b"\0" + bytes(8) + b"\x01", "a reply ends too early"),
        (b"\x01\0", "a reply ends too early"),
        (b"\x01\x07\0\0\0\0SyntaxError", "a reply ends too early"),
        (b"\x01\0\0\0\0\0not a name", "not the name of an exception"),
        (b"\2\0", "a reply of an unknown kind"),
        (b"\x82", "a reply of an unknown kind"),
        (b"\x04", "a reply of an unknown kind"),
        (b"\x83cp1252", "a reply of an unknown kind"),
        (packed_reply([(5, b"")]), "a level is cut short"),
        (packed_reply([(1, b"ab")])[:-1], "a level is cut short"),
        (packed_reply([(0, b""), (4, b"")]), "a twin without a level before it"),
        (packed_reply([(4, b""), (1, b"")]), "a twin without a level before it"),
        (packed_reply([(0, b"")]) + b"\0", "a reply has bytes after its end"),
    ],
)
def test_what_is_wrong_with_a_reply_is_said(payload: bytes, message: str) -> None:
    """For the defect report."""
    with pytest.raises(wire.WireError, match=f"^{message}$"):
        wire.parse_reply(payload)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (READY + b"\xa7\r\r\n", wire.Ready(b"\xa7\r\r\n", "")),
        (
            READY + b"\xa7\r\r\ncpython-311\0unshare\0seccomp",
            wire.Ready(b"\xa7\r\r\n", "cpython-311", ("unshare", "seccomp")),
        ),
        (READY + b"\xa7\r\r\n\xff", wire.Ready(b"\xa7\r\r\n", "\ufffd")),
        (memoryview(READY + b"\xa7\r\r\nt"), wire.Ready(b"\xa7\r\r\n", "t")),
        (READY + b"\xa7\r\r", None),
        (READY, None),
        (b"x" + READY + b"\xa7\r\r\n", None),
        (READY[:-1] + b"2\xa7\r\r\ncpython-311", None),
    ],
)
def test_word_of_a_worker_that_is_ready(payload: bytes, expected: wire.Ready | None) -> None:
    """Its magic number, its tag, and the calls that the system refuses it."""
    if expected is None:
        with pytest.raises(wire.WireError, match=r"^not the handshake of a worker$"):
            wire.parse_ready(payload)
    else:
        assert expected == wire.parse_ready(payload)


@pytest.mark.parametrize(
    ("size", "most"), [(0, 4 << 20), (1, (4 << 20) + 5000), (1000, (4 << 20) + 5_000_000), (1 << 30, 1 << 30)]
)
def test_longest_answer_to_a_request(size: int, most: int) -> None:
    """A little for the smallest, much for each byte, and never more than a gigabyte."""
    assert most == wire.largest_answer(size)


def test_length_is_bounded_by_what_was_asked() -> None:
    """As long as allowed comes out; a byte more is an error before it has come."""
    assert [b"abcd"] == list(wire.FrameReader(largest=4).feed(framed(b"abcd")))
    with pytest.raises(wire.WireError, match=r"^a frame that is too long$"):
        list(wire.FrameReader(largest=4).feed(framed(b"abcde")[:4]))


def test_whole_frames_count_whatever_follows_them() -> None:
    """The answer is there; that its worker is broken matters for the next one."""
    reader = wire.FrameReader(largest=4)
    assert [b"a", b"b"] == [bytes(each) for each in reader.feed(framed(b"a") + framed(b"b"))]
    frames = reader.feed(framed(b"c") + b"\xff\xff\xff\xff")
    assert b"c" == bytes(next(frames))
    with pytest.raises(wire.WireError, match=r"^a frame that is too long$"):
        next(frames)


def test_frames_that_come_in_single_bytes() -> None:
    """Nothing is looked at before it can be whole."""
    reader, stream = wire.FrameReader(), framed(b"") + framed(b"ab") + framed(b"") + framed(b"c")
    heard = [list(reader.feed(stream[at : at + 1])) for at in range(len(stream))]
    assert {3: [b""], 9: [b"ab"], 13: [b""], 18: [b"c"]} == {at: frames for at, frames in enumerate(heard) if frames}
