"""Probing an executable: running it to find out which Python it is.

The answer isn't trusted, since names in it become names of files and directories that root opens, and parts of
messages. So type, length and alphabet of all values are checked before any is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import time
from collections.abc import Callable, Iterable

from ..errors import InterpreterError, RefusedError
from ..typed import TYPE_CHECKING, Any
from .child import describe_death, kill, start
from .interpreter import Account, Interpreter, Probed, Witness, environment_of, facts_of, is_unchanged
from .loading import examine_loading
from .rights import Rights
from .worker_accounts import lease

if TYPE_CHECKING:
    import subprocess

#: Bytes. An answer has a few kilobytes.
_MAX_BYTES = 1 << 20
#: Seconds. A start takes 10 ms, and a hundred times that on an emulated machine.
PROBE_TIMEOUT = 30.0
#: Seconds between two checks whether the child has ended.
_POLL = 0.1
_MARK = b"\npyctrigger-probe:"
_OLDEST = (3, 6, 0)
_MAX_SCHEMES = 64
_MAX_PATHS = 64
_MAX_PATH_LENGTH = 4096
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z", re.ASCII)
#: The texts in an answer, and the form of each.
_FORMS = {
    "implementation": _NAME,
    "release": re.compile(r"[A-Za-z0-9_.+~-]{1,64}\Z", re.ASCII),
    # It is part of a file name, where a dot would end it (PEP 3147, PEP 488).
    "cache_tag": re.compile(r"[A-Za-z0-9_+-]{1,64}\Z", re.ASCII),
    "magic_number": re.compile(r"[0-9a-f]{4}0d0a\Z", re.ASCII),
    "abi_flags": re.compile(r"[a-z]{0,8}\Z", re.ASCII),
    "default_scheme": _NAME,
}
#: What an answer says about the build, and the form of each value.
_BUILD_FORM = re.compile(r"[ -~]{0,100}\Z", re.ASCII)
_BUILD = frozenset(
    ("pypy", "development", "debug", "system", "machine", "word", "c_library", "powers", "hash", "ranges")
)
#: An interpreter names two to five. They become arguments of its workers.
_CLASS_NAME = re.compile(r"[A-Za-z0-9_.<>]{1,200}\Z", re.ASCII)
_MAX_CLASS_NAMES = 64
_KEYS = frozenset({"purelib", "platlib", "stdlib", "platstdlib"})
#: Stands for an environment's prefix in the answer.
_PLACEHOLDER = "/@/"


def probe(
    executable: str,
    *,
    root: str | None = None,
    timeout: float = PROBE_TIMEOUT,
    meanwhile: Callable[[], None] | None = None,
) -> Probed:
    """Run `executable` and return what it is. `root` is a directory to chroot into first, `timeout` is in seconds.

    `meanwhile` is called while it runs. Raises InterpreterError if it is missing, broken, no Python or doesn't answer,
    and RefusedError if root shouldn't run it.
    """
    seen = (root or "") + executable
    # A trusted root (`--trust-root`) is trusted as a whole, and its links lead elsewhere out here.
    holders = examine_loading(seen) if root is None else None
    account = holders.account if holders else None
    output = _run_probe(executable, account, root, timeout, meanwhile)
    if holders is not None and not all(map(is_unchanged, holders.witnesses)):
        raise RefusedError(f"{executable}, or what it loads, changed while it was probed", hint="run it again")
    interpreter, loaded = parse_answer(executable, output)
    interpreter = interpreter._replace(account=account, root=root, environment=environment_of(seen))
    if holders is None:
        paths = [seen, *(f"{root}{path}" for path in loaded)]
        return Probed(
            interpreter, tuple(Witness(path, facts_of(os.stat(path))) for path in paths if os.path.exists(path))
        )
    if account is not None:
        require_modest(interpreter)
        return Probed(interpreter, holders.witnesses)  # its own list of loaded files proves nothing
    for path in loaded:
        holders.follow_existing(path)
        if holders.account is not None:
            raise RefusedError(
                f"{executable} loads {path}, which somebody other than root owns",
                hint="run as that account, or name another interpreter",
            )
    return Probed(interpreter, holders.witnesses)


def _run_probe(
    executable: str, account: Account | None, root: str | None, timeout: float, meanwhile: Callable[[], None] | None
) -> bytes:
    leased = lease(None) if root is not None else None
    rights = Rights(account, -1, root, account is not None)
    if leased is not None:
        rights = rights._replace(account=leased.account, leased=leased.account.uid)
    try:
        with start(executable, "probe", rights=rights) as child:
            try:
                if meanwhile is not None:
                    meanwhile()
                output, stderr = _read_streams(child, timeout, executable)
            finally:
                kill(child)
    except OSError as error:  # the system refuses poll(2) or read(2)
        raise InterpreterError(f"{executable} can't be probed: {error.strerror}") from error
    finally:
        if leased is not None:
            leased.end()
    if child.returncode != 0 or not is_complete(output):
        raise InterpreterError(f"{executable} is not a working Python: {describe_death(child.returncode, stderr)}")
    return output


def _read_streams(child: subprocess.Popen[bytes], timeout: float, executable: str) -> tuple[bytes, bytes]:
    """Read both streams until the answer is complete or the child has ended: others may keep them open for longer."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdin.close()
    received = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    output, stderr = received.values()
    poller = select.poll()
    for descriptor in received:
        poller.register(descriptor, select.POLLIN)
    open_ends = set(received)
    deadline = time.monotonic() + timeout
    while open_ends and not is_complete(output):
        left = deadline - time.monotonic()
        if left <= 0:
            raise InterpreterError(f"{executable} did not answer within {timeout:g} s")
        has_ended = child.poll() is not None
        ready = poller.poll(0 if has_ended else min(left, _POLL) * 1000)
        if has_ended and not ready:
            break
        for descriptor, _ in ready:
            piece = os.read(descriptor, 65536)
            received[descriptor] += piece
            if not piece:
                poller.unregister(descriptor)
                open_ends.discard(descriptor)
            if len(received[descriptor]) > _MAX_BYTES:
                raise InterpreterError(f"{executable} is not a Python: its answer is too long")
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except Exception as error:  # subprocess is imported lazily, TimeoutExpired with it
        raise InterpreterError(f"{executable} did not end within {timeout:g} s") from error
    return bytes(output), bytes(stderr)


