"""Which environments a request means: the named ones, those of its paths, those below a directory, the active one."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from children import in_child, public_directory, require_own_mounts
from pyctrigger.errors import UsageError
from pyctrigger.outcome.observer import Observer
from pyctrigger.run.scope import environments
from pyctrigger.run.scope.environments import divide, with_active
from pyctrigger.run.scope.request import Request, Running, Scope, Transaction, Work
from pyctrigger.tree.opened import open_name

if TYPE_CHECKING:
    from pathlib import Path

    from pyctrigger.errors import PyctriggerError


def make(top: Path, *names: str) -> str:
    """Make directories, files (by an ending), and links (`name -> goal`) in a directory. Returns its path."""
    for name in names:
        path, _, goal = name.partition(" -> ")
        place = top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if goal:
            place.symlink_to(goal)
        elif place.suffix or place.parent.name == "bin":
            place.touch()
        else:
            place.mkdir()
    return str(top)


Parts = list["tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...] | None, tuple[str, ...]]"]


def divided(top: str, scope: Scope, paths: tuple[str, ...] | None = None) -> tuple[Parts, list[str]]:
    """The parts of a request, each with its prefixes, directories above them, paths and sites; and what is said."""
    said: list[str] = []
    errors: list[PyctriggerError] = []
    request = Request(Work.RUN, scope, transaction=Transaction(paths, "upgrade", "dpkg"), running=Running(jobs=7))
    found = divide(request, said.append, errors)
    for part in found:
        assert request == part.about(paths)._replace(scope=scope)  # all else is as it was asked
    said += [f"{type(error).__name__}: {error}" for error in errors]

    def short(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.replace(top, "T") for name in names)

    parts = [
        (
            short(part.scope.prefixes),
            short(part.scope.prefixes_below),
            None if part.transaction.paths is None else short(part.transaction.paths),
            short(part.scope.site_dirs),
        )
        for part in found
    ]
    return parts, [line.replace(top, "T") for line in said]


# -- by paths --------------------------------------------------------------------------------------------------------

TREE = (
    *("venv/pyvenv.cfg", "venv/lib/site", "venv/inner/pyvenv.cfg", "conda/conda-meta", "conda/envs/a/conda-meta"),
    *(
        "usr/lib",
        "alias -> venv",
        "usr/link -> ../venv/lib",
        "fake/pyvenv.cfg/x.y",
        "false/conda-meta/",
        "venv/out -> ../usr",
    ),
)
#: Paths, and the parts: the environment, and its paths.
BY_PATHS: list[tuple[list[str], list[tuple[str | None, list[str]]]]] = [
    ([], [(None, [])]),
    (["", ""], [(None, ["", ""])]),
    (["T/usr/lib/a"], [(None, ["T/usr/lib/a"])]),
    (["T/venv/lib/a"], [("T/venv", ["T/venv/lib/a"])]),
    (["T/venv"], [("T/venv", ["T/venv"])]),
    (["T/venv/", "T/venv/gone/a/b"], [("T/venv", ["T/venv/", "T/venv/gone/a/b"])]),
    (["", "T/venv/a"], [("T/venv", ["T/venv/a"])]),
    (["T/usr", "T/venv/a", "", "T/etc"], [(None, ["T/usr", "", "T/etc"]), ("T/venv", ["T/venv/a"])]),
    (["T/venv/inner/a", "T/venv/a"], [("T/venv/inner", ["T/venv/inner/a"]), ("T/venv", ["T/venv/a"])]),
    (["T/conda/a", "T/conda/envs/a/b"], [("T/conda", ["T/conda/a"]), ("T/conda/envs/a", ["T/conda/envs/a/b"])]),
    (["T/alias/a", "T/venv/b"], [("T/alias", ["T/alias/a", "T/venv/b"])]),
    (["T/venv/b", "T/alias/a"], [("T/venv", ["T/venv/b", "T/alias/a"])]),
    (["T/usr/link/a"], [("T/venv", ["T/usr/link/a"])]),
    (["T/usr/link"], [(None, ["T/usr/link"])]),
    (["T/venv/out/a"], [("T/venv", ["T/venv/out/a"])]),
    (["T/usr/../venv/a"], [("T/venv", ["T/usr/../venv/a"])]),
    (["T/fake/a", "T/venv/\0"], [(None, ["T/fake/a", "T/venv/\0"])]),
    (["/T/venv/a"], [("T/venv", ["/T/venv/a"])]),
    (["/XT/venv/a", "/X"], [(None, ["/X"]), ("T/venv", ["/XT/venv/a"])]),
    (["T/venv/\ud800"], [("T/venv", ["T/venv/\ud800"])]),
]


@pytest.mark.parametrize(("paths", "expected"), BY_PATHS)
def test_the_environments_of_paths(
    tmp_path: Path, paths: list[str], expected: list[tuple[str | None, list[str]]]
) -> None:
    """The nearest one above each; under the name that came first; in a tree of bytecode as well."""
    top = make(tmp_path, *TREE)
    scope = Scope(pycache_prefix="/X/")
    found, _ = divided(top, scope, tuple(path.replace("T", top) for path in paths))
    assert [((prefix,) if prefix else (), (), tuple(each), ()) for prefix, each in expected] == found


def test_the_environments_of_paths_in_a_root(tmp_path: Path) -> None:
    """Links in it lead to what is in it."""
    root = make(tmp_path, *TREE, "absolute -> /venv/lib", "up -> ../../../conda", "Xenv/pyvenv.cfg")
    found, _ = divided("/no", Scope(root=root), ("/alias/a", "/absolute/b", "/up/c", "/usr/d", "/\0", "/Xenv/a"))
    assert [
        ((), (), ("/usr/d", "/\0"), ()),
        (("/alias",), (), ("/alias/a", "/absolute/b"), ()),
        (("/up",), (), ("/up/c",), ()),
        (("/Xenv",), (), ("/Xenv/a",), ()),
    ] == found


@pytest.mark.parametrize(
    ("python", "is_bound"), [("T/venv/bin/python", True), ("T/usr/bin/python", False), ("3.11", False)]
)
def test_an_environments_own_interpreter_serves_no_other_one(tmp_path: Path, python: str, is_bound: bool) -> None:
    """What is named binds: the paths stay together, and are seen to lie outside."""
    top = make(tmp_path, *TREE, "venv/bin/python", "usr/bin/python")
    found, _ = divided(top, Scope(("3.9", python.replace("T", top))), (f"{top}/conda/a",))
    assert [((() if is_bound else ("T/conda",)), (), ("T/conda/a",), ())] == found


def test_no_path_means_no_environment() -> None:
    """But the interpreters' own directories."""
    request = Request(Work.RUN)
    assert [request.about(())] == divide(request, print, [])


