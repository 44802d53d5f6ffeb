import threading

import numpy as np
import pytest

from core.config import TrainConfig
from core.data.index import Index, Sample
from core.data.pipeline import ExampleCache, TrainingData
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Example, Task

CARD = ModelCard(network="n", variant="v", app="a")


class CountingTask:
    """Samples are 2×2 images of their own number; augmentation adds a random number."""

    training_example = Task.training_example
    batch_order = Task.batch_order

    def __init__(self, broken=(), repeats=1):
        self.loads, self.broken, self.patches = [], broken, repeats

    def repeats(self, config, index):
        return self.patches

    def load(self, sample, card):
        self.loads.append(sample.id)
        if sample.id in self.broken:
            raise UserError(f"{sample.inputs[0]}: is damaged; replace it.")
        value = np.full((2, 2, 3), int(sample.id), np.uint8)
        return Example(value, None if sample.label is None else np.array([sample.label]))

    def augment(self, example, rng, config):
        example.inputs[0] += 1  # a task may change what it was given
        return Example(example.inputs.astype(np.float32) + rng.random(), example.target)

    def encode(self, example, card):
        target = None if example.target is None else example.target.astype(np.int32)
        return example.inputs.astype(np.float32), target

    def batches(self, dataset, config, *, epoch):
        return dataset


class Backwards(CountingTask):
    """Has an order of its own: pairs, the last ones first, those left over not at all."""

    def batch_order(self, index, config, rng):
        places = np.arange(len(index))[::-1]
        return [places[i : i + 2] for i in range(0, len(places) - 1, 2)]


class TwoSizes(CountingTask):
    """Gives every batch in two sizes."""

    def batches(self, dataset, config, *, epoch):
        import tensorflow as tf

        def sizes(x, y):
            large = tf.image.resize(x, (4, 4))
            return tf.data.Dataset.from_tensors((x, y)).concatenate(
                tf.data.Dataset.from_tensors((large, y))
            )

        return dataset.flat_map(sizes)


def data(count=10, task=None, outputs=1, **choices):
    samples = tuple(Sample(str(n), (f"{n}.png",), label=n) for n in range(count))
    config = TrainConfig(app="a", network="n", variant="v", **{"batch": 4, "workers": 2, **choices})
    index = Index("x", "folder", samples)
    return TrainingData(task or CountingTask(), index, CARD, config, outputs=outputs)


def epoch_of(training, epoch):
    training.start_epoch(epoch)
    return [(x.numpy(), y.numpy()) for x, y in training.dataset()]


def content(batches):
    return [(x.tobytes(), y.tobytes()) for x, y in batches]


def test_every_sample_once_an_epoch_in_another_order_each_time():
    training = data(10)
    first, second = epoch_of(training, 0), epoch_of(training, 1)
    labels = [np.concatenate([y[:, 0] for _, y in epoch]).tolist() for epoch in (first, second)]
    assert [len(y) for _, y in first] == [4, 4, 2]
    assert sorted(labels[0]) == sorted(labels[1]) == list(range(10))
    assert labels[0] != labels[1]


def test_augmentation_differs_by_sample_and_epoch():
    training = data(10)
    added = []
    for epoch in (0, 1):
        for x, y in epoch_of(training, epoch):
            added += (x[:, 1, 0, 0] - y[:, 0]).tolist()
    assert len(set(added)) == 20


@pytest.mark.parametrize("workers, cache", [(1, False), (4, True)])
def test_same_bytes_for_any_workers_and_cache(workers, cache):
    expected = content(epoch_of(data(10, workers=2), 3))
    training = data(10, workers=workers, cache=cache)
    epoch_of(training, 0)
    assert content(epoch_of(training, 3)) == expected


def test_an_epoch_takes_each_sample_as_often_as_the_task_says():
    """Patches of large images: each time another part, and each time in another place."""
    training = data(3, task=CountingTask(repeats=4))
    labels, added = [], []
    for x, y in epoch_of(training, 0):
        labels += y[:, 0].tolist()
        added += (x[:, 1, 0, 0] - y[:, 0]).tolist()
    assert training.samples == 12
    assert sorted(labels) == [0] * 4 + [1] * 4 + [2] * 4
    assert len(set(added)) == 12


