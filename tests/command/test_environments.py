"""Which environment is meant by a path, by its name or by the shell; each has its own interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_prefixes import make_venv

from conftest import require_two
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from pyctrigger.interpreter.probe import probe
from pyctrigger.state.locations import lock_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Argument, Command
    from interpreters import Interpreter

PACKAGE = {"api/__init__.py": "", "api/deep/module.py": "x = 1\n", "single.py": "y = 1\n"}
HOLD = """
import sys
from pyctrigger.state.lock import InstallationLock
lock = InstallationLock(sys.argv[1], sys.argv[2])
assert lock.acquire(30, print) is False
print("held", flush=True)
sys.stdin.read()
"""


def library(interpreter: Interpreter) -> str:
    """The name of its directory below `lib`."""
    return "python{}.{}".format(*interpreter.version) + ("t" if interpreter.free_threaded else "")


def make_conda(interpreter: Interpreter, directory: Path) -> Path:
    """An environment as conda marks them, whose program is an interpreter of this machine; its site directory."""
    write_tree(directory, {"conda-meta/history": ""})
    program = directory / "bin/python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {interpreter.path} "$@"\n')
    program.chmod(0o755)
    return write_tree(directory / "lib" / library(interpreter) / "site-packages", PACKAGE)


def fill(site: Path) -> Path:
    """Replace the contents of a site directory by the package."""
    shutil.rmtree(site)
    return write_tree(site, PACKAGE)


def served(outcome: object) -> list[str | None]:
    """The environments of a command's runs, in their order; None for the system's."""
    return [run["prefix"] for run in outcome.document["runs"]]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def cpythons(interpreters: list[Interpreter]) -> list[Interpreter]:
    """The CPythons of this machine, oldest first."""
    return [each for each in interpreters if each.implementation == "cpython"]


@pytest.fixture(scope="module")
def layout(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments next to and inside each other, and links to them. No test may change it."""
    top: Path = tmp_path_factory.mktemp("layout")
    for name in ("one", "two", "outer", "outer/inner"):
        fill(make_venv(newest, top / name))
    for name in ("conda", "conda/envs/second"):
        make_conda(newest, top / name)
    (top / "current").symlink_to("one")
    (top / "packages").symlink_to(f"one/lib/{library(newest)}/site-packages")
    write_tree(top / "plain", PACKAGE)
    return top


# -- a path ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "environment"),
    [
        ("one", "one"),
        ("one/", "one"),
        ("one/lib", "one"),
        ("one/lib/PY/site-packages", "one"),
        ("one/lib/PY/site-packages/api", "one"),
        ("one/lib/PY/site-packages/api/deep/module.py", "one"),
        ("one/lib/PY/site-packages/gone/since.py", "one"),
        ("one/lib/PY/site-packages/" + "x/" * 1200, "one"),
        ("one/../two/lib/PY/site-packages/single.py", "two"),
        ("current", "current"),
        ("current/lib/PY/site-packages/single.py", "current"),
        ("packages/single.py", "one"),
        ("outer/lib/PY/site-packages/api", "outer"),
        ("outer/inner", "outer/inner"),
        ("outer/inner/lib/PY/site-packages/api", "outer/inner"),
        ("conda/lib/PY", "conda"),
        ("conda/envs/second/lib/PY/site-packages/api", "conda/envs/second"),
        # In an environment, and nothing of its packages: named as outside of that scope.
        ("one/bin/python", "outside one"),
        ("one/pyvenv.cfg", "outside one"),
        ("conda/envs", "outside conda"),
        ("plain/api", "outside"),
        ("nowhere/lib/PY/site-packages/api", "outside"),
    ],
)
def test_a_path_means_the_environment_that_it_lies_in(
    pyctrigger: Command, newest: Interpreter, layout: Path, path: str, environment: str
) -> None:
    """The nearest one above it, by the name that was given, else by what the links on the way lead to."""
    named = path.replace("PY", library(newest)).encode()
    outcome = pyctrigger.json("verify", "--paths-from", "-", stdin=named, cwd=layout)  # what is typed has to be there

    if environment.startswith("outside"):
        (error,) = outcome.document["errors"]
        inside = environment.removeprefix("outside ")
        assert (2, [], 2) == (outcome.code, outcome.document["runs"], error["code"])
        assert (f"{layout}/{inside}/lib/{library(newest)}/site-packages" in error["mend"]) == (inside != "outside")
    else:
        assert [str(layout / environment)] == served(outcome)
        assert {"missing"} == {finding["kind"] for finding in outcome.findings}
        assert [str((layout / environment).resolve())] == outcome.findings[0]["source"].split("/lib/")[:1]


