"""Scores of a data set from embeddings, and how far two networks rank alike."""

from pathlib import Path

import numpy as np
import pytest

from apps.catalog import card
from apps.person_reid.evaluation import same_hits, score
from core.data.index import Sample
from core.errors import UserError

CARD = card("osnet", "x0_25")


def crop(name: str, person: int, camera: int, role: str, **extra) -> Sample:
    about = {"person": person, "camera": camera, "role": role, "dataset": 0, **extra}
    return Sample(name, (Path(f"{name}.jpg"),), split="test", extra=about)


def results(*rows, **extra) -> list:
    """Return (sample, embedding) of (person, camera, role, place on a line)."""
    return [
        (crop(str(i), person, camera, role, **extra), np.array([place, 1.0], np.float32))
        for i, (person, camera, role, place) in enumerate(rows)
    ]


ROWS = (
    (1, 0, "query", 0.0),
    (1, 0, "gallery", 0.01),  # the same person by the same camera: does not count
    (2, 1, "gallery", 0.1),
    (1, 1, "gallery", 0.2),
    (1, 2, "gallery", 0.3),
)


def test_scores_follow_the_protocol():
    found = score(results(*ROWS), CARD)
    assert found.summary["rank_1"] == 0.0 and found.summary["rank_5"] == 1.0
    assert found.summary["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.summary["minp"] == pytest.approx(2 / 3)
    assert found.per_sample == [{"id": "0", "ap": pytest.approx(7 / 12), "first_hit": 2}]
    assert "1 queries, 4 gallery images, euclidean" in found.protocol


def test_queries_without_a_match_are_left_out_and_said():
    found = score(results(*ROWS, (9, 0, "query", 0.5)), CARD)
    assert len(found.per_sample) == 1
    assert "1 without a match by another camera left out" in found.protocol


def test_the_cards_distance_counts():
    turned = CARD.replace(decode={"metric": "cosine", "rerank": "off"})
    rows = results((1, 0, "query", 1.0), (2, 1, "gallery", 1.1), (1, 1, "gallery", 40.0))
    straight = [(s, e if s.id != "2" else e * 0 + np.array([40.0, 40.0])) for s, e in rows]
    assert score(straight, CARD).summary["rank_1"] == 0.0
    assert score(straight, turned).summary["rank_1"] == 1.0


@pytest.mark.parametrize("convention", ["library", "authors"])
def test_re_ranking_is_said_in_the_protocol(convention):
    rng = np.random.default_rng(0)
    rows = [(i % 5, i % 3, "query" if i < 5 else "gallery", rng.normal()) for i in range(40)]
    found = score(
        results(*rows), CARD.replace(decode={"metric": "euclidean", "rerank": convention})
    )
    assert f"re-ranking ({convention}" in found.protocol
    assert 0 < found.summary["map"] <= 1


def test_the_classic_protocol_has_one_gallery_image_a_person():
    found = score(results(*ROWS, protocol="single-shot"), CARD)
    # Of person 1 either image is drawn; the one of person 2 is nearer than both.
    assert found.summary["rank_1"] == 0.0 and found.summary["rank_5"] == 1.0
    assert found.protocol.startswith("CUHK03 classic")


def test_samples_without_queries_are_refused():
    with pytest.raises(UserError, match="hold no query image"):
        score(results(*ROWS[1:]), CARD)
    with pytest.raises(UserError, match="no samples"):
        score([], CARD)


def without(rows, *ids) -> list:
    """Return the embeddings with those of some far away."""
    return [(s, -99 * e if s.id in ids else e) for s, e in rows]


def test_networks_that_rank_alike_agree():
    one = results(*ROWS)
    assert same_hits(one, results(*ROWS), CARD) == (1.0, 1.0, 1.0)
    # The nearest goes far away: by the query's own camera it counts too.
    assert same_hits(one, without(one, "1"), CARD) == (0.0, 0.0, 1.0)
    assert same_hits(one, without(one, "1", "2"), CARD) == (0.0, 1.0, 1.0)  # of the same person


def test_two_strangers_of_one_number_are_not_the_same_person():
    one = results(*ROWS[:1], (0, 1, "gallery", 0.01), (0, 2, "gallery", 0.02), *ROWS[1:])
    assert same_hits(one, without(one, "1"), CARD).person == 0.0
    assert same_hits(one, one, CARD).person == 1.0
