"""`audit` of what was made to hurt: bombs, paths that climb, damage, slowness; and of hundreds of archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pyctrigger as package
from archives import BUILDERS, SITE, build_deb, build_tar, build_zip, compile_tree, package_tree
from confinement import wait_for
from conftest import absent
from package_index import IndexUnusable, fetch_wheel
from packages import snapshot
from pinned import hashes_in
from processes import children_of
from pyctrigger.inspect.audit.budget import ArchiveLimits
from pyctrigger.inspect.audit.examination import examine
from pyctrigger.zstd import zstd_module as zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command, Outcome
    from interpreters import Interpreter

#: A magic number of 3.9: its hashes are another kind than those of a newer host, which computes them slowly.
OLD = (3425).to_bytes(2, "little") + b"\r\n"
#: How a failure begins that is nobody's archive's fault.
DEFECTS = ("defect", "crash", "timeout", "memory")


def failure(outcome: Outcome) -> dict[str, str]:
    """Why the only archive couldn't be examined."""
    (archive,) = outcome.document["archives"]
    found = archive["failure"]
    assert isinstance(found, dict), archive
    return found


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    """A member made by hand."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


# -- bombs -------------------------------------------------------------------------------------------------------------


def _zeros(write: Any, count: int) -> None:
    piece = bytes(1 << 20)
    for _ in range(count):
        write(piece)


def test_bombs(pyctrigger: Command, tmp_path: Path) -> None:
    """A tar of zeros in a file of a few kilobytes, in every compression that can do that: refused before its end."""
    header = tarfile.TarInfo("demo/module.py")
    header.size = 66 << 20  # the ratio counts from 64 on
    for suffix, module in (
        ("xz", partial(lzma.LZMAFile, preset=0)),  # as small, in a third of the time
        ("bz2", bz2.BZ2File),
        ("gz", gzip.GzipFile),
        ("zst", zstd().ZstdFile),
    ):
        with module(tmp_path / f"bomb.tar.{suffix}", "wb") as file:
            file.write(header.tobuf())
            _zeros(file.write, 67)

    outcome = pyctrigger.json("audit", tmp_path)

    assert (3, 4) == (outcome.code, len(outcome.document["archives"]))
    for archive in outcome.document["archives"]:
        assert ("limit", "expands to more than 500 times its size") == (
            archive["failure"]["kind"],
            archive["failure"]["message"],
        )


def test_memory(pyctrigger: Command, tmp_path: Path, every_format: dict[str, Path]) -> None:
    """A dictionary of 3 GiB is a field in a header; the next archive is read by the same process."""
    data = bytearray(lzma.compress(tarfile.TarInfo("m.py").tobuf() + bytes(1024), lzma.FORMAT_ALONE))
    data[1:5] = (0xC0000000).to_bytes(4, "little")
    path = tmp_path / "a.tar.lzma"
    path.write_bytes(data)

    outcome = pyctrigger.json("audit", "--jobs", "1", path, every_format["demo-1.zip"])

    first, second = outcome.document["archives"]
    assert ("memory", None) == (first["failure"]["kind"], second["failure"])


def test_what_an_archive_may_expand_to(pyctrigger: Command, tmp_path: Path) -> None:
    """A limit of the caller's own."""
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "data", os.urandom(1 << 20))

    assert 0 == pyctrigger.text("audit", "--max-size", "2MiB", path).code
    refused = pyctrigger.text("audit", "--max-size", "1MiB", path)
    assert 3 == refused.code
    assert f"{path}: limit: expands to more than 1048576 bytes; raise --max-size if you trust it\n" == refused.err


