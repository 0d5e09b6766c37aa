"""The state of an installation: what is read back, what is reported once if it fails, and what is pending."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent
from packages import write_tree
from pyctrigger.state import own_files
from pyctrigger.state.journal import Entry
from pyctrigger.state.quota import StateFullError
from pyctrigger.state.records import manifest
from pyctrigger.state.records.manifest import HOOK_PATIENCE, PATIENCE
from pyctrigger.state.records.parts import Part
from pyctrigger.state.roots import EXAMINED, state_of_root
from pyctrigger.state.sqlite import connect
from pyctrigger.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = ("install", ("/site/m.py",), {"root": None})


def store_in(place: Path, said: list[str], *, create: bool = True) -> Store:
    """One that has a directory."""
    return Store(str(place), said.append, create=create)


def test_everything_comes_back(tmp_path: Path) -> None:
    """By installation, in directories that are ours alone."""
    said: list[str] = []
    store = store_in(tmp_path / "state", said)
    store.journal("one").write(*ENTRY)
    store.learn_magic_number("one", b"\xa7\r\r\n")
    again = store_in(tmp_path / "state", said)
    assert [("install", ("/site/m.py",))] == [(each.event, each.paths) for each in again.pending("one")]
    assert (b"\xa7\r\r\n", None) == (again.magic_number("one"), again.magic_number("two"))
    assert {0o700} == {os.stat(path).st_mode & 0o777 for path in (tmp_path / "state", tmp_path / "state/one")}
    assert [] == said


@pytest.mark.parametrize(
    ("options", "patience"), [({"hurries": True}, HOOK_PATIENCE), ({"hurries": False}, PATIENCE), ({}, PATIENCE)]
)
def test_records_are_in_the_directory_of_their_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], patience: float
) -> None:
    """Notices are the store's; a hook waits less for another program."""
    waited: list[float] = []

    def connect_soon(path: str, patience: float) -> Any:
        waited.append(patience)
        return connect(path, 0.01)

    monkeypatch.setattr(manifest, "connect", connect_soon)
    said: list[str] = []
    store = Store(str(tmp_path), said.append, **options)  # type: ignore[arg-type]
    parts = store.parts("one")
    parts.note("/site", "terms", "p", Part())
    parts.save()
    records = store.manifest("one")
    records.learn("/site/m.py", manifest.Uncompilable(b"i", b"d", b"m", "syntax", "m"))
    records.save()
    assert ["manifest.sqlite", "parts"] == sorted(os.listdir(tmp_path / "one"))
    with contextlib.closing(sqlite3.connect(tmp_path / "one/manifest.sqlite", isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert (False, 1, {patience}) == (store.manifest("one").keeps_records, len(said), set(waited))


@pytest.mark.parametrize("write", ["journal", "parts", "manifest"])
def test_all_that_is_kept_of_a_root_counts(tmp_path: Path, write: str) -> None:
    """Against one limit."""
    (tmp_path / "root").mkdir()
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(print, lambda: False)
    store = Store(state.directory, print, root=state)
    assert store.directory("one") is not None
    before = state.quota.left or 0
    if write == "journal":
        store.journal("one").write(*ENTRY)
    elif write == "parts":
        parts = store.parts("one")
        parts.note("/site", "terms", "p", Part())
        parts.save()
    else:
        records = store.manifest("one")
        records.learn("/site/m.py", manifest.Uncompilable(b"i", b"d", b"m", "syntax", "m"))
        records.save()
    assert before > (state.quota.left or 0)


@pytest.mark.parametrize("text", ["", "xyz", "a7 ", "\xff" * 9, "0" * 80])
def test_a_damaged_magic_number_is_unknown(tmp_path: Path, text: str) -> None:
    """Or only what can be read of it; nothing is an error."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/magic_number").write_text(text)
    found = store_in(tmp_path, []).magic_number("one")
    assert (bytes.fromhex(text[:64]) if text.strip("0a7 ") == "" else None) == found


#: How a store is made, and what it says once when that matters.
WITHOUT = [
    ({"base": None}, ["no state is kept: this account has no home directory; --state-dir names another"]),
    ({"base": None, "stateless": True}, []),
    ({"base": "absent", "create": False}, []),
]


@pytest.mark.parametrize(("options", "expected"), WITHOUT)
def test_without_state_everything_is_empty(
    tmp_path: Path, options: dict[str, object], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is an error, or makes a directory."""
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path, {"other/environment.json": '{"prefix": "/env", "executable": "/python"}'})
    said: list[str] = []
    store = Store(notice=print, **options)  # type: ignore[arg-type]
    store.send_notices_to(said.append)
    store.learn_magic_number("one", b"magic")
    store.note_environment("one", "/env", "/python")
    assert (None, None, None, []) == (
        store.base,
        store.directory("one"),
        store.magic_number("one"),
        list(store.environments()),
    )
    assert ([], False, False) == (store.pending("one"), store.journal("one").is_kept, store.parts("one").are_kept)
    assert store.manifest("one").keeps_records is False
    store.give_notice()
    store.give_notice()
    assert (expected, ["other"]) == (said, os.listdir(tmp_path))


def test_a_state_that_fails_is_given_up_and_said_once(tmp_path: Path) -> None:
    """Later requests get none."""
    said: list[str] = []
    (tmp_path / "file").touch()
    store = store_in(tmp_path / "file", said)
    assert (None, False) == (store.base, store.journal("one").is_kept)
    store.give_notice()
    store.give_notice()
    assert [f"no state is kept: {tmp_path}/file: Not a directory; --state-dir names another directory"] == said
    store.send_notices_to(lambda line: said.append(f"other: {line}"))
    store.give_up(OSError(errno.EIO, "Input/output error"))
    store.give_notice()
    assert 1 == len(said)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), OSError("broken"), StateFullError(1, "broken")])
