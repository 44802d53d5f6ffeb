"""The selective scan of Mamba: a linear recurrence whose coefficients follow from the input.

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752.
Official code: github.com/state-spaces/mamba (Apache-2.0), whose kernels are for CUDA only; here it
is plain operators, for every device and for files of builtin operators.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

LONGEST_CHUNK = 16
RADIX = 8  # chunks whose ends are carried over one after the other
# How many values of states the gradient computes again at a time: 64 MiB, and as much of decays.
STATES_AT_A_TIME = 2**24
# artanh(r) / r as a polynomial of r² up to 1/9, the highest power first; wrong by 4e-9 at most.
ARTANH = (0.14078889, 0.13982579, 0.20012298, 0.33333161, 1.0)


def selective_scan(u, delta, a, b, c, *, chunk: int | None = None):
    """Return y with y_t = c_t · h_t and h_t = exp(delta_t · a) · h_{t-1} + delta_t · u_t · b_t.

    Every one of E channels has a state h of N values, which starts at zero. The sequence is cut
    into chunks: a step is taken in all chunks at once, what the chunks end with is carried over in
    log2(chunks) rounds, and what a chunk starts with adds c_t · exp(a · sum of delta) · h to its
    outputs. That is the loop over t exactly; all factors are at most 1, so nothing overflows.

    The gradient is the same recurrence from the other end. It computes states again, some chunks
    at a time, so memory grows with L · E, not with L · E · N.

    Args:
        u: Input, float32 (B, L, E).
        delta: Step sizes, float32 (B, L, E), not negative.
        a: Rates, float32 (E, N), not positive.
        b, c: Weights into and out of the state, float32 (B, L, N).
        chunk: Steps of a chunk; None takes `chunk_length`.

    Returns:
        y, float32 (B, L, E).
    """
    chunk = chunk or chunk_length(u.shape[1])

    @tf.custom_gradient
    def run(delta, values, a, b, c):
        cut = _Cut(delta, chunk)
        y, starts = _scan(cut, delta, values, a, b, c)

        def gradient(upstream):
            return _gradients(cut, delta, values, a, b, c, upstream, starts)

        return y, gradient

    return run(delta, delta * u, tf.transpose(a), b, c)


def chunk_length(length: int | None) -> int:
    """Return how many steps a chunk of a sequence has, as measured.

    Every step is 14 operators of the graph, so short sequences have short chunks.
    """
    return LONGEST_CHUNK if length is None else max(1, min(LONGEST_CHUNK, length // 128))


class _Cut:
    """Cuts sequences into chunks; what is missing at the end is zeros, which change no state."""

    def __init__(self, sequence, chunk: int):
        self.batch, self.length = (
            tf.shape(sequence)[axis] if sequence.shape[axis] is None else sequence.shape[axis]
            for axis in (0, 1)
        )
        self.chunk, self.chunks = chunk, -(-self.length // chunk)

    def chunked(self, sequence):
        """Return (B, M, T, K) of (B, L, K): M chunks of T steps."""
        sequence = _longer(sequence, self.chunks * self.chunk - self.length)
        return tf.reshape(sequence, (self.batch, self.chunks, self.chunk, sequence.shape[-1]))

    def whole(self, chunks):
        """Return (B, L, K) of (B, M, T, K), or of anything in that order."""
        length = self.chunks * self.chunk
        sequence = tf.reshape(chunks, (self.batch, length, chunks.shape[-1]))
        whole = isinstance(length, int) and length == self.length
        return sequence if whole else sequence[:, : self.length]


def _steps(chunks, axis: int):
    """Return the T steps (…, 1, K) or, for axis -1, (…, K, 1) of (…, T, K)."""
    return tf.unstack(tf.expand_dims(chunks, axis), axis=len(chunks.shape) - 2)


def _after(value):
    """Return a context whose operators wait for a value.

    A graph runs whatever it has the inputs for: the decays of all steps at once, which are as many
    numbers as all states. In files, which run in order, this is nothing.
    """
    return tf.control_dependencies([value])


def _longer(x, by):
    """Fill axis 1 up with zeros."""
    if isinstance(by, int) and by == 0:
        return x
    return tf.pad(x, [(0, 0), (0, by), *[(0, 0)] * (len(x.shape) - 2)])


def _scan(cut: _Cut, delta, values, a, b, c):
    """Return y (B, L, E) and the states (B, M, N, E) that the chunks start with."""
    delta, values = (_steps(cut.chunked(x), -2) for x in (delta, values))
    b, c = (_steps(cut.chunked(x), -1) for x in (b, c))
    state, since = values[0] * b[0], [delta[0]]
    outputs = [tf.reduce_sum(state * c[0], axis=-2)]
    for t in range(1, cut.chunk):
        with _after(outputs[-1]):
            state = tf.exp(delta[t] * a) * state + values[t] * b[t]
            outputs.append(tf.reduce_sum(state * c[t], axis=-2))
        since.append(since[-1] + delta[t])
    if isinstance(cut.chunks, int) and cut.chunks == 1:
        return cut.whole(tf.stack(outputs, axis=2)), tf.zeros_like(state)
    last = tf.exp(since[-1] * a)
    starts = _later(_carried(last, state), 1)
    for t, passed in enumerate(since):
        with _after(outputs[t - 1] if t else starts):
            decay = last if t == cut.chunk - 1 else tf.exp(passed * a)
            outputs[t] += tf.reduce_sum(decay * starts * c[t], axis=-2)
    return cut.whole(tf.stack(outputs, axis=2)), starts


def _later(chunks, by):
    """Move (B, M, …) by some chunks towards the end of axis 1, and fill up with zeros."""
    return tf.pad(chunks[:, :-by], ((0, 0), (by, 0), (0, 0), (0, 0)))


def _carried(decay, state):
    """Return h of axis 1 with h_m = decay_m · h_{m-1} + state_m; h of before the first is zero."""
    count = decay.shape[1]
    if count is not None and count > 2 * RADIX:
        return _carried_by_groups(decay, state)

    def double(by, decay, state):
        """Let every entry take in as many of its forerunners as it holds already."""
        state = state + decay * _later(state, by)
        return 2 * by, decay * _later(decay, by), state

    if count is None:
        count = tf.shape(decay)[1]
        return tf.while_loop(
            lambda by, *_: by < count,
            double,
            (tf.constant(1), decay, state),
            (tf.TensorShape(()), decay.shape, state.shape),
        )[2]
    by = 1
    while by < count:
        by, decay, state = double(by, decay, state)
    return state


def _carried_by_groups(decay, state):
    """Return the same: within groups first, then over the groups' ends."""
    _, count, *rest = decay.shape
    groups = -(-count // RADIX)
    decays, states = (
        tf.unstack(
            tf.reshape(_longer(x, groups * RADIX - count), (-1, groups, RADIX, *rest)), axis=2
        )
        for x in (decay, state)
    )
    for t in range(1, RADIX):
        states[t] += decays[t] * states[t - 1]
        decays[t] *= decays[t - 1]
    starts = _later(_carried(decays[-1], states[-1]), 1)
    states = tf.stack([s + d * starts for s, d in zip(states, decays, strict=True)], axis=2)
    return tf.reshape(states, (-1, groups * RADIX, *rest))[:, :count]


def _gradients(cut: _Cut, delta, values, a, b, c, upstream, starts):
    """Return the gradients of delta, values, a, b and c; `starts` are the chunks' first states.

    The states' gradient g is c_t · dy_t + exp(delta_{t+1} · a) · g_{t+1}: first what arrives at the
    ends of the chunks, then each chunk by itself.
    """
    delta, values, b, c, upstream = (cut.chunked(x) for x in (delta, values, b, c, upstream))
    since = leaving = tf.zeros(())
    for t in range(cut.chunk):
        with _after(leaving):  # the slices too are copies
            since = since + delta[:, :, t : t + 1]
            change = c[:, :, t, :, None] * upstream[:, :, t : t + 1]
            leaving = leaving + tf.exp(since * a) * change
    backwards = (tf.reverse(x, (1,)) for x in (tf.exp(since * a), leaving))
    arriving = tf.reverse(_later(_carried(*backwards), 1), (1,))

    rows = [
        tf.reshape(x, (-1, *x.shape[2:])) for x in (delta, values, b, c, upstream, starts, arriving)
    ]
    at_a_time = max(1, STATES_AT_A_TIME // (cut.chunk * a.shape[0] * a.shape[1]))
    of_rates, *found = _gradients_by_groups(a, rows, at_a_time)
    of_delta, of_values, of_b, of_c = (cut.whole(x) for x in found)
    return of_delta, of_values, of_rates, of_b, of_c


def _chunk_gradients(a, delta, values, b, c, upstream, state, arriving):
    """Return the gradients of a, delta, values, b and c of some chunks.

    Args:
        a: (N, E).
        delta, values, upstream: (R, T, E).
        b, c: (R, T, N).
        state: What the chunks start with, (R, N, E).
        arriving: The gradient of what they end with, (R, N, E).
    """
    delta, values, upstream = (_steps(x, -2) for x in (delta, values, upstream))
    b, c = _steps(b, -1), _steps(c, -1)
    states, decays = [state], []
    for t in range(len(delta)):
        decays.append(tf.exp(delta[t] * a))
        states.append(decays[t] * states[t] + values[t] * b[t])
    found, of_rates = [], 0.0
    for t in reversed(range(len(delta))):
        change = arriving + upstream[t] * c[t]
        arriving = change * decays[t]
        exponent = arriving * states[t]
        of_rates = of_rates + exponent * delta[t]
        found.append(
            (
                tf.reduce_sum(exponent * a, axis=-2),
                tf.reduce_sum(change * b[t], axis=-2),
                tf.reduce_sum(change * values[t], axis=-1),
                tf.reduce_sum(upstream[t] * states[t + 1], axis=-1),
            )
        )
    steps = (tf.stack(parts, axis=1) for parts in zip(*reversed(found), strict=True))
    return tf.reduce_sum(of_rates, axis=0), *steps


def _gradients_by_groups(a, rows, at_a_time: int):
    """Return what `_chunk_gradients` gives for chunks (R, …), called for some at a time."""
    count = rows[0].shape[0]
    if count is not None and count <= at_a_time:
        return _chunk_gradients(a, *rows)
    count = tf.shape(rows[0])[0]
    of_rows = [
        tf.TensorArray(tf.float32, 0, True, infer_shape=False, element_shape=(None, *x.shape[1:]))
        for x in rows[:4]  # delta, values, b, c
    ]

    def group(number, of_rates, *of_rows):
        begin = number * at_a_time
        found = _chunk_gradients(a, *(x[begin : begin + at_a_time] for x in rows))
        written = (parts.write(number, x) for parts, x in zip(of_rows, found[1:], strict=True))
        return number + 1, of_rates + found[0], *written

    _, of_rates, *of_rows = tf.while_loop(
        lambda number, *_: number * at_a_time < count,
        group,
        (tf.constant(0), tf.zeros_like(a), *of_rows),
        parallel_iterations=1,  # one group's states in memory
    )
    return of_rates, *(parts.concat() for parts in of_rows)


@keras.saving.register_keras_serializable("gossamer")
class SelectiveScan(keras.layers.Layer):
    """The selective scan with its own rates: y = scan(u, softplus(dt), -exp(A_log), b, c) + D · u.

    Called with [u, dt, b, c]: u and dt (B, …, E), b and c (B, …, N); the positions between first
    and last axis are the sequence, row by row. Weights are Mamba's `A_log` (E, N), which starts as
    log(1..N) for every channel, and `D` (E,), which starts as ones.

    It computes in float32 whatever the precision: the state adds up over the whole sequence.

    Args:
        chunk: Steps of a chunk; None takes `chunk_length`.
    """

    always_float = True  # in quantized networks too: few bits of a state drift over a sequence

    def __init__(self, chunk: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if chunk is not None and chunk < 1:
            raise ValueError(f"`chunk` must be a positive integer. Received: chunk={chunk}")
        self.chunk = chunk

    def build(self, input_shape):
        u, dt, b, c = (tuple(shape) for shape in input_shape)
        known = u[-1] is not None and b[-1] is not None
        if len(u) < 3 or not known or u != dt or b != c or u[:-1] != b[:-1]:
            raise ValueError(
                "The inputs must be [u, dt, b, c] with u and dt (B, …, E), b and c (B, …, N). "
                f"Received: input_shape={[u, dt, b, c]}"
            )
        own = {"autocast": False}  # small differences of rates count over long sequences
        shape = (u[-1], b[-1])
        self.rates = self.add_weight(name="A_log", shape=shape, initializer=log_of_numbers, **own)
        self.skip = self.add_weight(name="D", shape=shape[:1], initializer="ones", **own)

    def call(self, inputs):
        u, dt, b, c = (as_sequence(tf.cast(x, tf.float32)) for x in inputs)
        rates = -tf.exp(tf.convert_to_tensor(self.rates))
        y = selective_scan(u, softplus(dt), rates, b, c, chunk=self.chunk)
        y = y + u * tf.convert_to_tensor(self.skip)
        return tf.cast(tf.reshape(y, shape_of(inputs[0])), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def torch_weights(self) -> dict:
        """Return the published names."""
        return {"A_log": (self.rates, None), "D": (self.skip, None)}

    def get_config(self):
        return {**super().get_config(), "chunk": self.chunk}


def log_of_numbers(shape, dtype=None):
    """Return log(1..N) for each of E channels: the start of `A_log` (S4D-Real)."""
    numbers = np.log(np.arange(1, shape[1] + 1, dtype=np.float32))
    return keras.ops.convert_to_tensor(np.broadcast_to(numbers, shape), dtype or "float32")


@tf.custom_gradient
def softplus(x):
    """Return log(1 + exp(x)), float32, to all digits in files too.

    The converter makes EXP, ADD, LOG of `tf.nn.softplus`: infinite above 88, and at -9, a common
    step size, it has three digits left. Here log(1 + z) = 2 artanh(z / (2 + z)).
    """
    z = tf.exp(-tf.abs(x))
    ratio = z / (2.0 + z)  # at most 1/3
    square = ratio * ratio
    series = ARTANH[0]
    for coefficient in ARTANH[1:]:
        series = series * square + coefficient
    return tf.nn.relu(x) + 2.0 * ratio * series, lambda upstream: upstream * tf.sigmoid(x)


def as_sequence(x):
    """Return (B, L, K) of (B, …, K), position by position as they lie in memory."""
    sides = x.shape[1:-1]
    length = -1 if None in sides else math.prod(sides)
    batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    return tf.reshape(x, (batch, length, x.shape[-1]))


def shape_of(x):
    """Return a tensor's shape as far as it is known: numbers, or a tensor where some are not."""
    return tf.shape(x) if None in x.shape else x.shape
