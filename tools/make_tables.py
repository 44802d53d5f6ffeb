"""Write the README's generated tables from the catalog; with --check only compare them.

.venv/bin/python tools/make_tables.py [--check]
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def filled(text: str) -> str:
    """Return a README with its generated part made anew."""
    table = systems_table()
    return re.sub(
        r"(<!-- systems -->\n).*?(<!-- /systems -->)",
        lambda match: f"{match[1]}{table}\n{match[2]}",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if filled(text) == text:
        return
    if "--check" in sys.argv:
        raise SystemExit("README.md: the table of systems is out of date; run: make tables")
    readme.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
