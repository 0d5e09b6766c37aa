"""A plain hook for any other tool: a program that takes the touched paths as arguments."""

from __future__ import annotations

from .hook import HookFile, Subject, render, shell


def hooks(subject: Subject) -> list[HookFile]:
    """Returns the one file. The administrator decides what calls it."""
    words = {"PROGRAM": shell(subject.program), "PYTHON": shell([subject.python])}
    text = render("sh/pyctrigger-hook", words)
    return [HookFile(f"/usr/local/libexec/pyctrigger-hook-{subject.name}", text, 0o755)]