# -- named ones ------------------------------------------------------------------------------------------------------


def test_named_environments(tmp_path: Path) -> None:
    """Each once, by its first name."""
    top = make(tmp_path, *TREE)
    names = tuple(f"{top}/{name}" for name in ("alias", "venv", "conda"))
    paths = (f"{top}/venv/a",)
    assert [(("T/alias",), (), ("T/venv/a",), ()), (("T/conda",), (), ("T/venv/a",), ())] == divided(
        top, Scope(prefixes=names), paths
    )[0]
    in_root = Scope(root=top, prefixes=("/alias", "/venv", "/gone", "/gone/../gone"))
    assert [("/alias",), ("/gone",)] == [part[0] for part in divided("/no", in_root)[0]]


def test_site_directories_of_named_environments(tmp_path: Path) -> None:
    """Each environment has its own, and those without any are left out."""
    top = make(tmp_path, *TREE)
    environments_ = tuple(f"{top}/{name}" for name in ("venv", "conda", "venv/inner"))
    scope = Scope(prefixes=environments_, site_dirs=(f"{top}/usr/link/site", f"{top}/venv/inner"))
    assert [
        (("T/venv",), (), None, ("T/usr/link/site", "T/venv/inner")),
        (("T/venv/inner",), (), None, ("T/venv/inner",)),
    ] == divided(top, scope)[0]


