"""The scans a map was made of: a scan that was found is laid on those of its place.

A map keeps images, not points, so that it is small; who still has the scans gets all six degrees of
freedom.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from apps.bev_localization.data.samples import scan_of
from apps.bev_localization.maps.localizing import Fix, as_pose
from apps.bev_localization.maps.map_file import PlaceMap
from apps.bev_localization.pose.refining import check_installed, refined
from core.data.index import Sample
from core.errors import UserError

_KEPT = 32  # scans of places, which queries come back to


class MapScans:
    """Points of the places of a map.

    Args:
        found: The map.
        samples: Of the data set it was made of, or of a larger one.
        root: Where that is, for the sentence when something is missing.

    Raises:
        UserError: When a place has no scan there, or small-gicp is not installed.
    """

    def __init__(self, found: PlaceMap, samples: Iterable[Sample], root: Path):
        check_installed()
        self.map = found
        own = {sample.id: sample for sample in samples}
        missing = [name for name in found.ids if name not in own]
        if missing:
            raise UserError(
                f"{root}: has no scan '{missing[0]}' ({len(missing)} of {len(found)} places are "
                f"missing); pass the scans that {found.path} was built from."
            )
        self._points = lru_cache(_KEPT)(lambda place: scan_of(own[found.ids[place]]).points)

    def refined(self, fix: Fix, sample: Sample) -> Fix:
        """Return where a scan was taken in space; as it was where it is not on the map.

        Args:
            fix: Of the scan; its pose is in the plane of the place.
            sample: The scan.

        Raises:
            UserError: When the points of the scan or of its place cannot be read.
        """
        if not fix.on_map or fix.estimate is None:
            return fix
        guess = as_pose(fix.estimate.transform)
        pose = refined(self._points(fix.place), np.asarray(scan_of(sample).points), guess)
        if pose is None:
            return fix
        return replace(fix, pose=self.map.poses[fix.place] @ pose, refined=True)