@pytest.mark.parametrize(
    ("verb", "options", "path"),
    [
        ("run", [], ""),
        ("run", [], "/api"),
        ("run", ["--dry-run"], "/api/deep/module.py"),
        ("repair", [], "/single.py"),
        ("verify", [], "/api"),
        ("sweep", [], "/api"),
        ("purge", ["--yes", "--python", "V"], ""),
        ("status", [], "/api"),
    ],
)
def test_every_verb_takes_a_path_for_its_environment(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, verb: str, options: list[str], path: str
) -> None:
    """Its twin beside it, of the same interpreter, stays as it is."""
    one, two = (fill(make_venv(newest, tmp_path / name)) for name in ("one", "two"))
    tag = tag_of(newest)
    for site in (one, two):
        write_tree(site, {f"api/__pycache__/gone.{tag}.pyc": "orphan", f"api/__pycache__/__init__.{tag}.pyc": "stale"})
    before = snapshot(tmp_path / "two")

    outcome = pyctrigger.json(verb, *(each.replace("V", newest.flavour) for each in options), f"{one}{path}")

    assert [str(tmp_path / "one")] == served(outcome)
    assert outcome.code in (0, 1)
    assert snapshot(tmp_path / "two") == before


def test_explain_and_which_answer_for_the_environment(pyctrigger: Command, newest: Interpreter, layout: Path) -> None:
    """A source, a pyc that isn't there yet, and the environment's own directory; each for one flavour."""
    sites = [layout / name / "lib" / library(newest) / "site-packages" for name in ("one", "conda/envs/second")]
    source, pyc = sites[0] / "single.py", sites[1] / f"__pycache__/single.{tag_of(newest)}.pyc"

    explained = pyctrigger.json("explain", source, pyc, "two", cwd=layout).document["explanations"]
    (found,) = pyctrigger.json("which", pyc).document["pycs"]

    paths = [str(source), str(pyc), str(layout / "two/lib" / library(newest) / "site-packages")]
    assert paths == [each["path"] for each in explained]
    assert [[(newest.flavour, str(Path(path).parent))] for path in (source, pyc.parent)] == [
        [(view["flavour"], view["site_directory"]) for view in each["flavours"]] for each in explained[:2]
    ]
    assert (3, 0) == tuple(explained[2]["flavours"][0]["directory"][key] for key in ("sources", "fresh"))
    assert ("missing", True, newest.flavour) == (found["state"], found["in_scope"], found["flavour"])


