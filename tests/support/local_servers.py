"""What servers on this machine need: a port, and of nginx a configuration that leaves nothing outside its directory."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NGINX = """
daemon off;
master_process off;
pid {state}/pid;
error_log {state}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {state}/access.log;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    {http}
}}
"""


def nginx_command(program: str, state: Path, http: str) -> list[str]:
    """The command line of nginx that keeps all it has in a directory; `http` is what it serves."""
    settings = state / "nginx.conf"
    settings.write_text(_NGINX.format(state=state, http=http))
    return [program, "-p", str(state), "-c", str(settings)]


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
