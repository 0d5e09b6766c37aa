"""What the tests share: the command, a site directory, the interpreters of the machine, and when to skip."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

from command import Command
from interpreters import Interpreter, expected_flavours, find_interpreters, missing_flavours, one_per_flavour

if TYPE_CHECKING:
    from pathlib import Path

# How long an example takes says nothing on a machine that is shared.
settings.register_profile("patient", deadline=None)
# A fuzz by hand, for as long as somebody has patience.
settings.register_profile("long", deadline=None, max_examples=100_000)
settings.load_profile(os.environ.get("PYCTRIGGER_TEST_PROFILE", "patient"))


def absent(what: str) -> NoReturn:
    """Skip, with the reason; under `CI=true`, where nobody reads that, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing under CI: {what}")
    pytest.skip(what)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `interpreter` runs once for each flavour of this machine, and for each that is missing."""
    if "interpreter" in metafunc.fixturenames:
        found = one_per_flavour(find_interpreters())
        missing = missing_flavours(found, expected_flavours(found))
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
def every_format(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One archive of each kind that `archives` builds, by its name, all of one tree with bytecode."""
    from archives import BUILDERS, build, compile_tree, package_tree

    top = tmp_path_factory.mktemp("formats")
    tree = package_tree(top / "tree")
    compile_tree(newest, tree)
    return {name: build(name, tree, top / f"{number}") for number, name in enumerate(BUILDERS)}


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
def pyctrigger(tmp_path: Path) -> Command:
    """The command, with a state directory of this test's own."""
    return Command(tmp_path / "state")
