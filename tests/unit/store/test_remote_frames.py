"""Frames between a run and the process that asks a store: only what was asked for is taken, and only as much."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.store.container import SMALLEST_CONTAINER
from pyctrigger.store.remote import frames
from pyctrigger.store.remote.frames import ABSENT, FOUND, KEPT, MISS, TROUBLE, Answer, NoFrameError, Want
from pyctrigger.store.remote.trouble import REASONS, Told, Trouble
from unit.store.shelves import key_of

ROOM = 1000
ANSWERS = [
    Answer(FOUND, 0, bytes(SMALLEST_CONTAINER)),
    Answer(FOUND, 1, bytes(SMALLEST_CONTAINER + ROOM)),
    Answer(ABSENT),
    Answer(KEPT),
    Answer(MISS, len(REASONS) - 1),
    Answer(TROUBLE, Trouble.SYSTEM, number=111),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_comes_as_it_was_sent(answer: Answer) -> None:
    """However it is cut, and nothing after it is touched."""
    sent = frames.pack_answer(answer)
    received = bytearray()
    for byte in sent[:-1]:
        received.append(byte)
        assert frames.take_answer(received, ROOM, 2) is None
    received += sent[-1:] + b"next"
    assert answer == frames.take_answer(received, ROOM, 2)
    assert received.endswith(b"next")


NO_ANSWERS = {
    "another state": struct.pack("<BBI", 5, 0, 0),
    "a signer who isn't trusted": struct.pack("<BBI", FOUND, 2, SMALLEST_CONTAINER),
    "more than was asked for": struct.pack("<BBI", FOUND, 0, SMALLEST_CONTAINER + ROOM + 1),
    "less than a container": struct.pack("<BBI", FOUND, 0, SMALLEST_CONTAINER - 1),
    "no such reason": struct.pack("<BBI", MISS, len(REASONS), 0),
    "content without code": struct.pack("<BBI", ABSENT, 0, 1),
    "no such trouble": struct.pack("<BBI", TROUBLE, 99, 0),
    "no trouble": struct.pack("<BBI", TROUBLE, 0, 0),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer(name: str) -> None:
    """It is refused by its first bytes, before more is read."""
    with pytest.raises(NoFrameError):
        frames.take_answer(bytearray(NO_ANSWERS[name]), ROOM, 2)


@given(st.binary(max_size=200))
def test_anything_is_an_answer_none_or_no_frame(received: bytes) -> None:
    """Nothing else is raised, and words are only ours."""
    try:
        answer = frames.take_answer(bytearray(received), ROOM, 2)
    except NoFrameError:
        return
    if answer is not None and answer.state == TROUBLE:
        assert isinstance(frames.told(answer).words, str)


def test_requests_come_as_they_were_sent() -> None:
    """Each kind."""
    wants = [Want(key_of(number), number) for number in range(5)]
    keys = [want.key for want in wants]
    pairs = [(key, key * number) for number, key in enumerate(keys)]
    assert wants == frames.wants_of(frames.get_request(wants)[4:])
    assert keys == frames.keys_of(frames.has_request(keys)[4:])
    assert pairs == frames.pairs_of(frames.put_request(pairs)[4:])


@given(st.binary(min_size=1, max_size=200))
def test_any_request_is_one_or_no_frame(body: bytes) -> None:
    """Nothing else is raised."""
    for parse in (frames.wants_of, frames.keys_of, frames.pairs_of):
        try:
            parse(body)
        except NoFrameError:
            continue


@pytest.mark.parametrize("trouble", Trouble)
def test_each_trouble_has_words(trouble: Trouble) -> None:
    """The system's own, if it has a number."""
    assert Told(trouble).words
    assert "connection refused" == Told(Trouble.SYSTEM, 111).words
