"""The ports for FreeBSD: what `ports/build freebsd` writes, staged by a BSD make(1) under a stand-in framework."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder import distfiles
from environment import CHECKOUT
from pkg_stand_in import load
from ports_tree import Port
from releases import distributions

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = CHECKOUT / "tests/golden/pkg"
PROGRAM = "sysutils/pyctrigger"
TRIGGER = "sysutils/py-pycache-trigger"
FLAVOURS = ["py39", "py310", "py311", "py312", "py313", "py314", "py315", "py313t", "py314t", "py315t"]
#: PREFIX and LOCALBASE: the usual ones, and others.
BASES = [("/usr/local", "/usr/local"), ("/opt/ours", "/usr/local"), ("/usr/local", "/pkg"), ("/usr/local/a", "/pkg.d")]


def build(outdir: Path, *options: str) -> Path:
    """The ports' directories."""
    command = [sys.executable, str(CHECKOUT / "ports/build"), "freebsd", str(outdir), *options]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    written = sorted(str(path) for path in outdir.rglob("*") if path.is_file())
    assert sorted(said.splitlines()) == written
    return outdir / "freebsd"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As they are built."""
    return build(tmp_path_factory.mktemp("ports"))


@pytest.fixture(scope="module")
def distdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ports fetch: a release of this checkout, and what it bundles."""
    directory: Path = tmp_path_factory.mktemp("distfiles")
    distributions(CHECKOUT, directory, kinds=["sdist"])
    for path in distfiles.fetch(Path(CHECKOUT)).values():
        shutil.copy(path, directory)
    return directory


@pytest.fixture
def trigger(built: Path, tmp_path: Path) -> Path:
    """A copy of the trigger's port, to stage."""
    return Path(shutil.copytree(built / TRIGGER, tmp_path / "trigger"))


@pytest.fixture
def program(built: Path, tmp_path: Path) -> Path:
    """A copy of the program's port, to stage."""
    return Path(shutil.copytree(built / PROGRAM, tmp_path / "program"))


def files_below(stage: Path) -> set[str]:
    """Their absolute paths, once they are installed."""
    return {f"/{path.relative_to(stage)}" for path in stage.rglob("*") if path.is_file()}


def packing_list(port: Port, prefix: str) -> list[str]:
    """The absolute paths that a port says it installs: pkg-plist, PLIST_FILES, and PORTDOCS."""
    plist = port.directory / "pkg-plist"
    listed = plist.read_text().splitlines() if plist.exists() else []
    names = [re.sub(r"^@sample |(?<=\.[58])\.gz$", "", line) for line in listed]  # the framework compresses manuals
    names += port.value("PLIST_FILES")
    if "DOCS" in port.value("OPTIONS_DEFINE") and "DOCS" not in port.value("OPTIONS_UNSET"):
        names += [f"{port.value('DOCSDIR')[0]}/{name}" for name in port.value("PORTDOCS")]
    return sorted(name if name.startswith("/") else f"{prefix}/{name}" for name in names)


@pytest.mark.parametrize("name", [PROGRAM, TRIGGER])
def test_a_port_is_whole(built: Path, name: str) -> None:
    """It has what the framework and a committer ask for, and nothing is left to fill in."""
    port = Port(built / name)

    assert port.value("CATEGORIES")[0] == name.partition("/")[0]
    for variable in ("PORTNAME", "DISTVERSION", "MAINTAINER", "WWW", "LICENSE", "USES", "NO_ARCH", "NO_BUILD"):
        assert port.value(variable), variable
    assert len(" ".join(port.value("COMMENT"))) <= 70
    assert (built / name / "pkg-descr").read_text().strip()
    text = (built / name / "Makefile").read_text()
    assert text.endswith("\n.include <bsd.port.mk>\n")
    assert not re.search(r"@[A-Z_]+@", text)
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 80


@pytest.mark.parametrize(
    ("options", "named"),
    [([], "pyctrigger@localhost"), (["--maintainer", "someone@example.org"], "someone@example.org")],
    ids=["ours", "the submitter"],
)
def test_who_submits_the_ports_maintains_them(tmp_path: Path, options: Sequence[str], named: str) -> None:
    """Not ports@FreeBSD.org, which is for ports that nobody maintains."""
    ports = build(tmp_path, *options)

    assert [[named]] * 2 == [Port(ports / name).value("MAINTAINER") for name in (PROGRAM, TRIGGER)]


