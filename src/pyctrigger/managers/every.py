"""Every package manager that pyctrigger knows, by the name that `--manager` takes, and every kind of hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import plain
from .apk import Apk
from .dpkg import Dpkg
from .pacman import Pacman
from .pkg import Pkg
from .rpm import Rpm

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hook import HookFile, Subject
    from .manager import Manager

MANAGERS: dict[str, type[Manager]] = {kind.name: kind for kind in (Pkg, Dpkg, Rpm, Pacman, Apk)}

#: What makes a manager, or `sh`, call pyctrigger.
HOOKS: dict[str, Callable[[Subject], list[HookFile]]] = {
    **{name: kind.hooks for name, kind in MANAGERS.items()},
    "sh": plain.hooks,
}
