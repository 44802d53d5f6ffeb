"""The run folder: what every command reads and writes, named by its path.

`config.yaml`, `model.keras`, `model_card.json`, `checkpoints/`, `history.csv`, `metrics.json`,
`pictures/`, `export/` and `report.html`; each file is written whole or not at all.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from core.config import TrainConfig
from core.documents import read_json, read_yaml
from core.errors import UserError
from core.files import claim_folder, write_atomic, write_json
from core.model_card import ModelCard

FORMAT_VERSION = 1


class RunFolder:
    """A run folder that exists.

    Attributes:
        path: The folder.
        app: Name of the app that made it.
        config: The choices of the training or import.
        record: Everything else of config.yaml: versions, data fingerprint, where it came from.
        card: The model card.
    """

    def __init__(self, path: str | Path, *, app: str | None = None):
        """Open a run folder.

        Raises:
            UserError: When it is no run folder, damaged, of another app, or written by a newer
                version.
        """
        self.path = Path(path)
        document = self._read_config()
        self.record = {k: v for k, v in document.items() if k != "config"}
        version = self.record.get("format_version")
        if version != FORMAT_VERSION:
            raise UserError(
                f"{self.path}: has run-folder format {version}, this version reads "
                f"{FORMAT_VERSION}; train or import it again."
            )
        self.config = TrainConfig.from_dict(
            document["config"], source=str(self.path / "config.yaml")
        )
        self.app = self.config.app
        if app is not None and app != self.app:
            raise UserError(
                f"{self.path}: is a run of '{self.app}', not of '{app}'; use: gossamer {self.app} …"
            )
        self.card = ModelCard.from_dict(
            self._read_json("model_card.json"), source=str(self.path / "model_card.json")
        )

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: TrainConfig,
        card: ModelCard,
        *,
        overwrite: bool = False,
        **record: Any,
    ) -> RunFolder:
        """Make a run folder (see `core.files.claim_folder` for existing ones) and open it."""
        import yaml

        path = claim_folder(path, overwrite=overwrite)
        write_json(path / "model_card.json", card.to_dict())
        document = {
            "format_version": FORMAT_VERSION,
            "config": config.to_dict(),
            "versions": versions(),
            **record,
        }
        write_atomic(path / "config.yaml", yaml.safe_dump(document, sort_keys=False))
        return cls(path)

    def file(self, name: str) -> Path:
        """Return the path of a file of the run, whether it exists or not."""
        return self.path / name

    @property
    def holds_encoder(self) -> bool:
        """Whether `model.keras` is a pre-trained encoder, which has no results of its own."""
        return self.record.get("source") == "pretrain"

    def check_whole(self) -> None:
        """Raise a `UserError` when the run holds only an encoder."""
        if self.holds_encoder:
            raise UserError(
                f"{self.path}: holds a pre-trained encoder, which has no results yet; train a "
                f"network from it with --initial-weights {self.path}."
            )

    def check_command(self, command: str) -> None:
        """Raise a `UserError` when a run cannot be gone on with by a command that trains."""
        source = self.record.get("source", "train")
        if source == "calibrate" or self.holds_encoder != (command == "pretrain"):
            raise UserError(
                f"{self.path}: was made by {source}; go on with that, or choose another --out for "
                f"{command}."
            )

    def save_model(self, model) -> Path:
        """Write `model.keras` atomically."""
        return write_atomic(self.path / "model.keras", lambda temporary: model.save(temporary))

    def load_model(self, *, encoder: bool = False):
        """Return the `keras.Model` of `model.keras`.

        Args:
            encoder: Whether a pre-trained encoder will do, instead of a whole network.

        Raises:
            UserError: When the run has no model yet, the file is damaged, or holds an encoder.
        """
        if not encoder:
            self.check_whole()
        import keras

        import core.layers

        if self.config.compress:
            import core.compress.quantize  # noqa: F401

        path = self.path / "model.keras"
        if not path.is_file():
            raise UserError(
                f"{self.path}: holds no model.keras yet; finish the training with --resume."
            )
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            whole = zipfile.is_zipfile(path)  # Keras would say that there is no such file
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"{path}: cannot be loaded ({reason if whole else 'cut off or another file'}); the "
                "file is damaged or of another version: train or import it again."
            ) from error

    def history(self) -> list[dict[str, float]]:
        """Return the rows of history.csv, or an empty list.

        Raises:
            UserError: When the file is damaged.
        """
        import csv

        path = self.path / "history.csv"
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [
                    {k: float(v) for k, v in row.items() if v not in ("", None)}
                    for row in csv.DictReader(stream)
                ]
            if not all("epoch" in row and row["epoch"].is_integer() for row in rows):
                raise ValueError("a row without the number of an epoch")
            return rows
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise UserError(
                f"{path}: is damaged; train --resume writes it anew from the checkpoint."
            ) from error

    def metrics(self) -> dict:
        """Return metrics.json (evaluations by split and file), or an empty dict.

        Raises:
            UserError: When the file is damaged.
        """
        path = self.path / "metrics.json"
        if not path.is_file():
            return {}
        try:
            found = read_json(path)
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
            raise UserError(f"{path}: is damaged; delete it, then evaluate and verify again.")
        return found

    def add_metrics(self, key: str, values: dict) -> None:
        """Set one entry of metrics.json."""
        write_json(self.path / "metrics.json", {**self.metrics(), key: values})

    def _read_config(self) -> dict:
        path = self.path / "config.yaml"
        if not path.is_file():
            kind = "has no config.yaml" if self.path.is_dir() else "does not exist"
            raise UserError(
                f"{self.path}: is not a run folder ({kind}); name the folder that train or import "
                "wrote."
            )
        try:
            document = read_yaml(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is damaged; train or import the run again.") from error
        if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
            raise UserError(f"{path}: is not the config of a run; name another folder.")
        for name in ("data", "versions"):
            if document.get(name) is None:
                document.pop(name, None)
            elif not isinstance(document[name], dict):
                raise UserError(f"{path}: has a damaged entry '{name}'; delete the entry.")
        return document

    def _read_json(self, name: str) -> dict:
        path = self.path / name
        try:
            return read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is missing or damaged; make the run again.") from error


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("gossamer-keras", "tensorflow", "keras", "numpy", "ai-edge-litert"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
