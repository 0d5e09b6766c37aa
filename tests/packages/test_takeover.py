"""pyctrigger-takeover in a real Debian sid: py3compile leaves to the trigger what that does, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from debian_chroot import Chroot, copy_of
from debian_packages import ARCHIVE, DIST_PACKAGES, Package, build, with_version
from debian_system import OWN, PYPY, Debian, sid_with_packages
from packages import not_fresh, pycs_below, snapshot, sources_below
from taken_over import PROGRAMS, SERVING, TAKEOVER, always_there, calls, misplaced, note_calls, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Its postinst runs what was just unpacked, before any trigger, with each Python; both versions have one size and time.
IMPORTS = '[ "$1" = configure ] || exec py3compile -p early\n'
IMPORTS += "for python in 3.14 3.15; do python$python -c 'import early; assert early.VALUE == {0}' || exit 1; done\n"
COMPILES_PRIVATE = "py3compile -p {name}; py3compile -p {name} /usr/lib/private -V 3.14; "
COMPILES_PRIVATE += "py3compile -p {name} /usr/share/private -V 3.8- -X '.*/left_out'"
PRIVATE = ("/usr/lib/private", "/usr/share/private")
MODULES = {f"{place}/pack age/{name}.py": "VALUE = 1\n" for place in PRIVATE for name in ("one", "left_out")}
BCEP = "/usr/share/python3/bcep"
#: Of its modules one isn't to be compiled at all, and one not for 3.15.
ASKED = f"file|-|{DIST_PACKAGES}/asking/a.py\nre|3.15-|{DIST_PACKAGES}/asking|b\n"
PACKAGES = (
    *OWN,
    *(
        Package("early", str(number), {"early.py": f"VALUE = {number}\n"}, scripts={"postinst": IMPORTS.format(number)})
        for number in (1, 2)
    ),
    *(Package("private", version, {"public.py": "", **MODULES}, compiles=COMPILES_PRIVATE) for version in "12"),
    # All of its modules are private, and its prerm doesn't say so.
    Package(
        *("data", "1", {"/usr/share/data/[x].py": "", "/usr/share/data/x.py": ""}),
        compiles="py3compile -p {name} /usr/share/data",
    ),
    Package("arched", "1", {"arched.py": ""}, architecture="amd64", compiles="py3compile -p {name}:amd64"),
    Package("early", "3", {"early.py": "VALUE = 3\n"}, scripts={"preinst": "exit 1\n"}),
    Package("asking", "1", {"asking/a.py": "", "asking/b.py": "", f"{BCEP}/asking": ASKED}),
    Package("wrong", "1", {"wrong.py": "x = (\n", "right.py": ""}),
    Package("killer", "1", {"killer.py": ""}, scripts={"preinst": "kill -KILL $PPID\n"}),
    Package("versioned", "1", {"/usr/lib/python3.14/dist-packages/versioned.py": ""}),
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """A Debian without PyPy, whose programs py3compile and py3clean note how they are called."""
    with sid_with_packages(tmp_path_factory.mktemp("packages"), PACKAGES) as sid:
        Debian(sid, tmp_path_factory.mktemp("doors")).apt("purge", *PYPY)
        note_calls(sid, *PROGRAMS)
        yield sid


@pytest.fixture(scope="module")
def taken(bare: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """The same with the takeover, and all packages of ours: installed in one transaction."""
    with copy_of(bare) as sid:
        debian = Debian(sid, tmp_path_factory.mktemp("taken"))
        names = ["demo=1", "stable", "early=1", "private=1", "data", "arched", "python3-six"]
        silent(debian.apt("install", "pyctrigger-takeover", *names))
        assert faults(debian) == []
        yield sid


@pytest.fixture
def debian(taken: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """Such a system. No call of an original is noted yet."""
    with copy_of(taken) as sid:
        debian = Debian(sid, tmp_path)
        debian.dpkg_trigger()  # a copy's files are others
        calls(debian.sid)
        yield debian


def faults(debian: Debian) -> list[str]:
    """All that is wrong, private modules and the places of the programs included."""
    found = debian.judge.faults()
    target = debian.judge.targets()["py314"]
    for place in (*PRIVATE, "/usr/share/data"):
        directory = debian.sid.outside(place)
        sources = [debian.sid.inside(path) for path in sources_below(directory)]
        sources = [path for path in sources if b"share/private/pack age/left_out" not in path]
        found += [f"{place}: {fault}" for fault in not_fresh(target, sources)]
        if not sources and directory.exists():
            found.append(f"{place} is left")
    found += misplaced(debian.sid, *PROGRAMS)
    return found


def test_transactions(debian: Debian) -> None:
    """No Python is started for what packages ask for, nothing is left over, and no postinst runs old code."""
    debian.apt("purge", "early")
    calls(debian.sid)
    for arguments in (
        ["install", "early=1"],
        ["install", "early=2", "demo=2"],
        ["install", "--reinstall", "early=2", "stable", "python3-six"],
        ["remove", "demo", "arched"],
        ["install", "demo=1", "arched"],
        ["purge", "demo", "early", "python3-six"],
    ):
        silent(debian.apt(*arguments))
        assert faults(debian) == [], arguments
        assert calls(debian.sid) == [], arguments


def test_private_modules_are_the_originals(debian: Debian) -> None:
    """They are compiled while their package is configured, and removed by the script."""
    for arguments in (["install", "--reinstall", "data", "private=1"], ["install", "private=2"]):
        silent(debian.apt(*arguments))
        assert faults(debian) == []
        asked = calls(debian.sid)
        assert [call for call in asked if "private" in call] == [
            "py3compile -p private /usr/lib/private -V 3.14",
            "py3compile -p private /usr/share/private -V 3.8- -X .*/left_out",
        ]
        assert len(asked) == 2 + ("data" in arguments)
    silent(debian.apt("purge", "data", "private"))
    assert faults(debian) == []
    assert calls(debian.sid) == []


_CONFIGURATION = "/etc/pyctrigger.toml"
_CHANGE = f"cp {_CONFIGURATION} /srv; cd /etc; "
_MEND = f"cp /srv/pyctrigger.toml {_CONFIGURATION}; pyctrigger sweep --unwanted"
#: What happens to the system, and what puts it right.
SPOILT: dict[str, tuple[str, str]] = {
    "hooks": (_CHANGE + "printf '[hooks]\\nenabled = false\\n' >pyctrigger.toml", _MEND),
    "nothing is added": (_CHANGE + "printf '[defaults]\\ncreate_missing = false\\n' >pyctrigger.toml", _MEND),
    "another level": (_CHANGE + "sed -i 's/^# optimize = \\[0\\]$/optimize = [2]/' pyctrigger.toml", _MEND),
    "unreadable": (_CHANGE + "echo '[defaults' >>pyctrigger.toml", _MEND),
    "program": ("mv /usr/bin/pyctrigger /srv", "mv /srv/pyctrigger /usr/bin"),
    "not executable": ("chmod -x /usr/bin/pyctrigger", "chmod +x /usr/bin/pyctrigger"),
    "application": ("mv /usr/lib/pyctrigger/pyctrigger /srv", "mv /srv/pyctrigger /usr/lib/pyctrigger"),
    "package": ("dpkg --force-depends --remove pyctrigger", f"dpkg --install {ARCHIVE}/pyctrigger_*_all.deb"),
    "state": (f"rm {SERVING}", "true"),
    "modules of one version": (f"dpkg --install {ARCHIVE}/versioned-1.deb", "dpkg --purge versioned"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_the_trigger_would_not_compile_is_the_originals(debian: Debian, case: str) -> None:
    """From the next transaction on; and the trigger's again after that with which it is put right."""
    spoil, mend = SPOILT[case]
    assert debian.sid.run("sh", "-c", spoil).code == 0
    calls(debian.sid)

    debian.dpkg("--install", f"{ARCHIVE}/demo-2.deb")

    assert "py3compile -p demo" in calls(debian.sid)
    assert [fault for fault in debian.judge.bytecode_faults() if "left over" not in fault] == []
    assert debian.sid.run("sh", "-c", mend).code == 0
    debian.dpkg_trigger()  # as the next transaction's, it notices
    calls(debian.sid)
    silent(debian.dpkg("--install", f"{ARCHIVE}/demo-1.deb"))
    assert (faults(debian), calls(debian.sid)) == ([], [])


