"""The reader returns the frames asked for, whatever the container does."""

import numpy as np
import pytest
from videos import frame_with_number, number_of, write_sound, write_video

from nonlocalnet.data.video import BadVideo, open_video, read_frames

KINDS = {
    "closed-gop": {},
    "no-b-frames": {"options": {"bf": "0"}},
    "open-gop": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0"}},
    "one-key-frame": {"options": {"g": "1000"}},
    "late-first-stamp": {"pts": [90 + i for i in range(50)]},
    "variable-rate": {"pts": [i * i // 4 + 2 * i for i in range(50)]},
    "with-sound": {"audio": True},
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_index_means_the_same_frame_however_it_is_reached(tmp_path, kind, suffix):
    video = open_video(write_video(tmp_path / f"v{suffix}", 50, **KINDS[kind]))
    assert video.frames == 50
    assert [number_of(f) for f in read_frames(video, range(50))] == list(range(50))
    rng = np.random.default_rng(0)
    for _ in range(6):
        wanted = rng.integers(0, 50, size=5)
        assert [number_of(f) for f in read_frames(video, wanted)] == wanted.tolist()
    for index in (0, 11, 12, 13, 49):
        assert number_of(read_frames(video, [index])[0]) == index


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_is_counted_from_the_start(tmp_path, codec):
    video = open_video(write_video(tmp_path / "v.avi", 40, codec=codec))
    wanted = [3, 17, 17, 39, 0]
    assert [number_of(f) for f in read_frames(video, wanted)] == wanted


def test_times_of_a_variable_rate_are_the_time_stamps(tmp_path):
    pts = [0, 1, 5, 6, 30, 31]
    video = open_video(write_video(tmp_path / "v.mp4", 6, pts=[p + 7 for p in pts]))
    np.testing.assert_allclose(video.seconds, np.array(pts) / 30, atol=1e-3)
    assert video.fps == pytest.approx(5 * 30 / 31, rel=1e-3)


def test_pixels_are_those_that_were_encoded(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 5))
    error = read_frames(video, [3])[0].astype(float) - frame_with_number(3)
    assert 10 * np.log10(255**2 / (error**2).mean()) > 28  # H.264 at crf 18, hard edges


def test_a_phone_clip_is_turned_upright(tmp_path):
    plain = open_video(write_video(tmp_path / "plain.mp4", 4))
    phone = open_video(write_video(tmp_path / "phone.mp4", 4, turn=True))
    assert (phone.height, phone.width) == (96, 64)
    upright = np.rot90(read_frames(plain, [2])[0], -1)  # clockwise, as the flag says
    np.testing.assert_array_equal(read_frames(phone, [2])[0], upright)
    assert upright[8, 8, 0] > 180 > 90 > upright[8, 8, 2]  # the red corner is now top left
    assert read_frames(phone, [0, 1], short_side=32).shape == (2, 48, 32, 3)


def test_a_clip_cut_short_still_reads(tmp_path):
    path = write_video(tmp_path / "v.mkv", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    video = open_video(path)
    assert 0 < video.frames < 60
    assert number_of(read_frames(video, [1])[0]) == 1
    read_frames(video, range(video.frames))


def test_one_frame_is_a_video(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 1))
    assert video.frames == 1
    assert number_of(read_frames(video, [0, 0, 0])[2]) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(lambda p: None, "no such file", id="missing"),
        pytest.param(lambda p: p.write_bytes(b""), "empty", id="empty"),
        pytest.param(lambda p: p.write_text("hello\n" * 99), "not a video", id="text"),
        pytest.param(write_sound, "no video stream", id="sound-only"),
        pytest.param(lambda p: p.mkdir(), "a folder", id="folder"),
    ],
)
def test_what_is_no_video_is_said_in_one_sentence(tmp_path, make, sentence):
    path = tmp_path / "v.mp4"
    make(path)
    with pytest.raises(BadVideo, match=sentence) as caught:
        open_video(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_an_error(fps):
    with pytest.raises(ValueError, match="frames per second must be above 0"):
        open_video(np.zeros((2, 8, 8, 3), np.uint8), fps=fps)


def test_an_index_outside_is_an_error_with_its_numbers(tmp_path):
    video = open_video(write_video(tmp_path / "v.mp4", 5))
    with pytest.raises(ValueError, match="numbered 0 to 4, asked for \\[2, 5\\]"):
        read_frames(video, [2, 5])
