"""`repair`: a person's rerun that looks at everything, trusts nothing, and mends it."""

from __future__ import annotations

from .run import summary
from .verb import Verb

VERB = Verb("check every file, trust no record, and fix what is wrong", summary=summary)
