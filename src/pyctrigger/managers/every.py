"""Every package manager that pyctrigger knows, by the name that `--manager` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .apk import Apk
from .dpkg import Dpkg
from .pacman import Pacman
from .pkg import Pkg
from .rpm import Rpm

if TYPE_CHECKING:
    from .manager import Manager

MANAGERS: dict[str, type[Manager]] = {kind.name: kind for kind in (Pkg, Dpkg, Rpm, Pacman, Apk)}
