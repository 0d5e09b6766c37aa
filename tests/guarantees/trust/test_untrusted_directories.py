"""Nothing is written or removed where the wrong people may write: the directory is named, and the rest is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from confinement import NOBODY, command_for, usable_by
from conftest import absent
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

ALICE, BOB = 64501, 64502
CONFIGURED = 'untrusted_directories = "allow" in the configuration permits it'
OPEN_TO_ALL = f"everybody may write here, without a sticky bit; chmod o-w it, or {CONFIGURED}"


def strangers(owner: int, *owners: int) -> str:
    """The message about a directory of `owner` with sources of `owners`."""
    whose = ("account " if len(owners) == 1 else "accounts ") + ", ".join(map(str, owners))
    return (
        f"it belongs to account {owner}, and its sources to {whose}; "
        f"chown it to the owner of its sources or to root, or {CONFIGURED}"
    )


def not_writable_for(account: int, owner: int) -> str:
    """The message about a directory of `owner` below one of `account`."""
    return (
        f"it belongs to account {owner}, and account {account}, in whose directory it lies, may not write here: "
        f"chown -R {account} it"
    )


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[str]:
    """The options that put the newest interpreter on the site directory."""
    return ["--python", newest.path, "--site-dir", str(site)]


@pytest.fixture
def allowing(tmp_path: Path) -> list[str]:
    """The options for a configuration that trusts every directory."""
    (tmp_path / "allow.toml").write_text('[defaults]\nuntrusted_directories = "allow"\n')
    return ["--config", str(tmp_path / "allow.toml")]


def refused(failures: list[dict[str, str]]) -> dict[str, str]:
    """What was refused and why; nothing else failed."""
    assert {"refused"} >= {each["kind"] for each in failures}
    assert len({each["path"] for each in failures}) == len(failures)
    return {each["path"]: each["message"] for each in failures}


@pytest.mark.parametrize("verb", ["run", "repair"])
def test_a_directory_open_to_all_is_refused_and_the_rest_is_done(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], allowing: list[str], verb: str
) -> None:
    """One failure for it, with each of its stale sources counted; then `chmod o-w`, or the configuration, helps."""
    write_tree(site, {"open/a.py": "", "open/b.py": "", "open/below/c.py": "", "good/d.py": "", "e.py": ""})
    (site / "open").chmod(0o757)
    before = snapshot(site / "open")

    outcome = pyctrigger.json(verb, *scope)

    assert {f"{site}/open": OPEN_TO_ALL} == refused(outcome.failures)
    assert (1, 3, 2) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
    assert [] == pycs_below(site / "open/__pycache__")
    assert before == {path: state for path, state in snapshot(site / "open").items() if b"below" not in path} | {
        path: state for path, state in before.items() if b"below" in path
    }
    assert [] == not_fresh(newest, [path for path in sources_below(site) if b"/open/" not in path or b"below" in path])

    allowed = pyctrigger.json(verb, *scope, *allowing)
    assert (0, 2) == (allowed.code, allowed.counts["compiled"])
    (site / "open/a.py").write_text("x = 12345\n")
    (site / "open").chmod(0o755)
    assert (0, []) == ((mended := pyctrigger.json(verb, *scope)).code, mended.failures)
    assert [] == not_fresh(newest, sources_below(site))


@pytest.mark.parametrize("mode", [0o775, 0o2775, 0o1777])
def test_a_group_and_a_sticky_bit_are_the_administrators_choice(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], mode: int
) -> None:
    """Debian's own `/usr/local` is writable for a group."""
    write_tree(site, {"shared/module.py": ""})
    (site / "shared").chmod(mode)

    outcome = pyctrigger.json("run", *scope)

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    assert [] == not_fresh(newest, sources_below(site))


def test_an_open_pycache_is_refused_too(pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]) -> None:
    """Those who may write there decide what is imported, whoever owns the directory above."""
    tag = tag_of(newest)
    write_tree(site, {"package/module.py": "", f"package/__pycache__/gone.{tag}.pyc": "orphan"})
    (site / "package/__pycache__").chmod(0o777)
    before = snapshot(site)

    for verb in ("run", "sweep", "purge -y"):
        outcome = pyctrigger.json(*verb.split(), *scope)
        assert {f"{site}/package/__pycache__": OPEN_TO_ALL} == refused(outcome.failures)
        assert (1, 0) == (outcome.code, outcome.counts["removed"])
        assert before == snapshot(site)


