"""A task's samples explained: what the command does, from Python."""

import numpy as np
import pytest
from color_task import CLASSES, TASK, write_data

from core.engines import KerasEngine
from core.errors import UserError
from core.explain import CAM_METHODS, METHODS, REGIONS
from core.explain.cam import METHODS as FORMULAS
from core.explain.explainer import Explainer, class_number, explanation_picture
from core.explain.segmentation import SEGMENTATIONS


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("colours")).split("test").samples


@pytest.fixture(scope="module")
def engine():
    import keras

    keras.utils.set_random_seed(4)
    network = TASK.network("colour_net")
    card = network.card("base").sized((16, 16)).replace(labels=CLASSES)
    return KerasEngine(network.build("base", (16, 16, 3)), card)


def test_the_names_are_those_of_what_there_is():
    assert set(CAM_METHODS) == set(FORMULAS) < set(METHODS)
    assert set(REGIONS) == set(SEGMENTATIONS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_map_of_the_picture_as_the_network_saw_it(engine, samples, method):
    done = []
    explain = Explainer(
        TASK, engine, method, samples=50, segmentation="squares", advance=done.append
    )
    found = explain(samples[:2])
    assert [one.sample for one in found] == list(samples[:2])
    for one in found:
        np.testing.assert_array_equal(one.picture, TASK.load(one.sample, engine.card).inputs)
        assert one.values.shape == (16, 16) and np.isfinite(one.values).all()
        assert one.label == one.probabilities.argmax()
        assert one.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert one.heat.min() >= 0 and one.heat.max() in (0, 1)
    assert sum(done) == 2 * explain.steps


def test_probabilities_are_those_of_a_prediction(engine, samples):
    from core.evaluate import run

    said = [result["probability"] for _, result in run(TASK, engine, samples)]
    found = Explainer(TASK, engine)(samples)
    assert [one.probabilities.max() for one in found] == pytest.approx(said, abs=1e-6)
    assert [one.likeliest(engine.card)[0][1] for one in found] == pytest.approx(said, abs=1e-6)


def test_a_class_is_chosen_by_its_name(engine, samples):
    (one,) = Explainer(TASK, engine, label="blue")(samples[:1])
    assert one.label == 2
    with pytest.raises(UserError, match="Did you mean 'blue'"):
        Explainer(TASK, engine, label="bleu")


def test_a_class_without_a_name_is_called_by_its_number(engine):
    nameless = engine.card.replace(labels=())
    assert class_number(nameless, "2") == class_number(nameless, "class 2") == 2
    with pytest.raises(UserError, match="No such class: 'blue'"):
        class_number(nameless, "blue")
    with pytest.raises(UserError, match="No such class: '2'"):
        class_number(engine.card, "2")


def test_curves_begin_and_end_at_the_whole_and_the_blurred_picture(engine, samples):
    explain = Explainer(TASK, engine)
    (one,) = explain(samples[:1])
    away, back = explain.curves(one)
    assert away.probabilities[0] == pytest.approx(one.probabilities[one.label], abs=1e-6)
    assert away.probabilities[0] == pytest.approx(back.probabilities[-1], abs=1e-6)
    assert away.probabilities[-1] == pytest.approx(back.probabilities[0], abs=1e-6)


def test_a_network_that_says_nan_of_one_picture_explains_the_others(engine, samples):
    class Torn(type(TASK)):
        def encode(self, example, card):
            values, target = super().encode(example, card)
            torn = np.array_equal(example.inputs, pictures[1])
            return (values * np.nan if torn else values), target

    explain = Explainer(Torn(), engine)
    pictures = [explain.picture(sample) for sample in samples[:3]]
    found = list(explain.each(samples[:3]))
    assert [error is None for _, _, error in found] == [True, False, True]
    assert "NaN" in str(found[1][2])


def test_the_picture_shows_both_at_one_size_and_all_lines(engine, samples):
    (one,) = Explainer(TASK, engine)(samples[:1])
    plain = explanation_picture(one, engine.card)
    told = explanation_picture(one, engine.card, ["grad-cam", "deletion 0.1", "more"])
    assert plain.shape[1] == told.shape[1] == 2 * 224 + 12
    assert told.shape[0] > plain.shape[0]
    assert (told[plain.shape[0] :, 236:] < 128).any()  # the fourth line, below the third class
