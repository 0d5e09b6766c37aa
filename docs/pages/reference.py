"""The reference: one page for each verb, one for the program and each thing that verbs share.

They are plain Markdown in `docs/reference`, so that they read well without Sphinx; Sphinx makes the site and the manual
pages from them. What the program has and the prose doesn't mention, or the other way round, is a ProseError.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pyctrigger import errors
from pyctrigger.cli.parser import build_parser

from . import keys
from .prose import ProseError, code, definition, one_line, read_prose
from .verbs import Group, read_verbs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .prose import Prose
    from .verbs import Option, Verb

_NOTE = "<!-- Made by docs/build. Edit docs/prose, the parser or the settings instead. -->\n\n"
#: Pages about no single verb: the title and, in `docs/prose`, the name.
_SHARED_PAGES = {"README.md": "pyctrigger", "configuration.md": "pyctrigger.toml"}
_OTHERS = {"json.md": "json", "exit-codes.md": "exit-codes", "files.md": "files"}
_PROSE = (*_SHARED_PAGES.values(), *_OTHERS.values(), "options")
#: Any command may be called wrongly, find too little memory, have a defect, lose its output, and be interrupted.
_ALWAYS = {0, 2, 3, 70, 74, 130}
#: Sections of a verb's prose that have places of their own.
_PLACED = ("Synopsis", "Options", "JSON", "Exit status", "Examples", "Security", "See also")
#: An option of so many verbs is on the page of the program, too.
_MANY = 4
_FLAG = re.compile(r"(?<![\w`-])--[a-z][a-z-]*(?![\w`])")
_MANUAL = re.compile(r"`(pyctrigger[\w.-]*\(\d\))`")


class Manual(NamedTuple):
    """A manual page, as Sphinx's `man_pages` takes it."""

    page: str
    """In `docs/reference`."""
    name: str
    about: str
    section: int


class Sources(NamedTuple):
    """What pages are made of."""

    verbs: Mapping[str, Verb]
    prose: Mapping[str, Prose]
    """By the names of the files."""


def read_sources(directory: Path, parser: argparse.ArgumentParser | None = None) -> Sources:
    """Reads the parser and all of `docs/prose`. Raises ProseError where they don't fit together."""
    verbs = read_verbs(parser or build_parser())
    there = {path.stem for path in directory.glob("*.md")}
    for name in [*verbs, *_PROSE]:
        if name not in there:
            raise ProseError(
                f"{directory / name}.md is missing: "
                f"{f'the verb {name}' if name in verbs else 'its page'} has no prose; write what it is for, "
                "## Exit status and ## Examples, then run docs/build"
            )
    for name in sorted(there.difference(verbs, _PROSE)):
        raise ProseError(f"{directory / name}.md is about no verb; remove it, or name it like one")
    sources = Sources(verbs, {name: read_prose(directory / f"{name}.md") for name in sorted(there)})
    for verb in verbs.values():
        _check_verb(verb, sources.prose[verb.name])
    for name in set(sources.prose["options"].terms()).difference(*(verb.options for verb in verbs.values())):
        raise ProseError(f"{sources.prose['options'].path}: no verb has {name}")
    return sources


def _check_verb(verb: Verb, prose: Prose) -> None:
    if not prose.description:
        raise ProseError(f"{prose.path} says nothing before its first heading: say what {verb.name} does")
    for name in prose.terms("Options"):
        if name not in verb.options:
            raise ProseError(f"{prose.path}: {verb.name} has no {name}")
    if "Examples" not in prose.sections:
        raise ProseError(f"{prose.path} has no ## Examples")
    for form in _forms(verb, prose):
        if not form.startswith(f"pyctrigger {verb.name}"):
            raise ProseError(f"{prose.path}: {form!r} in ## Synopsis doesn't begin with pyctrigger {verb.name}")
        for flag in re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", form):
            if flag not in verb.options:
                raise ProseError(f"{prose.path}: ## Synopsis has {flag}, and {verb.name} has not")
    exit_codes(prose)


def exit_codes(prose: Prose) -> dict[int, str]:
    """Returns what a verb's exit codes mean, where they mean more than everywhere. Raises ProseError."""
    terms = prose.terms("Exit status")
    for term in terms:
        if not term.isdigit() or int(term) not in errors.EXIT_CODES:
            raise ProseError(f"{prose.path}: {term} is no exit code of errors.EXIT_CODES")
    codes = {int(term): text for term, text in terms.items()}
    missing = sorted(_ALWAYS - set(codes))
    if missing:
        raise ProseError(f"{prose.path}: ## Exit status says nothing of {', '.join(map(str, missing))}")
    return dict(sorted(codes.items()))


