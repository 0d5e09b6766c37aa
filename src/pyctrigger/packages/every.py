"""Every package manager that pyctrigger knows, by the name that `--manager` takes, and every kind of hook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import plain
from .apk import Apk
from .dpkg import Dpkg
from .hook import HookPlaces
from .pacman import Pacman
from .pkg import Pkg
from .rpm import Rpm

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hook import HookFile, Subject
    from .manager import Manager

MANAGERS: dict[str, type[Manager]] = {kind.name: kind for kind in (Pkg, Dpkg, Rpm, Pacman, Apk)}

#: Where each of them, and `sh`, looks for hooks that are files; rpm's are parts of packages.
HOOK_PLACES: dict[str, HookPlaces] = {
    # The names that apt reads (apt.conf(5)), that alpm reads (alpm-hooks(5)), and that pkg reads (pkg-triggers(5)).
    "dpkg": HookPlaces(("/etc/apt/apt.conf.d",), re.compile(r"[\w-]+(?:\.conf)?\Z", re.ASCII)),
    "pacman": HookPlaces(("/etc/pacman.d/hooks", "/usr/share/libalpm/hooks"), re.compile(r".*\.hook\Z", re.DOTALL)),
    "pkg": HookPlaces(("/usr/local/share/pkg/triggers",), re.compile(r".*\.ucl\Z", re.DOTALL)),
    "apk": HookPlaces(("/etc/apk/commit_hooks.d",), re.compile(r"[^.]"), is_program=True),
    "sh": HookPlaces(("/usr/local/libexec",), re.compile("pyctrigger-hook-"), is_program=True),
}

#: What makes a manager, or `sh`, call pyctrigger.
HOOKS: dict[str, Callable[[Subject], list[HookFile]]] = {
    **{name: kind.hooks for name, kind in MANAGERS.items()},
    "sh": plain.hooks,
}
