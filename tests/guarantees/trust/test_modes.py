"""Who may read, replace and remove bytecode: modes, setgid, access lists, and file systems that take no chmod."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from confinement import are_readable, command_for, cpython_for
from conftest import absent
from packages import snapshot, write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command

ALICE, BOB, EVE, TEAM, OTHERS = 64501, 64502, 64503, 64510, 64511
SOURCE = "x = 'text'\n"


class Shared:
    """A tree that several accounts may enter, and pyctrigger for each of them."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.site = top / "site"
        self.site.mkdir()
        interpreter, command = cpython_for(ALICE), command_for(ALICE, top / "unused")
        if command is None or interpreter is None:
            absent("a Python that any account may execute")
        self.command = command
        self.interpreter = interpreter

    def run(self, uid: int, verb: str = "run", *, umask: int = 0o022, groups: tuple[int, ...] = (TEAM,)) -> list[str]:
        """The command as an account; its exit code must be 0. Returns the words of its counts that aren't 0."""
        state = self.top / f"state-{uid}"
        if not state.exists():
            state.mkdir()
            os.chown(state, uid, uid)
        outcome = self.command.json(
            verb,
            *("--python", self.interpreter, "--site-dir", self.site, "--state-dir", state),
            env={"HOME": str(state), "XDG_RUNTIME_DIR": str(state)},
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=groups,
            umask=umask,
        )
        assert (0, []) == (outcome.code, outcome.failures), outcome.err
        return [f"{name} {count}" for name, count in outcome.counts.items() if count]

    def pyc(self, directory: str = "package", module: str = "module") -> Path:
        """The only pyc of a module."""
        (found,) = (self.site / directory / "__pycache__").glob(f"{module}.*.pyc")
        return found

    def readers(self, *paths: Path) -> list[list[int]]:
        """Which accounts can open each file for reading."""
        accounts = {ALICE: (TEAM,), BOB: (TEAM,), EVE: (), OTHERS: (OTHERS,)}
        may = {uid: are_readable(paths, uid, uid, groups) for uid, groups in accounts.items()}
        return [[uid for uid in accounts if may[uid][number]] for number in range(len(paths))]


@pytest.fixture
def shared(as_root: None) -> Iterator[Shared]:
    """A new tree."""
    with public_directory() as top:
        yield Shared(top)


def owned(path: Path, uid: int, gid: int, mode: int) -> None:
    """Give something an owner, a group and a mode."""
    os.chown(path, uid, gid)
    path.chmod(mode)


def set_list(path: Path, *rules: str) -> None:
    """Give a file or directory an access list."""
    program = find_tool("setfacl")
    if program is None:
        absent("no setfacl on this machine (Debian package acl)")
    subprocess.run([program, "-m", ",".join(rules), path], check=True)


def team_tree(shared: Shared, *rules: str) -> Path:
    """A shared tree with a package of Alice's in it; returns the package's directory."""
    package = write_tree(shared.site, {"package/module.py": SOURCE}) / "package"
    for directory in (shared.site, package):
        owned(directory, ALICE, TEAM, 0o2775)
        if rules:
            set_list(directory, *rules)
    owned(package / "module.py", ALICE, TEAM, 0o664)
    return package


@pytest.mark.parametrize("rules", [(), (f"d:u:{BOB}:rwx", "d:g::rwx", "d:o::rx")], ids=["setgid", "default list"])
@pytest.mark.parametrize("writer", [ALICE, BOB, 0])
def test_a_team_can_replace_and_remove_what_one_of_it_compiled(
    shared: Shared, writer: int, rules: tuple[str, ...]
) -> None:
    """Whoever compiled first, and whatever the umask: the directory has mode 2775, and the pyc its source's."""
    package = team_tree(shared, *rules)

    assert ["compiled 1"] == shared.run(writer, umask=0o077)

    directory, pyc = (package / "__pycache__").stat(), shared.pyc().stat()
    assert (TEAM, "0o2775") == (directory.st_gid, oct(stat.S_IMODE(directory.st_mode)))
    assert (TEAM, "0o644") == (pyc.st_gid, oct(stat.S_IMODE(pyc.st_mode)))
    (package / "module.py").write_text("y = 'other'\n")
    assert ["compiled 1"] == shared.run(BOB, umask=0o077)
    (package / "module.py").unlink()
    assert ["removed 1", "removed_directories 2"] == shared.run(BOB)


