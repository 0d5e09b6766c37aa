"""The parts of a scope as they were when nothing more could be done for them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state.quota import Quota, StateFullError
from pyctrigger.state.records import parts as module
from pyctrigger.state.records.parts import Part, Parts
from pyctrigger.state.records.record import PACKED

if TYPE_CHECKING:
    from pathlib import Path

SEEN = {".": PACKED.pack(1, 2, 3, 4, 5), "p/q": PACKED.pack(1, 2, 3, -4, 2**62)}
PART = Part.of(SEEN, 12.5, ("/a.pyc",))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A state directory with records."""
    (tmp_path / "manifest.sqlite").write_bytes(b"records")
    return tmp_path


def noted(place: Path) -> Parts:
    """Notes that were saved."""
    parts = Parts(str(place))
    parts.note("/site", "terms", "p", PART)
    parts.note("/site", "terms", "", Part())
    parts.save()
    return parts


def test_a_note_has_an_identity_for_each_directory() -> None:
    """In the order of their names."""
    part = Part.of(SEEN, 12.5, ("/a.pyc",))
    assert Part(b".\0p/q", b"".join(SEEN.values()), 12.5, ("/a.pyc",)) == part
    assert [(b".", (1, 2, 3, 4, 5)), (b"p/q", (1, 2, 3, -4, 2**62))] == list(part.entries())


@pytest.mark.parametrize(
    "part",
    [
        Part(b"a", b""),
        Part(b"a\0b", bytes(40)),
        Part(b"", bytes(40)),
        Part(b"a\0\0b", bytes(120)),
        Part(b"a", bytes(41)),
    ],
)
def test_a_damaged_note_is_an_error(part: Part) -> None:
    """It is looked at then."""
    with pytest.raises(ValueError, match="a note without all"):
        list(part.entries())


def test_notes_come_back(place: Path) -> None:
    """By site directory and terms."""
    noted(place)
    parts = Parts(str(place))
    assert {"p": PART, "": Part()} == parts.of("/site", "terms")
    assert ({}, {}) == (parts.of("/site", "other"), parts.of("/site2", "terms"))
    assert (True, True) == (parts.are_kept, parts.know_records)
    answers = [parts.has_other(*each) for each in (("/site", "terms"), ("/site", "other"), ("/site2", "terms"))]
    assert [False, True, False] == answers
    asked = [("/site", "terms", "p"), ("/site", "terms", ""), ("/site", "terms", "absent"), ("/site", "other", "p")]
    assert [("/a.pyc",), (), (), ()] == [parts.owned_in(*each) for each in asked]


