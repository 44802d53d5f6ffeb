"""Latency, memory and fair comparison."""

import time

import pytest

from core.errors import CheckFailed, UserError
from core.export.benchmark import benchmark, compare, peak_memory, time_callable


@pytest.fixture
def files(tmp_path, float_bytes, int8_bytes):
    for name, data in (("float", float_bytes), ("int8", int8_bytes)):
        (tmp_path / f"{name}.tflite").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", ["float", "int8"])
def test_a_file_is_measured_at_one_and_two_threads(files, name):
    path = files / f"{name}.tflite"
    results = benchmark(path, threads=(1, 2), calls=5, warmup=1, min_seconds=0.0)
    assert [result.threads for result in results] == [1, 2]
    for result in results:
        assert 0 < result.p10_ms <= result.median_ms <= result.p90_ms
        assert result.calls == 5
        assert result.name == f"{name}.tflite"
        assert result.file_bytes == path.stat().st_size
        assert result.xnnpack == (7, 7)
        assert result.precision == name
        assert 0 < result.memory_bytes < 100e6


def test_equal_numbers_of_threads_are_measured_once(files):
    results = benchmark(
        files / "int8.tflite", threads=(1, 1), calls=1, warmup=0, min_seconds=0, memory=False
    )
    assert [(result.threads, result.memory_bytes) for result in results] == [(1, None)]


def test_memory_follows_the_size_of_the_activations(tmp_path, converted):
    import tensorflow as tf

    def network(image):
        return tf.reduce_mean(tf.image.resize(image, (1024, 1024)) ** 2, axis=(1, 2))

    sizes = {}
    for channels in (1, 16):
        path = tmp_path / f"{channels}.tflite"
        path.write_bytes(converted(network, (1, 16, 16, channels)))
        sizes[channels] = peak_memory(path)
    # One activation of 1024 x 1024 x 16 float32 is 67 MB; the process of the tests holds more
    # than that itself, so a baseline inherited from it would hide the difference.
    assert sizes[16] > 60e6
    assert sizes[16] - sizes[1] > 55e6


@pytest.mark.parametrize("sides", [(None,), (None, None), (8, None, None)])
def test_a_file_of_open_size_without_a_card_is_measured_at_some_size(tmp_path, converted, sides):
    path = tmp_path / "open.tflite"
    path.write_bytes(converted(lambda values: values * 2.0, (1, *sides, 2)))
    (result,) = benchmark(path, threads=(1,), calls=1, warmup=0, min_seconds=0.0)
    assert result.memory_bytes > 0 and result.median_ms > 0


def test_bad_files_and_threads(files, collapsed_bytes, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        benchmark(tmp_path / "none.tflite")
    with pytest.raises(UserError, match="threads"):
        benchmark(files / "int8.tflite", threads=(0,))
    path = tmp_path / "collapsed.tflite"
    path.write_bytes(collapsed_bytes)
    with pytest.raises(CheckFailed, match="CONV_2D #0"):
        benchmark(path)
    with pytest.raises(CheckFailed, match="CONV_2D #0"):
        peak_memory(path)


def test_a_callable_is_measured_and_goes_on_for_the_least_time():
    timing = time_callable(
        lambda: time.sleep(0.002), name="nap", calls=3, warmup=0, min_seconds=0.05
    )
    assert timing.name == "nap"
    assert timing.median_ms >= 2.0
    assert 3 < timing.calls <= 25
    assert timing.threads is None


def test_comparison_is_pairwise_and_relative_to_the_first():
    order = []

    def nap(name, seconds):
        def function():
            order.append(name)
            time.sleep(seconds)

        return function

    found = compare({"slow": nap("slow", 0.004), "fast": nap("fast", 0.001)}, rounds=6, warmup=1)
    assert order == ["slow", "fast", *["slow", "fast", "fast", "slow"] * 3]
    assert found["slow"].ratio == 1.0
    assert 2.0 < found["fast"].ratio < 4.5
    assert found["fast"].low <= found["fast"].ratio <= found["fast"].high
    assert found["slow"].timing.median_ms >= 4.0
    with pytest.raises(ValueError, match="needs a function"):
        compare({})
