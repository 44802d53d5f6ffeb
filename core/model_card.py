"""The model card: what a network expects and returns, kept with its weights.

The card stands beside the builder, goes into the run folder and into the .tflite file, and is the
only place that knows how stored values (a picture's pixels, a signal's samples) become the
network's input.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PICTURES = ("RGB", "gray")
MOST_SIDE = 2**16  # of an input: more neither a device nor a library's counters hold
# What cards of earlier versions do not say, as it was then.
UNSAID = {"full_scale": 255.0}
# What the sides of an input are called, by their number.
_SIDES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True)
class ModelCard:
    """What has to be known to use a network's file.

    Attributes:
        network, variant: Catalog name and variant.
        app: The app's name on the command line (decides how outputs are decoded).
        title, paper, official_code, licence: Provenance of architecture and weights.
        input_size: The sides the network is used at, without channels: (height, width) of a
            picture, (length,) of a signal, (depth, height, width) of a volume.
        size_multiple: Every side must be a multiple of this.
        channels: Input channels: of a picture 1 (grey) or 3.
        color_order: "RGB" or "gray"; empty where the input is no picture.
        full_scale: The stored value that counts as 1: 255 for pixels, 32768 for 16-bit sound, 1
            for values that are taken as they are.
        mean, std: Per-channel normalisation: (value / full_scale - mean) / std.
        resize: How a picture gets to `input_size`: "bilinear" (OpenCV, half-pixel centres).
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
    input_size: tuple[int, ...] = (256, 256)
    size_multiple: int = 1
    channels: int = 3
    color_order: str = "RGB"
    full_scale: float = 255.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: str = "bilinear"
    labels: tuple[str, ...] = ()
    output: str = "logits"
    decode: dict = field(default_factory=dict)
    published: dict = field(default_factory=dict)
    checkpoints: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether the input is a picture, grey or in colours."""
        return self.color_order in PICTURES

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, channels last: (height, width, channels) of a picture."""
        return (*self.input_size, self.channels)

    @property
    def sides(self) -> tuple[str, ...]:
        """What the sides of `input_size` are called."""
        numbered = tuple(f"side {n + 1}" for n in range(len(self.input_size)))
        return _SIDES.get(len(self.input_size), numbered)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Map stored values (..., C), such as uint8 pixels, to the network's float32 input."""
        scale = (1.0 / (self.full_scale * np.asarray(self.std))).astype(np.float32)
        offset = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        scaled = np.multiply(values, scale, dtype=np.float32)
        scaled -= offset  # in place: of large pictures every copy is gigabytes
        return scaled

    def pixel_range(self) -> tuple[float, float] | None:
        """Return what black and white become, where that is the same for all channels.

        An integer file whose input has this range takes the pixels themselves for codes. None for
        what is no picture: its values have no ends that are known beforehand.
        """
        if not self.is_picture or len(set(self.mean)) > 1 or len(set(self.std)) > 1:
            return None
        return -self.mean[0] / self.std[0], (1.0 - self.mean[0]) / self.std[0]

    def sized(self, size: Sequence[int]) -> ModelCard:
        """Return the card for inputs of another size; one number stands for all sides.

        Raises:
            UserError: When it has more or fewer sides than the input, or does not fit the
                architecture.
        """
        size = tuple(size)
        *first, last = self.sides
        named = f"{', '.join(first)} and {last}" if first else last
        if len(size) not in (1, len(self.input_size)):
            raise UserError(
                f"Input size {shown_size(size)} has {len(size)} sides, but the input of "
                f"{self.network} has {len(self.input_size)}; pass {named}."
            )
        size = size * len(self.input_size) if len(size) == 1 else size
        if max(size) > MOST_SIDE:
            raise UserError(f"Input size {shown_size(size)}: sides are at most {MOST_SIDE}.")
        multiple = self.size_multiple
        if min(size) < multiple or any(side % multiple for side in size):
            nearest = [max(multiple, round(side / multiple) * multiple) for side in size]
            several = f"multiples of {multiple}" if len(size) > 1 else f"a multiple of {multiple}"
            raise UserError(
                f"Input size {shown_size(size)} does not fit {self.network}: {named} must be "
                f"{several}; the nearest that fits is {shown_size(nearest)}."
            )
        return self.replace(input_size=size)

    def input_in_words(self) -> dict[str, str]:
        """Return for a reader what the network takes and how a stored value gets there."""
        shape = " × ".join(map(str, self.input_shape))
        axes = ", ".join((*self.sides, "channels"))
        colours = f", {'grey' if self.channels == 1 else self.color_order}"
        stored = "pixel" if self.is_picture else "value"
        scaled = stored if self.full_scale == 1 else f"{stored} / {self.full_scale:g}"
        return {
            "Input": f"{shape} ({axes}){colours if self.is_picture else ''}",
            **({"Resized": self.resize} if self.is_picture else {}),
            "Normalisation": f"({scaled} − mean) / std",
        }

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
        if len(card.input_size) != 2 if card.is_picture else not card.input_size:
            what = "picture" if card.is_picture else "network"
            raise UserError(
                f"{source}: the model card has input_size {card.input_size!r} for a {what}; {again}"
            )
        multiple = card.size_multiple
        sides = range(multiple, MOST_SIDE + 1, multiple) if multiple >= 1 else ()
        if not all(side in sides for side in card.input_size):
            raise UserError(
                f"{source}: the model card has input_size {card.input_size!r}, but sides are "
                f"multiples of {multiple} up to {MOST_SIDE}; {again}"
            )
        if not min(*card.std, card.full_scale) > 0:
            raise UserError(f"{source}: the model card's std or full_scale is not above 0; {again}")
        return card


def shown_size(size: Sequence[int]) -> str:
    """Return a size in words: "256x192", or "128" of a signal."""
    return "x".join(map(str, size))


def _is_a(kind: str, value: object) -> bool:
    """Return whether a value is of a field's type, given as it is written above."""
    if kind.startswith("tuple"):
        inner = kind[len("tuple[") :].split(",")[0]
        return isinstance(value, tuple) and all(_is_a(inner, item) for item in value)
    if isinstance(value, bool):
        return False
    known = {"int": int, "float": int | float, "str": str, "dict": dict}
    return isinstance(value, known[kind])
