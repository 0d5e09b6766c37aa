"""The commands that people run: `nox -s tests`, `nox -s lock`. Arguments after `--` go to what a session runs."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["tests"]

CHECKOUT = Path(__file__).resolve().parent
LOCKS = Path("tests/locks")
#: Functions that kill: some changes of theirs end every process there is.
DEADLY = r"\.x__kill_all__|\.x_kill__"
MEMORY = "/dev/shm"  # noqa: S108 - only for a directory that tempfile makes in it
#: What each lock holds, beside what stands in NAME.in: an extra of pyproject.toml's, or what pyctrigger needs to run.
#: All agree with the first.
LOCKED = {
    "test": ["--extra", "test", "pyproject.toml", "tests/locks/run.in"],
    "run": ["pyproject.toml"],
    "bench": [],
    "pip": [],
    "nox": [],
    "django": [],
    "corpus": [],
    "headline": [],
    "docs": [],
    "mutants": [],
    "servers": [],
}
#: Locks for later Pythons than the host's oldest: documents are made by 3.11 or later, the corpora are for one version.
PYTHONS = {
    "mutants": ["--python-version", "3.10", "--universal"],
    "docs": ["--python-version", "3.11", "--universal", "--fork-strategy", "fewest"],
    "corpus": ["--python-version", "3.13"],
    "headline": ["--python-version", "3.13"],
}


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that is checked, as tests/all.py does it, with the locked releases."""
    session.run("python3", "tests/all.py", *session.posargs, external=True)


