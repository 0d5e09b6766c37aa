"""Starts the program from one file with the code of all its modules, `__pycache__/program.TAG.code`.

As pycs, each of a hook's 120 modules is looked for, opened, read, and judged by its source, which takes 4 ms. Here a
module costs two status calls: its source is by identity, size and times the one that was compiled, or the module is
imported as usual, as all are where there is no such file. A hook that may write renews a file that doesn't fit: of a
system that was copied, all identities are new.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

    #: By the module's name: whether it is a package, where its code is after the index, how long that is, a digest of
    #: its source and its code, and its source's stamp.
    Index = dict[str, tuple[bool, int, int, bytes, tuple[int, ...]]]

#: Parts of the standard library that some systems package apart, and that no run can do without.
_NEEDED = ("_sqlite3", "fcntl", "json", "select", "shutil", "sqlite3", "subprocess")
#: Bytes: the magic number, and the size of the index that follows.
HEAD = len(MAGIC_NUMBER) + 4
_CODE = type((lambda: None).__code__)
#: What a file that is damaged, or can't be read, may raise.
_TROUBLE = (EOFError, MemoryError, OSError, TypeError, ValueError)


def lacking() -> str:
    """Returns what this interpreter lacks to be the host; "" for one that fits."""
    finder = sys.meta_path[-1]
    absent = [name for name in _NEEDED if name not in sys.builtin_module_names and not finder.find_spec(name, None)]
    return f"lacks {', '.join(absent)}" if absent else ""


def main(directory: str, launcher: str, launched: bool) -> int:
    """Run the program from its directory; its exit code. `launched` says that the `launcher` has started it."""
    if sys.argv[1:] == ["--own-bytecode"]:
        import own_bytecode

        own_bytecode.keep(directory)
        return 0
    own = OwnCode.of(directory)
    if own is not None:
        sys.meta_path.insert(0, own)
    if sys.argv[1:] == ["--serves"]:
        return 0 if _serves() else 1
    gc.disable()  # imports make no garbage; main() enables it
    from pyctrigger import interruption

    interruption.watch(ignored=launched and "--hook" in sys.argv)
    from pyctrigger.cli import main as pyctrigger

    code = pyctrigger(program=(launcher,))
    if "--hook" in sys.argv and (own is None or own.is_outdated) and os.access(directory, os.W_OK):
        import own_bytecode

        if os.path.lexists(file_of(directory)):
            own_bytecode.renew(directory)
        else:  # Python was upgraded since the package was installed
            own_bytecode.keep(directory)
    return code


def _serves() -> bool:
    """Whether hooks compile whatever is installed, as pyctrigger-takeover asks."""
    from pyctrigger.errors import PyctriggerError
    from pyctrigger.run.scope import config

    try:
        return config.load(hook=True).compiles_all
    except PyctriggerError:
        return False


# -- the file ---------------------------------------------------------------------------------------------------------


class OwnCode:
    """Finds and loads the modules of a directory (PEP 451)."""

    def __init__(self, directory: str, file: int, index: Index, begin: int) -> None:
        self._directory = directory
        self._file = file
        self._stamp = stamp_of(os.fstat(file))
        self.index = index
        self._begin = begin
        #: Whether a module's source, or code, wasn't what it should be.
        self.is_outdated = False

    @classmethod
    def of(cls, directory: str) -> OwnCode | None:
        """Open the file, if it is whole, and of this Python."""
        try:
            file = os.open(file_of(directory), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            head, whole = os.pread(file, HEAD, 0), os.fstat(file).st_size
            begin = HEAD + int.from_bytes(head[-4:], "little")
            if head[:-4] == MAGIC_NUMBER and begin <= whole:
                index = marshal.loads(os.pread(file, begin - HEAD, HEAD))
                if isinstance(index, dict) and all(begin + at + size <= whole for _, at, size, _, _ in index.values()):
                    return cls(directory, file, index, begin)
        except _TROUBLE:
            pass  # it takes longer, and that is all
        os.close(file)
        return None

    def code_of(self, name: str) -> bytes:
        """Returns a module's code, marshalled. Raises OSError, also where the file isn't open any more."""
        # A process of ours may have closed all descriptors, and opened something else since.
        if stamp_of(os.fstat(self._file)) != self._stamp:
            raise OSError("another file")
        _, at, size, _, _ = self.index[name]
        return os.pread(self._file, size, self._begin + at)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where a module is from; None if it isn't here, or its source is another one by now."""
        if name not in self.index:
            return None
        is_package, *_, stamp = self.index[name]
        source = f"{self._directory}/{name.replace('.', '/')}{'/__init__.py' if is_package else '.py'}"
        try:
            is_same = stamp_of(os.stat(source)) == stamp
            code = marshal.loads(self.code_of(name)) if is_same else None
        except OSError:
            return None
        except _TROUBLE:
            code = None
        if not isinstance(code, _CODE):
            self.is_outdated = True
            return None
        spec = ModuleSpec(name, self, origin=source, loader_state=code, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Have it made as usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module's code."""
        spec = module.__spec__
        code, spec.loader_state = spec.loader_state, None  # it is run once
        exec(code, module.__dict__)


def file_of(directory: str) -> str:
    """Returns the path of the file for this Python."""
    return f"{directory}/__pycache__/program.{sys.implementation.cache_tag}.code"


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """Identity, size and times; without the device, whose number may be another one after the next start."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
