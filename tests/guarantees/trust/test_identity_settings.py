"""Every setting that a tree of somebody else's may be in, and every kind of attack at once: none has any success.

Names are exchanged, links lead to what is root's, a source is a secret, the compiler is taken over, and a third account
has a directory further down.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from test_identity import ALICE, BOB, FIRST, Prize, give, namespace_of
from test_taken_over import DEEDS, Ground, ground

from attacker import can_exchange, exchanging
from confinement import command_for, private_mounts, wait_for
from conftest import absent
from packages import pycs_below, snapshot, write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("as_root")

_PACKAGES = 10
_SECRET = "password = 'rosebud'\n"
#: Outlives its worker, and stops from then on whoever has its account, and so whoever would end it with that.
_STOPPING = """\
worker = os.getpid()
if not os.fork():
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGIO, signal.SIGPROF):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == worker:
        time.sleep(0.01)
    while True:
        os.kill(-1, signal.SIGSTOP)
"""


def _plainly(_: Path) -> Iterator[list[str]]:
    yield []


def _without_setuid(_: Path) -> Iterator[list[str]]:
    setpriv = find_tool("setpriv") or absent("no setpriv (Debian package util-linux)")
    yield [setpriv, "--bounding-set=-setuid", "--inh-caps=-setuid"]


def _in_a_namespace(_: Path) -> Iterator[list[str]]:
    with namespace_of(65536) as inside:
        yield inside


def _without_proc(_: Path) -> Iterator[list[str]]:
    with private_mounts("mount -t tmpfs none /proc") as inside:
        yield inside


def _number_of_a_group() -> int:
    taken = {each.pw_uid for each in pwd.getpwall()}
    number = next((each.gr_gid for each in grp.getgrall() if each.gr_gid and each.gr_gid not in taken), None)
    return absent("a group whose number is no account's") if number is None else number


class Setting(NamedTuple):
    """Whose tree it is, and in what the command runs."""

    inside: Callable[[Path], Iterator[list[str]]] = _plainly
    """What stands before the command."""
    root: int = 0
    """Who is root there."""
    owner: Callable[[], int] = lambda: BOB
    """The attacker, whose tree it is."""
    group: int | None = None
    """A group of his that may write root's tree, if that is no tree of his."""
    has_pycache: bool = False
    """Whether root has made each `__pycache__`."""
    stops: bool = False
    """Whether the compiler stops who tries to end it."""
    is_refused: bool = False
    """Whether nothing can be done as the owner."""


SETTINGS = {
    "his tree": Setting(),
    "a __pycache__ of root's": Setting(has_pycache=True),
    "a tree of root's that his group may write": Setting(group=ALICE),
    "an owner with the number of a group": Setting(owner=_number_of_a_group),
    "without CAP_SETUID": Setting(_without_setuid, is_refused=True),
    "a namespace of 65,536 ids": Setting(_in_a_namespace, root=FIRST, owner=lambda: FIRST + BOB),
    "a compiler that stops who would end it": Setting(stops=True),
    "without /proc": Setting(_without_proc),
}


