"""The methods of a chain: wrong choices get one sentence before anything is done."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from core.compress import METHODS
from core.compress.clustering import ClusteredKernel
from core.compress.quantize import is_quantized
from core.compress.quantized_kernel import QuantizedKernel
from core.compress.quantizers import ActivationQuantizer
from core.compress.stage import Stage, copied
from core.compress.stages import STAGES, Cluster, Prune, Quantize, stage_of
from core.errors import UserError


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(4, name="head")(x), name="small")


def samples(count: int = 4) -> list[np.ndarray]:
    return list(np.random.default_rng(1).standard_normal((count, 8, 8, 3)).astype(np.float32))


def outputs(model) -> np.ndarray:
    return np.asarray(model(np.stack(samples()), training=False))


def refused(method: str, choices: dict, *after: str) -> str:
    """Return the one sentence with which a stage refuses its choices."""
    with pytest.raises(UserError) as caught:
        stage_of({"method": method, "choices": choices, "after": list(after)})
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence[-1] in ".?…" and len(sentence) < 220, sentence
    return sentence


# --- choices ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, choices, said",
    [
        ("prun", {}, "No such method of compression: 'prun'. Did you mean 'prune'?"),
        (
            None,
            {},
            "No such method of compression: 'None'. Known: adapt, prune, cluster, quantize.",
        ),
        ("prune", {"sparsty": 0.5}, "prune: no such key: 'sparsty'. Did you mean 'sparsity'?"),
        ("prune", {"final_sparsity": 0.5}, "no such key: 'final_sparsity'"),
        ("prune", {"sparsity": 1.0}, "Pruning: final_sparsity is 1.0; give the share of zeros"),
        ("prune", {"sparsity": "75%"}, "Pruning: final_sparsity is '75%'; give a number."),
        ("prune", {"sparsity": float("nan")}, "Pruning: final_sparsity is nan; give the share"),
        ("prune", {"schedule": "polynom"}, "schedule is 'polynom'. Did you mean 'polynomial'?"),
        ("prune", {"policy": ["all"]}, "policy is '('all',)'. Known: all, pointwise."),
        ("prune", {"block": 4}, "block is (4,); give two whole numbers"),
        ("prune", {"m_by_n": [4, 2]}, "m zeros in every n weights need m below n"),
        ("prune", {"frequency": 0}, "frequency 0"),
        ("prune", {"begin_step": True}, "begin_step is True; give a whole number."),
        ("prune", {"end_step": 70}, "with frequency 100 set end_step to 100."),
        ("prune", {"initial_sparsity": 0.9}, "is above final_sparsity 0.75"),
        ("cluster", {"cluster": 4}, "cluster: no such key: 'cluster'. Did you mean 'clusters'?"),
        ("cluster", {"preserve_sparsity": True}, "no such key: 'preserve_sparsity'"),
        ("cluster", {"clusters": 1}, "takes a whole number from 2 to 1024."),
        ("cluster", {"clusters": 16.0}, "cluster: clusters is 16.0; give a whole number."),
        ("cluster", {"per_channel": "maybe"}, "per_channel is 'maybe'; give true or false."),
        ("cluster", {"initialiser": "densty"}, "Did you mean 'density'?"),
        ("quantize", {"weight_bit": 8}, "no such key: 'weight_bit'. Did you mean 'weight_bits'"),
        ("quantize", {"weight_bits": 5}, "weight_bits is 5; it must be 4 or 8."),
        ("quantize", {"weight_bits": 8.0}, "weight_bits is 8.0; give a whole number."),
        ("quantize", {"activation_bits": "16"}, "activation_bits is '16'; give a whole number."),
        ("quantize", {"per_channel": 3}, "per_channel is 3; give true or false."),
        ("quantize", {"decay": "fast"}, "quantize: decay is 'fast'; give a number."),
        ("quantize", {"decay": 1}, "Quantization: decay is 1; it must be in [0, 1)."),
        ("quantize", {"percentile": 20}, "percentile is 20; it must be above 50"),
        ("quantize", {"observer": "minmix"}, "observer is 'minmix'. Did you mean 'minmax'?"),
        ("quantize", {"exceptions": "head"}, "exceptions is 'head'; give 'name: value' entries."),
        ("quantize", {"exceptions": {"head": "int8"}}, "the exception for 'head' is 'int8'."),
        ("quantize", {"equalize": "yes"}, "equalize is 'yes'; give true or false."),
        ("quantize", {"teacher_distance": "l2"}, "teacher_distance is 'l2'"),
        ("quantize", {"freeze_norms": 60}, "freeze_norms is 60; give a share from 0 to 1."),
        ("quantize", {"freeze_ranges": True}, "freeze_ranges is True; give a number."),
    ],
)
def test_a_wrong_choice_gets_one_sentence(method, choices, said):
    assert said in refused(method, choices)


@pytest.mark.parametrize(
    "method, after, said",
    [
        ("prune", ("cluster",), "Pruning comes before clustering and quantization"),
        ("prune", ("quantize",), "Pruning comes before clustering and quantization"),
        ("cluster", ("quantize",), "Clustering comes before quantization: cluster,quantize."),
        ("quantize", ("quantize",), "is quantized already; quantize the float network instead."),
        ("quantize", ("prune", "cluster", "quantize"), "is quantized already"),
    ],
)
def test_methods_have_an_order(method, after, said):
    assert said in refused(method, {}, *after)


@pytest.mark.parametrize(
    "document, said",
    [
        ({"choices": "x2"}, "choices of prune are 'x2'; give 'key: value' lines."),
        ({"after": 255}, "prune comes after 255; give a list of methods."),
        ({"after": [["prune"]]}, "give a list of methods."),
        ({"method": ["prune"]}, "No such method of compression"),
    ],
)
def test_a_document_of_another_shape_gets_one_sentence(document, said):
    with pytest.raises(UserError, match=re.escape(said)):
        stage_of({"method": "prune", **document})


def test_later_methods_depend_on_earlier_ones():
    assert "sparsity-preserving clustering takes a whole number from 3" in refused(
        "cluster", {"clusters": 2}, "prune"
    )
    assert "equalize rescales kernels, which would undo their clusters" in refused(
        "quantize", {"equalize": True}, "prune", "cluster"
    )
    assert Quantize({"equalize": True}, ["prune"]).keep == ("zeros",)  # zeros stay zero
    for earlier, lost in ((["prune"], "zeros"), (["cluster"], "clusters")):
        said = refused("quantize", {"balance": True}, *earlier)
        assert f"balance mixes channels, which would undo the {lost} of the network" in said
    assert Quantize({}, ["prune", "cluster"]).keep == ("zeros", "clusters")
    assert Cluster({}, ["prune"]).plan.preserve_sparsity
    assert not Cluster({}).plan.preserve_sparsity


def test_choices_as_a_config_file_holds_them():
    assert tuple(STAGES) == METHODS
    plan = Prune({"block": [1, 4], "sparsity": 0.5, "policy": "pointwise"}).plan(40)
    assert (plan.block, plan.final_sparsity, plan.settles_at) == ((1, 4), 0.5, 30)
    assert Prune({"m_by_n": [2, 4]}).plan(40).m_by_n == (2, 4)
    assert Prune({"end_step": 20, "frequency": 5}).plan(40).end_step == 20
    assert Quantize({"decay": 0, "freeze_norms": 1}).scheme.decay == 0  # whole numbers are numbers


# --- on a network -----------------------------------------------------------------------------


def test_a_plain_stage_changes_nothing():
    model, stage = network(), Stage({})
    copy = stage.prepare(model, samples())
    assert copy is not model and stage.finish(copy) is copy and stage.settled
    assert stage.callbacks(copy, epochs=1, steps=1) == stage.variables == []
    np.testing.assert_array_equal(outputs(copy), outputs(model))


def test_no_stage_changes_the_network_it_is_given():
    model = network()
    before = outputs(model)
    for stage in (Prune({}), Cluster({"clusters": 4}), Quantize({"equalize": True}),
                  Quantize({"balance": True})):  # fmt: skip
        made = stage.prepare(model, samples())
        for variable in made.trainable_variables:
            variable.assign(variable + 1)
        np.testing.assert_array_equal(outputs(model), before)


def test_prune_settles_when_its_schedule_ends():
    stage = Prune({"sparsity": 0.5})
    model = stage.prepare(network(), samples())
    (pruner,) = stage.callbacks(model, epochs=2, steps=4)
    settled = []
    for _ in range(8):
        pruner.before_step()
        settled.append(stage.settled)
    assert settled == [False] * 5 + [True] * 3
    assert [variable.name.split(":")[0] for variable in stage.variables] == [
        "pruning_step", "pruning_mask", "pruning_mask",
    ]  # fmt: skip
    assert stage.finish(model) is model
    assert (model.get_layer("conv").kernel.numpy() == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_a_schedule_longer_than_the_training_is_refused():
    stage = Prune({"end_step": 100, "frequency": 10})
    with pytest.raises(UserError, match=r"ends at step 100, after the training does \(step 8\)"):
        stage.callbacks(network(), epochs=2, steps=4)


def test_cluster_finishes_with_plain_layers():
    stage = Cluster({"clusters": 4})
    model = stage.prepare(network(), samples())
    assert any(isinstance(layer, ClusteredKernel) for layer in model.layers)
    finished = stage.finish(model)
    assert [type(layer) for layer in finished.layers] == [type(x) for x in network().layers]
    assert np.unique(finished.get_layer("conv").kernel).size <= 4
    np.testing.assert_array_equal(outputs(finished), outputs(model))


@pytest.mark.parametrize(
    "stage",
    [Cluster({"clusters": 40}, ["prune"]), Quantize({"exceptions": {"head": "float"}}, ["prune"])],
)
def test_zeros_stay_in_kernels_that_a_later_stage_leaves_alone(stage):
    """The head is too small for so many clusters, or stays in float."""
    model = network()
    zeros = {}
    for name in ("conv", "head"):
        kernel = model.get_layer(name).kernel
        kernel.assign(kernel * (np.random.default_rng(2).random(kernel.shape) < 0.4))
        zeros[name] = kernel.numpy() == 0
    trained = stage.prepare(model, samples())
    trained.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    callbacks = stage.callbacks(trained, epochs=2, steps=2)
    trained.fit(np.stack(samples()), np.ones((4, 4)), 2, 2, verbose=0, callbacks=callbacks)
    layer = stage.finish(trained).get_layer("head")
    assert type(layer) is layers.Dense
    kernel = layer.kernel.numpy()
    assert not kernel[zeros["head"]].any() and kernel.all(where=~zeros["head"])


def test_quantize_is_calibrated_and_freezes_in_its_last_epochs():
    stage = Quantize({})
    model = stage.prepare(network(), samples())
    assert is_quantized(model)
    low, high = (float(v) for v in model.get_layer("image.range").weights[:2])
    seen = np.stack(samples())
    assert low == pytest.approx(seen.min()) and high == pytest.approx(seen.max())
    norms, ranges = stage.callbacks(model, epochs=10, steps=3)
    assert (norms.epoch, ranges.epoch) == (6, 8)
    frozen = []
    for epoch in range(10):
        for callback in (norms, ranges):
            callback.set_model(model)
            callback.on_epoch_begin(epoch)
        frozen.append(_frozen(model))
    assert frozen == [(0, 0)] * 6 + [(1, 0)] * 2 + [(1, 1)] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [{"observer": "percentile"}, {"observer": "minmax"}, {"activation_bits": 16},
     {"weight_bits": 4}, {"per_channel": False, "equalize": True},
     {"exceptions": {"Conv2D": "float"}}],
)  # fmt: skip
def test_every_kind_of_quantization_trains(choices):
    stage = Quantize(choices)
    model = stage.prepare(network(), samples())
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    callbacks = stage.callbacks(model, epochs=3, steps=1)
    target = np.ones((4, 4))
    losses = model.fit(np.stack(samples()), target, 4, 3, verbose=0, callbacks=callbacks).history
    assert losses["loss"][2] < losses["loss"][0]


def _frozen(model) -> tuple[int, int]:
    """Return whether all normalisations, and whether all ranges, are frozen."""
    kernels = [layer for layer in model.layers if isinstance(layer, QuantizedKernel)]
    ranges = [layer.frozen for layer in model.layers if isinstance(layer, ActivationQuantizer)]
    norms = [int(layer.norm_frozen) for layer in kernels if layer.norm is not None]
    both = [int(variable) for variable in [*ranges, *(x.ranges_frozen for x in kernels)]]
    assert norms and both
    return min(norms), min(both)


def test_what_does_not_fit_a_network_is_found_before_any_training():
    for stage, said in (
        (Prune({"policy": "pointwise"}), "has no stride-1 1×1 convolutions to prune"),
        (Prune({"block": [1, 4]}), r"conv \(Conv2D\): its kernel .* cannot be pruned in blocks"),
        (Cluster({"clusters": 300}), "small: has no kernel to cluster"),
        (Quantize({"exceptions": {"hed": "float"}}), "no layer is called 'hed'. Did you mean 'he"),
    ):
        with pytest.raises(UserError, match=said):
            stage.check(network())
    for stage in (Prune({}), Cluster({"clusters": 4}), Quantize({})):
        stage.check(network())


def maps() -> keras.Model:
    """Return a network from image to image, as low-rank adaptation is for."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    return keras.Model(image, layers.Conv2D(3, 3, padding="same", name="last")(x), name="maps")


