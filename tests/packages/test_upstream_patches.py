"""Our patches for Debian's python3-defaults: to its source, and built, in a real Debian sid."""

from __future__ import annotations

import ast
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from debian_chroot import Chroot, copy_of, sid_chroot
from debian_packages import ARCHIVE, DIST_PACKAGES, Package, build
from debian_system import OWN, PYPY, Debian
from packages import pycs_below
from python3_defaults import PATCHES, VERSION, add_patched_packages, apply_patches, fetched_source
from workshop import workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Outcome

CONFIGURATION = "/etc/python3/debian_config"
PENDING = "/var/lib/python3/pending"
TRIGGER = "Processing triggers for python3-minimal"
REAL = ("python3-attr", "python3-filelock", "python3-idna", "python3-platformdirs", "python3-six", "python3-sqlparse")
#: Another version with the same size and time; its postinst runs what was just unpacked, before any trigger.
IMPORTS = "python3 -c 'import early; assert early.VALUE == {0}'\n"
UPGRADED = (f"python3={VERSION}", f"python3-minimal={VERSION}")
BOTH = "py3compile -p {name}; py3compile -p {name} /usr/share/private"
BCEP = "/usr/share/python3/bcep"
PACKAGES = (
    *OWN[:3],
    *(
        Package("early", str(number), {"early.py": f"VALUE = {number}\n"}, scripts={"postinst": IMPORTS.format(number)})
        for number in (1, 2)
    ),
    Package("private", "1", {"public.py": "", "/usr/share/private/one.py": ""}, compiles=BOTH),
    Package("arched", "1", {"arched.py": ""}, architecture="amd64", compiles="py3compile -p {name}:amd64"),
    Package("versioned", "1", {"/usr/lib/python3.14/dist-packages/versioned.py": ""}),
    Package("killer", "1", {"killer.py": ""}, scripts={"preinst": "kill -KILL $PPID\n"}),
    Package("asking", "1", {"asking/a.py": "", f"{BCEP}/asking": f"dir|3.15-|{DIST_PACKAGES}/asking\n"}),
)


def patched_source(directory: Path) -> Path:
    """Their whole source with the patches, below a directory."""
    subprocess.run(["tar", "-xf", str(fetched_source()), "-C", str(directory)], check=True)
    (tree,) = directory.iterdir()
    apply_patches(tree)
    return tree


def test_they_apply_to_the_source(tmp_path: Path) -> None:
    """Without fuzz; what is Python there parses, and what is sh."""
    tree = patched_source(tmp_path)
    ast.parse((tree / "py3compile").read_text(), feature_version=(3, 9))
    ast.parse((tree / "debpython/files.py").read_text(), feature_version=(3, 9))
    for name in ("python3-minimal.postinst.in", "python3-minimal.prerm", "python3.postinst.in", "tests/deferred"):
        subprocess.run(["sh", "-n", str(tree / "debian" / name)], check=True)


