"""Directories of our own: made for us alone, and refused where somebody else could replace them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

from pyctrigger import namespaces
from pyctrigger.errors import InterpreterError, RefusedError
from pyctrigger.state import locations
from pyctrigger.state.locations import BSD, LINUX, Places, lock_file, make_own, require_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_places_of_root_are_fixed() -> None:
    """As the contract has them."""
    assert Places("/run/pyctrigger", "/var/lib/pyctrigger", "/etc/pyctrigger.toml", "/var/cache/pyctrigger") == LINUX
    bsd = ("/var/run/pyctrigger", "/var/db/pyctrigger", "/usr/local/etc/pyctrigger.toml", "/var/cache/pyctrigger")
    assert Places(*bsd) == BSD
    assert "/run/pyctrigger/cpython-311-x.lock" == lock_file("/run/pyctrigger", "cpython-311-x")


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "PYCTRIGGER_CONFIG", "HOME"])
@pytest.mark.parametrize("hook", [True, False])
def test_no_variable_moves_them(
    as_root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hook: bool
) -> None:
    """A lock that an environment variable can move excludes nobody."""
    monkeypatch.setenv(name, str(tmp_path))
    found = (
        locations.lock_directory(str(tmp_path)),
        locations.state_directory(),
        *locations.configuration_files(hook=hook),
        locations.cache_directory(),
    )
    assert (LINUX if found[0] == LINUX.lock else BSD) == found


@contextlib.contextmanager
def another_account() -> Iterator[None]:
    """Root becomes one that has no home, and root again."""
    os.setresuid(64999, 64999, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def answer(monkeypatch: pytest.MonkeyPatch, **answers: str | Exception) -> None:
    """Have platformdirs, whose releases differ, name these directories of an account."""

    class Directories:
        def __init__(self, name: str, *, appauthor: bool) -> None:
            assert ("pyctrigger", False) == (name, appauthor)

        def __getattr__(self, place: str) -> str:
            warnings.warn("XDG_RUNTIME_DIR is not set", stacklevel=1)
            found = answers[place]
            if isinstance(found, Exception):
                raise found
            return found

    monkeypatch.setattr(platformdirs, "PlatformDirs", Directories)


#: Where everybody may make a directory.
OPEN = f"{tempfile.gettempdir()}/pyctrigger-absent/run"
#: An account's runtime directory (None: one that it can't make), its state, what is named, and where its locks are.
LOCKS: list[tuple[str | None, str | Exception, str | None, str | None]] = [
    (OPEN, "/home/state", "/named", OPEN),
    (None, "/home/state", "/named", "/home/state/run"),
    (None, "home/state", "/named", "/named/run"),
    (None, RuntimeError("no home"), "/named", "/named/run"),
    (None, OSError("no home"), None, None),
    ("run", "/home/state", None, "/home/state/run"),
]


@pytest.mark.parametrize(("runtime", "state", "named", "expected"), LOCKS)
def test_an_accounts_locks_are_its_own(
    as_root: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str | None,
    state: str | Exception,
    named: str | None,
    expected: str | None,
) -> None:
    """Where it can make them; else they are in its state, or in the one that was named."""
    answer(monkeypatch, user_runtime_dir=runtime or str(tmp_path / "run"), user_state_dir=state)
    with another_account():
        found = locations.lock_directory(named), locations.state_directory()
    assert (expected, state if state == "/home/state" else None) == found


def test_a_runtime_directory_that_somebody_else_has_made_is_refused(
    as_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the account can do."""
    answer(monkeypatch, user_runtime_dir=PermissionError("it isn't yours"))
    with another_account(), pytest.raises(RefusedError) as refusal:
        locations.lock_directory()
    assert "it isn't yours; set XDG_RUNTIME_DIR to a directory of your own" == str(refusal.value)


@pytest.mark.parametrize("named", [None, "", "/named.toml"])
@pytest.mark.parametrize("hook", [True, False])
@pytest.mark.parametrize("home", ["/home/.config", "home"])
def test_an_accounts_configuration_comes_first(
    as_root: None, monkeypatch: pytest.MonkeyPatch, named: str | None, hook: bool, home: str
) -> None:
    """And the one that is named before that, but never for a hook."""
    answer(monkeypatch, user_config_dir=home)
    monkeypatch.delenv("PYCTRIGGER_CONFIG", raising=False)
    if named is not None:
        monkeypatch.setenv("PYCTRIGGER_CONFIG", named)
    with another_account():
        found = locations.configuration_files(hook=hook)
    usual = [*(["/home/.config/pyctrigger.toml"] if home == "/home/.config" else []), locations._SYSTEM.configuration]
    assert (["/named.toml"] if named and not hook else usual) == found


