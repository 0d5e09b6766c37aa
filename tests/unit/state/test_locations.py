"""Directories of our own: made for us alone, and refused where somebody else could replace them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import RefusedError
from pyctrigger.state import locations
from pyctrigger.state.locations import BSD, LINUX, Places, lock_file, make_own, require_private

if TYPE_CHECKING:
    from pathlib import Path


def test_places_of_root_are_fixed() -> None:
    """As the contract has them."""
    assert Places("/run/pyctrigger", "/var/lib/pyctrigger", "/etc/pyctrigger.toml") == LINUX
    assert Places("/var/run/pyctrigger", "/var/db/pyctrigger", "/usr/local/etc/pyctrigger.toml") == BSD
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
    )
    assert (LINUX if found[0] == LINUX.lock else BSD) == found


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
    with pytest.raises(RefusedError, match=r"own belongs to account 65534"):
        make_own(str(tmp_path / "own"))


#: The mode and owner of the directory above, what is there of `above/state` and of what leads to it, and the refusal.
PRIVATE: list[tuple[int, int, str, str | None]] = [
    (0o755, 0, "state", None),
    (0o700, 0, "new", None),
    (0o700, 0, "new/deep", None),
    (0o777, 0, "state", "may"),
    (0o775, 0, "new", "may write"),
    (0o1777, 0, "state", None),  # nobody can replace what root has made
    (0o1777, 0, "new", None),
    (0o1777, 0, "new/deep", "everybody may create"),
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
    os.chmod(above, mode)
    os.chown(above, owner, 0)
    if refusal is None:
        require_private(str(above / name))
    else:
        with pytest.raises(RefusedError, match=refusal):
            require_private(str(above / name))
