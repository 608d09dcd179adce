"""A long video as sliding windows, decoded once, in memory that does not grow with its length.

A window is a clip as the network was trained on, or a longer or shorter one at the same rate.
Windows start `every` seconds; the last one is moved back to end where the video ends. Of N frames
and windows of span frames, step apart, there are 1 + ceil(max(N - span, 0) / step).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from nonlocalnet.data.clips import ClipConfig, sampling_rate, source_frames
from nonlocalnet.data.sampling import clip_at
from nonlocalnet.data.video import BadVideo, Video, read_each


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Where the windows of one video lie."""

    video: Video
    short_side: int
    """px, as the network sees the frames."""
    numbers: np.ndarray = field(repr=False)  # (W, T)
    """The frames of each window."""
    start: np.ndarray = field(repr=False)  # (W,) float64
    """Seconds."""
    end: np.ndarray = field(repr=False)  # (W,) float64
    """Seconds; windows overlap."""

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self) -> Iterator[np.ndarray]:  # each (T, H, W, 3) uint8
        """The clip of each window in turn; no more frames than one window has are held.

        Where a damaged file lacks a frame, the last good one before it (or the first after)
        stands in, as everywhere.

        Raises:
            BadVideo: Nothing can be decoded.
        """
        decoded = read_each(self.video, np.unique(self.numbers), self.short_side, threads=0)
        held: deque[tuple[int, np.ndarray]] = deque()
        for window in self.numbers:
            while not held or held[-1][0] < window.max():
                frame = next(decoded, None)
                if frame is None:
                    break
                held.append(frame)
            while len(held) > 1 and held[1][0] <= window.min():
                held.popleft()
            if not held:
                raise BadVideo(self.video.path, "none of its frames can be decoded", "truncated")
            known = np.array([number for number, _ in held])
            near = np.maximum(np.searchsorted(known, window, side="right") - 1, 0)
            yield np.stack([held[int(at)][1] for at in near])


def sliding_windows(
    video: Video, config: ClipConfig, *, window: float | None = None, every: float | None = None
) -> Windows:
    """The windows of a video.

    Args:
        video: From `open_video`.
        config: The clip of the network; its stride and rate are kept.
        window: Seconds that a window spans; None: what a clip does.
        every: Seconds from one start to the next; None: half a window.

    Raises:
        BadVideo: The file cannot be read.
        ValueError: `window` or `every` is not above 0.

    Example:
        >>> from nonlocalnet.data.video import open_video
        >>> video = open_video(np.zeros((100, 8, 8, 3), np.uint8), fps=10.0)
        >>> windows = sliding_windows(video, ClipConfig(frames=8, stride=4), every=2.5)
        >>> windows.start.tolist(), windows.end.tolist()
        ([0.0, 2.5, 5.0, 6.8], [3.2, 5.7, 8.2, 10.0])
    """
    for name, value in (("window", window), ("every", every)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}={value:g} s must be above 0")
    sampled = sampling_rate(video, config)
    rate = sampled or video.fps
    if window is not None:
        config = replace(config, frames=max(1, round(window * rate / config.stride)))
    source = source_frames(video, config)
    span = config.frames * config.stride
    step = max(1, round(every * rate) if every else span // 2)
    room = max(len(source) - span, 0)
    first = np.minimum(step * np.arange(1 + -(-room // step)), room)
    seconds = np.arange(len(source)) / sampled if sampled else video.seconds
    bounds = np.append(seconds, seconds[-1] + 1 / rate)
    return Windows(
        video=video,
        short_side=config.test_short_side,
        numbers=np.stack(
            [
                source[clip_at(int(at), len(source), config.frames, config.stride, config.short)]
                for at in first
            ]
        ),
        start=bounds[first],
        end=bounds[np.minimum(first + span, len(source))],
    )
