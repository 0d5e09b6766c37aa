"""Writes are whole or not at all, go only where they belong, and give no account more rights than the source does."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from command import Command, heed_signals
from conftest import absent
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from processes import wait_until
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interpreters import Interpreter

    Mount = Callable[[str], Path]

SECRET = "hunter2_is_the_password"
#: A host that dawdles around each read and write of a file: whoever changes the file or kills the host there
#: gets the time to.
_SLOW = """
import os, stat, sys, time
def dawdling(call):
    def slow(descriptor, what):
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        time.sleep(0.003 * regular)
        answer = call(descriptor, what)
        time.sleep(0.003 * regular)
        return answer
    return slow
os.read, os.write = dawdling(os.read), dawdling(os.write)
from pyctrigger.cli import main
sys.exit(main())
"""
#: Accounts that no system uses for anything.
ALICE, BOB, TEAM = 64501, 64502, 64599


def on(interpreter: Interpreter, site: Path) -> list[str]:
    """The options that put this interpreter on this site directory."""
    return ["--python", interpreter.path, "--site-dir", str(site)]


def big_source(number: int, lines: int = 400) -> str:
    """A source whose pyc takes several pages."""
    return "".join(f"name_{number}_{line} = 'text {number} {line}'\n" for line in range(lines))


def residue_below(top: Path) -> list[bytes]:
    """Every file in the making that was left behind."""
    return [path for path in pycs_below(top) if not path.endswith(b".pyc")]


def slow_program() -> list[str]:
    """The command on a host that dawdles."""
    return [sys.executable, "-c", _SLOW]


@pytest.fixture
def mount(as_root: None, tmp_path: Path) -> Iterator[Mount]:
    """Makes a directory that is a small tmpfs with the given options."""
    program, undo = find_tool("mount"), find_tool("umount")
    if program is None or undo is None:
        absent("mount and umount")
    mounted: list[Path] = []

    def make(options: str) -> Path:
        directory = tmp_path / f"tmpfs{len(mounted)}"
        directory.mkdir()
        child = subprocess.run(
            [program, "-t", "tmpfs", "-o", options, "tmpfs", directory], capture_output=True, check=False
        )
        if child.returncode != 0:
            absent(f"rights to mount a tmpfs: {child.stderr.decode().strip()}")
        mounted.append(directory)
        return directory

    yield make
    for directory in mounted:
        subprocess.run([undo, directory], check=True)


def remount(directory: Path, how: str) -> None:
    """Make a mounted file system read-only (`ro`), or give it back (`rw`)."""
    subprocess.run([str(find_tool("mount")), "-o", f"remount,{how}", directory], check=True)


# -- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_full_disk_fails_the_files_that_found_no_room_and_tears_none(
    pyctrigger: Command, mount: Mount, newest: Interpreter
) -> None:
    """What fits is fresh by the target's own word, the rest is named, and nothing unfinished is left."""
    top = mount("size=1m")
    site = write_tree(top / "site", {f"package/m{number:02}.py": big_source(number) for number in range(24)})
    # What is left is a quarter of what the bytecode needs, and no multiple of a pyc's size.
    room = os.statvfs(top)
    (top / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_bsize - 97 * 1024))

    outcome = pyctrigger.json("run", *on(newest, site))

    counts = outcome.counts
    assert (1, 24) == (outcome.code, counts["compiled"] + counts["failed"])
    assert counts["compiled"] >= 1
    assert counts["failed"] >= 1
    assert {("io", "No space left on device")} == {(each["kind"], each["message"]) for each in outcome.failures}
    failed = sorted(os.fsencode(each["path"]) for each in outcome.failures)
    assert [(path, "compiled") for path in failed] == not_fresh(newest, sources_below(site))
    assert counts["compiled"] == len(pycs_below(site))
    assert [] == residue_below(site)
    (top / "ballast").unlink()
    again = pyctrigger.json("run", *on(newest, site))
    assert (0, counts["failed"]) == (again.code, again.counts["compiled"])
    assert [] == not_fresh(newest, sources_below(site))


