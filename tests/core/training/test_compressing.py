"""A chain of compressions: how it is planned, and what it leaves."""

import shutil

import keras
import numpy as np
import pytest
from chains import CHOICES, Killed, compress, kernel_of, planned, resume
from test_fit import Recorder, result_of
from toy_task import ToyTask

from core.compress.quantize import is_quantized, quantize_aware
from core.compress.ranges import calibrate, fix_input_range
from core.engines import signal_to_noise
from core.errors import UserError
from core.history import best_row, epochs
from core.run_folder import RunFolder
from core.training import state as state_module
from core.training.compressing import EPOCHS, plan_chain, run_chain, started_chain

# --- what a chain leaves ----------------------------------------------------------------------


@pytest.mark.slow
def test_the_last_run_is_the_output_and_earlier_ones_lie_in_stages(whole, source):
    runs = [RunFolder(plan.folder) for plan in started_chain(whole)]
    assert [run.path.relative_to(whole).as_posix() for run in runs] == [
        "stages/1_prune", "stages/2_cluster", ".",
    ]  # fmt: skip
    assert sorted(path.name for path in (whole / "stages").iterdir()) == [
        "1_prune", "2_cluster", "chain.json",
    ]  # fmt: skip
    after = [run.config.compress["after"] for run in runs]
    assert after == [[], ["prune"], ["prune", "cluster"]]
    assert [run.config.compress["choices"] for run in runs] == [*CHOICES.values(), {}]
    begun_from = [run.config.initial_weights for run in runs]
    assert begun_from == [str(source.path), str(runs[0].path), str(runs[1].path)]
    assert [epochs(run.history()) for run in runs] == [3, 3, 3]
    assert [run.history()[0]["epoch"] for run in runs] == [1, 0, 0]  # pruned after some steps only
    for run in runs:
        assert run.record["source"] == "compress"
        assert (run.config.epochs, run.config.learning_rate) == (3, 0.01)
        assert run.card == source.card
    assert not list(whole.rglob(".*"))


@pytest.mark.slow
def test_every_stage_keeps_what_the_ones_before_reached(whole):
    pruned, clustered, quantized = (kernel_of(RunFolder(p.folder)) for p in started_chain(whole))
    zero = pruned == 0
    assert zero.mean() == pytest.approx(0.5, abs=0.01)
    for kernel in (clustered, quantized):
        assert not kernel[zero].any() and np.unique(kernel).size <= 4
    assert is_quantized(RunFolder(whole).load_model())
    assert not is_quantized(RunFolder(whole / "stages" / "2_cluster").load_model())


@pytest.mark.slow
def test_a_network_that_is_not_sparse_yet_is_not_kept(toy_data, source, tmp_path):
    """The first epoch scores best of all, but before the schedule has ended."""
    task = scoring([0.99, 0.5, 0.6])
    plans = planned(source, tmp_path / "run", ("prune",), schedule="constant", patience=2)
    (run,) = run_chain(task, plans, index=toy_data)
    state = state_module.TrainingState.load(run.path)
    assert (state.best, state.best_epoch, len(state.history)) == (0.6, 3, 3)
    assert best_row(run.history(), "accuracy", "max")["epoch"] == 3
    assert (kernel_of(run) == 0).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_what_training_makes_worse_is_not_trained(toy_data, source, tmp_path):
    """The calibrated network scores best: it is kept, and patience counts from it."""
    task, told = scoring([0.9, 0.5, 0.6, 0.7]), Recorder()
    plans = planned(source, tmp_path / "run", ("quantize",), patience=2, epochs=9)
    (run,) = run_chain(task, plans, index=toy_data, progress=told)
    state = state_module.TrainingState.load(run.path)
    assert (state.best, state.best_epoch, state.epoch) == (0.9, 0, 2)
    assert [row["epoch"] for row in run.history()] == [0, 1, 2]
    calibrated, trained = kernel_of(run), state.arrays["model"]
    assert not any(np.array_equal(calibrated, array) for array in trained)
    float_model = keras.saving.load_model(source.file("model.keras"), compile=False)
    expected = quantize_aware(ToyTask.deploy(float_model))
    calibrate(expected, ToyTask().calibration_inputs(toy_data.split("train"), source.card, 200))
    kept = run.load_model()
    image = np.stack(ToyTask().calibration_inputs(toy_data.split("val"), source.card, 4))
    fix_input_range(expected, source.card.pixel_range())
    np.testing.assert_array_equal(kept(image), expected(image))
    assert any("Before training: accuracy 0.9" in note for note in told.notes)
    assert any("the network before training, which is kept" in note for note in told.notes)


