"""Which interpreters a request means, on machines that have these and those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from children import in_child, public_directory
from pyctrigger.errors import NoEnvironmentError, PyctriggerError
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.packages import every
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.interpreters import find_interpreters, sharing
from pyctrigger.run.scope.request import Request, Running, Scope, Transaction, Work
from unit.interpreter.made_up import interpreter
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

NOT_FOUND = "no {} was found in the standard directories; "
#: How the hint of an error ends that lists what there is.
NAME_ANOTHER = "name another one with --python PATH"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Two of 3.11, one of 3.12, and a PyPy; 3.13 is broken, and 3.9 is none."""
    made = Machine(tmp_path, monkeypatch)
    made.put("local/python3.11", "3.11", prefix="/usr/local")
    made.put("bin/python3.11", "3.11")
    made.put("bin/python3.12", "3.12")
    made.put("bin/pypy3.9", "pypy3.9")
    made.put_broken("bin/python3.13")
    made.put("local/python3.9", "3.12", prefix="/opt")
    return made


def found_by(machine: Machine, request: Request, **settings: Any) -> list[str]:
    """What is found: flavours and executables, and errors."""
    return [
        f"{type(each).__name__}: {machine.short(each)}"
        if isinstance(each, PyctriggerError)
        else machine.short(f"{each.flavour} {each.executable}")
        for each in find_interpreters(request, Settings(**settings), machine.probed)
    ]


FORMS = "use 3.11, 3.13t, pypy3.11, py311, python3, or the path of an executable"
BROKEN = "InterpreterError: it is broken; name another interpreter with --python PATH"
OTHERS = "py311 T/local/python3.11, py39 T/local/python3.9, pypy39 T/bin/pypy3.9, py311 T/bin/python3.11"
FOUND = f"found: {OTHERS}, py312 T/bin/python3.12, py313 T/bin/python3.13; {NAME_ANOTHER}"
SHOULD_BE = "InterpreterError: T/local/python3.9 should be py39, but is py312; use --python py312, or correct py39's"
#: Values of --python, and what is found.
NAMED: list[tuple[tuple[str, ...], list[str]]] = [
    (("3.11",), ["py311 T/local/python3.11"]),
    (("py312", "pypy3.9"), ["py312 T/bin/python3.12", "pypy39 T/bin/pypy3.9"]),
    (("T/bin/python3.11",), ["py311 T/bin/python3.11"]),
    (("T/local/python3.9",), ["py312 T/local/python3.9"]),
    (("3.13", "3.12"), [BROKEN, "py312 T/bin/python3.12"]),
    (("3.9",), [f"{SHOULD_BE} executable in the configuration"]),
    (("3.10",), [f"InterpreterError: {NOT_FOUND.format('Python 3.10')}{FOUND}"]),
    (
        ("x",),
        [
            f"UsageError: --python x: not a version, name or path of a Python; {FORMS}",
        ],
    ),
]


@pytest.mark.parametrize(("pythons", "expected"), NAMED)
def test_named_interpreters(machine: Machine, pythons: tuple[str, ...], expected: list[str]) -> None:
    """The first of each; in the place of what can't be used, the error."""
    named = tuple(each.replace("T", str(machine.top)) for each in pythons)
    assert expected == found_by(machine, Request(Work.RUN, Scope(named)))


def test_the_next_one_serves_where_the_first_is_broken(machine: Machine) -> None:
    """Or is of another flavour; where all are, the first one's error is told."""
    machine.put_broken("local/python3.12", "the first")
    assert ["py312 T/bin/python3.12"] == found_by(machine, Request(Work.RUN, Scope(("3.12",))))
    machine.put_broken("bin/python3.12", "the second")
    assert ["InterpreterError: the first; name another interpreter with --python PATH"] == found_by(
        machine, Request(Work.RUN, Scope(("3.12",)))
    )
    machine.put("bin/python3.9", "3.9")
    assert ["py39 T/bin/python3.9"] == found_by(machine, Request(Work.RUN, Scope(("3.9",))))


