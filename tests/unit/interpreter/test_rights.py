"""With whose rights a child starts and works, and whether an account without rights can run an interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, cast

import pytest

from pyctrigger.interpreter import rights
from pyctrigger.interpreter.elf import Needs
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.rights import Rights, is_for_everybody, rights_for
from unit.interpreter.made_up import open_way_to

if TYPE_CHECKING:
    from pathlib import Path

    from pyctrigger.interpreter.interpreter import Interpreter
    from pyctrigger.interpreter.worker_accounts import Lease


class _Target:
    def __init__(self, top: str, executable: str, root: str | None = None, scheme: str = "own") -> None:
        self.executable, self.root = executable, root
        self.schemes = {scheme: {"stdlib": f"{top}/lib", "platstdlib": f"{top}/lib64", "purelib": f"{top}/absent"}}
        self.default_scheme = "own"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A directory that everybody reaches, with an interpreter and its library."""
    open_way_to(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()
    (tmp_path / "bin/python").chmod(0o755)
    for name in ("lib", "lib64"):
        (tmp_path / name).mkdir()
    for name in ("bin", "lib", "lib64"):
        (tmp_path / name).chmod(0o755)
    rights._is_open.cache_clear()
    rights._named_libraries.cache_clear()
    return tmp_path


def ask(top: Path, executable: str = "bin/python", **options: Any) -> bool:
    """Whether everybody may run this one."""
    return is_for_everybody(cast("Interpreter", _Target(str(top), str(top / executable), **options)))


Deed = Callable[["Path"], Any]
DEEDS: dict[str, tuple[Deed, bool]] = {
    "as it is": (lambda top: None, True),
    "not to be executed": (lambda top: (top / "bin/python").chmod(0o744), False),
    "not to be read": (lambda top: (top / "bin/python").chmod(0o751), False),
    "only its group's": (lambda top: (top / "bin/python").chmod(0o750), False),
    "a closed directory": (lambda top: (top / "bin").chmod(0o750), False),
    "a directory that isn't listed": (lambda top: (top / "bin").chmod(0o711), True),
    "a closed library": (lambda top: (top / "lib").chmod(0o750), False),
    "the other closed library": (lambda top: (top / "lib64").chmod(0o750), False),
    "a library that isn't listed": (lambda top: (top / "lib").chmod(0o711), False),
    "gone": (lambda top: (top / "bin/python").unlink(), False),
}


@pytest.mark.parametrize("name", DEEDS)
def test_modes_say_who_may_run_it(public: Path, name: str) -> None:
    """The executable, every directory above it, and the standard library."""
    deed, expected = DEEDS[name]
    deed(public)
    assert expected is ask(public)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("bin/python", True),
        ("{top}/bin/python", True),
        ("bin/../bin/./python", True),
        ("closed/python", False),
        ("link", False),
        ("nowhere", False),
    ],
)
def test_links_lead_through_what_has_to_be_open(public: Path, goal: str, expected: bool) -> None:
    """Relative and absolute; in circles and to nowhere there is nothing to run."""
    (public / "closed").mkdir(mode=0o700)
    (public / "closed/python").touch(0o755)
    (public / "link").symlink_to(goal.format(top=public))
    assert expected is ask(public, "link")


@pytest.mark.parametrize(("count", "expected"), [(40, True), (41, False)])
def test_links_are_followed_as_far_as_the_kernel_does(public: Path, count: int, expected: bool) -> None:
    """Forty."""
    (public / "link0").symlink_to("bin/python")
    for number in range(1, count):
        (public / f"link{number}").symlink_to(f"link{number - 1}")
    assert expected is ask(public, f"link{count - 1}")


def test_an_unknown_scheme_has_no_library_to_list(public: Path) -> None:
    """Then the executable alone decides."""
    (public / "lib").chmod(0o700)
    assert ask(public, scheme="other") is True


