"""Conv3XC: a 3x3 convolution trained as several and used as one.

C. Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024,
arXiv:2311.12770. Official code: github.com/hongyuanyu/SPAN (Apache-2.0).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import keras
import numpy as np

# The branches, their kernels' sides, and their paths below the layer's name.
BRANCHES = {"sk": 1, "conv.0": 1, "conv.1": 3, "conv.2": 1}


@keras.saving.register_keras_serializable("gossamer")
class Conv3XC(keras.layers.Layer):
    """The training form: a 1x1, 3x3, 1x1 chain of convolutions beside a 1x1 shortcut.

    y = conv.2(conv.1(conv.0(pad(x)))) + sk(x), all with bias and without activation, the zero
    padding before the chain. The chain is linear, so it is multiplied out before the image is
    touched: outputs and gradients are those of the branches at a fifth of their arithmetic.

    Args:
        filters: Output channels.
        gain: How many times wider than input and output the chain is inside.
    """

    def __init__(self, filters: int, gain: int = 2, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("gain", gain)):
            if value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
        self.filters, self.gain = filters, gain

    def build(self, input_shape):
        channels = input_shape[-1]
        widths = {
            "sk": (channels, self.filters),
            "conv.0": (channels, self.gain * channels),
            "conv.1": (self.gain * channels, self.gain * self.filters),
            "conv.2": (self.gain * self.filters, self.filters),
        }
        self.kernels, self.biases = {}, {}
        for name, side in BRANCHES.items():
            bound = 1.0 / math.sqrt(side * side * widths[name][0])  # PyTorch's nn.Conv2d
            variables = {"kernel": (side, side, *widths[name]), "bias": widths[name][1:]}
            made = [
                # Products of small numbers stay in float32 in mixed precision.
                self.add_weight(
                    name=f"{name.replace('.', '_')}_{kind}",
                    shape=shape,
                    initializer=keras.initializers.RandomUniform(-bound, bound),
                    autocast=False,
                )
                for kind, shape in variables.items()
            ]
            self.kernels[name], self.biases[name] = made

    def call(self, inputs):
        ops = keras.ops
        first, second, third = (self.kernels[f"conv.{i}"] for i in range(3))
        spread = ops.matmul(second, third[0, 0])  # (3, 3, gain·C, filters)
        kernel = ops.matmul(first[0, 0], spread)
        kernel += ops.pad(self.kernels["sk"], ((1, 1), (1, 1), (0, 0), (0, 0)))
        bias = ops.matmul(self.biases["conv.0"][None], ops.sum(spread, axis=(0, 1)))[0]
        bias += ops.matmul(self.biases["conv.1"][None], third[0, 0])[0]
        bias += self.biases["conv.2"] + self.biases["sk"]
        outputs = ops.conv(
            inputs, ops.cast(kernel, inputs.dtype), padding="same", data_format="channels_last"
        )
        return outputs + ops.cast(bias, inputs.dtype)

    def merged(self) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel (3, 3, C, filters) and bias (filters,) of the one equal convolution."""
        state = {}
        for name in BRANCHES:
            kernel = keras.ops.convert_to_numpy(self.kernels[name])
            state[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1)
            state[f"{name}.bias"] = keras.ops.convert_to_numpy(self.biases[name])
        weight, bias = merge_branches(state)
        return weight.transpose(2, 3, 1, 0), bias

    def torch_weights(self) -> dict:
        """Return the branches by the official module paths, without the stale `eval_conv`."""
        found: dict[str, tuple] = {}
        for name in BRANCHES:
            found[f"{name}.weight"] = (self.kernels[name], (2, 3, 1, 0))
            found[f"{name}.bias"] = (self.biases[name], None)
        return found

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "gain": self.gain}


def merge_branches(state: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (O, I, 3, 3) and bias (O,) of the convolution that equals the branches.

    Exact at the border too: the chain sees padding of zeros before its first bias, as in the
    middle of an image of zeros. Products are taken in float64.

    Args:
        state: `sk`, `conv.0`, `conv.1` and `conv.2`, each `.weight` (PyTorch's layout) and `.bias`.
    """
    weight = {name: np.asarray(state[f"{name}.weight"], np.float64) for name in BRANCHES}
    bias = {name: np.asarray(state[f"{name}.bias"], np.float64) for name in BRANCHES}
    first, last = weight["conv.0"][:, :, 0, 0], weight["conv.2"][:, :, 0, 0]
    spread = np.tensordot(last, weight["conv.1"], axes=1)  # (O, gain·I, 3, 3)
    kernel = np.einsum("ompq,mi->oipq", spread, first)
    kernel[:, :, 1, 1] += weight["sk"][:, :, 0, 0]
    offset = spread.sum(axis=(2, 3)) @ bias["conv.0"] + last @ bias["conv.1"]
    offset += bias["conv.2"] + bias["sk"]
    return kernel.astype(np.float32), offset.astype(np.float32)


def split_kernel(
    weight: np.ndarray, bias: np.ndarray, name: str, gain: int = 2
) -> dict[str, np.ndarray]:
    """Return branches that merge to exactly the given convolution and can be trained on.

    The first part of the chain's width carries the kernel between two identities. The rest adds
    nothing yet: where one side of it is zero, the other is random (decided by the layer's name), so
    that the zeros receive a gradient at once and the rest from the second step on.

    Args:
        weight, bias: (O, I, 3, 3) and (O,).
        name: The layer's name.
        gain: That of the `Conv3XC`, at least 1.
    """
    filters, channels = weight.shape[:2]
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def random(outputs: int, inputs: int, side: int) -> np.ndarray:
        bound = 1.0 / math.sqrt(side * side * inputs)
        return rng.uniform(-bound, bound, (outputs, inputs, side, side)).astype(np.float32)

    first = random(gain * channels, channels, 1)
    first[:channels, :, 0, 0] = np.eye(channels)
    second = random(gain * filters, gain * channels, 3)
    second[:filters] = 0.0
    second[:filters, :channels] = weight
    last = np.zeros((filters, gain * filters, 1, 1), np.float32)
    last[:, :filters, 0, 0] = np.eye(filters)
    state = {
        "sk.weight": np.zeros((filters, channels, 1, 1), np.float32),
        "conv.0.weight": first,
        "conv.1.weight": second,
        "conv.2.weight": last,
    }
    biases = {f"{n}.bias": np.zeros(len(state[f"{n}.weight"]), np.float32) for n in BRANCHES}
    return {**state, **biases, "conv.2.bias": np.asarray(bias, np.float32)}
