"""Which interpreter is meant, whether it is one, with whose rights it may run, and which directories are its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from confinement import NOBODY, usable_by
from conftest import absent
from environment import CHECKOUT
from interpreters import find_interpreters
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from processes import children_of
from pyctrigger.errors import InterpreterError, RefusedError, UsageError
from pyctrigger.interpreter.flavour import STANDARD_DIRECTORIES, Flavour, directories, installed, not_found
from pyctrigger.interpreter.loading import examine_loading
from pyctrigger.interpreter.probe import probe
from pyctrigger.interpreter.trust import account_for
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Request, Scope, Work
from pyctrigger.run.scope.target import find_target
from system_tools import is_debian
from unit.interpreter.made_up import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter as Found

#: Asks an interpreter, with its site's code, where pip would install.
_OWN_WORD = (
    "import json, sysconfig; print(json.dumps([sysconfig.get_path(k) for k in ('purelib', 'platlib', 'stdlib')]))"
)


def script(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def dotted(found: Found) -> str:
    """A flavour as people write it: `3.13t`, `pypy3.9`."""
    stem = "pypy" if found.implementation == "pypy" else ""
    return f"{stem}{found.version[0]}.{found.version[1]}{'t' if found.free_threaded else ''}"


def standard() -> list[Found]:
    """The interpreters of this machine that are found by their version."""
    places = {os.path.realpath(place) for place in directories()}
    return [each for each in find_interpreters() if os.path.dirname(each.path) in places]


# ------------------------------------------------------------------------------------------------------ what is meant


@pytest.mark.parametrize(
    ("text", "name", "spelled"),
    [
        ("3.11", "py311", "3.11"),
        ("py311", "py311", "3.11"),
        ("python3.11", "py311", "3.11"),
        ("cpython3.11", "py311", "3.11"),
        ("cpython-3.11", "py311", "3.11"),
        ("3.13t", "py313t", "3.13t"),
        ("py313t", "py313t", "3.13t"),
        ("pypy3.11", "pypy311", "pypy3.11"),
        ("pypy311", "pypy311", "pypy3.11"),
        ("3.6", "py36", "3.6"),
        ("/usr/bin/python3", "/usr/bin/python3", None),
        ("/usr//bin/../bin/python3", "/usr/bin/python3", None),
    ],
)
def test_every_form_of_a_flavour(text: str, name: str, spelled: str | None) -> None:
    """As the contract writes them, and as people do."""
    flavour = Flavour.parse(text)
    assert flavour.name == name
    if spelled is not None:
        assert flavour.dotted == spelled
        assert Flavour.parse(spelled) == flavour == Flavour.parse(name)


NONSENSE = [
    "4.0",
    "three",
    "3.x",
    "cpython",
    "3.11 ",
    "\u0663.11",
    "3.11\n",
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_wrong_usage(pyctrigger: Command, site: Path, text: str) -> None:
    """With the forms that would do."""
    outcome = pyctrigger.json("run", "--python", text, "--site-dir", site)
    assert outcome.code == 2
    (error,) = outcome.document["errors"]
    assert error == {
        "code": 2,
        "message": f"--python {text}: not a version, name or path of a Python",
        "hint": (hint := "use 3.11, 3.13t, pypy3.11, py311, python3, or the path of an executable"),
        "mend": hint,
    }


@pytest.mark.parametrize(
    ("text", "likely"),
    [
        ("3.11.2", "3.11"),
        ("311", "3.11"),
        ("cpython-313", "3.13"),
        ("Python3.12", "3.12"),
        ("PYPY311", "pypy3.11"),
        ("3.13T", "3.13t"),
    ],
)
def test_what_is_nearly_a_version(text: str, likely: str) -> None:
    """As `python --version`, a cache tag or a file of tox has it; the suggestion would be taken."""
    with pytest.raises(UsageError) as caught:
        Flavour.parse(text)
    assert caught.value.message.endswith(f" (did you mean {likely}?)")
    assert likely == Flavour.parse(likely).dotted


def test_a_directory_is_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment has an option of its own."""
    (tmp_path / "venv").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Flavour.parse("venv")
    assert "venv is a directory; for an environment use --prefix venv" == caught.value.hint


