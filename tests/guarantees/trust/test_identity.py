"""Below the first directory that somebody else may rename in, everything is done as that account."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from attacker import can_exchange, exchanging
from children import public_directory
from command import Command
from confinement import command_for, cpython_for, private_mounts
from conftest import absent
from large_trees import padded
from packages import pycs_below, snapshot, write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALICE, BOB = 64501, 64502
#: Names for each case, at least, with one run and again with two at once: `nox -s attacks` sets 10000.
EXCHANGES = int(os.environ.get("EXCHANGES", "50"))
_PACKAGES = 50
#: So large that lanes are used for that many, and quickly compiled.
SOURCE = padded("x = 1\n", 20_000)
#: Rights by which root may do what an account may not.
_OVERRIDING = "dac_override,dac_read_search,fowner,chown"

pytestmark = pytest.mark.usefixtures("as_root")


class Stage:
    """A directory that everybody may enter, an interpreter that everybody may run, and the command."""

    def __init__(self, top: Path) -> None:
        python = cpython_for(BOB)
        if python is None:
            absent("a Python that any account may execute")
        self.top = top
        self.python = python
        self.command = Command(top / "state")
        self.inside: list[str] = []

    def scope(self, site: Path) -> list[str]:
        """The options for a site directory."""
        return ["--python", self.python, "--site-dir", str(site)]

    def without(self, *rights: str) -> None:
        """Take rights of root's away from the command."""
        setpriv = find_tool("setpriv") or absent("no setpriv (Debian package util-linux)")
        dropped = ",".join(f"-{each}" for names in rights for each in names.split(","))
        self.command.program = [
            *(setpriv, f"--bounding-set={dropped}", f"--inh-caps={dropped}"),
            *self.command.program,
        ]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One for a test."""
    with public_directory() as top:
        yield Stage(top)


def give(top: Path, uid: int, gid: int | None = None) -> Path:
    """Give a directory, and all that is in it, to an account."""
    subprocess.run(["chown", "-hR", f"{uid}:{uid if gid is None else gid}", top], check=True)
    return top


# -- every act is the account's --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["site", "package", "prefix"])
def test_every_act_is_that_of_the_account(stage: Stage, where: str) -> None:
    """A root without the rights to overrule modes and owners does everything that a run does, in a 0700 tree."""
    home = stage.top / "home"
    site = home / "site" if where != "package" else stage.top / "site"
    tree = {"pkg/a.py": "x = 1\n", "pkg/sub/b.py": "y = 2\n"}
    tag = f"cpython-3{stage.python.rpartition('python3.')[2]}"
    write_tree(site, {**tree, f"pkg/__pycache__/gone.{tag}.pyc": "orphan"} if where != "prefix" else tree)
    scope = stage.scope(site)
    if where == "prefix":
        (home / "prefix").mkdir()
        scope += ["--pycache-prefix", str(home / "prefix")]
    owned = give(site / "pkg" if where == "package" else home, BOB)
    owned.chmod(0o700)
    (site / "pkg").chmod(0o700)
    stage.without(_OVERRIDING)

    def does(verb: str, *more: str) -> dict[str, int]:
        outcome = stage.command.json(verb, *more, *scope)
        assert (0, [], []) == (outcome.code, outcome.failures, outcome.run["unexamined"]), outcome.err
        return {key: value for key, value in outcome.counts.items() if value}

    swept = {} if where == "prefix" else {"removed": 1}
    assert {"compiled": 2, **swept} == does("run")
    os.utime(site / "pkg/a.py", (1, 1))
    assert {"refreshed": 1, "fresh": 1} == does("run")
    assert {"fresh": 2} == does("verify")
    if where == "site":
        assert {"fresh": 2} == does("status")
        assert {"fresh": 2} == does("run", "--hook")
    for pyc in stage.top.rglob("*.pyc"):
        os.truncate(pyc, 20)
    assert {"compiled": 2} == does("repair")
    (site / "pkg/a.py").unlink()
    assert 1 == does("sweep")["removed"]
    assert {"fresh": 1} == does("run", "--dry-run")
    assert 1 == does("purge", "-y")["removed"]
    assert [] == list(stage.top.rglob("*.pyc"))


# -- exchanges -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One kind of attack: who exchanges what, and with which options the command is called."""

    uid: int
    groups: tuple[int, ...]
    prepare: Callable[[Path, Path], list[tuple[Path, Path]]]
    prefix: bool = False


