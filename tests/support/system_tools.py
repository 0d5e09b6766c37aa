"""The system's tools that tests drive: real package managers, and what builds packages and roots for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ANSWER_SECONDS = 20


@dataclass(frozen=True)
class Tool:
    """A program that some test needs, and the Debian package that has it."""

    command: str
    package: str
    purpose: str
    version_flag: str = "--version"


TOOLS = (
    Tool("dpkg", "dpkg", "runs triggers in a scratch root"),
    Tool("dpkg-deb", "dpkg", "builds packages for it"),
    Tool("debootstrap", "debootstrap", "makes a root with a whole Debian in it"),
    Tool("rpm", "rpm", "runs file triggers in a scratch root"),
    Tool("rpmbuild", "rpm", "builds packages for it"),
    Tool("pacman", "pacman-package-manager", "runs hooks in a scratch root"),
    Tool("dnf", "dnf", "installs from a repository in a scratch root"),
    Tool("createrepo_c", "createrepo-c", "makes that repository"),
    Tool("buildah", "buildah", "builds an image of a container"),
    Tool("bsdtar", "libarchive-tools", "builds packages for it"),
    Tool("lua5.4", "lua5.4", "runs pkg's triggers", version_flag="-v"),
    Tool("bmake", "bmake", "stages FreeBSD's ports", version_flag="-VMAKE_VERSION"),
    Tool("systemd-analyze", "systemd", "checks the unit of a page"),
    Tool("groff", "groff-base", "formats the manual pages"),
    Tool("mandoc", "mandoc", "checks the manual pages", version_flag="-V"),
    Tool("chromium", "chromium", "looks at the site"),
    Tool("bash", "bash", "completes the command line"),
    Tool("zsh", "zsh", "completes the command line"),
    Tool("fish", "fish", "completes the command line"),
    Tool("strace", "strace", "shows the order of system calls"),
    Tool("setfacl", "acl", "gives files access lists"),
    Tool("chattr", "e2fsprogs", "makes files that not even root may change"),
    Tool("bindfs", "bindfs", "mounts a file system that refuses chmod and chown"),
    Tool("redis-server", "redis-server", "keeps bytecode for several machines"),
    Tool("nginx", "nginx", "serves archives, and bytecode for several machines", version_flag="-v"),
    Tool("openssl", "openssl", "makes certificates", version_flag="version"),
    Tool("unshare", "util-linux", "gives a command a network of its own"),
    Tool("ip", "iproute2", "makes that network", version_flag="-V"),
    Tool("newuidmap", "uidmap", "gives an ordinary account a range of ids in a user namespace"),
)

# Not on an ordinary person's PATH in Debian, where debootstrap and chroot live.
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find_tool(command: str) -> str | None:
    """The path of a tool, or None; the directories of system administration are looked at too."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_DIRECTORIES])
    return shutil.which(command, path=path)


def missing_tools() -> list[Tool]:
    """Those of `TOOLS` that this machine doesn't have."""
    return [tool for tool in TOOLS if find_tool(tool.command) is None]


def tool_version(tool: Tool, path: str) -> str:
    """The first thing like a version that the tool at `path` says of itself, or `?`."""
    command = [path, tool.version_flag]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    said = re.search(rb"\d+(?:\.\d+)+", child.stdout + child.stderr)
    return said.group().decode("ascii") if said else "?"


def is_debian() -> bool:
    """Whether this system installs with apt-get: the only one on which anything may be installed for a test."""
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None
