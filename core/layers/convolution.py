"""PyTorch's convolutions: its padding, its start, and the names its modules give.

A published `nn.Sequential(conv, norm, act)` called `stem` has parameters `stem.0.*` and `stem.1.*`;
the layers made here carry those names, so a checkpoint loads by name.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import keras
import numpy as np

# PyTorch's BatchNorm2d: eps 1e-5, momentum 0.1 (Keras counts the other way round).
BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}
# Most channels of a group that is computed by the pair of operators below. Between the two are as
# many times its outputs: of groups of 168 channels (RegNet) they would be gigabytes.
MOST_PAIRED = 16
_WHOLE: list[bool] = []


@keras.saving.register_keras_serializable("gossamer")
class GroupedConv2D(keras.layers.Conv2D):
    """A grouped convolution that is quick where grouped kernels are not.

    Weights and results are those of `keras.layers.Conv2D(groups=…)`. It is computed as a depthwise
    convolution followed by a pointwise sum over each group's inputs: on the CPU TensorFlow has no
    gradient for the grouped kernel (Keras compiles each one with XLA, which takes a minute and is
    some twenty times slower), and in TFLite the pair of builtin operators is two to eight times
    faster than one grouped CONV_2D when groups are narrow (benchmarks/grouped_convolution.py).
    Groups of more than `MOST_PAIRED` channels are computed one after the other, and are one grouped
    CONV_2D in TFLite.
    """

    @property
    def paired(self) -> bool:
        """Whether it is computed as two operators; once it is built."""
        return self.groups > 1 and self.kernel.shape[2] <= MOST_PAIRED

    def convolution_op(self, inputs, kernel):
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        if self.data_format != "channels_last" or self.padding not in ("same", "valid"):
            raise ValueError(
                "Grouped convolution needs channels last and same or valid padding. "
                f"Received: data_format={self.data_format}, padding={self.padding}"
            )
        if not self.paired:
            return group_by_group(self, inputs, kernel)
        x = keras.ops.depthwise_conv(
            inputs,
            self.depthwise_kernel(kernel),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        total = keras.ops.convert_to_tensor(self.group_sum(), dtype=x.dtype)
        return keras.ops.conv(x, total, padding="valid", data_format=self.data_format)

    def depthwise_kernel(self, kernel):
        """Return (kh, kw, C, m) of the grouped kernel (kh, kw, C / groups, groups · m)."""
        *window, width, filters = kernel.shape
        multiplier = filters // self.groups
        kernel = keras.ops.reshape(kernel, (*window, width, self.groups, multiplier))
        kernel = keras.ops.transpose(kernel, (0, 1, 3, 2, 4))
        return keras.ops.reshape(kernel, (*window, self.groups * width, multiplier))

    def group_sum(self) -> np.ndarray:
        """Return the (1, 1, C · m, filters) kernel of ones that adds up each group's inputs."""
        width, multiplier = self.kernel.shape[2], self.filters // self.groups
        one_group = np.tile(np.eye(multiplier, dtype=np.float32), (width, 1))
        return np.kron(np.eye(self.groups, dtype=np.float32), one_group)[None, None]


def group_by_group(layer: keras.layers.Conv2D, inputs, kernel):
    """Return what a grouped convolution's kernel gives, computed one group after the other.

    Args:
        layer: Says groups, strides, padding and dilation.
        inputs: (N, H, W, C).
        kernel: (kh, kw, C / groups, filters).
    """
    window = {
        "strides": list(layer.strides),
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
        "data_format": layer.data_format,
    }
    if _WHOLE:
        return keras.ops.conv(inputs, kernel, **window)
    parts = (keras.ops.split(tensor, layer.groups, axis=-1) for tensor in (inputs, kernel))
    made = [keras.ops.conv(x, own, **window) for x, own in zip(*parts, strict=True)]
    return keras.ops.concatenate(made, axis=-1)


@contextlib.contextmanager
def whole_groups() -> Iterator[None]:
    """Make graphs traced in the block of one grouped convolution where groups are not paired."""
    _WHOLE.append(True)
    try:
        yield
    finally:
        _WHOLE.pop()


def torch_uniform(fan_in: int) -> keras.initializers.Initializer:
    """Return the start of PyTorch's convolutions and nn.Linear: uniform within 1 / sqrt(fan in)."""
    bound = 1.0 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-bound, bound)


def fan_out_normal(*, depthwise: bool = False) -> keras.initializers.Initializer:
    """Return the start torchvision gives its mobile networks: kaiming_normal_ of the fan out.

    Args:
        depthwise: Whether the kernel is a depthwise one. PyTorch counts its channels among the
            outputs of one input channel (the variance is 2 / (kernel area · channels)), and Keras
            among the inputs.
    """
    mode = "fan_in" if depthwise else "fan_out"
    return keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


