"""The model card of what was trained on ImageNet to tell its 1000 classes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.model_card import ModelCard

OUTPUT = "logits of ImageNet's 1000 classes, in the order of the WordNet ids"


def imagenet_card(
    network: str, variant: str, table: Mapping[str, Any], *, side: int = 224, **fields
) -> ModelCard:
    """Return the card of a published classifier.

    Args:
        network, variant: Catalog name and variant.
        table: With the published "parameters" and "top-1" (percent, single crop), and "macs" of
            convolutions and classifier at the input's size.
        side: Of the input.
        **fields: Further ones of the card.
    """
    return ModelCard(
        network=network,
        variant=variant,
        app="backbone",
        input_size=(side, side),
        published={
            "parameters": table["parameters"],
            f"GMACs at {side}x{side}": round(table["macs"] / 1e9, 4),
            "top-1 ImageNet": table["top-1"],
        },
        **({"output": OUTPUT} | fields),
    )


def cropped(shorter: int, side: int = 224, method: str = "bilinear") -> str:
    """Return how a picture gets to the input's size, as torchvision and others do it."""
    return f"shorter side to {shorter}, {method} as Pillow does it; the middle {side}x{side}"