def test_a_defect_of_ours_leaves_nothing_bare(debian: Debian) -> None:
    """What can't be known without starting Python: the trigger fails, the original compiles, and goes on doing so."""
    flow = debian.sid.outside("/usr/lib/pyctrigger/pyctrigger/run/flow.py")
    text = flow.read_text()
    flow.write_text(text)  # from now on, of this copy, it is a file that can be written in its place
    debian.dpkg_trigger()
    flow.write_text("raise RuntimeError\n")
    for package, expected in (("demo-2", [f"py3compile {DIST_PACKAGES}"]), ("demo-1", ["py3compile -p demo"])):
        debian.dpkg("--install", f"{ARCHIVE}/{package}.deb")
        assert expected == calls(debian.sid)[:1]
        assert debian.judge.bytecode_faults() == []
    flow.write_text(text)
    debian.dpkg("--install", f"{ARCHIVE}/stable-1.deb")
    calls(debian.sid)
    silent(debian.dpkg("--install", f"{ARCHIVE}/demo-2.deb"))
    assert (faults(debian), calls(debian.sid)) == ([], [])


def test_by_hand_all_calls_are_the_originals(debian: Debian) -> None:
    """dpkg runs no trigger then; exit codes and texts are the original's."""
    sid = debian.sid
    for path in pycs_below(sid.outside(f"{DIST_PACKAGES}/demo")):
        sid.outside(sid.inside(path).decode()).unlink()
    assert sid.run("py3compile", "-p", "demo").code == 0
    assert debian.judge.bytecode_faults() == []
    for arguments in ([], ["-p"], ["-p", ""], ["-p", "no-such-package"], ["--nonsense"], ["-V", "2.7", "/srv"], ["-h"]):
        for name in PROGRAMS:
            ours, theirs = (sid.run(f"{place}/{name}", *arguments) for place in ("/usr/bin", "/srv"))
            assert (theirs.code, theirs.out, theirs.err) == (ours.code, ours.out, ours.err), (name, arguments)


