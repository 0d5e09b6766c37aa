"""Hooks: `pyctrigger hooks`, in exact bytes and on the disk, and the templates behind it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from environment import CHECKOUT
from packages import snapshot
from pinned import UNBUILT
from pyctrigger.errors import UsageError
from pyctrigger.interpreter.flavour import directories
from pyctrigger.interpreter.probe import probe
from pyctrigger.interpreter.scope import own_directories
from pyctrigger.packages.every import HOOKS
from pyctrigger.packages.hook import Subject
from releases import distributions
from system_tools import find_tool

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

TEMPLATES = Path(CHECKOUT) / "hooks"
GOLDEN = CHECKOUT / "tests/golden"
#: FreeBSD's have a test file of their own.
MANAGERS = ("dpkg", "rpm", "pacman", "apk", "sh")
PROGRAM = ("/usr/bin/pyctrigger",)
SUBJECTS = {
    subject.flavour: subject
    for subject in (
        Subject("py311", "3.11", "python3.11", "cpython-311", PROGRAM),
        Subject("py313t", "3.13t", "python3.13t", "cpython-313", PROGRAM),
        Subject("py314", "3.14", "python3.14", "cpython-314", PROGRAM),
        Subject("pypy311", "pypy3.11", "pypy3.11", "pypy311", PROGRAM),
    )
}


@pytest.fixture
def hooks(pyctrigger: Command) -> Hooks:
    """The command."""
    return Hooks(pyctrigger)


class Hooks:
    """`pyctrigger hooks`, which keeps no state."""

    def __init__(self, command: Command) -> None:
        self.program = [*command.program, "hooks"]

    def text(self, *arguments: str | os.PathLike[str], code: int = 0) -> tuple[str, str]:
        """What it prints on its two streams."""
        child = subprocess.run([*self.program, *arguments], capture_output=True, text=True, check=False)
        assert child.returncode == code, child.stderr
        return child.stdout, child.stderr

    def installed(self, *arguments: str | os.PathLike[str]) -> list[dict[str, str]]:
        """The hooks of its JSON object."""
        said = json.loads(self.text("--json", *arguments)[0])
        assert (1, "hooks", 0, [], []) == tuple(
            said[key] for key in ("schema", "command", "exit_code", "errors", "runs")
        )
        found: list[dict[str, str]] = said["hooks"]
        return found


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("flavour", SUBJECTS)
def test_rendered_text_is_stable_byte_for_byte(manager: str, flavour: str) -> None:
    """Each file of each hook is the golden one; a change of it is a change for every system that has it."""
    for file in HOOKS[manager](SUBJECTS[flavour]):
        golden = GOLDEN / manager / os.path.basename(file.path)
        if "PYCTRIGGER_WRITE_GOLDEN" in os.environ:
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(file.text)
        assert golden.read_text() == file.text


@pytest.mark.parametrize("manager", [*MANAGERS, "pkg"])
def test_flavours_stand_side_by_side(manager: str) -> None:
    """No two flavours have a file, or a word about Python, in common."""
    paths = [file.path for subject in SUBJECTS.values() for file in HOOKS[manager](subject)]

    assert len(set(paths)) == len(paths)
    for flavour, subject in SUBJECTS.items():
        for file in HOOKS[manager](subject):
            assert flavour in file.path
            assert f"--python {subject.version} " in file.text or f'"{subject.version}"' in file.text
            others = [other.library for other in SUBJECTS.values() if other is not subject]
            assert not any(f"/{library}/" in file.text for library in others)


@pytest.mark.parametrize("manager", [*MANAGERS, "pkg"])
def test_rendering_needs_no_interpreter_and_says_the_same_in_the_command(hooks: Hooks, manager: str) -> None:
    """What the command prints is the template, filled in for the program that it is itself."""
    program = (sys.executable, "-I", "-m", "pyctrigger")
    files = HOOKS[manager](SUBJECTS["py314"]._replace(program=program))

    out, err = hooks.text("render", "--manager", manager, "--python", "3.14")

    assert err == ""
    assert all(file.text.rstrip("\n") in out for file in files)
    assert [file.text for file in files] == [
        each["text"] for each in hooks.installed("render", "--manager", manager, "--python", "py314")
    ]
    assert (len(files) > 1) == out.startswith(f"# {files[0].path}\n")


def test_an_executable_is_asked_which_flavour_it_is(hooks: Hooks, outsider: Interpreter) -> None:
    """Its hook calls for that executable, for its own directories, and masks no hook of its version."""
    version = ".".join(map(str, outsider.version[:2]))
    answers = probe(outsider.path).interpreter
    sites = set(own_directories(answers).packages)
    for manager in (*MANAGERS, "pkg"):
        by_version = hooks.installed("render", "--manager", manager, "--python", version)
        by_path = hooks.installed("render", "--manager", manager, "--python", outsider.path)

        assert len(by_version) == len(by_path)
        assert {each["path"] for each in by_version}.isdisjoint(each["path"] for each in by_path), manager
        assert {each["flavour"] for each in by_version} == {each["flavour"] for each in by_path}
        for each in by_path:
            assert outsider.path in each["text"], manager
            assert f"--python {version} " not in each["text"], manager
            assert re.fullmatch(r"[\w-]+(\.hook|\.ucl|\.spec)?", os.path.basename(each["path"]), re.ASCII)
            if manager in ("pacman", "pkg", "rpm"):
                assert any(site.lstrip("/") in each["text"] for site in sites), manager
                assert f"usr/lib/{answers.library}/" not in each["text"].replace(outsider.prefix, ""), manager


def test_a_name_is_the_version_that_it_has_now(hooks: Hooks) -> None:
    """A hook's own name and paths are one flavour's; where another executable of that version comes first, by path."""
    path = next((path for at in directories() if os.path.exists(path := f"{at}/python3")), None)
    if path is None:
        absent("a python3 in the standard directories")
    version = ".".join(map(str, probe(path).interpreter.version[:2]))
    first = next((path for at in directories() if os.path.exists(path := f"{at}/python{version}")), path)
    given = version if os.path.samefile(path, first) else path
    for name in ("python3", "3"):
        for manager in (*MANAGERS, "pkg"):
            assert (hooks.text("render", "--manager", manager, "--python", name)) == (
                hooks.text("render", "--manager", manager, "--python", given)
            )


@pytest.mark.parametrize("manager", ["pkg", "dpkg", "pacman", "apk", "sh"])
def test_install_list_uninstall_inside_a_root(hooks: Hooks, tmp_path: Path, manager: str) -> None:
    """Files appear in their places below the root, whole and with their modes; again changes nothing; then they go."""
    scope = ["--manager", manager, "--python", "3.11", "--python", "pypy3.11", "--root", str(tmp_path)]
    empty = snapshot(tmp_path)

    dry = hooks.installed("install", "--dry-run", *scope)
    assert snapshot(tmp_path) == empty
    assert {"installed"} == {each["done"] for each in dry}
    assert {"absent"} == {each["state"] for each in hooks.installed("list", *scope)}

    first = hooks.installed("install", *scope)
    assert [each["path"] for each in dry] == [each["path"] for each in first]
    for each in first:
        path = Path(f"{tmp_path}{each['path']}")
        assert each["text"] == path.read_text()
        script = manager in ("apk", "sh")
        assert (0o755 if script else 0o644) == path.stat().st_mode & 0o777
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(first) == len(files)
    standing = snapshot(tmp_path)
    assert {""} == {each["done"] for each in hooks.installed("install", *scope)}
    assert snapshot(tmp_path) == standing
    assert {"installed"} == {each["state"] for each in hooks.installed("list", *scope)}

    files[0].write_text("something else\n")
    states = [each["state"] for each in hooks.installed("list", *scope)]
    assert ["different", *["installed"] * (len(files) - 1)] == sorted(states)
    hooks.text("install", *scope, code=1)
    assert files[0].read_text() == "something else\n"
    assert ["", "installed"] == sorted({each["done"] for each in hooks.installed("install", "--force", *scope)})
    assert sorted(each["text"] for each in first) == sorted(path.read_text() for path in files)

    gone = hooks.installed("uninstall", *scope)
    assert {"removed"} == {each["done"] for each in gone}
    assert [] == [path for path in files if path.exists()]
    assert {""} == {each["done"] for each in hooks.installed("uninstall", *scope)}


def test_lines_for_a_person(hooks: Hooks, tmp_path: Path) -> None:
    """One line for each file says what became of it."""
    scope = ["--manager", "apk", "--python", "3.12", "--root", str(tmp_path)]
    inside = "/etc/apk/commit_hooks.d/pyctrigger-py312"
    path = f"{tmp_path}{inside}"

    said = [
        hooks.text(*action, *scope)[0]
        for action in (["install", "--dry-run"], ["install"], ["install"], ["list"], ["uninstall"], ["uninstall"])
    ]

    assert [
        f"would be installed: {path}\n",
        f"installed: {path}\n",
        f"already installed: {path}\n",
        f"manager  flavour  state      made by  fires  path\napk      py312    installed  hand     yes    {inside}\n",
        f"removed: {path}\n",
        f"was not there: {path}\n",
    ] == said


def test_rpm_takes_packages_only(hooks: Hooks, tmp_path: Path) -> None:
    """Exit 2, and the package that has the hooks is named; what they look like can be seen all the same."""
    for action, verb in (("install", "install"), ("uninstall", "remove")):
        said = hooks.text(action, "--manager", "rpm", "--python", "3.13", "--root", tmp_path, code=2)
        expected = f"pyctrigger: rpm accepts hooks only from packages; {verb} the package pyctrigger, which has them\n"
        assert ("", expected) == said
    assert list(tmp_path.iterdir()) == []
    assert (
        "%transfiletriggerin -- /usr/lib/python3.13/" in hooks.text("render", "--manager", "rpm", "--python", "3.13")[0]
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["render"], "hooks render needs --manager M and --python V; name what the hook is for"),
        (["install", "--manager", "pkg"], "hooks install needs --manager M and --python V; name what the hook is for"),
        (
            ["render", "--manager", "pkg", "--python", "2.7"],
            "--python 2.7: older than any target; the oldest is Python 3.6",
        ),
    ],
)
def test_what_is_missing_is_said(hooks: Hooks, arguments: list[str], complaint: str) -> None:
    """Bad input is a line and exit 2."""
    assert ("", f"pyctrigger: {complaint}\n") == hooks.text(*arguments, code=2)


@pytest.mark.parametrize("manager", ["pkg", "rpm", "pacman"])
def test_a_path_that_the_file_has_no_quoting_for_is_refused(hooks: Hooks, manager: str) -> None:
    """Better no hook than one that means something else; what can be quoted is."""
    bad = {"pkg": "/srv/$x/site", "rpm": "/srv/a b/site", "pacman": "/srv/*/site"}[manager]

    out, err = hooks.text("render", "--manager", manager, "--python", "3.11", "--site-dir", bad, code=2)

    assert out == ""
    assert err.startswith(f"pyctrigger: '{bad}' can't be used in its hooks; ")


def test_a_link_never_leads_out_of_the_root(hooks: Hooks, tmp_path: Path) -> None:
    """Inside a root an absolute link starts at that root, and a planted file of the name is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept\n")
    root = tmp_path / "root"
    (root / "etc/apk").mkdir(parents=True)
    (root / "etc/apk/commit_hooks.d").symlink_to(victim)
    scope = ["--manager", "apk", "--python", "3.12", "--root", str(root)]
    before = snapshot(victim)

    hooks.text("install", *scope, code=2)
    assert snapshot(victim) == before

    (root / "etc/apk/commit_hooks.d").unlink()
    (root / "etc/apk/commit_hooks.d").mkdir()
    planted = root / "etc/apk/commit_hooks.d/pyctrigger-py312"
    planted.symlink_to(victim / "file")
    assert ["different"] == [each["state"] for each in hooks.installed("list", *scope)]
    hooks.text("install", *scope, code=1)
    assert planted.is_symlink()
    hooks.text("install", "--force", *scope)
    assert not planted.is_symlink()
    assert (victim / "file").read_text() == "kept\n"


