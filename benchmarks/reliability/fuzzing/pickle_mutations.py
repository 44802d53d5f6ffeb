"""Changes of pickles, instruction by instruction."""

from __future__ import annotations

import io
import itertools
import pickle
import pickletools
from collections.abc import Sequence
from random import Random

from benchmarks.reliability.fuzzing import byte_mutations, payloads

_OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
_GLOBALS = (
    b"ccollections\nOrderedDict\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_tensor_v3\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nQInt8Storage\n",
    b"c_codecs\nencode\n",
    b"cbuiltins\nset\n",
    b"cbuiltins\nbytearray\n",
    b"cbuiltins\ncomplex\n",
    b"ccollections\nCounter\n",
    b"ccollections\ndeque\n",
    b"ccopyreg\n_reconstructor\n",
    b"cargparse\nNamespace\n",
    b"cos\nsystem\n",
)


def mutate_pickle(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a pickle with changed instructions; what stands behind it is kept.

    Legacy checkpoints are several pickles and raw numbers one after another: one of the pickles is
    changed, or the bytes.
    """
    chance = rng.random()
    if chance < 0.25:
        return byte_mutations.mutate(data, rng, donors)
    parts, rest = split(data)
    if not parts:
        return byte_mutations.mutate(data, rng, donors)
    if chance < 0.3:
        parts[rng.randrange(len(parts))] = [rng.choice(payloads.PICKLES)]
        return b"".join(map(b"".join, parts)) + rest
    if chance < 0.4:
        parts[rng.randrange(len(parts))] = _generated(rng)
        return b"".join(map(b"".join, parts)) + rest
    instructions = max(parts, key=len) if rng.random() < 0.7 else rng.choice(parts)
    for _ in range(1 + min(5, int(rng.expovariate(0.8)))):
        _change(instructions, rng)
    return b"".join(map(b"".join, parts)) + rest


def split(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """Return the instructions of each pickle at the beginning of a file, and what follows."""
    stream, parts = io.BytesIO(data), []
    end = 0
    while len(parts) < 6:
        try:
            places = [place for _, _, place in pickletools.genops(stream)]
        except Exception:  # the first byte of what is no pickle
            break
        stop = stream.tell()
        borders = [*places, stop]
        parts.append([data[a:b] for a, b in itertools.pairwise(borders)])
        end = stop
    return parts, data[end:]


def _change(instructions: list[bytes], rng: Random) -> None:
    at = rng.randrange(len(instructions)) if instructions else 0
    kind = rng.randrange(9)
    if not instructions or kind == 0:
        instructions.insert(at, rng.choice(payloads.PICKLE_CALLS))
    elif kind == 1:
        del instructions[at]
    elif kind == 2:
        instructions.insert(rng.randrange(len(instructions)), instructions[at])
    elif kind == 3:
        other = rng.randrange(len(instructions))
        instructions[at], instructions[other] = instructions[other], instructions[at]
    elif kind == 4:
        instructions[at] = _value(rng)
    elif kind == 5:
        instructions[at] = rng.choice(_GLOBALS)
    elif kind == 6:
        instructions.insert(at, _any(rng))
    elif len(instructions[at]) > 1:
        argument = byte_mutations.mutate(instructions[at][1:], rng)
        instructions[at] = instructions[at][:1] + argument
    else:
        instructions[at] = rng.choice(_OPCODES)


def _value(rng: Random) -> bytes:
    """Return instructions that put a value on the stack."""
    values = (
        *(None, True, 0, -1, 7, 2**31, 2**63, 10**30, 0.5, float("nan"), "", "x", "0", b"", b"ab"),
        *((), (1,), (1, 2, 3), [], [[]], {}, {"a": 1}, "state_dict", "f4", "<", b"\x00" * 64),
    )
    written = pickle.dumps(rng.choice(values), rng.choice((0, 2, 4)))
    (instructions,), _ = split(written)
    return b"".join(one for one in instructions if one[:1] not in (b"\x80", b"\x95", b"."))


def _any(rng: Random) -> bytes:
    """Return an instruction with an argument that may fit."""
    code = rng.choice(_OPCODES)
    choices = (
        b"",
        bytes([rng.randrange(256)]),
        rng.choice(byte_mutations.EXTREMES).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))],
        b"0\n",
        b"a\n",
        b"os\nsystem\n",
        b"99999999\n",
    )
    return code + rng.choice(choices)


def _generated(rng: Random) -> list[bytes]:
    """Return a pickle of random instructions."""
    made = [b"\x80\x02"]
    for _ in range(rng.randint(1, 30)):
        kind = rng.randrange(6)
        if kind <= 1:
            made.append(_value(rng))
        elif kind == 2:
            made.append(rng.choice(_GLOBALS))
        elif kind == 3:
            made.append(rng.choice((b"R", b"b", b"t", b"\x85", b"\x86", b"\x87", b"s", b"u", b"Q")))
        elif kind == 4:
            made.append(rng.choice((b"(", b"]", b"}", b")", b"2", b"a", b"e", b"\x94", b"q\x00")))
        else:
            made.append(_any(rng))
    return [*made, b"."]
