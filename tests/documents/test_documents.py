"""Every command in the documents is run, word for word, and prints what the page says; times and sizes aside.

`PYCTRIGGER_TEST_WRITE=1` writes into the pages what the commands print, for whoever changes one.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from document_places import Debians, Said, debians, places
from documents import DOCS, BadDocument, Block, Step, agrees, blocks, examples, is_generated, pages, spans, with_output
from environment import CHECKOUT
from pyctrigger.cli.parser import build_parser
from pyctrigger.errors import UsageError
from pyctrigger.version import VERSION
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from document_places import Place, Places

README = CHECKOUT / "README.md"
COMMANDS = DOCS / "commands.md"
TUTORIAL = DOCS / "tutorial.md"
WITHOUT_PACKAGE = DOCS / "how-to/without-a-package.md"
#: Places that no machine of ours is: what stands there is read by the real parser.
PARSED = ("freebsd", "parsed")
#: Places that another test makes: an account without root's rights, in `test_user_namespaces`.
TRIED_ELSEWHERE = ("rootless",)
#: These are tried together, as a new user does: in the machine and the fresh Debian that the tutorial makes.
NEW_USER = (README, TUTORIAL, WITHOUT_PACKAGE)
#: The places of a new user.
NEW_PLACES = ("machine", "fresh")
#: A selection that ends: the README names no test, and all of them take long.
SELECTION = "-n0 tests/guarantees/bytecode/test_names.py tests/guarantees/bytecode/test_header.py"
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
#: Between the commands of a line.
_PARTS = re.compile(r"\s*(?:&&|\|\||[;|\n])\s*")
_WRITE = os.environ.get("PYCTRIGGER_TEST_WRITE") == "1"


def name_of(page: Path) -> str:
    """As a reader of the tree knows it."""
    return str(page.relative_to(CHECKOUT))


def runnable(page: Path) -> list[Block]:
    """The blocks that are tried by running them."""
    return [block for block in blocks(page) if block.kind != "shown" and block.place not in (*PARSED, *TRIED_ELSEWHERE)]


def runnable_alone(page: Path) -> list[Block]:
    """The same without those that a new user follows across pages."""
    return [block for block in runnable(page) if page not in NEW_USER or block.place not in NEW_PLACES]


def runnable_by_a_new_user(page: Path) -> list[Block]:
    """The others."""
    return [block for block in runnable(page) if page in NEW_USER and block.place in NEW_PLACES]


@pytest.fixture(scope="module")
def systems() -> Iterator[Debians]:
    """The Debians, made once."""
    with debians() as made:
        yield made


def run(block: Block, place: Place, outputs: dict[int, str]) -> None:
    """One block, as a reader follows it. What was printed is put into `outputs`, by lines of the page."""
    if block.kind == "file":
        place.write(block)
        return
    steps = block.steps()
    assert steps, f"{block}: no command in it"
    for number, step in enumerate(steps):
        if step.command == "python3 tests/all.py":
            step.command += f" {SELECTION}"
        code, printed = place.run(step)
        asked = number + 1 < len(steps) and steps[number + 1].command == "echo $?"
        where = f"{name_of(block.page)}:{step.line}: {step.command}\n{printed}"
        assert code == 0 or asked, f"{where}exit {code}, which the page doesn't ask for with `echo $?`"
        if step.expected is None:
            continue
        if _WRITE and not agrees(step.expected, printed):
            outputs[step.line] = printed
            continue
        assert agrees(step.expected, printed), f"{where}-- instead of --\n" + "\n".join(step.expected)


def follow(page: Path, found: list[Block], where: Places | dict[str, Place]) -> None:
    """Blocks of one page, in turn."""
    outputs: dict[int, str] = {}
    try:
        for block in found:
            run(block, where[block.place], outputs)
    finally:
        if outputs:
            page.write_text(with_output(page, outputs), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("page", [each for each in pages() if runnable_alone(each)], ids=name_of)
def test_every_command_of_a_page(as_root: None, systems: Debians, page: Path) -> None:
    """From the first to the last, in the systems that the page is about."""
    with places(systems) as found:
        follow(page, runnable_alone(page), found)


def test_the_unit_of_a_read_only_usr(as_root: None, systems: Debians) -> None:
    """systemd takes it. Its commands fill the prefix at the first boot of each image, and at no other one, also if
    the image's sources look the same; until then no import takes the bytecode of the image before.
    """
    analyze = find_tool("systemd-analyze")
    if analyze is None:
        absent("no systemd-analyze on this machine (Debian package systemd)")
    (unit,) = [each for each in blocks(DOCS / "how-to/read-only-usr.md") if each.path.endswith(".service")]
    lines = dict(line.split("=", 1) for line in unit.text.splitlines() if "=" in line)
    module, read_only = "/usr/lib/python3/dist-packages/demo_of_image.py", "mount -o remount,bind,ro /usr"
    with places(systems) as found:
        place = found["appliance"]

        def sh(command: str) -> Said:
            return place.run(Step(0, command))

        def boot(image: str) -> bool:
            made = (
                f"mkdir -p /usr/lib/python3/dist-packages && echo 'VALUE = {image}' > {module} && touch -d @0 {module}"
            )
            assert sh(f"mount -o remount,bind,rw /usr && {made} && echo {image} > /usr/lib/image-id").code == 0
            assert sh(f"{read_only}; mkdir -p /var/cache/{lines['CacheDirectory']}").code == 0
            assert sh(f"PYTHONPYCACHEPREFIX=/var/cache/python {imports}").output == f"{image}\n"
            if sh(lines["ExecCondition"]).code:
                return False
            for key in ("ExecStart", "ExecStartPost"):
                said = sh(lines[key])
                assert said.code == 0, said
            return True

        imports = "python3.14 -B -c 'import demo_of_image; print(demo_of_image.VALUE)'"
        place.write(unit)
        for target in Path("/usr/lib/systemd/system").glob("*.target"):  # a Debian without systemd
            place.write(replace(unit, path=str(target), text=target.read_text(encoding="utf-8")))
        verify = [analyze, "verify", "--man=no", f"--root={place.top()}", unit.path]
        verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
        assert sh("mount --bind /usr /usr").code == 0

        assert [boot(image) for image in "11223"] == [True, False, True, False, True]

        judge = lines["ExecStart"].replace(" repair ", " verify ")
        said = sh(f"ls /var/cache/python{module[:-3]}.cpython-314.pyc && {judge} {module}")
        assert (said.code, said.output.count("0 findings, 1 fresh")) == (0, 1), said


def test_the_units_of_monitoring(tmp_path: Path) -> None:
    """systemd takes the service, and the timer that starts it."""
    analyze = find_tool("systemd-analyze")
    if analyze is None:
        absent("no systemd-analyze on this machine (Debian package systemd)")
    units = [each for each in blocks(DOCS / "how-to/monitoring.md") if each.path.endswith((".service", ".timer"))]
    for unit in units:
        (tmp_path / Path(unit.path).name).write_text(unit.text, encoding="utf-8")
    written = sorted(tmp_path.iterdir())
    verified = subprocess.run([analyze, "verify", "--man=no", *written], capture_output=True, text=True, check=False)
    assert (len(written), verified.returncode, verified.stderr) == (2, 0, "")


def test_new_user(as_root: None, systems: Debians) -> None:
    """A fresh Debian with what the README names: its two commands, the whole tutorial, how to do without the
    package, and the rest of the README.
    """
    with places(systems) as found:
        tutorial, readme = runnable_by_a_new_user(TUTORIAL), runnable_by_a_new_user(README)
        start = next(number for number, block in enumerate(tutorial) if block.place == "fresh")
        end = next(number for number, block in enumerate(tutorial) if number > start and block.place == "machine")
        first = [block for block in readme if "python3 tests/" in block.text]
        assert len(first) == 2
        follow(TUTORIAL, tutorial[:start], found)
        fresh = found["fresh"].starting_in("/usr/src/pyctrigger")
        follow(README, first, {"fresh": fresh})
        follow(TUTORIAL, tutorial[start:end], found)
        follow(WITHOUT_PACKAGE, runnable_by_a_new_user(WITHOUT_PACKAGE), {"fresh": fresh})
        follow(README, [block for block in readme if block not in first], {"fresh": fresh})
        follow(TUTORIAL, tutorial[end:], found)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_block_is_left_out(page: Path) -> None:
    """Each is of a kind, and of a place, that something here runs or reads; the README's commands are all tried."""
    known = {
        "debian",
        "hooked",
        "appliance",
        "conda",
        "cluster",
        "fleet",
        "machine",
        "fresh",
        "fedora",
        "arch",
        "builder",
        "shells",
        "workshop",
        *PARSED,
        *TRIED_ELSEWHERE,
    }
    for block in blocks(page):
        assert block.kind == "shown" or block.place in known, f"{block}: nobody knows the place {block.place!r}"
        if block.kind in ("console", "sh", "dockerfile"):
            assert block.steps(), f"{block}: no command in it"
        assert block.kind != "file" or block.place not in PARSED or page.name == "freebsd.md"


