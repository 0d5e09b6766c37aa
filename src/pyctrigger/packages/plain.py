"""A plain hook for any other tool: a program that takes the touched paths as arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hook import HookFile, render, shell

if TYPE_CHECKING:
    from .hook import Subject


def hooks(subject: Subject) -> list[HookFile]:
    """Returns the one file. The administrator decides what calls it."""
    words = {"PROGRAM": shell(subject.program), "PYTHON": shell([subject.python])}
    text = render("sh/pyctrigger-hook", words)
    return [HookFile(f"/usr/local/libexec/pyctrigger-hook-{subject.name}", text, 0o755)]
