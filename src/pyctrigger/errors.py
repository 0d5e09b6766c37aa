"""What can go wrong with the machinery: one root, plain classes, an exit code on each class.

Trouble with a single file is no exception but a value, see `pyctrigger.outcome.outcome`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a command ends with, and what that means. The manual and the reference are made of it; codes only ever get more.
EXIT_CODES = {
    0: "Done.",
    1: "Some file failed, there are findings, what was to be measured doesn't run, or root's rights are needed.",
    2: "Wrong usage or configuration.",
    3: "Not everything could be examined.",
    69: "The target interpreter is missing or broken.",
    70: "A defect of pyctrigger's own.",
    74: "What it had to say could not be written to standard output; the work itself was done.",
    75: "The lock was not free in time.",
    77: "Refused: somebody else could change the interpreter, configuration or state that root is asked to trust.",
    130: "Interrupted from the keyboard; running it again finishes the work.",
}


class PyctriggerError(Exception):
    """Root of all exceptions that pyctrigger raises.

    `exit_code` is what a command ends with, `message` says what happened (path and reason), and `mend` what the
    reader can do about it: for each error, or `usual_mend` for all of a class.
    """

    exit_code: ClassVar[int] = 70
    usual_mend: ClassVar[str | None] = None

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend or self.usual_mend

    def __str__(self) -> str:
        return f"{self.message}; {self.mend}" if self.mend else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by its class's own arguments: another process is told what it says.
        return _remade, (type(self), self.message, self.__dict__)


def _remade(kind: type[PyctriggerError], message: str, fields: dict[str, Any]) -> PyctriggerError:
    error = kind.__new__(kind)
    PyctriggerError.__init__(error, message)
    error.__dict__.update(fields)
    return error


class UsageError(PyctriggerError):
    """The call itself is wrong: an argument, or arguments that don't go together."""

    exit_code = 2


class NoEnvironmentError(UsageError):
    """A directory is no environment of the interpreter that was named."""


class NoLibraryError(UsageError):
    """Environments were named together with `--stdlib`, and have no standard library inside."""

    usual_mend = "leave out --stdlib"

    def __init__(self, places: Sequence[str], flavours: Sequence[str], elsewhere: Sequence[str]) -> None:
        named = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        lies = f"; it lies in {', '.join(elsewhere)}" if elsewhere else ""
        verb = "has" if len(places) == 1 else "have"
        super().__init__(f"--stdlib: {named} {verb} no standard library of {', '.join(flavours)}{lies}")
        self.places = tuple(places)
        self.flavours = tuple(flavours)
        self.elsewhere = tuple(elsewhere)

    @classmethod
    def of_all(cls, errors: Sequence[NoLibraryError]) -> NoLibraryError:
        """One for all."""
        fields = [(each.places, each.flavours, each.elsewhere) for each in errors]
        return cls(*(list(dict.fromkeys(name for part in parts for name in part)) for parts in zip(*fields)))


class OutsideScopeError(UsageError):
    """Paths were given that lie in no site directory of the target."""

    def __init__(self, paths: Sequence[str], flavour: str, site_directories: Sequence[str], *, mend: str) -> None:
        listed = ", ".join(paths)
        scope = ", ".join(site_directories) or "nothing that exists"
        super().__init__(f"outside the scope of {flavour}: {listed}", mend=f"the scope is {scope}; {mend}")
        self.paths = tuple(paths)


class ConfigurationError(PyctriggerError):
    """The configuration can't be used. `problems` holds every fault found, not only the first."""

    exit_code = 2

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = tuple(problems)


class InterpreterError(PyctriggerError):
    """The target interpreter is missing, broken, silent, or not what was asked for."""

    exit_code = 69
    usual_mend = "name another interpreter with --python PATH"


class InterpreterChangedError(InterpreterError):
    """The interpreter isn't the one that was probed: its magic number or cache tag differs."""

    usual_mend = "run it again once nothing replaces the interpreter any more"


class LockTimeoutError(PyctriggerError):
    """The lock of the installation was not free in time. `holder` describes who has it, where that is known."""

    exit_code = 75

    usual_mend = "wait for it to end, or raise --lock-timeout"

    def __init__(self, seconds: float, holder: str | None, *, mend: str | None = None) -> None:
        super().__init__(
            f"the lock was not free within {seconds:g} s, held by {holder or 'a process that left no note'}", mend=mend
        )
        self.holder = holder


class RefusedError(PyctriggerError):
    """Somebody else could change the interpreter, configuration or state that root is asked to trust."""

    exit_code = 77


class DeclinedError(PyctriggerError):
    """A person was asked, and the answer wasn't yes."""

    exit_code = 1


class RightsError(PyctriggerError):
    """This account has no right to write somewhere, and root has."""

    exit_code = 1
    usual_mend = "you need root"


class ShortageError(PyctriggerError):
    """The system has too little of something for us to go on: descriptors, or memory."""

    exit_code = 3
    usual_mend = "raise the limits that it runs under (ulimit -a)"


class InterruptedRunError(PyctriggerError):
    """Somebody pressed Ctrl-C. It is for who reads JSON; what ends the run is Python's own KeyboardInterrupt."""

    exit_code = 130
    usual_mend = "run it again to finish"


class OutputError(PyctriggerError):
    """Standard output can't be written: the disk is full, or the descriptor closed. Told at the end, never raised."""

    exit_code = 74
    usual_mend = "make room, or send the output elsewhere"


class UnexaminedError(PyctriggerError):
    """A part of what was named could not be looked at."""

    exit_code = 3


class MeasurementError(PyctriggerError):
    """What was to be measured doesn't run: a module that isn't there, a crash, a time-out."""

    exit_code = 1


class DefectError(PyctriggerError):
    """A defect of pyctrigger's own."""

    usual_mend = "run it again with -vv, and report what that prints"
