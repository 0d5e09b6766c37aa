"""rpm: which format its database has, what is asked of rpm itself, and its file triggers."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import ManagerError, UsageError
from pyctrigger.packages import rpm as module
from pyctrigger.packages.databases import Source
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.rpm import Rpm
from unit.packages.headers import NAME, STRING, header, package
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from pathlib import Path

NEW, OLD = "/usr/lib/sysimage/rpm", "/var/lib/rpm"
SUBJECT = Subject("py311", "3.11", "python3.11", "cpython-311", ("/usr/bin/pyctrigger",))


@pytest.mark.parametrize(
    ("present", "database"),
    [
        ([], f"{NEW}/rpmdb.sqlite"),
        ([f"{NEW}/rpmdb.sqlite"], f"{NEW}/rpmdb.sqlite"),
        ([f"{NEW}/Packages.db"], f"{NEW}/Packages.db"),
        ([f"{OLD}/rpmdb.sqlite"], f"{OLD}/rpmdb.sqlite"),
        ([f"{OLD}/Packages"], f"{OLD}/Packages"),
        ([f"{OLD}/rpmdb.sqlite", f"{NEW}/Packages"], f"{NEW}/Packages"),
        ([f"{OLD}/Packages", f"{OLD}/rpmdb.sqlite"], f"{OLD}/rpmdb.sqlite"),
    ],
)
def test_the_first_database_that_is_there(present: list[str], database: str) -> None:
    """The newer place before the older, SQLite before the others."""
    rpm = Rpm(FilesInMemory(dict.fromkeys(present, b"")))
    assert (database, bool(present)) == (rpm.database, rpm.is_present)


def test_only_sqlite_can_be_copied() -> None:
    """The others only rpm can read, and it isn't run on a foreign root's."""
    assert [Source("database", f"{NEW}/rpmdb.sqlite")] == Rpm(FilesInMemory({f"{NEW}/rpmdb.sqlite": b""})).sources
    rpm = Rpm(FilesInMemory({f"{OLD}/Packages": b""}))
    for ask in (
        lambda: rpm.sources,
        lambda: [path for path, _ in rpm.find_owned(None)],
        lambda: dict(rpm.find_owned([b"/a"])),
    ):
        with pytest.raises(ManagerError) as caught:
            ask()
        assert f"/root{OLD}/Packages: rpm isn't run on the database of a root" == str(caught.value)


# -- headers in an SQLite database -------------------------------------------------------------------------------------

PATH = f"{OLD}/rpmdb.sqlite"
ONE = package(b"one", [b"/usr/a/", b"/usr/b/"], [(0, b"m.py"), (1, b"m.pyc"), (0, b"n.pyc"), (0, b"\xff.pyc")])
TWO = package(b"two", [b"/opt/"], [(0, b"m.pyc"), (0, b".pyc"), (0, b"am.py")])
ABOUT = {NAME: (STRING, b"about.pyc")}
OURS = package(b"pyctrigger", [b"/usr/bin/"], [(0, b"pyctrigger")])


def system(*blobs: Any) -> FilesInMemory:
    """A database with these headers."""
    database = sqlite3.connect(":memory:")
    database.execute("create table Packages (hnum integer primary key, blob blob)")
    database.execute("create table Basenames (key text, hnum integer)")
    for number, blob in enumerate(blobs, 1):
        database.execute("insert into Packages values (?, ?)", (number, blob))
        for base in (b"m.py", b"m.pyc", b"n.pyc", b"pyctrigger"):
            database.execute("insert into Basenames values (cast(? as text), ?)", (base, number))
    return FilesInMemory({PATH: b""}, database=database)


def test_pycs_of_all_packages() -> None:
    """Directory and base name, whatever bytes they have; a description may speak of bytecode, too."""
    files = system(header(ONE), header(ABOUT), header(TWO))
    expected = [b"/usr/b/m.pyc", b"/usr/a/n.pyc", b"/usr/a/\xff.pyc", b"/opt/m.pyc", b"/opt/.pyc"]
    assert [(path, "") for path in expected] == list(Rpm(files).find_owned(None))
    assert (["Packages"], []) == (files.tables, list(Rpm(system()).find_owned(None)))


def test_owners_by_base_name() -> None:
    """And then by the whole path: a file whose name only ends like it is another one."""
    files = system(header(ONE), header(TWO))
    asked = [b"/usr/a/m.py", b"/opt/m.pyc", b"/usr/a/m.pyc", b"/absent/x"]
    assert {b"/usr/a/m.py": "one", b"/opt/m.pyc": "two"} == dict(Rpm(files).find_owned(asked))
    assert ["Packages", "Basenames"] == files.tables


@pytest.mark.parametrize(
    ("blob", "paths", "reason"),
    [
        (header(TWO, tail=b".pyc"), None, f"a package's header has {len(header(TWO)) + 4} bytes instead of "),
        (b"\0.pyc", None, "unpack_from requires a buffer"),
        ("text with .pyc", None, "string argument without an encoding"),
        (header({tag: entry for tag, entry in ONE.items() if tag != NAME}), [b"/usr/a/m.py"], "1000"),
    ],
)
def test_a_damaged_header_is_an_error(blob: Any, paths: list[bytes] | None, reason: str) -> None:
    """With the reason: what packages own isn't known then."""
    with pytest.raises(ManagerError) as caught:
        list(Rpm(system(header(TWO), blob)).find_owned(paths))
    assert str(caught.value).startswith(f"/root{PATH} can't be read: {reason}")


# -- rpm's own answers -------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This system's rpm with a database of an older format: a script that answers."""
    program = tmp_path / "rpm"
    monkeypatch.setattr(module, "_PROGRAMS", (str(tmp_path / "absent"), str(program)))
    return program


