"""Synthetic cameras: where they hang, what their colours look like, and one picture of a person.

What makes re-identification hard is drawn here: another view of the same clothes, colour casts,
dim or glaring light, boxes that cut a person off, poles, bushes and other people in the way, few
pixels, blur, noise and compression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apps.person_reid.pedestrians.brushes import Canvas, triple
from apps.person_reid.pedestrians.figures import draw
from apps.person_reid.pedestrians.people import Person, draw_person
from apps.person_reid.pedestrians.scenes import SCENES, Scene, clouds, paint_scene
from apps.person_reid.pedestrians.skeleton import Pose

_DRAWN = 256  # rows in which small pictures are drawn before a camera makes them coarse
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True)
class Camera:
    """A camera on its post.

    Attributes:
        scene: One of `apps.person_reid.pedestrians.scenes.SCENES`.
        gains: Factors of red, green and blue: the light's colour and a white balance gone wrong.
        saturation, contrast, gamma: Of the camera's colours; 1 leaves them.
        exposure: Factor of the brightness.
        pitch: Angle by which it looks down, radians.
        heading: Direction of the way through its view, radians; people go one way or the other.
        light: Direction to the light, of length 1: right, down, towards the camera.
        ambient: Share of the light that comes from everywhere.
        detail: Rows it resolves of a picture's rows, 0..1.
        noise: Standard deviation of its noise, of 0..1.
        quality: JPEG quality of its video.
    """

    scene: str
    gains: tuple[float, float, float]
    saturation: float
    contrast: float
    gamma: float
    exposure: float
    pitch: float
    heading: float
    light: tuple[float, float, float]
    ambient: float
    detail: float
    noise: float
    quality: int


def draw_cameras(count: int, rng: np.random.Generator) -> list[Camera]:
    """Return cameras drawn at random; the first six look at different kinds of places."""
    kinds = rng.permutation(SCENES)
    return [_camera(str(kinds[i % len(kinds)]), rng) for i in range(count)]


def _camera(scene: str, rng: np.random.Generator) -> Camera:
    warm, green = rng.normal(0, 0.11), rng.normal(0, 0.045)
    gains = np.exp([warm, green, -warm])
    gains /= gains @ _LUMA
    slope = rng.uniform(-0.7, 0.7)
    light = np.array((slope, -0.65, 0.75))
    return Camera(
        scene,
        triple(gains),
        saturation=float(rng.uniform(0.55, 1.1)),
        contrast=float(rng.uniform(0.75, 1.15)),
        gamma=float(rng.uniform(0.75, 1.3)),
        exposure=float(rng.uniform(0.8, 1.2)),
        pitch=float(rng.uniform(0.08, 0.4)),
        heading=float(rng.uniform(0, 2 * np.pi)),
        light=triple(light / np.linalg.norm(light)),
        ambient=float(rng.uniform(0.4, 0.75)),
        detail=float(rng.uniform(0.42, 1.0)),
        noise=float(rng.uniform(0.004, 0.02)),
        quality=int(rng.integers(50, 90)),
    )


@dataclass(frozen=True)
class Passage:
    """One walk of a person through a camera's view, of which several pictures are taken.

    Attributes:
        turn: Direction they walk in, as in `Pose`.
        stride, arms: As in `Pose`.
        place: Where in the scene they are, across and away, 0..1.
    """

    turn: float
    stride: float
    arms: str
    place: tuple[float, float]


def draw_passage(camera: Camera, rng: np.random.Generator) -> Passage:
    """Return a walk: mostly along the camera's way, one way or the other."""
    turn = float(camera.heading + np.pi * rng.integers(2) + rng.normal(0, 0.3))
    if rng.random() < 0.15:
        turn = rng.uniform(0, 2 * np.pi)
    return Passage(
        turn,
        float(rng.uniform(0.12, 0.42)),
        str(rng.choice(("swing", "phone", "pockets"), p=(0.78, 0.12, 0.1))),
        (float(rng.random()), float(rng.random())),
    )


