"""Clips as the network sees them: what is cut from a video for training and for testing.

Source   Sec. 4.1: jitter of the shorter side, random crop, flip; ten clips, whole frames.
Clips stay uint8 (T, H, W, 3) until `to_input`; that layout, seen as (B, 3, T, H, W), is already
channels-last, so nothing is copied on the way.
"""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.augment import random_shade, random_warp, warp_crop
from nonlocalnet.data.sampling import Short, Starts, at_rate, clip_at, even_clips, random_clip
from nonlocalnet.data.video import Video, read_frames, scaled_size

MOST_FRAMES = 10_000  # a clip is held in memory


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """One clip (paper Sec. 4.1: 64 consecutive frames, every other one kept, 224 x 224 px)."""

    frames: int = 32
    """T, frames the network sees."""
    stride: int = 2
    """Source frames per kept frame; the clip spans frames * stride source frames."""
    fps: float | None = None
    """Source frames per second: the video is sampled by its time stamps, as if it had this rate,
    so a clip spans the same seconds of every video; None: its own frames, whatever their rate."""
    ticks: int | None = None
    """The video is sampled as if it had so many frames, whatever its length, so a clip spans the
    same share of every video: for trimmed actions, which people do at their own pace."""
    short: Short = "loop"
    """A video shorter than the span: loop (released code) or clamp (repeat the last frame)."""
    starts: Starts = "even"
    """Test clips from end to end of the video (even), or at int(j N / clips) (released code)."""
    crop: int = 224
    """px, side of the square training crop."""
    short_side: tuple[int, int] = (256, 320)
    """px, the shorter side in training is drawn uniformly from this range (both included)."""
    test_short_side: int = 256
    """px, the shorter side in tests and predictions."""
    flip: bool = True
    """Mirror half of the training clips; off where left and right matter."""
    warp: float = 0.0
    """Zoom, stretch, turn, shear and shift training clips at random; 1 is a lot. See
    `data.augment`."""
    shade: float = 0.0
    """Brightness and contrast of training clips at random; 1 is a lot."""
    mean: float | tuple[float, float, float] = 0.45
    """Subtracted from pixels in [0, 1], for all channels or for R, G, B; the released code's."""
    std: float | tuple[float, float, float] = 0.225
    """Divides after the mean; the released code's."""

    def __post_init__(self) -> None:
        if self.frames > MOST_FRAMES:
            raise ValueError(f"clip.frames={self.frames} must be {MOST_FRAMES} or fewer")
        if len(self.short_side) != 2:
            raise ValueError(f"clip.short_side={self.short_side} must be two sizes in px")
        for name, value in (("mean", self.mean), ("std", self.std)):
            values = np.asarray(value)
            fits = values.shape in ((), (3,)) and values.dtype.kind in "if"
            if not (fits and np.isfinite(values).all() and (name == "mean" or (values > 0).all())):
                raise ValueError(
                    f"clip.{name}={value!r} must be one number, or three for R, G and B"
                    f"{', above 0' if name == 'std' else ''}"
                )
        if min(self.frames, self.stride, self.crop, self.test_short_side) < 1:
            raise ValueError(
                f"clip: frames={self.frames}, stride={self.stride}, crop={self.crop} px and "
                f"test_short_side={self.test_short_side} px must all be at least 1"
            )
        if not self.crop <= self.short_side[0] <= self.short_side[1]:
            raise ValueError(
                f"clip.crop={self.crop} px does not fit clip.short_side={self.short_side} px; "
                "the range must be ascending and start at the crop or above"
            )
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"clip.fps={self.fps:g} must lie between 0 and 1000 frames per second")
        if self.ticks is not None and (self.fps is not None or not 0 < self.ticks <= MOST_FRAMES):
            raise ValueError(
                f"clip.ticks={self.ticks} must lie between 1 and {MOST_FRAMES}, without clip.fps, "
                f"got fps={self.fps}"
            )
        if not (0 <= self.warp <= 2 and 0 <= self.shade <= 2):
            raise ValueError(
                f"clip.warp={self.warp:g} and clip.shade={self.shade:g} must lie between 0 and 2"
            )
        for name, value, known in (
            ("short", self.short, get_args(Short)),
            ("starts", self.starts, get_args(Starts)),
        ):
            if value not in known:
                raise ValueError(f"clip.{name} must be one of {', '.join(known)}, got {value!r}")

    @property
    def start_rule(self) -> str:
        """How the clips of a test are placed, in words for its protocol."""
        starts = {"even": "round(j (N - span) / (clips - 1))", "released": "int(j N / clips)"}
        ends = {"loop": "short videos loop", "clamp": "short videos repeat their last frame"}
        counted = f" at {self.fps:g} fps" if self.fps else ""
        counted = f" of {self.ticks} in all" if self.ticks else counted
        return f"{starts[self.starts]}, N and span in frames{counted}; {ends[self.short]}"


