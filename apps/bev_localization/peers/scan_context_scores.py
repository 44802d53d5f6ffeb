"""How Scan Context fares where networks are evaluated: the same queries, the same places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from apps.bev_localization.data.samples import scan_of
from apps.bev_localization.evaluation import Ranking, place_scores
from apps.bev_localization.peers.scan_context import ScanContextIndex, scan_context
from apps.bev_localization.places import Search
from apps.bev_localization.retrieval.recall import KS
from core.data.index import Sample
from core.task import Scores

CANDIDATES = 25  # more than the published 10, as recall at 20 is counted


def scan_context_scores(
    samples: Sequence[Sample],
    decode: Mapping[str, Any],
    advance: Callable[[int], None] | None = None,
) -> Scores:
    """Return recall at 1, 5, 10 and 20 of Scan Context.

    Args:
        samples: Scans, not ready images, with poses.
        decode: With "protocol" and "database", as a card has them.
        advance: Called with the number of scans done.

    Raises:
        UserError: When a scan cannot be read, or there is nothing to look up.
    """
    contexts = []
    for sample in samples:
        contexts.append(scan_context(scan_of(sample).points))
        if advance is not None:
            advance(1)
    table = np.stack(contexts) if contexts else np.zeros((0, 1, 1), np.float32)

    def ranked(search: Search) -> Ranking:
        index = ScanContextIndex(table[search.database], candidates=CANDIDATES)
        found = [index.search(table[i], max(KS)) for i in search.queries]
        return np.stack([one.places for one in found]), np.stack([one.distances for one in found])

    summary, rows, described, _ = place_scores(samples, decode, ranked)
    kept = [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]
    return Scores(summary, kept, f"{described}; of the points, no poses")
