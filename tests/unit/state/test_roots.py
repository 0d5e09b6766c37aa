"""The state of roots that are seen from outside: whose it is, how large it gets, and when it is dropped."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from packages import write_tree
from pyctrigger.state import own_files, roots
from pyctrigger.state.birth import birth_of
from pyctrigger.state.journal import Journal
from pyctrigger.state.quota import measure
from pyctrigger.state.roots import RootState, directory_name, drop_gone_roots, state_of_root, with_pending_work

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [
    ("/", "slash-8a5edab282632443"),
    ("/srv/jail", "srv-jail-db10ca3f452f3482"),
    ("/a b/ü\udcff", "a-b-0cc8179097b7e407"),
    ("/Xa.-X", "Xa.-X-"),
    ("/.-a-.", "a-"),
    ("/" + "x" * 300, "x" * 100 + "-"),
    ("/..", "slash-"),
]


@pytest.mark.parametrize(("path", "start"), NAMES)
def test_a_directory_is_named_after_its_root(path: str, start: str) -> None:
    """Readable, a file's name, and another one for each path."""
    name = directory_name(path)
    readable, _, digest = name.rpartition("-")
    assert (f"{readable}-{digest}", 16) == (name, len(digest))
    assert name == start if start[-1] != "-" else start[:-1] == readable
    assert directory_name(path) != directory_name(f"{path}/other")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty one."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def claimed(root: Path, said: list[str], *, has_state_inside: bool = False) -> RootState:
    """The state of a root, as a run has it."""
    state = state_of_root(str(root.parent / "state"), str(root))
    state.claim(said.append, lambda: has_state_inside)
    return state


def test_a_root_is_known_by_device_inode_and_birth(root: Path) -> None:
    """Wherever a link to it is; what is no directory is no root."""
    (root.parent / "link").symlink_to("root")
    (root.parent / "file").touch()
    descriptor = os.open(root, os.O_RDONLY)
    status = os.fstat(descriptor)
    expected = (status.st_dev, status.st_ino, birth_of(descriptor, status))
    os.close(descriptor)
    for name in ("root", "link"):
        state = state_of_root("/base", str(root.parent / name))
        place = f"/base/roots/{directory_name(str(root))}"
        assert (str(root), expected, place) == (state.path, state.identity, state.directory)
        assert roots.LARGEST == state.quota.left
    with pytest.raises(NotADirectoryError):
        state_of_root("/base", str(root.parent / "file"))


def test_state_inside_a_root_is_not_read(root: Path) -> None:
    """Another release has left it there: everything is examined once."""
    said: list[str] = []
    assert claimed(root, said, has_state_inside=True).dropped is not None
    assert claimed(root, said, has_state_inside=True).dropped is not None
    message = "the state inside is from an earlier release and isn't read; everything is examined once"
    assert [f"{root}: {message}"] == said


def test_a_new_root_has_no_state(root: Path) -> None:
    """Nothing is said of it, nor is anything due."""
    said: list[str] = []
    looked = state_of_root(str(root.parent / "state"), str(root))
    looked.look()
    assert (False, None, False) == (looked.is_known, looked.dropped, (root.parent / "state").exists())
    state = claimed(root, said)
    assert (True, None, ["root.json"], []) == (state.is_known, state.dropped, os.listdir(state.directory), said)
    looked.look()
    assert (True, None) == (looked.is_known, looked.dropped)


UNREAD = ": its state can't be read; everything is examined once"
#: What is changed in a root's note, or stands in its place; whether what was known of it goes, and what is said.
NOTES: list[tuple[dict[str, Any] | str, bool, str]] = [
    ({}, False, ""),
    (
        {"identity": [1, 2, 3]},
        True,
        " isn't the same directory as before; its state is dropped, and everything is examined once",
    ),
    ({"is_clear": False}, True, ""),  # somebody was killed while he dropped it
    ({"format": 0}, True, UNREAD),
    ({"path": b"/other".hex()}, True, UNREAD),
    ({"path": 7}, True, UNREAD),
    ({"identity": [1, 2]}, True, UNREAD),
    ({"identity": ["x", 2, 3]}, True, UNREAD),
    ({"dropped": "x"}, True, UNREAD),
    ({"dropped": []}, True, UNREAD),
    ("", True, UNREAD),
    ("[]", True, UNREAD),
    ("7", True, UNREAD),
]


