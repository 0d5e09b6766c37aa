"""A wheel from a simple index (PEP 503, PEP 691), fetched with the standard library alone.

For the one machine that has neither pip nor ensurepip: Debian's python3 without python3-venv. The index is the one
that pip would ask: `PIP_INDEX_URL`, then `index-url` of pip's configuration files, then PyPI. A file is taken only with
a sha256 that the caller has in a lock, and only if its `requires-python` admits this interpreter.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Collection

PYPI = "https://pypi.org/simple"
JSON_PAGE = "application/vnd.pypi.simple.v1+json"
NETWORK_SECONDS = 60


class IndexUnusable(Exception):
    """The index, or a file that it names, could not be had."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = without_secret(url)
        self.reason = reason
        super().__init__(f"{self.url}: {reason}")


@dataclass(frozen=True)
class IndexFile:
    """One file that an index offers."""

    name: str
    url: str
    sha256: str
    """In hexadecimal; empty where the index gives none."""
    requires_python: str


def fetch_wheel(project: str, directory: Path, believed: Collection[str]) -> Path:
    """The newest final pure-Python wheel of `project` for this interpreter that has one of the `believed` sha256s.

    Raises `IndexUnusable`.
    """
    page = f"{index_url().rstrip('/')}/{project}/"
    files = offered_files(page)
    usable = [
        file
        for file in files
        if file.sha256 in believed and _wheel_version(project, file) and admits(file.requires_python)
    ]
    if not usable:
        python = ".".join(map(str, sys.version_info[:2]))
        raise IndexUnusable(page, f"names {len(files)} files, but no wheel with a locked sha256 for Python {python}")
    newest = max(usable, key=lambda file: _wheel_version(project, file))
    content, _kind, _url = _get(newest.url, index=page)
    digest = hashlib.sha256(content).hexdigest()
    if digest != newest.sha256:
        raise IndexUnusable(newest.url, f"its sha256 is {digest}, and the lock says {newest.sha256}")
    wheel = directory / newest.name
    wheel.write_bytes(content)
    return wheel


def index_url() -> str:
    """The index that pip would ask first."""
    return pip_setting("index-url") or PYPI


def pip_setting(name: str) -> str:
    """What pip's environment variable says, or else the last configuration file that says it, or nothing.

    Source: "Configuration" in pip's documentation. `PIP_CONFIG_FILE` naming the null device turns the files off.
    """
    variable = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if variable:
        return variable
    files = configparser.ConfigParser(interpolation=None, strict=False)
    for path in _pip_configuration_files():
        try:
            files.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):  # pip itself will complain of it, better than we can
            continue
    return files.get("global", name, fallback="").strip()


def _pip_configuration_files() -> list[str]:
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    shared = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    files = [f"{directory}/pip/pip.conf" for directory in reversed(shared.split(os.pathsep))]
    files += ["/etc/pip.conf", "~/.pip/pip.conf", f"{own}/pip/pip.conf", f"{sys.prefix}/pip.conf", named]
    return [os.path.expanduser(path) for path in files if path]


