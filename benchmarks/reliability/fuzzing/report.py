"""The table of a fuzzing run: as CSV, and for docs/reliability.md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reliability.fuzzing.cases import Case, Link, Special, write_case
from benchmarks.reliability.fuzzing.judge import Finding
from benchmarks.reliability.fuzzing.worker import Result

COLUMNS = (
    *("target", "what", "inputs", "rejected", "accepted", "findings", "different_findings"),
    *("worst_ms", "peak_mb", "inputs_per_second"),
)


@dataclass
class Tally:
    """What came of a target's inputs.

    Attributes:
        target, what: Name and summary.
        counts: Outcome → number.
        worst: Seconds of the slowest input.
        peak: Bytes of the largest worker.
        seconds: Of the whole.
        findings: Different findings with the first input that showed each, and their number.
    """

    target: str
    what: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_OUTCOMES, 0))
    worst: float = 0.0
    peak: int = 0
    seconds: float = 0.0
    findings: dict[tuple[str, str], tuple[int, Finding, int]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count a result."""
        self.counts[result.outcome] += 1
        self.worst, self.peak = max(self.worst, result.seconds), max(self.peak, result.bytes)
        if result.finding is not None:
            key = result.finding.key
            index, finding, times = self.findings.get(key, (result.index, result.finding, 0))
            self.findings[key] = (index, finding, times + 1)

    @property
    def inputs(self) -> int:
        """The number of inputs that were run."""
        return sum(self.counts.values())

    def row(self) -> dict:
        """Return the row of the table."""
        return {
            "target": self.target,
            "what": self.what,
            "inputs": self.inputs,
            "rejected": self.counts["rejected"],
            "accepted": self.counts["accepted"],
            "findings": self.counts["finding"],
            "different_findings": len(self.findings),
            "worst_ms": round(1000 * self.worst, 1),
            "peak_mb": round(self.peak / 1e6),
            "inputs_per_second": round(self.inputs / max(self.seconds, 1e-9), 1),
        }


_OUTCOMES = ("accepted", "rejected", "finding")


def csv_text(rows: Sequence[dict]) -> str:
    """Return the rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def markdown(rows: Sequence[dict]) -> str:
    """Return the rows as a table for the documentation."""
    shown = ("target", "inputs", "rejected", "accepted", "findings", "worst_ms", "peak_mb")
    titles = ("target", "inputs", "rejected with a sentence", "accepted", "findings", "worst ms",
              "peak MB")  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    lines += ["| " + " | ".join(_cell(row[name]) for name in shown) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def save_finding(folder: Path, finding: Finding, case: Case, about: dict) -> None:
    """Write the input of a finding, and what it showed, into a folder."""
    if (folder / "input").exists():
        return
    write_case(case, folder / "input")
    strange = {
        name: value.target if isinstance(value, Link) else value.value
        for name, value in case.entries.items()
        if isinstance(value, Link | Special)
    }
    document = {
        "kind": finding.kind,
        "where": finding.where,
        "what": finding.what,
        "opened": case.opened,
        "names": [ascii(name) for name in case.entries],
        "links_and_pipes": strange,
        **about,
    }
    (folder / "finding.json").write_text(json.dumps(document, indent=2) + "\n")
