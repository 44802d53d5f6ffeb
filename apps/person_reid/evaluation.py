"""From embeddings of samples to the scores of a data set, and the agreement of two networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.data.index import Sample
from core.errors import UserError
from core.model_card import ModelCard
from core.task import Scores

RANKS = (1, 5, 10)
TOP = 10


@dataclass(frozen=True)
class Embedded:
    """Samples with their embeddings.

    Attributes:
        samples: In order.
        embeddings: float32 (N, D).
    """

    samples: list[Sample]
    embeddings: np.ndarray

    def of(self, role: str) -> Embedded:
        """Return those of a role, "query" or "gallery"."""
        chosen = [i for i, sample in enumerate(self.samples) if role_of(sample) == role]
        if not chosen:
            raise UserError(
                f"The samples hold no {role} image, but re-identification looks for each query in "
                "a gallery; evaluate on --split test or val."
            )
        return Embedded([self.samples[i] for i in chosen], self.embeddings[chosen])

    def values(self, name: str) -> np.ndarray:
        """Return "person" or "camera" of the samples, int64 (N,)."""
        return np.array([sample.extra[name] for sample in self.samples], np.int64)


def role_of(sample: Sample) -> str:
    """Return "train", "query" or "gallery"."""
    return sample.extra.get("role", "")


def gathered(results: Iterable[tuple[Sample, np.ndarray]]) -> Embedded:
    """Return all results of an evaluation."""
    samples, embeddings = [], []
    for sample, embedding in results:
        samples.append(sample)
        embeddings.append(embedding)
    if not samples:
        raise UserError("There are no samples to evaluate; choose another --split.")
    return Embedded(samples, np.stack(embeddings))


def score(results: Iterable[tuple[Sample, np.ndarray]], card: ModelCard) -> Scores:
    """Return mAP, CMC at ranks 1, 5 and 10, and mINP by the Market-1501 protocol.

    CUHK03's classic protocol, where the samples' reader asks for it, has one image a person in the
    gallery; the expectation over all such draws is reported.
    """
    from apps.person_reid.ranking import evaluate_embeddings, rank
    from apps.person_reid.re_ranking import re_ranked_blocks

    metric = card.decode.get("metric", "euclidean")
    convention = card.decode.get("rerank", "off")
    found = gathered(results)
    query, gallery = found.of("query"), found.of("gallery")
    who = (query.values("person"), gallery.values("person"))
    where = (query.values("camera"), gallery.values("camera"))
    if found.samples[0].extra.get("protocol") == "single-shot":
        return _single_shot(query, gallery, metric)
    both = (query.embeddings, gallery.embeddings)
    if convention == "off":
        ranking = evaluate_embeddings(*both, *who, *where, metric=metric)
        ranked = f"{metric} distance, no re-ranking"
    else:
        ranking = rank(re_ranked_blocks(*both, metric, convention=convention), *who, *where)
        ranked = f"{metric} distance, k-reciprocal re-ranking ({convention} convention)"
    summary = {"map": ranking.map, **{f"rank_{r}": ranking.rank(r) for r in RANKS}}
    summary["minp"] = ranking.minp
    rows = [
        {"id": sample.id, "ap": float(ap), "first_hit": int(first)}
        for sample, ap, first, valid in zip(
            query.samples, ranking.ap, ranking.first_hit, ranking.valid, strict=True
        )
        if valid
    ]
    left_out = f", {ranking.skipped} without a match by another camera left out"
    protocol = (
        f"Market-1501, single query: {len(query.samples)} queries"
        f"{left_out if ranking.skipped else ''}, {len(gallery.samples)} gallery images, {ranked}"
        "; same person by the same camera does not count"
    )
    return Scores(summary, rows, protocol)


class SameHits(NamedTuple):
    """How far two networks rank a gallery alike, shares in 0..1.

    Attributes:
        first: Of queries with the same picture as first hit.
        person: Of queries whose first hits show the same person, if not in the same picture.
        ten: Of the first ten hits that both have.
    """

    first: float
    person: float
    ten: float


def same_hits(reference, results, card: ModelCard) -> SameHits:
    """Return how far two networks rank a gallery alike: all of it, as a search shows it.

    Args:
        reference, results: (sample, embedding) of the same samples by two networks.
        card: Names the distance.
    """
    from apps.person_reid.ranking import top_k

    metric, hits = card.decode.get("metric", "euclidean"), []
    for found in (gathered(reference), gathered(results)):
        query, gallery = found.of("query"), found.of("gallery")
        k = min(TOP, len(gallery.samples))
        places, _ = top_k(query.embeddings, gallery.embeddings, k, metric)
        hits.append(places)
    ours, theirs = hits
    persons = gallery.values("person")
    mine, other = persons[ours[:, 0]], persons[theirs[:, 0]]
    same = ours[:, 0] == theirs[:, 0]
    # What no query looks for may be strangers, who share a number.
    alike = same | ((mine == other) & np.isin(mine, query.values("person")))
    shared = [len(np.intersect1d(a, b)) / len(a) for a, b in zip(ours, theirs, strict=True)]
    return SameHits(float(np.mean(same)), float(np.mean(alike)), float(np.mean(shared)))


def _single_shot(query: Embedded, gallery: Embedded, metric: str) -> Scores:
    from apps.person_reid.ranking import distances
    from apps.person_reid.single_shot import expected_single_shot

    found = expected_single_shot(
        distances(query.embeddings, gallery.embeddings, metric),
        query.values("person"),
        gallery.values("person"),
        query.values("camera"),
        gallery.values("camera"),
    )
    summary = {"map": found.map, **{f"rank_{r}": found.rank(r) for r in RANKS}}
    protocol = (
        f"CUHK03 classic, one gallery image a person: expectation over all draws of "
        f"{len(query.samples)} queries, {metric} distance; mAP of all images, which this protocol "
        "does not publish"
    )
    return Scores(summary, [], protocol)
