"""What holds a network: run folders, model.keras, .tflite files, checkpoints to be imported."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing import network_seeds
from benchmarks.reliability.fuzzing.picture_seeds import picture
from benchmarks.reliability.fuzzing.reader_targets import TASKS, load_task
from benchmarks.reliability.fuzzing.target import Outcome, Target, complaints

_APP = "superres"


def targets() -> list[Target]:
    """Return the targets of this module."""
    return [
        Target(
            "run-documents",
            "config.yaml, model_card.json, history.csv, metrics.json, state.npz, chain.json",
            network_seeds.document_cases,
            _read_documents,
            _import_documents,
            layout=0.15,
        ),
        Target(
            "run-report",
            "report of a run whose documents were changed",
            network_seeds.document_cases,
            _write_report,
            _import_report,
            layout=0.05,
            writes=True,
            named=False,
        ),
        Target(
            "run-model",
            "model.keras of a run folder",
            network_seeds.model_cases,
            _load_model,
            _import_models,
            focus=r"model\.keras",
        ),
        Target(
            "import",
            "published checkpoint into a network",
            network_seeds.published_cases,
            _import_checkpoint,
            _import_models,
            named=False,
        ),
        Target(
            "tflite-inspect",
            ".tflite: card, labels, operators, kernels, limits",
            network_seeds.tflite_cases,
            _inspect,
            _import_inspection,
        ),
        Target(
            "tflite-engine",
            ".tflite in the interpreter, one picture through it",
            network_seeds.tflite_cases,
            _predict,
            _import_engine,
        ),
    ]


def _import_documents() -> None:
    import core.run_folder
    import core.training.compressing
    import core.training.state  # noqa: F401

    load_task(_APP)


def _read_documents(path: Path) -> Outcome:
    from core.compress.stages import stage_of
    from core.run_folder import RunFolder
    from core.training.compressing import started_chain
    from core.training.state import TrainingState

    def opened() -> None:
        run = RunFolder(path, app=_APP)
        if run.config.compress:
            complaints((lambda: stage_of(run.config.compress),))  # names no file, but a choice
        TrainingState.load(path).is_finished(run.config)
        run.history()
        run.metrics()

    return complaints((opened, lambda: TrainingState.load(path), lambda: started_chain(path)))


def _import_report() -> None:
    import core.export.report  # noqa: F401

    _import_documents()


def _write_report(path: Path) -> Outcome:
    from core.export.report import write_report

    write_report(load_task(_APP), path)
    return []


def _import_models() -> None:
    import core.checkpoints.loading
    import core.compress.quantize
    import core.export.exporting
    import core.layers  # noqa: F401

    _import_documents()
    for name in _networks():
        load_task(name[0]).network(name[1])


def _networks() -> list[tuple[str, str]]:
    return [(app, name) for app in TASKS for name in load_task(app).networks]


def _load_model(path: Path) -> Outcome:
    from core.export.deployable import deployable
    from core.run_folder import RunFolder

    run = RunFolder(path, app=_APP)

    def deployed() -> None:
        deployable(load_task(_APP), run, open_size=True)

    return complaints((run.load_model, deployed))


@functools.cache
def _built(app: str, name: str):
    entry = load_task(app).network(name)
    variant = "t" if name == "mk_unet" else next(iter(entry.variants))
    return entry.build(variant, (32, 32, 3), **entry.training_options)


def _import_checkpoint(path: Path) -> Outcome:
    from core.checkpoints import load_torch_state, read

    state = read(path)

    def imported(app: str, name: str) -> None:
        task = load_task(app)
        entry = task.network(name)
        published = entry.published(state)
        guessed = dict(task.infer_arguments(name, published))
        entry.check_variant(guessed.get("variant"))
        entry.notes(published, path.name)
        if name in path.name:
            model = _built(app, name)
            ignored = (*entry.ignored, *entry.skipped(model))
            load_torch_state(model, entry.convert_state(published), strict=True, ignored=ignored)

    found = complaints(functools.partial(imported, app, name) for app, name in _networks())
    # The table of what did not fit has a line for each entry; a long one is judged by its start.
    lines = (" ".join(sentence.split()) for sentence in found)
    return [line if len(line) <= 500 else f"{line[:500]}…" for line in lines]


def _import_inspection() -> None:
    pass


def _inspect(path: Path) -> Outcome:
    from core.compress.analysis import compressed_size
    from core.export.sparse import check_sparse
    from core.model_card import ModelCard
    from core.tflite import constants, inspect, metadata
    from core.tflite.graph import read_bytes

    return complaints(
        (
            lambda: ModelCard.from_dict(
                metadata.extract(path).get("model_card", {}), source=str(path)
            ),
            lambda: metadata.labels(path),
            lambda: inspect.check_file(path),
            lambda: inspect.operators(path),
            lambda: inspect.foreign_operators(path),
            lambda: inspect.float_operators(path),
            lambda: inspect.is_int8(path),
            lambda: inspect.mac_count(path),
            lambda: inspect.output_steps(path, range(4)),
            lambda: inspect.requantisation(path),
            lambda: list(constants.kernels(path)),
            lambda: check_sparse(path),
            lambda: compressed_size(path),
            lambda: inspect.check_file(path) or metadata.embed(read_bytes(path), {"network": "x"}),
        )
    )


def _import_engine() -> None:
    import core.engines
    import core.evaluate  # noqa: F401

    for app in TASKS:
        load_task(app)
    _import_inspection()


@functools.cache
def _sample():
    from core.data.index import Sample

    folder = Path(tempfile.mkdtemp(prefix="gossamer-fuzz-"))
    (folder / "picture.png").write_bytes(picture("png"))
    return Sample("picture.png", (folder / "picture.png",))


def _predict(path: Path) -> Outcome:
    """Go the way of `predict` with a file, then run it with the reference kernels."""
    from core.command_line.use import load_engine
    from core.engines import LiteRTEngine
    from core.evaluate import run
    from core.tflite.inspect import xnnpack_share

    def by_reference() -> None:
        engine = LiteRTEngine(path, threads=1, delegate=False)
        shape = [16 if n is None else n for n in engine.input_shape]
        if shape[0] == 1 and np.prod(shape) < 2**20:
            engine(np.zeros(shape, np.float32))

    def predicted() -> None:
        task = load_task(_APP)
        engine = load_engine(task, path)
        for sample, result in run(task, engine, [_sample()], batch=1):
            task.draw(sample, result, engine.card)

    return complaints((predicted, by_reference, lambda: xnnpack_share(path)))
