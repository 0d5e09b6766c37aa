"""Kinds of values: what the configuration and the journal may have, and what a command line may say."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope.settings import (
    BOOLEAN,
    COUNT,
    DEFAULTS,
    DIRECTORIES,
    DIRECTORY,
    EPOCH,
    FEW_SECONDS,
    FILE,
    FLAVOUR,
    LEVELS,
    MODES,
    PATH,
    POSITIVE_SECONDS,
    SECONDS,
    SETTINGS,
    SIZES,
    TEXT,
    TEXTS,
    TRUSTED_KEYS,
    ValueKind,
    one_of,
    whole_number,
)

COLOURS = one_of("red", "blue", "green")
FEW = whole_number(1, 3)
EXECUTABLE = FLAVOUR["executable"].kind
KEY = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

#: A kind, what TOML or JSON has, and what it becomes.
WRITTEN: list[tuple[ValueKind, Any, Any]] = [
    (TEXT, "", ""),
    (TEXT, "a b", "a b"),
    (TEXTS, [], ()),
    (TEXTS, ["b", "a", "b"], ("b", "a", "b")),
    (BOOLEAN, True, True),
    (BOOLEAN, False, False),
    (LEVELS, [0], (0,)),
    (LEVELS, [2, 0, 2], (0, 2)),
    (MODES, "checked-hash", InvalidationMode.CHECKED_HASH),
    (COLOURS, "blue", "blue"),
    (COUNT, 0, 0),
    (COUNT, 4096, 4096),
    (FEW, 1, 1),
    (EPOCH, 1_700_000_000, 1_700_000_000),
    (SECONDS, 0, 0.0),
    (SECONDS, 2.5, 2.5),
    (SECONDS, 10**6, 1e6),
    (POSITIVE_SECONDS, 0.001, 0.001),
    (FEW_SECONDS, 0.001, 0.001),
    (FEW_SECONDS, 60, 60.0),
    (FILE, "", ""),
    (FILE, "/etc/key", "/etc/key"),
    (TRUSTED_KEYS, [], ()),
    (TRUSTED_KEYS, ["/keys", KEY], ("/keys", KEY)),
    (SIZES, 0, 0),
    (SIZES, 512, 512),
    (SIZES, (1 << 63) - 1, (1 << 63) - 1),
    (SIZES, "512", 512),
    (SIZES, " 2GiB ", 2 << 30),
    (SIZES, "3 mb", 3_000_000),
    (SIZES, "7B", 7),
    (PATH, "/srv", "/srv"),
    (DIRECTORY, "/srv/../x", "/srv/../x"),
    (DIRECTORIES, ["/srv", "/"], ("/srv", "/")),
    (EXECUTABLE, "/usr/bin/python3", "/usr/bin/python3"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), WRITTEN)
def test_what_may_be_written(kind: ValueKind, value: object, expected: object) -> None:
    """As it becomes, of the type that it becomes."""
    converted = kind.convert(value)
    assert (converted, type(converted)) == (expected, type(expected))


LEVEL_WORDS = "write a list of optimization levels, such as [0, 1, 2]"
SIZE_WORDS = 'write a size such as "2GiB", "512MiB" or a number of bytes'
KEY_WORDS = 'write a list of public keys and absolute paths, such as ["/etc/pyctrigger.keys"]'
COLOUR_WORDS = 'write one of "red", "blue", "green"'
#: A kind, what it can't have, and what is said.
WRONGLY_WRITTEN: list[tuple[ValueKind, Any, str]] = [
    (TEXT, 3, "write a text"),
    (TEXTS, "a", 'write a list of texts, such as ["*/tests/data/*"]'),
    (TEXTS, ["a", ""], 'write a list of texts, such as ["*/tests/data/*"]'),
    (TEXTS, None, 'write a list of texts, such as ["*/tests/data/*"]'),
    (BOOLEAN, 1, "write true or false"),
    (BOOLEAN, "yes", "write true or false"),
    (LEVELS, [], LEVEL_WORDS),
    (LEVELS, [3], LEVEL_WORDS),
    (LEVELS, [-1], LEVEL_WORDS),
    (LEVELS, [True], LEVEL_WORDS),
    (LEVELS, [1.0], LEVEL_WORDS),
    (LEVELS, 1, LEVEL_WORDS),
    (MODES, "checked", 'write one of "timestamp", "checked-hash", "unchecked-hash" (did you mean checked-hash?)'),
    (COLOURS, "reed", f"{COLOUR_WORDS} (did you mean red?)"),
    (COLOURS, "x", COLOUR_WORDS),
    (one_of("dpkg", "rpm"), "apt", 'write one of "dpkg", "rpm" (did you mean dpkg?)'),
    (COLOURS, ["red"], COLOUR_WORDS),
    (COUNT, -1, "write a whole number from 0 to 4096"),
    (COUNT, 4097, "write a whole number from 0 to 4096"),
    (COUNT, True, "write a whole number from 0 to 4096"),
    (COUNT, 1.0, "write a whole number from 0 to 4096"),
    (FEW, 0, "write a whole number from 1 to 3"),
    (FEW, 4, "write a whole number from 1 to 3"),
    (SECONDS, -0.1, "write a number of seconds, 0 or more"),
    (SECONDS, 10**6 + 1, "write a number of seconds, 0 or more"),
    (SECONDS, True, "write a number of seconds, 0 or more"),
    (SECONDS, float("nan"), "write a number of seconds, 0 or more"),
    (SECONDS, "5", "write a number of seconds, 0 or more"),
    (FEW_SECONDS, 0, "write a number of seconds, more than 0 and at most 60"),
    (FEW_SECONDS, 60.1, "write a number of seconds, more than 0 and at most 60"),
    (FEW_SECONDS, True, "write a number of seconds, more than 0 and at most 60"),
    (FILE, "key", 'write "" or an absolute path'),
    (FILE, "/a\0b", 'write "" or an absolute path'),
    (TRUSTED_KEYS, KEY, KEY_WORDS),
    (TRUSTED_KEYS, ["keys"], KEY_WORDS),
    (TRUSTED_KEYS, [KEY[8:]], KEY_WORDS),
    (TRUSTED_KEYS, [KEY, ""], KEY_WORDS),
    (SIZES, -1, SIZE_WORDS),
    (SIZES, 1 << 63, SIZE_WORDS),
    (SIZES, "2 XiB", SIZE_WORDS),
    (SIZES, "2\u2003GiB", SIZE_WORDS),
    (SIZES, "GiB", SIZE_WORDS),
    (SIZES, 2.0, SIZE_WORDS),
    (SIZES, None, SIZE_WORDS),
    (PATH, "srv", "write an absolute path"),
    (PATH, "/a\0b", "write an absolute path"),
    (DIRECTORIES, ["/srv", "x"], "write absolute paths"),
    (DIRECTORIES, "/srv", "write absolute paths"),
    (EXECUTABLE, "python3", "write the absolute path of an interpreter"),
]


@pytest.mark.parametrize(("kind", "value", "message"), WRONGLY_WRITTEN)
def test_what_may_not_be_written(kind: ValueKind, value: object, message: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(ValueError, match=r"^write ") as caught:
        kind.convert(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "message"),
    [("ed25519:", "it isn't a public key"), (f"ed25519:{'A' * 43}=", "anybody can sign for this key")],
)
def test_a_key_that_is_none(key: str, message: str) -> None:
    """The configuration is wrong at once, not when a store is first asked."""
    with pytest.raises(ValueError, match=f"^{message}"):
        TRUSTED_KEYS.convert([KEY, key])


#: A kind, a word of the command line, and its value.
SAID: list[tuple[ValueKind, str, Any]] = [
    (LEVELS, "0", (0,)),
    (LEVELS, "2,1,1", (1, 2)),
    (MODES, "timestamp", InvalidationMode.TIMESTAMP),
    (COUNT, "007", 7),
    (EPOCH, "0", 0),
    (SECONDS, "1.5", 1.5),
    (POSITIVE_SECONDS, "1e3", 1000.0),
    (SIZES, "2GiB", 2 << 30),
    (SIZES, "4096", 4096),
    (PATH, "/srv/../x", "/x"),
]


@pytest.mark.parametrize(("kind", "text", "expected"), SAID)
def test_what_may_be_said(kind: ValueKind, text: str, expected: object) -> None:
    """The same values, out of a word."""
    assert kind.read(text) == expected


#: A kind, a word that is none of its, and what is said.
WRONGLY_SAID: list[tuple[ValueKind, str, str]] = [
    (LEVELS, "", "use levels from 0 to 2, such as 0,1,2"),
    (LEVELS, "0, 1", "use levels from 0 to 2, such as 0,1,2"),
    (LEVELS, "3", "use levels from 0 to 2, such as 0,1,2"),
    (MODES, "never", "use timestamp, checked-hash or unchecked-hash"),
    (COLOURS, "gren", "use red, blue or green (did you mean green?)"),
    (COUNT, "+1", "use a number from 0 to 4096"),
    (COUNT, "\u0663", "use a number from 0 to 4096"),
    (COUNT, "9" * 5000, "use a number from 0 to 4096"),
    (EPOCH, "-1", "use a whole number of seconds since 1970, 0 or more"),
    (SECONDS, "inf", "use a number of seconds, 0 or more"),
    (SECONDS, "soon", "use a number of seconds, 0 or more"),
    (POSITIVE_SECONDS, "0", "use seconds, above 0"),
    (SIZES, "much", "use a size such as 2GiB, 512MiB or a number of bytes"),
]


@pytest.mark.parametrize(("kind", "text", "message"), WRONGLY_SAID)
def test_what_may_not_be_said(kind: ValueKind, text: str, message: str) -> None:
    """In the words of a command line, with the same suggestion."""
    with pytest.raises(ValueError, match=r"^use ") as caught:
        kind.read(text)
    assert str(caught.value) == message


def test_a_path_is_named_from_where_we_are(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where that is gone, only an absolute one will do."""
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    assert PATH.read("x/../y") == os.path.join(place, "y")
    place.rmdir()
    with pytest.raises(ValueError, match=r"^use an absolute path$"):
        PATH.read("y")
    assert PATH.read("/y") == "/y"


