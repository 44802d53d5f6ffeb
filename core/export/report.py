"""One page that says everything about a run: RUN/report.html, a single file that can be mailed.

The facts are collected here; what was measured before (`verify/<file>`, `benchmark/<file>` and
`keras/<format>/<split>` in metrics.json) is used again as long as it is about the same weights.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from core.data.index import Index, spread
from core.engines import KerasEngine
from core.errors import CheckFailed, UserError
from core.evaluate import evaluate
from core.export import PRECISIONS
from core.export.deployable import deployable
from core.export.report_compression import collect_compression, measure_noise
from core.export.report_content import Content, FileFacts, KerasFacts, SamplePictures
from core.export.report_page import page
from core.export.report_pictures import drawable, sample_pictures
from core.export.report_scores import ScoreDetails, score_details
from core.export.report_timing import machine, time_file, time_keras
from core.export.verify import verify
from core.files import sha256, write_atomic
from core.run_folder import RunFolder
from core.task import Scores, Task
from core.tflite import inspect
from core.tflite.inspect import float_operators
from core.tflite.metadata import extract

# An absolute path up to its last separator; not a part of a URL or of a relative path.
_FOLDERS = re.compile(r"(?<![\w./:])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:]+[/\\])+")


def write_report(
    task: Task,
    run: RunFolder | str | Path,
    *,
    data: str | None = None,
    format: str = "auto",
    split: str = "test",
    samples: int = 6,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write `report.html` into a run folder, as a whole or not at all, and return its path.

    The page is one file without any request to a network: curves, scores by precision, pictures,
    times and checks of every .tflite file in `export/`. What does not exist (no export, no
    history, no data) is left out or shown as "–", with a sentence that says why.

    Args:
        task: The run's domain.
        run: The run folder.
        data, format: Held-out samples; None takes the data of the run's training.
        split: Which of them.
        samples: At most so many are drawn, evenly chosen.
        progress: Called with what is being done, in a few words.

    Raises:
        UserError: When the folder is no run of this task or the page cannot be written.
    """
    run = run if isinstance(run, RunFolder) else RunFolder(run, app=task.name)
    data, format = (data, format) if data else (run.config.data, run.config.format)
    report = _Report(task, run, data, format, split, progress or (lambda doing: None))
    return write_atomic(run.file("report.html"), page(report.collect(samples)))


