"""`store`: what a store of bytecode has, and its upkeep."""

from __future__ import annotations

from collections.abc import Iterator

from ...outcome.observer import Observer
from ...run.scope.settings import BOOLEAN, TEXTS, Setting, one_of
from ...run.upkeep import ACTIONS, StoreReport, keep_up
from ..output.table import Piece, Table
from ..output.text import shown, size
from . import Call, Verb


def _keep_up(call: Call, observer: Observer) -> StoreReport:
    said = call.options
    return keep_up(said.action, said.places, said.config, again=said.again)


def _report_lines(report: StoreReport) -> list[Piece]:
    """Returns the public key alone, so that a script can take it; else a line for each number."""
    if report.key is not None:
        return [report.key.public]
    return [Table((), list(_table_rows(report)))]


def _table_rows(report: StoreReport) -> Iterator[tuple[str, str]]:
    yield "store", shown(report.path or "")
    if report.sent is not None:
        pushed = report.sent.pushed
        yield "to", report.sent.to
        yield "signer", report.sent.signer
        yield "sent", f"{pushed.sent:,} ({size(pushed.bytes)})"
        yield "there", f"{pushed.present:,}"
        yield "withheld", f"{pushed.withheld:,} that others compiled, or not everybody may read"
        yield "damaged", f"{pushed.damaged:,}"
        return
    if report.contents is None:
        yield "entries", "none: nothing has been kept yet"
        return
    codes, used, counts = report.contents
    yield "entries", f"{codes:,}"
    yield "size", f"{size(used)} of {size(report.limit)}"
    if report.collected is not None:
        yield "removed", f"{report.collected.removed:,} old, {report.collected.damaged:,} damaged"
        return
    asked = counts["hits"] + sum(report.misses.values())
    yield "hits", f"{counts['hits']:,} of {asked:,}" + (f" ({counts['hits'] / asked:.0%})" if asked else "")
    yield "misses", ", ".join(f"{count:,} {reason}" for reason, count in report.misses.items()) or "none"
    yield "kept", f"{counts['kept']:,}"


VERB = Verb(
    "show what a store of bytecode has, clean it up, send it, or make a key that signs",
    _keep_up,
    _report_lines,
    options=(
        Setting(
            "action", one_of(*ACTIONS), "what to do; gc: check everything, and remove what is old", flags=("action",)
        ),
        Setting(
            "places",
            TEXTS,
            "push: the URL to send to; keygen: the file for the key (default: signing_key)",
            value="URL|FILE",
            flags=("places",),
            default=[],
        ),
        Setting("again", BOOLEAN, "for push: also send what is there already, as after a change of the signing key"),
    ),
    paths="",
)
