"""Pruning: the masks are tfmot's, zeros stay zero, and a killed training goes on exactly."""

import os
import subprocess
import sys

import keras
import numpy as np
import pruning_twin
import pytest
from keras import layers
from pruning_twin import CASES, STEPS

from core.compress.pruning import Pruner, PruningPlan, prunable_kernels, sparsity_of, zeros_kept
from core.errors import UserError
from core.layers.convolution import GroupedConv2D


def small_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(16, 1, activation="relu", name="pointwise")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, name="head")(x), name="small")


def samples(count=64):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, 8, 8, 3), np.float32), rng.integers(0, 4, count)


def compiled(model, rate=0.05):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    return model


PLAN = PruningPlan(final_sparsity=0.75, begin_step=0, end_step=12, frequency=4)


# --- against tfmot itself ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tfmot_masks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfmot") / "masks.npz"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, pruning_twin.__file__, str(path)], env=environment, check=True)
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.parametrize("case", CASES)
def test_masks_equal_those_of_tfmot_bit_for_bit(tfmot_masks, case):
    name, choices = CASES[case]
    model = keras.Sequential([keras.Input((8, 8, 3)), *pruning_twin.network(layers, name)])
    pruner = Pruner(model, PruningPlan(**choices))
    kernels = {layer.name: variable for layer, variable in pruner.kernels}
    for layer, kernel in kernels.items():
        kernel.assign(pruning_twin.drift(layer, 0, kernel.shape))
    for step in range(1, STEPS + 1):
        pruner.before_step()
        masks = dict(zip(kernels, pruner.variables[1:], strict=True))
        for layer, kernel in kernels.items():
            expected = tfmot_masks[f"{case}/{layer}/{step}/mask"]
            np.testing.assert_array_equal(masks[layer], expected, f"{layer}, step {step}")
            expected = tfmot_masks[f"{case}/{layer}/{step}/kernel"]
            np.testing.assert_array_equal(kernel.numpy(), expected, f"{layer}, step {step}")
            kernel.assign_add(pruning_twin.drift(layer, step, kernel.shape))
    assert sum(key.startswith(f"{case}/") for key in tfmot_masks) == 2 * STEPS * len(kernels)


# --- what is pruned ---------------------------------------------------------------------------


def test_kernels_of_nested_shared_and_derived_layers_are_found_once():
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Model(inner_input, layers.Conv2D(4, 1, name="inner")(inner_input))
    shared = layers.Conv1D(4, 3, name="shared")
    image = keras.Input((8, 8, 4))
    x = inner(GroupedConv2D(4, 3, groups=2, padding="same", name="grouped")(image))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    x = layers.Reshape((-1, 4))(x)
    x = layers.Add()([shared(x), shared(x)])
    x = layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    model = keras.Model(image, layers.Dense(2, name="dense")(x))
    found = prunable_kernels(model)
    names = {layer.name for layer, _ in found}
    attention = {"query", "key", "value", "attention_output"}
    ours = {"inner", "shared", "grouped", "up", "separable", "dense"}
    assert names == ours | attention and len(found) == len(names)
    assert all("depthwise" not in variable.name for _, variable in found)


def test_the_pointwise_policy_takes_only_stride_one_1x1_convolutions():
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, name="window")(image)
    x = layers.Conv2D(4, 1, name="pointwise")(x)
    x = layers.Conv2D(4, 1, strides=2, name="strided")(x)
    x = layers.Conv2D(4, 1, groups=2, name="grouped")(x)
    model = keras.Model(image, layers.Dense(2)(x))
    assert [layer.name for layer, _ in prunable_kernels(model, "pointwise")] == ["pointwise"]


def test_a_model_without_such_kernels_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="mlp")
    with pytest.raises(UserError, match="mlp: has no stride-1 1×1 convolutions"):
        Pruner(model, PruningPlan(end_step=100, policy="pointwise"))


