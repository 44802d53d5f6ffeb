"""Write the README's generated tables, from the catalog and from benchmarks/results/.

With --check they are only compared:

.venv/bin/python tools/make_tables.py [--check]
"""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def filled(text: str) -> str:
    """Return a README with its generated parts made anew."""
    for name, make in (("systems", systems_table), ("compression", compression_table)):
        table = make()
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if filled(text) == text:
        return
    if "--check" in sys.argv:
        raise SystemExit("README.md: a generated table is out of date; run: make tables")
    readme.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
