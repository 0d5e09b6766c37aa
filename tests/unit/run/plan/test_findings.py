"""What an inspection reads from the steps of a tree: findings, actions, and the numbers that `status` shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.outcome.outcome import Failure
from pyctrigger.outcome.states import OTHER_CODE
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.pyc.names import temporary_names
from pyctrigger.run.apply.forecast import Forecast
from pyctrigger.run.plan.findings import Inspected, Inspection
from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.proof import Prover
from pyctrigger.run.plan.walk import Planner
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record, digest_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.workers import wire
from pyctrigger.workers.pool import Lost
from unit.run.plan.test_proof import Asked, answer
from unit.run.plan.trees import EVERYTHING, TAG, TEXT, cached, in_memory, knowledge_of, pyc, record, wanted

if TYPE_CHECKING:
    from pathlib import Path

    from unit.run.plan.trees import Entries

FRESH = answer(wire.SAME)
M, A, ONE = f"__pycache__/{cached('m')}", f"__pycache__/{cached('a')}", f"__pycache__/{cached('m', 1)}"
OURS = f"__pycache__/{next(temporary_names(wanted().writer))}"
BOTH: dict[str, Any] = {"levels": (0, 1)}


def inspected(
    top: Path, given: Any = FRESH, manifest: Manifest | None = None, *, foretells: bool = False, **options: Any
) -> Inspected:
    """What is found in a tree, by one who gets this answer to each question."""
    owned = options.pop("owned", ())
    if options.pop("closed", False):
        top.chmod(0o755)
        (top / "__pycache__").chmod(0o700)
    options = {"work": Work.RUN if foretells else Work.STATUS, **options}
    knowledge, found = knowledge_of(manifest, [f"{top}/{path}" for path in owned]), wanted(**options)
    unexamined, refused = [Failure("/u", "io", "u")], [Failure("/r", "refused", "r")]
    with Layout(Tree.open(str(top))) as layout:
        planner = Planner(PlannedSite(layout, found, knowledge))
        steps = [(layout, step) for step in planner.plan(EVERYTHING)]
        survey: Any = SimpleNamespace(
            steps=lambda: steps,
            total=planner.totals,
            unexamined=unexamined,
            refused=refused,
            wanted=found,
            knowledge=knowledge,
        )
        reduce = Forecast(found).reduce if foretells else None
        return Inspection(survey, Prover(Asked(given), found, knowledge), reduce).collect()


def lines(top: Path, found: Inspected) -> list[str]:
    """What was found, a line for each thing."""
    tally = found.tally
    texts = [
        f"{'known ' if each.known else ''}{each.kind} {each.pyc} of {each.source}: {each.reason}"
        for each in tally.findings
    ]
    texts += [f"{each.action} {each.path}: {each.reason} {each.levels or ''}".strip() for each in tally.actions]
    texts += [f"unexamined {each.kind} {each.path}: {each.message}" for each in tally.unexamined if each.path != "/u"]
    texts += [f"failure {each.kind} {each.path}: {each.message}" for each in tally.failures if each.path != "/r"]
    texts += [f"takes {site}: {taking}" for site, taking in found.takings.items()]
    texts += [f"{name} {count}" for name, count in tally.counts.as_dict().items() if count]
    return [
        text.replace(OURS, "TEMPORARY")
        .replace(TAG, "TAG")
        .replace("__pycache__", "cache")
        .replace(f"{top}/", "")
        .replace(str(top), ".")
        for text in texts
    ]


#: Entries, the answer to each question, options, and what is found.
CASES: dict[str, tuple[Entries, Any, dict[str, Any], list[str]]] = {
    "fresh": ({"m.py": TEXT, M: pyc()}, FRESH, {}, ["fresh 1"]),
    "missing": (
        {"m.py": TEXT, "a.py": TEXT},
        FRESH,
        BOTH,
        [
            "missing cache/a.TAG.pyc of a.py: no bytecode for level 0",
            "missing cache/a.TAG.opt-1.pyc of a.py: no bytecode for level 1",
            "missing cache/m.TAG.pyc of m.py: no bytecode for level 0",
            "missing cache/m.TAG.opt-1.pyc of m.py: no bytecode for level 1",
            "compile a.py: missing (0, 1)",
            "compile m.py: missing (0, 1)",
        ],
    ),
    "another mtime": (
        {"m.py": TEXT, M: pyc(mtime=5)},
        FRESH,
        {},
        ["stale cache/m.TAG.pyc of m.py: its source has another mtime", "compile m.py: mtime (0,)"],
    ),
    "another size": (
        {"m.py": TEXT, M: pyc(size=9)},
        FRESH,
        {},
        ["stale cache/m.TAG.pyc of m.py: its source has another size", "compile m.py: size (0,)"],
    ),
    "another Python's": (
        {"m.py": TEXT, M: pyc(magic=b"magi")},
        FRESH,
        {},
        [
            "foreign-magic cache/m.TAG.pyc of m.py: its magic number is another Python's",
            "compile m.py: foreign-magic (0,)",
        ],
    ),
    "another mode": (
        {"m.py": TEXT, M: pyc()},
        FRESH,
        {"mode": InvalidationMode.CHECKED_HASH},
        ["stale cache/m.TAG.pyc of m.py: another invalidation mode is configured", "compile m.py: mode (0,)"],
    ),
    "no pyc": (
        {"m.py": TEXT, M: b"x"},
        FRESH,
        {},
        ["corrupt cache/m.TAG.pyc of m.py: it can't be loaded", "compile m.py: corrupt (0,)"],
    ),
    "several levels": (
        {"m.py": TEXT, M: pyc(mtime=5), ONE: pyc(magic=b"magi")},
        FRESH,
        BOTH,
        [
            "stale cache/m.TAG.pyc of m.py: its source has another mtime",
            "foreign-magic cache/m.TAG.opt-1.pyc of m.py: its magic number is another Python's",
            "compile m.py: foreign-magic, mtime (0, 1)",
        ],
    ),
    "unrecorded, and right": ({"m.py": TEXT, M: pyc()}, FRESH, {"compare_code": True}, ["fresh 1"]),
    "unrecorded, and another's": (
        {"m.py": TEXT, M: pyc()},
        answer(wire.CHANGED),
        {"compare_code": True},
        [
            f"mismatched cache/m.TAG.pyc of m.py: {OTHER_CODE}",
            "compile m.py: mismatched (0,)",
        ],
    ),
    "unrecorded, and broken": (
        {"m.py": TEXT, M: pyc()},
        answer(wire.BROKEN),
        {"compare_code": True},
        ["corrupt cache/m.TAG.pyc of m.py: it can't be loaded", "compile m.py: corrupt (0,)"],
    ),
    "a source that takes too much": (
        {"m.py": TEXT, M: pyc()},
        Lost("timeout", "too slow", 9),
        {"compare_code": True},
        ["uncompilable None of m.py: too slow", "skipped 1"],
    ),
    "a source that isn't tried": (
        {"m.py": TEXT, M: pyc(), "a.py": TEXT, A: pyc()},
        Lost("timeout", "no", is_tried=False),
        {"compare_code": True},
        ["unexamined timeout a.py: not tried, nor 1 other: slow sources have used up their time"],
    ),
    "a source that others are to blame for": (
        {"m.py": TEXT, M: pyc()},
        Lost("memory", "no memory"),
        {"compare_code": True},
        ["unexamined memory m.py: no memory"],
    ),
    "a hash that fits": ({"m.py": TEXT, M: pyc(flags=3)}, FRESH, {"mode": InvalidationMode.CHECKED_HASH}, ["fresh 1"]),
    "a hash that doesn't fit": (
        {"m.py": TEXT, M: pyc(flags=3)},
        answer(wire.BODY),
        {"mode": InvalidationMode.CHECKED_HASH},
        ["stale cache/m.TAG.pyc of m.py: its source has other content", "compile m.py: digest (0,)"],
    ),
    "orphans": (
        {"m.py": TEXT, M: pyc(), A: pyc(), "p/" + A: pyc()},
        FRESH,
        {},
        [
            "orphan cache/a.TAG.pyc of a.py: None",
            "orphan p/cache/a.TAG.pyc of p/a.py: None",
            "remove cache/a.TAG.pyc: orphan",
            "remove p/cache/a.TAG.pyc: orphan",
            "remove-directory p/cache: emptied",
            "remove-directory p: emptied",
            "fresh 1",
        ],
    ),
    "residue": (
        {"m.py": TEXT, M: pyc(), OURS: b"x"},
        FRESH,
        {},
        ["residue TEMPORARY of None: None", "remove TEMPORARY: residue", "fresh 1"],
    ),
    "a purge of residue": (
        {OURS: b"x"},
        FRESH,
        {"work": Work.PURGE},
        [
            "residue TEMPORARY of None: None",
            "remove TEMPORARY: residue",
            "remove-directory cache: emptied",
            "takes .: Taking(site='.', pycs=1, bytes=1, by_others=0)",
        ],
    ),
    "a directory that others can't enter": (
        {"m.py": TEXT, M: pyc()},
        FRESH,
        {"closed": True},
        ["unreadable cache of None: None", "chmod cache: unreadable", "fresh 1"],
    ),
    "a run that opens it": (
        {"m.py": TEXT, M: pyc()},
        FRESH,
        {"closed": True, "foretells": True},
        ["unreadable cache of None: None", "chmod cache: unreadable", "fresh 1"],
    ),
    "an owned pyc of another's": (
        {"m.py": TEXT, M: pyc(), ONE: pyc()},
        answer(wire.CHANGED),
        {"owned": (ONE,), "compare_code": True},
        [
            f"mismatched cache/m.TAG.pyc of m.py: {OTHER_CODE}",
            f"mismatched cache/m.TAG.opt-1.pyc of m.py: its level isn't configured, and {OTHER_CODE}",
            "compile m.py: mismatched (0,)",
        ],
    ),
    "an unwanted pyc of another's": (
        {"m.py": TEXT, M: pyc(), ONE: pyc()},
        answer(wire.CHANGED),
        {"compare_code": True},
        [
            f"mismatched cache/m.TAG.pyc of m.py: {OTHER_CODE}",
            f"unwanted cache/m.TAG.opt-1.pyc of m.py: its level isn't configured, and {OTHER_CODE}",
            "compile m.py: mismatched (0,)",
        ],
    ),
    "an unwanted pyc that takes too much": (
        {"m.py": TEXT, M: pyc(mtime=5), ONE: pyc()},
        Lost("timeout", "too slow", 9),
        {"compare_code": True},
        [
            "stale cache/m.TAG.pyc of m.py: its source has another mtime",
            "uncompilable None of m.py: too slow",
            "compile m.py: mtime (0,)",
            "skipped 1",
        ],
    ),
    "unwanted": (
        {"m.py": TEXT, M: pyc(), ONE: pyc()},
        FRESH,
        {},
        ["known unwanted cache/m.TAG.opt-1.pyc of m.py: its level isn't configured", "fresh 1"],
    ),
    "unwanted and stale": (
        {"m.py": TEXT, M: pyc(), ONE: pyc(mtime=5)},
        FRESH,
        {},
        [
            "unwanted cache/m.TAG.opt-1.pyc of m.py: its level isn't configured, and its source has another mtime",
            "fresh 1",
        ],
    ),
    "unwanted and owned": ({"m.py": TEXT, M: pyc(), ONE: pyc()}, FRESH, {"owned": (ONE,)}, ["fresh 1"]),
    "unwanted, owned and stale": (
        {"m.py": TEXT, M: pyc(), ONE: pyc(mtime=5)},
        FRESH,
        {"owned": (ONE,)},
        [
            "stale cache/m.TAG.opt-1.pyc of m.py: its level isn't configured, and its source has another mtime",
            "fresh 1",
        ],
    ),
    "an obstacle": (
        {"m.py": TEXT, "__pycache__": b""},
        FRESH,
        {},
        ["obstructed cache of None: it is a link or a file", "compile m.py: missing (0,)"],
    ),
    "an obstacle for a file": (
        {"m.py": TEXT, M: None},
        FRESH,
        {},
        [
            "obstructed cache/m.TAG.pyc of m.py: something that isn't a regular file has its name",
            "compile m.py: obstructed (0,)",
        ],
    ),
    "excluded": ({"m.py": TEXT, "a.py": TEXT, A: pyc()}, FRESH, {"exclude": ("*/m.py",)}, ["fresh 1", "skipped 1"]),
    "a run": (
        {"m.py": TEXT, M: pyc(mtime=5), A: pyc(), "p/" + A: pyc()},
        FRESH,
        {"foretells": True},
        [
            "stale cache/m.TAG.pyc of m.py: its source has another mtime",
            "orphan cache/a.TAG.pyc of a.py: None",
            "orphan p/cache/a.TAG.pyc of p/a.py: None",
            "compile m.py: mtime (0,)",
            "remove cache/a.TAG.pyc: orphan",
            "remove p/cache/a.TAG.pyc: orphan",
            "remove-directory p/cache: emptied",
            "remove-directory p: emptied",
        ],
    ),
    "a run past an obstacle": (
        {"m.py": TEXT, "__pycache__": b""},
        FRESH,
        {"foretells": True},
        ["obstructed cache of None: it is a link or a file"],
    ),
    "a repair": ({"m.py": TEXT, M: pyc()}, FRESH, {"foretells": True, "work": Work.REPAIR}, ["fresh 1"]),
    "a repair of another's": (
        {"m.py": TEXT, M: pyc()},
        answer(wire.CHANGED),
        {"foretells": True, "work": Work.REPAIR},
        [
            f"mismatched cache/m.TAG.pyc of m.py: {OTHER_CODE}",
            "compile m.py: mismatched (0,)",
        ],
    ),
    "a repair past an obstacle": (
        {"m.py": TEXT, "__pycache__": b""},
        FRESH,
        {"foretells": True, "work": Work.REPAIR},
        ["obstructed cache of None: it is a link or a file", "compile m.py: missing (0,)"],
    ),
    "a purge": (
        {"m.py": TEXT, M: pyc(), ONE: pyc(body=b"longer"), "p/" + A: pyc()},
        FRESH,
        {"work": Work.PURGE},
        [
            "remove cache/m.TAG.opt-1.pyc: pyc",
            "remove cache/m.TAG.pyc: pyc",
            "remove-directory cache: emptied",
            "remove p/cache/a.TAG.pyc: pyc",
            "remove-directory p/cache: emptied",
            "remove-directory p: emptied",
            "takes .: Taking(site='.', pycs=3, bytes=62, by_others=3)",
        ],
    ),
    "a sweep": (
        {"m.py": TEXT, M: pyc(mtime=5), A: pyc()},
        FRESH,
        {"work": Work.SWEEP},
        ["orphan cache/a.TAG.pyc of a.py: None", "remove cache/a.TAG.pyc: orphan"],
    ),
    "obstacles": (
        {"m.py": TEXT, "__pycache__": b"", "p/m.py": TEXT, "p/__pycache__": b""},
        FRESH,
        {},
        [
            "obstructed cache of None: it is a link or a file",
            "obstructed p/cache of None: it is a link or a file",
            "compile m.py: missing (0,)",
            "compile p/m.py: missing (0,)",
        ],
    ),
    "in packages": (
        {"p/m.py": TEXT, "p/" + M: pyc(mtime=5), "q/m.py": TEXT, "q/" + M: pyc(mtime=5), "q/" + ONE: pyc(mtime=5)},
        FRESH,
        {},
        [
            "stale p/cache/m.TAG.pyc of p/m.py: its source has another mtime",
            "stale q/cache/m.TAG.pyc of q/m.py: its source has another mtime",
            "unwanted q/cache/m.TAG.opt-1.pyc of q/m.py: its level isn't configured, and its source has another mtime",
            "compile p/m.py: mtime (0,)",
            "compile q/m.py: mtime (0,)",
        ],
    ),
    "in packages, and right": (
        {"p/m.py": TEXT, "p/" + M: pyc(), "q/m.py": TEXT, "q/" + M: pyc(), "q/" + ONE: pyc()},
        FRESH,
        {"compare_code": True},
        ["known unwanted q/cache/m.TAG.opt-1.pyc of q/m.py: its level isn't configured", "fresh 2"],
    ),
    "in packages, and too slow": (
        {"p/m.py": TEXT, "p/" + M: pyc(), "q/m.py": TEXT, "q/" + M: pyc()},
        Lost("timeout", "too slow", 9),
        {"compare_code": True},
        ["uncompilable None of p/m.py: too slow", "known uncompilable None of q/m.py: too slow", "skipped 2"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_found(case: str) -> None:
    """Findings, actions and counts; what the survey says is passed on."""
    entries, given, options, expected = CASES[case]
    with in_memory(entries) as top:
        found = inspected(top, given, **options)
        assert expected == lines(top, found)
    assert [Failure("/u", "io", "u")] == [each for each in found.tally.unexamined if each.path == "/u"]
    assert [Failure("/r", "refused", "r")] == [each for each in found.tally.failures if each.path == "/r"]


#: The numbers that aren't zero, by case.
NUMBERS: dict[str, dict[str, int]] = {
    "fresh": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "fresh": 1, "refused": 1},
    "missing": {"sources": 2, "source_bytes": 12, "missing": 4, "refused": 1},
    "another mtime": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "refused": 1, "mtime": 1},
    "another size": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "refused": 1, "size": 1},
    "another Python's": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 20,
        "foreign_magic": 1,
        "refused": 1,
        "magic": 1,
    },
    "another mode": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "refused": 1, "mode": 1},
    "no pyc": {"sources": 1, "source_bytes": 6, "pyc_bytes": 1, "corrupt": 1, "damaged": 1, "refused": 1},
    "several levels": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 40,
        "foreign_magic": 1,
        "refused": 1,
        "magic": 1,
        "mtime": 1,
    },
    "unrecorded, and right": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "fresh": 1, "refused": 1},
    "unrecorded, and another's": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 20,
        "mismatched": 1,
        "damaged": 1,
        "refused": 1,
    },
    "unrecorded, and broken": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 20,
        "corrupt": 1,
        "damaged": 1,
        "refused": 1,
    },
    "a source that takes too much": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "uncompilable": 1, "refused": 1},
    "a source that isn't tried": {"sources": 2, "source_bytes": 12, "pyc_bytes": 40, "refused": 1},
    "a source that others are to blame for": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "refused": 1},
    "a hash that fits": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "fresh": 1, "refused": 1},
    "a hash that doesn't fit": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "refused": 1, "digest": 1},
    "orphans": {"sources": 1, "source_bytes": 6, "pyc_bytes": 60, "fresh": 1, "refused": 1, "orphans": 2},
    "residue": {"sources": 1, "source_bytes": 6, "pyc_bytes": 20, "fresh": 1, "refused": 1, "residue": 1},
    "a directory that others can't enter": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 20,
        "fresh": 1,
        "unreadable": 1,
        "refused": 1,
    },
    "an owned pyc of another's": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 40,
        "mismatched": 1,
        "damaged": 1,
        "refused": 1,
    },
    "an unwanted pyc of another's": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 40,
        "mismatched": 1,
        "damaged": 1,
        "refused": 1,
        "unwanted": 1,
    },
    "an unwanted pyc that takes too much": {
        "sources": 1,
        "source_bytes": 6,
        "pyc_bytes": 40,
        "uncompilable": 1,
        "refused": 1,
        "mtime": 1,
    },
    "unwanted": {"sources": 1, "source_bytes": 6, "pyc_bytes": 40, "fresh": 1, "refused": 1, "unwanted": 1},
    "unwanted and stale": {"sources": 1, "source_bytes": 6, "pyc_bytes": 40, "fresh": 1, "refused": 1, "unwanted": 1},
    "unwanted and owned": {"sources": 1, "source_bytes": 6, "pyc_bytes": 40, "fresh": 1, "refused": 1},
    "unwanted, owned and stale": {"sources": 1, "source_bytes": 6, "pyc_bytes": 40, "fresh": 1, "refused": 1},
    "an obstacle": {"sources": 1, "source_bytes": 6, "missing": 1, "obstructed": 1, "damaged": 1, "refused": 1},
    "an obstacle for a file": {"sources": 1, "source_bytes": 6, "obstructed": 1, "damaged": 1, "refused": 1},
    "excluded": {"sources": 2, "source_bytes": 12, "pyc_bytes": 20, "fresh": 1, "excluded": 1, "refused": 1},
    "obstacles": {"sources": 2, "source_bytes": 12, "missing": 2, "obstructed": 2, "damaged": 2, "refused": 1},
    "in packages": {"sources": 2, "source_bytes": 12, "pyc_bytes": 60, "refused": 1, "unwanted": 1, "mtime": 2},
    "in packages, and right": {
        "sources": 2,
        "source_bytes": 12,
        "pyc_bytes": 60,
        "fresh": 2,
        "refused": 1,
        "unwanted": 1,
    },
    "in packages, and too slow": {"sources": 2, "source_bytes": 12, "pyc_bytes": 40, "uncompilable": 2, "refused": 1},
}


@pytest.mark.parametrize("case", NUMBERS)
def test_what_status_shows(case: str) -> None:
    """Each pyc under what is wrong with it."""
    entries, given, options, _ = CASES[case]
    with in_memory(entries) as top:
        found = inspected(top, given, **options)
        both = Inspected()
        both.add(found)
        for each in (found, both):
            summary = each.summary()
            stale = {reason: count for reason, count in summary.pop("stale").items() if count}
            assert NUMBERS[case] == {**{name: count for name, count in summary.items() if count}, **stale}
        both.add(found)
    assert {name: 2 * count for name, count in found.summary().items() if name != "stale"} == {
        name: count for name, count in both.summary().items() if name != "stale"
    }
    assert 2 * sum(found.states.values()) == sum(both.states.values())
    assert 2 * sum(found.reasons.values()) == sum(both.reasons.values())


#: What is recorded of a pyc: a change to its record, and whether a purge counts it as another's.
RECORDED: dict[str, tuple[Callable[[Record], Record | None], bool]] = {
    "ours": (lambda found: found, False),
    "nothing": (lambda _: None, True),
    "without a time": (lambda found: found._replace(microseconds=0), True),
    "copied back": (lambda found: found._replace(pyc=UNSEEN), False),
    "another body": (lambda found: found._replace(pyc=UNSEEN, body_digest=digest_of(b"other")), True),
    "another header": (lambda found: found._replace(pyc=UNSEEN, header=pyc(mtime=5)[:16]), True),
}


@pytest.mark.parametrize("case", RECORDED)
def test_whose_pycs_a_purge_takes(case: str) -> None:
    """Those of others are counted apart."""
    change, is_others = RECORDED[case]
    with in_memory({"m.py": TEXT, M: pyc()}) as top:
        manifest = Manifest(str(top.parent / f"{top.name}-state"))
        record(top, manifest)
        (found,) = [manifest.pycs.get(str(top / "__pycache__"), cached("m"))]
        assert found is not None
        changed = change(found._replace(microseconds=7))
        if changed is None:
            manifest = Manifest(None)
        else:
            manifest.pycs.note(str(top / "__pycache__"), cached("m"), changed)
        taking = inspected(top, manifest=manifest, work=Work.PURGE).takings[str(top)]
        manifest.close()
    assert (str(top), 1, len(pyc()), int(is_others)) == taking
