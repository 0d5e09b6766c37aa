"""The system's log: a daemon's socket where syslog(3) looks for it, and what arrives there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from command import Command
from conftest import absent
from packages import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Argument
    from interpreters import Interpreter

INFO, WARNING, ERROR = 6, 4, 3
#: LOG_DAEMON, as a number that priorities are added to (RFC 3164, 4.1.1).
DAEMON = 3 << 3
#: What arrives: priority, time, program and process, text.
MESSAGE = re.compile(rb"<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d pyctrigger\[\d+\]: (.*)\Z", re.DOTALL)


class Daemon:
    """A syslog daemon's socket, in a `/dev` that only our commands see."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("null", "zero", "urandom", "random"):
            status = os.stat(f"/dev/{name}")
            os.mknod(directory / name, status.st_mode, status.st_rdev)
            os.chmod(directory / name, 0o666)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "log"))
        self.socket.setblocking(False)

    def messages(self) -> list[tuple[int, str]]:
        """What came since last time: severity and text."""
        found: list[tuple[int, str]] = []
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return found
            match = MESSAGE.match(data.rstrip(b"\0"))
            assert match, data
            assert int(match[1]) & ~7 == DAEMON
            found.append((int(match[1]) & 7, match[2].decode()))

    def message(self) -> tuple[int, str]:
        """The only one."""
        (message,) = self.messages()
        return message


@pytest.fixture
def daemon(as_root: None, pyctrigger: Command) -> Iterator[Daemon]:
    """A daemon that hears what the command says."""
    unshare = shutil.which("unshare")
    if unshare is None:
        absent("no unshare (Debian package util-linux)")
    # The address of a socket has 108 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="log-") as directory:
        os.chmod(directory, 0o755)
        daemon = Daemon(Path(directory))
        with daemon.socket:
            pyctrigger.program = [
                unshare, "--mount", "sh", "-c", 'mount --bind "$0" /dev && exec "$@"', directory, *pyctrigger.program,
            ]  # fmt: skip
            if subprocess.run([*pyctrigger.program[:6], "true"], capture_output=True, check=False).returncode:
                absent("no mount namespace to be had")
            yield daemon


@pytest.fixture
def scope(site: Path, tmp_path: Path, newest: Interpreter) -> list[Argument]:
    """One flavour, one site directory with a package, and a configuration that asks for the log."""
    write_tree(site, {"one/__init__.py": "x = 1\n", "one/gone.py": ""})
    configuration = tmp_path / "pyctrigger.toml"
    configuration.write_text('[defaults]\nlog = "syslog"\n')
    return ["--python", newest.path, "--site-dir", site, "--config", configuration]


def test_one_line_for_each_run(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """Which command for whom, and what it did; also where there was nothing to do."""
    flavour = newest.flavour
    took = r"in \d+\.\d\d s"

    assert pyctrigger.text("run", "--hook", "--manager", "dpkg", "--event", "upgrade", *scope).code == 0
    severity, text = daemon.message()
    assert severity == INFO
    assert re.fullmatch(rf"run --hook dpkg upgrade: {flavour}: 2 compiled {took}", text)

    (site / "one/gone.py").unlink()
    for verb, did in (("run", "1 fresh, 1 removed"), ("run", "1 fresh"), ("sweep", "nothing to do")):
        assert pyctrigger.text(verb, *scope).code == 0
        severity, text = daemon.message()
        assert (severity, re.sub(took, "", text)) == (INFO, f"{verb}: {flavour}: {did} ")


def test_two_flavours_are_one_run(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], interpreters: list[Interpreter]
) -> None:
    """And one line."""
    first, second = interpreters[:2]

    pyctrigger.text("run", "--python", first.path, "--python", second.path, *scope[2:])

    assert re.fullmatch(rf"run: {first.flavour}: 2 compiled .*; {second.flavour}: 2 compiled .* s", daemon.message()[1])