class Scene(NamedTuple):
    """A tree with an attack of each kind in it."""

    place: Ground
    setting: Setting
    uid: int
    third: int
    """Another account, which has a directory further down."""
    pairs: list[tuple[Path, Path]]
    """What is exchanged, and with what of root's."""

    @property
    def hidden(self) -> Path:
        """What is root's, and outside."""
        return self.place.top / "hidden"

    def his(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run something as the attacker."""
        groups = [] if self.setting.group is None else [self.setting.group]
        return subprocess.run(
            command, user=self.uid, group=self.uid, extra_groups=groups, cwd="/", check=False, capture_output=True
        )


def made(place: Ground, setting: Setting) -> Scene:
    """Get one there."""
    site, uid, third = place.site, setting.owner(), setting.root + 64504
    place.plant({**DEEDS, **({"stop who would end it": _STOPPING} if setting.stops else {})}, 0)
    write_tree(place.top / "hidden", {"secret.py": _SECRET, "package/m.py": "x = 1\n"})
    write_tree(site, {"own.py": "x = 1\n", "far/m.py": "x = 1\n", "far/further/m.py": "x = 1\n"})
    (site / "linked.py").symlink_to(place.top / "hidden/secret.py")
    (site / "library").symlink_to(place.top / "hidden/package")
    packages = [write_tree(site / f"p{number}", {"m.py": "x = 1\n"}) for number in range(_PACKAGES)]
    give(site, uid if setting.group is None else 0)
    if setting.group is not None:
        for directory in (site, *packages):
            os.chown(directory, 0, setting.group)
            directory.chmod(0o2775)
    pairs = []
    for package in packages:
        pairs.append((package / "__pycache__", package / "secret"))
        for made in pairs[-1] if setting.has_pycache else pairs[-1][1:]:
            made.mkdir(0o700 if made.name == "secret" else 0o755)
            os.chown(made, setting.root, setting.root)
    give(site / "far/further", third)
    (site / "hidden.py").write_text(_SECRET)
    (place.top / "hidden/secret.py").chmod(0o600)
    (site / "hidden.py").chmod(0o600)
    give(place.top / "hidden", setting.root)
    os.chown(site / "hidden.py", setting.root, setting.root)
    (place.top / "hidden").chmod(0o700)
    return Scene(place, setting, uid, third, pairs)


def remains(place: Ground) -> list[int]:
    """What still runs of the interpreter that was taken over."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            ended = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            is_it = Path("/proc", name, "cmdline").read_bytes().startswith(os.fsencode(place.python))
        except OSError:
            continue
        if is_it and not ended:
            found.append(int(name))
    return found


@pytest.mark.parametrize("kind", SETTINGS)
def test_no_attack_has_success(kind: str) -> None:
    """What is root's stays so, and unread; every deed fails; nothing is left running; what can be done is done."""
    setting = SETTINGS[kind]
    if not can_exchange():
        absent("renameat2(2)")
    with ground() as place, contextmanager(setting.inside)(place.top) as inside:
        scene = made(place, setting)
        command = place.command if not setting.root else command_for(setting.root, place.top / "state")
        if command is None:
            absent("a Python that any account may execute")
        command.program = [*inside, *command.program]
        prizes = [Prize(secret, with_names=setting.group is None) for _, secret in scene.pairs]
        before = snapshot(scene.hidden)
        groups = () if setting.group is None else (setting.group,)

        with exchanging(scene.pairs, scene.uid, scene.uid, groups) as exchanges:
            outcome = command.json("run", "--stateless", "--jobs", "2", *place.on(), env={"HOME": "/"})

        assert outcome.code == 1
        assert [] == [pair for pair, prize in zip(scene.pairs, prizes) if prize.is_won()]
        assert (exchanges.done > 0) is not setting.is_refused  # nobody has made a `__pycache__` then
        assert before == snapshot(scene.hidden)
        assert b"" == scene.his("grep", "-rl", "rosebud", os.fspath(place.top)).stdout
        check_deeds(scene)
        check_places(scene, {each["path"]: each["kind"] for each in outcome.failures})
        assert wait_for(lambda: [] == remains(place))


def check_deeds(scene: Scene) -> None:
    """None of the compiler's has changed anything, or says that it was done."""
    pycs = {
        Path(os.fsdecode(path)).name.partition(".")[0]: Path(os.fsdecode(path)) for path in pycs_below(scene.place.site)
    }
    said = {deed: pycs[f"d{number}"].read_bytes() for number, deed in enumerate(DEEDS) if f"d{number}" in pycs}
    assert (set() if scene.setting.is_refused else set(DEEDS)) == set(said)
    assert set() == {deed for deed, content in said.items() if b"refused" not in content}
    for victim in (scene.place.site / "victim", scene.place.site / "removed", scene.place.site / "renamed"):
        assert "whole" == victim.read_text()


def check_places(scene: Scene, failures: dict[str, str]) -> None:
    """What was refused, and as whom the rest was done."""
    site, setting = scene.place.site, scene.setting
    own = list((site / "__pycache__").glob("own.*"))
    owner = setting.root if setting.group is not None else scene.uid
    assert ([] if setting.is_refused else [owner]) == [each.stat().st_uid for each in own]
    further = list((site / "far/further").rglob("*.pyc"))
    assert ([] if setting.group is None else [scene.third]) == [each.stat().st_uid for each in further]
    refused = {path for path, reason in failures.items() if reason == "refused"}
    wanted = {site} if setting.is_refused else {site / "linked.py"}
    if setting.group is None and not setting.is_refused:
        wanted |= {site / "hidden.py", site / "far/further"}
    assert {os.fspath(each) for each in wanted} <= refused
