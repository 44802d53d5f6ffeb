"""The model card inside the file: standard metadata, a ZIP behind it, and an unharmed model."""

import io
import json
import shutil
import struct
import subprocess
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from core.errors import UserError
from core.tflite import inspect, metadata

CARD = {
    "network": "tiny",
    "variant": "base",
    "title": "Tiny network",
    "licence": "Apache-2.0",
    "input_size": [16, 12],
    "color_order": "RGB",
    "mean": [0.5, 0.25, 0.0],
    "std": [0.2, 0.4, 1.0],
    "note": "Grüße",
}
LABELS = ["cat", "dog", "Bär", "fish", "owl"]


def run(data: bytes, kind=OpResolverType.AUTO) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    generator = np.random.default_rng(0)
    if entry["dtype"] == np.int8:
        sample = generator.integers(-128, 128, entry["shape"], dtype=np.int8)
    else:
        sample = generator.standard_normal(entry["shape"]).astype(np.float32)
    interpreter.set_tensor(entry["index"], sample)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


class Table:
    """A reader of any flatbuffer table by field id, written against the format only."""

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position

    @classmethod
    def root(cls, data: bytes) -> "Table":
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def field(self, slot: int) -> int | None:
        vtable = self.position - struct.unpack_from("<i", self.data, self.position)[0]
        if 4 + 2 * slot >= struct.unpack_from("<H", self.data, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.data, vtable + 4 + 2 * slot)[0]
        return self.position + offset if offset else None

    def follow(self, slot: int) -> int:
        position = self.field(slot)
        return position + struct.unpack_from("<I", self.data, position)[0]

    def table(self, slot: int) -> "Table":
        return Table(self.data, self.follow(slot))

    def tables(self, slot: int) -> list["Table"]:
        start = self.follow(slot)
        count = struct.unpack_from("<I", self.data, start)[0]
        places = range(start + 4, start + 4 + 4 * count, 4)
        return [Table(self.data, p + struct.unpack_from("<I", self.data, p)[0]) for p in places]

    def text(self, slot: int) -> str:
        start = self.follow(slot)
        count = struct.unpack_from("<I", self.data, start)[0]
        return self.data[start + 4 : start + 4 + count].decode()

    def floats(self, slot: int) -> list[float]:
        start = self.follow(slot)
        count = struct.unpack_from("<I", self.data, start)[0]
        return list(struct.unpack_from(f"<{count}f", self.data, start + 4))

    def number(self, slot: int, kind: str) -> int:
        return struct.unpack_from(kind, self.data, self.field(slot))[0]


def standard_metadata(data: bytes) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(data)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    return bytes(bytearray(model.buffers[entry.buffer].data))