@pytest.mark.parametrize(("note", "goes", "expected"), NOTES)
def test_state_of_another_root_is_dropped(root: Path, note: dict[str, Any] | str, goes: bool, expected: str) -> None:
    """That is reported once, and everything has to be examined."""
    said: list[str] = []
    state = claimed(root, said)
    path = Path(state.directory) / "root.json"
    write_tree(path.parent, {"one/magic_number": "00", "interpreters/x.json": "", "history.sqlite": ""})
    (path.parent / "link").symlink_to("one")
    if isinstance(note, dict):
        note = json.dumps({**json.loads(path.read_text()), **note})
    path.write_text(note)
    looked = state_of_root(str(root.parent / "state"), str(root))
    looked.look()
    assert (not goes, goes) == (looked.is_known, looked.dropped is not None and bool(looked.dropped))
    for _ in range(2):
        state = claimed(root, said)
    assert goes is bool(state.dropped)
    assert (["root.json"] if goes else ["history.sqlite", "interpreters", "link", "one", "root.json"]) == sorted(
        os.listdir(state.directory)
    )
    assert ([f"{root}{expected}"] if expected else []) == said


def test_a_run_that_is_killed_while_it_drops_a_state_is_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next one, whatever was left."""
    state = claimed(root, [])
    write_tree(Path(state.directory), {"one/magic_number": "00"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", lambda *arguments, **options: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            state.forget()
    looked = state_of_root(str(root.parent / "state"), str(root))
    looked.look()
    assert (False, True) == (looked.is_known, os.path.isdir(f"{state.directory}/one"))
    said: list[str] = []
    assert (True, ["root.json"], []) == (claimed(root, said).is_known, os.listdir(state.directory), said)


def test_a_claim_is_the_latest_use(root: Path) -> None:
    """When all are too large, another one goes first."""
    state = claimed(root, [])
    os.utime(f"{state.directory}/root.json", (1, 1))
    claimed(root, [])
    assert pytest.approx(time.time(), abs=60) == os.stat(f"{state.directory}/root.json").st_mtime


def test_a_root_that_was_made_anew_is_another_one(root: Path) -> None:
    """Though it has the same path, and often the same inode."""
    said: list[str] = []
    claimed(root, said)
    root.rmdir()
    time.sleep(0.01)
    root.mkdir()
    assert (True, 1) == (bool(claimed(root, said).dropped), len(said))


@pytest.mark.parametrize(("size", "goes"), [(60_000, False), (102_400 - 8192, False), (102_400, True)])
def test_the_state_of_one_root_has_a_limit(root: Path, monkeypatch: pytest.MonkeyPatch, size: int, goes: bool) -> None:
    """What is left of it may be written."""
    monkeypatch.setattr(roots, "LARGEST", 102_400)
    said: list[str] = []
    state = claimed(root, said)
    Path(state.directory, "large").write_bytes(b"x" * size)
    state = claimed(root, said)
    assert goes is not os.path.exists(f"{state.directory}/large")
    assert ([f"{root}: {state.full}"] if goes else []) == said
    assert (102_400 if goes else 102_400 - measure(state.directory)) == state.quota.left


#: Sizes of roots' states in KiB, those that were used least recently first, and those that go. The last one is in use.
TOGETHER = [
    ([1024, 1024, 900], []),
    ([1024, 1024, 1024], [0]),
    ([0, 1000, 1000, 1040], [1]),  # to drop an empty one frees nothing
    ([0, 0, 0, 1000, 1000, 1032], [3]),
    ([1000, 600, 600, 1000, 700], [0]),
    ([300, 600, 1000, 1000, 700], [0, 1]),
    ([1024, 1024, 1024, 0], [0]),
    ([20, 1000, 1000, 1000, 3000], [0, 1, 2, 3]),
    ([20, 3100], [0]),
]


@pytest.mark.parametrize(("sizes", "expected"), TOGETHER)
def test_which_states_go_when_all_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int], expected: list[int]
) -> None:
    """As few as will do; and what is no state goes as a whole."""
    monkeypatch.setattr(roots, "LARGEST", 5 << 20)
    said: list[str] = []
    states = []
    for number, size in enumerate(sizes):
        path = tmp_path / "zyxwvu"[number]
        path.mkdir()
        states.append(claimed(path, said))
        Path(states[-1].directory, "large").write_bytes(b"x" * (size << 10))
        os.utime(f"{states[-1].directory}/root.json", (number, number))
        os.utime(states[-1].directory, (99 - number, 99 - number))
    assert [] == said
    monkeypatch.setattr(roots, "LARGEST_TOGETHER", 3 << 20)
    claimed(tmp_path / "zyxwvu"[len(sizes) - 1], said)
    assert expected == [number for number, state in enumerate(states) if not os.path.exists(f"{state.directory}/large")]
    message = "its state was dropped, since all roots' state takes more than 3 MiB"
    assert [f"{states[number].path}: {message}" for number in expected] == said
    for number, state in enumerate(states):
        state.look()
        assert (True, number in expected) == (state.is_known, bool(state.dropped))


def test_what_is_no_state_goes_as_a_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all are too large; a file isn't looked at."""
    state = claimed(root, [])
    place = Path(os.path.dirname(state.directory))
    write_tree(place, {"a file": "", "stray/one/large": "x" * 1000})
    monkeypatch.setattr(roots, "LARGEST_TOGETHER", measure(str(place / "stray")))
    said: list[str] = []
    claimed(root, said)
    assert (["a file", os.path.basename(state.directory)], []) == (sorted(os.listdir(place)), said)


