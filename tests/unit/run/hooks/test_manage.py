"""What `hooks` does in a root: which files it puts, removes, keeps and refuses, and what it says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import PyctriggerError, RefusedError, UsageError
from pyctrigger.packages.every import HOOKS, MANAGERS
from pyctrigger.packages.hook import Subject
from pyctrigger.run.hooks import hook_directory, inventory, manage
from pyctrigger.run.hooks.inventory import SystemHook
from pyctrigger.run.hooks.manage import HookReport, HookRequest, manage_hooks
from unit.packages.stand_in import FilesInMemory
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ("/usr/bin/pyctrigger",)
SUBJECTS = {
    python: Subject(f"py3{python[2:]}", python, f"python{python}", f"cpython-3{python[2:]}", PROGRAM)
    for python in ("3.11", "3.12")
}
FILES = {(name, python): HOOKS[name](subject) for name in HOOKS for python, subject in SUBJECTS.items()}
APT = "/etc/apt/apt.conf.d/90pyctrigger-py311"
CALL = "x /usr/bin/pyctrigger run --hook --python 3.11\n"


class System:
    """A root without Pythons, whose databases are in memory."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = top / "root"
        self.root.mkdir()
        self.machine = Machine(top, monkeypatch)
        self.databases: dict[str, bytes] = {}
        for module in (manage, inventory):
            monkeypatch.setattr(
                module, "files_of", lambda root: FilesInMemory(self.databases if root == str(self.root) else {})
            )
        locks = {None: top / "locks", str(top / "state"): top / "locks"}
        monkeypatch.setattr(hook_directory, "lock_directory", lambda state: str(locks[state]))
        (top / "locks").mkdir(mode=0o700)

    def manage(self, action: str, *pythons: str, manager: str | None = "dpkg", **options: Any) -> HookReport:
        """Manage hooks of these Pythons."""
        state = str(self.root.parent / "state")
        request = HookRequest(action, PROGRAM, manager, pythons, root=str(self.root), state_dir=state)
        return manage_hooks(request._replace(**options))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the root."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """All that is in it."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {f"/{path.relative_to(self.root)}": (path.read_text(), path.stat().st_mode & 0o777) for path in found}


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """Empty."""
    return System(tmp_path, monkeypatch)


def done(report: HookReport) -> list[tuple[str, str, str]]:
    """What became of each hook."""
    return [(os.path.basename(hook.file.path), hook.state, hook.done) for hook in report.hooks]


@pytest.mark.parametrize("name", ["dpkg", "pacman", "apk", "pkg", "sh"])
def test_hooks_are_installed_and_removed(system: System, name: str) -> None:
    """Exactly their files, with their modes; a second call finds nothing to do."""
    files = FILES[name, "3.11"]
    names = [os.path.basename(file.path) for file in files]
    rendered = system.manage("render", "3.11", manager=name)
    assert ([(each, "absent", "") for each in names], {}) == (done(rendered), system.files)
    assert [(file, "py311", "py311", name) for file in files] == [
        (hook.file, hook.flavour, hook.served, hook.manager) for hook in rendered.hooks
    ]
    dry = system.manage("install", "3.11", manager=name, dry_run=True)
    assert ([(each, "absent", "installed") for each in names], {}) == (done(dry), system.files)
    report = system.manage("install", "3.11", manager=name)
    assert ([(each, "absent", "installed") for each in names], 0, []) == (
        done(report),
        report.exit_code,
        report.notices,
    )
    assert {file.path: (file.text, file.mode) for file in files} == system.files
    assert [(each, "installed", "") for each in names] == done(system.manage("install", "3.11", manager=name))
    before = system.files
    assert [(each, "installed", "removed") for each in names] == done(
        system.manage("uninstall", "3.11", manager=name, dry_run=True)
    )
    assert before == system.files
    assert [(each, "installed", "removed") for each in names] == done(system.manage("uninstall", "3.11", manager=name))
    assert {} == system.files
    nothing = system.manage("uninstall", "3.11", manager=name)
    assert ([(each, "absent", "") for each in names], 0) == (done(nothing), nothing.exit_code)


