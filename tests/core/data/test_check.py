import numpy as np

from core.data.check import check_samples, digest
from core.data.index import Sample
from core.errors import UserError


def samples(**splits) -> list[Sample]:
    return [Sample(name, (f"{name}.x",), split=split) for name, split in splits.items()]


def test_problems_come_in_the_order_of_the_samples():
    def examine(sample):
        if sample.id == "b":
            raise UserError("b.x: is empty; replace it.")
        return [f"{sample.id}.x: {what}." for what in ("is dark", "is small")], ""

    found = check_samples(samples(a="train", b="val", c="test"), examine)
    assert found == [
        "a.x: is dark.",
        "a.x: is small.",
        "b.x: is empty; replace it.",
        "c.x: is dark.",
        "c.x: is small.",
    ]


def test_equal_content_is_a_problem_in_two_splits_only():
    found = check_samples(
        samples(a="train", b="train", c="", d="test"), lambda sample: ([], "the same")
    )
    assert found == ["Sample 'd' (test) has the same content as 'a' (train); keep it in one split."]


def test_a_digest_tells_values_shapes_and_types_apart():
    values = np.arange(6, dtype=np.int16)
    others = [values + 1, values.reshape(2, 3), values.astype(np.int32), values.astype(">i2")]
    assert len({digest(one) for one in (values, *others)}) == 5
    assert digest(values.reshape(2, 3).T) == digest(np.ascontiguousarray(values.reshape(2, 3).T))
