"""Whole calls, from the request to the report, the history, the journal and the tree."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.errors import LockTimeoutError, UsageError
from pyctrigger.outcome.report import Report
from pyctrigger.run import syslog
from pyctrigger.run import trigger as module
from pyctrigger.run.operation import Operation
from pyctrigger.run.readiness import get_ready
from pyctrigger.run.scope.request import Request, Work
from pyctrigger.state.lock import InstallationLock
from unit.run.calls import Caller, Listener, caller, reported  # noqa: F401 - a fixture
from unit.run.plan.trees import make
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def work_of(caller: Caller, **fields: Any) -> list[str]:  # noqa: F811
    """What an observer of a call hears of flavours."""
    lines: list[str] = []
    caller.perform(caller.request(**fields), started=lines.append, finished=lambda: lines.append("finished"))
    return [caller.short(line) for line in lines]


#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "a transaction": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n", "bad.py": b"x = (\n"}), None),
        (
            lambda c: c.call(paths=("a.py", "")),
            [
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "FLAVOUR: failed {'compiled': 2, 'failed': 1}",
                "failure syntax S/bad.py: line 1, SyntaxError",
                "failed 1",
            ],
        ),
        (lambda c: c.tree, ["__pycache__/a.TAG.pyc", "__pycache__/b.TAG.pyc", "a.py", "b.py", "bad.py"]),
        (
            lambda c: c.call(paths=("a.py",)),
            [
                "FLAVOUR: nothing-to-do {'fresh': 2, 'skipped': 1}",
                "known uncompilable S/bad.py: None",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py", "bad.py")),
            [
                "FLAVOUR: nothing-to-do {'fresh': 2, 'skipped': 1}",
                "known uncompilable S/bad.py: None",
                "nothing-to-do 0",
            ],
        ),
        (lambda c: c.pending, []),
        (lambda c: c.history, ["run install 1 person 2", "run install 0 person 1", "run install 0 person 2"]),
    ],
    "a hook's transaction": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            ["compiled S/a.py: missing", "compiled S/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.call(paths=("a.py",), hook=True), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.call(paths=(), hook=True), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: c.history, ["run install 0 hook 1"]),
        (lambda c: c.make({"a.py": b"x = 3\n", "c.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("b.py",), hook=True),
            [
                "compiled S/a.py: content",
                "compiled S/c.py: missing",
                "FLAVOUR: done {'compiled': 2, 'fresh': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 hook 1"]),
    ],
    "hooks that fail": [
        (lambda c: c.make({"bad.py": b"x = (\n"}), None),
        (
            lambda c: c.call(paths=("bad.py",), hook=True),
            ["FLAVOUR: failed {'failed': 1}", "failure syntax S/bad.py: line 1, SyntaxError", "failed 1"],
        ),
        (
            lambda c: c.call(paths=("bad.py",), hook=True),
            ["FLAVOUR: nothing-to-do {'skipped': 1}", "known uncompilable S/bad.py: None", "nothing-to-do 0"],
        ),
    ],
    "without state": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), stateless=True, state_dir=None),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (lambda c: (c.tree, c.history), (["__pycache__/a.TAG.pyc", "a.py"], [])),
        (
            lambda c: c.call(paths=("a.py",), stateless=True, state_dir=None, hook=True),
            ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"],
        ),
        (
            lambda c: c.call(paths=("a.py",), stateless=True),
            ["raised 2: --stateless and --state-dir contradict each other", "; leave one of them out"],
        ),
        (
            lambda c: c.call(paths=("a.py",), defer=True, dry_run=True),
            ["raised 2: --defer keeps state", "; leave out --stateless and --dry-run"],
        ),
    ],
    "work with other options": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b""}), None),
        (lambda c: c.call(paths=("a.py",), defer=True, optimize=(1,)), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
        (
            lambda c: c.call(paths=("b.py",), defer=True, optimize=(2,), event="remove"),
            ["FLAVOUR: deferred deferred {}", "deferred 0"],
        ),
        (lambda c: c.pending, ["install S/a.py (0)", "remove S/b.py (0)"]),
        (
            lambda c: c.call(paths=("b.py",)),
            [
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "FLAVOUR: done took over 2 {'compiled': 6}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.tree),
            (
                [],
                [
                    "__pycache__/a.TAG.opt-1.pyc",
                    "__pycache__/a.TAG.opt-2.pyc",
                    "__pycache__/a.TAG.pyc",
                    "__pycache__/b.TAG.opt-1.pyc",
                    "__pycache__/b.TAG.opt-2.pyc",
                    "__pycache__/b.TAG.pyc",
                    "a.py",
                    "b.py",
                ],
            ),
        ),
    ],
    "watched": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"", "bad.py": b"x = (\n"}), None),
        (
            lambda c: c.perform(c.request(), is_watched=True),
            [
                "looked 3",
                "compiled S/a.py: missing",
                "progress 1/3",
                "progress 2/3",
                "compiled S/b.py: missing",
                "progress 3/3",
                "looked 6",
                "FLAVOUR: failed {'compiled': 2, 'failed': 1}",
                "failure syntax S/bad.py: line 1, SyntaxError",
                "failed 1",
            ],
        ),
    ],
    "a purge": [
        (lambda c: c.make({"a.py": b"x = 1\n", "p/b.py": b""}), None),
        (lambda c: c.put("p/other"), None),
        (lambda c: c.put("a", level=1, body=b"longer"), None),
        (
            lambda c: c.call(Work.PURGE, dry_run=True, optimize=(0,)),
            [
                "FLAVOUR: looked {}",
                "remove S/p/__pycache__/other.TAG.pyc: pyc",
                "remove-directory S/p/__pycache__: emptied",
                "takes S: 1 of 20 bytes, 1 by others",
                "looked 0",
            ],
        ),
        (lambda c: c.call(paths=("a.py",)), ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"]),
        (
            lambda c: c.call(Work.PURGE),
            [
                "removed S/__pycache__/a.TAG.opt-1.pyc: pyc",
                "removed S/__pycache__/a.TAG.pyc: pyc",
                "removed S/__pycache__: emptied",
                "removed S/p/__pycache__/other.TAG.pyc: pyc",
                "removed S/p/__pycache__: emptied",
                "FLAVOUR: done {'removed': 3, 'removed_directories': 2}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.tree, c.pending, c.history),
            (["a.py", "p/b.py"], [], ["run install 0 person 1", "purge install 0 person 0"]),
        ),
        (lambda c: c.call(Work.PURGE), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (
            lambda c: c.call(Work.PURGE, pythons=()),
            ["raised 2: purge needs --python V, --cache-tag TAG or --all", "; name what to remove"],
        ),
        (
            lambda c: c.call(Work.PURGE, pythons=(), cache_tag="cpython-312"),
            ["py312: nothing-to-do {}", "nothing-to-do 0"],
        ),
    ],
    "a missing interpreter": [
        (
            lambda c: c.call(pythons=("/nowhere", c.python)),
            [
                "FLAVOUR: nothing-to-do {}",
                "error 69: interpreter /nowhere: No such file or directory",
                "; name one that exists",
                "error 69",
            ],
        ),
        (
            lambda c: c.call(pythons=("/nowhere",), hook=True),
            ["error 69: interpreter /nowhere: No such file or directory", "; name one that exists", "error 69"],
        ),
        (lambda c: c.history, ["run install 69 person 0", "run install 69 hook 0"]),
    ],
    "outside": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.call(paths=("a.py", "../other"))[-1], "error 2"),
        (lambda c: (c.tree, c.report.runs), (["a.py"], [])),
    ],
    "a lock that is held": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.locks(lambda: c.call(paths=("a.py",), lock_timeout=0.0)),
            [
                "FLAVOUR: locked {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; the work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
    ],
    "an environment": [
        (lambda c: c.make_environment("venv", {"p/a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("../venv",), site_dirs=(), prefixes=(str(c.environment),)),
            [
                "compiled T/venv/lib/LIB/site-packages/p/a.py: missing",
                "T/venv (FLAVOUR): done {'compiled': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.report.runs[0].interpreter == c.interpreter, True),
    ],
    "two of one flavour": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(pythons=(c.python, c.install("python", prefix="/other"))),
            [
                "compiled S/a.py: missing",
                "FLAVOUR (PYTHON): done {'compiled': 1}",
                "FLAVOUR (T/bin/python): nothing-to-do {'fresh': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: work_of(c, pythons=(c.python, c.install("python", prefix="/other"))),
            ["FLAVOUR (PYTHON)", "finished", "FLAVOUR (T/bin/python)", "finished"],
        ),
    ],
    "the same one twice": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(pythons=(c.python, c.python)),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_comes_of_calls(caller: Caller, story: str) -> None:  # noqa: F811
    """Everything that is said, and what is there afterwards."""
    caller.tell(STORIES[story])


#: Arguments, and the parts of the request that they make; T is the working directory.
ARGUMENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"version": "3.11"}, {"pythons": ("3.11",)}),
    ({"paths": []}, {"paths": ()}),
    ({"paths": ["a.py", b"/b.py", Path("c"), ""]}, {"paths": ("T/a.py", "/b.py", "T/c", "")}),
    ({"paths": ["usr/a.py"], "manager": "pacman"}, {"paths": ("/usr/a.py",), "manager": "pacman"}),
    ({"event": "remove", "manager": "dpkg"}, {"event": "remove", "manager": "dpkg"}),
    ({"root": "r"}, {"root": "T/r"}),
    ({"root": Path("/r")}, {"root": "/r"}),
    ({"site_dirs": ["s", Path("/t")]}, {"site_dirs": ("T/s", "/t")}),
    ({"prefixes": ["s", Path("/t")]}, {"prefixes": ("T/s", "/t")}),
    ({"prefixes_below": ["s", Path("/t")]}, {"prefixes_below": ("T/s", "/t")}),
    ({"state_dir": Path("s")}, {"state_dir": "T/s"}),
    ({"stateless": True, "dry_run": True}, {"stateless": True, "dry_run": True}),
    ({"config": Path("c")}, {"config": "c"}),
]


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS)
def test_what_the_library_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Paths are absolute from the beginning."""
    asked: list[Request] = []
    report = Report("run")

    def perform(request: Request, _: object) -> Report:
        asked.append(request)
        return report

    monkeypatch.setattr(module, "perform", perform)
    monkeypatch.chdir(tmp_path)
    assert report is module.run_trigger(**{"version": None, "paths": None, **arguments})

    def whole(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(whole, value))
        return value.replace("T/", f"{tmp_path}/") if isinstance(value, str) else value

    meant = {name: whole(value) for name, value in expected.items()}
    assert [Request(Work.RUN).with_values({"event": "unknown", **meant})] == asked


