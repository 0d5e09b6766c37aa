"""`explain`: the rule that decided about a pyc, and what a run would do about it; and then the run does it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from children import public_directory
from confinement import NOBODY, command_for, usable_by
from conftest import absent
from interpreters import tag_of
from owner_packages import with_apk
from packages import snapshot, write_tree

if TYPE_CHECKING:
    from command import Argument, Command, Outcome
    from interpreters import Interpreter


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[Argument]:
    """A package with one module, to be compiled."""
    write_tree(site, {"package/module.py": "x = 1\n"})
    return ["--python", newest.path, "--site-dir", site]


def explained(pyctrigger: Command, *arguments: Argument, stdin: bytes = b"") -> list[dict[str, Any]]:
    """The answer for programs."""
    outcome = pyctrigger.json("explain", *arguments, stdin=stdin)
    assert outcome.code == 0, outcome.err
    explanations: list[dict[str, Any]] = outcome.document["explanations"]
    return explanations


def level_of(explanation: dict[str, Any]) -> dict[str, Any]:
    """The only level for the only flavour."""
    (view,) = explanation["flavours"]
    (level,) = view["levels"]
    assert isinstance(level, dict)
    return level


class Place(NamedTuple):
    """Where the one source and its pyc are."""

    source: Path
    pyc: Path


def _edit(place: Place) -> None:
    place.source.write_text("x = 22\n")
    os.utime(place.source, (5, 5))


def _grow(place: Place) -> None:
    status = place.source.stat()
    place.source.write_text("x = 22\n")
    os.utime(place.source, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(place: Place) -> None:
    status = place.source.stat()
    place.source.write_text("x = 9\n")
    os.utime(place.source, ns=(status.st_atime_ns, status.st_mtime_ns))


def _chmod(mode: int) -> Callable[[Place], None]:
    return lambda place: place.pyc.chmod(mode)


def _patch(start: int, data: bytes) -> Callable[[Place], None]:
    def patch(place: Place) -> None:
        content = place.pyc.read_bytes()
        place.pyc.write_bytes(content[:start] + data + content[start + len(data) :])

    return patch


def _nothing(_: Place) -> None:
    return


def _make_directory(place: Place) -> None:
    place.pyc.unlink()
    place.pyc.mkdir()


def _truncate(place: Place) -> None:
    place.pyc.write_bytes(place.pyc.read_bytes()[:10])


#: What is done to it; state and reason; action; a part of the rule; and what a run then counts.
_CASES: dict[str, tuple[Callable[[Place], None], tuple[str, str | None], str, str, str]] = {
    "fresh": (_nothing, ("fresh", None), "nothing", "mtime and size in its header fit the source", "fresh"),
    "edited": (_edit, ("stale", "mtime"), "compile", "the source has 5", "compiled"),
    "grown": (_grow, ("stale", "size"), "compile", "its header says size 6, the source has 7", "compiled"),
    "replaced": (_replace, ("stale", "digest"), "compile", "its source's content isn't the recorded one", "compiled"),
    "touched": (
        lambda place: os.utime(place.source, (5, 5)),
        ("stale", "mtime"), "refresh", "and the content that was recorded", "refreshed",
    ),
    "magic": (_patch(0, b"\x99\x99"), ("foreign-magic", None), "compile", "its magic number is 99990d0a", "compiled"),
    "mode": (_patch(4, b"\3"), ("stale", "mode"), "compile", "is checked-hash, timestamp is wanted", "compiled"),
    "flags": (_patch(4, b"\x77"), ("corrupt", None), "compile", "importlib doesn't know its flags", "compiled"),
    "body": (_patch(30, b"?"), ("unproven", "body"), "compare", "its body isn't the one that was recorded", "compiled"),
    "cut": (_truncate, ("corrupt", None), "compile", "it is truncated", "compiled"),
    "closed": (_chmod(0o600), ("unreadable", None), "compile", "keeps out accounts that may read", "compiled"),
    "open": (_chmod(0o666), ("stale", "rights"), "compile", "or lets others write it", "compiled"),
    "missing": (lambda place: place.pyc.unlink(), ("missing", None), "compile", "there is no such pyc", "compiled"),
    "directory": (_make_directory, ("obstructed", None), "refused", "isn't a regular file", "failed"),
    "orphan": (lambda place: place.source.unlink(), ("orphan", None), "remove", "there is no source", "removed"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(_CASES))
def test_a_run_does_what_was_explained(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter, case: str
) -> None:
    """State, rule and action of each state that bytecode can be in, by its source and by itself."""
    change, state, action, rule, counted = _CASES[case]
    pyctrigger.json("run", *scope)
    place = Place(site / "package/module.py", site / f"package/__pycache__/module.{tag_of(newest)}.pyc")
    change(place)
    before = snapshot(site)

    by_source, by_pyc = explained(pyctrigger, *scope, place.source, place.pyc)

    level = level_of(by_source)
    assert ((level["state"], level["reason"]), level["action"]) == (state, action)
    assert rule in level["rule"]
    assert (by_source["kind"], by_pyc["kind"], by_pyc["source"]) == ("source", "pyc", str(place.source))
    assert level_of(by_pyc) == level
    assert snapshot(site) == before
    assert {name for name, count in pyctrigger.json("run", *scope).counts.items() if count} == {counted} | (
        {"removed_directories"} if counted == "removed" else set()
    )


def test_unproven(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """What somebody else compiled is compared with its source once; without state its header is believed."""
    pyctrigger.json("run", *scope, "--stateless")

    level = level_of(explained(pyctrigger, *scope, site / "package/module.py")[0])

    assert (level["state"], level["action"]) == ("unproven", "compare")
    stateless = level_of(explained(pyctrigger, *scope, "--stateless", site / "package/module.py")[0])
    assert (stateless["state"], stateless["action"]) == ("fresh", "nothing")


def test_header_beside_the_source(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Both ways: a timestamp, and a hash."""
    pyctrigger.json("run", *scope)
    source = site / "package/module.py"
    pyc = site / f"package/__pycache__/module.{tag_of(newest)}.pyc"

    (timestamp,) = explained(pyctrigger, *scope, source)
    pyctrigger.json("run", *scope, "--invalidation-mode", "checked-hash")
    (hashed,) = explained(pyctrigger, *scope, "--invalidation-mode", "checked-hash", source)

    status = source.stat()
    assert (timestamp["source_mtime"], timestamp["source_size"]) == (int(status.st_mtime), status.st_size)
    assert level_of(timestamp)["header"] == {
        "magic_number": pyc.read_bytes()[:4].hex(), "invalidation_mode": "timestamp",
        "mtime": int(status.st_mtime), "size": status.st_size, "source_hash": None,
    }  # fmt: skip
    header = level_of(hashed)["header"]
    assert (header["invalidation_mode"], header["source_hash"]) == ("checked-hash", pyc.read_bytes()[8:16].hex())
    assert header["mtime"] is None


