"""The steps that transactions are made of, as values: drawn beforehand, carried out and printed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from .site import FileChange


class Changes(NamedTuple):
    """A package manager, or a person with an editor, changes files."""

    what: str
    """In words."""
    changes: tuple[FileChange, ...]


class Hook(NamedTuple):
    """One call of the hook."""

    flavour: int
    """Which of the interpreters."""
    told: tuple[bytes, ...] | None
    """Paths below the site directory, or absolute ones; None: no list at all, which means everything."""
    event: str = "unknown"
    manager: str | None = None
    jobs: int | None = None
    deferred: bool = False
    kill: str = ""
    """What of it is killed: the host, a worker, or all at once; "" nothing."""
    when: float = 0.0
    """After which share of the time that hooks take."""


class Round(NamedTuple):
    """Hooks, all at once or one after the other, with others at work."""

    hooks: tuple[Hook, ...]
    at_once: bool
    persons: tuple[tuple[str, int], ...] = ()
    """Verbs of a person's, each with the flavour that it is about; they run beside the first hook."""
    importers: tuple[tuple[int, bool], ...] = ()
    """The interpreters that import meanwhile, each with whether it is killed in the end."""
    free: int | None = None
    """So many bytes are left on the file system of the tree."""
    changes: tuple[FileChange, ...] = ()
    """What a package manager does meanwhile, which hooks have been told of."""


class KeepCopy(NamedTuple):
    """A backup takes the tree or the state."""

    of: str


class Lose(NamedTuple):
    """The state directory is removed."""


class GoBack(NamedTuple):
    """The tree or the state becomes what it was in the last copy."""

    of: str
    synchronised: bool = False
    """File by file, where else all of it is put in place anew."""


class Damage(NamedTuple):
    """Something in the state directory is damaged."""

    what: str
    """manifest or journal."""
    where: float
    """After which share of the file's bytes."""
    cut: bool
    """Cut off there; else other bytes are written there."""


class Strangers(NamedTuple):
    """Other programs write files beside the pycs."""

    files: tuple[tuple[bytes, bytes], ...]


Step = Union[Changes, Round, KeepCopy, Lose, GoBack, Damage, Strangers]


def in_words(step: Step) -> str:
    """One line for people."""
    if isinstance(step, Changes):
        paths = " ".join(
            f"{'-' if each.file is None else '+'}{each.path.decode(errors='backslashreplace')!r}"
            for each in step.changes[:40]
        )
        return f"{step.what}: {paths}{' …' if len(step.changes) > 40 else ''}"
    if isinstance(step, Strangers):
        return f"Strangers {[path for path, _ in step.files]}"
    if isinstance(step, Round):
        return repr(step._replace(changes=())) + (f" with {len(step.changes)} changes" if step.changes else "")
    return repr(step)