def test_a_limit_of_file_size_fails_the_files_that_exceed_it_and_tears_none(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A short write is no write: `_write_atomic` of most CPythons gives it its final name."""
    small = {f"package/small{number}.py": "x = 1\n" for number in range(10)}
    write_tree(site, {**small, **{f"package/big{number}.py": big_source(number) for number in range(10)}})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    outcome = pyctrigger.json("run", *on(newest, site), preexec_fn=limit)

    assert (1, 10, 10) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
    assert {("io", "File too large")} == {(each["kind"], each["message"]) for each in outcome.failures}
    failed = sorted(os.fsencode(each["path"]) for each in outcome.failures)
    assert [path for path in sources_below(site) if b"big" in path] == failed
    assert 10 == len(pycs_below(site))
    assert [(path, "compiled") for path in failed] == not_fresh(newest, sources_below(site))


def test_a_limit_of_file_size_leaves_the_older_pyc_in_its_place(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """Until the new bytecode is whole the old bytes stay under the name."""
    write_tree(site, {"package/module.py": "x = 1\n"})
    pyctrigger.json("run", *on(newest, site))
    (pyc,) = pycs_below(site)
    with open(pyc, "rb") as file:
        before = file.read()
    write_tree(site, {"package/module.py": big_source(1)})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    outcome = pyctrigger.json("run", *on(newest, site), preexec_fn=limit)

    assert (1, 1) == (outcome.code, outcome.counts["failed"])
    with open(pyc, "rb") as file:
        assert before == file.read()
    assert [pyc] == pycs_below(site)


def test_a_read_only_tree_is_one_line(pyctrigger: Command, mount: Mount, newest: Interpreter) -> None:
    """Neither a failure a file nor an exit code: there is nothing that anybody could do about it here."""
    top = mount("size=1m")
    site = write_tree(top / "site", {f"package{number}/m.py": "" for number in range(5)})
    pyctrigger.json("run", *on(newest, site))
    for number in range(2):
        write_tree(site, {f"package{number}/m.py": "changed = 1\n"})
    write_tree(site, {"new/m.py": ""})
    (site / "package4/m.py").unlink()
    before = snapshot(top)
    remount(top, "ro")
    line = f"{site} is on a read-only file system; nothing was changed there"

    for arguments in (["run"], ["repair"], ["run", "--hook"], ["sweep"], ["purge", "-y"]):
        spoken = pyctrigger.text(*arguments, *on(newest, site))
        told = [said for said in spoken.err.splitlines() if not said.startswith(newest.flavour)]
        assert (0, [f"pyctrigger: {line}" if "--hook" in arguments else line]) == (spoken.code, told)
    outcome = pyctrigger.json("run", *on(newest, site))

    assert (0, [line], []) == (outcome.code, outcome.run["notices"], outcome.failures)
    assert {**dict.fromkeys(outcome.counts, 0), "fresh": 2, "skipped": 3} == outcome.counts
    assert snapshot(top) == before


def test_a_hook_does_not_journal_what_lies_on_a_read_only_tree(
    pyctrigger: Command, mount: Mount, tmp_path: Path, newest: Interpreter
) -> None:
    """No later run could do that work either; on a writable tree the same hook leaves an entry."""
    top = mount("size=1m")
    site = write_tree(top / "site", {"package/m.py": ""})
    config = tmp_path / "pyctrigger.toml"
    config.write_text("[hooks]\nenabled = false\n")
    arguments = [*on(newest, site), "--hook", "--config", str(config), str(site / "package")]

    def entries() -> int:
        return len(list(pyctrigger.state.glob("*/journal/*.json")))

    remount(top, "ro")
    assert 0 == pyctrigger.text("run", *arguments).code
    assert 0 == entries()
    remount(top, "rw")
    assert 0 == pyctrigger.text("run", *arguments).code
    assert 1 == entries()


def test_state_that_finds_no_room_is_done_without(
    pyctrigger: Command, mount: Mount, site: Path, newest: Interpreter
) -> None:
    """A full /var is said once, and costs no bytecode."""
    top = mount("size=64k")
    with contextlib.suppress(OSError), open(top / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)
    write_tree(site, {"package/m.py": "x = 1\n", "package/bad.py": "x = = 1\n"})

    spoken = pyctrigger.text("run", "--state-dir", top / "state", *on(newest, site))

    notices = [line for line in spoken.err.splitlines() if line.startswith("no state is kept: ")]
    assert 1 == len(notices)
    assert ": No space left on device; " in notices[0]
    assert f"{newest.flavour}: 1 compiled, 0 removed, 1 failed in " in spoken.out
    assert [] == not_fresh(newest, [os.fsencode(site / "package/m.py")])


def test_a_store_that_finds_no_room_costs_no_bytecode(
    pyctrigger: Command, mount: Mount, site: Path, newest: Interpreter
) -> None:
    """What was being compiled for it has the name of its own file; that the store is full is said once."""
    store = mount("size=64k,mode=755") / "store"
    config = site.parent / "config.toml"
    config.write_text(f'[store]\nurl = "{store}"\n')
    write_tree(site, {f"package/m{number}.py": f"x = {number}\n" * 700 for number in range(60)})

    outcome = pyctrigger.json("run", *on(newest, site), "--config", config)

    assert (0, 60) == (outcome.code, outcome.counts["compiled"])
    assert ["the store keeps nothing more: No space left on device"] == outcome.run["notices"]
    written = contents(site)
    for path in pycs_below(site):
        os.unlink(path)
    assert 60 == pyctrigger.json("run", *on(newest, site)).counts["compiled"]
    assert written == contents(site)


def contents(site: Path) -> dict[str, bytes]:
    """All pycs of a tree."""
    return {path.name: path.read_bytes() for path in site.rglob("*.pyc")}


def test_a_source_that_changes_under_the_reader_never_gives_old_code_a_new_header(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A header that names one version with the code of another is stale for ever."""
    pyctrigger.program = slow_program()
    sources = [site / f"m{number}.py" for number in range(6)]
    for source in sources:
        source.write_text("")
    stop = threading.Event()

    def rewrite() -> None:
        version = 0
        while not stop.is_set():
            for source in sources:
                version += 1
                head, tail = f"FIRST = {version}\n#", f"\nLAST = {version}\n"
                text = (head + "x" * (200_000 - len(head) - len(tail)) + tail).encode()
                # All have the same size, and each version a second of its own, which the header tells.
                if version % 3:  # as an editor does it
                    source.write_bytes(text)
                    os.utime(source, (version, version))
                else:  # as a package manager does it
                    (site / "new").write_bytes(text)
                    os.utime(site / "new", (version, version))
                    (site / "new").replace(source)
                stop.wait(0.002)

    thread = threading.Thread(target=rewrite)
    thread.start()
    judged = 0
    try:
        for _ in range(3):
            outcome = pyctrigger.json("run", *on(newest, site))
            assert {("refused", "it changes while it is read")} >= {
                (each["kind"], each["message"]) for each in outcome.failures
            }
            judged += assert_code_fits_header(newest, pycs_below(site))
    finally:
        stop.set()
        thread.join()
    assert judged > 0
    assert 0 == pyctrigger.json("run", *on(newest, site)).code
    assert [] == not_fresh(newest, sources_below(site))


def assert_code_fits_header(interpreter: Interpreter, pycs: list[bytes]) -> int:
    """How many pycs name one and the same version in header and code, by the target's own unmarshalling."""
    program = (
        "import marshal, sys\n"
        "for path in sys.argv[1:]:\n"
        "    data = open(path, 'rb').read()\n"
        "    names = {}\n"
        "    exec(marshal.loads(data[16:]), names)\n"
        "    fields = [int.from_bytes(data[at:at + 4], 'little') for at in (8, 12)]\n"
        "    print(*fields, names.get('FIRST'), names.get('LAST'))\n"
    )
    child = subprocess.run([interpreter.path, "-I", "-S", "-c", program, *pycs], capture_output=True, check=True)
    judged = 0
    for line in child.stdout.decode().splitlines():
        version, size, first, last = line.split()
        # Else a file that was seen, truly, before it was finished: with the time of now; or, where truncating sets the
        # size first and the time at its end (ext4), without a byte under the time of the version before.
        if int(version) < 10**8 and int(size) == 200_000:
            assert version == first == last
            judged += 1
    return judged


def test_what_vanishes_while_the_run_goes_on_is_no_failure(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """A package manager's next transaction doesn't wait; what is gone isn't made again."""
    files = {
        f"package{number:02}/sub/m{module}.py": big_source(module, 50) for number in range(20) for module in range(8)
    }
    program = pyctrigger.program
    for seed in range(2):
        pyctrigger.program = program if seed % 2 else slow_program()
        write_tree(site, files)
        going = random.Random(seed).sample(range(20), 10)
        with pyctrigger.start("run", *on(newest, site), "--json") as child:
            wait_until(lambda: bool(pycs_below(site)))
            for number in going:
                # A writer at work puts things back into what is being removed; rm would be run again, too.
                while (site / f"package{number:02}").exists():
                    shutil.rmtree(site / f"package{number:02}", ignore_errors=True)
            out, err = child.communicate(timeout=120)

        assert (0, b"") == (child.returncode, err), out
        assert set(going).isdisjoint(int(path.name[-2:]) for path in site.iterdir())
        assert [] == residue_below(site)
        assert [] == not_fresh(newest, sources_below(site))
        assert 10 * 8 == len(pycs_below(site))
        shutil.rmtree(site)
        site.mkdir()


# -- owner and mode --------------------------------------------------------------------------------------------------


def make_owned(path: Path, uid: int, gid: int, mode: int, text: str | None = None) -> None:
    """A directory, or with `text` a file, of this owner and mode."""
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    os.chown(path, uid, gid)
    path.chmod(mode)


def owned(path: Path) -> tuple[int, int, str]:
    """Owner, group and mode."""
    status = path.lstat()
    return status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))


