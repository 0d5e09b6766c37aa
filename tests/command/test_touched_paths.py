"""The paths that a package manager names, and which part of the scope they mean."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packages import pycs_below, snapshot, write_tree
from pyctrigger.run.scope.paths import Touched, Unit, absolute, touched
from pyctrigger.tree.directory import real_in_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from command import Argument, Command
    from interpreters import Interpreter

EVERYTHING = [Unit("", deep=True)]
MODULES = Unit("", deep=False)


def package(*names: str) -> list[Unit]:
    """The units of touched packages: each as a whole, and the modules directly in the site directory."""
    return [MODULES, *(Unit(name, deep=True) for name in names)]


# --------------------------------------------------------------------------------------------------- paths to units


@pytest.mark.parametrize(
    ("paths", "units"),
    [
        (["/s/foo"], package("foo")),
        (["/s/foo/"], package("foo")),
        (["/s/foo/sub/deep/module.py"], package("foo")),
        (["/s/foo/__pycache__"], package("foo")),
        (["/s/foo", "/s/foo/bar", "/s/foo/bar/baz.py"], package("foo")),
        (["/s/foo", "/s/bar"], package("bar", "foo")),
        (["//s//foo//x.py"], package("foo")),
        (["/s/./foo/./x.py"], package("foo")),
        (["/s/bar/../foo/x.py"], package("foo")),
        (["/elsewhere/../s/foo"], package("foo")),
        (["/s/module.py"], package("module.py")),
        (["/s/__pycache__"], package()),
        (["/s/__pycache__/module.cpython-311.pyc"], package()),
        (["/s/a b\n\udcff'$;*"], package("a b\n\udcff'$;*")),
        (["/s"], EVERYTHING),
        (["/s/"], EVERYTHING),
        (["//s/."], EVERYTHING),
        (["/s/foo", "/s"], EVERYTHING),
        (["/s/foo/.."], EVERYTHING),
    ],
)
def test_path_stands_for_its_top_level_package(paths: list[str], units: list[Unit]) -> None:
    """The list of changes is never the whole truth; gone or not, a file or a directory, however it is written."""
    assert touched(paths, ["/s"]) == Touched({"/s": units}, ())


@pytest.mark.parametrize("paths", [[], [""], ["", ""]])
def test_empty_list_and_empty_path_mean_nothing(paths: list[str]) -> None:
    """apk passes one empty string where none matched."""
    assert touched(paths, ["/s"]) == Touched({}, ())


def test_no_list_means_everything() -> None:
    """In every site directory."""
    assert touched(None, ["/s", "/t"]) == Touched({"/s": EVERYTHING, "/t": EVERYTHING}, ())


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/t",
        "/sfoo",
        "/sfoo/x.py",
        "/s/../t",
        "/s/..",
        "/s/../..",
        "/S/foo",
        "/s/foo/../../t/x.py",
        "/s/a\0b",
        "\0",
    ],
)
def test_path_outside_is_named(path: str) -> None:
    """As it was written; a neighbour whose name begins alike is no child, and no path holds a NUL."""
    assert touched([path, "/s/foo"], ["/s"]) == Touched({"/s": package("foo")}, (path,))


def test_manager_pkg_names_the_immediate_parents_of_files() -> None:
    """So the site directory itself means the modules in it; for other managers it means everything."""
    assert touched(["/s"], ["/s"], manager="pkg").units == {"/s": package()}
    assert touched(["/s", "/s/foo/sub"], ["/s"], manager="pkg").units == {"/s": package("foo")}
    for manager in ("dpkg", "rpm", "pacman", "apk", None):
        assert touched(["/s"], ["/s"], manager=manager).units == {"/s": EVERYTHING}


def test_innermost_site_directory_is_meant() -> None:
    """The standard library holds site-packages."""
    sites = ["/lib/python3", "/lib/python3/site-packages"]
    assert touched(["/lib/python3/site-packages/foo", "/lib/python3/json"], sites).units == {
        "/lib/python3/site-packages": package("foo"),
        "/lib/python3": package("json"),
    }


def test_root_directory_can_be_a_site_directory() -> None:
    """For what it is worth."""
    assert touched(["/foo/x.py", "/"], ["/"]).units == {"/": EVERYTHING}
    assert touched(["/foo/x.py"], ["/"]).units == {"/": package("foo")}


def test_links_above_are_followed(tmp_path: Path) -> None:
    """`/lib/…` is `/usr/lib/…` on a merged system, whichever of both the manager or the target says."""
    site = tmp_path / "usr/lib/site"
    site.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    linked = f"{tmp_path}/lib/site"
    for path in (f"{linked}/foo/gone.py", f"{site}/foo/gone.py", f"{linked}/foo"):
        assert touched([path], [str(site)]) == Touched({str(site): package("foo")}, ())
        assert touched([path], [linked]) == Touched({linked: package("foo")}, ())
    assert touched([linked + "/"], [str(site)]).units == {str(site): EVERYTHING}


def test_link_inside_is_touched_itself(tmp_path: Path) -> None:
    """Where it leads isn't examined: what is there has its own touched path."""
    site = tmp_path / "site"
    (site / "real").mkdir(parents=True)
    (site / "linked").symlink_to("real")
    (site / "away").symlink_to("/")
    assert touched([f"{site}/linked/x.py", f"{site}/away"], [str(site)]).units == {str(site): package("away", "linked")}


