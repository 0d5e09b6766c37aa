"""The bytecode that is wanted: by a request and the configuration."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.packages.bcep import Exclusion
from pyctrigger.pyc.header import HeaderFormat, InvalidationMode
from pyctrigger.run.plan.wanted import Wanted, wanted_bytecode
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Work
from pyctrigger.run.scope.target import Target
from unit.interpreter.made_up import interpreter
from unit.run.plan.trees import HEADER, MAGIC, TAG, WRITER

CHECKED, UNCHECKED = InvalidationMode.CHECKED_HASH, InvalidationMode.UNCHECKED_HASH
DEFAULTS = Settings()
FLAVOUR = {"3.11": FlavourSettings(optimize=(1,))}


def asked(
    work: Work = Work.RUN,
    settings: Settings = DEFAULTS,
    *,
    version: tuple[int, int, int] = (3, 11, 1),
    **options: Any,
) -> Wanted:
    """What is wanted by these options."""
    hook, exclude = options.pop("hook", False), options.pop("exclude", ())
    scope = Scope(exclude=exclude, keep_system=options.pop("keep_system", False))
    request = Request(work, scope, Bytecode(**options), running=Running(hook=hook))
    target = Target(interpreter("3.11", "/opt/python", version=version), (), None)
    return wanted_bytecode(target, request, settings, WRITER)


#: The work, the configuration, the options, and what is wanted apart from the defaults.
CASES: dict[str, tuple[Work, Settings, dict[str, Any], dict[str, Any]]] = {
    "the defaults": (Work.RUN, Settings(), {}, {}),
    "a hook's": (Work.RUN, Settings(), {"hook": True}, {"reports_shared": False}),
    "levels": (Work.RUN, Settings(optimize=(0, 2)), {}, {"levels": (0, 2)}),
    "levels of a flavour": (Work.RUN, Settings(optimize=(0, 2), flavours=FLAVOUR), {}, {"levels": (1,)}),
    "levels that are asked for": (Work.RUN, Settings(optimize=(0,)), {"optimize": (1,)}, {"levels": (1,)}),
    "in a repair": (Work.REPAIR, Settings(), {"optimize": (1,)}, {"work": Work.REPAIR, "levels": (1,)}),
    "in a purge": (
        *(Work.PURGE, Settings(), {"optimize": (1,)}),
        {"work": Work.PURGE, "levels": (1,), "bound": frozenset({1})},
    ),
    "every one in a purge": (
        *(Work.PURGE, Settings(), {"optimize": (2, 0, 1)}),
        {"work": Work.PURGE, "levels": (2, 0, 1)},
    ),
    "in a look": (
        *(Work.VERIFY, Settings(), {"optimize": (1, 2)}),
        {"work": Work.VERIFY, "levels": (1, 2), "bound": frozenset({1, 2}), "keep_owned": False},
    ),
    "in a sweep": (
        *(Work.SWEEP, Settings(optimize=(0, 2)), {"optimize": (1,)}),
        {"work": Work.SWEEP, "levels": (0, 2), "bound": frozenset({1})},
    ),
    "unwanted levels": (Work.SWEEP, Settings(), {"unwanted": True}, {"work": Work.SWEEP, "sweeps_unwanted": True}),
    "some unwanted levels": (
        *(Work.SWEEP, Settings(), {"unwanted": True, "optimize": (0, 1)}),
        {"work": Work.SWEEP, "sweeps_unwanted": True, "bound": frozenset({0, 1})},
    ),
    "what the system's tools write": (
        *(Work.SWEEP, Settings(optimize=(1, 2)), {"keep_system": True}),
        {"work": Work.SWEEP, "sweeps_unwanted": True},
    ),
    "a mode": (Work.RUN, Settings(invalidation_mode=CHECKED), {}, {"mode": CHECKED}),
    "a mode that is asked for": (
        *(Work.RUN, Settings(invalidation_mode=CHECKED), {"invalidation_mode": UNCHECKED}),
        {"mode": UNCHECKED},
    ),
    "a mode for 3.6": (
        *(Work.RUN, Settings(invalidation_mode=CHECKED), {"version": (3, 6, 1)}),
        {"header": HeaderFormat(MAGIC, 12)},
    ),
    "patterns": (Work.RUN, Settings(exclude=("a",)), {"exclude": ("b", "c")}, {"exclude": ("a", "b", "c")}),
    "what is there": (Work.RUN, Settings(create_missing=False), {}, {"create_missing": False}),
    "clamped times": (Work.RUN, Settings(), {"source_date_epoch": 7}, {"source_date_epoch": 7}),
    "code": (
        *(Work.VERIFY, Settings(), {"compare_code": True}),
        {"work": Work.VERIFY, "compare_code": True, "keep_owned": False},
    ),
    "any directory": (Work.RUN, Settings(untrusted_directories="allow"), {}, {"trust_all_directories": True}),
    "no links": (Work.RUN, Settings(duplicates="copy"), {}, {"links_twins": False}),
    "packages' pycs": (Work.RUN, Settings(owned_stale="replace"), {}, {"keep_owned": False}),
    "a program's own": (Work.RUN, Settings(), {"replaces_owned": True}, {"keep_owned": False}),
    "limits": (
        *(Work.RUN, Settings(file_timeout=3, memory_limit=5), {}),
        {"limits": {"timeout": 3, "memory": 5}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_this_is_wanted(case: str) -> None:
    """Everything else is as always."""
    work, settings, options, expected = CASES[case]
    usual = Wanted(TAG, HEADER, (0,), InvalidationMode.TIMESTAMP, WRITER)
    usual = usual._replace(reports_shared=os.geteuid() == 0, limits={"timeout": 60, "memory": 2 << 30})
    assert usual._replace(**expected) == asked(work, settings, **options)


@pytest.mark.parametrize(("levels", "text"), [((0,), "0"), ((2, 0), "0, 2")])
def test_wanted_levels_cant_be_unwanted(levels: tuple[int, ...], text: str) -> None:
    """They would be written again."""
    with pytest.raises(UsageError) as caught:
        asked(Work.SWEEP, Settings(optimize=(0, 2)), unwanted=True, optimize=levels)
    message = f"--unwanted --optimize {text.replace(' ', '')}: the configuration wants level {text}"
    hint = "name the levels to remove, or leave out --optimize"
    assert (message, hint) == (caught.value.message, caught.value.hint)


#: For each kind of work: whether all is compared, everything goes, sources are judged, unchanged directories are
#: skipped, and bytes are counted.
WORK = {
    Work.RUN: (False, False, True, True, False),
    Work.REPAIR: (True, False, True, False, False),
    Work.SWEEP: (False, False, False, False, False),
    Work.PURGE: (False, True, False, False, False),
    Work.VERIFY: (False, False, True, True, False),
    Work.STATUS: (False, False, True, False, True),
}


@pytest.mark.parametrize("work", WORK)
def test_work_decides(work: Work) -> None:
    """How much is done, and trusted."""
    each = asked(work)
    found = (each.trust_nothing, each.purges, each.judges_sources, each.passes_unchanged, each.measures)
    assert WORK[work] == found
    assert not each._replace(compare_code=True).passes_unchanged


@pytest.mark.parametrize(
    ("mtime", "epoch", "expected"),
    [(7.9, None, 7), (-7.9, None, -7), (7.9, 5, 5), (7.9, 7, 7), (7.9, 9, 7), (7.9, 0, 0)],
)
def test_times_are_whole_seconds_and_clamped(mtime: float, epoch: int | None, expected: int) -> None:
    """As importlib computes them."""
    status = os.stat_result((0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0.0, mtime, 0.0))
    each = asked(source_date_epoch=epoch)
    assert expected == each.mtime(status)
    header = MAGIC + bytes(4) + (expected % 2**32).to_bytes(4, "little") + b"\x09\0\0\0"
    assert expected < 0 or header == each.expected_header(status)


def test_terms_differ_with_what_is_needed() -> None:
    """Whatever makes another pyc right, or leaves one out; how it is worked on doesn't count."""
    base = asked()
    changes: list[dict[str, Any]] = [
        {"cache_tag": "other"},
        {"header": HeaderFormat(MAGIC, 12)},
        {"header": HeaderFormat(b"othr", 16)},
        {"levels": (0, 1)},
        {"mode": CHECKED},
        {"source_date_epoch": 1},
        {"exclude": ("a",)},
        {"left_out": (Exclusion("dir", "/a/"),)},
        {"left_out": (Exclusion("file", "/a/"),)},
        {"create_missing": False},
    ]
    terms = [base._replace(**each).terms for each in [{}, *changes]]
    assert len(terms) == len(set(terms))
    assert base.terms == base._replace(writer="other", work=Work.VERIFY, keep_owned=False, limits={}).terms