#: A directory and a source in it; and then the `__pycache__` and the pyc.
OWNED = [
    ((0, 0, 0o755), (0, 0, 0o644), (0, 0, "0o755"), (0, 0, "0o644")),
    ((0, 0, 0o755), (0, 0, 0o600), (0, 0, "0o755"), (0, 0, "0o600")),
    ((0, 0, 0o700), (0, 0, 0o664), (0, 0, "0o700"), (0, 0, "0o644")),
    ((0, TEAM, 0o2775), (0, TEAM, 0o775), (0, TEAM, "0o2775"), (0, TEAM, "0o644")),
    ((0, TEAM, 0o750), (0, TEAM, 0o640), (0, TEAM, "0o750"), (0, TEAM, "0o640")),
    ((ALICE, TEAM, 0o755), (ALICE, TEAM, 0o644), (ALICE, TEAM, "0o755"), (ALICE, TEAM, "0o644")),
    ((ALICE, ALICE, 0o775), (ALICE, TEAM, 0o640), (ALICE, ALICE, "0o775"), (ALICE, TEAM, "0o640")),
    ((0, 0, 0o1777), (0, 0, 0o444), (0, 0, "0o755"), (0, 0, "0o644")),
    ((0, 0, 0o1777), (0, 0, 0o666), (0, 0, "0o755"), (0, 0, "0o644")),
    ((0, 0, 0o750), (0, 0, 0o755), (0, 0, "0o750"), (0, 0, "0o644")),
    # A source's owner gets nothing of a directory that isn't theirs: they could replace root's bytecode.
    ((0, 0, 0o755), (ALICE, ALICE, 0o644), (0, 0, "0o755"), (0, 0, "0o644")),
    ((0, 0, 0o755), (ALICE, TEAM, 0o640), (0, 0, "0o755"), (0, TEAM, "0o640")),
    ((ALICE, ALICE, 0o755), (0, 0, 0o644), (ALICE, ALICE, "0o755"), (ALICE, ALICE, "0o644")),
    ((ALICE, ALICE, 0o755), (BOB, BOB, 0o644), (ALICE, ALICE, "0o755"), (ALICE, ALICE, "0o644")),
]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.usefixtures("as_root")
def test_owner_and_mode_come_from_the_tree(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, umask: int
) -> None:
    """`__pycache__` is like its parent, a pyc like its source where one account owns both; the umask says nothing."""
    for number, (directory, source, *_) in enumerate(OWNED):
        make_owned(site / f"package{number}", *directory)
        make_owned(site / f"package{number}/module.py", *source, text="x = 1\n")
    (tmp_path / "config").write_text('[defaults]\nuntrusted_directories = "allow"\n')
    arguments = [*on(newest, site), "--config", str(tmp_path / "config")]

    outcome = pyctrigger.json("run", *arguments, preexec_fn=lambda: os.umask(umask))

    assert (0, len(OWNED)) == (outcome.code, outcome.counts["compiled"])
    pycaches = [site / f"package{number}/__pycache__" for number in range(len(OWNED))]
    pyc = f"module.{tag_of(newest)}.pyc"
    assert [tuple(row[2:]) for row in OWNED] == [(owned(each), owned(each / pyc)) for each in pycaches]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_mode_of_a_users_own_tree_comes_from_the_source(
    pyctrigger: Command, site: Path, newest: Interpreter, umask: int
) -> None:
    """Under umask 077 the bytecode of a shared tree stays readable, and that of a private source private."""
    write_tree(site, {"package/shared.py": "", "package/private.py": ""})
    (site / "package/shared.py").chmod(0o644)
    (site / "package/private.py").chmod(0o600)
    (site / "package").chmod(0o755)

    pyctrigger.json("run", *on(newest, site), preexec_fn=lambda: os.umask(umask))

    modes = {path.name.split(".")[0]: owned(path)[2] for path in (site / "package/__pycache__").iterdir()}
    assert {"shared": "0o644", "private": "0o600"} == modes
    assert "0o755" == owned(site / "package/__pycache__")[2]


