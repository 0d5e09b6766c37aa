"""The state of staged roots: on the host, for each root, whatever its owner puts into it or in its place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_staged_root import inside, make_root

from conftest import absent
from packages import pycs_below, write_tree
from pyctrigger.interpreter.probe import probe
from strangers import KINDS, MOST_MEMORY, Outside, is_in_time, plant, run_measured, swapping

if TYPE_CHECKING:
    from command import Argument, Command, Outcome
    from interpreters import Interpreter
    from strangers import Cost

STATE = "var/lib/pyctrigger"


class Root:
    """A root with three sources in it, and the command for it."""

    def __init__(self, pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
        self.pyctrigger = pyctrigger
        self.path = make_root(tmp_path / "root", newest)
        self.site = self.path / inside(newest)[1:]
        self.inside = inside(newest)
        self.python = newest.path
        self._interpreter = newest

    @property
    def arguments(self) -> list[Argument]:
        """Which root, and which Python."""
        return ["--root", self.path, "--python", self.python]

    def run(self, *arguments: Argument) -> Outcome:
        """Run for it."""
        return self.pyctrigger.json("run", *self.arguments, *arguments)

    def control(self) -> Cost:
        """What the same costs over a root with nothing else in it."""
        make_root(self.path.parent / "control", self._interpreter)
        return run_measured(
            self.pyctrigger, "run", "--root", self.path.parent / "control", "--python", self.python, "--stateless"
        )

    def pending(self) -> int:
        """How many entries wait for it."""
        status = self.pyctrigger.json("status", *self.arguments).run["status"]
        assert isinstance(status["pending"], int)
        return status["pending"]

    @property
    def state(self) -> Path:
        """The directory of its state."""
        (directory,) = (self.pyctrigger.state / "roots").iterdir()
        return directory

    @property
    def own_files(self) -> list[str]:
        """What it holds beside the directories of its sources."""
        top = os.fspath(self.path)
        found = [os.path.join(where, name) for where, _, names in os.walk(top) for name in names]
        return [path for path in found if inside_of(path, self.site) is None]


def inside_of(path: str, site: Path) -> str | None:
    """The path relative to a site directory, if it is inside."""
    return os.path.relpath(path, site) if path.startswith(f"{site}/") else None


def are_readable(names: list[str], root: Root) -> list[bool]:
    """Whether each directory is named after the root."""
    return [name.rpartition("-")[0] == f"{root.path}".strip("/").replace("/", "-")[-100:].strip("-") for name in names]


@pytest.fixture
def root(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> Root:
    """A root."""
    return Root(pyctrigger, newest, tmp_path)


# -- where it lies ---------------------------------------------------------------------------------------------------


def test_state_lies_on_the_host_in_a_directory_that_a_person_can_read(root: Root) -> None:
    """Named after the root, private, with all that an installation has; the root gets only bytecode."""
    outcome = root.run()

    assert (0, 3) == (outcome.code, outcome.counts["compiled"])
    assert [True] == are_readable([root.state.name], root)
    assert [0o40700] * 2 == [path.stat().st_mode for path in (root.state, root.state.parent)]
    assert {"manifest.sqlite", "parts", "magic_number"} <= set(os.listdir(root.state / outcome.run["installation"]))
    assert {"root.json", "interpreters", "history.sqlite"} <= set(os.listdir(root.state))
    assert [] == root.own_files
    assert 3 == root.run().counts["fresh"]


def test_without_options_it_lies_below_the_state_directory_of_the_account(root: Root, tmp_path: Path) -> None:
    """Root's is fixed; everybody else's is where platformdirs says."""
    command = [*root.pyctrigger.program, "run", *map(str, root.arguments)]
    if os.geteuid() == 0:
        if not sys.platform.startswith("linux") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            absent("no mounts of one's own here: root's fixed places would be changed")
        place = f"/{STATE}"
        script = f'mkdir -p {place} && mount -t tmpfs -o mode=0700 none {place} && "$@" >&2 && ls {place}/roots'
        command = ["unshare", "-m", "sh", "-c", script, "sh", *command]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    else:
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "own")}
        subprocess.run(command, env=environment, capture_output=True, check=True)
        found = os.listdir(tmp_path / "own/pyctrigger/roots")

    assert [True] == are_readable(found, root)


def test_every_name_of_a_root_means_one_state_and_two_roots_have_two(
    root: Root, newest: Interpreter, tmp_path: Path
) -> None:
    """A link to it is it; another directory isn't, with the same sources."""
    root.run()
    (tmp_path / "link").symlink_to("root")
    make_root(tmp_path / "other", newest)

    fresh = [
        root.pyctrigger.json("run", "--root", tmp_path / name, "--python", newest.path).counts["fresh"]
        for name in ("link", "other", "other")
    ]

    assert [3, 0, 3] == fresh
    assert 2 == len(list((root.pyctrigger.state / "roots").iterdir()))


