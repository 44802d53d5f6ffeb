"""A user's table of crops and the lists of MSMT17, with what such files may hold."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image
from reid_layouts import roles, said, save

from apps.person_reid.data import check, read
from core.errors import UserError


def table(folder, persons, cameras=("1", "2")):
    lines = ["path,person,camera"]
    for person in persons:
        for camera in cameras:
            name = f"{len(lines)}.png"
            Image.new("RGB", (4, 8), (len(lines), 0, 0)).save(folder / name)
            lines.append(f'{name},"{person}",{camera}')
    path = folder / "crops.csv"
    path.write_text("\n".join(lines))
    return path


def test_persons_of_thousands_of_digits_are_names(tmp_path):
    index = read(table(tmp_path, ["1", "2", "9" * 5000]))
    assert len({sample.group for sample in index.samples}) == 3


def test_problems_show_names_as_a_terminal_can(tmp_path):
    path = table(tmp_path, [f"{letter}\x07" for letter in "abcdefgh"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1] + lines[1:11:2] + lines[11:]))  # most: one camera
    problems = check(read(path))
    assert problems
    assert all(problem.isprintable() for problem in problems)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "crops.csv")
    with pytest.raises(UserError, match=r"crops\.csv: is a pipe or a device"):
        read(tmp_path / "crops.csv", "csv")


def test_a_list_that_is_a_pipe_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "list_query.txt").touch()
    os.mkfifo(tmp_path / "list_train.txt")
    with pytest.raises(UserError, match=r"list_train\.txt: is a pipe or a device"):
        read(tmp_path, "msmt17")


def write_table(root: Path, *lines: str, head="path,person,camera,split,role") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for line in lines:
        if line.endswith("#"):
            continue
        save(root / re.split("[,;\t]", line)[0].strip())
    path = root / "crops.csv"
    path.write_text("\n".join([head, *(line.rstrip("#") for line in lines)]), encoding="utf-8-sig")
    return path


def test_a_table_gives_persons_cameras_splits_and_roles(tmp_path):
    lines = [f"a/{p}{c}{n}.png,{p},{c},train," for p in range(6) for c in (1, 2) for n in (1, 2)]
    lines += ["q.png,70,1,,query", "g.png,70,2,test,gallery", "j.png,-1,2,,gallery"]
    index = read(write_table(tmp_path, *lines))
    assert index.format == "csv" and index.counts() == {"train": 16, "val": 8, "test": 2}
    query = next(one for one in index.samples if one.id == "test/query/q")
    assert query.extra == {"person": 70, "camera": 1, "role": "query", "dataset": 0}
    assert query.inputs == (tmp_path / "q.png",)


def test_a_table_without_splits_may_use_names_and_semicolons(tmp_path):
    lines = [
        f"{person}-{camera}-{n}.png;{person};{camera}"
        for person in ("ann", "bob", "eve", "joe")
        for camera in ("door", "yard")
        for n in (1, 2)
    ]
    index = read(write_table(tmp_path, *lines, head="Path;Person;Camera"))
    assert index.counts() == {"train": 8, "test": 8}
    assert roles(index, "test") == {"query": 4, "gallery": 4}
    assert {one.group for one in index.samples} == {"ann", "bob", "eve", "joe"}
    assert {one.extra["person"] for one in index.samples} == {1, 2, 3, 4}
    assert "door = 0, yard = 1" in said(index)


def test_the_validation_split_of_a_table_is_kept(tmp_path):
    lines = [
        f"{p}{c}{n}.png,{p},{c},{'valid' if p > 3 else 'train'}"
        for p in range(1, 6)
        for c in (1, 2)
        for n in (1, 2)
    ]
    index = read(write_table(tmp_path, *lines, head="path,person,camera,split"))
    assert index.counts() == {"train": 12, "val": 8}
    assert roles(index, "val") == {"query": 4, "gallery": 4}


@pytest.mark.parametrize(
    "lines, words",
    [
        (["a.png,1,1,train,", "b.png,,1,train,"], "line 3: person is empty"),
        (["a.png,1,1,trian,"], "line 2: split is 'trian'. Did you mean 'train'"),
        (["a.png,1,1,,probe"], "line 2: role is 'probe'. Known: train, query, gallery"),
        (["a.png,1,1,train,query"], "role 'query' does not go with split 'train'"),
        (["a.png,1,1,train,", "a.png,1,2,train,"], "'a.png' was in line 2 already"),
        (["a.png,1,1,train,#", "b.png,1,1,train,#"], "no such file 'a.png' .1 more line"),
        (["a.png,1,1,train,", "b.png,1,1,,"], "1 of 2 rows have no split or role"),
        (["a.png,1,1,,query", "b.png,1,1,test,"], "1 of 2 test rows have no role"),
        (["a.png,1,1,,query"], "has query images but no gallery image"),
        ([], "no line below its header"),
    ],
)
def test_mistakes_in_a_table_are_named_by_line(tmp_path, lines, words):
    with pytest.raises(UserError, match=words):
        read(write_table(tmp_path, *lines))


def test_a_table_with_another_header_or_of_bytes_is_refused(tmp_path):
    path = write_table(tmp_path, head="file,id,cam")
    with pytest.raises(UserError, match=r"lacks 'path' .found file, id, cam"):
        read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="CSV table in UTF-8"):
        read(path)
