"""What Sphinx needs beyond MyST to read pages that are written for GitHub: a tree of pages, and definition lists.

- The tree is that of the lists of links in `docs/README.md`, so that a page is listed in one place.
- A list whose items begin with `code` and a colon becomes a definition list: GitHub's Markdown has none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_INDEX = "docs/README"
_PROGRAM = "docs/reference/README"
#: Pages about what all verbs share: sections of the program's manual page.
_SHARED = ("json", "exit-codes", "files")
#: Of the index: a line that ends with a colon, and the list below it.
_LISTED = re.compile(r"^(?P<title>\w.*):\n\n(?P<items>(?:- .*\n|  .*\n)+)", re.MULTILINE)
_LINK = re.compile(r"^- \[[^\]]*\]\((?P<page>[\w/.-]+)\.md\)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _add_trees)
    app.connect("doctree-read", _move_tree)
    app.connect("doctree-read", _define)
    app.connect("doctree-resolved", _take_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _add_trees(app: Sphinx, page: str, source: list[str]) -> None:
    if page == app.config.root_doc:
        source[0] += "".join(_tree(pages, caption) for caption, pages in _captioned(app))
    elif page == _PROGRAM:
        source[0] += _tree([f"docs/reference/{name}" for name in _SHARED])


def _captioned(app: Sphinx) -> list[tuple[str, list[str]]]:
    """Returns the pages of the site, by what they are listed under."""
    text = (Path(app.srcdir) / f"{_INDEX}.md").read_text(encoding="utf-8")
    listed = [
        (each["title"], [f"docs/{page}" for page in _LINK.findall(each["items"])]) for each in _LISTED.finditer(text)
    ]
    reference = [page for page, *_ in app.config.man_pages]
    return [
        ("Documents", [_INDEX]),
        *((title, [page for page in pages if page not in reference]) for title, pages in listed),
        ("Reference", reference),
        ("Project", ["CHANGELOG", "CONTRIBUTING"]),
    ]


def _tree(pages: list[str], caption: str = "") -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["\n", "```{toctree}", *options, *(f"/{page}" for page in pages), "```", ""])


def _move_tree(app: Sphinx, document: nodes.document) -> None:
    """Move the tree from the end, in the last section, before the examples: manual pages have its pages there."""
    if app.env.docname == _PROGRAM:
        (tree,) = document.findall(addnodes.toctree)
        (section,) = (each for each in document.findall(nodes.section) if "examples" in each["ids"])
        wrapper = tree.parent
        wrapper.parent.remove(wrapper)
        section.parent.insert(section.parent.index(section), wrapper)


def _define(app: Sphinx, document: nodes.document) -> None:
    """Replace each list that explains code."""
    for bullets in list(document.findall(nodes.bullet_list)):
        items = [_split(item) for item in bullets.children]
        if all(items):
            bullets.replace_self(nodes.definition_list("", *(_definition(*item) for item in items if item)))


def _split(item: nodes.Node) -> tuple[list[nodes.Node], list[nodes.Node], list[nodes.Node]] | None:
    """Returns the code that an item explains, the explanation, and what follows that paragraph; None: there is none."""
    paragraph = item.children[0] if item.children else None
    if not isinstance(paragraph, nodes.paragraph):
        return None
    for number, node in enumerate(paragraph.children):
        if isinstance(node, nodes.literal):
            continue
        text = str(node) if isinstance(node, nodes.Text) else ""
        if number and text.startswith(": "):
            explanation = [nodes.Text(text[2:]), *paragraph.children[number + 1 :]]
            return paragraph.children[:number], explanation, item.children[1:]
        if not number or text != ", ":
            return None
    return paragraph.children, [], item.children[1:]


def _definition(
    term: list[nodes.Node], explanation: list[nodes.Node], more: list[nodes.Node]
) -> nodes.definition_list_item:
    paragraphs = [nodes.paragraph("", "", *explanation)] if explanation else []
    body = nodes.definition("", *paragraphs, *more)
    return nodes.definition_list_item("", nodes.term("", "", *term), body)


def _take_links(app: Sphinx, document: nodes.document, page: str) -> None:
    """In manual pages keep only the text of links."""
    if app.builder.format == "man":
        for reference in list(document.findall(nodes.reference)):
            reference.replace_self(reference.children)
