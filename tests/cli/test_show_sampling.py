"""What show-sampling prints, word for word, and what its picture shows."""

import json

import numpy as np
import pytest
from matplotlib.axes import Axes
from videos import write_video

from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig, even_views
from nonlocalnet.data.video import open_video

PAPER = """\
clip.mp4: 100 frames in 3.33 s (30.00 per second), 96x64 px
each clip: 32 frames, 1 in 2 of 64 consecutive
starts: round(j (N - span) / (clips - 1)), N and span in frames; short videos
    loop
each frame: 256x256 px of 384x256, at x = 0, 64, 128

clip         seconds  frames
   1    0.00 to 2.07  0-62 by 2
   2    0.60 to 2.67  18-80 by 2
   3    1.20 to 3.27  36-98 by 2
"""
BY_TIME = """\
clip.mp4: 40 frames in 2.61 s (15.35 per second), 96x64 px
each clip: 24 frames, 1 in 3 of 72 consecutive at 30 fps, 2.40 s
starts: round(j (N - span) / (clips - 1)), N and span in frames at 30 fps; short
    videos loop
each frame: whole, 96x64 px

clip         seconds  frames
   1    0.00 to 2.28  0, 1, 3, 7, 9-15, 17-20, 22, 24-26, 28-30, 32, 34
   2    0.19 to 2.48  3, 7, 9-15, 17-20, 22, 24-26, 28-30, 32, 34, 37, 38
"""
SHORT = """\
clip.mp4: 20 frames in 0.67 s (30.00 per second), 96x64 px
each clip: 8 frames, 1 in 4 of 32 consecutive
starts: int(j N / clips), N and span in frames; short videos loop
each frame: whole, 384x256 px

clip         seconds  frames
   1    0.00, looped  0-16 by 4, 0-8 by 4
   2    0.33, looped  10-18 by 4, 2-18 by 4
"""


def show(tmp_path, capsys, frames, *arguments, **video):
    write_video(tmp_path / "clip.mp4", frames, **video)
    assert main(["show-sampling", str(tmp_path / "clip.mp4"), *arguments]) == 0
    return capsys.readouterr().out


def test_the_papers_clips(tmp_path, capsys):
    assert show(tmp_path, capsys, 100, "--views", "3x3") == PAPER


def test_clips_by_time_of_a_variable_rate(tmp_path, capsys):
    pts = np.cumsum(np.random.default_rng(0).integers(15, 120, 40)).tolist()
    text = show(
        tmp_path,
        capsys,
        40,
        *("--seconds", "2.4", "--fps", "10", "--views", "2x1", "--short_side", "64"),
        fps=1000,
        pts=pts,
    )
    assert text == BY_TIME


def test_a_short_video_and_the_released_starts(tmp_path, capsys):
    arguments = ["--frames", "8", "--stride", "4", "--views", "2x1", "--starts", "released"]
    text = show(tmp_path, capsys, 20, *arguments)
    assert text == SHORT
    assert max(map(len, (PAPER + BY_TIME + SHORT).splitlines())) <= 80


def test_json_names_the_very_frames_a_test_sees(tmp_path, capsys):
    report = json.loads(
        show(tmp_path, capsys, 90, "--seconds", "1", "--fps", "8", "--views", "4x3", "--json")
    )
    assert report["clip"]["fps"] == 32.0
    config = ClipConfig(**{**report["clip"], "short_side": (256, 320)})
    video = open_video(tmp_path / "clip.mp4")
    views = even_views(video, config, 4, 3)
    assert [row["frames"] for row in report["clips"]] == views.numbers.tolist()
    np.testing.assert_allclose(
        [row["seconds"] for row in report["clips"]], video.seconds[views.numbers], atol=6e-4
    )
    assert [tuple(crop.values()) for crop in report["crops"]] == list(views.squares)


def test_the_picture_marks_each_kept_frame_and_each_crop(tmp_path, capsys, monkeypatch):
    marks, boxes = [], []
    plot, patch = Axes.eventplot, Axes.add_patch
    monkeypatch.setattr(
        Axes, "eventplot", lambda self, at, **k: marks.append((at[0], k)) or plot(self, at, **k)
    )
    monkeypatch.setattr(Axes, "add_patch", lambda self, p: boxes.append(p) or patch(self, p))
    picture = tmp_path / "s.png"
    text = show(tmp_path, capsys, 100, "--views", "3x3", "-o", str(picture))
    assert text == PAPER + f"\ndrawn to {picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [len(at) for at, _ in marks] == [100, 32, 32, 32]
    assert [k["lineoffsets"] for _, k in marks] == [[0], [1], [2], [3]]
    np.testing.assert_allclose(marks[2][0], np.arange(18, 82, 2) / 30, atol=1e-3)
    crops = [b for b in boxes if not b.get_fill()]
    assert [round(b.get_x() + 0.5 - 1.5 * k) for k, b in enumerate(crops)] == [0, 64, 128]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seconds", "2"], "--seconds and --fps go together"),
        (["--seconds", "2", "--fps", "8", "--frames", "4"], "or by --frames and --stride"),
        (["--frames", "0"], "frames=0"),
        (["--short", "wrap"], "short"),
        (["--views", "10"], "CLIPSx1"),
    ],
)
def test_wrong_words_are_one_sentence(tmp_path, capsys, arguments, sentence):
    write_video(tmp_path / "clip.mp4", 3)
    assert main(["show-sampling", str(tmp_path / "clip.mp4"), *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
