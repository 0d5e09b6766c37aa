"""Who could change what root relies on: every step of the way counts."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import InterpreterError, RefusedError
from pyctrigger.interpreter.interpreter import Account, ancestors
from pyctrigger.interpreter.trust import Holders, account_for, require_own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("as_root")
PERSON, OTHER = 12345, 12346


def status(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    """The status of a step of this mode and owner."""
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


FILE, DIRECTORY, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
#: Mode and owner of one step, whether it stands in a sticky directory, and who holds it then; "refused".
STEPS: list[tuple[int, int, bool, set[int] | str]] = [
    (FILE | 0o755, 0, False, set()),
    (FILE | 0o775, 0, False, "refused"),
    (FILE | 0o757, 0, False, "refused"),
    (FILE | 0o1777, 0, False, "refused"),  # a sticky bit means nothing on a file
    (DIRECTORY | 0o755, 0, False, set()),
    (DIRECTORY | 0o775, 0, False, "refused"),
    (DIRECTORY | 0o777, 0, False, "refused"),
    (DIRECTORY | 0o1777, 0, False, set()),
    (DIRECTORY | 0o1775, 0, False, set()),
    (LINK | 0o777, 0, False, set()),
    (FILE | 0o755, PERSON, False, {PERSON}),
    (FILE | 0o775, PERSON, False, "refused"),
    (DIRECTORY | 0o755, PERSON, False, {PERSON}),
    (LINK | 0o777, PERSON, False, set()),  # who may not write its directory can't change it
    (LINK | 0o777, PERSON, True, {PERSON}),
    (FILE | 0o755, PERSON, True, {PERSON}),
    (FILE | 0o755, 0, True, set()),
]


@pytest.mark.parametrize(("mode", "uid", "in_sticky", "expected"), STEPS)
def test_a_step_is_in_somebodys_hands(mode: int, uid: int, in_sticky: bool, expected: set[int] | str) -> None:
    """Root's alone, one account's, or anybody's."""
    holders = Holders("interpreter", "/p")
    if expected == "refused":
        with pytest.raises(RefusedError) as caught:
            holders.take("/step", status(mode, uid), in_sticky=in_sticky)
        assert ("interpreter /p is not trusted by root: others may write /step", "chmod go-w /step") == (
            caught.value.message,
            caught.value.hint,
        )
        return
    holders.take("/step", status(mode, uid), in_sticky=in_sticky)
    assert expected == holders._owners
    assert {"/step"} == set(holders.steps)
    assert ({"/step"} if expected else set()) == {path for path, kept in holders.kept.items() if kept}


def test_two_accounts_are_too_many() -> None:
    """Either could change what runs with the other's rights."""
    holders = Holders("interpreter", "/p")
    holders.take("/a", status(FILE | 0o755, PERSON))
    assert Account(PERSON, PERSON) == holders.account
    holders.take("/b", status(FILE | 0o755, OTHER))
    with pytest.raises(RefusedError, match=rf"is not trusted by root: accounts \[{PERSON}, {OTHER}\] can change it"):
        assert holders.account


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A directory of root's that everybody reaches, below only such."""
    for above in [tmp_path, *tmp_path.parents]:
        if above.stat().st_uid == 0 and not above.stat().st_mode & stat.S_ISVTX:
            above.chmod(above.stat().st_mode & ~0o022)
    return tmp_path


def test_a_way_is_followed_through_links(public: Path) -> None:
    """Relative, absolute and through `..`; each step is seen once."""
    (public / "real/bin").mkdir(parents=True)
    (public / "real/bin/python").touch()
    (public / "relative").symlink_to("real/../real/./bin")
    (public / "absolute").symlink_to(public / "relative/python")
    holders = Holders("interpreter", "p")
    expected = str(public / "real/bin/python")

    assert expected == holders.follow(f"{public}/absolute")
    assert {str(public / name) for name in ("absolute", "relative", "real", "real/bin", "real/bin/python")} < set(
        holders.kept
    )
    assert None is holders.account


