"""Options that several verbs have in common, and the numbers that options take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Union

    Place = Union[argparse.ArgumentParser, argparse._ArgumentGroup]


def add_python(place: Place) -> None:
    """`--python`: the flavours that are meant, in a list, which is empty without it."""
    place.add_argument(
        "--python",
        metavar="V",
        action="append",
        default=[],
        help="the target: 3.11, 3.13t, pypy3.11, py311 or a path; repeatable",
    )


def add_site_dir(place: Place, *, whose: str = "the target's") -> None:
    """`--site-dir`: directories that count instead of those that are known, in a list, which is empty without it."""
    place.add_argument(
        "--site-dir",
        metavar="DIR",
        action="append",
        default=[],
        help=f"this directory instead of {whose} own; repeatable",
    )


def add_prefix(place: Place) -> None:
    """`--prefix`: environments, in a list, which is empty without it."""
    place.add_argument(
        "--prefix", metavar="DIR", action="append", default=[], help="a virtual or conda environment; repeatable"
    )


def processes(text: str) -> int:
    """A number of processes, 0 for as many as the machine allows. Raises ArgumentTypeError."""
    return whole_number(text, 0, 4096)


def whole_number(text: str, least: int, most: int) -> int:
    """Raises ArgumentTypeError with the limits."""
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r}: say a number from {least} to {most}")
    return int(text)


def time_limit(text: str) -> float:
    """A time from 0 to 11 days. Raises ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds")
    return found


def positive_time_limit(text: str) -> float:
    """The same, and not 0. Raises ArgumentTypeError."""
    found = time_limit(text)
    if found == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds")
    return found
