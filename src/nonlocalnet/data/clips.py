"""Clips as the network sees them: what is cut from a video for training and for testing.

Source   Sec. 4.1: jitter of the shorter side, random crop, flip; ten clips, whole frames.
Clips stay uint8 (T, H, W, 3) until `to_input`; that layout, seen as (B, 3, T, H, W), is already
channels-last, so nothing is copied on the way.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nonlocalnet.data.sampling import even_clips, random_clip
from nonlocalnet.data.video import Video, read_frames


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """One clip (paper Sec. 4.1: 64 consecutive frames, every other one kept, 224 x 224 px)."""

    frames: int = 32
    """T, frames the network sees."""
    stride: int = 2
    """Source frames per kept frame; the clip spans frames * stride source frames."""
    crop: int = 224
    """px, side of the square training crop."""
    short_side: tuple[int, int] = (256, 320)
    """px, the shorter side in training is drawn uniformly from this range (both included)."""
    test_short_side: int = 256
    """px, the shorter side in tests and predictions."""
    flip: bool = True
    """Mirror half of the training clips; off where left and right matter."""
    mean: float | tuple[float, float, float] = 0.45
    """Subtracted from pixels in [0, 1], for all channels or for R, G, B; the released code's."""
    std: float | tuple[float, float, float] = 0.225
    """Divides after the mean; the released code's."""

    def __post_init__(self) -> None:
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


def training_clip(
    video: Video, config: ClipConfig, rng: np.random.Generator
) -> np.ndarray:  # (frames, crop, crop, 3) uint8
    """A random clip: random start, shorter side, crop and mirror, all drawn from `rng`.

    Raises:
        BadVideo: See `read_frames`.
    """
    indices = random_clip(video.frames, config.frames, config.stride, rng)
    low, high = config.short_side
    clip = read_frames(video, indices, int(rng.integers(low, high + 1)))
    top, left = (int(rng.integers(0, size - config.crop + 1)) for size in clip.shape[1:3])
    clip = clip[:, top : top + config.crop, left : left + config.crop]
    if config.flip and rng.random() < 0.5:
        clip = clip[:, :, ::-1]
    return np.ascontiguousarray(clip)


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of one video that a test averages over, every frame decoded once."""

    frames: np.ndarray  # (F, H, W, 3) uint8, the union of all views' frames
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


def even_views(video: Video, config: ClipConfig, clips: int = 10, crops: int = 1) -> Views:
    """Evenly spread clips (Sec. 4.1): of the whole frame, or of 3 squares as in the released code.

    Raises:
        BadVideo: See `read_frames`.
        ValueError: `clips` below 1, or `crops` neither 1 nor 3.
    """
    if clips < 1 or crops not in (1, 3):
        raise ValueError(
            f"views must be CLIPSx1 (whole frame) or CLIPSx3 (three crops), got {clips}x{crops}"
        )
    numbers = even_clips(video.frames, config.frames, config.stride, clips)
    union, rows = np.unique(numbers, return_inverse=True)
    frames = read_frames(video, union, config.test_short_side, threads=0)
    height, width = frames.shape[1:3]
    side, room_y, room_x = min(height, width), max(height - width, 0), max(width - height, 0)
    crops_at = tuple((room_y * k // 2, room_x * k // 2, side) for k in range(3))
    return Views(
        frames=frames,
        clips=rows.reshape(numbers.shape),
        numbers=numbers,
        squares=crops_at if crops == 3 else (),
    )


def to_input(clips: Tensor, config: ClipConfig) -> Tensor:
    """uint8 (B, T, H, W, 3) -> normalised float32 (B, 3, T, H, W), channels-last in memory.

    Example:
        >>> to_input(torch.zeros(1, 2, 4, 4, 3, dtype=torch.uint8), ClipConfig())[0, 0, 0, 0, 0]
        tensor(-2.)
    """
    mean, std = (torch.tensor(value, device=clips.device) for value in (config.mean, config.std))
    scaled = clips.float().div_(255.0).sub_(mean).div_(std)
    return scaled.permute(0, 4, 1, 2, 3)
