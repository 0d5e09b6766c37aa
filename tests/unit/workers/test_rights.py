"""With whose rights a worker starts and compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pyctrigger.interpreter.interpreter import Account
from pyctrigger.workers import rights
from pyctrigger.workers.rights import Rights, rights_for

if TYPE_CHECKING:
    from pyctrigger.interpreter.interpreter import Interpreter
    from pyctrigger.interpreter.worker_accounts import Lease

OWN = Account(2000200001, 2000200001)
PERSON = Account(1000, 1000)


class _Leased:
    account = OWN


class _Target:
    def __init__(self, account: Account | None, root: str | None) -> None:
        self.account = account
        self.root = root


LEASED, START_AS_ROOT = Rights(OWN, OWN.uid, 2), Rights(None, OWN.uid, 2)
#: Whether there is a lease, whose the interpreter is, whether everybody reaches it, its root, and what a worker gets.
TABLE: list[tuple[bool, Account | None, bool, str | None, Rights]] = [
    (False, None, True, None, Rights(None, -1, 0)),
    (False, None, False, None, Rights(None, -1, 0)),
    (False, PERSON, True, None, Rights(PERSON, -1, 0)),
    (False, PERSON, False, None, Rights(PERSON, -1, 0)),
    (False, PERSON, False, "/srv", Rights(PERSON, -1, 0)),
    (True, None, True, None, LEASED),
    (True, PERSON, True, None, LEASED),
    (True, None, False, None, START_AS_ROOT),  # loads what it needs as root, and drops
    (True, PERSON, False, None, Rights(PERSON, -1, 0)),  # never with more than that person has
    (True, None, False, "/srv", LEASED),
    (True, PERSON, False, "/srv", LEASED),
]


@pytest.mark.parametrize(("leased", "account", "is_open", "root", "expected"), TABLE)
def test_rights_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
    leased: bool,
    account: Account | None,
    is_open: bool,
    root: str | None,
    expected: Rights,
) -> None:
    """An account of its own wherever one can be had; whatever can't start so isn't started with more."""
    monkeypatch.setattr(rights, "is_for_everybody", lambda interpreter: is_open)
    target = cast("Interpreter", _Target(account, root))
    lease: Any = _Leased() if leased else None
    assert expected == rights_for(target, cast("Lease | None", lease))


@pytest.mark.parametrize(
    ("each", "owner"),
    [(LEASED, None), (START_AS_ROOT, None), (Rights(PERSON, -1, 0), 1000), (Rights(None, -1, 0), None)],
)
def test_owner_is_the_person_that_a_worker_runs_as(each: Rights, owner: int | None) -> None:
    """Not an account that is nobody's."""
    assert owner == each.owner
