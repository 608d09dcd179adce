"""Frames through OpenCV, decoded from the start and counted: its seeks are not exact."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from nonlocalnet.data.optional import require
from nonlocalnet.data.video import BadVideo, Video

COUNTED = frozenset({".3gp", ".avi", ".m4v", ".mov", ".mp4"})  # their headers count the frames


def library() -> ModuleType:
    """OpenCV, told to keep its complaints to itself: they do not name the file, ours do.

    Raises:
        MissingLibrary: It is not installed.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = require("cv2", "reading videos with OpenCV", "opencv")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def open_source(path: Path, fps: float) -> Video:
    """Runs through the file once: its header's frame count is an estimate.

    Raises:
        BadVideo: Not a video that OpenCV can read, or no frame in it.
    """
    cv2 = library()
    capture = _capture(path)
    count = sum(1 for _ in iter(capture.grab, False))
    # Others' counts are guesses by the duration, and XviD's AVI counts a filler that shows nothing.
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if path.suffix.lower() in COUNTED else 0
    expected = max(0, promised - (path.suffix.lower() == ".avi"))
    rate = capture.get(cv2.CAP_PROP_FPS)
    good, first = _capture(path).read()
    if not good:
        raise BadVideo(path, "not one frame can be decoded; record or download it again")
    return Video(
        path=path,
        reader="opencv",
        frames=count,
        fps=rate or fps,
        height=first.shape[0],
        width=first.shape[1],
        expected=expected,
    )


def read(
    video: Video, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture) of the wanted frames, which are ascending.

    Raises:
        BadVideo: The file went away.
    """
    cv2 = library()
    capture = _capture(video.path)
    keep = set(wanted.tolist())
    height, width = size
    for number in range(int(wanted[-1]) + 1):
        if not capture.grab():
            return
        if number in keep:
            picture = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            if picture.shape[:2] != size:
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            yield number, picture


def seconds(video: Video) -> np.ndarray:  # (frames,) float64
    """By the time stamps, which only decoding tells here.

    Raises:
        BadVideo: The file went away or has changed.
    """
    cv2 = library()
    capture = _capture(video.path)
    times = [capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 for _ in iter(capture.grab, False)]
    if len(times) != video.frames:
        raise BadVideo(
            video.path, f"has {len(times)} frames now, had {video.frames}; check it again"
        )
    return np.array(times) - times[0]


def _capture(path: Path):
    cv2 = library()
    if not path.exists():
        raise BadVideo(path, "no such file; check the path", "missing")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise BadVideo(path, "not a video that OpenCV can read; play it to see what it is")
    return capture
