"""A case of many slices in the task: what it becomes for a network, and what comes back."""

import nibabel
import numpy as np
import pytest
from PIL import Image
from sphere_volumes import AFFINE, SHAPE, sphere
from volume_data import nifti

from apps.medical_segmentation.task import TASK, Segmentation
from apps.medical_segmentation.volumes import volume_task
from core.config import TrainConfig
from core.data.index import Index, Sample, make_index
from core.errors import UserError
from core.model_card import ModelCard
from core.training.setup import settled, training_card

GRID = (SHAPE[2], SHAPE[1], SHAPE[0])  # slices, rows, columns of AFFINE's files
IMAGES = ModelCard("net", "base", "medseg", input_size=(32, 48), labels=("a", "b", "c"),
                   decode={"protocol": "native", "threshold": 0.5})  # fmt: skip
VOLUMES = ModelCard("net", "3d", "medseg", input_size=(8, 8, 8), channels=1, color_order="",
                    mean=(0.5,), std=(0.25,), labels=("a", "b", "c"),
                    decode={"protocol": "native"})  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Sample:
    folder = tmp_path_factory.mktemp("case")
    values, labels = sphere(np.random.default_rng(0))
    return Sample("case", (nifti(folder / "case.nii.gz", values, AFFINE),),
                  (nifti(folder / "labels" / "case.nii.gz", labels, AFFINE),))  # fmt: skip


class Bright:
    """Finds what is above two thirds and one third of the window, in logits of three classes."""

    name = "bright"

    def __init__(self, card):
        self.card = card

    def __call__(self, batch):
        grey = batch[..., :1] * self.card.std[0] + self.card.mean[0]
        return [np.concatenate([1 / 3 - grey, np.zeros_like(grey), grey - 2 / 3], axis=-1)]


def config(network="mk_unet", variant="t", **options) -> TrainConfig:
    return TrainConfig("medseg", network, variant, classes=3, options=options)


# --- choices --------------------------------------------------------------------------------------


def test_a_run_keeps_the_window_that_auto_came_to(case, tmp_path):
    card = TASK.network("mk_unet").card("t")
    index = make_index("volumes", tmp_path, [case], labels=("a", "b", "c"))
    assert settled(config(), TASK, card, index).options["window"] == "percentiles"
    air = nifti(tmp_path / "ct.nii", np.full(SHAPE, -1000, np.int16))
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no header")
    ct = make_index("volumes", tmp_path, [Sample("a", (broken,)), Sample("ct", (air,))])
    assert settled(config(), TASK, card, ct).options["window"] == "ct"
    lits = make_index("lits", tmp_path, [Sample("gone", (tmp_path / "gone.nii",))])
    assert settled(config(), TASK, card, lits).options["window"] == "abdomen"
    for given in ([0, 80], (0, 80)):
        assert settled(config(window=given), TASK, card, ct).options["window"] == [0, 80]


def test_the_card_says_window_and_spacing(case, tmp_path):
    index = make_index("volumes", tmp_path, [case], labels=("a", "b", "c"))
    network = TASK.network("lightm_unet")
    chosen = config("lightm_unet", "3d_8", window="liver", spacing=[3, 1, 1])
    card = training_card(TASK, network.card("3d_8"), chosen, index)
    assert card.decode == {"protocol": "native", "window": "liver", "spacing": [3, 1, 1]}
    flat = training_card(TASK, TASK.network("mk_unet").card("t"), config(), index)
    assert flat.decode["window"] == "percentiles" and "spacing" not in flat.decode
    imported = training_card(TASK, network.card("3d_8"), config("lightm_unet", "3d_8"),
                             Index("checkpoint", tmp_path, (), labels=("a", "b", "c")))  # fmt: skip
    assert imported.decode["window"] == "abdomen"  # what it was published with


@pytest.mark.parametrize(
    "options, said",
    [({"window": "lungs"}, "window is 'lungs'.*Did you mean 'lung'"),
     ({"spacing": -1}, "spacing is -1; pass millimetres"),
     ({"patches": 0}, "'patches' is 0; it must be a whole number, 1 or more")],
)  # fmt: skip
def test_wrong_choices_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        TASK.check_options(options)