def test_what_is_not_to_be_compiled(debian: Debian) -> None:
    """The trigger leaves out the same as the original."""
    debian.dpkg("--install", f"{ARCHIVE}/asking-1.deb")
    assert calls(debian.sid) == []
    directory = debian.judge.site / "asking/__pycache__"
    assert ["b.cpython-314.pyc"] == os.listdir(directory)
    assert debian.sid.run("py3clean", "-p", "asking").code == 0
    assert not directory.exists()
    assert debian.sid.run("py3compile", "-p", "asking").code == 0
    assert ["b.cpython-314.pyc"] == os.listdir(directory)


def test_a_source_that_does_not_compile(debian: Debian) -> None:
    """It fails no package, which is the one difference; the trigger says so, and `verify` counts it."""
    installed = debian.dpkg("--install", f"{ARCHIVE}/wrong-1.deb")
    assert (calls(debian.sid), debian.status("wrong"), debian.status()) == ([], "installed", "installed")
    assert f"{DIST_PACKAGES}/wrong.py" in installed.out + installed.err
    assert "1 known not to compile" in debian.sid.run("pyctrigger", "verify", "--python", "3.14").out
    assert debian.sid.run("py3compile", DIST_PACKAGES).code == 1


def test_a_transaction_that_is_undone(debian: Debian) -> None:
    """The prerm has removed the bytecode, no file changes, and the old postinst asks for it."""
    assert debian.sid.run("dpkg", "--install", f"{ARCHIVE}/early-3.deb").code == 1
    assert faults(debian) == []
    assert calls(debian.sid) == []


