"""The hook templates: each can be filled in, parses where its reader is at hand, and is carried by wheel and sdist."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from conftest import absent
from environment import CHECKOUT
from system_tools import find_tool

HOOKS = Path(CHECKOUT) / "hooks"
TEMPLATES = sorted(str(path.relative_to(HOOKS)) for path in HOOKS.glob("*/*"))
WORDS = {
    "@PYTHON@": "/opt/pyctrigger/bin/python",
    "@VERSION@": "3.13",
    "@SITE@": "/usr/lib/python3.13/site-packages",
    "@SITE_FROM_ROOT@": "usr/lib/python3.13/site-packages",
}


def _filled_in(template: str) -> str:
    text = (HOOKS / template).read_text(encoding="utf-8")
    for word, value in WORDS.items():
        text = text.replace(word, value)
    return text


def test_there_is_one_for_each_manager() -> None:
    """The contract's managers, and a plain one for all others."""
    assert {template.split("/")[0] for template in TEMPLATES} == {"pkg", "dpkg", "rpm", "pacman", "apk", "sh"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_four_words_fill_it_in(template: str) -> None:
    """Nothing is left to replace, and the README explains each word."""
    filled_in = _filled_in(template)

    assert "@" not in filled_in.replace("$@", "")
    assert all(f"`{word}`" in (HOOKS / "README.md").read_text(encoding="utf-8") for word in WORDS)


@pytest.mark.parametrize("template", ["dpkg/postinst", "apk/pyctrigger.trigger", "sh/pyctrigger-hook"])
def test_a_shell_can_read_it(template: str) -> None:
    """`sh -n` finds no fault."""
    subprocess.run(["/bin/sh", "-n"], input=_filled_in(template).encode(), check=True)


def test_lua_can_read_pkgs(tmp_path: Path) -> None:
    """The script inside the UCL file compiles."""
    lua = find_tool("luac5.4") or find_tool("lua5.4")
    if lua is None:
        absent("no lua5.4 on this machine")
    script = tmp_path / "trigger.lua"
    script.write_text(_filled_in("pkg/pyctrigger.ucl").split("<<EOS\n")[1].split("\nEOS\n")[0])

    if lua.endswith("luac5.4"):
        subprocess.run([lua, "-p", str(script)], check=True)
    else:
        subprocess.run([lua, "-e", f"assert(loadfile({str(script)!r}))"], check=True)


def test_rpm_can_read_its_spec(tmp_path: Path) -> None:
    """`rpmbuild` makes a package with three file triggers of it."""
    if find_tool("rpmbuild") is None:
        absent("no rpmbuild on this machine")
    spec = tmp_path / "pyctrigger-hook.spec"
    spec.write_text(_filled_in("rpm/pyctrigger-hook.spec"))

    subprocess.run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}", str(spec)], check=True)

    (package,) = tmp_path.glob("RPMS/noarch/*.rpm")
    query = ["rpm", "-qp", "--filetriggers", str(package)]
    said = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said.count("/usr/lib/python3.13/site-packages/") == 3
    assert "--defer" in said


def test_wheel_and_sdist_carry_them_all(tmp_path: Path) -> None:
    """What is installed from a package index has every template."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(CHECKOUT)]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {f"pyctrigger/hooks/{template}" for template in TEMPLATES} <= names
    build = "from hatchling.build import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    child = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    )
    with tarfile.open(tmp_path / child.stdout.split()[-1]) as archive:
        carried = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {f"hooks/{template}" for template in TEMPLATES} <= carried