def scene_of(camera: Camera, rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Return the place a camera looks at, in the scale in which `photograph` draws."""
    return paint_scene(camera.scene, rng, 0.93 * _drawn_size(size)[0])


def photograph(
    person: Person | None,
    camera: Camera,
    scene: Scene,
    passage: Passage,
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    misplaced: bool = False,
) -> np.ndarray:
    """Return the crop that a person detector would cut out of the camera's video.

    Args:
        person: Who walks there; None for a false alarm of the detector.
        camera: Takes the picture.
        scene: Where it looks (`scene_of` with the same size).
        passage: How they walk.
        rng: Draws what is particular to this picture.
        size: Height and width in pixels.
        misplaced: Cut out a box that misses most of the person.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    drawn = _drawn_size(size)
    tall = drawn[0] * float(np.clip(rng.normal(0.93, 0.035), 0.8, 1.03))
    top = drawn[0] * float(rng.normal(0.03, 0.02)) + 0.5 * (0.93 * drawn[0] - tall)
    centre = drawn[1] * float(rng.normal(0.5, 0.045))
    if misplaced:
        tall *= rng.uniform(1.2, 2.0)
        top -= tall * rng.uniform(-0.25, 0.5)
        centre += drawn[1] * rng.choice((-1, 1)) * rng.uniform(0.3, 0.7)
    picture = _background(scene, passage, rng, drawn, top + tall)
    where = {"size": drawn, "scale": tall}
    if rng.random() < 0.15:  # somebody farther away
        aside = centre + rng.choice((-1, 1)) * rng.uniform(0.18, 0.4) * tall
        far = {"size": drawn, "scale": tall * 0.88, "top": top + 0.03 * tall, "centre": aside}
        _stand(picture, draw_person(rng), camera, draw_passage(camera, rng), rng, **far)
    if person is not None:
        _stand(picture, person, camera, passage, rng, top=top, centre=centre, **where)
    if rng.random() < 0.2:
        _hide(picture, camera, rng, top, centre, tall)
    light = 1 + 0.13 * clouds(rng, drawn, 0.5 * drawn[0]) * rng.random()
    if rng.random() < 0.2:  # the shadow of a house or a tree falls across
        edge = rng.uniform(0.1, 0.9) * drawn[0]
        rows = np.arange(drawn[0], dtype=np.float32)[:, None]
        light = light * (1 - 0.4 / (1 + np.exp((rows - edge) * rng.choice((-1, 1)) / 6)))
    picture *= (light * np.exp(rng.normal(0, 0.12)))[..., None]
    return _developed(picture, camera, rng, size)


def _drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = max(1.0, _DRAWN / size[0])
    return round(size[0] * factor), round(size[1] * factor)


def _background(scene: Scene, passage: Passage, rng, drawn, feet: float) -> np.ndarray:
    """Return the part of a scene behind somebody whose feet are in row `feet`, a copy."""
    import cv2

    zoom = float(rng.uniform(0.8, 1.25))
    height, width = scene.picture.shape[:2]
    rows, columns = min(height, round(drawn[0] * zoom)), min(width, round(drawn[1] * zoom))
    across, away = np.clip(np.add(passage.place, rng.normal(0, 0.03, 2)), 0, 1)
    nearest = scene.ground + 0.06 * height
    standing = nearest + away * (height - nearest)
    top = int(np.clip(standing - feet * zoom, 0, height - rows))
    left = int(across * (width - columns))
    part = scene.picture[top : top + rows, left : left + columns]
    return cv2.resize(part, drawn[::-1], interpolation=cv2.INTER_LINEAR)


def _stand(picture, person, camera, passage, rng, *, size, scale, top, centre) -> None:
    """Put a person and their shadow into a picture."""
    folds = 1 + 0.07 * clouds(rng, size, 0.045 * scale)
    canvas = Canvas(
        size,
        top=top,
        centre=centre,
        scale=scale,
        light=camera.light,
        ambient=camera.ambient,
        folds=folds,
    )
    turn = passage.turn + rng.normal(0, 0.15)
    pose = Pose(turn, float(rng.uniform(0, 2 * np.pi)), passage.stride, passage.arms, camera.pitch)
    draw(canvas, person, pose)
    slant = -camera.light[0] * 0.22 * scale
    y = (np.arange(size[0], dtype=np.float32)[:, None] - top - 0.99 * scale) / (0.045 * scale)
    x = (np.arange(size[1], dtype=np.float32)[None] - centre - slant) / (0.2 * scale)
    picture *= (1 - 0.75 * (1 - camera.ambient) * np.exp(-x * x - y * y))[..., None]
    picture *= 1 - canvas.alpha[..., None]
    picture += canvas.rgb


def _hide(picture, camera: Camera, rng, top: float, centre: float, tall: float) -> None:
    """Put something before the person: a pole, a bush, a low wall or somebody else."""
    height, width = picture.shape[:2]
    kind = rng.choice(("pole", "bush", "barrier", "person"), p=(0.25, 0.2, 0.2, 0.35))
    if kind == "pole":
        wide = round(rng.uniform(0.04, 0.11) * tall)
        left = round(centre + rng.uniform(-0.22, 0.18) * tall)
        columns = np.arange(width, dtype=np.float32) - left
        inside = (columns >= 0) & (columns < wide)
        shade = 1.15 - 0.45 * columns[inside] / wide
        picture[:, inside] = rng.uniform(0.2, 0.6) * shade[:, None]
    elif kind == "bush":
        leaves = clouds(rng, (height, width), 0.06 * tall) + 0.7 * clouds(rng, (height, width), 3)
        rows = (np.arange(height, dtype=np.float32)[:, None] - top) / tall
        inside = rows + 0.045 * leaves > rng.uniform(0.6, 0.8)
        green = np.array((0.2, 0.31, 0.13)) * rng.uniform(0.8, 1.4)
        picture[inside] = green * np.clip(1 + 0.3 * leaves[inside][:, None], 0.3, 2)
    elif kind == "barrier":
        low = max(0, round(top + rng.uniform(0.62, 0.82) * tall))
        picture[low:] = rng.uniform(0.15, 0.75, 3) * 0.5 + rng.uniform(0.1, 0.3)
        picture[low : low + 3] *= 1.25
    else:
        aside = centre + rng.choice((-1, 1)) * rng.uniform(0.24, 0.4) * tall
        _stand(
            picture,
            draw_person(rng),
            camera,
            draw_passage(camera, rng),
            rng,
            size=(height, width),
            scale=tall * 1.08,
            top=top,
            centre=aside,
        )


def _developed(picture: np.ndarray, camera: Camera, rng, size: tuple[int, int]) -> np.ndarray:
    """Return what the camera makes of the light: its colours, resolution, noise and compression."""
    import cv2

    share = camera.detail * rng.uniform(0.85, 1.1)
    rows = int(np.clip(round(size[0] * share), 24, size[0]))
    columns = max(12, round(rows * size[1] / size[0]))
    small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.35:  # motion
        small = cv2.blur(small, (int(rng.integers(2, 4)), 1))
    grey = (small @ _LUMA)[..., None]
    small = grey + camera.saturation * (small - grey)
    small = small * (camera.exposure * np.asarray(camera.gains, np.float32))
    small = 0.5 + camera.contrast * (np.clip(small, 0, 1.2) - 0.5)
    small = np.clip(small, 0, 1) ** camera.gamma
    small = small + camera.noise * rng.standard_normal(small.shape, np.float32)
    pixels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    if rows < size[0] or camera.quality < 75:
        _, packed = cv2.imencode(
            ".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, camera.quality]
        )
        unpacked = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        if unpacked is None:
            raise RuntimeError("OpenCV does not read the JPEG that it wrote")
        pixels = unpacked[..., ::-1]
    if (rows, columns) != size:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return pixels
