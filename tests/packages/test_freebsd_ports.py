"""The ports for FreeBSD: what `ports/build freebsd` writes fits together, and with the triggers that are installed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from environment import CHECKOUT
from pkg_stand_in import load

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = CHECKOUT / "tests/golden/pkg"
PROGRAM = "sysutils/pyctrigger"
TRIGGER = "sysutils/py-pycache-trigger"
FLAVOURS = ["py39", "py310", "py311", "py312", "py313", "py314", "py315", "py313t", "py314t", "py315t"]

_VARIABLE = re.compile(r"^([A-Z0-9_]+)=\t+(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ports' directories."""
    outdir: Path = tmp_path_factory.mktemp("ports")
    command = [sys.executable, str(CHECKOUT / "ports/build"), "freebsd", str(outdir)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    written = sorted(str(path) for path in outdir.rglob("*") if path.is_file())
    assert sorted(said.splitlines()) == written
    return outdir / "freebsd"


def makefile(port: Path) -> dict[str, str]:
    """A Makefile's variables, with continued lines joined."""
    return dict(_VARIABLE.findall((port / "Makefile").read_text().replace("\\\n", " ")))


def words_of(flavour: str) -> dict[str, str]:
    """The values of `USES=python`'s words in a flavour (Mk/Uses/python.mk), and of the framework's own."""
    suffix = flavour[2:]
    version = f"{suffix[0]}.{suffix[1:]}"
    return {
        "PYTHON_SUFFIX": suffix,
        "PYTHON_BASESUFFIX": suffix.rstrip("t"),
        "PYTHON_VER": version,
        "PYTHON_VERSION": f"python{version}",
        "PYTHON_SITELIBDIR": f"/usr/local/lib/python{version}/site-packages",
        "PREFIX": "/usr/local",
        "LOCALBASE": "/usr/local",
    }


def substituted(path: Path, flavour: str) -> str:
    """A file of the port's after the framework's sed."""
    text = path.read_text()
    for word, meaning in words_of(flavour).items():
        text = text.replace(f"%%{word}%%", meaning)
    return text


def test_both_ports_are_whole(built: Path) -> None:
    """Each has what the framework asks for, and nothing is left to fill in."""
    for port in (PROGRAM, TRIGGER):
        variables = makefile(built / port)
        assert variables["CATEGORIES"].split()[0] == port.split("/")[0]
        assert {"PORTNAME", "DISTVERSION", "MAINTAINER", "COMMENT", "LICENSE", "USES", "NO_ARCH", "NO_BUILD"} <= {
            *variables
        }
        assert len(variables["COMMENT"]) <= 70
        assert (built / port / "pkg-descr").read_text().strip()
        text = (built / port / "Makefile").read_text()
        assert text.endswith("\n.include <bsd.port.mk>\n")
        assert "@" not in text.replace("@FreeBSD.org", "").replace("@${", "")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_flavours_port_installs_just_its_trigger(built: Path, flavour: str) -> None:
    """Under its own name; the framework finds its template, and makes what `pyctrigger hooks` renders."""
    variables = makefile(built / TRIGGER)
    name = variables["TRIGGERS"].replace("${PY_FLAVOR}", flavour)

    text = substituted(built / TRIGGER / "files" / f"{name}.ucl.in", flavour)

    assert "%%" not in text
    assert text == (built / "triggers" / f"{name}.ucl").read_text()
    assert load(f"{name}.ucl", text).cleanup is not None
    assert name == f"python-pycache-{flavour}"
    assert not (built / TRIGGER / "pkg-plist").exists()  # the framework's own list has the trigger, and that is all


def test_the_trigger_is_the_one_that_the_command_renders(built: Path) -> None:
    """Byte for byte."""
    template = built / TRIGGER / "files/python-pycache-py311.ucl.in"

    assert substituted(template, "py311") == (GOLDEN / "python-pycache-py311.ucl").read_text()


def test_every_named_file_is_there(built: Path) -> None:
    """What SUB_FILES and distinfo name; and what is there is named."""
    variables = makefile(built / TRIGGER)
    named = {f"{name}.in" for name in variables["SUB_FILES"].split()}
    named |= {f"python-pycache-{flavour}.ucl.in" for flavour in FLAVOURS}

    assert {path.name for path in (built / TRIGGER / "files").iterdir()} == named
    assert "%%" not in substituted(built / TRIGGER / "files/pkg-message.in", "py313t")
    wheels = re.findall(r"(\S+\.whl):(\w+)", makefile(built / PROGRAM)["DISTFILES"])
    distinfo = (built / PROGRAM / "distinfo").read_text()
    assert len(wheels) == 3
    for wheel, group in wheels:
        assert re.search(rf"^SHA256 \({re.escape(wheel)}\) = [0-9a-f]{{64}}$", distinfo, re.MULTILINE)
        assert re.search(rf"^SIZE \({re.escape(wheel)}\) = [0-9]+$", distinfo, re.MULTILINE)
        assert f"PYPI/py3/{group[0]}/{group}:{group}" in makefile(built / PROGRAM)["MASTER_SITES"]


def test_no_other_flavour_and_no_program_is_in_the_way(built: Path) -> None:
    """Two packages never own the same file."""
    plist = (built / PROGRAM / "pkg-plist").read_text().splitlines()

    assert not [line for line in plist if "pkg/triggers" in line]
    assert "RUN_DEPENDS" in makefile(built / TRIGGER)
    assert makefile(built / TRIGGER)["RUN_DEPENDS"].endswith(f":{PROGRAM}")
    assert "USE_PYTHON" not in makefile(built / PROGRAM)
    assert makefile(built / TRIGGER)["USE_PYTHON"] == "allflavors flavors"
    assert makefile(built / TRIGGER)["USES"] == "python:3.9+,run trigger"


def test_the_programs_list_is_what_it_installs(built: Path, tmp_path: Path) -> None:
    """do-install's own command is run, and every file that it installs is in the plist, once."""
    text = (built / PROGRAM / "Makefile").read_text()
    (command,) = re.findall(r"^do-install:\n\t.*\$\{PYTHON_CMD\} (.*) \$\{STAGEDIR\}$", text, re.MULTILINE)
    words = command.replace("${WRKSRC}", str(CHECKOUT)).split()

    subprocess.run([sys.executable, *words, str(tmp_path)], check=True, cwd="/", env={})

    installed = {str(path.relative_to(tmp_path / "usr/local")) for path in tmp_path.rglob("*") if path.is_file()}
    lines = (built / PROGRAM / "pkg-plist").read_text().splitlines()
    listed = [line for line in lines if not line.startswith(("@postexec", "@preunexec"))]
    assert "@sample etc/pyctrigger.toml.sample" in listed
    assert {"share/man/man8/pyctrigger.8.gz", "share/man/man8/pyctrigger-run.8.gz"} < {*listed}
    assert "share/man/man5/pyctrigger.toml.5.gz" in listed
    assert "share/bash-completion/completions/pyctrigger" in listed
    assert sorted(re.sub(r"^@sample |(?<=\.[58])\.gz$", "", line) for line in listed) == sorted(installed)
    assert {"bin/pyctrigger", "lib/pyctrigger/pyctrigger/hooks/pkg/python-pycache.ucl"} <= {*listed}
    assert "@postexec %D/bin/pyctrigger --own-bytecode || :" in lines
    assert any(line.startswith("@preunexec /usr/bin/find %D/lib/pyctrigger ") for line in lines)
