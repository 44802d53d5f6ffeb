"""The command of classification apps that draws why a network names what it names."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from core.command_line import options as opt
from core.command_line.program import task_of
from core.command_line.tables import say, show_json
from core.command_line.use import load_engine, new_inputs, owning_run, result_files, tell_failed
from core.errors import one_of
from core.explain import METHODS, REGIONS


def explain(
    ctx: typer.Context,
    source: opt.Source,
    inputs: opt.Inputs,
    out: opt.OutFolder,
    method: Annotated[str | None, opt.METHOD] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Which class. (default: the likeliest one)"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of a CAM. (default: the last one with a map)"),
    ] = None,
    variations: Annotated[
        int, typer.Option(min=2, help="Variations of a picture that lime looks at.")
    ] = 1000,
    regions: Annotated[
        str,
        typer.Option(
            metavar="|".join(REGIONS),
            help="What lime takes away of a picture; slic needs the extra 'explain'.",
        ),
    ] = REGIONS[0],
    curves: Annotated[
        bool,
        typer.Option("--curves", help="Measure deletion and insertion: are the maps right?"),
    ] = False,
    batch: Annotated[int, opt.BATCH] = 32,
    seed: Annotated[int, opt.SEED] = 0,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Draw why a run or a .tflite file takes pictures for what it does; write a picture of each.

    Left stands what the network saw, right what speaks for the class: the redder, the more.

    Methods: grad-cam (of a run, unless chosen otherwise), grad-cam++ and hires-cam need gradients,
    which only a run has; lime (of a .tflite file) and occlusion only ask what the network says.

    Files that cannot be read are named at the end: exit code 1 if some failed, 2 if all did.
    """
    from core.command_line.progress import track
    from core.data.images import write_image
    from core.files import claim_folder

    if method is not None:
        one_of(method, METHODS, "--method")
    one_of(regions, REGIONS, "--regions")
    task = task_of(ctx)
    owning_run(source, task)
    found = new_inputs(task.files(inputs), inputs, out)
    files = result_files(found, out, "_explained.png")
    engine = load_engine(task, source)
    from core.classification.labels import class_name
    from core.explain.explainer import Explainer, explanation_picture

    explainer = Explainer(
        task,
        engine,
        method,
        label=class_,
        layer=layer,
        samples=variations,
        segmentation=regions,
        seed=seed,
        batch=batch,
    )
    claim_folder(out, overwrite=overwrite)
    how = explainer.method if explainer.layer is None else f"{explainer.method}, {explainer.layer}"
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with track(len(found) * explainer.steps, "explaining") as advance:
        explainer.advance = advance
        for sample, one, error in explainer.each(found):
            file = str(sample.inputs[0])
            if one is None:
                failed.append({"input": file, "error": str(error)})
                continue
            areas = [curve.area for curve in explainer.curves(one)] if curves else [None, None]
            lines = [how]
            if curves:
                lines.append("deletion {:.3f}, insertion {:.3f}".format(*areas))
            if one.fit is not None:
                lines.append(f"fit {one.fit:.2f}")
            picture = explanation_picture(one, engine.card, lines)
            path = write_image(files[sample.id], picture)
            written.append(
                {
                    "input": file,
                    "class": class_name(engine.card, one.label),
                    "probability": float(one.probabilities[one.label]),
                    "deletion": areas[0],
                    "insertion": areas[1],
                    "fit": one.fit,
                    "files": [str(path)],
                }
            )
    if json:
        told = {"out": out, "method": explainer.method, "layer": explainer.layer}
        show_json({**told, "results": written, "failed": failed})
    elif written:
        say(f"{len(written)} of {len(found)} inputs explained ({how}); the pictures are in {out}")
    tell_failed(failed, done=bool(written))
