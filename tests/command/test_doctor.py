"""`pyctrigger doctor`: is the system hooked, for which Pythons, is all well, and what next? In ten lines."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from confinement import NOBODY, command_for
from conftest import absent
from packages import write_tree
from pyctrigger.inspect.status.check import CheckReport, Health, Thresholds
from pyctrigger.inspect.status.doctor import DoctorReport, Python, findings
from pyctrigger.interpreter.flavour import directories
from pyctrigger.state.lock import Holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Outcome
    from confinement import Machine

TRIGGERS = "var/lib/dpkg/info/pyctrigger.triggers"
BY_HAND = "/etc/apt/apt.conf.d/90pyctrigger-"
DIST_PACKAGES = "/usr/lib/python3/dist-packages"


class Doctor:
    """The command on this machine, with an empty database of dpkg's, and none of anybody else's."""

    def __init__(self, machine: Machine, python: str) -> None:
        self.machine = machine
        self.python = python
        self.flavour = "py" + os.path.basename(python)[len("python") :].replace(".", "")
        (machine.top / "var/lib/dpkg/info").mkdir(parents=True)

    def mount(self, directory: str) -> None:
        """Have an empty directory there."""
        subprocess.run([*self.machine.command.program[:3], "mount", "-t", "tmpfs", "none", directory], check=True)

    def install_package(self) -> None:
        """Have dpkg say what it says of the package."""
        write_tree(self.machine.top, {TRIGGERS: "interest-noawait pyctrigger\n"})

    def install_by_hand(self) -> None:
        """One hook, and no more."""
        outcome = self.machine.command.text(
            "hooks", "install", "--force", "--manager", "dpkg", "--python", self.flavour
        )
        assert outcome.code == 0, outcome.err

    def run(self, *arguments: str) -> None:
        """Never over the system's own directories."""
        assert self.machine.command.text("run", "--python", self.python, *arguments).code == 0

    def ask(self, *arguments: str) -> Outcome:
        """For a person."""
        return self.machine.command.text("doctor", *arguments)

    def told(self) -> dict[str, Any]:
        """For a program."""
        document: dict[str, Any] = self.machine.command.json("doctor").document
        return document


@pytest.fixture
def doctor(as_root: None, machine: Machine) -> Doctor:
    """On a system with a Python that dpkg installs for."""
    found = [path for at in directories() for path in sorted(Path(at).glob("python3.[0-9]*[0-9]")) if at == "/usr/bin"]
    if not found or not os.path.isdir(DIST_PACKAGES) or not os.path.isdir(os.path.dirname(BY_HAND)):
        absent("a Debian with a Python of its own")
    made = Doctor(machine, str(found[0]))
    made.mount(os.path.dirname(BY_HAND))
    return made


def rows(outcome: Outcome) -> dict[str, list[str]]:
    """The text next to each label."""
    found: dict[str, list[str]] = {}
    for line in outcome.out.splitlines():
        label, _, text = line.partition("  ")
        found.setdefault(label.strip(), []).append(text.strip())
    return found


def test_a_system_without_hooks_is_told_to_install_them(doctor: Doctor) -> None:
    """Exit 1, for all Pythons that dpkg installs for at once; then the next step is a run."""
    said = doctor.ask()

    answer = rows(said)
    command = answer["next"][0]
    assert (1, ["dpkg"], ["none"], ["no"]) == (said.code, answer["managers"], answer["hooks"], answer["all is well"])
    assert command.startswith("pyctrigger hooks install --manager dpkg --python ")
    assert f"{doctor.flavour} {doctor.python}" in answer["not hooked"][0]
    assert len(said.out.splitlines()) <= 10
    installed = doctor.machine.command.text("hooks", *command.split()[2:])
    assert installed.code == 0, installed.err
    command = f"pyctrigger run --state-dir {doctor.machine.command.state}"
    assert (1, command) == (doctor.told()["exit_code"], doctor.told()["next"])


def test_a_package_hooks_every_python(doctor: Doctor) -> None:
    """Once something has run, all is well: exit 0, and nothing to do."""
    doctor.install_package()
    doctor.run("")

    said = doctor.ask()

    answer = rows(said)
    assert ["dpkg, of the package pyctrigger, for every Python"] == answer["hooks"]
    assert (0, "yes", "nothing") == (said.code, answer["all is well"][0], answer["next"][0]), said.out
    assert (f"{doctor.flavour} {doctor.python}" in answer["hooked"][0], "not hooked" in answer) == (True, False)
    assert len(said.out.splitlines()) <= 10


