"""Which training images share a batch: as published, and what cannot be filled is refused."""

import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from golden_files import GOLDEN

from apps.person_reid.samplers import domain_order, identity_order, order, random_order
from core.data.index import Index, Sample
from core.errors import UserError


class Published:
    """The draws of the published code, whose golden order came from Python's and NumPy's seeds."""

    def __init__(self, seed: int):
        self.python, self.numpy = random.Random(seed), np.random.RandomState(seed)

    def choice(self, count: int, size: int, replace: bool) -> list[int]:
        if replace:
            return self.numpy.choice(count, size=size, replace=True).tolist()
        return self.python.sample(range(count), size)

    def permutation(self, values: np.ndarray) -> np.ndarray:
        values = list(values)
        self.python.shuffle(values)
        return np.array(values)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "osnet__data.npz") as data:
        return {
            name: data[name] for name in data.files if name.startswith(("sampler", "ident"))
        } | {name: data[name] for name in ("camera_order_seed0", "dataset_order_seed0")}


def training_index(persons: int = 6, images: int = 5, cameras: int = 3) -> Index:
    samples = [
        Sample(
            f"{person}_{image}",
            (),
            label=person,
            extra={"camera": image % cameras, "dataset": person % 2},
        )
        for person in range(persons)
        for image in range(images)
    ]
    return Index("test", None, tuple(samples))


def config(batch: int, **options):
    return SimpleNamespace(batch=batch, options=options)


def test_persons_are_drawn_in_the_published_order(golden):
    batches = identity_order(golden["sampler_pids"].tolist(), 8, Published(0), images=4)
    assert np.concatenate(batches).tolist() == golden["identity_order_seed0"].tolist()
    assert all(len(batch) == 8 for batch in batches)
    assert sum(map(len, batches)) <= golden["identity_len"]


@pytest.mark.parametrize(
    "ids, order, batch",
    [("sampler_cams", "camera_order_seed0", 6), ("sampler_dsets", "dataset_order_seed0", 4)],
)
def test_cameras_and_data_sets_are_drawn_in_the_published_order(golden, ids, order, batch):
    batches = domain_order(golden[ids].tolist(), batch, Published(0))
    assert np.concatenate(batches).tolist() == golden[order].tolist()


def test_a_batch_has_equally_many_images_of_each_of_its_persons():
    persons = np.repeat(np.arange(9), np.arange(1, 10))  # 1 to 9 images
    batches = identity_order(persons.tolist(), 12, np.random.default_rng(0), images=4)
    for batch in batches:
        assert sorted(Counter(persons[batch].tolist()).values()) == [4, 4, 4]
    used = Counter(np.concatenate(batches).tolist())
    twice = {position for position, count in used.items() if count > 1}
    assert set(persons[sorted(twice)].tolist()) <= {0, 1, 2}  # those with fewer than four


def test_a_batch_has_equal_shares_of_as_many_cameras_as_divide_it():
    cameras = np.arange(120) % 6
    batches = domain_order(cameras.tolist(), 8, np.random.default_rng(0))
    for batch in batches:
        assert sorted(Counter(cameras[batch].tolist()).values()) == [2, 2, 2, 2]
    taken = np.concatenate(batches).tolist()
    assert len(taken) == len(set(taken)) > 60


def test_cameras_of_few_images_are_left_out_of_batches_they_cannot_share():
    cameras = [0] * 20 + [1] * 20 + [2]
    batches = domain_order(cameras, 12, np.random.default_rng(0))
    assert len(batches) == 3 and all(40 not in batch for batch in batches)


def test_the_sampler_follows_from_the_options():
    index, rng = training_index(), np.random.default_rng(0)
    labels = np.array([sample.label for sample in index.samples])
    for options in ({"loss": "triplet"}, {"sampler": "identity", "images": 2}):
        batch = order(index, config(8, **options), rng)[0]
        assert set(Counter(labels[batch].tolist()).values()) == {options.get("images", 4)}
    assert len(np.unique(np.concatenate(order(index, config(8), rng)))) == 24
    sets = np.array([sample.extra["dataset"] for sample in index.samples])
    batch = order(index, config(8, sampler="dataset"), rng)[0]
    assert Counter(sets[batch].tolist()) == {0: 4, 1: 4}
    with pytest.raises(UserError, match="Did you mean 'identity'"):
        order(index, config(8, sampler="identiy"), rng)


@pytest.mark.parametrize("sampler", ["random", "identity", "camera", "dataset"])
def test_the_same_seed_gives_the_same_order_and_epochs_differ(sampler):
    def drawn(seed):
        rng = np.random.default_rng([seed, 3])
        return np.concatenate(order(training_index(), config(8, sampler=sampler), rng)).tolist()

    assert drawn(0) == drawn(0) != drawn(1)


def test_a_plain_shuffle_leaves_out_what_does_not_fill_a_batch():
    batches = random_order(10, 4, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [4, 4]
    assert sorted(random_order(3, 4, np.random.default_rng(0))[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda rng: identity_order([0, 1, 2], 10, rng), "multiple of 4, such as 8"),
        (lambda rng: identity_order([0, 1, 2], 4, rng), "two persons or more"),
        (lambda rng: identity_order([0, 1, 2], 64, rng), "3 person.*batch of 12 or less"),
        (lambda rng: domain_order([0, 1], 6, rng), "smaller batch"),
        (lambda rng: domain_order([0, 1] * 9, 6, rng, together=4), "divides"),
        (lambda rng: domain_order([0, 1] * 9, 6, rng, together=3), "It takes 3"),
    ],
)
def test_a_batch_that_cannot_be_filled_is_refused(call, words):
    with pytest.raises(UserError, match=words):
        call(np.random.default_rng(0))


def test_images_of_nobody_are_in_no_batch():
    batches = identity_order([0, 0, None, 1, 1, None], 4, np.random.default_rng(0), images=2)
    assert [sorted(batch) for batch in batches] == [[0, 1, 3, 4]]
