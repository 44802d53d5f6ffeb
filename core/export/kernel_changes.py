"""What was done to a kernel that is not what it should be: turned, swapped, scaled, reordered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

FITTING_ROUNDS, SIGNED_ROUNDS = 6, 40
MOVING_CHANNELS = ("transposed", "ordered")  # changes that put values into other channels
# Factors are fitted step by step; no other kernel of many channels comes as near.
FOLDED_TOLERANCE = 0.02


def relative_error(made: np.ndarray, wanted: np.ndarray) -> float:
    """Return the norm of the difference over that of `wanted`; zeros around either do not count.

    Float files hold depthwise kernels that were widened by channels of zeros.
    """
    made, wanted = common_part(made, wanted)
    if made.shape != wanted.shape:
        return np.inf
    made, wanted = made.astype(np.float64), wanted.astype(np.float64)
    length = np.linalg.norm(wanted)
    error = float(np.linalg.norm(made - wanted) / (length or 1.0))
    return error if np.isfinite(error) else np.inf


def rescaled_error(
    made: np.ndarray, wanted: np.ndarray, channel_axis: int, *, signed: bool = False
) -> float:
    """Return the relative error up to factors of output and input channels, positive or signed."""
    made, wanted = common_part(made, wanted)
    if made.shape != wanted.shape or not np.isfinite(made).all():
        return np.inf
    fitted = wanted
    for axis in (channel_axis, made.ndim - 1) * (SIGNED_ROUNDS if signed else FITTING_ROUNDS):
        factors = channel_factors(made, fitted, axis)
        fitted = scaled(fitted, factors if signed else np.maximum(factors, 0.0), axis)
    return relative_error(fitted, made)


def common_part(made: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two kernels without the zeros that one has around the other's shape."""
    if made.ndim != wanted.ndim or made.shape == wanted.shape:
        return made, wanted
    common = tuple(slice(min(sides)) for sides in zip(made.shape, wanted.shape, strict=True))
    cut = made[common], wanted[common]
    whole = all(
        np.isclose(np.linalg.norm(part), np.linalg.norm(array), rtol=1e-6)
        for part, array in zip(cut, (made, wanted), strict=True)
    )
    return cut if whole else (made, wanted)


def explained(
    kernel: np.ndarray,
    like: np.ndarray,
    channel_axis: int,
    tolerance: float,
    *,
    rescaled: bool = False,
) -> tuple[str, str]:
    """Return what was done to a kernel.

    Args:
        kernel: As it is.
        like: As it should be; both in TFLite's layout, (outputs, inputs) of dense layers.
        channel_axis: The axis of output channels.
        tolerance: Of an explanation, relative to the norm.
        rescaled: Whether positive factors of channels do not count.

    Returns:
        A key of the explanation ("swapped sides", "scaled channels", ...; "other" where nothing
        simple explains it) and the words to follow the layer's name, empty for "other".
    """
    kernel, like = common_part(kernel, like)
    if kernel.shape != like.shape:
        return "shape", f"has a kernel of {_size(kernel)} where the network has {_size(like)}"
    if not np.isfinite(kernel).all():
        return "infinite", "holds values that are no numbers"
    if not kernel.any():
        return "zero", "holds zeros only"
    listed = [c for c in _changes(kernel, like, channel_axis) if c[2].shape == kernel.shape]
    for kind, how, changed in listed:
        error = relative_error(kernel, changed)
        if rescaled and error > tolerance:
            error = rescaled_error(kernel, changed, channel_axis)
        if error <= 2 * tolerance:
            return kind, how
    bound = max(2 * tolerance, FOLDED_TOLERANCE)
    for kind, how, changed in listed:  # before a normalisation was folded into its channels
        if (
            kind in MOVING_CHANNELS
            and min(kernel.shape[channel_axis], kernel[..., 0].size) > 2
            and rescaled_error(kernel, changed, channel_axis, signed=True) <= bound
        ):
            return kind, how
    return "other", ""


def _changes(
    kernel: np.ndarray, like: np.ndarray, out: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (kind, in words, the network's kernel so changed), the simplest first."""
    into = like.ndim - 1 if out != like.ndim - 1 else None
    if like.ndim == 2:
        yield "transposed", "is transposed (inputs and outputs swapped)", like.T
    if like.ndim == 4:
        yield "swapped sides", "has height and width swapped", like.transpose(0, 2, 1, 3)
        yield "turned", "is turned upside down (flipped)", like[:, ::-1, ::-1]
        if into is not None:
            what = "is transposed (inputs and outputs swapped)"
            yield "transposed", what, like.transpose(3, 1, 2, 0)
    if into is not None and like.shape[into] == 3:
        yield "red and blue", "has its red and blue inputs swapped", np.flip(like, into)
    factor = float(np.vdot(kernel, like) / np.vdot(like, like)) if like.any() else 0.0
    if factor > 0:
        yield "scaled", f"is multiplied by {factor:.3g}", like * np.float32(factor)
    for axis, side in ((out, "output"), (into, "input")):
        if axis is None or like.shape[axis] == 1:
            continue
        factors = channel_factors(kernel, like, axis)
        low, high = factors.min(), factors.max()
        how = f"is multiplied by another factor in each {side} channel ({low:.2g} to {high:.2g})"
        kind = "scaled channels" if side == "output" else "scaled inputs"
        yield kind, how, scaled(like, factors, axis)
        order = order_of(kernel, like, axis)
        if order is not None:
            how = f"has its {side} channels in another order"
            yield "ordered", how, np.take(like, order, axis)


def channel_factors(made: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
    """Return the factor of each channel that brings `like` nearest to an array of its shape."""
    rest = tuple(a for a in range(like.ndim) if a != axis % like.ndim)
    power = np.square(like, dtype=np.float64).sum(rest)
    return np.multiply(made, like, dtype=np.float64).sum(rest) / np.where(power > 0, power, 1.0)


def scaled(array: np.ndarray, factors: np.ndarray, axis: int) -> np.ndarray:
    """Return an array with each channel multiplied by its factor."""
    form = [-1 if a == axis % array.ndim else 1 for a in range(array.ndim)]
    return array * factors.astype(np.float32).reshape(form)


def order_of(made: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray | None:
    """Return the order of `like`'s channels in another array.

    Returns:
        For each channel of `made` the one of `like` that points in the same direction, or, under a
        normalisation that turns signs, in the opposite one; None where that is no order, or each
        is in its place.
    """
    first, second = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (made, like))
    units = [a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-30)
             for a in (first, second)]  # fmt: skip
    order = np.abs(units[0] @ units[1].T).argmax(axis=1)
    # Channels of zeros, which a converter adds to some kernels, point nowhere: they fill the rest.
    empty = ~first.any(axis=1)
    order[empty] = np.setdiff1d(np.arange(len(order)), order[~empty])[: empty.sum()]
    is_order = len(set(order.tolist())) == len(order)
    return order if is_order and (order != np.arange(len(order))).any() else None


def _size(kernel: np.ndarray) -> str:
    return "x".join(map(str, kernel.shape))
