"""A mistyped word gets a suggestion, and every wrong call a pointer to help; options may precede the verb."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger import suggestions
from pyctrigger.cli import parser as command_line
from pyctrigger.cli.call import parse
from pyctrigger.cli.commands import VERBS, find_verb
from pyctrigger.cli.guides import read_guides
from pyctrigger.errors import ConfigurationError, UsageError
from pyctrigger.run.scope import config
from pyctrigger.run.scope import settings as schema
from pyctrigger.version import VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter


#: What a verb can't be called without.
REQUIRED = {"audit": ["x.whl"], "hooks": ["list"], "store": ["status"], "completion": ["bash"]}


@pytest.fixture(autouse=True, scope="module")
def parsers() -> Iterator[dict[str, argparse.ArgumentParser]]:
    """The parser of each verb, made once: a wrong call makes all of them, and here are thousands."""
    made = command_line.verb_parsers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "verb_parsers", lambda: made)
        yield made


def swapped(word: str) -> str:
    """A word with its last two different letters in the wrong order, as fingers have it."""
    for place in range(len(word) - 1, 0, -1):
        if word[place - 1] not in ("-", word[place]):
            return word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]
    return word


def complaint(*arguments: str) -> UsageError:
    """The message about a wrong command line."""
    with pytest.raises(UsageError) as caught:
        parse(arguments)
    error: UsageError = caught.value
    return error


@pytest.mark.parametrize("verb", VERBS)
def test_every_word_of_a_command_line(parsers: dict[str, argparse.ArgumentParser], verb: str) -> None:
    """With a mistake in it: the verb, its long options, and the values of those that know theirs."""
    wrong = swapped(verb)
    assert f"no such command: {wrong} (did you mean {verb}?); see pyctrigger --help" == str(complaint(wrong))
    required = REQUIRED.get(verb, [])
    for option in parsers[verb]._actions:
        name = max(option.option_strings, key=len, default="")
        if name.startswith("--") and swapped(name) != name:
            error = complaint(verb, *required, swapped(name))
            assert f"{verb} has no option {swapped(name)} (did you mean {name}?)" == error.message
            assert f"see pyctrigger {verb} --help" == error.hint
        for choice in option.choices or ():
            if len(choice) < 3 or swapped(choice) == choice:
                continue
            error = complaint(verb, *([name] if name else []), swapped(choice))
            assert f"(did you mean {choice}?)" in error.message, error
            assert f"see pyctrigger {verb} --help" == error.hint


def test_values_without_a_list_of_choices() -> None:
    """A mode is read by its option's own function."""
    for mode in ("timestamp", "checked-hash", "unchecked-hash"):
        assert f"(did you mean {mode}?)" in str(complaint("run", "--invalidation-mode", swapped(mode)))


@pytest.mark.parametrize("verb", VERBS)
def test_no_value_may_be_empty(parsers: dict[str, argparse.ArgumentParser], verb: str) -> None:
    """`--prefix "$ENV"` with nothing in the variable would be about the current directory, for a purge as well."""
    required = REQUIRED.get(verb, [])
    for option in parsers[verb]._actions:
        if option.option_strings and option.nargs is None:
            for words in ([option.option_strings[-1], ""], [f"{option.option_strings[-1]}="]):
                error = complaint(verb, *required, *words)
                assert f"{'/'.join(option.option_strings)}: its value is empty" == error.message
                assert f"see pyctrigger {verb} --help" == error.hint


