"""Which sources of a standard library are broken on purpose."""

from __future__ import annotations

import pytest

from pyctrigger.interpreter.broken import is_broken_on_purpose


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("test/bad_coding.py", True),
        ("test/bad_coding2.py", True),
        ("test/badsyntax_future3.py", True),
        ("test/test_import/badsyntax/lazy.py", True),
        ("lib2to3/tests/data/py2_test_grammar.py", True),
        ("test/test_lib2to3/data/bom.py", True),
        ("lib2to3/tests/test_parser.py", False),
        ("test/data/bom.py", False),
        ("bad.py", False),
        ("", False),
    ],
)
def test_what_pythons_installation_leaves_out(path: str, expected: bool) -> None:
    """By name or directory, as its makefile has it."""
    assert expected is is_broken_on_purpose(path)
