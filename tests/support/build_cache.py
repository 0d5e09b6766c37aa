"""A build cache, as those have who build JavaScript: `GET` and `PUT`, with a token. Its program is Node's."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

from conftest import absent
from installed_servers import installed
from local_servers import free_port
from pinned import LOCKS
from store_servers import Server
from system_tools import find_tool

_OLDEST_NODE = 20
_PROGRAM = "node_modules/turborepo-remote-cache/dist/cli.js"
#: Makes of a lock what npm wants beside it.
_PREPARE = """\
printf %s "$LOCK" > package-lock.json
printf %s "$PACKAGE" > package.json
exec npm ci --ignore-scripts --no-audit --no-fund
"""
TOKEN = "geheim-4711"


@cache
def _command() -> list[str]:
    node = find_tool("node") or absent("no node")
    if find_tool("npm") is None:
        absent("no npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < _OLDEST_NODE:
        absent(f"node is older than {_OLDEST_NODE}")
    lock = (LOCKS / "build-cache.json").read_text(encoding="utf-8")
    package = json.dumps(json.loads(lock)["packages"][""])
    found = installed("build-cache", lock, ["sh", "-c", _PREPARE], {"LOCK": lock, "PACKAGE": package})
    return [node, str(found / _PROGRAM)] if isinstance(found, Path) else absent(f"npm can't install it: {found}")


class BuildCache(Server):
    """One that runs, and keeps files below its directory."""

    def __init__(self, state: Path) -> None:
        port = free_port()
        state.mkdir()
        variables = {
            "NODE_ENV": "production",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "TURBO_TOKEN": TOKEN,
            "STORAGE_PROVIDER": "local",
            "STORAGE_PATH": str(state),
            "STORAGE_PATH_USE_TMP_FOLDER": "false",
            "LOG_LEVEL": "fatal",
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        super().__init__(["env", "-i", f"PATH={os.defpath}", *words, *_command()], port, state)

    @property
    def url(self) -> str:
        """Where it is; a team is what it has for separate projects."""
        return f"http://127.0.0.1:{self.port}/v8/artifacts?teamId=python"

    def held(self) -> int:
        """How many things it has."""
        return sum(path.is_file() for path in self.state.rglob("*"))