def test_two_hooks_for_one_python_are_one_too_many(doctor: Doctor) -> None:
    """The one that was made by hand is to go, and then all is well."""
    doctor.install_package()
    doctor.run("")
    doctor.install_by_hand()

    told = doctor.told()

    assert f"pyctrigger hooks uninstall --manager dpkg --python {doctor.flavour}" == told["next"]
    assert [f"dpkg calls pyctrigger twice: by /{TRIGGERS} and by {BY_HAND}{doctor.flavour}"] == [
        finding["message"] for finding in told["findings"]
    ]
    assert 0 == doctor.machine.command.text("hooks", *told["next"].split()[2:]).code
    assert "healthy" == doctor.told()["verdict"]


def test_pending_work_is_to_be_done(doctor: Doctor) -> None:
    """By a run."""
    doctor.install_package()
    doctor.run("--hook", "--defer", f"{DIST_PACKAGES}/none")  # a hook's may be gone

    told = doctor.told()

    command = f"pyctrigger run --state-dir {doctor.machine.command.state}"
    assert (1, command) == (told["exit_code"], told["next"])
    assert [f"{doctor.flavour}: work is pending"] == [finding["message"] for finding in told["findings"]]


def _add(site: Path) -> None:
    write_tree(site, {"three/module.py": "x = 3\n"})


def _remove_source(site: Path) -> None:
    (site / "one/module.py").unlink()


def _remove_bytecode(site: Path) -> None:
    for pyc in site.rglob("*.pyc"):
        pyc.unlink()


_FIRST = ("run",)


@pytest.mark.parametrize(
    ("last", "change", "expected"),
    [
        ([_FIRST], None, 0),
        ([_FIRST, ("run", "--hook", "two/__init__.py")], None, 0),
        ([_FIRST, ("repair",)], None, 0),
        ([_FIRST], _add, 1),
        ([_FIRST, ("run", "--hook", "two/__init__.py")], _remove_source, 3),
        ([_FIRST], _remove_bytecode, 4),  # all that there is
    ],
)
def test_what_was_just_written_is_no_change(
    doctor: Doctor,
    tmp_path: Path,
    last: list[tuple[str, ...]],
    change: Callable[[Path], None] | None,
    expected: int,
) -> None:
    """It is looked at, since it is too young to be known by its time; and what needs something is seen all the same."""
    site = tmp_path / "site"
    write_tree(site, {"one/module.py": "x = 1\n", "two/__init__.py": "", "two/module.py": "x = 2\n", "alone.py": ""})
    configuration = tmp_path / "pyctrigger.toml"
    version = os.path.basename(doctor.python)[len("python") :]
    configuration.write_text(f'[flavours."{version}"]\nsite_dirs = ["{site}"]\n')
    common = ["--config", str(configuration), "--python", version]
    for number, (verb, *arguments) in enumerate(last):
        if number == 1:  # a later transaction writes into what was known
            (site / "two/__init__.py").write_text("x = 4\n")
        paths = [str(site / word) if word.endswith(".py") else word for word in arguments]
        outcome = doctor.machine.command.text(verb, *common, *paths)
        assert 0 == outcome.code, outcome.err
    if change is not None:
        change(site)

    told = doctor.machine.command.json("doctor", "--config", str(configuration)).document

    outdated = {python["flavour"]: python["outdated"] for python in told["pythons"] if python["outdated"] is not None}
    assert {doctor.flavour: expected} == outdated
    messages = [finding["message"] for finding in told["findings"]]
    assert bool(expected) == any(message.startswith("bytecode is out of date for ") for message in messages)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[hooks]\nenabled = false\n", (0, [])),
        ("jobs = 1\n", (1, ["jobs is not known"])),
        ("jobs = 1\nlog = 2\n", (1, ["jobs is not known", "log is not known"])),
    ],
)
def test_the_configuration_is_named(doctor: Doctor, tmp_path: Path, text: str, expected: tuple[int, list[str]]) -> None:
    """With its `[hooks]`; one that can't be used is something to fix, and everything else is still reported."""
    path = tmp_path / "pyctrigger.toml"
    path.write_text(text)
    doctor.install_package()
    doctor.run("")

    said = doctor.ask("--config", str(path))

    answer = rows(said)
    usable = "readable" if said.code == 0 else "can't be used"
    assert [f"{path}, {usable}"] == answer["configuration"]
    assert expected[0] == said.code
    assert len(expected[1]) == len(answer.get("to do", []))
    assert all(part in line for part, line in zip(expected[1], answer.get("to do", [])))
    if said.code:
        assert (["see above"], True) == (answer["next"], answer["state"][0].endswith(", not examined: see below"))
    assert (said.code == 0) == (f"they only record what was touched: [hooks] enabled = false in {path}" in said.out)


