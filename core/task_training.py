"""The part of a task that only its training asks: graph, frozen parts, rates, batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from core.config import TrainConfig
    from core.data.index import Index
    from core.data.pipeline import TrainingData
    from core.finetuning.frozen import FrozenFeatures
    from core.model_card import ModelCard
    from core.network import Network
    from core.run_folder import RunFolder
    from core.training.pretraining import Pretraining


class HowTrained:
    """How the networks of a domain are trained, where it is not as all others are."""

    def pretraining(self) -> Pretraining | None:
        """Return the task that pre-trains the domain's encoders; None: as those of pictures are."""
        return None

    def training_arguments(self, config: TrainConfig) -> dict:
        """Return extra builder arguments for the graph that is trained (auxiliary heads)."""
        return {}

    def training_graph(self, model, config: TrainConfig):
        """Return the graph that `fit` sees, sharing the model's weights; default: the model.

        For losses that need all heads at once: a graph that stacks them into one output.
        """
        return model

    def training_input_shape(self, card: ModelCard, config: TrainConfig) -> tuple:
        """Return the input's shape of the trained graph; None sides where they vary."""
        return card.input_shape

    def bring_weights(self, network: Network, model, config: TrainConfig) -> list[str]:
        """Give a new network weights from elsewhere (a published backbone); return what was done.

        Asked once, when a training begins that starts from no other run.
        """
        return []

    def start_network(self, model, data: TrainingData, config: TrainConfig) -> list[str]:
        """Give a new network what only training samples tell (clusters); return what was done.

        Asked once, after `bring_weights`, when a training begins that starts from no other run, or
        from one that holds an encoder alone. All randomness comes from `config.seed`, so that a
        training that is killed in its first epoch and begins anew starts alike.

        Args:
            model: The network, whose weights may be set.
            data: Gives samples as a training sees them (`TrainingData.inputs`).
            config: The choices.
        """
        return []

    def mined_order(
        self,
        index: Index,
        config: TrainConfig,
        rng: np.random.Generator,
        outputs: Callable[[], list[np.ndarray]],
    ) -> list[np.ndarray] | None:
        """Return an epoch's batches where they depend on what the network makes of the samples.

        Asked when an epoch begins, in place of `Task.batch_order`, which must give as many batches
        of as many samples. A resumed training comes to the same batches, as the weights at the
        begin of an epoch are those of one that was not interrupted. Default: None, `batch_order`.

        Args:
            index: The training samples.
            config: The choices.
            rng: The source of all randomness, the same as for `batch_order`.
            outputs: Runs the graph that is trained, at inference, over all samples of the index,
                each as the epoch sees it at its own position; an array (N, ...) for each output.
        """
        return None

    def training_callbacks(self, network: Network, model, config: TrainConfig) -> list:
        """Return Keras callbacks that act on the trained network (freezing parts of it).

        They follow from the epoch alone, so that a resumed training goes on exactly.
        """
        return []

    def frozen_features(
        self, network: Network, model, config: TrainConfig, samples: int
    ) -> FrozenFeatures | None:
        """Return what stands for the inputs while only the head is trained; None if nothing."""
        return None

    def check_start(self, start: RunFolder, card: ModelCard) -> None:
        """Raise a `UserError` where a training must not start from a run's weights.

        Args:
            start: The run, of this app.
            card: Of the network to be trained.
        """

    def check_teacher(self, teacher: RunFolder, card: ModelCard) -> None:
        """Raise a `UserError` when a teacher takes its input in another way than a student.

        Asked about what the domain does with stored values before `ModelCard.normalise`; where that
        differs, the teacher is given what its own card says. Default: nothing to object to.

        Args:
            teacher: The run that teaches.
            card: Of the network that learns.
        """

    def teacher_weights(self, index: Index, config: TrainConfig) -> np.ndarray | None:
        """Return how far a teacher is followed on each sample of an index; default: on all alike.

        For domains that know on which samples a teacher's class probabilities say little (signals
        below the noise). They are factors of the soft term alone (`core.config.Distillation`): the
        task's own loss counts every sample once, whatever its factor.

        Returns:
            Finite numbers from 0, (N,), in the order of the index; None for all 1. `batches` must
            then keep each batch's samples and their order.
        """
        return None

    def learning_rate(self, config: TrainConfig, epoch: int) -> float:
        """Return an epoch's rate (from 0), of the config alone; default: its schedule's."""
        from core.schedules import learning_rate

        return learning_rate(config, epoch)

    def batches(self, dataset, config: TrainConfig, *, epoch: Callable[[], int]):
        """Change the batched training `tf.data.Dataset` (multi-scale, mixing); default: not.

        Args:
            dataset: Batches (inputs, target).
            config: The choices.
            epoch: Tells the epoch, asked while the dataset is iterated.
        """
        return dataset