def test_a_verb_that_only_looks_makes_no_state(root: Root) -> None:
    """Neither for an unknown root, nor with `--dry-run`."""
    for verb, more in (
        ("verify", []),
        ("status", []),
        ("run", ["--dry-run"]),
        ("explain", [f"{root.inside}/single.py"]),
    ):
        root.pyctrigger.json(verb, *root.arguments, *more)
    assert [] == list(root.pyctrigger.state.glob("**/*"))


def test_all_verbs_read_what_the_run_has_left(root: Root) -> None:
    """`status` its pending work, `history` its runs, `which` and `explain` its records."""
    write_tree(root.site, {"package/bad.py": "x = = 1\n"})
    root.run()
    root.run("--defer", f"{root.inside}/package")

    assert 1 == root.pending()
    assert 0 == root.pyctrigger.json("status", *root.arguments, "--check").code
    runs = root.pyctrigger.json("history", "--root", root.path).document["history"]
    assert ["deferred", "failed"] == [run["outcome"] for run in runs]
    assert [] == root.pyctrigger.json("history").document["history"]
    why = root.pyctrigger.json("explain", *root.arguments, f"{root.inside}/package/bad.py").document
    assert "run 1" in str(why) or '"run": 1' in str(why).replace("'", '"')


def test_what_was_deferred_is_done_by_the_next_run_of_the_host(root: Root) -> None:
    """With an empty list of paths."""
    root.run("--defer", f"{root.inside}/package")
    assert [] == pycs_below(root.path)

    assert (3, 0) == (root.run("").counts["compiled"], root.pending())


def test_doctor_names_the_roots_that_have_work_waiting(root: Root) -> None:
    """With the command that does it; nothing of a root that has none."""

    def findings() -> list[tuple[str, str]]:
        document = root.pyctrigger.json("doctor").document
        return [(each["message"], each["command"]) for each in document["findings"] if "root" in each["message"]]

    root.run()
    assert [] == findings()
    root.run("--defer", f"{root.inside}/package")
    command = f"pyctrigger run --root {root.path} --state-dir {root.pyctrigger.state}"
    assert [(f"work is pending for the root {root.path}", command)] == [
        (message, re.sub("^(sudo )?.*pyctrigger run", "pyctrigger run", command)) for message, command in findings()
    ]


@pytest.mark.parametrize("place", ["root/var/state", "root", "link/state"])
def test_a_state_directory_inside_the_root_is_refused(root: Root, tmp_path: Path, place: str) -> None:
    """By any name: what is there isn't trusted."""
    (tmp_path / "link").symlink_to("root/usr")
    outcome = root.pyctrigger.json("run", "--state-dir", tmp_path / place, *root.arguments)

    assert 2 == outcome.code
    assert "and state there isn't trusted" in outcome.document["errors"][0]["message"]
    assert [] == pycs_below(root.path) + root.own_files


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anybody whom it trusts less than itself")
def test_root_refuses_a_state_directory_that_another_account_could_exchange(root: Root, tmp_path: Path) -> None:
    """Whichever account owns a directory above it."""
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1234, 1234)

    outcome = root.pyctrigger.json("run", "--state-dir", tmp_path / "theirs/state", *root.arguments)

    assert 77 == outcome.code
    assert [] == os.listdir(tmp_path / "theirs")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anybody whom it trusts less than itself")
