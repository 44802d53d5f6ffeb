"""A task's classifier explained on the task's own samples, by any of the methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.classification.labels import class_name
from core.classification.pictures import LONGEST, captioned_picture
from core.data.images import as_rgb
from core.data.index import Sample
from core.drawing import overlaid, shortened, side_by_side
from core.engines import Engine, KerasEngine
from core.errors import UserError, no_such, one_of
from core.explain import CAM_METHODS, METHODS
from core.explain.classes import BATCH, class_probabilities, probabilities
from core.explain.curves import Curve, deletion, insertion
from core.explain.lime import SAMPLES, lime
from core.explain.maps import evidence
from core.explain.occlusion import occlusion
from core.explain.segmentation import Segmentation, named_segmentation
from core.model_card import ModelCard
from core.task import Example, Task

GAP = 12  # pixels between a picture and its map
READERS = 2  # threads


@dataclass(frozen=True)
class Explanation:
    """Why a picture is taken for a class.

    Attributes:
        sample: The picture's sample.
        picture: As the network sees it: stored values, uint8 (H, W, C).
        label: The class that is explained.
        probabilities: (classes,) what the network says.
        values: float32 (H, W): how much a pixel speaks for the class; of LIME and occlusion
            negative where it speaks against it.
        fit: R² of LIME's linear model, 1 where it says what the network says; None of others.
    """

    sample: Sample
    picture: np.ndarray
    label: int
    probabilities: np.ndarray
    values: np.ndarray
    fit: float | None = None

    @property
    def heat(self) -> np.ndarray:
        """What speaks for the class, (H, W) in [0, 1]."""
        return evidence(self.values)

    def likeliest(self, card: ModelCard, count: int = 3) -> list[tuple[str, float]]:
        """Return the most probable classes by name, with their probabilities."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(class_name(card, int(n)), float(self.probabilities[n])) for n in order]


class Explainer:
    """Explains what one network says of a task's samples.

    Args:
        task: A classification; its samples go to the network as in `predict`.
        engine: The network, in Keras or from a .tflite file.
        method: One of `core.explain.METHODS`; None takes Grad-CAM in Keras, and LIME of a file,
            which has no gradients.
        label: Name of the class to explain; None takes each picture's most probable one.
        layer: Of a CAM: see `core.explain.cam.CamExplainer`.
        samples: Of LIME: versions of each picture.
        segmentation: Of LIME: see `core.explain.lime.lime`.
        seed: Of LIME's choice of regions.
        batch: Pictures a call of the network.
        advance: Called with how much is done: versions of LIME, else pictures; see `steps`.

    Attributes:
        method: The one that was chosen.
        layer: The layer that a CAM explains by; None of other methods.
        advance: As given; may be set later.

    Raises:
        UserError: When there is no such method, class or layer, a .tflite file is to be explained
            by gradients, or a segmentation needs what is not installed.
    """

    def __init__(
        self,
        task: Task,
        engine: Engine,
        method: str | None = None,
        *,
        label: str | None = None,
        layer: str | None = None,
        samples: int = SAMPLES,
        segmentation: str | Segmentation = "quickshift",
        seed: int = 0,
        batch: int = BATCH,
        advance: Callable[[int], None] | None = None,
    ):
        self.method = chosen_method(engine, method, layer)
        if isinstance(segmentation, str) and self.method == "lime":
            segmentation = named_segmentation(segmentation)
        self._task, self._engine, self._batch = task, engine, batch
        self._label = None if label is None else class_number(engine.card, label)
        self._samples, self._segmentation, self._seed = samples, segmentation, seed
        self.advance = advance
        self._predict = class_probabilities(engine, encode=self._encoded)
        self.layer: str | None = None
        if isinstance(engine, KerasEngine) and self.method in CAM_METHODS:
            from core.explain.cam import CamExplainer

            self._cam = CamExplainer(engine.model, layer)
            self.layer = self._cam.layer

    @property
    def steps(self) -> int:
        """How many steps `advance` is told for one picture."""
        return self._samples if self.method == "lime" else 1

    def picture(self, sample: Sample) -> np.ndarray:
        """Return a sample's picture as the network sees it: uint8 (H, W, C), cropped and sized.

        Raises:
            UserError: When it cannot be read.
        """
        return self._task.load(sample, self._engine.card).inputs

    def __call__(
        self, samples: Sequence[Sample] = (), pictures: Sequence[np.ndarray] | None = None
    ) -> list[Explanation]:
        """Return an explanation of each of a few samples, which are held in memory together.

        Args:
            samples: What to explain.
            pictures: Of `picture`, where they were read before.

        Raises:
            UserError: When one cannot be read, or the network says NaN of one.
        """
        if pictures is None:
            pictures = [self.picture(sample) for sample in samples]
        if self.method in CAM_METHODS:
            return self._by_gradients(samples, pictures)
        return [self._by_probabilities(*pair) for pair in zip(samples, pictures, strict=True)]

    def each(
        self, samples: Sequence[Sample]
    ) -> Iterator[tuple[Sample, Explanation | None, UserError | None]]:
        """Yield (sample, explanation, error) in order; a bad file does not stop the rest."""
        size = self._batch if self.method in CAM_METHODS else 1
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(samples), size):
                part = samples[start : start + size]
                read = list(pool.map(lambda sample: _attempt(self.picture, sample), part))
                good = [(s, p) for s, (p, error) in zip(part, read, strict=True) if error is None]
                made, error = _attempt(lambda pairs: self(*pairs), tuple(zip(*good, strict=True)))
                done = iter(made or ())
                for sample, (picture, unread) in zip(part, read, strict=True):
                    if unread is not None:
                        self._tell(self.steps)
                        yield sample, None, unread
                    elif error is None:
                        yield sample, next(done), None
                    else:  # one of them is to blame
                        alone, why = _attempt(lambda pair: self(*pair), ([sample], [picture]))
                        if why is not None:
                            why = UserError(f"{sample.inputs[0]}: {why}")
                        yield sample, alone[0] if why is None else None, why

    def curves(self, found: Explanation) -> tuple[Curve, Curve]:
        """Return the deletion and the insertion curve of an explanation: can it be believed?"""
        arguments = found.picture, found.values, self._predict, found.label
        return (
            deletion(*arguments, batch=self._batch),
            insertion(*arguments, batch=self._batch),
        )

    def _encoded(self, pictures: np.ndarray) -> np.ndarray:
        card = self._engine.card
        return np.stack([self._task.encode(Example(one), card)[0] for one in pictures])

    def _by_gradients(
        self, samples: Sequence[Sample], pictures: Sequence[np.ndarray]
    ) -> list[Explanation]:
        found = []
        for start in range(0, len(samples), self._batch):
            part = slice(start, start + self._batch)
            inputs = self._encoded(np.stack(pictures[part]))
            cam = self._cam(inputs, self._label, method=self.method)
            rows = zip(
                samples[part], pictures[part], cam.classes.tolist(),
                probabilities(cam.logits), cam.maps, strict=True,
            )  # fmt: skip
            found += [Explanation(*row) for row in rows]
            self._tell(len(samples[part]))
        return found

    def _by_probabilities(self, sample: Sample, picture: np.ndarray) -> Explanation:
        if self.method == "lime":
            explained = lime(
                picture,
                self._predict,
                classes=None if self._label is None else [self._label],
                segmentation=self._segmentation,
                samples=self._samples,
                labels=1,
                seed=self._seed,
                batch=self._batch,
                advance=self.advance,
            )
            return Explanation(
                sample,
                picture,
                int(explained.classes[0]),
                explained.probabilities,
                explained.map(),
                float(explained.surrogate.scores[0]),
            )
        said = self._predict(picture[None])[0]
        hidden = occlusion(picture, self._predict, label=self._label, batch=self._batch)
        self._tell(1)
        return Explanation(sample, picture, hidden.label, said, hidden.map)

    def _tell(self, count: int) -> None:
        if self.advance is not None:
            self.advance(count)


