"""A package-manager trigger that keeps Python bytecode in step with its sources."""

from .errors import PyctriggerError
from .run.report import Report
from .run.trigger import run_trigger
from .version import VERSION as __version__

__all__ = ["PyctriggerError", "Report", "__version__", "run_trigger"]
