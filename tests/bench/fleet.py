"""A Redis that has the code of a tree, signed, and the application with the libraries that it is asked with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local_servers import free_port, listens
from timing import let_orphans_go

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers import Bench

#: Says which files and directories beside this Python's own are needed to ask a Redis, and to check what it gives.
_NEEDED = r"""
import json, os, sys, sysconfig
import redis.backoff, redis.connection, redis.retry
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
places = [sysconfig.get_path(name) + "/" for name in ("purelib", "platlib")]
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
found = {place + file[len(place):].split("/")[0] for place in places for file in files if file.startswith(place)}
print(json.dumps(sorted(found)))
"""


def with_libraries(bench: Bench) -> Bench:
    """The same with an application that has the libraries, too."""
    application = bench.scratch / "with-libraries"
    if not application.exists():
        shutil.copytree(bench.application, application, symlinks=True)
        said = subprocess.run([sys.executable, "-c", _NEEDED], capture_output=True, text=True, check=True).stdout
        for path in map(Path, json.loads(said)):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, application / path.name)
    return bench._replace(application=application)


@contextmanager
def redis_server(place: Path) -> Iterator[str]:
    """A Redis on this machine, without files. Yields its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("this needs redis-server")
    port, number = free_port(), place / "redis.pid"
    let_orphans_go()  # else `timed` would wait for it
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)]
    subprocess.run([*command, "--daemonize", "yes", "--pidfile", str(number)], stdout=subprocess.DEVNULL, check=True)
    try:
        for _ in range(200):
            if listens(port) and number.exists():
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        os.kill(int(number.read_text()), signal.SIGKILL)


def push(bench: Bench, store: Path, url: str) -> str:
    """Sign and send all that a store has. Returns the public key."""
    program, key = bench.ours("")[:5], bench.scratch / f"{store.name}.pem"
    made = subprocess.run([*program, "store", "keygen", str(key)], capture_output=True, text=True, check=True)
    builder = bench.scratch / "builder.toml"
    builder.write_text(f'[store]\nurl = "{store}"\nmax_size = "16GiB"\nsigning_key = "{key}"\n')
    command = [*program, "store", "push", url, "--config", str(builder), "--json"]
    sent = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["push"]
    if not sent["sent"] or sent["withheld"] or sent["damaged"]:
        raise RuntimeError(f"not all of the store was sent: {sent}")
    return made.stdout.strip()
