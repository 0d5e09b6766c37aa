"""`measure`: each run has the bytecode that it claims, by the word of the measured process, and nothing is touched."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import pty
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from children import public_directory
from command import PATIENCE, Command, Outcome, heed_signals
from confinement import NOBODY, command_for
from conftest import absent
from packages import write_tree
from pyctrigger.cli.output.chart import Bar, chart
from pyctrigger.inspect.measure.measurement import Spread
from terminal import heard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Argument
    from interpreters import Interpreter

#: Tells on a local port what each process compiled, and what bytecode it found: it can't write a file.
SPY = """
import atexit, hashlib, importlib._bootstrap_external as external, json, os, socket, sys

compiled = []
original = external.SourceLoader.source_to_code

def source_to_code(self, data, path, *more, **options):
    compiled.append(self.name)
    return original(self, data, path, *more, **options)

external.SourceLoader.source_to_code = source_to_code

def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"

def look(name):
    spec = sys.modules[name].__spec__
    found = {"state": os.path.normpath(spec.cached).split("/pyctrigger-measure-")[1].split("/")[1]}
    try:
        with open(spec.cached, "rb") as file:
            content = file.read()
        found["header"] = [content[:16].hex()]
        found["digest"] = hashlib.sha256(content).hexdigest()
    except OSError:
        pass
    return found

def tell():
    beside = os.path.join(os.path.dirname(__file__), "written")
    said = {
        "pid": os.getpid(), "compiled": compiled, "argv": sys.argv, "cwd": os.getcwd(), "uid": os.getuid(),
        "modules": {name: look(name) for name in WATCHED if name in sys.modules},
        "write": attempt(lambda: open(beside, "w").close()),
        "unlink": attempt(lambda: os.unlink(__file__)),
        "home": attempt(lambda: open(os.path.expanduser("~/file"), "w").close()),
        "null": attempt(lambda: open(os.devnull, "w").close()),
        "path": sys.path, "more": globals().get("more"),
    }
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(json.dumps(said).encode(), ("127.0.0.1", PORT))

atexit.register(tell)
"""

PACKAGE = {
    "parcel/__init__.py": "from . import content\nfrom .inner import deep\n",
    "parcel/content.py": "def double(x):\n    return x * 2\n" * 20,
    "parcel/inner/__init__.py": "",
    "parcel/inner/deep.py": "import colorsys\nWORD = 'deep'\n",
    "parcel/unused.py": "1\n",
}
SOURCES = ["parcel", "parcel.content", "parcel.inner", "parcel.inner.deep"]
STATES = ("stale", "absent", "fresh")


class Listener:
    """Hears what the measured processes say."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    def spy(self, *watched: str, more: str = "") -> str:
        """The source of a module that prints facts about others, imported before them."""
        return f"WATCHED = {list(watched)!r}\nPORT = {self._socket.getsockname()[1]}\n{SPY}\n{more}\n"

    def said(self) -> list[dict[str, Any]]:
        """What was said since, a dictionary for each process, in their order."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(json.loads(self._socket.recv(1 << 16)))
        return found

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class Measure:
    """`pyctrigger measure`, which keeps no state, with a directory for private files of this test's own."""

    def __init__(self, command: Command, temporary: Path) -> None:
        self.program = [*command.program, "measure"]
        temporary.mkdir()
        self.temporary = temporary

    def environment(self, **more: str) -> dict[str, str]:
        """What pyctrigger is started with."""
        return {**os.environ, "TMPDIR": str(self.temporary), **more}

    def line(self, *arguments: Argument) -> list[bytes]:
        """The command line."""
        return [os.fsencode(part) for part in [*self.program, *arguments]]

    def text(self, *arguments: Argument, **options: Any) -> Outcome:
        """Run it for a person; nothing private is left behind."""
        child = subprocess.run(
            self.line(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**self.environment(), **options.pop("env", {})},
            timeout=PATIENCE,
            check=False,
            **options,
        )
        assert list(self.temporary.iterdir()) == []
        return Outcome(child.returncode, child.stdout.decode(), child.stderr.decode())

    def json(self, *arguments: Argument, **options: Any) -> dict[str, Any]:
        """Run it for a program; the only measurement."""
        outcome = self.text("--json", *arguments, **options)
        document = json.loads(outcome.out)
        assert (outcome.code, 0, []) == (0, document["exit_code"], document["errors"]), outcome.err
        (measurement,) = document["measurements"]
        assert isinstance(measurement, dict)
        return measurement

    def refused(self, *arguments: Argument, **options: Any) -> tuple[int, str]:
        """Run what can't be measured; the exit code and the one line that says why."""
        outcome = self.text(*arguments, **options)
        assert outcome.out == ""
        lines = [line for line in outcome.err.splitlines() if not line.endswith("runs as root")]
        assert [1, "pyctrigger: "] == [len(lines), lines[0][:12]], outcome.err
        return outcome.code, lines[0][12:]


