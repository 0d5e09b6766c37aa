"""Sphinx's settings, for the site and the manual pages; `docs/build` starts it."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT / name) for name in ("docs", "ports", "src")]

from pages.reference import manuals, read_sources  # noqa: E402 - the paths come first
from pyctrigger.version import VERSION  # noqa: E402

project = "pyctrigger"
release = VERSION
# Words in the heads of manual pages that ports/build fills in, so that a page is the same from commit to commit.
version = "@VERSION@"
today = "@DATE@"

extensions = ["myst_parser", "pages.reading"]
root_doc = "README"
# The source directory is the checkout, so that links mean the same here as on GitHub.
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**"]
exclude_patterns = ["docs/prose", "docs/man"]
# A broken link is an error (docs/build has -W), a heading that isn't there too.
nitpicky = True
myst_heading_anchors = 4
# Blocks without a language show what programs print.
highlight_language = "none"
smartquotes = False

# Tells commands from what they print.
pygments_style = "default"
html_theme = "furo"
html_title = "pyctrigger"
html_favicon = "favicon.svg"
html_show_sphinx = False
html_copy_source = False

man_pages = [
    (f"docs/reference/{page.removesuffix('.md')}", name, about, "", section)
    for page, name, about, section in manuals(read_sources(CHECKOUT / "docs/prose"))
]
