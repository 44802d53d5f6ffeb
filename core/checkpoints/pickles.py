"""A pickle reader that cannot run anything.

A pickle is a small program: one of its instructions calls whatever function the file names. This
interpreter knows every instruction but has no way to import or call. A named class or function is
only a `Name`; an object of an unknown class becomes a `StandIn` that records what the file says
about it; a call is answered by a table of our own functions, or refused with the name that was to
be called. The memo is a dictionary and literals are bounded by the stream, so a damaged file
cannot ask for absurd memory either.

The instructions are those of the standard library's `pickletools` (protocols 0 to 5).
"""

from __future__ import annotations

import codecs
import pickletools
import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from core.checkpoints.pickled_values import (
    CALLS,
    Leaf,
    Malformed,
    Name,
    NumpyArray,
    NumpyType,
    Refused,
    StandIn,
    dict_key,
    dictionary,
    stand_in,
)

# Standard classes that settings saved beside the weights are made of; recorded, never made.
_RECORDED = re.compile(
    r"(datetime\.\w+|pathlib(\._local)?\.\w*Path|builtins\.(slice|range)|functools\.partial"
    r"|types\.SimpleNamespace|decimal\.Decimal|uuid\.UUID|argparse\.Namespace)"
)


_OPCODES = {one.code.encode("latin-1"): one for one in pickletools.opcodes}


def _instructions(stream: BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield the instructions; unlike `pickletools.genops`, with Python 2's strings of any bytes."""
    while code := stream.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise Malformed(f"unknown instruction {code!r}")
        argument = None
        if opcode.name == "STRING":
            text = pickletools.read_stringnl(stream, decode=False)
            argument = codecs.escape_decode(text)[0].decode("latin-1")
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
        yield opcode, argument


def _name(module: Any, name: Any) -> Name:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Malformed("a class name that is no text")
    # Protocol 2, which PyTorch uses, writes Python 2's names of the standard library.
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return Name(f"{module}.{name}".replace("numpy._core.", "numpy.core."))


def _recordable(dotted: str) -> bool:
    """Whether a call of this name is a value to note down: a class from outside the library."""
    if _RECORDED.fullmatch(dotted):
        return True
    class_like = dotted.rpartition(".")[2][:1].isupper()
    return class_like and dotted.partition(".")[0] not in sys.stdlib_module_names


class Interpreter:
    """Reads one pickle from a stream.

    Args:
        stream: Stands at the pickle's first byte; stands behind its last one afterwards.
        calls: Further calls by dotted name, on top of `CALLS`.
        persistent: Answers the file's references to data outside the pickle.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        calls: Mapping[str, Callable] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ):
        self._stream = stream
        self._calls = {**CALLS, **(calls or {})}
        self._persistent = persistent
        self._stack: list = []
        self._below: list[list] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the object.

        Raises:
            Refused: When the file asks to call a function.
            Malformed, or another ordinary error: When the pickle is damaged.
        """
        for opcode, argument in _instructions(self._stream):
            if opcode.name == "STOP":
                return self._stack.pop()
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                raise Malformed(f"unknown instruction {opcode.name}")
            handler(self, argument)
        raise Malformed("it ends in the middle")

    def call(self, function: Any, arguments: tuple) -> Any:
        """Answer a call from the table, record it, or refuse it by name."""
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Malformed("a call of something that is no function")
        if function.dotted in self._calls:
            return self._calls[function.dotted](*arguments)
        if _recordable(function.dotted):
            return stand_in(function.dotted, arguments)
        raise Refused(function.dotted)

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self, _) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _pop(self, _) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise Malformed("a tuple of nothing")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _pairs(self) -> list:
        items = self._since_mark()
        return list(zip(items[::2], items[1::2], strict=True))

    def _set_items(self, pairs: list) -> None:
        target = self._stack[-1]
        target = target.entries if isinstance(target, StandIn) else target
        if not isinstance(target, dict):
            raise Malformed("entries for something that is no dictionary")
        target.update((dict_key(key), value) for key, value in pairs)

    def _append(self, values: list) -> None:
        target = self._stack[-1]
        target = target.elements if isinstance(target, StandIn) else target
        if not isinstance(target, list):
            raise Malformed("elements for something that is no list")
        target.extend(values)

    def _put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push(_name(module, name))

    def _stack_global(self, _) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push(_name(module, name))

    def _reduce(self, _) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._push(self.call(function, arguments))

    def _new(self, kind: Any, arguments: tuple) -> None:
        """Make an object without calling: a table entry's value or a stand-in."""
        if not isinstance(kind, Name):
            raise Malformed("an object without a class")
        if kind.dotted in self._calls:
            self._push(self.call(kind, arguments))
        else:
            self._push(stand_in(kind.dotted, arguments))

    def _newobj(self, _) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        self._new(kind, arguments)

    def _newobj_ex(self, _) -> None:
        _, arguments, kind = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._new(kind, arguments)

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push(self.call(_name(module, name), tuple(self._since_mark())))

    def _obj(self, _) -> None:
        kind, *arguments = self._since_mark()
        self._push(self.call(kind, tuple(arguments)))

    def _build(self, _) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, StandIn):
            # (state, slots) of classes with __slots__; anything else is kept under one name.
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
            if all(part is None or isinstance(part, dict) for part in parts):
                for part in parts:
                    target.attributes.update(part or {})
            else:
                target.attributes["state"] = state
        elif isinstance(target, NumpyType | NumpyArray):
            target.build(state)
        elif not isinstance(target, Leaf | dict | list):
            raise Malformed("a state for something that has none")

    def _reference(self, reference: Any) -> None:
        if self._persistent is None:
            raise Malformed("a reference to data outside of it")
        self._push(self._persistent(reference))

    def _extension(self, code: int) -> None:
        raise Refused(f"extension {code}")


