"""FreeBSD's pkg: the rendered trigger in a real Lua 5.4, under a stand-in for pkg, with the real program behind it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from documents import DOCS, blocks
from environment import CHECKOUT
from freebsd_system import LAUNCHER, OWN, TRIGGERS, Delete, FreeBSD, Install, Said, library_of, version_of
from interpreters import Interpreter, tag_of
from other_system import FilesBelow
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from pkg_stand_in import load
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.pkg import Pkg
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command

GOLDEN = CHECKOUT / "tests/golden/pkg"
RENDER = (
    "import sys; from pyctrigger.cli import main; sys.exit(main(sys.argv[1:], program=('/usr/local/bin/pyctrigger',)))"
)

#: Another port's trigger, which a failing one of ours would stop.
NEIGHBOUR = """description: "another port's"
path_glob: ["/usr/local/*"]
trigger: { type: lua, script: <<EOS
print("the neighbour ran")
EOS
}
cleanup: { type: lua, script: <<EOS
print("the neighbour cleaned")
EOS
}
"""


@pytest.fixture(scope="module")
def pair(interpreters: list[Interpreter]) -> tuple[Interpreter, Interpreter]:
    """Two flavours, one of them PyPy if there is one."""
    hidden = tuple(f"/{name}/" for name in OWN)
    usable = [each for each in interpreters if not each.path.startswith(hidden) and each.version >= (3, 7)]
    cpythons = [each for each in usable if each.implementation == "cpython"]
    others = [each for each in usable if each.implementation == "pypy"] or cpythons[:-1]
    if not cpythons or not others:
        absent(f"no two flavours on this machine, outside of {', '.join(hidden)}")
    return cpythons[-1], others[-1]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Interpreter, Interpreter]) -> Path:
    """The port's files, laid out once."""
    if os.geteuid() != 0:
        absent("needs root")
    top: Path = tmp_path_factory.mktemp("port")
    build = [pair[0].path, str(CHECKOUT / "ports/build"), "freebsd", str(top), "--stage"]
    subprocess.run(build, stdout=subprocess.PIPE, check=True)
    return top


@pytest.fixture(scope="module")
def original(staged: Path, tmp_path_factory: pytest.TempPathFactory, pair: tuple[Interpreter, Interpreter]) -> Path:
    """FreeBSD with two flavours, the program, and a trigger for each: made once, and copied for each test."""
    made = FreeBSD(tmp_path_factory.mktemp("original") / "root", pair)
    with closing(made):
        shutil.copytree(staged, made.top, dirs_exist_ok=True)
        made.put_interpreter(pair[0], "python3")
        # As the port does after its installation; otherwise the first hook of each copy would compile all of it.
        subprocess.run(made.inside(LAUNCHER, "--own-bytecode"), check=True)
        versions = [word for each in pair for word in ("--python", version_of(each))]
        command = made.inside(LAUNCHER, "hooks", "install", "--manager", "pkg", *versions)
        subprocess.run(command, stdout=subprocess.PIPE, check=True)
        assert len(made.triggers()) == 2
    return made.top


@pytest.fixture(scope="module")
def original_filled(
    original: Path, tmp_path_factory: pytest.TempPathFactory, pair: tuple[Interpreter, Interpreter]
) -> Path:
    """The same with a package for each flavour, compiled."""
    made = copy_of(original, tmp_path_factory.mktemp("filled"), pair)
    with closing(made):
        for name, each in zip(("one", "other"), pair):
            files = dict.fromkeys((f"{name}/__init__.py", f"{name}/sub/mod.py", "top.py"), "")
            made.install(name, {f"{site_of(each)}/{path}": text for path, text in files.items()})
            assert made.unserved(each) == []
    return made.top


def copy_of(original: Path, directory: Path, pair: tuple[Interpreter, Interpreter]) -> FreeBSD:
    """The same system once more."""
    subprocess.run(["cp", "-a", "--reflink=auto", original, directory / "root"], check=True)
    return FreeBSD(directory / "root", pair)


@pytest.fixture
def system(original: Path, tmp_path: Path, pair: tuple[Interpreter, Interpreter]) -> Iterator[FreeBSD]:
    """FreeBSD with two flavours, the program, and a trigger for each."""
    with closing(copy_of(original, tmp_path, pair)) as made:
        yield made


@pytest.fixture
def filled(original_filled: Path, tmp_path: Path, pair: tuple[Interpreter, Interpreter]) -> Iterator[FreeBSD]:
    """The same with a package for each flavour, compiled."""
    with closing(copy_of(original_filled, tmp_path, pair)) as made:
        yield made


@pytest.fixture
def first(pair: tuple[Interpreter, Interpreter]) -> Interpreter:
    """The flavour that most tests are about."""
    return pair[0]


def site_of(interpreter: Interpreter) -> str:
    """Relative to the root."""
    return f"usr/local/lib/{library_of(interpreter)}/site-packages"


def own_trigger(system: FreeBSD, interpreter: Interpreter) -> str:
    """The name of a flavour's file, relative to the root, given to a package."""
    path = f"{TRIGGERS}/python-pycache-{interpreter.flavour}.ucl"
    system.install(f"trigger-{interpreter.flavour}", {path: (system.top / path).read_text()})
    return f"trigger-{interpreter.flavour}"


def quiet(said: Said) -> bool:
    """Whether nothing complained."""
    return "pyctrigger:" not in said.out + said.err and "failed" not in said.err.replace("0 failed", "")


# -- the text --------------------------------------------------------------------------------------------------------


def render(*arguments: str) -> str:
    command = [sys.executable, "-c", RENDER, "hooks", "render", "--manager", "pkg", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("version", "flavour"), [("3.11", "py311"), ("3.14", "py314"), ("3.13t", "py313t"), ("pypy3.11", "pypy311")]
)
def test_rendered_text_is_stable(version: str, flavour: str) -> None:
    """Byte for byte; no interpreter is needed for it."""
    assert (GOLDEN / f"python-pycache-{flavour}.ucl").read_text() == render("--python", version)


def test_pkg_reads_what_was_meant() -> None:
    """The site directory and all below it; only the cleanup is sandboxed; no dollar sign, which UCL would expand."""
    text = render("--python", "3.13t")

    trigger = load("python-pycache-py313t.ucl", text)

    assert trigger.paths == [b"/usr/local/lib/python3.13t/site-packages"]
    assert trigger.matches(b"/usr/local/lib/python3.13t/site-packages/a/b")
    assert not trigger.matches(b"/usr/local/lib/python3.13/site-packages/a")
    assert not trigger.trigger.sandbox
    assert trigger.cleanup is not None
    assert trigger.cleanup.sandbox
    assert '".cpython-313.opt-2.pyc"' in trigger.cleanup.text


def test_several_site_directories_are_quoted() -> None:
    """Spaces, brackets that mean nothing here, percent signs and letters of any language."""
    sites = ["/usr/local/lib/my python/100% (new)", "/usr/local/lib/python-ü/site-packages"]

    trigger = load("x.ucl", render("--python", "3.11", "--site-dir", sites[0], "--site-dir", sites[1]))

    assert trigger.paths == [os.fsencode(site) for site in sites]
    assert all(trigger.matches(os.fsencode(f"{site}/a/b")) for site in sites)


@pytest.mark.parametrize("site", ["/", *(f"/usr/local/a{character}b" for character in "\"\\$*?['\n")])
def test_what_has_no_quoting_is_refused(pyctrigger: Command, site: str) -> None:
    """Exit 2, and nothing is printed that somebody could install; nor for the whole system, which a cleanup walks."""
    line = ["--manager", "pkg", "--python", "3.11", "--site-dir", site]

    child = subprocess.run([*pyctrigger.program, "hooks", "render", *line], capture_output=True, text=True, check=False)

    assert (child.returncode, child.stdout) == (2, "")


# -- transactions ----------------------------------------------------------------------------------------------------


