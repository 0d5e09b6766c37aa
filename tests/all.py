"""Every check of the project, on any machine with Python 3.9 or later and a network: `python3 tests/all.py`.

First a list of the interpreters and tools that were found, and how to get those that weren't. Then the environment,
ruff, mypy and pytest, which gets the arguments of this script. Exits with the worst exit code.
Under `CI=true`, as root on Debian, missing tools are installed with apt-get; elsewhere nothing outside `.venv` is.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from environment import CHECKOUT, Environment, EnvironmentTrouble, prepare
from interpreters import UnusableInterpreter, expected_flavours, find_interpreters, missing_flavours, search_again
from separation import separable
from system_tools import TOOLS, find_tool, is_debian, missing_tools, tool_version

APT_SECONDS = 900

# Everything that any test is written for: 3.14 and later come from a Debian chroot where the machine has none.
ALL_FLAVOURS = [*(f"py3{minor}" for minor in range(6, 16)), "py313t", "pypy3"]


def main(arguments: list[str]) -> int:
    """Run every check; the worst exit code, 2 if there isn't an environment to run them in."""
    try:
        show_machine()
        if install_for_ci():
            show_machine()
        heading("environment")
        environment = prepare(["test"], say=say)
    except (EnvironmentTrouble, UnusableInterpreter) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    codes = {name: run(command) for name, command in checks(environment, arguments).items()}
    heading("summary")
    for name, code in codes.items():
        say(f"{name:12} {'ok' if code == 0 else f'exit {code}'}")
    return max(codes.values())


def checks(environment: Environment, arguments: list[str]) -> dict[str, list[str]]:
    """The commands, by name, in the order of what is quickest to fail."""
    python = [str(environment.python), "-m"]
    coverage = ["--cov", "--cov-branch", "--cov-report=term"]
    return {
        "ruff check": [*python, "ruff", "check"],
        "ruff format": [*python, "ruff", "format", "--check"],
        "mypy": [*python, "mypy"],
        # A part of the tests says nothing about the coverage of the whole.
        "pytest": [*python, "pytest", *side_by_side(), *(arguments or coverage)],
    }


def side_by_side() -> list[str]:
    """pytest-xdist's options for a process on each CPU and one more: they wait for disks, locks and each other's ends.

    The caller's own come behind, and win: `-n0` is for none.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cpus == 1 or not separable():
        return []
    return ["-n", str(cpus + 1), "--dist", "loadgroup", "--no-loadscope-reorder"]


def run(command: list[str]) -> int:
    """Show a command, run it in the checkout, and say what became of it. Death by signal N counts as 128 + N."""
    heading(" ".join([os.path.relpath(command[0], CHECKOUT), *command[1:]]))
    start = time.monotonic()
    # Unbuffered: who watches a log must see which test hangs.
    child = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False)
    code = child.returncode if child.returncode >= 0 else 128 - child.returncode
    say(f"exit {code} after {time.monotonic() - start:.1f} s")
    return code


def in_ci() -> bool:
    """Whether nobody would read that something was skipped."""
    return os.environ.get("CI") == "true"


# ------------------------------------------------------------------------------------------------------- what there is


def show_machine() -> None:
    """What there is on this machine, and what isn't."""
    heading("machine")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    say(f"{platform.system()} {platform.release()} {platform.machine()}, {python} at {sys.executable}")
    show_interpreters()
    show_tools()


def show_interpreters() -> None:
    """One line for each interpreter found, and one for each that isn't there."""
    heading("interpreters")
    found = find_interpreters()
    for interpreter in found:
        say(f"{interpreter.flavour:10} {interpreter.release:10} {interpreter.path}")
    expected = expected_flavours(found)
    for flavour in missing_flavours(found, ALL_FLAVOURS):
        verdict = "its tests fail" if in_ci() and flavour in expected else "its tests are skipped"
        say(f"{flavour:10} missing    {how_to_get(flavour)}; {verdict}")


def how_to_get(flavour: str) -> str:
    """Where a flavour comes from."""
    if flavour == "pypy3":
        return "Debian package pypy3"
    release = f"3.{flavour[len('py3') :]}"
    if release.endswith("t"):
        return f"no Debian package; pyenv install {release}"
    return f"Debian package python{release}, where the release has it; pyenv install {release}"


def show_tools() -> None:
    """One line for each tool."""
    heading("tools")
    for tool in TOOLS:
        path = find_tool(tool.command)
        if path:
            say(f"{tool.command:12} {tool_version(tool, path):10} {path}")
        else:
            say(f"{tool.command:12} missing    Debian package {tool.package}: {tool.purpose}")


def install_for_ci() -> bool:
    """Under CI as root on Debian, install what is missing; whether that was tried.

    A failure is only shown: the tests that need the tool will fail, and say so.
    """
    packages = sorted({tool.package for tool in missing_tools()})
    if missing_flavours(find_interpreters(), ["pypy3"]):
        packages.append("pypy3")
    if not packages or not in_ci() or os.geteuid() != 0 or not is_debian():
        return False
    heading(f"apt-get install {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "--yes", "--quiet", "--no-install-recommends", *packages]
    for arguments in (["update", "--quiet"], install):
        try:
            child = subprocess.run(
                ["apt-get", *arguments], env=quiet, stdin=subprocess.DEVNULL, timeout=APT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            say(f"apt-get {arguments[0]} did not end within {APT_SECONDS} s")
        else:
            say(f"apt-get {arguments[0]}: exit {child.returncode}")
    search_again()
    return True


# -------------------------------------------------------------------------------------------------------------- output


def heading(text: str) -> None:
    """The title of a part of the output."""
    say(f"\n== {text}")


def say(text: str) -> None:
    """A line that is there at once, also in a log."""
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
