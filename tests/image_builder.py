"""A real image builder, buildah, and an image `debian:sid` for it to begin with: no registry is asked for one."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from confinement import private_mounts
from conftest import absent
from debian_chroot import CACHE, locked_cache, original_sid
from system_tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

BASE = "debian:sid"
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
    return {"CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}


def _base_image() -> Path:
    """A store with the one image in it, made of the Debian that the tests have, if it isn't there yet."""
    sid = original_sid()
    store, stamp = CACHE / "images", CACHE / "images.stamp"
    with locked_cache("images.lock"):
        made_of = str(sid.stat().st_ctime_ns)
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
    try:
        with private_mounts(hide_cache()) as inside:
            _commit([*inside, "buildah", *places], sid)
    except PermissionError as error:
        absent(str(error))
    shutil.rmtree(run, ignore_errors=True)


def _commit(program: list[str], sid: Path) -> None:
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

    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(sid), "/")
    buildah("commit", "--quiet", container, BASE)
    buildah("rm", container)
