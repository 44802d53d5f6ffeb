"""The command that looks for persons in an index, and draws what it finds.

hits.json holds what `--json` prints (`schemas/search.json`). Cameras count from 0. Person 0 is a
distractor, -1 junk. Skipped is what the Market-1501 protocol leaves out: the query's person by the
query's camera, and junk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.person_reid import options as own
from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import complain, say, show_json, show_table
from core.command_line.use import load_engine, new_inputs, owning_run, result_files, tell_failed
from core.errors import UserError, not_found, one_of

if TYPE_CHECKING:
    import numpy as np

    from apps.person_reid.embeddings import Embeddings
    from apps.person_reid.pictures import Hit

RECORD = "hits.json"
SHOWN = 20  # queries whose hits are printed
DRAWN = 50  # hits of a picture
_KEPT = 512  # gallery pictures kept decoded: many queries find the same


def search(
    ctx: typer.Context,
    source: opt.Source,
    index: own.Index,
    queries: Annotated[
        list[Path],
        typer.Argument(metavar="QUERY...", help="Crops of the persons to look for, and folders."),
    ],
    out: opt.OutFolder,
    top: Annotated[int, typer.Option(min=1, help="Hits for each query.")] = 10,
    rerank: own.Rerank = "off",
    metric: own.Metric = None,
    normalize: own.Normalize = None,
    backend: own.Backend = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the index's images are now, for the pictures."),
    ] = None,
    batch: Annotated[int, opt.BATCH] = 16,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Find what is nearest to each query in an index; draw and list it.

    The folder gets QUERY_hits.png for each query, and hits.json. Metric, normalisation and backend
    are the index's; a query's embedding that would not be normalised as the index is refused.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from apps.person_reid.embeddings import BACKENDS, METRICS, read_embeddings
    from apps.person_reid.extraction import crops, embed, is_synthetic
    from apps.person_reid.index_file import about_source, check_same_network, find
    from apps.person_reid.task import RERANKINGS
    from apps.person_reid.tracklets import single
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.files import claim_folder, write_json

    task = task_of(ctx)
    if metric is not None:
        one_of(metric, METRICS, "--metric")
    if backend is not None:
        one_of(backend, BACKENDS, "--backend")
    one_of(rerank, RERANKINGS, "--rerank")
    if images is not None and not images.is_dir():
        raise not_found(f"--images {images}", "folder")
    owning_run(source, task)
    gallery = read_embeddings(index)
    about = gallery.about
    now = about_source(task, source)
    wished = about.normalised if normalize is None else normalize
    now = dataclasses.replace(now, normalised=wished, first_camera=about.first_camera)
    check_same_network(index, about, now)
    backend = _backend(backend, about.backend, rerank != "off")
    root, samples = crops(queries)
    samples = new_inputs(samples, queries, out)
    places = result_files(samples, out, "_hits.png")
    engine = load_engine(task, source)
    claim_folder(out, overwrite=overwrite)
    with track(len(samples), "embedding") as advance:
        done = embed(task, engine, single(samples), now, batch=batch, advance=advance)
    choices = {"metric": metric or about.metric, "rerank": rerank, "backend": backend}
    about_it = {"source": source, "index": index, "gallery": len(gallery), **choices}
    document: dict[str, Any] = {**about_it, "results": [], "failed": done.failed}
    shelf = _Images(images or Path(about.root))
    if done.found is not None:
        rows, distances = find(done.found.embeddings, gallery, top, **choices)
        synthetic = about.synthetic or is_synthetic(root)
        with track(len(done.samples), "drawing") as advance:
            for query, (sample,) in enumerate(done.samples):
                hits = _hits(gallery, rows[query], distances[query], shelf)
                entry = _entry(done.found, query, hits, [gallery.tracklets[r] for r in rows[query]])
                sheet = _sheet(entry, hits, sample.inputs[0], synthetic)
                files = [write_image(places[sample.id], sheet)]
                document["results"].append({"input": sample.inputs[0], "files": files, **entry})
                advance(1)
        write_json(out / RECORD, document)
    if json:
        show_json(document)
    elif done.found is not None:
        _show(document, out)
    if about.precision != now.precision:
        say(
            f"The index was made in {about.precision}, the queries are in {now.precision}: "
            "distances include the difference.",
            aside=True,
        )
    if shelf.missing:
        complain(
            f"{len(shelf.missing)} images of the index cannot be read in {shelf.folder} and are "
            f"drawn grey, the first: {shelf.missing[0]}; pass --images DIR.",
            label="Warning",
        )
    if done.warning:
        complain(done.warning, label="Warning")
    tell_failed(done.failed, done=bool(document["results"]))


def _backend(asked: str | None, noted: str, rerank: bool) -> str:
    """Return what searches; what only the index asks for may be missing here."""
    from apps.person_reid.index_file import has_faiss, load_faiss

    if rerank:
        if asked == "faiss":
            raise UserError(
                "--rerank compares all images with each other, which --backend faiss does not do; "
                "leave one of them out."
            )
        return "numpy"
    if asked == "faiss":
        load_faiss()
    elif asked is None and noted == "faiss" and not has_faiss():
        say("faiss, which the index asks for, is not installed; numpy finds the same.", aside=True)
        return "numpy"
    return asked or noted


class _Images:
    """The images of an index; grey ones for those that cannot be read, which are noted."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.missing: list[str] = []
        self.load = lru_cache(maxsize=_KEPT)(self._load)

    def _load(self, name: str) -> np.ndarray:
        from core.data.images import read_image

        try:
            return read_image(self.folder / name)
        except UserError:
            if name not in self.missing:
                self.missing.append(name)
            return self.grey

    @cached_property
    def grey(self) -> np.ndarray:
        """What is drawn instead."""
        import numpy as np

        return np.full((128, 64, 3), 200, np.uint8)


