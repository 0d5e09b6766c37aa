"""The locks hold what is asked for, for every Python that may be the host, and nothing without a hash."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from environment import CHECKOUT
from pages.main import OLDEST
from pinned import LOCKS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOSTS = [f"3.{minor}" for minor in range(9, 15)]
#: The hosts that make documents.
DOCUMENTING = [host for host in HOSTS if int(host[2:]) >= OLDEST[1]]
#: What the benchmark compiles, with the fewest projects that make it up; for one Python.
CORPORA = {"corpus": 100, "headline": 90}
#: The locks, by the hosts that they hold for.
LOCKED = {
    **dict.fromkeys(["bench", "django", "nox", "pip", "run", "servers", "test"], HOSTS),
    "docs": DOCUMENTING,
    "mutants": HOSTS[1:],
}


def pins(name: str, host: str) -> dict[str, Any]:
    """What pip installs from a lock on Linux under one Python: the release of each project."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for entry in re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
        pin = Requirement(requirement)
        assert hashes, entry
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), entry
        assert [each.operator for each in pin.specifier] == ["=="], entry
        if pin.marker is None or pin.marker.evaluate(surroundings(host)):
            assert found.setdefault(canonicalize_name(pin.name), pin) is pin, f"{pin.name} twice under {host}"
    return {project: next(iter(pin.specifier)).version for project, pin in found.items()}


def surroundings(host: str) -> dict[str, str]:
    """What markers ask for."""
    system = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "extra": ""}
    python = {"python_version": host, "python_full_version": f"{host}.1", "platform_python_implementation": "CPython"}
    return {**system, **python, "implementation_name": "cpython"}


def asked_for(name: str) -> list[Requirement]:
    """What a lock is made of: the project's own ranges, and those of a file."""
    with open(CHECKOUT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    wanted = {"run": project["dependencies"], "test": project["optional-dependencies"]["test"]}.get(name, [])
    own = LOCKS / f"{name}.in"
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    return [Requirement(each) for each in [*wanted, *lines] if each and not each.startswith("#")]


@pytest.mark.parametrize(("name", "host"), [(name, host) for name, hosts in LOCKED.items() for host in hosts])
def test_lock_fits_what_is_asked_for(name: str, host: str) -> None:
    """An edit of pyproject.toml that no lock follows would be seen by its users first."""
    locked = pins(name, host)
    wanted = [each for each in asked_for(name) if each.marker is None or each.marker.evaluate(surroundings(host))]

    assert wanted
    unfit = [str(each) for each in wanted if locked.get(canonicalize_name(each.name), "0") not in each.specifier]
    assert [] == unfit


@pytest.mark.parametrize("name", CORPORA)
def test_corpus_is_what_is_asked_for(name: str) -> None:
    """A tree that shrinks, or another release of what it is named after, would change every figure in silence."""
    locked = pins(name, "3.13")

    assert len(locked) >= CORPORA[name]
    assert {canonicalize_name(each.name) for each in asked_for(name)} <= set(locked)
    assert [] == [str(each) for each in asked_for(name) if locked[canonicalize_name(each.name)] not in each.specifier]


@pytest.mark.parametrize("host", HOSTS)
def test_locks_agree(host: str) -> None:
    """Two locks in one environment install each project once."""
    found: dict[str, set[str]] = {}
    for name in ("bench", "pip", "run", "test", *(["docs"] if host in DOCUMENTING else [])):
        for project, version in pins(name, host).items():
            found.setdefault(project, set()).add(version)
    assert {} == {project: versions for project, versions in found.items() if len(versions) > 1}


def test_documents_are_made_by_the_same_releases_everywhere() -> None:
    """Or manual pages would differ with the Python that made them."""
    first, *others = (pins("docs", host) for host in DOCUMENTING)
    assert others
    assert all(each == first for each in others)


def test_the_lock_of_node_is_pinned() -> None:
    """Each package with its hash; nothing else says which bytes npm installs."""
    packages = json.loads((LOCKS / "build-cache.json").read_text(encoding="utf-8"))["packages"]
    assert [] == [name for name in packages if name and not packages[name]["integrity"].startswith("sha512-")]


def test_every_lock_is_pinned_and_names_no_place() -> None:
    """Where the files come from is for each machine's own settings to say."""
    names = {path.stem for path in LOCKS.glob("*.txt")}
    assert names == {*LOCKED, *CORPORA}
    assert names == {path.stem for path in LOCKS.glob("*.in")} | {"test"}
    for path in LOCKS.iterdir():
        assert "://" not in path.read_text(encoding="utf-8")
