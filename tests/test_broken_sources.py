"""The standard library's sources that are broken on purpose are left out, as Python's own installation does it."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import pycs_below, write_tree
from pyctrigger.target.broken import is_broken_on_purpose
from pyctrigger.target.probe import probe
from pyctrigger.target.scope import own_directories
from test_staged_root import library_name

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: One for each place that a version of CPython has had, and one beside it that is as good as any.
BROKEN = ("test/badsyntax_future3.py", "test/tokenizedata/bad_coding.py", "lib2to3/tests/data/py2_test_grammar.py",
          "test/test_lib2to3/data/py2_test_grammar.py", "test/test_future_stmt/badsyntax_future.py")  # fmt: skip
GOOD = ("encodings/__init__.py", "os.py", "lib2to3/tests/pytree_idempotency.py", "test/test_lib2to3/support.py")

_MAKEFILE = re.compile(r"-x '([^']*bad_coding[^']*)'")
#: For an interpreter that comes without its Makefile.
_LATEST = "bad_coding|badsyntax|lib2to3/tests/data|test/test_lib2to3/data"


def sources_of(library: Path) -> list[str]:
    """The sources of a standard library, by their paths in it."""
    found = []
    for directory, directories, names in os.walk(library):
        directories[:] = [name for name in directories if name not in ("site-packages", "dist-packages")]
        found += [os.path.relpath(os.path.join(directory, name), library) for name in names if name.endswith(".py")]
    return found


def test_what_is_left_out_is_what_its_own_installation_leaves_out(interpreter: Interpreter) -> None:
    """The pattern in the Makefile that it was built with selects the same of its sources."""
    libraries = [Path(path) for path in own_directories(probe(interpreter.path).interpreter).library]
    library = next(path for path in libraries if (path / "encodings").is_dir())
    makefiles = sorted(library.glob("config-*/Makefile"))
    pattern = _MAKEFILE.search(makefiles[0].read_text()) if makefiles else None
    # It is meant for paths of the library; the directory that this one happens to lie in says nothing.
    theirs = {path for path in sources_of(library) if re.search(pattern[1] if pattern else _LATEST, path)}

    ours = {path for path in sources_of(library) if is_broken_on_purpose(path)}

    assert theirs == ours


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
    """In a directory of packages a source that can't be compiled is a failure, whatever it is called."""
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
