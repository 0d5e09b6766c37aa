"""What rpmlint and namcap find in the packages for rpm and pacman; and a manual page for each program, everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environment import CHECKOUT
from pyctrigger.version import VERSION
from system_tools import find_tool
from workshop import workshop

RPMLINTRC = CHECKOUT / "ports/rpm/pyctrigger.rpmlintrc"
NAMCAP_FILTERS = CHECKOUT / "ports/arch/namcap-filters"
FORMATS = ("deb", "rpm", "arch", "freebsd")


def ports_build(*arguments: str | Path) -> list[Path]:
    """What `ports/build` says that it has built."""
    command = [sys.executable, str(CHECKOUT / "ports/build"), *map(str, arguments)]
    return [Path(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def test_rpmlint() -> None:
    """Nothing but what is argued in the file beside the spec, of which each line is needed (rpmlint says so)."""
    with workshop() as debian:
        (package,) = ports_build("rpm", debian.outside("/srv"))
        shutil.copy2(RPMLINTRC, debian.outside("/srv"))

        said = debian.run("rpmlint", "--rpmlintrc", f"/srv/{RPMLINTRC.name}", f"/srv/{package.name}")

    assert (said.code, said.err) == (0, "")
    assert re.search(r" 0 errors, 0 warnings, [1-9]\d* filtered", said.out), said.out


def test_namcap(tmp_path: Path) -> None:
    """Nothing but what is argued; no Debian has namcap, so where there isn't one this isn't looked at."""
    if find_tool("namcap") is None:
        pytest.skip("no namcap, which only Arch has")
    (package,) = ports_build("arch", tmp_path)

    child = subprocess.run(["namcap", str(package)], capture_output=True, text=True, check=False)

    assert (child.returncode, child.stderr) == (0, "")
    found = [line.partition("pyctrigger W: ")[2] or line for line in child.stdout.splitlines()]
    filters = {line: re.compile(line) for line in NAMCAP_FILTERS.read_text().splitlines() if _is_filter(line)}
    assert [line for line in found if not any(each.fullmatch(line) for each in filters.values())] == []
    assert found != []


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
