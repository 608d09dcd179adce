"""Lists of raw frames are read through the images reader, at the rate of their set."""

import av
import numpy as np
from videos import frame_with_number, number_of

from nonlocalnet.data.folder import read_folder
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


def test_frames_of_charades_come_at_24_per_second(tmp_path):
    lines = ["original_vido_id video_id frame_id path labels"]
    for name in ("A", "B"):
        write_frames(tmp_path / name, 6)
        lines += [f'{name} 0 {i} {name}/{name}-{i:06d}.jpg "{i // 3}"' for i in range(6)]
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = read_folder(tmp_path / "val.csv", needs=("test",))
    sample = folder.splits["test"][0]
    np.testing.assert_allclose(sample.video.seconds, np.arange(6) / 24)
    assert [(a.label, a.start, a.end) for a in sample.actions] == [
        (0, 0.0, 0.125),
        (1, 0.125, 0.25),
    ]
