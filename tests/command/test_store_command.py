"""The command `store`: what a store has, what is cleaned up, and keys that sign."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from confinement import NOBODY, command_for
from conftest import absent
from packages import write_tree
from pyctrigger.store.key_files import read_signing_key, read_trusted

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command, Outcome
    from interpreters import Interpreter


class Kept:
    """A store with some code, and its configuration."""

    def __init__(self, command: Command, python: Interpreter, top: Path) -> None:
        self.command, self.python, self.top, self.path = command, python, top, top / "store"
        self.config = top / "config.toml"
        self.configure()

    def configure(self, *lines: str) -> None:
        """Write the configuration, with more lines in its table."""
        self.config.write_text("\n".join(["[store]", f'url = "{self.path}"', *lines, ""]))

    def run(self, name: str, count: int) -> None:
        """Compile so many sources in a new directory."""
        site = write_tree(self.top / name, {f"m{number}.py": f"x = {number}\n" for number in range(count)})
        scope = ["--python", self.python.path, "--site-dir", str(site), "--stateless"]
        assert 0 == self.command.json("run", *scope, "--config", str(self.config)).code

    def ask(self, *words: str) -> Outcome:
        """What the command says as JSON."""
        return self.command.json("store", *words, "--config", str(self.config))

    def told(self, *words: str) -> list[str]:
        """What it says to people, a line for each thing."""
        outcome = self.command.text("store", *words, "--config", str(self.config))
        assert (0, "") == (outcome.code, outcome.err)
        return [" ".join(line.split()) for line in outcome.out.splitlines()]


@pytest.fixture
def kept(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> Kept:
    """An empty one."""
    return Kept(pyctrigger, newest, tmp_path)


def test_what_a_store_has_and_was_asked(kept: Kept) -> None:
    """Before it exists, after a run that filled it, and after another one that used it."""
    assert ["store", f"{kept.path}"] == kept.told("status")[0].split()
    assert "entries none: nothing has been kept yet" == kept.told("status")[1]
    assert not kept.path.exists()

    kept.run("first", 3)
    kept.run("second", 4)

    lines = kept.told("status")
    document = kept.ask("status").document
    size = sum(path.stat().st_size for path in kept.path.iterdir() if path.suffix in (".data", ".index", ".used"))
    assert [f"store {kept.path}", "entries 4", f"size {size} B of 1.0 GiB"] == lines[:3]
    assert ["hits 3 of 7 (43%)", "misses 4 absent", "kept 4"] == lines[3:]
    assert ("status", "done", 0) == (document["action"], document["outcome"], document["exit_code"])
    assert document["store"] == {
        "path": str(kept.path),
        "entries": 4,
        "bytes": size,
        "limit": 1 << 30,
        "hits": 3,
        "misses": {"absent": 4},
        "kept": 4,
    }


def test_what_a_repair_keeps_is_counted(kept: Kept) -> None:
    """It asks for nothing; and before there is a store nothing was removed from it."""
    assert {"old": 0, "damaged": 0} == kept.ask("gc").document["removed"]
    site = write_tree(kept.top / "site", {"m.py": ""})
    scope = ("--python", kept.python.path, "--site-dir", site, "--stateless", "--config", kept.config)
    assert 1 == kept.command.json("repair", *scope).counts["compiled"]
    assert (1, 1) == tuple(kept.ask("status").document["store"][name] for name in ("entries", "kept"))


def damage(path: Path) -> None:
    """Change a bit of the last entry."""
    (data,) = path.glob("*.data")
    content = bytearray(data.read_bytes())
    content[-40] ^= 1
    data.write_bytes(content)


def test_a_damaged_entry_is_a_miss_with_its_reason(kept: Kept) -> None:
    """`status` counts what runs have met; those that may not write can't say."""
    kept.run("first", 3)
    damage(kept.path)
    assert {"absent": 3} == kept.ask("status").document["store"]["misses"]
    kept.configure("write = false")
    kept.run("second", 3)
    assert {"absent": 3} == kept.ask("status").document["store"]["misses"]
    kept.configure()
    kept.run("third", 3)
    assert {"absent": 3, "flipped": 1} == kept.ask("status").document["store"]["misses"]
    assert "misses 3 absent, 1 flipped" == kept.told("status")[4]