def test_site_directories_of_environments_in_a_root(tmp_path: Path) -> None:
    """As seen inside."""
    scope = Scope(root=make(tmp_path, *TREE), prefixes=("/venv", "/conda"), site_dirs=("/alias/lib",))
    assert [(("/venv",), (), None, ("/alias/lib",))] == divided("/no", scope)[0]


def test_a_site_directory_of_none_of_them(tmp_path: Path) -> None:
    """Three environments at most are named; without any environment that is said instead."""
    top = make(tmp_path, *TREE, "z/pyvenv.cfg")
    names = tuple(f"{top}/{name}" for name in ("venv", "conda", "venv/inner", "z"))
    scope = Scope(prefixes=names, site_dirs=(f"{top}/venv/lib", f"{top}/usr", f"{top}/fake"))
    with pytest.raises(UsageError) as caught:
        divide(Request(Work.RUN, scope), print, [])
    message = f"--site-dir {top}/usr: outside of --prefix {top}/venv, {top}/conda, {top}/venv/inner"
    assert (message, "leave one of them out") == (caught.value.message, caught.value.hint)
    none_below, said = divided(top, Scope(prefixes_below=(f"{top}/usr",), site_dirs=(f"{top}/usr",)))
    assert ([], ["UsageError: --prefix-below T/usr: no environment below it; name another directory"]) == (
        none_below,
        said,
    )


# -- below a directory -----------------------------------------------------------------------------------------------

#: What there is below a directory, the environments, and what is said.
BELOW: list[tuple[tuple[str, ...], list[str], list[str]]] = [
    (("b/pyvenv.cfg", "a/x/y/pyvenv.cfg", "c/d"), ["T/a/x/y", "T/b"], []),
    (("pyvenv.cfg", "a/pyvenv.cfg"), ["T"], []),
    (("a/pyvenv.cfg", "a/b/pyvenv.cfg"), ["T/a"], []),
    (("a/pyvenv.cfg/b.c", "z/pyvenv.cfg"), ["T/z"], []),
    (("a/conda-meta", "a/bin/python", "a/pkgs/x/conda-meta", "a/pkgs/x/bin/python"), ["T/a"], []),
    (("a/conda-meta", "a/bin/python3", "a/envs/b/conda-meta", "a/envs/b/bin/pypy3"), ["T/a", "T/a/envs/b"], []),
    (("a/conda-meta", "a/bin/python -> gone"), ["T/a"], []),
    (("a/conda-meta.x", "z/pyvenv.cfg"), ["T/z"], []),
    (
        ("r/conda-meta", "r/bin/R", "r/pkgs/p/pyvenv.cfg", "z/pyvenv.cfg"),
        ["T/z"],
        ["T/r is a conda environment without a Python: there is nothing to do"],
    ),
    (
        tuple(f"{name}/x/pyvenv.cfg" for name in sorted(environments._NEVER_ENTERED)),
        [],
        ["UsageError: --prefix-below T: no environment below it; name another directory"],
    ),
    (("a/conda-meta -> ../m", "m/x", "z/pyvenv.cfg"), ["T/z"], []),
    (("sub/link -> ../../beside", "z/pyvenv.cfg"), ["T/z"], []),
]


