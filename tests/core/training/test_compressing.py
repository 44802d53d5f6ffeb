"""A chain of compressions: what it leaves, what it refuses, and how a killed one goes on."""

import dataclasses
import errno
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import toy_task
from test_fit import Recorder, result_of
from toy_task import SIDE, ToyTask, config

from core import files, run_folder
from core.compress.quantize import is_quantized
from core.errors import CheckFailed, UserError
from core.files import write_json
from core.run_folder import RunFolder
from core.training import compressing
from core.training import state as state_module
from core.training.compressing import CHAIN, EPOCHS, plan_chain, run_chain, started_chain
from core.training.fit import train
from core.training.state import STATE

METHODS = ("prune", "cluster", "quantize")
CHOICES = {"prune": {"sparsity": 0.5}, "cluster": {"clusters": 4}}
TRAINING = {"epochs": 3, "learning_rate": 0.01}


class Killed(BaseException):
    """Stands for the moment a process is gone."""


class KilledAt(Recorder):
    """Kills the process after an epoch, or in a step, of a method's training."""

    def __init__(self, method: str, *, epoch: int = 0, step: int = 0):
        super().__init__()
        self._moment, self._epoch = (method, step), epoch
        self._method, self._steps = "", 0

    def announce(self, plan):
        self._method, self._steps = plan.method, 0

    def step(self, epoch, done_samples, logs):
        self._steps += 1
        if (self._method, self._steps) == self._moment:
            raise Killed

    def epoch(self, epoch, row, timing):
        if (self._method, epoch) == (self._moment[0], self._epoch):
            raise Killed


@pytest.fixture(scope="module")
def source(toy_data, tmp_path_factory):
    """A trained run."""
    out = tmp_path_factory.mktemp("source") / "run"
    return train(ToyTask(), config(epochs=2), out, index=toy_data)


@pytest.fixture(scope="module")
def whole(source, toy_data, tmp_path_factory):
    """A chain of all methods that nothing interrupted: its folder."""
    out = tmp_path_factory.mktemp("whole") / "small"
    compress(source, toy_data, out)
    return out


def planned(source, out, methods=METHODS, choices=None, **training):
    choices = choices or {name: c for name, c in CHOICES.items() if name in methods}
    training = {**TRAINING, **training}
    return plan_chain(ToyTask(), source, methods, out, choices=choices, training=training)


def compress(source, toy_data, out, methods=METHODS, *, overwrite=False, killer=None, **training):
    plans = planned(source, out, methods, **training)
    return run_chain(ToyTask(), plans, index=toy_data, overwrite=overwrite, **told(killer))


def resume(toy_data, out, *, killer=None) -> list[RunFolder]:
    plans = started_chain(out)
    return run_chain(ToyTask(), plans, index=toy_data, resume=True, **told(killer))


def told(killer) -> dict:
    return {} if killer is None else {"progress": killer, "announce": killer.announce}


def results(out: Path) -> dict:
    """Return everything two equal chains must have in common, to the last bit, by stage."""
    return {plan.method: result_of(RunFolder(plan.folder)) for plan in started_chain(out)}


def kernel_of(run: RunFolder) -> np.ndarray:
    model = run.load_model()
    kept = [x for x in model.layers if x.name == "conv1"]
    return kept[0]._prepared().numpy() if is_quantized(model) else kept[0].kernel.numpy()


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
    for run in runs:
        assert run.record["source"] == "compress" and len(run.history()) == 3
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
    scores = iter([0.99, 0.5, 0.6])
    task = ToyTask()
    real = task.score

    def score(found, card, **options):
        scored = real(found, card, **options)
        scored.summary["accuracy"] = next(scores)
        return scored

    task.score = score
    plans = planned(source, tmp_path / "run", ("prune",), schedule="constant", patience=2)
    (run,) = run_chain(task, plans, index=toy_data)
    state = state_module.TrainingState.load(run.path)
    assert (state.best, state.best_epoch, len(state.history)) == (0.6, 3, 3)
    assert (kernel_of(run) == 0).mean() == pytest.approx(0.5, abs=0.01)


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


# --- a teacher that is another network ----------------------------------------------------------


class TwoNetworks(ToyTask):
    """The domain with a second network: wider, deeper, with an output of its own size if wished."""

    networks = ("toy", "wide")

    def network(self, name):
        network = super().network(name)
        return dataclasses.replace(network, build=wide) if name == "wide" else network


