"""Class activation maps from gradients: Grad-CAM, Grad-CAM++ and HiResCAM.

R. Selvaraju et al., "Grad-CAM", ICCV 2017, arXiv:1610.02391. A. Chattopadhyay et al., "Grad-CAM++",
WACV 2018, arXiv:1710.11063. R. Draelos, L. Carin, "HiResCAM", arXiv:2011.08891.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from core.compress.graph import Call, Graph, graph_of
from core.compress.quantizers import ActivationQuantizer
from core.errors import UserError, no_such, one_of
from core.explain.classes import check_class, class_scores, no_classifier, shown_shape
from core.explain.maps import enlarged, unit_scaled

SCORES = ("logit", "probability")
PASSING = (keras.layers.Identity, keras.layers.Dropout, ActivationQuantizer)
_TINY = 1e-12  # of Grad-CAM++: no division by zero


@dataclass(frozen=True)
class Cam:
    """Maps of a batch.

    Attributes:
        maps: float32 (N, H, W) in [0, 1] at the input's size, each scaled by itself; a map without
            any difference is zero.
        raw: float32 (N, h, w) at the layer's size, none negative.
        classes: (N,) the classes that were explained.
        logits: float32 (N, classes) what the network said.
    """

    maps: np.ndarray
    raw: np.ndarray
    classes: np.ndarray
    logits: np.ndarray


def grad_cam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return ReLU(Σ_k α_k A_k) with α_k the mean gradient of a channel, (N, h, w).

    Args:
        activation: A, (N, h, w, K).
        gradient: Of the score by A, (N, h, w, K).
    """
    return _weighted(activation, gradient.mean(axis=(1, 2)))