#: Options that say what a command is about: two values can't both count. Where it is how, the later one does.
SAID_ONCE = {
    "--root": ("/a", "/b"),
    "--pycache-prefix": ("/a", "/b"),
    "--optimize": ("0", "1"),
    "--invalidation-mode": ("timestamp", "checked-hash"),
    "--cache-tag": ("cpython-311", "cpython-312"),
    "--against": ("3.11", "3.12"),
    "--manager": ("dpkg", "rpm"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_command_is_about_is_said_once(parsers: dict[str, argparse.ArgumentParser], verb: str) -> None:
    """The first of two values would silently be left out; the same one twice is no contradiction."""
    for option, (first, second) in SAID_ONCE.items():
        if option in parsers[verb]._option_string_actions:
            required = REQUIRED.get(verb, [])
            error = complaint(verb, *required, option, first, option, second)
            assert f"{option}: it was given twice, with different values" == error.message
            assert verb == parse([verb, *required, option, first, option, first]).options.verb


@pytest.mark.parametrize("arguments", [["--version"], *([verb, "--version"] for verb in VERBS), ["-q", "--version"]])
def test_the_version_stands_anywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before the verb and after it: it is one of the options that all of them have."""
    with pytest.raises(SystemExit) as done:
        parse(arguments)
    assert 0 == done.value.code
    assert f"pyctrigger {VERSION}\n" == capsys.readouterr().out


@pytest.mark.parametrize(("word", "verb"), suggestions.COMMANDS.items())
def test_words_of_other_tools(word: str, verb: str) -> None:
    """No typing error, and no command of ours; it is never suggested that there is one where there isn't."""
    assert word not in VERBS
    if verb in VERBS or verb.startswith("--"):
        assert f"(did you mean {verb}?)" in str(complaint(word))


@pytest.mark.parametrize(("word", "manager"), suggestions.MANAGERS.items())
def test_programs_of_package_managers(word: str, manager: str) -> None:
    """`apt` is like `apk` by its letters only."""
    for verb in ("run", "hooks list"):
        assert f"(did you mean {manager}?)" in str(complaint(*verb.split(), "--manager", word))


@pytest.mark.parametrize("word", ["xyzzy", "", "42", "--", "\x1b[31m"])
def test_nothing_is_suggested_where_nothing_is_like_it(word: str) -> None:
    """No guess is better than a wrong one."""
    assert "did you mean" not in str(complaint(word))
    assert "did you mean" not in str(complaint("run", "--event", word))
    assert "did you mean" not in str(complaint("run", f"--{word.strip('-') or 'wrong'}"))


def _keys() -> Iterator[tuple[str, str]]:
    for table, keys in {"defaults": schema.DEFAULTS, "hooks": schema.HOOKS, 'flavours."3.11"': schema.FLAVOUR}.items():
        yield from ((table, key) for key in keys)


@pytest.mark.parametrize(("table", "key"), _keys())
def test_every_key_of_the_configuration(table: str, key: str) -> None:
    """With a mistake in it, or outside of its table."""
    wrong = swapped(key)
    if wrong != key:
        with pytest.raises(ConfigurationError) as caught:
            config.parse(f"[{table}]\n{wrong} = 1\n".encode(), "x.toml")
        assert f"x.toml: {table}.{wrong} is not known (did you mean {key}?); known keys: " in str(caught.value)
    if table == "defaults":
        with pytest.raises(ConfigurationError, match=r"is not known \(it belongs in \[defaults\]\)"):
            config.parse(f"{key} = 1\n".encode(), "x.toml")


def test_tables_and_values_of_the_configuration() -> None:
    """All of their mistakes at once."""
    text = b'[default]\n[hook]\n[defaults]\nduplicates = "hardlnik"\ninvalidation_mode = "timestmap"\n'
    with pytest.raises(ConfigurationError) as caught:
        config.parse(text, "x.toml")
    assert ["defaults", "hooks", "timestamp", "hardlink"] == re.findall(r"\(did you mean (\S+)\?\)", str(caught.value))


# -- options before the verb -----------------------------------------------------------------------------------------

#: What stands before the verb, and the same after it.
BEFORE = [
    "--json | status",
    "-v | run --site-dir /x",
    "-vv --no-progress | run",
    "--root /run -v | run /x",
    "--root run | run run",
    "--root=/run | run",
    "--python 3.11 --python=3.12 -q | verify",
    "--cache-tag cpython-311 --json | purge",
    "--exclude -v --json | run",
    "--color always | history last",
    "--state-dir hooks | hooks list",
    "--hook --event remove | run -- -x",
]


@pytest.mark.parametrize("line", BEFORE)
def test_options_before_the_verb_are_those_after_it(line: str) -> None:
    """Also if a value looks like a verb, or like an option."""
    before, after = (part.split() for part in line.split("|"))
    if "-v" in before[1:2] and before[0] == "--exclude":
        assert "expected one argument" in str(complaint(*before, *after))
        return
    assert parse([after[0], *before, *after[1:]]).options == parse([*before, *after]).options


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_that_the_verb_lacks_is_refused_before_it_as_after_it(
    parsers: dict[str, argparse.ArgumentParser], verb: str
) -> None:
    """For the same reason."""
    required = REQUIRED.get(verb, [])
    foreign = {name for parser in parsers.values() for name in parser._option_string_actions}
    for name in sorted(foreign - set(parsers[verb]._option_string_actions)):
        takes_value = next(
            parser._option_string_actions[name].nargs != 0
            for parser in parsers.values()
            if name in parser._option_string_actions
        )
        given = [f"{name}=x"] if takes_value else [name]
        behind, before = (complaint(*line) for line in ([verb, *required, *given], [*given, verb, *required]))
        assert (f"{verb} takes no {name}", f"see pyctrigger {verb} --help") == (
            behind.message.partition(" (")[0],
            behind.hint,
        )
        assert str(behind) == str(before)


def test_an_option_has_one_kind_of_value_everywhere(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """Or the verb couldn't be found among the values."""
    kinds: dict[str, set[bool]] = {}
    for parser in parsers.values():
        for name, action in parser._option_string_actions.items():
            kinds.setdefault(name, set()).add(action.nargs == 0)
    assert [] == [name for name, found in kinds.items() if len(found) > 1]


def test_a_real_call_with_options_first(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """And one with a mistake, which is one line and exit 2."""
    (site / "a.py").write_text("")
    first = ["--json", "--python", newest.path, "--site-dir", str(site), "--state-dir", str(pyctrigger.state)]
    program = list(pyctrigger.program)
    pyctrigger.program = [*program, *first]
    outcome = pyctrigger.text("run", "--event", "install")
    assert (0, 1) == (outcome.code, json.loads(outcome.out)["runs"][0]["counts"]["compiled"])
    pyctrigger.program = program
    outcome = pyctrigger.text("rnu")
    assert (2, "", "pyctrigger: no such command: rnu (did you mean run?); see pyctrigger --help\n") == (
        outcome.code,
        outcome.out,
        outcome.err,
    )


# -- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_says_when_to_use_a_verb_and_ends_with_two_examples(
    parsers: dict[str, argparse.ArgumentParser], verb: str | None
) -> None:
    """That can be typed as printed."""
    text = (command_line.build_parser() if verb is None else parsers[verb]).format_help()
    about = read_guides()[f"pyctrigger {verb or ''}".strip()]
    assert " ".join(about.when.split()) in " ".join(text.split())
    _, _, shown = text.partition("\nexamples:\n")
    assert (about.examples, 4) == (shown, len(shown.splitlines()))
    for line in about.examples.splitlines()[::2]:
        words = shlex.split(line.replace('eval "$(', "").replace(')"', "").partition(" > ")[0])
        assert ["pyctrigger"] == words[:1]
        assert words[1] == (verb or words[1])
        parse(words[1:])


def test_help_is_for_people_who_skim() -> None:
    """One line of a verb or an option fits a terminal with its neighbours, and uses the reader's words."""
    jargon = re.compile(r"\b(mend|whole|stand|stands|nobody|flavour|touched|greet|settled|tell|told)\b")
    lines = {f"{verb}": find_verb(verb).help for verb in VERBS}
    for verb, parser in command_line.verb_parsers().items():
        lines |= {f"{verb} {each.dest}": each.help or "" for each in parser._actions if each.dest != "help"}
    assert {} == {name: text for name, text in lines.items() if not text or len(text) > 90 or jargon.search(text)}


def test_a_hook_imports_no_words_for_help() -> None:
    """They are read when somebody asks for them."""
    program = "import sys; from pyctrigger.cli.call import parse; parse(['run', '--hook']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "pyctrigger.cli.call" in loaded
    assert {"difflib", "pyctrigger.suggestions", "pyctrigger.cli.guides"}.isdisjoint(loaded)
