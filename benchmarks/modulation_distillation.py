"""What do the two students of modulation recognition gain from a teacher, and what does int8 cost?

    .venv/bin/python benchmarks/modulation_distillation.py --work FOLDER [--teacher RUN]

Frames of all 11 classes are generated at the SNR labels 6 to 18 of RadioML 2016, which are 12 dB
and more. A teacher is trained on them, or the run named is taken; then each student, for every
seed, alone and under the teacher. Both begin with the same weights, see the same frames in the same
order, as they are unless --augment is given, and train as long. The validation frames choose the
best epoch, the test frames are looked at once. Every student is exported to int8 by calibration
alone.

Runs stay in --work: what an earlier call finished is not trained again, and one that was killed
goes on. The rows go to --out after each run. On the command line the same is

    gossamer modrec generate --snrs 6:18:2 --frames-of-each N --seed 9 --out DATA
    gossamer modrec train --data DATA --network clst --variant small --out TEACHER
    gossamer modrec train --data DATA --network kd_cnn --no-augment --teacher TEACHER
        --set distill.temperature=2 --set distill.views=1 --out STUDENT
    gossamer modrec export STUDENT --precision int8
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from core.data.index import Index
    from core.run_folder import RunFolder

RESULT = ROOT / "benchmarks" / "results" / "modulation_distillation.csv"
SNRS = range(6, 20, 2)  # labels; in decibels about twice as many
STUDENTS = ("kd_cnn", "kd_mobilenet")
WAYS = ("alone", "distilled")
# The bounds: of the teacher, below it, and of int8 below float.
TEACHER_LEAST, BELOW_TEACHER, INT8_LOSS = 0.85, 0.03, 0.01
# The same for all students, taught or not; nothing stops early.
TRAINING = {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0, "schedule": "cosine",
            "patience": None}  # fmt: skip


def generated(folder: Path, frames: int) -> Path:
    """Return a folder of generated frames, so many of each class and label; made once."""
    from apps.modulation_recognition.signals.parameters import Recipe
    from apps.modulation_recognition.signals.shards import RECORD, write_generated

    if not (folder / RECORD).is_file():
        print(f"  {folder} …", file=sys.stderr)
        write_generated(folder, Recipe(seed=9), frames, snrs=SNRS)
    return folder


def trained(out: Path, index: Index, network: str, variant: str | None, **chosen) -> RunFolder:
    """Return a run of a network; one that an earlier call finished or began is gone on with."""
    from apps.modulation_recognition.task import TASK
    from core.command_line import choices
    from core.config import TrainConfig
    from core.history import epochs
    from core.run_folder import RunFolder
    from core.training.fit import train

    values = choices.merge(TASK, {}, {"network": network, **TRAINING, **chosen})
    values["variant"] = TASK.network(network).check_variant(variant)
    config = TrainConfig.from_dict({**values, "classes": len(index.labels)})
    if (out / "config.yaml").is_file():
        run = RunFolder(out, app=TASK.name)
        decided = {n: getattr(run.config, n) for n in ("options", "input_size", "channels")}
        whole = epochs(run.history()) == config.epochs
        if whole and run.config == replace(config, **decided):
            return run
    print(f"  {out.name} …", file=sys.stderr)
    return train(TASK, config, out, index=index, resume=True)


def row(run: RunFolder, index: Index, way: str, *, integers: bool) -> dict[str, Any]:
    """Return what a run reaches on the test frames, in float and in int8."""
    from apps.modulation_recognition.task import TASK
    from core.command_line.comparing import parameters_of
    from core.engines import KerasEngine, LiteRTEngine
    from core.evaluate import evaluate
    from core.export.deployable import deployable
    from core.export.exporting import export

    engine, test = KerasEngine(*deployable(TASK, run)), index.split("test")
    config = run.config
    found: dict[str, Any] = {
        "network": config.network, "variant": config.variant, "way": way, "seed": config.seed,
        "epochs": config.epochs, "frames": len(index.split("train")),
        "parameters": parameters_of(TASK, run, engine, {}),
        "accuracy": evaluate(TASK, engine, test, quick=True).summary["average_accuracy"],
        "int8_accuracy": None, "int8_bytes": None,
    }  # fmt: skip
    if integers:
        file = export(TASK, run, "int8", overwrite=True).path
        scores = evaluate(TASK, LiteRTEngine(file), test, quick=True)
        found["int8_accuracy"] = scores.summary["average_accuracy"]
        found["int8_bytes"] = file.stat().st_size
    return found


def summary(rows: list[dict[str, Any]]) -> tuple[list[tuple], list[str]]:
    """Return a line for each student, means over the seeds, and which of the bounds are missed."""
    teacher = rows[0]["accuracy"]
    missed = []
    if teacher < TEACHER_LEAST:
        missed.append(f"the teacher reaches {teacher:.1%}, not {TEACHER_LEAST:.0%}")
    lines = []
    for name in dict.fromkeys(row["network"] for row in rows[1:]):
        own = {way: [r for r in rows[1:] if (r["network"], r["way"]) == (name, way)]
               for way in WAYS}  # fmt: skip
        if not all(own.values()):
            continue
        alone, distilled = (mean(r["accuracy"] for r in own[way]) for way in WAYS)
        losses = [r["accuracy"] - r["int8_accuracy"] for r in own["distilled"]]
        gains = [b["accuracy"] - a["accuracy"] for a, b in zip(*own.values(), strict=False)]
        lines.append(
            (name, f"{alone:.2%}", f"{distilled:.2%}", f"{distilled - alone:+.2%}",
             f"{sum(gain > 0 for gain in gains)} of {len(gains)}", f"{distilled - teacher:+.2%}",
             f"{-mean(losses):+.2%}", f"{own['distilled'][0]['int8_bytes']:,}")
        )  # fmt: skip
        if distilled <= alone:
            missed.append(f"{name} gains nothing from the teacher ({distilled - alone:+.2%})")
        if teacher - distilled > BELOW_TEACHER:
            missed.append(f"{name} stays {teacher - distilled:.2%} below the teacher")
        if max(losses) > INT8_LOSS:
            missed.append(f"{name} loses up to {max(losses):.2%} in int8")
    return lines, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept and found")
    parser.add_argument("--data", type=Path, help="shards to use; generated where none are named")
    parser.add_argument("--frames", type=int, default=300, help="of each class and SNR label")
    parser.add_argument("--teacher", type=Path, metavar="RUN", help="a run that is trained already")
    parser.add_argument("--teacher-network", default="clst")
    parser.add_argument("--teacher-variant", default="small")
    parser.add_argument("--teacher-epochs", type=int, default=12)
    parser.add_argument("--students", nargs="+", default=STUDENTS, choices=STUDENTS)
    parser.add_argument("--epochs", type=int, default=40, help="of every student")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--weight", type=float, default=0.7, help="of the teacher in the loss")
    parser.add_argument("--feature-weight", type=float, default=0.0)
    parser.add_argument("--views", type=int, default=1, help="asked before the training, so often")
    parser.add_argument(
        "--augment", action="store_true", help="students see changed frames, unlike published ones"
    )
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE.csv")
    options = parser.parse_args()

    from apps.modulation_recognition.task import TASK
    from core.command_line.tables import csv_text, show_table
    from core.files import write_atomic
    from core.run_folder import RunFolder

    data = options.data or generated(options.work / f"frames_{options.frames}", options.frames)
    index = TASK.read(str(data))
    shared = {"data": str(data), "batch": options.batch}
    if options.teacher is not None:
        teacher = RunFolder(options.teacher, app=TASK.name)
    else:
        name, variant = options.teacher_network, options.teacher_variant
        teacher = trained(
            options.work / f"teacher_{name}_{variant}", index, name, variant,
            epochs=options.teacher_epochs, **{**shared, "learning_rate": 1e-3},
        )  # fmt: skip
    rows = [row(teacher, index, "teacher", integers=False)]
    print(f"  teacher: {rows[0]['accuracy']:.2%}", file=sys.stderr)
    distill = {"temperature": options.temperature, "weight": options.weight,
               "feature_weight": options.feature_weight, "views": options.views}  # fmt: skip
    taught = {"teacher": str(teacher.path), "distill": distill}
    for seed in range(options.seeds):
        for student in options.students:
            for way in WAYS:
                run = trained(
                    options.work / f"{student}_{way}_{seed}", index, student, None, seed=seed,
                    epochs=options.epochs, augment=options.augment, **shared,
                    **(taught if way == "distilled" else {}),
                )  # fmt: skip
                rows.append(row(run, index, way, integers=True))
                print(f"  {' '.join(map(str, rows[-1].values()))}", file=sys.stderr)
                write_atomic(options.out, csv_text(rows))
    lines, missed = summary(rows)
    headings = ("student", "alone", "distilled", "gain", "seeds that gain", "to the teacher",
                "int8", "bytes")  # fmt: skip
    title = f"Test frames of {data}, labels {SNRS[0]} to {SNRS[-1]}; teacher "
    show_table(headings, lines, title=f"{title}{rows[0]['accuracy']:.2%}")
    if missed:
        sys.exit(f"Missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
