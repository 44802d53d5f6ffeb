"""The command that looks for copies, leaking patients and broken files in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table


def audit(
    ctx: typer.Context,
    data: opt.DataSet,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write each finding as a line.")
    ] = None,
    format: opt.Format = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Find broken files, copies within and across classes and splits, and leaking patients.

    Pictures that only look the same (saved again, at another size, neighbouring frames) are found
    too, by a perceptual hash, and counted by themselves.

    Every file is read once. The exit code is 1 if anything is found but frames of one patient that
    look the same in one split and class.
    """
    from apps.fetal_planes import audit as auditing
    from core.command_line.progress import track
    from core.files import claim_file, write_atomic

    if out is not None:
        claim_file(out, overwrite=overwrite)
    index = task_of(ctx).read(data, format or "auto")
    with track(len(index), "reading") as advance:
        findings = auditing.audit(index, advance)
    counts = {kind: sum(one.kind == kind for one in findings) for kind in auditing.KINDS}
    if out is not None:
        empty = {name: "" for name in auditing.Finding("", (), (), (), ()).row()}
        text = csv_text([one.row() for one in findings] or [empty])
        write_atomic(out, text if findings else text.splitlines(keepends=True)[0])
    if json:
        records = [one.record() for one in findings]
        about = {"data": str(index.root), "format": index.format, "samples": len(index)}
        show_json({**about, "counts": counts, "findings": records, "out": out})
    else:
        rows = [(what, counts[kind]) for kind, what in auditing.KINDS.items()]
        show_table((f"{len(index)} samples of {index.root}", "found"), rows)
        for problem in auditing.problems(index, findings):
            say(problem)
        if out is not None:
            say(f"Saved: {out}")
    if any(one.kind not in auditing.HARMLESS for one in findings):
        raise typer.Exit(1)
