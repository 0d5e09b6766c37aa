"""A stand-in for FreeBSD's pkg at the end of a transaction: it reads the triggers and runs them in a real Lua 5.4.

A program of its own, standard library only, which runs inside the root that is to look like FreeBSD's:
`pkg_stand_in.py LUA ROOT < JOB`. What it does and what it doesn't is as pkg 2.8 has it: the directories that a
trigger gets, the order in which nothing is promised, what a failing script costs, how a trigger is deferred. The other
half, inside Lua, is pkg_stand_in.lua.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Union

TRIGGERS = "/usr/local/share/pkg/triggers"
DEFERRED = "/var/db/pkg/triggers"

#: Seconds. A script that takes longer hangs.
PATIENCE = 120

Value = Union[str, bool, "list[Any]", "dict[str, Any]"]


class Script(NamedTuple):
    """The contents of a trigger's `trigger` or `cleanup`."""

    text: str
    sandbox: bool


class Trigger(NamedTuple):
    """One file of the triggers' directory."""

    name: str
    paths: list[bytes]
    globs: list[bytes]
    trigger: Script
    cleanup: Script | None

    def matches(self, directory: bytes) -> bool:
        """Whether it gets a directory; a `*` in its pattern matches slashes."""
        return directory in self.paths or any(fnmatch.fnmatchcase(directory, glob) for glob in self.globs)


# -- the UCL that a trigger is written in: the part of it that our templates use, and errors for the rest --------------

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<heredoc><<(?P<end>[A-Z]+)\n(?P<body>.*?)\n(?P=end)(?=\n|\Z))
    | (?P<string>"(?:[^"\\]|\\.)*") | (?P<word>[A-Za-z0-9_./-]+) | (?P<sign>[\[\]{}:,;=])""",
    re.VERBOSE | re.DOTALL,
)


