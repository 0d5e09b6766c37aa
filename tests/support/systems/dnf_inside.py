"""dnf inside a root, as every Fedora has it: this machine's, with a Python of its own, out of the others' way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from manager_packages import Payload
from rpm_root import RpmRoot
from scratch_root import not_needed
from system_tools import find_tool

if TYPE_CHECKING:
    from manager_packages import ManagedRoot

#: Nobody looks for interpreters there.
_HOME = "/opt/dnf"
_MODULES = ("dnf", "hawkey", "libdnf", "libcomps", "gpg", "rpm")
_QUESTION = """
import importlib.util, json, os, sys, sysconfig
found = [importlib.util.find_spec(name) for name in sys.argv[1:]]
homes = [os.path.dirname(each.origin) if each else None for each in found]
print(json.dumps([os.path.realpath(sys.executable), sysconfig.get_path("stdlib"), homes]))
"""
_LAUNCHER = """\
#!{python} -IB
import sys
sys.path.append({modules!r})
from dnf.cli import main
main.user_main(sys.argv[1:], exit_code=True)
"""
_CONFIGURATION = """\
[main]
gpgcheck=False
clean_requirements_on_remove=False
"""
#: What a Fedora has and these roots don't: nothing of it is a package's in them.
_SYSTEM = ("/bin/sh", "python3 = 3.13", "system-release = 41", "system-release(releasever) = 41")
_LOCALE = "/usr/lib/locale/C.utf8"


def add_dnf(system: ManagedRoot, scratch: Path) -> None:
    """dnf, createrepo_c, and a package that provides what everything there requires, and has no file but a note."""
    dnf, createrepo = find_tool("dnf"), find_tool("createrepo_c")
    if dnf is None or createrepo is None:
        absent("no dnf and createrepo_c on this machine (Debian packages dnf, createrepo-c)")
    root = system.root
    with open(dnf, encoding="utf-8") as file:
        python = file.readline()[2:].split()[0]
    said = subprocess.run([python, "-I", "-c", _QUESTION, *_MODULES], stdout=subprocess.PIPE, check=True).stdout
    executable, library, homes = json.loads(said)
    if None in homes:
        absent(f"{python} has not all of {', '.join(_MODULES)}")
    inside = f"{_HOME}/bin/{os.path.basename(executable)}"
    root.add_program(executable, inside)
    target = root.outside(f"{_HOME}/lib/{os.path.basename(library)}")
    shutil.copytree(library, target, ignore=not_needed)
    for home in homes:
        shutil.copytree(home, target / "modules" / os.path.basename(home), ignore=not_needed)
    root.add_libraries(str(path) for path in target.rglob("*.so"))
    root.add_program(os.path.realpath(createrepo), "/usr/bin/createrepo_c")
    modules = f"{_HOME}/lib/{os.path.basename(library)}/modules"
    root.put("/usr/bin/dnf", _LAUNCHER.format(python=inside, modules=modules)).chmod(0o755)
    root.put("/etc/dnf/dnf.conf", _CONFIGURATION)
    root.outside("/var/log").mkdir(parents=True)
    if os.path.isdir(_LOCALE):
        shutil.copytree(_LOCALE, root.outside(_LOCALE))
    payload = Payload("fedora-release", 1, scratch / "release", provides=_SYSTEM)
    payload.top.mkdir()
    payload.add("/usr/share/doc", {"fedora-release": "It stands for the rest of a Fedora.\n"})
    system.transact("install", RpmRoot.build(payload.settle(), scratch))
