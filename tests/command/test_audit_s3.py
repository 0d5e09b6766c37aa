"""`audit` of archives in an object store, a real one, through s3fs: who may, who may not, and what is told of that."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import s3fs

from archives import BUILDERS, build_large, failures, without_path
from children import public_directory
from confinement import NOBODY
from conftest import absent
from dask_cluster import dask_cluster, node_environment, node_python
from local_servers import free_port
from object_store import KEY_ID, SECRET_KEY, ObjectStore
from pyctrigger.inspect.audit.budget import HAVE_CREDENTIALS, MAKE_READABLE
from store_servers import talker, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command, Outcome

KEYS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
#: Nobody asks the network that a cloud would be who we are.
ALONE = {"AWS_EC2_METADATA_DISABLED": "true"}


class Bucket:
    """Archives in a bucket that only its owner reads, and one in a bucket that everybody reads."""

    def __init__(self, store: ObjectStore, top: Path, archives: list[Path]) -> None:
        self.store, self.top, self.archives = store, top, archives
        self.urls = [f"s3://closed/{path.name}" for path in archives]
        system = store.system()
        for path in archives:
            system.put(str(path), f"closed/{path.name}")
        system.put(str(archives[0]), "public/demo.zip")

    def audit(self, command: Command, *arguments: str, **variables: str) -> Outcome:
        """Ask in an environment that knows where the store is: as an account without rights, if we are root."""
        command.program = [node_python(), "-m", "pyctrigger"]
        rights: dict[str, Any] = {} if os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        where = {**node_environment(self.top), **ALONE, "AWS_ENDPOINT_URL": self.store.s3}
        outcome = command.json("audit", *arguments, env={**where, **variables}, cwd="/", **rights)
        assert SECRET_KEY not in outcome.out + outcome.err
        return outcome


@pytest.fixture(scope="module")
def bucket(every_format: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A store that runs, with archives of every format, and a large one."""
    large = build_large(tmp_path_factory.mktemp("large") / "large.whl")
    with ObjectStore(tmp_path_factory.mktemp("objects") / "state") as server, public_directory() as top:
        if not os.geteuid():
            os.chown(top, NOBODY, NOBODY)
        yield Bucket(server, top, [*every_format.values(), large])


def reports(outcome: Outcome) -> list[dict[str, Any]]:
    """What is said of each archive, wherever it is."""
    return list(map(without_path, outcome.document["archives"]))


def test_the_report_is_that_of_files(pyctrigger: Command, bucket: Bucket) -> None:
    """For every format, whether it is read by ranges or fetched whole."""
    here = pyctrigger.json("audit", *bucket.archives)
    there = bucket.audit(pyctrigger, *bucket.urls, **KEYS)

    assert (1, len(BUILDERS) + 1) == (here.code, len(bucket.urls))
    assert bucket.urls == [each["path"] for each in there.document["archives"]]
    assert (here.code, reports(here)) == (there.code, reports(there))


