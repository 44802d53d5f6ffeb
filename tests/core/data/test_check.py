import numpy as np

from core.data.check import Examined, check_samples, digest
from core.data.index import Sample
from core.data.lookalikes import look
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


def test_what_only_looks_the_same_comes_last_and_apart_from_copies():
    seen = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    paler = (seen * 0.9).astype(np.uint8)
    shown = {"a": seen, "b": seen, "c": paler, "d": paler, "e": seen[:, ::-1]}

    def examine(sample):
        picture = shown[sample.id]
        return Examined([], digest(picture), look(picture))

    found = check_samples(samples(a="train", b="test", c="test", d="test", e="test"), examine)
    assert found[0] == (
        "Sample 'b' (test) has the same content as 'a' (train); keep it in one split."
    )
    assert found[1].startswith("'a' (train), 'c' (test) and 2 more look the same (")
    assert len(found) == 2 and "'e'" not in found[1]


def test_a_digest_tells_values_shapes_and_types_apart():
    values = np.arange(6, dtype=np.int16)
    others = [values + 1, values.reshape(2, 3), values.astype(np.int32), values.astype(">i2")]
    assert len({digest(one) for one in (values, *others)}) == 5
    assert digest(values.reshape(2, 3).T) == digest(np.ascontiguousarray(values.reshape(2, 3).T))
