"""Prune a model while it trains: weights of small magnitude become zero and stay zero.

The order of each training step is tfmot's: count the step, make new masks where the schedule says
so, set the weights to weights · mask, then the forward and backward pass. The gradient is not
masked, so a pruned weight may come back when the next masks are made. The model itself stays as it
is: masks live beside it, and there is nothing to strip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from core.compress import toolkit
from core.compress.masks import Masks, zeros_kept
from core.errors import UserError, one_of

__all__ = ["Pruner", "PruningPlan", "prunable_kernels", "sparsity_of", "zeros_kept"]

METHODS = ("magnitude",)
SCHEDULES = ("polynomial", "constant")
POLICIES = ("all", "pointwise")
POOLINGS = ("AVG", "MAX")
# Kernels by layer class, subclasses included. Depthwise kernels, norms and biases hold too little
# to be worth pruning.
KERNELS = {
    keras.layers.Conv1D: "kernel",
    keras.layers.Conv2D: "kernel",
    keras.layers.Conv3D: "kernel",
    keras.layers.Conv1DTranspose: "kernel",
    keras.layers.Conv2DTranspose: "kernel",
    keras.layers.Conv3DTranspose: "kernel",
    keras.layers.Dense: "kernel",
    keras.layers.EinsumDense: "kernel",
    keras.layers.SeparableConv1D: "pointwise_kernel",
    keras.layers.SeparableConv2D: "pointwise_kernel",
}


@dataclass(frozen=True)
class PruningPlan:
    """What is pruned, how far, and when (Zhu & Gupta 2017, arXiv 1710.01878).

    Steps are counted from 1. Masks are made at the steps from `begin_step` to `end_step` whose
    distance from `begin_step` is a multiple of `frequency`.

    Attributes:
        method: "magnitude".
        schedule: "polynomial" (from initial to final sparsity) or "constant" (final at once).
        initial_sparsity, final_sparsity: Shares of zeros per kernel, from 0 to below 1.
        begin_step, end_step: First and last step at which masks are made; a constant schedule may
            end at -1, never.
        frequency: Steps between two updates of the masks.
        power: Exponent of the polynomial schedule.
        block: (inputs, outputs) kept or dropped together; for Dense and 1×1 kernels.
        block_pooling: A block's magnitude is its members' "AVG" or "MAX".
        m_by_n: (m, n): m zeros in every n consecutive input channels, made at step 1; the
            schedule and its sparsities then do not count.
        policy: "all" kernels, or only "pointwise" ones: the stride-1 1×1 convolutions that XNNPACK
            computes sparsely (Fast Sparse ConvNets, arXiv 1911.09723).

    Raises:
        UserError: When a choice makes no sense.
    """

    method: str = "magnitude"
    schedule: str = "polynomial"
    initial_sparsity: float = 0.0
    final_sparsity: float = 0.75
    begin_step: int = 0
    end_step: int = -1
    frequency: int = 100
    power: float = 3
    block: tuple[int, int] = (1, 1)
    block_pooling: str = "AVG"
    m_by_n: tuple[int, int] | None = None
    policy: str = "all"

    def __post_init__(self):
        for option, choices in (
            ("method", METHODS),
            ("schedule", SCHEDULES),
            ("policy", POLICIES),
            ("block_pooling", POOLINGS),
        ):
            one_of(getattr(self, option), choices, f"Pruning: {option}")
        for option in ("begin_step", "end_step", "frequency"):
            _check_number(option, getattr(self, option), int)
        for option in ("initial_sparsity", "final_sparsity", "power"):
            _check_number(option, getattr(self, option), (int, float))
        for option in ("initial_sparsity", "final_sparsity"):
            if not 0 <= getattr(self, option) < 1:
                raise UserError(
                    f"Pruning: {option} is {getattr(self, option)}; give the share of zeros, from "
                    "0 to below 1."
                )
        self._check_structure()
        if self.m_by_n is None:
            self._check_steps()

    def _check_structure(self) -> None:
        object.__setattr__(self, "block", _pair("block", self.block))
        if self.m_by_n is None:
            return
        object.__setattr__(self, "m_by_n", _pair("m_by_n", self.m_by_n))
        if self.m_by_n[0] >= self.m_by_n[1]:
            raise UserError(
                f"Pruning: m_by_n is {self.m_by_n}; m zeros in every n weights need m below n, "
                "as in (2, 4)."
            )
        if self.block != (1, 1):
            raise UserError("Pruning: block and m_by_n exclude each other; leave one of them out.")

    def _check_steps(self) -> None:
        begin, end = self.begin_step, self.end_step
        if begin < 0 or self.frequency < 1 or self.power <= 0:
            raise UserError(
                f"Pruning: begin_step {begin}, frequency {self.frequency} and power {self.power} "
                "must be at least 0, at least 1 and above 0."
            )
        if self.schedule == "constant":
            if end != -1 and end < self.settles_at:
                raise UserError(
                    f"Pruning: end_step {end} comes before the first masks, which are made at "
                    f"step {self.settles_at}; raise end_step, or give -1 for no end."
                )
            return
        if end <= begin:
            raise UserError(
                f"Pruning: end_step {end} must come after begin_step {begin}; a polynomial "
                "schedule needs steps to grow in."
            )
        rest = (end - begin) % self.frequency
        if rest:
            better = [step for step in (end - rest, end - rest + self.frequency) if step > begin]
            raise UserError(
                f"Pruning: the last masks before end_step {end} would be made at step "
                f"{end - rest}, short of the final sparsity; with frequency {self.frequency} set "
                f"end_step to {' or '.join(map(str, better))}."
            )
        if self.initial_sparsity > self.final_sparsity:
            raise UserError(
                f"Pruning: initial_sparsity {self.initial_sparsity} is above final_sparsity "
                f"{self.final_sparsity}; sparsity can only grow."
            )

    @classmethod
    def over(cls, total_steps: int, final_sparsity: float = 0.75, **choices) -> PruningPlan:
        """Return a plan that grows over the first three quarters of a training.

        Args:
            total_steps: Steps of the whole training.
            final_sparsity: Share of zeros per kernel at the end.
            **choices: Further attributes of the plan.
        """
        begin = choices.get("begin_step", 0)
        _check_number("begin_step", begin, int)
        span = max(1, total_steps * 3 // 4 - begin)
        frequency = choices.pop("frequency", max(1, span // 20))
        _check_number("frequency", frequency, int)
        end = begin + max(frequency, span // max(1, frequency) * frequency)
        return cls(final_sparsity=final_sparsity, end_step=end, frequency=frequency, **choices)

    @property
    def settles_at(self) -> int:
        """The step from which on the final sparsity holds."""
        if self.m_by_n is not None:
            return 1
        if self.schedule == "polynomial":
            return self.end_step
        return self.begin_step or self.frequency

    def make_schedule(self) -> Callable:
        """Return tfmot's schedule: int64 step → (masks are due, sparsity)."""
        begin, end = self.begin_step, self.end_step
        if self.schedule == "constant" or self.m_by_n is not None:
            return toolkit.constant_sparsity(
                self.final_sparsity, begin, end, frequency=self.frequency
            )
        return toolkit.polynomial_decay(
            self.initial_sparsity,
            self.final_sparsity,
            begin,
            end,
            power=self.power,
            frequency=self.frequency,
        )


