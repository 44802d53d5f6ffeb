"""Which row of a history tells of the weights that were kept."""

import math

import pytest

from core.history import best_row, epochs


@pytest.mark.parametrize("mode, expected", [("max", 2), ("min", 1)])
def test_the_first_of_the_best(mode, expected):
    rows = [
        {"epoch": 1, "val_dice": 0.2},
        {"epoch": 2, "val_dice": 0.9},
        {"epoch": 3},
        {"epoch": 4, "val_dice": 0.9},
        {"epoch": 5, "val_dice": math.nan},
    ]
    assert best_row(rows, "dice", mode)["epoch"] == expected
    assert best_row([{"epoch": 1, "loss": 1.0}], "dice", mode) is None


def test_what_only_keeps_outputs_is_chosen_by_their_nearness():
    rows = [
        {"epoch": 0, "val_error": 3.0, "val_signal_to_noise": 13.0},
        {"epoch": 1, "loss": 0.2, "val_error": 2.0, "val_signal_to_noise": 26.0},
        {"epoch": 2, "loss": 0.1, "val_error": 1.0, "val_signal_to_noise": 25.0},
    ]
    assert best_row(rows, "error", "min")["epoch"] == 1
    assert epochs(rows) == 2


def test_a_network_that_is_not_sparse_yet_is_not_the_best():
    rows = [{"epoch": 1, "val_dice": 0.9, "settled": 0.0}, {"epoch": 2, "val_dice": 0.8}]
    assert best_row(rows, "dice", "max")["epoch"] == 2


def test_the_start_is_the_best_only_if_no_epoch_is_as_good():
    rows = [{"epoch": n, "val_dice": value} for n, value in enumerate((0.9, 0.8, 0.9))]
    assert best_row(rows, "dice", "max")["epoch"] == 2
    assert best_row(rows[:2], "dice", "max")["epoch"] == 0
