"""The generated long-range set: its law, its files, and what its pictures show."""

import csv
from collections import Counter

import numpy as np
import pytest

from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.longrange import (
    APART,
    CLASSES,
    CUT,
    FRAMES,
    HUES,
    RADIUS,
    SIZE,
    render,
    scene,
    write_longrange,
)
from nonlocalnet.data.sampling import even_clips
from nonlocalnet.data.video import open_video, read_frames

SCENES = [scene(0, i, CLASSES[i % len(CLASSES)]) for i in range(200)]


def test_label_is_the_shape_in_the_hue_of_the_cue():
    for one in SCENES:
        matches = [t for t in one.things[1:] if t.hue == one.cue.hue]
        assert [t.shape for t in matches] == [one.label]
        assert sorted(t.shape for t in one.things[1:]) == sorted(CLASSES)
        assert len({t.hue for t in one.things[1:]}) == len(CLASSES)


def test_neither_half_tells_the_label():
    """Given the cue, or given the shapes and their hues, all labels come up about equally often."""
    many = [scene(1, i, CLASSES[i % len(CLASSES)]) for i in range(800)]
    fair = len(many) / len(CLASSES) ** 2
    by_cue = Counter((one.cue.hue, one.label) for one in many)
    assert all(
        by_cue[hue, label] == pytest.approx(fair, rel=0.4) for hue in HUES for label in CLASSES
    )
    first_hue = Counter((one.things[1].hue, one.label) for one in many)
    assert all(
        first_hue[hue, label] == pytest.approx(fair, rel=0.4) for hue in HUES for label in CLASSES
    )


def test_cue_and_shapes_never_share_a_frame_and_every_clip_sees_both():
    for thing in SCENES[0].things:
        assert (thing.first, thing.last) in {(0, CUT - 1), (CUT, FRAMES - 1)}
    for clip in even_clips(FRAMES, frames=4, stride=6, clips=10):
        assert (clip < CUT).any() and (clip >= CUT).sum() >= 2
    assert len(np.unique(even_clips(FRAMES, 4, 6, 10), axis=0)) == 10


def test_things_stay_inside_and_apart():
    for one in SCENES[:50]:
        for frame in (0, CUT - 1, CUT, FRAMES - 1):
            at = np.array([t.centre(frame) for t in one.things if t.first <= frame <= t.last])
            assert (at > RADIUS).all() and (at < SIZE - 1 - RADIUS).all()
            gaps = [np.hypot(*(a - b)) for i, a in enumerate(at) for b in at[:i]]
            assert min(gaps, default=APART) >= APART


def test_hue_stands_where_the_scene_says():
    one = next(s for s in SCENES if s.label == "disc")
    frames = render(one, [CUT, FRAMES - 1])
    for picture, frame in zip(frames, (CUT, FRAMES - 1), strict=True):
        y, x = (round(v) for v in one.partner.centre(frame))
        assert tuple(picture[y, x]) == HUES[one.cue.hue]


def test_frames_asked_for_equal_those_of_the_whole_video():
    assert np.array_equal(render(SCENES[3])[[5, 20]], render(SCENES[3], [5, 20]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("longrange")
    write_longrange(root, train=8, test=4)
    return root


def test_folder_set_reads_it(folder):
    found = read_folder(folder)
    assert found.labels == sorted(CLASSES) and not found.bad
    assert {name: len(samples) for name, samples in found.splits.items()} == {
        "train": 8,
        "val": 0,
        "test": 4,
    }
    assert all(s.video.frames == FRAMES for split in found.splits.values() for s in split)


def test_hue_survives_the_codec(folder):
    """At both places of places.csv, at both ends of their stay, the decoded pixel has the hue."""
    with (folder / "places.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 24
    for row in rows:
        if row["shape"] == "ring":
            continue  # its middle is a hole
        video = open_video(folder / row["path"])
        for end in ("first", "last"):
            picture = read_frames(video, [int(row[end])])[0].astype(float)
            y, x = (round(float(row[f"{end}_{axis}"])) for axis in "yx")
            seen = picture[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))
            far = {hue: np.abs(seen - rgb).sum() for hue, rgb in HUES.items()}
            assert min(far, key=far.__getitem__) == row["hue"]


def test_same_seed_same_bytes_other_seed_other_videos(folder, tmp_path):
    write_longrange(tmp_path / "again", train=8, test=4)
    write_longrange(tmp_path / "other", train=8, test=4, seed=1)
    for path in sorted(folder.rglob("*.*")):
        name = path.relative_to(folder)
        assert path.read_bytes() == (tmp_path / "again" / name).read_bytes()
        if path.suffix == ".mp4":
            assert path.read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_a_split_that_classes_cannot_share_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"train must be a multiple of {len(CLASSES)} videos"):
        write_longrange(tmp_path, train=len(CLASSES) + 1)
