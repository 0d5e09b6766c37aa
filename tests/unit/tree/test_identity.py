"""Acting as the account whose place it is; here in a process that keeps its ids."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.tree.identity import (
    Acting,
    ForeignPlaceError,
    IdentityRefusedError,
    acting_as_ourselves,
    acts_as_other,
    identity_of,
    is_root,
    make_directory,
    making_for,
    masking_nothing_of,
    places_met,
)

if TYPE_CHECKING:
    from pathlib import Path

ANN = 12345


def test_a_process_that_keeps_its_ids_leaves_the_place_to_another() -> None:
    """And counts how often."""
    before = places_met()
    with pytest.raises(ForeignPlaceError) as caught:
        identity_of(ANN)
    assert (ANN, before + 1, f"account {ANN} may rename here") == (
        caught.value.uid,
        places_met(),
        caught.value.strerror,
    )


def test_a_refusal_is_told_to_another_process() -> None:
    """With its reason."""
    error = pickle.loads(pickle.dumps(IdentityRefusedError(errno.EPERM, "no rights")))
    assert ("no rights", IdentityRefusedError) == (error.strerror, type(error))


@pytest.mark.parametrize(
    ("mode", "umask", "inner"), [(0o777, 0o777, 0), (0o755, 0o022, 0o022), (0o775, 0o027, 0o002), (0, 0o077, 0o077)]
)
def test_the_umask_takes_nothing_of_a_mode(mode: int, umask: int, inner: int) -> None:
    """For a block; and it is what it was afterwards."""
    before = os.umask(umask)
    try:
        with masking_nothing_of(mode):
            found = os.umask(0)
            os.umask(found)
        assert (inner, umask) == (found, os.umask(umask))
    finally:
        os.umask(before)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("gid", [0, 50])
def test_a_directory_has_its_mode_and_group_from_the_start(tmp_path: Path, gid: int) -> None:
    """As root another process makes it for a group."""
    parent = os.open(tmp_path, os.O_RDONLY)
    with masking_nothing_of(0o755):
        make_directory(parent, "made", 0o755, gid)
    status = (tmp_path / "made").stat()
    assert (0o755, gid, os.getegid()) == (stat.S_IMODE(status.st_mode), status.st_gid, 0)
    with pytest.raises(FileExistsError):
        make_directory(parent, "made", 0o755, gid)
    os.close(parent)


def test_we_are_ourselves() -> None:
    """Blocks for nobody, and for a group, change nothing."""
    ids = os.getresuid(), os.getresgid(), os.getgroups()
    with Acting(None), acting_as_ourselves(), making_for(50):
        assert (ids, False) == ((os.getresuid(), os.getresgid(), os.getgroups()), acts_as_other())
    assert is_root() is (os.geteuid() == 0)


#: What a process does that was forked for acting: code, and what it prints.
ACTS = {
    "as an account": (
        "with Acting(ann): show()\nshow()",
        ["12345 12346 [12346, 12347] True", "0 0 [] False"],
    ),
    "within one": (
        "with Acting(ann):\n    with Acting(bob): show()\n    show()\nshow()",
        ["12345 12346 [12346, 12347] True", "12345 12346 [12346, 12347] True", "0 0 [] False"],
    ),
    "as ourselves for a moment": (
        "with Acting(ann):\n    with acting_as_ourselves(): show()\n    show()",
        ["0 0 [] False", "12345 12346 [12346, 12347] True"],
    ),
    "for another group": (
        "with Acting(ann):\n    with making_for(50): show()\n    show()",
        ["12345 50 [12346, 12347] True", "12345 12346 [12346, 12347] True"],
    ),
    "for its own group": ("with Acting(ann), making_for(12346): show()", ["12345 12346 [12346, 12347] True"]),
    "for nobody": ("with Acting(None): show()", ["0 0 [] False"]),
    "after an error": (
        "try:\n    with Acting(ann): 1 / 0\nexcept ZeroDivisionError: show()",
        ["0 0 [] False"],
    ),
}
_PROLOGUE = """
import os
from pyctrigger.tree.identity import *
from pyctrigger.tree import identity
os.setgroups([])
identity.begin_acting()
ann, bob = Identity(12345, 12346, (12346, 12347)), Identity(2, 2, ())
def show(): print(os.geteuid(), os.getegid(), sorted(os.getgroups()), acts_as_other())
"""


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", ACTS)
def test_a_process_that_acts_has_an_accounts_ids_for_a_block(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    """And is root again afterwards; the real and saved ids stay root's."""
    code, expected = ACTS[case]
    child = os.fork()
    if not child:
        try:
            exec(compile(_PROLOGUE + code, "acts", "exec"), {})
            assert (0, 0) == (os.getresuid()[0], os.getresuid()[2])
            sys.stdout.flush()
            os._exit(0)
        finally:
            os._exit(1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert expected == capfd.readouterr().out.splitlines()
