"""Read-only places are reported once, and the rest is done; what becomes read-only during a run isn't forgotten."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from confinement import Machine
    from interpreters import Interpreter

SITE = "/mnt/site"


class Tree:
    """A site directory on a private tmpfs, in which anything can be mounted."""

    def __init__(self, machine: Machine, interpreter: Interpreter) -> None:
        self.command = machine.command
        self.interpreter = interpreter
        self.site = machine.top / SITE.lstrip("/")
        self._inside = machine.command.program[:3]

    def mount(self, *words: str) -> None:
        """The mount program, inside."""
        subprocess.run([*self._inside, "mount", *words], check=True)

    def freeze(self, name: str) -> None:
        """Mount a directory of the site read-only over itself, as a compose file does."""
        self.mount("--bind", f"{SITE}/{name}", f"{SITE}/{name}")
        self.mount("-o", "remount,bind,ro", f"{SITE}/{name}")

    def freeze_under(self, child: subprocess.Popen[bytes], options: str, at: str) -> None:
        """Mount something anew while a command is at work there: not at a moment when it has a file open."""
        for _ in range(100):
            child.send_signal(signal.SIGSTOP)
            done = subprocess.run([*self._inside, "mount", "-o", options, at], capture_output=True, check=False)
            child.send_signal(signal.SIGCONT)
            if done.returncode == 0:
                return
            time.sleep(0.002)  # on a busy machine it would be stopped again where it was
        child.kill()
        child.communicate()
        raise AssertionError(done.stderr)

    @property
    def scope(self) -> list[str]:
        """The options for this tree."""
        return ["--python", self.interpreter.path, "--site-dir", SITE]

    @property
    def entries(self) -> list[Path]:
        """The contents of the journal."""
        return list(self.command.state.glob("*/journal/*.json"))

    def stale(self, below: str = "") -> list[str]:
        """The sources without fresh bytecode, of those below a directory; relative to the site."""
        found = not_fresh(self.interpreter, sources_below(self.site / below))
        return sorted({str(Path(path.decode()).relative_to(self.site)) for path, _ in found})


@pytest.fixture
def tree(as_root: None, machine: Machine, newest: Interpreter) -> Tree:
    """An empty site directory."""
    made = Tree(machine, newest)
    made.site.mkdir()
    return made


def line(path: str) -> str:
    """The message about a place that can't be written."""
    return f"{path} is on a read-only file system; nothing was changed there"


@pytest.mark.parametrize("verb", [["run"], ["repair"]], ids=" ".join)
@pytest.mark.parametrize(
    "frozen", ["alpha", "omega", "middle/inner", "middle/inner/__pycache__"], ids=lambda name: name.replace("/", "-")
)
def test_a_package_mounted_read_only_is_one_line_and_the_rest_is_done(tree: Tree, verb: list[str], frozen: str) -> None:
    """Wherever it comes in the order; the next run does nothing but report it again."""
    packages = ("alpha", "middle", "middle/inner", "middle/inner/deep", "omega")
    write_tree(tree.site, {f"{package}/m{number}.py": f"x = {number}\n" for package in packages for number in range(3)})
    (tree.site / frozen).mkdir(exist_ok=True)
    tree.freeze(frozen)
    here = frozen.removesuffix("/__pycache__")
    deep = frozen == "middle/inner"
    left = [f"{here}/m{number}.py" for number in range(3)]
    left = sorted(left + [f"{here}/deep/m{number}.py" for number in range(3)]) if deep else left

    first = tree.command.json(*verb, *tree.scope)

    assert (0, [], [line(f"{SITE}/{frozen}")]) == (first.code, first.failures, first.run["notices"])
    assert (15 - len(left), len(left)) == (first.counts["compiled"], first.counts["skipped"])
    assert left == tree.stale()
    before = snapshot(tree.site)
    again = tree.command.json(*verb, *tree.scope)
    assert (0, [], [line(f"{SITE}/{frozen}")]) == (again.code, again.failures, again.run["notices"])
    assert (0, len(left)) == (again.counts["failed"], again.counts["skipped"])
    assert verb == ["repair"] or before == snapshot(tree.site)
    assert [] == tree.entries


@pytest.mark.parametrize("verb", [["run"], ["repair"], ["sweep"], ["purge", "-y"]], ids=" ".join)
def test_a_dry_run_tells_what_the_run_would_do_and_leave(tree: Tree, verb: list[str]) -> None:
    """What can't be written is no action, and reported once; the run then does exactly what was listed."""
    write_tree(tree.site, {f"{package}/m{number}.py": "" for package in ("frozen", "open") for number in range(3)})
    tree.command.json("run", *tree.scope)
    for package in ("frozen", "open"):
        (tree.site / package / "m0.py").unlink()
        (tree.site / package / "m1.py").write_text("changed = 1\n")
    (tree.site / "frozen/m2.py").chmod(0o600)
    tree.freeze("frozen")

    told = tree.command.json(*verb, *tree.scope, "--dry-run")

    assert (0, [line(f"{SITE}/frozen")]) == (told.code, told.run["notices"])
    assert [] == [action for action in told.run["actions"] if "/frozen/" in action["path"]]
    done = tree.command.json(*verb, *tree.scope)
    removed = [action for action in told.run["actions"] if action["action"] == "remove"]
    assert (told.run["notices"], len(removed)) == (done.run["notices"], done.counts["removed"])
    assert told.counts["skipped"] == done.counts["skipped"]