def test_what_is_not_ours_is_in_the_way(system: System) -> None:
    """Installing is refused, unless by force; uninstalling passes over it."""
    system.write(APT, "theirs\n")
    report = system.manage("install", "3.11", "3.12")
    reason = "a file that isn't ours is in its place"
    assert ([("refused", reason), ("", None)], 1) == (
        [(hook.done, hook.reason) for hook in report.hooks],
        report.exit_code,
    )
    assert {APT: ("theirs\n", 0o644)} == system.files
    passed = system.manage("uninstall", "3.11")
    assert ([("90pyctrigger-py311", "different", "")], 0) == (done(passed), passed.exit_code)
    forced = system.manage("install", "3.11", force=True)
    assert ([("90pyctrigger-py311", "different", "installed")], 0) == (done(forced), forced.exit_code)
    assert FILES["dpkg", "3.11"][0].text == system.files[APT][0]


def test_a_changed_hook_is_replaced_and_never_removed(system: System) -> None:
    """By its text, or by its mode alone."""
    file = FILES["dpkg", "3.11"][0]
    for text, mode in ((CALL, 0o644), (file.text, 0o600)):
        system.write(APT, text, mode)
        kept = system.manage("uninstall", "3.11")
        assert ([("90pyctrigger-py311", "different", "kept")], 1) == (done(kept), kept.exit_code)
        assert {APT: (text, mode)} == system.files
        report = system.manage("install", "3.11")
        assert [("90pyctrigger-py311", "different", "installed")] == done(report)
        assert {APT: (file.text, 0o644)} == system.files


def test_what_a_package_owns_is_kept(system: System) -> None:
    """Though it is what would be installed; and where nobody knows, too."""
    system.manage("install", "3.11")
    system.databases = {"/var/lib/dpkg/status": b"", "/var/lib/dpkg/info/p.list": f"{APT}\n".encode()}
    report = system.manage("uninstall", "3.11")
    (hook,) = report.hooks
    assert ("kept", "p (dpkg)", "a package owns it: p (dpkg)", 1) == (
        *(hook.done, hook.owner, hook.reason),
        report.exit_code,
    )
    system.databases = {"/lib/apk/db/installed/x": b""}
    unknown = system.manage("uninstall", "3.11")
    reason, hint = "apk can't be asked which files it owns: [Errno 2] it isn't there", "if no package owns it, remove "
    assert [("kept", None, reason, f"{hint}it by hand")] == [
        (hook.done, hook.owner, hook.reason, hook.hint) for hook in unknown.hooks
    ]
    assert [APT] == list(system.files)


OTHER = "/etc/apt/apt.conf.d/50other"
#: Another hook, the package that has it, and why ours is refused, or None.
RIVALS: list[tuple[str, str, str | None, str | None]] = [
    (OTHER, CALL, None, f"the hook {{root}}{OTHER} does the same for py311"),
    (OTHER, CALL, "p", f"the hook of package p ({{root}}{OTHER}) does the same for py311"),
    (OTHER, CALL.replace("3.11", "3.12"), "p", None),
    (OTHER, "x /usr/bin/other run --python 3.11", "p", None),
    (APT, CALL, "p", f"the hook of package p ({{root}}{APT}) does the same for py311"),
    (APT, CALL, None, None),
    ("/etc/apk/commit_hooks.d/x", CALL, None, None),
]


@pytest.mark.parametrize(("path", "text", "package", "reason"), RIVALS)
def test_a_hook_beside_another_one(
    system: System, path: str, text: str, package: str | None, reason: str | None
) -> None:
    """It is refused where both would fire for the same Python; with force it isn't asked."""
    system.write(path, text, 0o755)
    system.databases = {"/var/lib/dpkg/status": b"", "/var/lib/dpkg/info/x.list": b""}
    if package is not None:
        system.databases[f"/var/lib/dpkg/info/{package}.list"] = f"{path}\n".encode()
    (hook,) = system.manage("install", "3.11", dry_run=True).hooks
    expected = ("refused", reason.format(root=system.root)) if reason else ("installed", None)
    assert expected == (hook.done, hook.reason)
    (forced,) = system.manage("install", "3.11", force=True).hooks
    assert ("installed", None) == (forced.done, forced.reason)


