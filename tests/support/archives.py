"""Packages and archives of every format that `audit` reads, made of a tree by the tools that make them for real."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import time
import zipfile
from typing import TYPE_CHECKING, Any, Callable

from conftest import absent
from system_tools import find_tool

if TYPE_CHECKING:
    from pathlib import Path

    from command import Outcome
    from interpreters import Interpreter

_SECONDS = 120
#: An even number of seconds, so that a zip can say it exactly.
BUILT_AT = 1_600_000_000
SITE = "usr/lib/python3.99/site-packages"
SOURCES = {f"{SITE}/demo/__init__.py": "x = 1\n", f"{SITE}/demo/module.py": "def double(x):\n    return 2 * x\n"}


def tool(name: str) -> str:
    """The path of a tool."""
    found = find_tool(name)
    if found is None:
        absent(f"no {name}")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a tool that must not fail."""
    child = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, check=False, timeout=_SECONDS, text=True
    )
    assert child.returncode == 0, child.stderr + child.stdout


def package_tree(top: Path, sources: dict[str, str] | None = None) -> Path:
    """A tree of sources that are all as old as their package."""
    for name, text in (SOURCES if sources is None else sources).items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (BUILT_AT, BUILT_AT))
    return top


def compile_tree(interpreter: Interpreter, top: Path, *options: str) -> None:
    """Compile all of it by the interpreter's own compileall."""
    run(interpreter.path, "-I", "-m", "compileall", "-q", *options, str(top))


def build_tar(tree: Path, out: Path) -> Path:
    """By the standard library, which knows the compression by the name."""
    mode: Any = f"w:{out.suffix[1:]}" if out.suffix in (".gz", ".bz2", ".xz") else "w"
    with tarfile.open(out, mode) as tar:
        tar.add(tree, ".")
    return out


def build_zstd_tar(tree: Path, out: Path) -> Path:
    """By bsdtar."""
    run(tool("bsdtar"), "--zstd", "-cf", out, "-C", tree, ".")
    return out


def build_zip(tree: Path, out: Path) -> Path:
    """By the standard library."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(tree.rglob("*")):
            archive.write(path, path.relative_to(tree))
    return out


def build_wheel(tree: Path, out: Path) -> Path:
    """A wheel as those tools make it that put bytecode into one."""
    build_zip(tree, out)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("demo-1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("demo-1.dist-info/METADATA", "Name: demo\n")
    return out


def build_sdist(tree: Path, out: Path) -> Path:
    """A source archive whose maker forgot to clean up."""
    (tree / "PKG-INFO").write_text("Name: demo\n")
    with tarfile.open(out, "w:gz") as tar:
        tar.add(tree, "demo-1")
    (tree / "PKG-INFO").unlink()
    return out


def wheel_of(files: dict[str, bytes], built_at: float = BUILT_AT, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A wheel of files that are nowhere."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression, compresslevel=1) as archive:
        for name, content in {**files, "demo-1.dist-info/WHEEL": b"Wheel-Version: 1.0\n"}.items():
            info = zipfile.ZipInfo(name, time.gmtime(built_at)[:6])
            info.compress_type = compression
            archive.writestr(info, content)
    return made.getvalue()


def sdist_of(files: dict[str, bytes], built_at: float = BUILT_AT) -> bytes:
    """A source archive of such files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as archive:
        for name, content in {"demo-1/PKG-INFO": b"Name: demo\n", **files}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), int(built_at)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def build_conda(tree: Path, out: Path) -> Path:
    """A `.conda`: two tars, each compressed with zstd, stored in a zip."""
    payload = build_zstd_tar(tree, out.with_suffix(".tar.zst"))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.write(payload, "pkg-demo-1-0.tar.zst")
        archive.write(payload, "info-demo-1-0.tar.zst")
    payload.unlink()
    return out


def build_old_conda(tree: Path, out: Path) -> Path:
    """A `.tar.bz2` with its `info/`."""
    with tarfile.open(out, "w:bz2") as tar:
        tar.addfile(tarfile.TarInfo("info/index.json"))
        tar.add(tree, "")
    return out


def build_deb(compression: str) -> Callable[[Path, Path], Path]:
    """By dpkg-deb, with a compression of its own."""

    def build(tree: Path, out: Path) -> Path:
        control = tree / "DEBIAN"
        control.mkdir(mode=0o755)
        (control / "control").write_text(
            "Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@invalid>\nDescription: demo\n"
        )
        run(tool("dpkg-deb"), "--root-owner-group", f"-Z{compression}", "-b", tree, out)
        (control / "control").unlink()
        control.rmdir()
        return out

    return build


