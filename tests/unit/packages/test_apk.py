"""apk's one text: who owns what, its hook, and the trigger of a package."""

from __future__ import annotations

import pytest

from pyctrigger.packages.apk import Apk
from pyctrigger.packages.databases import Source
from pyctrigger.packages.hook import Subject
from unit.packages.stand_in import FilesInMemory

DATABASE = "/lib/apk/db/installed"
TEXT = b"""R:lost.pyc
P:one
V:1
F:usr/lib
R:a.py
R:a.pyc
Z:Q1R:no.pyc
F:usr/lib/deep er
R:b c.pyc

P:two
F:opt
R:c.pyc
R:a.py
F:
R:top.pyc
"""
SUBJECT = Subject("py312", "3.12", "python3.12", "cpython-312", ("/usr/bin/pyctrigger",))


@pytest.fixture
def apk() -> Apk:
    """A system of Alpine's."""
    return Apk(FilesInMemory({DATABASE: TEXT}))


def test_pycs_of_all_packages(apk: Apk) -> None:
    """Each in the directory named last."""
    expected = [b"/lost.pyc", b"/usr/lib/a.pyc", b"/usr/lib/deep er/b c.pyc", b"/opt/c.pyc", b"/top.pyc"]
    assert expected == [path for path, _ in apk.find_owned(None)]
    assert [Source("file", DATABASE)] == apk.sources
    assert (True, False) == (apk.is_present, Apk(FilesInMemory({})).is_present)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([b"/usr/lib/a.py"], {b"/usr/lib/a.py": "one"}),
        ([b"/opt/a.py", b"/usr/lib/deep er/b c.pyc"], {b"/opt/a.py": "two", b"/usr/lib/deep er/b c.pyc": "one"}),
        ([b"/lost.pyc", b"/top.pyc"], {b"/lost.pyc": "", b"/top.pyc": "two"}),
        ([b"/usr/lib/b.pyc", b"/a.py"], {}),
    ],
)
def test_owner_is_the_package_above(apk: Apk, paths: list[bytes], expected: dict[bytes, str]) -> None:
    """The last one that was named."""
    assert expected == dict(apk.find_owned(paths))


def test_hook_is_a_program() -> None:
    """In apk's own place, with words of a shell."""
    (hook,) = Apk.hooks(SUBJECT._replace(program=("/a b",)))
    assert ("/etc/apk/commit_hooks.d/pyctrigger-py312", 0o755) == (hook.path, hook.mode)
    assert "'/a b' run" in hook.text
    assert "--python 3.12" in hook.text


def test_trigger_of_a_package_has_a_pattern_for_each_depth() -> None:
    """Twelve of them, from the site directory on."""
    text = Apk.trigger(SUBJECT._replace(site_directories=("/s",)))
    patterns = "/s" + "".join(":/s" + "/*" * depth for depth in range(1, 12))
    assert patterns in text
    assert f"{patterns}/*" not in text
    assert "/usr/lib/python3.12/site-packages:" in Apk.trigger(SUBJECT)