def _pair(package: Path, name: str, secret: Path) -> tuple[Path, Path]:
    secret.mkdir(0o700)
    return package / name, secret


def _bobs_directories(site: Path, _: Path) -> list[tuple[Path, Path]]:
    """Package directories of his, each with a 0700 directory of root's in it."""
    pairs = []
    for number in range(_PACKAGES):
        package = give(write_tree(site / f"p{number}", {"m.py": SOURCE}), BOB)
        pairs.append(_pair(package, "__pycache__", package / "secret"))
    return pairs


def _roots_pycache(site: Path, prefix: Path) -> list[tuple[Path, Path]]:
    """The same, with `__pycache__` directories that root has made there."""
    pairs = _bobs_directories(site, prefix)
    for pycache, _ in pairs:
        pycache.mkdir(0o755)
    return pairs


def _shared_directories(site: Path, _: Path) -> list[tuple[Path, Path]]:
    """Directories of root's that his group may write, as in Debian's /usr/local."""
    pairs = []
    for number in range(_PACKAGES):
        package = write_tree(site / f"p{number}", {"m.py": SOURCE})
        os.chown(package, 0, ALICE)
        package.chmod(0o2775)
        pairs.append(_pair(package, "__pycache__", package / "secret"))
        os.chown(package / "secret", 0, 0)
        (package / "secret").chmod(0o700)
    return pairs


def _own_files(site: Path, _: Path) -> list[tuple[Path, Path]]:
    """Pycs of his, to be written anew, and root's 0600 files beside them."""
    pairs = []
    tag = f"cpython-3{(cpython_for(BOB) or '').rpartition('python3.')[2]}"
    for number in range(_PACKAGES):
        pyc = f"__pycache__/m.{tag}.pyc"
        package = give(write_tree(site / f"p{number}", {"m.py": SOURCE, pyc: "stale"}), BOB)
        secret = package / "__pycache__/secret"
        secret.write_text("root's own\n")
        secret.chmod(0o600)
        pairs.append((package / pyc, secret))
    return pairs


def _own_packages(site: Path, _: Path) -> list[tuple[Path, Path]]:
    """Packages in a site directory of his, each beside a 0700 package of root's."""
    give(site, BOB)
    pairs = []
    for number in range(_PACKAGES):
        package = give(write_tree(site / f"p{number}", {"m.py": SOURCE}), BOB)
        pairs.append(_pair(site, package.name, site / f"secret{number}"))
        (pairs[-1][1] / "s.py").write_text("secret = 1\n")
    return pairs


def _prefix_tree(site: Path, prefix: Path) -> list[tuple[Path, Path]]:
    """The tree of a pycache prefix is his: the directories that are made in it."""
    inside = prefix / str(site).lstrip("/")
    inside.mkdir(parents=True)
    pairs = []
    for number in range(_PACKAGES):
        write_tree(site / f"p{number}", {"m.py": SOURCE})
    give(prefix, BOB)
    for number in range(_PACKAGES):
        pairs.append(_pair(inside, f"p{number}", inside / f"secret{number}"))
    return pairs


CASES = {
    "directories": Case(BOB, (), _bobs_directories),
    "a pycache of root's": Case(BOB, (), _roots_pycache),
    "a shared directory": Case(BOB, (ALICE,), _shared_directories),
    "files": Case(BOB, (), _own_files),
    "packages": Case(BOB, (), _own_packages),
    "a prefix": Case(BOB, (), _prefix_tree, prefix=True),
}


