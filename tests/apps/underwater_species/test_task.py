"""Networks, presets and augmentation of underwater species."""

import math

import keras
import numpy as np
import pytest

from apps import catalog
from apps.underwater_species.augment import AREAS, ASPECTS, augmented, random_box
from apps.underwater_species.data import SPECIES
from apps.underwater_species.task import TASK
from core.command_line.choices import merge
from core.config import TrainConfig
from core.task import Example


@pytest.mark.parametrize(
    "name, variant, parameters",
    [
        ("mobilenetv2", None, 2_249_492),
        ("shufflenetv2", "x1_0", 1_274_104),
        ("squeezenet", "1_1", 732_756),
        ("efficientnet", "b0", 4_033_168),
        ("resnet", "50", 23_549_012),
        ("densenet", "121", 6_974_356),
        ("convnext", "base", 87_586_964),
        ("regnet", "x_32gf", 105_340_980),
        ("vgg", "19", 139_652_180),
        ("inceptionv3", "v3", 21_826_548),
    ],
)
def test_parameters_with_twenty_classes_are_the_published_ones(name, variant, parameters):
    entry = TASK.network(name)
    variant = entry.check_variant(variant)
    card = entry.card(variant).replace(labels=SPECIES)
    with keras.StatelessScope(initialize_variables=False):  # no memory for 140 million weights
        model = entry.build(variant, card.input_shape, **TASK.build_arguments(card))
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == parameters


def test_every_backbone_can_be_trained_the_published_mobile_one_first():
    assert set(TASK.networks) == set(catalog.names(catalog.BACKBONE))
    assert TASK.default_network == "mobilenetv2"
    entry = TASK.network(TASK.default_network)
    card = entry.card(entry.check_variant(None))
    assert card.app == "aqua" and card.input_size == (224, 224) and card.labels == ()


def config(preset=None, **flags):
    values = merge(TASK, {}, {"data": "sample", **flags}, preset=preset)
    return TrainConfig.from_dict({"variant": "x", **values})


def test_the_papers_preset_trains_the_head_alone_on_plain_pictures():
    made = config("paper")
    assert (made.optimizer, made.learning_rate, made.batch) == ("adam", 1e-3, 32)
    assert (made.epochs, made.patience, made.weight_decay) == (100, 10, 0)
    assert made.schedule == "constant" and not made.augment and made.format == "auto-paper"
    assert TASK.head_epochs(made) == made.epochs
    assert made.options["norms"] == "adapting" and made.options["class_weights"] == "none"
    assert {TASK.learning_rate(made, epoch) for epoch in (0, 50, 99)} == {1e-3}


def test_the_sound_preset_is_the_default_and_opens_the_backbone_at_a_small_rate():
    made = config("sound")
    assert made == config()
    first = TASK.head_epochs(made)
    assert 0 < first < made.epochs and made.augment
    assert TASK.learning_rate(made, first - 1) == 1e-3
    assert max(TASK.learning_rate(made, e) for e in range(first, made.epochs)) <= 1e-4
    assert made.options["norms"] == "frozen" and made.options["class_weights"] == "balanced"


def test_flags_go_before_the_preset():
    made = config("paper", epochs=3, format="folders")
    assert (made.epochs, made.format, made.batch) == (3, "folders", 32)


def test_augmentation_takes_a_part_of_at_least_half_and_mirrors_some():
    rng = np.random.default_rng(0)
    boxes = [random_box((90, 120), rng) for _ in range(300)]
    for top, left, height, width in boxes:
        assert top >= 0 and left >= 0 and top + height <= 90 and left + width <= 120
        assert AREAS[0] - 0.02 <= height * width / (90 * 120) <= AREAS[1]
        assert ASPECTS[0] - 0.03 <= width / height <= ASPECTS[1] + 0.03
    image = np.tile(np.arange(120, dtype=np.uint8), (90, 1))[..., None].repeat(3, -1)
    changed = [augmented(image, rng) for _ in range(40)]
    assert {one.shape for one in changed} == {image.shape}
    mirrored = sum(int(one[0, 0, 0]) > int(one[0, -1, 0]) for one in changed)
    assert 8 <= mirrored <= 32


def test_augmentation_follows_from_its_generator():
    example = Example(np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    first, again = (
        TASK.augment(example, np.random.default_rng([7, 1]), config()).inputs for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_a_head_that_is_trained_on_random_features_is_told():
    entry = TASK.network("squeezenet")
    assert "random weights" in TASK.bring_weights(entry, None, config())[0]
    alone = config(options={"head_epochs": 0})
    assert TASK.bring_weights(entry, None, alone) == []
