"""The verbs, in the order in which the help lists them."""

from . import purge, repair, run, status, sweep, verify

VERBS = {"run": run, "repair": repair, "verify": verify, "sweep": sweep, "purge": purge, "status": status}

__all__ = ["VERBS"]
