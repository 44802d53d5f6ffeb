"""Low-rank adaptation as a stage of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.compress.stage import Stage, check_choices, copied
from core.errors import UserError

if TYPE_CHECKING:
    import keras

    from core.compress.distill_terms import Term


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
    _teacher: keras.Model  # from `learn_from` or `prepare`, before the network is fitted

    def __init__(self, choices: Mapping[str, Any], after: Sequence[str] = ()):
        super().__init__(choices, after)
        known = {
            "ranks": {"*": 2}, "rounds": 1, "task_weight": 0.5, "teacher_weight": 0.5,
            "affinity_weight": 10.0, "features": [], "positions": 24 * 24, "teacher": None,
            "teacher_features": [],
        }  # fmt: skip
        check_choices(self.method, choices, known)
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

    def learn_from(self, teacher: keras.Model) -> None:
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

    def _terms(self, model) -> list[Term]:
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
        terms: list[Term] = []
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
