"""The Debian package, installed by apt in a real Debian sid, and what it does in apt's own transactions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from builder.stage import fill_in
from confinement import private_mounts
from debian_chroot import EXECUTABLES, Chroot, copy_of
from debian_judge import TAGS
from debian_packages import ARCHIVE, DIST_PACKAGES, MTIME, Package, build, with_version
from debian_system import DEMO, OWN, PYPY, Debian, sid_with_packages
from environment import CHECKOUT
from packages import not_fresh, pycs_below, snapshot, sources_below
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


APPLICATION = "/usr/lib/pyctrigger"
#: Scripts run in the system that dpkg runs in, and are told of the one that they are for.
CHROOTLESS = "--force-script-chrootless"
#: For this machine's dpkg.
OUTSIDE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """A Debian whose archive has pyctrigger, and the packages made here."""
    with sid_with_packages(tmp_path_factory.mktemp("packages"), OWN) as sid:
        yield sid


@pytest.fixture(scope="module")
def ready(bare: Chroot) -> Iterator[Chroot]:
    """The same, with pyctrigger installed by apt."""
    with copy_of(bare) as sid:
        outcome = sid.run("apt-get", "-q", "-y", "install", "pyctrigger")
        assert outcome.code == 0, outcome.out + outcome.err
        yield sid


@pytest.fixture(scope="module")
def few(bare: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """With pyctrigger alone to compile for two CPythons, and three packages. PyPy costs more than all the rest."""
    with copy_of(bare) as sid:
        debian = Debian(sid, tmp_path_factory.mktemp("few"))
        debian.apt("purge", *PYPY)
        debian.divert_compilers()
        debian.apt("install", "pyctrigger")
        debian.apt("install", "demo=1", "stable", "python3-six")
        assert debian.judge.faults() == []
        yield sid


@pytest.fixture
def cpythons(few: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """Such a system, for what has to do with no one flavour."""
    with copy_of(few) as sid:
        yield Debian(sid, tmp_path)


@pytest.fixture
def without(bare: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """A system without pyctrigger."""
    with copy_of(bare) as sid:
        yield Debian(sid, tmp_path)


@pytest.fixture
def cpythons_without(without: Debian) -> Debian:
    """The same without PyPy."""
    without.apt("purge", *PYPY)
    return without


@pytest.fixture
def debian(ready: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """A system with pyctrigger."""
    with copy_of(ready) as sid:
        yield Debian(sid, tmp_path)


# ------------------------------------------------------------------------------------------------------- transactions


class Step(NamedTuple):
    """A transaction."""

    name: str
    arguments: Sequence[str]
    before: Callable[[Debian], object] = lambda _debian: None
    """What happens to the system first."""


def damage(debian: Debian) -> None:
    """Bytecode that is gone, and bytecode that is cut short, for each flavour."""
    at = debian.judge.site
    for tag in map(TAGS.__getitem__, debian.judge.targets()):
        (at / f"__pycache__/six.{tag}.pyc").unlink()
        for pyc in (at / "attr/__pycache__").glob(f"*.{tag}.pyc"):
            pyc.write_bytes(pyc.read_bytes()[:16])


STEPS = (
    Step("install", ["install", "python3-attr", "python3-idna", "python3-six", "python3-sqlparse"]),
    Step("install files", ["install", f"{ARCHIVE}/demo-1.deb", f"{ARCHIVE}/stable-1.deb"]),
    Step("upgrade", ["upgrade"]),
    Step("reinstall", ["install", "--reinstall", "python3-attr", "python3-six"], damage),
    Step("downgrade", ["install", "demo=1"]),
    Step("remove", ["remove", "demo", "python3-idna"]),
    Step("purge", ["purge", "demo", "python3-sqlparse"]),
    Step("both", ["install", "demo=2", "python3-attr-", "python3-six-"]),
)


def test_debian_without_us(cpythons_without: Debian) -> None:
    """Without a hook each of the transactions leaves something stale or left over: the tests can fail."""
    debian = cpythons_without
    debian.divert_compilers()
    for step in STEPS:
        debian.compile_all()
        assert debian.judge.faults() == []
        step.before(debian)
        debian.apt(*step.arguments)
        assert debian.judge.bytecode_faults() != [], step.name
        assert debian.judge.database_faults() == []


@pytest.mark.parametrize("diverted", [True, False], ids=["alone", "beside py3compile"])
def test_transactions(debian: Debian, diverted: bool) -> None:
    """After each one every flavour's bytecode is fresh, nothing is left over, and no other file was changed."""
    if diverted:
        debian.divert_compilers()
    else:  # pypy3compile starts a PyPy for each package
        debian.apt("purge", *PYPY)
    flavours = set(debian.judge.targets())
    debian.apt("install", "stable")
    foreign = debian.plant_strangers()
    for step in STEPS:
        step.before(debian)
        debian.apt(*step.arguments)
        assert debian.judge.faults() == [], step.name
        assert {path: debian.sid.outside(path).read_bytes() for path in foreign} == foreign
    assert set(debian.judge.targets()) == flavours
    assert debian.judge.faults(everywhere=True) == []


