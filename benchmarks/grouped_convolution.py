"""Grouped 3×3 convolution (two inputs, one output a group): one grouped CONV_2D against our pair.

    .venv/bin/python benchmarks/grouped_convolution.py

TFLite, one thread, XNNPACK; the ratio is the time of the grouped kernel over that of
`core.layers.convolution.GroupedConv2D` (depthwise + pointwise sum).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHAPES = ((4, 128), (16, 128), (32, 64), (64, 128), (96, 16))


def main() -> None:
    import keras
    import numpy as np

    from core.engines import interpreter
    from core.export.benchmark import compare
    from core.export.convert import to_tflite
    from core.layers.convolution import GroupedConv2D

    def invoke(kind, channels, side, calibration):
        image = keras.Input((side, side, channels))
        layer = kind(channels // 2, 3, padding="same", groups=channels // 2)
        model = keras.Model(image, layer(image))
        samples = np.random.default_rng(0).standard_normal((4, side, side, channels))
        content = (
            to_tflite(model, "int8", calibration=samples, io="int8")
            if calibration
            else to_tflite(model)
        )
        runner = interpreter(content, threads=1, delegate=True)
        details = runner.get_input_details()[0]
        runner.set_tensor(details["index"], samples[:1].astype(details["dtype"]))
        return runner.invoke

    for channels, side in SHAPES:
        for calibrated, precision in ((False, "float32"), (True, "int8")):
            found = compare(
                {
                    "grouped": invoke(keras.layers.Conv2D, channels, side, calibrated),
                    "ours": invoke(GroupedConv2D, channels, side, calibrated),
                },
                rounds=60,
            )
            grouped, ours = found["grouped"].timing, found["ours"].timing
            print(
                f"{channels:3d} channels at {side}x{side} {precision:8s} grouped "
                f"{grouped.median_ms:6.2f} ms, ours {ours.median_ms:6.2f} ms: "
                f"{found['ours'].ratio:.1f}x"
            )


if __name__ == "__main__":
    main()
