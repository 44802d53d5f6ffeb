"""A teacher that is asked before the training: `distill.views`."""

import color_task
import numpy as np
import pytest
from scipy.special import softmax
from test_fit import result_of
from test_teaching import Killed, Killing, Taught, teacher_run, teaching_of, under
from untraced import untraced

from core.data.pipeline import TrainingData
from core.errors import UserError
from core.run_folder import RunFolder
from core.training.fit import train
from core.training.teaching import Teaching

SOFT = {"temperature": 2.0, "weight": 0.6}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return color_task.write_data(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """It names the classes in another order, knows one more, and takes pixels from 0 to 1."""
    labels, plain = ("blue", "yellow", "red", "green"), {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return teacher_run(tmp_path_factory.mktemp("teacher") / "wide", labels=labels, **plain)


def test_an_answer_is_the_mean_over_what_the_training_shows(teacher, data):
    teaching, card = teaching_of(teacher, data, distill={"views": 3})
    index = data.split("train")
    weights = teaching.weights(index)
    batches = TrainingData(Taught(), index, card, under(teacher), weights=weights)
    said = teaching.answer(batches, weights)
    assert said.startswith(f"Teacher: asked 3 times about each of {len(index)} samples")
    model, everyone = teacher.load_model(), range(len(index))
    seen = [batches.inputs(view, everyone) * card.std + card.mean for view in range(3)]
    assert any((seen[0] != other).any() for other in seen[1:])  # augmentation differs
    expected = np.mean([softmax(model.predict(one, verbose=0), axis=-1) for one in seen], axis=0)
    batches.start_epoch(1)
    for positions, (_, _, beside) in zip(batches.order(1), batches.dataset(), strict=True):
        np.testing.assert_array_equal(beside[:, 0], weights[positions])
        np.testing.assert_allclose(softmax(beside[:, 1:], axis=-1), expected[positions], atol=1e-5)
    batches.close()


def test_without_augmentation_it_teaches_what_it_would_batch_by_batch(teacher, data, tmp_path):
    runs = []
    with untraced():
        for views in (0, 1):
            chosen = under(teacher, distill={**SOFT, "views": views}, augment=False)
            runs.append(train(Taught(), chosen, tmp_path / str(views), index=data).history())
    for batch_by_batch, beforehand in zip(*runs, strict=True):
        for part in ("loss", "task_loss", "soft_targets_loss"):
            assert beforehand[part] == pytest.approx(batch_by_batch[part], rel=1e-4), part


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(teacher, data, tmp_path):
    chosen = under(teacher, distill={**SOFT, "views": 2})
    with untraced():
        whole = train(Taught(), chosen, tmp_path / "whole", index=data)
        with pytest.raises(Killed):
            train(Taught(), chosen, tmp_path / "run", index=data, progress=Killing())
        train(Taught(), None, tmp_path / "run", index=data, resume=True)
    assert result_of(RunFolder(tmp_path / "run")) == result_of(whole)


def test_what_cannot_be_asked_beforehand_is_told(teacher, data, tmp_path):
    with pytest.raises(UserError, match=r"distill\.views is -1; it must be 0 or more"):
        under(teacher, distill={"views": -1})
    with pytest.raises(UserError, match="keeps a teacher's answers and no features"):
        under(teacher, distill={"views": 1, "feature_weight": 1.0})
    mixed = under(teacher, distill={"views": 1}, options={"head_epochs": 0, "mixup": 0.4})
    with pytest.raises(UserError, match="mixes or resizes batches; set it to 0"):
        train(Taught(), mixed, tmp_path / "mixed", index=data)
    task = Taught()
    card = task.network("colour_net").card("base").replace(output="three numbers")
    with pytest.raises(UserError, match="is for classes of whole samples"):
        Teaching(task, under(teacher, distill={"views": 1}), card)
