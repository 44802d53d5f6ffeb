"""One runner, two engines: the same call for a Keras model and for a TFLite file.

An engine takes a float32 batch of network inputs and returns float32 outputs, whatever the file's
own types are, so evaluation, prediction and verification are the same code for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import UserError
from core.model_card import ModelCard


class Engine(Protocol):
    """Runs a network.

    Attributes:
        name: For tables: "keras", or the file's name.
        card: The model card.
    """

    name: str
    card: ModelCard

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """Return the outputs, batch axis first, for float32 (N, *sides, C) inputs.

        The sides are those of the card's `input_size`: (N, H, W, C) for pictures.
        """
        ...


class KerasEngine:
    """Runs a `keras.Model` as one compiled function."""

    def __init__(self, model, card: ModelCard, *, name: str = "keras"):
        import keras
        import tensorflow as tf

        self.name, self.card = name, card
        self.model = model

        @tf.function(reduce_retracing=True, autograph=False)
        def forward(batch):
            return keras.tree.flatten(model(batch, training=False))

        self._forward = forward

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        outputs = self._forward(np.asarray(batch, np.float32))
        return [np.asarray(output, np.float32) for output in outputs]


class LiteRTEngine:
    """Runs a .tflite file in the LiteRT interpreter, the way a phone does.

    Args:
        path: The file, or its bytes.
        card: The model card; read from the file's metadata when None.
        threads: Interpreter threads; None is one per core.
        delegate: Whether the default XNNPACK delegate is used; else the reference kernels.

    Raises:
        UserError: When the file is missing, corrupt, or refused by the interpreter.
    """

    def __init__(
        self,
        path: str | Path | bytes,
        card: ModelCard | None = None,
        *,
        threads: int | None = None,
        delegate: bool = True,
    ):
        from core.tflite.inspect import check_file

        self.name = "tflite" if isinstance(path, bytes) else Path(path).name
        check_file(path)
        if card is None:
            from core.tflite.metadata import extract

            card = ModelCard.from_dict(extract(path).get("model_card", {}), source=self.name)
        self.card = card
        self._interpreter = interpreter(path, threads=threads, delegate=delegate)
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self._closed = min(self._inputs[0].get("shape_signature", (1,)), default=1) >= 0
        rank = len(card.input_shape) + 1
        if len(self._inputs) != 1 or len(self._inputs[0]["shape"]) != rank:
            axes = ", ".join(("batch", *card.sides, "channels"))
            raise UserError(f"{self.name}: does not take one input ({axes}); export it again.")
        if not self._outputs or (self._closed and any(s[:1] != (1,) for s in self.output_shapes)):
            raise UserError(f"{self.name}: does not return a batch of one; export it again.")

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the file's input, batch axis included; None for sides it leaves open."""
        shape = self._inputs[0]["shape"] if self._closed else self._inputs[0]["shape_signature"]
        return tuple(None if n < 0 else int(n) for n in shape)

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the file's outputs, batch axis included."""
        return [tuple(int(n) for n in detail["shape"]) for detail in self._outputs]

    @property
    def output_indices(self) -> list[int]:
        """Numbers of the file's output tensors, in the order of the results."""
        return [int(detail["index"]) for detail in self._outputs]

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        batch = np.asarray(batch, np.float32)
        try:
            return self._run(batch)
        except (RuntimeError, ValueError, IndexError) as error:  # a result may be a scalar
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise UserError(
                f"{self.name}: fails while it runs ({reason}); export it again."
            ) from error

    def _run(self, batch: np.ndarray) -> list[np.ndarray]:
        if not self._closed:
            self._resize(batch.shape[1:])
        elif batch.shape[1:] != self.input_shape[1:]:
            raise UserError(
                f"{self.name}: takes inputs of {self.input_shape[1:]}, got {batch.shape[1:]}; "
                "export it for that size."
            )
        rows: list[list[np.ndarray]] = []
        for one in batch:
            self._interpreter.set_tensor(
                self._inputs[0]["index"], to_codes(one[None], self._inputs[0])
            )
            self._interpreter.invoke()
            rows.append(
                [
                    from_codes(self._interpreter.get_tensor(detail["index"])[0], detail)
                    for detail in self._outputs
                ]
            )
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _resize(self, shape: tuple[int, ...]) -> None:
        """Prepare a file of open size for inputs of a shape, unless it is so already."""
        if tuple(self._inputs[0]["shape"][1:]) != shape:
            self._interpreter.resize_tensor_input(self._inputs[0]["index"], (1, *shape))
            self._interpreter.allocate_tensors()
            self._inputs = self._interpreter.get_input_details()
            self._outputs = self._interpreter.get_output_details()


def interpreter(path: str | Path | bytes, *, threads: int | None, delegate: bool):
    """Return an allocated LiteRT interpreter; a `UserError` when the file is refused."""
    import os

    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    source = {"model_content": path} if isinstance(path, bytes) else {"model_path": str(path)}
    name = "tflite" if isinstance(path, bytes) else str(path)
    try:
        engine = Interpreter(
            **source,
            num_threads=threads or os.cpu_count(),
            experimental_op_resolver_type=resolver,
        )
        engine.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        with_what = "the default delegate (XNNPACK)" if delegate else "the reference kernels"
        raise UserError(
            f"{name}: {with_what} refused the file: {' '.join(str(error).split())[:300]}."
        ) from error
    return engine


def to_codes(values: np.ndarray, detail: dict) -> np.ndarray:
    """Return float32 values in the integer type of an interpreter tensor (or unchanged)."""
    if not np.issubdtype(detail["dtype"], np.integer):
        return values.astype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    codes = np.rint(values / scale) + zero_point
    return np.clip(codes, limits.min, limits.max).astype(detail["dtype"])


def from_codes(values: np.ndarray, detail: dict) -> np.ndarray:
    """Return an interpreter tensor's values as float32."""
    if not np.issubdtype(detail["dtype"], np.integer):
        return values.astype(np.float32)
    scale, zero_point = detail["quantization"]
    return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)


def output_error(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> float:
    """Return the largest absolute difference relative to the reference's largest value."""
    worst = 0.0
    for expected, got in zip(reference, outputs, strict=True):
        scale = float(np.max(np.abs(expected))) or 1.0
        worst = max(worst, float(np.max(np.abs(expected - got))) / scale)
    return worst


def signal_to_noise(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> float:
    """Return the signal-to-quantization-noise ratio in dB over all outputs."""
    signal = sum(float(np.sum(np.square(a, dtype=np.float64))) for a in reference)
    noise = sum(
        float(np.sum(np.square(np.subtract(a, b, dtype=np.float64))))
        for a, b in zip(reference, outputs, strict=True)
    )
    return float("inf") if noise == 0 else 10.0 * float(np.log10(max(signal, 1e-30) / noise))
