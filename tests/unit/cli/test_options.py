"""Options that need another one, options that contradict each other, and places around options."""

from __future__ import annotations

import pytest

from pyctrigger.cli.call import parse
from pyctrigger.cli.commands import find_verb
from pyctrigger.cli.options import require_consistent
from pyctrigger.errors import UsageError


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("run --null", "--null needs --paths-from; add --paths-from, or leave out --null"),
        ("which --null", "--null needs --paths-from; add --paths-from, or leave out --null"),
        ("status --jobs 0", "--jobs needs --against; add --against, or leave out --jobs"),
        ("status --warning 0", "--warning needs --check; add --check, or leave out --warning"),
        ("status --failure-age 1d", "--failure-age needs --check; add --check, or leave out --failure-age"),
        ("status --check --stateless", "--check and --stateless contradict each other; leave one of them out"),
        ("status --check --exclude x", "--check and --exclude contradict each other; leave one of them out"),
        ("audit --null x", "--null needs --needs-rebuild; add --needs-rebuild, or leave out --null"),
        ("audit --needs-rebuild x", "--needs-rebuild needs --python; add --python, or leave out --needs-rebuild"),
        ("audit --json --format text x", "--json and --format contradict each other; leave one of them out"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(line: str, problem: str) -> None:
    """A value of 0 was given as well as any other."""
    options = parse(line.split()).options

    with pytest.raises(UsageError) as caught:
        require_consistent(options, find_verb(options.verb))
    assert problem == str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "run --hook --null --paths-from -",
        "status --check --warning 0",
        "status --against 3.11 --jobs 0",
        "audit x",
    ],
)
def test_a_call_that_makes_sense_is_not(line: str) -> None:
    """Defaults were not given."""
    options = parse(line.split()).options
    require_consistent(options, find_verb(options.verb))


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("run a b --quiet", ["a", "b"]),
        ("run a --quiet b", ["a", "b"]),
        ("run --quiet a b", ["a", "b"]),
        ("run a --python 3.11 b --quiet c", ["a", "b", "c"]),
        ("audit a --needs-rebuild b", ["a", "b"]),
        ("store push --json redis://host", ["redis://host"]),
        ("explain a --python 3.11 b", ["a", "b"]),
    ],
)
def test_places_stand_anywhere_among_options(line: str, places: list[str]) -> None:
    """Also after an option that stands after others."""
    options = vars(parse(line.split()).options)
    assert places == next(options[name] for name in ("paths", "places", "archives", "managers") if name in options)
