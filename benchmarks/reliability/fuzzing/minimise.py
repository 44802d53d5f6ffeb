"""The smallest input that shows a finding, by leaving out more and more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.fuzzing.cases import Case
from benchmarks.reliability.fuzzing.judge import Finding
from benchmarks.reliability.fuzzing.target import Target
from benchmarks.reliability.fuzzing.worker import Result, run_cases

_SECONDS = 60.0
_SLOW = ("hang", "memory")


def minimise(target: Target, case: Case, finding: Finding, scratch: Path, example: Case) -> Case:
    """Return a smaller case with the same finding; greedy, within a minute."""
    if finding.kind in _SLOW:
        return case
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        candidates = list(_smaller(case))[:400]
        found: list[int] = []

        def report(result: Result, found=found) -> bool:
            same = result.finding is not None and result.finding.key == finding.key
            found += [result.index] if same else []
            return bool(found) or time.monotonic() > end

        count = len(candidates)
        run_cases(target, candidates.__getitem__, 0, count, scratch, report, example)
        if not found:
            break
        case = candidates[found[0]]
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Yield cases with a part left out, the largest parts first."""
    names = list(case.entries)
    size = len(names) // 2
    while size:
        for start in range(0, len(names), size):
            dropped = set(names[start : start + size])
            yield case.with_entries({n: c for n, c in case.entries.items() if n not in dropped})
        size //= 2
    for name in sorted(case.files(), key=lambda name: -len(case.entries[name])):
        content = case.entries[name]
        size = len(content) // 2
        while size and size * 64 >= len(content):
            for start in range(0, len(content), size):
                yield case.with_entries(
                    {**case.entries, name: content[:start] + content[start + size :]}
                )
            size //= 2
        if any(content):
            for start in range(0, len(content), max(16, len(content) // 16)):
                blank = bytes(min(max(16, len(content) // 16), len(content) - start))
                zeroed = content[:start] + blank + content[start + len(blank) :]
                if zeroed != content:
                    yield case.with_entries({**case.entries, name: zeroed})
