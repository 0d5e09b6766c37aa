"""Frames as the protocol between host and worker has them, made by other code than ours."""

from __future__ import annotations

import struct

#: What a worker that is ready says first.
READY = b"pyctrigger-worker-1"


def framed(payload: bytes | memoryview) -> bytes:
    """A frame, in one piece."""
    return struct.pack("<I", len(payload)) + payload


def packed_reply(levels: list[tuple[int, bytes]], first: int = 0) -> bytes:
    """A reply of a worker that has compiled: each level with its state and its body, after five microseconds."""
    pieces = [struct.pack("<BII", state, 5, len(body)) + body for state, body in levels]
    return struct.pack("<B8sB", first, b"\x01" * 8, len(levels)) + b"".join(pieces)
