"""The commands that are killed and starved: what they read, what they write, how they are given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.reliability.processes import ROOT, Outcome, in_child, run

PICTURES = ROOT / "apps/super_resolution/sample_data"
MASKED = ROOT / "apps/medical_segmentation/sample_data"
PEOPLE = ROOT / "apps/person_reid/sample_data"
FEW_STEPS = ("--set", "steps_per_epoch=6")  # of an epoch, which is a kill's moment sooner
TILED = ("--tile", "48", "--overlap", "8", "--scheme", "average")  # not quite the same pictures
MINE = {".mine.json": '{"of": "the user"}\n', "notes.txt": "of the user\n"}  # beside the results


@dataclass(frozen=True)
class Scenario:
    """A command and the folder it writes.

    Attributes:
        name: For the table.
        out: The folder, of which nothing else is written.
        begin: The command as it is given first.
        again: The command to go on with after it was stopped; empty for the same one.
        earlier: The command that makes what lies in the folder before; empty for a new folder.
        sources: What it reads and must never change.
        trains: Whether the folder is a run folder.
    """

    name: str
    out: Path
    begin: tuple[str, ...]
    again: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    trains: bool = False

    @property
    def case(self) -> str:
        """Whether it writes into a new folder or over an earlier result."""
        return "over an earlier result" if self.earlier else "new folder"

    def over(self, earlier: tuple[str, ...]) -> Scenario:
        """Return the same command over the result of another."""
        return replace(self, earlier=earlier, begin=(*self.begin, "--overwrite"))


class Commands:
    """The scenarios by command.

    Args:
        made: Where the runs and files lie that commands work from (see `make`).
        out: The folder that the commands write.
    """

    def __init__(self, made: Path, out: Path):
        self.run, self.masks, self.embedder, self.gallery = (
            made / name for name in ("run", "masks.tflite", "embedder.tflite", "gallery.npz")
        )
        self.checkpoint, self.out = made / "checkpoint.npz", out

    def train(self) -> list[Scenario]:
        """Three epochs; over a run with another seed."""
        begin = self._training(2)
        found = Scenario(
            "train", self.out, begin, (*begin, "--resume"), sources=(PICTURES,), trains=True
        )
        return [found, found.over(self._training(5))]

    def compress(self) -> list[Scenario]:
        """Two stages of two epochs; over a chain of shorter ones."""
        begin = self._compressing(2)
        again = ("superres", "compress", str(self.run), "--resume", "--out", str(self.out))
        found = Scenario(
            "compress", self.out, begin, again, sources=(self.run, PICTURES), trains=True
        )
        return [found, found.over(self._compressing(1))]

    def export(self) -> list[Scenario]:
        """An int8 file; over a float one of the same name."""
        file = self.out / "x.tflite"
        begin = exporting(self.run, "int8", file)
        found = Scenario("export", self.out, begin, sources=(self.run, PICTURES))
        return [found, found.over(exporting(self.run, "float32", file))]

    def predict(self) -> list[Scenario]:
        """Enlarged pictures, and masks with overlays; over those of other choices."""
        pictures = ("superres", "predict", str(self.run), str(PICTURES / "test"), *self._to())
        masks = ("medseg", "predict", str(self.masks), str(MASKED), *self._to())
        enlarged = Scenario("predict (superres)", self.out, pictures, sources=(self.run, PICTURES))
        masked = Scenario("predict (medseg)", self.out, masks, sources=(self.masks, MASKED))
        return [
            enlarged,
            masked.over((*masks, "--set", "threshold=0.2")),
            masked,
            enlarged.over((*pictures, *TILED)),
        ]

    def import_(self) -> list[Scenario]:
        """A run of a checkpoint; over a trained one."""
        begin = ("superres", "import", "--network", "abpn", "--variant", "x3",
                 "--checkpoint", str(self.checkpoint), *self._to())  # fmt: skip
        found = Scenario("import", self.out, begin, sources=(self.checkpoint,), trains=True)
        return [found, found.over(self._training(5))]

    def prepare(self) -> list[Scenario]:
        """Sub-images of the sample pictures; over larger ones."""
        begin = ("superres", "prepare", "sample", "--side", "96", "--step", "96", *self._to())
        found = Scenario("prepare", self.out, begin, sources=(PICTURES,))
        return [found, found.over((*begin, "--scale", "3"))]

    def upscale(self) -> list[Scenario]:
        """Enlarged pictures with comparisons, as JPEG."""
        begin = ("superres", "upscale", str(self.run), str(PICTURES / "test"), "--compare",
                 "--picture-format", "jpg", *self._to())  # fmt: skip
        found = Scenario("upscale", self.out, begin, sources=(self.run, PICTURES))
        return [found, found.over((*begin, *TILED))]

    def extract(self) -> list[Scenario]:
        """Embeddings of the queries; over those of length one."""
        file = ("--out", str(self.out / "query.npz"))
        begin = ("reid", "extract", str(self.embedder), str(PEOPLE / "query"), *file)
        found = Scenario("extract", self.out, begin, sources=(self.embedder, PEOPLE))
        return [found, found.over((*begin, "--normalize"))]

    def index(self) -> list[Scenario]:
        """The same under its other name; over one embedding a person and camera."""
        file = ("--out", str(self.out / "gallery.npz"))
        begin = ("reid", "index", str(self.embedder), str(PEOPLE / "query"), *file)
        found = Scenario("index", self.out, begin, sources=(self.embedder, PEOPLE))
        return [found, found.over((*begin, "--tracklets", "name"))]

    def simulate(self) -> list[Scenario]:
        """A small data set of drawn people, in a new folder only."""
        few = ("--people", "4", "--cameras", "2", "--per-camera", "1")
        return [Scenario("simulate", self.out, ("reid", "simulate", *few, *self._to()))]

    def report(self) -> list[Scenario]:
        """The page of a run that lies in the folder."""
        begin = ("superres", "report", str(self.out), "--data", "sample")
        return [Scenario("report", self.out, begin, earlier=self._training(5))]

    def evaluate(self) -> list[Scenario]:
        """The scores of a run that lies in the folder, and those of each sample."""
        begin = ("superres", "evaluate", str(self.out), "--data", "sample",
                 "--per-sample", str(self.out / "scores.csv"))  # fmt: skip
        return [Scenario("evaluate", self.out, begin, earlier=self._training(5))]

    def search(self) -> list[Scenario]:
        """Pictures and a record of what is nearest to the queries; over that of fewer."""
        begin = ("reid", "search", str(self.embedder), str(self.gallery), str(PEOPLE / "query"),
                 *self._to())  # fmt: skip
        found = Scenario("search", self.out, begin, sources=(self.embedder, self.gallery, PEOPLE))
        return [found, found.over((*begin, "--top", "2"))]

    def _to(self) -> tuple[str, str]:
        return ("--out", str(self.out))

    def _training(self, seed: int) -> tuple[str, ...]:
        return training(self.out, seed)

    def _compressing(self, epochs: int) -> tuple[str, ...]:
        return (
            *("superres", "compress", str(self.run), "--method", "prune,quantize"),
            *("--epochs", str(epochs), "--batch", "2", *FEW_STEPS, *self._to()),
        )


def training(out: Path, seed: int) -> tuple[str, ...]:
    """Return a training of a few seconds, of all that is kept: moving average, best epoch."""
    return (
        *("superres", "train", "--data", "sample", "--network", "abpn", "--epochs", "3"),
        *("--batch", "2", "--set", "validate_every=1", "--set", "ema=0.9", "--seed", str(seed)),
        *(*FEW_STEPS, "--out", str(out)),
    )


def exporting(run_folder: Path, precision: str, out: Path | None = None) -> tuple[str, ...]:
    """Return the export of a run, into its own folder or to a file."""
    where = () if out is None else ("--out", str(out))
    data = ("--data", "sample", "--samples", "2") if precision == "int8" else ()
    return ("superres", "export", str(run_folder), "--precision", precision, *data, *where)


def make(made: Path) -> None:
    """Make the runs, the files and the checkpoint that commands work from."""
    made.mkdir(parents=True, exist_ok=True)
    plainly(*training(made / "run", 1))
    for app, name, size in (("medseg", "masks", (64, 64)), ("reid", "embedder", (64, 32))):
        in_child(_untrained, app, size, made / name)
        plainly(app, "export", str(made / name), "--out", str(made / f"{name}.tflite"))
    index = ("--out", str(made / "gallery.npz"))
    plainly(
        "reid", "index", str(made / "embedder.tflite"), str(PEOPLE / "bounding_box_test"), *index
    )
    in_child(_published, made / "run", made / "checkpoint.npz")


def plainly(*arguments: str) -> None:
    """Run a command in a process of its own, as users do."""
    done = subprocess.run(
        [sys.executable, "-m", "apps", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-1000:]}")


def expect(
    arguments: Sequence[str], log: Path, before: Callable[[], None] | None = None
) -> Outcome:
    """Run a command that has to end well (see `processes.run`)."""
    outcome = run(arguments, log, before=before)
    if outcome.code:
        raise SystemExit(f"{' '.join(arguments)}: {outcome.errors[-1000:]}")
    return outcome


def go_on(scenario: Scenario, log: Path, *, untouched: bool = False) -> tuple[Outcome, str]:
    """Give the commands a user would give after a stop until one is accepted; say which it was.

    Args:
        scenario: What was stopped.
        log: For standard error.
        untouched: Whether the earlier result is still exactly as it was.
    """
    begin = scenario.begin
    ways = [("the same command", begin)]
    if scenario.again and not untouched:
        ways.insert(0, ("--resume", scenario.again))
    elif "--overwrite" not in begin:  # results stand there, which the command says
        ways.append(("with --overwrite", (*begin, "--overwrite")))
    answers = []
    for way, arguments in ways:
        outcome = run(arguments, log)
        refused = outcome.code and not outcome.fault
        answers.append(outcome.sentences[0] if refused else way)
        if not refused:
            break
    return outcome, " → ".join(answers)


def _untrained(app: str, size: tuple[int, int], out: Path) -> None:
    """Write the run folder of an app's smallest network with its first weights."""
    import importlib

    import keras

    from apps.catalog import APPS
    from core.config import TrainConfig
    from core.run_folder import RunFolder
    from core.training.setup import settled, training_card

    module = importlib.import_module(f"{APPS[app].package}.task")
    task = module.TASK
    keras.utils.set_random_seed(1)
    network, variant = {"medseg": ("mk_unet", "t"), "reid": ("osnet", "x0_25")}[app]
    entry = task.network(network)
    index = task.read("sample", "auto")
    config = TrainConfig(app, network, variant, data="sample", input_size=size)
    config = settled(config, task, entry.card(variant), index)
    card = training_card(task, entry.card(variant), config, index)
    model = entry.build(variant, task.saved_input_shape(card), **task.build_arguments(card))
    RunFolder.create(out, config, card, source="import").save_model(model)


def _published(run_folder: Path, checkpoint: Path) -> None:
    """Write the convolutions of a run as a checkpoint in PyTorch's order of axes."""
    import numpy as np

    from core.run_folder import RunFolder

    arrays = {}
    for layer in RunFolder(run_folder).load_model().layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            arrays |= {f"{layer.name}.weight": kernel.transpose(3, 2, 0, 1)}
            arrays |= {f"{layer.name}.bias": bias}
    np.savez(checkpoint, **arrays)
