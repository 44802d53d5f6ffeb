"""From descriptors and local features to the scores of place recognition, loops and poses.

BEVPlace++ (L. Luo et al., IEEE T-RO 41, 2025), section V, and the published code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apps.bev_localization.data.convention import problems_of_poses
from apps.bev_localization.data.samples import pose_of
from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.maps.keypoint_features import packed, unpacked
from apps.bev_localization.maps.views import View, recipe_of
from apps.bev_localization.places import FORMAT, WITHOUT_HEADINGS, Search, searches, where
from apps.bev_localization.pose.errors import pose_error, pose_scores, relative_truth
from apps.bev_localization.pose.estimation import LocalView, PoseEstimate, estimate_pose
from apps.bev_localization.retrieval.index import build_index
from apps.bev_localization.retrieval.loop_closure import (
    GAP_FRAMES,
    Loops,
    find_loops,
    loop_scores,
    oldest_allowed,
)
from apps.bev_localization.retrieval.recall import KS, PLANE, RADIUS, SPACE, recall_at
from core.data.index import Sample
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Scores

_FAR = 1e7  # metres
Ranking = tuple[np.ndarray, np.ndarray]  # places of each query, nearest first; their distances
_LOCAL = "float16"  # how local features wait until all descriptors are there


@dataclass(frozen=True)
class _Seen:
    """What is kept of a scan until all are there.

    Attributes:
        descriptor: float32 (D,).
        local: Keypoints, features packed; None where no pose is asked for.
    """

    descriptor: np.ndarray
    local: LocalView | None


@dataclass(frozen=True)
class Asked:
    """What was looked up in what.

    Attributes:
        searches: Queries and databases.
        across: Whether one sequence is looked up in another, or in itself.
        in_space: float64 (N, 3), metres of all samples.
    """

    searches: Sequence[Search]
    across: bool
    in_space: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """Return the positions that distances are taken of: x and y of another sequence's."""
        return self.in_space[:, PLANE if self.across else SPACE]


def score(
    results: Iterable[tuple[Sample, View]], card: ModelCard, *, quick: bool = False
) -> Scores:
    """Return recall at 1, 5, 10 and 20, loop closure, and poses against the first place found.

    Args:
        results: (sample, view).
        card: Its `decode` names recipe, protocol, database, `candidates` and `center_cells`.
        quick: Leaves out loops and poses.

    Raises:
        UserError: When there is no sample or no pose, or they are all of one place to be found.
    """
    samples, seen = [], []
    for sample, view in results:
        samples.append(sample)
        local = None if quick else _kept(view.local)
        seen.append(_Seen(np.asarray(view.descriptor, np.float32), local))

    def by_descriptor(search: Search) -> Ranking:
        index = build_index(np.stack([seen[i].descriptor for i in search.database]))
        return index.search(np.stack([seen[i].descriptor for i in search.queries]), max(KS))

    summary, rows, described, asked = place_scores(samples, card.decode, by_descriptor)
    if not quick:
        summary |= _loops(asked, seen)
        summary |= _poses(rows, samples, seen, asked.places, card)
        cells = "middles" if card.decode.get("center_cells", False) else "corners"
        tried = candidates_of(card.decode)
        against = "the first place" if tried == 1 else f"that of {tried} places with most inliers"
        described += (
            f"; loops: a radius of {RADIUS:g} m, frames {GAP_FRAMES} older"
            f"{' and the whole map' if asked.across else ''}; poses against {against}, "
            f"right or wrong, within 2 m and 5 degrees, keypoints at {cells} of pixels, "
            "errors of the successes"
        )
        described = ". ".join([described, *problems_of_poses(samples)])
    for row in rows:
        del row["_query"], row["_places"], row["_distances"]
    return Scores(summary, rows, described)


def place_scores(
    samples: Sequence[Sample], decode: Mapping, ranked: Callable[[Search], Ranking]
) -> tuple[dict[str, float], list[dict], str, Asked]:
    """Return recall of whatever ranks places.

    Args:
        samples: All that are scored.
        decode: A card's, with "protocol" and "database".
        ranked: Returns for the queries of a search the nearest of its database, int (Q, k), and
            how far they are, (Q, k).

    Returns:
        Recall at 1, 5, 10 and 20 and the counts; a row for each query with a place to be found;
        the protocol in words; what was asked.

    Raises:
        UserError: When there is no sample or no pose, or nothing to look up.
    """
    if not samples:
        raise UserError("There are no samples to evaluate; choose another --split.")
    places = where(samples)
    found, protocol, words = searches(samples, decode)
    if not found:
        raise UserError("There is nothing to look up: a sequence needs two scans or more.")
    asked = Asked(found, protocol == "across", places)
    rows, hits = [], []
    for search in found:
        some, first = _looked_up(search, samples, ranked(search), asked.places)
        rows += some
        hits.append(first)
    ranks = np.concatenate(hits)  # of queries with a place to be found; 0: not among the first
    summary: dict[str, float] = {
        f"recall_{k}": float(np.mean((ranks > 0) & (ranks <= k))) if len(ranks) else math.nan
        for k in KS
    }
    summary |= {"samples": len(samples), "samples_queries": len(ranks)}
    flat = "x and y" if asked.across else "x, y and z"
    described = (
        f"Protocol '{protocol}': {words}; a place is found within {RADIUS:g} m in {flat}; "
        f"{len(ranks)} of {sum(len(one.queries) for one in found)} queries have one"
    )
    return summary, rows, described, asked