def test_a_failure_costs_only_the_state(tmp_path: Path, error: OSError) -> None:
    """Of a root as well: what is recorded of it stays, unless there is too much of it."""
    (tmp_path / "root").mkdir()
    said: list[str] = []
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(said.append, lambda: False)
    is_full = isinstance(error, StateFullError)
    for root in (None, state):
        store = Store(state.directory, said.append, root=root)
        store.give_up(error)
        store.give_notice()
        assert (None, is_full and root is not None) == (store.base, state.dropped is not None)
    general = f"no state is kept: {state.directory}: broken; --state-dir names another directory"
    assert [general, f"{tmp_path}/root: {state.full}" if is_full else general] == said


@pytest.mark.parametrize("belongs", [True, False])
def test_a_state_that_can_not_be_dropped_is_given_up(tmp_path: Path, belongs: bool) -> None:
    """Whether it is no directory any more, or another account's."""
    if not belongs and os.geteuid() != 0:
        absent("only root gives a directory away")
    (tmp_path / "root").mkdir()
    said: list[str] = []
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(said.append, lambda: False)
    if belongs:
        os.rename(state.directory, tmp_path / "away")
        open(state.directory, "w").close()
    else:
        os.chown(state.directory, 12345, 12345)
    store = Store(state.directory, said.append, root=state)
    store.give_up(StateFullError(errno.EDQUOT, "full"))
    store.give_notice()
    assert [f"{tmp_path}/root: {state.full}"] == said


def test_a_directory_counts_once(tmp_path: Path) -> None:
    """Eight kilobytes, with its journal's."""
    (tmp_path / "root").mkdir()
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(print, lambda: False)
    store = Store(state.directory, print, root=state)
    before = state.quota.left or 0
    for _ in range(2):
        assert f"{state.directory}/one" == store.directory("one")
    assert 8192 == before - (state.quota.left or 0)


def test_environments_come_back_in_their_order(tmp_path: Path) -> None:
    """Noted once; a note that hasn't changed isn't written again."""
    store = store_in(tmp_path, [])
    for name in ("b", "a"):
        store.note_environment(name, f"/env/{name}", "/usr/bin/python3")
    assert [(name, f"/env/{name}", "/usr/bin/python3") for name in ("a", "b")] == list(store.environments())
    before = (tmp_path / "a/environment.json").stat().st_ino
    store.note_environment("a", "/env/a", "/usr/bin/python3")
    assert before == (tmp_path / "a/environment.json").stat().st_ino
    store.note_environment("a", "/env/a", "/other")
    assert ("a", "/env/a", "/other") == next(store.environments())


@pytest.mark.parametrize("text", ["", "7", "{}", '{"prefix": "/x"}', '{"prefix": 7, "executable": "/p"}', "[]"])
def test_what_is_no_note_of_an_environment_is_left_out(tmp_path: Path, text: str) -> None:
    """As are installations that are no environment's."""
    write_tree(tmp_path, {"a/environment.json": text, "b/magic_number": "", "file": ""})
    assert [] == list(store_in(tmp_path, []).environments())


def test_a_root_whose_state_was_dropped_is_examined_once_by_each_installation(tmp_path: Path) -> None:
    """Until that is in the journal it is pending; afterwards the journal has it."""
    (tmp_path / "root").mkdir()
    said: list[str] = []
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(said.append, lambda: True)
    store = Store(state.directory, said.append, root=state)
    for installation in ("one", "two"):
        assert [Entry("", state.dropped or 0, "unknown", None, {})] == store.pending(installation)
        store.announce_examination(installation, {"root": "/r"})
        store.announce_examination(installation, {"root": "/r"})
        pending = store.pending(installation)
        assert [("unknown", {"root": "/r"}, None)] == [(each.event, each.options, each.paths) for each in pending]
        assert (None, state.dropped) == (
            store.examination_due(installation),
            own_files.read(os.path.join(state.directory, installation, EXAMINED)),
        )
    assert [
        f"{tmp_path}/root: the state inside is from an earlier release and isn't read; everything is examined once"
    ] == said


def test_a_root_whose_state_becomes_too_large_forgets_it(tmp_path: Path) -> None:
    """Its owner chooses the names, and the disk is ours: everything is examined once more."""
    (tmp_path / "root").mkdir()
    said: list[str] = []
    state = state_of_root(str(tmp_path / "state"), str(tmp_path / "root"))
    state.claim(said.append, lambda: False)
    store = Store(state.directory, said.append, root=state)
    store.learn_magic_number("one", b"magic")
    assert None is store.examination_due("one")
    store.give_up(StateFullError(errno.EDQUOT, "full"))
    store.give_notice()
    assert (["root.json"], True, None) == (os.listdir(state.directory), state.dropped is not None, store.base)
    assert [f"{tmp_path}/root: {state.full}"] == said
    assert state.dropped == store.examination_due("one")
