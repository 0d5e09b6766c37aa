"""What an answer rests on, and how to see that it is unchanged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.interpreter.interpreter import Witness, environment_of, facts_of, is_unchanged

if TYPE_CHECKING:
    from pathlib import Path

Deed = Callable[["Path"], Any]


def replace(path: Path) -> None:
    """Another file of the same bytes, mode and times under this name."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.chmod(status.st_mode & 0o7777)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


FILE_DEEDS: dict[str, tuple[Deed, bool]] = {
    "nothing": (lambda path: path.read_bytes(), True),
    "a neighbour": (lambda path: path.with_name("neighbour").touch(), True),
    "a byte more": (lambda path: path.write_bytes(b"ab"), False),
    "another mode": (lambda path: path.chmod(0o600), False),
    "another mtime": (lambda path: os.utime(path, (1, 1)), False),
    "another file": (replace, False),
    "gone": (lambda path: path.unlink(), False),
}


@pytest.mark.parametrize("name", FILE_DEEDS)
def test_all_of_a_file_counts(tmp_path: Path, name: str) -> None:
    """Identity, mode, owner, size and times."""
    path = tmp_path / "file"
    path.write_bytes(b"a")
    path.chmod(0o644)
    witness = Witness(str(path), facts_of(path.lstat()))
    deed, expected = FILE_DEEDS[name]
    deed(path)
    assert expected is is_unchanged(witness)


DIRECTORY_DEEDS: dict[str, tuple[Deed, bool]] = {
    "an entry": (lambda path: (path / "entry").touch(), True),
    "another mtime": (lambda path: os.utime(path, (1, 1)), True),
    "another mode": (lambda path: path.chmod(0o777), False),
    "another directory": (lambda path: path.rename(path.with_name("old")).with_name("directory").mkdir(), False),
    "gone": (lambda path: path.rmdir(), False),
}


@pytest.mark.parametrize("name", DIRECTORY_DEEDS)
def test_of_a_directory_owner_and_mode_count(tmp_path: Path, name: str) -> None:
    """Its entries may come and go."""
    path = tmp_path / "directory"
    path.mkdir(mode=0o755)
    witness = Witness(str(path), facts_of(path.lstat()))
    deed, expected = DIRECTORY_DEEDS[name]
    deed(path)
    assert expected is is_unchanged(witness)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("uid", "gid"), [(12345, 0), (0, 12345)])
def test_owner_and_group_of_a_directory_count(tmp_path: Path, uid: int, gid: int) -> None:
    """Either could give it away."""
    witness = Witness(str(tmp_path), facts_of(tmp_path.lstat()))
    os.chown(tmp_path, uid, gid)
    assert is_unchanged(witness) is False


def test_a_link_is_judged_itself(tmp_path: Path) -> None:
    """What it leads to is another step."""
    link = tmp_path / "link"
    link.symlink_to("file")
    witness = Witness(str(link), facts_of(link.lstat()))
    (tmp_path / "file").touch()
    assert is_unchanged(witness) is True
    link.unlink()
    link.symlink_to("elsewhere")
    assert is_unchanged(witness) is False


def test_what_was_absent_has_to_stay_so(tmp_path: Path) -> None:
    """Somebody could put something there."""
    witness = Witness(str(tmp_path / "absent"), None)
    assert is_unchanged(witness) is True
    (tmp_path / "absent").touch()
    assert is_unchanged(witness) is False


@pytest.mark.parametrize(
    ("marker", "expected"), [("pyvenv.cfg", True), ("conda-meta", False), ("bin/pyvenv.cfg", False)]
)
def test_an_environment_is_told_by_its_configuration(tmp_path: Path, marker: str, expected: bool) -> None:
    """Two directories above the executable (PEP 405)."""
    (tmp_path / "bin").mkdir()
    (tmp_path / marker).touch()
    found = environment_of(str(tmp_path / "bin/python"))
    assert (str(tmp_path) if expected else None) == found