def test_version_finds_an_installed_interpreter(pyctrigger: Command, site: Path) -> None:
    """By its long and its short name, on standard paths only; PATH has no say."""
    found = standard()
    assert found
    for each in found:
        for name in (dotted(each), each.flavour):
            outcome = pyctrigger.json("run", "--python", name, "--site-dir", site, "", env={"PATH": "/nonexistent"})
            assert (outcome.code, outcome.run["flavour"]) == (0, each.flavour)
            executable = outcome.run["interpreter"]["executable"]
            assert os.path.dirname(executable) in directories()


@pytest.mark.parametrize("text", ["python3", "3", "py3", "python", "pypy3", "pypy"])
def test_a_name_is_what_the_standard_directories_have_under_it(pyctrigger: Command, site: Path, text: str) -> None:
    """`3` is `python3`; PATH has no say, and where there is none, what there is is named."""
    name = {"3": "python3", "py3": "python3"}.get(text, text)
    paths = [path for at in directories() if os.access(path := f"{at}/{name}", os.X_OK)]

    outcome = pyctrigger.json("run", "--python", text, "--site-dir", site, "", env={"PATH": "/nonexistent"})

    if paths:
        assert (0, paths[0]) == (outcome.code, outcome.run["interpreter"]["executable"])
    else:
        (error,) = outcome.document["errors"]
        assert (69, f"no {name} was found in the standard directories") == (error["code"], error["message"])


def test_what_is_not_found_is_told_with_what_is() -> None:
    """By flavour and path, in the order of the search, each file once."""
    for called, wanted in (("3.99", "Python 3.99"), ("py399t", "Python 3.99t"), ("pypy3.99", "PyPy 3.99")):
        error = not_found(called)
        assert f"no {wanted} was found in the standard directories" == error.message
        assert error.hint is not None
        listed = re.findall(r"(?:found:|,) (py[py]*[0-9]+t?) (/[^,; ]+)", error.hint)
        assert installed()[:8] == [path for _, path in listed]
        assert all(Flavour.parse(flavour).name == flavour for flavour, path in listed if not path.endswith("pypy3"))


def test_the_manual_says_where_is_searched() -> None:
    """Every directory, in order."""
    page = " ".join(Path(CHECKOUT, "docs/reference/README.md").read_text().split())
    *first, last = (f"`{at}`" for at in STANDARD_DIRECTORIES)

    assert f"The standard directories are {', '.join(first)} and {last}, searched in this order" in page


def test_only_what_is_called_like_a_python_is_started_for_its_name(pyctrigger: Command, site: Path) -> None:
    """Anything else in the standard directories is wrong usage, and isn't run to find out what it is."""
    for text in ("true", "sh", "python3 ", "python3/", "..", "python3\n", "PYTHON3"):
        outcome = pyctrigger.json("run", "--python", text, "--site-dir", site)
        assert outcome.code == (69 if "/" in text else 2), text


def test_path_names_an_executable(pyctrigger: Command, site: Path, interpreter: Found) -> None:
    """Absolute, or from the caller's directory; what it is it says itself."""
    expected = {
        "implementation": interpreter.implementation,
        "version": interpreter.release,
        "executable": interpreter.path,
    }
    relative = f"./{os.path.basename(interpreter.path)}"
    for path, cwd in ((interpreter.path, None), (relative, os.path.dirname(interpreter.path))):
        outcome = pyctrigger.json("run", "--python", path, "--site-dir", site, "", cwd=cwd)
        assert (outcome.code, outcome.run["flavour"]) == (0, interpreter.flavour)
        said = outcome.run["interpreter"]
        assert {**said, "version": re.split(r"[a-z]", said["version"])[0]} == {**said, **expected}
        assert re.fullmatch(r"[0-9a-f]{4}0d0a", said["magic_number"])


def test_executable_from_path_is_not_taken(pyctrigger: Command, site: Path, tmp_path: Path) -> None:
    """A `python3.99` that a user's shell would find isn't a system interpreter."""
    marker = tmp_path / "ran"
    script(tmp_path / "bin" / "python3.99", f"touch {marker}")
    outcome = pyctrigger.text(
        "run", "--python", "3.99", "--site-dir", site, env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    )
    assert outcome.code == 69
    assert outcome.err.startswith("pyctrigger: no Python 3.99 was found in the standard directories; found: py")
    assert not marker.exists()
    assert all(place.startswith("/") for place in STANDARD_DIRECTORIES)