def test_debhelper_builds_them() -> None:
    """Their own debian/rules puts trigger, scripts and program where the tests below have them."""
    with workshop() as sid:
        sid.outside("/srv/build").mkdir()
        tree = patched_source(sid.outside("/srv/build"))
        rules = "cd /srv/build/python3-defaults && debian/rules build && debian/rules binary-arch"
        outcome = sid.run("env", "DEB_BUILD_OPTIONS=nodoc", "sh", "-c", rules)
        assert outcome.code == 0, outcome.out + outcome.err
        (package,) = tree.parent.glob("python3-minimal_*.deb")
        subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree.parent / "built")], check=True)
        for built, source in (
            ("DEBIAN/triggers", "debian/python3-minimal.triggers"),
            ("DEBIAN/postinst", "debian/python3-minimal.postinst.in"),
            ("DEBIAN/prerm", "debian/python3-minimal.prerm"),
            ("usr/bin/py3compile", "py3compile"),
            ("usr/share/python3/debpython/files.py", "debpython/files.py"),
        ):
            text = (tree / source).read_text().replace("#DEBHELPER#", "").replace("DEVELV", "3.11.2-1")
            assert text == (tree.parent / "built" / built).read_text(), built


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.name[:4])
def test_each_says_where_it_comes_from(patch: Path) -> None:
    """As DEP-3 has it."""
    head = patch.read_text().partition("\n---\n")[0]
    fields = [line.partition(":")[0] for line in head.splitlines()]
    assert set(fields) >= {"From", "Subject", "Origin", "Forwarded", "Last-Update", "License"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """A Debian without PyPy. Its archive has the patched packages; their source is in /srv/tree."""
    with sid_chroot(application=False) as sid:
        for package in PACKAGES:
            build(package, tmp_path_factory.mktemp("packages"), sid.outside(ARCHIVE))
        tree = add_patched_packages(sid, tmp_path_factory.mktemp("defaults"))
        subprocess.run(["cp", "-a", str(tree), str(sid.outside("/srv/tree"))], check=True)
        debian = Debian(sid, tmp_path_factory.mktemp("doors"))
        assert sid.run("apt-get", "-qq", "update").code == 0
        debian.apt("purge", *PYPY)
        yield sid


@pytest.fixture(scope="module")
def patched(original: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """The same after an upgrade to it."""
    with copy_of(original) as sid:
        Debian(sid, tmp_path_factory.mktemp("patched")).apt("install", *UPGRADED)
        yield sid


@pytest.fixture
def debian(patched: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """Such a system with the switch on."""
    with copy_of(patched) as sid:
        turn_on(sid)
        yield Debian(sid, tmp_path)


def turn_on(sid: Chroot) -> None:
    """As the manual page says it."""
    file = sid.outside(CONFIGURATION)
    text = file.read_text()
    file.write_text(text.replace("byte-compile = standard", "byte-compile = standard, deferred"))
    assert file.read_text() != text


def trigger_runs(outcome: Outcome) -> int:
    """How often dpkg ran their trigger."""
    return outcome.out.count(TRIGGER)


def pending(debian: Debian) -> list[str]:
    """The packages that wait for it."""
    directory = debian.sid.outside(PENDING)
    return sorted(os.listdir(directory)) if directory.exists() else []


def test_their_own_tests(patched: Chroot) -> None:
    """The one of the patches, as autopkgtest runs it, and the doctests of the module that they change."""
    with copy_of(patched) as sid:
        outcome = sid.run("/srv/tree/debian/tests/deferred")
        assert outcome.code == 0, outcome.out + outcome.err
        script = "import doctest, debpython.files; print(doctest.testmod(debpython.files))"
        outcome = sid.run("env", "--chdir=/srv/tree", "python3", "-c", script)
        assert outcome.out == "TestResults(failed=0, attempted=2)\n", outcome.out + outcome.err


def test_transactions(debian: Debian) -> None:
    """Each runs the trigger at most once; every source has its bytecode, nothing is left over, no old code is run."""
    names = ["demo=1", "stable", "early=1", "private", "arched", "asking", "versioned"]
    for arguments, runs in (
        (["install", *REAL, *names], 1),
        (["install", "demo=2", "early=2"], 1),
        (["install", "--reinstall", "python3-attr", "early"], 1),
        (["install", "demo=1", "stable-", "python3-six-"], 1),
        (["install", "--reinstall", "python3-minimal"], 0),
        (["purge", *REAL[:2], "early", "arched"], 0),
        (["install", "early=1"], 1),
    ):
        outcome = debian.apt(*arguments)
        assert runs == trigger_runs(outcome), outcome.out
        faults = [fault for fault in debian.judge.faults() if not fault.startswith(f"py315: {DIST_PACKAGES}/asking")]
        assert faults == [], arguments
        assert pending(debian) == []
    assert pycs_below(debian.judge.site / "asking") == [
        os.fsencode(debian.judge.site / "asking/__pycache__/a.cpython-314.pyc")
    ]
    for place in ("/usr/lib/python3.14/dist-packages", "/usr/share/private"):
        assert len(pycs_below(debian.sid.outside(place))) == 1
    debian.apt("purge", *REAL[2:5], "python3-sqlparse", "demo", "private", "asking", "versioned", "early")
    assert debian.judge.faults() == []
    assert pycs_below(debian.judge.site) == []


def test_dpkg_is_killed(debian: Debian) -> None:
    """While a package is unpacked, after another one was left to the trigger: `--configure -a` runs it."""
    debian.dpkg("--no-triggers", "--install", f"{ARCHIVE}/demo-1.deb")
    assert pycs_below(debian.judge.site) == []
    names = [f"{ARCHIVE}/{name}.deb" for name in ("demo-2", "stable-1", "killer-1")]
    assert debian.sid.run("dpkg", "--install", *names).code not in (0, 1)
    debian.dpkg("--configure", "-a")
    debian.dpkg("--purge", "--force-remove-reinstreq", "killer")
    assert debian.judge.faults() == []
    assert pending(debian) == []


@pytest.mark.parametrize("first", ["", "cat >/dev/null; "], ids=["at once", "with all names read"])
def test_an_interpreter_is_killed(debian: Debian, first: str) -> None:
    """In the trigger: nothing is forgotten, and the next run does it."""
    interpreter = debian.sid.outside("/usr/bin/python3.15")
    interpreter.rename(debian.sid.outside("/srv/python3.15"))
    dies = f'case "$*" in *py_compile*) {first}kill -KILL $$ ;; esac'
    interpreter.write_text(f'#!/bin/sh\n{dies}\nexec /srv/python3.15 "$@"\n')
    interpreter.chmod(0o755)
    debian.dpkg("--install", f"{ARCHIVE}/demo-1.deb")
    assert pending(debian) == ["demo"]
    debian.sid.outside("/srv/python3.15").rename(interpreter)
    debian.dpkg("--install", f"{ARCHIVE}/stable-1.deb")
    assert (debian.judge.faults(), pending(debian)) == ([], [])


def test_their_package_comes_and_goes(original: Chroot, tmp_path: Path) -> None:
    """Upgraded in one transaction with others; it takes with it what it noted."""
    with copy_of(original) as sid:
        debian = Debian(sid, tmp_path)
        turn_on(sid)
        debian.apt("install", *UPGRADED, "demo=1", *REAL)
        assert debian.judge.faults() == []
        debian.dpkg("--no-triggers", "--install", f"{ARCHIVE}/stable-1.deb")
        assert pending(debian) == ["stable"]
        debian.apt("purge", "python3-minimal")
        assert pycs_below(debian.judge.site) == []
        assert not sid.outside("/var/lib/python3").exists()
