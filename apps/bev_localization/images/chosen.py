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
    changed = replace(chosen, **changes)
    named = replace(changed, name=f"{chosen.name}-{changed.half_range:g}-{changed.resolution:g}")
    if not 8 <= named.side <= 2001:
        raise UserError(
            f"Options half_range {named.half_range:g} and resolution {named.resolution:g} make "
            f"images of {named.side}x{named.side}; choose sides of 8 to 2001 pixels."
        )
    return named
