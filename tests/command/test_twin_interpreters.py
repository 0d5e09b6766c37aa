"""Two interpreters of one flavour, as the system's and one below /opt: each is called so that people know which."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_staged_root import make_root

from conftest import absent
from incomplete_python import python_without, search_path, start_from
from interpreters import tag_of
from packages import write_tree
from pyctrigger.interpreter.flavour import STANDARD_DIRECTORIES

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter


def make_twin(interpreter: Interpreter, top: Path) -> str:
    """Another installation of the same flavour."""
    twin = python_without([], interpreter, top)
    if twin is None:
        absent(f"a twin of {interpreter.path}")
    return str(twin)


@pytest.fixture
def twins(newest: Interpreter, tmp_path: Path) -> tuple[str, str]:
    """The executables of two installations of one flavour."""
    return newest.path, make_twin(newest, tmp_path / "twin")


def test_what_is_said_of_each_names_its_executable(
    pyctrigger: Command, newest: Interpreter, twins: tuple[str, str], tmp_path: Path
) -> None:
    """In summaries, explanations and errors; without a twin the flavour is enough."""
    site = write_tree(tmp_path / "site", {"m.py": ""})
    named = [word for path in twins for word in ("--python", path)]
    called = [f"{newest.flavour} ({path})" for path in twins]

    done = pyctrigger.text("run", *named, "--site-dir", site)
    explained = pyctrigger.text("explain", *named, "--site-dir", site, site / "m.py").out
    outside = pyctrigger.text("run", *named, "--site-dir", site, "/etc/passwd").err
    alone = pyctrigger.text("run", *named[:2], "--site-dir", site).out

    assert (0, "") == (done.code, done.err)
    assert called == [line.partition(": ")[0] for line in done.out.splitlines()]
    assert all(f"  {name}:\n" in explained for name in called)
    assert f"outside the scope of {', '.join(called)}: /etc/passwd; the scope is {site}; " in outside
    assert alone.startswith(f"{newest.flavour}: ")


def test_a_pyc_of_both_is_listed_once(pyctrigger: Command, twins: tuple[str, str], tmp_path: Path) -> None:
    """They share it; and where one of them keeps it, what it is for the other is no news."""
    site = write_tree(tmp_path / "site", {"m.py": ""})
    named = [word for path in twins for word in ("--python", path)]
    pyctrigger.text("run", *named, "--site-dir", site)

    both = pyctrigger.json("which", *named, "--site-dir", site, site / "m.py").document["pycs"]
    neither = pyctrigger.json("which", *named, site / "m.py").document["pycs"]

    assert [("fresh", True)] == [(each["state"], each["in_scope"]) for each in both]
    assert [False] == [each["in_scope"] for each in neither]


def test_a_pyc_of_both_is_purged_once(
    pyctrigger: Command, newest: Interpreter, twins: tuple[str, str], site: Path
) -> None:
    """By their cache tag: it is one file, whoever may use it."""
    write_tree(site, {"m.py": ""})
    for path in twins:
        pyctrigger.text("run", "--python", path, "--site-dir", site)

    foretold = pyctrigger.json("purge", "--dry-run", "--cache-tag", tag_of(newest), "--site-dir", site).run
    done = pyctrigger.json("purge", "-y", "--cache-tag", tag_of(newest), "--site-dir", site).run

    assert [1, 1] == [sum(taking["pycs"] for taking in run["takings"]) for run in (foretold, done)]
    assert 1 == done["counts"]["removed"]


def test_one_under_two_names_is_served_once(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """As `3.13` and `python3` may be."""
    site = write_tree(tmp_path / "site", {"m.py": ""})
    (tmp_path / "python").symlink_to(newest.path)

    done = pyctrigger.json("run", "--python", newest.path, "--python", tmp_path / "python", "--site-dir", site)

    assert 1 == done.run["counts"]["compiled"]


def test_in_a_root_one_of_them_stands_for_both(interpreters: list[Interpreter], tmp_path: Path) -> None:
    """What is in the root is of a flavour, whichever of this system's interpreters compiles for it."""
    hosts = [each for each in interpreters if each.implementation == "cpython" and each.version >= (3, 9)]
    names = {each: "python{}.{}".format(*each.version) for each in hosts}
    host = next(
        (each for each in hosts if any(os.path.exists(f"{at}/{names[each]}") for at in STANDARD_DIRECTORIES)), None
    )
    if host is None:
        absent("a Python of the system's that runs pyctrigger")
    is_systems = os.path.dirname(host.path) in STANDARD_DIRECTORIES
    twin = make_twin(host, tmp_path / "twin") if is_systems else host.path
    root = make_root(tmp_path / "root", host)

    child = subprocess.run(
        [twin, "-I", "-B", "-c", start_from(search_path()), "run", "--stateless", "--root", root],
        capture_output=True,
        check=False,
    )

    lines = child.stdout.decode().splitlines()
    assert (0, b"") == (child.returncode, child.stderr)
    assert [host.flavour] == [line.partition(": ")[0] for line in lines if line.startswith(f"{host.flavour}: ")]