def read_ucl(text: str) -> dict[str, Any]:
    """The object in a UCL text. Raises ValueError for what this reader doesn't know."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"no UCL of ours at {text[at : at + 30]!r}")
        kind = match.lastgroup
        if match["heredoc"] is not None:
            tokens.append(("text", match["body"]))
        elif kind == "string":
            tokens.append(("text", json.loads(match["string"])))
        elif kind in ("word", "sign"):
            tokens.append((kind, match[kind]))
        at = match.end()
    for kind, token in tokens:
        if kind == "text" and "$" in token:
            raise ValueError("UCL would look for a variable behind a dollar sign")
    found, rest = _read_object([*tokens, ("sign", "}")])
    if rest:
        raise ValueError("a brace too many")
    return found


def _read_object(tokens: list[tuple[str, str]]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    found: dict[str, Any] = {}
    while tokens:
        (kind, token), *tokens = tokens
        if (kind, token) == ("sign", "}"):
            return found, tokens
        if kind == "sign" and token in ",;":
            continue
        if kind == "sign":
            raise ValueError(f"{token} where a key should be")
        if tokens[0][0] == "sign" and tokens[0][1] in ":=":
            tokens = tokens[1:]
        found[token], tokens = _read_value(tokens)
    raise ValueError("a brace too few")


def _read_value(tokens: list[tuple[str, str]]) -> tuple[Value, list[tuple[str, str]]]:
    (kind, token), *tokens = tokens
    if kind == "text":
        return token, tokens
    if kind == "word":
        return {"true": True, "false": False}.get(token, token), tokens
    if token == "{":
        return _read_object(tokens)
    if token != "[":
        raise ValueError(f"{token} where a value should be")
    items: list[Any] = []
    while tokens[0] != ("sign", "]"):
        if tokens[0] == ("sign", ","):
            tokens = tokens[1:]
            continue
        item, tokens = _read_value(tokens)
        items.append(item)
    return items, tokens[1:]


def load(name: str, text: str) -> Trigger:
    """A trigger from its file. Raises ValueError or KeyError for one that pkg would refuse."""
    document = read_ucl(text)
    unknown = document.keys() - {"description", "path", "path_glob", "path_regexp", "trigger", "cleanup"}
    if unknown or "description" not in document or not document.keys() & {"path", "path_glob"}:
        raise ValueError(f"{name}: no trigger: {sorted(document)}")
    return Trigger(
        name,
        [os.fsencode(path) for path in document.get("path", [])],
        [os.fsencode(path) for path in document.get("path_glob", [])],
        _script(document["trigger"]),
        _script(document["cleanup"]) if "cleanup" in document else None,
    )


def _script(block: dict[str, Any]) -> Script:
    if block["type"] != "lua":
        raise ValueError(f"no script of type {block['type']}")
    return Script(block["script"], block.get("sandbox", True))


# -- the end of a transaction ----------------------------------------------------------------------------------------


class Pkg:
    """pkg, working on `root` ("" is this one)."""

    def __init__(self, lua: str, root: str, job: dict[str, Any]) -> None:
        self._lua = lua
        self._root = root
        self._limit: int | None = job.get("descriptors")
        #: A function that this version of pkg hasn't.
        self._lacking: str = job.get("lacking", "")
        #: PKG_TRIGGERS_DIR. (PKG_TRIGGERS_ENABLE is read, and never used.)
        self._directory: str = job.get("triggers", TRIGGERS)
        #: pkg runs triggers in the order in which a directory happens to list them.
        self._backwards: bool = job.get("backwards", False)
        #: `pkg -r`: what isn't sandboxed runs later, inside.
        self._defers: bool = job.get("defer", False)

    def finish(self, before: dict[str, str], touched: set[bytes], left: list[str]) -> None:
        """Run the cleanups of triggers that left, then the triggers that what was touched concerns; the first that
        fails is the last. One that `left` with its package may be there again, with another.
        """
        texts = {path.name: path.read_text() for path in self._trigger_files()}
        if self._directory != TRIGGERS:
            before = {}  # pkg deletes files of packages, and none of a directory that it never looked into
        scripts: list[tuple[Script, list[bytes]]] = []
        for name, text in before.items():
            cleanup = load(name, text).cleanup
            if (name not in texts or name in left) and cleanup is not None:
                scripts.append((cleanup, []))
        for name, text in texts.items():
            trigger = load(name, text)
            matching = [each for each in touched if trigger.matches(each)]
            if matching:
                scripts.append((trigger.trigger, matching))
        for script, arguments in scripts:
            if self._defers and not script.sandbox:
                self._save(script, arguments)
            elif not self._run(script, arguments):
                return

    def _trigger_files(self) -> list[Path]:
        """No hidden ones, and no links."""
        directory = Path(self._root + self._directory)
        found = [path for path in directory.glob("*.ucl") if path.is_file() and not path.is_symlink()]
        return sorted((path for path in found if not path.name.startswith(".")), reverse=self._backwards)

    def _save(self, script: Script, arguments: list[bytes]) -> None:
        directory = self._root + DEFERRED
        os.makedirs(directory, exist_ok=True)
        lines = [b"--begin args", *(b"-- " + each for each in arguments), b"--end args", b"--", script.text.encode()]
        Path(tempfile.mkstemp(dir=directory)[1]).write_bytes(b"\n".join([*lines, b""]))

    def run_deferred(self) -> None:
        """`pkg triggers`: what an earlier transaction saved, read line by line."""
        for path in Path(self._root + DEFERRED).iterdir():
            arguments, lines, inside, behind = set(), [], False, False
            for line in path.read_bytes().splitlines(keepends=True):
                if line[2:].startswith((b"begin args", b"end args")):
                    inside = line[2:].startswith(b"begin")
                    behind = not inside
                elif inside:
                    arguments.add(line[3:].rstrip(b"\n"))
                elif behind:
                    lines.append(line)
            if self._run(Script(b"".join(lines).decode(), False), list(arguments)):
                path.unlink()

    def _run(self, script: Script, arguments: list[bytes]) -> bool:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "script"
            path.write_text(script.text + "\n", encoding="utf-8")
            code = _Session(self._root, arguments).serve(self._command(str(path), script.sandbox), self._limit)
        if code > 0:  # like all of its children, one that a signal killed counts as well ended
            print("pkg: lua script failed", file=sys.stderr, flush=True)
        return code <= 0

    def _command(self, path: str, sandbox: bool) -> list[str]:
        other_half = str(Path(__file__).with_suffix(".lua"))
        return [self._lua, other_half, path, self._root, "sandbox" if sandbox else "free", self._lacking]


class _Session:
    """One script's run: the answers to what it asks for."""

    _TYPES = (
        (stat.S_ISREG, b"reg"),
        (stat.S_ISDIR, b"dir"),
        (stat.S_ISLNK, b"lnk"),
        (stat.S_ISFIFO, b"fifo"),
        (stat.S_ISCHR, b"chr"),
        (stat.S_ISBLK, b"blk"),
        (stat.S_ISSOCK, b"sock"),
    )

    def __init__(self, root: str, arguments: list[bytes]) -> None:
        self._root = os.fsencode(root)
        self._touched = arguments

    def serve(self, command: list[str], limit: int | None) -> int:
        """Start Lua and answer it; its exit code."""
        ours, theirs = os.pipe(), os.pipe()
        sys.stdout.flush()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit or limits[0], limits[1]))  # the child inherits it
        lua = subprocess.Popen([*command, f"/dev/fd/{ours[1]}", f"/dev/fd/{theirs[0]}"], pass_fds=(ours[1], theirs[0]))
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(ours[1])
        os.close(theirs[0])
        signal.alarm(PATIENCE)
        with open(ours[0], "rb") as requests, open(theirs[1], "wb") as replies:
            while length := requests.read(4):
                verb, *words = _unpack(requests.read(struct.unpack("<I", length)[0]))
                try:
                    answer = getattr(self, f"_{verb.decode()}")(*words)
                except OSError as error:
                    number = error.errno or errno.EIO
                    answer = [b"error", os.strerror(number).encode(), b"%d" % number]
                replies.write(_pack([_pack(answer)]))
                replies.flush()
        code = lua.wait()
        signal.alarm(0)
        return code

    def _arguments(self) -> list[bytes]:
        return self._touched

    def _stat(self, path: bytes) -> list[bytes]:
        status = os.lstat(self._root + path)
        kind = next(name for test, name in self._TYPES if test(status.st_mode))
        return [b"ok", kind, *(b"%d" % number for number in (status.st_size, status.st_uid, status.st_gid))]

    def _readdir(self, path: bytes) -> list[bytes]:
        return [b"ok", *os.listdir(self._root + path)]

    def _create(self, path: bytes) -> list[bytes]:
        os.close(os.open(self._root + path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        return [b"ok"]

    def _remove(self, path: bytes) -> list[bytes]:
        try:
            is_directory = stat.S_ISDIR(os.lstat(self._root + path).st_mode)
        except OSError:
            return [b"ok"]  # what can't be found counts as removed
        (os.rmdir if is_directory else os.unlink)(self._root + path)
        return [b"ok"]

    def _rename(self, source: bytes, target: bytes) -> list[bytes]:
        os.rename(self._root + source, self._root + target)
        return [b"ok"]

    def _exec(self, *command: bytes) -> list[bytes]:
        never_closed = os.pipe()
        try:
            child = subprocess.Popen(command, stdin=never_closed[0])
            code = child.wait()
        finally:
            os.close(never_closed[0])
            os.close(never_closed[1])
        if code > 0:
            return [b"error", b"Abnormal termination", b"0"]
        return [b"ok", b"%d" % child.pid]


def _pack(words: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


def _unpack(text: bytes) -> list[bytes]:
    words = []
    while text:
        (length,) = struct.unpack_from("<I", text)
        words.append(text[4 : 4 + length])
        text = text[4 + length :]
    return words


def main() -> None:
    """Read the job, and do it."""
    lua, root = sys.argv[1:]
    job = json.load(sys.stdin)
    os.umask(0o022)
    pkg = Pkg(lua, root, job)
    if job["command"] == "triggers":
        pkg.run_deferred()
    else:
        pkg.finish(job["before"], {path.encode("latin-1") for path in job["touched"]}, job["left"])


if __name__ == "__main__":
    main()
