"""A skeleton in a phase of a step, seen from any side.

In space x points to the person's left, y down from the crown and z forwards, in body heights. The
picture is a parallel projection; what is nearer to a camera that looks down appears lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.person_reid.pedestrians.people import Person

HIP, KNEE, ANKLE = 0.49, 0.735, 0.95  # y of the joints of a standing person
SHOULDER, UPPER_ARM, FOREARM = 0.22, 0.157, 0.145
SIDES = (-1, 1)  # right and left
_THIGH, _SHIN, _FOOT = KNEE - HIP, ANKLE - KNEE, 0.085

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """How a person is met.

    Attributes:
        turn: Direction they walk in, radians: 0 towards the camera, pi/2 to the picture's right.
        phase: Phase of the step, radians.
        stride: Swing of the legs, radians; 0.1 stands, 0.45 hurries.
        arms: "swing", "phone" (the right hand before the chest) or "pockets".
        pitch: Angle by which the camera looks down, radians.
    """

    turn: float
    phase: float
    stride: float
    arms: str = "swing"
    pitch: float = 0.15


class Skeleton:
    """The joints of a person in a pose, and how they are seen.

    Attributes:
        legs: By side: hip, knee, ankle and tip of the foot, in space.
        arms: By side: shoulder, elbow and wrist.
        sink: By how much the step lowers the body.
        facing: Cosine of the turn: 1 faces the camera, -1 shows the back.
        rightwards: Sine of the turn.
    """

    def __init__(self, person: Person, pose: Pose):
        self._turn, self._tilt = pose.turn, float(np.sin(pose.pitch))
        self.facing, self.rightwards = float(np.cos(pose.turn)), float(np.sin(pose.turn))
        self.legs = {side: _leg(person, pose, side) for side in SIDES}
        self.arms = {side: _arm(person, pose, side) for side in SIDES}
        self.sink = ANKLE - max(leg[2][1] for leg in self.legs.values())

    def seen(self, point: Point) -> tuple[float, float]:
        """Return x and y at which a point in space appears."""
        x, y, z = point
        return x * self.facing + z * self.rightwards, y + self._tilt * self.depth(point)

    def depth(self, point: Point) -> float:
        """Return how much nearer to the camera than the body's axis a point is."""
        return point[2] * self.facing - point[0] * self.rightwards

    def width(self, front, side):
        """Return the half width that ellipses show from this direction.

        Args:
            front, side: Their half widths seen from the front and from the side.
        """
        return np.hypot(np.multiply(front, self.facing), np.multiply(side, self.rightwards))

    def azimuth(self, across: np.ndarray) -> np.ndarray:
        """Return the angle from the front of a round solid to what is seen of it, -pi..pi.

        Args:
            across: -1 at the solid's left edge in the picture to 1 at its right edge.
        """
        return (np.arcsin(across) - self._turn + np.pi) % (2 * np.pi) - np.pi


def _leg(person: Person, pose: Pose, side: int) -> list[Point]:
    phase = pose.phase if side > 0 else pose.phase + np.pi
    swing = pose.stride * np.sin(phase)
    bend = 0.06 + 1.5 * pose.stride * max(0.0, np.cos(phase))  # the leg that comes forwards
    x = side * 0.052 * person.hips
    knee_y, knee_z = HIP + _THIGH * np.cos(swing), _THIGH * np.sin(swing)
    low = swing - bend
    ankle_y, ankle_z = knee_y + _SHIN * np.cos(low), knee_z + _SHIN * np.sin(low)
    toe = np.pi / 2 + 0.7 * low  # the heel of the leg behind lifts
    tip = (1.1 * x, ankle_y + 0.03 + _FOOT * np.cos(toe), ankle_z + _FOOT * np.sin(toe))
    return [(x, HIP, 0.0), (0.95 * x, knee_y, knee_z), (0.85 * x, ankle_y, ankle_z), tip]


def _arm(person: Person, pose: Pose, side: int) -> list[Point]:
    phase = pose.phase + np.pi if side > 0 else pose.phase
    swing = 0.9 * pose.stride * np.sin(phase)
    spread, bend, inwards = 0.1 + 0.06 * person.bulk, 0.15 + 0.5 * max(0.0, swing), 0.25
    if pose.arms == "phone" and side < 0:
        swing, bend, spread, inwards = 0.25, 1.9, 0.05, -0.6
    elif pose.arms == "pockets":
        swing, bend, spread, inwards = -0.25, 0.75, 0.28, -0.3
    elif person.bag == "hand" and side == person.bag_side:
        swing, bend = 0.3 * swing, 0.05
    x, y, z = side * 0.098 * person.shoulders, SHOULDER, -0.005
    out = side * np.sin(spread)
    elbow = (x + out * UPPER_ARM, y + UPPER_ARM * np.cos(swing), z + UPPER_ARM * np.sin(swing))
    low = swing + bend
    wrist_x = elbow[0] + inwards * out * FOREARM
    if bend > 1:  # the hand comes to the middle of the chest
        wrist_x *= 0.45
    wrist = (wrist_x, elbow[1] + FOREARM * np.cos(low), elbow[2] + FOREARM * np.sin(low))
    return [(x, y, z), elbow, wrist]
