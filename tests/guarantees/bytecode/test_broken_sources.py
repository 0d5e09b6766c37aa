"""The standard library's sources that are broken on purpose are left out, as Python's own installation does it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_staged_root import library_name

from libraries import copy_sources, left_out, library_of, sources_of
from packages import pycs_below, write_tree
from pyctrigger.interpreter.broken import is_broken_on_purpose

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: One for each place that a version of CPython has had, and one beside it that is as good as any.
BROKEN = ("test/badsyntax_future3.py", "test/tokenizedata/bad_coding.py", "lib2to3/tests/data/py2_test_grammar.py",
          "test/test_lib2to3/data/py2_test_grammar.py", "test/test_future_stmt/badsyntax_future.py")  # fmt: skip
GOOD = ("encodings/__init__.py", "os.py", "lib2to3/tests/pytree_idempotency.py", "test/test_lib2to3/support.py")


def test_what_is_left_out_is_what_its_own_installation_leaves_out(interpreter: Interpreter) -> None:
    """The pattern in the Makefile that it was built with selects the same of its sources."""
    library = library_of(interpreter)
    sources = sources_of(library)

    assert left_out(library, sources) == {path for path in sources if is_broken_on_purpose(path)}


def test_its_own_broken_sources_are_no_failure(pyctrigger: Command, interpreter: Interpreter, tmp_path: Path) -> None:
    """With everything next to them; `nox -s stdlib` does it with whole libraries."""
    library = library_of(interpreter)
    broken = left_out(library, sources_of(library))
    beside = {os.path.dirname(path) for path in broken} - {"test"}
    sources = [path for path in sources_of(library) if path in broken or os.path.dirname(path) in beside]
    copy_sources(library, sources, tmp_path / "prefix")

    outcome = pyctrigger.json("run", "--python", interpreter.path, "--prefix", tmp_path / "prefix", "--stdlib")

    assert (0, [], len(broken)) == (outcome.code, outcome.failures, outcome.counts["skipped"])


@pytest.fixture
def prefix(tmp_path: Path, newest: Interpreter) -> Path:
    """An environment whose standard library has its tests; packages have modules of the same names."""
    library = tmp_path / "prefix/lib" / library_name(newest)
    write_tree(library, {**dict.fromkeys(GOOD, ""), **dict.fromkeys(BROKEN, "x = (\n")})
    write_tree(library / "site-packages", {"fine.py": ""})
    return tmp_path / "prefix"


@pytest.mark.parametrize("verb", ["run", "repair", "verify"])
def test_a_whole_standard_library_is_no_failure(
    pyctrigger: Command, prefix: Path, newest: Interpreter, verb: str
) -> None:
    """Only what is meant to be compiled is, and counts as missing."""
    scope = ["--python", newest.path, "--prefix", str(prefix), "--stdlib"]

    outcome = pyctrigger.json(verb, *scope)

    if verb == "verify":
        assert {"missing": len(GOOD) + 1} == Counter(finding["kind"] for finding in outcome.findings)
        return
    assert (0, len(GOOD) + 1, len(BROKEN)) == (outcome.code, outcome.counts["compiled"], outcome.counts["skipped"])
    assert {Path(path).stem for path in (*GOOD, "fine.py")} == {
        Path(os.fsdecode(pyc)).name.split(".")[0] for pyc in pycs_below(prefix)
    }
    assert 0 == pyctrigger.json("verify", *scope).code


def test_packages_have_no_such_names(pyctrigger: Command, prefix: Path, newest: Interpreter) -> None:
    """In a directory of packages a source that can't be compiled is a failure, whatever its name."""
    (site,) = prefix.glob("lib/*/site-packages")
    write_tree(site, dict.fromkeys(BROKEN, "x = (\n"))

    outcome = pyctrigger.json("run", "--python", newest.path, "--prefix", prefix, "--stdlib")

    assert {f"{site}/{path}" for path in BROKEN} == {failure["path"] for failure in outcome.failures}


def test_explain_says_why(pyctrigger: Command, prefix: Path, newest: Interpreter) -> None:
    """And that nothing would be done."""
    source = next(prefix.rglob("bad_coding.py"))

    outcome = pyctrigger.text("explain", "--python", newest.path, "--prefix", prefix, "--stdlib", source)

    assert (
        "a run would leave it: broken on purpose, for the standard library's own tests; "
        "Python's installation leaves it out, too"
    ) in outcome.out
