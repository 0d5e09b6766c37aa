"""What a store saves and costs, on this machine: the third table of the page.

Runs have no state, and both sides of a row the same tree. A store is filled from another one, at another path.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import servers
from fleet import push, redis_server, with_libraries
from headline import Row, duration, in_turn, ratio
from peers import WORKERS, clean, install_again, remove_bytecode, sources
from scaling import grow, small_sources
from timing import Sample, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peers import Bench

#: What is to be reached, by the corpus. Most sources of the second one are small.
TAKING, FILLING = {"large": 0.18, "headline": 0.40}, {"large": 1.08, "headline": 1.15}
ASKING = {"large": 0.25, "headline": 0.60}
AGAIN = 0.35
#: Runs at once, their sources, and how often each may be compiled.
RUNS, SOURCES, COMPILED = 20, 12_000, 1.2
#: Bytes of a store's containers, in each form, and what one get and one put take, by the clock. Writes some down,
#: sealed.
CONTAINERS = r"""
import json, sys, time
sys.path[:0] = [sys.argv[1]]
from pyctrigger.store.container import Packing, StoredCode, pack
from pyctrigger.store.local import open_local
from pyctrigger.store.seal import seal
from pyctrigger.zstd import zstd_module
with open_local(sys.argv[2], writes=False) as store:
    keys = list(store.keys())
    found = [each for key in keys for each in store.get([key]) if isinstance(each, StoredCode)]
    begun = time.perf_counter()
    for key in keys:
        store.get([key])
    gets = time.perf_counter() - begun
