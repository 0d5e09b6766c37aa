"""The configuration: each value that a file may have, and each fault in one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import ConfigurationError, RefusedError, UsageError
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope import config
from pyctrigger.run.scope.config import FlavourSettings, Settings, load, parse
from pyctrigger.run.scope.settings import DEFAULTS, FLAVOUR

if TYPE_CHECKING:
    from pathlib import Path

#: A file, and what differs from the defaults.
READ: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("[defaults]\n[hooks]\n[flavours]\n", {}),
    ("[defaults]\noptimize = [2, 0]\nexclude = ['*/b', '*/a']", {"optimize": (0, 2), "exclude": ("*/b", "*/a")}),
    ("[defaults]\ninvalidation_mode = 'checked-hash'", {"invalidation_mode": InvalidationMode.CHECKED_HASH}),
    ("[defaults]\nmemory_limit = '1GiB'\nfile_timeout = 3", {"memory_limit": 1 << 30, "file_timeout": 3.0}),
    ("[hooks]\nenabled = false", {"hooks_enabled": False}),
    (
        "[defaults]\njobs = 2\n[hooks]\nenabled = true\n[flavours.'3.11']\noptimize = [1]\n[flavours.'pypy3.9']\n",
        {"jobs": 2, "flavours": {"3.11": FlavourSettings(optimize=(1,)), "pypy3.9": FlavourSettings()}},
    ),
    (
        "[flavours.'3.13t']\nexecutable = '/opt/python'\nsite_dirs = ['/b', '/a']",
        {"flavours": {"3.13t": FlavourSettings("/opt/python", None, ("/b", "/a"))}},
    ),
    ("[flavours.'3.11']\nsite_dirs = []", {"flavours": {"3.11": FlavourSettings(site_dirs=())}}),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_what_a_file_says(text: str, expected: dict[str, Any]) -> None:
    """And the defaults for all that it doesn't say."""
    assert Settings(**expected) == parse(text.encode(), "/c")


#: A file, and whether it's seen at a glance that it sets nothing.
EMPTY: list[tuple[bytes, bool]] = [
    (b"", True),
    (b"# jobs = 2\n\n[defaults]\n#jobs = 2\n[hooks]\n[store]", True),
    (b"[defaults]\njobs = 2\n", False),
    (b"[flavours]\n", False),
    (b"[defaults]\n[defaults]\n", False),
    (b"[defaults]\r\n", False),
    (b"# \x01\n", False),
    (b"# \xc3\xa9\n", False),
    (b"# \xe9\n", False),
    (b"\xef\xbb\xbf[defaults]\n", False),
    (b"jobs", False),
]


