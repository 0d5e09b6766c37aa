"""Putting pages together: for each what the program says of itself, and the prose around it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from . import reference, system
from .document import Entries, Entry, Items, Listing, Page, Paragraph, Section, Span, code, text
from .prose import spans
from .trouble import ProseError
from .verbs import Group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .document import Block, Spans
    from .library import Library
    from .prose import Prose
    from .verbs import Option, Verb

#: An option of so many verbs is told of on the page of them all.
_SHARED = 4
#: Filled in by who packs it; the reference is of the checkout that it lies in.
_VERSION = Paragraph(text("This manual describes version @VERSION@."))
_ABOUT = "keep Python bytecode in step with its sources"
#: Sections of a verb's prose that have places of their own.
_PLACED = ("Synopsis", "Options", "JSON", "Exit status", "Examples", "Security", "See also")
_REFERENCE = re.compile(r"([\w.+-]+)\(([0-9])\)")


class Sources(NamedTuple):
    """What pages are made of."""

    verbs: Mapping[str, Verb]
    library: Library


def verb_page(verb: Verb, sources: Sources) -> Page:
    """The page of one verb."""
    library = sources.library
    prose = library.verbs[verb.name]
    options = tuple(reference.option_section(verb, group, library) for group in verb.groups)
    status = prose.section("Exit status")
    after = [block for block in (status.blocks if status else ()) if not isinstance(block, Items)]
    sections = [
        Section("Description", prose.blocks),
        Section("Options", (), options),
        *prose.others(*_PLACED),
        _json_section(prose),
        Section("Exit status", (reference.exit_entries(prose), *after)),
        *(each for title in ("Examples", "Security") if (each := prose.section(title))),
        _see_also(prose, ["pyctrigger(8)", "pyctrigger.toml(5)"]),
    ]
    return Page(f"pyctrigger-{verb.name}", verb.help, _forms(verb, prose), tuple(sections))


def main_page(sources: Sources) -> Page:
    """The page of the program."""
    prose = sources.library.pages["pyctrigger"]
    status = prose.section("Exit status")
    references = [f"pyctrigger-{name}(8)" for name in sources.verbs] + ["pyctrigger.toml(5)"]
    sections = [
        Section("Description", (*prose.blocks, _VERSION)),
        Section("Commands", (_command_entries(sources),)),
        *prose.others(*_PLACED, "Environment"),
        Section("Options", (), _shared_options(sources)),
        Section("JSON", _json_blocks(sources.library)),
        *(each for each in (prose.section("Environment"),) if each),
        Section("Files", (system.place_items(sources.library.pages["files"]),)),
        Section("Exit status", (reference.every_exit_code(), *(status.blocks if status else ()))),
        Section("Examples", _all_examples(prose, sources)),
        *(each for each in (prose.section("Security"),) if each),
        _see_also(prose, references),
    ]
    forms = tuple(form for verb in sources.verbs.values() for form in _forms(verb, sources.library.verbs[verb.name]))
    return Page("pyctrigger", _ABOUT, forms, tuple(sections))


def configuration_page(sources: Sources) -> Page:
    """The page of the configuration."""
    prose = sources.library.pages["pyctrigger.toml"]
    options = {name for verb in sources.verbs.values() for name in verb.options}
    tables = system.configuration_sections(prose, options)
    titles = [section.title for section in tables]
    sections = [
        Section("Description", (*prose.blocks, system.policies())),
        Section("Keys", (), tables),
        *prose.others(*titles, *_PLACED),
        *(each for each in (prose.section("Examples"),) if each),
        _see_also(prose, ["pyctrigger(8)"]),
    ]
    return Page("pyctrigger.toml", "the configuration of pyctrigger", (), tuple(sections), manual=5)


def json_page(sources: Sources) -> Page:
    """Every key of the JSON object."""
    library = sources.library
    sections = [Section("Every command", _json_blocks(library))]
    for name, prose in library.verbs.items():
        own = _own_keys(prose)
        if own:
            sections.append(Section(name, own))
    return Page("JSON", "what --json prints, key by key", (), tuple(sections))


def exit_code_page(sources: Sources) -> Page:
    """The exit codes."""
    prose = sources.library.pages["exit-codes"]
    entries = reference.every_exit_code(sources.library.verbs)
    return Page("Exit codes", "what commands end with", (), (Section("", (entries, *prose.blocks)), *prose.sections))


def file_page(sources: Sources) -> Page:
    """Where things live."""
    prose = sources.library.pages["files"]
    blocks = [block for block in prose.blocks if not isinstance(block, Items)]
    first = Section("", (system.place_table(prose), *blocks))
    return Page("Files", "where things live", (), (first, *prose.others("Everybody but root")))


def index_page(sources: Sources) -> Page:
    """The way to all others: the program's own page, without what others have."""
    page = main_page(sources)
    left_out = {"JSON", "Files", "Exit status"}
    others = Paragraph(
        spans(
            "Besides: [the configuration](configuration.md), [JSON](json.md), [exit codes](exit-codes.md), "
            "[files](files.md)."
        )
    )
    sections = []
    for each in page.sections:
        blocks = tuple(block for block in each.blocks if block != _VERSION)
        if each.title not in left_out:
            sections.append(each._replace(blocks=(*blocks, others) if each.title == "Commands" else blocks))
    return page._replace(sections=tuple(sections))


