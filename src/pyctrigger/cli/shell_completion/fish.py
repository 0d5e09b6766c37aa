"""The script for fish (3.0 or later), a file of a directory in `$fish_complete_path` (complete(1))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .grammar import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .grammar import Grammar, Option, Value

_FUNCTIONS = r"""# Completion for fish; made by: @PROGRAM@ completion fish

# Whether a verb has still to be said.
function __@NAME@_no_verb
    test (count (commandline -opc)) -eq 1
end

# Whether $argv[1] is the verb, and, if there is a second word, as many arguments as that stand behind it: those of
# the options named after it are no arguments.
function __@NAME@_verb
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = $argv[1]; or return
    test (count $argv) -eq 1; and return
    set -l number 0
    set -l skip 0
    for word in $words[3..-1]
        if test $skip -eq 1
            set skip 0
        else if contains -- $word $argv[3..-1]
            set skip 1
        else if not string match -q -- '-*' $word
            set number (math $number + 1)
        end
    end
    test $number -eq $argv[2]
end

# The interpreters that are there, by their names alone; or the path of one.
function __@NAME@_flavours
    if string match -q -- '*/*' (commandline -ct)
        __fish_complete_path (commandline -ct)
        return
    end
    for path in @GLOBS@
        set -l name (string replace -r '.*/(?:python)?' '' -- $path)
        if string match -qr -- '^(pypy)?3\.[0-9]+t?$' $name; and test -x $path
            echo $name
        end
    end
end

complete -c @PROGRAM@ -f
"""


def script(grammar: Grammar) -> str:
    """The script."""
    name = grammar.program.replace("-", "_")
    globs = " ".join(f"{_quoted(each)}/{stem}3.*" for each in grammar.directories for stem in ("python", "pypy"))
    functions = _FUNCTIONS.replace("@NAME@", name).replace("@PROGRAM@", grammar.program).replace("@GLOBS@", globs)
    return functions + "\n".join(_lines(grammar, name)) + "\n"


def _lines(grammar: Grammar, name: str) -> Iterator[str]:
    first = f"complete -c {grammar.program} -n __{name}_no_verb"
    for option in grammar.options:
        yield f"{first}{_names(option)} -d {_quoted(option.help)}"
    for verb in grammar.verbs:
        yield f"{first} -a {verb.name} -d {_quoted(verb.help)}"
    for verb in grammar.verbs:
        start = f"complete -c {grammar.program} -n '__{name}_verb {verb.name}"
        takers = " ".join(each for option in verb.options if option.value for each in option.names)
        for option in verb.options:
            yield f"{start}'{_names(option)}{_offer(option.value, name)} -d {_quoted(option.help)}"
        for number, value in enumerate(verb.values):
            if value.kind is not Kind.UNKNOWN:
                condition = "" if value.repeats else f" {number} {takers}"
                yield f"{start}{condition}'{_argument(value, name)}"


def _names(option: Option) -> str:
    return "".join(f" -l {each[2:]}" if each.startswith("--") else f" -s {each[1:]}" for each in option.names)


def _offer(value: Value | None, name: str) -> str:
    if value is None:
        return ""
    if value.kind is Kind.WORDS:
        return f" -x -a {_quoted(' '.join(value.words))}"
    if value.kind is Kind.FILES:
        return " -r -F"
    if value.kind is Kind.DIRECTORIES:
        return " -x -a '(__fish_complete_directories (commandline -ct))'"
    return f" -x -a '(__{name}_flavours)'" if value.kind is Kind.FLAVOURS else " -x"


def _argument(value: Value, name: str) -> str:
    return " -F" if value.kind is Kind.FILES else _offer(value, name).replace(" -x", "", 1)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