@pytest.mark.parametrize("change", [{"window": "auto"}, {"window": [3, 1]}, {"spacing": "1mm"}])
def test_a_card_with_a_wrong_choice_cannot_be_followed(change):
    with pytest.raises(UserError, match=r"^The (window|spacing) is "):
        TASK.check_decoding(VOLUMES.replace(decode={"protocol": "native", **change}))
    TASK.check_decoding(VOLUMES)  # cards of before know neither


def test_losses_of_images_are_not_for_networks_of_volumes():
    for classes, given, kind in ((1, "auto", "bce_dice"), (3, "auto", "cross_entropy_soft_dice")):
        chosen = TrainConfig("medseg", "lightm_unet", "3d_8", classes=classes,
                             options={"loss": given})  # fmt: skip
        assert TASK.objective(chosen).loss.name == kind
    assert TASK.objective(chosen).loss.over_batch is False
    with pytest.raises(UserError, match=r"structure loss is for images; .*options.loss=bce_dice"):
        TASK.objective(TrainConfig("medseg", "lightm_unet", "3d_8", options={"loss": "structure"}))


def test_an_epoch_takes_several_parts_of_volumes_and_each_image_once(case, tmp_path):
    volumes = make_index("volumes", tmp_path, [case])
    assert TASK.repeats(config(patches=5), volumes) == 5
    assert TASK.repeats(config(patches=5), TASK.read("sample", "sample")) == 1


# --- from files to the network, and back ----------------------------------------------------------


def test_a_network_for_images_gets_volumes_as_they_are_and_one_for_volumes_at_its_spacing(case):
    wide = VOLUMES.replace(decode={"window": [0, 600], "spacing": 2})
    assert TASK.prepare(case, IMAGES)[0].shape == (*GRID, 1)
    grey = TASK.prepare(case, wide)[0]
    assert grey.dtype == np.uint8 and grey.shape == (12, 14, 12, 1)  # 25 x 28 x 24 mm
    example = TASK.load(case, wide)
    assert example.target.shape == (12, 14, 12) and set(np.unique(example.target)) == {0, 1, 2}
    np.testing.assert_array_equal(example.inputs, grey)


@pytest.mark.parametrize(
    "card",
    [IMAGES.replace(input_size=(SHAPE[1], SHAPE[0])), VOLUMES,
     VOLUMES.replace(decode={"spacing": [0.9, 1.3, 0.8]}),
     VOLUMES.replace(input_size=(32, 16, 64))],
    ids=["slices", "windows", "other spacing", "larger than the volume"],
)  # fmt: skip
def test_what_is_found_lies_on_the_file(case, card, tmp_path):
    """Through engine, decoding and writing: the mask covers the ball where the file has it."""
    card = card.replace(decode={**card.decode, "window": [0, 600]})
    values = TASK.prepare(case, card)[0]
    (outputs,) = TASK.infer(Bright(card), [values])
    result = TASK.decode(outputs, case, card)
    assert result.mask.shape == GRID and result.mask.dtype == np.uint8
    (path,) = TASK.write(case, result, tmp_path, card)
    assert path == tmp_path / "case_mask.nii.gz"
    mask, source = nibabel.load(path), nibabel.load(case.inputs[0])
    assert mask.shape == SHAPE and (mask.affine == AFFINE).all()
    found = np.asarray(mask.dataobj)
    truth = np.asarray(nibabel.load(case.targets[0]).dataobj)
    assert (found == truth).mean() > 0.9  # up to the noise
    assert abs(np.argwhere(found == 2).mean(0) - np.argwhere(truth == 2).mean(0)).max() < 0.5
    assert source.shape == mask.shape


