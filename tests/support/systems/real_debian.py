"""Debian 13 and sid, with PyPy, and Ubuntu 24.04 below a directory, with packages of their own for apt.

Each is made once by debootstrap (two minutes, and a network), and kept with the list of the bytecode that it has after
all packages were installed without us. It is never changed: who uses it has a layer above.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from debian_chroot import Chroot, chroot_program
from debian_packages import ARCHIVE, write_index
from kept_systems import CACHE, kept, prepare
from layered import another
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Outcome

#: Private modules only (dh-python; hplip-data, whose prerm doesn't say so), two private directories and a version
#: (calibre), an architecture in the name (bcrypt, zope.interface), a postinst that imports with every Python (twisted),
#: and modules that aren't to be compiled (jinja2).
PAYLOADS = ("dh-python", "calibre", "hplip-data", "python3-bcrypt", "python3-twisted", "python3-jinja2")
#: Of these apt knows a later version as well.
UPGRADED = ("python3", "python3-minimal", "libpython3-stdlib")
#: At the end of the programs of that version.
MARK = "# of another version\n"
#: Where the list of bytecode is, inside.
_PLAIN = "/srv/plain"
#: Changes with what is made here.
_EDITION = "3"
_APT = """\
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Dpkg::Use-Pty "0";
"""


@dataclass(frozen=True)
class _Cut:
    """What is left of a large package: its scripts are as they were."""

    pattern: str
    """The files that stay, by their paths below the root."""
    depends: str


_LIBRARY = "usr/lib/python3/dist-packages"
_CUT = {
    "calibre": _Cut(r"usr/lib/calibre/(calibre/utils|polyglot|odf)/.*\.py|usr/share/calibre/.*\.py", "python3"),
    "dh-python": _Cut(r".*", "python3"),
    "hplip-data": _Cut(r"usr/share/(apport|hplip/base)/.*\.py|usr/share/hplip/[^/]*\.py", "python3-distro"),
    "python3-twisted": _Cut(
        rf"{_LIBRARY}/(twisted/([^/]*|(plugins|python|internet|application)/(?!test/).*)|[^/]*-info/.*)",
        "python3, python3-attr, python3-automat, python3-constantly, python3-hyperlink, python3-incremental, "
        "python3-typing-extensions, python3-zope.interface",
    ),
}


@dataclass(frozen=True)
class Release:
    """A release of a distribution."""

    suite: str
    has_pypy: bool = False
    mirror: str = "http://deb.debian.org/debian"
    components: str = "main"
    script: tuple[str, ...] = ()
    """debootstrap's, where it knows no such suite."""
    keyring: str = ""
    """The package with the keys by which the release is signed, and its digest."""


RELEASES = {
    release.suite: release
    for release in (
        Release("trixie", has_pypy=True),
        Release("sid", has_pypy=True),
        Release(
            "noble",
            mirror="http://archive.ubuntu.com/ubuntu",
            components="main,universe",
            script=("gutsy",),
            keyring=(
                "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
                " 36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
            ),
        ),
    )
}


class Real(Chroot):
    """Such a system, which may be changed."""

    def __init__(self, top: Path, chroot: str, release: Release) -> None:
        super().__init__(top, chroot)
        self.release = release

    @property
    def python(self) -> str:
        """Which one is `python3`: 3.13."""
        return os.readlink(self.outside("/usr/bin/python3")).removeprefix("python")

    @property
    def pypy(self) -> str:
        """Which one is `pypy3`, as pypy3.11; or nothing."""
        program = self.outside("/usr/bin/pypy3")
        return os.path.basename(os.readlink(program)) if program.is_symlink() else ""

    @property
    def tags(self) -> dict[str, str]:
        """The interpreters that are there, by their cache tags."""
        found = {f"cpython-{self.python.replace('.', '')}": f"/usr/bin/python{self.python}"}
        return {**found, self.pypy.replace(".", ""): "/usr/bin/pypy3"} if self.pypy else found

    @property
    def plain(self) -> set[str]:
        """The bytecode after all packages were installed without us."""
        return set(self.outside(_PLAIN).read_text().splitlines())

    @plain.setter
    def plain(self, paths: set[str]) -> None:
        self.outside(_PLAIN).write_text("".join(f"{path}\n" for path in sorted(paths)))

    def bytecode(self) -> set[str]:
        """All bytecode of packages but ours and the interpreters' own, as seen inside."""
        own = r"/usr/lib/(py[^/]*3\.|pyctrigger/)"
        return {path for path in self._find("-name", "*.pyc") if not re.match(own, path)}

    def empty_caches(self) -> set[str]:
        """Directories for bytecode that have none."""
        return self._find("-type", "d", "-name", "__pycache__", "-empty")

    def _find(self, *test: str) -> set[str]:
        found = self.run("find", "/usr/lib", "/usr/share", *test)
        assert found.code == 0, found.err
        return set(found.out.splitlines())

    def do(self, *command: str) -> Outcome:
        """What has to succeed."""
        outcome = self.run(*command)
        assert outcome.code == 0, outcome.out[-2000:] + outcome.err[-2000:]
        return outcome

    def apt(self, *arguments: str) -> Outcome:
        """A transaction."""
        return self.do("apt-get", "-q", "-y", *arguments)


