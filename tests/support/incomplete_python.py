"""A Python that was built without some of its modules, as a minimal system's is: links to another, less those."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interpreters import Interpreter


#: What such a Python has of its own; the last one is Debian's.
OTHERS = ("lib-dynload", "site-packages", "dist-packages")


def python_without(modules: Iterable[str], interpreter: Interpreter, top: Path) -> Path | None:
    """Its executable; None if the original has one of these modules built in, so that it can't be left out."""
    wanted = tuple(modules)
    digits = ".".join(map(str, interpreter.version[:2]))
    original = Path(interpreter.prefix) / "lib" / f"python{digits}"
    executable = top / "bin" / f"python{digits}"
    library = top / "lib" / f"python{digits}"
    if not (original / "lib-dynload").is_dir():
        return None
    executable.parent.mkdir(parents=True)
    (library / "lib-dynload").mkdir(parents=True)
    shutil.copy2(interpreter.path, executable)
    for entry in original.iterdir():
        if entry.name not in OTHERS:  # `__pycache__` is only read: give it -B
            (library / entry.name).symlink_to(entry)
    for name in OTHERS[1:]:
        (library / name).mkdir()
        (library / name / "pyctrigger.pth").write_text("\n".join(search_path()) + "\n")
    for entry in (Path(interpreter.prefix) / "lib").glob("libpython*"):
        (top / "lib" / entry.name).symlink_to(entry)
    for entry in (original / "lib-dynload").iterdir():
        if entry.name.partition(".")[0] not in wanted:
            (library / "lib-dynload" / entry.name).symlink_to(entry)
    question = f"import importlib.util as u; print([n for n in {wanted!r} if u.find_spec(n)])"
    command = [str(executable), "-I", "-S", "-c", question]
    said = subprocess.run(command, capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True).stdout
    return executable if said == b"[]\n" else None


def search_path() -> list[str]:
    """Where such a Python finds pyctrigger, and what it needs."""
    import filelock
    import platformdirs

    import pyctrigger

    packages = [Path(each.__file__ or "").parent.parent for each in (pyctrigger, filelock, platformdirs)]
    return list(dict.fromkeys(map(str, packages)))


def start_from(places: list[str]) -> str:
    """What a Python with `-I` is given after `-c`: pyctrigger's command, from these places."""
    return f"import sys; sys.path += {places!r}; from pyctrigger.__main__ import main; sys.exit(main())"