def offered_files(page: str) -> list[IndexFile]:
    """Every file on a project's page, in either form of the protocol. Raises `IndexUnusable`."""
    content, kind, url = _get(page)
    if "json" in kind:
        try:
            return [_from_json(entry, url) for entry in json.loads(content)["files"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexUnusable(url, "its answer is not what PEP 691 promises") from error
    links = _Links(url)
    links.feed(content.decode("utf-8", "replace"))
    return links.files


def _from_json(entry: dict[str, object], base: str) -> IndexFile:
    hashes = entry.get("hashes")
    return IndexFile(
        name=str(entry["filename"]),
        url=urljoin(base, str(entry["url"])),
        sha256=str(hashes.get("sha256", "")) if isinstance(hashes, dict) else "",
        requires_python=str(entry.get("requires-python") or ""),
    )


class _Links(HTMLParser):
    """The anchors of a PEP 503 page."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag != "a" or not attributes.get("href"):
            return
        url, fragment = urldefrag(urljoin(self._base, attributes["href"] or ""))
        self.files.append(
            IndexFile(
                name=unquote(url.rsplit("/", 1)[-1]),
                url=url,
                sha256=fragment[len("sha256=") :] if fragment.startswith("sha256=") else "",
                requires_python=attributes.get("data-requires-python") or "",
            )
        )


def _wheel_version(project: str, file: IndexFile) -> tuple[int, ...]:
    """The version of a final pure-Python wheel of `project`; empty for every other file."""
    found = re.fullmatch(rf"{re.escape(project)}-(\d+(?:\.\d+)*)-(?:py2\.)?py3-none-any\.whl", file.name)
    return _numbers(found.group(1)) if found else ()


def admits(specifier: str, version: tuple[int, ...] = sys.version_info[:3]) -> bool:
    """Whether a `requires-python` (PEP 440, release numbers only) admits a version; one that we can't read doesn't."""
    return all(_clause_admits(clause.strip(), version) for clause in specifier.split(",") if clause.strip())


def _clause_admits(clause: str, version: tuple[int, ...]) -> bool:
    found = re.fullmatch(r"(>=|<=|==|!=|>|<|~=)\s*(\d+(?:\.\d+)*)(\.\*)?", clause)
    if not found:
        return False
    operator, limit, wildcard = found.group(1), _numbers(found.group(2)), bool(found.group(3))
    if wildcard:
        return (version[: len(limit)] == limit) is (operator == "==") and operator in {"==", "!="}
    if operator == "~=":
        return version[: len(limit) - 1] == limit[:-1] and version >= limit
    padded = limit + (0,) * (len(version) - len(limit))  # 3 means 3.0.0
    return {
        ">=": version >= padded,
        "<=": version <= padded,
        ">": version > padded,
        "<": version < padded,
        "==": version == padded,
        "!=": version != padded,
    }[operator]


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(map(int, dotted.split(".")))


def without_secret(url: str) -> str:
    """`url` without a user's name and password, fit to be printed."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _get(url: str, index: str = "") -> tuple[bytes, str, str]:
    """The contents of `url`, its content type, and where a redirection led. Raises `IndexUnusable`.

    A secret in the address of `index` is good for its files on the same host, as it is for pip.
    """
    scheme = urlsplit(url).scheme
    if scheme not in {"https", "http", "file"}:
        raise IndexUnusable(url, "neither https, http nor file")
    if scheme == "file" and url.endswith("/"):
        url += "index.html"  # as pip does
    request = urllib.request.Request(without_secret(url), headers={"Accept": f"{JSON_PAGE}, text/html;q=0.1"})
    secret = _secret(url) or (_secret(index) if _host(index) == _host(url) else "")
    if secret:
        # Unredirected: another host, where the index may send us for the file, must not see it.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode("ascii"))
    context = _trust()
    try:
        with urllib.request.urlopen(request, timeout=NETWORK_SECONDS, context=context) as answer:
            return answer.read(), answer.headers.get_content_type(), answer.geturl()
    except urllib.error.HTTPError as error:
        reason = f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        reason = _plainly(error.reason)
    except (OSError, http.client.HTTPException) as error:
        reason = _plainly(error)
    raise IndexUnusable(url, reason)


def _trust() -> ssl.SSLContext:
    """The certificates that pip is configured to trust, or else the system's."""
    certificates = pip_setting("cert")
    try:
        return ssl.create_default_context(cafile=certificates or None)
    except OSError as error:  # ssl names no file in it
        reason = f"the certificates that pip's setting `cert` names can't be read: {error.strerror}"
        raise IndexUnusable(certificates, reason) from error


def _secret(url: str) -> str:
    parts = urlsplit(url)
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(without_secret(url))
    return parts.scheme, parts.netloc


def _plainly(reason: str | BaseException) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"{reason.verify_message} (are the system's CA certificates installed? Debian: ca-certificates)"
    return str(reason)
