"""Drawing a whole person: a posed skeleton, clothed from far to near."""

from __future__ import annotations

import numpy as np

from apps.person_reid.pedestrians import cloth
from apps.person_reid.pedestrians.brushes import Canvas
from apps.person_reid.pedestrians.heads import draw_hanging_hair, draw_head, hair_hides_trunk
from apps.person_reid.pedestrians.people import Person
from apps.person_reid.pedestrians.skeleton import ANKLE, HIP, SIDES, Pose, Skeleton

# The trunk's profile: y, half width seen from the front, half depth seen from the side.
_TRUNK = np.array(
    [
        (0.145, 0.034, 0.036),
        (0.160, 0.044, 0.044),
        (0.172, 0.080, 0.052),
        (0.185, 0.108, 0.060),
        (0.205, 0.120, 0.064),
        (0.240, 0.120, 0.070),
        (0.290, 0.110, 0.072),
        (0.370, 0.094, 0.064),
        (0.420, 0.098, 0.067),
        (0.460, 0.106, 0.074),
        (0.500, 0.106, 0.074),
        (0.530, 0.098, 0.068),
    ]
)
_PELVIS = np.array(
    [
        (0.40, 0.094, 0.070),
        (0.44, 0.101, 0.078),
        (0.47, 0.107, 0.084),
        (0.50, 0.108, 0.085),
        (0.53, 0.100, 0.074),
    ]
)
_LEG = np.array((0.056, 0.037, 0.024))  # radii at hip, knee and ankle
_ARM = np.array((0.032, 0.026, 0.020))
_SOLE = (0.9, 0.9, 0.88)
_NARROWEST = {"trousers": 0.026, "leggings": 0.012, "shorts": 0.012}  # radius of a trouser leg


