"""Several runs at once, among importing processes and a package manager at work."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

from packages import not_fresh, pycs_below, sources_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: Imports every module again and again, writing what it likes to write, as any program does.
IMPORTER = """
import importlib, os, sys
site = sys.argv[1]
sys.path.insert(0, site)
for _ in range(8):
    for package in sorted(os.listdir(site)):
        if package.startswith("stays"):
            for module in range(12):
                name = "%s.m%d" % (package, module)
                sys.modules.pop(name, None)
                assert importlib.import_module(name).VALUE == module, name
"""


def test_runs_importers_and_a_package_manager_at_once(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Every import succeeds at every moment; one more run finds all fresh, nothing torn, nothing left over."""
    for package in range(12):
        write_tree(site, {f"stays{package}/m{module}.py": f"VALUE = {module}\n" * 40 for module in range(12)})
    arguments = ["--python", newest.path, "--site-dir", str(site), "--lock-timeout", "200"]
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            write_tree(site, {f"goes/m{module}.py": f"VALUE = {module}\n" for module in range(12)})
            stop.wait(0.05)
            for module in range(12):
                (site / f"goes/m{module}.py").unlink()

    goes = ["--event", "upgrade", str(site / "goes")]
    manager = threading.Thread(target=come_and_go)
    manager.start()
    runs = [pyctrigger.start("run", *arguments, *(goes if number % 2 else [])) for number in range(6)]
    command = [newest.path, "-I", "-c", IMPORTER, str(site)]
    importers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    ends = [(child.communicate(timeout=250)[1], child.returncode) for child in (*importers, *runs)]
    stop.set()
    manager.join()
    shutil.rmtree(site / "goes", ignore_errors=True)

    assert [(error.decode(), code) for error, code in ends if code] == []
    assert pyctrigger.json("run", *arguments).code == 0
    assert not_fresh(newest, sources_below(site)) == []
    assert [path for path in pycs_below(site) if not path.endswith(b".pyc")] == []
    assert pyctrigger.json("verify", "--python", newest.path, "--site-dir", str(site)).code == 0


def test_two_flavours_share_a_directory(pyctrigger: Command, site: Path, interpreters: list[Interpreter]) -> None:
    """Each sweeps and writes its own, at the same time, into the same `__pycache__`, which either may take away."""
    one, other = interpreters[-1], interpreters[0]
    for round_number in range(4):
        files = {f"p{number}/m.py": f"x = {round_number}\n" for number in range(60)}
        write_tree(site, files)
        for _ in range(2):
            children = [pyctrigger.start("run", "--python", each.path, "--site-dir", site) for each in (one, other)]
            ends = [(child.communicate(timeout=250)[1].decode(), child.returncode) for child in children]
            assert ends == [("", 0), ("", 0)]
            for number in range(0, 60, 2):
                (site / f"p{number}/m.py").unlink(missing_ok=True)
        assert not_fresh(one, sources_below(site)) == []
        assert not_fresh(other, sources_below(site)) == []
        for each in (one, other):
            assert pyctrigger.json("run", "--python", each.path, "--site-dir", site).code == 0
        assert sorted(os.listdir(site)) == sorted(f"p{number}" for number in range(1, 60, 2))
