"""LightM-UNet against the published network and against its definition in float64.

With the golden files' parameters the published network is chaotic: computed in float64 it differs
from the stored float32 values by 3e-6 of their scale after the first stage, 1e-3 after the second
and by all of it after the fourth. So these files are met where they are sound: up to the second
stage, and in pieces that start from a stored tensor. That the pieces are put together as published
is shown with parameters that leave errors small, against the network written out in NumPy.
"""

from collections import OrderedDict
from pathlib import Path

import golden_files
import keras
import lightm_reference
import numpy as np
import pytest
import torch_files

from apps.medical_segmentation.models.lightm_unet import NETWORK, VARIANTS, lightm_unet
from apps.medical_segmentation.task import TASK
from core.checkpoints import load_torch_state, read, torch_state
from core.config import TrainConfig
from core.engines import output_error
from core.errors import UserError
from core.training.recompute import Recomputed, recomputed
from core.training.setup import training_card

SHARED = Path(__file__).resolve().parents[4] / "shared" / "golden"
FIRST = "down_layers.0.1"
STAGES = {
    "convInit": "convInit.1.conv",
    "d0.conv1.mamba_out": f"{FIRST}.conv1.mamba.out_proj",
    "d0.conv1": f"{FIRST}.conv1.proj",
    "d0.conv2": f"{FIRST}.conv2.proj",
    "down0": "down_layers.0",
    "down1.rvm_before_pool": "down_layers.1.0.0.proj",
    "down1": "down_layers.1",
}
# What a float32 network may differ by, where float64 differs from the stored values as much.
ILL_CONDITIONED = {
    ("3d", "down1.rvm_before_pool"): 1e-3,
    ("2d", "down1"): 2e-2,
    ("2d-1ch-batch2", "down1"): 2e-2,
    ("3d", "down1"): 2e-2,
}


def loaded(file: str, folder: Path | None = None) -> tuple[golden_files.Golden, keras.Model]:
    golden = golden_files.load(f"lightm-unet__{file}", folder)
    state = golden.state()
    found = NETWORK.infer(state)
    model = lightm_unet(found["variant"], golden.inputs().shape[1:], classes=found["classes"])
    assert load_torch_state(model, state).complete
    assert len(golden.shapes) == 362
    return golden, model


@pytest.mark.parametrize("file", ["2d", "2d-1ch-batch2", "3d"])
def test_agrees_with_the_published_network(file):
    golden, model = loaded(file)
    errors = golden.errors(model, golden.inputs(), STAGES.get, STAGES)
    for name, error in errors.items():
        assert error < ILL_CONDITIONED.get((file, name), 1e-4), name


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden")
def test_agrees_with_the_published_network_at_its_own_size():
    golden, model = loaded("2d-512", SHARED)
    errors = golden.errors(model, golden.inputs(), STAGES.get, ("convInit", "down0"))
    assert max(errors.values()) < 1e-4, errors


def test_pieces_agree_with_the_published_network():
    """From stored tensors on: the last stage of nine Mamba layers, and the decoder's first."""
    golden, model = loaded("2d-1ch-batch2")

    def stored(name: str) -> np.ndarray:
        values, shape, stride = golden.outputs[name]
        assert stride == 1
        return np.moveaxis(values.reshape(shape), 1, -1)

    def piece(start: list[str], end: str, *values: np.ndarray) -> np.ndarray:
        sources = [model.get_layer(name).output for name in start]
        return np.asarray(keras.Model(sources, model.get_layer(end).output)(list(values)))

    deepest, third = stored("down3"), stored("down2")
    enlarged = piece(["down_layers.3"], "up_samples.0.1", deepest)
    assert golden.error("upsample0", enlarged) < 1e-6
    decoded = piece(["up_samples.0.1", "down_layers.2"], "up_layers.0.0.relu2",
                    stored("upsample0"), third)  # fmt: skip
    assert golden.error("up0", decoded) < 1e-6
    # Amplified by nine layers; float64 differs from the stored values as much.
    assert golden.error("down3", piece(["down_layers.2"], "down_layers.3", third)) < 1e-2


