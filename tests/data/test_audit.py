"""Planted leaks, tiny classes and imbalance are reported; a sound set is silent."""

import shutil

import pytest
from videos import write_video

from nonlocalnet.data.audit import audit
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.listed import Action, Listed


def rows_of(tmp_path, counts, split="train"):
    """Files of one size and different content."""
    rows = []
    for label, count in counts.items():
        for number in range(count):
            path = tmp_path / f"{split}-{label}-{number:03d}.mp4"
            path.write_bytes(f"{split:>6}{label:>6}{number:03d}".encode() * 2000)
            rows.append(Listed(path=path, label=label, split=split))
    return rows


def test_a_sound_set_is_silent(tmp_path):
    rows = rows_of(tmp_path, {"run": 50, "sit": 5})
    assert audit([*rows, *rows_of(tmp_path, {"run": 1, "sit": 1}, "test")], ["run", "sit"]) == []


def test_a_planted_leak_is_found_whatever_its_name(tmp_path):
    rows = rows_of(tmp_path, {"run": 9, "sit": 9})
    for number, source in enumerate((3, 12)):
        copy = tmp_path / f"innocent-{number}.mp4"
        shutil.copy(rows[source].path, copy)
        rows.append(Listed(path=copy, label="run", split="test"))
    twin = tmp_path / "twin.mp4"  # a copy within one split is no leak
    shutil.copy(rows[0].path, twin)
    rows.append(Listed(path=twin, label="run", split="train"))
    almost = bytearray(rows[5].path.read_bytes())  # same size, same middle, another end
    almost[-1] ^= 1
    (tmp_path / "almost.mp4").write_bytes(almost)
    rows.append(Listed(path=tmp_path / "almost.mp4", label="run", split="test"))
    assert audit(rows, ["run", "sit"]) == [
        "2 of the test videos have the same content as train videos, first: "
        f"{tmp_path}/innocent-0.mp4 is {tmp_path}/train-run-003.mp4; "
        "remove them from one side, or the scores flatter"
    ]


def test_one_file_in_two_lists_is_a_leak(tmp_path):
    (row,) = rows_of(tmp_path, {"run": 1}, "val")
    rows = [*rows_of(tmp_path, {"run": 5, "sit": 5}), row]
    rows.append(Listed(path=row.path, label="run", split="test"))
    (sentence,) = audit(rows, ["run", "sit"])
    assert sentence.startswith("1 of the test videos has the same content as val videos, first:")


def test_tiny_classes_and_imbalance_are_counted_in_training(tmp_path):
    rows = rows_of(tmp_path, {"run": 51, "sit": 5, "wave": 4})
    labels = ["fall", "run", "sit", "wave"]
    assert audit([*rows, *rows_of(tmp_path, {"wave": 90}, "test")], labels) == [
        "2 of 4 classes have fewer than 5 training videos, fewest: 'fall' with 0; "
        "add clips or merge classes",
        "class 'run' has 51 training videos and 'fall' has 0, more than 10 to 1; compare classes "
        "by their own scores, or add to the small ones",
    ]
    assert len(audit(rows[:56], labels[1:3])) == 1  # 51 to 5


def test_several_labels_count_once_per_video(tmp_path):
    both = tuple(Action(label=k, start=t, end=t + 1) for k in (0, 1) for t in (0.0, 5.0))
    rows = [
        Listed(path=row.path, actions=both, split="train") for row in rows_of(tmp_path, {"x": 4})
    ]
    (sentence,) = audit(rows, ["run", "sit"])
    assert sentence.startswith(
        "2 of 2 classes have fewer than 5 training videos, fewest: 'run' with 4"
    )


@pytest.mark.parametrize("leak", [False, True])
def test_a_folder_carries_its_warnings(tmp_path, leak):
    for split, count in (("train", 5), ("test", 1)):
        for label in ("run", "sit"):
            for number in range(count):
                frames = 3 + number + (8 if label == "sit" else 0) + (20 if split == "test" else 0)
                write_video(tmp_path / split / label / f"{number}.mp4", frames)
    if leak:
        shutil.copy(tmp_path / "train/run/2.mp4", tmp_path / "test/run/9.mp4")
    assert len(read_folder(tmp_path).warnings) == leak
