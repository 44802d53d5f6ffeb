"""Barlow Twins: the published loss, a training that does not collapse, files and precision."""

from pathlib import Path

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from core.training.barlow_twins import BarlowTwins, barlow_twins_loss, cross_correlation

LOSS = golden_files.GOLDEN / "barlow-swin__loss.npz"


def small_encoder(norm: bool = True) -> keras.Model:
    image = x = keras.Input((12, 12, 3))
    for width in (8, 16):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=not norm)(x)
        x = keras.layers.BatchNormalization()(x) if norm else x
        x = keras.layers.ReLU()(x)
    return keras.Model(image, x, name="encoder")


def textures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of random gratings: other phases, brightness and noise."""
    rng = np.random.default_rng(0)
    waves = rng.uniform(0.5, 3.0, (2, count, 1, 1)) * rng.choice([-1, 1], (2, count, 1, 1))
    color = rng.uniform(0.3, 1.0, (count, 1, 1, 3))
    rows, columns = np.mgrid[:12, :12] / 4.0

    def view() -> np.ndarray:
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        grating = np.sin(waves[0] * rows + waves[1] * columns + phase)[..., None]
        seen = grating * color * rng.uniform(0.7, 1.3, (count, 1, 1, 1))
        return (seen + 0.1 * rng.standard_normal(seen.shape)).astype(np.float32)

    return view(), view()


def twins(encoder: keras.Model | None = None, *, eagerly=False, **options) -> BarlowTwins:
    keras.utils.set_random_seed(0)
    model = BarlowTwins(encoder or small_encoder(), (32, 32), **options)
    model.compile(keras.optimizers.Adam(3e-3), run_eagerly=eagerly)
    return model


def test_the_published_loss_and_its_gradient():
    with np.load(LOSS) as golden:
        first, second = tf.Variable(golden["z_a"]), golden["z_b"]
        with tf.GradientTape() as tape:
            loss = barlow_twins_loss(first, second)
        np.testing.assert_allclose(loss, golden["loss"], rtol=1e-6)
        correlation = cross_correlation(first, second)
        np.testing.assert_allclose(correlation, golden["cross_correlation"], atol=1e-6)
        gradient = np.asarray(tape.gradient(loss, first))
        np.testing.assert_allclose(gradient, golden["grad_z_a"], atol=1e-6)


@pytest.mark.slow
def test_training_on_textures_lowers_the_loss_and_does_not_collapse():
    model, (first, second) = twins(), textures(256)
    history = model.fit(first, second, batch_size=64, epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["on_diagonal"][-1] > 0.8 > history["on_diagonal"][0]
    assert history["spread"][-1] > 0.5
    seen = model.evaluate(first, second, verbose=0, return_dict=True)
    assert set(seen) == {"loss", "on_diagonal", "off_diagonal", "spread"}
    views = [model.encoder.predict(view, verbose=0).mean(axis=(1, 2)) for view in (first, second)]
    own = np.linalg.norm(views[0] - views[1], axis=1).mean()
    others = np.linalg.norm(views[0] - np.roll(views[1], 1, axis=0), axis=1).mean()
    assert own < 0.7 * others  # the encoder itself came to know what two views share


def test_a_collapse_is_seen():
    """An encoder that gives every image the same: no spread, a loss of D, and no NaN."""
    encoder = small_encoder(norm=False)
    for weight in encoder.weights:
        weight.assign(tf.zeros_like(weight.value))
    model = twins(encoder)
    seen = model.evaluate(*textures(16), verbose=0, return_dict=True)
    assert seen["spread"] < 1e-3 and seen["on_diagonal"] == 0.0
    np.testing.assert_allclose(seen["loss"], 32.0, rtol=1e-5)


def test_both_views_give_a_gradient_and_batch_statistics():
    """Swapped views give the same loss and gradients, and both move the statistics."""
    model, views = twins(), textures(16)
    found = []
    for first, second in (views, views[::-1]):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(first, second, model(first, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        found.append((loss, gradients))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for a, b in zip(*(gradients for _, gradients in found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    # Four passes: the mean moved by 1 - 0.99⁴ of the way.
    norm = model.encoder.layers[2]
    inputs = keras.Model(model.encoder.input, norm.input)(np.concatenate(views))
    expected = (1 - 0.99**4) * np.asarray(inputs).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=0.02, atol=1e-5)


@pytest.mark.slow
def test_a_saved_training_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    first, second = textures(32)
    uninterrupted, model = (twins(eagerly=True, off_diagonal=0.01) for _ in range(2))
    for part in (uninterrupted, model):
        part.fit(first, second, batch_size=16, verbose=0, shuffle=False)
    model.save(tmp_path / "training.keras")
    resumed = keras.models.load_model(tmp_path / "training.keras")
    assert isinstance(resumed, BarlowTwins)
    assert (resumed.widths, resumed.off_diagonal, resumed.name) == ((32, 32), 0.01, model.name)
    for part in (uninterrupted, resumed):
        part.fit(first, second, batch_size=16, verbose=0, shuffle=False)
    for a, b in zip(uninterrupted.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_data_sets_give_pairs_of_views():
    views = tf.data.Dataset.from_tensor_slices(textures(16)).batch(8)
    assert np.isfinite(twins().fit(views, verbose=0).history["loss"][0])


@pytest.mark.slow
def test_the_encoder_is_trained_in_place_and_shares_its_weights():
    encoder = small_encoder()
    before = [weight.numpy().copy() for weight in encoder.trainable_weights]
    model = twins(encoder)
    model.fit(*textures(16), verbose=0)
    assert model.encoder is encoder
    assert model.variables[: len(encoder.variables)] == encoder.variables
    for weight, start in zip(encoder.trainable_weights, before, strict=True):
        assert not np.array_equal(weight, start)


@pytest.mark.slow
def test_half_precision_trains():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = twins()
    finally:
        keras.config.set_dtype_policy("float32")
    history = model.fit(*textures(64), batch_size=32, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
    assert model(textures(2)[0]).dtype == tf.float16
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_layers_own_losses_count():
    image = keras.Input((4,))
    regularised = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(1.0))(image)
    model = twins(keras.Model(image, regularised))
    views = np.random.default_rng(0).standard_normal((2, 8, 4)).astype(np.float32)
    plain = barlow_twins_loss(*(model(view, training=False) for view in views))
    total = model.compute_loss(*views, model(views[0], training=False), training=False)
    kernel = model.encoder.layers[-1].kernel
    np.testing.assert_allclose(total - plain, tf.reduce_sum(kernel**2), rtol=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: BarlowTwins(small_encoder(), ()), "projector"),
        (lambda: BarlowTwins(small_encoder(), (8, 0)), r"\(8, 0\)"),
        (lambda: BarlowTwins(small_encoder(), off_diagonal=-1.0), "off_diagonal=-1.0"),
        (lambda: BarlowTwins(keras.layers.Dense(3)), "encoder"),
        (lambda: twins().compute_loss(textures(4)[0], None, np.zeros((4, 32))), "two views"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