def test_adaptation_trains_only_updates_and_ends_as_the_same_plain_network():
    stage, model = stage_of({"method": "adapt", "choices": {"ranks": {"s*": 1, "last": 2}}}), maps()
    prepared = stage.prepare(model, samples())
    np.testing.assert_allclose(outputs(prepared), outputs(model), atol=1e-6)
    trained = stage.fitted(prepared)
    trained.compile(keras.optimizers.Adam(1e-2), loss="mae")
    x = np.stack(samples())
    trained.fit(x, np.zeros((4, 8, 8, 3), np.float32), epochs=3, verbose=0)
    finished = stage.finish(prepared)
    assert [type(layer).__name__ for layer in finished.layers[1:]] == ["Conv2D"] * 3
    np.testing.assert_allclose(outputs(finished), outputs(prepared), atol=1e-6)
    moved = {
        layer.name: not np.array_equal(layer.kernel, model.get_layer(layer.name).kernel)
        for layer in finished.layers[1:]
    }
    assert moved == {"first": False, "second": True, "last": True}
    np.testing.assert_array_equal(finished.get_layer("last").bias, model.get_layer("last").bias)


@pytest.mark.parametrize(
    "choices, after, said",
    [
        ({"ranks": {"x": 0}}, (), "adapt: the rank of 'x' is 0; give a whole number."),
        ({"rounds": 0}, (), "adapt: rounds is 0; it must be 1 or more."),
        ({"affinity_weight": -1.0}, (), "adapt: affinity_weight is -1.0; it must be 0 or more."),
        ({"features": "conv"}, (), "adapt: features is 'conv'; give a list of names."),
        ({"teacher": 7}, (), "adapt: teacher is 7; give the folder of a run."),
        ({"teacher": ""}, (), "adapt: teacher is ''; give the folder of a run."),
        ({"teacher_features": ["conv"]}, (),
         "adapt: teacher_features are of another network; give its run: teacher."),
        ({"teacher_weight": 0, "affinity_weight": 0.0}, (),
         "adapt: teacher_weight and affinity_weight are 0; raise one of them."),
        ({}, ("prune",), "Adaptation comes before all other methods: adapt,quantize."),
    ],
)  # fmt: skip
def test_wrong_choices_of_adaptation_are_named(choices, after, said):
    assert refused("adapt", choices, *after) == said


