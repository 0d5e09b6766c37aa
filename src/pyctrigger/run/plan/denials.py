"""Places where this account has no right to write: one failure for each, whatever lies below."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...outcome.outcome import Failure

if TYPE_CHECKING:
    from ...outcome.outcome import Tally
    from ...tree.layout import Layout


class Denials:
    """Notes where nothing may be written, before anything is tried there."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        #: Sources that were left without the bytecode that they need, by the path of the place.
        self._left: dict[str, int] = {}
        self._owners: dict[str, int] = {}
        #: As whom nothing can be written there, by the path of the place.
        self._accounts: dict[str, int] = {}

    def note(self, layout: Layout, relative: str, sources: int = 0) -> None:
        """The pycs of a directory may not be written, and so many sources need some."""
        top = layout.forbidden_top(relative)
        path = layout.pycs.describe(top)
        self._left[path] = self._left.get(path, 0) + sources
        self._owners.setdefault(path, layout.owner_of(top))
        account = layout.pycs.account_at(top)
        if account is not None:
            self._accounts[path] = account.uid
        self._tally.counts.failed += sources

    def tell(self) -> None:
        """Make failures of them, once it is known how much was left."""
        for path, sources in self._left.items():
            left = f"; sources that were left: {sources}" if sources else ""
            account = self._accounts.get(path)
            failure = (
                _failure(path, self._owners[path], left)
                if account is None
                else Failure(path, "refused", refusal_of(account, self._owners[path], left))
            )
            self._tally.failures.append(failure)
        self._left.clear()


def denials_of(places: list[tuple[Layout, str]]) -> list[Failure]:
    """The failures of directories of which nothing was tried yet."""
    from ...outcome.outcome import Tally

    tally = Tally()
    denials = Denials(tally)
    for layout, relative in places:
        denials.note(layout, relative)
    denials.tell()
    return tally.failures


def refusal_of(account: int, owner: int, left: str = "") -> str:
    """Why an account may not write below a directory of its own, where only it writes, and what can be done."""
    if account == owner:
        return f"account {account}, whose it is, has no right to write here: chmod u+w it{left}"
    return (
        f"it belongs to account {owner}, and account {account}, in whose directory it lies, may not write here: "
        f"chown -R {account} it{left}"
    )


def _failure(path: str, owner: int, left: str) -> Failure:
    if owner == os.geteuid():
        return Failure(path, "refused", f"its owner has no right to write here: chmod u+w it{left}")
    return Failure(path, "refused", f"you have no right to write here, account {owner} has{left}", needs_root=True)
