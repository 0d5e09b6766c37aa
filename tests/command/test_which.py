"""`which`: a pyc's source, flavour, level and state, and the package that owns the source."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent, require_two
from interpreters import tag_of
from other_system import FilesBelow
from owner_packages import MANAGERS, with_apk, with_dpkg, with_rpm
from packages import snapshot, write_tree
from pyctrigger.packages.rpm import Rpm

if TYPE_CHECKING:
    from pathlib import Path

    from command import Argument, Command
    from interpreters import Interpreter
    from owner_packages import Install


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[Argument]:
    """A package, to be compiled."""
    write_tree(site, {"package/__init__.py": "", "package/more.py": "x = 1\n"})
    return ["--python", newest.path, "--site-dir", site]


def found(pyctrigger: Command, *arguments: Argument, stdin: bytes = b"") -> list[dict[str, Any]]:
    """The answer for programs."""
    outcome = pyctrigger.json("which", *arguments, stdin=stdin)
    assert outcome.code == 0, outcome.err
    pycs: list[dict[str, Any]] = outcome.document["pycs"]
    return pycs


def states(pycs: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """State and reason of each."""
    return [(each["state"], each["reason"]) for each in pycs]


def test_source_flavour_level_and_state(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """Of several at once, in their order, in a table or for programs."""
    pyctrigger.json("run", *scope, "--optimize", "0,2")
    pycache = site / "package/__pycache__"
    good, optimized = pycache / f"__init__.{tag_of(newest)}.pyc", pycache / f"more.{tag_of(newest)}.opt-2.pyc"
    os.utime(site / "package/more.py", (1, 1))
    before = snapshot(site)

    first, second = found(pyctrigger, *scope, good, optimized)

    assert first == {
        "pyc": str(good), "source": f"{site}/package/__init__.py", "flavour": newest.flavour,
        "cache_tag": tag_of(newest), "level": 0, "state": "fresh", "reason": None, "in_scope": True,
        "package": None, "manager": None,
    }  # fmt: skip
    assert (second["source"], second["level"], second["state"], second["reason"]) == (
        f"{site}/package/more.py", 2, "unwanted", "mtime",
    )  # fmt: skip
    lines = pyctrigger.text("which", *scope, good, optimized).out.splitlines()
    assert lines[0].split() == ["flavour", "level", "state", "package", "source", "pyc"]
    assert lines[1].split() == [newest.flavour, "0", "fresh", "-", first["source"], str(good)]
    assert lines[2].split() == [newest.flavour, "2", "unwanted", "(mtime)", "-", second["source"], str(optimized)]
    assert snapshot(site) == before


def test_every_state(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Different faults are distinguished, and so is what belongs to no interpreter."""
    tag = tag_of(newest)
    write_tree(site, {f"package/m{number}.py": f"x = {number}\n" for number in range(6)})
    pyctrigger.json("run", *scope)
    pycache = site / "package/__pycache__"
    pyc = [pycache / f"m{number}.{tag}.pyc" for number in range(6)]
    pyc[0].write_bytes(b"\x99\x99\r\n" + pyc[0].read_bytes()[4:])
    pyc[1].write_bytes(pyc[1].read_bytes()[:9])
    (site / "package/m2.py").unlink()
    pyc[3].unlink()
    pyc[4].unlink()
    pyc[4].mkdir()
    pyc[5].write_bytes(pyc[5].read_bytes()[:-1] + b"?")
    others = [
        pycache / f"m0.{tag}.pyc.123456",
        pycache / ".pyctrigger-cpython-311-00000000-0123456789abcdef.tmp",
        pycache / f"m0.{tag}-pytest-8.3.pyc",
        pycache / "m0.cpython-30.pyc",
        pycache / "gone.cpython-30.pyc",
    ]
    for path in others:
        path.write_bytes(b"x" * 20)

    others += [pycache / f"never.{tag}.pyc", site / "no/__pycache__/a.pypy399.pyc"]
    listed = b"\n".join(map(bytes, [*pyc, *others]))
    answers = found(pyctrigger, *scope, "--paths-from", "-", stdin=listed)

    assert states(answers) == [
        ("foreign-magic", None),
        ("corrupt", None),
        ("orphan", None),
        ("missing", None),
        ("obstructed", None),
        ("unproven", "body"),
        ("residue", None),
        ("residue", None),
        ("foreign", None),
        ("unknown", "no interpreter has the cache tag cpython-30"),
        ("orphan", "no interpreter has the cache tag cpython-30"),
        ("gone", "and its source with it"),
        ("gone", None),
    ]
    assert [each["flavour"] for each in answers[-6:]] == [None, None, "py30", "py30", newest.flavour, "pypy399"]