def test_root_makes_one_directory_where_everybody_may_make_some(root: Root, tmp_path: Path) -> None:
    """It is root's, or refused; of two, somebody else could make the first meanwhile, and exchange the second."""
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)

    codes = [
        root.pyctrigger.json("run", "--state-dir", sticky / place, *root.arguments).code
        for place in ("one/two", "one", "one/two")
    ]

    assert [77, 0, 0] == codes
    assert 0o700 == (sticky / "one").stat().st_mode & 0o7777


def test_runs_that_begin_at_once_share_the_state_of_a_root(root: Root) -> None:
    """The first of all, four times: one makes it, none goes without, and none takes it for another root's."""
    children = [root.pyctrigger.start("run", *root.arguments) for _ in range(4)]
    said = [child.communicate(timeout=120) for child in children]

    assert [(0, b"")] * 4 == [(child.returncode, err) for child, (_, err) in zip(children, said)]
    assert (0, 3) == (root.pending(), root.run().counts["fresh"])


# -- another root in the place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pending", [False, True])
def test_another_directory_in_the_place_is_looked_at_as_a_whole(root: Root, tmp_path: Path, pending: bool) -> None:
    """What was known is dropped with a word, and one entry is pending, for each interpreter that comes."""
    root.run(*(["--defer", f"{root.inside}/package"] if pending else []))
    root.path.rename(tmp_path / "before")
    shutil.copytree(tmp_path / "before", root.path)
    shutil.rmtree(root.site / "package/__pycache__", ignore_errors=True)

    assert 1 == root.pending()
    first, second = root.run("", "--optimize", "1"), root.run("")

    assert 3 == first.counts["compiled"]
    words = "isn't the same directory as before; its state is dropped, and everything is examined once"
    assert 1 == first.err.count(f"{root.path} {words}")
    assert ("", 0, 0) == (second.err, second.counts["compiled"], root.pending())
    assert 2 == len(root.pyctrigger.json("history", "--root", root.path).document["history"])


def test_a_directory_with_the_same_inode_and_another_birth_is_another(root: Root) -> None:
    """Inodes are given again; where the file system knows no birth, that is all that there is."""
    from pyctrigger.state.birth import birth_of
    from pyctrigger.state.roots import state_of_root

    descriptor = os.open(root.path, os.O_RDONLY)
    try:
        born = birth_of(descriptor, os.fstat(descriptor))
    finally:
        os.close(descriptor)
    said = subprocess.run(["stat", "-c", "%W", root.path], capture_output=True, text=True, check=True).stdout
    assert int(said) == born // 1_000_000_000
    assert state_of_root("/state", str(root.path)).identity[2] == born


def test_a_run_that_is_killed_while_it_forgets_leaves_that_to_the_next(root: Root) -> None:
    """What is half forgotten isn't believed."""
    root.run()
    note = root.state / "root.json"
    note.write_text(note.read_text().replace('"is_clear": true', '"is_clear": false'))

    assert (1, 3) == (root.pending(), root.run("").counts["fresh"])
    assert 0 == root.pending()


@pytest.mark.parametrize(
    "damage", ["", "{}", "[" * 100_000, '{"format": 1, "identity": [1, 2]}'], ids=["empty", "object", "deep", "half"]
)
def test_a_note_that_cant_be_read_is_none(root: Root, damage: str) -> None:
    """Everything is looked at."""
    root.run()
    (root.state / "root.json").write_text(damage)

    assert 3 == root.run("").counts["fresh"]
    assert 0 == root.pending()


# -- what lies inside ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["var/lib/pyctrigger", "var/db/pyctrigger"])
def test_state_of_an_earlier_release_in_the_root_is_answered_by_a_look_at_everything(root: Root, place: str) -> None:
    """Once, and with a word."""
    write_tree(root.path / place, {"cpython-311-3f2a9c1d/magic_number": "00000000"})

    write_tree(root.site, {"other/__init__.py": ""})
    first, second = root.run(f"{root.inside}/package"), root.run(f"{root.inside}/package")

    assert 4 == first.counts["compiled"]
    words = f"{root.path}: the state inside is from an earlier release and isn't read; everything is examined once"
    assert words in first.err
    assert (3, "") == (second.counts["fresh"], second.err)
    assert [f"{root.path}/{place}/cpython-311-3f2a9c1d/magic_number"] == root.own_files


