"""Bytecode that readers of its source can't read, as root leaves it when importing with a umask of 077."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from interpreters import tag_of
from packages import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
OTHER = 12345


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def imported(site: Path, newest: Interpreter) -> Path:
    """A package of three sources that was imported with a umask of 077."""
    site.chmod(0o755)
    write_tree(site, {"package/__init__.py": "", "package/a.py": "VALUE = 1\n", "package/b.py": "VALUE = 2\n"})
    (site / "package").chmod(0o755)
    for source in (site / "package").iterdir():
        source.chmod(0o644)
    script = f"import os, sys; os.umask(0o077); sys.path.insert(0, {str(site)!r}); import package.a, package.b"
    subprocess.run([newest.path, "-c", script], check=True, env={"PATH": os.defpath})
    pycache = site / "package/__pycache__"
    assert {0o700, 0o600} == {mode_of(path) for path in (pycache, *pycache.iterdir())}
    return pycache


def test_verify_and_status_tell_and_say_why(imported: Path, pyctrigger: Command, scope: list[str]) -> None:
    """Each pyc and the `__pycache__` is a finding, `status` counts them, `explain` gives the reason."""
    found = pyctrigger.json("verify", *scope)
    assert (1, {"unreadable"}) == (found.code, {finding["kind"] for finding in found.findings})
    assert {str(imported), *map(str, imported.iterdir())} == {finding["pyc"] for finding in found.findings}
    assert 4 == pyctrigger.json("status", *scope).run["status"]["unreadable"]
    source = str(imported.parent / "a.py")
    explained = pyctrigger.json("explain", *scope, source).document["explanations"][0]["flavours"][0]["levels"][0]
    assert ("unreadable", "compile") == (explained["state"], explained["action"])
    assert "its mode keeps out accounts that may read the source" == explained["rule"]


@pytest.mark.parametrize("verb", ["run", "repair"])
def test_a_run_and_a_repair_mend_it(imported: Path, pyctrigger: Command, scope: list[str], verb: str) -> None:
    """Afterwards everybody can use it, there is nothing to find, and the next run has nothing to do."""
    assert 0 == pyctrigger.json(verb, *scope).code
    assert {0o755, 0o644} == {mode_of(path) for path in (imported, *imported.iterdir())}
    assert (0, []) == ((found := pyctrigger.json("verify", *scope)).code, found.findings)
    assert {"fresh": 3} == {key: count for key, count in pyctrigger.json("run", *scope).counts.items() if count}


def test_what_is_recorded_is_mended_too(
    imported: Path, pyctrigger: Command, scope: list[str], newest: Interpreter
) -> None:
    """Records, and a directory known to need nothing, don't hide that a mode was taken away."""
    pyctrigger.json("run", *scope)
    pyctrigger.json("run", *scope)
    pyc = imported / f"a.{tag_of(newest)}.pyc"
    pyc.chmod(0o600)
    assert [str(pyc)] == [finding["pyc"] for finding in pyctrigger.json("verify", *scope).findings]
    assert 1 == pyctrigger.json("run", *scope).counts["compiled"]
    imported.chmod(0o700)
    assert [str(imported)] == [finding["pyc"] for finding in pyctrigger.json("verify", *scope).findings]
    pyctrigger.json("run", *scope)
    assert (0o644, 0o755) == (mode_of(pyc), mode_of(imported))


ROOT, GROUP = 0, 50
#: Mode, owner and group of a source, of its pyc, and whether the pyc is unreadable.
CASES = [
    ((0o644, ROOT, ROOT), (0o644, ROOT, ROOT), False),
    ((0o644, ROOT, ROOT), (0o640, ROOT, ROOT), True),
    ((0o644, ROOT, ROOT), (0o604, ROOT, ROOT), True),
    ((0o644, OTHER, GROUP), (0o600, ROOT, ROOT), True),
    ((0o600, ROOT, ROOT), (0o600, ROOT, ROOT), False),
    ((0o640, ROOT, GROUP), (0o600, ROOT, GROUP), True),
    ((0o640, ROOT, GROUP), (0o600, ROOT, ROOT), True),
    ((0o640, OTHER, GROUP), (0o600, ROOT, GROUP), True),
    ((0o604, ROOT, GROUP), (0o600, ROOT, ROOT), True),
    ((0o600, OTHER, OTHER), (0o600, ROOT, ROOT), True),
    ((0o400, ROOT, ROOT), (0o200, ROOT, ROOT), True),
    ((0o444, ROOT, ROOT), (0o644, ROOT, ROOT), False),
]


@as_root
@pytest.mark.parametrize("stateless", [False, True])
def test_modes_owners_and_groups_decide(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter, stateless: bool
) -> None:
    """It is a finding if one mode could admit everybody who may read the source, and then a run fixes it."""
    options = [*scope, "--stateless"] if stateless else scope
    names = [f"m{number}" for number in range(len(CASES))]
    write_tree(site, {f"{name}.py": "" for name in names})
    pyctrigger.json("run", *options)
    for name, (source, pyc, _) in zip(names, CASES):
        for path, (mode, uid, gid) in (
            (site / f"{name}.py", source),
            (site / "__pycache__" / f"{name}.{tag_of(newest)}.pyc", pyc),
        ):
            os.chown(path, uid, gid)
            path.chmod(mode)
    expected = {str(site / f"{name}.py") for name, (_, _, is_unreadable) in zip(names, CASES) if is_unreadable}
    found = pyctrigger.json("verify", *options).findings
    assert expected == {finding["source"] for finding in found if finding["kind"] == "unreadable"}
    pyctrigger.json("run", *options)
    assert [] == [each for each in pyctrigger.json("verify", *options).findings if each["kind"] == "unreadable"]


@as_root
def test_a_pycache_of_another_owner_stays_closed(imported: Path, pyctrigger: Command, scope: list[str]) -> None:
    """The owner of a directory can name root's private one `__pycache__`: every run reports it, and doesn't open it."""
    (imported.parent).chmod(0o755)
    os.chown(imported.parent, OTHER, OTHER)
    for source in imported.parent.glob("*.py"):
        os.chown(source, OTHER, OTHER)
    for _ in range(2):
        run = pyctrigger.json("run", *scope)
        assert (1, 0o700) == (run.code, mode_of(imported))
        (failure,) = run.failures
        assert (str(imported.parent), "refused") == (failure["path"], failure["kind"])
        assert f"chown -R {OTHER}" in failure["message"]
    assert 1 == pyctrigger.json("verify", *scope).code


def test_private_sources_may_have_a_private_pycache(imported: Path, pyctrigger: Command, scope: list[str]) -> None:
    """If no other account may read a source, no other account has to enter."""
    for source in imported.parent.glob("*.py"):
        source.chmod(0o600)
    assert [] == pyctrigger.json("verify", *scope).findings