def _all_examples(prose: Prose, sources: Sources) -> tuple[Block, ...]:
    """The program's own, and those of each verb that aren't among them."""
    found: list[Block] = []
    for each in (prose, *sources.library.verbs.values()):
        section = each.section("Examples")
        waiting: list[Block] = []
        for block in section.blocks if section else ():
            waiting.append(block)
            if isinstance(block, Listing):
                found += waiting if block not in found else ()
                waiting = []
    return tuple(found)


def _command_entries(sources: Sources) -> Entries:
    """One for each verb: what it does, in the words of the first paragraph of its prose."""
    entries = []
    for name in sources.verbs:
        first = sources.library.verbs[name].blocks[0]
        if not isinstance(first, Paragraph):
            raise ProseError(f"{sources.library.verbs[name].path} begins with no paragraph")
        see = (Span(" See "), *code(f"pyctrigger-{name}(8)"), Span("."))
        entries.append(Entry(code(name), (*first.spans, *see)))
    return Entries("command", (), tuple(entries))


def _shared_options(sources: Sources) -> tuple[Section, ...]:
    """What many verbs have, under the same words."""
    counted = Counter((option.names, option.help) for verb in sources.verbs.values() for option in _options(verb))
    told: set[tuple[str, ...]] = set()
    found: dict[str, tuple[Verb, list[Option]]] = {}
    for verb in sources.verbs.values():
        for group in verb.groups:
            for option in group.options:
                if counted[option.names, option.help] >= _SHARED and option.names and option.names not in told:
                    told.add(option.names)
                    found.setdefault(group.title, (verb, []))[1].append(option)
    groups = [
        Section(title, (_entries_of(verb, Group(title, tuple(options)), sources.library),))
        for title, (verb, options) in found.items()
    ]
    always = (
        Entry(code("-h", "--help"), text("After a command: its options. Before one: the commands.")),
        Entry(code("--version"), text("Print the version.")),
    )
    return (*groups, Section("Always", (Entries("option", (), always),)))


def _entries_of(verb: Verb, group: Group, library: Library) -> Entries:
    """Without defaults that one verb has and another may not: their own pages have them."""
    entries = reference.option_entries(verb, group.options, library)
    kept = []
    for option, entry in zip(group.options, entries.entries):
        default, repeatable = entry.facts
        kept.append(entry._replace(facts=(default if option.is_configured else (), repeatable)))
    return entries._replace(entries=tuple(kept))


def _options(verb: Verb) -> Iterator[Option]:
    for group in verb.groups:
        yield from group.options


def _forms(verb: Verb, prose: Prose) -> tuple[str, ...]:
    """The synopsis: the prose's, of options that there are, or the parser's."""
    section = prose.section("Synopsis")
    if section is None:
        return (verb.form,)
    forms = [line for block in section.blocks if isinstance(block, Listing) for line in block.lines]
    for form in forms:
        if not form.startswith(f"pyctrigger {verb.name}"):
            raise ProseError(f"{prose.path}: {form!r} in ## Synopsis doesn't begin with pyctrigger {verb.name}")
        for flag in re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", form):
            if flag not in verb.options:
                raise ProseError(f"{prose.path}: ## Synopsis has {flag}, and {verb.name} has not")
    return tuple(forms)


def _json_section(prose: Prose) -> Section:
    link = spans(
        "`--json` prints the object that `pyctrigger(8)` describes" + (".", ", and in it:")[bool(_own_keys(prose))]
    )
    return Section("JSON", (Paragraph(link), *_own_keys(prose)))


def _own_keys(prose: Prose) -> tuple[Block, ...]:
    section = prose.section("JSON")
    return () if section is None else tuple(_key_table(block) for block in section.blocks)


def _json_blocks(library: Library) -> tuple[Block, ...]:
    return tuple(_key_table(block) for block in library.pages["json"].blocks)


def _key_table(block: Block) -> Block:
    if not isinstance(block, Items):
        return block
    return Entries("key", (), tuple(Entry(item.term, item.body) for item in block.items))


def _see_also(prose: Prose, references: list[str]) -> Section:
    """Manual pages in their order, sections first; then what is no manual page."""
    section = prose.section("See also")
    others: list[Spans] = []
    for block in section.blocks if section else ():
        for item in block.items if isinstance(block, Items) else ():
            if item.term and _REFERENCE.fullmatch(item.term[0].text):
                references.append(item.term[0].text)
            else:
                others.append((*item.term, *item.body))
    ordered = sorted(set(references), key=lambda each: (each.rpartition("(")[2], each))
    blocks = [Paragraph(code(*ordered)), *(Paragraph(each) for each in others)]
    return Section("See also", tuple(blocks))
