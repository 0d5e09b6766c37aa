"""Deals batches of URLs out to the nodes of a Dask cluster, from a process of its own that has no rights.

Dask unpickles what a scheduler sends; so its client runs there, as root under an account of its own, and only plain
data comes to the command, which checks each answer like a reader's.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ....errors import PyctriggerError, RefusedError, UnexaminedError, UsageError
from ....interpreter.child import printable
from ....interpreter.servant import (
    READY,
    NoAnswerError,
    Servant,
    give_up_rights,
    preload,
    receive_frame,
    send_frame,
)
from ....version import VERSION
from ..archive_report import FAILURES, parse_answer
from ..budget import ArchiveLimits
from ..crew import LARGEST_ANSWER, LOSSES, failure
from ..judgement import TargetFacts
from .node import ANSWERED, NOTES, ROOT, examine_batch

#: Seconds for a connection to the scheduler, for the first node to come, and for another one if all are gone.
_CONNECT_TIMEOUT, _NODE_TIMEOUT = 10.0, 30.0
#: Seconds for leaving a scheduler: it may be why there is nothing more to do.
_FAREWELL = 2.0
#: Seconds between two looks whether there is a node at all.
_PAUSE = 0.5
#: Bytes of address space.
_MOST_MEMORY = 8 << 30
#: Archives in a batch, and batches for each thread of a node: so that all end at about the same time.
_LARGEST_BATCH, _BATCHES = 32, 8
#: Batches that are out, for each thread of a node, and at least.
_OUT, _LEAST_OUT = 3, 8
_LARGEST_FRAME = 1 << 30
_ANSWER, _ERROR = b"a", b"e"
#: Why an audit ends before it has begun.
_UNREACHABLE, _EMPTY, _UNFIT = "unreachable", "empty", "unfit"


def require_safe(address: str) -> None:
    """Raises UsageError unless a scheduler's address is TLS or on this machine."""
    scheme, found, rest = address.partition("://")
    if not found:
        scheme, rest = "tcp", address
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path or "@" in rest:
        raise UsageError(f"--scheduler {address}: is no address", hint="write tls://HOST:PORT, or 127.0.0.1:PORT")
    if scheme == "tls" or (scheme == "tcp" and _is_loopback(host)):
        return
    raise UsageError(
        f"--scheduler {address}: is neither TLS nor on this machine: whoever is on the way could change what nodes run",
        hint="write tls://HOST:PORT for a scheduler with TLS, or 127.0.0.1:PORT for one on this machine",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may mean anything
        return False


class Dealer(Servant):
    """The process with Dask's client, as seen from the command."""

    def __init__(self, address: str, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        super().__init__("inspect.audit.cluster.dealer", (address, limits, target), "deal archives out", network=True)
        self._address = address
        self._limits = limits

    def deal(self, urls: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields the answer for each URL, in their order.

        Raises UnexaminedError without scheduler or nodes, RefusedError if a node is root's, and ShortageError.
        """
        self.wait_until_ready()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send_frame(self.channel, json.dumps(urls).encode("ascii"))
        for _ in urls:
            try:
                is_answer = self.receive(1, None) == _ANSWER
                said = self.receive_frame(LARGEST_ANSWER, None)
                if is_answer:
                    yield parse_answer(said, self._limits, FAILURES | LOSSES)
                    continue
                kind, reason = map(str, json.loads(said))
            except (NoAnswerError, ValueError, TypeError):
                hint = "run it again; if that doesn't help, without --scheduler"
                raise UnexaminedError(f"the process that asks the cluster was lost: {self.end()}", hint=hint) from None
            raise self._error(kind, printable(reason.encode("utf-8", "replace")))

    def _error(self, kind: str, reason: str) -> PyctriggerError:
        if kind == ROOT:
            hint = "start it under an account without rights: it runs whatever it is sent"
            return RefusedError(f"{reason}: this node runs as root", hint=hint)
        if kind == _EMPTY:
            hint = f"start some: dask worker {self._address}"
            return UnexaminedError(f"{self._address}: this scheduler has no nodes", hint=hint)
        if kind == _UNREACHABLE:
            hint = "is it running? for tls:// name its certificates in Dask's configuration (distributed.comm.tls)"
            return UnexaminedError(f"{self._address}: no scheduler answers: {reason}", hint=hint)
        hint = f"install distributed and pyctrigger {VERSION} for the scheduler and for each node"
        return UnexaminedError(f"{self._address}: a node can't examine anything: {reason}", hint=hint)


# -- in the process ----------------------------------------------------------------------------------------------------


class _EndedError(Exception):
    """Why the audit ends here: a kind, and a reason."""


class _Batch(NamedTuple):
    """Some URLs, in order, and Dask's promise of their answers."""

    urls: list[str]
    future: Any


def serve(
    channel_number: int, life: int, uid: int, address: str, limited: list[Any], compared: list[Any] | None
) -> None:
    """Deal out the URLs that come first, and say each answer in their order."""
    import logging

    import dask.config

    preload("distributed", "tornado.platform.asyncio", "email.policy", "importlib.metadata")
    # Read with the command's rights: a key is its owner's alone.
    names = {"tls_ca_file": "ca-file", "tls_client_cert": "client.cert", "tls_client_key": "client.key"}
    paths = {name: dask.config.get(f"distributed.comm.tls.{key}", None) for name, key in names.items()}
    contents = {name: _content(path) for name, path in paths.items() if path} if address.startswith("tls:") else {}
    give_up_rights(life, uid, _MOST_MEMORY)
    logging.disable()  # nobody reads what Dask logs here
    channel = socket.socket(fileno=channel_number)
    channel.sendall(READY)
    urls = json.loads(receive_frame(channel, _LARGEST_FRAME))
    try:
        with _Cluster(address, contents) as cluster:
            for answer in cluster.answers(urls, limited, compared):
                channel.sendall(_ANSWER)
                send_frame(channel, answer)
    except _EndedError as ended:
        channel.sendall(_ERROR)
        send_frame(channel, json.dumps([str(each)[:300] for each in ended.args]).encode("ascii"))
    channel.recv(1)  # until the command has heard all of it


def _content(path: str) -> str:
    if "\n" in path:
        return path
    with open(path, encoding="utf-8") as file:
        return file.read(1 << 20)


class _Cluster:
    """The nodes behind a scheduler."""

    def __init__(self, address: str, certificates: dict[str, str]) -> None:
        """Raises _EndedError if nobody answers."""
        import distributed

        self._distributed = distributed
        self._token = uuid.uuid4().hex
        self._dealt = 0
        security = None
        try:
            if address.startswith("tls:"):
                if not certificates:
                    raise ValueError("no certificates are configured")
                security = distributed.Security(require_encryption=True, **certificates)
            parts = urlsplit(address if "://" in address else f"tcp://{address}")
            # Dask would try again and again where nobody listens, and not say why.
            socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT_TIMEOUT).close()
            self._client = distributed.Client(
                address, timeout=_CONNECT_TIMEOUT, security=security, direct_to_workers=False
            )
        except Exception as error:
            raise _EndedError(_UNREACHABLE, _innermost(error)) from error

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            forget = self._client.scheduler.set_metadata
            self._client.sync(forget, keys=[NOTES, self._token], value={}, callback_timeout=_FAREWELL)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_FAREWELL)

    def answers(self, urls: list[str], limited: list[Any], compared: list[Any] | None) -> Iterator[bytes]:
        """Yields the answer for each URL, in JSON, in their order. Raises _EndedError."""
        threads = self._count_threads(time.monotonic() + _NODE_TIMEOUT)
        if not threads:
            raise _EndedError(_EMPTY, "")
        size = max(1, min(_LARGEST_BATCH, len(urls) // (threads * _BATCHES)))
        waiting = deque(urls[at : at + size] for at in range(0, len(urls), size))
        out: deque[_Batch] = deque()
        while waiting or out:
            while waiting and len(out) < max(_LEAST_OUT, _OUT * threads):
                out.append(self._submit(waiting.popleft(), limited, compared))
            batch = out.popleft()
            answers = self._result(batch)
            yield from answers
            rest = batch.urls[len(answers) :]
            # Singly, if no node could finish it: one of them may be why.
            again = [rest] if answers or len(rest) < 2 else [[url] for url in rest]
            out.extendleft(self._submit(each, limited, compared) for each in reversed(again) if each)

    def _submit(self, urls: list[str], limited: list[Any], compared: list[Any] | None) -> _Batch:
        self._dealt += 1
        name = (self._token, self._dealt)
        key = f"pyctrigger-audit-{self._token}-{self._dealt}"
        try:
            return _Batch(
                urls,
                self._client.submit(examine_batch, VERSION, name, urls, limited, compared, key=key, pure=False),
            )
        except Exception as error:
            raise _EndedError(_UNREACHABLE, _innermost(error)) from error

    def _result(self, batch: _Batch) -> list[bytes]:
        """Returns the answers for the first URLs of a batch; for none if it is to be dealt again, singly."""
        self._wait(batch.future)
        try:
            kind, answers = batch.future.result()
        except self._distributed.KilledWorker:
            return [] if len(batch.urls) > 1 else [_failed("crash", "ended the nodes that examined it")]
        except Exception as error:
            gone = "cancelled" in type(error).__name__.lower()
            raise _EndedError(_UNREACHABLE if gone else _UNFIT, _innermost(error)) from error
        if kind == ANSWERED:
            return list(answers)
        raise _EndedError(kind, answers[0].decode("utf-8", "replace"))

    def _wait(self, future: Any) -> None:
        """Wait until a batch is done. Raises _EndedError if nobody is there any more to do it."""
        until = time.monotonic() + _NODE_TIMEOUT
        while not future.done():
            try:
                self._distributed.wait(future, timeout=_PAUSE)
            except (TimeoutError, self._distributed.TimeoutError):
                if self._count_threads():
                    until = time.monotonic() + _NODE_TIMEOUT
                elif time.monotonic() > until:
                    raise _EndedError(_EMPTY, "") from None

    def _count_threads(self, until: float = 0.0) -> int:
        """Returns the number of threads of all nodes; waits until then for the first one. Raises _EndedError."""
        try:
            while not (nodes := self._ask_for_threads()) and time.monotonic() < until:
                time.sleep(_PAUSE)
        except Exception as error:
            raise _EndedError(_UNREACHABLE, _innermost(error)) from error
        return sum(nodes.values())

    def _ask_for_threads(self) -> dict[str, int]:
        """Returns the number of threads of each node. Raises TimeoutError if the scheduler says nothing."""
        ask = self._client.scheduler.ncores
        nodes: dict[str, int] = self._client.sync(ask, workers=None, callback_timeout=_NODE_TIMEOUT)
        return nodes


def _failed(kind: str, message: str) -> bytes:
    return json.dumps(failure(kind, message)).encode("ascii")


def _innermost(error: BaseException) -> str:
    """Returns what was at the origin of an error."""
    for _ in range(10):
        if error.__cause__ is None:
            break
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
