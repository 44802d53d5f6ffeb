"""What checkpoints of OSNet are called, what they tell of themselves, and that they load whole."""

from pathlib import Path

import golden_files
import numpy as np
import pytest
import torch_files

from apps.person_reid.models.osnet import NETWORK, VARIANTS, osnet
from apps.person_reid.models.osnet_names import (
    guess_variant,
    infer_arguments,
    is_imagenet_only,
    renamed,
)
from core.checkpoints import load_torch_state, parameter_shapes, read, torch_state
from core.errors import UserError


def state_of(variant: str, classes: int | None = None) -> dict[str, np.ndarray]:
    """Return a state dict as published, with the parameters of the golden files."""
    shapes = dict(golden_files.load(f"osnet__osnet_{variant}").shapes)
    for leaf in ("weight", "bias"):
        shape = shapes.pop(f"classifier.{leaf}")
        if classes is not None:
            shapes[f"classifier.{leaf}"] = (classes, *shape[1:])
    return {name: golden_files.parameter(name, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "file, variant",
    [
        ("osnet_x1_0_market_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax.pth", "x1_0"),
        ("osnet_x0_25_msmt17_combineall_256x128_amsgrad_ep150_stp60_lr0.0015.pth", "x0_25"),
        ("osnet_ain_x1_0_msmt17_256x128_amsgrad_ep50_lr0.0015_coslr_b64.pth", "ain_x1_0"),
        ("osnet_ibn_x1_0_imagenet.pth", "ibn_x1_0"),
        ("weights/osnet_x0_25_msmt17.pt", "x0_25"),
        ("osnet_x1_0_or_osnet_ain_x1_0.pt", "ain_x1_0"),
        ("OSNet-AIN-x0.75.safetensors", "ain_x0_75"),
        ("osnet_x0_5/resnet50.pth", None),
        ("osnet_x0_50.pth", None),
        ("osnet_ibn_x0_5.pth", None),
        ("", None),
    ],
)
def test_the_longest_match_in_a_files_name_is_the_variant(file, variant):
    assert guess_variant(file) == variant
    assert guess_variant(Path(file)) == variant


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_guessed_from_its_name_and_its_arrays(variant):
    assert guess_variant(f"osnet_{variant}_imagenet.pth") == variant
    assert infer_arguments(state_of(variant)) == {"variant": variant}
    assert infer_arguments(state_of(variant, 702)) == {"variant": variant, "classes": 702}


def test_foreign_checkpoints_tell_nothing():
    state = state_of("x1_0")
    assert infer_arguments({}) == {}
    assert infer_arguments({"conv1.conv.weight": np.zeros((64, 3, 7, 7))}) == {}
    assert infer_arguments({**state, "conv1.conv.weight": np.zeros((65, 3, 7, 7))}) == {}
    small = {**state_of("x0_5"), "conv2.0.IN.weight": np.zeros(128)}
    assert infer_arguments(small) == {}  # there is no IBN of half the width


@pytest.mark.parametrize(
    "variant, classes", [("x0_25", 751), ("ibn_x1_0", 702), ("ain_x0_5", 4101)]
)
def test_a_zoo_checkpoint_loads_whole(tmp_path, variant, classes):
    state = {f"module.{name}": array for name, array in state_of(variant, classes).items()}
    counter = {"module.conv1.bn.num_batches_tracked": np.int64(7).reshape(())}
    content = {"state_dict": {**state, **counter}, "epoch": 150, "rank1": 0.942}
    file = torch_files.write_zip(tmp_path / "osnet.pth.tar", content)
    published = NETWORK.published(read(file))
    arguments = NETWORK.infer(published)
    assert arguments == {"variant": variant, "classes": classes}
    model = NETWORK.build(arguments["variant"], (32, 16, 3), classes=arguments["classes"])
    report = load_torch_state(model, NETWORK.convert_state(published), ignored=NETWORK.ignored)
    assert report.complete and len(report.matched) == len(state)
    for name, array in torch_state(model).items():
        np.testing.assert_array_equal(array, state[f"module.{name}"])


def test_a_network_without_classifier_skips_it_and_says_so():
    state, model = state_of("x0_25", 751), osnet("x0_25", (32, 16, 3))
    with pytest.raises(UserError, match=r"Unexpected[^:]*:\s+classifier.weight"):
        load_torch_state(model, state, ignored=NETWORK.ignored)
    report = load_torch_state(model, state, ignored=(*NETWORK.ignored, *NETWORK.skipped(model)))
    assert report.complete and set(report.ignored) == {"classifier.weight", "classifier.bias"}
    assert NETWORK.skipped(osnet("x0_25", (32, 16, 3), classes=2)) == ()


def test_entries_of_a_flop_counter_are_no_parameters():
    state = {f"module.{name}": array for name, array in state_of("x0_25").items()}
    state |= {"total_ops": np.zeros(1), "module.conv1.conv.total_params": np.zeros(1)}
    model = osnet("x0_25", (32, 16, 3))
    assert load_torch_state(model, NETWORK.published(state), ignored=NETWORK.ignored).complete


def test_a_plain_network_is_a_child_of_the_search_under_other_names():
    state = state_of("x0_25")
    child = osnet("ain_x0_25", (32, 16, 3), placement=["plain"] * 6)
    expected = dict(parameter_shapes(child))
    found = {name: array.shape for name, array in renamed(state, "ain").items()}
    assert {k: v for k, v in found.items() if not k.startswith("conv1.bn")} == {
        k: v for k, v in expected.items() if not k.startswith("conv1.bn")
    }
    back = renamed(renamed(state, "ain"), "osnet")
    assert list(back) == list(state) and renamed(state, "osnet") == state
    assert renamed(state_of("ain_x0_25"), "ain").keys() == state_of("ain_x0_25").keys()


def test_weights_of_imagenet_alone_are_warned_of():
    for source in (
        "osnet_x0_25_imagenet.pth",
        Path("a/OSNet-ImageNet.pt"),
        state_of("x0_25", 1000),
    ):
        assert "do not tell persons apart" in is_imagenet_only(source)
    for source in (
        "osnet_x0_25_msmt17.pt",
        "imagenet/osnet_x1_0_market.pth",
        state_of("x0_25", 751),
    ):
        assert is_imagenet_only(source) == ""
    assert is_imagenet_only(state_of("x0_25")) == ""
