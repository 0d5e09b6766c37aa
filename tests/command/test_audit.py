"""`audit`: bytecode inside real packages of every format, judged in place."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from archives import (
    BUILDERS,
    BUILT_AT,
    SITE,
    build_rpm,
    build_tar,
    build_wheel,
    build_zip,
    compile_tree,
    package_tree,
)
from conftest import absent
from pyctrigger.pyc.magic import header_size, release_of

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: A magic number that the newest interpreter of no machine has: that of 3.7b1, for its own tag.
FOREIGN = (3393).to_bytes(2, "little") + b"\r\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package's files, without bytecode."""
    return package_tree(tmp_path / "tree")


@pytest.fixture
def compiled(tree: Path, newest: Interpreter) -> Path:
    """The same with the newest CPython's bytecode."""
    compile_tree(newest, tree)
    return tree


def pyc_of(tree: Path, interpreter: Interpreter, module: str = "module") -> Path:
    """Where an interpreter's bytecode of a module is."""
    (pyc,) = (tree / SITE / "demo/__pycache__").glob(f"{module}.*{_digits(interpreter)}.pyc")
    return pyc


def _digits(interpreter: Interpreter) -> str:
    return "".join(map(str, interpreter.version[:2]))


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a few bytes."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def magic_of(interpreter: Interpreter) -> int:
    """What the interpreter itself says."""
    question = "import importlib.util; print(importlib.util.MAGIC_NUMBER[:2].hex())"
    said = subprocess.run([interpreter.path, "-I", "-c", question], capture_output=True, text=True, check=True).stdout
    return int.from_bytes(bytes.fromhex(said), "little")


def only(outcome: Any) -> dict[str, Any]:
    """The only archive of a report."""
    (archive,) = outcome.document["archives"]
    assert isinstance(archive, dict)
    return archive


def kinds(outcome: Any) -> list[tuple[str, str, str | None]]:
    """The findings of the only archive, shortly."""
    return [(each["kind"], each["reason"], each["pyc"] or each.get("member")) for each in only(outcome)["findings"]]


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_each_format_is_read(
    pyctrigger: Command, every_format: dict[str, Path], name: str, newest: Interpreter
) -> None:
    """What its own tools packed is found in it, all of it fresh."""
    outcome = pyctrigger.json("audit", "--python", newest.path, every_format[name])

    archive = only(outcome)
    assert (0, BUILDERS[name][1], None) == (outcome.code, archive["format"], archive["failure"])
    assert (2, 2, False) == (archive["counts"]["sources"], archive["counts"]["pycs"], archive["needs_rebuild"])
    (bytecode,) = archive["bytecode"]
    assert (magic_of(newest), 2) == (bytecode["number"], bytecode["pycs"])
    assert [f"cpython-{_digits(newest)}"] == bytecode["cache_tags"]


@pytest.mark.parametrize("name", BUILDERS)
def test_names_mean_nothing(pyctrigger: Command, every_format: dict[str, Path], name: str, tmp_path: Path) -> None:
    """The content says what it is, if it is named."""
    other = tmp_path / "something"
    other.write_bytes(every_format[name].read_bytes())

    assert BUILDERS[name][1] == only(pyctrigger.json("audit", other))["format"]


