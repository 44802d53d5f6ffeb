"""A changed model as the bytes of a .tflite file."""

from __future__ import annotations

from typing import Any

from core.tflite.graph import IDENTIFIER, has_data


def packed(model: Any, size: int = 1024) -> bytes:
    """Return the file of an unpacked model, every constant at a multiple of 16 bytes.

    The generated code packs buffers without the schema's `force_align: 16`; the kernels then read
    unaligned memory. So buffers are written first, here, and handed over finished.

    Args:
        model: A `ModelT`, as `core.tflite.graph.read_model` returns it; it is not changed.
        size: The file's likely size in bytes.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Written:
        def __init__(self, offset):
            self.offset = offset

        def Pack(self, builder):
            return self.offset

    builder = flatbuffers.Builder(size)
    unpacked = model.buffers
    written = []
    for buffer in unpacked:
        vector = None
        if has_data(buffer):
            vector = _aligned_vector(builder, bytes(bytearray(buffer.data)))
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        written.append(Written(schema.BufferEnd(builder)))
    model.buffers = written
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    finally:
        model.buffers = unpacked
    return bytes(builder.Output())


def _aligned_vector(builder, data: bytes):
    builder.StartVector(1, len(data), 16)
    builder.head = builder.head - len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return builder.EndVector()