def test_code_that_has_the_name_of_its_file_is_a_miss_with_its_reason(kept: Kept) -> None:
    """It is there, and of use for another file only."""
    site = kept.top / "itself"
    for _ in range(2):
        shutil.rmtree(site, ignore_errors=True)
        write_tree(site, {"m.py": f"here = {str(site / 'm.py')!r}\n"})
        scope = ["--python", kept.python.path, "--site-dir", str(site), "--stateless", "--config", str(kept.config)]
        assert (1, 0) == tuple(kept.command.json("run", *scope).counts[name] for name in ("compiled", "stored"))
    assert {"absent": 1, "names itself": 1} == kept.ask("status").document["store"]["misses"]
    assert "hits 0 of 2 (0%)" == kept.told("status")[3]


def test_a_damaged_entry_goes(kept: Kept) -> None:
    """Whether or not a run has met it."""
    kept.run("first", 3)
    damage(kept.path)
    assert "removed 0 old, 1 damaged" == kept.told("gc")[3]
    document = kept.ask("gc").document
    assert ({"old": 0, "damaged": 0}, 2) == (document["removed"], document["store"]["entries"])


def test_what_is_too_much_goes(kept: Kept) -> None:
    """The limit is the configuration's, also if it was another one when the store was filled."""
    kept.run("first", 40)
    kept.configure('max_size = "4KiB"')
    document = kept.ask("gc").document
    assert 0 < document["removed"]["old"] == 40 - document["store"]["entries"]
    assert document["store"]["bytes"] <= 4096 == document["store"]["limit"]
    assert {"old": 0, "damaged": 0} == kept.ask("gc").document["removed"]


#: A configuration, and what is said.
REFUSALS = [
    ("", 2, "no store is configured; set url in the table [store] of the configuration"),
    (
        '[store]\nurl = "redis://u:geheim@host"\n',
        2,
        'is on another machine; run it where url in [store] is "local" or a directory\n',
    ),
    ('[store]\nurl = "{top}/config.toml"\n', 2, "store {top}/config.toml: Not a directory; name another directory"),
    ('[store]\nurl = "{top}/open"\n', 77, "others may write {top}/open; chmod go-w {top}/open"),
]


@pytest.mark.parametrize(("text", "code", "reason"), REFUSALS, ids=["none", "elsewhere", "a file", "open to all"])
@pytest.mark.parametrize("action", ["status", "gc"])
def test_what_cant_be_used_is_an_error(kept: Kept, action: str, text: str, code: int, reason: str) -> None:
    """Unlike in a run, which does without."""
    (kept.top / "open").mkdir()
    (kept.top / "open").chmod(0o777)
    kept.config.write_text(text.format(top=kept.top))
    outcome = kept.command.text("store", action, "--config", str(kept.config))
    assert "geheim" not in outcome.err
    if os.geteuid() == 0 or "open" not in text:
        assert code == outcome.code
        assert reason.format(top=kept.top) in outcome.err
    else:
        assert 77 == outcome.code


def test_another_accounts_store_can_be_seen_and_not_changed(kept: Kept) -> None:
    """A store of root's that everybody reads, as in a jail."""
    if os.geteuid() != 0:
        absent("needs root")
    with public_directory() as top:
        command = command_for(NOBODY, top / "state") or absent("no interpreter that nobody may execute")
        kept.top, kept.path, kept.config = top, top / "store", top / "config.toml"
        kept.path.mkdir()
        kept.configure()
        kept.run("first", 2)
        as_nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        seen = command.json("store", "status", "--config", str(kept.config), **as_nobody)
        assert 2 == seen.document["store"]["entries"]
        refused = command.text("store", "gc", "--config", str(kept.config), **as_nobody)
        assert (1, "") == (refused.code, refused.out)
        assert f"store {kept.path} belongs to account 0; " in refused.err