# -- the trigger -----------------------------------------------------------------------------------------------------


def test_one_template_serves_all_flavours(built: Path) -> None:
    """Of the two files there, one is the trigger's."""
    assert {"pkg-message.in", "python-pycache.ucl.in"} == {path.name for path in (built / TRIGGER / "files").iterdir()}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_flavour_installs_just_its_trigger(built: Path, trigger: Path, flavour: str) -> None:
    """Under a name of its own, and as `pyctrigger hooks` renders it: two flavours never own the same file."""
    port = Port(trigger, FLAVOR=flavour)

    stage = port.stage()

    name = f"python-pycache-{flavour}.ucl"
    path = f"/usr/local/share/pkg/triggers/{name}"
    assert {path} == files_below(stage) == {*packing_list(port, "/usr/local")}
    text = (stage / path[1:]).read_text()
    assert (built / "triggers" / name).read_text() == text
    golden = GOLDEN / name
    assert not golden.exists() or golden.read_text() == text
    assert load(name, text).cleanup is not None
    assert "%%" not in port.message()


@pytest.mark.parametrize(("prefix", "localbase"), BASES)
def test_a_trigger_watches_where_other_ports_install(
    built: Path, trigger: Path, program: Path, distdir: Path, prefix: str, localbase: str
) -> None:
    """Below LOCALBASE, where pkg looks for it, too; and there it's what the program itself renders."""
    port = Port(trigger, FLAVOR="py312", PREFIX=prefix, LOCALBASE=localbase)

    stage = port.stage()

    path = f"{localbase}/share/pkg/triggers/python-pycache-py312.ucl"
    assert {path} == files_below(stage) == {*packing_list(port, prefix)}
    text = (stage / path[1:]).read_text()
    assert (built / "triggers/python-pycache-py312.ucl").read_text().replace("/usr/local", localbase) == text
    assert f"{localbase}/etc/pyctrigger.toml" in port.message()
    # The program is a dependency, and as such below LOCALBASE.
    laid_out = Port(program, PREFIX=localbase, LOCALBASE=localbase, DISTDIR=str(distdir)).stage()
    start = [sys.executable, "-I", "-S", "-B", f"{laid_out}{localbase}/lib/pyctrigger/__main__.py"]
    render = ["hooks", "render", "--manager", "pkg", "--python", "3.12"]
    assert text == subprocess.run([*start, *render], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_trigger_is_no_part_of_python(built: Path) -> None:
    """Default flavours only, and any on request; `allflavors` is for what belongs to Python's own distribution."""
    port = Port(built / TRIGGER)

    assert ["flavors"] == port.value("USE_PYTHON")
    assert ["python:3.9+,run"] == port.value("USES")
    assert [f"pyctrigger>={port.value('DISTVERSION')[0]}:{PROGRAM}"] == port.value("RUN_DEPENDS")
    # There is something to install, so NO_INSTALL isn't for it; nor is a target that does nothing.
    assert "DO_NADA" not in (built / TRIGGER / "Makefile").read_text()


# -- the program -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "localbase"), BASES)
@pytest.mark.parametrize("unset", ["", "DOCS"])
def test_the_packing_list_is_what_the_program_installs(
    program: Path, distdir: Path, prefix: str, localbase: str, unset: str
) -> None:
    """Every file once, with documents and without; nothing names another place than those that make was told."""
    port = Port(program, PREFIX=prefix, LOCALBASE=localbase, DISTDIR=str(distdir), OPTIONS_UNSET=unset)

    stage = port.stage()

    installed = files_below(stage)
    assert sorted(installed) == packing_list(port, prefix)
    assert {f"{prefix}/etc/pyctrigger.toml.sample", f"{prefix}/bin/pyctrigger"} < installed
    assert {f"{prefix}/lib/pyctrigger/pyctrigger/hooks/pkg/python-pycache.ucl"} < installed
    assert ([] if unset else ["CHANGELOG.md", "README.md"]) == sorted(
        path.rpartition("/")[2] for path in installed if path.startswith(f"{prefix}/share/doc/")
    )
    own = [path for path in stage.rglob("*") if path.is_file() and "/share/doc/" not in str(path)]
    named = {os.fsdecode(word) for path in own for word in re.findall(rb"/usr/local[\w./-]*", path.read_bytes())}
    assert {path for path in named if not path.startswith((prefix, localbase))} == set()
    assert [path for path in own if os.fsencode(stage) in path.read_bytes()] == []  # as Mk/Scripts/qa.sh asks
    launcher = stage / prefix[1:] / "bin/pyctrigger"
    assert launcher.stat().st_mode & 0o777 == 0o755
    assert f"\napplication={prefix}/lib/pyctrigger\n" in launcher.read_text()
    assert f" {localbase}/bin/python3.12 " in launcher.read_text()


def test_the_packing_list_has_a_sample_and_compressed_manuals(built: Path) -> None:
    """An administrator's settings survive an upgrade; and no trigger of a flavour is in the way."""
    plist = (built / PROGRAM / "pkg-plist").read_text().splitlines()

    assert "@sample etc/pyctrigger.toml.sample" in plist
    assert {"share/man/man8/pyctrigger.8.gz", "share/man/man8/pyctrigger-run.8.gz"} < {*plist}
    assert {"share/man/man5/pyctrigger.toml.5.gz", "share/bash-completion/completions/pyctrigger"} < {*plist}
    assert not [line for line in plist if "pkg/triggers" in line]


def test_what_is_fetched_is_pinned(built: Path) -> None:
    """Each wheel has its site, checksum and size."""
    port = Port(built / PROGRAM)
    wheels = [name.split(":") for name in port.value("DISTFILES") if ".whl" in name]
    distinfo = (built / PROGRAM / "distinfo").read_text()

    assert len(wheels) == 3
    for wheel, group in wheels:
        assert re.search(rf"^SHA256 \({re.escape(wheel)}\) = [0-9a-f]{{64}}$", distinfo, re.MULTILINE)
        assert re.search(rf"^SIZE \({re.escape(wheel)}\) = [0-9]+$", distinfo, re.MULTILINE)
        assert f"PYPI/py3/{group[0]}/{group}:{group}" in port.value("MASTER_SITES")


#: The framework's name of each licence that a wheel may name in its metadata.
LICENCES = {"MIT": "MIT", "Unlicense": "UNLICENSE", "The Unlicense (Unlicense)": "UNLICENSE"}


def test_the_licence_of_each_bundled_part_is_named_and_there(program: Path, distdir: Path) -> None:
    """With its text, word for word; and the Makefile names the ports that are not used, and why."""
    port = Port(program, DISTDIR=str(distdir))
    port.stage()
    named = port.value("LICENSE")

    assert ["BSD2CLAUSE", "MIT", "MPL20", "UNLICENSE"] == named
    assert (CHECKOUT / "LICENSE").read_text() == Path(port.value("LICENSE_FILE_BSD2CLAUSE")[0]).read_text()
    # Of MPL 2.0 the framework has the text.
    assert (
        "GENERATED by https://github.com/tqdm/shtab"
        in (CHECKOUT / "src/pyctrigger/completions/pyctrigger.bash").read_text()
    )
    text = program.joinpath("Makefile").read_text()
    for distfile, path in distfiles.fetch(Path(CHECKOUT)).items():
        with zipfile.ZipFile(path) as wheel:
            (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            said = email.message_from_bytes(wheel.read(metadata))
            words = [word.rpartition(" :: ")[2] for word in said.get_all("Classifier", ()) if "License ::" in word]
            words = [said.get("License-Expression", ""), said.get("License", ""), *words]
            (licence,) = {LICENCES[word] for word in words if word in LICENCES}
            assert licence in named
            kept = Path(port.value(f"LICENSE_FILE_{licence}")[0]).read_text()
            assert all(wheel.read(name).decode() in kept for name in distfiles.licences_in(wheel))
        assert re.search(rf"\b\w+/py-{distfile.project}\b", text)
