"""The verdict on a pyc: by its header, and where there is a manifest, by its record."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import Record, digest_of, identity_of
from pyctrigger.tree.source import largest_pyc
from unit.run.plan.trees import MTIME, TEXT, Link, cached, in_memory, make, plan, pyc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyctrigger.run.plan.steps import Step

PYC = f"p/__pycache__/{cached('m')}"
CHECKED, UNCHECKED = InvalidationMode.CHECKED_HASH, InvalidationMode.UNCHECKED_HASH


def verdicts(steps: list[Step]) -> dict[int, str]:
    """The verdicts on the source of these trees, by level; fresh ones have none."""
    return {state.level: state.verdict.value for step in steps for stale in step.stale for state in stale.levels}


@pytest.fixture
def top() -> Iterator[Path]:
    """A package with one source, in memory."""
    with in_memory({"p/m.py": TEXT, "p/__pycache__": None}) as top:
        yield top


#: What stands in the place of the pyc, options, and the verdict; None: it is fresh.
BY_HEADER: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "fits": (pyc(), {}, None),
    "another mtime": (pyc(mtime=MTIME + 1), {}, "mtime"),
    "another size": (pyc(size=len(TEXT) + 1), {}, "size"),
    "both": (pyc(mtime=1, size=1), {}, "mtime"),
    "another magic number": (pyc(magic=b"\xa6\r\r\n"), {}, "foreign-magic"),
    "empty": (b"", {}, "corrupt"),
    "half a header": (pyc()[:8], {}, "corrupt"),
    "no code": (pyc(body=b""), {}, "corrupt"),
    "unknown flags": (pyc(flags=4), {}, "corrupt"),
    "checks what is no hash": (pyc(flags=2), {}, "corrupt"),
    "hash-based": (pyc(flags=1), {}, "mode"),
    "far too large for its source": (pyc(body=bytes(largest_pyc(len(TEXT)))), {}, "corrupt"),
    "a link": (Link("/dev/null"), {}, "obstructed"),
    "a directory": (None, {}, "obstructed"),
    "hash-based, as wanted": (pyc(flags=3), {"mode": CHECKED}, "unproven"),
    "checked, unchecked is wanted": (pyc(flags=3), {"mode": UNCHECKED}, "mode"),
    "timestamp, hash-based is wanted": (pyc(), {"mode": CHECKED}, "mode"),
    "an epoch before the source": (pyc(), {"source_date_epoch": MTIME - 1}, "mtime"),
    "clamped to the epoch": (pyc(mtime=5), {"source_date_epoch": 5}, None),
    "an epoch after the source": (pyc(), {"source_date_epoch": MTIME + 1}, None),
    "a repair": (pyc(), {"work": Work.REPAIR}, "suspect"),
    "a repair, another mtime": (pyc(mtime=1), {"work": Work.REPAIR}, "mtime"),
    "code is compared": (pyc(), {"compare_code": True}, "suspect"),
}


@pytest.mark.parametrize("case", BY_HEADER)
def test_a_header_says_this(top: Path, case: str) -> None:
    """Without a manifest it is all there is."""
    content, options, expected = BY_HEADER[case]
    make(top, {PYC: content})
    assert ({} if expected is None else {0: expected}) == verdicts(plan(top, **options))


@pytest.mark.parametrize(
    ("levels", "there", "expected"),
    [
        ((0,), [], {0: "missing"}),
        ((0, 1, 2), [], {0: "missing", 1: "missing", 2: "missing"}),
        ((0, 1, 2), [0, 2], {1: "missing"}),
        ((1,), [0], {1: "missing"}),
        ((), [0], {}),
    ],
)
def test_each_level_has_a_verdict(top: Path, levels: tuple[int, ...], there: list[int], expected: Any) -> None:
    """Only those that are wanted."""
    make(top, {f"p/__pycache__/{cached('m', level)}": pyc() for level in there})
    assert expected == verdicts(plan(top, levels=levels))


Deed = Callable[["Path", "Path"], Any]


def both(*deeds: Deed) -> Deed:
    """One after the other."""

    def do(source: Path, found: Path) -> None:
        for deed in deeds:
            deed(source, found)

    return do


def write(path: Path, content: bytes) -> None:
    """Other content with the mtime of a source."""
    path.write_bytes(content)
    os.utime(path, (MTIME, MTIME))


def edit(source: Path, _: Path) -> None:
    """Other content of the same size."""
    write(source, b"x = 2\n")


def touch(source: Path, _: Path) -> None:
    """Other times."""
    os.utime(source, (1, 1))


def recompile(_: Path, found: Path) -> None:
    """Other code with the same header."""
    write(found, pyc(body=b"other"))


#: What somebody does to a source and its pyc, and the verdict with the record of both as they were.
BY_RECORD: dict[str, tuple[Deed, str | None]] = {
    "nothing": (lambda source, found: None, None),
    "touches the source": (touch, "mtime only"),
    "touches the pyc": (lambda source, found: os.utime(found, (1, 1)), None),
    "rewrites the source as it was": (lambda source, found: write(source, TEXT), None),
    "other content, same size and mtime": (edit, "content"),
    "other content": (both(edit, touch), "mtime"),
    "other content and size": (lambda source, found: write(source, b"x = 22\n"), "size"),
    "rewrites the pyc as it was": (lambda source, found: write(found, pyc()), None),
    "another body": (recompile, "suspect"),
    "another header": (lambda source, found: write(found, pyc(mtime=1)), "mtime only"),
    "another header and body": (lambda source, found: write(found, pyc(mtime=1, body=b"other")), "mtime"),
    "both are new": (both(edit, recompile), "unknown"),
    "touches the source, and another body": (both(touch, recompile), "mtime"),
    "removes the pyc": (lambda source, found: found.unlink(), "missing"),
    "cuts it": (lambda source, found: write(found, pyc()[:16]), "corrupt"),
    "closes the source": (lambda source, found: source.chmod(0o600), "rights"),
    "closes the pyc": (lambda source, found: found.chmod(0o600), "unreadable"),
    "opens the pyc": (lambda source, found: found.chmod(0o666), "rights"),
    "closes both": (both(lambda source, found: source.chmod(0o600), lambda source, found: found.chmod(0o600)), None),
}


@pytest.fixture
def manifest() -> Iterator[Manifest]:
    """A manifest in memory."""
    with in_memory() as place, contextlib.closing(Manifest(str(place))) as manifest:
        yield manifest


def record(top: Path, manifest: Manifest) -> None:
    """Record the pyc as made from its source."""
    source, found = os.stat(top / "p/m.py"), os.stat(top / PYC)
    header, body = pyc()[:16], pyc()[16:]
    fields = identity_of(source), digest_of(TEXT), identity_of(found), digest_of(body), header, 1000
    manifest.pycs.note(str(top / "p/__pycache__"), cached("m"), Record(*fields))


@pytest.mark.parametrize("case", BY_RECORD)
def test_a_record_says_this(top: Path, manifest: Manifest, case: str) -> None:
    """The bytes of both files decide, where one of them isn't what it was."""
    deed, expected = BY_RECORD[case]
    make(top, {PYC: pyc()})
    record(top, manifest)
    deed(top / "p/m.py", top / PYC)
    assert ({} if expected is None else {0: expected}) == verdicts(plan(top, manifest=manifest))


