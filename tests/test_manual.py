"""The manual page says what the program has: every verb, option, configuration key and exit code."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from conftest import absent
from environment import CHECKOUT
from pyctrigger import errors
from pyctrigger.cli.parser import build_parser
from pyctrigger.run import config
from system_tools import find_tool

MANUAL = Path(CHECKOUT) / "docs/pyctrigger.8"
TEXT = MANUAL.read_text(encoding="utf-8")


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    (action,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.mark.parametrize("verb", sorted(subparsers()))
def test_every_verb_and_option_is_in_it(verb: str) -> None:
    """None is missing, and none is there that no verb has."""
    documented = set(re.findall(r"^\.It Fl -([a-z-]+)", TEXT, re.MULTILINE))
    documented |= set(re.findall(r", Fl -([a-z-]+)", TEXT))
    has = {name[2:] for name in subparsers()[verb]._option_string_actions if name.startswith("--")} - {"help"}

    assert f"\n.It Cm {verb}\n" in TEXT
    assert has - documented == set()
    every = {name[2:] for each in subparsers().values() for name in each._option_string_actions if name[:2] == "--"}
    assert documented - every == {"version"}


def test_every_key_of_the_configuration_is_in_it() -> None:
    """As `.It Va`, alone or with others."""
    documented = {key for line in re.findall(r"^\.It Va (.*)", TEXT, re.MULTILINE) for key in line.split(" , ")}

    assert {*config._DEFAULTS, *config._HOOKS, *config._FLAVOUR} == documented


def test_every_exit_code_is_in_it() -> None:
    """The contract's table."""
    documented = {int(code) for code in re.findall(r"^\.It ([0-9]+)$", TEXT, re.MULTILINE)}
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]

    assert {0, 1, 2, 3} | {each.exit_code for each in classes if hasattr(each, "exit_code")} == documented


def test_it_can_be_formatted() -> None:
    """Without a complaint, and with nothing left of its macros."""
    groff = find_tool("groff")
    if groff is None:
        absent("no groff (Debian package groff-base)")
    child = subprocess.run([groff, "-mdoc", "-Tutf8", "-ww", MANUAL], capture_output=True, text=True, check=True)

    assert child.stderr == ""
    assert not re.search(r"^\.[A-Z]", child.stdout, re.MULTILINE)
    assert "keep Python bytecode in step with its sources" in child.stdout
