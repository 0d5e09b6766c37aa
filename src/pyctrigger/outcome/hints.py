"""What to do about files that failed, by the kind of failure."""

from __future__ import annotations

_LEAVE_OUT = "exclude the source: --exclude GLOB, or exclude in the configuration"
_AT_FAULT = f"tell the maintainers of the source, or {_LEAVE_OUT}"
HINTS = {
    **dict.fromkeys(("syntax", "encoding", "recursion", "unmarshallable"), _AT_FAULT),
    "crash": f"run it again; if that changes nothing, {_AT_FAULT}",
    "timeout": f"raise file_timeout in the configuration, or {_LEAVE_OUT}",
    "memory": f"raise memory_limit in the configuration, or whatever limit is lower, or {_LEAVE_OUT}",
    **dict.fromkeys(("io", "refused"), "fix the cause, and run it again"),
}