def _attempt(function: Callable[[Any], Any], argument: Any) -> tuple[Any, UserError | None]:
    """Return what a function makes of an argument, or the error that a user can mend."""
    try:
        return function(argument), None
    except UserError as error:
        return None, error


def chosen_method(engine: Engine, method: str | None, layer: str | None = None) -> str:
    """Return the method by which an engine is explained, checked.

    Args:
        engine: In Keras or from a .tflite file.
        method: What was wished, if anything.
        layer: The layer that was wished, if any.
    """
    in_keras = isinstance(engine, KerasEngine)
    if method is None:
        method = "grad-cam" if in_keras else "lime"
    one_of(method, METHODS, "The method")
    if method in CAM_METHODS and not in_keras:
        raise UserError(
            f"{engine.name}: has no gradients, as no .tflite file has, so {method} cannot explain "
            "it; choose lime or occlusion, or explain the run it was made of."
        )
    if method not in CAM_METHODS and layer is not None:
        raise UserError(
            f"{method} asks only what the network says, not a layer such as '{layer}'; leave the "
            f"layer out, or choose {', '.join(CAM_METHODS)}."
        )
    return method


def class_number(card: ModelCard, name: str) -> int:
    """Return the number of a class by its name; a `UserError` names the known ones.

    Where the card has no names, a class is called by its number: "243" or "class 243".
    """
    number = name.removeprefix("class ")
    if not card.labels and number.isdecimal():
        return int(number)
    if name not in card.labels:
        raise no_such("class", name, card.labels)
    return card.labels.index(name)


def explanation_picture(
    found: Explanation, card: ModelCard, lines: Sequence[str] = ()
) -> np.ndarray:
    """Return the picture a network saw and beside it what speaks for a class, named below.

    Args:
        found: The explanation.
        card: Names the classes.
        lines: More to be said, below the map.

    Returns:
        uint8 (H, W, 3).
    """
    picture = as_rgb(found.picture)
    likeliest = found.likeliest(card)
    seen = [(f"{shortened(name, LONGEST)} {share:.1%}", share) for name, share in likeliest]
    name = shortened(class_name(card, found.label), LONGEST)
    why = [(f"for {name} {found.probabilities[found.label]:.1%}", 0.0)]
    why += [(line, 0.0) for line in lines]
    blank = [("", 0.0)] * abs(len(seen) - len(why))
    left, right = (
        captioned_picture(image, [*said, *blank][: max(len(seen), len(why))])
        for image, said in ((picture, seen), (overlaid(picture, found.heat), why))
    )
    return side_by_side(left, right, GAP)
