"""Several labels per video: which of them a clip has, which the video, and lists that name them."""

import math

import numpy as np
import pytest
import torch
from videos import write_video

from nonlocalnet.data.clips import ClipConfig, even_views, training_view, video_views
from nonlocalnet.data.folder import Sample, read_folder
from nonlocalnet.data.listed import Action
from nonlocalnet.data.listing import list_videos
from nonlocalnet.data.sets import TestVideos, TrainClips, video_target
from nonlocalnet.data.video import open_video

CLIP = ClipConfig(frames=4, stride=3, crop=16, short_side=(16, 24), test_short_side=16)
FPS = 10
ACTIONS = {0: [(3, 9)], 1: [(0, 2), (30, 31)], 2: [(15, 40)]}  # class: frames from, up to


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """40 frames, each of one grey that tells its number whatever is cropped, scaled or mirrored."""
    path = tmp_path_factory.mktemp("grey") / "v.mp4"
    write_video(path, [np.full((32, 48, 3), 20 + 5 * i, np.uint8) for i in range(40)], fps=FPS)
    actions = [
        Action(label=k, start=a / FPS, end=b / FPS) for k, at in ACTIONS.items() for a, b in at
    ]
    return Sample(video=open_video(path), actions=tuple(actions))


def union(first, last):
    """Labels of the frames first to last, straight from the table above."""
    shown = range(first, last + 1)
    return [float(any(a <= i < b for a, b in at for i in shown)) for at in ACTIONS.values()]


@pytest.mark.parametrize("fps", [None, 10.0, 30.0])
def test_a_training_clip_has_the_labels_of_what_it_shows(sample, fps):
    config = ClipConfig(**{**vars(CLIP), "fps": fps})
    clips = TrainClips([sample], config, seed=1, classes=3)
    seen = set()
    for epoch in range(40):
        item = clips[(epoch, 0)]
        numbers = ((item.clip.double().mean((1, 2, 3)) - 20) / 5).round().int()
        assert item.label.dtype == torch.float32
        assert item.label.tolist() == union(int(numbers.min()), int(numbers.max()))
        seen.add(tuple(item.label.tolist()))
    assert len(seen) >= 3


def test_a_looped_clip_has_the_labels_from_its_earliest_to_its_latest_frame(sample):
    config = ClipConfig(**{**vars(CLIP), "stride": 15})  # 60 of 40 frames: 0, 15, 30, 5
    item = TrainClips([sample], config, seed=1, classes=3)[(0, 0)]
    assert item.label.tolist() == union(0, 30) == [1, 1, 1]
    late = Sample(video=sample.video, actions=(Action(label=0, start=3.1, end=3.9),))
    assert TrainClips([late], config, seed=1, classes=3)[(0, 0)].label.tolist() == [0, 0, 0]


def test_labels_change_nothing_about_the_clips(sample):
    one = TrainClips([Sample(video=sample.video, label=2)], CLIP, seed=5)
    several = TrainClips([sample], CLIP, seed=5, classes=3)
    for epoch in range(5):
        assert torch.equal(one[(epoch, 0)].clip, several[(epoch, 0)].clip)
        assert one[(epoch, 0)].label.item() == 2 and one[(epoch, 0)].label.dtype == torch.int64


def test_a_batch_stacks_the_labels(sample):
    clips = TrainClips([sample], CLIP, seed=5, classes=3)
    loader = torch.utils.data.DataLoader(clips, batch_sampler=[[(0, 0), (7, 0)]])
    (batch,) = loader
    assert batch.label.shape == (2, 3)


def test_a_video_has_the_labels_of_all_its_actions(sample):
    """Those as well that last no time or begin after the end, as in the published scripts."""
    assert video_target(sample, 4).tolist() == [1, 1, 1, 0]
    odd = (Action(label=1, start=0.0, end=0.0), Action(label=3, start=99.0, end=120.0))
    assert video_target(Sample(video=sample.video, actions=odd), 4).tolist() == [0, 1, 0, 1]
    assert video_target(Sample(video=sample.video), 4).tolist() == [0, 0, 0, 0]


