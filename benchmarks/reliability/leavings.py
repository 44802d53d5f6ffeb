"""What a command left in a folder: is every file whole, what does it say, what is unfinished?"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.reliability.scenarios import MINE

BEFORE = ".before"  # where an overwritten run waits (`core.training.state`)
_NUMBER = re.compile(rb"\d+([.,]\d+)*")
_ADDRESS = re.compile(rb'"shared_object_id": \d+')  # Keras writes addresses in memory


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder but the user's own and those of a run that was set aside."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [p for p in found if p.name not in MINE and BEFORE not in p.relative_to(folder).parts]


def unfinished(folder: Path) -> list[str]:
    """Return the temporary files below a folder, and a run that is still set aside."""
    names = [str(p.relative_to(folder)) for p in files_of(folder) if p.name.startswith(".")]
    return names + [str(p.relative_to(folder)) for p in sorted(folder.rglob(BEFORE))]


def broken(folder: Path) -> list[str]:
    """Return what is wrong with files that stand under their final name (in a child process)."""
    problems = []
    for path in files_of(folder):
        if path.name.startswith("."):
            continue
        try:
            _open(path)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            problems.append(f"{path.relative_to(folder)}: {type(error).__name__} {reason}")
    return problems


def run_problem(folder: Path) -> str:
    """Return why a folder is no usable run: not even one that says what is missing, or ""."""
    from core.errors import UserError
    from core.run_folder import RunFolder

    try:
        run = RunFolder(folder)
        run.history()
        if run.file("model.keras").is_file():
            run.load_model()
    except UserError as error:
        said = str(error)
        return said if "damaged" in said else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def contents(folder: Path) -> dict[str, str]:
    """Return file → digest of what it says, for all that a command computes.

    Left out are wall times (timing.csv, benchmarks in metrics.json, the numbers of report.html),
    the id of a chain, and the date and the addresses inside a .keras file. Weights, states of
    optimisers, histories, what TensorBoard shows, configs, TFLite files, pictures and records count
    to the last bit.
    """
    found: dict[str, str] = {}
    boards = [p for p in sorted(folder.rglob("tensorboard")) if BEFORE not in p.parts]
    for board in boards:
        found[str(board.relative_to(folder))] = str(sorted(_scalars(board).items()))
    for path in files_of(folder):
        name = path.relative_to(folder)
        if "tensorboard" in name.parts or name.name == "timing.csv":
            continue
        found[str(name)] = _digest(path)
    return found


def fingerprint(*paths: Path) -> str:
    """Return a digest of the bytes and names of files and of all files below folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            digest.update(str(file).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _open(path: Path) -> None:
    """Read a file to its end as what its suffix promises; raise whatever goes wrong."""
    kind = path.suffix
    if kind == ".keras":
        import keras

        import core.compress.quantize
        import core.layers  # noqa: F401

        keras.models.load_model(path, compile=False)
    elif kind in (".npz", ".npy"):
        _arrays(path)
    elif kind == ".tflite":
        from core.engines import LiteRTEngine

        LiteRTEngine(path, delegate=False)
    elif kind == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif kind == ".yaml":
        import yaml

        if not isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict):
            raise ValueError("no mapping")
    elif kind == ".csv":
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("rows of different lengths")
    elif kind in (".png", ".jpg", ".webp", ".tif"):
        from PIL import Image

        with Image.open(path) as image:
            image.load()
    elif kind == ".html" and not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("cut off")


def _scalars(board: Path) -> dict[tuple[str, int], float]:
    """Return (name, step) → value over all logs of a run; the end of one may be cut off."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for path in sorted(board.glob("events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    return found


def _arrays(path: Path) -> dict[str, Any]:
    import numpy as np

    found = np.load(path, allow_pickle=False)
    return {name: found[name] for name in found.files} if path.suffix == ".npz" else {"": found}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()

    def add(name: str, value: Any) -> None:
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())

    if path.name.startswith("."):  # unfinished
        digest.update(path.read_bytes())
    elif path.suffix == ".keras":
        import h5py

        with zipfile.ZipFile(path) as archive:
            digest.update(_ADDRESS.sub(b"", archive.read("config.json")))
            with archive.open("model.weights.h5") as stream, h5py.File(stream) as weights:
                weights.visititems(
                    lambda name, node: add(name, node[()]) if hasattr(node, "dtype") else None
                )
    elif path.suffix == ".npz":
        for name, value in sorted(_arrays(path).items()):
            if name == "record":
                record = json.loads(value.item())
                record.pop("timing", None)
                digest.update(json.dumps(record, sort_keys=True).encode())
            else:
                add(name, value)
    elif path.name in ("config.yaml", "chain.json"):
        import yaml

        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document.pop("chain", None)
        digest.update(json.dumps(document, sort_keys=True).encode())
    elif path.name == "metrics.json":
        kept = json.loads(path.read_text(encoding="utf-8")).items()
        values = {key: value for key, value in kept if not key.startswith("benchmark/")}
        digest.update(json.dumps(values, sort_keys=True).encode())
    elif path.name == "report.html":
        digest.update(_NUMBER.sub(b"", path.read_bytes()))
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()