def test_nothing_new_isnt_saved(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is new is saved without waiting for the disk: notes that are lost are made again."""
    Parts(str(place)).save()
    assert not (place / "parts").exists()
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("it waits"))
    noted(place)
    assert (place / "parts").exists()


def test_other_terms_begin_anew(place: Path) -> None:
    """What was noted on the old ones is worth nothing."""
    noted(place)
    parts = Parts(str(place))
    parts.note("/site", "other", "q", PART)
    parts.save()
    assert ({"q": PART}, {}) == (Parts(str(place)).of("/site", "other"), Parts(str(place)).of("/site", "terms"))


def test_a_part_that_is_gone_is_forgotten(place: Path) -> None:
    """Saved only if there is something to save."""
    parts = noted(place)
    before = (place / "parts").stat().st_ino
    parts.forget("/site", "terms", "absent")
    parts.note("/site", "terms", "p", PART)
    parts.save()
    assert before == (place / "parts").stat().st_ino
    parts.forget("/site", "terms", "p")
    parts.save()
    assert {"": Part()} == Parts(str(place)).of("/site", "terms")


def test_a_site_without_a_note_is_known_as_well(place: Path) -> None:
    """Its records were whole when they were saved: they needn't be checked again."""
    parts = Parts(str(place))
    parts.forget("/site", "terms", "young")
    (place / "manifest.sqlite").write_bytes(b"what this run has saved")
    parts.save()
    again = Parts(str(place))
    assert (True, {}, True) == (again.know_records, again.of("/site", "terms"), again.has_other("/site", "other"))


def test_notes_rest_on_their_records(place: Path) -> None:
    """A manifest that was lost, damaged or rolled back knows less than they do."""
    parts = noted(place)
    (place / "manifest.sqlite").write_bytes(b"other records")
    assert ({}, False) == (Parts(str(place)).of("/site", "terms"), Parts(str(place)).know_records)
    parts.save()  # the same run has saved its records
    assert {"p", ""} == set(Parts(str(place)).of("/site", "terms"))
    (place / "manifest.sqlite").unlink()
    assert {} == Parts(str(place)).of("/site", "terms")


def test_notes_are_those_of_the_records_that_were_there_when_they_were_read(place: Path) -> None:
    """Saving the records in between doesn't make them worthless."""
    noted(place)
    parts = Parts(str(place))
    parts.load()
    (place / "manifest.sqlite").write_bytes(b"what this run has saved")
    assert {"p", ""} == set(parts.of("/site", "terms"))


GOOD: dict[str, Any] = {"terms": "terms", "parts": {"p": [1, 2, None, []]}}
#: What stands in the place of a site directory's notes.
DAMAGED: list[Any] = [
    7,
    {"terms": "terms", "parts": 7},
    {"terms": "terms", "parts": {"p": 7}},
    {"terms": "terms", "parts": {"p": []}},
    {"terms": "terms", "parts": {"p": ["1", 2, None, []]}},
    {"terms": "terms", "parts": {"p": [1.0, 2, None, []]}},
    {"terms": "terms", "parts": {"p": [4, -1, None, []]}},
    {"terms": "terms", "parts": {"p": [-1, 4, None, []]}},
    {"terms": "terms", "parts": {"p": [1, 1, None, []]}},
    {"terms": "terms", "parts": {"p": [1, 3, None, []]}},
    {"terms": "terms", "parts": {"p": [1, 2, "x", []]}},
    {"terms": "terms", "parts": {"p": [1, 2, None, 7]}},
    {"terms": "terms", "parts": {"p": [1, 2, None]}},
]


@pytest.mark.parametrize("site", DAMAGED)
def test_a_damaged_file_is_worth_nothing(place: Path, site: Any) -> None:
    """None of its notes."""
    noted(place)
    line, body = (place / "parts").read_bytes().split(b"\n", 1)
    stored = json.loads(line)
    assert (b".\0p/q" + b"".join(SEEN.values()), 3) == (body, stored["format"])
    for sites, expected in [({"/site": GOOD}, {"p"}), ({"/site": GOOD, "/b": site}, set())]:
        (place / "parts").write_bytes(json.dumps({**stored, "sites": sites}).encode() + b"\n" + b"xyz" * len(sites))
        assert expected == set(Parts(str(place)).of("/site", "terms"))
    for head, rest in [({**stored, "format": 2}, body), (stored, body[:-1]), (stored, body + b"x")]:
        (place / "parts").write_bytes(json.dumps(head).encode() + b"\n" + rest)
        assert {} == Parts(str(place)).of("/site", "terms")


def test_without_a_state_directory_nothing_is_kept() -> None:
    """And nothing is an error."""
    parts = Parts(None)
    parts.note("/site", "terms", "p", PART)
    parts.save()
    assert (False, {}) == (parts.are_kept, Parts(None).of("/site", "terms"))


def test_a_run_takes_down_so_much_and_no_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the part that it ends with; what was known of the others is forgotten."""
    noted(place)
    monkeypatch.setattr(module, "_MAX_NOTED", len(PART.names) + len(PART.seen))
    parts = Parts(str(place))
    for name in ("q", "r", "p"):
        parts.note("/site", "terms", name, PART)
    parts.note("/site", "terms", "empty", Part())
    parts.save()
    assert {"", "q", "r", "empty"} == set(Parts(str(place)).of("/site", "terms"))
    for name in ("p", "s", "t"):
        parts.note("/site", "terms", name, PART)
    parts.save()
    assert {"", "q", "r", "empty", "p", "s"} == set(Parts(str(place)).of("/site", "terms"))


def test_of_a_strangers_tree_there_are_so_many_and_no_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more there are none; and the quota counts."""
    quota = Quota(100_000)
    parts = Parts(str(place), quota)
    parts.note("/site", "terms", "p", PART)
    parts.save()
    assert ({"p"}, 100_000 - 4096) == (set(Parts(str(place)).of("/site", "terms")), quota.left)
    monkeypatch.setattr(module, "_MAX_FOREIGN", (place / "parts").stat().st_size)
    parts.note("/site", "terms", "p", PART._replace(until=13.5))
    parts.save()
    assert {"p"} == set(Parts(str(place)).of("/site", "terms"))
    parts.note("/site", "terms", "q", PART)
    parts.save()
    assert {} == Parts(str(place)).of("/site", "terms")
    quota.left = 0
    parts.note("/site", "terms", "r", PART)
    with pytest.raises(StateFullError):
        parts.save()
