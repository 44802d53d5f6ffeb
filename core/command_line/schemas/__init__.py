"""The JSON Schemas (draft 2020-12) of what the commands print under `--json`, a file a command.

An app's own commands have theirs in the app's `schemas/`, where `scores.json` also says what the
app measures, or refers to `classification_scores.json`, which is the same for all apps that name
what a picture shows. Numbers carry a "unit". docs/json.md is made from these files.
"""

from __future__ import annotations

import json
from importlib import resources

_OF_SEVERAL = "classification_scores"  # what several apps measure alike


def schemas(package: str = "") -> dict[str, dict]:
    """Return the schemas by name, those of an app's package over the shared ones.

    They refer to each other by "$id": "urn:gossamer:NAME".

    Args:
        package: "apps.person_reid"; empty for the shared ones only.
    """
    found = {}
    for owner in (__name__.rpartition(".")[0], *([package] if package else [])):
        for file in sorted((resources.files(owner) / "schemas").iterdir(), key=lambda f: f.name):
            if file.name.endswith(".json"):
                found[file.name.removesuffix(".json")] = json.loads(file.read_text("utf-8"))
    several = found.pop(_OF_SEVERAL)
    parts = found["scores"]["$defs"]
    for name, part in parts.items():
        if part.get("$ref") == f"{several['$id']}#/$defs/{name}":
            parts[name] = several["$defs"][name]
    return found


def schema_name(command) -> str:
    """Return the name of the schema of a command of a program; two names of one share it."""
    return command.callback.__name__.rstrip("_")
