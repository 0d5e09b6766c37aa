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

from builder.platforms import PLATFORMS
from builder.stage import compressed, fill_in, manual_words
from confinement import NOBODY, command_for, public_directory
from conftest import absent
from environment import CHECKOUT
from generator.document import Listing, Page, Paragraph, Section, Span
from generator.library import exit_codes
from generator.main import generate, out_of_date
from generator.mdoc import write_mdoc
from generator.prose import read_prose, spans
from generator.roles import Words
from generator.trouble import ProseError
from pyctrigger import errors
from pyctrigger.cli.parser import build_parser, parse
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
    """The parser of each verb."""
    (action,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def options_of(verb: str) -> set[str]:
    """The long options of a verb."""
    return {name for name in subparsers()[verb]._option_string_actions if name.startswith("--")} - {"--help"}


def manual(name: str) -> str:
    """A manual page as it is packed for Debian."""
    return fill_in(Checkout / "docs/man" / name, manual_words(Checkout, PLATFORMS["deb"]))


def reference(name: str) -> str:
    """A page of the reference."""
    return (Checkout / "docs/reference" / name).read_text(encoding="utf-8")


# -- nothing drifts ------------------------------------------------------------------------------------------------


def test_what_is_generated_is_up_to_date() -> None:
    """If this fails: run docs/build, look at the difference, commit it."""
    assert out_of_date(Checkout) == []


def test_every_python_makes_the_same(interpreter: Interpreter) -> None:
    """From 3.9 on, with nothing installed; the help that argparse prints differs from one to the next."""
    if interpreter.version < (3, 9):
        pytest.skip("runs no pyctrigger")

    child = subprocess.run(
        [interpreter.path, "-I", "-S", Checkout / "docs/build", "--check"], capture_output=True, text=True, check=False
    )

    assert (child.returncode, child.stderr) == (0, "")


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

    assert out_of_date(copy) == ["docs/man/pyctrigger-run.8", "docs/reference/gone.md", "docs/reference/sweep.md"]


def test_a_new_verb_needs_prose(copy: Path) -> None:
    """The message says which file to write."""
    (copy / "docs/prose/sweep.md").unlink()

    with pytest.raises(ProseError, match=r"docs/prose/sweep\.md is missing: the verb sweep has no prose; write "):
        generate(copy)


def test_an_option_needs_a_help() -> None:
    """The message names verb and option."""
    parser = build_parser()
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    verbs.choices["sweep"].add_argument("--silent")

    with pytest.raises(ProseError, match="pyctrigger sweep: --silent has no help"):
        generate(Checkout, parser)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("sweep.md", ("- `75`", "- `76`"), r"sweep\.md: 76 is no exit code"),
        ("sweep.md", ("- `70`\n", ""), r"sweep\.md: ## Exit status says nothing of 70"),
        ("sweep.md", ("## Examples", "## Tricks"), r"sweep\.md has no ## Examples"),
        ("purge.md", ("- `--all`:", "- `--every`:"), r"purge\.md: purge has no --every"),
        ("purge.md", ("| --all [", "| --every ["), r"purge\.md: ## Synopsis has --every, and purge has not"),
        ("options.md", ("- `--stdlib`:", "- `--lib`:"), r"options\.md: no verb has --lib"),
        ("files.md", ("- `state`:", "- `states`:"), r"files\.md tells of configuration, lock, program, states"),
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
        generate(copy)


def test_prose_about_no_verb(copy: Path) -> None:
    """What a removed verb leaves behind is found."""
    (copy / "docs/prose/frobnicate.md").write_text("Frobnicate.\n")

    with pytest.raises(ProseError, match=r"frobnicate\.md is about no verb"):
        generate(copy)


@pytest.mark.parametrize(
    "text", ["```sh\n$ x\n", "### Deep\n", "- one\ntwo\n", "| a | b |\n", "1. one\n"], ids=lambda text: text.strip()
)
def test_markdown_that_the_pages_have_no_form_for(tmp_path: Path, text: str) -> None:
    """It is refused, not printed as it stands."""
    path = tmp_path / "x.md"
    path.write_text(text)

    with pytest.raises(ProseError, match=r"x\.md"):
        read_prose(path)


# -- nothing is left out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", sorted(subparsers()))
def test_every_verb_and_option_is_in_it(verb: str) -> None:
    """None is missing, and none is there that the verb hasn't; the program's own page names each verb."""
    page = manual(f"pyctrigger-{verb}.8")
    documented = {f"-{name}" for name in re.findall(r"^\.It (?:Fl \w+ , )?Fl (-[a-z-]+)", page, re.MULTILINE)}
    documented |= {f"-{name}" for name in re.findall(r"^\.It Fl \w+ , Fl (-[a-z-]+)", page, re.MULTILINE)}
    table = set(re.findall(r"^\| (?:`-\w`, )?`(--[a-z-]+)", reference(f"{verb}.md"), re.MULTILINE))

    assert options_of(verb) == documented
    assert options_of(verb) == table
    assert f"\n.It Cm {verb}\n" in manual("pyctrigger.8")
    assert f"pyctrigger {verb} " in reference("README.md")


def test_what_verbs_share_is_on_the_page_of_the_program() -> None:
    """Each option of both run and sweep; and none that no verb has."""
    documented = {
        f"-{name}" for name in re.findall(r"^\.It (?:Fl \w+ , )?Fl (-[a-z-]+)", manual("pyctrigger.8"), re.MULTILINE)
    }

    assert options_of("run") & options_of("sweep") <= documented
    assert documented - {"--help", "--version"} <= set().union(*map(options_of, subparsers()))


def test_every_key_of_the_configuration_is_in_it() -> None:
    """With a description in the schema, a default that the program has, and in both forms."""
    keys = {**schema.DEFAULTS, **schema.HOOKS, **schema.FLAVOUR}
    page = manual("pyctrigger.toml.5")
    documented = set(re.findall(r"^\.It Va (.*)", page, re.MULTILINE))
    documented |= set(re.findall(r"^\.It (?:Li|Cm|Ql) ([a-z_]+)$", page, re.MULTILINE))

    assert set(keys) == documented
    assert set(keys) == set(re.findall(r"^\| `([a-z_]+)` \|", reference("configuration.md"), re.MULTILINE))
    assert [name for name, key in keys.items() if len(key.meaning) < 10 or len(key.kind.takes) < 5] == []
    assert set(schema.DEFAULTS) == set(Settings._fields) - {"hooks_enabled", "flavours"}
    assert set(schema.FLAVOUR) == set(FlavourSettings._fields)


def test_the_defaults_of_the_reference_are_the_defaults() -> None:
    """A file with each of them in it changes nothing."""
    rows = re.findall(
        r"^\| `(\w+)` \|.*? \| `([^`]*)` \|(?: [^|]* \| [^|]* \|)?$", reference("configuration.md"), re.MULTILINE
    )
    found = dict(rows)
    enabled = found.pop("enabled")
    text = "[defaults]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())

    assert set(found) == set(schema.DEFAULTS)
    assert parse_configuration(f"{text}[hooks]\nenabled = {enabled}\n".encode(), "x") == Settings()


def test_every_exit_code_is_in_it() -> None:
    """The contract's table, which every exception's class is from; the page for trouble has the same words."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    page = (Checkout / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", page, re.MULTILINE)
    documented = {
        int(code) for code in re.findall(r"^\.It (?:Li|Cm|Ql) ([0-9]+)$", manual("pyctrigger.8"), re.MULTILINE)
    }

    assert {each.exit_code for each in classes if hasattr(each, "exit_code")} <= set(errors.EXIT_CODES)
    assert set(errors.EXIT_CODES) == documented
    assert {int(code): f"{text[0].upper()}{text[1:]}." for code, text in rows} == errors.EXIT_CODES
    for verb in subparsers():
        codes = set(exit_codes(read_prose(PROSE / f"{verb}.md")))
        told = re.findall(r"^\| `(\d+)` \|", reference(f"{verb}.md").partition("## Exit status")[2], re.MULTILINE)
        assert codes == set(map(int, told))


def test_places_are_those_of_the_program() -> None:
    """Root's on each system, and everybody else's."""
    page = reference("files.md")

    for place in (*LINUX, *BSD):
        assert f"`{place}`" in page
    for system, places in (("deb", LINUX), ("freebsd", BSD)):
        assert f".It Pa {places.configuration}\n" in fill_in(
            Checkout / "docs/man/pyctrigger.8", manual_words(Checkout, PLATFORMS[system])
        )


def test_everybody_elses_places(as_root: None) -> None:
    """As platformdirs says where no XDG variable says otherwise, to an account without root's rights."""
    if not sys.platform.startswith("linux"):
        pytest.skip("XDG's places are Linux's")
    program = (
        "from pyctrigger.state import locations as l\n"
        "print(l.configuration_files(hook=True)[0], l.state_directory(), l.lock_directory(), sep='\\n')\n"
    )
    with public_directory() as public:
        made = command_for(NOBODY, public, public / "unused")
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

    configuration, state, lock = (place.replace(str(home), "~") for place in child.stdout.splitlines())
    page = reference("files.md")
    assert f"`{configuration}`" in page
    assert f"`{state}`" in page
    assert f"`{lock.replace(str(NOBODY), 'UID')}`" in page


# -- what is said is so --------------------------------------------------------------------------------------------


def examples() -> list[str]:
    """Every command line of ours in the pages' listings."""
    found = []
    for path in sorted((Checkout / "docs/reference").glob("*.md")):
        for listing in re.findall(
            r"^```(?:sh)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
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

    assert parse(words).command == words[0]


def test_there_are_examples_for_every_verb() -> None:
    """Of the verb itself."""
    lines = "\n".join(examples())

    assert [verb for verb in subparsers() if f"pyctrigger {verb}" not in lines] == []


# -- the manual's form ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_it_can_be_formatted(page: Path) -> None:
    """Without a complaint, and with nothing left of its macros."""
    groff = find_tool("groff")
    if groff is None:
        absent("no groff (Debian package groff-base)")
    child = subprocess.run(
        [groff, "-mdoc", "-Tutf8", "-ww", "-P-cbou"],
        input=manual(page.name),
        capture_output=True,
        text=True,
        check=True,
    )

    assert child.stderr == ""
    assert not re.search(r"^\.[A-Z]|\\&|@[A-Z]+@", child.stdout, re.MULTILINE)
    assert f" {page.stem} " in child.stdout.replace("‐", "-")


def test_the_prose_survives_formatting() -> None:
    """A sentence with code of every kind in it, as a reader sees it."""
    groff = find_tool("groff")
    if groff is None:
        absent("no groff (Debian package groff-base)")
    child = subprocess.run(
        [groff, "-mdoc", "-Tascii", "-P-cbou"], input=manual("pyctrigger.8"), capture_output=True, text=True, check=True
    )
    said = re.sub(r"-\n +", "", child.stdout)
    said = re.sub(r"\s+", " ", said)

    assert "pyctrigger - keep Python bytecode in step with its sources" in said.replace("--", "-")
    assert "pyctrigger run [options] [PATH ...]" in said
    assert "their bytecode (__pycache__/*.pyc) has to be written" in said
    assert "A path outside the scope is an error; with --hook it is named and left out." in said
    assert "If it says anything, and NO_COLOR nothing, there is colour" in said


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_mandoc_takes_it(page: Path, tmp_path: Path) -> None:
    """BSD's formatter, and the one of Alpine and Void, has no warning either."""
    mandoc = find_tool("mandoc")
    if mandoc is None:
        absent("no mandoc (Debian package mandoc)")
    copy = tmp_path / page.name
    copy.write_text(manual(page.name))
    child = subprocess.run([mandoc, "-T", "lint", "-W", "warning", copy], capture_output=True, text=True, check=False)

    assert (child.stdout, child.returncode) == ("", 0)


#: Everything in it means something to roff, or has a finer form in print.
LISTING = """.x 'a' "b"  Op `c` ~/d ^e --f \\n Xr g h"""


@pytest.mark.parametrize(
    "sentence",
    [
        "'Quoted' begins the line.",
        ".Sh is no macro here.",
        r"A backslash \fB and \n.",
        "See `No`, `a b`, `Op`; and (`--hook`), `PATH`s: `.`.",
        'It says `"x"` and `[0, 1]`, `*` and `a"b`.',
        "Ellipsis … and naïve.",
        "`-q`/`--quiet`, `run(1)`.",
    ],
)
def test_no_text_is_a_macro(sentence: str) -> None:
    """What roff would take for its own is shown as it was written."""
    groff = find_tool("groff")
    if groff is None:
        absent("no groff (Debian package groff-base)")
    blocks = (Paragraph(spans(sentence)), Listing((LISTING,)), Paragraph((Span("End."),)))
    page = Page("x", "about", (), (Section("Text", blocks),))
    source = write_mdoc(page, Words(frozenset(), frozenset())).replace("@DATE@", "May 1, 2026")
    child = subprocess.run(
        [groff, "-mdoc", "-Tutf8", "-ww", "-P-cbou"], input=source, capture_output=True, text=True, check=True
    )
    shown = re.sub(r"\s+", " ", child.stdout).translate(str.maketrans("‘’“”‐−", '  ""--')).replace(" ", "")

    assert child.stderr == ""
    assert source.isascii()
    assert LISTING in child.stdout
    assert re.sub(r"['`\s]", "", sentence).replace("…", "...") in shown.replace("…", "...").replace("'", "")