def test_an_installed_package_is_compiled_for_its_own_flavour(
    system: FreeBSD, pair: tuple[Interpreter, Interpreter]
) -> None:
    """At all levels of FreeBSD's policy; the other flavour's directory isn't looked at."""
    one, other = pair
    (system.site(other) / "idle.py").write_text("x = 1\n")

    said = system.install("py-demo", {f"{site_of(one)}/demo/__init__.py": "x = 1\n", f"{site_of(one)}/demo/a/b.py": ""})

    assert quiet(said), said
    assert system.unserved(one) == []
    assert len(pycs_below(system.site(one))) == 6
    assert pycs_below(system.site(other)) == []
    assert quiet(system.install("pypy-demo", {f"{site_of(other)}/more/__init__.py": "y = 2\n"}))
    assert system.unserved(other) == []


def test_a_program_below_another_prefix_serves_its_trigger(
    system: FreeBSD, pair: tuple[Interpreter, Interpreter], tmp_path: Path
) -> None:
    """What make was told as PREFIX: nothing is left in /usr/local but interpreters and triggers."""
    shutil.rmtree(system.top / "usr/local/lib/pyctrigger")
    for path in (system.top / LAUNCHER[1:], *(system.top / TRIGGERS).iterdir()):
        path.unlink()
    stage = str(tmp_path / "stage")
    build = [pair[0].path, str(CHECKOUT / "ports/build"), "freebsd", stage, "--stage", "--prefix", "/var/opt"]
    subprocess.run(build, stdout=subprocess.PIPE, check=True)
    shutil.copytree(stage, system.top, dirs_exist_ok=True)
    launcher = "/var/opt/bin/pyctrigger"
    install = ("hooks", "install", "--manager", "pkg", "--python", version_of(pair[0]))
    subprocess.run(system.inside(launcher, *install), stdout=subprocess.PIPE, check=True)

    said = system.install("py-demo", {f"{site_of(pair[0])}/demo/m.py": ""})

    assert quiet(said), said
    assert system.unserved(pair[0]) == []
    assert f'local program = {{"{launcher}"}}' in "".join(system.triggers().values())


def test_a_lua_whose_files_know_no_exclusive_mode_serves_as_well(as_root: None, tmp_path: Path) -> None:
    """As plain Lua's, and older pkgs': the list is written all the same, and its proof is read."""
    lua = find_tool("lua5.4")
    if lua is None:
        absent("no lua5.4 on this machine")
    site = "/usr/local/lib/python3.11/site-packages"
    subject = Subject("py311", "3.11", "python3.11", "cpython-311", ("/usr/local/bin/pyctrigger",))
    (hook,) = Pkg.hooks(subject)
    script = tmp_path / "trigger.lua"
    script.write_text(
        f'arg = {{"{site}/demo"}}\n'
        'pkg = {stat = function() return {type = "dir"} end, exec = function(command)\n'
        "    local list = command[#command]\n"
        '    for line in io.lines(list) do print(#command, (line:gsub("%z", "|"))) end\n'
        '    local file = io.open(list, "w")\n'
        '    file:write("done\\n")\n'
        "    file:close()\n"
        "    return 1\n"
        "end}\n" + hook.text.split("<<EOS\n")[1].split("\nEOS\n")[0]
    )
    before = set(os.listdir("/var/run"))

    said = subprocess.run([lua, script], capture_output=True, text=True, check=True)

    assert (f"12\t{site}/demo\n", "") == (said.stdout, said.stderr)
    assert before == set(os.listdir("/var/run"))


def test_a_top_level_module_alone_fires(system: FreeBSD, first: Interpreter) -> None:
    """Installed and removed, it touches only the site directory itself."""
    assert quiet(system.install("py-six", {f"{site_of(first)}/six.py": "x = 1\n"}))
    assert len(pycs_below(system.site(first))) == 3

    assert quiet(system.remove("py-six"))

    assert list(system.site(first).iterdir()) == []


def test_an_upgrade_sweeps_what_only_the_old_version_had(system: FreeBSD, first: Interpreter) -> None:
    """pkg doesn't report that directory; a name that stays importable would shadow nothing, and lie."""
    site = site_of(first)
    old = {f"{site}/demo/{name}.py": "x = 1\n" for name in ("__init__", "legacy/__init__", "legacy/deep/mod")}
    system.install("py-demo", old)
    assert (system.site(first) / "demo/legacy/deep/__pycache__").is_dir()

    said = system.install("py-demo", {f"{site}/demo/__init__.py": "x = 22\n", f"{site}/demo/new/mod.py": ""})

    assert quiet(said), said
    assert not (system.site(first) / "demo/legacy").exists()
    assert system.unserved(first) == []
    assert len(pycs_below(system.site(first))) == 6


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        ("old", "new/__init__"),
        ("old/m", "m"),
        ("old/deep/m", "new/__init__"),
        ("old/deep/m", "a/b/m"),
        ("a/b/old", "a/b/m"),
        ("a/old", "a/b/m"),
    ],
)
def test_what_only_the_old_version_had_leaves_no_bytecode(
    system: FreeBSD, first: Interpreter, gone: str, kept: str
) -> None:
    """A module, a namespace package, or a part of one: pkg reports nothing of it, wherever the new version's are."""
    site = site_of(first)
    files = {f"{site}/{kept}.py": "x = 1\n"}
    assert quiet(system.install("py-demo", {**files, f"{site}/{gone}.py": "x = 1\n"}))

    said = system.install("py-demo", files)

    assert quiet(said), said
    assert system.unserved(first) == []
    assert len(pycs_below(system.site(first))) == 3
    assert not [path for path in system.site(first).rglob("*") if "old" in path.name]


def test_a_package_that_is_installed_once_more_keeps_its_bytecode(system: FreeBSD, first: Interpreter) -> None:
    """With the same content and mtime nothing is stale, though each file is a new one."""
    files = {f"{site_of(first)}/demo/{name}.py": f"x = '{name}'\n" for name in ("__init__", "m")}
    system.install("py-demo", files)
    before = {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(system.site(first))}

    said = system.install("py-demo", files)

    assert quiet(said), said
    assert system.unserved(first) == []
    assert before == {path: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(system.site(first))}


def test_a_trigger_serves_the_transaction_that_brings_it(system: FreeBSD, first: Interpreter) -> None:
    """pkg reads the triggers at the end."""
    path = f"{TRIGGERS}/python-pycache-{first.flavour}.ucl"
    text = (system.top / path).read_text()
    (system.top / path).unlink()

    said = system.transaction(
        Install("py-demo", {f"{site_of(first)}/demo/m.py": ""}), Install("py-pycache-trigger", {path: text})
    )

    assert quiet(said), said
    assert len(pycs_below(system.site(first))) == 3


@pytest.mark.parametrize("left", ["", "demo/data.txt"])
def test_a_deleted_package_leaves_nothing(system: FreeBSD, first: Interpreter, left: str) -> None:
    """What pkg couldn't remove because of our bytecode is removed; what others put there stays."""
    site = site_of(first)
    system.install("py-demo", {f"{site}/demo/__init__.py": "", f"{site}/demo/sub/mod.py": ""})
    if left:
        (system.site(first) / left).write_text("mine")

    said = system.remove("py-demo")

    assert quiet(said), said
    names = sorted(str(path.relative_to(system.site(first))) for path in system.site(first).rglob("*"))
    assert names == (["demo", "demo/data.txt"] if left else [])


def test_a_touched_directory_that_is_gone_is_swept_around(system: FreeBSD, first: Interpreter) -> None:
    """It leads to the nearest that is still there, and so to the whole top-level package, which holds orphans."""
    system.install("py-demo", {f"{site_of(first)}/demo/a/b/mod.py": ""})
    shutil.rmtree(system.site(first) / "demo/a/b/__pycache__")
    write_tree(system.site(first), {f"demo/c/__pycache__/gone.{tag_of(first)}.pyc": "an orphan"})

    said = system.remove("py-demo")

    assert quiet(said), said
    assert list(system.site(first).iterdir()) == []


