"""A map keeps what it was given, is refused by what did not make it, and never half read."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.bev_localization.images.recipes import RECIPES
from apps.bev_localization.maps.archive import MappedArrays, write_arrays
from apps.bev_localization.maps.keypoint_features import packed, unpacked
from apps.bev_localization.maps.map_file import (
    About,
    Place,
    check_same_network,
    check_same_recipe,
    read_map,
    write_map,
)
from apps.bev_localization.pose.estimation import LocalView
from apps.bev_localization.retrieval.index import build_index
from core.errors import UserError
from core.identity import Identity

RECIPE = RECIPES["place40"]
MODEL = Identity("rein", "r8", "ab" * 32, "published", "float32", (201, 201))
ABOUT = About(MODEL, RECIPE, 10, "int8", "scans", ("00",), True)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def made(places=12, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(places):
        keypoints = int(rng.integers(0, 40))
        features = unit(rng.standard_normal((keypoints, 16))).astype(np.float32)
        pixels = rng.integers(0, RECIPE.side, (keypoints, 2)).astype(np.int32)
        image = rng.integers(0, 256, (RECIPE.side, RECIPE.side)).astype(np.uint8)
        pose = np.eye(4)
        pose[:3, 3] = rng.uniform(-9, 9, 3)
        descriptor = unit(rng.standard_normal(64)).astype(np.float32)
        local = LocalView(pixels, features)
        found.append(Place(f"00/{number:06d}.bin", pose, image, descriptor, local))
    return found


def written(path, places, about=ABOUT, dimensions=None):
    index = build_index(np.stack([one.descriptor for one in places]), dimensions=dimensions)
    return write_map(path, about, places, index)


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.02), ("float16", 1e-3)])
def test_a_map_keeps_what_it_was_given(tmp_path, kind, error):
    places = made()
    about = dataclasses.replace(ABOUT, features=kind)
    found = read_map(written(tmp_path / "map.npz", places, about))
    assert found.about == about and found.ids == tuple(one.id for one in places)
    np.testing.assert_array_equal(found.poses, [one.pose for one in places])
    np.testing.assert_array_equal(found.index.stored, [one.descriptor for one in places])
    for number, one in enumerate(places):
        view = found.local_view(number)
        np.testing.assert_array_equal(view.pixels, one.local.pixels)
        np.testing.assert_allclose(view.features, one.local.features, atol=error)
        np.testing.assert_array_equal(found.image(number), one.image)
    places_found, distances = found.index.search(places[7].descriptor)
    assert places_found[0, 0] == 7 and distances[0, 0] == 0


def test_a_shortened_map_searches_as_its_index_does(tmp_path):
    places = made(40)
    descriptors = np.stack([one.descriptor for one in places])
    found = read_map(written(tmp_path / "map.npz", places, dimensions=16))
    assert found.index.stored.dtype == np.float16
    expected = build_index(descriptors, dimensions=16).search(descriptors[::5], 3)
    for ours, theirs in zip(found.index.search(descriptors[::5], 3), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_equal_maps_are_equal_files_and_arrays_lie_aligned_in_them(tmp_path):
    places = made(3)
    first, second = (written(tmp_path / name, places) for name in ("a.npz", "b.npz"))
    assert first.read_bytes() == second.read_bytes()
    arrays = MappedArrays(first, "make it again")
    with np.load(first, allow_pickle=False) as archive:
        for name in archive.files:
            mapped = arrays.mapped(name)
            np.testing.assert_array_equal(mapped, archive[name])
            assert not mapped.size or mapped.ctypes.data % 64 == 0
            assert not mapped.flags.writeable


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 9), seed=st.integers(0, 2**31), power=st.integers(-6, 0))
def test_a_byte_a_number_keeps_the_direction(rows, seed, power):
    rng = np.random.default_rng(seed)
    features = unit(rng.standard_normal((rows, 128)) ** 3 * 10.0**power).astype(np.float32)
    found = unpacked(packed(features, "int8"))
    assert found.shape == features.shape and found.dtype == np.float32
    assert (np.sum(found * features, axis=1) > 0.999).all()
    assert not unpacked(np.zeros((2, 128), np.int8)).any()


def test_another_network_is_refused_in_one_sentence(tmp_path):
    found = read_map(written(tmp_path / "map.npz", made(2)))
    check_same_network(found, dataclasses.replace(MODEL, source="x.tflite", precision="int8"))
    for changed in (
        dataclasses.replace(MODEL, weights="cd" * 32),
        dataclasses.replace(MODEL, variant="r4"),
        dataclasses.replace(MODEL, input_size=(151, 151)),
    ):
        with pytest.raises(UserError, match=r"map\.npz: was built by rein r8 at 201x201") as caught:
            check_same_network(found, changed)
        assert changed.described() in str(caught.value) and "\n" not in str(caught.value)


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    found = read_map(written(tmp_path / "map.npz", made(2)))
    check_same_recipe(found, dataclasses.replace(RECIPE, name="mine"), "'x'")
    other = dataclasses.replace(RECIPE, name="mine", cap=15, suppress=1)
    with pytest.raises(UserError) as caught:
        check_same_recipe(found, other, "'published'")
    assert "'place40'" in str(caught.value) and "cap 10 instead of 15" in str(caught.value)
    assert "suppress 0 instead of 1" in str(caught.value) and "voxel" not in str(caught.value)


def changed(path, name, change):
    """Write a map's arrays again, one of them changed."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays[name] = change(arrays[name].copy())
    return write_arrays(path, arrays)


