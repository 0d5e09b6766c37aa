"""rpm: which format its database has, what is asked of rpm itself, and its file triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import ManagerError, UsageError
from pyctrigger.packages import rpm as module
from pyctrigger.packages.databases import Source
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.rpm import Rpm
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
    answer(own, "one\\t/a.py", "one\\t/a.pyc", "two\\t(none)", "two\\t/b c.pyc")
    assert [b"/a.pyc", b"/b c.pyc"] == [path for path, _ in old().find_owned(None)]
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
    own.write_text(f"#!/bin/sh\ncase \"$*\" in *--filetriggers*) printf -- '{said}';; *) printf '{names}';; esac\n")
    own.chmod(0o755)
    assert (None if expected is None else (f"{OLD}/Packages", expected)) == old().package_trigger()


@pytest.mark.parametrize("owner", ["pyctrigger", "other", None])
def test_in_a_root_the_package_is_known_by_its_command(monkeypatch: pytest.MonkeyPatch, owner: str | None) -> None:
    """Only rpm can list its triggers: they are for every Python."""
    found = {} if owner is None else {b"/usr/bin/pyctrigger": owner}
    monkeypatch.setattr(Rpm, "find_owned", lambda rpm, paths: found.items())
    path = f"{NEW}/rpmdb.sqlite"
    expected = (path, ()) if owner == "pyctrigger" else None
    assert expected == Rpm(FilesInMemory({path: b""})).package_trigger()


def test_triggers_are_parts_of_a_spec() -> None:
    """For both libraries, and for those of the interpreter itself; a percent sign is written twice."""
    (hook,) = Rpm.hooks(SUBJECT._replace(program=("/a%b c", "-m")))
    assert "/usr/lib/rpm/pyctrigger-py311.spec" == hook.path
    prefixes = [f"/usr/{lib}/python3.11/{name}/" for name in ("site-packages", "encodings") for lib in ("lib", "lib64")]
    assert " ".join(prefixes) in hook.text
    assert all(f"postun -- {prefix}\n" in hook.text.replace("  ", " ") or prefix in hook.text for prefix in prefixes)
    assert "'/a%%b c' -m run" in hook.text
    assert "--python 3.11" in hook.text


@pytest.mark.parametrize("character", [*" '\"", "\n"])
def test_a_prefix_that_a_spec_cant_quote_is_refused(character: str) -> None:
    """Of a site directory, or of a library."""
    for field in ("site_directories", "libraries"):
        with pytest.raises(UsageError):
            Rpm.hooks(SUBJECT._replace(**{field: (f"/a{character}b",)}))  # type: ignore[arg-type]


def test_site_directories() -> None:
    """Of both kinds of libraries."""
    expected = ["/usr/lib/python3.11/site-packages", "/usr/lib64/python3.11/site-packages"]
    assert expected == Rpm.site_directories("python3.11")