@pytest.mark.slow
def test_where_only_outputs_are_kept_their_nearness_chooses(toy_data, source, tmp_path):
    """The headline says the opposite, as it does by chance on few samples."""
    task = scoring([0.6, 0.7, 0.8, 0.9])
    choices = {"quantize": {"task_weight": 0.0, "teacher_weight": 1e3, "teacher_distance": "mse"}}
    plans = planned(source, tmp_path / "run", ("quantize",), choices)
    (run,) = run_chain(task, plans, index=toy_data)
    rows = run.history()
    near = [row["val_signal_to_noise"] for row in rows]
    state = state_module.TrainingState.load(run.path)
    assert (state.best, state.best_epoch) == (max(near), near.index(max(near)))
    assert state.best_epoch < 3
    images = np.stack(task.calibration_inputs(toy_data.split("val"), source.card, 9))
    wanted = source.load_model()(images)
    assert signal_to_noise([wanted], [run.load_model()(images)]) == pytest.approx(state.best)


def scoring(values) -> ToyTask:
    """Return the domain with the scores that its validations are to give, one after the other."""
    task, scores = ToyTask(), iter(values)
    real = task.score

    def score(found, card, **options):
        scored = real(found, card, **options)
        scored.summary["accuracy"] = next(scores)
        return scored

    task.score = score
    return task


# --- planning ---------------------------------------------------------------------------------


def test_fine_tuning_is_gentle_and_only_what_was_asked_for_changes(source, tmp_path):
    (plan,) = plan_chain(ToyTask(), source, ["quantize"], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert plan.config.epochs == EPOCHS
    assert plan.config.learning_rate == pytest.approx(source.config.learning_rate / 10)
    assert (plan.config.batch, plan.config.data) == (source.config.batch, source.config.data)
    changes = {"epochs": 4, "batch": 2, "options": {"explode_after": 9}}
    (plan,) = plan_chain(ToyTask(), source, ["prune"], tmp_path / "run", training=changes)
    assert (plan.config.epochs, plan.config.batch) == (4, 2)
    assert plan.config.options == {"heads": 1, "explode_after": 9}


def test_an_imported_run_is_tuned_with_the_recipe_of_the_domain(source, tmp_path):
    copy = shutil.copytree(source.path, tmp_path / "imported")
    text = (copy / "config.yaml").read_text().replace("source: train", "source: import")
    text = text.replace(f"data: {source.config.data}", "data: ''")
    (copy / "config.yaml").write_text(text)
    imported, task = RunFolder(copy), ToyTask()
    task.defaults = {"optimizer": "sgd", "learning_rate": 0.5, "batch": 3, "clip_norm": 1.0}
    with pytest.raises(UserError, match=r"imported: nothing to fine-tune on; pass --data PATH\."):
        plan_chain(task, imported, ["quantize"], tmp_path / "run")
    training = {"data": "somewhere"}
    (plan,) = plan_chain(task, imported, ["quantize"], tmp_path / "run", training=training)
    chosen = plan.config
    assert (chosen.optimizer, chosen.batch, chosen.clip_norm) == ("sgd", 3, 1.0)
    assert (chosen.learning_rate, chosen.epochs, chosen.data) == (0.05, EPOCHS, "somewhere")


def test_what_earlier_methods_reached_is_not_undone_by_default(source, tmp_path, monkeypatch):
    chosen = {"equalize": True, "balance": True}
    monkeypatch.setattr(ToyTask, "method_defaults", {"quantize": chosen})
    for earlier, left in (([], chosen), (["prune"], {"equalize": True}), (["cluster"], {})):
        *_, plan = plan_chain(ToyTask(), source, [*earlier, "quantize"], tmp_path / "run")
        assert plan.config.compress["choices"] == left
    wished = {"quantize": {"equalize": True}}
    with pytest.raises(UserError, match="undo their clusters"):
        plan_chain(ToyTask(), source, ["cluster", "quantize"], tmp_path / "run", choices=wished)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["1_prune", "2_cluster"])
def test_a_run_with_zeros_or_clusters_is_not_balanced(
    whole, stage, toy_data, tmp_path, monkeypatch
):
    from core.export import exporting

    task, run = ToyTask(), RunFolder(whole / "stages" / stage)
    file, inputs = tmp_path / "a.tflite", task.calibration_inputs(toy_data, run.card, 4)
    monkeypatch.setattr(exporting, "calibration_samples", lambda *_: (inputs, "toys"))
    with pytest.raises(UserError, match="--balance would undo its zeros or clusters"):
        exporting.export(task, run, "int8", data="toys", balance=True, out=file)
    assert not file.exists()
    task.int8_repairs = ("balance",)
    made = exporting.export(task, run, "int8", data="toys", out=file)
    assert file.exists() and not any("balanced" in note for note in made.notes)


@pytest.mark.slow
def test_a_compressed_run_is_compressed_on_and_remembers(whole, toy_data, tmp_path):
    clustered = RunFolder(whole / "stages" / "2_cluster")
    (plan,) = plan_chain(ToyTask(), clustered, ["quantize"], tmp_path / "run")
    assert plan.config.compress["after"] == ["prune", "cluster"]
    assert (plan.config.epochs, plan.config.learning_rate) == (3, 0.01)  # gentle already
    with pytest.raises(UserError, match="Pruning comes before clustering"):
        plan_chain(ToyTask(), clustered, ["prune"], tmp_path / "run")
    for methods in (["quantize"], ["prune"], ["cluster", "quantize"]):
        with pytest.raises(UserError, match=r"quantized already|comes before"):
            plan_chain(ToyTask(), RunFolder(whole), methods, tmp_path / "run")
    (run,) = run_chain(ToyTask(), [plan], index=toy_data)
    assert result_of(run) == result_of(RunFolder(whole))  # as in one chain