def test_bytecode_of_each_interpreter_is_told_apart(
    pyctrigger: Command, tree: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    """By the number that the interpreter itself names, and the release that has it."""
    compile_tree(interpreter, tree)

    (bytecode,) = only(pyctrigger.json("audit", build_tar(tree, tmp_path / "a.tar.gz")))["bytecode"]

    assert (magic_of(interpreter), 2) == (bytecode["number"], bytecode["pycs"])
    version = ".".join(map(str, interpreter.version[:2]))
    assert (interpreter.implementation, version) == (bytecode["implementation"], bytecode["version"])
    stem = {"cpython": "CPython", "pypy": "PyPy"}[interpreter.implementation]
    assert f"{stem} {version}" == bytecode["release"]
    assert bytecode["is_final"]


@pytest.mark.few_targets
@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
def test_hashes_of_each_interpreter_are_compared(
    pyctrigger: Command, tree: Path, interpreter: Interpreter, mode: str, tmp_path: Path
) -> None:
    """Each with its own kind of SipHash; times and sizes don't matter then, one byte of the source does."""
    if interpreter.version < (3, 7):
        pytest.skip("3.6 has no hash-based pycs")
    compile_tree(interpreter, tree, "--invalidation-mode", mode)
    source = tree / SITE / "demo/module.py"
    os.utime(source, (1, 1))
    assert pyctrigger.text("audit", build_tar(tree, tmp_path / "good.tar")).code == 0

    text = source.read_text()
    source.write_text(text.replace("2", "3"))
    outcome = pyctrigger.json("audit", build_zip(tree, tmp_path / "bad.zip"))

    assert 1 == outcome.code
    (finding,) = only(outcome)["findings"]
    assert ("mismatched", "hash", f"{SITE}/demo/module.py") == (finding["kind"], finding["reason"], finding["source"])


def test_release_of_any_number() -> None:
    """No number is without an answer."""
    answers = {number: release_of(number) for number in range(1 << 16)}
    assert {8, 12, 16} == {header_size(number) for number in answers}
    finals = [number for number, release in answers.items() if release.is_final and release.version >= (3, 6)]
    assert {(3, minor) for minor in range(6, 16)} == {
        answers[number].version for number in finals if answers[number].implementation == "cpython"
    }
    assert "CPython 3.14b3 (before 3.14rc2)" == answers[3625].text
    assert "CPython 3.14rc2 (before 3.14rc3)" == answers[3626].text
    assert all(release.text for release in answers.values())


# -- findings ----------------------------------------------------------------------------------------------------------


def test_own_bytecode_with_another_magic_number_is_stale(
    pyctrigger: Command, compiled: Path, newest: Interpreter, interpreters: list[Interpreter], tmp_path: Path
) -> None:
    """That of a release candidate before: the list names the archive. Another flavour's bytecode is that one's."""
    if len(interpreters) == 1:
        absent("a second flavour")
    good = build_wheel(compiled, tmp_path / "good.whl")
    compile_tree(interpreters[0], compiled)
    other = build_wheel(compiled, tmp_path / "other.whl")
    pyc = pyc_of(compiled, newest)
    patch(pyc, 0, FOREIGN)
    stale = build_wheel(compiled, tmp_path / "stale.whl")

    outcome = pyctrigger.text("audit", "--python", newest.path, "--needs-rebuild", good, other, stale)

    assert (1, f"{stale}\n", "") == (outcome.code, outcome.out, outcome.err)
    assert [("stale", "magic", str(pyc.relative_to(compiled)))] == kinds(
        pyctrigger.json("audit", "--python", newest.path, stale)
    )
    counts = only(pyctrigger.json("audit", "--python", newest.path, other))["counts"]
    assert (2, 0) == (counts["foreign"], counts["stale"])
    without = pyctrigger.json("audit", stale)
    assert (0, 0) == (without.code, only(without)["counts"]["stale"])


def test_sourceless_bytecode(pyctrigger: Command, compiled: Path, newest: Interpreter, tmp_path: Path) -> None:
    """A legacy pyc has no tag: the directory that it is in, or the version that wrote it, says whose it is."""
    library = f"lib/python{newest.version[0]}.{newest.version[1]}"
    for directory in (library, "elsewhere", "lib/python3.5"):  # no interpreter has written that there
        (tmp_path / "sourceless" / directory).mkdir(parents=True)
        pyc = tmp_path / "sourceless" / directory / "module.pyc"
        pyc.write_bytes(pyc_of(compiled, newest).read_bytes())
        patch(pyc, 0, FOREIGN)

    outcome = pyctrigger.json("audit", "--python", newest.path, build_zip(tmp_path / "sourceless", tmp_path / "a.zip"))

    assert 4 == only(outcome)["counts"]["stale"] + only(outcome)["counts"]["orphan"]
    assert {
        ("orphan", "sourceless", "elsewhere/module.pyc"),
        ("orphan", "sourceless", "lib/python3.5/module.pyc"),
        ("orphan", "sourceless", f"{library}/module.pyc"),
        ("stale", "magic", f"{library}/module.pyc"),
    } == set(kinds(outcome))


def test_orphan(pyctrigger: Command, compiled: Path, newest: Interpreter, tmp_path: Path) -> None:
    """Bytecode whose source didn't come along; that of others' tools is theirs."""
    (compiled / SITE / "demo/module.py").unlink()
    pyc = pyc_of(compiled, newest)
    pyc.with_name("test_x.cpython-313-pytest-8.4.2.pyc").write_bytes(pyc.read_bytes())

    outcome = pyctrigger.text("audit", "-v", build_tar(compiled, tmp_path / "a.tar.xz"))

    assert 1 == outcome.code
    assert f"  orphan: {pyc.relative_to(compiled)}: the archive has no source for it\n" in outcome.out
    assert outcome.out.count("  orphan: ") == 1


@pytest.mark.parametrize(("archive", "reason", "field"), [("a.tar", "mtime", 8), ("a.zip", "size", 12)])
def test_header_of_another_source(
    pyctrigger: Command, compiled: Path, newest: Interpreter, tmp_path: Path, archive: str, reason: str, field: int
) -> None:
    """Its time or its size is not that of the source in the archive."""
    pyc = pyc_of(compiled, newest)
    number = {"mtime": BUILT_AT + 100, "size": 7}[reason]
    patch(pyc, field, struct.pack("<I", number))
    path = (build_tar if archive.endswith("tar") else build_zip)(compiled, tmp_path / archive)

    assert [("mismatched", reason, str(pyc.relative_to(compiled)))] == kinds(pyctrigger.json("audit", path))


@pytest.mark.parametrize("zone", ["LINT-14", "NPT-5:45"])
def test_zip_was_made_in_any_zone(
    pyctrigger: Command, newest: Interpreter, tree: Path, tmp_path: Path, zone: str
) -> None:
    """It holds local time, without saying whose, in steps of two seconds."""
    source = tree / SITE / "demo/module.py"
    os.utime(source, (BUILT_AT + 1, BUILT_AT + 1))
    compile_tree(newest, tree)
    command = [newest.path, "-c", "import zipfile, sys, os\n" + _ZIP, str(tree), str(tmp_path / "a.zip")]
    subprocess.run(command, env={"TZ": zone, "PATH": os.environ["PATH"]}, check=True)

    assert [] == kinds(pyctrigger.json("audit", tmp_path / "a.zip"))


_ZIP = """
with zipfile.ZipFile(sys.argv[2], "w") as archive:
    for directory, _, names in os.walk(sys.argv[1]):
        for name in names:
            path = os.path.join(directory, name)
            archive.write(path, os.path.relpath(path, sys.argv[1]))
"""


def test_sources_that_are_hard_links(pyctrigger: Command, tree: Path, newest: Interpreter, tmp_path: Path) -> None:
    """The hash is that of the content, whatever its name in the archive."""
    source = tree / SITE / "demo/module.py"
    os.link(source, source.with_name("again.py"))
    compile_tree(newest, tree, "--invalidation-mode", "checked-hash")
    assert 0 == pyctrigger.text("audit", build_tar(tree, tmp_path / "a.tar")).code

    with source.open("a") as file:
        file.write("# more\n")

    counts = only(pyctrigger.json("audit", build_tar(tree, tmp_path / "b.tar")))["counts"]
    assert 2 == counts["mismatched"]


@pytest.mark.parametrize("builder", ["a.tar", "a.rpm"])
def test_hard_links(pyctrigger: Command, tree: Path, newest: Interpreter, tmp_path: Path, builder: str) -> None:
    """Fedora's rpms link equal levels; in a cpio only the last name has the content."""
    compile_tree(newest, tree, "-o", "0", "-o", "1", "-o", "2", "--hardlink-dupes")
    pycs = list(tree.rglob("*.pyc"))
    assert len({pyc.stat().st_ino for pyc in pycs}) < len(pycs) == 6
    path = (
        build_tar(tree, tmp_path / builder) if builder == "a.tar" else build_rpm("w3.zstdio")(tree, tmp_path / builder)
    )

    outcome = pyctrigger.json("audit", "--python", newest.path, path)

    assert (0, 6) == (outcome.code, only(outcome)["counts"]["pycs"])


def test_rpm_whose_payload_has_numbers_for_names(
    pyctrigger: Command, compiled: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """As rpm 6 writes it, and rpm 4 for a file of 4 GiB: the entries point into the header's list of files."""
    package = build_rpm("w.ufdio")(compiled, tmp_path / "a.rpm")
    data = package.read_bytes()
    start = data.index(b"070701")
    stripped, number, at = b"", 0, start
    while True:
        fields = [int(data[at + 6 + 8 * each : at + 14 + 8 * each], 16) for each in range(13)]
        name_end = at + 110 + fields[11]
        name = data[at + 110 : name_end - 1]
        at = name_end + -(name_end - start) % 4
        if name == b"TRAILER!!!":
            stripped += data[data.rindex(b"070701") :]
            break
        stripped += b"07070X%08x\0\0" % _listed(package, name) + data[at : at + fields[6]]
        stripped += b"\0" * (-len(stripped) % 4)
        at += fields[6]
        at += -(at - start) % 4
        number += 1
    package.write_bytes(data[:start] + stripped)

    outcome = pyctrigger.json("audit", "--python", newest.path, package)

    assert (0, None, 2, number) == (
        outcome.code,
        only(outcome)["failure"],
        only(outcome)["counts"]["pycs"],
        only(outcome)["counts"]["members"],
    )


def _listed(package: Path, name: bytes) -> int:
    listed = subprocess.run(["rpm", "-qlp", package], capture_output=True, check=True).stdout.split(b"\n")
    return listed.index(name.lstrip(b"."))


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(compiled: Path, newest: Interpreter, tmp_path: Path) -> Path:
    """A wheel in order, one that is stale, one without bytecode, and one that is none."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    build_wheel(compiled, shelf / "a.whl")
    patch(pyc_of(compiled, newest), 0, FOREIGN)
    build_wheel(compiled, shelf / "b.whl")
    build_wheel(package_tree(tmp_path / "bare"), shelf / "c.whl")
    (shelf / "d\n.whl").write_bytes(b"PK\x03\x04")
    return shelf


def test_lines_for_a_person(pyctrigger: Command, shelf: Path, newest: Interpreter) -> None:
    """Each archive with bytecode, then the sums."""
    outcome = pyctrigger.text("audit", "--python", newest.path, shelf)

    number = magic_of(newest)
    release = f"{number} (CPython {newest.version[0]}.{newest.version[1]})"
    *lines, last = outcome.out.splitlines()
    assert [
        f"{shelf}/a.whl: wheel: 2 pycs for {release}",
        f"{shelf}/b.whl: wheel: 1 pyc for 3393 (CPython 3.7b1 (before 3.7b5)), 1 pyc for {release}: 1 stale",
        "3393 (CPython 3.7b1 (before 3.7b5)): 1 pyc in 1 archive",
        f"{release}: 3 pycs in 2 archives",
    ] == lines
    flavour = f"py{_digits(newest)}"
    assert last.startswith(f"4 archives, 2 with bytecode, 1 to rebuild for {flavour}, 1 stale, 1 not examined in ")
    assert [
        f"{shelf}/d\\n.whl: damaged: can't be read: File is not a zip file",
        "hint: damaged: fetch or build the archive again",
    ] == outcome.err.splitlines()
    assert 3 == outcome.code


def test_names_for_a_program(pyctrigger: Command, shelf: Path, newest: Interpreter) -> None:
    """To the byte, with NUL; a newline in a name ends no line otherwise."""
    os.rename(os.fsencode(shelf / "b.whl"), os.fsencode(shelf) + b"/b\n\xff.whl")
    (shelf / "d\n.whl").unlink()
    command = pyctrigger.command_line("audit", ["--python", newest.path, "--needs-rebuild", "--null", shelf])

    child = subprocess.run(command, capture_output=True, check=False)

    assert (1, os.fsencode(shelf) + b"/b\n\xff.whl\0") == (child.returncode, child.stdout)
    lines = pyctrigger.text("audit", "--python", newest.path, "--needs-rebuild", shelf)
    assert f"{shelf}/b\\n\\xff.whl\n" == lines.out
    (archive,) = [each for each in pyctrigger.json("audit", shelf).document["archives"] if "path_hex" in each]
    assert os.fsencode(shelf) + b"/b\n\xff.whl" == bytes.fromhex(archive["path_hex"])


def test_folder_of_thousands(pyctrigger: Command, shelf: Path, newest: Interpreter, tmp_path: Path) -> None:
    """Archives to rebuild are listed once each, in order, also from a folder as large as a distribution's."""
    large = tmp_path / "large"
    for number in range(1200):
        folder = large / f"{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        for kind in "abc":
            os.link(shelf / f"{kind}.whl", folder / f"{number:04}{kind}.whl")

    said = pyctrigger.text("audit", "--python", newest.path, "--needs-rebuild", large)

    wanted = sorted(f"{large}/{number % 7}/{number:04}b.whl" for number in range(1200))
    assert (1, wanted) == (said.code, said.out.splitlines())
    summary = pyctrigger.json("audit", "--python", newest.path, large).document["summary"]
    assert (3600, 2400, 1200, 0) == tuple(
        summary[key] for key in ("archives", "with_bytecode", "needs_rebuild", "failed")
    )


def test_one_object_a_line(pyctrigger: Command, shelf: Path, newest: Interpreter) -> None:
    """The same as in the one object for all of them."""
    lines = pyctrigger.text("audit", "--python", newest.path, "--format", "jsonl", shelf).out.splitlines()

    document = pyctrigger.json("audit", "--python", newest.path, shelf).document

    assert [{"schema": 1, **archive} for archive in document["archives"]] == [json.loads(line) for line in lines]
    assert {"damaged": "fetch or build the archive again"} == document["hints"]
    assert (1, "audit", [], []) == tuple(document[key] for key in ("schema", "command", "errors", "runs"))
    assert [False, True, False, False] == [archive["needs_rebuild"] for archive in document["archives"]]
    summary = document["summary"]
    assert (4, 2, 1, 1) == tuple(summary[key] for key in ("archives", "with_bytecode", "needs_rebuild", "failed"))
    assert f"py{_digits(newest)}" == document["interpreter"]["flavour"]


def test_table_for_a_spreadsheet(pyctrigger: Command, shelf: Path, newest: Interpreter) -> None:
    """With a line of names above."""
    said = pyctrigger.text("audit", "--python", newest.path, "--format", "csv", shelf).out

    rows = list(csv.DictReader(io.StringIO(said)))
    assert ["no", "yes", "no", "no"] == [row["needs_rebuild"] for row in rows]
    assert ["2", "2", "0", "0"] == [row["pycs"] for row in rows]
    assert rows[3]["failure"].startswith("damaged: ")


def test_quietly(pyctrigger: Command, shelf: Path, newest: Interpreter) -> None:
    """Only what isn't in order."""
    outcome = pyctrigger.text("audit", "-q", "--python", newest.path, shelf)

    assert 1 == len(outcome.out.splitlines())
    assert outcome.out.startswith(f"{shelf}/b.whl: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--needs-rebuild"], "--needs-rebuild needs --python"),
        (["x", "--json", "--format", "csv"], "--json and --format contradict each other"),
        (["x", "--python", "3.x"], "--python 3.x: not a version, name or path of a Python"),
        (["x", "--timeout", "-1"], "use a number of seconds"),
        (["x", "--max-size", "much"], "use a size such as"),
        (["x", "--jobs", "many"], "use a number from 0 to 4096"),
        ([""], "an empty path was given"),
        ([], "audit needs ARCHIVE|DIR"),
    ],
)
def test_wrong_usage(pyctrigger: Command, arguments: list[str], message: str) -> None:
    """One line that says what to do instead."""
    outcome = pyctrigger.text("audit", *arguments)

    assert 2 == outcome.code
    assert message in outcome.err
    assert 1 == len(outcome.err.splitlines())


def test_interpreter_that_is_missing(pyctrigger: Command, shelf: Path, tmp_path: Path) -> None:
    """Reported before a single archive is read."""
    outcome = pyctrigger.json("audit", "--python", tmp_path / "python3.14", shelf)

    assert (69, []) == (outcome.code, outcome.document["runs"])
    assert "archives" not in outcome.document


def test_interpreter_of_the_configuration(
    pyctrigger: Command, shelf: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """A version means the same as to every other command."""
    version = f"{newest.version[0]}.{newest.version[1]}"
    config = tmp_path / "pyctrigger.toml"
    config.write_text(f'[flavours."{version}"]\nexecutable = "{newest.path}"\n')

    document = pyctrigger.json("audit", "--config", config, "--python", version, shelf).document

    assert newest.path == document["interpreter"]["executable"]


def test_reader_of_a_pipe_that_has_gone(pyctrigger: Command, shelf: Path) -> None:
    """`audit | head -0` is no trouble."""
    child = pyctrigger.start("audit", "--format", "jsonl", shelf / "a.whl")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    said = child.stderr.read()
    child.stderr.close()

    assert (0, b"") == (child.wait(), said)