def test_paths_of_several_environments_are_each_served_by_their_own(
    pyctrigger: Command, cpythons: list[Interpreter], site: Path, tmp_path: Path
) -> None:
    """One run for each; and a path in none of them is outside, and keeps all from being begun."""
    require_two(cpythons[0], cpythons[-1])
    sites = [fill(make_venv(each, tmp_path / each.flavour)) for each in (cpythons[0], cpythons[-1])]
    write_tree(site, PACKAGE)

    refused = pyctrigger.json("run", sites[0] / "api", site / "api", sites[1] / "single.py")
    assert (2, []) == (refused.code, pycs_below(tmp_path / cpythons[0].flavour))
    assert [str(site / "api")] == refused.document["errors"][0]["message"].split(": ")[1:]

    outcome = pyctrigger.text("run", sites[0] / "api", sites[1], sites[0] / "api/deep")

    names = [f"{tmp_path}/{each.flavour} ({each.flavour})" for each in (cpythons[0], cpythons[-1])]
    assert (0, "", names) == (outcome.code, outcome.err, [line.split(":")[0] for line in outcome.out.splitlines()])
    (last, _) = pyctrigger.json("history").document["history"]
    assert [f"{tmp_path}/{each.flavour}" for each in (cpythons[0], cpythons[-1])] == [
        each["prefix"] for each in last["flavours"]
    ]
    shown = pyctrigger.text("history", "last").out
    for each in (cpythons[0], cpythons[-1]):
        assert f"  {tmp_path}/{each.flavour}: {each.flavour} (" in shown
    assert (3, 3) == (len(pycs_below(sites[0])), len(pycs_below(sites[1])))  # the modules beside a package come along
    for interpreter, directory in zip((cpythons[0], cpythons[-1]), sites):
        assert [] == not_fresh(interpreter, sources_below(directory))


@pytest.mark.parametrize(
    ("options", "prefix", "words"),
    [
        (["--python", "newest"], "venv", ""),
        (["--python", "newest path"], "venv", ""),
        (["--python", "venv/bin/python"], "venv", ""),
        (["--python", "oldest", "--python", "newest"], "venv", ""),
        (["--python", "oldest"], None, "venv is an environment of newest, not of oldest"),
        (["--python", "oldest path"], None, "venv is not an environment of oldest"),
        (["--python", "other/bin/python"], None, "outside the scope of newest: venv/single.py"),
        (["--prefix", "other"], None, "outside the scope of newest: venv/single.py"),
        (["--site-dir", "plain", "--python", "newest path"], None, "outside the scope of newest: venv/single.py"),
    ],
)
def test_options_of_the_scope_bind_a_path_in_an_environment(
    pyctrigger: Command,
    cpythons: list[Interpreter],
    tmp_path: Path,
    options: list[str],
    prefix: str | None,
    words: str,
) -> None:
    """Its own interpreter is used if it has the requested flavour; another environment's isn't."""
    oldest, newest = cpythons[0], cpythons[-1]
    require_two(oldest, newest)
    site = fill(make_venv(newest, tmp_path / "venv"))
    make_venv(newest, tmp_path / "other")
    (tmp_path / "plain").mkdir()
    short = {"newest": newest.flavour, "oldest": oldest.flavour, "newest path": newest.path, "oldest path": oldest.path}
    before = snapshot(tmp_path / "other")

    outcome = pyctrigger.json("run", *(short.get(each, each) for each in options), site / "single.py", cwd=tmp_path)

    if prefix is None:
        (error,) = outcome.document["errors"]
        told = words.replace("newest", newest.flavour).replace("oldest", oldest.flavour)
        told = told.replace("venv/single.py", str(site / "single.py"))
        told = told.replace("venv:", f"{tmp_path}/venv:").replace("venv is", f"{tmp_path}/venv is")
        assert (2, told, []) == (outcome.code, error["message"], pycs_below(tmp_path))
    else:
        assert (0, [str(tmp_path / prefix)], 1) == (outcome.code, served(outcome), outcome.counts["compiled"])
        is_own = options[-1] != "newest path"
        assert is_own == (str(tmp_path / "venv/bin/python") == outcome.run["interpreter"]["executable"])
    assert snapshot(tmp_path / "other") == before


