"""FreeBSD's ports: their directories, with one template of the trigger for all flavours."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

from pyctrigger.packages.hook import Subject
from pyctrigger.packages.pkg import Pkg

from .distfiles import fetch, licences_in, pinned
from .platforms import PLATFORMS
from .stage import fill_in, put, settle, source_date_epoch, stage, version_of
from .trouble import BuildError

_PROGRAM = "sysutils/pyctrigger"
_TRIGGER = "sysutils/py-pycache-trigger"
#: Python 3.9 is the oldest that ports still have, and PyPy is no flavour of theirs.
_OLDEST = 9
#: Whoever submits the ports has an address of his own.
MAINTAINER = "pyctrigger@localhost"

#: What differs between flavours, in the words of the port's SUB_LIST. The framework's own PYTHON_SITELIBDIR follows
#: PREFIX; what pkg installs, and Python imports, lies below LOCALBASE.
_OF_THE_PORT = Subject(
    flavour="%%FLAVOR%%",
    version="%%PYTHON_VER%%",
    library="%%PYTHON_VERSION%%",
    cache_tag="%%CACHE_TAG%%",
    program=("%%LOCALBASE%%/bin/pyctrigger",),
    site_directories=("%%SITELIBDIR%%",),
)

_USUAL = "/usr/local"
#: `/usr/local` in our files, and behind it what is ours: that lies below PREFIX, and all else below LOCALBASE.
_BASE = re.compile(rb"/usr/local(?![\w-])(/(?:bin/pyctrigger|lib/pyctrigger|etc/pyctrigger[.]toml)(?![\w-]))?")


def build(checkout: Path, outdir: Path, maintainer: str = MAINTAINER) -> list[Path]:
    """Write the ports, and beside them each trigger as it is installed; the files' paths. Raises BuildError."""
    top = outdir / "freebsd"
    words = _words(checkout, maintainer)
    written = []
    for port in (_PROGRAM, _TRIGGER):
        source = checkout / "ports/freebsd" / port
        for path in sorted(each for each in source.rglob("*") if each.is_file()):
            written.append(put(top / port / path.relative_to(source), fill_in(path, words)))
    written.append(put(top / _PROGRAM / "pkg-plist", _plist(checkout)))
    written.append(put(top / _PROGRAM / "distinfo", _distinfo(checkout)))
    (template,) = Pkg.hooks(_OF_THE_PORT)
    text = template.text.replace(_USUAL, "%%LOCALBASE%%")
    written.append(put(top / _TRIGGER / "files/python-pycache.ucl.in", text))
    for subject in _subjects():
        (hook,) = Pkg.hooks(subject)
        written.append(put(top / "triggers" / hook.path.rpartition("/")[2], hook.text))
    settle(top, source_date_epoch(checkout))
    return sorted(written)


def lay_out(checkout: Path, root: Path, prefix: str, localbase: str) -> None:
    """Stage the program for a prefix, where the packages of other ports are in `localbase`. Raises BuildError."""
    for base in (prefix, localbase):
        if not re.fullmatch(r"(/[\w.+-]+)+", base) or "/.." in base:
            raise BuildError(f"{base} can't be a prefix; name an absolute path of letters, digits, and ._+-")

    def where(match: re.Match[bytes]) -> bytes:
        return prefix.encode() + match[1] if match[1] else localbase.encode()

    if (root / prefix[1:] / "lib/pyctrigger").exists():
        raise BuildError(f"{root}{prefix}/lib/pyctrigger is there already; name an empty directory")
    with tempfile.TemporaryDirectory(prefix="pyctrigger-freebsd-") as scratch:
        stage(checkout, PLATFORMS["freebsd"], Path(scratch))
        usual = Path(scratch) / _USUAL[1:]
        for path in sorted(each for each in usual.rglob("*") if each.is_file()):
            target = root / prefix[1:] / path.relative_to(usual)
            put(target, _BASE.sub(where, path.read_bytes()), path.stat().st_mode & 0o777)


def _words(checkout: Path, maintainer: str) -> dict[str, str]:
    """What the words in the ports' files mean. Raises BuildError."""
    if not re.fullmatch(r"[\w.+-]+@[\w.-]+", maintainer):
        raise BuildError(f"{maintainer} is no maintainer's address; name one as in --maintainer someone@example.org")
    bundled = pinned(checkout / "ports/distinfo")
    words = {
        "VERSION": version_of(checkout),
        "MAINTAINER": maintainer,
        "SITES": "".join(f" \\\n\t\tPYPI/py3/{each.project[0]}/{each.project}:{each.project}" for each in bundled),
        "DISTFILES": "".join(f" \\\n\t\t{each.name}:{each.project}" for each in bundled),
    }
    for each, path in fetch(checkout).items():
        with zipfile.ZipFile(path) as wheel:
            words[f"LICENCE_OF_{each.project.upper()}"] = " ".join(f"${{WRKDIR}}/{name}" for name in licences_in(wheel))
    return words


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
    return "\n".join([*lines, ""])


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