def test_without_a_name_every_flavour_is_served(pyctrigger: Command, site: Path) -> None:
    """And named first."""
    write_tree(site, {"module.py": ""})
    outcome = pyctrigger.json("run", "--site-dir", site)
    assert outcome.code == 0
    flavours = [run["flavour"] for run in outcome.document["runs"]]
    assert sorted(set(flavours)) == sorted({each.flavour for each in standard()})
    tags = {run["interpreter"]["cache_tag"] for run in outcome.document["runs"]}
    assert {os.fsdecode(path).rsplit(".", 2)[1] for path in pycs_below(site)} == tags
    text = pyctrigger.text("run", "--site-dir", site).out
    first, *lines = text.splitlines()
    executables = [run["interpreter"]["executable"] for run in outcome.document["runs"]]
    assert first == "found " + ", ".join(f"{name} ({path})" for name, path in zip(flavours, executables))
    assert [line.partition(":")[0].partition(" ")[0] for line in lines] == flavours


def test_each_installed_file_is_found_once() -> None:
    """`python3.11` and a link to it are one."""
    found = installed()
    assert found
    assert len({(os.stat(path).st_dev, os.stat(path).st_ino) for path in found}) == len(found)
    assert all(os.path.isabs(path) for path in found)


def test_one_missing_flavour_costs_itself_alone(pyctrigger: Command, site: Path, newest: Found) -> None:
    """The others' work is done, and the exit code is the highest."""
    write_tree(site, {"module.py": ""})
    outcome = pyctrigger.json("run", "--python", "3.99", "--python", newest.path, "--site-dir", site)
    assert outcome.code == 69
    assert [error["code"] for error in outcome.document["errors"]] == [69]
    assert outcome.counts["compiled"] == 1


# ------------------------------------------------------------------------------------------------- whether it is one

ANSWER: dict[str, Any] = {
    "implementation": "cpython",
    "version": [3, 11, 2],
    "release": "3.11.2",
    "cache_tag": "cpython-311",
    "magic_number": "a70d0d0a",
    "abi_flags": "",
    "free_threaded": False,
    "prefix": "/usr",
    "schemes": {},
    "default_scheme": "posix_prefix",
    "inside": [],
    "build": dict.fromkeys(BUILD, "x"),
    "class_names": [],
    "witnesses": [],
}


def answering(**fields: Any) -> str:
    """A script that answers like a probed interpreter."""
    return "printf '\\npyctrigger-probe:%s\\n' '" + json.dumps({**ANSWER, **fields}) + "'"


def without(field: str) -> str:
    """The same with a field left out."""
    said = {name: value for name, value in ANSWER.items() if name != field}
    return "printf '\\npyctrigger-probe:%s\\n' '" + json.dumps(said) + "'"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 3", "{path} is not a working Python: exit status 3"),
        ("kill -9 $$", "{path} is not a working Python: killed by SIGKILL"),
        ("true", "{path} is not a working Python: exit status 0"),
        ("echo hello", "{path} is not a working Python: exit status 0"),
        ("echo no such option >&2; exit 2", "{path} is not a working Python: exit status 2, it said: no such option"),
        (
            "printf 'bad\\033[31m\\nthing\\377' >&2; exit 2",
            "{path} is not a working Python: exit status 2, it said: bad?[31m thing\ufffd",
        ),
        ("echo pyctrigger-probe:", "{path} is not a working Python: exit status 0"),
        ("printf '\\npyctrigger-probe:{\\n'", "{path} gave an unreadable answer"),
        ("printf '\\npyctrigger-probe:[]\\n'", "{path} gave an unreadable answer"),
        ("printf '\\npyctrigger-probe:\\377\\n'", "{path} gave an unreadable answer"),
        ("head -c 3000000 /dev/zero", "{path} is not a Python: its answer is too long"),
        ("head -c 3000000 /dev/zero >&2", "{path} is not a Python: its answer is too long"),
        (answering(version=[3, 5, 9], release="3.5.9"), "{path} is Python 3.5.9; 3.6 is the oldest target"),
        (answering(version=[2, 7, 18], release="2.7.18"), "{path} is Python 2.7.18; 3.6 is the oldest target"),
        (
            answering(cache_tag=None),
            "{path} has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode",
        ),
        (without("prefix"), "{path} gave an incomplete answer: it lacks 'prefix'"),
        (without("witnesses"), "{path} gave an incomplete answer: it lacks 'witnesses'"),
        (f"{answering()}; exit 1", "{path} is not a working Python: exit status 1"),
    ],
)
def test_executable_that_is_no_python(pyctrigger: Command, site: Path, tmp_path: Path, body: str, message: str) -> None:
    """Exit 69, and a message that names it and what it did."""
    write_tree(site, {"module.py": ""})
    path = script(tmp_path / "python3", body)
    outcome = pyctrigger.json("run", "--python", path, "--site-dir", site)
    assert outcome.code == 69
    (error,) = outcome.document["errors"]
    assert error["message"].startswith(message.format(path=path))
    assert pycs_below(site) == []
    assert os.listdir(pyctrigger.state) == ["history.sqlite"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file or directory"),
        (Path.mkdir, "it is a directory"),
        (lambda path: os.mkfifo(path, 0o755), "not a regular file"),
        (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
        (Path.touch, "Permission denied"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path.name), "oo many"),
        (lambda path: (path.write_bytes(b"\x7fELF\x02\x01"), path.chmod(0o755)), "Exec format error"),
        (lambda path: (path.write_text("#!/no/such/shell\n"), path.chmod(0o755)), "No such file or directory"),
    ],
    ids=["gone", "directory", "fifo", "device", "not-executable", "dangling", "circle", "no-binary", "no-shell"],
)
def test_executable_that_can_not_be_started(
    pyctrigger: Command, site: Path, tmp_path: Path, make: Any, reason: str
) -> None:
    """Exit 69 with the system's own word."""
    path = tmp_path / "python3"
    make(path)
    outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)
    assert (outcome.code, outcome.out) == (69, "")
    assert str(path) in outcome.err
    assert reason in outcome.err
    assert outcome.err.count("\n") == 1


