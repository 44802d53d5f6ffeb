"""Low-rank updates of frozen convolutions.

X. Chai et al., "Distillation-Supervised Convolutional Low-Rank Adaptation for Efficient Image
Super-Resolution", CVPRW 2025, arXiv:2504.11271; the layout of the update is that of Microsoft's
loralib (E. Hu et al., ICLR 2022, arXiv:2106.09685).
"""

from __future__ import annotations

import math

import keras
import numpy as np

from core.layers.convolution import GroupedConv2D


@keras.saving.register_keras_serializable("gossamer")
class ConvLoRA(GroupedConv2D):
    """A convolution with W + alpha / r · (B·A) for a kernel; only A and B are trained.

    With PyTorch's kernel W (O, I, kh, kw), A is (r·kw, I·kw) and B (O·kh, r·kw); their product is
    read as (O, I, kh, kw) in row-major order, without a transposition. A starts uniform within
    1 / sqrt(I·kw), B at zero, so that an adapted network starts as it was. `kernel` is the sum, so
    whatever reads it (an export, a quantization) sees the merged convolution; files hold W, A and B
    apart, and loading one never adds the update twice.

    Args:
        filters, kernel_size: As of a `Conv2D`, whose other arguments may follow.
        low_rank: r.
        alpha: Numerator of the scale; 2·r by default, as in the official configuration.
    """

    def __init__(
        self, filters: int, kernel_size, *, low_rank: int = 2, alpha: float | None = None, **kwargs
    ):
        super().__init__(filters, kernel_size, **kwargs)
        alpha = 2.0 * low_rank if alpha is None else float(alpha)
        if low_rank < 1 or not 0.0 < alpha < math.inf:
            raise ValueError(
                "`low_rank` and `alpha` must be positive. "
                f"Received: low_rank={low_rank}, alpha={alpha}"
            )
        self.low_rank, self.alpha = int(low_rank), alpha

    def build(self, input_shape):
        super().build(input_shape)
        for variable in (self._kernel, self.bias):
            if variable is not None:
                variable.trainable = False
        height, width = self.kernel_size
        inner = self.low_rank * width
        self.lora_a = self.add_weight(
            name="lora_A",
            shape=(inner, input_shape[-1] * width),
            initializer=self._start(input_shape[-1]),
        )
        self.lora_b = self.add_weight(
            name="lora_B",
            shape=(self.filters // self.groups * height, inner),
            initializer="zeros",
        )

    def _start(self, channels: int) -> keras.initializers.Initializer:
        """Return a fresh initialiser of A: Kaiming uniform with a = sqrt(5)."""
        bound = 1.0 / math.sqrt(channels * self.kernel_size[1])
        return keras.initializers.RandomUniform(-bound, bound)

    @property
    def kernel(self):
        """The kernel in use, W + delta; a tensor, not a variable."""
        base = keras.ops.convert_to_tensor(self._kernel)
        return base + keras.ops.cast(self.delta(), base.dtype)

    @property
    def base_kernel(self):
        """The variable that holds W, (kh, kw, I / groups, O)."""
        return self._kernel

    def delta(self):
        """Return the update of the kernel, in Keras's layout (kh, kw, I / groups, O)."""
        height, width, channels, filters = self._kernel.shape
        product = keras.ops.matmul(self.lora_b, self.lora_a)
        product = keras.ops.reshape(product, (filters, channels, height, width))
        return self.alpha / self.low_rank * keras.ops.transpose(product, (2, 3, 1, 0))

    def merge(self) -> None:
        """Add the update to W and start a new one; the outputs stay the same."""
        self._kernel.assign(self.kernel)
        self.lora_a.assign(self._start(self.lora_a.shape[1] // self.kernel_size[1])(
            self.lora_a.shape
        ))  # fmt: skip
        self.lora_b.assign(np.zeros(self.lora_b.shape))

    def torch_weights(self) -> dict:
        """Return the names of loralib: lora_A and lora_B beside weight and bias."""
        found: dict[str, tuple] = {"weight": (self._kernel, (2, 3, 1, 0))}
        if self.bias is not None:
            found["bias"] = (self.bias, None)
        return {**found, "lora_A": (self.lora_a, None), "lora_B": (self.lora_b, None)}

    def _stored(self) -> list:
        own = [self._kernel, self.bias, self.lora_a, self.lora_b]
        return [variable for variable in own if variable is not None]

    def save_own_variables(self, store):
        # Keras would store the sum, and the next merge would add the update once more.
        for number, variable in enumerate(self._stored()):
            store[str(number)] = variable

    def load_own_variables(self, store):
        for number, variable in enumerate(self._stored()):
            variable.assign(store[str(number)])

    def get_config(self):
        return {**super().get_config(), "low_rank": self.low_rank, "alpha": self.alpha}
