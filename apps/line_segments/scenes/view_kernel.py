"""The compiled part of a view; importing it imports numba.

Plain loops over numbers: they compile in a fraction of the time that array expressions take.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def project(quads, focal, cx, cy, near, polygons, counts, planes):
    """Project faces, cut at a plane before the camera.

    Args:
        quads: float64 (F, 4, 3), as the camera has them.
        focal, cx, cy: Focal length and principal point in pixels.
        near: Metres.
        polygons: float64 (F, 5, 2), filled with corners in pixels.
        counts: int64 (F,), filled with how many corners are used.
        planes: float64 (F, 3), filled with a, b, c of 1 / z = a x + b y + c.
    """
    for face in range(len(quads)):
        x0, y0, z0 = quads[face, 0]
        ax, ay, az = quads[face, 1, 0] - x0, quads[face, 1, 1] - y0, quads[face, 1, 2] - z0
        bx, by, bz = quads[face, 2, 0] - x0, quads[face, 2, 1] - y0, quads[face, 2, 2] - z0
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        offset = nx * x0 + ny * y0 + nz * z0
        counts[face] = 0
        if abs(offset) < 1e-9:
            continue
        a, b = nx / offset / focal, ny / offset / focal
        planes[face, 0], planes[face, 1] = a, b
        planes[face, 2] = nz / offset - a * cx - b * cy
        used = 0
        for corner in range(4):
            x1, y1, z1 = quads[face, corner]
            x2, y2, z2 = quads[face, (corner + 1) % 4]
            if z1 >= near:
                polygons[face, used, 0] = focal * x1 / z1 + cx
                polygons[face, used, 1] = focal * y1 / z1 + cy
                used += 1
            if (z1 >= near) != (z2 >= near):
                share = (near - z1) / (z2 - z1)
                polygons[face, used, 0] = focal * (x1 + share * (x2 - x1)) / near + cx
                polygons[face, used, 1] = focal * (y1 + share * (y2 - y1)) / near + cy
                used += 1
        counts[face] = used if used > 2 else 0


@numba.njit(cache=True)
def _clip(start, end, low, high):
    """Return the part of low..high where a value that runs from start to end is positive."""
    if start <= 0 and end <= 0:
        return 1.0, 0.0
    if start < 0:
        return max(low, start / (start - end)), high
    if end < 0:
        return low, min(high, start / (start - end))
    return low, high


@numba.njit(cache=True)
def hidden_parts(segments, depths, polygons, counts, planes, discs, slack, hidden, used):
    """List where faces and discs hide segments, as shares of their lengths.

    Along a segment on the picture both its own 1 / z and a face's are linear, so each face hides an
    interval, whose ends are found without sampling.

    Args:
        segments: float64 (S, 4).
        depths: float64 (S, 2), 1 / z of the ends.
        polygons, counts, planes: Of `project`.
        discs: float64 (D, 4), x, y, radius, 1 / z.
        slack: By how much nearer, as a share, a face must be to hide what may lie on it.
        hidden: float64 (S, F + D, 2), filled with intervals.
        used: int64 (S,), filled with how many there are.
    """
    for number in range(len(segments)):
        x1, y1, x2, y2 = segments[number]
        d1, d2 = depths[number, 0] * (1 + slack), depths[number, 1] * (1 + slack)
        count = 0
        for face in range(len(polygons)):
            low, high = 0.0, 1.0 if counts[face] else 0.0
            a, b, c = planes[face]
            low, high = _clip(a * x1 + b * y1 + c - d1, a * x2 + b * y2 + c - d2, low, high)
            if low >= high:
                continue
            area = 0.0
            for corner in range(counts[face]):
                following = (corner + 1) % counts[face]
                area += polygons[face, corner, 0] * polygons[face, following, 1]
                area -= polygons[face, corner, 1] * polygons[face, following, 0]
            sign = 1.0 if area > 0 else -1.0
            for corner in range(counts[face]):
                following = (corner + 1) % counts[face]
                px, py = polygons[face, corner, 0], polygons[face, corner, 1]
                ex = sign * (polygons[face, following, 0] - px)
                ey = sign * (polygons[face, following, 1] - py)
                if ex * ex + ey * ey > 1e-18:  # positive inside
                    start = ex * (y1 - py) - ey * (x1 - px)
                    low, high = _clip(start, ex * (y2 - py) - ey * (x2 - px), low, high)
                if low >= high:
                    break
            if low < high:
                hidden[number, count, 0], hidden[number, count, 1] = low, high
                count += 1
        dx, dy = x2 - x1, y2 - y1
        squared = dx * dx + dy * dy
        for disc in range(len(discs)):
            mx, my = x1 - discs[disc, 0], y1 - discs[disc, 1]
            half = mx * dx + my * dy
            inside = half * half - squared * (mx * mx + my * my - discs[disc, 2] ** 2)
            if inside <= 0 or squared <= 0:
                continue
            root = math.sqrt(inside)
            low, high = max(0.0, (-half - root) / squared), min(1.0, (root - half) / squared)
            low, high = _clip(discs[disc, 3] - d1, discs[disc, 3] - d2, low, high)
            if low < high:
                hidden[number, count, 0], hidden[number, count, 1] = low, high
                count += 1
        used[number] = count


@numba.njit(cache=True)
def fill(polygons, counts, planes, discs, depth, faces):
    """Draw which face is the nearest at each pixel's centre.

    Args:
        polygons, counts, planes: Of `project`.
        discs: float64 (D, 4), x, y, radius, 1 / z; they are numbered behind the faces.
        depth: float32 (H, W), 1 / z of what is there already; changed in place.
        faces: int32 (H, W), changed in place.
    """
    height, width = depth.shape
    for face in range(len(polygons)):
        count = counts[face]
        top, bottom = float(height), 0.0
        for corner in range(count):
            top = min(top, polygons[face, corner, 1])
            bottom = max(bottom, polygons[face, corner, 1])
        a, b, c = planes[face]
        first = math.ceil(max(top, 0.0) - 0.5)
        for row in range(first, math.ceil(min(bottom, float(height)) - 0.5)):
            y = row + 0.5
            left, right = 1e9, -1e9
            for corner in range(count):
                following = (corner + 1) % count
                y1, y2 = polygons[face, corner, 1], polygons[face, following, 1]
                if (y1 <= y) != (y2 <= y):
                    x1, x2 = polygons[face, corner, 0], polygons[face, following, 0]
                    x = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
                    left, right = min(left, x), max(right, x)
            start = math.ceil(max(left, 0.0) - 0.5)
            for column in range(start, math.ceil(min(right, float(width)) - 0.5)):
                near = np.float32(a * (column + 0.5) + b * y + c)
                if near > depth[row, column]:
                    depth[row, column] = near
                    faces[row, column] = face
    for disc in range(len(discs)):
        x, y, radius, near = discs[disc]
        for row in range(max(0, math.floor(y - radius)), min(height, math.ceil(y + radius))):
            inside = radius * radius - (row + 0.5 - y) ** 2
            half = math.sqrt(max(0.0, inside))
            start = max(0, math.ceil(x - half - 0.5))
            for column in range(start, min(width, math.ceil(x + half - 0.5))):
                if np.float32(near) > depth[row, column]:
                    depth[row, column] = np.float32(near)
                    faces[row, column] = len(polygons) + disc


@numba.njit(cache=True)
def _texture(x, y, z, place, scale, focal, contrast, values):
    """Return the factor of a face's texture at a pixel."""
    side = len(values)
    u = (z * (place[0] * x + place[1] * y + place[2]) + place[3]) * scale
    v = (z * (place[4] * x + place[5] * y + place[6]) + place[7]) * scale
    left, top = math.floor(u), math.floor(v)
    fu, fv = np.float32(u - left), np.float32(v - top)
    i, j = top & (side - 1), left & (side - 1)
    k, n = (i + 1) & (side - 1), (j + 1) & (side - 1)
    upper = values[i, j] * (1 - fu) + values[i, n] * fu
    lower = values[k, j] * (1 - fu) + values[k, n] * fu
    texels = 2 * z * scale / focal  # that a final pixel covers; far ones blur
    return 1 + contrast / max(1.0, texels) * (upper * (1 - fv) + lower * fv)