class Prize:
    """A directory or file of root's own, held open: its state, whatever happens to its name.

    `with_names`: of a directory also what is in it.
    """

    def __init__(self, path: Path, *, with_names: bool = True) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._with_names = with_names
        self._before = self._state()

    def _state(self) -> tuple[int, int, int, object]:
        status = os.fstat(self._descriptor)
        if not stat.S_ISDIR(status.st_mode):
            content: object = os.pread(self._descriptor, 100, 0)
        else:
            content = os.listdir(self._descriptor) if self._with_names else None
        return status.st_uid, status.st_gid, status.st_mode, content

    def is_won(self) -> bool:
        """Whether it is somebody else's, open to somebody, or holds something else."""
        try:
            return self._state() != self._before
        finally:
            os.close(self._descriptor)


@pytest.mark.parametrize(("at_once", "jobs"), [(1, "1"), (2, "1"), (1, "3")], ids=["alone", "two", "lanes"])
@pytest.mark.parametrize("kind", CASES)
def test_no_exchange_is_won(stage: Stage, kind: str, at_once: int, jobs: str) -> None:
    """Of root's own directories and files all stay root's, and closed, however often names are exchanged meanwhile."""
    if not can_exchange():
        absent("renameat2(2)")
    case = CASES[kind]
    made, won, exchanged, nothing = 0, 0, 0, subprocess.DEVNULL
    while made < EXCHANGES:
        site, prefix = stage.top / f"site{made}", stage.top / f"prefix{made}"
        site.mkdir()
        prefix.mkdir()
        pairs = case.prepare(site, prefix)
        # Whom the administrator lets write there decides which directory is the `__pycache__`.
        prizes = [Prize(secret, with_names=not case.groups) for _, secret in pairs]
        more = ["--pycache-prefix", str(prefix)] if case.prefix else []
        line = stage.command.command_line("run", ["--stateless", "--jobs", jobs, *stage.scope(site), *more])
        with exchanging(pairs, case.uid, case.uid, case.groups) as exchanges:
            runs = [subprocess.Popen(line, stdout=nothing, stderr=nothing) for _ in range(at_once)]
            assert {0, 1, 3} >= {run.wait(300) for run in runs}
        won += sum([prize.is_won() for prize in prizes])
        made += len(pairs)
        exchanged += exchanges.done
        for top in (site, prefix):
            shutil.rmtree(top)
    print(f"{won} of {made} names won, {exchanged} exchanges")
    assert 0 == won
    assert exchanged > made


