"""Which addresses of a scheduler are safe."""

from __future__ import annotations

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.inspect.audit.cluster.dealer import require_safe


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8786", "tcp://127.0.0.1:8786", "tcp://127.8.9.1:1", "tcp://[::1]:8786", "[::1]:8786"),
        *("localhost:8786", "tcp://localhost:8786", "tls://192.0.2.1:8786", "tls://scheduler.example:8786"),
    ],
)
def test_safe(address: str) -> None:
    """TLS, or this machine."""
    require_safe(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        *((each, "neither TLS") for each in ("tcp://192.0.2.1:8786", "192.0.2.1:8786", "tcp://[2001:db8::1]:8786")),
        *((each, "neither TLS") for each in ("tcp://localhost.example:1", "0.0.0.0:8786", "scheduler:8786")),
        *((each, "neither TLS") for each in ("ws://127.0.0.1:1", "ucx://127.0.0.1:1", "inproc://h:1", "TLS://h:1")),
        *(
            (each, "is no address")
            for each in ("tls://h", "127.0.0.1", "", "tls://", ":8786", "tls://h:x", "tls://h:99999")
        ),
        *((each, "is no address") for each in ("tls://h:1/x", "tcp://127.0.0.1:1@192.0.2.1:2", "tls://[::1:1")),
    ],
)
def test_unsafe(address: str, reason: str) -> None:
    """Said as wrong usage, with what to write."""
    with pytest.raises(UsageError, match=reason) as caught:
        require_safe(address)
    assert caught.value.hint