def said_and_kept(pyctrigger: Command, *tops: Path) -> bytes:
    """Everything below these directories and in the state, contents and names."""
    pieces = []
    for top in (*tops, pyctrigger.state):
        for directory, _, names in os.walk(top):
            for name in names:
                pieces.append(os.fsencode(name))
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        pieces.append(file.read())
    return b"".join(pieces)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
@pytest.mark.parametrize("owner", [0, BOB])
@pytest.mark.usefixtures("as_root")
def test_a_private_source_in_anothers_directory_is_not_revealed_to_them(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, mode: int, owner: int
) -> None:
    """A hard link, or a file that was moved there: the directory's owner would own, and read, its bytecode."""
    make_owned(site / "package", ALICE, ALICE, 0o755)
    make_owned(site / "package/private.py", owner, TEAM, mode, f"password = '{SECRET}'\n")
    make_owned(site / "package/public.py", owner, TEAM, 0o644, "x = 1\n")
    (tmp_path / "config").write_text('[defaults]\nuntrusted_directories = "allow"\n')

    outcome = pyctrigger.text("run", "-vv", *on(newest, site), "--config", tmp_path / "config")

    assert 1 == outcome.code
    said = f"refused: account {ALICE}, which owns its directory, may not read it"
    assert f"{site}/package/private.py: {said}\n" in outcome.err
    assert [f"public.{tag_of(newest)}.pyc"] == os.listdir(site / "package/__pycache__")
    (site / "package/private.py").unlink()
    assert SECRET.encode() not in said_and_kept(pyctrigger, site)
    assert SECRET not in outcome.out + outcome.err