def test_a_configured_interpreter_is_the_only_one_of_its_version(machine: Machine) -> None:
    """Whatever else there is; what is named by its path is meant itself."""
    path = machine.put("opt/python", "3.11", prefix="/opt")
    flavours = {
        "3.11": FlavourSettings(path),
        "3.12": FlavourSettings(f"{machine.top}/gone"),
        "3.14": FlavourSettings(),
    }
    machine.put("bin/python3.14", "3.14")
    request = Request(Work.RUN, Scope(("3.11", f"{machine.top}/bin/python3.11", "3.14")))
    assert ["py311 T/opt/python", "py311 T/bin/python3.11", "py314 T/bin/python3.14"] == found_by(
        machine, request, flavours=flavours
    )


# -- environments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def venv(machine: Machine) -> Path:
    """An environment of 3.12, which has packages of 3.11 as well."""
    venv = machine.top / "venv"
    for library in ("python3.12", "python3.11"):
        (venv / "lib" / library / "site-packages").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    machine.put("venv/bin/python", "3.12")
    return venv


ANOTHER = "NoEnvironmentError: T/venv is an environment of py312, not of {}; use --python py312, or leave it out"
#: Values of --python, and what serves the environment.
IN_ENVIRONMENT: list[tuple[tuple[str, ...], list[str]]] = [
    ((), ["py312 T/venv/bin/python"]),
    (("3.12",), ["py312 T/venv/bin/python"]),
    (("3.11",), ["py311 T/local/python3.11"]),
    (("pypy3.9",), [ANOTHER.format("pypy39")]),
    (("3.10",), [ANOTHER.format("py310")]),
    (("T/bin/python3.12",), ["py312 T/bin/python3.12"]),
    (("python3.12",), ["py312 T/venv/bin/python"]),
]


@pytest.mark.parametrize(("pythons", "expected"), IN_ENVIRONMENT)
def test_who_serves_an_environment(machine: Machine, venv: Path, pythons: tuple[str, ...], expected: list[str]) -> None:
    """Its own interpreter, or one that it has packages of."""
    named = tuple(each.replace("T", str(machine.top)) for each in pythons)
    assert expected == found_by(machine, Request(Work.RUN, Scope(named, prefixes=(str(venv),))))


def test_what_an_environment_calls_its_interpreter(machine: Machine, venv: Path) -> None:
    """By a name that isn't a version it is what the environment has by that name, of whatever flavour; else all."""
    machine.put("bin/python3", "3.11")
    request = Request(Work.RUN, Scope(("python3",), prefixes=(str(venv),)))
    assert ["py311 T/bin/python3"] == found_by(machine, request)
    machine.put("venv/bin/python3", "3.12")
    assert ["py312 T/venv/bin/python3"] == found_by(machine, request)
    assert ["py312 T/venv/bin/python", "py312 T/venv/bin/python"] == found_by(
        machine, Request(Work.RUN, Scope(prefixes=(str(venv), str(venv))))
    )


@pytest.mark.parametrize("name", ["python", "python3", "pypy3"])
def test_the_names_of_an_environments_interpreter(machine: Machine, name: str) -> None:
    """Any of them, also one that leads nowhere."""
    request = Request(Work.RUN, Scope(prefixes=(str(machine.top),)))
    nameless = "UsageError: T has no interpreter in its bin; name one with --python PATH"
    assert [nameless] == found_by(machine, request)
    (machine.top / "bin" / name).symlink_to("/no/where")
    gone = f"InterpreterError: T/bin/{name} leads to /no/where, which isn't there; make the environment anew"
    assert [f"{gone}, or name an interpreter with --python PATH"] == found_by(machine, request)
    os.unlink(machine.top / "bin" / name)
    machine.put(f"bin/{name}", "3.11")
    assert [f"py311 T/bin/{name}"] == found_by(machine, request)


