"""The methods of compression as stages of a training: prune, cluster, quantize.

A stage takes the deployable network of a run, changes it before training, acts during training, and
says what is saved. Stages in a row keep what earlier ones reached: clustering keeps the zeros of
pruning, quantization keeps both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from core.compress.adapt_stage import Adapt
from core.compress.stage import Stage, check_choices, copied
from core.errors import UserError, no_such, one_of

if TYPE_CHECKING:
    from core.compress.pruning import Pruner

# Quantization settles towards the end of its training; shares of the epochs.
FREEZE_NORMS, FREEZE_RANGES = 0.6, 0.8
DISTANCES = ("l1", "mse")  # to the float network's outputs


class Prune(Stage):
    """Magnitude pruning (`core.compress.pruning`)."""

    method = "prune"
    _pruner: Pruner  # `callbacks` makes it, before its state is asked for

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        from core.compress.pruning import PruningPlan

        names = [f.name for f in dataclasses.fields(PruningPlan)]
        own = {"sparsity": "final_sparsity"}
        hidden = ("method", "final_sparsity")
        names = [name for name in names if name not in hidden]
        check_choices(self.method, choices, dict.fromkeys([*names, *own]))  # the plan checks kinds
        if "cluster" in self.after or "quantize" in self.after:
            raise UserError("Pruning comes before clustering and quantization: prune,cluster,…")
        self._plan = {own.get(name, name): value for name, value in self.choices.items()}
        self.plan(100_000)  # complain about wrong values before anything is done

    def plan(self, total_steps: int):
        """Return the plan over a training of so many steps."""
        from core.compress.pruning import PruningPlan

        choices: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in self._plan.items()
        }
        if "end_step" in choices:
            return PruningPlan(**choices)
        return PruningPlan.over(total_steps, **choices)

    def check(self, model):
        from core.compress.pruning import Pruner

        Pruner(model, self.plan(100_000))

    def callbacks(self, model, *, epochs, steps):
        from core.compress.pruning import Pruner

        self._pruner = Pruner(model, self.plan(epochs * steps), epochs * steps)
        return [self._pruner]

    @property
    def variables(self):
        return self._pruner.variables

    @property
    def settled(self):
        return self._pruner.settled


class Cluster(Stage):
    """Weight clustering (`core.compress.clustering`)."""

    method = "cluster"

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        from core.compress.clusters import ClusterPlan

        known = dataclasses.asdict(ClusterPlan())
        del known["preserve_sparsity"]  # follows from the methods before
        check_choices(self.method, choices, known)
        if "quantize" in self.after:
            raise UserError("Clustering comes before quantization: cluster,quantize.")
        self.plan = ClusterPlan(**self.choices, preserve_sparsity="prune" in self.after)

    def check(self, model):
        from core.compress.clustering import cluster_aware

        cluster_aware(model, dataclasses.replace(self.plan, initialiser="linear"))  # the quickest

    def prepare(self, model, samples):
        from core.compress.clustering import cluster_aware
        from core.compress.folding import positive_factors

        return cluster_aware(positive_factors(copied(model)), self.plan)

    def callbacks(self, model, *, epochs, steps):
        return [KeepZeros(model)] if self.plan.preserve_sparsity else []

    def finish(self, model):
        from core.compress.clustering import strip

        return strip(model)


class Quantize(Stage):
    """Quantization-aware training (`core.compress.quantize`), or its calibration alone.

    Choices besides the fields of `Scheme`:

    - "equalize": rescale neighbouring kernels first (`core.compress.equalize`);
    - "balance": then write features in the basis that is cheapest to round
      (`core.compress.balance`);
    - "freeze_norms", "freeze_ranges": shares of the epochs after which statistics and ranges are
      kept;
    - "task_weight", "teacher_weight": of the task's own loss, and of the difference to the outputs
      of the float network. Where few samples are at hand, the latter keeps what the network
      learned from many;
    - "teacher_distance": how that difference is taken, "l1" (its mean magnitude) or "mse".
    """

    method = "quantize"
    _teacher: keras.Model  # `prepare` keeps it, before the network is fitted

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        from core.compress.scheme import Scheme

        scheme = dataclasses.asdict(Scheme())
        own = {"equalize": False, "balance": False,
               "freeze_norms": FREEZE_NORMS, "freeze_ranges": FREEZE_RANGES,
               "task_weight": 1.0, "teacher_weight": 0.0, "teacher_distance": "l1"}  # fmt: skip
        check_choices(self.method, choices, {**scheme, **own})
        if "quantize" in self.after:
            raise UserError("The network is quantized already; quantize the float network instead.")
        self.scheme = Scheme(**{n: v for n, v in self.choices.items() if n in scheme})
        self._own = {name: self.choices.get(name, value) for name, value in own.items()}
        for name in ("freeze_norms", "freeze_ranges"):
            if not 0 <= self._own[name] <= 1:
                value = self._own[name]
                raise UserError(f"Quantization: {name} is {value}; give a share from 0 to 1.")
        weights = [self._own[name] for name in ("task_weight", "teacher_weight")]
        if min(weights) < 0 or not sum(weights) > 0:
            raise UserError(
                f"Quantization: task_weight and teacher_weight are {weights[0]} and {weights[1]}; "
                "both must be 0 or more, and one of them above."
            )
        one_of(self._own["teacher_distance"], DISTANCES, "Quantization: teacher_distance")
        kept = {"prune": "zeros", "cluster": "clusters"}
        self.keep = tuple(kept[name] for name in self.after if name in kept)
        if self._own["equalize"] and "clusters" in self.keep:
            raise UserError(
                "Quantization: equalize rescales kernels, which would undo their clusters; leave "
                "it off."
            )
        if self._own["balance"] and self.keep:
            raise UserError(
                f"Quantization: balance mixes channels, which would undo the {self.keep[0]} of "
                "the network; leave it off."
            )

    def check(self, model):
        from core.compress.quantize import quantize_aware

        quantize_aware(model, self.scheme)

    def prepare(self, model, samples):
        from core.compress.balance import balance
        from core.compress.equalize import equalize, has_instance_norms
        from core.compress.quantize import quantize_aware
        from core.compress.ranges import calibrate

        if self._own["equalize"] or (has_instance_norms(model) and "clusters" not in self.keep):
            model, _ = equalize(model, samples)
        if self._own["balance"]:
            model, _ = balance(model, samples, exceptions=self.scheme.exceptions)
        self._teacher = copied(model)
        quantized = quantize_aware(model, self.scheme, keep=self.keep)
        calibrate(quantized, samples)
        return quantized

    def fitted(self, model):
        if not self._own["teacher_weight"]:
            return model
        from core.compress.distill import Distiller, FeatureMatch

        last = [n.outputs[0]._keras_history.operation.name for n in (model, self._teacher)]
        weight, distance = self._own["teacher_weight"], self._own["teacher_distance"]
        term = FeatureMatch(dict([last]), weight=weight, distance=distance)
        return Distiller(model, self._teacher, [term], task_weight=self._own["task_weight"])

    @property
    def wanted(self):
        return None if self._own["task_weight"] else self._teacher

    def callbacks(self, model, *, epochs, steps):
        from core.compress.freezing import FreezeNorms, FreezeRanges

        frozen = [
            FreezeNorms(round(epochs * self._own["freeze_norms"])),
            FreezeRanges(round(epochs * self._own["freeze_ranges"])),
        ]
        return [*frozen, KeepZeros(model)] if "zeros" in self.keep else frozen


class KeepZeros(keras.callbacks.Callback):
    """Holds the zeros of pruning in kernels that a later stage leaves as they are.

    Those it changes hold their zeros themselves; others are too small to be clustered, or stay in
    float.

    Args:
        model: The network that a stage prepared, not trained yet.
    """

    def __init__(self, model):
        super().__init__()
        from core.compress.clustering import ClusteredKernel
        from core.compress.pruning import prunable_kernels, zeros_kept
        from core.compress.quantized_kernel import QuantizedKernel

        masks = [
            (variable, zeros_kept(variable))
            for layer, variable in prunable_kernels(model)
            if not isinstance(layer, ClusteredKernel | QuantizedKernel)
        ]
        self._masks = [(variable, mask) for variable, mask in masks if not mask.all()]

    def on_train_batch_end(self, batch, logs=None):
        for variable, mask in self._masks:
            variable.assign(variable * mask)


STAGES = {stage.method: stage for stage in (Adapt, Prune, Cluster, Quantize)}


def stage_of(compress: Mapping[str, Any]) -> Stage:
    """Return the stage that a config's `compress` describes.

    Args:
        compress: "method", "choices" and "after", as `TrainConfig.compress` holds them.

    Raises:
        UserError: When the method or a choice is unknown or makes no sense.
    """
    method = compress.get("method", "")
    if not _are_methods([method]):
        raise no_such("method of compression", str(method), STAGES)
    choices, after = compress.get("choices") or {}, compress.get("after") or ()
    if not isinstance(choices, Mapping):
        raise UserError(f"Config: choices of {method} are {choices!r}; give 'key: value' lines.")
    if not isinstance(after, list | tuple) or not _are_methods(after):
        raise UserError(f"Config: {method} comes after {after!r}; give a list of methods.")
    return STAGES[method](choices, after)


def _are_methods(names: Sequence[Any]) -> bool:
    return all(isinstance(name, str) and name in STAGES for name in names)
