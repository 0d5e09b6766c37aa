"""Whose rights a child has: what compiles has those of the tree's owner, what loads doubtful bytecode nobody's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..namespaces import is_mapped
from ..target.interpreter import Account
from ..target.trust import account_of

if TYPE_CHECKING:
    from ..target.interpreter import Interpreter

#: The account without rights of Linux and FreeBSD alike, with its group.
_NOBODY = Account(65534, 65534)


def for_compiling(interpreter: Interpreter, owner: int) -> Interpreter:
    """The interpreter with the rights that compiling the sources of a tree of `owner` takes.

    Only root can give up rights, and what it runs as the interpreter's own account stays that account's.
    """
    if os.geteuid() != 0 or owner == 0 or interpreter.account is not None:
        return interpreter
    return interpreter._replace(account=account_of(owner))


def for_loading(interpreter: Interpreter, owner: int) -> list[Interpreter]:
    """The interpreter with the rights to load bytecode that may do anything, best first: not each can be started."""
    if os.geteuid() != 0 or interpreter.account is not None:
        return [interpreter]
    if not is_mapped(_NOBODY.uid):
        return [interpreter]  # a user namespace with few accounts: no other has fewer rights
    as_owner = for_compiling(interpreter, owner)
    choices = [interpreter._replace(account=_NOBODY), as_owner, interpreter]
    return choices if as_owner.account else choices[:2]