def is_complete(said: bytes | bytearray) -> bool:
    """Whether the answer's line has arrived completely."""
    return b"\n" in said.partition(_MARK)[2]


def parse_answer(executable: str, said: bytes) -> tuple[Interpreter, tuple[str, ...]]:
    """Returns what `executable` is, and the files that it has loaded, according to itself.

    Raises InterpreterError for an answer that no Python gives.
    """
    answer = None
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(said.partition(_MARK)[2].partition(b"\n")[0])
    if not isinstance(answer, dict):
        raise InterpreterError(f"{executable} gave an unreadable answer")
    _require_usable(executable, answer)
    try:
        return _build_interpreter(executable, answer), _parse_paths(answer["witnesses"])
    except KeyError as error:
        raise InterpreterError(f"{executable} gave an incomplete answer: it lacks {error}") from error
    except ValueError as error:
        raise InterpreterError(f"{executable} gave an invalid answer: {error}") from error


def require_modest(interpreter: Interpreter) -> None:
    """Raise RefusedError if another account's interpreter claims directories that the account doesn't own."""
    account = interpreter.account
    homes = [interpreter.prefix, *([interpreter.environment] if interpreter.environment else [])]
    for path in (path for paths in interpreter.schemes.values() for path in paths.values()):
        if account is not None and not _lies_below(path, homes) and _owner_of(path) not in (None, account.uid):
            raise RefusedError(
                f"{interpreter.executable} belongs to account {account.uid}, but claims {path}",
                hint="name an interpreter that root owns",
            )


