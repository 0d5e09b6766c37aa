"""A real image builder, buildah, and two images for it to begin with: no registry is asked for one.

`debian:sid` is the Debian that the tests have. `python:3.13-slim` is laid out as the official image is: a Debian whose
only Python is in `/usr/local`, with pip and without bytecode.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from confinement import private_mounts
from conftest import absent
from debian_chroot import original_sid
from fresh_debian import certificates, network
from kept_systems import CACHE, locked_cache
from scratch_root import ScratchRoot, binaries_of, library_of, relocatable
from system_tools import find_tool

BASE = "debian:sid"
PYTHON = "python:3.13-slim"
#: Changes with what `_make` does.
_EDITION = "4"
#: Of the standard library, what the official image leaves out as well.
_WASTE = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "tkinter")
_SECONDS = 300
_CONFIGURATION = """\
[storage]
driver = "overlay"
runroot = "{scratch}/run"
graphroot = "{scratch}/storage"
[storage.options]
additionalimagestores = ["{base}"]
"""


def builder(scratch: Path) -> dict[str, str]:
    """The variables by which buildah keeps all it makes in a directory, and has the base to begin with.

    It takes chroot for its containers, which works where nobody may have namespaces of users or networks.
    """
    if find_tool("buildah") is None:
        absent("no buildah on this machine (Debian package buildah)")
    scratch.mkdir()
    configuration = scratch / "storage.conf"
    configuration.write_text(_CONFIGURATION.format(scratch=scratch, base=_base_image()))
    temporary = scratch / "temporary"  # what a cache mount has is kept there, too
    temporary.mkdir()
    return {
        "CONTAINERS_STORAGE_CONF": str(configuration),
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": str(temporary),
    }


def _base_image() -> Path:
    """A store with the one image in it, made of the Debian that the tests have, if it isn't there yet."""
    sid = original_sid()
    store, stamp = CACHE / "images", CACHE / "images.stamp"
    with locked_cache("images.lock"):
        made_of = f"{_EDITION} {sid.stat().st_ctime_ns}"
        if not stamp.is_file() or stamp.read_text() != made_of:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(store, ignore_errors=True)
            _make(sid, store)
            stamp.write_text(made_of)
    return store


def hide_cache() -> str:
    """For a shell with mounts of its own: what buildah remembers of blobs can be put nowhere else, and isn't ours."""
    return "mkdir -p /var/lib/containers && mount -t tmpfs none /var/lib/containers"


def _make(sid: Path, store: Path) -> None:
    run = store.with_name("images.run")
    places = ["--root", str(store), "--runroot", str(run), "--storage-driver", "overlay"]
    with private_mounts(hide_cache()) as inside, tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        program = [*inside, "buildah", *places]
        _commit(program, "scratch", sid, BASE)
        _commit(program, BASE, _official_python(Path(scratch), sid), PYTHON)
    shutil.rmtree(run, ignore_errors=True)


def _official_python(top: Path, sid: Path) -> Path:
    """A Python below /usr/local as the official image has it, and what this machine needs to reach a package index."""
    (python,) = relocatable(1)
    if python.version[:2] != (3, 13):
        absent("the documents name Python 3.13, which isn't this machine's newest that can be copied")
    root = ScratchRoot(top)
    local = top / "usr/local"
    library = local / "lib" / library_of(python)
    source = Path(python.prefix) / "lib" / library_of(python)
    shutil.copytree(source, library, ignore=_WASTE)
    for other in (library / "site-packages").iterdir():
        if not other.name.startswith("pip"):
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    (local / "bin").mkdir()
    shutil.copy2(python.path, local / "bin" / library_of(python))
    _add_libraries(root, binaries_of(python), sid)
    for name in ("python", "python3"):
        (local / "bin" / name).symlink_to(library_of(python))
    root.put("/usr/local/bin/pip", '#!/bin/sh\nexec /usr/local/bin/python3 -m pip "$@"\n').chmod(0o755)
    for path in certificates(network()):
        shutil.copyfile(path, root.put(path, ""))
    return top


def _add_libraries(root: ScratchRoot, binaries: list[str], sid: Path) -> None:
    """What they are linked with, as far as the Debian doesn't have it: its libc is another one."""
    with tempfile.TemporaryDirectory() as scratch:
        ScratchRoot(Path(scratch)).add_libraries(binaries)
        for library in [path for path in Path(scratch).rglob("*.so*") if not any(sid.glob(f"usr/lib*/**/{path.name}"))]:
            shutil.copy2(library, root.put(f"/usr/local/lib/{library.name}", ""))
    root.put("/etc/ld.so.conf.d/local.conf", "/usr/local/lib\n")


def _commit(program: list[str], base: str, tree: Path, image: str) -> None:
    """An image with more in it."""

    def buildah(*words: str) -> str:
        child = subprocess.run(
            [*program, *words],
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if child.returncode != 0:
            absent(f"buildah {words[0]}: {child.stderr.strip()[-300:]}")
        return child.stdout.strip()

    container = buildah("from", "--pull-never", base)
    if image == PYTHON:
        buildah("run", container, "--", "sh", "-c", "rm -f /usr/bin/python3* /usr/bin/pypy3*")
        for name, value in network().items():
            buildah("config", "--env", f"{name}={value}", container)
    buildah("add", "--quiet", container, str(tree), "/")
    if image == PYTHON:
        buildah("run", container, "--", "ldconfig")
    buildah("commit", "--quiet", container, image)
    buildah("rm", container)
