"""Which Python a hook is for, according to `--python`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ...errors import PyctriggerError
from ...interpreter.flavour import Flavour, installed
from ...interpreter.interpreter import environment_of
from ...interpreter.scope import own_directories
from ...packages.hook import Subject
from ...state.probed import ProbedInterpreters


def subjects(pythons: Sequence[str], program: tuple[str, ...], site_dirs: tuple[str, ...]) -> Iterator[Subject]:
    """Yields each of these Pythons, or all in the standard directories, once. Raises UsageError, InterpreterError."""
    seen = set()
    for python in pythons or [os.path.basename(path) for path in installed()]:
        try:
            subject = subject_of(python, program, site_dirs)
        except PyctriggerError:
            if pythons:
                raise
            continue  # found by its name, which doesn't say what it is
        if subject.name not in seen:
            seen.add(subject.name)
            yield subject


def subject_of(python: str, program: tuple[str, ...], site_dirs: tuple[str, ...]) -> Subject:
    """Returns what a hook is for, with the path that it has to name, if any. Raises UsageError, InterpreterError.

    By a version alone nothing is started, so that a hook looks the same wherever it is made. A name such as `python3`
    is the version that it has now: a hook's own name and paths are one flavour's. Another executable than the first of
    its version is asked for its own directories, and its hook has a name of its own.
    """
    flavour = Flavour.parse(python)
    if flavour.path is None:
        return _subject_of_version(flavour, program, site_dirs)
    interpreter = ProbedInterpreters(None).ask(flavour.path)
    found = interpreter.kind
    is_first = is_first_of_version(flavour.path, found)
    if is_first and flavour.called is not None:
        return _subject_of_version(found, program, site_dirs)
    own = own_directories(interpreter)
    installation = interpreter.installation_in(None, interpreter.environment)
    return _subject_of_version(found, program, site_dirs or tuple(dict.fromkeys(own.packages)))._replace(
        libraries=tuple(dict.fromkeys(own.library)),
        path=flavour.path,
        digest="" if is_first else installation.rpartition("-")[2],
    )


def other_names(subject: Subject) -> list[str]:
    """Returns the other name of a version's first executable: its path, or, for that path, the version."""
    return [subject.version] if subject.path else Flavour.parse(subject.version).candidates()[:1]


def is_first_of_version(path: str, flavour: Flavour) -> bool:
    """Whether an executable is the one that its version alone means. An environment's own never is."""
    first = flavour.candidates()[:1]
    return environment_of(path) is None and [os.path.realpath(path)] == [os.path.realpath(each) for each in first]


def _subject_of_version(flavour: Flavour, program: tuple[str, ...], site_dirs: tuple[str, ...]) -> Subject:
    return Subject(flavour.name, flavour.dotted, flavour.library, flavour.cache_tag, program, site_dirs)
