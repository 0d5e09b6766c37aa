"""The names in a `__pycache__`: which are ours, which are residue, and which are somebody else's."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyctrigger.pyc.names import NAME_MAX, PycNames, cached_name, pyc_suffix, temporary_names, writer_of

TAGS = ["cpython-311", "cpython-313", "pypy39", "cpython-36", "a.b", "c++"]
tags = st.sampled_from(TAGS)
PY311 = PycNames("cpython-311")

#: Any bytes that a directory can hold, as Python shows them, and many that look like a pyc's name.
_pieces = st.lists(
    st.sampled_from(
        [
            ".cpython-311",
            ".cpython-312",
            ".pypy39",
            ".pyc",
            ".py",
            ".opt-",
            "1",
            "0",
            "2",
            "a",
            ".",
            "\n",
            "*",
            "é",
            "__",
        ]
    ),
    max_size=8,
).map("".join)
_bytes = st.binary(max_size=60).map(lambda data: os.fsdecode(data.replace(b"\0", b"").replace(b"/", b"")))
file_names = _pieces | _bytes | st.builds("{}.{}{}.pyc".format, _bytes, tags, st.sampled_from(["", ".opt-1", ".opt-2"]))


@given(tags, file_names)
@example("cpython-311", "module.cpython-311.opt-0.pyc")
@example("cpython-311", "module.cpython-311.opt-01.pyc")
@example("cpython-311", "module.cpython-311.opt-10.pyc")
@example("cpython-311", "module.cpython-311.opt-\u0661.pyc")
@example("cpython-311", "module.cpython-311.pyc\n")
def test_name_is_nobodys_or_that_of_a_sources_pyc(tag: str, name: str) -> None:
    """What parses is, to the letter, what a writer makes of that source: nothing else may be swept."""
    names = PycNames(tag)
    source = names.source_of(name)
    if source is not None:
        assert source.endswith(".py")
        assert len(source) > 3
        assert source[:-3] + pyc_suffix(tag, names.level_of(name)) == name


@given(tags, file_names.filter(bool), st.integers(0, 3))
def test_pyc_of_a_source_parses_back(tag: str, stem: str, level: int) -> None:
    """Whatever bytes the source's name holds."""
    names = PycNames(tag)
    name = stem + pyc_suffix(tag, level)
    assert (names.source_of(name), names.level_of(name), names.is_residue(name)) == (stem + ".py", level, False)


@given(st.permutations(TAGS), file_names.filter(bool), st.integers(0, 2))
def test_other_flavours_bytecode_is_not_ours(both: list[str], stem: str, level: int) -> None:
    """A tag is compared whole, not as a pattern or a prefix."""
    ours, other = both[:2]
    assert PycNames(ours).source_of(stem + pyc_suffix(other, level)) is None


@pytest.mark.parametrize(
    "name",
    [
        "kernel-12.py311.nbi",  # Numba's index and cache
        "kernel-12.py311.1.nbc",
        "test_it.cpython-311-pytest-7.4.0.pyc",
        "test_it.cpython-311-PYTEST.pyc",
        "module.cpython-312.pyc",
        "module.cpython-3110.pyc",
        "module.cpython-31.pyc",
        "module.pypy311.pyc",
        "module.cpython-311.opt-x.pyc",
        "module.cpython-311.opt-.pyc",
        "module.cpython-311.opt-0.pyc",  # no writer's: level 0 has no suffix
        "module.cpython-311.opt-01.pyc",
        "module.cpython-311.opt--1.pyc",
        "module.cpython-311.opt-1.opt-2.pyc",
        "module.cpython-311.pyo",
        "module.cpython-311.PYC",
        "module.cpython-311.pyc.bak",
        "module.cpython-311.pyc~",
        "module.cpython-311.pyc ",
        "module.cpython-311.pyc\n",
        "module.cpythonX311.pyc",
        "module.pyc",
        "module.py",
        ".cpython-311.pyc",
        "cpython-311.pyc",
        "",
    ],
)
def test_foreign_name_is_left_alone(name: str) -> None:
    """Other tags, other tools, and what only looks like a pyc."""
    assert PY311.source_of(name) is None
    assert not PY311.is_residue(name)
    assert writer_of(name) is None