class Stage(NamedTuple):
    """A site directory with a package and a spy."""

    site: Path
    listener: Listener


@pytest.fixture
def measure(pyctrigger: Command, tmp_path: Path) -> Measure:
    return Measure(pyctrigger, tmp_path / "temporary")


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


@pytest.fixture
def stage(site: Path, listener: Listener) -> Stage:
    write_tree(site, {**PACKAGE, "spy.py": listener.spy(*SOURCES, "colorsys")})
    return Stage(site, listener)


def everything(top: Path) -> dict[str, tuple[Any, ...]]:
    """Every entry with its whole status, but for the time of the last look, and its bytes."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        kept = tuple(
            getattr(status, name)
            for name in dir(status)
            if name.startswith("st_") and not name.startswith(("st_atime", "st_birthtime"))
        )
        found[str(path)] = (kept, path.read_bytes() if path.is_file() else None)
    return found


def own_bytecode(interpreter: Interpreter, site: Path) -> dict[str, str]:
    """The digest of each module's bytecode, as `pyctrigger run` writes it into a site directory."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pyctrigger",
        "run",
        "--python",
        interpreter.path,
        "--site-dir",
        site,
        "--stateless",
    ]
    subprocess.run(command, check=True, capture_output=True)
    found = {}
    for pyc in site.rglob("*.pyc"):
        name = pyc.relative_to(site).as_posix().replace("__pycache__/", "").split(".")[0]
        found[name.replace("/__init__", "").replace("/", ".")] = hashlib.sha256(pyc.read_bytes()).hexdigest()
    return found


def states_of(said: list[dict[str, Any]], name: str) -> list[str]:
    """Whose tree a module's bytecode was looked for in, run by run."""
    return [each["modules"][name]["state"] for each in said]


# ------------------------------------------------------------------------------------------------------- the states


@pytest.mark.few_targets
def test_each_run_has_the_bytecode_that_it_claims(measure: Measure, stage: Stage, interpreter: Interpreter) -> None:
    """Stale and absent: every source is compiled, in every run; fresh: none is, and the bytes are pyctrigger's own."""
    before = everything(stage.site)
    found = measure.json("--python", interpreter.path, "--site-dir", stage.site, "--runs", "2", "spy", "parcel")
    assert everything(stage.site) == before

    (
        survey,
        *proofs,
    ) = stage.listener.said()
    timed = proofs[2:]
    assert ["survey", "proof-fresh-0", "proof-stale"] == states_of([survey, *proofs[:2]], "parcel")
    assert [each["state"] for each in found["samples"]] == states_of(timed, "parcel")
    digests = own_bytecode(interpreter, stage.site)
    magic = bytes.fromhex(found["interpreter"]["magic_number"])
    for process in timed:
        looked = {name: process["modules"][name] for name in SOURCES}
        state = looked["parcel"]["state"]
        assert ([] if state == "fresh" else SOURCES) == process["compiled"]
        if state == "absent":
            assert not any("header" in each for each in looked.values())
        elif state == "fresh":
            assert {name: digests[name] for name in SOURCES} == {name: looked[name]["digest"] for name in SOURCES}
        else:
            foreign = ((int.from_bytes(magic[:2], "little") - 1).to_bytes(2, "little") + magic[2:]).hex()
            assert {foreign} == {each["header"][0][:8] for each in looked.values()}
            assert found["stale_magic_number"] == foreign
    assert (len(SOURCES) + 1, 0) == (found["sources"], found["left_out"])
    assert interpreter.flavour == found["flavour"]


