"""A pose in space from a pose in the plane: the scan laid on the place's own points.

Generalised ICP (A. Segal, D. Haehnel, S. Thrun, RSS 2009) of small_gicp (K. Koide, JOSS 2024, MIT).
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError

VOXEL = 0.25  # metres: of the points of a voxel the mean is taken
REACH = 1.0  # metres: points farther apart are not of the same surface
FARTHEST, MOST_TURNED = 2.0, 5.0  # metres, degrees: a pose that moves by more is another one
LEAST_SHARE = 0.3  # of the points that must lie on the place's

MISSING = (
    "Refining poses needs small-gicp, which is not installed: pip install 'gossamer-keras[lidar]', "
    "or leave --map-scans out."
)


def check_installed() -> None:
    """Raise where small-gicp cannot be imported.

    Raises:
        UserError: With what to install.
    """
    _library()


def refined(place: np.ndarray, query: np.ndarray, guess: np.ndarray) -> np.ndarray | None:
    """Return the pose of a scan in the frame of another; None where they do not lie on each other.

    Args:
        place: float32 (N, 3), points of the other scan, metres.
        query: float32 (M, 3), those of the scan.
        guess: float64 (4, 4), which brings the scan's points into the frame of the other, within a
            metre or so.

    Returns:
        float64 (4, 4), all six degrees of freedom. None when the search does not converge, ends
        beyond `FARTHEST` or `MOST_TURNED` of the guess, or leaves most points without a partner.

    Raises:
        UserError: When small-gicp is not installed.
    """
    library = _library()
    prepared = [
        library.preprocess_points(points.astype(np.float64), downsampling_resolution=VOXEL)
        for points in (place, query)
    ]
    (target, tree), (source, _) = prepared
    if not (target.size() and source.size()):
        return None
    found = library.align(
        target, source, tree, init_T_target_source=guess, max_correspondence_distance=REACH
    )
    pose = np.array(found.T_target_source, np.float64)
    if not (found.converged and np.isfinite(pose).all()):
        return None
    moved = np.linalg.inv(guess) @ pose
    turned = np.degrees(np.arccos(np.clip((np.trace(moved[:3, :3]) - 1) / 2, -1, 1)))
    if np.linalg.norm(moved[:3, 3]) > FARTHEST or turned > MOST_TURNED:
        return None
    return pose if found.num_inliers >= LEAST_SHARE * source.size() else None


def _library():
    try:
        import small_gicp
    except ImportError as error:
        raise UserError(MISSING) from error
    return small_gicp
