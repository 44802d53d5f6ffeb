"""Which values must have one range because they meet in a joining operator.

TFLite demands equal scales there, and the converter does not take two ranges in a row on one value,
so a value that other operators read too carries the common range everywhere; joining operators that
share a value, or feed one another, share one range.
"""

from __future__ import annotations

from core.compress.graph import Call, Graph
from core.compress.operators import AVERAGING, JOINING, MOVING
from core.compress.scheme import Scheme


def joined_groups(graph: Graph, scheme: Scheme) -> list[tuple[str, list[int]]]:
    """Return the groups: the name of a group's first operator, and all its values."""
    calls = [
        call
        for call in graph.calls
        if type(call.operation).__name__ in JOINING and scheme.exception(call.operation) is None
    ]
    makers = {value: call for call in graph.calls for value in call.outputs}
    groups: list[tuple[str, set[int]]] = []
    for call in calls:
        values, name = set(_with_sources(call, makers, graph, scheme)), call.operation.name
        for known in [group for group in groups if group[1] & values]:
            name, values = known[0], values | known[1]
            groups.remove(known)
        groups.append((name, values))
    return [(name, sorted(values)) for name, values in groups]


def _with_sources(call: Call, makers: dict[int, Call], graph: Graph, scheme: Scheme) -> list[int]:
    """Return the values a joining operator binds, and what those were moved from.

    Otherwise a maximum or a pooling before a concatenation would first be converted to the
    common scale, an operator of its own that XNNPACK computes with eight bits. What only an
    averaging operator reads (a U-Net's low resolution before it is enlarged) takes the common
    scale too: the converter lets its maker write in that one and leaves the conversion out.
    """
    found, pending = [], [*call.inputs, *call.outputs]
    while pending:
        value = pending.pop()
        if value in found:
            continue
        found.append(value)
        maker = makers.get(value)
        if maker is None:
            continue
        kind = type(maker.operation).__name__
        averaged = kind in AVERAGING and graph.sole_user(maker.inputs[0]) is maker
        if kind not in MOVING and not averaged:
            continue
        if scheme.exception(maker.operation) is None:
            pending += maker.inputs[:1]
    return found