def test_the_program_is_told_what_is_there(system: FreeBSD, pair: tuple[Interpreter, Interpreter]) -> None:
    """By its own list, NUL-separated and in order: existing directories in its flavour's site directory."""
    one, other = pair
    listing = 'for list; do :; done; printf \'%s\\n\' "$@" > /var/tmp/words; cat "$list" > /var/tmp/list'
    _replace_launcher(system, f'#!/bin/sh\n{listing}\nstat -c \'%a %u\' "$list" > /var/tmp/mode\necho done > "$list"\n')
    site = f"/{site_of(one)}"
    before = {f"{site_of(one)}/{name}.py": "" for name in ("b/x", "old/x", "a b/x")}
    system.install("demo", before)
    shutil.rmtree(system.site(one) / "b")
    (system.site(one) / "b").mkdir()

    said = system.finish(
        system.triggers(),
        [os.fsencode(path) for path in (*before, f"{site[1:]}/gone/x.py", f"{site[1:]}/top.py", "usr/local/bin/x")],
    )

    assert said == ("", "")
    assert (system.top / "var/tmp/list").read_text().split("\0") == [site, f"{site}/a b", f"{site}/b", f"{site}/old"]
    words = (system.top / "var/tmp/words").read_text().splitlines()
    options = ["--hook", "--python", version_of(one), "--manager", "pkg", "--proof", words[-1]]
    assert words == ["run", *options, "--null", "--paths-from", words[-1]]
    assert words[-1].startswith(f"/var/run/python-pycache-{one.flavour}.")
    assert (system.top / "var/tmp/mode").read_text() == "644 0\n"
    assert list(system.site(other).iterdir()) == []


def test_any_name_reaches_the_program(system: FreeBSD, first: Interpreter) -> None:
    """Blanks, quotation marks, percent signs, newlines, a leading dash, and bytes that are no UTF-8."""
    names = [
        b"sp ace",
        b"quo\"te'",
        b"100%s%d",
        b"new\nline",
        b"caf\xe9",
        b"-dash",
        b"semi;colon",
        b"$HOME",
        b"back\\slash",
    ]
    site = os.fsencode(site_of(first))

    said = system.install("py-odd", {site + b"/" + name + b"/mod.py": "x = 1\n" for name in names})

    assert quiet(said), said
    assert len(sources_below(system.site(first))) == len(names)
    assert system.unserved(first) == []
    assert quiet(system.remove("py-odd"))
    assert list(system.site(first).iterdir()) == []


def test_twenty_thousand_directories(system: FreeBSD, first: Interpreter) -> None:
    """More than an argument vector holds, or a process may have open."""
    site = site_of(first)
    files = {f"{site}/big/directory-with-a-long-name-{number:05}/data": "" for number in range(20_000)}
    files |= {f"{site}/big/directory-with-a-long-name-{number:05}/mod.py": "" for number in range(0, 20_000, 500)}

    said = system.install("py-big", files, descriptors=64)

    assert quiet(said), said
    assert len(pycs_below(system.site(first))) == 3 * 40
    assert system.unserved(first) == []


def test_only_own_orphans_go(system: FreeBSD, pair: tuple[Interpreter, Interpreter]) -> None:
    """Other tags, Numba's caches, pytest's, sourceless modules, and empty directories stay as they are."""
    one, other = pair
    tag = tag_of(one)
    system.install("py-demo", {f"{site_of(one)}/demo/__init__.py": ""})
    foreign = [
        "gone.cpython-399.pyc",
        f"gone.{tag_of(other)}.pyc",
        "gone.f-1.py311.nbi",
        f"gone.{tag}-pytest-8.pyc",
    ]
    write_tree(system.site(one) / "demo/__pycache__", dict.fromkeys(foreign, "theirs"))
    write_tree(system.site(one), {"demo/compiled.pyc": "theirs", f"demo/__pycache__/gone.{tag}.pyc": "an orphan"})
    (system.site(one) / "demo/empty").mkdir()
    before = snapshot(system.site(one))

    assert quiet(system.install("py-demo", {f"{site_of(one)}/demo/__init__.py": ""}))

    after = snapshot(system.site(one))
    gone = {os.fsdecode(path) for path in before.keys() - after.keys()}
    assert gone == {str(system.site(one) / f"demo/__pycache__/gone.{tag}.pyc")}
    assert {os.path.basename(os.fsdecode(path)) for path in after} >= {*foreign, "compiled.pyc", "empty"}


def test_bytecode_that_a_package_owns_stays_to_the_byte(system: FreeBSD, first: Interpreter) -> None:
    """Stale or an orphan: what changed it would make `pkg check -s` complain."""
    site, tag = site_of(first), tag_of(first)
    owned = {f"{site}/demo/__pycache__/{name}.{tag}.pyc": "not fresh" for name in ("__init__", "orphan")}
    system.install("py-demo", {f"{site}/demo/__init__.py": "x = 1\n", **owned})
    before = {path: (system.top / path).stat() for path in owned}

    said = system.install("py-other", {f"{site}/demo/extra.py": "y = 1\n"})

    assert "lua script failed" not in said.err
    assert before == {path: (system.top / path).stat() for path in owned}
    assert not_fresh(first, [os.fsencode(system.site(first) / "demo/extra.py")]) == []


def test_a_version_that_no_longer_ships_bytecode_is_compiled(system: FreeBSD, first: Interpreter) -> None:
    """And what the old one shipped is no longer a package's."""
    site, tag = site_of(first), tag_of(first)
    shipped = f"{site}/demo/__pycache__/__init__.{tag}.pyc"
    system.install("py-demo", {f"{site}/demo/__init__.py": "x = 1\n", shipped: "old"})

    assert quiet(system.install("py-demo", {f"{site}/demo/__init__.py": "x = 2\n"}))

    assert system.unserved(first) == []
    assert quiet(system.remove("py-demo"))
    assert list(system.site(first).iterdir()) == []


def test_the_administrators_directory_isnt_imported_from(system: FreeBSD, first: Interpreter) -> None:
    """pkg hands its own current directory and environment on."""
    names = ("pyctrigger", "json", "sqlite3", "os", "sitecustomize")
    write_tree(system.top / "var/tmp", {f"{name}.py": "open('/var/tmp/imported', 'w')\n" for name in names})

    said = system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""}, cwd="/var/tmp")

    assert quiet(said), said
    assert system.unserved(first) == []
    assert not (system.top / "var/tmp/imported").exists()


def test_no_list_is_left_behind(system: FreeBSD, first: Interpreter) -> None:
    """Neither after success nor after failure."""
    system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""})
    (system.top / LAUNCHER[1:]).unlink()
    system.install("py-more", {f"{site_of(first)}/more/__init__.py": ""})

    assert [path.name for path in (system.top / "var/run").iterdir() if path.is_file()] == []


# -- what no trigger was told of -------------------------------------------------------------------------------------


def imported(system: FreeBSD, module: str) -> str:
    """The value in a module, as the first flavour imports it from its site directory."""
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {module}; print({module}.VALUE)"
    site = next(iter((system.top / "usr/local/lib").glob("python*/site-packages")))
    command = system.inside("/usr/local/bin/python3", "-I", "-c", code, f"/{site.relative_to(system.top)}")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_what_a_failed_upgrade_left_is_healed_by_the_next_transaction(system: FreeBSD, first: Interpreter) -> None:
    """Of the same size and time, in a transaction that failed at another package: no trigger ran for it."""
    site = site_of(first)
    for name in ("pka", "pkb"):
        assert quiet(system.install(name, {f"{site}/{name}/__init__.py": "VALUE = 1\n"}))
    assert imported(system, "pka") == "1"

    system.fail_after("pka", {f"{site}/pka/__init__.py": "VALUE = 2\n"})

    assert imported(system, "pka") == "1"  # what the failure does, seen from a program
    assert quiet(system.install("pkc", {f"{site}/pkc/__init__.py": "VALUE = 1\n"}))
    assert imported(system, "pka") == "2"
    assert system.unserved(first) == []


def test_what_a_failed_install_left_bare_is_compiled_by_the_next_transaction(
    system: FreeBSD, pair: tuple[Interpreter, Interpreter]
) -> None:
    """For its own flavour only; also if all that the next one touches is gone."""
    one, other = pair
    system.install("pkc", {f"{site_of(one)}/pkc/m.py": ""})
    system.fail_after("pka", {f"{site_of(one)}/pka/__init__.py": "", f"{site_of(one)}/top.py": ""})
    system.fail_after("theirs", {f"{site_of(other)}/theirs/m.py": ""})

    assert quiet(system.remove("pkc"))

    assert system.unserved(one) == []
    assert len(system.unserved(other)) == 3


