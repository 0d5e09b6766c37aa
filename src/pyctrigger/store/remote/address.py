"""Where a store of another machine is: what its URL says, of which only the parts without a secret are ever shown."""

from __future__ import annotations

import re
import string
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

#: By scheme: its port.
PORTS = {"redis": 6379, "rediss": 6379, "http": 80, "https": 443}
_LONGEST = 4096
#: What a URL is made of (RFC 3986); everything else has to be written in percents.
_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")
_HOST = re.compile(r"[0-9A-Za-z._~:%-]{1,255}\Z")


class Address(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    path: str = ""
    """Of HTTP: what comes before a key's name, without a slash at its end."""
    query: str = ""
    """Of HTTP: what comes after it, with its question mark."""
    database: int = 0
    """Of Redis."""

    @property
    def is_redis(self) -> bool:
        """Whether it speaks Redis' protocol; else HTTP."""
        return self.scheme.startswith("redis")

    @property
    def is_encrypted(self) -> bool:
        """Whether it is asked through TLS."""
        return self.scheme in ("rediss", "https")

    @property
    def shown(self) -> str:
        """What may be told of it: user, path and query may be secrets, too."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


def parse_address(url: str) -> Address:
    """Returns what a URL says. Raises ValueError, without any of it in the text."""
    if len(url) > _LONGEST or not _CHARACTERS.issuperset(url):
        raise ValueError("it has characters that no URL has")
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError("it isn't a URL") from None
    if parts.scheme not in PORTS or not _HOST.match(host) or parts.fragment or port == 0:
        raise ValueError("it isn't the URL of a store")
    found = Address(
        parts.scheme,
        host,
        port or PORTS[parts.scheme],
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
    )
    if any(not each.isprintable() for each in (found.user or "", found.password or "")):
        raise ValueError("it isn't the URL of a store")
    if not found.is_redis:
        return found._replace(path=parts.path.rstrip("/"), query=f"?{parts.query}" if parts.query else "")
    number = parts.path.strip("/") or "0"
    if parts.query or not (number.isascii() and number.isdigit() and len(number) < 6):
        raise ValueError("after a host of Redis comes the number of a database, and nothing else")
    return found._replace(database=int(number))