# -- sources that are links ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [f"password = '{SECRET}'\n", f"{SECRET} = = 1\n", f"{SECRET}:x:0:0\n\0"])
@pytest.mark.parametrize("through", ["absolute", "relative", "a link in the tree"])
def test_a_link_out_of_the_tree_is_refused_and_its_goal_not_revealed(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, text: str, through: str
) -> None:
    """Neither compiled nor quoted, reported once, and silent from then on."""
    (tmp_path / "shadow").write_text(text)
    write_tree(site, {"package/module.py": ""})
    link = site / "package/link.py"
    if through == "absolute":
        link.symlink_to(tmp_path / "shadow")
    elif through == "relative":
        link.symlink_to("../../shadow")
    else:
        (site / "outside").symlink_to(tmp_path)
        link.symlink_to("../outside/shadow")

    first = pyctrigger.text("run", "-vv", *on(newest, site))
    second = pyctrigger.text("run", "-vv", *on(newest, site))

    assert (1, 0) == (first.code, second.code)
    said = [line for line in first.err.splitlines() if line.startswith(f"{link}: refused: ")]
    assert 1 == len(said)
    assert str(link) not in second.err
    assert 1 == len(pycs_below(site))
    assert SECRET not in first.out + first.err + second.out + second.err
    assert SECRET.encode() not in said_and_kept(pyctrigger, site)


