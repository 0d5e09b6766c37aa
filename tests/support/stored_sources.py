"""Sources for tests of stores: with an assert, with nothing, twice the same, with folded constants and a set."""

from __future__ import annotations

STORED = {
    "m.py": '"""A module."""\nassert __name__\n',
    "p/__init__.py": "",
    "p/a.py": "def f():\n    '''Doc.'''\n    return [lambda: g(i) for i in range(3)]\n",
    "p/b.py": "x = 2.5 ** 0.3, {'a', 'b'}, __file__\n",
    "p/same.py": "def f():\n    '''Doc.'''\n    return [lambda: g(i) for i in range(3)]\n",
}