#: Every name that an earlier release looked for, below its state directory.
FILES = (
    "{id}/manifest.sqlite",
    "{id}/manifest.sqlite-journal",
    "{id}/manifest.sqlite-wal",
    "{id}/parts",
    "{id}/magic_number",
    "{id}/environment.json",
    "{id}/journal/00000000000000000001-1-00000000.json",
    "unidentified-{flavour}/journal/00000000000000000001-1-00000000.json",
    "history.jsonl",
    "history.jsonl.1",
    "history.sqlite",
    "interpreters/00000000.json",
)
#: What is put into which place, at once: each file is of four kinds in its turn, and each kind is in four places; that
#: none of them is opened at all is shown in test_root_databases.py.
CASES = [
    *(dict(zip(FILES, [*KINDS, *KINDS][first:])) for first in (0, 4, 8, 12)),
    *(
        dict.fromkeys(directories, kind)
        for kind in ("link to a directory", "dangling link", "fifo")
        for directories in (("{id}/journal", "interpreters"), (".",), ("../../../var",))
    ),
]


@pytest.mark.parametrize("planted", CASES)
def test_nothing_in_the_place_of_state_inside_is_followed_opened_or_believed(
    root: Root, newest: Interpreter, tmp_path: Path, planted: dict[str, str]
) -> None:
    """All files at once, or directories: nothing outside changes, nothing waits, and the sources are compiled."""
    outside = Outside(tmp_path / "outside")
    words = {"id": installation_in(root.path, newest), "flavour": newest.flavour}
    for place, kind in planted.items():
        plant(kind, Path(os.path.normpath(root.path / STATE / place.format(**words))), outside)

    cost = run_measured(root.pyctrigger, "run", *root.arguments)

    assert (0, 3) == (cost.code, cost.compiled), cost.err
    assert outside.is_as_it_was
    assert is_in_time(cost, root.control)
    assert cost.memory < MOST_MEMORY


def installation_in(root: Path, interpreter: Interpreter) -> str:
    """What the owner of a root knows: the name of the directory that was looked for, by its device and inode."""
    status = root.stat()
    return probe(interpreter.path).interpreter.installation_in((status.st_dev, status.st_ino))


def test_a_directory_whose_name_is_a_key_makes_nobody_root(root: Root, newest: Interpreter, tmp_path: Path) -> None:
    """The manifest was a dangling link to `authorized_keys`: SQLite made the file, with the name in it."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA jail"
    write_tree(root.site, {f"\n{key}\n/module.py": ""})
    manifest = root.path / STATE / installation_in(root.path, newest)
    manifest.mkdir(parents=True)
    (manifest / "manifest.sqlite").symlink_to(tmp_path / "authorized_keys")

    assert 4 == root.run().counts["compiled"]
    assert not (tmp_path / "authorized_keys").exists()


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="root over a stranger's root")
def test_a_root_whose_owner_swaps_directories_for_links_meanwhile(
    root: Root, newest: Interpreter, tmp_path: Path
) -> None:
    """A process of the owner's does it as fast as it can: nothing is written outside, and the run ends in time."""
    tmp_path.chmod(0o755)  # as /srv is: the owner reaches it
    for above in tmp_path.parents[:2]:
        above.chmod(above.stat().st_mode | 0o011)
    outside = Outside(tmp_path / "outside")
    pairs: list[tuple[Path, Path]] = []
    for place in ("var/lib/pyctrigger", "var/lib/dpkg"):
        (root.path / place).mkdir(parents=True, mode=0o755)
        (root.path / f"{place}-link").symlink_to(outside.top)
        pairs.append((root.path / place, root.path / f"{place}-link"))
    for path in [root.path / "var", *(root.path / "var").rglob("*")]:
        os.chown(path, 1234, 1234, follow_symlinks=False)
    with swapping(1234, pairs):
        for number in range(4):
            write_tree(root.site, {f"module{number}.py": f"x = {number}\n"})
            cost = run_measured(root.pyctrigger, "run", *root.arguments)
            assert (0, 1 if number else 4) == (cost.code, cost.compiled), cost.err
            assert is_in_time(cost, root.control)

    assert outside.is_as_it_was


# -- how much of it --------------------------------------------------------------------------------------------------


