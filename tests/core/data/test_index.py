"""What a sample is called where its results are written."""

from pathlib import Path

import pytest

from core.data.index import Sample


@pytest.mark.parametrize(
    "id, input, expected",
    [
        ("a/b.jpg", "b.jpg", "out/a/b_mask.png"),
        ("test/scan.v2", "scan.v2.png", "out/test/scan.v2_mask.png"),
        ("1.2.840.113", "000.dcm", "out/1.2.840.113_mask.png"),  # a folder named by its UID
        ("case.01", "case.01.nii.gz", "out/case.01_mask.png"),
    ],
)
def test_only_the_suffix_of_the_file_is_dropped_from_the_name_of_a_result(id, input, expected):
    assert Sample(id, (Path(input),)).file_in(Path("out"), "_mask.png") == Path(expected)
