"""A directory of hooks: files come whole or not at all, and go only if they are ours to the letter."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import socket
from typing import TYPE_CHECKING, Any

import pytest

from children import in_child, public_directory
from pyctrigger.errors import LockTimeoutError, PyctriggerError, RightsError, UsageError
from pyctrigger.packages.hook import HookFile
from pyctrigger.run.hooks import hook_directory
from pyctrigger.run.hooks.hook_directory import HookDirectory, Occupant, describe_former, hold_lock

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = HookFile("/etc/hooks.d/first", "one\n"), HookFile("/etc/hooks.d/second", "é\n", 0o755)
MOST = 1 << 20


def directory_in(top: Path) -> HookDirectory:
    """The directory of these hooks, in a root."""
    return HookDirectory(str(top), "/etc/hooks.d")


def files_in(top: Path) -> dict[str, tuple[bytes, int]]:
    """What is there, hidden files included."""
    place = top / "etc/hooks.d"
    return {path.name: (path.read_bytes(), path.stat().st_mode & 0o7777) for path in sorted(place.iterdir())}


INSTALLED = {"first": (b"one\n", 0o644), "second": ("é\n".encode(), 0o755)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the hooks are, empty."""
    place = tmp_path / "etc/hooks.d"
    place.mkdir(parents=True)
    return place


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Occupant("absent"), "absent"),
        (Occupant("file", b"one\n", 0o644), "installed"),
        (Occupant("file", b"one\n", 0o600), "different"),
        (Occupant("file", b"one", 0o644), "different"),
        (Occupant("link", b"one\n", 0o644), "different"),
        (Occupant("other"), "different"),
    ],
)
def test_the_state_of_a_hook(entry: Occupant, expected: str) -> None:
    """Text and mode count."""
    assert expected == entry.state_of(FIRST)


def test_what_is_found_under_a_name(tmp_path: Path, place: Path) -> None:
    """No link is followed, nothing is waited for, and nothing large is read."""
    (place / "file").write_bytes(b"x" * MOST)
    (place / "file").chmod(0o4751)
    (place / "large").write_bytes(b"x" * (MOST + 1))
    (place / "link").symlink_to("file")
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as made, pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)  # a name has room for 107 bytes
        made.bind("socket")
    (place / "inner").mkdir()
    names = ("file", "large", "link", "fifo", "socket", "inner", "absent")
    others = [Occupant(kind) for kind in ("other", "link", "other", "other", "other", "absent")]
    assert [Occupant("file", b"x" * MOST, 0o4751), *others] == [directory_in(tmp_path).look(name) for name in names]
    assert Occupant("absent") == HookDirectory(str(tmp_path), "/no").look("file")
    assert Occupant("absent") == HookDirectory(str(tmp_path), "/etc/hooks.d/file").look("x")
    assert Occupant("absent") == HookDirectory(None, f"{tmp_path}/etc/hooks.d").look("absent")
    assert Occupant("link") == HookDirectory(None, f"{tmp_path}/etc/hooks.d").look("link")


@pytest.mark.usefixtures("as_root")
def test_what_may_not_be_read_is_something_else() -> None:
    """Nothing of it is known."""
    with public_directory() as top:
        (top / "closed").write_text("")
        (top / "closed").chmod(0)
        assert Occupant("file") == HookDirectory(str(top), "/").look("closed")
        assert Occupant("other") == in_child(lambda: HookDirectory(str(top), "/").look("closed"), account=12345)


def test_the_names_in_a_directory(tmp_path: Path, place: Path) -> None:
    """Sorted, and not more than are asked for."""
    for name in "cab":
        (place / name).touch()
    directory = directory_in(tmp_path)
    assert (["a", "b", "c"], 2, []) == (directory.names(9), len(directory.names(2)), HookDirectory("/", "/no").names(9))


def test_hooks_are_put_in_their_places(tmp_path: Path) -> None:
    """Whole, with their modes, whatever the umask; the directory is made, and what was there is replaced."""
    before = os.umask(0o077)
    try:
        directory_in(tmp_path).put([FIRST, SECOND])
    finally:
        os.umask(before)
    assert INSTALLED == files_in(tmp_path)
    (tmp_path / "etc/hooks.d/first").write_text("other")
    (tmp_path / "etc/hooks.d/first").chmod(0o600)
    (tmp_path / "etc/hooks.d/second").unlink()
    (tmp_path / "etc/hooks.d/second").symlink_to("first")
    directory_in(tmp_path).put([FIRST, SECOND])
    assert INSTALLED == files_in(tmp_path)
    assert not (tmp_path / "etc/hooks.d/second").is_symlink()
    HookDirectory(None, f"{tmp_path}/etc/more").put([FIRST])
    assert "one\n" == (tmp_path / "etc/more/first").read_text()


def test_none_is_installed_where_one_cannot_be(tmp_path: Path, place: Path) -> None:
    """The file is named."""
    (place / "second").mkdir()
    with pytest.raises(UsageError) as caught:
        directory_in(tmp_path).put([FIRST, SECOND])
    message = f"{tmp_path}/etc/hooks.d/second: something that isn't a file is in its place"
    assert (message, "fix that, and run it again", ["second"]) == (
        caught.value.message,
        caught.value.hint,
        os.listdir(place),
    )