@pytest.mark.parametrize("behind", [False, True], ids=["before ours", "behind ours"])
def test_what_another_ports_trigger_stopped_is_healed_by_the_next(
    system: FreeBSD, first: Interpreter, behind: bool
) -> None:
    """pkg ends with 0, and the package wasn't compiled; unless ours was first."""
    neighbour = system.top / TRIGGERS / "neighbour.ucl"
    neighbour.write_text(NEIGHBOUR.replace('print("the neighbour ran")', 'error("broken")'))
    said = system.install("pka", {f"{site_of(first)}/pka/__init__.py": ""}, backwards=behind)
    assert "lua script failed" in said.err
    assert ([] if behind else [0, 1, 2]) == [*range(len(system.unserved(first)))]
    neighbour.unlink()

    assert quiet(system.install("pkc", {f"{site_of(first)}/pkc/__init__.py": ""}))

    assert system.unserved(first) == []


def test_what_no_trigger_saw_is_healed_once_they_run_again(system: FreeBSD, first: Interpreter) -> None:
    """PKG_TRIGGERS_DIR named another directory."""
    said = system.install("pka", {f"{site_of(first)}/pka/__init__.py": ""}, triggers="/usr/local/etc/triggers")
    assert said == ("", "")
    assert len(system.unserved(first)) == 3

    assert quiet(system.install("pkc", {f"{site_of(first)}/pkc/__init__.py": ""}))

    assert system.unserved(first) == []


def test_what_is_left_to_its_package_is_named_once(system: FreeBSD, first: Interpreter) -> None:
    """In one line, by the hook that meets it first; new ones are named by the next."""
    site, tag = site_of(first), tag_of(first)

    def package(name: str) -> dict[str, str]:
        return {f"{site}/{name}/__init__.py": "", f"{site}/{name}/__pycache__/__init__.{tag}.pyc": "not fresh"}

    said = [system.install(name, package(name)) for name in ("pka", "pkb")]
    said.append(system.install("pkc", {f"{site}/pka/more.py": ""}))
    said.append(system.install("pkd", {f"{site}/pkd/m.py": ""}))

    lines = [[line for line in each.err.splitlines() if "owned_stale" in line] for each in said]
    assert [len(each) for each in lines] == [1, 1, 0, 0]
    assert lines[1][0].startswith(
        f"pyctrigger: 1 pyc, stale or without a source, stay as their packages made them: /{site}/pkb/"
    )


# -- where things are ------------------------------------------------------------------------------------------------


def test_a_trigger_that_moves_to_another_package_is_not_cleaned_up(
    filled: FreeBSD, pair: tuple[Interpreter, Interpreter]
) -> None:
    """A package is renamed or split: pkg calls the cleanup, though the file is there again."""
    trigger = own_trigger(filled, pair[0])
    before = snapshot(filled.site(pair[0]))

    said = filled.rename(trigger, "py-pycache-trigger")

    assert said == ("", "")
    assert before == snapshot(filled.site(pair[0]))


@pytest.mark.parametrize("action", ["trigger", "cleanup"])
def test_the_list_of_a_pkg_that_was_killed_is_swept(
    filled: FreeBSD, pair: tuple[Interpreter, Interpreter], action: str
) -> None:
    """Its own name and a number behind it, a file of root's: nothing else that looks like it."""
    trigger = own_trigger(filled, pair[0])
    run, stem = filled.top / "var/run", f"python-pycache-{pair[0].flavour}"
    for name in (f"{stem}.5f3a", f"{stem}.0"):
        (run / name).write_text("")
    others = {
        f"{stem}.",
        f"{stem}.5g",
        f"{stem}x.5f",
        f"{stem}.5f.bak",
        "other.5f",
        f"{stem}.aa",
        f"{stem}.bb",
        f"{stem}.cc",
    }
    for name in others:
        (run / name).write_text("theirs")
    (run / f"{stem}.aa").unlink()
    (run / f"{stem}.aa").symlink_to("other.5f")
    (run / f"{stem}.bb").unlink()
    (run / f"{stem}.bb").mkdir()
    os.chown(run / f"{stem}.cc", 1, 1)

    if action == "trigger":
        filled.install("pka", {f"{site_of(pair[0])}/pka/m.py": ""})
    else:
        filled.remove(trigger)

    assert {path.name for path in run.iterdir() if path.name != "pyctrigger"} == others


def put_pkg(system: FreeBSD, script: str, *, owner: int = 0) -> None:
    """A program in the place of pkg's own, which says where its database is."""
    path = system.top / "usr/local/sbin/pkg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    os.chown(path, owner, owner)


@pytest.mark.parametrize(
    ("script", "owner", "kept"),
    [
        ('test "$*" = "config PKG_DBDIR" && test -z "$PKG_DBDIR" && echo /var/db/elsewhere', 0, True),
        ("echo /var/db/nothing-is-there", 0, False),
        ("exit 1", 0, True),
        ("echo", 0, True),
        ("kill -9 $$", 0, True),
        ("echo /var/db/nothing-is-there; : > /var/tmp/executed", 1, True),
    ],
    ids=["elsewhere", "a fresh one", "an error", "no answer", "killed", "not root's"],
)
def test_pkg_is_asked_where_its_database_is(
    system: FreeBSD, first: Interpreter, script: str, owner: int, kept: bool
) -> None:
    """What its packages own stays byte for byte; if that can't be determined, everything stays."""
    site, tag = site_of(first), tag_of(first)
    owned = f"{site}/demo/__pycache__/__init__.{tag}.pyc"
    system.fail_after("py-demo", {f"{site}/demo/__init__.py": "x = 1\n", owned: "not fresh"})
    system.checkpoint()
    shutil.move(system.top / "var/db/pkg", system.top / "var/db/elsewhere")
    put_pkg(system, script, owner=owner)
    before = (system.top / owned).stat()

    said = system.install("py-other", {f"{site}/demo/extra.py": "y = 1\n"})

    assert "lua script failed" not in said.err
    assert (before == (system.top / owned).stat()) == kept
    assert not (system.top / "var/tmp/executed").exists()


def test_which_names_the_package_that_pkg_names(system: FreeBSD, first: Interpreter) -> None:
    """For a source of one, whoever wrote its bytecode; an administrator's own module belongs to none."""
    site, tag = site_of(first), tag_of(first)
    shipped = f"{site}/demo/__pycache__/m.{tag}.pyc"
    write_tree(system.site(first), {"demo/own.py": ""})
    system.install("py-demo", {f"{site}/demo/m.py": "x = 1\n", f"{site}/demo/n.py": "", shipped: "not fresh"})
    paths = [f"/{site}/demo/__pycache__/{name}.{tag}.pyc" for name in ("m", "n", "own")]

    said = subprocess.run(system.inside(LAUNCHER, "which", *paths), capture_output=True, text=True, check=False)

    rows = [re.split(r" {2,}", line)[2:4] for line in said.stdout.splitlines() if tag in line]
    assert [["corrupt", "py-demo (pkg)"], ["fresh", "py-demo (pkg)"], ["fresh", "-"]] == rows


def test_uninstall_keeps_what_a_package_owns(system: FreeBSD, pair: tuple[Interpreter, Interpreter]) -> None:
    """And names it; the other flavour's, which an administrator installed, is removed."""
    trigger = own_trigger(system, pair[0])
    versions = [word for each in pair for word in ("--python", version_of(each))]
    command = system.inside(LAUNCHER, "hooks", "uninstall", "--manager", "pkg", *versions)

    said = subprocess.run(command, capture_output=True, text=True, check=False)

    path = f"{TRIGGERS}/python-pycache-{pair[0].flavour}.ucl"
    assert (
        said.stdout.splitlines()[0]
        == f"kept: /{path}: a package owns it: {trigger} (pkg); removing the package removes it"
    )
    assert (said.returncode, list(system.triggers())) == (1, [os.path.basename(path)])


