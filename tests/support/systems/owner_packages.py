"""A package that owns files, put into a scratch root by each package manager's own tools, or as its database has it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Callable

from conftest import absent
from packages import write_tree
from system_tools import find_tool

Install = Callable[[Path, Path, Path], None]

CONTROL = "Package: owner\nVersion: 1\nArchitecture: all\nMaintainer: root <root@localhost>\nDescription: owns pycs\n"
SPEC = """Name: owner
Version: 1
Release: 1
Summary: owns pycs
License: none
BuildArch: noarch
%global __os_install_post %{{nil}}
%description
owns pycs
%install
mkdir -p %{{buildroot}}
cp -a {payload}/. %{{buildroot}}/
%files
/usr
"""
PKGINFO = "pkgname = owner\npkgbase = owner\npkgver = 1-1\npkgdesc = d\nurl = x\nbuilddate = 1\nsize = 1\narch = any\n"


def run(*command: str | Path, **options: object) -> None:
    child = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert child.returncode == 0, child.stdout.decode()


def need(*tools: str) -> None:
    for tool in tools:
        if find_tool(tool) is None:
            absent(f"no {tool} on this machine")


def with_dpkg(payload: Path, root: Path, scratch: Path) -> None:
    need("dpkg", "dpkg-deb")
    write_tree(payload, {"DEBIAN/control": CONTROL})
    for directory in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / directory).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    run("dpkg-deb", "--root-owner-group", "-b", payload, scratch / "owner.deb")
    log = f"--log={scratch / 'dpkg.log'}"
    run("dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless", log, "-i", scratch / "owner.deb")


def with_rpm(payload: Path, root: Path, scratch: Path) -> None:
    need("rpm", "rpmbuild")
    spec = scratch / "owner.spec"
    spec.write_text(SPEC.format(payload=payload))
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {scratch}", spec)
    (root / "var/lib/rpm").mkdir(parents=True)
    run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--initdb")
    package = next(scratch.glob("RPMS/noarch/*.rpm"))
    run("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--force-debian", "-i", package)


def with_pacman(payload: Path, root: Path, scratch: Path) -> None:
    need("pacman", "bsdtar")
    write_tree(payload, {".PKGINFO": PKGINFO})
    package = scratch / "owner-1-1-any.pkg.tar.gz"
    run("bsdtar", "-czf", package, ".PKGINFO", "usr", cwd=payload)
    for directory in ("var/lib/pacman", "cache", "hooks"):
        (root / directory).mkdir(parents=True)
    configuration = scratch / "pacman.conf"
    places = {"RootDir": root, "DBPath": root / "var/lib/pacman", "CacheDir": root / "cache", "HookDir": root / "hooks"}
    places |= {"LogFile": scratch / "pacman.log", "GPGDir": scratch / "gpg"}
    lines = ["[options]", *(f"{key} = {value}" for key, value in places.items())]
    configuration.write_text("\n".join([*lines, "SigLevel = Never", "LocalFileSigLevel = Never", ""]))
    run("pacman", "--config", configuration, "--noconfirm", "--noprogressbar", "-U", package)


def with_pkg(payload: Path, root: Path, scratch: Path) -> None:
    """FreeBSD's is not to be had here; these are the tables that it keeps (pkg 2.x, `packages` and `files`)."""
    del scratch
    run("cp", "-a", f"{payload}/.", root)
    (root / "var/db/pkg").mkdir(parents=True)
    database = sqlite3.connect(root / "var/db/pkg/local.sqlite")
    database.execute("create table packages (id integer primary key, origin text, name text, version text)")
    database.execute("insert into packages values (1, 'devel/owner', 'owner', '1')")
    database.execute("create table files (path text primary key, sha256 text, package_id integer)")
    owned = [("/" + str(path.relative_to(payload)), "", 1) for path in payload.rglob("*") if path.is_file()]
    database.executemany("insert into files values (?, ?, ?)", owned)
    database.commit()
    database.close()


def with_apk(payload: Path, root: Path, scratch: Path) -> None:
    """Alpine's is not to be had here; this is the text that it keeps (apk-db(5))."""
    del scratch
    run("cp", "-a", f"{payload}/.", root)
    lines = ["P:owner", "V:1"]
    for directory, _, names in os.walk(payload):
        lines.append("F:" + os.path.relpath(directory, payload))
        lines += [f"R:{name}" for name in names]
    write_tree(root, {"lib/apk/db/installed": "\n".join([*lines, "", ""])})


MANAGERS: list[Install] = [with_dpkg, with_rpm, with_pacman, with_pkg, with_apk]
