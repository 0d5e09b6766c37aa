"""A request: which options go together, and what of it another run does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope import request
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Transaction, Work

FULL = Request(
    Work.RUN,
    Scope(
        ("3.11",), root="/r", site_dirs=("/s",), prefixes=("/p",), stdlib=True, pycache_prefix="/c", exclude=("*/x",)
    ),
    Bytecode((0, 2), InvalidationMode.CHECKED_HASH, 7, unwanted=True),
    Transaction(("/s/a",), "upgrade", "dpkg"),
    Running(hook=True, jobs=3),
)
#: What the journal keeps of it.
KEPT: dict[str, Any] = {
    "site_dirs": ["/s"],
    "prefixes": ["/p"],
    "stdlib": True,
    "pycache_prefix": "/c",
    "exclude": ["*/x"],
    "optimize": [0, 2],
    "invalidation_mode": "checked-hash",
    "source_date_epoch": 7,
    "manager": "dpkg",
}

#: A request, and what is said of it.
REFUSED: list[tuple[Request, str, str]] = [
    (
        Request(Work.RUN, transaction=Transaction(event="instal")),
        "--event instal: not known",
        "use one of install, upgrade, remove, configure, unknown",
    ),
    (
        Request(Work.RUN, transaction=Transaction(manager="apt")),
        "--manager apt: not known",
        "use one of pkg, dpkg, rpm, pacman, apk",
    ),
    (
        Request(Work.RUN, running=Running(stateless=True, state_dir="/s")),
        "--stateless and --state-dir contradict each other",
        "leave one of them out",
    ),
    (
        Request(Work.RUN, running=Running(defer=True, stateless=True)),
        "--defer keeps state",
        "leave out --stateless and --dry-run",
    ),
    (
        Request(Work.RUN, running=Running(defer=True, dry_run=True)),
        "--defer keeps state",
        "leave out --stateless and --dry-run",
    ),
    (Request(Work.RUN, Scope(trust_root=True)), "--trust-root needs --root", "name the root with --root DIR"),
    (
        Request(Work.PURGE, Scope(("3.11",), cache_tag="cpython-311")),
        "--cache-tag and --python contradict each other",
        "leave one of them out",
    ),
    (
        Request(Work.PURGE, Scope(("3.11",), "cpython-311", every=True)),
        "--all and --python contradict each other",
        "leave one of them out",
    ),
    (
        Request(Work.PURGE, Scope(cache_tag="cpython-311", every=True)),
        "--all and --cache-tag contradict each other",
        "leave one of them out",
    ),
    (Request(Work.PURGE), "purge needs --python V, --cache-tag TAG or --all", "name what to remove"),
]


@pytest.mark.parametrize(("request_", "message", "hint"), REFUSED)
def test_options_that_do_not_go_together(request_: Request, message: str, hint: str) -> None:
    """Whatever else is asked for."""
    with pytest.raises(UsageError) as caught:
        request_.check()
    assert (message, hint) == (caught.value.message, caught.value.hint)


ACCEPTED = [
    Request(Work.RUN),
    FULL,
    Request(Work.RUN, Scope(("3.11",), "cpython-311", every=True)),
    Request(Work.PURGE, Scope(("3.11",))),
    Request(Work.PURGE, Scope(cache_tag="x")),
    Request(Work.PURGE, Scope(every=True)),
    Request(Work.RUN, Scope(root="/r", trust_root=True)),
    Request(Work.RUN, running=Running(stateless=True, dry_run=True)),
    Request(Work.RUN, running=Running(state_dir="/s", defer=True)),
]


@pytest.mark.parametrize("request_", ACCEPTED)
def test_options_that_go_together(request_: Request) -> None:
    """Nothing is said."""
    request_.check()


def test_what_another_run_needs() -> None:
    """As JSON; not who does it, nor the paths."""
    assert KEPT == FULL.replayable() == json.loads(json.dumps(FULL.replayable()))


def test_an_entry_of_the_journal_is_done_by_another_run() -> None:
    """With its own options, and everything else as that run has it."""
    mine = Request(Work.REPAIR, Scope(("3.12",), stdlib=False), running=Running(jobs=1))
    found = mine.replaying(KEPT, paths=("/q",), event="remove")
    assert (KEPT, Work.REPAIR, ("3.12",), 1) == (
        found.replayable(),
        found.work,
        found.scope.pythons,
        found.running.jobs,
    )
    assert Transaction(("/q",), "remove", "dpkg") == found.transaction
    assert (FULL.bytecode._replace(unwanted=False), None) == (
        found.bytecode,
        mine.replaying(KEPT, paths=None).transaction.paths,
    )
    assert "unknown" == mine.replaying(KEPT, paths=None).transaction.event


def test_what_was_not_asked_for_comes_back() -> None:
    """None, empty and false."""
    plain = Request(Work.RUN)
    assert plain == FULL.with_values(plain.values()) == plain.replaying(plain.replayable(), paths=None)


@pytest.mark.parametrize("missing", KEPT)
def test_an_entry_without_an_option_cannot_be_read(missing: str) -> None:
    """Release 0.1.0 wrote all of them."""
    with pytest.raises(KeyError):
        FULL.replaying({name: value for name, value in KEPT.items() if name != missing}, paths=None)


def test_an_option_that_came_later_is_as_if_nobody_had_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an entry of an earlier release; one that has it says what it is."""
    monkeypatch.setattr(request, "_ALWAYS_KEPT", frozenset({*KEPT} - {"exclude", "optimize"}))
    earlier = {name: value for name, value in KEPT.items() if name not in ("exclude", "optimize")}
    found = [FULL.replaying(each, paths=None) for each in (earlier, KEPT)]
    assert [((), None), (("*/x",), (0, 2))] == [(each.scope.exclude, each.bytecode.optimize) for each in found]


