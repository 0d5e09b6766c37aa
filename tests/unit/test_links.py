"""The way of a path: every component once, in the kernel's order."""

from __future__ import annotations

import os
import stat

import pytest

from pyctrigger.links import follow_links

FILE, DIRECTORY, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
#: A path, and its components, each with whether it is in a sticky directory.
STICKY = [
    ("/s/file", [("/", False), ("/s", False), ("/s/file", True)]),
    ("//s/.//d/../file", [("/", False), ("/s", False), ("/s/d", True), ("/s", False), ("/s/file", True)]),
    ("/s/d/file", [("/", False), ("/s", False), ("/s/d", True), ("/s/d/file", False)]),
    (
        "/s/up/s/file",
        [("/", False), ("/s", False), ("/s/up", True), ("/", False), ("/s", False), ("/s/file", True)],
    ),
    ("/s/here/file", [("/", False), ("/s", False), ("/s/here", True), ("/s/d", True), ("/s/d/file", False)]),
]


@pytest.mark.parametrize(("path", "expected"), STICKY)
def test_a_sticky_directory_is_known_to_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch, path: str, expected: list[tuple[str, bool]]
) -> None:
    """To its entries, links included; not to what they lead to, nor to itself."""
    modes = {"/s": DIRECTORY | 0o1777, "/s/up": LINK, "/s/here": LINK, "/s/file": FILE, "/s/d/file": FILE}
    seen: list[tuple[str, bool]] = []

    def examine(step: str, in_sticky: bool) -> os.stat_result:
        seen.append((step, in_sticky))
        return os.stat_result((modes.get(step, DIRECTORY | 0o755), 1, 1, 1, 0, 0, 0, 0, 0, 0))

    monkeypatch.setattr("os.readlink", {"/s/up": "/", "/s/here": "d"}.__getitem__)
    follow_links(path, examine)
    assert expected == seen
