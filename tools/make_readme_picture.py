"""Draw the README's picture from a finished demo run.

    .venv/bin/python tools/make_readme_picture.py runs/medseg/demo docs/images/medseg_demo.png

One row per test sample: the image, its target, the Keras result and that of the int8 file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SCALE, GAP, HEADING = 2, 8, 26
COLUMNS = ("image", "target", "Keras float32", "TFLite int8")


def main() -> None:
    import numpy as np

    from apps.medical_segmentation.task import TASK
    from core import evaluate
    from core.data.images import write_image
    from core.drawing import Sheet
    from core.engines import KerasEngine, LiteRTEngine
    from core.export.deployable import deployable
    from core.run_folder import RunFolder

    run, out = RunFolder(sys.argv[1], app="medseg"), Path(sys.argv[2])
    model, card = deployable(TASK, run)
    engines = [KerasEngine(model, card)]
    engines.append(LiteRTEngine(run.file("export") / f"{run.path.name}_int8.tflite", card))
    samples = TASK.read(run.config.data, run.config.format).split("test").samples[1:4]
    results = [
        {s.id: r for s, r in evaluate.run(TASK, engine, list(samples))} for engine in engines
    ]
    rows = [
        [TASK.draw_input(s, card), TASK.draw_truth(s, card)]
        + [TASK.draw(s, r[s.id], card) for r in results]
        for s in samples
    ]
    side = rows[0][0].shape[0] * SCALE
    width = len(COLUMNS) * (side + GAP) + GAP
    sheet = Sheet(len(rows) * (side + GAP) + HEADING + GAP, width)
    for column, title in enumerate(COLUMNS):
        sheet.write(title, (GAP + column * (side + GAP), 6), size=15)
        for row, pictures in enumerate(rows):
            picture = np.kron(pictures[column], np.ones((SCALE, SCALE, 1), np.uint8))
            place = (GAP + column * (side + GAP), HEADING + GAP + row * (side + GAP))
            sheet.paste(picture, place)
    write_image(out, sheet.picture())


if __name__ == "__main__":
    main()