# -- failures --------------------------------------------------------------------------------------------------------


def _replace_launcher(system: FreeBSD, script: str) -> None:
    launcher = system.top / LAUNCHER[1:]
    launcher.unlink()
    launcher.write_text(script)
    launcher.chmod(0o755)


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        ("#!/bin/sh\nkill -9 $$\n", "/usr/local/bin/pyctrigger did not come to its end"),
        ("#!/bin/sh\nexit 0\n", "/usr/local/bin/pyctrigger did not come to its end"),
        ("#!/bin/sh\nexit 3\n", "/usr/local/bin/pyctrigger: Abnormal termination"),
        ("#!/nowhere/sh\n", "/usr/local/bin/pyctrigger: No such file or directory"),
    ],
    ids=["killed", "silent", "failed", "missing"],
)
def test_a_failure_is_told_and_stops_nobody(system: FreeBSD, first: Interpreter, launcher: str, reason: str) -> None:
    """The administrator reads why, and what to do about it; that does it."""
    real = (system.top / LAUNCHER[1:]).read_text()
    _replace_launcher(system, launcher)
    (system.top / TRIGGERS / "neighbour.ucl").write_text(NEIGHBOUR)

    said = system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""})

    version = version_of(first)
    assert f"pyctrigger: Python {version}: {reason}\n" in said.out
    assert said.out.count("the neighbour ran") == 1
    assert "lua script failed" not in said.err
    mend = f"pyctrigger repair --python {version}"
    assert f"with: {mend}\n" in said.out
    assert len(system.unserved(first)) == 3
    _replace_launcher(system, real)
    subprocess.run(system.inside("/bin/sh", "-c", f"/usr/local/bin/{mend}"), check=True, stdout=subprocess.PIPE)
    assert system.unserved(first) == []


def test_a_full_disk_is_told(system: FreeBSD, first: Interpreter) -> None:
    """There is no room for the list of what was touched."""
    full = f"mount -t tmpfs -o size=4k tmpfs {system.top}/var/run; head -c 4096 /dev/zero > {system.top}/var/run/full"

    said = system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""}, more=full)

    assert "No space left on device" in said.out
    assert f"pyctrigger repair --python {version_of(first)}" in said.out
    assert "lua script failed" not in said.err


def test_no_place_for_the_list_is_told(system: FreeBSD, first: Interpreter) -> None:
    """A root without /var/run."""
    (system.top / "var/run").rmdir()

    said = system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""})

    assert "No such file or directory" in said.out
    assert "lua script failed" not in said.err


@pytest.mark.parametrize("lacking", ["stat", "exec", "readdir"])
def test_an_error_in_the_script_is_told_and_stops_nobody(
    filled: FreeBSD, pair: tuple[Interpreter, Interpreter], lacking: str
) -> None:
    """Not every version of pkg has every function: what has to fail does so in words."""
    trigger = own_trigger(filled, pair[0])
    (filled.top / TRIGGERS / "neighbour.ucl").write_text(NEIGHBOUR)
    site = site_of(pair[0])

    said = [filled.install("py-demo", {f"{site}/demo/__init__.py": ""}, lacking=lacking)]
    said.append(filled.remove(trigger, lacking=lacking))

    assert [each.err.count("lua script failed") for each in said] == [0, 0]
    assert [each.out.count("the neighbour ran") for each in said] == [1, 1]
    assert f"pyctrigger: Python {version_of(pair[0])}: " in said[0].out or lacking == "readdir"
    assert "is left behind: " in said[1].out or lacking == "exec"


def test_work_that_waits_in_the_journal_is_no_failure(system: FreeBSD, first: Interpreter) -> None:
    """Hooks are switched off: the program says so itself, and comes to its end."""
    with (system.top / "etc/pyctrigger.toml").open("a") as file:
        file.write("[hooks]\nenabled = false\n")

    said = system.install("py-demo", {f"{site_of(first)}/demo/__init__.py": ""})

    assert "the work stays in the journal" in said.err
    assert "did not come to its end" not in said.out


def test_the_stand_in_is_no_kinder_than_pkg(system: FreeBSD) -> None:
    """A Lua error ends what was to run; exec loses codes and signals; a missing directory can't be iterated."""
    script = """description: "x"
path_glob: ["/*"]
trigger: {{ type: lua, sandbox: {sandbox}, script: <<EOS
{text}
EOS
}}
"""
    for path in (system.top / TRIGGERS).iterdir():
        path.unlink()
    system.put_trigger("x", script.format(sandbox="false", text='print(pkg.exec({"/bin/sh", "-c", "exit 3"}))'))
    assert system.install("a", {"usr/local/a": ""}).out == "nil\tAbnormal termination\t0\n"
    system.put_trigger("x", script.format(sandbox="false", text='print(pkg.exec({"/nowhere"}))'))
    assert system.install("a", {"usr/local/a": ""}).out == "nil\tNo such file or directory\t2\n"
    killed = 'print(math.type(pkg.exec({"/usr/local/bin/python3", "-c", "import os; os.abort()"})))'
    system.put_trigger("x", script.format(sandbox="false", text=killed))
    assert system.install("a", {"usr/local/a": ""}).out == "integer\n"
    system.put_trigger("x", script.format(sandbox="true", text='pkg.exec({"/bin/true"})'))
    said = system.install("a", {"usr/local/a": ""})
    assert said.err.endswith("pkg.exec not available in sandbox\npkg: lua script failed\n")
    system.put_trigger("x", script.format(sandbox="true", text='for _ in ipairs(pkg.readdir("/nowhere")) do end'))
    assert "pkg: lua script failed" in system.install("a", {"usr/local/a": ""}).err
    system.put_trigger("x", script.format(sandbox="true", text="return 1"))
    assert system.install("a", {"usr/local/a": ""}).err == "pkg: lua script failed\n"
    system.put_trigger("x", script.format(sandbox="true", text='print(io.open("/etc/passwd", "wx"))'))
    assert system.install("a", {"usr/local/a": ""}).out == "nil\t/etc/passwd: File exists\t17\n"
    (hook,) = (system.top / TRIGGERS).iterdir()
    hook.rename(hook.with_name("kept"))
    hook.with_name("link.ucl").symlink_to("kept")
    shutil.copy(hook.with_name("kept"), hook.with_name(".hidden.ucl"))
    assert system.install("a", {"usr/local/a": ""}) == ("", "")


def test_the_stand_in_runs_scripts_as_pkg_does(system: FreeBSD) -> None:
    """With what was set for an earlier package; as deletions also in a split upgrade; and one that exits 3 ends it."""
    for path in (system.top / TRIGGERS).iterdir():
        path.unlink()
    scripts = dict.fromkeys(("install", "deinstall"), 'echo "$@ ${PKG_UPGRADE:-no}"')
    assert system.install("a", OTHER, scripts).out == "a-1 PRE-INSTALL no\na-1 POST-INSTALL no\n"
    said = system.transaction(Delete("a"), Install("a", OTHER, scripts))
    assert said.out.splitlines()[:2] == ["a-1 DEINSTALL no", "a-1 POST-DEINSTALL no"]
    said = system.transaction(Install("a", OTHER, scripts), Delete("a"))
    assert said.out.splitlines() == [
        f"a-1 {act} true" for act in ("PRE-INSTALL", "DEINSTALL", "POST-INSTALL", "DEINSTALL", "POST-DEINSTALL")
    ]
    system.install("a", OTHER, {"install": "", "deinstall": "exit 3"})
    assert system.transaction(Delete("a"), Install("b", {"usr/local/b": ""})) == ("", "")
    assert not (system.top / "usr/local/b").exists()
    assert "pkg: PRE-INSTALL script failed\n" in system.install("b", {"usr/local/b": ""}, {"install": "exit 1"}).err


# -- the trigger leaves ----------------------------------------------------------------------------------------------