def _lies_below(path: str, homes: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{home.rstrip('/')}/") for home in homes)


def _owner_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _require_usable(executable: str, answer: dict[str, Any]) -> None:
    """Raise InterpreterError for a Python that can't be a target."""
    version: Any = answer.get("version")
    if _is_version(version) and tuple(version) < _OLDEST:
        raise InterpreterError(f"{executable} is Python {'.'.join(map(str, version))}; 3.6 is the oldest target")
    if "cache_tag" in answer and not answer["cache_tag"]:
        # gh-144278: such a build doesn't write bytecode, and cache_from_source raises.
        raise InterpreterError(
            f"{executable} has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode"
        )


def _build_interpreter(executable: str, answer: dict[str, Any]) -> Interpreter:
    """Returns the interpreter that an answer describes. Raises KeyError and ValueError."""
    for key, form in _FORMS.items():
        _require_form(isinstance(answer[key], str) and form.match(answer[key]), f"{key} is", answer[key])
    version, free_threaded = answer["version"], answer["free_threaded"]
    _require_form(_is_version(version) and version[0] == 3, "version is", version)
    _require_form(isinstance(free_threaded, bool), "free_threaded is", free_threaded)
    inside = _parse_paths(answer["inside"])
    for path in inside:
        _require_form(path.startswith(_PLACEHOLDER), "not a path in an environment:", path)
    return Interpreter(
        executable=executable,
        version=tuple(version),
        magic_number=bytes.fromhex(answer["magic_number"]),
        free_threaded=free_threaded,
        prefix=_parse_path(answer["prefix"]),
        schemes=_parse_schemes(answer["schemes"]),
        inside=inside,
        build=_parse_build(answer["build"]),
        class_names=_parse_class_names(answer["class_names"]),
        **{key: answer[key] for key in _FORMS if key != "magic_number"},
    )


def _require_form(is_right: object, what: str, value: Any) -> None:
    """Raise ValueError with the beginning of a wrong value."""
    if not is_right:
        raise ValueError(f"{what} {ascii(value)[:100]}")


def _is_version(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each < 1000 for each in value)


def _parse_path(value: Any) -> str:
    """Returns an absolute path without "..". Raises ValueError for any other value."""
    is_path = isinstance(value, str) and value.startswith("/") and len(value) <= _MAX_PATH_LENGTH and "\0" not in value
    _require_form(is_path, "not an absolute path:", value)
    _require_form(".." not in value.split("/"), "not a normalized path:", value)
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        _require_form(False, "not a file name:", value)
    return str(value)


def _parse_paths(value: Any) -> tuple[str, ...]:
    _require_form(isinstance(value, list) and len(value) <= _MAX_PATHS, "not a list of paths:", value)
    return tuple(map(_parse_path, value))


def _parse_build(value: Any) -> tuple[tuple[str, str], ...]:
    _require_form(isinstance(value, dict) and value.keys() == _BUILD, "not the facts of a build:", value)
    for name, text in value.items():
        _require_form(isinstance(text, str) and _BUILD_FORM.match(text), f"{name} is", text)
    return tuple(sorted(value.items()))


def _parse_class_names(value: Any) -> tuple[str, ...]:
    _require_form(isinstance(value, list) and len(value) <= _MAX_CLASS_NAMES, "not a list of classes:", value)
    for name in value:
        _require_form(isinstance(name, str) and _CLASS_NAME.match(name), "not the name of a class:", name)
    return tuple(value)


def _parse_schemes(value: Any) -> dict[str, dict[str, str]]:
    _require_form(isinstance(value, dict) and len(value) <= _MAX_SCHEMES, "not a table of schemes:", value)
    for name, paths in value.items():
        is_scheme = _NAME.match(name) and isinstance(paths, dict) and _KEYS.issuperset(paths)
        _require_form(is_scheme, "not a scheme:", name)
    return {name: {key: _parse_path(path) for key, path in paths.items()} for name, paths in value.items()}