class Pruner(keras.callbacks.Callback):
    """Prunes a model during `fit`, or driven by hand with `before_step` and `apply`.

    Pass it before callbacks that save the model: at the end of an epoch it sets the pruned weights
    to zero once more.

    Args:
        model: The model, built; its kernels are pruned in place.
        plan: What to prune and when.
        total_steps: Training steps in all, if known: a plan that needs more is refused.

    Attributes:
        kernels: (layer, variable) pairs that are pruned.

    Raises:
        UserError: When the plan ends after the training, or fits no kernel of the model.
    """

    def __init__(self, model, plan: PruningPlan, total_steps: int | None = None):
        super().__init__()
        end = max(plan.settles_at, -1 if plan.m_by_n else plan.end_step)
        if total_steps is not None and end > total_steps:
            raise UserError(
                f"Pruning: the schedule ends at step {end}, after the training does (step "
                f"{total_steps}); lower end_step or train longer."
            )
        self.plan = plan
        self.kernels = prunable_kernels(model, plan.policy)
        if not self.kernels:
            kind = "stride-1 1×1 convolutions" if plan.policy == "pointwise" else "kernels"
            raise UserError(f"{model.name}: has no {kind} to prune; choose another policy.")
        self._masks = Masks(self.kernels, plan)

    @property
    def variables(self) -> list:
        """Step counter and masks: with them and the weights a killed training goes on exactly."""
        return [self._masks.step, *self._masks.masks]

    @property
    def step(self) -> int:
        """Training steps begun so far."""
        return int(self._masks.step.numpy())

    @property
    def settled(self) -> bool:
        """Whether the final sparsity is reached."""
        return self.step >= self.plan.settles_at

    def sparsity(self) -> dict[str, float]:
        """Return the share of weights that are masked, by kernel."""
        shares = [1.0 - float(mask.numpy().mean()) for mask in self._masks.masks]
        return dict(zip(_names(self.kernels), shares, strict=True))

    def before_step(self) -> None:
        """Do what comes before a training step's forward pass."""
        self._masks.advance()

    def apply(self) -> None:
        """Set the pruned weights to zero again, which the optimiser has moved."""
        self._masks.apply()

    def on_train_begin(self, logs=None):
        if getattr(self.model, "steps_per_execution", 1) > 1:
            raise UserError(
                "Pruning: the model is compiled with steps_per_execution above 1, which leaves no "
                "room for masks between two steps; compile it with 1."
            )

    def on_train_batch_begin(self, batch, logs=None):
        self.before_step()

    def on_epoch_end(self, epoch, logs=None):
        self.apply()

    def on_train_end(self, logs=None):
        self.apply()


