"""What rpmlint finds in the package for rpm; what is argued for it and namcap; a manual page for each program."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from environment import CHECKOUT
from manager_packages import ports_build
from pyctrigger.version import VERSION
from workshop import workshop

RPMLINTRC = CHECKOUT / "ports/rpm/pyctrigger.rpmlintrc"
NAMCAP_FILTERS = CHECKOUT / "ports/arch/namcap-filters"
FORMATS = ("deb", "rpm", "arch", "freebsd")


def test_rpmlint() -> None:
    """Nothing but what is argued in the file beside the spec, of which each line is needed (rpmlint says so)."""
    with workshop() as debian:
        (package,) = ports_build("rpm", debian.outside("/srv"))
        shutil.copy2(RPMLINTRC, debian.outside("/srv"))

        said = debian.run("rpmlint", "--rpmlintrc", f"/srv/{RPMLINTRC.name}", f"/srv/{package.name}")

    assert (said.code, said.err) == (0, "")
    assert re.search(r" 0 errors, 0 warnings, [1-9]\d* filtered", said.out), said.out


def test_pkgbuild_says_the_version_itself() -> None:
    """namcap, and who looks for updates, read it without running anything."""
    assert f"\npkgver={VERSION}\n" in (CHECKOUT / "ports/arch/PKGBUILD").read_text()


def _is_filter(line: str) -> bool:
    return bool(line) and not line.startswith("#")


@pytest.mark.parametrize("path", [RPMLINTRC, NAMCAP_FILTERS], ids=lambda path: str(path.name))
def test_each_filter_has_a_reason(path: Path) -> None:
    """A comment above it, or above those that belong to it; and is a regular expression."""
    blocks = path.read_text().partition("\n\n")[2].strip().split("\n\n")
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines[0].startswith("#")
    for line in filter(_is_filter, lines):
        pattern = re.fullmatch(r"addFilter\('(.*)'\)", line)
        re.compile(pattern[1] if pattern else line)


@pytest.mark.parametrize("name", FORMATS)
def test_each_program_has_a_manual_page(tmp_path: Path, name: str) -> None:
    """For all that is put into a directory of programs."""
    ports_build("--stage", name, tmp_path)
    programs = {path.name for path in tmp_path.rglob("*bin/*") if path.is_file()}
    pages = {path.name.partition(".")[0] for path in tmp_path.rglob("man/man[18]/*")}
    assert programs == {"pyctrigger"}
    assert programs - pages == set()
