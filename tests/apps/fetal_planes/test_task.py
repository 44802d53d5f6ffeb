"""Fetal planes bound to core: recipe, presets, what the card keeps."""

import numpy as np
import pytest

from apps.catalog import card
from apps.fetal_planes.data import PLANES
from apps.fetal_planes.task import TASK
from core.config import TrainConfig
from core.data.index import make_index
from core.task import Example

CARD = card("fetal_net", "lite0-none")


def config(**choices) -> TrainConfig:
    recipe = {**TASK.recipe("fetal_net"), **choices}
    recipe["options"] = TASK.check_options(recipe.get("options", {}))
    return TrainConfig("fetal", "fetal_net", "lite0-none", data="sample", classes=6, **recipe)


def test_the_default_network_is_the_papers_backbone_behind_a_gate():
    assert TASK.default_network == "fetal_net"
    assert TASK.network("fetal_net").check_variant(None) == "b0-spatial-gate"
    assert {"mobilenetv2", "efficientnet"} < set(TASK.networks)


def test_the_head_is_trained_first_and_then_all_at_a_tenth_of_the_rate():
    rates = [TASK.learning_rate(config(), epoch) for epoch in range(50)]
    assert rates[:5] == [1e-3] * 5
    assert rates[5] == pytest.approx(1e-4, rel=0.2) and rates[-1] < 1e-5
    assert TASK.headline == "macro_f1" and config().patience == 8 and config().batch == 32


def test_class_weights_are_counted_on_the_training_part_alone():
    index = TASK.read("sample")
    train = [sample for sample in index.samples if sample.split == "train"]
    few = [s for s in index.samples if s.split != "train" or s.label or s is train[0]]
    smaller = make_index("simulated", index.root, few, labels=index.labels)
    options = TASK.settled_options({"class_weights": "balanced"}, smaller)
    weights = options["loss_weights"]
    assert len(weights) == 6 and weights[0] == max(weights)
    counts = np.bincount([s.label for s in few if s.split == "train"], minlength=6)
    np.testing.assert_allclose(weights[0] / weights[1], counts[1] / counts[0], rtol=1e-4)


def test_the_crop_that_was_chosen_goes_into_the_card():
    index = TASK.read("sample")
    made = TASK.card_for(CARD, config(options={"crop": "sector"}), index)
    assert made.decode["crop"] == "sector" and made.labels == PLANES
    assert TASK.card_for(CARD, config(), index).decode["crop"] == "off"


def test_presets_choose_the_random_split_and_the_network_of_a_phone():
    index = TASK.read("sample", TASK.preset("paper-like")["format"])
    assert index.format == "simulated-paper-like"
    phone = TASK.preset("phone")
    assert TASK.network("fetal_net").check_variant(phone["variant"]) == "lite0-spatial-gate"
    assert TASK.check_options(phone["options"])["class_weights"] == "balanced"


def test_augmentation_changes_the_picture_and_not_its_class():
    example = Example(np.full((32, 48, 3), 90, np.uint8), np.int64(4))
    changed = TASK.augment(example, np.random.default_rng(0), config())
    assert changed.target == 4 and (changed.inputs != example.inputs).any()