def quiet_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Return parameters that differ from all starts, with norms that keep errors small."""
    rng, state = np.random.default_rng(0), {}
    for name, value in torch_state(model).items():
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "weight" and value.ndim == 1:
            state[name] = rng.uniform(0.05, 0.15, value.shape)
        elif value.ndim > 1:
            fan_in = np.prod(value.shape[1:])
            state[name] = rng.standard_normal(value.shape) * np.sqrt(2.0 / fan_in)
        else:
            state[name] = rng.uniform(-0.5, 0.5, value.shape)
    return {name: value.astype(np.float32) for name, value in state.items()}


@pytest.mark.slow
@pytest.mark.parametrize("variant, sides", [("2d_16_shallow", (16, 24)), ("3d_8", (8, 8, 16))])
def test_all_stages_compute_what_the_network_is_defined_as(variant, sides):
    model = lightm_unet(variant, (*sides, 2), classes=3)
    state = quiet_state(model)
    assert load_torch_state(model, state).complete
    image = np.random.default_rng(1).standard_normal((2, *sides, 2)).astype(np.float32)
    exact = {name: value.astype(np.float64) for name, value in state.items()}
    expected = lightm_reference.forward(exact, np.moveaxis(image, -1, 1).astype(np.float64))
    ends = {f"down{i}": f"down_layers.{i}" for i in range(4)}
    ends |= {f"up{i}": f"up_layers.{i}.0.relu2" for i in range(3)}
    ends["logits"] = "conv_final.2.1.conv"
    probe = keras.Model(model.input, [model.get_layer(ends[name]).output for name in expected])
    for (name, value), found in zip(expected.items(), probe(image), strict=True):
        error = output_error([np.moveaxis(value, 1, -1)], [np.asarray(found)])
        assert error < 2e-5, (name, error)


@pytest.mark.parametrize("variant", ["2d_8", "2d_16_shallow", "3d"])
def test_a_checkpoint_tells_variant_channels_and_classes(variant):
    shape = (*[8] * len(VARIANTS[variant]["size"]), 4)
    state = torch_state(lightm_unet(variant, shape, classes=5))
    assert NETWORK.infer(state) == {"variant": variant, "channels": 4, "classes": 5}


def test_another_checkpoint_tells_nothing_wrong():
    assert NETWORK.infer({"encoder.weight": np.zeros((3, 3))}) == {}
    stem = {"convInit.0.conv.weight": np.zeros((3, 1, 3, 3))}
    assert NETWORK.infer(stem) == {"channels": 3}


def test_checkpoints_of_nnu_net_load(tmp_path):
    """The state dict lies under `network_weights`, beside the optimiser, plans and a log."""
    model = lightm_unet("2d_8", (16, 24, 1))
    weights = {f"_orig_mod.{name}": value for name, value in quiet_state(model).items()}
    checkpoint = {
        "network_weights": OrderedDict(weights),
        "optimizer_state": {"state": {0: {"exp_avg": np.ones((8, 1, 1, 1), np.float32)}}},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [0.5, 0.75], "ema_fg_dice": [0.5]},
        "_best_ema": 0.75,
        "current_epoch": 100,
        "init_args": {
            "plans": {"plans_name": "nnUNetPlans", "configurations": {"2d": {"batch_size": 12}}},
            "configuration": "2d",
            "fold": "all",
            "dataset_json": {"labels": {"background": 0, "lung": 1}},
            "unpack_dataset": True,
        },
        "trainer_name": "nnUNetTrainerLightMUNet",
        "inference_allowed_mirroring_axes": (0, 1),
    }
    path = tmp_path / "checkpoint_final.pth"
    with torch_files.torch_names():
        torch_files.write_zip(path, checkpoint)
    state = NETWORK.published(read(path))
    assert NETWORK.infer(state) == {"variant": "2d_8", "channels": 1, "classes": 2}
    report = load_torch_state(model, NETWORK.convert_state(state), ignored=NETWORK.ignored)
    assert report.complete and len(report.matched) == len(weights)
    found = torch_state(model)
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name.removeprefix("_orig_mod.")], value)


def test_a_training_on_large_inputs_keeps_what_layers_and_blocks_end_with():
    shape = (16, 24, 3)
    model = lightm_unet("2d_8", shape, depths=(1, 2, 1, 1))
    graph = recomputed(model, NETWORK.kept)
    segments = [layer.name for layer in graph.layers if isinstance(layer, Recomputed)]
    ends = ["down_layers.0.1.conv1.proj", "down_layers.0", "down_layers.1.0.1",
            "down_layers.1.1.conv1.proj", "down_layers.1.1", "down_layers.1.2.conv1.proj",
            "down_layers.1", "down_layers.2.0.1", "down_layers.2.1.conv1.proj", "down_layers.2",
            "down_layers.3.0.1", "down_layers.3.1.conv1.proj", "down_layers.3",
            *(f"up_layers.{i}.0.relu2" for i in range(3))]  # fmt: skip
    assert segments == [f"{end}.recomputed" for end in ends]
    assert [id(v) for v in graph.variables] == [id(v) for v in model.variables]
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    np.testing.assert_array_equal(graph(image), model(image))


def test_half_precision_follows_float():
    shape = (16, 24, 3)
    fewer = {"depths": (1, 1, 1, 1)}
    model = lightm_unet("2d_8", shape, **fewer)
    load_torch_state(model, quiet_state(model))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = lightm_unet("2d_8", shape, **fewer)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    error = output_error([np.asarray(model(image))], [np.asarray(half(image), np.float32)])
    assert error < 0.03
    kinds = {v.name: v.dtype for v in half.variables if v.name in ("A_log", "D")}
    assert kinds == {"A_log": "float32", "D": "float32"}


def test_the_card_says_what_the_paper_counts_otherwise():
    card = NETWORK.card("2d")
    assert card.published["parameters"] == 5_011_765
    assert card.published["M parameters in the paper"] == 1.09


def test_images_are_no_input_of_the_variants_for_volumes():
    config = TrainConfig(app="medseg", **TASK.recipe("lightm_unet"), network="lightm_unet",
                         variant="3d_8")  # fmt: skip
    assert TASK.training_input_shape(NETWORK.card("2d_8"), config) == (512, 512, 3)
    images = TASK.read("sample")
    for refused in (
        lambda: training_card(TASK, NETWORK.card("3d_8"), config, images),
        lambda: TASK.load(images.samples[0], NETWORK.card("3d_8")),
    ):
        with pytest.raises(UserError, match=r"lightm_unet 3d_8 takes volumes.*a variant for im"):
            refused()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"variant": "4d"}, "'4d'"),
        ({"variant": "2d", "input_shape": (20, 16, 3)}, "H and W multiples of 8"),
        ({"variant": "3d", "input_shape": (16, 16, 1)}, r"\(D, H, W, C\)"),
        ({"variant": "2d", "input_shape": (16, 16, 3), "classes": 0}, "classes=0"),
        ({"variant": "2d", "input_shape": (16, 16, 3), "depths": (1, 2)}, r"depths=\(1, 2\)"),
        ({"variant": "2d", "input_shape": (16, 16, 3), "depths": (1, 0, 1, 1)}, "depths="),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        lightm_unet(**arguments)