def test_our_file_would_mask_a_packages(system: System) -> None:
    """For other Pythons as well: the manager would not read it any more."""
    name = "pyctrigger-py311-install.hook"
    vendors = f"/usr/share/libalpm/hooks/{name}"
    system.write(vendors, CALL.replace("3.11", "/opt/python"))
    system.databases = {"/var/lib/pacman/local/p-1/files": f"%FILES%\n{vendors.lstrip('/')}\n".encode()}
    report = system.manage("install", "3.11", manager="pacman")
    reason = f"the hook of package p-1 ({system.root}{vendors}) does the same for py311"
    found = {os.path.basename(hook.file.path): (hook.done, hook.reason) for hook in report.hooks}
    package = next(each for each in inventory.system_hooks(str(system.root), print)).package
    assert ("refused", reason.replace("p-1", str(package))) == found[name]
    assert ["", ""] == [what for each, (what, _) in found.items() if each != name]
    assert [vendors] == list(system.files)


def test_the_other_name_of_an_interpreter_is_removed(system: System) -> None:
    """What was made for a path is removed by the version, and the other way round."""
    path = system.machine.put("bin/python3.11", "3.11")
    for made, named in (("3.11", path), (path, "3.11")):
        assert [("90pyctrigger-py311", "absent", "installed")] == done(system.manage("install", made))
        assert [("90pyctrigger-py311", "different", "installed")] == done(system.manage("install", named, dry_run=True))
        assert [("90pyctrigger-py311", "installed", "")] == done(system.manage("list", named))
        assert [("90pyctrigger-py311", "installed", "removed")] == done(system.manage("uninstall", named))


def test_a_hook_of_other_directories(system: System) -> None:
    """They are in it, and it is found by the other name of its interpreter."""
    path = system.machine.put("bin/python3.11", "3.11")
    options: dict[str, Any] = {"manager": "pacman", "site_dirs": ("/srv/site",)}
    report = system.manage("install", path, **options)
    assert ["Target = srv/site/*" in hook.file.text for hook in report.hooks] == [True] * 3
    assert ["removed"] * 3 == [hook.done for hook in system.manage("uninstall", "3.11", **options).hooks]


def test_a_hook_whose_other_name_cannot_be_asked(system: System) -> None:
    """It is none of that name's."""
    system.machine.put_broken("bin/python3.11")
    system.write(APT, CALL)
    assert [("90pyctrigger-py311", "different", "kept")] == done(system.manage("uninstall", "3.11"))


def test_an_installed_hook_stays_beside_another_one(system: System) -> None:
    """It isn't refused any more; an absent one that a package lists isn't kept."""
    system.manage("install", "3.11")
    system.write(OTHER, CALL)
    report = system.manage("install", "3.11")
    assert ([("90pyctrigger-py311", "installed", "")], 0) == (done(report), report.exit_code)
    system.manage("uninstall", "3.11")
    system.databases = {"/var/lib/dpkg/info/p.list": f"{APT}\n".encode()}
    assert [("90pyctrigger-py311", "absent", "")] == done(system.manage("uninstall", "3.11"))


def test_owners_that_cannot_be_asked_are_told(system: System) -> None:
    """To who installs, and to who lists."""
    system.write(OTHER, CALL.replace("3.11", "3.12"))
    system.databases = {"/lib/apk/db/installed/x": b""}
    told = ["apk can't be asked which files it owns: [Errno 2] it isn't there"]
    assert told == system.manage("install", "3.11", dry_run=True).notices == system.manage("list").notices


