"""Debian's source package: built by the real dpkg-buildpackage, judged by lintian, and what comes of it installed."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from builder.debian_source import RELEASED
from builder.distfiles import pinned
from builder.modules import of_system
from debian_chroot import Chroot, copy_of, sid_chroot
from debian_system import PYPY
from environment import CHECKOUT
from manager_packages import ports_build
from packages import write_tree
from workshop import workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Outcome

PACKAGES = ("pyctrigger", "pyctrigger-takeover")
#: Where the tests' things are, inside.
PLACE = "/srv/build"
TREE = f"{PLACE}/pyctrigger"
MAINTAINER = "Some Body <somebody@example.org>"
#: Later than the policy that debian/control names.
EPOCH = "1790000000"

#: What is in only one of the packages, or in both and isn't the same: patterns, and the reason.
DIFFERENT = {
    "pyctrigger": {
        "DEBIAN/control": "fields; test_fields",
        "DEBIAN/md5sums": "debhelper's",
        "usr/lib/pyctrigger/filelock/*": "the system's, built in",
        "usr/lib/pyctrigger/platformdirs/*": "the system's, built in",
        "usr/lib/pyctrigger/tomli/*": "none: each Python that runs the system's filelock has tomllib",
        "usr/bin/pyctrigger": "starts no Python that is too old for the system's filelock",
        "usr/share/doc/pyctrigger/LICENSE*": "in copyright, where Debian wants them",
        "usr/share/doc/pyctrigger/copyright": "with all texts",
        "usr/share/doc/pyctrigger/copyright.python3-*": "of what was built in",
        "usr/share/doc/pyctrigger/changelog*": "debhelper's",
        "usr/share/lintian/overrides/pyctrigger": "lintian's",
    },
    "pyctrigger-takeover": {
        "DEBIAN/control": "fields; test_fields",
        "DEBIAN/md5sums": "debhelper's",
        "usr/share/doc/pyctrigger-takeover/copyright": "with all texts",
        "usr/share/doc/pyctrigger-takeover/changelog*": "debhelper's",
        "usr/share/lintian/overrides/pyctrigger-takeover": "lintian's",
    },
}


def source_build(*arguments: str | Path) -> list[Path]:
    """What `ports/build` has built, at a time of its own."""
    return ports_build(*arguments, SOURCE_DATE_EPOCH=EPOCH)


def did(outcome: Outcome) -> str:
    """What a command said, which has to have succeeded."""
    assert outcome.code == 0, outcome.out + outcome.err
    return outcome.out


def build_in(debian: Chroot) -> str:
    """Build both packages as a build daemon does, without a network."""
    script = f"cd {TREE} && exec unshare --net dpkg-buildpackage -us -uc"
    return did(debian.run("sh", "-c", script))


@pytest.fixture(scope="module")
def built() -> Iterator[Chroot]:
    """A Debian sid in which the source package was unpacked, and built."""
    with workshop() as debian:
        source_build("deb", "--source", "--maintainer", MAINTAINER, debian.outside(PLACE))
        did(debian.run("sh", "-c", f"cd {PLACE} && dpkg-source --extract *.dsc pyctrigger"))
        build_in(debian)
        yield debian


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages of `ports/build deb`, by their names."""
    directory = tmp_path_factory.mktemp("ours")
    source_build("deb", directory)
    return packages_in(directory)


def packages_in(directory: Path) -> dict[str, Path]:
    """Each package's file, by its name."""
    return {path.name.partition("_")[0]: path for path in sorted(directory.glob("*.deb"))}


class Entry(NamedTuple):
    """What a package has at a path."""

    mode: int
    content: bytes


def contents(package: Path, scratch: Path) -> dict[str, Entry]:
    """Every file of a package, those for dpkg below DEBIAN; what is packed once more as it was before."""
    top = scratch / f"{package.parent.name}-{package.stem}"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(top)], check=True)
    files = [path for path in sorted(top.rglob("*")) if path.is_file()]
    found = {}
    for path in files:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        found[str(path.relative_to(top))] = Entry(path.stat().st_mode, content)
    return found


def fields(control: str) -> dict[str, str]:
    """The fields of a control file."""
    return {match[1]: match[2].strip() for match in re.finditer(r"(?ms)^([\w-]+):(.*?)(?=^\S|\Z)", control)}


