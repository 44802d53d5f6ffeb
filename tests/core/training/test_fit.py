import errno
import shutil

import numpy as np
import pytest
import toy_task
from toy_task import ToyTask, config

from core.errors import CheckFailed, UserError
from core.run_folder import RunFolder
from core.task import Objective
from core.training import callbacks
from core.training.fit import train
from core.training.state import TrainingState


def state_of(run) -> TrainingState:
    return TrainingState.load(run.path if isinstance(run, RunFolder) else run)


def result_of(run) -> tuple:
    """Everything two equal trainings must have in common, to the last bit."""
    weights = run.load_model().get_weights()
    arrays = state_of(run).arrays
    return (
        run.file("history.csv").read_bytes(),
        [w.tobytes() for w in weights],
        {group: [a.tobytes() for a in values] for group, values in arrays.items()},
    )


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return [a.tobytes() for a in left] == [a.tobytes() for a in right]


def scripted(*values: float) -> ToyTask:
    """Return a task whose validations score these values."""
    task, rest = ToyTask(), list(values)
    real = task.score

    def score(results, card, **options):
        scores = real(results, card, **options)
        scores.summary["accuracy"] = rest.pop(0)
        return scores

    task.score = score
    return task


class Recorder(callbacks.Silent):
    """Remembers what it was shown."""

    def __init__(self):
        self.calls, self.notes = [], []

    def start(self, total_epochs, samples_per_epoch, *, first_epoch=0):
        self.calls.append(("start", total_epochs, samples_per_epoch, first_epoch))

    def step(self, epoch, done_samples, logs):
        self.calls.append(("step", epoch, done_samples))
        assert logs["loss"] > 0

    def epoch(self, epoch, row, timing):
        self.calls.append(("epoch", epoch))
        assert timing["samples_per_second"] > 0

    def note(self, text):
        self.notes.append(text)

    def stop(self):
        self.calls.append(("stop",))


@pytest.fixture(scope="module")
def plain(toy_data, tmp_path_factory):
    """A training of three epochs, not interrupted."""
    return train(ToyTask(), config(), tmp_path_factory.mktemp("plain") / "run", index=toy_data)


def test_a_training_writes_a_run_folder(plain, toy_data):
    history = plain.history()
    assert list(history[0]) == ["epoch", "learning_rate", "loss", "pixel_accuracy", "val_accuracy"]
    assert [row["learning_rate"] for row in history] == pytest.approx([0.02, 0.015, 0.005])
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["val_accuracy"] > 0.95
    assert plain.app == "toy"
    assert plain.config == config(options={"heads": 1, "explode_after": 0}, channels=3)
    assert plain.record["data"]["fingerprint"] == toy_data.fingerprint()
    assert plain.record["data"]["splits"] == {"train": 13, "val": 4}
    assert "keras" in plain.record["versions"]
    assert plain.card.labels == ("square",)
    assert plain.file("timing.csv").read_text().startswith("epoch,seconds,samples_per_second\n1,")
    assert list(plain.file("tensorboard").glob("events.*"))
    assert not [path for path in plain.path.rglob(".*")]


def test_the_same_seed_gives_the_same_bytes_for_any_workers(plain, toy_data, tmp_path):
    for workers, cache in ((4, True), (1, False)):
        again = train(
            ToyTask(),
            config(workers=workers, cache=cache),
            tmp_path / str(workers),
            index=toy_data,
        )
        assert result_of(again) == result_of(plain)


def test_another_seed_gives_another_network(plain, toy_data, tmp_path):
    other = train(ToyTask(), config(seed=1), tmp_path / "run", index=toy_data)
    assert other.history()[0]["loss"] != plain.history()[0]["loss"]


def test_the_best_epoch_is_kept(toy_data, tmp_path):
    run = train(
        scripted(0.5, 0.9, 0.7), config(schedule="constant"), tmp_path / "a", index=toy_data
    )
    two = train(ToyTask(), config(schedule="constant", epochs=2), tmp_path / "b", index=toy_data)
    state = state_of(run)
    assert (state.best, state.best_epoch) == (0.9, 2)
    assert same(state.arrays["best"], state_of(two).arrays["model"])
    assert same(run.load_model().get_weights(), two.load_model().get_weights())


def test_the_best_epoch_of_a_metric_that_falls(toy_data, tmp_path):
    task = scripted(0.5, 0.3, 0.7)
    task.headline_mode = "min"
    assert state_of(train(task, config(), tmp_path / "run", index=toy_data)).best_epoch == 2


