"""Videos and lists as files, the same bytes every time: what generated sets consist of."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nonlocalnet.data.optional import require


def write_frames(path: str | Path, frames: np.ndarray, fps: int) -> None:
    """Encodes uint8 RGB frames (T, H, W, 3) as H.264, in one thread: the same file every time.

    Raises:
        MissingLibrary: PyAV is not installed.
    """
    av = require("av", "writing videos", "video")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "16", "preset": "ultrafast", "bf": "0"}
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A header and rows, UTF-8, the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows([header, *rows])