def _looked_up(
    search: Search, samples: Sequence[Sample], ranking: Ranking, places: np.ndarray
) -> tuple[list[dict], np.ndarray]:
    """Return a row for each query with a place to be found, and the ranks of the first hits."""
    ranked, distances = ranking
    queries, database = places[search.queries], places[search.database]
    recall = recall_at(ranked, queries, database)
    rows = []
    for number in np.flatnonzero(recall.has_positive):
        query, found = search.queries[number], search.database[ranked[number]]
        apart = float(np.linalg.norm(places[query] - places[found[0]]))
        rows.append({
            "id": samples[query].id, "place": samples[found[0]].id,
            "distance": float(distances[number, 0]), "apart": apart,
            "first_hit": int(recall.first_hit[number]),
            "_query": query, "_places": found, "_distances": distances[number],
        })  # fmt: skip
    return rows, recall.first_hit[recall.has_positive]


def _loops(asked: Asked, seen: Sequence[_Seen]) -> dict[str, float]:
    """Return average precision, largest F1 and recall at full precision of loop closure.

    Within a sequence all its frames are asked in turn; across, the queries of every sequence are
    asked among all of the map, as a second drive would.
    """
    kept: list[Loops] = []
    located: list[np.ndarray] = []
    allowed: list[np.ndarray] = []
    start = 0
    places = asked.places
    for search in asked.searches:
        order = np.concatenate([search.database, search.queries])
        free = oldest_allowed(len(order))
        if asked.across:
            free[:] = 0
            free[len(search.database) :] = len(search.database)
        loops = find_loops(np.stack([seen[i].descriptor for i in order]), free)
        shifted = np.where(loops.places >= 0, loops.places + start, -1)
        kept.append(Loops(shifted, loops.distances))
        moved = places[order].copy()
        moved[:, 0] += _FAR * len(located)  # a search's places are no other's
        located.append(moved)
        allowed.append(np.where(free > 0, free + start, 0))
        start += len(order)
    together = Loops(
        np.concatenate([one.places for one in kept]),
        np.concatenate([one.distances for one in kept]),
    )
    curve = loop_scores(together, np.concatenate(located), np.concatenate(allowed))
    return {
        "average_precision": curve.average_precision,
        "max_f1": curve.max_f1,
        "recall_full_precision": curve.recall_at_full_precision,
    }


def candidates_of(decode: Mapping) -> int:
    """Return how many of the nearest places a pose is tried against, 1 as published.

    Raises:
        UserError: When a card's `candidates` is no such number.
    """
    tried = decode.get("candidates", 1)
    if not (isinstance(tried, int) and not isinstance(tried, bool) and 1 <= tried <= max(KS)):
        raise UserError(
            f"--set: candidates is {tried!r}; it must be a whole number from 1 to {max(KS)}."
        )
    return tried


def _poses(
    rows: Sequence[dict],
    samples: Sequence[Sample],
    seen: Sequence[_Seen],
    places: np.ndarray,
    card: ModelCard,
) -> dict[str, float]:
    """Estimate the pose of every query against its first place; rows get its errors.

    Of several candidates the place is taken with most inliers, as a map's `localize` does, and a
    row tells of that one. Where no headings are known the errors of poses are not either.
    """
    known = not any(sample.extra.get(FORMAT) in WITHOUT_HEADINGS for sample in samples)
    recipe = recipe_of(card, card.network)
    center = bool(card.decode.get("center_cells", False))
    tried = candidates_of(card.decode)
    errors = []
    for row in rows:
        query = row["_query"]
        found = [
            _estimate(seen[query].local, seen[place].local, recipe, center)
            for place in row["_places"][:tried]
        ]
        inliers = [-1 if one is None else one.inlier_count for one in found]
        best = int(np.argmax(inliers))  # of equals the nearest
        place = row["_places"][best]
        row["place"], row["distance"] = samples[place].id, float(row["_distances"][best])
        row["apart"] = float(np.linalg.norm(places[query] - places[place]))
        error = _pose_error(samples[query], samples[place], found[best]) if known else None
        row["metres"], row["degrees"] = (None, None) if error is None else error
        errors.append(error)
    total = pose_scores(errors if known else [])
    right = [row["apart"] < RADIUS for row in rows]
    return {
        "recall_taken": float(np.mean(right)) if right else math.nan,
        "pose_success": total.rate,
        "pose_mean_metres": total.mean_metres,
        "pose_mean_degrees": total.mean_degrees,
        "pose_median_metres": total.median_metres,
        "pose_median_degrees": total.median_degrees,
    }


def _estimate(
    query: LocalView | None, place: LocalView | None, recipe: BevRecipe, center: bool
) -> PoseEstimate | None:
    if query is None or place is None:
        return None
    return estimate_pose(_whole(query), _whole(place), recipe, center_cells=center)


def _pose_error(
    query: Sample, place: Sample, found: PoseEstimate | None
) -> tuple[float, float] | None:
    here, there = pose_of(query), pose_of(place)
    if found is None or here is None or there is None:
        return None
    return pose_error(found.transform, relative_truth(here, there))


def _kept(local: LocalView) -> LocalView:
    return LocalView(local.pixels, packed(local.features, _LOCAL))


def _whole(local: LocalView) -> LocalView:
    return LocalView(local.pixels, unpacked(local.features))