def test_a_place_that_cannot_be_written_is_one_line(hooks: Hooks, tmp_path: Path) -> None:
    """A file where a directory should be: path, reason, and no traceback."""
    (tmp_path / "etc").write_text("")

    _, err = hooks.text("install", "--manager", "apk", "--python", "3.12", "--root", tmp_path, code=2)

    assert err.startswith(f"pyctrigger: {tmp_path}/etc/apk/commit_hooks.d/pyctrigger-py312: Not a directory")


@pytest.mark.parametrize("manager", ["apk", "sh"])
def test_a_shell_can_read_it(manager: str) -> None:
    """`sh -n` finds no fault, also where the program has a space and a quote in its path."""
    (file,) = HOOKS[manager](SUBJECTS["py311"]._replace(program=("/opt/it's here/python", "-I", "-m", "pyctrigger")))

    subprocess.run(["/bin/sh", "-n"], input=file.text.encode(), check=True)


def test_apk_commit_hook_runs_after_the_transaction_only(tmp_path: Path, newest: Interpreter) -> None:
    """Called before, it does nothing; called after, it looks at everything; it never fails."""
    seen = tmp_path / "seen"
    program = tmp_path / "it's a program"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{seen}"\nexit 3\n')
    program.chmod(0o755)
    (file,) = HOOKS["apk"](SUBJECTS["py311"]._replace(program=(str(program),)))
    hook = tmp_path / "hook"
    hook.write_text(file.text)

    subprocess.run(["/bin/sh", str(hook), "pre-commit"], check=True)
    assert not seen.exists()
    subprocess.run(["/bin/sh", str(hook), "post-commit"], check=True)
    assert ["run", "--hook", "--python", "3.11", "--manager", "apk"] == seen.read_text().splitlines()


