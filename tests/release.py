"""What a release has to be, shown for real: `nox -s release`, as root, of what is committed. Some minutes.

Wheel and sdist are the same bytes wherever they are built; packages of all formats are built from the sdist; dpkg, rpm
and pacman upgrade release 0.1.0 to this one, take it back, and upgrade again; pip installs it for every host Python.
Exit 1: something of this isn't so, which is named. Exit 2: this checkout can't be released.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parent / "support"))
sys.path.insert(2, str(Path(__file__).resolve().parent / "support/systems"))

import corpus
from debian_chroot import sid_chroot
from debian_system import PYPY, Debian
from interpreters import find_interpreters, one_per_flavour
from manager_packages import ports_build
from pacman_root import PacmanRoot
from pip_installations import ENDS, Host, check, download
from releases import Unprepared, clone, distributions, earlier_release, require_committed, unpack
from rpm_root import RpmRoot
from upgrades import Kept, KeptDebian, KeptRoot, Walk

if TYPE_CHECKING:
    from manager_packages import ManagedRoot

#: Host Pythons that there have to be.
HOSTS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
#: What `ports/build all` makes, by manager.
PACKAGES = {
    "dpkg": "pyctrigger_{version}_all.deb",
    "dpkg, the takeover": "pyctrigger-takeover_{version}_all.deb",
    "rpm": "pyctrigger-{version}-1.noarch.rpm",
    "pacman": "pyctrigger-{version}-1-any.pkg.tar.zst",
    "pkg": "freebsd/sysutils/pyctrigger/Makefile",
}


class Results:
    """What was found, printed as it is."""

    def __init__(self) -> None:
        self.is_wrong = False

    def add(self, what: str, wrong: list[str], began: float) -> None:
        """One line, and one for each thing that is wrong."""
        print(f"{what}: {'WRONG' if wrong else 'ok'} ({time.monotonic() - began:.0f} s)", flush=True)
        for line in wrong:
            print(f"  {line}", flush=True)
        self.is_wrong |= bool(wrong)

    def attempt(self, what: str, act: Callable[[], list[str]]) -> None:
        """The same for what may fail altogether."""
        began = time.monotonic()
        try:
            wrong = act()
        except AssertionError as error:
            wrong = [str(error)]
        self.add(what, wrong, began)


def main() -> int:
    """The exit code."""
    results = Results()
    try:
        if os.geteuid() != 0:
            raise Unprepared("needs root, who alone can have systems to install packages in")
        require_committed()
        with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=corpus.memory(programs=True)) as directory:
            scratch = Path(directory)
            scratch.chmod(0o755)
            _release(scratch, results)
    except Unprepared as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(results.is_wrong)


def _release(scratch: Path, results: Results) -> None:
    began = time.monotonic()
    first = distributions(clone(scratch / "first", 0o022), scratch / "once")
    names = sorted(first)
    (version,) = {match[1] for name in names if (match := re.match(r"pyctrigger-([\d.]+\d)[-.]", name))}
    tree = unpack(scratch / "once" / f"pyctrigger-{version}.tar.gz", scratch / "unpacked")
    results.add(f"wheel and sdist of {version}, twice and from the sdist", _unequal(first, tree, scratch), began)

    began = time.monotonic()
    out, older = scratch / "packages", scratch / "older"
    ports_build("all", out, checkout=tree)
    ports_build("all", older, checkout=earlier_release(scratch / "0.1.0"))
    built = {manager: out / name.format(version=version) for manager, name in PACKAGES.items()}
    results.add(
        "packages of all formats from the sdist", [str(path) for path in built.values() if not path.is_file()], began
    )

    former = {manager: older / name.format(version="0.1.0") for manager, name in PACKAGES.items()}
    kinds: dict[str, type[ManagedRoot]] = {"rpm": RpmRoot, "pacman": PacmanRoot}
    for manager, kind in kinds.items():
        room = scratch / manager
        room.mkdir()
        what = f"{manager}: 0.1.0, {version}, 0.1.0, {version}"
        results.attempt(what, lambda: _walk(KeptRoot(kind, room), former[manager], built[manager]))  # noqa: B023
    with sid_chroot(application=False) as sid:
        debian = Debian(sid, scratch)
        debian.dpkg("--purge", *PYPY)  # which costs more than all the rest
        what = f"dpkg: 0.1.0, {version}, 0.1.0, {version}"
        results.attempt(what, lambda: _walk(KeptDebian(debian, scratch), former["dpkg"], built["dpkg"]))

    (wheel,) = (path for path in first.values() if path.suffix == ".whl")
    _install_by_pip(wheel, scratch, results)


def _unequal(first: dict[str, Path], tree: Path, scratch: Path) -> list[str]:
    """What has other bytes from another clone, with another umask, time, hash seed and zone, and from the sdist."""
    time.sleep(1.1)  # archives count in seconds
    surroundings = {"TZ": "Asia/Tokyo", "HOME": str(scratch), "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    again = distributions(clone(scratch / "a second one", 0o077), scratch / "twice", 0o077, **surroundings)
    others = {"another clone": again, "the sdist": distributions(tree, scratch / "thrice")}
    return [
        f"{name}, built from {source}"
        for source, built in others.items()
        for name in sorted({*first, *built})
        if not (name in first and name in built and first[name].read_bytes() == built[name].read_bytes())
    ]


def _walk(system: Kept, older: Path, newer: Path) -> list[str]:
    walk = Walk(system, older, newer)
    walk.all()
    return walk.wrong


def _install_by_pip(wheel: Path, scratch: Path, results: Results) -> None:
    hosts = {}
    for each in one_per_flavour(find_interpreters()):
        name = ".".join(map(str, each.version[:2]))
        if each.implementation == "cpython" and not each.free_threaded and name in HOSTS:
            hosts[name] = Host(name, each.path)
    with sid_chroot(application=False) as sid:
        (place := sid.outside("/srv/pip")).mkdir()
        if "3.14" not in hosts:
            for end in ENDS:
                (wheels := place / end).mkdir()
                download(wheel, "3.14", wheels, end)
        for name in HOSTS:
            for end in ENDS:
                what = f"pip install for Python {name}, {end} dependencies"
                if name in hosts:
                    room = scratch / f"pip-{name}-{end}"
                    room.mkdir()
                    results.attempt(what, lambda: check(hosts[name], wheel, end, room))  # noqa: B023
                elif name == "3.14":
                    (room := place / f"{end}-installed").mkdir()
                    host = Host(name, "/usr/bin/python3.14", sid.entering(), sid.top, f"/srv/pip/{end}")
                    results.attempt(what, lambda: check(host, place / end / wheel.name, end, room))  # noqa: B023
                else:
                    results.add(what, ["there is none on this machine"], time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
