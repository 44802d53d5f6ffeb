"""Small parquet shards as the Hugging Face hub stores pictures."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image


def encoded(colour=(10, 120, 200), mode="RGB", kind="PNG", size=(9, 7)) -> bytes:
    """Return a picture of one colour, (width, height), as the bytes of a file."""
    stream = io.BytesIO()
    Image.new("RGB", size, tuple(int(c) for c in colour)).convert(mode).save(stream, kind)
    return stream.getvalue()


def write_shard(
    path: Path, labels, *, contents=None, names=None, columns=("image", "label"), group=2
) -> Path:
    """Write a shard of rows {image: {bytes, path}, label}.

    Args:
        path: The file.
        labels: One a row.
        contents: Encoded pictures; None makes small ones that tell their row by their red.
        names: Class names in the hub's metadata; None leaves it out.
        columns: What the two are called.
        group: Rows of a row group.
    """
    if contents is None:
        contents = [encoded((row, 0, 0)) for row in range(len(labels))]
    rows = [{"bytes": c, "path": f"{n}.png"} for n, c in enumerate(contents)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = [pa.array(rows, kind), pa.array(labels)]
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}}
        hub = {"info": {"features": features}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(hub).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=group)
    return path


class Loaded:
    """A loaded data set in miniature: a length and rows."""

    def __init__(self, rows, names=None):
        self.rows = rows
        if names is not None:
            label = type("ClassLabel", (), {"names": list(names)})()
            self.features = {"label": label}

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


def grey(value, shape=(6, 8)) -> np.ndarray:
    return np.full(shape, value, np.uint8)