@nox.session
def newest(session: nox.Session) -> None:
    """Everything that is checked, with today's releases of everything."""
    session.install("--upgrade", "pip")
    session.install("--upgrade", "--upgrade-strategy", "eager", "--editable", ".[test,terminal,audit,cluster]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("pytest", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The tests, with the oldest release of each dependency that pyproject.toml allows."""
    install_in_place(session, "test")
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    ranges = [*project["dependencies"], *(each for name in extras if name != "test" for each in extras[name])]
    ranges += [each for each in extras["test"] if each.startswith("s3fs")]  # which wants fsspec's release to be its own
    session.install(*(each.replace(">=", "==") for each in ranges))
    session.run("pytest", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers and write docs/performance.md; arguments go to tests/bench/performance.py."""
    install_in_place(session, "run", "bench", "test")  # which has what a Redis and a Dask cluster are asked with
    session.run("python", "tests/bench/performance.py", "--page", "docs/performance.md", *session.posargs)


@nox.session
def earlier(session: nox.Session) -> None:
    """Measure beside an earlier commit, as root: `nox -s earlier -- COMMIT`; as tests/bench/earlier.py takes them."""
    install_locked(session, "run")
    session.run("python", "tests/bench/earlier.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Random transactions, judged after each: `nox -s soak -- --minutes 120`; arguments go to tests/soak.py."""
    install_in_place(session, "test")
    session.run("python", "tests/soak.py", *session.posargs)


@nox.session
def stdlib(session: nox.Session) -> None:
    """Compile the whole standard library of every Python at hand and of a Debian sid, tests included; needs root."""
    install_in_place(session, "test")
    session.run("python", "tests/whole_libraries.py")


@nox.session
def names(session: nox.Session) -> None:
    """Put other file names into code, for 2,500 sources of every Python at hand and of a Debian sid; needs root."""
    install_in_place(session, "test")
    session.run("python", "tests/every_name.py")


@nox.session
def namcap(session: nox.Session) -> None:
    """See whether namcap, which only Arch has, finds anything in the package for pacman that isn't argued."""
    session.run("python", "tests/namcap.py")


@nox.session
def sid(session: nox.Session) -> None:
    """The takeover with real packages in Debian's sid, as the suite has it in two releases; needs root and a mirror."""
    install_in_place(session, "test")
    real = "tests/packages/test_takeover_real.py"
    session.run("pytest", real, *session.posargs, env={"CI": "true", "PYCTRIGGER_TEST_SUITES": "sid"})


@nox.session
def release(session: nox.Session) -> None:
    """Build what is committed as a release, upgrade 0.1.0 to it and back, and install it by pip; as root, minutes."""
    install_in_place(session, "test")
    session.run("python", "tests/release.py")


@nox.session
def attacks(session: nox.Session) -> None:
    """The exchanges of tests/guarantees/trust/test_identity.py, 10,000 for each case: as root, and for some hours."""
    install_in_place(session, "test")
    counted = ["-rP", "-k", "exchange", "tests/guarantees/trust/test_identity.py"]
    session.run("pytest", *counted, *session.posargs, env={"EXCHANGES": "10000"})


@nox.session(name="every-syscall")
def every_syscall(session: nox.Session) -> None:
    """Kill a transaction at each of its system calls, and let each fail: an hour; `-- --count 500 --seed 7` draws.

    Arguments go to tests/every_syscall.py: with `--log FILE` another call goes on where this one ended.
    """
    install_in_place(session, "test")
    session.run("python", "tests/every_syscall.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Change modules of the core a little, one place at a time, and see whether the tests that mirror them notice.

    As root, with Python 3.10 or later, in a copy in memory. After `--`: modules, as `tree/writer state/quota`, each
    against `tests/unit/tree/test_writer.py`, or all in that folder where there is no such file. Without any, all of the
    core against all of tests/unit, which takes hours; `--sample 400 --seed 1` draws so many of it. What survives is
    listed after each. Changed code runs as you, and may write anywhere: use a machine, or mounts, to throw away.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", default=[""])
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(session.posargs)
    install_locked(session, "mutants", "test")
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=memory) as copy, session.chdir(copy):
        Path(copy).chmod(0o755)  # some tests are other accounts
        for name in ("src", "tests", "hooks", "pyproject.toml"):
            session.run("cp", "-R", str(CHECKOUT / name), name, external=True)
        settings = Path("pyproject.toml").read_text(encoding="utf-8")
        for module in options.modules:
            if module:
                Path("pyproject.toml").write_text(only_module(settings, module), encoding="utf-8")
            session.run("rm", "-rf", "mutants", external=True)
            source = Path("mutants/src").absolute()
            source.mkdir(parents=True)  # what isn't there when Python starts is never looked into
            changed = {"PYTHONPATH": str(source)}  # for what tests start
            if options.sample:
                session.run("mutmut", "run", "pyctrigger.state.quota.*__mutmut_1", env=changed)  # makes them all
            session.run("mutmut", "run", *drawn(options.sample, options.seed), env=changed)
            session.run("mutmut", "results")


def drawn(count: int, seed: int) -> list[str]:
    """Returns the names of so many mutants, drawn from all that were made and that don't end whoever tries them."""
    made = [json.loads(path.read_text(encoding="utf-8")) for path in Path("mutants").rglob("*.meta")]
    names = sorted(name for each in made for name in each["exit_code_by_key"] if not re.search(DEADLY, name))
    return random.Random(seed).sample(names, count)  # noqa: S311 - nothing secret


def only_module(settings: str, module: str) -> str:
    """Returns pyproject.toml with mutants of one module alone, and only the tests that mirror it."""
    mirror = CHECKOUT / "tests/unit" / Path(module).parent / f"test_{Path(module).name}.py"
    tests = (mirror if mirror.exists() else mirror.parent).relative_to(CHECKOUT)
    for key, value in (("only_mutate", f"src/pyctrigger/{module}.py"), ("pytest_add_cli_args_test_selection", tests)):
        settings = re.sub(rf"(?ms)^{key} = \[.*?\]$", f'{key} = ["{value}"]', settings)
    return settings


@nox.session
def completion(session: nox.Session) -> None:
    """Write src/pyctrigger/completions from the parser, after a verb or an option changed."""
    install_locked(session, "test")
    session.run("python", "-m", "builder.completion", env={"PYTHONPATH": "ports:src"})


@nox.session
def docs(session: nox.Session) -> None:
    """Make docs/reference, docs/man and the site, in build/site; `nox -s docs -- --links` looks at outside links."""
    session.run("python3", "docs/build", *session.posargs, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Write tests/locks/*.txt with today's releases and their hashes.

    After `--`: `--upgrade-package NAME` for one of them, `--keep` to add only what is missing.
    """
    install_locked(session, "nox")
    wanted = [each for each in session.posargs if each != "--keep"] if session.posargs else ["--upgrade"]
    common = ["--quiet", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate"]
    for name, sources in LOCKED.items():
        own = LOCKS / f"{name}.in"
        inputs = [*sources, *([str(own)] if own.exists() else [])]
        agreed = [] if name in ("test", "corpus", "headline", "django") else ["--constraints", str(LOCKS / "test.txt")]
        pythons = PYTHONS.get(name, ["--python-version", "3.9", "--universal"])
        output = ["--custom-compile-command", "nox -s lock", "--output-file", str(LOCKS / f"{name}.txt")]
        session.run("uv", "pip", "compile", *common, *wanted, *pythons, *agreed, *inputs, *output)


def install_locked(session: nox.Session, *names: str) -> None:
    """Install what locks name, and nothing else."""
    for name in names:
        session.install("--require-hashes", "--no-deps", "--requirement", str(LOCKS / f"{name}.txt"))


def install_in_place(session: nox.Session, *names: str) -> None:
    """The same, and this checkout."""
    install_locked(session, *names)
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
