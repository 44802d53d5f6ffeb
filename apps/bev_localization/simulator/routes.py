"""Where the simulated LiDAR drives: a tour along the roads, and ways of coming back to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.bev_localization.data.scans import Trajectory
from apps.bev_localization.simulator.town import PITCH, ground_height

HEIGHT = 1.73  # metres of the sensor above the ground
SPEED = 8.0  # metres a second
_SMOOTHED = 13  # metres over which a corner is rounded, twice
_ROUNDING = 1.3  # roads this much longer than the tour, as rounded corners are shorter
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class Scenario:
    """How places are seen again.

    Attributes:
        summary: In words.
        turn: Degrees by which the heading differs; None draws it at random.
        lateral: Metres to the side at most, to both.
        sensor: Another LiDAR; "" keeps the map's.
        next_day: Whether other cars are parked.
    """

    summary: str
    turn: float | None = 0.0
    lateral: float = 0.5
    sensor: str = ""
    next_day: bool = False


SCENARIOS = {
    "same": Scenario("the same direction"),
    "opposite": Scenario("the opposite direction, up to 2 m to the side", 180.0, 2.0),
    "lateral": Scenario("the same direction, up to 4 m to the side", lateral=4.0),
    "yaw": Scenario("any heading, up to 2 m to the side", None, 2.0),
    "beams16": Scenario("the opposite direction with 16 beams", 180.0, 2.0, "vlp16"),
    "next-day": Scenario("the opposite direction, other cars", 180.0, 2.0, next_day=True),
    "hard": Scenario("any heading, 16 beams, other cars, up to 4 m to the side", None, 4.0,
                     "vlp16", True),
}  # fmt: skip


def tour(blocks: int, length: float, *, seed: int = 0) -> Trajectory:
    """Return a tour along the roads of a town at constant speed, a pose a metre.

    It turns at random, never back at once, and prefers roads it has driven least.

    Args:
        blocks: Of the town, to a side.
        length: Metres.
        seed: Of the turns.
    """
    rng = np.random.default_rng(seed)
    here, came = (int(rng.integers(blocks + 1)), int(rng.integers(blocks + 1))), (0, 0)
    corners, driven = [here], dict[frozenset, int]()
    while (len(corners) - 1) * PITCH < _ROUNDING * length + 2 * PITCH:
        ways = [
            (dx, dy) for dx, dy in _STEPS
            if (dx, dy) != (-came[0], -came[1])
            and 0 <= here[0] + dx <= blocks and 0 <= here[1] + dy <= blocks
        ]  # fmt: skip
        roads = [frozenset({here, (here[0] + dx, here[1] + dy)}) for dx, dy in ways]
        least = min(driven.get(road, 0) for road in roads)
        fresh = [i for i, road in enumerate(roads) if driven.get(road, 0) == least]
        chosen = fresh[int(rng.integers(len(fresh)))]
        driven[roads[chosen]] = least + 1
        came = ways[chosen]
        here = (here[0] + came[0], here[1] + came[1])
        corners.append(here)
    return driven_along(np.array(corners) * PITCH, length)


def driven_along(corners: np.ndarray, length: float) -> Trajectory:
    """Return poses a metre apart along lines between corners (N, 2), which are rounded."""
    ends = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    along = np.arange(0.0, ends[-1], 1.0)
    line = np.stack([np.interp(along, ends, corners[:, axis]) for axis in range(2)], axis=1)
    kernel = np.ones(_SMOOTHED) / _SMOOTHED
    for _ in range(2):
        line = np.stack([np.convolve(line[:, axis], kernel, "valid") for axis in range(2)], axis=1)
    ends = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    metres = np.arange(0.0, min(length, ends[-1]) + 0.5)
    line = np.stack([np.interp(metres, ends, line[:, axis]) for axis in range(2)], axis=1)
    direction = np.gradient(line, axis=0)
    yaw = np.arctan2(direction[:, 1], direction[:, 0])
    return Trajectory(metres / SPEED, _poses(line, yaw))


def sampled(route: Trajectory, count: int, spacing: float) -> Trajectory:
    """Return poses every `spacing` metres of a route, `count` at most."""
    metres = np.arange(count) * spacing
    return route.at(metres[metres <= route.stamps[-1] * SPEED] / SPEED)


def seen_again(
    route: Trajectory, count: int, scenario: Scenario, rng: np.random.Generator, *, end: float
) -> Trajectory:
    """Return poses at which places of a route are seen again, in the order of the route.

    Args:
        route: Of the map.
        count: How many.
        scenario: How they differ.
        rng: Of places, headings and sides.
        end: Metres of the route that are mapped.
    """
    metres = np.linspace(0, end, count, endpoint=False) + rng.uniform(0, end / count, count)
    there = route.at(np.minimum(metres, end) / SPEED)
    turn = rng.uniform(-180, 180, count) if scenario.turn is None else np.full(count, scenario.turn)
    side = rng.uniform(-scenario.lateral, scenario.lateral, count)
    yaw = np.arctan2(there.poses[:, 1, 0], there.poses[:, 0, 0])
    places = there.positions[:, :2] + side[:, None] * np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
    return Trajectory(there.stamps, _poses(places, yaw + np.radians(turn)))


def _poses(places: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Return level poses above the ground, float64 (N, 4, 4)."""
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(yaw)
    poses[:, 1, 0] = np.sin(yaw)
    poses[:, 0, 1] = -poses[:, 1, 0]
    poses[:, :2, 3] = places
    poses[:, 2, 3] = ground_height(*places.T) + HEIGHT
    return poses
