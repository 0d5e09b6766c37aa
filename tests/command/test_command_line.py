"""The command as people, scripts and hooks meet it: its words, its object, its exit codes; and the library call."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pyctrigger as library
from children import public_directory
from command import heed_signals
from confinement import NOBODY, PATIENCE, SLOW, wait_for
from packages import pycs_below, snapshot, write_tree
from processes import children_of
from pyctrigger.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Argument, Command
    from interpreters import Interpreter as Found

VERBS = ["run", "repair", "verify", "sweep", "purge", "status"]
SUMMARY = r"py\w+: {} compiled, {} removed, {} failed in \d+\.\d\d s\n\Z"


@pytest.fixture
def scope(site: Path, newest: Found) -> list[Argument]:
    """Two packages, one of them with an orphan."""
    write_tree(site, {"one/__init__.py": "x = 1\n", "two/__init__.py": "x = 2\n", "two/gone.py": ""})
    return ["--python", newest.path, "--site-dir", site]


@pytest.fixture
def orphaned(pyctrigger: Command, scope: list[Argument], site: Path) -> list[Argument]:
    """The same with bytecode, one orphan, and one source that changed since."""
    assert pyctrigger.text("run", *scope).code == 0
    (site / "two/gone.py").unlink()
    (site / "one/__init__.py").write_text("x = 11\n")
    os.utime(site / "one/__init__.py", (1, 1))
    return scope


def pyc(site: Path, package: str, module: str, scope: list[Argument]) -> str:
    """The path of a pyc."""
    name = os.path.basename(str(scope[1]))
    tag = "cpython-" + name.replace("python", "").replace(".", "").rstrip("t")
    return f"{site}/{package}/__pycache__/{module}.{tag}.pyc"


# ------------------------------------------------------------------------------------------------------------- words


def test_one_line_says_what_was_done(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """For each flavour: compiled, removed, failed, and how long it took."""
    first = pyctrigger.text("run", *scope)
    assert re.match(SUMMARY.format(3, 0, 0), first.out), first.out
    (site / "two/gone.py").unlink()
    (site / "bad.py").write_text("x = (\n")
    second = pyctrigger.text("run", *scope)
    summary, help_ = second.out.splitlines(keepends=True)
    assert re.match(SUMMARY.format(0, 1, 1), summary), second.out
    assert help_.startswith("hint: syntax: tell the maintainers of the source, or exclude the source: --exclude GLOB")
    assert re.fullmatch(rf"{site}/bad\.py: syntax: line \d, SyntaxError\n", second.err)
    third = pyctrigger.text("run", *scope)
    assert re.match(r"py\w+: nothing to do, 2 fresh, 1 skipped in \d+\.\d\d s\n\Z", third.out)
    assert third.err == ""
    (site / "bad.py").write_text("x = [\n")
    document = pyctrigger.json("run", *scope).document
    assert document["hints"] == {"syntax": help_.rstrip().partition("syntax: ")[2]}


def test_a_source_that_is_refused_can_be_excluded(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """A link that leads out, such as Debian's sitecustomize.py, fails no run once it is named."""
    (site / "link.py").symlink_to("/etc/hostname")
    assert pyctrigger.text("run", "--dry-run", *scope).code == 1
    outcome = pyctrigger.text("run", "-vv", "--exclude", "*/link.py", *scope)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"skipped {site}/link.py (excluded)" in outcome.out.splitlines()


def test_more_words_name_what_was_written_and_removed(
    pyctrigger: Command, orphaned: list[Argument], site: Path
) -> None:
    """Each file that was compiled or removed; the second time round also why, and what was left out."""
    (site / "data").mkdir()
    (site / "data/skip.py").write_text("")
    outcome = pyctrigger.text("run", "-vv", "--exclude", "*/data/*", *orphaned)
    lines = outcome.out.splitlines()
    assert sorted(lines[:-1]) == sorted(
        [
            f"compiled {site}/one/__init__.py (stale: its source has another mtime)",
            f"removed {pyc(site, 'two', 'gone', orphaned)} (orphan: its source is gone)",
            f"skipped {site}/data/skip.py (excluded)",
        ]
    )
    assert outcome.err == ""
    (site / "two/__init__.py").unlink()
    (site / "one/__init__.py").write_text("x = 111\n")
    outcome = pyctrigger.text("run", "-v", "--exclude", "*/data/*", *orphaned)
    assert outcome.out.splitlines()[:-1] == [
        f"removed {pyc(site, 'two', '__init__', orphaned)}",
        f"removed {site}/two/__pycache__",
        f"removed {site}/two",
        f"compiled {site}/one/__init__.py",
    ]


