"""Targets: which site directories an interpreter has under a request, and what paths mean there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from children import in_child, public_directory, require_own_mounts
from pyctrigger.errors import NoLibraryError, PyctriggerError, RightsError, UsageError
from pyctrigger.interpreter.interpreter import Interpreter
from pyctrigger.interpreter.scope import SiteDirectory
from pyctrigger.pyc.header import HeaderFormat, InvalidationMode
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.paths import Touched, Unit
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Transaction, Work
from pyctrigger.run.scope.target import Assignment, Target, check_target, display_names, find_target, keep_shared
from unit.interpreter.made_up import interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE, MODULES = Unit("", deep=True), Unit("", deep=False)
HOOK = Running(hook=True)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Directories of two environments, of an interpreter, and others; `link` leads to the first environment."""
    for path in (
        *(
            "venv/lib/python3.11/site-packages/a",
            "venv/lib64/python3.11/site-packages",
            "other/lib/python3.11/site-packages",
        ),
        *("usr/lib/python3.11/site-packages", "usr/lib/python3.11/encodings", "srv/site", "srv/more", "empty"),
    ):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "link").symlink_to("venv")
    return tmp_path


def installed(
    top: Path | str, named: str = "3.11", executable: str = "/usr/bin/python3.11", **fields: Any
) -> Interpreter:
    """One whose directories are below `usr`."""
    home = f"{top}/usr/lib/python3.11"
    schemes = {"posix_prefix": {"purelib": f"{home}/site-packages", "platlib": f"{home}/site-packages", "stdlib": home}}
    return interpreter(named, executable, schemes=schemes)._replace(**fields)


PACKAGES, LIBRARY = "T/usr/lib/python3.11/site-packages", "T/usr/lib/python3.11"
VENV = ("T/venv/lib/python3.11/site-packages", "T/venv/lib64/python3.11/site-packages")
#: A scope, the site directories that are configured, and those of the target, a star after the standard library's.
SITES: list[tuple[dict[str, Any], tuple[str, ...] | None, list[str], str | None]] = [
    ({}, None, [PACKAGES], None),
    ({}, (), [PACKAGES], None),
    ({}, ("T/srv/site", "T/gone"), ["T/srv/site"], None),
    ({"site_dirs": ("T/srv/more",)}, ("T/srv/site",), ["T/srv/more"], None),
    ({"prefixes": ("T/venv",)}, ("T/srv/site",), [*VENV], "T/venv"),
    ({"prefixes": ("T/link",)}, None, [*VENV], "T/link"),
    (
        {"prefixes": ("T/link",), "pycache_prefix": "T/srv"},
        None,
        [each.replace("venv", "link") for each in VENV],
        "T/link",
    ),
    (
        {"prefixes": ("T/venv",), "site_dirs": ("T/link/lib/python3.11/site-packages",)},
        None,
        ["T/link/lib/python3.11/site-packages"],
        "T/venv",
    ),
    ({"stdlib": True}, None, [PACKAGES, f"{LIBRARY}*"], None),
    ({"stdlib": True, "site_dirs": ("T/srv/site",)}, None, ["T/srv/site", f"{LIBRARY}*"], None),
    ({"stdlib": True, "prefixes": ("T/usr",)}, None, [PACKAGES, f"{LIBRARY}*"], "T/usr"),
]


def short(top: Path, sites: Sequence[SiteDirectory]) -> list[str]:
    """Their paths, a star after the standard library's."""
    return [site.path.replace(str(top), "T") + ("*" if site.is_stdlib else "") for site in sites]


