"""What an audit found: one value for each archive, and the sums."""

from __future__ import annotations

from typing import Any

from ...interpreter.interpreter import Interpreter
from ...outcome.outcome import path_fields
from ...outcome.report import Report, printable
from .answer import COUNTS
from .judgement import KINDS


class ArchiveReport:
    """What one archive holds, or why nobody can say."""

    def __init__(self, path: str, answer: dict[str, Any]) -> None:
        self.path = path
        self.format: str | None = answer["format"]
        self.failure: dict[str, str] | None = answer["failure"]
        self.counts: dict[str, int] = answer.get("counts") or dict.fromkeys(COUNTS, 0)
        #: One for each magic number, by its bytes.
        self.bytecode: list[dict[str, Any]] = answer.get("bytecode") or []
        #: Kind, reason, pyc, source, member; at most so many as the limits say.
        self.findings: list[list[str | None]] = answer.get("findings") or []

    @property
    def found(self) -> int:
        """How many findings there are, listed or not."""
        return sum(self.counts[kind] for kind in KINDS)

    @property
    def needs_rebuild(self) -> bool:
        """Whether the interpreter that it was compared with can't use some of its own bytecode in here."""
        return self.counts["stale"] > 0

    def as_dict(self) -> dict[str, Any]:
        """The archive's part of the JSON object."""
        return {
            **path_fields("path", self.path),
            "format": self.format,
            "needs_rebuild": self.needs_rebuild,
            "counts": self.counts,
            "bytecode": self.bytecode,
            "findings": [_finding(finding) for finding in self.findings],
            "findings_omitted": self.found - len(self.findings),
            "failure": self.failure and {key: printable(value) for key, value in self.failure.items()},
        }


class AuditReport(Report):
    """What became of all of them."""

    def __init__(self, interpreter: Interpreter | None, *, keep: bool = True) -> None:
        super().__init__("audit")
        self.interpreter = interpreter
        self.archives: list[ArchiveReport] = []
        self.elapsed_seconds = 0.0
        self._keep = keep
        self.examined = self.with_bytecode = self.to_rebuild = self.failed = self.defects = 0
        #: Archives, and pycs in them, by the release that wrote them, in the order of their numbers.
        self.magic_numbers: dict[str, dict[str, Any]] = {}
        self.totals = dict.fromkeys(COUNTS, 0)

    def add(self, archive: ArchiveReport) -> None:
        """Take one in."""
        if self._keep:
            self.archives.append(archive)
        self.examined += 1
        self.with_bytecode += archive.counts["pycs"] > 0
        self.to_rebuild += archive.needs_rebuild
        self.failed += archive.failure is not None
        self.defects += archive.failure is not None and archive.failure["kind"] == "defect"
        for key in COUNTS:
            self.totals[key] += archive.counts[key]
        for each in archive.bytecode:
            names = {key: each[key] for key in ("magic_number", "number", "release")}
            sums = self.magic_numbers.setdefault(each["magic_number"], {**names, "archives": 0, "pycs": 0})
            sums["archives"] += 1
            sums["pycs"] += each["pycs"]

    @property
    def outcome(self) -> str:
        return "error" if self.defects else "incomplete" if self.failed and not self.errors else super().outcome

    @property
    def exit_code(self) -> int:
        """3 if an archive couldn't be examined, 1 if there are findings, 70 for a defect (the contract's table)."""
        findings = any(self.totals[kind] for kind in KINDS)
        return max(super().exit_code, 70 if self.defects else 3 if self.failed else 1 if findings else 0)

    @property
    def summary(self) -> dict[str, Any]:
        """The sums."""
        return {
            "archives": self.examined,
            "with_bytecode": self.with_bytecode,
            "needs_rebuild": self.to_rebuild,
            "failed": self.failed,
            "counts": self.totals,
            "magic_numbers": sorted(self.magic_numbers.values(), key=lambda each: int(each["number"])),
        }

    def as_dict(self) -> dict[str, Any]:
        interpreter = self.interpreter
        return {
            **super().as_dict(),
            "interpreter": interpreter
            and {
                **path_fields("executable", interpreter.executable),
                "flavour": interpreter.flavour,
                "implementation": interpreter.implementation,
                "version": interpreter.release,
                "cache_tag": interpreter.cache_tag,
                "magic_number": interpreter.magic_number.hex(),
            },
            "summary": self.summary,
            "archives": [archive.as_dict() for archive in self.archives],
            "elapsed_seconds": round(self.elapsed_seconds, 6),
        }


def _finding(finding: list[str | None]) -> dict[str, Any]:
    kind, reason, pyc, source, member = finding
    fields: dict[str, Any] = {"kind": kind, "reason": reason}
    for name, path in (("pyc", pyc), ("source", source), ("member", member)):
        if path is not None:
            fields.update(path_fields(name, path))
        elif name != "member":
            fields[name] = None
    return fields