_LITERALS = (
    "INT LONG LONG1 LONG4 BININT BININT1 BININT2 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
)

_HANDLERS: dict[str, Callable[[Interpreter, Any], object]] = {
    **dict.fromkeys(_LITERALS.split(), Interpreter._push),
    "PROTO": lambda self, _: None,
    "FRAME": lambda self, _: None,
    "NONE": lambda self, _: self._push(None),
    "NEWTRUE": lambda self, _: self._push(True),
    "NEWFALSE": lambda self, _: self._push(False),
    "EMPTY_LIST": lambda self, _: self._push([]),
    "EMPTY_SET": lambda self, _: self._push([]),
    "EMPTY_DICT": lambda self, _: self._push({}),
    "EMPTY_TUPLE": lambda self, _: self._push(()),
    "MARK": Interpreter._mark,
    "POP": Interpreter._pop,
    "POP_MARK": lambda self, _: self._since_mark(),
    "DUP": lambda self, _: self._push(self._stack[-1]),
    "TUPLE": lambda self, _: self._push(tuple(self._since_mark())),
    "TUPLE1": lambda self, _: self._tuple(1),
    "TUPLE2": lambda self, _: self._tuple(2),
    "TUPLE3": lambda self, _: self._tuple(3),
    "LIST": lambda self, _: self._push(self._since_mark()),
    "FROZENSET": lambda self, _: self._push(self._since_mark()),
    "DICT": lambda self, _: self._push(dictionary(self._pairs())),
    "APPEND": lambda self, _: self._append([self._stack.pop()]),
    "APPENDS": lambda self, _: self._append(self._since_mark()),
    "ADDITEMS": lambda self, _: self._append(self._since_mark()),
    "SETITEM": lambda self, _: self._set_items([(self._stack.pop(-2), self._stack.pop())]),
    "SETITEMS": lambda self, _: self._set_items(self._pairs()),
    "GET": lambda self, index: self._push(self._memo[index]),
    "BINGET": lambda self, index: self._push(self._memo[index]),
    "LONG_BINGET": lambda self, index: self._push(self._memo[index]),
    "PUT": Interpreter._put,
    "BINPUT": Interpreter._put,
    "LONG_BINPUT": Interpreter._put,
    "MEMOIZE": Interpreter._put,
    "GLOBAL": Interpreter._global,
    "STACK_GLOBAL": Interpreter._stack_global,
    "REDUCE": Interpreter._reduce,
    "NEWOBJ": Interpreter._newobj,
    "NEWOBJ_EX": Interpreter._newobj_ex,
    "INST": Interpreter._inst,
    "OBJ": Interpreter._obj,
    "BUILD": Interpreter._build,
    "PERSID": Interpreter._reference,
    "BINPERSID": lambda self, _: self._reference(self._stack.pop()),
    "EXT1": Interpreter._extension,
    "EXT2": Interpreter._extension,
    "EXT4": Interpreter._extension,
}
