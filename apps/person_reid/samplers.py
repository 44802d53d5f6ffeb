"""The order of training images: which of them share a batch.

K. Zhou, T. Xiang: "Torchreid", arXiv 1910.10093, and its code. A triplet loss needs several images
of several persons in a batch; batches of equal shares of cameras or data sets keep a network from
telling these apart instead of persons. All randomness comes from the generator that is passed;
what does not fill a batch is left out of the epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from core.config import TrainConfig
from core.data.index import Index
from core.errors import UserError, no_such

SAMPLERS = ("random", "identity", "camera", "dataset")
IMAGES = 4  # of a person in a batch


def order(index: Index, config: TrainConfig, rng: np.random.Generator) -> list[np.ndarray]:
    """Return an epoch's positions in the index by batch.

    Args:
        index: The training samples.
        config: Its `batch`, and its options "sampler" (one of `SAMPLERS`, or "auto": "identity"
            for the loss "triplet", else "random") and "images" (of a person).
        rng: The source of all randomness.

    Returns:
        A list of int64 (batch,).

    Raises:
        UserError: When the sampler does not exist or the data cannot fill its batches.
    """
    options = config.options
    name = options.get("sampler", "auto")
    if name == "auto":
        name = "identity" if options.get("loss") == "triplet" else "random"
    if name == "random":
        return random_order(len(index), config.batch, rng)
    if name == "identity":
        persons = [sample.label for sample in index.samples]
        return identity_order(persons, config.batch, rng, images=options.get("images", IMAGES))
    if name in ("camera", "dataset"):
        domains = [sample.extra[name] for sample in index.samples]
        return domain_order(domains, config.batch, rng)
    raise no_such("sampler", name, [*SAMPLERS, "auto"])


def random_order(count: int, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return shuffled positions in whole batches; fewer than a batch are one.

    Args:
        count: Samples.
        batch: Samples in a batch.
        rng: The source of all randomness.
    """
    shuffled = rng.permutation(count)
    if count < batch:
        return [shuffled]
    return np.split(shuffled[: count - count % batch], count // batch)


def identity_order(
    persons: Sequence[int | None], batch: int, rng: np.random.Generator, *, images: int = IMAGES
) -> list[np.ndarray]:
    """Return batches of `batch / images` persons with `images` of each, one person after another.

    The images of a person are shuffled and dealt in hands of `images`, the rest left out; of a
    person with fewer, that many are drawn with replacement. Each batch takes the next hand of
    persons drawn from those who have one, until too few persons are left.

    Args:
        persons: Of each sample; one of nobody (None) is in no batch.
        batch: A multiple of `images`, of two persons or more.
        rng: The source of all randomness.
        images: Of a person in a batch.

    Raises:
        UserError: When the batch does not fit or there are too few persons.
    """
    together = batch // images
    if together < 2 or batch % images:
        raise UserError(
            f"A batch of {batch} does not hold {images} images each of two persons or more; choose "
            f"a multiple of {images}, such as {max(2, together) * images}."
        )
    positions: dict[int, list[int]] = defaultdict(list)
    for position, person in enumerate(persons):
        if person is not None:
            positions[person].append(position)
    if len(positions) < together:
        raise UserError(
            f"The training data shows {len(positions)} person(s), but a batch of {batch} holds "
            f"{together}; choose a batch of {len(positions) * images} or less."
        )
    available = sorted(positions)
    hands = {person: _dealt(positions[person], images, rng) for person in available}
    batches = []
    while len(available) >= together:
        drawn = [available[i] for i in rng.choice(len(available), together, replace=False)]
        batches.append(np.concatenate([hands[person].pop(0) for person in drawn]))
        available = [person for person in available if hands[person]]
    return batches


def domain_order(
    domains: Sequence[int], batch: int, rng: np.random.Generator, *, together: int | None = None
) -> list[np.ndarray]:
    """Return batches of equal shares of several cameras or data sets, one after another.

    The epoch ends when a domain of the last batch has too few images left for another share.
    Domains that never had enough are not drawn.

    Args:
        domains: Camera or data set of each sample.
        batch: Samples in a batch.
        rng: The source of all randomness.
        together: Domains in a batch, which they divide; None takes the most that can.

    Raises:
        UserError: When `together` does not divide the batch or too few domains can fill a share.
    """
    left = {one: np.flatnonzero(np.equal(domains, one)) for one in sorted(set(domains))}
    sizes = [len(positions) for positions in left.values()]
    if together is None:
        together = next(
            (n for n in range(min(len(left), batch), 1, -1) if _can_share(sizes, batch, n)), 1
        )
    if together < 1 or batch % together:
        raise UserError(
            f"A batch of {batch} cannot be shared by {together} cameras or data sets; choose a "
            "number that divides it."
        )
    share = batch // together
    if not _can_share(sizes, batch, together):
        raise UserError(
            f"It takes {together} camera(s) or data set(s) with {share} images each to share a "
            f"batch of {batch}; choose a smaller batch or the sampler 'random'."
        )
    left = {one: positions for one, positions in left.items() if len(positions) >= share}
    known, batches = list(left), []
    while min(map(len, left.values())) >= share:
        taken = []
        for i in rng.choice(len(known), together, replace=False):
            rest = left[known[i]]
            picks = rng.choice(len(rest), share, replace=False)
            taken.append(rest[picks])
            left[known[i]] = np.delete(rest, picks)
        batches.append(np.concatenate(taken))
    return batches


def _can_share(sizes: Sequence[int], batch: int, together: int) -> bool:
    """Return whether so many domains divide a batch and have enough images for it."""
    share, rest = divmod(batch, together)
    return rest == 0 and sum(size >= share for size in sizes) >= together


def _dealt(positions: list[int], images: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the shuffled images of a person in hands of `images`."""
    cards = np.array(positions)
    if len(cards) < images:
        cards = cards[rng.choice(len(cards), images, replace=True)]
    cards = rng.permutation(cards)
    return [cards[i : i + images] for i in range(0, len(cards) - images + 1, images)]
