"""Nobody's code runs in the target: every place where Python looks for some holds a trap that leaves a mark if it does.

The first test shows, on each interpreter, that the traps work; without it the others could not fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from command import Command
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from interpreters import Interpreter

#: What Python runs or imports by itself, or what pyctrigger's own target files import, under the same names.
MODULES = (
    *("sitecustomize", "usercustomize", "compileall", "py_compile", "encodings/__init__", "codecs", "os", "site"),
    *("marshal", "struct", "json/__init__", "sysconfig", "importlib/__init__", "gc", "signal", "pyctrigger/__init__"),
)


class Traps:
    """Directories full of traps, and the file that each of them adds its name to."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.witness = scratch / "witness"
        self.modules = scratch / "modules"
        for name in MODULES:
            self.set_module(self.modules, name)

    @property
    def sprung(self) -> list[str]:
        """The traps that somebody stepped into, once each."""
        return sorted(set(self.witness.read_text().split())) if self.witness.exists() else []

    def statement(self, name: str) -> str:
        """One line of Python that leaves the mark `name`, and a module that can't be used."""
        return f"import os; f = os.open({str(self.witness)!r}, 1089, 438); os.write(f, b'{name}\\n'); os.close(f)\n"

    def set_module(self, directory: Path, name: str) -> None:
        """A module whose import leaves a mark; it needs no other one, since it may replace `os` itself."""
        path = directory / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.statement(name).replace("import os;", "import posix as os;"))

    def set_site(self, site: Path) -> None:
        """The files that `site` runs in a directory of packages."""
        site.mkdir(parents=True, exist_ok=True)
        (site / "trap.pth").write_text(self.statement("pth"))
        for name in ("sitecustomize", "usercustomize"):
            self.set_module(site, name)

    def set_program(self, directory: Path, name: str) -> None:
        """A program that leaves a mark."""
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / name
        program.write_text(f"#!/bin/sh\necho program >> '{self.witness}'\n")
        program.chmod(0o755)

    def environment(self, interpreter: Interpreter) -> dict[str, str]:
        """An environment that leads to all of them, by every variable that Python or a shell knows."""
        version = ".".join(map(str, interpreter.version[:2]))
        home = self.scratch / "home"
        for name in (f"python{version}", "python3", "python", f"pypy{version}", "pypy3"):
            self.set_program(self.scratch / "programs", name)
        stem = "pypy" if interpreter.implementation == "pypy" else "python"
        self.set_site(home / f".local/lib/{stem}{version}/site-packages")
        (self.scratch / "startup.py").write_text(self.statement("startup"))
        return {
            "HOME": str(home),
            "PATH": str(self.scratch / "programs"),
            "PYTHONPATH": str(self.modules),
            "PYTHONSTARTUP": str(self.scratch / "startup.py"),
            "PYTHONUSERBASE": str(home / ".local"),
            "PYTHONHOME": str(self.scratch / "no-python"),
            "PYTHONPYCACHEPREFIX": str(self.scratch / "prefix"),
            "PYTHONOPTIMIZE": "2",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONINSPECT": "1",
            "PYTHONWARNINGS": "error",
            "PYTHONIOENCODING": "ascii",
            "PYTHONBREAKPOINT": "sitecustomize.f",
            "SOURCE_DATE_EPOCH": "1000000000",
        }


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    """Traps of this test's own."""
    return Traps(tmp_path)


@pytest.fixture
def isolated(tmp_path: Path) -> Command:
    """The command as an installed script runs: the host is no target, and its own environment isn't tested here."""
    command = Command(tmp_path / "state")
    command.program = [sys.executable, "-I", "-m", "pyctrigger"]
    return command


