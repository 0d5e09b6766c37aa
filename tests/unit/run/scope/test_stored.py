"""What is stored for a request: where, and what becomes of a configuration or a state that can't be had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, working_as
from children import public_directory
from pyctrigger.errors import PyctriggerError
from pyctrigger.run.scope import stored as module
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Request, Work
from pyctrigger.run.scope.stored import load_settings, open_known, open_state
from pyctrigger.state.roots import directory_name
from pyctrigger.state.store import Store
from unit.run.calls import Listener

if TYPE_CHECKING:
    from pathlib import Path


def request_for(top: Path, fields: dict[str, Any]) -> Request:
    """A request with these fields; T is a directory of its own."""
    values = {name: value.replace("T", str(top)) if isinstance(value, str) else value for name, value in fields.items()}
    return Request(fields.get("work", Work.RUN)).with_values(values)


#: What a request says, the configuration, and whether its trouble is raised.
CONFIGURED: list[tuple[dict[str, Any], str, bool | None]] = [
    ({}, "[defaults]\nlock_timeout = 7\n", None),
    ({"hook": True}, "[defaults]\nlock_timeout = 7\n", None),
    ({}, "[nothing]\n", True),
    ({"hook": True}, "[nothing]\n", False),
    ({"hook": True, "stateless": True}, "[nothing]\n", True),
    ({"hook": True, "dry_run": True}, "[nothing]\n", True),
]


@pytest.mark.parametrize(("fields", "text", "is_raised"), CONFIGURED)
def test_a_configuration_that_cant_be_had(
    tmp_path: Path, fields: dict[str, Any], text: str, is_raised: bool | None
) -> None:
    """Is an error, unless it is a hook, which keeps its work."""
    (tmp_path / "c.toml").write_text(text)
    request = request_for(tmp_path, {"config": "T/c.toml", "state_dir": "T/state", **fields})
    if is_raised:
        for load in (load_settings, open_state):
            with pytest.raises(PyctriggerError, match="nothing"):
                load(request)
        return
    settings, trouble = load_settings(request)
    assert (7.0 if is_raised is None else Settings().lock_timeout) == settings.lock_timeout
    assert (is_raised is None) is (trouble is None)
    assert settings == open_state(request._replace(running=request.running._replace(stateless=False)))[0]


@pytest.mark.parametrize(("hook", "seconds"), [(False, 7.0), (True, Settings().lock_timeout)])
def test_a_hook_reads_no_configuration_that_its_caller_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_root: None, hook: bool, seconds: float
) -> None:
    """The environment of a package manager says nothing about the system; and root's never counts."""
    with public_directory() as readable:
        (readable / "c.toml").write_text("[defaults]\nlock_timeout = 7\n")
        os.chown(readable / "c.toml", ANN, ANN)
        monkeypatch.setenv("PYCTRIGGER_CONFIG", str(readable / "c.toml"))
        request = request_for(tmp_path, {"hook": hook})
        assert load_settings(request)[0] == Settings()
        with working_as("ann"):
            assert load_settings(request)[0].lock_timeout == seconds


