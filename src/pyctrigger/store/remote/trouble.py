"""What can be wrong with a store of another machine, or with what it sends."""

from __future__ import annotations

import enum
import os
from typing import NamedTuple

from ..container import UNUSABLE, Flaw
from ..seal import SealFlaw


class Trouble(enum.IntEnum):
    """Why a store isn't asked any more in this run. Only its number, and the system's of an error, is ever sent."""

    SYSTEM = 1
    NO_SUCH_HOST = 2
    TIMED_OUT = 3
    ENDED = 4
    CERTIFICATE = 5
    ENCRYPTION = 6
    NOT_ALLOWED = 7
    FAILING = 8
    PROTOCOL = 9
    NO_REDIS = 10
    NO_SIGNATURES = 11
    MEMORY = 12
    TOO_SLOW = 13
    LOST = 14


_WORDS = {
    Trouble.SYSTEM: "it can't be reached",
    Trouble.NO_SUCH_HOST: "no such host is known",
    Trouble.TIMED_OUT: "it did not answer in time",
    Trouble.ENDED: "it closed the connection",
    Trouble.CERTIFICATE: "its certificate isn't valid here",
    Trouble.ENCRYPTION: "no encrypted connection is possible",
    Trouble.NOT_ALLOWED: "it refuses this user or password",
    Trouble.FAILING: "it answers with errors",
    Trouble.PROTOCOL: "it doesn't answer as such a store does",
    Trouble.NO_REDIS: "this needs the library redis (a system package, or pip install 'pyctrigger[redis]')",
    Trouble.NO_SIGNATURES: (
        "signatures need the library cryptography (a system package, or pip install 'pyctrigger[sign]')"
    ),
    Trouble.MEMORY: "what it sent needs too much memory",
    Trouble.TOO_SLOW: "it took longer than it saved by `timeout` seconds",
    Trouble.LOST: "the process that asked it ended",
}


class TroubleError(Exception):
    """Raised where a store can't be asked any more."""

    def __init__(self, trouble: Trouble, number: int = 0) -> None:
        super().__init__(trouble.name)
        self.trouble = trouble
        #: The system's, of an error; else 0.
        self.number = number


class Told(NamedTuple):
    """A trouble that was told."""

    trouble: Trouble
    number: int = 0

    @property
    def words(self) -> str:
        """What to tell people."""
        if self.trouble is Trouble.SYSTEM and self.number:
            return os.strerror(self.number).lower()
        return _WORDS[self.trouble]


class Refusal(enum.Enum):
    """Why a store gave nothing for a key, though it may have something."""

    FORBIDDEN = "forbidden"
    REDIRECTED = "redirected"
    SERVER_ERROR = "server error"
    TOO_LARGE = "oversized"


#: All reasons for which what was found, or answered, is a miss; a process sends its index.
REASONS = tuple(sorted({*UNUSABLE, *(each.value for kind in (Flaw, SealFlaw, Refusal) for each in kind)}))
