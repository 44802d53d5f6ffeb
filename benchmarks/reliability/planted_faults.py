"""Plant faults into the files of every app and see whether `verify` catches and names them.

    .venv/bin/python -m benchmarks.reliability.planted_faults --out planted_faults.csv [--app NAME]

Each app trains its smallest network for a moment on its sample data. Its files must be reported
healthy; then each fault (benchmarks/reliability/faults.py) is planted into each precision.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.reliability import faults
from core.errors import CheckFailed, UserError
from core.files import write_atomic

SAMPLES = 8
# No weights of a backbone are at hand, so that all of it learns, its norms too.
WHOLE = ["--set", "options.head_epochs=0", "--set", "options.norms=kept"]
TRAININGS = {
    "medseg": ["--variant", "t", "--input-size", "64", "--epochs", "30"],
    "superres": ["--network", "abpn", "--variant", "x2", "--epochs", "4"],
    "reid": ["--variant", "x0_25", "--input-size", "64 32", "--epochs", "3"],
    "fetal": ["--variant", "lite0-spatial-gate", "--input-size", "64", "--epochs", "1", *WHOLE],
    "aqua": [
        "--network",
        "shufflenetv2",
        "--variant",
        "x0_5",
        "--input-size",
        "64",
        "--epochs",
        "2",
        *WHOLE,
    ],
    "modrec": ["--network", "kd_cnn", "--epochs", "2"],
    "lines": ["--variant", "doubled_separable", "--input-size", "96", "--epochs", "1"],
    "bev": ["--preset", "light", "--variant", "r4_gray", "--epochs", "1"],
}
COLUMNS = ("app", "fault", "precision", "outcome", "said")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", choices=sorted(TRAININGS), action="append")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for app in chosen.app or TRAININGS:
            for row in examined(app, Path(folder) / app):
                rows.append(row)
                print(*row[:4], sep="  ", flush=True)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([COLUMNS, *rows])
    write_atomic(chosen.out, table.getvalue())
    missed = [row for row in rows if row[3] not in ("healthy", "named", "no place", "not exported")]
    print(f"{len(rows)} files, {len(missed)} misjudged")
    raise SystemExit(bool(missed))


def examined(app: str, folder: Path):
    """Train, export and yield a row for each file."""
    import importlib

    from apps.catalog import APPS
    from core.export.exporting import export
    from core.export.verify import verify
    from core.run_folder import RunFolder

    task = importlib.import_module(f"{APPS[app].package}.task").TASK
    command = [sys.executable, "-m", "apps", app, "train", "--data", "sample", *TRAININGS[app]]
    subprocess.run([*command, "--out", str(folder / "run")], check=True, capture_output=True)
    run = RunFolder(folder / "run", app=app)
    healthy = {}
    for precision in faults.ALL:
        try:
            healthy[precision] = export(task, run, precision).path
        except CheckFailed as error:  # a network that hardly learned has dead layers
            yield (app, "none", precision, "not exported", str(error))
            continue
        found = verify(task, healthy[precision], samples=SAMPLES)
        failed = "; ".join(row.check for row in found.rows if row.ok is False)
        # An integer file of a network that hardly learned may miss its metric: that is no fault.
        sound = not found.causes
        yield (app, "none", precision, "healthy" if sound else "FALSE ALARM", failed)
    planted = folder / "planted"
    for fault in faults.FAULTS:
        for precision in filter(healthy.get, fault.precisions):
            planted.mkdir(exist_ok=True)
            sick = faults.plant(task, run, healthy[precision], fault, precision, planted)
            if sick is None:
                yield (app, fault.name, precision, "no place", "")
                continue
            try:
                found = verify(task, sick, run=run, samples=SAMPLES)
            except UserError as error:  # refused outright, in a sentence
                named = re.search(fault.named, str(error))
                yield (app, fault.name, precision, "named" if named else "REFUSED", str(error))
                continue
            named = [cause for cause in found.causes if re.search(fault.named, cause)]
            caught = "named" if named else "NOT NAMED"
            yield (
                app,
                fault.name,
                precision,
                "MISSED" if found.passed else caught,
                (named or found.causes or [""])[0],
            )


if __name__ == "__main__":
    main()
