"""Lists of raw frames are read through the images reader, at the rate of their set."""

import av
import numpy as np
import pytest
from videos import frame_with_number, number_of

from nonlocalnet.cli.main import main
from nonlocalnet.data.clips import ClipConfig, by_time, even_numbers
from nonlocalnet.data.folder import read_folder
from nonlocalnet.data.found import heap_of
from nonlocalnet.data.video import read_frames


def write_frames(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(frame_with_number(i), format="rgb24")
        with av.open(str(folder / f"img_{i + 1:05d}.png"), "w") as container:
            stream = container.add_stream("png", rate=1)
            stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "rgb24"
            container.mux(stream.encode(frame))


def test_mmaction2_frames_become_samples(tmp_path):
    for split in ("train", "val"):
        lines = []
        for label in range(2):
            write_frames(tmp_path / f"rawframes_{split}" / f"c{label}" / "a b", 5 + label)
            lines.append(f"c{label}/a b {5 + label} {label}\n")
        (tmp_path / f"k400_{split}_list_rawframes.txt").write_text("".join(lines))
    folder = read_folder(tmp_path)
    assert [(s.label, s.video.frames) for s in folder.splits["train"]] == [(0, 5), (1, 6)]
    video = folder.splits["test"][1].video
    assert [number_of(frame) for frame in read_frames(video, [4, 0])] == [4, 0]


def charades_frames(folder, count):
    lines = ["original_vido_id video_id frame_id path labels"]
    for name in ("A", "B"):
        write_frames(folder / name, count)
        lines += [f'{name} 0 {i} {name}/{name}-{i:06d}.jpg "{i // 3}"' for i in range(count)]
    (folder / "val.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_frames_of_charades_come_at_24_per_second(tmp_path):
    charades_frames(tmp_path, 6)
    folder = read_folder(tmp_path / "val.csv", needs=("test",))
    sample = folder.splits["test"][0]
    np.testing.assert_allclose(sample.video.seconds, np.arange(6) / 24)
    assert [(a.label, a.start, a.end) for a in sample.actions] == [
        (0, 0.0, 0.125),
        (1, 0.125, 0.25),
    ]


@pytest.mark.parametrize("form", ["frames", "video"])
def test_prepared_frames_keep_the_rate_of_their_list(tmp_path, form):
    """24 per second, not the 30 of a folder of images that nobody knows anything about."""
    source, cache = tmp_path / "source", tmp_path / "cache"
    charades_frames(source, 36)
    prepare = ["prepare", str(source / "val.csv"), f"--out={cache}", f"--form={form}"]
    assert main(prepare) == 0
    clip = ClipConfig(**by_time(seconds=1.0, fps=8))
    found = []
    for prepared in (None, cache):
        folder = read_folder(source / "val.csv", needs=("test",), prepared=prepared)
        videos = [sample.video for sample in folder.splits["test"]]
        assert {video.reader == "images" for video in videos} == {prepared is None}
        found.append([(video.seconds, even_numbers(video, clip, 4)) for video in videos])
    for (seconds, numbers), (seconds_again, numbers_again) in zip(*found, strict=True):
        np.testing.assert_allclose(seconds, np.arange(36) / 24)
        np.testing.assert_allclose(seconds_again, seconds, atol=0 if form == "frames" else 1e-5)
        np.testing.assert_array_equal(numbers_again, numbers)


def test_a_list_of_another_rate_makes_folders_of_images_anew(tmp_path):
    """A cache of a 30 fps list does not serve a list of the same folders at 24."""
    source, cache = tmp_path / "source", tmp_path / "cache"
    charades_frames(source, 36)
    (source / "thirty_val.txt").write_text("A 36 0\nB 36 1\n")
    assert main(["prepare", str(source / "thirty_val.txt"), f"--out={cache}"]) == 0
    seconds = []
    for again in (False, True):
        if again:
            assert main(["prepare", str(source / "val.csv"), f"--out={cache}"]) == 0
        folder = read_folder(source / "val.csv", needs=("test",), prepared=cache)
        assert (folder.splits["test"][0].video.reader == "array") == again
        seconds.append(folder.splits["test"][0].video.seconds)
    np.testing.assert_array_equal(*seconds)
    np.testing.assert_array_equal(seconds[0], np.arange(36) / 24)


def test_a_heap_with_links_in_a_circle_has_each_video_once(tmp_path):
    (tmp_path / "a" / "frames").mkdir(parents=True)
    for name in ("a/1.mp4", "a/2.npy", "a/2.seconds.npy", "a/frames/1.png"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    found = heap_of(tmp_path)
    assert found == [tmp_path / "a" / name for name in ("1.mp4", "2.npy", "frames")]
