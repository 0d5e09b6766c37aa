"""The picture of the packages: each on a floor above all that it imports, drawn from the imports.

`python tests/bench/house.py docs/packages.svg` draws it again; `... --figures src/pyctrigger` counts what stands in
docs/design.md, for any checkout.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = Path(__file__).resolve().parents[2] / "src/pyctrigger"
TITLE = "The packages of pyctrigger"
_EXPLANATION = "A package imports only from those below it. Below each name: how many modules it has."
#: What the package shows and starts with: it's on no floor.
_DOORS = {"", "__main__"}
#: Packages whose folders are packages of their own, with walls between them.
_DIVIDED = {"cli", "inspect", "run"}
#: Single modules at the bottom, which import nothing of ours.
_FOUNDATION = "errors and other single modules"

_FRAME = 'rx="4" fill="#eef3f8" stroke="#b9c0c7"'
_WIDTH, _LEFT, _TOP, _STEP, _BOX, _GAP = 900, 20, 74, 66, 40, 14


class Import(NamedTuple):
    """One import statement's goal."""

    line: int
    module: str
    """The absolute name."""


def sources(package: Path) -> list[Path]:
    """Every source of the package."""
    return sorted(package.rglob("*.py"))


def imports(path: Path, package: Path) -> Iterator[Import]:
    """Every import of a file: at the top, inside functions, and under TYPE_CHECKING."""
    name = ("pyctrigger", *path.relative_to(package).with_suffix("").parts)
    inside = name[:-1]  # `__init__` stands in its package as every other file does
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: len(inside) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield Import(node.lineno, f"{module}.{alias.name}")


def module_of(path: Path, package: Path) -> str:
    """The dotted name below the package; that of a folder for its `__init__`."""
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def goals_of_modules(package: Path) -> dict[str, set[str]]:
    """Of each module those of ours that it imports from: at the top, inside functions, and for types only."""
    goals: dict[str, set[str]] = {module_of(path, package): set() for path in sources(package)}
    for path in sources(package):
        for goal in imports(path, package):
            top, *rest = goal.module.split(".")
            named = [".".join(rest[:length]) for length in range(len(rest), 0, -1)] if top == "pyctrigger" else []
            module = next((each for each in named if each in goals), None)
            if module:
                goals[module_of(path, package)].add(module)
    return goals


def package_of(name: str) -> str:
    """Returns the package that a module is drawn in."""
    parts = name.split(".") if PACKAGE.joinpath(*name.split(".")).is_dir() else name.split(".")[:-1]
    return "/".join(parts[: 2 if parts[0] in _DIVIDED else 1]) if parts else _FOUNDATION


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Returns the floor of each package: one above the highest of those that it imports.

    Raises ValueError for a circle.
    """
    below: dict[str, set[str]] = {}
    for name, goals in graph.items():
        if name not in _DOORS:
            package = package_of(name)
            below.setdefault(package, set()).update(package_of(goal) for goal in goals - _DOORS)
            below[package].discard(package)
    found: dict[str, int] = {}

    def floor(package: str, way: tuple[str, ...]) -> int:
        if package in way:
            raise ValueError(f"a circle: {' > '.join((*way, package))}")
        if package not in found:
            found[package] = max((floor(each, (*way, package)) + 1 for each in below[package]), default=0)
        return found[package]

    for package in below:
        floor(package, ())
    return found


def draw(graph: Mapping[str, set[str]]) -> str:
    """Returns an SVG with a box for each package, the highest floor on top."""
    levels = floors(graph)
    rows: dict[int, list[str]] = {}
    for name, level in levels.items():
        rows.setdefault(level, []).append(name)
    height = _TOP + _STEP * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="13" fill="#1f2328">',
        f"<title>{TITLE}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="18" font-weight="bold">{TITLE}</text>',
        f'<text x="16" y="50" fill="#59636e">{_EXPLANATION}</text>',
    ]
    for row, level in enumerate(sorted(rows, reverse=True)):
        names = sorted(rows[level])
        width = (_WIDTH - 2 * _LEFT - _GAP * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            x, y = _LEFT + place * (width + _GAP), _TOP + row * _STEP
            count = sum(module not in _DOORS and package_of(module) == name for module in graph)
            middle = f'x="{x + width / 2:.0f}" text-anchor="middle"'
            text = f"{count} module{'s' if count > 1 else ''}"
            lines += [
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_BOX}" {_FRAME}/>',
                f'<text {middle} y="{y + 17}" font-weight="bold">{escape(name)}</text>',
                f'<text {middle} y="{y + 33}" font-size="11" fill="#59636e">{text}</text>',
            ]
    return "\n".join([*lines, "</g>", "</svg>", ""])


def circles(goals: dict[str, set[str]]) -> list[set[str]]:
    """The modules that import each other, whichever way round."""

    def reached(module: str) -> set[str]:
        found: set[str] = set()
        waiting = [module]
        while waiting:
            more = goals[waiting.pop()] - found
            found |= more
            waiting += more
        return found

    below = {module: reached(module) for module in goals}
    together = ({other for other in below[module] if module in below[other]} for module in goals)
    return [set(each) for each in {frozenset(each) for each in together if each}]


def names_of_two_meanings(package: Path) -> tuple[set[str], set[str]]:
    """The names that several public classes have, and several modules.

    What the target runs speaks of the same things as its other end. A verb's module in `cli/commands` is named as the
    verb, as is what does its work.
    """
    classes: list[str] = []
    modules: list[str] = []
    for path in sources(package):
        parts = path.relative_to(package).with_suffix("").parts
        if "remote" in parts:
            continue
        classes += [node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.ClassDef)]
        modules += [parts[-1]] if parts[-1] not in {"__init__", "__main__"} and parts[:2] != ("cli", "commands") else []
    public = {name for name in classes if not name.startswith("_")}
    return {name for name in public if classes.count(name) > 1}, {name for name in modules if modules.count(name) > 1}


def lines_of_code(path: Path) -> int:
    """How many lines have code on them: no blanks, no comments, no docstrings."""
    without_code = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    without_code |= {tokenize.ENCODING, tokenize.ENDMARKER}
    with path.open("rb") as file:
        tokens = [each for each in tokenize.tokenize(file.readline) if each.type not in without_code]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_bytes())):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else []:
            text = each.value if isinstance(each, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                lines.difference_update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(lines)


def figures(package: Path) -> dict[str, int | float]:
    """What docs/design.md tells of the house before and after."""
    files, goals = sources(package), goals_of_modules(package)
    folders = [path.parent for path in files]
    classes, modules = names_of_two_meanings(package)
    code = [lines_of_code(path) for path in files]
    return {
        "files": len(files),
        "lines of code": sum(code),
        "lines of code of a file, median": statistics.median(each for each in code if each),
        "files in a folder, at most": max(map(folders.count, folders)),
        "modules that a module imports from, at most": max(map(len, goals.values())),
        "modules that import from more than 15": sum(len(each) > 15 for each in goals.values()),
        "modules that import each other": sum(map(len, circles(goals))),
        "names of several classes": len(classes),
        "names of several modules": len(modules),
    }


if __name__ == "__main__":
    if sys.argv[1] == "--figures":
        print(*(f"{name}: {value:,}" for name, value in figures(Path(sys.argv[2])).items()), sep="\n")
        sys.exit()
    Path(sys.argv[1]).write_text(draw(goals_of_modules(PACKAGE)), encoding="utf-8")
