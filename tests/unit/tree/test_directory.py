"""A site directory held by its descriptor: no link is followed, and another account's place is reported."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Callable

import pytest

from packages import write_tree
from pyctrigger.tree import directory as module
from pyctrigger.tree.directory import (
    Tree,
    account_on_way,
    open_in_root,
    open_way,
    status_in_root,
)
from pyctrigger.tree.identity import ForeignPlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANN = 12345


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A site directory with packages, and links in and out."""
    top = write_tree(tmp_path / "site", {"a/b/c/m.py": "", "a/n.py": "", "z/m.py": "", "file": ""})
    write_tree(tmp_path, {"site2/m.py": "", "outside/m.py": ""})
    for name, goal in {
        "link": "a",
        "out": "../outside",
        "sibling": str(tmp_path / "site2/m.py"),
        "inside": str(tmp_path / "site/a/n.py"),
        "own": str(tmp_path / "site"),
        "up": "a/../../site/a/n.py",
        "relative": "a/b/../n.py",
        "two": "relative",
        "through": "link/n.py",
        "trailing": "a/",
        "dot": ".",
        "circle": "circle",
        "dangling": "a/absent",
        "of_file": "file/x",
    }.items():
        (top / name).symlink_to(goal)
    return top


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    """Opened."""
    with Tree.open(str(top)) as tree:
        yield tree


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("relative", ["", "a", "a/b", "a/b/c", "z"])
def test_a_directory_is_opened_by_its_components(top: Path, tree: Tree, relative: str) -> None:
    """And stays open: a second look costs nothing."""
    descriptor = tree.directory(relative)
    count = descriptors()
    assert (top / relative).stat().st_ino == os.fstat(descriptor).st_ino
    assert (descriptor, count) == (tree.directory(relative), descriptors())


@pytest.mark.parametrize(
    ("relative", "number"),
    [
        ("link", errno.ELOOP),
        ("link/b", errno.ELOOP),
        ("file", errno.ENOTDIR),
        ("absent", errno.ENOENT),
        ("a/x/y", errno.ENOENT),
    ],
)
def test_what_is_no_directory_is_an_error(tree: Tree, relative: str, number: int) -> None:
    """A link to one isn't either."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
        tree.directory(relative)
    assert caught.value.errno in (number, errno.ENOTDIR)


def test_descriptors_are_few(top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is given back, and opened anew when it is needed."""
    monkeypatch.setattr(module, "_MAX_OPEN", 4)
    write_tree(top, {f"p{number}/m.py": "" for number in range(20)})
    before = descriptors()
    for _ in range(2):
        for number in range(20):
            tree.directory("a")
            assert (top / f"p{number}").stat().st_ino == os.fstat(tree.directory(f"p{number}")).st_ino
    assert descriptors() - before == 4