def test_one_foreground_follows_the_threshold(case):
    card = IMAGES.replace(input_size=(SHAPE[1], SHAPE[0]), labels=("bright",))
    logits = np.full((*GRID, 1), np.log(0.4 / 0.6), np.float32)
    decided = {t: TASK.decode([logits], case, card.replace(decode={"threshold": t})).mask.mean()
               for t in (0.3, 0.5)}  # fmt: skip
    assert decided == {0.3: 1, 0.5: 0}


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_inputs_for_calibration_have_the_networks_size(case, limit):
    slices = TASK.network_inputs(case, IMAGES, limit)
    assert len(slices) == min(limit, GRID[0])
    assert all(one.shape == (32, 48, 3) and one.dtype == np.float32 for one in slices)
    windows = TASK.network_inputs(case, VOLUMES, limit)
    assert len(windows) == min(limit, 2 * 3 * 3)
    assert all(one.shape == (8, 8, 8, 1) for one in windows)
    assert len({one.tobytes() for one in windows}) == len(windows)
    assert TASK.network_input(case, VOLUMES).shape == (8, 8, 8, 1)
    large = VOLUMES.replace(input_size=(64, 64, 64))
    assert TASK.network_inputs(case, large, limit)[0].shape == (64, 64, 64, 1)


def test_volumes_go_through_one_at_a_time(case):
    assert TASK.samples_at_once([case, case], 4) == 1
    assert TASK.samples_at_once(TASK.read("sample", "sample").samples, 4) == 4


# --- scores and pictures --------------------------------------------------------------------------


def test_scores_are_of_the_case_in_millimetres(case):
    truth = volume_task.read_labels(case, 3)
    moved = np.roll(truth, 2, axis=0)  # two slices of 1.25 mm
    scores = TASK.score(iter([(case, Segmentation(moved))]), IMAGES)
    (row,) = scores.per_sample
    assert row["hd95_2"] == pytest.approx(2.5, abs=0.3)
    assert 0.5 < row["dice"] < 1
    assert scores.protocol.startswith("native, volumes: slice-wise, axial slices resized to 32x48;")
    assert "HD95 in millimetres" in scores.protocol
    windows = TASK.score(iter([(case, Segmentation(truth))]), VOLUMES)
    assert "windows of 8x8x8 voxels as stored, 50 % overlap" in windows.protocol
    assert windows.summary["dice"] == 1 and windows.summary["hd95"] == 0


def test_the_official_protocol_is_one_of_images(case):
    card = IMAGES.replace(labels=("bright",), decode={"protocol": "official"})
    with pytest.raises(UserError, match="'official' is not defined; choose 'native'"):
        TASK.decode([np.zeros((*GRID, 1), np.float32)], case, card)


def test_pictures_are_sheets_of_the_same_nine_slices(case):
    truth = volume_task.read_labels(case, 3)
    sheets = [TASK.draw_input(case, IMAGES), TASK.draw_truth(case, IMAGES),
              TASK.draw(case, Segmentation(truth), IMAGES)]  # fmt: skip
    assert len({sheet.shape for sheet in sheets}) == 1
    height, width = sheets[0].shape[:2]
    assert height == 3 * 256 + 4 * 4 and width == 3 * round(256 * 24 / 28) + 4 * 4
    np.testing.assert_array_equal(sheets[1], sheets[2])
    tinted = (sheets[1] != sheets[0]).any(-1)
    cells = [tinted[y : y + 256, x : x + 219] for y in (4, 264, 524) for x in (4, 227, 450)]
    assert all(cell.any() for cell in cells)  # the slices with the ball are shown
    unlabelled = Sample(case.id, case.inputs)
    assert TASK.draw_truth(unlabelled, IMAGES) is None
    assert TASK.draw(unlabelled, Segmentation(truth), IMAGES).shape == sheets[0].shape


def test_a_thin_volume_is_drawn_with_the_slices_it_has(tmp_path):
    thin = Sample("thin", (nifti(tmp_path / "thin.nii", np.ones((6, 30, 2), np.int16)),))
    assert TASK.draw_input(thin, IMAGES).shape[2] == 3


# --- files ----------------------------------------------------------------------------------------