def test_patience_stops_early(toy_data, tmp_path):
    seen = Recorder()
    run = train(
        scripted(0.6, 0.5, 0.4, 0.3),
        config(epochs=9, patience=2),
        tmp_path / "run",
        index=toy_data,
        progress=seen,
    )
    assert len(run.history()) == 3
    assert seen.notes == ["Stopped after epoch 3: accuracy was best at epoch 1."]
    train(ToyTask(), None, run.path, index=toy_data, resume=True, progress=seen)
    assert "is finished (epoch 3)" in seen.notes[-1]


def test_validation_every_second_epoch_and_at_the_end(toy_data, tmp_path):
    run = train(scripted(0.6, 0.5), config(validate_every=2), tmp_path / "run", index=toy_data)
    assert [row.get("val_accuracy") for row in run.history()] == [None, 0.6, 0.5]


def test_progress_is_told_samples(toy_data, tmp_path):
    seen = Recorder()
    train(ToyTask(), config(epochs=1), tmp_path / "run", index=toy_data, progress=seen)
    steps = [("step", 1, 4), ("step", 1, 9), ("step", 1, 13)]
    assert seen.calls == [("start", 1, 13, 0), *steps, ("epoch", 1), ("stop",)]


def test_two_outputs_with_an_average_of_the_weights(toy_data, tmp_path):
    run = train(
        ToyTask(), config(options={"heads": 2}, ema=0.9, epochs=2), tmp_path / "run", index=toy_data
    )
    row = run.history()[-1]
    assert row["loss"] == pytest.approx(row["head1_loss"] + 0.5 * row["head2_loss"], rel=0.02)
    assert row["val_accuracy"] > 0.9
    arrays = state_of(run).arrays
    assert same(arrays["best"], arrays["average"][1:])
    assert not same(arrays["best"], arrays["model"])
    assert len(run.load_model().outputs) == 2


def test_a_loss_of_both_heads_at_once(toy_data, tmp_path):
    import keras

    class Stacked(ToyTask):
        def training_graph(self, model, config):
            both = keras.layers.Concatenate(name="both")(model.outputs)
            return keras.Model(model.inputs, both)

        def objective(self, config):
            one = keras.losses.BinaryCrossentropy(from_logits=True)

            def of_the_sum(truth, both):
                return one(truth, both[..., :1] + both[..., 1:])

            return Objective(loss=of_the_sum)

    run = train(Stacked(), config(options={"heads": 2}, epochs=2), tmp_path / "run", index=toy_data)
    assert list(run.history()[0]) == ["epoch", "learning_rate", "loss", "val_accuracy"]
    assert run.history()[1]["loss"] < run.history()[0]["loss"]
    assert [output.shape[-1] for output in run.load_model().outputs] == [1, 1]


def test_a_deployed_copy_is_refreshed_for_every_validation(plain, toy_data, tmp_path):
    task = ToyTask()
    task.deploy = lambda model: toy_task.deploy_copy(model)
    run = train(task, config(), tmp_path / "run", index=toy_data)
    assert result_of(run) == result_of(plain)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_saves_float32(precision, toy_data, tmp_path):
    run = train(
        ToyTask(),
        config(precision=precision, clip_norm=1.0, optimizer="sgd", learning_rate=0.5),
        tmp_path / "run",
        index=toy_data,
    )
    history = run.history()
    assert history[-1]["loss"] < history[0]["loss"]
    assert {layer.compute_dtype for layer in run.load_model().layers} == {"float32"}


def test_gray_input_of_another_size(toy_data, tmp_path):
    with pytest.raises(UserError, match="multiples of 2; the nearest that fits is 16x16"):
        train(ToyTask(), config(input_size=[15, 16]), tmp_path / "run", index=toy_data)
    run = train(ToyTask(), config(channels=1, epochs=1), tmp_path / "run", index=toy_data)
    assert run.card.color_order == "gray"
    assert run.card.mean == pytest.approx([0.449], abs=1e-6)
    assert run.load_model().input_shape == (None, 16, 16, 1)


