"""What each way of compression costs and gains: metric, size, zip size and latency, one table.

    .venv/bin/python benchmarks/compression.py [--run RUN] [--work FOLDER]

MK-UNet-T on the nuclei sample of the medical app (a sample, not a benchmark: ten training tiles,
four test tiles). Without --run the float network is trained first, as `gossamer medseg demo` does.
The result goes to benchmarks/results/compression_medseg.csv, from which `make tables` fills the
README's table. Latencies are measured in turns, in one process, on one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULT = ROOT / "benchmarks" / "results" / "compression_medseg.csv"
SPARSITY, CLUSTERS = 0.5, 16
TRAINING = {"epochs": 60, "learning_rate": 2e-3, "validate_every": 5, "final_learning_rate": 1e-5}
# Name → the methods in a row; those that begin alike share the run.
CHAINS = {
    "QAT": ("quantize",),
    "pruned": ("prune",),
    "clustered": ("cluster",),
    "PQAT": ("prune", "quantize"),
    "CQAT": ("cluster", "quantize"),
    "PCQAT": ("prune", "cluster", "quantize"),
}
CHOICES = {"prune": {"sparsity": SPARSITY}, "cluster": {"clusters": CLUSTERS}}


def float_run(work: Path):
    """Train the demo's network and return its run folder."""
    from apps.medical_segmentation.task import TASK
    from core.command_line import choices
    from core.config import TrainConfig
    from core.training.fit import train

    values = choices.merge(TASK, {}, {**TASK.demo, "data": "sample"})
    config = TrainConfig.from_dict({**values, "labels": ("nucleus",)})
    return train(TASK, config, work / "float")


def files(source, work: Path) -> dict[str, bytes]:
    """Return the TFLite files by name of the compression."""
    from apps.medical_segmentation.task import TASK
    from core.export.convert import to_tflite
    from core.export.deployable import deployable
    from core.export.exporting import calibration_samples, integer_network
    from core.training.compressing import plan_chain, run_chain

    model, card = deployable(TASK, source)
    inputs, _ = calibration_samples(TASK, card, "sample", "auto", 200)
    found = {
        "float32": to_tflite(model),
        "PTQ": to_tflite(integer_network(model, inputs)[0], "int8"),
    }
    runs = {(): source}
    for name, methods in CHAINS.items():
        for length in range(1, len(methods) + 1):
            part = methods[:length]
            if part in runs:
                continue
            print(f"  {' → '.join(part)} …", file=sys.stderr)
            plans = plan_chain(
                TASK, runs[part[:-1]], part[-1:], work / "_".join(part),
                choices={m: c for m, c in CHOICES.items() if m in part[-1:]}, training=TRAINING,
            )  # fmt: skip
            runs[part] = finished(plans[-1]) or run_chain(TASK, plans)[-1]
        model, _ = deployable(TASK, runs[methods])
        found[name] = to_tflite(model, "int8" if methods[-1] == "quantize" else "float32")
    return found


def finished(plan):
    """Return the run of an earlier call with the same --work, if it was trained to its end."""
    from core.errors import UserError
    from core.history import epochs
    from core.run_folder import RunFolder

    try:
        run = RunFolder(plan.folder)
    except UserError:
        return None
    return (
        run if run.config == plan.config and epochs(run.history()) == plan.config.epochs else None
    )


def rows(found: dict[str, bytes], card) -> list[dict]:
    """Return a row a file: Dice on the test tiles, sizes, and latency measured in turns."""
    import numpy as np

    from apps.medical_segmentation.task import TASK
    from core.compress.analysis import compressed_size
    from core.engines import LiteRTEngine, interpreter
    from core.evaluate import evaluate
    from core.export.benchmark import compare

    test = TASK.read("sample").split("test")
    image = np.random.default_rng(0).standard_normal((1, *card.input_size, 3)).astype(np.float32)

    def invoke(content: bytes):
        runner = interpreter(content, threads=1, delegate=True)
        runner.set_tensor(runner.get_input_details()[0]["index"], image)
        return runner.invoke

    timed = compare({name: invoke(content) for name, content in found.items()}, rounds=200)
    return [
        {
            "compression": name,
            "dice": evaluate(TASK, LiteRTEngine(content, card), test, quick=True).summary["dice"],
            "bytes": len(content),
            "zip_bytes": compressed_size(content),
            "milliseconds": timed[name].timing.median_ms,
            "speed": timed[name].ratio,
        }
        for name, content in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="a trained float run; None trains the demo's")
    parser.add_argument("--work", help="where runs are kept and found again; None keeps none")
    options = parser.parse_args()

    from core.command_line.tables import csv_text, show_table, size
    from core.files import write_atomic
    from core.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as thrown_away:
        work = Path(options.work or thrown_away)
        source = RunFolder(options.run) if options.run else float_run(work)
        table = rows(files(source, work), source.card)
    write_atomic(RESULT, csv_text(table))
    show_table(
        ("compression", "dice", "file", "zip", "ms", "speed"),
        [
            (row["compression"], row["dice"], size(row["bytes"]), size(row["zip_bytes"]),
             row["milliseconds"], f"{row['speed']:.2f}x")
            for row in table
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
