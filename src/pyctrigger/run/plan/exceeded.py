"""Sources that are known to take more than a limit: by their digests, under whatever name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...workers.pool import Lost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...state.records.manifest import Manifest


def known_to_exceed(
    manifest: Manifest, magic_number: bytes, limits: Mapping[str, float]
) -> tuple[dict[bytes, Lost], set[bytes]]:
    """What would exceed these limits again, with the answer to it, and what exceeded tighter ones."""
    exceeded, suspects = {}, set()
    for fact in manifest.uncompilable.values():
        if fact.kind in limits and fact.holds(magic_number, limits):
            exceeded[fact.digest] = Lost(fact.kind, fact.message, fact.tried_with)
        elif fact.kind in limits and fact.magic_number == magic_number:
            suspects.add(fact.digest)
    return exceeded, suspects
