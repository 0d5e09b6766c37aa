"""One transaction from end to end, on a real package in a scratch directory: `python3 tests/tour.py`.

Django is installed without bytecode, compiled, half of it deleted and swept, verified, and imported without a write.
Each step shows the command that an operator would type, and its output; then the tour looks at the disk itself and says
what it saw. Needs Python 3.9 or later, a network, and no root. Exits 1 if a step isn't as promised.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from environment import CHECKOUT, Environment, EnvironmentTrouble, child_environment, prepare
from pinned import locked
from system_manager import next_step

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_SECONDS = 900

# Runs in the target. Its own importer reads every pyc as `import` would, and must find nothing to compile; then real
# modules are imported, from bytecode that lies where the target looks for it.
PROOF = """
import importlib, importlib.machinery, os, sys
site, modules = sys.argv[1], sys.argv[2:]
compiled = []
class Importer(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data, path, *more, **options):
        compiled.append(path)
        return super().source_to_code(data, path, *more, **options)
sources = [os.path.join(top, name) for top, _, names in os.walk(site) for name in names if name.endswith(".py")]
for source in sources:
    Importer("module", source).get_code("module")
print("%d sources: the importer took %d pycs as they are and compiled %d sources"
      % (len(sources), len(sources) - len(compiled), len(compiled)))
for source in compiled[:10]:
    print("  compiled:", source)
sys.path.insert(0, site)
for name in modules:
    cached = importlib.import_module(name).__spec__.cached
    print("import %-20s from %s" % (name, os.path.relpath(cached, site)))
    if not cached.startswith(site) or not os.path.isfile(cached):
        compiled.append(name)
sys.exit(1 if compiled else 0)
"""
PROOF_MODULES = ("django", "django.utils.text", "django.core.signing", "asgiref.sync", "sqlparse")


class BrokenPromise(Exception):
    """A step that didn't do what this tour says it does."""


@dataclass(frozen=True)
class Stage:
    """Where the tour plays, and with which interpreters."""

    environment: Environment
    target: str
    """The interpreter that is compiled for: the one that started the tour, outside of any environment."""
    scratch: Path

    @property
    def site(self) -> Path:
        """The scratch site directory."""
        return self.scratch / "site"

    def pyctrigger(self, verb: str, *arguments: str) -> list[str]:
        """A pyctrigger command that looks at the scratch site directory and nothing else."""
        scope = ["--python", self.target, "--site-dir", str(self.site), "--state-dir", str(self.scratch / "state")]
        return [str(self.environment.program("pyctrigger")), verb, *scope, *arguments]


@dataclass(frozen=True)
class Tree:
    """What a directory holds, counted without pyctrigger."""

    sources: frozenset[Path]
    pycs: frozenset[Path]

    @classmethod
    def of(cls, site: Path) -> Tree:
        """Look at the disk."""
        return cls(frozenset(site.rglob("*.py")), frozenset(site.rglob("__pycache__/*.pyc")))

    @property
    def orphans(self) -> list[Path]:
        """The pycs whose source is gone."""
        return sorted(pyc for pyc in self.pycs if _source_of(pyc) not in self.sources)

    @property
    def uncompiled(self) -> list[Path]:
        """The sources without a pyc."""
        return sorted(self.sources - {_source_of(pyc) for pyc in self.pycs})

    def __str__(self) -> str:
        return f"{len(self.sources)} sources, {len(self.pycs)} pycs, {len(self.orphans)} of them orphans"


def _source_of(pyc: Path) -> Path:
    """The source beside the `__pycache__` (PEP 3147, PEP 488): the name up to the cache tag."""
    return pyc.parent.parent / (pyc.name[: -len(".pyc")].split(f".{sys.implementation.cache_tag}")[0] + ".py")


# --------------------------------------------------------------------------------------------------------------- steps


def install_package(stage: Stage) -> None:
    """A real package arrives, as a package manager would lay it down: sources only."""
    step("A package arrives without bytecode")
    pip = [str(stage.environment.python), "-m", "pip", "install", "--quiet", "--no-compile"]
    if show([*pip, "--target", str(stage.site), *locked("django")]):
        raise BrokenPromise("Django can't be had. Is there a network? PIP_INDEX_URL may name another index.")
    tree = Tree.of(stage.site)
    see(tree)
    promise(len(tree.sources) > 0 and not tree.pycs, "sources are there, and no pycs")


def compile_everything(stage: Stage) -> None:
    """The transaction's end: everything is compiled."""
    step("The transaction is compiled")
    promise_exit(0, show(stage.pyctrigger("run", "--event", "install", str(stage.site))))
    tree = Tree.of(stage.site)
    see(tree)
    promise(not tree.uncompiled, f"every source has its pyc; without one: {_some(tree.uncompiled)}")


def run_idle(stage: Stage) -> None:
    """The same again: nothing is written."""
    step("Once more: nothing to do, nothing written")
    before = snapshot(stage.site)
    promise_exit(0, show(stage.pyctrigger("run", str(stage.site))))
    promise_untouched(before, stage.site)


def delete_half(stage: Stage) -> Path:
    """Half of the package is removed as package managers do it; the touched directories, one a line, in a file."""
    step("Half of it is deleted, and its bytecode stays behind")
    before = len(Tree.of(stage.site).sources)
    removed = half_of(stage.site)
    remove_like_a_package_manager(removed, stage.site)
    touched = stage.scratch / "touched"
    directories = sorted({str(path.parent) for path in removed})
    touched.write_text("".join(f"{directory}\n" for directory in directories), encoding="utf-8")
    tree = Tree.of(stage.site)
    see(
        f"{before - len(tree.sources)} of {before} sources deleted; {len(directories)} touched directories in {touched}"
    )
    see(tree)
    promise(len(tree.orphans) == before - len(tree.sources), "each deleted source leaves one orphan")
    return touched