def test_interleaved_runs_and_their_numbers(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """Each round has every state once, none is always the first, and the medians are those of the samples."""
    found = measure.json("--python", newest.path, "--site-dir", stage.site, "--runs", "6", "parcel")
    rounds = [[each["state"] for each in found["samples"] if each["round"] == number] for number in range(1, 7)]

    assert [sorted(STATES)] * 6 == [sorted(each) for each in rounds]
    for place in range(3):
        assert set(STATES) == {each[place] for each in rounds}
    for state in STATES:
        times = [each["seconds"] for each in found["samples"] if each["state"] == state]
        numbers = found["states"][state]
        assert min(times) > 0
        assert (min(times), max(times)) == (numbers["minimum_seconds"], numbers["maximum_seconds"])
        assert abs(statistics.median(times) - numbers["median_seconds"]) < 2e-6
        assert abs(numbers["median_seconds"] / found["states"]["fresh"]["median_seconds"] - numbers["ratio"]) < 1e-2


@pytest.mark.parametrize("kind", ["magic", "mtime", "hash"])
def test_each_kind_of_stale(measure: Measure, stage: Stage, newest: Interpreter, kind: str) -> None:
    """The header differs in one field; that field alone makes the target compile."""
    found = measure.json(
        "--python", newest.path, "--site-dir", stage.site, "--runs", "1", "--stale", kind, "spy", "parcel"
    )
    (stale,) = [each for each in stage.listener.said() if each["modules"]["parcel"]["state"] == "stale"]
    header = bytes.fromhex(stale["modules"]["parcel"]["header"][0])
    status = (stage.site / "parcel/__init__.py").stat()
    magic = bytes.fromhex(found["interpreter"]["magic_number"])
    number = int(status.st_mtime)

    assert stale["compiled"] == SOURCES
    assert found["stale"] == kind
    assert header == {
        "magic": bytes.fromhex(found["stale_magic_number"]) + bytes(4) + number.to_bytes(4, "little"),
        "mtime": magic + bytes(4) + (number + 1).to_bytes(4, "little"),
        "hash": magic + b"\3\0\0\0" + bytes(4),
    }[kind] + (bytes(4) if kind == "hash" else status.st_size.to_bytes(4, "little"))


def test_the_standard_library_is_fresh_unless_it_is_asked_for(
    measure: Measure, stage: Stage, newest: Interpreter
) -> None:
    """Its bytecode is in every tree; with `--stdlib` it becomes stale with the rest."""
    for option, compiled in (((), SOURCES), (("--stdlib",), [*SOURCES, "colorsys"])):
        found = measure.json("--python", newest.path, "--site-dir", stage.site, "--runs", "1", *option, "spy", "parcel")
        for process in stage.listener.said():
            state = process["modules"]["colorsys"]["state"]
            if state in ("stale", "absent"):
                assert sorted(compiled) == sorted(set(process["compiled"]) & {*SOURCES, "colorsys"})
            if state == "fresh":
                assert process["compiled"] == []
        assert found["stdlib"] is bool(option)
        assert (found["other_sources"] == 0) is bool(option)


def test_what_only_a_second_run_imports_is_fresh_as_well(measure: Measure, site: Path, newest: Interpreter) -> None:
    """Programs that keep a cache import other modules once they have it."""
    flag = "import os\nflag = os.path.expanduser('~/flag')\n"
    choice = "if os.path.exists(flag):\n    import later\nelse:\n    import once\n    open(flag, 'w').close()\n"
    listener = Listener()
    write_tree(site, {"spy.py": listener.spy("later"), "cached.py": flag + choice, "later.py": "", "once.py": ""})
    found = measure.json("--python", newest.path, "--site-dir", site, "--runs", "1", "spy", "cached")
    said = [each for each in listener.said() if each["modules"].get("later", {}).get("state") in STATES]
    listener.close()

    assert {"stale": ["cached", "later"], "absent": ["cached", "later"], "fresh": []} == {
        each["modules"]["later"]["state"]: each["compiled"] for each in said
    }
    assert found["sources"] == 3  # with the spy; `once` is never imported again


# ------------------------------------------------------------------------------------------------ where modules are


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, newest: Interpreter) -> Path:
    """A virtual environment of the newest CPython."""
    path: Path = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([newest.path, "-m", "venv", "--without-pip", path], check=True, capture_output=True)
    return path


