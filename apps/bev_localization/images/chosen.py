"""The recipe of images that the options of a training name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.bev_localization.images.recipes import BevRecipe, recipe
from core.errors import UserError


def recipe_chosen(options: Mapping[str, Any]) -> BevRecipe:
    """Return the recipe that options name, with another range or resolution where they say so.

    Raises:
        UserError: When no image can be made that way.
    """
    chosen = recipe(options["recipe"])
    half, fine = float(options["half_range"]), float(options["resolution"])
    if not half and not fine:
        return chosen
    changes: dict[str, Any] = {}
    if half:
        changes |= {"half_range": half, "crop": None if chosen.crop is None else half}
    if fine:
        changes |= {"resolution": fine, "voxel": fine}
    try:
        changed = replace(chosen, **changes)
    except ValueError as error:
        raise UserError(f"Options of the images' recipe: {error}") from error
    return replace(changed, name=f"{chosen.name}-{changed.half_range:g}-{changed.resolution:g}")
