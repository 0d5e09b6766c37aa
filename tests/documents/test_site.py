"""The site: made by Sphinx without a warning, served over HTTP, and looked at in a real browser."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser import browsing
from conftest import absent
from environment import CHECKOUT
from pages.main import OLDEST
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Browser


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name above
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `docs/build` makes it; and nothing that it makes is out of date."""
    if sys.version_info < OLDEST:
        pytest.skip("documents are made by Python 3.11 or later")
    site: Path = tmp_path_factory.mktemp("documents") / "site"
    command = [sys.executable, f"{CHECKOUT}/docs/build", "--check", "--site", str(site)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    return site


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where a server of this machine's shows it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium."""
    chromium = find_tool("chromium")
    if chromium is None:
        absent("no chromium (Debian package chromium)")
    with browsing(chromium, tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


def test_everything_is_up_to_date(site: Path) -> None:
    """Reference, manual pages and site are what Sphinx makes of the program today, without a warning of a link."""
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_a_directory_that_is_no_site_is_left(tmp_path: Path) -> None:
    """What a wrong `--site` names isn't removed."""
    (tmp_path / "mine").write_text("")
    command = [sys.executable, f"{CHECKOUT}/docs/build", "--site", str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)

    if sys.version_info >= OLDEST:
        assert child.stderr == f"docs/build: {tmp_path} is no site that Sphinx made; name another place with --site\n"
    assert child.returncode == 1
    assert (tmp_path / "mine").exists()


def test_no_page_has_an_error_in_its_console(site: Path, address: str, browser: Browser) -> None:
    """Each is found, has its title and a way to the next, and fetches nothing from anywhere else."""
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    complaints = {}
    for page in ["", *pages]:
        browser.open(f"{address}/{page}")
        complaints[page] = browser.complaints()
        complaints[page] += [url for url in browser.requested() if not url.startswith((f"{address}/", "data:"))]

    assert {f"{page}.html" for page in ("docs/tutorial", "docs/how-to/debian", "docs/reference/run")} < {*pages}
    assert {page: said for page, said in complaints.items() if said} == {}


def test_every_page_is_in_the_sidebar(site: Path, address: str, browser: Browser) -> None:
    """Which has as many entries as there are pages, less the search, the index and this one's other name."""
    browser.open(f"{address}/")
    links = browser.evaluate("[...document.querySelectorAll('.sidebar-tree a')].map(each => each.href)")
    shown = {link.removeprefix(f"{address}/").partition("#")[0] for link in links}

    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert pages - shown == {"README.html", "genindex.html", "index.html", "search.html"}


def test_the_chart_is_seen(address: str, browser: Browser) -> None:
    """It has a size, and is visible at its place on the screen."""
    browser.open(f"{address}/docs/performance.html")
    seen = browser.evaluate(
        """(async () => {
            const chart = document.querySelector('img[src$="performance.svg"]');
            chart.scrollIntoView({behavior: "instant", block: "center"});
            await chart.decode();
            const {x, y, width, height} = chart.getBoundingClientRect();
            const shown = document.elementFromPoint(x + width / 2, y + height / 2) === chart;
            return {shown, least: Math.min(chart.naturalWidth, width, height)};
        })()"""
    )

    assert seen["shown"]
    assert seen["least"] > 200


def test_search_finds(address: str, browser: Browser) -> None:
    """What a reader types into the field, on the pages that explain it."""
    browser.open(f"{address}/")
    asked = browser.evaluate(
        """(() => {
            const form = document.querySelector("form.sidebar-search-container");
            form.querySelector("input[name=q]").value = "unchecked-hash";
            return `${form.action}?${new URLSearchParams(new FormData(form))}`;
        })()"""
    )
    browser.open(asked)
    browser.wait_for("document.querySelector('#search-results .search-summary')?.innerText.includes('matching')")
    found = browser.evaluate("[...document.querySelectorAll('#search-results li a')].map(each => each.href)")
    names = {url.removeprefix(f"{address}/").partition("#")[0].partition("?")[0] for url in found}

    assert {"docs/reference/configuration.html", "docs/reference/run.html"} <= names
    assert browser.complaints() == []


def test_code_that_is_explained_is_a_term(address: str, browser: Browser) -> None:
    """Options in the reference, keys in the configuration."""
    for page, term in (("run", "--optimize 0,1,2"), ("configuration", "invalidation_mode")):
        browser.open(f"{address}/docs/reference/{page}.html")
        assert term in browser.evaluate("[...document.querySelectorAll('dl > dt')].map(each => each.innerText.trim())")


def test_commands_are_told_from_what_they_print(address: str, browser: Browser) -> None:
    """In the blocks whose fences say more than a language: a prompt, and output."""
    browser.open(f"{address}/docs/how-to/debian.html")
    counted = browser.evaluate(
        "['gp', 'go'].map(each => document.querySelectorAll(`.highlight-console .${each}`).length)"
    )

    assert min(counted) > 5