def test_blocks_of_output_channels_on_1x1_convolutions_are_those_of_the_same_dense_kernel():
    image, row = keras.Input((4, 4, 12)), keras.Input((12,))
    convolution = keras.Model(image, layers.Conv2D(10, 1, name="a")(image))
    dense = keras.Model(row, layers.Dense(10, name="a")(row))
    dense.set_weights(
        [w.reshape(v.shape) for w, v in zip(convolution.get_weights(), dense.weights, strict=True)]
    )
    plan = PruningPlan(schedule="constant", final_sparsity=0.5, begin_step=1, block=(1, 4))
    masks = []
    for model in (convolution, dense):
        pruner = Pruner(model, plan)
        pruner.before_step()
        masks.append(np.reshape(pruner.variables[1], (12, 10)))
    np.testing.assert_array_equal(*masks)
    assert all(len(set(block)) == 1 for row in masks[0] for block in (row[:4], row[4:8], row[8:]))


def test_blocks_in_a_3x3_kernel_are_refused_with_the_layers_name():
    with pytest.raises(UserError, match=r"conv \(Conv2D\): its kernel .* policy 'pointwise'"):
        Pruner(small_network(), PruningPlan(end_step=100, block=(1, 4)))


@pytest.mark.parametrize("kind", [layers.Conv1D, layers.Conv2DTranspose, layers.Conv3D])
def test_m_by_n_groups_run_over_the_input_channels_of_every_kernel(kind):
    rank = 1 if kind is layers.Conv1D else 3 if kind is layers.Conv3D else 2
    image = keras.Input((6,) * rank + (8,))
    model = keras.Model(image, kind(5, 3)(image))
    Pruner(model, PruningPlan(m_by_n=(3, 4))).before_step()
    kernel = model.layers[-1].kernel.numpy()
    inputs_last = kernel if kind is layers.Conv2DTranspose else np.swapaxes(kernel, -1, -2)
    zeros = (inputs_last.reshape(-1, 2, 4) == 0).sum(-1)
    assert (zeros == 3).all()


# --- while training ---------------------------------------------------------------------------


def test_training_ends_with_the_zeros_it_promised():
    model = compiled(small_network())
    pruner = Pruner(model, PLAN, total_steps=16)
    before = model.get_layer("depthwise").get_weights()[0]
    history = model.fit(*samples(), batch_size=8, epochs=2, callbacks=[pruner], verbose=0)
    assert pruner.settled and pruner.step == 16
    assert sparsity_of(model) == pruner.sparsity()
    for name, share in sparsity_of(model).items():
        assert share == pytest.approx(0.75, abs=0.01), name
    assert (model.get_layer("depthwise").get_weights()[0] != before).all()
    assert np.isfinite(history.history["loss"]).all()


def test_masks_follow_the_schedule_and_move_no_more_when_it_has_ended():
    model = small_network()
    pruner = Pruner(model, PLAN)
    shares, settled = [], []
    for _ in range(14):
        pruner.before_step()
        shares.append(pruner.sparsity()["conv"])
        settled.append(pruner.settled)
        for variable in model.trainable_variables:
            variable.assign_add(np.float32(0.1) * np.random.default_rng(0).random(variable.shape))
    assert shares[:3] == [0, 0, 0] and shares == sorted(shares)
    assert shares[11:] == [pytest.approx(0.75, abs=0.01)] * 3
    assert settled == [False] * 11 + [True] * 3
    assert (model.get_layer("conv").kernel.numpy() != 0).all()  # moved by the last "optimiser"
    pruner.apply()
    assert sparsity_of(model)["conv"] == shares[-1]


def test_a_training_resumed_with_the_pruners_variables_ends_with_the_same_weights():
    inputs, labels = samples(40)

    def run(model, pruner, first, last):
        for start in range(first, last):
            pruner.before_step()
            model.train_on_batch(inputs[start::20], labels[start::20])

    whole = compiled(small_network())
    pruner = Pruner(whole, PLAN)
    run(whole, pruner, 0, 15)

    first = compiled(small_network())
    killed = Pruner(first, PLAN)
    run(first, killed, 0, 6)
    state = [variable.numpy() for variable in killed.variables]
    weights = [variable.numpy() for variable in first.variables + first.optimizer.variables]

    second = compiled(small_network())
    second.optimizer.build(second.trainable_variables)
    resumed = Pruner(second, PLAN)
    for variable, value in zip(resumed.variables, state, strict=True):
        variable.assign(value)
    for variable, value in zip(second.variables + second.optimizer.variables, weights, strict=True):
        variable.assign(value)
    run(second, resumed, 6, 15)
    assert resumed.settled
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_repeated_layer_names_are_told_apart():
    def block():
        image = keras.Input((4,))
        return keras.Model(image, layers.Dense(4, name="same")(image))

    image = keras.Input((4,))
    model = keras.Model(image, block()(block()(image)))
    assert set(sparsity_of(model)) == {"same", "same#2"}


