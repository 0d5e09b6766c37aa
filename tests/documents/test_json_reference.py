"""The reference of `--json`: each verb is run for real, and every key that it prints is documented, and no other."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archives import build_zip, compile_tree, package_tree
from command import Command
from environment import CHECKOUT
from packages import write_tree
from pages.prose import read_prose
from pyctrigger.cli.commands import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

PROSE = Path(CHECKOUT) / "docs/prose"
#: What takes more than a few files to bring about, each with the tests that do.
RARE = {
    # A directory that can't be read (test_faults): the same function writes them as failures.
    *(f"runs[].unexamined[].{key}" for key in ("path", "kind", "message")),
    *(f"against.unexamined[].{key}" for key in ("path", "message")),
    # Another process at work (test_lock).
    *(f"runs[].status.lock.{key}" for key in ("pid", "command", "since")),
    # Bytecode of a package manager's (test_ownership).
    *(f"explanations[].owner.{key}" for key in ("manager", "package")),
    # Other code than the source's, in a store (test_store).
    *(f"runs[].findings[].{key}" for key in ("store", "signer")),
    # Stores of other machines (test_push).
    *(f"push.{key}" for key in ("to", "signer", "sent", "bytes", "present", "withheld", "damaged")),
    "push",
    # Zstandard that nothing here can read (test_audit).
    *(f"archives[].failure.{key}" for key in ("hint", "mend")),
}
#: By verb.
Documents = dict[str, list[dict[str, Any]]]


def names_in(value: Any, name: str = "") -> Iterator[str]:
    """The dotted names of everything in a document."""
    if name:
        yield name
    if isinstance(value, dict):
        for key, each in value.items():
            yield from names_in(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield f"{name}[]"
        for each in value:
            yield from names_in(each, f"{name}[]")


def documented(name: str) -> set[str]:
    """The terms below `## JSON` of a verb's prose, or of the page of all of them."""
    return set(read_prose(PROSE / f"{name}.md").terms("" if name == "json" else "JSON"))


def pattern(term: str) -> re.Pattern[str]:
    """What a term matches: itself, or, with a name in capitals, anything."""
    return re.compile(re.sub(r"\\\.[A-Z]+(?=\\|$)", r"\\.\\w+", re.escape(term)))


def is_told(name: str, terms: set[str]) -> bool:
    """Whether a name is a term, the object or list around one, a part of what stands elsewhere, or bytes of a path."""
    name = name.removesuffix("_hex").removesuffix("[]")
    above = {".".join(term.split(".")[:depth]) for term in terms for depth in range(1, term.count(".") + 2)}
    if any(pattern(each.removesuffix("[]")).fullmatch(name) for each in above):
        return True
    elsewhere = [
        term for term in terms if term.endswith((".interpreter", ".owner", ".error", ".lock", ".STATE", "standing[]"))
    ]
    return any(re.match(pattern(f"{term}.").pattern, name) for term in elsewhere)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, newest: Interpreter) -> Documents:
    """What each verb prints of one small site directory, in the order in which a day has them."""
    top = tmp_path_factory.mktemp("json")
    return _Day(top, newest).documents


