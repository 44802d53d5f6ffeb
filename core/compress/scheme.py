"""The choices of a quantization, as one checked object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from core.errors import UserError, one_of

OBSERVERS = ("moving_average", "minmax", "percentile", "mse", "learned")
EXCEPTIONS = ("float", "pass")
WEIGHT_BITS = (4, 8)
ACTIVATION_BITS = (8, 16)


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized.

    Attributes:
        weight_bits: 8, or 4 as an accuracy study: a file stores 4-bit codes in 8-bit integers.
        activation_bits: 8, or 16 (symmetric; such a network is exported as int16x8).
        per_channel: Whether convolution kernels have a scale per output channel; False is the
            whitepaper's per-layer variant (arXiv:1806.08342, Sec. 3.1), for comparison.
        observer: How an activation's range follows what it sees: "moving_average" of each batch's
            extremes, "minmax" over everything seen, or "percentile", the moving average of each
            batch's outer percentiles, which ignores rare outliers; "mse" is calibrated to the
            range of least squared error (`core.compress.range_search`) and trained as the
            moving average; "learned" starts there and is trained by the loss (LSQ).
        decay: Of the moving averages, per training step. tfmot's 0.999 needs thousands of steps to
            forget a start at ±6; ranges here start calibrated, so they may follow faster.
        percentile: Upper percentile of "percentile"; the lower one mirrors it.
        exceptions: Layer name, or class name, → "float" to leave such operators in float, or
            "pass" to treat them as moving values only, their output in the input's codes.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    per_channel: bool = True
    observer: str = "moving_average"
    decay: float = 0.99
    percentile: float = 99.99
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name, allowed in (("weight_bits", WEIGHT_BITS), ("activation_bits", ACTIVATION_BITS)):
            value = getattr(self, name)
            if value not in allowed:
                choices = " or ".join(map(str, allowed))
                raise UserError(f"Quantization: {name} is {value}; it must be {choices}.")
        one_of(self.observer, OBSERVERS, "Quantization: observer")
        if not 0 <= self.decay < 1:
            raise UserError(f"Quantization: decay is {self.decay}; it must be in [0, 1).")
        if not 50 < self.percentile <= 100:
            raise UserError(
                f"Quantization: percentile is {self.percentile}; it must be above 50, up to 100."
            )
        for name, value in self.exceptions.items():
            one_of(value, EXCEPTIONS, f"Quantization: the exception for '{name}'")

    def exception(self, operation) -> str | None:
        """Return "float", "pass" or None for a layer, by its name or its class's name.

        A layer whose class says `always_float` is "float" unless its exception says otherwise.
        """
        kind = type(operation)
        default = "float" if getattr(kind, "always_float", False) else None
        by_kind = self.exceptions.get(kind.__name__, default)
        return self.exceptions.get(operation.name, by_kind)

    def to_dict(self) -> dict:
        """Return the choices as JSON-ready values."""
        return asdict(self)


def floating_layers(model) -> list[str]:
    """Return the names of a Keras model's layers that stay in float whatever is chosen."""
    return [layer.name for layer in model.layers if getattr(type(layer), "always_float", False)]