@pytest.mark.parametrize(("account", "above"), [("root", 0o755), ("another", 0o700)])
def test_what_leads_to_a_new_directory_is_made(
    as_root: None, monkeypatch: pytest.MonkeyPatch, account: str, above: int
) -> None:
    """Everybody may enter what root makes above it; none of them is ever wider than it will be."""
    place = Path(tempfile.mkdtemp())
    os.chmod(place, 0o777)
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: pytest.fail("it was wider"))
    before = os.umask(0)
    try:
        with another_account() if account == "another" else contextlib.nullcontext():
            made = make_own(str(place / "above/own"))
        modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (place / "above", made)]
    finally:
        os.umask(before)
        shutil.rmtree(place)
    assert (f"{place}/above/own", [above, 0o700]) == (made, modes)


@pytest.mark.parametrize("mode", [None, 0o700, 0o755, 0o777, 0o1777])
def test_an_own_directory_is_entered_by_nobody_else(tmp_path: Path, mode: int | None) -> None:
    """Whether it is there or not."""
    directory = tmp_path / "above/own" if mode is None else tmp_path
    if mode is not None:
        os.chmod(directory, mode)
    assert str(directory) == make_own(str(directory))
    assert 0 == stat.S_IMODE(directory.stat().st_mode) & 0o077


@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_what_is_no_directory_is_an_error(tmp_path: Path, kind: str) -> None:
    """And stays as it is."""
    path, target = tmp_path / "own", tmp_path / "target"
    target.mkdir(mode=0o755)
    if kind == "link":
        path.symlink_to(target)
    elif kind == "file":
        path.touch()
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match="own"):
        make_own(str(path))
    assert 0o755 == stat.S_IMODE(target.stat().st_mode)


def test_somebody_elses_directory_is_refused(as_root: None, tmp_path: Path) -> None:
    """Whoever owns it may do with it what he likes."""
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", 65534, 65534)
    with pytest.raises(RefusedError) as refusal:
        make_own(str(tmp_path / "own"))
    assert f"{tmp_path}/own belongs to account 65534; remove it, or run as that account" == str(refusal.value)


def test_a_directory_of_no_account_of_a_user_namespace_cannot_be_used(
    as_root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is just no state: nobody has put it there."""
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", 65534, 65534)

    def is_unmapped(uid: int, reopen: Callable[[int], int]) -> bool:
        descriptor = reopen(os.O_RDONLY)
        found = os.fstat(descriptor)
        os.close(descriptor)
        return os.path.samestat(found, os.stat(tmp_path / "own")) and uid == 65534

    monkeypatch.setattr(namespaces, "is_unmapped_owner", is_unmapped)
    with pytest.raises(PermissionError) as raised:
        make_own(str(tmp_path / "own"))
    assert (errno.EACCES, "it belongs to no account of this user namespace") == raised.value.args


#: The mode and owner of the directory above, what is there of `above/state` and of what leads to it, and the refusal.
PRIVATE: list[tuple[int, int, str, str | None]] = [
    (0o755, 0, "state", None),
    (0o700, 0, "new", None),
    (0o700, 0, "new/deep", None),
    (0o777, 0, "state", "may"),
    (0o775, 0, "new", "may write"),
    (0o1777, 0, "state", None),  # nobody can replace what root has made
    (0o1777, 0, "new", None),
    (
        0o1777,
        0,
        "new/deep",
        "everybody may create {above}/new; create its parent directory first, or name another directory$",
    ),
    (0o755, 0, "theirs", None),  # `make_own` looks at that
    (0o755, 0, "link", "link is not trusted by root: account 65534"),
    (0o755, 0, "dangling", "dangling: No such file or directory"),
    (0o755, 0, "file/new", None),  # there is no directory
    (0o755, 65534, "state", "65534"),
    (0o755, 65534, "new/deep", "65534"),
]


@pytest.mark.parametrize(("mode", "owner", "name", "refusal"), PRIVATE)
def test_a_state_directory_that_others_could_replace_is_refused(
    as_root: None, tmp_path: Path, mode: int, owner: int, name: str, refusal: str | None
) -> None:
    """Root is asked to trust it."""
    above = tmp_path / "above"
    (above / "state").mkdir(parents=True)
    (above / "theirs").mkdir()
    os.chown(above / "theirs", 65534, 65534)
    (above / "link").symlink_to("theirs")
    (above / "dangling").symlink_to("absent")
    (above / "file").touch()
    os.chmod(above, mode)
    os.chown(above, owner, 0)
    if refusal is None:
        require_private(str(above / name))
    else:
        refused = f"^state directory {above}.*{refusal.format(above=above)}"
        with pytest.raises((RefusedError, InterpreterError), match=refused):
            require_private(str(above / name))