@pytest.mark.few_targets
def test_a_link_inside_the_tree_is_compiled_as_the_target_sees_it(
    pyctrigger: Command, site: Path, interpreter: Interpreter
) -> None:
    """Under the link's name, with the times and the size of what it leads to."""
    write_tree(site, {"package/real.py": "x = 1\n", "other/__init__.py": ""})
    os.utime(site / "package/real.py", (1_000_000_000, 1_000_000_000))
    links = [site / "package/relative.py", site / "other/up.py", site / "absolute.py", site / "chain.py"]
    for link, goal in zip(links, ["real.py", "../package/relative.py", f"{site}/package/real.py", "absolute.py"]):
        link.symlink_to(goal)

    outcome = pyctrigger.json("run", *on(interpreter, site))

    assert (0, 6) == (outcome.code, outcome.counts["compiled"])
    assert [] == not_fresh(interpreter, [*sources_below(site), *map(os.fsencode, links)])
    assert 6 == pyctrigger.json("run", *on(interpreter, site)).counts["fresh"]
    write_tree(site, {"package/real.py": "x = 'longer'\n"})
    assert 5 == pyctrigger.json("run", *on(interpreter, site)).counts["compiled"]
    assert [] == not_fresh(interpreter, [*sources_below(site), *map(os.fsencode, links)])