def test_oldest_header(pyctrigger: Command, site: Path, interpreters: list[Interpreter]) -> None:
    """3.6 has one of 12 bytes, without flags."""
    oldest = min(each for each in interpreters if each.implementation == "cpython")
    write_tree(site, {"module.py": "x = 1\n"})
    scope: list[Argument] = ["--python", oldest.path, "--site-dir", site]
    pyctrigger.json("run", *scope)

    level = level_of(explained(pyctrigger, *scope, site / "module.py")[0])

    assert (level["state"], level["header"]["size"], level["header"]["invalidation_mode"]) == ("fresh", 6, "timestamp")


def test_text_for_people(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """All of it in a paragraph."""
    pyctrigger.json("run", *scope)
    os.utime(site / "package/module.py", (7, 7))

    lines = pyctrigger.text("explain", *scope, site / "package/module.py").out.splitlines()

    pyc = site / f"package/__pycache__/module.{tag_of(newest)}.pyc"
    mtime = int.from_bytes(pyc.read_bytes()[8:12], "little")
    rule = f"its header says mtime {mtime}, the source has 7, and the content that was recorded"
    assert lines[:2] == [f"{site}/package/module.py: source", "  owner: no package"]
    assert lines[2].startswith("  the source has 6 bytes and mtime 7 (19")
    assert lines[3:] == [
        f"  {newest.flavour}:",
        f"    site directory {site}, in the package package",
        f"    level 0: stale (mtime): {rule}",
        f"      pyc: {pyc}",
        f"      header: magic number {pyc.read_bytes()[:4].hex()}, timestamp, mtime {mtime}, size 6",
        "      a run would refresh it: the same code gets a new header",
    ]


def test_levels(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Those that are wanted and those that are there, each by itself; what isn't wanted is left alone."""
    pyctrigger.json("run", *scope, "--optimize", "0,2")
    os.utime(site / "package/module.py", (7, 7))

    (view,) = explained(pyctrigger, *scope, "--optimize", "0,1", site / "package/module.py")[0]["flavours"]

    assert [(each["level"], each["state"], each["action"]) for each in view["levels"]] == [
        (0, "stale", "refresh"), (1, "missing", "compile"), (2, "unwanted", "unwanted"),
    ]  # fmt: skip
    assert view["levels"][2]["because"] == "runs don't write level 2 (only 0, 1)"


def test_uncompilable_and_its_last_failure(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Kind and line, and the run of the history that met with it."""
    (site / "package/bad.py").write_text("x = 1\ny = (\n")
    pyctrigger.json("run", *scope)
    pyctrigger.json("run", *scope)

    (view,) = explained(pyctrigger, *scope, site / "package/bad.py")[0]["flavours"]

    (level,) = view["levels"]
    assert (level["state"], level["action"]) == ("uncompilable", "uncompilable")
    assert level["because"] == "its source is known not to compile: syntax, line 2, SyntaxError"
    failure = view["last_failure"]
    assert (failure["kind"], failure["message"], failure["run"]) == ("syntax", "line 2, SyntaxError", 1)
    (pyctrigger.state / "history.sqlite").unlink()
    (view,) = explained(pyctrigger, *scope, site / "package/bad.py")[0]["flavours"]
    assert (view["last_failure"]["kind"], view["last_failure"]["run"]) == ("syntax", None)
    out = pyctrigger.text("explain", *scope, site / "package/bad.py").out
    assert "      a run would leave it: its source is known not to compile" in out
    assert "    last failure: syntax: line 2, SyntaxError\n" in out


def test_excluded_and_not_wanted(pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path) -> None:
    """By which pattern; and where the configuration adds nothing."""
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text("[defaults]\ncreate_missing = false\n")
    path = site / "package/module.py"

    excluded = level_of(explained(pyctrigger, *scope, "--exclude", "*.txt", "--exclude", "*/package/*", path)[0])
    unwanted = level_of(explained(pyctrigger, *scope, "--config", configuration, path)[0])

    assert (excluded["action"], excluded["because"]) == ("excluded", "its source is excluded by '*/package/*'")
    assert (unwanted["action"], unwanted["because"]) == ("unwanted", "create_missing is false: nothing is added")


@pytest.mark.usefixtures("as_root")
def test_what_a_package_owns(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Stale or an orphan, it stays; the source's owner and the pyc's owner are distinguished."""
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages/owner"
    payload, root = tmp_path / "payload", tmp_path / "root"
    root.mkdir()
    names = [f"{library}/__pycache__/{name}.{tag_of(newest)}.pyc" for name in ("module", "gone")]
    write_tree(payload, {f"{library}/module.py": "x = 1\n", names[0]: "stale", names[1]: "no source"})
    with_apk(payload, root, tmp_path)
    (root / library / "ours.py").touch()
    scope: list[Argument] = ["--python", newest.path, "--root", root, "--stateless"]

    module, gone, ours = explained(
        pyctrigger, *scope, *(f"/{library}/{name}.py" for name in ("module", "gone", "ours"))
    )

    owner = {"manager": "apk", "package": "owner"}
    assert (module["owner"], gone["owner"], ours["owner"]) == (owner, None, None)
    assert [level_of(each)["owner"] for each in (module, gone, ours)] == [owner, owner, None]
    assert [level_of(each)["action"] for each in (module, gone, ours)] == ["owned", "owned", "compile"]
    counts = pyctrigger.json("run", *scope).counts
    assert (counts["compiled"], counts["skipped"], counts["removed"]) == (1, 1, 0)


ALICE, BOB = 64501, 64502


def _own(owner: int, *names: str) -> Callable[[Path], None]:
    def give(site: Path) -> None:
        for name in names:
            os.chown(site / name, owner, owner)

    return give


def _open_on_the_way(site: Path) -> None:
    site.parent.chmod(0o777)


def _put_a_file(site: Path) -> None:
    shutil.rmtree(site / "package/__pycache__")
    (site / "package/__pycache__").write_text("")


def _make_open(name: str) -> Callable[[Path], None]:
    def make(site: Path) -> None:
        (site / name).mkdir(exist_ok=True)
        (site / name).chmod(0o777)

    return make


def _make_huge(site: Path) -> None:
    os.truncate(site / "package/module.py", (64 << 20) + 1)


def _lock_up(site: Path) -> None:
    """Alice's from the site directory on, with a source that is root's alone."""
    _own(ALICE, ".", "package", "package/other.py")(site)
    (site / "package/module.py").chmod(0o600)


def _own_the_pycache(site: Path) -> None:
    os.chown(site / "package/__pycache__", ALICE, ALICE)


def _own_one_below_another(site: Path) -> None:
    _own(ALICE, ".")(site)
    _own(BOB, "package")(site)


#: Whom root meets: each is a reason for a run to refuse a source.
_REFUSALS: dict[str, Callable[[Path], None]] = {
    "everybody may write the directory": _make_open("package"),
    "everybody may write its pycache": _make_open("package/__pycache__"),
    "everybody may write on the way": _open_on_the_way,
    "its pycache is a file": _put_a_file,
    "its pycache is a stranger's": _own_the_pycache,
    "a stranger's, with sources of another": _own(ALICE, "package"),
    "root's below a stranger's": _own(ALICE, "."),
    "a stranger's below another one's": _own_one_below_another,
    "whose place it is may not read it": _lock_up,
    "too large": _make_huge,
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", _REFUSALS)
def test_what_a_run_refuses_is_said_before(pyctrigger: Command, newest: Interpreter, site: Path, case: str) -> None:
    """An explanation has the run's reason and hint, for the source and for the directory above; a dry run has all."""
    inner = site / "inner/site"
    tree = {"package/module.py": "x = 1\n", "package/other.py": "x = 1\n", "good/module.py": ""}
    write_tree(inner, {**tree, f"package/__pycache__/gone.{tag_of(newest)}.pyc": "orphan"})
    _REFUSALS[case](inner)
    options = ["--python", newest.path, "--site-dir", str(inner)]

    (source,) = explained(pyctrigger, *options, inner / "package/module.py")
    (above,) = explained(pyctrigger, *options, inner)
    text = pyctrigger.text("explain", *options, inner / "package/module.py").out
    dry = pyctrigger.json("run", "--dry-run", *options)
    outcome = pyctrigger.json("run", *options)

    level, (view,) = level_of(source), above["flavours"]
    found = view["directory"]
    reasons = {each["path"]: each["reason"] for each in found["items"] if each["action"] == "refuse"}
    assert f"      a run would refuse it: {level['because']}\n" in text
    assert ("refused", level["because"]) == (level["action"], reasons[str(inner / "package/module.py")])
    said = [each["message"].partition("; sources that were left")[0] for each in outcome.failures]
    assert any(each in level["because"] for each in said), (said, level["because"])
    assert len([path for path in reasons if path.endswith(".py")]) == outcome.counts["failed"]
    assert found["actions"].get("compile", 0) == outcome.counts["compiled"]
    assert told(dry) == did(outcome)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("verb", ["run", "repair", "sweep", "purge -y"])
def test_a_dry_run_says_what_each_verb_refuses(
    pyctrigger: Command, newest: Interpreter, site: Path, scope: list[Argument], verb: str
) -> None:
    """Also of what is removed, with the directories that stay; a repair replaces what is in a pycache's place."""
    pyc = f"__pycache__/gone.{tag_of(newest)}.pyc"
    write_tree(site, {f"{name}/{pyc}": "orphan" for name in ("open", "outer/inner", "cache", "good/below")})
    write_tree(site, {"file/module.py": "", "file/__pycache__": "", "empty/__pycache__/x": ""})
    (site / "empty/__pycache__/x").unlink()
    (site / "package/link.py").symlink_to("/etc/hostname")
    for name in ("open", "outer/inner", "cache/__pycache__", "empty"):
        (site / name).chmod(0o777)

    dry = pyctrigger.json(*verb.split(), "--dry-run", *scope)
    outcome = pyctrigger.json(*verb.split(), *scope)

    assert told(dry) == did(outcome)
    assert {f"{site}/{name}" for name in ("open", "outer/inner", "cache/__pycache__", "empty")} <= {
        each["path"] for each in dry.failures
    }


def did(outcome: Outcome) -> dict[str, object]:
    """What a run did, and refused."""
    counts = {name: outcome.counts[name] for name in ("compiled", "removed", "removed_directories", "failed")}
    return {"code": outcome.code, "failures": {each["path"]: each for each in outcome.failures}, **counts}


def told(outcome: Outcome) -> dict[str, object]:
    """The same, of what a dry run says that a run would do."""
    actions = Counter(action["action"] for action in outcome.run["actions"])
    would = {"compiled": "compile", "removed": "remove", "removed_directories": "remove-directory"}
    counts = {name: actions[action] for name, action in would.items()}
    return {**did(outcome), **counts}


@pytest.mark.usefixtures("as_root")
def test_what_needs_root_is_explained_to_others(tmp_path: Path) -> None:
    """An ordinary account's run would change nothing in root's tree; a dry run says what root's would do."""
    with public_directory() as public:
        found, command = usable_by(NOBODY), command_for(NOBODY, tmp_path / "state")
        if command is None:
            absent("no Python that other accounts than root's may execute")
        site = write_tree(public / "site", {"package/module.py": ""})
        account = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": {"HOME": "/nonexistent"}, "cwd": "/"}

        scope: list[Argument] = ["--stateless", "--python", found[0], "--site-dir", site]

        explained_to_it = command.json("explain", *scope, site / "package/module.py", **account)
        dry = command.json("run", "--dry-run", *scope, **account)
        outcome = command.json("run", *scope, **account)

    assert (1, 0) == (outcome.code, dry.code)
    assert ["compile"] == [action["action"] for action in dry.run["actions"]]
    (explanation,) = explained_to_it.document["explanations"]
    level = level_of(explanation)
    reason = f"{site}: you have no right to write here, account 0 has; run it as root"
    assert ("refused", reason) == (level["action"], level["because"])


@pytest.mark.usefixtures("as_root")
def test_an_orphan_in_a_refused_directory_is_not_said_to_be_removed(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """What a run sweeps it has to be allowed to change."""
    orphan = f"package/__pycache__/gone.{tag_of(newest)}.pyc"
    write_tree(site, {orphan: ""})
    (site / "package").chmod(0o777)

    (pyc,) = explained(pyctrigger, *scope, site / orphan)
    (above,) = explained(pyctrigger, *scope, site)
    pyctrigger.json("run", *scope)

    items = {each["path"]: each["action"] for each in above["flavours"][0]["directory"]["items"]}
    assert ("refused", "refuse") == (level_of(pyc)["action"], items[str(site / orphan)])
    assert (site / orphan).exists()


def test_refused(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """A link that leads out, a `__pycache__` that is a file, and a directory that everybody may write into."""
    write_tree(site, {"file/m.py": "", "file/__pycache__": "", "open/m.py": ""})
    (site / "package/link.py").symlink_to("/etc/hostname")
    (site / "open").chmod(0o777)

    link, file, everybody = explained(
        pyctrigger, *scope, site / "package/link.py", site / "file/m.py", site / "open/m.py"
    )

    assert link["flavours"][0]["note"] == "the source may not be read: a link that leads out of the site directory"
    assert (level_of(file)["action"], level_of(everybody)["action"]) == ("refused", "refused")
    assert "file/__pycache__: it is a link or a file; pyctrigger repair replaces it" in level_of(file)["because"]
    assert "everybody may write here" in level_of(everybody)["because"]


def test_outside_of_the_scope(
    pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path, newest: Interpreter
) -> None:
    """An answer, not an error; and what is there is examined as usual."""
    elsewhere = write_tree(tmp_path / "elsewhere", {"m.py": "", "n.txt": ""})
    pyctrigger.json("run", "--python", newest.path, "--site-dir", elsewhere, "--stateless")

    source, text = explained(pyctrigger, *scope, elsewhere / "m.py", elsewhere / "n.txt")
    (nothing,) = explained(pyctrigger, *scope, "--paths-from", "-", stdin=bytes(site / "no/such.py"))

    (view,) = source["flavours"]
    assert (view["site_directory"], view["note"]) == (
        None, f"outside the scope, which is {site}: runs leave it alone",
    )  # fmt: skip
    assert (level_of(source)["state"], level_of(source)["action"]) == ("unproven", "outside")
    assert (text["kind"], text["flavours"][0]["levels"]) == ("other", [])
    assert nothing["flavours"][0]["note"] == "there is no such source, and no bytecode of it"


def test_names_that_are_nobodys(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Legacy, residue, foreign, and of another cache tag: each with its rule."""
    paths = ["package/module.pyc", "package/__pycache__/module.cpython-30.pyc"]
    paths += ["package/__pycache__/module.cpython-311-pytest-8.pyc"]
    paths += ["package/__pycache__/.pyctrigger-cpython-311-00000000-0123456789abcdef.tmp", "package/data.txt"]

    listed = b"\n".join(bytes(site / path) for path in paths)
    answers = explained(pyctrigger, *scope, "--paths-from", "-", stdin=listed)
    notes = [each["flavours"][0]["note"] for each in answers]

    starts = ["it lies beside its source", "its cache tag is cpython-30", "its name matches no interpreter"]
    starts += ["a killed writer left it behind", "neither a source, nor bytecode, nor a directory"]
    assert [note.startswith(start) for note, start in zip(notes, starts)] == [True] * 5, notes


def test_directory(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """What a run would find in it and below, and not next to it; its `__pycache__` means the same."""
    write_tree(site, {"package/below/old.py": "", "package/gone.py": "", "package/bad.py": "x = (\n", "beside.py": ""})
    write_tree(site, {"dead/m.py": ""})
    pyctrigger.json("run", *scope)
    os.utime(site / "package/below/old.py", (5, 5))
    (site / "package/gone.py").unlink()
    (site / "package/new.py").touch()
    (site / "beside.py").unlink()
    (site / "dead/m.py").unlink()

    by_itself, by_pycache = explained(pyctrigger, *scope, site / "package", site / "package/__pycache__")

    (view,) = by_itself["flavours"]
    found = view["directory"]
    assert (by_itself["kind"], view["package"], found["sources"], found["fresh"]) == ("directory", "package", 4, 1)
    assert found["actions"] == {"compile": 1, "skip": 1, "remove": 1, "refresh": 1}
    assert {(each["action"], each["path"]) for each in found["items"]} == {
        ("compile", f"{site}/package/new.py"),
        ("skip", f"{site}/package/bad.py"),
        ("remove", f"{site}/package/__pycache__/gone.{tag_of(newest)}.pyc"),
        ("refresh", f"{site}/package/below/old.py"),
    }
    assert by_pycache["flavours"][0]["directory"] == found
    out = pyctrigger.text("explain", *scope, site / "package").out
    assert "    4 sources, 1 of them fresh\n" in out
    (whole,) = explained(pyctrigger, *scope, site)
    assert whole["flavours"][0]["directory"]["sources"] == 4
    assert whole["flavours"][0]["directory"]["actions"]["remove"] == 3


def test_a_large_directory_is_cut(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """All are counted, the first are named."""
    write_tree(site, {f"package/m{number}.py": "" for number in range(150)})

    (view,) = explained(pyctrigger, *scope, site / "package")[0]["flavours"]
    lines = pyctrigger.text("explain", *scope, site / "package").out.splitlines()

    assert (view["directory"]["actions"], len(view["directory"]["items"])) == ({"compile": 151}, 100)
    assert lines[-1] == "    and 131 more; --json has the first hundred"


def test_every_flavour_has_its_own_answer(pyctrigger: Command, site: Path, interpreters: list[Interpreter]) -> None:
    """Side by side, for one source."""
    write_tree(site, {"m.py": ""})
    pythons = [argument for each in interpreters for argument in ("--python", each.path)]
    pyctrigger.json("run", *pythons[:2], "--site-dir", site)

    (answer,) = explained(pyctrigger, *pythons, "--site-dir", site, site / "m.py")

    assert [each["flavour"] for each in answer["flavours"]] == [each.flavour for each in interpreters]
    tags = {tag_of(interpreters[0])}
    for view, interpreter in zip(answer["flavours"], interpreters):
        expected = "fresh" if tag_of(interpreter) in tags else "missing"
        assert view["levels"][0]["state"] in (expected, "unproven" if expected == "fresh" else expected)


def test_pycache_prefix(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """The pyc is looked for where the target would."""
    (tmp_path / "prefix").mkdir()
    scope = [*scope, "--pycache-prefix", tmp_path / "prefix"]
    pyctrigger.json("run", *scope)
    pyc = f"{tmp_path}/prefix{site}/package/module.{tag_of(newest)}.pyc"

    by_source, by_pyc = explained(pyctrigger, *scope, site / "package/module.py", pyc)

    assert (level_of(by_source)["pyc"], level_of(by_source)["state"]) == (pyc, "fresh")
    assert level_of(by_pyc) == level_of(by_source)


def test_names_with_any_bytes(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """They break no line and no terminal, and have their bytes beside them."""
    evil = os.fsdecode(b"a\nb\x1b[31m\xff")
    write_tree(site, {f"{evil}/m.py": "x = (\n"})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    pyctrigger.json("run", *scope)

    (answer,) = explained(pyctrigger, *scope, site / evil / "m.py")
    out = pyctrigger.text("explain", *scope, site / evil / "m.py", site).out

    assert bytes.fromhex(answer["path_hex"]) == os.fsencode(site / evil / "m.py")
    assert "\x1b" not in out
    assert not any(line.startswith("b") for line in out.splitlines())


def test_paths_as_people_write_them(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """With a slash at the end, with detours, relative, twice."""
    (site / "package/below").mkdir()
    typed = b"package/\npackage/below/../module.py\n./package\n"

    outcome = pyctrigger.json("explain", *scope, "--paths-from", "-", stdin=typed, cwd=site)

    explanations = outcome.document["explanations"]
    assert [each["path"] for each in explanations] == [f"{site}/package", f"{site}/package/module.py"]


def test_site_directory_inside_another(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """What is in the inner one doesn't belong to the outer one."""
    inner = write_tree(site / "inner", {"m.py": ""})
    scope = [*scope, "--site-dir", inner]

    outer, module = explained(pyctrigger, *scope, site, inner / "m.py")

    assert outer["flavours"][0]["directory"]["actions"] == {"compile": 1}
    assert module["flavours"][0]["site_directory"] == str(inner)
    assert pyctrigger.json("run", *scope).counts["compiled"] == 2


@pytest.mark.usefixtures("as_root")
def test_staged_root(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Paths are as seen inside; the state is the root's own: journal, manifest and history."""
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    root = write_tree(tmp_path / "root", {f"{library}/m.py": "", f"{library}/bad.py": "x = (\n"})
    scope: list[Argument] = ["--python", newest.path, "--root", root]
    pyctrigger.json("run", *scope)

    good, bad = explained(pyctrigger, *scope, f"/{library}/m.py", f"/{library}/bad.py")

    assert (level_of(good)["state"], level_of(good)["pyc"]) == (
        "fresh", f"/{library}/__pycache__/m.{tag_of(newest)}.pyc",
    )  # fmt: skip
    assert bad["flavours"][0]["last_failure"]["run"] == 1
    history = pyctrigger.text("history", "--root", root)
    assert (history.code, len(history.out.splitlines())) == (0, 2)
    check = pyctrigger.text("status", "--check", "--root", root)
    assert (check.code, "the last run failed" in check.out) == (1, True)


def test_nothing_to_explain(pyctrigger: Command, scope: list[Argument], tmp_path: Path) -> None:
    """Exit 2; and where an interpreter is missing, 69, with the others' answers."""
    assert pyctrigger.text("explain", *scope).code == 2
    elsewhere = write_tree(tmp_path / "somewhere", {"m.py": ""}) / "m.py"
    outcome = pyctrigger.text("explain", *scope, "--python", "3.99", elsewhere)
    assert (outcome.code, outcome.out.startswith(f"{elsewhere}: source\n")) == (69, True)


def test_it_writes_nothing(pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path) -> None:
    """No state where there was none, and nothing in the tree."""
    before = snapshot(tmp_path)

    explained(pyctrigger, *scope, site / "package/module.py", site / "package")

    assert snapshot(tmp_path) == before
    assert not pyctrigger.state.exists()
