"""Seeded splits by group, a data set's own splits, and class balance."""

from pathlib import Path

import numpy as np
import pytest

from core.data.index import Sample, make_index
from core.data.splits import balanced_order, keep_or_split, split_by_group
from core.errors import UserError


def samples(number, *, groups=0, labels=0, split=""):
    return tuple(
        Sample(
            id=f"{split}{n}",
            inputs=(Path(f"{n}.png"),),
            group=f"patient {n % groups}" if groups else "",
            label=n % labels if labels else None,
            split=split,
        )
        for n in range(number)
    )


def sizes(found):
    return [sum(s.split == name for s in found) for name in ("train", "val", "test")]


def by_id(found):
    return {s.id: s.split for s in found}


@pytest.mark.parametrize(
    "number, expected",
    [(10, [8, 1, 1]), (30, [24, 3, 3]), (670, [536, 67, 67]), (3, [1, 1, 1]), (5, [3, 1, 1])],
)
def test_sizes_follow_the_fractions_and_no_split_is_empty(number, expected):
    assert sizes(split_by_group(samples(number))) == expected


def test_order_of_the_samples_does_not_matter():
    data = samples(100, groups=30)
    assert by_id(split_by_group(data, seed=3)) == by_id(split_by_group(data[::-1], seed=3))
    assert [s.id for s in split_by_group(data)] == [s.id for s in data]


def test_another_seed_is_another_split():
    data = samples(100)
    assert by_id(split_by_group(data, seed=0)) != by_id(split_by_group(data, seed=1))


def test_groups_are_never_parted():
    found = split_by_group(samples(200, groups=20))
    splits = {}
    for sample in found:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(names) == 1 for names in splits.values())
    assert sizes(found) == [160, 20, 20]


def test_a_group_named_like_a_sample_is_not_that_sample():
    data = [Sample("1", (), group="2"), Sample("2", ()), Sample("3", (), group="2")]
    assert sizes(split_by_group(data, (0.5, 0.5, 0))) == [2, 1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_spread_over_the_splits(seed):
    found = split_by_group(samples(400, labels=4), seed=seed)
    for name, expected in (("train", 80), ("val", 10), ("test", 10)):
        counts = np.bincount([s.label for s in found if s.split == name])
        assert np.abs(counts - expected).max() <= 1


def test_many_small_strata_still_fill_every_split():
    assert sizes(split_by_group(samples(60, labels=30))) == [48, 6, 6]


def test_too_few_groups():
    with pytest.raises(UserError, match=r"has 2 group\(s\) of samples, too few for 3 splits"):
        split_by_group(samples(50, groups=2))
    assert sizes(split_by_group(samples(50, groups=2), (0.5, 0, 0.5))) == [25, 0, 25]


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares_of_one(fractions):
    with pytest.raises(UserError, match="are not three shares of 1"):
        split_by_group(samples(50), fractions)


def index(*parts):
    return make_index("folder", Path("data"), [s for part in parts for s in part])


def test_own_splits_are_kept():
    data = index(*(samples(4, split=name) for name in ("train", "val", "test")), samples(2))
    found = keep_or_split(data)
    assert found.samples == data.samples
    assert found.notes == (
        "Splits are the data set's own.",
        "2 sample(s) belong to none of the splits and are not used.",
    )


@pytest.mark.parametrize("split", ["", "train"])
def test_data_without_splits_is_split(split):
    found = keep_or_split(index(samples(20, split=split)), seed=7)
    assert found.counts() == {"train": 16, "val": 2, "test": 2}
    assert found.notes == (
        "No splits of its own: split 80:10:10 with seed 7, groups kept together.",
    )


@pytest.mark.parametrize("own, missing", [("test", "val"), ("val", "test")])
def test_a_missing_split_is_taken_from_train(own, missing):
    data = index(samples(90, split="train", groups=45), samples(5, split=own))
    found = keep_or_split(data)
    assert found.counts() == {"train": 80, missing: 10, own: 5}
    assert {s.id for s in found.split(own).samples} == {s.id for s in data.split(own).samples}
    groups = [{s.group for s in found.split(name).samples} for name in ("train", missing)]
    assert not groups[0] & groups[1]
    assert found.notes == (
        f"The data set has no {missing} split: 10 of its 90 training samples were taken for it "
        "with seed 0.",
    )


def test_an_evaluation_set_is_left_as_it_is():
    assert keep_or_split(index(samples(3, split="test"))).counts() == {"test": 3}


def test_a_group_in_two_own_splits_is_told():
    parts = [samples(2, groups=1, split=name) for name in ("train", "val", "test")]
    assert (
        "1 group(s), for example 'patient 0', lie in several"
        in keep_or_split(index(*parts)).notes[0]
    )


def test_balanced_order_repeats_the_smaller_classes():
    labels = [0] * 7 + [1] * 2 + [2] * 3
    order = balanced_order(labels, np.random.default_rng(0))
    assert np.bincount(np.array(labels)[order]).tolist() == [7, 7, 7]
    times = np.bincount(order)
    assert sorted(times[7:9]) == [3, 4] and sorted(times[9:]) == [2, 2, 3]
    assert (times[:7] == 1).all()
    assert order.tolist() == balanced_order(labels, np.random.default_rng(0)).tolist()
    assert order.tolist() != sorted(order.tolist())


def test_balanced_order_of_nothing_is_nothing():
    assert balanced_order([], np.random.default_rng(0)).tolist() == []


@pytest.mark.parametrize("split, count", [("", 1), ("", 2), ("train", 2)])
def test_too_few_samples_to_split_are_left_to_be_evaluated_on(split, count):
    data = index(samples(count, split=split))
    found = keep_or_split(data)
    assert found.samples == data.samples
    assert found.notes == (
        "Too few samples or groups to make the splits that are missing: left as it is.",
    )


def test_one_training_sample_is_not_carved():
    data = index(samples(1, split="train"), samples(3, split="val"))
    assert keep_or_split(data).counts() == {"train": 1, "val": 3}
