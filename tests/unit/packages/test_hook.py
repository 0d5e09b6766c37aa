"""A hook's file: a template, its words, and what can be quoted in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import DefectError, UsageError
from pyctrigger.packages import hook as module
from pyctrigger.packages.every import HOOK_PLACES, HOOKS, MANAGERS, plain_hooks
from pyctrigger.packages.hook import Subject, quoted, render

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = Subject("py311", "3.11", "python3.11", "cpython-311", ("/usr/bin/pyctrigger",))
OTHER = SUBJECT._replace(path="/opt/p", digest="0a1b")


@pytest.mark.parametrize(
    ("subject", "name", "served", "python"),
    [
        (SUBJECT, "py311", "py311", "3.11"),
        (SUBJECT._replace(path="/opt/p"), "py311", "py311", "/opt/p"),
        (OTHER, "py311-0a1b", "/opt/p", "/opt/p"),
    ],
)
def test_names_of_what_a_hook_is_for(subject: Subject, name: str, served: str, python: str) -> None:
    """Of the first interpreter of its version, and of another one."""
    assert (name, served, python) == (subject.name, subject.served, subject.python)


@pytest.mark.parametrize(
    ("template", "words", "expected"),
    [
        ("a @X@ b", {"X": "1"}, "a 1 b"),
        ("@X@@Y_Z@", {"X": "@Y_Z@", "Y_Z": "2"}, "@Y_Z@2"),
        ("a@b.c @x@ @@ @X", {}, "a@b.c @x@ @@ @X"),
        ("", {"X": "unused"}, ""),
    ],
)
def test_words_are_replaced_once(
    monkeypatch: pytest.MonkeyPatch, template: str, words: dict[str, str], expected: str
) -> None:
    """What looks otherwise isn't one, and a meaning isn't read again."""
    monkeypatch.setattr(module, "_read", lambda name: template)
    assert expected == render("any", words)


def test_a_word_without_a_meaning_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are named, each once."""
    monkeypatch.setattr(module, "_read", lambda name: "@B@ @A@ @B@ @C@")
    with pytest.raises(DefectError) as caught:
        render("x/y", {"C": ""})
    message = "the template hooks/x/y has unknown placeholders: @A@, @B@"
    assert (message, "install pyctrigger again") == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize(
    ("places", "expected"),
    [(["p/hooks"], "p/hooks"), (["../hooks"], "../hooks"), (["../hooks", "p/hooks"], "p/hooks")],
)
def test_templates_of_an_installation_and_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], expected: str
) -> None:
    """Beside our modules, or at the top of the checkout that they are in."""
    (tmp_path / "src/p").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", f"{tmp_path}/src/p/packages/hook.py")
    for place in places:
        (tmp_path / "src" / place / "x").mkdir(parents=True)
        (tmp_path / "src" / place / "x/y").write_text(place)
    assert expected == render("x/y", {})


def test_a_template_that_is_missing() -> None:
    """As in a broken installation."""
    with pytest.raises(DefectError) as caught:
        render("x/y", {})
    assert ("the template hooks/x/y is missing", "install pyctrigger again") == (
        caught.value.message,
        caught.value.hint,
    )


@pytest.mark.parametrize("text", ["a", "a b", "X", "é", "'", "$", "*", "%", "/usr/lib"])
def test_a_plain_text_stands_between_quotation_marks(text: str) -> None:
    """And means itself."""
    assert f'"{text}"' == quoted(text)


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [("", ""), ('"', ""), ("\\", ""), ("\n", ""), ("\x7f", ""), ("\udcff", ""), ("a$", "$"), ("a*", "?*")],
)
def test_what_cannot_be_quoted_is_refused(text: str, forbidden: str) -> None:
    """Controls, quotation marks, bytes that are no text, and what the file's language takes for something else."""
    with pytest.raises(UsageError) as caught:
        quoted(text, forbidden=forbidden)
    message = f"{text!r} can't be used in its hooks"
    assert (message, "use a path without special characters") == (caught.value.message, caught.value.hint)


def test_a_command_is_quoted_for_a_shell() -> None:
    """Word by word."""
    words = SUBJECT._replace(program=("a", "b c"), path="d'e").shell_words
    assert {"PROGRAM": "a 'b c'", "PYTHON": "'d'\"'\"'e'"} == words


def test_a_plain_hook_is_a_program() -> None:
    """Where only its administrator knows it."""
    (hook,) = plain_hooks(OTHER)
    assert ("/usr/local/libexec/pyctrigger-hook-py311-0a1b", 0o755) == (hook.path, hook.mode)
    assert "/usr/bin/pyctrigger run" in hook.text
    assert "--python /opt/p" in hook.text


@pytest.mark.parametrize("name", HOOKS)
def test_no_two_interpreters_have_a_hook_in_common(name: str) -> None:
    """And each is where its manager looks, under a name that it reads."""
    first, other = HOOKS[name](SUBJECT), HOOKS[name](OTHER)
    assert set() == {hook.path for hook in first} & {hook.path for hook in other}
    if name in HOOK_PLACES:
        places = HOOK_PLACES[name]
        for hook in (*first, *other):
            directory, _, file_name = hook.path.rpartition("/")
            assert directory in places.directories
            assert places.pattern.match(file_name)
            assert places.is_program == bool(hook.mode & 0o111)


@pytest.mark.parametrize(
    ("manager", "name", "expected"),
    [
        ("dpkg", "90x", True),
        ("dpkg", "90x.conf", True),
        ("dpkg", "90x.bak", False),
        ("dpkg", "90x.conf\n", False),
        ("dpkg", "é", False),
        ("pacman", "a.hook", True),
        ("pacman", "a.hook.bak", False),
        ("pkg", "a.ucl", True),
        ("pkg", "a.ucl~", False),
        ("apk", "a", True),
        ("apk", ".a", False),
        ("sh", "pyctrigger-hook-py311", True),
        ("sh", "other", False),
    ],
)
def test_a_manager_reads_some_names_only(manager: str, name: str, expected: bool) -> None:
    """As its own manual has it."""
    assert expected is bool(HOOK_PLACES[manager].pattern.match(name))


def test_managers_by_their_names() -> None:
    """As `--manager` takes them; and what isn't known has a plain hook."""
    assert ["pkg", "dpkg", "rpm", "pacman", "apk"] == list(MANAGERS)
    assert {*MANAGERS, "sh"} == set(HOOKS)
    assert all(name == kind.name for name, kind in MANAGERS.items())