def own_pycs(system: FreeBSD, interpreter: Interpreter) -> list[str]:
    """The paths of all bytecode of a flavour in site directories, which have a module's name before the tag."""
    tag = tag_of(interpreter)
    found = []
    for site in (system.top / "usr/local/lib").glob("*/site-packages"):
        names = [os.fsdecode(path) for path in pycs_below(site) if not os.path.islink(path)]
        named = [name for name in names if not os.path.basename(name).startswith(".")]
        found += [name for name in named if name.endswith((f".{tag}.pyc", f".{tag}.opt-1.pyc", f".{tag}.opt-2.pyc"))]
    return found


@pytest.mark.parametrize("journal", ["wal", "truncate"])
def test_bytecode_leaves_with_its_trigger(filled: FreeBSD, pair: tuple[Interpreter, Interpreter], journal: str) -> None:
    """Interpreter and program are gone, in the same transaction as the packages; what isn't ours stays, untouched."""
    one, other = pair
    tag, site = tag_of(one), filled.site(one)
    assert filled.set_journal(journal) == journal
    trigger = own_trigger(filled, pair[0])
    foreign = [
        "m.cpython-399.pyc",
        f"m.{tag_of(other)}.pyc",
        "m.f-1.py3.nbi",
        f"m.{tag}-pytest-8.pyc",
        f".{tag}.pyc",
    ]
    write_tree(site / "foreign/__pycache__", dict.fromkeys([*foreign, f"m.{tag}.opt-2.pyc"], "x"))
    write_tree(
        site, {"foreign/compiled.pyc": "", f"foreign/loose.{tag}.pyc": "", f"gone/deep/__pycache__/m.{tag}.pyc": ""}
    )
    (site / f"foreign/__pycache__/directory.{tag}.pyc").mkdir()
    (site / f"foreign/__pycache__/link.{tag}.pyc").symlink_to("nowhere")
    (site / "empty").mkdir()
    (site / "linked").symlink_to(filled.site(other))
    expected = snapshot(site / "foreign")
    for changing in ("", f"/m.{tag}.opt-2.pyc"):
        del expected[os.fsencode(site / f"foreign/__pycache__{changing}")]
    theirs = own_pycs(filled, other)
    for name in (library_of(one), "python3"):
        (filled.top / "usr/local/bin" / name).unlink(missing_ok=True)
    (filled.top / LAUNCHER[1:]).unlink()

    said = filled.remove("one", trigger)

    assert quiet(said), said
    assert own_pycs(filled, one) == []
    assert own_pycs(filled, other) == theirs
    left = snapshot(site / "foreign")
    assert left.pop(os.fsencode(site / "foreign/__pycache__"))
    assert left == expected
    assert sorted(path.name for path in site.iterdir()) == ["empty", "foreign", "linked"]


def test_the_cleanup_leaves_what_packages_own(system: FreeBSD, pair: tuple[Interpreter, Interpreter]) -> None:
    """It reads pkg's database: also what was committed only to its log, and not what packages owned once."""
    one = pair[0]
    site, tag = site_of(one), tag_of(one)
    shipped = f"{site}/demo/__pycache__/__init__.{tag}.pyc"
    names = [f"many/{number % 20}/__pycache__/a-module-with-number-{number}.{tag}.opt-1.pyc" for number in range(3000)]
    many = {f"{site}/{name}": "" for name in names}
    system.install("py-many", many)
    system.install("py-was", {f"{site}/was/__init__.py": "", f"{site}/was/__pycache__/__init__.{tag}.pyc": "old"})
    system.install("py-was", {f"{site}/was/__init__.py": "x = 1\n"})
    trigger = own_trigger(system, one)
    system.checkpoint()
    system.install("py-demo", {f"{site}/demo/__init__.py": "x = 1\n", shipped: "not fresh"})
    assert (system.site(one) / f"was/__pycache__/__init__.{tag}.pyc").exists()

    said = system.remove(trigger)

    assert quiet(said), said
    assert {path.removeprefix(f"{system.top}/") for path in own_pycs(system, one)} == {shipped, *many}
    assert not (system.site(one) / "was/__pycache__").exists()


def test_a_free_threaded_flavour_leaves_alone_and_stays_alone(system: FreeBSD) -> None:
    """3.13t has the cache tag of 3.13, and its own site directory."""
    pycs = [f"usr/local/lib/python3.13{letter}/site-packages/m/__pycache__/m.cpython-313.pyc" for letter in ("t", "")]
    write_tree(system.top, dict.fromkeys(pycs, "x"))
    system.install("trigger", {f"{TRIGGERS}/python-pycache-py313t.ucl": render("--python", "3.13t")})

    assert quiet(system.remove("trigger"))

    assert [(system.top / path).exists() for path in pycs] == [False, True]


#: What a deinstall script and an install script of the trigger's port would do, if there were no cleanup.
SCRIPTS = {
    "deinstall": """
[ "$2" = DEINSTALL ] && [ "$PKG_ROOTDIR" = / ] && [ -z "$PKG_UPGRADE" ] || exit 0
pyctrigger purge --yes --python VERSION >/dev/null || :
""",
    "install": '[ "$2" = POST-INSTALL ] && pyctrigger run --python VERSION >/dev/null || :',
}
#: A deinstall script of another package, in Python.
IMPORTS = """
[ "$2" = DEINSTALL ] || exit 0
env -u PYTHONDONTWRITEBYTECODE PYTHONPATH=/SITE /usr/local/bin/python3 -c 'import late.m'
"""

#: What is left of the flavour's bytecode after a transaction: all, none, or what a package owns; and whether the two
#: scripts would leave the same.
TRANSACTIONS = [
    ("rename", "all", True),
    ("split", "all", True),
    ("upgrade", "all", True),
    ("split upgrade", "all", True),
    ("delete", "none", True),
    ("delete with a package", "none", True),
    ("delete without scripts", "none", False),
    ("delete after an upgrade", "none", False),
    ("delete everything", "none", False),
    ("delete beside owned bytecode", "owned", True),
    ("delete as owned bytecode comes", "owned", True),
]


class Leaving:
    """A package with the trigger of a flavour, and the transactions in which it leaves."""

    def __init__(self, system: FreeBSD, one: Interpreter, by: str) -> None:
        site = site_of(one)
        path = f"{TRIGGERS}/python-pycache-{one.flavour}.ucl"
        text = (system.top / path).read_text()
        scripts = {}
        if by == "scripts":
            text = text.partition("# Runs when this file leaves")[0]
            for name, script in SCRIPTS.items():
                scripts[name] = script.replace("VERSION", version_of(one)).replace("pyctrigger ", f"{LAUNCHER} ")
        self.trigger = Install("trigger", {path: text}, scripts)
        self.late = Install("late", {f"{site}/late/m.py": ""}, {"deinstall": IMPORTS.replace("SITE", site)})
        self.owned = f"{site}/demo/__pycache__/m.{tag_of(one)}.pyc"
        self.demo = Install("demo", {f"{site}/demo/m.py": "x = 1\n", self.owned: "not fresh"})
        self.other = Install("other", OTHER, {"install": ""})
        system.transaction(self.trigger, self.late, self.other)

    def steps(self, case: str) -> list[Install | Delete]:
        """A transaction."""
        gone, again = Delete("trigger"), self.trigger._replace(name="py-pycache-trigger")
        found: dict[str, list[Install | Delete]] = {
            "rename": [gone, again],
            "split": [gone, again, Install("pycache-trigger-docs", {"usr/local/share/docs": ""})],
            "upgrade": [self.trigger],
            "split upgrade": [gone, self.trigger],
            "delete": [gone],
            "delete with a package": [gone, Delete("one")],
            "delete without scripts": [gone],
            "delete after an upgrade": [self.other, gone],
            "delete everything": [gone, Delete("late"), Delete("one"), Delete("other")],
            "delete beside owned bytecode": [gone],
            "delete as owned bytecode comes": [gone, self.demo],
        }
        return found[case]


