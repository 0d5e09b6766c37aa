"""What `docs/build` does: makes the reference and the manual pages from the parser, the schema and the prose.

`verbs` reads the parser, `prose` reads `docs/prose`, `pages` puts both together, `markdown` and `mdoc` write them down.
Prose stands in files of its own, one for each verb, and not in docstrings: a trigger's start would pay for every word,
and who improves a sentence shouldn't need to touch code.
"""