def test_a_pyc_without_a_record_is_unknown(top: Path, manifest: Manifest) -> None:
    """Whoever wrote it: its header may fit the code of another version."""
    make(top, {PYC: pyc()})
    assert {0: "unknown"} == verdicts(plan(top, manifest=manifest))


@pytest.mark.parametrize("deed", ["rewrites the source as it was", "rewrites the pyc as it was", "another header"])
def test_what_was_proven_is_recorded(top: Path, manifest: Manifest, deed: str) -> None:
    """The next check uses the status of both files again, and reads no bytes."""
    make(top, {PYC: pyc()})
    record(top, manifest)
    BY_RECORD[deed][0](top / "p/m.py", top / PYC)
    time.sleep(0.03)  # or both are too young to be recorded
    plan(top, manifest=manifest, learns=True)
    found = manifest.pycs.get(str(top / "p/__pycache__"), cached("m"))
    assert found is not None
    statuses = identity_of(os.stat(top / "p/m.py")), identity_of(os.stat(top / PYC))
    assert (*statuses, 1000) == (found.source, found.pyc, found.microseconds)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (pyc(mtime=1), {}, ["owned"]),
        (pyc(magic=b"\xa6\r\r\n"), {}, ["owned"]),
        (pyc(mtime=1), {"keep_owned": False}, ["write"]),
        (pyc(), {}, []),
    ],
)
def test_what_a_package_owns_is_reported(top: Path, content: bytes, options: dict[str, Any], expected: Any) -> None:
    """It is the package's, stale or not."""
    make(top, {PYC: content})
    steps = plan(top, owned=[str(top / PYC)], **options)
    assert expected == [*["owned" for step in steps for _ in step.owned], *["write" for step in steps if step.stale]]


def test_a_packages_pyc_is_recorded_as_it_is(top: Path, manifest: Manifest) -> None:
    """From then on a change of it is noticed."""
    make(top, {PYC: pyc(body=b"theirs")})
    time.sleep(0.03)
    assert [] == [step for step in plan(top, manifest=manifest, owned=[str(top / PYC)], learns=True) if step.is_needed]
    found = manifest.pycs.get(str(top / "p/__pycache__"), cached("m"))
    assert found is not None
    assert (digest_of(TEXT), digest_of(b"theirs"), 0) == (found.source_digest, found.body_digest, found.microseconds)