@pytest.mark.parametrize("by", ["cleanup", "scripts"])
@pytest.mark.parametrize(("case", "left", "scripts_do"), TRANSACTIONS, ids=[row[0] for row in TRANSACTIONS])
def test_a_cleanup_holds_where_scripts_would_not(
    filled: FreeBSD, pair: tuple[Interpreter, Interpreter], by: str, case: str, left: str, scripts_do: bool
) -> None:
    """Its reader of pkg's database is there for this: the design notes say why, case by case."""
    one = pair[0]
    leaving = Leaving(filled, one, by)
    if "beside" in case:
        filled.transaction(leaving.demo)
    before = sorted(path.removeprefix(f"{filled.top}/") for path in own_pycs(filled, one))

    said = filled.transaction(*leaving.steps(case), run_scripts="without scripts" not in case)

    assert quiet(said), said
    after = sorted(path.removeprefix(f"{filled.top}/") for path in own_pycs(filled, one))
    expected = {"all": before, "none": [], "owned": [leaving.owned]}[left]
    assert (after == expected) == (by == "cleanup" or scripts_do)
    assert left != "all" or filled.unserved(one) == []


@pytest.mark.parametrize("damage", ["garbage", "short", "missing"])
def test_without_a_readable_database_the_cleanup_leaves_everything(
    filled: FreeBSD, pair: tuple[Interpreter, Interpreter], damage: str
) -> None:
    """If it can't be determined what packages own, that is reported, with how to do it by hand."""
    own_trigger(filled, pair[0])
    (filled.top / TRIGGERS / "neighbour.ucl").write_text(NEIGHBOUR)
    filled.set_journal("truncate")
    database = filled.top / "var/db/pkg/local.sqlite"
    before = own_pycs(filled, pair[0])
    kept = database.read_bytes()
    texts = filled.triggers()
    for name in (pair[0], pair[1]):
        (filled.top / TRIGGERS / f"python-pycache-{name.flavour}.ucl").unlink()
    if damage == "missing":
        database.rename(database.with_name("elsewhere"))
    else:
        database.write_bytes(b"x" * 5000 if damage == "garbage" else kept[:4096])

    said = filled.finish(texts, [b"usr/local/x/y"])

    assert before
    assert own_pycs(filled, pair[0]) == before
    purge = f"pyctrigger purge --cache-tag {tag_of(pair[0])} --site-dir '/{site_of(pair[0])}'"
    assert f"it can be removed with: {purge}\n" in said.out
    assert "the neighbour ran" in said.out
    assert "lua script failed" not in said.err


def test_a_cleanup_without_descriptors_says_so(system: FreeBSD, first: Interpreter) -> None:
    """pkg.readdir keeps each; what was reached is done, the rest is reported, and the neighbours run."""
    site = site_of(first)
    system.install("py-wide", {f"{site}/wide/{number:03}/mod.py": "" for number in range(100)})
    (system.top / TRIGGERS / "neighbour.ucl").write_text(NEIGHBOUR)
    before = len(own_pycs(system, first))
    trigger = own_trigger(system, first)

    said = system.remove(trigger, descriptors=64)

    left = len(own_pycs(system, first))
    assert before == 300
    assert 0 < left < before
    assert "Too many open files" in said.out
    assert f"with: pyctrigger purge --cache-tag {tag_of(first)} --site-dir '/{site}'" in said.out
    assert "lua script failed" not in said.err
    purge = said.out.split("with: pyctrigger ")[1].splitlines()[0]
    subprocess.run(system.inside("/bin/sh", "-c", f"{LAUNCHER} {purge} -y"), check=True, stdout=subprocess.PIPE)
    assert own_pycs(system, first) == []


# -- the scripts of the program's port -------------------------------------------------------------------------------

STATE = ("var/db/pyctrigger", "var/run/pyctrigger", "var/cache/pyctrigger")
#: Just one file of the program's: its own are there already.
PROGRAM = {"usr/local/share/man/man8/pyctrigger.8.gz": ""}
OTHER = {"usr/local/share/other": ""}


def port_scripts() -> dict[str, str]:
    """As the framework fills them in."""
    files = CHECKOUT / "ports/freebsd/sysutils/pyctrigger/files"
    return {
        name: (files / f"pkg-{name}.in").read_text().replace("%%PREFIX%%", "/usr/local")
        for name in ("install", "deinstall")
    }


def what_the_program_left(system: FreeBSD) -> list[str]:
    """Its state, and its own bytecode."""
    found = [path for path in STATE if (system.top / path).exists()]
    return [*found, "bytecode"] if pycs_below(system.top / "usr/local/lib/pyctrigger") else found


def with_program(system: FreeBSD) -> FreeBSD:
    """The program becomes a package, and has state."""
    for pycache in [*(system.top / "usr/local/lib/pyctrigger").rglob("__pycache__")]:
        shutil.rmtree(pycache)
    write_tree(system.top, {f"{path}/something": "" for path in STATE})
    assert quiet(
        system.transaction(Install("pyctrigger", PROGRAM, port_scripts()), Install("other", OTHER, {"install": ""}))
    )
    assert [*STATE, "bytecode"] == what_the_program_left(system)
    return system


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([Install("pyctrigger", PROGRAM, port_scripts())], [*STATE, "bytecode"]),
        ([Delete("pyctrigger")], []),
        # An upgrade of another package with scripts leaves PKG_UPGRADE set.
        ([Install("other", OTHER, {"install": ""}), Delete("pyctrigger")], []),
        ([Delete("pyctrigger"), Install("pyctrigger", PROGRAM, port_scripts())], ["bytecode"]),
        ([Delete("pyctrigger"), Install("pyctrigger-devel", PROGRAM, port_scripts())], ["bytecode"]),
    ],
    ids=["upgrade", "delete", "delete after an upgrade", "split upgrade", "rename"],
)
def test_state_leaves_with_the_program(system: FreeBSD, steps: list[Install | Delete], left: list[str]) -> None:
    """An upgrade keeps it; what pkg calls a deletion removes it, and its own bytecode is there whenever it is."""
    said = with_program(system).transaction(*steps)

    assert quiet(said), said
    assert left == what_the_program_left(system)


@pytest.mark.parametrize("argument", ["PRE-INSTALL", "POST-INSTALL", "DEINSTALL", "POST-DEINSTALL"])
def test_scripts_for_another_root_leave_the_host_alone(system: FreeBSD, argument: str) -> None:
    """`pkg -r` runs them on the host, with the root's name; here there is no such root, and this system is the host."""
    before = snapshot(with_program(system).top)
    script = port_scripts()["deinstall" if "DEINSTALL" in argument else "install"]

    child = system.run_script(script, "pyctrigger", argument, PKG_ROOTDIR="/jails/www")

    assert (0, "", "") == (child.returncode, child.stdout, child.stderr)
    assert before == snapshot(system.top)


def test_no_script_ends_pkg(system: FreeBSD, first: Interpreter) -> None:
    """A script's code 3 does that, and pyctrigger has a code 3: what pkg has to do after it is done all the same."""
    _replace_launcher(system, "#!/bin/sh\nexit 3\n")
    python = {f"{site_of(first)}/demo/m.py": ""}

    said = system.transaction(Install("pyctrigger", PROGRAM, port_scripts()), Install("py-demo", python))

    assert (system.top / f"{site_of(first)}/demo/m.py").exists()
    assert "script failed" not in said.err
    assert "pyctrigger repair" in said.out  # the trigger ran, and says that the program didn't


# -- pkg -r ----------------------------------------------------------------------------------------------------------


def test_a_deferred_trigger_does_its_work_later(system: FreeBSD, first: Interpreter) -> None:
    """`pkg -r ROOT` saves it, and runs nothing of the root's; `pkg -c ROOT triggers` does."""
    files = {f"{site_of(first)}/de mo/__init__.py": "", f"{site_of(first)}/top.py": "x = 1\n"}

    said = system.install("py-demo", files, outside=True)

    assert quiet(said), said
    assert pycs_below(system.site(first)) == []
    assert quiet(system.run_deferred())
    assert system.unserved(first) == []
    assert list((system.top / "var/db/pkg/triggers").iterdir()) == []


def test_a_deferred_path_with_a_newline_makes_it_a_full_run(system: FreeBSD, first: Interpreter) -> None:
    """The saved list can't hold it, and tears it in two: then everything is looked at."""
    system.install("py-demo", {f"{site_of(first)}/new\nline/sub/mod.py": ""}, outside=True)

    assert quiet(system.run_deferred())

    assert system.unserved(first) == []


