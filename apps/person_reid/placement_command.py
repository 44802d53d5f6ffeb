"""The search for where instance normalisation stands (OSNet-AIN, arXiv:1910.06827, Sec. 3.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import options as opt
from core.command_line.program import program_name, task_of
from core.command_line.quiet import load_tensorflow
from core.command_line.tables import say, show_json, show_table


def place(
    ctx: typer.Context,
    data: Annotated[str, opt.DATA],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="The file to write.")],
    format: opt.Format = None,
    variant: Annotated[str, opt.VARIANT] = "ain_x1_0",
    input_size: opt.InputSize = None,
    epochs: Annotated[int, opt.EPOCHS] = 120,
    batch: Annotated[int, opt.BATCH] = 64,
    learning_rate: Annotated[float, opt.LEARNING_RATE] = 0.1,
    seed: Annotated[int, opt.SEED] = 0,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Search, block by block, where OSNet shall normalise by instance; train what is found.

    Weights and importances of the four candidates of each block are trained together, at a rate
    that falls to zero as a cosine. The super-network has the widths of --variant; it is no network
    to use: its norms have no factors, and each pass draws anew.
    """
    from core.errors import UserError
    from core.files import claim_file, write_json

    task = task_of(ctx)
    claim_file(out, overwrite=overwrite)
    if batch < 2:
        raise UserError(f"--batch is {batch}; the search normalises over a batch: pass 2 or more.")
    network = task.network("osnet")
    card = network.card(network.check_variant(variant))
    size = card.sized(opt.parse_size(input_size) or card.input_size).input_size
    index = task.read(data, format or "auto")
    load_tensorflow()
    from apps.person_reid.placement_search import search_placement
    from core.config import TrainConfig

    config = TrainConfig(
        "reid", "osnet", variant, data=data, format=index.format, input_size=size,
        classes=task.classes_of(index) or 1, epochs=epochs, batch=batch, seed=seed,
        optimizer="sgd", learning_rate=learning_rate, weight_decay=5e-4, schedule="cosine",
        options=task.check_options({"jitter": "on"}),
    )  # fmt: skip

    def tell(epoch: int, loss: float) -> None:
        say(f"epoch {epoch}/{epochs}  loss {loss:.4g}", aside=json)

    found = search_placement(task, config, index, tell)
    write_json(out, found)
    if json:
        show_json({"out": out, **found})
        return
    names = found["candidates"]
    rows = [
        (block, kind, *(f"{value:.3f}" for value in found["importances"][block]))
        for block, kind in found["placement"].items()
    ]
    show_table(("block", "found", *names), rows, title="Importance of each candidate")
    say(f"Saved: {out}")
    chosen = ",".join(found["placement"].values())
    say(f"Next: {program_name(ctx)} train --data {data} --variant {variant} "
        f"--set options.placement={chosen} --out RUN")  # fmt: skip
