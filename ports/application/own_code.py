"""The program's own bytecode in one file, `__pycache__/program.TAG.code`.

As pycs, each of a hook's 120 modules is looked for, opened, read, and judged by its source, which takes 4 ms. Here a
module costs one stat(): its source is by identity, size and times the one that was compiled, or the module is imported
as usual, as all are where there is no such file. There are no docstrings, which nobody reads while the program runs.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

    #: By the module's name: whether it is a package, where its code begins and ends, and its source's stamp.
    Index = dict[str, tuple[bool, int, int, tuple[int, ...]]]

#: Bytes of the magic number, and of the size of the index that follows.
_MAGIC, _SIZE = len(MAGIC_NUMBER), 4
_Code = type((lambda: None).__code__)
#: What a damaged file may raise.
_DAMAGE = (EOFError, TypeError, ValueError)


class OwnCode:
    """Finds and loads the modules of a directory (PEP 451)."""

    def __init__(self, directory: str, index: Index, code: memoryview) -> None:
        self._directory = directory
        self._index = index
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where a module is from; None if it isn't here, or its source is another one by now."""
        entry = self._index.get(name)
        if entry is None:
            return None
        is_package, begin, end, stamp = entry
        source = _source_of(self._directory, name, is_package=is_package)
        try:
            if _stamp_of(os.stat(source)) != stamp:
                return None
            code = marshal.loads(self._code[begin:end])
        except (OSError, *_DAMAGE):
            return None
        if not isinstance(code, _Code):
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


def use(directory: str) -> None:
    """Have the modules of a directory found in its file, if that is whole, and of this Python.

    It is mapped: what is imported later is of this file as well, after an upgrade, and where all descriptors are
    closed.
    """
    try:
        import mmap

        descriptor = os.open(_path(directory), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
        size = int.from_bytes(data[_MAGIC : _MAGIC + _SIZE], "little")
        code = data[_MAGIC + _SIZE + size :]
        index = marshal.loads(data[_MAGIC + _SIZE :][:size])
        if data[:_MAGIC] == MAGIC_NUMBER and all(end <= len(code) for _, _, end, _ in index.values()):
            sys.meta_path.insert(0, OwnCode(directory, index, code))
    except (ImportError, OSError, AttributeError, *_DAMAGE):
        pass  # it takes longer, and that is all


def is_missing(directory: str) -> bool:
    """Whether there is no file for this Python."""
    return not os.path.lexists(_path(directory))


def keep(directory: str) -> None:
    """Write the file, for everybody to read. Raises OSError."""
    from pyctrigger.state.own_files import write_bytes

    index: Index = {}
    pieces: list[bytes] = []
    at = 0
    for here, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name.isidentifier() and name != "__pycache__")
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix == ".py" and stem.isidentifier():
                source = os.path.join(here, name)
                with open(source, "rb") as file:
                    stamp, text = _stamp_of(os.fstat(file.fileno())), file.read()
                pieces.append(marshal.dumps(compile(text, source, "exec", dont_inherit=True, optimize=2)))
                is_package = stem == "__init__"
                path = os.path.relpath(here if is_package else os.path.join(here, stem), directory)
                index[path.replace("/", ".")] = is_package, at, at + len(pieces[-1]), stamp
                at += len(pieces[-1])
    head = marshal.dumps(index)
    path = _path(directory)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_bytes(path, b"".join([MAGIC_NUMBER, len(head).to_bytes(_SIZE, "little"), head, *pieces]))
    os.chmod(path, 0o644)


def _path(directory: str) -> str:
    return f"{directory}/__pycache__/program.{sys.implementation.cache_tag}.code"


def _source_of(directory: str, name: str, *, is_package: bool) -> str:
    path = f"{directory}/{name.replace('.', '/')}"
    return f"{path}/__init__.py" if is_package else f"{path}.py"


def _stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """Identity, size and times; without the device, whose number may be another one after the next start."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
