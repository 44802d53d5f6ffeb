"""What all classification apps have in common."""

from dataclasses import replace

import numpy as np
import pytest
from color_task import CLASSES, NETWORK, SIDE, Colours, config, write_data

from core.data.index import Sample, make_index
from core.engines import KerasEngine
from core.errors import UserError
from core.evaluate import evaluate
from core.training.callbacks import Silent
from core.training.fit import train
from core.training.state import TrainingState


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A training of two epochs of the head and two of all, and what it told."""
    heard = Notes()
    run = train(
        Colours(), config(), tmp_path_factory.mktemp("runs") / "run", index=data, progress=heard
    )
    return run, heard.notes


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Stopped(Silent):
    """Ends a training as Ctrl-C does, after so many epochs."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def epoch(self, epoch, row, timing):
        if epoch == self.epochs:
            raise KeyboardInterrupt


def weights(run) -> list[bytes]:
    return [values.tobytes() for values in run.load_model().get_weights()]


def test_a_network_of_a_backbone_is_the_apps_own_with_the_classes_of_the_data(trained):
    run, _ = trained
    assert run.card.app == "colours" and run.card.labels == CLASSES
    assert run.load_model().output_shape == (None, 3)


def test_the_frozen_part_goes_over_every_sample_once(trained):
    _, notes = trained
    assert len(notes) == 1 and "went over 16 samples" in notes[0]


@pytest.mark.slow
def test_training_on_kept_features_is_training_the_head(trained, data, tmp_path):
    """The features change how it is computed, not what is learned, as nothing is augmented."""
    kept = train(Colours(), config(augment=False), tmp_path / "kept", index=data)
    computed = train(
        Colours(),
        config(augment=False, options={"features": "computed"}),
        tmp_path / "computed",
        index=data,
    )
    for one, other in zip(kept.history()[:1], computed.history()[:1], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert kept.history()[0]["val_nll"] == pytest.approx(computed.history()[0]["val_nll"], rel=1e-4)


def moved(one, other) -> set[str]:
    """Return the layers whose newest weights differ between two runs."""
    paths = [variable.path for variable in one.load_model().variables]
    newest = [TrainingState.load(run.path).arrays["model"] for run in (one, other)]
    pairs = zip(paths, *newest, strict=True)
    names = {path.split("/")[0] for path, a, b in pairs if not np.array_equal(a, b)}
    return {name for name in names if not name.startswith("seed_generator")}


def test_only_the_head_learns_while_its_features_are_kept(data, tmp_path):
    before = train(Colours(), config(epochs=1, seed=4), tmp_path / "a", index=data)
    after = train(Colours(), config(epochs=2, seed=4), tmp_path / "b", index=data)
    assert moved(before, after) == {"classifier"}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_training_that_is_stopped_goes_on_exactly(trained, data, tmp_path, stop):
    run, _ = trained
    with pytest.raises(KeyboardInterrupt):
        train(Colours(), config(), tmp_path / "run", index=data, progress=Stopped(stop))
    resumed = train(Colours(), None, tmp_path / "run", index=data, resume=True)
    assert weights(resumed) == weights(run)
    assert resumed.file("history.csv").read_bytes() == run.file("history.csv").read_bytes()


def test_the_head_has_a_rate_of_its_own_and_the_schedule_begins_after_it(trained):
    chosen = config(epochs=6, learning_rate=1e-4, options={"head_rate": 2e-3})
    rates = [Colours().learning_rate(chosen, epoch) for epoch in range(6)]
    assert rates[:3] == [2e-3, 2e-3, 1e-4]
    assert rates[3] < 1e-4 and rates[5] == pytest.approx(1e-4 * (1 + np.cos(0.75 * np.pi)) / 2)
    assert [row["learning_rate"] for row in trained[0].history()][:2] == [1e-3, 1e-3]


@pytest.mark.slow
def test_stages_open_one_after_another(data, tmp_path):
    chosen = config(epochs=3, options={"head_epochs": 1, "opening": "stages", "stage_epochs": 1})
    runs = [
        train(Colours(), config(epochs=n, options=chosen.options), tmp_path / str(n), index=data)
        for n in (1, 2, 3)
    ]
    assert moved(runs[0], runs[1]) == {"conv2", "norm2", "classifier"}
    assert "conv1" in moved(runs[1], runs[2])


def test_nothing_is_augmented_where_features_are_kept(data, tmp_path):
    task = Colours()
    train(task, config(epochs=2), tmp_path / "run", index=data)
    assert task.augmented == 1  # the look at the first sample


def test_mixing_and_adapting_normalisations_need_the_whole_network(data, tmp_path):
    task = Colours()
    for name, options in {"mixed": {"mixup": 0.2}, "adapting": {"norms": "adapting"}}.items():
        task.augmented = 0
        run = train(task, config(epochs=1, options=options), tmp_path / name, index=data)
        assert task.augmented > 16
    norm = run.load_model().get_layer("norm1")
    assert not np.array_equal(norm.moving_mean, np.zeros(6))
    np.testing.assert_array_equal(norm.gamma, np.ones(6))


@pytest.mark.parametrize("head_epochs", [0, 1])
def test_norms_may_stay_frozen_to_the_end(data, tmp_path, head_epochs):
    choices = {"head_epochs": head_epochs, "norms": "frozen"}
    run = train(Colours(), config(epochs=2, options=choices), tmp_path / "run", index=data)
    norm = run.load_model().get_layer("norm1")
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(6))
    np.testing.assert_array_equal(norm.gamma, np.ones(6))