def test_an_environments_broken_interpreter_is_told(machine: Machine, venv: Path) -> None:
    """By itself; by a version another one serves."""
    os.unlink(venv / "bin/python")
    (venv / "bin/python").symlink_to("/no/where")
    assert ["py311 T/local/python3.11", "py312 T/bin/python3.12"] == found_by(
        machine, Request(Work.RUN, Scope(("3.11", "3.12"), prefixes=(str(venv),)))
    )


@pytest.mark.usefixtures("as_root")
def test_an_environments_interpreter_that_may_not_be_reached(machine: Machine) -> None:
    """That is another trouble than one that is gone."""
    with public_directory() as place:
        for name in ("closed", "venv/bin"):
            (place / name).mkdir(parents=True)
        (place / "venv/bin/python").symlink_to("../../closed/python")
        (place / "closed").chmod(0)
        request = Request(Work.RUN, Scope(prefixes=(f"{place}/venv",)))
        gone, denied = found_by(machine, request), in_child(lambda: found_by(machine, request), account=12345)
        leads = f"InterpreterError: {place}/venv/bin/python leads to {place}/closed/python"
        hint = "or name an interpreter with --python PATH"
        assert [f"{leads}, which isn't there; make the environment anew, {hint}"] == gone
        assert [f"{leads}: Permission denied; run it as an account that may, {hint}"] == denied


# -- every one -------------------------------------------------------------------------------------------------------

EVERY_ONE = [
    *("py311 T/local/python3.11", "py312 T/local/python3.9", "pypy39 T/bin/pypy3.9", "py311 T/bin/python3.11"),
    *("py312 T/bin/python3.12", BROKEN),
]


def test_every_interpreter(machine: Machine) -> None:
    """Each installation once; those that can't be asked are told."""
    machine.put("local/python3.12", "3.12")
    once = [each for each in EVERY_ONE if each != "py312 T/bin/python3.12"]
    assert [*once[:1], "py312 T/local/python3.12", *once[1:]] == found_by(machine, Request(Work.RUN))


def test_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said, also beside one that is broken."""
    machine = Machine(tmp_path, monkeypatch)
    none = "InterpreterError: no interpreter was found; name one with --python PATH"
    assert [none] == found_by(machine, Request(Work.RUN))
    machine.put_broken("bin/python3.13")
    assert [BROKEN, none] == found_by(machine, Request(Work.RUN))


# -- absent ones -----------------------------------------------------------------------------------------------------

HOOK, DEFERRING = Running(hook=True), Running(hook=True, defer=True)


def test_an_interpreter_that_is_gone(machine: Machine) -> None:
    """For a purge, and for a hook that does its work, by version, by path, and of all."""
    gone = machine.remember("bin/python3.10", "3.10")
    machine.remember("bin/python3.8", "3.8", environment="/venv")  # it has the environment's packages
    machine.remember("bin/python3.7", "3.7", account=Account(7, 7))  # that account's word
    machine.remember("old/python3.12", "3.12")  # the same installation as one that is there
    for request in (Request(Work.PURGE), Request(Work.RUN, running=HOOK)):
        assert ["py310 T/bin/python3.10"] == found_by(machine, request._replace(scope=Scope(("3.10",))))
        assert ["py310 T/bin/python3.10"] == found_by(machine, request._replace(scope=Scope((gone,))))
        assert [*EVERY_ONE, "py310 T/bin/python3.10"] == found_by(machine, request)
    for request in (Request(Work.RUN), Request(Work.RUN, running=DEFERRING)):
        assert EVERY_ONE == found_by(machine, request)
        for python in ("3.10", gone):
            (error,) = found_by(machine, request._replace(scope=Scope((python,))))
            assert "InterpreterError" == error.partition(":")[0]


def test_an_interpreter_that_came_back_by_another_path(machine: Machine) -> None:
    """What was known of the path that is gone isn't believed."""
    machine.probed.ask(machine.put("opt/python", "3.10"))
    machine.remember("bin/python3.10", "3.10")
    assert ["py310 "] == found_by(machine, Request(Work.PURGE, Scope(("3.10",))))


