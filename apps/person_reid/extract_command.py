"""The command that writes the embeddings of a user's crops into a file, the index of a search."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.person_reid import options as own
from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.tables import complain, say, show_json
from core.command_line.use import load_engine, new_inputs, owning_run, result_files, tell_failed
from core.errors import UserError, one_of

if TYPE_CHECKING:
    from apps.person_reid.embeddings import Embeddings
    from apps.person_reid.extraction import Embedded
    from core.data.index import Sample
    from core.engines import Engine
    from core.task import Task

_POOLING = "global_avgpool"  # what it pools, the output of conv5, is the last feature map


def extract(
    ctx: typer.Context,
    source: opt.Source,
    inputs: opt.Inputs,
    out: own.OutEmbeddings,
    batch: Annotated[int, opt.BATCH] = 16,
    normalize: own.Normalize = None,
    tracklets: own.Tracklets = None,
    backend: own.Backend = None,
    maps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also draw what the network looks at (run folders only)."),
    ] = None,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Write embeddings of crops into a .npz file, which search looks through.

    extract and index are the same command. Persons and cameras are taken from names as
    0002_c1s1_000451_03.jpg; the file also notes the --backend that search then uses.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.person_reid.embeddings import BACKENDS, check_name, first_camera_of, write_embeddings
    from apps.person_reid.extraction import crops, embed, is_synthetic
    from apps.person_reid.index_file import about_source, load_faiss
    from apps.person_reid.tracklets import POOLINGS, grouped, single
    from core.command_line.progress import track
    from core.files import claim_file, claim_folder

    task = task_of(ctx)
    if maps is not None and source.is_file():
        raise UserError(
            f"{source}: a .tflite file keeps its feature maps to itself, and --maps needs them; "
            "pass the run folder it was exported from, or leave out --maps."
        )
    if tracklets is not None:
        one_of(tracklets, POOLINGS, "--tracklets")
    if one_of(backend or BACKENDS[0], BACKENDS, "--backend") == "faiss":
        load_faiss()
    claim_file(check_name(out), overwrite=overwrite)
    owning_run(source, task)
    root, samples = crops(inputs)
    drawn: dict[str, Path] = {}
    if maps is not None:
        samples = new_inputs(samples, inputs, maps)
        drawn = result_files(samples, maps, "_map.png")
    engine = load_engine(task, source)
    about = dataclasses.replace(
        about_source(task, source),
        normalised=bool(normalize),
        root=str(root),
        first_camera=first_camera_of([sample.id for sample in samples]),
        pooling=tracklets or "",
        backend=backend or BACKENDS[0],
        synthetic=is_synthetic(root),
    )
    rows = single(samples) if tracklets is None else grouped(samples, tracklets, root.name)
    features = None if maps is None else _feature_engine(engine)
    if maps is not None:
        claim_folder(maps, overwrite=overwrite)
    with track(sum(len(row.samples) for row in rows), "embedding") as advance:
        done = embed(task, engine, rows, about, batch=batch, advance=advance)
    written: list[Path] = []
    if done.found is not None:
        write_embeddings(out, done.found)
        if features is not None:
            written = _draw_maps(task, features, done.samples, drawn, batch)
    if json:
        show_json(_document(done, out, written))
    elif done.found is not None:
        _say(done.found, out, written, maps)
        say(f"Next: {program_name(ctx)} search {source} {out} QUERY... --out DIR")
    if done.warning:
        complain(done.warning, label="Warning")
    tell_failed(done.failed, done=done.found is not None)


def _feature_engine(engine: Engine) -> Engine:
    """Return an engine of the network up to its last feature map."""
    import keras

    from core.engines import KerasEngine

    layers = {}
    if isinstance(engine, KerasEngine):
        layers = {layer.name: layer for layer in engine.model.layers}
    if not isinstance(engine, KerasEngine) or _POOLING not in layers:
        raise UserError(
            f"{engine.card.network}: has no layer '{_POOLING}', whose input --maps would draw; "
            "leave it out."
        )
    return KerasEngine(keras.Model(engine.model.input, layers[_POOLING].input), engine.card)


def _draw_maps(
    task: Task,
    features: Engine,
    rows: list[tuple[Sample, ...]],
    places: dict[str, Path],
    batch: int,
) -> list[Path]:
    """Write the activation map of every image to its place and return the files."""
    import numpy as np

    from apps.person_reid.pictures import activation_map
    from core.command_line.progress import track
    from core.data.images import read_image, resized, write_image

    card = features.card
    height, width = card.input_size
    samples = [sample for frames in rows for sample in frames]
    files = []
    with track(len(samples), "drawing") as advance:
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            (found,) = features(np.stack([task.prepare(sample, card)[0] for sample in part]))
            for sample, strongest in zip(part, found, strict=True):
                image = resized(read_image(sample.inputs[0]), (height, width))
                picture = activation_map(strongest, image)
                files.append(write_image(places[sample.id], picture))
            advance(len(part))
    return files


def _document(done: Embedded, out: Path, maps: list[Path]) -> dict:
    """Return what `--json` prints."""
    empty = {"out": None, "embeddings": 0, "length": None, "images": 0, "persons_known": 0}
    rest = {"not_upright": [path for path, _ in done.lying], "maps": maps, "failed": done.failed}
    found = done.found
    if found is None:
        return {**empty, "about": None, **rest}
    return {
        "out": out,
        "embeddings": len(found),
        "length": found.embeddings.shape[1],
        "images": int(found.frames.sum()),
        "persons_known": sum(found.person(row) is not None for row in range(len(found))),
        "about": found.about,
        **rest,
    }


def _say(found: Embeddings, out: Path, maps: list[Path], folder: Path | None) -> None:
    """Say what was written."""
    what = f"{len(found)} embeddings of {found.embeddings.shape[1]} numbers"
    means = f", means over {found.frames.sum()} images" if found.about.pooling else ""
    length = ", length one" if found.about.normalised else ""
    say(f"Saved: {out} ({what}{means}{length})")
    if maps:
        say(f"Saved: {len(maps)} activation map{'s' if len(maps) > 1 else ''} in {folder}")
