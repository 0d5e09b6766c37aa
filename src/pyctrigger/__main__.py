"""`python -m pyctrigger`, and `python DIR` for a private application directory."""

import sys

from pyctrigger.cli import main

if __name__ == "__main__":
    sys.exit(main())
