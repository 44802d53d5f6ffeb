"""The command that makes BEV images of scans, laid out as BEVPlace++ distributes its own."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name
from core.command_line.tables import say, show_json
from core.command_line.use import tell_failed
from core.errors import UserError

IMAGES = "bev_imgs"


def make_bev(
    ctx: typer.Context,
    inputs: opt.Inputs,
    out: opt.OutFolder,
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="place40, coarse40, place30-v1 or lio90.")
    ] = "place40",
    half_range: Annotated[
        float, typer.Option(metavar="METRES", help="Another reach of the image.")
    ] = 0.0,
    resolution: Annotated[
        float, typer.Option(metavar="METRES", help="Other pixels and voxels.")
    ] = 0.0,
    format: opt.Format = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Make density images of scans: OUT/SEQUENCE/bev_imgs/*.png, with OUT/poses/SEQUENCE.txt.

    recipe.json names the recipe with every parameter: images of another one than a network was
    trained with look alike, and it recognises nothing in them. The folder is read as bev-images.
    --format may also name the layout of the points in .bin files; KITTI's is taken else.
    Scans that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.bev_localization.data.bev_folders import RECORD
    from apps.bev_localization.data.samples import POSE, scan_of
    from apps.bev_localization.images.chosen import recipe_chosen
    from apps.bev_localization.images.density import density_image
    from apps.bev_localization.maps.queries import query_samples
    from apps.bev_localization.task import TASK
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.files import claim_folder, write_atomic, write_json

    choices = {"recipe": recipe, "half_range": half_range, "resolution": resolution}
    chosen = recipe_chosen(TASK.check_options(choices))
    samples = query_samples(inputs, format)
    claim_folder(out, overwrite=overwrite)
    made: dict[str, list] = {}
    poses: dict[str, list] = {}
    failed, black = [], 0
    with track(len(samples), "making images") as advance:
        for sample in samples:
            group = sample.group or "scans"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # counted below
                    image = density_image(scan_of(sample).points, chosen)
                file = out / group / IMAGES / f"{Path(sample.id).stem}.png"
                if file in made.get(group, []):
                    raise UserError(
                        f"{sample.inputs[0]}: another scan of '{group}' has the image "
                        f"{file.name} already; rename one of both."
                    )
                made.setdefault(group, []).append(write_image(file, image))
                poses.setdefault(group, []).append(sample.extra.get(POSE))
                black += not image.any()
            except UserError as error:
                failed.append({"input": str(sample.inputs[0]), "error": str(error)})
            advance(1)
    for group, rows in poses.items():
        if all(row is not None for row in rows):
            text = "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows)
            write_atomic(out / "poses" / f"{group}.txt", text)
    without = [group for group, rows in poses.items() if any(row is None for row in rows)]
    counts = {group: len(files) for group, files in made.items()}
    if made:
        write_json(out / RECORD, {"recipe": asdict(chosen), "hash": chosen.hash, "images": counts})
    document = {
        "out": out,
        "recipe": asdict(chosen),
        "images": sum(counts.values()),
        "images_by_sequence": counts,
        "black": black,
        "without_poses": without,
        "failed": failed,
    }
    if json:
        show_json(document)
    elif made:
        side = f"{chosen.side}x{chosen.side}"
        say(f"Saved: {out} ({sum(counts.values())} images of {side}, recipe {chosen.name})")
        if black:
            say(
                f"Black: {black} images have no point in range; check units and frame of the scans."
            )
        if without:
            say(f"Without poses: {', '.join(without)}; such images can be localized, not scored.")
        say(f"Next: {program_name(ctx)} data {out}")
    tell_failed(failed, done=bool(made))
