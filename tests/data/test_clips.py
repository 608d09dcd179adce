"""Sampling and augmentation of Sec. 4.1."""

import numpy as np
import pytest
import torch
from videos import number_of, write_video

from nonlocalnet.data.clips import ClipConfig, even_views, to_input, training_view
from nonlocalnet.data.folder import Sample
from nonlocalnet.data.sampling import even_clips, random_clip
from nonlocalnet.data.sets import TrainClips
from nonlocalnet.data.video import open_video

SMALL = ClipConfig(frames=4, stride=3, crop=32, short_side=(40, 48), test_short_side=64)


def test_the_papers_clip_is_every_other_of_64_consecutive_frames():
    starts = set()
    for seed in range(300):
        clip = random_clip(70, 32, 2, np.random.default_rng(seed))
        assert (np.diff(clip) == 2).all()
        assert clip[-1] < 70
        starts.add(int(clip[0]))
    assert starts == set(range(70 - 64 + 1))


def test_ten_clips_spread_from_the_first_frame_to_the_last():
    clips = even_clips(300, 32, 2, 10)
    assert clips.shape == (10, 32)
    assert clips[:, 0].tolist() == [round(j * (300 - 64) / 9) for j in range(10)]
    assert clips[-1, -1] == 300 - 2


def test_a_short_video_loops():
    assert even_clips(5, 4, 2, 3).tolist() == [[0, 2, 4, 1]] * 3


def test_views_show_the_frames_they_name(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 40))
    views = even_views(video, SMALL, clips=5)
    assert len(views) == 5
    for view, numbers in zip(views, views.numbers, strict=True):
        assert view.shape == (4, 64, 96, 3)
        assert [number_of(f) for f in view] == numbers.tolist()


def test_three_crops_are_the_ends_and_the_middle_of_the_long_side(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 20))
    whole, crops = even_views(video, SMALL, 2, 1), even_views(video, SMALL, 2, 3)
    assert len(crops) == 6
    for clip in range(2):
        for k, left in enumerate((0, 16, 32)):
            np.testing.assert_array_equal(crops[3 * clip + k], whole[clip][:, :, left : left + 64])


def test_training_views_jitter_size_place_and_mirror(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 40))
    clips = [training_view(video, SMALL, np.random.default_rng(s)).frames for s in range(20)]
    assert {clip.shape for clip in clips} == {(4, 32, 32, 3)}
    assert len({clip.tobytes() for clip in clips}) == 20
    plain = ClipConfig(
        frames=40, stride=1, crop=64, short_side=(64, 64), test_short_side=64, flip=False
    )
    clip = training_view(video, plain, np.random.default_rng(0)).frames
    frames = even_views(video, plain, 1)[0]
    assert any((clip == frames[:, :, x : x + 64]).all() for x in range(33))


def test_an_item_depends_on_seed_epoch_and_index_only(tmp_path):
    samples = [
        Sample(video=open_video(write_video(tmp_path / f"{i}.mp4", 40)), label=i) for i in range(3)
    ]
    first, again = TrainClips(samples, SMALL, 7), TrainClips(samples, SMALL, 7)
    keys = [(0, 1), (1, 1), (0, 2)]
    want = [first[key].clip for key in keys]
    got = [again[key].clip for key in reversed(keys)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
    assert not torch.equal(want[0], want[1])
    assert not torch.equal(want[0], TrainClips(samples, SMALL, 8)[(0, 1)].clip)


def test_input_of_weights_that_know_channels_apart():
    config = ClipConfig(mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    white = to_input(torch.full((1, 2, 4, 4, 3), 255, dtype=torch.uint8), config)
    assert white.amin((0, 2, 3, 4)).tolist() == white.amax((0, 2, 3, 4)).tolist() == [1, 1, 0]


def test_input_is_normalised_and_already_channels_last():
    clips = torch.randint(0, 256, (2, 4, 5, 6, 3), dtype=torch.uint8)
    x = to_input(clips, SMALL)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(x[1, 2, 3, 4, 5], (clips[1, 3, 4, 5, 2] / 255 - 0.45) / 0.225)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crop": 300}, r"clip.crop=300 px does not fit clip.short_side=\(256, 320\) px"),
        ({"frames": 0}, "frames=0"),
    ],
)
def test_impossible_clips_are_errors(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipConfig(**options)


def test_views_other_than_whole_frame_or_three_crops_are_errors(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 5))
    with pytest.raises(ValueError, match="got 10x2"):
        even_views(video, SMALL, 10, 2)
