"""Reading, checking and predicting the fate of .tflite files."""

import subprocess
import sys

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from core.errors import CheckFailed, UserError
from core.tflite import inspect

KINDS = [
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONV_2D",
    "ADD",
    "TRANSPOSE_CONV",
    "MEAN",
    "FULLY_CONNECTED",
]


def altered(data: bytes, change) -> bytes:
    """Return a file after `change(model, main graph)` on the unpacked schema objects."""
    model = schema.ModelT.InitFromPackedBuf(data)
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def rescaled(data: bytes, operator: int, factor: float) -> bytes:
    """Return a file with the scale of one operator's output multiplied."""

    def change(_, graph):
        quantization = graph.tensors[graph.operators[operator].outputs[0]].quantization
        quantization.scale = [float(quantization.scale[0]) * factor]

    return altered(data, change)


@pytest.fixture(scope="module")
def many_operators(converted) -> bytes:
    image = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 1)(image)
    y = keras.layers.Conv2D(4, 1)(image)
    x = keras.layers.Multiply()([x, y])
    x = keras.layers.Conv2D(4, 1)(keras.layers.LeakyReLU(0.25)(x))
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Concatenate()([x, keras.layers.AveragePooling2D(2)(y)])
    return converted(keras.Model(image, keras.layers.Flatten()(x)), (1, 8, 8, 4), int8=True)


def find(data: bytes, kind: str) -> inspect.Operator:
    return next(operator for operator in inspect.operators(data) if operator.name == kind)


