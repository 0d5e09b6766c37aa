"""Levels that are no longer configured, and levels given by option: what each verb does about them."""

from __future__ import annotations

import os
import subprocess
import time
from itertools import chain, combinations
from typing import TYPE_CHECKING

import pytest

from command import hours_later
from interpreters import tag_of
from owner_packages import with_dpkg
from packages import snapshot, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

LEVELS = (0, 1, 2)
#: Every choice of levels.
CHOICES = [*chain.from_iterable(combinations(LEVELS, count) for count in range(4))]
#: What may have become of the source since its bytecode was written.
CHANGES = {"fresh": "x = 1\n", "stale": "x = 1 + 1 + 1\n"}


def pyc_name(tag: str, source: str, level: int) -> str:
    """The name of a pyc in its `__pycache__`."""
    return f"{source}.{tag}{f'.opt-{level}' if level else ''}.pyc"


def configured(tmp_path: Path, levels: tuple[int, ...]) -> list[str]:
    """The option for a configuration that wants these levels."""
    path = tmp_path / f"{''.join(map(str, levels))}.toml"
    path.write_text(f"[defaults]\noptimize = {list(levels)}\n")
    return ["--config", str(path)]


@pytest.fixture
def laid_out(pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter) -> dict[tuple[str, int], str]:
    """A package with a source for each choice of levels and each change: the state of each pyc, by path and level."""
    tag = tag_of(newest)
    sources = {f"{change}_{''.join(map(str, levels)) or 'none'}": levels for change in CHANGES for levels in CHOICES}
    package = write_tree(site, {f"package/{name}.py": "x = 1\n" for name in sources}) / "package"
    written = time.time() - 3600
    for name in sources:
        os.utime(package / f"{name}.py", (written, written))
    assert 0 == pyctrigger.json("run", *scope, "--optimize", "0,1,2").code
    found = {}
    for name, levels in sources.items():
        (package / f"{name}.py").write_text(CHANGES[name.partition("_")[0]])
        if name.startswith("fresh"):
            os.utime(package / f"{name}.py", (written, written))
        for level in LEVELS:
            path = package / "__pycache__" / pyc_name(tag, name, level)
            if level in levels:
                found[str(path)] = (name.partition("_")[0], level)
            else:
                path.unlink()
    return {(path, level): state for path, (state, level) in found.items()}


