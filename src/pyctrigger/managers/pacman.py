"""pacman: a directory for each package in `/var/lib/pacman/local`, its paths, without the leading slash, in `files`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .manager import Manager, pycs_in_list, read

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pacman(Manager):
    """Arch's."""

    database = "/var/lib/pacman/local"

    def owned_pycs(self) -> Iterator[bytes]:
        directory = self.inside(self.database)
        for name in os.listdir(directory):
            path = os.path.join(directory, name, "files")
            if os.path.isfile(path):
                yield from pycs_in_list(read(path), prefix=b"/")
