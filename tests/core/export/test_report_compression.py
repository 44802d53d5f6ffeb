"""The report's section on compression: what it says, what it keeps apart, what it survives."""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from core.compress.analysis import Change, KernelFacts, LayerNoise, compressed_size, kernel_table
from core.config import TrainConfig
from core.export.report_bars import histogram, layer_bars
from core.export.report_compression import (
    Compression,
    FileCompression,
    collect_compression,
    compression_section,
    record_changes,
    record_noise,
)
from core.export.report_content import Content
from core.export.report_page import page
from core.files import write_atomic
from core.model_card import ModelCard
from core.run_folder import RunFolder

EVIL = "<script>alert('x')</script>"
CARD = ModelCard("toy", "s", "toy", title="ToyNet")


def kernel(name, histogram, zeros=0, unique=4, channel=2):
    count = sum(histogram)
    return KernelFacts(name, (count, 1), count, zeros, unique, channel, histogram, -1.0, 0.5)


def noise(*own):
    return [LayerNoise(f"layer{n}", value - 5.0, value) for n, value in enumerate(own)]


@pytest.fixture
def run(tmp_path, float_bytes, int8_bytes) -> RunFolder:
    """A run with two files."""
    config = TrainConfig(app="toy", network="toy", variant="s", data="data", epochs=3)
    made = RunFolder.create(tmp_path / "run", config, CARD, source="train")
    for name, content in (("float32", float_bytes), ("int8", int8_bytes)):
        write_atomic(made.file("export") / f"run_{name}.tflite", content)
    return made


def files(run):
    return {
        path.stem.removeprefix("run_"): path for path in sorted(run.file("export").glob("*.tflite"))
    }


