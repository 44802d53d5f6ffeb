"""The command that makes a map of scans whose poses are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.tables import say, show_json, show_table, size
from core.command_line.use import load_engine, owning_run
from core.errors import one_of

if TYPE_CHECKING:
    from apps.bev_localization.maps.map_file import PlaceMap
    from core.data.index import Index


def build_map(
    ctx: typer.Context,
    source: opt.Source,
    data: opt.DataSet,
    out: Annotated[Path, typer.Option("--out", metavar="MAP.npz", help="The map to write.")],
    format: opt.Format = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--sequences",
            metavar="A,B,…",
            help="Sequences to map; their poses must share a frame. (default: the only one)",
        ),
    ] = None,
    spacing: Annotated[
        float, typer.Option(min=0, metavar="METRES", help="Between the scans of the map.")
    ] = 0.0,
    pca: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Shorten descriptors to so many numbers, as float16."
        ),
    ] = None,
    features: Annotated[
        str, typer.Option(metavar="int8|float16", help="How local features are kept.")
    ] = "int8",
    keypoints: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Keep the N surest of a place. (default: all)"),
    ] = None,
    check_poses: Annotated[
        bool,
        typer.Option(
            "--check-poses/--no-check-poses", help="See whether scans lie on each other by them."
        ),
    ] = True,
    batch: Annotated[int, opt.BATCH] = 4,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Describe scans whose poses are known, and write them as a map that localize looks through.

    The map keeps a descriptor, keypoints with their features, the image and the pose of each
    place, and which network and which recipe of images made them: no other is let near it.
    --pca 256 shrinks descriptors from 32 KiB to 512 bytes a place, --keypoints 200 the features to
    25 kB; all of 10,000 places is then 300 MB instead of 800.
    """
    from apps.bev_localization.data.convention import check_convention
    from apps.bev_localization.data.samples import IMAGE, LAYOUT, sequences
    from apps.bev_localization.maps.building import build_map as build
    from apps.bev_localization.maps.building import mapped_samples
    from apps.bev_localization.maps.keypoint_features import KINDS
    from apps.bev_localization.maps.map_file import check_name
    from apps.bev_localization.maps.views import check_sides, recipe_of
    from core.command_line.progress import track
    from core.files import claim_file
    from core.identity import identify
    from core.run_folder import versions

    task = task_of(ctx)
    one_of(features, KINDS, "--features")
    claim_file(check_name(out), overwrite=overwrite)
    owning_run(source, task)
    card, model = identify(source, task.name)
    recipe = recipe_of(card, source.name)
    check_sides(card, recipe, source.name)
    index = task.read(data, format or "auto")
    chosen = mapped_samples(index, opt.parse_names(only), spacing)
    if check_poses:
        for samples in sequences(chosen).values():
            if samples[0].extra.get(LAYOUT) != IMAGE:
                check_convention(samples)
    engine = load_engine(task, source)
    with track(len(chosen), "mapping") as advance:
        found = build(
            out,
            engine,
            chosen,
            recipe,
            model,
            dimensions=pca,
            features=features,
            keypoints=keypoints,
            root=index.root.resolve(),
            synthetic=_is_synthetic(index),
            batch=batch,
            gossamer=versions().get("gossamer-keras", "unknown"),
            advance=advance,
        )
    document = _document(found, source, index)
    if json:
        show_json(document)
        return
    parts = document["bytes_a_place"]
    show_table(
        ("a place's", "bytes"),
        [(name.removesuffix("_bytes"), round(n)) for name, n in parts.items()],
    )
    say(
        f"Saved: {out} ({len(found)} places of {', '.join(found.about.sequences)}, "
        f"{size(document['file_bytes'])}, recipe {recipe.name})"
    )
    say(f"Next: {program_name(ctx)} localize {out} SCAN... --model {source}")


def _is_synthetic(index: Index) -> bool:
    from apps.bev_localization.data.simulated import READERS

    return index.format in {reader.name for reader in READERS}


def _document(found: PlaceMap, source: Path, index: Index) -> dict[str, Any]:
    """Return what `--json` prints."""
    stored = found.index.stored
    return {
        "out": found.path,
        "source": source,
        "data": index.root,
        "format": index.format,
        "sequences": found.about.sequences,
        "places": len(found),
        "recipe": found.about.recipe,
        "descriptor_numbers": stored.shape[1],
        "descriptor_type": str(stored.dtype),
        "feature_type": found.about.features,
        "bytes_a_place": found.bytes_a_place,
        "file_bytes": found.path.stat().st_size,
    }
