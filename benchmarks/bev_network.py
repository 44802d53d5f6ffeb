"""REIN's time for one scan: the suite's files beside the compiled network and the published form.

    .venv/bin/python benchmarks/bev_network.py [--variant r8] [--rounds 15] [--threads 1]

Random weights, 201x201, on all cores unless told otherwise. The ratios are the time of the
published form (eight bicubic warps, eight passes one after the other, the map enlarged to the
image's size and normalised, as a compiled `tf.function` with its weights frozen) over that of each
form in the same rounds; the suite's forms interpolate the small map at 300 keypoints instead, which
is counted with them. Fails where the float file is not 1.5 times as fast as the published form, or
not faster than the suite's network compiled.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LEAST = 1.5
KEYPOINTS = 300


def main() -> int:
    arguments = _arguments()
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    from apps.bev_localization.models.rein import NETWORK, rein
    from apps.bev_localization.models.rein_parts import map_part, place_part
    from apps.bev_localization.models.rein_plain import plain_form
    from apps.bev_localization.pose.features import features_at
    from core.compress.quantize import quantize_aware
    from core.compress.ranges import calibrate
    from core.engines import interpreter
    from core.export.benchmark import compare
    from core.export.convert import freeze, to_tflite

    keras.utils.set_random_seed(0)
    model = rein(arguments.variant)
    rng = np.random.default_rng(0)
    occupied = rng.random((1, *model.input_shape[1:3], 1)) < 0.1
    image = (occupied * rng.integers(1, 11, occupied.shape) * 25.5 / 256).astype(np.float32)
    image = np.repeat(image, model.input_shape[-1], axis=-1)

    side = model.input_shape[1]
    keypoints = rng.integers(0, side, (KEYPOINTS, 2))

    def compiled(network):
        function, given = freeze(network), tf.constant(image)
        return lambda: function(given)

    def at_keypoints(outputs):
        small = next(np.asarray(one) for one in outputs if len(one.shape) == 4)
        return features_at(small[0], keypoints, side)

    def of_file(content, given=image, *, local=False):
        runner = interpreter(content, threads=arguments.threads, delegate=True)
        runner.set_tensor(runner.get_input_details()[0]["index"], given)
        if not local:
            return runner.invoke
        found = [one["index"] for one in runner.get_output_details()]

        def run():
            runner.invoke()
            return at_keypoints([runner.get_tensor(index) for index in found])

        return run

    deployed, first = NETWORK.deploy(model), map_part(model)
    quantized = quantize_aware(first)
    calibrate(quantized, image)
    features = np.asarray(first(image))
    ours = compiled(deployed)
    calls = {
        "published form, tf.function": compiled(plain_form(model, dense=True)),
        "ours, tf.function": lambda: at_keypoints(ours()),
        "ours, float file": of_file(to_tflite(deployed), local=True),
        "map alone, float file": of_file(to_tflite(first)),
        "map alone, int8 file": of_file(to_tflite(quantized, "int8")),
        "place alone, float file": of_file(to_tflite(place_part(model)), features),
    }
    found = compare(calls, rounds=arguments.rounds)
    for name, comparison in found.items():
        print(f"{name:28s} {comparison.timing.median_ms:8.1f} ms  {comparison.ratio:6.2f}x")
    file, function = (found[f"ours, {kind}"].ratio for kind in ("float file", "tf.function"))
    print(f"The float file is {file / function:.2f} times as fast as the compiled network.")
    return 0 if file >= LEAST and file > function else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="r8", help="of rein (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="(default: all cores, %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
