"""Errors that end a command: one root class, plain subclasses, an exit code on each.

A problem with a single file is a value, not an exception: see `pyctrigger.outcome.outcome`.
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence

from .typed import Any, ClassVar

#: Exit codes and their meaning. Manual and reference are generated from this table; codes are only ever added.
EXIT_CODES = {
    0: "Done.",
    1: (
        "Some file failed, there are findings, `doctor` names something to do, a question was not answered with yes, "
        "the module to measure doesn't run, or root's rights are needed."
    ),
    2: "Wrong usage or configuration.",
    3: "Not everything could be examined.",
    69: "The target interpreter is missing or broken.",
    70: "A defect of pyctrigger's own.",
    74: "Standard output could not be written; the work itself was done.",
    75: "The lock was not free in time.",
    77: "Refused: somebody else could change the interpreter, configuration or state that root is asked to trust.",
    130: "Interrupted from the keyboard; running it again finishes the work.",
}


def name_few(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names in a list for a message: `a, b, c and 4 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def hint_for_place(error: OSError, otherwise: str) -> str:
    """Returns what to do about a place that this account may not look at; for any other error what is to be done."""
    return "run it as an account that may look there" if isinstance(error, PermissionError) else otherwise


class PyctriggerError(Exception):
    """Root of all exceptions that pyctrigger raises.

    `exit_code` is the command's exit code, `message` says what happened (path and reason), and `hint` what the user can
    do about it. A class without a hint of its own for each error has one in `usual_hint`.
    """

    exit_code: ClassVar[int] = 70
    usual_hint: ClassVar[str | None] = None
    #: Whether the hook that it ended has its work in the journal.
    is_work_kept = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def add_hint(self, hint: str) -> None:
        """Say this as well, after the hint that there is."""
        self.hint = f"{self.hint}; {hint}" if self.hint else hint

    def parts(self) -> list[PyctriggerError]:
        """Returns what is wrong, one by one: each is a line for people, and an entry for programs."""
        return [self]

    def __reduce__(self) -> tuple[Any, ...]:
        # By its fields: subclasses take other arguments than the message, and errors are pickled between processes.
        return copyreg.__newobj__, (type(self), self.message), self.__dict__  # type: ignore[attr-defined]


class UsageError(PyctriggerError):
    """The command line is wrong: an invalid argument, or arguments that exclude each other."""

    exit_code = 2


class NoEnvironmentError(UsageError):
    """A directory isn't an environment of the given interpreter."""


class NoLibraryError(UsageError):
    """Environments were given together with `--stdlib`, but contain no standard library."""

    usual_hint = "leave out --stdlib"

    def __init__(self, places: Sequence[str], flavours: Sequence[str], elsewhere: Sequence[str]) -> None:
        lies = f"; it is in {', '.join(elsewhere)}" if elsewhere else ""
        verb = "has" if len(places) == 1 else "have"
        super().__init__(f"--stdlib: {name_few(places)} {verb} no standard library of {', '.join(flavours)}{lies}")
        self.places = tuple(places)
        self.flavours = tuple(flavours)
        self.elsewhere = tuple(elsewhere)

    @classmethod
    def of_all(cls, errors: Sequence[NoLibraryError]) -> NoLibraryError:
        """Returns one error for the places and flavours of all of them."""
        fields = [(each.places, each.flavours, each.elsewhere) for each in errors]
        return cls(*(list(dict.fromkeys(name for part in parts for name in part)) for parts in zip(*fields)))


class OutsideScopeError(UsageError):
    """Some of the given paths lie in none of the target's site directories."""

    def __init__(self, paths: Sequence[str], flavour: str, site_directories: Sequence[str], *, hint: str) -> None:
        listed = ", ".join(paths)
        scope = ", ".join(site_directories) or "nothing that exists"
        super().__init__(f"outside the scope of {flavour}: {listed}", hint=f"the scope is {scope}; {hint}")
        self.paths = tuple(paths)


class ConfigurationError(PyctriggerError):
    """The configuration is invalid. `problems` has all that is wrong with it, each with what to write instead."""

    exit_code = 2

    def __init__(self, path: str, problems: Sequence[tuple[str, str | None]]) -> None:
        hint = problems[0][1] if len(problems) == 1 else None
        super().__init__("\n".join(f"{path}: {reason}" for reason, _ in problems), hint=hint)
        self.path = path
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return super().__str__() if len(self.problems) == 1 else "\n".join(map(str, self.parts()))

    def parts(self) -> list[PyctriggerError]:
        if len(self.problems) == 1:
            return [self]
        found: list[PyctriggerError] = [type(self)(self.path, [problem]) for problem in self.problems]
        if self.hint:
            found[-1].add_hint(self.hint)
        return found


class InterpreterError(PyctriggerError):
    """The target interpreter is missing or broken, doesn't answer, or isn't the one that was asked for."""

    exit_code = 69
    usual_hint = "name another interpreter with --python PATH"


class InterpreterChangedError(InterpreterError):
    """The interpreter isn't the one that was probed: its magic number or cache tag differs."""

    usual_hint = "run it again when the upgrade of the interpreter has finished"


class LockTimeoutError(PyctriggerError):
    """The installation's lock was not free in time. `holder` describes the process that holds it, if known."""

    exit_code = 75

    usual_hint = "wait for it to end, or raise --lock-timeout"

    def __init__(self, seconds: float, holder: str | None, *, hint: str | None = None) -> None:
        super().__init__(
            f"the lock was not free within {seconds:g} s, held by {holder or 'an unknown process'}", hint=hint
        )
        self.holder = holder


class RefusedError(PyctriggerError):
    """Somebody else could change the interpreter, configuration or state that root is asked to trust."""

    exit_code = 77


class DeclinedError(PyctriggerError):
    """The user was asked to confirm, and didn't say yes."""

    exit_code = 1
    usual_hint = "answer y, or pass -y"


class RightsError(PyctriggerError):
    """This account may not write somewhere, but root may."""

    exit_code = 1
    usual_hint = "you need root"


class ShortageError(PyctriggerError):
    """The system is out of a resource that is needed: file descriptors, or memory."""

    exit_code = 3
    usual_hint = "raise the resource limits (see ulimit -a)"


class InterruptedRunError(PyctriggerError):
    """The run was interrupted by Ctrl-C. Only reported in JSON: Python's own KeyboardInterrupt ends the run."""

    exit_code = 130
    usual_hint = "run it again to finish"


class OutputError(PyctriggerError):
    """Standard output can't be written (disk full, descriptor closed). Reported at the end, never raised."""

    exit_code = 74
    usual_hint = "free some space, or redirect the output"


class UnexaminedError(PyctriggerError):
    """Some of the given paths could not be examined."""

    exit_code = 3


class ManagerError(PyctriggerError):
    """A package manager's database exists, but can't be read; the message says which, and why."""

    exit_code = 3


class MeasurementError(PyctriggerError):
    """The module to measure doesn't run: it is missing, crashes, or times out."""

    exit_code = 1


class DefectError(PyctriggerError):
    """A defect of pyctrigger's own."""

    usual_hint = "run it again with -vv, and report what that prints"