def wide(variant, input_shape, *, classes=1, heads=1):
    import keras

    layers = keras.layers
    image = x = keras.Input(input_shape, name="image")
    for number in (1, 2, 3):
        x = layers.Conv2D(12, 3, padding="same", activation="relu", name=f"block{number}")(x)
    x = layers.MaxPooling2D(name="smaller")(x) if heads == 2 else x
    return keras.Model(image, layers.Conv2D(classes, 1, name="top")(x), name="wide")


def wide_run(out: Path, heads: int = 1) -> RunFolder:
    """Write a run of the wide network, not trained."""
    keras.utils.set_random_seed(heads)
    choices = config(network="wide", options={"heads": heads})
    card = TwoNetworks().network("wide").card("base")
    run = RunFolder.create(out, choices, card.replace(labels=("square",)), source="train")
    run.save_model(wide("base", (SIDE, SIDE, 3), heads=heads))
    return run


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return wide_run(tmp_path_factory.mktemp("teacher") / "wide")


def taught(source, out, teacher, **choices):
    """Return the plan of an adaptation under a teacher."""
    choices = {"adapt": {"teacher": str(teacher), **choices}}
    training = {**TRAINING, "epochs": 2}
    return plan_chain(TwoNetworks(), source, ["adapt"], out, choices=choices, training=training)


def begin(plans, toy_data, killer=None):
    return run_chain(TwoNetworks(), plans, index=toy_data, **told(killer))


@pytest.mark.slow
def test_a_network_learns_from_a_run_of_another_one(source, teacher, toy_data, tmp_path):
    before = teacher.file("model.keras").read_bytes()
    (run,) = begin(taught(source, tmp_path / "run", teacher.path), toy_data)
    assert run.config.compress["choices"] == {"teacher": str(teacher.path)}
    assert {"feature_match_loss", "affinity_loss"} <= run.history()[0].keys()
    assert [x.name for x in run.load_model().layers] == [x.name for x in source.load_model().layers]
    assert not np.array_equal(kernel_of(run), kernel_of(source))
    assert teacher.file("model.keras").read_bytes() == before
    plans = plan_chain(ToyTask(), source, ["adapt"], tmp_path / "alone",
                       training={**TRAINING, "epochs": 2})  # fmt: skip
    (alone,) = begin(plans, toy_data)
    assert not np.array_equal(kernel_of(run), kernel_of(alone))


@pytest.mark.slow
def test_learning_from_a_teacher_is_resumed_with_the_same_teacher(
    source, teacher, toy_data, tmp_path
):
    copy = shutil.copytree(teacher.path, tmp_path / "teacher")
    choices = {"features": ["relu1", "head1"], "teacher_features": ["block2", "top"]}
    (whole,) = begin(taught(source, tmp_path / "whole", copy, **choices), toy_data)
    out = tmp_path / "run"
    with pytest.raises(Killed):
        begin(taught(source, out, copy, **choices), toy_data, KilledAt("adapt", epoch=1))
    copy.rename(tmp_path / "elsewhere")
    state = (out / STATE).read_bytes()
    with pytest.raises(
        UserError, match=r"^Teacher .*teacher: is not a run folder \(does not exist"
    ):
        run_chain(TwoNetworks(), started_chain(out), index=toy_data, resume=True)
    assert (out / STATE).read_bytes() == state
    (tmp_path / "elsewhere").rename(copy)
    (run,) = run_chain(TwoNetworks(), started_chain(out), index=toy_data, resume=True)
    assert result_of(run) == result_of(whole)


