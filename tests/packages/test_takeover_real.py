"""pyctrigger-takeover with real packages, Debian 13 with PyPy and Ubuntu 24.04: their bytecode is as without us.

`nox -s sid` does the same in Debian's sid, which is another one every day, and now and then can't be installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from debian_chroot import room
from debian_packages import ARCHIVE
from environment import CHECKOUT
from layered import another
from packages import not_fresh
from real_debian import MARK, PAYLOADS, RELEASES, UPGRADED, Real, Release, real_system
from taken_over import (
    PROGRAMS,
    PYPYS,
    TAKEOVER,
    always_there,
    calls,
    diverted_by,
    misplaced,
    note_calls,
    silent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("pyctrigger", "pyctrigger-takeover")
BCEP = "/usr/share/python3/bcep"
SITE = "/usr/lib/python3/dist-packages"
SUITES = os.environ.get("PYCTRIGGER_TEST_SUITES", "trixie noble").split()
WITH_PYPY = pytest.mark.parametrize(
    "original", [suite for suite in SUITES if RELEASES[suite].has_pypy], indirect=True, scope="module"
)
FLOW = "/usr/lib/pyctrigger/pyctrigger/run/flow.py"


@pytest.fixture(scope="module", params=SUITES)
def original(request: pytest.FixtureRequest) -> Iterator[Real]:
    """A system of each release, which isn't changed."""
    with taken_over(RELEASES[request.param]) as system:
        yield system


@contextmanager
def taken_over(release: Release) -> Iterator[Real]:
    """A system in which ours and all others were installed in one transaction. The originals note their calls."""
    with real_system(release, room()) as system:
        leave_out(system, "jinja2/(nodes|parser)")
        note_calls(system, *programs_of(system))
        build = [sys.executable, str(CHECKOUT / "ports/build"), "deb", str(system.outside("/srv"))]
        built = subprocess.run(build, capture_output=True, check=True, text=True).stdout.split()
        silent(system.apt("install", *(f"/srv/{os.path.basename(path)}" for path in built), *PAYLOADS))
        yield system


@pytest.fixture
def system(original: Real) -> Iterator[Real]:
    """Such a system. No call of an original is noted yet."""
    with another(original.top, room()) as top:
        system = Real(top, original._chroot, original.release)
        system.do("dpkg-trigger", "--no-await", "pyctrigger")  # a copy's files are others
        system.do("dpkg", "--triggers-only", "-a")
        calls(system)
        yield system


def leave_out(system: Real, pattern: str) -> None:
    """A package asks not to compile these for this Python: jinja2's own file there is about old ones."""
    system.outside(BCEP).mkdir(exist_ok=True)
    system.outside(f"{BCEP}/another").write_text(f"re|{system.python}-|{SITE}|{pattern}\n")
    left_out = pattern.replace("/", "/__pycache__/") + ".cpython"
    system.plain = {path for path in system.plain if not re.search(left_out, path)}


def programs_of(system: Real) -> tuple[str, ...]:
    """Those that are diverted there."""
    return (*PROGRAMS, *PYPYS) if system.outside("/usr/bin/pypy3").exists() else PROGRAMS


def private_calls(system: Real, package: str) -> list[str]:
    """What its postinst asks for, in a system where that was noted: a directory, and perhaps a range of versions."""
    script = system.outside(f"/var/lib/dpkg/info/{package}.postinst").read_text()
    compilers = "|".join(name for name in programs_of(system) if "compile" in name)
    return re.findall(rf"(?m)^\s*((?:{compilers}) -p {package} /.*?)(?: \|\| true)?$", script)


def faults(system: Real, doors: Path, expected: set[str]) -> list[str]:
    """All that is wrong with the bytecode, public and private, the programs, and what dpkg knows."""
    found = system.bytecode()
    wrong = [f"missing: {path}" for path in expected - found] + [f"left over: {path}" for path in found - expected]
    wrong += [f"empty: {path}" for path in system.empty_caches()]
    for tag, executable in system.tags.items():
        pycs = [re.fullmatch(rf"(.*)/__pycache__/(.*)\.{tag}\.pyc", path) for path in sorted(found)]
        if any(pycs) and system.outside(executable).exists():
            sources = [os.fsencode(f"{pyc[1]}/{pyc[2]}.py") for pyc in pycs if pyc]
            wrong += [f"{source!r}: {why}" for source, why in not_fresh(system.interpreter(executable, doors), sources)]
    audits = [system.run("dpkg", "--audit"), system.run("dpkg", "--verify", *PAYLOADS, *OURS)]
    installed = "is not installed"
    wrong += [line for said in audits for line in (said.out + said.err).splitlines() if installed not in line]
    return wrong + misplaced(system, *programs_of(system))


def test_what_comes_and_goes(system: Real, tmp_path: Path) -> None:
    """For public modules neither Python nor PyPy is started; private ones are the originals'."""
    assert faults(system, tmp_path, system.plain) == []
    silent(system.apt("install", "--reinstall", "python3-bcrypt", "python3-jinja2"))
    assert calls(system) == []
    silent(system.apt("install", "--reinstall", "dh-python", "calibre"))
    expected = {asked for name in ("dh-python", "calibre") for asked in private_calls(system, name)}
    assert len(expected) == 3 * (1 + bool(system.pypy))
    assert expected == set(calls(system))
    assert faults(system, tmp_path, system.plain) == []

    silent(system.apt("purge", "python3-twisted", "hplip-data"))
    left = {path for path in system.plain if not re.search(r"/twisted/|/hplip/", path)}
    assert faults(system, tmp_path, left) == []
    system.outside(f"{BCEP}/another").unlink()
    silent(system.apt("autopurge", *PAYLOADS))
    assert calls(system) == []
    left = {path for path in system.plain if path.startswith("/usr/share/python3/")}
    assert faults(system, tmp_path, left) == []
    assert os.listdir(system.outside(SITE)) == []