def test_what_is_kept_can_be_switched_off(public: Path) -> None:
    """A step that was seen before is kept when it is looked at again."""
    (public / "file").touch()
    holders = Holders("x", "y")
    assert str(public / "file") == holders.follow_existing(str(public / "file"), keeps=False)
    assert {} == holders.kept
    holders.follow_existing(str(public / "file"))
    assert {str(public), str(public / "file")} < set(holders.kept)


@pytest.mark.parametrize("name", ["absent", "file/below", "dangling"])
def test_a_way_that_ends_is_an_error(public: Path, name: str) -> None:
    """With the system's reason."""
    (public / "file").touch()
    (public / "dangling").symlink_to("nowhere")
    with pytest.raises(
        InterpreterError, match=f"^interpreter {public}/{name}: (No such file|Not a directory)"
    ) as caught:
        Holders("interpreter", "p").follow(f"{public}/{name}")
    assert "name one that exists" == caught.value.hint
    assert Holders("interpreter", "p").follow_existing(f"{public}/{name}") is None


def test_each_component_is_judged_once_and_with_its_directory(public: Path) -> None:
    """A link of an account's in a sticky directory is in its hands, one in root's own isn't; both whatever is kept."""
    for place, mode in (("sticky", 0o1777), ("own", 0o755)):
        (public / place).mkdir()
        (public / place).chmod(mode)
        (public / place / "link").symlink_to(public)
        os.lchown(public / place / "link", PERSON, PERSON)
        for keeps in (True, False):
            holders = Holders("x", "y")
            assert str(public) == holders.follow_existing(f"{public}/{place}/link", keeps=keeps)
            assert (Account(PERSON, PERSON) if place == "sticky" else None) == holders.account
    known = holders.steps[str(public)]
    holders.follow(str(public))
    assert known is holders.steps[str(public)]


@pytest.mark.parametrize("name", ["file", "theirs", "link", "dangling", "absent", "directory"])
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_an_entry_is_judged_as_its_way_is(public: Path, mode: int, name: str) -> None:
    """What a listing shows needs no look at what is above it again."""
    top = public / "top"
    (top / "directory").mkdir(parents=True)
    top.chmod(mode)
    for each in ("file", "theirs"):
        (top / each).touch()
    os.chown(top / "theirs", PERSON, PERSON)
    (top / "link").symlink_to("theirs")
    (top / "dangling").symlink_to("nowhere")
    os.lchown(top / "link", OTHER, OTHER)
    found: list[tuple[object, ...]] = []
    for is_entry in (True, False):
        holders = Holders("x", "y")
        directory = str(holders.follow_existing(str(top), keeps=False))
        path = f"{directory}/{name}"
        if is_entry:
            real = dict(holders.follow_entries(directory, [name])).get(name)
        else:
            real = holders.follow_existing(path, keeps=False)
        found.append((real, holders._owners, holders.kept))
    assert found[0] == found[1]


#: Mode, owner and group of a component, and whether only accounts out of our namespace can change it. 65534 is what
#: shows for an account or group that isn't mapped.
OUTSIDE = [
    (FILE | 0o755, 65534, 0, True),
    (FILE | 0o755, PERSON, 0, False),
    (FILE | 0o757, 65534, 0, False),
    (FILE | 0o775, 65534, 0, False),
    (FILE | 0o775, 65534, 65534, True),
    (DIRECTORY | 0o1777, 65534, 0, True),
    (DIRECTORY | 0o777, 65534, 65534, False),
    (DIRECTORY | 0o777, 65534, 0, False),
    (LINK | 0o777, 65534, 65534, True),
]