READERS: list[tuple[int, list[str], list[int]]] = [
    (0o644, [], [ALICE, BOB, EVE, OTHERS]),
    (0o640, [], [ALICE, BOB]),
    (0o604, [], [ALICE, EVE, OTHERS]),
    (0o600, [], [ALICE]),
    # Seen as 0640, and the group reads nothing.
    (0o600, ["g::---", "m::r"], [ALICE]),
    (0o600, ["g::---", f"g:{OTHERS}:r"], [ALICE, OTHERS]),
    (0o640, [f"u:{EVE}:r"], [ALICE, BOB, EVE]),
    # Seen as 0644, and one account, or one group, reads nothing.
    (0o644, [f"u:{EVE}:-"], [ALICE, BOB, OTHERS]),
    (0o644, [f"g:{OTHERS}:-"], [ALICE, BOB, EVE]),
]


@pytest.mark.parametrize("default", [[], [f"d:u:{EVE}:rx", "d:g::rx"]], ids=["plain", "default list"])
@pytest.mark.parametrize("writer", [ALICE, 0])
def test_a_pyc_is_read_by_who_reads_its_source(shared: Shared, default: list[str], writer: int) -> None:
    """Determined by the kernel, whatever the lists of the file and its directory are."""
    sources = {f"case{number}.py": each for number, each in enumerate(READERS)}
    package = write_tree(shared.site, {f"package/{name}": SOURCE for name in sources}) / "package"
    owned(shared.site, ALICE, TEAM, 0o755)
    owned(package, ALICE, TEAM, 0o755)
    for name, (mode, rules, _) in sources.items():
        owned(package / name, ALICE, TEAM, mode)
        if rules:
            set_list(package / name, *rules)
    if default:
        set_list(package, *default)
    expected = [readers for _, _, readers in READERS]
    assert expected == shared.readers(*(package / name for name in sources))

    for step in ("compiled", "refreshed"):
        assert [f"{step} {len(sources)}"] == shared.run(writer)
        assert expected == shared.readers(*(shared.pyc(module=name[:-3]) for name in sources))
        for name in sources:
            os.utime(package / name, (1, 1))


@pytest.mark.parametrize("options", [(), ("--stateless",)], ids=["records", "no records"])
def test_what_a_mode_can_not_say_is_written_once(shared: Shared, pyctrigger: Command, options: tuple[str, ...]) -> None:
    """A pyc for its owner alone, where a list can't be passed on, is no finding for anybody, and never made again."""
    names = [f"case{number}.py" for number in range(len(READERS))]
    package = write_tree(shared.site, {f"package/{name}": SOURCE for name in names}) / "package"
    for name, (mode, rules, _) in zip(names, READERS):
        owned(package / name, ALICE, TEAM, mode)
        if rules:
            set_list(package / name, *rules)
    scope = ["--python", shared.interpreter, "--site-dir", str(shared.site)]
    pyctrigger.json("run", *scope, *options)
    before = snapshot(shared.site)

    assert (0, []) == ((found := pyctrigger.json("verify", *scope, "--stateless")).code, found.findings)
    assert len(names) == pyctrigger.json("run", *scope, *options).counts["fresh"]
    assert before == snapshot(shared.site)


def test_who_reads_a_source_by_others_reads_the_pyc_that_is_theirs(shared: Shared) -> None:
    """A source that its own owner may not read: the pyc's owner is another account, which may."""
    package = write_tree(shared.site, {"package/module.py": SOURCE}) / "package"
    for directory in (shared.site, package):
        owned(directory, ALICE, ALICE, 0o755)
    owned(package / "module.py", OTHERS, OTHERS, 0o044)

    assert ["compiled 1"] == shared.run(ALICE)

    assert ALICE in shared.readers(shared.pyc())[0]
    assert ["fresh 1"] == shared.run(ALICE)


def test_a_refresh_takes_what_its_source_no_longer_grants(shared: Shared) -> None:
    """The package came again with the same text, for fewer readers."""
    package = team_tree(shared)
    shared.run(ALICE)
    (package / "module.py").chmod(0o600)
    os.utime(package / "module.py", (1, 1))

    assert ["refreshed 1"] == shared.run(ALICE)

    assert [[ALICE]] == shared.readers(shared.pyc())