def test_a_cleanup_of_another_root_stays_in_it(filled: FreeBSD, pair: tuple[Interpreter, Interpreter]) -> None:
    """It is sandboxed, so `pkg -r ROOT` runs it at once, with every path below the root."""
    trigger = own_trigger(filled, pair[0])
    theirs = own_pycs(filled, pair[1])

    said = filled.remove(trigger, outside=True)

    assert quiet(said), said
    assert own_pycs(filled, pair[0]) == []
    assert own_pycs(filled, pair[1]) == theirs


# -- the page for administrators -------------------------------------------------------------------------------------

#: FreeBSD's ports and its builder, which nothing here stands in for.
ONLY_READ = ("make", "poudriere")


class Administrator:
    """Types the commands of the page. The jail is the root of the stand-in for pkg, its host this machine."""

    def __init__(self, system: FreeBSD, served: Interpreter, desk: Path) -> None:
        self.system = system
        self.served = served
        self.desk = desk
        self.trigger = f"{served.flavour}-pycache-trigger"
        self.files = {f"{site_of(served)}/requests/__init__.py": "", f"{site_of(served)}/requests/api.py": "x = 1\n"}
        #: What was carried out, and what was only read.
        self.done: list[str] = []
        self.read: list[str] = []

    def type(self, command: str) -> None:
        """One command line, for the flavour that is here. Raises where it fails, or is of no known kind."""
        words = command.replace("py311", self.served.flavour).replace("3.11", version_of(self.served)).split()
        if words[0] in ONLY_READ:
            self.read.append(words[0])
            return
        if words[0] == "pkg":
            self.pkg(words[1:])
        elif words[0] in ("pyctrigger", "jexec") and "--root" not in words:
            inner = words[words.index("pyctrigger") + 1 :]
            subprocess.run(self.system.inside(LAUNCHER, *inner), stdout=subprocess.PIPE, check=True)
        else:
            self.at_the_desk(words)
        self.done.append(words[0])

    def pkg(self, words: list[str]) -> None:
        """`pkg -j` and `pkg -c` work inside, `pkg -r` from outside."""
        said = None
        if words[2:] == ["triggers"]:
            said = self.system.run_deferred()
        elif words[0] == "delete":
            said = self.system.remove(self.trigger)
        elif self.trigger in words:
            path = f"{TRIGGERS}/python-pycache-{self.served.flavour}.ucl"
            said = self.system.install(self.trigger, {path: (self.system.top / path).read_text()})
        elif words[2] == "install":
            outside = words[0] == "-r"
            files = {**self.files, f"{site_of(self.served)}/late.py": ""} if outside else self.files
            said = self.system.install("requests", files, outside=outside)
            assert bool(self.system.unserved(self.served)) == outside
        assert said is not None
        assert quiet(said), said

    def at_the_desk(self, words: list[str]) -> None:
        """On the host, with a directory for its root; a checkout is where `ports/build` is run."""
        for given, meant in (("/jails/www", str(self.system.top)), ("/usr/", f"{self.desk}/usr/")):
            words = [meant + word[len(given) :] if word.startswith(given) else word for word in words]
        if words[0] == "ports/build":
            words = [sys.executable, str(CHECKOUT / words[0]), *words[1:]]
        elif words[0] == "pyctrigger":
            words = [sys.executable, "-m", "pyctrigger", *words[1:]]
        # The host has this flavour as well, though not where a system's own interpreters are.
        words = [self.served.path if word == version_of(self.served) else word for word in words]
        subprocess.run(words, cwd=self.desk, stdout=subprocess.PIPE, check=True)


def test_commands_of_the_page(system: FreeBSD, first: Interpreter, tmp_path: Path) -> None:
    """From the ports to the undo; only ports(7) and poudriere are none of ours to play."""
    desk = tmp_path / "desk"
    (desk / "usr/ports").mkdir(parents=True)
    library = Path(first.prefix, "lib", library_of(first))
    # What the jail has of its Python, seen from its host.
    home = system.top / "usr/local/lib" / library.name
    write_tree(home, {"os.py": "", "importlib/_bootstrap_external.py": ""})
    shutil.copy(library / "importlib/_bootstrap_external.py", home / "importlib")
    shutil.copytree(library / "__pycache__", home / "__pycache__")
    administrator = Administrator(system, first, desk)
    page = DOCS / "how-to/freebsd.md"

    for block in blocks(page):
        for step in block.steps():
            administrator.type(step.command)

    assert {"ports/build", "cp", "mkdir", "pkg", "pyctrigger", "jexec"} == set(administrator.done)
    assert {*ONLY_READ} == set(administrator.read)
    assert (desk / "usr/ports/sysutils/pyctrigger/Makefile").is_file()
    assert (desk / "usr/local/poudriere/overlays/own/sysutils/py-pycache-trigger/Makefile").is_file()
    assert (pycs_below(system.site(first)), len(system.triggers())) == ([], 1)


# -- the database and the proof, by themselves -----------------------------------------------------------------------


def test_reading_the_database_leaves_no_trace(tmp_path: Path) -> None:
    """pkg's has a write-ahead log since 2.6: a plain reader makes its companions, or fails where it may not."""
    directory = tmp_path / "var/db/pkg"
    directory.mkdir(parents=True)
    database = sqlite3.connect(directory / "local.sqlite", isolation_level=None)
    assert database.execute("pragma journal_mode = wal").fetchone() == ("wal",)
    database.execute("create table files (path text primary key)")
    database.execute("insert into files values ('/usr/local/a.pyc')")
    assert [path for path, _ in Pkg(FilesBelow(tmp_path)).find_owned(None)] == [
        b"/usr/local/a.pyc"
    ]  # as in a hook: pkg has it open
    database.close()
    before = snapshot(directory)
    directory.chmod(0o555)

    owned = [path for path, _ in Pkg(FilesBelow(tmp_path)).find_owned(None)]

    directory.chmod(0o755)
    assert owned == [b"/usr/local/a.pyc"]
    assert snapshot(directory) == before


def test_the_proof_is_given_at_the_end(pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path) -> None:
    """The word replaces the list that the run was given; a source that doesn't compile changes nothing about that."""
    write_tree(site, {"good.py": "", "bad.py": "def"})
    proof = tmp_path / "list"
    proof.write_bytes(b"\0".join(os.fsencode(path) for path in site.iterdir()))
    arguments = ["--python", newest.path, "--site-dir", str(site), "--null", "--paths-from", str(proof)]

    outcome = pyctrigger.text("run", "--hook", *arguments, "--proof", proof)

    assert outcome.code == 0
    assert proof.read_bytes() == b"done\n"
    assert "bad.py" in outcome.err


def test_no_proof_of_what_was_not_done(pyctrigger: Command, tmp_path: Path) -> None:
    """The interpreter is missing, which a hook's exit code doesn't show."""
    proof = tmp_path / "list"
    proof.write_text("")

    outcome = pyctrigger.text("run", "--hook", "--python", tmp_path / "no-python", "--proof", proof)

    assert outcome.code == 0
    assert proof.read_text() == ""


@pytest.mark.parametrize("kind", ["link", "hard link", "directory", "fifo", "missing", "others'"])
def test_only_a_file_of_ones_own_is_written(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, kind: str
) -> None:
    """A proof is no way to make root write into somebody's file; what was planted stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    proof = tmp_path / "planted" / "proof"
    proof.parent.mkdir()
    if kind == "link":
        proof.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, proof)
    elif kind == "directory":
        proof.mkdir()
    elif kind == "fifo":
        os.mkfifo(proof)
    elif kind == "others'":
        if os.geteuid() != 0:
            absent("needs root")
        proof.write_text("precious")
        proof.parent.chmod(0o777)
    before = snapshot(tmp_path)

    outcome = pyctrigger.text("run", "--python", newest.path, "--site-dir", site, "--proof", proof)

    assert outcome.code in (2, 77), outcome
    assert "planted" in outcome.err
    after = snapshot(tmp_path)
    assert {path: value for path, value in after.items() if path in before} == before
