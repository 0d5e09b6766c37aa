"""A package of the model: its files, release after release, drawn from a random generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

NAMES = tuple(f"pkg{number:02}" for number in range(14))

#: Modules that can be imported, and names that only a compiler meets.
_PLAIN = tuple(f"m{number}" for number in range(9))
_ODD = (
    b"with space",
    b"line\nbreak",
    b"-dash",
    b"*",
    b"quote'\"",
    b"byte\xff",
    b"\xe9t\xe9",
    "re\u0301sume\u0301".encode(),
    b"two.dots",
    b"l" * 180,
    b"%s",
)
_NEVER = b"def broken(:\n    pass\n"
#: Each with what some of the interpreters don't accept.
_SOMETIMES = (
    b"if (found := 1000):\n    pass\n",
    b"def positional(one, /):\n    return one\n",
    b"match 1:\n    case 1:\n        pass\n",
    b"type Alias = int\n",
    b"async = 1\n",
    b"print 'two'\n",
)
_SECOND = 1_000_000_000
#: As archives with clamped times have it.
_CLAMPED = 1_000_000_000 * _SECOND


class File(NamedTuple):
    """A file as its package has it."""

    data: bytes
    mtime: int
    """Nanoseconds since the epoch."""


Files = dict[bytes, File]


def release(chance: random.Random, name: str) -> Files:
    """A release of a package: a module, a package, a namespace package, or one with packages inside."""
    mtime = _draw_mtime(chance)
    kind = chance.choices(("module", "package", "namespace", "nested"), (1, 5, 1, 3))[0]
    top = name.encode()
    if kind == "module":
        return {top + b".py": File(_draw_source(chance, name), mtime)}
    directories = [top]
    if kind == "nested":
        directories += [top + b"/inner", top + b"/inner/deep", top + b"/other"][: chance.randint(1, 3)]
    files: Files = {}
    for directory in directories:
        if kind != "namespace":
            files[directory + b"/__init__.py"] = File(_draw_source(chance, name), mtime)
        for module in chance.sample(_PLAIN, chance.randint(1, 4)):
            files[directory + b"/" + module.encode() + b".py"] = File(_draw_source(chance, name), mtime)
    if chance.random() < 0.3:
        files[top + b"/" + chance.choice(_ODD) + b".py"] = File(_draw_source(chance, name), mtime)
    if chance.random() < 0.3:
        files[top + b"/data.txt"] = File(b"%d" % chance.randrange(10**6), mtime)
    return files


def next_release(chance: random.Random, name: str, files: Files) -> Files:
    """What a release becomes: some modules with other content, some gone, some new.

    A disguised one has other content at the same sizes and the same times.
    """
    if chance.random() < 0.4:
        changed = chance.sample(sorted(files), chance.randint(1, len(files)))
        return {
            path: File(renumbered(chance, file.data), file.mtime) if path in changed else file
            for path, file in files.items()
        }
    mtime = _draw_mtime(chance)
    fresh = release(chance, name)
    fresh = {path: File(file.data, mtime) for path, file in fresh.items()}
    if chance.random() < 0.25:
        return fresh  # a package that becomes a module, or loses a directory
    kept = {path: File(file.data, mtime) for path, file in files.items() if chance.random() < 0.7}
    return _without_clash({**fresh, **kept}) or fresh


def touched_up(chance: random.Random, files: Files) -> Files:
    """The same content with other times, as a reinstallation has it."""
    mtime = _draw_mtime(chance)
    return {path: File(file.data, mtime) for path, file in files.items()}


def renumbered(chance: random.Random, data: bytes) -> bytes:
    """Other numbers in the same places, now and then such that nothing can be compiled; the same size."""
    head, found, tail = data.rpartition(b"VALUE = ")
    number = b"%d" % _draw_number(chance)
    if chance.random() < 0.1:
        number = b"(" + number[1:]
    return head + found + number + tail[7:] if found else data


def directories_of(files: Files) -> list[bytes]:
    """The immediate parents of files, "" for the site directory."""
    return sorted({path.rpartition(b"/")[0] for path in files})


def _without_clash(files: Files) -> Files:
    """A name is a module or a package, not both."""
    tops = {path.partition(b"/")[0] for path in files if b"/" in path}
    return {path: file for path, file in files.items() if b"/" in path or path[:-3] not in tops}


def _draw_mtime(chance: random.Random) -> int:
    if chance.random() < 0.35:
        return _CLAMPED
    whole = chance.randrange(1_500_000_000, 1_750_000_000) * _SECOND
    return whole if chance.random() < 0.5 else whole + chance.randrange(_SECOND)


def _draw_source(chance: random.Random, name: str) -> bytes:
    value = b"VALUE = %d\n" % _draw_number(chance)
    if chance.random() < 0.03:
        return _NEVER + value
    if chance.random() < 0.06:
        return chance.choice(_SOMETIMES) + value
    if chance.random() < 0.04:
        return b"# coding: latin-1\nTEXT = '\xe9\xff'\n" + value
    if chance.random() < 0.05:
        return b""
    lines = [
        b'"""The module of %s that says %d."""\n' % (name.encode(), _draw_number(chance)),
        value,
        b"def function(argument, *more, key=%d):\n    return [argument + each for each in more if key]\n" % len(name),
        b"class Kind:\n    table = {'a': (1, 2.5, None), 'b': b'%d'}\n" % _draw_number(chance),
        b"def is_one(word):\n    return word in {'one', 'two', 'three', %d}\n" % _draw_number(chance),
    ]
    lines += [b"name_%d = 'text %d'\n" % (line, _draw_number(chance)) for line in range(chance.choice((0, 0, 5, 80)))]
    return b"".join(lines[: chance.randint(2, 5)] + lines[5:])


def _draw_number(chance: random.Random) -> int:
    """A number of seven digits: another one takes the same space."""
    return chance.randrange(1_000_000, 10_000_000)
