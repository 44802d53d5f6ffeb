"""From images on the disk to embeddings, with what their files' names say of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.command_line.use import results
from core.documents import read_json
from core.errors import UserError

if TYPE_CHECKING:
    from apps.person_reid.embeddings import About, Embeddings
    from apps.person_reid.tracklets import Tracklet
    from core.data.index import Sample
    from core.engines import Engine
    from core.task import Task

UPRIGHT = (0.2, 0.9)  # width over height of a crop of a whole person


@dataclass
class Embedded:
    """What became of images.

    Attributes:
        found: The embeddings of those that could be read.
        samples: The images of every row; of a tracklet its frames.
        failed: The others: "input" and "error".
        lying: Path and (height, width) of crops that are not upright.
    """

    found: Embeddings | None = None
    samples: list[tuple[Sample, ...]] = field(default_factory=list)
    failed: list[dict] = field(default_factory=list)
    lying: list[tuple[Path, tuple[int, int]]] = field(default_factory=list)

    @property
    def warning(self) -> str | None:
        """A sentence about crops that are not upright, if there are any."""
        if not self.lying:
            return None
        path, (height, width) = self.lying[0]
        return (
            f"{len(self.lying)} of {sum(map(len, self.samples))} images are not upright "
            f"crops of a person (width over height outside {UPRIGHT[0]} to {UPRIGHT[1]}), the "
            f"first: {path} with {height}x{width} pixels; cut persons out of whole pictures."
        )


def crops(inputs: Sequence[Path]) -> tuple[Path, list[Sample]]:
    """Return the folder around all inputs, and their images by the name they have in it.

    A file that is named twice is taken once.

    Raises:
        UserError: When an input does not exist or a folder holds no image.
    """
    from core.data.folders import named_files
    from core.data.images import SUFFIXES
    from core.data.index import Sample

    found: dict[str, Path] = {}
    folders = []
    for path, file in named_files(inputs, "image", SUFFIXES):
        absolute = os.path.abspath(path)
        folders.append(absolute if path.is_dir() else os.path.dirname(absolute))
        found.setdefault(os.path.abspath(file), file)
    root = Path(os.path.commonpath(folders))
    return root, [
        Sample(id=Path(place).relative_to(root).as_posix(), inputs=(file,))
        for place, file in found.items()
    ]


def is_synthetic(folder: Path) -> bool:
    """Return whether a folder is, or lies right in, what the command simulate wrote."""
    from apps.person_reid.simulation import RECORD, WHAT

    for place in (folder, folder.parent):
        try:
            record = read_json(place / RECORD)
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("what") == WHAT:
            return True
    return False


def embed(
    task: Task,
    engine: Engine,
    rows: Sequence[Tracklet],
    about: About,
    *,
    batch: int,
    advance: Callable[[int], None],
) -> Embedded:
    """Return the embeddings of images and tracklets, in order; what cannot be read is left out.

    Args:
        task: The domain.
        engine: Keras or LiteRT.
        rows: What makes a row each.
        about: What is written with the embeddings; its normalisation is done here.
        batch: Images per call.
        advance: Called with the number of images done.
    """
    import numpy as np

    from apps.person_reid.embeddings import Embeddings, at_length_one, identities
    from core.data.images import read_size

    done, vectors = Embedded(), {}
    samples = [sample for row in rows for sample in row.samples]
    for sample, vector, error in results(task, engine, samples, batch=batch):
        path = sample.inputs[0]
        if error is None and not np.isfinite(vector).all():
            error = UserError(f"{path}: the network returns no finite numbers for it; verify it.")
        if error is None:
            vectors[sample.id] = vector
            height, width = size = read_size(path)
            if not UPRIGHT[0] <= width / height <= UPRIGHT[1]:
                done.lying.append((path, size))
        else:
            done.failed.append({"input": str(path), "error": str(error)})
        advance(1)
    names, tracklets, means, who = [], [], [], []
    for row in rows:
        frames = tuple(sample for sample in row.samples if sample.id in vectors)
        if not frames:
            continue
        done.samples.append(frames)
        names.append(frames[len(frames) // 2].id)
        tracklets.append(row.name)
        means.append(np.mean([vectors[sample.id] for sample in frames], axis=0))
        seen = identities([sample.id for sample in frames], about.first_camera)
        who.append([_agreed(values) for values in seen])
    if names:
        embeddings = np.stack(means).astype(np.float32)
        persons, cameras = np.array(who, np.int64).T
        done.found = Embeddings(
            at_length_one(embeddings) if about.normalised else embeddings,
            tuple(names),
            persons,
            cameras,
            tuple(tracklets),
            np.array([len(frames) for frames in done.samples], np.int64),
            about,
        )
    return done


def _agreed(values) -> int:
    """Return the value of all frames, -1 where they differ."""
    from apps.person_reid.embeddings import UNKNOWN

    return int(values[0]) if (values == values[0]).all() else UNKNOWN