@pytest.mark.parametrize(("names", "expected", "said"), BELOW)
@pytest.mark.parametrize("is_root", [False, True])
def test_the_environments_below_a_directory(
    tmp_path: Path, names: tuple[str, ...], expected: list[str], said: list[str], is_root: bool
) -> None:
    """Sorted; neither through links, nor in environments, but for those that conda keeps in its first one."""
    top = make(tmp_path / "top", *names)
    make(tmp_path / "beside", "pyvenv.cfg")
    (tmp_path / "link").symlink_to("top")
    scope = Scope(root=str(tmp_path), prefixes_below=("/top",)) if is_root else Scope(prefixes_below=(top,))
    found, heard = divided("/top" if is_root else top, scope)
    assert ([((each,), ("T",), None, ()) for each in expected], said) == (found, heard)
    linked = "/link" if is_root else f"{tmp_path}/link"
    assert [((each,), ("T",), None, ()) for each in expected] == divided(
        linked, scope._replace(prefixes_below=(linked,))
    )[0]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """It is an error of its own, and the others are served."""
    top = make(tmp_path, "a/pyvenv.cfg", "file.x")
    scope = Scope(prefixes=(f"{top}/a",), prefixes_below=(f"{top}/no", f"{top}/file.x", top))
    hint = "name a directory that exists"
    assert (
        [(("T/a",), (), None, ())],
        [
            f"UsageError: --prefix-below T/no: {os.strerror(errno.ENOENT)}; {hint}",
            f"UsageError: --prefix-below T/file.x: {os.strerror(errno.ENOTDIR)}; {hint}",
        ],
    ) == divided(top, scope)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("closed", "more"), [(1, ""), (3, ""), (5, "; and 2 more")])
def test_directories_that_may_not_be_looked_at(closed: int, more: str) -> None:
    """Three are named, and the others counted; what was found is served."""
    with public_directory() as place:
        names = [f"closed{number}" for number in range(closed)]
        top = make(place, "a/pyvenv.cfg", *(f"{name}/x" for name in names))
        for number, name in enumerate(names):
            os.chmod(place / name, 0o711 if number else 0o700)  # it can't be opened, nor listed
        assert (["T/a"], []) == ([part[0][0] for part in divided(top, Scope(prefixes_below=(top,)))[0]], [])
        found, said = in_child(lambda: divided(top, Scope(prefixes_below=(top,))), account=12345)
    reasons = "; ".join(f"T/{name}: {os.strerror(errno.EACCES)}" for name in names[:3])
    hint = "run it as an account that may, or name directories inside"
    assert (
        ["T/a"],
        [f"UnexaminedError: --prefix-below T: not everything could be looked at: {reasons}{more}; {hint}"],
    ) == (
        [part[0][0] for part in found],
        said,
    )


def test_a_search_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty directories down, and so many in all; both are said."""
    top = make(tmp_path, "/".join(["d"] * 39) + "/pyvenv.cfg", "/".join(["e"] * 40) + "/pyvenv.cfg")
    deepest = "/".join(["T", *["e"] * 40])
    unexamined = "UnexaminedError: --prefix-below T: not everything could be looked at:"
    hint = "run it as an account that may, or name directories inside"
    found, said = divided(top, Scope(prefixes_below=(top,)))
    assert ["/".join(["T", *["d"] * 39])] == [part[0][0] for part in found]
    assert [f"{unexamined} {deepest}: more than 40 directories down; {hint}"] == said
    top = make(tmp_path / "many", "a/pyvenv.cfg", "b/c", "d/pyvenv.cfg", "f/pyvenv.cfg")
    monkeypatch.setattr(environments, "_MOST_DIRECTORIES", 5)
    found, said = divided(top, Scope(prefixes_below=(top,)))
    assert ["T/a"] == [part[0][0] for part in found]
    assert [f"{unexamined} T/d and what follows: there are more than 5 directories; {hint}"] == said


def test_what_went_meanwhile_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what is another thing now, or a mount in a root; whatever else keeps us out is."""
    top = make(tmp_path, "a/x", "b/x", "c/x", "d/x", "e/x", "z/pyvenv.cfg")
    codes = dict(zip("abcde", (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EMFILE)))

    def open_some(name: str, flags: int, directory: int, confined: bool) -> int:
        if name in codes:
            raise OSError(codes[name], os.strerror(codes[name]))
        return open_name(name, flags, directory, confined)

    monkeypatch.setattr(environments, "open_name", open_some)
    found, said = divided(top, Scope(prefixes_below=(top,)))
    assert ["T/z"] == [part[0][0] for part in found]
    reason = f"not everything could be looked at: T/e: {os.strerror(errno.EMFILE)}"
    assert [
        f"UnexaminedError: --prefix-below T: {reason}; run it as an account that may, or name directories inside"
    ] == said


