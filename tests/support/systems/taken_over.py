"""A Debian with pyctrigger-takeover: how the originals are called, and whether all is in its place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from watched import DELETED, MOVED_AWAY, events_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Outcome
    from debian_chroot import Chroot

TAKEOVER = "/usr/lib/pyctrigger-takeover"
SERVING = "/var/lib/pyctrigger/serving"
PROGRAMS = ("py3compile", "py3clean")
PYPYS = ("pypy3compile", "pypy3clean")
_CALLS = "/tmp/calls"
#: Of dpkg's output: what nobody should see.
_COMPLAINTS = ("warning", "unable to", "error", "did not run", "left behind", "Traceback")


def note_calls(system: Chroot, *programs: str) -> None:
    """These programs of Debian's note from now on how they are called; as they were, they are in /srv."""
    for name in programs:
        program = system.outside(f"/usr/bin/{name}")
        program.rename(system.outside(f"/srv/{name}"))
        program.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>{_CALLS}\nexec /srv/{name} "$@"\n')
        program.chmod(0o755)


def calls(system: Chroot) -> list[str]:
    """How the originals were called since the last time."""
    notes = system.outside(_CALLS)
    found = notes.read_text().splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return found


def silent(outcome: Outcome) -> None:
    """Nothing of what dpkg said is a complaint. A compiler may warn of a source."""
    said = [line for line in (outcome.out + outcome.err).splitlines() if ": downgrading " not in line]
    said = [line for line in said if not line.startswith(("/usr/lib/", "/usr/share/", " "))]
    assert [] == [line for line in said if any(word in line for word in _COMPLAINTS)]


def misplaced(system: Chroot, *programs: str) -> list[str]:
    """Those that aren't where they belong: with the takeover ours and the original, without it the original alone."""
    is_ours = system.outside(f"{TAKEOVER}/scripts").exists()
    found = []
    for name in programs:
        program, original = system.outside(f"/usr/bin/{name}"), system.outside(f"{TAKEOVER}/{name}")
        if ("pyctrigger" in program.read_text()) != is_ours or original.exists() != is_ours:
            found.append(f"{name} isn't where it belongs")
        diverted = diverted_by(system, name)
        if diverted != ("pyctrigger-takeover" if is_ours else ""):
            found.append(f"{name} is diverted by {diverted!r}")
    return found


def diverted_by(system: Chroot, name: str) -> str:
    """The package by which a program is diverted."""
    return system.run("dpkg-divert", "--listpackage", f"/usr/bin/{name}").out.strip()


@contextmanager
def always_there(system: Chroot, *programs: str) -> Iterator[None]:
    """At each moment there is a program in each place: nobody takes one away before the next comes."""
    places = {system.outside(f"/usr/bin/{name}") for name in programs}
    with events_in([system.outside("/usr/bin")], DELETED | MOVED_AWAY) as gone:
        yield
        assert places & set(gone()) == set()
    assert [path for path in places if not os.access(path, os.X_OK)] == []
