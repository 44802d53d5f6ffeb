"""The integer arithmetic of XNNPACK's 8-bit kernels, in float tensors that hold integers.

A network of many layers is chaotic at the scale of a step: one value rounded to the other side
moves a quarter of the results of a deep one. What Keras simulates therefore rounds as the kernels
do, with their own float32 factors and fixed-point numbers, and not merely to the nearest code.
Codes are counted from the zero point here. The rules are read off XNNPACK's `microparams-init.c`
and, where it has no kernel, TFLite's `common.h`; tests compare with the default delegate.
"""

from __future__ import annotations

import tensorflow as tf

MULTIPLIER_BITS = 20  # of XNNPACK's sums
# The converter widens ranges below 1e-6 by itself, which would undo what is chosen here.
NARROWEST = 1e-5


def step_of(quantizer):
    """Return the scale a file gives an 8-bit range, a float32 scalar; never quite zero."""
    low, high = (
        tf.cast(tf.convert_to_tensor(end), tf.float64)
        for end in (quantizer.minimum, quantizer.maximum)
    )
    return tf.cast(tf.maximum(high - low, NARROWEST) / 255.0, tf.float32)


def zero_of(quantizer, step):
    """Return the signed code that stands for zero in an 8-bit range."""
    return tf.round(-tf.convert_to_tensor(quantizer.minimum) / step) - 128.0


def codes_of(values, step):
    """Return rounded values as codes."""
    return tf.round(values / step)


def requantized(accumulators, bias, source, weight, target):
    """Return the codes a convolution or Dense gives (float32 factor, ties to even).

    Args:
        accumulators: Sums of products of codes, exact in float32 below 2^24.
        bias: float64 whole numbers (channels,), or None.
        source: Step of the input.
        weight: Step of the kernel, scalar or (channels,).
        target: Step of the output.
    """
    if bias is not None:
        accumulators = tf.cast(tf.cast(accumulators, tf.float64) + bias, tf.float32)
    return tf.round(accumulators * (source * weight / target))


def multiplied(left, right, steps, target):
    """Return the codes of a product of two tensors of codes (float32 factor, ties to even)."""
    return tf.round(left * right * (steps[0] * steps[1] / target))


def added(left, right, steps, target):
    """Return the codes of a sum of two tensors of codes (fixed point, ties up).

    Both factors become whole numbers, the larger of 21 bits.
    """
    factors = tf.stack(list(steps)) / target
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.reduce_max(factors), tf.int32), 23) - 127
    unit = tf.pow(tf.constant(2.0, tf.float64), tf.cast(MULTIPLIER_BITS - exponent, tf.float64))
    whole = tf.round(tf.cast(factors, tf.float64) * unit)
    left, right = (tf.cast(codes, tf.float64) for codes in (left, right))
    total = (left * whole[0] + right * whole[1]) / unit
    return tf.cast(tf.floor(total + 0.5), tf.float32)


def converted(codes, ratio):
    """Return codes in another scale, or those of a LeakyReLU's half (factor of 8 bits, ties up).

    Args:
        codes: Of the input.
        ratio: Input step (times the slope) over output step.
    """
    return tf.floor((codes * tf.round(256.0 * ratio) + 128.0) / 256.0)


def rescaled_twice(accumulators, ratio):
    """Return the codes TFLite's own kernels give (a factor of 31 bits, rounded in two steps).

    Args:
        accumulators: Whole numbers.
        ratio: Input steps over output step, a float64 scalar.
    """
    exponent = tf.floor(tf.math.log(ratio) / tf.math.log(tf.constant(2.0, tf.float64))) + 1.0
    whole = tf.round(ratio * tf.pow(tf.constant(2.0, tf.float64), 31.0 - exponent))
    left = tf.pow(tf.constant(2.0, tf.float64), tf.maximum(exponent, 0.0))
    right = tf.pow(tf.constant(2.0, tf.float64), tf.maximum(-exponent, 0.0))
    half = tf.constant(2**31, tf.int64)
    product = tf.cast(tf.cast(accumulators, tf.float64) * left, tf.int64) * tf.cast(whole, tf.int64)
    # Rounded half up, as the doubling high product does; then half away from zero.
    high = tf.cast(tf.math.floordiv(product + half // 2, half), tf.float64)
    return tf.cast(tf.sign(high) * tf.floor(tf.abs(high) / right + 0.5), tf.float32)


def channel_mean(codes, zero, source, target):
    """Return the codes of the mean over the last axis (float32, ties to even).

    The kernel adds up stored codes and takes away what the zero points among them come to, after
    both were multiplied: near a tie it matters.
    """
    count = tf.cast(tf.shape(codes)[-1], tf.float32)
    factor = source / target * (1.0 / count)
    stored = tf.reduce_sum(codes, axis=-1, keepdims=True) + count * zero
    return tf.round(stored * factor + -zero * count * factor)


def softmax(codes, steps, target):
    """Return the codes TFLite's own kernel gives: a table of exponentials, float32, ties up."""
    below = tf.reduce_max(codes, axis=-1, keepdims=True) - codes
    exponents = tf.cast(-steps[0] * below, tf.float64)
    powers = tf.cast(tf.exp(exponents), tf.float32)  # as exactly as the table's expf
    total = tf.cumsum(powers, axis=-1)[..., -1:]  # one after the other, as the kernel adds
    return tf.floor(powers * (1.0 / (total * target)) + 0.5)


def inverse_root(codes, steps, target):
    """Return the codes TFLite's own kernel gives for 1 / sqrt(x): whole numbers of 20 bits."""
    source, target = (tf.cast(step, tf.float64) for step in (*steps, target))
    roots = tf.round(2.0**20 * tf.math.rsqrt(tf.maximum(tf.cast(codes, tf.float64), 1.0)))
    found = rescaled_twice(roots, 2.0**-20 / (tf.sqrt(source) * target))
    return tf.where(codes < 0.5, 255.0, found)
