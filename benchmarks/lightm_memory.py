"""Peak memory and time of a training step of LightM-UNet on volumes, by the side of the crop.

    .venv/bin/python benchmarks/lightm_memory.py [--limit 14] [--steps 2] [--out FILE.csv]
    .venv/bin/python benchmarks/lightm_memory.py --only 3d_16 128 yes

One sample, the recipe of `gossamer medseg train`: forward, cross-entropy + soft Dice, backward,
Adam. Each case is a process of its own, whose memory is what it has resident at most, with
TensorFlow and the graph, which are 1.7 GB; seconds are those of the last step. A process that
outgrows the limit is ended, and its row says so. On Linux.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow's allocator for oneDNN never gives back what it once had; the system's does. The user's
# own value wins.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

RESULT = ROOT / "benchmarks" / "results" / "lightm_memory.csv"
# Variant → sides of its crops.
CROPS = {"3d": (32, 48, 64), "3d_16": (32, 48, 64, 96, 128)}
GIGABYTE = 1e9


def cases() -> list[tuple[str, int, bool]]:
    """Return variant, side and whether activations are recomputed, of all rows."""
    return [
        (variant, side, again)
        for variant, sides in CROPS.items()
        for side in sides
        for again in (False, True)
    ]


def step(variant: str, side: int, again: bool, steps: int) -> None:
    """Train on one crop and print what it took, as JSON."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # let no other process suffer for this one

    import keras
    import numpy as np
    import tensorflow as tf

    from apps.medical_segmentation.models.lightm_unet import NETWORK
    from apps.medical_segmentation.task import TASK
    from core.config import TrainConfig
    from core.training.recompute import recomputed
    from core.training.setup import build_trained, compile_model

    card = NETWORK.card(variant).sized((side,) * 3)
    choices = {**TASK.recipe("lightm_unet"), "batch": 1, "classes": len(card.labels)}
    config = TrainConfig(app="medseg", network="lightm_unet", variant=variant, **choices)
    keras.utils.set_random_seed(config.seed)
    model, graph = build_trained(TASK, replace(NETWORK, kept=""), card, config)
    if again:
        graph = recomputed(model, NETWORK.kept)
    compile_model(graph, TASK, config)

    rng = np.random.default_rng(0)
    crop = rng.standard_normal((1, *card.input_shape), np.float32)
    labels = rng.integers(0, config.classes, (1, *card.input_size), np.int32)
    batch = tf.constant(crop), tf.constant(labels)
    train = tf.function(graph.train_step, autograph=False).get_concrete_function(batch)
    for _ in range(steps):
        begun = time.perf_counter()
        loss = float(train(batch)["loss"])
        seconds = time.perf_counter() - begun
        assert np.isfinite(loss), loss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGABYTE
    print(json.dumps({"peak_gb": round(peak, 2), "seconds": round(seconds, 1)}))


def measured(case: tuple[str, int, bool], steps: int, limit: float) -> dict:
    """Return the row of a case."""
    variant, side, again = case
    row = {"variant": variant, "side": side, "recomputed": "yes" if again else "no"}
    command = [sys.executable, __file__, "--one", *map(str, row.values()), "--steps", str(steps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if resident(process.pid) > limit * GIGABYTE:
                process.kill()
                return {**row, "peak_gb": f"> {limit:g}"}
            time.sleep(0.1)
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(process.returncode)
    return {**row, **json.loads(said)}


def resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=14.0, help="gigabytes of a process")
    parser.add_argument("--steps", type=int, default=2)
    place: dict[str, Any] = {"nargs": 3, "metavar": ("VARIANT", "SIDE", "RECOMPUTED")}
    parser.add_argument("--only", action="append", help="measure this case anew", **place)
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE.csv")
    parser.add_argument("--one", help=argparse.SUPPRESS, **place)
    options = parser.parse_args()
    if options.one:
        step(*parsed(options.one), options.steps)
        return

    from core.command_line.tables import csv_text
    from core.files import write_atomic

    chosen = list(map(parsed, options.only)) if options.only else cases()
    found = {} if not options.out.exists() else earlier(options.out)
    for case in chosen:
        found[case] = measured(case, options.steps, options.limit)
        print(*found[case].values(), sep="\t", flush=True)
        write_atomic(options.out, csv_text([found[case] for case in cases() if case in found]))


def earlier(path: Path) -> dict[tuple[str, int, bool], dict]:
    """Return the rows of an earlier run, by case."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {parsed([row["variant"], row["side"], row["recomputed"]]): row for row in rows}


def parsed(case: list[str]) -> tuple[str, int, bool]:
    variant, side, again = case
    return variant, int(side), again == "yes"


if __name__ == "__main__":
    main()
