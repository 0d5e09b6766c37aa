"""Cache of probed interpreters, so that a trigger doesn't start one each time.

An entry is valid as long as every path component that was checked for it, and every file that it depends on, is
unchanged. It is only a hint: a worker's handshake reports magic number and tag again.
"""

from __future__ import annotations

import contextlib
import os
from binascii import crc32
from collections.abc import Callable, Iterator

from ..interpreter.interpreter import Account, Interpreter, Probed, Witness, is_unchanged
from ..typed import Any
from . import own_files

_FORMAT = 4
#: What loading a damaged entry raises, or none.
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


class ProbedInterpreters:
    """The cache below a state directory. Without one, each interpreter is probed every time.

    With `keep=False` nothing is written: for commands that only read.
    """

    def __init__(self, directory: str | None, *, keep: bool = True) -> None:
        self._directory = os.path.join(directory, "interpreters") if directory else None
        self._keep = keep
        #: Called while an interpreter runs to say what it is, which takes 20 to 50 ms.
        self.meanwhile: Callable[[], None] | None = None

    def ask(self, executable: str, *, root: str | None = None) -> Interpreter:
        """Returns what `executable` is, from the cache or by probing it. Raises like `probe`."""
        path = self._entry_path(executable, root)
        with contextlib.suppress(*_DAMAGED):
            interpreter, witnesses = _load_entry(own_files.read(path) if path else None)
            is_meant = (interpreter.executable, interpreter.root) == (executable, root)
            if is_meant and witnesses and all(map(is_unchanged, witnesses)):
                return interpreter
        from ..interpreter.probe import probe  # it imports what a run without a child doesn't need

        probed = probe(executable, root=root, meanwhile=self.meanwhile)
        if path and self._keep:
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                own_files.write_durably(path, _dump_entry(probed))
        return probed.interpreter

    def forget(self, interpreter: Interpreter) -> None:
        """Remove an entry that turned out to be wrong."""
        path = self._entry_path(interpreter.executable, interpreter.root)
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def known(self) -> Iterator[Interpreter]:
        """Yields every interpreter that has an entry, whether it still exists or not."""
        if self._directory is None or not os.path.isdir(self._directory):
            return
        for name in sorted(os.listdir(self._directory)):
            with contextlib.suppress(*_DAMAGED):
                yield _load_entry(own_files.read(os.path.join(self._directory, name))).interpreter

    def _entry_path(self, executable: str, root: str | None) -> str | None:
        if self._directory is None:
            return None
        key = crc32(f"{root or ''}\0{executable}".encode("utf-8", "surrogateescape"))
        return os.path.join(self._directory, f"{key:08x}.json")


def _dump_entry(probed: Probed) -> dict[str, Any]:
    interpreter = probed.interpreter._asdict()
    interpreter["magic_number"] = probed.interpreter.magic_number.hex()
    return {"format": _FORMAT, "asked_by": os.geteuid(), "interpreter": interpreter, "witnesses": probed.witnesses}


def _load_entry(stored: Any) -> Probed:
    """Returns an entry. Raises one of `_DAMAGED` if there is none that can be believed."""
    if (stored["format"], stored["asked_by"]) != (_FORMAT, os.geteuid()):
        raise ValueError("another format, or an entry of another account")
    fields = stored["interpreter"]
    account = fields["account"]
    major, minor, micro = (int(number) for number in fields["version"])
    interpreter = Interpreter(
        **{
            **fields,
            "version": (major, minor, micro),
            "inside": tuple(fields["inside"]),
            "build": tuple((str(name), str(text)) for name, text in fields["build"]),
            "class_names": tuple(map(str, fields["class_names"])),
            "magic_number": bytes.fromhex(fields["magic_number"]),
            "account": Account(*account) if account is not None else None,
        }
    )
    return Probed(interpreter, tuple(Witness(path, seen and tuple(seen)) for path, seen in stored["witnesses"]))
