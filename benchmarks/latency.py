"""Latency of one image: TFLite against the compiled tf.function, and PyTorch where it is given.

    .venv/bin/python benchmarks/latency.py mk_unet --variant t --size 256 256
    … --peer "PYTHON benchmarks/pytorch_peer.py mkunet_network.py:MK_UNet_T"

Everything runs on one core, in turns within one run; ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Peer:
    """A process that times its own forward passes; see `pytorch_peer.py`."""

    def __init__(self, command: str, size: tuple[int, int]):
        arguments = [*shlex.split(command), *map(str, size), "1"]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"The peer did not start: {command}")

    def __call__(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network")
    parser.add_argument("--variant")
    parser.add_argument("--size", type=int, nargs=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--peer", help="command that runs pytorch_peer.py FILE:CLASS")
    options = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])  # before TensorFlow makes its threads; the peer inherits it

    import numpy as np
    import tensorflow as tf

    from apps import catalog
    from core.compress.quantize import quantize_aware
    from core.compress.ranges import calibrate
    from core.engines import interpreter
    from core.export.benchmark import compare
    from core.export.convert import to_tflite

    card = catalog.card(options.network, options.variant)
    size = tuple(options.size or card.input_size)
    model = catalog.build(options.network, options.variant, input_shape=(*size, card.channels))
    model = catalog.network(options.network).deploy(model)
    image = np.random.default_rng(0).standard_normal((1, *size, card.channels), np.float32)

    @tf.function(input_signature=[tf.TensorSpec(image.shape, tf.float32)])
    def compiled(batch):
        return model(batch, training=False)

    def invoke(content: bytes):
        runner = interpreter(content, threads=1, delegate=True)
        details = runner.get_input_details()[0]
        runner.set_tensor(details["index"], image.astype(details["dtype"]))
        return runner.invoke

    quantized = quantize_aware(model)
    calibrate(quantized, [image[0]])
    tensor = tf.constant(image)
    functions = {
        "tf.function": lambda: compiled(tensor).numpy(),
        "TFLite float32": invoke(to_tflite(model)),
        "TFLite int8": invoke(to_tflite(quantized, "int8", io="int8")),
    }
    if options.peer:
        functions = {"PyTorch eager": Peer(options.peer, size), **functions}
    found = compare(functions, rounds=options.rounds)
    print(f"{model.name} at {size[0]}x{size[1]}, one core, {options.rounds} rounds")
    first = next(iter(functions))
    for name, result in found.items():
        print(
            f"  {name:16s} {result.timing.median_ms:8.2f} ms   {result.ratio:5.2f}x {first} "
            f"({result.low:.2f} to {result.high:.2f})"
        )
    ratio = found["TFLite float32"].timing.median_ms / found["tf.function"].timing.median_ms
    print(f"  TFLite float32 takes {ratio:.2f} of the tf.function's time")


if __name__ == "__main__":
    main()
