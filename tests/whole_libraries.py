"""Whole standard libraries, their tests included, of every interpreter at hand and of a Debian sid: each ends with 0.

`nox -s stdlib` copies each library's sources into a prefix, or into a Debian of its own, and lets pyctrigger compile
them all: nothing fails, the second run has nothing to do, `verify` finds nothing, and without bytecode are those that
the installation of the same version leaves out, and no others. Where the tests are a package of their own that isn't
installed, it is downloaded. Exit 1: something of this is not so; 2: some library had no tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
sys.path.insert(1, str(Path(__file__).resolve().parent / "support/systems"))

import command as commands
import corpus
from command import Command
from debian_chroot import EXECUTABLES, sid_chroot
from interpreters import find_interpreters, one_per_flavour
from libraries import copy_sources, left_out, library_of, sources_of
from packages import pycs_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from command import Argument
    from interpreters import Interpreter

LEVELS = (0, 1, 2)
_MIRROR = "deb [check-valid-until=no] http://deb.debian.org/debian sid main"  # a mirror may stand still
_TESTS_INSIDE = ("libpython3.14-testsuite", "libpython3.15-testsuite", "pypy3-lib-testsuite")


def main() -> int:
    """The exit code."""
    commands.PATIENCE = 3600  # PyPy compiles a library at three levels for minutes, and a machine may be busy
    codes = [_check_installed(interpreter) for interpreter in one_per_flavour(find_interpreters())]
    return max([*codes, *_check_sid()])


def _check_installed(interpreter: Interpreter) -> int:
    library = library_of(interpreter)
    sources = sources_of(library)
    broken = left_out(library, sources)
    with tempfile.TemporaryDirectory(prefix="pyctrigger-stdlib-", dir=corpus.memory()) as scratch:
        prefix = Path(scratch).resolve() / "prefix"
        copy = copy_sources(library, sources, prefix)
        if not broken:
            _add_tests(interpreter, prefix)
            sources = sources_of(copy)
            broken = left_out(library, sources)
        command = Command(prefix.parent / "state")
        return _check(command, ["--python", interpreter.path, "--prefix", prefix, "--stdlib"], copy, broken)


def _add_tests(interpreter: Interpreter, prefix: Path) -> None:
    """Debian has the tests in a package of their own; elsewhere, nothing."""
    version = "{}.{}".format(*interpreter.version)
    package = "pypy3-lib-testsuite" if interpreter.implementation == "pypy" else f"libpython{version}-testsuite"
    script = f"apt-get -qq download {package} && dpkg-deb -x {package}_*.deb . && cp -a usr/lib/. {prefix}/lib"
    subprocess.run(["sh", "-c", script], cwd=prefix.parent, check=False)


def _check_sid() -> list[int]:
    with sid_chroot() as sid:
        sid.outside("/etc/apt/sources.list").write_text(_MIRROR + "\n")
        for command in (["update"], ["-y", "--no-install-recommends", "install", *_TESTS_INSIDE]):
            done = sid.run("apt-get", "-qq", *command)
            assert done.code == 0, done.err
        codes = []
        for executable in EXECUTABLES:
            library = sid.outside("/usr/lib") / Path(executable).name
            for pyc in pycs_below(library):
                Path(pyc.decode()).unlink()  # Debian's own
            options = ["--python", executable, "--stdlib"]
            codes.append(_check(sid.command(), options, library, left_out(library, sources_of(library))))
        return codes


def _check(command: Command, options: Sequence[Argument], library: Path, broken: set[str]) -> int:
    """Compile a whole library, and print what came of it."""
    options = [*options, "--optimize", ",".join(map(str, LEVELS))]
    run = command.json("run", *options)
    again = command.json("run", *options)
    verified = command.json("verify", *options)
    made = {str(Path(pyc.decode()).relative_to(library)) for pyc in pycs_below(library)}
    meant = {*sources_of(library)} - broken
    expected = {_pyc(source, run.run["interpreter"]["cache_tag"], level) for source in meant for level in LEVELS}
    problems = [error["message"] for outcome in (run, again, verified) for error in outcome.document["errors"]]
    problems += [f"{failure['path']}: {failure['message']}" for failure in run.failures]
    problems += [f"{finding['kind']}: {finding['source']}" for finding in verified.findings]
    problems += [f"left out, or not: {path}" for path in sorted(made ^ expected)]
    if (run.code, again.code, again.counts["compiled"], verified.code) != (0, 0, 0, 0):
        problems.append(f"exit {run.code}, then {again.code}, and {verified.code} of verify")
    done = f"{run.run['flavour']}: {run.counts['compiled']:,} compiled, {len(broken)} left out"
    print(done, *problems, sep="\n  ", flush=True)
    if not broken:
        print("  it has no tests", flush=True)
        return 2
    return 1 if problems else 0


def _pyc(source: str, tag: str, level: int) -> str:
    directory, name = os.path.split(source[: -len(".py")])
    return os.path.join(directory, "__pycache__", f"{name}.{tag}{f'.opt-{level}' if level else ''}.pyc")


if __name__ == "__main__":
    sys.exit(main())