def test_nothing_is_left_where_there_is_no_room(tmp_path: Path, place: Path) -> None:
    """The second one doesn't fit, so the first isn't installed either."""
    large = SECOND._replace(text="x" * 5000)

    def put() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with pytest.raises(UsageError) as caught:
            directory_in(tmp_path).put([FIRST, large])
        return str(caught.value.message)

    directory_in(tmp_path).put([FIRST])
    directory_in(tmp_path).remove([FIRST])
    assert (f"{tmp_path}/etc/hooks.d/second: File too large", []) == (in_child(put), os.listdir(place))


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """The first file is named."""
    (tmp_path / "etc").touch()
    for change in (HookDirectory.put, HookDirectory.remove):
        with pytest.raises(UsageError) as caught:
            change(directory_in(tmp_path), [FIRST, SECOND])
        assert f"{tmp_path}/etc/hooks.d/first: Not a directory" == caught.value.message


@pytest.mark.usefixtures("as_root")
def test_who_may_not_write_needs_root() -> None:
    """Another error than for root itself, and another exit code."""

    def put() -> list[Any]:
        with pytest.raises(PyctriggerError) as caught:
            HookDirectory(str(top), "/").put([HookFile("/first", "")])
        return [type(caught.value), caught.value.message]

    def remove() -> str:
        with pytest.raises(RightsError) as caught:
            HookDirectory(str(top), "/").remove([HookFile("/absent", ""), HookFile("/first", "")])
        return str(caught.value.message)

    with public_directory() as top:
        assert [RightsError, f"{top}/first: Permission denied"] == in_child(put, account=12345)
        HookDirectory(str(top), "/").put([HookFile("/first", "")])
        HookDirectory(str(top), "/").remove([HookFile("/absent", "")])
        assert f"{top}/first: Permission denied" == in_child(remove, account=12345)


def test_only_unchanged_hooks_are_removed(tmp_path: Path, place: Path) -> None:
    """To the letter, with their modes."""
    third = HookFile("/etc/hooks.d/third", "")
    directory_in(tmp_path).put([FIRST, SECOND, third])
    (place / "third").chmod(0o600)
    directory_in(tmp_path).remove([FIRST, SECOND, third, HookFile("/etc/hooks.d/absent", "")])
    assert ["third"] == os.listdir(place)


def test_what_killed_processes_left_is_swept(tmp_path: Path, place: Path) -> None:
    """Of these hooks alone, and not what a living process has open."""
    dotted = HookFile("/etc/hooks.d/a.b", "")
    left = (".first.0a1b2c3d.tmp", ".second.ff.tmp", ".a.b.00.tmp")
    kept = (".axb.00.tmp", ".first.0g.tmp", ".first.00.tmpx", "x.first.00.tmp", "first", ".third.00.tmp", ".first..tmp")
    for name in (*left, *kept, ".first.01.tmp"):
        (place / name).touch()
    with open(place / ".first.01.tmp") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        directory_in(tmp_path).sweep([FIRST, SECOND, dotted])
    assert sorted((*kept, ".first.01.tmp")) == sorted(os.listdir(place))
    HookDirectory(str(tmp_path), "/no").sweep([FIRST])


# -- the lock --------------------------------------------------------------------------------------------------------


def test_two_calls_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there can be no lock they don't."""
    monkeypatch.setattr(hook_directory, "_PATIENCE", 0.01)
    named: list[str | None] = []

    def lock_directory(state: str | None) -> str | None:
        named.append(state)
        return state

    monkeypatch.setattr(hook_directory, "lock_directory", lock_directory)
    with hold_lock(str(tmp_path)), pytest.raises(LockTimeoutError), hold_lock(str(tmp_path)):
        pass
    with hold_lock(str(tmp_path)):
        assert "hooks.lock" in os.listdir(tmp_path)
    (tmp_path / "file").touch()
    with hold_lock(str(tmp_path / "file")), hold_lock(str(tmp_path / "file")), hold_lock(None), hold_lock(None):
        pass
    assert [*[str(tmp_path)] * 3, *[str(tmp_path / "file")] * 2, None, None] == named


# -- what release 0.1.0 left -----------------------------------------------------------------------------------------

#: A record, and whether it is named.
RECORDS: list[tuple[Any, bool]] = [
    ({"before": {"kind": "file"}}, True),
    ({"before": {"kind": "link"}}, True),
    ({"before": {"kind": "absent"}}, False),
    ({"before": {}}, False),
    ({"before": "file"}, False),
    ({}, False),
    ([], False),
    (None, False),
]


@pytest.mark.parametrize(("record", "is_named"), RECORDS)
def test_what_release_0_1_0_replaced_is_named(tmp_path: Path, record: Any, is_named: bool) -> None:
    """By the real path of the hook, in a root as well."""
    (tmp_path / "state/hooks").mkdir(parents=True)
    (tmp_path / "rootX").mkdir()
    (tmp_path / "link").symlink_to("rootX")
    for root, place in (("rootX", f"{tmp_path}/rootX/etc/x"), ("link", f"{tmp_path}/rootX/etc/x"), (None, "/etc/x")):
        path = tmp_path / "state/hooks" / f"hook-{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
        if record is not None:
            path.write_text(json.dumps(record))
        message = f"{place}: the file that release 0.1.0 replaced by a hook is kept in {path}, in hexadecimal"
        named = describe_former(None if root is None else str(tmp_path / root), "/etc/x", str(tmp_path / "state"))
        assert (message if is_named else None) == named


def test_the_usual_state_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is any."""
    monkeypatch.setattr(hook_directory, "state_directory", lambda: None)
    assert describe_former(None, "/etc/x", None) is None
    monkeypatch.setattr(hook_directory, "state_directory", lambda: str(tmp_path))
    assert describe_former(None, "/etc/x", None) is None
    path = tmp_path / "hooks" / f"hook-{hashlib.sha256(b'/etc/x').hexdigest()[:32]}.json"
    path.parent.mkdir()
    path.write_text('{"before": {"kind": "file"}}')
    assert str(path) in (describe_former(None, "/etc/x", None) or "")
