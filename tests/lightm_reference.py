"""LightM-UNet written out in NumPy, channels first, with PyTorch's names: the networks' definition.

It knows nothing of layers and graphs, loops over the sequence, and computes in the precision of its
parameters, so that float64 shows what a float32 network can be expected to meet.
"""

from __future__ import annotations

import math

import numpy as np

GROUPS = 8
STATES = 16
EPSILON = 1e-5


def forward(state: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """Return logits and the stages' outputs for an input (N, C, …)."""
    found, skips = {}, []
    x = _pointwise(state, "convInit.1.conv", _depthwise(state, "convInit.0.conv", x))
    for stage in range(4):
        name = f"down_layers.{stage}"
        if stage:
            x = _pool(_mamba_layer(state, f"{name}.0.0", x))
        block = 1
        while f"{name}.{block}.norm1.weight" in state:
            y = x
            for i in (1, 2):
                y = _relu(_group_norm(state, f"{name}.{block}.norm{i}", y))
                y = _mamba_layer(state, f"{name}.{block}.conv{i}", y)
            x, block = x + y, block + 1
        found[f"down{stage}"] = x
        skips.append(x)
    skips.pop()
    for i in range(3):
        x = _enlarge(_pointwise(state, f"up_samples.{i}.0.conv", x)) + skips.pop()
        name = f"up_layers.{i}.0"
        y = _depthwise(state, f"{name}.conv.0.conv", _relu(_group_norm(state, f"{name}.norm1", x)))
        x = _pointwise(state, f"{name}.conv.1.conv", y) + state[f"{name}.skip_scale"] * x
        x = _relu(_group_norm(state, f"{name}.norm2", x))
        found[f"up{i}"] = x
    x = _depthwise(state, "conv_final.2.0.conv", _relu(_group_norm(state, "conv_final.0", x)))
    found["logits"] = _pointwise(state, "conv_final.2.1.conv", x)
    return found


def _mamba_layer(state, name, x):
    tokens = np.moveaxis(x.reshape(*x.shape[:2], -1), 1, 2)
    branch = _mamba(state, f"{name}.mamba", _layer_norm(state, f"{name}.norm", tokens))
    y = _layer_norm(state, f"{name}.norm", branch + state[f"{name}.skip_scale"] * tokens)
    y = y @ state[f"{name}.proj.weight"].T + state[f"{name}.proj.bias"]
    return np.moveaxis(y, 2, 1).reshape(len(x), -1, *x.shape[2:])


def _mamba(state, name, x):
    rank = math.ceil(x.shape[-1] / 16)
    u, gate = np.split(x @ state[f"{name}.in_proj.weight"].T, 2, axis=-1)
    kernel = state[f"{name}.conv1d.weight"][:, 0]
    padded = np.pad(u, ((0, 0), (3, 0), (0, 0)))
    u = state[f"{name}.conv1d.bias"] + sum(
        kernel[:, j] * padded[:, j : j + x.shape[1]] for j in range(4)
    )
    u = _silu(u)
    joined = u @ state[f"{name}.x_proj.weight"].T
    steps, b, c = np.split(joined, (rank, rank + STATES), axis=-1)
    steps = steps @ state[f"{name}.dt_proj.weight"].T + state[f"{name}.dt_proj.bias"]
    steps, rates = np.logaddexp(0, steps), -np.exp(state[f"{name}.A_log"])
    hidden, y = np.zeros((len(x), *rates.shape), x.dtype), np.empty_like(u)
    for t in range(x.shape[1]):
        enters = (steps[:, t] * u[:, t])[..., None] * b[:, t, None]
        hidden = np.exp(steps[:, t, :, None] * rates) * hidden + enters
        y[:, t] = (hidden * c[:, t, None]).sum(axis=-1)
    y = (y + state[f"{name}.D"] * u) * _silu(gate)
    return y @ state[f"{name}.out_proj.weight"].T


def _layer_norm(state, name, x):
    return _normal(x, -1) * state[f"{name}.weight"] + state[f"{name}.bias"]


def _group_norm(state, name, x):
    y = _normal(x.reshape(len(x), GROUPS, -1), -1).reshape(x.shape)
    return y * _channels(state[f"{name}.weight"], x) + _channels(state[f"{name}.bias"], x)


def _normal(x, axis):
    deviation = np.sqrt(x.var(axis=axis, keepdims=True) + x.dtype.type(EPSILON))
    return (x - x.mean(axis=axis, keepdims=True)) / deviation


def _channels(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def _silu(x):
    return x / (1 + np.exp(-x))


def _relu(x):
    return np.maximum(x, 0)


def _pointwise(state, name, x):
    weight = state[f"{name}.weight"]
    y = np.moveaxis(np.tensordot(weight.reshape(weight.shape[:2]), x, (1, 1)), 0, 1)
    return y + _channels(state[f"{name}.bias"], x) if f"{name}.bias" in state else y


def _depthwise(state, name, x):
    weight = state[f"{name}.weight"]
    margin = [(0, 0), (0, 0), *[(side // 2, side // 2) for side in weight.shape[2:]]]
    padded, y = np.pad(x, margin), 0
    for place in np.ndindex(weight.shape[2:]):
        window = tuple(slice(i, i + side) for i, side in zip(place, x.shape[2:], strict=True))
        y = y + padded[(..., *window)] * _channels(weight[(slice(None), 0, *place)], x)
    return y + _channels(state[f"{name}.bias"], x) if f"{name}.bias" in state else y


def _pool(x):
    for axis in range(2, x.ndim):
        pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
        x = pairs.max(axis=axis + 1)
    return x


def _enlarge(x):
    for axis in range(2, x.ndim):
        place = np.arange(x.shape[axis])
        before, after = (np.take(x, np.clip(place + by, 0, place[-1]), axis) for by in (-1, 1))
        pairs = np.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), axis=axis + 1)
        x = pairs.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return x