def test_starting_from_another_run(plain, toy_data, tmp_path):
    choices = {"initial_weights": str(plain.path), "epochs": 1, "learning_rate": 1e-9}
    run = train(ToyTask(), config(**choices), tmp_path / "run", index=toy_data)
    for ours, theirs in zip(
        run.load_model().trainable_weights, plain.load_model().trainable_weights, strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


# --- what goes wrong ----------------------------------------------------------------------------


def test_nan_stops_at_once_and_keeps_the_last_good_state(toy_data, tmp_path):
    choices = {"options": {"explode_after": 7}, "epochs": 5}
    with pytest.raises(CheckFailed) as error:
        train(ToyTask(), config(**choices), tmp_path / "run", index=toy_data)
    message = str(error.value)
    assert "loss is NaN at epoch 3, step 2; the last good checkpoint (epoch 2) is kept" in message
    assert "--learning-rate" in message
    run = RunFolder(tmp_path / "run")
    assert len(run.history()) == state_of(run).epoch == 2
    assert all(np.isfinite(w).all() for w in run.load_model().get_weights())


def test_weights_that_blow_up_in_the_last_step_are_not_kept(toy_data, tmp_path):
    # the rate is so large that the first update overflows, after the only loss was finite
    with pytest.raises(CheckFailed, match="weights are no longer finite after epoch 1; no check"):
        train(
            ToyTask(),
            config(optimizer="sgd", learning_rate=3e38, steps_per_epoch=1, weight_decay=9.0),
            tmp_path / "run",
            index=toy_data,
        )
    assert not (tmp_path / "run").exists()  # nothing was reached, so nothing is in the way


def test_a_full_disk_keeps_the_state_and_the_run_goes_on(plain, toy_data, tmp_path, monkeypatch):
    out, real, calls = tmp_path / "run", np.savez, []

    def savez(*args, **arrays):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(UserError, match=r"state\.npz: cannot be written: the disk is full"):
        train(ToyTask(), config(), out, index=toy_data)
    assert state_of(out).epoch == 1
    run = train(ToyTask(), config(), out, index=toy_data, resume=True)
    assert result_of(run) == result_of(plain)


def test_a_damaged_picture_is_named(tmp_path):
    index = toy_task.write_data(tmp_path / "data")
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"5\.png: is no picture; replace it\.$"):
        train(ToyTask(), config(), tmp_path / "run", index=index)
    assert not (tmp_path / "run").exists()


def test_a_failed_beginning_leaves_what_is_not_its_own(tmp_path):
    index = toy_task.write_data(tmp_path / "data")
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"5\.png"):
        train(ToyTask(), config(), tmp_path / "run", index=index, overwrite=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_resumed_beginning_keeps_its_choices(tmp_path, monkeypatch):
    index = toy_task.write_data(tmp_path / "data")
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr("core.training.fit._Session._fit", _stop)
        train(ToyTask(), config(), tmp_path / "run", index=index)
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="is not the data"):
        train(ToyTask(), None, tmp_path / "run", index=index, resume=True)
    assert (tmp_path / "run" / "config.yaml").is_file()


def _stop(*_):
    raise KeyboardInterrupt


def test_data_without_validation_samples(toy_data, tmp_path):
    with pytest.raises(UserError, match="no 'val' \\(train 13\\)"):
        train(ToyTask(), config(), tmp_path / "run", index=toy_data.split("train"))


def test_labels_and_classes_must_agree(toy_data, tmp_path):
    with pytest.raises(UserError, match=r"has 1 labels \(square\), but classes is 3"):
        train(ToyTask(), config(classes=3), tmp_path / "run", index=toy_data)


def test_an_existing_folder_is_refused_and_overwritten_on_request(plain, toy_data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(plain.path, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"already holds files; .*--overwrite"):
        train(ToyTask(), config(epochs=1), out, index=toy_data)
    run = train(ToyTask(), config(epochs=1), out, index=toy_data, overwrite=True)
    assert len(run.history()) == 1
    assert (out / "notes.txt").read_text() == "mine"
    assert len(list(out.glob("tensorboard/events.*"))) == 1


def test_a_config_of_another_app(toy_data, tmp_path):
    with pytest.raises(UserError, match="is for the app 'reid', not for 'toy'"):
        train(ToyTask(), config(app="reid"), tmp_path / "run", index=toy_data)


def test_overwriting_keeps_the_old_run_until_a_new_one_stands(plain, toy_data, tmp_path):
    """A training that fails before its first checkpoint gives the earlier run back."""
    out = tmp_path / "run"
    shutil.copytree(plain.path, out)
    before = result_of(RunFolder(out))
    index = toy_task.write_data(tmp_path / "data")
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"5\.png"):
        train(ToyTask(), config(), out, index=index, overwrite=True)
    assert result_of(RunFolder(out)) == before
    assert not list(out.glob(".before*"))
    train(ToyTask(), config(epochs=1), out, index=toy_data, overwrite=True)
    assert len(RunFolder(out).history()) == 1
    assert not list(out.glob(".before*"))
