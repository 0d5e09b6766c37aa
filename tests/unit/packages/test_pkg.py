"""FreeBSD's pkg: where its database is, who owns what, and its trigger."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import ManagerError, UsageError
from pyctrigger.packages import pkg as module
from pyctrigger.packages.databases import Files, Source
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.pkg import Pkg
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM, CONFIGURATION = "/usr/local/sbin/pkg", "/usr/local/etc/pkg.conf"
DATABASE = "/var/db/pkg/local.sqlite"
SUBJECT = Subject("py311", "3.11", "python3.11", "cpython-311", ("/usr/local/bin/pyctrigger",))


@pytest.fixture
def files() -> FilesInMemory:
    """A system with two packages."""
    database = sqlite3.connect(":memory:")
    database.execute("create table packages (id integer primary key, name text)")
    database.execute("create table files (path text primary key, package_id integer)")
    database.executemany("insert into packages values (?, ?)", [(1, "one"), (2, "two")])
    rows = [("/usr/local/a.pyc", 1), ("/usr/local/b.py", 2), ("/usr/local/c.pyc", 2), ("/d.pyc.bak", 2)]
    database.executemany("insert into files values (?, ?)", rows)
    database.execute("insert into files values (cast(? as text), 1)", (b"/usr/local/\xff.pyc",))
    return FilesInMemory({DATABASE: b""}, database=database)


def test_pycs_of_all_packages(files: FilesInMemory) -> None:
    """Whatever bytes their names have."""
    expected = {b"/usr/local/a.pyc", b"/usr/local/c.pyc", b"/usr/local/\xff.pyc"}
    assert dict.fromkeys(expected, "") == dict(Pkg(files).find_owned(None))
    assert ["files"] == files.tables


def test_owners_by_path(files: FilesInMemory) -> None:
    """The package's name."""
    asked = [b"/usr/local/b.py", b"/usr/local/\xff.pyc", b"/absent"]
    assert {b"/usr/local/b.py": "two", b"/usr/local/\xff.pyc": "one"} == dict(Pkg(files).find_owned(asked))
    assert ["files", "packages"] == files.tables


#: What a root that isn't ours has, and where its database is; None: nobody can say.
PLACES: list[tuple[dict[str, bytes], str | None]] = [
    ({}, DATABASE),
    ({DATABASE: b""}, DATABASE),
    ({PROGRAM: b"", DATABASE: b""}, DATABASE),
    ({PROGRAM: b""}, None),
    ({PROGRAM: b"", DATABASE: b"", CONFIGURATION: b"OTHER = 1\n"}, DATABASE),
    ({PROGRAM: b"", DATABASE: b"", CONFIGURATION: b"PKG_DBDIR = /x\n"}, None),
    ({PROGRAM: b"", DATABASE: b"", CONFIGURATION: b'x\n  "pkg_dbdir": "/x"\n'}, None),
    ({PROGRAM: b"", DATABASE: b"", CONFIGURATION: b"# PKG_DBDIR = /x\n"}, DATABASE),
    ({DATABASE: b"", CONFIGURATION: b"PKG_DBDIR = /x\n"}, DATABASE),
]


@pytest.mark.parametrize(("texts", "place"), PLACES)
def test_place_of_a_strangers_database(texts: dict[str, bytes], place: str | None) -> None:
    """Its program isn't executed: the default has to hold by what its configuration says, and by being there."""
    pkg = Pkg(FilesInMemory(texts))
    if place is None:
        with pytest.raises(ManagerError) as caught:
            assert pkg.database
        assert f"/root{PROGRAM} is installed, but its database can't be found" == str(caught.value)
        assert pkg.is_present is True  # whatever it owns
        return
    assert ([Source("database", place)], place in texts) == (pkg.sources, pkg.is_present)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This system's pkg, by another path."""
    program = tmp_path / "pkg"
    monkeypatch.setattr(module, "_PROGRAM", str(program))
    monkeypatch.setattr(module, "_only_root_can_change", lambda path: path == str(program))
    program.touch(0o755)
    return program


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("echo /var/db/other", "/var/db/other/local.sqlite"),
        ("printf /a", "/a/local.sqlite"),
        ("echo relative", None),
        ("printf '/a\\n/b\\n'", None),
        ("echo", None),
        ("exit 1", None),
    ],
)
def test_our_own_says_where_its_database_is(own: Path, answer: str, place: str | None) -> None:
    """In one absolute path; it is asked once."""
    own.write_text(f"#!/bin/sh\n[ \"$*\" = 'config PKG_DBDIR' ] || exit 7\necho >> {own}.calls\n{answer}\n")
    pkg = Pkg(Files())
    if place is None:
        with pytest.raises(ManagerError, match=r"doesn't print the directory of its database|failed: exit status 1"):
            assert pkg.database
        return
    assert (place, place) == (pkg.database, pkg.database)
    assert "\n" == (own.parent / "pkg.calls").read_text()


