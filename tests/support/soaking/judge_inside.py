"""Judges a site directory from inside of a target: would `import` take each pyc as it is, and is it right to?

Runs on 3.6 and on PyPy, with the standard library alone, and imports nothing of ours. A question is one line on
standard input, a site directory in hexadecimal digits; the answer is one line of JSON.
"""

import importlib.util
import io
import json
import marshal
import os
import re
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

TAG = sys.implementation.cache_tag.encode()
PYC = re.compile(rb"(.+)\." + re.escape(TAG) + rb"(?:\.opt-[0-9a-z]+)?\.pyc\Z", re.DOTALL)
HEADER = 12 if sys.version_info < (3, 7) else 16
CODE = type(compile("", "", "exec"))
LINES = "co_linetable" if hasattr(CODE, "co_linetable") else "co_lnotab"
#: What was judged before: a source's bytes and a pyc's, with the verdict on its body.
known = {}  # type: dict[tuple[bytes, bytes, bytes], str]


class Importer(SourceFileLoader):
    """Imports as ever, but writes nothing, and says whether it had to compile."""

    compiled = False

    def source_to_code(self, data: Any, path: Any, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        self.compiled = True
        return SourceFileLoader.source_to_code(self, data, path, *more, **options)

    def _cache_bytecode(self, source_path: str, bytecode_path: str, data: bytes) -> None:
        pass

    def set_data(self, path: str, data: Any, **options: Any) -> None:
        pass


def judge(top: bytes) -> "tuple[list[tuple[str, bytes]], int]":
    """Findings, each with a kind and a path below `top`; and how many sources have a correct pyc."""
    findings = []  # type: list[tuple[str, bytes]]
    good = 0
    for directory, directories, names in os.walk(top):
        if os.path.basename(directory) == b"__pycache__":
            del directories[:]
            findings += [("orphan", os.path.join(directory, name)) for name in names if is_orphan(directory, name)]
            continue
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(b".py") and name != b".py" and os.path.isfile(path) and not os.path.islink(path):
                verdict = judge_source(path)
                good += verdict == "good"
                if verdict not in ("good", "never"):
                    findings.append((verdict, path))
    return findings, good


def is_orphan(directory: bytes, name: bytes) -> bool:
    """Whether a name in a `__pycache__` is a pyc of this interpreter's without a source."""
    found = PYC.match(name)
    return found is not None and not os.path.isfile(os.path.join(os.path.dirname(directory), found.group(1) + b".py"))


def judge_source(path: bytes) -> str:
    """`good`; `never` for a source that can't be compiled; else what is wrong with its pyc."""
    text = os.fsdecode(path)
    importer = Importer("judged", text)
    try:
        code = importer.get_code("judged")
    except Exception as error:  # noqa: BLE001 - whatever a compiler says
        # Of what can't be compiled there must be no pyc that import takes; and what it takes it must be able to load.
        return "never" if importer.compiled else f"torn: {type(error).__name__}"
    with open(path, "rb") as file:
        source = file.read()
    try:
        expected = compile(source, text, "exec", dont_inherit=True)
    except Exception as error:  # noqa: BLE001 - whatever a compiler says
        return f"code of a source that can't be compiled: {type(error).__name__}"
    pyc = importlib.util.cache_from_source(text)
    if importer.compiled:
        return "stale" if os.path.lexists(pyc) else "missing"
    with open(pyc, "rb") as file:
        data = file.read()
    key = (path, source, data[HEADER:])
    if key not in known:
        known[key] = judge_body(data, code, expected)
    return known[key]


def judge_body(data: bytes, code: Any, expected: Any) -> str:
    """Whether a body is the code of the source, the name of the file included, and ends where it should."""
    stream = io.BytesIO(data)
    stream.seek(HEADER)
    stored = marshal.load(stream)
    if stream.read():
        return "more behind the code"
    for found in (stored, code):
        difference = compare(found, expected)
        if difference:
            return difference
    return "good"


def compare(found: Any, expected: Any) -> str:
    """What is different between two code objects, "" for nothing."""
    if found != expected:
        return "other code"
    for attribute in ("co_filename", "co_name", "co_firstlineno", LINES, "co_names", "co_varnames", "co_flags"):
        if getattr(found, attribute) != getattr(expected, attribute):
            return f"other {attribute}"
    ours, theirs = ([each for each in code.co_consts if isinstance(each, CODE)] for code in (found, expected))
    return next(filter(None, map(compare, ours, theirs)), "")


def main() -> None:
    sys.dont_write_bytecode = True
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        findings, good = judge(bytes.fromhex(line.strip()))
        said = [[kind, path.hex()] for kind, path in findings]
        sys.stdout.write(json.dumps({"findings": said, "good": good}) + "\n")
        sys.stdout.flush()


main()
