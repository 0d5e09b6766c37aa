"""A local store with every scope: by prefix, in a staged root, with a pycache prefix, as an account without rights."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acting import name_ann
from children import public_directory
from confinement import NOBODY, command_for
from conftest import absent
from packages import pycs_below, write_tree
from pyctrigger.store.local import open_local
from store_servers import counts
from stored_sources import STORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Command, Outcome
    from interpreters import Interpreter

COUNT = len(STORED)


class Places:
    """A store that is full, and a directory that everybody may enter."""

    def __init__(self, command: Command, python: Interpreter, top: Path) -> None:
        self.command, self.python, self.top = command, python, top
        self.store = top / "store"
        self.config = top / "config.toml"
        self.config.write_text(f'[store]\nurl = "{self.store}"\n')
        filled = write_tree(top / "filled", STORED)
        outcome = self.run("--site-dir", str(filled), "--stateless")
        assert COUNT == outcome.counts["compiled"]

    def run(self, *options: str, with_store: bool = True, verb: str = "run") -> Outcome:
        """A run of that interpreter."""
        config = ["--config", str(self.config)] if with_store else []
        return self.command.json(verb, "--python", self.python.path, *config, *options)

    def codes(self) -> int:
        """How much the store has."""
        with open_local(str(self.store), writes=False) as store:
            return store.describe().codes


@pytest.fixture
def places(pyctrigger: Command, newest: Interpreter) -> Iterator[Places]:
    """For one test."""
    with public_directory() as top:
        yield Places(pyctrigger, newest, top)


def by_prefix(places: Places) -> list[str]:
    """An environment with the sources."""
    subprocess.run([places.python.path, "-m", "venv", "--without-pip", places.top / "venv"], check=True)
    (site,) = (places.top / "venv/lib").glob("*/site-packages")
    write_tree(site, STORED)
    return ["--prefix", str(places.top / "venv")]


def in_a_root(places: Places) -> list[str]:
    """A staged root with them."""
    write_tree(places.top / "root/opt/site", STORED)
    return ["--root", str(places.top / "root"), "--site-dir", "/opt/site", "--stateless"]


def with_a_pycache_prefix(places: Places) -> list[str]:
    """Bytecode in a tree of its own."""
    (places.top / "cache").mkdir()
    return [*plainly(places), "--pycache-prefix", str(places.top / "cache")]


def plainly(places: Places) -> list[str]:
    """A site directory."""
    return ["--site-dir", str(write_tree(places.top / "site", STORED))]


def stateless(places: Places) -> list[str]:
    """Nothing is remembered."""
    return [*plainly(places), "--stateless"]


def unchecked(places: Places) -> list[str]:
    """A header with a hash that nobody compares."""
    return [*plainly(places), "--invalidation-mode", "unchecked-hash"]


SCOPES: list[Callable[[Places], list[str]]] = [by_prefix, in_a_root, with_a_pycache_prefix, stateless, unchecked]


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_takes_from_a_store(places: Places, scope: Callable[[Places], list[str]]) -> None:
    """The bytes are those of a run without it; so the header was made here."""
    options = scope(places)
    taken = places.run(*options)
    content = written(places.top)
    for path in content:
        path.unlink()
    alone = places.run(*options, with_store=False, verb="repair")
    assert ((0, 0, COUNT), (0, COUNT, 0)) == (counts(taken), counts(alone))
    assert content == written(places.top)
    assert len(content) == COUNT


def written(top: Path) -> dict[Path, bytes]:
    """The content of all pycs but those of the tree that filled the store."""
    return {path: path.read_bytes() for path in top.rglob("*.pyc") if top / "filled" not in path.parents}


def test_nothing_of_a_staged_root_is_kept(places: Places) -> None:
    """Whoever made it would have a say in what other trees get: its worker may be in his hands."""
    before = places.codes()
    options = in_a_root(places)
    write_tree(places.top / "root/opt/site", {"new.py": "new = 1\n"})
    assert (0, 1, COUNT) == counts(places.run(*options))
    assert before == places.codes()
    write_tree(places.top / "site", {"new.py": "new = 1\n"})
    assert (0, 1, 0) == counts(places.run("--site-dir", str(places.top / "site"), "--stateless"))
    assert before < places.codes()


@pytest.mark.usefixtures("as_root")
def test_nothing_of_another_accounts_tree_is_kept(places: Places) -> None:
    """Its worker may be in that account's hands. It takes what root has of sources that everybody may read."""
    before = places.codes()
    site = write_tree(places.top / "site", {**STORED, "new.py": "new = 1\n"})
    for path in [site, *site.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert (0, 1, COUNT) == counts(places.run("--site-dir", str(site), "--stateless"))
    assert {NOBODY} == {path.stat().st_uid for path in site.rglob("*.pyc")}
    assert before == places.codes()


@pytest.mark.usefixtures("as_root")
def test_what_a_list_keeps_from_somebody_is_not_for_all(places: Places) -> None:
    """Though its mode lets everybody enter: one account may not."""
    places.store.chmod(0o755)
    site = write_tree(places.top / "site", STORED)
    name_ann(site / "p", 0)
    below = sum(name.startswith("p/") for name in STORED)
    assert (0, below, COUNT - below) == counts(places.run("--site-dir", str(site), "--stateless"))
    assert stat.S_IMODE((site / "p").stat().st_mode) & 0o005 == 0o005


def test_no_store_is_used_unless_it_is_turned_on() -> None:
    """By itself a run keeps nothing in the account's cache; with "local" it does, for that account alone."""
    if os.geteuid():
        absent("needs root")
    with public_directory() as top:
        command = command_for(NOBODY, top / "state") or absent("no interpreter that nobody may execute")
        home = top / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        account: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
        environment = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_STATE_HOME": ""}
        (top / "config.toml").write_text('[store]\nurl = "local"\n')

        def run(name: str, *options: str) -> Outcome:
            site = write_tree(top / name, STORED)
            for path in [site, *site.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)
            scope = ["--python", command.program[0], "--site-dir", str(site), "--stateless"]
            return command.json("run", *scope, *options, env=environment, **account)

        assert (0, COUNT, 0) == counts(run("first"))
        assert not list(home.rglob("store"))
        local = ["--config", str(top / "config.toml")]
        assert (0, COUNT, 0) == counts(run("second", *local))
        assert (0, 0, COUNT) == counts(run("third", *local))
        (store,) = home.rglob("store")
        assert (0o700, NOBODY) == (stat.S_IMODE(store.stat().st_mode), store.stat().st_uid)
        assert home / ".cache/pyctrigger/store" == store


#: What a store of this machine doesn't need: the extras, compression, and the network.
UNNEEDED = ("redis", "cryptography", "zstandard", "compression", "backports", "zlib", "ssl", "http", "_socket")


def test_a_local_store_needs_no_library(places: Places) -> None:
    """But Python's own, and of that neither compression nor network."""
    program = "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(',')));"
    program += "from pyctrigger.cli.main import main; sys.exit(main())"
    places.command.program = [sys.executable, "-c", program, ",".join(UNNEEDED)]
    shutil.rmtree(places.store)
    site = ["--site-dir", str(write_tree(places.top / "site", STORED)), "--stateless", "--jobs", "1"]
    assert (0, COUNT, 0) == counts(places.run(*site))
    for path in pycs_below(places.top / "site"):
        os.unlink(path)
    assert (0, 0, COUNT) == counts(places.run(*site))
