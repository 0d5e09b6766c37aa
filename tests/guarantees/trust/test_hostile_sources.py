"""Sources of any name, encoding, age and malice: each one is compiled or named with one kind, and costs only itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import corpus
from conftest import absent
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command, Outcome
    from interpreters import Interpreter

#: Stands in every bad source, in the line that is bad where it can. Nothing that pyctrigger says or keeps may hold it.
SECRET = "hunter2hunter2"

#: The contract's kinds of failure, less those that are no fact about a source.
KINDS = {"syntax", "encoding", "recursion", "memory", "timeout", "crash", "unmarshallable"}

NAMES = [
    *(b"byte-%c.py" % byte for byte in range(0x80, 0x100)),
    *(b"control-%c.py" % byte for byte in [*range(1, 0x20), 0x7F]),
    *(b"%c.py" % byte for byte in b" !\"#$%&'()*+,-:;<=>?@[\\]^`{|}~"),
    *(b"-rf.py", b"--root=.py", b"*.py", b"[a-z].py", b"resolv.py", b"$(id).py", b"%s%n.py", b"two words.py", b"..py"),
    *(b".hidden.py", b"x.cpython-311.py", b"x.opt-1.py", b"x.py.py", b"x.pyc.py", b"\xe2\x80\xae.py", b"\xc3\xa4.py"),
    *(b"\xed\xa0\x80.py", b"\xff\xfe.py", b"new\nline.py", b"tab\tand\rreturn.py", b"\x1b[31m.py"),
]
DIRECTORIES = [b"plain", b"-d", b"new\nline", b"\xff\xfe", b"* ?", b"__pycache__ ", b".git", b"name.py"]

PYTHON_2 = f"print '{SECRET}'\nexec 'x' in {{}}\nraise ValueError, '{SECRET}'\nx = 0777 <> 1L\n"
SOURCES = {
    "empty": b"",
    "blank": b"\n\n",
    "unfinished_line": b"x = 1",
    "carriage_returns": b"x = 1\rif x:\r    y = 2\r",
    "mark": b"\xef\xbb\xbfx = '\xc3\xa4'\n",
    "latin_1": b"# coding: latin-1\nx = '\xe4'\n",
    "latin_1_below": b"#!/usr/bin/python3\n# -*- coding: latin-1 -*-\nx = '\xe4'\n",
    "cp1252": b"# coding: cp1252\nx = '\x80'\n",
    "koi8": b"# vim: set fileencoding=koi8-r :\nx = '\xc1'\n",
    "form_feeds": b"\x0cx = 1\n\x0cif x:\n    y = 2\n",
    "escape": f"x = '\\{SECRET}'\n".encode(),
    "always_true": f"assert (1, '{SECRET}')\nx = 1 is {SECRET!r}\n".encode(),
    "no_utf8": f"x = '{SECRET}".encode() + b"\xe4'\n",
    "unknown_cookie": f"# coding: {SECRET}\nx = '{SECRET}'\n".encode(),
    "no_text_codec": f"# coding: rot13\nx = '{SECRET}'\n".encode(),
    "mark_against_cookie": b"\xef\xbb\xbf# coding: latin-1\n" + f"x = '{SECRET}'\n".encode(),
    "utf16": f"x = '{SECRET}'\n".encode("utf-16"),
    "utf16_without_mark": f"x = '{SECRET}'\n".encode("utf-16-be"),
    "utf32": f"x = '{SECRET}'\n".encode("utf-32"),
    "nul": f"x = '{SECRET}'\n\0".encode(),
    "nul_inside": b"x = 1\0" + f"{SECRET}\n".encode(),
    "only_nuls": b"\0" * 4096,
    "noise": bytes(range(256)) * 8 + SECRET.encode(),
    "python_2": PYTHON_2.encode(),
    "tabs": f"if 1:\n        x = 1\n\ty = '{SECRET}'\n".encode(),
    "indentation": f"if 1:\nx = '{SECRET}'\n".encode(),
    "unclosed": f"x = ('{SECRET}',\n".encode(),
    "unclosed_text": f"x = '''{SECRET}\n".encode(),
    "template": b"{% if x %}\nclass {{ " + SECRET.encode() + b" }}:\n",
    "return_outside": f"return '{SECRET}'\n".encode(),
    "global_after_use": f"def f():\n    x = '{SECRET}'\n    global x\n".encode(),
    "escape_cut_off": f"x = '{SECRET}\\N{{no such name}}'\n".encode(),
    "future": f"from __future__ import {SECRET}\n".encode(),
    "non_name": f"{SECRET} = \u2167\u00ac\n".encode(),
}


def nested_finally(depth: int) -> str:
    """A source whose bytecode, from 3.9 on, doubles with each level."""
    lines = [" " * level + "try: pass\n" + " " * level + "finally:\n" for level in range(depth)]
    return "".join(lines) + " " * depth + f"{SECRET} = 1\n"


#: What makes some compiler crash, recurse, run out of memory, or make what marshal refuses; no two of them agree.
MALICE = {
    "comprehensions": "x = " + "[" * 60 + SECRET + f" for {SECRET} in b]" * 60,
    "lambdas": "x = " + "lambda:" * 1100 + SECRET,
    "attributes": SECRET + ".b" * 100_000,
    "calls": SECRET + "()" * 50_000,
    "signs": "x = " + "-" * 100_000 + SECRET,
    "sums": "x = " + "+".join([SECRET] * 50_000),
    "parentheses": "x = " + "(" * 300 + SECRET + ")" * 300,
    "branches": f"if {SECRET}: pass\n" + f"elif {SECRET}: pass\n" * 20_000,
    "finally": nested_finally(19),
}
"""Sources by module name."""

CONFIGURATION = "[defaults]\nfile_timeout = {seconds}\nmemory_limit = '{memory}'\njobs = 2\n"


def failed(outcome: Outcome) -> dict[bytes, str]:
    """The kind of each failure, by the bytes of its path."""
    kinds = {}
    for failure in outcome.failures:
        path = bytes.fromhex(failure["path_hex"]) if "path_hex" in failure else failure["path"].encode()
        assert path not in kinds
        kinds[path] = failure["kind"]
    return kinds


def write_all(directory: Path, sources: dict[str, bytes]) -> None:
    """Write sources by module name, and a good one before and behind each, so that every worker meets some."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in sources.items():
        (directory / f"{name}.py").write_bytes(data)
        (directory / f"{name}_before.py").write_text("good = 1\n")
        (directory / f"{name}_zbehind.py").write_text("good = 2\n")