def test_what_a_system_has_is_listed(system: System) -> None:
    """All of it, or what is about one manager or one Python; two for one are told."""
    system.manage("install", "3.11")
    system.write(OTHER, CALL + CALL.replace("3.11", "3.12"))
    system.write("/etc/apk/commit_hooks.d/x", CALL, 0o755)
    own = SystemHook("dpkg", APT, None, ("py311",))
    other = SystemHook("dpkg", OTHER, None, ("py311", "py312"))
    apks = SystemHook("apk", "/etc/apk/commit_hooks.d/x", None, ("py311",))
    twice = (
        f"dpkg calls pyctrigger twice for py311: the hook {system.root}{OTHER} and the hook {system.root}{APT}; one is "
        "enough: "
        "pyctrigger hooks uninstall removes what hooks install made"
    )
    for manager, pythons, expected, notices in (
        (None, (), [other, own, apks], [twice]),
        ("dpkg", (), [other, own], [twice]),
        ("apk", (), [apks], []),
        (None, ("3.12",), [other], []),
        (None, ("3.11", "3.12"), [other, own, apks], [twice]),
    ):
        report = system.manage("list", *pythons, manager=manager)
        assert (expected, notices) == (report.standing, report.notices)


def test_the_pythons_that_two_hooks_serve_are_named(system: System) -> None:
    """Where one is for all, those of the other; where both are, every Python."""
    system.write(OTHER, CALL)
    system.write("/etc/apt/apt.conf.d/40all", "pyctrigger --hook")
    (notice,) = system.manage("list").notices
    assert "dpkg calls pyctrigger twice for py311: " in notice
    system.write(OTHER, CALL + CALL.replace("3.11", "3.12"))
    (notice,) = system.manage("list").notices
    assert "dpkg calls pyctrigger twice for py311, py312: " in notice
    system.write(OTHER, "pyctrigger --hook")
    (notice,) = system.manage("list").notices
    assert "dpkg calls pyctrigger twice for every Python: " in notice


def test_whose_hooks_are_listed(system: System) -> None:
    """Those of the managers that the system has, or else of all whose hooks aren't in packages."""
    system.machine.put("bin/python3.11", "3.11")
    everyone = [hook.manager for hook in system.manage("list", manager=None).hooks]
    assert ["pkg", "dpkg", "pacman", "pacman", "pacman", "apk"] == [each for each in everyone if each != "rpm"]
    system.databases = {"/var/lib/dpkg/info/x.list": b""}
    assert ["dpkg"] == [hook.manager for hook in system.manage("list", manager=None).hooks]


#: An action, its options, and what is said.
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("install", {"manager": None}, "hooks install needs --manager M and --python V", "name what the hook is for"),
    ("render", {"pythons": ()}, "hooks render needs --manager M and --python V", "name what the hook is for"),
    (
        "install",
        {"manager": "rpm"},
        "rpm accepts hooks only from packages",
        "install the package python3-pyctrigger, which has them",
    ),
    (
        "uninstall",
        {"manager": "rpm"},
        "rpm accepts hooks only from packages",
        "remove the package python3-pyctrigger, which has them",
    ),
    ("list", {"root": "/no/root"}, "--root /no/root: no such directory", "name the directory of a staged root"),
]


@pytest.mark.parametrize(("action", "options", "message", "hint"), WRONG)
def test_what_cannot_be_done(system: System, action: str, options: dict[str, Any], message: str, hint: str) -> None:
    """Before anything is changed."""
    package = MANAGERS["rpm"].package_with_hooks or ""
    with pytest.raises(UsageError) as caught:
        system.manage(action, **{"pythons": ("3.11",), **options})
    assert (message, hint.replace("python3-pyctrigger", package)) == (caught.value.message, caught.value.hint)


def test_rpms_hooks_are_rendered(system: System) -> None:
    """For a package's spec."""
    assert [file.text for file in FILES["rpm", "3.11"]] == [
        hook.file.text for hook in system.manage("render", "3.11", manager="rpm").hooks
    ]


