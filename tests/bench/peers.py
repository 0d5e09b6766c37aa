"""What pyctrigger is measured beside, and the tree that all of them work on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, NamedTuple

from pinned import LOCKS, locked
from timing import Sample, timed

CHECKOUT = Path(__file__).resolve().parent.parent.parent
#: The trees, by the lock that each is installed from.
CORPORA = {"large": "corpus", "headline": "headline"}
#: Of the bare loop, of uv, and of ours beside them.
WORKERS = 2

#: One of two that are compared: runs, and returns what that took.
Side = Callable[[], Sample]

#: Reads, compiles, marshals and writes in two processes, and nothing else: what no compiler of bytecode can be below.
BARE_LOOP = r"""
import marshal, os, struct, sys, warnings
from importlib.util import MAGIC_NUMBER, cache_from_source
warnings.simplefilter("ignore")
def work(sources):
    for path in sources:
        with open(path, "rb") as source:
            data, status = source.read(), os.fstat(source.fileno())
        try:
            body = marshal.dumps(compile(data, path, "exec", dont_inherit=True, optimize=0))
        except (SyntaxError, ValueError):
            continue
        pyc = cache_from_source(path)
        os.makedirs(os.path.dirname(pyc), exist_ok=True)
        with open(pyc, "wb") as file:
            file.write(MAGIC_NUMBER + struct.pack("<III", 0, int(status.st_mtime), status.st_size) + body)
found = []
for directory, _, names in os.walk(sys.argv[1]):
    found += [os.path.join(directory, name) for name in names if name.endswith(".py")]
found.sort(key=os.path.getsize, reverse=True)
child = os.fork()
work(found[bool(child)::2])
if not child:
    os._exit(0)
os.wait()
"""


class Bench(NamedTuple):
    """Where everything is."""

    scratch: Path
    target: str
    """The interpreter that compiles."""
    tree: Path
    """Its site directory, with the corpus in it."""
    application: Path
    """pyctrigger as a package installs it."""
    uv: Path
    lock: Path = Path()
    """What is installed in the tree."""

    def ours(self, verb: str, *arguments: str, state: str = "state") -> list[str]:
        """The command line of pyctrigger, as its launcher starts it."""
        python = os.path.realpath(sys.executable)
        scope = ["--site-dir", str(self.tree), "--state-dir", str(self.scratch / state)]
        line = [python, "-I", "-S", "-B", str(self.application / "__main__.py"), verb, "-q", "--no-progress"]
        return [*line, "--python", self.target, *scope, *arguments]

    def compileall(self, *arguments: str) -> list[str]:
        """The command line of the standard library's tool."""
        return [self.target, "-W", "ignore", "-m", "compileall", "-q", *arguments, str(self.tree)]


def prepare(scratch: Path, target: str) -> Bench:
    """uv, and pyctrigger laid out as in a package; no tree yet."""
    subprocess.run([sys.executable, "-m", "venv", scratch / "tools"], check=True)
    pip = [str(scratch / "tools/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *locked("bench")], check=True)
    application = scratch / "stage/usr/lib/pyctrigger"
    stage = [sys.executable, str(CHECKOUT / "ports/build"), "--stage", "deb", str(scratch / "stage")]
    subprocess.run(stage, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-I", "-S", "-B", application, "--own-bytecode"], check=True)
    return Bench(scratch, target, Path(), application, scratch / "tools/bin/uv")


def lay_out(bench: Bench, corpus: str) -> Bench:
    """The same with an environment of the target that holds this corpus, and no bytecode."""
    environment = bench.scratch / corpus
    subprocess.run([bench.target, "-m", "venv", "--without-pip", environment], check=True)
    (tree,) = (environment / "lib").glob("python3.*/site-packages")
    lock = LOCKS / f"{CORPORA[corpus]}.txt"
    bench = bench._replace(target=str(environment / "bin/python"), tree=tree, lock=lock)
    subprocess.run([*_sync(bench), "--quiet"], env=_uv_environment(bench), check=True)
    remove_bytecode(tree)
    return bench


def _sync(bench: Bench) -> list[str]:
    command = [str(bench.uv), "pip", "sync", "--require-hashes", "--no-config"]
    return [*command, "--python", bench.target, str(bench.lock)]


def _uv_environment(bench: Bench) -> dict[str, str]:
    """uv takes pip's index, and keeps its own cache here, on the same file system."""
    index = subprocess.run(
        [str(bench.scratch / "tools/bin/python"), "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL", index)
    wanted = {"UV_CACHE_DIR": str(bench.scratch / "uv"), "UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1"}
    wanted["UV_CONCURRENT_INSTALLS"] = str(WORKERS)  # those that compile, too
    return {**os.environ, **wanted, **({"UV_DEFAULT_INDEX": index} if index else {})}


def uv_seconds(bench: Bench) -> float:
    """Let uv compile the tree, in which nothing is to be installed; the seconds that it says its bytecode took."""
    remove_bytecode(bench.tree)
    command = [*_sync(bench), "--compile-bytecode"]
    child = subprocess.run(command, env=_uv_environment(bench), capture_output=True, text=True, check=True)
    found = re.search(r"Bytecode compiled \d+ files in (?:([\d.]+)m )?([\d.]+)(ms|s)", child.stderr)
    if found is None:
        raise RuntimeError(f"uv says nothing about its bytecode: {child.stderr[-300:]}")
    minutes, number, unit = found.groups()
    return 60 * float(minutes or 0) + float(number) / (1000 if unit == "ms" else 1)


def install_again(bench: Bench, *options: str) -> Sample:
    """Let uv install everything once more, as in an environment that is made again."""
    return timed([*_sync(bench), "--reinstall", "--offline", *options], _uv_environment(bench))


def remove_bytecode(tree: Path) -> None:
    """Take every `__pycache__` away."""
    for directory, names, _ in os.walk(tree):
        if "__pycache__" in names:
            shutil.rmtree(os.path.join(directory, "__pycache__"))


def clean(bench: Bench, command: list[str]) -> Side:
    """A run of this command in a tree that is new: without bytecode, and without records of any."""
    states = [Path(place) for option, place in zip(command, command[1:]) if option == "--state-dir"]

    def run() -> Sample:
        remove_bytecode(bench.tree)
        for record in (each for state in states for each in state.glob("*/manifest.sqlite*")):
            record.unlink()
        return timed(command)

    return run


def sources(tree: Path) -> list[Path]:
    """Every source, sorted."""
    return sorted(path for path in tree.rglob("*.py") if path.is_file())