def test_what_is_there_is_not_taken_for_gone(machine: Machine) -> None:
    """A broken executable, or a link that leads nowhere, may come back; a path that was never probed says nothing."""
    purge = Request(Work.PURGE)
    assert [BROKEN] == found_by(machine, purge._replace(scope=Scope(("3.13",))))
    (machine.top / "link").symlink_to("/no/where")
    unknown = f"{machine.top}/gone"
    (error,) = found_by(machine, purge._replace(scope=Scope((unknown,))))
    assert "UsageError: T/gone is gone and was never probed; name its --cache-tag" == error


def fields_of(machine: Machine, request: Request) -> dict[str, Any]:
    """All that is known of the only interpreter that is found."""
    (found,) = find_interpreters(request, Settings(), machine.probed)
    assert not isinstance(found, PyctriggerError)
    return found._asdict()


@pytest.mark.parametrize("manager", ["rpm", "pacman", "dpkg"])
def test_an_interpreter_that_is_known_by_its_name(machine: Machine, manager: str) -> None:
    """Its packages were where the package manager has them."""
    request = Request(Work.RUN, Scope(("3.10t",)), transaction=Transaction((), "remove", manager), running=HOOK)
    sites = every.MANAGERS[manager].site_directories("python3.10t")
    paths = {"purelib": sites[0], "platlib": sites[-1], "stdlib": "/usr/lib/python3.10t"}
    expected = interpreter("3.10t", "", schemes={"posix_prefix": paths})._replace(
        version=(3, 10, 0), release="", magic_number=bytes(4), abi_flags=""
    )
    assert expected._asdict() == fields_of(machine, request)


def test_a_cache_tag(machine: Machine) -> None:
    """Of those that are there, else of one that was, else by what it says; what says nothing is told."""
    machine.put("bin/python3.13t", "3.13t")
    machine.remember("bin/python3.10", "3.10")
    machine.remember("old/python3.10", "3.10", prefix="/old")
    unknown = "UsageError: --cache-tag graalpy-1: not known; use a tag such as cpython-311 or pypy311"
    for tag, expected in {
        "cpython-311": ["py311 T/local/python3.11", "py311 T/bin/python3.11"],
        "cpython-313": ["py313t T/bin/python3.13t"],
        "cpython-37": ["py37 "],
        "graalpy-1": [unknown],
    }.items():
        assert expected == found_by(machine, Request(Work.PURGE, Scope(cache_tag=tag)))
    (remembered,) = found_by(machine, Request(Work.PURGE, Scope(cache_tag="cpython-310")))
    assert remembered in ("py310 T/bin/python3.10", "py310 T/old/python3.10")


# -- roots -----------------------------------------------------------------------------------------------------------


def in_root(machine: Machine, *paths: str, **scope: Any) -> list[str]:
    """What serves a root with these directories, and these files by their contents."""
    root = machine.top / "root"
    (machine.top / "bin/python3.13").unlink(missing_ok=True)
    for each in paths:
        path, _, content = each.partition(" = ")
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content) if content else place.mkdir(exist_ok=True)
    return found_by(machine, Request(Work.RUN, Scope(root=str(root), **scope)))


OWN = "or let the root's own run with --trust-root"


