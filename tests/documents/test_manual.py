"""Reference and manual pages: made from the program, complete, up to date, and taken by groff and mandoc."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder.stage import compressed, fill_in, manual_words
from children import public_directory
from confinement import NOBODY, command_for
from conftest import absent
from environment import CHECKOUT
from pages.main import out_of_date
from pages.prose import ProseError, read_prose
from pages.reference import exit_codes, make_pages, read_sources
from pyctrigger import errors
from pyctrigger.cli.call import parse
from pyctrigger.cli.parser import build_parser
from pyctrigger.run.scope import settings as schema
from pyctrigger.run.scope.config import FlavourSettings, Settings
from pyctrigger.run.scope.config import parse as parse_configuration
from pyctrigger.state.locations import BSD, LINUX
from system_tools import find_tool

if TYPE_CHECKING:
    from interpreters import Interpreter

Checkout = Path(CHECKOUT)
PROSE = Checkout / "docs/prose"
MANUALS = sorted((Checkout / "docs/man").iterdir())


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each verb."""
    (action,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def options_of(verb: str) -> set[str]:
    """The long options of a verb."""
    return {name for name in subparsers()[verb]._option_string_actions if name.startswith("--")} - {"--help"}


def manual(name: str) -> str:
    """A manual page as it is packed for Debian."""
    return fill_in(Checkout / "docs/man" / name, manual_words(Checkout))


def reference(name: str) -> str:
    """A page of the reference."""
    return (Checkout / "docs/reference" / name).read_text(encoding="utf-8")


def terms_of_manual(name: str) -> list[str]:
    """What its definition lists explain."""
    found = re.findall(r"^\.TP\n\.B (.*)$", manual(name), re.MULTILINE)
    return [re.sub(r"\\f[BP]|\\&", "", term).replace(r"\-", "-") for term in found]


def terms_of_reference(name: str) -> list[str]:
    """The same of a page of the reference."""
    found = re.findall(r"^- (`[^`]+`(?:, `[^`]+`)*)(?=: |$)", reference(name), re.MULTILINE)
    return [term.replace("`", "") for term in found]


def options_in(terms: list[str]) -> set[str]:
    """The long options among them."""
    return {name for term in terms for name in re.findall(r"^(?:-\w, )?(--[a-z-]+)", term)}


# -- nothing drifts ------------------------------------------------------------------------------------------------


def test_the_reference_is_up_to_date() -> None:
    """If this fails: run docs/build, look at the difference, commit it. `test_site` says the same of manual pages."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in (Checkout / "docs/reference").iterdir()}

    assert make_pages(read_sources(PROSE)) == pages


def test_every_python_packs_the_same(interpreter: Interpreter) -> None:
    """A compressed page has the same bytes whoever builds the package; gzip's own shortcuts differ from 3.11 on."""
    if interpreter.version < (3, 9):
        pytest.skip("builds no package")
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; from builder.stage import compressed; print(compressed(b'x').hex())"
    )
    paths = [Checkout / "ports", Checkout / "src"]
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-c", program, *paths], capture_output=True, text=True, check=True
    )

    assert child.stdout.strip() == compressed(b"x").hex()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout's documents, to be changed."""
    shutil.copytree(Checkout / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_what_is_out_of_date_is_named(copy: Path) -> None:
    """Changed by hand, missing, or of a verb that there is no more."""
    (copy / "docs/man/pyctrigger-run.8").write_text("mine\n")
    (copy / "docs/reference/sweep.md").unlink()
    (copy / "docs/reference/gone.md").write_text("# gone\n")

    assert out_of_date(Checkout, copy) == [
        "docs/man/pyctrigger-run.8",
        "docs/reference/gone.md",
        "docs/reference/sweep.md",
    ]


def test_a_new_verb_needs_prose(copy: Path) -> None:
    """The message says which file to write."""
    (copy / "docs/prose/sweep.md").unlink()

    with pytest.raises(ProseError, match=r"docs/prose/sweep\.md is missing: the verb sweep has no prose; write "):
        make_pages(read_sources(copy / "docs/prose"))


def test_an_option_needs_a_help() -> None:
    """The message names verb and option."""
    parser = build_parser()
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    verbs.choices["sweep"].add_argument("--silent")

    with pytest.raises(ProseError, match="pyctrigger sweep: --silent has no help"):
        read_sources(PROSE, parser)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("sweep.md", ("- `75`", "- `76`"), r"sweep\.md: 76 is no exit code"),
        ("sweep.md", ("- `70`\n", ""), r"sweep\.md: ## Exit status says nothing of 70"),
        ("sweep.md", ("## Examples", "## Tricks"), r"sweep\.md has no ## Examples"),
        ("purge.md", ("- `--all`:", "- `--every`:"), r"purge\.md: purge has no --every"),
        ("purge.md", ("| --all [", "| --every ["), r"purge\.md: ## Synopsis has --every, and purge has not"),
        ("options.md", ("- `--stdlib`:", "- `--lib`:"), r"options\.md: no verb has --lib"),
        ("files.md", ("- `state`:", "- `states`:"), r"files\.md tells of cache, configuration, lock, program, states"),
        ("pyctrigger.toml.md", ("## [hooks]", "## [hook]"), r"pyctrigger\.toml\.md has no ## \[hooks\]"),
    ],
)
def test_prose_about_what_is_not_there(copy: Path, file: str, change: tuple[str, str], said: str) -> None:
    """Prose drifts, too: each thing that it names has to be there."""
    path = copy / "docs/prose" / file
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")

    with pytest.raises(ProseError, match=said):
        make_pages(read_sources(copy / "docs/prose"))


