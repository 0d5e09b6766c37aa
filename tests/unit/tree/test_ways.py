"""Which directories on the way to another one keep anybody out; `test_layout.py` asks for both kinds together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.permission.readers import Grants
from pyctrigger.tree.ways import ways_above, ways_inside

if TYPE_CHECKING:
    from pathlib import Path

#: A directory, one that is looked from, and those on the way between them that are closed, the innermost first.
INSIDE = [
    ("a/b", "", ["a/b", "a"]),
    ("a/b", "a", ["a/b"]),
    ("a/b", "a/b", []),
    ("a/b", "a/b/c", []),
    ("a/b", "ab", ["a/b", "a"]),
    ("", "a", []),
    ("open", "", []),
]


def grants(path: Path) -> Grants:
    """Those of a directory that others may not enter."""
    status = path.stat()
    return Grants(status.st_uid, status.st_gid, True, False, False)


@pytest.mark.parametrize(("directory", "own", "closed"), INSIDE)
def test_closed_directories_inside_a_tree(tmp_path: Path, directory: str, own: str, closed: list[str]) -> None:
    """From below the one until it reaches the other."""
    write_tree(tmp_path, {"a/b/m.py": "", "open/m.py": ""})
    (tmp_path / "open").chmod(0o755)
    for name in ("a/b", "a"):
        (tmp_path / name).chmod(0o700)
    tree = Tree.open(str(tmp_path))
    try:
        assert tuple(grants(tmp_path / name) for name in closed) == ways_inside(tree, directory, own)
    finally:
        tree.close()


def test_closed_directories_above_one_tree_alone(tmp_path: Path) -> None:
    """What is above the other one, too, keeps nobody from one alone."""
    write_tree(tmp_path, {"shared/one/site/m.py": "", "shared/other/m.py": ""})
    for name in ("shared", "shared/one", "shared/other"):
        (tmp_path / name).chmod(0o700)
    (tmp_path / "shared/one/site").chmod(0o755)
    one, other = Tree.open(str(tmp_path / "shared/one/site")), Tree.open(str(tmp_path / "shared/other"))
    try:
        assert (grants(tmp_path / "shared/one"),) == ways_above(one, other)
        assert (grants(tmp_path / "shared/other"),) == ways_above(other, one)
    finally:
        one.close()
        other.close()
