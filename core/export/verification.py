"""What a verification found: checks with their bounds, and what is most likely wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Check:
    """One line of a verification.

    Attributes:
        check: What was looked at.
        value: What was found.
        bound: What it must be; empty for information only.
        ok: Whether it holds; None for information only.
    """

    check: str
    value: str | float | int
    bound: str = ""
    ok: bool | None = None


@dataclass
class Verification:
    """The outcome of `core.export.verify.verify`.

    Attributes:
        file: Name of the file.
        precision: As the export recorded it.
        subject: What the numbers are about, so that a later reader can tell whether they still
            hold: "sha256" of the file, "model_sha256" of the Keras weights, "fingerprint" of
            the data, "split" and "samples".
        rows: The checks in order.
        causes: Where a check fails, what is most likely wrong and what to do, a sentence each.
        metrics: {"keras" | "file" | "file_reference": summary of the task's scores}.
        protocol: Definition of those scores.
        notes: What was compared with what, and what could not be, in sentences.
    """

    file: str
    precision: str
    subject: dict[str, str | int] = field(default_factory=dict)
    rows: list[Check] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    metrics: dict[str, dict] = field(default_factory=dict)
    protocol: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check that has a bound holds."""
        return all(row.ok is not False for row in self.rows)

    def to_dict(self) -> dict:
        """Return everything as JSON-ready values."""
        return {**asdict(self), "passed": self.passed}

    def add(
        self, check: str, value: str | float, bound: str = "", ok: bool | None = None
    ) -> bool | None:
        """Append a line and return whether it holds."""
        ok = None if ok is None else bool(ok)
        self.rows.append(Check(check, value, bound, ok))
        return ok

    def blame(self, cause: str) -> None:
        """Say what is most likely wrong, once."""
        if cause not in self.causes:
            self.causes.append(cause)