def test_fewer_words(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Failures only, and they go to standard error."""
    (site / "bad.py").write_text("x = (\n")
    outcome = pyctrigger.text("run", "-q", *scope)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"{site}/bad.py: syntax: line ")
    assert pyctrigger.text("run", "--quiet", *scope, "--optimize", "1").out == ""


def test_secret_of_a_source_is_never_told(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """A SyntaxError quotes its line, and so does a SyntaxWarning; neither is printed."""
    write_tree(
        site,
        {
            "bad.py": "password = 'hunter2' = 'hunter2'\n",
            "warns.py": "password = 'hunter2\\d'; assert ('hunter2', 1); 'hunter2' is 5\n",
            "bytes.py": "# coding: hunter2\n",
        },
    )
    for options in (["-vv"], ["--json", "-vv"], ["--hook", "-vv"]):
        for verb in ("run", "verify", "run"):
            if verb == "verify" and "--hook" in options:
                continue
            outcome = pyctrigger.text(verb, *options, *scope, "--stateless")
            assert "hunter2" not in outcome.out + outcome.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_last_line_of_numbers(pyctrigger: Command, orphaned: list[Argument], verb: str) -> None:
    """With its flavour in front."""
    outcome = pyctrigger.text(verb, *orphaned)
    assert outcome.code == (1 if verb == "verify" else 0)
    last = {
        "run": r"py\w+: 1 compiled, 1 removed, 0 failed in \d+\.\d\d s",
        "repair": r"py\w+: 1 compiled, 1 removed, 0 failed in \d+\.\d\d s",
        "verify": r"py\w+: 2 findings, 1 fresh in \d+\.\d\d s",
        "sweep": r"py\w+: 1 removed, 0 directories, 0 failed in \d+\.\d\d s",
        "purge": r"py\w+: 3 removed, 2 directories, 0 failed in \d+\.\d\d s",
        "status": r"py\w+: installation \S+, site directories \S+",
    }[verb]
    assert re.fullmatch(last, outcome.out.splitlines()[-1])


def test_verify_names_each_finding(pyctrigger: Command, orphaned: list[Argument], site: Path) -> None:
    """One a line, kind, path and reason."""
    lines = pyctrigger.text("verify", *orphaned).out.splitlines()
    assert lines[:-1] == [
        f"stale: {pyc(site, 'one', '__init__', orphaned)} (its source has another mtime)",
        f"orphan: {pyc(site, 'two', 'gone', orphaned)} (its source is gone)",
    ]


def test_status_is_a_table(pyctrigger: Command, orphaned: list[Argument], site: Path, newest: Found) -> None:
    """Of what an operator asks."""
    out = pyctrigger.text("status", *orphaned).out
    rows = dict(re.findall(r"^ *(\w+(?: \w+)?)  +(.*)$", out, re.MULTILINE))
    found = out.splitlines()[1].split()
    assert (found[:2], found[-1]) == ([newest.flavour, newest.release], newest.path)
    assert out.splitlines()[-1].endswith(f", site directories {site}")
    expected = {"sources": "2", "fresh": "1", "stale": "1", "orphans": "1", "lock": "free"}
    assert {name: rows[name] for name in expected} == expected
    rows = dict(re.findall(r"^ *(\w+(?: \w+)?)  +(.*)$", pyctrigger.text("status", "-v", *orphaned).out, re.MULTILINE))
    zeros = ("missing", "corrupt", "uncompilable", "residue", "unreadable", "unwanted", "pending", "parked")
    assert {name: rows[name] for name in zeros} == dict.fromkeys(zeros, "0")


def test_names_can_not_break_a_line_or_a_terminal(pyctrigger: Command, site: Path, newest: Found) -> None:
    """Newlines, escapes and bytes that aren't UTF-8 are escaped wherever a name is printed."""
    evil = os.fsdecode(b"a\nb\x1b[31m\xff\xc3\xa9")
    safe = r"a\nb\x1b[31m\xffé"
    write_tree(site, {f"{evil}/bad.py": "x = (\n", f"{evil}/good.py": ""})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    config = site.parent / f"{evil}.toml"
    config.write_text("jobs = 1")
    outcomes = {
        "run": pyctrigger.text("run", "-v", *scope, "--stateless"),
        "hook": pyctrigger.text("run", "--hook", "-v", *scope, site.parent / evil / "outside"),
        "outside": pyctrigger.text("run", *scope, site.parent / evil / "outside"),
        "dry": pyctrigger.text("run", "--dry-run", *scope, "--optimize", "1"),
        "verify": pyctrigger.text("verify", *scope, "--optimize", "1"),
        "site": pyctrigger.text("run", "--site-dir", site.parent / evil, *scope),
        "python": pyctrigger.text("run", "--python", site.parent / evil),
        "version": pyctrigger.text("run", "--python", evil),
        "config": pyctrigger.text("run", "--config", config),
        "gone": pyctrigger.text("run", "--config", site / evil / evil),
        "list": pyctrigger.text("run", "--paths-from", site / evil / evil),
        "option": pyctrigger.text("run", f"--{evil}"),
        "verb": pyctrigger.text(evil),
        "status": pyctrigger.text("status", "--python", newest.path, "--site-dir", site / evil),
    }
    assert {name: outcome.code for name, outcome in outcomes.items()} == {
        "run": 1, "hook": 0, "outside": 2, "dry": 0, "verify": 1, "site": 2, "python": 69, "version": 2, "config": 2,
        "gone": 2, "list": 2, "option": 2, "verb": 2, "status": 0,
    }  # fmt: skip
    for name, outcome in outcomes.items():
        said = outcome.out + outcome.err
        assert "\x1b" not in said, name
        assert safe in said or safe.replace("\\", "\\\\") in said or name == "verb", name
        assert all(line.count(r"b\x1b[31m") == line.count(r"a\nb\x1b[31m") for line in said.splitlines()), name


# ------------------------------------------------------------------------------------------------------- one object

TOP = {"schema", "command", "version", "exit_code", "outcome", "dry_run", "errors", "runs"}
RUN = {"flavour", "installation", "outcome", "interpreter", "counts", "failures", "findings", "actions"}
RUN.add("elapsed_seconds")
INTERPRETER = {"executable", "implementation", "version", "cache_tag", "magic_number"}
COUNTS = {"compiled", "stored", "refreshed", "fresh", "failed", "skipped", "removed", "removed_directories"}


def check_document(document: dict[str, Any], verb: str, code: int) -> None:
    """The contract's object; it may have more keys, and none may be missing or mean something else."""
    assert set(document) >= TOP
    assert (document["schema"], document["command"], document["version"]) == (1, verb, VERSION)
    assert document["exit_code"] == code
    assert type(document["dry_run"]) is bool
    for error in document["errors"]:
        assert set(error) >= {"code", "message"}
        assert (type(error["code"]), type(error["message"])) == (int, str)
    for run in document["runs"]:
        assert set(run) >= RUN
        assert set(run["interpreter"]) == INTERPRETER
        assert set(run["counts"]) == COUNTS
        assert all(type(count) is int for count in run["counts"].values())
        assert all(set(failure) == {"path", "kind", "message"} for failure in run["failures"])
        assert all(set(finding) == {"kind", "pyc", "source", "reason", "known"} for finding in run["findings"])
        assert type(run["elapsed_seconds"]) is float


def deep(site: Path) -> None:
    """More directories below each other than any package has."""
    path = site
    for _ in range(205):
        path = path / "d"
        path.mkdir()


@pytest.mark.parametrize("verb", VERBS)
def test_object_has_the_keys_of_the_contract(
    pyctrigger: Command, orphaned: list[Argument], site: Path, verb: str
) -> None:
    """For every command, done or failed."""
    (site / "bad.py").write_text("x = (\n")
    outcome = pyctrigger.json(verb, *orphaned)
    expected = {"run": 1, "repair": 1, "verify": 1}.get(verb, 0)
    assert outcome.code == expected
    check_document(outcome.document, verb, expected)
    assert outcome.run["flavour"] in str(outcome.run["interpreter"]) or outcome.run["flavour"].startswith("py3")
    assert outcome.out.count("\n") == 1


def test_object_stands_alone_on_standard_output(pyctrigger: Command, orphaned: list[Argument]) -> None:
    """Whatever else is printed."""
    outcome = pyctrigger.text("run", "--json", "-vv", *orphaned)
    check_document(json.loads(outcome.out), "run", 0)
    assert "compiled " in outcome.err


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["--config", "/nonexistent"]),
        (2, ["/outside"]),
        (2, ["--paths-from", "/nonexistent"]),
        (2, ["--null"]),
        (2, ["--pycache-prefix", "relative"]),
        (2, ["--python", "nonsense"]),
        (2, ["--site-dir", "/nonexistent"]),
        (2, ["--root", "/nonexistent"]),
        (69, ["--python", "3.99"]),
        (69, ["--python", "/nonexistent"]),
    ],
)
def test_object_on_every_exit(pyctrigger: Command, scope: list[Argument], code: int, arguments: list[str]) -> None:
    """Once the arguments parse."""
    outcome = pyctrigger.json("run", *scope, *arguments)
    assert outcome.code == code
    check_document(outcome.document, "run", code)
    assert max(error["code"] for error in outcome.document["errors"]) == code
    hook = pyctrigger.json("run", "--hook", *scope, *arguments)
    assert hook.code == 0
    assert hook.document["exit_code"] == (0 if arguments == ["/outside"] else code)


