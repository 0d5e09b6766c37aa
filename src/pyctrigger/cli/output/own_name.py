"""What a person types for this pyctrigger, wherever it is installed."""

from __future__ import annotations

import os
import shutil
import sys

_NAME = "pyctrigger"
#: Where sudo looks, as its vendors set it (`secure_path` in sudoers(5)).
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command_for(search_path: str) -> str:
    """What to type for this pyctrigger: its name where that is found on this path, else where it is installed."""
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == _NAME else _beside_interpreter()
    found = shutil.which(_NAME, path=search_path)
    if not os.path.isfile(script) or (found is not None and os.path.samefile(found, script)):
        return _NAME
    return os.path.abspath(script)


def _beside_interpreter() -> str:
    """Where the script of an environment lies that was entered with `python -m pyctrigger`."""
    return os.path.join(os.path.dirname(sys.executable), _NAME)
