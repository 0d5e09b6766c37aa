"""Places of others in a target's trees: work for a process that acts as the account whose place each is."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Union

from ...outcome.outcome import Failure
from ..scope.forked import DeathError, NoProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...outcome.outcome import Tally
    from .steps import Foreign

    #: By site directory: what another process has to look at in it; None: all that is asked for.
    Places = dict[str, Union[list[Foreign], None]]


@contextlib.contextmanager
def trouble_with(places: Places, tally: Tally) -> Iterator[None]:
    """Where there is no process for these places, or it has died, that is one failure for each of them."""
    try:
        yield
    except NoProcessError as error:
        kind, reason = "refused", f"others may rename here, and no process can be had that acts as they ({error})"
    except DeathError as error:
        kind, reason = "crash", f"the process that acted as whose place it is has ended ({error})"
    else:
        return
    for site, found in places.items():
        names = [""] if found is None else [each.relative for each in found if not each.if_dead]
        tally.failures += [Failure(f"{site}/{name}".rstrip("/"), kind, reason) for name in names]
