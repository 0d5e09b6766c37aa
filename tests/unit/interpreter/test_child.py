"""Our own Python as a child."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

from pyctrigger.interpreter.child import start_own

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_TELLS = """
import json, os, signal

def serve(*settings):
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    has_session = os.getsid(0) == os.getpid()
    print(json.dumps([settings, sorted(ignored), sorted(blocked), has_session, os.getcwd(), sorted(os.environ)]))
"""


def test_our_own_python_has_nothing_of_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But its settings: no signals that are ignored or blocked, no session, directory or environment."""
    (tmp_path / "tells.py").write_text(_TELLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    handler = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with start_own("tells", ("\udcff", 1, None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            said, _ = child.communicate(timeout=60)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, handler)

    own = [signal.SIGPIPE, signal.SIGXFSZ]  # Python's
    assert [["\udcff", 1, None], own, [], True, "/", ["HOME", "LC_ALL", "PATH"]] == json.loads(said)
