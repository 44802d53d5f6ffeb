"""The methods of compression as stages of a training: prune, cluster, quantize.

A stage takes the deployable network of a run, changes it before training, acts during training, and
says what is saved. Stages in a row keep what earlier ones reached: clustering keeps the zeros of
pruning, quantization keeps both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from core.errors import UserError, no_such

# Quantization settles towards the end of its training; shares of the epochs.
FREEZE_NORMS, FREEZE_RANGES = 0.6, 0.8


class Stage:
    """One method with its choices; by itself it changes nothing.

    Args:
        choices: Its own choices by name; a `UserError` for a wrong one.
        after: The methods that the network went through before.
    """

    method = ""

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        self.choices, self.after = dict(choices), tuple(after)

    def check(self, model) -> None:
        """Raise a `UserError` when the choices do not fit a network, before hours of training.

        Args:
            model: The deployable float network, or what an earlier stage will make of it.
        """

    def prepare(self, model, samples: Sequence[np.ndarray]) -> keras.Model:
        """Return the network to train, from a deployable float one.

        Args:
            model: A functional `keras.Model`; it is not changed.
            samples: Network inputs for calibration, float32 (H, W, C).
        """
        return copied(model)

    def fitted(self, model) -> keras.Model:
        """Return what `fit` is called on for the network that `prepare` made: itself, mostly."""
        return model

    def callbacks(self, model, *, epochs: int, steps: int) -> list[keras.callbacks.Callback]:
        """Return what acts while `model` trains for `epochs` of `steps` steps."""
        return []

    @property
    def variables(self) -> list:
        """State besides the model's, for resuming exactly."""
        return []

    @property
    def settled(self) -> bool:
        """Whether the network is as compressed as it shall be, so that it may be the best."""
        return True

    def finish(self, model) -> keras.Model:
        """Return what is saved of the trained network."""
        return model


