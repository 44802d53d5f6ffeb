"""Weights that go from one network into another: all of them, or an error.

A pre-trained encoder that silently fails to arrive costs a training nobody notices, so every array
is accounted for: what moved is named, compared with its source, and must not have been there
before.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from core.checkpoints import load_torch_state, torch_state
from core.checkpoints.layer_kinds import all_places
from core.errors import UserError

SHOWN = 5  # arrays that an error names


@dataclass(frozen=True)
class Transfer:
    """What became of every array, by its published name.

    Attributes:
        moved: Arrays of the source; the target now holds all of them.
        changed: Those of them the target held other values of before.
        resized: Those of them that were made to fit (positions of an image of another size).
        kept: Arrays of the target that are none of the source's: they keep their start.
    """

    moved: tuple[str, ...]
    changed: tuple[str, ...]
    resized: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        resized = f" ({', '.join(self.resized)} resized)" if self.resized else ""
        return f"{len(self.moved)} arrays transferred{resized}, {len(self.kept)} keep their start"


def transfer(source: keras.Model, target: keras.Model) -> Transfer:
    """Copy every weight of a model into the layers of the same names in another, and check it.

    Args:
        source: A part of a network, such as its encoder, or a whole one.
        target: A network that has all the source's layers, and others beside; changed in place.

    Returns:
        Which arrays moved.

    Raises:
        UserError: When the target lacks one of the arrays or has it in another shape (it is then
            unchanged), or when nothing changed, because it held the source's weights already.
    """
    state, before, places = torch_state(source), torch_state(target), all_places(target)
    fitted = {n: places[n].fit(array) for n, array in state.items() if n in places}
    values = {name: array for name, array in fitted.items() if array is not None}
    lost = [f"{name} {array.shape}" for name, array in state.items() if name not in values]
    if lost or not state:
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        named = f"has no place for {', '.join(lost[:SHOWN])}{more}"
        what = named if lost else "is given no weights"
        raise UserError(
            f"{target.name}: {what}, so nothing was transferred from {source.name}; build both "
            "of the same network and variant, the source as a part of it."
        )
    load_torch_state(target, state, strict=False)
    arrived = {name: np.asarray(places[name].variable) for name in state}
    torn = [name for name in state if not np.array_equal(arrived[name], values[name])]
    if torn:
        raise RuntimeError(f"Weights did not arrive as they were sent: {torn[:SHOWN]}")
    changed = tuple(n for n, a in torch_state(target).items() if not np.array_equal(a, before[n]))
    if not changed:
        raise UserError(
            f"{target.name}: held the weights of {source.name} already, so nothing was "
            "transferred; is the source the network that was trained?"
        )
    resized = tuple(n for n, array in state.items() if array.shape != before[n].shape)
    kept = tuple(name for name in before if name not in state)
    return Transfer(tuple(state), changed, resized, kept)