def test_the_document_comes_back(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(metadata.embed(int8_bytes, CARD, LABELS))
    assert metadata.extract(path) == CARD
    assert metadata.labels(path) == LABELS
    inspect.check_file(path)


def test_the_file_is_a_zip_archive(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(metadata.embed(int8_bytes, CARD, LABELS))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model_card.json", "labels.txt"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("model_card.json")) == CARD
        assert archive.read("labels.txt").decode() == "cat\ndog\nBär\nfish\nowl\n"


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_unzip_reads_it_without_warning(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(metadata.embed(int8_bytes, CARD, LABELS))
    child = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, text=True, check=False)
    assert child.returncode == 0
    assert "extra bytes" not in child.stdout + child.stderr


def test_standard_metadata_fields(int8_bytes):
    content = standard_metadata(metadata.embed(int8_bytes, CARD, LABELS))
    assert content[4:8] == b"M001"
    root = Table.root(content)
    assert root.text(0) == "Tiny network"
    assert root.text(5) == "Apache-2.0"
    assert root.tables(6)[0].text(0) == "model_card.json"
    assert root.text(7) == "1.0.0"
    (graph,) = root.tables(3)
    (source,), (result,) = graph.tables(2), graph.tables(3)
    assert source.text(0) == inspect.operators(int8_bytes)[0].inputs[0].name
    (unit,) = source.tables(4)
    assert unit.number(0, "<B") == 1  # NormalizationOptions
    assert unit.table(1).floats(0) == pytest.approx([127.5, 63.75, 0.0])
    assert unit.table(1).floats(1) == pytest.approx([51.0, 102.0, 255.0])
    image = source.table(3)
    assert image.number(0, "<B") == 2  # ImageProperties
    assert image.table(1).number(0, "<b") == 1  # RGB
    size = image.table(1).table(1)
    assert (size.number(0, "<I"), size.number(1, "<I")) == (12, 16)  # width, height
    (labels,) = result.tables(6)
    assert labels.text(0) == "labels.txt"
    assert labels.number(2, "<b") == 2  # TENSOR_AXIS_LABELS


def test_a_signal_is_normalised_in_its_own_units_and_is_no_image(converted):
    """Standard tools would otherwise divide 16-bit sound by 255, or show it as a picture."""
    card = {"input_size": [8], "channels": 2, "color_order": "", "full_scale": 32768.0}
    card |= {"mean": [0.0, 0.5], "std": [0.25, 0.5]}
    content = converted(lambda signal: signal * 2.0, (1, 8, 2))
    (graph,) = Table.root(standard_metadata(metadata.embed(content, card))).tables(3)
    (source,) = graph.tables(2)
    (unit,) = source.tables(4)
    assert unit.table(1).floats(0) == pytest.approx([0.0, 16384.0])
    assert unit.table(1).floats(1) == pytest.approx([8192.0, 16384.0])
    assert source.field(3) is None


@pytest.mark.parametrize("which", ["float_bytes", "int8_bytes"])
@pytest.mark.parametrize(
    "kind", [OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES]
)
def test_outputs_are_unchanged(which, kind, request):
    data = request.getfixturevalue(which)
    np.testing.assert_array_equal(run(metadata.embed(data, CARD, LABELS), kind), run(data, kind))


def test_constants_stay_aligned_and_equal(int8_bytes):
    embedded = metadata.embed(int8_bytes, CARD, LABELS)
    old = schema.Model.GetRootAs(int8_bytes, 0)
    new = schema.Model.GetRootAs(embedded, 0)
    assert new.BuffersLength() == old.BuffersLength() + 1
    for index in range(new.BuffersLength()):
        buffer = new.Buffers(index)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0
        if index < old.BuffersLength() and old.Buffers(index).DataLength():
            np.testing.assert_array_equal(buffer.DataAsNumpy(), old.Buffers(index).DataAsNumpy())
    assert inspect.operators(embedded) == inspect.operators(int8_bytes)
    assert inspect.xnnpack_share(embedded) == (7, 7)


def test_embedding_again_replaces(int8_bytes):
    once = metadata.embed(int8_bytes, CARD, LABELS)
    assert metadata.embed(once, CARD, LABELS) == once
    other = metadata.embed(once, {"network": "other"}, ["a"])
    assert other == metadata.embed(int8_bytes, {"network": "other"}, ["a"])
    assert metadata.extract(other) == {"network": "other"}
    assert metadata.labels(other) == ["a"]
    assert other.count(b"model_card.json") == once.count(b"model_card.json")


def test_a_card_inside_the_document_fills_the_standard_fields(int8_bytes):
    document = {"sha256": "0", "card": CARD}
    content = standard_metadata(metadata.embed(int8_bytes, document))
    assert Table.root(content).text(0) == "Tiny network"


def test_without_labels_there_is_no_label_file(float_bytes):
    data = metadata.embed(float_bytes, {"network": "tiny"})
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["model_card.json"]
    assert metadata.labels(data) == []


def test_a_file_without_card_is_one_sentence(int8_bytes, tmp_path):
    path = tmp_path / "bare.tflite"
    path.write_bytes(int8_bytes)
    with pytest.raises(UserError, match=r"bare\.tflite: carries no Gossamer model card \(it"):
        metadata.extract(path)
    assert metadata.labels(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is not a TensorFlow Lite file"), (b"PK\5\6" + bytes(18), "is not a TensorFlow Lite")],
)
def test_other_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        metadata.extract(path)
    with pytest.raises(UserError, match="does not exist"):
        metadata.extract(tmp_path / "none.tflite")


def test_a_cut_archive_reads_as_no_card(int8_bytes, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(metadata.embed(int8_bytes, CARD, LABELS)[:-30])
    with pytest.raises(UserError, match="carries no Gossamer model card"):
        metadata.extract(path)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    path = tmp_path / "memory.tflite"
    path.symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"memory\.tflite: cannot be read: .*\.$"):
        metadata.extract(path)


def test_labels_with_line_breaks_are_refused(int8_bytes):
    with pytest.raises(UserError, match="line break"):
        metadata.embed(int8_bytes, CARD, ["a\nb"])
