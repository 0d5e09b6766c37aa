"""The commands in the documents: each fenced block, where to run it, and what it should print.

The words after the fence say what a block is and where it belongs, such as `console debian`; see `KINDS`. A block
that is none of them is an error, so that nothing can be written that looks like a command and is never tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from environment import CHECKOUT

DOCS = CHECKOUT / "docs"
#: Made from the parser and the configuration's schema, with tests of their own; and the words that they are made of.
GENERATED = (DOCS / "reference", DOCS / "prose")

#: What a block may be.
KINDS = {
    "console": "commands behind `# ` (root) or `$ ` (anybody), each followed by what it prints",
    "sh": "commands without a prompt, one a line; what they print isn't told",
    "file": "what is written to the path behind the place",
    "dockerfile": "its RUN instructions are commands of root's",
    "shown": "no command: a table, a tree, a line of a log",
}

_FENCE = re.compile(r"(?P<indent> *)```(?P<info>.*)")
_SPAN = re.compile(r"(?<!`)`(?P<code>[^`\n]+)`(?!`)")
_RUN = re.compile(r"^RUN +((?:.*\\\n)*.*)$", re.MULTILINE)
#: A line of output that stands for any number of lines.
ELLIPSIS = "..."
_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([+-]\d\d:?\d\d|Z)?"), "<moment>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|min|h|d|[KMG]i?B|kB|B|bytes)\b"), "<size>"),
    (re.compile(r"-[0-9a-f]{8}\b"), "-<id>"),
    (re.compile(r"\b(pyctrigger[ _(-]+)\d+\.\d+\.\d+"), r"\1<version>"),
    (re.compile(r"\b3\.(\d+)\.\d+\b"), r"3.\1.<patch>"),
    (re.compile(r"\bprocess \d+"), "process <pid>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    # How many sources a package has, its next release says otherwise.
    (re.compile(r"\b\d[\d,]+(?= (compiled|refreshed|fresh|removed|skipped|findings|directories)\b)"), "<many>"),
    (re.compile(r"\b\d{5,}(\.\d+)?(e[+-]\d+)?\b"), "<number>"),
)


class BadDocument(Exception):
    """A block that no test would run: which one, and why."""


@dataclass
class Step:
    """A command, and what the page says that it prints."""

    line: int
    """Of the page, from 1: the last one of the command."""
    command: str
    as_root: bool = True
    expected: list[str] | None = field(default_factory=list)
    """None where the page doesn't tell."""


@dataclass(frozen=True)
class Block:
    """The text between two fences."""

    page: Path
    line: int
    kind: str
    place: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"

    def steps(self) -> list[Step]:
        """The commands in it. Raises BadDocument."""
        if self.kind == "console":
            return self._conversation()
        if self.kind == "sh":
            lines = enumerate(self.text.splitlines(), self.line + 1)
            return [Step(number, line, True, None) for number, line in lines if line and not line.startswith("#")]
        if self.kind == "dockerfile":
            return [Step(self.line, found.replace("\\\n", " "), True, None) for found in _RUN.findall(self.text)]
        return []

    def _conversation(self) -> list[Step]:
        steps: list[Step] = []
        for number, line in enumerate(self.text.splitlines(), self.line + 1):
            if line[:2] in ("# ", "$ "):
                steps.append(Step(number, line[2:], line.startswith("#")))
            elif not steps:
                raise BadDocument(f"{self}: begins with what is no command: {line!r}")
            elif line.startswith("> ") and not steps[-1].expected:
                steps[-1].command += "\n" + line[2:]
                steps[-1].line = number
            else:
                expected = steps[-1].expected
                assert expected is not None
                expected.append(line)
        return steps


def pages() -> list[Path]:
    """Every page that people write."""
    found = [CHECKOUT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in found if not is_generated(page)]


def is_generated(path: Path) -> bool:
    """Whether it is, or is inside, something that isn't a page."""
    return not {path, *path.parents}.isdisjoint(GENERATED)


