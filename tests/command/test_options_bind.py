"""Each option of each verb changes what the verb does: one row for each, and none may be without.

A row is a call without the option and the same with it; what they print, leave behind and exit with must differ.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from test_progress import PLAIN, watched
from test_staged_root import library_name

from conftest import absent
from interpreters import tag_of
from packages import write_tree
from pyctrigger.cli.commands import Verb
from pyctrigger.cli.main import _main
from pyctrigger.cli.parser import build_parser
from pyctrigger.inspect.audit.crew import Crew
from pyctrigger.interpreter.probe import probe
from pyctrigger.state.locations import lock_directory
from pyctrigger.state.lock import InstallationLock
from pyctrigger.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter
    from pyctrigger.outcome.report import Report

WRITING = ("run", "repair", "sweep", "purge")
LOOKING = ("verify", "status", "explain", "which")
#: Shown by a test of their own, since they change nothing that is left behind.
SHOWN_BELOW = {
    "--no-progress": "test_no_progress_is_shown",
    ("run", "--jobs"): "test_jobs_is_the_number_of_workers",
    ("repair", "--jobs"): "test_jobs_is_the_number_of_workers",
    ("audit", "--jobs"): "test_jobs_of_an_audit_are_its_readers",
    ("hooks", "--state-dir"): "test_state_of_the_first_release_is_looked_for_where_it_may_be",
    ("hooks", "--stateless"): "test_state_of_the_first_release_is_looked_for_where_it_may_be",
}


class Stage(NamedTuple):
    """A tree, the state of the run that compiled it, and who compiled it."""

    top: Path
    python: str
    other: str
    words: dict[str, str]

    def fill(self, line: str) -> list[str]:
        """The words of a command line."""
        return [word.format(top=self.top, **self.words) for word in line.split()]


#: The scope of most rows, and what each verb needs besides.
_SCOPE = "--python {python} --site-dir {top}/site "
_STATE = "--state-dir {top}/state "
_ASKED = {
    "purge": " --yes",
    "explain": " {top}/site/package/stale.py {top}/site/package/bad.py",
    "which": " {top}/site/package/__pycache__/stale.{tag}.pyc {top}/site/package/__pycache__/damaged.{tag}.pyc",
}


class Row(NamedTuple):
    """A call, and its output with the option and without."""

    option: str
    """As it stands on the command line, with its value."""
    base: str = _SCOPE + _STATE
    """What stands in both calls."""
    instead: str = ""
    """What stands in its place in the call without it."""
    asked: str | None = None
    """What stands at the end of both, if it is something else than usual."""


#: For all verbs with files to look at. `{other}` is another interpreter, `{tag}` a cache tag, `{library}` python3.13.
COMMON = {
    "--paths-from": Row("--paths-from {top}/list"),
    "--null": Row("--null", _SCOPE + _STATE + "--paths-from {top}/list0 "),
    "--python": Row("--python {other}"),
    "--root": Row("--root {top}/root", "--python {python} --site-dir /srv/code " + _STATE),
    "--trust-root": Row("--trust-root", "--python {flavour} --root {top}/root --site-dir /srv/code " + _STATE),
    "--site-dir": Row("--site-dir {top}/prefix/extra", "--python {python} --prefix {top}/prefix " + _STATE),
    "--prefix": Row(
        "--prefix {top}/prefix", "--python {python} --site-dir {top}/prefix/extra --site-dir {top}/site " + _STATE
    ),
    "--prefix-below": Row("--prefix-below {top}/below", "--python {python} --prefix {top}/prefix " + _STATE),
    "--stdlib": Row("--stdlib", "--python {python} --prefix {top}/prefix " + _STATE),
    "--pycache-prefix": Row("--pycache-prefix {top}/cache"),
    "--exclude": Row("--exclude */package/*"),
    "--optimize": Row("--optimize 1"),
    "--invalidation-mode": Row("--invalidation-mode checked-hash"),
    "--source-date-epoch": Row("--source-date-epoch 1000000"),
    "--state-dir": Row("--state-dir {top}/another", _SCOPE, _STATE),
    "--stateless": Row("--stateless", _SCOPE, _STATE),
    "--config": Row("--config {top}/wrong.toml"),
    "--dry-run": Row("--dry-run"),
    "--lock-timeout": Row("--lock-timeout 0.01", _SCOPE + _STATE + "--config {top}/hasty.toml "),
    "--json": Row("--json"),
    "--quiet": Row("--quiet"),
    "--color": Row("--color always", "--python {python} --site-dir {top}/gone " + _STATE),
    "--verbose": Row("--verbose"),
}
_MEASURE = "--python {python} --runs 1 "
_EXTRA = {"explain": " {top}/prefix/{lib}/os.py", "which": " {top}/prefix/{lib}/__pycache__/os.{tag}.pyc"}
#: What is another option there, or shows only in another call.
OWN = {
    ("run", "--event"): Row("--event remove", asked=" --json && history --json last"),
    ("run", "--manager"): Row("--manager pacman", _SCOPE + _STATE + "--paths-from {top}/relative "),
    ("run", "--hook"): Row("--hook"),
    ("run", "--defer"): Row("--defer"),
    ("run", "--proof"): Row("--proof {top}/proof"),
    **{(verb, "--stateless"): COMMON["--stateless"]._replace(instead="--state-dir {top}/another") for verb in WRITING},
    ("sweep", "--unwanted"): Row("--unwanted"),
    ("purge", "--cache-tag"): Row("--cache-tag {tag}", "--site-dir {top}/site " + _STATE),
    ("purge", "--all"): Row("--all", "--site-dir {top}/site " + _STATE),
    ("purge", "--keep-system"): Row("--keep-system", "--python {python} --root {top}/debian --site-dir /srv " + _STATE),
    ("purge", "--yes"): Row("--yes", asked=""),
    ("status", "--jobs"): Row("--jobs 3", _SCOPE + _STATE + "--against {other} --json "),
    ("status", "--check"): Row("--check", "--python {python} " + _STATE),
    ("status", "--format"): Row("--format prometheus", "--python {python} --check " + _STATE),
    ("status", "--warning"): Row("--warning 0s", "--python {python} --check --state-dir {top}/pending "),
    ("status", "--critical"): Row("--critical 0s", "--python {python} --check --warning 0s --state-dir {top}/pending "),
    ("status", "--failure-age"): Row("--failure-age 0s", "--python {python} --check --state-dir {top}/failed "),
    ("status", "--against"): Row("--against {other}"),
    ("explain", "--root"): COMMON["--root"]._replace(asked=" /srv/code/code.py"),
    ("explain", "--trust-root"): COMMON["--trust-root"]._replace(asked=" /srv/code/code.py"),
    ("which", "--root"): COMMON["--root"]._replace(asked=" /srv/code/__pycache__/code.{tag}.pyc"),
    ("which", "--trust-root"): COMMON["--trust-root"]._replace(asked=" /srv/code/__pycache__/code.{tag}.pyc"),
    ("which", "--prefix-below"): COMMON["--prefix-below"]._replace(
        asked=" {top}/below/env/{lib}/site-packages/late.py"
    ),
    ("which", "--site-dir"): COMMON["--site-dir"]._replace(
        option="--site-dir {top}/prefix/extra --json",
        instead="--json",
        asked=" {top}/prefix/extra/__pycache__/extra.{tag}.pyc",
    ),
    ("which", "--python"): Row("--python {other}", asked=" {top}/site/package/__pycache__/stale.{other_tag}.pyc"),
    **{
        (verb, "--stdlib"): COMMON["--stdlib"]._replace(option="--stdlib --json", instead="--json", asked=_EXTRA[verb])
        for verb in _EXTRA
    },
    ("verify", "--compare-code"): Row("--compare-code", _SCOPE + "--stateless "),
    ("hooks", "--force"): Row("--force", "install --manager apk --python {flavour} --root {top}/taken --stateless "),
    ("audit", "--python"): Row("--python {other}", "{top}/shelf "),
    ("audit", "--needs-rebuild"): Row("--needs-rebuild", "--python {python} {top}/shelf "),
    ("audit", "--null"): Row("--null", "--python {python} --needs-rebuild {top}/shelf "),
    ("audit", "--format"): Row("--format csv", "{top}/shelf "),
    ("audit", "--config"): Row("--config {top}/wrong.toml", "--python {flavour} {top}/shelf "),
    ("audit", "--timeout"): Row("--timeout 0.000001", "{top}/shelf "),
    ("audit", "--max-size"): Row("--max-size 1", "{top}/shelf "),
    ("audit", "--scheduler"): Row("--scheduler 127.0.0.1:1", "{top}/shelf "),
    ("audit", "--json"): Row("--json", "{top}/shelf "),
    ("audit", "--quiet"): Row("--quiet", "{top}/shelf "),
    ("audit", "--color"): Row("--color always", "--python nonsense {top}/shelf "),
    ("measure", "--python"): Row("--python {other}", "--python {python} no_such_module "),
    ("measure", "--prefix"): Row("--prefix {top}/below/env", "--python {python} no_such_module "),
    ("measure", "--site-dir"): Row("--site-dir {top}/lib", _MEASURE + "measured "),
    ("measure", "--script"): Row("--script {top}/lib/measured.py", _MEASURE + "no_such_module "),
    ("measure", "--stdlib"): Row("--stdlib", _MEASURE + "json "),
    ("measure", "--stale"): Row("--stale mtime", _MEASURE + "--site-dir {top}/lib measured "),
    ("measure", "--runs"): Row("--runs 2", "--python {python} --site-dir {top}/lib measured ", "--runs 1"),
    ("measure", "--timeout"): Row("--timeout 0.001", _MEASURE + "no_such_module "),
    ("measure", "--json"): Row("--json", _MEASURE + "no_such_module "),
    ("measure", "--color"): Row("--color always", _MEASURE + "no_such_module "),
    ("measure", "--config"): Row("--config {top}/wrong.toml", "--python {flavour} no_such_module "),
    ("doctor", "--config"): Row("--config {top}/wrong.toml", ""),
    ("doctor", "--state-dir"): Row("--state-dir {top}/state", ""),
    ("doctor", "--json"): Row("--json", ""),
    ("doctor", "--color"): Row("--color always", "--config {top}/gone "),
    ("history", "--limit"): Row("--limit 1", _STATE),
    ("history", "--failed"): Row("--failed", _STATE),
    ("history", "--root"): Row("--root {top}/gone", ""),
    ("history", "--state-dir"): Row("--state-dir {top}/state", ""),
    ("hooks", "--manager"): Row("--manager apk", "list --python {python} --root {top}/root "),
    ("hooks", "--python"): Row("--python {other}", "list --manager apk --python {python} --root {top}/root "),
    ("hooks", "--root"): Row("--root {top}/hooked", "list --manager apk --python {python} "),
    ("hooks", "--site-dir"): Row("--site-dir /srv", "render --manager pacman --python {python} --root {top}/root "),
    ("hooks", "--dry-run"): Row("--dry-run", "install --manager apk --python {python} --root {top}/root " + _STATE),
    ("hooks", "--json"): Row("--json", "render --manager apk --python {python} --root {top}/root "),
    ("history", "--json"): Row("--json", _STATE),
    ("history", "--color"): Row("--color always", _STATE),
    ("hooks", "--color"): Row("--color always", "list --manager apk --python nonsense "),
    ("store", "--config"): Row("--config {top}/stored.toml", "status "),
    ("store", "--again"): Row("--again", "status --config {top}/stored.toml "),
    ("store", "--json"): Row("--json", "status --config {top}/stored.toml "),
    ("store", "--color"): Row("--color always", "status x "),
    ("completion", "--json"): Row("--json", "bash "),
    ("completion", "--color"): Row("--color always", "nonsense "),
}


def options_of_verbs() -> list[tuple[str, str]]:
    """Every verb with every option that its parser has, by its long name."""
    (verbs,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return [
        (verb, action.option_strings[-1])
        for verb, parser in verbs.choices.items()
        for action in parser._actions
        if action.option_strings and "--help" not in action.option_strings
    ]


def row_of(verb: str, option: str) -> Row | str | None:
    """The row of an option, or the test that shows it."""
    shown: Row | str | None = OWN.get((verb, option)) or SHOWN_BELOW.get((verb, option)) or SHOWN_BELOW.get(option)
    return shown or (COMMON.get(option) if verb in (*WRITING, *LOOKING) else None)


@pytest.fixture(scope="module")
def template(newest: Interpreter, interpreters: list[Interpreter], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A tree that has something of each kind: fresh, stale, damaged, missing, uncompilable, orphaned, and unwanted."""
    top: Path = tmp_path_factory.mktemp("template")
    other = next((each for each in reversed(interpreters) if tag_of(each) != tag_of(newest)), None)
    if other is None:
        absent("needs two flavours")
    words = {
        "python": newest.path,
        "other": other.path,
        "tag": tag_of(newest),
        "other_tag": tag_of(other),
        "flavour": "{}.{}".format(*newest.version),
        "lib": f"lib/{library_name(newest)}",
    }
    stage = Stage(top, newest.path, other.path, words)
    sources = [f"package/{name}.py" for name in ("__init__", "fresh", "stale", "damaged", "gone", "wrong", "sly")] + [
        "other/ok.py"
    ]
    write_tree(top / "site", {**dict.fromkeys(sources, "x = 1\n"), "package/bad.py": "x = (\n", "right.py": "y = 2\n"})
    write_tree(top / "root/srv/code", {"code.py": "", f"__pycache__/code.{tag_of(newest)}.pyc": ""})
    write_tree(top / "site/package/__pycache__", {f"stale.{tag_of(other)}.pyc": "damaged"})
    write_tree(
        top / "prefix",
        {
            "extra/extra.py": "",
            f"extra/__pycache__/extra.{tag_of(newest)}.pyc": "",
            f"{words['lib']}/encodings/__init__.py": "",
        },
    )
    write_tree(top / "prefix" / words["lib"], {"os.py": "", "site-packages/one.py": ""})
    write_tree(top, {"list": f"{top}/site/other\n", "list0": f"{top}/site/other\0{top}/site/package\0"})
    write_tree(
        top,
        {
            "stored.toml": f'[store]\nurl = "{top}/none"\n',
            "relative": "site/package\n",
            "wrong.toml": "nonsense = 1\n",
            "hasty.toml": "[defaults]\nlock_timeout = 0\n",
        },
    )
    write_tree(top / "lib", {"measured.py": "x = 1\n"})
    write_tree(top / "taken/etc/apk/commit_hooks.d", {f"pyctrigger-{newest.flavour}": "somebody's\n"})
    name = f"python{words['flavour']}"
    write_tree(top / "debian/srv", {"code.py": "", f"__pycache__/code.{tag_of(newest)}.pyc": ""})
    write_tree(top / "debian/var/lib/dpkg/info", {"python3-minimal.list": ""})
    write_tree(top / "debian/usr/bin", {"py3compile": "", name: ""})
    write_tree(top / "debian/usr/share/python3", {"debian_defaults": f"supported-versions = {name}\n"})
    magic = probe(newest.path).interpreter.magic_number
    write_tree(top / f"debian/usr/lib/{name}/__pycache__", {f"os.{tag_of(newest)}.pyc": ""})
    (top / f"debian/usr/lib/{name}/__pycache__/os.{tag_of(newest)}.pyc").write_bytes(magic)
    (top / "shelf").mkdir()
    for name, interpreter in (("own", newest), ("others", other)):
        with zipfile.ZipFile(top / f"shelf/{name}.whl", "w") as archive:
            archive.writestr("m.py", "")
            magic = probe(interpreter.path).interpreter.magic_number
            pyc = f"__pycache__/m.{tag_of(newest)}.pyc"  # of another interpreter, it has to be built anew
            archive.writestr(pyc, magic + bytes(12) + b"N")
    (top / "cache").mkdir()
    (top / "hooked").mkdir()
    write_tree(top / "below/env", {"pyvenv.cfg": "", f"{words['lib']}/site-packages/late.py": ""})
    hook = stage.fill("hooks install --manager apk --python {python} --stateless --root {top}/hooked")
    assert 0 == _main(hook, ("pyctrigger",))
    run = ["run", "--quiet", *stage.fill("--python {python} --stdlib --prefix {top}/prefix --stateless")]
    assert 0 == _main(run, ())
    for scope in ("failed", "state", "state", "pending --defer"):
        assert 2 > _main(
            ["run", "--quiet", "--optimize", "0,1", *stage.fill(_SCOPE + "--state-dir {top}/" + scope)], ()
        )
    (top / "site/package/gone.py").unlink()
    (top / "site/package/stale.py").write_text("x = 12\n")
    sly = top / "site/package/sly.py"  # another content of the same time and size
    before = sly.stat()
    sly.write_text("x = 2\n")
    os.utime(sly, ns=(before.st_atime_ns, before.st_mtime_ns))
    damaged = next((top / "site/package/__pycache__").glob(f"damaged.{words['tag']}.pyc"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    right, wrong = (next((top / "site").rglob(f"{name}.{words['tag']}.pyc")) for name in ("right", "wrong"))
    wrong.write_bytes(wrong.read_bytes()[:16] + right.read_bytes()[16:])
    for place in (top / "prefix/extra", top / "prefix" / words["lib"], *(top / "below").rglob("site-packages")):
        write_tree(place, {"late.py": "", f"__pycache__/gone.{words['tag']}.pyc": ""})
    (top / "proof").write_text("waiting")
    return stage


class Stages:
    """The template for who looks; for who writes a copy that is always in the same place, and made anew."""

    def __init__(self, template: Stage, top: Path) -> None:
        self._template = template
        self._top = top
        #: What calls without the option do, by their words.
        self.known: dict[str, object] = {}

    def of(self, verb: str) -> Stage:
        """The one for a verb."""
        if verb in (*LOOKING, "doctor", "history", "store", "completion", "audit", "measure"):
            return self._template
        shutil.rmtree(self._top, ignore_errors=True)
        shutil.copytree(self._template.top, self._top, symlinks=True)
        for name in ("list", "list0"):
            path = self._top / name
            path.write_text(path.read_text().replace(str(self._template.top), str(self._top)))
        return self._template._replace(top=self._top)


@pytest.fixture(scope="module")
def stages(template: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The stages of all rows."""
    return Stages(template, tmp_path_factory.mktemp("copy") / "stage")


_VARYING = re.compile(
    r"\"(?:elapsed|\w*_seconds|began|ended|now|pid)\w*\": [0-9.a-z]+|process \d+|"
    r"\d\.\d+ to \d+\.\d+|\d+\.\d+ x fresh|[0-9.]+ ?(?:s|min)\b|[=-]{2,}$|no clear difference.*|.* is clear.*",
    re.MULTILINE,
)


def observe(stage: Stage, verb: str, arguments: str, asked: str, captured: pytest.CaptureFixture[str]) -> object:
    """What a call prints and exits with, and what it leaves behind; times are none of it."""
    first, _, then = asked.partition("&&")
    code = _main([verb, *stage.fill(f"{arguments} {first}")], ("pyctrigger",))
    if then:
        _main(stage.fill(f"{then} {_STATE}"), ())
    said = captured.readouterr()
    left = {
        os.path.relpath(path, stage.top): path.read_bytes() if path.suffix in (".pyc", "") else b""
        for path in stage.top.rglob("*")
        if path.is_file()
        and not {"state", "another", "pending", "failed"}.intersection(path.relative_to(stage.top).parts)
    }
    words = [_VARYING.sub("", text).replace(str(stage.top), "TOP") for text in (said.out, said.err)]
    return code, words, left, (stage.top / "another").exists()


@pytest.mark.parametrize(("verb", "option"), options_of_verbs())
def test_an_option_changes_what_its_verb_does(
    stages: Stages, verb: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Called twice without it the same happens, and another thing with it."""
    if option == "--verbose":
        return  # below: of each verb
    row = row_of(verb, option)
    assert row is not None, f"{verb} {option} has no row: what does it change?"
    if isinstance(row, str):
        assert callable(globals()[row])
        return
    asked = _ASKED.get(verb, "") if row.asked is None else row.asked
    without = f"{verb} {row.base}{row.instead} {asked} {option == '--lock-timeout'}"
    with holding(stages.of(verb), option == "--lock-timeout"):
        if without not in stages.known:
            before, again = (observe(stages.of(verb), verb, row.base + row.instead, asked, capsys) for _ in range(2))
            assert before == again
            stages.known[without] = before
        after = observe(stages.of(verb), verb, row.base + row.option, asked, capsys)

    assert stages.known[without] != after


def test_state_of_the_first_release_is_looked_for_where_it_may_be(
    newest: Interpreter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It remembers what that release's hooks have replaced, which `hooks uninstall` names."""
    root = tmp_path / "root"
    root.mkdir()
    words = ["--manager", "apk", "--python", newest.path, "--root", str(root)]
    assert 0 == _main(["hooks", "install", *words, "--stateless"], ())
    place = os.fsencode(next((root.resolve() / "etc/apk/commit_hooks.d").iterdir()))
    record = f"hooks/hook-{hashlib.sha256(place).hexdigest()[:32]}.json"
    write_tree(tmp_path / "state", {record: json.dumps({"format": 1, "before": {"kind": "file"}})})

    for options, is_named in [
        (["--state-dir", f"{tmp_path}/state", "--stateless"], False),
        (["--state-dir", f"{tmp_path}/other"], False),
        (["--state-dir", f"{tmp_path}/state"], True),
    ]:
        capsys.readouterr()
        assert 0 == _main(["hooks", "uninstall", *words, *options], ())
        assert is_named is (record in capsys.readouterr().err)


@pytest.mark.parametrize("verb", ["run", "repair"])
def test_jobs_is_the_number_of_workers(
    verb: str, site: Path, newest: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That many may compile at the same time; how many do depends on what there is to do."""
    sizes: list[int] = []
    make = Pool.__init__

    def noted(self: Pool, interpreter: Any, limits: Any, size: int, **options: Any) -> None:
        sizes.append(size)
        make(self, interpreter, limits, size, **options)

    monkeypatch.setattr(Pool, "__init__", noted)
    for jobs in ("1", "3"):
        write_tree(site, {"m.py": "x = 1\n" * int(jobs)})  # of another size
        arguments = ["--python", newest.path, "--site-dir", str(site), "--jobs", jobs]
        assert 0 == _main([verb, "--quiet", "--stateless", *arguments], ())

    assert [1, 3] == sizes


def test_jobs_of_an_audit_are_its_readers(template: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """That many archives may be read at the same time."""
    sizes: list[int] = []
    make = Crew.__init__

    def noted(self: Crew, size: int, *settings: Any) -> None:
        sizes.append(size)
        make(self, size, *settings)

    monkeypatch.setattr(Crew, "__init__", noted)
    for jobs in ("1", "2"):
        assert 1 == _main(["audit", "--quiet", "--jobs", jobs, f"{template.top}/shelf"], ())

    assert [1, 2] == sizes


#: Calls that take long enough for progress, on a terminal that shows each step.
_WATCHED = {
    **{verb: _SCOPE + _STATE + _ASKED.get(verb, "") for verb in (*WRITING, *LOOKING)},
    "explain": _SCOPE + _STATE + "{top}/site",
    "audit": "{top}/shelf ",
    "measure": _MEASURE + "--site-dir {top}/lib measured ",
}


@pytest.mark.parametrize("verb", [verb for verb, option in options_of_verbs() if option == "--no-progress"])
def test_no_progress_is_shown(pyctrigger: Command, stages: Stages, verb: str) -> None:
    """On a terminal, where there is some without the option."""
    frames = []
    for option in ([], ["--no-progress"]):
        words = stages.of(verb).fill(_WATCHED[verb])
        frames.append(watched(pyctrigger, PLAIN, [verb, *words, *option])[1].frames)

    assert len(frames[1]) < len(frames[0])


@contextlib.contextmanager
def holding(stage: Stage, is_held: bool) -> Iterator[None]:
    """Keep the lock of the installation meanwhile."""
    if not is_held:
        yield
        return
    lock = InstallationLock(lock_directory() or "", probe(stage.python).interpreter.installation)
    lock.acquire(1, print)
    try:
        yield
    finally:
        lock.release()


@pytest.mark.parametrize("verb", [verb for verb, option in options_of_verbs() if option == "--verbose"])
def test_said_twice_verbose_shows_where_a_defect_is(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint of that message names it, so every verb takes it."""

    def fail(*_: object) -> Report:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["pyctrigger.cli.main"], "find_verb", lambda _: Verb("", fail))
    arguments = {"hooks": ["list"], "store": ["status"], "completion": ["bash"], "audit": ["x"]}.get(verb, [])

    said = []
    for verbosity in ([], ["-vv"]):
        assert 70 == _main([verb, *arguments, *verbosity], ())
        said.append(capsys.readouterr().err)

    assert ["Traceback" in each for each in said] == [False, True]
