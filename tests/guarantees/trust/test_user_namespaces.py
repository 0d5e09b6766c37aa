"""Root in a user namespace: an ordinary account, which sees owners that are none; rootless builds run as it."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from confinement import command_for, cpython_for, private_mounts
from conftest import absent
from documents import DOCS, agrees, blocks
from packages import write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An account of the test's own, with ids of its own from `FIRST` on: inside they are 1 and so on.
BUILDER, FIRST, NOBODY = 64520, 1_700_000_000, 65534
ONE_ID = ["unshare", "--map-root-user"]
RANGE = ["unshare", "--map-root-user", "--map-auto"]
FILES = {"passwd": f"builder:x:{BUILDER}:{BUILDER}::/:/bin/sh", "group": f"builder:x:{BUILDER}:"}
RANGES = dict.fromkeys(("subuid", "subgid"), f"builder:{FIRST}:65536")
HIDDEN = "for at in /run /var/lib; do mount -t tmpfs -o mode=755 none $at; done\n"
#: What the machine's root has made for itself, out of reach.
PLACES = "mkdir -m {} /run/pyctrigger /var/lib/pyctrigger\n"
SOURCES = {"pkg/__init__.py": "", "pkg/a.py": "x = 1\n", "pkg/sub/b.py": "y = {1, 2}\n", "c.py": ""}


class Builder:
    """An account with a home, its tree, and the command as it starts it in a namespace."""

    def __init__(self, top: Path, inside: list[str]) -> None:
        interpreter, command = cpython_for(BUILDER), command_for(BUILDER, top / "unused")
        if command is None or interpreter is None:
            absent("a Python that any account may execute")
        self.interpreter = interpreter
        self.home = top / "home"
        self.site = self.home / "site"
        self.home.mkdir()
        (self.home / "run").mkdir()
        write_tree(self.site, SOURCES)
        self._inside = inside
        program = self.home / "bin/pyctrigger"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command.program)} "$@"\n')
        program.chmod(0o755)
        self.own(self.home, BUILDER)

    def own(self, top: Path, uid: int) -> None:
        """Give a directory, and all that is in it, to an account."""
        subprocess.run(["chown", "-R", f"{uid}:{uid}", top], check=True)

    def shell(self, script: str, *namespace: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the account's, in its home; `namespace` is what enters one."""
        variables = {
            "PATH": f"{self.home}/bin:{os.defpath}:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": f"{self.home}/run",
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": "vfs",
        }
        dropped = ["setpriv", "--reuid", str(BUILDER), "--regid", str(BUILDER), "--clear-groups"]
        return subprocess.run(
            [*self._inside, *dropped, *namespace, "sh", "-c", f"cd {self.home}; {script}"],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run(self, verb: str, *namespace: str) -> tuple[int, str, str]:
        """The command in a namespace: its exit code, and both streams."""
        scope = ["--python", self.interpreter, "--site-dir", str(self.site)]
        child = self.shell(shlex.join(["pyctrigger", *verb.split(), *scope]), *namespace)
        return child.returncode, child.stdout.partition(" in ")[0], child.stderr

    def pycs(self) -> dict[str, tuple[int, str]]:
        """Owner, as seen from outside, and mode of each pyc and its directory, by path."""
        found = {}
        for path in [*self.site.rglob("__pycache__"), *self.site.rglob("*.pyc")]:
            status = path.stat()
            found[str(path.relative_to(self.site))] = status.st_uid, oct(stat.S_IMODE(status.st_mode))
        return found


def make(top: Path, script: str) -> Iterator[Builder]:
    """The account, in namespaces of its own."""
    for tool in ("setpriv", "newuidmap"):
        if find_tool(tool) is None:
            absent(f"no {tool} on this machine (Debian packages util-linux and uidmap)")
    lines = [HIDDEN, script]
    for name, line in {**FILES, **RANGES}.items():
        file = top / name
        known = Path("/etc", name)
        file.write_text((known.read_text() if name in FILES else "") + line + "\n")
        if not known.exists():
            absent(f"no {known} on this machine (Debian package uidmap)")
        lines.append(f"mount --bind {file} {known}\n")
    with private_mounts("".join(lines)) as inside:
        builder = Builder(top, inside)
        if builder.shell("true", *RANGE).returncode != 0:
            absent("user namespaces for ordinary accounts")
        yield builder


@pytest.fixture
def builder(as_root: None) -> Iterator[Builder]:
    """Where the machine's root has no places yet."""
    with public_directory() as top:
        yield from make(top, "")


@pytest.mark.parametrize(
    ("namespace", "places"),
    [(ONE_ID, PLACES.format(700)), (RANGE, PLACES.format(755)), (ONE_ID, "")],
    ids=["one id", "65,536 ids", "no places of root's"],
)
def test_root_in_a_namespace_compiles_as_the_account_that_it_is(
    as_root: None, namespace: list[str], places: str
) -> None:
    """All verbs work; the machine's interpreter is nobody's in there; root's places are out of reach, which is told."""
    word = "no state is kept: /var/lib/pyctrigger: "
    with public_directory() as top:
        for builder in make(top, places):
            code, out, err = builder.run("run", *namespace)
            assert (0, 1) == (code, err.count(word)), err
            assert out.endswith(": 4 compiled, 0 removed, 0 failed")
            expected = {
                name: (BUILDER, "0o755" if name.endswith("__pycache__") else "0o644") for name in builder.pycs()
            }
            assert (7, expected) == (len(expected), builder.pycs())
            code, out, err = builder.run("run --hook", *namespace)
            assert (0, 1) == (code, err.count(word)), err
            (builder.site / "c.py").unlink()
            _, _, err = builder.run(f"run --hook --state-dir {builder.home}/state", *namespace)
            assert (True, 1) == (": 0 compiled, 1 removed, 0 failed" in err, err.count("no lock is available")), err
            for verb in ("verify", "repair", "status", "purge -y"):
                code, _, err = builder.run(verb, *namespace)
                assert 0 == code, f"{verb}: {err}"
            assert {} == builder.pycs()


@pytest.mark.parametrize("owner", [FIRST + 41, FIRST + NOBODY - 1])
def test_an_account_of_the_namespace_is_one(builder: Builder, owner: int) -> None:
    """A tree of one that is mapped gets bytecode of that account's, also where its number is the overflow uid."""
    builder.own(builder.site, owner)

    code, _, err = builder.run("run", *RANGE)

    assert 0 == code, err
    assert {owner} == {uid for uid, _ in builder.pycs().values()}


@pytest.mark.parametrize("namespace", [ONE_ID, RANGE], ids=["one id", "65,536 ids"])
def test_what_belongs_to_no_account_is_worked_on_as_oneself(builder: Builder, namespace: list[str]) -> None:
    """As outside: what the account may write by its group it writes, as itself, for the same readers."""
    builder.own(builder.site, 0)
    for path in [builder.site, *builder.site.rglob("*")]:
        os.chown(path, 0, BUILDER)
        path.chmod(0o2775 if path.is_dir() else 0o640)

    code, _, err = builder.run("run", *namespace)

    assert 0 == code, err
    assert {(BUILDER, "0o640"), (BUILDER, "0o2775")} == set(builder.pycs().values())


def test_what_it_may_not_write_is_a_failure_as_outside(builder: Builder) -> None:
    """The machine's own tree: it is named, and no hint says to become an account that isn't one."""
    builder.own(builder.site, 0)

    for namespace in (ONE_ID, RANGE):
        code, _, err = builder.run("run", *namespace)
        assert (1, True) == (code, "Permission denied" in err), err
        assert str(NOBODY) not in err


def test_the_recipe_for_an_image_without_root(builder: Builder) -> None:
    """What the page on images says, by an account with ranges of ids; the image has what a run outside would write."""
    if find_tool("buildah") is None:
        absent("no buildah on this machine (Debian package buildah)")
    packages = "image/usr/lib/python3/dist-packages"
    write_tree(builder.home / packages, SOURCES)
    builder.own(builder.home, BUILDER)
    prepared = builder.shell(
        "buildah from --name base scratch && buildah add --quiet base image / && buildah commit --quiet base sources"
    )
    assert 0 == prepared.returncode, prepared.stderr
    steps = [
        step
        for block in blocks(DOCS / "how-to/container-image.md")
        if block.place == "rootless"
        for step in block.steps()
    ]
    assert steps

    for step in steps:
        child = builder.shell(step.command.replace("--python 3.14", f"--python {builder.interpreter}"))
        said = re.sub(r"\bpy\d+:", "py314:", child.stdout + child.stderr)
        assert 0 == child.returncode, said
        assert step.expected is not None
        assert agrees(step.expected, said), said

    shown = builder.shell(
        'buildah unshare sh -c \'cd $(buildah mount $(buildah from app)) && find . -name "*.pyc" -printf "%U %m\\n"\''
    )
    assert ["0 644"] * 4 == shown.stdout.splitlines(), shown.stderr