class Adapt(Stage):
    """Low-rank updates under a teacher, by default the network itself (DSCLoRA, arXiv:2504.11271).

    The network keeps its size and its layers; only its weights become better. Choices:

    - "ranks": layer name or pattern → rank of its update; default 2 for every convolution;
    - "rounds": how often updates are merged and begun anew;
    - "task_weight", "teacher_weight", "affinity_weight": of the task's own loss, of the absolute
      difference to the teacher's output, and of the spatial affinities' difference (FAKD's values);
    - "features": layers whose affinities are compared; default three of the adapted ones;
    - "positions": an affinity compares so many positions at most, pooled where there are more;
    - "teacher": run folder of another network of the same outputs, such as a wider one;
    - "teacher_features": that network's layers, one for each of "features"; default convolutions
      with maps of the same size, evenly spaced.
    """

    method = "adapt"

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        known = {
            "ranks": {"*": 2}, "rounds": 1, "task_weight": 0.5, "teacher_weight": 0.5,
            "affinity_weight": 10.0, "features": [], "positions": 24 * 24, "teacher": None,
            "teacher_features": [],
        }  # fmt: skip
        _check_choices(self.method, choices, known)
        if self.after:
            raise UserError("Adaptation comes before all other methods: adapt,quantize.")
        self._own = {name: self.choices.get(name, value) for name, value in known.items()}
        for name in ("rounds", "positions"):
            if self._own[name] < 1:
                raise UserError(f"adapt: {name} is {self._own[name]}; it must be 1 or more.")
        for name in ("task_weight", "teacher_weight", "affinity_weight"):
            if not self._own[name] >= 0:
                raise UserError(f"adapt: {name} is {self._own[name]}; it must be 0 or more.")
        if self._own["teacher_weight"] == self._own["affinity_weight"] == 0:
            raise UserError("adapt: teacher_weight and affinity_weight are 0; raise one of them.")
        for name, rank in self._own["ranks"].items():
            if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
                raise UserError(f"adapt: the rank of '{name}' is {rank!r}; give a whole number.")
        teacher = self._own["teacher"]
        if not (teacher is None or (isinstance(teacher, str) and teacher)):
            raise UserError(f"adapt: teacher is {teacher!r}; give the folder of a run.")
        if teacher is None and self._own["teacher_features"]:
            raise UserError(
                "adapt: teacher_features are of another network; give its run: teacher."
            )
        self._teacher = None

    def learn_from(self, teacher) -> None:
        """Take the deployable network of the run "teacher"; before anything else is called."""
        self._teacher = teacher

    def check(self, model):
        self.fitted(self.prepare(model, ()))

    def prepare(self, model, samples):
        from core.compress.low_rank_adaptation import adapt

        if self._own["teacher"] is None:
            self._teacher = copied(model)
        return adapt(model, self._own["ranks"])

    def fitted(self, model):
        from core.compress.distill import Distiller

        weight = self._own["task_weight"]
        return Distiller(model, self._teacher, self._terms(model), task_weight=weight)

    def _terms(self, model) -> list:
        from core.compress.distill import Affinity, FeatureMatch
        from core.compress.teachers import check_teacher, paired_features
        from core.layers.conv_lora import ConvLoRA

        names = self._own["features"]
        if not names:
            adapted = [layer.name for layer in model.layers if isinstance(layer, ConvLoRA)]
            names = list(dict.fromkeys(adapted[i * (len(adapted) - 1) // 2] for i in range(3)))
        last, taught = (
            network.outputs[0]._keras_history.operation.name for network in (model, self._teacher)
        )
        if self._own["teacher"] is not None:
            check_teacher(model, self._teacher)
        terms = []
        if self._own["teacher_weight"]:
            weight = self._own["teacher_weight"]
            terms.append(FeatureMatch({last: taught}, weight=weight, distance="l1"))
        if self._own["affinity_weight"]:
            weight, positions = self._own["affinity_weight"], self._own["positions"]
            pairs = [(name, name) for name in names]
            if self._own["teacher"] is not None:
                theirs = self._own["teacher_features"]
                pairs = paired_features(model, self._teacher, names, theirs)
            terms.append(Affinity(pairs, weight=weight, max_positions=positions))
        return terms

    def callbacks(self, model, *, epochs, steps):
        from core.compress.low_rank_adaptation import Rounds

        rounds = self._own["rounds"]
        return [Rounds(max(1, epochs // rounds))] if rounds > 1 else []

    def finish(self, model):
        from core.compress.low_rank_adaptation import merged

        return merged(model)


class Prune(Stage):
    """Magnitude pruning (`core.compress.pruning`)."""

    method = "prune"

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        from core.compress.pruning import PruningPlan

        names = [f.name for f in dataclasses.fields(PruningPlan)]
        own = {"sparsity": "final_sparsity"}
        hidden = ("method", "final_sparsity")
        names = [name for name in names if name not in hidden]
        _check_choices(self.method, choices, dict.fromkeys([*names, *own]))  # the plan checks kinds
        if "cluster" in self.after or "quantize" in self.after:
            raise UserError("Pruning comes before clustering and quantization: prune,cluster,…")
        self._plan = {own.get(name, name): value for name, value in self.choices.items()}
        self.plan(100_000)  # complain about wrong values before anything is done
        self._pruner = None

    def plan(self, total_steps: int):
        """Return the plan over a training of so many steps."""
        from core.compress.pruning import PruningPlan

        choices = {n: tuple(v) if isinstance(v, list) else v for n, v in self._plan.items()}
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
        _check_choices(self.method, choices, known)
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
    - "freeze_norms", "freeze_ranges": shares of the epochs after which statistics and ranges are
      kept;
    - "task_weight", "teacher_weight": of the task's own loss, and of the absolute difference to
      the outputs of the float network. Where few samples are at hand, the latter keeps what the
      network learned from many.
    """

    method = "quantize"

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        from core.compress.scheme import Scheme

        scheme = dataclasses.asdict(Scheme())
        own = {"equalize": False, "freeze_norms": FREEZE_NORMS, "freeze_ranges": FREEZE_RANGES,
               "task_weight": 1.0, "teacher_weight": 0.0}  # fmt: skip
        _check_choices(self.method, choices, {**scheme, **own})
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
        self._teacher = None
        kept = {"prune": "zeros", "cluster": "clusters"}
        self.keep = tuple(kept[name] for name in self.after if name in kept)
        if self._own["equalize"] and "clusters" in self.keep:
            raise UserError(
                "Quantization: equalize rescales kernels, which would undo their clusters; leave "
                "it off."
            )

    def check(self, model):
        from core.compress.quantize import quantize_aware

        quantize_aware(model, self.scheme)

    def prepare(self, model, samples):
        from core.compress.equalize import equalize, has_instance_norms
        from core.compress.quantize import quantize_aware
        from core.compress.ranges import calibrate

        if self._own["equalize"] or (has_instance_norms(model) and "clusters" not in self.keep):
            model, _ = equalize(model, samples)
        self._teacher = copied(model)
        quantized = quantize_aware(model, self.scheme, keep=self.keep)
        calibrate(quantized, samples)
        return quantized

    def fitted(self, model):
        if not self._own["teacher_weight"]:
            return model
        from core.compress.distill import Distiller, FeatureMatch

        last = [n.outputs[0]._keras_history.operation.name for n in (model, self._teacher)]
        term = FeatureMatch(dict([last]), weight=self._own["teacher_weight"], distance="l1")
        return Distiller(model, self._teacher, [term], task_weight=self._own["task_weight"])

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
    method = compress.get("method")
    if method not in STAGES:
        raise no_such("method of compression", method, STAGES)
    return STAGES[method](compress.get("choices") or {}, compress.get("after") or ())


def copied(model) -> keras.Model:
    """Return a copy of a functional model with the same weights."""
    uncompiled = keras.Model(model.input, model.output, name=model.name)
    clone = keras.models.clone_model(uncompiled)
    clone.set_weights(model.get_weights())
    return clone


_KINDS = (
    (bool, bool, "true or false"),
    (int, int, "a whole number"),
    (float, int | float, "a number"),
    (Mapping, Mapping, "'name: value' entries"),
    (list, list, "a list of names"),
)


def _check_choices(method: str, choices: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise a `UserError` for an unknown choice, or one of another kind than its default."""
    for name, value in choices.items():
        if name not in known:
            raise no_such("key", name, known, where=method)
        for kind, allowed, words in _KINDS:
            if isinstance(known[name], kind):
                fits = isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)
                if not fits:
                    raise UserError(f"{method}: {name} is {value!r}; give {words}.")
                break