@pytest.mark.parametrize(
    "methods, choices, training, said",
    [
        ([], {}, {}, "Nothing to do: name a method"),
        (["prun"], {}, {}, "'prun'. Did you mean 'prune'"),
        (["quantize", "prune"], {}, {}, "Pruning comes before"),
        (["quantize", "cluster"], {}, {}, "Clustering comes before quantization"),
        (["cluster", "cluster"], {}, {}, "--method cluster,cluster names a method twice"),
        (["prune"], {"cluster": {}}, {}, "given for 'cluster', which is not in --method"),
        (["prune", "quantize"], {"quantize": {"weight_bits": 2}}, {}, "weight_bits is 2"),
        (["prune"], {}, {"epoch": 3}, "Training: no such key: 'epoch'. Did you mean 'epochs'"),
        (["prune"], {}, {"input_size": [8, 8]}, "no such key: 'input_size'"),
        (["prune"], {}, {"epochs": 0}, "Config: epochs is 0"),
        (["prune"], {}, {"ema": 0.9}, "compress trains in float32 and without ema"),
        (["prune"], {}, {"options": {"head": 2}}, "No such option: 'head'. Did you mean 'heads'"),
        (["prune", "quantize"], {"quantize": {"exceptions": {"hed1": "float"}}}, {},
         "no layer is called 'hed1'. Did you mean 'head1'"),
        (["prune", "cluster"], {"cluster": {"clusters": 999}}, {}, "toy: has no kernel to cluster"),
    ],
)  # fmt: skip
def test_a_chain_that_cannot_work_is_refused_before_anything_is_done(
    methods, choices, training, said, source, tmp_path
):
    with pytest.raises(UserError, match=said):
        plan_chain(ToyTask(), source, methods, tmp_path / "run", choices=choices, training=training)
    assert not (tmp_path / "run").exists()


def test_an_option_that_compression_decides_is_not_overruled_in_silence(source, tmp_path):
    task = ToyTask()
    task.compress_options = {"heads": 1}
    with pytest.raises(UserError, match=r"Option 'heads' is '2', but .* trains with '1'"):
        plan_chain(task, source, ["prune"], tmp_path / "run", training={"options": {"heads": 2}})
    (plan,) = plan_chain(task, source, ["prune"], tmp_path / "run")
    assert plan.config.options["heads"] == 1


def test_a_source_without_weights_or_in_the_way_is_refused(source, tmp_path):
    copy = RunFolder(shutil.copytree(source.path, tmp_path / "run"))
    stage = shutil.copytree(source.path, tmp_path / "other" / "stages" / "1_prune")
    with pytest.raises(UserError, match="is the run to compress; choose another --out"):
        planned(copy, tmp_path / "x" / ".." / "run", ("prune",))
    with pytest.raises(UserError, match="1_prune: is the run to compress"):
        planned(RunFolder(stage), tmp_path / "other", ("prune", "quantize"))
    copy.file("model.keras").unlink()
    with pytest.raises(UserError, match=r"holds no model\.keras yet; finish the training first"):
        planned(copy, tmp_path / "y", ("prune",))


# --- folders ----------------------------------------------------------------------------------


def test_a_folder_with_files_is_refused(source, toy_data, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"already holds files; .*--overwrite"):
        compress(source, toy_data, tmp_path, ("prune",))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_an_older_chain_is_replaced_on_request(source, toy_data, tmp_path):
    out = tmp_path / "stages" / "run"  # a folder whose name a chain uses itself
    compress(source, toy_data, out, ("prune", "quantize"), epochs=1)
    (out / "notes.txt").write_text("mine")
    runs = compress(source, toy_data, out, ("prune", "quantize"), epochs=1, overwrite=True, seed=1)
    assert [run.config.seed for run in runs] == [1, 1]
    assert [plan.folder for plan in started_chain(out)] == [out / "stages" / "1_prune", out]
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_runs_of_an_older_chain_are_not_taken_for_resumed_ones(stage, source, toy_data, tmp_path):
    """The same command is given again, with --overwrite, and killed: nothing old is finished."""
    out, methods = tmp_path / "run", ("prune", "quantize")
    old = compress(source, toy_data, out, methods, epochs=1)
    expected = [result_of(run) for run in old]
    for run in old:
        run.file("model.keras").write_bytes(b"old")
        run.file("history.csv").unlink()
    calls = []

    def announce(plan):
        calls.append(plan.method)
        if len(calls) == stage:
            raise Killed

    plans = planned(source, out, methods, epochs=1)
    with pytest.raises(Killed):
        run_chain(ToyTask(), plans, index=toy_data, overwrite=True, announce=announce)
    assert [plan.begun for plan in plans] == [stage == 2, False]
    assert [result_of(run) for run in resume(toy_data, out)] == expected
