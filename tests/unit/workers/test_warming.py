"""What a worker compiles before its first source."""

from __future__ import annotations

import pytest

from pyctrigger.workers import warming, wire


@pytest.mark.parametrize(
    ("implementation", "version", "expected"),
    [
        ("cpython", (3, 6), True),
        ("cpython", (3, 10, 13), True),
        ("cpython", (3, 11, 0), False),
        ("cpython", (3, 15), False),
        ("pypy", (3, 9), False),
        ("pypy", (3, 10), False),
    ],
)
def test_only_older_cpythons_depend_on_what_came_before(
    implementation: str, version: tuple[int, ...], expected: bool
) -> None:
    """Up to 3.10 marshal flags a name as shared when anything in the process holds it."""
    assert expected is warming.is_needed(implementation, version)


def test_every_frame_warms_up() -> None:
    """None of them is answered."""
    heard = list(wire.FrameReader().feed(warming.frames()))
    assert {2} == {frame[0] for frame in heard}
    assert warming._SYNTAX == bytes(heard[0][16:])
    assert 1 + len(warming._OTHERS) == len(heard)