@pytest.mark.parametrize(("mode", "uid", "gid", "is_outside"), OUTSIDE)
def test_what_lies_outside_of_our_namespace(
    monkeypatch: pytest.MonkeyPatch, public: Path, mode: int, uid: int, gid: int, is_outside: bool
) -> None:
    """Root in a namespace is an ordinary account there, and runs what it names as itself."""
    (public / "step").touch()

    def is_unmapped(owner: int, reopen: Callable[[int], int]) -> bool:
        descriptor = reopen(os.O_RDONLY | os.O_CLOEXEC)
        assert os.fstat(descriptor).st_ino == (public / "step").stat().st_ino
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
        return owner == 65534

    monkeypatch.setattr("pyctrigger.namespaces.is_unmapped_owner", is_unmapped)
    monkeypatch.setattr("pyctrigger.namespaces.is_unmapped_group", lambda group: group == 65534)
    holders = Holders("x", "y")
    try:
        holders.take(str(public / "step"), status(mode, uid, gid))
        held: Account | str | None = holders.account
    except RefusedError:
        held = "refused"
    assert is_outside == (held is None)


def test_others_judge_nothing(monkeypatch: pytest.MonkeyPatch, public: Path) -> None:
    """They run what they name with their own rights."""
    monkeypatch.setattr("os.geteuid", lambda: PERSON)
    (public / "file").touch()
    (public / "file").chmod(0o777)
    os.chown(public / "file", OTHER, OTHER)
    holders = Holders("x", "y")
    holders.follow(f"{public}/file")
    assert (None, None) == (holders.account, account_for(f"{public}/file", "x"))


@pytest.mark.parametrize(("count", "ends"), [(40, False), (41, True)])
def test_links_without_end(public: Path, count: int, ends: bool) -> None:
    """As many as the kernel follows."""
    (public / "link0").touch()
    for number in range(count):
        (public / f"link{number + 1}").symlink_to(f"link{number}")
    way = str(public / f"link{count}")
    if ends:
        with pytest.raises(InterpreterError, match="Too many levels of symbolic links"):
            Holders("interpreter", "p").follow(way)
    else:
        assert str(public / "link0") == Holders("interpreter", "p").follow(way)


@pytest.mark.parametrize(("mode", "expected"), [(0o1777, True), (0o1773, True), (0o755, False), (0o1755, False)])
def test_what_anybody_could_make_is_absent(public: Path, mode: int, expected: bool) -> None:
    """In a sticky directory that everybody may write."""
    (public / "place").mkdir()
    (public / "place").chmod(mode)
    holders = Holders("x", "y")
    assert holders.follow_existing(f"{public}/place/absent", keeps=False) is None
    assert ([f"{public}/place/absent"] if expected else []) == [
        path for path, kept in holders.kept.items() if kept is None
    ]


def test_root_trusts_what_only_root_could_change(public: Path) -> None:
    """Not what an account has, and not what everybody may write."""
    file = public / "file"
    file.touch(0o644)
    require_own(str(file), "configuration")
    assert account_for(str(file), "configuration") is None
    os.chown(file, PERSON, PERSON)
    assert Account(PERSON, PERSON) == account_for(str(file), "configuration")
    with pytest.raises(RefusedError) as caught:
        require_own(str(file), "configuration")
    message = f"configuration {file} is not trusted by root: account {PERSON} owns a part of its path"
    hint = "give the file, and the directories above it, to root (chown)"
    assert (message, hint) == (caught.value.message, caught.value.hint)
    file.chmod(0o666)
    with pytest.raises(RefusedError, match=f"^configuration {file} is not trusted by root: others may write {file}; "):
        require_own(str(file), "configuration")


@pytest.mark.parametrize(("path", "expected"), [("/", ["/"]), ("/a", ["/a", "/"]), ("/a/b", ["/a/b", "/a", "/"])])
def test_ancestors_begin_with_the_directory_itself(path: str, expected: list[str]) -> None:
    """And end with the root."""
    assert expected == list(ancestors(path))