def cannot(number: int) -> Callable[..., None]:
    """What a system call does that fails."""

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_what_can_not_be_removed_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is in use, as is a mount point; and another run may be faster. None of that ends a run."""
    state = claimed(root, [])
    place = os.path.dirname(state.directory)
    write_tree(Path(state.directory), {"one/magic_number": "00", "file": ""})
    monkeypatch.setattr(os, "rmdir", cannot(errno.EBUSY))
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", cannot(errno.ENOENT))
        state.forget()
    assert ["file", "one", "root.json"] == sorted(os.listdir(state.directory))
    write_tree(Path(place), {"stray/large": "x" * 1000})
    monkeypatch.setattr(roots, "LARGEST_TOGETHER", 0)
    claimed(root, [])
    root.rename(root.parent / "away")
    Path(state.directory, "missing").touch()
    os.utime(f"{state.directory}/missing", (1, 1))
    drop_gone_roots(str(root.parent / "state"), print)
    assert {os.path.basename(state.directory), "stray"} == set(os.listdir(place))


def test_a_state_that_can_not_be_dropped_is_left_to_the_next_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: this run goes on."""
    other = root.parent / "other"
    other.mkdir()
    state = claimed(root, [])
    claimed(other, [])
    Path(state.directory, "large").write_bytes(b"x" * 100_000)
    monkeypatch.setattr(roots, "LARGEST_TOGETHER", 0)
    monkeypatch.setattr(own_files, "write_durably", cannot(errno.ENOSPC))
    claimed(other, [])
    assert os.path.exists(f"{state.directory}/large")


def test_gone_roots_go_when_a_new_one_comes(root: Path) -> None:
    """It says so as any run does."""
    state = claimed(root, [])
    root.rename(root.parent / "away")
    Path(state.directory, "missing").touch()
    os.utime(f"{state.directory}/missing", (1, 1))
    (root.parent / "new").mkdir()
    said: list[str] = []
    claimed(root.parent / "new", said)
    assert ([f"the state of {root} was dropped: it has been gone for 30 days"], False) == (
        said,
        os.path.exists(state.directory),
    )


