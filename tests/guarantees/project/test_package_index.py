"""A wheel from an index, where there is neither pip nor ensurepip."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from package_index import IndexUnusable, admits, fetch_wheel, index_url, offered_files

CONTENT = b"not really a wheel"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a project `demo` in an index of files, which pip's setting names."""
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    page = tmp_path / "simple" / "demo" / "index.html"
    page.parent.mkdir(parents=True)
    return page


def offer(page: Path, name: str, *, sha256: str = SHA256, attributes: str = "") -> str:
    """Put a file beside the page, and give its anchor."""
    (page.parent / name).write_bytes(CONTENT)
    return f'<a href="{name}#sha256={sha256}" {attributes}>{name}</a><br>\n'


def test_newest_usable_wheel_is_taken(index: Path, tmp_path: Path) -> None:
    """Neither an older one, nor a pre-release, a source archive, one for another Python, or one that no lock has."""
    index.write_text(
        offer(index, "demo-9.0-py3-none-any.whl")
        + offer(index, "demo-10.1-py3-none-any.whl", attributes='data-requires-python="&gt;=3.9"')
        + offer(index, "demo-11.0rc1-py3-none-any.whl")
        + offer(index, "demo-12.0.tar.gz")
        + offer(index, "demo-13.0-py3-none-any.whl", sha256="0" * 64)
        + offer(index, "demo-14.0-py3-none-any.whl", attributes='data-requires-python="&gt;=4"')
        + "<a>no file</a>"
    )
    wheel = fetch_wheel("demo", tmp_path, {SHA256})
    assert wheel == tmp_path / "demo-10.1-py3-none-any.whl"
    assert wheel.read_bytes() == CONTENT


def test_other_content_than_the_lock_promises_is_refused(index: Path, tmp_path: Path) -> None:
    """Nothing is left behind, either."""
    index.write_text(offer(index, "demo-1.0-py3-none-any.whl", sha256="0" * 64))
    with pytest.raises(IndexUnusable, match=f"its sha256 is {SHA256}, and the lock says 0000"):
        fetch_wheel("demo", tmp_path, {"0" * 64})
    assert list(tmp_path.glob("*.whl")) == []


def test_file_without_a_digest_is_not_taken(index: Path, tmp_path: Path) -> None:
    """An index may leave the digest out (PEP 503); then there is nothing to check by."""
    index.write_text('<a href="demo-1.0-py3-none-any.whl">demo-1.0-py3-none-any.whl</a>')
    with pytest.raises(IndexUnusable, match="names 1 files, but no wheel with a locked sha256"):
        fetch_wheel("demo", tmp_path, {SHA256})


def test_json_page_is_read(tmp_path: Path) -> None:
    """The form of PEP 691, with addresses relative to the page."""
    page = tmp_path / "page.json"
    entry = {
        "filename": "demo-1.0-py3-none-any.whl",
        "url": "files/demo.whl",
        "hashes": {"sha256": SHA256},
    }
    page.write_text(json.dumps({"files": [entry]}))
    (file,) = offered_files(page.as_uri())
    assert (file.name, file.url, file.sha256, file.requires_python) == (
        "demo-1.0-py3-none-any.whl",
        (tmp_path / "files" / "demo.whl").as_uri(),
        SHA256,
        "",
    )


def test_index_that_is_not_there_is_named_without_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message may be read by somebody else."""
    monkeypatch.setenv("PIP_INDEX_URL", "gopher://name:secret@index.invalid/simple")
    with pytest.raises(IndexUnusable) as caught:
        fetch_wheel("demo", tmp_path, {SHA256})
    assert str(caught.value) == "gopher://index.invalid/simple/demo/: neither https, http nor file"


def test_index_of_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would ask, without a variable."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://index.invalid/100%simple\n")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert index_url() == "https://index.invalid/100%simple"


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("", True),
        (">=3.9", True),
        (">=3.9.7", True),
        (">3.9.6", True),
        (">=3.10", False),
        ("<4", True),
        ("<=3.9", False),
        ("~=3.8", True),
        ("~=3.8.1", False),
        ("==3.*", True),
        ("!=3.9.*", False),
        (">=2.7, !=3.0.*, !=3.1.*", True),
        ("==3.9.7", True),
        ("!=3.9.7", False),
        ("===3.9.7", False),
        (">=3.9.*", False),
    ],
)
def test_requires_python_on_3_9_7(specifier: str, expected: bool) -> None:
    """The clauses of PEP 440 that occur there; what can't be read admits nothing."""
    assert admits(specifier, (3, 9, 7)) is expected


def test_this_python_admits_itself() -> None:
    """The default is the interpreter that asks."""
    assert admits(f"=={sys.version_info[0]}.{sys.version_info[1]}.*")
