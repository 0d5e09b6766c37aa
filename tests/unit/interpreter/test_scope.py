"""Which directories are the target's, by its schemes and by what there is."""

from __future__ import annotations

from typing import Any

import pytest

from pyctrigger.errors import NoEnvironmentError, UsageError
from pyctrigger.interpreter import scope as module
from pyctrigger.interpreter.interpreter import Interpreter
from pyctrigger.interpreter.scope import (
    Bounds,
    OwnDirectories,
    SiteDirectory,
    has_packages,
    own_directories,
    site_directories,
    standard_library,
)
from unit.interpreter.made_up import interpreter

POSIX = {"purelib": "/o/lib/p/site-packages", "platlib": "/o/lib64/p/site-packages", "stdlib": "/o/lib/p"}
DEBIAN = {"purelib": "/usr/lib/python3/dist-packages", "stdlib": "/usr/lib/python3.11"}
RPM = {"purelib": "/usr/lib/p/site-packages", "stdlib": "/usr/lib64/p", "platstdlib": "/usr/lib64/q"}
LOCAL = {"purelib": "/usr/local/lib/p/dist-packages"}


def target(default: str = "posix_prefix", *inside: str, environment: str | None = None, **schemes: Any) -> Interpreter:
    """A Python 3.11 with these schemes, and these directories in an environment."""
    fields = {"schemes": schemes, "default_scheme": default, "inside": inside, "environment": environment}
    return interpreter("3.11", "/usr/bin/python3.11", **fields)


PACKAGES = "/@/lib/python3.11/site-packages"
IN_AN_ENVIRONMENT = (
    "/v/lib/python3.11/site-packages",
    "/v/lib64/python3.11/site-packages",
    "/v/lib/python3.11/dist-packages",
    "/v/lib64/python3.11/dist-packages",
)

#: A target, and its own directories: those of packages, and those of the library.
SCHEMES: list[tuple[Interpreter, tuple[str, ...], tuple[str, ...]]] = [
    (target(), (), ()),
    (target(other=POSIX), (), ()),
    (
        target(posix_prefix=POSIX, other=LOCAL),
        (
            *("/o/lib/p/site-packages", "/o/lib64/p/site-packages"),
            *("/o/lib64/p/site-packages", "/o/lib/p/site-packages"),
        ),
        ("/o/lib/p", "/o/lib64/p"),
    ),
    (
        target("posix_local", posix_local=LOCAL, posix_prefix=POSIX, deb_system=DEBIAN),
        ("/usr/lib/python3/dist-packages", "/usr/lib64/python3/dist-packages"),
        ("/usr/lib/python3.11", "/usr/lib64/python3.11"),
    ),
    (
        target("posix_prefix", posix_prefix=POSIX, rpm_prefix=RPM),
        ("/usr/lib/p/site-packages", "/usr/lib64/p/site-packages"),
        ("/usr/lib64/p", "/usr/lib/p", "/usr/lib64/q", "/usr/lib/q"),
    ),
    (
        target("posix_local", posix_local=LOCAL, posix_prefix=POSIX),
        ("/usr/local/lib/p/dist-packages", "/usr/local/lib64/p/dist-packages"),
        (),
    ),
    (target("x", x={"purelib": "/srv", "stdlib": "/lib/x/lib/y"}), ("/srv",), ("/lib/x/lib/y", "/lib/x/lib64/y")),
    (target("x", x={}, posix_prefix={"stdlib": "/s"}), (), ("/s",)),
    (target("x", PACKAGES, environment="/v", x=POSIX), IN_AN_ENVIRONMENT, ("/o/lib/p", "/o/lib64/p")),
    (target("x", "/@/p/@/q", "/@/r", environment="/v/"), ("/v/p/@/q", "/v/r", "/v/p/@/q", "/v/r"), ()),
    (target("x", "/@/p", environment="/"), ("/p", "/p"), ()),
]


@pytest.mark.parametrize(("asked", "packages", "library"), SCHEMES)
def test_directories_of_a_scheme(
    monkeypatch: pytest.MonkeyPatch, asked: Interpreter, packages: tuple[str, ...], library: tuple[str, ...]
) -> None:
    """A manager's scheme comes before the default one; an environment has packages of its own, and no library."""
    monkeypatch.setattr(module, "_has_other_manager", lambda: False)
    assert OwnDirectories(packages, library) == own_directories(asked)


@pytest.mark.parametrize(
    ("present", "others", "expected"),
    [
        (["/var/lib/dpkg"], True, "/usr/lib/python3/dist-packages"),
        ([], False, "/usr/lib/python3/dist-packages"),
        ([], True, "/o/lib/p/site-packages"),
    ],
)
def test_debians_scheme_without_debians_manager(
    monkeypatch: pytest.MonkeyPatch, present: list[str], others: bool, expected: str
) -> None:
    """It is a stray interpreter's where another manager is in use."""

    class Other:
        is_present = others

    monkeypatch.setattr("os.path.exists", lambda path: path in present)
    monkeypatch.setattr(
        "pyctrigger.packages.every.MANAGERS", {"none": type("None", (), {"is_present": False}), "other": Other}
    )
    asked = target("posix_local", posix_prefix=POSIX, deb_system=DEBIAN)
    assert expected == own_directories(asked).packages[0]


# -- what there is -----------------------------------------------------------------------------------------------------


