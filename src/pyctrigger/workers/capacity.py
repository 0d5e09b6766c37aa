"""How many workers this machine, or the part of it that we may use, can feed."""

from __future__ import annotations

import contextlib
import os

#: Bytes. What a worker holds while it compiles ordinary sources, with room to spare.
_USUAL_WORKER = 256 << 20


def worker_count(asked: int) -> int:
    """`asked`, or for 0 the least of CPU affinity, cgroup quota and what the available memory allows; at least 1."""
    if asked > 0:
        return asked
    bounds = [_affinity()]
    for bound in (_quota(), _memory()):
        if bound is not None:
            bounds.append(bound)
    return max(1, min(bounds))


def _affinity() -> int:
    with contextlib.suppress(AttributeError, OSError):  # a bound that can't be read doesn't bind
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> int | None:
    """CPUs that the cgroup's bandwidth limit amounts to, rounded up (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    bounds = []
    for path in _cgroup_files("cpu.max"):
        quota, _, period = _read(path).partition(" ")
        if quota.isdigit() and period.strip().isdigit() and int(period):
            bounds.append(-(-int(quota) // int(period)))
    for path in _cgroup_files("cpu.cfs_quota_us"):
        quota, period = _read(path), _read(path.replace("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):
            bounds.append(-(-int(quota) // int(period)))
    return max(1, min(bounds)) if bounds else None


def _memory() -> int | None:
    """Workers that fit into what is available (/proc/meminfo, cgroup `memory.max` less what is in use)."""
    free = []
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    for path in _cgroup_files("memory.max"):
        most, used = _read(path), _read(path.replace("memory.max", "memory.current"))
        if most.isdigit() and used.isdigit():
            free.append(int(most) - int(used))
    return max(1, min(free) // _USUAL_WORKER) if free else None


def _cgroup_files(name: str) -> list[str]:
    """The file `name` of our cgroup and of every one above it: each of them bounds us (cgroups(7))."""
    found = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        mount = "/sys/fs/cgroup" + (f"/{controllers}" if controllers else "")
        while True:
            candidate = os.path.join(mount, path.lstrip("/"), name)
            if os.path.exists(candidate):
                found.append(candidate)
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16).strip()
    except OSError:
        return ""  # a bound that can't be read doesn't bind