def test_who_can_not_say_since_when_a_root_is_gone_keeps_its_state(root: Path) -> None:
    """A link that leads nowhere has no time; what is made anew is for us alone."""
    state = claimed(root, [])
    (root.parent / "state/roots/a file").touch()
    root.rmdir()
    missing = Path(state.directory, "missing")
    missing.symlink_to("nowhere")
    drop_gone_roots(str(root.parent / "state"), print)
    assert os.path.isdir(state.directory)
    missing.unlink()
    drop_gone_roots(str(root.parent / "state"), print)
    assert 0o600 == missing.stat().st_mode & 0o777


#: Seconds since a root was first missing, whether it is there again, and whether its state is kept.
GONE = [
    (None, False, True),
    (29 * 86400, False, True),
    (31 * 86400, False, False),
    (31 * 86400, True, True),
    (-86400, False, True),  # the clock was set back
]


@pytest.mark.parametrize(("missing", "is_back", "is_kept"), GONE)
def test_the_state_of_a_root_outlives_it_by_a_month(
    root: Path, missing: int | None, is_back: bool, is_kept: bool
) -> None:
    """And is dropped with a notice."""
    said: list[str] = []
    state = claimed(root, said)
    if not is_back:
        root.rmdir()
    if missing is not None:
        Path(state.directory, "missing").touch()
        os.utime(f"{state.directory}/missing", (time.time() - missing,) * 2)
    drop_gone_roots(str(root.parent / "state"), said.append)
    drop_gone_roots(str(root.parent / "absent"), said.append)
    assert is_kept is os.path.isdir(state.directory)
    expected = f"the state of {root} was dropped: it has been gone for 30 days"
    assert ([] if is_kept else [expected]) == said
    if is_kept:
        assert is_back is not os.path.exists(f"{state.directory}/missing")


@pytest.mark.parametrize(
    ("dropped", "examined", "entries", "is_pending"),
    [
        (False, False, 0, False),
        (False, False, 1, True),
        (True, False, 0, True),
        (True, True, 0, False),
        (True, True, 1, True),
    ],
)
def test_which_roots_have_work(root: Path, dropped: bool, examined: bool, entries: int, is_pending: bool) -> None:
    """In a journal, or since everything has to be examined."""
    base = str(root.parent / "state")
    state = claimed(root, [], has_state_inside=dropped)
    write_tree(Path(state.directory), {"one/magic_number": "00"})
    if examined:
        own_files.write_durably(f"{state.directory}/one/{roots.EXAMINED}", state.dropped)
    for _ in range(entries):
        Journal(f"{state.directory}/one").write("install", None, {})
    assert ([str(root)] if is_pending else []) == list(with_pending_work(base))
    for name in ("0", "z"):  # neither a root that is gone nor anything else is in the way
        write_tree(Path(base), {f"roots/{name}/root.json": "", f"roots/{name}-file": ""})
    assert ([str(root)] if is_pending else []) == list(with_pending_work(base))
    root.rmdir()
    assert [] == list(with_pending_work(base))


def test_a_root_that_another_run_drops_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while; a mere clean-up skips it."""
    monkeypatch.setattr(roots, "_PATIENCE", 0.05)
    state = claimed(root, [])
    held = own_files.hold_directory(state.directory)
    assert held is not None
    root.rmdir()
    Path(state.directory, "missing").touch()
    os.utime(f"{state.directory}/missing", (1, 1))
    drop_gone_roots(str(root.parent / "state"), print)
    assert os.path.isdir(state.directory)
    with pytest.raises(BlockingIOError, match="another run has locked it"):
        state.forget()
    os.close(held)
    state.forget()
    assert state.dropped is not None
