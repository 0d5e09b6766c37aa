"""Writes what completes the command line in a shell, `src/pyctrigger/completions`; shtab reads it off the parser.

`nox -s completion` runs it. The files are committed, so that neither a package's build nor a user needs shtab.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import shtab

from pyctrigger.cli.parser import build_parser
from pyctrigger.interpreter.flavour import STANDARD_DIRECTORIES
from pyctrigger.pyc.header import InvalidationMode

CHECKOUT = Path(__file__).resolve().parent.parent.parent
DIRECTORY = "src/pyctrigger/completions"
SHELLS = ("bash", "zsh", "fish")

# What shtab itself offers for files loses names with quotes or spaces, in bash and fish. bash puts in quotes what comes
# from a function with `_file` or `_dir` in its name, for shtab says to it that those are names of files.
_FILES = {"bash": "_pyctrigger_files", "zsh": "_files", "fish": "(__pyctrigger_files)"}
_DIRECTORIES = {"bash": "_pyctrigger_dirs", "zsh": "_files -/", "fish": "(__pyctrigger_files | string match '*/')"}
_FLAVOURS = {"bash": "_pyctrigger_flavours_or_file", "zsh": "_pyctrigger_flavours", "fish": "(__pyctrigger_flavours)"}
#: What a value is, by the name that the help gives to it.
_KINDS = {
    "DIR": _DIRECTORIES,
    "FILE": _FILES,
    "PATH": _FILES,
    "PYC": _FILES,
    "ARCHIVE|DIR": _FILES,
    "V": _FLAVOURS,
}
#: Values that are words, though the parser has no list of them.
_WORDS = {"MODE": [mode.value for mode in InvalidationMode], "0,1,2": ["0", "0,1", "0,1,2"]}

#: The interpreters that are there, by their names, or the path of one; and files: `compgen` takes away the quotes of
#: what was typed, if it's given it in one piece; so does fish's `complete`, asked about a command that isn't there.
_PREAMBLES = {
    "bash": r"""
_pyctrigger_files() {
  compgen -f -- "$1"
}
_pyctrigger_dirs() {
  compgen -d -- "$1"
}
_pyctrigger_flavours_or_file() {
  local directory path name
  if [[ $1 == */* || $1 == '~'* ]]; then
    compgen -f -- "$1"
    return
  fi
  for directory in @DIRECTORIES@; do
    for path in $(compgen -G "$directory/python3.*"; compgen -G "$directory/pypy3.*"); do
      name=${path##*/}
      name=${name#python}
      [[ $name =~ ^(pypy)?3\.[0-9]+t?$ && $name == "$1"* && -x $path ]] && echo "$name"
    done
  done | sort -u
}""",
    "zsh": r"""
_pyctrigger_flavours() {
  local -aU found
  local directory expl
  if [[ $PREFIX == (*/*|\~*) ]]; then
    _files
    return
  fi
  for directory in @DIRECTORIES@; do
    found+=($directory/(python3.<->(|t)|pypy3.<->)(N*:t))
  done
  found=(${found#python})
  _wanted flavours expl flavour compadd -a found
}""",
    "fish": r"""
function __pyctrigger_files
  complete -C "nosuchcommandforpyctrigger "(string replace -r -- '^--[a-z-]+=' '' (commandline -ct))
end
function __pyctrigger_flavours
  if string match -q -- '*/*' (commandline -ct)
    __pyctrigger_files
    return
  end
  for directory in @DIRECTORIES@
    for path in $directory/python3.* $directory/pypy3.*
      set -l name (string replace -r '.*/(?:python)?' '' -- $path)
      if string match -qr -- '^(pypy)?3\.[0-9]+t?$' $name; and test -x $path
        echo $name
      end
    end
  end
end""",
}

#: bash cuts `--name=value` into three words, of which shtab knows the first and the last.
_WITHOUT_EQUALS = """
_pyctrigger() {
  local words=() index count=$COMP_CWORD
  for index in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[index]} != '=' ]]; then
      words+=("${COMP_WORDS[index]}")
    elif ((index == COMP_CWORD)); then
      words+=('')
    elif ((index < COMP_CWORD)); then
      ((count -= 1))
    fi
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$count
  _shtab_pyctrigger
}

complete -o bashdefault -F _pyctrigger pyctrigger
"""


def generate(shell: str) -> str:
    """The file of one shell."""
    parser = build_parser()
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    verbs.nargs = None  # one word; bash would take all that follows an unknown verb for verbs
    for verb in verbs.choices.values():
        for action in verb._actions:
            _say_what_completes(action)
    preamble = _PREAMBLES[shell].replace("@DIRECTORIES@", " ".join(STANDARD_DIRECTORIES))
    text: str = shtab.complete(parser, shell, preamble=preamble)
    if shell == "bash":
        text += "\n" + _WITHOUT_EQUALS
    if shell == "zsh":
        # `(*)::` is one argument that any number may not follow; and `--name=value` is written with its own sign.
        text = re.sub(r'^( *")\(\*\)::?(?=[^:])', r"\1*:", text, flags=re.MULTILINE)
        text = re.sub(r'^( *"\*?--[a-z-]+)(\[.*\]:)', r"\1=\2", text, flags=re.MULTILINE)
    return text.rstrip("\n") + "\n"


def _say_what_completes(action: argparse.Action) -> None:
    name = str(action.metavar)
    if name in _WORDS:
        action.choices = _WORDS[name]
    elif name in _KINDS:
        action.complete = _KINDS[name]  # type: ignore[attr-defined] # shtab asks for it


def main() -> int:
    """Write the files."""
    for shell in SHELLS:
        (CHECKOUT / DIRECTORY / f"pyctrigger.{shell}").write_text(generate(shell), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