def prunable_kernels(model, policy: str = "all") -> list[tuple]:
    """Return the (layer, variable) pairs that a policy prunes, in the order of the layers.

    Args:
        model: A built Keras model; nested models and layers inside layers are searched, shared
            layers are listed once.
        policy: "all" or "pointwise", see `PruningPlan`.

    Raises:
        UserError: When the model is not built.
    """
    if policy not in POLICIES:
        raise ValueError(f"`policy` must be one of {POLICIES}. Received: policy={policy}")
    if not model.built:
        raise UserError(f"{model.name}: has no weights yet; build it or call it once first.")
    found: dict[int, tuple] = {}
    for layer in model._flatten_layers(include_self=False):
        attribute = next((a for kind, a in KERNELS.items() if isinstance(layer, kind)), None)
        if attribute is not None and (policy == "all" or _is_pointwise(layer)):
            found.setdefault(id(layer), (layer, getattr(layer, attribute)))
    return list(found.values())


def sparsity_of(model) -> dict[str, float]:
    """Return the share of weights that are exactly zero, by prunable kernel."""
    kernels = prunable_kernels(model)
    shares = [float(np.mean(keras.ops.convert_to_numpy(variable) == 0)) for _, variable in kernels]
    return dict(zip(_names(kernels), shares, strict=True))


def _is_pointwise(layer) -> bool:
    """Whether a layer becomes a stride-1 1×1 CONV_2D, or ends in one."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        return True
    return (
        isinstance(layer, keras.layers.Conv2D)
        and set(layer.kernel_size) == set(layer.strides) == {1}
        and layer.groups == 1
    )


def _names(kernels: list[tuple]) -> list[str]:
    """Return the layers' names; nested models may repeat one, which then gets a number."""
    seen: Counter = Counter()
    names = []
    for layer, _ in kernels:
        seen[layer.name] += 1
        again = seen[layer.name] > 1
        names.append(f"{layer.name}#{seen[layer.name]}" if again else layer.name)
    return names


def _pair(option: str, value) -> tuple[int, int]:
    value = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(value) != 2 or not all(isinstance(n, int) and n >= 1 for n in value):
        raise UserError(f"Pruning: {option} is {value}; give two whole numbers from 1.")
    return value


def _check_number(option: str, value, kind) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        what = "whole number" if kind is int else "number"
        raise UserError(f"Pruning: {option} is {value!r}; give a {what}.")