def test_links_of_this_machine_say_nothing_about_a_staged_root(tmp_path: Path) -> None:
    """There the path is as seen inside, and so are the links on it."""
    (tmp_path / "lib").symlink_to("/usr/lib")
    (tmp_path / "root/usr/lib/site").mkdir(parents=True)
    (tmp_path / "root/lib").symlink_to("usr/lib")
    inside = partial(real_in_root, str(tmp_path / "root"))
    outside = f"{tmp_path}/lib/site/foo"
    assert touched([outside], ["/usr/lib/site"], real=inside) == Touched({}, (outside,))
    assert touched(["/lib/site/foo"], ["/usr/lib/site"], real=inside) == Touched({"/usr/lib/site": package("foo")}, ())
    assert touched([outside], ["/usr/lib/site"]) == Touched({"/usr/lib/site": package("foo")}, ())


def test_relative_paths_start_where_their_manager_starts() -> None:
    """pacman's at the root, everybody else's at the caller's directory."""
    assert absolute("usr/lib/x/", manager="pacman", cwd="/home") == "/usr/lib/x/"
    for manager in ("pkg", "dpkg", "rpm", "apk", None):
        assert absolute("usr/lib/x/", manager=manager, cwd="/home") == "/home/usr/lib/x/"
    assert absolute("/usr/lib/x", manager="pacman", cwd="/home") == "/usr/lib/x"


_parts = st.lists(st.sampled_from(["foo", "a.py", "__pycache__", "é", "b c"]), min_size=1, max_size=5)
_noise = st.lists(st.sampled_from(["/", "//", "/./", "/x/../", "///"]), min_size=6, max_size=6)


@given(_parts, _noise, st.booleans())
def test_spelling_of_a_path_makes_no_difference(parts: Sequence[str], noise: Sequence[str], trailing: bool) -> None:
    """Doubled slashes, dots and a slash at the end."""
    plain = "/" + "/".join(["s", *parts])
    spelled = "".join(slash + part for slash, part in zip(noise, ["s", *parts])) + ("/" if trailing else "")
    assert touched([spelled], ["/s"]) == touched([plain], ["/s"])


@given(st.lists(st.text(alphabet="/.s\0a", max_size=8).map("/".__add__), max_size=6), st.sampled_from([None, "pkg"]))
def test_any_path_is_inside_or_named(paths: list[str], manager: str | None) -> None:
    """None is lost, and no unit leads out of the site directory."""
    found = touched(paths, ["/s"], manager=manager)
    assert set(found.outside) <= set(paths)
    for unit in found.units.get("/s", []):
        assert "/" not in unit.relative
        assert unit.relative not in (".", "..", "__pycache__")
    if set(paths) - set(found.outside):
        assert found.units


# ------------------------------------------------------------------------------------------------ with the command


@pytest.fixture
def tree(site: Path) -> Path:
    """Three packages and a module, nothing compiled yet."""
    return write_tree(site, {"one/__init__.py": "", "two/__init__.py": "", "three/sub/x.py": "", "module.py": ""})


@pytest.fixture
def scope(tree: Path, newest: Interpreter) -> list[Argument]:
    """The options that make it the scope."""
    return ["--python", newest.path, "--site-dir", tree]


def compiled(site: Path) -> set[str]:
    """The packages and modules that have bytecode."""
    tops = set()
    for pyc in pycs_below(site):
        below = os.fsdecode(os.path.relpath(pyc, os.fsencode(site)))
        top, _, rest = below.partition("/")
        tops.add(rest.partition(".")[0] if top == "__pycache__" else top)
    return tops


def test_no_path_means_the_whole_scope(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """Only the absence of PATHs and list does."""
    assert pyctrigger.json("run", *scope).counts["compiled"] == 4
    assert compiled(tree) == {"one", "two", "three", "module"}


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ([""], b""),
        (["", ""], b""),
        (["--paths-from", "-"], b""),
        (["--paths-from", "-"], b"\n\n"),
        (["--paths-from", "-", "--null"], b"\0\0"),
        (["--paths-from", "/dev/null"], b""),
        (["--paths-from", "/dev/null", ""], b""),
        (["--hook", "--paths-from", "-"], b""),
        (["--hook", ""], b""),
    ],
)
def test_empty_list_means_nothing_touched(
    pyctrigger: Command, tree: Path, scope: list[Argument], arguments: list[str], stdin: bytes
) -> None:
    """A hook whose manager found nothing has nothing to do."""
    before = snapshot(tree)
    outcome = pyctrigger.json("run", *scope, *arguments, stdin=stdin)
    assert (outcome.code, outcome.document["errors"]) == (0, [])
    assert set(outcome.counts.values()) == {0}
    assert snapshot(tree) == before


