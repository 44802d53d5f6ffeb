"""A file's own account of itself beside what the export wrote next to it."""

import json

import pytest

from core.export.card_checks import check_sidecar
from core.export.verification import Verification
from core.files import sha256


@pytest.mark.parametrize("labels", [None, 3, ["polyp"]])
def test_labels_of_another_kind_in_the_sidecar_are_named(tmp_path, labels):
    file = tmp_path / "net.tflite"
    file.write_bytes(b"weights")
    recorded = {"sha256": sha256(file), "model_card": {"labels": labels}}
    file.with_suffix(".json").write_text(json.dumps(recorded))
    result = Verification(file.name, "float32")
    check_sidecar(result, file, {"model_card": {"labels": ["cell", "polyp"]}})
    assert [row.value for row in result.rows if row.ok is False] == ["other: model_card.labels"]