def test_python_2_is_no_target(pyctrigger: Command, site: Path, interpreters: list[Found]) -> None:
    """Where there still is one."""
    places = [Path(place) for place in STANDARD_DIRECTORIES]
    places += [place for each in interpreters for place in Path(each.prefix).parent.glob("2.7*/bin")]
    path = next((place / "python2.7" for place in places if (place / "python2.7").exists()), None)
    if path is None:
        raise pytest.skip.Exception("no python2.7 on this machine, as on most")
    outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)
    assert outcome.code == 69
    assert f"{path} is not a working Python: exit status 2, it said: Unknown option: -I" in outcome.err


@pytest.mark.parametrize(
    "body",
    [
        "exec sleep 60",
        "trap '' TERM HUP INT; exec sleep 60",
        answering() + "; exec sleep 60",
        answering() + "; exec >&- 2>&-; exec sleep 60",
    ],
    ids=["silent", "stubborn", "never-ends", "closes"],
)
def test_executable_that_never_answers(tmp_path: Path, body: str) -> None:
    """Ends in a time-out, not in a hang, and is reaped."""
    path = script(tmp_path / "python3", body)
    started, before = time.monotonic(), children_of(os.getpid())
    with pytest.raises(InterpreterError, match=rf"{path} did not (answer|end) within 1 s"):
        probe(str(path), timeout=1)
    assert time.monotonic() - started < 30
    assert children_of(os.getpid()) == before


def test_nobody_waits_for_a_child_that_an_executable_leaves(tmp_path: Path, newest: Found) -> None:
    """Its ends of the pipes stay open: with an answer that is one, without it is none, both at once."""
    leave = "sleep 60 & echo $! >>" + str(tmp_path / "left")
    silent, honest = tmp_path / "silent", tmp_path / "honest"
    script(silent, f"{leave}; exit 0")
    script(honest, f'{leave}; exec {newest.path} "$@"')
    started = time.monotonic()
    try:
        with pytest.raises(InterpreterError, match=f"{silent} is not a working Python: exit status 0"):
            probe(str(silent))
        assert probe(str(honest)).interpreter.flavour == newest.flavour
        assert time.monotonic() - started < 20
    finally:
        for pid in (tmp_path / "left").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_answer_is_found_in_the_noise(tmp_path: Path, newest: Found) -> None:
    """What a start-up prints before and behind it is no answer."""
    path = script(tmp_path / "python3", f'echo "{{}}"; {newest.path} "$@"; echo bye; echo warning >&2')
    assert probe(str(path)).interpreter.flavour == newest.flavour


# ------------------------------------------------------------------------------------------------- with whose rights


@pytest.fixture
def public(as_root: None) -> Iterator[Path]:
    """A directory of root's that everybody may enter."""
    with public_directory() as directory:
        yield directory


@pytest.fixture
def shared_python(as_root: None) -> str:
    """An interpreter that other accounts may execute as well."""
    found = usable_by(NOBODY)
    if not found:
        absent("no Python that other accounts than root's may execute")
    return found[0]