def test_all_that_a_source_has(
    pyctrigger: Command, site: Path, newest: Interpreter, oldest: Interpreter, tmp_path: Path
) -> None:
    """Every flavour, level and state, also what is missing, of no interpreter here, or left behind by a writer."""
    require_two(oldest, newest)
    write_tree(site, {"m.py": "x = 1\n", "mm.py": "x = 1\n"})
    both: list[Argument] = ["--site-dir", site, "--python", newest.path, "--python", oldest.path]
    pyctrigger.text("run", "--python", newest.path, "--site-dir", site, "--optimize", "0,1")
    cache, tag = site / "__pycache__", tag_of(newest)
    os.utime(site / "m.py", (1, 1))
    (site / "m.pyc").write_bytes(bytes(20))
    (cache / "m.cpython-30.pyc").write_bytes(bytes(20))
    (cache / f"m.{tag}.pyc.140").write_bytes(b"")

    answers = found(pyctrigger, *both, site / "m.py")

    assert {(each["pyc"].rpartition("/")[2], each["flavour"], each["level"], each["state"]) for each in answers} == {
        ("m.pyc", None, None, "legacy"),
        ("m.cpython-30.pyc", "py30", 0, "unknown"),
        (f"m.{tag}.pyc", newest.flavour, 0, "stale"),
        (f"m.{tag}.opt-1.pyc", newest.flavour, 1, "unwanted"),
        (f"m.{tag}.pyc.140", newest.flavour, 0, "residue"),
        (f"m.{tag_of(oldest)}.pyc", oldest.flavour, 0, "missing"),
    }
    assert {f"{site}/m.py"} == {each["source"] for each in answers}
    (site / "m.py").unlink()
    assert "orphan" in {each["state"] for each in found(pyctrigger, *both, site / "m.py")}
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    pyctrigger.text("run", "--python", newest.path, "--site-dir", site, "--pycache-prefix", prefix)
    (answer,) = found(pyctrigger, *both[:4], "--pycache-prefix", prefix, site / "mm.py")
    assert (f"{prefix}{site}/mm.{tag}.pyc", "fresh") == (answer["pyc"], answer["state"])
    outcome = pyctrigger.text("which", *both, site / "nosuch.py")
    assert (2, 1) == (outcome.code, outcome.err.count("\n"))


