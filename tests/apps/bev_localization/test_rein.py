"""REIN against the published network, its rotations, its import, and its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import contract
import golden_files
import keras
import network_checks
import numpy as np
import pytest
import torch_files

from apps.bev_localization.models.bicubic import resampling, turning_matrix
from apps.bev_localization.models.rein import (
    NETWORK,
    VARIANTS,
    card,
    encoder_of,
    load_resnet34,
    rein,
)
from apps.bev_localization.models.rein_parts import map_part, place_part
from apps.bev_localization.models.rein_plain import plain_form
from apps.bev_localization.models.rotation import resampled, turned, unit_length
from apps.bev_localization.pose.features import features_at
from core.checkpoints import load_torch_state, read, torch_state
from core.engines import output_error
from core.errors import UserError
from core.export.convert import to_tflite
from core.tflite.inspect import operators

SHARED = Path(__file__).parents[4] / "shared" / "golden"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/golden")
# A smaller one stands with the tests.
CASES = ["rein-151", *(pytest.param(x, marks=needs_shared) for x in ("rein-65-batch2", "rein-201"))]
STAGES = {
    "encoder_0_layer0": "rem.encoder.0", "encoder_0_layer2": "rem.encoder.2",
    "encoder_0_layer3": "rem.encoder.3", "encoder_0_layer4": "rem.encoder.4.2",
    "warped": "rem.rotated", "encoder": "rem.encoder.5.3", "equivariant_max": "rem",
    "global_desc": "pooling",
}  # fmt: skip


@pytest.fixture(scope="module")
def algorithms():
    path = golden_files.GOLDEN / "bevplace-plus-plus__algorithms.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """Return a network of few blocks with weights of a plausible scale."""
    return filled(rein("r8_gray", (48, 48, 1), depths=(1, 1)))


def filled(model: keras.Model) -> keras.Model:
    load_torch_state(model, contract._plausible_state(model, 1.0))
    return model


def images(count: int, side: int) -> np.ndarray:
    """Return images of few occupied pixels, as those of scans are."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 11, (count, side, side, 1))
    occupied = rng.random((count, side, side, 1)) < 0.2
    return (np.rint(25.5 * counts) * occupied / 256).astype(np.float32)


def published(name: str) -> golden_files.Golden:
    folder = golden_files.GOLDEN if name == "rein-151" else SHARED
    golden = golden_files.load(f"bevplace-plus-plus__{name}", folder)
    meta = golden.meta
    return replace(
        golden,
        meta={**meta, "input": {"shape": meta["input_shape"], "seed": meta["input_seed"]}},
    )


