"""Whether a package owns a pyc: asked once, and everything is owned where nobody can say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyctrigger.packages.ownership import Ownership
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pyctrigger.packages.manager import Manager

INFO = "/var/lib/dpkg/info"
APK = "/lib/apk/db/installed"


class Counted(FilesInMemory):
    """Texts of which each question is counted."""

    asked = 0

    def owned_pycs(self, manager: Manager) -> Iterable[bytes]:
        self.asked += 1
        return super().owned_pycs(manager)


def test_every_manager_is_asked_once() -> None:
    """Whatever is asked for afterwards."""
    files = Counted({f"{INFO}/one.list": b"/a/m.pyc\n/b/n.pyc\n", APK: b"F:a\nR:x.pyc\n"})
    told: list[str] = []
    ownership = Ownership(files, told.append)
    assert 0 == files.asked

    assert {"m.pyc", "x.pyc"} == ownership.owned_in("/a")
    assert (True, False, False) == (
        ownership.owns("/b", "n.pyc"),
        ownership.owns("/b", "m.pyc"),
        ownership.owns("/c", "m.pyc"),
    )
    assert (2, False, []) == (files.asked, ownership.is_unreadable, told)


def test_forgotten_it_is_asked_anew() -> None:
    """Another transaction may have ended meanwhile."""
    texts = {f"{INFO}/one.list": b"/a/m.pyc\n"}
    ownership = Ownership(Counted(texts), lambda message: None)
    assert ownership.owns("/a", "m.pyc")
    texts[f"{INFO}/one.list"] = b"/a/n.pyc\n"
    assert ownership.owns("/a", "m.pyc")
    ownership.forget()
    assert (False, True) == (ownership.owns("/a", "m.pyc"), ownership.owns("/a", "n.pyc"))
    texts[f"{INFO}/one.list"] = b""
    assert ownership.anew(lambda message: None).owns("/a", "n.pyc") is False
    assert ownership.owns("/a", "n.pyc")


def test_without_any_manager_nothing_is_owned() -> None:
    """As on a system of somebody's own."""
    assert Ownership(FilesInMemory({}), lambda message: None).owns("/a", "m.pyc") is False


def test_what_cannot_be_read_owns_everything() -> None:
    """Told once, with the reason; until it is forgotten."""
    texts = {"/var/lib/rpm/Packages": b"", f"{INFO}/one.list": b"/a/m.pyc\n"}
    told: list[str] = []
    ownership = Ownership(FilesInMemory(texts), told.append)
    assert (True, True) == (ownership.owns("/a", "other.pyc"), ownership.owns("/x", "y"))
    reason = "/root/var/lib/rpm/Packages: rpm isn't run over a root's database"
    message = f"nothing is removed or replaced, since a package may own it: {reason}; fix that and run it again"
    assert (True, [message]) == (ownership.is_unreadable, told)
    del texts["/var/lib/rpm/Packages"]
    ownership.forget()
    assert (True, False, False) == (
        ownership.owns("/a", "m.pyc"),
        ownership.owns("/a", "other.pyc"),
        ownership.is_unreadable,
    )


def test_a_directory_has_many_names(tmp_path: Path) -> None:
    """On this system by its real one; inside a stranger's root the names are what they are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    texts = {f"{INFO}/one.list": f"{tmp_path}/link/m.pyc\n".encode()}
    own = Ownership(FilesInMemory(texts, is_foreign=False), lambda message: None)
    foreign = Ownership(FilesInMemory(texts), lambda message: None)
    for name, expected in [("real", False), ("link", True)]:
        assert own.owns(f"{tmp_path}/{name}", "m.pyc") is True
        assert expected is foreign.owns(f"{tmp_path}/{name}", "m.pyc")