@numba.njit(cache=True)
def shade(
    faces, depth, maps, colours, texture, contrast, grain, atlas, discs, air, sky, focal, out
):
    """Colour each final pixel, four of those drawn, by face, texture and distance.

    Four that show one face are coloured once, at their middle.

    Args:
        faces, depth: Of `fill`, (2 H, 2 W).
        maps: float64 (F, 8), how a pixel gives a place on its face in metres.
        colours: float32 (F + D, 3), light included.
        texture: int64 (F,), position in the atlas.
        contrast: float64 (F,).
        grain: float64 (F,), metres that the texture spans.
        atlas: float32 (T, N, N), textures of mean 0; N is a power of two. The second is clouds.
        discs: float64 (D, 4).
        air: float64 (4,), colour of the haze, and what share of the colour a metre of air takes.
        sky: float32 (2 H, 4), colour by row, and how much of it clouds change.
        focal: In drawn pixels.
        out: float32 (H, W, 3), filled.
    """
    height, width = faces.shape
    side = atlas.shape[1]
    for row in range(height // 2):
        for column in range(width // 2):
            t, s = 2 * row, 2 * column
            face = faces[t, s]
            alike = face == faces[t, s + 1] == faces[t + 1, s] == faces[t + 1, s + 1]
            for channel in range(3):
                out[row, column, channel] = 0
            for part in range(1 if alike else 4):
                i, j = t + part // 2, s + part % 2
                face = faces[i, j]
                weight, x, y = np.float32(0.25), j + 0.5, i + 0.5
                near = float(depth[i, j])
                if alike:
                    weight, x, y = np.float32(1), s + 1.0, t + 1.0
                    near = 0.25 * (near + depth[t, s + 1] + depth[t + 1, s] + depth[t + 1, s + 1])
                if face < 0:
                    m, n = (i * side // height) & (side - 1), (j * side // width) & (side - 1)
                    paler = max(np.float32(0), sky[i, 3] * atlas[1, m, n])
                    for channel in range(3):
                        value = sky[i, channel] * (1 - paler) + paler
                        out[row, column, channel] += weight * value
                    continue
                z = 1 / near
                if face < len(maps):
                    scale = side / grain[face]
                    values = atlas[texture[face]]
                    factor = _texture(x, y, z, maps[face], scale, focal, contrast[face], values)
                else:
                    disc = face - len(maps)
                    aside = (x - discs[disc, 0]) / discs[disc, 2]
                    above = (y - discs[disc, 1]) / discs[disc, 2]
                    factor = 0.85 - 0.3 * above - 0.25 * (aside * aside + above * above)
                clear = math.exp(-air[3] * z) if air[3] > 0 else 1.0
                for channel in range(3):
                    value = colours[face, channel] * factor * clear + air[channel] * (1 - clear)
                    out[row, column, channel] += weight * np.float32(value)
