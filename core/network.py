"""A published network as the suite knows it: builder, variants, card and the import's details."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError, near_miss
from core.model_card import ModelCard


@dataclass(frozen=True)
class Network:
    """Everything the commands need of one architecture.

    Attributes:
        build: `build(variant, input_shape, *, classes, **options) -> keras.Model`.
        variants: Name → table of widths, depths and kernels; the first is the default.
        card: `card(variant) -> ModelCard` with the published defaults.
        training_options: Extra builder arguments for the graph that is trained or imported
            (auxiliary heads, unfused branches).
        deploy: Turns that graph into the deployable one with equal outputs.
        convert_state: Adapts a published PyTorch state dict (name → array) before it is loaded
            by name, for the few arrays a transposition by layer kind does not place.
        infer: Returns what a state dict tells of the builder's arguments (variant, classes).
        ignored: Regular expressions of state entries that are no parameters of the network.
        skipped: Returns further such expressions for a model that was built (a classifier it has
            no use for).
        notes: Returns sentences a user shall read about a checkpoint, of its state and file name.
    """

    build: Callable[..., Any]
    variants: Mapping[str, Mapping]
    card: Callable[[str], ModelCard]
    training_options: Mapping[str, Any] = field(default_factory=dict)
    deploy: Callable[[Any], Any] = lambda model: model
    convert_state: Callable[[dict], dict] = lambda state: state
    infer: Callable[[dict], dict] = lambda state: {}
    ignored: tuple[str, ...] = ()
    skipped: Callable[[Any], tuple[str, ...]] = lambda model: ()
    notes: Callable[[Mapping[str, Any], str], list[str]] = lambda state, file: []

    def check_variant(self, variant: str | None) -> str:
        """Return the variant's name (the default for None), or raise a `UserError`."""
        if variant is None:
            return next(iter(self.variants))
        if variant not in self.variants:
            raise UserError(f"No such variant: '{variant}'.{near_miss(variant, self.variants)}")
        return variant

    def published(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checkpoint's arrays by the published names, wrappers' prefixes taken off."""
        from core.checkpoints.state import plain_names

        return plain_names(state, self.ignored)
