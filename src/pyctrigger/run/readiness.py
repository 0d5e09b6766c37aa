"""What a run needs that compiles, imported ahead of time.

It takes 15 ms, and a hook seldom needs it. While an interpreter runs to say what it is, there is nothing else to do.
"""

from __future__ import annotations

import contextlib


def get_ready() -> None:
    """Import it, as far as there is all of it: whoever can't do without says so."""
    with contextlib.suppress(ImportError):
        from ..state.sqlite import has_sqlite
        from . import flow  # noqa: F401
        from .apply.compile import Compilation  # noqa: F401
        from .apply.lanes import Lanes  # noqa: F401

        has_sqlite()  # imports the module, if there is one
