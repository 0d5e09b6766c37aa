"""Which directories on the way to another one keep anybody out; `test_layout.py` asks for both kinds together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from packages import write_tree
from pyctrigger.tree import ways
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.permission.readers import Grants
from pyctrigger.tree.ways import PublicWays, ways_above, ways_inside

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


#: What is closed to others, below a public directory, and whether everybody may read the source then.
CLOSED: dict[str, tuple[str, int, bool]] = {
    "nothing": ("tree/p/a.py", 0o644, True),
    "the file, to its group": ("tree/p/a.py", 0o604, False),
    "the file, to others": ("tree/p/a.py", 0o640, False),
    "its directory": ("tree/p", 0o750, False),
    "the tree, for reading": ("tree", 0o711, True),
    "what is above": (".", 0o750, False),
}


@pytest.mark.parametrize("case", CLOSED)
def test_what_is_closed_meanwhile_keeps_others_out(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Of the way to a tree it is noticed within a second, for that is long; of all else at once."""
    monkeypatch.setattr(ways, "_BELIEVED", 0.05)
    name, mode, expected = CLOSED[case]
    with public_directory() as public:
        top = write_tree(public / "top", {"tree/p/a.py": "", "tree/q/b.py": ""})
        with Tree.open(str(top / "tree")) as tree:
            public_ways = PublicWays()
            assert public_ways.lead_all_to(tree, "q", (top / "tree/q/b.py").stat(), None)
            (top / name).chmod(mode)
            time.sleep(0.05)
            assert expected == public_ways.lead_all_to(tree, "p", (top / "tree/p/a.py").stat(), None)