def test_the_jittered_view_is_a_training_clip_of_seed_and_index(sample):
    videos = TestVideos([sample] * 6, CLIP, None, seed=4)
    again = TestVideos([sample] * 6, CLIP, None, seed=4)
    views = [videos[i].views for i in range(6)]
    for i in reversed(range(6)):
        want = training_view(sample.video, CLIP, np.random.default_rng((4, i)))
        assert len(views[i]) == 1 and views[i][0].shape == (4, 16, 16, 3)
        np.testing.assert_array_equal(views[i][0], want[0])
        np.testing.assert_array_equal(again[i].views[0], want[0])
        np.testing.assert_array_equal(views[i].numbers, want.numbers)
    assert len({view[0].tobytes() for view in views}) == 6
    assert not np.array_equal(video_views(sample.video, CLIP, None, 5, 0)[0], views[0][0])
    even = video_views(sample.video, CLIP, (2, 3))
    np.testing.assert_array_equal(even[4], even_views(sample.video, CLIP, 2, 3)[4])


def folder_of(root, text, *names):
    for name in names or ("a", "b", "c"):
        write_video(root / f"{name}.mp4", 12, fps=FPS)
    (root / "videos.csv").write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_list_of_several_labels(tmp_path, separator):
    rows = [("path", "labels", "split"), ("a.mp4", "wave; run", "train")]
    rows += [("b.mp4", "run", "train"), ("c.mp4", "", "test")]
    root = folder_of(tmp_path, "\n".join(separator.join(row) for row in rows))
    folder = read_folder(root)
    assert folder.multi_label and folder.labels == ["run", "wave"]
    assert [s.label for split in folder.splits.values() for s in split] == [None] * 3
    train = folder.splits["train"]
    assert [video_target(s, 2).tolist() for s in train] == [[1, 1], [1, 0]]
    assert video_target(folder.splits["test"][0], 2).tolist() == [0, 0]
    clips = TrainClips(train, ClipConfig(**{**vars(CLIP), "stride": 1}), 0, classes=2)
    assert [clips[(0, i)].label.tolist() for i in (0, 1)] == [[1, 1], [1, 0]]
    assert all(a == Action(label=a.label, start=0, end=math.inf) for a in train[0].actions)


def test_semicolons_between_cells_leave_those_between_labels_in_quotes(tmp_path):
    root = folder_of(tmp_path, 'path;labels\na.mp4;"run;wave"\nb.mp4;run\nc.mp4;wave\n')
    listing = list_videos(root)
    labels = {row.path.stem: [action.label for action in row.actions] for row in listing.rows}
    assert labels == {"a": [0, 1], "b": [0], "c": [1]}


def test_numbers_get_names_from_the_class_list_or_the_trained_network(tmp_path):
    root = folder_of(tmp_path, "path,labels\na.mp4,2;0\nb.mp4,0\nc.mp4,02;2;0\n")
    numbered = list_videos(root)
    assert numbered.labels == ["0", "2"] and "without 1" in " ".join(numbered.notes)
    assert [a.label for a in numbered.rows[0].actions] == [1, 0]
    (root / "classes.txt").write_text("run\nsit\nwave\n", encoding="utf-8")
    named = list_videos(root)
    assert named.labels == ["run", "sit", "wave"]
    assert [a.label for a in named.rows[0].actions] == [2, 0]
    (root / "classes.txt").unlink()
    (root / "videos.csv").write_text("path,labels\na.mp4,wave;Run\nb.mp4,\n", encoding="utf-8")
    known = list_videos(root, labels=["sit", "wave", "run"])
    assert [a.label for a in known.rows[0].actions] == [1, 2]
    with pytest.raises(ValueError, match=r"label 'wave' is none of the 2 classes of the network"):
        list_videos(root, labels=["sit", "run"])


def test_a_set_of_one_video_cannot_be_split(tmp_path):
    root = folder_of(tmp_path, "path,labels\na.mp4,run;sit\n", "a")
    with pytest.raises(ValueError, match="the set has 1 video, needs at least 2"):
        list_videos(root)


def test_one_kind_of_labels_in_a_set(tmp_path):
    root = folder_of(tmp_path, "")
    (root / "videos.csv").unlink()
    (root / "train.csv").write_text("path,label\na.mp4,run\nb.mp4,sit\n", encoding="utf-8")
    (root / "val.csv").write_text("path,labels\nc.mp4,run;sit\n", encoding="utf-8")
    with pytest.raises(ValueError, match="some have one label per video, some several labels per"):
        list_videos(root)
