"""Run by the target: finds the names that a process with py_compile has interned, and others may not have.

Contract: Python 3.6 to 3.15 and PyPy; standard library only. It comes first in its program, as what other files import
doesn't count.

Loading a module interns the qualified names of its nested classes. From 3.13 on compile() doesn't intern an equal one
in a source's code then, and marshal writes it in another way: py_compile has functools loaded, and so writes other
bytes for functools.py than a process that hasn't.
"""

import sys

IS_CONCERNED = sys.implementation.name == "cpython" and sys.version_info >= (3, 13)


def class_names() -> "list[str]":
    """Returns the qualified names of nested classes in all modules that `import py_compile` loads."""
    try:
        import py_compile  # noqa: F401
    except ImportError:
        return []  # this library has no py_compile
    kind, codes, found = type(class_names.__code__), [], set()
    for name, module in list(sys.modules.items()):
        read = getattr(getattr(module, "__loader__", None), "get_code", None)
        if read is not None and name != "__main__":
            try:
                code = read(name)
            except (ImportError, SyntaxError, EnvironmentError):
                continue  # such as os.path, which is another name of posixpath
            codes += [code] if code is not None else []
    for code in codes:  # grows in the loop
        codes += [each for each in code.co_consts if isinstance(each, kind)]
        if "." in code.co_qualname and code.co_qualname in code.co_consts:
            found.add(code.co_qualname)
    return sorted(found)


CLASS_NAMES = class_names() if IS_CONCERNED else []
