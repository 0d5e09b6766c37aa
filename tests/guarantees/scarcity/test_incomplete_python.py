"""Pythons that were built without some of their modules, as minimal systems have them: as the host, and as a target."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from incomplete_python import python_without
from packages import not_fresh, sources_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

SOURCES = {
    "latin.py": "# coding: latin-1\nx = 1\n",
    "twins.py": "def one(a):\n    return a in {1, 2}\n\ndef other(a):\n    return a in {1, 2}\n",
}
NO_RECORDS = "this Python has no module sqlite3: every run examines everything, and no history is kept\n"


@pytest.mark.parametrize(
    "modules",
    [("zlib",), ("_sqlite3",), ("zlib", "_sqlite3", "_ctypes", "resource", "_lzma", "_bz2")],
    ids=lambda modules: modules[0] if len(modules) == 1 else "all",
)
class TestWithout:
    """A Python without some modules."""

    def test_host(
        self,
        pyctrigger: Command,
        site: Path,
        newest: Interpreter,
        interpreters: list[Interpreter],
        tmp_path: Path,
        modules: tuple[str, ...],
    ) -> None:
        """Every verb of a run's does its work; what is not to be had is said in one line."""
        here = [each for each in interpreters if each.version[:2] == sys.version_info[:2]]
        host = python_without(modules, here[0], tmp_path / "incomplete") if here else None
        if host is None:
            absent("a Python of our own version with its modules in files")
        pyctrigger.program = [str(host), "-m", "pyctrigger"]
        write_tree(site, SOURCES)
        options = ["--python", newest.path, "--site-dir", str(site)]
        environment = {"PYTHONDONTWRITEBYTECODE": "1"}

        codes, said = [], []
        for verb, *more in (["status"], ["run"], ["run", "--hook"], ["repair"], ["verify"]):
            outcome = pyctrigger.json(verb, *more, *options, env=environment)
            codes.append(outcome.code)
            said.append(outcome.err)

        assert [0] * 5 == codes, said
        assert (NO_RECORDS if "_sqlite3" in modules else "") == "".join(said)
        assert [] == not_fresh(newest, sources_below(site))

    def test_target(
        self, pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, modules: tuple[str, ...]
    ) -> None:
        """Its bytecode is that of one that has them."""
        target = python_without(modules, newest, tmp_path / "incomplete")
        if target is None:
            absent("a Python with its modules in files")
        write_tree(site, SOURCES)

        outcome = pyctrigger.json("run", "--python", target, "--site-dir", site)

        assert (0, 2, "") == (outcome.code, outcome.counts["compiled"], outcome.err)
        assert [] == not_fresh(newest, sources_below(site))


def test_what_a_target_lacks_is_no_fact_about_a_source(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """A codec and the names of characters are packaged apart on some systems: once they are there, all is compiled."""
    target = python_without(("unicodedata",), newest, tmp_path / "incomplete")
    if target is None:
        absent("a Python with its modules in files")
    codec = next((tmp_path / "incomplete/lib").glob("python*/encodings"))
    complete = os.readlink(codec)
    codec.unlink()
    codec.mkdir()
    for name in os.listdir(complete):
        if name not in ("cp1252.py", "__pycache__"):
            (codec / name).symlink_to(os.path.join(complete, name))
    write_tree(
        site,
        {
            "named.py": 'x = "\\N{EM DASH}"\n',
            "encoded.py": "# coding: cp1252\nx = 1\n",
            "bad.py": "# coding: nonsense\n",
        },
    )
    options = ["--python", str(target), "--site-dir", str(site)]

    first = pyctrigger.json("run", *options)
    (codec / "cp1252.py").symlink_to(os.path.join(complete, "cp1252.py"))
    library = next((tmp_path / "incomplete/lib").glob("python*/lib-dynload"))
    for entry in os.scandir(os.path.join(os.path.dirname(complete), "lib-dynload")):
        if entry.name.startswith("unicodedata."):
            (library / entry.name).symlink_to(entry.path)
    second = pyctrigger.json("run", *options)

    kinds = {os.path.basename(each["path"]): each["kind"] for each in first.failures}
    assert {"named.py": "crash", "encoded.py": "crash", "bad.py": "encoding"} == kinds
    assert (0, 2, 1) == (second.code, second.counts["compiled"], second.counts["skipped"])


def test_audit_without_zlib_says_so(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], tmp_path: Path
) -> None:
    """It isn't a defect, and can be fixed."""
    here = [each for each in interpreters if each.version[:2] == sys.version_info[:2]]
    host = python_without(("zlib",), here[0], tmp_path / "incomplete") if here else None
    if host is None:
        absent("a Python of our own version with its modules in files")
    pyctrigger.program = [str(host), "-m", "pyctrigger"]

    outcome = pyctrigger.text("audit", site, env={"PYTHONDONTWRITEBYTECODE": "1"})

    said = f"pyctrigger: {host} lacks the module zlib; install it, or run pyctrigger with another Python\n"
    assert (3, said) == (outcome.code, outcome.err)
