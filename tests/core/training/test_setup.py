"""What a training takes from its config and what from the card, for inputs of any rank."""

from pathlib import Path

import pytest
import toy_task

from core.config import TrainConfig
from core.data.index import Index
from core.errors import UserError
from core.model_card import ModelCard
from core.training.setup import settled, training_card

PICTURE = ModelCard("net", "base", "toy", size_multiple=8)
SIGNAL = ModelCard(
    "net", "base", "toy", input_size=(128,), size_multiple=8, channels=2, color_order="",
    full_scale=1.0, mean=(0.0, 0.0), std=(1.0, 1.0),
)  # fmt: skip
VOLUME = SIGNAL.replace(input_size=(32, 32, 32))
DATA = Index("x", "data", ())


def config(**choices) -> TrainConfig:
    return TrainConfig.from_dict({"app": "toy", "network": "net", "variant": "base", **choices})


def card_of(card: ModelCard, **choices) -> ModelCard:
    return training_card(toy_task.ToyTask(), card, config(**choices), DATA)


@pytest.mark.parametrize(
    "card, given, size",
    [
        (PICTURE, 96, (96, 96)),
        (PICTURE, [64, 32], (64, 32)),
        (SIGNAL, 256, (256,)),
        (SIGNAL, [256], (256,)),
        (VOLUME, 16, (16, 16, 16)),
        (VOLUME, [8, 16, 24], (8, 16, 24)),
        (SIGNAL, None, (128,)),
    ],
)
def test_a_size_has_the_sides_of_the_input_or_is_one_number_for_all(card, given, size):
    assert card_of(card, input_size=given).input_size == size


@pytest.mark.parametrize(
    "card, given, said",
    [
        (PICTURE, [8, 8, 8], "Input size 8x8x8 has 3 sides, but the input of net has 2; pass "
                             "height and width."),
        (SIGNAL, [8, 8], "Input size 8x8 has 2 sides, but the input of net has 1; pass length."),
        (VOLUME, [8, 8], "Input size 8x8 has 2 sides, but the input of net has 3; pass depth, "
                         "height and width."),
        (PICTURE, 100, "Input size 100x100 does not fit net: height and width must be multiples "
                       "of 8; the nearest that fits is 96x96."),
        (SIGNAL, 100, "Input size 100 does not fit net: length must be a multiple of 8; the "
                      "nearest that fits is 96."),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_explained(card, given, said):
    with pytest.raises(UserError) as error:
        card_of(card, input_size=given)
    assert str(error.value) == said


def test_pictures_become_grey_or_coloured_and_nothing_else_changes_its_channels():
    grey = card_of(PICTURE, channels=1)
    assert (grey.channels, grey.color_order, len(grey.mean), len(grey.std)) == (1, "gray", 1, 1)
    assert card_of(grey, channels=3).color_order == "RGB"
    assert card_of(SIGNAL, channels=2) == SIGNAL == card_of(SIGNAL)
    for card, said in ((PICTURE, r"channels is 4; it must be 1 \(grey\) or 3 \(RGB\)\."),
                       (SIGNAL, "channels is 4, but net takes 2.")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            card_of(card, channels=4)


def test_what_options_leave_to_the_data_is_settled_and_said_in_the_card():
    class Measuring(toy_task.ToyTask):
        def settled_options(self, options, index):
            return {**self.check_options(options), "heads": len(index.root.name)}

        def card_for(self, card, config, index):
            return card.replace(decode={"heads": config.options["heads"]})

    task, data = Measuring(), Index("x", Path("abc"), ())
    assert settled(config(), task, PICTURE, data).options["heads"] == 3
    assert training_card(task, PICTURE, config(), data).decode == {"heads": 3}
    assert training_card(toy_task.ToyTask(), PICTURE, config(), data).decode == {}


def test_what_a_config_leaves_open_is_settled_the_same_however_it_is_said():
    said = [config(input_size=16), config(input_size=[16, 16], channels=3)]
    first, second = (settled(one, toy_task.ToyTask(), PICTURE, DATA) for one in said)
    assert first == second
    assert (first.input_size, first.channels, first.options["heads"]) == ((16, 16), 3, 1)
    assert settled(config(), toy_task.ToyTask(), SIGNAL, DATA).input_size is None  # the card's