@pytest.mark.parametrize("wanted", [(0,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
def test_each_verb_deals_with_levels_that_are_no_longer_wanted(
    pyctrigger: Command,
    site: Path,
    scope: list[str],
    laid_out: dict[tuple[str, int], str],
    tmp_path: Path,
    wanted: tuple[int, ...],
) -> None:
    """Verbs that only read report each; runs and a plain sweep leave them; `sweep --unwanted` removes them."""
    options = [*scope, *configured(tmp_path, wanted)]
    unwanted = {path for path, level in laid_out if level not in wanted}
    kept = {path for path, level in laid_out if level in wanted}

    verified = pyctrigger.json("verify", *options)
    told = {finding["pyc"] for finding in verified.findings if finding["kind"] == "unwanted"}
    status = pyctrigger.json("status", *options).run["status"]
    pyctrigger.json("run", *options)
    left = {path for path, _ in laid_out if os.path.exists(path)}
    swept = pyctrigger.json("sweep", *options).counts["removed"]
    dry = pyctrigger.json("sweep", "--unwanted", "--dry-run", *options)
    planned = {(each["action"], each["reason"], each["path"]) for each in dry.run["actions"]}
    removed = pyctrigger.json("sweep", "--unwanted", *options).counts["removed"]

    assert unwanted == told
    stale = {path for (path, level), state in laid_out.items() if state == "stale" and level in wanted}
    assert stale == {finding["pyc"] for finding in verified.findings if finding["kind"] == "stale"}
    assert 1 == verified.code
    assert len(unwanted) == status["unwanted"]
    assert unwanted | kept == left
    assert 0 == swept
    assert {("remove", "unwanted", path) for path in unwanted} == planned
    assert len(unwanted) == removed
    assert all(os.path.exists(path) == (path in kept) for path, _ in laid_out)
    assert (0, []) == ((after := pyctrigger.json("verify", *options)).code, after.findings)


def compile_with(interpreter: Interpreter, source: Path, *options: str) -> None:
    """What the interpreter itself writes for a source, as importing it would."""
    subprocess.run([interpreter.path, *options, "-m", "py_compile", source], check=True)


def test_a_level_that_only_others_ever_asked_for_is_a_fault_when_it_is_stale(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """What `python -O` wrote is listed, and alone is no reason for exit 1 as long as it fits its source."""
    source = write_tree(site, {"m.py": "x = 1\n"}) / "m.py"
    pyctrigger.json("run", *scope)
    compile_with(newest, source, "-O")
    pyctrigger.json("run", *scope)
    pyc = str(site / "__pycache__" / pyc_name(tag_of(newest), "m", 1))

    fresh = pyctrigger.json("verify", *scope)
    said = pyctrigger.text("verify", *scope)
    source.write_text("x = 1 + 1 + 1\n")
    pyctrigger.json("run", *scope)
    stale = pyctrigger.json("verify", *scope)
    stateless = pyctrigger.json("verify", "--stateless", *scope[:4])

    finding = {"kind": "unwanted", "pyc": pyc, "source": str(source)}
    assert (0, [finding]) == (fresh.code, [{key: each[key] for key in finding} for each in fresh.findings])
    assert "0 findings, 1 fresh, 1 of levels that aren't configured" in said.out
    assert (1, [finding]) == (stale.code, [{key: each[key] for key in finding} for each in stale.findings])
    assert (1, [finding]) == (stateless.code, [{key: each[key] for key in finding} for each in stateless.findings])


@pytest.mark.usefixtures("as_root")
def test_a_packages_own_level_is_told_when_it_is_stale_and_never_swept(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """What a package ships is as the package wants it, whichever levels that are."""
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    payload, root = tmp_path / "payload", tmp_path / "root"
    root.mkdir()
    write_tree(payload, {f"{library}/{name}.py": "x = 1\n" for name in ("fresh", "stale")})
    for name in ("fresh", "stale"):
        compile_with(newest, payload / library / f"{name}.py", "-O")
    (payload / library / "stale.py").write_text("x = 1 + 1 + 1\n")
    with_dpkg(payload, root, tmp_path)
    write_tree(root, {f"{library}/ours.py": "x = 1\n"})
    compile_with(newest, root / library / "ours.py", "-O")
    arguments = ["--python", newest.path, "--root", str(root), "--stateless"]
    pyctrigger.json("run", *arguments)

    verified = pyctrigger.json("verify", *arguments)
    swept = pyctrigger.json("sweep", "--unwanted", *arguments)

    found = [(each["kind"], each["pyc"].rpartition("/")[2].partition(".")[0]) for each in verified.findings]
    assert [("stale", "stale"), ("unwanted", "ours")] == sorted(found)
    assert 1 == swept.counts["removed"]
    left = {name for name in os.listdir(root / library / "__pycache__") if ".opt-1." in name}
    assert {pyc_name(tag_of(newest), name, 1) for name in ("fresh", "stale")} == left


TAKEN_BY_SWEEP = {"orphan", "residue"}
EVERYTHING = {"orphan", "residue", "stale"}
#: Arguments of a verb; what it removes, or tells; and of which levels.
BOUND: list[tuple[list[str], set[str], set[int]]] = [
    (["sweep"], TAKEN_BY_SWEEP, {0, 1, 2}),
    (["sweep", "--optimize", "2"], TAKEN_BY_SWEEP, {2}),
    (["sweep", "--optimize", "0,1,2"], TAKEN_BY_SWEEP, {0, 1, 2}),
    (["sweep", "--unwanted", "--optimize", "2"], EVERYTHING, {2}),
    (["purge", "-y"], EVERYTHING, {0, 1, 2}),
    (["purge", "-y", "--optimize", "1"], EVERYTHING, {1}),
    (["purge", "-y", "--optimize", "0,2"], EVERYTHING, {0, 2}),
    (["verify"], EVERYTHING, {0, 1, 2}),
    (["verify", "--optimize", "0"], EVERYTHING, {0}),
    (["verify", "--optimize", "1,2"], EVERYTHING, {1, 2}),
]


@pytest.mark.parametrize(
    ("arguments", "things", "levels"), BOUND, ids=[" ".join(arguments) for arguments, _, _ in BOUND]
)
def test_levels_that_a_person_names_are_the_only_ones(
    pyctrigger: Command,
    site: Path,
    scope: list[str],
    newest: Interpreter,
    arguments: list[str],
    things: set[str],
    levels: set[int],
) -> None:
    """Bytecode of other levels is neither removed nor reported."""
    laid = lay_out_remains(pyctrigger, site, scope, tag_of(newest))

    outcome = hours_later(pyctrigger).json(*arguments, *scope)

    removed = {path for path in laid if not os.path.exists(path)}
    told = {finding["pyc"] for finding in outcome.findings}
    assert {path for path, (thing, level) in laid.items() if thing in things and level in levels} == removed | told


def lay_out_remains(pyctrigger: Command, site: Path, scope: list[str], tag: str) -> dict[str, tuple[str, int]]:
    """An orphan, residue and a stale pyc of each level: what each is, by its path."""
    write_tree(site, {f"package/{name}.py": "x = 1\n" for name in ("stale", "orphan")})
    pyctrigger.json("run", *scope, "--optimize", "0,1,2")
    (site / "package/orphan.py").unlink()
    (site / "package/stale.py").write_text("x = 1 + 1 + 1\n")
    laid: dict[str, tuple[str, int]] = {}
    for level in LEVELS:
        names = {thing: pyc_name(tag, thing, level) for thing in ("orphan", "stale")}
        names["residue"] = f"{names['stale']}.12345"
        laid |= {str(site / "package/__pycache__" / name): (thing, level) for thing, name in names.items()}
        (site / "package/__pycache__" / names["residue"]).write_text("residue")
    return laid


def test_the_table_counts_only_the_levels_that_a_person_names(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """Orphans, and bytes of bytecode."""
    lay_out_remains(pyctrigger, site, scope, tag_of(newest))

    alone = [pyctrigger.json("status", *scope, "--optimize", level).run["status"] for level in "012"]
    whole = pyctrigger.json("status", *scope).run["status"]

    assert [(1, 0)] * 3 == [(status["orphans"], status["unwanted"]) for status in alone]
    assert (3, 2) == (whole["orphans"], whole["unwanted"])
    assert all(0 < status["pyc_bytes"] <= whole["pyc_bytes"] for status in alone)


def test_only_a_level_that_is_not_wanted_can_be_swept_by_name(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """`--unwanted --optimize 0`, said by somebody who means "all but 0", removes nothing in silence."""
    write_tree(site, {"m.py": "x = 1\n"})
    pyctrigger.json("run", *scope, "--optimize", "0,1")
    before = snapshot(site)

    outcome = pyctrigger.text("sweep", "--unwanted", "--optimize", "0", *scope)

    assert (2, before) == (outcome.code, snapshot(site))
    assert (
        "pyctrigger: --unwanted --optimize 0: the configuration wants level 0; "
        "name the levels to remove, or leave out --optimize\n"
    ) == outcome.err
