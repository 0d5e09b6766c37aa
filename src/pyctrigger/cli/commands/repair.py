"""`repair`: check everything, trust no records, and fix what is wrong."""

from __future__ import annotations

from . import Verb
from .run import summary

VERB = Verb("check every file, trust no record, and fix what is wrong", summary=summary)
