"""Cutting a file name out of marshalled code and putting another one in, byte for byte."""

from __future__ import annotations

import marshal
import sys
from types import CodeType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyctrigger.store.holes import KINDS, FileName, OpenCode, cut, fill, new_stand_in

if TYPE_CHECKING:
    from collections.abc import Sequence

STAND_IN = b"0123456789abcdef0123456789abcdef"
SHORT = bytes([len(STAND_IN)]) + STAND_IN
SOURCE = """
def f(x, *, y=1e300):
    "A function."
    def g(): return [x for x in y if x in {'a', 'b'}]
    return lambda: g
class C(dict):
    def m(self): return __class__, 'f', 7, (None, 2.5)
"""


@pytest.mark.parametrize(
    ("path", "plain", "interned"),
    [
        (b"/a.py", b"z\x05/a.py", b"Z\x05/a.py"),
        (b"/" + b"a" * 254, b"z\xff/" + b"a" * 254, b"Z\xff/" + b"a" * 254),
        (b"/" + b"a" * 255, b"a\0\x01\0\0/" + b"a" * 255, b"A\0\x01\0\0/" + b"a" * 255),
        (b"/" + b"a" * 4095, b"a\0\x10\0\0/" + b"a" * 4095, b"A\0\x10\0\0/" + b"a" * 4095),
        ("/é.py".encode(), "u\6\0\0\0/é.py".encode(), "t\6\0\0\0/é.py".encode()),
        ("/\U0001f600".encode(), "u\5\0\0\0/\U0001f600".encode(), "t\5\0\0\0/\U0001f600".encode()),
        (b"/\xff", b"u\4\0\0\0/\xed\xb3\xbf", b"t\4\0\0\0/\xed\xb3\xbf"),
        (b"/\xed\xb3\xbf", b"u\x0a\0\0\0/\xed\xb3\xad\xed\xb2\xb3\xed\xb2\xbf", None),
        (b"/a\n\0b", b"z\x05/a\n\0b", b"Z\x05/a\n\0b"),
    ],
)
def test_a_name_is_written_by_marshals_rules(path: bytes, plain: bytes, interned: bytes | None) -> None:
    """By its length, its alphabet, and what was no UTF-8 in it; the flag for a shared one stays."""
    name = FileName(path)
    assert plain == name.written_as(ord("z"))
    assert bytes([plain[0] | 0x80]) + plain[1:] == name.written_as(0xFA)
    if interned is not None:
        assert interned == name.written_as(ord("Z"))
        assert bytes([interned[0] | 0x80]) + interned[1:] == name.written_as(0xDA)
    assert path.decode("utf-8", "surrogateescape") == marshal.loads(plain)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xe3\xfa" + SHORT + b"N", OpenCode(b"\xfa", (1,), b"\xe3N")),
        (b"Z" + SHORT, OpenCode(b"Z", (0,), b"")),
        (b"\xe3\xda" + SHORT + b"z" + SHORT + b"r", OpenCode(b"\xdaz", (1, 1), b"\xe3r")),
        (b"\xe3N", None),
        (b"", None),
        (STAND_IN, None),
        (SHORT, None),
        (b"\xe3u" + SHORT, None),
        (b"\xe3\xfa\x21" + STAND_IN + b"x", None),
        (b"\xe3\xfa" + SHORT + SHORT, None),
        (b"\xe3\xfa" + SHORT + b"a\x20\0\0\0" + STAND_IN, None),
    ],
)
def test_only_what_marshal_writes_is_cut_out(body: bytes, expected: OpenCode | None) -> None:
    """Its bytes in any other place, or nowhere, mean that it isn't known what they are."""
    assert expected == cut(body, STAND_IN)
    assert expected == cut(memoryview(body), STAND_IN)


@given(
    st.lists(st.tuples(st.binary(max_size=9), st.sampled_from(sorted(KINDS))), min_size=1, max_size=9),
    st.binary(max_size=9),
    st.binary(min_size=2, max_size=300).map(lambda path: b"/" + path),
)
@example([(b"", 0xFA)], b"", b"/ab")
def test_filling_undoes_cutting(parts: list[tuple[bytes, int]], end: bytes, path: bytes) -> None:
    """With the stand-in itself; with any other name each of them changes, and nothing else does."""
    body = b"".join(before + bytes([kind]) + SHORT for before, kind in parts) + end
    code = cut(body, STAND_IN)
    assert code is not None
    assert body == fill(code, FileName(STAND_IN))
    name = FileName(path)
    filled = b"".join(before + name.written_as(kind) for before, kind in parts) + end
    assert fill(code, name) in (filled, None)


@pytest.mark.parametrize(
    ("source", "path", "is_stored"),
    [
        ("x = 1", b"/x/y.py", True),
        ("x = '/x/y.py'", b"/x/y.py", False),
        ("x = '/x' + '/y.py'", b"/x/y.py", False),
        ("x = 'in /x/y.py: no'", b"/x/y.py", False),
        ("x = b'/x/y.py'", b"/x/y.py", False),
        ("x = 'é/\N{GRINNING FACE}'", "é/\N{GRINNING FACE}".encode(), False),
        (r"x = '/\udcff'", b"/\xff", False),
        ("def f(): x.y", b"y", False),
        ("def f(): x.y", b"/y", True),
    ],
)
def test_a_name_that_the_code_has_is_refused(source: str, path: bytes, is_stored: bool) -> None:
    """If two equal strings are one object, marshal writes the second as a reference to the first."""
    code = cut(marshalled(source, STAND_IN), STAND_IN)
    assert code is not None
    assert is_stored is (fill(code, FileName(path)) is not None)
    assert is_stored is not FileName(path).is_in(code)


def names() -> Sequence[bytes]:
    """Names of each form, and around the length at which it changes."""
    lengths = [b"/" + b"n" * length for length in (1, 253, 254, 255, 256, 4000)]
    return [*lengths, "/é/中.py".encode(), b"/\xff\xc3.py", "/\U0001f600".encode() * 60]


@pytest.mark.parametrize("path", names())
def test_this_python_would_write_the_same(path: bytes) -> None:
    """Its own compiler, given that name."""
    code = cut(marshalled(SOURCE, STAND_IN), STAND_IN)
    assert code is not None
    body = fill(code, FileName(path))
    assert body is not None
    if sys.version_info >= (3, 11):  # before, a flag depends on what else refers to a name
        assert marshalled(SOURCE, path) == body
    loaded = marshal.loads(body)
    codes = [loaded]
    for each in codes:
        codes += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    assert {path.decode("utf-8", "surrogateescape")} == {each.co_filename for each in codes}
    assert len(codes) > 5


def marshalled(source: str, path: bytes) -> bytes:
    """What marshal writes for a source; the name comes from bytes, as in a worker."""
    name = path.decode("utf-8", "surrogateescape")
    return marshal.dumps(compile(source, name, "exec"))


def test_stand_ins_are_drawn() -> None:
    """Each time another one, of the form that is looked for."""
    drawn = {new_stand_in() for _ in range(100)}
    assert len(drawn) == 100
    assert {(32, True)} == {(len(each), each.isalnum()) for each in drawn}
