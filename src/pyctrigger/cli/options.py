"""The options of each verb: those in the table of settings, and those that aren't part of a request."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

from ..errors import UsageError
from ..run.scope.request import Request, Work
from ..run.scope.settings import (
    BOOLEAN,
    HOW_OFTEN,
    LOOK,
    SERVE,
    SETTINGS,
    TEXT,
    TEXTS,
    WRITE,
    Setting,
    one_of,
)
from ..typed import Any
from .commands import Verb

#: In the order of the help, after a verb's own options.
_GROUPS = ("transaction", "paths", "scope", "bytecode", "running", "output")
_EVERY = (*SERVE, "doctor", "history", "store", "audit", "measure", "hooks", "completion")
#: What -v shows, by verb. With -vv each verb shows the traceback of a defect.
_VERBOSE = {
    WRITE: "list each file; -vv: with the reason",
    ("status",): "also show zeros",
    ("audit",): "list all findings",
    ("measure",): "show each run",
    (
        "verify",
        "explain",
        "which",
        "doctor",
        "history",
        "store",
        "hooks",
        "completion",
    ): "-vv: show the traceback of a defect",
}
#: Options that aren't part of a request.
_OTHERS = (
    Setting(
        "paths_from",
        TEXT,
        "read more PATHs from FILE, one per line; -: standard input",
        SERVE,
        value="FILE",
        group="paths",
    ),
    Setting("null", BOOLEAN, "PATHs in that file are separated by NUL", SERVE, group="paths"),
    Setting("json", BOOLEAN, "print one JSON object", _EVERY, group="output"),
    Setting(
        "quiet", BOOLEAN, "print only errors and failures", (*SERVE, "audit"), flags=("-q", "--quiet"), group="output"
    ),
    *(
        Setting("verbose", HOW_OFTEN, text, verbs, flags=("-v", "--verbose"), group="output")
        for verbs, text in _VERBOSE.items()
    ),
    Setting("no_progress", BOOLEAN, "show no progress", (*LOOK, "audit", "measure"), group="output"),
    Setting(
        "color",
        one_of("auto", "always", "never"),
        "when to use colour; auto: on a terminal (default)",
        _EVERY,
        group="output",
        default="auto",
    ),
)
_REQUEST = Request(Work.RUN)
#: The values of a request without any options.
_DEFAULTS = _REQUEST.values()
#: The part of a request that a setting belongs to.
_PARTS = {name: part for part in Request._fields[1:] for name in getattr(_REQUEST, part)._fields}
#: Values of options that are read for every verb, also if the verb doesn't have them.
_ABSENT = {
    **{name: _DEFAULTS[name] for name in ("hook", "dry_run", "event", "manager")},
    "quiet": False,
    "no_progress": True,
    "proof": None,
}


def options_of(name: str, verb: Verb) -> list[tuple[str, Setting]]:
    """Returns all that a verb takes, in the order of its help, each with its group there."""
    own = [(setting.group or verb.group, setting) for setting in verb.options]
    if verb.paths:
        own.append(("", Setting("paths", TEXTS, verb.paths, value="PATH", flags=("paths",), default=[])))
    shared = [
        (setting.group or _PARTS[setting.name], setting) for setting in (*SETTINGS, *_OTHERS) if name in setting.verbs
    ]
    if verb.helps:
        shared = [(group, each._replace(help=verb.helps.get(each.name, each.help))) for group, each in shared]
    return sorted((*own, *shared), key=lambda each: _group_position(each[0]))


def default_of(setting: Setting) -> Any:
    """Returns the value of an option that isn't given."""
    if setting.kind is BOOLEAN:
        return False
    if setting.kind is HOW_OFTEN:
        return 0
    if setting.kind.is_list:
        return []
    return _DEFAULTS.get(setting.name) if setting.default is None else setting.default


def own_defaults(verb: Verb, taken: Iterable[Setting]) -> dict[str, Any]:
    """Returns the values of options that a verb doesn't take, and its own defaults of those that it shares."""
    names = {setting.name for setting in taken}
    absent = {name: value for name, value in _ABSENT.items() if name not in names}
    return {**absent, **verb.defaults}


def require_consistent(options: SimpleNamespace, verb: Verb) -> None:
    """Raise UsageError for an option without the one that it needs, and for two that contradict each other."""

    def flag(name: str) -> str:
        return next(each.names[0] for each in (*verb.options, *SETTINGS, *_OTHERS) if each.name == name)

    given = {name for name, value in vars(options).items() if value is not None and value is not False and value != []}
    for name, needed in verb.needs.items():
        if name in given and needed not in given:
            one, other = flag(name), flag(needed)
            raise UsageError(f"{one} needs {other}", hint=f"add {other}, or leave out {one}")
    for name, others in verb.excludes.items():
        for other in given.intersection(others) if name in given else ():
            raise UsageError(f"{flag(name)} and {flag(other)} contradict each other", hint="leave one of them out")


def _group_position(group: str) -> int:
    return _GROUPS.index(group) + 1 if group in _GROUPS else 0