def command_lines(page: Path) -> Iterator[tuple[str, str]]:
    """Every call of pyctrigger in a page, in blocks and in sentences, with its place."""
    for block in blocks(page):
        for step in block.steps():
            for part in _PARTS.split(step.command):
                yield f"{name_of(page)}:{step.line}", part
        if block.kind == "file":
            for written in block.text.splitlines():
                for part in _PARTS.split(written.partition("=")[2] or written):
                    yield str(block), part.removeprefix("/bin/sh -c '")
    for line, code in spans(page):
        yield f"{name_of(page)}:{line}", code


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_parser_takes_every_command(page: Path) -> None:
    """What a page calls pyctrigger with is what pyctrigger takes, where it can be run and where it can't."""
    for where, text in command_lines(page):
        assert_parsed(where, text)


def test_parser_takes_every_example_of_the_reference() -> None:
    """They are listed there, and run in the pages."""
    for where, line in examples():
        for part in _PARTS.split(line):
            assert_parsed(where, part)


def assert_parsed(where: str, text: str) -> None:
    """If it is a call of pyctrigger, it is a right one."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a piece of another language, with a quotation mark
        return
    while words and re.match(r"\w+=|jexec$|www$", words[0]):
        words.pop(0)
    if not words or os.path.basename(words[0]) != "pyctrigger":
        return
    arguments = _before_redirection([word for word in words[1:] if word not in ("...", "…")])
    if not arguments:
        return
    try:
        build_parser().parse_args(arguments)
    except UsageError as error:
        pytest.fail(f"{where}: {text}: {error}")
    except SystemExit:  # --help and --version
        return


def _before_redirection(words: list[str]) -> list[str]:
    cut = next((number for number, word in enumerate(words) if re.match(r"\d?[<>]", word)), len(words))
    return words[:cut]


def test_there_is_a_question_for_every_verb() -> None:
    """Nobody would find a verb that answers no question."""
    (verbs,) = (each.choices for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    asked = {code.split()[1] for _, code in spans(COMMANDS) if code.startswith("pyctrigger ")}

    assert set(verbs) - asked == set()


def test_the_readme_fits_on_three_screens() -> None:
    """Of 45 lines each, 120 columns wide."""
    lines = README.read_text(encoding="utf-8").splitlines()

    assert sum(max(1, math.ceil(len(line) / 120)) for line in lines) <= 3 * 45


def test_the_changelog_has_its_form() -> None:
    """That of Keep a Changelog: what isn't released, if anything, then releases with their days, and the same kinds."""
    headings = re.findall(r"^(##|###) (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    releases = [title for level, title in headings if level == "##" and title != "[Unreleased]"]
    kinds = "|".join(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"])

    assert releases[0].startswith(f"[{VERSION}] - ")
    assert "[Unreleased]" not in [title for _, title in headings[1:]]
    assert [each for each in releases if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each)] == []
    assert [title for level, title in headings if level == "###" and not re.fullmatch(kinds, title)] == []


@pytest.mark.parametrize("page", [README, DOCS / "should-i-install.md"], ids=name_of)
def test_what_a_hook_costs_is_what_was_measured(page: Path) -> None:
    """The figures in sentences are those of the table, rounded."""
    table = (DOCS / "performance.md").read_text(encoding="utf-8")
    measured = re.search(r"^\| hook, nothing to do \| (\d+) ms", table, re.MULTILINE)
    changed = re.search(r"^\| 20 sources changed, as a hook \| (\d+) ms", table, re.MULTILINE)
    assert measured
    assert changed
    text = " ".join(page.read_text(encoding="utf-8").split())

    assert [f"{int(measured[1]) / 1000:.2f}"] == re.findall(r"nothing to compile takes ([\d.]+) s longer", text)
    assert [f"{int(changed[1]) / 1000:.1f}"] * text.count("20 sources") == re.findall(r"20 sources ([\d.]+) s", text)


def test_freebsds_files_are_what_the_ports_make(tmp_path: Path) -> None:
    """What the page names below pyctrigger's own directories is made by `ports/build freebsd`, or by a hook."""
    child = subprocess.run(
        [sys.executable, CHECKOUT / "ports/build", "freebsd", tmp_path], capture_output=True, text=True, check=True
    )
    made = [Path(line).relative_to(tmp_path.resolve() / "freebsd") for line in child.stdout.splitlines()]
    plist = (tmp_path / "freebsd/sysutils/pyctrigger/pkg-plist").read_text().split()
    known = {f"/usr/local/{name}" for name in plist} | {f"/usr/local/{name[:-7]}" for name in plist if "sample" in name}
    known |= {f"/usr/local/share/pkg/triggers/{path.name}" for path in made if path.parent.name == "triggers"}
    ports = {str(parent) for path in made for parent in path.parents}
    text = (DOCS / "how-to/freebsd.md").read_text(encoding="utf-8")
    named = set(re.findall(r"/usr/local/[\w./-]*(?:pyctrigger|triggers/)[\w./-]*\w", text))
    origins = set(re.findall(r"\bsysutils/[\w-]+", text))

    assert named
    assert {
        path for path in named if path not in known and not any(each.startswith(f"{path}/") for each in known)
    } == set()
    assert origins
    assert origins - ports == set()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files that are there, and headings that are in them; what is generated may be made later than this page."""
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, heading = match["target"].partition("#")
        if target.startswith(("https:", "http:")):
            continue
        path = (page.parent / target).resolve() if target else page
        if is_generated(path) and not (DOCS / "reference").exists():
            continue
        assert path.exists(), f"{name_of(page)}: {match['target']}"
        if heading:
            assert heading in headings(path), f"{name_of(page)}: {match['target']}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_test_file_that_a_page_names_is_there() -> None:
    """By its name alone, which only one file has outside of tests/unit, or by its path."""
    files = [path for path in (CHECKOUT / "tests").rglob("test_*.py") if "unit" not in path.parts]
    names = [path.name for path in files]
    assert sorted(set(names)) == sorted(names)
    known = {*names, *(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "tests").rglob("*.py"))}
    named = {
        name
        for page in [*pages(), CHECKOUT / "CONTRIBUTING.md"]
        for name in re.findall(r"(?:tests/[\w/]*)?\btest_\w+\.py\b", page.read_text(encoding="utf-8"))
    }

    assert named
    assert named - known == set()


def test_every_page_is_in_the_index() -> None:
    """And the index is where the README sends its readers."""
    index = DOCS / "README.md"
    linked = {(DOCS / match["target"].partition("#")[0]).resolve() for match in _LINK.finditer(index.read_text())}

    assert {page for page in pages() if page not in (index, README)} - linked == set()
    assert "(docs/README.md)" in README.read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------- the tests' own judgement


@pytest.mark.parametrize(
    "text",
    [
        "```\n# pyctrigger repair\n```\n",
        "```console\n# pyctrigger repair\n```\n",
        "```bash debian\n# pyctrigger repair\n```\n",
        "```text shown\n# pyctrigger repair\n```\n",
        "    # pyctrigger repair\n",
        "~~~console debian\n# pyctrigger repair\n~~~\n",
        "- ```console debian\n",
        "  ```console debian\n# pyctrigger repair\n  ```\n",
        "```console debian\n# pyctrigger repair\n",
        "<pre># pyctrigger repair</pre>\n",
    ],
)
def test_a_block_that_nobody_would_run_is_refused(tmp_path: Path, text: str) -> None:
    """However it is written."""
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BadDocument):
        blocks(page)


@pytest.mark.parametrize(
    ("expected", "printed", "agreed"),
    [
        (["py313: 2 compiled in 0.03 s"], "py313:  2 compiled in 12.5 s\n", True),
        (["py313: 2 compiled in 0.03 s"], "py313: 3 compiled in 0.03 s\n", False),
        ([], "a warning\n", False),
        (["a", "...", "z"], "a\nb\nc\nz\n", True),
        (["a", "...", "z"], "a\nz\nb\n", False),
        (["Get: ... done"], "Get: everything is done\n", True),
        (["a"], "a\nb\n", False),
        (["a", "b"], "a\n", False),
    ],
)
def test_what_agrees(expected: list[str], printed: str, agreed: bool) -> None:
    """Times and sizes may differ, and nothing else."""
    assert agreed is agrees(expected, printed)
