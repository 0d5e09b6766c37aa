"""A site directory held by its descriptor: no link is followed, and another account's place is reported."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any, Callable

import pytest

from acting import ANN, AS_ANN, UNMAPPED, let_act, name_ann, with_rights_of
from children import public_directory
from conftest import absent
from packages import write_tree
from pyctrigger.tree import directory as module
from pyctrigger.tree.directory import (
    Tree,
    account_on_way,
    open_in_root,
    open_way,
    real_in_root,
    status_in_root,
)
from pyctrigger.tree.identity import ForeignPlaceError, Identity
from pyctrigger.tree.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOB = 12346


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
        "deep": "a/b/c/m.py",
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


def test_with_no_descriptor_left_those_held_are_given_back(
    top: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then it is tried once more."""
    tree.directory("z")
    tree.directory("a")
    real, failures = Tree._open_below, [errno.EMFILE, errno.ENFILE]

    def opened(self: Tree, *arguments: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "too many")
        return real(self, *arguments)

    monkeypatch.setattr(Tree, "_open_below", opened)
    failures.pop()
    assert os.path.samestat((top / "a/b").stat(), os.fstat(tree.directory("a/b")))
    assert "z" not in tree._open
    failures.append(errno.EACCES)
    with pytest.raises(OSError, match="too many"):
        tree.directory("z")


@pytest.mark.parametrize("is_refused", [False, True])
def test_how_many_may_be_open_is_asked(monkeypatch: pytest.MonkeyPatch, is_refused: bool) -> None:
    """A sandbox may refuse getrlimit(2)."""

    def refuse(_: str) -> int:
        raise PermissionError

    if is_refused:
        monkeypatch.setattr(os, "sysconf", refuse)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        assert (256 if is_refused else 200) == module._open_max()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


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
        ("/X", "a", "m.py", "/X/a/m.py"),
    ],
)
def test_a_full_path_is_as_the_target_sees_it(tree: Tree, path: str, relative: str, name: str, expected: str) -> None:
    """Whatever the tree was opened by."""
    tree.path = path
    assert expected == tree.describe(relative, name)
    if not name:
        assert expected == tree.describe(relative)


#: Links, and where they lead: a directory and a name, None for out of the tree, or a number of an error.
LINKS: dict[str, tuple[str, str] | int | None] = {
    "inside": ("a", "n.py"),
    "relative": ("a", "n.py"),
    "two": ("a", "n.py"),
    "through": ("a", "n.py"),
    "deep": ("a/b/c", "m.py"),
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
        assert (expected, os.strerror(expected)) == (caught.value.errno, caught.value.strerror)
    else:
        assert expected == tree.resolve("", name)


@pytest.mark.parametrize(("path", "goal"), [("/s", "/s/a/n.py"), ("/s/", "/s/a/n.py"), ("/sX", "/sX/a/n.py")])
def test_an_absolute_link_begins_with_the_trees_own_path(top: Path, tree: Tree, path: str, goal: str) -> None:
    """With a slash at its end, or without."""
    tree.path = path
    (top / "absolute").symlink_to(goal)
    assert ("a", "n.py") == tree.resolve("", "absolute")


def test_a_link_in_a_package_is_resolved_from_there(top: Path, tree: Tree) -> None:
    """Up to the tree's own top."""
    (top / "a/b/l.py").symlink_to("../../z/m.py")
    (top / "a/b/o.py").symlink_to("../../../site/z/m.py")
    assert ("z", "m.py") == tree.resolve("a/b", "l.py")
    assert tree.resolve("a/b", "o.py") is None


@pytest.mark.parametrize(("count", "is_found"), [(40, True), (41, False)])
def test_links_are_followed_as_far_as_the_kernel_does(top: Path, tree: Tree, count: int, is_found: bool) -> None:
    """Forty, in a tree and in a root."""
    (top / "l0").symlink_to("a/n.py")
    for number in range(1, count):
        (top / f"l{number}").symlink_to(f"l{number - 1}")
    if is_found:
        assert ("a", "n.py") == tree.resolve("", f"l{count - 1}")
        assert os.path.samestat((top / "a/n.py").stat(), status_in_root(str(top), f"l{count - 1}"))
    else:
        with pytest.raises(OSError, match="Too many levels"):
            tree.resolve("", f"l{count - 1}")
        with pytest.raises(OSError, match="Too many levels") as caught:
            status_in_root(str(top), f"l{count - 1}")
        assert errno.ELOOP == caught.value.errno


def test_entries_are_looked_at_without_following(top: Path, tree: Tree) -> None:
    """Status, goal, directories, and descriptors of files."""
    assert (top / "link").lstat().st_ino == tree.lstat("", "link").st_ino
    (top / "a/out.py").symlink_to("../z/m.py")
    for relative, name in (("", "link"), ("a", "out.py")):
        assert os.path.samestat((top / relative / name).stat(), tree.follow(relative, name))
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


@pytest.mark.parametrize(
    ("relative", "expected"),
    [("", ""), ("a/b", "a/b"), ("a/b/absent", "a/b"), ("a/b/absent/x", "a/b"), ("a/n.py/x", "a"), ("link/b", "")],
)
def test_the_nearest_directory_that_is_there(top: Path, tree: Tree, relative: str, expected: str) -> None:
    """Of those on the way to one that may be gone."""
    assert os.path.samestat((top / expected).stat(), os.fstat(tree.nearest(relative).descriptor))


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
    """Who made it may turn it, though the directory is root's. A look with our own rights is for reading only."""
    write_tree(tmp_path, {"real/m.py": ""})
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "tmp/link").symlink_to(tmp_path / "real")
    os.close(open_way(str(tmp_path / "tmp/link"), None).descriptor)
    os.lchown(tmp_path / "tmp/link", ANN, ANN)
    with pytest.raises(ForeignPlaceError) as caught:
        open_way(str(tmp_path / "tmp/link"), None)
    assert ANN == caught.value.uid
    (tmp_path / "tmp/own").symlink_to("../real")
    os.lchown(tmp_path / "tmp/own", ANN, ANN)
    assert os.path.samestat((tmp_path / "real").stat(), status_in_root(str(tmp_path), "/tmp/own"))