def test_a_mount_of_the_same_is_seen_once(tmp_path: Path) -> None:
    """And file systems of the kernel's own never."""
    require_own_mounts()
    top = make(tmp_path, "a/in/pyvenv.cfg", "b", "proc")

    def look() -> list[str]:
        for source, place in (("a", "b"), ("/proc", "proc")):
            subprocess.run(["mount", "--bind", tmp_path / source, tmp_path / place], check=True)
        search = environments._Search(top, None)
        assert [] == search.unexamined
        return list(search.run())

    assert [f"{top}/a/in"] == list(environments._Search(top, None).run())
    assert [f"{top}/a/in"] == in_child(look, own_mounts=True)


# -- the active one --------------------------------------------------------------------------------------------------

#: Environment variables, the prefix that is used, and what is said.
ACTIVE: list[tuple[dict[str, str], str | None, list[str]]] = [
    ({}, None, []),
    ({"VIRTUAL_ENV": "", "CONDA_PREFIX": ""}, None, []),
    ({"VIRTUAL_ENV": "T/venv"}, "T/venv", []),
    ({"CONDA_PREFIX": "T/conda/"}, "T/conda", []),
    ({"VIRTUAL_ENV": "T/venv", "CONDA_PREFIX": "T/conda"}, "T/venv", []),
    (
        {"VIRTUAL_ENV": "T/usr", "CONDA_PREFIX": "T/conda"},
        "T/conda",
        ["VIRTUAL_ENV is ignored: T/usr isn't an environment"],
    ),
    (
        {"VIRTUAL_ENV": "T/gone", "CONDA_PREFIX": "T/fake"},
        None,
        ["VIRTUAL_ENV is ignored: T/gone isn't there", "CONDA_PREFIX is ignored: T/fake isn't an environment"],
    ),
]


class Listener(Observer):
    """What a person is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.remarks: list[str] = []

    def notice(self, text: str) -> None:
        self.said.append(text)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@pytest.mark.parametrize(("variables", "prefix", "said"), ACTIVE)
def test_the_active_environment(tmp_path: Path, variables: dict[str, str], prefix: str | None, said: list[str]) -> None:
    """The innermost one that there is, and a person hears of it."""
    top, listener = make(tmp_path, *TREE), Listener()
    named = {name: value.replace("T/", f"{top}/") for name, value in variables.items()}
    found = with_active(Request(Work.RUN), named, listener)
    prefixes = () if prefix is None else (prefix.replace("T", top),)
    assert (Request(Work.RUN, Scope(prefixes=prefixes)), said) == (
        found,
        [line.replace(top, "T") for line in listener.said],
    )
    assert [f"using the active environment {each}; pass --python to use the system's" for each in prefixes] == (
        listener.remarks
    )


SERVED = (Work.RUN, Work.REPAIR, Work.VERIFY, Work.SWEEP, Work.STATUS)
#: Requests that say what they mean, or are nobody's who has a shell.
OTHERS = [
    Request(Work.RUN, running=Running(hook=True)),
    Request(Work.RUN, Scope(("3.11",))),
    Request(Work.RUN, Scope(root="/")),
    Request(Work.RUN, Scope(site_dirs=("/s",))),
    Request(Work.RUN, Scope(prefixes=("/p",))),
    Request(Work.RUN, Scope(prefixes_below=("/p",))),
    Request(Work.RUN, transaction=Transaction(())),
    *(Request(work) for work in Work if work not in SERVED),
]


def test_who_means_the_active_environment(tmp_path: Path) -> None:
    """Only who names nothing."""
    variables = {"VIRTUAL_ENV": make(tmp_path, "pyvenv.cfg")}
    for request in OTHERS:
        assert request == with_active(request, variables, Listener())
    for work in SERVED:
        assert (str(tmp_path),) == with_active(Request(work), variables, Listener()).scope.prefixes