def test_folders_may_hold_images_and_volumes(case, tmp_path):
    values = sphere(np.random.default_rng(1))[0]
    nifti(tmp_path / "inner" / "b.nii.gz", values)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    found = {sample.id: sample for sample in TASK.files([tmp_path, case.inputs[0]])}
    assert set(found) == {"a.png", "inner/b", "case"}
    assert [s.id for s in TASK.files([tmp_path / "inner"])] == ["b"]
    assert [s.id for s in TASK.files([tmp_path / "a.png"])] == ["a.png"]


def test_folders_without_either_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no image files"):
        TASK.files([tmp_path])
    with pytest.raises(UserError, match="gone"):
        TASK.files([tmp_path / "gone"])


def test_the_check_of_data_finds_what_is_wrong_with_volumes(tmp_path):
    rng = np.random.default_rng(0)
    values, labels = sphere(rng)
    samples = []
    for name, mask, split in (("a", labels, "train"), ("b", labels[:-1], "train"),
                              ("c", labels * 3, "train"), ("d", labels, "test")):  # fmt: skip
        image = nifti(tmp_path / "images" / f"{name}.nii", values)
        mask = nifti(tmp_path / "labels" / f"{name}.nii", mask)
        samples.append(Sample(name, (image,), (mask,), split=split))
    truncated = tmp_path / "images" / "e.nii.gz"
    truncated.write_bytes(nifti(tmp_path / "whole.nii.gz", values).read_bytes()[:3000])
    samples.append(Sample("e", (truncated,), samples[0].targets, split="test"))
    problems = TASK.check_data(make_index("volumes", tmp_path, samples), IMAGES)
    assert len(problems) == 4
    assert "b.nii: has 20 x 28 x 23 voxels" in problems[0]
    assert "c.nii' has values" in problems[1]
    assert problems[2].startswith("Sample 'd' (test) has the same content as 'a' (train)")
    assert "e.nii.gz" in problems[3]


def test_voxels_that_are_no_cubes_of_one_size_are_noted(case, tmp_path):
    cube = nifti(tmp_path / "cube.nii", np.zeros((2, 2, 2), np.int16), np.eye(4))
    flat = nifti(tmp_path / "flat.nii", np.zeros((2, 2, 2), np.int16), np.diag([0.5, 0.5, 5, 1]))
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no header")

    def notes(*samples):
        labels = ("background", "organ")
        return TASK.data_notes(make_index("volumes", tmp_path, samples, labels=labels))

    cubes = [Sample(name, (path,)) for name, path in (("a", cube), ("b", broken))]
    assert notes(*cubes) == []
    (said,) = notes(case)
    assert "slices are 1.25 mm apart, rows 1 and columns 1 mm" in said
    (said,) = notes(case, *cubes, Sample("c", (flat,)))
    assert "slices are 1 to 5 mm apart, rows 0.5 to 1 and columns 0.5 to 1 mm" in said
    assert TASK.data_notes(TASK.read("sample", "sample")) == []


def test_classes_without_names_are_noted_as_one_foreground(tmp_path):
    image = nifti(tmp_path / "image.nii", np.zeros((2, 2, 2), np.int16), np.eye(4))
    values = {"one": [0, 7], "two": [0, 1, 4, 4]}
    one, two = (
        nifti(tmp_path / f"{name}.nii", np.resize(held, (2, 2, 2)).astype(np.int16), np.eye(4))
        for name, held in values.items()
    )

    def notes(*masks, **names):
        samples = [Sample(mask.stem, (image,), (mask,)) for mask in masks]
        return TASK.data_notes(make_index("volumes", tmp_path, samples, **names))

    assert notes(one) == []
    (said,) = notes(one, two)
    assert "'two.nii' holds 0, 1, 4: training takes all above 0 for one foreground" in said
    assert notes(one, two, labels=("background", "liver")) == []


def test_pre_training_refuses_volumes_in_a_sentence(case):
    from core.training.pretraining import Pretraining

    task = Pretraining(TASK)
    with pytest.raises(UserError, match="takes pictures, which these samples are not"):
        task.training_example(task.load(case, IMAGES), np.random.default_rng(0), config())