def give(path: Path, owner: int, mode: int) -> None:
    os.chown(path, owner, owner)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("what", "mode"),
    [("python3", 0o775), ("python3", 0o757), ("bin", 0o775), ("bin", 0o777), ("above", 0o757)],
)
def test_root_refuses_what_others_could_change(
    pyctrigger: Command, site: Path, public: Path, newest: Found, what: str, mode: int
) -> None:
    """The executable, or a directory above it: exit 77 with its name and a hint, and it isn't started."""
    ran = public / "ran"
    path = script(public / "above/bin/python3", f'touch {ran}; exec {newest.path} "$@"')
    step = {"python3": path, "bin": path.parent, "above": path.parent.parent}[what]
    step.chmod(mode)

    outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)

    assert outcome.code == 77
    assert outcome.err == (
        f"pyctrigger: interpreter {path} is not trusted by root: others may write {step}; chmod go-w {step}\n"
    )
    assert not ran.exists()
    step.chmod(0o755)
    assert pyctrigger.text("run", "--python", path, "--site-dir", site, "").code == 0
    assert ran.exists()


def test_root_follows_links_with_open_eyes(public: Path, newest: Found) -> None:
    """Each directory that a link leads through counts, and the owner of a link in a world-writable directory."""
    (public / "open").mkdir()
    (public / "open/python3").symlink_to(newest.path)
    (public / "link").symlink_to("open/python3")
    assert account_for(str(public / "link"), "interpreter") is None
    (public / "open").chmod(0o777)
    with pytest.raises(RefusedError, match=f"others may write {public}/open"):
        account_for(str(public / "link"), "interpreter")
    (public / "open").chmod(0o1777)
    assert account_for(str(public / "link"), "interpreter") is None
    os.chown(public / "open/python3", NOBODY, NOBODY, follow_symlinks=False)
    found = account_for(str(public / "link"), "interpreter")
    assert found
    assert found.uid == NOBODY


def test_file_that_two_accounts_could_change(pyctrigger: Command, site: Path, public: Path, newest: Found) -> None:
    """Must not be run by anybody."""
    path = script(public / "bin/python3", f'exec {newest.path} "$@"')
    give(path.parent, NOBODY, 0o755)
    give(path, NOBODY - 1, 0o755)
    outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)
    assert outcome.code == 77
    assert f"accounts [{NOBODY - 1}, {NOBODY}] can change it" in outcome.err


def test_interpreter_of_another_account_runs_as_that_account(
    pyctrigger: Command, public: Path, shared_python: str
) -> None:
    """The probe and the workers alike; and only for its own directories."""
    log = public / "log"
    log.touch()
    give(log, NOBODY, 0o644)
    path = script(public / "bin/python3", f'echo "$(id -u):$(id -g):$(id -G)" >>{log}; exec {shared_python} "$@"')
    give(path, NOBODY, 0o755)
    site = write_tree(public / "site", {"module.py": "", "package/__init__.py": ""})

    refused = pyctrigger.text("run", "--python", path, "--site-dir", site)
    assert refused.code == 77
    assert f"{path} belongs to account {NOBODY}, but {site} to account 0; use an interpreter that " in refused.err
    assert pycs_below(site) == []

    for each in (site, site / "package", site / "module.py", site / "package/__init__.py"):
        os.chown(each, NOBODY, NOBODY)
    outcome = pyctrigger.json("run", "--python", path, "--site-dir", site, "--jobs", "2")
    assert (outcome.code, outcome.counts["compiled"]) == (0, 2)
    assert set(log.read_text().split()) == {f"{NOBODY}:{NOBODY}:{NOBODY}"}
    assert {os.stat(pyc).st_uid for pyc in pycs_below(site)} == {NOBODY}
    assert pyctrigger.json("verify", "--python", path, "--site-dir", site).code == 0


def test_owner_is_looked_at_each_time(pyctrigger: Command, public: Path, shared_python: str) -> None:
    """A cached probe is no reason to run as root what somebody has got since."""
    path = script(public / "bin/python3", f'exec {shared_python} "$@"')
    site = write_tree(public / "site", {"module.py": ""})
    arguments: list[Any] = ["--python", path, "--site-dir", site]
    assert pyctrigger.text("run", *arguments).code == 0
    os.chown(path, NOBODY, NOBODY)
    assert pyctrigger.text("run", *arguments).code == 77
    os.chown(path, 0, 0)
    path.parent.chmod(0o777)
    assert pyctrigger.text("run", *arguments).code == 77