def with_limits(root: Root, **limits: int) -> None:
    """As if a root could have less state: what fills the real limits takes hours."""
    settings = "; ".join(f"roots.{name} = {value}" for name, value in limits.items())
    program = (
        f"import sys; from pyctrigger.state import roots; {settings}; from pyctrigger.cli import main; sys.exit(main())"
    )
    root.pyctrigger.program = [sys.executable, "-c", program]


def size_of(directory: Path) -> int:
    """Bytes that all its files take."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())


def test_state_that_would_grow_past_its_bound_is_forgotten(root: Root) -> None:
    """With one word in each run; the whole scope stays pending, and is done by the next run."""
    write_tree(root.site, {f"{'long' * 50}{number:04}.py": "" for number in range(250)})
    with_limits(root, LARGEST=90_000)

    for _ in range(2):
        outcome = root.run("")  # the first has nothing to do yet
    outcome = root.run()

    assert (0, 253) == (outcome.code, outcome.counts["compiled"])
    assert 1 == outcome.err.count("its state would take more than 0 MiB; it is dropped")
    assert size_of(root.state) < 90_000
    assert 1 == root.pending()
    again = root.run("")
    assert 253 == again.counts["compiled"] + again.counts["fresh"]
    assert 1 == again.err.count("its state would take more than 0 MiB; it is dropped")
    assert size_of(root.state) < 90_000
    with_limits(root, LARGEST=1 << 20)
    root.run("")
    assert (0, "") == (root.pending(), root.run("").err)


def test_a_journal_keeps_no_more_names_than_a_root_may_have(root: Root) -> None:
    """A list of paths of 2 MB is one entry about everything."""
    paths = "".join(f"{root.inside}/{'x' * 200}/{number:05}\n" for number in range(9000))

    root.pyctrigger.json("run", *root.arguments, "--hook", "--defer", "--paths-from", "-", stdin=paths.encode())

    status = root.pyctrigger.json("status", *root.arguments).run["status"]
    assert [None] == [entry["path_count"] for entry in status["journal"]]
    history = (root.state / "history.sqlite").stat().st_size
    assert size_of(root.state) - history < 20_000
    assert (3, 0) == (root.run("").counts["compiled"], root.pending())


def test_the_roots_served_longest_ago_are_forgotten_when_all_take_too_much(
    root: Root, newest: Interpreter, tmp_path: Path
) -> None:
    """They stay known by their names, with their work pending."""
    with_limits(root, LARGEST=250_000, LARGEST_TOGETHER=250_000)
    others = [make_root(tmp_path / f"other{number}", newest) for number in range(3)]
    for other in others:
        write_tree(other, {f"{inside(newest)[1:]}/{'long' * 40}{number}.py": "" for number in range(150)})

    outcomes = [root.pyctrigger.json("run", "--root", other, "--python", newest.path) for other in (*others, others[0])]

    assert size_of(root.pyctrigger.state) < 350_000
    assert f"{others[1]}: its state was dropped, since all roots' state takes more than 0 MiB" in outcomes[-1].err


@pytest.mark.parametrize(("days", "kept"), [(29, True), (31, False)])
def test_the_state_of_a_root_goes_a_month_after_it(
    root: Root, newest: Interpreter, site: Path, days: int, kept: bool
) -> None:
    """Any run that isn't a hook's sees to it, with a word."""
    root.run()
    state = root.state
    shutil.rmtree(root.path)
    arguments: list[Argument] = ["--python", newest.path, "--site-dir", site]
    root.pyctrigger.json("run", *arguments)
    assert state.exists()
    since = time.time() - days * 86400
    os.utime(state / "missing", (since, since))

    outcome = root.pyctrigger.json("run", *arguments)

    assert state.exists() == kept
    assert (f"the state of {root.path} was dropped: it has been gone for 30 days" in outcome.err) != kept


def test_a_root_that_comes_back_has_its_month_again(
    root: Root, newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """As a medium does that is mounted now and then."""
    root.run()
    root.path.rename(tmp_path / "away")
    root.pyctrigger.json("run", "--python", newest.path, "--site-dir", site)
    os.utime(root.state / "missing", (1, 1))
    (tmp_path / "away").rename(root.path)

    assert 3 == root.run().counts["fresh"]
    root.pyctrigger.json("run", "--python", newest.path, "--site-dir", site)
    assert not (root.state / "missing").exists()