@pytest.mark.parametrize(
    "damage", [{"optimize": [7]}, {"stdlib": 1}, {"exclude": "x"}, {"site_dirs": ["s"]}, {"manager": "apt"}]
)
def test_an_entry_with_an_invalid_option_cannot_be_read(damage: dict[str, Any]) -> None:
    """A later release may have written it."""
    with pytest.raises(ValueError, match=r"^write "):
        FULL.replaying({**KEPT, **damage}, paths=None)


def test_the_same_request_about_something_else() -> None:
    """Other paths, other environments, other values; nothing else changes."""
    assert FULL._replace(transaction=Transaction(("/z",), "upgrade", "dpkg")) == FULL.about(("/z",))
    assert FULL._replace(scope=FULL.scope._replace(prefixes=("/y", "/z"))) == FULL.within("/y", "/z")
    changed = FULL.with_values({"stdlib": False, "jobs": None, "colour": "red"})
    assert FULL._replace(scope=FULL.scope._replace(stdlib=False), running=Running(hook=True)) == changed


def test_all_that_is_asked_for() -> None:
    """By its name."""
    parts = (FULL.scope, FULL.bytecode, FULL.transaction, FULL.running)
    assert {name: getattr(part, name) for part in parts for name in part._fields} == FULL.values()


@pytest.mark.parametrize(
    ("asked", "flavour", "expected"),
    [
        ((2,), (1,), (2,)),
        ((), (1,), ()),
        (None, (1,), (1,)),
        (None, None, (0,)),
        (None, "another", (0,)),
    ],
)
def test_which_levels_are_wanted(asked: Any, flavour: Any, expected: tuple[int, ...]) -> None:
    """The command line's, else the flavour's, else the defaults'."""
    name = "3.12" if flavour == "another" else "3.11"
    settings = Settings(flavours={name: FlavourSettings(optimize=(2,) if flavour == "another" else flavour)})
    assert expected == Bytecode(asked).levels(settings, "3.11")


def test_which_work_writes() -> None:
    """The rest only looks."""
    assert [Work.RUN, Work.REPAIR, Work.SWEEP, Work.PURGE] == [work for work in Work if work.writes]
