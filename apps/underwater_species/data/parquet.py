"""AQUA20 and its like as downloaded from the hub: parquet shards of encoded pictures."""

from __future__ import annotations

from pathlib import Path

from apps.underwater_species.data.names import LICENCE, SPECIES
from apps.underwater_species.data.shards import Shard, looks_like_shards, shards_at
from core.classification.folders import refuse_untrained
from core.data.index import Index, Sample, make_index
from core.data.readers import Reader
from core.errors import UserError

ROW = "row"  # of a shard, in `Sample.extra`


def read_parquet(path: Path) -> Index:
    """Return the index of parquet shards; a sample's input is its shard, with the row as extra.

    Class names are those in the files. Where they are the 20 of AQUA20, labels are numbered in
    AQUA20's order whatever the file's; where there are none, they are taken to be those.

    Raises:
        UserError: When a shard is missing, damaged or has other columns, or a label has no name.
    """
    parts = shards_at(path)
    if not parts:
        raise UserError(
            f"{path}: expected shards such as train-00000-of-00002.parquet, also in data/; check "
            "the path or the --format."
        )
    shards = [(split, Shard(file)) for split, files in parts.items() for file in files]
    names, notes = _names([shard for _, shard in shards])
    order = SPECIES if set(names) == set(SPECIES) else names
    samples: list[Sample] = []
    before = dict.fromkeys(parts, 0)
    for split, shard in shards:
        notes += shard.notes
        for row, label in enumerate(shard.labels):
            if label is None or not 0 <= label < len(names):
                shown = "no label" if label is None else f"label {label}"
                raise UserError(
                    f"{shard.path}, row {row}: has {shown}, but the classes are 0 to "
                    f"{len(names) - 1} ({names[0]} … {names[-1]}); mend or take out the row."
                )
            name = names[label]
            sample = f"{split}/{name}/{before[split] + row:05d}"
            samples.append(
                Sample(sample, (shard.path,), label=order.index(name), split=split,
                       extra={ROW: row})
            )  # fmt: skip
        before[split] += len(shard.labels)
    refuse_untrained(path, samples, order)
    return make_index("parquet", path, samples, labels=order, notes=notes)


def _names(shards: list[Shard]) -> tuple[tuple[str, ...], list[str]]:
    first = shards[0]
    for shard in shards:
        if shard.names != first.names:
            raise UserError(
                f"{shard.path}: has other class names than {first.path.name}; keep the shards of "
                "one data set in a folder."
            )
    if first.names:
        return first.names, []
    return SPECIES, [
        f"The shards name no classes; labels are read as AQUA20's {len(SPECIES)} in ASCII order."
    ]


READER = Reader(
    "parquet",
    "AQUA20 as parquet shards (train-00000-of-0000N.parquet, test-…), also in data/",
    looks_like_shards,
    read_parquet,
    LICENCE,
)
