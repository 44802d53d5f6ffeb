"""Two-stepped transfer learning: the new classifier first, then the whole network.

K. Zhou, T. Xiang, arXiv:1910.10093; M. Geng et al., arXiv:1611.05244. The gradients of a random
classifier would spoil what the network learned before.
"""

from __future__ import annotations

import keras

CLASSIFIER = "classifier"


class ClassifierFirst(keras.callbacks.Callback):
    """Train only the classifier for some epochs; all else also keeps its running statistics.

    The rate's schedule runs on meanwhile. When the network opens, the optimiser counts its steps
    anew: its moments of the opened weights start from zero then.

    Args:
        network: The network with its classifier, some of whose outputs are trained.
        epochs: So many of them.
    """

    def __init__(self, network: keras.Model, epochs: int):
        super().__init__()
        self.network, self.epochs = network, epochs
        self._open: bool | None = None

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        opened = epoch >= self.epochs
        if opened == self._open:
            return
        for layer in self.network.layers:
            layer.trainable = opened or layer.name == CLASSIFIER
        if opened and epoch == self.epochs:
            self.model.optimizer.iterations.assign(0)
        self._open = opened
        self.model.make_train_function(force=True)  # traced for the weights that are open

    def on_train_end(self, logs=None) -> None:
        for layer in self.network.layers:
            layer.trainable = True