def test_theirs_are_upgraded(system: Real, tmp_path: Path) -> None:
    """python3-minimal to a later version, PyPy's package to the same: their files go to where the originals are."""
    # As without us: scripts of python3 remove all bytecode of dh-python, and have only their own compiled again.
    expected = {path for path in system.plain if "/dh-python/" not in path or ".cpython-" in path}
    also = ["pypy3"] if system.pypy else []
    with always_there(system, *programs_of(system)):
        silent(system.apt("install", "--reinstall", *also, *UPGRADED))
        assert faults(system, tmp_path, expected) == []
        for name in PROGRAMS:
            assert system.outside(f"{TAKEOVER}/{name}").read_text().endswith(MARK)
        silent(system.apt("install", "--reinstall", "python3-jinja2"))
        silent(system.apt("remove", "pyctrigger-takeover"))
    assert faults(system, tmp_path, expected) == []
    for name in PROGRAMS:
        assert system.outside(f"/usr/bin/{name}").read_text().endswith(MARK)
    assert system.run("dpkg", "--verify", *UPGRADED, *also).out == ""


def test_they_go(system: Real, tmp_path: Path) -> None:
    """Both of ours in one transaction with others: what stays has the bytecode that Debian would have written."""
    for path in [*system.outside(f"{SITE}/jinja2/__pycache__").iterdir()][::3]:
        path.unlink()
    with always_there(system, *programs_of(system)):
        silent(system.apt("purge", *OURS, "hplip-data", "python3-bcrypt"))
    left = {path for path in system.plain if not re.search(r"/hplip/|/bcrypt/", path)}
    assert faults(system, tmp_path, left) == []


@WITH_PYPY
def test_pypy_goes_and_comes(system: Real, tmp_path: Path) -> None:
    """Its programs are diverted while they are there; packages of the same transaction get no error from them."""
    tag = system.pypy.replace(".", "")
    silent(system.apt("install", "--reinstall", "pypy3-", "python3-jinja2", "dh-python"))
    # As without us: nobody takes PyPy's bytecode from private modules, or writes it when PyPy is there again.
    without = {path for path in system.plain if f".{tag}." not in path or re.search("/hplip/|/calibre/", path)}
    assert faults(system, tmp_path, without) == []
    for name in PYPYS:
        assert not system.outside(f"/usr/bin/{name}").exists()
        assert diverted_by(system, name) == ""
    silent(system.apt("install", "pypy3"))
    later = {path for path in system.plain if f".{tag}." not in path or "/dh-python/" not in path}
    assert faults(system, tmp_path, later) == []


@WITH_PYPY
def test_pypy_apart(system: Real, tmp_path: Path) -> None:
    """After a change of PyPy its programs are the originals' once; and if the trigger fails nothing is left bare."""
    system.do("touch", f"/usr/bin/{system.pypy}")
    (jinja2,) = system.outside(ARCHIVE).glob("python3-jinja2_*.deb")
    again = ("dpkg", "--install", f"{ARCHIVE}/{jinja2.name}")
    silent(system.do(*again))
    assert calls(system) == ["pypy3compile -p python3-jinja2"]
    silent(system.do(*again))
    assert calls(system) == []
    flow = system.outside(FLOW)
    text = flow.read_text()
    flow.write_text(text)  # from now on, of this layer, it is a file that can be written in its place
    silent(system.do(*again))
    flow.write_text("raise RuntimeError\n")
    calls(system)
    system.do(*again)
    first, second = calls(system)
    assert first == f"py3compile {SITE}"
    assert second.startswith(f"pypy3compile -- {SITE}/jinja2/")
    assert system.bytecode() == system.plain
    system.do(*again)
    assert "pypy3compile -p python3-jinja2" in calls(system)
    flow.write_text(text)
    silent(system.do(*again))
    calls(system)
    silent(system.do(*again))
    assert calls(system) == []
    assert faults(system, tmp_path, system.plain) == []


@WITH_PYPY
def test_by_hand_pypys_programs_are_the_originals(system: Real) -> None:
    """What a person calls compiles at once, and cleaning removes what the original removes."""
    cache = system.outside(f"{SITE}/jinja2/__pycache__")
    tag = system.pypy.replace(".", "")
    (cache / f"nodes.{tag}.opt-1.pyc").touch()
    (cache / "nodes.pypy310.pyc").touch()
    before = set(os.listdir(cache))
    left = []
    for place in ("/usr/bin", "/srv"):
        assert system.run(f"{place}/pypy3clean", "-p", "python3-jinja2").code == 0
        left.append(set(os.listdir(cache)))
        assert system.run("/usr/bin/pypy3compile", "-p", "python3-jinja2").code == 0
        assert before == set(os.listdir(cache))
    assert left == [{name for name in before if not name.endswith(f".{tag}.pyc")}] * 2
    assert calls(system) == ["pypy3compile -p python3-jinja2"] * 2
    for arguments in ([], ["-p", "no-such-package"], ["--nonsense"]):
        for name in PYPYS:
            ours, theirs = (system.run(f"{place}/{name}", *arguments) for place in ("/usr/bin", "/srv"))
            assert (theirs.code, theirs.out, theirs.err) == (ours.code, ours.out, ours.err), (name, arguments)
