"""Warped clips are affine pictures of the frames, the same one for all frames of a clip."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from videos import number_of, write_video

from nonlocalnet.data.augment import random_shade, random_warp, warp_crop
from nonlocalnet.data.clips import ClipConfig, even_numbers, even_views, training_view
from nonlocalnet.data.video import open_video
from nonlocalnet.data.windows import sliding_windows

WARPED = ClipConfig(
    frames=8, stride=2, crop=32, short_side=(32, 40), test_short_side=32, flip=False, warp=1.0
)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + k) * np.cos(y / 7 - k) for k in range(3)]
    return (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_equals_pillow(seed):
    """Pillow's bilinear affine transform of the same picture, inside the frame."""
    frame, (top, left, side) = smooth(60, 84), (14, 20, 32)
    warp = random_warp(0.5, np.random.default_rng(seed))
    # Both in px: crop pixel (u, v) -> crop units -> warp -> px of the frame.
    half, middle = side / 2, np.array([left + side / 2, top + side / 2])
    matrix = warp[:, :2]
    offset = middle + half * warp[:, 2] - matrix @ np.array([half, half])
    data = np.column_stack((matrix, offset)).ravel().tolist()
    transform, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    want = Image.fromarray(frame).transform((side, side), transform, data, bilinear)
    (got,) = warp_crop(frame[None], (top, left, side), warp)
    assert np.abs(got.astype(int) - np.asarray(want).astype(int)).max() <= 1


def test_no_warp_is_the_crop_and_beyond_the_frame_is_black():
    frames = np.random.default_rng(0).integers(1, 256, (3, 20, 30, 3), dtype=np.uint8)
    window = (4, 9, 12)
    same = warp_crop(frames, window, random_warp(0.0, np.random.default_rng(1)))
    np.testing.assert_array_equal(same, frames[:, 4:16, 9:21])
    right = np.array([[1.0, 0, 2 * 15 / 12], [0, 1.0, 0]])  # 15 px: the frame ends after 6 of 12
    moved = warp_crop(frames, window, right)
    np.testing.assert_array_equal(moved[:, :, :6], frames[:, 4:16, 24:30])
    assert not moved[:, :, 6:].any()


def test_all_frames_of_a_clip_are_warped_alike_and_clips_differently():
    still = open_video(np.repeat(smooth(48, 60)[None], 40, 0), fps=30.0)
    clips = [training_view(still, WARPED, np.random.default_rng(seed)).frames for seed in range(6)]
    for clip in clips:
        assert clip.shape == (8, 32, 32, 3)
        np.testing.assert_array_equal(clip, np.repeat(clip[:1], 8, 0))
    assert len({clip.tobytes() for clip in clips}) == 6


def test_warps_stay_within_their_amount():
    rng = np.random.default_rng(0)
    warps = np.stack([random_warp(0.6, rng) for _ in range(2000)])
    areas = np.log(np.linalg.det(warps[:, :, :2])) / 2  # the mean of both zooms, but for the shear
    assert np.abs(areas).max() < 0.6 * 0.2 + 0.02
    assert np.abs(areas).max() > 0.6 * 0.2 - 0.02
    assert 0.6 * 0.12 < np.abs(warps[:, :, 2]).max() <= 0.6 * 0.13
    assert np.abs(warps.mean(0) - np.eye(2, 3)).max() < 0.02


def test_shades_are_rising_curves_that_leave_black_black():
    rng = np.random.default_rng(0)
    curves = np.stack([random_shade(0.7, rng) for _ in range(500)]).astype(int)
    assert (np.diff(curves) >= 0).all()
    assert not curves[:, 0].any()
    want = [255 * (math.exp(0.7 * s * 0.3) / 2) ** math.exp(-0.7 * s * 0.4) for s in (-1, 1)]
    assert curves[:, 128].min() == pytest.approx(want[0], abs=6)
    assert curves[:, 128].max() == pytest.approx(want[1], abs=6)


def test_a_shaded_clip_is_its_curve_of_the_plain_one():
    still = open_video(np.repeat(smooth(48, 60)[None], 40, 0), fps=30.0)
    plain = replace(WARPED, warp=0.0)
    before = training_view(still, plain, np.random.default_rng(3)).frames
    after = training_view(still, replace(plain, shade=0.7), np.random.default_rng(3)).frames
    curve = {(int(a), int(b)) for a, b in zip(before.ravel(), after.ravel(), strict=True)}
    assert len(curve) == len(np.unique(before))
    assert not np.array_equal(before, after)


def test_ticks_show_the_same_of_a_slow_and_a_fast_video(tmp_path):
    config = ClipConfig(
        frames=6, stride=4, ticks=30, crop=64, short_side=(64, 64), test_short_side=64
    )
    fast = open_video(write_video(tmp_path / "fast.mp4", 30))
    slow = open_video(write_video(tmp_path / "slow.mp4", 60))
    want, got = (even_numbers(video, config, 3) for video in (fast, slow))
    assert want[:, 0].tolist() == [0, 3, 6]
    assert np.abs(got - 2 * want).max() <= 1
    views = even_views(slow, config, 3)
    assert [number_of(frame) for frame in views[1]] == got[1].tolist()


def test_windows_of_ticks_are_in_seconds_of_the_video():
    video = open_video(np.zeros((100, 8, 8, 3), np.uint8), fps=10.0)
    config = ClipConfig(frames=4, stride=5, ticks=50)
    windows = sliding_windows(video, config)
    assert (windows.start[0], windows.end[0]) == pytest.approx((0, 4.0))  # 20 of 50 ticks of 10 s
    assert windows.end[-1] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ticks": 0}, "clip.ticks=0 must lie between 1 and 10000"),
        ({"ticks": 30, "fps": 15.0}, "without clip.fps, got fps=15.0"),
        ({"warp": -1.0}, "clip.warp=-1 and clip.shade=0 must lie between 0 and 2"),
    ],
)
def test_impossible_warps_and_ticks_are_errors(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipConfig(**options)
