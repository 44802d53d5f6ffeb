"""CUHK03's classic protocol: CMC with one gallery image a person, averaged over which image.

W. Li et al., CVPR 2014. After the removal of the Market-1501 protocol, one image of every person in
the gallery is drawn uniformly and CMC is computed on these; published numbers are means over ten
draws and differ from run to run. `expected_single_shot` is the mean over all possible draws,
without drawing: another person stands before the drawn true match with a probability, the share of
the person's images that do, independently of the others; hence the number of persons before it has
a Poisson-binomial distribution. `sampled_single_shot` draws, as published.

Queries and gallery are the same test images. The published numbers are means over 20 splits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apps.person_reid.ranking import MAX_RANK, ProtocolMatches, Ranking, rank

REPEATS = 10  # draws per query, as published
BATCH = 64  # queries whose distributions are computed together


def expected_single_shot(
    distance: np.ndarray,
    q_ids: np.ndarray,
    g_ids: np.ndarray,
    q_cams: np.ndarray | None = None,
    g_cams: np.ndarray | None = None,
    *,
    max_rank: int = MAX_RANK,
) -> Ranking:
    """Return the exact expectation of CMC over the draws.

    Args:
        distance: Distances (Q, G).
        q_ids, g_ids, q_cams, g_cams: As in `apps.person_reid.ranking.ProtocolMatches`. Distractors
            with id 0 count as one person, as in the published code.
        max_rank: To which CMC is computed; at most the size of the gallery. Beyond the number of
            persons it is 1.

    Returns:
        A `Ranking` whose `cmc` is of this protocol; the rest is of all images, not of one a person.

    Raises:
        UserError: As `apps.person_reid.ranking.rank`.
    """
    full = rank(distance, q_ids, g_ids, q_cams, g_cams, max_rank=max_rank)
    matches = ProtocolMatches(q_ids, g_ids, q_cams, g_cams)
    persons, codes = np.unique(g_ids, return_inverse=True)
    images = np.bincount(codes)
    total = np.zeros(len(full.cmc))
    queries = np.flatnonzero(full.valid)
    for start in range(0, len(queries), BATCH):
        shares, weights = [], []
        for query in queries[start : start + BATCH]:
            _, own, removed = matches.of(query, query + 1)
            true = own[~removed]
            for match in true:
                before = np.bincount(codes[_before(distance[query], match)], minlength=len(persons))
                before[codes[match]] = 0  # of the query's person only the drawn image is there
                shares.append(before / images)
            weights += [1.0 / len(true)] * len(true)
        total += np.array(weights) @ _at_most(np.array(shares), len(total))
    return replace(full, cmc=total / len(queries))


def sampled_single_shot(
    distance: np.ndarray,
    q_ids: np.ndarray,
    g_ids: np.ndarray,
    q_cams: np.ndarray | None = None,
    g_cams: np.ndarray | None = None,
    *,
    generator: np.random.Generator,
    max_rank: int = MAX_RANK,
    repeats: int = REPEATS,
) -> Ranking:
    """Return the mean CMC over `repeats` draws of one image a person.

    Args:
        distance, q_ids, g_ids, q_cams, g_cams, max_rank: As in `expected_single_shot`.
        generator: Draws, per query and repeat, an image of each person, the persons in the order
            in which they first appear in the ranking.
        repeats: Draws per query.

    Returns:
        As `expected_single_shot`.

    Raises:
        UserError: As `apps.person_reid.ranking.rank`.
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be 1 or more. Received: repeats={repeats}")
    full = rank(distance, q_ids, g_ids, q_cams, g_cams, max_rank=max_rank)
    matches = ProtocolMatches(q_ids, g_ids, q_cams, g_cams)
    codes = np.unique(g_ids, return_inverse=True)[1]
    hits = np.zeros(len(full.cmc))
    queries = np.flatnonzero(full.valid)
    for query in queries.tolist():
        _, own, removed = matches.of(query, query + 1)
        ranking = np.argsort(distance[query], kind="stable")
        ranking = ranking[~np.isin(ranking, own[removed])]
        # Places grouped by person, each group ascending; a group's first place dates the person.
        places = np.argsort(codes[ranking], kind="stable")
        starts, counts = np.unique(codes[ranking[places]], return_index=True, return_counts=True)[
            1:
        ]
        order = np.argsort(places[starts])
        starts, counts = starts[order], counts[order]
        draws = generator.integers(0, counts, size=(repeats, len(counts)))
        drawn = places[starts + draws]
        person = codes[ranking[places[starts]]] == codes[own[0]]
        ahead = np.count_nonzero(drawn < drawn[:, person], axis=1)
        hits += np.bincount(ahead, minlength=len(hits))[: len(hits)]
    return replace(full, cmc=np.cumsum(hits) / (repeats * len(queries)))


def _before(row: np.ndarray, image: int) -> np.ndarray:
    """Return which images a stable ranking places before `image`, bool (G,)."""
    before = row < row[image]
    before[:image] |= row[:image] == row[image]
    return before


def _at_most(shares: np.ndarray, ranks: int) -> np.ndarray:
    """Return the chance that at most 0, 1, ... of independent events happen, (n, ranks).

    Args:
        shares: Probability of each event (n, events).
        ranks: How many of the chances.
    """
    exactly = np.zeros((len(shares), ranks))
    exactly[:, 0] = 1.0
    for share in shares.T[:, :, None]:
        exactly[:, 1:] = exactly[:, 1:] * (1.0 - share) + exactly[:, :-1] * share
        exactly[:, :1] *= 1.0 - share
    return np.cumsum(exactly, axis=1)