def test_an_environment_runs_its_own_interpreter(
    measure: Measure, listener: Listener, environment: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """With its `.pth` files, and with every byte and time in it as before; bytecode that is there changes nothing."""
    (site,) = environment.glob("lib/python3*/site-packages")
    write_tree(site, {**PACKAGE, "spy.py": listener.spy(*SOURCES, "elsewhere")})
    elsewhere = write_tree(tmp_path / "elsewhere", {"elsewhere.py": ""})
    (site / "more.pth").write_text(f"{elsewhere}\n")
    own_bytecode(newest, site)
    before = everything(environment)
    found = measure.json("--prefix", environment, "--runs", "1", "spy", "parcel", "elsewhere")
    timed = listener.said()[-3:]

    assert everything(environment) == before
    assert not (elsewhere / "__pycache__").exists()
    assert str(environment / "bin/python") == found["interpreter"]["executable"]
    assert {"stale": [*SOURCES, "elsewhere"], "absent": [*SOURCES, "elsewhere"], "fresh": []} == {
        each["modules"]["elsewhere"]["state"]: each["compiled"] for each in timed
    }


def test_an_environment_of_another_flavour(measure: Measure, environment: Path) -> None:
    """What is named twice has to agree."""
    code, line = measure.refused("--prefix", environment, "--python", "pypy3.9", "json")
    assert code == 2
    reason = rf"{environment} is an environment of py3\d+t?, not of pypy3.9"
    assert re.fullmatch(rf"{reason}; use --python py3\d+t?, or leave it out", line)


def test_site_directories_count_instead_of_the_targets_own(
    measure: Measure, stage: Stage, environment: Path, tmp_path: Path
) -> None:
    """Their `.pth` files are read, and no other site's modules are in reach."""
    (own,) = environment.glob("lib/python3*/site-packages")
    elsewhere = write_tree(tmp_path / "elsewhere", {"elsewhere.py": ""})
    (stage.site / "more.pth").write_text(f"{elsewhere}\n")
    measure.json(
        "--python", environment / "bin/python", "--site-dir", stage.site, "--runs", "1", "spy", "parcel", "elsewhere"
    )
    for process in stage.listener.said():
        assert [str(stage.site), str(elsewhere)] == process["path"][-2:]
        assert str(own) not in process["path"]


def test_the_current_directory_is_no_place_for_modules(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """Nor is what variables of Python name: who measures an installation measures that alone."""
    arguments = ("--python", newest.path, "--runs", "1", "parcel")
    code, line = measure.refused(*arguments, cwd=stage.site, env={"PYTHONPATH": str(stage.site)})
    assert code == 1
    assert "it said: ModuleNotFoundError: No module named 'parcel'; " in line


def test_a_script_with_arguments(measure: Measure, stage: Stage, newest: Interpreter, tmp_path: Path) -> None:
    """It is `__main__`, its directory comes first, and it starts where the caller is."""
    script = stage.site / "program"
    script.write_text("import spy, parcel\nassert __name__ == '__main__', __name__\n")
    measure.program = [sys.executable, "-I", "-m", "pyctrigger", "measure"]  # or it would find these before its own
    for name in ("importlib", "os", "runpy", "site"):
        (tmp_path / f"{name}.py").write_text("raise Exception('from the current directory')\n")
    for site in ((), ("--site-dir", stage.site)):
        found = measure.json(
            "--python", newest.path, "--runs", "1", *site, "--script", script, "--", "--flag", "a b", cwd=tmp_path
        )
        assert (str(script), ["--flag", "a b"], []) == (found["script"], found["arguments"], found["modules"])
        for process in stage.listener.said():
            assert [str(script), "--flag", "a b"] == process["argv"]
            assert (str(tmp_path), str(stage.site)) == (process["cwd"], process["path"][0])
            if process["modules"]["parcel"]["state"] in STATES:
                assert ([] if process["modules"]["parcel"]["state"] == "fresh" else SOURCES) == process["compiled"]


# -------------------------------------------------------------------------------------------------------- isolation


def test_what_is_measured_can_change_nothing(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """Not even root's; it may write only its own home and the null device."""
    measure.json("--python", newest.path, "--site-dir", stage.site, "--runs", "1", "spy", "parcel")
    said = stage.listener.said()
    if ctypes.CDLL(None).syscall(*map(ctypes.c_long, (444, 0, 0, 1))) <= 0:
        absent("no Landlock in this kernel")
    assert len(said) == 6
    for process in said:
        assert ("PermissionError", "PermissionError") == (process["write"], process["unlink"])
        assert ("done", "done") == (process["home"], process["null"])


def test_what_it_leaves_running_is_ended(measure: Measure, site: Path, newest: Interpreter) -> None:
    """Also when it holds standard error."""
    listener = Listener()
    more = "import subprocess\nmore = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)']).pid\n"
    write_tree(site, {"spy.py": listener.spy(more=more)})
    measure.json("--python", newest.path, "--site-dir", site, "--runs", "1", "spy")
    left = [each["more"] for each in listener.said()]
    listener.close()

    assert len(left) >= 6
    assert [] == [pid for pid in left if is_alive(pid)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; its parent may not have reaped it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interruption_leaves_nothing(measure: Measure, site: Path, newest: Interpreter, number: int) -> None:
    """No process, no private file."""
    listener = Listener()
    more = "tell()\nimport time\ntime.sleep(1000)\n"
    write_tree(site, {"slow.py": listener.spy(more=more)})
    child = subprocess.Popen(
        measure.line("--python", newest.path, "--site-dir", site, "slow"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=measure.environment(),
        preexec_fn=heed_signals,  # noqa: PLW1509 - no threads here
    )
    said: list[dict[str, Any]] = []
    while not said:
        assert child.poll() is None
        time.sleep(0.01)
        said = listener.said()
    listener.close()
    child.send_signal(number)
    _, noise = child.communicate(timeout=60)

    assert child.returncode == 130
    assert b"Traceback" not in noise
    assert list(measure.temporary.iterdir()) == []
    assert not is_alive(said[0]["pid"])


def test_what_says_too_much_is_measured_all_the_same(measure: Measure, site: Path, newest: Interpreter) -> None:
    """Nothing waits for a reader, and no process keeps it open."""
    write_tree(
        site, {"loud.py": "import sys\nfor stream in (sys.stdout, sys.stderr):\n    stream.write('x' * 10**7)\n"}
    )
    outcome = measure.text("--python", newest.path, "--site-dir", site, "--runs", "1", "loud")
    assert outcome.code == 0
    assert len(outcome.out + outcome.err) < 2000


def test_a_change_from_outside_is_told(measure: Measure, site: Path, newest: Interpreter) -> None:
    """Who looks at the numbers should know that the tree was not at rest."""
    listener = Listener()
    write_tree(site, {"spy.py": listener.spy(more="import time\ntell()\ntime.sleep(0.3)\n")})
    time.sleep(0.1)  # the site directory itself is new
    child = subprocess.Popen(
        measure.line("--json", "--python", newest.path, "--site-dir", site, "--runs", "1", "spy"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=measure.environment(),
    )
    while not listener.said():
        assert child.poll() is None
        time.sleep(0.01)
    (site / "new").touch()
    said, _ = child.communicate(timeout=60)
    listener.close()

    flavour = newest.flavour
    *as_whom, told = json.loads(said)["notices"]
    assert told == f"{flavour}: changed meanwhile, by the measured program or something else: {site}"
    assert as_whom == ([f"{flavour}: the measured program runs as root"] if os.geteuid() == 0 else [])


def test_root_runs_nothing_that_others_could_change(
    as_root: None, measure: Measure, stage: Stage, newest: Interpreter
) -> None:
    """Neither a directory of theirs, nor a script; and they may."""
    script = stage.site / "program"
    script.write_text("import spy\n")
    os.chown(script, NOBODY, NOBODY)
    refusal = (77, f"root runs no modules that account {NOBODY} could change; run it as that account")
    assert refusal == measure.refused("--python", newest.path, "--script", script)
    os.chown(stage.site, NOBODY, NOBODY)
    assert refusal == measure.refused("--python", newest.path, "--site-dir", stage.site, "parcel")
    stage.site.chmod(0o777)
    code, line = measure.refused("--python", newest.path, "--site-dir", stage.site, "parcel")
    assert (77, f"others may write {stage.site}; chmod go-w {stage.site}") == (code, line.partition("root: ")[2])
    assert stage.listener.said() == []


def test_an_ordinary_account_measures_with_its_own_modules(as_root: None) -> None:
    """Also those of its user site, though the home that they see is another."""
    with public_directory() as public, contextlib.closing(Listener()) as listener:
        command = command_for(NOBODY, public / "state")
        if command is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        command.program += ["measure"]
        home = public / "home"
        version = subprocess.run(
            [command.program[0], "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        site = home / f".local/lib/python{version}/site-packages"
        write_tree(site, {**PACKAGE, "spy.py": listener.spy(*SOURCES)})
        for path in [home, *home.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        temporary = public / "temporary"
        temporary.mkdir()
        temporary.chmod(0o1777)
        child = subprocess.run(
            [*command.program, "--json", "--python", command.program[0], "--runs", "1", "spy", "parcel"],
            capture_output=True, check=False, cwd="/", user=NOBODY, group=NOBODY, extra_groups=[],
            env={"HOME": str(home), "TMPDIR": str(temporary), "PATH": os.defpath},
        )  # fmt: skip
        document = json.loads(child.stdout)
        said = listener.said()

        assert [] == document["errors"]
        assert child.returncode == 0
        assert b"as root" not in child.stderr
        assert ({NOBODY}, 6) == ({each["uid"] for each in said}, len(said))
        assert {"stale": SOURCES, "absent": SOURCES, "fresh": []} == {
            each["modules"]["parcel"]["state"]: each["compiled"] for each in said[-3:]
        }
        assert (list(temporary.iterdir()), list(site.rglob("*.pyc"))) == ([], [])


def test_pypy_can_be_the_host(measure: Measure, stage: Stage, interpreters: list[Interpreter]) -> None:
    """Its `os` has less of what waiting for a process and a barrier around it are made of."""
    hosts = [each.path for each in interpreters if each.implementation == "pypy" and each.version >= (3, 9)]
    if not hosts:
        absent("no PyPy 3.9 or later on this machine")
    specs = [importlib.util.find_spec(name) for name in ("pyctrigger", "platformdirs", "filelock", "tomli")]
    places = dict.fromkeys(str(Path(spec.origin).parent.parent) for spec in specs if spec and spec.origin)
    measure.program[0] = hosts[0]
    found = measure.json(
        *("--python", hosts[0], "--site-dir", stage.site, "--runs", "1", "spy", "parcel"),
        env={"PYTHONPATH": ":".join(places), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    timed = stage.listener.said()[-3:]

    assert "pypy" in found["flavour"]
    assert {"stale": SOURCES, "absent": SOURCES, "fresh": []} == {
        each["modules"]["parcel"]["state"]: each["compiled"] for each in timed
    }


# ----------------------------------------------------------------------------------------------------- what can't be


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere\n", "exit status 1, it said: ModuleNotFoundError: No module named 'nowhere'"),
        ("password = 'secret'; 1 / 0\n", "exit status 1, it said: ZeroDivisionError: division by zero"),
        ("import os\nos.abort()\n", "killed by SIGABRT"),
        ("raise SystemExit(3)\n", "exit status 3"),
        ("import time\ntime.sleep(1000)\n", "it did not end within 0.5 s"),
        ("import sys\nsys.stderr.write('\\x1b[31mred\\n\\n')\nsys.exit(1)\n", "exit status 1, it said: ?[31mred"),
    ],
)
def test_what_does_not_run(measure: Measure, site: Path, newest: Interpreter, text: str, reason: str) -> None:
    """One line with what it said last; no traceback, no text of a source."""
    write_tree(site, {"broken.py": text})
    patience = "0.5" if "sleep" in text else "60"
    code, line = measure.refused("--python", newest.path, "--site-dir", site, "--timeout", patience, "broken")
    mend = f"check that {newest.path} can run it, and name more directories with --site-dir"

    assert code == 1
    assert line == (
        f"{newest.flavour}: import broken with absent bytecode: {reason}; "
        f"{'raise --timeout' if 'sleep' in text else mend}"
    )


def test_one_target_that_fails_does_not_hide_the_other(
    measure: Measure, stage: Stage, interpreters: list[Interpreter]
) -> None:
    """Both are in the object, and in the text; the exit code is the failure's."""
    cpythons = [each for each in interpreters if each.implementation == "cpython"]
    older, newer = cpythons[0], cpythons[-1]
    if older is newer:
        absent("a second flavour")
    (stage.site / "picky.py").write_text(f"import sys, parcel\nassert sys.version_info[:2] != {older.version[:2]}\n")
    line: list[Argument] = [
        "--python",
        older.path,
        "--python",
        newer.path,
        "--site-dir",
        stage.site,
        "--runs",
        "1",
        "picky",
    ]
    outcome = measure.text("--json", *line)
    document = json.loads(outcome.out)

    assert (1, [newer.flavour]) == (outcome.code, [each["flavour"] for each in document["measurements"]])
    assert [1] == [each["code"] for each in document["errors"]]
    told = measure.text(*line)
    assert told.code == 1
    assert f"{newer.flavour}: import picky (" in told.out
    assert f"{older.flavour}: import picky with absent bytecode: exit status 1, it said: AssertionError" in told.err


def test_nothing_that_would_differ(measure: Measure, newest: Interpreter, site: Path) -> None:
    """Without `--stdlib` the standard library alone has no bytecode to compare."""
    code, line = measure.refused("--python", newest.path, "--site-dir", site, "colorsys")
    assert code == 1
    assert line == (
        f"{newest.flavour}: nothing to compare: no source outside of the standard library is imported; "
        "name other modules, or measure the standard library with --stdlib"
    )


def test_a_source_that_pyctrigger_leaves_alone_is_told(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """A link that leads out of its directory has no bytecode in any run."""
    goal = stage.site.parent / "goal.py"
    goal.write_text("")
    (stage.site / "linked.py").symlink_to(goal)
    found = measure.json("--python", newest.path, "--site-dir", stage.site, "--runs", "1", "spy", "parcel", "linked")
    fresh = [each for each in stage.listener.said() if each["modules"]["parcel"]["state"] == "fresh"]

    assert found["left_out"] == 1
    assert ["linked"] == fresh[-1]["compiled"]


def test_imports_that_never_settle_are_told(measure: Measure, site: Path, newest: Interpreter) -> None:
    """Each run makes a module and imports it: no run can have its bytecode."""
    make = "with open(os.path.join(directory, name + '.py'), 'w') as file:\n    pass\n__import__(name)\n"
    start = "import os, sys\nname = 'made_%d' % os.getpid()\ndirectory = os.path.expanduser('~')\n"
    write_tree(site, {"maker.py": start + "sys.path.append(directory)\n" + make})
    outcome = measure.text("--json", "--python", newest.path, "--site-dir", site, "--runs", "1", "maker")
    document = json.loads(outcome.out)

    assert (0, 1) == (outcome.code, document["measurements"][0]["sources"])
    alike = f"{newest.flavour}: other sources are imported in each run (1 in the last), so the runs aren't quite alike"
    assert alike == document["notices"][-1]


def test_an_error_is_in_the_object(measure: Measure) -> None:
    """Which has all of its parts all the same."""
    outcome = measure.text("--json", "json")
    document = json.loads(outcome.out)
    assert ("measure", 2, []) == (document["command"], document["exit_code"], document["measurements"])
    assert [(2, "measure needs --python V or --prefix DIR")] == [
        (each["code"], each["message"]) for each in document["errors"]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["json"], "measure needs --python V or --prefix DIR; name the interpreter to start"),
        (["--python", "3.11"], "nothing to measure; name the modules to import, or a script with --script FILE"),
        (
            ["--python", "3.11", "scikit-learn"],
            "scikit-learn: not a module name; name modules as an import statement does: PIL, not Pillow",
        ),
        (["--python", "3.11", "os; print(1)"], "os; print(1): not a module name; name modules as an import statement"),
        (["--python", "3.11", "--script", "/no/such"], "--script /no/such: no such file; name a Python program"),
        (["--python", "3.11", "--site-dir", "/no/such", "x"], "--site-dir /no/such: no such directory; name a"),
        (["--python", "3.11", "--site-dir", "/", "--prefix", "/", "x"], "--site-dir and --prefix contradict each"),
        (["--python", "3.11", "--python", "3.12", "--prefix", "/", "x"], "--prefix allows only one --python"),
        (["--python", "three", "x"], "--python three: not a version, name or path of a Python; use 3.11, 3.13t"),
        (
            ["--prefix", "/no/such", "x"],
            "--prefix /no/such: no such directory; name a directory that exists",
        ),
        (["--python", "3.11", "--runs", "0", "x"], "--runs: '0': use a number from 1 to 1000; see"),
        (["--python", "3.11", "--timeout", "nan", "x"], "--timeout: 'nan': use seconds, above 0"),
        (["--python", "3.11", "--stale", "old", "x"], "--stale: 'old': use magic, mtime or hash"),
    ],
)
def test_wrong_usage(measure: Measure, arguments: list[str], message: str) -> None:
    """Reported before anything runs."""
    code, line = measure.refused(*arguments)
    assert (2, message) == (code, line[: len(message)])


@pytest.mark.parametrize("subject", ["module", "package", "script"])
def test_what_is_larger_than_any_source_is_not_started(
    measure: Measure, newest: Interpreter, tmp_path: Path, subject: str
) -> None:
    """The target would read all of it before it says what is wrong with it; sparse, it costs its owner nothing."""
    path = tmp_path / {"module": "huge.py", "package": "huge/__init__.py", "script": "script.py"}[subject]
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, (64 << 20) + 1)
    what = ["--script", str(path)] if subject == "script" else ["huge"]

    code, line = measure.refused("--python", newest.path, "--site-dir", str(tmp_path), *what)

    assert (2, f"{path}: larger than 64 MiB; measure something else") == (code, line)


def test_an_interpreter_without_hashes(measure: Measure, stage: Stage, interpreters: list[Interpreter]) -> None:
    """3.6 has no bytecode that can become stale in this way."""
    oldest = interpreters[0]
    if oldest.version[:2] != (3, 6):
        absent("no CPython 3.6 on this machine")
    code, line = measure.refused("--python", oldest.path, "--site-dir", stage.site, "--stale", "hash", "parcel")
    assert (code, line) == (2, "py36 doesn't support hash-based bytecode; it is new in Python 3.7")


# ----------------------------------------------------------------------------------------------------- for a person


def test_a_chart_of_plain_characters(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """What ran, three bars on one scale, and one sentence."""
    outcome = measure.text("--python", newest.path, "--site-dir", stage.site, "--runs", "2", "parcel")
    head, scope, *bars, verdict = outcome.out.splitlines()

    assert head == f"{newest.flavour}: import parcel ({newest.path}, {newest.release})"
    assert scope == "  4 sources; 2 runs each; stale: another release's magic number"
    assert [list(STATES), True] == [
        [line.split()[0] for line in bars],
        all(
            re.fullmatch(
                r"  \w+ +\d+\.\d{3} s  \(\d+\.\d{3} to \d+\.\d{3}\) +cpu \d+\.\d{3} s +\d+\.\d\d x fresh  =+-*>?", line
            )
            for line in bars
        ),
    ]
    assert " 1.00 x fresh " in bars[2]
    assert re.fullmatch(
        r"  stale bytecode costs \d+\.\d{3} s at each start \(-?\d+\.\d{3} s of CPU time\): "
        r"it takes \d+\.\d\d times as long"
        r"|  stale bytecode costs \d+\.\d{3} s of CPU time at each start, none by the clock"
        r"|  no clear difference; more --runs, or a quieter machine, may show one",
        verdict,
    )
    assert max(map(len, bars)) <= 80


def test_an_outlier_neither_hides_the_others_nor_decides() -> None:
    """Its bar ends at the edge of the chart, and the difference is as clear as without it."""
    stale, fresh = (
        line[-1][0] for line in chart([Bar("stale", "", 4.0, 4.2, "error"), Bar("fresh", "", 2.0, 40.0, "good")])
    )
    assert re.fullmatch("=+-+", stale)
    assert re.fullmatch("=+-+>", fresh)
    assert stale.count("=") == pytest.approx(2 * fresh.count("="), abs=2)
    assert len(fresh) == pytest.approx(1.5 * stale.count("="), abs=2)

    usual, disturbed = Spread.of([4.0, 4.1, 3.9, 4.0, 4.2]), Spread.of([2.0, 2.1, 1.9, 2.0, 40.0])
    assert usual.is_beyond(disturbed)
    assert not disturbed.is_beyond(usual)
    assert not Spread.of([2.0, 3.0, 4.0]).is_beyond(Spread.of([1.5, 2.5, 3.5]))


def test_verbose_tells_every_time(measure: Measure, stage: Stage, newest: Interpreter) -> None:
    """On standard error, as they are taken."""
    outcome = measure.text("-v", "--python", newest.path, "--site-dir", stage.site, "--runs", "2", "parcel")
    told = re.findall(r"^run (\d), (\w+): \d+\.\d{3} s$", outcome.err, re.MULTILINE)
    assert sorted((number, state) for number in "12" for state in STATES) == sorted(told)


def test_progress_on_a_terminal(measure: Measure, site: Path, newest: Interpreter) -> None:
    """A bar for those who wait; it leaves the line clean, and isn't there for others."""
    write_tree(site, {"slow.py": "import time\ntime.sleep(0.5)\n"})
    for options, drawn in (((), True), (("--no-progress",), False), (("--json",), False)):
        leader, terminal = pty.openpty()
        child = subprocess.Popen(
            measure.line(*options, "--python", newest.path, "--site-dir", site, "--runs", "1", "slow"),
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            env=measure.environment(TERM="xterm", COLUMNS="100"),
        )
        os.close(terminal)
        assert drawn is (b"measuring" in heard(leader))
        assert child.wait(60) == 0


@pytest.mark.parametrize(
    ("variables", "when", "coloured"),
    [
        ({}, "auto", True),
        ({"NO_COLOR": "1"}, "auto", False),
        ({"TERM": "dumb"}, "auto", False),
        ({}, "never", False),
        ({"NO_COLOR": "1"}, "always", True),
    ],
)
def test_colours_on_a_terminal_alone(
    measure: Measure, stage: Stage, newest: Interpreter, variables: dict[str, str], when: str, coloured: bool
) -> None:
    """And not where the user doesn't want them."""
    leader, terminal = pty.openpty()
    scope: list[Argument] = ["--no-progress", "--python", newest.path, "--site-dir", stage.site, "--runs", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    child = subprocess.Popen(
        measure.line(*scope, "--color", when, "parcel"),
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**environment, **measure.environment(TERM="xterm", COLUMNS="100"), **variables},
    )
    os.close(terminal)
    said = heard(leader)

    assert child.wait(60) == 0
    assert coloured is (b"\x1b[1;31m=" in said)
    assert coloured is (b"\x1b" in said)
    assert re.sub(rb"\x1b\[[\d;]+m", b"", said).count(b"x fresh  =") == 3
