"""Options that say where: each bounds all others, for every verb, on a system that is laid out to be damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from test_staged_root import library_name

from installations import make_prefix
from interpreters import tag_of
from packages import write_tree
from pyctrigger.cli.call import parse
from pyctrigger.cli.commands import find_verb
from pyctrigger.errors import PyctriggerError
from pyctrigger.interpreter.probe import probe
from pyctrigger.outcome.observer import Observer
from pyctrigger.state.locations import lock_directory

if TYPE_CHECKING:
    from interpreters import Interpreter
    from pyctrigger.outcome.report import Report

LOOKING = ("verify", "status", "explain", "which")
WRITING = ("sweep", "run", "repair", "purge")
#: For `explain` and `which` a path outside of the scope is no error, but an answer.
PLACING = ("verify", "status", *WRITING)
#: What was asked for is not there, or contradicts itself.
REFUSED: tuple[str, ...] = ()


class System(NamedTuple):
    """The directories of one system, and its interpreters."""

    #: A whole installation, whose standard library others borrow; its executable.
    python: Path
    top: Path
    tag: str
    library: str
    """The name of the directory of modules: `python3.13`."""
    state: Path

    @property
    def words(self) -> dict[str, str]:
        """Its placeholder in the table."""
        return {
            "python": str(self.python),
            "library": self.library,
            "lib": f"lib/{self.library}",
            "packages": f"lib/{self.library}/site-packages",
            "tag": self.tag,
            "top": str(self.top),
            "borrower": f"{self.top}/borrower",
            "whole": f"{self.top}/whole",
            "root": f"{self.top}/root",
            "bare": f"{self.top}/bare",
            "linked": f"{self.top}/linked",
            "site": f"{self.top}/site",
            "cache": f"{self.top}/cache",
        }


def seed(directory: Path, tag: str) -> None:
    """A package with every reason to act: a source without bytecode, a stale pyc, an orphan, two flavours' each."""
    pycache = directory / "package/__pycache__"
    pycs = {f"{pycache}/{stem}.{each}.pyc": "damaged" for stem in ("stale", "gone") for each in (tag, "cpython-30")}
    write_tree(directory, {"package/__init__.py": "", "package/stale.py": "x = 1\n", **pycs})


def seed_cache(cache: Path, directory: Path, tag: str) -> None:
    """The same in the tree of a pycache prefix, where the orphans of `directory` have no `__pycache__`."""
    below = cache / str(directory).lstrip("/")
    write_tree(below, {f"package/{stem}.{each}.pyc": "" for stem in ("gone", "stale") for each in (tag, "cpython-30")})


def seed_library(library: Path, tag: str) -> None:
    """A standard library, as far as it is recognised by one, and its packages."""
    write_tree(library, {"os.py": "", "encodings/__init__.py": "", "importlib/_bootstrap_external.py": ""})
    seed(library, tag)
    seed(library / "site-packages", tag)


