"""The package manager that this system itself runs on, as its os-release says, and how to hook pyctrigger into it."""

from __future__ import annotations

import platform
from pathlib import Path

# Families of systems, by the ID and ID_LIKE of os-release(5). A machine may have rpm installed and be a Debian.
MANAGER_OF_SYSTEM = {
    "debian": "dpkg",
    "ubuntu": "dpkg",
    "fedora": "rpm",
    "rhel": "rpm",
    "centos": "rpm",
    "suse": "rpm",
    "opensuse": "rpm",
    "mageia": "rpm",
    "arch": "pacman",
    "alpine": "apk",
    "freebsd": "pkg",
}


def system_manager(os_release: Path = Path("/etc/os-release"), system: str = platform.system()) -> str | None:
    """`dpkg`, `rpm`, `pacman`, `apk` or `pkg`; None where no hook of ours fits."""
    if system == "FreeBSD":
        return "pkg"
    named = _read(os_release)
    for name in [named.get("ID", ""), *named.get("ID_LIKE", "").split()]:
        if name in MANAGER_OF_SYSTEM:
            return MANAGER_OF_SYSTEM[name]
    return None


def next_step(program: Path) -> str:
    """What an operator does next on this system, in a few lines."""
    manager = system_manager()
    look = f"  See how the system's own Python packages stand, read only:\n    {program} verify\n"
    if manager is None:
        return f"{look}  No hook fits this system's package manager. After each change, run:\n    {program} repair"
    return f"{look}  Then hook it into {manager}: README.md, “Install”."


def _read(os_release: Path) -> dict[str, str]:
    try:
        lines = os_release.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'").lower() for name, _equals, value in pairs}
