"""The command that finds where on a map scans were taken.

localized.json holds what `--json` prints (`schemas/localize.json`), localized.csv a row a scan.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.bev_localization.maps import CANDIDATES
from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import csv_text, say, show_json, show_table
from core.command_line.use import load_engine, new_inputs, owning_run, result_files, tell_failed
from core.errors import UserError

if TYPE_CHECKING:
    from apps.bev_localization.maps.localizing import Fix
    from apps.bev_localization.maps.map_file import PlaceMap
    from apps.bev_localization.maps.map_scans import MapScans
    from core.data.index import Index, Sample

RECORD, TABLE = "localized.json", "localized.csv"
_SHOWN = 40  # scans that are printed


def localize(
    ctx: typer.Context,
    place_map: Annotated[
        Path, typer.Argument(metavar="MAP.npz", help="A map that build-map wrote.")
    ],
    inputs: opt.Inputs,
    model: Annotated[
        Path,
        typer.Option("--model", metavar="RUN|FILE.tflite", help="The network of the map."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of lists and pictures.")
    ] = None,
    format: opt.Format = None,
    least_inliers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Matches that must agree, else off the map. (default: 12 at pixels of 0.4 m)",
        ),
    ] = None,
    farthest: Annotated[
        float | None,
        typer.Option(min=0, metavar="X", help="Largest distance of descriptors, 0 to 2."),
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=1, metavar="N", help="Nearest places whose pose is tried.")
    ] = CANDIDATES,
    center_cells: Annotated[
        bool,
        typer.Option(
            "--center-cells/--corner-cells",
            help="Keypoints are middles of pixels; corners are what published numbers take.",
        ),
    ] = True,
    inlier_metres: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="M",
            help="A match that agrees misses by less. (default: 1.25 pixels, 0.5 at 0.4 m)",
        ),
    ] = None,
    seed: Annotated[int, opt.SEED] = 0,
    map_scans: Annotated[
        Path | None,
        typer.Option(
            "--map-scans",
            metavar="DATA",
            help="The scans of the map: poses are refined in space on their points.",
        ),
    ] = None,
    pictures: opt.Pictures = True,
    batch: Annotated[int, opt.BATCH] = 4,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Find where on a map scans were taken: the place, x, y and heading in the map's frame.

    A scan counts as found where --least-inliers of its keypoints agree on a pose (and descriptors
    are within --farthest); else it is told "not on this map", with the best guess. The confidence
    is the share of its keypoints that agree. Height, roll and pitch are those of the place, unless
    --map-scans names the scans that the map was built from: then the points of a scan that was
    found are laid on its place's (small-gicp, the extra 'lidar'), where they fit.

    --format may also name the layout of the points in .bin files; KITTI's is taken else.

    --out gets NAME_map.png for each scan, localized.json and localized.csv.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.bev_localization.maps.localizing import Rules
    from apps.bev_localization.maps.localizing import localize as locate
    from apps.bev_localization.maps.map_file import (
        check_same_network,
        check_same_recipe,
        read_map,
    )
    from apps.bev_localization.maps.pictures import localized_picture
    from apps.bev_localization.maps.queries import query_samples
    from apps.bev_localization.maps.views import recipe_of, views
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.files import claim_folder, write_atomic, write_json
    from core.identity import identify

    task = task_of(ctx)
    found = read_map(place_map)
    owning_run(model, task)
    card, now = identify(model, task.name)
    check_same_network(found, now)
    check_same_recipe(found, recipe_of(card, model.name), f"'{model.name}'")
    scans = None if map_scans is None else _scans_of(found, task.read(str(map_scans)))
    samples = query_samples(inputs, format)
    places: dict[str, Path] = {}
    if out is not None:
        samples = new_inputs(samples, inputs, out)
        places = result_files(samples, out, "_map.png")
    engine = load_engine(task, model)
    if out is not None:
        claim_folder(out, overwrite=overwrite)
    rules = Rules(
        least_inliers=least_inliers,
        farthest=math.inf if farthest is None else farthest,
        tried_places=candidates,
        center_cells=center_cells,
        inlier_metres=inlier_metres,
        seed=seed,
    ).settled(found.about.recipe)
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    recipe, threshold = found.about.recipe, found.about.keypoint_threshold
    with track(len(samples), "localizing") as advance:
        for sample, view, error in views(
            engine, samples, recipe, batch=batch, threshold=threshold, advance=advance
        ):
            if view is None:
                failed.append({"input": str(sample.inputs[0]), "error": str(error)})
                continue
            fix = locate(found, view, rules)
            if scans is not None:
                try:
                    fix = scans.refined(fix, sample)
                except UserError as damaged:
                    failed.append({"input": str(sample.inputs[0]), "error": str(damaged)})
                    continue
            files = []
            if out is not None and pictures:
                picture = localized_picture(found, view.image, fix, name=sample.id)
                files.append(write_image(places[sample.id], picture))
            results.append({**_entry(found, sample, fix), "files": files})
    document = {
        "model": model,
        "map_file": place_map,
        "places": len(found),
        "rules": rules,
        "results": results,
        "failed": failed,
    }
    if out is not None and results:
        write_json(out / RECORD, document)
        flat = [{k: v for k, v in row.items() if k not in ("pose", "files")} for row in results]
        write_atomic(out / TABLE, csv_text(flat))
    if json:
        show_json(document)
    elif results:
        _show(document, out)
    if found.about.model.precision != now.precision:
        say(
            f"The map was built in {found.about.model.precision}, the scans are described in "
            f"{now.precision}: distances include the difference.",
            aside=True,
        )
    tell_failed(failed, done=bool(results))


def _scans_of(found: PlaceMap, index: Index) -> MapScans:
    from apps.bev_localization.maps.map_scans import MapScans

    return MapScans(found, index.samples, index.root)


def _entry(found: PlaceMap, sample: Sample, fix: Fix) -> dict[str, Any]:
    """Return what localized.json says of a scan, but for the files."""
    x, y, z = (None, None, None) if fix.pose is None else fix.pose[:3, 3].tolist()
    return {
        "input": sample.inputs[0],
        "name": sample.id,
        "on_map": fix.on_map,
        "place": found.ids[fix.place],
        "distance": fix.distance,
        "x": x,
        "y": y,
        "z": z,
        "yaw": fix.yaw,
        "inliers": fix.inliers,
        "matches": fix.matches,
        "confidence": fix.confidence,
        "pose": None if fix.pose is None else fix.pose[:3],
        "refined": fix.refined,
    }


def _show(document: dict[str, Any], out: Path | None) -> None:
    """Print a row for each of the first scans."""
    results = document["results"]
    rows = [
        (
            row["name"], row["place"] if row["on_map"] else "not on this map",
            *(row[name] if row["on_map"] else None for name in ("x", "y", "yaw")),
            row["distance"], f"{row['inliers']} of {row['matches']}", row["confidence"],
        )
        for row in results[:_SHOWN]
    ]  # fmt: skip
    show_table(
        ("scan", "place", "x, m", "y, m", "yaw, °", "distance", "inliers", "confidence"), rows
    )
    if len(results) > _SHOWN:
        say(f"Not shown: {len(results) - _SHOWN} more scans.")
    there, moved = (sum(row[name] for row in results) for name in ("on_map", "refined"))
    say(
        f"{there} of {len(results)} scans are on {document['map_file']} "
        f"({document['places']} places)"
        + (f"; {moved} of their poses were refined" if moved else "")
    )
    say("Confidence: the share of a scan's keypoints whose matches agree with its pose.")
    if out is not None:
        drawn = "pictures, " if any(row["files"] for row in results) else ""
        say(f"Saved: {drawn}{RECORD} and {TABLE} in {out}")
