"""Sources of the standard library that are broken on purpose: its own tests read them, and nobody imports them.

Source: what CPython's own installation doesn't compile, `compileall -x` of the target `libinstall` in Makefile.pre.in,
as it stands in the Makefiles that 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0, 3.14.10 and 3.15.2
install. All have `bad_coding|badsyntax`, and beside that

- 3.6 to 3.11 `lib2to3/tests/data`,
- 3.12 `test/test_lib2to3/data`, where the same went (gh-93839),
- 3.13 to 3.15 nothing: lib2to3 is gone (gh-104780). 3.15 has a whole directory `badsyntax`, for lazy imports
  (python/cpython pull request 145221), so a directory's name counts, too.

PyPy's library is CPython's of the same version; Gentoo compiles it with CPython's pattern, as Fedora does CPython's.
"""

from __future__ import annotations

import re

_BROKEN = re.compile(r"bad_coding|badsyntax|lib2to3/tests/data|test/test_lib2to3/data")
#: Why such a source is left out.
BROKEN_ON_PURPOSE = "broken on purpose, for the standard library's own tests; Python's installation leaves it out, too"


def is_broken_on_purpose(path: str) -> bool:
    """Whether a source is one of them, by its path inside the directory of a standard library."""
    return _BROKEN.search(path) is not None