def test_path_that_is_gone(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Its name says what it was of; directory and all."""
    path = f"{site}/gone/below/__pycache__/module.{tag_of(newest)}.opt-1.pyc"

    (answer,) = found(pyctrigger, *scope, "--paths-from", "-", stdin=os.fsencode(path))

    assert (answer["source"], answer["flavour"], answer["level"]) == (f"{site}/gone/below/module.py", newest.flavour, 1)
    assert (answer["state"], answer["in_scope"]) == ("gone", True)


def test_legacy_pycs(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Beside the source, without a tag: import takes one for want of a source; its magic number says whose it is."""
    pyctrigger.json("run", *scope)
    for name, source in (("more", True), ("only", False)):
        shutil.copy(site / f"package/__pycache__/more.{tag_of(newest)}.pyc", site / f"package/{name}.pyc")
        assert (site / f"package/{name}.py").exists() == source

    listed = b"\n".join(bytes(site / f"package/{name}.pyc") for name in ("more", "only", "no"))
    answers = found(pyctrigger, *scope, "--paths-from", "-", stdin=listed)

    assert states(answers) == [
        ("legacy", "import takes the source beside it"),
        ("sourceless", "import takes it, for want of a source"),
        ("gone", None),
    ]
    assert [each["flavour"] for each in answers] == [newest.flavour, newest.flavour, None]
    assert [each["level"] for each in answers] == [None, None, None]
    assert answers[0]["source"] == f"{site}/package/more.py"


def test_pycache_prefix(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """A tree apart has the sources' own paths in it."""
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    scope = [*scope, "--pycache-prefix", prefix]
    pyctrigger.json("run", *scope)
    pyc = f"{prefix}{site}/package/more.{tag_of(newest)}.pyc"
    assert os.path.exists(pyc)

    (fresh,) = found(pyctrigger, *scope, pyc)
    (site / "package/more.py").unlink()
    (orphan,) = found(pyctrigger, *scope, pyc)

    assert (fresh["source"], fresh["state"], orphan["state"]) == (f"{site}/package/more.py", "fresh", "orphan")


def test_two_flavours_with_names_of_their_own(pyctrigger: Command, site: Path, interpreters: list[Interpreter]) -> None:
    """Each pyc is judged by the interpreter whose it is."""
    cpythons = [each for each in interpreters if each.implementation == "cpython" and not each.free_threaded]
    if len(cpythons) < 2:
        absent("needs two CPythons")
    first, second = cpythons[:2]
    write_tree(site, {"m.py": ""})
    scope: list[Argument] = ["--python", first.path, "--python", second.path, "--site-dir", site]
    pyctrigger.json("run", *scope)
    pycs = [site / f"__pycache__/m.{tag_of(each)}.pyc" for each in (second, first)]

    answers = found(pyctrigger, *scope, *pycs)

    assert [(each["flavour"], each["state"]) for each in answers] == [
        (second.flavour, "fresh"),
        (first.flavour, "fresh"),
    ]


def test_outside_of_the_scope(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """Looked at all the same; no run would touch it, and so nothing is missing there."""
    elsewhere = write_tree(tmp_path / "elsewhere", {"m.py": ""})
    pyctrigger.json("run", "--python", newest.path, "--site-dir", elsewhere, "--stateless")

    (answer,) = found(pyctrigger, *scope, elsewhere / f"__pycache__/m.{tag_of(newest)}.pyc")

    assert (answer["state"], answer["in_scope"]) == ("unproven", False)
    assert found(pyctrigger, *scope, elsewhere / "m.py") == [answer]
    assert "unproven (no record; out of scope)" in pyctrigger.text("which", *scope, elsewhere / "m.py").out
    bare = pyctrigger.text("which", *scope, write_tree(tmp_path / "bare", {"m.py": ""}) / "m.py")
    assert (bare.code, bare.out) == (0, "")
    assert bare.err.endswith("m.py has no bytecode, and isn't in the scope of any interpreter that was found\n")


def test_what_is_no_pyc(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """Named, with what takes it; the others are answered all the same. None at all is no question."""
    pyctrigger.json("run", *scope)
    pyc = site / f"package/__pycache__/more.{tag_of(newest)}.pyc"

    (site / "package/data.txt").touch()

    outcome = pyctrigger.text("which", *scope, site / "package/data.txt", pyc, site)

    assert (outcome.code, len(outcome.out.splitlines())) == (2, 2)
    assert outcome.err.splitlines() == [
        f"pyctrigger: {path} is neither a source nor a pyc; name a source or a pyc; explain takes directories, too"
        for path in (site / "package/data.txt", site)
    ]
    assert pyctrigger.text("which", *scope).code == 2


def test_names_with_any_bytes(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """They break no line of the table, and have their bytes beside them."""
    evil = os.fsdecode(b"a\nb\x1b[31m\xff")
    write_tree(site, {f"{evil}/m.py": ""})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    pyctrigger.json("run", *scope)
    pyc = site / evil / f"__pycache__/m.{tag_of(newest)}.pyc"

    (answer,) = found(pyctrigger, *scope, pyc)
    out = pyctrigger.text("which", *scope, pyc).out

    assert bytes.fromhex(answer["pyc_hex"]) == os.fsencode(pyc)
    assert bytes.fromhex(answer["source_hex"]) == os.fsencode(site / evil / "m.py")
    assert (len(out.splitlines()), "\x1b" in out, answer["state"]) == (2, False, "fresh")


def test_many_at_once(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """From a list, as `find -print0` makes it."""
    write_tree(site, {f"p{number % 20}/m{number}.py": "" for number in range(500)})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    pyctrigger.json("run", *scope)
    pycs = sorted(site.rglob("*.pyc"))

    answers = found(pyctrigger, *scope, "--paths-from", "-", "--null", stdin=b"\0".join(map(os.fsencode, pycs)))

    assert [each["pyc"] for each in answers] == list(map(str, pycs))
    assert {each["state"] for each in answers} == {"fresh"}


# --------------------------------------------------------------------------------------------------------- the owners


def library_of(interpreter: Interpreter) -> str:
    """Where packages are installed, below a root."""
    return f"usr/lib/python{interpreter.version[0]}.{interpreter.version[1]}/site-packages"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("install", MANAGERS, ids=lambda install: install.__name__[5:])
def test_package_that_owns_the_source(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, install: Install
) -> None:
    """Looked up in the manager's database, also for a pyc that is gone; what no package owns has none."""
    library, tag = library_of(newest), tag_of(newest)
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    shipped = f"{library}/owner/__pycache__/without.{tag}.pyc"
    write_tree(payload, {f"{library}/owner/module.py": "x = 1\n", f"{library}/owner/sp ace.py": "", shipped: "old"})
    install(payload, root, scratch)
    write_tree(root, {f"{library}/ours/module.py": ""})
    scope: list[Argument] = ["--python", newest.path, "--root", root, "--stateless"]
    pyctrigger.json("run", *scope)
    names = [f"/{library}/{name}.{tag}.pyc" for name in ("owner/__pycache__/module", "owner/__pycache__/sp ace")]
    names += [f"/{shipped}", f"/{library}/ours/__pycache__/module.{tag}.pyc"]
    (root / library / f"owner/__pycache__/module.{tag}.pyc").unlink()
    before = of_root(root)

    answers = found(pyctrigger, *scope, *names)

    manager = install.__name__[5:]
    assert [(each["package"], each["manager"]) for each in answers] == [*[("owner", manager)] * 3, (None, None)]
    assert states(answers) == [("missing", None), ("fresh", None), ("orphan", None), ("fresh", None)]
    assert f"owner ({manager})" in pyctrigger.text("which", *scope, names[1]).out
    assert of_root(root) == before


def of_root(root: Path) -> dict[bytes, Any]:
    """All of it, but for the memory that readers of a database with a log share."""
    return {path: entry for path, entry in snapshot(root).items() if not path.endswith(b"-shm")}


@pytest.mark.usefixtures("as_root")
def test_rpm_itself_is_asked_where_its_database_isnt_sqlite(tmp_path: Path) -> None:
    """As before 4.16; a real rpm answers, and names with blanks arrive whole."""
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    write_tree(payload, {"usr/lib/a b.py": "", "usr/lib/c.py": "", "usr/lib/__pycache__/e.cpython-311.pyc": ""})
    with_rpm(payload, root, scratch)

    class Older(Rpm):
        """One that takes its database for an older one's."""

        @property
        def database(self) -> str:
            return "/var/lib/rpm/Packages"

    wanted = [b"/usr/lib/a b.py", b"/usr/lib/c.py", b"/usr/lib/c", b"/usr/lib/none.py"]

    for manager in (Older(FilesBelow(root)), Rpm(FilesBelow(root))):
        assert dict(manager.find_owned(wanted)) == {wanted[0]: "owner", wanted[1]: "owner"}
        assert [path for path, _ in manager.find_owned(None)] == [b"/usr/lib/__pycache__/e.cpython-311.pyc"]


@pytest.mark.usefixtures("as_root")
def test_package_that_says_lib_where_the_tree_says_usr_lib(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """A root whose /lib is a link has one file under two names."""
    library, tag = library_of(newest), tag_of(newest)
    payload, root = tmp_path / "payload", tmp_path / "root"
    write_tree(payload, {f"{library}/m.py": ""})
    root.mkdir()
    with_apk(payload, root, tmp_path)
    (root / "lib/apk/db/installed").rename(root / "installed")
    shutil.rmtree(root / "lib")
    (root / "lib").symlink_to("usr/lib")
    (root / "lib/apk/db").mkdir(parents=True)
    listed = (root / "installed").read_text().replace("F:usr/lib/", "F:lib/")
    (root / "lib/apk/db/installed").write_text(listed)
    scope: list[Argument] = ["--python", newest.path, "--root", root, "--stateless"]

    (answer,) = found(pyctrigger, *scope, f"/{library}/__pycache__/m.{tag}.pyc")

    assert (answer["package"], answer["state"]) == ("owner", "missing")


@pytest.mark.usefixtures("as_root")
def test_diverted_file(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """dpkg-divert moves a package's file away: its old name belongs to another package, or to none."""
    library, tag = library_of(newest), tag_of(newest)
    payload, root, scratch = (tmp_path / name for name in ("payload", "root", "scratch"))
    scratch.mkdir()
    root.mkdir()
    write_tree(payload, {f"{library}/m.py": ""})
    with_dpkg(payload, root, scratch)
    (root / "var/lib/dpkg/diversions").write_text(f"/{library}/m.py\n/{library}/distrib.py\n:\n")
    scope: list[Argument] = ["--python", newest.path, "--root", root, "--stateless"]

    pycs = "".join(f"/{library}/__pycache__/{name}.{tag}.pyc\n" for name in ("m", "distrib"))
    answers = found(pyctrigger, *scope, "--paths-from", "-", stdin=pycs.encode())

    assert [each["package"] for each in answers] == [None, "owner"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("database", ["var/db/pkg/local.sqlite", "var/lib/rpm/rpmdb.sqlite"])
def test_database_that_cant_be_read(pyctrigger: Command, newest: Interpreter, tmp_path: Path, database: str) -> None:
    """Said once; everything else is answered."""
    library, tag = library_of(newest), tag_of(newest)
    root = write_tree(tmp_path / "root", {f"{library}/m.py": "", database: "no database at all"})
    scope: list[Argument] = ["--python", newest.path, "--root", root, "--stateless"]

    outcome = pyctrigger.json("which", *scope, f"/{library}/__pycache__/m.{tag}.pyc")

    assert (outcome.code, [each["state"] for each in outcome.document["pycs"]]) == (0, ["missing"])
    assert "can't be asked which files it owns" in outcome.err


def test_systems_own_package(pyctrigger: Command, newest: Interpreter) -> None:
    """On a Debian: a source of the system's, by the system's dpkg."""
    listed = "/var/lib/dpkg/info/python3-minimal.list"
    if not os.path.exists(listed):
        absent("no Debian with its own Python")
    with open(listed, encoding="utf-8") as file:
        source = next((line for line in file.read().splitlines() if line.endswith(".py")), None)
    if source is None:
        absent("python3-minimal has no sources here")
    directory, name = os.path.split(source)

    (answer,) = found(pyctrigger, "--python", newest.path, f"{directory}/__pycache__/{name[:-3]}.{tag_of(newest)}.pyc")

    assert (answer["package"], answer["manager"], answer["source"]) == ("python3-minimal", "dpkg", source)
