"""Content that would run something if it were obeyed: each would make the file of `CANARY`.

The commands find the file's name in an environment variable, so that the same seed gives the same
bytes everywhere.
"""

from __future__ import annotations

import base64
import marshal
import types

CANARY = "GOSSAMER_FUZZ_CANARY"
COMMAND = f"touch ${CANARY}"
PYTHON = f"open(__import__('os').environ['{CANARY}'], 'w').close()"

YAML = (
    f'x: !!python/object/apply:os.system ["{COMMAND}"]'.encode(),
    f'x: !!python/object/new:os.system ["{COMMAND}"]'.encode(),
    f'x: !!python/object/apply:builtins.eval ["{PYTHON}"]'.encode(),
    b"x: !!python/name:os.system",
    b"x: !!python/module:antigravity",
    b"x: !!python/tuple [1, 2]",
)


def _call(module: str, name: str, argument: str) -> list[bytes]:
    """Return instructions, without beginning and end, that call a function in every way."""
    names = f"{module}\n{name}\n".encode()
    text = b"S" + repr(argument).encode() + b"\n"
    stacked = b"".join(b"\x8c" + bytes([len(one)]) + one.encode() for one in (module, name))
    short = b"X" + len(argument).to_bytes(4, "little") + argument.encode()
    return [
        b"c" + names + b"(" + text + b"tR",  # REDUCE
        b"(" + text + b"i" + names,  # INST
        b"(c" + names + text + b"o",  # OBJ
        b"c" + names + b"(" + text + b"t\x81",  # NEWOBJ
        b"c" + names + b"(" + text + b"t}\x92",  # NEWOBJ_EX
        stacked + b"\x93" + short + b"\x85R",  # STACK_GLOBAL
        b"c" + names + b")R}(S'__setstate__'\nc" + names + b"ub" + short + b"b",  # BUILD
    ]


# Instructions of a pickle that call a function, to be put anywhere into one.
PICKLE_CALLS = [
    *_call("os", "system", COMMAND),
    *_call("posix", "system", COMMAND),
    *_call("builtins", "eval", PYTHON),
    *_call("builtins", "exec", PYTHON),
    *_call("subprocess", "getoutput", COMMAND),
    *_call("commands", "getoutput", COMMAND),
    *_call("__builtin__", "eval", PYTHON),
    *_call("torch._utils._rebuild_tensor_v2.__globals__", "eval", PYTHON),
    *_call("numpy.testing._private.utils", "runstring", PYTHON),
    *_call("Exploit", "Class", COMMAND),
]

# Whole pickles of every protocol.
PICKLES = [
    b"\x80" + bytes([protocol]) + call + b"." for protocol in (2, 4, 5) for call in PICKLE_CALLS
]


class _Runs:
    def __reduce__(self):
        return eval, (PYTHON,)


def object_array() -> bytes:
    """Return a .npy file whose values are a pickle that runs something."""
    import io

    import numpy as np

    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([_Runs()], object), allow_pickle=True)
    return stream.getvalue()


def _marshalled() -> str:
    """Return the code of a function as Keras writes a Lambda layer's."""
    code = compile(f"lambda x: {PYTHON} or x", "payload", "eval").co_consts[0]
    if not isinstance(code, types.CodeType):
        raise TypeError("not a function's code")
    return base64.b64encode(marshal.dumps(code)).decode()


def _keras_object(module: str | None, name: str, config, registered: str | None = None) -> dict:
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": registered,
        "build_config": {"input_shape": [None, 4]},
    }


# Parts of a .keras file's config.json that name code: put in the place of a layer or a value.
KERAS = [
    _keras_object(
        "keras.layers",
        "Lambda",
        {
            "name": "lambda",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": _marshalled(), "defaults": None, "closure": None},
            },
            "arguments": {},
        },
    ),
    {"class_name": "__lambda__", "config": {"value": _marshalled()}},
    _keras_object("builtins", "function", "eval", "function"),
    _keras_object("os", "function", "system", "system"),
    _keras_object("os", "system", {"command": COMMAND}),
    _keras_object("builtins", "exec", {"source": PYTHON}),
    _keras_object("subprocess", "Popen", {"args": ["sh", "-c", COMMAND]}),
    _keras_object("keras.config", "enable_unsafe_deserialization", {}),
    _keras_object(
        "keras.config", "function", "enable_unsafe_deserialization", "enable_unsafe_deserialization"
    ),
    _keras_object("keras.utils", "get_file", {"origin": "file:///etc/passwd", "fname": "x"}),
    _keras_object("keras.utils", "function", "get_file", "get_file"),
    _keras_object("keras.models", "load_model", {"filepath": "/dev/zero"}),
    _keras_object("keras.layers", "StringLookup", {"name": "lookup", "vocabulary": "/etc/passwd"}),
    _keras_object(
        "keras.layers", "TextVectorization", {"name": "text", "vocabulary": "/etc/passwd"}
    ),
    _keras_object("keras.layers", "TorchModuleWrapper", {"module": "gASV", "name": "torch"}),
    _keras_object("keras.layers", "TFSMLayer", {"filepath": "/etc", "name": "saved"}),
    _keras_object("core.files", "write_atomic", {"path": "x", "content": "x"}),
    _keras_object("gossamer", "Custom>system", {}, "gossamer>system"),
]