def test_apks_package_trigger_passes_its_directories(tmp_path: Path) -> None:
    """One pattern for each depth; directories on, one by one; where none matched apk gives an empty one."""
    from pyctrigger.packages.apk import Apk

    seen = tmp_path / "seen"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nprintf "<%s>\\n" "$@" > "{seen}"\n')
    program.chmod(0o755)
    text = Apk.trigger(SUBJECTS["py311"]._replace(program=(str(program),)))

    subprocess.run(["/bin/sh", "-c", text, "trigger", "/usr/lib/python3.11/site-packages/a b", ""], check=True)

    assert ["<--manager>", "<apk>", "<-->", "</usr/lib/python3.11/site-packages/a b>", "<>"] == (
        seen.read_text().splitlines()[-5:]
    )
    assert "=/usr/lib/python3.11/site-packages:/usr/lib/python3.11/site-packages/*:" in text


def test_plain_hook_serves_any_caller(site: Path, tmp_path: Path, newest: Interpreter) -> None:
    """Rendered, and called with a touched path by who knows nothing else: the bytecode is there."""
    (site / "package").mkdir()
    (site / "package/m.py").write_text("x = 1\n")
    program = tmp_path / "program"
    options = f"--site-dir '{site}' --state-dir '{tmp_path}/state'"
    program.write_text(f'#!/bin/sh\nverb=$1; shift\nexec "{sys.executable}" -I -m pyctrigger "$verb" {options} "$@"\n')
    program.chmod(0o755)
    (file,) = HOOKS["sh"](SUBJECTS["py311"]._replace(program=(str(program),), version=newest.path))

    subprocess.run(["/bin/sh", "-c", file.text, "hook", str(site / "package")], check=True, stderr=subprocess.DEVNULL)

    assert len(list(site.rglob("*.pyc"))) == 1


