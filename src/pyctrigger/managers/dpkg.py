"""dpkg: one list of paths for each package, in `/var/lib/dpkg/info` (dpkg-query(1), FILES)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .manager import Manager, pycs_in_list, read

if TYPE_CHECKING:
    from collections.abc import Iterator


class Dpkg(Manager):
    """Debian's."""

    database = "/var/lib/dpkg/info"

    def owned_pycs(self) -> Iterator[bytes]:
        directory = self.inside(self.database)
        for name in os.listdir(directory):
            if name.endswith(".list"):
                yield from pycs_in_list(read(os.path.join(directory, name)))
