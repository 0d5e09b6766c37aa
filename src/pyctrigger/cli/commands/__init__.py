"""The verbs, in the order in which the help lists them.

One that has a `perform` of its own is no request about bytecode, and adds all of its options itself.
"""

from . import audit, completion, hooks, measure, purge, repair, run, status, sweep, verify

VERBS = {
    "run": run,
    "repair": repair,
    "verify": verify,
    "sweep": sweep,
    "purge": purge,
    "status": status,
    "audit": audit,
    "measure": measure,
    "hooks": hooks,
    "completion": completion,
}

__all__ = ["VERBS"]