def test_object_where_root_refuses(as_root: None, pyctrigger: Command, scope: list[Argument]) -> None:
    """Exit 77."""
    with public_directory() as public:
        config = public / "config.toml"
        config.touch()
        os.chown(config, NOBODY, NOBODY)
        outcome = pyctrigger.json("run", *scope, "--config", config)
        assert outcome.code == 77
        check_document(outcome.document, "run", 77)


def test_object_where_not_everything_could_be_examined(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Exit 3, for what is deeper than any package is."""
    deep(site)
    for verb in ("run", "verify"):
        outcome = pyctrigger.json(verb, *scope)
        assert outcome.code == 3
        check_document(outcome.document, verb, 3)


def test_highest_code_of_all_flavours_counts(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """A missing interpreter is worse than a source that doesn't compile."""
    (site / "bad.py").write_text("x = (\n")
    outcome = pyctrigger.json("run", *scope, "--python", "3.99")
    assert (outcome.code, len(outcome.document["runs"]), len(outcome.failures)) == (69, 1, 1)
    both = pyctrigger.json("run", "--python", "nonsense", "--python", "3.99")
    assert (both.code, [error["code"] for error in both.document["errors"]]) == (69, [2, 69])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_object_is_readable_in_any_locale(pyctrigger: Command, site: Path, newest: Found, encoding: str) -> None:
    """A path that isn't UTF-8 has U+FFFD in its place and its bytes beside it; no locale makes the object another."""
    names = ["é.py", "\U0001f40d.py", os.fsdecode(b"\xff.py"), "a\nb.py"]
    write_tree(site, dict.fromkeys(names, "x = (\n"))
    child = subprocess.run(
        pyctrigger.command_line("run", ["--json", "--python", newest.path, "--site-dir", site]),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert child.returncode == 1
    document = json.loads(child.stdout.decode(encoding))
    paths = {failure["path"]: failure.get("path_hex") for failure in document["runs"][0]["failures"]}
    assert paths == {
        f"{site}/é.py": None,
        f"{site}/\U0001f40d.py": None,
        f"{site}/\ufffd.py": os.fsencode(f"{site}/").hex() + "ff2e7079",
        f"{site}/a\nb.py": None,
    }


def test_paths_of_findings_have_their_bytes_beside_them(pyctrigger: Command, site: Path, newest: Found) -> None:
    """As those of failures do; status, too, is text that any program can read."""
    bad = site / os.fsdecode(b"\xff")
    write_tree(bad, {"module.py": ""})
    (finding,) = pyctrigger.json("verify", "--python", newest.path, "--site-dir", site).findings
    assert finding["kind"] == "missing"
    assert bytes.fromhex(finding["source_hex"]) == os.fsencode(bad / "module.py")
    assert bytes.fromhex(finding["pyc_hex"]).startswith(os.fsencode(bad / "__pycache__"))
    assert finding["source"] == f"{site}/\ufffd/module.py"
    status = pyctrigger.json("status", "--python", newest.path, "--site-dir", bad)
    assert status.run["status"]["site_directories"] == [f"{site}/\ufffd"]


# ------------------------------------------------------------------------------------------------------ only looking


def everything(*places: Path) -> dict[str, Any]:
    """All that is below some places, and those that aren't there."""
    return {str(place): snapshot(place) if place.exists() else None for place in places}


@pytest.mark.parametrize("verb", ["run", "repair", "sweep", "purge"])
def test_dry_run_says_what_the_real_run_does(
    pyctrigger: Command, orphaned: list[Argument], site: Path, verb: str
) -> None:
    """And writes nothing at all, in the tree and beside it."""
    (site / "two/__init__.py").unlink()
    before = everything(site, pyctrigger.state)

    text = pyctrigger.text(verb, "--dry-run", *orphaned)
    outcome = pyctrigger.json(verb, "--dry-run", *orphaned)

    assert everything(site, pyctrigger.state) == before
    assert (outcome.code, outcome.document["dry_run"], outcome.counts["removed"]) == (0, True, 0)
    actions = outcome.run["actions"]
    lines = text.out.splitlines()[3 if verb == "purge" else 0 :]  # below the table of what goes
    assert re.fullmatch(rf"py\w+: {len(actions)} to do, nothing was done", lines[-1])
    assert len(lines) == len(actions) + 1
    for line, action in zip(lines, actions):
        levels = " at level 0" if "levels" in action else ""
        reason = "" if verb == "purge" and action["reason"] == "pyc" else f" ({action['reason']})"
        assert line == f"would {action['action']}{levels} {action['path']}{reason}"

    done = pyctrigger.json(verb, *orphaned)
    kinds = [action["action"] for action in actions]
    assert kinds.count("remove") == done.counts["removed"] > 0
    assert kinds.count("remove-directory") == done.counts["removed_directories"] > 0
    if verb != "repair":  # which looks at everything, and finds most of it good
        assert kinds.count("compile") == done.counts["compiled"]
    assert [
        action["path"] for action in actions if action["action"] != "compile" and os.path.lexists(action["path"])
    ] == []
    assert done.run["actions"] == []


def test_dry_run_makes_no_state(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Where there was none; it lists the levels that a source lacks."""
    before = everything(site)
    outcome = pyctrigger.json("run", "--dry-run", *scope)
    assert (outcome.code, [each["action"] for each in outcome.run["actions"]]) == (0, ["compile"] * 3)
    assert pyctrigger.json("run", "--dry-run", *scope, "--optimize", "0,2").run["actions"][0] == {
        "action": "compile",
        "path": f"{site}/one/__init__.py",
        "reason": "missing",
        "levels": [0, 2],
    }
    assert everything(site) == before
    assert not pyctrigger.state.exists()


# ----------------------------------------------------------------------------------------------------------- the call


def test_version(pyctrigger: Command) -> None:
    """Of the program, of the module and of the package."""
    for arguments in (["--version"], ["-I", "-c", "from pyctrigger.cli import main; main(['--version'])"]):
        program = pyctrigger.program if arguments == ["--version"] else [sys.executable]
        child = subprocess.run([*program, *arguments], capture_output=True, timeout=60, check=False)
        if b"No module named" in child.stderr:
            continue  # not installed, only on PYTHONPATH
        assert (child.returncode, child.stdout.decode(), child.stderr) == (0, f"pyctrigger {VERSION}\n", b"")
    assert library.__version__ == VERSION


_WRITERS, _COMPILERS = {"run", "repair", "sweep", "purge"}, {"run", "repair"}
_COMPARING = {*_COMPILERS, "verify", "status", "explain"}
_REQUESTS = {*_WRITERS, *_COMPARING, "which"}
#: The verbs that take each of the contract's common options.
COMMON = {
    **dict.fromkeys(("--python", "--root", "--site-dir", "--prefix", "--stdlib", "--pycache-prefix"), _REQUESTS),
    **dict.fromkeys(("--state-dir", "--stateless", "--config", "--paths-from", "--null", "--json", "-v"), _REQUESTS),
    "--optimize": _REQUESTS - {"which"},
    **dict.fromkeys(("--invalidation-mode", "--source-date-epoch", "--exclude"), _COMPARING),
    "--jobs": {*_COMPILERS, "status"},
    **dict.fromkeys(("--lock-timeout", "--dry-run"), _WRITERS),
    **dict.fromkeys(("--event", "--manager", "--hook", "--defer", "--proof"), frozenset({"run"})),
    **dict.fromkeys(("--cache-tag", "--all", "--keep-system"), frozenset({"purge"})),
    "--compare-code": {"verify"},
}


@pytest.mark.parametrize("verb", sorted(_REQUESTS))
def test_help_names_the_options_that_a_verb_can_use(pyctrigger: Command, verb: str) -> None:
    """And no other of the contract's."""
    child = subprocess.run([*pyctrigger.program, verb, "--help"], capture_output=True, timeout=60, check=False)

    options = set(re.findall(r"^  (--?[a-z][a-z-]*)", child.stdout.decode(), re.MULTILINE))

    assert {name for name, takers in COMMON.items() if verb in takers} == options & COMMON.keys()


BAD: list[tuple[list[str], str]] = [
    ([], "no command; try pyctrigger doctor, or see pyctrigger --help"),
    (["--json"], "no command; try pyctrigger doctor, or see pyctrigger --help"),
    (["version"], "no such command: version (did you mean --version?); see pyctrigger --help"),
    (["hooks"], "hooks needs one of these: list, render, install or uninstall; see pyctrigger hooks --help"),
    (["completion"], "completion needs one of these: bash, zsh or fish; see pyctrigger completion --help"),
    (["compile"], "no such command: compile (did you mean run?); see pyctrigger --help"),
    ([""], "no such command: ''; see pyctrigger --help"),
    (["--jsn", "status"], "no such option: --jsn (did you mean --json?); see pyctrigger --help"),
    (["run", "--no-such"], "run has no option --no-such; see pyctrigger run --help"),
    (["run", "--pyth", "3.11"], "run has no option --pyth (did you mean --python?); see pyctrigger run --help"),
    (["run", "--python"], "--python: expected one argument"),
    (
        ["run", "--event", "explode"],
        "--event: 'explode': use install, upgrade, remove, configure or unknown; see pyctrigger run --help",
    ),
    (
        ["run", "--manager", "brew"],
        "--manager: 'brew': use pkg, dpkg, rpm, pacman or apk; see pyctrigger run --help",
    ),
    (["run", "--optimize", "3"], "--optimize: '3': use levels from 0 to 2, such as 0,1,2"),
    (["run", "--optimize", ""], "--optimize: its value is empty; see pyctrigger run --help"),
    (
        ["run", "--invalidation-mode", "x"],
        "--invalidation-mode: 'x': use timestamp, checked-hash or unchecked-hash",
    ),
    (["run", "--source-date-epoch", "-1"], "--source-date-epoch: "),
    (
        ["run", "--source-date-epoch", "\u0663"],
        "--source-date-epoch: '\u0663': use a whole number of seconds since 1970, 0 or more",
    ),
    (["run", "--jobs", "-1"], "--jobs: "),
    (["run", "--jobs", "5000"], "--jobs: '5000': use a number from 0 to 4096"),
    (["run", "--jobs", "9" * 5000], "--jobs: "),
    (["run", "--lock-timeout", "nan"], "--lock-timeout: 'nan': use a number of seconds"),
    (["run", "--lock-timeout", "soon"], "--lock-timeout: 'soon': use a number of seconds"),
    (["verify", "--hook"], "verify takes no --hook (run can use it); see pyctrigger verify --help"),
    (["sweep", "--jobs=4"], "sweep takes no --jobs (run, repair, status and audit can use it); see pyctrigger sweep"),
    (["which", "--source-date-epoch", "1", "x"], "which takes no --source-date-epoch (run, repair, "),
    (["purge", "--all", "--python", "3.11"], "--all and --python contradict each other; leave one of them out"),
    (["status", "--check", "--stdlib"], "--check and --stdlib contradict each other; leave one of them out"),
    (["purge"], "purge needs --python V, --cache-tag TAG or --all; name what to remove"),
    (["purge", "--cache-tag", "../x"], "--cache-tag ../x: not known; use a tag such as cpython-311 or pypy311"),
    (
        ["run", "--stateless", "--state-dir", "/x"],
        "--stateless and --state-dir contradict each other; leave one of them out",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments)[:40] for arguments, _ in BAD])
def test_wrong_usage(pyctrigger: Command, arguments: list[str], message: str) -> None:
    """Exit 2, one line, nothing else; a hook prints the same and what makes up for it, and continues."""
    child = subprocess.run([*pyctrigger.program, *arguments], capture_output=True, timeout=60, check=False)
    expected = 0 if "--hook" in arguments else 2
    assert (child.returncode, child.stdout) == (expected, b"")
    assert child.stderr.decode().startswith(f"pyctrigger: {message}")
    assert child.stderr.count(b"\n") == 1
    if arguments[:1] == ["run"]:
        hook = subprocess.run(
            [*pyctrigger.program, "run", "--hook", *arguments[1:]], capture_output=True, timeout=60, check=False
        )
        said, back, _ = hook.stderr.partition(b"; the work of this transaction was not done; ")
        assert (hook.returncode, hook.stdout, said + b"\n", bool(back)) == (0, b"", child.stderr, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--python", "nonsense"],
        ["--python", "3.99"],
        ["--python", "/nonexistent"],
        ["--config", "/nonexistent"],
        ["--config", "/dev/null", "--root", "/nonexistent"],
        ["--site-dir", "/nonexistent"],
        ["--no-such-option"],
        ["--state-dir", "/dev/null/x", "--python", "3.99"],
    ],
    ids=" ".join,
)
def test_hook_never_fails_its_transaction(pyctrigger: Command, arguments: list[str]) -> None:
    """Exit 0 whatever happens, nothing on standard output, and a message on standard error."""
    outcome = pyctrigger.text("run", "--hook", *arguments)
    assert (outcome.code, outcome.out) == (0, "")
    assert "pyctrigger: " in outcome.err
    assert "Traceback" not in outcome.err


def test_hook_with_a_failing_source(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Says what failed, on standard error, and its line as well."""
    (site / "bad.py").write_text("x = (\n")
    outcome = pyctrigger.text("run", "--hook", *scope)
    assert (outcome.code, outcome.out) == (0, "")
    first, second = outcome.err.splitlines()
    assert first.startswith(f"{site}/bad.py: syntax: line ")
    assert re.match(SUMMARY.format(3, 0, 1), second + "\n")


# ------------------------------------------------------------------------------------------- nobody there to listen


def shell(
    pyctrigger: Command, verb: str, scope: list[Argument], redirection: str
) -> subprocess.CompletedProcess[bytes]:
    """Run it from a shell that does something to its streams."""
    line = pyctrigger.command_line(verb, scope)
    if verb == "--help":
        line = line[: len(pyctrigger.program) + 1]
    return subprocess.run(
        [b"sh", b"-c", b'exec "$@" ' + os.fsencode(redirection), b"sh", *line],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "</dev/null >/dev/null 2>&1"])
@pytest.mark.parametrize("options", [[], ["--json"], ["-vv"], ["--hook", "-v"]], ids=" ".join)
def test_closed_streams_change_nothing(
    pyctrigger: Command, scope: list[Argument], site: Path, redirection: str, options: list[str]
) -> None:
    """A descriptor that the caller closed isn't given to a file of ours, nor to a worker."""
    (site / "bad.py").write_text("x = (\n")
    child = shell(pyctrigger, "run", [*options, *scope], redirection)
    is_lost = ">&-" in redirection.split()
    assert child.returncode == (0 if "--hook" in options else 74 if is_lost else 1), child.stderr.decode()
    assert len(pycs_below(site)) == 3
    assert b"Traceback" not in child.stdout + child.stderr
    assert b"Error" not in child.stderr.replace(b"SyntaxError", b"")
    for path in pyctrigger.state.rglob("*"):
        said = b"" if path.is_dir() else path.read_bytes()
        assert b" compiled," not in said
        assert b'"schema"' not in said


def test_closed_standard_input_is_no_empty_list(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Asking for a list without giving one is an error."""
    child = shell(pyctrigger, "run", [*scope, "--paths-from", "-"], "<&-")
    assert (child.returncode, child.stdout) == (2, b"")
    assert child.stderr == b"pyctrigger: --paths-from -: Bad file descriptor; name a readable file, or -\n"


@pytest.mark.parametrize("options", [["-v"], ["-v", "--json"], ["--dry-run"], ["-q"]], ids=" ".join)
def test_reader_that_leaves_stops_no_work(pyctrigger: Command, site: Path, newest: Found, options: list[str]) -> None:
    """`| head -1` is about the words, not about the work; and the exit code is the work's."""
    write_tree(site, {f"package{number:03}/{'n' * 40}/bad.py": "" for number in range(300)})
    (site / "bad.py").write_text("x = (\n")
    child = subprocess.Popen(
        pyctrigger.command_line("run", [*options, "--python", newest.path, "--site-dir", site]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdout
    child.stdout.close()
    try:
        code = child.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
    if "--dry-run" in options:
        assert (code, len(pycs_below(site))) == (0, 0)
    else:
        assert (code, len(pycs_below(site))) == (1, 300)


_FULL = pytest.param(">/dev/full", b"No space left on device", id="full disk")
_CLOSED = pytest.param(">&-", b"Bad file descriptor", id="closed")


@pytest.mark.parametrize(("redirection", "reason"), [_FULL, _CLOSED])
@pytest.mark.parametrize(
    "answer",
    [
        "run",
        "run -v",
        "run --json",
        "verify --json",
        "status --check",
        "completion bash",
        "hooks list --json",
        "--help",
    ],
)
def test_output_that_cannot_be_written_is_no_success(
    pyctrigger: Command, scope: list[Argument], site: Path, answer: str, redirection: str, reason: bytes
) -> None:
    """Whatever is printed: the work is done, one line says what is lost, and the exit code is 74."""
    if "/dev/full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full, which Linux has")
    verb, *options = answer.split()
    elsewhere: dict[str, list[Argument]] = {"completion": [], "hooks": ["--root", site], "--help": []}
    about = elsewhere.get(verb, scope)
    if verb == "status":
        pyctrigger.text("run", *scope)
        about = []
    child = shell(pyctrigger, verb, [*options, *about], redirection)
    lost = b"pyctrigger: can't write to standard output: " + reason
    hint = b"redirect the output to a file" if ">&-" in redirection else b"free some space, or redirect the output"
    assert [lost + b"; " + hint] == child.stderr.splitlines()
    assert (child.returncode, len(pycs_below(site))) == (74, 3 if verb in ("run", "status") else 0)


@pytest.mark.parametrize("redirection", [_FULL.values[0], _CLOSED.values[0]])
@pytest.mark.parametrize(("call", "code"), [("run -q", 0), ("verify -q", 1), ("run --nonsense", 2)])
def test_who_says_nothing_loses_no_output(
    pyctrigger: Command, scope: list[Argument], redirection: str, call: str, code: int
) -> None:
    """Even writing nothing fails there, and is not to be tried: the exit code is the work's."""
    if "/dev/full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full, which Linux has")
    verb, *options = call.split()
    child = shell(pyctrigger, verb, [*options, *scope], redirection)
    assert (code, False) == (child.returncode, b"standard output" in child.stderr)


@pytest.mark.parametrize("answer", ["run -v", "verify --json", "--help"])
def test_reader_that_has_read_enough_is_no_failure(
    pyctrigger: Command, scope: list[Argument], site: Path, answer: str
) -> None:
    """As `| head -1` is to other tools: quiet, and the exit code is the work's."""
    verb, *options = answer.split()
    line = [*pyctrigger.program, verb] if verb == "--help" else pyctrigger.command_line(verb, [*options, *scope])
    reading, writing = os.pipe()
    os.close(reading)
    child = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    os.close(writing)
    assert (child.returncode, child.stderr) == (1 if verb == "verify" else 0, b"")


def test_lost_output_of_a_hook_is_no_failure(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Exit 0 whatever happens, and the same line."""
    child = shell(pyctrigger, "run", ["--hook", "--json", *scope], ">&-")
    assert (child.returncode, len(pycs_below(site))) == (0, 3)
    assert b"can't write to standard output" in child.stderr


# ------------------------------------------------------------------------------------------------- defects and Ctrl-C

_DEFECTIVE = """
import sys
import pyctrigger.cli, pyctrigger.run.trigger
def perform(request, observer):
    raise {error}
pyctrigger.run.trigger.perform = perform
sys.exit(pyctrigger.cli.main())
"""


@pytest.mark.parametrize("error", ["KeyError('secret')", "RecursionError()", "OSError(5, 'x')"])
def test_defect_of_our_own(pyctrigger: Command, scope: list[Argument], error: str) -> None:
    """Exit 70 and one line that says where; the traceback only on request."""
    pyctrigger.program = [sys.executable, "-c", _DEFECTIVE.format(error=error)]
    name = error.partition("(")[0]
    word = (
        f"pyctrigger: a defect of pyctrigger's own: {name} at <string>:5; "
        "run it again with -vv, and report what that prints\n"
    )
    plain = pyctrigger.text("run", *scope)
    assert (plain.code, plain.out, plain.err) == (70, "", word)
    told = pyctrigger.text("run", "-vv", *scope)
    assert (told.code, told.out) == (70, "")
    assert told.err.startswith("Traceback (most recent call last):\n")
    assert told.err.endswith(word)
    hook = pyctrigger.text("run", "--hook", "-vv", *scope)
    assert (hook.code, hook.out) == (0, "")
    assert f"{word[:-1]}; the work of this transaction was not done; once that is fixed: " in hook.err
    document = pyctrigger.json("run", *scope).document
    check_document(document, "run", 70)
    assert [each["code"] for each in document["errors"]] == [70]


@pytest.mark.parametrize(
    ("error", "reason"),
    [("MemoryError()", "out of memory"), ("OSError(24, 'Too many open files')", "Too many open files")],
)
def test_too_little_of_something(pyctrigger: Command, scope: list[Argument], error: str, reason: str) -> None:
    """Not a defect: exit 3, with what is lacking and a hint."""
    pyctrigger.program = [sys.executable, "-c", _DEFECTIVE.format(error=error)]
    word = f"pyctrigger: {reason}; raise the resource limits (see ulimit -a)\n"

    plain = pyctrigger.text("run", *scope)
    assert (plain.code, plain.out, plain.err) == (3, "", word)
    hook = pyctrigger.text("run", "--hook", *scope)
    said, _, back = hook.err.partition("; the work of this transaction was not done; once that is fixed: ")
    assert (hook.code, hook.out, f"{said}\n", back[:18]) == (0, "", word, "pyctrigger repair ")


@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["run", "hook"])
def test_interrupt_ends_it_without_a_traceback(pyctrigger: Command, site: Path, oldest: Found, hook: list[str]) -> None:
    """Exit 130; no worker is left, nothing half-written, and the next run finishes the work."""
    larger = "#" * len(SLOW.encode()) + "\n"  # and so compiled before the other
    write_tree(site, {"fast.py": larger, "slow.py": SLOW})
    arguments: list[Argument] = [*hook, "--python", oldest.path, "--site-dir", site]
    child = pyctrigger.start("run", *arguments, "--jobs", "1", preexec_fn=heed_signals)
    workers: list[int] = []
    try:
        assert wait_for(lambda: bool(pycs_below(site)))
        workers = children_of(child.pid)
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
        child.communicate()

    assert (child.returncode, out) == (0 if hook else 130, b"")
    assert err == b"pyctrigger: interrupted; run it again to finish\n"
    assert len(workers) == 1
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)
    assert [os.path.basename(path)[:5] for path in pycs_below(site)] == [b"fast."]
    (site / "slow.py").write_text("")
    assert pyctrigger.json("run", *arguments, "").counts["compiled"] == 1
    assert len(pycs_below(site)) == 2


# ------------------------------------------------------------------------------------------------------- the library


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed."""
    yield
    assert capfd.readouterr() == ("", "")


def test_library_call_does_what_run_does(silent: None, site: Path, newest: Found, tmp_path: Path) -> None:
    """It returns what `--json` shows, and prints nothing."""
    write_tree(site, {"good.py": "", "bad.py": "x = (\n", "package/__init__.py": ""})
    report = library.run_trigger(newest.path, None, site_dirs=[site], state_dir=tmp_path / "state")
    assert isinstance(report, library.Report)
    document = report.as_dict()
    check_document(document, "run", 1)
    (run,) = document["runs"]
    assert (run["counts"]["compiled"], run["counts"]["failed"]) == (2, 1)
    assert [(failure["path"], failure["kind"]) for failure in run["failures"]] == [(f"{site}/bad.py", "syntax")]
    assert len(pycs_below(site)) == 2
    json.dumps(document)


def test_library_takes_paths_as_the_command_does(
    silent: None, site: Path, newest: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is everything, an empty list nothing; relative ones start at the current directory, pacman's at the root."""
    write_tree(site, {name + "/__init__.py": "" for name in ("one", "two", "three", "four")})
    monkeypatch.chdir(site)
    done = []
    for paths, manager in (
        ([], None),
        ([""], None),
        (["one"], None),
        ([Path("two")], None),
        ([f"{site}/three".lstrip("/")], "pacman"),
        (None, None),
    ):
        report = library.run_trigger(newest.path, paths, manager=manager, site_dirs=["."], stateless=True)
        done.append(report.runs[0].tally.counts.compiled)
    assert done == [0, 0, 1, 1, 1, 1]


def test_library_takes_environments_as_the_command_does(silent: None, newest: Found, tmp_path: Path) -> None:
    """Some by name, or all below a directory; a version is what they have to be of."""
    packages = tmp_path / "envs/one" / "lib/python{}.{}/site-packages".format(*newest.version)
    write_tree(tmp_path / "envs/one", {"pyvenv.cfg": ""})
    write_tree(packages, {"module.py": ""})
    scopes: list[dict[str, Any]] = [{"prefixes": [tmp_path / "envs/one"]}, {"prefixes_below": [tmp_path / "envs"]}]
    for scope in scopes:
        report = library.run_trigger(newest.path, None, stateless=True, **scope)
        assert [str(tmp_path / "envs/one")] == [run.prefix for run in report.runs]
    assert len(pycs_below(packages)) == 1


def test_library_dry_run(silent: None, site: Path, newest: Found, tmp_path: Path) -> None:
    """Prints what would be done."""
    write_tree(site, {"module.py": ""})
    report = library.run_trigger(newest.path, None, site_dirs=[site], state_dir=tmp_path / "state", dry_run=True)
    assert [action.action for action in report.runs[0].tally.actions] == ["compile"]
    assert (pycs_below(site), (tmp_path / "state").exists()) == ([], False)


@pytest.mark.parametrize(
    ("version", "options", "code", "name"),
    [
        ("nonsense", {}, 2, "UsageError"),
        ("3.99", {}, 69, "InterpreterError"),
        ("/nonexistent", {}, 69, "InterpreterError"),
        ("/non\0existent", {}, 2, "UsageError"),
        (None, {"paths": ["/outside"]}, 2, "OutsideScopeError"),
        (None, {"paths": ["a\0b"]}, 2, "OutsideScopeError"),
        (None, {"site_dirs": ["/nonexistent"]}, 2, "UsageError"),
        (None, {"site_dirs": ["/non\0existent"]}, 2, "UsageError"),
        (None, {"config": "/nonexistent"}, 2, "UsageError"),
        (None, {"root": "/nonexistent", "site_dirs": []}, 2, "UsageError"),
        (None, {"event": "explosion"}, 2, "UsageError"),
        (None, {"manager": "brew"}, 2, "UsageError"),
    ],
)
def test_library_raises_errors_of_one_root(
    silent: None, site: Path, newest: Found, version: str | None, options: dict[str, Any], code: int, name: str
) -> None:
    """Each with its exit code, and nothing else."""
    paths = options.pop("paths", None)
    with pytest.raises(library.PyctriggerError) as caught:
        library.run_trigger(version or newest.path, paths, **{"site_dirs": [site], "stateless": True, **options})
    assert (caught.value.exit_code, type(caught.value).__name__) == (code, name)
    assert caught.value.message
    assert str(caught.value).startswith(caught.value.message)


def test_library_reports_a_broken_configuration(silent: None, site: Path, newest: Found, tmp_path: Path) -> None:
    """With every fault as a field."""
    config = tmp_path / "config.toml"
    config.write_text("[defaults]\njobs = -1\nlog = 1\n")
    with pytest.raises(library.PyctriggerError) as caught:
        library.run_trigger(newest.path, [], site_dirs=[site], stateless=True, config=config)
    assert getattr(caught.value, "path", None) == str(config)
    assert len(getattr(caught.value, "problems", ())) == 2


def test_library_leaves_the_process_alone(site: Path, newest: Found) -> None:
    """No handler, no mask, no directory, no variable of the caller's is changed."""
    question = f"""
import gc, os, signal, sys, threading
def state():
    mask = os.umask(0o22)
    os.umask(mask)
    handlers = [signal.getsignal(number) for number in range(1, 32) if number not in (9, 19)]
    streams = [(stream.errors, stream.line_buffering) for stream in (sys.stdout, sys.stderr)]
    return mask, os.getcwd(), dict(os.environ), handlers, streams, threading.active_count(), gc.get_threshold()
os.umask(0o77)
before = state()
import pyctrigger
pyctrigger.run_trigger({newest.path!r}, None, site_dirs=[{str(site)!r}], stateless=True)
assert state() == before
"""
    write_tree(site, {"module.py": ""})
    child = subprocess.run([sys.executable, "-c", question], capture_output=True, timeout=60, check=False)
    assert (child.returncode, child.stdout, child.stderr.decode()) == (0, b"", "")
    assert [os.stat(path).st_mode & 0o777 for path in pycs_below(site)] == [0o644]