def test_kinds_that_are_made() -> None:
    """With their limits, or their words, in what is said, and everything else as every kind has it."""
    few, seconds, colours = whole_number(1, 3), whole_number(0, 9, "a digit"), one_of("red", "blue", becomes=len)
    assert ("a whole number from 1 to 3", "a number from 1 to 3", "N") == (few.write, few.say, few.value)
    assert ("a whole number from 0 to 9", "a digit", "N") == (seconds.write, seconds.say, seconds.value)
    assert ('one of "red", "blue"', "red or blue", ("red", "blue")) == (colours.write, colours.say, colours.choices)
    assert "red, green or blue" == one_of("red", "green", "blue").say
    assert [few.convert(1), few.read("3"), colours.convert("blue"), one_of("x", "y").convert("x")] == [1, 3, 4, "x"]
    assert [few.is_valid(each) for each in (0, 1, 3, 4, 2.0, True, "1")] == [False, True, True, *4 * [False]]
    assert [colours.is_valid(each) for each in ("red", "re", ["red"], None)] == [True, False, False, False]


def test_rows_can_be_told_apart() -> None:
    """No two have one name, or one flag for one verb; and each says what it is for."""
    names = [setting.name for setting in SETTINGS]
    flags = [(verb, flag) for setting in SETTINGS for verb in setting.verbs for flag in setting.names]

    assert sorted(set(names)) == sorted(names)
    assert sorted(set(flags)) == sorted(flags)
    assert [] == [setting.name for setting in SETTINGS if not (setting.help or setting.meaning)]
    assert [] == [setting.name for setting in SETTINGS if bool(setting.help) != bool(setting.verbs)]
    assert [] == [name for name, setting in DEFAULTS.items() if not setting.meaning.endswith(".")]