@contextmanager
def real_system(release: Release, room: str | Path) -> Iterator[Real]:
    """A system with a layer of its own below the directory `room`, gone afterwards. Only root can have one."""
    chroot = chroot_program()
    with another(_original(release, chroot), room) as top:
        yield Real(top, chroot, release)


def _original(release: Release, chroot: str) -> Path:
    debootstrap = find_tool("debootstrap")
    if debootstrap is None:
        absent("no debootstrap, which makes a Debian to test in (Debian package debootstrap)")
    content = repr((_EDITION, release, PAYLOADS, _CUT, UPGRADED))

    def make(top: Path) -> None:
        _make(Real(top, chroot, release), debootstrap)

    return kept(f"real-{release.suite}", content, make, f"{release.suite} to test in")


def _make(system: Real, debootstrap: str) -> None:
    release = system.release
    command = [debootstrap, "--variant=minbase", f"--components={release.components}", "--include=python3"]
    if release.keyring:
        command.append(f"--keyring={_keyring(release)}")
    # In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
    prepare("unshare", "--mount", *command, release.suite, str(system.top), release.mirror, *release.script)
    system.outside("/etc/apt/apt.conf.d/99tests").write_text(_APT)
    apt = ("chroot", str(system.top), "apt-get", "-qq", "-y")
    if release.has_pypy:
        prepare(*apt, "install", "pypy3")
    prepare(*apt, "--download-only", "install", *(name for name in PAYLOADS if name not in _CUT), *_needs())
    archive = system.outside(ARCHIVE)
    archive.mkdir()
    prepare(
        "chroot", str(system.top), "sh", "-c", f"cd {ARCHIVE} && apt-get -qq download {' '.join([*_CUT, *UPGRADED])}"
    )
    for package in [*system.outside("/var/cache/apt/archives").glob("*.deb"), *archive.glob("*%3a*.deb")]:
        package.rename(archive / package.name.replace("%3a", "-"))  # an epoch's colon
    for name, cut in _CUT.items():
        _remake(archive, name, partial(_cut_down, cut))
    for name in UPGRADED:
        _remake(archive, name, _make_later, keep=True)
    write_index(archive)
    system.outside("/etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{ARCHIVE} ./\n")
    for directory, pattern in (("/var/lib/apt/lists", "*_dists_*"), ("/var/cache/apt", "*.bin")):
        for waste in system.outside(directory).glob(pattern):
            waste.unlink()
    prepare(*apt, "update")
    before = system.bytecode()
    prepare(*apt, "install", *PAYLOADS)
    system.plain = system.bytecode()
    prepare(*apt, "purge", *PAYLOADS)
    prepare(*apt, "autoremove", "--purge")
    assert before == system.bytecode()


def _needs() -> set[str]:
    return {name for cut in _CUT.values() for name in cut.depends.split(", ")}


def _keyring(release: Release) -> Path:
    """The keys of a release, out of a package with a known digest."""
    path, digest = release.keyring.split()
    package, keys = CACHE / os.path.basename(path), CACHE / f"{release.suite}-keys"
    with urllib.request.urlopen(f"{release.mirror}/{path}", timeout=60) as answer:
        content = answer.read(1 << 20)
    if hashlib.sha256(content).hexdigest() != digest:
        absent(f"{release.mirror}/{path} isn't what it was")
    package.write_bytes(content)
    prepare("dpkg-deb", "--extract", str(package), str(keys))
    package.unlink()
    (found,) = keys.rglob("ubuntu-archive-keyring.gpg")
    return found


def _remake(archive: Path, name: str, change: Callable[[Path], str], *, keep: bool = False) -> None:
    """Make a package once more after a change, which names it; the one before goes, unless it is to be kept."""
    (package,) = archive.glob(f"{name}_*.deb")
    tree = archive / f"{name}.tree"
    prepare("dpkg-deb", "--raw-extract", str(package), str(tree))
    how = change(tree)
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n"
        for path in sorted(tree.rglob("*"))
        if path.is_file() and not path.is_symlink() and tree / "DEBIAN" not in path.parents
    ]
    (tree / "DEBIAN/md5sums").write_text("".join(sums))
    if not keep:
        package.unlink()
    target = archive / f"{name}_{how}.deb"
    prepare("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(target))
    shutil.rmtree(tree)


def _cut_down(cut: _Cut, tree: Path) -> str:
    for path in sorted(tree.rglob("*"), reverse=True):
        name = str(path.relative_to(tree))
        if name.startswith("DEBIAN"):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif not re.fullmatch(cut.pattern, name):
            path.unlink()
    control = tree / "DEBIAN/control"
    dropped = r"(Depends|Pre-Depends|Recommends|Suggests|Breaks|Conflicts): .*\n( .*\n)*"
    text = re.sub(f"(?m)^{dropped}", "", control.read_text())
    control.write_text(text.replace("\nDescription:", f"\nDepends: {cut.depends}\nDescription:", 1))
    return "cut"


def _make_later(tree: Path) -> str:
    control = tree / "DEBIAN/control"
    text = control.read_text()
    (before,) = re.findall(r"(?m)^Version: (.*)$", text)
    text = text.replace(f"Version: {before}\n", f"Version: {before}+later\n").replace(
        f"(= {before})", f"(= {before}+later)"
    )
    control.write_text(text)
    for path in (tree / "usr/bin").glob("py3c*"):
        path.write_text(path.read_text() + MARK)
    return "later"
