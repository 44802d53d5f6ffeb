"""Sparse TFLite files: zeros survive, and the checker says what stands in the way of speed."""

import keras
import numpy as np
import pytest
from keras import layers

from core.compress.pruning import Pruner, PruningPlan, sparsity_of
from core.engines import interpreter
from core.errors import UserError
from core.export.convert import to_tflite
from core.export.sparse import check_sparse, sparse_tflite
from core.tflite.constants import kernels
from core.tflite.graph import read_model
from core.tflite.packing import packed

SIZE = 32


def stem(x, **choices):
    x = layers.ZeroPadding2D(1)(x)
    return layers.ReLU()(layers.Conv2D(8, 3, **{"strides": 2, "name": "stem", **choices})(x))


def pointwise(x, name, filters=16, **choices):
    return layers.ReLU(6.0)(layers.Conv2D(filters, 1, name=name, **choices)(x))


def squeeze(x):
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(8, 1, activation="relu", name="reduce")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name="expand")(y)
    return layers.Multiply()([x, y])


def pool(x, **choices):
    return layers.GlobalAveragePooling2D(name="pool", **choices)(x)


def pruned(body, sparsity=0.8, policy="pointwise", channels=3):
    """Return a network whose kernels are pruned at once."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, channels))
    model = keras.Model(image, body(image), name="net")
    plan = PruningPlan(schedule="constant", final_sparsity=sparsity, begin_step=1, policy=policy)
    Pruner(model, plan).before_step()
    return model


def outputs(content, delegate=False):
    engine = interpreter(content, threads=1, delegate=delegate)
    detail = engine.get_input_details()[0]
    image = np.random.default_rng(0).standard_normal(detail["shape"]).astype(np.float32)
    engine.set_tensor(detail["index"], image)
    engine.invoke()
    return image, engine.get_tensor(engine.get_output_details()[0]["index"])


def mobilenet(x):
    """Everything the sparse path accepts: both depthwise windows, a sum, a gate, a classifier."""
    x = pointwise(stem(x), "first")
    x = layers.ZeroPadding2D(1)(x)
    x = layers.DepthwiseConv2D(3, strides=2, name="down")(x)
    y = pointwise(x, "second")
    y = layers.DepthwiseConv2D(5, padding="same", name="wide")(y)
    x = layers.Add()([x, squeeze(layers.Activation("hard_swish")(y))])
    x = pool(pointwise(x, "last", 256))
    return layers.Dense(3, name="head")(x)


@pytest.fixture(scope="module")
def small_mobilenet():
    return pruned(mobilenet)


# --- the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-5), ("float16", 5e-3)])
def test_a_sparse_file_is_smaller_and_computes_the_same(small_mobilenet, precision, tolerance):
    dense, sparse = to_tflite(small_mobilenet, precision), sparse_tflite(small_mobilenet, precision)
    assert len(sparse) < len(dense)
    for delegate in (False, True):
        image, found = outputs(sparse, delegate)
        expected = small_mobilenet(image).numpy()
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
        np.testing.assert_allclose(found, outputs(dense, delegate)[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_pruned_zeros_survive_export_whatever_the_layer(precision):
    def body(x):
        x = layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False, name="window")(x))
        x = layers.Conv2DTranspose(8, 3, strides=2, name="up")(layers.ReLU()(x))
        x = pool(layers.Conv2D(16, 1, name="pointwise")(x))
        return layers.Softmax()(layers.Dense(10, name="head")(x))

    model = pruned(body, 0.75, policy="all")
    stored = {
        k.layer: float(np.mean(k.matrix == 0)) for k in kernels(sparse_tflite(model, precision))
    }
    assert stored == pytest.approx(sparsity_of(model))


def test_a_sparse_constant_that_is_cut_off_is_told_with_its_file(small_mobilenet, tmp_path):
    model = read_model(sparse_tflite(small_mobilenet))
    tensor = next(t for t in model.subgraphs[0].tensors if t.sparsity is not None)
    model.buffers[tensor.buffer].data = model.buffers[tensor.buffer].data[:4]
    path = tmp_path / "cut.tflite"
    path.write_bytes(packed(model))
    for reading in (lambda: list(kernels(path)), lambda: check_sparse(path)):
        with pytest.raises(
            UserError, match=r"cut\.tflite: .*: its 4 stored bytes do not fit float"
        ):
            reading()


def test_int8_is_refused_with_the_reason(small_mobilenet):
    with pytest.raises(UserError, match="net: a sparse file is float32 or float16, not int8"):
        sparse_tflite(small_mobilenet, "int8")


# --- the checker ------------------------------------------------------------------------------


def test_all_conditions_hold_for_a_mobilenet_and_the_sizes_are_reported(small_mobilenet):
    content = sparse_tflite(small_mobilenet)
    report = check_sparse(content)
    assert [condition.number for condition in report.conditions] == list(range(1, 8))
    assert report.holds and report.safe, str(report)
    assert report.encoded == 5  # three 1×1 convolutions and the gate's two
    weights = [
        w for name, w in sparsity_of(small_mobilenet).items() if name not in ("stem", "head")
    ]
    assert report.sparsity == pytest.approx(np.mean(weights), abs=0.02)
    assert report.file_bytes == len(content) > report.zip_bytes
    assert str(report).startswith("all conditions for sparse inference hold")


def test_the_note_says_that_newer_runtimes_count_a_large_classifier():
    model = pruned(lambda x: layers.Dense(100)(pool(pointwise(stem(x), "only"))))
    report = check_sparse(sparse_tflite(model))
    assert report.holds and "newer runtimes also count the dense layer" in str(report)


def broken_by(body):
    """Return the violations by condition of a file written without looking."""
    report = check_sparse(to_tflite(pruned(body), sparse=True))
    assert not report.holds
    return report, {c.number: c.violation for c in report.conditions if not c.holds}


@pytest.mark.parametrize(
    "body, number, sentence",
    [
        (
            lambda x: pool(
                pointwise(layers.Conv2D(8, 3, strides=2, padding="same", name="a")(x), "b")
            ),
            2,
            "CONV_2D (a) is not padded by 1 on all four sides: build it as ZeroPadding2D(1)",
        ),
        (
            lambda x: pool(pointwise(stem(x, strides=1), "b")),
            2,
            "CONV_2D (stem) is 3×3 with stride 1",
        ),
        (
            lambda x: pool(pointwise(stem(layers.Concatenate()([x, x])), "b")),
            2,
            "CONV_2D (stem) is 3×3 with 6 input channels, not 3",
        ),
        (
            lambda x: pool(pointwise(layers.Conv2D(8, 5, strides=2, name="a")(x), "b")),
            2,
            "CONV_2D (a) is 5×5",
        ),
        (lambda x: pointwise(stem(x), "b"), 3, "nothing pools over both"),
        (
            lambda x: pool(pointwise(stem(x), "b"), keepdims=True),
            3,
            "MEAN (pool) keeps its axes, which leave the path in another order",
        ),
        (
            lambda x: pool(
                pointwise(layers.MaxPooling2D(name="max")(pointwise(stem(x), "b")), "c")
            ),
            4,
            "MAX_POOL_2D (max) is an operator the sparse path does not know",
        ),
        (
            lambda x: pool(
                pointwise(
                    layers.DepthwiseConv2D(3, strides=2, padding="same", name="d")(stem(x)), "c"
                )
            ),
            4,
            "DEPTHWISE_CONV_2D (d) is not padded by 1 on all four sides: build it as ZeroPadding",
        ),
        (
            lambda x: pool(
                pointwise(layers.DepthwiseConv2D(7, padding="same", name="d")(stem(x)), "c")
            ),
            4,
            "DEPTHWISE_CONV_2D (d) is 7×7, neither 3×3 nor 5×5",
        ),
        (
            lambda x: pool(pointwise(pointwise(stem(x), "b", strides=2), "c")),
            4,
            "CONV_2D (b) is 1×1 with stride 2",
        ),
        (
            lambda x: pool(pointwise(layers.Activation("softplus", name="s")(stem(x)), "c")),
            4,
            "ADD (s) takes a constant",
        ),
    ],
)
def test_the_first_violation_names_operator_layer_and_remedy(body, number, sentence):
    _, broken = broken_by(body)
    assert sentence in broken[number]


@pytest.mark.parametrize(
    "body, sentence",
    [
        (lambda y: [pool(pointwise(y, "c")), y], "is an output of the network"),
        (
            lambda y: [pool(pointwise(y, "c")), layers.MaxPooling2D()(y)],
            "CONV_2D (b) is read by MAX_POOL_2D",
        ),
        (
            lambda y: layers.Softmax()(layers.Conv2D(4, 1, name="head")(pool(y, keepdims=True))),
            "CONV_2D (head) is read by SOFTMAX",
        ),
    ],
)
def test_values_that_leave_the_path_are_named(body, sentence):
    _, broken = broken_by(lambda x: body(pointwise(stem(x), "b")))
    assert set(broken) == {5} and sentence in broken[5]


def test_too_few_zeros_and_kernels_stored_in_full():
    model = pruned(lambda x: pool(pointwise(stem(x), "b")), sparsity=0.6)
    few = check_sparse(sparse_tflite(model))
    assert str(few) == "condition 6 fails: only 60.2% are zero" and few.safe
    dense = check_sparse(to_tflite(pruned(lambda x: pool(pointwise(stem(x), "b")))))
    assert dense.encoded == 0 and "condition 7 fails: none is stored so" in str(dense)


def test_an_int8_file_fails_the_first_condition(int8_bytes):
    report = check_sparse(int8_bytes)
    assert "computes in int8" in report.conditions[0].violation and report.safe
    assert report.conditions[3].holds  # said once


def test_what_comes_before_the_first_convolution_does_not_matter():
    model = pruned(lambda x: pool(pointwise(stem(layers.Rescaling(1 / 127.5, -1)(x)), "b")))
    assert check_sparse(sparse_tflite(model)).holds


def test_a_file_that_would_be_turned_around_only_in_part_is_not_written():
    """XNNPACK then hands a channels-first value to a channels-last kernel, on phones only."""
    model = pruned(lambda x: pool(pointwise(layers.MaxPooling2D()(pointwise(stem(x), "b")), "c")))
    with pytest.raises(UserError, match=r"net: stored sparsely .* wrong outputs .* MAX_POOL_2D"):
        sparse_tflite(model)


def test_a_network_that_never_begins_the_path_is_written_for_its_size():
    def body(x):
        x = pointwise(layers.Conv2D(8, 3, padding="same")(x), "b")
        return layers.Conv2D(1, 1, name="mask")(layers.MaxPooling2D()(x))

    report = check_sparse(sparse_tflite(pruned(body)))
    assert report.encoded == 2 and report.safe and not report.holds


def test_a_damaged_file_is_refused():
    with pytest.raises(UserError, match="not a TensorFlow Lite file"):
        check_sparse(b"not a model at all")
