"""Frames that are images in a folder, in the order of the numbers in their names."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nonlocalnet.data.optional import require
from nonlocalnet.data.video import BadVideo, Video

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def open_source(path: Path, fps: float) -> Video:
    """Lists the folder and decodes its first image.

    Raises:
        BadVideo: No image in the folder, or the first cannot be read.
    """
    files = _images(path)
    if not files:
        raise BadVideo(
            path, "a folder without images, where a video or a folder of frames was expected"
        )
    height, width = _decode(files[0]).shape[:2]
    return Video(path=path, reader="images", frames=len(files), fps=fps, height=height, width=width)


def read(
    video: Video, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture) of the wanted images; unreadable ones are left out.

    Raises:
        BadVideo: Images are gone, or the folder is.
    """
    files = _images(video.path)
    if len(files) <= wanted[-1]:
        raise BadVideo(
            video.path, f"has {len(files)} images now, had {video.frames}; check it again"
        )
    for number in wanted.tolist():
        try:
            yield number, _decode(files[number], size)
        except BadVideo:
            continue


def seconds(video: Video) -> np.ndarray:  # (frames,) float64
    """Evenly spaced."""
    return np.arange(video.frames) / video.fps


def _images(path: Path) -> list[Path]:
    def order(file: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", file.name)
        return [(int(p), "") if p.isdecimal() else (0, p) for p in parts]

    try:
        files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise BadVideo(path, f"the folder cannot be listed ({error.strerror})") from None
    return sorted(files, key=order)


def _decode(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    av = require("av", "reading images", "video")
    try:
        with av.open(str(file)) as container:
            frame = next(container.decode(video=0))
    except (OSError, ValueError, IndexError, StopIteration):
        raise BadVideo(file, "not an image that FFmpeg can read") from None
    height, width = size or (frame.height, frame.width)
    return frame.reformat(width, height, "rgb24", interpolation="BILINEAR").to_ndarray()
