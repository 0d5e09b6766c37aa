"""Which paths a call is about, and what it may not be."""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest

from pyctrigger.run import trigger as module
from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, Listener, caller, only, public  # noqa: F401 - fixtures

#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "outside": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("a.py", "../other", "../also/x.py")),
            [
                "error 2: outside the scope of FLAVOUR: S/../also/x.py, S/../other",
                "; the scope is S",
                "; name their directories with --site-dir as well",
                "error 2",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py", "../other"), hook=True),
            [
                "! outside the scope of FLAVOUR: S/../other",
                "; the scope is S",
                "; name its directory with --site-dir as well",
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(paths=("../other",), pythons=("/nowhere",)),
            ["error 69: interpreter /nowhere: No such file or directory", "; name one that exists", "error 69"],
        ),
        (
            lambda c: c.call(Work.VERIFY, paths=("../other",)),
            [
                "error 2: outside the scope of FLAVOUR: S/../other",
                "; the scope is S",
                "; name its directory with --site-dir as well",
                "error 2",
            ],
        ),
        (lambda c: c.history, ["run install 2 person 3", "run install 0 hook 2", "run install 69 person 1"]),
    ],
    "outside of what is usual": [
        (
            lambda c: c.library(lambda path: c.call(paths=("../other",), site_dirs=())),
            ["; name its directory with --site-dir, or its environment with --prefix", "error 2"],
        ),
        (lambda c: c.library(lambda path: c.call(paths=(path,), site_dirs=())), ["; add --stdlib", "error 2"]),
        (
            lambda c: c.library(lambda path: c.call(paths=(path, "../other"), site_dirs=())),
            ["; name their directories with --site-dir, or their environments with --prefix", "error 2"],
        ),
    ],
    "an interpreter that can't be asked": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,))),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), defer=True)),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; the work stays in the journal, and the next run with --python T/bin/python does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), hook=True)),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; the work stays in the journal, and the next run with --python T/bin/python does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), hook=True, dry_run=True)),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(Work.SWEEP, pythons=(path,), hook=True)),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path, c.python), hook=True)),
            [
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; the work stays in the journal, and the next run with --python T/bin/python does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.history,
            [
                "run install 69 person 1",
                "run install 69 person 1",
                "run install 69 hook 1",
                "sweep install 69 hook 0",
                "run install 69 hook 1",
            ],
        ),
    ],
    "what a hook's history has": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            ["compiled S/a.py: missing", "compiled S/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.call(paths=("a.py",), hook=True), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.call(paths=("a.py",), hook=True, dry_run=True), ["FLAVOUR: looked {'fresh': 2}", "looked 0"]),
        (lambda c: c.call(Work.VERIFY), ["FLAVOUR: looked {'fresh': 2}", "looked 0"]),
        (lambda c: c.call(paths=("a.py",)), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 person 1"]),
    ],
    "environments": [
        (lambda c: c.make_environment("a/venv", {"p/x.py": b"x = 1\n"}), None),
        (lambda c: c.make_environment("b/venv", {"q/y.py": b""}), None),
        (lambda c: c.make({"z.py": b""}), None),
        (lambda c: c.know_site("site"), None),
        (
            lambda c: c.within("a/venv", "b/venv"),
            [
                "compiled T/a/venv/lib/LIB/site-packages/p/x.py: missing",
                "compiled T/b/venv/lib/LIB/site-packages/q/y.py: missing",
                "T/a/venv (FLAVOUR): done {'compiled': 1}",
                "T/b/venv (FLAVOUR): done {'compiled': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.history, ["run install 0 person 0"]),
        (
            lambda c: c.below("a", "b", pythons=()),
            [
                "T/a/venv (FLAVOUR): nothing-to-do {'fresh': 1}",
                "T/b/venv (FLAVOUR): nothing-to-do {'fresh': 1}",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.below("a", "b", pythons=("3.25", "3.24")),
            [
                "error 2: --prefix-below T/a, T/b: no environment of 3.25, 3.24",
                "; leave out --python to use those that exist",
                "error 2",
            ],
        ),
        (lambda c: os.mkdir(c.top / "d"), None),
        (lambda c: os.mkdir(c.top / "e"), None),
        (
            lambda c: c.below("d", pythons=()),
            ["error 2: --prefix-below T/d: no environment below it", "; name another directory", "error 2"],
        ),
        (
            lambda c: c.within("d", "e", pythons=()),
            [
                "error 2: T/d has no interpreter in its bin",
                "; name one with --python PATH",
                "error 2: T/e has no interpreter in its bin",
                "; name one with --python PATH",
                "error 2",
            ],
        ),
        (
            lambda c: c.within("a/venv", pythons=("3.25", c.python)),
            ["T/a/venv (FLAVOUR): nothing-to-do {'fresh': 1}", "nothing-to-do 0"],
        ),
        (
            lambda c: c.within("a/venv", pythons=("3.25",)),
            [
                "error 2: T/a/venv is an environment of FLAVOUR, not of py325",
                "; use --python FLAVOUR, or leave it out",
                "error 2",
            ],
        ),
        (
            lambda c: c.within("a/venv", paths=("../b/venv/x.py",)),
            [
                "error 2: outside the scope of FLAVOUR: S/../b/venv/x.py",
                "; the scope is T/a/venv/lib/LIB/site-packages",
                "; leave out --prefix, or name paths inside it",
                "error 2",
            ],
        ),
        (
            lambda c: c.call(paths=("../a/venv", "../b/venv"), site_dirs=()),
            [
                "T/a/venv (FLAVOUR): nothing-to-do {'fresh': 1}",
                "T/b/venv (FLAVOUR): nothing-to-do {'fresh': 1}",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.call(paths=("../a/venv", ""), site_dirs=(), hook=True),
            [
                "! outside the scope of FLAVOUR: S/../a/venv",
                "; the scope is S",
                "; name its directory with --site-dir, or its environment with --prefix",
                "compiled S/z.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(paths=("../a/venv",)),
            [
                "error 2: outside the scope of FLAVOUR: S/../a/venv",
                "; the scope is S",
                "; name its directory with --site-dir as well",
                "error 2",
            ],
        ),
        (lambda c: c.call(site_dirs=()), ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"]),
        (
            lambda c: c.below("a", paths=("../a/venv/x.py",)),
            [
                "error 2: outside the scope of FLAVOUR: S/../a/venv/x.py",
                "; the scope is T/a/venv/lib/LIB/site-packages",
                "; leave out --prefix, or name paths inside it",
                "error 2",
            ],
        ),
        (lambda c: os.makedirs(c.top / "conda/r/conda-meta"), None),
        (
            lambda c: c.below("a", "conda"),
            [
                "! T/conda/r is a conda environment without a Python: there is nothing to do",
                "T/a/venv (FLAVOUR): nothing-to-do {'fresh': 1}",
                "error 2: --prefix-below T/conda: no environment below it",
                "; name another directory",
                "error 2",
            ],
        ),
    ],
    "environments that are gone": [
        (lambda c: c.make_environment("venv", {"p/x.py": b"x = 1\n"}), None),
        (lambda c: c.within("venv", defer=True), ["T/venv (FLAVOUR): deferred deferred {}", "deferred 0"]),
        (lambda c: c.pending, ["install everything (0)"]),
        (lambda c: os.rename(c.top / "venv", c.top / "elsewhere"), None),
        (
            lambda c: c.call(paths=()),
            [
                "! pending work for T/venv was dropped: the environment is gone",
                "FLAVOUR: nothing-to-do {}",
                "nothing-to-do 0",
            ],
        ),
        (lambda c: c.pending, []),
    ],
    "interpreters that are found": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.know_site("site", python=c.install(c.interpreter.kind.library), prefix="/one"), None),
        (lambda c: c.know_site("other", "site", python=c.install("python3"), prefix="/two"), None),
        (lambda c: os.mkdir(c.top / "other"), None),
        (
            lambda c: c.call(pythons=()),
            ["found FLAVOUR (T/bin/LIB)", "compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (
            lambda c: c.call(Work.VERIFY, pythons=(), site_dirs=()),
            ["found FLAVOUR (T/bin/LIB)", "FLAVOUR: looked {'fresh': 1}", "looked 0"],
        ),
        (
            lambda c: c.call(Work.PURGE, pythons=(), cache_tag=c.interpreter.cache_tag, dry_run=True, site_dirs=())[
                :-2
            ],
            [
                "FLAVOUR: looked {}",
                "remove S/__pycache__/a.TAG.pyc: pyc",
                "remove-directory S/__pycache__: emptied",
            ],
        ),
        (lambda c: c.put("../other/gone"), None),
        (
            lambda c: c.call(Work.SWEEP, pythons=(f"{c.top}/bin/python3",), dry_run=True, site_dirs=()),
            [
                "FLAVOUR: looked {}",
                "remove T/other/__pycache__/gone.TAG.pyc: orphan",
                "remove-directory T/other/__pycache__: emptied",
                "looked 0",
            ],
        ),
        (
            lambda c: c.call(Work.PURGE, pythons=(f"{c.top}/bin/python3",), dry_run=True)[:-2],
            [
                "FLAVOUR: looked {}",
                "remove S/__pycache__/a.TAG.pyc: pyc",
                "remove-directory S/__pycache__: emptied",
            ],
        ),
        (
            lambda c: c.call(
                Work.PURGE, pythons=(f"{c.top}/bin/python3", f"{c.top}/bin/{c.interpreter.kind.library}"), site_dirs=()
            ),
            [
                "removed T/other/__pycache__/gone.TAG.pyc: pyc",
                "removed T/other/__pycache__: emptied",
                "removed S/__pycache__/a.TAG.pyc: pyc",
                "removed S/__pycache__: emptied",
                "FLAVOUR (T/bin/python3): done {'removed': 1, 'removed_directories': 1}",
                "FLAVOUR (T/bin/LIB): done {'removed': 1, 'removed_directories': 1}",
                "note: S is left as it is: another interpreter with this cache tag uses its bytecode",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(Work.PURGE, pythons=(), every=True, site_dirs=()),
            ["found FLAVOUR (T/bin/LIB)", "FLAVOUR: nothing-to-do {}", "nothing-to-do 0"],
        ),
    ],
    "outside of two": [
        (
            lambda c: c.call(paths=("../other",), pythons=(c.python, c.install("python3", prefix="/two"))),
            [
                "error 2: outside the scope of FLAVOUR (PYTHON), FLAVOUR (T/bin/python3): S/../other",
                "; the scope is S",
                "; name its directory with --site-dir as well",
                "error 2",
            ],
        ),
    ],
    "no standard library": [
        (lambda c: c.make_environment("venv", {"p/x.py": b"x = 1\n"}), None),
        (lambda c: c.know_site("site"), None),
        (lambda c: c.know_site("site", python=c.install("python3"), prefix="/two", version=[3, 7, 1]), None),
        (
            lambda c: c.within("venv", stdlib=True),
            ["error 2: --stdlib: T/venv has no standard library of FLAVOUR", "; leave out --stdlib", "error 2"],
        ),
        (
            lambda c: c.within("venv", stdlib=True, pythons=(c.python, f"{c.top}/bin/python3", "/nowhere")),
            [
                "error 2: --stdlib: T/venv has no standard library of FLAVOUR, py37",
                "; leave out --stdlib",
                "error 69: interpreter /nowhere: No such file or directory",
                "; name one that exists",
                "error 69",
            ],
        ),
    ],
    "what packages own": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.put("a", mtime=5), None),
        (lambda c: c.call(), ["compiled S/a.py: mtime", "FLAVOUR: done {'compiled': 1}", "done 0"]),
    ],
    "a root": [
        (lambda c: os.makedirs(c.top / "root/site"), None),
        (lambda c: c.put("../root/site/gone"), None),
        (
            lambda c: c.call(root=str(c.top / "root"), site_dirs=("/site",)),
            [
                "removed /site/__pycache__/gone.TAG.pyc: orphan",
                "removed /site/__pycache__: emptied",
                "FLAVOUR: done {'removed': 1, 'removed_directories': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(Work.SWEEP, root=str(c.top / "root"), site_dirs=("/site",)),
            ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"],
        ),
    ],
    "records": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"", "p/__pycache__": b"", "p/c.py": b""}), None),
        (lambda c: c.call(paths=("a.py",), hook=True, defer=True), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
        (lambda c: c.history, ["run install 0 hook 1"]),
        (lambda c: c.interrupted(("a.py",)), None),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 person 1"]),
        (
            lambda c: c.call(paths=("p",), hook=True),
            [
                "compiled S/b.py: missing",
                "FLAVOUR: failed took over 1 {'compiled': 1, 'fresh': 1, 'failed': 1}",
                "failure refused S/p/__pycache__: it is a link or a file",
                "; pyctrigger repair replaces it",
                "failed 1",
            ],
        ),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 person 1", "run install 1 hook 1"]),
        (
            lambda c: c.call(paths=("p",), hook=True),
            [
                "FLAVOUR: failed {'fresh': 2, 'failed': 1}",
                "failure refused S/p/__pycache__: it is a link or a file",
                "; pyctrigger repair replaces it",
                "failed 1",
            ],
        ),
        (
            lambda c: c.history,
            ["run install 0 hook 1", "run install 0 person 1", "run install 1 hook 1", "run install 1 hook 1"],
        ),
    ],
    "a history that can't be written": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: (c.state / "history.sqlite").mkdir(), None),
        (
            lambda c: c.call(),
            [
                "! the history isn't kept: T/state: Is a directory",
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "done 0",
            ],
        ),
    ],
    "a configuration": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.config.write_text("[hooks]\nenabled = 3\n") and None, None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            [
                "FLAVOUR: deferred deferred {}",
                "error 2: T/config.toml: hooks.enabled can't be 3",
                "; write true or false",
                "; the work stays in the journal, and the next run does it",
                "error 2",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True, pythons=("/nowhere",)),
            [
                "error 2: T/config.toml: hooks.enabled can't be 3",
                "; write true or false",
                "error 69: interpreter /nowhere: No such file or directory",
                "; name one that exists",
                "error 69",
            ],
        ),
        (lambda c: c.pending, ["install S/a.py (0)"]),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_is_in_scope(only: Caller, story: str) -> None:  # noqa: F811
    """And what is said of the rest."""
    only.tell(STORIES[story])


