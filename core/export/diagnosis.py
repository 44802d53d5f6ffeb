"""Why a file does not compute what its run's network computes: likely explanations, tried out.

Each is a change of the inputs, of the outputs or of the network under which file and network agree
again. What agrees is named as the most likely cause; nothing is named that was not tried.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from core.engines import signal_to_noise
from core.export.kernel_changes import channel_factors, order_of, scaled
from core.export.network_checks import Beside
from core.export.verification import Verification
from core.export.weights import Difference, kernel_layers, layer_name
from core.model_card import IMAGENET_MEAN, IMAGENET_STD
from core.tflite.graph import Operator, names, operators

AGREEMENT_DB, BETTER_DB = 15.0, 6.0  # of an explanation, and how much it must be better than none
MOST = 4  # inputs that explanations are tried on, of each kind
FEW = 3  # layers that are named one by one
AGAIN = "export the run again"

Outputs = Sequence[np.ndarray]


def diagnose(result: Verification, beside: Beside, wrong: Sequence[Difference]) -> None:
    """Say what most likely makes a file compute something else than its network.

    Args:
        result: Gets the causes.
        beside: The two.
        wrong: Layers whose kernels differ (`core.export.network_checks.check_kernels`).
    """
    cause = None
    # A norm is folded into the kernel before it, where stale statistics show as a factor a channel,
    # or into the one behind it, where they show as other weights.
    if wrong and all(d.kind in ("scaled channels", "other") for d in wrong):
        cause = _first_that_agrees(_of_norms(_Trial(beside)))
    cause = cause or _from_kernels(wrong, beside)
    if cause is None and sum(d.kind == "other" for d in wrong) > FEW:
        cause = _from_weights(wrong)  # which no other input or output could explain
    cause = cause or _first_that_agrees(_hypotheses(_Trial(beside)))
    if cause is None and wrong:
        cause = _from_weights(wrong)
    cause = cause or _from_scales(beside) or _from_operators(beside, result.precision)
    cause = cause or _from_first_layer(beside)
    if cause:
        result.blame(f"most likely {cause}")


# --- from the kernels -----------------------------------------------------------------------------


def _from_kernels(wrong: Sequence[Difference], beside: Beside) -> str | None:
    """Return a cause that the kernels alone tell."""
    foreign = [d for d in wrong if d.kind in ("missing", "stranger", "shape")]
    if foreign:
        named = "; ".join(f"'{d.layer}' {d.how}" for d in foreign[:FEW])
        return (
            f"this is the file of another network or variant: {named}; verify it with its own run "
            f"(--run), or {AGAIN}"
        )
    known = [d for d in wrong if d.kind != "other"]
    many = len(wrong) > max(FEW, len(kernel_layers(beside.keras.model)) // 3)
    if not known or many or len(known) < len(wrong):
        return None
    named = "; ".join(f"'{d.layer}' {d.how}" for d in known[:FEW])
    more = f"; and {len(known) - FEW} more layers" if len(known) > FEW else ""
    return f"these weights were changed on the way into the file: {named}{more}; {AGAIN}"


def _from_weights(wrong: Sequence[Difference]) -> str:
    """Return what other weights in a network of the right form come from."""
    named = ", ".join(f"'{d.layer}'" for d in wrong[:FEW])
    if len(wrong) > FEW:
        return (
            f"the file holds the weights of an earlier state of the run, or of another run: "
            f"{len(wrong)} layers have other kernels ({named}, …); {AGAIN}"
        )
    return f"the kernels of {named} hold other values than the run's; {AGAIN}"


# --- explanations that are tried ------------------------------------------------------------------


class _Trial:
    """Inputs with the network's outputs, and how near the file comes to them."""

    def __init__(self, beside: Beside):
        self.beside, self.card = beside, beside.card
        self.inputs = np.concatenate([inputs[:MOST] for inputs in beside.inputs.values()])
        wanted = zip(*[w for w in beside.wanted.values()], strict=True)
        self.wanted = [np.concatenate([part[:MOST] for part in parts]) for parts in wanted]
        self.made = beside.file(self.inputs)
        self.least = AGREEMENT_DB
        if self._are_alike(self.made, self.wanted):
            now = signal_to_noise(beside.cut(self.wanted), beside.cut(self.made))
            self.least = max(AGREEMENT_DB, now + BETTER_DB)

    def agree(self, made: Outputs, wanted: Outputs) -> bool:
        """Return whether outputs are the same but for rounding."""
        if not self._are_alike(made, wanted):
            return False
        return signal_to_noise(self.beside.cut(wanted), self.beside.cut(made)) >= self.least

    def fed(self, inputs: np.ndarray) -> bool:
        """Return whether the file computes the network's outputs from other inputs."""
        return self.agree(self.beside.file(inputs), self.wanted)

    @staticmethod
    def _are_alike(made: Outputs, wanted: Outputs) -> bool:
        return [a.shape for a in made] == [a.shape for a in wanted]