@pytest.mark.parametrize(
    "choices, said",
    [
        ({"teacher": "nowhere"}, r"^Teacher nowhere: is not a run folder \(does not exist\)"),
        ({"features": ["relu1"], "teacher_features": ["block1", "top"]},
         r"teacher_features names 2 layers for 1 features \(relu1\); name one for each"),
        ({"features": ["relu"]}, "toy: the student has no layer 'relu'. Did you mean 'relu1'"),
        ({"features": ["relu1"], "teacher_features": ["block9"]},
         "wide: the teacher has no layer 'block9'. Did you mean"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_be_followed_is_refused_before_anything_is_done(
    choices, said, source, teacher, tmp_path
):
    with pytest.raises(UserError, match=said):
        taught(source, tmp_path / "run", **{"teacher": teacher.path, **choices})
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_outputs_or_inputs_is_refused(source, teacher, tmp_path):
    smaller = wide_run(tmp_path / "smaller", heads=2)
    with pytest.raises(
        UserError, match=r"wide: as a teacher makes 8×8×1 of an input of 16×16×3, b"
    ):
        taught(source, tmp_path / "run", smaller.path)
    shutil.copytree(teacher.path, tmp_path / "other")
    write_json(
        tmp_path / "other" / "model_card.json", teacher.card.replace(std=(1.0, 1.0, 1.0)).to_dict()
    )
    with pytest.raises(
        UserError, match=r"Teacher .*other: normalises pixels by mean 0\.485.* std 1"
    ):
        taught(source, tmp_path / "run", tmp_path / "other")
    (tmp_path / "other" / "model.keras").unlink()
    with pytest.raises(UserError, match=r"Teacher .*other: holds no model\.keras yet"):
        taught(source, tmp_path / "run", tmp_path / "other")


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


# --- killed and resumed -----------------------------------------------------------------------

# Before anything is written, before the network is sparse, between two epochs, within one, with
# statistics and ranges frozen, after the last.
WALKS = {
    "often": [("prune", "step", 2), ("prune", "epoch", 1), ("cluster", "epoch", 2),
              ("quantize", "step", 3), ("quantize", "epoch", 2)],
    "late": [("prune", "epoch", 3), ("cluster", "step", 2), ("cluster", "step", 5),
             ("quantize", "epoch", 1), ("quantize", "epoch", 3)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS)
def test_a_chain_killed_again_and_again_ends_as_one_that_was_not(
    walk, whole, source, toy_data, tmp_path
):
    out = tmp_path / "small"
    for position, (method, kind, number) in enumerate(WALKS[walk]):
        killer = KilledAt(method, **{kind: number})
        with pytest.raises(Killed):
            if position:
                resume(toy_data, out, killer=killer)
            else:
                compress(source, toy_data, out, killer=killer)
    runs = resume(toy_data, out)
    assert [run.path for run in runs] == [plan.folder for plan in started_chain(out)]
    assert results(out) == results(whole)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("write", [1, 2, 3, 6])
def test_killed_around_a_file_of_a_stage(write, source, toy_data, tmp_path, monkeypatch):
    """Config, state, model, two tables, state, …: the n-th is half-written."""
    methods = ("cluster",)
    expected = compress(source, toy_data, tmp_path / "whole", methods)
    out, calls = tmp_path / "small", []

    def dying(path, content):
        calls.append(path)
        if len(calls) < write:
            return files.write_atomic(path, content)
        path.parent.mkdir(exist_ok=True)
        path.with_name(f".{path.stem}.unfinished{path.suffix}").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patched:
        for module in (state_module, run_folder):
            patched.setattr(module, "write_atomic", dying)
        with pytest.raises(Killed):
            compress(source, toy_data, out, methods)
    assert [result_of(run) for run in resume(toy_data, out)] == [result_of(r) for r in expected]
    assert not list(out.rglob(".*"))


def test_killed_before_its_first_stage(source, toy_data, tmp_path, monkeypatch):
    """Within its record the same command begins it again; after it, it can be resumed."""
    out, announced = tmp_path / "small", []

    def half_written(path, _):
        path.parent.mkdir(parents=True)
        path.with_name(".chain.unfinished.json").write_text('{"chain": "a", "sta')
        raise Killed

    def announce(plan):
        announced.append(plan.begun)
        raise Killed

    plans = planned(source, out, ("prune",))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("core.training.compressing.write_json", half_written)
        run_chain(ToyTask(), plans, index=toy_data)
    with pytest.raises(UserError, match="holds no compression to resume; start one without"):
        started_chain(out)
    with pytest.raises(Killed):
        run_chain(ToyTask(), plans, index=toy_data, announce=announce)
    assert not list(out.rglob(".*"))
    with pytest.raises(Killed):
        run_chain(ToyTask(), started_chain(out), index=toy_data, resume=True, announce=announce)
    assert announced == [False, False]


@pytest.mark.slow
def test_a_finished_chain_says_so(whole, toy_data, tmp_path):
    before, seen = results(whole), KilledAt("prune", step=1)
    resume(toy_data, whole, killer=seen)
    assert [note.partition(": ")[2] for note in seen.notes] == [
        "is finished (epoch 3); nothing to resume."
    ] * 3
    assert seen.calls == [] and results(whole) == before


@pytest.mark.slow
def test_a_source_that_is_gone_is_named(source, toy_data, tmp_path):
    copy = RunFolder(shutil.copytree(source.path, tmp_path / "source"))
    with pytest.raises(Killed):
        compress(copy, toy_data, tmp_path / "run", ("prune",), killer=KilledAt("prune", epoch=1))
    shutil.rmtree(copy.path)
    with pytest.raises(UserError, match=r"source: is not a run folder \(does not exist\)"):
        resume(toy_data, tmp_path / "run")
    assert (tmp_path / "run" / STATE).is_file()  # what was reached is kept
    shutil.copytree(source.path, copy.path)
    assert len(resume(toy_data, tmp_path / "run")[0].history()) == 3


@pytest.mark.parametrize(
    "content",
    [
        "", "not JSON", "null", "[]", "{}", '{"chain": "a", "stages": []}',
        '{"chain": "a", "stages": [3]}', '{"chain": "a", "stages": [{"method": "prune"}]}',
        '{"chain": "a", "stages": [{"method": "prune", "folder": ".", "config": []}]}',
        '{"chain": "a", "stages": [{"method": "prune", "folder": ".", "config": {"app": 3}}]}',
        b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_damaged_record_is_explained(content, tmp_path):
    (tmp_path / CHAIN).parent.mkdir()
    (tmp_path / CHAIN).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"chain\.json: is damaged; compress again with --overwri"):
        started_chain(tmp_path)


def test_nothing_to_resume(source, tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path, source.path):
        with pytest.raises(UserError, match="holds no compression to resume; start one without"):
            started_chain(folder)


# --- failures ---------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_chain_that_reaches_nothing_leaves_nothing(source, toy_data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(np, "savez", full)
        compress(source, toy_data, out, ("prune", "quantize"))
    assert not out.exists()
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr("core.training.fit._Session._fit", out_of_memory)
        compress(source, toy_data, out, ("prune", "quantize"))
    assert not out.exists()
    broken = toy_task.write_data(tmp_path / "data")
    (tmp_path / "data" / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"5\.png: is no picture; replace it"):
        compress(source, broken, out, ("cluster",))
    assert not out.exists()
    plans = planned(source, out, ("prune",), {"prune": {"end_step": 700}})
    with pytest.raises(UserError, match=r"ends at step 700, after the training does \(step 9\)"):
        run_chain(ToyTask(), plans, index=toy_data)
    assert not out.exists()
    (out / "mine").mkdir(parents=True)
    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(compressing, "write_json", lambda *_: _explained_full(out))
        compress(source, toy_data, out, ("prune",), overwrite=True)
    assert [path.name for path in out.rglob("*")] == ["mine"]


def out_of_memory(*_):
    raise MemoryError


def _explained_full(path):
    with files.explained(path):
        full()


@pytest.mark.slow
def test_a_full_disk_in_a_later_stage_keeps_the_earlier_ones(
    whole, source, toy_data, tmp_path, monkeypatch
):
    out, real, calls = tmp_path / "run", np.savez, []

    def savez(*args, **arrays):
        calls.append(1)
        if len(calls) == 4:  # the first state of the second stage
            full()
        real(*args, **arrays)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
        patched.setattr(np, "savez", savez)
        compress(source, toy_data, out)
    assert sorted(path.name for path in (out / "stages").iterdir()) == ["1_prune", "chain.json"]
    assert not (out / "config.yaml").exists()
    resume(toy_data, out)
    assert results(out) == results(whole)


@pytest.mark.slow
def test_a_stage_that_diverges_keeps_its_last_good_state(source, toy_data, tmp_path):
    options = {"heads": 1, "explode_after": 5}
    with pytest.raises(CheckFailed, match=r"loss is NaN at epoch 2, step 3; the last good check"):
        compress(source, toy_data, tmp_path / "run", ("quantize",), options=options)
    assert len(RunFolder(tmp_path / "run").history()) == 1
    assert started_chain(tmp_path / "run")[0].begun
