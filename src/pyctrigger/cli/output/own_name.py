"""What a person types to run this pyctrigger as root, wherever it is installed."""

from __future__ import annotations

import os
import shutil
import sys

_NAME = "pyctrigger"
#: Where sudo searches by default (`secure_path` in sudoers(5), as distributions set it).
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command_for_root() -> str:
    """Returns the name if sudo finds this pyctrigger by it, or else its path."""
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == _NAME else _beside_interpreter()
    found = shutil.which(_NAME, path=_ROOTS_PATH)
    if not os.path.isfile(script) or (found is not None and os.path.samefile(found, script)):
        return _NAME
    return os.path.abspath(script)


def _beside_interpreter() -> str:
    """Returns where an environment's script is, if it was started with `python -m pyctrigger`."""
    return os.path.join(os.path.dirname(sys.executable), _NAME)
