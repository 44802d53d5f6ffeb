"""docs/adding-a-network.md followed to the letter: its code runs, its network passes the contract.

The network is the page's example, tests/conv_net.py. That the page is enough for a real one is what
GhostNetV2 shows.
"""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import conv_net
import golden_files
import numpy as np
import pytest
import test_contract
import torch_files

from apps import catalog
from core.checkpoints import load_torch_state, parameter_shapes, read
from core.compress.quantize import quantize_aware
from core.compress.ranges import calibrate
from core.engines import LiteRTEngine, output_error
from core.export.convert import to_tflite

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adding-a-network.md").read_text(encoding="utf-8")
EXCERPT, LINE, GOLDEN_TEST, USE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
FREE = re.findall(r"^\| `(test_\w+)` \|", PAGE, flags=re.MULTILINE)


@pytest.fixture
def listed(monkeypatch):
    """The catalog with the page's line in it."""
    names = {"BACKBONE": catalog.BACKBONE, "System": catalog.System}
    for name, system in eval(f"{{{LINE}}}", names).items():
        assert len(LINE.rstrip("\n")) <= 100
        monkeypatch.setitem(
            catalog.SYSTEMS, name, dataclasses.replace(system, module=conv_net.__name__)
        )


def state() -> dict[str, np.ndarray]:
    """Return parameters by the golden files' rule."""
    shapes = parameter_shapes(conv_net.conv_net())
    return {name: golden_files.parameter(name, shape) for name, shape in shapes.items()}


def test_the_excerpt_stands_in_the_file():
    file = Path(conv_net.__file__).read_text(encoding="utf-8")
    builder, network = EXCERPT.split("\n\n\nNETWORK")
    assert builder in file and f"NETWORK{network}" in file


def test_files_and_functions_it_names_exist():
    spans = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    spans |= set(re.findall(r"(?<= )tests/\S+\.py", PAGE))
    paths = {span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]*)+", span)}
    assert len(paths) >= 12
    for path in paths:
        assert (ROOT / path).exists(), path
    for module, name in (span.rsplit(".", 1) for span in spans if re.match(r"core[.\w]+$", span)):
        place = ROOT / module.replace(".", "/")
        if not any(path.exists() for path in (place / name, place / f"{name}.py")):
            assert name in place.with_suffix(".py").read_text(), name
    assert {"card(variant)", "Network.features"} <= spans
    for attribute in ("card", "deploy", "convert_state", "ignored", "skipped", "features"):
        assert attribute in {field.name for field in dataclasses.fields(conv_net.Network)}


def test_it_lists_what_the_contract_tests():
    tests = [name for name, _ in inspect.getmembers(test_contract, inspect.isfunction)]
    assert sorted(FREE) == sorted(name for name in tests if name.startswith("test_"))


@pytest.mark.parametrize("test", FREE)
def test_its_network_passes_the_contract(test, listed, tmp_path):
    function = getattr(test_contract, test)
    wanted = inspect.signature(function).parameters
    for variant in conv_net.VARIANTS if "variant" in wanted else ("s",):
        given = {"name": "conv_net", "variant": variant, "tmp_path": tmp_path}
        function(**{name: given[name] for name in wanted})


def test_its_golden_test_runs(monkeypatch, tmp_path):
    model, shapes = conv_net.conv_net(), parameter_shapes(conv_net.conv_net())
    load_torch_state(model, state())
    meta = {"input": {"shape": [2, 3, 64, 64], "seed": 0}}
    noise = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    logits = np.asarray(model(noise.transpose(0, 2, 3, 1)))
    arrays = {"output": logits.ravel(), "shape": logits.shape, "stride": 1}
    arrays = {f"{kind}/classifier": array for kind, array in arrays.items()}
    texts = {"meta": json.dumps(meta), "shapes": json.dumps(shapes)}
    np.savez(tmp_path / "conv_net__s.npz", **arrays, **texts)
    monkeypatch.setattr(golden_files, "GOLDEN", tmp_path)
    names = {**vars(conv_net), "golden_files": golden_files, "load_torch_state": load_torch_state}
    exec(GOLDEN_TEST, names)
    assert len(names["golden"].shapes) == len(shapes)


def test_its_way_from_a_checkpoint_to_files_runs(listed, monkeypatch, tmp_path):
    wrapped = {f"module.{name}": array for name, array in state().items()}
    torch_files.write_zip(tmp_path / "checkpoint.pth", {"state_dict": wrapped, "epoch": 7})
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(1).standard_normal((4, 64, 64, 3)).astype(np.float32)
    names = {
        "catalog": catalog, "read": read, "load_torch_state": load_torch_state, "images": images,
        "quantize_aware": quantize_aware, "calibrate": calibrate, "to_tflite": to_tflite,
    }  # fmt: skip
    exec(USE, names)
    assert (names["variant"], names["classes"]) == ("s", 10)
    assert [tuple(m.shape[1:3]) for m in names["maps"].outputs] == [(16, 16), (8, 8)]
    expected, card = [np.asarray(names["model"](images))], names["network"].card("s")
    for content, bound in ((names["content"], 1e-4), (names["integers"], 0.2)):
        assert output_error(expected, LiteRTEngine(content, card)(images)) < bound


def test_ghostnetv2_touches_one_line_outside_its_own_files():
    """Its file, its test, its golden files, the catalog's line; the README's table is generated."""
    found = {}
    for path in sorted([*ROOT.glob("apps/**/*.py"), *ROOT.glob("core/**/*.py"),
                        *ROOT.glob("tools/*.py"), *ROOT.glob("tests/*.py")]):  # fmt: skip
        lines = path.read_text(encoding="utf-8").lower().splitlines()
        count = sum("ghostnet" in line for line in lines)
        if count and path not in (Path(__file__), ROOT / "core" / "backbones" / "ghostnetv2.py"):
            found[path.relative_to(ROOT).as_posix()] = count
    assert found == {"apps/catalog.py": 1}
    (line,) = [x for x in (ROOT / "apps/catalog.py").read_text().splitlines() if "ghostnet" in x]
    assert len(line) <= 100