def assert_silent(secret: str, *places: str | Path) -> None:
    """Nothing said, and no file below these directories, holds the secret in any encoding."""
    forms = [secret.encode(), secret.encode("utf-16-le"), secret.encode("utf-16-be"), secret.encode().hex().encode()]
    for place in places:
        said = place.encode("utf-8", "surrogateescape") if isinstance(place, str) else everything_below(place)
        assert said
        assert [form for form in forms if form in said] == []


def everything_below(directory: Path) -> bytes:
    """The bytes of all files below a directory."""
    return b"\n".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


@pytest.mark.few_targets
def test_names(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Any bytes that a name can hold: compiled for that name, idle afterwards, and swept with its source alone."""
    top = os.fsencode(site)
    for directory in DIRECTORIES:
        os.mkdir(os.path.join(top, directory))
        for name in NAMES if directory == b"plain" else NAMES[::40]:
            with open(os.path.join(top, directory, name), "wb") as source:
                source.write(b"name = %a\n" % name)
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,2"]
    sources = sources_below(site)

    outcome = pyctrigger.json("run", *arguments)

    assert (0, len(sources), []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
    assert not_fresh(interpreter, sources) == not_fresh(interpreter, sources, 2) == []
    before = snapshot(site)
    assert pyctrigger.json("run", *arguments).counts["fresh"] == len(sources)
    assert snapshot(site) == before

    gone, kept = sources[::2], sources[1::2]
    for path in gone:
        os.unlink(path)
    swept = pyctrigger.text("run", *arguments, "--paths-from", "-", "--null", stdin=b"\0".join(gone))
    assert swept.code == 0
    ends = [os.fsencode(f".{tag_of(interpreter)}{level}.pyc") for level in ("", ".opt-2")]
    halves = [os.path.split(path) for path in kept]
    pycs = [os.path.join(top, b"__pycache__", name[:-3] + end) for top, name in halves for end in ends]
    assert sorted(pycs) == pycs_below(site)
    left = snapshot(site)
    assert [before[path] for path in pycs] == [left[path] for path in pycs]


def test_longest_name_that_importlib_can_use(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """A pyc's name may take all 255 bytes; a source whose pyc's would be longer is skipped, and no failure."""
    tag = f".cpython-{newest.version[0]}{newest.version[1]}.pyc"
    longest = site / ("a" * (255 - len(tag)) + ".py")
    too_long = [site / ("b" * (256 - len(tag)) + ".py"), site / ("c" * 252 + ".py"), site / ("ä" * 126 + ".py")]
    for source in (longest, *too_long):
        source.write_text("x = 1\n")

    outcome = pyctrigger.json("run", "--python", newest.path, "--site-dir", site)

    assert (0, 1, 3) == (outcome.code, outcome.counts["compiled"], outcome.counts["skipped"])
    assert not_fresh(newest, [os.fsencode(longest)]) == []
    (pyc,) = pycs_below(site)
    assert len(os.path.basename(pyc)) == 255


def test_contents(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Encodings, old Python and noise: compiled if py_compile does it, or else one failure that reveals nothing."""
    write_all(site, SOURCES)
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]
    sources = sources_below(site)
    refused = corpus.refused_by(interpreter, sources)

    outcome = pyctrigger.json("run", *arguments)

    kinds = failed(outcome)
    assert sorted(kinds) == refused
    assert len(kinds) > 15
    assert set(kinds.values()) == {"syntax", "encoding"}
    assert (1, len(sources) - len(refused)) == (outcome.code, outcome.counts["compiled"])
    assert not_fresh(interpreter, sorted(set(sources) - set(refused))) == []
    assert kinds[os.fsencode(site / "unknown_cookie.py")] == kinds[os.fsencode(site / "no_utf8.py")] == "encoding"
    assert kinds[os.fsencode(site / "python_2.py")] == kinds[os.fsencode(site / "unclosed.py")] == "syntax"
    assert_silent(SECRET, outcome.out + outcome.err, pyctrigger.state)


