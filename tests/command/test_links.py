"""Links in a site directory: to a source in it, to one outside, which is reported, and to other files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from command import Command
from confinement import NOBODY
from conftest import absent
from packages import write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

#: What a link leads to (see `goal_of`), and what becomes of it.
CASES = {
    "dangling": "ignored",
    "file-in-tree": "compiled",
    "file-outside": "refused",
    "directory": "ignored",
    "device": "ignored",
    "circle": "ignored",
    "through-a-file": "ignored",
    "odd-bytes": "compiled",
    "odd-bytes-outside": "refused",
    "dangling-outside": "ignored",
    "circle-outside": "ignored",
    "directory-outside": "ignored",
    "locked": "ignored",
}


def goal_of(case: str, site: Path) -> bytes:
    """Make what the link of a case leads to, and return its full path."""
    outside = site.parent / "outside"
    outside.mkdir(exist_ok=True)
    outside.chmod(0o777)
    base = outside if case.endswith("outside") else site
    kind = case.replace("-outside", "")
    goal = os.fsencode(base / f"goal-{kind}")
    if kind in ("file-in-tree", "file"):
        goal += b".txt"
    elif kind == "odd-bytes":
        goal += b"\xff\n.txt"
    elif kind == "device":
        return b"/dev/null"
    elif kind == "locked":  # an editor's: who has it open
        return b"/nobody@machine.1234:5678"
    if kind == "directory":
        os.mkdir(goal)
    elif kind == "circle":
        os.symlink(goal, goal)
    elif kind != "dangling":
        with open(goal, "wb") as file:
            file.write(b"VALUE = 1\n")
    return goal + b"/deeper" if kind == "through-a-file" else goal


@pytest.fixture
def beside(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, with a state directory that isn't in any root of a test."""
    return Command(tmp_path_factory.mktemp("state"))


@pytest.mark.parametrize("is_staged", [False, True], ids=["system", "staged"])
@pytest.mark.parametrize("is_absolute", [False, True], ids=["relative", "absolute"])
def test_what_a_link_leads_to_decides(
    beside: Command, site: Path, newest: Interpreter, is_absolute: bool, is_staged: bool
) -> None:
    """Whether it is absolute or relative makes no difference, and of one that leads out only the first run fails."""
    root = os.fsencode(site.parent)
    for case in CASES:
        goal = goal_of(case, site)
        if not is_absolute:
            goal = os.path.relpath(goal, os.fsencode(site))
        elif is_staged and goal.startswith(root):
            goal = b"/" + os.path.relpath(goal, root)
        os.symlink(goal, site / f"{case}.py")
    where = ["--root", str(site.parent), "--site-dir", "/site"] if is_staged else ["--site-dir", str(site)]
    options = ["--python", newest.path, *where]
    run = beside.json("run", *options)
    seen = {os.path.basename(failure["path"])[:-3]: failure["kind"] for failure in run.failures}
    seen |= {pyc.name.split(".")[0]: "compiled" for pyc in (site / "__pycache__").iterdir()}
    assert CASES == {case: seen.get(case, "ignored") for case in CASES}
    assert 1 == run.code
    assert 0 == beside.json("run", *options).code


#: Ways out of a site directory: the mode of the directory that a link leads into, what of it is in other hands (root
#: alone can give it away), and what becomes of the link.
WAYS: dict[str, tuple[int, tuple[str, ...], str]] = {
    "ours": (0o755, (), "compiled"),
    "entered_by_all": (0o711, (), "compiled"),
    "other_file": (0o755, ("goal",), "compiled"),
    "written_by_a_group": (0o775, (), "refused"),
    "written_by_all": (0o1777, (), "refused"),
    "not_entered_by_all": (0o750, (), "refused"),
    "with_an_access_list": (0o755, (), "refused"),
    "other_directory": (0o755, ("directory",), "refused"),
    "other_link": (0o755, ("link",), "refused"),
    "other_link_on_the_way": (0o755, ("middle",), "refused"),
}


@pytest.mark.parametrize("is_absolute", [False, True], ids=["relative", "absolute"])
def test_a_way_out_is_taken_where_nobody_else_leads_it(
    beside: Command, tmp_path: Path, newest: Interpreter, is_absolute: bool
) -> None:
    """Debian's `sitecustomize.py` leads to /etc: only root may change the way there, and everybody may go it."""
    site, etc = tmp_path / "usr/lib/packages", tmp_path / "etc"
    write_tree(site, {"inside.py": "x = 1\n"})
    ways = {way: facts for way, facts in WAYS.items() if os.geteuid() == 0 or not facts[1]}
    for way, (mode, others, _) in ways.items():
        write_tree(etc / way, {"goal.conf": "x = 1\n"})
        (etc / way / "middle").symlink_to(f"/etc/{way}" if is_absolute else ".")
        (site / f"{way}.py").symlink_to(f"{'' if is_absolute else '../../..'}/etc/{way}/middle/goal.conf")
        (etc / way).chmod(mode)
        parts = {"goal": etc / way / "goal.conf", "directory": etc / way, "middle": etc / way / "middle"}
        for part in others:
            os.chown(parts.get(part, site / f"{way}.py"), NOBODY, NOBODY, follow_symlinks=False)
    give_access_list(etc / "with_an_access_list")
    options = ["--python", newest.path, "--root", str(tmp_path), "--site-dir", "/usr/lib/packages"]

    run = beside.json("run", *options)

    seen = {os.path.basename(failure["path"])[:-3]: failure["kind"] for failure in run.failures}
    seen |= {pyc.name.split(".")[0]: "compiled" for pyc in (site / "__pycache__").iterdir()}
    assert {"inside": "compiled", **{way: result for way, (_, _, result) in ways.items()}} == seen
    (etc / "ours/goal.conf").write_text("x = 22\n")
    assert 1 == beside.json("run", *options).counts["compiled"]


