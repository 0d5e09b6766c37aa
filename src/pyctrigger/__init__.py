"""A package-manager trigger that keeps Python bytecode up to date with its sources."""

# Nothing is imported yet, for a reason: see `__main__`. Type checkers know this name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from .errors import PyctriggerError
    from .outcome.report import Report
    from .run.trigger import run_trigger
    from .version import VERSION as __version__

__all__ = ["PyctriggerError", "Report", "__version__", "run_trigger"]

_HOMES = {
    "PyctriggerError": (".errors", "PyctriggerError"),
    "Report": (".outcome.report", "Report"),
    "__version__": (".version", "VERSION"),
    "run_trigger": (".run.trigger", "run_trigger"),
}


def __getattr__(name: str) -> object:
    """Import what is used, and not earlier: the command handles Ctrl-C before it imports anything else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, original = _HOMES[name]
    return getattr(import_module(module, __name__), original)