def placed(top: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Values of settings in which T is this directory."""

    def put(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(put, value))
        return value.replace("T", str(top)) if isinstance(value, str) else value

    return {name: put(value) for name, value in values.items()}


@pytest.mark.parametrize(("scope", "configured", "sites", "prefix"), SITES)
def test_the_site_directories_of_a_target(
    top: Path, scope: dict[str, Any], configured: tuple[str, ...] | None, sites: list[str], prefix: str | None
) -> None:
    """The named ones, else an environment's, else the configured ones, else its own; each by its own name."""
    if configured is not None:
        configured = placed(top, {"": configured})[""]
    settings = Settings(
        flavours={"3.11": FlavourSettings(site_dirs=configured), "3.12": FlavourSettings(site_dirs=("/",))}
    )
    target = find_target(installed(top), Request(Work.RUN, Scope(**placed(top, scope))), settings)
    environment = None if prefix is None else os.path.realpath(prefix.replace("T", str(top)))
    named = None if prefix is None else prefix.replace("T", str(top))
    assert (sites, named, environment, None) == (
        short(top, target.sites),
        target.prefix,
        target.environment,
        target.root,
    )


def test_an_environments_own_interpreter(top: Path) -> None:
    """It means that environment, by its real name, unless another place is named."""
    own = installed(top, executable=f"{top}/link/bin/python", environment=f"{top}/link")
    target = find_target(own, Request(Work.RUN), Settings())
    assert ([*VENV], f"{top}/link", os.path.realpath(top / "venv")) == (
        short(top, target.sites),
        target.prefix,
        target.environment,
    )
    named = find_target(own, Request(Work.RUN, Scope(site_dirs=(f"{top}/srv/site",))), Settings())
    assert (["T/srv/site"], None, None) == (short(top, named.sites), named.prefix, named.environment)
    other = find_target(own, Request(Work.RUN, Scope(prefixes=(f"{top}/other",))), Settings())
    assert (["T/other/lib/python3.11/site-packages"], f"{top}/other") == (short(top, other.sites), other.prefix)
    assert 3 == len({target.installation, named.installation, other.installation})
    assert own.installation_in(None, target.environment) == target.installation
    with pytest.raises(NoLibraryError) as caught:
        find_target(own, Request(Work.RUN, Scope(stdlib=True)), Settings())
    assert ((f"{top}/link",), ("py311",), (f"{top}/usr/lib/python3.11",)) == (
        caught.value.places,
        caught.value.flavours,
        caught.value.elsewhere,
    )


def test_a_standard_library_that_is_elsewhere(top: Path) -> None:
    """A person hears of it, with where it is; a hook goes on without."""
    request = Request(Work.RUN, Scope(stdlib=True, prefixes=(f"{top}/venv",)))
    for library, elsewhere in ((f"{top}/usr/lib/python3.11", (f"{top}/usr/lib/python3.11",)), ("/no", ())):
        schemes = {"posix_prefix": {"stdlib": library}}
        with pytest.raises(NoLibraryError) as caught:
            find_target(installed(top, schemes=schemes), request, Settings())
        assert ((f"{top}/venv",), elsewhere) == (caught.value.places, caught.value.elsewhere)
    assert [*VENV] == short(top, find_target(installed(top), request._replace(running=HOOK), Settings()).sites)
    assert [PACKAGES, f"{LIBRARY}*"] == short(
        top, find_target(installed(top), Request(Work.RUN, Scope(stdlib=True)), Settings()).sites
    )


def test_targets_in_a_root(top: Path) -> None:
    """Names as seen inside; the configuration is about this system; the id is the root's own."""
    settings = Settings(flavours={"3.11": FlavourSettings(site_dirs=("/srv/site",))})

    def find(**scope: Any) -> Target:
        return find_target(installed(""), Request(Work.RUN, Scope(root=str(top), **scope)), settings)

    status = top.stat()
    target = find()
    assert ((status.st_dev, status.st_ino), None, None) == (target.root, target.prefix, target.environment)
    assert ["/usr/lib/python3.11/site-packages"] == short(Path("no"), target.sites)
    assert ["/usr/lib/python3.11/site-packages", "/usr/lib/python3.11*"] == short(Path("no"), find(stdlib=True).sites)
    assert ["/srv/more"] == short(Path("no"), find(site_dirs=("/srv/more",)).sites)
    assert [each[1:] for each in VENV] == short(Path("no"), find(prefixes=("/link",)).sites)
    inode = (top / "venv").stat()
    assert f"{inode.st_dev}:{inode.st_ino}" == find(prefixes=("/link",)).environment
    environments_own = installed("", environment="/venv")
    assert find_target(environments_own, Request(Work.RUN, Scope(root=str(top))), Settings()).prefix is None
    with pytest.raises(NoLibraryError) as caught:
        find(stdlib=True, prefixes=("/venv",))
    assert ("/venv",) == caught.value.places
    (top / "usr/lib/python3.11/encodings").rmdir()
    with pytest.raises(NoLibraryError) as caught:
        find(stdlib=True)
    assert (str(top),) == caught.value.places
    with pytest.raises(UsageError):
        find_target(installed(""), Request(Work.RUN, Scope(root=f"{top}/no")), Settings())


@pytest.mark.usefixtures("as_root")
def test_a_name_that_others_may_lead_elsewhere_is_kept(top: Path) -> None:
    """Else root would not see that the way belongs to somebody else."""
    (top / "theirs").mkdir()
    (top / "theirs/link").symlink_to("../venv")
    os.chown(top / "theirs", 12345, 12345)
    os.chown(top / "theirs/link", 12345, 12345, follow_symlinks=False)
    request = Request(Work.RUN, Scope(prefixes=(f"{top}/theirs/link",)))
    names = [each.replace("venv", "theirs/link") for each in VENV]
    assert names == short(top, find_target(installed(top), request, Settings()).sites)
    os.chown(top / "theirs", 0, 0)
    assert [*VENV] == short(top, find_target(installed(top), request, Settings()).sites)
    (top / "theirs").chmod(0o777)
    assert names == short(top, find_target(installed(top), request, Settings()).sites)
    with public_directory() as place:
        (place / "venv/lib/python3.11/site-packages").mkdir(parents=True)
        (place / "theirs").mkdir()
        (place / "theirs/link").symlink_to("../venv")
        (place / "theirs").chmod(0o777)
        theirs = Request(Work.RUN, Scope(prefixes=(f"{place}/theirs/link",)))

        def find() -> list[str]:
            return short(place, find_target(installed(place), theirs, Settings()).sites)

        assert ["T/theirs/link/lib/python3.11/site-packages"] == find()
        assert [VENV[0]] == in_child(find, account=12345)


# -- what paths mean -------------------------------------------------------------------------------------------------


def meaning(top: Path, target: Target, request: Request) -> tuple[dict[str, list[Unit]], list[str]]:
    """The units, and the paths that lie outside."""
    found = Assignment.of(target, request).touched
    units = {site.replace(str(top), "T"): each for site, each in found.units.items()}
    return units, [path.replace(str(top), "T") for path in found.outside]


def deep(*names: str) -> list[Unit]:
    """The modules directly in a site directory, and these packages."""
    return [MODULES, *(Unit(name, deep=True) for name in names)]


#: A scope, whether a hook names them, paths, and what they mean.
MEANINGS: list[tuple[dict[str, Any], bool, tuple[str, ...], dict[str, list[Unit]], list[str]]] = [
    ({}, False, (f"{PACKAGES}/a/b.py", "T/etc"), {PACKAGES: deep("a")}, ["T/etc"]),
    ({}, False, (LIBRARY,), {}, [LIBRARY]),
    ({}, True, (f"{PACKAGES}/a", "T/etc"), {PACKAGES: deep("a")}, ["T/etc"]),
    ({}, True, (f"{LIBRARY}/os.py", "T/etc"), {PACKAGES: [WHOLE]}, ["T/etc"]),
    ({"site_dirs": (PACKAGES,)}, True, (f"{LIBRARY}/os.py",), {}, [f"{LIBRARY}/os.py"]),
    ({"prefixes": ("T/venv",)}, True, (f"{LIBRARY}/os.py",), {}, [f"{LIBRARY}/os.py"]),
    ({"prefixes": ("T/venv",)}, False, ("T/venv",), {VENV[0]: [WHOLE], VENV[1]: [WHOLE]}, []),
    ({"prefixes": ("T/venv",)}, False, ("T/link/lib",), {VENV[0]: [WHOLE]}, []),
    ({"prefixes": ("T/link",)}, False, ("T/venv/lib64/", f"{VENV[0]}/a"), {VENV[1]: [WHOLE], VENV[0]: deep("a")}, []),
    ({"prefixes": ("T/venv",)}, False, ("T", "T/venv/li", "T/venv/bin"), {}, ["T", "T/venv/li", "T/venv/bin"]),
    ({"prefixes": ("T/venv",)}, False, ("T/other/lib",), {}, ["T/other/lib"]),
    ({}, False, ("T/usr/lib",), {}, ["T/usr/lib"]),
]


@pytest.mark.parametrize(("scope", "is_hook", "paths", "units", "outside"), MEANINGS)
def test_what_paths_mean_to_a_target(
    top: Path,
    scope: dict[str, Any],
    is_hook: bool,
    paths: tuple[str, ...],
    units: dict[str, list[Unit]],
    outside: list[str],
) -> None:
    """In an environment its directories mean all packages in them; to a hook the library means everything."""
    request = Request(
        Work.RUN,
        Scope(**placed(top, scope)),
        transaction=Transaction(tuple(path.replace("T", str(top)) for path in paths)),
        running=Running(hook=is_hook),
    )
    target = find_target(installed(top), request, Settings())
    assert (units, outside) == meaning(top, target, request)
    other = request.about((f"{PACKAGES}/z".replace("T", str(top)),))
    assert target.touched(other) == target.touched(request, other.transaction.paths)


def test_what_paths_mean_in_a_root(top: Path) -> None:
    """As seen inside; pkg's site directory is only itself."""
    scope = Scope(root=str(top), prefixes=("/link",))
    request = Request(Work.RUN, scope, transaction=Transaction(("/venv/lib64", "/link/lib/python3.11/site-packages/a")))
    target = find_target(installed(""), request, Settings())
    assert ({VENV[1][1:]: [WHOLE], VENV[0][1:]: deep("a")}, []) == meaning(Path("no"), target, request)
    linked = request._replace(scope=scope._replace(pycache_prefix="/srv")).about(("/link/lib64",))
    names = find_target(installed(""), linked, Settings())
    assert {VENV[1][1:].replace("venv", "link"): [WHOLE]} == names.touched(linked).units
    assert {VENV[1][1:]: [WHOLE]} == target.touched(request, ("/link/lib64",)).units
    pkgs = request._replace(transaction=Transaction((VENV[0][1:],), manager="pkg"))
    assert Touched({VENV[0][1:]: [MODULES]}, ()) == target.touched(pkgs)


def test_whether_anything_is_touched(top: Path) -> None:
    """No list means everything, and an empty one nothing."""
    target = find_target(installed(top), Request(Work.RUN), Settings())
    found = []
    for paths in (None, (), ("/etc",), (f"{target.sites[0].path}/a",)):
        assignment = Assignment.of(target, Request(Work.RUN).about(paths))
        assert (target, paths) == (assignment.target, assignment.request.transaction.paths)
        found.append(assignment.touches)
    assert [True, False, False, True] == found
    empty = Assignment.of(target._replace(sites=()), Request(Work.RUN))
    assert empty.touches


# -- several targets -------------------------------------------------------------------------------------------------


def target_of(named: str, *sites: Path | str, executable: str = "/usr/bin/python", prefix: str | None = None) -> Target:
    """One with these site directories."""
    return Target(interpreter(named, executable), tuple(SiteDirectory(str(each)) for each in sites), None, prefix)


def test_what_targets_are_called() -> None:
    """By their flavour; two of one flavour in one place by their executables."""
    targets = [
        target_of("3.11", executable="/a"),
        target_of("3.11", executable="/b"),
        target_of("3.11", prefix="/venv"),
        target_of("3.12"),
        target_of("3.13t", executable=""),
        target_of("3.13t"),
    ]
    names = ["py311 (/a)", "py311 (/b)", "py311", "py312", "py313t (gone)", "py313t (/usr/bin/python)"]
    assert names == display_names(targets)


def test_what_others_use_is_spared(tmp_path: Path) -> None:
    """By whatever name, and in a root as seen inside."""
    for name in "abc":
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("b")
    mine = target_of("3.13", *(tmp_path / name for name in "abc"))
    others = [target_of("3.13t", tmp_path / "link"), target_of("3.13t", tmp_path / "c")]
    kept, shared = keep_shared(mine, others, None)
    assert (target_of("3.13", tmp_path / "a"), [f"{tmp_path}/b", f"{tmp_path}/c"]) == (kept, shared)
    assert (mine, []) == keep_shared(mine, [], None)
    inside = target_of("3.13", "/a", "/b")
    assert (target_of("3.13", "/a"), ["/b"]) == keep_shared(inside, [target_of("3.13t", "/link")], str(tmp_path))


def test_what_a_target_is_known_by() -> None:
    """Its id, its headers, and its name in the configuration."""
    target = target_of("3.13t")._replace(root=(1, 2))
    mine = target.interpreter
    assert (mine.installation_in((1, 2)), "3.13t", HeaderFormat.of(mine.magic_number, mine.version)) == (
        target.installation,
        target.dotted,
        target.header,
    )


# -- what a target can't do ------------------------------------------------------------------------------------------

CHECKED, UNCHECKED = InvalidationMode.CHECKED_HASH, InvalidationMode.UNCHECKED_HASH
OLD = "py36 doesn't support hash-based bytecode (new in 3.7); timestamps are written"


@pytest.mark.parametrize(
    ("named", "mode", "notices"),
    [
        ("3.6", None, []),
        ("3.6", InvalidationMode.TIMESTAMP, []),
        ("3.6", CHECKED, [OLD]),
        ("3.6", UNCHECKED, [OLD]),
        ("3.7", CHECKED, []),
    ],
)
def test_a_mode_that_a_target_does_not_have(named: str, mode: InvalidationMode | None, notices: list[str]) -> None:
    """It is told, and the target's own is used."""
    assert notices == check_target(target_of(named), Request(Work.RUN, bytecode=Bytecode(invalidation_mode=mode)))


def test_a_pycache_prefix(tmp_path: Path) -> None:
    """It takes 3.8; a hook makes it; one that everybody may write is told, but for a sticky one."""
    prefix = tmp_path / "new/prefix"
    request = Request(Work.RUN, Scope(pycache_prefix=str(prefix)))
    with pytest.raises(UsageError) as caught:
        check_target(target_of("3.7"), request)
    message = "--pycache-prefix: py37 doesn't support a pycache prefix"
    assert (message, "it is new in Python 3.8") == (caught.value.message, caught.value.hint)
    first = target_of("3.8")._replace(interpreter=interpreter("3.8", "/a", version=(3, 8, 0)))
    assert [] == check_target(first, request)
    hook = request._replace(running=HOOK)
    for others in (request, hook._replace(running=Running(hook=True, dry_run=True))):
        assert ([], False) == (check_target(target_of("3.8"), others), prefix.exists())
    in_root = hook._replace(scope=Scope(pycache_prefix="/new/prefix", root=str(tmp_path), site_dirs=("/",)))
    assert ([], False) == (check_target(target_of("3.8"), in_root), prefix.exists())
    assert ([], True) == (check_target(target_of("3.8"), hook), prefix.is_dir())
    for mode, is_told in ((0o777, True), (0o1777, False), (0o775, False)):
        prefix.chmod(mode)
        told = "{0} is world-writable: anybody can change what is imported from it; chmod o-w {0}"
        assert [told.format(prefix)] * is_told == check_target(target_of("3.8"), request)
        assert [told.format("/new/prefix")] * is_told == check_target(target_of("3.8"), in_root)


@pytest.mark.usefixtures("as_root")
def test_a_pycache_prefix_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason with what to do about it; in a place of others their process makes it."""
    (tmp_path / "file").touch()

    def error_of(prefix: str) -> PyctriggerError:
        request = Request(Work.RUN, Scope(pycache_prefix=prefix), running=HOOK)
        with pytest.raises(PyctriggerError) as caught:
            check_target(target_of("3.8"), request)
        found: PyctriggerError = caught.value
        return found

    error = error_of(f"{tmp_path}/file/x")
    message = f"--pycache-prefix {tmp_path}/file/x: Not a directory"
    assert (UsageError, message, "name a writable directory") == (type(error), error.message, error.hint)
    with public_directory() as place:
        denied = in_child(lambda: error_of(f"{place}/x"), account=12345)
        message = f"--pycache-prefix {place}/x: Permission denied"
        assert (RightsError, message, "you need root") == (type(denied), denied.message, denied.hint)
        (place / "file").touch()
        assert UsageError is type(in_child(lambda: error_of(f"{place}/file/x"), account=12345))
        os.chown(place, 12345, 12345)
        request = Request(Work.RUN, Scope(pycache_prefix=f"{place}/y/z"), running=HOOK)
        assert [] == check_target(target_of("3.8"), request)
        assert [12345, 12345] == [(place / "y").stat().st_uid, (place / "y/z").stat().st_uid]

        def fail() -> int:
            raise OSError(11, "no more processes")

        monkeypatch.setattr(forked, "fork", fail)
        reason = "no process can act as the account whose directory it is (no more processes)"
        assert f"--pycache-prefix {place}/q: {reason}" == error_of(f"{place}/q").message


def test_mounts_in_a_root_are_told(top: Path) -> None:
    """Those of its packages; not where other places are named."""
    require_own_mounts()
    mount = "/usr/lib/python3.11/site-packages"

    def look() -> list[list[str]]:
        subprocess.run(["mount", "--bind", top / "srv", f"{top}{mount}"], check=True)
        scopes = [
            Scope(root=str(top)),
            Scope(root=str(top), site_dirs=("/srv",)),
            Scope(root=str(top), prefixes=("/venv",)),
        ]
        return [check_target(target_of("3.11"), Request(Work.RUN, scope)) for scope in [*scopes, Scope()]]

    notice = f"{mount}: mounts below a root aren't entered; run pyctrigger inside the root (chroot)"
    assert [[notice], [], [], []] == in_child(look, own_mounts=True)
    assert [] == check_target(target_of("3.11"), Request(Work.RUN, Scope(root=str(top))))