def test_whom_a_call_cant_serve(only: Caller) -> None:  # noqa: F811
    """Each environment and interpreter, with one reason where several have no library."""
    only.make_environment("a", {"x.py": b""})
    only.make_environment("b", {"x.py": b""})
    only.know_site("site")
    other = only.install("python3", prefix="/two", version=[3, 7, 1])
    only.know_site("site", python=other)
    pythons = (only.python, other, "/nowhere")
    request = only.request(site_dirs=(), prefixes=(f"{only.top}/a", f"{only.top}/b"), pythons=pythons, stdlib=True)
    none = "--stdlib: T/a, T/b have no standard library of FLAVOUR, py37"
    nowhere = "interpreter /nowhere: No such file or directory"
    expected = [(f"T/{name}", reason) for name in ("a", "b") for reason in (none, none, nowhere)]
    unserved = module.prepare(request).unserved
    assert expected == [(only.short(each.scope.prefixes[0]), only.short(error.message)) for each, error in unserved]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_report_says_what_was_asked_for(only: Caller, dry_run: bool) -> None:  # noqa: F811
    """And whether anything was changed."""
    only.call(Work.SWEEP, dry_run=dry_run)
    assert ("sweep", dry_run) == (only.report.command, only.report.dry_run)


def test_a_process_apart_tells_another_observer(only: Caller) -> None:  # noqa: F811
    """Of all that happens from then on; and asks packages anew."""
    lines: list[str] = []
    operation, listener = module.prepare(only.request()), Listener(lines)
    before = operation.ownership
    operation.move_apart(listener)
    operation.store.give_up(OSError(28, "full"))
    operation.store.give_notice()
    assert ["! no state is kept: T/state: full; --state-dir names another directory"] == list(map(only.short, lines))
    assert operation.observer is listener
    assert isinstance(operation.ownership, type(before))
    assert operation.ownership is not before


def test_whose_packages_are_asked(public: Caller) -> None:  # noqa: F811
    """This system's, or those of a root; that a database can't be read is said."""
    lines: list[str] = []
    lists, place = public.top / "root/var/lib/dpkg/info", ("/site/__pycache__", "a.pyc")
    lists.mkdir(parents=True)
    (lists.parent / "status").touch()
    (lists / "p.list").write_text("/site/__pycache__/a.pyc\n")
    request = public.request(site_dirs=(), root=str(public.top / "root"), pythons=(public.python,))
    of_root = module.prepare(request, Listener(lines)).ownership
    here = module.prepare(public.request(), Listener(lines)).ownership
    assert ([True, False], False, []) == ([each.owns(*place) for each in (of_root, here)], here.is_unreadable, lines)
    (lists / "p.list").unlink()
    (lists / "p.list").mkdir()
    of_root.forget()
    assert of_root.owns(*place)
    assert ["! nothing is removed or replaced, since a package may own it"] == [
        line.partition(":")[0] for line in lines
    ]
