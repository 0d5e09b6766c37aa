"""The names in a `__pycache__` are those that the target's own importlib makes."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from pyctrigger.pyc.names import PycNames, pyc_suffix

if TYPE_CHECKING:
    from interpreters import Interpreter

_CACHE_NAMES = """
import importlib.util, json, sys
stems = json.loads(sys.stdin.read())
print(json.dumps({
    "tag": sys.implementation.cache_tag,
    "names": [[importlib.util.cache_from_source(stem + ".py", optimization=level) for level in ("", 1, 2)]
              for stem in stems],
}))
"""


def test_name_is_the_one_that_the_target_uses(interpreter: Interpreter) -> None:
    """PEP 3147 and 488, by its own `cache_from_source`, also for names with dots, spaces and other tags."""
    stems = ["module", "a.b", "module.cpython-311", "x.opt-1", "é", " ", "..", "a\nb", "*", "__init__"]
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-c", _CACHE_NAMES],
        input=json.dumps(stems).encode(),
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()
    said = json.loads(child.stdout)
    names = PycNames(said["tag"])
    for stem, expected in zip(stems, said["names"]):
        ours = [stem + pyc_suffix(said["tag"], level) for level in (0, 1, 2)]
        assert [f"__pycache__/{name}" for name in ours] == expected
        assert [names.source_of(name) for name in ours] == [stem + ".py"] * 3