def test_adaptation_of_a_layer_that_is_not_there_is_found_before_training():
    with pytest.raises(UserError, match=r"no convolution is called 'frist'\. Did you mean 'first'"):
        stage_of({"method": "adapt", "choices": {"ranks": {"frist": 2}}}).check(maps())


def test_adaptation_under_another_network_follows_it_and_leaves_it_alone():
    student, teacher = maps(), maps()
    for variable in teacher.variables:
        variable.assign(variable * 1.5)
    before = outputs(teacher)
    choices = {"teacher": "a run", "task_weight": 0.0, "affinity_weight": 0.0}
    stage = stage_of({"method": "adapt", "choices": choices})
    stage.learn_from(teacher)
    stage.check(student)
    prepared = stage.prepare(student, samples())
    trained = stage.fitted(prepared)
    trained.compile(keras.optimizers.Adam(1e-2), loss="mae")
    first, *_, last = trained.fit(np.stack(samples()), epochs=8, verbose=0).history["loss"]
    assert last < 0.8 * first
    np.testing.assert_array_equal(outputs(teacher), before)
    assert not {id(v) for v in teacher.variables} & {id(v) for v in trained.variables}


def test_a_copy_has_equal_outputs_and_nothing_in_common():
    model = network()
    model.compile("sgd", loss=lambda truth, output: keras.ops.mean(output))  # of one's own
    copy = copied(model)
    np.testing.assert_array_equal(outputs(copy), outputs(model))
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert [v.path for v in copy.variables] == [v.path for v in model.variables]