def test_a_run_with_nothing_to_do_but_what_is_frozen_takes_no_lock(tree: Tree) -> None:
    """Nor an entry in the journal, nor one in the history: it is as idle as any other."""
    write_tree(tree.site, {"frozen/m.py": "", "other/m.py": ""})
    tree.freeze("frozen")
    tree.command.json("run", *tree.scope)
    shown = json.loads(tree.command.text("history", "--json").out)

    for arguments in (["--hook"], ["--hook", f"{SITE}/frozen"], ["--hook", f"{SITE}/other", f"{SITE}/frozen"]):
        assert 0 == tree.command.json("run", *tree.scope, *arguments).code

    assert shown == json.loads(tree.command.text("history", "--json").out)


def test_a_writable_mount_inside_a_read_only_tree_is_served(tree: Tree) -> None:
    """The other way round, as a volume in an image is."""
    write_tree(tree.site, {"volume/m.py": "", "image/m.py": "", "n.py": ""})
    tree.mount("--bind", f"{SITE}/volume", f"{SITE}/volume")
    tree.mount("--bind", SITE, SITE)
    tree.mount("-o", "remount,bind,ro", SITE)
    tree.mount("--bind", "/mnt/site/volume", f"{SITE}/volume")
    tree.mount("-o", "remount,bind,rw", f"{SITE}/volume")

    outcome = tree.command.json("run", *tree.scope)

    assert (0, [line(SITE)]) == (outcome.code, outcome.run["notices"])
    assert ["image/m.py", "n.py"] == tree.stale()


def test_a_dead_package_that_is_a_mount_stays_and_is_no_failure(tree: Tree) -> None:
    """Its orphans go, and the directory that something is mounted on can't."""
    write_tree(tree.site, {"dead/m.py": "", "alive/m.py": ""})
    tree.command.json("run", *tree.scope)
    (tree.site / "dead/m.py").unlink()
    tree.mount("--bind", f"{SITE}/dead", f"{SITE}/dead")

    for _ in range(2):
        outcome = tree.command.json("run", *tree.scope)
        assert (0, []) == (outcome.code, outcome.failures)

    assert [] == list((tree.site / "dead").iterdir())


@pytest.mark.parametrize("verb", [["run"], ["run", "--hook"]], ids=" ".join)
@pytest.mark.parametrize("frozen", ["", "package7"], ids=["all", "one mount"])
def test_a_tree_that_turns_read_only_stays_in_the_journal(tree: Tree, verb: list[str], frozen: str) -> None:
    """It says what it left, a monitor is warned, and once it can be written the next hook finishes it."""
    text = "".join(f"name{number} = {number}\n" for number in range(100))
    # Answers are written some sixty at once: the package that is watched has many times as many.
    counts = [400 if f"package{number}" == (frozen or "package3") else 30 for number in range(10)]
    write_tree(tree.site, {f"package{n}/m{each}.py": text for n, count in enumerate(counts) for each in range(count)})
    if frozen:
        tree.mount("--bind", f"{SITE}/{frozen}", f"{SITE}/{frozen}")
    at = f"{SITE}/{frozen}" if frozen else "/mnt"
    how = "remount,bind" if frozen else "remount"
    child = tree.command.start(*verb, "--json", *tree.scope, "--jobs", "1", cwd="/")
    watched = tree.site / (frozen or "package3") / "__pycache__"
    while child.poll() is None and not (watched.is_dir() and len(list(watched.iterdir())) > 2):
        pass  # a wait between two looks would miss it
    tree.freeze_under(child, f"{how},ro", at)
    out, err = child.communicate(timeout=100)
    (run,) = json.loads(out)["runs"]

    stale = tree.stale()
    assert stale, "the tree was frozen too late to tell"
    reason = f"it became read-only during the run; sources that were left: {len(stale)}"
    path = f"{SITE}/{frozen}" if frozen else SITE
    assert [{"path": path, "kind": "io", "message": reason}] == run["failures"]
    assert [] == run["notices"]
    assert (sum(counts) - len(stale), len(stale)) == (run["counts"]["compiled"], run["counts"]["failed"])
    assert (0 if "--hook" in verb else 1) == child.returncode
    assert b"the work on a read-only file system stays in the journal until that is writable again" in err
    assert 1 == len(tree.entries)
    checked = tree.command.text("status", "--check", "--python", tree.interpreter.path)
    assert (1, True) == (checked.code, "the last run failed" in checked.out), checked.out + checked.err

    if not frozen:
        for _ in range(4):
            tree.command.json("run", *tree.scope, "--hook", f"{SITE}/package1")
        assert 1 == len(tree.entries)
    tree.mount("-o", f"{how},rw", at)
    done = tree.command.json("run", *tree.scope, "--hook", f"{SITE}/package1")
    assert (0, len(stale)) == (done.code, done.counts["compiled"])
    assert ([], []) == (tree.stale(), tree.entries)
