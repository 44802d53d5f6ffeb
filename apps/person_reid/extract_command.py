"""The command that writes the embeddings of a user's crops into a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.tables import complain, say, show_json
from core.command_line.use import check_source, load_engine, owning_run, without_results
from core.errors import UserError

if TYPE_CHECKING:
    from apps.person_reid.extraction import Embedded
    from core.data.index import Sample
    from core.engines import Engine
    from core.task import Task

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT...", help="Crops of persons, and folders of crops.")
]
Out = Annotated[Path, typer.Option(metavar="FILE.npz", help="The file to write.")]
Batch = Annotated[int, typer.Option(min=1, help="Images per call.")]
Normalize = Annotated[bool, typer.Option("--normalize", help="Scale embeddings to length one.")]
Tracklets = Annotated[
    str | None,
    typer.Option(
        metavar="folder|name",
        help="One mean for the images of a folder, or of a person, camera and sequence by name.",
    ),
]
_POOLING = "global_avgpool"  # what it pools, the output of conv5, is the last feature map


def extract(
    ctx: typer.Context,
    source: opt.Source,
    inputs: Inputs,
    out: Out,
    batch: Batch = 16,
    normalize: Normalize = False,
    tracklets: Tracklets = None,
    maps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also draw what the network looks at (run folders only)."),
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write embeddings of crops, and what their names tell, into a .npz file.

    Persons and cameras are taken from names as 0002_c1s1_000451_03.jpg.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    if maps is not None and source.is_file():
        raise UserError(
            f"{source}: a .tflite file keeps its feature maps to itself, and --maps needs them; "
            "pass the run folder it was exported from, or leave out --maps."
        )
    _write(
        ctx,
        source,
        inputs,
        out,
        batch=batch,
        normalize=normalize,
        pooling=tracklets,
        maps=maps,
        overwrite=overwrite,
        json=json,
    )


def index(
    ctx: typer.Context,
    source: opt.Source,
    inputs: Inputs,
    out: Out,
    batch: Batch = 16,
    normalize: Normalize = False,
    tracklets: Tracklets = None,
    backend: Annotated[
        str,
        typer.Option(
            metavar="numpy|faiss", help="What searches; faiss needs the extra 'retrieval'."
        ),
    ] = "numpy",
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write the index that search looks through: what extract writes, and the backend.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.person_reid.embeddings import BACKENDS

    opt.one_of(backend, BACKENDS, "--backend")
    if backend == "faiss":
        from apps.person_reid.index_file import load_faiss

        load_faiss()
    _write(
        ctx,
        source,
        inputs,
        out,
        batch=batch,
        normalize=normalize,
        pooling=tracklets,
        backend=backend,
        overwrite=overwrite,
        json=json,
    )


def _write(
    ctx: typer.Context,
    source: Path,
    inputs: list[Path],
    out: Path,
    *,
    batch: int,
    normalize: bool,
    pooling: str | None,
    overwrite: bool,
    json: bool,
    maps: Path | None = None,
    backend: str = "numpy",
) -> None:
    """Embed images and write the file, and the activation maps if they are wished."""
    from apps.person_reid.embeddings import check_name, first_camera_of, write_embeddings
    from apps.person_reid.extraction import crops, embed, is_synthetic, picture_names
    from apps.person_reid.index_file import about_source
    from apps.person_reid.tracklets import POOLINGS, grouped, single
    from core.command_line.progress import track
    from core.files import claim_folder

    task = task_of(ctx)
    if pooling is not None:
        opt.one_of(pooling, POOLINGS, "--tracklets")
    check_name(out)
    if out.exists() and (out.is_dir() or not overwrite):
        what = "is a folder" if out.is_dir() else "exists"
        more = "" if out.is_dir() else " or pass --overwrite"
        raise UserError(f"{out}: {what}; choose another --out{more}.")
    check_source(source)
    owning_run(source, task)
    root, samples = crops(inputs)
    if maps is not None:
        samples = without_results(samples, inputs, maps)
        picture_names([sample.id for sample in samples], "map")
    engine = load_engine(task, source)
    about = dataclasses.replace(
        about_source(task, source),
        normalised=normalize,
        root=str(root),
        first_camera=first_camera_of([sample.id for sample in samples]),
        pooling=pooling or "",
        backend=backend,
        synthetic=is_synthetic(root),
    )
    rows = single(samples) if pooling is None else grouped(samples, pooling, root.name)
    features = None if maps is None else _feature_engine(engine)
    if maps is not None:
        claim_folder(maps, overwrite=overwrite)
    with track(sum(len(row.samples) for row in rows), "embedding") as advance:
        done = embed(task, engine, rows, about, batch=batch, advance=advance)
    drawn = []
    if done.found is not None:
        write_embeddings(out, done.found)
        if features is not None:
            drawn = _draw_maps(task, features, done.samples, maps, batch)
    _tell(ctx, source, out, done, drawn, maps, json=json)


def _feature_engine(engine: Engine) -> Engine:
    """Return an engine of the network up to its last feature map."""
    import keras

    from core.engines import KerasEngine

    layers = {layer.name: layer for layer in engine.model.layers}
    if _POOLING not in layers:
        raise UserError(
            f"{engine.card.network}: has no layer '{_POOLING}', whose input --maps would draw; "
            "leave it out."
        )
    model = keras.Model(engine.model.input, layers[_POOLING].input)
    return KerasEngine(model, engine.card)


def _draw_maps(
    task: Task, features: Engine, rows: list[tuple[Sample, ...]], folder: Path, batch: int
) -> list[Path]:
    """Write the activation map of every image and return the files."""
    import numpy as np

    from apps.person_reid.augment import resized
    from apps.person_reid.extraction import picture_names
    from apps.person_reid.pictures import activation_map
    from core.command_line.progress import track
    from core.data.images import read_image, write_image

    card = features.card
    samples = [sample for frames in rows for sample in frames]
    names, files = picture_names([sample.id for sample in samples], "map"), []
    with track(len(samples), "drawing") as advance:
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            (found,) = features(np.stack([task.prepare(sample, card)[0] for sample in part]))
            for sample, strongest in zip(part, found, strict=True):
                image = resized(read_image(sample.inputs[0]), card.input_size)
                picture = activation_map(strongest, image)
                files.append(write_image(folder / names[len(files)], picture))
            advance(len(part))
    return files


def _tell(
    ctx: typer.Context,
    source: Path,
    out: Path,
    done: Embedded,
    maps: list[Path],
    folder: Path | None,
    *,
    json: bool,
) -> None:
    """Say what was written, what is wrong with the images, and exit with 1 or 2 if some failed."""
    found = done.found
    if json:
        document = {"out": None if found is None else out, "embeddings": 0, "failed": done.failed}
        if found is not None:
            document |= {
                "embeddings": len(found),
                "length": found.embeddings.shape[1],
                "images": int(found.frames.sum()),
                "persons_known": sum(found.person(row) is not None for row in range(len(found))),
                "not_upright": [str(path) for path, _ in done.lying],
                "maps": maps,
                "about": found.about,
            }
        show_json(document)
    elif found is not None:
        images = int(found.frames.sum())
        what = f"{len(found)} embeddings of {found.embeddings.shape[1]} numbers"
        means = f", means over {images} images" if found.about.pooling else ""
        length = ", length one" if found.about.normalised else ""
        say(f"Saved: {out} ({what}{means}{length})")
        if maps:
            say(f"Saved: {len(maps)} activation map{'s' if len(maps) > 1 else ''} in {folder}")
        say(f"Next: {program_name(ctx)} search {source} {out} QUERY... --out DIR")
    if done.warning:
        complain(done.warning, label="Warning")
    for entry in done.failed:
        complain(entry["error"])
    if done.failed:
        raise typer.Exit(1 if found is not None else 2)
