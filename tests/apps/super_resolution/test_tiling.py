import json

import golden_files
import numpy as np
import pytest

from apps.super_resolution.tiling import (
    Grid,
    fixed_spans,
    overlap_spans,
    overlap_starts,
    padded_spans,
)


def cases(kind):
    with np.load(golden_files.GOLDEN / "sr__tiling.npz") as data:
        return [case for case in json.loads(str(data["meta"]))["cases"] if case["kind"] == kind]


@pytest.mark.parametrize("case", cases("overlap-average"), ids=lambda c: f"{c['h']}x{c['w']}")
def test_overlapping_tiles_start_where_the_challenge_script_starts_them(case):
    tile = min(case["tile"], case["h"], case["w"])
    assert tile == case["tile_used"]
    assert overlap_starts(case["h"], tile, case["overlap"]) == tuple(case["ys"])
    assert overlap_starts(case["w"], tile, case["overlap"]) == tuple(case["xs"])


@pytest.mark.parametrize("case", cases("padded-tile"), ids=lambda c: f"{c['h']}x{c['w']}")
def test_padded_tiles_read_and_keep_what_real_esrgan_does(case):
    grid = Grid(
        padded_spans(case["h"], case["tile"], case["pad"]),
        padded_spans(case["w"], case["tile"], case["pad"]),
    )
    scale, found = case["scale"], []
    for rows in grid.rows:
        for columns in grid.columns:
            kept = [rows.kept(scale), columns.kept(scale)]
            placed = [rows.placed(scale), columns.placed(scale)]
            found.append(
                {
                    "input": [rows.start, rows.stop, columns.start, columns.stop],
                    "output": [n for s in placed for n in (s.start, s.stop)],
                    "crop_in_tile_output": [n for s in kept for n in (s.start, s.stop)],
                }
            )
    assert found == case["tiles"] and len(grid) == len(found)


@pytest.mark.parametrize("multiple", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 3, 31, 32, 33, 63, 64, 65, 100, 517])
def test_kept_parts_cover_every_pixel_once_and_reads_fit_the_architecture(length, multiple):
    plans = {
        "padded": padded_spans(length, 32, 8, multiple=multiple),
        "fixed": fixed_spans(length, 32, 8, multiple=multiple),
    }
    for name, spans in plans.items():
        kept = [n for span in spans for n in range(span.low, span.high)]
        assert kept == list(range(length)), name
        for span in spans:
            assert span.start % multiple == 0 == span.length % multiple
            assert span.start <= span.low < span.high <= span.stop
            assert span.start == 0 or span.low - span.start >= 8
            assert span.stop >= length or span.stop - span.high >= 8
    assert {span.length for span in plans["fixed"]} == {32}


@pytest.mark.parametrize("length", [20, 64, 65, 100, 517])
def test_averaged_tiles_of_a_strided_network_stay_on_its_grid(length):
    spans = overlap_spans(length, 32, 9, multiple=4)
    covered = {n for span in spans for n in range(span.low, span.high)}
    assert covered == set(range(length))
    assert all(span.start % 4 == 0 and span.length == 32 for span in spans)
    assert len({span.start for span in spans}) == len(spans)


@pytest.mark.parametrize(
    "call",
    [
        lambda: overlap_starts(100, 32, 32),
        lambda: overlap_starts(100, 32, -1),
        lambda: fixed_spans(100, 32, 16),
        lambda: padded_spans(100, 30, 8, multiple=4),
        lambda: padded_spans(100, 0, 8),
        lambda: padded_spans(100, 32, 6, multiple=4),
    ],
)
def test_tiles_that_cannot_be_laid_are_refused(call):
    with pytest.raises(ValueError, match="Received"):
        call()