def test_operators_are_listed_with_their_tensors(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(int8_bytes)
    operators = inspect.operators(path)
    assert [operator.name for operator in operators] == KINDS
    image, kernel, bias = operators[0].inputs
    assert (image.shape, image.dtype, image.constant) == ((1, 16, 16, 3), "int8", False)
    assert (kernel.shape, kernel.dtype, kernel.constant) == ((8, 3, 3, 3), "int8", True)
    assert (len(kernel.scales), kernel.axis, bias.dtype) == (8, 0, "int32")
    assert operators[0].outputs[0].shape == (1, 8, 8, 8)
    assert operators[0].options["strideW"] == 2
    assert operators[-1].inputs[2] is None or operators[-1].inputs[2].constant


def test_float_and_int8_files_are_told_apart(float_bytes, int8_bytes):
    assert [operator.name for operator in inspect.float_operators(float_bytes)] == KINDS
    assert inspect.float_operators(int8_bytes) == []
    assert not inspect.is_int8(float_bytes)
    assert inspect.is_int8(int8_bytes)


def test_macs_follow_from_the_shapes(float_bytes, int8_bytes):
    expected = 8 * 8 * 8 * 27 + 8 * 8 * 8 * 9 + 8 * 8 * 8 * 8 + 8 * 8 * 8 * 2 * 2 * 4 + 4 * 5
    assert inspect.mac_count(float_bytes) == inspect.mac_count(int8_bytes) == expected == 30740


def test_matmul_macs(converted):
    data = converted(lambda x: tf.matmul(x, x, transpose_b=True), (1, 2, 6, 5))
    assert inspect.mac_count(data) == 2 * 6 * 6 * 5


def test_flex_operators_are_foreign(float_bytes):
    assert inspect.foreign_operators(float_bytes) == []
    traced = tf.function(tf.linalg.inv).get_concrete_function(tf.TensorSpec((4, 4), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
    data = converter.convert()
    foreign = inspect.foreign_operators(data)
    assert "FlexMatrixInverse" in {operator.name for operator in foreign}
    assert all(operator.custom and operator.flex for operator in foreign)
    with pytest.raises(CheckFailed, match=r"not builtin: .*FlexMatrixInverse"):
        inspect.xnnpack_share(data)


def test_xnnpack_takes_all_of_a_plain_network(float_bytes, int8_bytes):
    assert inspect.xnnpack_share(float_bytes) == (7, 7)
    assert inspect.xnnpack_share(int8_bytes) == (7, 7)


def test_requantisation_of_a_sound_file_is_within_bounds(int8_bytes, float_bytes):
    ratios = inspect.requantisation(int8_bytes)
    kinds = [kind for kind in KINDS if kind != "MEAN"]
    assert sorted({r.kind for r in ratios}) == sorted(set(kinds))
    assert all(ratio.ok for ratio in ratios)
    first, kernel, output = (
        inspect.operators(int8_bytes)[0].inputs[0].scales[0],
        inspect.operators(int8_bytes)[0].inputs[1].scales,
        inspect.operators(int8_bytes)[0].outputs[0].scales[0],
    )
    assert ratios[0].value == pytest.approx(max(first * scale / output for scale in kernel))
    assert inspect.requantisation(float_bytes) == []


def test_a_collapsed_range_is_named_and_refused_by_the_delegate(collapsed_bytes):
    inspect.check_file(collapsed_bytes)
    (ratio,) = inspect.requantisation(collapsed_bytes)
    assert (ratio.operator, ratio.kind, ratio.high) == (0, "CONV_2D", 256.0)
    # The converter floors the output's range at 1e-6: 2/255 * 1/127 / (1e-6/255).
    assert ratio.value == pytest.approx(2 / 127 / 1e-6, rel=1e-3)
    assert not ratio.ok
    assert ratio.fatal

    with pytest.raises(RuntimeError, match="failed to create XNNPACK runtime"):
        Interpreter(model_content=collapsed_bytes).allocate_tensors()
    with pytest.raises(CheckFailed, match=r"CONV_2D #0 .* outside .* to 256"):
        inspect.xnnpack_share(collapsed_bytes)
    reference = Interpreter(
        model_content=collapsed_bytes,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    reference.allocate_tensors()
    reference.invoke()


@pytest.mark.parametrize(
    ("kind", "factor", "effect"),
    [
        ("MUL", 2.0**-18, "reference"),
        ("MUL", 2.0**18, "reference"),
        ("LEAKY_RELU", 2.0**-12, "reference"),
        ("LEAKY_RELU", 2.0**12, "reference"),
        ("RESHAPE", 2.0, "reference"),
        ("MAX_POOL_2D", 2.0, "refused"),
        ("CONCATENATION", 2.0, "refused"),
    ],
)
def test_predicted_effects_are_what_the_runtime_does(many_operators, kind, factor, effect):
    taken, total = inspect.xnnpack_share(many_operators)
    bad = rescaled(many_operators, find(many_operators, kind).index, factor)
    violated = [ratio for ratio in inspect.requantisation(bad) if not ratio.ok]
    assert kind in {ratio.kind for ratio in violated}
    assert {ratio.effect for ratio in violated if ratio.kind == kind} == {effect}
    if effect == "refused":
        with pytest.raises(CheckFailed, match=kind):
            inspect.xnnpack_share(bad)
    else:
        left = {r.operator for r in violated}
        assert inspect.xnnpack_share(bad) == (taken - len(left), total)


@pytest.mark.parametrize("factor", [2.0**-12, 2.0**12])
def test_distant_scales_leave_a_sum_to_the_reference_kernel(int8_bytes, factor):
    bad = rescaled(int8_bytes, KINDS.index("ADD"), factor)
    assert {r.kind for r in inspect.requantisation(bad) if not r.ok} == {"ADD"}
    assert inspect.xnnpack_share(bad) == (6, 7)


def test_a_constant_output_channel_is_reported_but_not_fatal(int8_bytes):
    bad = rescaled(int8_bytes, KINDS.index("FULLY_CONNECTED"), 2.0**30)
    (ratio,) = [r for r in inspect.requantisation(bad) if not r.ok]
    assert (ratio.kind, ratio.effect, ratio.fatal) == ("FULLY_CONNECTED", "constant", False)
    assert inspect.xnnpack_share(bad) == (7, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\0" * 64, "is not a TensorFlow Lite file"),
        (b"PK\3\4" + b"\0" * 64, "ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1c\0\0\0TFL3", "damaged or cut off"),
        (b"\xff\xff\xff\xffTFL3" + b"\xff" * 64, "damaged or cut off"),
    ],
)
def test_foreign_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    for function in (inspect.check_file, inspect.operators, inspect.xnnpack_share):
        with pytest.raises(UserError, match=message) as caught:
            function(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        inspect.check_file(tmp_path / "none.tflite")
    with pytest.raises(UserError, match="is a folder"):
        inspect.check_file(tmp_path)


def test_sound_files_pass(float_bytes, int8_bytes, many_operators):
    for data in (float_bytes, int8_bytes, many_operators):
        inspect.check_file(data)


def test_every_truncation_is_refused(int8_bytes):
    for length in range(0, len(int8_bytes) - 16, 37):
        with pytest.raises(UserError):
            inspect.check_file(int8_bytes[:length])


def _twice(_, graph):
    graph.operators[3].outputs = [graph.operators[0].outputs[0]]


def _no_stride(_, graph):
    graph.operators[0].builtinOptions.strideW = 0


def _no_scale(_, graph):
    quantization = graph.tensors[graph.operators[2].outputs[0]].quantization
    quantization.scale = quantization.zeroPoint = None


def _short_constant(model, graph):
    buffer = model.buffers[graph.tensors[graph.operators[0].inputs[1]].buffer]
    buffer.data = buffer.data[:-1]


def _missing_tensor(_, graph):
    graph.operators[0].inputs = [0, 1, 99]


def _missing_code(_, graph):
    graph.operators[0].opcodeIndex = 40


def _missing_buffer(_, graph):
    graph.tensors[0].buffer = 400


def _wrong_order(_, graph):
    graph.operators.reverse()


def _abort(_, graph):
    graph.tensors[graph.operators[3].outputs[0]].quantization.scale = [1e-12]


def _no_inputs(_, graph):
    graph.operators[0].inputs = []


def _omitted_input(_, graph):
    graph.operators[0].inputs = [-1, *list(graph.operators[0].inputs)[1:]]


def _no_options(_, graph):
    graph.operators[0].builtinOptionsType, graph.operators[0].builtinOptions = 0, None


def _flat_input(_, graph):
    graph.tensors[graph.operators[0].inputs[0]].shape = [1, 768]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_no_inputs, r"CONV_2D #0 lacks inputs"),
        (_omitted_input, r"CONV_2D #0 lacks an input"),
        (_no_options, r"CONV_2D #0 lacks its options"),
        (_flat_input, r"CONV_2D #0 has an input of 2 axes instead of 4"),
        (_twice, r"ADD #3 writes a tensor that already"),
        (_no_stride, r"CONV_2D #0 has strideW = 0"),
        (_no_scale, r"int8 without a scale"),
        (_short_constant, r"holds 215 bytes where its shape needs 216"),
        (_missing_tensor, r"CONV_2D #0 reads a missing tensor"),
        (_missing_code, r"operator #0 has no kind"),
        (_missing_buffer, r"names a missing buffer"),
        (_wrong_order, r"reads a tensor before"),
        (_abort, r"scales of ADD #3 .* further apart"),
    ],
)
def test_damage_that_would_end_the_process_is_found_first(int8_bytes, change, message):
    with pytest.raises(UserError, match=message):
        inspect.check_file(altered(int8_bytes, change))


_FUZZ = """
import os, random, sys
from ai_edge_litert.interpreter import Interpreter
from core.errors import UserError
from core.tflite.inspect import check_file
data = open(sys.argv[1], "rb").read()
passed = refused = 0
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
for seed in range(250):
    generator = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(generator.choice((1, 1, 4))):
        damaged[generator.randrange(len(data))] = generator.randrange(256)
    try:
        check_file(bytes(damaged))
    except UserError:
        refused += 1
        continue
    passed += 1
    try:
        interpreter = Interpreter(model_content=bytes(damaged), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError):
        pass
print(passed, refused)
"""


def test_damaged_bytes_never_end_the_process(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(int8_bytes)
    child = subprocess.run(
        [sys.executable, "-c", _FUZZ, str(path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0
    passed, refused = map(int, child.stdout.split())
    assert passed + refused == 250
    assert refused > 60


def test_reading_does_not_import_tensorflow(int8_bytes, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(int8_bytes)
    code = (
        "import sys; from core.tflite import inspect; "
        "inspect.requantisation(sys.argv[1]); inspect.check_file(sys.argv[1]); "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_values_of_quantised_tensors(int8_bytes):
    weights = inspect.operators(int8_bytes)[1].inputs[1]
    assert (weights.axis, len(weights.scales), weights.quantised) == (3, 8, True)
    assert np.all(np.array(weights.zero_points) == 0)
