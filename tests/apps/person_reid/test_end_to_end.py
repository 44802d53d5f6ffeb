"""The whole way through the command line: train, evaluate, export, verify, compress, import.

Each fixture is one step and is taken once. Little is learnt in so few steps: what is held here is
that every step follows from the one before it. The notebook takes OSNet the same way.
"""

import json

import golden_files
import numpy as np
import pytest
from typer.testing import CliRunner
from untraced import untraced

from apps.person_reid.cli import app

pytestmark = pytest.mark.slow

SMALL = ["--network", "small_embedder", "--input-size", "64 32", "--batch", 8, "--quick"]


def reid(*arguments, code=0):
    """Run the program, which must end with `code`; return what it printed."""
    given = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, given, prog_name="gossamer reid")
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def found(*arguments, code=0):
    """Run the program with --json and return what it found."""
    return json.loads(reid(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def trained(small_network, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "persons"
    with untraced():
        reid("train", "--data", "sample", *SMALL, "--set", "options.loss=triplet", "--out", run)
    return run


def test_scores_and_their_protocol_follow_from_a_training(trained):
    plain = found("evaluate", trained)
    assert plain["protocol"].startswith("Market-1501, single query: 48 queries, 222 gallery")
    assert 0 < plain["metrics"]["map"] < plain["metrics"]["rank_10"] < 1
    again = found("evaluate", trained, "--set", "rerank=library")
    assert "re-ranking (library" in again["protocol"]
    assert again["metrics"]["map"] != plain["metrics"]["map"]


def test_the_classifier_trains_first_where_that_is_wished(trained, tmp_path):
    choices = [*SMALL[:-1], "--steps-per-epoch", 1, "--set", "options.fixed_epochs=1"]
    choices += ["--set", "validate_every=2"]
    choices += ["--initial-weights", trained, "--epochs", 1]
    with untraced():
        reid("train", "--data", "sample", *choices, "--out", tmp_path / "first")
    import keras

    before, after = (
        {v.path: np.asarray(v) for v in keras.models.load_model(p / "model.keras").variables}
        for p in (trained, tmp_path / "first")
    )
    moved = {
        name for name, value in after.items()
        if name in before and before[name].shape == value.shape
        and not np.array_equal(value, before[name])
    }  # fmt: skip
    assert moved <= {"classifier/kernel", "classifier/bias"}


def test_files_are_verified_by_how_they_rank(trained):
    whole = found("export", trained, "--precision", "float32")["file"]
    rows = {row["check"]: row for row in found("verify", whole)["rows"]}
    assert rows["queries with the same first hit"]["value"] == "100.00%"
    integer = found("export", trained, "--precision", "int8")
    assert any("equalized" in note for note in integer["notes"])
    checked = json.loads(CliRunner().invoke(
        app, ["verify", integer["file"], "--json"], prog_name="gossamer reid"
    ).stdout)  # fmt: skip
    rows = {row["check"]: row for row in checked["rows"]}
    assert rows["operators left in float"]["value"] == 0
    assert "queries with the same first hit" in rows


def test_training_with_the_quantizers_learns_from_the_float_network(trained, tmp_path):
    from apps.person_reid.task import TASK
    from core.run_folder import RunFolder
    from core.training.compressing import plan_chain

    (plan,) = plan_chain(TASK, RunFolder(trained), ("quantize",), tmp_path / "aware")
    choices = plan.config.compress["choices"]
    assert choices["teacher_distance"] == "mse" and choices["task_weight"] == 0.0
    assert choices["observer"] == "learned" and choices["equalize"]
    assert plan.config.learning_rate == 5e-5


def test_a_checkpoint_of_the_zoo_is_imported_by_what_it_holds(tmp_path):
    torch_file = tmp_path / "osnet_ain_x0_25_imagenet.npz"
    state = golden_files.load("osnet__osnet_ain_x0_25").state()
    state |= {
        "classifier.weight": np.zeros((1000, 512), np.float32),
        "classifier.bias": np.zeros(1000, np.float32),
    }
    np.savez(torch_file, **{f"module.{name}": value for name, value in state.items()})
    made = found("import", "--checkpoint", torch_file, "--out", tmp_path / "run")
    assert made["variant"] == "ain_x0_25" and made["counts"]["missing"] == 0
    warning, left_out = made["notes"]
    assert "ImageNet only" in warning and "classifier of 1000 classes is left out" in left_out
    metrics = found("evaluate", tmp_path / "run", "--data", "sample")["protocol"]
    assert "cosine distance" in metrics


def test_bad_input_gets_one_sentence(trained, tmp_path):
    for arguments, sentence in (
        (["train", "--data", tmp_path, "--out", tmp_path / "x"], "not recognised"),
        (["train", "--data", "sample", "--input-size", "60 32", "--out", tmp_path / "x"],
         "multiples of 16"),
        (["evaluate", trained, "--set", "metric=manhattan"], "Known: euclidean, cosine"),
        (["evaluate", trained, "--split", "train"], "hold no query image"),
        (["train", "--data", "sample", "--batch", 6, "--set", "options.loss=triplet", "--out",
          tmp_path / "x"], "multiple of 4"),
    ):  # fmt: skip
        said = reid(*arguments, code=2).stderr
        assert sentence in " ".join(said.split()), said
    assert not (tmp_path / "x").exists()
