"""A hook's line is read without argparse: as the parser reads it, or not at all."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environment import CHECKOUT
from pyctrigger.cli.commands import find_verb
from pyctrigger.cli.hook_line import read_hook_line
from pyctrigger.cli.options import options_of
from pyctrigger.cli.parser import parse_options
from pyctrigger.run.scope.settings import BOOLEAN, HOW_OFTEN

#: What a template's line may have, by what stands for it there.
FILLED = {"@PYTHON@": "3.11", "@EVENT@": "install", '"$@"': "/usr/lib/a '/usr/lib/b c'"}


def template_lines() -> list[str]:
    """The lines of all templates that are a command, with something in each place."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "hooks").glob("*/*"))]
    lines = {line.rstrip() for text in texts for line in re.findall(r"@PROGRAM@ (run [^|;\n]*)", text)}
    for placeholder, value in FILLED.items():
        lines = {line.replace(placeholder, value) for line in lines}
    return sorted(lines)


@pytest.mark.parametrize(
    "line",
    [
        *template_lines(),
        "run --hook --python 3.11 --manager pkg --proof /var/run/list --null --paths-from /var/run/list",  # from Lua
        "run --hook --python 3.11 --",
        "run --hook",
        "run -q --python 3.11 --site-dir /a --hook /b",
        "run --hook ''",
        "run --hook a '' b",
        "run --hook --python 3.11 --python=pypy3.11 --exclude '*/a' --exclude '*/b'",
        "run --hook -q --stdlib --stateless --json --no-progress --color=never",
        "run --hook --root=. --site-dir relative --optimize 2,0 --invalidation-mode checked-hash --paths-from=-",
        "run --hook --jobs 4 --lock-timeout 1.5 --source-date-epoch 0 --pycache-prefix relative",
    ],
)
def test_a_plain_line_is_read_as_the_parser_reads_it(line: str) -> None:
    """Every line that a template has is plain."""
    options = read_hook_line(shlex.split(line))

    assert options is not None
    assert vars(parse_options(shlex.split(line))) == vars(options)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "run",
        "run --python 3.11",
        "run --python --hook",
        "run -- --hook",
        "--hook run",
        "repair --hook",
        "unknown --hook",
        "run --hook --hook",
        "run --hook --hoo",
        "run --hook --manage dpkg",
        "run --hook --unknown",
        "run --hook --unwanted",  # sweep has it
        "run --hook --help",
        "run --hook -h",
        "run --hook --version",
        "run --hook -v",
        "run --hook -v 1",
        "run --hook --verbose=1",
        "run --hook --verbose",
        "run --hook -qv",
        "run --hook -q=x",
        "run --hook --null=x",
        "run --hook --null=",
        "run --hook --python",
        "run --hook --python ''",
        "run --hook --python=",
        "run --hook --python --null",
        "run --hook --python -1",
        "run --hook --python=-x",
        "run --hook --python -- x",
        "run --hook --manager yum",
        "run --hook --manager dpkg --manager dpkg",
        "run --hook --manager dpkg --manager rpm",
        "run --hook --event remove --event install",
        "run --hook --optimize 3",
        "run --hook --jobs many",
        "run --hook a --null",
        "run --hook a --",
        "run --hook a -- b",
        "run --hook -",
        "run --hook -1",
        "run --hook '-a b'",
        "run --hook -- a -- b",
        "run --hook -- --null",
    ],
)
def test_any_other_line_is_left_to_the_parser(line: str) -> None:
    """It alone says what is wrong, and means what it means today."""
    assert read_hook_line(shlex.split(line)) is None


SETTINGS = [setting for _, setting in options_of("run", find_verb("run"))]
FLAGS = [flag for setting in SETTINGS for flag in setting.names if flag.startswith("-")]
VALUES = [choice for setting in SETTINGS for choice in setting.kind.choices] + [
    "0",
    "0,1",
    "3.11",
    "/a",
    "a b",
    "-",
    "",
]
WORDS = st.sampled_from([*FLAGS, *VALUES, "--", "-x", "--hoo", "--version", "--color=x", "--help"])
#: An option with a value, mostly of its own kind.
VALUED = st.one_of(
    st.sampled_from(
        [
            (flag, value)
            for setting in SETTINGS
            for flag in setting.names
            if flag.startswith("-") and setting.kind not in (BOOLEAN, HOW_OFTEN)
            for value in setting.kind.choices or ("0", "/a")
        ]
    ),
    st.tuples(st.sampled_from(FLAGS), st.sampled_from(VALUES)),
)
SWITCHES = [setting.names[-1] for setting in SETTINGS if setting.kind is BOOLEAN]
PIECES = st.one_of(
    st.sampled_from(SWITCHES).map(lambda flag: [flag]),
    VALUED.map(list),
    VALUED.map(lambda pair: ["=".join(pair)]),
)
#: Most drawn lines are nearly plain.
LINES = st.one_of(
    st.lists(WORDS, max_size=6),
    st.builds(
        lambda pieces, paths: [*(word for piece in pieces for word in piece), *paths],
        st.lists(PIECES, max_size=6),
        st.lists(st.sampled_from(["--", "/a", "b", "", "-", "-c"]), max_size=3),
    ),
)


@settings(max_examples=1000)
@given(LINES)
def test_what_is_read_is_what_the_parser_reads(words: list[str]) -> None:
    """Of any words; the parser takes every line that is read without it."""
    options = read_hook_line(["run", "--hook", *words])

    if options is not None:
        assert vars(parse_options(["run", "--hook", *words])) == vars(options)


def test_a_plain_line_needs_no_parser() -> None:
    """Nor what it imports: gettext, locale, warnings."""
    program = "import sys; from pyctrigger.cli.call import parse; parse(['run', '--hook']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert "pyctrigger.cli.hook_line" in loaded
    assert {"argparse", "gettext", "pyctrigger.cli.parser"}.isdisjoint(loaded)