@pytest.mark.parametrize("name", PACKAGES)
def test_same_program_and_same_hooks(built: Chroot, ours: dict[str, Path], tmp_path: Path, name: str) -> None:
    """As in the package of `ports/build deb`, byte for byte and mode for mode; each difference has its reason."""
    expected, found = (contents(each[name], tmp_path) for each in (ours, packages_in(built.outside(PLACE))))

    different = {path for path in {*expected, *found} if expected.get(path) != found.get(path)}

    unexplained = {path for path in different if not any(fnmatch(path, pattern) for pattern in DIFFERENT[name])}
    assert unexplained == set()
    needless = [pattern for pattern in DIFFERENT[name] if not any(fnmatch(path, pattern) for path in different)]
    assert needless == []
    assert len(different) < len(expected)
    control, of_ours = (fields(each["DEBIAN/control"].content.decode()) for each in (found, expected))
    same = ("Package", "Architecture", "Section", "Priority", "Multi-Arch", "Suggests", "Description")
    assert [control.get(field) for field in same] == [of_ours.get(field) for field in same]


def test_fields(built: Chroot, tmp_path: Path) -> None:
    """One version, Debian's; what was built in is named with its version; nobody depends on python3-minimal itself."""
    control = {
        name: fields(contents(path, tmp_path)["DEBIAN/control"].content.decode())
        for name, path in packages_in(built.outside(PLACE)).items()
    }
    script = "dpkg-query --show --showformat '${source:Package} (= ${source:Version})\n' "
    sources = did(built.run("sh", "-c", script + "python3-filelock python3-platformdirs")).splitlines()

    assert {each["Version"] for each in control.values()} == {f"{version()}-1"}
    assert {each["Maintainer"] for each in control.values()} == {MAINTAINER}
    assert sorted(control["pyctrigger"]["Static-Built-Using"].split(", ")) == sorted(sources)
    assert re.fullmatch(r"python3 \(>= 3\.\d+\)", control["pyctrigger"]["Depends"])
    assert control["pyctrigger-takeover"]["Depends"] == f"pyctrigger (= {version()}-1)"


def version() -> str:
    """The version of the checkout."""
    (found,) = re.findall(r'^VERSION = "(.+)"$', (CHECKOUT / "src/pyctrigger/version.py").read_text(), re.MULTILINE)
    return str(found)


def test_system_modules_are_built_in(built: Chroot, tmp_path: Path) -> None:
    """They are new enough in a Debian of today, and only the Pythons that run them are started."""
    found = contents(packages_in(built.outside(PLACE))["pyctrigger"], tmp_path)
    site = built.outside("/usr/lib/python3/dist-packages")
    for project in ("filelock", "platformdirs"):
        theirs = {
            str(path.relative_to(site)): path.read_bytes()
            for path in (site / project).rglob("*")
            if path.is_file() and path.parent.name != "__pycache__"
        }
        prefix = "usr/lib/pyctrigger/"
        built_in = {path[len(prefix) :]: each for path, each in found.items() if path.startswith(prefix + project)}
        assert {path: each.content for path, each in built_in.items()} == theirs
    (hosts,) = re.findall(r"for python in (.*); do", found["usr/bin/pyctrigger"].content.decode())
    oldest = min(int(minor) for minor in re.findall(r"python3\.(\d+)", hosts))
    assert f"python3 (>= 3.{oldest})" in found["DEBIAN/control"].content.decode()
    assert oldest > 9


def test_lintian(built: Chroot) -> None:
    """Neither errors nor warnings, of the source and of both packages; no exception without need or reason."""
    said = built.run("sh", "-c", f"cd {PLACE} && lintian --no-cfg --allow-root --display-info *.changes")

    found = said.out.splitlines()
    assert said.err == ""
    assert [line for line in found if not line.startswith(("I: ", "N:"))] == []
    assert [line for line in found if "override" in line] == []


def test_each_override_has_a_reason() -> None:
    """A comment, directly above it or above those of the same kind."""
    for path in (CHECKOUT / "ports/debian/source").rglob("*lintian-overrides"):
        lines = path.read_text().splitlines()
        for before, line in zip(["", *lines], lines):
            if not line.startswith("#"):
                tag = line.split()[1]
                assert before.startswith("#") or before.split()[1] == tag, line


