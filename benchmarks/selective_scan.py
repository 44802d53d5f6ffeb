"""The selective scan against the loop over its definition: time by chunk length, memory by length.

    .venv/bin/python benchmarks/selective_scan.py [--lengths 1024 4096] [--chunks 4 8 16 32]
    .venv/bin/python benchmarks/selective_scan.py --files      of LiteRT, one thread
    .venv/bin/python benchmarks/selective_scan.py --memory     of a gradient, a process a length

One sample, 32 channels, 16 states, as in LightM-UNet of width 16. The ratio is the time of the
`tf.while_loop` (of files: of chunks as `chunk_length` has them) over that of each chunk length,
measured in turns. Memory is what the process has at most above what it had before.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CHANNELS, STATES = 32, 16


def arguments(length: int) -> list:
    import numpy as np

    rng = np.random.default_rng(0)
    u, steps = rng.standard_normal((2, 1, length, CHANNELS))
    b, c = rng.standard_normal((2, 1, length, STATES))
    rates = -np.broadcast_to(np.arange(1.0, STATES + 1), (CHANNELS, STATES))
    values = u, np.logaddexp(0, steps - 4), rates, b, c
    return [np.asarray(value, np.float32) for value in values]


def loop(u, delta, a, b, c):
    """The recurrence, a step at a time."""
    import tensorflow as tf

    length = u.shape[1]

    def step(t, state, outputs):
        decay = tf.exp(delta[:, t, :, None] * a)
        state = decay * state + (delta[:, t] * u[:, t])[..., None] * b[:, t, None]
        return t + 1, state, outputs.write(t, tf.reduce_sum(state * c[:, t, None], axis=-1))

    start = tf.zeros((u.shape[0], *a.shape))
    begin = tf.constant(0), start, tf.TensorArray(tf.float32, length)
    outputs = tf.while_loop(lambda t, *_: t < length, step, begin)[2]
    return tf.transpose(outputs.stack(), (1, 0, 2))


def compiled(scan, gradient: bool, length: int):
    """Return a call of a scan, or of it and its gradient, without arguments."""
    import tensorflow as tf

    values = [tf.constant(value) for value in arguments(length)]

    @tf.function
    def run(*values):
        if not gradient:
            return scan(*values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(scan(*values) ** 2)
        return tape.gradient(total, values)

    return lambda: run(*values)


def chunked(chunk: int | None):
    from core.layers.selective_scan import selective_scan

    return lambda *values: selective_scan(*values, chunk=chunk)


def times(lengths: list[int], chunks: list[int], rounds: int) -> None:
    from core.export.benchmark import compare

    for gradient in (False, True):
        for length in lengths:
            functions = {"loop": compiled(loop, gradient, length)}
            functions |= {
                f"chunks of {chunk or 'choice'}": compiled(chunked(chunk), gradient, length)
                for chunk in (None, *chunks)
            }
            found = compare(functions, rounds=rounds, warmup=2)
            shown = ", ".join(
                f"{name} {entry.timing.median_ms:.1f} ms ({entry.ratio:.1f}x)"
                for name, entry in found.items()
            )
            print(f"L={length}, {'with gradient' if gradient else 'forward'}: {shown}", flush=True)


def files(lengths: list[int], chunks: list[int], rounds: int) -> None:
    import keras

    from core.engines import interpreter
    from core.export.benchmark import compare
    from core.export.convert import to_tflite
    from core.layers.selective_scan import SelectiveScan

    def invoke(length: int, chunk: int | None):
        both = keras.Input((length, 2 * (CHANNELS + STATES)))
        parts = keras.ops.split(both, (CHANNELS, 2 * CHANNELS, 2 * CHANNELS + STATES), axis=-1)
        content = to_tflite(keras.Model(both, SelectiveScan(chunk=chunk)(parts)))
        return interpreter(content, threads=1, delegate=True).invoke

    for length in lengths:
        functions = {f"chunks of {k or 'choice'}": invoke(length, k) for k in (None, *chunks)}
        shown = ", ".join(
            f"{name} {entry.timing.median_ms:.1f} ms ({entry.ratio:.2f}x)"
            for name, entry in compare(functions, rounds=rounds, warmup=2).items()
        )
        print(f"L={length}, file: {shown}", flush=True)


def memory(length: int) -> None:
    run = compiled(chunked(None), True, 128)
    run()  # what TensorFlow needs for itself
    run = compiled(chunked(None), True, length)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    states = length * CHANNELS * STATES * 4 / 1e6
    print(
        f"L={length}: {extra:.0f} MB for the gradient; all states are {states:.0f} MB", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=None)
    parser.add_argument("--chunks", type=int, nargs="+", default=(4, 8, 16, 32))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        memory(options.one)
    elif options.memory:
        for length in options.lengths or (65_536, 131_072, 262_144, 524_288):
            subprocess.run([sys.executable, __file__, "--one", str(length)], check=True)
    elif options.files:
        files(options.lengths or [1024, 4096, 16_384], list(options.chunks), options.rounds)
    else:
        times(options.lengths or [1024, 4096], list(options.chunks), options.rounds)


if __name__ == "__main__":
    main()
