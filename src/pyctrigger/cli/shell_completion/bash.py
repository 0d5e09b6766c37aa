"""The script for bash (4 or later), which needs no bash-completion (bash(1), Programmable Completion)."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from .grammar import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .grammar import Grammar, Option, Value, Verb

#: `@…@` are the parts that come from the parser.
_SCRIPT = r"""# Completion for bash; made by: @PROGRAM@ completion bash

# The words of $1 that begin with what has been typed.
_@NAME@_words() {
    local IFS=$' \t\n'
    COMPREPLY+=($(compgen -W "$1" -- "$cur"))
}

# Readline's own way with names of files knows all of their characters.
_@NAME@_files() {
    compopt -o default 2>/dev/null || COMPREPLY=($(IFS=$'\n'; compgen -f -- "$cur"))
}

_@NAME@_directories() {
    compopt -o dirnames 2>/dev/null || COMPREPLY=($(IFS=$'\n'; compgen -d -- "$cur"))
}

# The interpreters that are there, by their names alone; or the path of one.
_@NAME@_flavours() {
    local at path name found=
    case $cur in
        */* | '~'*) _@NAME@_files; return ;;
    esac
    for at in @DIRECTORIES@; do
        for path in $(compgen -G "$at/python3.*"; compgen -G "$at/pypy3.*"); do
            name=${path##*/}
            name=${name#python}
            case ${name#pypy} in
                3.*[!0-9t]* | 3.) continue ;;
            esac
            [[ -x $path && "$found " != *" $name "* ]] && found+=" $name"
        done
    done
    _@NAME@_words "$found"
}

# What follows the option $2 of the verb $1; fails if nothing does.
_@NAME@_value() {
    case $1:$2 in
@VALUES@
        *) return 1 ;;
    esac
}

_@NAME@() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]-} index word previous= number=0 only= seen=' '
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        case $cur in
            -*) _@NAME@_words '@OPTIONS@' ;;
            *) _@NAME@_words '@VERBS@' ;;
        esac
        return
    fi
    # Bash cuts `--name=value` into three words.
    for ((index = 2; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $word == = && -n $previous ]]; then
            continue
        elif [[ -n $previous ]]; then
            previous=
        elif [[ -z $only && $word == -- ]]; then
            only=yes
        elif [[ -z $only && $word == -?* ]]; then
            seen+="$word "
            _@NAME@_takes "$verb" "$word" && previous=$word
        else
            ((number += 1))
        fi
    done
    if [[ -n $previous ]]; then
        [[ $cur == = ]] && cur=
        _@NAME@_value "$verb" "$previous"
    elif [[ -z $only && $cur == -* ]]; then
        _@NAME@_options "$verb"
    else
        _@NAME@_argument "$verb" "$number"
    fi
}

# Whether the option $2 of the verb $1 has a value.
_@NAME@_takes() {
    case $1:$2 in
@TAKES@
        *) return 1 ;;
    esac
}

# The options of the verb $1, but those that have been given and count once.
_@NAME@_options() {
    local once= often= word left=
    case $1 in
@LISTS@
    esac
    for word in $once; do
        [[ $seen == *" $word "* ]] || left+=" $word"
    done
    _@NAME@_words "$left $often"
}

# What stands by itself: the argument number $2 of the verb $1, counted from 0.
_@NAME@_argument() {
    case $1:$2 in
@ARGUMENTS@
    esac
}

complete -F _@NAME@ @PROGRAM@
"""


def script(grammar: Grammar) -> str:
    """The script."""
    name = grammar.program.replace("-", "_")
    words = {
        "NAME": name,
        "PROGRAM": grammar.program,
        "DIRECTORIES": " ".join(map(quote, grammar.directories)),
        "OPTIONS": " ".join(each for option in grammar.options for each in option.names),
        "VERBS": " ".join(verb.name for verb in grammar.verbs),
        "VALUES": "\n".join(_values(grammar, name)),
        "TAKES": "\n".join(_takes(grammar)),
        "LISTS": "\n".join(_lists(verb) for verb in grammar.verbs),
        "ARGUMENTS": "\n".join(_arguments(grammar, name)),
    }
    text = _SCRIPT
    for word, meaning in words.items():
        text = text.replace(f"@{word}@", meaning)
    return text


def _patterns(verb: Verb, option: Option) -> str:
    return " | ".join(f"{verb.name}:{each}" for each in option.names)


def _values(grammar: Grammar, name: str) -> Iterator[str]:
    """A line for each kind of value, with all options that take it."""
    patterns: dict[str, list[str]] = {}
    for verb in grammar.verbs:
        for option in verb.options:
            if option.value is not None:
                patterns.setdefault(_offer(option.value, name), []).append(_patterns(verb, option))
    for offer, alike in patterns.items():
        yield f"        {_joined(alike)}) {offer} ;;"


def _joined(patterns: list[str]) -> str:
    return " | \\\n            ".join(patterns)


def _takes(grammar: Grammar) -> Iterator[str]:
    for verb in grammar.verbs:
        patterns = [_patterns(verb, option) for option in verb.options if option.value is not None]
        if patterns:
            yield f"        {_joined(patterns)}) ;;"


def _lists(verb: Verb) -> str:
    once = " ".join(each for option in verb.options if not option.repeats for each in option.names)
    often = " ".join(each for option in verb.options if option.repeats for each in option.names)
    return f"        {verb.name}) once='{once}' often='{often}' ;;"


def _arguments(grammar: Grammar, name: str) -> Iterator[str]:
    for verb in grammar.verbs:
        for number, value in enumerate(verb.values):
            yield f"        {verb.name}:{'*' if value.repeats else number}) {_offer(value, name)} ;;"


def _offer(value: Value, name: str) -> str:
    if value.kind is Kind.WORDS:
        return f"_{name}_words '{' '.join(value.words)}'"
    return ":" if value.kind is Kind.UNKNOWN else f"_{name}_{value.kind.value}"
