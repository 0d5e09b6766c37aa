"""Sources of the standard library that are broken on purpose: its own tests read them, and nobody imports them.

Source: what CPython's installation leaves out of its compilation, `compileall -x` in Makefile.pre.in. Up to 3.11 that
is `bad_coding|badsyntax|site-packages|lib2to3/tests/data`; 3.12 has `test/test_lib2to3/data` for the last, and 3.13 to
3.15 have neither. PyPy's library is CPython's of the same version; distributions compile it with CPython's pattern.
"""

from __future__ import annotations

import re

_BROKEN = re.compile(r"bad_coding|badsyntax|lib2to3/tests/data/|test/test_lib2to3/data/")
#: Why such a source is left out.
BROKEN_ON_PURPOSE = "broken on purpose, for the standard library's own tests; Python's installation leaves it out, too"


def is_broken_on_purpose(path: str) -> bool:
    """Whether a source is one of them, by its path inside the directory of a standard library."""
    return _BROKEN.search(path) is not None
