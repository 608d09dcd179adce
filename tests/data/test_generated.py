"""The small generated sets: pixels say what the lists say."""

import csv
from collections import Counter

import numpy as np
import pytest

from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.generated import (
    ANSWERS,
    MOTIONS,
    RINGS,
    SHAPES,
    drifting,
    matching,
    moving,
    pair,
    write_matches,
    write_pairs,
    write_two_classes,
    write_two_labels,
)
from nonlocalnet.data.longrange import CLASSES, CUT, EDGE, FRAMES, HUES, PAINTS, RADIUS, SIZE
from nonlocalnet.data.sets import video_target
from nonlocalnet.data.video import open_video, read_frames

WRITERS = [write_pairs, write_matches, write_two_classes, write_two_labels]


def coloured(frames):  # (F, H, W, 3) -> (F, H, W)
    """Pixels of a thing: the ground and its grain are grey."""
    frames = frames.astype(int)
    return frames.max(-1) - frames.min(-1) > 60


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    root = tmp_path_factory.mktemp("two-classes")
    write_two_classes(root, train=10, test=5)
    return root


@pytest.fixture(scope="module")
def two_labels(tmp_path_factory):
    root = tmp_path_factory.mktemp("two-labels")
    write_two_labels(root, train=16, test=8)
    return root


def test_both_are_read_as_they_are_meant(two_classes, two_labels):
    one, several = read_folder(two_classes), read_folder(two_labels)
    assert one.labels == list(MOTIONS) and not one.multi_label
    assert Counter(s.label for s in one.splits["train"]) == {0: 10, 1: 10}
    assert Counter(s.label for s in one.splits["test"]) == {0: 5, 1: 5}
    assert several.labels == list(SHAPES) and several.multi_label
    found = Counter(tuple(video_target(s, 2).int().tolist()) for s in several.splits["train"])
    assert found == {(0, 0): 4, (1, 0): 4, (0, 1): 4, (1, 1): 4}
    assert len(several.splits["test"]) == 8
    assert one.warnings == several.warnings == [] and not one.bad + several.bad


def test_what_falls_goes_down_and_what_rises_goes_up(two_classes):
    folder = read_folder(two_classes)
    for sample in folder.splits["train"] + folder.splits["test"]:
        frames = read_frames(sample.video, range(FRAMES))
        rows = [np.nonzero(mask)[0].mean() for mask in coloured(frames)]
        down = np.polyfit(range(FRAMES), rows, 1)[0] * (FRAMES - 1)  # px from first to last
        assert sample.label is not None
        assert (down if MOTIONS[sample.label] == "falls" else -down) > 20


def test_a_class_is_the_other_one_backwards():
    """Places, ways, shapes and hues: the same draw makes both, from opposite ends."""
    for index in range(20):
        (falls,), (rises,) = (moving(0, index, label).things for label in MOTIONS)
        assert (falls.shape, falls.hue) == (rises.shape, rises.hue)
        for frame in (0, 10, FRAMES - 1):
            back = rises.centre(FRAMES - 1 - frame)
            assert falls.centre(frame) == pytest.approx(back)
            assert all(EDGE - 1e-9 <= at <= SIZE - 1 - EDGE + 1e-9 for at in back)


def test_pixels_of_each_hue_say_the_labels(two_labels):
    folder = read_folder(two_labels)
    for sample in folder.splits["train"] + folder.splits["test"]:
        frames = read_frames(sample.video, range(FRAMES)).astype(int)
        mask = coloured(frames)
        red, blue = frames[..., 0], frames[..., 2]
        seen = {"blue": (mask & (blue > red)).sum(), "orange": (mask & (red > blue)).sum()}
        shown = [seen[hue] / FRAMES > 50 for hue in SHAPES.values()]  # px in each frame
        assert video_target(sample, 2).bool().tolist() == shown


def test_things_of_two_labels_drift_and_stay_apart():
    for index in range(20):
        one = drifting(0, index, list(SHAPES))
        assert {thing.hue for thing in one.things} == set(HUES)
        gaps = [
            np.hypot(*np.subtract(*(thing.centre(frame) for thing in one.things)))
            for frame in range(FRAMES)
        ]
        assert min(gaps) > 20 and max(gaps) - min(gaps) > 0


def test_neither_thing_of_a_pair_tells_the_label_but_both_do():
    pairs = [pair(0, index, ANSWERS[index % 2]) for index in range(800)]
    both = Counter((one.cue.hue, one.partner.shape, one.label) for one in pairs)
    assert {triple: 170 < n < 230 for triple, n in both.items()} == {
        (RINGS[0], CLASSES[0], "yes"): True,
        (RINGS[1], CLASSES[1], "yes"): True,
        (RINGS[0], CLASSES[1], "no"): True,
        (RINGS[1], CLASSES[0], "no"): True,
    }


def test_no_half_of_a_scene_tells_a_label_but_both_halves_do():
    """Which half holds what: the ring, or the cross and the disc."""
    subsets = [(), CLASSES[:1], CLASSES[1:], CLASSES]
    scenes = [matching(0, index, subsets[index % 4]) for index in range(800)]
    for number, shape in enumerate(CLASSES):
        halves = Counter()
        for one in scenes:
            ring, *shapes = one.things
            has = shape in one.label.split(";")
            assert has == (shapes[number].hue == ring.hue)
            halves[ring.hue, has] += 1
            halves[*(thing.hue for thing in shapes), has] += 1
        ring_alone = [n for key, n in halves.items() if len(key) == 2]
        shapes_alone = [n for key, n in halves.items() if len(key) == 3]
        assert len(ring_alone) == 4 and all(170 < n < 230 for n in ring_alone)
        assert len(shapes_alone) == 8 and all(70 < n < 130 for n in shapes_alone)
        assert all(thing.first == CUT > ring.last for thing in shapes)


def test_a_pair_is_where_its_list_says(tmp_path):
    write_pairs(tmp_path, train=4, test=4)
    found = read_folder(tmp_path)
    assert found.labels == list(ANSWERS) and len(found.splits["test"]) == 4
    with (tmp_path / "places.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["role"] for row in rows] == ["cue", "partner"] * 8
    for row in rows:
        video = open_video(tmp_path / row["path"])
        frame = int(row["last"])
        assert frame == (CUT - 1 if row["role"] == "cue" else FRAMES - 1)
        y, x = (float(row[f"last_{axis}"]) for axis in "yx")
        x += 0.95 * RADIUS if row["shape"] == "ring" else 0  # its middle is a hole
        picture = read_frames(video, [frame])[0].astype(float)
        seen = picture[round(y) - 1 : round(y) + 2, round(x)].mean(0)
        far = {hue: np.abs(seen - PAINTS[hue]).sum() for hue in (*RINGS, "grey")}
        assert min(far, key=far.__getitem__) == row["hue"]


@pytest.mark.parametrize("write", WRITERS)
def test_same_seed_same_bytes_other_seed_other_videos(write, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write(tmp_path / name, train=2, test=2, seed=seed)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        name = path.relative_to(tmp_path / "one")
        assert path.read_bytes() == (tmp_path / "again" / name).read_bytes()
        if path.suffix == ".mp4":
            assert path.read_bytes() != (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("write", WRITERS)
def test_a_split_without_videos_is_refused(write, tmp_path):
    with pytest.raises(ValueError, match="test must be 1 video or more, got 0"):
        write(tmp_path, test=0)