#: What a request says, and its state, or the error; what was made by that.
PLACES: dict[str, tuple[dict[str, Any], str | None, list[str]]] = {
    "the account's": ({}, "T/own", []),
    "stateless": ({"stateless": True}, None, []),
    "named": ({"state_dir": "T/state"}, "T/state", []),
    "a root's": ({"root": "T/root"}, "T/own/roots/ROOT", []),
    "a root's, in the named one": ({"root": "T/root", "state_dir": "T/state"}, "T/state/roots/ROOT", []),
    "a root's, stateless": ({"root": "T/root", "stateless": True}, None, []),
    "a root's, for reading": ({"root": "T/root", "work": Work.VERIFY}, None, []),
    "a root's, foretold": ({"root": "T/root", "dry_run": True}, None, []),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Only a run that changes something makes it, and remembers interpreters there."""
    fields, expected, notices = PLACES[case]
    monkeypatch.setattr(module, "state_directory", lambda: str(tmp_path / "own"))
    (tmp_path / "root").mkdir()
    root = str(tmp_path / "root")
    request, heard = request_for(tmp_path, fields), list[str]()

    def short(text: str) -> str:
        return text.replace(directory_name(root), "ROOT").replace(str(tmp_path), "T")

    store, probed = open_known(request, Listener(heard))
    assert (expected, notices) == (None if store.base is None else short(store.base), heard)
    changes = request.work.writes and not request.running.dry_run
    assert (f"{store.base}/interpreters" if store.base else None, changes) == (probed._directory, probed._keep)
    if store.base is not None:
        made = store.directory("i")
        assert (f"{store.base}/i", True) == (made, os.path.isdir(str(made)))


UNTRUSTED = "and state there isn't trusted; name a directory outside, or use --stateless"
#: What a request says, and what is wrong with it.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"root": "T/absent"}, "--root T/absent: no such directory; name the directory of a staged root"),
    ({"prefixes": ("/absent",)}, "--prefix /absent: no such directory; name a directory that exists"),
    ({"root": "T/root", "state_dir": "T/root/var"}, f"--state-dir T/root/var: is in T/root, {UNTRUSTED}"),
]


@pytest.mark.parametrize(("fields", "expected"), REFUSED)
def test_what_is_refused(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    """Before anything is made."""
    (tmp_path / "root").mkdir()
    with pytest.raises(PyctriggerError) as caught:
        open_known(request_for(tmp_path, fields))
    assert expected == str(caught.value).replace(str(tmp_path), "T")
    assert (["root"], []) == (os.listdir(tmp_path), os.listdir(tmp_path / "root"))


def test_a_root_whose_state_is_known_is_read(tmp_path: Path) -> None:
    """Where a run has kept it."""
    (tmp_path / "root").mkdir()
    fields = {"root": "T/root", "state_dir": "T/state"}
    kept, _ = open_known(request_for(tmp_path, fields))
    found, _ = open_known(request_for(tmp_path, {**fields, "work": Work.VERIFY}))
    assert kept.base == found.base
    assert f"{tmp_path}/state/roots/{directory_name(str(tmp_path / 'root'))}" == found.base


#: What is in a root, and whether it had state of its own.
INSIDE: list[tuple[str, bool]] = [
    ("var/lib/pyctrigger/x", True),
    ("var/db/pyctrigger/x", True),
    ("var/lib/pyctrigger", False),
    ("var/lib/other/x", False),
]


@pytest.mark.parametrize(("path", "has_state"), INSIDE)
def test_state_inside_a_root(tmp_path: Path, path: str, has_state: bool) -> None:
    """Is noticed, and nothing stays open."""
    (tmp_path / "root" / path).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    assert has_state is module._has_old_state(str(tmp_path / "root"))
    assert len(os.listdir("/proc/self/fd")) <= before
    heard: list[str] = []
    open_known(request_for(tmp_path, {"root": "T/root", "state_dir": "T/state"}), Listener(heard))
    assert has_state is bool(heard)


def test_a_roots_state_that_cant_be_made(tmp_path: Path) -> None:
    """Is none, and that is said when it would be needed."""
    (tmp_path / "root").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/roots").touch()
    heard: list[str] = []
    store, _ = open_known(request_for(tmp_path, {"root": "T/root", "state_dir": "T/state"}), Listener(heard))
    store.give_notice()
    assert (None, 1) == (store.base, len(heard))


#: What a request says, and how its state is opened: whether it is made, whether what is asked may be late, and whose.
OPENED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"create": True, "hurries": False, "stateless": False}),
    ({"hook": True}, {"create": True, "hurries": True, "stateless": False}),
    ({"stateless": True}, {"create": True, "hurries": False, "stateless": True}),
    ({"work": Work.VERIFY}, {"create": False, "hurries": False, "stateless": False}),
    ({"dry_run": True}, {"create": False, "hurries": False, "stateless": False}),
    ({"root": "T/root"}, {"create": True, "hurries": False, "root": True}),
    ({"root": "T/root", "hook": True}, {"create": True, "hurries": True, "root": True}),
    ({"root": "T/root", "work": Work.VERIFY}, {"create": False, "stateless": True, "root": True}),
]


@pytest.mark.parametrize(("fields", "expected"), OPENED)
def test_how_state_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    """With the observer's ear."""
    opened: list[dict[str, Any]] = []

    def store(base: str | None, notice: Any, **options: Any) -> Store:
        opened.append({**options, **({"root": options["root"] is not None} if "root" in options else {})})
        notice("heard")
        return Store(base, notice, **options)

    monkeypatch.setattr(module, "Store", store)
    monkeypatch.setattr(module, "state_directory", lambda: str(tmp_path / "own"))
    (tmp_path / "root").mkdir()
    heard: list[str] = []
    open_known(request_for(tmp_path, fields), Listener(heard))
    assert ([expected], ["! heard"]) == (opened, heard)