@pytest.mark.parametrize(
    ("needs", "mode", "expected"),
    [
        (Needs("/ld", ("libpython.so",), (), ("{top}/lib",)), 0o700, False),
        (Needs("/ld", ("libpython.so",), ("{top}/lib",), ()), 0o700, False),
        (Needs("/ld", ("libpython.so",), ("{top}/lib",), ("{top}/absent",)), 0o700, True),
        (Needs("/ld", ("libpython.so",), (), ("{top}/lib",)), 0o755, True),
        (Needs("/ld", ("libc.so.6",), (), ("{top}/lib",)), 0o700, True),
        (None, 0o700, True),
    ],
)
def test_its_own_libraries_have_to_be_open(
    public: Path, monkeypatch: pytest.MonkeyPatch, needs: Needs | None, mode: int, expected: bool
) -> None:
    """Those in a place that it names; DT_RPATH counts where there is no DT_RUNPATH."""
    (public / "lib/libpython.so").touch()
    (public / "lib/libpython.so").chmod(mode)
    if needs is not None:
        places = [tuple(each.format(top=public) for each in part) for part in (needs.rpath, needs.runpath)]
        needs = needs._replace(rpath=places[0], runpath=places[1])
    monkeypatch.setattr(rights, "read_needs", lambda path: needs)
    assert expected is ask(public)


def test_inside_a_root_its_own_libraries_are_not_looked_at(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their places would be looked for outside of it."""
    monkeypatch.setattr(rights, "read_needs", lambda path: 1 / 0)
    target = _Target("", "/bin/python", root=str(public))
    assert is_for_everybody(cast("Interpreter", target)) is True
    (public / "bin/python").chmod(0o700)
    rights._is_open.cache_clear()
    assert is_for_everybody(cast("Interpreter", target)) is False


OWN = Account(2000200001, 2000200001)
PERSON = Account(1000, 1000)


class _Leased:
    account = OWN


class _Interpreter:
    def __init__(self, account: Account | None, root: str | None) -> None:
        self.account = account
        self.root = root


OURS, THEIRS = Rights(), Rights(PERSON, is_foreign=True)
LEASED, START_AS_ROOT = Rights(OWN, OWN.uid), Rights(None, OWN.uid)
#: Whether there is a lease, whose the interpreter is, whether everybody reaches it, its root, and what a worker gets.
TABLE: list[tuple[bool, Account | None, bool, str | None, Rights]] = [
    (False, None, True, None, OURS),
    (False, None, False, None, OURS),
    (False, PERSON, True, None, THEIRS),
    (False, PERSON, False, None, THEIRS),
    (False, PERSON, False, "/srv", THEIRS._replace(root="/srv")),
    (True, None, True, None, LEASED),
    (True, PERSON, True, None, LEASED._replace(is_foreign=True)),
    (True, None, False, None, START_AS_ROOT),  # loads what it needs as root, and drops
    (True, PERSON, False, None, THEIRS),  # never with more than that person has
    (True, None, False, "/srv", LEASED._replace(root="/srv")),
    (True, PERSON, False, "/srv", LEASED._replace(root="/srv", is_foreign=True)),
]


@pytest.mark.parametrize(("leased", "account", "is_open", "root", "expected"), TABLE)
def test_rights_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
    leased: bool,
    account: Account | None,
    is_open: bool,
    root: str | None,
    expected: Rights,
) -> None:
    """An account of its own wherever possible; what can't start like that isn't started with more rights."""
    target = cast("Interpreter", _Interpreter(account, root))
    monkeypatch.setattr(rights, "is_for_everybody", lambda interpreter: is_open and interpreter is target)
    lease: Any = _Leased() if leased else None
    assert expected == rights_for(target, cast("Lease | None", lease))


@pytest.mark.parametrize(
    ("each", "owner", "suffix", "hint"),
    [
        (OURS, None, "", None),
        (START_AS_ROOT, None, "", None),
        (LEASED, None, "", "let everybody read"),
        (THEIRS, 1000, " as account 1000", "let that account read"),
    ],
)
def test_messages_name_the_person_that_a_child_runs_as(
    each: Rights, owner: int | None, suffix: str, hint: str | None
) -> None:
    """Not an account that doesn't exist."""
    assert (owner, suffix, hint) == (each.owner, each.suffix, each.hint and each.hint.partition(" and")[0])
