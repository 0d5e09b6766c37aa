"""Who owns a file: every manager is asked, under every name that a package may know it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.packages.files import Files
from pyctrigger.packages.owners import Owner, owners_of
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from pathlib import Path

INFO = "/var/lib/dpkg/info"
APK = "/lib/apk/db/installed"
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
    (b"/lib/a.py", {"/lib": "elsewhere"}, "/usr/lib/a.py", False),
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
    assert {} == owners_of([], files, pytest.fail)


def test_a_manager_that_cannot_be_read_is_told() -> None:
    """And the others are asked all the same."""
    files = FilesInMemory({"/var/lib/rpm/Packages": b"", APK: b"P:two\nF:b\nR:c\n"})
    told: list[str] = []
    assert {"/b/c": Owner("apk", "two")} == owners_of(["/b/c"], files, told.append)
    expected = "rpm can't be asked for owners: /root/var/lib/rpm/Packages: rpm isn't run over a root's database"
    assert [expected] == told


def test_on_this_system_links_on_the_way_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package has the real name of a directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files = FilesInMemory({f"{INFO}/one.list": f"{tmp_path}/real/a.py\n".encode()}, is_foreign=False)
    asked = f"{tmp_path}/link/a.py"
    assert {asked: Owner("dpkg", "one")} == owners_of([asked], files, pytest.fail)
    assert Files.is_foreign is False
