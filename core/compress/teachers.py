"""A teacher that is another network than its student: whether it fits, and what is compared.

Layers are paired by the size of their maps; widths need not agree, as affinities do not depend on
them (`core.compress.distill_terms.Affinity`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from core.errors import UserError

SIDE = 96  # pixels of an open side when sizes are compared; a multiple of most strides


def check_teacher(student: keras.Model, teacher: keras.Model) -> None:
    """Raise a `UserError` unless both networks make outputs of one size from the student's input.

    Args:
        student, teacher: Functional models with one input (N, H, W, C).
    """
    ours, theirs = student.inputs[0].shape[1:], teacher.inputs[0].shape[1:]
    given = [a if b is None else b for a, b in zip(ours, theirs, strict=False)]
    if len(ours) != len(theirs) or given != list(ours):
        raise UserError(
            f"{teacher.name}: as a teacher takes inputs of {_shown(theirs)}, but {student.name} is "
            f"trained on {_shown(ours)}; choose a teacher that takes those."
        )
    size = _size(student)
    made, taught = (_shapes(model, model.outputs, size) for model in (student, teacher))
    if made != taught:
        raise UserError(
            f"{teacher.name}: as a teacher makes {_all_shown(taught)} of an input of "
            f"{_shown(size)}, but {student.name} {_all_shown(made)}; choose a teacher of the same "
            "scale and outputs."
        )


def paired_features(
    student: keras.Model, teacher: keras.Model, ours: Sequence[str], theirs: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return the pairs of layers whose features are compared.

    Args:
        student, teacher: Functional models that passed `check_teacher`.
        ours: Layers of the student.
        theirs: As many of the teacher; none takes its convolutions with maps of the same size, as
            far from the first to the last of them as the student's layer is among its own: evenly
            spaced ones for evenly spaced ones.

    Raises:
        UserError: When the numbers differ, or the teacher has no convolution of a size.
    """
    if theirs:
        if len(theirs) != len(ours):
            raise UserError(
                f"adapt: teacher_features names {len(theirs)} layers for {len(ours)} features "
                f"({', '.join(ours)}); name one for each."
            )
        return list(zip(ours, theirs, strict=True))
    known, size = _nodes(student), _size(student)
    inner = {name: node for name, node in known.items() if name in ours or _convolves(node)}
    sizes = _map_sizes(student, inner, size)
    candidates = {name: node for name, node in _nodes(teacher).items() if _convolves(node)}
    found = _map_sizes(teacher, candidates, size)
    pairs = []
    for name in ours:
        if name not in sizes:  # the `Distiller` says what is wrong with it
            pairs.append((name, name))
            continue
        fitting = [other for other in found if found[other] == sizes[name]]
        if not fitting:
            raise UserError(
                f"{teacher.name}: as a teacher has no convolution whose maps are of the size of "
                f"'{name}'; name its layers by adapt.teacher_features."
            )
        alike = [one for one in sizes if sizes[one] == sizes[name]]
        place = alike.index(name) * (len(fitting) - 1) / max(1, len(alike) - 1)
        pairs.append((name, fitting[round(place)]))
    return pairs


def _convolves(node) -> bool:
    return isinstance(node.operation, keras.layers.Conv2D)


def _nodes(model) -> dict[str, Any]:
    """Return the Keras nodes of what is used once, by name, in the order they are computed."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    uses = Counter(node.operation.name for node in nodes)
    return {
        node.operation.name: node
        for node in nodes
        if uses[node.operation.name] == 1 and len(node.outputs) == 1
    }


def _map_sizes(model, nodes: dict[str, Any], size: tuple) -> dict[str, tuple]:
    """Return (height, width) of what nodes of a model give, by name, for an input of a size."""
    if not nodes:
        return {}
    shapes = _shapes(model, [node.outputs[0] for node in nodes.values()], size)
    return {name: shape[1:-1] for name, shape in zip(nodes, shapes, strict=True)}


def _shapes(model, tensors: list, size: tuple) -> list[tuple]:
    """Return the shapes of tensors inside a model for one input of a size."""
    shapes = keras.Model(model.inputs, tensors).compute_output_shape((1, *size))
    return [tuple(shape) for shape in shapes]


def _size(student) -> tuple:
    """Return (H, W, C) of the student's input, sides that are open chosen."""
    return tuple(SIDE if side is None else side for side in student.inputs[0].shape[1:])


def _shown(shape: Sequence) -> str:
    return "×".join("any" if side is None else str(side) for side in shape)


def _all_shown(shapes: list[tuple]) -> str:
    return " and ".join(_shown(shape[1:]) for shape in shapes)