def test_a_hook_s_path_in_an_environment_is_outside(
    pyctrigger: Command, newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """Its scope is its flavour's, whatever a package manager installed where: named, left out, exit 0."""
    environment = fill(make_venv(newest, tmp_path / "venv"))
    write_tree(site, PACKAGE)

    scope = ["--python", newest.path, "--site-dir", str(site)]
    outcome = pyctrigger.text("run", "--hook", *scope, environment / "api", site / "single.py")

    assert (0, []) == (outcome.code, pycs_below(environment))
    assert f"outside the scope of {newest.flavour}: {environment}/api; " in outcome.err
    assert pycs_below(site)


def test_a_path_inside_a_root_means_the_environment_in_there(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """By the files of the root; one with the same name on the host is a different one, and isn't run."""
    decoy = tmp_path / "decoy-was-run"
    outside, inside = tmp_path / "app", tmp_path / f"root{tmp_path}/app"
    for directory in (outside, inside):
        write_tree(directory, {"pyvenv.cfg": "", f"lib/{library(newest)}/site-packages/single.py": "x = 1\n"})
    write_tree(outside, {"bin/python": f"#!/bin/sh\ntouch {decoy}\n"})
    (outside / "bin/python").chmod(0o755)
    before = snapshot(outside)

    for arguments in (["--python", newest.path, str(outside)], ["--python", newest.path, "--prefix", str(outside)]):
        outcome = pyctrigger.json("repair", "--stateless", "--root", tmp_path / "root", *arguments)
        assert (0, [str(outside)]) == (outcome.code, served(outcome))
    pyctrigger.json("verify", "--stateless", "--root", tmp_path / "root", "--prefix", outside)

    assert 1 == len(pycs_below(inside))
    assert (False, before) == (decoy.exists(), snapshot(outside))


# -- an id, a lock and pending work of its own -----------------------------------------------------------------------


def test_each_environment_has_an_id_whatever_it_is_called(
    pyctrigger: Command, newest: Interpreter, layout: Path, site: Path
) -> None:
    """Two of one interpreter have two, and it has a third; a link, its own interpreter and its base's say the same."""
    names: dict[str, list[list[str]]] = {
        "one": [
            ["--prefix", "one/../current/"],
            ["--python", "one/bin/python"],
            ["--python", "current/bin/python3"],
            ["--prefix", "one", "--python", newest.path],
            ["packages/single.py"],
        ],
        "two": [["--prefix", "two"]],
        "inner": [["--prefix", "outer/inner"]],
        "conda": [["--prefix", "conda", "--python", newest.path], ["conda/lib"]],
        "second": [["--prefix", "conda/envs/second"]],
        # What others compile into a directory that is named by itself keeps out whoever it is.
        "system": [["--python", python, "--site-dir", str(site)] for python in (newest.path, "one/bin/python")],
    }

    found = {
        name: {pyctrigger.json("sweep", "--dry-run", *way, cwd=layout).run["installation"] for way in ways}
        for name, ways in names.items()
    }

    assert dict.fromkeys(names, 1) == {name: len(ids) for name, ids in found.items()}
    assert len(names) == len(set.union(*found.values()))


#: What leads to one environment, all beside it.
NAMES = (
    "one",
    "--prefix one",
    "--prefix current",
    "--prefix elsewhere/one",
    "current/lib",
    "one/{packages}/single.py elsewhere/one/{packages}/api",
    "--prefix-below elsewhere",
    "--python current/bin/python",
)


def test_an_environment_that_has_several_names_is_compiled_once(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """Under each of its names in turn: it is fresh, all code is its source's, and a repair writes nothing."""
    top = tmp_path / "top"
    fill(make_venv(newest, top / "store/one"))
    for name, goal in (("one", "store/one"), ("elsewhere", "store"), ("current", "elsewhere/one")):
        (top / name).symlink_to(goal)
    words = {"packages": f"lib/{library(newest)}/site-packages", "python": newest.path}
    ways = [name.format(**words).split() for name in NAMES]
    assert 3 == pyctrigger.json("run", *ways[0], cwd=top).counts["compiled"]
    before = snapshot(top)

    done = [pyctrigger.json(verb, *way, cwd=top).counts["compiled"] for way in ways for verb in ("run", "repair")]
    found = pyctrigger.json("verify", "--compare-code", *ways[2], cwd=top).findings

    assert [0] * 2 * len(ways) == done
    assert [] == found
    assert before == snapshot(top)


#: The same in a staged root, where every path is as seen inside.
NAMES_IN_A_ROOT = (
    "/app/one",
    "--prefix /app/one",
    "--prefix /app/current",
    "--prefix /app/elsewhere/one",
    "--prefix /srv/store/../store/one/",
    "/app/current",
    "/app/current/lib",
    "/app/packages/single.py",
    "/app/one/{packages}/single.py /app/elsewhere/one/{packages}/api",
    "--prefix-below /app/elsewhere",
    "--prefix-below /srv",
)


@pytest.mark.parametrize("links", ["below", "from the root"])
def test_an_environment_in_a_root_has_one_name_there(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, links: str
) -> None:
    """Its real one as seen inside: no other name of it finds work, code of another name, or another installation."""
    root, packages = tmp_path / "root", f"lib/{library(newest)}/site-packages"
    write_tree(root / "srv/store/one", {"pyvenv.cfg": "", **{f"{packages}/{name}": PACKAGE[name] for name in PACKAGE}})
    (root / "app").mkdir()
    up = "/" if links == "from the root" else "../"
    goals = {"one": "srv/store/one", "elsewhere": "srv/store", "current": "app/elsewhere/one"}
    for name, goal in {**goals, "packages": f"app/one/{packages}"}.items():
        (root / "app" / name).symlink_to(f"{up}{goal}")
    common = ["--root", str(root), "--python", newest.path]
    ways = [name.format(packages=packages).split() for name in NAMES_IN_A_ROOT]
    assert 3 == pyctrigger.json("run", *common, *ways[0]).counts["compiled"]
    before = snapshot(root)

    outcomes = [pyctrigger.json(verb, *common, *way) for way in ways for verb in ("run", "repair")]
    found = pyctrigger.json("verify", "--compare-code", *common, *ways[2])
    explained = pyctrigger.json("explain", *common, "/app/packages/single.py").document["explanations"]

    assert [(0, 0)] * 2 * len(ways) == [(each.code, each.counts["compiled"]) for each in outcomes]
    assert 1 == len({each.run["installation"] for each in outcomes})
    assert (0, []) == (found.code, found.findings)
    assert [f"/srv/store/one/{packages}"] == [view["site_directory"] for each in explained for view in each["flavours"]]
    assert before == snapshot(root)


@pytest.fixture
def pair(newest: Interpreter, tmp_path: Path) -> list[Path]:
    """Two environments of one interpreter; their site directories."""
    return [fill(make_venv(newest, tmp_path / name)) for name in ("one", "two")]


@pytest.fixture
def held(pyctrigger: Command, pair: list[Path], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with the lock of the first of them."""
    installation = pyctrigger.json("run", "--prefix", tmp_path / "one", "--dry-run").run["installation"]
    directory = lock_directory()
    assert directory is not None
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, directory, installation], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    try:
        assert b"held\n" == child.stdout.readline()
        yield child
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


def test_runs_of_two_environments_do_not_wait_for_one_another(
    pyctrigger: Command,
    held: subprocess.Popen[bytes],
    pair: list[Path],
    newest: Interpreter,
    site: Path,
    tmp_path: Path,
) -> None:
    """Nor does the interpreter of both; a run for the one that is locked says who holds the lock."""
    write_tree(site, PACKAGE)
    others: list[list[Argument]] = [["--prefix", tmp_path / "two"], ["--python", newest.path, "--site-dir", str(site)]]
    for scope in others:
        outcome = pyctrigger.json("run", "--lock-timeout", "0", *scope)
        assert (0, 3) == (outcome.code, outcome.counts["compiled"])

    both = pyctrigger.json("repair", "--lock-timeout", "0", "--prefix", tmp_path / "one", "--prefix", tmp_path / "two")

    assert (75, [str(tmp_path / "one"), str(tmp_path / "two")]) == (both.code, served(both))
    assert [75] == [error["code"] for error in both.document["errors"]]
    assert f"held by process {held.pid} " in both.document["errors"][0]["message"]
    assert ([], 3) == (pycs_below(pair[0]), len(pycs_below(pair[1])))


def test_pending_work_of_an_environment_is_done_by_its_own_run_alone(
    pyctrigger: Command, pair: list[Path], newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """Under the name that was recorded, even if that leads to another environment by now."""
    link = tmp_path / "current"
    link.symlink_to("one")
    write_tree(site, PACKAGE)
    pyctrigger.json("run", "--defer", "--prefix", link, link / pair[0].relative_to(tmp_path / "one") / "api")
    pyctrigger.json("run", "--defer", pair[0] / "single.py")
    link.unlink()
    link.symlink_to("two")

    for scope in (
        ["--prefix", f"{tmp_path}/two"],
        ["--prefix", str(link)],
        ["--python", newest.path, "--site-dir", str(site)],
    ):
        assert 0 == pyctrigger.json("run", *scope).code
    assert [] == pycs_below(pair[0])
    pending = {
        name: pyctrigger.json("status", "--prefix", tmp_path / name).run["status"]["pending"] for name in ("one", "two")
    }
    assert {"one": 2, "two": 0} == pending

    outcome = pyctrigger.json("run", "--prefix", tmp_path / "one", "")

    assert (0, 3) == (outcome.code, len(pycs_below(pair[0])))
    assert 0 == pyctrigger.json("status", "--prefix", tmp_path / "one").run["status"]["pending"]


def test_what_waits_for_an_interpreter_is_no_work_of_an_environment(
    pyctrigger: Command, pair: list[Path], newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """A hook's work for a version whose interpreter can't be started: an environment of that version leaves it."""
    write_tree(site, PACKAGE)
    program, config = tmp_path / "python", tmp_path / "pyctrigger.toml"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    dotted = library(newest).replace("python", "")
    config.write_text(f'[flavours."{dotted}"]\nexecutable = "{program}"\n')
    system = ["--config", str(config), "--python", dotted, "--site-dir", str(site)]

    hook = pyctrigger.text("run", "--hook", *system, site / "api")
    environment = pyctrigger.json("run", "--config", config, "--prefix", tmp_path / "one")

    assert "the work stays in the journal" in hook.err
    assert (0, 3, []) == (environment.code, environment.counts["compiled"], pycs_below(site))
    assert 0 == pyctrigger.json("status", "--prefix", tmp_path / "one").run["status"]["pending"]
    program.write_text(f'#!/bin/sh\nexec {newest.path} "$@"\n')
    assert (0, 3) == (pyctrigger.json("run", *system, "").code, len(pycs_below(site)))
    assert [] == pycs_below(pair[1])


def test_an_environment_that_is_gone_takes_its_state_with_it(
    pyctrigger: Command, pair: list[Path], newest: Interpreter, site: Path, tmp_path: Path
) -> None:
    """And nothing of its interpreter's; what was pending is named, and a hook doesn't look for it."""
    write_tree(site, PACKAGE)
    system = ["--python", newest.path, "--site-dir", str(site)]
    pyctrigger.json("run", "--defer", *system, site / "api")
    kept = set(os.listdir(pyctrigger.state)) - {"interpreters", "history.sqlite"}
    for name in ("one", "two"):
        pyctrigger.json("run", "--defer", "--prefix", tmp_path / name)
    pyctrigger.json("run", "--prefix", tmp_path / "two")
    for name in ("one", "two"):
        shutil.rmtree(tmp_path / name)

    hook = pyctrigger.text("run", "--hook", *system, "")
    outcome = pyctrigger.text("run", *system, "")

    assert f"pending work for {tmp_path}/one was dropped: the environment is gone\n" == outcome.err
    assert "environment" not in hook.err
    assert kept == set(os.listdir(pyctrigger.state)) - {"interpreters", "history.sqlite"}
    assert 1 == len(os.listdir(pyctrigger.state / "interpreters"))
    assert 3 == len(pycs_below(site))  # what was pending for the interpreter that they borrowed


@pytest.mark.parametrize("how", ["--cache-tag", "--python"])
def test_a_purge_by_name_is_never_about_an_environment_that_was_served(
    pyctrigger: Command, pair: list[Path], newest: Interpreter, tmp_path: Path, how: str
) -> None:
    """It was seen once, as an interpreter of that version; it may be the only one. What is meant is the system's."""
    pyctrigger.json("run", "--prefix", tmp_path / "one")
    name = tag_of(newest) if how == "--cache-tag" else library(newest).replace("python", "")

    outcome = pyctrigger.json("purge", "--dry-run", how, name)

    assert {None} == {*served(outcome), None}
    actions = [action["path"] for run in outcome.document["runs"] for action in run["actions"]]
    assert [] == [path for path in actions if path.startswith(f"{tmp_path}/")]
    del pair


@pytest.mark.parametrize("others", ["it is there", "another name of it is gone"])
@pytest.mark.parametrize("asked", ["--cache-tag", "--all"])
def test_a_purge_of_what_is_gone_is_never_about_what_is_there(
    pyctrigger: Command, site: Path, outsider: Interpreter, tmp_path: Path, asked: str, others: str
) -> None:
    """An interpreter outside the standard directories was used by its path, and still has its executable."""
    names = [outsider.path]
    if others == "another name of it is gone":
        (tmp_path / "python").symlink_to(outsider.path)
        names += [str(tmp_path / "python")]
    for name in names:
        pyctrigger.json("run", "--python", name, "--site-dir", site, "")
    for name in names[1:]:
        os.unlink(name)
    scope = [asked, tag_of(outsider)] if asked == "--cache-tag" else [asked]

    outcome = pyctrigger.json("purge", "--dry-run", *scope)

    assert probe(outsider.path).interpreter.installation not in [
        run["installation"] for run in outcome.document["runs"]
    ]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("dangling", "{env}/bin/python leads to {env}/gone, which isn't there"),
        ("none", "{env} has no interpreter in its bin"),
        ("broken", "{env}/bin/python is not a working Python: "),
    ],
)
def test_a_broken_environment_is_the_reason(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, kind: str, reason: str
) -> None:
    """`which` says why a pyc belongs to no interpreter, and never mentions an option that wasn't given."""
    env = tmp_path / "env"
    pyc = f"lib/{library(newest)}/site-packages/__pycache__/m.{tag_of(newest)}.pyc"
    write_tree(env, {"pyvenv.cfg": "", f"lib/{library(newest)}/site-packages/m.py": "", pyc: "x", "bin/activate": ""})
    python = env / "bin/python"
    if kind == "dangling":
        python.symlink_to(env / "gone")
    elif kind == "broken":
        python.write_text("#!/bin/sh\nexit 3\n")
        python.chmod(0o755)

    which = pyctrigger.json("which", env / pyc)
    run = pyctrigger.text("run", env / pyc)

    (found,) = which.document["pycs"]
    assert (0, "unknown") == (which.code, found["state"])
    assert found["reason"].startswith(reason.format(env=env))
    assert 0 != run.code
    assert run.err.startswith(f"pyctrigger: {reason.format(env=env)}")


def test_a_monitor_hears_of_pending_work_in_an_environment(
    pyctrigger: Command, pair: list[Path], tmp_path: Path
) -> None:
    """Named by its path; the environment beside it, of the same flavour, is well."""
    pyctrigger.json("run", "--prefix", tmp_path / "two")
    pyctrigger.json("run", "--defer", "--prefix", tmp_path / "one")

    alarmed = pyctrigger.text("status", "--check", "--warning", "0s")
    asked = {
        name: pyctrigger.text("status", "--check", "--warning", "0s", "--prefix", tmp_path / name).code
        for name in ("one", "two")
    }

    assert (1, {"one": 1, "two": 0}) == (alarmed.code, asked)
    assert f"{tmp_path}/one (" in alarmed.out
    assert f"{tmp_path}/two (" not in alarmed.out
    del pair


# -- the one that is active ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "repair", "verify", "sweep", "status"])
@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_active_environment_is_served(pyctrigger: Command, layout: Path, verb: str, variable: str) -> None:
    """Where nothing says what else, and one line says so; `--dry-run` where it would change the layout."""
    name = "one" if variable == "VIRTUAL_ENV" else "conda"
    dry = [] if verb in ("verify", "status") else ["--dry-run"]
    other = {"CONDA_PREFIX": str(layout / "conda")}  # a venv that was made active in conda's base is the inner one

    outcome = pyctrigger.json(verb, *dry, env={**other, variable: str(layout / name)})

    assert [str(layout / name)] == served(outcome)
    said = f"using the active environment {layout}/{name}; pass --python to use the system's"
    assert (f"{said}\n", [said]) == (outcome.err, outcome.document["notices"])


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("run", ["--hook", "--python", "V", "--site-dir", "S"]),
        ("run", ["--python", "V", "--site-dir", "S"]),
        ("run", ["--prefix", "two"]),
        ("run", ["--prefix-below", "outer"]),
        ("sweep", ["two/lib"]),
        ("purge", ["--python", "V", "--site-dir", "S"]),
    ],
)
def test_a_scope_that_is_named_is_served_whatever_is_active(
    pyctrigger: Command, newest: Interpreter, layout: Path, site: Path, verb: str, arguments: list[str]
) -> None:
    """And no word of it: as if no variable were set."""
    short = {"V": newest.path, "S": str(site), "two": f"{layout}/two", "two/lib": f"{layout}/two/lib"}
    given = [short.get(each, f"{layout}/{each}" if each == "outer" else each) for each in arguments]
    outcomes = [
        pyctrigger.json(verb, "--dry-run", "--stateless", *given, env=env)
        for env in ({}, {"VIRTUAL_ENV": str(layout / "one"), "CONDA_PREFIX": str(layout / "conda")})
    ]

    assert served(outcomes[0]) == served(outcomes[1])
    assert outcomes[0].err == outcomes[1].err
    assert str(layout / "one") not in served(outcomes[1])


