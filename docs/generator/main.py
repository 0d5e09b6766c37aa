"""The command `docs/build`: writes what is generated, or with `--check` says what is out of date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pyctrigger.cli.parser import build_parser
from pyctrigger.run.scope import settings as schema

from . import pages
from .library import open_library
from .markdown import write_markdown
from .mdoc import write_mdoc
from .roles import Words
from .trouble import ProseError
from .verbs import Verb, read_verbs

CHECKOUT = Path(__file__).resolve().parent.parent.parent
#: Everything in them is generated.
DIRECTORIES = ("docs/reference", "docs/man")


def generate(checkout: Path, parser: argparse.ArgumentParser | None = None) -> dict[str, str]:
    """Every generated file, by its path below the checkout. Raises ProseError."""
    verbs = read_verbs(parser or build_parser())
    sources = pages.Sources(verbs, open_library(checkout / "docs/prose", verbs))
    manual = [pages.main_page(sources), *(pages.verb_page(verb, sources) for verb in verbs.values())]
    manual.append(pages.configuration_page(sources))
    names = {"pyctrigger.toml": "configuration.md", "pyctrigger": "README.md"}
    files = {page.name: names.get(page.name, page.name.replace("pyctrigger-", "") + ".md") for page in manual}
    links = {f"{page.name}({page.manual})": files[page.name] for page in manual}
    words = Words(_commands(verbs), {*schema.DEFAULTS, *schema.HOOKS, *schema.FLAVOUR})
    found = {f"docs/man/{page.name}.{page.manual}": write_mdoc(page, words) for page in manual}
    shown = {files[page.name]: page for page in manual[1:]}
    shown["README.md"] = pages.index_page(sources)
    shown["json.md"] = pages.json_page(sources)
    shown["exit-codes.md"] = pages.exit_code_page(sources)
    shown["files.md"] = pages.file_page(sources)
    for name, page in shown.items():
        found[f"docs/reference/{name}"] = write_markdown(page, links)
    return found


def _commands(verbs: dict[str, Verb]) -> set[str]:
    """Words that stand on a command line as they are."""
    choices = {choice for verb in verbs.values() for option in verb.options.values() for choice in option.choices}
    return {*verbs, *choices, "timestamp", "checked-hash", "unchecked-hash"}


def out_of_date(checkout: Path) -> list[str]:
    """The paths of generated files that aren't as they should be, or shouldn't be there. Raises ProseError."""
    expected = generate(checkout)
    there = {
        path.relative_to(checkout).as_posix(): path.read_text(encoding="utf-8")
        for directory in DIRECTORIES
        for path in (checkout / directory).glob("*")
    }
    return sorted(path for path in {*expected, *there} if expected.get(path) != there.get(path))


def main() -> int:
    """Write, or check; 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="docs/build", description="Makes docs/reference and docs/man.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of date, and exit 1")
    options = parser.parse_args()
    try:
        changed = out_of_date(CHECKOUT)
        if options.check:
            for path in changed:
                print(f"docs/build: {path} is out of date; run docs/build", file=sys.stderr)
            return 1 if changed else 0
        found = generate(CHECKOUT)
        for path in changed:
            if path in found:
                (CHECKOUT / path).parent.mkdir(parents=True, exist_ok=True)
                (CHECKOUT / path).write_text(found[path], encoding="utf-8")
            else:
                (CHECKOUT / path).unlink()
            print(path)
    except (ProseError, OSError) as error:
        print(f"docs/build: {error}", file=sys.stderr)
        return 1
    return 0
