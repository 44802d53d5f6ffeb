"""Cluster the convolution and dense kernels of a whole network: few distinct values each.

The file does not shrink by itself; it compresses (zip), because a kernel of 16 values holds 4 bits
a weight. `cluster_aware` makes a network that trains its centroids, `strip` the plain network with
the clustered kernels. Depthwise kernels, normalisations and biases are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, replace

import keras
import numpy as np

from core.compress.clusters import ClusterPlan, KernelClusters, initial_centroids
from core.compress.graph import graph_of
from core.compress.links import LayerBase
from core.errors import UserError, near_miss
from core.layers.convolution import GroupedConv2D


class ClusteredKernel(LayerBase):
    """Mixed into a Keras layer: each weight of its kernel is replaced by its nearest centroid.

    Args:
        plan: The `ClusterPlan`, or its fields as a dict.
    """

    def __init__(self, *args, plan: ClusterPlan | dict, **kwargs):
        super().__init__(*args, **kwargs)
        self.plan = plan if isinstance(plan, ClusterPlan) else ClusterPlan(**plan)

    def build(self, input_shape):
        super().build(input_shape)
        plan = self.plan
        self.clusters = KernelClusters(
            self,
            self.kernel.shape,
            plan.clusters,
            plan.per_channel,
            plan.preserve_sparsity,
            plan.gradient,
        )

    def add_weight(self, *args, name: str | None = None, **kwargs):
        # The nearest centroid of a weight must not depend on the dtype policy.
        if name == "kernel":
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def _clustered(self, kernel):
        return keras.ops.cast(self.clusters(kernel), self.compute_dtype)

    # Most of Keras's convolutions call this with their kernel; the layers that do not override
    # `call`.
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, self._clustered(kernel))

    def _finished(self, outputs):
        """Add the bias and activate, as the plain layer does."""
        if self.use_bias:
            first = getattr(self, "data_format", None) == "channels_first"
            shape = (1, -1) + (1,) * (len(outputs.shape) - 2) if first else (-1,)
            outputs = keras.ops.add(outputs, keras.ops.reshape(self.bias, shape))
        return self.activation(outputs)

    # Keras's convolutions and Dense save kernel and bias only; here the centroids belong to them.
    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self):
        return {**super().get_config(), "plan": asdict(self.plan)}


@keras.saving.register_keras_serializable("gossamer")
class ClusteredConv1D(ClusteredKernel, keras.layers.Conv1D):
    """Conv1D with a clustered kernel."""

    def call(self, inputs):
        padding = self.padding
        if padding == "causal":
            inputs, padding = keras.ops.pad(inputs, self._compute_causal_padding()), "valid"
        outputs = keras.ops.conv(
            inputs,
            self._clustered(self.kernel),
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._finished(outputs)


@keras.saving.register_keras_serializable("gossamer")
class ClusteredConv2D(ClusteredKernel, keras.layers.Conv2D):
    """Conv2D with a clustered kernel."""


@keras.saving.register_keras_serializable("gossamer")
class ClusteredGroupedConv2D(ClusteredKernel, GroupedConv2D):
    """GroupedConv2D with a clustered kernel."""


@keras.saving.register_keras_serializable("gossamer")
class ClusteredConv3D(ClusteredKernel, keras.layers.Conv3D):
    """Conv3D with a clustered kernel."""


@keras.saving.register_keras_serializable("gossamer")
class ClusteredConv2DTranspose(ClusteredKernel, keras.layers.Conv2DTranspose):
    """Conv2DTranspose with a clustered kernel."""

    def call(self, inputs):
        outputs = keras.ops.conv_transpose(
            inputs,
            self._clustered(self.kernel),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._finished(outputs)


@keras.saving.register_keras_serializable("gossamer")
class ClusteredDense(ClusteredKernel, keras.layers.Dense):
    """Dense with a clustered kernel."""

    def call(self, inputs, training=None):
        return self._finished(keras.ops.matmul(inputs, self._clustered(self.kernel)))


TWINS = {
    keras.layers.Conv1D: ClusteredConv1D,
    keras.layers.Conv2D: ClusteredConv2D,
    GroupedConv2D: ClusteredGroupedConv2D,
    keras.layers.Conv3D: ClusteredConv3D,
    keras.layers.Conv2DTranspose: ClusteredConv2DTranspose,
    keras.layers.Dense: ClusteredDense,
}
PLAIN = {twin: plain for plain, twin in TWINS.items()}
PER_CHANNEL = (keras.layers.Conv2D, GroupedConv2D)


def cluster_aware(
    model: keras.Model, plan: ClusterPlan, *, layers: Collection[str] | None = None
) -> keras.Model:
    """Return the model with clustered convolution and dense kernels, ready to be fine-tuned.

    Args:
        model: A functional or Sequential model, nested models and shared layers included; it is
            not changed, and its weights are copied.
        plan: How to cluster.
        layers: Names of the layers to cluster; None takes all.

    Returns:
        An uncompiled `keras.Model`; `model.notes` lists a sentence per layer that was left alone
        although it has kernels.

    Raises:
        UserError: When the model is subclassed or clustered already, a name is unknown, a kernel
            holds NaN, or nothing can be clustered.
    """
    found = _layers(model)
    if any(isinstance(layer, ClusteredKernel) for layer in found):
        raise UserError(f"{model.name}: is clustered already; strip it first.")
    names = [layer.name for layer in found if type(layer) in TWINS]
    for name in layers or ():
        if name not in names:
            raise UserError(
                f"{model.name}: has no convolution or dense layer '{name}'."
                + near_miss(name, names)
            )
    wanted = [layer for layer in found if layers is None or layer.name in layers]
    obstacles = {id(layer): _obstacle(layer, plan) for layer in wanted}
    notes = [
        f"{layer.name}: {obstacles[id(layer)]}; left as it is"
        for layer in wanted
        if obstacles[id(layer)]
    ]

    def twin(layer):
        if type(layer) not in TWINS or obstacles.get(id(layer), "not wanted"):
            return None
        own = replace(plan, per_channel=_per_channel(layer, plan))
        return TWINS[type(layer)].from_config({**layer.get_config(), "plan": asdict(own)})

    clustered, replaced = _rebuilt(model, twin)
    if not replaced:
        reasons = f" ({'; '.join(notes)})" if notes else ""
        raise UserError(f"{model.name}: has no kernel to cluster{reasons}.")
    for layer, made in replaced:
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        if not np.isfinite(kernel).all():
            raise UserError(f"{layer.name}: its kernel holds NaN or infinity; check the training.")
        made.kernel.assign(kernel)
        made.clusters.set(kernel, initial_centroids(kernel, made.plan))
    clustered.notes = notes
    return clustered


def strip(model: keras.Model) -> keras.Model:
    """Return the plain network whose kernels hold the clustered values.

    Args:
        model: The result of `cluster_aware`, trained; it is not changed.

    Returns:
        An uncompiled `keras.Model` of the layers the network had before (names and variable paths
        too) with equal outputs; each kernel has at most `clusters` distinct values (per channel
        where so). A model without clustered layers is copied.
    """

    def plain(layer):
        if not isinstance(layer, ClusteredKernel):
            return None
        config = layer.get_config()
        del config["plan"]
        return PLAIN[type(layer)].from_config(config)

    stripped, replaced = _rebuilt(model, plain)
    for layer, made in replaced:
        made.kernel.assign(layer.clusters.clustered(layer.kernel))
    return stripped


def unique_counts(model: keras.Model) -> dict[str, int]:
    """Return layer name → number of distinct values of its kernel, as the layer computes with it.

    Args:
        model: A functional or Sequential model, clustered or not. Layers of nested models come
            under their own name, or `name_2` where two have the same.
    """
    counts: dict[str, int] = {}
    for layer in _layers(model):
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        clustered = isinstance(layer, ClusteredKernel)
        values = layer.clusters.clustered(kernel) if clustered else kernel
        name, number = layer.name, 2
        while name in counts:
            name, number = f"{layer.name}_{number}", number + 1
        counts[name] = np.unique(keras.ops.convert_to_numpy(values)).size
    return counts


def _layers(model) -> list:
    """Return the layers and operations of a functional model, nested ones opened, each once."""
    return list({id(call.operation): call.operation for call in graph_of(model).calls}.values())


def _per_channel(layer, plan: ClusterPlan) -> bool:
    return plan.per_channel and type(layer) in PER_CHANNEL


def _obstacle(layer, plan: ClusterPlan) -> str | None:
    """Say why a layer with kernels is not clustered; None when it is, or has no kernels."""
    if type(layer) in TWINS:
        if layer.quantization_mode or getattr(layer, "lora_enabled", False):
            return "has a quantized kernel or LoRA factors instead of one float kernel"
        size = int(np.prod(layer.kernel.shape))
        size //= layer.kernel.shape[-1] if _per_channel(layer, plan) else 1
        if size < plan.clusters:
            where = " a channel" if _per_channel(layer, plan) else ""
            return f"has {size} weights{where}, fewer than {plan.clusters} clusters"
        return None
    depthwise = isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D))
    if not depthwise and any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ())):
        return f"holds matrices, but {type(layer).__name__} is not a kind of layer that clusters"
    return None


def _rebuilt(model, make: Callable) -> tuple[keras.Model, list[tuple]]:
    """Build a functional model anew from other layers, nested models and shared layers kept.

    Args:
        model: The model; its layers are not changed.
        make: Layer → its replacement (of another class, same name), or None for a copy.

    Returns:
        The model, and the pairs (layer, replacement). The weights are copied, except kernels of
        replacements.
    """
    copies: dict[int, tuple] = {}  # the originals are kept, so that their ids stay theirs

    def copy(operation):
        if id(operation) not in copies:
            if isinstance(operation, keras.Model):
                new = rebuilt(operation)
            else:
                new = make(operation) or type(operation).from_config(operation.get_config())
            copies[id(operation)] = (operation, new)
        return copies[id(operation)][1]

    def rebuilt(model):
        graph_of(model)  # says so if the model is subclassed
        if isinstance(model, keras.Sequential):
            start = model.inputs[0]
            start = keras.Input(batch_shape=start.shape, dtype=start.dtype, name=start.name)
            return keras.Sequential([start, *map(copy, model.layers)], name=model.name)
        # Keras compiles the clone of a compiled model, which fails for a loss of one's own.
        uncompiled = keras.Model(model.input, model.output, name=model.name)
        return keras.models.clone_model(uncompiled, clone_function=copy)

    result, replaced = rebuilt(model), []
    for layer, new in copies.values():
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
            continue
        if type(new) is not type(layer):
            replaced.append((layer, new))
            if layer.use_bias:
                new.bias.assign(layer.bias)
        else:
            new.set_weights(layer.get_weights())
            if isinstance(new, keras.layers.Normalization):
                new.finalize_state()
    return result, replaced