def bounds(*present: str, prefixes: tuple[str, ...] = (), own: OwnDirectories | None = None, **links: str) -> Bounds:
    """A tree of these directories, of which some are links, named without slashes, to others."""
    places = {path: (1, number) for number, path in enumerate(present)}
    goals = {"/" + name.replace("_", "/"): goal for name, goal in links.items()}

    def real(path: str) -> str:
        return goals.get(path, path)

    def lies_in(path: str, directory: str) -> bool:
        return f"{real(path)}/".startswith(f"{directory}/")

    return Bounds(lambda path: places.get(real(path)), lies_in, prefixes, own)


def paths(found: list[SiteDirectory]) -> list[str]:
    """Their paths."""
    return [each.path for each in found]


OWN = OwnDirectories(("/p/one", "/p/two"), ("/l/one", "/l/two"))
PLAIN = target(posix_prefix={"purelib": "/p", "stdlib": "/l"})
#: What there is, what was named with --site-dir, and what is found.
FOUND: list[tuple[Bounds, tuple[str, ...], list[str]]] = [
    (bounds("/p", "/l"), (), ["/p"]),
    (bounds("/l"), (), []),
    (bounds("/p/two", "/p/one", own=OWN), (), ["/p/one", "/p/two"]),
    (bounds("/p/two", own=OWN, p_one="/p/two"), (), ["/p/one"]),  # each once, under its first name
    (bounds("/p", "/a", "/b"), ("/b", "/a", "/b"), ["/b", "/a"]),
    (bounds("/v/a", "/w/b", prefixes=("/v", "/w")), ("/v/a", "/w/b"), ["/v/a", "/w/b"]),
]


@pytest.mark.parametrize(("around", "named", "expected"), FOUND)
def test_directories_of_packages(around: Bounds, named: tuple[str, ...], expected: list[str]) -> None:
    """The target's own, or those that were named."""
    found = site_directories(PLAIN, around, named)
    assert (expected, False) == (paths(found), any(each.is_stdlib for each in found))


def test_directories_of_packages_in_environments() -> None:
    """All of each, in their order."""
    around = bounds(*IN_AN_ENVIRONMENT, "/w/lib64/python3.11/site-packages", prefixes=("/w", "/v"))
    assert ["/w/lib64/python3.11/site-packages", *IN_AN_ENVIRONMENT] == paths(
        site_directories(target("x", PACKAGES), around)
    )


NONE = "/v is not an environment of py311"
#: A target, what there is, what was named, the error and its hint.
REFUSED: list[tuple[Interpreter, Bounds, tuple[str, ...], str, str]] = [
    (PLAIN, bounds("/p"), ("/p", "/q"), "--site-dir /q: no such directory", "name a directory that exists"),
    (
        *(PLAIN, bounds("/v/a", "/x", prefixes=("/v", "/w")), ("/v/a", "/x")),
        *("--site-dir /x: outside of --prefix /v, /w", "leave one of them out"),
    ),
    (target("x", PACKAGES), bounds("/p", prefixes=("/v",)), (), NONE, "it would have /v/lib/python3.11/site-packages"),
    (target(), bounds("/p", prefixes=("/v",)), (), NONE, "it would have /v"),
    (
        target("x", "/@/s"),
        bounds("/elsewhere", prefixes=("/v",), v_s="/elsewhere"),
        (),
        "/v/s is a link to a directory outside of /v",
        "name that directory with --site-dir",
    ),
]


@pytest.mark.parametrize(("asked", "around", "named", "message", "hint"), REFUSED)
def test_what_is_out_of_bounds_is_wrong_usage(
    asked: Interpreter, around: Bounds, named: tuple[str, ...], message: str, hint: str
) -> None:
    """With a way out."""
    with pytest.raises(UsageError) as caught:
        site_directories(asked, around, named)
    assert (message, hint) == (caught.value.message, caught.value.hint)
    assert isinstance(caught.value, NoEnvironmentError) == message.startswith(NONE)


@pytest.mark.parametrize(
    ("present", "expected"), [((), False), (IN_AN_ENVIRONMENT[:1], True), (IN_AN_ENVIRONMENT[3:], True)]
)
def test_whether_an_environment_has_packages(present: tuple[str, ...], expected: bool) -> None:
    """In any of the places where they may be."""
    assert expected is has_packages(target("x", PACKAGES), "/v", bounds(*present).locate)


#: What there is, and what of it is the standard library.
LIBRARIES: list[tuple[Bounds, list[str]]] = [
    (bounds("/l"), ["/l"]),
    (bounds("/p"), []),
    (bounds("/l/two", "/l/one", own=OWN), ["/l/one", "/l/two"]),
    (bounds("/l", prefixes=("/v",)), []),
    (bounds("/l", "/l/encodings", prefixes=("/l",)), ["/l"]),
    (bounds("/v/lib/python3.11", prefixes=("/v",)), []),
    (bounds("/v/lib/python3.11", "/v/lib/python3.11/encodings", prefixes=("/w", "/v")), ["/v/lib/python3.11"]),
    (bounds("/v/lib64/python3.11", "/v/lib64/python3.11/encodings", prefixes=("/v",)), ["/v/lib64/python3.11"]),
    (
        bounds("/v/lib/python3.11", "/v/lib64/python3.11", "/v/lib64/python3.11/encodings", prefixes=("/v",)),
        ["/v/lib/python3.11", "/v/lib64/python3.11"],
    ),
    (bounds("/l", "/l/encodings", "/v/lib", prefixes=("/v",), v_lib_python3_11="/l"), []),
]


@pytest.mark.parametrize(("around", "expected"), LIBRARIES)
def test_directories_of_the_standard_library(around: Bounds, expected: list[str]) -> None:
    """An environment has one only if it has the modules that a start needs."""
    found = standard_library(PLAIN, around)
    assert (expected, True) == (paths(found), all(each.is_stdlib for each in found))