class _Day:
    """Runs every verb."""

    def __init__(self, top: Path, target: Interpreter) -> None:
        self._top = top
        self._command = Command(top / "state")
        self._target = target
        self._site = write_tree(top / "site", {"p/good.py": "x = 1\n", "p/bad.py": "x = (\n", "p/gone.py": "y = 1\n"})
        (self._site / "linked").symlink_to(write_tree(top / "outside", {"m.py": ""}))
        self._scope = ["--python", target.path, "--site-dir", self._site]
        self.documents: Documents = {verb: [] for verb in VERBS}
        for act in (self._runs, self._looks, self._others):
            act()

    def _do(self, verb: str, *arguments: Any) -> None:
        self.documents[verb].append(self._command.json(verb, *arguments).document)

    def _runs(self) -> None:
        self._do("run", *self._scope, "--dry-run")
        self._do("run", *self._scope)
        self._do("run", *self._scope, "/etc")  # an error
        (self._site / "p/gone.py").unlink()
        (self._site / "p/good.py").write_text("x = 12\n")
        self._do("verify", *self._scope)
        self._do("run", "--defer", *self._scope, self._site / "p/good.py")

    def _looks(self) -> None:
        (pyc,) = (self._site / "p/__pycache__").glob("good.*.pyc")
        self._do("status", *self._scope)
        self._do("status", "--check", *self._scope[:2])
        self._do("status", "--check", "--warning", "0", *self._scope[:2])
        self._do("status", "--against", self._target.path, *self._scope)
        self._do("explain", *self._scope, self._site / "p/good.py", self._site / "p/bad.py", self._site / "p", pyc)
        self._do("which", *self._scope, pyc)
        self._do("history")
        for verb in ("sweep", "repair", "purge -y"):
            self._do(*verb.split(), *self._scope)

    def _others(self) -> None:
        tree = package_tree(self._top / "tree")
        compile_tree(self._target, tree)
        next(tree.rglob("module.py")).unlink()
        with zipfile.ZipFile(self._top / "climbing.zip", "w") as climbing:
            climbing.writestr("../climbing.pyc", b"")
        damaged = self._top / "damaged.whl"
        damaged.write_bytes(b"PK\3\4 and nothing behind it")
        self._do("audit", "--python", self._target.path, build_zip(tree, self._top / "a.zip"), damaged)
        self._do("audit", self._top / "climbing.zip")
        self._do("audit", build_zip(tree, self._top / "b.zip"))
        self._do("measure", *self._scope, "--runs", "1", "p.good")
        self._do("hooks", "render", "--manager", "sh", "--python", self._target.path)
        write_tree(self._top / "root/etc/apk/commit_hooks.d", {"all": "pyctrigger run --hook\n"})
        (self._top / "root/etc/apk/commit_hooks.d/all").chmod(0o755)
        self._do("hooks", "list", "--root", self._top / "root", "--manager", "apk")
        (self._top / "bad.toml").write_text("jobs = 1\n")
        self._do("doctor", "--config", self._top / "bad.toml")  # something is to be done
        self._do("completion", "bash")
        (self._top / "stored.toml").write_text(f'[store]\nurl = "{self._top}/store"\n')
        stored = ["--config", str(self._top / "stored.toml")]
        (self._site / "p/good.py").write_text("x = 123\n")
        self._do("run", *self._scope, *stored)
        for action in ("status", "gc", "keygen"):
            self._do("store", action, *([self._top / "key.pem"] if action == "keygen" else []), *stored)


def test_every_key_is_documented(documents: Documents) -> None:
    """Below `## JSON` of the verb's prose, or in json.md; a new verb needs a document in `_Day`."""
    assert [verb for verb in VERBS if not documents[verb]] == []
    common, untold = documented("json"), {}
    for verb, printed in documents.items():
        terms = common | documented(verb)
        names = {name for document in printed for name in names_in(document)}
        untold[f"docs/prose/{verb}.md"] = sorted(name for name in names if not is_told(name, terms))

    assert {file: names for file, names in untold.items() if names} == {}


def test_every_documented_key_is_printed(documents: Documents) -> None:
    """Or the reference would describe what doesn't exist."""
    missing = {}
    for verb in [*VERBS, "json"]:
        printed = [each for name in VERBS if verb in (name, "json") for each in documents[name]]
        names = {name for document in printed for name in names_in(document)}
        terms = documented(verb) - RARE
        unseen = [term for term in sorted(terms) if not any(pattern(term).fullmatch(name) for name in names)]
        missing[f"docs/prose/{verb}.md"] = unseen

    assert {file: terms for file, terms in missing.items() if terms} == {}
