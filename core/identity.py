"""Which network a run folder or a .tflite file holds, found without loading it.

What an app makes with a network and keeps (embeddings, a map) is worth nothing beside what another
network makes, so such a file says whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.files import sha256
from core.model_card import ModelCard, shown_size
from core.run_folder import RunFolder


@dataclass(frozen=True)
class Identity:
    """A network with its weights.

    Attributes:
        network, variant: Catalog name and variant.
        weights: SHA-256 of the run's model.keras; a .tflite file has that of the run it is made of.
        source: Name of the run folder or file.
        precision: "float32" for a run, otherwise that of the file.
        input_size: The sides of the network's input.
    """

    network: str
    variant: str
    weights: str
    source: str
    precision: str
    input_size: tuple[int, ...]

    def described(self) -> str:
        """Return the network in words: what must be the same on both sides of a comparison."""
        return (
            f"{self.network} {self.variant} at {shown_size(self.input_size)} with the weights "
            f"{self.weights[:8]} ('{self.source}')"
        )

    def is_same_network(self, other: Identity) -> bool:
        """Return whether both are one network; its precisions may differ."""
        return (self.network, self.variant, self.weights, self.input_size) == (
            other.network, other.variant, other.weights, other.input_size,
        )  # fmt: skip


def identify(source: Path, app: str) -> tuple[ModelCard, Identity]:
    """Return the model card of a run folder or .tflite file, and which network it is.

    Args:
        source: The folder or file.
        app: Name of the app that a run must be of.

    Raises:
        UserError: When the run or the file is damaged or has no weights.
    """
    if source.is_dir():
        run = RunFolder(source, app=app)
        weights = run.file("model.keras")
        if not weights.is_file():
            raise UserError(
                f"{source}: holds no model.keras yet; finish the training with --resume."
            )
        card, fingerprint = run.card, sha256(weights)
        simulated = run.config.compress.get("method") == "quantize"
        precision = "integers, simulated" if simulated else "float32"
    else:
        from core.tflite.metadata import extract

        document = extract(source)
        card = ModelCard.from_dict(document.get("model_card", {}), source=str(source))
        fingerprint = str(document.get("model_sha256") or sha256(source))
        precision = str(document.get("precision", "unknown"))
    name = source.resolve().name
    size = tuple(card.input_size)
    return card, Identity(card.network, card.variant, fingerprint, name, precision, size)