def test_trigger_held_back_and_by_hand(cpythons: Debian) -> None:
    """`--no-triggers` leaves the work to `--triggers-only`; the named trigger fixes a damaged tree at any time."""
    for step in (["--install", f"{ARCHIVE}/demo-2.deb"], ["--remove", "stable"], ["--purge", "demo"]):
        cpythons.dpkg("--no-triggers", *step)
        assert cpythons.judge.bytecode_faults() != []
        assert cpythons.status() == "triggers-pending"
        cpythons.dpkg("--triggers-only", "-a")
        assert cpythons.judge.faults() == []
        assert cpythons.status() == "installed"

    shutil.rmtree(cpythons.judge.site / "__pycache__")
    (cpythons.judge.site / "gone").mkdir()
    (cpythons.judge.site / "gone/__pycache__").mkdir()
    (cpythons.judge.site / "gone/__pycache__/module.cpython-315.pyc").write_bytes(b"")
    assert len(cpythons.judge.bytecode_faults()) == 2 + 2
    cpythons.dpkg_trigger()
    assert cpythons.judge.faults() == []


def test_transaction_that_changes_nothing_of_ours_is_silent(debian: Debian) -> None:
    """Only apt's own words: the interpreters that were found are named where there is something to say of them."""
    debian.divert_compilers()
    first = debian.apt("install", "stable")
    again = debian.apt("install", "--reinstall", "stable")

    told = first.out + first.err
    found = [line for line in told.splitlines() if line.startswith("found ")]
    assert len(found) == 1
    assert [flavour in found[0] for flavour in TAGS] == [True] * len(TAGS)
    assert told.index("found ") < told.index("py314: 2 compiled")
    assert "Processing triggers for pyctrigger" in again.out.splitlines()[-1]
    assert [line for line in (again.out + again.err).splitlines() if re.match("found |py|/", line)] == []


def test_root_seen_from_outside(cpythons: Debian) -> None:
    """This machine's own dpkg on `--root`: its maintainer scripts and ours run inside."""
    outside = [find_tool("dpkg") or "dpkg", f"--root={cpythons.sid.top}"]
    packages = {name: str(cpythons.archive / f"{name}.deb") for name in ("demo-1", "demo-2", "stable-1")}
    for step in (
        ["--purge", "demo", "stable"],
        ["--install", packages["demo-1"], packages["stable-1"]],
        ["--install", packages["demo-2"]],
        ["--no-triggers", "--install", packages["demo-1"]],
        ["--triggers-only", "-a"],
        ["--remove", "demo"],
        ["--purge", "demo", "stable"],
    ):
        child = subprocess.run([*outside, *step], capture_output=True, text=True, env=OUTSIDE, check=False)
        assert child.returncode == 0, child.stderr
        if "--no-triggers" in step:
            assert cpythons.judge.bytecode_faults() != []
        else:
            assert cpythons.judge.faults() == []
    assert not cpythons.judge.site.joinpath("demo").exists()


def test_hook_that_an_administrator_adds(cpythons_without: Debian) -> None:
    """apt's own, for one flavour, where the program is no package of dpkg's; gone once it is taken out."""
    debian = cpythons_without
    debian.divert_compilers()
    assert debian.sid.run("dpkg-deb", "--extract", debian.package, "/").code == 0
    hook = ["--manager", "dpkg", "--python", "3.15"]
    assert debian.sid.run("pyctrigger", "hooks", "install", *hook).code == 0

    for arguments in (["install", "demo=1", "stable"], ["upgrade"], ["remove", "demo"], ["install", "python3-attr"]):
        debian.apt(*arguments)
        faults = debian.judge.bytecode_faults()
        assert [fault for fault in faults if "py315" in fault or "cpython-315" in fault] == []
        assert {fault.partition(":")[0] for fault in faults} == {"py314"}

    assert debian.sid.run("pyctrigger", "hooks", "uninstall", *hook).code == 0
    debian.apt("install", "python3-six")
    assert f"py315: {DIST_PACKAGES}/six.py: compiled" in debian.judge.bytecode_faults()