def test_triggers_held_back(debian: Debian) -> None:
    """`--no-triggers`, and `--configure -a` as after a crash."""
    debian.dpkg("--no-triggers", "--install", f"{ARCHIVE}/demo-2.deb")
    assert debian.judge.bytecode_faults() != []
    silent(debian.dpkg("--configure", "-a"))
    assert faults(debian) == []
    debian.dpkg("--unpack", f"{ARCHIVE}/demo-1.deb", f"{ARCHIVE}/early-2.deb")
    silent(debian.dpkg("--configure", "-a"))
    assert (faults(debian), calls(debian.sid)) == ([], [])


def test_their_package_under_the_diversion(debian: Debian) -> None:
    """python3-minimal is installed anew: its files are put where the diversion says."""
    silent(debian.apt("install", "--reinstall", "python3-minimal", "python3-six"))
    assert faults(debian) == []
    original = debian.sid.outside(f"{TAKEOVER}/py3compile")
    assert original.read_text().startswith("#! /usr/bin/python3")
    assert debian.sid.run("dpkg", "--verify", "python3-minimal", "pyctrigger-takeover").out == ""

    silent(debian.apt("remove", "pyctrigger-takeover"))

    assert faults(debian) == []
    assert debian.sid.outside("/usr/bin/py3compile").read_text().startswith("#! /usr/bin/python3")
    assert debian.sid.run("dpkg", "--verify", "python3-minimal").out == ""


def test_it_goes(debian: Debian) -> None:
    """Alone or with pyctrigger, in one transaction with others: the originals are back, and so is what they'd write."""
    with always_there(debian.sid, *PROGRAMS):
        silent(debian.apt("install", "pyctrigger-takeover-", "demo=2", "early=2"))
        assert faults(debian) == []
        silent(debian.apt("install", "pyctrigger-takeover"))
        assert faults(debian) == []
        silent(debian.apt("install", "pyctrigger-takeover-", "pyctrigger-", "demo=1", "early-", "stable"))
    assert faults(debian) == []
    assert not debian.sid.outside(TAKEOVER).exists()


def test_both_are_upgraded_among_others(debian: Debian, tmp_path: Path) -> None:
    """One transaction; what is configured meanwhile is compiled by whoever is ready, and the next is the trigger's."""
    built = sorted(debian.archive.glob("pyctrigger*_all.deb"))
    newer = [with_version(path, "99", tmp_path, debian.archive) for path in built]
    with always_there(debian.sid, *PROGRAMS):
        silent(debian.apt("install", *(f"{ARCHIVE}/{path.name}" for path in newer), "demo=2", "early=2"))
    assert [debian.status(name) for name in ("pyctrigger", "pyctrigger-takeover")] == ["installed"] * 2
    assert faults(debian) == []
    calls(debian.sid)
    silent(debian.apt("install", "demo=1"))
    assert (faults(debian), calls(debian.sid)) == ([], [])


def test_an_interpreter_goes_and_comes(debian: Debian) -> None:
    """Its bytecode goes with it; when it is back all is compiled, and what is installed meanwhile is the trigger's."""
    packages = ["python3.15", "libpython3.15-stdlib", "python3.15-minimal", "libpython3.15-minimal"]
    silent(debian.apt("purge", *packages, "early"))
    assert faults(debian) == []
    calls(debian.sid)
    silent(debian.apt("install", "demo=2"))
    assert (faults(debian), calls(debian.sid)) == ([], [])
    silent(debian.apt("install", *packages, "demo=1"))
    assert "py315" in debian.judge.targets()
    assert faults(debian) == []


