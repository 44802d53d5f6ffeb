"""Ticks, marks and escapes of the charts and tables of a report."""

import math

import pytest

from core.export.report_chart import chart, ticks, training_charts
from core.export.report_markup import Html, change, number, size, table, tag


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.61, 1.34, [0.6, 0.8, 1.0, 1.2, 1.4]),
        (1, 100, [0, 20, 40, 60, 80, 100]),
        (0.0, 0.005, [0.0, 0.001, 0.002, 0.003, 0.004, 0.005]),
        (2.0, 2.0, [1.0, 1.5, 2.0, 2.5, 3.0]),
        (0.0, 0.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_ticks_are_round_and_hold_the_range(low, high, expected):
    assert ticks(low, high) == expected


def test_metrics_on_another_scale_are_not_drawn_beside_the_headline():
    history = [
        {"epoch": n, "loss": 1 / n, "val_dice": 0.5, "val_iou": 0.4, "val_hd95": 20.0 + n}
        for n in (1, 2)
    ]
    loss, validation = training_charts(history, "dice", best_epoch=1)
    assert "iou" in validation and "hd95" not in validation
    assert validation.count("<polyline") == 2
    assert loss.count("<polyline") == 1


def test_values_beyond_all_measure_are_not_drawn():
    rows = [{"epoch": 1.0, "loss": 1e308}, {"epoch": 2.0, "loss": -1e308}, {"epoch": 3.0}]
    assert training_charts(rows, "dice", best_epoch=None) == training_charts(
        [{"epoch": row["epoch"], "loss": float("nan")} for row in rows], "dice", best_epoch=None
    )


def test_one_epoch_is_a_dot():
    drawn = chart("Loss", {"loss": [(1, 0.5)]}, mark=1)
    assert "<polyline" not in drawn and "<circle" in drawn
    assert "nan" not in drawn


def test_curves_stay_inside_the_axes():
    drawn = chart("Loss", {"loss": [(1, 0.0), (2, 1.0)]})
    assert 'points="46.0,196.0 348.0,20.0"' in drawn


def test_text_is_escaped_and_markup_is_not():
    assert tag("p", "<b>&", Html("<i></i>"), title='"') == (
        '<p title="&quot;">&lt;b&gt;&amp;<i></i></p>'
    )
    assert "<td>&lt;a&gt;</td>" in table(("x",), [("<a>",)])
    assert "<td>–</td>" in table(("x",), [(None,)])


@pytest.mark.parametrize(
    "value, expected",
    [
        (0.81234, "0.8123"),
        (12.3456, "12.35"),
        (1234567, "1,234,567"),
        (-0.5, "−0.5000"),
        (3.4291e-10, "3.43e-10"),
        (0.0, "0.0000"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    "count, expected",
    [(None, "–"), (0, "0 B"), (999, "999 B"), (175_300, "175 kB"), (1_314_000, "1.31 MB")],
)
def test_sizes(count, expected):
    assert size(count) == expected


@pytest.mark.parametrize(
    "value, expected",
    [
        (0.0, "equal to Keras"),
        (-0.00004, "within 0.0001 of Keras"),
        (-0.0012, "−0.0012 against Keras"),
        (0.01, "+0.0100 against Keras"),
    ],
)
def test_changes(value, expected):
    assert change(value) == expected