class _Report:
    """One collection of facts; `problems` grows while it goes on after what fails."""

    def __init__(
        self,
        task: Task,
        run: RunFolder,
        data: str,
        format: str,
        split: str,
        progress: Callable[[str], None],
    ):
        self.task, self.run, self.progress = task, run, progress
        self.data, self.format, self.split = data, format, split
        self.problems: dict[str, list[str]] = {}
        self.protocol = ""
        self.index = self._read()
        self.held_out = self._held_out()
        self.keras = self._network()

    def collect(self, samples: int) -> Content:
        """Return everything the page shows."""
        run, task = self.run, self.task
        paths = sorted(run.file("export").glob("*.tflite"), key=lambda p: (_order(p), p.name))
        labels = _labels(paths)
        files = [self._file(path, labels[path]) for path in paths]
        keras = None if self.keras is None else self._keras_facts(self.keras, files)
        self._measure_noise(paths)
        drawn = self._pictures({labels[path]: path for path in paths}, samples)
        weights = run.file("model.keras")
        date = datetime.date.fromtimestamp(weights.stat().st_mtime) if weights.is_file() else None
        return Content(
            app=task.name,
            run=run.path.resolve().name,
            card=run.card,
            date="" if date is None else f"{date.day} {date:%B %Y}",
            origin=str(run.record.get("source", "train")),
            versions=run.record.get("versions") or {},
            headline=task.headline,
            headline_mode=task.headline_mode,
            history=run.history(),
            keras=keras,
            files=files,
            protocol=self.protocol,
            split=self.split,
            pictures=drawn,
            machine=machine(),
            data=self._data_facts(),
            choices=self._choices(),
            compression=collect_compression(run, {labels[path]: path for path in paths}),
            details=self._details(),
            problems=self.problems,
        )

    def _measure_noise(self, paths: Sequence[Path]) -> None:
        """Find out which layers rounding disturbs, where that is not known yet."""
        for path in paths:
            try:
                if not float_operators(path):
                    self.progress(f"measuring what rounding does to each layer of {path.name}")
                    measure_noise(self.task, self.run, path)
            except (UserError, CheckFailed) as error:
                self._problem("compression", str(error))

    # --- data and network ----------------------------------------------------------------------

    def _problem(self, section: str, sentence: str) -> None:
        self.problems.setdefault(section, []).append(self._without_folders(sentence))

    def _read(self) -> Index | None:
        if not self.data:
            self._problem("data", "The run names no data set; scores and pictures need one.")
            return None
        try:
            return self.task.read(self.data, self.format)
        except UserError as error:
            self._problem("data", f"The data could not be read, so nothing was scored: {error}")
            return None

    def _held_out(self) -> Index | None:
        try:
            return None if self.index is None else self.index.split(self.split)
        except UserError as error:
            self._problem("data", f"No held-out samples, so nothing was scored: {error}")
            return None

    def _network(self) -> KerasEngine | None:
        try:
            return KerasEngine(*deployable(self.task, self.run))
        except UserError as error:
            self._problem("network", str(error))
            return None

    def _keras_facts(self, keras: KerasEngine, files: list[FileFacts]) -> KerasFacts:
        metrics, count = self._keras_scores(files)
        weights = self.run.file("model.keras")
        return KerasFacts(
            bytes=weights.stat().st_size,
            parameters=sum(math.prod(w.shape) for w in keras.model.trainable_weights),
            metrics=metrics,
            samples=count,
            timing=self._measured("keras", weights, lambda path: time_keras(keras))[0],
        )

    def _keras_scores(self, files: list[FileFacts]) -> tuple[Mapping[str, float], int | None]:
        """Return scores and number of samples: a verification's at the card's size, or new ones."""
        size = list(self.run.card.input_size)
        for file in files:
            card = file.document.get("model_card", {})
            if "keras" in file.metrics and list(card.get("input_size", ())) == size:
                return file.metrics["keras"], file.samples
        if self.index is None or self.held_out is None:
            return {}, None
        key = f"keras/{self.index.format}/{self.split}"
        about = {
            "data": str(self.index.root),
            "format": self.index.format,
            "split": self.split,
            "samples": len(self.held_out),
            "fingerprint": self.index.fingerprint(),
            "model_sha256": sha256(self.run.file("model.keras")),
        }
        known = self.run.metrics().get(key, {})
        if any(known.get(name) != value for name, value in about.items()):
            scores = self._evaluated
            if scores is None:
                return {}, None
            known = {**about, "metrics": scores.summary, "protocol": scores.protocol}
            self.run.add_metrics(key, known)
        self.protocol = self.protocol or known["protocol"]
        return known["metrics"], known["samples"]

    @cached_property
    def _evaluated(self) -> Scores | None:
        """The scores of the Keras network; None where there are none."""
        if self.keras is None or self.held_out is None:
            return None
        self.progress("scoring the Keras network")
        try:
            return evaluate(self.task, self.keras, self.held_out)
        except UserError as error:
            self._problem("metrics", f"The held-out samples could not be scored: {error}")
            return None

    def _details(self) -> ScoreDetails | None:
        """Return what the domain shows of its scores besides the summary."""
        scores = self._evaluated if self.task.draws_scores else None
        return None if scores is None else score_details(self.task, scores)

    # --- files ---------------------------------------------------------------------------------

    def _file(self, path: Path, label: str) -> FileFacts:
        problems: list[str] = []

        def tried(function: Callable[[], Any], otherwise: Any) -> Any:
            try:
                return function()
            except (UserError, CheckFailed) as error:
                problems.append(self._without_folders(str(error)))
                return otherwise

        document = tried(lambda: extract(path), {})
        calibration = document.get("calibration")
        found = tried(lambda: self._verification(path, document), {}) if document else {}
        self.protocol = self.protocol or found.get("protocol", "")
        ops = tried(lambda: inspect.operators(path), [])
        kinds = Counter((op.name, op.outputs[0].dtype if op.outputs else "") for op in ops)
        return FileFacts(
            name=path.name,
            label=label,
            bytes=path.stat().st_size,
            document={
                **document,
                "calibration": calibration and self._without_folders(str(calibration)),
            },
            checks=found.get("rows", ()),
            metrics=found.get("metrics", {}),
            samples=found.get("subject", {}).get("samples"),
            notes=[self._without_folders(note) for note in found.get("notes", ())],
            timings=tried(lambda: self._measured(path.name, path, time_file), []) if ops else [],
            macs=tried(lambda: inspect.mac_count(path), None) if ops else None,
            operators=[(*kind, count) for kind, count in kinds.most_common()],
            problems=list(dict.fromkeys(problems)),
        )

    def _verification(self, path: Path, document: Mapping) -> dict:
        """Return a verification of a file: metrics.json's where it is still about this file."""
        known = self.run.metrics().get(f"verify/{path.name}")
        if known and self._is_current(known, path, document):
            return known
        self.progress(f"verifying {path.name}")
        if self.held_out is None or self.keras is None:
            # Only the file itself is checked; `verify` would take the data the config names.
            run = copy.copy(self.run)
            run.config = dataclasses.replace(run.config, data="")
            return verify(self.task, path, run=run).to_dict()
        return verify(
            self.task, path, run=self.run, data=self.data, format=self.format, split=self.split
        ).to_dict()

    def _is_current(self, known: Mapping, path: Path, document: Mapping) -> bool:
        """Return whether a stored verification is about these bytes, weights and samples."""
        about = known.get("subject", {})
        weights = self.run.file("model.keras")
        return (
            self.index is not None
            and weights.is_file()
            and about.get("sha256") == sha256(path)
            and about.get("model_sha256") == document.get("model_sha256") == sha256(weights)
            and about.get("fingerprint") == self.index.fingerprint()
            and about.get("split") == self.split
        )

    def _measured(self, name: str, path: Path, measure: Callable[[Path], list[dict]]) -> list[dict]:
        """Return the timings of a file, measured unless metrics.json has them for this machine."""
        key, about = f"benchmark/{name}", {"sha256": sha256(path), "machine": machine()}
        known = self.run.metrics().get(key, {})
        if any(known.get(name) != value for name, value in about.items()):
            self.progress(f"timing {name}")
            known = {**about, "timings": measure(path)}
            self.run.add_metrics(key, known)
        return known["timings"]

    # --- pictures, data, choices -----------------------------------------------------------------

    def _pictures(self, paths: Mapping[str, Path], samples: int) -> list[SamplePictures]:
        if self.held_out is None or self.keras is None or samples < 1:
            return []
        self.progress("drawing samples")
        engines, problems = drawable(paths)
        for problem in problems:
            self._problem("pictures", problem)
        try:
            chosen = spread(self.held_out, samples).samples
            return sample_pictures(self.task, self.keras, engines, chosen)
        except UserError as error:
            self._problem("pictures", f"The samples could not be drawn: {error}")
            return []

    def _data_facts(self) -> dict[str, Any]:
        recorded = self.run.record.get("data") or {}
        facts: dict[str, Any] = {"data set": self._without_folders(self.data)}
        if self.index is None:
            facts["format"] = recorded.get("format")
            facts["fingerprint at training"] = recorded.get("fingerprint")
            counts = recorded.get("splits") or {}
        else:
            now = self.index.fingerprint()
            facts["format"] = self.index.format
            facts["fingerprint"] = now
            if recorded.get("fingerprint"):
                same = recorded["fingerprint"] == now
                facts["same as at training"] = "yes" if same else f"no ({recorded['fingerprint']})"
            counts = self.index.counts()
            facts["labels"] = ", ".join(self.index.labels)
        facts["samples"] = sum(counts.values()) if counts else None
        facts |= {f"in {name or 'no split'}": count for name, count in counts.items()}
        if self.index is not None:
            facts["notes"] = " ".join(map(self._without_folders, self.index.notes))
        return facts

    def _choices(self) -> dict[str, Any]:
        values = self.run.config.to_dict()
        options = values.pop("options")
        extra = {
            name: value
            for name, value in self.run.record.items()
            if name not in ("format_version", "versions", "data", "source")
        }
        merged = {**values, **options, **extra}
        return {
            name: self._without_folders(value) if isinstance(value, str) else value
            for name, value in merged.items()
        }

    def _without_folders(self, sentence: str) -> str:
        """Return a text with absolute paths cut to their last part: the page leaves the house."""
        for folder in (Path(self.data or ".").resolve().parent, self.run.path.resolve().parent):
            if len(folder.parts) > 1:
                sentence = sentence.replace(f"{folder}{os.sep}", "")
        return _FOLDERS.sub("", sentence)


def _precision(path: Path) -> str:
    try:
        return str(extract(path).get("precision", ""))
    except UserError:
        return ""


def _order(path: Path) -> int:
    precision = _precision(path)
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)


def _labels(paths: list[Path]) -> dict[Path, str]:
    """Return a short name for each file: its precision where that is unique, else its own."""
    precisions = {path: _precision(path) or path.stem for path in paths}
    often = Counter(precisions.values())
    return {p: name if often[name] == 1 else p.stem for p, name in precisions.items()}
