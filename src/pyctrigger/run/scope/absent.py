"""Interpreters that are gone, whose bytecode is still there: what a purge needs to know of them."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import InterpreterError, RefusedError, UsageError
from ...interpreter.flavour import Flavour, installed
from ...interpreter.interpreter import Interpreter
from ...packages.every import MANAGERS
from ...state.probed import ProbedInterpreters
from .staged import stands_in


def with_cache_tag(tag: str, probed: ProbedInterpreters) -> list[Interpreter]:
    """The interpreters of a cache tag: those installed, else one probed before it went, else what the tag itself says.

    Raises UsageError for a tag that says nothing.
    """
    present = [interpreter for interpreter in _installed(probed) if interpreter.cache_tag == tag]
    return present or [_remembered(tag, probed) or _from_tag(tag)]


def remembered(probed: ProbedInterpreters) -> Iterator[Interpreter]:
    """The interpreters of this system that were probed before they went, and haven't come back by another path."""
    # An environment's has the environment's packages, and says nothing of the installation that it borrows. What
    # another account's has said of itself is that account's word.
    known = [each for each in probed.known() if each.root is None and not each.environment and each.account is None]
    here = {each.installation for each in (*_installed(probed), *known) if not each.is_gone}
    yield from (each for each in known if each.is_gone and each.installation not in here)


def gone(text: str, probed: ProbedInterpreters, manager: str | None = None) -> Interpreter:
    """An interpreter asked for by version that can't be found any more. Raises UsageError.

    `manager` is the package manager that kept its packages, where that is known.
    """
    flavour = Flavour.parse(text)
    if flavour.path is not None:
        for known in probed.known():
            if known.executable == flavour.path:
                return known
        raise UsageError(f"{flavour.path} is gone and was never probed", hint="name its --cache-tag")
    tag = flavour.cache_tag
    return _remembered(tag, probed, free_threaded=flavour.free_threaded) or _from_tag(
        tag, free_threaded=flavour.free_threaded, manager=manager
    )


def sharing(interpreter: Interpreter, probed: ProbedInterpreters, root: str | None) -> list[Interpreter]:
    """Other installed interpreters with the same cache tag: 3.13 and 3.13t share pycs where they share a directory.

    Of a staged root, those that it has as well; which installation of a flavour compiles for it is all the same there.
    """
    return [
        each
        for each in _installed(probed)
        if each.cache_tag == interpreter.cache_tag
        and each.installation != interpreter.installation
        and (root is None or (each.flavour != interpreter.flavour and stands_in(each, root)))
    ]


def _installed(probed: ProbedInterpreters) -> Iterator[Interpreter]:
    for path in installed():
        try:
            yield probed.ask(path)
        except (InterpreterError, RefusedError):
            continue  # what can't run uses no bytecode


def _remembered(tag: str, probed: ProbedInterpreters, *, free_threaded: bool | None = None) -> Interpreter | None:
    of_tag = (
        each for each in remembered(probed) if each.cache_tag == tag and free_threaded in (None, each.free_threaded)
    )
    return next(of_tag, None)


def _from_tag(tag: str, *, free_threaded: bool = False, manager: str | None = None) -> Interpreter:
    flavour = Flavour.of_cache_tag(tag)
    if flavour is None:
        raise UsageError(f"--cache-tag {tag}: not known", hint="use a tag such as cpython-311 or pypy311")
    library = flavour._replace(free_threaded=free_threaded).library
    sites = _site_directories(library, manager)
    return Interpreter(
        executable="",
        implementation=flavour.implementation,
        version=(*flavour.version, 0),
        release="",
        cache_tag=tag,
        magic_number=bytes(4),
        abi_flags="",
        free_threaded=free_threaded,
        prefix="/usr",
        schemes={"posix_prefix": {"purelib": sites[0], "platlib": sites[-1], "stdlib": f"/usr/lib/{library}"}},
        default_scheme="posix_prefix",
        inside=(f"/@/lib/{library}/site-packages",),
    )


def _site_directories(library: str, manager: str | None) -> list[str]:
    """Where the system's package managers put the sources of an interpreter: no `sysconfig` is left to say it."""
    kinds = [MANAGERS[manager]] if manager else [kind for kind in MANAGERS.values() if kind().is_present]
    sites = [site for kind in kinds for site in kind.site_directories(library)]
    return sites or [f"/usr/lib/{library}/site-packages"]
