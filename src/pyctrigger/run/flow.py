"""One request, carried out: peek, lock, apply.

The plan only reads, and is asked for its first change. If there is none, that is all: nobody waits for a lock. Else the
lock is taken; if somebody else had it meanwhile, what was read is old, and everything is examined again.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from itertools import chain

from ..outcome.outcome import Tally
from ..typed import TYPE_CHECKING
from .plan.glance import Overview
from .plan.knowledge import Knowledge
from .plan.results import Results
from .plan.survey import Places, Survey, are_read_only, touched_places
from .plan.wanted import Wanted, wanted_bytecode
from .scope.request import Work
from .scope.sites import OpenSites
from .scope.target import Assignment
from .workspace import Workspace

if TYPE_CHECKING:
    from .apply.workers import Workers

#: The writer's id of runs without a lock, each with a number of its own: their residue has to be old to be swept.
_UNLOCKED_WRITER = "stateless"


def carry_out(
    assignment: Assignment,
    workspace: Workspace,
    sites: OpenSites,
    places: Places | None = None,
    early: Workers | None = None,
) -> tuple[Tally, Places]:
    """Carry out an assignment in all places of our own, or, in a process for other accounts, in theirs.

    `early` are workers of which one may be ready; they are ended if they were needed. Returns what became of the
    files, and the places of others. Raises PyctriggerError; what was done stays done.
    """
    target, request, touched = assignment
    operation = workspace.operation
    wanted = wanted_bytecode(target, request, operation.settings, target.installation)
    while True:
        workspace.note_last_use()
        if workspace.is_lockless:
            wanted = wanted._replace(writer=f"{_UNLOCKED_WRITER}-{os.urandom(4).hex()}")
        results = Results(operation.observer)
        with contextlib.closing(operation.store.manifest(target.installation)) as manifest:
            if not workspace.parts.know_records:
                manifest.check()
            manifest.when_full = partial(workspace.save, results, manifest)
            knowledge = Knowledge(manifest, wanted, operation.ownership)
            if out_of_scope := knowledge.drop_out_of_scope(target, request):
                operation.observer.notice(
                    f"the manifest names directories outside the scope: {', '.join(out_of_scope)}"
                )
            overview = _overview(assignment, workspace, wanted)
            observer, units = operation.observer, touched.units
            plan = Survey(sites, units, wanted, knowledge, overview=overview, observer=observer, places=places)
            sites.require_account_owns()
            with contextlib.ExitStack() as ending, contextlib.ExitStack() as keeping:
                keeping.callback(workspace.keep, results, manifest)
                changes = plan.changes(results)
                change = next(changes, None)
                if change is not None:
                    from .apply.execution import Execution  # an idle run never needs it
                    from .apply.spread import spread
                    from .apply.workers import Workers

                    workers = early or Workers(
                        target.interpreter, operation.settings, request.running, wanted, remote=operation.remote
                    )
                    ending.enter_context(workers)
                    execution = Execution(wanted, knowledge, workers, results)
                    if not manifest.is_new:  # else most likely lanes follow, with workers of their own
                        execution.warm_up(change)  # while we wait
                    if workspace.enter():
                        keeping.pop_all()  # what was proven may be old
                        operation.ownership.forget()
                        sites.close()
                        continue
                    layouts, keep = [layout for _, layout in sites.layouts], workspace.lock_descriptors
                    all_changes = chain([change], changes)
                    hook_of = target.interpreter.flavour if request.running.hook else None
                    own_changes = spread(all_changes, execution, workers, layouts, keep, hook_of=hook_of)
                    with contextlib.closing(execution.run(own_changes)) as compiled:
                        for source, code in compiled:
                            execution.writer.store(source, code)
                    workers.kill()  # they end while we save
                if results.tally.left_something:
                    plan.look_again()  # what was all done is too young for that, and it costs a tenth of the run
                if overview and request.running.hook and (line := overview.left_to_packages()):
                    results.tally.notices.append(line)
                # What waits in the journal for a tree that can't be written goes on waiting.
                results.tally.is_interrupted |= are_read_only(touched_places(sites, touched.units))
            return results.tally, plan.foreign


def _overview(assignment: Assignment, workspace: Workspace, wanted: Wanted) -> Overview | None:
    """Returns what collects the notes for the next hook's glance, if this run keeps any."""
    request = assignment.request
    if request.work is not Work.RUN or not (workspace.parts.are_kept or request.running.hook):
        return None
    return Overview(assignment, wanted, workspace.parts)
