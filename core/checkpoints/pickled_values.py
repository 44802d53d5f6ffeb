"""What a pickle's names and calls become: inert records, and NumPy's arrays and scalars.

Nothing here imports or runs what a file names: `CALLS` is the complete list of calls that are
answered, each by a function of this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Malformed(ValueError):
    """The file contradicts itself or its format."""


class Unsupported(ValueError):
    """The file is sound but holds something NumPy cannot; the message says what to do."""


class Refused(Exception):
    """The file asks to call a function; `name` is its dotted name."""

    def __init__(self, name: str):
        super().__init__(name)
        # The name goes to a terminal: no control characters, no novel.
        self.name = name if name.isprintable() and len(name) < 100 else ascii(name[:100])


@dataclass(frozen=True)
class Name:
    """A class or function the file mentions, never looked up."""

    dotted: str


@dataclass(eq=False, slots=True)
class StandIn:
    """What the file records about an object of an unknown class.

    Attributes:
        kind: Dotted name of the class.
        arguments: What the object was made from.
        attributes: Its recorded state, by attribute name.
        entries, elements: Its contents, where it is a kind of dictionary or list.
    """

    kind: str
    arguments: tuple
    attributes: dict
    entries: dict
    elements: list


class Leaf:
    """An array a file holds, not yet read: `nbytes` is its size, None when it cannot be read."""

    nbytes: int | None = None

    def array(self) -> np.ndarray:
        """Return a fresh, writable array."""
        raise NotImplementedError


class NumpyType:
    """A pickled `numpy.dtype`: a code such as "f8", its byte order added later."""

    def __init__(self, code: Any, *_):
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def build(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    @property
    def dtype(self) -> np.dtype | None:
        """The numeric dtype, or None for text, objects and structures."""
        known = re.fullmatch(r"[biufc]\d{1,2}", self.code)
        return np.dtype(self.order + self.code) if known else None


class NumpyArray(Leaf):
    """A pickled `numpy.ndarray`; arrays of objects or text stay unreadable."""

    def __init__(self, *_):
        self._view: np.ndarray | None = None

    def build(self, state: Any) -> None:
        shape, kind, fortran, raw = state[-4:]
        if isinstance(kind, NumpyType) and kind.dtype:
            flat = np.frombuffer(_as_bytes(raw), kind.dtype)
            self._view = flat.reshape(shape, order="F" if fortran else "C")
            self.nbytes = self._view.nbytes

    def array(self) -> np.ndarray:
        if self._view is None:
            raise Malformed("an array of objects or text")
        return self._view.astype(self._view.dtype.newbyteorder("="))


def _as_bytes(value: Any) -> bytes:
    if not isinstance(value, str | bytes | bytearray):
        raise Malformed("bytes made from something else")
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


def _numpy_scalar(kind: Any, raw: Any = b"") -> Any:
    if isinstance(kind, NumpyType) and kind.dtype:
        return np.frombuffer(_as_bytes(raw), kind.dtype)[0]
    return None


def _numpy_from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    found = NumpyArray()
    found.build((shape, kind, order == "F", raw))
    return found


def stand_in(kind: str, arguments: tuple = ()) -> StandIn:
    return StandIn(kind, arguments, {}, {}, [])


def dict_key(value: Any) -> Any:
    """Return `value` as a dictionary key; deep tuples, slow to hash, become stand-ins."""
    plain = (str, int, float, bytes, type(None), Name, StandIn, np.generic)
    flat = isinstance(value, tuple) and all(isinstance(item, plain) for item in value)
    return value if flat or isinstance(value, plain) else stand_in("key")


def dictionary(pairs: Any = ()) -> dict:
    pairs = pairs.items() if isinstance(pairs, dict) else pairs
    return {dict_key(key): value for key, value in pairs}


def _elements(values: Any = ()) -> list:
    if not isinstance(values, list | tuple):
        raise Malformed("a set made from something that is no list")
    return list(values)


def _reconstructed(kind: Any, *_) -> StandIn:
    if not isinstance(kind, Name):
        raise Malformed("an object without a class")
    return stand_in(kind.dotted)


# Calls that are answered by our own functions. Sets become lists: nothing needs their hashes.
CALLS: Mapping[str, Callable] = {
    "collections.OrderedDict": dictionary,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": dictionary,
    "collections.deque": lambda values=(), *_: _elements(values),
    "builtins.dict": dictionary,
    "builtins.list": _elements,
    "builtins.set": _elements,
    "builtins.frozenset": _elements,
    # An empty array's bytes in protocol 2, which has no bytes of its own.
    "builtins.bytes": lambda raw=b"", *_: _as_bytes(raw),
    "builtins.bytearray": lambda raw=b"", *_: _as_bytes(raw),
    "builtins.complex": lambda real, imaginary: (real, imaginary),
    "_codecs.encode": lambda text, *_: _as_bytes(text),
    "copyreg._reconstructor": _reconstructed,
    "numpy.dtype": NumpyType,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy.core.multiarray._reconstruct": NumpyArray,
    "numpy.core.numeric._frombuffer": _numpy_from_buffer,
}
