"""One name for a state, whichever verb is asked: `verify`, `status`, `which`, `explain` and what a run would do."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from interpreters import tag_of
from packages import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter


class Case(NamedTuple):
    """What becomes of a source and its bytecode, and what that is called."""

    script: str
    """Of sh: `source` is the source, `pyc` its bytecode, `$pyc1` that of level 1; compiled as `--optimize` says."""
    name: str
    reason: str | None = None
    optimize: str = "0"
    of_level: int = 0
    of_verify: str | None = ""
    """What `verify` calls it, if it may look closer; None: what it has no finding about."""


CASES = {
    "fresh": Case(":", "fresh", of_verify=None),
    "missing": Case('rm "$pyc"', "missing"),
    "mtime": Case('echo "x = 8" > "$source"; touch -d @9 "$source"', "stale", "mtime"),
    "size": Case('touch -r "$source" "$pyc"; echo "x = 123" > "$source"; touch -r "$pyc" "$source"', "stale", "size"),
    "digest": Case('touch -r "$source" "$pyc"; echo "x = 8" > "$source"; touch -r "$pyc" "$source"', "stale", "digest"),
    "magic": Case("printf '\\231\\231' | dd of=\"$pyc\" conv=notrunc status=none", "foreign-magic"),
    "short": Case('truncate -s 9 "$pyc"', "corrupt"),
    "directory": Case('rm "$pyc"; mkdir "$pyc"', "obstructed"),
    "code": Case('truncate -s 20 "$pyc"', "unproven", "body", of_verify="corrupt"),
    "orphan": Case('rm "$source"', "orphan"),
    "unwanted": Case(":", "unwanted", None, "0,1", 1),
    "unwanted_and_stale": Case('touch -d @9 "$source"', "unwanted", "mtime", "0,1", 1),
    "unwanted_and_short": Case('truncate -s 9 "$pyc1"', "unwanted", "corrupt", "0,1", 1),
    "uncompilable": Case(":", "uncompilable"),
    "excluded": Case('touch -d @9 "$source"', "excluded", "mtime", of_verify=None),
    "excluded_and_missing": Case('rm "$pyc"', "excluded", of_verify=None),
}


@pytest.fixture
def tree(pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter) -> Path:
    """A package for each case."""
    write_tree(site, {f"{name}/m.py": "x = 1\n" for name in CASES})
    both = [f"{site}/{name}" for name, case in CASES.items() if case.optimize == "0,1"]
    assert 0 == pyctrigger.json("run", *scope).code
    assert 0 == pyctrigger.json("run", *scope, "--optimize", "0,1", *both).code
    (site / "uncompilable/m.py").write_text("x = (\n")
    assert 1 == pyctrigger.json("run", *scope, site / "uncompilable").code
    for name, case in CASES.items():
        pyc = pyc_of(site, name, newest, 0)
        words = {"source": f"{site}/{name}/m.py", "pyc": pyc, "pyc1": pyc_of(site, name, newest, 1)}
        assert 0 == os.spawnvpe(os.P_WAIT, "sh", ["sh", "-ec", case.script], {**os.environ, **words})
    return site


def pyc_of(site: Path, name: str, interpreter: Interpreter, level: int) -> str:
    """The path of a case's bytecode."""
    return f"{site}/{name}/__pycache__/m.{tag_of(interpreter)}{f'.opt-{level}' if level else ''}.pyc"


def case_of(site: Path, path: str) -> str:
    """The case that a file is of."""
    return os.path.relpath(path, site).partition("/")[0]


def test_every_verb_has_the_same_name(
    pyctrigger: Command, tree: Path, scope: list[str], newest: Interpreter, tmp_path: Path
) -> None:
    """For every state of bytecode; where only reading the code shows it, `verify` reports more."""
    (configuration := tmp_path / "pyctrigger.toml").write_text('[defaults]\nexclude = ["*/excluded*"]\n')
    options = [*scope, "--config", str(configuration)]
    pycs = "\n".join(pyc_of(tree, name, newest, case.of_level) for name, case in CASES.items()).encode()

    which = pyctrigger.json("which", *options, "--paths-from", "-", stdin=pycs).document["pycs"]
    explained = pyctrigger.json("explain", *options, "--paths-from", "-", stdin=pycs).document["explanations"]
    findings = pyctrigger.json("verify", *options).findings
    status = pyctrigger.json("status", *options).run["status"]

    expected = {name: (case.name, case.reason) for name, case in CASES.items()}
    assert expected == {case_of(tree, each["pyc"]): (each["state"], each["reason"]) for each in which}
    levels = [(each["path"], level) for each in explained for level in each["flavours"][0]["levels"]]
    assert expected == {case_of(tree, path): (level["state"], level["reason"]) for path, level in levels}
    kinds = {name: case.name if case.of_verify == "" else case.of_verify for name, case in CASES.items()}
    told = {case_of(tree, each["pyc"] or each["source"]): each["kind"] for each in findings}
    assert {name: kind for name, kind in kinds.items() if kind} == told
    assert Counter(each["kind"] for each in findings) == counted(status)


def counted(status: dict[str, Any]) -> Counter[str]:
    """What `status` counts, by the same names."""
    names = ("missing", "corrupt", "mismatched", "obstructed", "unreadable", "uncompilable", "unwanted", "residue")
    stale = sum(count for reason, count in status["stale"].items() if reason != "magic")
    others = {"stale": stale, "foreign-magic": status["foreign_magic"], "orphan": status["orphans"]}
    return Counter({**{name: status[name] for name in names}, **others}) + Counter()
