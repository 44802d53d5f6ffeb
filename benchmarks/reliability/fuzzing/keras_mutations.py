"""Changes of a Keras model's description, the config.json of a .keras file."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from benchmarks.reliability.fuzzing import payloads
from benchmarks.reliability.fuzzing.document_mutations import VALUES, mutate_json

_CLASSES = (
    *("Dense", "Conv2D", "Lambda", "Functional", "Sequential", "InputLayer", "Add", "Softmax"),
    *("Embedding", "TimeDistributed", "LSTM", "Reshape", "x", "", "Layer", "Wrapper", "RNN"),
)
_MODULES = ("keras.layers", "keras", "os", "builtins", "core.layers", "", None, "keras.src.models")


def mutate_keras_config(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a description with other numbers, other classes, or code in the place of a layer."""
    chance = rng.random()
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_json(data, rng, donors)
    objects = list(_objects(config))
    if chance < 0.35 or not objects:
        return mutate_json(data, rng, donors)
    if chance < 0.6:
        around, key = rng.choice(objects)
        around[key] = copy.deepcopy(rng.choice(payloads.KERAS))
    elif chance < 0.7:
        _change_value(config, rng, copy.deepcopy(rng.choice(payloads.KERAS)))
    elif chance < 0.8:
        around, key = rng.choice(objects)
        name = rng.choice(("class_name", "module", "registered_name"))
        around[key][name] = rng.choice(_MODULES if name == "module" else _CLASSES)
    else:
        around, key = rng.choice(objects)
        inside = around[key].get("config")
        if isinstance(inside, dict) and inside:
            name = rng.choice(sorted(inside))
            inside[name] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(config).encode("utf-8", "surrogatepass")


def _objects(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every described object."""
    if depth > 30:
        return
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inside in list(entries):
        if isinstance(inside, dict) and "class_name" in inside:
            yield value, key
        yield from _objects(inside, depth + 1)


def _change_value(config: Any, rng: Random, value: Any) -> None:
    """Put a value in the place of a setting of any object."""
    around, key = rng.choice(list(_objects(config)))
    inside = around[key].get("config")
    if isinstance(inside, dict) and inside:
        inside[rng.choice(sorted(inside))] = value