def test_what_an_interpreter_loads_counts_as_well(pyctrigger: Command, site: Path, public: Path) -> None:
    """A standard library that somebody else owns makes an interpreter of root's somebody else's."""
    library = public / "os.py"
    library.touch()
    os.chown(library, NOBODY, NOBODY)
    path = script(public / "bin/python3", answering(witnesses=[str(library)]))
    outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)
    assert outcome.code == 77
    assert outcome.err == (
        f"pyctrigger: {path} loads {library}, which somebody other than root owns; "
        "run as that account, or name another interpreter\n"
    )


def test_environments_configuration_counts_as_well(
    pyctrigger: Command, site: Path, public: Path, newest: Found
) -> None:
    """`pyvenv.cfg` decides which standard library is loaded (PEP 405)."""
    ran = public / "ran"
    path = script(public / "bin/python3", f'touch {ran}; exec {newest.path} "$@"')
    for configuration in (public / "pyvenv.cfg", public / "bin/pyvenv.cfg"):
        configuration.touch()
        configuration.chmod(0o666)
        outcome = pyctrigger.text("run", "--python", path, "--site-dir", site)
        assert outcome.code == 77
        assert f"others may write {configuration}; chmod go-w {configuration}" in outcome.err
        give(configuration, NOBODY, 0o644)
        found = examine_loading(str(path)).account
        assert found
        assert found.uid == NOBODY
        os.chown(path, NOBODY - 1, 0)
        with pytest.raises(RefusedError, match=rf"accounts \[{NOBODY - 1}, {NOBODY}\] can change it"):
            _ = examine_loading(str(path)).account
        os.chown(path, 0, 0)
        configuration.unlink()
    assert not ran.exists()