@pytest.mark.parametrize("verb", ["run", "sweep", "purge -y", "repair"])
def test_nothing_is_removed_there(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], allowing: list[str], verb: str
) -> None:
    """Neither orphans nor the directories that they leave empty, on any way down."""
    tag = tag_of(newest)
    tree = {f"{name}/__pycache__/gone.{tag}.pyc": "orphan" for name in ("open", "closed")}
    write_tree(site, tree)
    (site / "bare/__pycache__").mkdir(parents=True)
    for name in ("open", "bare"):
        (site / name).chmod(0o777)

    outcome = pyctrigger.json(*verb.split(), *scope)

    assert {f"{site}/open": OPEN_TO_ALL, f"{site}/bare": OPEN_TO_ALL} == refused(outcome.failures)
    assert (1, 1) == (outcome.code, outcome.counts["removed"])
    assert ["bare", "open"] == sorted(os.listdir(site))
    assert ["__pycache__"] == os.listdir(site / "bare")
    assert [f"gone.{tag}.pyc"] == os.listdir(site / "open/__pycache__")

    assert 0 == pyctrigger.json(*verb.split(), *scope, *allowing).code
    assert [] == os.listdir(site)


def test_who_only_looks_refuses_nothing(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """What is missing is found, and no failure is made of it."""
    write_tree(site, {"open/module.py": ""})
    (site / "open").chmod(0o777)

    verify = pyctrigger.json("verify", *scope)
    assert ([], ["missing"]) == (verify.failures, [finding["kind"] for finding in verify.findings])
    assert ([], 0) == ((status := pyctrigger.json("status", *scope)).failures, status.code)


def test_a_fresh_directory_is_nobodys_business(
    pyctrigger: Command, site: Path, scope: list[str], allowing: list[str]
) -> None:
    """Where there is nothing to do, nothing is refused."""
    write_tree(site, {"open/module.py": ""})
    (site / "open").chmod(0o777)
    assert 0 == pyctrigger.json("run", *scope, *allowing).code

    outcome = pyctrigger.json("run", *scope)

    assert (0, 1, []) == (outcome.code, outcome.counts["fresh"], outcome.failures)


def test_a_hook_says_it_and_lets_the_transaction_go_on(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Exit 0, one line on standard error, and no work kept that would fail for ever."""
    write_tree(site, {"open/module.py": "", "open/other.py": ""})
    (site / "open").chmod(0o777)

    hook = pyctrigger.text("run", "--hook", *scope, site / "open")

    assert 0 == hook.code
    assert 1 == hook.err.count(f"{site}/open: refused: {OPEN_TO_ALL}\n")
    assert 0 == pyctrigger.json("status", *scope).run["status"]["pending"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("directory", "sources", "is_refused"),
    [
        (0, (ALICE,), False),
        (ALICE, (ALICE,), False),
        (ALICE, (0, ALICE), False),
        (ALICE, (0,), True),
        (ALICE, (BOB,), True),
        (ALICE, (0, BOB), True),
    ],
)
def test_a_stranger_s_directory_is_refused(
    pyctrigger: Command,
    site: Path,
    newest: Interpreter,
    scope: list[str],
    directory: int,
    sources: tuple[int, ...],
    is_refused: bool,
) -> None:
    """Neither root's, nor the caller's, nor that of an account with a source in it."""
    write_tree(site, {f"package/from{owner}.py": "" for owner in sources})
    for owner in sources:
        os.chown(site / f"package/from{owner}.py", owner, owner)
    os.chown(site / "package", directory, directory)

    outcome = pyctrigger.json("run", *scope)

    expected = {f"{site}/package": strangers(directory, *sources)} if is_refused else {}
    assert expected == refused(outcome.failures)
    assert len(sources) == outcome.counts["failed" if is_refused else "compiled"]
    assert (site / "package/__pycache__").exists() is not is_refused
    if is_refused:
        os.chown(site / "package", 0, 0)
        assert 0 == pyctrigger.json("run", *scope).code
    assert [] == not_fresh(newest, sources_below(site))


@pytest.mark.usefixtures("as_root")
def test_a_strangers_pycache_is_refused(pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]) -> None:
    """As it was left by the directory's former owner."""
    write_tree(site, {"package/module.py": ""})
    (site / "package/__pycache__").mkdir()
    os.chown(site / "package/__pycache__", ALICE, ALICE)

    outcome = pyctrigger.json("run", *scope)

    assert {f"{site}/package/__pycache__": strangers(ALICE, 0)} == refused(outcome.failures)
    assert [] == pycs_below(site)
    (site / "package/__pycache__").rmdir()
    assert 0 == pyctrigger.json("run", *scope).code
    assert [] == not_fresh(newest, sources_below(site))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("owner", [0, ALICE, BOB])
def test_a_directory_without_sources_is_judged_by_the_site_directorys_owner(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], owner: int
) -> None:
    """Only orphans are left in it: all below that account's directory is done with that account's rights."""
    pyc = f"__pycache__/gone.{tag_of(newest)}.pyc"
    write_tree(site, {f"left/{pyc}": "orphan"})
    for path in (site / "left/__pycache__", site / "left"):
        os.chown(path, owner, owner)
    os.chown(site, ALICE, ALICE)

    outcome = pyctrigger.json("sweep", *scope)

    expected = {} if owner == ALICE else {f"{site}/left": not_writable_for(ALICE, owner)}
    assert expected == refused(outcome.failures)
    assert (site / "left" / pyc).exists() is (owner != ALICE)


@pytest.mark.usefixtures("as_root")
def test_for_others_than_root_the_callers_own_is_trusted(tmp_path: Path) -> None:
    """Their own directory with anybody's sources, and root's; not that of a third account."""
    found = usable_by(NOBODY)
    with public_directory() as public:
        (public / "home").mkdir()
        os.chown(public / "home", NOBODY, NOBODY)
        command = command_for(NOBODY, public / "home/state") if found else None
        if command is None:
            absent("no Python that other accounts than root's may execute")
        site = write_tree(public / "site", {"own/module.py": "", "theirs/module.py": "", "open/module.py": ""})
        for name, owner in (("own", NOBODY), ("theirs", ALICE), ("open", NOBODY)):
            os.chown(site / name, owner, NOBODY)
            (site / name).chmod(0o775)
        (site / "open").chmod(0o777)
        environment = {"HOME": str(public / "home"), "XDG_RUNTIME_DIR": str(public / "home")}
        account = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": environment, "cwd": "/"}

        outcome = command.json("run", "--python", found[0], "--site-dir", site, **account)

        expected = {f"{site}/open": OPEN_TO_ALL, f"{site}/theirs": strangers(ALICE, 0)}
        assert expected == refused(outcome.failures)
        assert (1, 1, 2) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
        assert {os.fsencode(site / "own/__pycache__")} == {os.path.dirname(pyc) for pyc in pycs_below(site)}


def test_a_pycache_prefix_is_judged_by_its_own_directories(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str], tmp_path: Path
) -> None:
    """Nothing is written beside the sources there, however open they lie."""
    if newest.version < (3, 8):
        pytest.skip("doesn't support a pycache prefix")
    write_tree(site, {"open/module.py": "", "good/module.py": ""})
    (site / "open").chmod(0o777)
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    arguments = [*scope, "--pycache-prefix", str(prefix)]
    assert (0, 2) == ((first := pyctrigger.json("run", *arguments)).code, first.counts["compiled"])
    tree = prefix / str(site).lstrip("/")
    (tree / "good").chmod(0o777)
    for path in site.rglob("*.py"):
        path.write_text("x = 12345\n")

    outcome = pyctrigger.json("run", *arguments)

    assert {f"{tree}/good": OPEN_TO_ALL} == refused(outcome.failures)
    assert (1, 1, 1) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
