"""A hook checks its whole scope by stat: what a failed transaction left behind is fixed by the next hook."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from confinement import private_mounts
from interpreters import find_interpreters, tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, wait_for_the_next_tick, write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command, Outcome
    from interpreters import Interpreter

TREE = {
    "package/__init__.py": "",
    "package/a.py": "VALUE = 1\n",
    "package/inner/c.py": "VALUE = 3\n",
    "other/__init__.py": "",
    "package-1.dist-info/METADATA": "",
    "single.py": "VALUE = 4\n",
}
SOURCES = 5
#: What the hooks of these tests name: nothing of ours.
ELSEWHERE = "/usr/share/doc"


@pytest.fixture
def tree(site: Path) -> Path:
    """A small site directory."""
    return write_tree(site, TREE)


@pytest.fixture
def noted(pyctrigger: Command, tree: Path, scope: list[str]) -> Path:
    """The same, compiled, and known to need nothing."""
    assert pyctrigger.json("run", *scope).counts["compiled"] == SOURCES
    settle(pyctrigger, tree, scope)
    return tree


def settle(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Let the tree become older than the file system's tick, and a hook see that it needs nothing."""
    wait_for_the_next_tick(site)
    hook(pyctrigger, scope)
    assert all(part[0] for part in parts(pyctrigger).values())


def hook(pyctrigger: Command, scope: list[str], *paths: Any) -> Outcome:
    """A package manager's hook with these paths, or with none that concern it."""
    return pyctrigger.json("run", "--hook", *scope, *(paths or (ELSEWHERE,)))


def parts(pyctrigger: Command) -> dict[str, list[Any]]:
    """The notes of the only site directory."""
    (path,) = pyctrigger.state.glob("*/parts")
    (site,) = json.loads(path.read_bytes().partition(b"\n")[0])["sites"].values()
    found: dict[str, list[Any]] = site["parts"]
    return found


def with_head(data: bytes, **fields: Any) -> bytes:
    """The same notes, with something else in the first line."""
    line, _, body = data.partition(b"\n")
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n" + body


def changed(outcome: Outcome) -> dict[str, int]:
    """What a run did."""
    return {name: count for name, count in outcome.counts.items() if count and name not in ("fresh", "skipped")}


def unpack(path: Path, text: str) -> None:
    """As package managers do it: another file of the old one's times takes its name."""
    status = path.stat() if path.exists() else None
    made = path.with_name(f".{path.name}.new")
    made.write_text(text)
    if status is not None:
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
    made.rename(path)


# -- what is healed --------------------------------------------------------------------------------------------------

