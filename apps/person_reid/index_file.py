"""Looking through an index: whether it is of this network, and what is nearest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apps.person_reid.embeddings import BACKENDS, About, Embeddings, at_length_one
from core.errors import UserError

if TYPE_CHECKING:
    from core.task import Task

NORMALISED = {True: "normalised", False: "not normalised"}


def about_source(task: Task, source: Path) -> About:
    """Return what embeddings by a run folder or .tflite file are, without loading the network.

    Raises:
        UserError: When the run or the file is damaged or has no weights.
    """
    from core.identity import identify
    from core.run_folder import versions

    card, found = identify(source, task.name)
    return About(
        **dataclasses.asdict(found),
        metric=card.decode.get("metric", "euclidean"),
        gossamer=versions().get("gossamer-keras", "unknown"),
    )


def check_same_network(index: Path, about: About, now: About) -> None:
    """Refuse an index whose embeddings another network made.

    Precisions may differ: a .tflite file may search in what the run it was made of has embedded.

    Args:
        index: Its file.
        about: Of the index.
        now: Of the network that embeds the queries.

    Raises:
        UserError: When network, variant, weights, input size or normalisation differ.
    """
    if not about.is_same_network(now):
        raise UserError(
            f"{index}: was made by {about.described()}, but the queries would be embedded by "
            f"{now.described()}, and embeddings of different networks cannot be compared; search "
            "with the former or index the images again with the latter."
        )
    if about.normalised != now.normalised:
        raise UserError(
            f"{index}: its embeddings are {NORMALISED[about.normalised]}, those of the queries "
            f"would be {NORMALISED[now.normalised]}; leave the choice out or index again."
        )


def find(
    query: np.ndarray,
    gallery: Embeddings,
    top: int,
    *,
    metric: str,
    rerank: str = "off",
    backend: str = BACKENDS[0],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest rows of an index for each query: an exact search.

    Args:
        query: Embeddings (Q, D).
        gallery: The index.
        top: How many; of a smaller index all are returned.
        metric: "euclidean" (squared) or "cosine".
        rerank: "off", or a convention of `apps.person_reid.re_ranking`, which compares all images
            with each other, the queries too; `backend` is not asked then.
        backend: "numpy" or "faiss", which differ in the order of equal distances at most.

    Returns:
        Rows of the index int64 (Q, top), nearest first, and their distances float32 (Q, top).

    Raises:
        UserError: When the lengths of embeddings differ or faiss is not installed.
    """
    if query.shape[1] != gallery.embeddings.shape[1]:
        raise UserError(
            f"The queries' embeddings have {query.shape[1]} numbers, those of the index "
            f"{gallery.embeddings.shape[1]}; index the images again."
        )
    top = min(top, len(gallery))
    if rerank != "off":
        return _re_ranked(query, gallery.embeddings, top, metric, rerank)
    if backend == "faiss":
        return _by_faiss(query, gallery.embeddings, top, metric)
    from apps.person_reid.ranking import top_k

    return top_k(query, gallery.embeddings, top, metric)


def load_faiss():
    """Return the module faiss.

    Raises:
        UserError: When it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "--backend faiss needs the extra 'retrieval', which is not installed: pip install "
            "'gossamer-keras[retrieval]', or leave --backend out (the results are the same)."
        ) from error
    return faiss


def has_faiss() -> bool:
    """Return whether faiss is installed."""
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def _re_ranked(query, gallery, top: int, metric: str, convention: str):
    from apps.person_reid.ranking import nearest
    from apps.person_reid.re_ranking import re_ranked_blocks

    places, values = [], []
    for block in re_ranked_blocks(query, gallery, metric, convention=convention):
        places.append(nearest(block, top))
        values.append(np.take_along_axis(block, places[-1], axis=1))
    return np.concatenate(places), np.concatenate(values)


def _by_faiss(query, gallery, top: int, metric: str):
    faiss = load_faiss()
    if metric == "cosine":
        query, gallery = at_length_one(query), at_length_one(gallery)
    kind = faiss.IndexFlatIP if metric == "cosine" else faiss.IndexFlatL2
    index = kind(gallery.shape[1])
    index.add(np.ascontiguousarray(gallery, np.float32))
    values, places = index.search(np.ascontiguousarray(query, np.float32), top)
    values = np.maximum(1 - values if metric == "cosine" else values, np.float32(0))
    order = np.lexsort((places, values))  # of equal ones the earlier, as without faiss
    return np.take_along_axis(places, order, 1), np.take_along_axis(values, order, 1)