def test_built_once_more(built: Chroot) -> None:
    """From what is left of the first time: the source is as it was unpacked, and the packages have the same bytes."""
    before = {path.name: path.read_bytes() for path in built.outside(PLACE).glob("*.*") if path.suffix != ".buildinfo"}
    assert {path.rpartition(".")[2] for path in before} >= {"deb", "dsc", "changes"}

    said = build_in(built)

    assert "local changes" not in said
    after = {name: built.outside(f"{PLACE}/{name}").read_bytes() for name in before}
    assert [name for name in before if before[name] != after[name] and not name.endswith(".changes")] == []


@pytest.fixture(scope="module")
def plain(built: Chroot) -> Iterator[Chroot]:
    """A Debian sid without the tools, and without PyPy, which costs more than all the rest."""
    with sid_chroot(application=False) as sid:
        did(sid.run("apt-get", "-q", "-y", "purge", *PYPY))
        place = sid.outside(PLACE)
        place.mkdir(parents=True)
        for path in built.outside(PLACE).glob("*.deb"):
            shutil.copy2(path, place)
        shutil.copytree(built.outside(f"{TREE}/debian/tests"), place / "tests")
        yield sid


@pytest.fixture
def debian(plain: Chroot) -> Iterator[Chroot]:
    """One of those, to install the packages in."""
    with copy_of(plain) as sid:
        yield sid


@pytest.fixture(scope="module")
def installed(plain: Chroot) -> Iterator[Chroot]:
    """One with both packages, installed by one transaction."""
    with copy_of(plain) as sid:
        did(sid.run("sh", "-c", f"apt-get -q -y install {PLACE}/*.deb"))
        yield sid


@pytest.fixture
def taken(installed: Chroot) -> Iterator[Chroot]:
    """Such a system, to be changed."""
    with copy_of(installed) as sid:
        yield sid


def run_scenarios(debian: Chroot) -> Outcome:
    """As autopkgtest runs them: installed packages, and a directory."""
    debian.outside("/srv/scratch").mkdir()
    return debian.run("env", "AUTOPKGTEST_TMP=/srv/scratch", f"{PLACE}/tests/takeover")


def test_autopkgtest(taken: Chroot) -> None:
    """Its scenarios pass."""
    said = run_scenarios(taken)

    assert (0, "all is well") == (said.code, (said.out.splitlines() or [""])[-1]), said.out + said.err