@pytest.mark.parametrize(("text", "is_empty"), EMPTY)
def test_a_file_that_sets_nothing(text: bytes, is_empty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't parsed: what a package brings would take a hook longer to read than all else that it reads."""
    assert config._sets_nothing(text) is is_empty
    monkeypatch.setattr(config, "_sets_nothing", lambda _: False)
    assert not is_empty or parse(text, "/c") == Settings()


LIKE_FLAVOURS = 'is not a version; write "3.11" or "pypy3.11", quoted'
KNOWN = ", ".join(DEFAULTS)
#: A file, and its faults.
FAULTS: list[tuple[bytes, list[str]]] = [
    (b"\n\xe9 = 1", ["byte 1 isn't UTF-8; save the file as UTF-8"]),
    (b"defaults = 1", ["defaults is not a table; write [defaults]"]),
    (
        b"hooks = []\nflavours = ''",
        ["hooks is not a table; write [hooks]", "flavours is not a table; write [flavours]"],
    ),
    (b"flavours.'3.11' = 1", ['flavours."3.11" is not a table; write [flavours."3.11"]']),
    (b"jobs = 1", ["jobs is not known (it belongs in [defaults]); known keys: defaults, store, hooks, flavours"]),
    (
        b"[hook]\n['a b']",
        [
            "hook is not known (did you mean hooks?); known keys: defaults, store, hooks, flavours",
            "'a b' is not known; known keys: defaults, store, hooks, flavours",
        ],
    ),
    (b"[defaults]\njob = 1", [f"defaults.job is not known (did you mean jobs?); known keys: {KNOWN}"]),
    (b"[hooks]\n'a\\nb' = 1", [r"hooks.'a\\nb' is not known; known keys: enabled"]),
    (b"[hooks]\njobs = 1", ["hooks.jobs is not known; known keys: enabled"]),
    (b"[defaults]\njobs = -1", ["defaults.jobs can't be -1; write a whole number from 0 to 4096"]),
    (
        b"[flavours.'3.11']\noptimise = [1]\nexecutable = 'x'",
        [
            f'flavours."3.11".optimise is not known (did you mean optimize?); known keys: {", ".join(FLAVOUR)}',
            "flavours.\"3.11\".executable can't be 'x'; write the absolute path of an interpreter",
        ],
    ),
    (b"[flavours.3.11]", [f"flavours.3 {LIKE_FLAVOURS}"]),
    (
        b"[flavours.py311]\n[flavours.'python3']",
        [f"flavours.py311 {LIKE_FLAVOURS}", f"flavours.python3 {LIKE_FLAVOURS}"],
    ),
    (b"[flavours.'/usr/bin/python3']", [f"flavours.'/usr/bin/python3' {LIKE_FLAVOURS}"]),
    (b"[flavours.'']", [f"flavours.'' {LIKE_FLAVOURS}"]),
    (
        b"[defaults]\nlog = '" + b"x" * 58 + b"'\nduplicates = '" + b"y" * 59 + b"'",
        [
            f"defaults.duplicates can't be '{'y' * 56}...; " + 'write one of "hardlink", "copy"',
            f"defaults.log can't be '{'x' * 58}'; " + 'write one of "none", "syslog"',
        ],
    ),
    (
        b"[defaults]\njobs = 0x" + b"f" * 5000,
        ["defaults.jobs can't be a number of thousands of digits; write a whole number from 0 to 4096"],
    ),
    (
        b"[defaults]\njobs = 'x'\nno = 1\n[hooks]\nenabled = 1",
        [
            f"defaults.no is not known; known keys: {KNOWN}",
            "defaults.jobs can't be 'x'; write a whole number from 0 to 4096",
            "hooks.enabled can't be 1; write true or false",
        ],
    ),
]


@pytest.mark.parametrize(("text", "problems"), FAULTS)
def test_what_is_wrong_with_a_file(text: bytes, problems: list[str]) -> None:
    """Every fault at once, each with its place, and with what to write."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "/c")
    assert "/c" == caught.value.path
    assert "\n".join(f"/c: {problem}" for problem in problems) == str(caught.value)
    assert problems == ["; ".join(filter(None, problem)) for problem in caught.value.problems]


@pytest.mark.parametrize("text", [b"[", b"a = 1\na = 2", b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000])
def test_what_is_no_toml(text: bytes) -> None:
    """Whatever it is that the parser raises."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "/c")
    ((problem, hint),) = caught.value.problems
    assert hint is None
    assert "/c" == caught.value.path
    assert problem.startswith("not valid TOML: ")
    assert len(problem) > len("not valid TOML: ")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where this system has its configuration, for hooks and for people: nowhere yet."""
    found = [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "people's")]
    monkeypatch.setattr(config, "configuration_files", lambda *, hook: found[:2] if hook else found)
    return found


def test_which_file_is_read(places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named one, else the first that there is, else none; a hook reads its own only."""
    jobs = [load().jobs, load(hook=True).jobs]
    for number in (2, 1, 0):
        with open(places[number], "w") as file:
            file.write(f"[defaults]\njobs = {number + 1}")
        jobs += [load().jobs, load(hook=True).jobs, load(places[2]).jobs]
    assert [0, 0, 3, 0, 3, 2, 2, 3, 1, 1, 3] == jobs
    monkeypatch.chdir(tmp_path)
    assert 2 == load("second").jobs


def test_a_file_that_cannot_be_read(places: list[str], tmp_path: Path) -> None:
    """The reason, and the place of what is wrong in it."""
    (tmp_path / "large").write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "full").write_bytes(b"#" * (1 << 20))
    (tmp_path / "wrong").write_text("x = 1")
    assert Settings() == load(str(tmp_path / "full"))
    for name, reason in (("absent", "no such file"), ("large", "larger than 1024 KiB"), ("", "not a regular file")):
        with pytest.raises(UsageError) as caught:
            load(f"{tmp_path}/{name}")
        assert (f"configuration {tmp_path}/{name}: {reason}", "name a readable file") == (
            caught.value.message,
            caught.value.hint,
        )
    with pytest.raises(ConfigurationError) as wrong:
        load(str(tmp_path / "wrong"))
    assert str(tmp_path / "wrong") == wrong.value.path


@pytest.mark.usefixtures("as_root")
def test_a_file_that_others_may_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its whole path, however it is named."""
    (tmp_path / "c").write_text("")
    os.chown(tmp_path / "c", 12345, 0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError) as caught:
        load("c")
    assert f"configuration {tmp_path}/c is not trusted by root: account 12345 owns a part of its path" == (
        caught.value.message
    )


def test_what_a_source_may_use() -> None:
    """By the kind of failure of one that needs more."""
    assert {"timeout": 7.0, "memory": 8} == Settings(file_timeout=7.0, memory_limit=8).limits


#: Values, and whether hooks compile all that a package installs.
COMPILING: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"optimize": (2, 0)}, True),
    ({"jobs": 1, "store_url": "local", "invalidation_mode": InvalidationMode.CHECKED_HASH}, True),
    ({"flavours": {"3.11": FlavourSettings(executable="/opt/python")}}, True),
    ({"flavours": {"3.11": FlavourSettings(optimize=(0, 1))}}, True),
    ({"flavours": {"3.11": FlavourSettings(optimize=(1,))}}, False),
    ({"flavours": {"3.11": FlavourSettings(site_dirs=("/srv",))}}, False),
    ({"flavours": {"3.11": FlavourSettings(site_dirs=())}}, False),
    ({"hooks_enabled": False}, False),
    ({"create_missing": False}, False),
    ({"exclude": ("*/tests/*",)}, False),
    ({"optimize": (1, 2)}, False),
]


@pytest.mark.parametrize("row", range(len(COMPILING)))
def test_whether_hooks_compile_all(row: int) -> None:
    """What py3compile would: level 0 of each source, wherever Debian's packages put it."""
    values, expected = COMPILING[row]
    assert expected is Settings(**values).compiles_all
