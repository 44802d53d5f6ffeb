import cv2
import numpy as np
import pytest

from core.data.video_writing import changed_video
from core.data.videos import read_frames, read_info
from core.errors import UserError

COUNT, SIZE, RATE = 6, (32, 48), 12.5


def frame(number):
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = 200  # red: a swap of channels would show
    image[:, : 8 * (number + 1), 1] = 120
    return image


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE[::-1])
    assert writer.isOpened()
    for number in range(COUNT):
        writer.write(frame(number)[..., ::-1])
    writer.release()
    return path


def double(image):
    return image.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_every_frame_is_enlarged_at_the_same_rate_and_in_the_same_colours(clip, tmp_path, suffix):
    target = tmp_path / f"large{suffix}"
    notes = changed_video(clip, target, double, 2)
    info = read_info(target)
    assert (info.size, info.fps, info.frames) == ((64, 96), RATE, COUNT)
    for number, found in enumerate(read_frames(target)):
        difference = np.abs(found.astype(int) - double(frame(number)))
        assert np.median(difference) < 12 and difference.mean() < 12
    assert notes == ["has no sound: OpenCV reads pictures only"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", f"large{suffix}"]


def test_a_video_that_stops_half_way_is_noted(clip, tmp_path):
    data = clip.read_bytes()
    clip.write_bytes(data[: data.rindex(b"00dc", 0, data.index(b"idx1"))])  # mid-way
    notes = changed_video(clip, tmp_path / "large.avi", double, 2)
    assert any("the file may be damaged" in note for note in notes)


def test_what_is_no_video_is_said_in_a_sentence(clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="is not a video that OpenCV can read"):
        read_info(tmp_path / "text.mp4")
    with pytest.raises(UserError, match="no such video file"):
        next(read_frames(tmp_path / "none.mp4"))
    with pytest.raises(UserError, match=r"are written as \.mp4 or \.avi"):
        changed_video(clip, tmp_path / "large.webm", double, 2)


def test_a_missing_codec_is_named_with_another_choice(clip, tmp_path, monkeypatch):
    class Closed:
        def __init__(self, *_):
            pass

        @staticmethod
        def fourcc(*_):
            return 0

        def isOpened(self):
            return False

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    with pytest.raises(UserError, match="with the codec mp4v; pass --video-format avi"):
        changed_video(clip, tmp_path / "large.mp4", double, 2)
    assert not (tmp_path / "large.mp4").exists()


def test_a_frame_of_another_size_is_not_left_out_silently(clip, tmp_path):
    with pytest.raises(UserError, match="a frame has 32x48 pixels where 64x96"):
        changed_video(clip, tmp_path / "large.avi", lambda image: image, 2)
    assert not (tmp_path / "large.avi").exists()