codes = [code for code in found if code.code]
every = codes[:: max(1, len(codes) // 2000)]
forms = {"zlib": Packing.ZLIB, "zstd": Packing.ZSTD} if zstd_module() else {"zlib": Packing.ZLIB}
raw = sum(len(pack(code)) for code in every)
packed = {name: sum(len(pack(code, form)) for code in every) / raw for name, form in forms.items()}
with open_local(sys.argv[3], create=True) as store:
    begun = time.perf_counter()
    for code in found:
        store.put([code])
    puts = time.perf_counter() - begun
class Signer:
    public, sign = bytes(32), lambda self, text: bytes(64)
form = Packing.ZSTD if zstd_module() else Packing.ZLIB
pairs = [(code.key, pack(code, form if code.code else Packing.NONE)) for code in found[:4096]]
sealed = list(seal(pairs, Signer()))
with open(sys.argv[4], "w") as file:
    json.dump([[key.hex(), content.hex()] for key, content in sealed], file)
size = sum(len(pack(code)) for code in found) / len(found)
packed["seal"] = sum(len(one[1]) - len(other[1]) for one, other in zip(sealed, pairs)) / len(pairs)
print(json.dumps([len(found), size, packed, gets / len(found), puts / len(found)]))
"""

#: Makes stores of so many segments, and says what a get of what isn't there takes: the median, by the clock.
MISSES = r"""
import hashlib, json, os, statistics, sys, time
sys.path[:0] = [sys.argv[1]]
from pyctrigger.store.local import open_local
from pyctrigger.store.segments import SegmentWriter
os.mkdir(sys.argv[2], 0o700)
directory, made, found = os.open(sys.argv[2], os.O_RDONLY), 0, []
for count in map(int, sys.argv[4:]):
    while made < count:
        writer = SegmentWriter(directory, 0o600)
        for number in range(int(sys.argv[3])):
            writer.add(hashlib.sha256(b"%d %d" % (made, number)).digest(), b"code")
        writer.publish()
        writer.close()
        made += 1
    with open_local(sys.argv[2], writes=False) as store:
        store.get([bytes(32)])
        taken = []
        for number in range(2000):
            key = hashlib.sha256(b"%d" % number).digest()
            begun = time.perf_counter()
            store.get([key])
            taken.append(time.perf_counter() - begun)
    found.append(statistics.median(taken))
print(json.dumps(found))
"""
#: Entries of a full segment whose containers have 5 KB, and segments of a store: 256 are looked through at most.
FULL, SEGMENTS = 50_000, (1, 4, 16, 64, 250)


def measure(trees: dict[str, Bench], rounds: int, only: list[str] | None) -> Iterator[Row]:
    """All rows, one group after the other, of the corpora that are there."""
    for tree in trees.values():
        tree.scratch.chmod(0o755)  # code of what not everybody may read goes to no other machine
    for name, (group, corpora) in GROUPS.items():
        if not only or name in only:
            for corpus in corpora:
                if corpus in trees:
                    yield from group(trees[corpus], corpus, rounds)


def configured(bench: Bench, store: Path | None) -> str:
    """A configuration with this store, or none."""
    path = bench.scratch / f"{store.name if store else 'no'}-store.toml"
    path.write_text(f'[store]\nurl = "{store}"\nmax_size = "16GiB"\n' if store else "")
    return str(path)


def compiling(bench: Bench, store: Path | None, *arguments: str, state: str = "state") -> list[str]:
    """A cold run, with this store."""
    return bench.ours(
        "run", "--jobs", str(WORKERS), "--config", configured(bench, store), *arguments, state=f"store-{state}"
    )


def full_store(bench: Bench, corpus: str) -> Path:
    """A store with all of a tree, which was filled at another path."""
    store = bench.scratch / f"full-{corpus}"
    if not store.exists():
        elsewhere = bench._replace(tree=bench.scratch / f"elsewhere-{corpus}" / "site")
        remove_bytecode(bench.tree)
        shutil.copytree(bench.tree, elsewhere.tree, symlinks=True)
        timed(compiling(elsewhere, store))
        shutil.rmtree(elsewhere.tree.parent)
    return store


def _taking(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """A cold run that finds everything, beside one that compiles."""
    full = compiling(bench, full_store(bench, corpus))
    pair = in_turn(rounds, clean(bench, full), clean(bench, compiling(bench, None)))
    for of in ("seconds", "processor"):
        limit = TAKING[corpus] if of == "seconds" else None
        yield ratio(f"{corpus}: cold, all in a local store", "compiling", pair, limit, of)


def _asking(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """The same with all of it in Redis, signed."""
    bench = with_libraries(bench)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as place, redis_server(Path(place)) as url:
        public = push(bench, full_store(bench, corpus), url)
        config = bench.scratch / "redis.toml"
        config.write_text(f'[store]\nurl = "{url}"\ntrusted_keys = ["{public}"]\n')
        asking = bench.ours("run", "--jobs", str(WORKERS), "--config", str(config), state="store-state")
        _require_all(bench, asking)
        pair = in_turn(rounds, clean(bench, asking), clean(bench, compiling(bench, None)))
    for of in ("seconds", "processor"):
        limit = ASKING[corpus] if of == "seconds" else None
        yield ratio(f"{corpus}: cold, all in Redis, signed", "compiling", pair, limit, of)


def _require_all(bench: Bench, asking: list[str]) -> None:
    """Ask once, and see that hardly anything is compiled: else other things would be compared."""
    remove_bytecode(bench.tree)
    done = subprocess.run(stateless(asking), stdout=subprocess.PIPE, text=True, check=False)
    run = json.loads(done.stdout)["runs"][0]
    counts, notices = run["counts"], run["notices"]
    if notices or counts["compiled"] > 0.01 * counts["stored"]:
        raise RuntimeError(f"Redis hasn't given all: {counts}, {notices}")


def _filling(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """A cold run that fills an empty store, beside one without a store."""
    store = bench.scratch / f"filled-{corpus}"
    filling = clean(bench, compiling(bench, store))

    def from_nothing() -> Sample:
        shutil.rmtree(store, ignore_errors=True)
        return filling()

    pair = in_turn(rounds, from_nothing, clean(bench, compiling(bench, None)))
    for of in ("seconds", "processor"):
        yield ratio(f"{corpus}: cold, filling a local store", "without a store", pair, FILLING[corpus], of)
    shutil.rmtree(store)


def _again(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """An environment that uv makes again: bytecode by uv itself, and from a store."""
    taking = compiling(bench, full_store(bench, corpus))

    def installing_and_taking() -> Sample:
        install_again(bench)
        return clean(bench, taking)()

    bare, compiled, taken = in_turn(
        rounds,
        lambda: install_again(bench),
        lambda: install_again(bench, "--compile-bytecode"),
        installing_and_taking,
    )
    added = [[more.seconds - less.seconds for more, less in zip(compiled, bare)], [each.seconds for each in taken]]
    value = statistics.median(one / other for one, other in zip(added[1], added[0]))
    work = f"{corpus}: an environment made again, all in a local store, clock"
    yield Row(work, duration(added[1]), "what --compile-bytecode adds", duration(added[0]), value, AGAIN)


def _at_once(bench: Bench, _corpus: str, _rounds: int) -> Iterator[Row]:
    """Many runs that start together with an empty store, each over a tree of its own."""
    place, store = bench.scratch / "at-once", bench.scratch / "shared"
    trees = [place / f"tree{number}" for number in range(RUNS)]
    grow(trees[0], small_sources(bench.tree), SOURCES)
    for number, source in enumerate(sources(trees[0])):
        with source.open("ab") as file:
            file.write(f"\n# {number}\n".encode())
    for tree in trees[1:]:
        shutil.copytree(trees[0], tree, copy_function=os.link)
    commands = [stateless(compiling(bench._replace(tree=tree), store)) for tree in trees]
    begun = time.perf_counter()
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    answers = [json.loads(child.communicate()[0]) for child in children]
    seconds = time.perf_counter() - begun
    compiled = [answer["runs"][0]["counts"]["compiled"] for answer in answers]
    remove_bytecode(trees[0])
    alone = timed(stateless(compiling(bench._replace(tree=trees[0]), None)))
    work = f"{RUNS} runs at once over {SOURCES:,} sources, one empty store: compilations for each source"
    texts = [f"{sum(compiled):,} in {seconds:.1f} s", f"{SOURCES:,} in {alone.seconds:.1f} s"]
    yield Row(work, texts[0], "one run without a store", texts[1], sum(compiled) / SOURCES, COMPILED)
    shutil.rmtree(place)
    shutil.rmtree(store)


def stateless(command: list[str]) -> list[str]:
    """The same, without state, and so without a lock that another run may have; it tells what it did as JSON."""
    at = command.index("--state-dir")
    return [*command[:at], *command[at + 2 :], "--stateless", "--json"]


def _containers(bench: Bench, corpus: str, _rounds: int) -> Iterator[Row]:
    """What the page on a million packages is computed from."""
    store, other, written = full_store(bench, corpus), bench.scratch / "put", bench.scratch / "sealed.json"
    script = [sys.executable, "-c", CONTAINERS, *map(str, (bench.application, store, other, written))]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    count, size, packed, get, put = json.loads(done.stdout)
    files = sum(path.stat().st_size for path in store.iterdir())
    found = sources(bench.tree)
    row = partial(Row, ours="", peer="", theirs="", limit=None)

    def kilobytes(work: str, size: float) -> Row:
        return row(f"{corpus}: {work}", value=size / 1000, unit=" KB")

    yield row(f"{corpus}: entries of a store", value=count / len(found), unit=" a source")
    yield kilobytes("a source", sum(path.stat().st_size for path in found) / len(found))
    yield kilobytes("a container", size)
    yield kilobytes("all files of the store, for an entry", files / count)
    yield kilobytes("a seal, in a push of 4,096", packed.pop("seal"))
    for name, share in packed.items():
        yield kilobytes(f"a container, packed by {name}", size * share)
    yield row(f"{corpus}: a get, checked", value=1e6 * get, unit=" us")
    yield row(f"{corpus}: a put", value=1e6 * put, unit=" us")
    shutil.rmtree(other)
    sealed = json.loads(written.read_text())
    entries = [(f"pyctrigger:{name}", bytes.fromhex(content)) for name, content in sealed]
    yield kilobytes("what is sent", sum(len(content) for _, content in entries) / len(entries))
    for server in (servers.redis, servers.nginx):
        with tempfile.TemporaryDirectory(dir=bench.scratch) as place:
            served = server(Path(place), entries)
        if served:
            work = f"{corpus}: {server.__name__}'s processor time for it"
            yield row(work, value=served.microseconds, unit=" us")
        if served and served.memory:
            yield kilobytes(f"{server.__name__}'s memory for it", served.memory)


def _misses(bench: Bench, _corpus: str, _rounds: int) -> Iterator[Row]:
    """How a store grows slower."""
    store = bench.scratch / "misses"
    numbers = map(str, (FULL, *SEGMENTS))
    script = [sys.executable, "-c", MISSES, str(bench.application), str(store), *numbers]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    for count, seconds in zip(SEGMENTS, json.loads(done.stdout)):
        work = f"a miss, in a store of {count} segments of 256 MiB, {count * FULL:,} entries"
        yield Row(work, "", "", "", 1e6 * seconds, None, " us")
    shutil.rmtree(store)


#: Each group of rows, with the corpora that it is measured on.
GROUPS: dict[str, tuple[Callable[[Bench, str, int], Iterator[Row]], list[str]]] = {
    "taking": (_taking, ["large", "headline"]),
    "redis": (_asking, ["large", "headline"]),
    "filling": (_filling, ["large", "headline"]),
    "again": (_again, ["large", "headline"]),
    "at-once": (_at_once, ["headline"]),
    "containers": (_containers, ["large", "headline"]),
    "misses": (_misses, ["headline"]),
}
