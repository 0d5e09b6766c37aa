"""`verify` reports what is wrong and changes nothing; `repair` fixes it, or says what it couldn't."""

from __future__ import annotations

import marshal
import os
import subprocess
from typing import TYPE_CHECKING, Callable

import pytest

from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

Damage = Callable[["Path"], None]

HEADER = 16


def _cut(size: int) -> Damage:
    return lambda pyc: os.truncate(pyc, size if size >= 0 else pyc.stat().st_size + size)


def _body(change: Callable[[bytes], bytes]) -> Damage:
    """Another body behind a header that stays fresh."""

    def damage(pyc: Path) -> None:
        content = pyc.read_bytes()
        pyc.write_bytes(content[:HEADER] + change(content[HEADER:]))

    return damage


def _replaced(make: Callable[[Path], None]) -> Damage:
    def damage(pyc: Path) -> None:
        pyc.unlink()
        make(pyc)

    return damage


#: What nothing but a new compilation can find: the header is right.
BODIES: dict[str, Damage] = {
    "one byte": _cut(HEADER + 1),
    "half": _body(lambda body: body[: len(body) // 2]),
    "last byte missing": _cut(-1),
    "zeroed": _body(lambda body: bytes(len(body))),
    "garbage": _body(lambda body: bytes(255 - byte for byte in body)),
    "one bit": _body(lambda body: body[:40] + bytes([body[40] ^ 4]) + body[41:]),
    "no code": _body(lambda body: marshal.dumps(("not", "code"))),
    "more behind it": _body(lambda body: body + b"more"),
}
#: What the header, or the kind of file, tells: the finding.
VISIBLE: dict[str, tuple[Damage, str]] = {
    "gone": (lambda pyc: pyc.unlink(), "missing"),
    "empty": (_cut(0), "corrupt"),
    "short header": (_cut(HEADER - 1), "corrupt"),
    "no body": (_cut(HEADER), "corrupt"),
    "bad flags": (lambda pyc: _patch(pyc, 4, b"\xff\xff\xff\xff"), "corrupt"),
    "foreign magic": (lambda pyc: _patch(pyc, 0, b"\x00\x01\r\n"), "foreign-magic"),
    "wrong time": (lambda pyc: _patch(pyc, 8, b"\x01\x02\x03\x04"), "stale"),
    "wrong size": (lambda pyc: _patch(pyc, 12, b"\x01\x02\x03\x04"), "stale"),
    "dangling link": (_replaced(lambda pyc: pyc.symlink_to("nowhere")), "obstructed"),
    "link to another": (_replaced(lambda pyc: pyc.symlink_to(min(pyc.parent.iterdir()).name)), "obstructed"),
    "fifo": (_replaced(os.mkfifo), "obstructed"),
}


def _patch(pyc: Path, offset: int, data: bytes) -> None:
    content = bytearray(pyc.read_bytes())
    content[offset : offset + len(data)] = data
    pyc.write_bytes(content)


@pytest.fixture
def package(site: Path) -> Path:
    return write_tree(
        site, {"package/__init__.py": "", "package/a.py": "a = 1\n", "package/z.py": "def z():\n  return 2\n"}
    )


def _pyc_of(site: Path, newest: Interpreter, module: str) -> Path:
    return site / f"package/__pycache__/{module}.cpython-{newest.version[0]}{newest.version[1]}.pyc"


@pytest.mark.parametrize("name", VISIBLE)
def test_what_a_header_tells_is_found_and_mended(
    pyctrigger: Command, package: Path, newest: Interpreter, name: str
) -> None:
    """One finding, exit 1, nothing changed; after a repair none, and the target takes everything."""
    damage, kind = VISIBLE[name]
    arguments = ["--python", newest.path, "--site-dir", str(package)]
    pyctrigger.json("run", *arguments)
    pyc = _pyc_of(package, newest, "z")
    damage(pyc)
    before = snapshot(package) if name != "fifo" else {}

    verified = pyctrigger.json("verify", *arguments)

    assert verified.code == 1
    assert [(found["kind"], found["pyc"]) for found in verified.findings] == [(kind, str(pyc))]
    assert pyctrigger.text("verify", *arguments).out.startswith(f"{kind}: {pyc} (")
    if before:
        assert snapshot(package) == before
    repaired = pyctrigger.json("repair", *arguments)
    assert (repaired.code, repaired.counts["compiled"], repaired.counts["fresh"]) == (0, 1, 2)
    assert (pyctrigger.json("verify", *arguments).code, not_fresh(newest, sources_below(package))) == (0, [])


@pytest.mark.parametrize("name", BODIES)
def test_a_damaged_body_behind_a_fresh_header_is_mended(
    pyctrigger: Command, package: Path, newest: Interpreter, name: str
) -> None:
    """The header doesn't show it; a repair compiles again, compares, and writes only what differs."""
    arguments = ["--python", newest.path, "--site-dir", str(package)]
    pyctrigger.json("run", *arguments)
    pyc = _pyc_of(package, newest, "z")
    whole, untouched = pyc.read_bytes(), _pyc_of(package, newest, "a").stat()
    BODIES[name](pyc)
    assert pyc.read_bytes() != whole

    repaired = pyctrigger.json("repair", *arguments)

    assert (repaired.code, repaired.counts["compiled"], repaired.counts["fresh"]) == (0, 1, 2)
    assert pyc.read_bytes() == whole
    assert _pyc_of(package, newest, "a").stat().st_ino == untouched.st_ino
    code = f"import sys; sys.path.insert(0, {str(package)!r}); import package.z; print(package.z.z())"
    child = subprocess.run([newest.path, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "2\n"


def test_orphans_and_residue_are_found_and_go(pyctrigger: Command, package: Path, newest: Interpreter) -> None:
    """Each is one finding with its own kind; the repair removes them."""
    arguments = ["--python", newest.path, "--site-dir", str(package)]
    installation = pyctrigger.json("run", *arguments).run["installation"]
    (package / "package/a.py").unlink()
    residue = _pyc_of(package, newest, "z").with_name(f".pyctrigger-{installation}-0123456789abcdef.tmp")
    residue.write_bytes(b"half of a py")

    findings = pyctrigger.json("verify", *arguments).findings

    assert [(found["kind"], found["pyc"]) for found in findings] == [
        ("residue", str(residue)),
        ("orphan", str(_pyc_of(package, newest, "a"))),
    ]
    assert pyctrigger.json("repair", *arguments).counts["removed"] == 2
    assert pyctrigger.json("verify", *arguments).code == 0


def test_an_obstructed_pycache_is_replaced_by_a_repair_only(
    pyctrigger: Command, package: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """`run` names it and leaves it; what a link led to is untouched by both."""
    victim = write_tree(tmp_path / "victim", {"file": "precious"})
    (package / "package/__pycache__").symlink_to(victim)
    arguments = ["--python", newest.path, "--site-dir", str(package)]

    run = pyctrigger.json("run", *arguments)
    assert (run.code, run.failures[0]["kind"]) == (1, "refused")
    assert [found["kind"] for found in pyctrigger.json("verify", *arguments).findings] == ["obstructed"]
    repaired = pyctrigger.json("repair", *arguments)

    assert (repaired.code, repaired.counts["compiled"]) == (0, 3)
    assert os.listdir(victim) == ["file"]
    assert pyctrigger.json("verify", *arguments).code == 0


def test_what_can_not_be_mended_is_said(pyctrigger: Command, package: Path, newest: Interpreter) -> None:
    """A directory with something in it has the name of a pyc: exit 1, the path and the reason."""
    arguments = ["--python", newest.path, "--site-dir", str(package)]
    pyctrigger.json("run", *arguments)
    pyc = _pyc_of(package, newest, "z")
    pyc.unlink()
    write_tree(pyc, {"somebody's": "file"})

    repaired = pyctrigger.json("repair", *arguments)

    assert repaired.code == 1
    assert [(failure["path"], failure["kind"]) for failure in repaired.failures] == [
        (str(package / "package/z.py"), "refused")
    ]
    assert (pyc / "somebody's").exists()


def test_a_known_source_is_no_reason_to_fail_twice(pyctrigger: Command, package: Path, newest: Interpreter) -> None:
    """Reported once by the run; afterwards `verify` and `repair` call it uncompilable and exit with 0."""
    write_tree(package, {"package/bad.py": "def\n"})
    arguments = ["--python", newest.path, "--site-dir", str(package)]

    first = pyctrigger.json("run", *arguments)

    assert (first.code, [failure["kind"] for failure in first.failures]) == (1, ["syntax"])
    assert "line 1" in first.failures[0]["message"]
    for verb in ("run", "verify", "repair", "run"):
        outcome = pyctrigger.json(verb, *arguments)
        assert (outcome.code, outcome.counts["skipped"], outcome.failures) == (0, 1, [])
        assert [found["kind"] for found in outcome.findings] == ["uncompilable"]


def test_nothing_right_is_written_again(pyctrigger: Command, package: Path, newest: Interpreter) -> None:
    """A repair of a whole tree changes no file."""
    arguments = ["--python", newest.path, "--site-dir", str(package), "--optimize", "0,1,2"]
    pyctrigger.json("run", *arguments)
    before = snapshot(package)

    repaired = pyctrigger.json("repair", *arguments)

    assert (repaired.code, repaired.counts["compiled"], repaired.counts["fresh"]) == (0, 0, 3)
    assert snapshot(package) == before
    assert len(pycs_below(package)) == 9
