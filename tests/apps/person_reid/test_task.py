"""Person re-identification bound to core: data, batches, losses, results."""

import numpy as np
import pytest

from apps.catalog import card
from apps.person_reid.task import TASK
from core.config import TrainConfig
from core.data.pipeline import TrainingData
from core.errors import UserError

CARD = card("osnet", "x0_25").replace(input_size=(64, 32))


def config(**choices) -> TrainConfig:
    options = TASK.check_options(choices.pop("options", {}))
    return TrainConfig("reid", "osnet", "x0_25", batch=16, classes=54, options=options, **choices)


@pytest.fixture(scope="module")
def sample():
    return TASK.read("sample")


def test_the_sample_has_persons_to_train_on_and_to_find(sample):
    assert TASK.classes_of(sample) == 54
    for split in ("val", "test"):
        roles = {one.extra["role"] for one in sample.split(split).samples}
        assert roles == {"query", "gallery"}
    assert "Synthetic" in " ".join(sample.notes)


def test_a_quick_look_keeps_whole_persons(sample):
    few = TASK.few_samples(sample)
    assert TASK.classes_of(few) == 4 and set(few.counts()) == {"train", "val", "test"}
    for split in ("val", "test"):
        roles = {one.extra["role"] for one in few.split(split).samples}
        assert roles == {"query", "gallery"}


def test_a_format_may_ask_for_all_persons(sample):
    everything = TASK.read("sample", "auto-all")
    assert TASK.classes_of(everything) > 54
    with pytest.raises(UserError, match="No such data format"):
        TASK.read("sample", "markt-all")


def test_several_data_sets_are_joined():
    both = TASK.read("sample+sample")
    assert TASK.classes_of(both) == 2 * 54


def test_batches_hold_several_images_of_each_person(sample):
    data = TrainingData(TASK, sample.split("train"), CARD, config(options={"loss": "triplet"}))
    inputs, labels = next(iter(data.dataset()))
    data.close()
    assert inputs.shape == (16, 64, 32, 3) and labels.shape == (16,)
    assert sorted(np.unique(labels, return_counts=True)[1]) == [4, 4, 4, 4]


def test_every_change_keeps_the_size_and_follows_the_seed(sample):
    options = dict.fromkeys(("flip", "crop", "erase", "patch", "jitter"), "on")
    chosen = config(options=options)
    example = TASK.load(sample.split("train").samples[0], CARD)
    one, again, other = (
        TASK.augment(example, np.random.default_rng(seed), chosen).inputs for seed in (1, 1, 2)
    )
    assert one.shape == (64, 32, 3)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"loss": "triplets"}, "Did you mean 'triplet'"),
        ({"images": 1}, "whole number, 2 or more"),
        ({"margin": -0.1}, "0 or more"),
        ({"margin": "wide"}, "it must be a number, 0 or more"),
        ({"loss": "triplet", "triplet_weight": 0}, "choose the loss 'softmax'"),
        ({"loss": "triplet", "softmax_weight": 0, "fixed_epochs": 3}, "set one of the two"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        TASK.check_options(options)


@pytest.mark.parametrize(("name", "value"), [("metric", "cosin"), ("rerank", "on")])
def test_decodings_that_do_not_exist_are_refused(name, value):
    with pytest.raises(UserError, match=f"--set: {name}"):
        TASK.check_decoding(CARD.replace(decode={name: value}))


def test_a_result_is_written_as_a_plain_array(sample, tmp_path):
    one = sample.split("test").samples[0]
    (path,) = TASK.write(one, np.arange(512, dtype=np.float32), tmp_path, CARD)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), np.arange(512))


def test_a_result_is_drawn_beside_its_crop(sample):
    picture = TASK.draw(sample.split("test").samples[0], np.ones(512, np.float32), CARD)
    assert picture.shape == (256, 268, 3) and picture.dtype == np.uint8