def test_the_first_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all is done."""
    report = Report("run")
    report.errors += [UsageError("first"), UsageError("second")]
    monkeypatch.setattr(module, "perform", lambda *_: report)
    with pytest.raises(UsageError, match="first"):
        module.run_trigger("3.11", [])


def test_what_is_prepared_is_used(caller: Caller) -> None:  # noqa: F811
    """And prepared once."""
    caller.make({"a.py": b""})
    heard: list[str] = []
    operation = module.prepare(caller.request(), Listener(heard))
    assert [str(caller.site)] == [site.path for target in operation.targets for site in target.sites]
    report = module.perform(caller.request(Work.PURGE), prepared=operation)
    assert report is operation.report
    assert [f"compiled {caller.site}/a.py: missing"] == heard
    assert 0 < report.runs[0].elapsed_seconds < 60
    assert 1 == len(module.prepare(caller.request()).targets)


@pytest.mark.parametrize(
    ("work", "changes", "expected"),
    [
        (Work.RUN, {}, True),
        (Work.REPAIR, {}, True),
        (Work.RUN, {"hook": True}, False),
        (Work.RUN, {"dry_run": True}, False),
        (Work.VERIFY, {}, False),
    ],
)
def test_what_is_done_while_an_interpreter_is_asked(
    caller: Caller,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
    changes: dict[str, Any],
    expected: bool,
) -> None:
    """What compiling needs is imported, where there will be much to compile."""
    caller.make({"a.py": b""})
    heard: list[object] = []
    prepare = Operation.prepare

    def listen(operation: Operation, meanwhile: object = None) -> None:
        heard.append(meanwhile)
        prepare(operation)

    monkeypatch.setattr(Operation, "prepare", listen)
    module.perform(caller.request(work, **changes))
    assert [get_ready if expected else None] == heard


#: The configured log, the request, and whether its words go there.
LOGS: list[tuple[str, dict[str, Any], bool]] = [
    ("syslog", {}, True),
    ("none", {}, False),
    ("syslog", {"dry_run": True}, False),
    ("syslog", {"work": Work.VERIFY}, False),
]


@pytest.mark.parametrize(("log", "fields", "is_logged"), LOGS)
def test_when_the_system_logs_it(
    caller: Caller,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    log: str,
    fields: dict[str, Any],
    is_logged: bool,
) -> None:
    """What changes something, as it is configured."""
    logged: list[Any] = []

    @contextlib.contextmanager
    def into(operation: Any) -> Iterator[None]:
        logged.append(operation)
        yield

    monkeypatch.setattr(syslog, "logged", into)
    caller.config.write_text(f'[defaults]\nlog = "{log}"\n')
    caller.call(**fields)
    assert [caller.report] * is_logged == [operation.report for operation in logged]


#: How the interpreter is named, whether it left bytecode, and what is said.
GONE: list[tuple[dict[str, Any], bool, list[str]]] = [
    (
        {"hook": True},
        True,
        [
            "found py312 (T/bin/python3.12)",
            "removed T/site/__pycache__/a.cpython-312.pyc: pyc",
            "removed T/site/__pycache__: emptied",
            "py312: done {'removed': 1, 'removed_directories': 1}",
            "note: py312: its interpreter T/bin/python3.12 is gone; its bytecode was removed",
            "done 0",
        ],
    ),
    ({"hook": True}, False, ["found py312 (T/bin/python3.12)", "done 0"]),
    (
        {"hook": True, "pythons": ("3.12",)},
        True,
        [
            "removed T/site/__pycache__/a.cpython-312.pyc: pyc",
            "removed T/site/__pycache__: emptied",
            "py312: done {'removed': 1, 'removed_directories': 1}",
            "note: py312: its interpreter T/bin/python3.12 is gone; its bytecode was removed",
            "done 0",
        ],
    ),
    (
        {"hook": True, "pythons": ("3.12",)},
        False,
        [
            "error 69: no Python 3.12 was found in the standard directories; name another one with --python PATH",
            "error 69",
        ],
    ),
    (
        {"hook": True, "dry_run": True},
        True,
        [
            "found py312 (T/bin/python3.12)",
            "py312: looked {}",
            "remove T/site/__pycache__/a.cpython-312.pyc: pyc",
            "remove-directory T/site/__pycache__: emptied",
            "takes T/site: 1 of 1 bytes, 1 by others",
            "looked 0",
        ],
    ),
    ({}, True, ["error 69: no interpreter was found; name one with --python PATH", "error 69"]),
]


def gone(
    top: Path, monkeypatch: pytest.MonkeyPatch, *, has_left: bool = True, **fields: Any
) -> tuple[Machine, Request]:
    """A machine whose only interpreter has gone, and a call."""
    machine, site = Machine(top, monkeypatch), str(top / "site")
    scheme = {"purelib": site, "platlib": site, "stdlib": str(top / "lib")}
    machine.remember("bin/python3.12", "3.12", schemes={"posix_prefix": scheme}, inside=())
    make(top / "site", {"a.py": b""})
    config = top / "config.toml"
    config.touch(mode=0o600)
    if has_left:
        make(top / "site/__pycache__", {"a.cpython-312.pyc": b"x"})
    request = Request(Work.RUN).with_values({"state_dir": str(top / "state"), "config": str(config), **fields})
    return machine, request


@pytest.mark.parametrize(("fields", "has_left", "expected"), GONE)
def test_an_interpreter_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], has_left: bool, expected: list[str]
) -> None:
    """Takes its bytecode with it, and is forgotten."""
    machine, request = gone(tmp_path, monkeypatch, has_left=has_left, **fields)
    heard: list[str] = []
    report = module.perform(request, Listener(heard))
    assert expected == [machine.short(line) for line in [*heard, *reported(report)]]
    is_forgotten = bool(fields.get("hook")) and not fields.get("dry_run")
    assert is_forgotten is not bool(list(machine.probed.known()))


#: The option, and what a hook says when it has waited so long.
PATIENCE: list[tuple[float | None, str]] = [(None, "30"), (0.0, "0"), (99.0, "99")]


@pytest.mark.parametrize(("option", "seconds"), PATIENCE)
def test_a_hook_waits_as_long_as_ever_for_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: float | None, seconds: str
) -> None:
    """And leaves nothing in the journal: the next one sees by itself that it is gone."""

    def wait(self: InstallationLock, timeout: float, *_: object) -> bool:
        raise LockTimeoutError(timeout, None)

    monkeypatch.setattr(InstallationLock, "acquire", wait)
    machine, request = gone(tmp_path, monkeypatch, hook=True, lock_timeout=option)
    lines = reported(module.perform(request))
    error = f"error 75: the lock was not free within {seconds} s, held by an unknown process; "
    assert ["py312: locked {}", f"{error}wait for it to end, or raise --lock-timeout", "locked 75"] == lines
    assert [] == list(tmp_path.glob("state/*/journal/*"))
    assert 1 == len(list(machine.probed.known()))
