"""Regions of one direction, grown pixel by pixel over the maps of a network; compiled.

L. Teplyakov et al., "LSDNet: Trainable Modification of LSD Algorithm for Real-Time Line Segment
Detection", IEEE Access 10 (2022). The arithmetic is that of the pixels' type, step by step in the
published order: a region's means move with every pixel, so rounding decides which pixels on its
border belong to it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def grow(seeds, numbers, places, pixels, row, limits, least):
    """Return the regions that grow from seeds, and take their pixels out of the map.

    A region takes the free neighbours of its pixels, first come first served, whose direction and
    heat are near the means of what it has by then.

    Args:
        seeds: int32 (S,) numbers of pixels, in the order in which regions start.
        numbers: int32 (cells,), changed: the number of the pixel that lies in each cell of the map,
            row after row, with a margin that holds none; -1 where there is no free one.
        places: int32 (N,) the cell of each pixel.
        pixels: (N, 3) of float32 or float64: doubled unit vector, and heat.
        row: Cells of a row.
        limits: Of that type: 1; the squared length, below which the difference of two directions
            must be; and that of two heats.
        least: Regions have more pixels than this.

    Returns:
        int32 (P,) numbers of the pixels of all regions one after the other, int32 (R + 1,) where
        each begins, and (R, 2) the regions' mean directions.
    """
    around = (-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1)
    one, spread, deviation = limits[0], limits[1], limits[2]
    members = np.empty(len(seeds), np.int32)
    starts = np.zeros(len(seeds) // (least + 1) + 1, np.int32)
    means = np.empty((len(starts), 2), pixels.dtype)
    count, regions = 0, 0
    for seed in seeds:
        if numbers[places[seed]] < 0:
            continue
        numbers[places[seed]] = -1
        first = reader = count
        members[count] = seed
        count += 1
        mean_x, mean_y, mean_heat = pixels[seed, 0], pixels[seed, 1], pixels[seed, 2]
        norm, size = one, one
        while reader < count:
            place = places[members[reader]]
            reader += 1
            for offset in around:
                number = numbers[place + offset]
                if number < 0:
                    continue
                x, y, heat = pixels[number, 0], pixels[number, 1], pixels[number, 2]
                off_x, off_y = mean_x - x, mean_y - y
                if off_x * off_x + off_y * off_y >= spread or abs(mean_heat - heat) >= deviation:
                    continue
                numbers[place + offset] = -1
                members[count] = number
                count += 1
                size += one
                product = norm * (mean_x * x + mean_y * y)
                longer = math.sqrt(one + norm * norm + (product + product))
                mean_x = (mean_x * norm + x) / longer
                mean_y = (mean_y * norm + y) / longer
                norm = longer
                mean_heat = (mean_heat * (size - one) + heat) / size
        if count - first > least:
            means[regions, 0], means[regions, 1] = mean_x, mean_y
            regions += 1
            starts[regions] = count
        else:
            count = first
    return members[:count].copy(), starts[: regions + 1].copy(), means[:regions].copy()