def test_others_than_root_run_what_they_name(public: Path, shared_python: str) -> None:
    """With the rights that they have anyway."""
    path = script(public / "bin/python3", f'exec {shared_python} "$@"')
    give(path, NOBODY, 0o777)
    question = f"""
import sys
sys.path.insert(0, {str(Path(sys.modules["pyctrigger"].__file__ or "").parent.parent)!r})
from pyctrigger.interpreter.trust import account_for
print(account_for({str(path)!r}, "interpreter"))
"""
    child = subprocess.run(
        [shared_python, "-B", "-c", question],
        capture_output=True,
        cwd="/",
        check=False,
        timeout=60,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    if b"No module named 'pyctrigger'" in child.stderr or b"annotations is not defined" in child.stderr:
        absent("no Python 3.9 or later that other accounts than root's may execute, or no way to the checkout")
    assert child.stdout.decode() == "None\n", child.stderr.decode()


# -------------------------------------------------------------------------------------------------------- the scope


def scope_of(executable: str | Path, **scope: Any) -> list[str]:
    """The site directories of an interpreter, as a request sees them."""
    request = Request(Work.RUN, Scope(pythons=(str(executable),), **scope))
    return [site.path for site in find_target(probe(str(executable)).interpreter, request, Settings()).sites]


def own_word(executable: str | Path) -> list[str]:
    """purelib, platlib and standard library, by the interpreter itself."""
    child = subprocess.run([executable, "-c", _OWN_WORD], capture_output=True, check=True, cwd="/", timeout=60, env={})
    said: list[str] = json.loads(child.stdout)
    return said


def test_scope_is_the_targets_own_directories(interpreter: Found) -> None:
    """Where its packages lie, each directory once; never `/usr/local` for a system's Python."""
    found = scope_of(interpreter.path)
    if interpreter.prefix == "/usr":
        assert found
        assert all(path.startswith("/usr/lib") for path in found)
        return
    own = {os.path.realpath(path) for path in own_word(interpreter.path)[:2]}
    assert {os.path.realpath(path) for path in found} == own
    assert len(found) == len(own)


def test_debians_python_has_the_systems_directory() -> None:
    """An isolated `sysconfig` says `/usr/local` there: the administrator's."""
    if not is_debian() or not os.path.exists("/usr/bin/python3"):
        pytest.skip("no Debian")
    assert scope_of("/usr/bin/python3") == ["/usr/lib/python3/dist-packages"]
    assert os.path.dirname(own_word("/usr/bin/python3")[2]) == "/usr/lib"


def test_standard_library_only_when_asked(interpreter: Found) -> None:
    """Its own directory is distinguished: it is never removed, and packages inside it aren't part of it."""
    request = Request(Work.RUN, Scope(pythons=(interpreter.path,), stdlib=True))
    sites = find_target(probe(interpreter.path).interpreter, request, Settings()).sites
    library = [site.path for site in sites if site.is_stdlib]
    assert [os.path.realpath(path) for path in library] == [os.path.realpath(own_word(interpreter.path)[2])]
    assert [site.path for site in sites if not site.is_stdlib] == scope_of(interpreter.path)


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONUSERBASE"])
def test_no_variable_moves_the_scope(pyctrigger: Command, newest: Found, tmp_path: Path, variable: str) -> None:
    """Of the caller's environment nothing reaches the target."""
    arguments: list[Any] = ["--python", newest.path, tmp_path]
    # The host must not hear them either.
    run = f"import sys; sys.path[:] = {sys.path!r}; from pyctrigger.cli import main; sys.exit(main())"
    pyctrigger.program = [sys.executable, "-I", "-c", run]
    plain = pyctrigger.text("run", *arguments)
    moved = pyctrigger.text("run", *arguments, env={variable: str(tmp_path)})
    assert "; the scope is /" in plain.err
    assert (moved.code, moved.err) == (plain.code, plain.err)


@pytest.fixture
def venv(tmp_path: Path, newest: Found) -> Path:
    """A virtual environment; a directory called `lib` on the way to it is not its own."""
    venv = tmp_path / "lib" / "venv"
    subprocess.run([newest.path, "-I", "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    return venv


def packages_of(venv: Path, found: Found) -> Path:
    return (
        venv
        / "lib"
        / f"python{found.version[0]}.{found.version[1]}{'t' if found.free_threaded else ''}"
        / "site-packages"
    )


def test_environment_has_its_own_directory(pyctrigger: Command, venv: Path, newest: Found) -> None:
    """Named by its prefix, with or without an interpreter, or by its own interpreter."""
    packages = packages_of(venv, newest)
    assert packages.is_dir()
    assert scope_of(newest.path, prefixes=(str(venv),)) == [str(packages)]
    assert scope_of(venv / "bin/python") == [str(packages)]
    ways: list[list[Any]] = [
        ["--prefix", venv],
        ["--prefix", venv, "--python", newest.path],
        ["--prefix", f"{venv}/"],
        ["--python", venv / "bin/python"],
    ]
    for number, arguments in enumerate(ways):
        write_tree(packages, {f"module{number}.py": ""})
        outcome = pyctrigger.json("run", *arguments)
        assert (outcome.code, outcome.counts["compiled"]) == (0, 1), arguments
        assert outcome.run["flavour"] == newest.flavour
    assert not_fresh(newest, sources_below(packages)) == []


def test_lib_and_lib64_are_one_or_two(pyctrigger: Command, venv: Path, newest: Found, tmp_path: Path) -> None:
    """A link is the same directory; two directories are both its own; and `lib64` of somewhere else is neither."""
    packages = packages_of(venv, newest)
    twin = Path(str(packages).replace(f"{venv}/lib/", f"{venv}/lib64/"))
    decoy = Path(str(packages).replace(f"{tmp_path}/lib/", f"{tmp_path}/lib64/"))
    if os.path.lexists(venv / "lib64"):
        assert scope_of(venv / "bin/python") == [str(packages)]
        (venv / "lib64").unlink()
    for number, directory in enumerate((packages, twin, decoy)):
        write_tree(directory, {f"module{number}.py": ""})
    before = snapshot(decoy)

    assert scope_of(venv / "bin/python") == [str(packages), str(twin)]
    assert scope_of(newest.path, prefixes=(str(venv),)) == [str(packages), str(twin)]
    outcome = pyctrigger.json("run", "--prefix", venv)

    assert (outcome.code, outcome.counts["compiled"]) == (0, 2)
    assert snapshot(decoy) == before


def test_two_environments_have_each_their_own_interpreter(
    pyctrigger: Command, interpreters: list[Found], tmp_path: Path
) -> None:
    """Named together."""
    both = [each for each in interpreters if each.implementation == "cpython"][:2]
    arguments: list[Any] = []
    for each in both:
        prefix = tmp_path / each.flavour
        subprocess.run([each.path, "-I", "-m", "venv", "--without-pip", str(prefix)], check=True, timeout=120)
        write_tree(packages_of(prefix, each), {"module.py": ""})
        arguments += ["--prefix", prefix]

    outcome = pyctrigger.json("run", *arguments)

    assert outcome.code == 0
    assert [run["counts"]["compiled"] for run in outcome.document["runs"]] == [1] * len(both)
    for each in both:
        assert len(pycs_below(tmp_path / each.flavour)) == 1


def test_prefix_that_is_no_environment(pyctrigger: Command, tmp_path: Path, newest: Found) -> None:
    """Is wrong usage, and the message says what would be there."""
    outcome = pyctrigger.text("run", "--prefix", tmp_path)
    assert outcome.code == 2
    assert outcome.err == f"pyctrigger: {tmp_path} has no interpreter in its bin; name one with --python PATH\n"
    outcome = pyctrigger.text("run", "--prefix", tmp_path, "--python", newest.path)
    assert outcome.code == 2
    assert outcome.err == (
        f"pyctrigger: {tmp_path} is not an environment of {newest.flavour}; "
        f"it would have {packages_of(tmp_path, newest)}\n"
    )


def test_environment_of_a_conda_kind(pyctrigger: Command, tmp_path: Path, newest: Found) -> None:
    """Its own prefix, without a `pyvenv.cfg`: the given name counts."""
    prefix = tmp_path / "conda"
    write_tree(packages_of(prefix, newest), {"module.py": ""})
    script(prefix / "bin/python", f'exec {newest.path} "$@"')
    outcome = pyctrigger.json("run", "--prefix", prefix)
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)


def test_site_directory_has_to_exist(pyctrigger: Command, site: Path, newest: Found) -> None:
    """Or be one."""
    write_tree(site, {"module.py": ""})
    for path, reason in ((site / "gone", "no such directory"), (site / "module.py", "not a directory")):
        outcome = pyctrigger.text("run", "--python", newest.path, "--site-dir", site, "--site-dir", path)
        assert outcome.code == 2
        assert outcome.err == f"pyctrigger: --site-dir {path}: {reason}; name a directory that exists\n"
        assert pycs_below(site) == []


def test_site_directory_counts_once(pyctrigger: Command, site: Path, newest: Found, tmp_path: Path) -> None:
    """Under the first of its names."""
    write_tree(site, {"module.py": ""})
    (tmp_path / "link").symlink_to(site)
    names = [site, f"{site}/", f"{site}/../site", tmp_path / "link"]
    arguments: list[Any] = [part for name in names for part in ("--site-dir", name)]
    outcome = pyctrigger.json("run", "--python", newest.path, *arguments)
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert scope_of(newest.path, site_dirs=tuple(map(str, names))) == [str(site)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--site-dir", "/usr", "--prefix", "{site}"],
            "--site-dir /usr: outside of --prefix {site}; leave one of them out",
        ),
        (["--root", "{site}/gone", ""], "--root {site}/gone: no such directory; name the directory of a staged root"),
        (["--trust-root"], "--trust-root needs --root; name the root with --root DIR"),
    ],
)
def test_options_that_do_not_go_together(
    pyctrigger: Command, site: Path, newest: Found, arguments: list[str], message: str
) -> None:
    """Are wrong usage."""
    given = [argument.format(site=site) for argument in arguments]
    outcome = pyctrigger.text("run", "--python", newest.path, *given)
    assert (outcome.code, outcome.err) == (2, f"pyctrigger: {message.format(site=site)}\n")


