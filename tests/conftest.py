"""What the tests share: the command, a site directory, the interpreters of the machine, and when to skip."""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

from command import Command
from environment import CHECKOUT
from interpreters import (
    Interpreter,
    ends,
    expected_flavours,
    find_interpreters,
    missing_flavours,
    one_per_flavour,
)
from separation import separable, separate
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from confinement import Machine

# What a person's `run` serves that names nothing, were the tests started in an environment that is active.
for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
    os.environ.pop(variable, None)
# How long an example takes says nothing on a machine that is shared.
settings.register_profile("patient", deadline=None)
# A fuzz by hand, for as long as somebody has patience.
settings.register_profile("long", deadline=None, max_examples=100_000)
settings.load_profile(os.environ.get("PYCTRIGGER_TEST_PROFILE", "patient"))


#: Characters of a row's name.
_LONGEST_NAME = 200
#: Side by side, modules that begin with minutes of work in one process, or end with it, come before all others; and
#: the second that needs a Debian comes when the first has made it.
LONGEST_FIRST = (
    "test_dpkg",
    "test_pkg_trigger",
    "test_crashes",
    "test_documents",
    "test_first_hour",
    "test_rpm",
    "test_pacman",
    "test_debian_sid",
    "test_every_syscall",
    "test_writes",
    "test_soak",
    "test_user_namespaces",
    "test_glance",
    "test_flat_directory",
    "test_interruption",
    "test_concurrent_runs",
    "test_real_packages",
)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """The name of a row that is too long to be one: a text of a megabyte can't be asked for."""
    if isinstance(val, (str, bytes)) and len(val) > _LONGEST_NAME:
        return f"{argname} of {len(val)}"
    if isinstance(val, int) and val.bit_length() > _LONGEST_NAME:
        return f"{argname} of {val.bit_length()} bits"
    return None


def absent(what: str) -> NoReturn:
    """Skip, with the reason; under `CI=true`, where nobody reads that, fail."""
    if os.environ.get("CI") == "true":
        raise pytest.fail.Exception(f"missing under CI: {what}")
    raise pytest.skip.Exception(what)


def pytest_configure(config: pytest.Config) -> None:
    """Side by side (pytest-xdist's `-n`) each process has places of its own: two would wait for each other's locks."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell without job control starts what it puts into the background, and all commands would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        runtime = tempfile.mkdtemp(prefix="pyctrigger-runtime-")
        config.add_cleanup(lambda: shutil.rmtree(runtime))
        separate(runtime)
        return
    if config.getoption("tx", None) and not separable():
        raise pytest.UsageError("as root tests run side by side only where unshare(2) is allowed; leave -n out")
    # As pip does when it installs. Where PYTHONDONTWRITEBYTECODE is set, each of the thousands of commands that the
    # tests start would compile all of it. A checkout that can't be written has to do without.
    compileall.compile_dir(CHECKOUT / "src", quiet=2)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, tests that share an expensive fixture go to one process, and what takes longest starts first."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        sharing = _sharing(item)
        if sharing is not None:
            item.add_marker(pytest.mark.xdist_group(sharing))
    ranks = {stem: rank for rank, stem in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def _sharing(item: pytest.Item) -> str | None:
    """The module or class whose fixtures a test uses; None where they are the test's own, or the whole session's."""
    assert isinstance(item, pytest.Function)
    scopes = {each.scope for every in item._fixtureinfo.name2fixturedefs.values() for each in every if each.baseid}
    if "module" in scopes:
        # What is made for one target, or in one system, serves no other.
        params = item.callspec.params if hasattr(item, "callspec") else {}
        target = params.get("interpreter", params.get("original", ""))
        return f"{item.path.stem}-{getattr(target, 'flavour', target)}"
    return f"{item.path.stem}-{item.cls.__name__}" if "class" in scopes and item.cls is not None else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `interpreter` runs once for each flavour of this machine, and for each that is missing."""
    if "interpreter" in metafunc.fixturenames:
        found = one_per_flavour(find_interpreters())
        missing = missing_flavours(found, expected_flavours(found))
        if metafunc.definition.get_closest_marker("few_targets"):
            found, missing = ends(found), [each for each in missing if each.startswith("pypy")]
        parameters: list[Interpreter | str] = [*found, *missing]
        names = [each if isinstance(each, str) else each.flavour for each in parameters]
        metafunc.parametrize("interpreter", parameters, ids=names, indirect=True)


@pytest.fixture
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """One target; a flavour that should be on this machine and isn't ends here."""
    found = request.param
    if not isinstance(found, Interpreter):
        absent(f"no {found} on this machine")
    return found


@pytest.fixture(scope="session")
def interpreters() -> list[Interpreter]:
    """One target of each flavour."""
    return one_per_flavour(find_interpreters())


@pytest.fixture(scope="session")
def newest(interpreters: list[Interpreter]) -> Interpreter:
    """The newest CPython of this machine."""
    return [each for each in interpreters if each.implementation == "cpython"][-1]


@pytest.fixture(scope="session")
def oldest(interpreters: list[Interpreter]) -> Interpreter:
    """The oldest CPython of this machine: what is slow there stays slow."""
    return next(each for each in interpreters if each.implementation == "cpython")


@pytest.fixture(scope="session")
def outsider(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """The newest CPython, outside of the standard directories: a copy of it where it is the system's own."""
    from installations import make_prefix
    from pyctrigger.interpreter.flavour import directories

    if os.path.dirname(newest.path) not in directories():
        return newest
    prefix = tmp_path_factory.mktemp("outsider")
    library = make_prefix(newest, prefix)
    return replace(newest, path=str(prefix / "bin" / library.name), prefix=str(prefix))


def require_two(oldest: Interpreter, newest: Interpreter) -> None:
    """For what takes two CPythons."""
    if oldest == newest:
        absent("needs two CPythons")


@pytest.fixture(scope="session")
def every_format(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One archive of each kind that `archives` builds, by its name, all of one tree with bytecode."""
    from archives import BUILDERS, build, compile_tree, package_tree

    top = tmp_path_factory.mktemp("formats")
    tree = package_tree(top / "tree")
    compile_tree(newest, tree)
    return {name: build(name, tree, top / f"{number}") for number, name in enumerate(BUILDERS)}


@pytest.fixture(scope="session")
def strace() -> str:
    """The tool, where it may be used."""
    tool = find_tool("strace")
    if tool is None:
        absent("no strace on this machine (Debian package strace)")
    if subprocess.run([tool, "-o", os.devnull, "true"], capture_output=True, check=False).returncode != 0:
        absent("rights to trace a process")
    return tool


@pytest.fixture
def as_root() -> None:
    """For what only root can do or suffer."""
    if os.geteuid() != 0:
        absent("needs root")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty site directory."""
    site = tmp_path / "site"
    site.mkdir()
    return site


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[str]:
    """The options for this tree and the newest CPython."""
    return ["--python", newest.path, "--site-dir", str(site)]


@pytest.fixture
def pyctrigger(tmp_path: Path) -> Command:
    """The command, with a state directory of this test's own."""
    return Command(tmp_path / "state")


@pytest.fixture
def machine(tmp_path: Path, pyctrigger: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Where no other process takes the locks."""
    from confinement import own_machine

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    with own_machine(pyctrigger, tmp_path / "run") as machine:
        yield machine