def test_balanced_weights_are_counted_on_the_training_samples_and_written_down(data):
    options = Colours().settled_options({"class_weights": "balanced"}, data)
    expected = [16 / (3 * count) for count in (7, 5, 4)]
    assert options["loss_weights"] == pytest.approx(expected, abs=1e-6)
    loss = Colours().objective(config(options=options)).loss
    assert loss.class_weights == options["loss_weights"]


def test_a_class_without_a_training_sample_cannot_be_weighted(data):
    samples = [s for s in data.samples if (s.label, s.split) != (2, "train")]
    index = make_index("colours", data.root, samples, labels=CLASSES)
    with pytest.raises(UserError, match="'blue' has no training sample"):
        Colours().settled_options({"class_weights": "balanced"}, index)
    assert any("train split" in n and "blue" in n for n in Colours().data_notes(index))


def test_a_single_class_is_nothing_to_tell_apart(data):
    samples = [s for s in data.samples if s.label == 0]
    index = make_index("colours", data.root, samples, labels=CLASSES[:1])
    with pytest.raises(UserError, match="single class, 'red'"):
        Colours().settled_options({}, index)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"smoothing": 1.0}, "'smoothing' is 1.0"),
        ({"head_rate": 0.0}, "'head_rate' is 0"),
        ({"norms": "fixed"}, "'norms' is 'fixed'"),
        ({"head_epochs": 1.5}, "'head_epochs' is 1.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        Colours().check_options(options)


def test_an_evaluation_tells_every_class_and_every_sample(trained, data):
    run, _ = trained
    scores = evaluate(Colours(), KerasEngine(run.load_model(), run.card), data.split("test"))
    assert {"accuracy", "macro_f1", "ece", "samples"} <= set(scores.summary)
    assert scores.summary["samples"] == 6
    right = np.mean([row["correct"] for row in scores.per_sample])
    assert scores.summary["accuracy"] == pytest.approx(right)
    assert {row["class"] for row in scores.per_sample} == set(CLASSES)


def test_a_label_outside_the_classes_is_told_with_its_sample(trained, data):
    run, _ = trained
    stray = Sample("stray", data.samples[0].inputs, label=7)
    result = {"logits": np.zeros(3, np.float32), "class": "red", "probability": 1 / 3}
    with pytest.raises(UserError, match="stray: has class 7, but the network tells 3"):
        Colours().score(iter([(stray, result)]), run.card)


def test_a_result_names_the_likeliest_classes_and_is_written_and_drawn(data, tmp_path):
    card = Colours().network("colour_net").card("base").replace(labels=CLASSES)
    sample = data.samples[0]
    result = Colours().decode([np.array([0.0, 2.0, 1.0])], sample, card)
    assert result["class"] == "green"
    assert [one["class"] for one in result["classes"]] == ["green", "blue", "red"]
    assert sum(one["probability"] for one in result["classes"]) == pytest.approx(1)
    (file,) = Colours().write(sample, result, tmp_path, card)
    assert file.name.endswith("_class.json") and '"green"' in file.read_text()
    picture = Colours().draw(sample, result, card)
    assert picture.dtype == np.uint8 and picture.shape[1] >= 224
    assert Colours().draw_truth(sample, card).shape[0] < picture.shape[0]


def test_pictures_of_other_sizes_come_to_the_networks_as_pillow_resizes(data):
    card = NETWORK.card("base").sized((SIDE, SIDE))
    assert Colours().load(data.samples[0], card).inputs.shape == (SIDE, SIDE, 3)


def test_a_quick_training_has_samples_of_every_class(data):
    few = Colours().few_samples(data)
    assert {(s.split, s.label) for s in few.samples} == {(s.split, s.label) for s in data.samples}
    assert few.counts() == {"train": 6, "val": 6, "test": 6}


def test_classes_are_matched_by_name_not_by_number(trained, data):
    run, _ = trained
    task, engine = Colours(), KerasEngine(run.load_model(), run.card)
    scores = evaluate(task, engine, data.split("test"))
    turned = CLASSES[::-1]
    samples = [replace(s, label=len(CLASSES) - 1 - s.label) for s in data.samples]
    other = make_index("turned", data.root, samples, labels=turned).split("test")
    assert evaluate(task, engine, other).summary == scores.summary
    some = replace(other, samples=tuple(s for s in other.samples if turned[s.label] != "green"))
    assert evaluate(task, engine, some).summary["samples"] == 4
    with pytest.raises(UserError, match="has the class 'bleu', which the network does not know"):
        evaluate(task, engine, replace(other, labels=("bleu", *turned[1:])))
    named = replace(data.split("test"), labels=("rot", "gruen", "blau"))  # as by --labels
    assert evaluate(task, engine, named).summary == scores.summary