#: What is wrong, and in which step it is noticed.
SPOILT = {
    "nothing is left to the trigger": (
        "printf '#!/bin/sh\\nexec /usr/lib/pyctrigger-takeover/py3compile \"$@\"\\n' >/usr/bin/py3compile",
        "an installation is compiled by the trigger",
    ),
    "nothing is compiled": ("printf '#!/bin/sh\\n' >/usr/bin/py3compile", "private modules are the original's"),
    "nothing is removed": ("printf '#!/bin/sh\\n' >/usr/bin/py3clean", "an upgrade with the same time and size"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_autopkgtest_would_notice(taken: Chroot, case: str) -> None:
    """A script that passes whatever happens would be worth nothing."""
    spoil, step = SPOILT[case]
    did(taken.run("sh", "-c", spoil))

    said = run_scenarios(taken)

    assert said.code == 1
    assert [line for line in said.out.splitlines() if line.startswith("== ")][-1].startswith(f"== {step}")


def written(path: Path) -> tuple[int, int]:
    """Another file, or a file that was written again, has other values."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_upgrade_from_our_own_packages(debian: Chroot, ours: dict[str, Path]) -> None:
    """Debian's version is later than ours of the same release; nothing is asked, compiled again, or left behind."""
    for path in ours.values():
        shutil.copy2(path, debian.outside(PLACE))
    did(debian.run("sh", "-c", f"dpkg --install {PLACE}/*_{version()}_all.deb && apt-get -q -y install python3-six"))
    pyc = debian.outside("/usr/lib/python3/dist-packages/__pycache__/six.cpython-314.pyc")
    before = written(pyc)

    said = did(debian.run("sh", "-c", f"apt-get -q -y install {PLACE}/*-1_all.deb"))

    assert f"Unpacking pyctrigger ({version()}-1) over ({version()})" in said
    assert "onfiguration file" not in said
    assert written(pyc) == before
    assert "all is well    yes" in did(debian.run("pyctrigger", "doctor"))
    assert did(debian.run("sh", "-c", "dpkg --verify pyctrigger pyctrigger-takeover; dpkg --audit")) == ""
    for name in ("py3compile", "py3clean"):
        assert did(debian.run("dpkg-divert", "--listpackage", f"/usr/bin/{name}")) == "pyctrigger-takeover\n"
    assert not debian.outside("/usr/lib/pyctrigger/tomli").exists()
    did(debian.run("dpkg", "--purge", *PACKAGES))
    assert debian.run("sh", "-c", "find / -xdev -path /srv -prune -o -name '*pyctrigger*' -print").out == ""
    assert written(pyc) == before


#: What a directory of packages has of filelock: version, `Requires-Python`, what it needs, what else is in it; and
#: whether it is taken.
METADATA = {
    "new enough": ("3.18.0", ">=3.9", "", "py.typed", True),
    "just new enough": ("3.12", ">=3.9", "", "", True),
    "of a later major version": ("4.0", ">=3.11", "", "", True),
    "an extra needs more": ("3.18.0", ">=3.9", "pytest>=7; extra == 'testing'", "", True),
    "without a word on Pythons": ("3.18.0", "", "", "", True),
    "too old": ("3.9.0", ">=3.7", "", "", False),
    "for later Pythons than the system's": ("5.0", ">=3.15", "", "", False),
    "needs more": ("3.18.0", ">=3.9", "typing-extensions>=4", "", False),
    "compiled": ("3.18.0", ">=3.9", "", "_unix.cpython-314-x86_64-linux-gnu.so", False),
}


@pytest.mark.parametrize("case", METADATA)
def test_which_modules_are_new_enough(tmp_path: Path, case: str) -> None:
    """The system's where they do, and the pinned release otherwise."""
    release, pythons, needs, file, taken = METADATA[case]
    lines = [f"Version: {release}", *([f"Requires-Python: {pythons}"] if pythons else [])]
    lines += [f"Requires-Dist: {needs}"] if needs else []
    files = {"filelock/__init__.py": "", f"filelock-{release}.dist-info/METADATA": "\n".join([*lines, "", ""])}
    write_tree(tmp_path, {**files, f"filelock/{file or '_api.py'}": ""})

    modules = of_system(CHECKOUT, tmp_path, 14)

    assert modules.packages == ({"filelock": tmp_path / "filelock"} if taken else {})
    assert modules.oldest_host == (11 if taken and pythons == ">=3.11" else 9)
    assert ("tomli" in modules.replaced) == (modules.oldest_host >= 11)


def test_all_that_is_pinned_may_be_the_systems() -> None:
    """What is needed is read from pyproject.toml, and what is pinned is just that."""
    text = (CHECKOUT / "pyproject.toml").read_text()
    dependencies = text[text.index("\ndependencies = [") : text.index("]\ndynamic")]
    assert sorted(re.findall(r'"([a-z]+)>=', dependencies)) == sorted(
        each.project for each in pinned(CHECKOUT / "ports/distinfo")
    )


def test_source_is_the_release(built: Chroot) -> None:
    """It has what the sdist has."""
    (line,) = re.findall(r"(?ms)^\[tool\.hatch\.build\.targets\.sdist\].*?^include = (\[.*?\])", _pyproject())
    assert [f"/{name}" for name in RELEASED] == re.findall(r'"([^"]+)"', line)
    assert {path.name for path in built.outside(TREE).iterdir()} == {
        *RELEASED,
        *("pyproject.toml", "README.md", "LICENSE", "debian", "distfiles", ".pc"),  # the last is dpkg-source's
    }


def _pyproject() -> str:
    return (CHECKOUT / "pyproject.toml").read_text()


def test_same_source_from_the_same_checkout(built: Chroot, tmp_path: Path) -> None:
    """Whoever makes it, the files have the same bytes."""
    for path in source_build("deb", "--source", "--maintainer", MAINTAINER, tmp_path):
        if path.suffix != ".dsc":  # dpkg-buildpackage writes that anew
            assert path.read_bytes() == built.outside(f"{PLACE}/{path.name}").read_bytes(), path.name
