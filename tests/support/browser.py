"""A real browser without a window: Chromium, controlled over two pipes by its DevTools protocol."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: For any answer, on a loaded machine.
ANSWER_SECONDS = 60
#: Starts a program with two descriptors as 3 and 4, where the protocol expects its pipes, whatever numbers they had.
_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
for number, pipe in enumerate(pipes, 3):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
_OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    # Root's browser has no sandbox; nothing but our own pages is looked at.
    "--no-sandbox",
    # Nothing is to be fetched that a page doesn't ask for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1300,1000",
)


class Browser:
    """One tab, and what it said since the last look."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._received = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns the result of a command; what happened meanwhile goes to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self.events.clear()
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        loaded = {"name": "load", "loaderId": answer["loaderId"]}
        while not any(loaded.items() <= each.get("params", {}).items() for each in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a piece of JavaScript, or what its promise comes to."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Returns the value of a piece of JavaScript once it is something."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"still nothing: {expression}"
            time.sleep(0.05)
        return value

    def complaints(self) -> list[str]:
        """Returns the errors and warnings in the console since the page was opened."""
        self.evaluate("0")  # what was said before has arrived then
        found = []
        for each in self.events:
            said = each.get("params", {})
            if each["method"] == "Runtime.exceptionThrown":
                found.append(str(said["exceptionDetails"]))
            elif each["method"] == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
                found.append(str(said["args"]))
            elif each["method"] == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
                found.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        return found

    def requested(self) -> list[str]:
        """Returns what was fetched since the page was opened."""
        sent = [each["params"] for each in self.events if each["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            readable, _, _ = select.select([self._answers], [], [], ANSWER_SECONDS)
            assert readable, f"the browser said nothing for {ANSWER_SECONDS} s"
            piece = os.read(self._answers, 1 << 16)
            assert piece, "the browser is gone"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browsing(chromium: str, profile: Path) -> Iterator[Browser]:
    """A browser, until the block ends; `profile` is an empty directory."""
    their_commands, commands = os.pipe()
    answers, their_answers = os.pipe()
    theirs = (their_commands, their_answers)
    start = [sys.executable, "-I", "-S", "-c", _START, *map(str, theirs)]
    command = [*start, chromium, *_OPTIONS, f"--user-data-dir={profile}"]
    # What it says to a terminal is kept beside the profile, for whoever asks why it is gone.
    with profile.with_suffix(".log").open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=theirs)
    os.close(their_commands)
    os.close(their_answers)
    try:
        yield Browser(commands, answers)
        os.write(commands, b'{"id": 0, "method": "Browser.close"}\0')
        child.wait(ANSWER_SECONDS)
    finally:
        os.close(commands)
        os.close(answers)
        child.kill()
        child.wait()
