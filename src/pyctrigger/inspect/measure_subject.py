"""What is measured: modules to import or a script to run, and how a target starts it on a private tree of bytecode."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import RefusedError, UsageError
from ..interpreter.child import BOOTSTRAP, PROGRAMS, open_file
from ..interpreter.scope import own_directories
from ..interpreter.trust import account_for
from ..run.scope.target import no_directory
from ..tree.source import LARGEST_SOURCE
from .measure_process import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..interpreter.interpreter import Interpreter

#: What decides where a program keeps its own files; they go below a home of the measurement's own.
_HOMES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")


class Subject(NamedTuple):
    """Modules, or a script with its arguments."""

    modules: tuple[str, ...] = ()
    script: str | None = None
    """Absolute path."""
    arguments: tuple[str, ...] = ()
    """The script's."""
    site_dirs: tuple[str, ...] = ()
    """These instead of the target's own."""

    def check(self) -> None:
        """Raise UsageError for what can't be measured."""
        if self.script is None and not self.modules:
            raise UsageError("nothing to measure", hint="name the modules to import, or a script with --script FILE")
        for name in self.modules:
            if not all(part.isidentifier() for part in name.split(".")):
                raise UsageError(
                    f"{name}: no module's name", hint="name modules as an import statement does: PIL, not Pillow"
                )
        if self.script is not None and not os.path.isfile(self.script):
            raise UsageError(f"--script {self.script}: no such file", hint="name a Python program")
        for path in self.site_dirs:
            if not os.path.isdir(path):
                raise no_directory("--site-dir", path)

    def require_bounded(self, interpreter: Interpreter) -> None:
        """Raise UsageError for what the target would read whole, and of which no run makes bytecode."""
        directories = own_directories(interpreter)
        places = [*(self.site_dirs or directories.packages), *directories.library]
        stems = [os.path.join(place, *name.split(".")) for name in self.modules for place in places]
        sources = [each for stem in stems for each in (f"{stem}.py", f"{stem}/__init__.py")]
        for path in [*sources, *filter(None, [self.script])]:
            with contextlib.suppress(OSError):
                if os.stat(path).st_size > LARGEST_SOURCE:
                    raise UsageError(f"{path}: larger than {LARGEST_SOURCE >> 20} MiB", hint="measure something else")

    def require_own(self, interpreter: Interpreter) -> None:
        """Raise RefusedError where root would run what belongs to somebody else, or what others may change."""
        account = interpreter.account
        own = filter(os.path.isdir, own_directories(interpreter).packages)
        for path in self.site_dirs or own:
            account = account or account_for(path, "site directory")
        if self.script is not None:
            account = account or account_for(self.script, "script")
        if account is not None:
            raise RefusedError(
                f"root runs no modules that account {account.uid} could change", hint="run it as that account"
            )


class Starter(NamedTuple):
    """Starts one subject in one target."""

    interpreter: Interpreter
    subject: Subject
    home: str
    """A directory for whatever is started to call its own."""

    @contextlib.contextmanager
    def on(self, tree: str, *, writes: bool) -> Iterator[Command]:
        """The command that finds its bytecode in `tree`; only if `writes` it puts some there.

        Raises OSError.
        """
        program = self._program() if self._needs_program else None
        try:
            yield Command(
                line=self._line(tree, program),
                environment=self._environment(tree, writes=writes),
                directory=_current_directory() if self.subject.script else os.path.join(self.home, "empty"),
                writable=(self.home, tree) if writes else (self.home,),
                keep=() if program is None else (program,),
            )
        finally:
            if program is not None:
                os.close(program)

    def _program(self) -> int:
        (file,) = PROGRAMS["start"]
        return open_file(file)

    @property
    def _needs_program(self) -> bool:
        """3.6 and 3.7 know no pycache prefix, and nobody else knows other site directories."""
        return self.interpreter.version < (3, 8, 0) or bool(self.subject.site_dirs)

    def _line(self, tree: str, program: int | None) -> tuple[str, ...]:
        subject, executable = self.subject, self.interpreter.executable
        if program is not None:
            what = ("modules", *subject.modules) if subject.script is None else ("script", subject.script)
            sites = (str(len(subject.site_dirs)), *subject.site_dirs)
            return (executable, "-S", "-c", BOOTSTRAP, str(program), tree, *sites, *what, *subject.arguments)
        if subject.script is None:
            return (executable, "-c", f"import {', '.join(subject.modules)}")
        return (executable, subject.script, *subject.arguments)

    def _environment(self, tree: str, *, writes: bool) -> dict[str, str]:
        """Everybody's own, for root a plain one; of Python's variables only those that the measurement needs."""
        if os.geteuid() == 0:
            environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONNOUSERSITE": "1"}
        else:
            environment = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith("PYTHON") and name not in _HOMES
            }
            environment["PYTHONUSERBASE"] = os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")
        environment["HOME"] = self.home
        environment["TMPDIR"] = os.path.join(self.home, "tmp")
        environment["PYTHONPYCACHEPREFIX"] = tree
        if not writes:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return environment


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the current directory is gone", hint="start from one that is there") from error
