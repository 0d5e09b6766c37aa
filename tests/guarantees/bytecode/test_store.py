"""Runs that take code from a store instead of compiling it: the same bytes, and nothing more is told or written."""

from __future__ import annotations

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from large_trees import bulk
from packages import pycs_below, write_tree
from pyctrigger.interpreter.probe import probe
from pyctrigger.store.container import NO_ORIGIN, StoredCode
from pyctrigger.store.key import keys_of
from pyctrigger.store.local import open_local
from stored_sources import STORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Command, Outcome
    from interpreters import Interpreter

SOURCES = {
    **STORED,
    "p/bad.py": "x = = 1\n",
    "q/latin.py": "# coding: latin-1\nx = 'e'\n",
}
#: Of these, those that have code.
COUNT = len(SOURCES) - 1


class Shop:
    """A store, and trees in different places that all have the same sources."""

    def __init__(self, command: Command, python: Interpreter, top: Path) -> None:
        self.command, self.python, self.top = command, python, top
        self.store = top / "store"
        self.configure()

    def configure(self, **keys: str) -> None:
        """Write the configuration, with other keys of [store], too."""
        lines = [f"{name} = {value}" for name, value in {"url": f'"{self.store}"', **keys}.items()]
        (self.top / "config.toml").write_text("\n".join(["[store]", *lines, ""]))

    def tree(self, name: str, sources: dict[str, str] | None = None) -> Path:
        """A tree of this name."""
        return write_tree(self.top / name, SOURCES if sources is None else sources)

    def run(self, tree: Path, *options: str, verb: str = "run", with_store: bool = True) -> Outcome:
        """A run over it, with state of its own."""
        scope = ["--python", self.python.path, "--site-dir", str(tree), "--state-dir", str(tree) + "-state"]
        config = ["--config", str(self.top / "config.toml")] if with_store else []
        return self.command.json(verb, *scope, *config, *options)

    def explain(self, tree: Path, name: str) -> str:
        """What is said of a source."""
        scope = ["--python", self.python.path, "--site-dir", str(tree), "--state-dir", str(tree) + "-state"]
        return self.command.text("explain", *scope, str(tree / name)).out

    def alone(self, tree: Path, *options: str) -> dict[str, bytes]:
        """What is in the pycs of a tree in the same place, if a run without a store writes them."""
        content = content_of(tree)
        for name in content:
            (tree / name).unlink()
        shutil.rmtree(str(tree) + "-state")
        self.run(tree, *options, with_store=False)
        return content_of(tree)


def content_of(tree: Path) -> dict[str, bytes]:
    """All pycs of a tree."""
    pycs = [Path(os.fsdecode(path)) for path in pycs_below(tree)]
    return {os.path.relpath(path, tree): path.read_bytes() for path in pycs}


def counts(outcome: Outcome) -> tuple[int, int]:
    """How many were compiled, and how many came from the store."""
    return outcome.counts["compiled"], outcome.counts["stored"]


