"""Links to directories: nothing is compiled through one, and what is there is reported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.elsewhere import goal_of, is_below, leads_to_sources
from pyctrigger.tree.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A site directory, and directories beside it."""
    write_tree(
        tmp_path,
        {
            "site/m.py": "",
            "site/package/n.py": "",
            "flat/m.py": "",
            "nested/package/m.py": "",
            "odd/no-package/m.py": "",
            "deep/a/b/m.py": "",
            "data/text": "",
            "stubs/m.pyi": "",
            "hollow/x/text": "",
        },
    )
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/m.py").symlink_to("../flat/m.py")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling/m.py").symlink_to("nowhere")
    (tmp_path / "chained").mkdir()
    (tmp_path / "chained/package").symlink_to("../flat")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/m.py").mkdir()
    return tmp_path / "site"


@pytest.fixture
def tree(top: Path) -> Iterator[Tree]:
    """Opened."""
    with Tree.open(str(top)) as tree:
        yield tree


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("../flat", "{top}/flat"),
        ("package", "{top}/site/package"),
        ("package/../../flat", "{top}/flat"),
        ("{top}/flat/", "{top}/flat"),
        ("m.py", None),
        ("nowhere", None),
    ],
)
def test_goal_of_a_link_to_a_directory(top: Path, tree: Tree, goal: str, expected: str | None) -> None:
    """As it says itself, absolute."""
    (top / "link").symlink_to(goal.format(top=top.parent))
    if goal == "nowhere":
        with pytest.raises(FileNotFoundError):
            goal_of(tree, "", "link")
    else:
        assert (expected and expected.format(top=top.parent)) == goal_of(tree, "", "link")


def test_a_link_of_a_package(top: Path, tree: Tree) -> None:
    """Leads from where it is."""
    (top / "package/link").symlink_to("../../flat")
    assert f"{top.parent}/flat" == goal_of(tree, "package", "link")
    assert leads_to_sources(tree, "package", "link", {tree.identity}) is True


@pytest.mark.parametrize("name", ["m.py", "package"])
def test_what_is_no_link_has_no_goal(tree: Tree, name: str) -> None:
    """A file, and a directory."""
    assert goal_of(tree, "", name) is None


#: What a link leads to, and whether import finds sources there that lie in no site directory.
GOALS = {
    "../flat": True,
    "../nested": True,
    "../odd": False,
    "../deep": False,  # two directories below
    "../data": False,
    "../stubs": False,
    "../hollow": False,
    "../linked": True,
    "../dangling": False,
    "../chained": False,
    "../folder": False,
    "package": False,  # a site directory has it
    ".": False,
    "..": True,
}


@pytest.mark.parametrize("goal", GOALS)
def test_whether_a_link_leads_to_sources(top: Path, tree: Tree, goal: str) -> None:
    """Directly there, or one directory below."""
    (top / "link").symlink_to(goal)
    before = len(os.listdir("/proc/self/fd"))
    assert GOALS[goal] is leads_to_sources(tree, "", "link", {tree.identity})
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(("path", "expected"), [("site", True), ("site/package", True), ("flat", False), (".", False)])
def test_a_directory_below_a_site_directory(top: Path, path: str, expected: bool) -> None:
    """Up to the root of the system."""
    opened = Opened(os.open(top.parent / path, os.O_RDONLY), None)
    status, before = top.stat(), len(os.listdir("/proc/self/fd"))
    assert expected is is_below(opened, {(status.st_dev, status.st_ino)})
    assert len(os.listdir("/proc/self/fd")) <= before
    os.close(opened.descriptor)
