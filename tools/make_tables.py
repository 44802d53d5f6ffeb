"""Write the generated tables of the README and of docs/json.md.

They come from the catalog, from benchmarks/results/ and from the commands' JSON Schemas. With
--check they are only compared:

.venv/bin/python tools/make_tables.py [--check]
"""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/json.md")
COMPRESSION = ROOT / "benchmarks" / "results" / "compression_medseg.csv"
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def systems_table() -> str:
    """Return the table of systems: one row per variant, published numbers only."""
    from apps import catalog

    rows = ["| app | network | variant | parameters | published | official weights |"]
    rows.append("|---|---|---|---:|---|---|")
    for name, system in catalog.SYSTEMS.items():
        for variant in catalog.network(name).variants:
            card = catalog.card(name, variant)
            numbers = {k: v for k, v in card.published.items() if k != "parameters"}
            published = ", ".join(f"{k} {v:g}" for k, v in numbers.items()) or "–"
            parameters = f"{card.published['parameters']:,}"
            rows.append(
                f"| {system.app} | `{name}` | {variant} | {parameters} | {published} | "
                f"{card.checkpoints} |"
            )
    return "\n".join(rows)


def compression_table() -> str:
    """Return the table of compressions, as benchmarks/compression.py measured them."""
    rows = ["| | Dice | file | zip | ms, one thread | against float32 |"]
    rows.append("|---|---:|---:|---:|---:|---:|")
    with COMPRESSION.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            kilobytes = [f"{int(row[name]) / 1000:.0f} kB" for name in ("bytes", "zip_bytes")]
            rows.append(
                f"| {row['compression']} | {float(row['dice']):.4f} | {' | '.join(kilobytes)} | "
                f"{float(row['milliseconds']):.2f} | {float(row['speed']):.2f}x |"
            )
    return "\n".join(rows)


def schemas_tables() -> str:
    """Return, for every command, the keys it prints: type, unit and meaning."""
    from apps.catalog import APPS
    from core.command_line.schemas import schemas

    shared = schemas()
    parts = [
        _command_table(name, shared, "") for name in shared if name not in ("common", "scores")
    ]
    for app in APPS.values():
        known = schemas(app.package)
        parts += [
            _command_table(name, known, f"{app.name} ")
            for name, schema in known.items()
            if schema != shared.get(name) and name != "scores"
        ]
        scores = known["scores"]["$defs"]
        parts.append(f"### {app.name}: metrics\n\n{_table(scores['metrics'], known)}")
        parts.append(f"### {app.name}: metrics of a sample\n\n{_table(scores['sample'], known)}")
    return "\n\n".join(parts)


def _command_table(name: str, known: dict[str, dict], app: str) -> str:
    schema = known[name]
    return f"### {app}{name}\n\n{schema['description']}\n\n{_table(schema, known)}"


def _table(schema: dict, known: dict[str, dict]) -> str:
    rows = ["| key | type | unit | meaning |", "|---|---|---|---|"]
    for key, value in _keys(schema, known, schema):
        kinds = value.get("type", "text" if "enum" in value else "anything")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        meaning = value.get("description", "")
        if "enum" in value:
            meaning = f"{', '.join(map(str, value['enum']))}. {meaning}"
        kind = " or ".join("text" if one == "string" else one for one in kinds)
        rows.append(f"| `{key}` | {kind} | {value.get('unit', '')} | {meaning} |")
    return "\n".join(rows)


def _keys(
    schema: dict, known: dict[str, dict], root: dict, prefix: str = ""
) -> Iterator[tuple[str, dict]]:
    """Yield every key of a schema, those inside of others as "outer.inner" and "list[].inner"."""
    named = {**schema.get("properties", {}), **schema.get("patternProperties", {})}
    for key, value in named.items():
        value, home = _followed(value, known, root)
        shown = prefix + value.get("title", key)
        yield shown, value
        if "$defs" not in home or home.get("title") != "scores":  # those have tables of their own
            yield from _keys(value, known, home, f"{shown}.")
            items, home = _followed(value.get("items", {}), known, home)
            if home.get("title") != "scores":
                yield from _keys(items, known, home, f"{shown}[].")


def _followed(value: dict, known: dict[str, dict], home: dict) -> tuple[dict, dict]:
    """Return what a "$ref" refers to, under the description beside it, and where that stands."""
    said = {}
    while "$ref" in value:
        said = {**{k: v for k, v in value.items() if k != "$ref"}, **said}
        document, _, place = value["$ref"].partition("#/")
        home = known[document.rpartition(":")[2]] if document else home
        value = home
        for part in place.split("/"):
            value = value[part]
    return {**value, **said}, home


def filled(text: str) -> str:
    """Return a page with its generated parts made anew."""
    for name, make in (
        ("systems", systems_table),
        ("compression", compression_table),
        ("schemas", schemas_tables),
    ):
        if f"<!-- {name} -->" not in text:
            continue
        table = make()
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def main() -> None:
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        made = filled(text)
        if made != text and "--check" in sys.argv:
            raise SystemExit(f"{name}: a generated table is out of date; run: make tables")
        if made != text:
            (ROOT / name).write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
