"""A network of three layers that does what OSNet does for the program: it makes embeddings.

For tests of what the commands of re-identification do around a network. OSNet itself has its golden
files, the contract and the notebook, which takes it all the way from training to a .tflite file.
"""

from __future__ import annotations

import keras

from core.layers.convolution import conv_norm, depthwise_norm, linear
from core.layers.instance_norm import InstanceNormalization
from core.model_card import ModelCard
from core.network import CLASSIFIER, Network, without_classifier

EMBEDDING = 512


def small_embedder(variant="s", input_shape=(64, 32, 3), *, classes=None) -> keras.Model:
    """Return a model from normalised images to embeddings (N, 512), or to [embeddings, logits]."""
    image = keras.Input(input_shape, name="image")
    x = conv_norm(image, 8, 3, "stem", strides=2, activation="relu")
    x = depthwise_norm(x, 3, "block.filter", strides=2, activation="relu")
    x = keras.layers.Conv2D(16, 1, name="block.project")(x)
    x = InstanceNormalization(name="block.norm")(x)
    x = keras.layers.ReLU(name="block.relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.ReLU(name="embedding")(linear(x, EMBEDDING, "fc"))
    outputs = x if classes is None else [x, linear(x, classes, CLASSIFIER)]
    return keras.Model(image, outputs, name="small_embedder")


def deploy(model: keras.Model) -> keras.Model:
    """Return the embeddings alone, the weights shared."""
    return keras.Model(model.input, model.outputs[0], name=model.name)


def card(variant: str) -> ModelCard:
    """Return the card, whose embeddings are compared as OSNet's are."""
    return ModelCard(
        network="small_embedder",
        variant=variant,
        app="reid",
        input_size=(64, 32),
        size_multiple=16,
        decode={"metric": "euclidean", "rerank": "off"},
    )


NETWORK = Network(small_embedder, {"s": {}}, card, deploy=deploy, skipped=without_classifier)
