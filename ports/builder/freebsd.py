"""FreeBSD's ports: their directories, with the triggers rendered for the ports framework and for each flavour."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pyctrigger.packages.hook import Subject
from pyctrigger.packages.pkg import Pkg

from .distfiles import pinned
from .platforms import PLATFORMS
from .stage import fill_in, put, settle, source_date_epoch, stage, version_of

if TYPE_CHECKING:
    from .platforms import Platform

_PROGRAM = "sysutils/pyctrigger"
_TRIGGER = "sysutils/py-pycache-trigger"
#: Python 3.9 is the oldest that ports still have, and PyPy is no flavour of theirs.
_OLDEST = 9

#: What the words of `USES=python` stand for in every flavour (Mk/Uses/python.mk, SUB_LIST).
_OF_THE_FRAMEWORK = Subject(
    flavour="py%%PYTHON_SUFFIX%%",
    version="%%PYTHON_VER%%",
    library="%%PYTHON_VERSION%%",
    cache_tag="cpython-%%PYTHON_BASESUFFIX%%",
    program=("%%LOCALBASE%%/bin/pyctrigger",),
    site_directories=("%%PYTHON_SITELIBDIR%%",),
)


#: Run when the port comes and goes. The program's bytecode is its interpreter's own, and in no package.
_OWN_BYTECODE = """@postexec %D/bin/pyctrigger --own-bytecode || :
@preunexec /usr/bin/find %D/lib/pyctrigger -type d -name __pycache__ -prune -exec /bin/rm -rf {} + || :
"""


def build(checkout: Path, outdir: Path) -> list[Path]:
    """Write the ports, and beside them each trigger as it is installed; the files' paths. Raises BuildError."""
    top = outdir / "freebsd"
    distfiles = pinned(checkout / "ports/distinfo")
    words = {
        "VERSION": version_of(checkout),
        "SITES": "".join(f" \\\n\t\tPYPI/py3/{each.project[0]}/{each.project}:{each.project}" for each in distfiles),
        "DISTFILES": "".join(f" \\\n\t\t{each.name}:{each.project}" for each in distfiles),
    }
    written = []
    for port in (_PROGRAM, _TRIGGER):
        source = checkout / "ports/freebsd" / port
        for path in sorted(each for each in source.rglob("*") if each.is_file()):
            written.append(put(top / port / path.relative_to(source), fill_in(path, words)))
    written.append(put(top / _PROGRAM / "pkg-plist", _plist(checkout)))
    written.append(put(top / _PROGRAM / "distinfo", _distinfo(checkout)))
    (template,) = Pkg.hooks(_OF_THE_FRAMEWORK)
    for subject in _subjects():
        (hook,) = Pkg.hooks(subject)
        name = hook.path.rpartition("/")[2]
        written.append(put(top / "triggers" / name, hook.text))
        if not subject.flavour.startswith("pypy"):
            # The framework looks for a trigger's template under the name of what it installs.
            written.append(put(top / _TRIGGER / "files" / f"{name}.in", template.text))
    settle(top, source_date_epoch(checkout))
    return sorted(written)


def stage_hooks(checkout: Path, platform: Platform, root: Path) -> None:
    """Nothing: the triggers are in a port of their own."""
    del checkout, platform, root


def _plist(checkout: Path) -> str:
    """What the program's port installs, relative to its prefix."""
    platform = PLATFORMS["freebsd"]
    sample = platform.configuration[len(platform.prefix) + 1 :]
    with tempfile.TemporaryDirectory(prefix="pyctrigger-freebsd-") as scratch:
        stage(checkout, platform, Path(scratch))
        prefix = Path(scratch) / platform.prefix[1:]
        names = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file())
    lines = []
    for name in names:
        if name == sample:
            lines.append(f"@sample {name}")
        else:
            lines.append(f"{name}.gz" if name.startswith("share/man/") else name)  # the framework compresses it
    return "\n".join([*lines, _OWN_BYTECODE])


def _distinfo(checkout: Path) -> str:
    """The checksums of the dependencies; a release's own comes with `make makesum`."""
    pins = (checkout / "ports/distinfo").read_text(encoding="utf-8").splitlines()
    lines = [f"TIMESTAMP = {source_date_epoch(checkout)}", *(line for line in pins if not line.startswith("#"))]
    return "\n".join([*lines, ""])


def _subjects() -> list[Subject]:
    """The flavours that have a trigger."""
    found = []
    for subject in PLATFORMS["freebsd"].subjects():
        minor = int(subject.version.rpartition(".")[2].rstrip("t"))
        if minor >= (11 if subject.flavour.startswith("pypy") else _OLDEST):
            found.append(subject)
    return found
