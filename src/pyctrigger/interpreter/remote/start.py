"""Run by the target: starts the program to measure, with its bytecode in a private tree.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, and on purpose also site and user code, which is part of
the start-up time. Started without `site`, so that the modules that `site` imports have their bytecode in that tree as
well; then `site` does what it does at every start, or adds the given directories instead.

Arguments: the descriptor of this file, the tree of bytecode, how many site directories follow, these, and `modules` or
`script` with what to start.
"""

import importlib
import os
import sys


def use_tree(tree: str) -> None:
    """Keep bytecode in `tree`. 3.6 and 3.7 have no `sys.pycache_prefix`, but one function to replace."""
    if hasattr(sys, "pycache_prefix"):
        sys.pycache_prefix = tree
        return
    external = sys.modules["_frozen_importlib_external"]
    beside_source = external.cache_from_source

    def cache_from_source(path: str, debug_override: object = None, *, optimization: object = None) -> str:
        pyc = beside_source(path, debug_override, optimization=optimization)
        pycache, name = os.path.split(os.path.join(os.getcwd(), pyc))
        return os.path.join(tree, os.path.dirname(pycache).lstrip("/"), name)

    external.cache_from_source = cache_from_source  # type: ignore[attr-defined]


def prepare_sites(directories: "list[str]") -> None:
    site = importlib.import_module("site")
    for directory in directories:
        site.addsitedir(directory)
    if not directories:
        site.main()


def main(arguments: "list[str]") -> None:
    tree, count, *rest = arguments
    directories, (kind, *subject) = rest[: int(count)], rest[int(count) :]
    use_tree(tree)
    prepare_sites(directories)
    if kind == "modules":
        sys.argv[:] = ["-c"]
        sys.path.insert(0, "")
        for name in subject:
            importlib.import_module(name)
        return
    sys.argv[:] = subject
    sys.path.insert(0, os.path.dirname(os.path.realpath(subject[0])))
    runpy = importlib.import_module("runpy")
    runpy.run_path(subject[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[2:])
