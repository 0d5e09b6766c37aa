"""Limits that the caller set, `ulimit`: soft ones are raised, and what hard ones break is no fact about a source."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, sources_below, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

MIB = 1 << 20
#: Constants that take some 50 MiB while they are compiled.
LARGE = "x = [" + ",".join(f"'{number:x}'" for number in range(200_000)) + "]\n"
#: As deep as every version can compile with the usual stack.
DEEP = "x = " + "(" * 90 + "1" + ")" * 90 + "\n" + "x = " + "-" * 90 + "1\n"


def limited(kind: int, soft: int, hard: int | None = None) -> Callable[[], None]:
    """A `preexec_fn` with this limit; without `hard` only the soft one is set."""
    ceiling = resource.getrlimit(kind)[1] if hard is None else hard
    return lambda: resource.setrlimit(kind, (soft, ceiling))


@pytest.mark.parametrize(("kind", "soft"), [("NOFILE", 12), ("FSIZE", 0), ("DATA", 60 * MIB)])
def test_a_soft_limit_bounds_nobody_who_may_raise_it(
    pyctrigger: Command, site: Path, newest: Interpreter, kind: str, soft: int
) -> None:
    """A shell's `ulimit -S` isn't meant for the hooks that run below it."""
    write_tree(site, {"large.py": LARGE, "deep.py": DEEP})
    number = getattr(resource, f"RLIMIT_{kind}")

    outcome = pyctrigger.json("run", "--python", newest.path, "--site-dir", site, preexec_fn=limited(number, soft))

    assert (0, 2, "") == (outcome.code, outcome.counts["compiled"], outcome.err), outcome.out


@pytest.mark.parametrize(("kind", "hard"), [("AS", 110 * MIB), ("DATA", 50 * MIB), ("STACK", 96 << 10)])
def test_what_a_hard_limit_breaks_is_never_remembered(
    pyctrigger: Command, site: Path, newest: Interpreter, kind: str, hard: int
) -> None:
    """Whether a source fails, and how: without the limit the next run compiles it."""
    options = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"large.py": LARGE, "deep.py": DEEP})

    first = pyctrigger.json("run", *options, preexec_fn=limited(getattr(resource, f"RLIMIT_{kind}"), hard, hard))
    second = pyctrigger.json("run", *options)

    assert {each["kind"] for each in first.failures} <= {"memory", "crash"}, first.out
    assert 1 == first.code, first.out
    assert 0 == second.code, second.out
    assert [] == not_fresh(newest, sources_below(site))


@pytest.mark.parametrize(
    ("name", "limits", "expected"),
    [
        ("AS", (1 << 30, 2 << 30), True),  # a worker raises that one
        ("AS", (1 << 30, 1 << 30), False),
        ("DATA", (2 << 30, 2 << 30), True),
        ("DATA", (1 << 30, 2 << 30), False),
        ("STACK", (8 << 20, 8 << 20), True),
        ("STACK", (4 << 20, 8 << 20), False),
    ],
)
def test_whose_limit_a_source_exceeded(name: str, limits: tuple[int, int], expected: bool) -> None:
    """Only what exceeds our own is remembered: less address space, data or stack is the caller's doing."""
    program = (
        "from pyctrigger.workers.allowance import Limits, is_memory_ours; print(is_memory_ours(Limits(memory=2 << 30)))"
    )

    child = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limited(getattr(resource, f"RLIMIT_{name}"), *limits),
    )

    assert f"{expected}\n" == child.stdout


def test_library_use_leaves_the_limits_of_its_program(site: Path, newest: Interpreter, tmp_path: Path) -> None:
    """They are that program's to set."""
    write_tree(site, {"deep.py": DEEP})
    program = (
        "import resource, sys; from pyctrigger import run_trigger\n"
        "kinds = [getattr(resource, name) for name in dir(resource) if name.startswith('RLIMIT_')]\n"
        "before = [resource.getrlimit(each) for each in kinds]\n"
        "report = run_trigger(sys.argv[1], None, site_dirs=[sys.argv[2]], state_dir=sys.argv[3])\n"
        "assert before == [resource.getrlimit(each) for each in kinds]\n"
        "print(report.runs[0].tally.counts.compiled)\n"
    )
    command = [sys.executable, "-c", program, newest.path, str(site), str(tmp_path / "state")]
    said = subprocess.run(command, preexec_fn=limited(resource.RLIMIT_NOFILE, 40), capture_output=True, check=False)
    assert (b"1\n", b"") == (said.stdout, said.stderr)