def test_what_failed_is_named(daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """The path and the reason that the hook printed, as a warning; never a word of the source."""
    (site / "bad.py").write_text("password = 'secret' = = \n")

    hook = pyctrigger.text("run", "--hook", *scope)

    severity, text = daemon.message()
    failure = hook.err.splitlines()[0]
    assert (WARNING, True) == (severity, failure.startswith(f"{site}/bad.py: syntax: "))
    assert text.endswith(f"; {failure}")
    assert "secret" not in text


def test_errors_and_notices_are_in_it(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path
) -> None:
    """What the hook could not do, and what it has done with its work; also where it has ended before it began."""
    gone = pyctrigger.text("run", "--hook", "--python", "/nonexistent/python3.11", *scope[2:])
    severity, text = daemon.message()
    said = gone.err.partition("; the work of this transaction")[0].replace("pyctrigger: ", "")
    assert (ERROR, f"error: {said}") == (severity, text.partition(": ")[2])

    (outer := tmp_path / "new\nline\x1b[31m").mkdir()
    outside = pyctrigger.text("run", *scope, outer)
    assert (2, ERROR) == (outside.code, (message := daemon.message())[0])
    assert f"run: error: {outside.err.strip().replace('pyctrigger: ', '')}" == message[1]

    (tmp_path / "pyctrigger.toml").write_text('[defaults]\nlog = "syslog"\n[hooks]\nenabled = false\n')
    switched_off = pyctrigger.text("run", "--hook", *scope)
    notice = switched_off.err.splitlines()[0].partition("pyctrigger: ")[2]
    assert (True, True) == (bool(notice), daemon.message()[1].endswith(f"; {notice}"))


@pytest.mark.parametrize("count", [3, 400])
def test_a_line_is_one_line_of_bounded_length(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path, count: int
) -> None:
    """Whatever a name contains: no newline, no escape sequence, no forged message; what doesn't fit is counted."""
    evil = os.fsencode(site) + b"/\n<0>Jan  1 00:00:00 root[1]: forged\r\x1b[31m\xff\xe2\x80\xa8%s%n"
    os.mkdir(evil)
    for number in range(count):
        with open(evil + b"/" + b"x" * 200 + b"%d.py" % number, "w") as file:
            file.write("= =\n")

    pyctrigger.text("run", *scope)

    severity, text = daemon.message()
    assert severity == WARNING
    assert text.isprintable()
    assert r"/\n<0>Jan  1 00:00:00 root[1]: forged\r\x1b[31m\xff\u2028%s%n/xxx" in text
    assert len(text.encode()) <= 2000
    more = re.search(r"; and (\d+) more\Z", text)
    named = text.count(": syntax: ")
    assert count == named + (int(more[1]) if more else 0)
    assert named >= 3


def test_only_changes_are_logged(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path
) -> None:
    """Neither looking nor a dry run leaves a line, nor does anything where no log is wanted."""
    for verb, options in (("verify", []), ("status", []), ("run", ["--dry-run"])):
        pyctrigger.text(verb, *options, *scope)
    (tmp_path / "pyctrigger.toml").write_text("")
    pyctrigger.text("run", *scope)

    assert daemon.messages() == []


def test_a_daemon_that_takes_nothing_stops_nobody(
    daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path
) -> None:
    """It hangs, and its queue is full: the work is done, and that the log has none of it is said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(str(daemon.directory / "log"))
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"x")
        outcome = pyctrigger.text("run", "--hook", *scope)

    line = "pyctrigger: the system's log accepted nothing within 2 s; check that its daemon runs, or set log to none"
    assert (0, True) == (outcome.code, line in outcome.err.splitlines())
    assert len(list(site.rglob("*.pyc"))) == 2


def test_no_daemon_at_all(daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """The work is done silently: syslog(3) has no reader."""
    daemon.socket.close()

    outcome = pyctrigger.text("run", "--hook", *scope)

    assert (0, 2) == (outcome.code, len(list(site.rglob("*.pyc"))))
    assert "Traceback" not in outcome.err


def test_a_defect_is_in_the_log_as_well(daemon: Daemon, pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """What ends a run unforeseen is named by its kind; its words may come from anywhere."""
    code = (
        "import sys; from pyctrigger.run import trigger\n"
        "def fail(*_): raise ZeroDivisionError('words')\n"
        "trigger.do_installation = fail\n"
        "from pyctrigger.cli import main; sys.exit(main())"
    )
    pyctrigger.program[-3:] = [sys.executable, "-c", code]

    outcome = pyctrigger.text("run", *scope)

    assert outcome.code == 70
    assert (ERROR, "run: error: ended by ZeroDivisionError") == daemon.message()
