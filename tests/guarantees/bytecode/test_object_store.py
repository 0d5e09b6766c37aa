"""A store in an object store, over S3 and with tokens, or in a build cache: what one puts there others get."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from build_cache import TOKEN, BuildCache
from children import public_directory
from command import Command
from object_store import ObjectStore
from packages import write_tree
from store_servers import COUNT, SOURCES, Fleet, content_of, counts, running, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interpreters import Interpreter


@pytest.fixture(scope="module")
def built(newest: Interpreter) -> Iterator[Fleet]:
    """What one machine has compiled, to be pushed; and trees of the same sources."""
    with public_directory() as top:
        yield Fleet(Command(top / "state"), newest.path, top, SOURCES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One that runs."""
    with ObjectStore(tmp_path_factory.mktemp("objects") / "state") as server:
        yield server


class Way(NamedTuple):
    """Where a builder puts code, and readers get it from; and whether they have a token for that."""

    put: str
    get: str
    is_put_with_token: bool = False
    is_got_with_token: bool = False


WAYS = {
    "S3 for everybody": Way("{s3}/shared/cache", "{s3}/shared/cache"),
    "tokens": Way("{files}/cache", "{files}/cache", True, True),
    "put with a token and got over S3": Way("{files}/buckets/public/c", "{s3}/public/c", True),
}


def secret(built: Fleet, name: str, token: str) -> str:
    """A file with a token."""
    path = built.top / name
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("way", WAYS)
def test_what_one_machine_puts_there_others_get(built: Fleet, store: ObjectStore, way: str) -> None:
    """The bytes are those of a run without it; what isn't there is compiled, and nothing is said of that."""
    put, get, is_put_with_token, is_got_with_token = WAYS[way]
    to, source = (each.format(s3=store.s3, files=store.files) for each in (put, get))
    builder = secret(built, "builder", store.token()) if is_put_with_token else ""
    reader = {"password_file": secret(built, "reader", store.token("GET", "HEAD"))} if is_got_with_token else {}
    built.push(to, password_file=builder)
    built.use(source, **reader)
    tree = built.tree(way)
    outcome = built.run(tree)
    write_tree(tree, {"new.py": "new = 1\n"})
    more = built.run(tree)

    assert [(0, 0, COUNT), (0, 1, 0)] == [counts(outcome), counts(more)]
    assert [] == said(outcome) + said(more)
    assert content_of(tree) == built.alone(tree)


def test_what_is_gone_is_compiled(built: Fleet, store: ObjectStore) -> None:
    """As buckets lose what is old."""
    url = f"{store.s3}/shared/aging"
    built.push(url)
    system = store.system()
    kept = system.ls("shared/aging")
    gone = len(kept) // 2
    system.rm(kept[:gone])
    built.use(url)
    outcome = built.run(built.tree("aging"), "--stateless")
    code, compiled, stored = counts(outcome)
    assert (0, COUNT, []) == (code, compiled + stored, said(outcome))
    assert gone <= compiled <= gone + COUNT - len(kept)  # some sources have the same content


def test_who_may_only_read_puts_nothing(built: Fleet, store: ObjectStore) -> None:
    """Neither with a token for that, nor in a bucket that everybody reads."""
    reader = secret(built, "reader", store.token("GET", "HEAD"))
    with pytest.raises(Exception, match="it refuses this user or password"):
        built.push(f"{store.files}/refused", password_file=reader)
    with pytest.raises(Exception, match=r"\d+ forbidden"):
        built.push(f"{store.s3}/public/refused")
    assert not store.system().exists("public/refused")


def test_a_build_cache_has_it_as_well(built: Fleet, tmp_path: Path) -> None:
    """It wants to be told what is put there; whoever has no token is refused."""
    token = secret(built, "token", TOKEN)
    with running(BuildCache(tmp_path / "cache")) as server:
        built.push(server.url, password_file=token)
        held = server.held()
        built.use(server.url, password_file=token)
        tree = built.tree("built")
        outcome = built.run(tree)
        write_tree(tree, {"new.py": "new = 1\n"})
        more = built.run(tree)
        content = content_of(tree)
        built.use(server.url, password_file=secret(built, "token", "other"))
        stranger = built.run(built.tree("stranger"), "--stateless")

    assert held >= COUNT - 2  # some sources have the same content
    assert [(0, 0, COUNT), (0, 1, 0)] == [counts(outcome), counts(more)]
    assert [] == said(outcome) + said(more)
    assert content == built.alone(tree)
    assert (0, COUNT, 0) == counts(stranger)
    assert len(said(stranger)) == 1