#: The owners of two directories on a way, one in the other, and as whom everything is done in the inner one.
WAYS: list[tuple[int, int, Identity | None]] = [
    (0, 0, None),
    (0, ANN, AS_ANN),
    (ANN, 0, AS_ANN),
    (ANN, BOB, AS_ANN),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("outer", "inner", "expected"), WAYS)
def test_the_first_account_on_a_way_does_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outer: int, inner: int, expected: Identity | None
) -> None:
    """Whoever owns what is below."""
    let_act(monkeypatch)
    for path, owner in (("outer", outer), ("outer/inner", inner)):
        (tmp_path / path).mkdir()
        (tmp_path / path).chmod(0o755)
        os.chown(tmp_path / path, owner, owner)
    for opened in (open_way(str(tmp_path / "outer/inner"), None), open_way("/outer/inner", str(tmp_path))):
        assert expected == opened.identity
        os.close(opened.descriptor)


@pytest.mark.usefixtures("as_root")
def test_a_link_below_another_accounts_directory_is_no_other_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a sticky directory; and it is read with her rights."""
    let_act(monkeypatch)
    write_tree(tmp_path, {"hers/sticky/real/m.py": "", "hers/closed/m.py": ""})
    os.chown(tmp_path / "hers", ANN, ANN)
    for path, mode in (("hers", 0o755), ("hers/sticky", 0o1777), ("hers/sticky/real", 0o755), ("hers/closed", 0o700)):
        (tmp_path / path).chmod(mode)
    (tmp_path / "hers/sticky/link").symlink_to("real")
    os.lchown(tmp_path / "hers/sticky/link", BOB, BOB)
    opened = open_way(str(tmp_path / "hers/sticky/link"), None)
    assert AS_ANN == opened.identity
    os.close(opened.descriptor)
    (tmp_path / "hers/closed/link").symlink_to("/")
    for name in ("closed", "closed/link"):
        with pytest.raises(PermissionError):
            open_way(str(tmp_path / "hers" / name), None)


@pytest.mark.usefixtures("as_root")
def test_in_another_accounts_directory_its_rights_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below it, and for all that its links lead to."""
    let_act(monkeypatch)
    with public_directory() as top:
        write_tree(top, {"site/hers/below/m.py": "", "site/closed/m.py": "", "outside/m.py": ""})
        for path in ("site", "site/hers", "site/hers/below", "outside"):
            (top / path).chmod(0o755)
        (top / "site/closed").chmod(0o700)
        os.chown(top / "site/hers", ANN, ANN)
        for name, goal in (("out.py", "../../outside/m.py"), ("closed.py", "../closed/m.py"), ("link", "below")):
            (top / "site/hers" / name).symlink_to(goal)
        with Tree.open("/site", str(top)) as tree:
            places = {"": None, "hers": AS_ANN, "hers/below": AS_ANN, "hers/absent/x": AS_ANN, "closed": None}
            assert places == {relative: tree.account_at(relative) for relative in places}
            assert [0, ANN, ANN, ANN, 0] == [tree.owner_at(relative) for relative in places]
            linked = tree.open_linked("hers", "link")
            assert AS_ANN == linked.identity
            os.close(linked.descriptor)
            with pytest.raises(PermissionError):
                tree.resolve("hers", "closed.py")
            with tree.entered("hers"):
                assert tree.open_outside("hers", "out.py") is None


