"""All supported package managers, by the name that `--manager` takes, and all kinds of hooks."""

from __future__ import annotations

import re
from collections.abc import Callable

from .apk import Apk
from .dpkg import Dpkg
from .hook import HookFile, HookPlaces, Subject, render
from .manager import Manager
from .pacman import Pacman
from .pkg import Pkg
from .rpm import Rpm

MANAGERS: dict[str, type[Manager]] = {kind.name: kind for kind in (Pkg, Dpkg, Rpm, Pacman, Apk)}

#: Where each of them, and `sh`, looks for hook files. rpm's hooks are part of packages.
HOOK_PLACES: dict[str, HookPlaces] = {
    # File names that apt (apt.conf(5)), alpm (alpm-hooks(5)) and pkg (pkg-triggers(5)) read.
    "dpkg": HookPlaces(("/etc/apt/apt.conf.d",), re.compile(r"[\w-]+(?:\.conf)?\Z", re.ASCII)),
    "pacman": HookPlaces(("/etc/pacman.d/hooks", "/usr/share/libalpm/hooks"), re.compile(r".*\.hook\Z", re.DOTALL)),
    "pkg": HookPlaces(("/usr/local/share/pkg/triggers",), re.compile(r".*\.ucl\Z", re.DOTALL)),
    "apk": HookPlaces(("/etc/apk/commit_hooks.d",), re.compile(r"[^.]"), is_program=True),
    "sh": HookPlaces(("/usr/local/libexec",), re.compile("pyctrigger-hook-"), is_program=True),
}


def plain_hooks(subject: Subject) -> list[HookFile]:
    """Returns a program that takes the touched paths as arguments, for any other tool to call."""
    text = render("sh/pyctrigger-hook", subject.shell_words)
    return [HookFile(f"/usr/local/libexec/pyctrigger-hook-{subject.name}", text, 0o755)]


#: Functions that return the hook files of a manager, or of `sh`.
HOOKS: dict[str, Callable[[Subject], list[HookFile]]] = {
    **{name: kind.hooks for name, kind in MANAGERS.items()},
    "sh": plain_hooks,
}
