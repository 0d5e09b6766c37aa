"""Equal code at several optimization levels: compiled once, one file with several names, and never a wrong one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bytes_of_workers import bodies_of_levels
from packages import not_fresh, pycs_below, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: By the level from which on there is no difference any more to the ones before: what looks like an assertion and a
#: docstring, what is one, and what is one in other letters.
PLAIN = {
    "empty.py": b"",
    "number.py": b"1\n",
    "words.py": b"x = 'as' 'sert', '__de' 'bug__', lambda: 'no docstring', [c for c in 'abc']\n",
    "classes.py": b"class A:\n    x = 'no docstring'\ndef f(a: 'text' = 'default'):\n    return 'no docstring'\n",
    "formatted.py": b"def f(x):\n    f'{x}'\n    return x\n",
    "bytes.py": b"def f(x):\n    b'no docstring'\n    return x\n",
    "names.py": b"def reassert(x):\n    x.assertEqual(x)\n    assert_ = assert2 = x\n    return assert_\n",
    "letters.py": "\u00e9t\u00e9 = '\u4e2d\u6587 \u2014 \u00fc'\n".encode(),
}
ASSERTING = {
    "asserts.py": b"def f(x):\n    assert x\n",
    "close.py": b"if x:assert(x)\n",
    "joined.py": b"x = 1;assert-x\n",
    "first.py": b"assert'x'\n",
    "last.py": b"def f(x):\n\tassert x.reassert",
    "formfeed.py": b"\x0cassert\\\n1\n",
    "marked.py": b"\xef\xbb\xbfassert x\n",
    "debug.py": b"x = 1 if __debug__ else 2\n",
    "wide.py": "x = 1 if __\uff44\uff45\uff42\uff55\uff47__ else 2\n".encode(),
    "mixed.py": "x = 1 if __\U0001d5f1ebu\u1d4d__ else 2\n".encode(),
    "utf7.py": b"# coding: utf-7\n+AGEAcwBzAGUAcgB0- x\n",
    "latin.py": b"# coding: latin-1\nx = 1 if __debug__ else '\xe9'\n",
}
DOCUMENTED = {
    "module.py": b"'''A docstring.'''\n",
    "function.py": b"def f(x):\n    'A docstring.'\n    return x\n",
    "inner.py": b"class A:\n    def f(self):\n        async def g():\n            'A docstring.'\n        return g\n",
    "class_.py": b"class A:\n    'A docstring.'\n",
    "only.py": b"def f():\n    'A docstring.'\n",
    "constant.py": b"def f():\n    'A docstring.'\n    return 'A docstring.'\n",
    "generator.py": b"def f():\n    'A docstring.'\n    yield\n",
}
BOTH = {"both.py": b"'A docstring.'\nassert x\ndef f():\n    'Another.'\n    assert __debug__\n"}


def contents(site: Path) -> dict[bytes, bytes]:
    """Every pyc with its bytes."""
    return {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(site)}


def test_every_level_is_what_it_is_alone(interpreter: Interpreter, tmp_path: Path) -> None:
    """Asked for with the others, or by itself: no byte differs. (For real sources see test_real_packages.py.)"""
    groups = {**PLAIN, **ASSERTING, **DOCUMENTED, **BOTH}
    for name, text in groups.items():
        (tmp_path / name).write_bytes(text)
    sources = [os.fsencode(tmp_path / name) for name in groups]

    together = bodies_of_levels(interpreter.path, sources)

    assert bodies_of_levels(interpreter.path, sources, together=False) == together


def names_of_files(site: Path, name: str) -> list[set[str]]:
    """The levels of a module, those that are one file together."""
    files: dict[int, set[str]] = {}
    for path in sorted((site / "__pycache__").glob(f"{name[:-3]}.*.pyc")):
        level = path.name.partition(".opt-")[2][:1] or "0"
        files.setdefault(path.stat().st_ino, set()).add(level)
    return list(files.values())


@pytest.mark.few_targets
def test_equal_levels_are_one_file(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """0 and 1 without an assertion, 1 and 2 without a docstring; imported at each level they are fresh."""
    groups = {**PLAIN, **ASSERTING, **DOCUMENTED, **BOTH}
    for name, text in groups.items():
        (site / name).write_bytes(text)
    scope = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,1,2"]

    run = pyctrigger.json("run", *scope)

    assert {"utf7.py"} >= {Path(failure["path"]).name for failure in run.failures}  # 3.6 to 3.15 read it, PyPy may not
    found = {name: names_of_files(site, name) for name in groups}
    assert [{"0", "1", "2"}] == found["empty.py"] == found["number.py"] == found["words.py"] == found["letters.py"]
    assert all(found[name] == [{"0", "1", "2"}] for name in PLAIN)
    for name in ASSERTING:
        assert {"0"} in found[name] or not found[name], name
    for name in DOCUMENTED:
        assert {"2"} in found[name], name
    assert [{"0"}, {"1"}, {"2"}] == sorted(found["both.py"], key=sorted)
    sources = [path for path in sources_below(site) if not path.endswith(b"utf7.py")]
    for level in (0, 1, 2):
        assert not_fresh(interpreter, sources, level) == []


def test_copies_where_the_configuration_wants_them(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """`duplicates = "copy"`: three files of one name each, with the same bytes."""
    write_tree(site, {"m.py": "x = 1\n"})
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text('[defaults]\nduplicates = "copy"\n')

    scope = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1,2", "--config", str(configuration)]
    pyctrigger.json("run", *scope)

    pycs = contents(site)
    assert (3, 1) == (len(pycs), len(set(pycs.values())))
    assert [1, 1, 1] == [os.stat(path).st_nlink for path in pycs]


def test_a_refreshed_file_keeps_its_names(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Another mtime: one new file is written, and all levels have it; nothing is compiled."""
    write_tree(site, {"m.py": "x = 1\n"})
    scope = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1,2"]
    pyctrigger.json("run", *scope)
    names = pycs_below(site)
    os.utime(site / "m.py", (1_500_000_000, 1_500_000_000))

    run = pyctrigger.json("run", *scope)

    assert (0, 1) == (run.counts["compiled"], run.counts["refreshed"])
    assert names == pycs_below(site)
    assert 1 == len({os.stat(path).st_ino for path in names})
    assert [[]] * 3 == [not_fresh(newest, sources_below(site), level) for level in (0, 1, 2)]
    again = pyctrigger.json("run", *scope)
    assert (0, 0, 1) == (again.counts["compiled"], again.counts["refreshed"], again.counts["fresh"])


