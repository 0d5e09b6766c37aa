"""A real Dask cluster on this machine: a scheduler and nodes, as root under an account without rights."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confinement import NOBODY, usable_by, wait_for
from conftest import absent
from environment import CHECKOUT
from local_servers import free_port, listens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Asks for the version that the extensions in our environment are for.
_SAME = "import sys; print(sys.implementation.cache_tag)"


@cache
def node_python() -> str:
    """An interpreter that nodes may run: ours, or one of the same version if ours lies where only root is."""
    path = next(filter(_is_ours, usable_by(os.geteuid() or NOBODY)), None)
    return path or absent("no interpreter of this version that an account without rights may run")


def _is_ours(path: str) -> bool:
    said = subprocess.run([path, "-I", "-S", "-c", _SAME], capture_output=True, text=True, check=False).stdout
    return said.strip() == sys.implementation.cache_tag


class DaskCluster:
    """A scheduler, and its nodes of one thread each, without anybody who starts them again."""

    def __init__(self, place: Path, environment: Mapping[str, str], protocol: str) -> None:
        self.place = place
        self.environment = environment
        port = free_port()
        self.address = f"{protocol}://127.0.0.1:{port}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        where = ["--host", f"{protocol}://127.0.0.1", "--port", str(port), "--no-dashboard", "--protocol", protocol]
        self._scheduler = self.start("scheduler", *where)
        wait_for(lambda: listens(port))

    def start(self, program: str, *arguments: str, as_root: bool = False) -> subprocess.Popen[bytes]:
        """Start one of Dask's programs."""
        log = (self.place / f"{program}-{len(self.nodes)}.log").open("wb")
        account: dict[str, Any] = (
            {} if as_root or os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        )
        with log:
            return subprocess.Popen(
                [node_python(), "-m", f"distributed.cli.dask_{program}", *arguments],
                cwd=self.place,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **account,
            )

    def add_node(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start one more node, and wait until it has registered."""
        place = self.place / f"node-{len(self.nodes)}"
        arguments = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(place)]
        node = self.start("worker", self.address, *arguments, **options)
        log = self.place / f"worker-{len(self.nodes)}.log"
        self.nodes.append(node)
        wait_for(lambda: b"Registered to" in log.read_bytes() or node.poll() is not None)
        assert node.poll() is None, log.read_text()
        return node

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The scheduler, and all nodes."""
        return [self._scheduler, *self.nodes]

    def stop(self) -> None:
        """End all of it."""
        for each in self.processes:
            each.kill()
            each.wait()


@contextmanager
def dask_cluster(
    nodes: int = 3, *, certificates: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[DaskCluster]:
    """A cluster in a directory of its own, which the nodes can enter; `variables` are in their environment."""
    with tempfile.TemporaryDirectory(prefix="pyctrigger-dask-") as made:
        place = Path(made).resolve()
        environment = {**node_environment(place), **(variables or {})}
        if certificates is not None:
            environment.update(tls_environment(certificates))
        place.chmod(0o755)
        if not os.geteuid():
            os.chown(place, NOBODY, NOBODY)
        cluster = DaskCluster(place, environment, "tls" if certificates else "tcp")
        try:
            for _ in range(nodes):
                cluster.add_node()
            yield cluster
        finally:
            cluster.stop()


@cache
def _libraries() -> tuple[str, ...]:
    """Our sources and our environment's packages: copies, where an account without rights can't read them."""
    spec = importlib.util.find_spec("distributed")
    if spec is None or spec.origin is None:
        absent("no distributed")
    found = [CHECKOUT / "src", Path(spec.origin).parents[1]]
    if os.geteuid() == 0 and not _is_readable(found):
        top = Path(tempfile.mkdtemp(prefix="pyctrigger-libraries-"))
        atexit.register(shutil.rmtree, top, ignore_errors=True)
        top.chmod(0o755)
        found = [Path(shutil.copytree(path, top / str(number))) for number, path in enumerate(found)]
    return tuple(map(str, found))


def _is_readable(paths: list[Path]) -> bool:
    command = [node_python(), "-I", "-S", "-c", "import os, sys; [os.listdir(path) for path in sys.argv[1:]]"]
    child = subprocess.run(
        [*command, *paths], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, check=False
    )
    return child.returncode == 0


def node_environment(home: Path) -> dict[str, str]:
    """The environment variables of a node."""
    variables = {"PYTHONPATH": os.pathsep.join(_libraries()), "HOME": str(home), "PATH": os.defpath}
    return {**variables, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def tls_environment(certificates: Path) -> dict[str, str]:
    """How Dask is told which certificates to use, whatever it is."""
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    parts = {"CA_FILE": "ca.pem"}
    for role in ("CLIENT", "SCHEDULER", "WORKER"):
        parts |= {f"{role}__CERT": "cert.pem", f"{role}__KEY": "key.pem"}
    return {f"{prefix}{name}": str(certificates / file) for name, file in parts.items()}
