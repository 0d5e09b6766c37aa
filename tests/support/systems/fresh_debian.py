"""What a documented debootstrap makes, kept for the runs that follow; and what this machine needs to reach an index."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from kept_systems import CACHE, locked_cache
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Seconds. A slow mirror.
PATIENCE = 600
#: Where the tutorial has its Debian; the test has it there too, where nobody else sees it.
WORKSHOP = "/srv"
#: What the way to a package index depends on, and the files among it.
_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE")


def bootstrapped(command: str, seen: Path) -> bool:
    """Put there what `command` makes, run for real if it never was."""
    if find_tool("debootstrap") is None:
        absent("no debootstrap (Debian package debootstrap)")
    directory = command.rsplit(maxsplit=1)[-1]
    target = seen / directory.lstrip("/")
    with locked_cache("made.lock"):
        kept = CACHE / f"made-{hashlib.sha256(command.encode()).hexdigest()[:16]}"
        if not kept.is_dir():
            for other in CACHE.glob("made-*"):
                shutil.rmtree(other)
            _make(command, Path(directory).relative_to(WORKSHOP), kept)
        subprocess.run(["cp", "-a", str(kept), str(target)], check=True)
    for path in certificates(network()):
        inside = target / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, inside)
    return True


def _make(command: str, made: Path, kept: Path) -> None:
    """Run a command that makes a directory in the workshop, and keep that."""
    script = 'mount --bind "$1" "$2" && shift 2 && exec sh -c "$1"'
    with tempfile.TemporaryDirectory(prefix="making-", dir=CACHE) as scratch:
        child = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", scratch, WORKSHOP, command],
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        if child.returncode != 0:
            absent(f"{command}: {child.stdout.decode(errors='replace').strip()[-300:]}")
        (Path(scratch) / made).rename(kept)


def network() -> dict[str, str]:
    """What this machine needs to reach a package index; pip then names no new release, which changes by the day."""
    needed = {name: os.environ[name] for name in (*_NETWORK, *_CERTIFICATES) if os.environ.get(name)}
    return {**needed, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def certificates(environment: Mapping[str, str]) -> set[str]:
    return {environment[name] for name in _CERTIFICATES if os.path.isfile(environment.get(name, ""))}