@pytest.mark.parametrize("verb", ["run", "repair", "verify", "sweep", "status"])
def test_quietly_only_what_is_wrong_is_said_of_the_variables(pyctrigger: Command, layout: Path, verb: str) -> None:
    """Which environment is used is a remark; a variable that leads nowhere is a warning, since another one is used."""
    dry = [] if verb in ("verify", "status") else ["--dry-run"]
    names = {"VIRTUAL_ENV": str(layout / "gone"), "CONDA_PREFIX": str(layout / "conda")}

    well = pyctrigger.text(verb, "-q", *dry, env={"VIRTUAL_ENV": str(layout / "one")})
    stale = pyctrigger.text(verb, "-q", *dry, env=names)

    assert ("", f"VIRTUAL_ENV is ignored: {layout}/gone isn't there\n") == (well.err, stale.err)


@pytest.mark.parametrize(("place", "reason"), [("gone", "isn't there"), ("plain", "isn't an environment")])
def test_a_stale_variable_is_told_and_ignored(pyctrigger: Command, layout: Path, place: str, reason: str) -> None:
    """The next one counts, else it is as if nothing were active."""
    stale = {"VIRTUAL_ENV": str(layout / place)}

    outcome = pyctrigger.text("sweep", "--dry-run", env={**stale, "CONDA_PREFIX": str(layout / "conda")})

    assert [
        f"VIRTUAL_ENV is ignored: {layout}/{place} {reason}",
        f"using the active environment {layout}/conda; pass --python to use the system's",
    ] == outcome.err.splitlines()


def test_a_hook_that_was_given_no_python_never_serves_the_active_environment(pyctrigger: Command, layout: Path) -> None:
    """Whatever shell the package manager was started in."""
    environment = {"VIRTUAL_ENV": str(layout / "one"), "CONDA_PREFIX": str(layout / "conda")}

    outcome = pyctrigger.json("run", "--hook", "--dry-run", "--stateless", "", env=environment)

    assert {None} == set(served(outcome))
    assert "active" not in outcome.err