class Reader(HTMLParser):
    """Collects tables, fails on tags left open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.tables = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def test_files_are_measured_without_any_record(run):
    found = collect_compression(run, files(run))
    assert [file.label for file in found.files] == ["float32", "int8"]
    assert found.problem == "" and found.changes == []
    for file, path in zip(found.files, files(run).values(), strict=True):
        assert (file.bytes, file.zip_bytes) == (path.stat().st_size, compressed_size(path))
        assert file.kernels == kernel_table(path)
        assert not file.noise


def test_noise_and_changes_are_kept_in_the_run(run):
    layers = [LayerNoise("a", 30.5, 41.0), LayerNoise("b", math.inf, math.inf)]
    record_changes(run, [Change("zip bytes", 5210, 1730), Change("file bytes", None, 9)])
    record_noise(run, files(run)["int8"], layers, samples=16)
    stored = json.loads(run.file("metrics.json").read_text(), parse_constant=pytest.fail)
    entry = stored["compression"]
    assert entry["changes"][0] == {"name": "zip bytes", "before": 5210, "after": 1730}
    assert entry["noise"]["run_int8.tflite"]["layers"] == [
        {"layer": "a", "sqnr_db": 30.5, "own_db": 41.0},
        {"layer": "b", "sqnr_db": None, "own_db": None},
    ]
    found = collect_compression(run, files(run))
    assert found.changes == [Change("zip bytes", 5210, 1730), Change("file bytes", None, 9)]
    assert [(file.noise, file.samples) for file in found.files] == [((), 0), (layers, 16)]


def test_noise_of_an_older_file_is_left_out(run, float_bytes):
    path = files(run)["int8"]
    record_noise(run, path, noise(40.0), samples=2)
    write_atomic(path, float_bytes)
    assert not collect_compression(run, files(run)).files[1].noise


@pytest.mark.parametrize(
    "entry",
    [
        {"noise": {"run_int8.tflite": {"sha256": "x"}}},
        {"noise": []},
        {"changes": [{"name": "zip bytes"}]},
        {"changes": [{"name": "x", "before": "many", "after": 1}]},
    ],
)
def test_a_damaged_record_costs_only_itself(run, entry):
    run.add_metrics("compression", entry)
    found = collect_compression(run, files(run))
    assert found.problem == (
        "The entry 'compression' of metrics.json is damaged; compress the run again."
    )
    assert len(found.files) == 2
    assert found.problem.replace("'", "&#x27;") in compression_section(found)


def test_a_damaged_file_is_left_to_the_checks(run):
    write_atomic(files(run)["int8"], b"\0" * 100)
    assert [file.label for file in collect_compression(run, files(run)).files] == ["float32"]


def test_the_tables_say_size_zeros_and_different_values():
    facts = [kernel("a", (2, 0, 6), zeros=6, unique=3), kernel("b", (1, 0, 1), channel=7)]
    changes = [Change("zip bytes", 5210, 1730), Change("kernel parameters", 10, 10),
               Change("file bytes", None, 400)]  # fmt: skip
    section = compression_section(
        Compression([FileCompression("int8", 4000, 1000, facts)], changes)
    )
    reader = Reader(section)
    assert reader.tables[0][1:] == [
        ["zip", "5.21 kB", "1.73 kB", "33.2 %"],
        ["kernel parameters", "10", "10", "100.0 %"],
        ["file", "–", "400 B", "–"],
    ]
    assert reader.tables[1][1] == ["int8", "4.00 kB", "1.00 kB", "25.0 %", "10", "60.0 %", "4", "7"]
    assert reader.tables[2][1] == ["a", "8×1", "8", "75.0 %", "3", "2", "−1.00 – 0.500"]


def test_the_noisiest_layers_are_named_worst_first():
    facts = FileCompression("int8", 10, 5, (), noise(50, 12, 40, 30, math.inf, 20, 45), 3)
    section = compression_section(Compression([facts]))
    rows = Reader(section).tables[1]
    assert [row[1] for row in rows[1:]] == ["layer1", "layer5", "layer3", "layer2", "layer6"]
    assert rows[1] == ["1", "layer1", "12.0 dB", "7.0 dB"]
    assert "On 3 samples: at the last layer, layer6, the signal is 40.0 dB" in section


def test_texts_of_others_are_escaped():
    facts = FileCompression(EVIL, 10, 5, [kernel(EVIL, (1, 2, 1))], [LayerNoise(EVIL, 1, 2)], 1)
    text = page(
        Content(
            app="toy",
            run="r",
            card=CARD,
            compression=Compression([facts], [Change(EVIL, 1, 2)], EVIL),
        )
    )
    assert "script" not in Reader(text).tags
    assert "<h2>Compression</h2>" in text and EVIL not in text


def test_nothing_is_shown_where_there_is_nothing():
    assert compression_section(None) is None
    assert compression_section(Compression()) is None
    assert "Compression" not in page(Content(app="toy", run="r", card=CARD))


def test_a_bar_of_zeros_is_cut_and_told():
    drawn = histogram("Weights", [5, 10, 300, 10, 5])
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', drawn)]
    assert heights[2] == max(heights) == 146.0  # of the whole chart
    assert heights[1] > 73 and heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert "90.9 %" in drawn
    assert "%</text>" not in histogram("Weights", [5, 10, 20, 10, 5]).split("<rect", 1)[1]


def test_an_empty_histogram_is_still_a_chart():
    Reader(histogram("Weights", [0, 0, 0]))
    Reader(histogram("Weights", [0, 7, 0]))


def test_bars_stay_inside_the_axes():
    bars, dots = [40.0, math.inf, -3.0, 170.0, -math.inf], [41.0, math.inf, -2.0, 170.0, 0.0]
    drawn = layer_bars("Noise", list("abcde"), bars, dots, [2])
    Reader(drawn)
    assert drawn.count("<rect") == 3  # no bar without noise or without signal
    for top, height in re.findall(r' y="([\d.-]+)" width="[\d.]+" height="([\d.-]+)"', drawn):
        assert float(top) >= 20 and float(top) + float(height) <= 166.1
    assert "c: −3.0 dB, own −2.0 dB" in drawn
    assert "nan" not in drawn and "inf" not in drawn
