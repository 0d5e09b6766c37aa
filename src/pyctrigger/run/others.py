"""Places of others in a target's trees: work for a process that acts as the account whose place each is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..outcome.outcome import Failure, Tally
from .plan.glance import Overview
from .plan.survey import Places
from .scope.forked import DeathError, NoProcessError, Relay, act_as_others
from .scope.paths import Units
from .scope.sites import OpenSites
from .scope.target import Assignment
from .workspace import Workspace


def carry_out_as_others(assignment: Assignment, workspace: Workspace, places: Places) -> Tally:
    """Do the work in places of other accounts, as these accounts. Returns the tally. Raises PyctriggerError."""
    from .flow import carry_out

    def carry_out_apart(relay: Relay) -> None:
        workspace.move_apart(relay)
        with OpenSites(assignment.target, assignment.request) as sites:
            carry_out(assignment, workspace, sites, places)

    held = workspace.lock_descriptors
    tally = Tally()
    try:
        with trouble_with(places, tally):
            act_as_others(
                carry_out_apart,
                workspace.operation.observer,
                enter=lambda: (workspace.enter(), next(iter(workspace.lock_descriptors), None)),
                take=tally.add,
                keep=[*held, *workspace.operation.shared_descriptors],
            )
    finally:
        workspace.forget_parts()
        workspace.report.tally.add(tally)
    return tally


def glance_as_others(overview: Overview, assignment: Assignment) -> Units | None:
    """Returns what a glance finds in places of other accounts as well; nothing if there is no process for them."""

    def glance(relay: Relay) -> Units | None:
        with OpenSites(assignment.target, assignment.request) as sites:
            return overview.changed(sites)

    try:
        return act_as_others(glance)
    except NoProcessError:
        return {}


@contextlib.contextmanager
def trouble_with(places: Places, tally: Tally) -> Iterator[None]:
    """Count one failure for each of these places if there is no process for them, or it has died."""
    try:
        yield
    except DeathError as error:
        kind, reason = "crash", f"the process that acted as that account has ended ({error})"
    except NoProcessError as error:
        kind, reason = "refused", f"others may rename here, and no process can act as they do ({error})"
    else:
        return
    for site, found in places.items():
        names = [""] if found is None else [each.relative for each in found if not each.if_dead]
        tally.failures += [Failure(f"{site}/{name}".rstrip("/"), kind, reason) for name in names]