# ---------------------------------------------------------------------------------------------- bytecode in packages


def shipping(debian: Debian, scratch: Path) -> None:
    """Packages `shipping` 1 and 2: the first has fresh bytecode for 3.14, stale for 3.15, and none for PyPy."""
    source = f"{DIST_PACKAGES}/shipping/module.py"
    pycs = {}
    for executable, tag, mtime in ((EXECUTABLES[0], "cpython-314", MTIME), (EXECUTABLES[1], "cpython-315", MTIME - 9)):
        file = debian.sid.outside("/tmp/module.py")
        file.write_text("VALUE = 1\n")
        os.utime(file, (mtime, mtime))
        compiler = f"import py_compile; py_compile.compile('/tmp/module.py', '/tmp/module.pyc', {source!r})"
        assert debian.sid.run(executable, "-I", "-c", compiler).code == 0
        pycs[f"shipping/__pycache__/module.{tag}.pyc"] = debian.sid.outside("/tmp/module.pyc").read_bytes()
    sources = {"shipping/module.py": "VALUE = 1\n"}
    build(Package("shipping", "1", {**sources, **pycs}), scratch, debian.archive)
    build(Package("shipping", "2", sources), scratch, debian.archive)


def test_bytecode_that_a_package_owns(debian: Debian, tmp_path: Path) -> None:
    """Fresh or stale it stays as it was packed, and what the package lacks is added; its next version has none."""
    debian.divert_compilers()
    shipping(debian, tmp_path)
    site = debian.judge.site / "shipping/__pycache__"
    stale = [(f"{DIST_PACKAGES}/shipping/module.py".encode(), "compiled")]
    target = debian.judge.targets()["py315"]
    for first in ("1", "2"):
        debian.apt("install", f"{ARCHIVE}/shipping-{first}.deb", "python3-six")
        debian.apt("install", f"{ARCHIVE}/shipping-1.deb")
        for again in (["remove", "python3-six"], ["install", "--reinstall", f"{ARCHIVE}/shipping-1.deb"]):
            assert debian.judge.faults() == []
            owned = snapshot(site)
            assert not_fresh(target, [path for path, _ in stale]) == stale
            reported = debian.sid.run("pyctrigger", "verify", "--python", "3.15")
            assert (1, "stale") == (reported.code, reported.out.partition(":")[0])
            debian.apt(*again)
            if again[0] == "remove":
                assert snapshot(site) == owned
        assert sorted(os.listdir(site)) == [f"module.{tag}.pyc" for tag in sorted(TAGS.values())]

        debian.apt("install", f"{ARCHIVE}/shipping-2.deb")
        assert debian.judge.faults() == []
        assert not_fresh(target, [path for path, _ in stale]) == []
    debian.apt("install", f"{ARCHIVE}/shipping-1.deb")
    debian.apt("purge", "shipping")
    assert debian.judge.faults() == []


# ------------------------------------------------------------------------------------- what isn't to be compiled

BCEP = "/usr/share/python3/bcep"
#: Lines of every kind, with every kind of range, about the package `demo`.
UNWANTED = f"""\
# comments are no lines
dir|3.15-|{DIST_PACKAGES}/demo/old
dir|-3.14|{DIST_PACKAGES}/demo_old
file|3.14|{DIST_PACKAGES}/demo/changed.py
file|3.13-3.15|{DIST_PACKAGES}/demo/dropped.py
re|-|{DIST_PACKAGES}/demo|sp .*
re|3.11-3.12|{DIST_PACKAGES}|.*/turned
re|-3.15|{DIST_PACKAGES}/demo_old/
"""


def test_bcep_files_are_honoured(without: Debian) -> None:
    """Of the same sources the same are compiled as by py3compile and pypy3compile, and apart from their packages."""
    own, sid = Package("demo", "3", {**DEMO, f"{BCEP}/demo": UNWANTED}), without.sid
    build(own, without.archive.parent, without.archive)
    without.dpkg("--install", f"{ARCHIVE}/demo-3.deb")
    expected = {sid.inside(path) for path in pycs_below(without.judge.site)}
    every = len(sources_below(without.judge.site)) * len(TAGS)
    assert 6 < every - len(expected) < every

    without.apt("install", "pyctrigger")

    assert expected == {sid.inside(path) for path in pycs_below(without.judge.site)}
    for path in without.judge.site.rglob("*.pyc"):
        path.unlink()
    without.apt("install", "python3-six")
    assert expected == {path for path in map(sid.inside, pycs_below(without.judge.site)) if b"/six." not in path}
    said = sid.run("pyctrigger", "explain", "--python", "3.14", f"{DIST_PACKAGES}/demo/changed.py").out
    assert "/usr/share/python3/bcep" in said


