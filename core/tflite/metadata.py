"""The model card inside the .tflite file, where the standard tools look for it.

Two places, as in files made with tflite-support's `MetadataPopulator`:

* a flatbuffer of TFLite's metadata schema (identifier "M001", `metadata_schema.fbs` of
  github.com/tensorflow/tflite-support) in a model buffer named TFLITE_METADATA: name, description,
  normalisation of the input, and which files are associated;
* a ZIP archive behind the model with the associated files `model_card.json` and `labels.txt`,
  stored uncompressed (the latter where there are labels). The file is a valid .tflite and a valid
  .zip: `unzip -l model.tflite`.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from core.documents import parse_json
from core.errors import UserError
from core.model_card import PICTURES
from core.tflite.graph import (
    IDENTIFIER,
    MALFORMED,
    has_data,
    label,
    read_bytes,
    read_model,
    sound_model,
    text,
)
from core.tflite.packing import packed

CARD_FILE = "model_card.json"
LABELS_FILE = "labels.txt"
BUFFER_NAME = b"TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"

# Values of the metadata schema's enumerations and unions.
_DESCRIPTIONS, _AXIS_LABELS = 1, 2
_IMAGE_PROPERTIES, _RGB, _GRAYSCALE = 2, 1, 2
_NORMALIZATION_OPTIONS = 1
_PARSER_VERSION = "1.0.0"

# What reading a damaged archive ends with, whatever it is compressed by.
_UNREADABLE = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    zlib.error,
    lzma.LZMAError,
)


def embed(model: bytes, document: dict, labels: Sequence[str] = ()) -> bytes:
    """Return the .tflite with a model card in it; one that is there already is replaced.

    Args:
        model: Bytes of a .tflite file.
        document: The card, JSON-ready. Of its keys `title` or `network`, `variant`, `licence`,
            `paper`, `output`, `mean` and `std` (of values divided by `full_scale`, 255 where it is
            not given), and of pictures `color_order` and `input_size` (height, width) also fill the
            standard fields; they are looked up in the document and in its `"card"` or
            `"model_card"`. All are optional.
        labels: Class names in the order of the output's last axis.

    Returns:
        The new file. Constants keep their alignment of 16 bytes and their values, and embedding
        the same document twice gives the same bytes.

    Raises:
        UserError: When `model` is not a sound .tflite, or a label holds a line break.
        TypeError: When `document` cannot be written as JSON.
    """
    from ai_edge_litert import schema_py_generated as schema

    model_t = read_model(model)
    broken = [name for name in labels if "\n" in name or "\r" in name]
    if broken:
        raise UserError(f"Label {broken[0]!r} holds a line break; rename the class.")
    content = _metadata(model_t, document, labels)

    entries = model_t.metadata or []
    entry = next((entry for entry in entries if entry.name == BUFFER_NAME), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name = BUFFER_NAME
        entry.buffer = len(model_t.buffers)
        model_t.buffers.append(schema.BufferT())
        model_t.metadata = [*entries, entry]
    model_t.buffers[entry.buffer].data = list(content)

    files = {CARD_FILE: json.dumps(document, indent=2, ensure_ascii=False) + "\n"}
    if labels:
        files[LABELS_FILE] = "".join(f"{name}\n" for name in labels)
    return _with_archive(packed(model_t, len(model) + 1024), files)


def extract(path: str | os.PathLike | bytes) -> dict:
    """Return the document embedded in a .tflite file; reads the archive only, in milliseconds.

    Raises:
        UserError: When the file is missing, is not a .tflite or carries no Gossamer model card.
    """
    content = _associated(path, CARD_FILE)
    if content is None:
        raise UserError(
            f"{label(path)}: carries no Gossamer model card (it is from another program, or was "
            "changed since); export the network again."
        )
    try:
        document = parse_json(content)
    except ValueError as error:
        raise UserError(
            f"{label(path)}: its model card is not valid JSON; export the network again."
        ) from error
    if not isinstance(document, dict):
        raise UserError(f"{label(path)}: its model card is not a table; export the network again.")
    return document


def labels(path: str | os.PathLike | bytes) -> list[str]:
    """Return the class names embedded in a .tflite file (any tool's `labels.txt`), or [].

    Raises:
        UserError: When the file is missing or is not a .tflite.
    """
    content = _associated(path, LABELS_FILE)
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def standard_normalisation(
    source: str | os.PathLike | bytes,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and std that a file tells other programs, in units of stored values, or None.

    Raises:
        UserError: When the file is missing, of another format or damaged.
    """
    from flatbuffers import number_types, table

    model = sound_model(source)
    places = {entry.name: entry.buffer for entry in model.metadata or []}
    if BUFFER_NAME not in places or not has_data(model.buffers[places[BUFFER_NAME]]):
        return None
    data = bytes(bytearray(model.buffers[places[BUFFER_NAME]].data))
    kinds = number_types
    reached = table.Table(data, int.from_bytes(data[:4], "little"))
    try:
        for slot in (3, 2, 4):  # the first graph's first input's first process unit
            offset = reached.Offset(4 + 2 * slot)
            if not offset or not reached.VectorLen(offset):
                return None
            start = reached.Vector(offset)
            reached = table.Table(data, reached.Indirect(start))
        if reached.Get(kinds.Uint8Flags, reached.Pos + reached.Offset(4)) != _NORMALIZATION_OPTIONS:
            return None
        options = table.Table(data, reached.Indirect(reached.Pos + reached.Offset(6)))
        found = []
        for slot in (0, 1):
            offset = options.Offset(4 + 2 * slot)
            start, count = options.Vector(offset), options.VectorLen(offset)
            found.append(
                tuple(options.Get(kinds.Float32Flags, start + 4 * i) for i in range(count))
            )
    except MALFORMED as error:
        raise UserError(
            f"{label(source)}: its metadata is damaged; export or copy it again."
        ) from error
    return found[0], found[1]


def _associated(path, name: str) -> bytes | None:
    """Return a file of the archive behind the model, or None."""
    if isinstance(path, bytes | bytearray | memoryview):
        return _from_archive(io.BytesIO(path), name, label(path))
    if not Path(path).is_file():
        read_bytes(path)  # raises and says what is wrong
    try:
        with Path(path).open("rb") as stream:
            return _from_archive(stream, name, label(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error


def _from_archive(stream, name: str, title: str) -> bytes | None:
    if stream.read(8)[4:] != IDENTIFIER:
        raise UserError(f"{title}: is not a TensorFlow Lite file; choose a .tflite file.")
    try:
        with zipfile.ZipFile(stream) as archive:
            return archive.read(name) if name in archive.namelist() else None
    except _UNREADABLE:
        return None


def _with_archive(model: bytes, files: dict[str, str]) -> bytes:
    # Appending makes the archive's offsets count from the start of the file, as `unzip` expects.
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # A fixed date, so that equal models are equal files.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.encode())
    return stream.getvalue()


def _metadata(model, document: dict, labels: Sequence[str]) -> bytes:
    """Return the ModelMetadata flatbuffer; slots are the field ids of metadata_schema.fbs."""
    import flatbuffers

    nested = document.get("model_card") or document.get("card")
    fields = {**(nested if isinstance(nested, dict) else {}), **document}
    builder = flatbuffers.Builder(1024)
    graph = model.subgraphs[0]
    names = [[text(graph.tensors[i].name) for i in side] for side in (graph.inputs, graph.outputs)]
    normalisation = _normalisation(builder, fields)
    label_files = [(LABELS_FILE, "Class names, one a line.", _AXIS_LABELS)] if labels else []
    inputs = [
        _tensor(builder, name, "", _content(builder, fields), normalisation, [])
        for name in names[0]
    ]
    outputs = [
        _tensor(builder, name, str(fields.get("output", "")), None, None, label_files)
        for name in names[1]
    ]
    subgraph = _table(builder, 7, {2: _offsets(builder, inputs), 3: _offsets(builder, outputs)})
    title = fields.get("title") or " ".join(
        str(fields[key]) for key in ("network", "variant") if fields.get(key)
    )
    card = _file(builder, CARD_FILE, "Gossamer model card.", _DESCRIPTIONS)
    root = _table(
        builder,
        8,
        {
            0: builder.CreateString(title or text(model.description) or "model"),
            1: builder.CreateString(str(fields.get("paper") or "")),
            2: builder.CreateString(str(fields.get("version") or "v1")),
            3: _offsets(builder, [subgraph]),
            5: builder.CreateString(str(fields.get("licence") or "")),
            6: _offsets(builder, [card]),
            7: builder.CreateString(_PARSER_VERSION),
        },
    )
    builder.Finish(root, METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder, name, description, content, normalisation, files):
    slots = {0: builder.CreateString(name), 1: builder.CreateString(description)}
    if content is not None:
        slots[3] = content
    if normalisation is not None:
        slots[4] = _offsets(builder, [normalisation])
    if files:
        slots[6] = _offsets(builder, [_file(builder, *file) for file in files])
    return _table(builder, 7, slots)


def _content(builder, fields: dict):
    """Return the Content table: the input is an image of this colour space and size, or None."""
    if fields.get("color_order") not in PICTURES:
        return None
    size = None
    if fields.get("input_size"):
        height, width = fields["input_size"]
        builder.StartObject(2)
        builder.PrependUint32Slot(0, int(width), 0)
        builder.PrependUint32Slot(1, int(height), 0)
        size = builder.EndObject()
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _RGB if fields["color_order"] == "RGB" else _GRAYSCALE, 0)
    if size is not None:
        builder.PrependUOffsetTRelativeSlot(1, size, 0)
    image = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUint8Slot(0, _IMAGE_PROPERTIES, 0)
    builder.PrependUOffsetTRelativeSlot(1, image, 0)
    return builder.EndObject()


def _normalisation(builder, fields: dict):
    """Return a ProcessUnit with mean and std in units of stored values, or None."""
    if not fields.get("mean") or not fields.get("std"):
        return None
    scale = float(fields.get("full_scale", 255.0))
    vectors = [_floats(builder, [scale * float(v) for v in fields[key]]) for key in ("mean", "std")]
    options = _table(builder, 2, dict(enumerate(vectors)))
    builder.StartObject(2)
    builder.PrependUint8Slot(0, _NORMALIZATION_OPTIONS, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    return builder.EndObject()


def _file(builder, name: str, description: str, kind: int):
    strings = [builder.CreateString(name), builder.CreateString(description)]
    builder.StartObject(4)
    for slot, string in enumerate(strings):
        builder.PrependUOffsetTRelativeSlot(slot, string, 0)
    builder.PrependInt8Slot(2, kind, 0)
    return builder.EndObject()


def _table(builder, count: int, slots: dict):
    builder.StartObject(count)
    for slot, offset in slots.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return builder.EndObject()


def _offsets(builder, offsets: list):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder, numbers: list[float]):
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependFloat32(number)
    return builder.EndVector()
