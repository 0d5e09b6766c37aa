"""dpkg: one list of paths for each package, in `/var/lib/dpkg/info` (dpkg-query(1), FILES).

Its triggers belong to packages, and know no patterns: the package pyctrigger has one for all flavours. What an
administrator can add is a command that apt runs after dpkg (apt.conf(5), DPkg::Post-Invoke).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .hook import HookFile, quoted, render, shell
from .manager import Manager, pycs_in_list, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hook import Subject


class Dpkg(Manager):
    """Debian's."""

    name = "dpkg"
    database = "/var/lib/dpkg/info"

    def owned_pycs(self) -> Iterator[bytes]:
        directory = self.inside(self.database)
        for name in os.listdir(directory):
            if name.endswith(".list"):
                yield from pycs_in_list(read(os.path.join(directory, name)))

    @staticmethod
    def site_directories(library: str) -> list[str]:
        # All flavours share one directory, PyPy too (Debian Python Policy, 2.5).
        return ["/usr/lib/python3/dist-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        program = shell(subject.program)
        quoted(program)  # it stands between quotation marks already
        words = {"PROGRAM": program, "VERSION": subject.version}
        return [HookFile(f"/etc/apt/apt.conf.d/90pyctrigger-{subject.flavour}", render("dpkg/apt.conf", words))]