def test_residue_of_importlib_is_known() -> None:
    """`_write_atomic` puts a number behind the name; nothing else is its own."""
    names = PycNames("cpython-311")
    residue = ["m.cpython-311.pyc.139872319", "m.cpython-311.opt-2.pyc.1", "a\nb.cpython-311.pyc.7"]
    foreign = [
        "m.cpython-311.pyc.",
        "m.cpython-311.pyc.1a",
        "m.cpython-311.pyc.-1",
        "m.cpython-311.pyc.\u0661",
        "m.cpython-312.pyc.1",
        "m.py.1",
        ".cpython-311.pyc.1",
        "m.cpython-311.pyc.1\n",
    ]
    assert [names.is_residue(name) for name in residue] == [True] * 3
    assert [name for name in foreign if names.is_residue(name)] == []
    assert [names.source_of(name) for name in residue] == [None] * 3


@given(st.sampled_from(["cpython-311-3f2a9c1d", "pypy39-00000000", "cpython-313t-12345678", "stateless-a1b2c3d4"]))
def test_temporary_name_tells_its_writer(writer: str) -> None:
    """So that each lock's holder knows its own residue; no two names are the same, and none is a pyc's."""
    names, others = temporary_names(writer), temporary_names(writer)
    name, other = next(names), next(others)
    assert (writer_of(name), writer_of(other)) == (writer, writer)
    others_names = [name.replace(".pyctrigger-", ".somebody-is-"), name.replace(".tmp", ".txt"), name + "x"]
    assert [writer_of(each) for each in others_names] == [None] * 3
    assert len({name, other, next(names), next(others)}) == 4
    assert PY311.source_of(name) is None
    assert len(name) < NAME_MAX


@given(file_names)
@example(".pyctrigger-cpython-311-3f2a9c1d.tmp")
@example(".pyctrigger--0123456789abcdef.tmp")
@example(".pyctrigger-x-0123456789abcdeF.tmp")
@example(".pyctrigger-x-0123456789abcdef.tmp\n")
@example(".pyctrigger-.tmp")
def test_nobody_elses_name_is_our_residue(name: str) -> None:
    """Only our own names identify a writer."""
    assert writer_of(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("module.cpython-311.pyc", ("module.py", "cpython-311", "")),
        ("module.cpython-311.opt-2.pyc", ("module.py", "cpython-311", "2")),
        ("a.b.pypy39.opt-1.pyc", ("a.b.py", "pypy39", "1")),
        ("module.graalpy231-311.pyc", ("module.py", "graalpy231-311", "")),
        ("module.cpython-33.pyo", ("module.py", "cpython-33", "")),
        ("test_x.cpython-311-pytest-8.4.2.pyc", None),
        ("module.pyc", None),
        ("module.opt-1.pyc", None),
        ("module.cpython-311.pyc.1234", None),
        (".cpython-311.pyc", None),
    ],
)
def test_name_of_anybodys_pyc(name: str, expected: tuple[str, str, str] | None) -> None:
    """Whatever its cache tag is."""
    assert expected == cached_name(name)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("m.cpython-311.pyc", 0),
        ("m.cpython-311.opt-1.pyc", 1),
        ("m.cpython-311.opt-2.pyc", 2),
        ("m.cpython-311.opt-12.pyc", 12),
        ("m.cpython-312.opt-2.pyc", 0),
        ("m.cpython-311.opt-0.pyc", 0),
    ],
)
def test_level_is_what_the_name_says(name: str, level: int) -> None:
    """An unknown name has none."""
    assert level == PY311.level_of(name)


@pytest.mark.parametrize(
    ("level", "suffix"), [(0, ".cpython-311.pyc"), (1, ".cpython-311.opt-1.pyc"), (2, ".cpython-311.opt-2.pyc")]
)
def test_suffix_of_each_level(level: int, suffix: str) -> None:
    """PEP 488: level 0 has none of its own."""
    assert suffix == pyc_suffix("cpython-311", level)


def test_temporary_names_wrap_around_at_their_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen digits, whatever number the first one has."""
    monkeypatch.setattr(os, "urandom", lambda count: b"\xff" * count)
    names = temporary_names("w")
    assert [".pyctrigger-w-ffffffffffffffff.tmp", ".pyctrigger-w-0000000000000000.tmp"] == [next(names), next(names)]