def test_py3compile_leaves_all_to_us_without_a_diversion(cpythons_without: Debian) -> None:
    """An administrator's file asks it not to compile what is public. It goes with pyctrigger, and nothing is bare."""
    debian, sid = cpythons_without, cpythons_without.sid
    compiles = "py3compile -p {name}; py3compile -p {name} /usr/share/mixed"
    mixed = Package("mixed", "1", {"mixed.py": "", "/usr/share/mixed/private.py": ""}, compiles=compiles)
    build(mixed, debian.archive.parent, debian.archive)
    debian.apt("install", "pyctrigger")
    sid.outside(BCEP).mkdir(exist_ok=True)
    sid.outside(f"{BCEP}/pyctrigger").write_text(f"dir|-|{DIST_PACKAGES}\n")

    debian.dpkg("--no-triggers", "--install", f"{ARCHIVE}/mixed-1.deb", f"{ARCHIVE}/demo-1.deb")

    assert pycs_below(debian.judge.site) == []
    assert os.listdir(sid.outside("/usr/share/mixed/__pycache__")) == ["private.cpython-314.pyc"]
    debian.dpkg("--configure", "-a")
    assert debian.judge.faults() == []
    debian.apt("install", "demo=2", "python3-six", "mixed-")
    assert debian.judge.faults() == []
    debian.apt("remove", "pyctrigger")
    assert debian.judge.faults() == []
    assert not sid.outside(f"{BCEP}/pyctrigger").exists()


# ------------------------------------------------------------------------------------------------------ what can fail


def break_configuration(debian: Debian) -> None:
    """As an administrator's slip does."""
    with debian.sid.outside("/etc/pyctrigger.toml").open("a") as file:
        file.write("[defaults\n")


def mend_configuration(debian: Debian) -> None:
    """The slip undone."""
    file = debian.sid.outside("/etc/pyctrigger.toml")
    file.write_text(file.read_text().replace("[defaults\n", ""))


def remove_program(debian: Debian) -> None:
    """By somebody who cleans up by hand."""
    program = debian.sid.outside("/usr/bin/pyctrigger")
    program.rename(program.with_name("elsewhere"))


def mend_program(debian: Debian) -> None:
    """It is back."""
    program = debian.sid.outside("/usr/bin/elsewhere")
    program.rename(program.with_name("pyctrigger"))


def remove_application(debian: Debian) -> None:
    """Half of it is as bad as all."""
    directory = debian.sid.outside(f"{APPLICATION}/pyctrigger")
    directory.rename(directory.with_name("elsewhere"))


def mend_application(debian: Debian) -> None:
    """It is back."""
    directory = debian.sid.outside(f"{APPLICATION}/elsewhere")
    directory.rename(directory.with_name("pyctrigger"))


@pytest.mark.parametrize(
    ("spoil", "mend", "message"),
    [
        (break_configuration, mend_configuration, "/etc/pyctrigger.toml"),
        (remove_program, mend_program, "pyctrigger did not run; once that is mended: pyctrigger repair"),
        (remove_application, mend_application, "pyctrigger did not run; once that is mended: pyctrigger repair"),
    ],
    ids=["configuration", "program", "application"],
)
def test_hook_that_fails(
    cpythons: Debian, spoil: Callable[[Debian], None], mend: Callable[[Debian], None], message: str
) -> None:
    """apt continues, and says so; no package is half-configured; the next transaction does the rest."""
    spoil(cpythons)
    for arguments in (["install", "demo=2"], ["remove", "python3-six"], ["install", "--reinstall", "stable"]):
        outcome = cpythons.apt(*arguments)
        assert message in outcome.out + outcome.err
        assert "installed" == cpythons.status()
        assert cpythons.sid.run("dpkg", "--audit").out == ""
        assert cpythons.judge.bytecode_faults() != []

    mend(cpythons)
    cpythons.apt("install", "python3-idna")
    assert cpythons.judge.faults() == []


