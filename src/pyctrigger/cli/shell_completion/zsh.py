"""The script for zsh: the file `_pyctrigger` of a directory in `$fpath`, or for `eval` (zshcompsys(1))."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from .grammar import Kind

if TYPE_CHECKING:
    from .grammar import Grammar, Option, Value, Verb

_SCRIPT = r"""#compdef @PROGRAM@
# Completion for zsh; made by: @PROGRAM@ completion zsh

# The interpreters that are there, by their names alone; or the path of one.
_@NAME@_flavours() {
    local -aU found
    local expl
    if [[ $PREFIX == (*/*|\~*) ]]; then
        _files
    else
        found=(@GLOBS@)
        found=(${found#python})
        _wanted flavours expl flavour compadd -a found
    fi
}

_@NAME@() {
    local curcontext=$curcontext state line ret=1
    local -a verbs
    local -A opt_args
    verbs=(
@VERBS@
    )
    _arguments -C \
@OPTIONS@
        '1:command:->command' \
        '*::argument:->argument' && ret=0
    case $state in
        command) _describe -t commands command verbs && ret=0 ;;
        argument)
            curcontext=${curcontext%:*:*}:@PROGRAM@-$line[1]:
            case $line[1] in
@CASES@
            esac
            ;;
    esac
    return ret
}

if [[ $funcstack[1] == _@NAME@ ]]; then
    _@NAME@ "$@"
else
    compdef _@NAME@ @PROGRAM@
fi
"""


def script(grammar: Grammar) -> str:
    """The script."""
    name = grammar.program.replace("-", "_")
    globs = " ".join(f"{quote(each)}/(python3.<->(|t)|pypy3.<->)(N*:t)" for each in grammar.directories)
    words = {
        "PROGRAM": grammar.program,
        "NAME": name,
        "GLOBS": globs,
        "VERBS": "\n".join(f"        {quote(_colons(verb.name) + ':' + verb.help)}" for verb in grammar.verbs),
        "OPTIONS": "\n".join(f"        {line} \\" for option in grammar.options for line in _option(option, name)),
        "CASES": "\n".join(_case(verb, name) for verb in grammar.verbs),
    }
    text = _SCRIPT
    for word, meaning in words.items():
        text = text.replace(f"@{word}@", meaning)
    return text


def _case(verb: Verb, name: str) -> str:
    specifications = [line for option in verb.options for line in _option(option, name)]
    for number, value in enumerate(verb.values, start=1):
        specifications.append(quote(f"{'*' if value.repeats else number}:{_colons(value.name)}:{_action(value, name)}"))
    indent = " " * 20
    joined = f" \\\n{indent}    ".join(["_arguments -s -S", *specifications])
    return f"                {verb.name})\n{indent}{joined} && ret=0\n{indent};;"


def _option(option: Option, name: str) -> list[str]:
    """One specification for each name: one that repeats begins with a star, else its names exclude each other."""
    if "--help" in option.names or "--version" in option.names:
        before = "(- *)"
    elif option.repeats:
        before = "*"
    else:
        before = f"({' '.join(option.names)})"
    said = option.help.replace("\\", "\\\\").replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    after = ""
    if option.value is not None:
        after = f":{_colons(option.value.name)}:{_action(option.value, name)}"
    return [quote(f"{before}{each}{_equals(each, option)}[{said}]{after}") for each in option.names]


def _equals(name: str, option: Option) -> str:
    if option.value is None:
        return ""
    return "=" if name.startswith("--") else "+"


def _action(value: Value, name: str) -> str:
    if value.kind is Kind.WORDS:
        return f"({' '.join(map(_colons, value.words))})"
    if value.kind is Kind.FILES:
        return "_files"
    if value.kind is Kind.DIRECTORIES:
        return "_files -/"
    return f"_{name}_flavours" if value.kind is Kind.FLAVOURS else " "


def _colons(text: str) -> str:
    return text.replace(":", r"\:")