# -- pages ---------------------------------------------------------------------------------------------------------


def manuals(sources: Sources) -> list[Manual]:
    """Returns the manual pages; all are pages of the reference as well."""
    return [
        Manual("README.md", "pyctrigger", "keep Python bytecode in step with its sources", 8),
        *(Manual(f"{name}.md", f"pyctrigger-{name}", _about(verb), 8) for name, verb in sources.verbs.items()),
        Manual("configuration.md", "pyctrigger.toml", "the configuration of pyctrigger", 5),
    ]


def make_pages(sources: Sources) -> dict[str, str]:
    """Returns every page by its name. Raises ProseError."""
    pages = {f"{name}.md": _verb_page(verb, sources) for name, verb in sources.verbs.items()}
    pages["README.md"] = _main_page(sources)
    pages["configuration.md"] = _configuration_page(sources)
    pages["json.md"] = _json_page(sources)
    pages["exit-codes.md"] = _exit_code_page(sources)
    pages["files.md"] = _page("Files", {"": keys.place_text(sources.prose["files"])})
    links = {f"{manual.name}({manual.section})": manual.page for manual in manuals(sources)}

    def link(reference: re.Match[str]) -> str:
        return f"[{reference[0]}]({links[reference[1]]})" if reference[1] in links else reference[0]

    return {name: _MANUAL.sub(link, text) for name, text in pages.items()}


def _page(title: str, sections: Mapping[str, str]) -> str:
    """Sections without text are left out; the one without a title has none on the page, either."""
    parts = [f"## {name}\n\n{text}" if name else text for name, text in sections.items() if text]
    return f"{_NOTE}# {title}\n\n" + "\n\n".join(part.strip() for part in parts) + "\n"


def _verb_page(verb: Verb, sources: Sources) -> str:
    prose = sources.prose[verb.name]
    own_keys = prose.sections.get("JSON", "")
    sections = {
        "Synopsis": _fenced(_forms(verb, prose)),
        "Description": prose.description,
        "Options": "\n\n".join(_group(verb, group, sources) for group in verb.groups),
        **{title: text for title, text in prose.sections.items() if title not in _PLACED},
        "JSON": f"`--json` prints the object that `pyctrigger(8)` describes{', and in it:' if own_keys else '.'}\n\n"
        + own_keys,
        "Exit status": "\n".join(
            definition(code(str(number)), text or errors.EXIT_CODES[number])
            for number, text in exit_codes(prose).items()
        )
        + f"\n\n{prose.without_terms('Exit status')}",
        "Examples": prose.sections["Examples"],
        "Security": prose.sections.get("Security", ""),
        "See also": _see_also(prose, ["pyctrigger(8)", "pyctrigger.toml(5)"]),
    }
    return _page(f"pyctrigger {verb.name}", sections)


def _main_page(sources: Sources) -> str:
    prose = sources.prose["pyctrigger"]
    references = [f"{manual.name}({manual.section})" for manual in manuals(sources)[1:]]
    placed = (*_PLACED, "Environment")
    sections = {
        "Synopsis": _fenced(form for name, verb in sources.verbs.items() for form in _forms(verb, sources.prose[name])),
        "Description": prose.description,
        "Commands": "\n".join(
            definition(code(name), one_line(sources.prose[name].description.split("\n\n")[0]), f"See {manual}.")
            for name, manual in zip(sources.verbs, map(code, references))
        )
        + "\n\nBesides: [the configuration](configuration.md), [JSON](json.md), [exit codes](exit-codes.md), "
        "[files](files.md).",
        **{title: text for title, text in prose.sections.items() if title not in placed},
        "Options": "\n\n".join(_shared_options(sources)),
        "Environment": prose.sections["Environment"],
        "Examples": prose.sections["Examples"],
        "Security": prose.sections["Security"],
        "See also": _see_also(prose, references),
    }
    return _page("pyctrigger", sections)