#: The command again and again in one process: it has no time to start, and the attacker all of it.
_AGAIN = """
import sys
from pyctrigger.cli.main import main
for _ in range(int(sys.argv[1])):
    for action in ("install", "uninstall"):
        main(["hooks", action, *sys.argv[2:]])
"""


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_exchange_of_hook_files_is_won(stage: Stage, at_once: int) -> None:
    """In a staged root that is an account's: the directories that hooks need, and the hooks."""
    if not can_exchange():
        absent("renameat2(2)")
    root = stage.top / "root"
    (root / "etc").mkdir(parents=True)
    give(root, BOB)
    hooks = [f"pacman.d/hooks/pyctrigger-py311-{action}.hook" for action in ("install", "upgrade", "remove")]
    pairs = [
        _pair(root / "etc", name, root / f"etc/secret{number}")
        for number, name in enumerate(("pacman.d", "pacman.d/hooks"))
    ]
    for number, name in enumerate(hooks):
        secret = root / f"etc/file{number}"
        secret.write_text("root's own\n")
        secret.chmod(0o600)
        pairs.append((root / "etc" / name, secret))
    prizes = [Prize(secret) for _, secret in pairs]
    arguments = ["--manager", "pacman", "--python", "3.11", "--root", str(root), "--state-dir", str(stage.top / "s")]
    line = [sys.executable, "-c", _AGAIN, str(-(-EXCHANGES // len(pairs))), *arguments]
    nothing = subprocess.DEVNULL
    with exchanging(pairs, BOB, BOB) as exchanges:
        runs = [subprocess.Popen(line, stdout=nothing, stderr=nothing) for _ in range(at_once)]
        assert {0} == {run.wait(3600) for run in runs}
    won = sum([prize.is_won() for prize in prizes])
    print(f"{won} of {EXCHANGES} names won, {exchanges.done} exchanges")
    assert 0 == won
    assert exchanges.done > 0


# -- whose place it is -----------------------------------------------------------------------------------------------


def test_a_link_of_an_accounts_leads_to_nothing_of_roots(stage: Stage) -> None:
    """Above the site directory and in it: everything below is reached with that account's rights."""
    library = f"root/lib/python{stage.python.rpartition('python')[2]}/site-packages"
    tree = write_tree(stage.top / library, {"pkg/m.py": "x = 1\n", "pkg/__pycache__/gone.pyc": ""})
    home = write_tree(stage.top / "home", {"own/m.py": "y = 1\n"})
    (home / "site-packages").symlink_to(tree)
    (home / "own/package").symlink_to(tree / "pkg")
    (home / "own/linked.py").symlink_to(tree / "pkg/m.py")
    (home / "environment").symlink_to(stage.top / "root")
    give(home, BOB)
    before = snapshot(tree)

    everybodys = stage.top / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    (everybodys / "site").symlink_to(tree)
    prefix = ["--python", stage.python, "--prefix", str(home / "environment")]
    for named in (stage.scope(home / "site-packages"), stage.scope(everybodys / "site"), prefix):
        outcome = stage.command.json("run", *named)
        assert (1, ["refused"]) == (outcome.code, [each["kind"] for each in outcome.failures])
        assert before == snapshot(tree)
    outcome = stage.command.json("run", *stage.scope(home / "own"))
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert before == snapshot(tree)


def test_a_source_that_the_account_may_not_read_is_refused(stage: Stage) -> None:
    """Before its text is read: root's own file in his directory, and one that his link leads to."""
    site = write_tree(stage.top / "site", {"own.py": "x = 1\n"})
    give(site, BOB)
    secret = site / "secret.py"
    secret.write_text("password = 1\n")
    secret.chmod(0o600)

    outcome = stage.command.json("run", *stage.scope(site))

    said = f"account {BOB}, which owns its directory, may not read it"
    assert [(str(secret), "refused", said)] == [
        (each["path"], each["kind"], each["message"]) for each in outcome.failures
    ]
    assert (1, 1, 1) == (outcome.code, outcome.counts["compiled"], len(pycs_below(site)))


def test_an_account_without_an_entry_has_no_group_of_its_number(stage: Stage) -> None:
    """There may be a group with that number and special rights: `docker`, `sudo`."""
    taken = {each.pw_uid for each in pwd.getpwall()}
    number = next((each.gr_gid for each in grp.getgrall() if each.gr_gid and each.gr_gid not in taken), None)
    if number is None:
        absent("a group whose number is no account's")
    site = give(write_tree(stage.top / "site", {"own.py": "x = 1\n"}), number)
    write_tree(site, {"groups.py": "password = 1\n"})
    os.chown(site / "groups.py", 0, number)
    (site / "groups.py").chmod(0o640)

    outcome = stage.command.json("run", *stage.scope(site))

    assert [(str(site / "groups.py"), "refused")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    (pyc,) = pycs_below(site)
    assert (number, number) == ((status := os.stat(pyc)).st_uid, status.st_gid)  # the group of its directory, as ever


@pytest.mark.parametrize(
    ("deprive", "said"),
    [
        (["--bounding-set=-setuid", "--inh-caps=-setuid"], "root can't act as account"),
        (["--bounding-set=-setgid", "--inh-caps=-setgid"], "root can't act as account"),
        (["--securebits=+no_setuid_fixup"], "root can't drop its rights to act as account"),
    ],
)
def test_who_cant_act_as_the_account_does_nothing_there(stage: Stage, deprive: list[str], said: str) -> None:
    """Refused, with a hint, and the rest is done; never as root."""
    setpriv = find_tool("setpriv") or absent("no setpriv (Debian package util-linux)")
    site = write_tree(stage.top / "site", {"bobs/m.py": "x = 1\n", "roots/m.py": "y = 1\n"})
    give(site / "bobs", BOB)
    before = snapshot(site / "bobs")
    stage.command.program = [setpriv, *deprive, *stage.command.program]

    outcome = stage.command.json("run", "--jobs", "1", *stage.scope(site))

    assert [(f"{site}/bobs", "refused")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert outcome.failures[0]["message"].startswith(f"{said} {BOB}")
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert before == snapshot(site / "bobs")
    assert [] == stage.command.json("verify", *stage.scope(site)).findings


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o755), (0, 0o777), (ALICE, 0o755), (ALICE, 0o777)])
def test_what_others_have_below_is_refused(stage: Stage, owner: int, mode: int) -> None:
    """Root's that the account can't write, and a second account's; the hint says who should have it."""
    site = give(write_tree(stage.top / "site", {"pkg/m.py": "x = 1\n", "own.py": ""}), BOB)
    os.chown(site / "pkg", owner, owner)
    (site / "pkg").chmod(mode)

    outcome = stage.command.json("run", *stage.scope(site))

    assert [(f"{site}/pkg", "refused")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert ("chown -R" in outcome.failures[0]["message"]) is (mode == 0o755)
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    give(site, BOB).joinpath("pkg").chmod(0o755)
    assert 0 == stage.command.json("run", *stage.scope(site)).code


def test_without_proc_it_is_the_same(stage: Stage) -> None:
    """The proof that root's rights are gone needs no /proc, and neither does anything else."""
    site = give(write_tree(stage.top / "site", {"m.py": "x = 1\n"}), BOB)
    try:
        with private_mounts("mount -t tmpfs none /proc") as inside:
            stage.command.program = [*inside, *stage.command.program]
            outcome = stage.command.json("run", *stage.scope(site))
    except PermissionError as error:
        absent(str(error))
    assert (0, 1, BOB) == (outcome.code, outcome.counts["compiled"], os.stat(pycs_below(site)[0]).st_uid)


_THREADED = """
import os, sys, threading, time
from pyctrigger import run_trigger
sys.setswitchinterval(1e-4)  # else each call of the first thread waits for the others, 5 ms for each
seen, ends = set(), []
def watch():
    while not ends:
        seen.add((os.geteuid(), os.getegid(), tuple(os.getgroups()), os.getresuid(), os.umask(0o022)))
for _ in range(3):
    threading.Thread(target=watch).start()
before = os.getresuid(), os.getresgid(), os.getgroups()
report = run_trigger(sys.argv[1], None, site_dirs=[sys.argv[2]], state_dir=sys.argv[3])
ends.append(1)
assert before == (os.getresuid(), os.getresgid(), os.getgroups())
print(report.runs[0].tally.counts.compiled, sorted({each[:4] for each in seen}), threading.active_count() >= 1)
"""


def test_a_program_with_threads_keeps_its_ids(stage: Stage) -> None:
    """In all of them, at each moment: another process acts, and the call does the same as the command."""
    site = give(write_tree(stage.top / "site", {"m.py": "x = 1\n"}), BOB)
    arguments = [stage.python, str(site), str(stage.top / "state")]
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", _THREADED, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    groups = tuple(os.getgroups())
    assert (f"1 [(0, 0, {groups}, (0, 0, 0))] True\n", "") == (child.stdout, child.stderr)
    assert BOB == os.stat(pycs_below(site)[0]).st_uid


@pytest.mark.parametrize("bobs", ["bobs", "pkg/sub/bobs"])
def test_a_hook_is_quiet_about_the_places_of_others(stage: Stage, bobs: str) -> None:
    """Once nothing more can be done there, it says nothing, and starts nothing; a change is found by its glance.

    Where such a place lies deeper, the part of root's that it lies in is looked at each time.
    """
    site = write_tree(stage.top / "site", {f"{bobs}/m.py": "x = 1\n", "roots/m.py": "y = 1\n"})
    give(site / bobs, BOB)
    assert 0 == stage.command.json("run", *stage.scope(site)).code
    hook = ["--hook", "--quiet", *stage.scope(site), str(site / "roots")]
    assert "" == stage.command.text("run", *hook).err
    give(write_tree(site / bobs, {"n.py": "z = 1\n"}), BOB)
    assert "" == stage.command.text("run", *hook).err
    assert 3 == len(pycs_below(site))


@pytest.mark.parametrize("above", [True, False])
def test_a_group_that_may_write_is_told_once_and_never_by_a_hook(stage: Stage, above: bool) -> None:
    """And nothing is written below a directory that others can replace, as in a 0777 one."""
    site = write_tree(stage.top / "way/site", {"a/m.py": "x = 1\n", "b/m.py": "y = 1\n"})
    for name in ("a", "b"):
        os.chown(site / name, 0, ALICE)
        (site / name).chmod(0o2775)
    if above:
        (stage.top / "way").chmod(0o777)
        outcome = stage.command.json("run", *stage.scope(site))
        assert (1, {"refused"}) == (outcome.code, {each["kind"] for each in outcome.failures})
        assert [] == pycs_below(site)
        return
    outcome = stage.command.json("run", *stage.scope(site))
    told = [notice for notice in outcome.run["notices"] if f"group {ALICE} may write" in notice]
    assert (0, 1) == (outcome.code, len(told))
    (site / "a/m.py").write_text("x = 22\n")
    assert "" == stage.command.text("run", "--hook", "--quiet", *stage.scope(site), site / "a").err
    assert 0o2775 == stat.S_IMODE((site / "a/__pycache__").stat().st_mode)
    assert (0, ALICE) == ((status := (site / "a/__pycache__").stat()).st_uid, status.st_gid)


# -- namespaces ------------------------------------------------------------------------------------------------------

FIRST = 1_600_000_000


@contextlib.contextmanager
def namespace_of(count: int) -> Iterator[list[str]]:
    """A user namespace whose root is an ordinary account, with so many ids; what to put before a command in it."""
    unshare, nsenter = find_tool("unshare"), find_tool("nsenter")
    if unshare is None or nsenter is None:
        absent("no unshare or nsenter (Debian package util-linux)")
    keeper = subprocess.Popen(
        [unshare, "--user", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert keeper.stdin
    assert keeper.stdout
    try:
        if keeper.stdout.readline() != b"ready\n":
            absent("a user namespace: in a chroot, and in many containers, none is to be had")
        for kind in ("uid", "gid"):
            with open(f"/proc/{keeper.pid}/{kind}_map", "w", encoding="ascii") as file:
                file.write(f"0 {FIRST} {count}\n")
        yield [nsenter, "--user", f"--target={keeper.pid}", "--setuid", "0", "--setgid", "0", "--"]
    finally:
        keeper.stdin.close()
        keeper.wait(60)
        keeper.stdout.close()


def test_in_a_namespace_it_acts_as_its_accounts(stage: Stage) -> None:
    """With 65,536 ids; an owner outside of them can't be acted as."""
    command = command_for(FIRST, stage.top / "state")
    if command is None:
        absent("a Python that any account may execute")
    site = write_tree(stage.top / "site", {"bobs/m.py": "x = 1\n", "roots/m.py": "y = 1\n", "outer/m.py": "z = 1\n"})
    give(site, FIRST)
    give(site / "bobs", FIRST + 1000)
    give(site / "outer", BOB)
    (site / "bobs").chmod(0o700)
    with namespace_of(65536) as inside:
        command.program = [*inside, *command.program]
        outcome = command.json("run", "--stateless", *stage.scope(site), env={"HOME": "/"})
    assert (1, 2) == (outcome.code, outcome.counts["compiled"])
    assert ["io"] == [each["kind"] for each in outcome.failures]
    owners = {os.path.relpath(os.fsdecode(path), site).partition("/")[0]: os.stat(path) for path in pycs_below(site)}
    assert {"bobs": FIRST + 1000, "roots": FIRST} == {name: status.st_uid for name, status in owners.items()}
    assert FIRST <= owners["bobs"].st_gid < FIRST + 65536
