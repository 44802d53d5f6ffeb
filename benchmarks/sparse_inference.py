"""Sparse against dense float files of a MobileNet pruned to several sparsities, in one run.

    .venv/bin/python benchmarks/sparse_inference.py             this processor as it is
    .venv/bin/python benchmarks/sparse_inference.py --no-avx    with 128-bit vectors, as phones have

On x86 with AVX, XNNPACK never uses its sparse kernels. With --no-avx it is made to believe that the
processor has no AVX (its own flags, in this process's memory), for dense and sparse files alike.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# MobileNetV1: output channels and stride of each depthwise-separable block.
BLOCKS = [
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
]  # fmt: skip
SPARSITIES = (0.0, 0.5, 0.7, 0.75, 0.8, 0.9)
SSE = 0b1111  # XNNPACK's flags for SSE to SSE4.1; those for AVX and later are above


def mobilenet(size: int, classes: int):
    """Return MobileNetV1 in the form XNNPACK's sparse path accepts."""
    import keras
    from keras import layers

    def convolve(kind, x, *arguments, stride=1, **options):
        if stride == 2:
            x = layers.ZeroPadding2D(1)(x)
        padding = "valid" if stride == 2 else "same"
        x = kind(*arguments, strides=stride, padding=padding, use_bias=False, **options)(x)
        return layers.ReLU(6.0)(layers.BatchNormalization()(x))

    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 3), name="image")
    x = convolve(layers.Conv2D, image, 32, 3, stride=2)
    for channels, stride in BLOCKS:
        x = convolve(layers.DepthwiseConv2D, x, 3, stride=stride)
        x = convolve(layers.Conv2D, x, channels, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes)(x), name="mobilenet")


def prune(model, sparsity: float) -> None:
    """Set the smallest weights of the 1×1 convolutions to zero, at once."""
    from core.compress.pruning import Pruner, PruningPlan

    plan = PruningPlan(
        schedule="constant", final_sparsity=sparsity, begin_step=1, policy="pointwise"
    )
    Pruner(model, plan).before_step()


def hide_avx():
    """Clear XNNPACK's AVX flags; must come before any other file is loaded.

    Returns:
        The interpreter whose loading made XNNPACK look at the processor; keep it alive.
    """
    import ai_edge_litert
    import tensorflow as tf

    from core.engines import interpreter

    library = Path(ai_edge_litert.__file__).parent / "libpywrap_litert_common.so"
    symbols = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^([0-9a-f]+) b hardware_config$", symbols, re.MULTILINE)
    if found is None:
        raise SystemExit("This LiteRT does not show XNNPACK's flags; run without --no-avx.")

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 8))])
    def double(x):
        return x + x

    converter = tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()])
    kept = interpreter(converter.convert(), threads=1, delegate=True)
    maps = Path("/proc/self/maps").read_text().splitlines()
    base = min(int(line.split("-")[0], 16) for line in maps if str(library) in line)
    # struct xnn_hardware_config: the core's kind, padded to 8 bytes, then the flags.
    flags = ctypes.c_uint64.from_address(base + int(found[1], 16) + 8)
    if flags.value & SSE != SSE:
        raise SystemExit("XNNPACK's flags are not where they were expected; run without --no-avx.")
    flags.value &= SSE
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--float16", action="store_true", help="store float16 weights")
    parser.add_argument("--no-avx", action="store_true", help="see above")
    options = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])  # before TensorFlow makes its threads

    import numpy as np

    from core.compress.analysis import compressed_size
    from core.engines import interpreter
    from core.export.benchmark import compare
    from core.export.convert import to_tflite
    from core.export.sparse import check_sparse, sparse_tflite

    kept = hide_avx() if options.no_avx else None
    precision = "float16" if options.float16 else "float32"
    image = np.random.default_rng(0).standard_normal((1, options.size, options.size, 3), np.float32)

    def runner(content: bytes):
        engine = interpreter(content, threads=1, delegate=True)
        engine.set_tensor(engine.get_input_details()[0]["index"], image)
        engine.invoke()
        return engine

    def output(engine) -> np.ndarray:
        return engine.get_tensor(engine.get_output_details()[0]["index"])

    model = mobilenet(options.size, options.classes)
    vectors = "128-bit vectors" if kept else "this processor"
    print(f"{model.name} at {options.size}x{options.size}, {precision}, one core, {vectors}")
    print("zeros   dense file     zip  sparse file     zip   dense    sparse   ratio")
    for sparsity in SPARSITIES:
        if sparsity:
            prune(model, sparsity)
        dense, sparse = to_tflite(model, precision), sparse_tflite(model, precision)
        engines = {"dense": runner(dense), "sparse": runner(sparse)}
        np.testing.assert_allclose(
            output(engines["sparse"]), output(engines["dense"]), rtol=1e-3, atol=1e-4
        )
        found = compare({n: e.invoke for n, e in engines.items()}, rounds=options.rounds)
        sizes = (len(dense), compressed_size(dense), len(sparse), compressed_size(sparse))
        dense_mb, dense_zip, sparse_mb, sparse_zip = (size / 1e6 for size in sizes)
        times = found["dense"].timing.median_ms, found["sparse"].timing.median_ms
        faster = found["sparse"]
        broken = [str(c.number) for c in check_sparse(sparse).conditions if not c.holds]
        note = f"   conditions {', '.join(broken)} fail" if broken else ""
        print(
            f"{sparsity:4.0%} {dense_mb:9.2f} MB {dense_zip:6.2f} {sparse_mb:9.2f} MB "
            f"{sparse_zip:7.2f} {times[0]:6.2f} ms {times[1]:6.2f} ms  {faster.ratio:5.2f}x "
            f"({faster.low:.2f} to {faster.high:.2f}){note}"
        )


if __name__ == "__main__":
    main()