def _configuration_page(sources: Sources) -> str:
    prose = sources.prose["pyctrigger.toml"]
    tables = keys.configuration_tables({name for verb in sources.verbs.values() for name in verb.options})
    for title in tables:
        if title not in prose.sections:
            raise ProseError(f"{prose.path} has no ## {title}")
    sections = {
        "Description": f"{prose.description}\n\n{keys.policies()}",
        **{title: f"{prose.sections[title]}\n\n{table}" for title, table in tables.items()},
        **{title: text for title, text in prose.sections.items() if title not in (*tables, *_PLACED)},
        "Examples": prose.sections["Examples"],
        "See also": _see_also(prose, ["pyctrigger(8)"]),
    }
    return _page("pyctrigger.toml", sections)


def _json_page(sources: Sources) -> str:
    named = [name for name in sources.verbs if "JSON" in sources.prose[name].sections]
    more = ", ".join(f"[`{name}`]({name}.md#json)" for name in named)
    return _page("JSON", {"": f"{sources.prose['json'].description}\n\nVerbs with keys of their own: {more}."})


def _exit_code_page(sources: Sources) -> str:
    used = {name: exit_codes(sources.prose[name]) for name in sources.verbs}
    items = []
    for number, meaning in errors.EXIT_CODES.items():
        commands = [name for name, codes in used.items() if number in codes]
        named = "all" if len(commands) == len(used) else code(*commands)
        raised = [each.__name__ for each in vars(errors).values() if getattr(each, "exit_code", None) == number]
        exceptions = [name for name in raised if name != errors.PyctriggerError.__name__]
        facts = (f"Commands: {named}.", f"Exceptions: {code(*exceptions)}." if exceptions else "")
        items.append(definition(code(str(number)), meaning, *facts))
    return _page("Exit status", {"": "\n".join([*items, "", sources.prose["exit-codes"].description])})


# -- parts of pages ------------------------------------------------------------------------------------------------


def _about(verb: Verb) -> str:
    return verb.help.rstrip(".")


def _forms(verb: Verb, prose: Prose) -> list[str]:
    """The synopsis: the prose's, else the parser's."""
    written = prose.sections.get("Synopsis")
    return written.strip("`\n").splitlines() if written else [verb.form]


def _fenced(lines: Iterator[str] | list[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def _group(verb: Verb, group: Group, sources: Sources) -> str:
    items = [_option(option, _more(verb, option, sources), option.default) for option in group.options]
    return f"### {group.title}\n\n" + "\n".join(items)


def _more(verb: Verb, option: Option, sources: Sources) -> str:
    """What the prose says beyond the help: the verb's own words, else those for all verbs."""
    for words in (sources.prose[verb.name].terms("Options"), sources.prose["options"].terms()):
        for name in option.names or (option.value,):
            if name in words:
                return words[name]
    return ""


def _option(option: Option, more: str, default: str) -> str:
    marked = _FLAG.sub(lambda flag: code(flag.group()), option.help)
    *others, last = option.choices or ("",)
    if option.is_configured:
        default = f"Default: {code(option.names[-1][2:].replace('-', '_'))} of the configuration."
    elif default:
        default = f"Default: {code(default)}."
    return definition(
        code(*option.terms),
        f"{marked[0].upper()}{marked[1:].removesuffix('.')}.",
        f"One of {code(*others)} or {code(last)}." if others else "",
        more,
        default,
        "Repeatable." if option.is_repeatable and option.names else "",
    )


def _shared_options(sources: Sources) -> Iterator[str]:
    """What many verbs have under the same words; without defaults, which may differ from verb to verb."""
    every = [
        (verb, group.title, option)
        for verb in sources.verbs.values()
        for group in verb.groups
        for option in group.options
    ]
    counted = Counter((option.names, option.help) for _, _, option in every)
    seen: set[tuple[str, ...]] = set()
    groups: dict[str, list[str]] = {}
    for verb, title, option in every:
        if option.names and option.names not in seen and counted[option.names, option.help] >= _MANY:
            seen.add(option.names)
            groups.setdefault(title, []).append(_option(option, _more(verb, option, sources), ""))
    groups["Always"] = [
        definition(code("-h", "--help"), "After a command: its options. Before one: the commands."),
        definition(code("--version"), "Print the version."),
    ]
    for title, items in groups.items():
        yield f"### {title}\n\n" + "\n".join(items)


def _see_also(prose: Prose, references: list[str]) -> str:
    """Manual pages in their order, sections first; then what is no manual page."""
    others = prose.without_terms("See also")
    every = sorted({*references, *prose.terms("See also")}, key=lambda each: (each.rpartition("(")[2], each))
    return f"{code(*every)}\n\n{others}"
