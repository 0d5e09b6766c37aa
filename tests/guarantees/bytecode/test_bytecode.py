"""What stands in the pycs: the bytes that the target's own py_compile writes in a fresh process.

With the right header and the rights of their source; what is damaged or out of date is named by `verify` and mended by
`run`.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import corpus
from packages import not_fresh, pycs_below, snapshot, sources_below, unlike_py_compile, write_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

MODES = ("timestamp", "checked-hash", "unchecked-hash")
FLAGS = {"timestamp": 0, "checked-hash": 0b11, "unchecked-hash": 0b01}


@dataclass(frozen=True)
class Header:
    """The fields of a pyc's header, and how many bytes follow it."""

    magic_number: bytes
    flags: int
    mtime: int
    size: int
    """Together with `mtime` the hash, where the flags say so."""
    body: int


def header_of(interpreter: Interpreter, pyc: bytes) -> Header:
    """Read the header of a pyc."""
    with open(pyc, "rb") as file:
        data = file.read()
    if corpus.header_size(interpreter) == 12:
        magic, mtime, size = struct.unpack_from("<4sII", data)
        return Header(magic, 0, mtime, size, len(data) - 12)
    magic, flags, mtime, size = struct.unpack_from("<4sIII", data)
    return Header(magic, flags, mtime, size, len(data) - 16)