def test_a_zip_is_read_by_ranges(pyctrigger: Command, bucket: Bucket) -> None:
    """Of four megabytes only what is looked at."""
    given: list[int] = []

    def relay(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(bucket.store.s3).port or 0)) as server:
            ways = {connection: server, server: connection}
            while True:
                for ready in select.select(list(ways), [], [])[0]:
                    if not (data := ready.recv(1 << 16)):
                        return
                    given.append(len(data) if ready is server else 0)
                    ways[ready].sendall(data)

    with talker(relay) as port:
        outcome = bucket.audit(
            pyctrigger, "s3://closed/large.whl", **{**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        )
    assert 1 == outcome.document["summary"]["counts"]["pycs"]
    assert 0 < sum(given) < 5 << 16


def test_the_nodes_of_a_cluster_ask_as_who_they_are(pyctrigger: Command, bucket: Bucket) -> None:
    """Whoever lets them has no credentials."""
    here = pyctrigger.json("audit", *bucket.archives)
    with dask_cluster(2, variables={**KEYS, "AWS_ENDPOINT_URL": bucket.store.s3}) as cluster:
        there = bucket.audit(pyctrigger, "--scheduler", cluster.address, *bucket.urls)
    assert (here.code, reports(here)) == (there.code, reports(there))


#: Who asks, by the environment; what for; and kind and message of what becomes of it.
ASKING: dict[str, tuple[dict[str, str], str, tuple[str, str]]] = {
    "its owner": (KEYS, "s3://closed/large.whl", ("", "")),
    "another name of the protocol": (KEYS, "s3a://closed/large.whl", ("", "")),
    "its owner, by a file": ({"AWS_PROFILE": "builder"}, "s3://closed/large.whl", ("", "")),
    "everybody": ({"FSSPEC_S3_ANON": "true"}, "s3://public/demo.zip", ("", "")),
    "everybody, elsewhere": ({"FSSPEC_S3_ANON": "true"}, "s3://closed/large.whl", ("io", "HTTP 403: Forbidden")),
    "an impostor": (
        {**KEYS, "AWS_SECRET_ACCESS_KEY": "guessed"},
        "s3://closed/large.whl",
        ("io", "HTTP 403: Forbidden"),
    ),
    "nobody": ({}, "s3://public/demo.zip", ("io", "Unable to locate credentials")),
    "for what isn't there": (KEYS, "s3://closed/none.whl", ("io", "No such file or directory")),
    "in no bucket": (KEYS, "s3://none/none.whl", ("io", "HTTP 404: The specified bucket does not exist")),
}


@pytest.mark.parametrize("who", ASKING)
def test_who_asks(pyctrigger: Command, bucket: Bucket, who: str) -> None:
    """As the libraries of others find it; what is refused is that archive's failure, with what to do."""
    variables, url, failure = ASKING[who]
    files = bucket.top / ".aws"
    files.mkdir(exist_ok=True)
    (files / "credentials").write_text(f"[builder]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET_KEY}\n")
    try:
        outcome = bucket.audit(pyctrigger, url, **variables)
    finally:
        shutil.rmtree(files)
    assert [failure] == failures(outcome)
    assert (failure[0] != "") == (outcome.code == 3)
    assert (failure[1] == "Unable to locate credentials") == (HAVE_CREDENTIALS in outcome.out)


def test_root_is_nobody_there(pyctrigger: Command, bucket: Bucket) -> None:
    """What it has for itself isn't given to what a server may take over; and the message says so."""
    if os.geteuid():
        absent("needs root")
    read = subprocess.run(
        ["cat", os.__file__, s3fs.__file__], user=NOBODY, group=NOBODY, capture_output=True, check=False
    )
    pyctrigger.program = [tool("unshare"), "--net", *pyctrigger.program]
    outcome = pyctrigger.json("audit", "s3://closed/large.whl", env={**KEYS, "AWS_ENDPOINT_URL": bucket.store.s3})
    assert ["unsupported" if read.returncode else "io"] == [kind for kind, _ in failures(outcome)]
    assert (MAKE_READABLE if read.returncode else HAVE_CREDENTIALS) in outcome.out
    assert SECRET_KEY not in outcome.out + outcome.err


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}", "http://user:{secret}@127.0.0.1:{port}"])
def test_no_server(pyctrigger: Command, bucket: Bucket, where: str) -> None:
    """It is said at once, for each archive, without what may be a secret."""
    endpoint = where.format(port=free_port(), secret=SECRET_KEY.replace("/", "%2F"))
    begun = time.monotonic()
    outcome = bucket.audit(pyctrigger, "s3://a/b", "s3://a/c", AWS_ENDPOINT_URL=endpoint, **KEYS)
    assert ["io", "io"] == [kind for kind, _ in failures(outcome)]
    assert "geheim" not in outcome.out + outcome.err
    assert time.monotonic() - begun < 20


def test_nobody_else_knows_the_secret(pyctrigger: Command, bucket: Bucket) -> None:
    """Neither a command line, nor the environment of those who read what was fetched."""
    lines: list[bytes] = []
    environments: list[bytes] = []

    def look(connection: socket.socket) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                lines.append((process / "cmdline").read_bytes())
                if b"inspect.audit.examination" in lines[-1]:
                    environments.append((process / "environ").read_bytes())
            except OSError:
                continue
        connection.close()

    with talker(look) as port:
        bucket.audit(pyctrigger, "s3://a/b", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", **KEYS)
    assert any(b"inspect.audit.fetcher" in each for each in lines)
    assert environments
    assert not any(SECRET_KEY.encode() in each for each in [*lines, *environments])