@pytest.mark.parametrize("levels", ["0", "0,1,2"])
def test_somebody_elses_link_keeps_its_bytes(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, levels: str
) -> None:
    """A backup of hard links: our names get a new file, the backup stays what it was; still nothing is compiled."""
    write_tree(site, {"m.py": "x = 1\n"})
    scope = ["--python", newest.path, "--site-dir", str(site), "--optimize", levels]
    pyctrigger.json("run", *scope)
    backup = tmp_path / "backup"
    backup.mkdir()
    for pyc in (site / "__pycache__").iterdir():
        os.link(pyc, backup / pyc.name)
    kept = {path.name: path.read_bytes() for path in backup.iterdir()}
    os.utime(site / "m.py", (1_500_000_000, 1_500_000_000))

    pyctrigger.json("run", *scope)
    run = pyctrigger.json("run", *scope)

    assert (0, 0, 1) == (run.counts["compiled"], run.counts["refreshed"], run.counts["fresh"])
    assert kept == {path.name: path.read_bytes() for path in backup.iterdir()}
    for level in map(int, levels.split(",")):
        assert [] == not_fresh(newest, sources_below(site), level)
    assert 1 == len({os.stat(path).st_ino for path in pycs_below(site)})


def test_one_level_that_is_edited_later_has_a_file_of_its_own(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A docstring comes: level 2 leaves the others."""
    write_tree(site, {"m.py": "x = 1\n"})
    scope = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1,2"]
    pyctrigger.json("run", *scope)
    write_tree(site, {"m.py": "'Now a docstring.'\nx = 1\n"})

    pyctrigger.json("run", *scope)

    assert [{"0", "1"}, {"2"}] == sorted(names_of_files(site, "m.py"), key=sorted)
    assert [[]] * 3 == [not_fresh(newest, sources_below(site), level) for level in (0, 1, 2)]


def test_a_level_has_its_own_code_beside_one_that_stays(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """Levels 1 and 2 are equal, and 1 is there without a record: 2 isn't made a name of level 0, which was written."""
    write_tree(site, {"m.py": "assert x\n"})
    scope = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1,2"]
    pyctrigger.json("run", *scope, "--state-dir", str(tmp_path / "before"))
    expected = contents(site)
    for path in pycs_below(site):
        if b"opt-1" not in path:
            os.unlink(path)

    pyctrigger.json("run", *scope, "--state-dir", str(tmp_path / "after"))

    assert expected == contents(site)
