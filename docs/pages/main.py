"""The command `docs/build`: makes the reference from the program, and with Sphinx manual pages and site from that.

All is made in a copy first: when something is wrong, nothing changes. What `tests/locks/docs.txt` names is installed
into `.venv-docs`, once; after that no network is needed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import CHECKOUT, EnvironmentTrouble, prepare

from .prose import ProseError
from .reference import make_pages, read_sources

#: Of Python, for what the lock names.
OLDEST = (3, 11)
#: Everything in them is generated, and committed: no package build needs Sphinx.
GENERATED = ("docs/reference", "docs/man")

#: What is typed stays as it is on a keyboard: groff has finer forms of these for print, and Sphinx leaves some.
_KEYS = str.maketrans({"~": r"\(ti", "^": r"\(ha", "'": r"\(aq"})


def main() -> int:
    """Write, or check; returns 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="docs/build", description="Makes docs/reference, docs/man and the site.")
    parser.add_argument("--check", action="store_true", help="write only the site; name what is out of date, exit 1")
    parser.add_argument("--links", action="store_true", help="only try the links to other sites; needs a network")
    parser.add_argument("--site", type=Path, default=CHECKOUT / "build/site", help="where the site goes")
    options = parser.parse_args()
    try:
        if sys.version_info < OLDEST:
            raise ProseError(f"documents need Python {'.'.join(map(str, OLDEST))} or later to be made")
        # It is removed with all that is in it.
        if options.site.exists() and any(options.site.iterdir()) and not (options.site / "objects.inv").exists():
            raise ProseError(f"{options.site} is no site that Sphinx made; name another place with --site")
        environment = prepare(["docs"], path=CHECKOUT / ".venv-docs", say=lambda _: None)
        with tempfile.TemporaryDirectory(prefix="pyctrigger-docs-") as scratch:
            build(environment.python, Path(scratch), links=options.links)
            return 0 if options.links else deliver(Path(scratch), options.site, check=options.check)
    except (EnvironmentTrouble, ProseError, OSError) as error:
        print(f"docs/build: {error}", file=sys.stderr)
    except subprocess.CalledProcessError:
        print("docs/build: nothing was written; fix what Sphinx names above", file=sys.stderr)
    return 1


def build(python: Path, scratch: Path, *, links: bool = False) -> None:
    """Make everything in `scratch`. Raises ProseError, and CalledProcessError for a warning of Sphinx's."""
    copy = scratch / "checkout"
    _copy_checkout(copy)
    for name, text in make_pages(read_sources(copy / "docs/prose")).items():
        (copy / "docs/reference" / name).write_text(text, encoding="utf-8")
    sphinx: list[Path | str] = [
        python,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "-d",
        scratch / "trees",
        "-c",
        copy / "docs",
    ]
    wanted = {"linkcheck": "links"} if links else {"man": "checkout/docs/man", "html": "site"}
    for builder, directory in wanted.items():
        subprocess.run([*sphinx, "-b", builder, copy, scratch / directory], check=True)
    for page in () if links else (copy / "docs/man").iterdir():
        first, _, rest = page.read_text(encoding="utf-8").partition("\n")
        page.write_text(f"{first}\n{rest.translate(_KEYS)}", encoding="utf-8")


def deliver(scratch: Path, site: Path, *, check: bool) -> int:
    """Write all pages, or compare them with the existing ones. Returns the exit code."""
    # A server shows a directory's `index.html`.
    shutil.copyfile(scratch / "site/README.html", scratch / "site/index.html")
    _replace(scratch / "site", site)
    changed = out_of_date(scratch / "checkout")
    for path in changed:
        if check:
            print(f"docs/build: {path} is out of date; run docs/build", file=sys.stderr)
        else:
            print(path)
    if not check and changed:
        for directory in GENERATED:
            _replace(scratch / "checkout" / directory, CHECKOUT / directory)
    return 1 if check and changed else 0


def out_of_date(copy: Path, checkout: Path = CHECKOUT) -> list[str]:
    """Returns the generated files of the checkout that aren't as in the copy, or shouldn't be there."""
    found = []
    for directory in GENERATED:
        made, there = (
            {path.name: path.read_bytes() for path in (top / directory).iterdir()} for top in (copy, checkout)
        )
        found += [f"{directory}/{name}" for name in {*made, *there} if made.get(name) != there.get(name)]
    return sorted(found)


def _copy_checkout(copy: Path) -> None:
    """The documents, without what is generated, and links to all else that they refer to."""
    shutil.copytree(CHECKOUT / "docs", copy / "docs", ignore=shutil.ignore_patterns("__pycache__", "reference", "man"))
    for directory in GENERATED:
        (copy / directory).mkdir()
    for each in CHECKOUT.iterdir():
        if each.is_file():
            shutil.copyfile(each, copy / each.name)
        elif not each.name.startswith(".") and each.name != "docs":
            (copy / each.name).symlink_to(each)


def _replace(source: Path, destination: Path) -> None:
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(source, destination)
