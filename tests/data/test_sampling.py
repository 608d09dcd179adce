"""Sampling by time: the same moments whatever the frame rate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from videos import number_of, write_video

from nonlocalnet.data.clips import (
    CHARADES,
    ClipConfig,
    by_time,
    clips_around,
    even_numbers,
    even_views,
    source_frames,
    training_view,
)
from nonlocalnet.data.sampling import at_rate, clip_at, even_clips
from nonlocalnet.data.video import open_video

PAPER = ClipConfig()  # 32 frames, every other one of 64 consecutive
SMALL = ClipConfig(frames=4, stride=3, crop=32, short_side=(32, 40), test_short_side=64)


def video_of(frames, rate=30.0):
    """A video of a constant rate; its pictures do not matter."""
    return open_video(np.zeros((frames, 2, 2, 3), np.uint8), fps=rate)


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 4), st.integers(1, 10))
@pytest.mark.parametrize("short", ["loop", "clamp"])
@pytest.mark.parametrize("starts", ["even", "released"])
def test_by_time_is_by_frames_at_constant_30_fps(starts, short, total, frames, stride, clips):
    config = replace(PAPER, frames=frames, stride=stride, short=short, starts=starts)
    video = video_of(total)
    by_frames = even_numbers(video, config, clips)
    np.testing.assert_array_equal(even_numbers(video, replace(config, fps=30.0), clips), by_frames)


def test_a_training_view_by_time_is_that_by_frames_at_30_fps(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 40))
    for seed in range(5):
        clips = [
            training_view(video, replace(SMALL, fps=fps), np.random.default_rng(seed)).frames
            for fps in (None, 30.0)
        ]
        np.testing.assert_array_equal(*clips)


@pytest.mark.parametrize("rate", [15, 25, 24000 / 1001, 30000 / 1001, 50, 60, 120])
def test_every_rate_shows_the_same_moments(rate):
    """Ten seconds at another rate: each kept frame is within half a frame of its moment."""
    timed = replace(PAPER, fps=30.0)
    moments = even_numbers(video_of(300), PAPER, 10) / 30
    video = video_of(round(10 * rate), rate)
    found = video.seconds[even_numbers(video, timed, 10)]
    assert np.abs(found - moments).max() <= 0.5 / rate + 2e-6
    assert len(source_frames(video, timed)) == 300


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.sampled_from([7.5, 15.0, 30.0]))
def test_a_variable_rate_gives_the_frames_nearest_to_the_moments(gaps, fps):
    seconds = np.concatenate([[0], np.cumsum(gaps)]) / 1000
    end = seconds[-1] + 0.04
    frames = at_rate(seconds, end, fps)
    moments = np.arange(len(frames)) / fps
    assert len(frames) == max(round(end * fps), 1)
    nearest = np.abs(seconds[None] - moments[:, None]).min(1)
    np.testing.assert_allclose(np.abs(seconds[frames] - moments), nearest, atol=3e-6)


def test_a_variable_rate_file_is_read_at_those_moments(tmp_path):
    rng = np.random.default_rng(0)
    pts = np.cumsum(rng.integers(10, 90, 60))
    video = open_video(write_video(tmp_path / "v.mp4", 60, fps=1000, pts=pts.tolist()))
    config = replace(SMALL, frames=8, stride=6, fps=30.0)
    views = even_views(video, config, clips=2)
    shown = (pts - pts[0]) / 1000
    end = shown[-1] + shown[-1] / 59
    start = (round(end * 30) - 48) / 30
    for first, view in zip((0, start), views, strict=True):
        moments = first + np.arange(8) / 5
        nearest = np.abs(shown[None] - moments[:, None]).argmin(1)
        assert [number_of(frame) for frame in view] == nearest.tolist()


@pytest.mark.parametrize(
    ("seconds", "fps", "want"),
    [
        (64 / 30, 15, {"frames": 32, "stride": 2, "fps": 30.0}),
        (128 / 30, 30, {"frames": 128, "stride": 1, "fps": 30.0}),
        (64 / 30, 3.75, {"frames": 8, "stride": 8, "fps": 30.0}),
        (16, 1, {"frames": 16, "stride": 30, "fps": 30.0}),
        (2, 60, {"frames": 120, "stride": 1, "fps": 60.0}),
    ],
)
def test_seconds_and_rate_are_frames_and_stride(seconds, fps, want):
    assert by_time(seconds, fps) == want


def test_a_short_video_loops_or_stands_still():
    video = video_of(5)
    for fps in (None, 30.0):
        loop = replace(PAPER, frames=4, stride=2, fps=fps)
        assert even_numbers(video, loop, 2).tolist() == [[0, 2, 4, 1]] * 2
        clamp = replace(loop, short="clamp")
        assert even_numbers(video, clamp, 2).tolist() == [[0, 2, 4, 4]] * 2
    assert even_numbers(video_of(1), replace(PAPER, fps=30.0), 3).tolist() == [[0] * 32] * 3


def test_released_starts_are_tenths_and_run_over_the_end():
    clips = even_clips(305, 32, 2, 10, starts="released")
    assert clips[:, 0].tolist() == [int(305 / 10 * j) for j in range(10)]
    assert clips[9].tolist() == [(274 + 2 * k) % 305 for k in range(32)]


@pytest.mark.parametrize("fps", [None, 30.0, 10.0])
@pytest.mark.parametrize("frame", [0, 7, 55, 100])
def test_a_clip_around_a_frame_holds_it(frame, fps):
    video = video_of(110)
    config = ClipConfig(frames=8, stride=2, fps=fps)
    clip, _ = clips_around(video, frame, config)
    tick = 0 if fps is None else 15 / fps
    assert np.abs(clip - frame).min() <= tick
    assert (np.diff(clip) > 0).all()


def test_charades_scales_the_kinetics_window_to_288_px():
    assert CHARADES.crop / 224 == pytest.approx(CHARADES.short_side[0] / 256, rel=2e-3)
    assert CHARADES.crop / 224 == pytest.approx(CHARADES.short_side[1] / 320, rel=2e-3)
    assert (CHARADES.frames, CHARADES.stride, CHARADES.test_short_side) == (128, 1, 320)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fps": 0.0}, "clip.fps=0 must lie between 0 and 1000"),
        ({"short": "wrap"}, "clip.short must be one of loop, clamp, got 'wrap'"),
        ({"starts": "random"}, "clip.starts must be one of even, released, got 'random'"),
    ],
)
def test_impossible_sampling_is_an_error(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipConfig(**options)


def test_no_frame_in_no_time():
    with pytest.raises(ValueError, match=r"seconds=0\.1 at fps=2 has no frame"):
        by_time(0.1, 2)


def test_the_rule_in_words_follows_the_choice():
    assert PAPER.start_rule == (
        "round(j (N - span) / (clips - 1)), N and span in frames; short videos loop"
    )
    other = ClipConfig(fps=30.0, short="clamp", starts="released")
    assert other.start_rule == (
        "int(j N / clips), N and span in frames at 30 fps; short videos repeat their last frame"
    )
    assert clip_at(3, 5, 4, 1, "clamp").tolist() == [3, 4, 4, 4]
