"""Barlow-Swin against the published network, its encoder apart, and its import."""

from pathlib import Path

import golden_files
import keras
import network_checks
import numpy as np
import pytest

from apps.medical_segmentation.models.barlow_swin import (
    NETWORK,
    barlow_swin,
    card,
    convert_state,
)
from core.checkpoints import load_torch_state, torch_state
from core.errors import UserError
from core.training.transfer import transfer

SHARED = Path(__file__).resolve().parents[4] / "shared" / "golden"
STAGES = {
    "embed": "patch_embed.pos",
    "s0b0": "stages.0.blocks.0",
    "s0b1": "stages.0.blocks.1",
    "merge1": "stages.1.merge.reduction",
    "s1b0": "stages.1.blocks.0",
    **{f"skip{stage + 1}": f"stages.{stage}.blocks.1" for stage in range(3)},
    **{f"decoder{i}": f"decoder.{i}" for i in range(4)},
    "logits": "head_bn",
}


def check_golden(golden: golden_files.Golden) -> None:
    model = barlow_swin("base", golden.inputs().shape[1:])
    report = load_torch_state(model, convert_state(golden.state()))
    assert len(report.matched) == len(golden.shapes)
    # "prob" is the sigmoid of logits up to 2000, whose last digits it shows.
    assert set(golden.outputs) == {*STAGES, "prob"}
    errors = golden.errors(model, golden.inputs(), STAGES.get, STAGES)
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("size", [64, 128])
def test_agrees_with_the_published_network(size):
    check_golden(golden_files.load(f"barlow-swin__seg-{size}"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden")
def test_agrees_with_the_published_network_at_its_own_size():
    check_golden(golden_files.load("barlow-swin__seg-512", SHARED))


def test_the_tables_of_relative_positions_are_trained_and_saved(tmp_path):
    """The official code has them as plain variables, which Keras neither trains nor saves."""
    model = barlow_swin("base", (64, 64, 3))
    tables = [w for w in model.trainable_weights if w.name == "relative_position_bias_table"]
    assert [tuple(table.shape) for table in tables] == [(49, 8)] * 6
    tables[0].assign(np.arange(49 * 8).reshape(49, 8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    bias = loaded.get_layer("stages.0.blocks.0.attn").table
    np.testing.assert_array_equal(bias, np.arange(49 * 8).reshape(49, 8))


def test_a_checkpoint_tells_size_channels_and_classes():
    golden = golden_files.load("barlow-swin__seg-128")
    state = NETWORK.published({f"module.{k}": v for k, v in golden.state().items()})
    assert NETWORK.infer(state) == {"input_size": (128, 128), "channels": 3, "classes": 1}
    assert NETWORK.infer({"head.weight": np.zeros((4, 32, 1, 1))}) == {"classes": 4}


def test_a_checkpoint_of_another_size_is_resized_to_its_positions():
    """Bilinearly on its square; an image of the same corners keeps the corners' vectors."""
    golden = golden_files.load("barlow-swin__seg-64")
    model = barlow_swin("base", (128, 192, 3))
    report = load_torch_state(model, convert_state(golden.state()))
    assert report.complete
    published = golden.state()["patch_embed.pos.weight"].reshape(16, 16, 96)
    table = np.asarray(model.get_layer("patch_embed.pos").table)
    assert table.shape == (32, 48, 96)
    np.testing.assert_allclose(table[0, 0], published[0, 0], atol=1e-6)
    np.testing.assert_allclose(table[-1, -1], published[-1, -1], atol=1e-6)
    np.testing.assert_allclose(table[1, 0], 0.75 * published[0, 0] + 0.25 * published[1, 0], 1e-4)


def test_positions_that_are_of_no_square_are_refused():
    model = barlow_swin("base", (64, 64, 3))
    state = {**torch_state(model), "patch_embed.pos.weight": np.zeros((200, 96), np.float32)}
    with pytest.raises(UserError, match=r"patch_embed\.pos\.weight: the file has \(200, 96\)"):
        load_torch_state(model, state)


def test_the_encoder_is_a_part_of_the_network():
    model = barlow_swin("base", (64, 64, 3))
    part = NETWORK.encoder(model)
    assert part.output_shape == (None, 4, 4, 384)
    names = {name.split(".")[0] for name in torch_state(part)}
    assert names == {"patch_embed", "stages"}
    assert network_checks.parameters(part) == 6_608_544 - 16384 * 96 + 16 * 16 * 96 + 6 * 49 * 8


def test_a_pre_trained_encoder_moves_into_a_fresh_network():
    """The official transfer skips what does not fit, which is everything."""
    keras.utils.set_random_seed(0)
    trained = NETWORK.encoder(barlow_swin("base", (64, 64, 3)))
    target = barlow_swin("base", (128, 64, 3))
    decoder = {n: a for n, a in torch_state(target).items() if not n.startswith(("patch", "stage"))}
    moved = transfer(trained, target)
    assert moved.moved == tuple(torch_state(trained)) and moved.kept == tuple(decoder)
    assert moved.resized == ("patch_embed.pos.weight",)
    after = torch_state(target)
    for name, array in torch_state(trained).items():
        if name not in moved.resized:
            np.testing.assert_array_equal(after[name], array)
    for name, array in decoder.items():
        np.testing.assert_array_equal(after[name], array)


def test_half_precision_computes_the_same_roughly():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        half = barlow_swin("base", (64, 64, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    full = barlow_swin("base", (64, 64, 3))
    full.set_weights(half.get_weights())
    image = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)
    difference = np.abs(np.asarray(half(image), np.float32) - np.asarray(full(image)))
    assert difference.max() < 0.02 * np.abs(full(image)).max()


def test_any_number_of_channels_and_classes():
    model = barlow_swin("base", (64, 128, 1), classes=4)
    assert model.input_shape == (None, 64, 128, 1) and model.output_shape == (None, 64, 128, 4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"variant": "xl"}, "xl"),
        ({"input_shape": (96, 64, 3)}, "multiples of 64"),
        ({"input_shape": (None, None, 3)}, "learns their positions"),
        ({"input_shape": (64, 64, 3), "classes": 0}, "classes=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        barlow_swin(**arguments)


def test_the_card_takes_pixels_from_0_to_1():
    """The official pre-training divides by 255 twice; the card is the only place that divides."""
    assert card("base").pixel_range() == (0.0, 1.0)