@pytest.mark.usefixtures("as_root")
def test_somebody_elses_link_to_a_private_file_is_refused(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Also inside the tree: a link could make root compile what only its owner may read."""
    make_owned(site / "private", 0, 0, 0o700)
    make_owned(site / "private/secret.py", 0, 0, 0o600, f"password = '{SECRET}'\n")
    make_owned(site / "alices", ALICE, ALICE, 0o755)
    (site / "alices/link.py").symlink_to("../private/secret.py")
    os.lchown(site / "alices/link.py", ALICE, ALICE)

    outcome = pyctrigger.text("run", *on(newest, site))

    assert 1 == outcome.code
    assert (
        f"{site}/alices/link.py: refused: a link to a file that account {ALICE}, which owns the link, may not read\n"
        == outcome.err
    )
    assert not (site / "alices/__pycache__").exists()
    assert (0, 0, "0o600") == owned(site / f"private/__pycache__/secret.{tag_of(newest)}.pyc")


@pytest.mark.parametrize("kind", ["fifo", "socket", "dangling link", "loop", "link to a fifo", "link to a device"])
def test_what_only_has_the_name_of_a_source_is_left_alone(
    pyctrigger: Command, site: Path, newest: Interpreter, kind: str
) -> None:
    """Nothing of it is opened, so nothing hangs; the module beside it is compiled."""
    write_tree(site, {"package/module.py": ""})
    odd = site / "package/odd.py"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        make_socket(odd)
    elif kind == "dangling link":
        odd.symlink_to("nowhere.py")
    elif kind == "loop":
        odd.symlink_to("odd.py")
    elif kind == "link to a fifo":
        os.mkfifo(site / "package/fifo")
        odd.symlink_to("fifo")
    else:
        odd.symlink_to("/dev/zero")

    outcome = pyctrigger.json("run", *on(newest, site))

    assert 1 == outcome.counts["compiled"]
    assert {("refused", str(odd))} >= {(each["kind"], each["path"]) for each in outcome.failures}
    assert 1 == len(pycs_below(site))


def make_socket(path: Path) -> None:
    """A socket in the file system, by a name short enough for one."""
    import socket

    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


# -- what stands in the way ------------------------------------------------------------------------------------------


def put_in_the_way(path: Path, kind: str, victim: Path) -> None:
    """Something other than what belongs under the name `path`."""
    if kind == "file":
        path.write_text("not a directory")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        make_socket(path)
    elif kind == "dangling link":
        path.symlink_to(victim / "nowhere")
    elif kind == "link to a directory":
        path.symlink_to(victim)
    elif kind == "link to a file":
        path.symlink_to(victim / "precious.txt")
    elif kind == "hard link":
        os.link(victim / "precious.txt", path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.mkdir()
        (path / "inside.txt").write_text("x")


@pytest.fixture
def victim(tmp_path: Path, newest: Interpreter) -> Path:
    """A directory outside of every scope, with names in it that a careless sweep would take."""
    tag = tag_of(newest)
    files = ["precious.txt", f"gone.{tag}.pyc", f"module.{tag}.pyc", ".pyctrigger-stateless-0123456789abcdef.tmp"]
    return write_tree(tmp_path / "victim", dict.fromkeys(files, "precious"))


@pytest.mark.parametrize("kind", ["link to a directory", "link to a file", "dangling link", "file", "fifo", "socket"])
def test_what_stands_in_the_way_of_a_pycache_is_named_by_run_and_replaced_by_repair(
    pyctrigger: Command, site: Path, victim: Path, newest: Interpreter, kind: str
) -> None:
    """Nothing is written or removed through it; the directories next to it are compiled."""
    write_tree(site, {"package/module.py": "", "package/sub/inner.py": "", "other/module.py": ""})
    obstacle = site / "package/__pycache__"
    put_in_the_way(obstacle, kind, victim)
    before = snapshot(victim)

    outcome = pyctrigger.json("run", *on(newest, site))

    assert (1, 2, 1) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
    message = "it is a link or a file; pyctrigger repair replaces it"
    assert [{"path": str(obstacle), "kind": "refused", "message": message}] == outcome.failures
    assert not obstacle.is_dir() or obstacle.is_symlink()
    for verb in ("sweep", "purge -y"):
        pyctrigger.json(*verb.split(), *on(newest, site))
    assert snapshot(victim) == before

    repaired = pyctrigger.json("repair", *on(newest, site))

    assert 0 == repaired.code
    assert stat.S_ISDIR(obstacle.lstat().st_mode)
    assert [] == not_fresh(newest, sources_below(site))
    assert snapshot(victim) == before


@pytest.mark.parametrize(
    "kind", ["link to a file", "link to a directory", "dangling link", "hard link", "fifo", "socket"]
)
@pytest.mark.parametrize("verb", ["run", "repair"])
@pytest.mark.parametrize("mode", ["timestamp", "checked-hash"])
def test_what_stands_in_the_place_of_a_pyc_is_replaced(
    pyctrigger: Command, site: Path, victim: Path, newest: Interpreter, kind: str, verb: str, mode: str
) -> None:
    """One rename takes its place, whatever it was; nothing hangs, and what it led to is as it was."""
    write_tree(site, {"package/module.py": ""})
    pyc = site / f"package/__pycache__/module.{tag_of(newest)}.pyc"
    pyc.parent.mkdir()
    put_in_the_way(pyc, kind, victim)
    before = snapshot(victim)

    outcome = pyctrigger.json(verb, *on(newest, site), "--invalidation-mode", mode)

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    assert stat.S_ISREG(pyc.lstat().st_mode)
    assert [] == not_fresh(newest, sources_below(site))
    assert [path.name for path in pyc.parent.iterdir()] == [pyc.name]
    assert {path: (*each[:4], each[5]) for path, each in before.items()} == {
        path: (*each[:4], each[5]) for path, each in snapshot(victim).items()
    }


@pytest.mark.parametrize("kind", ["directory", "full directory"])
def test_a_directory_in_the_place_of_a_pyc_is_named_and_an_empty_one_repaired(
    pyctrigger: Command, site: Path, victim: Path, newest: Interpreter, kind: str
) -> None:
    """Nothing of what is in it is ours to remove."""
    write_tree(site, {"package/module.py": "", "package/other.py": ""})
    pyc = site / f"package/__pycache__/module.{tag_of(newest)}.pyc"
    pyc.parent.mkdir()
    put_in_the_way(pyc, kind, victim)

    outcome = pyctrigger.json("run", *on(newest, site))

    assert (1, 1, 1) == (outcome.code, outcome.counts["compiled"], outcome.counts["failed"])
    assert [(str(site / "package/module.py"), "refused")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert [] == residue_below(site)
    repaired = pyctrigger.json("repair", *on(newest, site))
    if kind == "directory":
        assert (0, 1) == (repaired.code, repaired.counts["compiled"])
        assert [] == not_fresh(newest, sources_below(site))
    else:
        assert (1, 1) == (repaired.code, repaired.counts["failed"])
        assert "x" == (pyc / "inside.txt").read_text()
    assert [] == residue_below(site)


def test_a_signal_ends_a_run_without_residue(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Ctrl-C at the terminal: an exit code, one line, no traceback, no file in the making."""
    write_tree(site, {f"package{number}/m.py": big_source(number) for number in range(60)})
    with pyctrigger.start("run", *on(newest, site), preexec_fn=heed_signals) as child:
        wait_until(lambda: bool(pycs_below(site)))
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)

    assert (130, b"pyctrigger: interrupted; run it again to finish\n") == (child.returncode, err)
    assert [] == residue_below(site)
    assert 0 == pyctrigger.json("run", *on(newest, site)).code
    assert [] == not_fresh(newest, sources_below(site))
