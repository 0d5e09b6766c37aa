"""`repair`: a person's rerun that looks at everything, trusts nothing, and mends it."""

from __future__ import annotations

from . import Verb
from .run import summary

VERB = Verb("check every file, trust no record, and fix what is wrong", summary=summary)
