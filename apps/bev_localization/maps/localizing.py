"""Where on a map a scan was taken: the nearest place, and the pose that the keypoints agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps import CANDIDATES, LEAST_INLIERS
from apps.bev_localization.maps.map_file import PlaceMap
from apps.bev_localization.maps.views import View
from apps.bev_localization.pose.estimation import (
    PoseEstimate,
    estimate_pose,
    inlier_distance,
)
from apps.bev_localization.pose.rigid import ITERATIONS, heading

_FINE = 0.4  # metres: the pixels that LEAST_INLIERS is for


def least_inliers(recipe: BevRecipe) -> int:
    """Return how many matches must agree with a pose, so that few do so by chance.

    Coarser pixels have fewer keypoints, but more of them agree by chance, as each may miss by more.
    Measured with random weights, three places tried: at 0.4 m, 12 is reached by 2.5 % of scans of
    another town, at 0.8 m, 16 by 1 to 3 %. Between and beyond goes the root of the pixels' sides.
    """
    return round(LEAST_INLIERS * math.sqrt(recipe.resolution / _FINE))


@dataclass(frozen=True)
class Rules:
    """When a scan counts as found, and how its pose is estimated.

    Attributes:
        least_inliers: Matches that must agree with the pose; None takes what goes with the map's
            recipe (`least_inliers`).
        farthest: Largest distance to the place's descriptor; infinite asks for none.
        tried_places: Nearest places whose pose is tried; the one with most inliers is taken.
        center_cells: Whether keypoints are the middles of pixels. Published numbers take their
            corners, which tells a place up to 0.57 m off where headings are opposite.
        iterations, inlier_metres, seed: Of RANSAC; None of metres takes what goes with the recipe
            (`apps.bev_localization.pose.estimation.inlier_distance`).
    """

    least_inliers: int | None = None
    farthest: float = math.inf
    tried_places: int = CANDIDATES
    center_cells: bool = True
    iterations: int = ITERATIONS
    inlier_metres: float | None = None
    seed: int = 0

    def settled(self, recipe: BevRecipe) -> Rules:
        """Return the rules with numbers for what was left to the recipe."""
        least, metres = self.least_inliers, self.inlier_metres
        return replace(
            self,
            least_inliers=least_inliers(recipe) if least is None else least,
            inlier_metres=inlier_distance(recipe) if metres is None else metres,
        )


@dataclass(frozen=True)
class Fix:
    """Where a scan was found.

    Attributes:
        place: Position of the place on the map: the nearest by descriptor, or of several
            candidates the one with most inliers.
        distance: Between the descriptors; of unit vectors 0 to 2.
        estimate: The scan's pose seen from the place; None where an image has no keypoints.
        pose: float64 (4, 4), from the sensor to the map: height, roll and pitch are the place's,
            as a scan's image does not tell them. None likewise.
        on_map: Whether inliers and distance are within the rules.
        refined: Whether the pose was found by laying the scan's points on the place's
            (`apps.bev_localization.maps.map_scans`): height, roll and pitch are then the scan's.
    """

    place: int
    distance: float
    estimate: PoseEstimate | None
    pose: np.ndarray | None
    on_map: bool
    refined: bool = False

    @property
    def inliers(self) -> int:
        """Matches that agree with the pose."""
        return 0 if self.estimate is None else self.estimate.inlier_count

    @property
    def matches(self) -> int:
        """Keypoints of the scan, each of which has one match."""
        return 0 if self.estimate is None else len(self.estimate.matches)

    @property
    def confidence(self) -> float:
        """Share of the scan's keypoints whose match agrees with the pose, 0 to 1."""
        return self.inliers / self.matches if self.matches else 0.0

    @property
    def yaw(self) -> float | None:
        """Heading in the map in degrees, above -180 up to 180, counter-clockwise; None likewise."""
        return None if self.pose is None else heading(self.pose[:2, [0, 1, 3]])


def localize(found: PlaceMap, view: View, rules: Rules | None = None) -> Fix:
    """Return where on a map a scan was taken; always the best guess, which may be off the map.

    Args:
        found: The map.
        view: Of the scan, by the map's network and recipe.
        rules: None takes the defaults.

    Raises:
        UserError: When the descriptor does not fit the map's, or the map is damaged.
    """
    rules = (rules or Rules()).settled(found.about.recipe)
    places, distances = found.index.search(view.descriptor, rules.tried_places)
    fixes = [
        _at(found, view, int(place), float(distance), rules)
        for place, distance in zip(places[0], distances[0], strict=True)
    ]
    return max(fixes, key=lambda one: one.inliers)  # of equals the nearest


def _at(found: PlaceMap, view: View, place: int, distance: float, rules: Rules) -> Fix:
    estimate = estimate_pose(
        view.local,
        found.local_view(place),
        found.about.recipe,
        center_cells=rules.center_cells,
        iterations=rules.iterations,
        threshold=rules.inlier_metres,
        seed=rules.seed,
    )
    if estimate is None:
        return Fix(place, distance, None, None, False)
    pose = found.poses[place] @ as_pose(estimate.transform)
    assert rules.least_inliers is not None
    sure = estimate.inlier_count >= rules.least_inliers and distance <= rules.farthest
    return Fix(place, distance, estimate, pose, sure)


def as_pose(transform: np.ndarray) -> np.ndarray:
    """Return a transform of the plane (2, 3) as one of space that leaves the height, (4, 4)."""
    pose = np.eye(4)
    pose[:2, :2], pose[:2, 3] = transform[:, :2], transform[:, 2]
    return pose
