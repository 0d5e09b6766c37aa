"""The module for zstd: the standard library's, or its backport, which is an extra."""

from __future__ import annotations

from typing import Any


def zstd_module() -> Any:
    """Returns the standard library's module (3.14, PEP 784), or its backport, or None."""
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd
