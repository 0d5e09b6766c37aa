"""Staged roots: where an interpreter's directories are in there, and whether another one may compile for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from children import in_child
from pyctrigger.errors import InterpreterError, UsageError
from pyctrigger.interpreter.flavour import Flavour
from pyctrigger.run.scope.staged import interpreter_inside, prefixes_with, require_same_magic, staged_directories
from unit.interpreter.made_up import interpreter
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

PY311 = interpreter("3.11", "/usr/bin/python3.11")


def fill(root: Path, *paths: str) -> str:
    """Make files, and directories (by a slash at the end), in a root. Returns its path."""
    for path in paths:
        place = root / path.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(exist_ok=True) if path.endswith("/") else place.touch()
    return str(root)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), []),
        (("usr/bin/python3.11",), ["/usr"]),
        (("usr/bin/python3.12", "bin/python3"), []),
        (("usr/lib/python3.11/os.py",), ["/usr"]),
        (("usr/lib64/python3.11/os.py", "usr/local/bin/python3.11"), ["/usr", "/usr/local"]),
        (("usr/lib/python3.11/site-packages/",), []),
        (("usr/pkg/bin/python3.11", "opt/local/bin/python3.11", "bin/python3.11"), ["/usr/pkg", "/opt/local", ""]),
    ],
)
def test_where_a_root_has_an_interpreter(tmp_path: Path, paths: tuple[str, ...], expected: list[str]) -> None:
    """By its executable, or by its library."""
    assert expected == prefixes_with(PY311, fill(tmp_path, *paths))


def directories(*tops: str) -> tuple[str, ...]:
    """Of packages, below each of these."""
    names = ("python3/dist-packages", "python3.11/site-packages", "python3.11/dist-packages")
    return tuple(f"{top}/{library}/{name}" for top in tops for library in ("lib", "lib64") for name in names)


@pytest.mark.parametrize(
    ("paths", "tops", "library"),
    [
        ((), ("/usr",), ()),
        (("usr/local/bin/python3.11",), ("/usr/local",), ()),
        (("usr/lib/python3.11/",), ("/usr",), ()),
        (("usr/lib/python3.11/encodings/",), ("/usr",), ("/usr/lib/python3.11",)),
        (("usr/lib/python3.11/encodings",), ("/usr",), ()),
        (
            (
                "usr/lib/python3.11/",
                "usr/lib64/python3.11/encodings/",
                "usr/local/lib/python3.11/os.py",
                "usr/bin/python3.11",
            ),
            ("/usr", "/usr/local"),
            ("/usr/lib/python3.11", "/usr/lib64/python3.11", "/usr/local/lib/python3.11"),
        ),
    ],
)
def test_the_directories_of_a_root(
    tmp_path: Path, paths: tuple[str, ...], tops: tuple[str, ...], library: tuple[str, ...]
) -> None:
    """Of packages also those that aren't there yet; of the standard library none, where there is none."""
    found = staged_directories(PY311, fill(tmp_path, *paths))
    assert (directories(*tops), library) == (found.packages, found.library)


MAGIC = b"x\nMAGIC_NUMBER = (%d).to_bytes(2, 'little') + b'\\r\\n'\n"
HOME = "usr/lib/python3.11"
#: Files of a root with their contents, and the magic number that is told where it is another one.
MAGICS: list[tuple[dict[str, bytes], str | None]] = [
    ({}, None),
    ({"etc/x": b""}, None),
    ({f"{HOME}/os.py": b""}, "can't be seen"),
    ({f"{HOME}/importlib/_bootstrap_external.py": MAGIC % 3495}, None),
    ({f"{HOME}/os.py": b"", f"{HOME}/importlib/_bootstrap_external.py": MAGIC % 3495}, None),
    ({f"{HOME}/os.py": b"", f"{HOME}/importlib/_bootstrap_external.py": MAGIC % 3531}, "is cb0d0d0a"),
    ({f"{HOME}/os.py": b"", f"{HOME}/importlib/_bootstrap_external.py": b" " + MAGIC[2:] % 3495}, "can't be seen"),
    ({f"{HOME}/os.py": b"", f"{HOME}/__pycache__/os.cpython-311.pyc": b"\xa7\r\r\n0000"}, None),
    ({f"{HOME}/os.py": b"", f"{HOME}/__pycache__/os.cpython-311.pyc": b"\xa6\r\r\n"}, "is a60d0d0a"),
    ({f"{HOME}/os.py": b"", f"{HOME}/__pycache__/os.cpython-311.pyc": b"\xa6\r\r"}, "can't be seen"),
    ({f"{HOME}/os.py": b"", f"{HOME}/__pycache__/os.cpython-312.pyc": b"\xa6\r\r\n"}, "can't be seen"),
    *(
        ({f"{HOME}/os.py": b"", f"{HOME}/__pycache__/{name}.cpython-311.pyc": b"\xa7\r\r\n0000"}, None)
        for name in ("re", "abc", "io", "stat")
    ),
    (
        {
            f"{HOME}/os.py": b"",
            f"{HOME}/importlib/_bootstrap_external.py": MAGIC % 3495,
            f"{HOME}/__pycache__/os.cpython-311.pyc": b"\xa6\r\r\n",
        },
        None,
    ),
    ({f"{HOME}/os.py": b"", "usr/lib64/python3.11/importlib/_bootstrap_external.py": MAGIC % 3495}, None),
    (
        {
            "usr/lib64/python3.11/importlib/_bootstrap_external.py": MAGIC % 3495,
            "usr/bin/python3.11": b"",
            "usr/local/bin/python3.11": b"",
            "usr/local/lib/python3.11/__pycache__/os.cpython-311.pyc": b"\x61\r\r\n",
        },
        "is 610d0d0a",
    ),
]


@pytest.mark.parametrize(("files", "reason"), MAGICS)
def test_the_magic_number_of_a_root(tmp_path: Path, files: dict[str, bytes], reason: str | None) -> None:
    """By its import system's source, or else its own bytecode; each interpreter there has to have the host's."""
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    if reason is None:
        require_same_magic(PY311, str(tmp_path))
        return
    with pytest.raises(InterpreterError) as caught:
        require_same_magic(PY311, str(tmp_path))
    message = f"the magic number of py311 in {tmp_path} {reason}, that of /usr/bin/python3.11 is a70d0d0a"
    hint = "let the root's own interpreter run with --trust-root"
    assert (message, hint) == (caught.value.message, caught.value.hint)


@pytest.mark.usefixtures("as_root")
def test_the_roots_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first by its name, or the one at a path as seen inside; whatever isn't there is told."""
    machine = Machine(tmp_path, monkeypatch)
    root, top = tmp_path / "link", f"{tmp_path}/root"
    for path, named in (("usr/local/bin/python3.11", "3.11"), ("bin/python3.11", "3.11"), ("opt/python", "3.12")):
        machine.put(f"root/{path}", named)
    machine.put("root/usr/bin/python3.12", "3.11")
    machine.put("bin/python3", "3.11")
    machine.put("root/usr/bin/python3", "3.10")
    root.symlink_to("root")

    def inside(text: str) -> str:
        try:
            found = interpreter_inside(Flavour.parse(text), str(root), machine.probed)
        except InterpreterError as error:
            return f"{machine.short(error.message)}; {error.hint}"
        assert top == found.root
        return f"{found.flavour} {found.executable}"

    (tmp_path / "root/usr/bin/python3.9").symlink_to("/no")
    none = "; name it with --python PATH, as seen inside"
    assert {
        "3.11": "py311 /usr/local/bin/python3.11",
        "/opt/python": "py312 /opt/python",
        "/no": f"T/link has no /no{none}",
        "3.8": f"T/link has no py38{none}",
        "3.9": "/usr/bin/python3.9 isn't there; name another interpreter with --python PATH",
        "python3": "py310 /usr/bin/python3",
        "3.12": (
            "/usr/bin/python3.12 should be py312, but is py311; "
            "use --python py311, or correct py312's executable in the configuration"
        ),
    } == {text: inside(text) for text in ("3.11", "/opt/python", "/no", "3.8", "3.9", "python3", "3.12")}


@pytest.mark.usefixtures("as_root")
def test_only_root_may_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes chroot(2)."""
    probed = Machine(tmp_path, monkeypatch).probed

    def ask() -> list[str | None]:
        with pytest.raises(UsageError) as caught:
            interpreter_inside(Flavour.parse("3.11"), "/", probed)
        return [caught.value.message, caught.value.hint]

    with pytest.raises(InterpreterError):
        interpreter_inside(Flavour.parse("3.11"), str(tmp_path), probed)
    message = "--trust-root needs root's rights, for chroot(2)"
    assert [message, "run as root, or leave it out"] == in_child(ask, account=12345)
    assert 0 == os.geteuid()
