"""A folder becomes a labelled set, and what is wrong with its files is said with their names."""

import shutil

import pytest
from videos import write_video

from nonlocalnet.data.folder import read_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "v.mp4", 6)


def fill(root, clip, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)


def names(folder, split):
    return sorted(s.video.path.name for s in folder.splits[split])


def test_class_folders_are_split_by_source(tmp_path, clip):
    takes = [
        f"{c}/{who}_{take}.mp4"
        for c in "xy"
        for who in ("ann", "bob", "cy", "di")
        for take in (1, 2)
    ]
    fill(tmp_path, clip, takes)
    folder = read_folder(tmp_path)
    assert folder.labels == ["x", "y"]
    for label in (0, 1):
        sources = [
            {s.video.path.stem[:-2] for s in folder.splits[split] if s.label == label}
            for split in ("train", "test")
        ]
        assert len(sources[0]) == 3
        assert len(sources[1]) == 1
        assert not sources[0] & sources[1]
    assert names(read_folder(tmp_path), "test") == names(folder, "test")


def test_a_class_of_one_series_is_split_by_file(tmp_path, clip):
    fill(tmp_path, clip, [f"{c}/{i}.mp4" for c in ("run", "sit") for i in range(10)])
    folder = read_folder(tmp_path)
    assert [len(folder.splits[s]) for s in ("train", "test")] == [14, 6]


def test_a_class_of_one_file_name_is_split_by_folder(tmp_path, clip):
    fill(tmp_path, clip, [f"{c}/take{i}/video.mp4" for c in ("run", "sit") for i in range(4)])
    folder = read_folder(tmp_path)
    assert sorted(sample.label for sample in folder.splits["test"]) == [0, 1]
    assert len(folder.splits["train"]) == 6


def test_train_and_test_folders_are_taken_as_they_are(tmp_path, clip):
    fill(tmp_path, clip, ["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "val/b/4.mp4"])
    folder = read_folder(tmp_path)
    assert names(folder, "train") == ["1.mp4", "2.mp4"]
    assert names(folder, "val") == names(folder, "test") == ["3.mp4", "4.mp4"]


def test_a_list_names_the_split(tmp_path, clip):
    fill(tmp_path, clip, ["1.mp4", "two words.mp4"])
    (tmp_path / "videos.csv").write_text(
        "path,label,split\n1.mp4,a,train\n\ntwo words.mp4,b c,test\n", encoding="utf-8"
    )
    folder = read_folder(tmp_path)
    assert folder.labels == ["a", "b c"]
    assert names(folder, "test") == ["two words.mp4"]


def test_a_bad_file_is_named_and_left_out(tmp_path, clip):
    fill(tmp_path, clip, [f"{c}/{i}.mp4" for c in "ab" for i in range(4)])
    (tmp_path / "a" / "broken.mp4").write_text("no video")
    folder = read_folder(tmp_path)
    assert len(folder.bad) == 1
    assert "broken.mp4" in folder.bad[0]
    assert sum(len(s) for s in folder.splits.values()) == 8


def test_no_folder_and_no_class_are_errors(tmp_path, clip):
    with pytest.raises(ValueError, match="no such folder or list"):
        read_folder(tmp_path / "nowhere")
    fill(tmp_path, clip, ["only/1.mp4", "only/2.mp4"])
    with pytest.raises(ValueError, match="at least 2 classes"):
        read_folder(tmp_path)
    fill(tmp_path, clip, ["other/1.mp4"])
    with pytest.raises(ValueError, match="class 'other' has 1 video"):
        read_folder(tmp_path)