def test_no_room_for_bytecode(cpythons: Debian, tmp_path: Path) -> None:
    """On a full disk a hook says so, leaves nothing torn, and the next one finishes."""
    cpythons.apt("purge", "demo")
    site = cpythons.sid.top / DIST_PACKAGES.lstrip("/")
    entries = sum(1 for _ in site.rglob("*"))
    # dpkg unpacks beside, and renames; ten files and five directories are what the package has.
    room = entries + 1 + 10 + 5 + 3
    script = f"""
cp -a {site} {cpythons.sid.top}/tmp/site; mount -t tmpfs -o nr_inodes={room},mode=0755 none {site}
cp -a {cpythons.sid.top}/tmp/site/. {site}
"""
    with private_mounts(script) as mounts:
        full = Debian(cpythons.sid.beyond(mounts), tmp_path)
        assert full.judge.faults() == []
        outcome = full.apt("install", "demo=1")
        assert "No space left on device" in outcome.out + outcome.err
        assert full.status() == full.status("demo") == "installed"
        faults = full.judge.bytecode_faults()
        assert faults != []
        assert [fault for fault in faults if not fault.endswith(": compiled")] == []

        subprocess.run([*mounts, "mount", "-o", "remount,nr_inodes=1000", str(site)], check=True)
        full.apt("install", "python3-idna")
        assert full.judge.faults() == []


# ------------------------------------------------------------------------------------- interpreters that come and go


MINIMAL_315 = ["python3.15-minimal", "libpython3.15-minimal"]


@pytest.mark.parametrize(
    ("system", "flavour", "packages", "least", "verb"),
    [
        # The whole of it has the packages' directory among its own, the least of it only its standard library.
        ("cpythons", "py315", ["python3.15", "libpython3.15-stdlib", *MINIMAL_315], MINIMAL_315, "remove"),
        ("debian", "pypy311", list(PYPY), ["pypy3"], "purge"),
    ],
    ids=["py315", "pypy311"],
)
def test_interpreter_goes_and_comes(
    request: pytest.FixtureRequest, system: str, flavour: str, packages: list[str], least: list[str], verb: str
) -> None:
    """Its bytecode is removed with it, and no other; when it is back everything is compiled."""
    debian: Debian = request.getfixturevalue(system)
    debian.divert_compilers()
    debian.apt("install", "demo=1", "stable", "python3-attr", "python3-six")
    foreign = debian.plant_strangers()
    own = {path: facts for path, facts in snapshot(debian.judge.site).items() if b".pyc" in path}
    others = {path: facts for path, facts in own.items() if f".{TAGS[flavour]}.pyc".encode() not in path}

    debian.apt(verb, *packages)

    assert flavour not in debian.judge.targets()
    assert debian.judge.faults() == []
    assert {path: facts for path, facts in snapshot(debian.judge.site).items() if path in own} == others
    debian.apt("install", "demo=2")
    assert debian.judge.faults() == []

    for arguments in (least, packages, ["--reinstall", *packages]):
        debian.apt("install", *arguments)
        assert flavour in debian.judge.targets()
        assert debian.judge.faults() == []
    assert {path: debian.sid.outside(path).read_bytes() for path in foreign} == foreign


def test_least_interpreter_is_bounded(cpythons: Debian) -> None:
    """python3.15-minimal has no module to limit itself with: one source's hunger is bounded all the same."""
    cpythons.apt("remove", "python3.15", "libpython3.15-stdlib")
    file = cpythons.sid.outside("/etc/pyctrigger.toml")
    file.write_text(file.read_text().replace("[defaults]", '[defaults]\nmemory_limit = "128MiB"'))
    hungry = cpythons.judge.site / "hungry.py"
    hungry.write_text("VALUE = 1\n" * 150_000)

    assert cpythons.sid.run("pyctrigger", "run", "--python", "3.15").code == 1

    path = cpythons.sid.inside(os.fsencode(hungry))
    assert not_fresh(cpythons.judge.targets()["py315"], [path]) == [(path, "compiled")]
    file.write_text(file.read_text().replace("128MiB", "1GiB"))
    assert cpythons.sid.run("pyctrigger", "run", "--python", "3.15").code == 0
    assert not_fresh(cpythons.judge.targets()["py315"], [path]) == []


