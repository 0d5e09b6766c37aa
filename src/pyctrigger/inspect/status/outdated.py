"""What is out of date, at the cost of a hook's glance: only what has changed since is looked at, as in a dry run."""

from __future__ import annotations

from ...errors import PyctriggerError
from ...run.plan.glance import Overview, paths_of
from ...run.plan.wanted import wanted_bytecode
from ...run.scope.config import Settings
from ...run.scope.request import Request, Work
from ...run.scope.sites import OpenSites
from ...run.scope.target import Assignment, Target
from ...run.trigger import perform
from ...state.store import Store


def count_outdated(target: Target, request: Request, settings: Settings, store: Store) -> int | None:
    """Returns how many files a run would compile or remove, or None if no run has recorded anything to compare with."""
    parts = store.parts(target.installation)
    hook = request._replace(work=Work.RUN, running=request.running._replace(hook=True))
    if not (parts.are_kept and parts.know_records):
        return None
    wanted = wanted_bytecode(target, hook, settings, target.installation)
    with OpenSites(target, hook) as sites:
        changed = Overview(Assignment.of(target, hook), wanted, parts).changed(sites)
    if changed is not None and not changed:
        return 0
    paths = None if changed is None else paths_of(changed)
    own = request.scope._replace(pythons=(target.interpreter.executable,))
    dry = request.running._replace(dry_run=True)
    try:
        report = perform(request.about(paths)._replace(work=Work.RUN, scope=own, running=dry))
    except PyctriggerError:  # the configuration can't be used, which is a finding of its own
        return None
    return sum(len(run.tally.actions) for run in report.runs)
