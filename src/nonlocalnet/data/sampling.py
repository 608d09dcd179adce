"""Which frames a clip takes (Sec. 4.1): random for training, evenly spread for testing.

A clip keeps `frames` frames, `stride` source frames apart, so it spans frames * stride of them
(the paper: 32 kept of 64 consecutive). A video shorter than the span is looped, as the released
code does.
"""

import numpy as np


def random_clip(total: int, frames: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers (frames,) of one training clip: the start is uniform.

    Example:
        >>> random_clip(5, 4, 2, np.random.default_rng(0)).tolist()
        [0, 2, 4, 1]
    """
    start = int(rng.integers(0, max(total - frames * stride, 0) + 1))
    return clip_at(start, total, frames, stride)


def even_clips(total: int, frames: int, stride: int, clips: int) -> np.ndarray:
    """Frame numbers (clips, frames) of the test's clips, starts round(j (N - span) / (clips - 1)).

    One clip is taken from the middle.

    Example:
        >>> even_clips(20, 4, 2, 3)[:, 0].tolist()
        [0, 6, 12]
    """
    room = max(total - frames * stride, 0)
    starts = np.linspace(0, room, clips).round() if clips > 1 else np.array([room // 2])
    return np.stack([clip_at(int(start), total, frames, stride) for start in starts])


def clip_at(start: int, total: int, frames: int, stride: int) -> np.ndarray:
    """Frame numbers (frames,) from `start` on, looping at the end of the video.

    Example:
        >>> clip_at(0, 3, 5, 1).tolist()
        [0, 1, 2, 0, 1]
    """
    return (start + stride * np.arange(frames)) % total
