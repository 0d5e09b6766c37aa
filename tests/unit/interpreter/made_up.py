"""Interpreters that no machine needs to have, and places that everybody reaches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pyctrigger.interpreter.flavour import Flavour
from pyctrigger.interpreter.interpreter import Interpreter

if TYPE_CHECKING:
    from pathlib import Path

#: What a probe says of a build.
BUILD = {
    "c_library": "glibc 2.36",
    "debug": "no",
    "development": "no",
    "hash": "siphash13 64",
    "machine": "x86_64",
    "powers": "4c913a9f",
    "pypy": "",
    "ranges": "yes",
    "system": "Linux",
    "word": "64 little",
}
MAGIC = {8: "550d0d0a", 11: "a70d0d0a", 12: "cb0d0d0a", 13: "f30d0d0a"}


def interpreter(named: str, executable: str, **fields: Any) -> Interpreter:
    """One of this flavour, installed in /usr."""
    kind = Flavour.parse(named)
    minor = kind.version[1]
    schemes = {
        "posix_prefix": {
            "purelib": f"/usr/lib/{kind.library}/site-packages",
            "platlib": f"/usr/lib/{kind.library}/site-packages",
            "stdlib": f"/usr/lib/{kind.library}",
        }
    }
    return Interpreter(
        executable=executable,
        implementation=kind.implementation,
        version=(3, minor, 1),
        release=f"3.{minor}.1",
        cache_tag=kind.cache_tag,
        magic_number=bytes.fromhex(MAGIC.get(minor, f"00{minor:02x}0d0a")),
        abi_flags="t" if kind.free_threaded else "",
        free_threaded=kind.free_threaded,
        prefix="/usr",
        schemes=schemes,
        default_scheme="posix_prefix",
        inside=(f"/@/lib/{kind.library}/site-packages",),
    )._replace(**fields)


def open_way_to(directory: Path) -> Path:
    """Let everybody reach a directory of a test's own. Returns it."""
    for above in [directory, *directory.parents]:
        if above.stat().st_uid == os.geteuid():
            above.chmod(above.stat().st_mode | 0o055)
    return directory
