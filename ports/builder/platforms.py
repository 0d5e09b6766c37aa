"""The systems that packages are built for: where things go there, and what their packages' policy is."""

from __future__ import annotations

from typing import NamedTuple

from pyctrigger.packages.every import MANAGERS
from pyctrigger.packages.hook import Subject

#: Targets that hooks are made for. A hook of an interpreter that isn't there never fires.
CPYTHONS = range(6, 16)
FREE_THREADED = range(13, 16)
PYPYS = range(9, 12)
OLDEST_HOST = 9
#: What can run pyctrigger (3.9 and later), newest first.
_HOSTS = range(15, OLDEST_HOST - 1, -1)
#: The cache tags of what can run it.
HOST_TAGS = [*(f"cpython-3{minor}" for minor in sorted(_HOSTS)), *(f"pypy3{minor}" for minor in PYPYS)]


class Platform(NamedTuple):
    """One kind of system."""

    name: str
    """As `ports/build` takes it: deb, rpm, arch, freebsd."""
    system: str
    manager: str
    prefix: str
    configuration: str
    documents: str
    """Where licences and the like go; "" where the format's own tools install them."""
    manual: str
    """The directory of manual pages, above those of each section."""
    levels: tuple[int, ...]
    """The optimization levels that the system's own packages have."""
    compressed_manual: bool = True
    zsh: str = "site-functions"
    """The directory below share/zsh in which packages leave functions."""

    @property
    def application(self) -> str:
        """The private application directory."""
        return f"{self.prefix}/lib/pyctrigger"

    @property
    def launcher(self) -> str:
        """The program, as hooks start it."""
        return f"{self.prefix}/bin/pyctrigger"

    @property
    def completions(self) -> dict[str, str]:
        """Where each shell looks for what packages have to complete."""
        share = f"{self.prefix}/share"
        return {
            "bash": f"{share}/bash-completion/completions/pyctrigger",
            "fish": f"{share}/fish/vendor_completions.d/pyctrigger.fish",
            "zsh": f"{share}/zsh/{self.zsh}/_pyctrigger",
        }

    def hosts(self, oldest: int = OLDEST_HOST) -> list[str]:
        """The interpreters that may run pyctrigger, best first: the system's choice, then the newest to 3.`oldest`.

        The administrator's own come last: some systems have no other.
        """
        names = ["python3", *(f"python3.{minor}" for minor in _HOSTS if minor >= oldest), "pypy3"]
        return [f"{prefix}/bin/{name}" for prefix in self._prefixes for name in names]

    @property
    def targets(self) -> list[str]:
        """Interpreters that use bytecode, and can't run pyctrigger."""
        return [f"{prefix}/bin/python3.{minor}" for prefix in self._prefixes for minor in range(6, 9)]

    @property
    def _prefixes(self) -> list[str]:
        return list(dict.fromkeys([self.prefix, "/usr/local"]))

    def subjects(self) -> list[Subject]:
        """What there are hooks for."""
        program = (self.launcher,)
        found = [_cpython(minor, "", program) for minor in CPYTHONS]
        found += [_cpython(minor, "t", program) for minor in FREE_THREADED]
        for minor in PYPYS:
            found.append(Subject(f"pypy3{minor}", f"pypy3.{minor}", f"pypy3.{minor}", f"pypy3{minor}", program))
        return found

    def site_directories(self) -> list[str]:
        """Where this system's packages put sources, for all targets."""
        kind = MANAGERS[self.manager]
        return list(dict.fromkeys(site for each in self.subjects() for site in kind.site_directories(each.library)))


def _cpython(minor: int, suffix: str, program: tuple[str, ...]) -> Subject:
    version = f"3.{minor}{suffix}"
    return Subject(f"py3{minor}{suffix}", version, f"python{version}", f"cpython-3{minor}", program)


_ETC = "/etc/pyctrigger.toml"
_MANUAL = "/usr/share/man"
_DEBIAN_DOCUMENTS = "/usr/share/doc/pyctrigger"
_ARCH_DOCUMENTS = "/usr/share/licenses/pyctrigger"

PLATFORMS = {
    each.name: each
    for each in (
        Platform("deb", "Debian", "dpkg", "/usr", _ETC, _DEBIAN_DOCUMENTS, _MANUAL, (0,), zsh="vendor-completions"),
        Platform("rpm", "Fedora", "rpm", "/usr", _ETC, _ARCH_DOCUMENTS, _MANUAL, (0, 1)),
        Platform("arch", "Arch", "pacman", "/usr", _ETC, _ARCH_DOCUMENTS, _MANUAL, (0,)),
        Platform(
            "freebsd",
            "FreeBSD",
            "pkg",
            "/usr/local",
            "/usr/local/etc/pyctrigger.toml.sample",  # a port's own: the administrator's copy has no suffix
            "",
            "/usr/local/share/man",
            (0, 1, 2),
            compressed_manual=False,  # the ports framework does that
        ),
    )
}