@pytest.mark.usefixtures("as_root")
def test_an_owner_that_isnt_mapped_is_asked_of_the_directory(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a tree is ours."""
    os.chown(top, UNMAPPED, UNMAPPED)
    monkeypatch.setattr("pyctrigger.namespaces._mapped_ranges", lambda kind="uid": ((0, 65536),))
    real, descriptor = os.open, os.open(top, os.O_RDONLY)

    def opened(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if (path, bool(flags & os.O_NOATIME), dir_fd) == (".", True, descriptor):
            raise PermissionError
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    with Tree(Opened(descriptor, None), str(top)) as tree:
        assert 0 == tree.owner


@pytest.mark.usefixtures("as_root")
def test_other_accounts_open_trees_as_everybody_does() -> None:
    """Through links, and inside a root; what is root's there is trusted."""
    with public_directory() as top:
        write_tree(top, {"site/m.py": "", "outside/m.py": ""})
        (top / "link").symlink_to("site")
        (top / "site/l.py").symlink_to("../outside/m.py")
        for path in ("site", "outside"):
            (top / path).chmod(0o755)
        with with_rights_of(ANN):
            for path, root in ((f"{top}/link", None), ("/link", str(top))):
                with Tree.open(path, root) as tree:
                    assert ((top / "site").stat().st_ino, False) == (tree.identity[1], tree.is_judged)
                    assert path == tree.path
            with Tree.open("/site", str(top)) as tree:
                found = tree.open_outside("", "l.py")
                assert found is not None
                found[0].close()


@pytest.mark.parametrize(
    ("path", "number"),
    [("file", errno.ENOTDIR), ("of_file", errno.ENOTDIR), ("absent", errno.ENOENT), ("circle", errno.ELOOP)],
)
def test_a_way_ends_at_a_directory(top: Path, path: str, number: int) -> None:
    """Everything else is an error, and leaves nothing open."""
    before = descriptors()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
        open_way(str(top / path), None)
    assert (number, os.strerror(number)) == (caught.value.errno, caught.value.strerror)
    assert before == descriptors()


def test_a_relative_path_is_one_from_here(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the current directory."""
    monkeypatch.chdir(top)
    with Tree.open("a/b") as tree:
        assert ((top / "a/b").stat().st_dev, (top / "a/b").stat().st_ino) == tree.identity


def test_an_absolute_path_needs_no_current_directory(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be gone."""
    (top / "gone").mkdir()
    monkeypatch.chdir(top / "gone")
    (top / "gone").rmdir()
    os.close(open_way(str(top), None).descriptor)


# -- inside a staged root ---------------------------------------------------------------------------------------------

#: Paths inside the root `site`, and what they mean there; None: nothing.
INSIDE: dict[str, str | None] = {
    "/": "",
    "/a/b": "a/b",
    "a": "a",
    "/link/b": "a/b",
    "/out": None,  # `../outside` is `/outside` in there
    "/../../a": "a",
    "/a/./../z": "z",
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


#: What is named inside a root, and its real name there: what isn't there keeps its own.
REAL_NAMES = {
    "/": "/",
    "//a/./b/": "/a/b",
    "/a/../..": "/",
    "/link": "/a",
    "/link/b": "/a/b",
    "/absolute/b": "/a/b",
    "/out/a": "/a",
    "/a/file": "/a/file",
    "/to file": "/a/file",
    "/link/gone/since": "/a/gone/since",
    "/link/file/below": "/a/file/below",
    "/dangling": "/dangling",
    "/loop/x": "/loop/x",
    "/gone/../a": "/a",
    "/link/new\nline": "/a/new\nline",
    "/link/\udcff": "/a/\udcff",
}


@pytest.mark.parametrize("named", REAL_NAMES)
def test_a_name_in_a_root_is_resolved_in_there(tmp_path: Path, named: str) -> None:
    """As realpath would after a chroot."""
    write_tree(tmp_path, {"a/b/c": "", "a/file": "", "a/new\nline": ""})
    goals = {"link": "a", "absolute": "/a", "out": "../../..", "to file": "a/file", "dangling": "nope", "loop": "loop"}
    for name, goal in goals.items():
        (tmp_path / name).symlink_to(goal)

    assert REAL_NAMES[named] == real_in_root(str(tmp_path), named)


def test_a_name_in_a_root_that_is_gone_is_kept(tmp_path: Path) -> None:
    """There is nothing to resolve."""
    assert "/a/b" == real_in_root(str(tmp_path / "absent"), "/a/c/../b/")


def test_mounts_in_a_root_are_not_entered() -> None:
    """What is mounted there is meant for the processes inside."""
    if not os.path.ismount("/proc"):
        absent("no Linux /proc")
    with Tree.open("/", "//") as tree:
        ways: list[Callable[[], int]] = [
            lambda: tree.directory("proc"),
            lambda: tree.open_file("", "proc"),
            lambda: open_in_root("//", "/proc"),
        ]
        for enter in ways:
            with pytest.raises(OSError, match="cross-device"):
                enter()


def test_status_inside_a_root(top: Path) -> None:
    """Of files and of directories; a link may lead to the root."""
    (top.parent / "root").symlink_to(top)
    assert (top / "a").stat().st_ino == status_in_root(str(top.parent / "root"), "/link").st_ino
    assert (top / "file").stat().st_ino == status_in_root(str(top), "/file").st_ino
    assert (top / "a").stat().st_ino == status_in_root(str(top), "/link").st_ino
    assert (top / "a/n.py").stat().st_ino == status_in_root(str(top), "/through").st_ino


def test_a_tree_inside_a_root_follows_links_there(top: Path) -> None:
    """What its links lead to is looked at inside, too."""
    (top / "a/outside.py").symlink_to("/z/m.py")
    with Tree.open("/a", str(top)) as tree:
        assert (top / "z/m.py").stat().st_ino == tree.follow("", "outside.py").st_ino
        assert tree.resolve("", "outside.py") is None
        (top / "a/b/outside.py").symlink_to("/a/n.py")
        assert (top / "a/n.py").stat().st_ino == tree.follow("b", "outside.py").st_ino
        for relative, name in (("", "b"), ("b", "c")):
            behind = tree.open_linked(relative, name)
            assert (top / "a" / relative / name).stat().st_ino == os.fstat(behind.descriptor).st_ino
            os.close(behind.descriptor)


def test_what_is_behind_a_link_is_opened(top: Path, tree: Tree) -> None:
    """Wherever it is."""
    (top / "a/up").symlink_to("../z")
    for relative, name, goal in [("", "link", top / "a"), ("", "out", top.parent / "outside"), ("a", "up", top / "z")]:
        behind = tree.open_linked(relative, name)
        assert goal.stat().st_ino == os.fstat(behind.descriptor).st_ino
        os.close(behind.descriptor)


Deed = Callable[["Path"], Any]
#: What is done to the directory behind a link, or to what leads there; and whether its goal may be read.
BEYOND: dict[str, tuple[Deed, bool]] = {
    "as it is": (lambda behind: None, True),
    "others may write there": (lambda behind: behind.chmod(0o775), False),
    "everybody may": (lambda behind: behind.chmod(0o757), False),
    "not everybody may list it": (lambda behind: behind.chmod(0o711), True),
    "not everybody may go there": (lambda behind: behind.chmod(0o754), False),
    "its group may not": (lambda behind: behind.chmod(0o705), False),
    "another account's": (lambda behind: os.chown(behind, ANN, ANN), False),
    "it has an access list": (lambda behind: name_ann(behind, 0), False),
    "not everybody may go to it": (lambda behind: behind.parent.chmod(0o754), False),
    "another account's link": (lambda behind: os.lchown(behind.parents[1] / "site/a/l.py", ANN, ANN), False),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", BEYOND)
def test_beyond_a_tree_only_what_is_open_and_ours(top: Path, case: str) -> None:
    """Who reads what was made of it would learn more."""
    behind = write_tree(top.parent, {"outside/behind/m.py": ""}) / "outside/behind"
    for directory in (top, top / "a", behind.parent, behind):
        directory.chmod(0o755)
    (top / "a/l.py").symlink_to("../../outside/behind/m.py")
    deed, is_open = BEYOND[case]
    deed(behind)
    before = descriptors()
    with Tree.open("/site", str(top.parent)) as tree:
        found = tree.open_outside("a", "l.py")
        assert is_open is (found is not None)
        if found is not None:
            with found[0] as beyond:
                assert ("/site/a", "m.py") == (beyond.path, found[1])
                assert os.path.samestat(behind.stat(), os.fstat(beyond.directory("")))
    assert before == descriptors()


@pytest.mark.usefixtures("as_root")
def test_beyond_a_tree_of_this_system() -> None:
    """From its own root."""
    if not os.path.islink("/proc/mounts"):
        absent("no Linux /proc")
    with Tree.open("/proc") as tree:
        found = tree.open_outside("", "mounts")
    assert found is not None
    with found[0] as beyond:
        assert (os.stat("/proc/self").st_ino, "mounts") == (beyond.identity[1], found[1])