Hypothesis = tuple[str, Callable[[], bool]]


def _first_that_agrees(hypotheses: Iterable[Hypothesis]) -> str | None:
    return next((sentence for sentence, agrees in hypotheses if agrees()), None)


def _hypotheses(tried: _Trial) -> Iterator[Hypothesis]:
    yield from _of_norms(tried)
    yield from _of_inputs(tried)
    yield from _of_outputs(tried)


def _of_norms(tried: _Trial) -> Iterator[Hypothesis]:
    """Yield what is wrong with batch normalisation."""
    import keras

    def untrained(model) -> None:
        for norm in _norms(model):
            norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
            norm.moving_variance.assign(np.ones(norm.moving_variance.shape))

    yield (
        "BatchNormalization is stale: the file agrees with the run's network when its moving means "
        f"and variances are set back to those of an untrained network; {AGAIN} after the training",
        lambda: tried.agree(tried.made, tried.beside.changed(untrained)(tried.inputs)),
    )
    model = tried.beside.keras.model
    norms = _norms(model)
    if not norms:
        return

    def training() -> bool:
        kept, rows = model.get_weights(), []
        try:
            for one in tried.inputs:
                outputs = keras.tree.flatten(model(one[None], training=True))
                rows.append([np.asarray(o, np.float32) for o in outputs])
        finally:
            model.set_weights(kept)
        columns = zip(*rows, strict=True)
        return tried.agree(tried.made, [np.concatenate(column) for column in columns])

    yield (
        "BatchNormalization was exported as in training: the file normalises by the statistics of "
        f"each input instead of the {len(norms)} moving ones; call the network with "
        f"training=False when it is converted, or {AGAIN}",
        training,
    )


def _norms(model) -> list:
    import keras

    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def _of_inputs(tried: _Trial) -> Iterator[Hypothesis]:
    """Yield other inputs that the file may want."""
    card, inputs = tried.card, tried.inputs
    stored = inputs * np.asarray(card.std, np.float32) + np.asarray(card.mean, np.float32)
    values = {"": inputs}
    values["values from 0 to 1, without mean and std"] = stored
    values["values from -1 to 1"] = 2 * stored - 1
    values[f"stored values (0 to {card.full_scale:g}) as they are"] = stored * card.full_scale
    if card.channels == 3:
        own = stored - np.asarray(IMAGENET_MEAN, np.float32)
        own = own / np.asarray(IMAGENET_STD, np.float32)
        values["values normalised by ImageNet's mean and std"] = own
    mean, std = (", ".join(f"{v:.4g}" for v in numbers) for numbers in (card.mean, card.std))
    for how, changed in values.items():
        if how and not np.allclose(changed, inputs, atol=1e-5):
            yield (
                f"the normalisation differs: the file agrees with the run's network when it is "
                f"given {how}, where the card says mean ({mean}) and std ({std}); {AGAIN}",
                partial(tried.fed, changed),
            )
    if card.channels == 3:
        for how, changed in values.items():
            given = f" and {how}" if how else ""
            yield (
                "red and blue are swapped: the file agrees with the run's network when it is given "
                f"the channels in reverse order (BGR){given}; {AGAIN}",
                partial(tried.fed, np.ascontiguousarray(changed[..., ::-1])),
            )
    if inputs.ndim == 4 and inputs.shape[1] == inputs.shape[2]:
        yield (
            f"height and width are swapped: the file agrees when its input is transposed; {AGAIN}",
            lambda: tried.fed(np.ascontiguousarray(inputs.transpose(0, 2, 1, 3))),
        )


