"""How a bird's-eye-view image is made of a scan: published recipes by name, with every parameter.

An image of another recipe than a network's or a map's looks alike and recognises nothing, so a
recipe has a hash that travels with both.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from core.errors import no_such

ALIGNMENTS = ("cloud", "zero")
WHITE = 255  # the brightest value of an image
SIDES = (8, 2001)  # pixels of an image, the least and the most
INPUT_DIVISOR = 256.0  # networks take value / 256, not 255
_HASH_LENGTH = 16


@dataclass(frozen=True)
class BevRecipe:
    """What makes a density image of a scan; lengths are in metres.

    Attributes:
        name: Of the recipe; not part of its hash.
        half_range: The image reaches this far to the front, rear, left and right.
        resolution: Side of a pixel.
        voxel: Side of the voxels that points are thinned to before they are counted.
        alignment: Of the voxels: "cloud" lets them begin half a voxel below the cloud's smallest
            coordinates, as Open3D does; "zero" at multiples of their side, as PCL does.
        crop: Points with a coordinate (x, y or z) this far out are left out first; None keeps all.
        cap: Voxels that a pixel counts at most.
        suppress: Pixels that count up to this become 0.
        metres_a_unit: Points that are in no metres are multiplied by this first.
    """

    name: str
    half_range: float
    resolution: float = 0.4
    voxel: float = 0.4
    alignment: str = "cloud"
    crop: float | None = None
    cap: int = 10
    suppress: int = 0
    metres_a_unit: float = 1.0

    def __post_init__(self):
        for key in ("half_range", "resolution", "voxel", "metres_a_unit", "crop"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"`{key}` must be a positive number. Received: {key}={value}")
        if self.alignment not in ALIGNMENTS:
            raise ValueError(
                f"`alignment` must be one of {ALIGNMENTS}. Received: alignment={self.alignment!r}"
            )
        if not 0 <= self.suppress < self.cap <= WHITE:
            raise ValueError(
                "`suppress` must be at least 0 and below `cap`, and `cap` at most 255. "
                f"Received: suppress={self.suppress}, cap={self.cap}"
            )
        least, most = SIDES
        pixels = 2 * self.half_range / self.resolution
        if pixels > most or not least <= self.side <= most:
            raise ValueError(
                f"`half_range` {self.half_range:g} and `resolution` {self.resolution:g} make "
                f"images of about {pixels:.0f} pixels a side; choose {least} to {most}."
            )

    @property
    def centre(self) -> int:
        """Row and column of the pixel whose lower right corner is the sensor's place."""
        return math.floor(self.half_range / self.resolution)

    @property
    def side(self) -> int:
        """Rows and columns of the image."""
        return self.centre - math.floor(-self.half_range / self.resolution) + 1

    @property
    def hash(self) -> str:
        """Return 16 hexadecimal digits of all parameters: equal hashes make equal images."""
        parameters = {k: v for k, v in asdict(self).items() if k != "name"}
        numbers = {k: float(v) if isinstance(v, int) else v for k, v in parameters.items()}
        text = json.dumps(numbers, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


RECIPES = {
    one.name: one
    for one in (
        # BEVPlace++ (T-RO 2025): gen_bev_images.py since mid-2025, 201x201.
        BevRecipe("place40", half_range=40.0, crop=40.0),
        # BEVPlace v1 (ICCV 2023): 151x151 with content up to 25 m. The ground, one voxel high, is
        # suppressed; the distributed images were made by a script that was never published.
        BevRecipe("place30-v1", half_range=30.0, crop=25.0, suppress=1),
        # BEV-LIO (IROS 2025), MCD and generic presets: 451x451, every height.
        BevRecipe("lio90", half_range=90.0, alignment="zero", cap=15, suppress=1),
        # Nobody's but ours: place40 in a quarter of its pixels, 101x101, to train on a CPU.
        BevRecipe("coarse40", half_range=40.0, resolution=0.8, voxel=0.8, crop=40.0),
    )
}


def recipe(name: str) -> BevRecipe:
    """Return the published recipe of a name.

    Raises:
        UserError: When there is none.
    """
    if name not in RECIPES:
        raise no_such("recipe of BEV images", name, RECIPES)
    return RECIPES[name]
