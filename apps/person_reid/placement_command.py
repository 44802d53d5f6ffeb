"""The search for where instance normalisation stands (OSNet-AIN, arXiv:1910.06827, Sec. 3.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say, show_json, show_table


def place(
    ctx: typer.Context,
    data: Annotated[str, typer.Option(metavar="PATH|sample", help="Data set.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="What was found.")],
    format: opt.Format = "auto",
    variant: Annotated[
        str, typer.Option(metavar="NAME", help="Whose widths the super-network has.")
    ] = "ain_x1_0",
    input_size: opt.InputSize = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 120,
    batch: Annotated[int, typer.Option(min=2, help="Samples per step.")] = 64,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", help="Peak; falls to zero as a cosine.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Decides all randomness.")] = 0,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Search, block by block, where OSNet shall normalise by instance; train what is found.

    Weights and importances of the four candidates of each block are trained together. The
    super-network is no network to use: its norms have no factors, and each pass draws anew.
    """
    from core.errors import UserError

    task = task_of(ctx)
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists; pass --overwrite to replace it, or choose another --out.")
    size = opt.parse_size(input_size) or (256, 128)
    entry_card = task.network("osnet").card(task.network("osnet").check_variant(variant))
    entry_card.check_size(size)
    index = task.read(data, format)
    load_tensorflow()
    from apps.person_reid.placement_search import search_placement
    from core.files import write_json
    from core.training.config import TrainConfig

    config = TrainConfig(
        "reid", "osnet", variant, data=data, format=format, input_size=size,
        classes=task.classes_of(index) or 1, epochs=epochs, batch=batch, seed=seed,
        optimizer="sgd", learning_rate=learning_rate, weight_decay=5e-4, schedule="cosine",
        options=task.check_options({"jitter": "on"}),
    )  # fmt: skip

    def tell(epoch: int, loss: float) -> None:
        say(f"epoch {epoch}/{epochs}  loss {loss:.4g}", aside=json)

    found = search_placement(task, config, index, tell)
    write_json(out, found)
    if json:
        show_json(found)
        return
    names = found["candidates"]
    rows = [
        (block, kind, *(f"{value:.3f}" for value in found["importances"][block]))
        for block, kind in found["placement"].items()
    ]
    show_table(("block", "found", *names), rows, title="Importance of each candidate")
    say(f"Saved: {out}")
    chosen = ",".join(found["placement"].values())
    say(f"Next: gossamer reid train --data {data} --variant {variant} "
        f"--set options.placement={chosen} --out RUN")  # fmt: skip