_SPEC = """
Name: demo
Version: 1
Release: 1
Summary: demo
License: none
BuildArch: noarch
%global _binary_payload {payload}
%global __os_install_post %{{nil}}
%global use_source_date_epoch_as_buildtime 0
%description
demo
%install
mkdir -p %{{buildroot}}
cp -a {tree}/. %{{buildroot}}/
%files
/usr
"""


def build_rpm(payload: str) -> Callable[[Path, Path], Path]:
    """By rpmbuild, with a compression of its own."""

    def build(tree: Path, out: Path) -> Path:
        top = out.parent / "rpmbuild"
        top.mkdir(exist_ok=True)
        spec = top / "demo.spec"
        spec.write_text(_SPEC.format(payload=payload, tree=tree))
        run(tool("rpmbuild"), "-bb", "--define", f"_topdir {top}", "--define", "_build_id_links none", spec)
        (built,) = top.glob("RPMS/noarch/*.rpm")
        return built.rename(out)

    return build


def build_pkg(tree: Path, out: Path) -> Path:
    """As pkg-create(8) lays it out: the manifests first, then absolute names."""
    manifest = out.parent / "+MANIFEST"
    manifest.write_text("{}")
    options = ("--zstd", "-P", "-s", ",^usr,/usr,")
    run(tool("bsdtar"), *options, "-cf", out, "-C", out.parent, "+MANIFEST", "-C", tree, "usr")
    return out


def build_arch(tree: Path, out: Path) -> Path:
    """As makepkg lays it out."""
    for name in (".PKGINFO", ".BUILDINFO", ".MTREE"):
        (out.parent / name).write_text("")
    names = (".PKGINFO", ".BUILDINFO", ".MTREE")
    run(tool("bsdtar"), "--zstd", "-cf", out, "-C", out.parent, *names, "-C", tree, "usr")
    return out


def build_apk(tree: Path, out: Path) -> Path:
    """As abuild lays it out: two tars in two gzip members, the first without an end mark."""
    control, data = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=control, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(".PKGINFO"))
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(tree / "usr", "usr")
    out.write_bytes(gzip.compress(control.getvalue()[:512]) + gzip.compress(data.getvalue()))
    return out


#: By file name: what builds it, and which format it is then said to have.
BUILDERS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "demo-1.tar": (build_tar, "tar"),
    "demo-1.tar.gz": (build_tar, "tar"),
    "demo-1.tar.bz2": (build_tar, "tar"),
    "demo-1.tar.xz": (build_tar, "tar"),
    "demo-1.tar.zst": (build_zstd_tar, "tar"),
    "demo-1.zip": (build_zip, "zip"),
    "demo-1-py3-none-any.whl": (build_wheel, "wheel"),
    "demo-2.tar.gz": (build_sdist, "sdist"),
    "demo-1-0.conda": (build_conda, "conda"),
    "demo-1-0.tar.bz2": (build_old_conda, "conda"),
    "demo_xz.deb": (build_deb("xz"), "deb"),
    "demo_gzip.deb": (build_deb("gzip"), "deb"),
    "demo_zstd.deb": (build_deb("zstd"), "deb"),
    "demo_none.deb": (build_deb("none"), "deb"),
    "demo_gzip.rpm": (build_rpm("w9.gzdio"), "rpm"),
    "demo_xz.rpm": (build_rpm("w2.xzdio"), "rpm"),
    "demo_zstd.rpm": (build_rpm("w3.zstdio"), "rpm"),
    "demo-1.pkg": (build_pkg, "pkg"),
    "demo-1-any.pkg.tar.zst": (build_arch, "arch"),
    "demo-1.apk": (build_apk, "apk"),
}


def build(name: str, tree: Path, directory: Path) -> Path:
    """Build one of them into a directory that is there for it alone."""
    directory.mkdir(exist_ok=True)
    return BUILDERS[name][0](tree, directory / name)


def noise(size: int) -> bytes:
    """Bytes that can't be compressed, the same each time."""
    return hashlib.shake_128(b"noise").digest(size)


def build_large(path: Path, pycs: int = 1) -> Path:
    """A zip of some megabytes, whose bytecode is somewhere among them."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/first.bin", noise(2 << 20))
        for number in range(pycs):
            archive.writestr(f"demo/m{number}.pyc", (3495).to_bytes(2, "little") + b"\r\n" + bytes(20))
        archive.writestr("demo/last.bin", noise(2 << 20))
        archive.writestr("demo-1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    return path


def without_path(archive: dict[str, Any]) -> dict[str, Any]:
    """What is said of an archive, wherever it is."""
    return {key: value for key, value in archive.items() if not key.startswith("path")}


def failures(outcome: Outcome) -> list[tuple[str, str]]:
    """Kind and message, of each archive in turn."""
    return [
        (each["failure"]["kind"], each["failure"]["message"]) if each["failure"] else ("", "")
        for each in outcome.document["archives"]
    ]