def give_access_list(directory: Path) -> None:
    """Let everybody but one account enter a directory."""
    program = find_tool("setfacl")
    if program is None:
        absent("no setfacl on this machine (Debian package acl)")
    subprocess.run([program, "-m", f"u:{NOBODY}:---", str(directory)], check=True)


def test_many_links_out_are_one_line(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Thirty links out are one line for people, all of them for programs, and nothing in the next run."""
    write_tree(site.parent / "outside", {f"m{number:02}.py": "" for number in range(30)})
    (site.parent / "outside").chmod(0o777)
    for source in (site.parent / "outside").iterdir():
        (site / source.name).symlink_to(source)
    told = pyctrigger.text("run", *scope)
    assert 1 == told.code
    assert 1 == len([line for line in told.err.splitlines() if "leads out of the site directory" in line])
    assert "and 27 more" in told.err
    assert 0 == pyctrigger.text("run", *scope).code
    assert 30 == len(pyctrigger.json("run", "--stateless", *scope).failures)


def test_many_links_to_directories_are_one_line(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """In order, and with what compiles what they lead to."""
    outside = site.parent / "outside"
    for name in "dbeca":
        write_tree(outside / name, {"m.py": ""})
        (site / name).symlink_to(outside / name)
    named = ", ".join(str(site / name) for name in "abc")
    advice = f"compile where the sources are, as with pyctrigger run --site-dir {outside}/a"
    expected = f"{named} and 2 more (--json has all) are links; nothing is compiled through them; {advice}\n"
    assert expected == pyctrigger.text("run", *scope).err


@pytest.fixture
def linked(site: Path) -> Path:
    """What the packages `linked` and `inner/linked` of a site directory really are: directories outside."""
    outside = site.parent / "outside"
    write_tree(outside, {"package/__init__.py": "", "package/m.py": "", "names/space/x.py": "", "data/text.txt": ""})
    write_tree(site, {"real/__init__.py": "", "inner/m.py": ""})
    (site / "linked").symlink_to(outside / "package")
    (site / "inner/linked").symlink_to("../../outside/names")
    (site / "data").symlink_to(outside / "data")
    (site / "again").symlink_to("real")
    (site / "gone").symlink_to(outside / "gone")
    return outside


@pytest.mark.parametrize("verb", ["run", "hook"])
def test_a_link_to_a_directory_is_told_once(
    pyctrigger: Command, site: Path, scope: list[str], linked: Path, verb: str
) -> None:
    """Where sources lie behind it that no run compiles; a hook remembers, and nothing fails."""
    options = ["--hook", *scope] if verb == "hook" else scope
    links = [
        {"path": str(site / "inner/linked"), "leads_to": str(linked / "names")},
        {"path": str(site / "linked"), "leads_to": str(linked / "package")},
    ]
    first = pyctrigger.json("run", *options)
    assert (0, links) == (first.code, sorted(first.run["links"], key=lambda link: link["path"]))
    second = pyctrigger.json("run", *options)
    assert (0, []) == (second.code, second.run["links"])
    assert (0, 2) == (second.counts["skipped"], second.counts["fresh"])
    assert not list(linked.rglob("__pycache__"))


def test_a_person_reads_where_to_compile_instead(
    pyctrigger: Command, site: Path, scope: list[str], linked: Path
) -> None:
    """A line for each link, and `explain` and `which` say so of what is reached through it."""
    write_tree(linked, {"a b/m.py": "x = 1\n"})
    told = pyctrigger.text("run", *scope).err
    assert f"{site}/linked is a link to {linked}/package; its sources aren't compiled through it" in told
    instead = f"{site}/linked is a link to {linked}/package; its sources aren't compiled through it; "
    instead += f"compile where they are: pyctrigger run --site-dir {linked}/package"
    (site / "spaced").symlink_to(linked / "a b")
    assert f"compile where they are: pyctrigger run --site-dir '{linked}/a b'" in pyctrigger.text("repair", *scope).err
    for path in ("linked", "linked/m.py"):
        (explained,) = pyctrigger.json("explain", *scope, str(site / path)).document["explanations"]
        assert instead == explained["flavours"][0]["note"]
    (explained,) = pyctrigger.json("explain", *scope, str(site / "again/__init__.py")).document["explanations"]
    assert (
        f"{site}/again is a link to {site}/real; sources there are compiled there" == explained["flavours"][0]["note"]
    )


def test_another_site_directory_needs_no_word(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """What a link leads to is compiled where it is."""
    other = site.parent / "other"
    write_tree(other, {"package/m.py": ""})
    (site / "package").symlink_to(other / "package")
    assert [] == pyctrigger.json("run", *scope, "--site-dir", str(other)).run["links"]
