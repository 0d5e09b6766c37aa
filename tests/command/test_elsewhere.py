"""Trees in other places: environments, a pycache prefix, the standard library, a staged root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter


#: What the import system's own source says up to 3.13.
MAGIC_1234 = "MAGIC_NUMBER = (1234).to_bytes(2, 'little') + b'\\r\\n'\n"


def _said_by(interpreter: Interpreter, code: str, *flags: str) -> str:
    command = [interpreter.path, "-I", *flags, "-c", code]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.mark.few_targets
def test_a_pycache_prefix_is_filled_and_swept(
    pyctrigger: Command, site: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    """The pycs lie where the target's `sys.pycache_prefix` looks for them; nothing is written beside the sources."""
    write_tree(site, {"package/__init__.py": "", "package/inner/module.py": "x = 1\n"})
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--pycache-prefix", str(prefix)]
    before = snapshot(site)

    outcome = pyctrigger.json("run", *arguments)

    if interpreter.version < (3, 8):
        assert outcome.code == 2
        assert "doesn't support a pycache prefix" in outcome.err
        return
    assert (outcome.code, outcome.counts["compiled"]) == (0, 2)
    assert snapshot(site) == before
    module = site / "package/inner/module.py"
    looked_for = _said_by(
        interpreter, f"import importlib.util; print(importlib.util.cache_from_source({str(module)!r}))",
        "-X", f"pycache_prefix={prefix}",
    )  # fmt: skip
    assert Path(looked_for).is_file()
    traced = subprocess.run(
        [interpreter.path, "-I", "-B", "-v", "-X", f"pycache_prefix={prefix}", "-c",
         f"import sys; sys.path.insert(0, {str(site)!r}); import package.inner.module"],
        stderr=subprocess.PIPE, text=True, check=True,
    ).stderr  # fmt: skip
    assert f"matches {module}" in traced
    assert pyctrigger.json("run", *arguments).counts["fresh"] == 2
    shutil.rmtree(site / "package/inner")
    swept = pyctrigger.json("run", *arguments, "--event", "remove", site / "package")
    assert (swept.counts["removed"], swept.counts["removed_directories"]) == (1, 1)
    assert not Path(looked_for).parent.exists()
    assert Path(looked_for).parent.parent.is_dir()


@pytest.mark.usefixtures("as_root")
def test_a_prefix_serves_sources_that_can_not_be_written(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """A read-only /usr with a pycache prefix: the sources' file system is mounted read-only."""
    site, prefix = tmp_path / "site", tmp_path / "prefix"
    site.mkdir()
    prefix.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(site)], check=True)
    try:
        write_tree(site, {"package/__init__.py": ""})
        subprocess.run(["mount", "-o", "remount,ro", str(site)], check=True)

        outcome = pyctrigger.json(
            "run", "--python", newest.path, "--site-dir", site, "--pycache-prefix", prefix, site / "package"
        )

        assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
        assert list(prefix.rglob("*.pyc"))
    finally:
        subprocess.run(["umount", str(site)], check=True)