def test_who_serves_a_root(machine: Machine) -> None:
    """One of each flavour that it has packages of, or that is named; never one with another magic number."""
    in_root(machine, "usr/lib/python3.11/site-packages/")
    assert ["py311 T/local/python3.11"] == in_root(machine)
    assert ["py311 T/local/python3.11", "pypy39 T/bin/pypy3.9"] == in_root(
        machine, "usr/lib64/pypy3.9/site-packages/", "usr/lib/python3.12/encodings/"
    )
    assert ["py311 T/local/python3.11", "py312 T/local/python3.9", "pypy39 T/bin/pypy3.9"] == sorted(
        in_root(machine, stdlib=True)
    )
    assert ["py312 T/bin/python3.12", "py311 T/bin/python3.11"] == in_root(
        machine, pythons=("3.12", f"{machine.top}/bin/python3.11")
    )
    magic = "MAGIC_NUMBER = (3495).to_bytes(2, 'little')"
    in_root(machine, "usr/bin/python3.11 = x", "usr/lib/python3.11/importlib/_bootstrap_external.py = " + magic)
    assert ["py311 T/local/python3.11", "pypy39 T/bin/pypy3.9"] == in_root(machine)
    (machine.top / "root/usr/lib/python3.11/importlib/_bootstrap_external.py").write_text(magic.replace("5)", "6)"))
    differs = "the magic number of py311 in T/root is a80d0d0a, that of T/local/python3.11 is a70d0d0a"
    hint = "let the root's own interpreter run with --trust-root"
    assert [f"InterpreterError: {differs}; {hint}", "pypy39 T/bin/pypy3.9"] == in_root(machine)
    assert [f"InterpreterError: {differs}; {hint}"] == in_root(machine, pythons=("3.11",))


def test_nobody_serves_a_root(machine: Machine) -> None:
    """What to do about it."""
    nobody = "InterpreterError: no py310 on this machine can compile for T/root; install it, name it with --python PATH"
    assert [f"{nobody}, {OWN}"] == in_root(machine, "etc/", pythons=("3.10",))
    let_run = "name a Python with --python V, and let the root's run with --trust-root"
    assert [f"InterpreterError: --root T/root: it contains no packages of this system's Pythons; {let_run}"] == in_root(
        machine, "etc/"
    )
    machine.put_broken("bin/python3.13")
    assert [BROKEN] == found_by(machine, Request(Work.RUN, Scope(root=f"{machine.top}/root")))


def test_named_places_of_a_root(machine: Machine) -> None:
    """Site directories are everybody's; an environment is of those that it has packages of."""
    in_root(machine, "srv/", "venv/lib/python3.12/site-packages/", "empty/")
    flavours = ["py311 T/local/python3.11", "py312 T/local/python3.9", "pypy39 T/bin/pypy3.9"]
    assert flavours == in_root(machine, site_dirs=("/srv",))
    assert ["py312 T/local/python3.9"] == in_root(machine, prefixes=("/venv",))
    none = "UsageError: /empty in T/root: no environment of an interpreter of this system; install that Python here"
    assert [f"{none}, {OWN}"] == in_root(machine, prefixes=("/empty",))


@pytest.mark.usefixtures("as_root")
def test_a_roots_own_interpreter(machine: Machine) -> None:
    """It is run, if that is asked for."""
    machine.put("root/usr/bin/python3.10", "3.10")
    assert ["py310 /usr/bin/python3.10"] == in_root(machine, pythons=("3.10",), trust_root=True)


# -- who shares ------------------------------------------------------------------------------------------------------


def test_who_shares_a_cache_tag(machine: Machine) -> None:
    """Another installation; in a root another flavour that it has."""
    machine.put("bin/python3.11t", "3.11t", prefix="/t")
    (local,) = find_interpreters(Request(Work.RUN, Scope(("3.11",))), Settings(), machine.probed)
    assert not isinstance(local, PyctriggerError)
    root = machine.top / "root"
    root.mkdir()

    def shared(place: str | None) -> list[str]:
        return [machine.short(each.executable) for each in sharing(local, machine.probed, place)]

    assert ["T/bin/python3.11", "T/bin/python3.11t"] == shared(None)
    assert [] == shared(str(root))
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/python3.11t").touch()
    (root / "usr/bin/python3.11").touch()
    assert ["T/bin/python3.11t"] == shared(str(root))


def test_the_error_of_an_environment_of_another_flavour(machine: Machine, venv: Path) -> None:
    """A class of its own: of many environments it is told only where none is served."""
    request = Request(Work.RUN, Scope(("pypy3.9",), prefixes=(str(venv),)))
    (error,) = find_interpreters(request, Settings(), machine.probed)
    assert isinstance(error, NoEnvironmentError)