def examples() -> list[tuple[str, str]]:
    """The commands in the reference, with their places."""
    found = []
    for page in sorted(GENERATED[0].rglob("*.md")):
        for text in re.findall(r"^```console$\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            joined = text.replace("\\\n", " ")
            found += [(str(page.relative_to(CHECKOUT)), line) for line in joined.splitlines()]
    return found


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order. Raises BadDocument for one that no kind fits."""
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.fullmatch(line)
        if not fence:
            lines.append(line)
            _refuse_other_blocks(page, number, line, opened is not None)
        elif opened is None:
            if fence["indent"] or fence["info"].startswith("`"):
                raise BadDocument(f"{page}:{number}: a fence is three backticks at the start of a line")
            opened, lines = (number, fence["info"]), []
        else:
            found.append(_block(page, *opened, "".join(f"{each}\n" for each in lines)))
            opened = None
    if opened is not None:
        raise BadDocument(f"{page}:{opened[0]}: no fence ends it")
    return found


def _refuse_other_blocks(page: Path, number: int, line: str, inside: bool) -> None:
    """Markdown has other ways to show code, which would be missed here."""
    if inside:
        return
    if line.lstrip().startswith("~~~") or "<pre" in line or "<code" in line:
        raise BadDocument(f"{page}:{number}: code stands between fences of backticks")
    if re.match(r" {4,}|\t", line) or re.match(r" *(>|[-*+]|\d+\.) +```", line):
        raise BadDocument(f"{page}:{number}: code is neither indented nor part of a list or a quotation")


def _block(page: Path, line: int, info: str, text: str) -> Block:
    words = info.split()
    place = words[1] if len(words) > 1 else ""
    where = f"{page}:{line}"
    if words[:2] == ["text", "shown"] and len(words) == 2:
        if re.search(r"^(?:[#$] |RUN |pyctrigger )", text, re.MULTILINE):
            raise BadDocument(f"{where}: is shown only, and has a command in it")
        return Block(page, line, "shown", "", "", text)
    if words[:1] in (["console"], ["sh"]) and len(words) == 2:
        return Block(page, line, words[0], place, "", text)
    if words[:1] == ["dockerfile"] and len(words) == 2:
        return Block(page, line, "dockerfile", place, "", text)
    if len(words) == 3 and words[2].startswith("/"):
        return Block(page, line, "file", place, words[2], text)
    raise BadDocument(f"{where}: ```{info} is none of: {', '.join(KINDS)}, with a place")


def spans(page: Path) -> list[tuple[int, str]]:
    """The pieces of code within sentences and tables, with their lines."""
    found = []
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.fullmatch(line):
            inside = not inside
        elif not inside:
            found += [(number, match["code"]) for match in _SPAN.finditer(line)]
    return found


def masked(line: str) -> str:
    """A line of output without what differs from day to day and from machine to machine; columns may be as wide as
    they like.
    """
    for pattern, word in _MASKS:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def agrees(expected: list[str], printed: str) -> bool:
    """Whether this was printed, as far as the page shows."""
    said = [masked(line) for line in printed.splitlines()]
    wanted = [masked(line) for line in expected]
    return _agree([each for each in wanted if each], [each for each in said if each])


def _agree(wanted: list[str], said: list[str]) -> bool:
    if not wanted:
        return not said
    if wanted[0] == ELLIPSIS:
        return any(_agree(wanted[1:], said[start:]) for start in range(len(said) + 1))
    return bool(said) and _fits(wanted[0], said[0]) and _agree(wanted[1:], said[1:])


def _fits(wanted: str, said: str) -> bool:
    """`...` within a line matches any part of it."""
    return bool(re.fullmatch(".*".join(map(re.escape, wanted.split(ELLIPSIS))), said))


def with_output(page: Path, outputs: dict[int, str]) -> str:
    """The page with other output below the commands in these lines: for who writes it."""
    lines: list[str] = []
    skipping = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line[:2] in ("# ", "$ ") or line.startswith("```"):
            skipping = False
        if not skipping or line.startswith("> "):
            lines.append(line)
        if number in outputs:
            skipping = True
            lines += outputs[number].splitlines()
    return "\n".join([*lines, ""])