def test_prose_about_no_verb(copy: Path) -> None:
    """What a removed verb leaves behind is found."""
    (copy / "docs/prose/frobnicate.md").write_text("Frobnicate.\n")

    with pytest.raises(ProseError, match=r"frobnicate\.md is about no verb"):
        make_pages(read_sources(copy / "docs/prose"))


# -- nothing is left out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", sorted(subparsers()))
def test_every_verb_and_option_is_in_it(verb: str) -> None:
    """None is missing, and none is there that the verb hasn't; the program's own page names each verb."""
    assert options_of(verb) == options_in(terms_of_manual(f"pyctrigger-{verb}.8"))
    assert options_of(verb) == options_in(terms_of_reference(f"{verb}.md"))
    assert verb in terms_of_manual("pyctrigger.8")
    assert f"pyctrigger {verb} " in reference("README.md")


def test_what_verbs_share_is_on_the_page_of_the_program() -> None:
    """Each option of both run and sweep; and none that no verb has."""
    documented = options_in(terms_of_manual("pyctrigger.8"))

    assert options_of("run") & options_of("sweep") <= documented
    assert documented - {"--help", "--version"} <= set().union(*map(options_of, subparsers()))


def test_the_page_of_the_program_has_what_verbs_share() -> None:
    """The keys of the JSON object, the exit codes and the places: pages of the reference, sections of the manual."""
    assert options_in(terms_of_reference("README.md")) == options_in(terms_of_manual("pyctrigger.8"))
    for page in ("json.md", "exit-codes.md", "files.md"):
        assert {*terms_of_reference(page)} <= {*terms_of_manual("pyctrigger.8")}


def test_every_key_of_the_configuration_is_in_it() -> None:
    """With a description in the schema, a default that the program has, and in both forms."""
    keys = {**schema.DEFAULTS, **schema.STORE, **schema.HOOKS, **schema.FLAVOUR}

    assert set(keys) == set(terms_of_manual("pyctrigger.toml.5"))
    assert set(keys) == set(terms_of_reference("configuration.md"))
    assert [name for name, key in keys.items() if len(key.meaning) < 10 or len(key.kind.write) < 5] == []
    others = {key.name for key in (*schema.STORE.values(), *schema.HOOKS.values())}
    assert set(schema.DEFAULTS) == set(Settings._fields) - {*others, "flavours"}
    assert set(schema.FLAVOUR) == set(FlavourSettings._fields)


def test_the_defaults_of_the_reference_are_the_defaults() -> None:
    """A file with each of them in it changes nothing."""
    found = dict(re.findall(r"^- `(\w+)`: .* Default: `([^`]*)`\.", reference("configuration.md"), re.MULTILINE))
    tables = {"defaults": schema.DEFAULTS, "store": schema.STORE, "hooks": schema.HOOKS}
    text = ""
    for table, keys in tables.items():
        text += f"[{table}]\n" + "".join(f"{key} = {found.pop(key)}\n" for key in keys)

    assert {} == found
    assert parse_configuration(text.encode(), "x") == Settings()