def test_another_seed_gives_other_batches():
    assert content(epoch_of(data(seed=1), 0)) != content(epoch_of(data(seed=2), 0))


@pytest.mark.parametrize(
    "count, batch, sizes",
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (3, 4, [3]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_no_batch_of_one_is_left_over(count, batch, sizes):
    training = data(count, batch=batch)
    assert [len(y) for _, y in epoch_of(training, 0)] == sizes
    assert (training.steps, training.samples) == (len(sizes), count)


def test_steps_per_epoch_shortens_an_epoch():
    training = data(10, steps_per_epoch=2)
    assert [len(y) for _, y in epoch_of(training, 0)] == [4, 4]
    assert (training.steps, training.samples) == (2, 8)


def test_without_augmentation_the_encoded_sample():
    for x, y in epoch_of(data(4, augment=False), 0):
        np.testing.assert_array_equal(x[:, 0, 0, 0], y[:, 0])


def test_samples_are_decoded_once_with_the_cache():
    task = CountingTask()
    training = data(6, task)
    for epoch in range(3):
        epoch_of(training, epoch)
    assert sorted(task.loads) == list("012345")


def test_the_task_may_multiply_the_batches():
    training = data(10, TwoSizes())
    batches = epoch_of(training, 0)
    assert training.step_count() == len(batches) == 6
    assert [x.shape for x, _ in batches[:2]] == [(4, 2, 2, 3), (4, 4, 4, 3)]


def test_target_is_repeated_for_every_output():
    x, (first, second) = next(iter(data(4, outputs=2).dataset()))
    assert x.shape == (4, 2, 2, 3)
    np.testing.assert_array_equal(first, second)


def test_shapes_are_known_to_the_graph():
    x, y = data(4).dataset().element_spec
    assert (x.shape.as_list(), x.dtype.name) == ([None, 2, 2, 3], "float32")
    assert (y.shape.as_list(), y.dtype.name) == ([None, 1], "int32")


def test_a_damaged_file_is_reported_in_its_own_words():
    import tensorflow as tf

    training = data(10, CountingTask(broken=("7",)))
    with pytest.raises(tf.errors.OpError):
        epoch_of(training, 0)
    with pytest.raises(UserError, match=r"^7\.png: is damaged; replace it\.$"):
        training.raise_failure()


def test_a_sample_without_truth_is_named():
    samples = (Sample("0", ("0.png",)),)
    config = TrainConfig(app="a", network="n", variant="v")
    with pytest.raises(UserError, match=r"0\.png: has no truth"):
        TrainingData(CountingTask(), Index("x", "folder", samples), CARD, config)


def test_cache_keeps_to_its_budget_and_gives_copies():
    task = CountingTask()
    one = 12 + np.array([0]).nbytes
    cache = ExampleCache(task, CARD, budget_bytes=2 * one)
    samples = [Sample(str(n), (f"{n}.png",), label=n) for n in range(3)]
    for sample in samples * 2:
        example = cache.load(sample)
        assert example.inputs.max() == int(sample.id)
        example.inputs[:] = 99
    assert len(cache) == 2
    assert task.loads == ["0", "1", "2", "2"]


def test_cache_is_safe_in_threads():
    cache = ExampleCache(CountingTask(), CARD, budget_bytes=20 * 5)
    samples = [Sample(str(n), (f"{n}.png",), label=n) for n in range(20)]
    wrong = []

    def work():
        for sample in samples:
            if cache.load(sample).inputs.max() != int(sample.id):
                wrong.append(sample.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(cache) == 5


def test_a_task_may_order_its_batches():
    training = data(5, Backwards(), batch=4)
    assert [batch.tolist() for batch in training.order(0)] == [[4, 3], [2, 1]]
    assert training.samples == 4 and training.steps == 2