def test_a_prefix_that_is_relative_or_open_to_all(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """The first would be another directory for each process; the second lets anybody decide what runs."""
    write_tree(site, {"module.py": ""})
    if newest.version < (3, 8):
        pytest.skip("doesn't support a pycache prefix")
    arguments = ["--python", newest.path, "--site-dir", str(site), "--pycache-prefix"]
    assert pyctrigger.json("run", *arguments, "here").code == 2
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    prefix.chmod(0o777)

    assert "world-writable" in pyctrigger.json("run", *arguments, prefix).err


def test_the_standard_library_only_on_request_and_its_root_stays(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """`--stdlib` adds it; packages inside it are no part of it, and its directory is never removed."""
    library = Path(_said_by(newest, "import sysconfig; print(sysconfig.get_path('stdlib'))"))
    before = snapshot(library / "json")
    site = tmp_path / "site"
    write_tree(site, {"module.py": ""})
    arguments = ["--python", newest.path, "--site-dir", str(site)]

    without = pyctrigger.json("status", *arguments).run["status"]
    with_it = pyctrigger.json("status", *arguments, "--stdlib").run["status"]
    planned = pyctrigger.json("run", *arguments, "--stdlib", "--dry-run")

    assert without["site_directories"] == [str(site)]
    assert str(library) in with_it["site_directories"]
    assert with_it["sources"] > 500
    assert not any("/site-packages/" in action["path"] for action in planned.run["actions"])
    assert snapshot(library / "json") == before


def test_a_venv_by_prefix_and_by_its_interpreter(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Both mean the environment's own site directory, and the base installation is left alone."""
    environment = tmp_path / "environment"
    subprocess.run([newest.path, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    write_tree(site, {"package/__init__.py": ""})

    by_interpreter = pyctrigger.json("run", "--python", environment / "bin/python", "--dry-run")
    by_prefix = pyctrigger.json("run", "--prefix", environment)

    assert [action["path"] for action in by_interpreter.run["actions"]] == [str(site / "package/__init__.py")]
    assert (by_prefix.code, by_prefix.counts["compiled"]) == (0, 1)
    assert not_fresh(newest, sources_below(site)) == []


def _library(interpreter: Interpreter) -> str:
    return f"usr/lib/python{interpreter.version[0]}.{interpreter.version[1]}/site-packages"


@pytest.mark.usefixtures("as_root")
def test_a_staged_root_is_seen_from_inside(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Names in the code are the installed system's; links inside stay inside; the state lives below the root."""
    victim = write_tree(tmp_path / "victim", {"module.py": "x = 1\n"})
    root, library = tmp_path / "root", _library(newest)
    write_tree(root, {f"{library}/package/__init__.py": "x = 1\n"})
    (root / library / "leads-out").symlink_to(victim)
    (root / "lib").symlink_to("/usr/lib")
    command = [
        *pyctrigger.program,
        "run",
        "--json",
        "--state-dir",
        str(pyctrigger.state),
        "--root",
        str(root),
        "--python",
        newest.path,
        f"/{library}/package",
    ]

    child = subprocess.run(command, capture_output=True, text=True, check=False)

    assert child.returncode == 0, child.stderr
    assert pycs_below(victim) == []
    (pyc,) = pycs_below(root)
    code = f"import marshal; print(marshal.loads(open({os.fsdecode(pyc)!r}, 'rb').read()[16:]).co_filename)"
    assert _said_by(newest, code) == f"/{library}/package/__init__.py"
    assert sorted(os.listdir(root)) == ["lib", "usr"]
    assert (pyctrigger.state / "roots").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("as_root")
def test_a_stateless_run_in_a_staged_root_is_reproducible(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """Nothing but bytecode enters the root, and two builds give the same bytes."""
    library, builds = _library(newest), []
    for name in ("one", "two"):
        root = write_tree(tmp_path / name, {f"{library}/package/__init__.py": "x = {'a', 'b'}\n"})
        arguments = ["--root", str(root), "--python", newest.path, "--stateless", "--source-date-epoch", "1000000000"]
        assert pyctrigger.json("run", *arguments).counts["compiled"] == 1
        builds.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()})

    assert builds[0] == builds[1]
    assert len(builds[0]) == 2


@pytest.mark.usefixtures("as_root")
def test_nothing_inside_a_root_is_executed(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """An interpreter of another magic number inside: exit 69, and the trap in its place was never run."""
    library, witness = _library(newest), tmp_path / "witness"
    name = f"python{newest.version[0]}.{newest.version[1]}"
    root = write_tree(
        tmp_path / "root",
        {
            f"usr/bin/{name}": f"#!/bin/sh\ntouch {witness}\n",
            f"usr/lib/{name}/os.py": "",
            f"usr/lib/{name}/importlib/_bootstrap_external.py": MAGIC_1234,
            f"{library}/package/__init__.py": "",
        },
    )
    (root / f"usr/bin/{name}").chmod(0o755)
    version = f"{newest.version[0]}.{newest.version[1]}"
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text(f'[flavours."{version}"]\nexecutable = "{newest.path}"\n')

    outcome = pyctrigger.json("run", "--root", root, "--python", version, "--stateless", "--config", configuration)

    assert outcome.code == 69
    assert "is d2040d0a" in outcome.err
    assert not witness.exists()
    assert pycs_below(root) == []
