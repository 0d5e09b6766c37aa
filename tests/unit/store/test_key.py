"""Keys of stored code: another one for each fact that code depends on, and the same for all others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.interpreter.interpreter import Account, Interpreter
from pyctrigger.interpreter.probe import probe
from pyctrigger.interpreter.remote import probe as remote
from pyctrigger.store.key import keys_of
from unit.interpreter.made_up import BUILD
from unit.interpreter.made_up import interpreter as made_up

if TYPE_CHECKING:
    from interpreters import Interpreter as Found

SOURCE = hashlib.sha256(b"x = 1\n").digest()


def interpreter(**fields: Any) -> Interpreter:
    """A CPython 3.11, with other facts, of its build or else."""
    build = tuple(sorted({**BUILD, **{name: fields.pop(name) for name in BUILD if name in fields}}.items()))
    return made_up("3.11", "/usr/bin/python3.11", build=build)._replace(**fields)


def key(level: int = 0, source: bytes = SOURCE, **fields: Any) -> bytes:
    """Its key for a source."""
    keys = keys_of(interpreter(**fields))
    assert keys is not None
    return keys.of(source, level)


def test_a_key_stays_what_it_is() -> None:
    """Or a store that is full is empty. If workers write other bytes, the schema changes, and with it this."""
    assert "c74e2be8" == key().hex()[:8]


#: Another value for one fact.
FACTS: list[dict[str, Any]] = [
    {"implementation": "pypy"},
    {"release": "3.11.2"},
    {"release": "3.11.1rc1"},
    {"cache_tag": "cpython-312"},
    {"class_names": ("finalize._Info",)},
    {"magic_number": b"\xcb\r\r\n"},
    {"abi_flags": "d"},
    {"free_threaded": True},
    {"level": 1},
    {"level": 2},
    {"source": hashlib.sha256(b"x = 2\n").digest()},
    {"c_library": "glibc 2.37"},
    {"debug": "yes"},
    {"hash": "siphash24 64"},
    {"machine": "aarch64"},
    {"powers": "00000000"},
    {"pypy": "7.3.11.final.0"},
    {"ranges": "no"},
    {"system": "FreeBSD"},
    {"word": "32 little"},
]


def test_each_fact_has_a_key_of_its_own() -> None:
    """No two of them are mistaken for one another."""
    assert len(FACTS) + 1 == len({key(), *(key(**fact) for fact in FACTS)})


@pytest.mark.parametrize(
    "fields",
    [
        {"executable": "/opt/python"},
        {"prefix": "/opt"},
        {"schemes": {}},
        {"inside": ()},
        {"default_scheme": "venv"},
        {"environment": "/home/me/venv"},
    ],
)
def test_no_path_is_in_a_key(fields: dict[str, Any]) -> None:
    """Nor which environment it is for."""
    assert key() == key(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"development": "yes"}, {"build": ()}, {"account": Account(1000, 1000)}, {"root": "/srv/root"}],
)
def test_what_nobody_vouches_for_has_no_key(fields: dict[str, Any]) -> None:
    """A development build, one that is gone, another account's, and one that a foreign root brings along."""
    assert keys_of(interpreter(**fields)) is None


def test_a_target_says_all_of_it(interpreter: Found) -> None:
    """Each of them, the same each time; and what computes its powers is watched."""
    found = probe(interpreter.path)
    build = dict(found.interpreter.build)
    assert sorted(BUILD) == sorted(build)
    assert (os.uname().sysname, os.uname().machine) == (build["system"], build["machine"])
    assert (interpreter.implementation == "pypy") is bool(build["pypy"])
    assert ("no", "no") == (build["development"], build["debug"])
    assert (interpreter.implementation == "cpython" and interpreter.version >= (3, 11)) is (build["ranges"] == "yes")
    assert found.interpreter.build == probe(interpreter.path).interpreter.build
    assert keys_of(found.interpreter) is not None
    if build["c_library"].startswith("glibc "):
        watched = {os.path.basename(each.path) for each in found.witnesses}
        assert any(name.startswith("libm") for name in watched), watched


#: What an interpreter says that it is, and whether that is a development build.
RELEASES = [
    ("3.13.0 (main, Oct  7 2024, 05:02:14) [GCC 13.2.0]", "no"),
    ("3.15.0a1 (tags/v3.15.0a1:1234567) [GCC 13.2.0]", "no"),
    ("3.15.0a1+ (heads/main:1234567, Oct  7 2025) [GCC 13.2.0]", "yes"),
    ("3.13.0+ [GCC 13.2.0]", "yes"),
    ("3.13.0 (c++) [GCC 13.2.0]", "no"),
]


@pytest.mark.parametrize(("version", "expected"), RELEASES)
def test_a_development_build_is_known_by_its_release(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: str
) -> None:
    """It ends in a plus."""
    monkeypatch.setattr(sys, "version", version)
    assert expected == remote.build()["development"]


def test_powers_are_those_of_the_c_library() -> None:
    """The same in two processes; of a processor without FMA, which glibc can be told that it is, perhaps others."""
    program = (
        f"import sys; sys.path[:0] = [{os.path.dirname(remote.__file__)!r}]; from probe import powers; print(powers())"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    without = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}
    usual, again, other = (
        subprocess.check_output(command, text=True, env=environment).strip()
        for environment in (os.environ, os.environ, without)
    )
    assert (remote.powers(), remote.powers()) == (usual, again)
    assert 8 == len(other)
