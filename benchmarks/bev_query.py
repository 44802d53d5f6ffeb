"""Where does the time of one localization go: image, network, search among 10,000 places, pose?

    .venv/bin/python benchmarks/bev_query.py --work WORK [--variant r8_gray]

A simulated town is mapped with random weights (NetVLAD started from its scans), and filled up to
`--places` with made-up descriptors, built as those of `bev_search.py`. Scans come back in the
opposite direction. Everything is the way of `bev localize`: a map file that is read where it lies,
whole and shortened to 256 numbers in float16; a float .tflite on one thread. Times are of one
core, medians over scans; a scan from nowhere is the worst case of the search. Fails where a search
takes more than 20 ms, a pose more than 30 ms, or the descriptors more than 400 MB, or 25 MB
shortened.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MAPPED, ASKED = 24, 12  # scans
MILLISECONDS = {"search": 20.0, "pose": 30.0}
MEGABYTES = {"whole": 400.0, "shortened": 25.0}
SHORT = 256


class Stages:
    """Times of one core by stage."""

    def __init__(self):
        self.taken: dict[str, list[float]] = {}

    def __call__(self, name: str, call):
        """Return what a call returns, its time noted."""
        start = time.process_time()
        result = call()
        self.taken.setdefault(name, []).append(1000 * (time.process_time() - start))
        return result


def started(variant: str, images: np.ndarray, path: Path):
    """Return an engine of a float file with random weights whose NetVLAD is started from images."""
    import keras

    from apps.bev_localization.models.rein import MAP, NETWORK, POOLING, card, rein
    from apps.bev_localization.retrieval.clusters import netvlad_clusters
    from core.engines import LiteRTEngine
    from core.export.convert import to_tflite

    keras.utils.set_random_seed(0)
    model = rein(variant)
    planes = np.repeat(images[..., None], model.input_shape[-1], axis=-1)
    maps = keras.Model(model.input, model.get_layer(MAP).output)
    features = np.concatenate(
        [np.asarray(maps(card(variant).normalise(one[None]))) for one in planes]
    )
    features = features.reshape(-1, features.shape[-1])
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    model.get_layer(POOLING).start(netvlad_clusters(features[::2]))
    path.write_bytes(to_tflite(NETWORK.deploy(model)))
    return LiteRTEngine(path, card(variant), threads=1)


def filler(rng, count: int, blocks: int = 64, width: int = 128) -> np.ndarray:
    """Return made-up descriptors: blocks of one length, a part in common, unit length."""
    from bev_search import normalised

    common = rng.standard_normal(blocks * width, dtype=np.float32)
    return normalised(common + rng.standard_normal((count, blocks * width), dtype=np.float32))


def main() -> int:
    arguments = _arguments()
    from threadpoolctl import threadpool_limits

    from apps.bev_localization.data import READERS
    from apps.bev_localization.data.samples import pose_of, scan_of, sequences
    from apps.bev_localization.images.density import density_image
    from apps.bev_localization.images.recipes import RECIPES
    from apps.bev_localization.maps.map_file import About, Place, read_map, write_map
    from apps.bev_localization.maps.views import image_of, view_of, views
    from apps.bev_localization.pose.errors import pose_error, relative_truth, succeeds
    from apps.bev_localization.pose.estimation import LocalView, estimate_pose
    from apps.bev_localization.retrieval.index import build_index
    from apps.bev_localization.simulator.dataset import simulate
    from core.data.readers import read_with
    from core.identity import Identity

    work, recipe, rng = arguments.work, RECIPES["place40"], np.random.default_rng(0)
    work.mkdir(parents=True, exist_ok=True)
    simulate(work / "town", scans=MAPPED, queries=ASKED, lidar="hdl64", seed=5, overwrite=True)
    mapped, asked = sequences(read_with(READERS, work / "town").samples).values()
    images = np.stack([image_of(sample, recipe) for sample in mapped])
    engine = started(arguments.variant, images, work / "rein.tflite")
    places = [
        Place(sample.id, pose_of(sample), view.image, view.descriptor, view.local)
        for sample, view, _ in views(engine, mapped, recipe)
    ]
    empty = LocalView(np.empty((0, 2), np.int32), np.empty((0, 128), np.float32))
    black = np.zeros_like(images[0])
    places += [
        Place(f"filler/{number:06d}", np.eye(4), black, descriptor, empty)
        for number, descriptor in enumerate(filler(rng, arguments.places - len(places)))
    ]
    descriptors = np.stack([place.descriptor for place in places])
    size = (recipe.side, recipe.side)
    model = Identity("rein", arguments.variant, "0" * 64, "rein.tflite", "float32", size)
    about = About(model, recipe, 10, "int8", str(work), ("00",), synthetic=True)
    maps = {}
    for name, dimensions in (("whole", None), ("shortened", SHORT)):
        index = build_index(descriptors, dimensions=dimensions)
        maps[name] = read_map(write_map(work / f"{name}.npz", about, places, index))
    nowhere = filler(rng, ASKED)
    del descriptors, places, index

    import cv2

    cv2.setNumThreads(1)
    stages, errors = Stages(), []
    with threadpool_limits(1):
        for number in (0, *range(len(asked))):  # the first once more: it warms up
            points = scan_of(asked[number]).points
            image = stages("image", lambda points=points: density_image(points, recipe))
            planes = np.repeat(image[None, ..., None], engine.card.channels, axis=-1)
            outputs = stages("network", lambda p=planes: engine(engine.card.normalise(p)))
            rows = [output[0] for output in outputs]
            view = stages("keypoints", lambda i=image, r=rows: view_of(i, r, name="rein"))
            for name, found in maps.items():
                for what, query in (("", view.descriptor), (" from nowhere", nowhere[number])):
                    stages(f"search{what}, {name}", lambda f=found, q=query: f.index.search(q))
            whole = maps["whole"]
            place = int(whole.index.search(view.descriptor)[0][0, 0])
            fix = stages(
                "pose",
                lambda w=whole, p=place, v=view: estimate_pose(
                    v.local, w.local_view(p), recipe, center_cells=True
                ),
            )
            truth = relative_truth(pose_of(asked[number]), whole.poses[place])
            errors.append(pose_error(fix.transform, truth) if fix else (np.inf, np.inf))
    return _report(stages, maps, errors[1:], succeeds)


def _report(stages: Stages, maps, errors, succeeds) -> int:
    """Print the split with its bounds, and return 1 where one is missed."""
    missed = []
    print(f"{'stage':40} {'ms':>7} {'bound':>7}")
    for name, taken in stages.taken.items():
        kind = name.split()[0].rstrip(",")
        bound = MILLISECONDS.get(kind)
        typical = float(np.median(taken[1:]))
        print(f"{name:40} {typical:7.1f} {'' if bound is None else f'{bound:7.0f}'}")
        if bound is not None and typical > bound:
            missed.append(f"{name} takes {typical:.1f} ms")
    for name, found in maps.items():
        megabytes = found.index.nbytes / 1e6
        what = f"index of {len(found):,} places, {name}, MB"
        print(f"{what:40} {megabytes:7.1f} {MEGABYTES[name]:7.0f}")
        if megabytes > MEGABYTES[name]:
            missed.append(f"the {name} index takes {megabytes:.1f} MB")
    metres, degrees = np.array(errors).T
    print(
        f"{np.mean(succeeds(metres, degrees)):.0%} of {len(errors)} scans within 2 m and 5 degrees"
    )
    for sentence in missed:
        print(f"Missed: {sentence}")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for maps (400 MB)")
    parser.add_argument("--variant", default="r8_gray", help="of rein (default: %(default)s)")
    parser.add_argument("--places", type=int, default=10_000, help="(default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