def test_directory_above_may_hold_any_byte(pyctrigger: Command, tmp_path: Path, newest: Found) -> None:
    """An environment's path is its owner's choice."""
    name = os.fsdecode(b"n\xff\nw")
    venv = tmp_path / name
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(newest.path)
    (venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(newest.path)}\n")
    write_tree(packages_of(venv, newest), {"module.py": ""})
    outcome = pyctrigger.json("run", "--prefix", venv)
    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert outcome.run["interpreter"]["executable"] == f"{tmp_path}/n\ufffd\nw/bin/python"
    assert bytes.fromhex(outcome.run["interpreter"]["executable_hex"]) == os.fsencode(venv / "bin/python")
    shutil.rmtree(venv)


def test_flavour_is_proven(newest: Found, interpreters: list[Found]) -> None:
    """What answers as something else isn't what was asked for."""
    other = next((each for each in interpreters if each.flavour != newest.flavour), None)
    if other is None:
        absent("a second flavour")
    with pytest.raises(InterpreterError, match=f"should be {newest.flavour}, but is {other.flavour}"):
        probe(other.path).interpreter.require(Flavour.parse(dotted(newest)))
    probe(other.path).interpreter.require(Flavour.parse(other.path))
    with pytest.raises(UsageError):
        Flavour.parse("a\0/b")