def test_with_no_descriptor_left_those_held_are_given_back(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then it is tried once more."""
    tree.directory("z")
    real, failures = Tree._open_below, [errno.EMFILE, errno.ENFILE]

    def opened(self: Tree, *arguments: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "too many")
        return real(self, *arguments)

    monkeypatch.setattr(Tree, "_open_below", opened)
    failures.pop()
    tree.directory("a")
    assert "z" not in tree._open
    failures.append(errno.EACCES)
    with pytest.raises(OSError, match="too many"):
        tree.directory("z")


def test_closing_gives_everything_back(top: Path) -> None:
    """Twice is no error."""
    before = descriptors()
    tree = Tree.open(str(top))
    tree.directory("a/b")
    tree.close()
    tree.close()
    assert before == descriptors()


def test_a_forgotten_directory_is_opened_anew(top: Path, tree: Tree) -> None:
    """Another one may have come in its place."""
    old = os.fstat(tree.directory("z")).st_ino
    (top / "z").rename(top / "y")
    (top / "z").mkdir()
    assert old == os.fstat(tree.directory("z")).st_ino
    tree.forget("z")
    tree.forget("never opened")
    assert (top / "z").stat().st_ino == os.fstat(tree.directory("z")).st_ino


@pytest.mark.parametrize(
    ("path", "relative", "name", "expected"),
    [
        ("/site", "", "", "/site"),
        ("/site/", "a", "", "/site/a"),
        ("/site", "a/b", "m.py", "/site/a/b/m.py"),
        ("/site", "", "m.py", "/site/m.py"),
        ("/", "a", "m.py", "a/m.py"),
    ],
)
def test_a_full_path_is_as_the_target_sees_it(tree: Tree, path: str, relative: str, name: str, expected: str) -> None:
    """Whatever the tree was opened by."""
    tree.path = path
    assert expected == tree.describe(relative, name)


#: Links, and where they lead: a directory and a name, None for out of the tree, or a number of an error.
LINKS: dict[str, tuple[str, str] | int | None] = {
    "inside": ("a", "n.py"),
    "relative": ("a", "n.py"),
    "two": ("a", "n.py"),
    "through": ("a", "n.py"),
    "link": ("", "a"),
    "out": None,
    "up": None,
    "sibling": None,  # `/site2` isn't inside `/site`
    "own": None,
    "circle": errno.ELOOP,
    "dangling": errno.ENOENT,
    "trailing": errno.EISDIR,
    "dot": errno.EISDIR,
    "of_file": errno.ENOTDIR,
}


@pytest.mark.parametrize("name", LINKS)
def test_links_are_resolved_without_leaving_the_tree(tree: Tree, name: str) -> None:
    """As (directory, name)."""
    expected = LINKS[name]
    if isinstance(expected, int):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
            tree.resolve("", name)
        assert expected == caught.value.errno
    else:
        assert expected == tree.resolve("", name)


def test_a_link_in_a_package_is_resolved_from_there(top: Path, tree: Tree) -> None:
    """Up to the tree's own top."""
    (top / "a/b/l.py").symlink_to("../../z/m.py")
    (top / "a/b/o.py").symlink_to("../../../site/z/m.py")
    assert ("z", "m.py") == tree.resolve("a/b", "l.py")
    assert tree.resolve("a/b", "o.py") is None


@pytest.mark.parametrize(("count", "is_found"), [(40, True), (41, False)])
def test_links_are_followed_as_far_as_the_kernel_does(top: Path, tree: Tree, count: int, is_found: bool) -> None:
    """Forty."""
    (top / "l0").symlink_to("a/n.py")
    for number in range(1, count):
        (top / f"l{number}").symlink_to(f"l{number - 1}")
    if is_found:
        assert ("a", "n.py") == tree.resolve("", f"l{count - 1}")
    else:
        with pytest.raises(OSError, match="Too many levels"):
            tree.resolve("", f"l{count - 1}")


def test_entries_are_looked_at_without_following(top: Path, tree: Tree) -> None:
    """Status, goal, directories, and descriptors of files."""
    assert (top / "link").lstat().st_ino == tree.lstat("", "link").st_ino
    assert (top / "a").stat().st_ino == tree.follow("", "link").st_ino
    assert "a/b/../n.py" == tree.read_link("", "relative")
    assert ["a", "z"] == sorted(tree.directories_in(""))
    assert ["b"] == tree.directories_in("a")
    descriptor = tree.open_file("a", "n.py")
    assert (top / "a/n.py").stat().st_ino == os.fstat(descriptor).st_ino
    os.close(descriptor)
    with pytest.raises(OSError, match="Too many levels"):
        tree.open_file("", "inside")


def test_a_fifo_is_opened_without_waiting(top: Path, tree: Tree) -> None:
    """Nothing ever writes into it."""
    os.mkfifo(top / "fifo")
    os.close(tree.open_file("", "fifo"))


# -- somebody else's place --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_root")
def test_another_accounts_place_is_told(top: Path, tree: Tree) -> None:
    """In a process that keeps its ids; where everything is root's, all is our own."""
    assert (None, 0) == (tree.account_at("z"), tree.owner_at("z"))
    os.chown(top / "a", ANN, ANN)
    for relative in ("a", "a/b/c"):
        with pytest.raises(ForeignPlaceError) as caught:
            tree.directory(relative)
        assert ANN == caught.value.uid
    assert (top / "z").stat().st_ino == os.fstat(tree.directory("z")).st_ino


@pytest.mark.usefixtures("as_root")
def test_a_way_through_another_accounts_directory_is_told(tmp_path: Path) -> None:
    """Of the first one on the way that isn't root's; what is below it is all the same."""
    write_tree(tmp_path, {"home/own/site/m.py": ""})
    path = str(tmp_path / "home/own/site")
    assert account_on_way(f"{path}/x") is None
    os.chown(tmp_path / "home/own", ANN, ANN)
    os.chown(tmp_path / "home/own/site", ANN + 1, ANN + 1)
    with pytest.raises(ForeignPlaceError) as caught:
        open_way(path, None)
    assert (ANN, ANN) == (caught.value.uid, account_on_way(path))
    with pytest.raises(ForeignPlaceError):
        Tree.open(path)
    assert ANN == account_on_way(f"{path}/absent/x")
    assert account_on_way(str(tmp_path / "absent/x")) is None


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("mode", "is_exposed"), [(0o777, True), (0o757, True), (0o775, False), (0o1777, False)])
def test_a_way_that_everybody_may_turn_is_exposed(tmp_path: Path, mode: int, is_exposed: bool) -> None:
    """By the name of what they may rename."""
    write_tree(tmp_path, {"open/site/m.py": ""})
    (tmp_path / "open").chmod(mode)
    with Tree.open(str(tmp_path / "open/site")) as tree:
        assert ("the directory of site" if is_exposed else None) == tree.exposed


