"""A pipe or a device is refused wherever a path is named: reading one may never end."""

import os

import pytest

from core.checkpoints import read as read_checkpoint
from core.checkpoints.archives import read_archive
from core.config import read_config_file
from core.data.images import count_pages, read_image, read_mask, read_size
from core.data.readers import Reader, read_with
from core.data.videos import read_frames, read_info
from core.documents import read_json, read_yaml
from core.errors import UserError
from core.files import refuse_special
from core.tflite.inspect import check_file, operators
from core.tflite.metadata import extract, labels

READERS = {"any": Reader("any", "", lambda path: True, lambda path: path.read_text())}


@pytest.mark.parametrize(
    "opened",
    [
        read_image,
        read_mask,
        read_size,
        count_pages,
        read_info,
        lambda path: next(read_frames(path)),
        read_checkpoint,
        read_archive,
        read_json,
        read_yaml,
        read_config_file,
        check_file,
        operators,
        extract,
        labels,
        lambda path: read_with(READERS, path, "any"),
    ],
)
@pytest.mark.parametrize("device", [False, True], ids=["pipe", "device"])
def test_pipes_and_devices_are_refused(opened, device, tmp_path):
    path = tmp_path / "named"
    path.symlink_to("/dev/zero") if device else os.mkfifo(path)
    with pytest.raises(UserError, match=r"named: is a pipe or a device, not a file; save its"):
        opened(path)


def test_files_folders_and_what_is_not_there_pass(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing", "a\0b"):
        refuse_special(path)