def convolution(
    x,
    filters: int,
    kernel: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    groups: int = 1,
    dilation: int = 1,
    use_bias: bool = True,
    initializer=None,
    padding: str = "torch",
):
    """Convolve as PyTorch's nn.Conv2d that keeps the size: as many zeros on all sides alike.

    Args:
        x: Features (N, H, W, C).
        filters: Output channels.
        kernel: Side of the window, or (height, width), odd.
        name: The published module's path.
        strides: Of both axes.
        groups: Groups of channels that do not mix.
        dilation: Steps between the window's taps, of both axes; above 1 only with strides of 1.
        use_bias: Whether there is a bias.
        initializer: Of the kernel, the bias is then zero; None starts both as PyTorch does.
        padding: "torch", or Keras's "same" or "valid".
    """
    height, width = pair(kernel)
    x, padding = _padded(x, (height, width), strides, name, padding)
    kind = GroupedConv2D if groups > 1 else keras.layers.Conv2D
    return kind(
        filters,
        (height, width),
        strides=strides,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
        use_bias=use_bias,
        **_start("kernel", height * width * x.shape[-1] // groups, initializer),
        name=name,
    )(x)


def depthwise(
    x,
    kernel: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    use_bias: bool = True,
    initializer=None,
    padding: str = "torch",
):
    """Convolve every channel by itself, otherwise as `convolution`."""
    height, width = pair(kernel)
    x, padding = _padded(x, (height, width), strides, name, padding)
    return keras.layers.DepthwiseConv2D(
        (height, width),
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        **_start("depthwise", height * width, initializer),
        name=name,
    )(x)


def pair(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a window given by its side or by both."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel


def _padded(x, kernel: tuple[int, int], strides: int, name: str, padding: str):
    """Return a tensor and the Keras padding that together pad kernel // 2 on every side."""
    if padding != "torch":
        return x, padding
    if strides == 1:
        return x, "same"
    if kernel == (1, 1):
        return x, "valid"
    # "same" would put all of an even side's padding at its end.
    sides = tuple((side // 2, side // 2) for side in kernel)
    return keras.layers.ZeroPadding2D(sides, name=f"{name}.padding")(x), "valid"


def _start(kind: str, fan_in: int, initializer) -> dict:
    """Return the initialisers of a layer as its arguments; every layer needs ones of its own."""
    if initializer is not None:
        return {f"{kind}_initializer": initializer}
    return {
        f"{kind}_initializer": torch_uniform(fan_in),
        "bias_initializer": torch_uniform(fan_in),
    }


def batch_norm(x, name: str, *, affine: bool = True, **constants):
    """Apply BatchNorm2d with PyTorch's constants, or with others.

    Without `affine` it has no factor and shift.
    """
    options = {**BATCH_NORM, "center": affine, "scale": affine, **constants}
    return keras.layers.BatchNormalization(**options, name=name)(x)


def activate(x, kind: str | None, name: str):
    """Apply an activation by its Keras name ("relu", "relu6", ...), or none (None)."""
    if kind is None:
        return x
    return keras.layers.Activation(kind, name=name)(x)


def conv_norm(
    x,
    filters: int,
    kernel: int | tuple[int, int],
    name: str,
    *,
    activation: str | None = None,
    first: int = 0,
    use_bias: bool = False,
    **options,
):
    """Convolve, normalise, activate: `name.0`, `name.1`, `name.2`.

    Args:
        x, filters, kernel: As of `convolution`.
        name: The published `nn.Sequential`'s path.
        activation: By its Keras name, or None.
        first: Number of the convolution in the `nn.Sequential`.
        use_bias: Whether the convolution has a bias.
        **options: Further ones of `convolution`.
    """
    x = convolution(x, filters, kernel, f"{name}.{first}", use_bias=use_bias, **options)
    return activate(batch_norm(x, f"{name}.{first + 1}"), activation, f"{name}.{first + 2}")


def depthwise_norm(
    x,
    kernel: int | tuple[int, int],
    name: str,
    *,
    activation: str | None = None,
    first: int = 0,
    **options,
):
    """Convolve every channel by itself, normalise, activate; otherwise as `conv_norm`."""
    x = depthwise(x, kernel, f"{name}.{first}", use_bias=False, **options)
    return activate(batch_norm(x, f"{name}.{first + 1}"), activation, f"{name}.{first + 2}")


def linear(x, units: int, name: str, *, use_bias: bool = True, initializer=None):
    """Multiply (N, …, C) by a matrix and shift, started as PyTorch's nn.Linear or as said."""
    start = _start("kernel", x.shape[-1], initializer)
    return keras.layers.Dense(units, use_bias=use_bias, **start, name=name)(x)