def old() -> Rpm:
    """A system whose database only rpm can read."""
    return Rpm(FilesInMemory({f"{OLD}/Packages": b""}, is_foreign=False))


def answer(program: Path, *lines: str) -> None:
    """Let it take down its arguments, and say these lines."""
    text = "".join(f"{line}\\n" for line in lines)
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {program}.asked\nprintf '{text}'\n")
    program.chmod(0o755)


def test_pycs_are_asked_of_rpm(own: Path) -> None:
    """With its database's directory, for all packages."""
    answer(own, "one\\t/a.py", "one\\t/a.pyc", "two\\t(none)", "two\\t/b c.pyc", "two\\t/d\\te.pyc")
    assert [b"/a.pyc", b"/b c.pyc", b"/d\te.pyc"] == [path for path, _ in old().find_owned(None)]
    asked = (own.parent / "rpm.asked").read_text().splitlines()
    assert ["--dbpath", f"/root{OLD}", "-qa", "--qf", "[%{=NAME}\\t%{FILENAMES}\\n]"] == asked


def test_owners_are_asked_of_rpm(own: Path) -> None:
    """Each line has a package and a file."""
    answer(own, "one\\t/a.py", "two\\t/b.py", "two\\t/c.py")
    assert {b"/a.py": "one", b"/c.py": "two"} == dict(old().find_owned([b"/a.py", b"/c.py", b"/absent"]))
    assert "[%{=NAME}\\t%{FILENAMES}\\n]" in (own.parent / "rpm.asked").read_text()


def test_no_rpm_to_read_it(own: Path) -> None:
    """Its database exists, and it is unknown what packages own."""
    with pytest.raises(ManagerError) as caught:
        [path for path, _ in old().find_owned(None)]
    assert f"/root{OLD}/Packages exists, but rpm, which could read it, doesn't" == str(caught.value)


@pytest.mark.parametrize(
    ("packages", "triggers", "expected"),
    [
        (["bash", "pyctrigger"], ["run --hook --event x --python 3.11 --paths-from -"], ("3.11",)),
        (
            ["pyctrigger"],
            ["run --hook --python 3.11 -", "x --hook --python 3.12'", "--hook --python 3.11"],
            ("3.11", "3.12"),
        ),
        (["pyctrigger"], ["nothing"], ()),
        (["bash", "pyctrigger-doc"], ["run --hook --python 3.11"], None),
    ],
)
def test_our_own_package_has_file_triggers(
    own: Path, packages: list[str], triggers: list[str], expected: tuple[str, ...] | None
) -> None:
    """rpm lists their scripts, and each says for which Python it is."""
    names, said = ("".join(f"{line}\\n" for line in lines) for lines in (packages, triggers))
    said = said.replace("'", "'\\''")
    cases = (
        f"'-q --filetriggers pyctrigger') printf -- '{said}';; '-qa --qf %{{NAME}}\\n') printf '{names}';; *) exit 9"
    )
    own.write_text(f'#!/bin/sh\nshift 2\ncase "$*" in {cases};; esac\n')
    own.chmod(0o755)
    assert (None if expected is None else (f"{OLD}/Packages", expected)) == old().package_trigger()


def test_rpm_is_not_waited_for_without_end(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for a lock itself."""
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    own.write_text("#!/bin/sh\nexec sleep 60\n")
    own.chmod(0o755)
    with pytest.raises(ManagerError, match="can't be run: TimeoutExpired"):
        old().package_trigger()


@pytest.mark.parametrize(("entries", "expected"), [(OURS, (PATH, ())), ({**OURS, **ABOUT}, None), (TWO, None)])
def test_in_a_root_the_package_is_known_by_its_command(
    entries: dict[int, tuple[int, Any]], expected: tuple[str, tuple[str, ...]] | None
) -> None:
    """Only rpm can list its triggers: they are for every Python."""
    assert expected == Rpm(system(header(entries))).package_trigger()


def test_triggers_are_parts_of_a_spec() -> None:
    """For both libraries, and for those of the interpreter itself; a percent sign is written twice."""
    (hook,) = Rpm.hooks(SUBJECT._replace(program=("/a%b c", "-m")))
    assert "/usr/lib/rpm/pyctrigger-py311.spec" == hook.path
    prefixes = [f"/usr/{lib}/python3.11/{name}/" for name in ("site-packages", "encodings") for lib in ("lib", "lib64")]
    triggers = [
        f"in -- {' '.join(prefixes)}",
        f"un -- {' '.join(prefixes)}",
        *(f"postun -- {each}" for each in prefixes),
    ]
    assert [f"%transfiletrigger{each}" for each in triggers] == [
        line for line in hook.text.splitlines() if line.startswith("%")
    ]
    assert "# Python 3.11. " in hook.text
    assert "'/a%%b c' -m run" in hook.text
    assert "--python 3.11" in hook.text


@pytest.mark.parametrize("character", [*" '\"", "\n"])
def test_a_prefix_that_a_spec_cant_quote_is_refused(character: str) -> None:
    """Of a site directory, or of a library."""
    assert Rpm.hooks(SUBJECT._replace(site_directories=("/aXb",)))
    for field in ("site_directories", "libraries"):
        with pytest.raises(UsageError):
            Rpm.hooks(SUBJECT._replace(**{field: (f"/a{character}b",)}))  # type: ignore[arg-type]


def test_site_directories() -> None:
    """Of both kinds of libraries."""
    expected = ["/usr/lib/python3.11/site-packages", "/usr/lib64/python3.11/site-packages"]
    assert expected == Rpm.site_directories("python3.11")
