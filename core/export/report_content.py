"""What a report says, as plain values: collected by `report`, laid out by `report_page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.model_card import ModelCard

if TYPE_CHECKING:
    from core.export.report_compression import Compression
    from core.export.report_scores import ScoreDetails


@dataclass(frozen=True)
class FileFacts:
    """What is known of one exported file.

    Attributes:
        name: Of the file.
        label: Its precision, or its name where several files share the precision.
        bytes: Its size.
        document: What the export embedded in it; empty where it carries no card.
        checks: Rows of the verification: check, value, bound, ok.
        metrics: Scores by "keras", "file" (XNNPACK) and "file_reference"; empty without data.
        samples: Samples behind these scores; None where it is not known.
        notes: Sentences of the verification.
        timings: Benchmark results (`core.export.benchmark.Timing` as mappings).
        macs: Multiply-accumulates of one run.
        operators: (name, type of its output, how often) by falling count.
        problems: Sentences on what could not be found out.
    """

    name: str
    label: str
    bytes: int
    document: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    samples: int | None = None
    notes: Sequence[str] = ()
    timings: Sequence[Mapping[str, Any]] = ()
    macs: int | None = None
    operators: Sequence[tuple[str, str, int]] = ()
    problems: Sequence[str] = ()

    @property
    def passed(self) -> bool | None:
        """Whether every check that has a bound holds; None when nothing was checked."""
        return all(row["ok"] is not False for row in self.checks) if self.checks else None


@dataclass(frozen=True)
class KerasFacts:
    """What is known of the run's own network.

    Attributes:
        bytes: Size of model.keras.
        parameters: Trainable ones of the deployable network.
        metrics: Scores on the held-out samples; empty without data.
        samples: Samples behind them.
        timing: A benchmark result, or None.
    """

    bytes: int
    parameters: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: int | None = None
    timing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Picture:
    """One picture of a sample.

    Attributes:
        title: What it shows.
        source: A `data:` URI; empty where there is none.
        width: Of the encoded picture, in pixels.
        height: Of the encoded picture, in pixels.
        caption: Under it.
    """

    title: str
    source: str = ""
    width: int = 1
    height: int = 1
    caption: str = ""


@dataclass(frozen=True)
class SamplePictures:
    """The pictures of one sample, in the same order for all samples."""

    id: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        app, run: Names of the app and of the run folder.
        card: The model card.
        date: When the weights were written, in words; empty without weights.
        origin: "train", "import" or another way the run was made.
        versions: Package → version that made the run.
        headline, headline_mode: The metric that matters most, and "max" or "min".
        history: Rows of history.csv.
        keras: The run's network, or None.
        files: The exported files.
        protocol: Definition of the scores.
        split: Name of the held-out split.
        pictures: By sample.
        machine: Where times were measured.
        data: Facts on the data by name.
        choices: Choices of the training by name.
        problems: By section ("metrics", "pictures", "data", "network"): what is missing and why.
        compression: Kernels, compressed sizes and noise of the files, or None.
        details: Tables and pictures of the Keras network's scores, or None.
    """

    app: str
    run: str
    card: ModelCard
    date: str = ""
    origin: str = "train"
    versions: Mapping[str, str] = field(default_factory=dict)
    headline: str = ""
    headline_mode: str = "max"
    history: Sequence[Mapping[str, float]] = ()
    keras: KerasFacts | None = None
    files: Sequence[FileFacts] = ()
    protocol: str = ""
    split: str = "test"
    pictures: Sequence[SamplePictures] = ()
    machine: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    compression: Compression | None = None
    details: ScoreDetails | None = None
