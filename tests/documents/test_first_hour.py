"""The first hour of three users, in real systems: what they type in turn, and what is printed; times and sizes aside.

The stories are in `first_hour`, written as the documents' commands are. `PYCTRIGGER_TEST_WRITE=1` writes into them what
the commands print.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_documents import follow

from debian_chroot import Chroot, copy_of
from document_places import debians, inside, places
from documents import blocks
from trixie import trixie

if TYPE_CHECKING:
    from collections.abc import Iterator

STORIES = Path(__file__).with_name("first_hour")


@pytest.fixture(scope="module")
def system() -> Iterator[Chroot]:
    """Debian 13, made once."""
    with trixie() as made:
        yield made


@pytest.mark.parametrize("story", ["administrator", "owner"])
def test_debian(as_root: None, system: Chroot, story: str) -> None:
    """An administrator who installs the package, and an ordinary account with environments of its own."""
    page = STORIES / f"{story}.md"
    with copy_of(system) as copy:
        follow(page, blocks(page), {"trixie": inside(copy.top, {})})


@pytest.mark.parametrize("story", ["pacman", "rpm"])
def test_another_manager(as_root: None, story: str) -> None:
    """In a scratch root with the manager itself."""
    page = STORIES / f"{story}.md"
    with ExitStack() as stack:
        found = stack.enter_context(places(stack.enter_context(debians())))
        follow(page, blocks(page), found)