def test_who_changes_hooks_waits(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only looks doesn't, nor who keeps no state."""
    monkeypatch.setattr(hook_directory, "_PATIENCE", 0.01)
    asked: list[str | None] = []

    def lock_directory(state: str | None) -> str | None:
        asked.append(state)
        return str(system.root.parent / "locks")

    monkeypatch.setattr(hook_directory, "lock_directory", lock_directory)
    with hook_directory.hold_lock(None):
        for action in ("install", "uninstall"):
            with pytest.raises(PyctriggerError, match="the lock was not free"):
                system.manage(action, "3.11")
            system.manage(action, "3.11", dry_run=True)
            system.manage(action, "3.11", stateless=True)
        system.manage("list", "3.11")
        system.manage("render", "3.11")
    state = str(system.root.parent / "state")
    assert [None, state, state] == asked


def test_what_killed_calls_left_is_swept(system: System) -> None:
    """Also where nothing else is to be done, but not in a trial."""
    left = "/etc/apt/apt.conf.d/.90pyctrigger-py311.0a0b0c0d.tmp"
    for action in ("uninstall", "install"):
        system.write(left, "")
        system.manage(action, "3.11", dry_run=True)
        assert left in system.files
        system.manage(action, "3.11")
        assert left not in system.files


def test_what_release_0_1_0_kept_is_told(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """When hooks are uninstalled, if state is looked at."""
    asked: list[tuple[Any, ...]] = []

    def describe(root: str | None, path: str, state: str | None) -> str | None:
        asked.append((root, path, state))
        return "something" if "install" in path else None

    monkeypatch.setattr(manage, "describe_former", describe)
    assert ["something"] == system.manage("uninstall", "3.11", manager="pacman").notices
    state = str(system.root.parent / "state")
    assert [(str(system.root), file.path, state) for file in FILES["pacman", "3.11"]] == asked
    assert [] == system.manage("uninstall", "3.11", manager="pacman", stateless=True).notices


def test_what_the_json_says(system: System) -> None:
    """Everything about each hook."""
    system.write(APT, "theirs")
    document = system.manage("install", "3.11").as_dict()
    assert ("hooks", "install", [], False) == (
        document["command"],
        document["action"],
        document["standing"],
        document["dry_run"],
    )
    assert [
        {
            "manager": "dpkg",
            "flavour": "py311",
            "path": APT,
            "state": "different",
            "done": "refused",
            "owner": None,
            "reason": "a file that isn't ours is in its place",
            "hint": "--force installs it anyway",
            "text": FILES["dpkg", "3.11"][0].text,
        }
    ] == document["hooks"]
    listed = system.manage("list", dry_run=True).as_dict()
    assert ("list", True, []) == (listed["action"], listed["dry_run"], listed["standing"])


@pytest.mark.usefixtures("as_root")
def test_a_place_of_another_account_is_changed_as_that_account(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that acts as it does; where there can be none, it is refused."""
    place = system.root / "etc/apt/apt.conf.d"
    place.mkdir(parents=True)
    os.chown(system.root / "etc/apt", 12345, 12345)
    os.chown(place, 12345, 12345)
    for above in (system.root, *system.root.parents[:2]):
        above.chmod(above.stat().st_mode | 0o055)
    assert [("90pyctrigger-py311", "absent", "installed")] == done(system.manage("install", "3.11"))
    assert (12345, 12345) == (
        (place / "90pyctrigger-py311").stat().st_uid,
        (place / "90pyctrigger-py311").stat().st_gid,
    )

    def fail() -> int:
        raise OSError(11, "no more processes")

    monkeypatch.setattr("pyctrigger.run.scope.forked.fork", fail)
    with pytest.raises(RefusedError) as caught:
        system.manage("uninstall", "3.11")
    message = f"account 12345 may rename in --root {system.root}, and no process can act as it (no more processes)"
    assert (message, "run it as that account") == (caught.value.message, caught.value.hint)
