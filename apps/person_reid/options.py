"""The options that several commands of re-identification share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Index = Annotated[Path, typer.Argument(metavar="INDEX.npz", help="What index or extract wrote.")]
OutEmbeddings = Annotated[
    Path, typer.Option("--out", metavar="FILE.npz", help="The file to write.")
]
Backend = Annotated[
    str | None,
    typer.Option(
        metavar="numpy|faiss",
        help="What searches; faiss needs the extra 'retrieval'. (default: numpy, or the index's)",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(metavar="euclidean|cosine", help="The distance. (default: the network's)"),
]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Scale embeddings to length one. (default: no, or as in the index)",
        show_default=False,
    ),
]
Rerank = Annotated[
    str, typer.Option(metavar="off|library|authors", help="k-reciprocal re-ranking.")
]
Tracklets = Annotated[
    str | None,
    typer.Option(
        metavar="folder|name",
        help="One mean for the images of a folder, or of a person, camera and sequence by name.",
    ),
]
