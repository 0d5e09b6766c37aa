"""The tutorial's Debian 13, with an ordinary account, pyctrigger's package in root's home, and packages for apt."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
from conftest import absent
from debian_chroot import Chroot, chroot_program
from document_places import USER, USER_ID
from documents import DOCS, blocks
from fresh_debian import WORKSHOP, bootstrapped
from kept_systems import CACHE
from manager_packages import built_pyctrigger, checkout_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What apt installs without a network from now on.
PAYLOADS = ("python3-idna", "python3-jinja2")
_APT = """\
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
"""


@contextmanager
def trixie() -> Iterator[Chroot]:
    """A system that may be changed, gone afterwards. Only root can have one."""
    chroot = chroot_program()
    with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=corpus.memory(programs=True) or CACHE) as directory:
        scratch = Path(directory)
        (scratch / WORKSHOP.lstrip("/")).mkdir()
        command = _bootstrap_command()
        bootstrapped(command, scratch)
        system = Chroot(scratch / command.rsplit(maxsplit=1)[-1].lstrip("/"), chroot)
        system.outside("/etc/apt/apt.conf.d/99tests").write_text(_APT)
        _download(system)
        assert system.run("useradd", "--create-home", "--uid", str(USER_ID), USER).code == 0
        shutil.copy2(built_pyctrigger("deb", checkout_of(scratch / "checkout"), scratch), system.outside("/root"))
        yield system


def _bootstrap_command() -> str:
    """As in the tutorial: made once, used by both."""
    (command,) = (
        step.command
        for block in blocks(DOCS / "tutorial.md")
        for step in block.steps()
        if step.command.startswith("debootstrap ")
    )
    return command


def _download(system: Chroot) -> None:
    """By the lists that debootstrap left, or by new ones, where what they name isn't there any more."""
    download = ("apt-get", "-q", "-y", "--download-only", "install", *PAYLOADS)
    if system.run(*download).code == 0:
        return
    system.run("apt-get", "-q", "update")
    outcome = system.run(*download)
    if outcome.code != 0:
        absent(f"no packages of Debian's: {outcome.err.strip()[-300:]}")
