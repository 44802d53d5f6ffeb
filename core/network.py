"""A published network as the suite knows it: builder, variants, card and the import's details."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import UserError, no_such
from core.model_card import ModelCard

CLASSIFIER = "classifier"  # what published networks call their last layer
PROFILES = (r"(.*\.)?total_(ops|params)",)  # left in a state dict by counters of operations


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
        features: Stride → layer whose output has that many pixels of the input's side for one: the
            maps that dense tasks build upon. Where variants name them otherwise, a function of the
            model that returns this.
        head: Regular expression of the layers that are new where the network learns another task
            and that are trained first; empty: its last layer with weights.
        backbone: Of a variant, name and variant of the published network that it is built upon;
            None where it is one itself.
        smallest: Least height and width of an input.
        any_size: Whether a model's sides may be open (None); not where positions have weights.
        square: Whether height and width must be equal, as where a network turns its input.
        kept: Regular expression of the layers whose outputs a training on large inputs keeps; what
            lies between is computed again (`core.training.recompute`). Empty: all is kept.
    """

    build: Callable[..., Any]
    variants: Mapping[str, Mapping]
    card: Callable[[str], ModelCard]
    training_options: Mapping[str, Any] = field(default_factory=dict)
    deploy: Callable[[Any], Any] = lambda model: model
    convert_state: Callable[[dict], dict] = lambda state: state
    infer: Callable[[dict], dict] = lambda state: {}
    ignored: tuple[str, ...] = PROFILES
    skipped: Callable[[Any], tuple[str, ...]] = lambda model: ()
    notes: Callable[[Mapping[str, Any], str], list[str]] = lambda state, file: []
    features: Mapping[int, str] | Callable[[Any], Mapping[int, str]] = field(default_factory=dict)
    head: str = ""
    backbone: Callable[[str], tuple[str, str]] | None = None
    smallest: int = 1
    any_size: bool = True
    square: bool = False
    kept: str = ""

    def check_variant(self, variant: str | None) -> str:
        """Return the variant's name (the default for None), or raise a `UserError`."""
        if variant is None:
            return next(iter(self.variants))
        if variant not in self.variants:
            raise no_such("variant", variant, self.variants)
        return variant

    def check_square(self, name: str, size: Sequence[int]) -> None:
        """Raise a `UserError` for an input of unequal sides where the network takes none such.

        Args:
            name: Of the network.
            size: The input's sides.
        """
        if self.square and len(set(size)) > 1:
            shown = "x".join(map(str, size))
            raise UserError(
                f"Input size {shown} does not fit {name}, which turns its input: height and width "
                f"must be equal, such as {max(size)}x{max(size)}."
            )

    def published(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checkpoint's arrays by the published names, wrappers' prefixes taken off."""
        from core.checkpoints.state import plain_names

        return plain_names(state, self.ignored)

    def features_of(self, model) -> Mapping[int, str]:
        """Return `features` of a model of this network."""
        return self.features(model) if callable(self.features) else self.features

    def pyramid(self, model, strides: Sequence[int] | None = None):
        """Return the `keras.Model` from a model's input to its feature maps, finest first.

        Args:
            model: Built by this network, deployed or not; the weights are shared.
            strides: Which of `features`; None takes all.

        Returns:
            A model whose outputs are a list of maps (N, ceil(H / stride), ceil(W / stride), C).
        """
        import keras

        features = self.features_of(model)
        strides = sorted(features if strides is None else strides)
        unknown = [stride for stride in strides if stride not in features]
        if unknown or not strides:
            raise ValueError(
                f"`strides` must be some of {sorted(features)}. Received: strides={strides}"
            )
        maps = [model.get_layer(features[stride]).output for stride in strides]
        return keras.Model(model.input, maps, name=f"{model.name}_pyramid")

    def encoder(self, model):
        """Return the encoder inside a model: from its input to the coarsest of `features`.

        The two share their weights. It is what is trained without labels, on a model of its own,
        and then transferred (`core.training.transfer`).
        """
        import keras

        if not self.features:
            raise ValueError(f"The network must name `features`. Received: {model.name} without")
        features = self.features_of(model)
        last = model.get_layer(features[max(features)]).output
        return keras.Model(model.input, last, name="encoder")


def check_arguments(
    variants: Mapping[str, Any],
    variant: str,
    input_shape: Sequence[int | None],
    *,
    channels: int | None = None,
    multiple: int = 1,
    smallest: int = 1,
    classes: int | None = None,
    sides: Sequence[str] = ("H", "W"),
) -> None:
    """Raise a `ValueError` for arguments that no network of a builder can be made with.

    Args:
        variants: The builder's table.
        variant: Name in it.
        input_shape: (H, W, C); H and W may be None.
        channels: C of the architecture; None allows any.
        multiple: What H and W must be multiples of.
        smallest: Least H and W.
        classes: Number of classes; None where there is no classifier.
        sides: What the axes before the channels are called, where they are not H and W.
    """
    if variant not in variants:
        raise ValueError(f"`variant` must be one of {list(variants)}. Received: {variant!r}")
    known = [side for side in input_shape[:-1] if side is not None]
    fits = len(input_shape) == len(sides) + 1 and channels in (None, input_shape[-1])
    if not fits or any(side % multiple or side < smallest for side in known):
        least = f", at least {smallest}" if smallest > multiple else ""
        raise ValueError(
            f"`input_shape` must be ({', '.join(sides)}, {channels or 'C'}) with "
            f"{' and '.join(sides)} multiples of {multiple}{least} (or None). "
            f"Received: input_shape={tuple(input_shape)}"
        )
    if classes is not None and classes < 1:
        raise ValueError(f"`classes` must be a positive integer. Received: classes={classes}")


def without_classifier(model, name: str = CLASSIFIER) -> tuple[str, ...]:
    """Return patterns of the published classifier's entries for a model built without one.

    Such entries have no place on purpose: `core.checkpoints.load_torch_state(ignored=…)`.

    Args:
        model: The model.
        name: What the published network calls its classifier.
    """
    if any(layer.name == name for layer in model.layers):
        return ()
    return (rf"{re.escape(name)}\.(weight|bias)",)


def network_named(name: str, networks: Mapping[str, Network | str]) -> Network:
    """Return one of several networks by its name.

    Args:
        name: Of the network.
        networks: Name → the network, or where it stands as "module:attribute", which is then
            imported.

    Raises:
        UserError: When there is none of that name; it says which one may be meant.
    """
    if name not in networks:
        raise no_such("network", name, networks)
    found = networks[name]
    if isinstance(found, str):
        module, attribute = found.split(":")
        found = getattr(importlib.import_module(module), attribute)
    return found