def with_nan(array):
    array.reshape(-1)[3] = np.nan
    return array


def as_json(change):
    def changing(array):
        document = json.loads(array.tobytes())
        change(document)
        return np.frombuffer(json.dumps(document).encode(), np.uint8)

    return changing


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("descriptors", with_nan, "descriptors that are NaN or infinite"),
        ("descriptors", lambda a: a[:-1], "'descriptors' as float32 of shape"),
        ("descriptors", lambda a: a.astype(np.float64), "'descriptors' as float64"),
        ("poses", with_nan, "poses that are none: pose 1 is no rotation"),
        ("poses", lambda a: 0 * a, "poses that are none: pose 1 is no rotation"),
        ("poses", lambda a: a[1:], "'poses' as float64 of shape"),
        ("keypoint_starts", lambda a: a[::-1], "'keypoint_starts' that makes no sense"),
        ("keypoint_starts", lambda a: a + 1, "'keypoint_starts' that makes no sense"),
        ("keypoints", lambda a: a[1:], "'keypoints' as uint16 of shape"),
        ("keypoints", lambda a: a + np.uint16(201), "keypoints outside their images"),
        ("features", lambda a: a[1:], "'features' as int8 of shape"),
        ("features", lambda a: a.astype(np.float16), "'features' as float16"),
        ("images", lambda a: a[1:], "'images' as uint8 of shape"),
        ("ids", as_json(lambda d: d.append(7)), "holds no names of places"),
        ("about", as_json(lambda d: d.update(version=2)), "has version 2 of its format"),
        ("about", as_json(lambda d: d.update(format="x")), "is no map of Gossamer"),
        ("about", as_json(lambda d: d.update(poses="inverse")), "this program does not know"),
        ("about", as_json(lambda d: d["recipe"].update(cap=0)), "wrong field in its 'about'"),
        ("about", as_json(lambda d: d["model"].pop("weights")), "wrong field in its 'about'"),
        ("about", lambda a: a[:-3], "its 'about' cannot be read"),
    ],
)
def test_a_damaged_map_is_refused_in_one_sentence(tmp_path, name, change, message):
    path = changed(written(tmp_path / "map.npz", made(4, seed=1)), name, change)
    with pytest.raises(UserError, match=message) as caught:
        read_map(path)
    assert str(caught.value).startswith(str(path)) and "build-map" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_where_nothing_is_read_at_first_is_told_when_it_is(tmp_path):
    path = written(
        tmp_path / "map.npz", made(4, seed=1), dataclasses.replace(ABOUT, features="float16")
    )
    found = read_map(changed(path, "images", lambda a: a[::-1]))
    with pytest.raises(UserError, match=r"damaged image of '00/000000\.bin'"):
        found.image(0)
    found = read_map(changed(path, "features", with_nan))
    with pytest.raises(UserError, match=r"features of '00/00000.*not finite"):
        [found.local_view(number) for number in range(4)]


def test_what_is_no_map_is_refused(tmp_path):
    path = written(tmp_path / "map.npz", made(3))
    content = path.read_bytes()
    for name, other, message in (
        ("cut.npz", content[: len(content) // 2], "cut off or no .npz"),
        ("empty.npz", b"", "is empty"),
        ("text.npz", b"no archive", "cut off or no .npz"),
    ):
        (tmp_path / name).write_bytes(other)
        with pytest.raises(UserError, match=message):
            read_map(tmp_path / name)
    np.savez(tmp_path / "other.npz", embeddings=np.zeros(3))
    with pytest.raises(UserError, match="no map of Gossamer"):
        read_map(tmp_path / "other.npz")
    with np.load(path, allow_pickle=False) as archive:
        np.savez_compressed(tmp_path / "packed.npz", **archive)
    with pytest.raises(UserError, match="does not hold its 'about' as a map does"):
        read_map(tmp_path / "packed.npz")
    with pytest.raises(UserError, match="no such file"):
        read_map(tmp_path / "gone.npz")
    with pytest.raises(UserError, match="is a folder"):
        read_map(tmp_path)
    with pytest.raises(UserError, match=r"written as \.npz"):
        written(tmp_path / "map.map", made(2))


def test_a_changed_byte_is_found(tmp_path):
    path = written(tmp_path / "map.npz", made(3))
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("poses.npy").header_offset + 250
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="is damaged in its 'poses'"):
        read_map(path)