@pytest.mark.usefixtures("as_root")
def test_a_program_that_others_could_change_is_not_started(tmp_path: Path) -> None:
    """Nor one on whose way others could put something else."""
    tmp_path.chmod(0o755)
    place = tmp_path / "sbin"
    place.mkdir(mode=0o755)
    (place / "pkg").touch()
    path, only_root_can_change = str(place / "pkg"), module._only_root_can_change
    above = only_root_can_change(str(tmp_path))
    for mode, expected in [(0o755, above), (0o775, False), (0o757, False), (0o1777, False)]:
        (place / "pkg").chmod(mode)
        assert expected is only_root_can_change(path)
    (place / "pkg").chmod(0o755)
    os.chown(place, 12345, 0)
    assert (False, True) == (only_root_can_change(path), only_root_can_change("/usr/bin/env"))


@pytest.fixture
def roots_own() -> Iterator[Path]:
    """A directory on whose way nobody but root can change anything."""
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~root"), prefix="pkg-") as directory:
        top = Path(directory)
        for name in ("own", "theirs"):
            (top / name).mkdir(mode=0o755)
            (top / name / "pkg").touch(mode=0o755)
        (top / "theirs/back").symlink_to(top / "own/pkg")
        for path in (top / "theirs", *(top / "theirs").iterdir()):
            os.chown(path, 12345, 12345, follow_symlinks=False)
        yield top


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({}, True),
        ({"pkg": "own/pkg"}, True),
        ({"pkg": "{top}/own/pkg"}, True),
        ({"pkg": "own/../own/./pkg"}, True),
        ({"pkg": "next", "next": "own/pkg"}, True),
        ({"sbin": "own", "pkg": "sbin/pkg"}, True),
        ({"pkg": "theirs/pkg"}, False),
        ({"pkg": "{top}/theirs/pkg"}, False),
        ({"pkg": "next", "next": "theirs/pkg"}, False),
        ({"pkg": "theirs/back"}, False),
        ({"pkg": "theirs/../own/pkg"}, False),
        ({"sbin": "theirs", "pkg": "sbin/pkg"}, False),
        ({"pkg": "next", "next": "pkg"}, False),
    ],
)
def test_what_a_link_leads_through_counts(roots_own: Path, links: dict[str, str], expected: bool) -> None:
    """A link of root's may lead to what somebody else can change, or through it."""
    for name, target in links.items():
        (roots_own / name).symlink_to(target.format(top=roots_own))
    path = roots_own / ("pkg" if links else "own/pkg")
    assert expected is module._only_root_can_change(str(path))


def test_trigger_names_what_it_is_for() -> None:
    """Sites, cache tag, program and Python."""
    subject = SUBJECT._replace(program=("/a b/p", "-m"), site_directories=("/s one", "/t"))
    (hook,) = Pkg.hooks(subject)
    assert "/usr/local/share/pkg/triggers/python-pycache-py311.ucl" == hook.path
    for word in ('"/a b/p", "-m"', '"/s one", "/t"', '"/s one/*", "/t/*"', ".cpython-311", '"3.11"'):
        assert word in hook.text
    assert '"/usr/local/lib/python3.11/site-packages"' in Pkg.hooks(SUBJECT)[0].text


@pytest.mark.parametrize("character", [*"$*?['\"", "\n"])
def test_what_ucl_would_read_otherwise_is_refused(character: str) -> None:
    """In a site directory; in a program only what is a variable, or ends a word."""
    with pytest.raises(UsageError):
        Pkg.hooks(SUBJECT._replace(site_directories=(f"/a{character}b",)))
    words = {"program": (f"/a{character}b",), "path": f"/a{character}b"}
    for field, value in words.items():
        if character in '$"\n':
            with pytest.raises(UsageError):
                Pkg.hooks(SUBJECT._replace(**{field: value}))  # type: ignore[arg-type]
        else:
            Pkg.hooks(SUBJECT._replace(**{field: value}))  # type: ignore[arg-type]
    assert Pkg.hooks(SUBJECT._replace(program=("/X",), path="/X", site_directories=("/X",)))


def test_a_hook_for_everything_is_refused() -> None:
    """Its cleanup would walk all of it."""
    with pytest.raises(UsageError) as caught:
        Pkg.hooks(SUBJECT._replace(site_directories=("/a", "/")))
    assert ("pkg's hooks can't watch /", "name a site directory: the cleanup walks all of it") == (
        caught.value.message,
        caught.value.hint,
    )