def _hits(gallery: Embeddings, rows, distances, shelf: _Images) -> list[Hit]:
    """Return what was found, nearest first; images are only read of those that are drawn."""
    from apps.person_reid.pictures import Hit

    return [
        Hit(
            shelf.load(gallery.names[row]) if place < DRAWN else shelf.grey,
            float(distance),
            gallery.names[row],
            gallery.person(row),
            gallery.camera(row),
        )
        for place, (row, distance) in enumerate(zip(rows, distances, strict=True))
    ]


def _entry(
    queries: Embeddings, row: int, hits: Sequence[Hit], tracklets: Sequence[str]
) -> dict[str, Any]:
    """Return what hits.json says of a query, but for the files."""
    from apps.person_reid.pictures import verdict

    person, camera = queries.person(row), queries.camera(row)
    listed, rank = [], 0
    for hit, tracklet in zip(hits, tracklets, strict=True):
        judged = verdict(person, camera, hit)
        rank += judged != "skipped"
        listed.append(
            {
                "rank": None if judged == "skipped" else rank,
                "name": hit.name,
                "tracklet": tracklet or None,
                "person": hit.person,
                "camera": hit.camera,
                "distance": hit.distance,
                "verdict": judged,
                "same_camera": camera is not None and camera == hit.camera,
            }
        )
    return {"person": person, "camera": camera, "hits": listed}


def _sheet(entry: dict[str, Any], hits: Sequence[Hit], query: Path, synthetic: bool) -> np.ndarray:
    """Return the picture of a query and its hits."""
    from apps.person_reid.pictures import search_sheet
    from core.data.images import read_image

    return search_sheet(
        read_image(query),
        [dataclasses.replace(hit, name=Path(hit.name).name) for hit in hits[:DRAWN]],
        name=query.name,
        person=entry["person"],
        camera=entry["camera"],
        top=DRAWN,
        synthetic=synthetic,
    )


def _show(document: dict[str, Any], out: Path) -> None:
    """Print a table of hits for each of the first queries."""
    results = document["results"]
    count = f"{len(results)} {'query' if len(results) == 1 else 'queries'}"
    how = f"{document['metric']} distance"
    if document["rerank"] != "off":
        how += f", re-ranked ({document['rerank']} convention)"
    say(f"{count} in {document['gallery']} entries of {document['index']}: {how}")
    for result in results[:SHOWN]:
        rows = [
            (hit["rank"], hit["distance"], hit["tracklet"] or hit["name"], _words(hit))
            for hit in result["hits"]
        ]
        show_table(("rank", "distance", "found", ""), rows, title=f"\n{Path(result['input']).name}")
    if len(results) > SHOWN:
        say(f"\nNot shown: {len(results) - SHOWN} more queries.")
    say(f"Saved: pictures of {count} and {RECORD} in {out}")


def _words(hit: dict[str, Any]) -> str:
    """Return what is said of a hit in the table."""
    if hit["verdict"] == "skipped":
        return f"not counted ({'junk' if hit['person'] == -1 else 'same person and camera'})"
    words = {"right": "same person", "wrong": "another person", "unknown": ""}[hit["verdict"]]
    return ", ".join(filter(None, (words, "same camera" if hit["same_camera"] else "")))