def virtual_environment(interpreter: Interpreter, path: Path) -> tuple[Path, Path]:
    """A virtual environment that the interpreter made: its own executable, and its directory of packages."""
    command = [interpreter.path, "-I", "-m", "venv", "--without-pip", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/", env={"PATH": os.defpath})
    executable = path / "bin" / "python"
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    child = subprocess.run([executable, "-I", "-c", question], check=True, capture_output=True, timeout=60, env={})
    packages = child.stdout.decode().split("\n")[0]
    return executable, path / os.path.relpath(os.path.realpath(packages), os.path.realpath(path))


def run_unprotected(executable: Path | str, arguments: Sequence[str], traps: Traps, **environment: str) -> None:
    """Start a Python as careless people do."""
    subprocess.run(
        [executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": os.defpath, **environment},
        cwd=traps.modules,
        timeout=60,
        check=False,  # a Python without its real `os` has every right to fail
    )


def test_traps_work(traps: Traps, interpreter: Interpreter) -> None:
    """Who starts this interpreter without care steps into each of the traps that its version knows."""
    environment = traps.environment(interpreter)
    executable, packages = virtual_environment(interpreter, traps.scratch / "venv")

    run_unprotected(interpreter.path, ["-c", "pass"], traps, PYTHONPATH=environment["PYTHONPATH"])
    assert set(traps.sprung) & {"sitecustomize", "encodings/__init__", "os", "site", "codecs"}
    run_unprotected(interpreter.path, ["-c", "import compileall"], traps)
    assert "compileall" in traps.sprung
    traps.set_site(packages)
    run_unprotected(executable, ["-I", "-c", "pass"], traps)
    assert "pth" in traps.sprung
    run_unprotected("/bin/sh", ["-c", "python3"], traps, PATH=environment["PATH"])
    assert "program" in traps.sprung


def test_environment_and_current_directory_have_no_say(
    isolated: Command, site: Path, traps: Traps, interpreter: Interpreter, newest: Interpreter, tmp_path: Path
) -> None:
    """In the worst environment the bytes are those of the best, and no foreign code runs."""
    write_tree(
        site, {"package/__init__.py": "", "package/module.py": "assert True\n", "single.py": traps.statement("x")}
    )
    traps.set_site(site)
    plain = Command(tmp_path / "plain state")
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,1,2"]
    plain.json("run", *arguments)
    expected = contents(site)
    assert len(expected) == 15
    for pyc in expected:
        os.unlink(pyc)

    outcome = isolated.json("run", *arguments, env=traps.environment(interpreter), cwd=traps.modules)

    assert (0, 5, []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
    assert contents(site) == expected
    assert not (tmp_path / "prefix").exists()
    before = snapshot(site)
    # What starts nothing else in the target than a run does is asked about one target alone.
    verbs = ("run", "repair", "verify", "sweep", "status") if interpreter == newest else ("repair",)
    for verb in verbs:
        outcome = isolated.json(verb, *arguments, env=traps.environment(interpreter), cwd=traps.modules)
        assert (0, []) == (outcome.code, outcome.document["errors"])
    assert snapshot(site) == before
    assert traps.sprung == []


def contents(site: Path) -> dict[bytes, bytes]:
    """The bytes of every pyc."""
    found = {}
    for pyc in pycs_below(site):
        with open(pyc, "rb") as file:
            found[pyc] = file.read()
    return found


def test_virtual_environment_runs_none_of_its_code(
    isolated: Command, traps: Traps, interpreter: Interpreter, tmp_path: Path
) -> None:
    """Its `.pth` files and its sitecustomize, which -I alone would run, are sources like others."""
    executable, packages = virtual_environment(interpreter, tmp_path / "venv")
    traps.set_site(packages)
    write_tree(packages, {"package/__init__.py": traps.statement("package"), "package/module.py": "x = 1\n"})

    outcome = isolated.json(
        "run", "--prefix", str(tmp_path / "venv"), env=traps.environment(interpreter), cwd=traps.modules
    )

    assert (0, 4) == (outcome.code, outcome.counts["compiled"])
    assert outcome.run["interpreter"]["executable"] == str(executable)
    assert not_fresh(interpreter, sources_below(packages)) == []
    assert traps.sprung == []


@pytest.mark.few_targets
def test_interpreter_is_never_searched_for_on_path(
    isolated: Command, site: Path, traps: Traps, interpreter: Interpreter
) -> None:
    """Asked for by version, it is the one in a standard directory, or none."""
    write_tree(site, {"single.py": "x = 1\n"})
    stem = "pypy" if interpreter.implementation == "pypy" else ""
    version = f"{stem}{interpreter.version[0]}.{interpreter.version[1]}"

    outcome = isolated.json(
        "run", "--python", version, "--site-dir", str(site), env=traps.environment(interpreter), cwd=traps.modules
    )

    assert traps.sprung == []
    if outcome.code == 0:
        assert outcome.run["flavour"] == interpreter.flavour
        assert not outcome.run["interpreter"]["executable"].startswith(str(traps.scratch))
        assert len(pycs_below(site)) == 1
    else:
        assert (69, []) == (outcome.code, pycs_below(site))


def test_compiling_a_source_does_not_run_it(
    isolated: Command, site: Path, traps: Traps, interpreter: Interpreter
) -> None:
    """Nor its decorators, defaults, class bodies and annotations; and a cookie loads no codec from the tree."""
    traps.set_module(site / "encodings", "trap")
    call = f"__import__('os').close(__import__('os').open({str(traps.witness)!r}, 1089, 438))"
    sources = {
        "decorated.py": f"@{call}\ndef f(x={call}) -> {call}: pass\n",
        "classes.py": f"class C(metaclass={call}):\n    {call}\n    x: {call} = {call}\n",
        "lambdas.py": f"x = [(lambda: {call})() for _ in [{call}]]\nassert {call}\nf'''{{{call}}}'''\n",
        "cookie.py": "# coding: trap\nx = 1\n",
    }
    if interpreter.version < (3, 9):
        del sources["decorated.py"]  # a decorator may be any expression from 3.9 on
    write_tree(site, sources)

    outcome = isolated.json("run", "--python", interpreter.path, "--site-dir", str(site), cwd=site)

    assert [(f"{site}/cookie.py", "encoding")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert outcome.counts["compiled"] == len(sources)
    assert not traps.witness.exists()
