"""dpkg's lists: who owns what, diversions included, and the hook for apt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.packages.databases import Source
from pyctrigger.packages.dpkg import Dpkg
from pyctrigger.packages.hook import Subject
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from pathlib import Path

INFO = "/var/lib/dpkg/info"
DIVERSIONS = "/var/lib/dpkg/diversions"
LISTS = {
    f"{INFO}/one.list": b"/.\n/usr/a.py\n/usr/a.pyc\n",
    f"{INFO}/two:amd64.list": b"/usr/b.pyc\n/usr/shared.pyc\n",
    f"{INFO}/one.md5sums": b"/usr/no.pyc\n",
    f"{INFO}/none.list": b"",
}


def test_sources_are_the_lists_and_the_diversions() -> None:
    """So that a foreign root's can be copied."""
    assert [Source("files", INFO, ".list"), Source("file", DIVERSIONS)] == Dpkg(FilesInMemory({})).sources


def test_presence_is_its_directory() -> None:
    """Of lists."""
    assert (True, False) == (Dpkg(FilesInMemory(LISTS)).is_present, Dpkg(FilesInMemory({})).is_present)


def test_all_pycs_of_all_packages() -> None:
    """From every list, and from nothing else."""
    assert {b"/usr/a.pyc", b"/usr/b.pyc", b"/usr/shared.pyc"} == {
        path for path, _ in Dpkg(FilesInMemory(LISTS)).find_owned(None)
    }


#: Diversions (where a file lies, where the others' lies, and whose it is), a path, and its owner.
DIVERTED = [
    (b"", b"/usr/a.pyc", "one"),
    (b"", b"/usr/a.py", "one"),
    (b"", b"/usr/b.pyc", "two:amd64"),
    (b"", b"/usr/none.pyc", None),
    (b"/usr/a.pyc\n/usr/a.pyc.distrib\n:\n", b"/usr/a.pyc", None),  # an administrator's: one's is the other
    (b"/usr/a.pyc\n/usr/a.pyc.distrib\n:\n", b"/usr/a.pyc.distrib", "one"),
    (b"/usr/a.pyc\n/usr/a.pyc.distrib\nother\n", b"/usr/a.pyc.distrib", "one"),
    (b"/usr/a.pyc\n/usr/a.pyc.distrib\none\n", b"/usr/a.pyc", "one"),  # a package's own diversion
    (b"/usr/a.pyc\n/usr/a.pyc.distrib\none\n", b"/usr/a.pyc.distrib", None),
    (b"/usr/b.pyc\n/usr/b.pyc.distrib\ntwo\n", b"/usr/b.pyc", "two:amd64"),  # by its name without architecture
    (b"/usr/x y\n/usr/x.d\n:\n/usr/a.pyc\n/usr/a.pyc.d\n:\n", b"/usr/a.pyc.d", "one"),
    (b"/usr/x y\n/usr/x.d\n:\n/usr/a.pyc\n/usr/a.pyc.d\none\n", b"/usr/a.pyc", "one"),
]


@pytest.mark.parametrize(("diversions", "path", "owner"), DIVERTED)
def test_owner_of_a_file(diversions: bytes, path: bytes, owner: str | None) -> None:
    """Whose list has it, under the name that dpkg put it under."""
    files = FilesInMemory({**LISTS, **({DIVERSIONS: diversions} if diversions else {})})
    assert ({} if owner is None else {path: owner}) == dict(Dpkg(files).find_owned([path]))


def test_owners_of_many_files_at_once() -> None:
    """Those that no package owns are left out."""
    asked = [b"/usr/a.pyc", b"/usr/shared.pyc", b"/usr/absent", *(b"/x%d" % number for number in range(30))]
    assert {b"/usr/a.pyc": "one", b"/usr/shared.pyc": "two:amd64"} == dict(Dpkg(FilesInMemory(LISTS)).find_owned(asked))