def test_dpkg_is_killed(debian: Debian) -> None:
    """While packages are unpacked; `--configure -a` finishes."""
    names = [f"{ARCHIVE}/{name}.deb" for name in ("demo-2", "early-2", "killer-1")]
    assert debian.sid.run("dpkg", "--install", *names).code not in (0, 1)
    debian.dpkg("--configure", "-a")
    debian.dpkg("--purge", "--force-remove-reinstreq", "killer")
    assert (faults(debian), calls(debian.sid)) == ([], [])


def test_chrootless(debian: Debian, tmp_path: Path) -> None:
    """A root that is filled from here: its packages are the originals', and nothing is diverted in it."""
    sid = debian.sid
    for name in ("info", "updates", "triggers"):
        sid.outside(f"/root2/var/lib/dpkg/{name}").mkdir(parents=True)
    sid.outside("/root2/var/lib/dpkg/status").touch()
    for name in ("python3", "python3-minimal"):  # what ours depend on
        build(Package(name, "3.99", depends=""), tmp_path, debian.archive)
    ours = sorted(f"{ARCHIVE}/{path.name}" for path in debian.archive.glob("pyctrigger*_all.deb"))
    before = faults(debian), snapshot(debian.judge.site)
    dpkg = ["dpkg", "--root=/root2", "--force-script-chrootless"]
    for step in (
        ["--install", *(f"{ARCHIVE}/{name}-3.99.deb" for name in ("python3", "python3-minimal")), *ours],
        ["--install", f"{ARCHIVE}/demo-1.deb"],
        ["--purge", "pyctrigger-takeover"],
    ):
        outcome = sid.run(*dpkg, *step)
        assert outcome.code == 0, outcome.err
        silent(outcome)
        assert "pyctrigger" not in sid.run(*dpkg, "--listfiles", "pyctrigger").err
        assert [] == [path for path in sid.outside("/root2/usr/bin").iterdir() if path.name != "pyctrigger"]
        assert "takeover" not in sid.run("dpkg-divert", "--admindir=/root2/var/lib/dpkg", "--list").out
    assert sorted(calls(sid)) == [f"py3compile -p {name}" for name in ("demo", "python3", "python3-minimal")]
    assert not sid.outside(f"/root2{TAKEOVER}").exists()
    assert before == ([], snapshot(debian.judge.site))


def test_links_are_not_followed(debian: Debian) -> None:
    """py3clean removes what lies in a `__pycache__`, and nothing that a link leads to."""
    other, place = debian.sid.outside("/srv/other"), debian.sid.outside("/usr/share/data/__pycache__")
    place.rename(other)
    place.symlink_to("/srv/other")
    before = sorted(os.listdir(other))
    assert debian.sid.run("py3clean", "-p", "data").code == 0
    assert before == sorted(os.listdir(other))
    assert before != []


def test_a_removal_that_fails_is_undone(debian: Debian) -> None:
    """The next attempt succeeds; meanwhile each program is one of the two."""
    real = debian.sid.outside("/usr/bin/dpkg-divert")
    real.rename(debian.sid.outside("/srv/dpkg-divert"))
    real.write_text('#!/bin/sh\ncase "$*" in *--remove*py3clean) exit 2 ;; esac\nexec /srv/dpkg-divert "$@"\n')
    real.chmod(0o755)

    assert debian.sid.run("dpkg", "--remove", "pyctrigger-takeover").code == 1

    assert faults(debian) == []
    real.write_text('#!/bin/sh\ncase "$*" in *--add*py3clean) exit 2 ;; esac\nexec /srv/dpkg-divert "$@"\n')
    debian.dpkg("--remove", "pyctrigger-takeover")
    assert debian.sid.run("apt-get", "-q", "-y", "install", "pyctrigger-takeover").code != 0
    assert [debian.sid.run(name, "--version").code for name in PROGRAMS] == [0, 0]
    debian.dpkg("--remove", "pyctrigger-takeover")  # never configured
    assert faults(debian) == []
