"""What benchmarks/pretraining.py compares: the same training from two starts, on few masks."""

from apps.medical_segmentation.task import TASK
from benchmarks.pretraining import REPEATS, summary, with_few_masks


def test_every_seed_has_the_mask_of_another_tile_and_the_same_held_out_tiles():
    whole = TASK.read("sample")
    tiles = set()
    for seed in range(10):
        few = with_few_masks(whole, seed)
        assert few.counts() == {"train": REPEATS, "val": 2, "test": 4}
        (tile,) = {sample.inputs[0] for sample in few.split("train").samples}
        tiles.add(tile)
        for split in ("val", "test"):
            assert few.split(split).samples == whole.split(split).samples
    assert tiles == {sample.inputs[0] for sample in whole.split("train").samples}


def test_the_summary_pairs_the_starts_of_a_seed():
    dice = {("a", 0): (0.5, 0.75), ("a", 1): (0.75, 0.5), ("a", 2): (0.25, 1.0)}
    rows = [
        {"network": name, "steps": 5, "seed": seed, "start": start, "test_dice": value}
        for (name, seed), pair in dice.items()
        for start, value in zip(("random", "pre-trained"), pair, strict=True)
    ]
    assert summary(rows) == [("a", 5, 0.5, 0.75, 0.25, "2 of 3")]