def grad_cam_plus_plus(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return Grad-CAM++ in closed form, (N, h, w); arguments as of `grad_cam`.

    A channel's weight is Σ a ReLU(g) with a = g² / (2 g² + (Σ A) g³), where g is not zero.
    """
    square = gradient**2
    total = activation.sum(axis=(1, 2), keepdims=True)
    share = square / (2 * square + total * square * gradient + _TINY)
    share = np.where(gradient != 0, share, 0)
    return _weighted(activation, (share * np.maximum(gradient, 0)).sum(axis=(1, 2)))


def hires_cam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return ReLU(Σ_k g_k ⊙ A_k), (N, h, w); arguments as of `grad_cam`."""
    return np.maximum(np.einsum("nhwk,nhwk->nhw", activation, gradient), 0)


def _weighted(activation: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.maximum(np.einsum("nhwk,nk->nhw", activation, weights), 0)


METHODS = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": hires_cam,
}


class CamExplainer:
    """Explains the classes of a Keras network by one of its layers.

    Make it once for a network and a layer: it holds the compiled function. It reads the network's
    own weights, also those that change later.

    Args:
        model: A functional or Sequential classifier, models inside it included: one picture in,
            (N, classes) out. It is not changed.
        layer: Name of a layer whose output has a height and a width; one inside an inner model
            has the name it has there. None takes the last such output before the classes, after
            its activation function.
        score: What is differentiated: "logit", before a softmax or sigmoid at the end, or
            "probability", after it (it vanishes where the network is sure).

    Raises:
        UserError: When the model is no such classifier, or there is no such layer, or it has no
            height and width, or the classes do not depend on it.
    """

    def __init__(self, model: keras.Model, layer: str | None = None, *, score: str = "logit"):
        import tensorflow as tf

        one_of(score, SCORES, "The score")
        graph = graph_of(model)
        if len(graph.inputs) != 1 or len(graph.shapes[graph.inputs[0]]) != 4:
            raise UserError(f"{model.name}: does not take one picture (height, width, channels).")
        shapes = [graph.shapes[value] for value in graph.outputs]
        if len(shapes) != 1 or len(shapes[0]) != 2:
            raise no_classifier(model.name, shapes)
        call = _layer_call(graph, layer, model.name)
        self.name, self.layer = model.name, call.operation.name
        probe, function = _probe(model, graph, call.outputs[0])

        @tf.function(reduce_retracing=True, autograph=False)
        def differentiated(images, classes):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)  # else nothing of a frozen network is recorded
                activation, logits = probe(images, training=False)
                logits = tf.cast(logits, tf.float32)
                scores = function(logits) if score == "probability" else logits
                found = tf.argmax(logits, axis=-1, output_type=tf.int32)
                chosen = tf.where(classes < 0, found, classes)
                # Samples do not interact, so one gradient of the sum is each one's own.
                summed = tf.reduce_sum(tf.gather(scores, chosen, axis=1, batch_dims=1))
            slope = tape.gradient(summed, activation, unconnected_gradients="zero")
            return tf.cast(activation, tf.float32), tf.cast(slope, tf.float32), logits, chosen

        self._differentiated = differentiated
        self._classes = shapes[0][-1]

    def gradients(
        self, inputs: np.ndarray, classes: int | Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what all methods start from.

        Args:
            inputs: float32 (N, H, W, C), normalised as the network expects.
            classes: One for each of them, or one for all; None takes the most probable ones.

        Returns:
            Activation (N, h, w, K), the score's gradient by it (N, h, w, K), logits (N, classes),
            and the classes explained (N,).
        """
        inputs = np.asarray(inputs, np.float32)
        chosen = np.full(len(inputs), -1, np.int32)
        if classes is not None:
            chosen[:] = np.broadcast_to(classes, chosen.shape)
            for index in chosen.tolist():
                check_class(index, self._classes)
        found = self._differentiated(keras.ops.convert_to_tensor(inputs), chosen)
        activation, gradient, logits, chosen = (np.asarray(value) for value in found)
        return activation, gradient, class_scores([logits], self.name), chosen

    def __call__(
        self,
        inputs: np.ndarray,
        classes: int | Sequence[int] | None = None,
        *,
        method: str = "grad-cam",
    ) -> Cam:
        """Return the maps of a batch, every picture explained by itself.

        Args:
            inputs, classes: As of `gradients`.
            method: One of `METHODS`.

        Raises:
            UserError: When a class or the method does not exist, or the outputs are not finite.
        """
        one_of(method, METHODS, "The method")
        activation, gradient, logits, chosen = self.gradients(inputs, classes)
        raw = METHODS[method](activation, gradient)
        size = np.shape(inputs)[1:3]
        maps = np.stack([unit_scaled(enlarged(one, size)) for one in raw])
        return Cam(maps, raw, chosen, logits)


# --- the network seen at a layer ------------------------------------------------------------------


def _layer_call(graph: Graph, name: str | None, model: str) -> Call:
    """Return the call whose output is explained: the last one of a layer, or of all."""
    leading = _leading_to(graph, graph.outputs[0])
    spatial = [
        call
        for call in graph.calls
        if id(call) in leading and _is_spatial(graph.shapes[call.outputs[0]])
    ]
    if not spatial:
        raise UserError(f"{model}: no layer has a height and a width; there is no map to draw.")
    if name is None:
        return spatial[-1]
    found = [call for call in spatial if call.operation.name == name]
    if found:
        return found[-1]
    others = [call for call in graph.calls if call.operation.name == name]
    if not others:
        raise no_such("layer", name, dict.fromkeys(call.operation.name for call in spatial))
    shape = graph.shapes[others[-1].outputs[0]]
    reason = (
        "is not on the way to the classes"
        if _is_spatial(shape)
        else f"has no height and width, its output is {shown_shape(shape)}"
    )
    raise UserError(
        f"Layer '{name}' {reason}; take one such as '{spatial[-1].operation.name}', or none."
    )


def _is_spatial(shape: tuple) -> bool:
    return len(shape) == 4 and shape[1:3] != (1, 1)


def _leading_to(graph: Graph, value: int) -> set[int]:
    """Return the ids of the calls that a value depends on."""
    needed, leading = {value}, set()
    for call in reversed(graph.calls):
        if needed.intersection(call.outputs):
            needed.update(call.inputs)
            leading.add(id(call))
    return leading


def _probe(model: keras.Model, graph: Graph, value: int):
    """Return a model from the picture to (a value, logits), and what makes logits probabilities."""
    last = _last_call(graph)
    function, alone = _ending(last.operation)
    tensors = dict(zip(graph.inputs, model.inputs, strict=True))
    for call in graph.calls:
        layer = call.operation
        if call is last and function is not None and not alone:
            layer = WithoutActivation(layer)
        made = call.replay(layer, [tensors[number] for number in call.inputs])
        tensors.update(zip(call.outputs, made, strict=True))
    if function is None:
        logits = tensors[graph.outputs[0]]
        function = keras.ops.sigmoid if logits.shape[-1] == 1 else keras.ops.softmax
    else:
        logits = tensors[last.inputs[0] if alone else last.outputs[0]]
    return keras.Model(model.inputs[0], [tensors[value], logits]), function


def _last_call(graph: Graph) -> Call:
    """Return the call that gives the classes their scores; what only hands them on is skipped."""
    makers = {value: call for call in graph.calls for value in call.outputs}
    call = makers[graph.outputs[0]]
    while isinstance(call.operation, PASSING) or (
        isinstance(call.operation, keras.layers.Activation)
        and call.operation.activation is keras.activations.linear
    ):
        call = makers[call.inputs[0]]
    return call


def _ending(operation):
    """Return an operation's softmax or sigmoid, or None; and whether it is nothing besides."""
    functions = {"softmax": keras.ops.softmax, "sigmoid": keras.ops.sigmoid}
    own = getattr(operation, "activation", None)
    for name, function in functions.items():
        if own is getattr(keras.activations, name):
            return function, isinstance(operation, keras.layers.Activation)
        # The layer, the operation on tensors, or the layer that simulates the integer kernel.
        if type(operation).__name__.lower().removeprefix("quantized") == name:
            return function, True
    return None, False


class WithoutActivation(keras.layers.Layer):
    """Another layer, its weights and all, as if it had no activation function."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(name=f"{layer.name}.logits")
        self.layer = layer

    def call(self, *inputs):
        kept, self.layer.activation = self.layer.activation, keras.activations.linear
        try:
            return self.layer(*inputs)
        finally:
            self.layer.activation = kept
