"""What happens when: windows, stretches, subtitles, and memory on a long file."""

import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from brightness import picture, write_model
from videos import number_of, write_video

import nonlocalnet as nln
from nonlocalnet.data.clips import ClipConfig, even_views
from nonlocalnet.data.video import open_video, read_frames
from nonlocalnet.data.windows import sliding_windows
from nonlocalnet.engine.features import features
from nonlocalnet.engine.testing import clip_scores, scores_of_views
from nonlocalnet.engine.timeline import Stretch, Timeline, stretches, timeline

CLIP = ClipConfig(frames=4, stride=2, crop=32, short_side=(32, 40), test_short_side=40)


def small_model(classes=2):
    torch.manual_seed(0)
    model = nln.build("nl1_i3d_tiny", classes, width=4)
    for name, parameter in model.named_parameters():
        if name.endswith(("bn3.weight", "norm.weight")):  # zero at the start
            torch.nn.init.constant_(parameter, 0.5)
    torch.nn.init.normal_(model.fc.weight)
    return model.eval()


def classifier_of(model, folder, clip=CLIP, labels=("a", "b"), **extra):
    nln.save(model, folder / "m.safetensors", labels=list(labels), clip=asdict(clip), **extra)
    return nln.load(folder / "m.safetensors")


def test_rows_are_as_many_as_the_formula_says_and_end_with_the_video():
    for frames in (*range(1, 14), 31, 32, 33, 63, 64, 65, 100):
        video = open_video(np.zeros((frames, 8, 8, 3), np.uint8), fps=10.0)
        for every in (0.1, 0.3, 1.0):
            windows = sliding_windows(video, CLIP, every=every)
            step = round(10 * every)
            assert len(windows) == 1 + math.ceil(max(frames - 8, 0) / step)
            assert windows.start[0] == 0
            assert windows.end[-1] == pytest.approx(frames / 10)
            assert (windows.end - windows.start).max() <= 0.8 + 1e-9


def test_windows_hold_the_frames_of_their_times_whatever_the_rate(tmp_path):
    path = write_video(tmp_path / "v.mp4", 90, fps=15)
    config = ClipConfig(frames=3, stride=5, fps=30.0, crop=32, test_short_side=64)
    windows = sliding_windows(open_video(path), config, every=1.0)
    for start, clip in zip(windows.start, windows.read(), strict=True):
        shown = [number_of(picture) for picture in clip]
        ticks = start + np.arange(3) * 5 / 30
        # Between two frames of a 15 Hz video a tick of 30 Hz may show either.
        assert np.abs(np.array(shown) / 15 - ticks).max() <= 1 / 30 + 1e-6


def test_a_longer_window_keeps_the_rate_of_training():
    video = open_video(np.zeros((300, 8, 8, 3), np.uint8), fps=30.0)
    windows = sliding_windows(video, CLIP, window=2.0, every=1.0)
    assert windows.numbers.shape == (9, 30)
    assert np.diff(windows.numbers[3]).tolist() == [2] * 29


def test_frames_that_a_damaged_file_lacks_are_stood_in_for_as_everywhere(tmp_path):
    whole = write_video(tmp_path / "whole.ts", 80, codec="mpeg2video")
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2 // 188 * 188
    content[middle : middle + 188 * 60] = bytes(188 * 60)
    (tmp_path / "hole.ts").write_bytes(content)
    video = open_video(tmp_path / "hole.ts")
    windows = sliding_windows(video, CLIP)
    assert len(windows) > 5
    for numbers, clip in zip(windows.numbers, windows.read(), strict=True):
        every = read_frames(video, np.arange(video.frames), CLIP.test_short_side)
        np.testing.assert_array_equal(clip, every[numbers])


def test_scores_are_bit_for_bit_those_of_the_same_clips_in_a_test(tmp_path):
    path = write_video(tmp_path / "v.mp4", 26)
    classifier = classifier_of(small_model(), tmp_path)
    found = timeline(classifier, path, every=6 / 30)  # starts at frames 0, 6, 12, 18
    views = even_views(open_video(path), CLIP, 4)
    assert views.numbers[:, 0].tolist() == [0, 6, 12, 18]
    want = scores_of_views(classifier.model, views, CLIP).numpy()
    np.testing.assert_array_equal(found.scores, want)


