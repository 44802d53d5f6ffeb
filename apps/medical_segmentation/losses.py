"""Losses of medical segmentation, each as its published training script has it.

Of the MK-UNet family (M. M. Rahman, R. Marculescu, arXiv:2509.18493) `StructureLoss` is for one
binary output, `CrossEntropyDiceLoss` for several classes, and `MultiHeadLoss` for several classes
with the auxiliary heads. `BinaryCrossEntropyDiceLoss` is Barlow-Swin's (arXiv:2509.06885),
`CrossEntropySoftDiceLoss` nnU-Net's, which trained LightM-UNet. All take logits, channels last, and
compute in float32 whatever the model's precision.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import keras
from keras import ops

WINDOW = 31
SUPERVISIONS = ("mutation", "deep_supervision")
CLIPPED_LOGIT = math.log(1e7 - 1)  # of a probability of 1 - 1e-7


def edge_weights(mask, *, boundary: float = 5.0):
    """Return 1 + `boundary` * |local mean - mask|: up to 1 + `boundary` at edges, 1 far from them.

    The local mean is over 31x31 pixels, zeros beyond the image counted: the divisor is always 961,
    which "same" average pooling in Keras does not do.

    Args:
        mask: float32 (N, H, W, C) in [0, 1].
        boundary: Weight of the edge term.

    Returns:
        float32 (N, H, W, C).
    """
    # Differences of running sums: exact for masks of 0 and 1, and 0.04 s for 16 masks of 256x256 on
    # two cores, where a 31x31 average pooling took seconds.
    local = mask
    for axis in (1, 2):
        length = ops.shape(local)[axis]
        margin = [[0, 0]] * 4
        margin[axis] = [WINDOW // 2 + 1, WINDOW // 2]
        sums = ops.cumsum(ops.pad(local, margin), axis=axis)
        ends = (slice(None),) * axis
        local = sums[(*ends, slice(WINDOW, None))] - sums[(*ends, slice(None, length))]
    return 1.0 + boundary * ops.abs(local / WINDOW**2 - mask)


def structure_terms(mask, logits, *, boundary: float = 5.0):
    """Return the two terms of the structure loss for each image.

    Args:
        mask: float32 (N, H, W, C) in [0, 1].
        logits: float32 (N, H, W, C).
        boundary: As in `edge_weights`.

    Returns:
        Weighted BCE, sum(w * bce) / sum(w), and weighted IoU loss,
        1 - (sum(w p m) + 1) / (sum(w (p + m)) - sum(w p m) + 1), each float32 (N, C).
    """
    weights = edge_weights(mask, boundary=boundary)
    entropy = ops.binary_crossentropy(mask, logits, from_logits=True)
    wbce = ops.sum(weights * entropy, axis=(1, 2)) / ops.sum(weights, axis=(1, 2))
    probability = ops.sigmoid(logits)
    common = ops.sum(weights * probability * mask, axis=(1, 2))
    both = ops.sum(weights * (probability + mask), axis=(1, 2))
    return wbce, 1.0 - (common + 1.0) / (both - common + 1.0)


def cross_entropy_dice(
    labels, logits, *, ce_weight: float = 0.3, dice_weight: float = 0.7, smooth: float = 1e-5
):
    """Return `ce_weight` * CE + `dice_weight` * Dice loss of a batch, a float32 scalar.

    CE is the mean over all pixels. The Dice loss is taken per class over the whole batch, with p
    the softmax and y the one-hot truth, 1 - (2 sum(p y) + smooth) / (sum(p^2) + sum(y^2) + smooth),
    and averaged over all classes, background included. A class that is absent from the batch and
    predicted nowhere has loss 0.

    Args:
        labels: int32 (N, H, W) class indices in 0..C-1.
        logits: float32 (N, H, W, C).
        ce_weight: Weight of the cross-entropy.
        dice_weight: Weight of the Dice loss.
        smooth: Added to numerator and denominator of the Dice.
    """
    truth = ops.one_hot(labels, logits.shape[-1], dtype="float32")
    log_probability = ops.log_softmax(logits, axis=-1)
    entropy = -ops.mean(ops.sum(truth * log_probability, axis=-1))
    probability = ops.exp(log_probability)
    common = ops.sum(probability * truth, axis=(0, 1, 2))
    both = ops.sum(ops.square(probability), axis=(0, 1, 2)) + ops.sum(truth, axis=(0, 1, 2))
    dice = ops.mean(1.0 - (2.0 * common + smooth) / (both + smooth))
    return ce_weight * entropy + dice_weight * dice


@keras.saving.register_keras_serializable("gossamer")
class StructureLoss(keras.losses.Loss):
    """Weighted BCE + weighted IoU with more weight near edges, for binary masks.

    Takes `y_true` (N, H, W, C) or, with one channel, (N, H, W), of any dtype with values in [0, 1],
    and `y_pred` logits (N, H, W, C), each channel a mask of its own. `call` returns one value per
    image, float32 (N,), the mean over its channels; the reduction's mean over the batch is the
    published loss.

    Args:
        boundary: Weight of the edge term; 0 leaves plain BCE + IoU.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    def __init__(
        self,
        *,
        boundary: float = 5.0,
        name: str = "structure_loss",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if boundary < 0:
            raise ValueError(f"`boundary` must not be negative. Received: boundary={boundary}")
        self.boundary = boundary

    def call(self, y_true, y_pred):
        logits = ops.cast(y_pred, "float32")
        mask = ops.cast(y_true, "float32")
        if len(mask.shape) == len(logits.shape) - 1:
            mask = ops.expand_dims(mask, -1)
        wbce, wiou = structure_terms(mask, logits, boundary=self.boundary)
        return ops.mean(wbce + wiou, axis=-1)

    def get_config(self):
        return {**super().get_config(), "boundary": self.boundary}


@keras.saving.register_keras_serializable("gossamer")
class BinaryCrossEntropyDiceLoss(keras.losses.Loss):
    """0.5 binary cross-entropy + 0.5 (1 - Dice) of one foreground, as Barlow-Swin is fine-tuned.

    Takes `y_true` (N, H, W, 1), of any dtype with values in [0, 1], and `y_pred` logits of the same
    shape. The cross-entropy, of probabilities clipped to [1e-7, 1 - 1e-7], is the mean over all
    pixels; the Dice, (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth), is one number for the
    whole batch, so `call` returns a scalar.

    Args:
        smooth: Smoothing of the Dice.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    def __init__(
        self,
        *,
        smooth: float = 1e-6,
        name: str = "bce_dice",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if smooth <= 0:
            raise ValueError(f"`smooth` must be positive. Received: smooth={smooth}")
        self.smooth = smooth

    def call(self, y_true, y_pred):
        mask, logits = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        clipped = ops.clip(logits, -CLIPPED_LOGIT, CLIPPED_LOGIT)
        entropy = ops.mean(ops.binary_crossentropy(mask, clipped, from_logits=True))
        probability = ops.sigmoid(logits)
        common, both = ops.sum(probability * mask), ops.sum(probability) + ops.sum(mask)
        dice = (2.0 * common + self.smooth) / (both + self.smooth)
        return 0.5 * entropy + 0.5 * (1.0 - dice)

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth}


@keras.saving.register_keras_serializable("gossamer")
class CrossEntropyDiceLoss(keras.losses.Loss):
    """0.3 cross-entropy + 0.7 Dice (see `cross_entropy_dice`) of one multi-class output.

    Takes `y_true` class indices (N, H, W) or (N, H, W, 1) in 0..C-1 and `y_pred` logits
    (N, H, W, C). The Dice is one number for the whole batch, so `call` returns a scalar: weights
    per sample would only scale it, and each replica of a distributed training has its own.

    Args:
        ce_weight: Weight of the cross-entropy.
        dice_weight: Weight of the Dice loss.
        smooth: Smoothing of the Dice.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    def __init__(
        self,
        *,
        ce_weight: float = 0.3,
        dice_weight: float = 0.7,
        smooth: float = 1e-5,
        name: str = "cross_entropy_dice",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if smooth <= 0:
            raise ValueError(f"`smooth` must be positive. Received: smooth={smooth}")
        self.ce_weight = ce_weight
        self.dice_weight = dice_weight
        self.smooth = smooth

    def call(self, y_true, y_pred):
        return self._single(_indices(y_true), y_pred)

    def _single(self, labels, logits):
        return cross_entropy_dice(
            labels,
            ops.cast(logits, "float32"),
            ce_weight=self.ce_weight,
            dice_weight=self.dice_weight,
            smooth=self.smooth,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "ce_weight": self.ce_weight,
            "dice_weight": self.dice_weight,
            "smooth": self.smooth,
        }


@keras.saving.register_keras_serializable("gossamer")
class MultiHeadLoss(CrossEntropyDiceLoss):
    """`CrossEntropyDiceLoss` over a network's heads together (EMCAD's supervision).

    Takes `y_true` as there and `y_pred`, the logits of K heads at full size: a list of K tensors
    (N, H, W, C), or one tensor stacked on axis 1, (N, K, H, W, C). A compiled model needs the
    stacked form: Keras calls a loss once per output, and this one needs all heads at once.

    Args:
        supervision: "mutation" sums the loss of the summed logits over all 2^K - 1 non-empty
            subsets of the heads (15 for 4); "deep_supervision" sums it over the single heads.
        **kwargs: As in `CrossEntropyDiceLoss`.
    """

    def __init__(self, supervision: str = "mutation", *, name: str = "multi_head", **kwargs):
        super().__init__(name=name, **kwargs)
        if supervision not in SUPERVISIONS:
            raise ValueError(
                f"`supervision` must be one of {SUPERVISIONS}. Received: supervision={supervision}"
            )
        self.supervision = supervision

    def call(self, y_true, y_pred):
        if not isinstance(y_pred, list | tuple):
            if len(y_pred.shape) != 5 or y_pred.shape[1] is None:
                raise ValueError(
                    "`y_pred` must be a list of heads or have shape (batch, heads, height, width, "
                    f"classes) with a fixed number of heads. Received: {tuple(y_pred.shape)}"
                )
            y_pred = [y_pred[:, k] for k in range(y_pred.shape[1])]
        labels = _indices(y_true)
        heads = [ops.cast(head, "float32") for head in y_pred]
        return sum(self._single(labels, sum(group)) for group in self._groups(heads))

    def _groups(self, heads: Sequence) -> list[tuple]:
        largest = len(heads) if self.supervision == "mutation" else 1
        return [group for size in range(1, largest + 1) for group in combinations(heads, size)]

    def get_config(self):
        return {**super().get_config(), "supervision": self.supervision}


@keras.saving.register_keras_serializable("gossamer")
class CrossEntropySoftDiceLoss(keras.losses.Loss):
    """Cross-entropy + soft Dice of nnU-Net, for images and volumes of two or more classes.

    F. Isensee et al., Nature Methods 2021; official code: github.com/MIC-DKFZ/nnUNet (Apache-2.0).
    Of each class but the background, with p the softmax and y the one-hot truth, the Dice is
    (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth); the loss is the cross-entropy less the mean
    of these, so that it ends at -1.

    Takes `y_true` class indices (N, …) or (N, …, 1) in 0..C-1 and `y_pred` logits (N, …, C).

    Args:
        over_batch: Whether the sums run over the whole batch (nnU-Net's 2d configuration; `call`
            then returns a scalar) or over each sample (its 3d_fullres; `call` returns float32
            (N,)).
        smooth: Smoothing of the Dice.
        name: Name of the loss.
        reduction: As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    def __init__(
        self,
        *,
        over_batch: bool = True,
        smooth: float = 1e-5,
        name: str = "cross_entropy_soft_dice",
        reduction: str = "sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if smooth <= 0:
            raise ValueError(f"`smooth` must be positive. Received: smooth={smooth}")
        self.over_batch, self.smooth = over_batch, smooth

    def call(self, y_true, y_pred):
        axes = tuple(range(0 if self.over_batch else 1, len(y_pred.shape) - 1))
        logits = ops.cast(y_pred, "float32")
        labels = _indices(y_true, len(y_pred.shape))
        truth = ops.one_hot(labels, logits.shape[-1], dtype="float32")
        log_probability = ops.log_softmax(logits, axis=-1)
        entropy = -ops.mean(ops.sum(truth * log_probability, axis=-1), axis=axes)
        truth, probability = truth[..., 1:], ops.exp(log_probability[..., 1:])
        common = ops.sum(probability * truth, axis=axes)
        both = ops.sum(probability, axis=axes) + ops.sum(truth, axis=axes)
        dice = (2.0 * common + self.smooth) / (both + self.smooth)
        return entropy - ops.mean(dice, axis=-1)

    def get_config(self):
        return {**super().get_config(), "over_batch": self.over_batch, "smooth": self.smooth}


def _indices(y_true, rank: int = 4):
    """Class indices as int32 (N, …) for logits of `rank` axes."""
    if len(y_true.shape) == rank:
        if y_true.shape[-1] != 1:
            raise ValueError(
                "`y_true` must hold class indices of shape (batch, *sides) or (batch, *sides, 1). "
                f"Received: shape={tuple(y_true.shape)}"
            )
        y_true = ops.squeeze(y_true, -1)
    return ops.cast(y_true, "int32")
