"""Any bytes, in any file that is read: a verdict or an error of ours, never a traceback, and nothing that hangs.

Seconds by default; with `PYCTRIGGER_TEST_PROFILE=long` as long as somebody has patience (see CONTRIBUTING.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults import SOURCES, Place
from frames import framed
from packages import snapshot, write_tree
from pyctrigger.cli.call import make_request, parse
from pyctrigger.errors import ConfigurationError, UsageError
from pyctrigger.interpreter.child import start
from pyctrigger.run.scope import config
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.trigger import perform
from pyctrigger.workers import wire

if TYPE_CHECKING:
    from interpreters import Interpreter
    from pyctrigger.outcome.report import Report

_KINDS = {"missing", "stale", "corrupt", "mismatched", "orphan", "residue", "obstructed", "foreign-magic", "unreadable"}
#: Examples that start processes are worth a hundred of the others.
_SLOW = settings().max_examples // 4


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """These bytes with something else in one place or in a few, cut off, or altogether other ones."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start_of = draw(st.integers(0, len(data)))
        end = draw(st.integers(start_of, min(len(data), start_of + 64)))
        data[start_of:end] = draw(st.binary(max_size=32))
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut])


class World:
    """One compiled module with its state, for many examples."""

    def __init__(self, top: Path, interpreter: Interpreter) -> None:
        self.site = write_tree(top / "site", {f"package/{name}": text for name, text in SOURCES.items()})
        self.state = top / "state"
        self.pyc = Place(self.site / "package", interpreter, top).pyc()
        self.request = Request(
            Work.RUN,
            Scope(pythons=(interpreter.path,), site_dirs=(str(self.site),)),
            running=Running(state_dir=str(self.state), jobs=1),
        )
        assert 0 == perform(self.request).exit_code
        shutil.copytree(self.state, top / "good")
        self._good = top / "good"
        self.whole = self.pyc.read_bytes()
        (self.installation,) = [path for path in self.state.iterdir() if (path / "manifest.sqlite").exists()]

    def restore(self) -> None:
        """Everything as it was after the first run."""
        self.pyc.write_bytes(self.whole)
        shutil.rmtree(self.state)
        shutil.copytree(self._good, self.state)

    def perform(self, work: Work, **changes: Any) -> Report:
        """What becomes of a request: a report without a word of a defect."""
        report = perform(self.request._replace(work=work, **changes))
        assert [] == [error for error in report.errors if error.exit_code == 70]
        return report


