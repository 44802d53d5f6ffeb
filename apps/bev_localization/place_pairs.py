"""REIN's encoder trained on pairs of scans of one place, before NetVLAD and its triplets.

Nobody's published recipe. BEVPlace++ starts from ResNet-34 of ImageNet; where those weights are not
at hand, or images are no photographs, this is where features of corners and places come from
instead. Poses tell which pixels of two scans show the same spot. A spot's local feature shall be
nearer to that of the same spot in the other scan than to those of other spots, and the mean feature
of a scan nearer to its partner's than to those of other places: both are cross entropies of cosines
over a temperature (InfoNCE: A. van den Oord, Y. Li, O. Vinyals, 2018, arXiv:1807.03748; for spots
as in SuperGlue's kind of matching, one image's against the other's and the other way round).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.bev_localization.mining import NEGATIVE

SPOTS = 48  # keypoints of a scan that are compared
TURN = 1024.0  # metres: positions are told modulo this, so that float32 holds them
APART = 3.0  # metres: nearer keypoints may show the same corner and are not told apart
HEAD = 2  # rows of a target before its keypoints
TEMPERATURE, PLACES = 0.1, 0.5
_BORDER = 2  # pixels within which features see more of the border than of the place
_NEVER = -1e4  # the logit of what is not compared
_SMALLEST = 1e-12


def target_of(
    middle: np.ndarray, heading: float, pixels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return what the loss must know of an image.

    Args:
        middle: Metres (2,), x and y in the world of the middle of the image's central pixel.
        heading: Radians from the world's x axis to the image's upward direction.
        pixels: (N, 2), column and row of keypoints.
        rng: Draws `SPOTS` of them.

    Returns:
        float32 (2 + `SPOTS`, 2): the middle modulo `TURN`, cosine and sine of the heading, and
        keypoints, (-1, -1) where there are fewer.
    """
    target = np.full((HEAD + SPOTS, 2), -1.0, np.float32)
    target[0] = np.asarray(middle, np.float64) % TURN
    target[1] = np.cos(heading), np.sin(heading)
    chosen = pixels[rng.permutation(len(pixels))[:SPOTS]]
    target[HEAD : HEAD + len(chosen)] = chosen
    return target


def features_at(small_map, pixels, side: int):
    """Return bilinear features of pixels, of unit length, (N, P, C).

    The network's own are bicubic (`apps.bev_localization.pose.features`); between the two lies less
    than between two neighbouring pixels.

    Args:
        small_map: float32 (N, h, h, C).
        pixels: float32 (N, P, 2), column and row in an image of `side` x `side`; beyond its border
            the border's.
        side: Of the image.
    """
    cells = small_map.shape[1]
    where = tf.clip_by_value(pixels, 0.0, side - 1.0) / (side - 1) * (cells - 1)
    low = tf.minimum(tf.floor(where), cells - 2.0)
    share, first = where - low, tf.cast(low, tf.int32)

    def at(right: int, down: int):
        places = tf.stack([first[..., 1] + down, first[..., 0] + right], axis=-1)
        return tf.gather_nd(small_map, places, batch_dims=1)

    across, along = share[..., :1], share[..., 1:]
    upper = at(0, 0) * (1 - across) + at(1, 0) * across
    lower = at(0, 1) * (1 - across) + at(1, 1) * across
    return tf.math.l2_normalize(upper * (1 - along) + lower * along, -1, _SMALLEST)


def seen_by_partner(targets, resolution: float, side: int):
    """Return where the first scan's keypoints of every pair lie in both images.

    Args:
        targets: float32 (2B, 2 + P, 2), of `target_of`; pairs one after the other.
        resolution: Metres of a pixel.
        side: Of the images.

    Returns:
        Pixels (B, P, 2) in the first and in the second image, whether both show them, (B, P), and
        their places seen from the second image's middle, (B, P, 2) in metres.
    """
    centre = float(side // 2)
    first, second = targets[0::2], targets[1::2]
    pixels = first[:, HEAD:]
    forward, left = centre - pixels[..., 1], centre - pixels[..., 0]
    own = tf.stack([forward, left], axis=-1) * resolution

    def turned(points, target, sign: float):
        cosine, sine = target[:, 1:2, 0], sign * target[:, 1:2, 1]
        x, y = points[..., 0], points[..., 1]
        return tf.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)

    moved = _wrapped(first[:, 0] - second[:, 0])[:, None]
    places = turned(turned(own, first, 1.0) + moved, second, -1.0)
    there = tf.stack(
        [centre - places[..., 1] / resolution, centre - places[..., 0] / resolution], -1
    )

    def shown(where):
        return tf.reduce_all((where >= _BORDER) & (where <= side - 1.0 - _BORDER), axis=-1)

    return pixels, there, shown(pixels) & shown(there), places


def _wrapped(metres):
    return tf.math.floormod(metres + TURN / 2, TURN) - TURN / 2