def test_gc_waits_for_another_one_no_longer_than_it_may(kept: Kept) -> None:
    """And says that nothing was done."""
    import fcntl

    kept.run("first", 2)
    kept.config.write_text(kept.config.read_text() + "[defaults]\nlock_timeout = 0.2\n")
    with (kept.path / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = kept.command.text("store", "gc", "--config", str(kept.config))
    assert 75 == outcome.code
    assert "held by another process that cleans the store up; wait for it to end" in outcome.err
    assert 0 == kept.ask("gc").code


# -- keys ----------------------------------------------------------------------------------------------------


def test_a_new_key(kept: Kept) -> None:
    """Its public part is all that is printed; its file is ours alone; both are what other commands take."""
    (public,) = kept.told("keygen", str(kept.top / "key.pem"))
    path = kept.top / "key.pem"
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert read_trusted([public]) == [read_signing_key(str(path)).public]
    kept.configure(f'trusted_keys = ["{public}"]', f'signing_key = "{path}"')
    assert 0 == kept.ask("status").code


def test_a_key_as_json(kept: Kept) -> None:
    document = kept.ask("keygen", str(kept.top / "key.pem")).document
    public = document["key"]["public_key"]
    assert {"path": str(kept.top / "key.pem"), "public_key": public} == document["key"]
    assert None is document["store"]
    assert "PRIVATE" not in str(document)


def test_a_key_is_where_the_configuration_has_it(kept: Kept) -> None:
    """Or where the caller says, from where he is; an existing one is kept."""
    kept.configure(f'signing_key = "{kept.top}/configured.pem"')
    kept.told("keygen")
    before = (kept.top / "configured.pem").read_bytes()
    refused = kept.command.text("store", "keygen", "--config", str(kept.config))
    assert (2, "") == (refused.code, refused.out)
    assert f"{kept.top}/configured.pem exists, and a key is never replaced; name a new file" in refused.err
    assert before == (kept.top / "configured.pem").read_bytes()
    relative = os.path.relpath(kept.top / "said.pem")
    kept.told("keygen", relative)
    assert (kept.top / "said.pem").exists()


#: Words of a command line, and what is said.
MISTAKES = [
    (["keygen"], "store keygen needs a FILE for the key; name one, or set signing_key in [store]"),
    (["keygen", "a", "b"], "store keygen takes one FILE for the key; see pyctrigger store --help"),
    (["status", "a", "b"], "store status takes no more arguments: a b; leave them out"),
    (["gc", "a"], "store gc takes no more arguments: a; leave them out"),
    ([], "store needs one of these: status, gc, push or keygen; see pyctrigger store --help"),
]


@pytest.mark.parametrize(("words", "reason"), MISTAKES, ids=[" ".join(row[0]) or "nothing" for row in MISTAKES])
def test_wrong_arguments(kept: Kept, words: list[str], reason: str) -> None:
    outcome = kept.command.text("store", *words)
    assert (2, "", f"pyctrigger: {reason}\n") == (outcome.code, outcome.out, outcome.err)
    assert not (kept.top / "a").exists()


def test_without_the_library(kept: Kept) -> None:
    """It is named, with the extra that has it, and no file is left."""
    program = "import sys; sys.modules['cryptography'] = None; from pyctrigger.cli.main import main; sys.exit(main())"
    line = [kept.command.program[0], "-c", program, "store", "keygen", str(kept.top / "key.pem")]
    child = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (2, "") == (child.returncode, child.stdout)
    assert child.stderr.startswith("pyctrigger: signatures need the library cryptography: ")
    assert child.stderr.endswith(" with pip install 'pyctrigger[sign]'\n")
    assert not (kept.top / "key.pem").exists()