@pytest.mark.parametrize(
    ("flavour", "hooks", "leaves", "comes"),
    [
        (
            "py315",
            "/usr/share/python3/runtime.d",
            ["rtremove", "python3.15"],
            ["rtinstall", "python3.15", "", "3.15.2"],
        ),
        ("pypy311", "/usr/lib/pypy3/runtime.d", ["rtremove", "pypy3_7.3"], ["rtupdate", "", "pypy3_7.3"]),
    ],
    ids=["py315", "pypy311"],
)
def test_hooks_of_interpreters(debian: Debian, flavour: str, hooks: str, leaves: list[str], comes: list[str]) -> None:
    """As the maintainer scripts of CPython and PyPy call them, also while the interpreter is still there."""
    debian.divert_compilers()
    debian.apt("install", "demo=1", "stable")
    before = snapshot(debian.judge.site)
    own = {path for path in pycs_below(debian.judge.site) if f".{TAGS[flavour]}.".encode() in path}

    assert debian.sid.run(f"{hooks}/pyctrigger.{leaves[0]}", *leaves).code == 0
    assert own != set()
    left = {path: facts for path, facts in before.items() if b".pyc" in path and path not in own}
    assert {path: facts for path, facts in snapshot(debian.judge.site).items() if b".pyc" in path} == left

    assert debian.sid.run(f"{hooks}/pyctrigger.{comes[0]}", *comes).code == 0
    assert debian.judge.faults() == []


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["rtremove", "python3.14"], "pyctrigger purge --python 3.14"),
        (["rtremove", "pypy3_7.3"], "pyctrigger purge --python /usr/bin/pypy3"),
        (["rtinstall", "python3.14", "", "3.14.2"], "pyctrigger repair"),
        (["rtupdate", "", "pypy3_7.3"], "pyctrigger repair"),
    ],
    ids=" ".join,
)
def test_what_a_hook_of_an_interpreter_advises(tmp_path: Path, arguments: list[str], advice: str) -> None:
    """If its command fails, the maintainer script goes on; a repair wouldn't remove what a removed Python leaves."""
    hook = tmp_path / "hook"
    hook.write_text(fill_in(CHECKOUT / "ports/debian/runtime", {"PROGRAM": "/bin/false"}))
    done = subprocess.run(["sh", hook, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.rstrip().rpartition("later: ")[2]) == (0, advice)


INTERPRETERS = ("python3", "python3-minimal")


def every_python(debian: Debian) -> list[str]:
    """The packages of all interpreters."""
    said = debian.sid.run("dpkg-query", "--show", "--showformat=${Package}\n").out.split()
    return [name for name in said if name.startswith(("python3.1", "libpython3", "pypy3")) or name in INTERPRETERS]


def traces(debian: Debian) -> list[str]:
    """What is still called like us, but for the archive and apt's own notes."""
    said = debian.sid.run("find", "/", "-xdev", "-name", "*pyctrigger*").out.split()
    return [path for path in said if not path.startswith((ARCHIVE, "/var/lib/apt", "/var/cache/apt"))]


def test_everything_goes(debian: Debian) -> None:
    """`purge` of all Pythons together with pyctrigger: no bytecode, and nothing of ours, is left."""
    debian.apt("install", "demo=1", "stable", "python3-attr")

    debian.apt("purge", "pyctrigger", "demo", "stable", "python3-attr", *every_python(debian))

    assert debian.judge.targets() == {}
    assert traces(debian) == []
    assert pycs_below(debian.judge.site) == []
    assert sources_below(debian.judge.site) == []


def test_what_a_purge_takes_comes_back_by_the_command_that_it_names(debian: Debian) -> None:
    """dpkg doesn't know bytecode: so what py3compile wrote is removed as well, but only with a yes."""
    debian.apt("install", "python3-attr", "python3-six")
    before = pycs_below(debian.judge.site)

    refused = debian.sid.run("pyctrigger", "purge", "--stateless", "--python", "3.14")
    assert (2, before) == (refused.code, pycs_below(debian.judge.site))
    assert refused.err.endswith("didn't write; nothing was removed; add -y to go ahead\n")
    purged = debian.sid.run("pyctrigger", "purge", "--yes", "--python", "3.14")

    back = purged.out.split("To restore their bytecode: ")[1].splitlines()[0]
    assert (0, "py3compile -V 3.14 /usr/lib/python3/dist-packages") == (purged.code, back)
    assert [path for path in before if b".cpython-314." not in path] == pycs_below(debian.judge.site)
    assert 0 == debian.sid.run(*back.split()).code
    assert before == pycs_below(debian.judge.site)


def test_a_removal_leaves_what_debian_would_have_written(debian: Debian) -> None:
    """Level 0 of each source for each Python that Debian compiles for, also what was missing; and nothing else."""
    debian.apt("install", "python3-attr", "python3-six")
    sid, site = debian.sid, debian.judge.site
    configuration = sid.outside("/etc/pyctrigger.toml")
    configuration.write_text(configuration.read_text().replace("# optimize = [0]\n", "optimize = [0, 2]\n", 1))
    assert sid.run("pyctrigger", "run", "--quiet").code == 0
    kept = [path for path in pycs_below(site) if b".opt-" not in path]
    gone = [path for path in kept if b"/six." in path]
    assert (len(TAGS), 2 * len(kept)) == (len(gone), len(pycs_below(site)))
    before = {path: os.stat(path).st_ino for path in kept if path not in gone}
    for path in gone:
        os.unlink(path)
    (site / "demo").mkdir()
    for tag in TAGS.values():
        (site / f"__pycache__/orphan.{tag}.pyc").write_bytes(b"")

    removed = debian.apt("remove", "pyctrigger")

    assert kept == pycs_below(site)
    assert debian.judge.bytecode_faults() == [f"left over: {DIST_PACKAGES}/demo/"]
    assert before == {path: os.stat(path).st_ino for path in before}
    assert "left behind" not in removed.out + removed.err
    assert "py3compile" not in removed.out + removed.err


def test_last_python_goes_and_we_stay(debian: Debian) -> None:
    """With packages that need no Python, and dpkg forced to break ours: `sh` sweeps what nothing can use any more."""
    debian.divert_compilers()
    debian.apt("install", "demo=1", "stable")
    shipping_pyc: dict[str, str | bytes] = {
        "kept/__init__.py": "",
        "kept/__pycache__/__init__.cpython-314.pyc": b"owned",
    }
    build(Package("kept", "1", shipping_pyc), debian.archive.parent, debian.archive)
    debian.dpkg("--install", f"{ARCHIVE}/kept-1.deb")
    debian.plant_strangers()
    pythons = every_python(debian)

    outcome = debian.dpkg("--force-depends", "--purge", *pythons)

    assert "the last Python is gone, and its bytecode with it" in outcome.err
    owned = os.fsencode(debian.judge.site / "kept/__pycache__/__init__.cpython-314.pyc")
    # No Python is no Python: what 3.9 left behind once goes as well.
    kept = {debian.sid.outside(os.fsdecode(path)) for path in debian.judge.strangers if b".cpython-39.pyc" not in path}
    assert set(pycs_below(debian.judge.site)) == {*map(os.fsencode, kept), owned}
    assert debian.status() == "installed"
    assert (debian.judge.site / "demo/changed.py").is_file()

    debian.apt("install", *pythons)
    assert set(debian.judge.targets()) == set(TAGS)
    assert debian.judge.faults() == []


# ------------------------------------------------------------------------------------------ the transaction it serves


def test_own_dependencies_are_replaced_meanwhile(cpythons: Debian) -> None:
    """The system's filelock and platformdirs are upgraded to ones that can't be imported, and removed: no matter."""
    cpythons.apt("install", "python3-filelock=4*", "python3-platformdirs=4*")
    assert cpythons.judge.faults() == []
    for arguments in (
        ["install", "python3-filelock=99", "python3-platformdirs=99", "demo=2"],
        ["install", "python3-filelock=4*", "python3-platformdirs=4*", "python3-idna"],
        ["install", "python3-filelock-", "python3-platformdirs-", "demo=1"],
    ):
        cpythons.apt(*arguments)
        assert cpythons.judge.faults() == []


def test_host_is_replaced_meanwhile(cpythons: Debian) -> None:
    """python3 and all that it is made of are unpacked anew in the transaction that needs it."""
    host = ["python3", "python3-minimal", "python3.14", "python3.14-minimal", "libpython3.14-minimal"]

    cpythons.apt("install", "--reinstall", *host, "libpython3.14-stdlib", "python3-six", "demo=2", "python3-idna")

    assert cpythons.judge.faults() == []


# --------------------------------------------------------------------------------------------------- the package itself


def own_bytecode(debian: Debian, target: str) -> list[bytes]:
    """Our own modules that the host's Python doesn't find compiled."""
    sources = [debian.sid.inside(path) for path in sources_below(debian.sid.outside(APPLICATION))]
    assert len(sources) > 60
    return [path for path, _ in not_fresh(debian.judge.targets()[target], sources)]


def own_tags(debian: Debian) -> set[str]:
    """The cache tags of the bytecode in the private application directory."""
    pycs = pycs_below(debian.sid.outside(APPLICATION))
    return {os.fsdecode(path).rsplit(".", 2)[1] for path in pycs}


def test_package_brings_its_own_bytecode(cpythons: Debian, tmp_path: Path) -> None:
    """There for the host from the start; anew with each upgrade, reinstallation and new host; gone with the package."""
    assert (own_bytecode(cpythons, "py314"), own_tags(cpythons)) == ([], {"cpython-314"})
    assert cpythons.sid.run("pyctrigger", "--version").out.startswith("pyctrigger ")

    older = cpythons.package
    newer = with_version(cpythons.sid.outside(older), "99", tmp_path, cpythons.archive)
    for arguments in ([f"{ARCHIVE}/{newer.name}"], ["--reinstall", f"{ARCHIVE}/{newer.name}"], [older]):
        cpythons.apt("install", *arguments)
        assert (own_bytecode(cpythons, "py314"), own_tags(cpythons)) == ([], {"cpython-314"})
        assert cpythons.judge.faults() == []

    python3 = cpythons.sid.outside("/usr/bin/python3")
    python3.unlink()
    python3.symlink_to("python3.15")
    cpythons.apt("install", "demo=2")
    assert own_bytecode(cpythons, "py315") == []

    cpythons.apt("remove", "pyctrigger")
    kept = ["/etc/pyctrigger.toml", *(f"/var/lib/dpkg/info/pyctrigger.{name}" for name in ("list", "postrm"))]
    assert sorted(traces(cpythons)) == [*kept, "/var/lib/pyctrigger"]
    assert cpythons.judge.bytecode_faults() == []
    cpythons.apt("purge", "pyctrigger")
    assert traces(cpythons) == []


def test_removed_and_installed_again(cpythons: Debian) -> None:
    """After a removal Debian's own programs, or nothing, maintain bytecode; the next installation compiles all."""
    cpythons.apt("remove", "pyctrigger")
    assert cpythons.judge.bytecode_faults() == []
    cpythons.apt("install", "demo=2")
    assert cpythons.judge.bytecode_faults() != []

    cpythons.apt("install", "pyctrigger")
    assert cpythons.judge.faults() == []


def test_chrootless_without_us_on_the_machine(without: Debian) -> None:
    """The scripts run here, for a system there: they start nothing of it, and keep nothing here."""
    traces_before = traces(without)
    dpkg = [find_tool("dpkg") or "dpkg", f"--root={without.sid.top}", CHROOTLESS]
    # A state and locks of our own: other tests use the machine's at the same time.
    with private_mounts("for at in /run /var/lib; do mount -t tmpfs none $at; done") as inside:
        for step, status in (
            (["--install", f"{without.sid.top}{without.package}"], "installed"),
            (["--remove", "pyctrigger"], "config-files"),
            (["--purge", "pyctrigger"], ""),
        ):
            child = subprocess.run([*inside, *dpkg, *step], capture_output=True, text=True, env=OUTSIDE, check=False)
            assert child.returncode == 0, child.stderr
            assert without.status() == status
            assert without.judge.database_faults() == []
        find = [*inside, "find", "/run", "/var/lib", "-name", "*pyctrigger*"]
        assert subprocess.run(find, capture_output=True, check=True).stdout == b""
    assert traces(without) == traces_before


def test_chrootless_root(cpythons: Debian, tmp_path: Path) -> None:
    """A root without a program in it, filled by a system that has us: compiled from here for there, and only there."""
    shutil.rmtree(cpythons.judge.site / "stable/__pycache__")  # a run that looks here would mend it
    own = snapshot(cpythons.judge.site)
    for directory in ("info", "updates", "triggers"):
        cpythons.sid.outside(f"/root2/var/lib/dpkg/{directory}").mkdir(parents=True)
    cpythons.sid.outside("/root2/var/lib/dpkg/status").touch()
    build(Package("python3", "3.99", depends=""), tmp_path, cpythons.archive)  # what ours depends on
    dpkg = ["dpkg", "--root=/root2", CHROOTLESS]
    site = cpythons.sid.outside(f"/root2{DIST_PACKAGES}")

    for step in (
        ["--install", f"{ARCHIVE}/python3-3.99.deb", cpythons.package, f"{ARCHIVE}/demo-1.deb"],
        ["--install", f"{ARCHIVE}/demo-2.deb", f"{ARCHIVE}/stable-1.deb"],
        ["--remove", "demo"],
    ):
        outcome = cpythons.sid.run(*dpkg, *step)
        assert outcome.code == 0, outcome.err
        sources = [cpythons.sid.inside(path) for path in sources_below(site)]
        assert sources != []
        for target in cpythons.judge.targets().values():
            assert not_fresh(target, sources) == []
        assert len(pycs_below(site)) == len(cpythons.judge.targets()) * len(sources)
    assert sorted(os.listdir(site)) == ["stable"]
    assert cpythons.sid.run(*dpkg, "--audit").out == ""

    assert cpythons.sid.run(*dpkg, "--purge", "pyctrigger").code == 0
    assert pycs_below(cpythons.sid.outside("/root2")) == []
    assert [path for path in traces(cpythons) if path.startswith("/root2")] == []
    assert snapshot(cpythons.judge.site) == own
