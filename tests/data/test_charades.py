"""Charades: two descriptions of one set, and which labels a clip has."""

import csv

import numpy as np
import pytest
from videos import write_video

from nonlocalnet.data.charades import CLASSES, FPS, class_names, target
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.listed import Action
from nonlocalnet.data.listing import list_videos

# Frames (at 24 per second) from and up to which each action lasts; the last video has none.
VIDEOS = {
    "46GP8": (48, {92: [(10, 30)], 147: [(0, 12), (40, 48)]}),
    "N11GT": (36, {0: [(0, 36)], 156: [(35, 36)]}),
    "0IH69": (24, {}),
}
COLUMNS = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"


@pytest.fixture
def root(tmp_path):
    for name, (frames, _) in VIDEOS.items():
        write_video(tmp_path / "Charades_v1_480" / f"{name}.mp4", frames, fps=FPS)
    return tmp_path


def official(folder, split="train"):
    with (folder / f"Charades_v1_{split}.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS.split(","))
        for name, (frames, actions) in VIDEOS.items():
            text = ";".join(
                f"c{k:03d} {a / FPS:.6f} {b / FPS:.6f}" for k, at in actions.items() for a, b in at
            )
            said = 'A person says "hello",\nand sits; then stands.'
            rows.writerow([name, "HR43", "Kitchen", 6, 7, "Yes", said, "", said, text, frames / 24])
    return folder


def frame_list(folder, name="train.csv"):
    lines = ["original_vido_id video_id frame_id path labels"]
    for number, (video, (frames, actions)) in enumerate(VIDEOS.items()):
        for i in range(frames):
            now = [str(k) for k, at in actions.items() if any(a <= i < b for a, b in at)]
            path = f"{video}/{video}-{i + 1:06d}.jpg"
            lines.append(f'{video} {number} {i} {path} "{",".join(now)}"')
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def by_frame(name, first, last):
    """The union of the labels of frames first to last, straight from the table above."""
    labels = np.zeros(CLASSES, np.float32)
    for k, at in VIDEOS[name][1].items():
        labels[k] = any(a <= i < b for a, b in at for i in range(first, last + 1))
    return labels


@pytest.mark.parametrize("describe", [official, frame_list])
def test_the_labels_of_a_clip_are_the_union_over_its_frames(root, describe):
    listing = list_videos(describe(root))
    assert listing.multi_label and len(listing.labels) == CLASSES
    assert [row.path.stem for row in listing.rows] == list(VIDEOS)
    for row in listing.rows:
        frames = VIDEOS[row.path.stem][0]
        for first in range(frames):
            for last in range(first, frames, 5):
                found = target(row.actions, (first + 0.01) / FPS, (last + 0.01) / FPS)
                np.testing.assert_array_equal(found, by_frame(row.path.stem, first, last))


def test_an_opened_set_has_samples_with_actions_and_no_label(root):
    for split in ("train", "test"):
        official(root, split)
    folder = read_folder(root)
    assert folder.multi_label and folder.labels[92] == "c092"
    sample = folder.splits["train"][0]
    assert sample.label is None and sample.video.frames == 48
    assert sample.actions[0] == Action(
        label=92, start=pytest.approx(10 / 24), end=pytest.approx(30 / 24)
    )
    assert folder.splits["test"][2].actions == ()
    assert "have the same content as train videos" in " ".join(folder.warnings)


def test_frames_may_lie_in_folders(root):
    (root / "Charades_v1_rgb" / "46GP8").mkdir(parents=True)
    listing = list_videos(frame_list(root))
    assert listing.rows[0].path == root / "Charades_v1_480" / "46GP8.mp4"
    (root / "Charades_v1_480" / "46GP8.mp4").unlink()
    listing = list_videos(frame_list(root))
    assert listing.rows[0].path == root / "Charades_v1_rgb" / "46GP8"


def test_an_action_that_ends_before_it_starts_is_left_out_and_said(root):
    file = root / "Charades_v1_train.csv"
    file.write_text("id,actions\n46GP8,c001 9.00 3.00;c002 1 4\nN11GT,\n", encoding="utf-8")
    listing = list_videos(file)
    assert [row.actions for row in listing.rows] == [(Action(label=2, start=1.0, end=4.0),), ()]
    assert listing.notes == [
        f"{file}:2: action 'c001 9.00 3.00' ends before it starts and is left out"
    ]


def test_names_come_from_the_data_sets_own_file(tmp_path):
    assert class_names(tmp_path)[156] == "c156"
    lines = [f"c{k:03d} Holding thing {k}" for k in range(CLASSES)]
    file = tmp_path / "Charades_v1_classes.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert class_names(tmp_path)[3] == "Holding thing 3"
    file.write_text("\n".join(lines[:2] + lines[3:]), encoding="utf-8")
    with pytest.raises(ValueError, match="txt:3: 'c003 Holding thing 3', where c002 and its name"):
        class_names(tmp_path)
    file.write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(ValueError, match="156 classes, Charades has 157"):
        class_names(tmp_path)
