"""A package's scripts for a root seen from outside (DPKG_ROOT) remove nothing by name: a link may lead anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from environment import CHECKOUT

PORTS = CHECKOUT / "ports"
APPLICATION = "/usr/lib/pyctrigger"
#: Every call of a script of ours by dpkg.
CALLS = [
    ("postinst", "configure", ""),
    ("postinst", "triggered", "pyctrigger"),
    ("postinst", "triggered", "/usr/lib/python3/dist-packages"),
    ("prerm", "remove", ""),
    ("prerm", "upgrade", "9"),
    ("postrm", "remove", ""),
    ("postrm", "purge", ""),
    ("postrm", "upgrade", "9"),
]
#: What may be a link in a root, to the directory of that name beside it.
PLACES = ["run", "run/pyctrigger", "var", "var/lib", "var/lib/pyctrigger", "usr", "usr/lib", "usr/lib/pyctrigger"]


def script(name: str, place: Path) -> Path:
    """A script as the package has it, for a program that notes how it is called."""
    program = place / "program"
    program.write_text(f'#!/bin/sh\necho "$@" >>{place}/calls\ncat >/dev/null\n')
    program.chmod(0o755)
    text = (PORTS / "debian" / name).read_text()
    text = text.replace("@PROGRAM@", str(program)).replace("@APPLICATION@", APPLICATION)
    text = text.replace("@GIVE_BACK@", (PORTS / "debian/give_back").read_text())
    (place / name).write_text(text)
    return place / name


def everything(top: Path) -> list[tuple[str, int, int]]:
    """All that is below, with what a change would show in."""
    return sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in top.rglob("*"))


def test_a_link_in_a_root_takes_no_script_out_of_it(tmp_path: Path) -> None:
    """The host has files where the link leads: they stay, whatever the script is called with."""
    changed = [
        (place, call)
        for place in PLACES
        for call in CALLS
        if not keeps(tmp_path / str(PLACES.index(place)), place, call)
    ]
    assert [] == changed


def keeps(top: Path, place: str, call: tuple[str, str, str]) -> bool:
    """Whether a script that is called so changes nothing beside a root with a link in this place, nor in it."""
    shutil.rmtree(top, ignore_errors=True)
    outside, root = top / "outside", top / "root"
    for name in ("run/pyctrigger", "var/lib/pyctrigger/id", f"{APPLICATION[1:]}/package/__pycache__"):
        (outside / name).mkdir(parents=True)
        (outside / name / "file").write_text("the host's\n")
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(outside / place)
    name, *arguments = call
    before = everything(outside), everything(root)
    child = subprocess.run(
        ["/bin/sh", str(script(name, top)), *filter(None, arguments)],
        env={"PATH": os.defpath, "DPKG_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    calls = (top / "calls").read_text().splitlines() if (top / "calls").exists() else []
    are_about_it = all(f"--root {root}" in each for each in calls)
    return child.returncode == 0 and are_about_it and before == (everything(outside), everything(root))


def test_a_purge_says_what_it_leaves_in_a_root(tmp_path: Path) -> None:
    """State that runs inside have made."""
    (tmp_path / "var/lib/pyctrigger").mkdir(parents=True)
    child = subprocess.run(
        ["/bin/sh", str(script("postrm", tmp_path)), "purge"],
        env={"PATH": os.defpath, "DPKG_ROOT": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (0, f"pyctrigger: /var/lib/pyctrigger stays in {tmp_path}, which is seen from outside\n") == (
        child.returncode,
        child.stderr,
    )


@pytest.mark.parametrize("name", ["rpm/pyctrigger.spec", "arch/pyctrigger.install"])
def test_the_others_scripts_know_no_root_but_their_own(name: str) -> None:
    """rpm and pacman run them after chroot: their paths begin at the root."""
    text = (PORTS / name).read_text()
    assert not {"DPKG_ROOT", "PKG_ROOTDIR", "RPM_BUILD_ROOT", "${ROOT"} & set(text.split())
    removed = [word for line in text.splitlines() if "rm -rf" in line for word in line.partition("rm -rf")[2].split()]
    assert [] == [word for word in removed if "$" in word]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_nothing_is_diverted_in_a_root(tmp_path: Path, call: tuple[str, str, str]) -> None:
    """Its dpkg-divert doesn't run here, and ours would divert the host's."""
    name, *arguments = call
    (tmp_path / "bin").mkdir()
    for program in ("dpkg-divert", "cp", "mv", "rm", "rmdir", "chmod"):
        (tmp_path / "bin" / program).write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/calls\n')
        (tmp_path / "bin" / program).chmod(0o755)
    text = (PORTS / "debian/takeover" / name).read_text()
    text = text.replace("@APPLICATION@", str(tmp_path / "bin")).replace("@PROGRAMS@", "py3compile py3clean")
    text = text.replace("@DIVERT@", (PORTS / "debian/takeover/divert").read_text())
    for root, are_called in ((str(tmp_path), False), ("", call in _DIVERTING)):
        child = subprocess.run(
            ["/bin/sh", "-c", text, "sh", *filter(None, arguments)],
            env={"PATH": str(tmp_path / "bin"), "DPKG_ROOT": root},
            capture_output=True,
            check=False,
        )
        assert are_called is (tmp_path / "calls").exists(), child.stderr


#: The calls that divert something, or give it back.
_DIVERTING = [call for call in CALLS if call[0] == "postinst" or call[1] in ("remove", "purge")]
