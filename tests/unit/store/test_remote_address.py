"""What a URL says of a store, and what of it is told."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.store.remote.address import Address, parse_address

GOOD = {
    "redis://host": Address("redis", "host", 6379),
    "redis://host/3": Address("redis", "host", 6379, database=3),
    "rediss://u:p%40@host:1/": Address("rediss", "host", 1, "u", "p@"),
    "redis://:p@[::1]:2": Address("redis", "::1", 2, "", "p"),
    "http://host": Address("http", "host", 80),
    "http://u@host/a/b/": Address("http", "host", 80, "u", path="/a/b"),
    "https://host:8443/a%20b?sig=x&y=1": Address("https", "host", 8443, path="/a%20b", query="?sig=x&y=1"),
}


@pytest.mark.parametrize("url", GOOD)
def test_what_a_url_says(url: str) -> None:
    """All parts of it."""
    assert GOOD[url] == parse_address(url)


BAD = [
    "", "redis:", "redis://", "ftp://host", "http://ho st/", "http://host:0/", "http://host:99999/", "http://host/#part",
    "redis://host/x", "redis://host/1?a=b", "redis://host/123456", "http://h\u00f6st/", "http://host/\r\nX: 1", "http://u%0d%0a@host/",
    "http://[::1/", "http://host/" + "a" * 5000, "redis://host/\u0663",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_url_of_a_store(url: str) -> None:
    """Nothing of it is in the error."""
    with pytest.raises(ValueError, match=r"URL|Redis") as error:
        parse_address(url)
    assert str(error.value) in (
        "it has characters that no URL has",
        "it isn't a URL",
        "it isn't the URL of a store",
        "after a host of Redis comes the number of a database, and nothing else",
    )


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_only_the_host_is_told(text: str) -> None:
    """Whatever a URL has in it."""
    with contextlib.suppress(ValueError):
        address = parse_address(f"https://secret:{text}")
        assert "secret" not in address.shown or address.host.startswith("secret")


SHOWN = {
    "redis://u:p@host:6379/4": "redis://host",
    "https://u:p@host/path?query": "https://host",
    "http://t@[::1]:81/": "http://[::1]:81",
}


@pytest.mark.parametrize("url", SHOWN)
def test_what_is_told(url: str) -> None:
    """Neither user, password, path nor query."""
    assert SHOWN[url] == parse_address(url).shown
