"""Frames that are already pixels: an array in memory, or a .npy file mapped into it.

What `nonlocalnet prepare` writes is such a file; NAME.seconds.npy beside it has the time stamps.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from nonlocalnet.data.video import BadVideo, Video

CHUNK = 32  # frames resized at a time


def from_memory(pixels: np.ndarray, fps: float) -> Video:
    """A video of an array (F, H, W, 3) uint8.

    Raises:
        BadVideo: Another shape or type.
    """
    return _describe(pixels, Path("array"), fps, pixels)


def open_source(path: Path, fps: float) -> Video:
    """A video of a .npy file.

    Raises:
        BadVideo: Not a .npy file of shape (F, H, W, 3) uint8.
    """
    return _describe(_mapped(path), path, fps, None)


def read(
    video: Video, wanted: np.ndarray, size: tuple[int, int], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs (index, picture) of the wanted frames.

    Raises:
        BadVideo: The file went away.
    """
    frames = _pixels(video)
    for begin in range(0, len(wanted), CHUNK):
        numbers = wanted[begin : begin + CHUNK]
        pictures = frames[numbers]
        if size != pictures.shape[1:3]:
            # (F, H, W, 3) seen as channels-last (F, 3, H, W): torch resizes it without a copy.
            images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
            smaller = size[0] < video.height
            images = F.interpolate(images, size, mode="bilinear", antialias=smaller)
            pictures = images.permute(0, 2, 3, 1).numpy()
        yield from zip(numbers.tolist(), pictures, strict=True)


def seconds(video: Video) -> np.ndarray:  # (frames,) float64
    """By the file of time stamps beside it; evenly spaced where there is none."""
    beside = times_file(video.path)
    if video.pixels is None and beside.exists():
        return np.load(beside)
    return np.arange(video.frames) / video.fps


def times_file(path: Path) -> Path:
    """Where the time stamps of a .npy file are.

    Example:
        >>> times_file(Path("a/clip.npy")).name
        'clip.seconds.npy'
    """
    return path.with_suffix(".seconds.npy")


def _describe(frames: np.ndarray, path: Path, fps: float, kept: np.ndarray | None) -> Video:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise BadVideo(
            path,
            f"frames must be an array (F, H, W, 3) of uint8, got {frames.shape} of {frames.dtype}",
        )
    count, height, width = frames.shape[:3]
    return Video(
        path=path,
        reader="array",
        frames=count,
        fps=fps if kept is not None else _rate(path, count, fps),
        height=height,
        width=width,
        pixels=kept,
    )


def _rate(path: Path, frames: int, fps: float) -> float:
    beside = times_file(path)
    if frames < 2 or not beside.exists():
        return fps
    return (frames - 1) / float(np.load(beside)[-1])


def _pixels(video: Video) -> np.ndarray:
    return _mapped(video.path) if video.pixels is None else video.pixels


def _mapped(path: Path) -> np.ndarray:
    try:
        # "c": changes stay in memory; torch does not like arrays that forbid them.
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        raise BadVideo(path, "no such file; check the path", "missing") from None
    except (OSError, ValueError) as error:
        raise BadVideo(path, f"not a .npy file of frames ({error})") from None
