"""Run by the target: prints what this interpreter is, as one framed JSON line on standard output.

Contract: Python 3.6 to 3.15 and PyPy; standard library only; reads nothing, writes only that line. The frame
distinguishes it from anything that start-up code prints.
"""

import importlib.util
import json
import os
import sys
import sysconfig


def schemes() -> "dict[str, dict[str, str]]":
    """Returns the directories of all installation schemes except users' and other systems'."""
    found = {}
    for name in sysconfig.get_scheme_names():
        if "user" in name or name.startswith("nt") or name == "posix_home":
            continue
        try:
            paths = sysconfig.get_paths(name)
        except Exception:  # a vendor's scheme may lack a variable; the others still count
            continue
        found[name] = {key: paths[key] for key in ("purelib", "platlib", "stdlib", "platstdlib") if key in paths}
    return found


def inside(prefix: str) -> "list[str]":
    """Returns the directories of packages in an environment below `prefix`."""
    variables = {"base": prefix, "platbase": prefix, "installed_base": prefix, "installed_platbase": prefix}
    for name in ("venv", "posix_prefix", "pypy"):
        if name in sysconfig.get_scheme_names():
            return sorted({sysconfig.get_path(key, name, variables) for key in ("purelib", "platlib")})
    return []


def default_scheme() -> str:
    for name in ("get_default_scheme", "_get_default_scheme"):
        if hasattr(sysconfig, name):
            return str(getattr(sysconfig, name)())
    return "posix_prefix"


def witnesses() -> "list[str]":
    """Returns files that change with the interpreter even if its executable doesn't: libpython, the import system."""
    found = [os.__file__]
    for name in ("importlib/_bootstrap_external.py", "importlib/__init__.py"):
        found.append(os.path.join(os.path.dirname(os.__file__), name))
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                path = line.rstrip(b"\n").split(b" ")[-1]
                if b"libpython" in path or b"libpypy" in path:
                    found.append(path.decode("utf-8", "surrogateescape"))
    except EnvironmentError:
        pass  # no procfs, as on FreeBSD: the import system's files have to do
    return sorted(set(os.path.realpath(path) for path in found if os.path.exists(path)))


def answer() -> "dict[str, object]":
    magic = getattr(importlib.util, "MAGIC_NUMBER", b"")
    return {
        "implementation": sys.implementation.name,
        "version": list(sys.version_info[:3]),
        "release": ".".join(map(str, sys.version_info[:3]))
        + {"alpha": "a", "beta": "b", "candidate": "rc"}.get(sys.version_info[3], "")
        + ("" if sys.version_info[3] == "final" else str(sys.version_info[4])),
        "cache_tag": sys.implementation.cache_tag,
        "magic_number": "".join("%02x" % byte for byte in bytearray(magic)),
        "abi_flags": getattr(sys, "abiflags", ""),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "prefix": os.path.realpath(getattr(sys, "base_prefix", sys.prefix)),
        "schemes": schemes(),
        "default_scheme": default_scheme(),
        "inside": inside("/@"),
        "witnesses": witnesses(),
    }


if __name__ == "__main__":
    sys.stdout.write("\npyctrigger-probe:" + json.dumps(answer(), sort_keys=True) + "\n")
    sys.stdout.flush()