def test_hash_based_code_is_what_py_compile_writes(
    pyctrigger: Command, site: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    """With the hash that the target computes, of sources of every length; 3.6 knows none, says so, and gets
    timestamps. (For real sources see test_real_packages.py.)
    """
    write_tree(site, {f"m{count}.py": "#" * count for count in range(10)})
    write_tree(site, {"long.py": "x = '\u00e9'\n" * 1000, "code.py": "def f(x=(1, 2)):\n    return [x, {'y': x.z}]\n"})
    some = sources_below(site)
    for mode in ("checked-hash", "unchecked-hash"):
        arguments = ["--python", interpreter.path, "--site-dir", str(site), "--invalidation-mode", mode]
        outcome = pyctrigger.json("run", *arguments)
        assert outcome.failures == []
        assert unlike_py_compile(interpreter, some, tmp_path, mode=mode) == []
        notices = [notice for notice in outcome.run["notices"] if "timestamps are written" in notice]
        assert len(notices) == (interpreter.version < (3, 7))


def test_header(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Magic number, mtime and size of the source; twelve bytes on 3.6, sixteen since."""
    write_tree(site, {"single.py": "x = 1\n"})
    os.utime(site / "single.py", ns=(0, 1_234_567_890_987_654_321))

    outcome = pyctrigger.json("run", "--python", interpreter.path, "--site-dir", site)

    (pyc,) = pycs_below(site)
    tag, magic = outcome.run["interpreter"]["cache_tag"], outcome.run["interpreter"]["magic_number"]
    assert os.path.basename(pyc) == f"single.{tag}.pyc".encode()
    header = header_of(interpreter, pyc)
    assert (bytes.fromhex(magic), 0, 1_234_567_890, 6) == (header.magic_number, header.flags, header.mtime, header.size)
    assert corpus.file_names(interpreter, [pyc]) == [[f"{site}/single.py"]]


@pytest.mark.few_targets
def test_file_name_is_the_path_inside_the_root(pyctrigger: Command, interpreter: Interpreter, tmp_path: Path) -> None:
    """Code compiled for a staged root has the path inside it, not the one on the host."""
    root = tmp_path / "root"
    write_tree(root / "usr/lib/packages", {"package/__init__.py": "def f(): pass\n"})
    arguments = ["--root", str(root), "--site-dir", "/usr/lib/packages", "--python", interpreter.path]

    outcome = pyctrigger.json("run", *arguments, "/usr/lib/packages/package")

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    (pyc,) = pycs_below(root)
    inside = "/usr/lib/packages/package/__init__.py"
    assert corpus.file_names(interpreter, [pyc]) == [[inside, inside]]
    assert os.fsencode(tmp_path) not in read(pyc)


def read(path: bytes) -> bytes:
    """All bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.few_targets
def test_mode_changes_without_force_and_idles(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Another mode rewrites every pyc once; the same mode again writes nothing, whichever it is."""
    write_tree(site, {"package/__init__.py": "", "package/module.py": "assert True\n", "single.py": "x = 1\n"})
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,1"]
    for mode in (*MODES, "timestamp"):
        outcome = pyctrigger.json("run", *arguments, "--invalidation-mode", mode)
        assert (0, 0) == (outcome.code, outcome.counts["failed"])
        if interpreter.version >= (3, 7):
            assert outcome.counts["compiled"] == 3
            assert {FLAGS[mode]} == {header_of(interpreter, pyc).flags for pyc in pycs_below(site)}
        before = snapshot(site)
        again = pyctrigger.json("run", *arguments, "--invalidation-mode", mode)
        assert (0, 0, 3) == (again.code, again.counts["compiled"], again.counts["fresh"])
        assert snapshot(site) == before
        assert not_fresh(interpreter, sources_below(site)) == []
    assert not_fresh(interpreter, sources_below(site), 1) == []


def test_changed_source_is_seen_in_every_mode(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """A hash proves a source whose times say nothing; times alone leave a hash-based pyc as it is."""
    write_tree(site, {"single.py": "x = 1\n"})
    source = site / "single.py"
    os.utime(source, (10**9, 10**9))
    for mode in ("checked-hash", "unchecked-hash"):
        arguments = ["--python", newest.path, "--site-dir", str(site), "--invalidation-mode", mode]
        source.write_text("x = 1\n")
        pyctrigger.json("run", *arguments)
        os.utime(source, (2 * 10**9, 2 * 10**9))
        before = snapshot(site)
        assert pyctrigger.json("run", *arguments).counts["fresh"] == 1
        assert snapshot(site) == before
        source.write_text("x = 2\n")
        os.utime(source, (2 * 10**9, 2 * 10**9))
        verified = pyctrigger.json("verify", *arguments)
        assert (1, ["stale"]) == (verified.code, [finding["kind"] for finding in verified.findings])
        assert pyctrigger.json("run", *arguments).counts["compiled"] == 1
        assert pyctrigger.json("verify", *arguments).findings == []


@pytest.mark.few_targets
def test_epoch_clamps_what_is_newer(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """As builds that clamp the sources' own mtimes later need it; older sources keep their own."""
    write_tree(site, {"newer.py": "x = 1\n", "older.py": "x = 1\n"})
    os.utime(site / "older.py", (10**8, 10**8))
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--source-date-epoch", "1000000000"]

    outcome = pyctrigger.json("run", *arguments)

    assert outcome.counts["compiled"] == 2
    assert [10**9, 10**8] == [header_of(interpreter, pyc).mtime for pyc in pycs_below(site)]
    before = snapshot(site)
    assert pyctrigger.json("run", *arguments).counts["fresh"] == 2
    assert snapshot(site) == before
    os.utime(site / "newer.py", (10**9, 10**9))
    assert not_fresh(interpreter, sources_below(site)) == []


@pytest.mark.usefixtures("as_root")
def test_owner_is_the_directorys(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """`__pycache__` is its parent's owner's, and so is every pyc; the owner of a source alone gets nothing."""
    write_tree(site, {"theirs/own.py": "x = 1\n", "theirs/roots.py": "x = 1\n", "roots/theirs.py": "x = 1\n"})
    os.chown(site / "theirs", 12345, 23456)
    os.chown(site / "theirs/own.py", 12345, 34567)
    os.chown(site / "roots/theirs.py", 12345, 34567)

    outcome = pyctrigger.json("run", "--python", newest.path, "--site-dir", site)

    assert (0, 3) == (outcome.code, outcome.counts["compiled"])
    owners = {
        os.path.relpath(path, os.fsencode(site)): (os.lstat(path).st_uid, os.lstat(path).st_gid)
        for path in [
            *pycs_below(site),
            os.fsencode(site / "theirs/__pycache__"),
            os.fsencode(site / "roots/__pycache__"),
        ]
    }
    tag = outcome.run["interpreter"]["cache_tag"].encode()
    assert owners == {
        b"theirs/__pycache__": (12345, 23456),
        b"theirs/__pycache__/own.%s.pyc" % tag: (12345, 34567),
        b"theirs/__pycache__/roots.%s.pyc" % tag: (12345, 23456),
        b"roots/__pycache__": (0, 0),
        b"roots/__pycache__/theirs.%s.pyc" % tag: (0, 0),
    }


@pytest.mark.few_targets
def test_edited_source_is_compiled_again(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Whether only its mtime shows it, or only its size."""
    write_tree(site, {"same_size.py": "x = 1\n", "same_mtime.py": "x = 1\n", "untouched.py": "x = 1\n"})
    for source in site.glob("*.py"):
        os.utime(source, (10**9, 10**9))
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]
    pyctrigger.json("run", *arguments)
    (site / "same_size.py").write_text("x = 2\n")
    os.utime(site / "same_size.py", (10**9 + 1, 10**9 + 1))
    (site / "same_mtime.py").write_text("x = 22\n")
    os.utime(site / "same_mtime.py", (10**9, 10**9))

    assert {"same_size": "stale", "same_mtime": "stale"} == verified(pyctrigger, arguments)
    outcome = pyctrigger.json("run", *arguments)

    assert (0, 2, 1) == (outcome.code, outcome.counts["compiled"], outcome.counts["fresh"])
    assert not_fresh(interpreter, sources_below(site)) == []
    assert verified(pyctrigger, arguments) == {}


def verified(command: Command, arguments: Sequence[Any]) -> dict[str, str]:
    """What `verify` finds: kinds by the stem of the pyc."""
    outcome = command.json("verify", *arguments)
    kinds = {os.path.basename(finding["pyc"]).split(".")[0]: finding["kind"] for finding in outcome.findings}
    assert outcome.code == bool(kinds)
    assert len(kinds) == len(outcome.findings)
    return kinds


def damages(header: int) -> dict[str, tuple[str, Any]]:
    """By name, the kind of finding and what was done to the bytes of a pyc with a header of this size."""
    fields = {
        "magic": ("foreign-magic", lambda data: b"\x01\x02\r\n" + data[4:]),
        "old_magic": ("foreign-magic", lambda data: struct.pack("<H", 3000) + data[2:]),
        "line_ends": ("foreign-magic", lambda data: data[:2] + b"\n\n" + data[4:]),
        "mtime": ("stale", lambda data: flip(data, header - 8)),
        "last_byte_of_mtime": ("stale", lambda data: flip(data, header - 5)),
        "size": ("stale", lambda data: flip(data, header - 4)),
        "last_byte_of_size": ("stale", lambda data: flip(data, header - 1)),
        "no_body": ("corrupt", lambda data: data[:header]),
        "half_a_header": ("corrupt", lambda data: data[: header // 2]),
        "nearly_a_header": ("corrupt", lambda data: data[: header - 1]),
        "one_byte": ("corrupt", lambda data: data[:1]),
        "nothing": ("corrupt", lambda data: b""),
    }
    if header == 16:
        fields["unchecked_flag"] = ("stale", lambda data: data[:4] + struct.pack("<I", 0b01) + data[8:])
        fields["checked_flag"] = ("stale", lambda data: data[:4] + struct.pack("<I", 0b11) + data[8:])
        fields["check_without_hash"] = ("corrupt", lambda data: data[:4] + struct.pack("<I", 0b10) + data[8:])
        fields["unknown_flag"] = ("corrupt", lambda data: data[:4] + struct.pack("<I", 0b100) + data[8:])
        fields["high_flag"] = ("corrupt", lambda data: flip(data, 7))
    return fields


def flip(data: bytes, position: int) -> bytes:
    """The same bytes, but for one bit."""
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


@pytest.mark.few_targets
def test_damage_is_named_and_mended(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Every field of the header, a header cut short, and a pyc that ends with its header.

    What is wrong about the times alone gets a new header, if its body is the recorded one.
    """
    damaged = damages(corpus.header_size(interpreter))
    write_tree(site, {f"{name}.py": "x = 1\n" for name in [*damaged, "gone", "whole"]})
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]
    pyctrigger.json("run", *arguments)
    before = snapshot(site)
    for pyc in pycs_below(site):
        name = os.path.basename(pyc).split(b".")[0].decode()
        if name in damaged:
            damage(pyc, damaged[name][1](read(pyc)))
        elif name == "gone":
            os.unlink(pyc)

    assert verified(pyctrigger, arguments) == {**{name: kind for name, (kind, _) in damaged.items()}, "gone": "missing"}
    outcome = pyctrigger.json("run", *arguments)

    assert (0, len(damaged) + 1 - 2, 2, 1) == (
        outcome.code,
        *(outcome.counts[name] for name in ("compiled", "refreshed", "fresh")),
    )
    assert not_fresh(interpreter, sources_below(site)) == []
    assert verified(pyctrigger, arguments) == {}
    after = snapshot(site)
    assert {path: facts[-1] for path, facts in before.items()} == {path: facts[-1] for path, facts in after.items()}
    whole = [path for path in before if b"whole" in path]
    assert [before[path] for path in whole] == [after[path] for path in whole]


def damage(pyc: bytes, data: bytes) -> None:
    """Other bytes in the same file."""
    with open(pyc, "r+b") as file:
        file.write(data)
        file.truncate()
