"""What a network makes of a scan: the place's descriptor, and keypoints with their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from apps.bev_localization.data.bev_folders import recipe_beside
from apps.bev_localization.data.samples import IMAGE, LAYOUT, scan_of
from apps.bev_localization.images.density import density_image
from apps.bev_localization.images.recipes import BevRecipe
from apps.bev_localization.pose import keypoints as corners
from apps.bev_localization.pose.estimation import LocalView, local_view
from core.data.index import Sample
from core.engines import Engine
from core.errors import UserError
from core.model_card import ModelCard, shown_size

_WORKERS = 2


@dataclass(frozen=True)
class View:
    """A scan as it is looked up.

    Attributes:
        image: uint8 (H, H), its density image.
        descriptor: float32 (D,), of the place.
        local: Keypoints and features.
    """

    image: np.ndarray
    descriptor: np.ndarray
    local: LocalView


def recipe_of(card: ModelCard, name: str) -> BevRecipe:
    """Return the recipe of the images a network takes, which its card holds.

    Args:
        card: Its model card.
        name: Of the network, for errors.

    Raises:
        UserError: When the card tells of none.
    """
    try:
        return BevRecipe(**card.decode["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name}: does not tell the recipe of its BEV images; import or export it again."
        ) from error


def image_of(sample: Sample, recipe: BevRecipe) -> np.ndarray:
    """Return the density image of a sample, uint8 (side, side); a ready one is read.

    Raises:
        UserError: When the file is damaged, or a ready image has another size or is known to be of
            another recipe.
    """
    if sample.extra.get(LAYOUT) != IMAGE:
        return density_image(scan_of(sample).points, recipe)
    from core.data.images import read_image

    image = read_image(sample.inputs[0])[..., 0]
    if image.shape != (recipe.side, recipe.side):
        raise UserError(
            f"{sample.inputs[0]}: has {shown_size(image.shape)} pixels, images of the recipe "
            f"'{recipe.name}' {recipe.side}x{recipe.side}; make it again with that recipe."
        )
    made = recipe_beside(sample.inputs[0])
    if made is not None and made.hash != recipe.hash:
        raise UserError(
            f"{sample.inputs[0]}: is an image of the recipe '{made.name}' (see its recipe.json), "
            f"not of '{recipe.name}'; make it again with the latter."
        )
    return image


def check_sides(card: ModelCard, recipe: BevRecipe, name: str) -> None:
    """Raise a `UserError` where a network takes images of another size than a recipe makes."""
    if tuple(card.input_size) != (recipe.side, recipe.side):
        raise UserError(
            f"{name}: takes images of {shown_size(card.input_size)}, but the recipe "
            f"'{recipe.name}' makes {recipe.side}x{recipe.side}; choose the recipe it was "
            "trained with."
        )


def view_of(
    image: np.ndarray,
    outputs: Sequence[np.ndarray],
    *,
    name: str,
    threshold: int = corners.THRESHOLD,
) -> View:
    """Return the view of an image whose way through the network is done.

    Args:
        image: uint8 (H, H).
        outputs: Of the network, without a batch axis: a map (h, h, C) and a descriptor (D,), in
            any order.
        name: Of the network, for errors.
        threshold: Of FAST, in grey levels.

    Raises:
        UserError: When the outputs are others, or not finite.
    """
    maps = [one for one in outputs if one.ndim == 3]
    vectors = [one for one in outputs if one.ndim == 1]
    if len(maps) != 1 or len(vectors) != 1:
        shapes = ", ".join(str(one.shape) for one in outputs)
        raise UserError(
            f"{name}: gives outputs of the shapes {shapes}, not a map of local features and a "
            "descriptor; use a network of this app."
        )
    if not all(np.isfinite(one).all() for one in (maps[0], vectors[0])):
        raise UserError(f"{name}: gives values that are not finite; check its weights.")
    local = local_view(image, maps[0], threshold=threshold)
    return View(image, vectors[0], local)


def views(
    engine: Engine,
    samples: Sequence[Sample],
    recipe: BevRecipe,
    *,
    batch: int = 4,
    threshold: int = corners.THRESHOLD,
    advance: Callable[[int], None] | None = None,
) -> Iterator[tuple[Sample, View | None, UserError | None]]:
    """Yield (sample, view, error) in order; a scan that cannot be read does not stop the rest.

    Args:
        engine: Runs the network.
        samples: Scans, or ready images.
        recipe: Of the images.
        batch: Images that go through the network at once; the next ones are made meanwhile.
        threshold: Of FAST, in grey levels.
        advance: Called with the number of samples done.
    """

    def image(sample: Sample) -> np.ndarray | UserError:
        try:
            return image_of(sample, recipe)
        except UserError as error:
            return error

    with ThreadPoolExecutor(_WORKERS) as pool:
        ahead = [pool.submit(image, one) for one in samples[:batch]]
        for start in range(0, len(samples), batch):
            some = samples[start : start + batch]
            made = [one.result() for one in ahead]
            ahead = [pool.submit(image, one) for one in samples[start + batch : start + 2 * batch]]
            good = [one for one in made if not isinstance(one, UserError)]
            rows = iter(_through(engine, good))
            for sample, one in zip(some, made, strict=True):
                if isinstance(one, UserError):
                    yield sample, None, one
                else:
                    yield (
                        sample,
                        view_of(one, next(rows), name=engine.name, threshold=threshold),
                        None,
                    )
            if advance is not None:
                advance(len(some))


def _through(engine: Engine, images: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return the outputs of each image."""
    if not images:
        return []
    planes = np.repeat(np.stack(images)[..., None], engine.card.channels, axis=-1)
    outputs = engine(engine.card.normalise(planes))
    return [[output[row] for output in outputs] for row in range(len(images))]