def _functions(full_scale: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what often stands, or is missing, at the end of a network."""

    def softmax(x):
        powers = np.exp(x - x.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    return {
        "a clipping to 0 and 1": lambda x: np.clip(x, 0, 1),
        "a sigmoid": lambda x: 1 / (1 + np.exp(-np.clip(x, -60, 60))),
        "a softmax": softmax,
        "a tanh": np.tanh,
        "a ReLU": lambda x: np.maximum(x, 0),
        "a normalisation to length 1": lambda x: (
            x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
        ),
        f"a factor of {full_scale:g}": lambda x: x * full_scale,
        "a change of sign": np.negative,
    }


def _of_outputs(tried: _Trial) -> Iterator[Hypothesis]:
    """Yield what may have become of the outputs."""
    made, wanted = tried.made, tried.wanted
    for order in itertools.permutations(range(len(made))) if 1 < len(made) <= 6 else ():
        if order != tuple(range(len(made))):
            yield (
                "the outputs come in another order: "
                f"{', '.join(f'number {o} stands where {i} should' for i, o in enumerate(order))}; "
                f"{AGAIN}",
                partial(tried.agree, [made[i] for i in order], wanted),
            )
    if [a.shape for a in made] != [a.shape for a in wanted]:
        return
    orders = [order_of(m, w, -1) if m.ndim > 1 else None for m, w in zip(made, wanted, strict=True)]
    if any(order is not None for order in orders):
        sorted_ = [
            w if order is None else w[..., order] for w, order in zip(wanted, orders, strict=True)
        ]
        first = next(order for order in orders if order is not None)
        named = _by_label(first, tried.card.labels)
        yield (
            f"the output's channels are in another order{named}; {AGAIN}",
            lambda: tried.agree(made, sorted_),
        )
    for what, function in _functions(tried.card.full_scale).items():
        yield (
            f"the file lacks the end of the network: it agrees after {what}; {AGAIN}",
            partial(tried.agree, [function(m) for m in made], wanted),
        )
        yield (
            f"the file computes more than the network: {what} was added at its end; {AGAIN}",
            partial(tried.agree, made, [function(w) for w in wanted]),
        )
    if all(w.ndim == 4 and w.shape[1] == w.shape[2] for w in wanted):
        yield (
            f"height and width of the output are swapped; {AGAIN}",
            lambda: tried.agree([m.transpose(0, 2, 1, 3) for m in made], wanted),
        )


def _by_label(order: np.ndarray, labels: Sequence[str]) -> str:
    if len(order) > 8:
        return ""
    if len(labels) == len(order):
        said = ", ".join(f"'{labels[o]}' where '{labels[i]}' should be" for i, o in enumerate(order)
                         if i != o)  # fmt: skip
        return f", so labels name the wrong ones ({said})"
    return f" ({', '.join(map(str, order))})"


# --- from the scales ------------------------------------------------------------------------------


def _from_scales(beside: Beside) -> str | None:
    """Return which kernels lost the scales of their channels.

    No comparison of kernels tells where an export moved factors between channels. But channels that
    all reach equally far, to the last bit, are those of a kernel that is drawn, not learned.
    """
    known = kernel_layers(beside.keras.model)
    even = [
        f"'{layer_name(operator, known)}'"
        for operator in operators(beside.original)
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        and len(operator.operand(1).scales) > 2
        and len(set(operator.operand(1).scales)) == 1
    ]
    if not even or len(even) > FEW:
        return None
    return f"the kernel of {', '.join(even)} has the same scale in all of its channels; {AGAIN}"


# --- from the operators ---------------------------------------------------------------------------


def _from_operators(beside: Beside, precision: str) -> str | None:
    """Return which operator is missing or was added, where both files should have the same."""
    found, expected = (
        Counter(_shape_of(o) for o in operators(content))
        for content in (beside.content, beside.reference)
    )
    missing, added = expected - found, found - expected
    if precision in ("int8", "int16x8") or not (missing or added):
        return None  # an integer file is built by other operators
    parts = [
        f"{verb} {', '.join(f'{n} {what}' for what, n in sorted(counted.items())[:FEW])}"
        for verb, counted in (("lacks", missing), ("has", added))
        if counted
    ]
    return (
        f"an operator or activation was changed: compared with the run's network the file "
        f"{' and '.join(parts)}; {AGAIN}"
    )


def _shape_of(operator: Operator) -> str:
    kind = operator.options.get("fusedActivationFunction", 0)
    activation = names("ActivationFunctionType").get(kind, "NONE")
    return operator.name if activation == "NONE" else f"{operator.name} with {activation}"


def _from_first_layer(beside: Beside) -> str | None:
    """Return the first layer that computes something else, in the order of the file."""
    known = kernel_layers(beside.keras.model)
    one = next(iter(beside.inputs.values()))[0]
    found, expected = (
        _activations(content, one, known) for content in (beside.content, beside.reference)
    )
    before = "the input"
    for layer, made in found.items():
        wanted = expected.get(layer)
        if wanted is None or wanted.shape != made.shape:
            continue
        # Where an export moved factors between channels, the same value is another number.
        even = scaled(wanted, channel_factors(made, wanted, -1), -1)
        if signal_to_noise([even], [made]) < AGREEMENT_DB:
            return (
                f"something between {before} and the output of layer '{layer}' was changed: it is "
                f"the first that computes something else than the run's network; {AGAIN}"
            )
        before = f"layer '{layer}'"
    return None


def _activations(content: bytes, one: np.ndarray, known: set[str]) -> dict[str, np.ndarray]:
    """Return the output of every layer with a kernel in a float file, by the layer's name."""
    from core.export.ranges import watching

    engine = watching(content, one.shape)
    engine.set_tensor(engine.get_input_details()[0]["index"], one[None].astype(np.float32))
    engine.invoke()
    found = {}
    for operator in operators(content):
        layer = layer_name(operator, known)
        if operator.subgraph == 0 and layer in known:
            found[layer] = engine.get_tensor(operator.outputs[0].index)
    return found
