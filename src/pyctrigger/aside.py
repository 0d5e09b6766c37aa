"""A question that a forked process answers, while this one does something else. It only reads."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable

from .forking import fork
from .typed import Any

#: Bytes of an answer; of a longer one nothing is believed.
_MOST = 16 << 20


class Aside:
    """A process that answers `ask()`, with a value that JSON has. Raises OSError if it can't be started."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._pipe, other_end = os.pipe()
        try:
            self._child = fork()
            if not self._child:
                try:
                    with open(other_end, "w", closefd=False) as file:
                        json.dump(ask(), file)
                finally:
                    os._exit(0)  # whatever it was that has happened here happens there as well
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(other_end)

    def answer(self) -> Any:
        """Wait for the answer; None if the process has ended without one."""
        with open(self._pipe, "rb") as file:
            data = file.read(_MOST)
        with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
            os.waitpid(self._child, 0)
        try:
            return json.loads(data)
        except ValueError:
            return None