def test_zip_whose_members_claim_everything(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> None:
    """What isn't asked for isn't decompressed: zeros without end cost nothing, but as a pyc they are a bomb."""
    tree = package_tree(tmp_path / "tree")
    compile_tree(newest, tree)
    path = build_zip(tree, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("data.bin", "w") as member:
        _zeros(member.write, 66)
    assert 0 == pyctrigger.text("audit", path).code

    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.pyc", "w") as member:
        _zeros(member.write, 66)
    assert "limit" == failure(pyctrigger.json("audit", path))["kind"]


@pytest.mark.parametrize(("count", "size"), [(1, 8 << 30), (20, 1 << 20)])
def test_bomb_in_a_header(pyctrigger: Command, tmp_path: Path, count: int, size: int) -> None:
    """A link's target of 8 GiB, or twenty of a MiB for one link, is a header that claims memory."""
    path = tmp_path / "a.tar.gz"
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGLINK, size
    with gzip.open(path, "wb") as file:
        for _ in range(count):
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            _zeros(file.write, 20 // count)
        file.write(tarfile.TarInfo("module.py").tobuf() + bytes(1024))

    answer = failure(pyctrigger.json("audit", path))

    assert ("limit", "has a header of more than 16777216 bytes") == (answer["kind"], answer["message"])


def test_too_many_members_and_names_too_long(tmp_path: Path) -> None:
    """Whatever their number is: the limits are a value."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(20):
            add(tar, f"{number}.py")
    answer = examine(os.open(path, os.O_RDONLY), ArchiveLimits(entries=10), None)
    assert {"kind": "limit", "message": "has more than 10 members"} == answer["failure"]
    assert 10 == answer["counts"]["members"]

    with tarfile.open(path, "w") as tar:
        add(tar, "x/" * 3000 + "module.py")
    answer = examine(os.open(path, os.O_RDONLY), ArchiveLimits(), None)
    assert {"kind": "limit", "message": "has a member whose name is longer than 4096 bytes"} == answer["failure"]


def test_findings_are_counted_beyond_the_list(tmp_path: Path) -> None:
    """A package of a hundred thousand orphans is no reason to print them all."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(30):
            add(tar, f"__pycache__/m{number}.cpython-39.pyc", OLD + bytes(20))

    answer = examine(os.open(path, os.O_RDONLY), ArchiveLimits(findings=5), None)

    assert (30, 5) == (answer["counts"]["orphan"], len(answer["findings"]))


# -- paths -------------------------------------------------------------------------------------------------------------


def test_paths_that_climb(pyctrigger: Command, tmp_path: Path) -> None:
    """Each is a finding; nothing is followed, and nothing is written anywhere."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "../up.pyc", OLD + bytes(20))
        add(tar, "demo/../../up.py")
        add(tar, "/etc/absolute.py")
        add(tar, "demo/link", type=tarfile.SYMTYPE, linkname="../../etc")
        add(tar, "demo/absolute", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "demo/hard.pyc", type=tarfile.LNKTYPE, linkname="../../etc/shadow")
        add(tar, "demo/inside", type=tarfile.SYMTYPE, linkname="../demo/x/../link")
    before = snapshot(tmp_path)

    outcome = pyctrigger.json("audit", path, cwd=tmp_path)

    (archive,) = outcome.document["archives"]
    assert (1, 6, 0) == (outcome.code, archive["counts"]["climbing"], archive["counts"]["pycs"])
    assert [
        ("parent", "../up.pyc"),
        ("parent", "demo/../../up.py"),
        ("absolute", "/etc/absolute.py"),
        ("link-parent", "demo/link"),
        ("link-absolute", "demo/absolute"),
        ("hardlink-parent", "demo/hard.pyc"),
    ] == [(finding["reason"], finding["member"]) for finding in archive["findings"]]
    assert before == snapshot(tmp_path)


def test_climbing_in_a_zip(pyctrigger: Command, tmp_path: Path) -> None:
    """A wheel's links and dots."""
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("../up.py", "")
        link = zipfile.ZipInfo("link.pyc")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")

    (archive_report,) = pyctrigger.json("audit", tmp_path / "a.whl").document["archives"]

    assert ["parent", "link-absolute"] == [finding["reason"] for finding in archive_report["findings"]]


def test_absolute_links_of_a_system_package_are_in_order(pyctrigger: Command, tmp_path: Path) -> None:
    """It is unpacked at `/`."""
    tree = package_tree(tmp_path / "tree")
    (tree / SITE / "demo/link.py").symlink_to("/etc/demo.py")

    assert 0 == pyctrigger.text("audit", build_deb("xz")(tree, tmp_path / "a.deb")).code
    assert 1 == pyctrigger.text("audit", build_tar(tree, tmp_path / "a.tar")).code


def test_source_that_is_a_link(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> None:
    """There is a source; what is in it can't be said."""
    tree = package_tree(tmp_path / "tree")
    compile_tree(newest, tree)
    source = tree / SITE / "demo/module.py"
    source.rename(source.with_name("real.py"))
    source.symlink_to("real.py")

    assert 0 == pyctrigger.text("audit", build_tar(tree, tmp_path / "a.tar")).code


def test_directories_are_walked_without_following(
    pyctrigger: Command, tmp_path: Path, every_format: dict[str, Path]
) -> None:
    """Links below aren't followed; a FIFO doesn't hang; a file not named like an archive isn't one."""
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "b" / "c").mkdir(parents=True)
    outside.mkdir()
    wheel = every_format["demo-1-py3-none-any.whl"].read_bytes()
    for path in (outside / "x.whl", top / "z.whl", top / "b/a.whl", top / "b/c/a.WHL", top / "b/notes.txt"):
        path.write_bytes(wheel)
    (top / "link.whl").symlink_to(outside / "x.whl")
    (top / "loop").symlink_to(top)
    os.mkfifo(top / "pipe.whl")

    outcome = pyctrigger.json("audit", top)
    assert [f"{top}/z.whl", f"{top}/b/a.whl", f"{top}/b/c/a.WHL"] == [
        archive["path"] for archive in outcome.document["archives"]
    ]

    named = pyctrigger.json(
        "audit", top / "link.whl", top / "pipe.whl", top / "none.whl", top / "b/notes.txt", top / "z.whl"
    )
    assert [None, "io", "io", None, None] == [
        archive["failure"] and archive["failure"]["kind"] for archive in named.document["archives"]
    ]
    assert 3 == named.code


def test_tree_that_is_too_deep(pyctrigger: Command, tmp_path: Path) -> None:
    """It ends, and says where."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)

    assert "is more than 100 directories deep" == failure(pyctrigger.json("audit", tmp_path))["message"]


# -- damage ------------------------------------------------------------------------------------------------------------


def test_cut_archives(pyctrigger: Command, every_format: dict[str, Path], tmp_path: Path) -> None:
    """Wherever it was cut, it can't have been examined as a whole."""
    for name, path in every_format.items():
        whole = path.read_bytes()
        end = len(whole)
        if name.endswith(".tar"):
            end = whole.rindex(b"ustar")  # behind the last member's content there are only zeros
        if name.endswith(".deb"):
            end = len(whole.rstrip(b"\n"))  # ar fills up to an even number of bytes
        for number, length in enumerate(sorted({0, 1, 5, 59, 100, end // 3, end // 2, end - 20, end - 1})):
            (tmp_path / f"{number}-{name}").write_bytes(whole[:length])

    outcome = pyctrigger.json("audit", tmp_path)

    archives = outcome.document["archives"]
    assert (3, 9 * len(BUILDERS)) == (outcome.code, len(archives))
    cut = ("damaged", "unsupported")
    assert [] == [each for each in archives if not each["failure"] or each["failure"]["kind"] not in cut]


def test_damaged_archives(pyctrigger: Command, every_format: dict[str, Path], tmp_path: Path) -> None:
    """Any byte of it may be another one: there is always an answer, and none of it is our own fault."""
    for name, path in every_format.items():
        whole = path.read_bytes()
        chance = random.Random(name)
        for number in range(60):
            broken = bytearray(whole)
            for _ in range(chance.choice([1, 1, 3, 20])):
                at = chance.randrange(min(len(broken), chance.choice([64, 1024, len(broken)])))
                broken[at] = chance.randrange(256)
            (tmp_path / f"{number}-{name}").write_bytes(broken)

    outcome = pyctrigger.json("audit", tmp_path)

    assert 60 * len(BUILDERS) == len(outcome.document["archives"])
    failures = [archive["failure"] for archive in outcome.document["archives"] if archive["failure"]]
    assert [] == [each for each in failures if each["kind"] in DEFECTS]
    assert "" == outcome.err


def test_checksum_of_a_member(pyctrigger: Command, tmp_path: Path) -> None:
    """The header of a pyc may be whole and what is behind it not."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("__pycache__/m.cpython-39.pyc", OLD + bytes(12) + bytes(1 << 16) + b"the body of it")
    assert 1 == pyctrigger.text("audit", path).code
    path.write_bytes(path.read_bytes().replace(b"the body", b"the b0dy"))

    assert "damaged" == failure(pyctrigger.json("audit", path))["kind"]


def test_header_broken_in_the_middle(pyctrigger: Command, tmp_path: Path) -> None:
    """`tarfile` considers it the end; what was before it is still reported."""
    path = tmp_path / "a.tar.bz2"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(5):
            add(tar, f"__pycache__/m{number}.cpython-39.pyc", OLD + bytes(20))
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[3 * 1024] ^= 1
    path.write_bytes(bz2.compress(data))

    outcome = pyctrigger.json("audit", path)

    assert "has a broken header at byte 3072 of its tar" == failure(outcome)["message"]
    assert 3 == outcome.document["archives"][0]["counts"]["orphan"]


def test_tar_without_its_end(pyctrigger: Command, tmp_path: Path) -> None:
    """Cut between two members, it looks like a smaller one: without compression only the end mark shows it."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(5):
            add(tar, f"m{number}.py", b"x = 1\n")
    os.truncate(path, 3 * 1024)

    assert failure(pyctrigger.json("audit", path))["message"].startswith("ends without tar's end mark")


def test_what_is_no_archive(pyctrigger: Command, tmp_path: Path) -> None:
    """Named, it has to be one."""
    for name, data in (
        ("text", b"#!/bin/sh\n"),
        ("text.gz", gzip.compress(b"#!/bin/sh\n" * 100)),
        ("library.a", b"!<arch>\n" + b"object.o/       0           0     0     100644  0         `\n"),
        ("text.xz", lzma.compress(b"no tar")),
    ):
        (tmp_path / name).write_bytes(data)
        assert "unsupported" == failure(pyctrigger.json("audit", tmp_path / name))["kind"]


def test_encrypted_zip(pyctrigger: Command, every_format: dict[str, Path], tmp_path: Path) -> None:
    """Its flag is enough for the test: no password is asked for."""
    data = bytearray(every_format["demo-1.zip"].read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        data[at + 8] |= 1
        at += 4
    (tmp_path / "a.zip").write_bytes(data)

    assert "is encrypted" == failure(pyctrigger.json("audit", tmp_path / "a.zip"))["message"]


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Minutes of work: hashes of 16 MB for many interpreters, of the kind that this host has to compute by itself."""
    path = tmp_path / "slow.tar"
    with tarfile.open(path, "w") as tar:
        first = 3392 if sys.version_info >= (3, 11) else 3495
        for number in range(first, first + 40):
            magic_number = number.to_bytes(2, "little") + b"\r\n"
            add(tar, f"__pycache__/m.cpython-{number}.pyc", magic_number + struct.pack("<I", 3) + bytes(20))
        add(tar, "m.py", bytes(16 << 20))
    return path


@pytest.fixture
def reader(pyctrigger: Command, slow: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command and the process that reads for it, in the middle of it."""
    command = pyctrigger.start("audit", "--json", slow)
    try:
        yield command, _child_at_work(command.pid)
    finally:
        command.kill()
        command.communicate()


def _child_at_work(parent: int) -> int:
    """A child that has had its rights taken away and has computed for a while."""
    for _ in range(1000):
        for child in children_of(parent):
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if int(fields[11]) > 40:  # hundredths of a second in user mode: more than a start takes
                return child
        time.sleep(0.05)
    raise AssertionError("no process reads the archive")


def test_archive_that_takes_too_long(pyctrigger: Command, slow: Path, every_format: dict[str, Path]) -> None:
    """It has its time, and the others are read all the same."""
    wheel = every_format["demo-1-py3-none-any.whl"]
    outcome = pyctrigger.json("audit", "--timeout", "1", "--jobs", "1", slow, wheel)

    first, second = outcome.document["archives"]
    assert {"kind": "timeout", "message": "was not read within 1 s"} == first["failure"]
    assert (3, None, 2) == (outcome.code, second["failure"], second["counts"]["pycs"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_reader_that_dies(reader: tuple[subprocess.Popen[bytes], int]) -> None:
    """Killed by the system for its memory, or by a library's bug: that archive has a failure, nothing hangs."""
    command, child = reader
    os.kill(child, signal.SIGKILL)
    out, _ = command.communicate(timeout=60)

    assert 3 == command.returncode
    assert b"ended the process that read it: killed by SIGKILL" in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_reader_ends_with_the_command(reader: tuple[subprocess.Popen[bytes], int]) -> None:
    """Also in the middle of its work, and however the command ended."""
    command, child = reader
    command.kill()
    command.wait()

    for _ in range(200):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2]:
            return
        time.sleep(0.05)
    pytest.fail("it goes on without the command")


@pytest.mark.usefixtures("as_root")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_reader_has_no_rights(reader: tuple[subprocess.Popen[bytes], int]) -> None:
    """Neither root's, nor a way to them, nor a byte to write, nor a network."""
    command, child = reader
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
    assert ("1", "0000000000000000") == (status["NoNewPrivs"], status["CapEff"])
    limits = Path(f"/proc/{child}/limits").read_text()
    assert ["0", "0", "bytes"] == next(line for line in limits.splitlines() if "Max file size" in line).split()[3:]
    assert os.readlink(f"/proc/{child}/ns/net") != os.readlink(f"/proc/{command.pid}/ns/net")


@pytest.mark.usefixtures("as_root")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_each_reader_has_an_account_of_its_own(pyctrigger: Command, slow: Path) -> None:
    """A hijacked one can reach neither a person's files nor another reader."""
    other = slow.with_name(f"other-{slow.name}")
    os.link(slow, other)
    command = pyctrigger.start("audit", "--json", "--jobs", "2", slow, other)
    try:
        assert wait_for(lambda: len(_accounts_below(command.pid)) == 2), _accounts_below(command.pid)
        assert all(2_000_200_001 <= int(account) <= 2_147_352_575 for account in _accounts_below(command.pid))
    finally:
        command.kill()
        command.communicate()


def _accounts_below(parent: int) -> set[str]:
    """The accounts of the children of a process that have given up root's."""
    statuses = [Path(f"/proc/{child}/status").read_text() for child in children_of(parent)]
    lines = [status.split("Uid:\t")[1].splitlines()[0] for status in statuses]
    assert all(len(set(line.split())) == 1 for line in lines)
    return {line.split()[0] for line in lines} - {"0"}


def test_unreadable_archives_of_others(pyctrigger: Command, tmp_path: Path, every_format: dict[str, Path]) -> None:
    """What the caller may read is read, whichever account reads it."""
    path = tmp_path / "a.whl"
    path.write_bytes(every_format["demo-1-py3-none-any.whl"].read_bytes())
    path.chmod(0o400)
    tmp_path.chmod(0o700)

    assert 0 == pyctrigger.text("audit", path).code


def test_hundreds_of_archives(pyctrigger: Command, tmp_path: Path, every_format: dict[str, Path]) -> None:
    """In parallel, and reported in the same order as one by one."""
    kinds = [path for name, path in every_format.items() if not name.endswith((".xz", ".bz2", ".rpm"))]
    for number in range(500):
        source = kinds[number % len(kinds)]
        (tmp_path / f"{number % 7}").mkdir(exist_ok=True)
        os.link(source, tmp_path / f"{number % 7}" / f"{number:03}-{source.name}")
    (tmp_path / "3" / "broken.whl").write_bytes(b"PK\x03\x04")

    several = pyctrigger.text("audit", "--format", "jsonl", "--jobs", "4", tmp_path)
    one = pyctrigger.text("audit", "--format", "jsonl", "--jobs", "1", tmp_path)

    assert (3, 501) == (several.code, len(several.out.splitlines()))
    assert one.out == several.out
    assert f"{tmp_path}/3/broken.whl: damaged: " in several.err


# -- without the extra, and real packages ------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> list[str]:
    """The command as a package manager installs it: with its three dependencies and nothing else."""
    import filelock
    import platformdirs

    top = tmp_path / "bare"
    top.mkdir()
    for module in (package, filelock, platformdirs):
        assert module.__file__ is not None
        (top / module.__name__).symlink_to(Path(module.__file__).parent)
    code = f"import sys; sys.path.insert(0, {str(top)!r}); from pyctrigger.cli import main; sys.exit(main())"
    return ["-I", "-S", "-B", "-c", code]


def test_without_the_extra(bare: list[str], interpreter: Interpreter, every_format: dict[str, Path]) -> None:
    """On each host: what the standard library reads is read, and the rest says what it lacks."""
    if interpreter.version < (3, 9):
        pytest.skip("no host")
    command = [interpreter.path, *bare, "audit", "--format", "jsonl", *map(str, every_format.values())]
    child = subprocess.run(command, capture_output=True, text=True, check=False)

    zstd = {name for name in every_format if any(part in name for part in ("zst", ".conda", ".pkg"))}
    failed = {line.split(": ", 1)[0].rpartition("/")[2]: line for line in child.stderr.splitlines()}
    expected = set() if interpreter.version >= (3, 14) else zstd
    assert expected == set(failed)
    assert all(
        "unsupported: is compressed with zstd" in line and "pyctrigger[audit]" in line for line in failed.values()
    )
    assert (3 if expected else 0, len(every_format)) == (child.returncode, len(child.stdout.splitlines()))


def test_real_wheels(pyctrigger: Command, tmp_path: Path) -> None:
    """Packages of the index hold no bytecode, and nothing that isn't in order."""
    try:
        wheels = [
            fetch_wheel(project, tmp_path, hashes_in(lock)) for project, lock in (("packaging", "test"), ("pip", "pip"))
        ]
    except IndexUnusable as error:
        absent(f"no package index: {error}")

    outcome = pyctrigger.json("audit", *wheels)

    assert (0, 2, 0) == (
        outcome.code,
        outcome.document["summary"]["archives"],
        outcome.document["summary"]["counts"]["pycs"],
    )
    assert outcome.document["summary"]["counts"]["sources"] > 100
    assert {"wheel"} == {archive["format"] for archive in outcome.document["archives"]}
