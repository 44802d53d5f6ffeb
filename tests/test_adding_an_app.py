"""A domain that is no picture, bound in a hundred lines: every shared command works on it.

The app is the one of docs/adding-an-app.md (tests/tone_app): sounds of two channels in, a class
out. It lives in the tests, and neither apps/ nor core/ knows of it.
"""

import importlib
import json
import re
import wave
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tone_app.cli import app
from typer.testing import CliRunner

from core.engines import LiteRTEngine
from core.run_folder import RunFolder
from core.tflite.inspect import float_operators

ROOT = Path(__file__).resolve().parent.parent
APP, PAGE = ROOT / "tests" / "tone_app", ROOT / "docs" / "adding-an-app.md"
CYCLES = {"high": 24, "low": 6, "middle": 12}  # of a tone in a sound of LENGTH samples
EACH, LENGTH = 40, 128


def tone(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments], prog_name="tone")
    return SimpleNamespace(code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def found(*arguments):
    """Return what a command says with --json; it must have ended well."""
    result = tone(*arguments, "--json")
    assert result.code == 0, result.stderr
    return json.loads(result.stdout)


def write_tone(path: Path, cycles: float, rng: np.random.Generator, channels: int = 2) -> Path:
    """Write a noisy tone as a 16-bit .wav file."""
    time = np.arange(LENGTH)[:, None] / LENGTH
    values = 0.4 * np.sin(2 * np.pi * cycles * time + rng.uniform(0, 2 * np.pi, channels))
    values = np.clip(values + 0.2 * rng.standard_normal(values.shape), -1, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((values * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for name, cycles in CYCLES.items():
        for number in range(EACH):
            write_tone(root / name / f"{number}.wav", cycles * rng.uniform(0.8, 1.25), rng)
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Return a trained run; its files are exported in the tests that need them."""
    out = tmp_path_factory.mktemp("runs") / "tones"
    made = found("train", "--data", data, "--out", out)
    assert made["value"] > 0.8  # chance is a third
    return out


# --- the app and its page ---------------------------------------------------------------------


def test_the_app_has_under_120_lines_and_knows_no_other():
    text = "".join(path.read_text(encoding="utf-8") for path in APP.glob("*.py"))
    assert text.count("\n") < 120
    assert "apps" not in text


def test_the_page_shows_the_code_that_is_tested():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n") <= 125
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path in APP.glob("*.py"))
    assert f"{lines} lines in all" in page
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    files = {path.name: path.read_text(encoding="utf-8") for path in APP.glob("*.py")}
    shown = [next((n for n, text in files.items() if block in text), block) for block in blocks]
    assert set(shown) == {"network.py", "data.py", "task.py", "cli.py"}
    assert files["task.py"].split("\n\n\n", 1)[1] in page  # all but the imports


def test_every_name_on_the_page_exists():
    page = PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:core|apps)\.[\w.]+)`", page))
    names |= {f"core.task.{name}" for name in re.findall(r"`(Task\.\w+)`", page)}
    names |= {f"core.model_card.{name}" for name in re.findall(r"`(ModelCard\.\w+)`", page)}
    assert len(names) > 15
    for name in names:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            try:
                place = importlib.import_module(".".join(parts[:length]))
            except ModuleNotFoundError:
                continue
            break
        for attribute in parts[length:]:
            fields = getattr(place, "__dataclass_fields__", {})
            annotated = getattr(place, "__annotations__", {})
            assert attribute in fields or attribute in annotated or hasattr(place, attribute), name
            place = getattr(place, attribute, None)
    for path in re.findall(r"`((?:core|docs|tests|apps)/[\w/.]+)`", page):
        assert (ROOT / path).exists(), path
    for page_beside in re.findall(r"\]\((\w[\w./-]+)\)", page):
        assert (PAGE.parent / page_beside).exists(), page_beside


# --- the commands -----------------------------------------------------------------------------


def test_a_network_that_was_trained_tells_the_tones_apart(run, data):
    assert found("evaluate", run)["metrics"]["accuracy"] > 0.8
    card = RunFolder(run).card
    assert (card.input_size, card.channels, card.labels) == ((LENGTH,), 2, tuple(sorted(CYCLES)))


def test_predict_writes_a_result_a_sound_and_no_picture(run, data, tmp_path):
    bad = tmp_path / "new" / "bad.wav"
    good = write_tone(tmp_path / "new" / "good.wav", CYCLES["high"], np.random.default_rng(5))
    bad.write_bytes(b"RIFF")
    (tmp_path / "new" / "notes.txt").write_text("no sound")
    mono = write_tone(tmp_path / "new" / "mono.wav", 6, np.random.default_rng(5), channels=1)
    result = tone("predict", run, tmp_path / "new", "--out", tmp_path / "out")
    assert result.code == 1 and "1 of 3 inputs predicted" in result.stdout
    for path in (bad, mono):
        said = f"Error: {path}: is no 16-bit .wav file with 128 samples of 2 channels; replace it."
        assert said in result.stderr
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == f"{good.stem}_result.json"
    assert json.loads(file.read_text())["class"] == "high"


def test_export_verify_benchmark_and_report_follow_from_the_task(run, data):
    for precision in ("float32", "int8"):
        file = found("export", run, "--precision", precision)["file"]
        checked = found("verify", file)
        assert checked["passed"] and checked["metrics"]["file"]["accuracy"] > 0.8
        said = found("evaluate", file)
        assert said["metrics"] == checked["metrics"]["file"]
        assert LiteRTEngine(file).input_shape == (1, LENGTH, 2)
    assert float_operators(file) == []
    timed = found("benchmark", run, "--threads", 1, "--calls", 2)["results"]
    assert {one["name"] for one in timed} == {
        "tones (Keras)",
        "tones_float32.tflite",
        "tones_int8.tflite",
    }
    page = unescape(Path(found("report", run)["report"]).read_text(encoding="utf-8"))
    assert "128 × 2 (length, channels)" in page and "(value / 32768 − mean) / std" in page
    assert "<h2>Training</h2>" in page and "<h2>Pictures</h2>" not in page


def test_a_network_is_compressed_with_the_apps_own_training(run, tmp_path):
    made = found("compress", run, "--method", "quantize", "--epochs", 2, "--out", tmp_path / "q")
    before, after = made["stages"]
    assert after["value"] > 0.8 and after["file_bytes"] < before["file_bytes"]
    file = found("export", tmp_path / "q", "--precision", "int8")["file"]
    assert float_operators(file) == [] and found("verify", file)["passed"]


def test_the_data_are_checked_and_have_no_contact_sheet(data, tmp_path):
    assert found("data", data)["splits"] == {"train": 96, "val": 12, "test": 12}
    copy = tmp_path / "tones"
    for name in CYCLES:
        for number in range(5):
            (copy / name).mkdir(parents=True, exist_ok=True)
            content = (data / name / f"{number}.wav").read_bytes()
            (copy / name / f"{number}.wav").write_bytes(content[: 99 if number == 3 else None])
    result = tone("data", copy, "--json")
    assert result.code == 1
    problems = json.loads(result.stdout)["problems"]
    assert len(problems) == 3 and all("3.wav: is no 16-bit .wav file" in one for one in problems)
    refused = tone("data", data, "--out", tmp_path / "sheet.png")
    assert refused.code == 2 and "its samples have no pictures; leave out --out." in refused.stderr
    missing = tone("data", "sample")
    assert "'tone' has no built-in sample data; pass --data PATH." in missing.stderr


def test_a_size_is_one_number_and_pictures_have_nothing_to_say(data, tmp_path):
    out = tmp_path / "short"
    small = ["train", "--data", data, "--quick", "--out", out]
    found(*small, "--input-size", 64)
    assert RunFolder(out).card.input_size == RunFolder(out).config.input_size == (64,)
    assert found("evaluate", out)["samples"] == 12
    for flags, said in (
        (["--input-size", 64, 64], "has 2 sides, but the input of tone_net has 1; pass length."),
        (["--channels", 3], "channels is 3, but tone_net takes 2."),
        (["--network", "tonenet"], "No such network: 'tonenet'. Did you mean 'tone_net'?"),
    ):
        refused = tone(*small[:-1], tmp_path / "other", *flags)
        assert refused.code == 2 and said in refused.stderr and refused.stderr.count("\n") == 1
        assert not (tmp_path / "other").exists()