@pytest.fixture
def shop(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> Shop:
    """One for a test."""
    return Shop(pyctrigger, newest, tmp_path)


#: Options of both runs.
KINDS: dict[str, list[str]] = {
    "plain": [],
    "all levels": ["--optimize", "0,1,2"],
    "checked": ["--invalidation-mode", "checked-hash"],
    "clamped": ["--source-date-epoch", "1000"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_tree_is_not_compiled(shop: Shop, kind: str) -> None:
    """Elsewhere, and without state: the bytes are those of a run without a store, and failures are told again."""
    first = shop.run(shop.tree("first"), *KINDS[kind])
    tree = shop.tree("somewhere/else", {**SOURCES, "new.py": "new = True\n"})

    second = shop.run(tree, *KINDS[kind])

    assert [(1, (COUNT, 0)), (1, (1, COUNT))] == [(each.code, counts(each)) for each in (first, second)]
    assert ["syntax"] == [each["kind"] for each in second.failures]
    content = content_of(tree)
    assert content == shop.alone(tree, *KINDS[kind])
    assert len(content) == (COUNT + 1) * (3 if kind == "all levels" else 1)


def test_each_interpreter_takes_what_it_has_kept_itself(shop: Shop, interpreter: Interpreter) -> None:
    """At all levels; nothing of another one, whose code is in the same store."""
    levels = ["--optimize", "0,1,2"]
    shop.run(shop.tree("newest"), *levels)
    other = Shop(shop.command, interpreter, shop.top)
    first = other.run(shop.tree("first"), *levels)
    tree = shop.tree("second")
    second = other.run(tree, *levels)
    assert (0 if interpreter == shop.python else COUNT, COUNT) == (counts(first)[0], sum(counts(first)))
    assert (0, COUNT) == counts(second)
    assert content_of(tree) == other.alone(tree, *levels)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_lanes_fill_one_store_and_take_from_it(shop: Shop, jobs: str) -> None:
    """Equal sources are compiled once by each at most."""
    sources = {**bulk(), **SOURCES}
    first = shop.run(shop.tree("first", sources), "--jobs", jobs)
    written = [path.stem for path in shop.store.glob("*.data")]
    tree = shop.tree("second", sources)
    second = shop.run(tree, "--jobs", jobs)

    assert sum(counts(first)) == sum(counts(second)) == second.counts["stored"] == len(sources) - 1
    assert content_of(tree) == shop.alone(tree)
    # A segment for each lane, and what they begin with is the run's.
    assert 1 <= len(written) <= int(jobs)
    assert 1 == len({name[:8] for name in written})


#: How many runs there are at once, and sources that take some milliseconds each.
AT_ONCE, MANY = 6, 600


def test_runs_at_once_share_the_work(shop: Shop) -> None:
    """Each goes its own way, and looks again for what the others have done: less than two compile each source.

    The bytes are those of a run without a store.
    """
    text = "".join(f"def f{n}(a, b=1):\n    return [(a + {n}, x, b) for x in range(b) if x > a]\n" for n in range(40))
    sources = {f"p{number // 40}/m{number}.py": f"{text}NUMBER = {number}\n" for number in range(MANY)}
    trees = [shop.tree(f"tree{number}", sources) for number in range(AT_ONCE)]

    def run(tree: Path, *options: str) -> Outcome:
        scope = ["--python", shop.python.path, "--site-dir", str(tree), "--jobs", "1", "--stateless"]
        return shop.command.json("run", *scope, *options)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda tree: run(tree, "--config", str(shop.top / "config.toml")), trees))

    assert [MANY] * AT_ONCE == [sum(counts(each)) for each in outcomes]
    assert sum(each.counts["compiled"] for each in outcomes) < 2 * MANY
    for tree in trees[:2]:
        content = content_of(tree)
        for name in content:
            (tree / name).unlink()
        assert (MANY, 0) == counts(run(tree))
        assert content == content_of(tree)


def test_a_source_that_names_itself_is_compiled_for_itself(shop: Shop) -> None:
    """Marshal writes the name that the code has once; what another tree gets is right as well."""
    for name in ("first", "second"):
        tree = shop.top / name
        path = str(tree / "itself.py")
        shop.tree(name, {"itself.py": f"here = {path!r}\n"})
        assert (0, (1, 0)) == ((outcome := shop.run(tree)).code, counts(outcome))
        assert content_of(tree) == shop.alone(tree)


def test_so_is_one_whose_equal_is_compiled_at_the_same_time(shop: Shop) -> None:
    """Only one of them names itself; both are too small to wait for each other."""
    tree = shop.top / "t"
    text = f"here = {str(tree / 'a.py')!r}\n"
    assert len(text) < 128
    shop.tree("t", {"a.py": text, "b.py": text, "c.py": text})
    assert (0, 3) == ((outcome := shop.run(tree)).code, sum(counts(outcome)))
    assert content_of(tree) == shop.alone(tree)


def change(store: Path, files: str, deed: Callable[[bytes], bytes]) -> None:
    """Write other bytes into these files of a store."""
    found = list(store.glob(files))
    assert found
    for path in found:
        path.write_bytes(deed(path.read_bytes()))


def flipped(data: bytes) -> bytes:
    """Each tenth byte is another one."""
    return bytes(each if number % 10 else each ^ 0xFF for number, each in enumerate(data))


def replace_by_file(store: Path) -> None:
    """Put a file in its place."""
    shutil.rmtree(store)
    store.write_text("")


#: What may be wrong with a store, and how many sources of a second tree come from it then.
TROUBLES: dict[str, tuple[Callable[[Path], Any], int]] = {
    "nothing": (lambda store: None, COUNT),
    "cut short": (lambda store: change(store, "*.data", lambda data: data[:100]), 0),
    "flipped": (lambda store: change(store, "*.data", flipped), 0),
    "another index": (lambda store: change(store, "*.index", lambda _: b"x" * 500), 0),
    "everybody may write": (lambda store: store.chmod(0o777), 0),
    "a file": (replace_by_file, 0),
    "gone": (shutil.rmtree, 0),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_is_wrong_with_a_store_costs_only_time(shop: Shop, trouble: str) -> None:
    """Exit code and bytes are as without it; where it can't be used at all, one line says why."""
    sources = {name: text for name, text in SOURCES.items() if name != "p/bad.py"}
    shop.run(shop.tree("first", sources))
    deed, expected = TROUBLES[trouble]
    deed(shop.store)
    tree = shop.tree("second", sources)

    second = shop.run(tree)

    assert (0, (COUNT - expected, expected)) == (second.code, counts(second))
    assert content_of(tree) == shop.alone(tree)
    notices = second.run["notices"]
    assert (1 if trouble in ("everybody may write", "a file") else 0) == len(notices), notices
    assert all(str(shop.store) in each for each in notices)


def test_a_store_that_cant_be_made_is_said_once(shop: Shop) -> None:
    """Its directory is made, and none above it."""
    shop.store = shop.top / "nowhere/store"
    shop.configure()
    outcome = shop.run(shop.tree("first"))
    assert (COUNT, 0) == counts(outcome)
    (notice,) = outcome.run["notices"]
    assert notice.startswith(f"the store {shop.store} can't be used: ")
    assert f"{shop.store.parent}: No such file or directory" in notice


def test_what_a_repair_writes_it_has_compiled(shop: Shop) -> None:
    """Whatever a store has."""
    shop.run(shop.tree("first"))
    assert (COUNT, 0) == counts(shop.run(shop.tree("second"), verb="repair"))


@pytest.mark.parametrize(("mode", "stored"), [(0o700, COUNT), (0o755, COUNT - 2)])
def test_what_not_everybody_may_read_stays_private(shop: Shop, mode: int, stored: int) -> None:
    """It is neither kept in a store that others may enter, nor asked for there."""
    shop.store.mkdir(mode=mode)
    shop.top.chmod(0o755)
    for name in ("first", "second"):
        tree = shop.tree(name)
        tree.chmod(0o755)
        (tree / "m.py").chmod(0o640)
        (tree / "q").chmod(0o750)
        last = shop.run(tree)
    open_above = all(path.stat().st_mode & 0o005 == 0o005 for path in shop.top.parents)
    expected = stored if open_above or mode == 0o700 else 0
    assert (COUNT - expected, expected) == counts(last)


def test_what_not_everybody_may_read_is_never_passed_on(pyctrigger: Command, newest: Interpreter) -> None:
    """A store of our own keeps it, without an origin: a push sends what has that of the store."""
    with public_directory() as top:
        shop = Shop(pyctrigger, newest, top)
        tree = shop.tree("tree", {"open.py": "a = 1\n", "closed.py": "b = 1\n", "below/open.py": "c = 1\n"})
        (tree / "closed.py").chmod(0o640)
        (tree / "below").chmod(0o750)
        assert (3, 0) == counts(shop.run(tree))
        with open_local(str(shop.store), writes=False) as store:
            found = store.get(list(store.keys()))
            origins = sorted(each.origin for each in found if isinstance(each, StoredCode))
            assert [NO_ORIGIN, NO_ORIGIN, store.origin] == origins
            assert NO_ORIGIN != store.origin


def poison(shop: Shop, victim: str, other: str) -> None:
    """Let the store have, for one source's key, the code of another one: as whoever may write there could."""
    keys = keys_of(probe(shop.python.path).interpreter)
    assert keys is not None
    of = {text: keys.of(hashlib.sha256(text.encode()).digest(), 0) for text in (victim, other)}
    with open_local(str(shop.store)) as store:
        (code,) = store.get([of[other]])
        assert isinstance(code, StoredCode)
    shutil.rmtree(shop.store)
    with open_local(str(shop.store), create=True) as store:
        store.put([code._replace(key=of[victim])])


def test_poisoned_code_is_found_with_the_store_that_had_it(shop: Shop) -> None:
    """By compiling again; `explain` knows beforehand; and a repair makes it right, and the store forgotten."""
    sources = {"good.py": "secret = 1\n", "bad.py": "secret = 666\n"}
    shop.run(shop.tree("first", sources))
    poison(shop, sources["good.py"], sources["bad.py"])
    tree = shop.tree("second", {**sources, "own.py": "x = 1\n"})
    assert (2, 1) == counts(shop.run(tree))
    origin = f"its code came from the store {shop.store}"

    assert [] == shop.run(tree, verb="verify").findings  # which believes its records
    (finding,) = shop.run(tree, "--compare-code", verb="verify").findings
    assert ("mismatched", str(tree / "good.py")) == (finding["kind"], finding["source"])
    assert (
        f"its code isn't what its source compiles to here: copied from another path, or changed; {origin}"
        == finding["reason"]
    )
    assert [str(shop.store), None] == [finding.get("store"), finding.get("signer", "")]
    assert origin in shop.explain(tree, "good.py")
    assert "from the store" not in shop.explain(tree, "own.py")
    assert 1 == shop.run(tree, verb="status").document["runs"][0]["status"]["stored"]

    assert 1 == shop.run(tree, verb="repair").counts["compiled"]
    assert [] == shop.run(tree, "--compare-code", verb="verify").findings
    assert "from the store" not in shop.explain(tree, "good.py")
    assert 0 == shop.run(tree, verb="status").document["runs"][0]["status"]["stored"]


def test_the_store_is_no_longer_named_once_somebody_else_has_changed_the_code(shop: Shop) -> None:
    """What is there now isn't what it had."""
    shop.run(shop.tree("first"))
    tree = shop.tree("second")
    shop.run(tree)
    assert "from the store" in shop.explain(tree, "m.py")
    (pyc,) = (tree / "__pycache__").glob("m.*.pyc")
    other = next((tree / "p/__pycache__").glob("a.*.pyc"))
    pyc.write_bytes(pyc.read_bytes()[:16] + other.read_bytes()[16:])
    (finding,) = (each for each in shop.run(tree, "--compare-code", verb="verify").findings if each["pyc"] == str(pyc))
    assert ("mismatched", None) == (finding["kind"], finding.get("store"))
    assert "from the store" not in shop.explain(tree, "m.py")


def test_code_keeps_its_store_when_only_times_change(shop: Shop) -> None:
    """It gets another header then."""
    shop.run(shop.tree("first"))
    tree = shop.tree("second")
    shop.run(tree)
    os.utime(tree / "m.py", (10**9, 10**9))
    assert 1 == shop.run(tree).counts["refreshed"]
    assert "from the store" in shop.explain(tree, "m.py")


def test_what_was_stored_is_in_the_history(shop: Shop) -> None:
    """Beside what was compiled."""
    shop.run(shop.tree("first"))
    tree = shop.tree("second")
    shop.run(tree)
    history = shop.command.json("history", "--state-dir", str(tree) + "-state").document["history"]
    assert COUNT == history[0]["flavours"][0]["counts"]["stored"]
    assert f"{COUNT} stored" in shop.command.text("history", "last", "--state-dir", str(tree) + "-state").out


def test_a_store_that_is_only_read_gets_nothing(shop: Shop) -> None:
    """`write = false`."""
    shop.configure(write="false")
    assert (COUNT, 0) == counts(shop.run(shop.tree("first")))
    assert not shop.store.exists()
    shop.configure()
    shop.run(shop.tree("second"))
    before = sorted(shop.store.iterdir())
    shop.configure(write="false")
    assert (1, COUNT) == counts(shop.run(shop.tree("third", {**SOURCES, "new.py": "new = 1\n"})))
    assert before == sorted(shop.store.iterdir())
