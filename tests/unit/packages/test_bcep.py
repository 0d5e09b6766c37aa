"""What Debian's packages ask not to compile: ranges of versions, kinds of lines, and files that are none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.packages import bcep
from pyctrigger.packages.bcep import BCEP, Exclusion, exclusion_test, parse_exclusions, read_exclusions
from pyctrigger.packages.databases import Files
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ((3, 9), (3, 13), (3, 14), (4, 0))
#: A range, and those of the versions that are in it.
RANGES = {
    "": VERSIONS,
    "-": VERSIONS,
    "3.13": ((3, 13),),
    "3.13-": ((3, 13), (3, 14), (4, 0)),
    "-3.13": ((3, 9),),
    "3.9-3.14": ((3, 9), (3, 13)),
    "3.13-3.13": ((3, 13),),
    "3.10-4.0": ((3, 13), (3, 14)),
    "3.14-3.9": (),
    "3.13.1": ((3, 13),),  # what follows is never looked at
    "-3.13-3.14": ((3, 9),),
    "3": (),
    "three": (),
    ">= 3.9": (),
    "--": (),
}


@pytest.mark.parametrize("text", RANGES)
def test_which_versions_a_line_is_for(text: str) -> None:
    """As in py3compile's `-V`; what isn't a range has no version in it."""
    found = [version for version in VERSIONS if [*parse_exclusions(f"dir|{text}|/usr", version)]]
    assert list(RANGES[text]) == found


#: A line, and what it excludes of `PATHS`.
PATHS = ["/usr/lib/a/b.py", "/usr/lib/a/b/c.py", "/usr/lib/a/async.py", "/usr/lib/ab/c.py"]
LINES = {
    "dir|-|/usr/lib/a": PATHS[:3],
    "dir|-|/usr/lib/a//": PATHS[:3],
    "dir|-|/usr/lib/a/b": PATHS[1:2],
    "dir|-|": PATHS,
    "dir|-|/": PATHS,
    "dir|-|usr/lib": [],
    "dir|-|/usr/lib/a|.*nowhere": PATHS[:3],
    "dir|-|/usr/lib/a|(": [],
    "file|-|/usr/lib/a/b.py": PATHS[:1],
    "file|-|/usr/lib/a/b": [],
    "file|-|/usr/lib/a/b.py/": [],
    "file|-|": [],
    "re|-|/usr/lib/a|async": PATHS[2:3],
    "re|-|/usr/lib/a|^async": PATHS[2:3],
    "re|-|/usr/lib/a|.*/c": PATHS[1:2],
    "re|-|/|.*/c[.]py$": [PATHS[1], PATHS[3]],
    "re|-|/usr/lib/a|/usr/lib/a/[ab]": [PATHS[0], PATHS[1], PATHS[2]],
    "re|-|/usr/lib|a/(b|async)[.]py": [PATHS[0], PATHS[2]],  # a pattern may have a | in it
    "re|-|/usr/lib/a": PATHS[:3],
    "re|-|/usr/lib/a|": PATHS[:3],
    "re|-|/usr/lib/a|(": [],
    "re|-|/usr/lib/a|a\\Zsync": [],
    "re|3.9|/usr/lib/a|.*": [],
    "other|-|/usr/lib/a": [],
    "#dir|-|/usr/lib/a": [],
    "dir|-": [],
    "dir": [],
    "": [],
}


@pytest.mark.parametrize("line", LINES)
def test_what_a_line_excludes(line: str) -> None:
    """A directory, a file, what an expression matches by its whole path or from there, or everything there."""
    is_excluded = exclusion_test(parse_exclusions(f"# x\n{line}\n", (3, 14)))
    assert LINES[line] == [path for path in PATHS if is_excluded(path)]


def test_which_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but hidden ones, and the one for py3compile alone; what can't be read leaves the others as they are."""
    monkeypatch.setattr(bcep, "BCEP", str(tmp_path))
    for name, text in (
        ("b", b"dir|-|/b\ndir|3.9|/no\n"),
        ("a", b"file|-|/a\n"),
        (".c", b"dir|-|/c\n"),
        ("pyctrigger", b"dir|-|/d\n"),
    ):
        (tmp_path / name).write_bytes(text)
    (tmp_path / "bytes").write_bytes(b"dir|-|/\xff\n")
    (tmp_path / "large").write_bytes(b"dir|-|/large\n" + b"#" * (1 << 20))
    (tmp_path / "directory").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    expected = (Exclusion("dir", "/b/"), Exclusion("dir", "/\udcff/"), Exclusion("file", "/a"))
    assert expected == read_exclusions(Files(), (3, 14))


def test_a_system_without_any() -> None:
    """Nothing is excluded."""
    assert () == read_exclusions(FilesInMemory({}), (3, 14))


def test_a_foreign_roots_expressions_are_left_out() -> None:
    """Somebody may have written one that takes years."""
    files = FilesInMemory(
        {
            f"{BCEP}/a": b"re|-|/|(a+)+$\ndir|-|/a\n",
            f"{BCEP}/.b": b"dir|-|/b\n",
            f"{BCEP}/c": b"dir|-|/c\n" + b"#" * (1 << 20),
        }
    )
    assert (Exclusion("dir", "/a/"),) == read_exclusions(files, (3, 14))
