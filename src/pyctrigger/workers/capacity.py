"""How many workers fit this machine, or the part of it that we may use."""

from __future__ import annotations

import contextlib
import os

#: Bytes. A worker's memory while it compiles ordinary sources, with a margin, and that of the process it works for.
_USUAL_WORKER = 272 << 20


def worker_count(asked: int) -> int:
    """Returns `asked`, or if that is 0 the least that CPU affinity, cgroup quota and free memory allow, at least 1."""
    if asked > 0:
        return asked
    return min(filter(None, (_count_by_affinity(), _count_by_quota(), _count_by_memory())))


def _count_by_affinity() -> int:
    with contextlib.suppress(AttributeError, OSError):  # a limit that can't be read is ignored
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_by_quota() -> int | None:
    """Returns the CPUs in the cgroup's bandwidth limit, rounded up (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    pairs = [_read_text(path).partition(" ")[::2] for path in _cgroup_files("cpu.max")]
    for path in _cgroup_files("cpu.cfs_quota_us"):
        pairs.append((_read_text(path), _read_text(path.replace("quota", "period"))))
    known = [(quota, period) for quota, period in pairs if quota.isdigit() and period.isdigit() and int(period)]
    return max(1, min(-(-int(quota) // int(period)) for quota, period in known)) if known else None


def _count_by_memory() -> int | None:
    """Returns the workers that fit into free memory (/proc/meminfo, cgroup `memory.max` less what is in use)."""
    free = []
    for line in _read_text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    for path in _cgroup_files("memory.max"):
        most, used = _read_text(path), _read_text(path.replace("memory.max", "memory.current"))
        if most.isdigit() and used.isdigit():
            free.append(int(most) - int(used))
    return max(1, min(free) // _USUAL_WORKER) if free else None


def _cgroup_files(name: str) -> list[str]:
    """Returns the file `name` of our cgroup and of all its parents: each of them limits us (cgroups(7))."""
    found = []
    for line in _read_text("/proc/self/cgroup").splitlines():
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


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16).strip()
    except OSError:
        return ""  # a limit that can't be read is ignored