CHARADES = ClipConfig(frames=128, stride=1, crop=288, short_side=(329, 411), test_short_side=320)
"""Sec. 5.2: the Kinetics window of 224 px out of 256 to 320 comes out at 288 px; tests at 320."""


def by_time(seconds: float, fps: float) -> dict[str, Any]:
    """frames, stride and fps of a clip that keeps `fps` frames per second of so many seconds.

    The stride counts in ticks of about 1/30 s, so that clips can start between kept frames.

    Raises:
        ValueError: Not a frame in that time.

    Example:
        >>> by_time(seconds=64 / 30, fps=15)  # the paper's 64 frames, every other one
        {'frames': 32, 'stride': 2, 'fps': 30.0}
    """
    frames = round(seconds * fps) if seconds > 0 and fps > 0 else 0
    if frames < 1:
        raise ValueError(
            f"a clip of seconds={seconds:g} at fps={fps:g} has no frame; "
            "their product is the number of frames the network sees"
        )
    stride = max(1, round(30 / fps))
    return {"frames": frames, "stride": stride, "fps": float(fps * stride)}


def sampling_rate(video: Video, config: ClipConfig) -> float | None:
    """Frames per second that a video is sampled at, if not its own: `fps`, or `ticks` in all."""
    if config.ticks is None:
        return config.fps
    return config.ticks / (float(video.seconds[-1]) + 1 / video.fps)


def source_frames(video: Video, config: ClipConfig) -> np.ndarray:  # (N,)
    """The frames that clips of a video are taken from: all, or those at the ticks of a rate."""
    rate = sampling_rate(video, config)
    if rate is None:
        return np.arange(video.frames)
    seconds = video.seconds
    return at_rate(seconds, float(seconds[-1]) + 1 / video.fps, rate)


