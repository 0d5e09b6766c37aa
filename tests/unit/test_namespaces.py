"""User namespaces: which ids exist in one, and which of them are unused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger import namespaces
from pyctrigger.namespaces import draw_ids, is_restricted, is_unmapped_group

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = ((0, 4294967295),)
#: The ranges that are mapped (first, how many) as accounts and as groups, and between which ids one is drawn.
MAPS: list[tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...], tuple[int, int] | None]] = [
    (ALL, ALL, (2000200001, 2147352575)),
    (((0, 65536),), ((0, 65536),), (60578, 65533)),
    (((0, 65536), (2000300000, 6)), ALL, (2000300000, 2000300005)),
    (ALL, ((2147352575, 1),), (2147352575, 2147352575)),
    (((0, 1000), (60578, 1)), ((0, 1000), (60578, 1)), (60578, 60578)),
    (((2000300000, 6),), ((2000400000, 6),), None),
    (((0, 1),), ((0, 1),), None),
]


@pytest.fixture
def mapping(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what a namespace maps."""

    def mapping(uids: tuple[tuple[int, int], ...], gids: tuple[tuple[int, int], ...]) -> None:
        monkeypatch.setattr(namespaces, "_mapped_ranges", lambda kind="uid": {"uid": uids, "gid": gids}[kind])

    return mapping


@pytest.mark.parametrize(("uids", "gids", "between"), MAPS)
def test_ids_are_drawn_from_what_is_left_free(
    mapping: Callable[..., None],
    uids: tuple[tuple[int, int], ...],
    gids: tuple[tuple[int, int], ...],
    between: tuple[int, int] | None,
) -> None:
    """By all conventions, and here; a hundred at most."""
    mapping(uids, gids)
    drawn = list(draw_ids())
    assert (100 if between else 0) == len(drawn)
    assert between is None or between[0] <= min(drawn) <= max(drawn) <= between[1]
    if between == (60578, 65533):
        assert not [each for each in drawn if 61183 < each < 65520]


@pytest.mark.parametrize(("uids", "is_part"), [(ALL, False), (((0, 65536),), True), (((0, 1), (1, 4294967294)), False)])
def test_whether_only_some_accounts_exist(
    mapping: Callable[..., None], uids: tuple[tuple[int, int], ...], is_part: bool
) -> None:
    """However many ranges they come in."""
    mapping(uids, ALL)
    assert is_part is is_restricted()


@pytest.mark.parametrize(
    ("gid", "uids", "expected"), [(65534, ((0, 1),), True), (65534, ALL, False), (0, ((0, 1),), False)]
)
def test_whether_a_group_may_be_unmapped(
    mapping: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gid: int,
    uids: tuple[tuple[int, int], ...],
    expected: bool,
) -> None:
    """One that isn't mapped shows as the overflow group."""
    monkeypatch.setattr(namespaces, "_overflow_id", lambda kind: 65534)
    mapping(uids, uids)
    assert expected is is_unmapped_group(gid)
