"""Imports whatever is in a site directory, over and over, and writes bytecode as any program does.

Runs on 3.6 and on PyPy. Ends with its standard input, and says what no import may ever meet: bytecode in pieces.
"""

import importlib
import json
import os
import random
import select
import sys

TORN = (EOFError, ValueError, TypeError, MemoryError)


def names_below(top: str) -> "list[str]":
    """Every module by its dotted name, as far as it can be imported."""
    found = []  # type: list[str]
    for directory, directories, names in os.walk(top):
        directories[:] = [name for name in directories if name.isidentifier()]
        below = os.path.relpath(directory, top).replace(os.sep, ".").strip(".")
        modules = [name[:-3] for name in names if name.endswith(".py") and name[:-3].isidentifier()]
        found += [".".join(filter(None, (below, name if name != "__init__" else ""))) for name in modules]
    return [name for name in found if name]


def main() -> None:
    top, chance = sys.argv[1], random.Random(sys.argv[2])
    sys.path.insert(0, top)
    ours = set(sys.modules)
    imports = 0
    torn = []  # type: list[str]
    while not select.select([0], [], [], 0)[0]:
        for name in [name for name in sys.modules if name not in ours and name.startswith("pkg")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        names = names_below(top)
        for name in chance.sample(names, min(10, len(names))):
            try:
                importlib.import_module(name)
                imports += 1
            except SyntaxError:
                pass
            except TORN as error:
                torn.append(f"{name}: {error!r}")
            except Exception:  # noqa: BLE001 - what a package in pieces may raise
                pass
    print(json.dumps([imports, torn]))


main()