@pytest.mark.parametrize("old", ["ours", "0444"], ids=["written by us", "left by an older pyctrigger"])
def test_a_read_only_source_is_refreshed_by_who_is_not_root(shared: Shared, old: str) -> None:
    """A pyc that can't be opened for writing is replaced (bpo-6074), at every level and with links between them."""
    package = write_tree(shared.site, {"package/module.py": SOURCE}) / "package"
    for directory in (shared.site, package):
        owned(directory, ALICE, ALICE, 0o755)
    owned(package / "module.py", ALICE, ALICE, 0o444)
    shared.run(ALICE)
    assert "0o644" == oct(stat.S_IMODE(shared.pyc().stat().st_mode))
    if old == "0444":
        shared.pyc().chmod(0o444)
        shared.run(ALICE)
    os.utime(package / "module.py", (1, 1))

    assert ["refreshed 1"] == shared.run(ALICE)
    assert ["fresh 1"] == shared.run(ALICE)


@pytest.fixture
def unchangeable(shared: Shared) -> Iterator[Shared]:
    """The same tree, on a file system that refuses chmod and chown."""
    program, undo = find_tool("bindfs"), find_tool("fusermount3") or find_tool("fusermount")
    if program is None or undo is None:
        absent("no bindfs on this machine (Debian package bindfs)")
    behind = shared.top / "behind"
    behind.mkdir()
    options = ["--chmod-deny", "--chown-deny", "--chgrp-deny", "--no-allow-other"]
    child = subprocess.run([program, *options, behind, shared.site], capture_output=True, check=False)
    if child.returncode != 0:
        absent(f"bindfs, and /dev/fuse: {child.stderr.decode().strip()}")
    try:
        yield shared
    finally:
        subprocess.run([undo, "-u", shared.site], check=True)
        shutil.rmtree(behind)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_system_without_chmod_is_served(unchangeable: Shared, pyctrigger: Command, umask: int) -> None:
    """The mode comes with the file, so that nothing is left to change, for a private source as well."""
    site = unchangeable.site
    modes = {"public.py": 0o644, "private.py": 0o600, "frozen.py": 0o444, "program.py": 0o755, "team.py": 0o640}
    write_tree(unchangeable.top / "behind", {f"package/{name}": SOURCE for name in modes})
    for name, mode in modes.items():
        (unchangeable.top / "behind/package" / name).chmod(mode)
    scope = ["--python", unchangeable.interpreter, "--site-dir", str(site)]

    outcome = pyctrigger.json("run", *scope, umask=umask)

    assert (0, len(modes), []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
    found = {path.name.partition(".")[0] + ".py": path for path in (site / "package/__pycache__").iterdir()}
    assert {name: oct(mode & 0o644 | 0o200) for name, mode in modes.items()} == {
        name: oct(stat.S_IMODE(found[name].stat().st_mode)) for name in modes
    }
    for name in modes:
        os.utime(site / "package" / name, (1, 1))
    assert len(modes) == pyctrigger.json("run", *scope, umask=umask).counts["refreshed"]
    before = snapshot(site)
    assert len(modes) == pyctrigger.json("run", *scope).counts["fresh"]
    assert before == snapshot(site)


def test_where_no_owner_can_be_given_nobody_reads_more(unchangeable: Shared, pyctrigger: Command) -> None:
    """Alice may not enter root's mount: what root can't do as Alice isn't done, and no account can read anything."""
    behind = write_tree(unchangeable.top / "behind", {"package/module.py": SOURCE, "package/public.py": SOURCE})
    owned(behind / "package", ALICE, TEAM, 0o755)
    owned(behind / "package/module.py", ALICE, TEAM, 0o640)
    owned(behind / "package/public.py", ALICE, TEAM, 0o644)

    outcome = pyctrigger.json("run", "--python", unchangeable.interpreter, "--site-dir", unchangeable.site)

    (failure,) = outcome.failures
    assert (1, 0, "refused") == (outcome.code, outcome.counts["compiled"], failure["kind"])
    assert [] == list((unchangeable.top / "behind").rglob("*.pyc"))