Change = Callable[["Path", str], Any]
CHANGES: dict[str, tuple[Change, dict[str, int]]] = {
    "a module of the same size and time": (lambda top, _: unpack(top / "single.py", "VALUE = 5\n"), {"compiled": 1}),
    "the same deep in a package": (lambda top, _: unpack(top / "package/inner/c.py", "VALUE = 9\n"), {"compiled": 1}),
    "a new package": (lambda top, _: write_tree(top, {"new/m.py": ""}), {"compiled": 1}),
    "a new package in a package": (lambda top, _: write_tree(top, {"package/inner/new/m.py": ""}), {"compiled": 1}),
    "a new module": (lambda top, _: (top / "new.py").write_text(""), {"compiled": 1}),
    "code in what had none": (lambda top, _: write_tree(top, {"package-1.dist-info/m.py": ""}), {"compiled": 1}),
    "a missing pyc": (lambda top, tag: (top / f"package/__pycache__/a.{tag}.pyc").unlink(), {"compiled": 1}),
    "no bytecode": (lambda top, _: shutil.rmtree(top / "package/inner/__pycache__"), {"compiled": 1}),
    "no bytecode beside the packages": (lambda top, _: shutil.rmtree(top / "__pycache__"), {"compiled": 1}),
    "a module gone": (lambda top, _: (top / "single.py").unlink(), {"removed": 1, "removed_directories": 1}),
    "a package gone": (lambda top, _: (top / "other/__init__.py").unlink(), {"removed": 1, "removed_directories": 2}),
    "a directory gone": (lambda top, _: shutil.rmtree(top / "other"), {}),
    "an orphan": (lambda top, tag: (top / f"other/__pycache__/x.{tag}.pyc").write_bytes(b"x"), {"removed": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_no_hook_was_told_of_is_healed_by_the_next(
    pyctrigger: Command, noted: Path, scope: list[str], newest: Interpreter, change: str
) -> None:
    """Whatever it names; and the one after finds nothing, by stat alone."""
    alter, expected = CHANGES[change]
    alter(noted, tag_of(newest))

    outcome = hook(pyctrigger, scope)

    assert expected == changed(outcome)
    assert [] == not_fresh(newest, sources_below(noted))
    assert len(sources_below(noted)) == len(pycs_below(noted))
    settle(pyctrigger, noted, scope)
    assert {0} == set(hook(pyctrigger, scope).counts.values())
    assert [] == list(pyctrigger.state.glob("*/journal/*"))


def cut_short(manifest: Path) -> None:
    """The end of it is lost."""
    os.truncate(manifest, manifest.stat().st_size // 2)


@pytest.mark.parametrize("lose", [os.unlink, cut_short], ids=["lost", "cut short"])
def test_notes_are_worth_no_more_than_the_records_that_they_rest_on(
    pyctrigger: Command, noted: Path, scope: list[str], lose: Callable[[Path], None]
) -> None:
    """The next hook makes the records again, whatever it names: or a disguised change would be trusted."""
    (manifest,) = pyctrigger.state.glob("*/manifest.sqlite")
    lose(manifest)
    hook(pyctrigger, scope)
    source = noted / "package/a.py"
    status = source.stat()
    unpack(source, "VALUE = 9\n")
    os.utime(source, ns=(status.st_mtime_ns, status.st_mtime_ns))

    hook(pyctrigger, scope, source)

    assert [] == pyctrigger.json("verify", "--compare-code", *scope).findings


#: What a hook that is named the site directory does about a file that took another's place, and one written into.
NAMED = {
    "dpkg": (["--manager", "dpkg"], 1),
    "another manager": (["--manager", "rpm"], 2),
    "nobody": ([], 2),
    "dpkg, without state": (["--manager", "dpkg", "--stateless"], 2),
}


@pytest.mark.parametrize("manager", NAMED)
def test_dpkg_names_no_more_than_the_site_directory(
    pyctrigger: Command, noted: Path, scope: list[str], manager: str
) -> None:
    """It renames what it unpacks, so directories that didn't change aren't examined; a glance can see nothing else."""
    arguments, expected = NAMED[manager]
    unpack(noted / "package/a.py", "VALUE = 2222\n")
    (noted / "other/__init__.py").write_text("VALUE = 5\n")

    assert {"compiled": expected} == changed(hook(pyctrigger, [*scope, *arguments], noted))


def test_what_dpkgs_hook_left_in_the_journal_is_looked_at_wholly(
    pyctrigger: Command, noted: Path, scope: list[str]
) -> None:
    """Its notes may say nothing of what was going on."""
    dpkg = [*scope, "--manager", "dpkg"]
    pyctrigger.json("run", "--defer", *dpkg, noted)
    (noted / "other/__init__.py").write_text("VALUE = 5\n")

    assert {"compiled": 1} == changed(hook(pyctrigger, dpkg, noted / "single.py"))


def test_a_first_hook_looks_at_everything(pyctrigger: Command, tree: Path, scope: list[str]) -> None:
    """Nothing is known of anything."""
    assert {"compiled": SOURCES} == changed(hook(pyctrigger, scope))


def test_what_a_hook_has_looked_at_is_not_pending_after_it(pyctrigger: Command, noted: Path, scope: list[str]) -> None:
    """Though it did work of others from the journal, with other options, and what it glanced at needed nothing."""
    pyctrigger.json("run", "--defer", *scope, "--optimize", "1", noted / "package")
    (noted / "other/data.txt").write_text("")

    assert {"compiled": 4} == changed(hook(pyctrigger, scope))

    assert [] == list(pyctrigger.state.glob("*/journal/*.json"))


@pytest.mark.parametrize("paths", [[""], ["--paths-from", "/dev/null"]], ids=["an empty path", "an empty list"])
def test_where_nothing_happened_nothing_is_looked_at(
    pyctrigger: Command, tree: Path, scope: list[str], paths: list[str]
) -> None:
    """An empty list says that there was no transaction."""
    assert {} == changed(hook(pyctrigger, scope, *paths))


@pytest.mark.parametrize("option", [[], ["--hook", "--defer"], ["--hook", "--stateless"], ["--hook", "--dry-run"]])
def test_who_is_no_hook_at_work_does_what_it_was_told(
    pyctrigger: Command, noted: Path, scope: list[str], option: list[str]
) -> None:
    """A person's run, a hook that only records its paths, one without state, one that only reads."""
    unpack(noted / "package/a.py", "VALUE = 5\n")
    before = snapshot(noted / "package")

    pyctrigger.json("run", *scope, *option, noted / "other")

    assert before == snapshot(noted / "package")


def test_each_scope_is_glanced_at_by_its_own_hooks(
    pyctrigger: Command, noted: Path, scope: list[str], tmp_path: Path
) -> None:
    """A hook for other site directories leaves this one alone; one for both heals both."""
    second = write_tree(tmp_path / "second", {"m.py": "", "p/m.py": ""})
    unpack(noted / "single.py", "VALUE = 5\n")

    assert {"compiled": 2} == changed(hook(pyctrigger, [*scope[:2], "--site-dir", str(second)]))
    (second / "new.py").write_text("")
    assert {"compiled": 2} == changed(hook(pyctrigger, [*scope, "--site-dir", str(second)]))


def test_other_options_look_at_everything(pyctrigger: Command, noted: Path, scope: list[str]) -> None:
    """What was enough for one level is not for two."""
    assert {"compiled": SOURCES} == changed(hook(pyctrigger, [*scope, "--optimize", "0,1"]))


def test_a_pycache_prefix_is_glanced_at(
    pyctrigger: Command, tree: Path, scope: list[str], newest: Interpreter, tmp_path: Path
) -> None:
    """The pycs of a directory lie in another tree."""
    if newest.version < (3, 8):
        pytest.skip("it knows no prefix")
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    elsewhere = [*scope, "--pycache-prefix", str(prefix)]
    assert {"compiled": SOURCES} == changed(hook(pyctrigger, elsewhere))
    wait_for_the_next_tick(prefix)
    hook(pyctrigger, elsewhere)
    shutil.rmtree(f"{prefix}{tree}/package/inner")
    (tree / "other/new.py").write_text("")

    assert {"compiled": 2} == changed(hook(pyctrigger, elsewhere))
    assert {} == changed(hook(pyctrigger, elsewhere))


def test_a_hook_killed_at_work_leaves_what_it_found_in_the_journal(
    pyctrigger: Command, noted: Path, scope: list[str]
) -> None:
    """Recorded before the change, for the next run."""
    lines = "".join(f"def f{number}(a, b):\n    return [a + {number}, b]\n" for number in range(30_000))
    write_tree(noted, {"slow/m.py": lines})
    child = pyctrigger.start("run", "--hook", *scope, ELSEWHERE)
    deadline = time.monotonic() + 60
    while not list(pyctrigger.state.glob("*/journal/*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()

    (entry,) = pyctrigger.state.glob("*/journal/*.json")
    paths = [bytes.fromhex(path) for path in json.loads(entry.read_bytes())["paths"]]
    assert os.fsencode(noted / "slow") in paths
    assert os.fsencode(ELSEWHERE) not in paths
    assert {"compiled": 1} == changed(pyctrigger.json("run", *scope, "--paths-from", "/dev/null"))


# -- what can't be healed costs nothing ------------------------------------------------------------------------------


def make_untrusted(site: Path) -> None:
    """Everybody may write there."""
    write_tree(site, {"open/m.py": ""}).joinpath("open").chmod(0o777)


def make_obstructed(site: Path) -> None:
    """A file where the `__pycache__` should be."""
    write_tree(site, {"obstructed/m.py": "", "obstructed/__pycache__": "a file"})


def make_blocked(site: Path) -> None:
    """A directory that has the name of each pyc it could have."""
    write_tree(site, {"blocked/m.py": "", "blocked/n.py": ""})
    for tag in map(tag_of, find_interpreters()):
        (site / f"blocked/__pycache__/m.{tag}.pyc").mkdir(parents=True, exist_ok=True)


def make_linked(site: Path) -> None:
    """Links to sources: to one, to nothing, and out of the tree."""
    write_tree(site, {"linked/m.py": ""})
    for name, goal in (("good", "../other/__init__.py"), ("dangling", "gone.py"), ("out", "/etc/hostname")):
        (site / f"linked/{name}.py").symlink_to(goal)


HOPELESS: dict[str, Callable[[Path], Any]] = {
    "doesn't compile": lambda site: write_tree(site, {"bad/m.py": "def\n", "bad/n.py": ""}),
    "young residue": lambda site: write_tree(site, {"other/__pycache__/.pyctrigger-x-0123456789abcdef.tmp": ""}),
    "untrusted": make_untrusted,
    "obstructed": make_obstructed,
    "blocked": make_blocked,
    "links": make_linked,
    "deep": lambda site: write_tree(site, {"d/" * 210 + "m.py": ""}),
}


@pytest.mark.parametrize("kind", HOPELESS)
def test_what_cannot_be_healed_is_told_and_looked_at_no_more(
    pyctrigger: Command, tree: Path, scope: list[str], kind: str
) -> None:
    """Once the hooks have done what they could, all is noted, and they are silent; what changes is seen as ever."""
    HOPELESS[kind](tree)
    for _ in range(3):
        hook(pyctrigger, scope)
        wait_for_the_next_tick(tree)

    idle = pyctrigger.text("run", "--hook", *scope, tree / "none/of/these")

    assert all(part[0] for part in parts(pyctrigger).values())
    assert "" == idle.out + idle.err
    write_tree(tree, {"new/m.py": ""})
    assert {"compiled": 1} == changed(hook(pyctrigger, scope))


def test_a_trust_that_is_mended_is_seen(pyctrigger: Command, tree: Path, scope: list[str]) -> None:
    """Another mode is another state of the directory."""
    make_untrusted(tree)
    for _ in range(3):
        hook(pyctrigger, scope)
        wait_for_the_next_tick(tree)
    (tree / "open").chmod(0o755)

    assert {"compiled": 1} == changed(hook(pyctrigger, scope))


def test_what_a_link_leads_to_is_seen(pyctrigger: Command, tree: Path, scope: list[str]) -> None:
    """It is in another part, and its change in no directory of the link."""
    make_linked(tree)
    for _ in range(3):
        hook(pyctrigger, scope)
        wait_for_the_next_tick(tree)
    unpack(tree / "other/__init__.py", "VALUE = 7\n")

    assert {"compiled": 2} == changed(hook(pyctrigger, scope))


def test_residue_goes_when_it_is_old(pyctrigger: Command, noted: Path, scope: list[str], newest: Interpreter) -> None:
    """Though nothing changes: the note says until when it holds."""
    residue = noted / f"other/__pycache__/m.{tag_of(newest)}.pyc.1234"
    residue.write_bytes(b"")
    settle(pyctrigger, noted, scope)
    (path,) = pyctrigger.state.glob("*/parts")
    data = path.read_bytes()
    sites = json.loads(data.partition(b"\n")[0])["sites"]
    (site,) = sites.values()
    assert 3500 < site["parts"]["other"][2] - time.time() < 3600
    site["parts"]["other"][2] = time.time() - 1
    path.write_bytes(with_head(data, sites=sites))

    hook(pyctrigger, scope)

    assert residue.exists()  # it is young still, and looked at again all the same
    assert 3500 < parts(pyctrigger)["other"][2] - time.time() < 3600


def test_a_read_only_mount_is_healed_once_it_is_writable(
    as_root: None, pyctrigger: Command, tree: Path, scope: list[str]
) -> None:
    """Its hooks are silent meanwhile, and nothing is forgotten."""
    write_tree(tree, {"mounted/m.py": ""})
    place = tree / "mounted"
    script = f"mount -t tmpfs none {place}; touch {place}/m.py; mount -o remount,ro {place}"
    with private_mounts(script) as inside:
        pyctrigger.program = [*inside, *pyctrigger.program]
        hooks = [pyctrigger.text("run", "--hook", *scope, tree / "none/of/these") for _ in range(3)]
        subprocess.run([*inside, "mount", "-o", "remount,rw", place], check=True)
        hooks.append(pyctrigger.text("run", "--hook", *scope, tree / "none/of/these"))
        pycs = subprocess.run(
            [*inside, "ls", place / "__pycache__"], capture_output=True, text=True, check=False
        ).stdout

    assert [0] * 4 == [each.code for each in hooks]
    assert ("", "") == (hooks[2].out, hooks[2].err)
    assert 1 == pycs.count(".pyc")


# -- notes that aren't to be believed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: bytes(len(data)),
        lambda data: data.replace(b"package", b"../etc."),
        lambda data: data.replace(b"null", b"[]"),
        lambda data: data.replace(b"null", b"1e999"),
        lambda data: with_head(data, format=0),
        lambda data: with_head(data, records=[1]),
        lambda data: with_head(data, sites={"/": 7}),
        lambda data: with_head(data, sites=[1]),
        lambda data: data.partition(b"\n")[0] + b"\n" + bytes(len(data.partition(b"\n")[2])),
        lambda data: data.replace(b"\n", b"", 1),
    ],
)
def test_damaged_notes_cost_a_look(
    pyctrigger: Command, noted: Path, scope: list[str], damage: Callable[[bytes], bytes]
) -> None:
    """No more than that: what has changed is healed, and they are written anew."""
    (path,) = pyctrigger.state.glob("*/parts")
    path.write_bytes(damage(path.read_bytes()))
    unpack(noted / "package/inner/c.py", "VALUE = 9\n")

    assert {"compiled": 1} == changed(hook(pyctrigger, scope))
    settle(pyctrigger, noted, scope)


def test_what_is_held_about_a_tree_has_a_bound(pyctrigger: Command, tree: Path, scope: list[str]) -> None:
    """As if it were lower: the parts that have no room aren't noted, and are looked at each time."""
    for number in range(30):
        write_tree(tree, {f"large/part{number}/__init__.py": ""})
    limit = (
        "import sys; from pyctrigger.run.plan import glance; glance._MOST_HELD = 1500; from pyctrigger.cli import main"
    )
    pyctrigger.program = [sys.executable, "-c", f"{limit}; sys.exit(main())"]
    pyctrigger.json("run", *scope)
    wait_for_the_next_tick(tree)
    hook(pyctrigger, scope)

    noted = parts(pyctrigger)
    assert {"other", "package"} == {name for name, part in noted.items() if name and part[0]} - {"package-1.dist-info"}
    assert not noted.get("large", [""])[0]
    (tree / "large/part7/__init__.py").write_text("x = 1\n")
    assert {"compiled": 1} == changed(hook(pyctrigger, scope))
