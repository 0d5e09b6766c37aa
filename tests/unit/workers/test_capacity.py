"""How many workers this machine, or the part of it that we may use, can feed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.workers import capacity
from pyctrigger.workers.capacity import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
CGROUP = "/sys/fs/cgroup"
V2 = "0::/user/app\n"
PLENTY = "MemTotal: 99999999 kB\nMemAvailable: 99999999 kB\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int, dict[str, str]], None]:
    """A machine by its CPUs and the texts that the kernel shows: files below another directory."""

    def make(cpus: int, texts: dict[str, str]) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
        write_tree(tmp_path, {path.lstrip("/"): text for path, text in texts.items()})
        monkeypatch.setattr(
            capacity, "open", lambda path, **how: (tmp_path / path.lstrip("/")).open(**how), raising=False
        )
        monkeypatch.setattr(os.path, "exists", lambda path: os.access(f"{tmp_path}{path}", os.F_OK))

    return make


#: CPUs, what the kernel shows, and how many workers that feeds.
MACHINES = {
    "nothing but cpus": (8, {}, 8),
    "one cpu": (1, {"/proc/meminfo": PLENTY}, 1),
    "memory for three": (8, {"/proc/meminfo": f"MemAvailable: {3 * 272 * 1024 + 1000} kB"}, 3),
    "memory for not quite three": (8, {"/proc/meminfo": f"MemAvailable: {3 * 272 * 1024 - 1} kB"}, 2),
    "memory for none": (8, {"/proc/meminfo": "MemAvailable: 1000 kB"}, 1),
    "a quota of two": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/app/cpu.max": "200000 100000"}, 2),
    "a quota that is rounded up": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/app/cpu.max": "210000 100000"}, 3),
    "half a cpu": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/app/cpu.max": "50000 100000"}, 1),
    "a quota above": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/cpu.max": "200000 100000"}, 2),
    "a quota at the top": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/cpu.max": "300000 100000"}, 3),
    "the least of two": (
        8,
        {
            "/proc/self/cgroup": V2,
            f"{CGROUP}/user/cpu.max": "500000 100000",
            f"{CGROUP}/user/app/cpu.max": "300000 100000",
        },
        3,
    ),
    "no quota": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/app/cpu.max": "max 100000"}, 8),
    "a quota without sense": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/app/cpu.max": "100000 0"}, 8),
    "version one": (
        8,
        {
            "/proc/self/cgroup": "5:cpu,cpuacct:/box\n",
            f"{CGROUP}/cpu,cpuacct/box/cpu.cfs_quota_us": "400000",
            f"{CGROUP}/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        },
        4,
    ),
    "version one without a quota": (
        8,
        {
            "/proc/self/cgroup": "5:cpu,cpuacct:/box\n",
            f"{CGROUP}/cpu,cpuacct/box/cpu.cfs_quota_us": "-1",
            f"{CGROUP}/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        },
        8,
    ),
    "memory of the cgroup": (
        8,
        {
            "/proc/meminfo": PLENTY,
            "/proc/self/cgroup": V2,
            f"{CGROUP}/user/app/memory.max": str(1000 * MIB),
            f"{CGROUP}/user/app/memory.current": str(400 * MIB),
        },
        2,
    ),
    "memory without a bound": (
        8,
        {"/proc/self/cgroup": V2, f"{CGROUP}/memory.max": "max", f"{CGROUP}/memory.current": "1"},
        8,
    ),
    "a line without sense": (8, {"/proc/self/cgroup": "nonsense\n", f"{CGROUP}/cpu.max": "300000 100000"}, 3),
    "a text without sense": (8, {"/proc/self/cgroup": V2, f"{CGROUP}/user/cpu.max": "\u00e90000 \u00e9"}, 8),
    "a limit of no group of ours": (8, {f"{CGROUP}/cpu.max": "300000 100000"}, 8),
    "names of groups": (8, {"/proc/self/cgroup": "0::/X:a/b\n", f"{CGROUP}/X:a/cpu.max": "300000 100000"}, 3),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_least_of_all_bounds(machine: Callable[[int, dict[str, str]], None], name: str) -> None:
    """CPUs, quota and memory; and always one."""
    cpus, texts, expected = MACHINES[name]
    machine(cpus, texts)
    assert expected == worker_count(0)


@pytest.mark.parametrize("asked", [1, 2, 500])
def test_what_is_asked_for_is_had(machine: Callable[[int, dict[str, str]], None], asked: int) -> None:
    """Whatever the machine has."""
    machine(8, {})
    assert asked == worker_count(asked)


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_system_that_tells_no_affinity(
    machine: Callable[[int, dict[str, str]], None], monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    """All its CPUs count."""
    machine(8, {})
    if is_refused:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: os.kill(1 << 30, 0))
    else:
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert 5 == worker_count(0)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert 1 == worker_count(0)