def draw(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Paint a person on a canvas of which a body height is the scale."""
    body = Skeleton(person, pose)
    canvas.sink(body.sink)  # the lower foot stands on the ground
    for side in sorted(SIDES, key=lambda side: body.depth((side, 0, 0))):
        if _is_hidden(body, side):
            _draw_arm(canvas, person, body, side)
    at_side = person.bag in ("shoulder", "hand")
    near = body.depth((0.13 * person.bag_side, 0, 0)) > -0.05
    if at_side and not near:
        _draw_bag(canvas, person, body)
    for side in sorted(SIDES, key=lambda side: body.depth(body.legs[side][2])):
        _draw_leg(canvas, person, body, side)
    _draw_pelvis(canvas, person, body)
    if not hair_hides_trunk(body):
        draw_hanging_hair(canvas, person, body)
    if person.bag == "backpack" and body.facing > -0.15:
        _draw_bag(canvas, person, body)
    _draw_trunk(canvas, person, body)
    draw_head(canvas, person, body)
    if person.bag == "backpack" and body.facing <= -0.15:
        _draw_bag(canvas, person, body)
    if hair_hides_trunk(body):
        draw_hanging_hair(canvas, person, body)
    for side in SIDES:
        if not _is_hidden(body, side):
            _draw_arm(canvas, person, body, side)
    if at_side and near:
        _draw_bag(canvas, person, body)


def _is_hidden(body: Skeleton, side: int) -> bool:
    """Return whether an arm is on the far side of the trunk, or before a chest seen from behind."""
    shoulder, _, wrist = (body.depth(joint) for joint in body.arms[side])
    return shoulder < -0.045 or wrist < -0.1


# --- legs -------------------------------------------------------------------------------------


def _draw_leg(canvas: Canvas, person: Person, body: Skeleton, side: int) -> None:
    garment = person.lower
    hip, knee, ankle = (np.array(body.seen(joint)) for joint in body.legs[side][:3])
    bare = _LEG * person.bulk
    if garment.kind != "trousers":
        canvas.limb([hip, knee, ankle], bare, person.skin, cloth=False)
    _draw_foot(canvas, person, body, side)
    if garment.kind in _NARROWEST:
        cuff = ankle + 0.07 * (ankle - knee)
        reach = (garment.hem - HIP) / (ANKLE + 0.015 - HIP)
        points, radii = _cut(np.array([hip, knee, cuff]), bare, reach)
        radii = radii + garment.loose * np.array([0.6, 1, 1.3])[: len(radii)]
        radii = np.maximum(radii, _NARROWEST[garment.kind])
        canvas.limb(points, radii, cloth.trouser_leg(garment, body, side))
    if person.shoes == "boots" and garment.kind != "trousers":
        shaft = knee + 0.3 * (ankle - knee)
        canvas.limb([shaft, ankle], 0.95 * bare[1:] + 0.006, person.shoe_colour)


def _draw_foot(canvas: Canvas, person: Person, body: Skeleton, side: int) -> None:
    *_, (x, y, z), tip = body.legs[side]
    ends = [body.seen((x, y + 0.022, z - 0.012)), body.seen(tip)]
    if person.shoes == "trainers":
        canvas.limb([(a, b + 0.006) for a, b in ends], (0.024, 0.021), _SOLE, cloth=False)
    canvas.limb(ends, (0.024, 0.019), person.shoe_colour, cloth=False)


def _draw_pelvis(canvas: Canvas, person: Person, body: Skeleton) -> None:
    """Paint what joins the trouser legs, or the skirt."""
    garment = person.lower
    heights, front, depth = _PELVIS.T
    front, depth = front * person.hips * _half(person.bulk), depth * person.bulk
    paint = cloth.pattern(garment, body)
    if garment.kind != "skirt":
        canvas.column(heights, body.width(front, depth) + 0.6 * max(0, garment.loose), paint)
        return
    flare = 0.115 + 0.11 * (garment.hem - 0.6)
    heights = np.append(heights[:-1], (0.60, garment.hem))
    front = np.append(front[:-1], (0.116 * person.hips, flare))
    depth = np.append(depth[:-1], (0.095, 0.85 * flare))
    knees = [body.seen(leg[1])[0] for leg in body.legs.values()]
    free = np.clip(4 * (heights - 0.5), 0, 0.8)  # the knees push the cloth out
    halves = body.width(front, depth) + 0.5 * garment.loose
    halves = halves + 0.25 * (max(knees) - min(knees)) * free
    canvas.column(heights, halves, paint, centres=0.4 * sum(knees) * free)


# --- trunk and arms ---------------------------------------------------------------------------


def _draw_trunk(canvas: Canvas, person: Person, body: Skeleton) -> None:
    garment = person.upper
    heights, front, depth = _TRUNK.T
    waist = np.clip((heights - 0.2) / 0.25, 0, 1)
    front = front * (person.shoulders * (1 - waist) + person.hips * waist * _half(person.bulk))
    depth = depth * person.bulk
    neck = 0.004 * body.rightwards
    canvas.column((0.11, 0.15, 0.17), (0.033, 0.034, 0.05), person.skin, centres=neck)
    if garment.kind == "coat":
        heights = np.append(heights[:-1], (0.58, garment.hem))
        front = np.append(front[:-1], (0.113 * person.hips, 0.126 * person.hips))
        depth = np.append(depth[:-1], (0.092, 0.104))
    else:
        kept = heights < garment.hem
        front, depth = (
            np.append(values[kept], np.interp(garment.hem, heights, values))
            for values in (front, depth)
        )
        heights = np.append(heights[kept], garment.hem)
    loose = garment.loose * np.clip((heights - 0.15) / 0.06, 0.2, 1)
    canvas.column(heights, body.width(front, depth) + loose, cloth.top(person, body))
    if garment.kind == "hoodie" and body.facing < 0.35:
        x, y = body.seen((0, 0.158, -0.045))
        half = float(body.width(0.062, 0.034))
        canvas.column(
            y + np.array((-0.012, 0.012, 0.045, 0.06)),
            half * np.array((0.8, 1, 0.75, 0.3)),
            cloth.darker(garment.colour, 0.88),
            centres=x,
        )
    if person.scarf is not None:
        canvas.column((0.133, 0.15, 0.172), (0.042, 0.05, 0.046), person.scarf, centres=neck)
        if body.facing > 0.2:
            ends = [(neck - 0.02, 0.16), (neck - 0.025 * body.facing, 0.28)]
            canvas.limb(ends, (0.017, 0.02), person.scarf)


def _draw_arm(canvas: Canvas, person: Person, body: Skeleton, side: int) -> None:
    garment = person.upper
    arm = np.array([body.seen(joint) for joint in body.arms[side]])
    bare = _ARM * _half(person.bulk)
    along = arm[2] - arm[1]
    hand = arm[2] + 0.022 * along / max(float(np.hypot(*along)), 0.03)
    canvas.limb([arm[2], hand], (0.019, 0.016), person.skin, cloth=False)
    reach = 1.0
    if garment.kind == "t-shirt":
        canvas.limb(arm, bare, person.skin, cloth=False)
        reach = 0.36
    points, radii = _cut(arm, bare, reach)
    canvas.limb(points, radii + 0.004 + 0.6 * garment.loose, cloth.sleeve(garment, body))


def _draw_bag(canvas: Canvas, person: Person, body: Skeleton) -> None:
    colour = person.bag_colour
    if person.bag == "backpack":
        canvas.column(
            (0.18, 0.195, 0.23, 0.34, 0.395, 0.41),
            float(body.width(0.088, 0.052)) * np.array((0.55, 0.8, 0.96, 1.04, 1.0, 0.8)),
            cloth.bag(colour, 0.5),
            centres=body.seen((0, 0, -0.105))[0],
        )
    elif person.bag == "shoulder":
        x, y = body.seen((0.128 * person.bag_side, 0.5, 0))
        canvas.column(
            y + np.array((-0.05, -0.04, 0.04, 0.05)),
            float(body.width(0.028, 0.07)) * np.array((0.9, 1, 1, 0.85)),
            cloth.bag(colour, 0.2),
            centres=x,
        )
    else:
        x, y = body.seen(body.arms[person.bag_side][2])
        canvas.limb([(x, y + 0.02), (x, y + 0.07)], (0.006, 0.006), colour)
        canvas.column(
            y + np.array((0.065, 0.08, 0.165, 0.175)),
            float(body.width(0.03, 0.075)) * np.array((0.8, 0.95, 1, 0.9)),
            colour,
            centres=x,
        )


def _half(factor: float) -> float:
    """Return a factor that acts half as strongly."""
    return 0.5 + 0.5 * factor


def _cut(points: np.ndarray, radii: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a chain of two bones, and its radii, up to `reach` (0..1) of its length."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    marks = np.concatenate([[0], np.cumsum(lengths)])
    left = min(1.0, reach) * marks[-1]
    last = [np.interp(left, marks, values) for values in (*points.T, radii)]
    kept = 1 if left <= marks[1] else 2
    return np.vstack([points[:kept], last[:2]]), np.append(radii[:kept], last[2])
