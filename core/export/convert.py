"""A Keras model becomes the bytes of a TFLite file with builtin operators only.

The model is traced with a fixed batch of one and constants for variables: the converter then folds
batch normalisation, keeps Dense as FULLY_CONNECTED and emits no shape arithmetic. Keras's own
exporter leaves variables, dynamic shapes or Flex operators behind.
"""

from __future__ import annotations

import contextlib
import io as io_module
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from core.errors import UserError


def to_tflite(
    model,
    precision: str = "float32",
    *,
    input_shape: Sequence[int] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    io: str = "float32",
    sparse: bool = False,
    open_size: bool = False,
) -> bytes:
    """Return the TFLite file of a functional Keras model.

    Args:
        model: A model with one input; for "int8" one with fake quantizers
            (`core.compress.quantize`), or any model together with `calibration`, which then goes
            through the converter's own calibrator.
        precision: One of `core.export.PRECISIONS`; "dynamic" and "weight_only" hold int8 kernels
            and compute with activations quantized on the fly, or in float.
        input_shape: (*sides, C) where the model's input leaves sizes open.
        calibration: float32 inputs (*sides, C) for "int16x8", and for the converter's own int8.
        io: Types of the file's input and output for "int8": float32, uint8 or int8.
        open_size: Whether the sides of the file's input are open (`resize_tensor_input`); the
            model's own must be.
        sparse: Whether kernels with many zeros are stored without them, in float32 and float16;
            `core.export.sparse` also checks what becomes of the file.

    Raises:
        UserError: When the network needs operators that TFLite does not have built in.
    """
    import tensorflow as tf

    from core.export.align import align_channels
    from core.layers.pixel_shuffle import transposing

    model = computed_network(model, precision)
    if precision == "weight_only":
        content = to_tflite(model, "float32", input_shape=input_shape, open_size=open_size)
        return _with_integer_weights(content)
    if precision in ("float32", "float16"):
        model = align_channels(model)
    with transposing() if precision == "int16x8" else contextlib.nullcontext():
        function = freeze(model, input_shape, open_size=open_size)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif precision in ("int8", "int16x8"):
        if calibration is not None:
            samples = [np.asarray(sample, np.float32)[None] for sample in calibration]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
        elif precision == "int16x8":
            raise ValueError("int16x8 needs `calibration`.")
        if precision == "int16x8":
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,  # SQRT has no form of 16 bits: it stays in float
            ]
        elif calibration is not None:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if precision == "int8":
            converter.inference_input_type = tf.as_dtype(io)
            converter.inference_output_type = tf.as_dtype(io)
    if sparse:
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    try:
        with _quiet():
            return converter.convert()
    except Exception as error:
        raise UserError(
            f"{model.name}: cannot be converted to {precision} with builtin operators: "
            f"{_reason(error)}."
        ) from error


def computed_network(model, precision: str):
    """Return the Keras model whose outputs a file of a precision computes.

    A float model is itself; one with fake quantizers becomes its integer form for "int8", plain
    layers with rounded kernels where only kernels are integers, else plain float layers.
    """
    from core.compress.integer import float_form, integer_form
    from core.compress.quantize import is_quantized

    if not is_quantized(model):
        return model
    if precision == "int8":
        return integer_form(model)[0]
    return float_form(model, rounded=precision in ("int16x8", "weight_only"))


def _with_integer_weights(content: bytes) -> bytes:
    """Return a float file with int8 kernels (per channel), made float again when it is loaded."""
    from litert_quantizer import quantizer, recipe

    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(content)
        file.flush()
        with _quiet(), contextlib.redirect_stdout(io_module.StringIO()):
            tool = quantizer.Quantizer(file.name)
            tool.load_quantization_recipe(recipe.weight_only_wi8_afp32())
            return bytes(tool.quantize().quantized_model)


def freeze(model, input_shape: Sequence[int] | None = None, *, open_size: bool = False):
    """Return the model as a concrete function of batch 1 without variables.

    It is traced with constants in their place; to replace them in a graph takes longer than all
    the rest, and the converter does so with those it finds.
    """
    import keras
    import tensorflow as tf

    from core.compress.tracing import exporting
    from core.layers.convolution import whole_groups

    shape = tuple(input_shape or model.inputs[0].shape[1:])
    if open_size:
        shape = (*[None] * (len(shape) - 1), shape[-1])
    elif any(side is None for side in shape):
        raise ValueError(f"`input_shape` must be given for a model with open sizes {shape}.")

    name = "image" if len(shape) == 3 else "input"
    values = [(variable, variable.numpy()) for variable in model.variables]
    signature = [tf.TensorSpec((1, *shape), tf.float32, name=name)]

    @tf.function(input_signature=signature, autograph=False)
    def forward(inputs):
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return keras.tree.flatten(model(inputs, training=False))

    with exporting(), whole_groups():
        return forward.get_concrete_function()


def _reason(error: Exception) -> str:
    """Return the converter's complaint in one line: the operators, if it names them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if "Flex ops:" in line or "Custom ops:" in line:
            return line
    for line in lines:
        if "error: " in line:
            return line.split("error: ", 1)[1][:300]
    return (lines[-1] if lines else type(error).__name__)[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's C++ log off the terminal; it is shown when the conversion fails."""
    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        try:
            os.dup2(log.fileno(), 2)
            yield
        except BaseException:
            os.dup2(saved, 2)
            log.seek(0)
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
