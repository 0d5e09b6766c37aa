"""Sources of the standard library that are broken on purpose: they are test data, and never imported.

Source: what CPython's own installation doesn't compile, `compileall -x` of the target `libinstall` in Makefile.pre.in,
according to the Makefiles that 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0, 3.14.10 and 3.15.2
install. All have `bad_coding|badsyntax`, and in addition

- 3.6 to 3.11 `lib2to3/tests/data`,
- 3.12 `test/test_lib2to3/data`, where the same files were moved (gh-93839),
- 3.13 to 3.15 nothing: lib2to3 is gone (gh-104780). 3.15 has a whole directory `badsyntax`, for lazy imports
  (python/cpython pull request 145221), so a directory's name counts, too.

PyPy has CPython's library of the same version; Gentoo compiles it with CPython's pattern, as Fedora does with
CPython's.
"""

from __future__ import annotations

import re

_BROKEN = re.compile(r"bad_coding|badsyntax|lib2to3/tests/data|test/test_lib2to3/data")
#: The reason for leaving out such a source.
BROKEN_ON_PURPOSE = "broken on purpose, for the standard library's own tests; Python's installation leaves it out, too"


def is_broken_on_purpose(path: str) -> bool:
    """Whether a source, by its path inside the standard library, is broken on purpose."""
    return _BROKEN.search(path) is not None
