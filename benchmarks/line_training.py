"""Is LSDNet, trained for minutes on synthetic scenes, better than classical LSD on others of them?

    .venv/bin/python benchmarks/line_training.py --work FOLDER

Scenes are rendered, a light LSDNet is trained on squares of them, and the held-out ones are given
to it whole, to LSD as this suite has it and to OpenCV's. F^H is taken at the best threshold of each
detector: HAWP's 100 for the network, 100 quantiles of -log10 NFA for LSD. The network is exported
to int8 by calibration on training scenes. Fails where the network is not above both, or int8 loses
more than a point. Scenes say nothing of photographs; LSD needs no training, the network has seen
their kind.

What stays in --work is not made again, and a training that was killed goes on. On the command line
the same is

    gossamer lines simulate --count N --pixels 320 --out DATA
    gossamer lines train --data DATA --variant doubled_narrow --input-size 320
        --set options.crop=128 --out RUN
    gossamer lines export RUN --precision int8
    gossamer lines compare RUN RUN/export/RUN_int8.tflite lsd opencv --data DATA
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder
    from core.task import Scores

INT8_LOSS = 0.01


def rendered(folder: Path, scenes: int, held_out: int, workers: int) -> Index:
    """Return the index of synthetic scenes; rendered once."""
    from apps.line_segments.scenes.simulation import RECORD, simulate
    from apps.line_segments.task import TASK

    if not (folder / RECORD).is_file():
        begun = time.perf_counter()
        counts = {"train": scenes, "valid": held_out, "test": held_out}
        simulate(folder, counts=counts, seed=1, workers=workers)
        rate = sum(counts.values()) / (time.perf_counter() - begun)
        print(f"Rendered {sum(counts.values()):,} scenes, {rate:.0f} a second")
    return TASK.read(str(folder))


def trained(out: Path, index: Index, options: argparse.Namespace) -> RunFolder:
    """Return a trained run; one that was begun or finished before is gone on with."""
    from apps.line_segments.task import TASK
    from core.command_line import choices
    from core.command_line.progress import TrainingProgress
    from core.config import TrainConfig
    from core.training.fit import train

    flags = {
        "data": str(index.root),
        "variant": options.variant,
        "input_size": options.input_size,
        "epochs": options.epochs,
        "batch": options.batch,
        "learning_rate": options.rate,
        "validate_every": max(1, options.epochs // 5),
        "seed": options.seed,
        "options": {"crop": options.crop},
    }
    config = TrainConfig.from_dict(choices.merge(TASK, {}, flags))
    progress = TrainingProgress(TASK.headline)
    return train(TASK, config, out, index=index, resume=True, progress=progress)


def scores_of(detector, test: Index) -> Scores:
    """Return the scores of a detector on held-out scenes."""
    from apps.line_segments.data import read_truth
    from apps.line_segments.evaluation import case_of, line_scores
    from core.data.images import read_image

    named = [
        (s.id, case_of(detector(read_image(s.inputs[0])).found, read_truth(s).segments))
        for s in test.samples
    ]
    return line_scores(named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where scenes and run are kept")
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--held-out", type=int, default=100, help="to validate, and to test")
    parser.add_argument("--variant", default="doubled_narrow")
    parser.add_argument("--input-size", type=int, default=320)
    parser.add_argument("--crop", type=int, default=128, help="side of what training sees; 0: all")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    options = parser.parse_args()

    from apps.line_segments.detectors import ClassicalDetector, NetworkDetector
    from apps.line_segments.task import TASK
    from core.engines import KerasEngine, LiteRTEngine
    from core.export.deployable import deployable
    from core.export.exporting import export

    index = rendered(options.work / "scenes", options.scenes, options.held_out, options.workers)
    run = trained(options.work / "run", index, options)
    with run.file("timing.csv").open(newline="", encoding="utf-8") as stream:
        seconds = sum(float(row["seconds"]) for row in csv.DictReader(stream))
    print(f"Trained {options.variant} for {seconds / 60:.1f} minutes of epochs")
    file = export(TASK, run, "int8", overwrite=True).path
    test = index.split("test")
    detectors = {
        "LSDNet, float": NetworkDetector(KerasEngine(*deployable(TASK, run)), "float"),
        "LSDNet, int8": NetworkDetector(LiteRTEngine(file), "int8"),
        "LSD": ClassicalDetector("lsd"),
        "OpenCV's LSD": ClassicalDetector("opencv"),
    }
    found = {name: scores_of(detector, test) for name, detector in detectors.items()}
    print(f"{'':16}{'F^H':>8}{'at score':>10}{'AP^H':>8}{'sAP10':>8}   ({len(test)} scenes)")
    for name, scores in found.items():
        best, values = scores.details.best_threshold, scores.summary
        print(f"{name:16}{values['fh']:8.2%}{best:10.3g}{values['aph']:8.2%}{values['sap10']:8.2%}")
    pairs = zip(
        found["LSDNet, float"].tables["by_threshold"],
        found["LSDNet, int8"].tables["by_threshold"],
        strict=True,
    )
    for own, other in pairs:
        print(
            f"  F at score {own['threshold']:.1f}: float {own['fh']:.2%}, int8 {other['fh']:.2%}, "
            f"{other['fh'] - own['fh']:+.2%}"
        )
    value = {name: scores.summary["fh"] for name, scores in found.items()}
    missed = [
        f"LSDNet is not above {name}"
        for name in ("LSD", "OpenCV's LSD")
        if not value["LSDNet, float"] > value[name]
    ]
    if value["LSDNet, float"] - value["LSDNet, int8"] > INT8_LOSS:
        missed.append("int8 loses more than a point")
    if missed:
        raise SystemExit(f"Missed: {'; '.join(missed)}.")
    print("LSDNet is above both, and int8 within a point of it.")


if __name__ == "__main__":
    main()