def test_zeros_kept_is_the_mask_of_what_is_zero_now():
    kernel = np.array([[0.0, -1.0], [2.0, -0.0]], np.float32)
    mask = zeros_kept(kernel)
    assert mask.dtype == np.float32 and mask.tolist() == [[0, 1], [1, 0]]


# --- plans ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choices, sentence",
    [
        ({"method": "magnitudes"}, "Did you mean 'magnitude'"),
        ({"schedule": "cubic"}, "Known: polynomial, constant"),
        ({"policy": "1x1"}, "policy is '1x1'"),
        ({"block_pooling": "avg"}, "block_pooling is 'avg'"),
        ({"final_sparsity": 1.0}, "final_sparsity is 1.0; give the share of zeros"),
        ({"final_sparsity": "high"}, "final_sparsity is 'high'; give a number"),
        ({"end_step": 1.5}, "end_step is 1.5; give a whole number"),
        ({"initial_sparsity": -0.1}, "initial_sparsity is -0.1"),
        ({"initial_sparsity": 0.9, "final_sparsity": 0.5, "end_step": 100}, "can only grow"),
        ({"begin_step": 200, "end_step": 100}, "end_step 100 must come after begin_step 200"),
        ({}, "end_step -1 must come after"),
        ({"end_step": 250}, "set end_step to 200 or 300"),
        ({"end_step": 50}, "set end_step to 100."),
        ({"schedule": "constant", "end_step": 50}, "first masks, which are made at step 100"),
        ({"end_step": 100, "frequency": 0}, "frequency 0"),
        ({"end_step": 100, "power": 0}, "power 0"),
        ({"end_step": 100, "block": (0, 4)}, "block is (0, 4); give two whole numbers"),
        ({"m_by_n": (4, 4)}, "need m below n"),
        ({"m_by_n": "2:4"}, "m_by_n is"),
        ({"m_by_n": (2, 4), "block": (1, 4)}, "exclude each other"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_a_sentence(choices, sentence):
    with pytest.raises(UserError) as caught:
        PruningPlan(**choices)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "choices",
    [{"end_step": 200}, {"schedule": "constant"}, {"schedule": "constant", "end_step": 300}],
)
def test_a_schedule_that_ends_after_the_training_is_refused(choices):
    with pytest.raises(UserError, match=r"ends at step .* after the training does \(step 99"):
        Pruner(small_network(), PruningPlan(**choices), total_steps=99)


@pytest.mark.parametrize("total", [1, 2, 7, 40, 1001])
def test_a_plan_made_for_a_training_fits_into_it(total):
    plan = PruningPlan.over(total, 0.8)
    assert plan.settles_at <= total
    if total >= 40:
        assert 0.6 * total < plan.settles_at <= 0.75 * total


def test_a_plan_made_for_a_training_keeps_what_was_chosen():
    plan = PruningPlan.over(1000, begin_step=130, frequency=7)
    assert (plan.begin_step, plan.frequency) == (130, 7) and 700 < plan.end_step <= 750
    assert PruningPlan.over(1000, 0.5, schedule="constant").settles_at <= 50
    assert PruningPlan.over(1000, m_by_n=(2, 4)).settles_at == 1


@pytest.mark.parametrize("choices", [{"frequency": 0}, {"frequency": "often"}, {"begin_step": "1"}])
def test_a_plan_made_for_a_training_is_checked_too(choices):
    with pytest.raises(UserError, match="Pruning: "):
        PruningPlan.over(1000, **choices)


def test_lists_from_a_config_file_become_pairs():
    assert PruningPlan(end_step=100, block=[1, 2]).block == (1, 2)
    assert PruningPlan(m_by_n=[2, 4]).m_by_n == (2, 4)


def test_several_steps_in_one_execution_are_refused():
    model = small_network()
    model.compile("sgd", "mse", steps_per_execution=2)
    with pytest.raises(UserError, match="steps_per_execution"):
        model.fit(*samples(8), callbacks=[Pruner(model, PLAN)], verbose=0)
