"""The page of a report: facts in, one self-contained HTML document out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.export.report_chart import training_charts
from core.export.report_compression import compression_section
from core.export.report_content import Content, FileFacts
from core.export.report_markup import (
    MISSING,
    Html,
    amount,
    change,
    chips,
    facts,
    join,
    milliseconds,
    number,
    section,
    size,
    table,
    tag,
    words,
)
from core.export.report_pictures import figure
from core.export.report_scores import details_section
from core.export.report_style import STYLE
from core.history import best_row, decided_by, epochs

KERNELS = (("file", "XNNPACK"), ("file_reference", "reference kernels"))
NAMES = {"gossamer-keras": "Gossamer", "tensorflow": "TensorFlow", "keras": "Keras",
         "numpy": "NumPy", "ai-edge-litert": "LiteRT"}  # fmt: skip


def page(content: Content) -> str:
    """Return the document; every text from files of the user is escaped."""
    sections = (
        _title(content),
        _strip(content),
        _card(content),
        _training(content),
        _metrics(content),
        details_section(content.details),
        _pictures(content),
        _speed(content),
        compression_section(content.compression),
        _checks(content),
        _operators(content),
        _origins(content),
        _footer(content),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{content.run} – {_short_title(content)}"),
        tag("style", Html(STYLE)),
    )
    body = tag("body", tag("main", join(sections, "\n")))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


# --- title and headline ------------------------------------------------------------------------


def _short_title(content: Content) -> str:
    return content.card.title.split(":")[0].strip() or content.card.network


def _title(content: Content) -> Html:
    card = content.card
    made = {"train": "trained", "import": "imported"}.get(content.origin, content.origin)
    about = [("run", content.run), (made, content.date or MISSING)]
    about += [(NAMES.get(name, name), version) for name, version in content.versions.items()]
    rest = card.title.partition(":")[2].strip()
    return tag(
        "header",
        tag("p", f"Gossamer · {content.app} · model report", class_="eyebrow"),
        tag("h1", f"{_short_title(content)} ", tag("span", card.variant)),
        tag("p", rest, class_="subtitle") if rest else None,
        tag("ul", *(tag("li", f"{k} ", tag("b", v)) for k, v in about), class_="meta"),
        _notes(content.problems.get("network", ())),
    )


def _strip(content: Content) -> Html | None:
    keras, tiles = content.keras, []
    before = keras.metrics.get(content.headline) if keras else None
    if keras:
        timing = keras.timing
        time = (milliseconds(timing["median_ms"]), "latency") if timing else (MISSING, "latency")
        tiles.append(_tile("Keras", None, content, before, None, keras.bytes, [time], first=True))
    for file in content.files:
        value = file.metrics.get("file", {}).get(content.headline)
        times = [(milliseconds(t["median_ms"]), _threads(t["threads"])) for t in file.timings] or [
            (MISSING, "latency")
        ]
        both = [v for v in (value, before) if isinstance(v, float)]
        against = change(both[0] - both[1]) if len(both) == 2 else None
        tiles.append(_tile(file.label, file.passed, content, value, against, file.bytes, times))
    return tag("div", *tiles, class_="strip") if tiles else None


def _tile(
    name: str,
    passed: bool | None,
    content: Content,
    value: float | None,
    against: str | None,
    count: int,
    times: Sequence[tuple[str, str]],
    *,
    first: bool = False,
) -> Html:
    rows = [("size", size(count)), *((label, shown) for shown, label in times)]
    listed = [part for label, shown in rows for part in (tag("dt", label), tag("dd", shown))]
    metric = words(content.headline) + (f", {against}" if against else "")
    return tag(
        "div",
        tag("div", tag("span", name), _badge(passed), class_="name"),
        tag("div", number(value), class_="value"),
        tag("div", metric, class_="metric"),
        tag("dl", *listed),
        class_="tile first" if first else "tile",
    )


# --- model card and training -------------------------------------------------------------------


def _card(content: Content) -> Html:
    card = content.card
    pairs = [
        ("Network", f"{card.network}, variant {card.variant}"),
        ("Parameters", number(content.keras.parameters) if content.keras else None),
        ("Paper", card.paper),
        ("Official code", card.official_code),
        ("Licence", card.licence),
        ("Checkpoints", card.checkpoints),
        *card.input_in_words().items(),
        ("Mean", ", ".join(f"{v:.4g}" for v in card.mean)),
        ("Std", ", ".join(f"{v:.4g}" for v in card.std)),
        ("Output", card.output),
        ("Labels", chips(card.labels)),
        ("Decoding", _named(card.decode)),
        ("Published", _named(card.published)),
    ]
    return section("Model card", facts(pairs))


def _training(content: Content) -> Html:
    if not content.history:
        reason = (
            "The weights were imported, so there is no history of a training."
            if content.origin == "import"
            else "The run has no history of a training."
        )
        return section("Training", tag("p", reason, class_="note"))
    best = best_row(content.history, content.headline, content.headline_mode)
    epoch = None if best is None else int(best["epoch"])
    charts = training_charts(content.history, content.headline, best_epoch=epoch)
    said = f"{epochs(content.history)} epochs"
    if best is not None:
        name, _ = decided_by(content.history, content.headline, content.headline_mode)
        when = f"in epoch {epoch}" if epoch else "before the first"
        said += f"; best validation {words(name)} {number(best[f'val_{name}'])} {when}"
    said += "."
    return section("Training", tag("p", said), tag("div", *charts, class_="plots"))


# --- results -----------------------------------------------------------------------------------


def _metrics(content: Content) -> Html:
    problems = [*content.problems.get("data", ()), *content.problems.get("metrics", ())]
    scored = []
    if content.keras and content.keras.metrics:
        scored.append(("Keras", "float32", content.keras.metrics, content.keras.samples))
    for file in content.files:
        scored += [
            (file.label, kernels, file.metrics[key], file.samples)
            for key, kernels in KERNELS
            if key in file.metrics
        ]
    title = f"Accuracy on the held-out samples ({content.split})"
    if not scored:
        problems = problems or ["Nothing was scored."]
        return section(title, _notes(problems))
    known = dict.fromkeys(name for _, _, summary, _ in scored for name in summary)
    names = [n for n in known if n != "samples" and not n.startswith("samples_")]
    if content.headline in names:
        names = [content.headline, *(n for n in names if n != content.headline)]
    rows = [
        (label, kernels, *(_score(summary, name) for name in names), _of(summary, samples))
        for label, kernels, summary, samples in scored
    ]
    columns = ("precision", "computed by", *map(words, names), "samples")
    return section(
        title,
        table(columns, rows, words=2, strong=2),
        tag("p", f"Protocol – {content.protocol}", class_="small") if content.protocol else None,
        _notes(problems),
    )


def _score(summary: Mapping[str, float], name: str) -> Any:
    behind = summary.get(f"samples_{name}")
    if behind is None:
        return number(summary.get(name))
    return join((number(summary.get(name)), tag("small", f"of {int(behind)} samples")))


def _of(summary: Mapping[str, float], samples: int | None) -> str:
    count = summary.get("samples", samples)
    return MISSING if count is None else number(int(count))


def _pictures(content: Content) -> Html | None:
    problems = content.problems.get("pictures", ())
    if not content.pictures and not problems:
        return None
    rows = [
        tag(
            "div",
            tag("h3", sample.id),
            tag("div", join(map(figure, sample.pictures), "\n"), class_="pictures"),
            class_="sample",
        )
        for sample in content.pictures
    ]
    count = len(rows)
    said = f"{count} sample{'s' if count != 1 else ''} of the {content.split} split, evenly chosen."
    return section("Pictures", tag("p", said) if rows else None, *rows, _notes(problems))


def _speed(content: Content) -> Html | None:
    if not content.files:
        return None
    rows: list[tuple] = []
    keras = content.keras
    if keras and keras.timing:
        rows.append(
            ("Keras", _threads(None), *_times(keras.timing), None, size(keras.bytes), None, None)
        )
    for file in content.files:
        macs = amount(file.macs)
        if not file.timings:
            rows.append((file.label, None, None, None, None, size(file.bytes), None, macs))
        for timing in file.timings:
            memory, share = timing.get("memory_bytes"), timing.get("xnnpack")
            rows.append(
                (
                    file.label,
                    _threads(timing["threads"]),
                    *_times(timing),
                    size(memory),
                    size(file.bytes),
                    f"{share[0]} of {share[1]}" if share else None,
                    macs,
                )
            )
    columns = ("file", "threads", "median", "p10 – p90", "peak memory", "size",
               "ops by XNNPACK", "MACs")  # fmt: skip
    said = (
        f"One input at a time on {content.machine}. Peak memory is what loading and running the "
        "file adds to a fresh process; MACs are the multiply-accumulates of one run."
    )
    return section(
        "Size and speed", table(columns, rows, words=2, strong=2), tag("p", said, class_="small")
    )


def _times(timing: Mapping[str, Any]) -> tuple[str, str]:
    low, high = (number(float(timing[key]), 3) for key in ("p10_ms", "p90_ms"))
    return milliseconds(timing["median_ms"]), f"{low} – {high} ms"


def _threads(count: int | None) -> str:
    if count is None:
        return "TensorFlow's default"
    return f"{count} thread{'s' if count != 1 else ''}"


# --- files -------------------------------------------------------------------------------------


def _checks(content: Content) -> Html | None:
    if not content.files:
        return section(
            "Files", tag("p", "The run has no exported .tflite file yet.", class_="note")
        )
    return section("Verification", *(_file_checks(file) for file in content.files))


def _file_checks(file: FileFacts) -> Html:
    rows = [
        (row["check"], _value(row["value"]), row["bound"] or None, _badge(row["ok"]))
        for row in file.checks
    ]
    shown = table(("check", "found", "must be", "holds"), rows, words=4) if rows else None
    notes = "; ".join(file.notes)
    return tag(
        "div",
        tag("h3", f"{file.name} ", _badge(file.passed, "all checks hold", "a check fails")),
        tag("p", notes, class_="small") if notes else None,
        shown,
        _notes(file.problems),
        class_="checks",
    )


def _operators(content: Content) -> Html | None:
    listed = [
        tag(
            "div",
            tag("h3", f"{file.label} "),
            tag("p", f"{sum(count for *_, count in file.operators)} operators", class_="small"),
            table(
                ("operator", "type", "count"),
                [(tag("code", name), kind, number(count)) for name, kind, count in file.operators],
                words=2,
            ),
        )
        for file in content.files
        if file.operators
    ]
    return section("Operators", tag("div", *listed, class_="columns")) if listed else None


def _origins(content: Content) -> Html:
    calibrated = [
        (f"{file.label} calibration", file.document["calibration"])
        for file in content.files
        if file.document.get("calibration")
    ]
    data = [(words(name), _value(value)) for name, value in content.data.items()]
    choices = [(words(name), _value(value)) for name, value in content.choices.items()]
    return section(
        "Data and configuration",
        facts([*data, *calibrated]),
        tag("h3", "Configuration"),
        facts(choices),
    )


def _footer(content: Content) -> Html:
    said = "Made by Gossamer from the run folder; numbers that do not exist are shown as “–”."
    sums = (file.document.get("model_sha256") for file in content.files)
    exported = next(filter(None, sums), None)
    weights = tag("div", "Weights exported: sha256 ", tag("code", exported)) if exported else None
    return tag("footer", tag("div", said), weights)


# --- small parts -------------------------------------------------------------------------------


def _notes(sentences: Iterable[str]) -> Html | None:
    made = [tag("p", sentence, class_="note") for sentence in sentences]
    return join(made) if made else None


def _badge(ok: bool | None, good: str = "passes", bad: str = "fails") -> Html | None:
    if ok is None:
        return None
    return tag("span", f"✓ {good}" if ok else f"✗ {bad}", class_=f"badge {'good' if ok else 'bad'}")


def _value(value: Any) -> Any:
    """Return any JSON value as text; numbers keep their own digits where they are few."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value) if value != round(value, 6) else f"{value:g}"
    if isinstance(value, Mapping):
        return _named(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(_value(item)) for item in value)
    return value


def _named(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{words(str(k))} {_value(v)}" for k, v in values.items())
