"""Staging: laying out below a directory what a package puts into the system, the same for every format."""

from __future__ import annotations

import datetime
import gzip
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import distfiles
from .modules import BUNDLED
from .platforms import OLDEST_HOST
from .trouble import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .modules import Modules
    from .platforms import Platform

_WORD = re.compile(r"@[A-Z_]+@")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_VERSION = re.compile(r'^VERSION = "([^"]+)"', re.MULTILINE)


def version_of(checkout: Path) -> str:
    """The version that is built."""
    match = _VERSION.search((checkout / "src/pyctrigger/version.py").read_text(encoding="utf-8"))
    if match is None:
        raise BuildError(f"{checkout}/src/pyctrigger/version.py names no version")
    return match[1]


def stage(checkout: Path, platform: Platform, root: Path, modules: Modules = BUNDLED) -> None:
    """Lay out the program, its manual, completions, licences and configuration below `root`. Raises BuildError.

    `modules` are those that aren't of a pinned release. What differs from system to system, hooks above all, each
    format adds by itself.
    """
    application = _inside(root, platform.application)
    if application.exists():
        raise BuildError(f"{application} is there already; name an empty directory")
    documents = _inside(root, platform.documents) if platform.documents else None
    package = application / "pyctrigger"
    shutil.copytree(checkout / "src/pyctrigger", package, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
    shutil.copytree(checkout / "hooks", package / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    for distfile, path in distfiles.fetch(checkout, modules.replaced).items():
        distfiles.unpack(distfile, path, application, documents)
    modules.copy(application)
    if documents:
        shutil.copyfile(checkout / "LICENSE", documents / "LICENSE")
    templates = checkout / "ports/application"
    words = words_of(platform, modules.oldest_host)
    for name in ("__main__.py", "start.py", "own_bytecode.py", "without-python"):
        put(application / name, fill_in(templates / name, words))
    put(_inside(root, platform.launcher), fill_in(templates / "launcher", words), 0o755)
    put(_inside(root, platform.configuration), fill_in(templates / "pyctrigger.toml", words))
    _stage_manuals(checkout, platform, root)
    for shell, place in platform.completions.items():
        put(_inside(root, place), (package / f"completions/pyctrigger.{shell}").read_text(encoding="utf-8"))


def manuals(checkout: Path, platform: Platform) -> dict[str, Path]:
    """The manual pages that `docs/build` made, by where they go on this system."""
    suffix = ".gz" if platform.compressed_manual else ""
    pages = sorted((checkout / "docs/man").iterdir())
    return {f"{platform.manual}/man{page.suffix[1:]}/{page.name}{suffix}": page for page in pages}


def manual_words(checkout: Path) -> dict[str, str]:
    """What the words in a manual page mean."""
    day = datetime.datetime.fromtimestamp(source_date_epoch(checkout), datetime.timezone.utc)
    return {
        "VERSION": version_of(checkout),
        # Not strftime: the builder's locale is no business of the page's.
        "DATE": f"{_MONTHS[day.month - 1]} {day.day}, {day.year}",
    }


def _stage_manuals(checkout: Path, platform: Platform, root: Path) -> None:
    words = manual_words(checkout)
    for place, page in manuals(checkout, platform).items():
        text = fill_in(page, words).encode("utf-8")
        put(_inside(root, place), compressed(text) if platform.compressed_manual else text)


def words_of(platform: Platform, oldest_host: int = OLDEST_HOST) -> dict[str, str]:
    """What the words in the templates mean, where what runs pyctrigger is at least 3.`oldest_host`."""
    return {
        "PREFIX": platform.prefix,
        "SYSTEM": platform.system,
        "HOSTS": " ".join(platform.hosts(oldest_host)),
        "TARGETS": " ".join(platform.targets),
        "SITES": " ".join(platform.site_directories()),
        # A hook starts faster with a configuration that sets nothing.
        "OPTIMIZE": f"{'# ' if platform.levels == (0,) else ''}optimize = {list(platform.levels)}",
        "CONFIGURATION": platform.configuration,
    }


def fill_in(template: Path, words: Mapping[str, str]) -> str:
    """Returns a template with each `@WORD@` replaced. Raises BuildError for an unknown one."""
    text = template.read_text(encoding="utf-8")
    unknown = sorted({word for word in _WORD.findall(text) if word.strip("@") not in words})
    if unknown:
        raise BuildError(f"{template} has words that nothing stands for: {', '.join(unknown)}")
    return _WORD.sub(lambda word: words[word.group().strip("@")], text)


def compressed(content: bytes) -> bytes:
    """The same bytes in every Python: gzip.compress() names another system in the header from 3.11 on."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def put(path: Path, content: str | bytes, mode: int = 0o644) -> Path:
    """Write a file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def settle(root: Path, epoch: int) -> None:
    """Give everything below `root` one time, and modes that don't depend on the builder's umask."""
    for directory, directories, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(directory) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (epoch, epoch), follow_symlinks=False)
        for name in directories:
            path = Path(directory) / name
            path.chmod(0o755)
            os.utime(path, (epoch, epoch))
    root.chmod(0o755)
    os.utime(root, (epoch, epoch))


def source_date_epoch(checkout: Path) -> int:
    """The time that a package's files bear: `$SOURCE_DATE_EPOCH`, the last commit's, or the version's own."""
    named = os.environ.get("SOURCE_DATE_EPOCH", "")
    if named:
        if not named.isdigit():
            raise BuildError(f"SOURCE_DATE_EPOCH={named} is no number of seconds")
        return int(named)
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return int(said)
    except (OSError, subprocess.SubprocessError, ValueError):  # no git, or an unpacked release
        return int((checkout / "src/pyctrigger/version.py").stat().st_mtime)


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
