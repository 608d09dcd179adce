"""Which frames a clip takes (Sec. 4.1): random for training, evenly spread for testing.

A clip keeps `frames` frames, `stride` source frames apart, so it spans frames * stride of them
(the paper: 32 kept of 64 consecutive). A video shorter than the span is looped, as the released
code does, or its last frame is repeated ("clamp").

Sampling by time is the same on other frames: `at_rate` says which frame a video of any rate shows
at each tick of a constant one, and clips are taken from these.
"""

from typing import Literal

import numpy as np

Short = Literal["loop", "clamp"]
Starts = Literal["even", "released"]


def at_rate(seconds: np.ndarray, end: float, fps: float) -> np.ndarray:  # (ticks,)
    """Frame numbers that a video shows at 0, 1 / fps, 2 / fps, ...: those with the nearest stamps.

    Args:
        seconds: (frames,) ascending, when each frame is shown, the first at 0.
        end: When the last one has been shown.
        fps: Ticks per second.

    Example:
        >>> at_rate(np.arange(4) / 15, end=4 / 15, fps=30.0).tolist()  # every frame twice
        [0, 0, 1, 1, 2, 2, 3, 3]
    """
    ticks = np.arange(max(round(end * fps), 1)) / fps
    middles = (seconds[1:] + seconds[:-1]) / 2
    # Between two frames the earlier is taken; stamps are exact to some microseconds only.
    return np.searchsorted(middles + 1e-6, ticks)


def random_clip(
    total: int, frames: int, stride: int, rng: np.random.Generator, short: Short = "loop"
) -> np.ndarray:
    """Frame numbers (frames,) of one training clip: the start is uniform.

    Example:
        >>> random_clip(5, 4, 2, np.random.default_rng(0)).tolist()
        [0, 2, 4, 1]
    """
    start = int(rng.integers(0, max(total - frames * stride, 0) + 1))
    return clip_at(start, total, frames, stride, short)


def even_clips(
    total: int,
    frames: int,
    stride: int,
    clips: int,
    short: Short = "loop",
    starts: Starts = "even",
) -> np.ndarray:
    """Frame numbers (clips, frames) of the test's clips, starts round(j (N - span) / (clips - 1)).

    One clip is taken from the middle. With starts="released" they are int(j N / clips), as in the
    released code: there the last clips run over the end of the video.

    Example:
        >>> even_clips(20, 4, 2, 3)[:, 0].tolist()
        [0, 6, 12]
        >>> even_clips(20, 4, 2, 3, starts="released")[:, 0].tolist()
        [0, 6, 13]
    """
    room = max(total - frames * stride, 0)
    if starts == "released":
        first = np.arange(clips) * total // clips
    else:
        first = np.linspace(0, room, clips).round() if clips > 1 else np.array([room // 2])
    return np.stack([clip_at(int(start), total, frames, stride, short) for start in first])


def clip_at(start: int, total: int, frames: int, stride: int, short: Short = "loop") -> np.ndarray:
    """Frame numbers (frames,) from `start` on; what to do at the end of the video says `short`.

    Example:
        >>> clip_at(0, 3, 5, 1).tolist(), clip_at(0, 3, 5, 1, "clamp").tolist()
        ([0, 1, 2, 0, 1], [0, 1, 2, 2, 2])
    """
    numbers = start + stride * np.arange(frames)
    return numbers % total if short == "loop" else np.minimum(numbers, total - 1)
