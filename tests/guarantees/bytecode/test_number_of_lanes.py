"""However many lanes: the same bytes, the same report, and records that the next run finds complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bytes_of_workers import PAIRS
from large_trees import age, bulk, content_of, make_again, padded
from packages import wait_for_the_next_tick, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

BOB = 64502
#: Numbers of one hash: half a minute. Nested comprehensions: a crash of CPython 3.12 and 3.13. Many lines: memory.
COSTLY = {
    "costly/slow.py": "x = 1 in {" + ",".join(str(factor * (2**61 - 1)) for factor in range(5, 60_000)) + "}\n",
    "costly/crash.py": "x = " + "[" * 60 + "a" + " for a in b]" * 60 + "\n",
    "costly/big.py": "x = 1\n" * 100_000,
}
BROKEN = {
    "bad/syntax.py": b"x = = 1\n",
    "bad/deep.py": b"x = " + b"-" * 20_000 + b"1\n",
    "bad/empty.py": b"",
    "bad/null.py": b"x = 1\n\0\n",
    "bad/encoding.py": b"x = '\xe9'\n",
    "bad/codec.py": b"# coding: no-such-codec\n",
    "bad/again/syntax.py": b"x = = 1\n",
}
FRESH = {f"fresh{number % 3}/r{number:02}.py": padded(f"x = {number}\n", 3_000) for number in range(30)}
#: A host whose lanes each leave a line for every source that they write.
_TELLS = """
import os, sys
from pyctrigger.run.apply import writing
store = writing.PycWriter.store
def told(self, source, code):
    with open(f"{log}/{os.getpid()}", "a") as file:
        file.write("x")
    store(self, source, code)
log = sys.argv.pop(1)
writing.PycWriter.store = told
from pyctrigger.cli import main
sys.exit(main())
"""
#: What depends on the clock.
_TIMES = re.compile(r"\d+(\.\d+)? m?s\b")


def make_everything(site: Path, tag: str) -> None:
    """Sources of all kinds in places of all kinds."""
    copies = {f"copy{number}/same.py": padded("x = 'the same'\n", 5_000) for number in range(6)}
    apart = {f"apart/{name}.py": text for name, text in PAIRS.items()}
    apart.update({f"apart/{codec}.py": f"# coding: {codec}\nx = 1\n" for codec in ("koi8-r", "cp1250")})
    flat = {f"flat/m{number:03}.py": f"assert {number}\n" for number in range(90)}
    write_tree(site, {**bulk(), **copies, **apart, **flat, **COSTLY})
    for name, content in BROKEN.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    gone = [f"gone{number}/deep/__pycache__/gone.{tag}.pyc" for number in range(3)]
    gone += [f"flat/__pycache__/gone{number}.{tag}.pyc" for number in range(3)]
    gone += [f"__pycache__/gone.{tag}.opt-1.pyc", f"flat/__pycache__/m001.{tag}.pyc"]
    write_tree(site, dict.fromkeys(gone, "code that nobody has a source for"))
    write_tree(
        site, {"odd/m.py": "", "odd/n.py/inside.py": "", "odd/o.py": "", "obstructed/m.py": "", "linked/m.py": ""}
    )
    (site / "obstructed/__pycache__").write_text("in the way\n")
    (site / f"odd/__pycache__/o.{tag}.pyc/inner").mkdir(parents=True)
    os.mkfifo(site / "odd/fifo.py")
    links = {"odd/near": "m.py", "odd/far": "../flat/m001.py", "odd/nowhere": "nothing.py", "odd/out": "/etc/hostname"}
    for name, goal in links.items():
        (site / f"{name}.py").symlink_to(goal)
    (site / "other").symlink_to("flat")
    (site / "linked/__pycache__").symlink_to("../flat")
    write_tree(site, {"open/m.py": "", "open/deep/m.py": "", "his/m.py": "x = 1\n", "his/roots/m.py": "x = 1\n"})
    (site / "open").chmod(0o777)
    if os.geteuid() == 0:
        for path in ("his", "his/m.py"):
            os.chown(site / path, BOB, BOB)


def without_times(value: Any) -> Any:
    """A report without what depends on the clock, or on which directory a root is."""
    if isinstance(value, dict):
        return {key: without_times(value[key]) for key in value.keys() - {"elapsed_seconds", "installation"}}
    if isinstance(value, list):
        return [without_times(each) for each in value]
    return _TIMES.sub("- s", value) if isinstance(value, str) else value


#: More options, and the numbers of workers that are compared with one.
CASES: dict[str, tuple[list[str], list[int]]] = {
    "plain": (["--optimize", "0,1"], [2, 5, 8]),
    "text": ([], [5]),
    "hashes": (["--invalidation-mode", "checked-hash"], [5]),
    "prefix": (["--pycache-prefix", "PREFIX"], [5]),
    "root": (["--root", "TREE"], [5]),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_depends_on_how_many_there_are(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter, case: str
) -> None:
    """With everything in the tree that a run meets: what fails, what is in the way, what needs a worker of its own."""
    options, counts = CASES[case]
    top, state = tmp_path / "tree", pyctrigger.state
    config = tmp_path / "config.toml"
    config.write_text('[defaults]\nfile_timeout = 0.5\nmemory_limit = "128MiB"\n')
    tag = "cpython-{}{}".format(*newest.version)
    paths = {"PREFIX": str(top / "prefix"), "TREE": str(top)}
    scope = ["--config", str(config), "--python", newest.path, *(paths.get(each, each) for each in options)]
    scope += ["--site-dir", "/site" if case == "root" else str(top / "site")]
    tell = pyctrigger.text if case == "text" else pyctrigger.json

    def made_by(count: int) -> Any:
        pyctrigger.state = state / f"{count}-{case}"
        make_again(top, lambda top: write_tree(top / "site", FRESH))
        (top / "prefix").mkdir()
        assert 30 == pyctrigger.json("run", *scope).counts["compiled"]
        make_everything(top / "site", tag)
        age(top, 1_500_000_000)
        wait_for_the_next_tick(top)
        run = tell("run", *scope, "--jobs", str(count))
        made = content_of(top)
        other = "1" if count > 1 else "5"
        again = pyctrigger.json("run", *scope, "--jobs", other)
        assert made == content_of(top)
        said = [run.out, run.err.splitlines()] if case == "text" else run.document
        said = without_times([said, run.code, again.document, pyctrigger.json("verify", *scope).document])
        return made, json.dumps(said, indent=1, sort_keys=True).splitlines()

    made, said = made_by(1)
    for count in counts:
        others, says_other = made_by(count)
        assert made == others
        assert said == says_other


def test_one_directory_is_dealt_to_all_of_them(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Thousands of small sources in one place, by three lanes, each about a third; the bytes are those of one."""
    scope = ["--stateless", "--python", newest.path, "--site-dir", str(site)]
    log = site.parent / "log"
    log.mkdir()
    write_tree(site, {f"m{number:04}.py": padded(f"x = {number}\n", 250) for number in range(2_400)})
    age(site)
    pyctrigger.program = [sys.executable, "-c", _TELLS, str(log)]

    assert 2_400 == pyctrigger.json("run", *scope, "--jobs", "3").counts["compiled"]

    made = content_of(site)
    written = sorted(path.stat().st_size for path in log.iterdir())
    assert (3, 2_400) == (len(written), sum(written))
    assert written[0] > 300
    shutil.rmtree(site / "__pycache__")
    assert 2_400 == pyctrigger.json("run", *scope, "--jobs", "1").counts["compiled"]
    assert 4 == len(list(log.iterdir()))
    assert made == content_of(site)
