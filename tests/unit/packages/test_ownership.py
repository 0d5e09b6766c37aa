"""Owners of files: every manager is asked, under every name that a package may know a file by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.packages.databases import Files
from pyctrigger.packages.ownership import Owner, Ownership, owners_of
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from pyctrigger.packages.databases import Source

INFO = "/var/lib/dpkg/info"
APK = "/lib/apk/db/installed"


class Counted(FilesInMemory):
    """Texts of which each question is counted."""

    asked = 0

    def ask_reader(self, manager: str, sources: list[Source], paths: Collection[bytes] | None) -> None:
        self.asked += 1


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
    texts[f"{INFO}/one.list"] = b"/a/o.pyc\n"
    assert ownership.anew(lambda message: None).owns("/a", "o.pyc")
    assert ownership.owns("/a", "n.pyc")


def test_without_any_manager_nothing_is_owned() -> None:
    """As on a system of somebody's own."""
    assert Ownership(FilesInMemory({}), lambda message: None).owns("/a", "m.pyc") is False


def test_what_cannot_be_read_owns_everything() -> None:
    """Reported once, with the reason, until it is forgotten."""
    texts = {"/var/lib/rpm/Packages": b"", f"{INFO}/one.list": b"/a/m.pyc\n"}
    told: list[str] = []
    ownership = Ownership(FilesInMemory(texts), told.append)
    assert (True, True) == (ownership.owns("/a", "other.pyc"), ownership.owns("/x", "y"))
    reason = "/root/var/lib/rpm/Packages: rpm isn't run on the database of a root"
    message = f"nothing is removed or replaced, since a package may own it: {reason}; fix that and run it again"
    assert (True, [message]) == (ownership.is_unreadable, told)
    others: list[str] = []
    assert (True, [message], [message]) == (ownership.anew(others.append).owns("/a", "other.pyc"), others, told)
    del texts["/var/lib/rpm/Packages"]
    ownership.forget()
    assert (True, False, False) == (
        ownership.owns("/a", "m.pyc"),
        ownership.owns("/a", "other.pyc"),
        ownership.is_unreadable,
    )


def test_a_directory_has_many_names(tmp_path: Path) -> None:
    """On this system by its real path; inside a foreign root names are used as they are."""
    for name in ("real", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("real")
    texts = {f"{INFO}/one.list": f"{tmp_path}/link/m.pyc\n".encode()}
    own = Ownership(FilesInMemory(texts, is_foreign=False), lambda message: None)
    foreign = Ownership(FilesInMemory(texts), lambda message: None)
    for name, expected in [("real", (True, False)), ("link", (True, True)), ("other", (False, False))]:
        assert expected == tuple(each.owns(f"{tmp_path}/{name}", "m.pyc") for each in (own, foreign))


# -- the owners of some files ------------------------------------------------------------------------------------------

USR_MERGED = {"/lib": "usr/lib", "/bin": "/usr/bin"}
#: The paths of a package, the links of its root, the path that is asked for, and whether it is found.
NAMES = [
    (b"/usr/lib/a.py", {}, "/usr/lib/a.py", True),
    (b"/lib/a.py", {}, "/usr/lib/a.py", False),
    (b"/lib/a.py", USR_MERGED, "/usr/lib/a.py", True),
    (b"/usr/lib/a.py", USR_MERGED, "/lib/a.py", True),
    (b"/lib/a.py", USR_MERGED, "/lib/a.py", True),
    (b"/bin/a", USR_MERGED, "/usr/bin/a", True),
    (b"/sbin/a", USR_MERGED, "/usr/sbin/a", False),
    (b"/lib/p/q/a.py", USR_MERGED, "/usr/lib/p/q/a.py", True),
    (b"/lib/a.py", {"/lib": "elsewhere"}, "/usr/lib/a.py", False),
    (b"/lib/a.py", {"/lib": "usr/libX"}, "/usr/lib/a.py", False),
    (b"/a.py", {}, "/a.py", True),
]


@pytest.mark.parametrize(("listed", "links", "path", "is_found"), NAMES)
def test_a_file_is_found_under_each_name(listed: bytes, links: dict[str, str], path: str, is_found: bool) -> None:
    """It may say `/lib`, where the tree says `/usr/lib`."""
    files = FilesInMemory({f"{INFO}/one.list": listed + b"\n"}, links)
    found = owners_of([path], files, pytest.fail)
    assert ({path: Owner("dpkg", "one")} if is_found else {}) == found


def test_an_owner_is_a_package_and_its_manager() -> None:
    """As people read it."""
    assert "one (dpkg)" == str(Owner("dpkg", "one"))


def test_the_first_manager_that_knows_it_is_believed() -> None:
    """In their order; no paths, no question."""
    files = FilesInMemory({f"{INFO}/one.list": b"/a\n", APK: b"P:two\nF:\nR:a\nF:b\nR:c\n"})
    found = owners_of(["/a", "/b/c"], files, pytest.fail)
    assert {"/a": Owner("dpkg", "one"), "/b/c": Owner("apk", "two")} == found
    asked = Counted({APK: b""})
    assert ({}, 0) == (owners_of([], asked, pytest.fail), asked.asked)


def test_a_manager_that_cannot_be_read_is_told() -> None:
    """And the others are asked all the same."""
    files = FilesInMemory({"/var/lib/rpm/Packages": b"", APK: b"P:two\nF:b\nR:c\n"})
    told: list[str] = []
    assert {"/b/c": Owner("apk", "two")} == owners_of(["/b/c"], files, told.append)
    expected = (
        "rpm can't be asked which files it owns: /root/var/lib/rpm/Packages: rpm isn't run on the database of a root"
    )
    assert [expected] == told


def test_on_this_system_links_on_the_way_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package has the real name of a directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files = FilesInMemory({f"{INFO}/one.list": f"{tmp_path}/real/a.py\n".encode()}, is_foreign=False)
    asked = f"{tmp_path}/link/a.py"
    assert {asked: Owner("dpkg", "one")} == owners_of([asked], files, pytest.fail)
    assert Files.is_foreign is False
