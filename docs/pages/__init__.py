"""Extensions of Sphinx that make the reference from the program, and let Sphinx read pages written for GitHub.

`verbs` reads the parser, `keys` the settings, `prose` reads `docs/prose`, and `reference` puts them together; `reading`
adapts Markdown to Sphinx, and `main` starts it.
Prose has files of its own, one for each verb, and isn't in docstrings: a trigger's start would pay for every word,
and improving a sentence shouldn't mean editing code.
"""
