"""`pip install pyctrigger` in clean environments, with the oldest and the newest dependencies that it allows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from environment import CHECKOUT, child_environment
from packages import write_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Oldest: each dependency as pyproject.toml's range begins; newest: as pip chooses.
ENDS = ("oldest", "newest")
TREE = {"package/__init__.py": "VALUE = 1\n", "package/inner/module.py": "def f():\n    return 1\n", "single.py": ""}
_SECONDS = 600
_INSTALLED = """
import importlib.metadata
for each in importlib.metadata.distributions():
    print(each.metadata["Name"], each.version)
"""


class Host(NamedTuple):
    """A Python that pyctrigger is installed for."""

    name: str
    python: str
    entering: Sequence[str] = ()
    """The start of a command line that goes on where it is."""
    top: Path = Path("/")
    """The root there, as seen from here."""
    wheels: str = ""
    """A directory there with all wheels, pip's own as well, where no index is reached from there."""


def _floors() -> list[str]:
    """The oldest release of each dependency, as pip's constraints."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?ms)^dependencies = \[(.*?)^\]", text)
    found = [each.replace(">=", "==") for each in re.findall(r'"([^"]+>=[^"]+)"', block)]
    assert len(found) == 3, found
    return found


def _limits(end: str, directory: Path, seen: str) -> list[str]:
    """pip's options for one end, whose file is made in a directory, and has another path where pip runs."""
    if end == "newest":
        return []
    (directory / "constraints.txt").write_text("".join(f"{each}\n" for each in _floors()))
    return ["--constraint", f"{seen}/constraints.txt"]


def download(wheel: Path, python: str, outdir: Path, end: str) -> None:
    """Fetch what another Python needs, and pip, as wheels."""
    options = ["--only-binary", ":all:", "--python-version", python, "--dest", str(outdir)]
    limits = _limits(end, outdir, str(outdir))
    _run([sys.executable, "-m", "pip", "download", "--quiet", *options, *limits, str(wheel), "pip"])


def check(host: Host, wheel: Path, end: str, scratch: Path) -> list[str]:
    """What is wrong with an installation of the wheel, which is made for that in the directory `scratch` there."""
    inside = f"/{scratch.relative_to(host.top)}"
    limits = _limits(end, scratch, inside)
    python, command = f"{inside}/environment/bin/python", f"{inside}/environment/bin/pyctrigger"
    _inside(host, host.python, "-I", "-m", "venv", *(["--without-pip"] if host.wheels else []), f"{inside}/environment")
    where: list[str] = []
    pip = ["-m", "pip"]
    if host.wheels:
        (name,) = [path.name for path in (host.top / host.wheels.lstrip("/")).glob("pip-*.whl")]
        pip, where = [f"{host.wheels}/{name}/pip"], ["--no-index", "--find-links", host.wheels]
    place = f"/{wheel.relative_to(host.top)}"
    _inside(host, python, "-I", *pip, "install", "--quiet", "--no-input", *where, *limits, place)
    wrong = _wrong_releases(host, python) if end == "oldest" else []

    tree = write_tree(scratch / "tree", TREE)
    scope = ["--python", host.python, "--site-dir", f"{inside}/tree", "--state-dir", f"{inside}/state", "--json"]
    made = _json(host, command, "run", *scope)
    judged = _json(host, command, "verify", "--compare-code", *scope)
    next(tree.glob("__pycache__/single.*.pyc")).unlink(missing_ok=True)
    missing = _json(host, command, "verify", *scope)
    found = [_facts(made, "compiled"), _facts(judged, "fresh"), _facts(missing, "fresh")]
    expected = [(0, len(TREE), 0), (0, len(TREE), 0), (1, len(TREE) - 1, 1)]
    return wrong + (
        [f"run, verify, verify of what lacks a pyc: {found} instead of {expected}"] if found != expected else []
    )


def _wrong_releases(host: Host, python: str) -> list[str]:
    """Dependencies that aren't the oldest: pip had others."""
    installed = dict(line.lower().split() for line in _inside(host, python, "-I", "-c", _INSTALLED).splitlines())
    wrong = []
    for name, floor in (re.split(r"==|;", each)[:2] for each in _floors()):
        found = installed.get(name)
        if found is not None and _numbers(found) != _numbers(floor):
            wrong.append(f"{name} is {found} instead of {floor}")
    if not {"filelock", "platformdirs"} <= set(installed):
        wrong.append(f"only these are installed: {sorted(installed)}")
    return wrong


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.strip().split(".")]
    return tuple([*numbers, 0, 0][:3])


def _facts(document: dict[str, Any], count: str) -> tuple[object, ...]:
    (run,) = document["runs"]
    return document["exit_code"], run["counts"][count], len(run["findings"])


def _json(host: Host, *command: str) -> dict[str, Any]:
    child = subprocess.run(
        [*host.entering, *command],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        cwd="/",
        env=_environment(),
        check=False,
    )
    assert child.stdout.startswith("{"), child.stderr
    document: dict[str, Any] = json.loads(child.stdout)
    return document


def _inside(host: Host, *command: str) -> str:
    return _run([*host.entering, *command])


def _run(command: Sequence[str]) -> str:
    child = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, cwd="/", env=_environment(), check=False
    )
    assert child.returncode == 0, f"{' '.join(command)}: {child.stderr[-1000:]}"
    return child.stdout


def _environment() -> dict[str, str]:
    return {**child_environment(), "PIP_ROOT_USER_ACTION": "ignore", "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")}