def test_apt_reads_its_configuration(tmp_path: Path) -> None:
    """apt-config gives back the command, word for word; one that has a quotation mark in it can't be written there."""
    program = find_tool("apt-config")
    if program is None:
        absent("no apt-config on this machine")
    (file,) = HOOKS["dpkg"](SUBJECTS["py311"]._replace(program=("/opt/a b/pyctrigger",)))
    configuration = tmp_path / "apt.conf"
    configuration.write_text(file.text)

    said = subprocess.run(
        [program, "dump", "DPkg::Post-Invoke"],
        env={**os.environ, "APT_CONFIG": str(configuration)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout

    assert "\"'/opt/a b/pyctrigger' run --hook --python 3.11 --manager dpkg || :\";" in said
    with pytest.raises(UsageError, match="can't be used in its hooks"):
        HOOKS["dpkg"](SUBJECTS["py311"]._replace(program=("/opt/it's/pyctrigger",)))


def test_wheel_and_sdist_carry_the_templates(tmp_path: Path) -> None:
    """What is installed from a package index can render every hook."""
    templates = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.glob("*/*")}
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", *UNBUILT, "--wheel-dir", str(tmp_path), str(CHECKOUT)]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    installed = tmp_path / "installed"
    assert templates == {
        str(path.relative_to(installed / "pyctrigger/hooks")) for path in installed.glob("pyctrigger/hooks/*/*")
    }
    command = [
        sys.executable,
        "-I",
        "-c",
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import pyctrigger.cli as c; sys.exit(c.main())",
    ]
    for manager in HOOKS:
        rendered = subprocess.run(
            [*command, str(installed), "hooks", "render", "--manager", manager, "--python", "3.11"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "@" not in rendered.stdout.replace("$@", "")
    (sdist,) = distributions(CHECKOUT, tmp_path, kinds=["sdist"]).values()
    with tarfile.open(sdist) as archive:
        carried = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {f"hooks/{template}" for template in templates} <= carried
    assert {"ports/build", "ports/distinfo", "ports/application/launcher"} <= carried
    # Nobody who builds a package needs what makes them.
    assert {f"docs/man/{path.name}" for path in (CHECKOUT / "docs/man").iterdir()} <= carried
