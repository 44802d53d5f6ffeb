"""Load a published checkpoint into a Keras model by name, completely or not at all.

Layers are named after the modules of the published PyTorch network, so entry
`encoder1.0.pconv1.0.weight` belongs to layer `encoder1.0.pconv1.0`; `core.checkpoints.layer_kinds`
knows the layouts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from core.checkpoints.layer_kinds import Place, Shape, all_places
from core.errors import UserError

_COUNTERS = r"(.*\.)?num_batches_tracked"
_SHOWN = 10
# What `read` may have taken off, or a publisher put on: the network's own names decide.
_PREFIXES = ("model.", "backbone.", "module.")


@dataclass(frozen=True)
class Report:
    """What became of every entry; names are PyTorch's, shapes in PyTorch's layout.

    Attributes:
        matched: Loaded entries and their shapes.
        missing: Entries the model needs and the checkpoint lacks, with the shape expected.
        unexpected: Entries of the checkpoint the model has no place for.
        mismatched: Entries whose shape differs: (found, expected).
        ignored: Entries skipped on purpose.
    """

    matched: dict[str, Shape] = field(default_factory=dict)
    missing: dict[str, Shape] = field(default_factory=dict)
    unexpected: dict[str, Shape] = field(default_factory=dict)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    ignored: dict[str, Shape] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every entry of both sides found its place."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        kinds = ("matched", "missing", "unexpected", "mismatched", "ignored")
        lines = [", ".join(f"{len(getattr(self, kind))} {kind}" for kind in kinds)]
        lines += _section(
            "Missing (the network needs them)",
            [f"{name} {shape}{self._hint(name)}" for name, shape in _first(self.missing)],
            len(self.missing),
        )
        lines += _section(
            "Unexpected (the network has no place for them)",
            [f"{name} {shape}" for name, shape in _first(self.unexpected)],
            len(self.unexpected),
        )
        lines += _section(
            "Mismatched shapes",
            [
                f"{name}: the file has {found}, the network needs {expected}"
                for name, (found, expected) in _first(self.mismatched)
            ],
            len(self.mismatched),
        )
        return "\n".join(lines)

    def _hint(self, name: str) -> str:
        """Point to an unexpected entry of the same shape, or the same kind, with a similar name."""
        leaf = name.rpartition(".")[2]
        alike = [other for other in self.unexpected if other.rpartition(".")[2] == leaf]
        same = [other for other in alike if self.unexpected[other] == self.missing[name]]
        close = difflib.get_close_matches(name, same or alike, n=1, cutoff=0.7)
        return f"; the file has '{close[0]}'" if close else ""


def _first(entries: Mapping) -> list[tuple]:
    return list(entries.items())[:_SHOWN]


def _section(title: str, lines: list[str], count: int) -> list[str]:
    if not lines:
        return []
    more = [f"  … and {count - len(lines)} more"] if count > len(lines) else []
    return [f"{title}:", *(f"  {line}" for line in lines), *more]


def load_torch_state(
    model: keras.Model,
    state: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    ignored: Iterable[str] = (),
) -> Report:
    """Copy a PyTorch state dict into a model whose layers bear the published module paths.

    Everything is checked before the first variable is touched. A 1x1 convolution's weight fits a
    Dense layer and the other way round; a common prefix `model.`, `backbone.` or `module.` that
    only one side carries is bridged.

    Args:
        model: A built Keras model.
        state: Arrays by PyTorch name, in PyTorch's layout (`core.checkpoints.read`).
        strict: Whether anything missing, unexpected or mismatched is an error; if not, what fits
            is loaded.
        ignored: Regular expressions, matched against the full name, of entries of the state that
            are skipped. `num_batches_tracked` always is.

    Returns:
        What became of every entry.

    Raises:
        UserError: When `strict` and not everything fits; the model is unchanged.
        TypeError: When a layer's PyTorch layout is unknown.
    """
    wanted = all_places(model)
    skipped = re.compile("|".join(f"(?:{pattern})" for pattern in (_COUNTERS, *ignored)))
    report = Report(ignored={n: a.shape for n, a in state.items() if skipped.fullmatch(n)})
    offered = {name: array for name, array in state.items() if name not in report.ignored}
    offered = _aligned(offered, wanted)
    values: dict[str, np.ndarray] = {}
    for name, place in wanted.items():
        if name not in offered:
            report.missing[name] = place.expected
        elif (value := place.fit(offered[name])) is None:
            report.mismatched[name] = (offered[name].shape, place.expected)
        else:
            values[name] = value
            report.matched[name] = offered[name].shape
    report.unexpected.update({n: a.shape for n, a in offered.items() if n not in wanted})
    if strict and not report.complete:
        counts, *listed = str(report).split("\n")
        raise UserError(
            f"The checkpoint does not fit '{model.name}': {counts}",
            *listed,
            "Check the network and its variant, or load only what fits (--partial).",
        )
    for name, value in values.items():
        variable = wanted[name].variable
        variable.assign(np.asarray(value).astype(keras.backend.standardize_dtype(variable.dtype)))
    return report


def _aligned(state: dict[str, np.ndarray], wanted: Mapping[str, Place]) -> dict[str, np.ndarray]:
    """Return the state with the common prefix put on or taken off that fits the most names."""
    candidates = [state]
    for prefix in _PREFIXES:
        candidates.append({prefix + name: array for name, array in state.items()})
        if state and all(name.startswith(prefix) for name in state):
            candidates.append({n.removeprefix(prefix): array for n, array in state.items()})
    return max(candidates, key=lambda names: len(names.keys() & wanted.keys()))


def torch_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Return a model's weights as a PyTorch state dict: PyTorch's names and layouts, fresh arrays.

    The inverse of `load_torch_state`; `num_batches_tracked` is not among them.

    Raises:
        TypeError: When a layer's PyTorch layout, or the way back to it, is unknown.
    """
    state = {}
    for name, place in all_places(model).items():
        if place.to_torch is None:
            raise TypeError(
                f"'{name}': the way back to PyTorch is unknown. Give `torch_weights()` the inverse "
                "function as a third item."
            )
        value = keras.ops.convert_to_numpy(place.variable)
        state[name] = np.array(place.to_torch(value), order="C")
    return state


def parameter_shapes(model: keras.Model) -> dict[str, Shape]:
    """Return the PyTorch names the model loads, buffers included, with their shapes in PyTorch."""
    return {name: place.expected for name, place in all_places(model).items()}
