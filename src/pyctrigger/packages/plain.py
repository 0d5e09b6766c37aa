"""A plain hook for whatever isn't known here: a program that takes the touched paths as its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hook import HookFile, render, shell

if TYPE_CHECKING:
    from .hook import Subject


def hooks(subject: Subject) -> list[HookFile]:
    """The one file. Where it is called from, only its administrator knows."""
    words = {"PROGRAM": shell(subject.program), "PYTHON": shell([subject.python])}
    text = render("sh/pyctrigger-hook", words)
    return [HookFile(f"/usr/local/libexec/pyctrigger-hook-{subject.name}", text, 0o755)]