@pytest.mark.parametrize("is_there", [True, False])
def test_our_own_package_has_a_trigger(is_there: bool) -> None:
    """As long as it is installed; for every Python."""
    path = f"{INFO}/pyctrigger.triggers"
    files = FilesInMemory({path: b""} if is_there else {})
    assert ((path, ()) if is_there else None) == Dpkg(files).package_trigger()


SUBJECT = Subject("py311", "3.11", "python3.11", "cpython-311", ("/usr/bin/pyctrigger",))


def test_hook_is_a_command_for_apt() -> None:
    """With the program and the Python as words of a shell."""
    (hook,) = Dpkg.hooks(SUBJECT._replace(program=("/opt/a b/python3", "-m", "pyctrigger")))
    assert "/etc/apt/apt.conf.d/90pyctrigger-py311" == hook.path
    assert "'/opt/a b/python3' -m pyctrigger run" in hook.text
    assert "--python 3.11" in hook.text
    assert 0o644 == hook.mode


@pytest.mark.parametrize(
    "subject", [SUBJECT._replace(program=('/a"b',)), SUBJECT._replace(path='/a"b'), SUBJECT._replace(path="/a\nb")]
)
def test_what_apt_cannot_quote_is_refused(subject: Subject) -> None:
    """It is between quotation marks."""
    with pytest.raises(UsageError):
        Dpkg.hooks(subject)


def test_one_directory_for_all_flavours() -> None:
    """Debian's policy has it so."""
    for library in ("python3.11", "pypy3.9"):
        assert ["/usr/lib/python3/dist-packages"] == Dpkg.site_directories(library)


@pytest.mark.parametrize("present", [(), ("py3compile",), ("python3.11",), ("py3compile", "python3.11")])
def test_command_that_brings_bytecode_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, present: tuple[str, ...]
) -> None:
    """Where Debian's compiler and the Python are there."""
    monkeypatch.setattr(os.path, "exists", lambda path: path in {f"/usr/bin/{name}" for name in present})
    expected = "py3compile -V 3.11 '/a b'" if len(present) == 2 else None
    assert expected == Dpkg.compile_command("3.11", "/a b")


DEFAULTS = b"""[DEFAULT]
# the default python3 version
default-version = python3.14
supported-versions = python3.14, python3.15
old-versions = python3.1, python3.13
"""
COMPILERS = {"/usr/bin/py3compile": b"", "/usr/bin/python3.14": b"", "/usr/share/python3/debian_defaults": DEFAULTS}
#: Files of a system, an interpreter, and whether Debian's own programs write its bytecode.
COMPILED = [
    (COMPILERS, "cpython", (3, 14), True),
    (COMPILERS, "cpython", (3, 15), False),  # it isn't installed
    ({**COMPILERS, "/usr/bin/python3.13": b""}, "cpython", (3, 13), False),
    ({**COMPILERS, "/usr/bin/python3.1": b""}, "cpython", (3, 1), False),
    ({**COMPILERS, "/usr/bin/python3.15": b""}, "cpython", (3, 15), True),
    (dict.fromkeys(COMPILERS, b""), "cpython", (3, 14), False),
    ({path: text for path, text in COMPILERS.items() if "defaults" not in path}, "cpython", (3, 14), False),
    ({path: text for path, text in COMPILERS.items() if "py3compile" not in path}, "cpython", (3, 14), False),
    (COMPILERS, "pypy", (3, 11), False),
    ({"/usr/bin/pypy3compile": b""}, "pypy", (3, 11), True),
    ({}, "cpython", (3, 14), False),
]


@pytest.mark.parametrize("row", range(len(COMPILED)))
def test_what_debian_compiles_itself(row: int) -> None:
    """The CPythons that are supported and installed, and PyPy where its own program is."""
    files, implementation, version, expected = COMPILED[row]
    assert expected is Dpkg(FilesInMemory(files)).compiles(implementation, version)