def test_nothing_that_is_said_tells_a_source(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Not even with -vv."""
    write_all(site, SOURCES)
    arguments = ["--python", newest.path, "--site-dir", str(site), "-vv"]

    first = pyctrigger.text("run", *arguments)
    others = [pyctrigger.text(verb, *arguments) for verb in ("run", "repair", "verify", "status")]

    assert f"{site}/global_after_use.py: syntax: line 3, SyntaxError\n" in first.err
    assert_silent(SECRET, *(outcome.out + outcome.err for outcome in [first, *others]), pyctrigger.state)


def test_failure_is_named_by_its_bytes(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """A name that isn't UTF-8 has U+FFFD, and its bytes in another key; people see escapes, on one line."""
    names = [b"bad\xff.py", b"bad\nline.py", b"bad\x1b[2J.py", b"b\xc3\xa4d.py"]
    for name in names:
        with open(os.path.join(os.fsencode(site), name), "wb") as source:
            source.write(b"def\n")
    arguments = ["--python", newest.path, "--site-dir", str(site), "--stateless"]

    outcome = pyctrigger.json("run", *arguments)
    lines = pyctrigger.text("run", *arguments).err.splitlines()

    assert sorted(failed(outcome)) == sorted(os.path.join(os.fsencode(site), name) for name in names)
    assert [failure["path"] for failure in outcome.failures if "path_hex" in failure] == [f"{site}/bad\ufffd.py"]
    shown = [rf"{site}/bad\n" + "line.py", rf"{site}/bad\x1b[2J.py", rf"{site}/bad\xff.py", f"{site}/bäd.py"]
    assert [f"{path}: syntax: line 1, SyntaxError" for path in shown] == sorted(lines)


MTIMES = {
    "long_ago": -(10**9) * 10**9,
    "before_1970": -1 * 10**9,
    "just_before_1970": -1,
    "zero": 0,
    "one_nanosecond": 1,
    "last_nanosecond": 1_500_000_000 * 10**9 + 999_999_999,
    "last_of_31_bits": 2**31 * 10**9 - 1,
    "past_31_bits": 2**31 * 10**9,
    "last_of_32_bits": 2**32 * 10**9 - 1,
    "past_32_bits": 2**32 * 10**9,
    "far_past_32_bits": (2**33 + 5) * 10**9 + 999_999_999,
}
"""Times of modification, in nanoseconds."""


@pytest.mark.few_targets
def test_times(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Any mtime that a file can have; what 3.6 never accepts bytecode for is skipped, and no failure."""
    kept = {}
    for name, mtime in MTIMES.items():
        source = site / f"{name}.py"
        source.write_text(f"x = {mtime}\n")
        os.utime(source, ns=(mtime, mtime))
        if source.stat().st_mtime_ns == mtime:  # ext4 with small inodes ends in 2038
            kept[os.fsencode(source)] = mtime
    assert len(kept) >= 6
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]

    outcome = pyctrigger.json("run", *arguments)

    beyond = {
        path for path, mtime in kept.items() if interpreter.version < (3, 7) and not 0 <= int(mtime / 10**9) < 2**32
    }
    assert (0, [], len(beyond)) == (outcome.code, outcome.failures, outcome.counts["skipped"])
    assert not_fresh(interpreter, sorted(kept.keys() - beyond)) == []
    before = snapshot(site)
    assert pyctrigger.json("run", *arguments).counts["compiled"] == 0
    assert snapshot(site) == before


def test_malice(pyctrigger: Command, site: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    """Whatever a source does to the compiler, it is compiled or named once, and all others are compiled."""
    write_all(site, {name: text.encode() for name, text in MALICE.items()})
    arguments = configured(tmp_path, interpreter, site, seconds=20, memory="256MiB")

    outcome = pyctrigger.json("run", *arguments)

    kinds = failed(outcome)
    assert outcome.code == 1
    assert set(kinds) <= {os.fsencode(site / f"{name}.py") for name in MALICE}
    assert set(kinds.values()) <= KINDS
    assert outcome.counts["compiled"] + len(kinds) == 3 * len(MALICE)
    assert not_fresh(interpreter, sorted(set(sources_below(site)) - set(kinds))) == []
    assert_silent(SECRET, outcome.out + outcome.err, pyctrigger.state)


def configured(tmp_path: Path, interpreter: Interpreter, site: Path, *, seconds: float, memory: str) -> list[str]:
    """Arguments for a run with these limits for each file."""
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text(CONFIGURATION.format(seconds=seconds, memory=memory))
    configuration.chmod(0o644)
    return ["--python", interpreter.path, "--site-dir", str(site), "--config", str(configuration)]


def assert_costs_itself_alone(
    command: Command, site: Path, interpreter: Interpreter, arguments: list[str], source: str, kind: str
) -> None:
    """One bad source among good ones: it fails with this kind, and the others have bytecode."""
    write_all(site, {"bad": source.encode()})
    write_all(site / "more", {f"good{number}": b"x = 1\n" for number in range(20)})

    outcome = command.json("run", *arguments)

    bad = os.fsencode(site / "bad.py")
    assert (1, {bad: kind}) == (outcome.code, failed(outcome))
    assert not_fresh(interpreter, [path for path in sources_below(site) if path != bad]) == []
    assert_silent(SECRET, outcome.out + outcome.err, command.state)


def from_version(interpreters: list[Interpreter], *wanted: tuple[int, int]) -> Interpreter:
    """The first CPython of one of these versions."""
    found = [each for each in interpreters if each.implementation == "cpython" and each.version[:2] in wanted]
    if found:
        return found[0]
    names = " or ".join(f"{major}.{minor}" for major, minor in wanted)
    return absent(f"no CPython {names}, on which this happens")


def test_crash(pyctrigger: Command, site: Path, interpreters: list[Interpreter], tmp_path: Path) -> None:
    """Nested comprehensions end 3.12 and 3.13 with a segmentation fault."""
    target = from_version(interpreters, (3, 12), (3, 13))
    arguments = configured(tmp_path, target, site, seconds=60, memory="2GiB")
    assert_costs_itself_alone(pyctrigger, site, target, arguments, MALICE["comprehensions"], "crash")


def test_timeout(pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path) -> None:
    """A compilation that would take for ever ends with its CPU time."""
    arguments = configured(tmp_path, newest, site, seconds=0.3, memory="8GiB")
    assert_costs_itself_alone(pyctrigger, site, newest, arguments, nested_finally(40), "timeout")


def test_memory(pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path) -> None:
    """A compilation that would take gigabytes ends with its limit."""
    arguments = configured(tmp_path, newest, site, seconds=60, memory="256MiB")
    assert_costs_itself_alone(pyctrigger, site, newest, arguments, nested_finally(19), "memory")


def test_unmarshallable(pyctrigger: Command, site: Path, interpreters: list[Interpreter], tmp_path: Path) -> None:
    """What compile() accepts and marshal refuses is the source's own failure, and remembered."""
    target = from_version(interpreters, *((3, minor) for minor in range(9, 16)))
    arguments = configured(tmp_path, target, site, seconds=60, memory="2GiB")
    assert_costs_itself_alone(pyctrigger, site, target, arguments, MALICE["lambdas"], "unmarshallable")
    again = pyctrigger.json("run", *arguments)
    assert (0, 1, []) == (again.code, again.counts["skipped"], again.failures)