def test_every_exit_code_is_in_it() -> None:
    """The contract's table, which every exception's class is from; the page for trouble has the same words."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    page = (Checkout / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", page, re.MULTILINE)

    assert {each.exit_code for each in classes if hasattr(each, "exit_code")} <= set(errors.EXIT_CODES)
    assert set(errors.EXIT_CODES) == {int(term) for term in terms_of_manual("pyctrigger.8") if term.isdigit()}
    assert {int(code): f"{text[0].upper()}{text[1:]}." for code, text in rows} == errors.EXIT_CODES
    for verb in subparsers():
        codes = set(exit_codes(read_prose(PROSE / f"{verb}.md")))
        assert codes == {int(term) for term in terms_of_reference(f"{verb}.md") if term.isdigit()}
        assert codes == {int(term) for term in terms_of_manual(f"pyctrigger-{verb}.8") if term.isdigit()}


def test_places_are_those_of_the_program() -> None:
    """Root's on each system; everybody else's follow."""
    for place in (*LINUX, *BSD):
        assert f"`{place}`" in reference("files.md")
        assert f"\\fB{place}\\fP" in manual("pyctrigger.8")


def test_everybody_elses_places(as_root: None) -> None:
    """As platformdirs says where no XDG variable says otherwise, to an account without root's rights."""
    if not sys.platform.startswith("linux"):
        pytest.skip("XDG's places are Linux's")
    program = (
        "from pyctrigger.state import locations as l\n"
        "print(l.configuration_files(hook=True)[0], l.state_directory(), sep='\\n')\n"
        "print(l.lock_directory(), l.cache_directory(), sep='\\n')\n"
    )
    with public_directory() as public:
        made = command_for(NOBODY, public / "unused")
        if made is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        interpreter, _, start = made.program
        setting = start.partition("from pyctrigger")[0]
        home = public / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        child = subprocess.run(
            [interpreter, "-c", setting + program],
            env={"HOME": str(home)},
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )

    configuration, state, lock, cache = (place.replace(str(home), "~") for place in child.stdout.splitlines())
    page = reference("files.md")
    assert f"`{configuration}`" in page
    assert f"`{state}`" in page
    assert f"`{cache}`" in page
    assert f"`{lock.replace(str(NOBODY), 'UID')}`" in page


# -- what is said is so --------------------------------------------------------------------------------------------


def examples() -> list[str]:
    """Every command line of ours in the pages' listings."""
    found = []
    for path in sorted((Checkout / "docs/reference").glob("*.md")):
        for listing in re.findall(
            r"^```(?:console)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            found += [line for line in listing.splitlines() if re.match(r"[$#*]", line) and "pyctrigger " in line]
    return sorted(set(found))


@pytest.mark.parametrize("line", examples())
def test_examples_are_understood(line: str) -> None:
    """Each is a command line that the parser takes."""
    called = re.search(r"\bpyctrigger ([a-z][^|)&]*)", line)
    if called is None:
        return  # a package's name
    words = shlex.split(called[1].replace("$SOURCE_DATE_EPOCH", "1700000000"))

    assert parse(words).options.verb == words[0]


def test_there_are_examples_for_every_verb() -> None:
    """Of the verb itself."""
    lines = "\n".join(examples())

    assert [verb for verb in subparsers() if f"pyctrigger {verb}" not in lines] == []


# -- the manual's form ---------------------------------------------------------------------------------------------


def formatted(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A manual page, as a terminal shows it."""
    groff = find_tool("groff")
    if groff is None:
        absent("no groff (Debian package groff-base)")
    command = [groff, "-man", "-ww", "-P-cbou", *options]
    return subprocess.run(command, input=manual(page), capture_output=True, text=True, check=True)


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_it_can_be_formatted(page: Path) -> None:
    """Without a complaint, and with nothing left of its macros."""
    child = formatted(page.name, "-Tutf8")

    assert child.stderr == ""
    # What is to be typed stays as it is on a keyboard; unescaped, print has a finer form of each.
    assert not re.search(r"(?m)^(?!\.).*[~^`']", manual(page.name))
    assert not re.search(r"^\.[A-Z]|\\&|@[A-Z]+@", child.stdout, re.MULTILINE)
    assert f" {page.stem} " in child.stdout.replace("‐", "-")


def test_the_prose_survives_formatting() -> None:
    """A sentence with code of every kind in it, as a reader sees it; and nothing of where links lead."""
    said = re.sub(r"-\n +", "", formatted("pyctrigger.8", "-Tascii").stdout)
    said = re.sub(r"\s+", " ", said)

    assert "pyctrigger - keep Python bytecode in step with its sources" in said
    assert "pyctrigger run [options] [PATH ...]" in said
    assert "their bytecode (__pycache__/*.pyc) has to be written" in said
    assert "A path outside the scope is an error; with --hook it is reported and left out." in said
    assert "If it isn't empty, and $NO_COLOR is, there is colour" in said
    assert "See pyctrigger-run(8)." in said
    assert ".md" not in said


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_mandoc_takes_it(page: Path, tmp_path: Path) -> None:
    """BSD's formatter, and the one of Alpine and Void, has no warning, but for the space below headings."""
    mandoc = find_tool("mandoc")
    if mandoc is None:
        absent("no mandoc (Debian package mandoc)")
    copy = tmp_path / page.name
    copy.write_text(manual(page.name))
    child = subprocess.run([mandoc, "-T", "lint", "-W", "warning", copy], capture_output=True, text=True, check=False)

    complaints = [line for line in child.stdout.splitlines() if "skipping paragraph macro: sp after S" not in line]
    assert complaints == []
