"""Changes of .tflite files: of their objects, packed anew, and of the archive behind them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

from benchmarks.reliability.fuzzing import byte_mutations
from benchmarks.reliability.fuzzing.document_mutations import mutate_json
from core.tflite.unpacking import unpacked

_NUMBERS = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 16, 17, 64, 127, 128, 255, 256, 1000, 4096, 32767, 65536, 2**20),
    *(2**24, 2**30, 2**31 - 1, -2, -128, -(2**31)),
)
_FLOATS = (0.0, -1.0, 1e-45, 1e-38, 1e-9, 0.5, 1.0, 255.0, 1e9, 3e38, float("inf"), float("nan"))


def mutate_tflite(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a .tflite file whose bytes, objects or model card say something else."""
    chance = rng.random()
    network, card = split(data)
    if chance < 0.12:
        return byte_mutations.mutate(data, rng, donors)
    if chance < 0.32:
        return network[:8] + byte_mutations.mutate(network[8:], rng, donors) + card
    if chance < 0.42:
        return network + _other_card(card, rng)
    return mutated_objects(network, rng) + card


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return the network and the archive behind it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            start = min(info.header_offset for info in archive.infolist())
    except Exception:  # there is none
        return data, b""
    return data[:start], data[start:]


def with_card(network: bytes, files: dict[str, bytes]) -> bytes:
    """Return the network with an archive behind it, whose places count from the file's start."""
    stream = io.BytesIO(network)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()[len(network) :]


def _other_card(card: bytes, rng: Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(card)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # an archive of its own, its places count from the network's start
        return byte_mutations.mutate(card, rng) if card else b""
    name = rng.choice(sorted(files))
    change = mutate_json if name.endswith(".json") else byte_mutations.mutate
    files[name] = change(files[name], rng, ())
    return with_card(b"", files)


def mutated_objects(network: bytes, rng: Random) -> bytes:
    """Return the network with other numbers in its operators, tensors and buffers."""
    import flatbuffers

    try:
        model = unpacked(network, "network")  # which does not follow lengths beyond the file
        for _ in range(1 + min(4, int(rng.expovariate(0.8)))):
            _change(model, rng)
        builder = flatbuffers.Builder(len(network) + 1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
    except Exception:  # a number that its field cannot hold, or a file that is broken already
        return network[:8] + byte_mutations.mutate(network[8:], rng)


def _change(model: Any, rng: Random) -> None:
    graph = rng.choice(model.subgraphs)
    kind = rng.randrange(12)
    if kind <= 3 and graph.operators:
        _change_operator(model, graph, rng.choice(graph.operators), rng)
    elif kind <= 7 and graph.tensors:
        _change_tensor(model, rng.choice(graph.tensors), rng)
    elif kind == 8:
        buffer = rng.choice(model.buffers)
        if buffer.data is not None and len(buffer.data):
            buffer.data = list(byte_mutations.mutate(bytes(bytearray(buffer.data)), rng))
        else:
            buffer.data = list(rng.randbytes(rng.choice((1, 4, 64))))
    elif kind == 9:
        name = rng.choice(("inputs", "outputs"))
        setattr(graph, name, _list(getattr(graph, name), rng, len(graph.tensors)))
    elif kind == 10 and graph.operators:
        at, other = (rng.randrange(len(graph.operators)) for _ in range(2))
        operators = list(graph.operators)
        change = rng.randrange(3)
        if change == 0:
            del operators[at]
        elif change == 1:
            operators.insert(other, operators[at])
        else:
            operators[at], operators[other] = operators[other], operators[at]
        graph.operators = operators
    else:
        code = rng.choice(model.operatorCodes)
        # Another kind of operator on the same tensors and options.
        code.builtinCode = rng.choice((rng.randrange(160), code.builtinCode))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = rng.choice((code.version, 1, 2, 7, 99))


def _change_operator(model: Any, graph: Any, operator: Any, rng: Random) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        operator.inputs = _list(operator.inputs, rng, len(graph.tensors))
    elif kind == 1:
        operator.outputs = _list(operator.outputs, rng, len(graph.tensors))
    elif kind == 2:
        operator.opcodeIndex = rng.choice((rng.randrange(len(model.operatorCodes)), 99))
    elif kind == 3:
        other = rng.choice(graph.operators)
        operator.builtinOptions = other.builtinOptions
        operator.builtinOptionsType = other.builtinOptionsType
    else:
        _change_fields(operator.builtinOptions, rng)


def _change_tensor(model: Any, tensor: Any, rng: Random) -> None:
    kind = rng.randrange(6)
    if kind <= 1:
        tensor.shape = _list(tensor.shape, rng, 64)
    elif kind == 2:
        tensor.type = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 17, rng.randrange(25)))
    elif kind == 3:
        tensor.buffer = rng.choice((rng.randrange(len(model.buffers)), 0, 9999))
    elif kind == 4 and tensor.quantization is not None:
        _change_quantisation(tensor.quantization, rng)
    else:
        _change_fields(tensor, rng)


def _change_quantisation(quantisation: Any, rng: Random) -> None:
    name = rng.choice(("scale", "zeroPoint", "quantizedDimension"))
    old = getattr(quantisation, name)
    if name == "quantizedDimension":
        setattr(quantisation, name, rng.choice(_NUMBERS))
    elif name == "scale":
        values = [float(value) for value in (old if old is not None else [])] or [1.0]
        values[rng.randrange(len(values))] = rng.choice(_FLOATS)
        setattr(quantisation, name, rng.choice((values, values[:1], values * 2, [])))
    else:
        setattr(quantisation, name, _list(old, rng, 256))


def _change_fields(thing: Any, rng: Random) -> None:
    """Set one field of a table to another value of its kind."""
    fields = [] if thing is None else sorted(vars(thing))
    if not fields:
        return
    name = rng.choice(fields)
    old = getattr(thing, name)
    if isinstance(old, bool):
        setattr(thing, name, not old)
    elif isinstance(old, int):
        setattr(thing, name, rng.choice((*_NUMBERS, old + 1, old - 1)))
    elif isinstance(old, float):
        setattr(thing, name, rng.choice(_FLOATS))
    elif isinstance(old, bytes):
        setattr(thing, name, byte_mutations.mutate(old or b"x", rng)[:200])
    elif old is not None and hasattr(old, "__len__") and not isinstance(old, str):
        setattr(thing, name, _list(old, rng, 256) if all(_is_number(v) for v in old) else None)


def _is_number(value: Any) -> bool:
    return hasattr(value, "__index__")


def _list(old: Any, rng: Random, limit: int) -> list[int]:
    """Return a list of whole numbers with one changed, added or taken."""
    values = [int(value) for value in (old if old is not None else [])]
    kind = rng.randrange(6)
    if kind == 0 or not values:
        values.insert(
            rng.randint(0, len(values)), rng.choice((rng.randrange(max(1, limit)), -1, 1))
        )
    elif kind == 1:
        del values[rng.randrange(len(values))]
    elif kind == 2:
        values[rng.randrange(len(values))] = rng.choice(_NUMBERS)
    elif kind == 3:
        values[rng.randrange(len(values))] = rng.randrange(max(1, limit))
    elif kind == 4:
        at = rng.randrange(len(values))
        values[at] = min(2**31 - 1, values[at] + rng.choice((-1, 1, values[at])))
    else:
        values = values[::-1]
    return values