def spots_loss(first, second, shown, places, temperature: float):
    """Return the loss of local features, and the share of spots that find their own.

    Args:
        first, second: float32 (B, P, C), features of the same spots in both scans of a pair.
        shown: bool (B, P), which of them are spots.
        places: Metres (B, P, 2); spots of a pair nearer than `APART` are not told apart.
        temperature: Of the cosines.
    """
    count = tf.shape(first)[1]
    apart = tf.norm(places[:, :, None] - places[:, None], axis=-1)
    other = (apart > APART) & shown[:, None] & shown[:, :, None]
    compared = other | tf.eye(count, dtype=tf.bool)
    logits = tf.matmul(first, second, transpose_b=True) / temperature
    logits = tf.where(compared, logits, _NEVER)
    # Spots of another pair beside: all its own may lie along one wall.
    strange = tf.matmul(first, tf.roll(second, 1, axis=0), transpose_b=True) / temperature
    strange = tf.where(tf.roll(shown, 1, axis=0)[:, None], strange, _NEVER)
    labels = tf.broadcast_to(tf.range(count), tf.shape(shown))
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    there = entropy(labels=labels, logits=tf.concat([logits, strange], axis=-1))
    back = entropy(labels=labels, logits=tf.transpose(logits, (0, 2, 1)))
    weights = tf.cast(shown, tf.float32)
    total = tf.maximum(tf.reduce_sum(weights), 1.0)
    right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
    return (
        tf.reduce_sum((there + back) / 2 * weights) / total,
        tf.reduce_sum(right * weights) / total,
    )


def places_loss(descriptors, middles, temperature: float):
    """Return the loss of mean features, and the share of scans whose partner is the most alike.

    Args:
        descriptors: float32 (2B, C), of unit length; pairs one after the other.
        middles: Metres (2B, 2) modulo `TURN`; scans nearer than 7 m that are no pair are not
            compared.
        temperature: Of the cosines.
    """
    numbers = tf.range(tf.shape(descriptors)[0])
    partner = tf.bitwise.bitwise_xor(numbers, 1)
    apart = tf.norm(_wrapped(middles[:, None] - middles[None]), axis=-1)
    compared = (apart > NEGATIVE) | tf.equal(numbers[None], partner[:, None])
    logits = tf.matmul(descriptors, descriptors, transpose_b=True) / temperature
    logits = tf.where(compared, logits, _NEVER)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), partner), tf.float32)
    return tf.reduce_mean(loss), tf.reduce_mean(right)


@keras.saving.register_keras_serializable("gossamer")
class PlacePairs(keras.Model):
    """Trains an encoder so that the same spots, and the same places, look alike.

    `fit(images, targets)` takes pairs one after the other, targets of `target_of`. `compile` needs
    an optimiser only. A call returns the encoder's map. Logged beside `loss`: `spot_recall`, the
    share of spots that find their own in the other scan, and `place_recall`, the share of scans
    whose partner is the most alike of the batch.

    Args:
        encoder: From images (N, n, n, C) to maps (N, h, h, D), as REIN's for one rotation.
        resolution: Metres of a pixel.
        temperature: Of the cosines.
        places: Weight of the places' loss beside the spots'.
        name: Of the Keras model.
    """

    def __init__(
        self,
        encoder: keras.Model,
        resolution: float,
        *,
        temperature: float = TEMPERATURE,
        places: float = PLACES,
        name: str = "place_pairs",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        if not temperature > 0 or places < 0:
            raise ValueError(
                "`temperature` must be above 0 and `places` not below. "
                f"Received: temperature={temperature}, places={places}"
            )
        self.encoder, self.resolution = encoder, float(resolution)
        self.temperature, self.places = float(temperature), float(places)
        self.trackers = [keras.metrics.Mean(name=name) for name in ("spot_recall", "place_recall")]
        self.built = True

    @property
    def inputs(self) -> list:
        """The encoder's symbolic inputs."""
        return self.encoder.inputs

    @property
    def outputs(self) -> list:
        """The encoder's symbolic output."""
        return self.encoder.outputs

    @property
    def output_names(self) -> list[str]:
        """Names by which `compile` may list losses and metrics."""
        return self.encoder.output_names

    def call(self, inputs, training=None):
        """Return the maps (N, h, h, D) of images."""
        return self.encoder(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a batch of pairs and update the metrics.

        Args:
            x: Images (2B, n, n, C).
            y: Their targets.
            y_pred: Their maps.
            sample_weight: Has no meaning here.
            training: Has none either.
        """
        if y is None:
            raise ValueError("`fit` must be given targets: where scans and keypoints are.")
        maps, side = tf.cast(y_pred, tf.float32), self.encoder.inputs[0].shape[1]
        here, there, shown, places = seen_by_partner(y, self.resolution, side)
        spots, matched = spots_loss(
            features_at(maps[0::2], here, side),
            features_at(maps[1::2], there, side),
            shown,
            places,
            self.temperature,
        )
        means = tf.math.l2_normalize(tf.reduce_mean(maps, axis=(1, 2)), -1, _SMALLEST)
        alike, paired = places_loss(means, y[:, 0], self.temperature)
        pairs = tf.shape(shown)[0]
        for tracker, value in zip(self.trackers, (matched, paired), strict=True):
            tracker.update_state(value, sample_weight=pairs)
        own = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in self.losses]
        return tf.add_n([spots + self.places * alike, *own])

    def get_config(self) -> dict[str, Any]:
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "resolution": self.resolution,
            "temperature": self.temperature,
            "places": self.places,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**{**config, "encoder": encoder})