def test_features_are_what_the_classifier_sees(tmp_path):
    path = write_video(tmp_path / "v.mp4", 26)
    classifier = classifier_of(small_model(), tmp_path)
    found = features(classifier, path, every=6 / 30)
    views = even_views(open_video(path), CLIP, 4)
    logits = classifier.model.fc(torch.from_numpy(found.vectors))
    pooled = torch.cat(
        [
            clip_scores(classifier.model, torch.from_numpy(views[k])[None], CLIP, softmax="pooled")
            for k in range(4)
        ]
    )
    torch.testing.assert_close(logits.softmax(1), pooled)
    np.testing.assert_allclose(found.start, np.array([0, 6, 12, 18]) / 30, atol=1e-6)
    assert found.layer == "res5, mean over time and place"


def by_loops(start, end, scores, moment):
    rows = [s for a, b, s in zip(start, end, scores, strict=True) if a <= moment < b]
    return np.mean(rows, 0) if rows else None


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("every", [1.0, 3.0, 5.0])  # 5: moments that no window covers
def test_stretches_are_the_mean_of_the_windows_that_cover_each_moment(one, every):
    rng = np.random.default_rng(0)
    start = every * np.arange(12.0)
    start[-1] -= 0.5  # moved back to end with the video
    end = start + 4
    scores = rng.dirichlet(np.ones(3), 12) if one else rng.random((12, 3))
    labels, threshold = ["a", "b", "c"], 0.4 if one else 0.5
    found = stretches(start, end, scores, labels, threshold, one=one)
    assert found == sorted(found, key=lambda s: s.start)
    for moment in np.arange(0.25, end[-1], 0.25):
        mean = by_loops(start, end, scores, moment)
        want = set()
        if mean is not None:
            best = {int(mean.argmax())} if one else set(range(3))
            want = {labels[k] for k in best if mean[k] >= threshold}
        assert {s.label for s in found if s.start <= moment < s.end} == want


def test_forms():
    found = Timeline(
        path=Path("v.mp4"),
        labels=["a", "b"],
        start=np.array([0.0]),
        end=np.array([3725.5]),
        scores=np.array([[0.25, 0.75]]),
        stretches=[Stretch(0.0, 1.5, 'say "a",\nb', 0.75), Stretch(1.5, 3725.5, "b", 1.0)],
    )
    assert json.loads(found.as_json())["timeline"][1] == {
        "start": 1.5,
        "end": 3725.5,
        "label": "b",
        "score": 1.0,
    }
    assert found.as_csv().splitlines()[0] == "start,end,label,score"
    assert found.as_srt() == (
        '1\n00:00:00,000 --> 00:00:01,500\nsay "a", b (75%)\n\n'
        "2\n00:00:01,500 --> 01:02:05,500\nb (100%)\n"
    )


EVENTS = [(2000, 2600), (5000, 5200), (9300, 10000)]  # frames


@pytest.fixture(scope="module")
def long_files(tmp_path_factory):
    """1,000 and 10,000 frames, most of them dark, and a network that tells dark from bright."""
    folder = tmp_path_factory.mktemp("long")
    inside = {n for a, b in EVENTS for n in range(a, b)}
    options = {"preset": "ultrafast", "crf": "30", "bf": "0"}
    for count in (1000, 10_000):
        frames = [picture(n in inside, n) for n in range(count)]
        write_video(folder / f"{count}.mp4", frames, options=options)
    clip = ClipConfig(frames=4, stride=8, crop=32, short_side=(64, 64), test_short_side=64)
    write_model(folder / "m.safetensors", ["dark", "bright"], clip)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_events_are_found_in_a_long_file_and_memory_stays_flat(long_files):
    peaks, found = {}, {}
    for count in (1000, 10_000):
        script = Path(__file__).with_name("timeline_run.py")
        done = subprocess.run(
            [sys.executable, script, long_files / "m.safetensors", long_files / f"{count}.mp4"],
            capture_output=True,
            text=True,
            check=True,
        )
        peak, _, text = done.stdout.partition("\n")
        peaks[count], found[count] = float(peak), json.loads(text)
    assert found[10_000]["seconds"] == pytest.approx(10_000 / 30, abs=0.01)
    events = [s for s in found[10_000]["timeline"] if s["label"] == "bright"]
    window = 32 / 30  # seconds
    assert len(events) == len(EVENTS)
    for said, (first, last) in zip(events, EVENTS, strict=True):
        assert said["start"] == pytest.approx(first / 30, abs=window)
        assert said["end"] == pytest.approx(last / 30, abs=window)
    # Its frames as the network sees them are 175 MiB.
    assert peaks[10_000] - peaks[1000] < 30
