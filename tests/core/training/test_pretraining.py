"""An encoder trained without labels by the training of all apps, and taken over by a network."""

import dataclasses
import shutil

import numpy as np
import pytest
import toy_task
from test_fit import Recorder
from toy_task import ToyTask, config

from core.data.pipeline import TrainingData
from core.errors import UserError
from core.run_folder import RunFolder
from core.training.fit import train
from core.training.pretraining import Pretraining
from core.training.state import TrainingState

OPTIONS = {"width": 8, "color": "on"}
CHOICES = {"epochs": 2, "optimizer": "adam", "batch": 5, "ema": 0.9, "options": OPTIONS}


class Encoding(ToyTask):
    """The toy domain, whose network says what its encoder is."""

    def network(self, name):
        return dataclasses.replace(super().network(name), features={1: "dropout"})


def pretrain(out, data, **changes) -> RunFolder:
    resume = changes.pop("resume", False)
    chosen = config(**{**CHOICES, **changes})
    data = dataclasses.replace(data, labels=())  # as `Pretraining.read` gives it
    return train(Pretraining(Encoding()), chosen, out, index=data, resume=resume)


def result_of(run: RunFolder) -> tuple:
    arrays = TrainingState.load(run.path).arrays
    weights = run.load_model(encoder=True).get_weights()
    arrays = {group: [a.tobytes() for a in values] for group, values in arrays.items()}
    return run.file("history.csv").read_bytes(), [w.tobytes() for w in weights], arrays


@pytest.fixture(scope="module")
def whole(toy_data, tmp_path_factory):
    """A pre-training that nothing interrupted."""
    return pretrain(tmp_path_factory.mktemp("whole") / "pre", toy_data)


def test_the_run_holds_the_newest_encoder_and_says_so(whole):
    assert whole.holds_encoder and whole.card.output == "features" and not whole.card.labels
    encoder = whole.load_model(encoder=True)
    assert encoder.output_shape == (None, 16, 16, 8)
    arrays = TrainingState.load(whole.path).arrays
    averages = arrays["average"][1:]
    for value, kept in zip(encoder.get_weights(), averages, strict=False):
        np.testing.assert_array_equal(value, kept)
    assert list(whole.history()[0]) == ["epoch", "learning_rate", "loss", "off_diagonal",
                                        "on_diagonal", "spread"]  # fmt: skip
    with pytest.raises(UserError, match=r"pre-trained encoder.*--initial-weights"):
        whole.load_model()


@pytest.mark.slow
def test_an_interrupted_one_goes_on_exactly(whole, toy_data, tmp_path):
    """Its projector too, which is no part of the network that is saved."""

    class Interrupting(Recorder):
        def step(self, epoch, done_samples, logs):
            super().step(epoch, done_samples, logs)
            if len([call for call in self.calls if call[0] == "step"]) == 4:  # of 6
                raise KeyboardInterrupt

    out, task = tmp_path / "pre", Pretraining(Encoding())
    with pytest.raises(KeyboardInterrupt):
        train(task, config(**CHOICES), out, index=toy_data, progress=Interrupting())
    assert TrainingState.load(out).epoch == 1
    assert result_of(pretrain(out, toy_data, resume=True)) == result_of(whole)


def test_only_the_images_of_the_training_split_are_looked_at(whole, toy_data, tmp_path):
    """Neither labels nor the images that are held out change anything, nor need to be there."""
    root = tmp_path / "data"
    shutil.copytree(toy_data.root, root)
    for path in [*root.glob("*_mask.png"), *(root / f"{n}.png" for n in range(13, 17))]:
        path.write_bytes(b"not to be read")
    run = pretrain(tmp_path / "pre", toy_task.read_data(root))
    assert result_of(run)[:2] == result_of(whole)[:2]


def test_few_images_fill_batches_by_being_taken_again(toy_data):
    """Each time as other views."""
    chosen = config(**{**CHOICES, "batch": 30, "options": {**OPTIONS, "repeats": 5}})
    task = Pretraining(Encoding())
    card = task.network("toy").card("base")
    data = TrainingData(task, toy_data.split("train"), card, chosen)
    batches = list(data.dataset())
    data.close()
    assert [len(first) for first, _ in batches] == [22, 22, 21]  # of 13 pictures, none is small
    views = [view for batch in batches for side in batch for view in side.numpy()]
    assert len({view.tobytes() for view in views}) == 2 * 5 * 13


@pytest.mark.parametrize("batch, sizes", [(12, [7, 6]), (2, [3, 2, 2, 2, 2, 2]), (13, [13])])
def test_no_batch_is_too_small_to_compare_in(batch, sizes, toy_data):
    pictures = toy_data.split("train")
    chosen = config(**{**CHOICES, "batch": batch})
    order = Pretraining(Encoding()).batch_order(pictures, chosen, np.random.default_rng(0))
    assert [len(positions) for positions in order] == sizes
    assert sorted(np.concatenate(order)) == list(range(13))


def test_a_network_takes_the_encoder_over_before_its_first_step(whole, toy_data, tmp_path):
    seen, out = Recorder(), tmp_path / "run"
    still = config(epochs=1, optimizer="adam", learning_rate=1e-30, weight_decay=0.0,
                   initial_weights=str(whole.path))  # fmt: skip
    run = train(Encoding(), still, out, index=toy_data, progress=seen)
    assert seen.notes == [f"{whole.path}: 5 arrays transferred, 2 keep their start."]
    assert run.record["from_encoder"]["moved"] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
    ]  # fmt: skip
    assert run.record["not_from_initial_weights"] == ["head1.weight", "head1.bias"]
    ours, theirs = run.load_model(), whole.load_model(encoder=True)
    np.testing.assert_array_equal(ours.get_layer("conv1").kernel, theirs.get_layer("conv1").kernel)
    np.testing.assert_array_equal(ours.get_layer("bn1").gamma, theirs.get_layer("bn1").gamma)


def test_an_encoder_that_does_not_fit_is_refused_before_anything_is_written(
    whole, toy_data, tmp_path
):
    gray = config(channels=1, initial_weights=str(whole.path))
    with pytest.raises(UserError, match=r"pre: holds the encoder of toy base: .*no place for conv"):
        train(Encoding(), gray, tmp_path / "run", index=toy_data)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"batch": 1}, "--batch is 1, but pre-training compares the images of a batch"),
        ({"patience": 3}, "leave patience off"),
        ({"augment": False}, "Two views must differ"),
        ({"options": {"color": "some"}}, "color"),
        ({"options": {"crop": 0}}, "0.1 or more"),
        ({"options": {"repeats": 0}}, "a whole number, 1 or more"),
        ({"options": {"loss": "structure"}}, "No such option|no such option"),
    ],
)
def test_wrong_choices_get_a_sentence(changes, sentence, toy_data, tmp_path):
    with pytest.raises(UserError, match=sentence):
        pretrain(tmp_path / "pre", toy_data, **changes)
    assert not (tmp_path / "pre").exists()


def test_a_network_without_feature_maps_has_no_encoder(toy_data, tmp_path):
    with pytest.raises(UserError, match="toy: does not say what its encoder is"):
        train(Pretraining(ToyTask()), config(**CHOICES), tmp_path / "pre", index=toy_data)


def test_each_command_goes_on_with_its_own_runs(whole, toy_data):
    with pytest.raises(UserError, match="was made by pretrain; go on with that"):
        train(Encoding(), None, whole.path, index=toy_data, resume=True)
    with pytest.raises(UserError, match=r"holds no 'train'|no 'train'"):
        val = toy_data.split("val")
        pretrain(whole.path.parent / "other", val)
