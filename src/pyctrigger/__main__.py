"""`python -m pyctrigger`, `python DIR` for a private application directory, and what `pyctrigger` is installed as."""

import gc
import sys

from pyctrigger import interruption

gc.disable()  # imports make no garbage to speak of, and it would look for some two dozen times; main() enables it
interruption.watch()

from pyctrigger.cli import main  # noqa: E402 - it takes nearly all of the start's time

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