def sweep_orphans(stage: Stage, touched: Path) -> None:
    """The removing transaction's end: orphans go, and the directories that this empties."""
    step("The orphans are swept")
    promise_exit(0, show(stage.pyctrigger("run", "--event", "remove", "--paths-from", str(touched))))
    tree = Tree.of(stage.site)
    see(tree)
    promise(not tree.orphans, f"no orphan is left: {_some(tree.orphans)}")
    promise(not tree.uncompiled, f"no pyc of a living source was taken: {_some(tree.uncompiled)}")
    hollow = [path for path in stage.site.rglob("*") if path.is_dir() and not any(path.iterdir())]
    promise(not hollow, f"no emptied directory is left: {_some(hollow)}")
    promise(not (stage.site / "django" / "contrib").exists(), "a package that went is no longer importable")


def verify_tree(stage: Stage) -> None:
    """A second opinion of pyctrigger's own, read only."""
    step("Verified: no findings")
    promise_exit(0, show(stage.pyctrigger("verify", str(stage.site))))


def import_without_writing(stage: Stage) -> None:
    """The target's own word: it takes every pyc, and importing writes nothing."""
    step("The target itself: it takes every pyc, and importing writes nothing")
    before = snapshot(stage.site)
    proof = stage.scratch / "proof.py"
    proof.write_text(PROOF, encoding="utf-8")
    promise_exit(0, show([stage.target, "-I", "-S", str(proof), str(stage.site), *PROOF_MODULES]))
    promise_untouched(before, stage.site)


# ------------------------------------------------------------------------------------------------------------ deletion


def half_of(site: Path) -> list[Path]:
    """About half of the files: whole packages, a few of many alike, and every second module of one."""
    package = site / "django"
    languages = sorted(path.parent for path in (package / "conf" / "locale").glob("*/formats.py"))
    whole = [package / "contrib", package / "db", *languages[::8]]
    files = [path for directory in whole for path in directory.rglob("*")]
    files += sorted((package / "views").rglob("*.py"))[::2]
    return [path for path in files if path.is_file() and path.parent.name != "__pycache__"]


def remove_like_a_package_manager(files: Sequence[Path], site: Path) -> None:
    """Remove files, then the directories that this emptied: one with a `__pycache__`, unknown to the manager, stays."""
    for path in files:
        path.unlink()
    for directory in sorted(
        {parent for path in files for parent in path.parents if site in parent.parents}, reverse=True
    ):
        if not any(directory.iterdir()):
            directory.rmdir()


def snapshot(site: Path) -> dict[str, tuple[int, int, int, int]]:
    """What shows whether anything below `site` was written: i-node, size and times of every file and directory."""
    entries = [site, *site.rglob("*")]
    found = {str(path): path.lstat() for path in entries}
    return {path: (entry.st_ino, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns) for path, entry in found.items()}


# ------------------------------------------------------------------------------------------------------ what is shown


def step(title: str) -> None:
    """The title of a step."""
    print(f"\n== {title}", flush=True)


def show(command: Sequence[str]) -> int:
    """Print a command as it would be typed, run it with its output as it comes, and give its exit code."""
    print(f"$ {shlex.join(command)}", flush=True)
    child = subprocess.run(
        command, stdin=subprocess.DEVNULL, env=child_environment(), check=False, timeout=COMMAND_SECONDS
    )
    return child.returncode


def see(what: object) -> None:
    """What the tour itself saw on the disk."""
    print(f"  seen: {what}", flush=True)


def promise(kept: bool, what: str) -> None:
    """Stop unless a promise is kept."""
    if not kept:
        raise BrokenPromise(what)


def promise_exit(expected: int, code: int) -> None:
    """Stop unless a command ended as promised."""
    promise(code == expected, f"the command ended with {code}, not with {expected}")


def promise_untouched(before: dict[str, tuple[int, int, int, int]], site: Path) -> None:
    """Stop if anything below `site` was written since."""
    after = snapshot(site)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    promise(not changed, f"something was written: {_some(changed)}")
    see(f"{len(after)} files and directories, none written")


def _some(paths: Sequence[object]) -> str:
    return ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


# ---------------------------------------------------------------------------------------------------------------- tour


def tour(stage: Stage) -> None:
    """Every step in turn. Raises `BrokenPromise`."""
    install_package(stage)
    compile_everything(stage)
    run_idle(stage)
    touched = delete_half(stage)
    sweep_orphans(stage, touched)
    verify_tree(stage)
    import_without_writing(stage)


def main() -> int:
    """Set up, tour, and say how to go on."""
    parser = argparse.ArgumentParser(description="Show pyctrigger at work on a real package in a scratch directory.")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory behind")
    arguments = parser.parse_args()
    # Seen through every link: /tmp is one on some systems, and the target names files as they really are.
    scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix="pyctrigger-tour-")))
    try:
        step(f"Setting up in {CHECKOUT} and {scratch}")
        environment = prepare(say=lambda line: print(f"  {line}", flush=True))
        tour(Stage(environment, os.path.realpath(sys.executable), scratch))
    except (BrokenPromise, EnvironmentTrouble, subprocess.TimeoutExpired) as trouble:
        print(f"\nNot as promised: {trouble}", file=sys.stderr, flush=True)
        return 1
    finally:
        if not arguments.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n== All as promised. Next\n{next_step(environment.program('pyctrigger'))}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