@pytest.fixture(scope="module")
def world(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> World:
    """For the newest CPython."""
    return World(tmp_path_factory.mktemp("fuzz"), newest)


# -- pycs ------------------------------------------------------------------------------------------------------------


@settings(max_examples=_SLOW)
@given(data=st.data(), remembers=st.booleans())
def test_any_pyc_gets_a_verdict_and_is_mended(world: World, data: st.DataObject, remembers: bool) -> None:
    """With a record of it or without; what is found is gone after a run, and what isn't found is left as it is."""
    world.restore()
    if not remembers:
        (world.installation / "manifest.sqlite").unlink()
    world.pyc.write_bytes(data.draw(damaged(world.whole) | st.binary(max_size=200)))
    before = snapshot(world.site)

    verified = world.perform(Work.VERIFY)

    assert snapshot(world.site) == before
    kinds = {finding.kind for finding in verified.runs[0].tally.findings}
    assert kinds <= _KINDS
    assert verified.exit_code == bool(kinds)
    assert 0 == world.perform(Work.RUN).exit_code
    assert 0 == world.perform(Work.VERIFY).exit_code
    if kinds:
        assert world.whole == world.pyc.read_bytes()


# -- frames ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=40).map(framed), max_size=8))
def test_any_stream_of_a_worker_is_read_or_refused(pieces: list[bytes]) -> None:
    """Whatever a child that was brought to it answers: a first word, answers, or a WireError."""
    reader = wire.FrameReader(largest=1 << 20)
    with contextlib.suppress(wire.WireError):
        for piece in pieces:
            for payload in reader.feed(piece):
                with contextlib.suppress(wire.WireError):
                    wire.parse_ready(payload)
                with contextlib.suppress(wire.WireError):
                    wire.parse_reply(payload)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that the host would send, or what is left of one, or neither."""
    levels = draw(st.lists(st.integers(0, 255), min_size=1, max_size=3))
    source = draw(st.binary(max_size=60) | st.just(b"x = 1\n"))
    asked = [wire.LevelRequest(level, draw(st.none() | st.binary(min_size=8, max_size=8))) for level in levels]
    bodies = [draw(st.binary(max_size=30)) for _ in levels]
    pieces = draw(
        st.sampled_from(
            [
                wire.request(asked, b"/m.py", source),
                wire.warm_up(source),
                wire.question(levels, b"/m.py", source, bodies, compare=draw(st.booleans())),
            ]
        )
    )
    whole = b"".join(pieces)
    frames = st.just(whole) | damaged(whole) | st.binary(max_size=40) | st.binary(max_size=40).map(framed)
    said: bytes = draw(frames)
    return said


@settings(max_examples=_SLOW)
@given(frames=st.lists(requests(), min_size=1, max_size=6), program=st.sampled_from(["compile", "compare"]))
def test_a_worker_answers_or_ends_whatever_it_is_told(newest: Interpreter, frames: list[bytes], program: str) -> None:
    """What it does say are whole frames that are answers; at the end of its input it ends."""
    life, ours = os.pipe()
    try:
        with start(newest.path, program, [str(life), str(1 << 30), "10", "1", "-1", "", "0"], keep=[life]) as child:
            os.close(life)
            life = -1
            said, _ = child.communicate(b"".join(frames), timeout=60)
    finally:
        os.close(ours)
        if life >= 0:
            os.close(life)
    ready, *answers = wire.FrameReader().feed(said)
    assert wire.parse_ready(ready).cache_tag.startswith("cpython-")
    for answer in answers:
        wire.parse_reply(answer)
    assert len(said) == sum(4 + len(payload) for payload in (ready, *answers))


# -- configuration and lists of paths --------------------------------------------------------------------------------

_CONFIGURATION = b"""
[defaults]
optimize = [0, 1]
invalidation_mode = "checked-hash"
exclude = ["*/tests/*"]
memory_limit = "2GiB"
lock_timeout = 1.5
[hooks]
enabled = true
[flavours."3.11"]
executable = "/usr/bin/python3.11"
site_dirs = ["/usr/lib/python3/dist-packages"]
"""


@given(damaged(_CONFIGURATION))
def test_any_configuration_is_read_or_refused(text: bytes) -> None:
    """A word wrong, a bracket gone, bytes that are no UTF-8: all faults at once, each on one line."""
    try:
        config.parse(text, "/etc/pyctrigger.toml")
    except ConfigurationError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert not any("\n" in problem for problem in problems)


_pieces = st.lists(
    st.binary(max_size=12) | st.sampled_from([b"/", b"..", b"\n", b"\0", b"package/victim.py", b"/etc/passwd", b"-"]),
    max_size=8,
)


@settings(max_examples=_SLOW)
@given(pieces=_pieces, under_site=st.booleans(), null=st.booleans(), verb=st.sampled_from(["verify", "run"]))
def test_any_list_of_paths_is_served_or_refused(
    world: World, pieces: list[bytes], under_site: bool, null: bool, verb: str
) -> None:
    """By the command's own parser; nothing outside the site directory is looked at, nothing inside is changed."""
    world.restore()
    listed = world.state.parent / "paths"
    listed.write_bytes((os.fsencode(world.site) + b"/" if under_site else b"") + b"".join(pieces))
    arguments = [verb, "--python", world.request.scope.pythons[0], "--site-dir", str(world.site)]
    arguments += ["--state-dir", str(world.state), "--paths-from", str(listed), *(["--null"] if null else [])]
    before = snapshot(world.site)
    with contextlib.suppress(UsageError):
        report = perform(make_request(parse(arguments).options))
        assert report.exit_code in (0, 2)
        assert [] == [failure for run in report.runs for failure in run.tally.failures]
    assert snapshot(world.site) == before


# -- state -----------------------------------------------------------------------------------------------------------


def note(world: World) -> tuple[Path, dict[str, Any]]:
    """Where a run notes what it has to do, and what; each time the very same."""
    journal = world.installation / "journal"
    journal.mkdir(mode=0o700, exist_ok=True)
    paths = [os.fsencode(world.site / "package").hex()]
    fields = {"since": 1.0, "event": "unknown", "paths": paths, "options": world.request.replayable(), "attempts": 0}
    return journal / "00000000000000000001-1-00000000.json", {"format": 1, **fields}


def served(world: World) -> None:
    """All commands that look at the state do what they are asked, and the module is as it should be."""
    world.pyc.unlink()
    world.perform(Work.STATUS)
    world.perform(Work.VERIFY)
    report = world.perform(Work.RUN)
    assert report.exit_code in (0, 1)
    # An entry may name another kind of header, or times to clamp to.
    assert world.whole[16:] == world.pyc.read_bytes()[16:]


@settings(max_examples=_SLOW)
@given(data=st.data())
def test_any_bytes_in_the_journal_stop_nobody(world: World, data: st.DataObject) -> None:
    """An entry that can't be read is left alone."""
    world.restore()
    path, stored = note(world)
    path.write_bytes(data.draw(damaged(json.dumps(stored).encode()) | st.binary(max_size=80)))
    served(world)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["2f6574", "/etc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=2 * _SLOW)
@given(data=st.data())
def test_any_value_in_the_journal_stops_nobody(world: World, data: st.DataObject) -> None:
    """JSON of the right shape with something else in one of its places."""
    world.restore()
    path, stored = note(world)
    options = stored["options"]
    where, key = data.draw(st.sampled_from([(stored, key) for key in stored] + [(options, key) for key in options]))
    where[key] = data.draw(_values)
    path.write_text(json.dumps(stored))
    outside = snapshot(world.state.parent / "good")
    served(world)
    assert snapshot(world.state.parent / "good") == outside


@settings(max_examples=_SLOW)
@given(data=st.data(), name=st.sampled_from(["manifest.sqlite", "magic_number"]))
def test_any_bytes_in_the_other_state_stop_nobody(world: World, data: st.DataObject, name: str) -> None:
    """They are hints."""
    world.restore()
    path = world.installation / name
    whole = path.read_bytes()
    path.write_bytes(data.draw(damaged(whole) | st.binary(max_size=80)))
    served(world)


_cells = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.binary(max_size=20)
)


@settings(max_examples=2 * _SLOW)
@given(data=st.data(), mode=st.sampled_from(["timestamp", "checked-hash"]))
def test_any_row_in_the_manifest_stops_nobody(world: World, data: st.DataObject, mode: str) -> None:
    """SQLite keeps anything in any column."""
    world.restore()
    path = world.installation / "manifest.sqlite"
    table, columns = data.draw(
        st.sampled_from(
            [
                ("blocks", ["directory", "first", "names", "records", "origins"]),
                ("uncompilable", ["path", "identity", "digest", "magic_number", "kind", "message", "tried_with"]),
            ]
        )
    )
    column = data.draw(st.sampled_from(columns))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        if table == "uncompilable":
            source = os.fsencode(world.site / "package/victim.py")
            row = (source, "identity", b"digest", struct.pack("<I", 0), "syntax", "SyntaxError", 0)
            database.execute("insert into uncompilable values (?, ?, ?, ?, ?, ?, ?)", row)
        with contextlib.suppress(sqlite3.IntegrityError):  # what the schema itself refuses
            database.execute(f"update {table} set {column} = ?", (data.draw(_cells),))
    served(world)