def clips_around(
    video: Video, frame: int, config: ClipConfig, count: int = 1, apart: int = 1
) -> tuple[np.ndarray, list[int]]:  # (F,), (count or fewer)
    """Clips that keep `frame`, as near to their middle as the video allows.

    Args:
        video: Where they are cut from.
        frame: The frame that all of them keep.
        config: Frames and stride.
        count: Clips; fewer where the video or the clip has no room for more.
        apart: Kept frames between the starts of clips, or a multiple of it.

    Returns:
        Frame numbers of all clips together, and where among them each of the clips starts.
    """
    source = source_frames(video, config)
    here = int(np.abs(source - frame).argmin())
    span = config.frames * config.stride
    room = max(len(source) - span, 0)
    starts = here - config.stride * np.arange(config.frames)
    starts = starts[(starts >= 0) & (starts <= room)]
    if len(starts):
        starts = starts[np.abs(starts - (here - span / 2)).argsort(kind="stable")]
        starts = np.sort(starts[(starts - starts[0]) % (config.stride * apart) == 0][:count])
    else:
        starts = np.array([min(max(here - span // 2, 0), room)])
    shifts = (starts - starts[0]) // config.stride
    frames = config.frames + int(shifts[-1])
    numbers = clip_at(int(starts[0]), len(source), frames, config.stride, config.short)
    return source[numbers], shifts.tolist()


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of one video that a test averages over, every frame decoded once."""

    frames: np.ndarray  # (F, H, W, 3) uint8, what all views together show
    clips: np.ndarray  # (clips, T) rows of `frames`
    numbers: np.ndarray  # (clips, T) the same as frame numbers of the video
    squares: tuple[tuple[int, int, int], ...]  # (top, left, side) px of each crop; () = whole frame

    def __len__(self) -> int:
        return len(self.clips) * max(len(self.squares), 1)

    def __getitem__(self, view: int) -> np.ndarray:  # (T, H, W, 3) uint8
        if not 0 <= view < len(self):
            raise IndexError(view)
        clip, crop = divmod(view, max(len(self.squares), 1))
        frames = self.frames[self.clips[clip]]
        if not self.squares:
            return frames
        top, left, side = self.squares[crop]
        return frames[:, top : top + side, left : left + side]


def training_view(video: Video, config: ClipConfig, rng: np.random.Generator) -> Views:
    """A random clip (Sec. 4.1): everything is drawn from `rng`.

    Raises:
        BadVideo: See `read_frames`.
    """
    source = source_frames(video, config)
    numbers = source[random_clip(len(source), config.frames, config.stride, rng, config.short)]
    low, high = config.short_side
    short_side = int(rng.integers(low, high + 1))
    size = scaled_size(video.height, video.width, short_side)
    top, left = (int(rng.integers(0, length - config.crop + 1)) for length in size)
    window = (top, left, config.crop)
    if config.warp:
        frames = read_frames(video, numbers, short_side)
        clip = warp_crop(frames, window, random_warp(config.warp, rng))
    else:
        clip = read_frames(video, numbers, short_side, window=window)
    if config.shade:
        clip = random_shade(config.shade, rng)[clip]
    if config.flip and rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    return Views(
        frames=np.ascontiguousarray(clip),
        clips=np.arange(config.frames)[None],
        numbers=numbers[None],
        squares=(),
    )


def video_views(
    video: Video, config: ClipConfig, views: tuple[int, int] | None, seed: int = 0, index: int = 0
) -> Views:
    """What a test shows of a video: (clips, crops) of `even_views`, or None, a `training_view`.

    The latter is drawn from (seed, index): the same whenever and wherever it is asked for.

    Raises:
        BadVideo: See `read_frames`.
    """
    if views is None:
        return training_view(video, config, np.random.default_rng((seed, index)))
    return even_views(video, config, *views)


def even_views(video: Video, config: ClipConfig, clips: int = 10, crops: int = 1) -> Views:
    """Evenly spread clips (Sec. 4.1): of the whole frame, or of 3 squares as in the released code.

    Raises:
        BadVideo: See `read_frames`.
        ValueError: `clips` below 1, or `crops` neither 1 nor 3.
    """
    numbers = even_numbers(video, config, clips)
    if crops not in (1, 3):
        raise ValueError(
            f"views must be CLIPSx1 (whole frame) or CLIPSx3 (three crops), got {clips}x{crops}"
        )
    union, rows = np.unique(numbers, return_inverse=True)
    frames = read_frames(video, union, config.test_short_side, threads=0)
    return Views(
        frames=frames,
        clips=rows.reshape(numbers.shape),
        numbers=numbers,
        squares=three_squares(*frames.shape[1:3]) if crops == 3 else (),
    )


def even_numbers(video: Video, config: ClipConfig, clips: int) -> np.ndarray:  # (clips, T)
    """Frame numbers of the test's clips.

    Raises:
        ValueError: `clips` below 1.
    """
    if clips < 1:
        raise ValueError(f"views must have 1 clip or more, got {clips}")
    source = source_frames(video, config)
    numbers = even_clips(
        len(source), config.frames, config.stride, clips, config.short, config.starts
    )
    return source[numbers]


def three_squares(height: int, width: int) -> tuple[tuple[int, int, int], ...]:
    """(top, left, side) px at both ends and in the middle of the longer side.

    Example:
        >>> three_squares(256, 340)
        ((0, 0, 256), (0, 42, 256), (0, 84, 256))
    """
    side, down, right = min(height, width), max(height - width, 0), max(width - height, 0)
    return tuple((down * k // 2, right * k // 2, side) for k in range(3))


def to_input(clips: Tensor, config: ClipConfig) -> Tensor:
    """uint8 (B, T, H, W, 3) -> normalised float32 (B, 3, T, H, W), channels-last in memory.

    Example:
        >>> to_input(torch.zeros(1, 2, 4, 4, 3, dtype=torch.uint8), ClipConfig())[0, 0, 0, 0, 0]
        tensor(-2.)
    """
    mean, std = (torch.tensor(value, device=clips.device) for value in (config.mean, config.std))
    scaled = clips.float().div_(255.0).sub_(mean).div_(std)
    return scaled.permute(0, 4, 1, 2, 3)