@pytest.fixture(scope="module")
def python(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executable of an installation with a standard library, whose own bytecode is not to be touched either."""
    directory: Path = tmp_path_factory.mktemp("installation")
    library = make_prefix(newest, directory)
    for place in (library, library / "site-packages"):
        seed(place, tag_of(newest))
    return directory / "bin" / library.name


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is remembered what that executable is; a process for each question would cost more than all else."""
    directory: Path = tmp_path_factory.mktemp("state")
    return directory


@pytest.fixture
def system(python: Path, state: Path, newest: Interpreter, tmp_path: Path) -> System:
    """An environment that borrows its library and one that has its own, the same in a staged root, and more places."""
    top, tag, library = tmp_path / "system", tag_of(newest), library_name(newest)
    for base in (top, top / "root/opt"):
        seed(base / f"borrower/lib/{library}/site-packages", tag)
        write_tree(base / "borrower", {"pyvenv.cfg": f"home = {python.parent}\n"})
        seed_library(base / f"whole/lib/{library}", tag)
        seed(base / "whole/extra", tag)
    (top / "borrower/bin").mkdir()
    (top / "borrower/bin/python").symlink_to(python)
    seed_library(top / f"root/usr/lib/{library}", tag)
    seed_library(top / "root/usr/lib/python3.0", "cpython-30")
    for place in ("root/usr/lib/python3/dist-packages", "root/srv/code", "bare/usr/lib/python3/dist-packages", "site"):
        seed(top / place, tag)
    magic = top / f"root/usr/lib/{library}/importlib/_bootstrap_external.py"
    number = int.from_bytes(probe(str(python)).interpreter.magic_number[:2], "little")
    magic.write_text(f"MAGIC_NUMBER = ({number}).to_bytes(2, 'little') + b'\\r\\n'\n")
    seed(top / "elsewhere", tag)
    (top / f"linked/lib/{library}").mkdir(parents=True)
    (top / f"linked/lib/{library}/site-packages").symlink_to(top / "elsewhere")
    whole = [f"whole/lib/{library}", f"whole/lib/{library}/site-packages"]
    for place in ("site", "elsewhere", f"borrower/lib/{library}/site-packages", *whole):
        seed_cache(top / "cache", top / place, tag)
    for place in (f"/usr/lib/{library}", "/srv/code", "/usr/lib/python3.0"):
        seed_cache(top / "root/var/cache", Path(place), tag)
    return System(python, top, tag, library, state)


class Case(NamedTuple):
    """Options, and the directories that they mean: in all others no verb does anything."""

    options: str
    meant: tuple[str, ...]
    """With `!`, but not this one inside; none at all: exit 2."""
    path: str = "{meant}/package/stale.py"
    """What is asked about, as the target sees it."""
    said: str = ""
    """Of the reason for exit 2."""
    verbs: tuple[str, ...] = (*LOOKING, *WRITING)


_LIES = "no standard library of {flavour}; it is in {home}"
_PYTHON = "--python {python} "
_BORROWED = "/opt/borrower/{packages}/package/stale.py"
_WHOLE = "/opt/whole/{lib}/package/stale.py"
#: Every pair of the options that say where, and every one of these with `--stdlib`.
CASES = [
    # an environment
    Case(_PYTHON + "--prefix {borrower}", ("{borrower}/{packages}",)),
    Case(_PYTHON + "--prefix {borrower} --stdlib", REFUSED, said="{borrower} has " + _LIES),
    Case(_PYTHON + "--prefix {whole}", ("{whole}/{packages}",)),
    Case(_PYTHON + "--prefix {whole} --stdlib", ("{whole}/{lib}", "{whole}/{packages}")),
    Case(_PYTHON + "--prefix {linked}", REFUSED, said="is a link to a directory outside of "),
    Case(_PYTHON + "--prefix {whole} --site-dir {whole}/extra", ("{whole}/extra",)),
    Case(
        _PYTHON + "--prefix {whole} --site-dir {whole}/extra --stdlib",
        ("{whole}/extra", "{whole}/{lib}", "!{whole}/{packages}"),
    ),
    Case(_PYTHON + "--prefix {borrower} --site-dir {site}", REFUSED, said="{site}: outside of --prefix {borrower}"),
    Case(_PYTHON + "--prefix {borrower} --site-dir {site} --stdlib", REFUSED, said="outside of --prefix"),
    Case(_PYTHON + "--prefix {borrower} {borrower}/{packages}/package", ("{borrower}/{packages}",), verbs=PLACING),
    Case(_PYTHON + "--prefix {borrower} {site}/package", REFUSED, said="{site}/package", verbs=PLACING),
    Case(_PYTHON + "--prefix {borrower} --stdlib {borrower}/{packages}/package", REFUSED, said=_LIES),
    Case(
        _PYTHON + "--prefix {whole} --stdlib {whole}/{lib}/package",
        ("{whole}/{lib}", "!{whole}/{packages}"),
        verbs=PLACING,
    ),
    # the environment's own interpreter
    Case("--prefix {borrower}", ("{borrower}/{packages}",), verbs=(*LOOKING, "sweep", "run", "repair")),
    Case("--prefix {borrower} --stdlib", REFUSED, said="{borrower} has " + _LIES, verbs=(*LOOKING, "sweep", "run")),
    Case("--python {borrower}/bin/python", ("{borrower}/{packages}",)),
    Case("--python {borrower}/bin/python --stdlib", REFUSED, said="{borrower} has " + _LIES),
    Case("--python {borrower}/bin/python --prefix {whole}", ("{whole}/{packages}",)),
    Case("--python {borrower}/bin/python --prefix {whole} --stdlib", ("{whole}/{lib}", "{whole}/{packages}")),
    Case("--python {borrower}/bin/python --site-dir {site}", ("{site}",)),
    Case("--python {borrower}/bin/python --site-dir {site} --stdlib", REFUSED, said="{borrower} has " + _LIES),
    Case("--python {borrower}/bin/python --root {root}", ("{root}/usr/lib",), "/usr/{packages}/package/stale.py"),
    Case("--python {borrower}/bin/python {site}/package", REFUSED, said="{site}/package", verbs=PLACING),
    # a directory
    Case(_PYTHON + "--site-dir {site}", ("{site}",)),
    Case(_PYTHON + "--site-dir {site} {site}/package", ("{site}",), verbs=PLACING),
    Case(
        _PYTHON + "--site-dir {site} {borrower}/{packages}/package",
        REFUSED,
        said="{borrower}/{packages}/package",
        verbs=PLACING,
    ),
    # bytecode elsewhere
    Case(
        _PYTHON + "--pycache-prefix {cache} --prefix {borrower}",
        ("{cache}{borrower}/{packages}",),
        "{borrower}/{packages}/package/stale.py",
    ),
    Case(_PYTHON + "--pycache-prefix {cache} --prefix {borrower} --stdlib", REFUSED, said=_LIES),
    Case(
        _PYTHON + "--pycache-prefix {cache} --prefix {whole} --stdlib",
        ("{cache}{whole}/{lib}", "{cache}{whole}/{packages}"),
        "{whole}/{lib}/package/stale.py",
    ),
    Case(_PYTHON + "--pycache-prefix {cache} --site-dir {site}", ("{cache}{site}",), "{site}/package/stale.py"),
    Case(
        "--python {borrower}/bin/python --pycache-prefix {cache}",
        ("{cache}{borrower}/{packages}",),
        "{borrower}/{packages}/package/stale.py",
    ),
    Case(
        _PYTHON + "--pycache-prefix {cache} --site-dir {site} {site}/package",
        ("{cache}{site}",),
        "{site}/package/stale.py",
        verbs=PLACING,
    ),
    # a staged root
    Case(
        _PYTHON + "--root {root}", ("{root}/usr/lib", "!{root}/usr/{lib}/package"), "/usr/{packages}/package/stale.py"
    ),
    Case(_PYTHON + "--root {root} --stdlib", ("{root}/usr/lib",), "/usr/{lib}/package/stale.py"),
    Case(_PYTHON + "--root {bare} --stdlib", REFUSED, said="{bare} has " + _LIES),
    Case(
        _PYTHON + "--root {root} --prefix /opt/borrower",
        ("{root}/opt/borrower/{packages}",),
        "/opt/borrower/{packages}/package/stale.py",
    ),
    Case(_PYTHON + "--root {root} --prefix /opt/borrower --stdlib", REFUSED, said=_LIES),
    Case(
        _PYTHON + "--root {root} --prefix /opt/whole --stdlib",
        ("{root}/opt/whole/{lib}",),
        "/opt/whole/{lib}/package/stale.py",
    ),
    Case(_PYTHON + "--root {root} --prefix {borrower}", REFUSED, said="{borrower}: no such directory in {root}"),
    Case(_PYTHON + "--root {root} --site-dir /srv/code", ("{root}/srv/code",), "/srv/code/package/stale.py"),
    Case(
        _PYTHON + "--root {root} --site-dir /srv/code --stdlib",
        ("{root}/srv/code", "{root}/usr/{lib}", "!{root}/usr/{packages}"),
        "/srv/code/package/stale.py",
    ),
    Case(_PYTHON + "--root {root} --site-dir {site}", REFUSED, said="{site}: no such directory in {root}"),
    Case(_PYTHON + "--root {root} --prefix /opt/borrower --site-dir /srv/code", REFUSED, said="outside of --prefix"),
    Case(
        _PYTHON + "--root {root} --pycache-prefix /var/cache --stdlib",
        ("{root}/var/cache/usr/lib",),
        "/usr/{lib}/package/stale.py",
    ),
    Case(
        _PYTHON + "--root {root} --pycache-prefix /var/cache --site-dir /srv/code",
        ("{root}/var/cache/srv/code",),
        "/srv/code/package/stale.py",
    ),
    Case(_PYTHON + "--root {root} --pycache-prefix {cache}", REFUSED, said="{cache}: no such directory in {root}"),
    Case(
        _PYTHON + "--root {root} /usr/{packages}/package",
        ("{root}/usr/lib",),
        "/usr/{packages}/package/stale.py",
        verbs=PLACING,
    ),
    Case(_PYTHON + "--root {root} /srv/code/package", REFUSED, said="/srv/code/package", verbs=PLACING),
    # an interpreter that may be gone
    Case("--cache-tag {tag} --prefix {borrower}", ("{borrower}/{packages}",), verbs=("purge",)),
    Case(
        "--cache-tag {tag} --prefix {borrower} --stdlib", REFUSED, said="{borrower} has no standard", verbs=("purge",)
    ),
    Case("--cache-tag {tag} --root {root}", ("{root}/usr/lib",), verbs=("purge",)),
    Case("--cache-tag {tag} --root {bare} --stdlib", REFUSED, said="{bare} has no standard", verbs=("purge",)),
    Case("--cache-tag {tag} --site-dir {site}", ("{site}",), verbs=("purge",)),
    Case("--cache-tag cpython-30 --root {root} --stdlib", ("{root}/usr/lib",), verbs=("purge",)),
    Case("--all --prefix {borrower} --stdlib", REFUSED, said="{borrower} has " + _LIES, verbs=("purge",)),
]


def act(system: System, verb: str, options: list[str]) -> tuple[int, str, Report | None]:
    """Do it in this process: exit code, what was said of errors, and the report."""
    answers = ["--yes", "--quiet"] if verb == "purge" else []
    call = parse([verb, *answers, "--state-dir", str(system.state), *options])
    try:
        report = find_verb(verb).perform(call, Observer())
    except PyctriggerError as error:
        return error.exit_code, str(error), None
    return report.exit_code, "; ".join(map(str, report.errors)), report


def everything(system: System) -> dict[str, tuple[object, ...]]:
    """Every file and directory of the system and of the installation: what a write would change, and pycs' bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for top in (system.top, system.python.parent.parent):
        for directory, directories, names in os.walk(top):
            for path in [os.path.join(directory, name) for name in [*directories, *names]]:
                status = os.lstat(path)
                data = Path(path).read_bytes() if path.endswith(".pyc") else None
                found[path] = (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size, data)
    return found


def lies_in(path: str, places: list[str]) -> bool:
    """Whether a path is one of the expected places, or below one."""
    holding = [place for place in places if f"{path}/".startswith(f"{place.lstrip('!')}/")]
    return bool(holding) and not max(holding, key=lambda place: len(place.lstrip("!"))).startswith("!")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.options.replace(_PYTHON, ""))
def test_no_verb_reaches_out_of_what_was_named(system: System, case: Case, newest: Interpreter) -> None:
    """Nothing else is written, removed or counted; and there the verbs do what they are for."""
    home = next(path for path in (system.python.parent.parent / "lib").iterdir() if path.name == system.library)
    words = {**system.words, "usr": f"usr/lib/{system.library}", "flavour": newest.flavour, "home": str(home)}
    options = [option.format(**words) for option in case.options.split()]
    meant = [place.format(**words) for place in case.meant]
    everywhere = "/usr/lib/python3/dist-packages" if "--root" in options else words["site"]
    asked = case.path.format(**words, meant=meant[0] if meant else everywhere)
    others = system.tag if "cpython-30" in options else "cpython-30"
    base = words["root"] if "--root" in case.options else ""

    before = everything(system)
    for verb in case.verbs:
        paths = [asked] if verb in ("explain", "which") else []
        if verb == "which":
            paths = [f"{os.path.dirname(asked)}/__pycache__/stale.{system.tag}.pyc"]
        code, said, report = act(system, verb, [*options, *paths])
        after = everything(system)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        before = after

        assert [] == sorted(path for path in changed if not lies_in(path, meant) or others in path), verb
        assert (2 if case.meant is REFUSED else code) == code, (verb, said)
        if case.meant is REFUSED:
            assert case.said.format(**words) in said, verb
            continue
        assert code in (0, 1), (verb, said)
        assert report is not None
        named = [finding.pyc or finding.source for run in report.runs for finding in run.tally.findings]
        assert [] == [path for path in named if path and not lies_in(base + path, meant)], verb
        if verb in ("sweep", "run", "purge"):
            for place in meant:
                assert place.startswith("!") or any(path.startswith(f"{place}/") for path in changed), (verb, place)


#: What a person may name that isn't there, and what is said of it.
GONE = {
    "--root": "--root {gone}: no such directory; name the directory of a staged root",
    "--prefix": "--prefix {gone}: no such directory; name a directory that exists",
    "--site-dir": "--site-dir {gone}: no such directory; name a directory that exists",
    "--pycache-prefix": "--pycache-prefix {gone}: no such directory; name a directory that exists",
    "--config": "configuration {gone}: no such file; name a readable file",
}


@pytest.mark.parametrize("option", GONE)
def test_what_is_named_and_is_not_there_is_an_error_and_is_not_made(
    system: System, tmp_path: Path, option: str
) -> None:
    """Exit 2 before anything is made for it: no state, no lock, no journal, and no directory."""
    fresh, gone, before = system._replace(state=tmp_path / "state"), tmp_path / "gone", everything(system)
    (file := tmp_path / "file").touch()
    pyc = f"{system.top}/site/package/__pycache__/stale.{system.tag}.pyc"
    locks = os.listdir(lock_directory() or "/nowhere")

    for verb in (*LOOKING, *WRITING):
        paths = [pyc] if verb in ("explain", "which") else []
        code, said, _ = act(fresh, verb, ["--python", str(system.python), option, str(gone), *paths])

        assert (2, GONE[option].format(gone=gone)) == (code, said), verb
        if option != "--config":
            _, said, _ = act(fresh, verb, ["--python", str(system.python), option, str(file), *paths])
            assert GONE[option].replace("no such directory", "not a directory").format(gone=file) == said, verb
        assert [] == [path for path in (fresh.state, gone) if path.exists()], verb
        assert locks == os.listdir(lock_directory() or "/nowhere"), verb
    assert before == everything(system)
