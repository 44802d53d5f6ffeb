"""What both benchmarks write and print: a row a trial, then the sums by command.

    .venv/bin/python -m benchmarks.reliability.tables benchmarks/results/reliability_killer.csv

prints such a file as the table of docs/reliability.md.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any


def write_rows(path: Path, trials: Sequence[Any]) -> None:
    """Write dataclasses of one kind as CSV, a row each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(asdict(trials[0])))
        writer.writeheader()
        writer.writerows(asdict(trial) for trial in trials)


def marks(trial: Any, names: Sequence[str]) -> str:
    """Return which of its checks a trial passed, as "usable:yes exact:NO"."""
    return " ".join(f"{name}:{'yes' if getattr(trial, name) else 'NO'}" for name in names)


def finish(trials: Sequence[Any], names: Sequence[str]) -> None:
    """Print how many trials of each command passed each check; exit with 1 if not all did."""
    for command in dict.fromkeys(trial.command for trial in trials):
        mine = [trial for trial in trials if trial.command == command]
        sums = (f"{name} {sum(getattr(t, name) for t in mine)}/{len(mine)}" for name in names)
        print(command, *sums, sep="  ")
    if not all(getattr(trial, name) for trial in trials for name in names):
        raise SystemExit(1)


def markdown(path: Path) -> str:
    """Return the sums of a file of trials as a Markdown table, a row for each command and case."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    checks = [name for name, value in rows[0].items() if value in ("True", "False")]
    lines = ["| command | case | trials | " + " | ".join(checks).replace("_", " ") + " |"]
    lines.append("|---|---|" + "---:|" * (1 + len(checks)))
    for command, case in dict.fromkeys((row["command"], row["case"]) for row in rows):
        mine = [row for row in rows if (row["command"], row["case"]) == (command, case)]
        sums = [sum(row[name] == "True" for row in mine) for name in checks]
        lines.append("| " + " | ".join(map(str, (command, case, len(mine), *sums))) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(Path(sys.argv[1])))
