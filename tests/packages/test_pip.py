"""Beside pip: what it installs is compiled, what it uninstalls leaves nothing behind, and its RECORD stays true."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

PACKAGE = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "demo/__init__.py": "VALUE = 1\n",
    "demo/deep/er/__init__.py": "",
    "demo/deep/er/module.py": "def f():\n    assert True\n    return 1\n",
    "single.py": "X = 1\n",
}
PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def wheel(scratch: Path) -> Path:
    """A wheel of the package, made by hand: what a build backend would write."""
    tree = write_tree(scratch / "tree", {name: text for name, text in PACKAGE.items() if name != "pyproject.toml"})
    information = tree / "demo-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1\n")
    (information / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = []
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        lines.append(f"{path.relative_to(tree)},sha256={digest},{path.stat().st_size}")
    (information / "RECORD").write_text("\n".join([*lines, "demo-1.dist-info/RECORD,,"]) + "\n")
    archive = shutil.make_archive(str(scratch / "demo"), "zip", tree)
    return Path(archive).rename(scratch / "demo-1-py3-none-any.whl")


class Environment:
    """A virtual environment of one interpreter."""

    def __init__(self, path: Path, interpreter: Interpreter) -> None:
        self.path = path
        self.interpreter = interpreter
        made = subprocess.run(
            [interpreter.path, "-I", "-m", "venv", "--without-pip", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        (self.site,) = path.glob("lib/*/site-packages")
        (self.site / "README.txt").write_text("pip takes away a site directory that it emptied\n")

    def pip(self, *arguments: str | Path) -> None:
        """Run this machine's pip for it."""
        environment = {**{name: os.environ[name] for name in os.environ if not name.startswith("PIP")}, **PIP}
        command = [sys.executable, "-m", "pip", "--python", str(self.path / "bin/python"), "-q", *arguments]
        child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert child.returncode == 0, child.stderr


@pytest.fixture
def environment(tmp_path: Path, newest: Interpreter) -> Environment:
    """An environment of this machine's newest CPython."""
    return Environment(tmp_path / "environment", newest)


def record(site: Path) -> list[list[str]]:
    """The lines of RECORD (PEP 376)."""
    with open(site / "demo-1.dist-info/RECORD", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def assert_record_is_true(site: Path) -> None:
    """Every file that RECORD names is there, with the digest it names (PEP 627)."""
    for name, digest, size in record(site):
        content = (site / name).read_bytes()
        if digest:
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={found}", str(len(content)))


def demo_sources(site: Path) -> list[bytes]:
    """The package's sources."""
    return [*sources_below(site / "demo"), os.fsencode(site / "single.py")]


@pytest.mark.parametrize("levels", ["0", "0,1,2"])
def test_installed_compiled_uninstalled(
    pyctrigger: Command, environment: Environment, tmp_path: Path, levels: str
) -> None:
    """`pip install --no-compile`, a run, `pip uninstall`, a run: nothing is left, not even an empty directory."""
    site, target = environment.site, environment.interpreter
    scope = ["--prefix", str(environment.path), "--optimize", levels]
    assert pyctrigger.json("run", *scope).code == 0
    before = snapshot(site)

    environment.pip("install", "--no-compile", wheel(tmp_path))
    assert not list((site / "demo").rglob("*.pyc"))
    outcome = pyctrigger.json("run", *scope, site / "demo", site / "single.py")

    assert (0, len(demo_sources(site))) == (outcome.code, outcome.counts["compiled"])
    for level in map(int, levels.split(",")):
        assert not_fresh(target, demo_sources(site), level) == []
    assert_record_is_true(site)
    assert not any(name.endswith(".pyc") for name, _, _ in record(site))
    environment.pip("uninstall", "--yes", "demo")
    if levels != "0":
        assert list((site / "demo").rglob("*.opt-1.pyc")), "pip knows these levels: the next run proves nothing"
    removed = ["--event", "remove", str(site / "demo"), str(site / "single.py")]
    assert pyctrigger.json("run", *scope, *removed).code == 0
    after = snapshot(site)
    assert set(before) == set(after)
    assert {path: facts[5] for path, facts in before.items()} == {path: facts[5] for path, facts in after.items()}


def test_what_pip_compiled_itself_is_left_alone(pyctrigger: Command, environment: Environment, tmp_path: Path) -> None:
    """pip's own bytecode is in RECORD; a run finds it fresh, adds the other levels, and pip removes its own."""
    site = environment.site
    environment.pip("install", "--compile", wheel(tmp_path))
    own = {path: facts for path, facts in snapshot(site / "demo").items() if path.endswith(b".pyc")}
    assert own

    outcome = pyctrigger.json("run", "--prefix", str(environment.path), "--optimize", "0,1", site / "demo")

    assert outcome.code == 0
    assert len(pycs_below(site / "demo")) == 2 * len(own)
    assert own == {path: facts for path, facts in snapshot(site / "demo").items() if path in own}
    assert_record_is_true(site)
    environment.pip("uninstall", "--yes", "demo")
    pyctrigger.json("run", "--prefix", str(environment.path), "--event", "remove", site / "demo")
    assert not (site / "demo").exists()


def test_a_library_call_beside_pip(environment: Environment, tmp_path: Path) -> None:
    """The same by `run_trigger`, as a builder of images would."""
    environment.pip("install", "--no-compile", wheel(tmp_path))
    program = (
        "import sys; from pyctrigger import run_trigger\n"
        "report = run_trigger(None, [sys.argv[1]], prefixes=[sys.argv[2]], stateless=True)\n"
        "print(report.exit_code, report.runs[0].tally.counts.compiled)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, environment.site / "demo", environment.path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["0", str(len(demo_sources(environment.site)))]
