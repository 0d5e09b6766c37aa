"""What ends the making of documents."""

from __future__ import annotations


class ProseError(Exception):
    """Prose and program don't fit together; the message names the file and the mend."""
