"""The model card: what a network expects and returns, kept with its weights.

The card stands beside the builder, goes into the run folder and into the .tflite file, and is the
only place that knows how an image becomes the network's input.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

import numpy as np

from core.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelCard:
    """What has to be known to use a network's file.

    Attributes:
        network, variant: Catalog name and variant.
        app: The app's name on the command line (decides how outputs are decoded).
        title, paper, official_code, licence: Provenance of architecture and weights.
        input_size: (height, width) the network is used at.
        size_multiple: Height and width must be multiples of this.
        channels: Input channels: 1 (grey) or 3.
        color_order: "RGB" or "gray".
        mean, std: Per-channel normalisation of pixels in [0, 1]: (pixel / 255 - mean) / std.
        resize: How an image gets to `input_size`: "bilinear" (OpenCV, half-pixel centres).
        labels: Class names; for one-logit (binary) networks the name of the foreground.
        output: What the raw output is, in words.
        decode: Parameters of the app's decoding (threshold, protocol, ...).
        published: Published numbers: parameters, metric by data set.
        checkpoints: Where official weights are published, or why there are none.
    """

    network: str
    variant: str
    app: str
    title: str = ""
    paper: str = ""
    official_code: str = ""
    licence: str = ""
    input_size: tuple[int, int] = (256, 256)
    size_multiple: int = 1
    channels: int = 3
    color_order: str = "RGB"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: str = "bilinear"
    labels: tuple[str, ...] = ()
    output: str = "logits"
    decode: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    checkpoints: str = ""

    def normalise(self, image: np.ndarray) -> np.ndarray:
        """Map pixels (H, W, C) uint8 in 0..255 to the network's float32 input."""
        scale = (1.0 / (255.0 * np.asarray(self.std))).astype(np.float32)
        offset = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        return image.astype(np.float32) * scale - offset

    def pixel_range(self) -> tuple[float, float] | None:
        """Return what black and white become, where that is the same for all channels.

        An integer file whose input has this range takes the pixels themselves for codes.
        """
        if len(set(self.mean)) > 1 or len(set(self.std)) > 1:
            return None
        return -self.mean[0] / self.std[0], (1.0 - self.mean[0]) / self.std[0]

    def denormalise(self, inputs: np.ndarray) -> np.ndarray:
        """Map the network's float input (H, W, C) back to uint8 pixels, for pictures."""
        pixels = (inputs * np.asarray(self.std) + np.asarray(self.mean)) * 255.0
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a `UserError` when (height, width) does not fit the architecture."""
        multiple = self.size_multiple
        if min(size) < multiple or any(side % multiple for side in size):
            height, width = (max(multiple, round(side / multiple) * multiple) for side in size)
            raise UserError(
                f"Input size {size[0]}x{size[1]} does not fit {self.network}: height and width "
                f"must be multiples of {multiple}; the nearest that fits is {height}x{width}."
            )

    def replace(self, **changes) -> ModelCard:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """Return the card as JSON-ready values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict, *, source: str = "model card") -> ModelCard:
        """Return the card of `to_dict`; unknown or missing fields raise a `UserError`."""
        again = "it is damaged or was written by another version of Gossamer: export it again."
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if not isinstance(values, dict):
            raise UserError(f"{source}: holds no model card; {again}")
        unknown = sorted(set(values) - set(fields))
        missing = [name for name in ("network", "variant", "app") if name not in values]
        if unknown or missing:
            problem = f"unknown fields {unknown}" if unknown else f"missing fields {missing}"
            raise UserError(f"{source}: the model card has {problem}; {again}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        for name, value in values.items():
            if not _is_a(str(fields[name].type), value):
                raise UserError(f"{source}: the model card has {name} {value!r}; {again}")
        card = cls(**values)
        if not len(card.mean) == len(card.std) == card.channels:
            raise UserError(f"{source}: the model card's mean, std and channels differ; {again}")
        return card


def _is_a(kind: str, value: object) -> bool:
    """Return whether a value is of a field's type, given as it is written above."""
    if kind.startswith("tuple"):
        inner = kind[len("tuple[") :].split(",")[0]
        wanted = 2 if kind == "tuple[int, int]" else None
        return (
            isinstance(value, tuple)
            and (wanted is None or len(value) == wanted)
            and all(_is_a(inner, item) for item in value)
        )
    if isinstance(value, bool):
        return False
    known = {"int": int, "float": int | float, "str": str, "dict": dict}
    return isinstance(value, known[kind])
