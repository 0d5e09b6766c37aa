"""Other accounts, in the process of a test itself: root's acting as one, or all of its ids."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from conftest import absent
from pyctrigger.tree import identity
from pyctrigger.tree.identity import Acting, Identity
from pyctrigger.tree.permission.access_lists import (
    GROUP_OBJ,
    MASK,
    OTHER,
    USER,
    USER_OBJ,
    AccessEntry,
    give_list,
    takes_lists,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest

#: An account without an entry, and the one group besides her own that she is in.
ANN, HERS = 12345, 51
#: A group of nobody's, and the one that stands for all that a user namespace doesn't map.
STAFF, UNMAPPED = 50, 65534
AS_ANN = Identity(ANN, ANN, (ANN,))


def name_ann(directory: Path, rights: int) -> None:
    """Give a directory of mode 755 an access list that names Ann's rights. Skips where there are no such lists."""
    entries = [AccessEntry(USER_OBJ, 7), AccessEntry(USER, rights, ANN), AccessEntry(GROUP_OBJ, 5)]
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if not takes_lists(descriptor):
            absent("no access lists on this file system")
        give_list(descriptor, [*entries, AccessEntry(MASK, 5 | rights), AccessEntry(OTHER, 5)])
    finally:
        os.close(descriptor)


def let_act(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process act as other accounts; Ann is known."""
    monkeypatch.setattr(identity, "_process", identity._Process())
    identity.begin_acting()
    identity._process.known[ANN] = AS_ANN


@contextlib.contextmanager
def with_rights_of(account: int, groups: Sequence[int] = ()) -> Iterator[None]:
    """Meanwhile this process has the rights of an account, and is in these groups besides its own."""
    own_groups, group, user = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(groups)
    os.setegid(account)
    os.seteuid(account)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
        os.setgroups(own_groups)


@contextlib.contextmanager
def working_as(doer: str) -> Iterator[None]:
    """A block of root's ("root"), of Ann's ("ann"), or of root's acting as Ann ("acting")."""
    rights = with_rights_of(ANN, [HERS]) if doer == "ann" else contextlib.nullcontext()
    with rights, Acting(AS_ANN if doer == "acting" else None):
        yield