def test_only_root_can_tell_whether_all_is_well(doctor: Doctor) -> None:
    """Exit 3: the hooks are seen, and what they did is in root's state."""
    doctor.install_package()
    with public_directory() as public:
        command = command_for(NOBODY, public / "state")
        if command is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        account = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        command.program = [*doctor.machine.command.program[:3], *account, *command.program]
        child = subprocess.run(
            [*command.program, "doctor", "--json"],
            capture_output=True,
            check=False,
            env={"HOME": "/", "PATH": os.defpath},
        )

    told = json.loads(child.stdout)
    assert (3, "unknown", None) == (child.returncode, told["verdict"], told["health"])
    assert [f"/{TRIGGERS}"] == [hook["path"] for hook in told["standing"]]


def python(
    flavour: str, managers: tuple[str, ...], hooked_by: tuple[str, ...] = (), outdated: int | None = None
) -> Python:
    """One that was found."""
    return Python(flavour, f"/usr/bin/{flavour}", None, managers, hooked_by, outdated)


@pytest.mark.parametrize(
    ("pythons", "health", "expected"),
    [
        ([], {}, []),
        ([python("py313", ("rpm",), ("rpm",))], {}, []),
        (
            [python("py313", ("rpm",))],
            {},
            [("rpm doesn't call pyctrigger for py313: install the package pyctrigger, which has its hooks", None)],
        ),
        (
            [python("py313", ("pacman", "rpm"), ("rpm",)), python("py39", ("pacman",)), python("py36", ())],
            {},
            [
                (
                    "pacman doesn't call pyctrigger for py313, py39",
                    "pyctrigger hooks install --manager pacman --python py313 --python py39",
                )
            ],
        ),
        (
            [python("py313", ("rpm",), ("rpm",), 3), python("py314", ("rpm",), ("rpm",), 0)],
            {},
            [("bytecode is out of date for py313 (3 files)", "pyctrigger run")],
        ),
        (
            [python("py313", ("rpm",), ("rpm",), 1), python("py314", ("rpm",), ("rpm",), 2)],
            {},
            [("bytecode is out of date for py313 (1 file), py314 (2 files)", "pyctrigger run")],
        ),
        ([], {"parked": 1}, [("py313: work failed three times and is parked", "pyctrigger repair")]),
        ([], {"pending": 1}, [("py313: work is pending", "pyctrigger run")]),
        ([], {"pending": 1, "holder": Holder(1, "pyctrigger run", 0.0)}, []),
        (
            [],
            {"last_failure": time.time(), "last_failed": True, "failed_run": 12},
            [("py313: the last run failed", "pyctrigger history 12")],
        ),
        ([], {"last_failure": 1.0, "last_failed": True}, []),  # long ago
        (
            [],
            {"prefix": "/srv/my env", "pending": 1},
            [("/srv/my env (py313): work is pending", "pyctrigger run --prefix '/srv/my env'")],
        ),
        (
            [Python("py313", "/usr/bin/python3.13")],
            {"interpreter": SimpleNamespace(executable="/opt/bin/python3.13"), "parked": 1},
            [("py313: work failed three times and is parked", "pyctrigger repair --python /opt/bin/python3.13")],
        ),
        (
            [Python("py313", "/usr/bin/python3.13")],
            {"interpreter": SimpleNamespace(executable="/usr/bin/python3.13"), "parked": 1},
            [("py313: work failed three times and is parked", "pyctrigger repair")],
        ),
        (
            [Python("py313", "/usr/bin/python3.13")],
            {"flavour": "/opt/new python", "pending": 1},
            [("/opt/new python: work is pending", "pyctrigger run --python '/opt/new python'")],
        ),
        ([], {"previous_magic_number": b"abcd"}, [("py313: its magic number has changed", "pyctrigger run")]),
    ],
)
def test_each_finding_has_its_command(
    as_root: None, pythons: list[Python], health: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    """What to type, where there is something to type."""
    report = DoctorReport(["pyctrigger"])
    report.managers = ["pacman", "rpm"]
    report.pythons = pythons
    report.health = CheckReport(Thresholds(), nagios=True)
    report.health.flavours.append(Health("py313", "cpython-313-00000000", None)._replace(**health))

    assert expected == list(findings(report))
