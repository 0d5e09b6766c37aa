"""Completion in real shells: what they offer is what the parser takes, and what they write can be run."""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder import completion
from conftest import absent
from environment import CHECKOUT
from pyctrigger.cli.parser import build_parser
from pyctrigger.interpreter.flavour import STANDARD_DIRECTORIES
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHELLS = ("bash", "zsh", "fish")
#: Seconds. A shell that says nothing for so long hangs.
PATIENCE = 30

(_VERBS,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
PARSERS: dict[str, argparse.ArgumentParser] = dict(_VERBS.choices)

#: What zsh would show is written to a file; and the key that asks for it says when it is done.
_CAPTURE = """
autoload -Uz compinit
compinit -u -D
eval "$(<$SCRIPT)"
capture() {
    compadd() {
        local -a hits
        builtin compadd -A hits "$@"
        (( $#hits )) && print -rl -- $hits >> $SEEN
        builtin compadd "$@"
    }
    zle list-choices
    unfunction compadd
    print -r -- END >> $SEEN
    zle kill-whole-line
}
zle -N capture
bindkey '^G' capture
"""


def shell(name: str) -> str:
    """The path of a shell."""
    path = find_tool(name)
    if path is None:
        absent(f"no {name} (Debian package {name})")
    return path


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script of each shell, as the command prints it."""
    directory = tmp_path_factory.mktemp("scripts")
    found = {}
    for name in SHELLS:
        child = subprocess.run(
            [sys.executable, "-m", "pyctrigger", "completion", name], capture_output=True, text=True, check=True
        )
        assert child.stderr == ""
        found[name] = directory / name
        found[name].write_text(child.stdout)
    return found


class Terminal:
    """A shell with a person at its keyboard, to whom `pyctrigger` is a function that notes what it is called with."""

    def __init__(self, name: str, script: Path, directory: Path) -> None:
        self.seen = directory / "seen"
        self.seen.touch()
        self._screen = b""
        start = {
            "bash": ("--norc", "--noprofile", "-i"),
            "zsh": ("-f", "-i"),
            "fish": ("--no-config", "-i"),
        }[name]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TERM": "dumb",
            "SEEN": str(self.seen),
            "SCRIPT": str(script),
            "LC_ALL": "C.UTF-8",
        }
        self._pid, self._leader = pty.fork()
        if self._pid == 0:
            os.chdir(directory)
            os.execve(shell(name), [name, *start], environment)
        self._wait_for_silence()
        note = "printf '%s\\n' \"$@\" END >>$SEEN" if name != "fish" else "printf '%s\\n' $argv END >>$SEEN"
        lines = {
            "zsh": [_CAPTURE, f"pyctrigger() {{ {note} }}"],
            "bash": ["source $SCRIPT", f"pyctrigger() {{ {note}; }}"],
            "fish": ["source $SCRIPT", f"function pyctrigger; {note}; end"],
        }[name]
        startup = directory / ".startup"
        startup.write_text("\n".join(lines) + "\n")
        self.type(f"source {startup}\n")
        self._wait_for_silence()

    def type(self, keys: str) -> None:
        """As fast as it is taken."""
        os.write(self._leader, keys.encode())

    def _wait_for_silence(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while select.select([self._leader], [], [], 0.5)[0] and time.monotonic() < deadline:
            self._screen += os.read(self._leader, 65536)

    def noted(self, keys: str) -> list[str]:
        """What is in the file once the keys have been pressed and the end is in it."""
        self.seen.write_text("")
        # A key at a time: what is typed ahead of a completion is taken for its answer.
        for part in re.split(r"(\t)", keys):
            self.type(part)
            if part == "\t":
                self._wait_for_silence()
        deadline = time.monotonic() + PATIENCE
        while not (text := self.seen.read_text()).endswith("END\n"):
            assert time.monotonic() < deadline, f"nothing came of {keys!r}: {self._screen[-2000:]!r}"
            if select.select([self._leader], [], [], 0.05)[0]:
                self._screen += os.read(self._leader, 65536)
        return text.splitlines()[:-1]

    def close(self) -> None:
        """Hang up, on one that clings to its terminal as well."""
        os.close(self._leader)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


@pytest.fixture(scope="module")
def terminals(
    scripts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[Terminal, Path]]]:
    """Each shell at a terminal of its own, in a directory of its own, started when first it is asked for."""
    found: dict[str, tuple[Terminal, Path]] = {}

    def terminal(name: str) -> tuple[Terminal, Path]:
        if name not in found:
            shell(name)
            directory = tmp_path_factory.mktemp(name)
            found[name] = Terminal(name, scripts[name], directory), directory
        return found[name]

    yield terminal
    for each, _ in found.values():
        each.close()


Offers = dict[str, list[str]]


def bash_offers(script: Path, lines: list[list[str]]) -> list[list[str]]:
    """What the function leaves in COMPREPLY, for the words that bash would give it."""
    text = 'source "$1"; shift; ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pyctrigger; '
    text += "printf '%s\\n' \"${COMPREPLY[@]}\" END; }\n"
    text += "\n".join("ask pyctrigger " + " ".join(f"'{word}'" for word in line) for line in lines)
    child = subprocess.run(
        [shell("bash"), "--norc", "-c", text, "bash", str(script)], capture_output=True, text=True, check=True
    )
    assert child.stderr == ""
    return [[each for each in part.splitlines() if each] for part in child.stdout.split("END\n")[:-1]]


def fish_offers(script: Path, lines: list[list[str]], home: Path) -> list[list[str]]:
    """The output of `complete -C`, without the descriptions."""
    text = f"source {script}\n"
    text += "\n".join(f"complete -C 'pyctrigger {' '.join(line)}'; echo END" for line in lines)
    child = subprocess.run(
        [shell("fish"), "--no-config", "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert child.stderr == ""
    return [[each.split("\t")[0] for each in part.splitlines()] for part in child.stdout.split("END\n")[:-1]]


@pytest.fixture
def offers(
    scripts: dict[str, Path], terminals: Callable[[str], tuple[Terminal, Path]], tmp_path: Path
) -> Callable[[str, list[list[str]]], list[list[str]]]:
    """What a shell offers for the last of the words of each line."""

    def ask(name: str, lines: list[list[str]]) -> list[list[str]]:
        if name == "bash":
            return [sorted(set(each)) for each in bash_offers(scripts[name], lines)]
        if name == "fish":
            return [sorted(set(each)) for each in fish_offers(scripts[name], lines, tmp_path)]
        terminal, _ = terminals(name)
        return [sorted(set(terminal.noted(f"pyctrigger {' '.join(line)}\x07"))) for line in lines]

    return ask


def words_of(action: argparse.Action) -> list[str]:
    """The values that an option or argument takes."""
    return sorted(map(str, action.choices or ()))


def test_the_files_are_current() -> None:
    """What `nox -s completion` would write is what is committed, and nothing else is there."""
    directory = Path(CHECKOUT, completion.DIRECTORY)

    assert {f"pyctrigger.{name}": completion.generate(name) for name in completion.SHELLS} == {
        path.name: path.read_text() for path in directory.iterdir()
    }


@pytest.mark.parametrize("name", SHELLS)
def test_every_verb_option_and_choice_is_offered(
    name: str, offers: Callable[[str, list[list[str]]], list[list[str]]]
) -> None:
    """Everything that the parser has, and nothing else."""
    asked: list[list[str]] = [[""]]
    expected = [sorted(PARSERS)]
    for verb, parser in PARSERS.items():
        asked.append([verb, "--"])
        expected.append(sorted(each for each in parser._option_string_actions if each.startswith("--")))
        for action in parser._actions:
            if action.choices and action.option_strings:
                asked.append([verb, action.option_strings[0], ""])
                expected.append(words_of(action))
            elif action.choices:
                asked.append([verb, ""])
                expected.append(words_of(action))

    found = offers(name, asked)

    # fish lists short names with the long ones, zsh an equals sign behind those that take a value.
    cleaned = [[each.rstrip("=") for each in part if not re.fullmatch("-[a-z]", each)] for part in found]
    assert dict(zip(map(" ".join, asked), expected)) == dict(zip(map(" ".join, asked), cleaned))
    assert len(asked) > 20


@pytest.mark.parametrize("name", SHELLS)
def test_words_in_any_place(name: str, offers: Callable[[str, list[list[str]]], list[list[str]]]) -> None:
    """Behind options with values; begun already; not where nothing belongs."""
    cases = {
        "r": ["repair", "run"],
        "hooks --manager pkg u": ["uninstall"],
        "hooks list ": [],
        "run --event up": ["upgrade"],
        "run --manager pkg --color a": ["always", "auto"],
        "run --invalidation-mode c": ["checked-hash"],
        "run --jobs ": [],
        "run nothing-like-it --eve": ["--event"],
        "nosuchverb ": [],
    }

    found = offers(name, [line.split(" ") for line in cases])

    # zsh names the options where nothing else can stand.
    found = [
        [each.rstrip("=") for each in part if line[-1:] != " " or each[0] != "-"] for line, part in zip(cases, found)
    ]
    assert cases == dict(zip(cases, found))


@pytest.mark.parametrize("name", SHELLS)
def test_flavours_of_this_system(name: str, offers: Callable[[str, list[list[str]]], list[list[str]]]) -> None:
    """Each interpreter in a standard directory, by the name that `--python` takes."""
    expected = {
        match[1]
        for at in STANDARD_DIRECTORIES
        if os.path.isdir(at)
        for each in os.listdir(at)
        if (match := re.fullmatch(r"(?:python)?((?:pypy)?3\.[0-9]+t?)", each)) and each[0] == "p"
    }
    if not expected:
        absent("no interpreter with a version in its name in the standard directories")

    (found,) = offers(name, [["run", "--python", ""]])

    assert sorted(expected) == found


@pytest.mark.parametrize("name", SHELLS)
def test_what_is_typed_with_tab_is_what_the_command_gets(
    name: str, terminals: Callable[[str], tuple[Terminal, Path]]
) -> None:
    """Names of files with spaces and signs, directories only where one belongs, verbs and options."""
    terminal, directory = terminals(name)
    (directory / "a dir" / "inner $x").mkdir(parents=True)
    (directory / "a dir" / "inner file").write_text("")
    (directory / "a file").write_text("")
    (directory / "b it's.toml").write_text("")

    *words, inner = terminal.noted("pyctrigger veri\t--site-d\t a\tinn\t\n")
    assert (["verify", "--site-dir"], "a dir/inner $x") == (words, inner.rstrip("/"))  # zsh takes the slash away
    assert ["run", "--config", "b it's.toml"] == terminal.noted("pyctrigger run --config b\t\n")
    assert ["run", "--event", "upgrade", "b it's.toml"] == terminal.noted("pyctrigger run --event upg\tb\t\n")
    assert ["run", "--event=upgrade", "a file", "b it's.toml"] == terminal.noted(
        "pyctrigger run --event=upg\ta\\ f\tb\t\n"
    )
    assert ["run", "--config=b it's.toml"] == terminal.noted("pyctrigger run --config=b\t\n")


#: What each system's own packages of completions do.
PLACES = {
    "deb": ("usr/share/bash-completion/completions", "usr/share/zsh/vendor-completions", "usr/share/fish"),
    "rpm": ("usr/share/bash-completion/completions", "usr/share/zsh/site-functions", "usr/share/fish"),
    "arch": ("usr/share/bash-completion/completions", "usr/share/zsh/site-functions", "usr/share/fish"),
    "freebsd": (
        "usr/local/share/bash-completion/completions",
        "usr/local/share/zsh/site-functions",
        "usr/local/share/fish",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_packages_bring_the_scripts(name: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    """Each where its shell looks for what packages have, and the same as the command prints."""
    subprocess.run([sys.executable, f"{CHECKOUT}/ports/build", "--stage", name, str(tmp_path)], check=True)

    bash, zsh, fish = (tmp_path / place for place in PLACES[name])
    found = {
        "bash": bash / "pyctrigger",
        "zsh": zsh / "_pyctrigger",
        "fish": fish / "vendor_completions.d/pyctrigger.fish",
    }
    assert {shell: path.read_text() for shell, path in scripts.items()} == {
        shell: path.read_text() for shell, path in found.items()
    }
    assert {0o644} == {path.stat().st_mode & 0o777 for path in found.values()}


def test_zsh_takes_the_script_from_its_directories(scripts: dict[str, Path], tmp_path: Path) -> None:
    """As a file `_pyctrigger` in `$fpath`, which compinit finds by its first line."""
    (tmp_path / "_pyctrigger").write_text(scripts["zsh"].read_text())
    text = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[pyctrigger]"

    said = subprocess.run([shell("zsh"), "-f", "-c", text], capture_output=True, text=True, check=True)

    assert ("_pyctrigger\n", "") == (said.stdout, said.stderr)