@pytest.mark.parametrize("name", CASES)
def test_is_the_published_network(name):
    """Stages to 2e-4 of their scale, descriptors to 2e-5."""
    golden = published(name)
    inputs = golden.inputs()
    count, side = len(inputs), inputs.shape[1]
    model = rein("r8", inputs.shape[1:])
    assert load_torch_state(model, golden.state()).complete
    stages = keras.Model(model.input, [model.get_layer(x).output for x in STAGES.values()])
    found = dict(zip(STAGES, network_checks.outputs_of(stages, inputs), strict=True))
    for i in (0, 1):
        part = slice(i * count, (i + 1) * count)
        found[f"warped_{i}"], found[f"encoder_{i}"] = (
            found[stage][part] for stage in ("warped", "encoder")
        )
        features = keras.ops.convert_to_tensor(found[f"encoder_{i}"])
        found[f"unwarped_{i}"] = np.asarray(turned(features, -45.0 * i))
    largest = keras.ops.convert_to_tensor(found["equivariant_max"])
    pooling = model.get_layer("pooling")
    features = pooling.features(largest)
    pooled = (count, side // 4, side // 4, -1)
    shares, residuals = pooling.assigned(features), pooling.residuals(features)
    found |= {
        "out1": np.reshape(features, pooled),
        "local_feats": np.asarray(unit_length(resampled(largest, side))),
        "soft_assign": np.moveaxis(np.asarray(shares), 1, 2),
        "vlad_raw": np.asarray(residuals),
        "vlad_intra": np.asarray(unit_length(residuals)),
    }
    for stage in golden.outputs:
        value = found[stage][:count] if stage.startswith("encoder_0_") else found[stage]
        assert golden.error(stage, value) < 2e-4, stage
    expected, _, stride = golden.outputs["global_desc"]
    np.testing.assert_allclose(found["global_desc"].ravel()[::stride], expected, atol=2e-5)


def test_warps_and_resizing_are_those_of_the_published_code(algorithms):
    x = np.moveaxis(algorithms["warp/x"], 1, -1)
    for degrees in (0, 45, 90, 135, -45):
        expected = np.moveaxis(algorithms[f"warp/theta_{degrees}"], 1, -1)
        found = turned(keras.ops.convert_to_tensor(x), degrees)
        np.testing.assert_allclose(found, expected, atol=5e-6)
        by_matrix = turning_matrix(9, degrees) @ x.reshape(81, 2)
        np.testing.assert_allclose(by_matrix.reshape(x.shape), expected, atol=5e-6)
    for height, width in ((9, 9), (25, 25), (4, 4), (16, 20)):
        found = np.einsum("ij,ncjk,lk->ncil", resampling(height, 9), algorithms["warp/x"],
                          resampling(width, 9))  # fmt: skip
        np.testing.assert_allclose(found, algorithms[f"resize/{height}x{width}"], atol=5e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_and_multiplications_are_the_published_ones(variant):
    """The sheet counts two for each value that is normalised: 1.43 a rotation, 11.4 of eight."""
    model, table = rein(variant), VARIANTS[variant]
    assert network_checks.parameters(model) == table["parameters"]
    counted = network_checks.macs(model)
    assert counted == table["macs"]
    if variant == "r8":
        norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
        counted += sum(2 * int(np.prod(norm.output.shape[1:])) for norm in norms)
        assert (round(counted / 1e9, 2), round(8 * counted / 1e9, 1)) == (1.43, 11.4)


@pytest.mark.parametrize("variant", ["r8_gray", "r4_gray"])
def test_is_the_plain_form_of_all_rotations(variant):
    model = filled(rein(variant, (40, 40, 1), depths=(1, 1)))
    inputs = images(2, 40)
    outputs = (network_checks.outputs_of(form, inputs) for form in (model, plain_form(model)))
    assert output_error(*outputs) < 2e-5


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_leaves_the_place_as_it_is(small, turns):
    inputs = images(2, 48)
    features, places = network_checks.outputs_of(small, inputs)
    rotated, same = network_checks.outputs_of(small, np.rot90(inputs, turns, (1, 2)))
    np.testing.assert_allclose(same, places, atol=1e-6)
    np.testing.assert_allclose(rotated, np.rot90(features, turns, (1, 2)), atol=1e-5)


def test_an_eighth_of_a_turn_nearly_does(small):
    """Round about the centre, so that no corner is lost; other images are farther."""
    line = np.linspace(-1, 1, 48)
    inside = (line[:, None] ** 2 + line**2 < 0.8)[..., None]
    blurred = keras.ops.average_pool(images(4, 48), 5, 1, "same")
    inputs = np.asarray(blurred) * inside.astype(np.float32)
    slanted = np.asarray(turned(keras.ops.convert_to_tensor(inputs), 45.0))
    places, same = small(inputs)[1], small(slanted)[1]
    distances = np.linalg.norm(np.asarray(places)[:, None] - np.asarray(same)[None], axis=-1)
    own = np.diagonal(distances)
    assert own.max() < 0.6 * distances[~np.eye(4, dtype=bool)].min()


def test_local_features_are_read_from_the_map(small):
    """At keypoints what the published dense map holds there."""
    inputs = images(1, 48)
    features = small(inputs)[0]
    dense = np.asarray(unit_length(resampled(features, 48)))[0]
    pixels = np.random.default_rng(0).integers(0, 48, (50, 2))
    found = features_at(np.asarray(features)[0], pixels, 48)
    np.testing.assert_allclose(found, dense[pixels[:, 1], pixels[:, 0]], atol=1e-5)


def test_the_published_checkpoint_loads_whole(tmp_path):
    """As its authors save it, with an optimiser beside; into one plane too, summed up."""
    model = rein("r8", (32, 32, 3))
    state = contract._plausible_state(model, 1.0)
    counters = {"rem.encoder.1.num_batches_tracked": np.asarray(7, np.int64)}
    torch_files.write_zip(
        tmp_path / "model_best.pth.tar",
        {
            "epoch": 5, "state_dict": {**state, **counters}, "recalls": [0.99],
            "best_score": 0.9, "optimizer": {"state": {0: state["pooling.centroids"]}},
        },
    )  # fmt: skip
    found = NETWORK.published(read(tmp_path / "model_best.pth.tar"))
    assert NETWORK.infer(found) == {"variant": "r8"}
    assert load_torch_state(model, NETWORK.convert_state(found)).complete
    gray = rein("r8_gray", (32, 32, 1))
    assert load_torch_state(gray, NETWORK.convert_state(found)).complete
    inputs = images(1, 32)
    outputs = [
        network_checks.outputs_of(network, planes)
        for network, planes in ((model, inputs.repeat(3, axis=-1)), (gray, inputs))
    ]
    assert output_error(*outputs) < 1e-5


def test_the_encoder_starts_from_torchvision_or_not_at_all():
    model = rein("r8_gray", (32, 32, 1))
    names = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2"}
    state = {"fc.bias": np.zeros(9, np.float32), "layer3.0.bn1.bias": np.zeros(9, np.float32)}
    for name, array in contract._plausible_state(encoder_of(rein("r8", (32, 32, 3))), 1.0).items():
        _, _, child, rest = name.split(".", 3)
        state[f"{names[child]}.{rest}"] = array
    before = torch_state(model)
    with pytest.raises(UserError, match="1 missing"):
        load_resnet34(model, {k: v for k, v in state.items() if k != "layer2.3.bn2.bias"})
    np.testing.assert_array_equal(torch_state(model)["rem.encoder.1.bias"],
                                  before["rem.encoder.1.bias"])  # fmt: skip
    assert load_resnet34(model, state).complete
    after = torch_state(model)
    np.testing.assert_array_equal(after["rem.encoder.5.3.bn2.bias"], state["layer2.3.bn2.bias"])
    np.testing.assert_array_equal(after["pooling.centroids"], before["pooling.centroids"])


@pytest.mark.parametrize(
    "variant, shape",
    [
        ("r8", (64, 65, 3)), ("r8", (None, None, 3)), ("r8", (64, 64, 1)), ("r8_gray", (64, 64, 3)),
        ("r8", (7, 7, 3)), ("r16", (64, 64, 3)),
    ],
)  # fmt: skip
def test_what_the_network_cannot_be_built_with_is_refused(variant, shape):
    with pytest.raises(ValueError, match="Received"):
        rein(variant, shape)


def test_the_halves_are_the_network_and_their_files(small):
    """Builtin operators only, one image or map at a time; no look-ups but the turning's."""
    inputs = images(3, 48)
    features, places = network_checks.outputs_of(small, inputs)
    first, second = map_part(small), place_part(small)
    for part, given, expected in ((first, inputs, features), (second, features, places)):
        assert output_error([expected], network_checks.outputs_of(part, given)) < 2e-5
        content = to_tflite(part)
        network_checks.check_float_file(part, card("r8_gray"), given, content)
        kinds = [operator.name for operator in operators(content)]
        assert kinds.count("GATHER") == (16 if part is first else 0)


def test_a_network_from_a_file_deploys_where_names_are_numbered_anew(tmp_path):
    model = rein("r8_gray", (32, 32, 1), depths=(1, 1))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    keras.backend.clear_session()  # new operations get numbers that the file's have
    deployed, inputs = NETWORK.deploy(loaded), images(1, 32)[..., :1]
    found, expected = (network_checks.outputs_of(one, inputs) for one in (deployed, model))
    assert output_error(expected, found) < 1e-4


@pytest.mark.slow
def test_the_map_of_integers_is_as_good_as_its_simulation(small):
    """Values that are turned in float fall beside a code now and then, hence not all are equal."""
    network_checks.check_int8_file(map_part(small), card("r8_gray"), images(6, 48), exact=0.97)


@pytest.mark.slow
def test_integers_stop_where_the_place_is_pooled():
    """One file of all: its encoder of integers, its pooling in float."""
    model = NETWORK.deploy(filled(rein("r4_gray", (48, 48, 1), depths=(1, 1))))
    network_checks.check_int8_file(model, card("r4_gray"), images(6, 48))