def test_touched_package_is_compiled_with_the_modules_beside_it(
    pyctrigger: Command, tree: Path, scope: list[Argument]
) -> None:
    """And its neighbours are left for who touches them."""
    pyctrigger.json("run", *scope, "--event", "remove", tree / "one/__init__.py", tree / "three/gone")
    assert compiled(tree) == {"one", "three", "module"}


def test_relative_path_starts_at_the_callers_directory(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """Whatever the target's own directory is."""
    outcome = pyctrigger.json("run", *scope, "--event", "upgrade", "two", "./", cwd=tree / "three")
    assert outcome.code == 0
    assert compiled(tree) == {"three", "module"}
    pyctrigger.json("run", *scope, "../one", cwd=tree / "three")
    assert compiled(tree) == {"one", "three", "module"}


def test_relative_path_in_a_directory_that_is_gone(
    pyctrigger: Command, tree: Path, scope: list[Argument], tmp_path: Path
) -> None:
    """Is wrong usage; absolute ones need no current directory."""
    program = pyctrigger.program
    enter = 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"'
    pyctrigger.program = ["sh", "-c", enter, str(tmp_path / "gone"), *program]
    outcome = pyctrigger.text("run", *scope, "one")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "pyctrigger: the current directory is gone; name absolute paths\n"
    assert pyctrigger.json("run", *scope, tree / "one").code == 0
    assert compiled(tree) == {"one", "module"}


def test_pacmans_paths_start_at_the_root(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """Directories end in a slash there."""
    relative = f"{tree}/one/".lstrip("/")
    outcome = pyctrigger.json(
        "run", *scope, "--manager", "pacman", "--paths-from", "-", stdin=relative.encode() + b"\n"
    )
    assert outcome.code == 0
    assert compiled(tree) == {"one", "module"}


def test_path_outside_ends_the_command(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """Exit 2, with its name and what the scope is; nothing is done, not even for the paths inside."""
    before = snapshot(tree)
    outcome = pyctrigger.text("run", *scope, tree / "one", "/etc/passwd", tree.parent)

    assert (outcome.code, outcome.out) == (2, "")
    flavour = pyctrigger.json("run", *scope, "").run["flavour"]
    assert outcome.err == (
        f"pyctrigger: outside the scope of {flavour}: /etc/passwd, {tree.parent}; "
        f"the scope is {tree}; name their directories with --site-dir as well\n"
    )
    assert snapshot(tree) == before
    document = pyctrigger.json("run", *scope, tree / "one", "/etc/passwd").document
    assert ([error["code"] for error in document["errors"]], document["runs"]) == ([2], [])
    assert snapshot(tree) == before


@pytest.mark.parametrize("verb", ["run", "repair", "sweep", "verify", "status", "purge"])
def test_every_command_is_bounded_by_the_scope(
    pyctrigger: Command, tree: Path, scope: list[Argument], verb: str
) -> None:
    """Looking isn't freer than writing."""
    outcome = pyctrigger.text(verb, *scope, "/etc")
    assert outcome.code == 2
    assert "/etc" in outcome.err


def test_hook_names_a_path_outside_and_does_the_rest(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """A transaction touches many other files. Without state a hook can't compare directories with earlier ones."""
    outcome = pyctrigger.text("run", "--hook", "--stateless", *scope, tree / "one", "/etc/passwd")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("pyctrigger: outside the scope of ")
    assert "/etc/passwd" in outcome.err.splitlines()[0]
    assert compiled(tree) == {"one", "module"}


def test_hook_with_nothing_inside_does_nothing(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """All paths left out are no whole scope."""
    before = snapshot(tree)
    assert pyctrigger.json("run", "--hook", "--stateless", *scope, "/etc/passwd").counts["compiled"] == 0
    assert snapshot(tree) == before


def test_list_has_one_path_a_line(pyctrigger: Command, tree: Path, scope: list[Argument], tmp_path: Path) -> None:
    """From a file or from standard input, beside those of the command line; the last line may lack its end."""
    listed = tmp_path / "list"
    listed.write_bytes(os.fsencode(tree / "one") + b"\n\n" + os.fsencode(tree / "two"))
    pyctrigger.json("run", *scope, "--paths-from", listed, tree / "three")
    assert compiled(tree) == {"one", "two", "three", "module"}


def test_list_on_standard_input(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """Where a dash asks for it."""
    pyctrigger.json("run", *scope, "--paths-from", "-", stdin=os.fsencode(tree / "one") + b"\n")
    assert compiled(tree) == {"one", "module"}


def test_list_separated_by_nul_holds_any_byte(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Newlines and what isn't UTF-8."""
    names = [b"new\nline", b"\xff\xfe", b" ", b"-q", b"--hook"]
    for name in names:
        os.mkdir(os.path.join(os.fsencode(site), name))
        with open(os.path.join(os.fsencode(site), name, b"m.py"), "wb"):
            pass
    paths = [os.path.join(os.fsencode(site), name) for name in names]

    outcome = pyctrigger.json(
        "run", "--python", newest.path, "--site-dir", site, "--null", "--paths-from", "-", stdin=b"\0".join(paths)
    )

    assert (outcome.code, outcome.counts["compiled"]) == (0, len(names))
    assert {path.rpartition(b"/__pycache__/")[0] for path in pycs_below(site)} == set(paths)


def test_list_with_nul_that_was_not_announced(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """`find -print0` without `--null` names no path in the scope: an error with a hint, not a defect or a guess."""
    listed = os.fsencode(tree / "one") + b"\0" + os.fsencode(tree / "two") + b"\0"
    before = snapshot(tree)
    outcome = pyctrigger.text("run", *scope, "--paths-from", "-", stdin=listed)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "pyctrigger: --paths-from -: a path holds a NUL; use --null if NULs separate the paths\n"
    assert snapshot(tree) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--null"], "--null needs --paths-from; add --paths-from, or leave out --null"),
        (["--paths-from", "/nowhere"], "--paths-from /nowhere: No such file or directory; name a readable file, or -"),
        (["--paths-from", "/"], "--paths-from /: Is a directory; name a readable file, or -"),
    ],
)
def test_list_that_can_not_be_read(
    pyctrigger: Command, tree: Path, scope: list[Argument], arguments: list[str], message: str
) -> None:
    """Is wrong usage; a hook says so and continues."""
    outcome = pyctrigger.text("run", *scope, *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"pyctrigger: {message}\n")
    hook = pyctrigger.text("run", "--hook", *scope, *arguments)
    lost = "; the work of this transaction was not done; once that is fixed: pyctrigger repair "
    assert (hook.code, hook.out, hook.err.partition(lost)[0]) == (0, "", f"pyctrigger: {message}")
    assert compiled(tree) == set()


def test_standard_input_is_not_read_unasked(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """pkg's is a pipe that it never closes."""
    for arguments in ([], ["--hook"], [tree / "one"], ["--paths-from", "/dev/null"]):
        child = pyctrigger.start("run", *scope, *arguments, stdin=subprocess.PIPE)
        try:
            assert child.wait(60) == 0
        finally:
            child.kill()
            child.communicate()


def test_twenty_thousand_paths_are_one_transaction(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """An upgrade of a whole system; most of what it touched is gone."""
    listed: list[bytes] = []
    for number in range(10_000):
        listed += [
            b"%b/one/gone%d/module.py" % (os.fsencode(tree), number),
            b"/usr/share/doc/package%d/copyright" % number,
        ]
    outcome = pyctrigger.json("run", "--hook", "--stateless", *scope, "--paths-from", "-", stdin=b"\n".join(listed))
    assert outcome.code == 0
    assert compiled(tree) == {"one", "module"}


def test_path_through_a_link_above(pyctrigger: Command, tree: Path, scope: list[Argument], tmp_path: Path) -> None:
    """The names in the bytecode are those of the scope all the same."""
    (tmp_path / "above").symlink_to(tmp_path)
    outcome = pyctrigger.json("run", *scope, tmp_path / "above" / tree.name / "one")
    assert (outcome.code, outcome.failures) == (0, [])
    assert compiled(tree) == {"one", "module"}
    (pyc,) = [path for path in pycs_below(tree) if b"/one/" in path]
    with open(pyc, "rb") as file:
        assert os.fsencode(tree / "one/__init__.py") in file.read()


def test_path_of_any_type_may_be_touched(pyctrigger: Command, tree: Path, scope: list[Argument]) -> None:
    """A FIFO, a dangling link, a file where a package was."""
    os.mkfifo(tree / "fifo")
    (tree / "dangling").symlink_to("/nowhere/at/all")
    (tree / "file").write_text("")
    paths: list[Any] = [tree / "fifo", tree / "fifo/x.py", tree / "dangling/x.py", tree / "file/x.py"]
    outcome = pyctrigger.json("run", *scope, "--event", "upgrade", *paths)
    assert (outcome.code, outcome.failures) == (0, [])
    assert compiled(tree) == {"module"}
