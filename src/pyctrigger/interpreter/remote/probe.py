"""Run by the target: prints what this interpreter is, as one framed JSON line on standard output.

Contract: Python 3.6 to 3.15 and PyPy; standard library only; reads only its own maps and the C library, writes only
that line. The frame distinguishes it from anything that start-up code prints. `interned.py` comes before it in the same
namespace.
"""

import binascii
import importlib.util
import json
import os
import struct
import sys
import sysconfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctrigger.interpreter.remote.interned import CLASS_NAMES

#: What computes powers where the C library has no version: of FreeBSD, and of musl, which is one file.
LIBRARIES = ("/lib/libm.so.5", "/lib/ld-musl-%s.so.1" % os.uname()[4])
#: Pairs of numbers to compute with.
PAIRS = 1000


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
    """Returns files that change with the interpreter even if its executable doesn't.

    libpython, the import system, and the C library, whose version is part of the answer.
    """
    found = [os.__file__]
    found.extend(LIBRARIES)
    for name in ("importlib/_bootstrap_external.py", "importlib/__init__.py"):
        found.append(os.path.join(os.path.dirname(os.__file__), name))
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                path = line.rstrip(b"\n").split(b" ")[-1]
                if any(name in path for name in (b"libpython", b"libpypy", b"/libm.", b"/libm-", b"/libc.", b"/libc-")):
                    found.append(path.decode("utf-8", "surrogateescape"))
    except EnvironmentError:
        pass  # no procfs, as on FreeBSD: the import system's files have to do
    return sorted(set(os.path.realpath(path) for path in found if os.path.exists(path)))


def build() -> "dict[str, str]":
    """Returns what bytecode depends on, besides version and magic number: by name, each as a text."""
    system = os.uname()
    pypy = getattr(sys, "pypy_version_info", None)
    facts = {
        "pypy": ".".join(map(str, pypy)) if pypy else "",
        "development": flag(sys.version.split()[0].endswith("+") or (pypy is not None and pypy[3] == "alpha")),
        "debug": flag(hasattr(sys, "gettotalrefcount")),
        "system": system[0],
        "machine": system[4],
        # Constants are folded if they are small enough for the machine's numbers.
        "word": "%d %s" % (sys.maxsize.bit_length() + 1, sys.byteorder),
        "c_library": c_library() or "%s %s" % (system[0], system[2]),
        "powers": powers(),
        # Up to 3.10 the order of a set in a pyc follows from it and from the seed, which is the same for all workers.
        "hash": "%s %d" % (sys.hash_info.algorithm, sys.hash_info.width),
        "ranges": flag(has_ranges()),
    }
    return {name: "".join(each if " " <= each <= "~" else "?" for each in facts[name])[:100] for name in facts}


def flag(value: object) -> str:
    return "yes" if value else "no"


def c_library() -> str:
    """Returns the C library and its version; nothing if that is unknown."""
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        name = None
    if name:
        return name
    for path in LIBRARIES:
        try:
            with open(path, "rb") as library:
                content = library.read()
        except EnvironmentError:
            continue
        return "%s %d %08x" % (os.path.basename(path), len(content), binascii.crc32(content) & 0xFFFFFFFF)
    return ""


def powers() -> str:
    """Returns a checksum of powers: compilers fold them, and their last digit depends on the C library.

    And on the processor: one and the same glibc computes them in another way if there is no FMA, and of these a few
    differ.
    """
    state, found = 1, []
    for _ in range(PAIRS):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        base, exponent = (state >> 11) / 2.0**50, (state & 0xFFFFFFFF) / 2.0**29 - 4
        power = complex(base, exponent) ** complex(exponent, 0.5)
        found += [base**exponent, power.real, power.imag]
    return "%08x" % (binascii.crc32(struct.pack("<%dd" % len(found), *found)) & 0xFFFFFFFF)


def has_ranges() -> bool:
    """Whether code has the columns of its instructions (PEP 657)."""
    positions = getattr(compile("a.b", "", "exec"), "co_positions", None)
    return positions is not None and any(each[2] is not None for each in positions())


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
        "build": build(),
        "class_names": CLASS_NAMES,
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
    os._exit(0)  # the host waits for our end, and taking a Python apart takes as long as half of its start