@pytest.mark.usefixtures("as_root")
def test_a_link_in_a_sticky_directory_is_its_owners(tmp_path: Path) -> None:
    """Who made it may turn it, though the directory is root's."""
    write_tree(tmp_path, {"real/m.py": ""})
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "tmp/link").symlink_to(tmp_path / "real")
    os.close(open_way(str(tmp_path / "tmp/link"), None).descriptor)
    os.lchown(tmp_path / "tmp/link", ANN, ANN)
    with pytest.raises(ForeignPlaceError):
        open_way(str(tmp_path / "tmp/link"), None)


@pytest.mark.parametrize("path", ["file", "of_file", "absent", "circle"])
def test_a_way_ends_at_a_directory(top: Path, path: str) -> None:
    """Everything else is an error, and leaves nothing open."""
    before = descriptors()
    with pytest.raises(OSError):  # noqa: PT011 - each has its own
        open_way(str(top / path), None)
    assert before == descriptors()


def test_a_relative_path_is_one_from_here(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the current directory."""
    monkeypatch.chdir(top)
    with Tree.open("a/b") as tree:
        assert ((top / "a/b").stat().st_dev, (top / "a/b").stat().st_ino) == tree.identity


# -- inside a staged root ---------------------------------------------------------------------------------------------

#: Paths inside the root `site`, and what they mean there; None: nothing.
INSIDE: dict[str, str | None] = {
    "/": "",
    "/a/b": "a/b",
    "a": "a",
    "/link/b": "a/b",
    "/out": None,  # `../outside` is `/outside` in there
    "/../../a": "a",
    "/own": None,
    "/file": None,
    "/absent": None,
    "/trailing": "a",
    "/dot": "",
    "/circle": None,
    "/a\0b": None,
}


@pytest.mark.parametrize("path", INSIDE)
def test_a_path_inside_a_root(top: Path, path: str) -> None:
    """Links stay inside, as a chroot would see them."""
    before, expected = descriptors(), INSIDE[path]
    if expected is None:
        with pytest.raises((OSError, ValueError)):
            open_in_root(str(top), path)
    else:
        for found in (open_in_root(str(top), path), open_way(path, str(top)).descriptor):
            assert os.path.samestat((top / expected).stat(), os.fstat(found))
            os.close(found)
    assert before == descriptors()


def test_status_inside_a_root(top: Path) -> None:
    """Of files and of directories."""
    assert (top / "file").stat().st_ino == status_in_root(str(top), "/file").st_ino
    assert (top / "a").stat().st_ino == status_in_root(str(top), "/link").st_ino
    assert (top / "a/n.py").stat().st_ino == status_in_root(str(top), "/through").st_ino


def test_a_tree_inside_a_root_follows_links_there(top: Path) -> None:
    """What its links lead to is looked at inside, too."""
    (top / "a/outside.py").symlink_to("/z/m.py")
    with Tree.open("/a", str(top)) as tree:
        assert (top / "z/m.py").stat().st_ino == tree.follow("", "outside.py").st_ino
        assert tree.resolve("", "outside.py") is None
        behind = tree.open_linked("", "b")
        assert (top / "a/b").stat().st_ino == os.fstat(behind.descriptor).st_ino
        os.close(behind.descriptor)


def test_what_is_behind_a_link_is_opened(top: Path, tree: Tree) -> None:
    """Wherever it is."""
    for name, goal in [("link", top / "a"), ("out", top.parent / "outside")]:
        behind = tree.open_linked("", name)
        assert goal.stat().st_ino == os.fstat(behind.descriptor).st_ino
        os.close(behind.descriptor)


Deed = Callable[["Path"], Any]
#: What is done to the directory behind a link, or to what leads there; and whether its goal may be read.
BEYOND: dict[str, tuple[Deed, bool]] = {
    "as it is": (lambda outside: None, True),
    "others may write there": (lambda outside: outside.chmod(0o775), False),
    "everybody may": (lambda outside: outside.chmod(0o757), False),
    "not everybody may list it": (lambda outside: outside.chmod(0o711), True),
    "not everybody may go there": (lambda outside: outside.chmod(0o754), False),
    "its group may not": (lambda outside: outside.chmod(0o705), False),
    "another account's": (lambda outside: os.chown(outside, ANN, ANN), False),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", BEYOND)
def test_beyond_a_tree_only_what_is_open_and_ours(top: Path, case: str) -> None:
    """Who reads what was made of it would learn more."""
    outside = top.parent / "outside"
    for directory in (top, outside):
        directory.chmod(0o755)
    (top / "l.py").symlink_to("../outside/m.py")
    deed, is_open = BEYOND[case]
    deed(outside)
    before = descriptors()
    with Tree.open("/site", str(top.parent)) as tree:
        found = tree.open_outside("", "l.py")
        assert is_open is (found is not None)
        if found is not None:
            with found[0] as beyond:
                assert (outside.stat().st_ino, "m.py") == (os.fstat(beyond.directory("")).st_ino, found[1])
    assert before == descriptors()
