"""The table of settings: everything that is about one is made of its row, and of the field that has its value."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pyctrigger
from environment import CHECKOUT
from packages import write_tree
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Transaction, Work
from pyctrigger.run.scope.settings import DEFAULTS, FLAVOUR, HOOKS, SETTINGS, STORE

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: An option that the journal keeps, and a key of the configuration: for each its row, and its field.
ADDED = [
    (
        "run/scope/settings.py",
        "SETTINGS = (\n",
        'Setting("paint", COUNT, "how often to paint a pyc", ("run",), kept=True),\n',
    ),
    ("run/scope/request.py", "class Bytecode(NamedTuple):\n", "paint: int | None = None\n"),
    (
        "run/scope/settings.py",
        "SETTINGS = (\n",
        'Setting("colour", one_of("red", "blue"), meaning="The colour of pycs."),\n',
    ),
    ("run/scope/config.py", "class Settings(NamedTuple):\n", 'colour: str = "blue"\n'),
]
#: What each part of the program makes of them.
MADE = """
import json, sys
from pages.keys import configuration_tables
from pages.verbs import read_verbs
from pyctrigger.cli.call import make_request, parse
from pyctrigger.cli.parser import build_parser
from pyctrigger.run.scope.config import Settings, parse as parse_configuration
verbs = read_verbs(build_parser())
request = make_request(parse(["run", "--paint", "3"]).options)
kept = request.replayable()
older = {name: value for name, value in kept.items() if name != "paint"}
print(json.dumps({
    "option": list(verbs["run"].options["--paint"].terms),
    "not an option of": [name for name, verb in verbs.items() if "--paint" not in verb.options],
    "request": request.bytecode.paint,
    "journal": kept["paint"],
    "read again": request.replaying(kept, paths=()).bytecode.paint,
    "of an earlier release": request.replaying(older, paths=()).bytecode.paint,
    "configuration": parse_configuration(b'[defaults]\\ncolour = "red"\\n', "x").colour,
    "default": Settings().colour,
    "reference": "`colour`" in configuration_tables(())["[defaults]"],
}))
"""


def test_a_setting_is_a_row_and_a_field(tmp_path: Path) -> None:
    """Parser, request, journal, configuration and reference take it, in a copy of the program with two more."""
    package = tmp_path / "pyctrigger"
    shutil.copytree(Path(pyctrigger.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line, added in ADDED:
        text = (package / name).read_text(encoding="utf-8")
        assert 1 == text.count(line)
        (package / name).write_text(text.replace(line, f"{line}    {added}"), encoding="utf-8")

    paths = [str(tmp_path), *(f"{CHECKOUT}/{name}" for name in ("docs", "ports", "tests/support"))]
    program = f"import sys; sys.path[:0] = {paths!r}\n{MADE}"
    made = json.loads(subprocess.check_output([sys.executable, "-B", "-c", program], text=True))

    assert made.pop("not an option of") == [
        *("repair", "verify", "sweep", "purge", "status", "doctor", "explain", "which", "history", "store"),
        *("audit", "measure", "hooks", "completion"),
    ]
    assert made == {
        "option": ["--paint N"],
        "request": 3,
        "journal": 3,
        "read again": 3,
        "of an earlier release": None,
        "configuration": "red",
        "default": "blue",
        "reference": True,
    }


def test_each_row_has_a_field() -> None:
    """And each field a row, but the paths, which are no option, and what no caller of the command asks for."""
    asked = set(Request(Work.RUN).values())
    configured = set(Settings._fields) - {"flavours"}

    assert {setting.name for setting in SETTINGS if setting.help} == asked - {"paths", "replaces_owned"}
    assert {setting.name for setting in (*DEFAULTS.values(), *STORE.values(), *HOOKS.values())} == configured
    assert {setting.name for setting in FLAVOUR.values()} == set(FlavourSettings._fields)


#: As the first release wrote it.
OLD_OPTIONS: dict[str, Any] = {
    "manager": "dpkg",
    "site_dirs": ["/srv/code"],
    "prefixes": ["/srv/venv"],
    "stdlib": True,
    "pycache_prefix": "/var/cache/pycs",
    "optimize": [0, 2],
    "invalidation_mode": "checked-hash",
    "source_date_epoch": 1_600_000_000,
    "exclude": ["*/tests/*"],
}
NOTHING_ASKED: dict[str, Any] = {
    name: [] if isinstance(value, list) and name != "optimize" else False if value is True else None
    for name, value in OLD_OPTIONS.items()
}


def test_what_the_journal_has_is_read_and_written_as_ever() -> None:
    """Scope and bytecode are the entry's; of whom the run asks, and how it works, is its own."""
    own = Request(
        Work.REPAIR,
        Scope(pythons=("3.11",), root="/srv/root", site_dirs=("/other",)),
        Bytecode(optimize=(1,)),
        Transaction(("/x",), "remove", "rpm"),
        Running(jobs=3),
    )
    replayed = own.replaying(OLD_OPTIONS, paths=("/srv/code/m.py",), event="upgrade")

    assert replayed == Request(
        Work.REPAIR,
        Scope(
            pythons=("3.11",),
            root="/srv/root",
            site_dirs=("/srv/code",),
            prefixes=("/srv/venv",),
            stdlib=True,
            pycache_prefix="/var/cache/pycs",
            exclude=("*/tests/*",),
        ),
        Bytecode((0, 2), InvalidationMode.CHECKED_HASH, 1_600_000_000),
        Transaction(("/srv/code/m.py",), "upgrade", "dpkg"),
        Running(jobs=3),
    )
    assert replayed.replayable() == OLD_OPTIONS
    assert Request(Work.RUN).replayable() == NOTHING_ASKED
    assert own.replaying(NOTHING_ASKED, paths=None).replayable() == NOTHING_ASKED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("manager", 3),
        ("site_dirs", "/srv"),
        ("site_dirs", ["srv"]),
        ("site_dirs", None),
        ("prefixes", [3]),
        ("stdlib", "yes"),
        ("pycache_prefix", "cache"),
        ("optimize", []),
        ("optimize", [3]),
        ("optimize", [True]),
        ("invalidation_mode", "sometimes"),
        ("source_date_epoch", "now"),
        ("exclude", {}),
    ],
)
def test_damaged_options_are_never_replayed(name: str, value: object) -> None:
    """By the validator that the configuration's keys have, too; nor is an entry that lacks what each has had."""
    with pytest.raises(ValueError, match="write "):
        Request(Work.RUN).replaying({**OLD_OPTIONS, name: value}, paths=None)
    lacking = {key: each for key, each in OLD_OPTIONS.items() if key != name}
    with pytest.raises(KeyError):
        Request(Work.RUN).replaying(lacking, paths=None)


def test_an_entry_of_a_later_release_is_done(pyctrigger: Command, newest: Interpreter, site: Path) -> None:
    """What it keeps beside what is known here is left out: going back to an older release loses no work."""
    write_tree(site, {"module.py": ""})
    arguments = ["--python", newest.path, "--site-dir", str(site)]
    assert 0 == pyctrigger.json("run", "--defer", *arguments).code
    (entry,) = pyctrigger.state.rglob("journal/*.json")
    document = json.loads(entry.read_text())
    document["options"]["paint"] = 3
    entry.write_text(json.dumps(document))

    assert pyctrigger.json("run", *arguments, "").counts["compiled"] == 1
    assert [] == list(pyctrigger.state.rglob("journal/*.json"))
